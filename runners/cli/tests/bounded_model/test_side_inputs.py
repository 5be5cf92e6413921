"""Side inputs."""

import typing

import apache_beam as beam
import pytest
from apache_beam import pvalue
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import userstate, window

from support import pipeline


def test_side_inputs_of_every_view():
    with pipeline() as p:
        main = p | "main" >> beam.Create(["a", "b"])
        pairs = p | "pairs" >> beam.Create([("a", 1), ("a", 2), ("b", 3)])
        single, nothing = p | "single" >> beam.Create([10]), p | "nothing" >> beam.Create([])

        def look(key, one, absent, every, found, multi):
            return key, one, absent, sorted(every), sorted(found), sorted(multi[key]), list(multi["no such key"])

        looked = main | beam.Map(
            look, pvalue.AsSingleton(single), pvalue.AsSingleton(nothing, default_value="default"), pvalue.AsIter(pairs),
            pvalue.AsDict(pairs | beam.CombinePerKey(sum)), pvalue.AsMultiMap(pairs))
        every = [("a", 1), ("a", 2), ("b", 3)]
        assert_that(looked, equal_to([
            ("a", 10, "default", every, ["a", "b"], [1, 2], []), ("b", 10, "default", every, ["a", "b"], [3], []),
        ]))


def test_side_inputs_that_depend_on_each_other():
    with pipeline() as p:
        numbers = p | beam.Create([1, 2, 3])
        total = numbers | "total" >> beam.CombineGlobally(sum)
        shares = numbers | "shares" >> beam.Map(lambda x, total: x / total, pvalue.AsSingleton(total))
        most = shares | "most" >> beam.CombineGlobally(max)
        relative = shares | "relative" >> beam.Map(
            lambda x, most, total: round(x / most * total, 6), pvalue.AsSingleton(most), pvalue.AsSingleton(total))
        assert_that(relative, equal_to([2.0, 4.0, 6.0]))


def test_flattened_and_empty_side_inputs():
    with pipeline() as p:
        one, other, none = (p | str(values) >> beam.Create(values) for values in ([1], [2, 3], []))
        both = (one, other, none, one) | beam.Flatten()
        looked = p | "main" >> beam.Create(["x"]) | beam.Map(lambda x, side, empty: (x, sorted(side), list(empty)),
                                                             pvalue.AsList(both), pvalue.AsIter(none))
        assert_that(looked, equal_to([("x", [1, 1, 2, 3], [])]))


def test_windowed_side_inputs():
    def at(value, second):
        return window.TimestampedValue(value, second)

    with pipeline() as p:
        main = p | "main" >> beam.Create([at("a", 1), at("b", 11), at("c", 21)]) | "mw" >> beam.WindowInto(window.FixedWindows(5))
        side = p | "side" >> beam.Create([at(1, 2), at(2, 3), at(3, 12)]) | "sw" >> beam.WindowInto(window.FixedWindows(10))
        looked = main | beam.Map(lambda x, side: (x, sorted(side)), pvalue.AsList(side))
        assert_that(looked, equal_to([("a", [1, 2]), ("b", [3]), ("c", [])]))


def test_a_large_side_input_is_paged():
    with pipeline() as p:
        side = p | "side" >> beam.Create([0]) | beam.FlatMap(lambda _: (("k", "y" * 50 + str(n)) for n in range(100_000)))
        looked = p | beam.Create([1, 2], reshuffle=True) | beam.Map(
            lambda x, all, by: (x, sum(1 for _ in all), sum(len(y) for y in by["k"])), pvalue.AsIter(side), pvalue.AsMultiMap(side))
        total = sum(50 + len(str(n)) for n in range(100_000))
        assert_that(looked, equal_to([(1, 100_000, total), (2, 100_000, total)]))


def test_too_many_values_for_a_singleton_are_an_error_of_the_user():
    p = pipeline()
    side = p | "side" >> beam.Create([1, 2])
    _ = p | beam.Create([0]) | "Reader" >> beam.Map(lambda x, side: x, pvalue.AsSingleton(side))
    with pytest.raises(RuntimeError, match="Reader"):
        p.run().wait_until_finish()


class Scaled(beam.CombineFn):
    def create_accumulator(self, factor):
        return 0

    def add_input(self, accumulator, element, factor):
        return accumulator + element * factor

    def merge_accumulators(self, accumulators, factor):
        return sum(accumulators)

    def extract_output(self, accumulator, factor):
        return accumulator + factor


class Remembers(beam.DoFn):
    TOTAL = userstate.CombiningValueStateSpec("total", sum)

    def process(self, element, factor, total=beam.DoFn.StateParam(TOTAL)):
        total.add(element[1] * factor)
        yield element[0], total.read()


def test_side_inputs_of_combiners_and_of_state():
    with pipeline() as p:
        # Beam takes any one of a stateful DoFn's inputs for its main input as it looks for keys, so that all must do.
        factor = pvalue.AsSingleton(p | "factor" >> beam.Create([10]).with_output_types(typing.Any))
        pairs = p | beam.Create([("k", 1), ("k", 2), ("l", 3)])
        assert_that(pairs | beam.CombinePerKey(Scaled(), factor), equal_to([("k", 40), ("l", 40)]), "per key")
        assert_that(pairs | beam.Values() | beam.CombineGlobally(Scaled(), factor), equal_to([70]), "globally")
        totals = pairs | beam.ParDo(Remembers(), factor) | beam.CombinePerKey(max)
        assert_that(totals, equal_to([("k", 30), ("l", 30)]), "state")


def test_one_collection_read_in_every_way_and_by_itself():
    with pipeline() as p:
        pairs = p | beam.Create([("a", 1), ("b", 2)])
        read = pairs | beam.Map(
            lambda pair, listed, found, multi, every: (pair, sorted(listed), found[pair[0]], list(multi[pair[0]]), len(list(every))),
            pvalue.AsList(pairs), pvalue.AsDict(pairs), pvalue.AsMultiMap(pairs), pvalue.AsIter(pairs))
        both = [("a", 1), ("b", 2)]
        assert_that(read, equal_to([(("a", 1), both, 1, [1], 2), (("b", 2), both, 2, [2], 2)]))


def test_a_side_input_in_other_windows_than_the_main_input():
    def at(value, second):
        return window.TimestampedValue(value, second)

    with pipeline() as p:
        side = p | "side" >> beam.Create([at(1, 1), at(2, 11)]) | "tens" >> beam.WindowInto(window.FixedWindows(10))
        looked = p | "main" >> beam.Create([at("x", 7)]) | "sliding" >> beam.WindowInto(window.SlidingWindows(10, 5)) | beam.Map(
            lambda x, side, of=beam.DoFn.WindowParam: (x, float(of.start), list(side)), pvalue.AsList(side))
        # The window that holds the last instant of the main window.
        assert_that(looked, equal_to([("x", 0.0, [1]), ("x", 5.0, [2])]))
