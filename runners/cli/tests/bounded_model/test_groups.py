"""Groups that are larger than an element should be: they come page by page, and may be read as often as one likes."""

import hashlib

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to

from support import pipeline

VALUE_BYTES = 100_000


def value(number):
    return number.to_bytes(8, "big") + bytes([number % 256]) * (VALUE_BYTES - 8)


def number_of(value):
    return int.from_bytes(value[:8], "big")


def groups(p, count):
    """One key with so many values, and one with a single value."""
    pairs = p | beam.Create(range(0, count, 10), reshuffle=False) | "pairs" >> beam.FlatMap(
        lambda first: [("large", value(number)) for number in range(first, min(first + 10, count))])
    small = p | "small" >> beam.Create([("small", value(7))], reshuffle=False)
    return (pairs, small) | "both" >> beam.Flatten() | beam.GroupByKey()


def twice(key, values):
    """How many values there are, whether a second reading finds the same ones, and which."""
    digests = []
    for _ in range(2):
        digest, numbers = hashlib.sha256(), []
        for value in values:
            digest.update(value)
            numbers.append(number_of(value))
        digests.append((digest.hexdigest(), len(numbers), sorted(numbers) == list(range(len(numbers)))))
    return key, digests[0] == digests[1], digests[0][1:]


def test_a_group_of_a_hundred_megabytes_is_read_twice():
    with pipeline() as p:
        read = groups(p, 1_000) | beam.MapTuple(twice)
        assert_that(read, equal_to([("large", True, (1_000, True)), ("small", True, (1, False))]))


def test_a_group_is_read_in_part():
    with pipeline() as p:
        first = groups(p, 100) | beam.MapTuple(lambda key, values: (key, len(next(iter(values)))))
        assert_that(first, equal_to([("large", VALUE_BYTES), ("small", VALUE_BYTES)]))


def test_several_read_a_group_and_it_is_passed_on():
    with pipeline() as p:
        grouped = groups(p, 100)
        lengths = grouped | "lengths" >> beam.MapTuple(lambda key, values: (key, sum(map(len, values))))
        counts = grouped | "counts" >> beam.MapTuple(lambda key, values: (key, sum(1 for _ in values)))
        shuffled = grouped | "shuffle it" >> beam.Reshuffle() | "shuffled" >> beam.MapTuple(
            lambda key, values: (key, sum(number_of(value) for value in values)))
        assert_that(lengths, equal_to([("large", 100 * VALUE_BYTES), ("small", VALUE_BYTES)]), "lengths are right")
        assert_that(counts, equal_to([("large", 100), ("small", 1)]), "counts are right")
        assert_that(shuffled, equal_to([("large", sum(range(100))), ("small", 7)]), "all is passed on")


def test_groups_are_joined_and_grouped_again():
    with pipeline() as p:
        left = p | "left" >> beam.Create(range(60), reshuffle=False) | "left values" >> beam.Map(lambda it: ("k", value(it)))
        right = p | "right" >> beam.Create(range(40), reshuffle=False) | "right values" >> beam.Map(lambda it: ("k", value(it)))
        joined = {"left": left, "right": right} | beam.CoGroupByKey()
        counts = joined | beam.MapTuple(lambda key, both: (key, len(list(both["left"])), len(list(both["right"]))))
        assert_that(counts, equal_to([("k", 60, 40)]), "joined")
        again = groups(p, 50) | "once" >> beam.MapTuple(lambda key, values: (len(key), values)) | "again" >> beam.GroupByKey()
        lengths = again | beam.MapTuple(lambda key, lists: (key, sum(len(value) for values in lists for value in values)))
        assert_that(lengths, equal_to([(5, 51 * VALUE_BYTES)]), "again")
