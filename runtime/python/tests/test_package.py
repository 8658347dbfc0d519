"""The package around the optimizer: reading rules, the command, types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import optc
import pytest

from problem import Problem

PLAIN = """//! Plain gradient descent.
optimizer Plain {
    hyper lr = 0.5 in [0, inf)
    rule each(w: [...]) { w -= lr * grad }
}
"""


def test_a_source_is_a_path_a_text_a_name_or_an_artifact(tmp_path: Path) -> None:
    path = tmp_path / "plain.opt"
    path.write_text(PLAIN)
    for source in (path, str(path), PLAIN, optc.compile(PLAIN), optc.compile(path)):
        problem = Problem()
        optimizer = optc.Optimizer(problem.params, source)
        before = problem.bias.detach().clone()
        problem.loss().backward()
        optimizer.step()
        assert (problem.bias - (before - 0.5 * problem.bias.grad)).abs().max() < 1e-6
    for name in ("adamw", "std.adamw"):
        assert optc.compile(name).name == "AdamW"


def test_one_of_several_optimizers(tmp_path: Path) -> None:
    two = PLAIN + PLAIN.split("\n", 1)[1].replace("Plain", "Other").replace("0.5", "0.25")
    with pytest.raises(optc.OptError, match="which optimizer is meant") as caught:
        optc.Optimizer(Problem().params, two)
    assert caught.value.code == "opt::bind::which_optimizer"
    optimizer = optc.Optimizer(Problem().params, two, optimizer="Other")
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_checking(tmp_path: Path) -> None:
    assert optc.check(PLAIN) == []
    assert optc.check("soap") == []
    path = tmp_path / "bad.opt"
    path.write_text(PLAIN.replace("lr *", "rl * foo *"))
    found = optc.check(path)
    assert [error.severity for error in found] == ["error", "error"]
    assert path.read_bytes()[slice(*found[0].span)] == b"rl"
    assert "bad.opt" in found[0].rendered


def test_inspecting() -> None:
    text = optc.compile("soap").inspect((64, 32), (10,), precondition_frequency=4)
    assert "bf16" not in text
    assert "f32 64x32 by rule `each`: state" in text and "gram.0" in text
    assert "f32[64, 64]" in text and "f32 10 by rule" in text
    assert "f64[64, 32]" in optc.compile("adamw").inspect((64, 32), dtype="float64")


def test_compiling_tells_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPTC_COMPILER", raising=False)
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    told: list[str] = []
    artifact = optc.compile("adamw", progress=told.append)
    assert artifact.isa is None
    assert told[0] == "checking" and "compiled in memory" in told[1]


def test_compiling_with_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The compiler is found, and what it says when it fails is passed on."""
    compiler = tmp_path / "optc"
    compiler.write_text("#!/bin/sh\necho no such target >&2\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("OPTC_COMPILER", str(compiler))
    with pytest.raises(optc.OptError, match="no such target"):
        optc.compile("adamw")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "optc", *arguments], capture_output=True, text=True)


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "plain.opt"
    path.write_text(PLAIN)
    assert command("check", str(path)).returncode == 0
    inspected = command("inspect", str(path), "--shape", "8x8")
    assert inspected.returncode == 0 and "hyperparameters" in inspected.stdout
    assert "no order of magnitude" not in command("explain", "opt::python::sparse").stdout
    assert command("explain", "opt::python::sparse").returncode == 0
    emitted = command("compile", str(path), "--emit", "plan", "--shape", "8x8")
    assert emitted.returncode == 0 and emitted.stdout
    compiled = command("compile", str(path))
    assert compiled.returncode == 2
    assert "LLVM" in compiled.stderr and "make build" in compiled.stderr


def test_checking_needs_no_torch() -> None:
    code = "import optc, sys; optc.check('adamw'); optc.compile('adamw'); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_optimizer_without_torch_names_what_to_install() -> None:
    code = "import sys, optc; sys.modules['torch'] = None; optc.Optimizer"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs torch, 2.5 or newer: pip install torch" in done.stderr


def test_what_there_is_is_listed() -> None:
    assert set(optc.__all__) <= set(dir(optc))


def test_errors_are_pickled() -> None:
    import pickle

    with pytest.raises(optc.OptError) as caught:
        optc.Optimizer(Problem().params, "adamw", lr=-1)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.code, again.rendered) == (str(caught.value), caught.value.code, caught.value.rendered)


def test_the_package_is_typed() -> None:
    config = Path(__file__).parents[1] / "pyproject.toml"
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", os.devnull, "-p", "optc"],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout
