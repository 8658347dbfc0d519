"""Packages of the authors themselves: lion-pytorch, prodigyopt, adam-mini."""

from __future__ import annotations

from typing import Any

import adam_mini
import lion_pytorch.cautious_lion
import prodigyopt
from bounds import SINGLE_NUMBERS
from trial import DECAY, MODEL, Pair, pair, same

PRODIGY = {"lr": 1.0, "d0": 0.01, "weight_decay": 0.1}


def mini(name: str, **options: Any) -> Pair:
    """The package sorts parameters by their names, so it is given them."""
    shape = {"dim": 6, "n_heads": 3}
    build = lambda named: adam_mini.Adam_mini(named, verbose=False, **shape, **options)  # noqa: E731
    return Pair(name, build, "adam_mini", {**shape, **options}, shapes=MODEL)


SAME = [
    pair("Lion", lion_pytorch.Lion, "lion", {**DECAY, "betas": (0.8, 0.95)}),
    pair("Lion, decay over the first rate", lion_pytorch.Lion, "lion", {**DECAY, "decoupled_weight_decay": True}),
    pair("Lion, cautious", lion_pytorch.cautious_lion.Lion, "cautious_lion", {**DECAY, "cautious_factor": 0.3}),
    pair("Lion, cautious decay", lion_pytorch.cautious_lion.Lion, "cautious_lion", {**DECAY, "cautious_wd": True}, bound=SINGLE_NUMBERS),
    pair("Prodigy", prodigyopt.Prodigy, "prodigy", PRODIGY),
    pair(
        "Prodigy, every option",
        prodigyopt.Prodigy,
        "prodigy",
        {**PRODIGY, "decouple": False, "use_bias_correction": True, "safeguard_warmup": True, "growth_rate": 1.1, "d_coef": 2.0, "beta3": 0.9},
    ),
    mini("Adam-mini", **DECAY),
    mini("Adam-mini, other betas", lr=0.02, betas=(0.8, 0.9), eps=1e-3),
]

test_same = same(SAME)
