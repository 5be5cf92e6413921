"""A pipeline whose middle an expansion service expands into a second environment (its argument is where that listens).

    Create ─► Count.PerElement (of the service) ─► Map, and as a side input ─► assert_that
"""

import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.external import ExternalTransform, ImplicitSchemaPayloadBuilder

COUNT = {"constructor": "apache_beam.transforms.combiners.Count.PerElement"}

with beam.Pipeline(options=PipelineOptions(sys.argv[2:])) as pipeline:
    words = pipeline | beam.Create(["beam", "purlin", "beam", "rafter"])
    payload = ImplicitSchemaPayloadBuilder(COUNT)
    counted = words | ExternalTransform("beam:transforms:python:fully_qualified_named", payload, sys.argv[1])
    # Both environments read what the other one wrote: as a main input, and as a side input.
    shouted = counted | "Shout" >> beam.MapTuple(lambda word, count: (word.upper(), count))
    assert_that(shouted, equal_to([("BEAM", 2), ("PURLIN", 1), ("RAFTER", 1)]), label="Shouted")
    looked_up = words | "Look up" >> beam.Map(lambda word, counts: counts[word], beam.pvalue.AsDict(counted))
    assert_that(looked_up, equal_to([2, 1, 2, 1]), label="Looked up")
