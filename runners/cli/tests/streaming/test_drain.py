"""Draining: a job takes no more input, ends with what it has, and says what that was.

The first four are named after the tests of Beam's that `PortableRunnerTest` leaves out, and show the same.
"""

import time

import apache_beam as beam
import pytest
from apache_beam.coders import StrUtf8Coder, VarIntCoder
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms import core, trigger, userstate, window
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import PaneInfoTiming

from sources import Count
from support import SEEN, gate, hold, messages, pipeline, service, show, shown

DRAINED = "DRAINED"


def drain(result):
    service().Drain(beam_job_api_pb2.DrainJobRequest(job_id=result._job_id))


def end(result, state=DRAINED):
    # Python's client raises whatever is not DONE.
    with pytest.raises(RuntimeError, match=state):
        result.wait_until_finish()


def drained_before_the_restrictions_begin(name, elements, do_fn):
    """What a splittable DoFn emits whose elements come when the job is drained already."""
    p = pipeline()
    p | beam.Create(elements) | beam.Map(hold(name)) | beam.ParDo(do_fn) | beam.Map(lambda what: show(name, what))
    result = p.run()
    shown(name + " begun", 1)
    drain(result)
    gate(name).set()
    end(result)
    return SEEN.get(name, [])


class Endless(OffsetRestrictionTracker):
    def is_bounded(self):
        return False


class Ranges(core.RestrictionProvider):
    TRACKER = OffsetRestrictionTracker

    def initial_restriction(self, element):
        return OffsetRange(0, element)

    def create_tracker(self, restriction):
        return self.TRACKER(restriction)

    def split(self, element, restriction):
        return [restriction]

    def restriction_size(self, element, restriction):
        return restriction.size()


class EndlessRanges(Ranges):
    TRACKER = Endless


class HalfRanges(Ranges):
    def truncate(self, element, restriction):
        return OffsetRange(restriction.start, restriction.stop // 2)


def counts(provider):
    class Simple(beam.DoFn):
        def process(self, element, tracker=beam.DoFn.RestrictionParam(provider)):
            at = tracker.current_restriction().start
            while tracker.try_claim(at):
                yield at
                at += 1
    return Simple()


def test_sdf_default_truncate_when_bounded():
    seen = drained_before_the_restrictions_begin("bounded", [10], counts(Ranges()))
    assert sorted(seen) == list(range(10))


def test_sdf_default_truncate_when_unbounded():
    assert drained_before_the_restrictions_begin("unbounded", [10], counts(EndlessRanges())) == []


def test_sdf_with_truncate():
    seen = drained_before_the_restrictions_begin("truncated", [10], counts(HalfRanges()))
    assert sorted(seen) == list(range(5))


class Letters(Ranges):
    def initial_restriction(self, element):
        return OffsetRange(0, len(element))


class Spell(beam.DoFn):
    def process(self, element, tracker=beam.DoFn.RestrictionParam(Letters())):
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            yield element[at]
            if at % 2 == 1:
                tracker.defer_remainder()
                return
            at += 1


def test_draining_sdf_with_sdf_initiated_checkpointing():
    data = ["abc", "defghijklmno", "pqrstuv", "wxyz"]
    seen = drained_before_the_restrictions_begin("spelled", data, Spell())
    assert sorted(seen) == list("abcdefghijklmnopqrstuvwxyz")


class Patient(Count):
    """Never gives up by itself: it goes on until it is asked to check-point itself."""

    def read(self, tracker, estimator):
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            yield window.TimestampedValue(("k", at), Timestamp(at / 1000))
            estimator.set_watermark(Timestamp(at / 1000))
            at += 1
            time.sleep(0.0001)


@pytest.mark.parametrize("source", [Count, Patient])
def test_what_a_source_has_read_is_flushed(source):
    name = "flushed " + source.__name__
    p = pipeline("--streaming")
    numbers = p | beam.Impulse() | beam.ParDo(source())
    numbers | "read" >> beam.Map(lambda pair: show(name + " read", pair[1]))
    sums = numbers | beam.WindowInto(window.FixedWindows(3)) | beam.CombinePerKey(sum)

    def pane(pair, of=beam.DoFn.WindowParam, pane=beam.DoFn.PaneInfoParam):
        show(name, (float(of.start), pair[1], PaneInfoTiming.to_string(pane.timing), pane.is_last))
    sums | "fired" >> beam.Map(pane)
    result = p.run()
    assert len(shown(name, 2)) >= 2
    drain(result)
    end(result)
    fired = SEEN[name]
    # No window fires twice, none early, and nothing that was read is missing: the last window is cut short.
    assert len({start for start, *_ in fired}) == len(fired)
    assert {(timing, last) for _, _, timing, last in fired} == {("ON_TIME", True)}
    assert sum(total for _, total, *_ in fired) == sum(SEEN[name + " read"])
    told = [text for text in messages(result) if "has been drained" in text]
    assert len(told) == 1 and "of 1 restrictions that were truncated, 1 ended there" in told[0], told


class Remind(beam.DoFn):
    """Sets the same timers again and again, and one for the end of its window."""

    KEPT = userstate.BagStateSpec("kept", VarIntCoder())
    AGAIN = userstate.TimerSpec("again", TimeDomain.WATERMARK)
    CLOCK = userstate.TimerSpec("clock", TimeDomain.REAL_TIME)
    LAST = userstate.TimerSpec("last", TimeDomain.WATERMARK)

    def __init__(self, name):
        self.name = name

    def process(
            self, pair, at=beam.DoFn.TimestampParam, of=beam.DoFn.WindowParam, kept=beam.DoFn.StateParam(KEPT),
            again=beam.DoFn.TimerParam(AGAIN), clock=beam.DoFn.TimerParam(CLOCK), last=beam.DoFn.TimerParam(LAST)):
        kept.add(1)
        again.set(at + 1)
        clock.set(Timestamp.now() + 1)
        last.set(of.max_timestamp())

    @userstate.on_timer(AGAIN)
    def remind(self, at=beam.DoFn.TimestampParam, again=beam.DoFn.TimerParam(AGAIN)):
        again.set(at + 1)

    @userstate.on_timer(CLOCK)
    def look(self, clock=beam.DoFn.TimerParam(CLOCK)):
        clock.set(Timestamp.now() + 1)

    @userstate.on_timer(LAST)
    def expire(self, kept=beam.DoFn.StateParam(KEPT)):
        show(self.name + " expired", len(list(kept.read())))


def test_windows_end_and_looping_timers_do():
    p = pipeline("--streaming")
    numbers = p | beam.Impulse() | beam.ParDo(Count())
    numbers | "read" >> beam.Map(lambda pair: show("expiring", pair[1]))
    typed = numbers | beam.Map(lambda pair: pair).with_output_types(tuple[str, int])
    typed | beam.ParDo(Remind("expiring"))
    result = p.run()
    assert len(shown("expiring", 3)) >= 3
    drain(result)
    end(result)
    assert SEEN["expiring expired"] == [len(SEEN["expiring"])]


class Later(beam.DoFn):
    """Sets timers of the clock for hours ahead, and again as they fire, if it is to; says what fires, with what it has kept."""

    KEPT = userstate.BagStateSpec("kept", VarIntCoder())
    LATER = userstate.TimerSpec("later", TimeDomain.REAL_TIME)
    LAST = userstate.TimerSpec("last", TimeDomain.REAL_TIME)
    END = userstate.TimerSpec("end", TimeDomain.WATERMARK)

    def __init__(self, name, sets=()):
        self.name = name
        self.sets = dict(sets)

    def process(
            self, pair, of=beam.DoFn.WindowParam, kept=beam.DoFn.StateParam(KEPT),
            later=beam.DoFn.TimerParam(LATER), last=beam.DoFn.TimerParam(LAST), over=beam.DoFn.TimerParam(END)):
        kept.add(1)
        over.set(of.max_timestamp())
        last.set(Timestamp.now() + 7200)
        later.set(Timestamp.now() + 3600)
        show(self.name + " kept", 1)

    def fire(self, name, kept, later, last):
        show(self.name, (name, len(list(kept.read()))))
        if name in self.sets:
            {"later": later, "last": last}[self.sets[name]].set(Timestamp.now() + 3600)

    @userstate.on_timer(LATER)
    def on_later(
            self, kept=beam.DoFn.StateParam(KEPT), later=beam.DoFn.TimerParam(LATER),
            last=beam.DoFn.TimerParam(LAST)):
        self.fire("later", kept, later, last)

    @userstate.on_timer(LAST)
    def on_last(
            self, kept=beam.DoFn.StateParam(KEPT), later=beam.DoFn.TimerParam(LATER),
            last=beam.DoFn.TimerParam(LAST)):
        self.fire("last", kept, later, last)

    @userstate.on_timer(END)
    def expire(self, kept=beam.DoFn.StateParam(KEPT)):
        show(self.name, ("expired", len(list(kept.read()))))


@pytest.mark.parametrize("windows", [window.GlobalWindows(), window.FixedWindows(10 ** 9)])
@pytest.mark.parametrize("sets, looping", [
    ({}, 0),
    ({"later": "later", "last": "last"}, 1),
    ({"later": "last", "last": "later"}, 1),
], ids=["once", "again", "in turn"])
def test_the_clock_is_not_waited_for(windows, sets, looping):
    name = f"later {type(windows)} {sets}"
    p = pipeline("--streaming")
    numbers = p | beam.Impulse() | beam.ParDo(Count()) | beam.WindowInto(windows)
    typed = numbers | beam.Map(lambda pair: pair).with_output_types(tuple[str, int])
    typed | beam.ParDo(Later(name, sets))
    result = p.run()
    shown(name + " kept", 3)
    drain(result)
    end(result)
    kept = len(SEEN[name + " kept"])
    # In the order of their instants, with what is kept, and before the end of their window; each of them once.
    assert SEEN[name] == [("later", kept), ("last", kept), ("expired", kept)]
    assert len([text for text in messages(result) if "will not fire again" in text]) == looping


def test_panes_do_not_wait_for_the_clock():
    p = pipeline("--streaming")
    numbers = p | beam.Impulse() | beam.ParDo(Count())
    numbers | "read" >> beam.Map(lambda pair: show("delayed read", pair[1]))
    delayed = numbers | beam.WindowInto(
        window.GlobalWindows(), trigger=trigger.Repeatedly(trigger.AfterProcessingTime(3600)),
        accumulation_mode=trigger.AccumulationMode.DISCARDING)
    delayed | beam.CombinePerKey(sum) | "fired" >> beam.Map(lambda pair: show("delayed", pair[1]))
    result = p.run()
    shown("delayed read", 3)
    drain(result)
    end(result)
    assert SEEN["delayed"] == [sum(SEEN["delayed read"])]


def test_the_clock_of_a_script_is_not_waited_for():
    script = TestStream(coder=beam.coders.TupleCoder([StrUtf8Coder(), VarIntCoder()]))
    script = script.add_elements([window.TimestampedValue(("k", 1), 1)]).advance_watermark_to_infinity()
    p = pipeline("--streaming")
    held = p | script | beam.Map(hold("standing")).with_output_types(tuple[str, int])
    held | beam.ParDo(Later("standing", {"later": "last", "last": "later"}))
    result = p.run()
    shown("standing begun", 1)
    drain(result)
    gate("standing").set()
    end(result)
    assert SEEN["standing"] == [("later", 1), ("last", 1), ("expired", 1)]


def test_a_script_ends_where_it_is():
    script = TestStream(coder=beam.coders.TupleCoder([StrUtf8Coder(), VarIntCoder()]))
    script = script.add_elements([window.TimestampedValue(("k", 1), 1)]).advance_watermark_to(5)
    script = script.add_elements([window.TimestampedValue(("k", 2), 6)]).advance_watermark_to_infinity()
    p = pipeline("--streaming")
    held = p | script | beam.Map(hold("scripted"))
    sums = held | beam.WindowInto(window.FixedWindows(10)) | beam.CombinePerKey(sum)
    sums | beam.Map(lambda pair: show("scripted", pair[1]))
    result = p.run()
    shown("scripted begun", 1)
    drain(result)
    gate("scripted").set()
    end(result)
    assert SEEN["scripted"] == [1]


def test_a_drain_that_takes_too_long_can_be_cancelled():
    p = pipeline("--streaming")
    p | beam.Impulse() | beam.Map(hold("hanging")) | beam.ParDo(Count())
    result = p.run()
    shown("hanging begun", 1)
    drain(result)
    result.cancel()
    # Its user code hangs, and would for as long as this test lasts: it is not waited for, and the worker is free for others.
    end(result, "CANCELLED")
    with pipeline() as other:
        other | beam.Create([1]) | beam.Map(lambda number: show("other", number))
    assert SEEN["other"] == [1]
    gate("hanging").set()


def test_a_job_that_has_ended_says_how():
    p = pipeline()
    p | beam.Create([1])
    result = p.run()
    result.wait_until_finish()
    request = beam_job_api_pb2.DrainJobRequest(job_id=result._job_id)
    assert service().Drain(request).state == beam_job_api_pb2.JobState.DONE
