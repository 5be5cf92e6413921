"""Windows and what they do to timestamps."""

import apache_beam as beam
import pytest
from apache_beam.coders import coders
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import trigger, userstate, window
from apache_beam.utils.timestamp import Timestamp

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


def test_flattened_elements_keep_the_windows_that_they_came_in():
    with pipeline() as p:
        tens = stamped(p, [("k", 1), ("k", 12)], "tens") | "by ten" >> beam.WindowInto(window.FixedWindows(10))
        hundreds = stamped(p, [("k", 2)], "hundreds") | "by hundred" >> beam.WindowInto(window.FixedWindows(100))
        grouped = (tens, hundreds) | beam.Flatten() | beam.GroupByKey() | beam.Map(
            lambda pair, of=beam.DoFn.WindowParam: (sorted(pair[1]), float(of.start), float(of.end)))
        assert_that(grouped, equal_to([([1], 0.0, 10.0), ([12], 10.0, 20.0), ([2], 0.0, 100.0)]))


class Named(window.BoundedWindow):
    """A window that no runner knows: a name beside an end."""

    def __init__(self, name, end):
        super().__init__(end)
        self.name = name

    def __eq__(self, other):
        return isinstance(other, Named) and (self.name, self.end) == (other.name, other.end)

    def __hash__(self):
        return hash((self.name, self.end))


class NamedCoder(coders.Coder):
    def encode(self, value):
        return f"{value.name}|{float(value.end)}".encode()

    def decode(self, encoded):
        name, end = encoded.decode().split("|")
        return Named(name, Timestamp(float(end)))

    def is_deterministic(self):
        return True


class ByParity(window.NonMergingWindowFn):
    def assign(self, context):
        second = int(context.timestamp)
        return [Named("odd" if second % 2 else "even", Timestamp(second // 10 * 10 + 10))]

    def get_window_coder(self):
        return NamedCoder()


class PerWindow(beam.DoFn):
    TOTAL = userstate.CombiningValueStateSpec("total", sum)
    END = userstate.TimerSpec("end", userstate.TimeDomain.WATERMARK)

    def process(
        self, element, of=beam.DoFn.WindowParam, total=beam.DoFn.StateParam(TOTAL), end=beam.DoFn.TimerParam(END)):
        total.add(element[1])
        end.set(of.end)

    @userstate.on_timer(END)
    def on_end(self, of=beam.DoFn.WindowParam, total=beam.DoFn.StateParam(TOTAL)):
        yield of.name, float(of.end), total.read()


def test_windows_of_ones_own_in_groups_state_and_side_inputs():
    with pipeline() as p:
        pairs = stamped(p, [("k", n) for n in range(14)]) | beam.WindowInto(ByParity())
        expected = [("even", 10.0, 20), ("odd", 10.0, 25), ("even", 20.0, 22), ("odd", 20.0, 24)]
        summed = pairs | beam.CombinePerKey(sum) | beam.Map(
            lambda pair, of=beam.DoFn.WindowParam: (of.name, float(of.end), pair[1]))
        assert_that(summed, equal_to(expected), "groups")
        assert_that(pairs | beam.Reshuffle() | beam.ParDo(PerWindow()), equal_to(expected), "state")
        beside = pairs | beam.Map(lambda pair, side: (pair[1], len(side)), beam.pvalue.AsList(pairs))
        assert_that(beside, equal_to([(n, 5 if n < 10 else 2) for n in range(14)]), "side inputs")


class Deranged(Parity):
    """Merges into a window that was not there."""

    def merge(self, merge_context):
        merge_context.merge([window.IntervalWindow(77, 78)], window.IntervalWindow(0, 99))


def test_a_merge_of_windows_that_were_not_there_is_an_error():
    p = pipeline()
    _ = stamped(p, [("k", 1), ("k", 2)]) | beam.WindowInto(Deranged()) | "Group them" >> beam.GroupByKey() | beam.Map(repr)
    with pytest.raises(RuntimeError, match="Group them"):
        p.run().wait_until_finish()


@pytest.mark.parametrize("fires", [
    trigger.AfterCount(1), trigger.Repeatedly(trigger.AfterCount(2)), trigger.AfterProcessingTime(5),
    trigger.AfterWatermark(early=trigger.AfterCount(1))])
def test_every_element_comes_once_whatever_the_trigger(fires):
    with pipeline("--allow_unsafe_triggers") as p:
        grouped = stamped(p, [("k", n) for n in range(4)]) | beam.WindowInto(
            window.FixedWindows(10), trigger=fires, accumulation_mode=trigger.AccumulationMode.DISCARDING) | (
            beam.GroupByKey()) | beam.FlatMapTuple(lambda key, values: values)
        assert_that(grouped, equal_to([0, 1, 2, 3]))
