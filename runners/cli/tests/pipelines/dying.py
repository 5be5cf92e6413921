"""Submits a job whose user code hangs, tells its id, and dies at once (the endpoint is the argument)."""

import os
import signal
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import jobs


def hang(element):
    import threading

    threading.Event().wait()
    return element


pipeline = beam.Pipeline(options=PipelineOptions(jobs.loopback(sys.argv[1])))
_ = pipeline | beam.Create([1]) | beam.Map(hang)
print(pipeline.run()._job_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
