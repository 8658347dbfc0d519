"""Gradients that are absent, zero, or too large; parameters that are frozen, empty, or of several types."""

from __future__ import annotations

from typing import Any

import optc
import pytest
import torch
from torch.nn import Parameter

from problem import Problem
from rules import RULES, Rule, cases, fresh, title


@pytest.mark.parametrize(("rule", "options"), cases(), ids=title)
def test_without_gradients_nothing_happens(rule: Rule, options: dict[str, Any]) -> None:
    problem = Problem()
    optimizer = rule(problem.params, **fresh(options))
    before = problem.weight.detach().clone()
    optimizer.step()
    assert torch.equal(problem.weight, before)
    assert not optimizer.state


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_zero_gradients_move_nothing_without_decay(rule: Rule) -> None:
    problem = Problem()
    optimizer = rule(problem.params, weight_decay=0.0)
    for param in problem.params:
        param.grad = torch.zeros_like(param)
    before = problem.weight.detach().clone()
    optimizer.step()
    assert torch.equal(problem.weight, before)
    assert optimizer.state[problem.weight]["step"] == 1


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_a_gradient_that_is_absent_at_some_steps(rule: Rule) -> None:
    ours, theirs = Problem(), Problem()
    pairs = [(ours, rule(ours.params, lr=1e-2)), (theirs, rule.reference(theirs.params, lr=1e-2))]
    for problem, optimizer in pairs:
        for step in range(6):
            problem.closure(optimizer)()
            if step % 2:
                problem.bias.grad = None
            optimizer.step()
    assert pairs[0][1].state[ours.bias]["step"] == 3
    assert torch.allclose(ours.weight, theirs.weight, rtol=0, atol=2e-3 if rule.name == "Muon" else 1e-6)
    assert torch.allclose(ours.bias, theirs.bias, rtol=0, atol=2e-3 if rule.name == "Muon" else 1e-6)


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_layers_are_frozen_and_thawed(rule: Rule) -> None:
    problem = Problem()
    optimizer = rule(problem.params, lr=1e-2)
    problem.weight.requires_grad_(False)
    frozen = problem.weight.detach().clone()
    problem.run(optimizer, 3)
    assert torch.equal(problem.weight, frozen)
    assert problem.weight not in optimizer.state
    problem.weight.requires_grad_(True)
    problem.run(optimizer, 2)
    assert not torch.equal(problem.weight, frozen)
    assert optimizer.state[problem.weight]["step"] == 2
    assert optimizer.state[problem.bias]["step"] == 5


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_a_parameter_without_elements(rule: Rule) -> None:
    problem, empty = Problem(), Parameter(torch.zeros(0, 3))
    optimizer = rule([*problem.params, empty], lr=1e-2)
    empty.grad = torch.zeros(0, 3)
    loss = problem.loss()
    loss.backward()
    optimizer.step()
    assert problem.loss() < loss
    assert empty.shape == (0, 3)


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_types_are_mixed(rule: Rule) -> None:
    problems = [Problem(dtype=dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)]
    # Adadelta begins with steps that a 16-bit parameter would not notice.
    rate = 10.0 if rule.name == "Adadelta" else 1e-2
    optimizer = rule([param for problem in problems for param in problem.params], lr=rate)
    before = [problem.loss().item() for problem in problems]
    for _ in range(5):
        optimizer.zero_grad()
        sum(problem.loss().double() for problem in problems).backward()
        optimizer.step()
    assert all(problem.loss().item() < loss for problem, loss in zip(problems, before))
    for problem in problems:
        floats = [value for key, value in optimizer.state[problem.weight].items() if key != "step"]
        assert all(value.dtype == problem.weight.dtype for value in floats)


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_gradients_of_zero_or_none(rule: Rule) -> None:
    problem = Problem()
    optimizer = rule(problem.params)
    problem.closure(optimizer)()
    optimizer.zero_grad(set_to_none=False)
    assert torch.equal(problem.weight.grad, torch.zeros(10, 5))
    optimizer.zero_grad()
    assert problem.weight.grad is None


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_an_expanded_gradient(rule: Rule) -> None:
    one, other = Parameter(torch.ones(3, 4)), Parameter(torch.ones(3, 4))
    expanded, dense = rule([one]), rule([other])
    one.grad, other.grad = torch.ones(1, 1).expand(3, 4), torch.ones(3, 4)
    expanded.step()
    dense.step()
    assert torch.equal(one, other)


def test_a_step_is_seen_by_autograd() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, "sgd", lr=0.1)
    stale = problem.weight.square().sum()
    problem.loss().backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        stale.backward()


def test_maximize_of_a_rule_without_a_word_for_it() -> None:
    down, up = Parameter(torch.ones(4, 4)), Parameter(torch.ones(4, 4))
    down.grad, up.grad = torch.eye(4), -torch.eye(4)
    optc.Optimizer([down], "muon", lr=0.1).step()
    optc.Optimizer([up], "muon", lr=0.1, maximize=True).step()
    assert torch.equal(down, up)
    assert torch.equal(up.grad, -torch.eye(4))


def test_a_gradient_with_nan_can_be_refused() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "adamw", non_finite="error")
    problem.loss().backward()
    problem.bias.grad[3, 0] = float("nan")
    before = problem.weight.detach().clone()
    with pytest.raises(optc.OptError, match=r"gradient of `bias` is NaN at \[3, 0\]"):
        optimizer.step()
    assert torch.equal(problem.weight, before)
    assert not optimizer.state


def test_a_parameter_whose_gradient_has_nan_can_be_left_out() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "adamw", non_finite="skip")
    problem.loss().backward()
    problem.bias.grad[3, 0] = float("inf")
    before = problem.bias.detach().clone()
    optimizer.step()
    assert torch.equal(problem.bias, before)
    assert list(optimizer.state) == [problem.weight]
    with pytest.raises(optc.OptError, match="`non_finite` is 'eror'") as error:
        optc.Optimizer(problem.named, "adamw", non_finite="eror")  # type: ignore[arg-type]
    assert error.value.code == "opt::python::non_finite"
