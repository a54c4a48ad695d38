"""The files through which two engines are compared: one writes rows of numbers, the other reads them.

Only this user can read them. Their folder is removed at the end of the program; after a crash, by the next program that
makes such a folder.
"""

import logging
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from tokex_gguf.system import locks
from tokex_gguf.system.files import create_private, private_folder
from tokex_gguf.system.locks import Lock, LockState

log = logging.getLogger(__name__)

_LOCK_SUFFIX = ".lock"
_DAY_SECONDS = 86_400.0


def _is_old(path: Path) -> bool:
    with suppress(OSError):
        return abs(time.time() - path.stat().st_mtime) > _DAY_SECONDS
    return False


class RowsFolder:
    """The folder of this program, made at its first use."""

    def __init__(self, parent: Path) -> None:
        """`parent`: where all such folders are."""
        self._parent = parent
        self._folder: Path | None = None
        self._lock: Lock | None = None
        self._file: Path | None = None

    def folder(self) -> Path:
        """The folder. Raises OSError."""
        if self._folder is None:
            private_folder(self._parent)
            self._sweep()
            folder = self._parent / os.urandom(8).hex()
            self._lock = locks.acquire(folder.with_suffix(_LOCK_SUFFIX))
            private_folder(folder)
            self._folder = folder
        return self._folder

    def file(self) -> Path:
        """A new empty file, in place of the one before. Raises OSError."""
        if self._file:
            with suppress(OSError):  # Windows removes no open file: it goes with the folder
                self._file.unlink()
        name = os.urandom(8).hex()
        try:
            self._file = self.folder() / name
            create_private(self._file).close()
        except FileNotFoundError:  # the folder was removed
            self.close()
            self._file = self.folder() / name
            create_private(self._file).close()
        return self._file

    def close(self) -> None:
        """Removes the folder."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock:
            self._lock.release()
        self._folder = self._lock = self._file = None

    def _sweep(self) -> None:
        """Removes the folders of crashed programs; without locks, those that are a day old."""
        for lock in self._parent.glob(f"*{_LOCK_SUFFIX}"):
            state = locks.state(lock)
            if state is LockState.FREE or (state is LockState.UNKNOWN and _is_old(lock)):
                log.info("removed what an earlier program left: %s", lock.stem)
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                with suppress(OSError):
                    lock.unlink()
