"""Beam's own tests for runners in Java (its category ValidatesRunner), by our runners and by Prism: which pass.

    mvn package (benchmarks/java) ─► one program, several tests at once ─LOOPBACK─► a server per runner

    .env/bin/python benchmarks/java_suite.py

Nothing is filtered out but the tests of expansion services, which need some. Needs Java and Maven.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

import bench
import process
from go_suite import servers, show

# Everything but tests that ask for the port of an expansion service.
CLASSES = r"(?!.*ValidateRunnerXlangTest).*"
# Java's client looks at the state of a job every three seconds.
AT_ONCE = 10
TIMEOUT_S = 3600
PROJECT = bench.ROOT / "benchmarks" / "java"


def class_path():
    """Beam's tests and what runs them, built."""
    subprocess.run(["mvn", "--quiet", "--batch-mode", "package"], cwd=PROJECT, check=True)
    libraries = sorted((PROJECT / "target" / "lib").glob("*.jar"))
    return os.pathsep.join(map(str, [PROJECT / "target" / "suite-1.jar", *libraries]))


def verdicts(classes, server, pattern):
    """By test: `passed`, `failed`, `no end` or `skipped`; what failed, and why, is told."""
    with tempfile.TemporaryFile("w+") as lines:
        words = ["java", "-Xmx2g", "-cp", classes, "Suite", f"localhost:{server.port}", pattern, str(AT_ONCE)]
        with process.ended(process.start(words, stdout=lines, stderr=subprocess.DEVNULL)) as started:
            started.wait(timeout=TIMEOUT_S)
        lines.seek(0)
        told = re.findall(r"^(passed|failed|no end|skipped)\t(\S+)\t(.*)$", lines.read(), re.MULTILINE)
    for verdict, test, why in told:
        if verdict != "passed":
            print(f"{server.name}: {test}: {verdict}: {why[:300]}", file=sys.stderr, flush=True)
    return {test: verdict for verdict, test, _ in told}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--purlin", help="the program; without it, the released one is built")
    parser.add_argument("--only", action="append", choices=list(servers("")), help="this runner; may be repeated")
    parser.add_argument("--classes", default=CLASSES, help="a pattern of class names, in place of all")
    arguments = parser.parse_args()
    process.exit_on_signals()
    program, classes = bench.purlin(arguments.purlin), class_path()
    print(f"{bench.machine()}\n")
    found = {}
    for name, start in servers(program).items():
        if not arguments.only or name in arguments.only:
            with start() as server:
                found[name] = verdicts(classes, server, arguments.classes)
    show(found)


if __name__ == "__main__":
    main()
