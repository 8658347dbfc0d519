"""What a mistake looks like in Python."""

from __future__ import annotations


class OptError(ValueError):
    """A mistake, with the code that `python -m optc explain` knows.

    `span` is the place in the source, in bytes; `rendered` is the message as the command shows it.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        span: tuple[int, int] | None = None,
        help: str | None = None,
        severity: str = "error",
        rendered: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.span = span
        self.help = help
        self.severity = severity
        self.rendered = rendered if rendered is not None else _render(code, message, help)

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n  help: {self.help}" if self.help else message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (super().__str__(), self.__dict__))


class MigrationWarning(UserWarning):
    """What was done to state of an earlier version of a rule, as its `migrate from` says."""


def _render(code: str | None, message: str, help: str | None) -> str:
    """As the command shows a mistake that has no place in a source."""
    lines = [f"{code}\n" if code else None, f"  × {message}", f"  help: {help}" if help else None]
    return "\n".join(line for line in lines if line) + "\n"


def _rebuild(message: str, about: dict[str, object]) -> OptError:
    error = OptError(message)
    error.__dict__.update(about)
    return error
