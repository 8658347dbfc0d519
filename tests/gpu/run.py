"""Runs optc-gpu and torch's fused AdamW on this machine's GPU, and writes a report.

    python run.py --gpu ./optc-gpu --artifacts . --shapes shapes.json --out report

Needs torch with CUDA, nothing else. `make gpu` packs this file with all it needs into out/gpu. The exit code is 0 if
everything agrees, 1 if anything does not, 3 if there is no GPU.
"""

import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import sys
import time

NO_GPU = 3
BYTES = 28  # of AdamW per element, in f32
WARM = 10


def ours(args):
    names = ["adamw"] + sorted(path.stem for path in args.artifacts.glob("*.optc") if path.stem != "adamw")
    command = [args.gpu, "--shapes", args.shapes, "--set", args.set, "--steps", str(args.steps)]
    done = subprocess.run(command + [args.artifacts / f"{name}.optc" for name in names], stdout=subprocess.PIPE, text=True)
    if done.returncode == NO_GPU:
        sys.exit(NO_GPU)
    if not done.stdout:
        sys.exit(f"optc-gpu failed with exit code {done.returncode}")
    return json.loads(done.stdout)


def theirs(args):
    import torch

    shapes = json.loads(args.shapes.read_text())[args.set]["params"]
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(entry["shape"], device="cuda")) for entry in shapes]
    for param in params:
        param.grad = torch.randn_like(param)
    optimizer = torch.optim.AdamW(params, lr=1e-3, weight_decay=1e-2, fused=True)
    elements = sum(param.numel() for param in params)
    queued, waited = times(torch, optimizer, args.steps)
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "elements": elements,
        "queued_ms": queued,
        "waited_median_ms": waited,
        "queued_gb_per_s": BYTES * elements / queued / 1e6,
    }


def times(torch, optimizer, steps):
    for _ in range(WARM):
        optimizer.step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        optimizer.step()
    torch.cuda.synchronize()
    queued = (time.perf_counter() - start) * 1e3 / steps
    waited = []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.step()
        torch.cuda.synchronize()
        waited.append((time.perf_counter() - start) * 1e3)
    return queued, statistics.median(waited)


def markdown(report):
    found, torch = report["optc"], report["torch"]
    row = lambda name, figures: "| {} | {:.3f} | {:.3f} | {:.0f} |".format(
        name, figures["queued_ms"], figures["waited_median_ms"], figures["queued_gb_per_s"]
    )
    time = found["time"]
    return "\n".join(
        [
            "# On a GPU",
            "",
            f"{report['date']}, {found['device']} (compute capability {found['capability']}), "
            f"torch {torch['torch']} with CUDA {torch['cuda']}, commit {report['commit']}.",
            "",
            f"{found['kernels']} map kernels and whole steps of AdamW: {found['comparisons']} comparisons with the "
            f"host, bit for bit, {found['mismatches']} mismatches.",
            "",
            f"AdamW, {time['elements']} f32 parameters in {time['tensors']} tensors:",
            "",
            "| Who | ms per step, queued | ms per step, waited for (median) | GB/s, queued |",
            "|---|---|---|---|",
            row("optc", time),
            row("torch, fused", torch),
            "",
        ]
    )


def main():
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", type=pathlib.Path, default=here / "optc-gpu")
    parser.add_argument("--artifacts", type=pathlib.Path, default=here)
    parser.add_argument("--shapes", type=pathlib.Path, default=here / "shapes.json")
    parser.add_argument("--set", default="transformer_23m")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."))
    args = parser.parse_args()

    commit = here / "commit"
    report = {
        "date": datetime.date.today().isoformat(),
        "commit": commit.read_text().strip() if commit.exists() else "unknown",
        "optc": ours(args),
        "torch": theirs(args),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "gpu.json").write_text(json.dumps(report, indent=2) + "\n")
    (args.out / "gpu.md").write_text(markdown(report))
    print(markdown(report))
    sys.exit(1 if report["optc"]["mismatches"] else 0)


if __name__ == "__main__":
    main()
