"""Windows and what they do to timestamps."""

import apache_beam as beam
import pytest
from apache_beam.coders import coders
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import trigger, window

from support import pipeline


def stamped(p, pairs, name="stamped"):
    return p | name >> beam.Create(pairs) | f"at {name}" >> beam.Map(lambda pair: window.TimestampedValue(pair, pair[1]))


@pytest.mark.parametrize("combiner, expected", [("EARLIEST", 1.0), ("LATEST", 7.0), ("END_OF_WINDOW", 9.999)])
def test_timestamp_combiners(combiner, expected):
    combiner = getattr(window.TimestampCombiner, f"OUTPUT_AT_{combiner}" if combiner != "END_OF_WINDOW" else "OUTPUT_AT_EOW")
    with pipeline() as p:
        grouped = stamped(p, [("k", 1), ("k", 7)]) | beam.WindowInto(window.FixedWindows(10), timestamp_combiner=combiner) | (
            beam.GroupByKey()) | beam.Map(lambda _, at=beam.DoFn.TimestampParam: round(float(at), 3))
        assert_that(grouped, equal_to([round(expected, 3)]))


def test_sessions():
    with pipeline() as p:
        grouped = stamped(p, [("k", n) for n in (1, 2, 4, 20, 21, 40)] + [("l", 3)]) | beam.WindowInto(window.Sessions(5)) | (
            beam.GroupByKey()) | beam.Map(
                lambda pair, of=beam.DoFn.WindowParam: (pair[0], sorted(pair[1]), float(of.start), float(of.end)))
        assert_that(grouped, equal_to([
            ("k", [1, 2, 4], 1.0, 9.0), ("k", [20, 21], 20.0, 26.0), ("k", [40], 40.0, 45.0), ("l", [3], 3.0, 8.0),
        ]))


class Parity(window.WindowFn):
    """Elements of one parity within a hundred seconds merge."""

    def assign(self, context):
        start = int(context.timestamp)
        return [window.IntervalWindow(start, start + 10)]

    def merge(self, merge_context):
        for parity in (0, 1):
            mine = [of for of in merge_context.windows if int(of.start) % 2 == parity]
            if len(mine) > 1:
                merge_context.merge(mine, window.IntervalWindow(min(of.start for of in mine), max(of.end for of in mine)))

    def get_window_coder(self):
        return coders.IntervalWindowCoder()


def test_custom_merging_windows():
    with pipeline() as p:
        grouped = stamped(p, [("k", n) for n in (1, 2, 3, 4, 50)]) | beam.WindowInto(Parity()) | beam.GroupByKey() | beam.Map(
            lambda pair, of=beam.DoFn.WindowParam: (sorted(pair[1]), float(of.start), float(of.end)))
        assert_that(grouped, equal_to([([1, 3], 1.0, 13.0), ([2, 4, 50], 2.0, 60.0)]))


def test_windows_change_on_the_way():
    with pipeline() as p:
        counts = stamped(p, [("k", n) for n in range(20)]) | "fine" >> beam.WindowInto(window.FixedWindows(5)) | (
            "per fine" >> beam.CombinePerKey(beam.combiners.CountCombineFn())) | (
            "coarse" >> beam.WindowInto(window.FixedWindows(10))) | "per coarse" >> beam.CombinePerKey(sum)
        assert_that(counts, equal_to([("k", 10), ("k", 10)]))


def test_lateness_and_triggers_do_not_change_what_a_bounded_input_gives():
    with pipeline() as p:
        grouped = stamped(p, [("k", n) for n in (1, 2, 11)]) | beam.WindowInto(
            window.FixedWindows(10), trigger=trigger.DefaultTrigger(), allowed_lateness=60,
            accumulation_mode=trigger.AccumulationMode.DISCARDING) | beam.GroupByKey() | beam.MapTuple(
                lambda key, values: (key, sorted(values)))
        assert_that(grouped, equal_to([("k", [1, 2]), ("k", [11])]))
