"""A pipeline of ten elements, as a program of its own: what `purlin run` adds is measured around it."""

import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def build(pipeline):
    """Ten numbers, each squared, summed up."""
    return pipeline | beam.Create(range(10)) | beam.Map(lambda number: number * number) | beam.CombineGlobally(sum)


def main():
    with beam.Pipeline(options=PipelineOptions(sys.argv[1:])) as pipeline:
        build(pipeline)


if __name__ == "__main__":
    main()
