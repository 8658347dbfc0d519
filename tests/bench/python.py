"""What a step costs in Python beside torch's own optimizers: many small tensors, where the work itself takes no time.

    PYTHONPATH=… python tests/bench/python.py --out docs/benchmarks

Both take turns in one process, on the same shapes, with the same number of threads, after a warm-up. A figure is the
median over the rounds of a round's median step. The overhead is the step itself: the elements are so few that their
arithmetic takes microseconds.
"""

import argparse
import datetime
import pathlib
import statistics
import time

import optc
import torch
from run import machine

# title: (our rule, torch's class with its keywords, options)
RULES = {
    "AdamW": ("adamw", lambda params: torch.optim.AdamW(params, lr=1e-3, fused=True), {"lr": 1e-3}),
    "SGD with momentum": (
        "sgd",
        lambda params: torch.optim.SGD(params, lr=1e-3, momentum=0.9, fused=True),
        {"lr": 1e-3, "momentum": 0.9},
    ),
}
# Tensors, elements of each.
SIZES = [(200, 64), (200, 1024)]


def params(count, elements):
    made = [torch.nn.Parameter(torch.randn(elements)) for _ in range(count)]
    for param in made:
        param.grad = torch.randn(elements)
    return made


def step_us(optimizer, steps):
    taken = []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.step()
        taken.append(1e6 * (time.perf_counter() - start))
    return statistics.median(taken)


def compare(rule, reference, options, count, elements, rounds, steps):
    ours = optc.Optimizer(params(count, elements), rule, **options)
    theirs = reference(params(count, elements))
    step_us(ours, 20), step_us(theirs, 20)
    pairs = [(step_us(theirs, steps), step_us(ours, steps)) for _ in range(rounds)]
    return tuple(statistics.median(side) for side in zip(*pairs)), statistics.median(a / b for a, b in pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--commit", default="unknown")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    today = datetime.date.today().isoformat()
    lines = [
        "# A step in Python",
        "",
        f"Measured on {today} at commit `{args.commit}` on {machine()}, {args.threads} threads, f32 parameters, with",
        f"torch {torch.__version__} (`fused=True`), by `make bench-python`: {args.rounds} rounds of {args.steps} steps each, in turns.",
        "Times are medians; a larger ratio is better for optc.",
        "",
        "| rule | tensors | elements each | torch, ms | optc, ms | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for title, (rule, reference, options) in RULES.items():
        for count, elements in SIZES:
            (theirs, ours), ratio = compare(rule, reference, options, count, elements, args.rounds, args.steps)
            lines.append(f"| {title} | {count} | {elements} | {theirs / 1e3:.3f} | {ours / 1e3:.3f} | {ratio:.1f} |")
            print(lines[-1], flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "python.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
