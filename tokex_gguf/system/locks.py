"""Locks between programs: held by one process, and released by the system when the process ends in any way."""

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
"""Tries to take a lock, and seconds between them: a call of `is_held` elsewhere holds it for a moment."""

_warned: list[str] = []


class Lock:
    """A lock that this process holds until `release`."""

    def __init__(self, path: Path, file: int) -> None:
        """`file`: the descriptor of the locked file at `path`."""
        self._path, self._file = path, file

    def release(self) -> None:
        """Releases the lock and removes its file."""
        # Removed while locked, so that other programs with the file open see that it is not at this path any more.
        with suppress(OSError):
            self._path.unlink()
        _close(self._file)
        with suppress(OSError):
            if sys.platform == "win32":  # where no open file can be removed
                self._path.unlink()


def acquire(path: Path) -> Lock | None:
    """The lock whose file is `path`, created for its owner alone; None while another process holds it.

    If the file system has no locks, every process gets one, with one warning in the log.
    Raises OSError if the file cannot be created.
    """
    for attempt in range(_TRIES):
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            locked = _try(file, shared=False)
        except OSError as error:
            _warn(path, error)
            return Lock(path, file)
        if locked and _is_at(file, path):
            return Lock(path, file)
        _close(file)
        if not locked and attempt + 1 < _TRIES:
            time.sleep(_PAUSE)
    return None


def is_held(path: Path) -> bool:
    """Whether a process, this one included, holds the lock whose file is `path`. False without locks."""
    return state(path) is LockState.HELD


class LockState(Enum):
    """The state of a lock."""

    FREE = auto()
    HELD = auto()
    UNKNOWN = auto()
    """The file system has no locks, or the file cannot be opened."""


def state(path: Path) -> LockState:
    """The state of the lock whose file is `path`."""
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
    """Tries to lock an open file; returns whether it did. Raises OSError if the file system has no locks."""
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


def _warn(path: Path, error: OSError) -> None:
    if str(path.parent) not in _warned:
        _warned.append(str(path.parent))
        log.warning("%s: no locks here (%s): two programs can save the same session", path.parent, error.strerror)
