"""Optimizer update rules, written as the paper states them, as torch optimizers.

    import optc

    optimizer = optc.Optimizer(model.named_parameters(), "soap", lr=3e-3)

`Optimizer` is a `torch.optim.Optimizer`. `compile` reads a rule, `check` lists the mistakes in one, and diagnostics
arrive as `OptError`.
"""

from typing import TYPE_CHECKING, Any

from ._artifact import check, compile
from ._errors import MigrationWarning, OptError
from ._optc import Artifact, __version__

if TYPE_CHECKING:
    from ._optimizer import Optimizer

__all__ = ["Artifact", "MigrationWarning", "OptError", "Optimizer", "__version__", "check", "compile"]


def __getattr__(name: str) -> Any:
    """Only the optimizer needs torch, so torch is imported with it."""
    if name == "Optimizer":
        from ._optimizer import Optimizer

        return Optimizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
