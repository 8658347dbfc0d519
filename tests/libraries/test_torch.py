"""torch itself: what `runtime/python/tests/test_directions.py` leaves out, and compositions of the library's wrappers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optc
import pytest
import torch
from bounds import BF16_STORAGE, MATRIX, POLAR, SINGLE_NUMBERS
from torch.nn import Parameter
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from trial import DECAY, MATRICES, RATES, STEPS, TENSORS, Params, compare, give, pair, params, same, values

UP = {"maximize": True}


class Prepared:
    """An optimizer of torch whose gradients go through a function first."""

    def __init__(self, optimizer: torch.optim.Optimizer, prepare: Callable[[Any], Any]) -> None:
        self.optimizer, self.prepare = optimizer, prepare

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def step(self) -> None:
        self.prepare([param for group in self.param_groups for param in group["params"]])
        self.optimizer.step()


def clipped(base: Any, prepare: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda params, **options: Prepared(base(params, **options), prepare)


class Grafted:
    """As far as one optimizer goes where another one goes, each on a copy of the parameters."""

    def __init__(self, params: list[Parameter], magnitude: Any, direction: Any) -> None:
        self.params = params
        self.copies = [[Parameter(param.detach().clone()) for param in params] for _ in range(2)]
        self.bases = [make(copy) for make, copy in zip((magnitude, direction), self.copies)]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for base in self.bases for group in base.param_groups]

    @torch.no_grad()
    def step(self) -> None:
        for base, copies in zip(self.bases, self.copies):
            for copy, param in zip(copies, self.params):
                copy.copy_(param)
                copy.grad = param.grad
            base.step()
        for param, far, where in zip(self.params, *self.copies):
            d = where - param
            param.add_(d * ((far - param).norm() / d.norm().clamp(min=1e-16)))


class Written(torch.optim.Optimizer):
    """An update that no library has, written out: it is given a parameter's gradient, its state and the learning rate."""

    def __init__(self, params: Any, update: Callable[..., torch.Tensor], **options: float) -> None:
        super().__init__(params, options)
        self.update = update

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    param.sub_(group["lr"] * self.update(param.grad, self.state[param]))


def written(update: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    return lambda params, **options: Written(params, update, **options)


def rms_with_eps_inside(grad: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
    """TensorFlow's RMSprop."""
    state["v"] = 0.9 * state.get("v", torch.zeros_like(grad)) + 0.1 * grad**2
    return grad / (state["v"] + 1e-3).sqrt()


def lamb_of_the_paper(grad: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
    """Adam's direction with both averages corrected; the ratio is left out."""
    t = state["t"] = state.get("t", 0) + 1
    state["m"] = 0.9 * state.get("m", torch.zeros_like(grad)) + 0.1 * grad
    state["v"] = 0.999 * state.get("v", torch.zeros_like(grad)) + 0.001 * grad**2
    return state["m"] / (1 - 0.9**t) / ((state["v"] / (1 - 0.999**t)).sqrt() + 1e-6)


def polar(scaled: bool) -> Callable[..., torch.Tensor]:
    """U V', times the sum of the singular values."""

    def update(grad: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
        u, s, vh = torch.linalg.svd(grad, full_matrices=False)
        return u @ vh * (s.sum() if scaled else 1.0)

    return update


def grafted(params: list[Parameter], lr: float) -> Grafted:
    adamw = lambda copies: torch.optim.AdamW(copies, lr=lr, weight_decay=0.1)  # noqa: E731
    rmsprop = lambda copies: torch.optim.RMSprop(copies, lr=lr, momentum=0.5)  # noqa: E731
    return Grafted(params, adamw, rmsprop)


SAME = [
    pair("Adafactor", torch.optim.Adafactor, "adafactor", {"lr": 0.05, "weight_decay": 0.1}),
    pair("Adafactor, maximizing", torch.optim.Adafactor, "adafactor", {"lr": 0.05, "d": 1.5, "beta2_decay": -0.5, **UP}),
    pair("ASGD, averaging", torch.optim.ASGD, "asgd", {"lr": 0.1, "t0": 5, "lambd": 0.01, "alpha": 0.6, "weight_decay": 0.05}, rates=False, bound=SINGLE_NUMBERS),
    pair("ASGD, maximizing", torch.optim.ASGD, "asgd", {"lr": 0.05, **UP}, rates=False, bound=SINGLE_NUMBERS),
    pair("Rprop", torch.optim.Rprop, "rprop", {"lr": 0.02}, theirs={"etas": (0.6, 1.5)}, ours={"etaminus": 0.6, "etaplus": 1.5}),
    pair("Rprop, maximizing", torch.optim.Rprop, "rprop", {"lr": 0.02, **UP}),
    pair("AdamW, AMSGrad, maximizing", torch.optim.AdamW, "adamw", {**DECAY, "amsgrad": True, **UP}),
    pair("NAdam, decoupled, maximizing", torch.optim.NAdam, "nadam", {**DECAY, "decoupled_weight_decay": True, **UP}, bound=SINGLE_NUMBERS),
    pair("RAdam, decoupled, maximizing", torch.optim.RAdam, "radam", {**DECAY, "decoupled_weight_decay": True, **UP}),
    pair("RMSprop, centred, momentum", torch.optim.RMSprop, "rmsprop", {**DECAY, "centered": True, "momentum": 0.8, "eps": 1e-3}),
    pair("SGD, dampened", torch.optim.SGD, "sgd", {**DECAY, "momentum": 0.9, "dampening": 0.3}),
    pair("SGD, Nesterov", torch.optim.SGD, "sgd", {**DECAY, "momentum": 0.9, "nesterov": True, **UP}),
    pair("RMSprop with eps inside", written(rms_with_eps_inside), "rmsprop", {"lr": 0.02}, ours={"eps_inside_root": True, "alpha": 0.9, "eps": 1e-3}),
    pair("LAMB of the paper", written(lamb_of_the_paper), "lamb", {"lr": 0.02}, ours={"bias_correction": "moments", "adam": True}),
    pair("steepest descent, spectral", written(polar(True)), "lmo", {"lr": 0.01}, ours={"norm": "spectral"}, shapes=("tall", "wide"), bound=POLAR),
    pair("steepest descent, without the dual norm", written(polar(False)), "lmo", {"lr": 0.01}, ours={"dual_norm": False}, shapes=("tall", "wide"), bound=POLAR),
    pair("steepest descent, largest", written(lambda g, _: g.sign() * g.abs().sum()), "lmo", {"lr": 0.01}, ours={"norm": "max"}),
    pair("steepest descent, Euclidean", torch.optim.SGD, "lmo", {"lr": 0.01}, ours={"norm": "euclidean", "vector_norm": "euclidean"}),
    pair("clipped by value", clipped(torch.optim.AdamW, lambda p: clip_grad_value_(p, 0.5)), "clip", DECAY, ours={"clip_value": 0.5, "optimizer": "ClipValue"}),
    *(
        pair(f"clipped by the norm {word}", clipped(torch.optim.RMSprop, lambda p, norm=norm: clip_grad_norm_(p, 2.0, norm)), "Clip(base = RMSprop)", {"lr": 0.02}, ours={"max_norm": 2.0, "norm_type": word})
        for word, norm in {"one": 1.0, "two": 2.0, "largest": float("inf")}.items()
    ),
    pair("clipped, then AdamW", clipped(torch.optim.AdamW, lambda p: clip_grad_norm_(p, 2.0)), "clip_adamw", DECAY, ours={"max_norm": 2.0}),
    pair("grafted", grafted, "Graft(magnitude = AdamW, direction = RMSprop)", {"lr": 0.02}, ours={"magnitude.weight_decay": 0.1, "momentum": 0.5}, shapes=TENSORS, absent=False, bound=MATRIX),
]

test_same = same(SAME)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
def test_parts_of_a_fused_matrix(adjust: str, nesterov: bool) -> None:
    """A matrix of queries, keys and values steps as three matrices do."""
    sizes = [6, 4, 4]
    start = torch.randn(14, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    options = {**DECAY, "adjust_lr": adjust, "nesterov": nesterov, "ns_dtype": "same"}
    fused = Parameter(start.clone())
    parts = [Parameter(part.clone()) for part in start.split(sizes)]
    whole = optc.Optimizer([("qkv", fused)], "muon", split_sizes=[(size,) for size in sizes], **options)
    apart = optc.Optimizer([(f"part{n}", part) for n, part in enumerate(parts)], "muon", **options)
    for step in range(STEPS):
        grad = torch.randn(14, 5, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        fused.grad = grad
        for part, given in zip(parts, grad.split(sizes)):
            part.grad = given.clone()
        whole.step()
        apart.step()
        assert torch.equal(fused, torch.cat([part.detach() for part in parts]))


@pytest.mark.parametrize("held", ["master", "rest"])
def test_bf16_parameters_follow_adamw_in_float32(held: str) -> None:
    """torch's AdamW on a copy in float32, and the copy rounded, is what AdamWBf16 does."""
    mine, copies = params(TENSORS, torch.bfloat16), params(TENSORS, torch.bfloat16)
    copies = [(name, Parameter(copy.detach().float())) for name, copy in copies]
    theirs = torch.optim.AdamW([copy for _, copy in copies], **DECAY)
    ours = optc.Optimizer(mine, "adamw_bf16", held=held, **DECAY)
    start = values(mine)
    for step in range(1, STEPS + 1):
        for optimizer in (ours, theirs):
            optimizer.param_groups[0]["lr"] = 0.02 * RATES[step - 1]
        give(mine, step, absent=True)
        for (_, param), (_, copy) in zip(mine, copies):
            copy.grad = None if param.grad is None else param.grad.float()
        ours.step()
        theirs.step()
        rounded = {name: copy.detach().bfloat16().double() for name, copy in copies}
        far = list(compare(BF16_STORAGE, torch.bfloat16, start, [values(mine)], [rounded]))
        assert not far, (step, far)
