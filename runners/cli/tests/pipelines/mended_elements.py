"""A pipeline that fails on some of its elements in two places, and takes them when it was mended."""

import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows, TimestampedValue


def parse(line, scale):
    if how == "mended":
        line = line.removeprefix("word")
    return int(line) * scale


class Check(beam.DoFn):
    def process(self, number, window=beam.DoFn.WindowParam, timestamp=beam.DoFn.TimestampParam):
        if number == 420:
            if how != "mended":
                raise ValueError(f"no {number}")
            print(f"{number} at {timestamp} in {window}", flush=True)
        yield number


how, path, out, *options = sys.argv[1:]
size = 60 if how == "windowed otherwise" else 10
with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
    lines = pipeline | beam.io.ReadFromText(path)
    scale = pipeline | "Scale" >> beam.Create([10])
    if how == "encoded otherwise":
        lines = lines | beam.Map(lambda line: line.encode()).with_output_types(bytes)
    name = "Read numbers" if how == "renamed" else "Parse"
    numbers = lines | name >> beam.Map(parse, scale=beam.pvalue.AsSingleton(scale))
    timed = numbers | beam.Map(lambda number: TimestampedValue(number, number)) | beam.WindowInto(FixedWindows(size))
    checked = timed | beam.Reshuffle() | "Check" >> beam.ParDo(Check())
    _ = checked | "Write" >> beam.Map(str) | beam.io.WriteToText(out)
    total = checked | "All" >> beam.WindowInto(beam.transforms.window.GlobalWindows()) | beam.CombineGlobally(sum)
    _ = total | beam.Map(lambda total: print("the sum is", total, flush=True))
