"""State of an earlier version of a rule, in state dicts and in files."""

from __future__ import annotations

import warnings
from pathlib import Path

import optc
import pytest
import torch

FIRST = """
optimizer Shown {
    hyper rate = 0.1
    rule each(w: [...]) {
        state m = zeros_like(w)
        state extra = zeros_like(w)
        modes i of w { state l[i]: f64[] = 0 }
        m = lerp(m, grad, 0.5)
        extra = m
        each i { l[i] = l[i] + 1 }
        w -= rate * extra
    }
}
"""

SECOND = """
optimizer Shown {
    hyper lr = 0.2
    version "2"
    migrate from "1" {
        rename m -> exp_avg
        rename l -> laps
        rename rate -> lr
        drop extra
        add exp_avg_sq = 1 / 4
    }
    rule each(w: [...]) {
        state exp_avg = zeros_like(w)
        state exp_avg_sq = zeros_like(w)
        modes i of w { state laps[i]: f64[] = 0 }
        exp_avg = lerp(exp_avg, grad, 0.5)
        exp_avg_sq = exp_avg_sq + grad^2
        each i { laps[i] = laps[i] + 1 }
        w -= lr * exp_avg / exp_avg_sq
    }
}
"""

REPORT = """Shown 1 -> 2: add exp_avg_sq = 0.25
Shown 1 -> 2: drop extra
Shown 1 -> 2: rename l -> laps (2 times)
Shown 1 -> 2: rename m -> exp_avg
Shown 1 -> 2: rename rate -> lr"""


def stepped(source: str, name: str | None = None) -> optc.Optimizer:
    weight = torch.nn.Parameter(torch.ones(2, 3))
    optimizer = optc.Optimizer([("weight", weight)], source, optimizer=name)
    weight.grad = torch.full((2, 3), 0.5)
    optimizer.step()
    return optimizer


def check(optimizer: optc.Optimizer) -> None:
    group = optimizer.param_groups[0]
    state = optimizer.state[group["params"][0]]
    assert (group["lr"], group["versions"]) == (0.1, {"Shown": "2"})
    assert "rate" not in group
    assert set(state) == {"step", "exp_avg", "exp_avg_sq", "laps.0", "laps.1"}
    assert torch.equal(state["exp_avg"], torch.full((2, 3), 0.25))
    assert torch.equal(state["exp_avg_sq"], torch.full((2, 3), 0.25))
    assert state["laps.0"].item() == 1
    optimizer.step()


def test_a_state_dict_of_an_earlier_version() -> None:
    saved = stepped(FIRST).state_dict()
    optimizer = stepped(SECOND)
    with pytest.warns(optc.MigrationWarning) as told:
        optimizer.load_state_dict(saved)
    assert str(told[0].message) == REPORT
    check(optimizer)


def test_a_file_of_an_earlier_version(tmp_path: Path) -> None:
    stepped(FIRST).save(tmp_path / "x")
    optimizer = stepped(SECOND)
    with pytest.warns(optc.MigrationWarning) as told:
        optimizer.load(tmp_path / "x")
    assert str(told[0].message) == REPORT
    check(optimizer)


def test_this_version_is_silent(tmp_path: Path) -> None:
    optimizer = stepped(SECOND)
    optimizer.save(tmp_path / "x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stepped(SECOND).load(tmp_path / "x")
        stepped(SECOND).load_state_dict(optimizer.state_dict())


def test_a_version_without_a_migration_changes_nothing(tmp_path: Path) -> None:
    later = stepped(SECOND)
    later.save(tmp_path / "x")
    optimizer = stepped(FIRST)
    before = optimizer.state_dict()
    for load in (lambda: optimizer.load_state_dict(later.state_dict()), lambda: optimizer.load(tmp_path / "x")):
        with pytest.raises(optc.OptError, match="version `2` of `Shown`, this is version `1`") as error:
            load()
        assert error.value.code == "opt::checkpoint::version"
    assert str(optimizer.state_dict()) == str(before)


AROUND = """
optimizer Around(base: optimizer = Shown) {
    hyper lr = 7, rate = 7
    rule each(w: [...]) {
        state m = zeros_like(w)
        m = m + 1
        w = base(w, grad)
    }
}
"""


def test_a_rule_that_another_one_takes() -> None:
    around = stepped(FIRST + AROUND, "Around")
    saved = around.state_dict()
    optimizer = stepped(SECOND + AROUND, "Around")
    with pytest.warns(optc.MigrationWarning) as told:
        optimizer.load_state_dict(saved)
    assert "Shown 1 -> 2: rename m -> exp_avg" in str(told[0].message)
    (state,) = optimizer.state.values()
    assert {"m", "base.exp_avg", "base.exp_avg_sq"} < set(state)
    assert optimizer.param_groups[0]["base.lr"] == 0.1
