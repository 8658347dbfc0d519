"""Compiling ahead of time, by the `optc` command that has LLVM."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from ._errors import OptError
from ._optc import Artifact


def compiler() -> str | None:
    """The command that can compile: `OPTC_COMPILER`, or an `optc` on the path that is a program, not this package's."""
    chosen = os.environ.get("OPTC_COMPILER")
    if chosen:
        return chosen
    found = shutil.which("optc")
    return found if found is not None and not is_script(Path(found)) else None


def is_script(path: Path) -> bool:
    """The command of a Python package is a script."""
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def compile(artifact: Artifact, tell: Callable[[str], None]) -> bytes | None:
    """The bytes of an artifact with native code; None if nothing here can make one."""
    command = compiler()
    if command is None:
        tell("no compiler here: kernels are compiled in memory when an optimizer is made")
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "rule.opt"), Path(folder, "rule.optc")
        write_sources(artifact, source)
        tell(f"compiling {artifact.name} to native code with {command}")
        run([command, "compile", str(source), "-o", str(output)])
        return output.read_bytes()


def run(command: list[str]) -> None:
    """Runs the compiler; what it says when it fails is the message."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise OptError(
            done.stderr.strip() or f"`{command[0]}` ended with {done.returncode}",
            code="opt::python::compiler",
            help="set OPTC_COMPILER to an `optc` with LLVM, or make the optimizer from the source",
        )


def write_sources(artifact: Artifact, root: Path) -> None:
    """The source, and beside it the modules that it uses and that are not the standard library's."""
    root.write_text(artifact.source, encoding="utf-8")
    for name, text in artifact.modules.items():
        path = root.parent.joinpath(*name.split(".")).with_suffix(".opt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
