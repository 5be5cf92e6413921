"""Asks a server (its endpoint is the argument) to prepare a pipeline of transforms that nobody knows."""

import sys

import grpc
from apache_beam.portability.api import beam_job_api_pb2, beam_runner_api_pb2

import jobs

NAMES = {
    "Lay the first purlin": "purlin:test:no_such_transform:v1",
    "Lay the second purlin": "purlin:test:nor_this_one:v1",
}

pipeline = beam_runner_api_pb2.Pipeline()
components = pipeline.components
components.coders["bytes"].spec.urn = "beam:coder:bytes:v1"
components.coders["global"].spec.urn = "beam:coder:global_window:v1"
strategy = components.windowing_strategies["global"]
strategy.window_fn.urn = "beam:window_fn:global_windows:v1"
strategy.window_coder_id = "global"
strategy.trigger.default.SetInParent()
strategy.accumulation_mode = beam_runner_api_pb2.AccumulationMode.DISCARDING
strategy.output_time = beam_runner_api_pb2.OutputTime.END_OF_WINDOW
strategy.closing_behavior = beam_runner_api_pb2.ClosingBehavior.EMIT_IF_NONEMPTY
strategy.on_time_behavior = beam_runner_api_pb2.OnTimeBehavior.FIRE_ALWAYS
strategy.merge_status = beam_runner_api_pb2.MergeStatus.NON_MERGING


def add(name, urn, source):
    """Adds a transform that reads `source` if there is one, and gives back what it emits."""
    transform = components.transforms[name]
    transform.unique_name = name
    transform.spec.urn = urn
    if source:
        transform.inputs["in"] = source
    output = f"out of {name}"
    transform.outputs["out"] = output
    collection = components.pcollections[output]
    collection.unique_name = output
    collection.coder_id = "bytes"
    collection.is_bounded = beam_runner_api_pb2.IsBounded.BOUNDED
    collection.windowing_strategy_id = "global"
    pipeline.root_transform_ids.append(name)
    return output


flow = add("Impulse", "beam:transform:impulse:v1", None)
for name, urn in NAMES.items():
    flow = add(name, urn, flow)

try:
    jobs.service(sys.argv[1]).Prepare(beam_job_api_pb2.PrepareJobRequest(job_name="unknown", pipeline=pipeline))
except grpc.RpcError as refused:
    print(f"code {refused.code().name}")
    print(refused.details())
else:
    sys.exit("the server prepared it")
