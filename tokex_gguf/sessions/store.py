"""Sessions on the disk: named, held against other programs, saved, read back, listed, removed.

A session NAME is NAME.json and, beside it, the generation before: NAME.1.json. Whoever plays it
holds the lock NAME.lock. What the bytes mean is the caller's: `archive` knows; their summary is
`summary`'s.

A program that begins a new session saves it under a name of its own (`autosave_name`). One that
goes on with a session saves it under the name it has.
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
    same_file,
    save_generation,
    write,
)
from tokex_gguf.system.locks import Lock
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.names import valid_name

MOST_BYTES = 1 << 30
"""Bytes of the largest file that is read, or saved."""
AUTOSAVES = 100
"""Autosaves that `prune` leaves, at the most."""
TOTAL = 1 << 30
"""Bytes that all autosaves may take together."""
NEWEST = 10
"""Autosaves that are not removed, however little was played, since they were saved last."""
REORDERED_AFTER = 30.0
"""Seconds after which a session that is played looks whether others were saved meanwhile, and takes its place
before them."""
_STALE = 3600.0
"""Seconds after which an unfinished file belongs to no running save."""
_HEAD = 128
"""Bytes that tell one state of a session's file from another: its checksum is among them."""

_AUTOSAVE = re.compile(r"autosave-[0-9]{8}-[0-9]{6}-[0-9a-f]+")

_T = TypeVar("_T")


class NoSession(Exception):
    """There is no session of this name that can be read. The message is one line that says why."""


class CannotChange(Exception):
    """A session cannot be renamed or removed. The message is one line that says why."""


class SavedSession(NamedTuple):
    """A session on the disk."""

    name: str
    saved: float
    """When it was saved last, in seconds since 1970, as told by what saved it."""
    size: int
    """Bytes, both generations together."""
    summary: Summary | None
    """None for files of version 0.1.0, and unreadable ones."""
    newer: bool = False
    """Whether a newer version of the program made it: how much was played is not known."""

    @property
    def order(self) -> tuple[int, float, str]:
        """Sorts sessions, the one played last first."""
        return (-self.summary.sequence if self.summary else 0, -self.saved, self.name)

    @property
    def weight(self) -> int:
        """How much was played; where the file does not say so, as much as fills a file of its size."""
        return self.summary.weight if self.summary else self.size // 50


def autosave_name(now: datetime) -> str:
    """A name for a new session. No other call gives the same one, whatever program, machine or clock it is."""
    return f"autosave-{now.year:04}{now:%m%d-%H%M%S}-{os.urandom(6).hex()}"


def _now() -> datetime:
    """What the clock says; where that is no date of a calendar, the beginning of 1970."""
    try:
        return datetime.now()
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0, UTC)


def is_autosave(name: str) -> bool:
    """Whether the program gave a session this name itself.

    >>> is_autosave("autosave-20260101-120000-42"), is_autosave("mine")
    (True, False)
    """
    return bool(_AUTOSAVE.fullmatch(name))


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    """The files of a session: the newest generation, and the one before."""
    return folder / f"{name}.json", folder / f"{name}.1.json"


def _lock_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"


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
        missing, reason = isinstance(error, FileNotFoundError), reason_of(error)
    if (head := _head(newest, summary.SUMMARY_BYTES)) and summary.is_newer(head):
        # The one before may be readable. Who plays on from that would save it in the place of what was played since.
        raise NoSession(f"{newest}: {reason}")
    try:
        value = load(_bytes(previous))
    except FileNotFoundError:
        raise NoSession(f"there is no session {name}" if missing else f"{newest}: {reason}") from None
    except (OSError, ValueError) as error:
        raise NoSession(f"{newest}: {reason}; and the one before: {reason_of(error)}") from None
    return value, f"the newest session file was unreadable ({reason}): the one before is shown"


def _bytes(path: Path) -> bytes:
    """What is in a file. Who opens a pipe waits for its other end, and a file with holes may be larger than memory."""
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "not a plain file")
    if about.st_size > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES >> 20} MB")
    return path.read_bytes()


def reason_of(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError):
        return system_reason(error)
    return str(error) or type(error).__name__


def _head(path: Path, length: int) -> bytes | None:
    """The first bytes of a plain file; None where there is none that can be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            return file.read(length)
    except OSError:
        return None


def _beginning(data: Data) -> bytes:
    """What `_head` would read of it."""
    if isinstance(data, bytes):
        return data[:_HEAD]
    beginning = b""
    for part in data:
        if len(beginning) >= _HEAD:
            break
        beginning += part[:_HEAD]
    return beginning[:_HEAD]


def sessions(folder: Path) -> list[SavedSession]:
    """The sessions in a folder, played last first. A folder that cannot be read has none."""
    files: dict[str, list[os.stat_result]] = {}
    with suppress(OSError):
        for path in folder.iterdir():
            name = path.name.removesuffix(".json").removesuffix(".1")
            if path.name.endswith(".json") and valid_name(name):
                with suppress(OSError):
                    files.setdefault(name, []).append(path.stat())
    return sorted((_described(folder, name, found) for name, found in files.items()), key=lambda one: one.order)


def _described(folder: Path, name: str, files: list[os.stat_result]) -> SavedSession:
    heads = [head for path in _paths(folder, name) if (head := _head(path, summary.SUMMARY_BYTES))]
    about = next((told for head in heads if (told := summary.parse(head))), None)
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
    """Whether a program plays this session now."""
    return locks.is_held(_lock_path(folder, name))


# --- saving


class Slot:
    """Where one session is saved, held against other programs until `close`. Not for two threads at once."""

    def __init__(self, folder: Path, name: str = "", lock: Lock | None = None) -> None:
        """Without a name, the first save gives it one. `claim` makes one with a name."""
        self.folder, self.name, self._lock = folder, name, lock
        self._expected = _head(_paths(folder, name)[0], _HEAD) if name else None
        """The beginning of the newest generation, as it was read or written last; None: there was none."""
        self._own = False
        """Whether the newest generation is of this slot's making."""
        self._sequence = 0
        self._looked = -REORDERED_AFTER
        """When other sessions were looked at last, on the monotonic clock."""
        self._abandoned = False

    @property
    def filled(self) -> bool:
        """Whether a session is there that can be gone on with."""
        return bool(self.name) and any(path.exists() for path in _paths(self.folder, self.name))

    def sequence(self, *, now: bool = False) -> int:
        """The number for the next save, larger than those of all other sessions; looked up at times only, or `now`.

        Where another one has the largest number that there is, the same: then the clock decides.
        """
        if now or time.monotonic() - self._looked >= REORDERED_AFTER:
            self._looked = time.monotonic()
            others = [one.summary for one in sessions(self.folder) if one.name != self.name]
            last = max((about.sequence for about in others if about), default=0)
            self._sequence = self._sequence if self._sequence > last else min(last + 1, summary.MOST_COUNT)
        return self._sequence

    @property
    def numbered(self) -> int:
        """That number, as it was looked up last."""
        return self._sequence

    def save(self, data: Data, *, flush: bool = True) -> str:
        """Saves a state; returns what there is to tell about it: one line, or "".

        Where another program has saved under this name meanwhile, as it can where there are no locks, nothing
        of either is lost: this one goes on under a new name. Raises OSError, or Abandoned.
        """
        line = ""
        if (size := len(data) if isinstance(data, bytes) else sum(map(len, data))) > MOST_BYTES:
            # It could not be read again, and the one that can would be gone with the save after this.
            raise OSError(errno.EFBIG, f"{size >> 20} MB, and no more than {MOST_BYTES >> 20} could be read again")
        if not self.name:
            self._begin()
        found = _head(self._newest, _HEAD)
        if found is not None and found != self._expected:
            line = f"another program has saved the session {self.name}: what is played here is kept as "
            self._leave()
            self._begin()
            line += self.name
            found = None
        # A file that was there before may be damaged: it takes the place of a good one only if there is none.
        rotate = found is not None and (self._own or not self._previous.exists())
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
        """A save that is under way in another thread is to change nothing any more; one without `flush` still may."""
        self._abandoned = True

    def rename(self, name: str) -> None:
        """Gives the session another name, under which all later states are saved. Raises Refused or OSError."""
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
                    # Else the session would be there twice, and its name taken when the player tries again.
                    _move(other._newest, self._newest)
                    raise
        except BaseException:
            other.close()
            raise
        self._leave()
        self.name, self._lock = name, other._lock

    def _is_own(self, name: str) -> bool:
        """Whether a name is that of this session in other letters, for a file system that ignores case."""
        if name.casefold() != self.name.casefold():
            return False
        ours, new = (
            _lock_path(self.folder, one) if self._lock else _paths(self.folder, one)[0] for one in (self.name, name)
        )
        with suppress(OSError):
            return same_file(ours, new)
        return False

    def close(self) -> None:
        """Lets others have the session."""
        self._leave()

    @property
    def _newest(self) -> Path:
        return _paths(self.folder, self.name)[0]

    @property
    def _previous(self) -> Path:
        return _paths(self.folder, self.name)[1]

    def _begin(self) -> None:
        """Takes a name that nobody has."""
        private_folder(self.folder)
        while True:
            name = autosave_name(_now())
            slot = claim(self.folder, name)
            if slot is None or slot.filled:
                continue
            self.name, self._lock, self._expected, self._own = name, slot._lock, None, False
            return

    def _leave(self) -> None:
        if self._lock:
            self._lock.release()
        self._lock = None


def _move(source: Path, target: Path) -> None:
    """Renames a file, if it is there. Raises FileExistsError where the name is taken."""
    try:
        place(source, target)
    except FileNotFoundError:
        return
    try:
        source.unlink(missing_ok=True)
    except OSError:
        # It has both names: the new one goes, as if nothing had been tried.
        target.unlink()
        raise


def claim(folder: Path, name: str) -> Slot | None:
    """The place of a session of this name, whether there is one or not; None while another program holds it.

    Where the folder takes no lock's file, what is saved there later is not safe from other programs, if it can be
    saved at all.
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


def _held(folder: Path, name: str) -> Slot:
    if not valid_name(name):
        raise CannotChange(f"not a name of a session: {name!r}")
    if not any(path.exists() for path in _paths(folder, name)):
        raise CannotChange(f"there is no session {name}: tokex-gguf sessions lists them")
    slot = claim(folder, name)
    if slot is None:
        raise CannotChange(f"the session {name} is open in another program")
    return slot


def rename(folder: Path, old: str, new: str) -> None:
    """Gives a session another name. Raises Refused or OSError."""
    slot = _held(folder, old)
    try:
        slot.rename(new)
    finally:
        slot.close()


def remove(folder: Path, name: str) -> None:
    """Removes a session that no program plays. Raises Refused or OSError."""
    slot = _held(folder, name)
    try:
        for path in _paths(folder, name):
            path.unlink(missing_ok=True)
    finally:
        slot.close()


def prune(folder: Path, playing: str) -> list[str]:
    """Removes autosaves above `AUTOSAVES`, or above `TOTAL` bytes, and what killed programs left unfinished.

    Those go first in which least was played. Never those with a name of the player's, the one that is `playing`,
    one that another program plays, the `NEWEST`, or the last one of a day, unless there are too many days. Those
    of a newer version of the program are not counted: what is in them is for that one to say. Returns
    a line for each that was removed while a smaller one was left. Fails in silence.
    """
    _tidy(folder)
    autosaves = [one for one in sessions(folder) if is_autosave(one.name) and not one.newer]
    count, size = len(autosaves), sum(one.size for one in autosaves)
    if count <= AUTOSAVES and size <= TOTAL:
        return []
    lines: list[str] = []
    days = {_day(one): one.name for one in reversed(autosaves)}  # the last one of each day stays in
    spared = {playing, *(one.name for one in autosaves[:NEWEST])}
    # Oldest first, and the sorting is stable: of equally small ones, the oldest goes first.
    free = [one for one in reversed(autosaves) if one.name not in spared]
    small = [one for one in free if one.name != days[_day(one)]]
    victims = [*sorted(small, key=lambda one: one.weight), *(one for one in free if one.name == days[_day(one)])]
    left = {one.name: one.weight for one in autosaves}
    for one in victims:
        if count <= AUTOSAVES and size <= TOTAL:
            break
        try:
            remove(folder, one.name)
        except (CannotChange, OSError):
            continue
        count, size = count - 1, size - one.size
        del left[one.name]
        if any(weight < one.weight for weight in left.values()):
            lines.append(f"more than {AUTOSAVES} sessions, or {TOTAL >> 20} MB: {one.name} was removed")
    return lines


def _day(one: SavedSession) -> str:
    return when(one.saved)[:10]


def _tidy(folder: Path) -> None:
    """Removes unfinished files, and lock files that killed programs left."""
    with suppress(OSError):
        now: float | None = None
        for path in folder.iterdir():
            with suppress(OSError):
                if path.name.startswith(TEMPORARY):
                    now = _clock(folder) if now is None else now
                    if abs(now - path.stat().st_mtime) > _STALE:
                        path.unlink()
                elif path.name.endswith(".lock") and not locks.is_held(path) and (lock := locks.acquire(path)):
                    lock.release()


def _clock(folder: Path) -> float:
    """The time by the clock that dates this folder's files. Raises OSError.

    A server's may be hours from ours, and then what is being written now would look like a leftover.
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
