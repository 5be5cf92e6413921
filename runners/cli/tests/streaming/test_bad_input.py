"""Streams that ask for what cannot be: each gets what Beam says of it, or an error that names its place. Nothing hangs."""

import apache_beam as beam
import grpc
import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.test_stream_service import TestStreamServiceController
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import trigger, userstate, window
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import Duration, Timestamp

from sources import Count
from support import messages, pipeline, script, stamped, stop, typed


class Backwards(Count):
    """Says that event time went back."""

    def read(self, tracker, estimator):
        at = tracker.current_restriction().start
        if tracker.try_claim(at):
            yield ("k", at)
            estimator.set_watermark(Timestamp(at + 1))
            estimator.set_watermark(Timestamp(at))


def test_a_watermark_that_retreats_is_the_sources_error():
    """Python's estimators refuse it. What an SDK lets through holds nothing back (the engine's `never_goes_back`)."""
    p = pipeline("--streaming")
    p | beam.Impulse() | "Backwards" >> beam.ParDo(Backwards())
    with pytest.raises(RuntimeError, match="(?s)Backwards.*must be monotonically increasing"):
        p.run().wait_until_finish()


class Timers(beam.DoFn):
    """Sets a timer before its element, one behind its window, one at the end of all time, and one for a clock of long ago."""

    PAST = userstate.TimerSpec("past", TimeDomain.WATERMARK)
    BEHIND = userstate.TimerSpec("behind", TimeDomain.WATERMARK)
    NEVER = userstate.TimerSpec("never", TimeDomain.WATERMARK)
    CLOCK = userstate.TimerSpec("clock", TimeDomain.REAL_TIME)

    def process(
            self, pair, past=beam.DoFn.TimerParam(PAST), behind=beam.DoFn.TimerParam(BEHIND),
            never=beam.DoFn.TimerParam(NEVER), clock=beam.DoFn.TimerParam(CLOCK)):
        past.set(Timestamp(-5))
        behind.set(Timestamp(1000))
        never.set(Timestamp(9223372036854))
        clock.set(Timestamp(5))

    @userstate.on_timer(PAST)
    def is_past(self, at=beam.DoFn.TimestampParam):
        yield ("past", float(at))

    @userstate.on_timer(BEHIND)
    def is_behind(self, at=beam.DoFn.TimestampParam):
        yield ("behind", float(at))

    @userstate.on_timer(NEVER)
    def is_never(self, at=beam.DoFn.TimestampParam):
        yield ("never", float(at))

    @userstate.on_timer(CLOCK)
    def is_clock(self):
        yield ("clock",)


def test_timers_out_of_their_window():
    """Those of the past fire at once; those behind the window fire with it, and a message says so."""
    events = stamped(script(), 1).advance_watermark_to_infinity()
    p = pipeline("--streaming")
    fired = p | events | typed() | beam.WindowInto(window.FixedWindows(10)) | beam.ParDo(Timers())
    assert_that(fired, equal_to([("past", -5.0), ("clock",), ("behind", 10.0), ("never", 10.0)]))
    result = p.run()
    result.wait_until_finish()
    told = list(messages(result))
    assert any("`ParDo(Timers)`" in text and "fires when its window expires" in text for text in told), told


class Nowhere(window.NonMergingWindowFn):
    """Assigns no window to odd numbers."""

    def assign(self, context):
        if context.element[1] % 2 == 1:
            return []
        return window.FixedWindows(10).assign(context)

    def get_window_coder(self):
        return window.FixedWindows(10).get_window_coder()


class Remember(beam.DoFn):
    KEPT = userstate.ReadModifyWriteStateSpec("kept", beam.coders.VarIntCoder())

    def process(self, pair, kept=beam.DoFn.StateParam(KEPT)):
        kept.write((kept.read() or 0) + pair[1])
        yield kept.read()


def test_an_element_in_no_window_is_in_no_group_and_no_state():
    """So Beam has it: an element stands for one value in each of its windows."""
    events = stamped(script(), 1, 2, 3).advance_watermark_to_infinity()
    with pipeline("--streaming") as p:
        windowed = p | events | typed() | beam.WindowInto(Nowhere())
        grouped = windowed | beam.GroupByKey() | beam.MapTuple(lambda key, values: list(values))
        assert_that(grouped, equal_to([[2]]), label="grouped")
        assert_that(windowed | beam.Reshuffle() | "again" >> typed() | beam.ParDo(Remember()), equal_to([2]), label="kept")


def test_sliding_windows_with_gaps_between_them():
    """A window function of Beam's own that assigns nothing (apache/beam#36609)."""
    events = stamped(script(), 1, 7, 12).advance_watermark_to_infinity()
    with pipeline("--streaming") as p:
        grouped = p | events | beam.WindowInto(window.SlidingWindows(5, 10)) | beam.GroupByKey()
        assert_that(grouped | beam.MapTuple(lambda key, values: list(values)), equal_to([[1], [12]]))


@pytest.mark.parametrize("windows", [window.FixedWindows(10), window.GlobalWindows()])
def test_a_trigger_that_cannot_finish_loses_nothing(windows):
    """The first of these never comes to its count, and never lets the second begin: what is left is the window's last pane."""
    events = stamped(script(), 1, 2, 3).advance_watermark_to_infinity()
    never = trigger.AfterEach(trigger.Repeatedly(trigger.AfterCount(100)), trigger.AfterCount(1))
    with pipeline("--streaming", "--allow_unsafe_triggers") as p:
        grouped = p | events | beam.WindowInto(
            windows, trigger=never, accumulation_mode=trigger.AccumulationMode.DISCARDING) | beam.GroupByKey()
        assert_that(grouped | beam.MapTuple(lambda key, values: sorted(values)), equal_to([[1, 2, 3]]))


def test_negative_lateness_is_refused_before_the_run():
    p = pipeline("--streaming")
    events = stamped(script(), 1).advance_watermark_to_infinity()
    p | events | "Windows" >> beam.WindowInto(window.FixedWindows(10), allowed_lateness=-5) | beam.GroupByKey()
    with pytest.raises(grpc.RpcError) as refused:
        p.run()
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "allowed_lateness is -5000 ms" in refused.value.details() and "`Windows" in refused.value.details()


class Events:
    """What a TestStreamService tells, in microseconds as Python's own services do."""

    def __init__(self, *events):
        self.events = events

    def read_multiple(self, labels):
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event


def watermark(millis):
    events = beam_runner_api_pb2.TestStreamPayload.Event
    return events(watermark_event=events.AdvanceWatermark(new_watermark=1000 * millis))


def clock(millis):
    events = beam_runner_api_pb2.TestStreamPayload.Event
    return events(processing_time_event=events.AdvanceProcessingTime(advance_duration=1000 * millis))


def element(encoded, timestamp):
    events = beam_runner_api_pb2.TestStreamPayload
    stamped = events.TimestampedElement(encoded_element=encoded, timestamp=timestamp)
    return events.Event(element_event=events.Event.AddElements(elements=[stamped], tag="None"))


@pytest.mark.parametrize("events, says", [
    ([watermark(8000), watermark(7000)], "moves its watermark back, from 8000 to 7000"),
    ([clock(-5)], "moves the clock back, by 5 ms"),
    ([watermark(1), Exception("gone fishing")], "takes its events from the TestStreamService at localhost"),
])
def test_a_script_that_contradicts_itself_or_breaks_off(events, says):
    service = TestStreamServiceController(Events(*events))
    service.start()
    p = pipeline("--streaming")
    coder = beam.coders.TupleCoder([beam.coders.StrUtf8Coder(), beam.coders.VarIntCoder()])
    p | "Script" >> TestStream(coder=coder, endpoint=service.endpoint) | typed() | beam.Map(print)
    with pytest.raises(RuntimeError) as failed:
        p.run().wait_until_finish()
    service.stop()
    assert "Script" in str(failed.value) and says in str(failed.value)


class Written(TestStream):
    """A script that stands in the pipeline as somebody wrote it."""

    def __init__(self, event):
        super().__init__()
        self.event = event

    def to_runner_api_parameter(self, context):
        urn, payload = super().to_runner_api_parameter(context)
        return urn, beam_runner_api_pb2.TestStreamPayload(coder_id=payload.coder_id, events=[self.event])


def test_an_element_outside_of_time():
    p = pipeline("--streaming")
    p | "Script" >> Written(element(b"", 2**63 - 1)) | beam.Map(print)
    with pytest.raises(RuntimeError, match="Script.*an element at 9223372036854775807 ms, which is outside of Beam's range of time"):
        p.run().wait_until_finish()


def test_a_service_that_is_not_there():
    service = TestStreamServiceController(Events())
    p = pipeline("--streaming")
    p | "Script" >> TestStream(endpoint=service.endpoint) | beam.Map(print)
    service.start()
    service.stop()
    with pytest.raises(RuntimeError, match="Script.*takes its events from the TestStreamService.*keep it running"):
        p.run().wait_until_finish()


class Still(Count):
    """Emits, and never says where event time is."""

    def read(self, tracker, estimator):
        at = tracker.current_restriction().start
        if tracker.try_claim(at):
            yield window.TimestampedValue(("k", at), Timestamp(at))
            tracker.defer_remainder(Duration(seconds=10))


def test_a_source_that_never_moves_its_watermark_is_named():
    """The clock is a script's, so that a minute is over at once."""
    p = pipeline("--streaming")
    still = p | beam.Impulse() | "Still" >> beam.ParDo(Still())
    still | beam.WindowInto(window.FixedWindows(5)) | "Sum" >> beam.CombinePerKey(sum) | beam.Map(print)
    events = stamped(script(), 1)
    for _ in range(12):
        events = events.advance_processing_time(10)
    p | "Script" >> events.advance_watermark_to_infinity() | "Hold" >> beam.Map(lambda pair: pair)
    result = p.run()
    told = next(text for text in messages(result) if "has held its watermark" in text)
    assert "Still" in told and "Sum" in told and "watermark estimator" in told, told
    stop(result)
