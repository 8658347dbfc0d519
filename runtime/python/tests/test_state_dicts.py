"""State dicts, pickles and copies: what is saved is what continues, here and in torch's own classes."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import optc
import pytest
import torch

from problem import Problem, twin
from rules import RULES, Rule, cases, fresh, title
from same import assert_same


@pytest.mark.parametrize(("rule", "options"), cases(), ids=title)
def test_a_loaded_state_dict_continues_bit_for_bit(rule: Rule, options: dict[str, Any]) -> None:
    problem = Problem()
    optimizer = rule(problem.params, **fresh(options))
    problem.run(optimizer, 3)
    other = twin(problem)
    copied = rule(other.params, **fresh(options))
    saved = copy.deepcopy(optimizer.state_dict())
    loaded = copy.deepcopy(saved)
    copied.load_state_dict(loaded)
    for _ in range(3):
        problem.run(optimizer, 1)
        other.run(copied, 1)
    assert_same(problem.params, other.params)
    assert_same(optimizer.state_dict(), copied.state_dict())
    assert_same(saved, loaded)


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_weights_only(rule: Rule) -> None:
    problem = Problem()
    optimizer = rule(problem.named)
    problem.run(optimizer, 2)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert_same(loaded, optimizer.state_dict())
    other = twin(problem)
    copied = rule(other.named)
    copied.load_state_dict(loaded)
    problem.run(optimizer, 1)
    other.run(copied, 1)
    assert_same(problem.params, other.params)


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_an_older_dict_lacks_options(rule: Rule) -> None:
    problem = Problem()
    optimizer = rule(problem.params)
    problem.run(optimizer, 1)
    saved = copy.deepcopy(optimizer.state_dict())
    for group in saved["param_groups"]:
        for key in ("maximize", "amsgrad", "nesterov", "weight_decay"):
            group.pop(key, None)
    options = dict(optimizer.param_groups[0])
    optimizer.load_state_dict(saved)
    assert dict(optimizer.param_groups[0]) == options
    problem.run(optimizer, 1)


@pytest.mark.parametrize("rule", RULES, ids=title)
@pytest.mark.parametrize("number", [float, int])
def test_a_step_that_is_no_tensor(rule: Rule, number: type) -> None:
    problem = Problem()
    optimizer = rule(problem.params)
    problem.run(optimizer, 2)
    saved = copy.deepcopy(optimizer.state_dict())
    for entry in saved["state"].values():
        entry["step"] = number(entry["step"])
    optimizer.load_state_dict(saved)
    step = optimizer.state[problem.weight]["step"]
    assert (step.dtype, step.shape, step.item()) == (torch.float32, (), 2.0)
    problem.run(optimizer, 1)
    assert optimizer.state[problem.weight]["step"] == 3


@pytest.mark.parametrize("rule", RULES, ids=title)
@pytest.mark.parametrize(("saved_named", "loads_named"), [(a, b) for a in (False, True) for b in (False, True)])
def test_names(rule: Rule, saved_named: bool, loads_named: bool) -> None:
    problem = Problem()
    optimizer = rule(problem.named if saved_named else problem.params)
    problem.run(optimizer, 2)
    other = twin(problem)
    copied = rule(other.named if loads_named else other.params)
    copied.load_state_dict(optimizer.state_dict())
    assert ("param_names" in copied.param_groups[0]) == (saved_named or loads_named)
    problem.run(optimizer, 1)
    other.run(copied, 1)
    assert_same(problem.params, other.params)


def test_other_names_are_refused_and_can_be_changed_on_the_way() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "adamw")
    problem.run(optimizer, 1)
    renamed = optc.Optimizer([(f"module.{name}", param) for name, param in problem.named], "adamw")
    with pytest.raises(optc.OptError, match="param_names") as caught:
        renamed.load_state_dict(optimizer.state_dict())
    assert caught.value.code == "opt::python::state"
    assert not renamed.state

    def add_prefix(_: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        groups = copy.deepcopy(state_dict["param_groups"])
        groups[0]["param_names"] = [f"module.{name}" for name in groups[0]["param_names"]]
        return {**state_dict, "param_groups": groups}

    renamed.register_load_state_dict_pre_hook(add_prefix)
    renamed.load_state_dict(optimizer.state_dict())
    assert len(renamed.state) == 2


def test_state_of_another_shape_or_rule_is_refused() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "adamw")
    problem.run(optimizer, 1)
    before = copy.deepcopy(optimizer.state_dict())

    def refuse(change: Any, message: str) -> None:
        bad = copy.deepcopy(before)
        change(bad)
        with pytest.raises((optc.OptError, ValueError), match=message):
            optimizer.load_state_dict(bad)
        assert_same(optimizer.state_dict(), before)

    refuse(lambda bad: bad["state"][0].update(exp_avg=torch.ones(3)), r"`exp_avg` of parameter `weight` has shape \[3\]")
    refuse(lambda bad: bad["state"][0].pop("exp_avg"), "lacks `exp_avg`")
    refuse(lambda bad: bad["state"][0].update(momentum_buffer=torch.ones(10, 5)), "momentum_buffer, which the rule does not keep")
    refuse(lambda bad: bad["param_groups"][0].update(lr=-1.0), "Invalid learning rate: -1.0")
    refuse(lambda bad: bad["param_groups"].append(bad["param_groups"][0]), "different number of parameter groups")
    refuse(lambda bad: bad["param_groups"][0].update(params=[0]), "doesn't match the size")
    problem.run(optimizer, 1)


def test_state_keeps_its_declared_type() -> None:
    source = """
    //! Momentum in full precision.
    optimizer M {
        hyper lr = 0.1 in [0, inf)
        rule each(w: [...]) { state m: f32 = zeros_like(w)  m = 0.9 * m + grad  w -= lr * m }
    }
    """
    problem = Problem(dtype=torch.bfloat16)
    optimizer = optc.Optimizer(problem.params, source)
    problem.run(optimizer, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    assert saved["state"][0]["m"].dtype == torch.float32
    optimizer.load_state_dict(saved)
    assert_same(optimizer.state_dict(), saved)


def test_loaded_state_is_a_copy() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, "adamw")
    problem.run(optimizer, 1)
    other = twin(problem)
    copied = optc.Optimizer(other.params, "adamw")
    copied.load_state_dict(optimizer.state_dict())
    problem.run(optimizer, 1)
    assert copied.state[other.weight]["step"] == 1


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.name != "Muon"], ids=title)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_there_and_back_with_torch(rule: Rule, momentum: float) -> None:
    options = {"momentum": momentum} if rule.name in ("SGD", "RMSprop") else {}
    ours, theirs = Problem(dtype=torch.float64), Problem(dtype=torch.float64)
    mine, its = rule(ours.params, lr=1e-2, **options), rule.reference(theirs.params, lr=1e-2, **options)
    theirs.run(its, 3)
    ours_copy = [param.detach().clone() for param in theirs.params]
    with torch.no_grad():
        for param, value in zip(ours.params, ours_copy):
            param.copy_(value)
    mine.load_state_dict(its.state_dict())
    ours.run(mine, 3)
    theirs.run(its, 3)
    torch.testing.assert_close(ours.params, theirs.params, rtol=0, atol=1e-10)
    back = rule.reference(ours.params, lr=1e-2, **options)
    back.load_state_dict(mine.state_dict())
    ours.run(back, 3)
    theirs.run(its, 3)
    torch.testing.assert_close(ours.params, theirs.params, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_copies_and_pickles_go_on_by_themselves(rule: Rule) -> None:
    problem = Problem()
    optimizer = rule(problem.named, lr=1e-2)
    problem.run(optimizer, 2)
    for again in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert public(again) == public(optimizer)
        other = twin(problem)
        other.weight, other.bias = again.param_groups[0]["params"]
        here = [param.detach().clone() for param in problem.params]
        other.run(again, 2)
        assert_same([param.detach() for param in problem.params], here)
        mirror = twin(problem)
        reference = rule(mirror.named, lr=1e-2)
        reference.load_state_dict(optimizer.state_dict())
        mirror.run(reference, 2)
        assert_same(other.params, mirror.params)
        assert repr(again) == repr(optimizer)


def public(optimizer: torch.optim.Optimizer) -> set[str]:
    return {name for name in vars(optimizer) if not name.startswith("_")}


def test_an_optimizer_of_a_text_with_imports_is_pickled(tmp_path: Any) -> None:
    (tmp_path / "mine.opt").write_text("//! Mine.\nfn half(x: [...]) -> [...] { 0.5 * x }\n")
    (tmp_path / "root.opt").write_text(
        "//! Root.\nuse mine.{half}\noptimizer R { hyper lr = 0.1 rule each(w: [...]) { w -= lr * half(grad) } }\n"
    )
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, tmp_path / "root.opt")
    data = pickle.dumps(optimizer)
    (tmp_path / "mine.opt").unlink()
    again = pickle.loads(data)
    again.param_groups[0]["params"][0].grad = torch.ones(10, 5)
    again.step()


@pytest.mark.parametrize("module", ["prodigy", "schedule_free_adamw", "soap"])
def test_numbers_that_parameters_share_go_along(module: str, tmp_path: Any) -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, module)
    problem.run(optimizer, 4)
    optimizer.save(tmp_path / "x")
    saved = copy.deepcopy(optimizer.state_dict())
    by_dict, by_file = twin(problem), twin(problem)
    first, second = optc.Optimizer(by_dict.named, module), optc.Optimizer(by_file.named, module)
    first.load_state_dict(saved)
    second.load(tmp_path / "x")
    # Binding again in the middle of a run changes nothing.
    optimizer._bind()
    for one, other in ((problem, optimizer), (by_dict, first), (by_file, second)):
        one.run(other, 4)
    assert_same(problem.params, by_dict.params)
    assert_same(problem.params, by_file.params)
    assert_same(optimizer.state_dict(), first.state_dict())
