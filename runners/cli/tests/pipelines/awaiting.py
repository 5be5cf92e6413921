"""Waits for the end of a job that another program submitted (the arguments are endpoint and job)."""

import sys

import jobs

jobs.await_end(sys.argv[1], sys.argv[2])
