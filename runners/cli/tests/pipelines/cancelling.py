"""Cancels its own job while its user code hangs (the endpoint is the argument)."""

import builtins
import os
import sys
import threading

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import jobs

# User code is pickled, events are not: both sides find them here, because LOOPBACK's worker is this process.
builtins.has_begun = threading.Event()
builtins.never = threading.Event()


def hang(element):
    import builtins

    builtins.has_begun.set()
    builtins.never.wait()
    return element


pipeline = beam.Pipeline(options=PipelineOptions(jobs.loopback(sys.argv[1])))
_ = pipeline | beam.Create([1]) | beam.Map(hang)
result = pipeline.run()
builtins.has_begun.wait()
result.cancel()
jobs.await_end(sys.argv[1], result._job_id)
# The thread of the user code never ends.
os._exit(0)
