"""From what a person names to a checked artifact: a path, a text, a name of the standard library."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Union

from . import _native
from ._errors import OptError
from ._optc import Artifact, check_composition, check_file, check_text, is_composition, standard_library

Source = Union[str, "os.PathLike[str]", Artifact]


def load(source: Source, optimizer: str | None = None) -> Artifact:
    """Reads and checks `source`; `optimizer` chooses one where it declares several."""
    if isinstance(source, Artifact):
        return chosen(source, optimizer)
    check_kind(source)
    if is_text(source):
        return Artifact.from_text(str(source), optimizer=optimizer)
    path = Path(source)
    module = standard_module(str(source))
    if module is not None and not path.is_file():
        return Artifact.from_std(module, optimizer)
    if path.is_dir() or not path.exists():
        if is_composition(str(source)):
            return Artifact.compose(str(source))
        raise missing(str(source))
    return Artifact.open(path, optimizer)


def compile(
    source: Source,
    optimizer: str | None = None,
    *,
    progress: Callable[[str], None] | None = None,
) -> Artifact:
    """The artifact of a rule: with native code where the `optc` command with LLVM is installed.

    Otherwise its kernels are compiled in memory when an optimizer is made. `progress` is told what is being done.
    """
    tell = progress or (lambda _: None)
    tell("checking")
    artifact = load(source, optimizer)
    if artifact.isa is not None:
        return artifact
    compiled = _native.compile(artifact, tell)
    tell("done")
    return Artifact.from_bytes(compiled, artifact.name) if compiled is not None else artifact


def check(source: str | os.PathLike[str]) -> list[OptError]:
    """Every mistake and warning in a rule, in the order of its text; none if it is right."""
    check_kind(source)
    if is_text(source):
        return check_text(str(source))
    module = standard_module(str(source))
    if module is not None and not Path(source).is_file():
        return []
    if is_composition(str(source)) and not Path(source).exists():
        return check_composition(str(source))
    return check_file(Path(source))


def chosen(artifact: Artifact, optimizer: str | None) -> Artifact:
    """An artifact is one optimizer of its source, whatever else there is."""
    if optimizer in (None, artifact.name):
        return artifact
    raise OptError(
        f"the artifact is of `{artifact.name}`, not of `{optimizer}`",
        code="opt::bind::unknown_optimizer",
        help=f'choose when it is made: `optc.compile(source, "{optimizer}")`',
    )


def check_kind(source: object) -> None:
    """Only texts and paths name a source."""
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"`source` must be a path, a text, a name or an Artifact, not {type(source).__name__}")


def is_text(source: str | os.PathLike[str]) -> bool:
    """Only a text has lines or braces."""
    return isinstance(source, str) and ("\n" in source or "{" in source)


def standard_module(name: str) -> str | None:
    """`adamw` and `std.adamw` are the same module."""
    full = name if name.startswith("std.") else f"std.{name}"
    return full if full in standard_library() else None


def missing(source: str) -> OptError:
    """A name that is neither a file nor a module."""
    return OptError(
        f"there is no file `{source}`, and no rule of that name in the standard library",
        code="opt::load::file",
        help=meant(Path(source)),
    )


def meant(path: Path) -> str:
    """What the name may have been meant to be."""
    known = [name.removeprefix("std.") for name in standard_library()]
    is_file = path.suffix in (".opt", ".optc")
    word = path.stem if is_file else path.name.removeprefix("std.")
    near = difflib.get_close_matches(word.lower(), known, n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    if is_file or len(path.parts) > 1:
        return f"check the path, which begins at `{Path.cwd()}`"
    return f"give a `.opt` or `.optc` file, the text of a rule, or one of {', '.join(known)}"
