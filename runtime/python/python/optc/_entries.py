"""What an entry is given: numbers, and tensors for each parameter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from . import _groups
from ._errors import OptError
from ._optc import Engine

Numbers = list[tuple[str, float]]
Tensors = list[tuple[str, list[torch.Tensor | None]]]


def sort(
    name: str, given: Mapping[str, Any], engine: Engine, groups: Sequence[_groups.Group]
) -> tuple[Numbers, Tensors]:
    """The inputs as the engine takes them; one that the entry does not have is left for the engine to refuse."""
    declared = {entry: dict(inputs) for entry, inputs in engine.entries}.get(name, {})
    numbers: Numbers = []
    tensors: Tensors = []
    for key, value in given.items():
        if declared.get(key, not is_number(value)):
            tensors.append((key, for_each_parameter(key, value, groups)))
        else:
            numbers.append((key, to_number(key, value)))
    return numbers, tensors


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, torch.Tensor) and value.numel() == 1)


def to_number(key: str, value: Any) -> float:
    if is_number(value):
        return float(value)
    raise misfit(f"`{key}` is a number, not {type(value).__name__}", "give a float, or a tensor of one element")


def for_each_parameter(key: str, value: Any, groups: Sequence[_groups.Group]) -> list[torch.Tensor | None]:
    """One tensor or None for each parameter, in their order."""
    params = [param for group in groups for param in group["params"]]
    names = [name for group in _groups.names_of(groups) for name in group]
    if isinstance(value, Mapping):
        return looked_up(key, value, params, names)
    if isinstance(value, torch.Tensor) or not isinstance(value, Iterable):
        raise misfit(f"`{key}` has no tensor for each parameter", "give a list, or a dict from parameters or names")
    tensors = list(value)
    if len(tensors) != len(params):
        raise misfit(f"`{key}` has {len(tensors)} tensors for {len(params)} parameters", "None leaves one out")
    for one in tensors:
        check(key, one)
    return tensors


def looked_up(
    key: str, value: Mapping[Any, Any], params: list[torch.Tensor], names: list[str]
) -> list[torch.Tensor | None]:
    """The tensors of a dict from parameters or from their names."""
    places = {id(param): n for n, param in enumerate(params)}
    by_name = {name: n for n, name in enumerate(names)}
    found: list[torch.Tensor | None] = [None] * len(params)
    for of, tensor in value.items():
        place = by_name.get(of) if isinstance(of, str) else places.get(id(of))
        if place is None:
            what = f"`{of}`" if isinstance(of, str) else "something"
            raise misfit(f"`{key}` has a tensor for {what} that is no parameter here", "use the optimizer's parameters")
        check(key, tensor)
        found[place] = tensor
    return found


def check(key: str, tensor: Any) -> None:
    if tensor is not None and not isinstance(tensor, torch.Tensor):
        raise misfit(f"`{key}` has {type(tensor).__name__} in place of a tensor", "None leaves a parameter out")


def misfit(what: str, help: str) -> OptError:
    return OptError(what, code="opt::python::entry_input", help=help)
