"""Stamps by which a file counts as unchanged, without reading it."""

import os
import sys
import time

TIME_RESOLUTION = 2 * 10**9
"""Nanoseconds within which a second change may leave a file's time the same: FAT counts in two seconds."""


def stamp(status: os.stat_result) -> list[int]:
    """Size in bytes, time of the last change of content and of metadata in nanoseconds, and inode."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def settled(status: os.stat_result, now: int | None = None) -> bool:
    """Whether any later change gives the file another stamp. `now`: nanoseconds since the epoch."""
    # The time of the last change of metadata cannot be set back. On Windows st_ctime is the creation.
    changed = status.st_mtime_ns if sys.platform == "win32" else status.st_ctime_ns
    return (time.time_ns() if now is None else now) - changed > TIME_RESOLUTION
