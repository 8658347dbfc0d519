"""kron-torch (Walters): PSGD with Kronecker factors.

It probes with random numbers. Both sides take the same function of the gradient for them here, and balance always or
never, so that all but the generators is compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bounds import SINGLE_FACTORS
from trial import DECAY, TENSORS, Pair, Params, same

kron_torch = pytest.importorskip("kron_torch", reason="kron-torch needs triton, which there is for Linux only")

SCHEDULE = ("max_prob", "min_prob", "decay", "flat_start")

RULE = Path(__file__).parents[2] / "stdlib" / "psgd_kron.opt"
RANDOM = "            let v = normal_like(w)\n"
GRADIENT = "            let g = if momentum_into_precond_update { m } else { grad }\n"
PROBE = "            let v = tanh(2 * g / rms(g))\n"


def with_a_probe() -> str:
    """The rule, with the probe in place of its random numbers."""
    text = RULE.read_text()
    assert RANDOM in text and GRADIENT in text
    return text.replace(RANDOM, "").replace(GRADIENT, GRADIENT + PROBE)


class Torch:
    """torch as kron-torch sees it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def randn_like(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(2 * x / x.square().mean().sqrt())


@pytest.fixture(autouse=True)
def the_same_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kron_torch.kron, "torch", Torch())


class Certain:
    """A generator whose numbers are all the same."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


def kron(name: str, balance: bool = False, **options: Any) -> Pair:
    def build(named: Params) -> Any:
        theirs = {key: value for key, value in options.items() if key not in SCHEDULE}
        schedule = {key: options[key] for key in SCHEDULE if key in options}
        if schedule:
            theirs["preconditioner_update_probability"] = kron_torch.precond_update_prob_schedule(**schedule)
        params = [param for _, param in named]
        optimizer = kron_torch.Kron(params, precond_dtype=torch.float64, **theirs)
        optimizer.rng = Certain(0.0 if balance else 1.0)
        return optimizer

    ours = {**options, "balance_probability": 1.0 if balance else 0.0}
    return Pair(name, build, with_a_probe(), ours, shapes=TENSORS, absent=False, bound=SINGLE_FACTORS)


SAME = [
    kron("plain", **DECAY),
    kron("balanced", balance=True, precond_init_scale=0.5, precond_lr=0.3, **DECAY),
    kron("one diagonal", lr=0.02, memory_save_mode="one_diag"),
    kron("one diagonal if it is alone", lr=0.02, memory_save_mode="smart_one_diag"),
    kron("one diagonal of a kernel", lr=0.02, memory_save_mode="one_diag", merge_dims=False),
    kron("all diagonal", lr=0.02, memory_save_mode="all_diag"),
    kron("vectors with triangles", lr=0.02, min_ndim_triangular=1, merge_dims=False),
    kron("long modes diagonal", lr=0.02, max_size_triangular=6, b1=0.8),
    kron("of the gradients", lr=0.02, momentum_into_precond_update=False),
    kron("now and then", lr=0.02, max_prob=1.0, min_prob=0.25, decay=0.2, flat_start=3),
]

test_same = same(SAME)
