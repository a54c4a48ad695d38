"""Limits that a process sets for itself: no core dumps, no life after its parent, bounds of memory and time.

Each limit holds where the system has it.
"""

import os
import signal
import sys
import threading
import time

if sys.platform != "win32":
    import resource

_PR_SET_PDEATHSIG = 1
OUT_OF_MEMORY = 77
"""Exit code of a process that `limit` ended for its memory."""
OUT_OF_TIME = 78
"""Exit code of a process that `limit` ended for its time."""


def confine() -> None:
    """Disables core dumps, which would contain texts; on Linux, the process ends with the thread that started it.

    Elsewhere the end of a pipe shows the parent's end: see `end_soon`.
    """
    if sys.platform != "win32":
        _lower(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        import ctypes

        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        except (OSError, AttributeError):
            pass  # a C library without it


def end_soon(seconds: float) -> None:
    """Ends this process after `seconds`, whatever its other threads do. Does not return."""
    time.sleep(seconds)
    os._exit(0)


def limit(memory: int, seconds: int) -> None:
    """Ends this process above `memory` bytes or `seconds`; MemoryError may be raised before that.

    A thread checks the limits that the system does not enforce. On Windows memory is not limited.
    """
    if sys.platform != "win32":
        _lower(resource.RLIMIT_AS, memory)
        _lower(resource.RLIMIT_CPU, seconds + 1)
    threading.Thread(target=_watch, args=(memory, time.monotonic() + seconds), daemon=True).start()


def _watch(memory: int, end: float) -> None:
    while time.monotonic() < end:
        # macOS accepts RLIMIT_AS and does not enforce it. Elsewhere this figure would be wrong: on Linux a program
        # inherits the maximum of the process that started it.
        if sys.platform == "darwin" and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > memory:
            os._exit(OUT_OF_MEMORY)
        time.sleep(0.05)
    os._exit(OUT_OF_TIME)


def _lower(which: int, value: int) -> None:
    """Sets a limit if that is allowed and lower than the current one."""
    if sys.platform == "win32":
        return
    try:
        _, hard = resource.getrlimit(which)
        if hard == resource.RLIM_INFINITY or hard > value:
            resource.setrlimit(which, (value, value))
    except (OSError, ValueError):
        pass
