"""The recorded reference runs, stepped through Python."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optc
import pytest
import torch
from safetensors import safe_open
from torch.nn import Parameter

FOLDER = Path(__file__).parents[3] / "tests" / "golden"

# What only chooses between implementations, or chooses the group.
EQUAL = frozenset("foreach fused capturable differentiable params use_muon".split())

# What torch's Adam and AdamW say of themselves.
DECOUPLED = frozenset(["decoupled_weight_decay"])


@dataclass(frozen=True)
class File:
    """A recorded file in the words of a rule."""

    module: str
    renamed: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    constants: frozenset[str] = frozenset()
    elementwise: bool = True


MUON = File("muon", {"ns_coefficients": "coefficients", "adjust_lr_fn": "adjust_lr"}, constants=frozenset(["eps"]), elementwise=False)
SOAP = File("soap", {"data_format": "channels_last"}, elementwise=False)

FILES = {
    "sgd": File("sgd"),
    "adam": File("adam", constants=DECOUPLED),
    "adamw": File("adamw", constants=DECOUPLED),
    "rmsprop": File("rmsprop"),
    "adagrad": File("adagrad"),
    "nadam": File("nadam"),
    "radam": File("radam"),
    "adamax": File("adamax"),
    "adadelta": File("adadelta"),
    "torch_muon": File("muon", MUON.renamed, {"norm_floor": "clamp"}, MUON.constants, elementwise=False),
    "muon": MUON,
    "soap": SOAP,
    "soap_long": SOAP,
    "soap_options": SOAP,
}

# The author's Muon gives its Adam other names.
AUXILIARY = {"lr": "adam_lr", "eps": "adam_eps", "weight_decay": "adam_weight_decay"}


class Case:
    """One recorded run."""

    def __init__(self, name: str, case: str) -> None:
        self.name, self.case, self.file = name, case, FILES[name]
        with safe_open(str(FOLDER / f"{name}.safetensors"), "pt") as recorded:
            self.about = json.loads(recorded.metadata()["golden"])["cases"][case]
            keys = [key for key in recorded.keys() if key.startswith(f"{case}/")]
            self.tensors = {key.removeprefix(f"{case}/"): recorded.get_tensor(key) for key in keys}

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.about["dtype"])
        return dtype

    @property
    def exact(self) -> bool:
        return bool(self.about.get("exact_float64"))

    def bound(self) -> float:
        """How near: the reasons stand in `tests/src/tolerance.rs`."""
        response = self.about.get("response_4ulp", {}).get("param", 0.0)
        single = self.dtype == torch.float32
        if self.dtype == torch.bfloat16:
            return 0.05 if self.case.startswith("fused") else 0.25
        if self.file.elementwise:
            return 1e-5 if single else 1e-12
        if "bf16_ns" in self.case or self.case == "bfloat16_ns":
            return 0.1
        if self.case == "native_float64":
            return 1e-4
        return max(1e-4, 20 * response) if single else max(1e-10, 100 * response)

    def groups(self, params: dict[str, Parameter]) -> list[dict[str, Any]]:
        return [self.group(options, params) for options in self.about["groups"]]

    def group(self, options: dict[str, Any], params: dict[str, Parameter]) -> dict[str, Any]:
        named = [(name, params[name]) for name in options["params"]]
        ours = {key: value for key, value in options.items() if key not in EQUAL | self.file.constants}
        if options.get("use_muon") is False:
            betas = options["betas"]
            ours = {AUXILIARY[key]: value for key, value in ours.items() if key in AUXILIARY}
            return {"params": named, "use": "other", "adam_beta1": betas[0], "adam_beta2": betas[1], "adam_eps": options["eps"], **ours}
        ours = {**self.outside(), **ours}
        ours = {self.file.renamed.get(key, key): translated(key, value) for key, value in ours.items()}
        kept = {key: value for key, value in ours.items() if usable(key, value)}
        return {"params": named, **kept, **self.file.options, **self.precision()}

    def outside(self) -> dict[str, Any]:
        """Statics of SOAP that its reference keeps outside of the groups."""
        return {"data_format": self.about["hyper"]["data_format"]} if "data_format" in self.about["hyper"] else {}

    def precision(self) -> dict[str, Any]:
        """The recording made the reference's cast to bfloat16 harmless."""
        return {"ns_dtype": "same"} if self.exact and self.file.module == "muon" else {}

    def step(self, n: int, optimizer: optc.Optimizer, params: dict[str, Parameter]) -> None:
        rates = self.tensors.get("extra/lr")
        for group in optimizer.param_groups if rates is not None else []:
            group["lr"] = rates[n - 1].item()
        for name, param in params.items():
            grad = self.tensors.get(f"grad/{name}/{n}")
            # The author's Muon takes a missing gradient for zeros.
            zeros = torch.zeros_like(param) if self.name == "muon" else None
            param.grad = zeros if grad is None else grad.to(self.dtype)
        optimizer.step()


def translated(key: str, value: Any) -> Any:
    """SOAP's reference names a layout, the rule asks whether it is the one with channels last."""
    return value == "channels_last" if key == "data_format" else value


def usable(key: str, value: Any) -> bool:
    """A negative number (SOAP's `shampoo_beta`) and None mean the default."""
    return value is not None and not (key == "shampoo_beta" and value < 0)


def all_cases() -> list[tuple[str, str]]:
    found = []
    for name in FILES:
        path = FOLDER / f"{name}.safetensors"
        with safe_open(str(path), "pt") as recorded:
            found += [(name, case) for case in json.loads(recorded.metadata()["golden"])["cases"]]
    return found


@pytest.mark.parametrize(("name", "case"), all_cases())
def test_parity_with_the_recorded_run(name: str, case: str) -> None:
    run = Case(name, case)
    first = {param: run.tensors[f"param/{param}/init"].to(run.dtype) for param in run.about["order"]}
    params = {param: Parameter(value.clone()) for param, value in first.items()}
    optimizer = optc.Optimizer(run.groups(params), run.file.module)
    for n in range(1, run.about["steps"] + 1):
        run.step(n, optimizer, params)
        if n in run.about["snapshots"]:
            compare(run, n, params, first)


def compare(run: Case, n: int, params: dict[str, Parameter], first: dict[str, torch.Tensor]) -> None:
    for name, param in params.items():
        recorded = run.tensors[f"param/{name}/{n}"].double()
        moved = (recorded - first[name].double()).abs().max().item() if recorded.numel() else 0.0
        away = (param.detach().double() - recorded).abs().max().item() if recorded.numel() else 0.0
        assert away <= run.bound() * moved, f"{name} after {n} steps: {away / moved if moved else away:.1e}"
