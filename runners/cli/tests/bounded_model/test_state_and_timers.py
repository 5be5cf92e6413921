"""State and timers, to the end of the input."""

import typing

import apache_beam as beam
import pytest
from apache_beam.coders import coders
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import userstate, window
from apache_beam.utils.timestamp import Timestamp

from support import pipeline


class EveryState(beam.DoFn):
    VALUE = userstate.ReadModifyWriteStateSpec("value", coders.VarIntCoder())
    BAG = userstate.BagStateSpec("bag", coders.VarIntCoder())
    SET = userstate.SetStateSpec("set", coders.VarIntCoder())
    SUM = userstate.CombiningValueStateSpec("sum", sum)
    LIST = userstate.OrderedListStateSpec("list", coders.VarIntCoder())
    END = userstate.TimerSpec("end", userstate.TimeDomain.WATERMARK)

    def process(
        self, element, value=beam.DoFn.StateParam(VALUE), bag=beam.DoFn.StateParam(BAG), seen=beam.DoFn.StateParam(SET),
        total=beam.DoFn.StateParam(SUM), ordered=beam.DoFn.StateParam(LIST), end=beam.DoFn.TimerParam(END)):
        _, number = element
        value.write((value.read() or 0) + 1)
        bag.add(number)
        seen.add(number % 3)
        total.add(number)
        ordered.add((Timestamp(100 - number), number))
        if number == 4:
            ordered.clear_range(Timestamp(97), Timestamp(99))
        end.set(window.GlobalWindow().max_timestamp())

    @userstate.on_timer(END)
    def on_end(
        self, key=beam.DoFn.KeyParam, value=beam.DoFn.StateParam(VALUE), bag=beam.DoFn.StateParam(BAG),
        seen=beam.DoFn.StateParam(SET), total=beam.DoFn.StateParam(SUM), ordered=beam.DoFn.StateParam(LIST)):
        yield key, value.read(), sorted(bag.read()), sorted(seen.read()), total.read(), [n for _, n in ordered.read()]
        bag.clear()
        assert list(bag.read()) == []


def test_state_of_every_kind():
    with pipeline() as p:
        numbers = p | beam.Create([("k", [0, 1, 2, 3, 4, 5]), ("l", [7])]) | beam.FlatMapTuple(
            lambda key, values: [(key, value) for value in values])
        # One DoFn after another in one bundle, so that the order of a key's elements is the order in which they were made.
        found = numbers | beam.Reshuffle() | beam.GroupByKey() | beam.FlatMapTuple(
            lambda key, values: [(key, value) for value in sorted(values)]) | beam.ParDo(EveryState())
        assert_that(found, equal_to([("k", 6, [0, 1, 2, 3, 4, 5], [0, 1, 2], 15, [5, 4, 1, 0]), ("l", 1, [7], [1], 7, [7])]))


class Counts(beam.DoFn):
    COUNT = userstate.CombiningValueStateSpec("count", beam.combiners.CountCombineFn())

    def process(self, element, count=beam.DoFn.StateParam(COUNT)):
        count.add(1)
        yield element[0], count.read()


def test_state_is_per_key_and_window():
    with pipeline() as p:
        counted = p | beam.Create([(key, second) for key in "ab" for second in (1, 2, 11)]) | beam.MapTuple(
            lambda key, second: window.TimestampedValue((key, second), second)) | beam.WindowInto(window.FixedWindows(10)) | (
            beam.ParDo(Counts()))
        assert_that(counted, equal_to([(key, n) for key in "ab" for n in (1, 2, 1)]))


class Timers(beam.DoFn):
    FIRST = userstate.TimerSpec("first", userstate.TimeDomain.WATERMARK)
    LOOP = userstate.TimerSpec("loop", userstate.TimeDomain.WATERMARK)
    OFF = userstate.TimerSpec("off", userstate.TimeDomain.WATERMARK)
    TAGGED = userstate.TimerSpec("tagged", userstate.TimeDomain.WATERMARK)

    def process(
        self, element, first=beam.DoFn.TimerParam(FIRST), loop=beam.DoFn.TimerParam(LOOP), off=beam.DoFn.TimerParam(OFF),
        tagged=beam.DoFn.TimerParam(TAGGED)):
        first.set(Timestamp(99))
        first.set(Timestamp(5))  # The later call counts.
        loop.set(Timestamp(10))
        off.set(Timestamp(7))
        off.clear()
        for tag in "xy":
            tagged.set(Timestamp(20), dynamic_timer_tag=tag)
        yield "element"

    @userstate.on_timer(FIRST)
    def on_first(self, at=beam.DoFn.TimestampParam, key=beam.DoFn.KeyParam):
        yield key, "first", float(at)

    @userstate.on_timer(OFF)
    def on_off(self):
        yield "never"

    @userstate.on_timer(LOOP)
    def on_loop(self, at=beam.DoFn.TimestampParam, loop=beam.DoFn.TimerParam(LOOP)):
        yield "loop", float(at)
        if at < 30:
            loop.set(at + 10)

    @userstate.on_timer(TAGGED)
    def on_tagged(self, tag=beam.DoFn.DynamicTimerTagParam, at=beam.DoFn.TimestampParam):
        yield "tagged", tag, float(at)


def test_event_time_timers():
    with pipeline() as p:
        fired = p | beam.Create([window.TimestampedValue(("k", 1), 0)]) | beam.Map(lambda x: window.TimestampedValue(x, 0)) | (
            beam.ParDo(Timers()).with_output_types(typing.Any))
        assert_that(fired, equal_to([
            "element", ("k", "first", 5.0), ("loop", 10.0), ("loop", 20.0), ("loop", 30.0), ("tagged", "x", 20.0),
            ("tagged", "y", 20.0),
        ]))


class AtTheEnd(beam.DoFn):
    """Python's way to say "with the window": a timer for the instant behind its last."""
    BAG = userstate.BagStateSpec("bag", coders.VarIntCoder())
    END = userstate.TimerSpec("end", userstate.TimeDomain.WATERMARK)
    LATER = userstate.TimerSpec("later", userstate.TimeDomain.WATERMARK)

    def process(
        self, element, of=beam.DoFn.WindowParam, bag=beam.DoFn.StateParam(BAG), end=beam.DoFn.TimerParam(END),
        later=beam.DoFn.TimerParam(LATER)):
        bag.add(element[1])
        end.set(of.end)
        later.set(of.end + 3600)

    @userstate.on_timer(END)
    def on_end(self, key=beam.DoFn.KeyParam, of=beam.DoFn.WindowParam, bag=beam.DoFn.StateParam(BAG), at=beam.DoFn.TimestampParam):
        yield "end", key, sorted(bag.read()), float(of.start), float(at)

    @userstate.on_timer(LATER)
    def on_later(self, key=beam.DoFn.KeyParam, of=beam.DoFn.WindowParam, at=beam.DoFn.TimestampParam):
        yield "later", key, float(of.start), float(at)


def test_timers_fire_with_their_window_at_the_latest():
    with pipeline() as p:
        fired = p | beam.Create([1, 2, 12]) | beam.Map(lambda second: window.TimestampedValue(("k", second), second)) | (
            beam.WindowInto(window.FixedWindows(10))) | beam.ParDo(AtTheEnd()).with_output_types(typing.Any)
        assert_that(fired, equal_to([
            ("end", "k", [1, 2], 0.0, 10.0), ("end", "k", [12], 10.0, 20.0), ("later", "k", 0.0, 10.0), ("later", "k", 10.0, 20.0),
        ]))


class Once(beam.DoFn):
    SEEN = userstate.ReadModifyWriteStateSpec("seen", coders.VarIntCoder())

    def process(self, element, seen=beam.DoFn.StateParam(SEEN)):
        if seen.read() is None:
            seen.write(1)
            yield element


class Sums(beam.DoFn):
    TOTAL = userstate.CombiningValueStateSpec("total", sum)
    END = userstate.TimerSpec("end", userstate.TimeDomain.WATERMARK)

    def process(
        self, element, of=beam.DoFn.WindowParam, total=beam.DoFn.StateParam(TOTAL), end=beam.DoFn.TimerParam(END)):
        total.add(element[1])
        end.set(of.end)

    @userstate.on_timer(END)
    def on_end(self, key=beam.DoFn.KeyParam, total=beam.DoFn.StateParam(TOTAL), at=beam.DoFn.TimestampParam):
        yield key, total.read(), float(at)


def test_state_in_windows_that_merge_is_refused():
    p = pipeline()
    _ = p | beam.Create([("k", 1)]) | beam.WindowInto(window.Sessions(10)) | "First of a session" >> beam.ParDo(Once())
    with pytest.raises(Exception, match="First of a session") as caught:
        p.run()
    assert "in windows that do not merge" in str(caught.value), caught.value


def test_state_behind_windows_that_have_merged():
    with pipeline() as p:
        seen = p | beam.Create([1, 2, 30]) | beam.Map(lambda second: window.TimestampedValue(("k", second), second)) | (
            beam.WindowInto(window.Sessions(10))) | beam.GroupByKey() | beam.MapTuple(lambda key, values: (key, sorted(values))) | (
            beam.ParDo(Once()))
        assert_that(seen, equal_to([("k", [1, 2]), ("k", [30])]), "state")
        totals = seen | beam.MapTuple(lambda key, values: (key, sum(values))) | beam.ParDo(Sums())
        assert_that(totals, equal_to([("k", 3, 12.0), ("k", 30, 40.0)]), "timers")
