"""A source that never ends, for tests of streams."""

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms import core, window
from apache_beam.utils.timestamp import Duration, Timestamp


class Ticks(core.RestrictionProvider):
    def initial_restriction(self, element):
        return OffsetRange(0, 2**62)

    def create_tracker(self, restriction):
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element, restriction):
        return 1

    def truncate(self, element, restriction):
        return None


class Count(beam.DoFn):
    """Counts for ever, a number per second of event time, with a rest of ten milliseconds behind each. Other sources differ in how
    they read."""

    @beam.DoFn.unbounded_per_element()
    def process(
            self, element, tracker=beam.DoFn.RestrictionParam(Ticks()),
            estimator=beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())):
        # One that never has anything to say gives back nothing, as a DoFn may.
        yield from self.read(tracker, estimator) or ()

    def read(self, tracker, estimator):
        at = tracker.current_restriction().start
        if tracker.try_claim(at):
            yield window.TimestampedValue(("k", at), Timestamp(at))
            estimator.set_watermark(Timestamp(at + 1))
            tracker.defer_remainder(Duration(seconds=0.01))
