"""Each rule goes where torch's class goes: down, or up; with schedulers, groups, tensors as learning rates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from problem import Problem
from rules import RULES, Rule, cases, fresh, title

CASES = cases()


def schedule(schedulers: list[Any], loss: torch.Tensor) -> None:
    for scheduler in schedulers:
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(loss)
        else:
            scheduler.step()


def descend(problem: Problem, optimizer: torch.optim.Optimizer, schedulers: list[Any], up: bool) -> None:
    evaluate = problem.closure(optimizer)
    before = evaluate().item()
    for _ in range(20):
        schedule(schedulers, optimizer.step(evaluate))
    after = evaluate().item()
    assert after > before if up else after < before


@pytest.mark.parametrize(("rule", "options"), CASES, ids=title)
@pytest.mark.parametrize("strided", [False, True], ids=["dense", "strided"])
def test_the_loss_goes_the_right_way(rule: Rule, options: dict[str, Any], strided: bool) -> None:
    problem = Problem(strided=strided)
    optimizer = rule(problem.params, **fresh(options))
    descend(problem, optimizer, [], options.get("maximize", False))


@pytest.mark.parametrize(("rule", "options"), CASES, ids=title)
def test_the_loss_goes_the_right_way_with_each_scheduler(rule: Rule, options: dict[str, Any]) -> None:
    for constructors in rule.info.scheduler_inputs:
        problem = Problem()
        optimizer = rule(problem.params, **fresh(options))
        schedulers = [constructor(optimizer) for constructor in constructors]
        descend(problem, optimizer, schedulers, options.get("maximize", False))


@pytest.mark.parametrize(("rule", "options"), CASES, ids=title)
def test_two_groups(rule: Rule, options: dict[str, Any]) -> None:
    problem = Problem()
    options = fresh(options)
    other = {"lr": 0.5 * float(options.get("lr", 1e-2))}
    optimizer = rule([{"params": [problem.weight]}, {"params": [problem.bias], **other}], **options)
    assert optimizer.param_groups[1]["lr"] == other["lr"]
    descend(problem, optimizer, [], options.get("maximize", False))


@pytest.mark.parametrize(("rule", "options"), CASES, ids=title)
def test_a_tensor_as_learning_rate_is_the_number_in_it(rule: Rule, options: dict[str, Any]) -> None:
    rate = float(options.get("lr", 1e-3))
    ours, theirs = Problem(), Problem()
    number = rule(ours.params, **{**options, "lr": rate})
    tensor = rule(theirs.params, **{**options, "lr": torch.tensor(rate, dtype=torch.float64)})
    for _ in range(5):
        ours.run(number, 1)
        theirs.run(tensor, 1)
        tensor.param_groups[0]["lr"].mul_(0.5)
        number.param_groups[0]["lr"] *= 0.5
    assert torch.equal(ours.weight, theirs.weight)
    assert isinstance(tensor.param_groups[0]["lr"], torch.Tensor)


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_a_tensor_as_learning_rate_has_one_element(rule: Rule) -> None:
    with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
        rule(Problem().params, lr=torch.tensor([0.001, 0.001]))


@pytest.mark.parametrize(("rule", "options"), CASES, ids=title)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_parity_with_torch(rule: Rule, options: dict[str, Any], dtype: torch.dtype) -> None:
    ours, theirs = Problem(dtype=dtype), Problem(dtype=dtype)
    start = [param.detach().clone() for param in ours.params]
    ours.run(rule(ours.params, **fresh(options)), 10)
    theirs.run(rule.reference(theirs.params, **fresh(options)), 10)
    # Muon multiplies in bfloat16, NAdam keeps a product in float32; the rest differs by the order of its roundings.
    double = {"Muon": 0.1, "NAdam": 1e-6}.get(rule.name, 1e-10)
    bound = double if dtype == torch.float64 else max(double, 1e-4)
    for mine, its, began in zip(ours.params, theirs.params, start):
        moved = (its - began).abs().max()
        assert (mine - its).abs().max() <= bound * moved


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_weight_decay_per_group(rule: Rule) -> None:
    decayed, plain = Problem(), Problem()
    groups = [{"params": [decayed.weight], "weight_decay": 0.1}, {"params": [decayed.bias], "weight_decay": 0.0}]
    problems = [(decayed, rule(groups, lr=1e-2)), (plain, rule(plain.params, lr=1e-2, weight_decay=0.0))]
    for problem, optimizer in problems:
        for n in range(3):
            problem.weight.grad, problem.bias.grad = torch.full((10, 5), 0.5 + n), torch.full((10, 1), 1.0 + n)
            optimizer.step()
    assert torch.equal(decayed.bias, plain.bias)
    assert not torch.equal(decayed.weight, plain.weight)


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_steps_are_deterministic(rule: Rule) -> None:
    runs = [Problem(), Problem()]
    for problem in runs:
        problem.run(rule(problem.params), 10)
    assert torch.equal(runs[0].weight, runs[1].weight)
