"""User code that waits for ever, in a process whose id stands in a folder by then (the argument), and how its job ended."""

import os
import sys
import threading

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def block(folder):
    with open(os.path.join(folder, str(os.getpid())), "w", encoding="utf-8"):
        pass
    # Of this process alone: nobody will ever set it.
    threading.Event().wait()


folder, *options = sys.argv[1:]
pipeline = beam.Pipeline(options=PipelineOptions(options))
_ = pipeline | beam.Create([folder]) | beam.Map(block)
try:
    pipeline.run().wait_until_finish()
    ended = "not at all"
except RuntimeError as error:
    ended = str(error)
print("ended:", ended, flush=True)
# In LOOPBACK a thread of user code never ends.
os._exit(0)
