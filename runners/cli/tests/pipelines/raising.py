"""A pipeline whose user code raises at one of its elements."""

import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def leak(word):
    if word == "river":
        raise ValueError(f"the roof leaks at {word}")
    return word


with beam.Pipeline(options=PipelineOptions(sys.argv[1:])) as pipeline:
    _ = pipeline | beam.Create(["beam", "river", "tile"]) | "Inspect" >> beam.Map(leak)
