"""What an optimizer says about its rule: for `help`, and for notebooks."""

from __future__ import annotations

import html as escaping
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ._optc import Artifact, Engine

Group = dict[str, Any]


def signature(artifact: Artifact) -> inspect.Signature:
    """The call that makes an optimizer of this rule, with all defaults.

    Options with a path, such as `base.lr`, are no names of Python: they are given as `**{"base.lr": 0.1}`.
    """
    params = inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    defaults = artifact.complete({})
    named = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in defaults.items()
        if name.isidentifier()
    ]
    rest = inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD)
    return inspect.Signature([params, *named] + [rest] * (len(named) < len(defaults)))


def docstring(artifact: Artifact) -> str:
    """The rule's documentation, its options, and its text."""
    parts = [f"{artifact.name}{signature(artifact)}", artifact.docs.strip()]
    for title, rows in (("Hyperparameters", artifact.hypers), ("Statics", artifact.statics)):
        if rows:
            parts.append(f"{title}:\n" + "\n".join(f"    {line(*row)}" for row in rows))
    rules = "\n".join(f"    {name}({pattern})" for name, pattern in artifact.rules)
    parts.append(f"Rules:\n{rules}")
    if artifact.entries:
        parts.append("Beside a step:\n" + "\n".join(f"    {call(*entry)}" for entry in artifact.entries))
    parts.append("Source:\n" + "\n".join(f"    {text}" for text in artifact.source.strip().splitlines()))
    return "\n\n".join(parts) + "\n"


def call(name: str, inputs: list[tuple[str, bool]]) -> str:
    """An entry with what it is given."""
    kinds = (f"{key}: {'a tensor for each parameter' if tensor else 'float'}" for key, tensor in inputs)
    return f"{name}({', '.join(kinds)})"


def line(name: str, default: str, kind: str, docs: str) -> str:
    """One option: its default, and its interval or type."""
    return f"{name} = {default}  {kind}  {docs.strip()}".rstrip()


def html(uses: list[tuple[Artifact, Group]], engine: Engine) -> str:
    """The rules, the size of their state and the cost of a step, as HTML; `uses` has the rule of each group."""
    cell = escaping.escape
    groups = [group for _, group in uses]
    rows = "".join(
        f"<tr>{''.join(f'<td>{cell(text)}</td>' for text in row)}</tr>" for row in parameters(groups, engine)
    )
    rules = {id(artifact): artifact for artifact, _ in uses}.values()
    shown = "".join(f"<h4>{cell(rule.name)}</h4><pre>{cell(rule.source.strip())}</pre>" for rule in rules)
    costs = "".join(f"<pre>{cell(cost(artifact, group))}</pre>" for artifact, group in uses if group["params"])
    return (
        f"{shown}<table><tr><th>parameter</th><th>shape</th><th>rule</th><th>state</th></tr>{rows}</table>"
        f"<details><summary>cost of a step</summary>{costs}</details>"
    )


def cost(artifact: Artifact, group: Group) -> str:
    """What a step costs on the shapes of a group, with its choices."""
    dtype = str(group["params"][0].dtype).removeprefix("torch.")
    choices = {name: group[name] for name, *_ in artifact.statics if name in group}
    return artifact.inspect(*distinct_shapes(group["params"]), dtype=dtype, **choices)


def parameters(groups: list[Group], engine: Engine) -> list[tuple[str, str, str, str]]:
    """Name, shape, rule and bytes of state of each parameter, and their sum."""
    params = [param for group in groups for param in group["params"]]
    sizes = [state_bytes(engine, n) for n in range(len(params))]
    rows = [
        (name, "x".join(map(str, param.shape)) or "scalar", rule, f"{size:,} B")
        for (name, rule), param, size in zip(engine.rules, params, sizes)
    ]
    return [*rows, ("all", "", "", f"{sum(sizes):,} B")]


def state_bytes(engine: Engine, n: int) -> int:
    """Bytes of state of one parameter."""
    return sum(product(shape) * getattr(torch, dtype).itemsize for _, dtype, shape in engine.layout(n))


def distinct_shapes(params: Iterable[torch.Tensor]) -> list[tuple[int, ...]]:
    """The largest shapes first, each once, and not more than a page of them."""
    shapes = {tuple(param.shape) for param in params}
    by_size = sorted(shapes, key=lambda shape: (-product(shape), shape))
    return by_size[:4]


def product(shape: Sequence[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total
