"""Sessions on the disk: written in the background, read back, listed.

A session NAME is NAME.json and, beside it, the generation before: NAME.1.json. What the
bytes mean is the caller's: `archive` knows.

Every start of the program saves under a name of its own (`autosave_name`): two programs at
once never write the same file, and neither the session that was resumed nor another
program's is overwritten. `prune` keeps the newest ten of these.
"""

import errno
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from tokex_gguf.storage import TEMPORARY, save_generation

APART = 0.8
"""Seconds between the beginnings of two writes, at the least."""
SETTLE = 0.5
"""Seconds that the first change waits for others. The answer to a key press comes before its save."""
QUIET, AT_MOST = 0.06, 0.2
"""Seconds without a change that a save which is due waits for, and how long it waits for them: a key whose answer is
being computed is not to share the processor with it."""
AGAIN = 5.0
"""Seconds until what could not be written is tried again, where nothing asks for it before."""
LARGEST = 1 << 30
"""Bytes of the largest file that is read."""
AUTOSAVES = 10
"""Autosaves that `prune` leaves."""
_STALE = 3600.0
"""Seconds after which an unfinished file belongs to no running save."""

_NAME = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_. -]{0,62}[A-Za-z0-9_-])?")
_AUTOSAVE = re.compile(r"autosave-[0-9]{8}-[0-9]{6}-[0-9]+")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
"""Names of devices, which Windows allows no file."""

_T = TypeVar("_T")


class NoSession(Exception):
    """There is no session of this name that can be read. The message is one line that says why."""


class Kept(NamedTuple):
    """A session on the disk."""

    name: str
    modified: float
    """When it was saved last, in seconds since 1970."""


def valid_name(name: str) -> bool:
    """Whether a session can have this name: 1 to 64 ASCII letters, digits and `-_. `.

    Neither end may be a dot or a space, and the name may not end with `.1`, which is the
    generation before of another one.

    >>> valid_name("A first try"), valid_name("../etc"), valid_name("a.1"), valid_name("")
    (True, False, False, False)
    """
    return bool(_NAME.fullmatch(name)) and not name.endswith(".1") and not _RESERVED.fullmatch(name)


def autosave_name(now: datetime) -> str:
    """The name that this start of the program saves under: no other start has it."""
    return f"autosave-{now:%Y%m%d-%H%M%S}-{os.getpid()}"


def is_autosave(name: str) -> bool:
    """Whether the program gave a session this name itself.

    >>> is_autosave("autosave-20260101-120000-42"), is_autosave("mine")
    (True, False)
    """
    return bool(_AUTOSAVE.fullmatch(name))


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    """The files of a session: the newest generation, and the one before."""
    return folder / f"{name}.json", folder / f"{name}.1.json"


# --- reading


def read(folder: Path, name: str, load: Callable[[bytes], _T]) -> tuple[_T, str]:
    """A session's newest readable generation, and what there is to tell about it: one line, or "".

    `load` raises ValueError for bytes that are no session. Raises NoSession.
    """
    if not valid_name(name):
        raise NoSession(f"not a name of a session: {name!r}")
    newest, previous = _paths(folder, name)
    try:
        return load(_bytes(newest)), ""
    except (OSError, ValueError) as error:
        missing, reason = isinstance(error, FileNotFoundError), _reason(error)
    try:
        value = load(_bytes(previous))
    except FileNotFoundError:
        raise NoSession(f"there is no session {name}" if missing else f"{newest}: {reason}") from None
    except (OSError, ValueError) as error:
        raise NoSession(f"{newest}: {reason}; and the one before: {_reason(error)}") from None
    return value, f"the newest session file was unreadable ({reason}): the one before is shown"


def _bytes(path: Path) -> bytes:
    """What is in a file. Who opens a pipe waits for its other end, and a file with holes may be larger than memory."""
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "not a plain file")
    if about.st_size > LARGEST:
        raise ValueError(f"larger than {LARGEST >> 20} MB")
    return path.read_bytes()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) or type(error).__name__


def names(folder: Path) -> list[Kept]:
    """The sessions in a folder, saved last first. A folder that cannot be read has none."""
    found: dict[str, float] = {}
    with suppress(OSError):
        for path in folder.iterdir():
            name = path.name.removesuffix(".json").removesuffix(".1")
            if path.name.endswith(".json") and valid_name(name):
                with suppress(OSError):
                    found[name] = max(found.get(name, 0.0), path.stat().st_mtime)
    return sorted((Kept(*item) for item in found.items()), key=lambda kept: (-kept.modified, kept.name))


def prune(folder: Path, now: float) -> None:
    """Removes all autosaves but the newest ten, and what killed programs left unfinished; fails in silence.

    `now` is in seconds since 1970. An autosave of a program that still runs is there again
    with that program's next save.
    """
    old = [kept.name for kept in names(folder) if is_autosave(kept.name)][AUTOSAVES:]
    for path in (path for name in old for path in _paths(folder, name)):
        with suppress(OSError):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name.startswith(TEMPORARY):
                with suppress(OSError):
                    if now - path.stat().st_mtime > _STALE:
                        path.unlink()


# --- writing


class Keeper:
    """Saves one session again and again, in a thread of its own.

    Between a change and the beginning of its save lies a second at the most. Nothing here raises
    into the caller, and what fails costs nothing that was saved before.
    """

    def __init__(self, folder: Path, name: str, tell: Callable[[str], None]) -> None:
        """`tell` is called from the thread: with the reason, once for each kind of failure until a save succeeds."""
        if not valid_name(name):
            raise ValueError(f"not a name of a session: {name!r}")
        self._folder = folder
        self._newest, self._previous = _paths(folder, name)
        self._tell = tell
        self._own = False
        """Whether the newest generation is of this keeper's making."""
        self._told: set[str] = set()
        self._changed = threading.Condition()
        # What follows is read and changed under that lock only.
        self._dump: Callable[[], bytes] | None = None
        """The state to be saved; None while there is nothing unsaved."""
        self._due = self._latest = 0.0
        """When to save, and when the last change was, on the monotonic clock."""
        self._hurry = False
        self._closing = False
        self._last = -APART
        """When the last write began, on the monotonic clock."""
        self._offered = self._saved = 0
        """How many states were offered, and which of them is saved."""
        self._tries = 0
        """Writes that have ended, well or not."""
        self._writing = False
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def offer(self, dump: Callable[[], bytes]) -> None:
        """The state has changed: `dump`, called in the thread, gives its bytes. Returns at once.

        Only the state offered last is saved.
        """
        with self._changed:
            if self._closing:
                return
            self._latest = time.monotonic()
            if self._dump is None:
                self._due = max(self._latest + SETTLE, self._last + APART)
                # Else the thread waits for that moment already: waking it would cost every key its time.
                self._changed.notify_all()
            self._dump = dump
            self._offered += 1

    def save_now(self, timeout: float) -> bool:
        """Saves what is unsaved without waiting for its time; returns whether all that was offered is saved."""
        with self._changed:
            wanted = self._offered
            if self._saved < wanted and not self._closing:
                self._hurry = True
                self._changed.notify_all()
                # What is being written may be an older state, or fail for a reason that is gone now.
                tries = self._tries + 1 + self._writing
                self._changed.wait_for(lambda: self._saved >= wanted or self._tries >= tries, timeout)
            return self._saved >= wanted

    def close(self, timeout: float) -> bool:
        """Saves what is unsaved and ends; returns whether all that was offered is saved."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        with self._changed:
            return self._saved == self._offered

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            dump, number = taken
            saved = self._save(dump)
            with self._changed:
                self._tries += 1
                self._writing = False
                if saved:
                    self._saved = number
                    self._hurry = self._hurry and self._dump is not None
                elif self._dump is None and not self._closing:
                    self._dump, self._due = dump, time.monotonic() + AGAIN
                self._changed.notify_all()

    def _take(self) -> tuple[Callable[[], bytes], int] | None:
        """The state to write now and its number, once there is one; None at the end."""
        with self._changed:
            while True:
                moment = min(max(self._due, self._latest + QUIET), self._due + AT_MOST)
                wait = None if self._dump is None else moment - time.monotonic()
                if wait is not None and (wait <= 0 or self._hurry or self._closing):
                    break
                if self._closing:
                    return None
                self._changed.wait(wait)
            dump, self._dump, self._hurry = self._dump, None, False
            assert dump is not None
            self._last = time.monotonic()
            self._writing = True
            return dump, self._offered

    def _save(self, dump: Callable[[], bytes]) -> bool:
        try:
            data = dump()
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Who else's file is there may be damaged: it takes the place of a good one only if there is none.
            rotate = self._own or not self._previous.exists()
            save_generation(self._newest, data, self._previous if rotate else None)
        except OSError as error:
            self._failed(errno.errorcode.get(error.errno or 0, type(error).__name__), _reason(error))
        except Exception as error:  # whatever it is: the session is played on, and the player is told
            self._failed(type(error).__name__, f"{type(error).__name__}: {error}")
        else:
            self._own = True
            self._told.clear()
            return True
        return False

    def _failed(self, kind: str, reason: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            with suppress(Exception):
                self._tell(f"the session is not saved: {self._folder}: {reason}")
