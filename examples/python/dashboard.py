"""Scores of two teams, a window a minute: estimates early, the result on time, corrections when scores come late.

    a stream told event by event ─► (team, points) ─► windows of a minute ─► sum per team ─► a line for each pane

Run it with Purlin, from the root of the repository:

    purlin run --workers 1 -- .env/bin/python examples/python/dashboard.py

The stream is a TestStream, so that each run prints the same; a real one would be read from Kafka or the like, and nothing behind
it would change. The same pipeline stands in examples/go/dashboard and in examples/java. docs/guide/late-data.md explains the lines.
"""

import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms import trigger
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.windowed_value import PaneInfoTiming


def scores():
    """What happens, in order: scores with the second in which they were made, and how far the stream is."""

    def score(second, team, points):
        return TimestampedValue((team, points), second)

    return (
        TestStream()
        .add_elements([score(10, "blue", 3)])
        .add_elements([score(20, "red", 5)])
        .add_elements([score(40, "blue", 4)])
        .advance_watermark_to(60)  # The first minute is over, as far as anybody knows.
        .add_elements([score(70, "red", 1)])
        .add_elements([score(50, "blue", 2)])  # Late: a correction.
        .advance_watermark_to(400)  # Five minutes later corrections are not wanted any more.
        .add_elements([score(30, "red", 9)])  # Too late: dropped, and counted.
        .advance_watermark_to_infinity()
    )


class Show(beam.DoFn):
    """Prints each pane."""

    def process(self, score, window=beam.DoFn.WindowParam, pane=beam.DoFn.PaneInfoParam):
        team, points = score
        timing = PaneInfoTiming.to_string(pane.timing)
        print(f"{int(window.start)}s-{int(window.end)}s {team} {points} {timing} pane {pane.index}", flush=True)


def build(pipeline):
    """Puts the steps into `pipeline`."""
    _ = (
        pipeline
        | "Scores" >> scores()
        | "Minutes"
        >> beam.WindowInto(
            FixedWindows(60),
            trigger=trigger.AfterWatermark(early=trigger.AfterCount(1), late=trigger.AfterCount(1)),
            accumulation_mode=trigger.AccumulationMode.ACCUMULATING,
            allowed_lateness=300,
        )
        | "Sum" >> beam.CombinePerKey(sum)
        | "Show" >> beam.ParDo(Show())
    )


def main():
    options = PipelineOptions(sys.argv[1:])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=options) as pipeline:
        build(pipeline)


if __name__ == "__main__":
    main()
