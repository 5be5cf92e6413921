"""Sources that do not end by themselves: output appears while they run, and event time moves by what they say."""

import apache_beam as beam
from apache_beam.transforms import window
from apache_beam.transforms.periodicsequence import PeriodicImpulse

from sources import Count
from support import pipeline, show, shown, stop


def seen(name):
    return beam.Map(lambda what: show(name, what))


def test_windows_close_while_the_source_runs():
    p = pipeline("--streaming")
    sums = p | beam.Impulse() | beam.ParDo(Count()) | beam.WindowInto(window.FixedWindows(5)) | beam.CombinePerKey(sum)
    sums | beam.Map(lambda pair, of=beam.DoFn.WindowParam: (float(of.start), pair[1])) | seen("closing")
    result = p.run()
    assert sorted(shown("closing", 3))[:3] == [(0.0, 10), (5.0, 35), (10.0, 60)]
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


def test_periodic_impulse():
    p = pipeline("--streaming")
    p | PeriodicImpulse(fire_interval=0.05) | beam.Map(lambda at: 1) | seen("periodic")
    result = p.run()
    assert len(shown("periodic", 4)) >= 4
    stop(result)
