"""Times what people use today, on the parameter sets of `shapes.json`, and prints JSON.

    python competitors.py --out competitors.json            # all
    python competitors.py --only muon --steps 5             # one, quickly

Every entry has the work, the competitor, its version, and the step times in milliseconds: median, mean, least, most.
Gradients are fixed random numbers; each optimizer takes some untimed steps first, so that its state exists.
Ours is timed by `make bench` in the same run, on the same sets.
"""

import argparse
import importlib.metadata
import json
import pathlib
import statistics
import time

import torch

SHAPES = json.loads((pathlib.Path(__file__).parent / "shapes.json").read_text())


def parameters(name, seed=0):
    """The set's tensors with gradients, the same in every call."""
    generator = torch.Generator().manual_seed(seed)
    params = []
    for entry in SHAPES[name]["params"]:
        draw = lambda scale: torch.randn(entry["shape"], generator=generator) * scale
        param = torch.nn.Parameter(draw(0.02))
        param.grad = draw(0.01)
        params.append(param)
    return params


def adamw(**how):
    return "transformer_23m", "torch", lambda params: torch.optim.AdamW(params, lr=1e-3, **how)


def muon():
    return "matrices_12m", "torch", lambda params: torch.optim.Muon(params, lr=0.02, weight_decay=0.1)


def soap(frequency):
    def make(params):
        from pytorch_optimizer import SOAP

        return SOAP(params, lr=3e-3, weight_decay=0.01, precondition_frequency=frequency)

    return "matrices_12m", "pytorch-optimizer", make


# name: (entry, untimed steps, share of --steps that is timed); SOAP's median and mean over one period or more.
WORK = {
    "adamw_fused": (adamw(fused=True), 3, 3.0),
    "adamw_foreach": (adamw(foreach=True), 3, 1.0),
    "muon": (muon(), 2, 0.5),
    "soap_f10": (soap(10), 2, 0.5),
    "soap_f1": (soap(1), 2, 0.15),
}


def measure(name, steps):
    (shapes, package, make), untimed, share = WORK[name]
    optimizer = make(parameters(shapes))
    times = []
    for step in range(untimed + max(3, round(steps * share))):
        start = time.perf_counter()
        optimizer.step()
        if step >= untimed:
            times.append(1e3 * (time.perf_counter() - start))
    return {
        "work": name,
        "shapes": shapes,
        "competitor": type(optimizer).__name__,
        "package": f"{package} {importlib.metadata.version(package)}",
        "steps": len(times),
        "median_ms": statistics.median(times),
        "mean_ms": statistics.fmean(times),
        "least_ms": min(times),
        "most_ms": max(times),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40, help="timed steps of a fast optimizer; slow ones take fewer")
    parser.add_argument("--only", action="append", choices=list(WORK), help="may be given several times")
    parser.add_argument("--out", type=pathlib.Path, help="also write the JSON here")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    results = []
    for name in args.only or WORK:
        result = measure(name, args.steps)
        print(f"{name:<14} {result['median_ms']:9.1f} ms median {result['mean_ms']:9.1f} ms mean", flush=True)
        results.append(result)
    report = {"torch": torch.__version__, "threads": args.threads, "results": results}
    text = json.dumps(report, indent=2)
    if args.out:
        args.out.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
