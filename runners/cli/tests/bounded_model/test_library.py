"""Transforms of the library that users reach for."""

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window

from support import pipeline


def test_transforms_of_the_library():
    with pipeline() as p:
        numbers = p | beam.Create([3, 1, 2, 3])
        assert_that(numbers | beam.Distinct(), equal_to([1, 2, 3]), "distinct")
        assert_that(numbers | beam.combiners.Top.Largest(2), equal_to([[3, 3]]), "top")
        assert_that(numbers | beam.combiners.ToList() | beam.Map(sorted), equal_to([[1, 2, 3, 3]]), "list")
        assert_that(numbers | "reshuffle" >> beam.Reshuffle() | "count" >> beam.combiners.Count.Globally(), equal_to([4]), "reshuffle it")
        assert_that(numbers | beam.Partition(lambda x, n: x % n, 2) | beam.Flatten(), equal_to([1, 2, 3, 3]), "partition")
        keyed = numbers | beam.WithKeys(lambda x: x % 2)
        batches = keyed | beam.GroupIntoBatches(2) | beam.MapTuple(lambda key, batch: (key, len(batch)))
        assert_that(batches, equal_to([(0, 1), (1, 1), (1, 2)]), "batches")
        assert_that(numbers | beam.BatchElements(2, 2) | beam.FlatMap(lambda batch: batch), equal_to([1, 2, 3, 3]), "batch elements")
        rows = numbers | beam.Map(lambda x: beam.Row(parity=x % 2, value=x))
        summed = rows | beam.GroupBy("parity").aggregate_field("value", sum, "total") | beam.Map(tuple)
        assert_that(summed, equal_to([(0, 2), (1, 7)]), "rows")


def test_an_empty_pipeline_and_an_empty_input():
    with pipeline():
        pass
    with pipeline() as p:
        grouped = p | beam.Create([]) | beam.Map(lambda x: (x, x)) | beam.GroupByKey()
        assert_that(grouped, equal_to([]))


def test_batches_end_with_their_window():
    with pipeline() as p:
        batches = p | beam.Create(range(25)) | beam.Map(lambda n: window.TimestampedValue((n % 2, n), n)) | (
            beam.WindowInto(window.FixedWindows(10))) | beam.GroupIntoBatches(3) | beam.Map(
                lambda pair, of=beam.DoFn.WindowParam: (pair[0], len(pair[1]), float(of.start)))
        assert_that(batches, equal_to(
            [(key, size, start) for key in (0, 1) for start in (0.0, 10.0) for size in (2, 3)] + [(0, 3, 20.0), (1, 2, 20.0)]))


def test_reshuffle_keeps_windows_and_timestamps():
    with pipeline() as p:
        kept = p | beam.Create([1, 7]) | beam.Map(lambda n: window.TimestampedValue(n, n)) | (
            beam.WindowInto(window.SlidingWindows(10, 5))) | beam.Reshuffle() | beam.Map(
                lambda n, at=beam.DoFn.TimestampParam, of=beam.DoFn.WindowParam: (n, float(at), float(of.start)))
        assert_that(kept, equal_to([(1, 1.0, -5.0), (1, 1.0, 0.0), (7, 7.0, 0.0), (7, 7.0, 5.0)]))
