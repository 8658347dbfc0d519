"""torch-optimizer (jettify): the community ports of 2020, unchanged since."""

from __future__ import annotations

from typing import Any

import torch
import torch_optimizer as to
from bounds import MATRIX, OWN_CONSTANT, SINGLE_NUMBERS
from trial import DECAY, EVERY, MATRICES, TENSORS, different, pair, same

# Its Adafactor multiplies the factors of a kernel in shapes that do not go together.
NO_KERNEL = tuple(name for name in EVERY if name != "kernel")


def lookahead(params: Any, **options: Any) -> Any:
    return to.Lookahead(torch.optim.AdamW(params, **options), k=5)


SAME = [
    pair("Adafactor", to.Adafactor, "adafactor_fairseq", {**DECAY, "relative_step": False, "beta1": 0.9}, shapes=NO_KERNEL),
    pair("Adafactor, relative", to.Adafactor, "adafactor_fairseq", {"warmup_init": True}, shapes=NO_KERNEL, rates=False),
    pair("AdaBelief", to.AdaBelief, "adabelief", {**DECAY, "eps": 1e-10, "weight_decouple": False}, absent=False),
    pair("Lamb", to.Lamb, "lamb", {**DECAY, "clamp_value": 2.0}),
    pair("Lamb, corrected", to.Lamb, "lamb", DECAY, theirs={"debias": True}, ours={"bias_correction": "rate"}),
    pair("LARS", to.LARS, "lars", {"lr": 1.0, "weight_decay": 0.1, "momentum": 0.9, "trust_coefficient": 0.01}, ours={"adapt_vectors": True}, bound=OWN_CONSTANT),
    # It keeps the step size, and the learning rate in it, of parameters that were at this step before.
    pair("RAdam", to.RAdam, "radam", DECAY, ours={"decoupled_weight_decay": True}, absent=False, bound=SINGLE_NUMBERS),
    pair("Yogi", to.Yogi, "yogi", DECAY, ours={"weight_decouple": False}, absent=False),
    pair(
        "Shampoo",
        to.Shampoo,
        "shampoo_sequential",
        {**DECAY, "momentum": 0.5, "update_freq": 3, "epsilon": 0.1},
        shapes=TENSORS,
        bound=MATRIX,
    ),
    pair("Shampoo, every step", to.Shampoo, "shampoo_sequential", {"lr": 0.05, "epsilon": 0.1}, shapes=MATRICES, bound=MATRIX),
]

DIFFERENT = [
    pair("AdaBelief's rectified step is that of rho above 4", to.AdaBelief, "adabelief", {**DECAY, "rectify": True, "eps": 1e-8}, ours={"weight_decouple": False}),
    pair("LARS leaves out the ratio without decay", to.LARS, "lars", {"lr": 1.0, "trust_coefficient": 0.01}, ours={"adapt_vectors": True, "momentum": 0.0}),
    pair("Lookahead synchronises at its first step", lookahead, "lookahead", {"lr": 0.02}, ours={"k": 5}),
    pair("SGDW subtracts a constant for its decay", to.SGDW, "sgd", {**DECAY, "momentum": 0.9}, ours={"decoupled_weight_decay": True}),
]

test_same = same(SAME)
test_different = different(DIFFERENT)
