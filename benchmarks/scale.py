"""Whether the cost per element stays the same when a job grows: in elements, in stages, and in keys that it remembers; no SDK,
no gRPC.

    examples/scale.rs, a process per size, the sizes in turn ─► CPU per element, and per stage and element; memory per key

    .env/bin/python benchmarks/scale.py --rounds 3

Each process does the same amount of work, at the small sizes by many jobs, so that all are measured alike.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile

import bench
import process

TIMEOUT_S = 900
ELEMENTS = [100_000, 1_000_000, 10_000_000]
STAGES = [0, 1, 10, 100]
STAGE_ELEMENTS = 100_000
KEYS = [100_000, 1_000_000]


def measured(words, folder):
    """The figures of one process."""
    log = folder / "log.txt"
    process.finished(words, log, TIMEOUT_S)
    return json.loads(log.read_text())


def measure(rounds, quick):
    """Figures by size, over rounds that go through all sizes: CPU nanoseconds per element, peak memory, bytes per key."""
    scale = bench.example("scale")
    sizes = ELEMENTS[:2] if quick else ELEMENTS
    words = {("group", size): ["group", str(size)] for size in sizes}
    words |= {("stages", count): ["stages", str(count), str(STAGE_ELEMENTS)] for count in STAGES}
    words |= {("keys", count): ["keys", str(count)] for count in (KEYS[:1] if quick else KEYS)}
    found = {key: [] for key in words}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for key, arguments in words.items():
                figures = measured([scale, *arguments], pathlib.Path(folder))
                found[key].append(figures)
                print(f"round {number + 1}: {' '.join(arguments)}: {figures}", file=sys.stderr, flush=True)
    cpu = {key: statistics.median(figures["cpu_ns_per_element"] for figures in runs) for key, runs in found.items()}
    peak = {key: statistics.median(figures["peak_bytes"] for figures in runs) for key, runs in found.items()}
    per_key = {
        count: statistics.median(figures["bytes_per_key"] for figures in runs)
        for (kind, count), runs in found.items() if kind == "keys"
    }
    return cpu, peak, per_key


def show(cpu, peak, per_key):
    """Three tables, and the ratio of the worst to the best in each."""
    sizes = [size for kind, size in cpu if kind == "group"]
    costs = [cpu["group", size] for size in sizes]
    bench.table(
        ["elements: source, key, group, count", "CPU per element", "against the least", "peak memory"],
        [
            [f"{size:,}", f"{cost:.0f} ns", f"{cost / min(costs):.2f}", f"{peak['group', size] / 1e6:,.0f} MB"]
            for size, cost in zip(sizes, costs)
        ],
    )
    print()
    per_stage = {count: (cpu["stages", count] - cpu["stages", 0]) / count for count in STAGES if count}
    bench.table(
        ["stages that pass elements on", "CPU per stage and element", "against the least"],
        [[str(count), f"{cost:.1f} ns", f"{cost / min(per_stage.values()):.2f}"] for count, cost in per_stage.items()],
    )
    print()
    of_keys = {count: cpu["keys", count] for count in per_key}
    bench.table(
        ["keys, a value and a timer each", "CPU per element", "against the least", "memory per key"],
        [
            [f"{count:,}", f"{cost:.0f} ns", f"{cost / min(of_keys.values()):.2f}", f"{per_key[count]:,.0f} bytes"]
            for count, cost in of_keys.items()
        ],
    )
    return {
        "elements": max(costs) / min(costs),
        "stages": max(per_stage.values()) / min(per_stage.values()),
        "keys": max(of_keys.values()) / min(of_keys.values()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each size runs (3)")
    parser.add_argument("--quick", action="store_true", help="without the largest size")
    arguments = parser.parse_args()
    process.exit_on_signals()
    figures = measure(arguments.rounds, arguments.quick)
    print(f"{bench.machine()}; median of {arguments.rounds}\n")
    show(*figures)


if __name__ == "__main__":
    main()
