"""torch's optimizers, and the rules of the standard library that stand in for them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import optc
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_optimizers import OptimizerInfo, optim_db


@dataclass(frozen=True)
class Rule:
    """A rule, called as torch calls its own class."""

    reference: type[torch.optim.Optimizer]
    module: str
    # torch's name of an option, and ours.
    renamed: dict[str, str] = field(default_factory=dict)
    # Where torch's defaults differ from the rule's.
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.reference.__name__

    @property
    def info(self) -> OptimizerInfo:
        return next(info for info in optim_db if info.optim_cls is self.reference)

    def __call__(self, params: Any, **options: Any) -> optc.Optimizer:
        return optc.Optimizer(params, self.module, **self.options(options))

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """torch's keywords in the rule's words."""
        options = {self.renamed.get(key, key): value for key, value in options.items()}
        return {**self.defaults, **options}

    def inputs(self) -> list[dict[str, Any]]:
        """The keywords that torch tests its class with on the cpu."""
        return [dict(given.kwargs) for given in self.info.optim_inputs_func(device="cpu")]


RULES = [
    Rule(torch.optim.SGD, "sgd"),
    Rule(torch.optim.Adam, "adam"),
    Rule(torch.optim.AdamW, "adamw"),
    Rule(torch.optim.RMSprop, "rmsprop"),
    Rule(torch.optim.Adagrad, "adagrad"),
    Rule(torch.optim.NAdam, "nadam"),
    Rule(torch.optim.RAdam, "radam"),
    Rule(torch.optim.Adamax, "adamax"),
    Rule(torch.optim.Adadelta, "adadelta"),
]

# torch has it since 2.9.
if hasattr(torch.optim, "Muon"):
    muon = Rule(
        torch.optim.Muon,
        "muon",
        renamed={"ns_coefficients": "coefficients", "adjust_lr_fn": "adjust_lr"},
        defaults={"lr": 1e-3, "weight_decay": 0.1, "norm_floor": "clamp"},
    )
    RULES.append(muon)


def cases() -> list[tuple[Rule, dict[str, Any]]]:
    """Every rule with every set of keywords that torch tests it with."""
    return [(rule, options) for rule in RULES for options in rule.inputs()]


def title(case: Any) -> str:
    """What pytest calls a case."""
    if isinstance(case, Rule):
        return case.name
    if isinstance(case, dict):
        return "-".join(f"{key}={value}" for key, value in case.items()) or "default"
    return str(case)


def fresh(options: dict[str, Any]) -> dict[str, Any]:
    """Options whose tensors are nobody else's: schedulers change them in place."""
    return {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in options.items()}
