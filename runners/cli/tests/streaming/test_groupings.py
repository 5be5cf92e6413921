"""Groupings of streams: triggers and panes as a DoFn sees them."""

import apache_beam as beam
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import trigger, window
from apache_beam.utils.windowed_value import PaneInfoTiming

from support import pipeline


def panes(grouped):
    def show(pair, of=beam.DoFn.WindowParam, pane=beam.DoFn.PaneInfoParam):
        timing = PaneInfoTiming.to_string(pane.timing)
        return (pair[0], float(of.start), sorted(pair[1]), timing, pane.index, pane.is_last)
    return grouped | beam.MapTuple(lambda key, values: (key, list(values))) | beam.Map(show)


def stamped(script, *numbers):
    return script.add_elements([window.TimestampedValue(("k", number), number) for number in numbers])


def script():
    return TestStream(coder=beam.coders.TupleCoder([beam.coders.StrUtf8Coder(), beam.coders.VarIntCoder()]))


def test_early_on_time_and_late_panes():
    events = stamped(script(), 1, 2).advance_watermark_to(5)
    events = stamped(events, 6).advance_watermark_to(12)
    events = stamped(events, 3).advance_watermark_to(30)
    events = stamped(events, 4).advance_watermark_to_infinity()
    with pipeline("--streaming") as p:
        windowed = p | events | beam.WindowInto(
            window.FixedWindows(10), allowed_lateness=5, accumulation_mode=trigger.AccumulationMode.ACCUMULATING,
            trigger=trigger.AfterWatermark(early=trigger.AfterCount(2), late=trigger.AfterCount(1)))
        assert_that(panes(windowed | beam.GroupByKey()), equal_to([
            ("k", 0.0, [1, 2], "EARLY", 0, False),
            ("k", 0.0, [1, 2, 6], "ON_TIME", 1, False),
            ("k", 0.0, [1, 2, 3, 6], "LATE", 2, False),
        ]))


def test_what_comes_too_late_is_dropped_and_counted():
    events = stamped(script(), 1).advance_watermark_to(30)
    events = stamped(events, 4, 31).advance_watermark_to_infinity()
    p = pipeline("--streaming")
    grouped = p | events | beam.WindowInto(window.FixedWindows(10)) | beam.GroupByKey()
    assert_that(panes(grouped), equal_to([("k", 0.0, [1], "ON_TIME", 0, True), ("k", 30.0, [31], "ON_TIME", 0, True)]))
    result = p.run()
    result.wait_until_finish()
    counted = {it.key.metric.name: it.committed for it in result.metrics().query()["counters"]}
    assert counted["droppedDueToLateness"] == 1


def test_sessions_merge_as_their_elements_come():
    events = stamped(script(), 1, 20)
    events = stamped(events, 9, 12)
    events = stamped(events.advance_watermark_to(15), 40).advance_watermark_to_infinity()
    with pipeline("--streaming") as p:
        grouped = p | events | beam.WindowInto(window.Sessions(10)) | beam.GroupByKey()
        # Those that only touch stay apart: [12, 22) and [20, 30) overlap, [30, 40) and [40, 50) would not.
        assert_that(panes(grouped), equal_to([
            ("k", 1.0, [1, 9, 12, 20], "ON_TIME", 0, True), ("k", 40.0, [40], "ON_TIME", 0, True),
        ]))


def test_groupings_behind_groupings():
    events = stamped(script(), 1, 2, 11).advance_watermark_to(20).advance_watermark_to_infinity()
    with pipeline("--streaming") as p:
        sums = p | events | beam.WindowInto(window.FixedWindows(10)) | "once" >> beam.CombinePerKey(sum)
        assert_that(panes(sums | "twice" >> beam.GroupByKey()), equal_to([
            ("k", 0.0, [3], "ON_TIME", 0, True), ("k", 10.0, [11], "ON_TIME", 0, True),
        ]))


def test_combiners_in_sliding_windows_see_each_element_in_all_of_them():
    events = stamped(script(), 7).advance_watermark_to(9)
    events = stamped(events, 11, 12).advance_watermark_to(16)
    # Late for [0, 10) and [5, 15), and dropped there; on time for [10, 20).
    events = stamped(events, 14).advance_watermark_to_infinity()
    with pipeline("--streaming") as p:
        sums = p | events | beam.WindowInto(window.SlidingWindows(10, 5)) | beam.CombinePerKey(sum)
        assert_that(panes(sums | beam.MapTuple(lambda key, value: (key, [value]))), equal_to([
            ("k", 0.0, [7], "ON_TIME", 0, True), ("k", 5.0, [30], "ON_TIME", 0, True),
            ("k", 10.0, [37], "ON_TIME", 0, True),
        ]))
