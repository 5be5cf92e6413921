"""Beam's own tests of TestStream and of triggers, from the installed package, against a running Purlin.

    PURLIN_ENDPOINT=localhost:8073 PURLIN_RUNNER=direct \
        .env/bin/python -m pytest -rs runners/cli/tests/beam_suite/streaming.py

The transcripts are those of `trigger_transcripts.yaml`, each for GroupByKey and for a combiner. Tests that upstream pins to
another runner stay away, and so do those that run no pipeline.
"""

import os
import unittest

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_pipeline, test_stream_test
from apache_beam.transforms import trigger_test

FLAGS = [
    "--runner=PortableRunner", f"--job_endpoint={os.environ['PURLIN_ENDPOINT']}", "--environment_type=LOOPBACK",
    "--experiments=disable_logging_submission_environment", f"--experiments=purlin_runner={os.environ['PURLIN_RUNNER']}",
]


class PurlinPipeline(test_pipeline.TestPipeline):
    """What upstream's tests use, run by Purlin with the options that they ask for."""

    def __init__(self, runner=None, options=None, **more):
        if runner is None:
            mine = PipelineOptions(FLAGS)
            if options is not None:
                asked = options.get_all_options(drop_default=True)
                mine = PipelineOptions.from_dictionary({**asked, **mine.get_all_options(drop_default=True)})
            options = mine
        super().__init__(runner=runner, options=options, **more)


test_stream_test.TestPipeline = PurlinPipeline
trigger_test.TestPipeline = PurlinPipeline


class TestStreamTest(test_stream_test.TestStreamTest):
    def test_basic_execution_with_service(self):
        raise unittest.SkipTest("reads the milliseconds of a service as microseconds, as Python's own runner does")

    def test_windowed_values_interpreted_correctly(self):
        raise unittest.SkipTest("expects the runner to look into elements, as Python's own does for notebooks")


class TriggerPipelineTest(trigger_test.TriggerPipelineTest):
    def test_after_count(self):
        raise unittest.SkipTest("Python's runner keeps back what a trigger has not fired for; others emit it with the window's last pane")


class TranscriptTest(trigger_test.TestStreamTranscriptTest):
    def test_timestamp_combiner_custom_timestamping_earliest_1(self):
        raise unittest.SkipTest("moves timestamps by Python code, which the Fn API has no word for")


# Upstream's classes are imported by the modules above, which pytest does not collect from here.
