"""Sessions on the disk: naming, locking, saving, reading, listing, removing.

A session NAME is the file NAME.json and its previous generation NAME.1.json. The program that
plays it holds the lock NAME.lock. `codec` knows the meaning of the bytes, and `summary` that of
their summary.

A new session gets a unique name (`autosave_name`). A resumed session keeps its name.
"""

import errno
import os
import re
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from tokex_gguf.sessions import summary
from tokex_gguf.sessions.summary import Summary
from tokex_gguf.system import locks
from tokex_gguf.system.files import (
    TEMPORARY,
    Data,
    create_private,
    owners_alone,
    place,
    private_folder,
    read_plain,
    same_file,
    save_generation,
    write,
)
from tokex_gguf.system.locks import Lock
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.names import valid_name

MOST_BYTES = 1 << 30
"""Bytes of a file that is read or saved, at the most."""
MOST_AUTOSAVES = 100
"""Autosaves that `prune` leaves, at the most."""
MOST_AUTOSAVE_BYTES = 1 << 30
"""Bytes of all autosaves together, at the most."""
NEWEST_KEPT = 10
"""Newest autosaves, which are never removed."""
REORDERED_AFTER = 30.0
"""Seconds after which a save looks for sessions that were saved meanwhile, and gets a higher number than theirs."""
_STALE_AFTER = 3600.0
"""Seconds after which an unfinished file belongs to no running save."""
_HEAD_BYTES = 128
"""Bytes at the beginning of a session's file that identify its state: they include the checksum."""

_AUTOSAVE = re.compile(r"autosave-[0-9]{8}-[0-9]{6}-[0-9a-f]+")

_T = TypeVar("_T")


class NoSession(Exception):
    """No session of this name can be read, for this reason."""


class CannotChange(Exception):
    """A session cannot be renamed or removed, for this reason."""


class SavedSession(NamedTuple):
    """A session on the disk."""

    name: str
    saved: float
    """The time of the last save in seconds since 1970, by the saving program."""
    size: int
    """Bytes, both generations together."""
    summary: Summary | None
    """None for files of version 0.1.0, and unreadable ones."""
    newer: bool = False
    """Whether a newer version of the program saved it, so that `weight` is unknown."""

    @property
    def order(self) -> tuple[int, float, str]:
        """Sort key: the session played last first."""
        return (-self.summary.sequence if self.summary else 0, -self.saved, self.name)

    @property
    def weight(self) -> int:
        """How much was played; without a summary, estimated by the file's size."""
        return self.summary.weight if self.summary else self.size // 50


def autosave_name(now: datetime) -> str:
    """A name for a new session, unique among programs, machines and clocks."""
    return f"autosave-{now.year:04}{now:%m%d-%H%M%S}-{os.urandom(6).hex()}"


def _now() -> datetime:
    """The present time; if that is no valid date, the beginning of 1970."""
    try:
        return datetime.now()
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0, UTC)


def is_autosave(name: str) -> bool:
    """Whether a session's name is an autosave's.

    >>> is_autosave("autosave-20260101-120000-42"), is_autosave("mine")
    (True, False)
    """
    return bool(_AUTOSAVE.fullmatch(name))


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    """The files of a session: the newest generation, and the previous one."""
    return folder / f"{name}.json", folder / f"{name}.1.json"


def _lock_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"


# --- reading


def read(folder: Path, name: str, load: Callable[[bytes], _T]) -> tuple[_T, str]:
    """A session's newest readable generation, and a line for the player, or "".

    `load` raises ValueError for bytes that are no session. Raises NoSession.
    """
    if not valid_name(name):
        raise NoSession(f"not a name of a session: {name!r}")
    newest, previous = _paths(folder, name)
    try:
        return load(read_plain(newest, MOST_BYTES)), ""
    except (OSError, ValueError) as error:
        missing, reason = isinstance(error, FileNotFoundError), reason_of(error)
    if (head := _head(newest, summary.SUMMARY_BYTES)) and summary.is_newer(head):
        # The previous generation may be readable, but a save after it would replace the newer one.
        raise NoSession(f"{newest}: {reason}")
    try:
        value = load(read_plain(previous, MOST_BYTES))
    except FileNotFoundError:
        raise NoSession(f"there is no session {name}" if missing else f"{newest}: {reason}") from None
    except (OSError, ValueError) as error:
        raise NoSession(f"{newest}: {reason}; and the one before: {reason_of(error)}") from None
    return value, f"the newest session file was unreadable ({reason}): the one before is shown"


def reason_of(error: Exception) -> str:
    """An error's message in one line."""
    if isinstance(error, OSError):
        return system_reason(error)
    return str(error) or type(error).__name__


def _head(path: Path, length: int) -> bytes | None:
    """The first bytes of a plain file; None if it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            return file.read(length)
    except OSError:
        return None


def _beginning(data: Data) -> bytes:
    """The bytes that `_head` would read of a file with this content."""
    if isinstance(data, bytes):
        return data[:_HEAD_BYTES]
    beginning = b""
    for part in data:
        if len(beginning) >= _HEAD_BYTES:
            break
        beginning += part[:_HEAD_BYTES]
    return beginning[:_HEAD_BYTES]


def sessions(folder: Path) -> list[SavedSession]:
    """The sessions in a folder, the last played first. Empty for an unreadable folder."""
    files: dict[str, list[os.stat_result]] = {}
    with suppress(OSError):
        for path in folder.iterdir():
            name = path.name.removesuffix(".json").removesuffix(".1")
            if path.name.endswith(".json") and valid_name(name):
                with suppress(OSError):
                    files.setdefault(name, []).append(path.stat())
    return sorted((_saved_session(folder, name, found) for name, found in files.items()), key=lambda one: one.order)


def _saved_session(folder: Path, name: str, files: list[os.stat_result]) -> SavedSession:
    heads = [head for path in _paths(folder, name) if (head := _head(path, summary.SUMMARY_BYTES))]
    about = next((parsed for head in heads if (parsed := summary.parse(head))), None)
    modified = max(file.st_mtime for file in files)
    return SavedSession(
        name,
        about.saved if about else modified,
        sum(file.st_size for file in files),
        about,
        any(map(summary.is_newer, heads)),
    )


def when(moment: float) -> str:
    """A moment in seconds since 1970 as local date and time, to the minute."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
    except (OverflowError, OSError, ValueError):
        return "at a time that is none"


def is_open(folder: Path, name: str) -> bool:
    """Whether a program has this session open."""
    return locks.is_held(_lock_path(folder, name))


# --- saving


class Slot:
    """The place of one session, locked against other programs until `close`. Not thread-safe."""

    def __init__(self, folder: Path, name: str = "", lock: Lock | None = None) -> None:
        """Without a name, the first save takes a new one. `claim` creates a slot with a name."""
        self.folder, self.name, self._lock = folder, name, lock
        self._expected = _head(_paths(folder, name)[0], _HEAD_BYTES) if name else None
        """The first bytes of the newest generation, as last read or written; None: there was none."""
        self._own = False
        """Whether this slot wrote the newest generation."""
        self._sequence = 0
        self._looked = -REORDERED_AFTER
        """When other sessions were listed last, on the monotonic clock."""
        self._abandoned = False

    @property
    def filled(self) -> bool:
        """Whether the slot has a session to resume."""
        return bool(self.name) and any(path.exists() for path in _paths(self.folder, self.name))

    def sequence(self, *, now: bool = False) -> int:
        """The number for the next save, larger than those of all other sessions. They are listed rarely, or `now`.

        If another session has the largest possible number, the same: then the clock decides.
        """
        if now or time.monotonic() - self._looked >= REORDERED_AFTER:
            self._looked = time.monotonic()
            others = [saved.summary for saved in sessions(self.folder) if saved.name != self.name]
            last = max((about.sequence for about in others if about), default=0)
            self._sequence = self._sequence if self._sequence > last else min(last + 1, summary.MOST_COUNT)
        return self._sequence

    @property
    def numbered(self) -> int:
        """The last number of `sequence`."""
        return self._sequence

    def save(self, data: Data, *, flush: bool = True) -> str:
        """Saves a state; returns a line for the player, or "".

        If another program has saved under this name meanwhile, as it can without locks, this slot takes a new
        name, so that neither session is lost. Raises OSError, or Abandoned.
        """
        line = ""
        if (size := len(data) if isinstance(data, bytes) else sum(map(len, data))) > MOST_BYTES:
            # The file could not be read again, and the next save would remove the previous one.
            raise OSError(errno.EFBIG, f"{size >> 20} MB, and no more than {MOST_BYTES >> 20} could be read again")
        if not self.name:
            self._take_new_name()
        head = _head(self._newest, _HEAD_BYTES)
        if head is not None and head != self._expected:
            line = f"another program has saved the session {self.name}: what is played here is kept as "
            self._unlock()
            self._take_new_name()
            line += self.name
            head = None
        # A file from before this slot may be damaged: it must not replace a good previous generation.
        rotate = head is not None and (self._own or not self._previous.exists())
        save_generation(
            self._newest,
            data,
            self._previous if rotate else None,
            flush=flush,
            wanted=lambda: not self._abandoned or not flush,
        )
        self._own, self._expected = True, _beginning(data)
        return line

    def abandon(self) -> None:
        """Lets a save under way in another thread change nothing any more, unless it is without `flush`."""
        self._abandoned = True

    def rename(self, name: str) -> None:
        """Renames the session. Raises CannotChange or OSError."""
        if name == self.name:
            return
        if not valid_name(name):
            raise CannotChange(f"not a name of a session: {name!r}")
        if self._is_own(name):
            for ours, new in zip(_paths(self.folder, self.name), _paths(self.folder, name), strict=True):
                with suppress(FileNotFoundError):
                    ours.replace(new)
            self.name = name
            return
        other = claim(self.folder, name)
        if other is None:
            raise CannotChange(f"the session {name} is open in another program: take another name")
        try:
            if other.filled:
                raise CannotChange(f"there is a session {name} already: take another name")
            if self.name:
                _move(self._newest, other._newest)
                try:
                    _move(self._previous, other._previous)
                except OSError:
                    # Else the session would exist twice, and the name be taken at the next try.
                    _move(other._newest, self._newest)
                    raise
        except BaseException:
            other.close()
            raise
        self._unlock()
        self.name, self._lock = name, other._lock

    def _is_own(self, name: str) -> bool:
        """Whether a name differs from the session's only in case, on a file system that ignores case."""
        if name.casefold() != self.name.casefold():
            return False
        ours, new = (
            _lock_path(self.folder, each) if self._lock else _paths(self.folder, each)[0] for each in (self.name, name)
        )
        with suppress(OSError):
            return same_file(ours, new)
        return False

    def close(self) -> None:
        """Unlocks the session."""
        self._unlock()

    @property
    def _newest(self) -> Path:
        return _paths(self.folder, self.name)[0]

    @property
    def _previous(self) -> Path:
        return _paths(self.folder, self.name)[1]

    def _take_new_name(self) -> None:
        """Takes an unused name."""
        private_folder(self.folder)
        while True:
            name = autosave_name(_now())
            slot = claim(self.folder, name)
            if slot is None or slot.filled:
                continue
            self.name, self._lock, self._expected, self._own = name, slot._lock, None, False
            return

    def _unlock(self) -> None:
        if self._lock:
            self._lock.release()
        self._lock = None


def _move(source: Path, target: Path) -> None:
    """Renames a file, if it exists. Raises FileExistsError if the name is taken."""
    try:
        place(source, target)
    except FileNotFoundError:
        return
    try:
        source.unlink(missing_ok=True)
    except OSError:
        # The file has both names: the new one is removed again.
        target.unlink()
        raise


def claim(folder: Path, name: str) -> Slot | None:
    """A slot for a session of this name, which need not exist; None if another program has it locked.

    If the lock's file cannot be created, the slot is unlocked, and other programs may save there, too.
    """
    try:
        private_folder(folder)
        if folder.stat().st_mode & 0o077:
            owners_alone(folder, 0o700)
        lock = locks.acquire(_lock_path(folder, name))
    except OSError:
        return Slot(folder, name)
    return None if lock is None else Slot(folder, name, lock)


# --- renaming, removing


def _claim_existing(folder: Path, name: str) -> Slot:
    if not valid_name(name):
        raise CannotChange(f"not a name of a session: {name!r}")
    if not any(path.exists() for path in _paths(folder, name)):
        raise CannotChange(f"there is no session {name}: tokex-gguf sessions lists them")
    slot = claim(folder, name)
    if slot is None:
        raise CannotChange(f"the session {name} is open in another program")
    return slot


def rename(folder: Path, old: str, new: str) -> None:
    """Renames a session. Raises CannotChange or OSError."""
    slot = _claim_existing(folder, old)
    try:
        slot.rename(new)
    finally:
        slot.close()


def remove(folder: Path, name: str) -> None:
    """Removes a session that no program has open. Raises CannotChange or OSError."""
    slot = _claim_existing(folder, name)
    try:
        for path in _paths(folder, name):
            path.unlink(missing_ok=True)
    finally:
        slot.close()


def prune(folder: Path, playing: str) -> list[str]:
    """Removes autosaves above `MOST_AUTOSAVES`, or `MOST_AUTOSAVE_BYTES`, and unfinished files of killed programs.

    The ones with the least played go first. Never removed are named sessions, the one that is `playing`, open ones,
    the `NEWEST_KEPT`, and the last one of each day, unless there are too many days. Those of a newer version of the
    program are not counted, as their weight is unknown. Returns a line for each removed session while a smaller one
    is left. Ignores errors.
    """
    _tidy(folder)
    autosaves = [one for one in sessions(folder) if is_autosave(one.name) and not one.newer]
    count, size = len(autosaves), sum(one.size for one in autosaves)
    if count <= MOST_AUTOSAVES and size <= MOST_AUTOSAVE_BYTES:
        return []
    lines: list[str] = []
    days = {_day(one): one.name for one in reversed(autosaves)}  # the last one of each day
    spared = {playing, *(one.name for one in autosaves[:NEWEST_KEPT])}
    # Oldest first. The sort is stable: of equal weights, the oldest is removed first.
    free = [one for one in reversed(autosaves) if one.name not in spared]
    not_last_of_day = [one for one in free if one.name != days[_day(one)]]
    victims = [
        *sorted(not_last_of_day, key=lambda one: one.weight),
        *(one for one in free if one.name == days[_day(one)]),
    ]
    weights = {one.name: one.weight for one in autosaves}
    for one in victims:
        if count <= MOST_AUTOSAVES and size <= MOST_AUTOSAVE_BYTES:
            break
        try:
            remove(folder, one.name)
        except (CannotChange, OSError):
            continue
        count, size = count - 1, size - one.size
        del weights[one.name]
        if any(weight < one.weight for weight in weights.values()):
            lines.append(
                f"more than {MOST_AUTOSAVES} sessions, or {MOST_AUTOSAVE_BYTES >> 20} MB: {one.name} was removed"
            )
    return lines


def _day(one: SavedSession) -> str:
    return when(one.saved)[:10]


def _tidy(folder: Path) -> None:
    """Removes stale unfinished files and locks of killed programs."""
    with suppress(OSError):
        now: float | None = None
        for path in folder.iterdir():
            with suppress(OSError):
                if path.name.startswith(TEMPORARY):
                    now = _clock(folder) if now is None else now
                    if abs(now - path.stat().st_mtime) > _STALE_AFTER:
                        path.unlink()
                elif path.name.endswith(".lock") and not locks.is_held(path) and (lock := locks.acquire(path)):
                    lock.release()


def _clock(folder: Path) -> float:
    """The time by the file system's clock. Raises OSError.

    A file server's clock may differ by hours, and files being written would look stale.
    """
    probe = folder / f"{TEMPORARY}{os.urandom(8).hex()}"
    with create_private(probe):
        pass
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def rescue(data: Data, name: str, folder: Path) -> Path:
    """Writes a session that cannot be saved in its place to a new file in a folder. Raises OSError."""
    path = folder / f"tokex-gguf-{name or 'session'}-{os.urandom(4).hex()}.json"
    try:
        with create_private(path) as file:
            write(file, data)
    except OSError:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise
    return path
