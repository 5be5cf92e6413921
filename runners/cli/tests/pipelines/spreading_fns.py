"""The DoFns of spreading.py, in a module of their own, which workers must find beside it."""

import os
import pathlib
import threading

import apache_beam as beam

# What the runner is given until the test fails instead of hanging.
PATIENCE_SECONDS = 120
# 40 elements print more than any pipe takes, in lines that are written whole.
LINES, FILLING = 12, "x" * 3_000


def wait_for(there):
    """Nothing tells one process what happens in another, so it looks now and then."""
    never = threading.Event()
    for _ in range(PATIENCE_SECONDS * 100):
        if there():
            return
        never.wait(0.01)
    raise TimeoutError("what another worker process should do was not done")


class Meet(beam.DoFn):
    """Passes nothing on until elements have come to this many processes."""

    def __init__(self, folder, processes):
        self.folder = pathlib.Path(folder)
        self.processes = processes

    def process(self, element):
        (self.folder / str(os.getpid())).touch()
        wait_for(lambda: len(list(self.folder.iterdir())) >= self.processes)
        for line in range(LINES):
            # With its end in the same text: Python writes an end of its own apart, and others write between.
            print(f"element {element} line {line} in {os.getpid()} {FILLING}.\n", end="", flush=True)
        yield element


class Home(beam.DoFn):
    """Works in the process of the program alone, and there only when it has failed elsewhere."""

    def __init__(self, folder):
        self.failed = pathlib.Path(folder) / "failed"

    def process(self, element):
        if "SET_BY_THE_PROGRAM" not in os.environ:
            self.failed.touch()
            raise LookupError("this is not home")
        wait_for(self.failed.exists)
        yield element
