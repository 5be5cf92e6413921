"""Sums up what has gone through user code in several processes: an empty folder, and `home` or how many processes."""

import logging
import os
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from spreading_fns import Home, Meet

logging.getLogger().setLevel(logging.INFO)
os.environ["SET_BY_THE_PROGRAM"] = "1"
folder, how, *flags = sys.argv[1:]
fn = Home(folder) if how == "home" else Meet(folder, int(how))
with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
    sums = pipeline | beam.Create(range(40)) | beam.Reshuffle() | beam.ParDo(fn) | beam.CombineGlobally(sum)
    assert_that(sums, equal_to([780]))
