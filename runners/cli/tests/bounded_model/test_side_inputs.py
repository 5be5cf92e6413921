"""Side inputs."""

import apache_beam as beam
import pytest
from apache_beam import pvalue
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window

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
