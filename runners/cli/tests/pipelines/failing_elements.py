"""A pipeline that fails on some of its elements: at first, or in a stateful DoFn."""

import sys

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec


class Count(beam.DoFn):
    SEEN = ReadModifyWriteStateSpec("seen", VarIntCoder())

    def process(self, element, seen=beam.DoFn.StateParam(SEEN)):
        key, number = element
        if number == 13:
            raise ValueError(f"no {number}")
        seen.write((seen.read() or 0) + 1)
        yield key, seen.read()


def whole(line):
    return int(line)


what, path, *options = sys.argv[1:]
with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
    if what == "lines":
        lines = pipeline | beam.io.ReadFromText(path)
    else:
        lines = pipeline | beam.Create(open(path, encoding="utf-8").read().split())
    numbers = lines | "Parse" >> beam.Map(whole)
    if what == "stateful":
        _ = numbers | beam.Map(lambda number: (f"key {number % 3}", number)) | "Count" >> beam.ParDo(Count())
    else:
        _ = numbers | beam.CombineGlobally(sum) | beam.Map(lambda total: print("the sum is", total))
