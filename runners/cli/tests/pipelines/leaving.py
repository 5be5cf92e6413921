"""Runs a module as a program, and leaves at its end without the interpreter's own.

At that end gRPC's threads are stopped wherever they are, and now and then one of them holds a lock that a finalizer
then waits for, for ever. With LOOPBACK nothing of this is seen: the program waits there until its worker has stopped.
"""

import os
import runpy
import sys

module, *arguments = sys.argv[1:]
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__", alter_sys=True)
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)
