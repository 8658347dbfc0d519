"""The example in a short form: it reaches a stated accuracy, and a resumed run is the same run."""

from __future__ import annotations

from pathlib import Path

import torch

from fashion import Run


def test_a_short_run_resumed_midway(tmp_path: Path) -> None:
    whole = Run("muon", steps=80, batch=64)
    whole.train(40)
    whole.save(tmp_path)
    whole.train(80)
    resumed = Run("muon", steps=80, batch=64)
    resumed.resume(tmp_path)
    resumed.train(80)
    for mine, its in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(mine, its)
    assert resumed.accuracy() > 0.8
