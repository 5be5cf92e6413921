"""The Go SDK's own load tests against Purlin and Prism: what the server's process costs.

    go/test/load/{group_by_key,cogbk,sideinput} ─LOOPBACK─► a server of its own for each run ─► counts, CPU, peak of memory

    .env/bin/python benchmarks/loads.py --rounds 3

The load tests do not look at what comes out. This script does, by the number of elements of every PCollection, as the
server reports it. The server's figures are those of its process: user and system time, and the most memory that it had resident.
The SDK's own cost stands beside them. The rounds go through all servers in turn.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import sys
import tempfile

from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

import bench
import process

# Prism needs half a minute for the largest; a machine that is busy with other things may need ten times as long.
TIMEOUT_S = 900
KEYS = 1000
ELEMENT_COUNT = "beam:metric:element_count:v1"


def source(records):
    """The synthetic source of the load tests: 100 bytes per record, evenly over 1,000 keys."""
    config = {"num_records": records, "key_size": 10, "value_size": 90, "num_hot_keys": KEYS, "hot_key_fraction": 1.0}
    return json.dumps(config, separators=(",", ":"))


@dataclasses.dataclass(frozen=True, eq=False)
class Load:
    """A load test of a size, and how often at least which number of elements must be found among its PCollections."""

    title: str
    program: str
    options: tuple
    expected: dict


def group_by_key(records):
    """All records, before and behind the monitor; a group per key, what is taken of it, and that behind a monitor."""
    return Load(
        f"GroupByKey, {records:,} records",
        "group_by_key",
        (f"--input_options={source(records)}",),
        {records: 2, KEYS: 3},
    )


def co_group_by_key(records):
    """Each side twice; a group per key; all records of both, before and behind the monitor."""
    return Load(
        f"CoGroupByKey, 2 × {records:,} records",
        "cogbk",
        (f"--input_options={source(records)}", f"--co_input_options={source(records)}"),
        {records: 4, KEYS: 1, 2 * records: 2},
    )


def side_input(records):
    """All records as they are read, and as they come out of the side input, before and behind the monitor."""
    return Load(
        f"side input, {records:,} records",
        "sideinput",
        (f"--input_options={source(records)}",),
        {records: 3},
    )


def varint(payload):
    """A counter's value."""
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(payload))


def element_counts(port):
    """Of the only job of a server: how many PCollections have how many elements."""
    with bench.answered(port) as channel:
        jobs = beam_job_api_pb2_grpc.JobServiceStub(channel)
        (job,) = jobs.GetJobs(beam_job_api_pb2.GetJobsRequest()).job_info
        metrics = jobs.GetJobMetrics(beam_job_api_pb2.GetJobMetricsRequest(job_id=job.job_id)).metrics
    counts = {}
    for info in metrics.committed:
        if info.urn == ELEMENT_COUNT:
            name = info.labels["PCOLLECTION"]
            counts[name] = counts.get(name, 0) + varint(info.payload)
    return collections.Counter(counts.values())


def check(load, server):
    """Ends the script unless the counts are right."""
    counts = element_counts(server.port)
    wrong = {number: often for number, often in load.expected.items() if counts[number] < often}
    if wrong:
        sys.exit(
            f"{load.title}: {server.name} lost or made elements: of its PCollections, as many as {dict(counts)} say had so "
            f"many elements, and at least {wrong} were expected"
        )


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run of a load cost."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    sdk_cpu_s: float


def run(load, server, log_path, timeout_s=TIMEOUT_S):
    """Runs a load against a fresh server."""
    options = ["--runner=universal", f"--endpoint=localhost:{server.port}", "--environment_type=LOOPBACK"]
    before_s = server.cpu_s
    sdk = process.finished([bench.go_load(load.program), *options, *load.options], log_path, timeout_s)
    cpu_s, peak_bytes = server.cpu_s - before_s, server.peak_bytes
    check(load, server)
    return Run(sdk.wall_s, cpu_s, peak_bytes, sdk.cpu_s)


def contenders(program, names):
    """By name, how to start a server."""
    servers = {
        "Purlin": lambda: bench.purlin_server(program),
        "Prism": lambda: bench.prism_server(bench.prism()),
    }
    return {name: servers[name] for name in names}


def measure(loads, servers, rounds):
    """Runs by load and server: all servers in turn, round after round."""
    runs = {load: {name: [] for name in servers} for load in loads}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for load in loads:
                for name, start in servers.items():
                    with start() as server:
                        done = run(load, server, pathlib.Path(folder) / "log.txt")
                    runs[load][name].append(done)
                    figures = f"{done.wall_s:.1f} s, CPU {done.cpu_s:.2f} s, peak {done.peak_bytes / 1e6:.0f} MB, SDK {done.sdk_cpu_s:.1f} s"
                    print(f"round {number + 1}: {load.title}: {name}: {figures}", file=sys.stderr, flush=True)
    return runs


def median(runs):
    """The median of each figure."""
    return Run(*(bench.spread([getattr(run, field.name) for run in runs])[0] for field in dataclasses.fields(Run)))


def show(runs):
    """The rows of a table: medians, and Purlin's as parts of the others'."""
    rows = []
    for load, by_name in runs.items():
        medians = {name: median(found) for name, found in by_name.items()}
        for name, figures in medians.items():
            base = medians.get("Prism")
            ratio = lambda own, other: f" ({own / other:.3f})" if base and name != "Prism" and other else ""
            rows.append([
                load.title,
                name,
                f"{figures.cpu_s:.2f} s{ratio(figures.cpu_s, base and base.cpu_s)}",
                f"{figures.peak_bytes / 1e6:,.0f} MB{ratio(figures.peak_bytes, base and base.peak_bytes)}",
                f"{figures.wall_s:.1f} s{ratio(figures.wall_s, base and base.wall_s)}",
                f"{figures.sdk_cpu_s:.1f} s",
            ])
    bench.table(["load", "runner", "CPU (of Prism's)", "peak memory (of Prism's)", "wall (of Prism's)", "CPU of the SDK"], rows)


KINDS = {"group_by_key": (group_by_key, 1_000_000), "cogbk": (co_group_by_key, 200_000), "sideinput": (side_input, 1_000_000)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each load runs (3)")
    parser.add_argument("--purlin", help="the program; without it, the released one is built")
    parser.add_argument("--only", action="append", choices=KINDS, help="this load; may be repeated")
    parser.add_argument("--runner", action="append", choices=["Purlin", "Prism"], help="this runner; may be repeated")
    parser.add_argument("--records", type=int, help="how many, instead of each load's own number")
    arguments = parser.parse_args()
    process.exit_on_signals()
    names = arguments.runner or ["Purlin", "Prism"]
    servers = contenders(bench.purlin(arguments.purlin) if "Purlin" in names else None, names)
    kinds = [kind for name, kind in KINDS.items() if not arguments.only or name in arguments.only]
    loads = [load(arguments.records or records) for load, records in kinds]
    runs = measure(loads, servers, arguments.rounds)
    print(f"{bench.machine()}; median of {arguments.rounds}\n")
    show(runs)


if __name__ == "__main__":
    main()
