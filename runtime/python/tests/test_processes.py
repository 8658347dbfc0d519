"""Threads, forks, and many optimizers one after the other."""

from __future__ import annotations

import multiprocessing
import os
import resource
import threading

import optc
import pytest
import torch
from torch.utils.data import DataLoader

from problem import Problem


def test_two_optimizers_in_two_threads() -> None:
    alone = Problem()
    alone.run(optc.Optimizer(alone.params, "adamw"), 30)
    problems = [Problem() for _ in range(4)]
    threads = [
        threading.Thread(target=lambda p=p: p.run(optc.Optimizer(p.params, "adamw"), 30)) for p in problems
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for problem in problems:
        assert torch.equal(problem.weight, alone.weight)


def test_one_optimizer_in_two_threads_loses_no_step() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, "adamw")
    problem.closure(optimizer)()
    refused = []

    def step() -> None:
        for _ in range(200):
            try:
                optimizer.step()
            except optc.OptError as error:
                refused.append(error.code)

    threads = [threading.Thread(target=step) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert optimizer.state[problem.weight]["step"] + len(refused) == 400
    assert set(refused) <= {"opt::python::threads"}


def test_a_fork_steps_and_ends() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, "muon")
    problem.run(optimizer, 2)
    child = multiprocessing.get_context("fork").Process(target=step_and_leave, args=(problem, optimizer))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    problem.run(optimizer, 1)


def step_and_leave(problem: Problem, optimizer: optc.Optimizer) -> None:
    torch.set_num_threads(1)
    for param in problem.params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    assert optimizer.state[problem.weight]["step"] == 3
    again = optc.Optimizer(problem.params, "adamw")
    again.step()
    del optimizer, again


def test_data_loaders_that_fork() -> None:
    problem = Problem()
    optimizer = optc.Optimizer(problem.params, "adamw")
    loader = DataLoader(torch.arange(16.0), batch_size=4, num_workers=2, multiprocessing_context="fork")
    for batch in loader:
        optimizer.zero_grad()
        (problem.loss() * batch.mean()).backward()
        optimizer.step()
    assert optimizer.state[problem.weight]["step"] == 4


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="needs a page size")
def test_a_thousand_optimizers_take_no_more_memory() -> None:
    def cycle(count: int) -> None:
        for _ in range(count):
            problem = Problem()
            problem.run(optc.Optimizer(problem.params, "sgd", lr=1e-3), 1)

    cycle(200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cycle(1000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 32 * 1024, f"{grown} KiB"
