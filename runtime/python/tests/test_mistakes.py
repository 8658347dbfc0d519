"""Wrong use: each has an error that says what is wrong, and nothing changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optc
import pytest
import torch
from torch import nn
from torch.nn import Parameter

from problem import Problem


def refuse(make: Callable[[], Any], error: type[Exception], message: str, code: str | None = None) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    if code is not None:
        assert caught.value.code == code


def adamw(params: Any, **options: Any) -> optc.Optimizer:
    return optc.Optimizer(params, "adamw", **options)


def test_a_bare_tensor() -> None:
    refuse(lambda: adamw(torch.ones(2)), TypeError, "should be an iterable of Tensors or dicts")


def test_an_empty_list() -> None:
    refuse(lambda: adamw([]), ValueError, "empty parameter list")


def test_an_empty_list_with_patterns() -> None:
    refuse(lambda: adamw([], groups=[{"pattern": "bias"}]), ValueError, "empty parameter list")


def test_a_set() -> None:
    refuse(lambda: adamw([{"params": {Parameter(torch.ones(1))}}]), TypeError, "ordered collections")


def test_something_else() -> None:
    refuse(lambda: adamw([1]), TypeError, "can only optimize Tensors")


def test_a_tensor_that_is_no_leaf() -> None:
    refuse(lambda: adamw([torch.ones(2, requires_grad=True) * 2]), ValueError, "non-leaf")


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.int32, torch.complex64])
def test_a_parameter_that_holds_no_floats(dtype: torch.dtype) -> None:
    refuse(
        lambda: adamw([("w", torch.ones(2, dtype=dtype))]),
        optc.OptError,
        f"parameter `w` is stored as {dtype}, not a float",
        "opt::python::dtype",
    )


def test_a_parameter_twice() -> None:
    param = Parameter(torch.ones(2))
    refuse(lambda: adamw([param, param]), optc.OptError, "appears twice", "opt::python::duplicate")
    groups = [{"params": [param]}, {"params": [param]}]
    refuse(lambda: adamw(groups), ValueError, "appear in more than one parameter group")


def test_two_parameters_of_one_name() -> None:
    named = [("w", Parameter(torch.ones(2))), ("w", Parameter(torch.ones(2)))]
    refuse(lambda: adamw(named), optc.OptError, "`w` is given twice", "opt::bind::duplicate")


def test_a_pattern_that_matches_nothing() -> None:
    refuse(
        lambda: adamw(Problem().named, groups=[{"pattern": "norm", "lr": 0.1}]),
        optc.OptError,
        "the pattern `norm` matches no parameter",
        "opt::bind::nothing_matches",
    )


def test_a_parameter_that_two_patterns_match() -> None:
    groups = [{"pattern": "wei"}, {"pattern": "ght"}]
    refuse(
        lambda: adamw(Problem().named, groups=groups),
        optc.OptError,
        "`weight` matches both `wei` and `ght`",
        "opt::bind::two_groups",
    )


@pytest.mark.parametrize(
    ("group", "message", "code"),
    [
        ({"pattern": "("}, "`\\(` is no regular expression", "opt::bind::pattern"),
        ({"pattern": 3}, "`3` is no regular expression", "opt::bind::pattern"),
        ({"patern": "bias"}, "a group has no `pattern`", "opt::python::pattern"),
        ("bias", "a group has no `pattern`", "opt::python::pattern"),
    ],
)
def test_a_pattern_that_is_none(group: dict[str, Any], message: str, code: str) -> None:
    with pytest.raises(optc.OptError, match=message) as caught:
        optc.Optimizer(Problem().named, "adamw", groups=[group])
    assert caught.value.code == code


def test_patterns_that_are_no_list() -> None:
    groups: Any = {"pattern": "bias"}
    refuse(lambda: adamw(Problem().named, groups=groups), optc.OptError, "a dict, not a list", "opt::python::pattern")


def test_an_option_that_is_no_number() -> None:
    with pytest.raises(TypeError, match="`lr` must be a number, not str"):
        optc.Optimizer(Problem().params, "adamw", lr="small")


@pytest.mark.parametrize("name", ["adamww", "AdamW", "std.adamww", "adamw.optc", "rules/AdamW.opt"])
def test_a_name_that_is_almost_known(name: str) -> None:
    refuse(lambda: optc.Optimizer(Problem().params, name), optc.OptError, "did you mean `adamw`\\?", "opt::load::file")


@pytest.mark.parametrize("name", ["", "."])
def test_a_folder(name: str) -> None:
    refuse(lambda: optc.Optimizer(Problem().params, name), optc.OptError, "there is no file", "opt::load::file")


@pytest.mark.parametrize("source", [None, 3, b"adamw"])
def test_a_source_that_is_none(source: Any) -> None:
    refuse(lambda: optc.Optimizer(Problem().params, source), TypeError, "`source` must be a path, a text, a name")
    refuse(lambda: optc.check(source), TypeError, "`source` must be a path, a text, a name")


def test_another_optimizer_of_an_artifact() -> None:
    artifact = optc.compile("sam", "Sam")
    assert optc.Optimizer(Problem().params, artifact, optimizer="Sam").param_groups
    make = lambda: optc.Optimizer(Problem().params, artifact, optimizer="SamAdamW")  # noqa: E731
    refuse(make, optc.OptError, "is of `Sam`, not of `SamAdamW`", "opt::bind::unknown_optimizer")


def test_a_mistake_is_rendered_with_its_code_and_help() -> None:
    with pytest.raises(optc.OptError) as caught:
        adamw(Problem().named, groups=[{"pattern": "norm"}])
    assert all(part in caught.value.rendered for part in ("opt::bind::nothing_matches", "`norm`", "help: correct"))


def test_patterns_without_names() -> None:
    refuse(
        lambda: adamw(Problem().params, groups=[{"pattern": "w"}]),
        optc.OptError,
        "need parameters with names",
        "opt::python::names",
    )


def test_an_unknown_option_of_a_group() -> None:
    groups = [{"pattern": "bias", "weigth_decay": 0.0}]
    refuse(lambda: adamw(Problem().named, groups=groups), optc.OptError, "no option `weigth_decay`")


def test_an_unknown_word_of_a_static() -> None:
    make = lambda: optc.Optimizer(Problem().params, "muon", adjust_lr="arbitrary")  # noqa: E731
    refuse(make, optc.OptError, "the static `adjust_lr` cannot be", "opt::bind::wrong_static")


def test_no_rule_for_a_shape() -> None:
    source = "//! Matrices.\noptimizer M { hyper lr = 0.1 rule each(w: [m, n]) { w -= lr * grad } }\n"
    make = lambda: optc.Optimizer([("b", Parameter(torch.ones(3)))], source)  # noqa: E731
    refuse(make, optc.OptError, "no rule of `M` takes parameter `b`", "opt::bind::no_rule")


def test_a_missing_file() -> None:
    make = lambda: optc.Optimizer(Problem().params, "no/such.opt")  # noqa: E731
    refuse(make, optc.OptError, f"no file `no/such.opt`(.|\n)*begins at `{re.escape(str(Path.cwd()))}`", "opt::load::file")


def test_a_source_with_mistakes() -> None:
    source = "//! A rule.\noptimizer M {\n    hyper lr = 0.1\n    rule each(w: [...]) { w -= rl * grad }\n}\n"
    with pytest.raises(optc.OptError) as caught:
        optc.Optimizer(Problem().params, source)
    error = caught.value
    assert source.encode()[slice(*error.span)] == b"rl"
    assert error.code.startswith("opt::name::")
    assert "w -= rl * grad" in error.rendered


def test_an_artifact_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.optc"
    path.write_bytes(b"\xff\xfe\x00 nothing like it")
    refuse(lambda: optc.Optimizer(Problem().params, path), optc.OptError, "neither an artifact nor text", "opt::load::not_text")


@pytest.mark.parametrize("length", [8, 40, 200])
def test_an_artifact_that_is_damaged(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.optc"
    path.write_bytes((b"\x89optc\r\n\x1a" + bytes(200))[:length])
    with pytest.raises(optc.OptError) as caught:
        optc.Optimizer(Problem().params, path)
    assert caught.value.code.startswith("opt::artifact::")


def test_an_artifact_of_another_abi() -> None:
    other = Path(__file__).parents[3] / "tests" / "artifacts" / "other_abi.optc"
    with pytest.raises(optc.OptError, match="ABI 255.0") as error:
        optc.Optimizer(Problem().params, other)
    assert error.value.code == "opt::artifact::abi" and str(other) in str(error.value)
    with pytest.raises(optc.OptError, match="ABI 255.0"):
        optc.check(other)


def test_a_sparse_gradient() -> None:
    embedding = nn.Embedding(4, 2, sparse=True)
    optimizer = adamw(embedding.named_parameters())
    embedding(torch.tensor([1, 2])).sum().backward()
    refuse(optimizer.step, optc.OptError, "the gradient of `weight` is sparse", "opt::python::sparse")
    assert not optimizer.state


def test_another_shape_after_binding() -> None:
    problem = Problem()
    optimizer = adamw(problem.named)
    problem.weight.data = torch.ones(3, 3)
    problem.weight.grad = torch.ones(3, 3)
    refuse(optimizer.step, optc.OptError, r"parameter `weight` has shape \[3, 3\], bound as \[10, 5\]", "opt::step::shape")


def test_another_type_after_binding() -> None:
    problem = Problem()
    optimizer = adamw(problem.named)
    problem.weight.data = problem.weight.data.double()
    refuse(optimizer.step, optc.OptError, "`weight` is stored as torch.float64, not torch.float32", "opt::python::dtype")


def test_another_device() -> None:
    problem = Problem()
    optimizer = adamw(problem.named)
    torch.utils.swap_tensors(problem.weight, Parameter(torch.empty(10, 5, device="meta")))
    refuse(optimizer.step, optc.OptError, "parameter `weight` is on meta", "opt::python::device")
    refuse(lambda: adamw([("w", torch.empty(3, device="meta"))]), optc.OptError, "parameter `w` is on meta")


def test_an_expanded_parameter() -> None:
    param = torch.ones(3, 1).expand(3, 4)
    param.grad = torch.ones(3, 4)
    optimizer = adamw([("w", param)])
    refuse(optimizer.step, optc.OptError, "elements of parameter `w` share memory", "opt::python::overlapping")


def test_parameters_that_share_memory() -> None:
    whole = torch.ones(6)
    first, second = whole[:4].requires_grad_(), whole[2:].requires_grad_()
    optimizer = adamw([("first", first), ("second", second)])
    first.grad, second.grad = torch.ones(4), torch.ones(4)
    refuse(optimizer.step, optc.OptError, "`first` and `second` share memory", "opt::python::shared")


def test_a_gradient_in_the_parameter_s_memory() -> None:
    param = Parameter(torch.ones(6))
    param.grad = param.data
    refuse(adamw([("w", param)]).step, optc.OptError, "`w` and its gradient,.* share memory", "opt::python::shared")


def test_state_that_was_replaced() -> None:
    problem = Problem()
    optimizer = adamw(problem.named)
    problem.run(optimizer, 1)
    optimizer.state[problem.weight]["exp_avg"] = torch.ones(3)
    refuse(lambda: problem.run(optimizer, 1), optc.OptError, r"the state `exp_avg` of `weight` has shape \[3\]")
    del optimizer.state[problem.weight]["exp_avg"]
    refuse(lambda: problem.run(optimizer, 1), optc.OptError, "state of parameter `weight` lacks `exp_avg`", "opt::python::state")
