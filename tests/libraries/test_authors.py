"""Packages of the authors themselves: lion-pytorch, prodigyopt, adam-mini."""

from __future__ import annotations

from typing import Any

import adam_mini
import lion_pytorch.cautious_lion
import optc
import prodigyopt
import pytest
import torch
from bounds import ELEMENTWISE, SINGLE_NUMBERS
from trial import DECAY, MODEL, TENSORS, Pair, Params, Seen, compare, give, pair, params, same, values

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
    pair("Lion, cautious, decay over the first rate", lion_pytorch.cautious_lion.Lion, "cautious_lion", {**DECAY, "decoupled_weight_decay": True}),
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


def late(named: Params, optimizer: Any) -> Seen:
    """The first step has no rate, and the second one a gradient of 0."""
    seen = []
    for step in range(1, 9):
        optimizer.param_groups[0]["lr"] = 0.0 if step == 1 else 1.0
        give(named, step, absent=False)
        for _, param in named if step == 2 else []:
            param.grad.zero_()
        optimizer.step()
        seen.append(values(named))
    return seen


@pytest.mark.parametrize("options", [{}, {"use_bias_correction": True, "growth_rate": 1.5}], ids=["plain", "corrected"])
def test_prodigy_waits_for_a_rate_and_a_gradient(options: dict[str, Any]) -> None:
    mine, its = params(TENSORS, torch.float64), params(TENSORS, torch.float64)
    start = values(mine)
    theirs = late(its, prodigyopt.Prodigy([param for _, param in its], **PRODIGY, **options))
    ours = late(mine, optc.Optimizer(mine, "prodigy", **PRODIGY, **options))
    far = list(compare(ELEMENTWISE, torch.float64, start, ours, theirs))
    assert not far, "\n".join(far[:12])
