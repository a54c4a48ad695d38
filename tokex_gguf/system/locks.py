"""Locks between programs: held by one process, and released by the system when it ends, however it ends."""

import logging
import os
import sys
import time
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger(__name__)

_TRIES, _PAUSE = 5, 0.02
"""How often a lock is asked for, and seconds between: whoever asks `is_held` has it for a moment."""

_told: list[str] = []


class Lock:
    """A lock that this process holds until `release`."""

    def __init__(self, path: Path, file: int) -> None:
        """`file` is the descriptor of the locked file at `path`."""
        self._path, self._file = path, file

    def release(self) -> None:
        """Gives the lock up and removes its file."""
        # Removed while it is held: whoever has opened the same file sees that it is no more the one at this path.
        with suppress(OSError):
            self._path.unlink()
        _close(self._file)
        with suppress(OSError):
            if sys.platform == "win32":  # no open file can be removed there
                self._path.unlink()


def acquire(path: Path) -> Lock | None:
    """The lock whose file is `path`, created for its owner alone; None while another process holds it.

    Where the file system has no locks, everyone gets one, and the log says so once.
    Raises OSError where the file cannot be created.
    """
    for attempt in range(_TRIES):
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            got = _try(file, shared=False)
        except OSError as error:
            _tell(path, error)
            return Lock(path, file)
        if got and _is_at(file, path):
            return Lock(path, file)
        _close(file)
        if not got and attempt + 1 < _TRIES:
            time.sleep(_PAUSE)
    return None


def is_held(path: Path) -> bool:
    """Whether a process, this one included, holds the lock whose file is `path`. Without locks, none does."""
    return state(path) is LockState.HELD


class LockState(Enum):
    """What is known of a lock."""

    FREE = auto()
    HELD = auto()
    UNKNOWN = auto()
    """The file system has no locks, or does not tell."""


def state(path: Path) -> LockState:
    """What is known of the lock whose file is `path`."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return LockState.FREE
    except OSError:
        return LockState.UNKNOWN
    try:
        return LockState.FREE if _try(file, shared=True) else LockState.HELD
    except OSError:
        return LockState.UNKNOWN
    finally:
        _close(file)


def _try(file: int, *, shared: bool) -> bool:
    """Locks an open file; returns whether it could. Raises OSError where there are no locks."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def _close(file: int) -> None:
    with suppress(OSError):
        if sys.platform == "win32":
            os.lseek(file, 0, os.SEEK_SET)
            with suppress(OSError):
                msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
    with suppress(OSError):
        os.close(file)


def _tell(path: Path, error: OSError) -> None:
    if str(path.parent) not in _told:
        _told.append(str(path.parent))
        log.warning("%s: no locks here (%s): two programs can save the same session", path.parent, error.strerror)
