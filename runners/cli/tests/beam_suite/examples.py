"""Beam's example pipelines, from the installed package, unmodified: each on every runner named, with equal results.

    .env/bin/python runners/cli/tests/beam_suite/examples.py --endpoint localhost:8073 direct micro-batch continuous

What they read is made here. FnApiRunner says what is right. Each pipeline is a program of its own, as a user starts it.
"""

import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile

TEXT = [
    "KING LEAR", "Flourish Flourish Flourish stomach", "the wind and the rain and the wheel of fire",
    "nothing will come of nothing", "speak what we feel not what we ought to say",
]
RESULTS = [
    {"host": ["Germany", 1], "guest": ["Italy", 0]},
    {"host": ["Germany", 1], "guest": ["Brasil", 3]},
    {"host": ["Brasil", 1], "guest": ["Italy", 0]},
]
CONTACTS = {
    "email": ["Ada L\tada@example.com", "Ada L\tlace@example.com", "Bob M\tbob@example.com", "Eve O\teve@example.com"],
    "phone": ["Ada L\t412-555-0100", "Cy N\t724-555-0101", "Cy N\t724-555-0102"],
    "mail": ["Bob M\t1 Pine St", "Cy N\t2 Oak Ave", "Flo P\t3 Elm Rd"],
}
SCORES = [
    "ann_red,red,18,1447686663000,2015-11-16 15:11:03.921", "ann_red,red,14,1447697463000,2015-11-16 18:11:03.955",
    "ben_blue,blue,2,1447690263000,2015-11-16 16:11:03.955", "cid_red,red,8,1447690263000,2015-11-16 16:11:03.955",
    "not a line of scores",
]
EDITS = [
    {"contributor_username": user, "timestamp": at}
    for user, at in [("ann", 0), ("ann", 1000), ("ann", 90000), ("ben", 10), ("ben", 3000000), ("cid", 5)]
]
FARMS = ["OP01,8,12,0,12", "OP02,30,14,3,12", "OP03,25,7,3,14", "OP04,87,7,2,2", "OP05,19,1,7,10"]


def write(path, lines):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return str(path)


def examples(folder):
    """For each example: its module, what it is given, and the names of its outputs."""
    text = write(folder / "lear.txt", TEXT)
    write(folder / "other.txt", reversed(TEXT[1:]))
    matches = write(folder / "matches.txt", map(json.dumps, RESULTS))
    scores = write(folder / "scores.txt", SCORES)
    edits = write(folder / "edits.json", map(json.dumps, EDITS))
    players = write(folder / "players.txt", ["joe,10", "fred,3", "mary,7", "joe,20", "fred,6", "ann,5", "joe,30"])
    contacts = {name: write(folder / f"{name}.txt", lines) for name, lines in CONTACTS.items()}
    plain = ["output"]
    return [
        ("wordcount", ["--input", text], plain),
        ("wordcount_minimal", ["--input", text], plain),
        ("wordcount_debugging", ["--input", text], plain),
        ("wordcount_with_metrics", ["--input", text], plain),
        ("cookbook.coders", ["--input", matches], plain),
        ("cookbook.custom_ptransform", ["--input", text], plain),
        ("cookbook.group_with_coder", ["--input", players], plain),
        ("cookbook.mergecontacts", [f"--input_email={contacts['email']}", f"--input_phone={contacts['phone']}",
                                    f"--input_snailmail={contacts['mail']}"], ["output_tsv", "output_stats"]),
        ("cookbook.multiple_output_pardo", ["--input", text], plain),
        ("complete.autocomplete", ["--input", text], plain),
        ("complete.estimate_pi", [], plain),
        ("complete.game.user_score", ["--input", scores], plain),
        ("complete.tfidf", ["--uris", str(folder / "*r.txt")], plain),
        ("complete.top_wikipedia_sessions", ["--input", edits, "--sampling_threshold", "1"], plain),
    ]


def run(module, given, outputs, runner, options, folder):
    """Runs one example and returns what it wrote: by name of the file, the sorted lines."""
    place = folder / f"{module}-{runner}"
    place.mkdir()
    targets = [f"--{output}={place / output}" for output in outputs]
    command = [sys.executable, "-m", f"apache_beam.examples.{module}", *given, *targets, *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{module} on {runner} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    wrote = {}
    for file in sorted(place.iterdir()):
        if file.is_dir():
            raise RuntimeError(f"{module} on {runner} left the folder {file.name} behind")
        # How many shards there are is the runner's choice.
        wrote.setdefault(file.name.split("-")[0], []).extend(file.read_text(encoding="utf-8").splitlines())
    if not any(wrote.values()):
        raise RuntimeError(f"{module} on {runner} wrote nothing")
    return {name: sorted(lines) for name, lines in wrote.items()}


def same(module, ours, theirs):
    """Whether two results are equal, as far as the example is the same from run to run."""
    if module != "complete.estimate_pi":
        return ours == theirs
    estimates = [json.loads(line)[-1] for lines in ours.values() for line in lines]
    return len(estimates) == 1 and abs(estimates[0] - 3.14159) < 0.1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True, help="where Purlin serves, as host:port")
    parser.add_argument("--only", help="this example")
    parser.add_argument("runners", nargs="+")
    arguments = parser.parse_args()
    job = ["--runner=PortableRunner", f"--job_endpoint={arguments.endpoint}", "--environment_type=LOOPBACK"]
    options = {runner: [*job, f"--experiments=purlin_runner={runner}"] for runner in arguments.runners}
    options["FnApiRunner"] = ["--runner=FnApiRunner"]
    failed = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        folder = pathlib.Path(folder)
        found = [example for example in examples(folder) if arguments.only in (None, example[0])]
        started = {
            (module, runner): pool.submit(run, module, given, outputs, runner, options[runner], folder)
            for module, given, outputs in found for runner in options
        }
        for module, _, _ in found:
            for runner in arguments.runners:
                try:
                    ours, theirs = started[module, runner].result(), started[module, "FnApiRunner"].result()
                    if not same(module, ours, theirs):
                        raise RuntimeError(f"{module} on {runner} wrote\n{ours}\nnot\n{theirs}")
                    print(f"ok: {module} on {runner}", flush=True)
                except Exception as problem:
                    failed += 1
                    print(f"FAILED: {problem}", flush=True)
    print(f"{len(found) * len(arguments.runners) - failed} equal, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
