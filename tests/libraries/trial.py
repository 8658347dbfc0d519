"""Two optimizers on the same parameters and gradients, compared after every step.

    pair("Lion", lion_pytorch.Lion, "lion", {"lr": 0.01, "weight_decay": 0.1})

is the library's class and the rule of the standard library with the same options; `theirs` and `ours` are options that
only one of them has, or that the two call differently.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import optc
import pytest
import torch
from bounds import ELEMENTWISE, Bound
from torch.nn import Parameter

STEPS = 16

# A matrix of each orientation, a square one, a vector, the kernel of a convolution, a scalar.
SHAPES: dict[str, tuple[int, ...]] = {
    "tall": (8, 5),
    "wide": (4, 9),
    "square": (6, 6),
    "bias": (7,),
    "kernel": (4, 3, 2, 2),
    "scalar": (),
    "large": (70, 64),
    # Names that Adam-mini looks for.
    "embed.weight": (10, 6),
    "attn.wq": (6, 6),
    "attn.wo": (6, 6),
    "mlp.bias": (6,),
    "norm.weight": (6,),
    "other": (5, 6),
}
MATRICES = ("tall", "wide", "square")
TENSORS = (*MATRICES, "bias", "kernel")
EVERY = (*TENSORS, "scalar")
MODEL = ("embed.weight", "attn.wq", "attn.wo", "mlp.bias", "norm.weight", "other")

# Options of many pairs.
DECAY = {"lr": 0.02, "weight_decay": 0.1}

# The learning rate of each step, over that which the optimizer was made with.
RATES = [1.0, 1.0, 0.5, 2.0, 1.5, 0.25, 1.0, 3.0, 0.5, 1.0, 1.25, 0.75, 1.0, 2.0, 0.5, 1.0]

# Steps at which parameters have no gradient; one of them sees its first gradient late.
ABSENT = {"bias": (1, 2, 9), "wide": (4, 5), "kernel": (7,)}

Params = list[tuple[str, Parameter]]
Seen = list[dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Pair:
    """An optimizer of a library and the rule that does the same."""

    name: str
    theirs: Callable[[Params], Any]
    source: str
    options: dict[str, Any]
    bound: Bound = ELEMENTWISE
    shapes: Sequence[str] = EVERY
    # False where the library counts the steps of a group and the rule those of each parameter.
    absent: bool = True
    # False where the two see a change of the learning rate at different places.
    rates: bool = True
    dtypes: Sequence[torch.dtype] = (torch.float64, torch.float32)


def pair(
    name: str,
    make: Callable[..., Any],
    source: str,
    options: dict[str, Any],
    *,
    theirs: dict[str, Any] | None = None,
    ours: dict[str, Any] | None = None,
    **traits: Any,
) -> Pair:
    given = {**options, **(theirs or {})}
    build = lambda named: make([param for _, param in named], **given)  # noqa: E731
    return Pair(name, build, source, {**options, **(ours or {})}, **traits)


def trained(make: Callable[..., Any]) -> Callable[..., Any]:
    """Made, and put in train mode."""

    def build(params: Any, **options: Any) -> Any:
        optimizer = make(params, **options)
        optimizer.train()
        return optimizer

    return build


def draw(key: str, shape: tuple[int, ...], dtype: torch.dtype, scale: float = 1.0) -> torch.Tensor:
    """Normal numbers that depend on nothing but the key."""
    seed = sum(ord(letter) * 131**place for place, letter in enumerate(key)) % 2**31
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def params(shapes: Sequence[str], dtype: torch.dtype) -> Params:
    return [(name, Parameter(draw(name, SHAPES[name], dtype))) for name in shapes]


def gradient(name: str, step: int, dtype: torch.dtype) -> torch.Tensor:
    """A drift and noise, so that averages have a direction and signs change now and then."""
    shape = SHAPES[name]
    return draw(f"{name} drift", shape, dtype, 0.5) + draw(f"{name} {step}", shape, dtype)


def give(named: Params, step: int, absent: bool) -> None:
    for name, param in named:
        missing = absent and step in ABSENT.get(name, ())
        param.grad = None if missing else gradient(name, step, param.dtype)


def values(named: Params) -> dict[str, torch.Tensor]:
    return {name: param.detach().double().clone() for name, param in named}


def run(pair: Pair, optimizer: Any, named: Params) -> Seen:
    """The parameters after each step."""
    made_with = [group["lr"] for group in optimizer.param_groups]
    seen = []
    for step in range(1, STEPS + 1):
        for group, rate in zip(optimizer.param_groups, made_with) if pair.rates else []:
            group["lr"] = rate * RATES[step - 1]
        give(named, step, pair.absent)
        optimizer.step()
        seen.append(values(named))
    return seen


def run_both(pair: Pair, dtype: torch.dtype) -> Iterator[str]:
    """Where the two are too far apart."""
    mine, its = params(pair.shapes, dtype), params(pair.shapes, dtype)
    start = values(mine)
    theirs = run(pair, pair.theirs(its), its)
    ours = run(pair, optc.Optimizer(mine, pair.source, **pair.options), mine)
    return compare(pair.bound, dtype, start, ours, theirs)


def compare(bound: Bound, dtype: torch.dtype, start: dict[str, torch.Tensor], ours: Seen, theirs: Seen) -> Iterator[str]:
    for step, (one, other) in enumerate(zip(ours, theirs), 1):
        for name in one:
            moved = (other[name] - start[name]).abs().max().item()
            apart = over((one[name] - other[name]).abs().max().item(), moved)
            most = bound.at(dtype, step, over(other[name].abs().max().item(), moved))
            if not apart <= most:
                yield f"{name} after {step} steps: {apart:.1e}, at most {most:.1e}"


def over(apart: float, moved: float) -> float:
    """Of a parameter that has not moved any distance is too large."""
    return apart / moved if moved > 0 else 0.0 if apart == 0 else math.inf


def same(pairs: Sequence[Pair]) -> Callable[..., None]:
    """A test: both sides of every pair come to the same, in every dtype."""
    cases = [(pair, dtype) for pair in pairs for dtype in pair.dtypes]
    names = [f"{pair.name}, {str(dtype).removeprefix('torch.')}" for pair, dtype in cases]

    @pytest.mark.parametrize(("pair", "dtype"), cases, ids=names)
    def test(pair: Pair, dtype: torch.dtype) -> None:
        far = list(run_both(pair, dtype))
        assert not far, "\n".join([pair.name, *far[:12]])

    return test


def different(pairs: Sequence[Pair]) -> Callable[..., None]:
    """A test: what the table of conventions says of the library still holds."""

    @pytest.mark.parametrize("pair", pairs, ids=[pair.name for pair in pairs])
    def test(pair: Pair) -> None:
        assert list(run_both(pair, torch.float64)), f"{pair.name} is the same now: docs/conventions.md says that it differs"

    return test
