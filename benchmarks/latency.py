"""How long an element of a stream is on its way, from its source to the last DoFn, through a value state: the continuous runner, Prism.

    benchmarks/examples/latency.rs                         native, no SDK
    benchmarks/go/latency, benchmarks/latency_pipeline.py  ─LOOPBACK─► a server of its own for each run ─► a line per element

    .env/bin/python benchmarks/latency.py [--only native|go|python] [--search]

Both clocks are the same: source and last DoFn run in one process. The first seconds of a stream do not count, because a source that
was behind when the job began catches up in them. `--search` looks for the highest rate, in doublings, at which Go keeps its mark.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile

import bench
import process

# A runner that needs so many times the length of a stream falls behind it for ever.
TIMES_MAX = 4
# Of a stream, this much is not looked at.
WARM_UP_S = 4
NATIVE_PER_SECOND = 10_000
GO_PER_SECOND = 1_000
PYTHON_PER_SECOND = 50
GO_P99_MAX_MS = 25
SEARCH_MAX = 128_000


@dataclasses.dataclass(frozen=True)
class Ways:
    """How many elements arrived, and how many milliseconds after they had been made; after they had been due, where that is known."""

    elements: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    due_p50_ms: float | None = None
    due_p99_ms: float | None = None


def native(seconds):
    """The native executor."""
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log.txt"
        process.finished([bench.example("latency"), str(NATIVE_PER_SECOND), str(seconds)], log, seconds * TIMES_MAX)
        return Ways(**json.loads(log.read_text()))


def read_ways(path, expected):
    """From the lines that a pipeline wrote; ends the script if there are not as many as elements were made."""
    lines = [tuple(map(float, line.split())) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    if len(lines) != expected:
        sys.exit(f"of {expected} elements {len(lines)} arrived")
    made, due = (sorted(line[column] * 1000 for line in lines if line[0] >= WARM_UP_S) for column in (1, 2))
    at = lambda took, share: took[int((len(took) - 1) * share)]
    return Ways(len(made), at(made, 0.5), at(made, 0.99), made[-1], at(due, 0.5), at(due, 0.99))


def through(command, per_second, seconds):
    """One stream of a program through a server; None if it did not keep up."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "measured.txt"
        words = [*command, f"--measured={path}", f"--per_second={per_second}", f"--seconds={seconds}", "--environment_type=LOOPBACK"]
        try:
            process.finished(words, pathlib.Path(folder) / "log.txt", seconds * TIMES_MAX)
        except process.NotInTime:
            return None
        return read_ways(path, per_second * seconds)


def go(server, per_second, seconds):
    """Go's stream."""
    command = [bench.go_benchmark("latency"), "--runner=universal", f"--endpoint=localhost:{server.port}"]
    return through(command, per_second, seconds)


def python(server, per_second, seconds):
    """Python's."""
    script = str(bench.ROOT / "benchmarks" / "latency_pipeline.py")
    command = [sys.executable, script, "--runner=PortableRunner", f"--job_endpoint=localhost:{server.port}"]
    return through(command, per_second, seconds)


def servers(program):
    """By name, how to start one."""
    return {
        "Purlin": lambda: bench.purlin_server(program, "--runner", "continuous"),
        "Prism": lambda: bench.prism_server(bench.prism()),
    }


def highest(start, seconds):
    """The highest rate, in doublings, at which Go's p99 keeps its mark; 0 if none does."""
    kept, rate = 0, 125
    while rate <= SEARCH_MAX:
        with start() as server:
            ways = go(server, rate, seconds)
        print(f"{server.name}: {rate} per second: {ways}", file=sys.stderr, flush=True)
        if ways is None or ways.p99_ms > GO_P99_MAX_MS:
            break
        kept, rate = rate, 2 * rate
    return kept


def measure(program, only, seconds):
    """Rows of what, who and the figures."""
    rows = []
    if only in (None, "native"):
        rows.append((f"native, {NATIVE_PER_SECOND:,} elements per second", "Purlin", native(seconds)))
    for name, run, per_second in (("go", go, GO_PER_SECOND), ("python", python, PYTHON_PER_SECOND)):
        if only not in (None, name):
            continue
        for who, start in servers(program).items():
            with start() as server:
                rows.append((f"{name.title()}, {per_second:,} elements per second", who, run(server, per_second, seconds)))
                print(rows[-1], file=sys.stderr, flush=True)
    return rows


def show(rows):
    """A table."""
    milliseconds = lambda value: "" if value is None else f"{value:.1f} ms"
    cells = [
        [what, who, f"{ways.elements:,}", *map(milliseconds, dataclasses.astuple(ways)[1:])] if ways
        else [what, who, f"did not end in {TIMES_MAX} times its length", "", "", "", "", ""]
        for what, who, ways in rows
    ]
    bench.table(["stream", "runner", "elements", "p50", "p99", "longest", "p50 since due", "p99 since due"], cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--purlin", help="the program; without it, the released one is built")
    parser.add_argument("--only", choices=["native", "go", "python"], help="this one")
    parser.add_argument("--seconds", type=int, default=24, help=f"how long each stream is, the first {WARM_UP_S} not looked at (24)")
    parser.add_argument("--search", action="store_true", help="look for the highest rate at which Go keeps its mark")
    arguments = parser.parse_args()
    process.exit_on_signals()
    program = bench.purlin(arguments.purlin) if arguments.only != "native" else None
    print(f"{bench.machine()}\n")
    if arguments.search:
        for name, start in servers(program).items():
            rate = highest(start, arguments.seconds)
            print(f"{name}: " + (f"{rate:,} elements per second" if rate else "misses it at any rate"))
        return
    show(measure(program, arguments.only, arguments.seconds))


if __name__ == "__main__":
    main()
