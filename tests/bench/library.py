"""How long the whole standard library takes to compile to native code, module by module.

    library.py --optc target/release/optc --out docs/benchmarks --commit abc1234

Each module is compiled by a process of its own, one after the other, as a build would; the least of three runs counts.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

ROUNDS = 3
# Seconds after which a module is given up; it counts as that many.
LIMIT = 30
LIBRARY = Path(__file__).parents[2] / "stdlib"


def modules() -> list[str]:
    """Every module that declares optimizers; the others hold functions alone."""
    files = sorted(LIBRARY.glob("*.opt"))
    return [file.stem for file in files if "\noptimizer " in file.read_text(encoding="utf-8")]


def seconds(optc: str, module: str, output: Path) -> float:
    best = float(LIMIT)
    for _ in range(ROUNDS):
        start = time.perf_counter()
        command = [optc, "compile", f"std.{module}", "-o", str(output)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return best
        best = min(best, time.perf_counter() - start)
    return best


def report(times: dict[str, float], sizes: dict[str, int], commit: str) -> str:
    slowest = sorted(times, key=lambda module: -times[module])[:10]
    rows = "\n".join(row(module, times[module], sizes.get(module)) for module in slowest)
    done = [times[module] for module in sizes]
    return f"""# Compile time of the standard library

Measured on {datetime.date.today()} at commit `{commit}` on {processor()}, {os.cpu_count()} cores, by `make bench-library`.
Each module is a process of its own, all statics' variants and every CPU level included; the least of {ROUNDS} runs counts.

{len(done)} of {len(times)} modules: **{sum(done):.1f} s**, the goal is 20 s for all. One that takes longer than {LIMIT} s is given up.

The slowest:

| module | s | artifact, KiB |
|---|---|---|
{rows}
"""


def row(module: str, time: float, size: int | None) -> str:
    """A module that was given up has no artifact."""
    return f"| `std.{module}` | > {LIMIT} | — |" if size is None else f"| `std.{module}` | {time:.2f} | {size / 1024:.0f} |"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--optc", required=True)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--commit", required=True)
    args = arguments.parse_args()
    times, sizes = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for module in modules():
            output = Path(folder, f"{module}.optc")
            times[module] = seconds(args.optc, module, output)
            if output.exists():
                sizes[module] = output.stat().st_size
            print(f"std.{module:28} {times[module]:6.2f} s", flush=True)
    text = report(times, sizes, args.commit)
    (args.out / "library.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
