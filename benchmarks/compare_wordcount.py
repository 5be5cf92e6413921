"""Beam's own WordCount, unmodified, over one text, by several runners in one run.

    text (made here, always the same) ─► apache_beam.examples.wordcount ─► counts, compared with a count made here
                                          by each runner in turn, several rounds

    .env/bin/python benchmarks/compare_wordcount.py --megabytes 20 --rounds 3

Each time is that of a whole program, from its start to its end, with whatever it starts and waits for. The rounds go through
all runners in turn, so that a machine that slows down slows all of them, and each round in an order of its own (always the same
ones), because what ran just before on a shared machine is felt by the next. A runner whose counts differ is an error, not a figure.
CPU is that of all processes; where the runner is a process of its own, its part of it stands beside.
"""

import argparse
import collections
import contextlib
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import bench
import process

# FnApiRunner needs minutes for 200 MB; a machine that is busy with other things ten times as long.
TIMEOUT_S = 3000
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
    """By name, what goes before the command and what goes behind it, and the server. Servers live as long as the block."""
    with contextlib.ExitStack() as servers:
        found = {}
        for name in names:
            if name == "purlin run":
                found[name] = ([program, "run", "--"], [], None)
            elif name == "purlin run, one worker":
                found[name] = ([program, "run", "--workers", "1", "--"], [], None)
            elif name == "purlin serve, LOOPBACK":
                server = servers.enter_context(bench.purlin_server(program))
                found[name] = ([], job_options(server.port, LOOPBACK), server)
            elif name == "purlin serve, PROCESS":
                server = servers.enter_context(bench.purlin_server(program))
                found[name] = ([], job_options(server.port, process_environment(program)), server)
            elif name == "FnApiRunner":
                found[name] = ([], ["--runner=FnApiRunner"], None)
            elif name == "Prism":
                found[name] = ([], ["--runner=PrismRunner", f"--prism_location={bench.prism()}"], None)
            elif name == "Prism, running":
                server = servers.enter_context(bench.prism_server(bench.prism()))
                found[name] = ([], job_options(server.port, LOOPBACK), server)
        yield found


NAMES = ["purlin run", "purlin run, one worker", "purlin serve, LOOPBACK", "purlin serve, PROCESS", "FnApiRunner", "Prism", "Prism, running"]


def run(command, server, log_path):
    """Seconds by the clock, CPU seconds of all processes, and those of the runner's own, if it has one."""
    before_s = server.cpu_s if server else 0.0
    cost = process.finished(command, log_path, TIMEOUT_S)
    if server:
        runner_s = server.cpu_s - before_s
        return cost.wall_s, cost.cpu_s + runner_s, runner_s
    return cost.wall_s, cost.cpu_s, cost.own_cpu_s if command[1] == "run" else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=20, help="how large the text is (20)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runner runs (3)")
    parser.add_argument("--purlin", help="the program; without it, the released one is built")
    parser.add_argument("--only", action="append", choices=NAMES, help="this runner; may be repeated")
    arguments = parser.parse_args()
    process.exit_on_signals()
    program = bench.purlin(arguments.purlin)
    names = [name for name in NAMES if not arguments.only or name in arguments.only]

    with tempfile.TemporaryDirectory() as folder, contenders(names, program) as found:
        folder = pathlib.Path(folder)
        text = folder / "text.txt"
        make_text(text, arguments.megabytes)
        expected = count(text)
        runs = {name: [] for name in names}
        chance = random.Random(3)
        for number in range(arguments.rounds):
            for name in chance.sample(names, len(names)):
                before, behind, server = found[name]
                prefix = folder / f"{names.index(name)}-{number}" / "counts"
                prefix.parent.mkdir()
                command = [*before, *WORDCOUNT, "--input", str(text), "--output", str(prefix), *behind]
                done = run(command, server, folder / "log.txt")
                if read_counts(prefix) != expected:
                    sys.exit(f"{name} counted wrongly")
                runs[name].append(done)
                print(f"round {number + 1}: {name}: {done[0]:.2f} s", file=sys.stderr, flush=True)

    print(f"WordCount over {arguments.megabytes} MB, {sum(expected.values()):,} words, {len(expected):,} different; {bench.machine()}\n")
    base = bench.spread([wall for wall, _, _ in runs[names[0]]])[0]
    rows = []
    for name in names:
        walls, cpus, of_runner = zip(*runs[name])
        median, least, most = bench.spread(walls)
        # A server's own workers end behind its job, so that nobody here sees what they used.
        told = "PROCESS" not in name
        shares = [runner / cpu for runner, cpu in zip(of_runner, cpus) if runner is not None]
        rows.append([
            name, f"{median:.2f} s", f"{least:.2f} … {most:.2f}", f"{median / base:.2f}", f"{bench.spread(cpus)[0]:.1f} s" if told else "",
            f"{bench.spread(shares)[0] * 100:.0f} %" if shares and told else "",
        ])
    bench.table(["runner", "median", "range", f"against {names[0]}", "CPU", "of it the runner's"], rows)


if __name__ == "__main__":
    main()
