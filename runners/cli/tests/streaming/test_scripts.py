"""Where the events of a TestStream come from, and how its elements are encoded."""

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.testing.test_stream import ElementEvent, ProcessingTimeEvent, TestStream, WatermarkEvent
from apache_beam.testing.test_stream_service import TestStreamServiceController
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from support import pipeline


class Recorded:
    """What a TestStreamService tells: events whose times are written as Beam's own recordings write them, in microseconds."""

    def __init__(self, script, coder):
        self.events = [self.recorded(event.to_runner_api(coder), event) for event in script._events]

    @staticmethod
    def recorded(event, of):
        if isinstance(of, ElementEvent):
            for element, stamped in zip(event.element_event.elements, of.timestamped_values):
                element.timestamp = stamped.timestamp.micros
        elif isinstance(of, WatermarkEvent):
            event.watermark_event.new_watermark = of.new_watermark.micros
        elif isinstance(of, ProcessingTimeEvent):
            event.processing_time_event.advance_duration = of.advance_by.micros
        return event

    def read_multiple(self, labels):
        yield from self.events


def test_a_service_counts_in_microseconds():
    coder = beam.coders.TupleCoder([beam.coders.StrUtf8Coder(), VarIntCoder()])
    stamped = lambda second: window.TimestampedValue(("k", second), second + 0.25)
    script = TestStream(coder=coder).advance_watermark_to(-3).add_elements([stamped(-2), stamped(1), stamped(12)])
    script = script.advance_watermark_to(20).add_elements([stamped(2)]).advance_processing_time(5).advance_watermark_to_infinity()
    service = TestStreamServiceController(Recorded(script, coder))
    service.start()

    def show(pair, start=beam.DoFn.WindowParam):
        return float(start.start), sorted(pair[1])

    with pipeline("--streaming") as p:
        events = p | TestStream(coder=coder, endpoint=service.endpoint)
        kept = events | beam.Map(lambda pair, at=beam.DoFn.TimestampParam: (pair[1], float(at)))
        assert_that(kept, equal_to([(-2, -1.75), (1, 1.25), (12, 12.25), (2, 2.25)]), label="kept")
        windows = events | beam.WindowInto(window.FixedWindows(10)) | beam.GroupByKey() | beam.Map(show)
        # The last one is late.
        assert_that(windows, equal_to([(-10.0, [-2]), (0.0, [1]), (10.0, [12])]), label="windows")
    service.stop()


class Number(beam.DoFn):
    """Numbers the elements of each key."""

    SEEN = ReadModifyWriteStateSpec("seen", VarIntCoder())

    def process(self, pair, seen=beam.DoFn.StateParam(SEEN)):
        seen.write((seen.read() or 0) + 1)
        yield pair[0], pair[1], seen.read()


def test_pairs_without_a_coder_of_their_own():
    """As Beam's tests write scripts: no coder is named, and the readers have keys."""
    script = TestStream().add_elements([("a", 1), ("b", 2)]).add_elements([("a", 3)]).advance_watermark_to_infinity()
    with pipeline("--streaming") as p:
        events = p | script
        numbered = events | beam.ParDo(Number())
        assert_that(numbered, equal_to([("a", 1, 1), ("b", 2, 1), ("a", 3, 2)]), label="numbered")
        grouped = events | beam.WindowInto(window.FixedWindows(10)) | beam.GroupByKey()
        grouped |= beam.MapTuple(lambda key, values: (key, sorted(values)))
        assert_that(grouped, equal_to([("a", [1, 3]), ("b", [2])]), label="grouped")
