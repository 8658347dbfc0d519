"""Gradient scalers: a step with infinities changes nothing, and scaled gradients are unscaled inside of the step."""

from __future__ import annotations

import pytest
import torch

from problem import Problem
from rules import RULES, Rule, title


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_an_overflow_changes_nothing(rule: Rule) -> None:
    problem = Problem()
    optimizer = rule(problem.params)
    problem.run(optimizer, 1)
    before = problem.weight.detach().clone()
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(65536.0), torch.tensor(1.0)
    problem.loss().backward()
    optimizer.step()
    assert torch.equal(problem.weight, before)
    assert optimizer.state[problem.weight]["step"] == 1
    del optimizer.grad_scale, optimizer.found_inf


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_scaled_gradients_give_the_same_bits(rule: Rule) -> None:
    plain, scaled = Problem(), Problem()
    optimizers = rule(plain.params), rule(scaled.params)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(4):
        plain.run(optimizers[0], 1)
        optimizers[1].zero_grad()
        scaler.scale(scaled.loss()).backward()
        scaler.step(optimizers[1])
        scaler.update()
    assert torch.equal(plain.weight, scaled.weight)


@pytest.mark.parametrize("unscale", [False, True])
def test_a_scaler_backs_off(unscale: bool) -> None:
    rule = next(rule for rule in RULES if rule.name == "AdamW")
    problem = Problem()
    optimizer = rule(problem.params)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(problem.loss()).backward()
    problem.weight.grad[0, 0] = float("inf")
    before = problem.weight.detach().clone()
    if unscale:
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(problem.weight, before)
    assert not optimizer.state
    assert scaler.get_scale() == 1.0
