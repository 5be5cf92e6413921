"""State and timers in streams."""

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import userstate
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import Timestamp

from support import pipeline, script, stamped, typed


class Buffer(beam.DoFn):
    """Keeps what comes until a timer at 10."""

    KEPT = userstate.BagStateSpec("kept", VarIntCoder())
    TEN = userstate.TimerSpec("ten", TimeDomain.WATERMARK)

    def process(self, pair, kept=beam.DoFn.StateParam(KEPT), ten=beam.DoFn.TimerParam(TEN)):
        kept.add(pair[1])
        ten.set(Timestamp(10))

    @userstate.on_timer(TEN)
    def at_ten(self, key=beam.DoFn.KeyParam, kept=beam.DoFn.StateParam(KEPT), at=beam.DoFn.TimestampParam):
        values = sorted(kept.read())
        kept.clear()
        yield (key, values, float(at))


def test_event_time_timers_wait_for_the_watermark():
    events = stamped(script(), 1).advance_watermark_to(9)
    events = stamped(events, 9).advance_watermark_to(11)
    events = stamped(events, 12).advance_watermark_to_infinity()
    with pipeline("--streaming") as p:
        assert_that(p | events | typed() | beam.ParDo(Buffer()), equal_to([("k", [1, 9], 10.0), ("k", [12], 10.0)]))


class Loop(beam.DoFn):
    """A timer that sets itself again, ten seconds on, three times."""

    COUNT = userstate.ReadModifyWriteStateSpec("count", VarIntCoder())
    NEXT = userstate.TimerSpec("next", TimeDomain.WATERMARK)

    def process(self, pair, timer=beam.DoFn.TimerParam(NEXT)):
        timer.set(Timestamp(pair[1] + 10))

    @userstate.on_timer(NEXT)
    def again(self, at=beam.DoFn.TimestampParam, count=beam.DoFn.StateParam(COUNT), timer=beam.DoFn.TimerParam(NEXT)):
        count.write((count.read() or 0) + 1)
        if count.read() < 3:
            timer.set(at + 10)
        yield float(at)


def test_looping_timers():
    with pipeline("--streaming") as p:
        events = stamped(script(), 0).advance_watermark_to(15).advance_watermark_to_infinity()
        assert_that(p | events | typed() | beam.ParDo(Loop()), equal_to([10.0, 20.0, 30.0]))


class Wait(beam.DoFn):
    """Emits two seconds of the clock behind the first element."""

    KEPT = userstate.BagStateSpec("kept", VarIntCoder())
    SOON = userstate.TimerSpec("soon", TimeDomain.REAL_TIME)

    def __init__(self, now=Timestamp.now):
        self.now = now

    def process(self, pair, kept=beam.DoFn.StateParam(KEPT), soon=beam.DoFn.TimerParam(SOON)):
        if not list(kept.read()):
            soon.set(self.now() + 2)
        kept.add(pair[1])

    @userstate.on_timer(SOON)
    def then(self, kept=beam.DoFn.StateParam(KEPT)):
        values = sorted(kept.read())
        kept.clear()
        yield values


def test_timers_of_the_clock_follow_the_script():
    events = stamped(script(), 1).advance_processing_time(1)
    events = stamped(events, 2).advance_processing_time(1)
    events = stamped(events, 3).advance_processing_time(5).advance_watermark_to_infinity()
    with pipeline("--streaming") as p:
        assert_that(p | events | typed() | beam.ParDo(Wait()), equal_to([[1, 2], [3]]))


def test_the_clock_of_a_script_begins_at_the_epoch():
    """Tests that know the script set instants of its own clock; what is over by then fires at once."""
    events = stamped(script(), 1).advance_processing_time(1)
    events = stamped(events, 2).advance_processing_time(1)
    events = stamped(events, 3).advance_watermark_to_infinity()
    with pipeline("--streaming") as p:
        assert_that(p | events | typed() | beam.ParDo(Wait(lambda: Timestamp(0))), equal_to([[1, 2], [3]]))


class Tags(beam.DoFn):
    """A timer per element, by tag; even ones are cleared again."""

    EACH = userstate.TimerSpec("each", TimeDomain.WATERMARK)

    def process(self, pair, each=beam.DoFn.TimerParam(EACH)):
        each.set(Timestamp(pair[1] + 5), dynamic_timer_tag=str(pair[1]))
        if pair[1] % 2 == 0:
            each.clear(dynamic_timer_tag=str(pair[1]))

    @userstate.on_timer(EACH)
    def fired(self, tag=beam.DoFn.DynamicTimerTagParam):
        yield tag


def test_timers_by_tag():
    with pipeline("--streaming") as p:
        events = stamped(script(), 1, 2, 3).advance_watermark_to(20).advance_watermark_to_infinity()
        assert_that(p | events | typed() | beam.ParDo(Tags()), equal_to(["1", "3"]))
