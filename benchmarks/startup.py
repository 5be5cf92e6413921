"""How long a job takes that has nothing to do, and how long a server takes to be there.

    .env/bin/python benchmarks/startup.py --rounds 15

Three things are measured:

1. `p.run()` of ten elements until DONE, with LOOPBACK, in one client process that goes round Purlin, Prism and a stub
   server (stub_server.py) that answers DONE at once. The stub's time is the client's own; the rest is the runner's.
2. From starting `purlin serve` to its first answer.
3. A program of ten elements by `purlin run`, against the same program and a server that is already there.
"""

import argparse
import contextlib
import subprocess
import sys
import time

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

import bench
import process
import ten_elements

# Saves the client half a second of pip; `purlin run` sets it too.
QUICK = "--experiments=disable_logging_submission_environment"


def options(port):
    return ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK", QUICK]


@contextlib.contextmanager
def stub_server():
    """A port at which the stub listens."""
    command = [sys.executable, str(bench.ROOT / "benchmarks" / "stub_server.py")]
    with process.ended(process.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)) as server:
        yield int(server.stdout.readline())


def job_time(port):
    """Seconds from `p.run()` to DONE."""
    pipeline = beam.Pipeline(options=PipelineOptions(options(port)))
    ten_elements.build(pipeline)
    began = time.perf_counter()
    result = pipeline.run()
    state = result.wait_until_finish()
    took = time.perf_counter() - began
    if state != "DONE":
        sys.exit(f"the job ended as {state}")
    return took


def jobs(program, rounds, with_prism):
    """Measures 1."""
    with contextlib.ExitStack() as servers:
        ports = {"stub": servers.enter_context(stub_server()), "Purlin": servers.enter_context(bench.purlin_server(program)).port}
        if with_prism:
            ports["Prism"] = servers.enter_context(bench.prism_server(bench.prism())).port
        times = {name: [] for name in ports}
        for number in range(rounds + 1):
            for name, port in ports.items():
                took = job_time(port)
                # The first round loads modules.
                if number > 0:
                    times[name].append(took)
    stub = bench.spread(times["stub"])[0]
    medians = {name: bench.spread(values)[0] - stub for name, values in times.items()}
    rows = []
    for name, values in times.items():
        median, least, most = bench.spread(values)
        ratio = f"{medians[name] / medians['Prism']:.2f}" if with_prism and name != "stub" else ""
        own = f"{medians[name] * 1000:.0f} ms" if name != "stub" else ""
        rows.append([name, f"{median * 1000:.0f} ms", f"{least * 1000:.0f} … {most * 1000:.0f}", own, ratio])
    bench.table(["p.run() to DONE", "median", "range", "less the stub's", "against Prism"], rows)


def first_answer(program):
    """Seconds from starting `purlin serve` to its first answer."""
    command = [program, "serve", "--port", "0", "--log-level", "error"]
    began = time.perf_counter()
    with process.ended(process.start(command, stdout=subprocess.PIPE, text=True)) as server:
        port = int(server.stdout.readline().rsplit(":", 1)[1])
        listening = time.perf_counter() - began
        with bench.answered(port) as channel:
            beam_job_api_pb2_grpc.JobServiceStub(channel).GetJobs(beam_job_api_pb2.GetJobsRequest())
            return listening, time.perf_counter() - began


def servers(program, rounds):
    """Measures 2."""
    times = [first_answer(program) for _ in range(rounds)]
    rows = []
    for position, name in enumerate(["it says that it listens", "it has answered GetJobs"]):
        median, least, most = bench.spread([time[position] * 1000 for time in times])
        rows.append([name, f"{median:.0f} ms", f"{least:.0f} … {most:.0f}"])
    bench.table(["purlin serve, from its start until", "median", "range"], rows)


def programs(program, rounds):
    """Measures 3."""
    script = [sys.executable, str(bench.ROOT / "benchmarks" / "ten_elements.py")]
    with bench.purlin_server(program) as server:
        ways = {"against a server": [*script, *options(server.port)], "by purlin run": [program, "run", "--", *script]}
        times = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, command in ways.items():
                began = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
                if number > 0:
                    times[name].append(time.perf_counter() - began)
    base = bench.spread(times["against a server"])[0]
    rows = []
    for name, values in times.items():
        median, least, most = bench.spread(values)
        rows.append([name, f"{median:.2f} s", f"{least:.2f} … {most:.2f}", f"{(median - base) * 1000:+.0f} ms"])
    bench.table(["a program of ten elements", "median", "range", "difference"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="how often each thing is measured (15)")
    parser.add_argument("--purlin", help="the program; without it, the released one is built")
    parser.add_argument("--without-prism", action="store_true", help="do not compare with Prism, which needs Go")
    arguments = parser.parse_args()
    program = bench.purlin(arguments.purlin)
    print(f"{bench.machine()}\n")
    jobs(program, arguments.rounds, not arguments.without_prism)
    print()
    servers(program, arguments.rounds)
    print()
    programs(program, arguments.rounds)


if __name__ == "__main__":
    main()
