"""What a process of ours gives up for itself: core dumps, a life after its parent, memory and time without end.

Where a system lacks one of these, the others hold all the same.
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
"""Exit code of a process that `limit` has ended for its memory."""
OUT_OF_TIME = 78
"""Exit code of one that it has ended for its time."""


def confine() -> None:
    """No core dumps, which would hold texts; on Linux, an end together with the thread that started this process.

    Elsewhere the parent's end is seen by the pipe that ends with it: see `end_soon`.
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
    """Ends this process after so many seconds, whatever its other threads are doing. Does not return."""
    time.sleep(seconds)
    os._exit(0)


def limit(memory: int, seconds: int) -> None:
    """Ends this process when it takes more bytes of memory, or seconds; may raise MemoryError before that.

    Where the system enforces no limit itself, a thread looks now and then. On Windows memory is not limited.
    """
    if sys.platform != "win32":
        _lower(resource.RLIMIT_AS, memory)
        _lower(resource.RLIMIT_CPU, seconds + 1)
    threading.Thread(target=_watch, args=(memory, time.monotonic() + seconds), daemon=True).start()


def _watch(memory: int, end: float) -> None:
    while time.monotonic() < end:
        # macOS takes RLIMIT_AS and does not enforce it. Elsewhere this figure, too, would be wrong: Linux hands a
        # parent's maximum on to the program that a child of it executes.
        if sys.platform == "darwin" and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > memory:
            os._exit(OUT_OF_MEMORY)
        time.sleep(0.05)
    os._exit(OUT_OF_TIME)


def _lower(which: int, value: int) -> None:
    """Sets a limit where that is allowed and lower than the present one."""
    if sys.platform == "win32":
        return
    try:
        _, hard = resource.getrlimit(which)
        if hard == resource.RLIM_INFINITY or hard > value:
            resource.setrlimit(which, (value, value))
    except (OSError, ValueError):
        pass
