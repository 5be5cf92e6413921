"""Data that is larger than the memory that may be used for it: what the process takes, and whether anything is lost.

    go/test/load/group_by_key, 10,000,000 records of 100 bytes ─► purlin serve --memory-budget 256MiB ─► counts, peak, CPU

    .env/bin/python benchmarks/larger.py

The peak is that of the whole process (VmHWM), which has more in it than data.
"""

import argparse
import pathlib
import sys
import tempfile

import bench
import loads
import process

BUDGET = "256MiB"
PEAK_MAX_BYTES = 512 << 20
RECORDS = 10_000_000
TIMEOUT_S = 3000


def measure(program, quick):
    """One run; the counts are checked."""
    load = loads.group_by_key(RECORDS // 20 if quick else RECORDS)
    with tempfile.TemporaryDirectory() as folder:
        options = ["--memory-budget", BUDGET, "--data-dir", folder]
        with bench.purlin_server(program, *options) as server:
            return load, loads.run(load, server, pathlib.Path(folder) / "log.txt", TIMEOUT_S)


def show(measured):
    """One row."""
    load, done = measured
    within = "yes" if done.peak_bytes <= PEAK_MAX_BYTES else "no"
    bench.table(
        ["load", "budget", "peak memory", f"at most {PEAK_MAX_BYTES >> 20} MiB", "CPU", "wall", "CPU of the SDK"],
        [[
            load.title, BUDGET, f"{done.peak_bytes / 2**20:,.0f} MiB", within,
            f"{done.cpu_s:.1f} s", f"{done.wall_s:.0f} s", f"{done.sdk_cpu_s:.0f} s",
        ]],
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--purlin", help="the program; without it, the released one is built")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the records")
    arguments = parser.parse_args()
    process.exit_on_signals()
    measured = measure(bench.purlin(arguments.purlin), arguments.quick)
    print(f"{bench.machine()}\n")
    show(measured)
    if measured[1].peak_bytes > PEAK_MAX_BYTES:
        sys.exit(f"the peak is more than {PEAK_MAX_BYTES >> 20} MiB")


if __name__ == "__main__":
    main()
