"""A job that ends only if another one runs at the same time (the arguments are a meeting place and a name)."""

import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

place, name = sys.argv[1], sys.argv[2]


def meet(name, place):
    import socket

    host, port = place.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as door:
        if door.recv(2):
            print(f"{name} has met", flush=True)
    return name


with beam.Pipeline(options=PipelineOptions(sys.argv[3:])) as pipeline:
    _ = pipeline | beam.Create([name]) | beam.Map(meet, place)
