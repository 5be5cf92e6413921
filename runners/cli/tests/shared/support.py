"""How a test in Python reaches Purlin, and how it hears of what its DoFns do."""

import os
import threading

import apache_beam as beam
import grpc
import pytest
from apache_beam.coders import StrUtf8Coder, VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.runner import PipelineState
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms import window


def pipeline(*more):
    return beam.Pipeline(options=PipelineOptions([
        "--runner=PortableRunner", f"--job_endpoint={os.environ['PURLIN_ENDPOINT']}", "--environment_type=LOOPBACK",
        "--experiments=disable_logging_submission_environment",
        f"--experiments=purlin_runner={os.environ['PURLIN_RUNNER']}", *more,
    ]))


def script():
    """Pairs of a key and a number, as a test scripts them."""
    return TestStream(coder=beam.coders.TupleCoder([StrUtf8Coder(), VarIntCoder()]))


def typed():
    """Whoever keeps state wants to know what keys are; what a TestStream emits Python declares to be anything."""
    return beam.Map(lambda pair: pair).with_output_types(tuple[str, int])


def stamped(events, *numbers):
    return events.add_elements([window.TimestampedValue(("k", number), number) for number in numbers])


# What a DoFn shows to its test, by the name of the test. DoFns are pickled; what they name in this module is not.
SEEN = {}
SEEN_ALL = threading.Condition()


def show(test, what):
    with SEEN_ALL:
        SEEN.setdefault(test, []).append(what)
        SEEN_ALL.notify_all()


def shown(test, number):
    with SEEN_ALL:
        SEEN_ALL.wait_for(lambda: len(SEEN.get(test, [])) >= number, timeout=30)
        return SEEN.get(test, [])


def stop(result):
    """Ends a job that does not end by itself."""
    result.cancel()
    # Python's client raises whatever is not DONE.
    with pytest.raises(RuntimeError, match="CANCELLED"):
        result.wait_until_finish()
    assert result.state == PipelineState.CANCELLED


def messages(result):
    """All messages of a job, as they come: it is over when they are."""
    of_job = service().GetMessageStream(beam_job_api_pb2.JobMessagesRequest(job_id=result._job_id))
    return (response.message_response.message_text for response in of_job if response.HasField("message_response"))


def service():
    return beam_job_api_pb2_grpc.JobServiceStub(grpc.insecure_channel(os.environ["PURLIN_ENDPOINT"]))


# What a DoFn waits for, by the name of the test.
GATES = {}


def gate(test):
    with SEEN_ALL:
        return GATES.setdefault(test, threading.Event())


def hold(test):
    """Passes elements on when the test opens its gate."""
    def wait(element):
        show(test + " begun", element)
        gate(test).wait()
        return element
    return wait
