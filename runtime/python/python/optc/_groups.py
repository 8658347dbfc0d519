"""Which parameters belong to which group: torch's lists of dicts, and patterns over names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ._errors import OptError

Group = dict[str, Any]
Named = tuple[str, torch.Tensor]

# torch keeps the names of parameters since 2.6.
TAKES_NAMES = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 6)

# What torch's schedulers and trainers keep in a group beside the options of a rule.
BOOKKEEPING = frozenset(
    """params param_names use versions shared name initial_lr max_lr min_lr base_momentum max_momentum swa_lr lr_scale
    maximize foreach fused capturable differentiable decoupled_weight_decay""".split()
)


def split(params: Any, groups: Sequence[Group] | None) -> Any:
    """The parameter groups for torch: `params` as it is, or divided by the patterns of `groups`."""
    if not groups or isinstance(params, torch.Tensor):
        return params
    if isinstance(groups, dict):
        raise OptError(
            "`groups` is a dict, not a list of dicts",
            code="opt::python::pattern",
            help='write `groups=[{"pattern": "norm|bias", "weight_decay": 0.0}]`',
        )
    named = list(params)
    if not named:
        return named
    if not all(isinstance(param, tuple) for param in named):
        raise OptError(
            "groups with patterns need parameters with names",
            code="opt::python::names",
            help="pass `model.named_parameters()`",
        )
    members = assign(named, [pattern_of(group) for group in groups])
    rest = {"params": members[0], "param_names": []}
    return [rest] + [fill(group, found) for group, found in zip(groups, members[1:])]


def pattern_of(group: Group) -> re.Pattern[str]:
    """What a group looks for in names."""
    if not isinstance(group, dict) or "pattern" not in group:
        raise OptError(
            f"a group has no `pattern`: {group}",
            code="opt::python::pattern",
            help='write which names it takes, such as {"pattern": "norm|bias", "weight_decay": 0.0}',
        )
    try:
        return re.compile(group["pattern"])
    except (re.error, TypeError) as error:
        raise OptError(
            f"`{group['pattern']}` is no regular expression: {error}",
            code="opt::bind::pattern",
            help="escape brackets and dots that are meant as they are",
        ) from None


def for_this_torch(params: Any) -> Any:
    """Parameters as this torch takes them: before 2.6 it takes none with names, so those go into the groups."""
    if TAKES_NAMES or isinstance(params, (torch.Tensor, set)):
        return params
    members = list(params)
    if all(isinstance(group, dict) for group in members):
        return members
    return [name_apart({"params": members})] if any(isinstance(param, tuple) for param in members) else members


def name_apart(group: Group) -> Group:
    """A group whose names stand beside its parameters, where torch does not do it."""
    members = list(group["params"])
    if TAKES_NAMES or not all(isinstance(param, tuple) for param in members):
        return group
    return {**group, "params": [param for _, param in members], "param_names": [name for name, _ in members]}


def assign(named: Iterable[Named], patterns: Sequence[re.Pattern[str]]) -> list[list[Named]]:
    """The parameters that no pattern finds, then those of each pattern."""
    members: list[list[Named]] = [[] for _ in range(len(patterns) + 1)]
    for name, tensor in named:
        found = [n for n, pattern in enumerate(patterns) if pattern.search(name)]
        if len(found) > 1:
            raise two_groups(name, *(patterns[n].pattern for n in found[:2]))
        members[found[0] + 1 if found else 0].append((name, tensor))
    for pattern, found_here in zip(patterns, members[1:]):
        if not found_here:
            raise nothing_matches(pattern.pattern)
    return members


def fill(group: Group, members: list[Named]) -> Group:
    """A group with the parameters that its pattern found."""
    options = {key: value for key, value in group.items() if key != "pattern"}
    return {"params": members, "param_names": [], **options}


def options_of(group: Group, declared: Iterable[str]) -> Group:
    """What a group says to its rule: all but torch's bookkeeping, unless the rule declares a word of it."""
    ours = BOOKKEEPING - set(declared)
    return {key: value for key, value in group.items() if key not in ours}


def check_betas(options: Group) -> None:
    """A beta is given by its name or in the tuple."""
    for name in options:
        if in_tuple(name, options):
            raise OptError(
                f"`{name}` is given by itself and in `betas`", code="opt::python::betas", help="give it once"
            )


def over(shared: Group, own: Group) -> Group:
    """What a group says, on top of what all groups have: its `betas` replace those that are given by name."""
    check_betas(own)
    return {**{key: value for key, value in shared.items() if not in_tuple(key, own)}, **own}


def in_tuple(name: str, options: Group) -> bool:
    """Whether `betas` has a number for `beta1`, `beta2`, …"""
    number = name.removeprefix("beta")
    betas = options.get("betas", ())
    return number != name and number.isdigit() and isinstance(betas, Sequence) and int(number) <= len(betas)


def names_of(groups: Iterable[Group]) -> list[list[str]]:
    """The names of all parameters; those without one are numbered, as in a state dict."""
    names, count = [], 0
    for group in groups:
        numbers = [str(n) for n in range(count, count + len(group["params"]))]
        names.append(list(group.get("param_names") or numbers))
        count += len(numbers)
    return names


def check_distinct(params: Iterable[Any]) -> None:
    """A parameter stands in a group once."""
    seen: set[int] = set()
    for param in params:
        tensor = param[1] if isinstance(param, tuple) else param
        if id(tensor) in seen:
            raise OptError(
                "a parameter appears twice in one group",
                code="opt::python::duplicate",
                help="give every parameter once",
            )
        seen.add(id(tensor))


def two_groups(name: str, first: str, second: str) -> OptError:
    """A parameter that two patterns find."""
    return OptError(
        f"parameter `{name}` matches both `{first}` and `{second}`",
        code="opt::bind::two_groups",
        help="make one of the patterns more exact: a parameter has one group",
    )


def nothing_matches(pattern: str) -> OptError:
    """A pattern that finds nothing."""
    return OptError(
        f"the pattern `{pattern}` matches no parameter",
        code="opt::bind::nothing_matches",
        help="correct the pattern or remove the group",
    )
