"""pytorch-optimizer (kozistr). Its counters are those of a group."""

from __future__ import annotations

from functools import partial
from typing import Any

import optc
import pytorch_optimizer as po
import torch
from bounds import BF16_PRODUCTS, ELEMENTWISE, MATRIX, OWN_CONSTANT, SINGLE_FACTORS, SINGLE_NUMBERS
from pytorch_optimizer.optimizer.utils.graft import LayerWiseGrafting
from trial import DECAY, MATRICES, TENSORS, Pair, compare, different, give, pair, params, same, trained, values


def theirs(name: str, make: Any, source: str, options: dict[str, Any], **traits: Any) -> Pair:
    """A pair whose other side steps one tensor after the other."""
    given = {"foreach": False, **(traits.pop("theirs", None) or {})}
    return pair(name, make, source, options, theirs=given, **traits)


def lookahead(params: Any, k: int, foreach: bool, **options: Any) -> Any:
    return po.Lookahead(torch.optim.AdamW(params, foreach=foreach, **options), k=k)


def muon(params: Any, of_matrices: bool = True, **options: Any) -> Any:
    """A group is Muon's or that of its Adam."""
    return po.Muon([{"params": params, "use_muon": of_matrices}], **options)


def adamuon(params: Any, of_matrices: bool = True, **options: Any) -> Any:
    """A group is AdaMuon's or that of its Adam."""
    return po.AdaMuon([{"params": params, "use_muon": of_matrices}], **options)


def galore(params: Any, **options: Any) -> Any:
    """Every matrix is projected."""
    projection = {key: options.pop(key) for key in ("rank", "update_proj_gap", "scale", "projection_type")}
    return po.GaLore([{"params": params, **projection}], **options)


COUPLED = {**DECAY, "weight_decouple": False}

SAME = [
    theirs("AdaBelief", po.AdaBelief, "adabelief", {**DECAY, "eps": 1e-8}),
    theirs("AdaBelief, coupled", po.AdaBelief, "adabelief", {**COUPLED, "betas": (0.8, 0.9), "eps": 1e-3}),
    theirs("AdaBelief, rectified", po.AdaBelief, "adabelief", {**DECAY, "eps": 1e-8, "rectify": True}),
    theirs("AdaDelta", po.AdaDelta, "adadelta", {"lr": 0.5, "weight_decay": 0.1, "rho": 0.8, "eps": 1e-3}),
    theirs("AdaMax", po.AdaMax, "adamax", DECAY, absent=False),
    theirs("Adan", po.Adan, "adan", DECAY),
    theirs("Adan, clipped", po.Adan, "adan", {**DECAY, "max_grad_norm": 2.0, "weight_decouple": True}, shapes=TENSORS, bound=SINGLE_NUMBERS),
    theirs("AdEMAMix", po.AdEMAMix, "ademamix", {"lr": 0.02, "alpha": 5.0}, absent=False),
    # Without the 1e-8 that the authors add to a beta before they take its logarithm.
    theirs(
        "AdEMAMix, warmed up",
        po.AdEMAMix,
        "ademamix",
        {"lr": 0.02, "alpha": 5.0},
        theirs={"t_alpha_beta3": 10},
        ours={"alpha_warmup": 10, "beta3_warmup": 10},
        absent=False,
        bound=OWN_CONSTANT,
    ),
    theirs("ADOPT, coupled", po.ADOPT, "adopt", DECAY),
    theirs("ADOPT, decoupled", po.ADOPT, "adopt", {**DECAY, "weight_decouple": True, "betas": (0.8, 0.95)}),
    theirs("Grams", po.Grams, "grams", DECAY),
    theirs("Grams, coupled", po.Grams, "grams", COUPLED),
    theirs("LaProp", po.LaProp, "laprop", DECAY),
    # Its coupled decay changes the gradient after that was used.
    theirs("LaProp, coupled", po.LaProp, "laprop", {"lr": 0.02}, theirs={"weight_decay": 0.1, "weight_decouple": False}),
    theirs("LaProp, centred", po.LaProp, "laprop", {**DECAY, "centered": True, "steps_before_using_centered": 4}),
    theirs("LaProp, bounded", po.LaProp, "laprop", {**DECAY, "ams_bound": True, "betas": (0.8, 0.9)}),
    theirs("LARS", po.LARS, "lars", {"lr": 1.0, "weight_decay": 0.1, "dampening": 0.2}),
    theirs("LARS, Nesterov", po.LARS, "lars", {"lr": 1.0, "weight_decay": 0.1, "nesterov": True, "trust_coefficient": 0.02}),
    theirs("Lion", po.Lion, "lion", DECAY),
    theirs("Lion, cautious", po.Lion, "cautious_lion", DECAY, theirs={"cautious": True}, ours={"rescale": "count"}),
    theirs("SignSGD", po.SignSGD, "signum", DECAY),
    theirs("SignSGD, coupled, without momentum", po.SignSGD, "signum", {**COUPLED, "momentum": 0.0}),
    theirs("Yogi", po.Yogi, "yogi", {**DECAY, "initial_accumulator": 1e-2}),
    theirs("Yogi, coupled", po.Yogi, "yogi", {**COUPLED, "betas": (0.8, 0.9)}),
    # Corrects neither average then; the ratio has eps added to its denominator, here too little to see.
    theirs("Lamb", po.Lamb, "lamb", {"lr": 0.02, "eps": 1e-13}, theirs={"max_grad_norm": 0.0, "adam_debias": True}),
    theirs(
        "RAdam",
        po.RAdam,
        "radam",
        DECAY,
        theirs={"degenerated_to_sgd": True},
        ours={"decoupled_weight_decay": True},
        absent=False,
    ),
    # Every tensor of two or more dimensions is a matrix there; 1e-15 stands under the root.
    theirs("MARS", po.MARS, "mars", {**DECAY, "eps": 1e-30}, shapes=(*MATRICES, "bias"), absent=False, bound=OWN_CONSTANT),
    theirs(
        "MARS, bounded",
        po.MARS,
        "mars",
        {**DECAY, "eps": 1e-30, "optimize_1d": True},
        theirs={"ams_bound": True},
        ours={"amsgrad": True},
        absent=False,
        bound=OWN_CONSTANT,
    ),
    theirs("MARS, Lion", po.MARS, "mars", {**DECAY, "mars_type": "lion", "optimize_1d": True}),
    theirs("MARS, Shampoo", po.MARS, "mars", {**DECAY, "mars_type": "shampoo"}, shapes=MATRICES, bound=BF16_PRODUCTS),
    theirs("Prodigy", po.Prodigy, "prodigy", {"lr": 1.0, "d0": 0.01, "weight_decay": 0.1}, bound=SINGLE_NUMBERS),
    theirs(
        "Prodigy, corrected",
        po.Prodigy,
        "prodigy",
        {"lr": 1.0, "d0": 0.01, "weight_decay": 0.1, "safeguard_warmup": True},
        theirs={"bias_correction": True},
        ours={"use_bias_correction": True},
        bound=SINGLE_NUMBERS,
    ),
    theirs("Lookahead", lookahead, "lookahead", {"lr": 0.02, "k": 5}, absent=False),
    theirs("Lookahead, every third step", lookahead, "lookahead", {"lr": 0.02, "k": 3}, absent=False),
    theirs(
        "ScheduleFreeAdamW",
        trained(po.ScheduleFreeAdamW),
        "schedule_free_adamw",
        {**DECAY, "warmup_steps": 3, "eps": 1e-30},
        bound=OWN_CONSTANT,
    ),
    theirs("ScheduleFreeSGD", trained(po.ScheduleFreeSGD), "schedule_free_sgd", {"lr": 0.2, "weight_decay": 0.1, "warmup_steps": 3}),
    theirs("ScheduleFreeRAdam", trained(po.ScheduleFreeRAdam), "schedule_free_radam", DECAY),
    pair(
        "Shampoo",
        po.Shampoo,
        "shampoo",
        {**DECAY, "momentum": 0.5, "preconditioning_compute_steps": 3, "matrix_eps": 0.01},
        shapes=TENSORS,
        absent=False,
        bound=MATRIX,
    ),
    # The factor of a vector that comes late is hardly more than matrix_eps: its root amplifies what float32 rounds.
    pair(
        "Shampoo, late gradients",
        po.Shampoo,
        "shampoo",
        {**DECAY, "momentum": 0.5, "preconditioning_compute_steps": 3, "matrix_eps": 0.01},
        shapes=TENSORS,
        dtypes=(torch.float64,),
        bound=MATRIX,
    ),
    pair(
        "Shampoo, decoupled",
        po.Shampoo,
        "shampoo",
        {**DECAY, "weight_decouple": True, "preconditioning_compute_steps": 2, "matrix_eps": 0.01},
        shapes=TENSORS,
        absent=False,
        bound=MATRIX,
    ),
    *(
        pair(
            f"ScalableShampoo, graft {kind}",
            po.ScalableShampoo,
            "scalable_shampoo",
            {
                **DECAY,
                "start_preconditioning_step": 4,
                "preconditioning_compute_steps": 2,
                "block_size": 4,
                "matrix_eps": 0.01,
                "use_svd": True,
                **options,
            },
            theirs={"graft_type": LayerWiseGrafting[kind.upper()]},
            ours={"graft_type": kind, "leading_one": True, "optimizer": "ScalableShampoo"},
            shapes=TENSORS,
            absent=False,
            bound=MATRIX,
        )
        for kind, options in {
            "sgd": {},
            "rmsprop": {"moving_average_for_momentum": True},
            "adagrad": {"nesterov": False, "decoupled_weight_decay": True},
        }.items()
    ),
    # Bases of other shapes have columns that nothing determines.
    theirs(
        "SPlus",
        po.SPlus,
        "splus",
        {"lr": 0.02},
        theirs={"betas": (0.8, 0.99), "inverse_steps": 3},
        ours={"b1": 0.8, "b2": 0.99, "inverse_every": 3},
        shapes=("square", "bias", "kernel", "scalar"),
        absent=False,
        bound=SINGLE_FACTORS,
    ),
    theirs("SOAP", po.SOAP, "soap", {**DECAY, "precondition_frequency": 3}, shapes=("square", "bias"), absent=False, bound=SINGLE_FACTORS),
    theirs(
        "SOAP, every step",
        po.SOAP,
        "soap",
        {**DECAY, "precondition_frequency": 1, "correct_bias": False},
        shapes=("square", "bias"),
        absent=False,
        bound=SINGLE_FACTORS,
    ),
    theirs("GaLore, not projected", po.GaLore, "galore", DECAY, absent=False),
    *(
        theirs(
            f"GaLore, {kind}",
            galore,
            "galore",
            {**DECAY, "update_proj_gap": 100, "scale": 0.5},
            theirs={"rank": 2, "projection_type": kind},
            ours={"proj_rank": 2, "proj_type": kind},
            shapes=MATRICES,
            absent=False,
            bound=SINGLE_FACTORS,
        )
        for kind in ("std", "reverse_std", "right", "left")
    ),
    theirs("SCION, matrices", po.SCION, "scion", {"lr": 0.02, "momentum": 0.1}, theirs={"constraint": True}, shapes=(*MATRICES, "kernel"), bound=BF16_PRODUCTS),
    theirs("SCION, vectors", po.SCION, "scion", {"lr": 0.02, "momentum": 0.1}, theirs={"constraint": True}, shapes=("bias", "scalar")),
    theirs("SCION, unconstrained", po.SCION, "scion", {"lr": 0.02, "momentum": 0.3, "scale": 2.0}, ours={"unconstrained": True}, shapes=("bias", "scalar")),
    theirs("AdaMuon", adamuon, "adamuon", DECAY, shapes=(*MATRICES, "kernel"), bound=BF16_PRODUCTS),
    theirs("AdaMuon, Muon's scale", adamuon, "adamuon", {"lr": 0.02}, theirs={"use_adjusted_lr": False}, ours={"adjust_lr": "original"}, shapes=(*MATRICES, "kernel"), absent=False, bound=BF16_PRODUCTS),
    theirs("AdaMuon, its Adam", partial(adamuon, of_matrices=False), "adamuon", {"adam_lr": 0.02}, theirs={"adamw_lr": 0.02}, shapes=("bias", "scalar"), rates=False, absent=False),
    theirs("Muon", muon, "muon", DECAY, ours={"norm_floor": "clamp"}, shapes=(*MATRICES, "kernel"), bound=BF16_PRODUCTS),
    theirs("Muon, its Adam", partial(muon, of_matrices=False), "muon", {"adam_lr": 0.02}, theirs={"adamw_lr": 0.02}, shapes=("bias", "scalar"), rates=False, absent=False),
]

# What docs/conventions.md says of them.
DIFFERENT = [
    theirs("Lamb divides the rate by 1 - beta1^t", po.Lamb, "lamb", {"lr": 0.02}, theirs={"max_grad_norm": 0.0}),
    theirs("RAdam stands still until it is rectified", po.RAdam, "radam", DECAY, ours={"decoupled_weight_decay": True}),
    theirs("MARS takes kernels for matrices", po.MARS, "mars", DECAY, shapes=("kernel",), rates=False),
    theirs("ScheduleFreeAdamW adds eps before the correction", trained(po.ScheduleFreeAdamW), "schedule_free_adamw", {**DECAY, "eps": 1e-3}),
    theirs("StableAdamW clips each tensor's update", po.StableAdamW, "adamw", DECAY),
]

test_same = same(SAME)
test_different = different(DIFFERENT)


def test_laprop_without_a_rate() -> None:
    """Its correction is 1 then: at the first step, and later where the momentum is not 0."""
    rates = [0.0, 0.02, 0.0, 0.02]
    seen: list[list[dict[str, torch.Tensor]]] = []
    mine, its = params(TENSORS, torch.float64), params(TENSORS, torch.float64)
    start = values(mine)
    theirs = po.LaProp([param for _, param in its], lr=0.02, foreach=False)
    for named, optimizer in ((mine, optc.Optimizer(mine, "laprop", lr=0.02)), (its, theirs)):
        seen.append([])
        for step, rate in enumerate(rates, 1):
            optimizer.param_groups[0]["lr"] = rate
            give(named, step, absent=False)
            optimizer.step()
            seen[-1].append(values(named))
    far = list(compare(ELEMENTWISE, torch.float64, start, *seen))
    assert not far, "\n".join(far)
