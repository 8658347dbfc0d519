"""The Python blocks of the documents run as they stand, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", ["docs/python.md", "README.md", "runtime/python/README.md"])
def test_a_document_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(name)
    assert found
    names: dict[str, object] = {"model": torch.nn.Linear(3, 2)}
    for block in found:
        exec(compile(block, name, "exec"), names)
