"""Submits a job whose user code hangs, and leaves as if all was well."""

import os
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def hang(element):
    import threading

    threading.Event().wait()
    return element


pipeline = beam.Pipeline(options=PipelineOptions(sys.argv[1:]))
_ = pipeline | beam.Create([1]) | beam.Map(hang)
pipeline.run()
sys.stdout.flush()
os._exit(0)
