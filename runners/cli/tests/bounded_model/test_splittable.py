"""Splittable DoFns."""

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.testing.util import assert_that, equal_to

from support import pipeline


class Ranges(beam.transforms.core.RestrictionProvider):
    def initial_restriction(self, element):
        return beam.io.restriction_trackers.OffsetRange(0, element)

    def create_tracker(self, restriction):
        return beam.io.restriction_trackers.OffsetRestrictionTracker(restriction)

    def restriction_size(self, element, restriction):
        return restriction.size()

    def split(self, element, restriction):
        yield from restriction.split(desired_num_offsets_per_split=7)


class Checkpoints(beam.DoFn):
    """Gives the numbers below its element, a few at a time."""

    def process(self, element, tracker=beam.DoFn.RestrictionParam(Ranges())):
        position = tracker.current_restriction().start
        for done in range(100):
            if done == 3:
                tracker.defer_remainder()
                return
            if not tracker.try_claim(position):
                return
            yield element, position
            position += 1


def test_splittable_dofns_that_checkpoint_themselves():
    with pipeline() as p:
        numbers = p | beam.Create([0, 1, 20]) | beam.ParDo(Checkpoints())
        assert_that(numbers, equal_to([(1, 0)] + [(20, n) for n in range(20)]))


class Side(beam.DoFn):
    def process(self, element, factor, tracker=beam.DoFn.RestrictionParam(Ranges())):
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            yield position * factor
            position += 1


def test_splittable_dofns_with_side_inputs():
    with pipeline() as p:
        factor = p | "factor" >> beam.Create([3])
        numbers = p | beam.Create([10]) | beam.ParDo(Side(), pvalue.AsSingleton(factor))
        assert_that(numbers, equal_to([3 * n for n in range(10)]))


def test_splittable_dofns_that_python_has_taken_apart():
    with pipeline("--experiments=pre_optimize=all_except_fusion") as p:
        numbers = p | beam.Create([0, 1, 20]) | beam.ParDo(Checkpoints())
        assert_that(numbers, equal_to([(1, 0)] + [(20, n) for n in range(20)]))
