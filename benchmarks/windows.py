"""What windows that slide cost: ten seconds sliding by a tenth of one, against ten fixed seconds, with a sum per key.

    benchmarks/go/windows: 1,000,000 elements of 100 s, 10 keys ─LOOPBACK─► a server of its own for each run ─► sums, wall, CPU
    benchmarks/examples/windows.rs: the same, native, no SDK

    .env/bin/python benchmarks/windows.py --rounds 3

Each element is in a hundred windows of the sliding kind, which the sums must show.
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
ELEMENTS = 1_000_000
# By the period: how many windows an element is in.
PERIODS = {"10s": 1, "100ms": 100}


def go(program, period, elements):
    """Wall and CPU seconds of everything, of one run of Go's program."""
    with bench.purlin_server(program) as server, tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log.txt"
        command = [
            bench.go_benchmark("windows"), f"--elements={elements}", f"--period={period}",
            "--runner=universal", f"--endpoint=localhost:{server.port}", "--environment_type=LOOPBACK",
        ]
        done = process.finished(command, log, TIMEOUT_S)
        expected = f"sum {elements * PERIODS[period]}"
        if expected not in log.read_text(encoding="utf-8").splitlines():
            sys.exit(f"with a period of {period} the sums are wrong: there is no line `{expected}`")
        return done.wall_s, done.cpu_s + server.cpu_s


def native(period, elements):
    """The same of the native executor; the example checks its sums."""
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log.txt"
        words = [bench.example("windows"), str(elements), period]
        process.finished(words, log, TIMEOUT_S)
        figures = json.loads(log.read_text())
        return figures["wall_s"], figures["cpu_s"]


def measure(program, rounds, elements):
    """Medians of wall and CPU seconds, by executor and period."""
    runs = {(who, period): [] for who in ("native", "Go") for period in PERIODS}
    for number in range(rounds):
        for (who, period), found in runs.items():
            found.append(native(period, elements) if who == "native" else go(program, period, elements))
            print(f"round {number + 1}: {who}, {period}: {found[-1]}", file=sys.stderr, flush=True)
    return {key: tuple(map(statistics.median, zip(*found))) for key, found in runs.items()}


def show(medians):
    """A table."""
    rows = []
    for (who, period), (wall_s, cpu_s) in medians.items():
        fixed_wall_s, fixed_cpu_s = medians[who, "10s"]
        rows.append([
            who, period, f"{wall_s:.2f} s", f"{wall_s / fixed_wall_s:.2f}", f"{cpu_s:.2f} s", f"{cpu_s / fixed_cpu_s:.2f}",
        ])
    bench.table(["executor", "a window of 10 s every", "wall", "of fixed windows'", "CPU", "of fixed windows'"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--purlin", help="the program; without it, the released one is built")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs (3)")
    parser.add_argument("--elements", type=int, default=ELEMENTS, help="how many (1,000,000)")
    arguments = parser.parse_args()
    process.exit_on_signals()
    print(f"{bench.machine()}\n")
    show(measure(bench.purlin(arguments.purlin), arguments.rounds, arguments.elements))


if __name__ == "__main__":
    main()
