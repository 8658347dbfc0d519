"""State on its way into an optimizer: from a state dict or from a file, checked against what the rule keeps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from . import _migrate
from ._errors import OptError
from ._optc import Changes, Engine

Group = dict[str, Any]
Entry = dict[str, Any]
Layout = _migrate.Layout


class Sealed:
    """A parameter's entry that torch hands on as it is: torch would store it as the parameter is stored."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry


def seal(_: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """A state dict whose state torch does not convert."""
    state = {
        key: Sealed(entry) if isinstance(entry, dict) else entry
        for key, entry in state_dict["state"].items()
    }
    return {**state_dict, "state": state}


def fit_groups(loaded: list[Group], current: list[Group]) -> list[Group]:
    """The loaded groups, with the options that they lack as they are now."""
    return [fit_group(new, old) for new, old in zip(loaded, current)]


def fit_group(loaded: Group, current: Group) -> Group:
    for key in ("param_names", "use"):
        if key in loaded and key in current and loaded[key] != current[key]:
            raise misfit(f"group has {key} {loaded[key]}, not {current[key]}")
    missing = {key: value for key, value in current.items() if key not in loaded}
    return {**loaded, **missing}


def fit(
    state: dict[Any, Any], groups: list[Group], engine: Engine, since: Iterable[Changes], log: _migrate.Log
) -> defaultdict[Any, Any]:
    """The entries of all parameters, as the engine wants them; `since` has the changes of each group."""
    fitted: defaultdict[Any, Any] = defaultdict(dict)
    changes = (changed for group, changed in zip(groups, since) for _ in group["params"])
    for n, (param, changed) in enumerate(zip(params_of(groups), changes)):
        sealed = state.pop(param, None)
        if sealed and sealed.entry:
            layout = engine.layout(n)
            entry = _migrate.entry(sealed.entry, layout, changed, log)
            entry = fit_entry(entry, layout, param, name_of(engine, n))
            if entry:
                fitted[param] = entry
    fitted.update(state)
    return fitted


def fit_entry(entry: Entry, layout: Layout, param: torch.Tensor, name: str) -> Entry:
    """One parameter's entry; empty if it has not stepped.

    An entry without `step`, as torch's SGD and Muon write it, has stepped once.
    """
    found = {key: value for key, value in entry.items() if value is not None and key != "step"}
    if not found and (layout or "step" not in entry):
        return {}
    unknown = set(found) - {key for key, _, _ in layout}
    if unknown:
        raise misfit(f"parameter `{name}` has state {', '.join(sorted(unknown))}, which the rule does not keep")
    step = torch.tensor(float(entry.get("step", 1.0)), dtype=torch.float32)
    pieces = {key: fit_tensor(found, key, dtype, shape, param, name) for key, dtype, shape in layout}
    return {"step": step, **pieces}


def fit_tensor(
    found: Entry, key: str, dtype: str, shape: list[int], param: torch.Tensor, name: str
) -> torch.Tensor:
    """A copy of one piece of state, stored as the rule declares it."""
    if key not in found:
        raise misfit(f"the state of parameter `{name}` lacks `{key}`")
    tensor: torch.Tensor = found[key]
    if list(tensor.shape) != shape:
        raise misfit(f"state `{key}` of parameter `{name}` has shape {list(tensor.shape)}, not {shape}")
    copy: torch.Tensor = param.new_empty(shape, dtype=getattr(torch, dtype))
    return copy.copy_(tensor)


def from_file(
    saved: Iterable[tuple[int, list[bytes]]], groups: list[Group], engine: Engine
) -> dict[torch.Tensor, Entry]:
    """The entries of the parameters whose state has begun."""
    entries = {}
    for n, (param, (step, pieces)) in enumerate(zip(params_of(groups), saved)):
        if step > 0 or pieces:
            layout = engine.layout(n)
            tensors = {
                key: beside(param, from_bytes(data, dtype, shape)) for (key, dtype, shape), data in zip(layout, pieces)
            }
            entries[param] = {"step": torch.tensor(float(step), dtype=torch.float32), **tensors}
    return entries


def beside(param: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor where the parameter is."""
    if param.is_cpu:
        return tensor
    copy: torch.Tensor = param.new_empty(tensor.shape, dtype=tensor.dtype)
    return copy.copy_(tensor)


def from_bytes(data: bytes, dtype: str, shape: list[int]) -> torch.Tensor:
    """A tensor of these bytes."""
    if not data:
        return torch.empty(shape, dtype=getattr(torch, dtype))
    return torch.frombuffer(bytearray(data), dtype=getattr(torch, dtype)).reshape(shape)


def set_options(group: Group, values: Iterable[tuple[str, float]]) -> None:
    """Sets the numbers of a group where torch keeps them, and beside them those that its parameters share."""
    shared = {}
    for name, value in values:
        beta = name.removeprefix("beta")
        if name in group:
            set_option(group, name, value)
        elif beta.isdigit() and "betas" in group:
            parts = list(group["betas"])
            parts[int(beta) - 1] = value
            group["betas"] = tuple(parts)
        else:
            shared[name] = value
    if shared:
        group["shared"] = shared


def set_option(group: Group, name: str, value: float) -> None:
    """A learning rate that is a tensor stays one."""
    if isinstance(group[name], torch.Tensor):
        group[name].fill_(value)
    else:
        group[name] = value


def params_of(groups: Iterable[Group]) -> Iterator[torch.Tensor]:
    """All parameters, in the order in which they are bound."""
    for group in groups:
        yield from group["params"]


def name_of(engine: Engine, n: int) -> str:
    """The name of a bound parameter."""
    return engine.rules[n][0]


def misfit(what: str) -> OptError:
    """State that belongs to something else."""
    return OptError(
        f"the loaded state does not fit: {what}",
        code="opt::python::state",
        help="load it into the model and optimizer that saved it, or change it in a load_state_dict pre-hook",
    )
