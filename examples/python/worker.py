#!/usr/bin/env python3
"""A worker process for pipelines that are submitted with `--environment_type=PROCESS`, in the environment at hand.

    runner ─starts──► worker.py --id=ID --provision_endpoint=HOST:PORT
           ◄─asks──── GetProvisionInfo: options, endpoints, which artifacts
           ◄─fetches─ GetArtifact, into a temporary folder
                      then Beam's own harness, in this process

Beam's containers do this with a program of their own, which also installs packages. This one installs nothing: it
runs with whatever `python3` stands first on the PATH, which must have the same apache-beam as the submitter. So
either activate your environment before you start the runner, or name it:

    --environment_type=PROCESS
    --environment_config='{"command": "examples/python/worker.py", "env": {"PATH": "/path/to/env/bin:/usr/bin:/bin"}}'
"""

import argparse
import json
import os
import signal
import sys
import tempfile

try:
    import grpc
    from apache_beam.portability.api import (
        beam_artifact_api_pb2,
        beam_artifact_api_pb2_grpc,
        beam_provision_api_pb2,
        beam_provision_api_pb2_grpc,
        beam_runner_api_pb2,
    )
    from google.protobuf import json_format, text_format
except ImportError as missing:
    sys.exit(
        f"worker.py: {sys.executable} cannot import {missing.name}; activate the environment that has apache-beam "
        "before starting the runner, or set PATH in the env of --environment_config"
    )

STAGING_TO = "beam:artifact:role:staging_to:v1"
# Names that containers would install with pip.
PACKAGES = (".whl", ".tar.gz", ".zip", "requirements.txt", "extra_packages.txt")


def channel(address):
    """A channel to the runner, for messages of any size."""
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    return grpc.insecure_channel(address, options=unlimited)


def staged_name(artifact, position):
    """The file name under which the pipeline expects an artifact. Never a path: what comes over the wire may not
    choose where it is written."""
    if artifact.role_urn != STAGING_TO:
        return f"artifact-{position}"
    role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload)
    name = role.staged_name
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        sys.exit(f"worker.py: an artifact wants to be staged as {name!r}, which is not a plain file name")
    return name


def fetch(address, metadata, dependencies, folder):
    """Writes all artifacts of this environment into `folder`."""
    with channel(address) as runner:
        service = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(runner)
        request = beam_artifact_api_pb2.ResolveArtifactsRequest(artifacts=dependencies)
        resolved = service.ResolveArtifacts(request, metadata=metadata).replacements
        for position, artifact in enumerate(resolved):
            name = staged_name(artifact, position)
            with open(os.path.join(folder, name), "wb") as file:
                request = beam_artifact_api_pb2.GetArtifactRequest(artifact=artifact)
                for chunk in service.GetArtifact(request, metadata=metadata):
                    file.write(chunk.data)
            if name.endswith(PACKAGES):
                print(f"worker.py: {name} was staged but is not installed: this worker installs nothing", file=sys.stderr)


def harness_environment(worker_id, info, folder):
    """The variables from which Beam's harness learns what it must know."""
    options = os.path.join(folder, "pipeline_options.json")
    with open(options, "w", encoding="utf-8") as file:
        json.dump(json_format.MessageToDict(info.pipeline_options), file)
    variables = {
        "WORKER_ID": worker_id,
        "SEMI_PERSISTENT_DIRECTORY": folder,
        "PIPELINE_OPTIONS_FILE": options,
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "JOB_ID": info.metadata.get("job_id", ""),
        "JOB_NAME": info.metadata.get("job_name", ""),
    }
    if info.logging_endpoint.url:
        variables["LOGGING_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(info.logging_endpoint)
    if info.status_endpoint.url:
        variables["STATUS_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(info.status_endpoint)
    return variables


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--id", required=True, help="which worker this is")
    parser.add_argument("--provision_endpoint", required=True, help="where to ask for everything else")
    # Runners may say more than they must; the provision service says it too.
    arguments, _ = parser.parse_known_args()
    # Prism starts processes without a shell and quotes the id all the same.
    worker_id = arguments.id.strip("'")

    # So that the folder is removed when the runner ends this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Every call says which worker it comes from.
    metadata = [("worker_id", worker_id)]
    with channel(arguments.provision_endpoint) as runner:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(runner)
        info = service.GetProvisionInfo(beam_provision_api_pb2.GetProvisionInfoRequest(), metadata=metadata).info

    with tempfile.TemporaryDirectory(prefix="beam-worker-") as folder:
        staged = os.path.join(folder, "staged")
        os.mkdir(staged)
        if info.dependencies:
            fetch(info.artifact_endpoint.url, metadata, info.dependencies, staged)
        os.environ.update(harness_environment(worker_id, info, folder))

        # Only now: what it reads from the environment is set.
        from apache_beam.runners.worker import sdk_worker_main

        sdk_worker_main.main(sys.argv[:1])


if __name__ == "__main__":
    main()
