"""Every recorded reference run without random numbers, stepped through Python.

`optc-exchange` of the Rust tests says what to do and judges the results, so that options, states and tolerances have one
table for all languages.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import optc
import pytest
import torch
from torch.nn import Parameter


def exchange(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = os.environ.get("OPTC_EXCHANGE")
    assert program, "OPTC_EXCHANGE names the program `optc-exchange`: run `make test-python`"
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_parity_with_every_recorded_run(dtype: str, tmp_path: Path) -> None:
    assert exchange("ask", dtype, tmp_path / "asked").returncode == 0
    words = iter((tmp_path / "asked").read_text().split())
    with (tmp_path / "answered").open("w") as answers:
        for _ in range(int(next(words))):
            replay(words, answers)
    judged = exchange("judge", dtype, tmp_path / "answered")
    assert judged.returncode == 0, judged.stdout + judged.stderr


def replay(words: Iterator[str], answers: TextIO) -> None:
    """One recorded run."""
    module, name, dtype = next(words), next(words), getattr(torch, next(words))
    params = {}
    for _ in range(int(next(words))):
        key = next(words)
        shape = [int(next(words)) for _ in range(int(next(words)))]
        params[key] = Parameter(values(words, shape, dtype))
    groups = [group(words) for _ in range(int(next(words)))]
    optimizer = optc.Optimizer(params.items(), module, optimizer=name, groups=groups)
    write(answers, optimizer, params)
    while (kind := next(words)) != "done":
        if kind == "lr":
            rate = float(next(words))
            for one in optimizer.param_groups[1:]:
                one["lr"] = rate
        elif kind == "grad":
            param = params[next(words)]
            param.grad = values(words, list(param.shape), dtype)
        else:
            optimizer.step() if kind == "step" else optimizer.run_entry(next(words))
            optimizer.zero_grad()
            write(answers, optimizer, params)


def group(words: Iterator[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"pattern": next(words)}
    while (kind := next(words)) != "end":
        name = next(words)
        if kind == "rule":
            found["use"] = name
        else:
            found[name] = next(words) if kind == "static" else float(next(words))
    return found


def values(words: Iterator[str], shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    count = torch.Size(shape).numel()
    numbers = [float(next(words)) for _ in range(count)]
    return torch.tensor(numbers, dtype=torch.float64).reshape(shape).to(dtype)


def write(answers: TextIO, optimizer: optc.Optimizer, params: dict[str, Parameter]) -> None:
    """Everything as it is now."""
    for name, param in params.items():
        entry = optimizer.state.get(param, {})
        answers.write(line(f"param {name}", param.detach()))
        answers.write(f"step {name} 1 {int(entry.get('step', 0))}\n")
        for key, piece in entry.items():
            if key != "step":
                answers.write(line(f"state {name} {key}", piece))
    for n, one in enumerate(optimizer.param_groups[1:]):
        for key, value in one.get("shared", {}).items():
            answers.write(f"shared {n} {key} 1 {value!r}\n")
    answers.write("end\n")


def line(what: str, tensor: torch.Tensor) -> str:
    flat = tensor.double().flatten().tolist()
    return f"{what} {len(flat)} {' '.join(map(repr, flat))}\n"
