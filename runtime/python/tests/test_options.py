"""Options: torch's words for wrong ones, live changes, groups, and what the optimizer shows."""

from __future__ import annotations

import inspect
import pickle
from html.parser import HTMLParser
from typing import Any

import optc
import pytest
import torch
from torch.nn import Parameter

from problem import Problem
from rules import RULES, Rule, title

# What torch refuses and a rule does not, or not in these words.
DIFFERENT = {
    "a param group cannot have duplicate parameters": "an error here: torch only announces that it will be one",
    "lr as Tensor doesn't work with foreach & not capturable": "no option chooses between implementations",
    "betas must be either both floats or both Tensors": "a number is a number here",
    r"betas\[0\] as a Tensor is not supported for capturable=False and foreach=True": "no such option",
    "only support 2D parameters": "our Muon hands other shapes to its second rule",
    "only support `original` and `match_rms_adamw`": "refused in the rule's own words",
    "unsupported adjust_lr_fn": "the same, as torch 2.15 calls it",
    "Tensor lr must be 1-element": "tested by itself",
    "does not support complex parameters": "refused when the optimizer is made, by name",
}


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_what_torch_refuses_is_refused_in_its_words(rule: Rule) -> None:
    checked = 0
    for error in rule.info.optim_error_inputs_func(device="cpu", dtype=torch.float32):
        given = error.optimizer_error_input
        if given.desc in DIFFERENT:
            continue
        params = Problem().params if given.params is None else given.params
        told = pytest.warns if issubclass(error.error_type, Warning) else pytest.raises
        with told(error.error_type, match=error.error_regex):
            rule(params, **given.kwargs)
        checked += 1
    assert checked >= 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1}, "Invalid learning rate: -1"),
        ({"beta1": 1.1}, "Invalid beta1 value: 1.1"),
        ({"betas": (0.9, 1.5)}, "Invalid beta parameter at index 1: 1.5"),
        ({"eps": -1e-8}, "Invalid epsilon value: -1e-08"),
        ({"weight_decay": -0.5}, "Invalid weight_decay value: -0.5"),
        ({"lr": float("nan")}, "Invalid learning rate: nan"),
        ({"lr": float("inf")}, "Invalid learning rate: inf"),
    ],
)
def test_values_outside_of_their_interval(options: dict[str, Any], message: str) -> None:
    with pytest.raises(optc.OptError, match=message) as caught:
        optc.Optimizer(Problem().params, "adamw", **options)
    assert caught.value.code == "opt::bind::out_of_range"


def test_a_value_that_becomes_wrong_later() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, "adamw")
    optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(ValueError, match="Invalid learning rate: -1.0"):
        problem.run(optimizer, 1)


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(optc.OptError, match="`AdamW` has no option `momentum`") as caught:
        optc.Optimizer(Problem().params, "adamw", momentum=0.9)
    assert "`betas`" in caught.value.help


def test_beta1_and_betas_are_one_option() -> None:
    one = optc.Optimizer(Problem().params, "adamw", beta1=0.8)
    assert one.param_groups[0]["betas"] == (0.8, 0.999)
    assert one.defaults["betas"] == (0.8, 0.999)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"betas": (0.9,)}, optc.OptError, "`betas` has 1 numbers, `AdamW` takes 2"),
        ({"betas": (0.9, 0.99, 0.999)}, optc.OptError, "`betas` has 3 numbers, `AdamW` takes 2"),
        ({"betas": 0.9}, TypeError, "`betas` must be a tuple of numbers, not float"),
        ({"betas": (0.9, 0.99), "beta1": 0.8}, optc.OptError, "`beta1` is given by itself and in `betas`"),
    ],
)
def test_betas_that_do_not_go_with_the_rule(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        optc.Optimizer(Problem().params, "adamw", **options)
    with pytest.raises(error, match=message):
        optc.Optimizer([{"params": Problem().params, **options}], "adamw")


def test_betas_of_a_group_replace_those_of_the_optimizer() -> None:
    params = Problem().params
    groups = [{"params": [params[0]], "betas": (0.5, 0.6)}, {"params": [params[1]], "beta2": 0.7}]
    optimizer = optc.Optimizer(groups, "adamw", beta1=0.8)
    assert [group["betas"] for group in optimizer.param_groups] == [(0.5, 0.6), (0.8, 0.7)]
    last = optc.Optimizer([params[0]], "prodigy", betas=(0.8, 0.9), beta3=0.95)
    assert last.param_groups[0]["betas"] == (0.8, 0.9, 0.95)


def test_options_change_between_steps() -> None:
    ours, theirs = Problem(), Problem()
    pairs = [
        (ours, optc.Optimizer(ours.params, "adamw", lr=1e-2)),
        (theirs, torch.optim.AdamW(theirs.params, lr=1e-2)),
    ]
    for problem, optimizer in pairs:
        for n in range(6):
            group = optimizer.param_groups[0]
            group.update(lr=1e-2 / (n + 1), betas=(0.9 - 0.05 * n, 0.99), weight_decay=0.1 * n)
            problem.run(optimizer, 1)
    assert torch.allclose(ours.weight, theirs.weight, rtol=0, atol=1e-6)


def test_a_static_that_changes_between_steps() -> None:
    problem, plain = Problem(), Problem()
    optimizer = optc.Optimizer(problem.params, "sgd", lr=1e-3)
    reference = torch.optim.SGD(plain.params, lr=1e-3)
    for momentum in (0.0, 0.9, 0.9):
        for one, other in ((problem, optimizer), (plain, reference)):
            other.param_groups[0]["momentum"] = momentum
            if momentum and other is optimizer and "momentum_buffer" not in other.state[one.weight]:
                other.state.clear()
            one.run(other, 1)
    assert "momentum_buffer" in optimizer.state[problem.weight]
    assert torch.allclose(problem.weight, plain.weight, rtol=0, atol=1e-6)


def test_patterns_make_groups() -> None:
    problem = Problem()
    groups = [{"pattern": "bias", "lr": 0.5, "weight_decay": 0.0}]
    optimizer = optc.Optimizer(problem.named, "adamw", lr=0.1, groups=groups)
    first, second = optimizer.param_groups
    assert (first["param_names"], second["param_names"]) == (["weight"], ["bias"])
    assert (first["lr"], second["lr"]) == (0.1, 0.5)
    assert first["weight_decay"] == 0.01


def test_a_group_uses_another_optimizer() -> None:
    ours, theirs = Problem(), Problem()
    groups = [{"pattern": "bias", "use": "adamw", "lr": 1e-2}]
    mixed = optc.Optimizer(ours.named, "sgd", lr=1e-3, groups=groups)
    sgd, adamw = torch.optim.SGD([theirs.weight], lr=1e-3), torch.optim.AdamW([theirs.bias], lr=1e-2)
    for _ in range(5):
        ours.run(mixed, 1)
        theirs.closure(sgd)()
        adamw.zero_grad()
        theirs.closure(sgd)()
        sgd.step()
        adamw.step()
        adamw.zero_grad()
    assert "momentum" not in mixed.param_groups[1]
    assert set(mixed.state[ours.bias]) == {"step", "exp_avg", "exp_avg_sq"}
    assert torch.allclose(ours.weight, theirs.weight, rtol=0, atol=1e-6)


def test_a_group_uses_a_rule_of_its_optimizer() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "muon", groups=[{"pattern": "weight", "use": "other"}])
    problem.run(optimizer, 1)
    assert "exp_avg_sq" in optimizer.state[problem.weight]
    assert "momentum_buffer" in optimizer.state[problem.bias]


def test_a_group_is_added_later() -> None:
    problem = Problem()
    optimizer = optc.Optimizer([problem.weight], "adamw", lr=1e-2)
    problem.run(optimizer, 2)
    optimizer.add_param_group({"params": [problem.bias], "lr": 1e-3})
    problem.run(optimizer, 1)
    assert optimizer.state[problem.weight]["step"] == 3
    assert optimizer.state[problem.bias]["step"] == 1
    assert optimizer.param_groups[1]["eps"] == 1e-8


def test_a_group_that_cannot_be_bound_is_taken_back() -> None:
    problem = Problem()
    optimizer = optc.Optimizer([problem.weight], "adamw")
    with pytest.raises(optc.OptError, match="stored as torch.int64"):
        optimizer.add_param_group({"params": [torch.ones(2, dtype=torch.int64)]})
    assert len(optimizer.param_groups) == 1
    problem.run(optimizer, 1)


def test_parameters_are_taken_out_of_a_group() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, "adamw")
    problem.run(optimizer, 1)
    del optimizer.param_groups[0]["params"][1]
    before = problem.bias.detach().clone()
    problem.run(optimizer, 1)
    assert torch.equal(problem.bias, before)


def test_differentiable_is_refused_with_a_reason() -> None:
    with pytest.raises(optc.OptError, match="differentiable=True is not possible: .* autograd does not see"):
        optc.Optimizer(Problem().params, "adamw", differentiable=True)


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_it_can_be_printed(rule: Rule) -> None:
    optimizer = rule(Problem().params)
    text = repr(optimizer)
    assert text.startswith(f"{optimizer._artifact.name} (\nParameter Group 0")
    assert "lr: " in text and "params" not in text


def test_help_teaches_the_rule() -> None:
    optimizer = optc.Optimizer(Problem().params, "adamw")
    text = inspect.getdoc(optimizer)
    assert text.startswith("AdamW(params, *, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01")
    assert "Loshchilov" in text and "exp_avg    = lerp" in text


def test_the_signature_is_that_of_the_rule() -> None:
    signature = inspect.signature(optc.compile("soap"))
    assert signature.parameters["lr"].default == 3e-3
    assert signature.parameters["precondition_frequency"].default == 10
    assert signature.parameters["betas"].default == (0.95, 0.95)
    optimizer = optc.compile("soap")([Parameter(torch.ones(3, 3))], lr=0.5)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_notebook_shows_rule_state_and_cost() -> None:
    html = optc.Optimizer(Problem().named, "adamw")._repr_html_()
    assert "<td>weight</td><td>10x5</td><td>each</td><td>400 B</td>" in html
    assert "optimizer AdamW {" in html and "cost of a step" in html
    tags = Tags()
    tags.feed(html)
    assert tags.open == [] and tags.seen == {"h4", "pre", "table", "tr", "th", "td", "details", "summary"}


class Tags(HTMLParser):
    """Every tag that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_notebook_shows_the_rule_of_each_group() -> None:
    problem = Problem(dtype=torch.bfloat16)
    optimizer = optc.Optimizer(problem.named, "muon", groups=[{"pattern": "bias", "use": "adamw"}], ns_steps=3)
    before, costs = optimizer._repr_html_().split("cost of a step</summary>")
    assert "<h4>Muon</h4>" in before and "<h4>AdamW</h4>" in before
    muon, adamw = costs.split("</pre>")[:2]
    assert "bf16 10x5 by rule" in muon and "momentum_buffer" in muon
    assert "bf16 10x1 by rule" in adamw and "exp_avg_sq" in adamw and "10x5" not in adamw


def test_a_composition_is_a_source() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "Clip(base = AdamW(weight_decay = 0.5))", lr=0.1)
    optimizer.step(problem.closure(optimizer))
    assert set(optimizer.state[problem.weight]) == {"step", "base.exp_avg", "base.exp_avg_sq"}
    assert optimizer.param_groups[0]["weight_decay"] == 0.5
    assert pickle.loads(pickle.dumps(optimizer)).param_groups[0]["weight_decay"] == 0.5
    assert optc.check("Clip(base = AdamW)") == []
    assert [error.code for error in optc.check("Clip(base = Nothing)")] == ["opt::name::unknown_target"]
    with pytest.raises(optc.OptError, match="Nothing"):
        optc.Optimizer(problem.named, "Clip(base = Nothing)")


def test_a_number_that_a_choice_takes_from_the_learning_rate_stays() -> None:
    param = Parameter(torch.ones(4, 3))
    optimizer = optc.Optimizer([param], "lion", lr=0.1, weight_decay=0.2, decoupled_weight_decay=True)
    for rate, decayed in [(0.1, 0.8), (0.05, 0.72)]:
        optimizer.param_groups[0]["lr"] = rate
        param.grad = torch.zeros_like(param)
        optimizer.step()
        torch.testing.assert_close(param.detach(), torch.full((4, 3), decayed))
    assert optimizer.param_groups[0]["init_lr"] == 0.1


def test_options_of_a_composition_that_have_paths() -> None:
    source = "use std.graft.Graft\nuse std.adamw.AdamW\noptimizer Both = Graft(magnitude = AdamW, direction = AdamW)"
    options = {"magnitude.weight_decay": 0.0, "direction.eps": 1e-3}
    optimizer = optc.Optimizer(Problem().params, source, lr=0.1, **options)
    assert options.items() <= optimizer.param_groups[0].items()
    assert "magnitude.weight_decay" in (optimizer.__doc__ or "")
    assert list(inspect.signature(optc.compile(source)).parameters)[-1] == "options"
