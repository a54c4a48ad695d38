"""By what a file is taken to be unchanged, without reading it."""

import os
import sys
import time

YOUNG = 2 * 10**9
"""Nanoseconds within which a second change need not give a file another time: FAT counts in two seconds."""


def stamp(status: os.stat_result) -> list[int]:
    """Size in bytes, times of the last changes of content and of anything in nanoseconds, and the file's number."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def settled(status: os.stat_result, now: int | None = None) -> bool:
    """Whether every later change gives the file another stamp. `now`: nanoseconds since the epoch."""
    # Where the system counts it, the last change of anything cannot be set back. Elsewhere that is the creation.
    changed = status.st_mtime_ns if sys.platform == "win32" else status.st_ctime_ns
    return (time.time_ns() if now is None else now) - changed > YOUNG
