"""Processes that the comparisons start: they end in time, and with whoever started them.

    command ─► started() ─► what it costs (CPU, peak of memory, from /proc) ─► ended, with all that it started itself

Linux only, as /proc is. Does not know what is run.
"""

import contextlib
import ctypes
import dataclasses
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

# What a well-behaved process needs to end after it was asked to.
END_WITHIN_S = 10
PR_SET_PDEATHSIG = 1
LOOK_EVERY_S = 0.2
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _end_with_parent():
    """In the child: it is killed when the script is, even if the script could not say good-bye."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def exit_on_signals():
    """Makes SIGTERM end a script as Ctrl-C does, so that everything it started is ended on the way out."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def start(command, **options):
    """Starts a process in a group of its own."""
    return subprocess.Popen(command, start_new_session=True, preexec_fn=_end_with_parent, **options)


def _signal_group(process, number):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@contextlib.contextmanager
def ended(process):
    """Ends a process, and its group, with the block."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            print(f"{process.args[0]} did not end within {END_WITHIN_S} s of SIGTERM and is killed", file=sys.stderr)
        _signal_group(process, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


@dataclasses.dataclass
class Cost:
    """What a process used."""

    wall_s: float
    # Of all that it waited for, too.
    cpu_s: float
    # Of itself alone, as last seen while it ran.
    own_cpu_s: float


def cpu_s(pid):
    """User and system time of a process that is there, in seconds."""
    # The name of the program, in brackets, may hold anything; what follows it does not.
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def peak_bytes(pid):
    """The most memory that a process that is there ever had resident (VmHWM)."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    sys.exit(f"/proc/{pid}/status has no VmHWM")


class NotInTime(SystemExit):
    """A command that did not end in time; ends the script, unless somebody expects it."""


def finished(command, log_path, timeout_s, **options):
    """Runs a command to its end, in time or not at all; returns what it used. Its words go to the log, and are shown if it fails."""
    began = time.perf_counter()
    with open(log_path, "wb") as log:
        process = start(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **options)
        with ended(process):
            status, usage, own_cpu_s = _wait(process, timeout_s)
    wall_s = time.perf_counter() - began
    words = " ".join(map(str, command))
    tail = pathlib.Path(log_path).read_text(errors="replace")[-4000:]
    if status is None:
        raise NotInTime(f"this did not end within {timeout_s} s: {words}\n{tail}")
    if status != 0:
        sys.exit(f"this ended with {status}: {words}\n{tail}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, own_cpu_s)


def _wait(process, timeout_s):
    """The process' code, or None if it takes longer, and its usage: subprocess keeps the former only.

    What it used itself is no more known when it has ended, and is therefore looked at now and then.
    """
    handle = os.pidfd_open(process.pid)
    until = time.monotonic() + timeout_s
    own_cpu_s = 0.0
    try:
        while not select.select([handle], [], [], LOOK_EVERY_S)[0]:
            own_cpu_s = cpu_s(process.pid)
            if time.monotonic() > until:
                return None, None, own_cpu_s
        # It has ended and is not waited for yet, so that it still stands in /proc.
        own_cpu_s = max(own_cpu_s, cpu_s(process.pid))
    finally:
        os.close(handle)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage, own_cpu_s
