"""What the comparisons share: where the programs are, servers that are up when they are used, and tables.

Run the comparisons with the project's own interpreter, `.env/bin/python`, which `cargo xtask test` makes.
"""

import contextlib
import os
import pathlib
import platform
import socket
import statistics
import subprocess
import sys

import grpc

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEAM_VERSION = "2.77.0"
PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism"
# No server on this machine takes longer unless it is broken.
UP_WITHIN_S = 30


def purlin(given):
    """The released program: the one that was named, else the one that Cargo has built, which is brought up to date."""
    if given:
        return os.path.abspath(given)
    subprocess.run(["cargo", "build", "--release", "--package", "purlin-cli"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return str(ROOT / target / "release" / "purlin")


def prism():
    """Beam's Prism, installed into .env/go/bin with Go when it is first wanted."""
    folder = ROOT / ".env" / "go" / "bin"
    program = folder / "prism"
    if not program.exists():
        print(f"installing Prism v{BEAM_VERSION} into {folder.relative_to(ROOT)}", file=sys.stderr)
        try:
            environment = os.environ | {"GOBIN": str(folder)}
            subprocess.run(["go", "install", f"{PRISM}@v{BEAM_VERSION}"], env=environment, check=True)
        except FileNotFoundError:
            sys.exit("Prism needs Go: install it, or leave Prism out (see --help)")
    return str(program)


def answered(port):
    """A channel to a server that has answered: the wait ends when it does, not after a time."""
    channel = grpc.insecure_channel(f"localhost:{port}")
    grpc.channel_ready_future(channel).result(timeout=UP_WITHIN_S)
    return channel


def free_port():
    """A port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def ended(process):
    """Ends a process with the block."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def purlin_server(program):
    """A port at which `purlin serve` listens."""
    command = [program, "serve", "--port", "0", "--log-level", "error"]
    with ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as server:
        line = server.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"{' '.join(command)} did not come up: {line!r}")
        yield int(line.rsplit(":", 1)[1])


@contextlib.contextmanager
def prism_server(program):
    """A port at which Prism listens."""
    port = free_port()
    command = [program, f"--job_port={port}", "--serve_http=false", "--log_level=error"]
    with ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)):
        answered(port).close()
        yield port


def machine():
    """The machine in a line, to stand above figures."""
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}, Beam {BEAM_VERSION}"


def table(titles, rows):
    """Prints rows under titles, as Markdown that can be pasted into docs/benchmarks.md."""
    texts = [titles, *rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(titles))]
    line = lambda cells: "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    print(line(titles))
    print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for row in rows:
        print(line(row))


def spread(values):
    """The median, the least and the most."""
    return statistics.median(values), min(values), max(values)
