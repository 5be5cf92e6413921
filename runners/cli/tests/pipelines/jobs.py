"""What these programs share: a stub of the Job API, and how a job ends."""

import grpc
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

TERMINAL = {"DONE", "FAILED", "CANCELLED", "DRAINED", "UPDATED"}


def service(endpoint):
    """The Job API at an endpoint."""
    return beam_job_api_pb2_grpc.JobServiceStub(grpc.insecure_channel(endpoint))


def await_end(endpoint, job):
    """Waits for a job's terminal state, and prints it and all messages that are errors."""
    jobs = service(endpoint)
    request = beam_job_api_pb2.GetJobStateRequest(job_id=job)
    states = [beam_job_api_pb2.JobState.Enum.Name(event.state) for event in jobs.GetStateStream(request)]
    if states[-1] not in TERMINAL:
        raise SystemExit(f"the stream of states ended with {states}")
    for response in jobs.GetMessageStream(beam_job_api_pb2.JobMessagesRequest(job_id=job)):
        message = response.message_response
        if message.importance == beam_job_api_pb2.JobMessage.JOB_MESSAGE_ERROR:
            print(f"error: {message.message_text}")
    print(f"ended as {states[-1]}", flush=True)


def loopback(endpoint):
    """Options for a server, with workers in this process."""
    return ["--runner=PortableRunner", f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK"]
