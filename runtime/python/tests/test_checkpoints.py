"""Files: written whole or not at all, checked when read, and continued from bit for bit."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import optc
import pytest
import torch
from safetensors import safe_open

from problem import Problem, twin
from rules import RULES, Rule, title


@pytest.mark.parametrize("rule", [*RULES, "soap"], ids=title)
def test_a_run_continues_bit_for_bit(rule: Rule | str, tmp_path: Path) -> None:
    make = (lambda params: optc.Optimizer(params, rule)) if isinstance(rule, str) else rule
    problem = Problem()
    optimizer = make(problem.named)
    optimizer.param_groups[0]["lr"] = 3e-3
    problem.run(optimizer, 3)
    optimizer.save(tmp_path / "x")
    other = twin(problem)
    resumed = make(other.named)
    resumed.load(tmp_path / "x")
    assert resumed.param_groups[0]["lr"] == 3e-3
    problem.run(optimizer, 12)
    other.run(resumed, 12)
    torch.testing.assert_close(problem.params, other.params, rtol=0, atol=0)
    torch.testing.assert_close(optimizer.state_dict()["state"], resumed.state_dict()["state"], rtol=0, atol=0)


def test_a_run_that_rust_began(tmp_path: Path) -> None:
    """`tests/chain`: Rust has saved after two steps; C++ goes on with the file that comes out here."""
    chain = Path(__file__).parents[3] / "tests" / "chain"
    lines = (chain / "weights").read_text().splitlines()
    bits = [torch.tensor([int(word) for word in line.split()]).to(torch.int32).view(3, 2) for line in lines]
    weight = torch.nn.Parameter(bits[0].view(torch.float32).clone())
    optimizer = optc.Optimizer([("weight", weight)], "adamw")
    optimizer.load(chain / "rust.safetensors")
    assert optimizer.param_groups[0]["lr"] == 0.0625
    for grad in (0.75, -0.5, 0.125):
        weight.grad = torch.full_like(weight, grad)
        optimizer.step()
    assert torch.equal(weight.detach().view(torch.int32), bits[1])
    optimizer.save(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == (chain / "python.safetensors").read_bytes()


def test_what_the_file_holds(tmp_path: Path) -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "adamw")
    problem.loss().backward()
    problem.bias.grad = None
    optimizer.step()
    optimizer.save(tmp_path / "x")
    with safe_open(str(tmp_path / "x"), "pt") as file:
        assert sorted(file.keys()) == ["bias/step", "weight/exp_avg", "weight/exp_avg_sq", "weight/step"]
        assert torch.equal(file.get_tensor("weight/exp_avg"), optimizer.state[problem.weight]["exp_avg"])
        assert file.get_tensor("weight/step").item() == 1
    resumed = optc.Optimizer(problem.named, "adamw")
    resumed.load(tmp_path / "x")
    assert list(resumed.state) == [problem.weight]


def test_a_tensor_as_learning_rate_stays_one(tmp_path: Path) -> None:
    optimizer = optc.Optimizer(Problem().named, "adamw", lr=torch.tensor(0.25))
    optimizer.save(tmp_path / "x")
    rate = optimizer.param_groups[0]["lr"]
    rate.fill_(0.5)
    optimizer.param_groups[0]["betas"] = (0.5, 0.5)
    optimizer.load(tmp_path / "x")
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == 0.25
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


def test_groups_with_other_rules(tmp_path: Path) -> None:
    groups = [{"pattern": "bias", "use": "adamw", "lr": 1e-2}]
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "soap", groups=groups)
    problem.run(optimizer, 3)
    optimizer.save(tmp_path / "x")
    other = twin(problem)
    resumed = optc.Optimizer(other.named, "soap", groups=groups)
    resumed.load(tmp_path / "x")
    problem.run(optimizer, 3)
    other.run(resumed, 3)
    torch.testing.assert_close(problem.params, other.params, rtol=0, atol=0)
    alone = optc.Optimizer(Problem().named, "soap")
    with pytest.raises(optc.OptError, match="of optimizer `Soap, AdamW`, not `Soap`"):
        alone.load(tmp_path / "x")


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "adamw")
    problem.run(optimizer, 1)
    optimizer.save(tmp_path / "x")

    def refuse(other: optc.Optimizer, path: Path, code: str) -> None:
        with pytest.raises(optc.OptError) as caught:
            other.load(path)
        assert caught.value.code == code
        assert not other.state

    refuse(optc.Optimizer(Problem().named, "adam"), tmp_path / "x", "opt::checkpoint::optimizer")
    refuse(optc.Optimizer(Problem().params, "adamw"), tmp_path / "x", "opt::checkpoint::missing")
    refuse(optc.Optimizer(Problem(dtype=torch.float64).named, "adamw"), tmp_path / "x", "opt::checkpoint::shape")
    refuse(optc.Optimizer(Problem().named, "adamw"), tmp_path / "absent", "opt::checkpoint::file")
    data = bytearray((tmp_path / "x").read_bytes())
    data[-1] ^= 1
    (tmp_path / "y").write_bytes(data)
    refuse(optc.Optimizer(Problem().named, "adamw"), tmp_path / "y", "opt::checkpoint::hash")


def test_a_disk_that_is_full_keeps_the_previous_file(tmp_path: Path) -> None:
    """A limit on file sizes stops the save at every length that it could have got to."""
    path = tmp_path / "x"
    problem = Problem()
    optimizer = optc.Optimizer(problem.named, "adamw")
    problem.run(optimizer, 1)
    optimizer.save(path)
    before = path.read_bytes()
    problem.run(optimizer, 1)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for length in range(0, len(before), 97):
            resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
            with pytest.raises(optc.OptError, match="cannot write"):
                optimizer.save(path)
            assert path.read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert os.listdir(tmp_path) == ["x"]


KILLED = """
import sys, torch, optc
from problem import Problem
problem = Problem()
optimizer = optc.Optimizer(problem.named, "adamw")
while True:
    problem.run(optimizer, 1)
    optimizer.save(sys.argv[1])
    print(flush=True)
"""


def test_a_process_that_is_killed_leaves_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for n in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parent
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.005 * n)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        optimizer = optc.Optimizer(Problem().named, "adamw")
        optimizer.load(path)
        steps = {entry["step"].item() for entry in optimizer.state.values()}
        assert len(steps) == 1 and steps.pop() >= 1
