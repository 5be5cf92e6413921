"""A stream that measures itself: how long an element is on its way from its source to the last DoFn, through a value state.

    PeriodicImpulse ─► the instant, with a key ─► a DoFn with a state of each key ─► what the clock says now

    python latency_pipeline.py --measured FILE --per_second 50 --seconds 20 --runner=PortableRunner …

Each line of FILE is one element, in seconds: made since the beginning, on the way since it was made, and since it was due.
`benchmarks/latency.py` runs it.
"""

import argparse
import time

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.coders import VarIntCoder

KEYS = 10


class Stamp(beam.DoFn):
    """With a key, the instant at which an element came from the source, and the one at which it should: the element itself."""

    def __init__(self, per_second):
        self.per_second = per_second

    def process(self, element):
        yield f"key {round(element * self.per_second) % KEYS}", (time.time(), element)


class Count(beam.DoFn):
    """Counts the elements of each key in its state, and passes them on."""

    SEEN = ReadModifyWriteStateSpec("seen", VarIntCoder())

    def process(self, element, seen=beam.DoFn.StateParam(SEEN)):
        seen.write((seen.read() or 0) + 1)
        yield element


class Arrive(beam.DoFn):
    """Writes down how long elements were on their way."""

    def __init__(self, path, began):
        self.path = path
        self.began = began

    def start_bundle(self):
        self.lines = []

    def process(self, element):
        _, (made, due) = element
        now = time.time()
        self.lines.append(f"{made - self.began} {now - made} {now - due}\n")

    def finish_bundle(self):
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(self.lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", required=True, help="the file that is written")
    parser.add_argument("--per_second", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    arguments, options = parser.parse_known_args()
    began = time.time()
    with beam.Pipeline(options=PipelineOptions(options, streaming=True, save_main_session=False)) as pipeline:
        _ = (
            pipeline
            | PeriodicImpulse(began, began + arguments.seconds, 1 / arguments.per_second)
            | beam.ParDo(Stamp(arguments.per_second))
            | beam.ParDo(Count())
            | beam.ParDo(Arrive(arguments.measured, began))
        )


if __name__ == "__main__":
    main()
