"""Entries: what optimizers do beside a step, compared with the methods of libraries that do the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optc
import pytest
import pytorch_optimizer as po
import schedulefree as sf
import torch
from bounds import ELEMENTWISE, SINGLE_FACTORS, SINGLE_NUMBERS, Bound
from trial import DECAY, EVERY, STEPS, TENSORS, Params, Seen, compare, give, gradient, params, values

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def only(named: Params) -> list[Any]:
    return [param for _, param in named]


def expect_close(bound: Bound, shapes: tuple[str, ...], dtype: torch.dtype, ours: Callable[[Params], Seen], theirs: Callable[[Params], Seen]) -> None:
    mine, its = params(shapes, dtype), params(shapes, dtype)
    start = values(mine)
    far = list(compare(bound, dtype, start, ours(mine), theirs(its)))
    assert not far, "\n".join(far[:12])


def give_again(named: Params, step: int) -> None:
    """The gradients at the second point."""
    for name, param in named:
        param.grad = None if param.grad is None else gradient(name, -step, param.dtype)


def two_points(named: Params, first: Callable[[], Any], second: Callable[[], Any]) -> Seen:
    seen = []
    for step in range(1, STEPS + 1):
        give(named, step, absent=True)
        first()
        seen.append(values(named))
        give_again(named, step)
        second()
        seen.append(values(named))
    return seen


@DTYPES
@pytest.mark.parametrize("adaptive", [False, True], ids=["plain", "adaptive"])
@pytest.mark.parametrize(
    ("base", "name", "options"),
    [
        (torch.optim.SGD, "Sam", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.05}),
        (torch.optim.AdamW, "SamAdamW", DECAY),
    ],
    ids=["SGD", "AdamW"],
)
def test_sharpness_aware(base: Any, name: str, options: dict[str, Any], adaptive: bool, dtype: torch.dtype) -> None:
    def theirs(named: Params) -> Seen:
        optimizer = po.SAM(only(named), base_optimizer=base, rho=0.2, adaptive=adaptive, foreach=False, **options)
        return two_points(named, optimizer.first_step, optimizer.second_step)

    def ours(named: Params) -> Seen:
        optimizer = optc.Optimizer(named, "sam", optimizer=name, rho=0.2, adaptive=adaptive, **options)
        return two_points(named, optimizer.first_step, optimizer.step)

    expect_close(SINGLE_NUMBERS, EVERY, dtype, ours, theirs)


def with_evaluations(named: Params, optimizer: Any, period: int) -> Seen:
    """Every `period` steps the parameters are those of evaluation, and again those of training; asking twice changes nothing."""
    optimizer.train()
    optimizer.train()
    seen = []
    for step in range(1, STEPS + 1):
        give(named, step, absent=False)
        optimizer.step()
        seen.append(values(named))
        if step % period == 0:
            optimizer.eval()
            optimizer.eval()
            seen.append(values(named))
            optimizer.train()
            optimizer.train()
            seen.append(values(named))
    return seen


@DTYPES
@pytest.mark.parametrize("period", [1, 5])
@pytest.mark.parametrize(
    ("reference", "rule", "options", "shapes", "bound"),
    [
        (sf.AdamWScheduleFree, "schedule_free_adamw", {**DECAY, "betas": (0.8, 0.9)}, EVERY, ELEMENTWISE),
        (sf.RAdamScheduleFree, "schedule_free_radam", DECAY, EVERY, ELEMENTWISE),
        (sf.SGDScheduleFree, "schedule_free_sgd", {"lr": 0.2, "weight_decay": 0.1, "momentum": 0.8}, EVERY, ELEMENTWISE),
        (po.ScheduleFreeSGD, "schedule_free_sgd", {"lr": 0.2, "weight_decay": 0.1}, EVERY, ELEMENTWISE),
        (po.SPlus, "splus", {"lr": 0.05, "weight_decay": 0.1, "ema_rate": 0.9}, ("square", "bias", "kernel"), SINGLE_FACTORS),
    ],
)
def test_parameters_of_evaluation(reference: Any, rule: str, options: dict[str, Any], shapes: tuple[str, ...], bound: Bound, period: int, dtype: torch.dtype) -> None:
    expect_close(
        bound,
        shapes,
        dtype,
        lambda named: with_evaluations(named, optc.Optimizer(named, rule, **options), period),
        lambda named: with_evaluations(named, reference(only(named), **options), period),
    )


@DTYPES
def test_an_estimate_of_the_hessian(dtype: torch.dtype) -> None:
    """pytorch-optimizer clamps m / h to ±p, which is p times Sophia's step with rho bs = p."""
    p, lr, decay = 0.25, 0.08, 0.1

    def theirs(named: Params) -> Seen:
        optimizer = po.SophiaH(only(named), lr=lr, betas=(0.9, 0.95), weight_decay=decay, p=p, update_period=10**6, eps=1e-30, foreach=False)
        seen = []
        for step in range(1, STEPS + 1):
            give(named, step, absent=False)
            squares = [param.grad.square() for _, param in named]
            optimizer.step(hessian=squares if step % 3 == 1 else None)
            seen.append(values(named))
        return seen

    def ours(named: Params) -> Seen:
        scaled = {"lr": lr * p, "weight_decay": decay / p, "rho": p, "bs": 1}
        optimizer = optc.Optimizer(named, "sophia_g", betas=(0.9, 0.95), **scaled)
        seen = []
        for step in range(1, STEPS + 1):
            give(named, step, absent=False)
            if step % 3 == 1:
                optimizer.update_hessian()
            optimizer.step()
            seen.append(values(named))
        return seen

    expect_close(ELEMENTWISE, TENSORS, dtype, ours, theirs)
