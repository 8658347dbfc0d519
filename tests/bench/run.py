"""Compares our step times with what people use, in one run, and writes a table.

    python tests/bench/run.py --bench target/release/optc-bench --artifacts out --out docs/benchmarks

Competitor and ours take turns, each in a process of its own, with the same number of threads and the same shapes. The
figure of each is the median over the rounds of its median (or mean) step time; the ratio is the median of the rounds'
own ratios, so that a slow minute of the machine, which meets both, does not decide it.
"""

import argparse
import datetime
import json
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent

# work: (competitor, set, module, statics, steps, rounds, which figure, what the ratio should reach)
WORK = {
    "AdamW, 23 M parameters in 74 tensors": ("adamw_fused", "transformer_23m", "adamw", [], 60, 9, "median_ms", 0.9),
    "AdamW, the same, against foreach": ("adamw_foreach", "transformer_23m", "adamw", [], 60, 3, "median_ms", None),
    "Muon (bf16 Newton-Schulz), 12.6 M": ("muon", "matrices_12m", "muon", [], 12, 3, "median_ms", 1.0),
    "SOAP f = 10, 12.6 M, median step": ("soap_f10", "matrices_12m", "soap", [], 20, 3, "median_ms", 1.5),
    "SOAP f = 10, 12.6 M, mean step": ("soap_f10", "matrices_12m", "soap", [], 20, 3, "mean_ms", None),
    "SOAP f = 1, 12.6 M": ("soap_f1", "matrices_12m", "soap", ["precondition_frequency=1"], 4, 3, "median_ms", None),
}


def theirs(name, threads, steps):
    command = [sys.executable, HERE / "competitors.py", "--only", name, "--threads", str(threads), "--steps", str(steps)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(text[text.index("{") :])["results"][0]


def ours(bench, rules, shapes, statics, threads, steps):
    command = [bench, "--shapes", HERE / "shapes.json", "--set", shapes, "--rules", rules, "--steps", str(steps)]
    command += ["--threads", str(threads)] + [part for static in statics for part in ("--static", static)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=pathlib.Path, required=True)
    parser.add_argument("--artifacts", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="of a fast competitor; slow ones take fewer")
    parser.add_argument("--commit", default="unknown")
    args = parser.parse_args()

    rows, cache = [], {}
    for title, (name, shapes, module, statics, steps, count, figure, goal) in WORK.items():
        key = (name, module, *statics)
        if key not in cache:
            cache[key] = []
            for _ in range(count):
                competitor = theirs(name, args.threads, args.steps)
                own = ours(args.bench, args.artifacts / f"{module}.optc", shapes, statics, args.threads, steps)
                cache[key].append((competitor, own))
        rounds = cache[key]
        their_ms = statistics.median(competitor[figure] for competitor, _ in rounds)
        our_ms = statistics.median(own[figure] for _, own in rounds)
        row = {
            "work": title,
            "competitor": f"{rounds[0][0]['package']} {rounds[0][0]['competitor']} ({name})",
            "their_ms": their_ms,
            "our_ms": our_ms,
            "rounds": len(rounds),
            "ratio": statistics.median(competitor[figure] / own[figure] for competitor, own in rounds),
            "goal": goal,
            "ours": rounds[0][1]["report"],
        }
        rows.append(row)
        print(f"{title:<40} {their_ms:9.1f} ms {our_ms:9.1f} ms  {row['ratio']:.2f} times as fast", flush=True)
    write(args, rows)


def write(args, rows):
    today = datetime.date.today().isoformat()
    about = {"date": today, "commit": args.commit, "machine": machine(), "threads": args.threads}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "cpu.json").write_text(json.dumps({"about": about, "rows": rows}, indent=2) + "\n")
    lines = [
        "# Step times on the CPU",
        "",
        f"Measured on {today} at commit `{args.commit}` on {machine()}, {args.threads} threads, f32 parameters.",
        "Competitor and optc take turns in one `make bench`. Times are medians over the rounds, the ratio is the median of",
        "the rounds' ratios; a larger ratio is better for optc.",
        "",
        "| work | competitor | rounds | theirs, ms | optc, ms | ratio | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        goal = "" if row["goal"] is None else f"≥ {row['goal']}"
        times = f"{row['their_ms']:.1f} | {row['our_ms']:.1f} | {row['ratio']:.2f}"
        lines.append(f"| {row['work']} | {row['competitor']} | {row['rounds']} | {times} | {goal} |")
    (args.out / "cpu.md").write_text("\n".join(lines) + "\n")


def machine():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
