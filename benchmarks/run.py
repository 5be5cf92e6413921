"""Everything that docs/benchmarks.md shows, by one command: installs the peers, measures side by side, writes the document.

    .env/bin/python benchmarks/run.py [--quick] [--only NAME …]

    Prism, load tests (Go's proxy) ┐
    FnApiRunner (pip)              ├─► rounds that go through all contenders ─► checks ─► docs/benchmarks.md, docs/benchmarks/*.svg
    purlin, released               ┘

`--quick` does the same with small data and one round, and writes nothing unless `--write` is given: it shows that everything
runs. Ratios within one run are what counts; a machine that is busy with other things slows all contenders alike.
"""

import argparse
import contextlib
import datetime
import io
import subprocess
import sys

import bench
import budgets
import document
import larger
import latency
import loads
import plot
import process
import scale
import windows

PLOTS = bench.ROOT / "docs" / "benchmarks"
PLOTTED = {"CPU": "cpu", "Peak memory": "memory"}
# Sizes of GroupByKey for the plots, in records of 100 bytes.
PLOT_RECORDS = [30_000, 100_000, 300_000, 1_000_000]


def captured(show, *arguments):
    """What a function prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        show(*arguments)
    return text.getvalue()


def when_and_where(rounds):
    """The line above figures."""
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=bench.ROOT, text=True).strip()
    return f"{datetime.date.today()}; {bench.machine()}; Purlin {commit}, release build; median of {rounds}.\n\n"


def measure_loads(program, quick, rounds):
    """The Go SDK's load tests against Prism."""
    scale_down = 50 if quick else 1
    kinds = [load(records // scale_down) for load, records in loads.KINDS.values()]
    runs = loads.measure(kinds, loads.contenders(program, ["Purlin", "Prism"]), rounds)
    return when_and_where(rounds) + captured(loads.show, runs)


def measure_sizes(program, quick, rounds):
    """GroupByKey at several sizes against Prism, as a table and two plots."""
    sizes = [records // 10 if quick else records for records in PLOT_RECORDS]
    by_load = {loads.group_by_key(size): size for size in sizes}
    runs = loads.measure(list(by_load), loads.contenders(program, ["Purlin", "Prism"]), 1)
    cpu, memory = {}, {}
    for load, by_name in runs.items():
        for name, found in by_name.items():
            figures = loads.median(found)
            cpu.setdefault(name, []).append((by_load[load], max(figures.cpu_s, 0.01)))
            memory.setdefault(name, []).append((by_load[load], figures.peak_bytes / 1e6))
    if not quick:
        PLOTS.mkdir(exist_ok=True)
        title = "GroupByKey, records of 100 bytes"
        plot.save(PLOTS / "group_by_key_cpu.svg", f"{title}: CPU of the server", "records", "CPU seconds", cpu)
        plot.save(PLOTS / "group_by_key_memory.svg", f"{title}: peak memory of the server", "records", "MB", memory)
    plots = "".join(f"\n![{what} against size](benchmarks/group_by_key_{file}.svg)" for what, file in PLOTTED.items())
    return when_and_where(1) + captured(loads.show, runs) + plots


def measure_larger(program, quick, rounds):
    """Data larger than the budget."""
    return when_and_where(1) + captured(larger.show, larger.measure(program, quick))


def measure_scale(program, quick, rounds):
    """Cost per element as jobs grow."""
    return when_and_where(rounds) + captured(scale.show, *scale.measure(rounds, quick))


def measure_latency(program, quick, rounds):
    """How long elements of a stream are on their way."""
    return when_and_where(1) + captured(latency.show, latency.measure(program, None, 8 if quick else 24))


def measure_windows(program, quick, rounds):
    """Windows that slide against fixed ones."""
    elements = windows.ELEMENTS // 10 if quick else windows.ELEMENTS
    return when_and_where(rounds) + captured(windows.show, windows.measure(program, rounds, elements))


def measure_budgets(program, quick, rounds):
    """Criterion's benches."""
    return when_and_where(1) + captured(budgets.show, budgets.measure(quick))


SECTIONS = {
    "loads": measure_loads,
    "sizes": measure_sizes,
    "larger": measure_larger,
    "scale": measure_scale,
    "latency": measure_latency,
    "windows": measure_windows,
    "budgets": measure_budgets,
}
# Programs with a section of their own, which print what belongs there.
SCRIPTS = {
    "startup": ["startup.py", "--rounds", "15"],
    "compare_wordcount": ["compare_wordcount.py", "--megabytes", "20", "--rounds", "3"],
}
QUICK_SCRIPTS = {
    "startup": ["startup.py", "--rounds", "1"],
    "compare_wordcount": ["compare_wordcount.py", "--megabytes", "1", "--rounds", "1"],
}


def run_script(name, program, quick):
    """What a program prints."""
    words = (QUICK_SCRIPTS if quick else SCRIPTS)[name]
    command = [sys.executable, str(bench.ROOT / "benchmarks" / words[0]), *words[1:], "--purlin", program]
    return f"{datetime.date.today()}; " + subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small data and one round, to see that everything runs")
    parser.add_argument("--write", action="store_true", help="write the document even with --quick")
    parser.add_argument("--rounds", type=int, default=3, help="how often each thing is measured (3)")
    parser.add_argument("--purlin", help="the program; without it, the released one is built")
    parser.add_argument("--only", action="append", choices=[*SECTIONS, *SCRIPTS], help="this part; may be repeated")
    arguments = parser.parse_args()
    process.exit_on_signals()
    program = bench.purlin(arguments.purlin)
    rounds = 1 if arguments.quick else arguments.rounds
    for name in arguments.only or [*SECTIONS, *SCRIPTS]:
        print(f"--- {name}", file=sys.stderr, flush=True)
        if name in SECTIONS:
            text = SECTIONS[name](program, arguments.quick, rounds)
        else:
            text = run_script(name, program, arguments.quick)
        print(text, flush=True)
        if arguments.write or not arguments.quick:
            document.put(name, text)


if __name__ == "__main__":
    main()
