"""Beam's own WordCount, unmodified, over one text, by several runners in one run.

    text (made here, always the same) ─► apache_beam.examples.wordcount ─► counts, compared with a count made here
                                          by each runner in turn, several rounds

    .env/bin/python benchmarks/compare_wordcount.py --megabytes 20 --rounds 3

Each time is that of a whole program, from its start to its end, with whatever it starts and waits for. The rounds go through
all runners in turn, so that a machine that slows down slows all of them. A runner whose counts differ is an error, not a figure.
"""

import argparse
import collections
import contextlib
import pathlib
import random
import re
import resource
import subprocess
import sys
import tempfile
import time

import bench

WORDCOUNT = [sys.executable, "-m", "apache_beam.examples.wordcount"]
# What Beam's example calls a word.
WORD = re.compile(r"[\w\']+", re.UNICODE)


def make_text(path, megabytes):
    """Writes lines of the example texts in an order that is always the same, with a new word now and then."""
    lines = []
    for file in sorted((bench.ROOT / "examples" / "data").glob("*.txt")):
        lines += [line for line in file.read_text(encoding="utf-8").splitlines() if line]
    chance = random.Random(20)
    written = 0
    with open(path, "w", encoding="utf-8") as text:
        while written < megabytes * 1_000_000:
            line = f"{chance.choice(lines)} {chance.getrandbits(15):x}\n"
            text.write(line)
            written += len(line)


def count(path):
    """The counts, without Beam."""
    counts = collections.Counter()
    with open(path, encoding="utf-8") as text:
        for line in text:
            counts.update(WORD.findall(line))
    return counts


def read_counts(prefix):
    """The counts that a pipeline wrote."""
    counts = collections.Counter()
    for file in sorted(prefix.parent.glob(prefix.name + "-*")):
        for line in file.read_text(encoding="utf-8").splitlines():
            word, number = line.rsplit(": ", 1)
            counts[word] += int(number)
    return counts


def job_options(port, environment):
    return ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}", QUICK, *environment]


# What pip installed is logged with the job otherwise, and asking pip takes a third of a second. `purlin run` says this too.
QUICK = "--experiments=disable_logging_submission_environment"

LOOPBACK = ["--environment_type=LOOPBACK"]


def process_environment(program):
    """Workers as processes, with the interpreter that runs this."""
    config = subprocess.check_output([program, "worker-command", "python", "--python", sys.executable], text=True)
    return ["--environment_type=PROCESS", f"--environment_config={config.strip()}"]


@contextlib.contextmanager
def contenders(names, program):
    """By name, what goes before the command and what goes behind it. Servers live as long as the block."""
    with contextlib.ExitStack() as servers:
        found = {}
        for name in names:
            if name == "purlin run":
                found[name] = ([program, "run", "--"], [])
            elif name == "purlin run, one worker":
                found[name] = ([program, "run", "--workers", "1", "--"], [])
            elif name == "purlin serve, LOOPBACK":
                found[name] = ([], job_options(servers.enter_context(bench.purlin_server(program)).port, LOOPBACK))
            elif name == "purlin serve, PROCESS":
                port = servers.enter_context(bench.purlin_server(program)).port
                found[name] = ([], job_options(port, process_environment(program)))
            elif name == "FnApiRunner":
                found[name] = ([], ["--runner=FnApiRunner"])
            elif name == "Prism":
                found[name] = ([], ["--runner=PrismRunner", f"--prism_location={bench.prism()}"])
            elif name == "Prism, running":
                port = servers.enter_context(bench.prism_server(bench.prism())).port
                found[name] = ([], job_options(port, LOOPBACK))
        yield found


NAMES = ["purlin run", "purlin run, one worker", "purlin serve, LOOPBACK", "purlin serve, PROCESS", "FnApiRunner", "Prism", "Prism, running"]


def run(command, log):
    """Seconds by the clock, and CPU seconds of the command and of all that it waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    took = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.returncode, took, cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=20, help="how large the text is (20)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runner runs (3)")
    parser.add_argument("--purlin", help="the program; without it, the released one is built")
    parser.add_argument("--only", action="append", choices=NAMES, help="this runner; may be repeated")
    arguments = parser.parse_args()
    program = bench.purlin(arguments.purlin)
    names = [name for name in NAMES if not arguments.only or name in arguments.only]

    with tempfile.TemporaryDirectory() as folder, contenders(names, program) as found:
        folder = pathlib.Path(folder)
        text = folder / "text.txt"
        make_text(text, arguments.megabytes)
        expected = count(text)
        times = {name: [] for name in names}
        cpus = {name: [] for name in names}
        for number in range(arguments.rounds):
            for name, (before, behind) in found.items():
                prefix = folder / f"{names.index(name)}-{number}" / "counts"
                prefix.parent.mkdir()
                command = [*before, *WORDCOUNT, "--input", str(text), "--output", str(prefix), *behind]
                log_path = folder / "log.txt"
                with open(log_path, "wb") as log:
                    status, took, cpu = run(command, log)
                if status != 0:
                    sys.exit(f"{name} ended with {status}:\n{log_path.read_text(errors='replace')[-4000:]}")
                if read_counts(prefix) != expected:
                    sys.exit(f"{name} counted wrongly")
                times[name].append(took)
                cpus[name].append(cpu)
                print(f"round {number + 1}: {name}: {took:.2f} s", file=sys.stderr)

    print(f"WordCount over {arguments.megabytes} MB, {sum(expected.values()):,} words, {len(expected):,} different; {bench.machine()}\n")
    base = bench.spread(times[names[0]])[0]
    rows = []
    for name in names:
        median, least, most = bench.spread(times[name])
        cpu = "(server apart)" if "serve" in name or "running" in name else f"{bench.spread(cpus[name])[0]:.1f} s"
        rows.append([name, f"{median:.2f} s", f"{least:.2f} … {most:.2f}", f"{median / base:.2f}", cpu])
    bench.table(["runner", "median", "range", f"against {names[0]}", "CPU"], rows)


if __name__ == "__main__":
    main()
