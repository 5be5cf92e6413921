"""Data that is larger than the memory that may be used for it: what the process takes, and whether anything is lost.

    go/test/load/group_by_key, 10,000,000 records of 100 bytes ─► purlin serve --memory-budget 256MiB ─► counts, peak, CPU
    examples/larger_than_memory.rs, 10 GB of 10 kB values, 1 GB of one key, the same budget ─► sums of every key, peak, time
                                    the same bytes ─► lz4 -1 ─► the same disk ─► lz4 -d ─► nowhere: time

    .env/bin/python benchmarks/larger.py [--only native] [--bytes 1GB --hot-bytes 100MB]

The peak is that of the whole process (VmHWM), which has more in it than data.
"""

import argparse
import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import bench
import loads
import process

BUDGET = "256MiB"
PEAK_MAX_BYTES = 512 << 20
RECORDS = 10_000_000
TIMEOUT_S = 3000
# Of the speed of `lz4 -1` there and back.
SPEED_MIN = 0.5


@dataclasses.dataclass(frozen=True)
class Native:
    """What a native job took, and lz4 for the same bytes; how much is left of their length."""

    figures: dict
    lz4_s: float
    lz4_ratio: float

    @property
    def speed(self):
        """Against lz4's."""
        return self.lz4_s / self.figures["wall_s"]


def measure_go(program, quick):
    """One run of the Go SDK's load test; the counts are checked."""
    load = loads.group_by_key(RECORDS // 20 if quick else RECORDS)
    with tempfile.TemporaryDirectory() as folder:
        options = ["--memory-budget", BUDGET, "--data-dir", folder]
        with bench.purlin_server(program, *options) as server:
            return load, loads.run(load, server, pathlib.Path(folder) / "log.txt", TIMEOUT_S)


def through_lz4(generate, folder):
    """Writes what a command prints through `lz4 -1`, and reads it back; returns the seconds and how much smaller it became."""
    if not shutil.which("lz4"):
        sys.exit("this compares with the program lz4: install it")
    path = pathlib.Path(folder) / "bytes.lz4"
    began = time.perf_counter()
    with open(path, "wb") as file:
        with process.ended(process.start(generate, stdout=subprocess.PIPE)) as source:
            subprocess.run(["lz4", "-1", "-c"], stdin=source.stdout, stdout=file, check=True)
            if source.wait(TIMEOUT_S) != 0:
                sys.exit(f"this failed: {' '.join(generate)}")
    subprocess.run(["lz4", "-dc", str(path)], stdout=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - began
    stored = path.stat().st_size
    path.unlink()
    return seconds, stored


def measure_native(size, hot_size, folder=None):
    """One run of the native job, behind lz4 with the same bytes; the job checks its own results."""
    program = bench.example("larger_than_memory")
    words = ["--bytes", size, "--hot-bytes", hot_size]
    with tempfile.TemporaryDirectory(dir=folder) as folder:
        lz4_s, stored = through_lz4([program, "--generate", *words], folder)
        log = pathlib.Path(folder) / "log.txt"
        process.finished([program, *words, "--budget", BUDGET, "--folder", folder], log, TIMEOUT_S)
        figures = json.loads(log.read_text().splitlines()[-1])
    return Native(figures, lz4_s, stored / figures["bytes"])


def measure(program, quick):
    """Both."""
    native = ("500MB", "50MB") if quick else ("10GB", "1GB")
    return measure_native(*native), measure_go(program, quick)


def within(peak_bytes):
    """For a table."""
    return "yes" if peak_bytes <= PEAK_MAX_BYTES else "no"


def show_native(measured):
    """One row."""
    figures = measured.figures
    gigabytes = lambda name: f"{figures[name] / 1e9:.1f} GB"
    bench.table(
        ["native GroupByKey", "of one key", "budget", "peak memory", f"at most {PEAK_MAX_BYTES >> 20} MiB", "CPU", "wall",
         "lz4 -1 there and back", "speed against lz4's", "freed by writing out"],
        [[
            gigabytes("bytes"), gigabytes("hot_bytes"), BUDGET, f"{figures['peak_bytes'] / 2**20:,.0f} MiB",
            within(figures["peak_bytes"]), f"{figures['cpu_s']:.1f} s", f"{figures['wall_s']:.1f} s",
            f"{measured.lz4_s:.1f} s (to {measured.lz4_ratio:.2f} of its size)", f"{measured.speed:.2f}", gigabytes("spilled_bytes"),
        ]],
    )


def show_go(measured):
    """One row."""
    load, done = measured
    bench.table(
        ["load", "budget", "peak memory", f"at most {PEAK_MAX_BYTES >> 20} MiB", "CPU", "wall", "CPU of the SDK"],
        [[
            load.title, BUDGET, f"{done.peak_bytes / 2**20:,.0f} MiB", within(done.peak_bytes),
            f"{done.cpu_s:.1f} s", f"{done.wall_s:.0f} s", f"{done.sdk_cpu_s:.0f} s",
        ]],
    )


def show(measured):
    """Two tables."""
    native, go = measured
    show_native(native)
    print()
    show_go(go)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--purlin", help="the program; without it, the released one is built")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the data")
    parser.add_argument("--only", choices=["native", "go"], help="this one")
    parser.add_argument("--bytes", default="10GB", help="how much the native job groups (10GB)")
    parser.add_argument("--hot-bytes", default="1GB", help="how much of it is of one key (1GB)")
    parser.add_argument("--folder", help="where to write, instead of the system's folder for temporary files")
    arguments = parser.parse_args()
    process.exit_on_signals()
    native = ("500MB", "50MB") if arguments.quick else (arguments.bytes, arguments.hot_bytes)
    print(f"{bench.machine()}\n")
    wrong = []
    if arguments.only != "go":
        measured = measure_native(*native, arguments.folder)
        show_native(measured)
        print()
        if measured.figures["peak_bytes"] > PEAK_MAX_BYTES:
            wrong.append(f"the peak of the native job is more than {PEAK_MAX_BYTES >> 20} MiB")
        if measured.speed < SPEED_MIN:
            wrong.append(f"the native job has less than {SPEED_MIN} of the speed of lz4")
    if arguments.only != "native":
        measured = measure_go(bench.purlin(arguments.purlin), arguments.quick)
        show_go(measured)
        if measured[1].peak_bytes > PEAK_MAX_BYTES:
            wrong.append(f"the peak of the server is more than {PEAK_MAX_BYTES >> 20} MiB")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
