"""A small problem to optimize."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import Parameter


class Problem:
    """The squared size of `weight @ x + bias`. Both parameters are matrices, so that every rule takes them."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float32, strided: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
        if strided:
            self.weight = Parameter(draw(10, 5, 2)[..., 0])
            self.bias = Parameter(draw(10, 1, 2)[..., 0])
        else:
            self.weight, self.bias = Parameter(draw(10, 5)), Parameter(draw(10, 1))
        self.x = draw(5, 8)

    @property
    def params(self) -> list[Parameter]:
        return [self.weight, self.bias]

    @property
    def named(self) -> list[tuple[str, Parameter]]:
        return [("weight", self.weight), ("bias", self.bias)]

    def loss(self) -> torch.Tensor:
        return (self.weight @ self.x + self.bias).square().sum()

    def closure(self, optimizer: torch.optim.Optimizer) -> Callable[[], torch.Tensor]:
        def evaluate() -> torch.Tensor:
            optimizer.zero_grad()
            loss = self.loss()
            loss.backward()
            return loss

        return evaluate

    def run(self, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.step(self.closure(optimizer))


def twin(problem: Problem) -> Problem:
    """The same problem with parameters of its own."""
    other = Problem()
    with torch.no_grad():
        for mine, its in zip(other.params, problem.params):
            mine.copy_(its)
    return other
