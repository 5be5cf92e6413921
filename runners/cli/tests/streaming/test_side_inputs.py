"""Side inputs of streams: when a window of one is ready, and which contents a bundle sees."""

import apache_beam as beam
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms import window

from support import SEEN, pipeline, show


def script():
    """A script that feeds a main input, a side input, and marks that tell how far it is."""
    return Script(TestStream(coder=beam.coders.StrUtf8Coder(), output_tags={"main", "side", "marks"}))


class Script:
    """Plays its events one by one: each when nothing else can happen, so that a mark stands behind all that went before."""

    def __init__(self, events):
        self.events = events

    def main(self, *stamped):
        return self._elements("main", stamped)

    def side(self, *stamped):
        return self._elements("side", stamped)

    def mark(self, text):
        return self._elements("marks", [(text, 0)])

    def _elements(self, tag, stamped):
        values = [window.TimestampedValue(value, at) for value, at in stamped]
        return Script(self.events.add_elements(values, tag=tag))

    def watermark(self, tag, to):
        return Script(self.events.advance_watermark_to(to, tag=tag))

    def clock(self, by):
        return Script(self.events.advance_processing_time(by))

    def end(self):
        events = self.events
        for tag in ["marks", "side", "main"]:
            events = events.advance_watermark_to_infinity(tag=tag)
        return events


def play(test, events, into, read):
    """Runs a script; tells marks, and what each element of the main input has read, in the order in which it happened."""
    SEEN.pop(test, None)

    def note(value):
        show(test, value)

    with pipeline("--streaming", "--allow_unsafe_triggers") as p:
        streams = p | events.end()
        streams["marks"] | "Mark" >> beam.Map(note)
        read(streams["main"], into(streams["side"])) | "Note" >> beam.Map(note)
    return SEEN[test]


def sorted_text(value, side):
    return f"{value}: {' '.join(sorted(side))}"


def as_iter(main_windows):
    def read(main, side):
        return main | "Main" >> beam.WindowInto(main_windows) | beam.Map(sorted_text, side=beam.pvalue.AsIter(side))
    return read


def test_each_window_waits_for_its_own():
    events = script().main(("early", 3), ("next", 13)).side(("a", 1)).mark("nothing is ready").side(("b", 9))
    events = events.watermark("side", 10).mark("the first is").side(("c", 11)).watermark("side", 19)
    events = events.mark("the second is not").watermark("side", 20).mark("now it is").main(("again", 4))
    fixed = window.FixedWindows(10)
    seen = play("each", events, lambda side: side | beam.WindowInto(fixed), as_iter(fixed))
    assert seen == [
        "nothing is ready", "early: a b", "the first is", "the second is not", "next: c", "now it is", "again: a b",
    ]


def test_an_empty_window_is_ready_when_it_is_over():
    events = script().main(("first", 3)).mark("not yet").watermark("side", 10).mark("over")
    fixed = window.FixedWindows(10)
    seen = play("empty", events, lambda side: side | beam.WindowInto(fixed), lambda main, side: (
        main | "Main" >> beam.WindowInto(fixed) | beam.Map(
            lambda value, side: f"{value}: {side}", side=beam.pvalue.AsSingleton(side, default_value="none"))))
    assert seen == ["not yet", "first: none", "over"]


def test_smaller_windows_read_the_larger_one_that_they_end_in():
    events = script().main(("x", 3), ("y", 8), ("z", 12)).side(("a", 1), ("b", 15)).watermark("side", 10).mark("ten")
    events = events.watermark("side", 20).mark("twenty")
    seen = play(
        "larger", events, lambda side: side | beam.WindowInto(window.FixedWindows(10)), as_iter(window.FixedWindows(5)))
    assert sorted(seen[:2]) + seen[2:] == ["x: a", "y: a", "ten", "z: b", "twenty"]


def test_of_sliding_windows_the_earliest_is_read():
    # The main window ends at 10: [5, 15), [0, 10) contain its last instant.
    events = script().main(("x", 7)).side(("a", 1), ("b", 7), ("c", 12)).watermark("side", 9).mark("nine")
    events = events.watermark("side", 10).mark("ten")
    seen = play(
        "sliding", events, lambda side: side | beam.WindowInto(window.SlidingWindows(10, 5)),
        as_iter(window.FixedWindows(5)))
    assert seen == ["nine", "x: a b", "ten"]


def test_a_global_side_input_without_a_trigger_waits_for_its_end():
    events = script().main(("x", 3)).side(("a", 1)).watermark("side", 1000).mark("still waiting")
    seen = play("global", events, lambda side: side, as_iter(window.FixedWindows(10)))
    assert seen == ["still waiting", "x: a"]
