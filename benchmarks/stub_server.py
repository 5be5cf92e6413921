"""A job server that answers DONE at once: what is left of a client's time when the runner needs none.

    Prepare ─► Run ─► RUNNING, DONE

Prints its port as the first line. Used by startup.py; runs nothing.
"""

import concurrent.futures
import sys

import grpc
from apache_beam.portability.api import (
    beam_artifact_api_pb2_grpc,
    beam_job_api_pb2,
    beam_job_api_pb2_grpc,
    endpoints_pb2,
)

JOB = "job"
PREPARATION = "preparation"


class Jobs(beam_job_api_pb2_grpc.JobServiceServicer):
    """The Job API, as far as Python's client calls it."""

    def __init__(self):
        self.address = ""

    def DescribePipelineOptions(self, request, context):
        return beam_job_api_pb2.DescribePipelineOptionsResponse()

    def Prepare(self, request, context):
        endpoint = endpoints_pb2.ApiServiceDescriptor(url=self.address)
        return beam_job_api_pb2.PrepareJobResponse(
            preparation_id=PREPARATION, artifact_staging_endpoint=endpoint, staging_session_token=PREPARATION
        )

    def Run(self, request, context):
        return beam_job_api_pb2.RunJobResponse(job_id=JOB)

    def GetState(self, request, context):
        return beam_job_api_pb2.JobStateEvent(state=beam_job_api_pb2.JobState.DONE)

    def GetStateStream(self, request, context):
        self._only_jobs(request, context)
        for state in (beam_job_api_pb2.JobState.RUNNING, beam_job_api_pb2.JobState.DONE):
            yield beam_job_api_pb2.JobStateEvent(state=state)

    def GetMessageStream(self, request, context):
        self._only_jobs(request, context)
        yield from ()

    def GetJobMetrics(self, request, context):
        return beam_job_api_pb2.GetJobMetricsResponse()

    @staticmethod
    def _only_jobs(request, context):
        """As Purlin does, so that the client takes the same way."""
        if request.job_id != JOB:
            context.abort(grpc.StatusCode.NOT_FOUND, "not a job")


class Staging(beam_artifact_api_pb2_grpc.ArtifactStagingServiceServicer):
    """Wants no artifacts."""

    def ReverseArtifactRetrievalService(self, requests, context):
        next(requests)
        yield from ()


def main():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    jobs = Jobs()
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    beam_artifact_api_pb2_grpc.add_ArtifactStagingServiceServicer_to_server(Staging(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    jobs.address = f"localhost:{port}"
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0)


if __name__ == "__main__":
    main()
