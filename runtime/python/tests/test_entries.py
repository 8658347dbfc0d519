"""What a rule does beside its step: `first_step`, `eval`, and inputs that the program hands in."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import optc
import pytest
import torch
from problem import Problem
from torch.nn import Parameter

PULL = Path(__file__).parents[3] / "tests/cases/pass/entries/pulled.opt"


def pulled() -> tuple[Problem, optc.Optimizer]:
    problem = Problem()
    return problem, optc.Optimizer(problem.named, PULL)


def sam_step(problem: Problem, optimizer: optc.Optimizer) -> None:
    problem.closure(optimizer)()
    optimizer.first_step()
    problem.closure(optimizer)()
    optimizer.step()


def test_sam_steps_from_the_worst_point_nearby() -> None:
    problem, model = Problem(), Problem()
    optimizer = optc.Optimizer(problem.named, "sam", optimizer="Sam", lr=1e-3, rho=0.1)
    for _ in range(3):
        sam_step(problem, optimizer)
        model_step(model)
    torch.testing.assert_close(problem.params, model.params)


def model_step(problem: Problem) -> None:
    start = [param.detach().clone() for param in problem.params]
    grads = torch.autograd.grad(problem.loss(), problem.params)
    norm = torch.stack([grad.norm() for grad in grads]).norm()
    with torch.no_grad():
        for param, grad in zip(problem.params, grads):
            param += 0.1 / (norm + 1e-12) * grad
    grads = torch.autograd.grad(problem.loss(), problem.params)
    with torch.no_grad():
        for param, old, grad in zip(problem.params, start, grads):
            param.copy_(old - 1e-3 * grad)


def test_a_schedule_free_rule_goes_to_its_average_and_back() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "schedule_free_adamw")
    for _ in range(3):
        optimizer.step(problem.closure(optimizer))
    before = [param.detach().clone() for param in problem.params]
    optimizer.eval()
    assert all(not torch.equal(param, old) for param, old in zip(problem.params, before))
    optimizer.train()
    torch.testing.assert_close(problem.params, before)


@pytest.mark.parametrize("given", ["list", "parameters", "names"])
def test_tensors_for_each_parameter(given: str) -> None:
    problem, optimizer = pulled()
    before = [param.detach().clone() for param in problem.params]
    to = [torch.full_like(param, 3.0) for param in problem.params]
    ways = {"list": to, "parameters": dict(zip(problem.params, to)), "names": {"weight": to[0], "bias": to[1]}}
    optimizer.pull(to=ways[given], by=0.25)
    for param, old, goal in zip(problem.params, before, to):
        torch.testing.assert_close(param.detach(), torch.lerp(old, goal, 0.25))


def test_a_strided_or_expanded_input() -> None:
    problem, optimizer = pulled()
    expanded = {"weight": torch.ones(1, 1).expand(10, 5), "bias": torch.ones(10, 2)[:, :1]}
    optimizer.pull(to=expanded, by=torch.tensor(1.0))
    torch.testing.assert_close(problem.params, [torch.ones_like(param) for param in problem.params])


def test_a_parameter_without_a_tensor_is_left_out() -> None:
    problem, optimizer = pulled()
    bias = problem.bias.detach().clone()
    optimizer.run_entry("pull", to={"weight": torch.zeros(10, 5)}, by=1.0)
    assert torch.equal(problem.bias, bias) and not problem.weight.any()
    assert problem.weight in optimizer.state and problem.bias not in optimizer.state


def test_an_entry_begins_the_state_and_a_step_goes_on_from_it() -> None:
    problem, optimizer = pulled()
    start = problem.weight.detach().clone()
    optimizer.pull(to=[torch.zeros(10, 5), None], by=1.0)
    assert optimizer.state[problem.weight]["step"] == 0
    assert torch.equal(optimizer.state[problem.weight]["old"], start)
    optimizer.back()
    assert torch.equal(problem.weight, start)
    optimizer.step(problem.closure(optimizer))
    assert optimizer.state[problem.weight]["step"] == 1


def test_begun_state_survives_files_dicts_and_copies(tmp_path: Path) -> None:
    problem, optimizer = pulled()
    start = problem.weight.detach().clone()
    optimizer.pull(to=[torch.zeros(10, 5), None], by=1.0)
    optimizer.save(tmp_path / "x")
    from_file = optc.Optimizer(problem.named, PULL)
    from_file.load(tmp_path / "x")
    from_dict = optc.Optimizer(problem.named, PULL)
    from_dict.load_state_dict(optimizer.state_dict())
    for other in (from_file, from_dict):
        torch.testing.assert_close(dict(other.state), dict(optimizer.state))
        with torch.no_grad():
            problem.weight.zero_()
        other.back()
        assert torch.equal(problem.weight, start)
    copied = pickle.loads(pickle.dumps(optimizer))
    assert "pull" in dir(copied) and callable(copy.deepcopy(optimizer).pull)


def test_gradients_must_be_there_for_an_entry_that_reads_them() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "sophia_g")
    optimizer.run_entry("update_hessian")
    assert not optimizer.state
    problem.closure(optimizer)()
    problem.bias.grad = None
    optimizer.update_hessian()
    assert list(optimizer.state) == [problem.weight]


def test_autograd_notices() -> None:
    problem, optimizer = pulled()
    loss = problem.weight.square().sum()
    optimizer.pull(to=[torch.zeros(10, 5), None], by=0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_mistakes() -> None:
    problem, optimizer = pulled()
    ones = [torch.ones_like(param) for param in problem.params]
    before = [param.detach().clone() for param in problem.params]

    def refuses(code: str, match: str, name: str = "pull", **given: object) -> None:
        with pytest.raises(optc.OptError, match=match) as error:
            optimizer.run_entry(name, **given)
        assert error.value.code == code

    refuses("opt::entry::unknown", "has no entry `push`", "push")
    refuses("opt::entry::missing_input", "`by`", to=ones)
    refuses("opt::entry::unknown_input", "`from_`", to=ones, by=1.0, from_=2.0)
    refuses("opt::python::entry_input", "`by` is a number, not str", to=ones, by="much")
    refuses("opt::python::entry_input", "1 tensors for 2 parameters", to=ones[:1], by=1.0)
    refuses("opt::python::entry_input", "no tensor for each parameter", to=1.0, by=1.0)
    refuses("opt::python::entry_input", "`wieght` that is no parameter", to={"wieght": ones[0]}, by=1.0)
    refuses("opt::python::entry_input", "something that is no parameter", to={Parameter(ones[0]): ones[0]}, by=1.0)
    refuses("opt::python::entry_input", "float in place of a tensor", to=[1.0, None], by=1.0)
    refuses("opt::step::shape", "the input `to` for `weight` has shape", to=[torch.ones(5), None], by=1.0)
    refuses("opt::python::dtype", "the input `to` for `weight`", to=[ones[0].double(), None], by=1.0)
    refuses("opt::python::shared", "share memory", to=problem.params, by=1.0)
    assert not optimizer.state and all(torch.equal(*pair) for pair in zip(problem.params, before))
    with pytest.raises(AttributeError, match="has no attribute 'push'"):
        optimizer.push()


def test_the_seed_decides_what_is_drawn() -> None:
    def run(seed: int) -> list[Parameter]:
        problem = Problem()
        rule = "optimizer N { hyper lr = 0.1 rule each(w: [...]) { w -= lr * grad .* normal_like(w) } }"
        optimizer = optc.Optimizer(problem.named, rule, seed=seed)
        optimizer.step(problem.closure(optimizer))
        return problem.params

    torch.testing.assert_close(run(7), run(7), rtol=0, atol=0)
    assert not torch.equal(run(7)[0], run(8)[0])
    for wrong in (-1, 2**64, 0.5):
        with pytest.raises(optc.OptError, match="`seed` is") as error:
            optc.Optimizer(Problem().named, "sgd", seed=wrong)  # type: ignore[arg-type]
        assert error.value.code == "opt::python::seed"


def test_help_names_the_entries() -> None:
    _, optimizer = pulled()
    assert "pull(to: a tensor for each parameter, by: float)" in (optimizer.__doc__ or "")
