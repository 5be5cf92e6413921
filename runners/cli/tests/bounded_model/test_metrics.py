"""Metrics of every type, attempted and committed."""

import apache_beam as beam
import pytest
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.utils.histogram import LinearBucket

from support import pipeline


class Measure(beam.DoFn):
    def process(self, element):
        Metrics.counter("of", "counter").inc(element)
        Metrics.distribution("of", "distribution").update(element)
        Metrics.gauge("of", "gauge").set(7)
        Metrics.string_set("of", "strings").add(f"s{element % 3}")
        Metrics.bounded_trie("of", "trie").add(("root", f"leaf{element % 4}"))
        Metrics.histogram("of", "histogram", LinearBucket(0, 10, 10)).update(element)
        yield element


def test_metrics_of_every_type():
    with pipeline() as p:
        _ = p | beam.Create(range(100), reshuffle=True) | "Measure" >> beam.ParDo(Measure())
    found = p.result.metrics().query()

    def measured(kind):
        [metric] = [metric for metric in found[kind] if metric.key.metric.namespace == "of"]
        assert metric.attempted == metric.committed and "Measure" in metric.key.step, metric
        return metric.committed

    assert measured("counters") == 4950
    assert measured("gauges").value == 7
    assert measured("string_sets") == {"s0", "s1", "s2"}
    distribution = measured("distributions")
    assert [distribution.count, distribution.sum, distribution.min, distribution.max] == [100, 4950, 0, 99]
    assert set(measured("bounded_tries").flattened()) == {("root", f"leaf{n}", False) for n in range(4)}


class Flaky(beam.DoFn):
    def process(self, element):
        Metrics.counter("flaky", "tried").inc()
        if element == 13:
            raise ValueError("thirteen is refused")
        yield element


def test_what_a_failed_job_tried_is_not_committed():
    p = pipeline()
    _ = p | beam.Create([13]) | beam.ParDo(Flaky())
    result = p.run()
    with pytest.raises(RuntimeError):
        result.wait_until_finish()
    # What a bundle that failed had counted is lost with it, unless it had told of its progress.
    assert not any(metric.committed for metric in result.metrics().query()["counters"])


class Counts(beam.DoFn):
    def process(self, element):
        Metrics.counter("steps", "seen").inc()
        yield element


def test_metrics_are_found_by_step():
    with pipeline() as p:
        numbers = p | beam.Create(range(10))
        _ = numbers | "One" >> beam.ParDo(Counts())
        _ = numbers | "Two" >> beam.Filter(lambda n: n < 3) | "Three" >> beam.ParDo(Counts())
    found = p.result.metrics().query(MetricsFilter().with_step("One").with_name("seen"))["counters"]
    assert [(metric.key.step, metric.committed) for metric in found] == [("One", 10)]
    found = p.result.metrics().query(MetricsFilter().with_name("seen"))["counters"]
    assert sorted((metric.key.step, metric.committed) for metric in found) == [("One", 10), ("Three", 3)]
