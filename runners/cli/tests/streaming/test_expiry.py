"""State of windows: it is there until they expire, and goes then."""

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import trigger, userstate, window
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import Timestamp

from support import pipeline, script, stamped, typed


def in_windows(lateness=0):
    return beam.WindowInto(
        window.FixedWindows(10), allowed_lateness=lateness, trigger=trigger.AfterWatermark(),
        accumulation_mode=trigger.AccumulationMode.DISCARDING)


def late_drops(result):
    counters = result.metrics().query()["counters"]
    return sum(it.committed for it in counters if it.key.metric.name == "droppedDueToLateness")


class Keep(beam.DoFn):
    """Says of each element what was kept before it, and when its window is over what is left; clears nothing."""

    KEPT = userstate.BagStateSpec("kept", VarIntCoder())
    END = userstate.TimerSpec("end", TimeDomain.WATERMARK)

    def __init__(self, lateness=0):
        self.lateness = lateness

    def process(
            self, pair, kept=beam.DoFn.StateParam(KEPT), end=beam.DoFn.TimerParam(END), of=beam.DoFn.WindowParam):
        yield (str(pair[1]), float(of.start), sorted(kept.read()))
        kept.add(pair[1])
        # The last instant at which a timer of the window may fire.
        end.set(of.end + self.lateness)

    @userstate.on_timer(END)
    def expire(self, kept=beam.DoFn.StateParam(KEPT), of=beam.DoFn.WindowParam):
        yield ("end", float(of.start), sorted(kept.read()))


def test_state_is_there_until_its_window_expires_and_nothing_comes_behind_it():
    events = stamped(script(), 1, 12).advance_watermark_to(12)
    # Behind the end of [0, 10), and not too late for it.
    events = stamped(events, 2).advance_watermark_to(16)
    # Too late.
    events = stamped(events, 3, 17).advance_watermark_to(40)
    events = stamped(events, 4, 18, 41).advance_watermark_to_infinity()
    p = pipeline("--streaming")
    kept = p | events | typed() | in_windows(lateness=5) | beam.ParDo(Keep(lateness=5))
    assert_that(kept, equal_to([
        ("1", 0.0, []), ("12", 10.0, []), ("2", 0.0, [1]), ("end", 0.0, [1, 2]), ("17", 10.0, [12]),
        ("end", 10.0, [12, 17]), ("41", 40.0, []), ("end", 40.0, [41]),
    ]))
    result = p.run()
    result.wait_until_finish()
    assert late_drops(result) == 3


def test_an_element_is_dropped_from_those_of_its_windows_that_are_gone():
    events = stamped(script(), 7).advance_watermark_to(11)
    events = stamped(events, 8).advance_watermark_to_infinity()
    p = pipeline("--streaming")
    sliding = beam.WindowInto(window.SlidingWindows(10, 5))
    kept = p | events | typed() | sliding | beam.ParDo(Keep()) | beam.Filter(lambda it: it[0] == "end")
    assert_that(kept, equal_to([("end", 0.0, [7]), ("end", 5.0, [7, 8])]))
    result = p.run()
    result.wait_until_finish()
    assert late_drops(result) == 1


class Global(beam.DoFn):
    """Counts elements in the global window, which does not expire."""

    COUNT = userstate.ReadModifyWriteStateSpec("count", VarIntCoder())

    def process(self, pair, count=beam.DoFn.StateParam(COUNT)):
        count.write((count.read() or 0) + 1)
        yield count.read()


def test_state_of_the_global_window_stays():
    events = stamped(script(), 1).advance_watermark_to(1_000_000)
    events = stamped(events, 2).advance_watermark_to_infinity()
    p = pipeline("--streaming")
    assert_that(p | events | typed() | beam.ParDo(Global()), equal_to([1, 2]))
    result = p.run()
    result.wait_until_finish()
    assert late_drops(result) == 0


class Clock(beam.DoFn):
    """A timer of the clock, an hour on, that sets itself again."""

    KEPT = userstate.BagStateSpec("kept", VarIntCoder())
    LATER = userstate.TimerSpec("later", TimeDomain.REAL_TIME)
    END = userstate.TimerSpec("end", TimeDomain.WATERMARK)

    def process(self, pair, kept=beam.DoFn.StateParam(KEPT), later=beam.DoFn.TimerParam(LATER),
                end=beam.DoFn.TimerParam(END), of=beam.DoFn.WindowParam):
        kept.add(pair[1])
        later.set(Timestamp.now() + 3600)
        end.set(of.end)

    @userstate.on_timer(LATER)
    def on_time(self, kept=beam.DoFn.StateParam(KEPT), later=beam.DoFn.TimerParam(LATER)):
        later.set(Timestamp.now() + 3600)
        yield ("timer", sorted(kept.read()))

    @userstate.on_timer(END)
    def expire(self, kept=beam.DoFn.StateParam(KEPT)):
        yield ("end", sorted(kept.read()))
        kept.clear()


def test_timers_of_the_clock_fire_before_the_state_of_their_window_goes():
    events = stamped(script(), 1).advance_watermark_to(20)
    events = stamped(events, 21).advance_watermark_to(40).advance_watermark_to_infinity()
    with pipeline("--streaming") as p:
        fired = p | events | typed() | in_windows() | beam.ParDo(Clock())
        assert_that(fired, equal_to([("timer", [1]), ("end", [1]), ("timer", [21]), ("end", [21])]))


def test_bounded_input_is_never_late():
    p = pipeline()
    # Behind the grouping everything is at the end of time, and goes back from there.
    grouped = p | beam.Create([("k", 1), ("k", 12)]) | beam.GroupByKey() | beam.FlatMapTuple(
        lambda key, values: [window.TimestampedValue((key, value), value) for value in values])
    kept = grouped | beam.Reshuffle() | typed() | in_windows() | beam.ParDo(Keep())
    assert_that(kept, equal_to([("1", 0.0, []), ("end", 0.0, [1]), ("12", 10.0, []), ("end", 10.0, [12])]))
    result = p.run()
    result.wait_until_finish()
    assert late_drops(result) == 0
