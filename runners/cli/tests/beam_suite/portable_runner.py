"""Beam's own tests of portable runners, from the installed package, against a running Purlin.

    PURLIN_ENDPOINT=localhost:8073 PURLIN_RUNNER=direct \
        .env/bin/python -m pytest -rs runners/cli/tests/beam_suite/portable_runner.py

Workers are in this process (LOOPBACK). What upstream skips stays skipped, with upstream's reasons.
"""

import os

from apache_beam.options.pipeline_options import DebugOptions
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.runners.portability import portable_runner_test as upstream


class PurlinTest(upstream.PortableRunnerTest):
    @classmethod
    def _create_job_endpoint(cls):
        return os.environ["PURLIN_ENDPOINT"]

    def create_options(self):
        options = super().create_options()
        options.view_as(PortableOptions).environment_type = "LOOPBACK"
        options.view_as(DebugOptions).add_experiment("purlin_runner=" + os.environ["PURLIN_RUNNER"])
        # What pip has installed is logged with each job otherwise, and pip takes longer to say it than most of these jobs.
        options.view_as(DebugOptions).add_experiment("disable_logging_submission_environment")
        return options
