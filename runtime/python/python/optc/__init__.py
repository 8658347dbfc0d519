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

__all__ = ["Artifact", "MigrationWarning", "OptError", "Optimizer", "__version__", "check", "compile"]


if TYPE_CHECKING:
    from ._optimizer import Optimizer
else:

    def __getattr__(name: str) -> Any:
        """Only the optimizer needs torch, so torch is imported with it."""
        if name == "Optimizer":
            try:
                from ._optimizer import Optimizer
            except ModuleNotFoundError as error:
                if error.name != "torch":
                    raise
                message = "optc.Optimizer needs torch, 2.5 or newer: pip install torch"
                raise ModuleNotFoundError(message, name="torch") from None
            return Optimizer
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
