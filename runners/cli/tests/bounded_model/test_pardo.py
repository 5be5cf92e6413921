"""ParDo: several outputs, batches, a DoFn's life, finalization, exceptions."""

import typing

import apache_beam as beam
import pytest
from apache_beam import pvalue
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import window

from support import pipeline, show, shown, SEEN


class Sort(beam.DoFn):
    def process(self, element):
        if element % 2:
            yield pvalue.TaggedOutput("odd", element)
        elif element % 3:
            yield pvalue.TaggedOutput("even", element)
        else:
            yield element


def test_multiple_outputs():
    with pipeline() as p:
        outputs = p | beam.Create(range(12)) | beam.ParDo(Sort()).with_outputs("odd", "even", "never", main="main")
        assert_that(outputs.odd, equal_to([1, 3, 5, 7, 9, 11]), "odd")
        assert_that(outputs.even, equal_to([2, 4, 8, 10]), "even")
        assert_that(outputs.main, equal_to([0, 6]), "main")
        assert_that(outputs.never, equal_to([]), "never")
        # An output may come back to where it came from, and be grouped.
        both = (outputs.odd, outputs.even) | beam.Flatten() | beam.Map(lambda x: (x % 2, x)) | beam.CombinePerKey(sum)
        assert_that(both, equal_to([(0, 24), (1, 36)]), "both")


class Batched(beam.DoFn):
    def process_batch(self, batch: typing.List[int]) -> typing.Iterator[typing.List[int]]:
        show("batched", len(batch))
        yield [element * 2 for element in batch]

    def infer_output_type(self, input_element_type):
        return input_element_type


def test_batched_dofns():
    with pipeline() as p:
        doubled = p | beam.Create(range(1000)).with_output_types(int) | "once" >> beam.ParDo(Batched()) | "twice" >> beam.ParDo(Batched())
        assert_that(doubled, equal_to([4 * n for n in range(1000)]))


class Lives(beam.DoFn):
    def setup(self):
        self.ready = True

    def start_bundle(self):
        self.bundle = []

    def process(self, element, timestamp=beam.DoFn.TimestampParam, window=beam.DoFn.WindowParam, pane=beam.DoFn.PaneInfoParam):
        assert self.ready
        self.bundle.append((element, timestamp, window, pane.is_first))

    def finish_bundle(self):
        for element, timestamp, of, _ in self.bundle:
            yield window.WindowedValue((element, "finished"), timestamp, [of])

    def teardown(self):
        show("torn down", True)


def test_a_dofns_life():
    SEEN.pop("torn down", None)
    with pipeline() as p:
        finished = p | beam.Create([1, 2, 3]) | beam.Map(lambda x: window.TimestampedValue(x, x)) | (
            beam.WindowInto(window.FixedWindows(2))) | beam.ParDo(Lives())
        at = finished | beam.Map(lambda x, t=beam.DoFn.TimestampParam, w=beam.DoFn.WindowParam: (x[0], float(t), float(w.start)))
        assert_that(at, equal_to([(1, 1.0, 0.0), (2, 2.0, 2.0), (3, 3.0, 2.0)]))
    assert shown("torn down", 1)


class Finalizes(beam.DoFn):
    def process(self, element, finalizer=beam.DoFn.BundleFinalizerParam):
        finalizer.register(lambda: show("finalized", element))
        yield element


def test_bundle_finalization():
    SEEN.pop("finalized", None)
    with pipeline() as p:
        _ = p | beam.Create([3, 1, 2], reshuffle=False) | beam.ParDo(Finalizes()) | beam.Map(lambda x: (x, x)) | beam.GroupByKey()
    assert sorted(shown("finalized", 3)) == [1, 2, 3]


def fails_at_five(element):
    if element == 5:
        raise ValueError(f"element {element} is wrong")
    return element


def test_an_exception_names_the_transform_and_shows_the_trace():
    p = pipeline()
    _ = p | beam.Create(range(10)) | "TheCulprit" >> beam.Map(fails_at_five)
    with pytest.raises(RuntimeError) as caught:
        p.run().wait_until_finish()
    for expected in ["TheCulprit", "element 5 is wrong", "fails_at_five", "test_pardo.py"]:
        assert expected in str(caught.value), caught.value


def test_exceptions_as_an_output():
    with pipeline() as p:
        good, bad = p | beam.Create(range(10)) | beam.Map(fails_at_five).with_exception_handling()
        assert_that(good, equal_to([0, 1, 2, 3, 4, 6, 7, 8, 9]), "good")
        assert_that(bad | beam.Map(lambda failure: failure[0]), equal_to([5]), "bad")
