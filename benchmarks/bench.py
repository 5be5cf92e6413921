"""What the comparisons share: where the programs are, servers that are up when they are used, and tables.

Run the comparisons with the project's own interpreter, `.env/bin/python`, which `cargo xtask test` makes.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import platform
import socket
import statistics
import subprocess
import sys

# Looked at when gRPC is loaded: nothing that is started here goes on with its connections, and its way of preparing a fork can
# wait for ever for a channel that is just being closed.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import grpc

import process

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEAM_VERSION = "2.77.0"
PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism"
GO_BIN = ROOT / ".env" / "go" / "bin"
# No server on this machine takes longer unless it is broken.
UP_WITHIN_S = 30


def purlin(given):
    """The released program: the one that was named, else the one that Cargo has built, which is brought up to date."""
    if given:
        return os.path.abspath(given)
    subprocess.run(["cargo", "build", "--release", "--package", "purlin-cli"], cwd=ROOT, check=True)
    return str(target() / "release" / "purlin")


@functools.cache
def example(name):
    """One of the programs of `benchmarks/examples`, brought up to date once."""
    subprocess.run(["cargo", "build", "--release", "--package", "purlin-benchmarks", "--example", name], cwd=ROOT, check=True)
    return str(target() / "release" / "examples" / name)


def target():
    """Where Cargo builds."""
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target")


def prism():
    """Beam's Prism, installed into .env/go/bin with Go when it is first wanted."""
    program = GO_BIN / "prism"
    if not program.exists():
        print(f"installing Prism v{BEAM_VERSION} into {GO_BIN.relative_to(ROOT)}", file=sys.stderr)
        _go("install", f"{PRISM}@v{BEAM_VERSION}")
    return str(program)


def go_load(name):
    """One of the Go SDK's own load tests, built into .env/go/bin when it is first wanted."""
    # `tool` is Go's name for all programs that go.mod lists as such.
    return _go_program(name, "tool", "the Go SDK's load tests")


def go_benchmark(name):
    """One of the Go programs of `benchmarks/go`, brought up to date."""
    return _go_program(name, f"./{name}", f"benchmarks/go/{name}", always=True)


@functools.cache
def _go_program(name, package, title, always=False):
    program = GO_BIN / name
    if always or not program.exists():
        print(f"building {title} into {GO_BIN.relative_to(ROOT)}", file=sys.stderr)
        _go("build", "-o", f"{GO_BIN}/", package, cwd=ROOT / "benchmarks" / "go")
    return str(program)


def _go(*words, **options):
    GO_BIN.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["go", *words], env=os.environ | {"GOBIN": str(GO_BIN)}, check=True, **options)
    except FileNotFoundError:
        sys.exit("Prism and programs that are written in Go need Go: install it, or leave them out (see --help)")


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


@dataclasses.dataclass
class Server:
    """A server that answers, and what it has cost so far."""

    name: str
    port: int
    pid: int

    @property
    def cpu_s(self):
        return process.cpu_s(self.pid)

    @property
    def peak_bytes(self):
        return process.peak_bytes(self.pid)


@contextlib.contextmanager
def purlin_server(program, *options):
    """`purlin serve`, listening on a free port."""
    command = [program, "serve", "--port", "0", "--log-level", "error", *options]
    with process.ended(process.start(command, stdout=subprocess.PIPE, text=True)) as started:
        line = started.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"{' '.join(command)} did not come up: {line!r}")
        yield Server("Purlin", int(line.rsplit(":", 1)[1]), started.pid)


@contextlib.contextmanager
def prism_server(program):
    """Prism, listening on a free port."""
    port = free_port()
    command = [program, f"--job_port={port}", "--serve_http=false", "--log_level=error"]
    with process.ended(process.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)) as started:
        answered(port).close()
        yield Server("Prism", port, started.pid)


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
