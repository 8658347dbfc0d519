"""What an optimizer says about its rule: for `help`, and for notebooks."""

from __future__ import annotations

import html as escaping
import inspect
from collections.abc import Sequence
from typing import Any

import torch

from ._optc import Artifact, Engine


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


def html(artifact: Artifact, groups: list[dict[str, Any]], engine: Engine) -> str:
    """The rule, the size of its state and the cost of a step, as HTML."""
    cell = escaping.escape
    rows = "".join(
        f"<tr>{''.join(f'<td>{cell(text)}</td>' for text in row)}</tr>" for row in parameters(groups, engine)
    )
    shapes = distinct_shapes(groups)
    return (
        f"<h4>{cell(artifact.name)}</h4><pre>{cell(artifact.source.strip())}</pre>"
        f"<table><tr><th>parameter</th><th>shape</th><th>rule</th><th>state</th></tr>{rows}</table>"
        f"<details><summary>cost of a step</summary><pre>{cell(artifact.inspect(*shapes))}</pre></details>"
    )


def parameters(groups: list[dict[str, Any]], engine: Engine) -> list[tuple[str, str, str, str]]:
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


def distinct_shapes(groups: list[dict[str, Any]]) -> list[tuple[int, ...]]:
    """The largest shapes first, each once, and not more than a page of them."""
    shapes = {tuple(param.shape) for group in groups for param in group["params"]}
    by_size = sorted(shapes, key=lambda shape: (-product(shape), shape))
    return by_size[:4]


def product(shape: Sequence[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total
