"""Beam's own expansion service for Python, on a port that it prints; ends when its standard input does.

The workers of its transforms run in this process, as a pool that a runner calls (EXTERNAL).
"""

import sys

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_artifact_api_pb2_grpc, beam_expansion_api_pb2_grpc, beam_fn_api_pb2_grpc
from apache_beam.runners.portability import artifact_service, expansion_service
from apache_beam.runners.worker import worker_pool_main
from apache_beam.transforms.fully_qualified_named_transform import FullyQualifiedNamedTransform
from apache_beam.utils import thread_pool_executor

options = PipelineOptions(["--experiments=beam_fn_api", "--sdk_location=container"])
server = grpc.server(thread_pool_executor.shared_unbounded_instance())
port = server.add_insecure_port("127.0.0.1:0")
servicer = worker_pool_main.BeamFnExternalWorkerPoolServicer()
beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(servicer, server)
servicer = expansion_service.ExpansionServiceServicer(options, loopback_address=f"127.0.0.1:{port}")
beam_expansion_api_pb2_grpc.add_ExpansionServiceServicer_to_server(servicer, server)
files = artifact_service.ArtifactRetrievalService(artifact_service.BeamFilesystemHandler(None).file_reader)
beam_artifact_api_pb2_grpc.add_ArtifactRetrievalServiceServicer_to_server(files, server)
with FullyQualifiedNamedTransform.with_filter("*"):
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)
