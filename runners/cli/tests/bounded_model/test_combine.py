"""Combine, Flatten, GroupByKey and composites."""

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window

from support import pipeline


@pytest.mark.parametrize("phases", ["none", "pack_combiners", "all_except_fusion"])
def test_packed_combiners(phases):
    with pipeline(f"--experiments=pre_optimize={phases}") as p:
        pairs = p | beam.Create([("a", 1), ("a", 5), ("b", 2)])
        least, most, mean = (
            pairs | "least" >> beam.CombinePerKey(min), pairs | "most" >> beam.CombinePerKey(max),
            pairs | "mean" >> beam.combiners.Mean.PerKey())
        assert_that(least, equal_to([("a", 1), ("b", 2)]), "check least")
        assert_that(most, equal_to([("a", 5), ("b", 2)]), "check most")
        assert_that(mean, equal_to([("a", 3.0), ("b", 2.0)]), "check mean")


def test_fan_out():
    with pipeline() as p:
        numbers = p | beam.Create(range(100))
        assert_that(numbers | beam.CombineGlobally(sum).with_fanout(7), equal_to([4950]), "globally")
        per_key = numbers | beam.Map(lambda x: (x % 2, x)) | beam.CombinePerKey(sum).with_hot_key_fanout(5)
        assert_that(per_key, equal_to([(0, 2450), (1, 2500)]), "per key")
        without = numbers | beam.Filter(lambda x: x > 100) | "empty" >> beam.CombineGlobally(sum)
        assert_that(without, equal_to([0]), "of nothing")
        defaultless = numbers | "none" >> beam.Filter(lambda x: x > 100) | beam.CombineGlobally(max).without_defaults()
        assert_that(defaultless, equal_to([]), "without a default")


class Stepwise(beam.CombineFn):
    def setup(self):
        self.ready = True

    def create_accumulator(self):
        assert self.ready
        return []

    def add_input(self, accumulator, element):
        return accumulator + [element]

    def merge_accumulators(self, accumulators):
        return [element for accumulator in accumulators for element in accumulator]

    def compact(self, accumulator):
        return sorted(accumulator)

    def extract_output(self, accumulator):
        return tuple(sorted(accumulator))


def test_a_combine_fn_of_ones_own_in_windows():
    with pipeline() as p:
        combined = p | beam.Create([(n % 2, n) for n in range(8)]) | beam.Map(
            lambda pair: window.TimestampedValue(pair, pair[1])) | beam.WindowInto(window.SlidingWindows(4, 2)) | (
            beam.CombinePerKey(Stepwise()))
        assert_that(combined, equal_to([
            (0, (0,)), (1, (1,)), (0, (0, 2)), (1, (1, 3)), (0, (2, 4)), (1, (3, 5)), (0, (4, 6)), (1, (5, 7)), (0, (6,)),
            (1, (7,)),
        ]))


def test_flatten_with_duplicates_one_and_none():
    with pipeline() as p:
        numbers, letters = p | "1" >> beam.Create([1, 2]), p | "a" >> beam.Create(["a"])
        assert_that((numbers, letters, numbers) | "many" >> beam.Flatten(), equal_to([1, 2, 1, 2, "a"]), "check many")
        assert_that((numbers,) | "one" >> beam.Flatten(), equal_to([1, 2]), "check one")
        assert_that(() | "none" >> beam.Flatten(pipeline=p), equal_to([]), "check none")
        again = ((numbers, numbers) | "twice" >> beam.Flatten(), numbers) | "thrice" >> beam.Flatten()
        assert_that(again | beam.combiners.Count.PerElement(), equal_to([(1, 3), (2, 3)]), "check thrice")


class Nothing(beam.PTransform):
    def expand(self, pcoll):
        return pcoll


class Choose(beam.PTransform):
    def expand(self, pcolls):
        return pcolls["right"]


def test_composites_without_sub_transforms():
    with pipeline() as p:
        left, right = p | "left" >> beam.Create([1]), p | "right" >> beam.Create([2])
        assert_that(left | Nothing() | "again" >> Nothing() | beam.Map(lambda x: x + 1), equal_to([2]), "nothing")
        assert_that({"left": left, "right": right} | Choose(), equal_to([2]), "choose")


def test_group_by_key_of_all_sorts_of_keys():
    with pipeline() as p:
        keys = [None, True, 3, 2.5, "text", b"bytes", ("tuple", 1), ("nested", ("deep", None))]
        grouped = p | beam.Create([(key, n) for n in range(3) for key in keys]) | beam.GroupByKey() | beam.MapTuple(
            lambda key, values: (repr(key), sorted(values)))
        assert_that(grouped, equal_to([(repr(key), [0, 1, 2]) for key in keys]))


def test_co_group_by_key():
    with pipeline() as p:
        one, other = p | "one" >> beam.Create([("a", 1), ("b", 2)]), p | "other" >> beam.Create([("b", "x"), ("c", "y"), ("b", "z")])
        joined = {"one": one, "other": other} | beam.CoGroupByKey() | beam.MapTuple(
            lambda key, found: (key, sorted(found["one"]), sorted(found["other"])))
        assert_that(joined, equal_to([("a", [1], []), ("b", [2], ["x", "z"]), ("c", [], ["y"])]))


def test_large_groups_come_whole():
    with pipeline() as p:
        sizes = p | beam.Create([0]) | beam.FlatMap(lambda _: ((n % 3, "x" * 100) for n in range(60_000))) | (
            beam.GroupByKey()) | beam.MapTuple(lambda key, values: (key, len(list(values)), sum(map(len, values))))
        assert_that(sizes, equal_to([(key, 20_000, 2_000_000) for key in range(3)]))
