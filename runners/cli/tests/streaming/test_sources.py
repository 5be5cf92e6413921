"""Sources that do not end by themselves: output appears while they run, and event time moves by what they say."""

import apache_beam as beam
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.runner import PipelineState
from apache_beam.transforms import trigger, window
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.utils.timestamp import Timestamp

from sources import Count, Ticks
from support import pipeline, show, shown


def seen(name):
    return beam.Map(lambda what: show(name, what))


def stop(result):
    result.cancel()
    # Python's client raises whatever is not DONE.
    with pytest.raises(RuntimeError, match="CANCELLED"):
        result.wait_until_finish()
    assert result.state == PipelineState.CANCELLED


def test_windows_close_while_the_source_runs():
    p = pipeline("--streaming")
    sums = p | beam.Impulse() | beam.ParDo(Count()) | beam.WindowInto(window.FixedWindows(5)) | beam.CombinePerKey(sum)
    sums | beam.Map(lambda pair, of=beam.DoFn.WindowParam: (float(of.start), pair[1])) | seen("closing")
    result = p.run()
    assert sorted(shown("closing", 3))[:3] == [(0.0, 10), (5.0, 35), (10.0, 60)]
    stop(result)


def test_two_unbounded_sources_flow_together():
    p = pipeline("--streaming")
    both = [p | f"start {n}" >> beam.Impulse() | f"count {n}" >> beam.ParDo(Count()) for n in range(2)]
    sums = both | beam.Flatten() | beam.WindowInto(window.FixedWindows(5)) | beam.CombinePerKey(sum)
    sums | beam.Map(lambda pair, of=beam.DoFn.WindowParam: (float(of.start), pair[1])) | seen("together")
    result = p.run()
    assert sorted(shown("together", 2))[:2] == [(0.0, 20), (5.0, 70)]
    stop(result)


def test_a_source_and_a_bounded_collection():
    p = pipeline("--streaming")
    ticks = p | beam.Impulse() | beam.ParDo(Count())
    few = p | beam.Create([("k", 1000)]) | beam.Map(lambda pair: window.TimestampedValue(pair, 1))
    sums = [ticks, few] | beam.Flatten() | beam.WindowInto(window.FixedWindows(5)) | beam.CombinePerKey(sum)
    sums | beam.Map(lambda pair, of=beam.DoFn.WindowParam: (float(of.start), pair[1])) | seen("mixed")
    result = p.run()
    assert sorted(shown("mixed", 2))[:2] == [(0.0, 1010), (5.0, 35)]
    stop(result)


class Hasty(Count):
    """Never rests: only when it is asked to stop does it give anything out."""

    @beam.DoFn.unbounded_per_element()
    def process(
            self, element, tracker=beam.DoFn.RestrictionParam(Ticks()),
            estimator=beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())):
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            yield window.TimestampedValue(("k", at), Timestamp(at / 1000))
            estimator.set_watermark(Timestamp(at / 1000))
            at += 1


def test_a_source_that_never_rests_is_asked_to():
    p = pipeline("--streaming")
    p | beam.Impulse() | beam.ParDo(Hasty()) | beam.Filter(lambda pair: pair[1] % 1000 == 0) | seen("hasty")
    result = p.run()
    assert [pair[1] for pair in shown("hasty", 3)][:3] == [0, 1000, 2000]
    stop(result)


def test_periodic_impulse():
    p = pipeline("--streaming")
    p | PeriodicImpulse(fire_interval=0.05) | beam.Map(lambda at: 1) | seen("periodic")
    result = p.run()
    assert len(shown("periodic", 4)) >= 4
    stop(result)
