"""Hooks and closures: called in torch's order, with torch's arguments."""

from __future__ import annotations

import optc
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from problem import Problem
from rules import RULES, Rule, title


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_step_hooks_run_around_the_step_until_they_are_removed(rule: Rule) -> None:
    problem = Problem()
    optimizer = rule(problem.params)
    seen: list[str] = []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: seen.append("global pre")),
        optimizer.register_step_pre_hook(lambda *_: seen.append("pre")),
        optimizer.register_step_post_hook(lambda *_: seen.append("post")),
        register_optimizer_step_post_hook(lambda *_: seen.append("global post")),
    ]
    problem.run(optimizer, 2)
    assert seen == ["global pre", "pre", "post", "global post"] * 2
    for handle in handles:
        handle.remove()
    problem.run(optimizer, 1)
    assert len(seen) == 8


def test_a_pre_hook_changes_the_arguments() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, "adamw")
    other = problem.closure(optimizer)
    optimizer.register_step_pre_hook(lambda _, args, kwargs: ((args[0], other), kwargs))
    assert optimizer.step(None) is not None


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_state_dict_hooks(rule: Rule) -> None:
    problem = Problem()
    optimizer = rule(problem.params)
    problem.run(optimizer, 1)
    seen: list[str] = []
    optimizer.register_state_dict_pre_hook(lambda _: seen.append("pre"))
    optimizer.register_state_dict_post_hook(lambda _, state: {**state, "note": 1})
    optimizer.register_load_state_dict_pre_hook(lambda _, state: seen.append("load pre"))
    optimizer.register_load_state_dict_post_hook(lambda _: seen.append("load post"))
    saved = optimizer.state_dict()
    assert saved["note"] == 1
    optimizer.load_state_dict(saved)
    assert seen == ["pre", "load pre", "load post"]
    problem.run(optimizer, 1)


def test_hooks_can_be_put_first() -> None:
    optimizer = optc.Optimizer(Problem().params, "adamw")
    seen: list[int] = []
    optimizer.register_load_state_dict_pre_hook(lambda *_: seen.append(1))
    optimizer.register_load_state_dict_pre_hook(lambda *_: seen.append(0), prepend=True)
    optimizer.load_state_dict(optimizer.state_dict())
    assert seen == [0, 1]


def test_a_post_hook_of_loading_sees_the_loaded_state() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, "adamw")
    problem.run(optimizer, 2)
    found: list[float] = []
    optimizer.register_load_state_dict_post_hook(lambda opt: found.append(float(opt.state[problem.weight]["step"])))
    optimizer.load_state_dict(optimizer.state_dict())
    assert found == [2.0]


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_a_step_returns_the_closure_s_loss(rule: Rule) -> None:
    problem = Problem()
    optimizer = rule(problem.params)
    assert optimizer.step() is None
    for value in (torch.tensor(1.5), 1.5):
        assert optimizer.step(lambda value=value: value) is value
    loss = problem.loss()
    assert torch.equal(optimizer.step(problem.closure(optimizer)), loss)


def test_a_closure_has_gradients_even_under_no_grad() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, "sgd", lr=1e-3)
    before = problem.loss().item()
    with torch.no_grad():
        optimizer.step(problem.closure(optimizer))
    assert problem.loss().item() < before


def test_training_under_no_grad() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, "adamw", lr=1e-2)
    before = problem.loss().item()
    with torch.no_grad():
        for _ in range(5):
            for param, grad in zip(problem.params, gradients(problem)):
                param.grad = grad
            optimizer.step()
    assert problem.loss().item() < before


def gradients(problem: Problem) -> list[torch.Tensor]:
    residual = 2 * (problem.weight @ problem.x + problem.bias)
    return [residual @ problem.x.T, residual.sum(1, keepdim=True)]
