"""A pipeline that succeeds: the squares of ten numbers, summed up and printed by user code."""

import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def tell(total):
    print(f"the sum is {total}", flush=True)


with beam.Pipeline(options=PipelineOptions(sys.argv[1:])) as pipeline:
    squares = pipeline | beam.Create(range(10)) | beam.Map(lambda number: number * number)
    _ = squares | beam.CombineGlobally(sum) | beam.Map(tell)
