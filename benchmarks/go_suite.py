"""Beam's own integration tests of the Go SDK, each by itself, by our runners and by Prism: which pass.

    go test -c (integration/primitives, integration/synthetic, regression) ─► one program run per test ─LOOPBACK─► a server per runner

    .env/bin/python benchmarks/go_suite.py

Nothing is filtered out: the SDK's universal runner runs what its lists for other runners skip. Not run are TestDrain, which must be drained
from outside, and TestOomParDo, which fills the memory until its own program dies.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import bench
import process

PACKAGES = ["integration/primitives", "integration/synthetic", "regression"]
NOT_RUN = {"TestDrain", "TestOomParDo"}
# None of them needs a tenth of it.
TIMEOUT_S = 60


def programs(folder):
    """The test programs, built, and the names of their tests."""
    found = {}
    for package in PACKAGES:
        program = folder / package.replace("/", "-")
        words = ["go", "test", "-c", "-o", str(program), f"github.com/apache/beam/sdks/v2/go/test/{package}"]
        subprocess.run(words, cwd=bench.ROOT / "benchmarks" / "go", check=True)
        listed = subprocess.check_output([str(program), "-test.list=."], text=True, cwd=folder)
        found[program] = [name for name in listed.split() if name.startswith("Test") and name not in NOT_RUN]
    return found


def servers(program):
    """By name, how to start one."""
    ours = {name: lambda name=name: bench.purlin_server(program, "--runner", name) for name in ("direct", "micro-batch", "continuous")}
    return ours | {"Prism": lambda: bench.prism_server(bench.prism())}


def verdict(program, test, server, folder):
    """`passed`, `failed`, `skipped` or `no end`."""
    words = [
        str(program), "--runner=universal", f"--endpoint=localhost:{server.port}", "--environment_type=LOOPBACK",
        f"-test.run=^{test}$", "-test.v",
    ]
    log = folder / "log.txt"
    try:
        process.finished(words, log, TIMEOUT_S, cwd=folder)
    except process.NotInTime:
        return "no end"
    except SystemExit:
        return "failed"
    ended = re.search(rf"^--- (\w+): {test} ", log.read_text(errors="replace"), re.MULTILINE)
    return {"PASS": "passed", "SKIP": "skipped"}.get(ended[1], "failed") if ended else "failed"


def measure(program, only):
    """Verdicts by runner and test."""
    verdicts = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tests = programs(folder)
        for name, start in servers(program).items():
            if only and name not in only:
                continue
            verdicts[name] = {}
            for built, names in tests.items():
                for test in names:
                    # A server of its own: what a test leaves behind is not the next one's.
                    with start() as server:
                        verdicts[name][test] = verdict(built, test, server, folder)
                    if verdicts[name][test] != "passed":
                        print(f"{name}: {test}: {verdicts[name][test]}", file=sys.stderr, flush=True)
    return verdicts


def show(verdicts):
    """How many of each verdict by runner, and which tests did not pass everywhere."""
    kinds = ["passed", "failed", "no end", "skipped"]
    rows = [[name, *(str(list(found.values()).count(kind)) for kind in kinds)] for name, found in verdicts.items()]
    bench.table(["runner", *kinds], rows)
    tests = {test for found in verdicts.values() for test, kind in found.items() if kind != "passed"}
    if tests:
        print()
        bench.table(["test", *verdicts], [[test, *(found[test] for found in verdicts.values())] for test in sorted(tests)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--purlin", help="the program; without it, the released one is built")
    parser.add_argument("--only", action="append", choices=list(servers("")), help="this runner; may be repeated")
    arguments = parser.parse_args()
    process.exit_on_signals()
    print(f"{bench.machine()}\n")
    show(measure(bench.purlin(arguments.purlin), arguments.only))


if __name__ == "__main__":
    main()
