"""Side inputs of streams: when a window of one is ready, and which contents a bundle sees (docs/guide/side-inputs.md)."""

import apache_beam as beam
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms import trigger, window

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
    test = f"side inputs: {test}"
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


def test_what_comes_too_late_does_not_change_what_was_read():
    events = script().side(("a", 1)).watermark("side", 10).main(("x", 3)).side(("late", 2)).main(("y", 4)).mark("end")
    fixed = window.FixedWindows(10)
    seen = play("late", events, lambda side: side | beam.WindowInto(fixed), as_iter(fixed))
    assert seen == ["x: a", "y: a", "end"]


def test_a_global_side_input_without_a_trigger_waits_for_its_end():
    events = script().main(("x", 3)).side(("a", 1)).watermark("side", 1000).mark("still waiting")
    seen = play("global", events, lambda side: side, as_iter(window.FixedWindows(10)))
    assert seen == ["still waiting", "x: a"]


def refreshed(fires, mode=trigger.AccumulationMode.DISCARDING, windows=window.GlobalWindows(), **more):
    return beam.WindowInto(windows, trigger=fires, accumulation_mode=mode, **more)


def read_one(main, side):
    return main | beam.Map(lambda value, one: f"{value}: {one}", one=beam.pvalue.AsSingleton(side))


def test_each_firing_replaces_the_one_before():
    events = script().main(("x", 3)).watermark("side", 50).mark("nothing has fired").side(("a", 1)).mark("a has")
    events = events.main(("y", 4)).side(("b", 60)).mark("b has").main(("z", 5), ("late", 1))
    seen = play("again", events, lambda side: side | refreshed(trigger.Repeatedly(trigger.AfterCount(1))), read_one)
    assert seen[:5] == ["nothing has fired", "x: a", "a has", "y: a", "b has"]
    assert sorted(seen[5:]) == ["late: b", "z: b"]


def test_of_elements_that_come_together_the_last_firing_counts():
    events = script().side(("a", 1), ("b", 1), ("c", 1)).main(("x", 3))
    fires = trigger.Repeatedly(trigger.AfterCount(1))
    assert play("together", events, lambda side: side | refreshed(fires), read_one) == ["x: c"]


def pairs(side):
    def pair(text) -> tuple[str, str]:
        key, value = text.split("=")
        return key, value
    return side | beam.Map(pair)


def read_dict(main, side):
    def show_all(value, rates):
        return f"{value}: " + " ".join(f"{key}={rates[key]}" for key in sorted(rates))
    return main | beam.Map(show_all, rates=beam.pvalue.AsDict(side))


def test_a_firing_by_the_clock_replaces_a_whole_map():
    events = script().main(("x", 3)).side(("a=1", 1), ("b=2", 1)).clock(4).mark("not yet").clock(1).mark("fired")
    events = events.side(("a=3", 1)).clock(4).main(("y", 3)).clock(1).main(("z", 3))
    by_clock = trigger.Repeatedly(trigger.AfterProcessingTime(5))
    seen = play("map", events, lambda side: pairs(side) | refreshed(by_clock), read_dict)
    assert seen == ["not yet", "x: a=1 b=2", "fired", "y: a=1 b=2", "z: a=3"]


def test_what_accumulates_stays():
    events = script().side(("a", 1)).side(("b", 1)).main(("x", 3)).side(("c", 1)).main(("y", 3))
    fires = trigger.Repeatedly(trigger.AfterCount(2))
    seen = play(
        "accumulates", events,
        lambda side: side | refreshed(fires, trigger.AccumulationMode.ACCUMULATING), as_iter(window.FixedWindows(10)))
    assert seen == ["x: a b", "y: a b"]


def test_lookups_by_key_see_the_latest_pane():
    def read(main, side):
        def look(value, table):
            return f"{value}: {' '.join(sorted(table[value]))}"
        return main | beam.Map(look, table=beam.pvalue.AsMultiMap(side))
    events = script().side(("k=1", 1), ("k=2", 1), ("j=5", 1)).clock(5).main(("k", 3)).main(("j", 3))
    events = events.side(("k=3", 1)).clock(5).main(("k", 4)).main(("j", 4))
    fires = trigger.Repeatedly(trigger.AfterProcessingTime(5))
    seen = play("lookups", events, lambda side: pairs(side) | refreshed(fires), read)
    assert seen == ["k: 1 2", "j: 5", "k: 3", "j: "]


def test_late_data_refreshes_a_window_that_was_read():
    events = script().side(("a", 1)).main(("x", 3)).mark("open").watermark("side", 10).mark("over")
    events = events.side(("late", 2)).main(("y", 4)).watermark("side", 25).side(("too late", 3)).main(("z", 5))
    fixed = window.FixedWindows(10)
    into = refreshed(
        trigger.DefaultTrigger(), trigger.AccumulationMode.ACCUMULATING, window.FixedWindows(10), allowed_lateness=10)
    seen = play("corrected", events, lambda side: side | into, as_iter(fixed))
    assert seen == ["open", "x: a", "over", "y: a late", "z: a late"]


def test_early_panes_of_fixed_windows():
    events = script().main(("x", 3), ("next", 13)).side(("a", 1)).mark("early").side(("b", 2)).main(("y", 4))
    events = events.watermark("side", 20).mark("over")
    fixed = window.FixedWindows(10)
    into = refreshed(
        trigger.AfterWatermark(early=trigger.AfterCount(1)), trigger.AccumulationMode.ACCUMULATING, fixed)
    seen = play("early", events, lambda side: side | into, as_iter(fixed))
    assert seen == ["x: a", "early", "y: a b", "next: ", "over"]


def test_a_running_total_that_is_read_as_one_value():
    """What is read discards, though what is combined accumulates: else the view would hold all totals so far."""
    fires = trigger.Repeatedly(trigger.AfterCount(1))

    def total(side):
        totals = side | beam.Map(int) | "Sum up" >> refreshed(fires, trigger.AccumulationMode.ACCUMULATING)
        return totals | beam.CombineGlobally(sum).without_defaults() | "Latest" >> refreshed(fires)

    events = script().side(("1", 1)).main(("x", 3)).side(("2", 1)).main(("y", 3)).side(("4", 1)).main(("z", 3))
    assert play("combined", events, total, read_one) == ["x: 1", "y: 3", "z: 7"]
