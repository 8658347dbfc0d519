"""The command `optc`, as far as it goes without LLVM: check, inspect, explain."""

from __future__ import annotations

import sys

from ._optc import run_command


def main() -> int:
    """Runs the command with the arguments of this process."""
    return run_command(["optc", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
