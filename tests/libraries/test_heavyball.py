"""heavyball (HomebrewML): averages with betas that are corrected themselves, eps as a least size, float32 numbers."""

from __future__ import annotations

from typing import Any

import pytest
from bounds import BF16_PRODUCTS, SINGLE_NUMBERS, Bound
from trial import DECAY, MATRICES, TENSORS, Pair, different, pair, same, trained

heavyball = pytest.importorskip("heavyball", reason="heavyball needs Python 3.11")

# So small that it does not matter whether eps is added or is a least size.
NO_EPS = {"eps": 1e-30}
BETAS = {"betas": (0.9, 0.99)}
# Rows of std.orthogonal's QUINTIC.
QUINTIC = [
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
]
MUON = {"coefficients": QUINTIC, "ns_dtype": "same", "norm_floor": "clamp", "momentum": 0.9}
# Matrices of float32 are multiplied in bf16, those of float64 as they are.
MUON_BOUND = Bound(SINGLE_NUMBERS.double, BF16_PRODUCTS.single)


def theirs(name: str, make: Any, source: str, options: dict[str, Any], bound: Bound = SINGLE_NUMBERS, **traits: Any) -> Pair:
    """A pair whose other side steps one tensor after the other."""
    given = {"multi_tensor": False, "compile_step": False, **(traits.pop("theirs", None) or {})}
    return pair(name, make, source, options, theirs=given, absent=traits.pop("absent", False), bound=bound, **traits)


SAME = [
    theirs("SGD", heavyball.SGD, "sgd", {"lr": 0.02}, theirs={"beta": 0.9}, ours={"momentum": 0.9}),
    theirs(
        "SGD with decay",
        heavyball.SGD,
        "sgd",
        DECAY,
        theirs={"beta": 0.9},
        ours={"momentum": 0.9, "decoupled_weight_decay": True},
    ),
    theirs("AdamW", heavyball.AdamW, "adamw", {**DECAY, **BETAS, **NO_EPS}),
    theirs("AdamW, cautious", heavyball.AdamW, "Cautious(base = AdamW)", {"lr": 0.02, "weight_decay": 0.0, **BETAS, **NO_EPS}, theirs={"caution": True}),
    theirs("NAdam", heavyball.NAdam, "nadam", {"lr": 0.02, "momentum_decay": 0.05, **NO_EPS}),
    theirs("NAdam, decoupled", heavyball.NAdam, "nadam", {**DECAY, "decoupled_weight_decay": True, **NO_EPS}),
    theirs("AdEMAMix", heavyball.AdEMAMix, "ademamix", {"lr": 0.02, "alpha_warmup": 8, "beta3_warmup": 8, "weight_decay": 0.1, **NO_EPS}),
    # Its average of squares is corrected, so it is Adam's without momentum.
    theirs(
        "RMSprop",
        heavyball.RMSprop,
        "adamw",
        {**DECAY, **NO_EPS},
        theirs={"betas": (0.9, 0.99)},
        ours={"betas": (0.0, 0.99)},
    ),
    # The learning rate multiplies the average, and is not averaged itself.
    theirs("LaProp", heavyball.LaProp, "laprop", {"lr": 0.02, **BETAS}, theirs=NO_EPS, rates=False),
    theirs("LaProp, cautious", heavyball.LaProp, "Cautious(base = LaProp)", {"lr": 0.02, **BETAS}, theirs={"caution": True, **NO_EPS}, rates=False),
    # Weights follow the learning rate, not the largest so far.
    theirs("SFAdamW", trained(heavyball.SFAdamW), "schedule_free_adamw", {**DECAY, **BETAS, **NO_EPS}, rates=False),
    theirs("Muon without Nesterov", heavyball.Muon, "muon", {"lr": 0.02, "nesterov": False}, ours=MUON, shapes=MATRICES, bound=MUON_BOUND),
    theirs(
        "Muon with a sum of gradients",
        heavyball.Muon,
        "muon",
        DECAY,
        theirs={"nesterov": True, "heavyball_momentum": True},
        ours=MUON,
        shapes=(*MATRICES, "kernel"),
        bound=MUON_BOUND,
    ),
    # A matrix with more rows than columns is scaled by √(m/n) in all of them.
    theirs(
        "Muon, scaled by its shape",
        heavyball.Muon,
        "muon",
        {"lr": 0.02, "nesterov": False},
        ours={**MUON, "adjust_lr": "spectral_unclamped"},
        shapes=("tall", "square"),
        bound=MUON_BOUND,
    ),
    theirs(
        "Muon, as the Dion repository's",
        heavyball.Muon,
        "dion_muon",
        {**DECAY, "nesterov": True},
        theirs={"heavyball_momentum": True},
        ours={"mu": 0.9, "use_polar_express": False, "epsilon": 0.0, "ns_dtype": "same"},
        shapes=("tall", "square"),
        bound=MUON_BOUND,
    ),
]

DIFFERENT = [
    theirs("SGD decays beside the gradient", heavyball.SGD, "sgd", DECAY, theirs={"beta": 0.9}, ours={"momentum": 0.9}),
    theirs("AdamW has eps as a least size", heavyball.AdamW, "adamw", {"lr": 0.02, "eps": 0.1, **BETAS}),
    theirs("RMSprop corrects its average", heavyball.RMSprop, "rmsprop", {"lr": 0.02}, theirs=BETAS, ours={"alpha": 0.99}),
    theirs("NAdam couples decay in its own way", heavyball.NAdam, "nadam", {**DECAY, **NO_EPS}),
    theirs("ADOPT corrects both averages and does not clip", heavyball.ADOPT, "adopt", {"lr": 0.02, **BETAS, "eps": 1e-6}),
    theirs("Muon adds the gradient to the average", heavyball.Muon, "muon", {"lr": 0.02, "nesterov": True}, ours=MUON, shapes=MATRICES),
    theirs("SFAdamW weighs by the rate of the step", trained(heavyball.SFAdamW), "schedule_free_adamw", {"lr": 0.02, **BETAS, **NO_EPS}),
    theirs("Scion puts parameters in its ball first", heavyball.Scion, "scion", {"lr": 0.02}, ours={"momentum": 0.1, "unconstrained": True}, shapes=TENSORS),
    theirs(
        "SOAP learns its basis from the current gradient",
        heavyball.SOAP,
        "soap",
        {"lr": 0.02, "betas": (0.9, 0.95), "precondition_frequency": 3},
        shapes=("bias",),
    ),
]

test_same = same(SAME)
test_different = different(DIFFERENT)
