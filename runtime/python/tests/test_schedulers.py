"""Every learning-rate scheduler of torch gives ours the rates that it gives torch's."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import optc
import pytest
import torch
from torch.optim import lr_scheduler as schedulers
from torch.optim.swa_utils import SWALR

from problem import Problem

Make = Callable[[torch.optim.Optimizer], Any]

MAKERS: dict[str, Make] = {
    "LambdaLR": lambda o: schedulers.LambdaLR(o, lambda n: 0.9**n),
    "MultiplicativeLR": lambda o: schedulers.MultiplicativeLR(o, lambda n: 0.9),
    "StepLR": lambda o: schedulers.StepLR(o, 2, 0.5),
    "MultiStepLR": lambda o: schedulers.MultiStepLR(o, [2, 5], 0.5),
    "ConstantLR": lambda o: schedulers.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: schedulers.LinearLR(o, 0.25, total_iters=4),
    "ExponentialLR": lambda o: schedulers.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda o: schedulers.PolynomialLR(o, 8, 2.0),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, 6),
    "CosineAnnealingWarmRestarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 3),
    "ReduceLROnPlateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=0, threshold=0.9),
    "CyclicLR": lambda o: schedulers.CyclicLR(o, 1e-3, 1e-2, 3, cycle_momentum=True),
    "OneCycleLR": lambda o: schedulers.OneCycleLR(o, 1e-2, total_steps=10),
    "ChainedScheduler": lambda o: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(o, 0.5, 3), schedulers.ExponentialLR(o, 0.9)]
    ),
    "SequentialLR": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.1, total_iters=3), schedulers.ExponentialLR(o, 0.9)], [3]
    ),
    "SWALR": lambda o: SWALR(o, 5e-3, 4),
}


def test_all_of_them_are_here() -> None:
    public = {
        name
        for name, value in vars(schedulers).items()
        if inspect.isclass(value) and issubclass(value, schedulers.LRScheduler) and not name.startswith("_")
    }
    assert public - {"LRScheduler"} <= set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("module", ["adamw", "sgd"])
def test_rates_and_momenta_are_torch_s(name: str, module: str) -> None:
    ours, theirs = Problem(), Problem()
    options = {"lr": 1e-2, "momentum": 0.9} if module == "sgd" else {"lr": 1e-2}
    reference = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[module]
    pairs = [(ours, optc.Optimizer(ours.params, module, **options)), (theirs, reference(theirs.params, **options))]
    history: list[list[Any]] = [[], []]
    for (problem, optimizer), seen in zip(pairs, history):
        scheduler = MAKERS[name](optimizer)
        for _ in range(8):
            loss = optimizer.step(problem.closure(optimizer))
            scheduler.step(loss.detach()) if name == "ReduceLROnPlateau" else scheduler.step()
            group = optimizer.param_groups[0]
            seen.append((group["lr"], group.get("momentum"), group.get("betas")))
    assert history[0] == history[1]
    torch.testing.assert_close(ours.params, theirs.params, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_a_scheduler_is_resumed(name: str) -> None:
    whole, half = Problem(), Problem()
    optimizer = optc.Optimizer(whole.params, "adamw", lr=1e-2)
    scheduler = MAKERS[name](optimizer)
    saved: Any = None
    for n in range(6):
        if n == 3:
            saved = copy.deepcopy((whole.params, optimizer.state_dict(), scheduler.state_dict()))
        advance(whole, optimizer, scheduler)
    with torch.no_grad():
        for param, value in zip(half.params, saved[0]):
            param.copy_(value)
    resumed = optc.Optimizer(half.params, "adamw", lr=1e-2)
    again = MAKERS[name](resumed)
    again.load_state_dict(saved[2])
    resumed.load_state_dict(saved[1])
    for _ in range(3):
        advance(half, resumed, again)
    torch.testing.assert_close(whole.params, half.params, rtol=0, atol=0)


def advance(problem: Problem, optimizer: torch.optim.Optimizer, scheduler: Any) -> None:
    loss = optimizer.step(problem.closure(optimizer))
    if isinstance(scheduler, schedulers.ReduceLROnPlateau):
        scheduler.step(loss.detach())
    else:
        scheduler.step()
