"""The engine's budgets, by criterion's benches, as one table.

    cargo bench -p purlin-benchmarks, -p purlin-fn-api ─► target/criterion/**/estimates.json ─► medians per unit

    .env/bin/python benchmarks/budgets.py
"""

import argparse
import json
import subprocess
import sys

import bench
import process

BENCHES = {"purlin-benchmarks": ["core", "elements", "native", "state"], "purlin-fn-api": ["state"]}
# Beginnings of the benches' names, and what their medians are held against, in nanoseconds.
BUDGETS = {
    "core, per bundle": 3_000,
    "core, per batch": 500,
    "append to a lane": 50,
    "append-once grouping": 500,
    "fused native operations": 2,
    "state Get in process": 1_000,
    "state Get through the stream": 20_000,
}


def criterion():
    """The folder of the results."""
    return bench.target() / "criterion"


def measure(quick):
    """Runs all benches; returns the time per unit of each, in nanoseconds, by name."""
    options = ["--", "--quick"] if quick else []
    for package, names in BENCHES.items():
        benches = [word for name in names for word in ("--bench", name)]
        command = ["cargo", "bench", "--package", package, *benches, *options]
        subprocess.run(command, cwd=bench.ROOT, check=True, stdout=sys.stderr)
    found = {}
    for estimates in sorted(criterion().rglob("new/estimates.json")):
        median_ns = json.loads(estimates.read_text())["median"]["point_estimate"]
        about = json.loads((estimates.parent / "benchmark.json").read_text())
        units = (about["throughput"] or {}).get("Elements", 1)
        found[about["full_id"]] = median_ns / units
    return found


def show(found):
    """A row per bench, with its budget where it has one."""
    rows = []
    for bench_id, ns in found.items():
        budget = next((budget for name, budget in BUDGETS.items() if bench_id.startswith(name)), None)
        rows.append([bench_id, time(ns), time(budget) if budget else "", f"{ns / budget:.2f}" if budget else ""])
    bench.table(["what", "measured", "budget", "part of it"], rows)


def time(ns):
    """Nanoseconds as people write them."""
    return f"{ns:.2g} ns" if ns < 10 else f"{ns:.0f} ns" if ns < 1_000 else f"{ns / 1_000:.2f} µs"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less exact")
    arguments = parser.parse_args()
    process.exit_on_signals()
    show(measure(arguments.quick))


if __name__ == "__main__":
    main()
