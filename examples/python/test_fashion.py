"""The example in a short form: it reaches a stated accuracy, and a resumed run is the same run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fashion import Run


@pytest.mark.parametrize(("rule", "accuracy"), [("muon", 0.82), ("soap", 0.82)])
def test_a_short_run_resumed_midway(rule: str, accuracy: float, tmp_path: Path) -> None:
    whole = Run(rule, steps=120, batch=64)
    whole.train(60)
    whole.save(tmp_path)
    whole.train(120)
    resumed = Run(rule, steps=120, batch=64)
    resumed.resume(tmp_path)
    resumed.train(120)
    for mine, its in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(mine, its)
    assert resumed.accuracy() > accuracy
