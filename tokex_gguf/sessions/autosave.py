"""The session that is played, kept on the disk while it is played."""

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from tokex_gguf.play.session import Session
from tokex_gguf.sessions import store
from tokex_gguf.sessions.codec import Encoder
from tokex_gguf.sessions.store import CannotChange, SavedSession, Slot, reason_of
from tokex_gguf.sessions.summary import MOST_COUNT, Stamp
from tokex_gguf.sessions.writer import Keeper
from tokex_gguf.system.console import place_of
from tokex_gguf.system.files import Data
from tokex_gguf.values.record import record

RENAME_WAIT = 5.0
"""Seconds that a new name waits for the disk."""
QUICKLY = 1.0
"""Seconds that the end of the program waits in silence, and for each further way to save."""
ELSEWHERE: tuple[Callable[[], Path], ...] = (
    lambda: Path(tempfile.gettempdir()),
    lambda: Path("/dev/shm"),
    Path.cwd,
    Path.home,
)
"""Folders for what cannot be saved in its place, the first that takes it. Each may raise OSError or RuntimeError: where
nothing can be written, there is no folder for temporary files, and the current one may have been removed."""
SILENT = "the disk does not answer"

log = logging.getLogger(__name__)


@record
class Kept:
    """All that was played is on the disk."""

    name: str
    last: bool
    """Whether this is the session that was played last of all."""


@record
class Rescued:
    """What was played could not be saved in its place: it is in another file."""

    path: Path
    place: Path
    """Where the file would have to be."""
    reason: str


@record
class Lost:
    """What was played last could not be saved anywhere."""

    reason: str


SaveOutcome: TypeAlias = Kept | Rescued | Lost


def kept(slot: Slot) -> Kept:
    """How a session is gone on with whose file is as it should be.

    It is not the last one of all where the disk does not answer any more.
    """
    others: list[SavedSession] = []
    within(QUICKLY, lambda: others.extend(store.sessions(slot.folder)))
    return Kept(slot.name, bool(others) and others[0].name == slot.name)


def left(slot: Slot) -> Kept | None:
    """How a session ends that was only looked at, and is free again; None where there is nothing to go on with."""
    there: list[bool] = []
    within(QUICKLY, lambda: there.append(slot.filled))
    end = kept(slot) if there == [True] else None
    within(QUICKLY, slot.close)
    return end


class Autosave:
    """Saves each state of a session soon after it came to be, under a name that can change."""

    def __init__(
        self,
        slot: Slot,
        tell: Callable[[str], None],
        remark: Callable[[str], None],
        encoder: Encoder | None = None,
    ) -> None:
        """`tell` gets the reason while saving fails, and "" once it works again; `remark`, lines for the player.

        Both are called from other threads. `encoder` is that of a session that was read.
        """
        self._slot = slot
        self._encoder = encoder or Encoder()
        self._remark = remark
        self._reason = ""
        self._tell = tell
        self._last: tuple[Session, int] | None = None
        self._pruned = False
        self._keeper = Keeper(slot, self._told, remark)
        self._renaming = threading.Lock()

    def expect(self) -> None:
        """Something is to be answered now, and soon to be seen: what is being saved gives way. Returns at once."""
        self._keeper.expect()

    def follow(self, session: Session, moves: int) -> None:
        """The session is this one now, with a prompt in one game at least. Returns at once."""
        self._last = session, moves
        self._keeper.offer(partial(self._dump, session, moves))

    def save(self, patience: float) -> str:
        """Saves what is unsaved; returns why that cannot be done, or "". Waits for the disk."""
        return "" if self._keeper.save_now(patience) else self._reason or SILENT

    def rename(self, name: str, session: Session, moves: int) -> str:
        """Saves the session, now and from now on under this name; returns why that cannot be done, or "".

        Waits for the disk: not for the thread that draws.
        """
        with self._renaming:
            if self._last is None:
                self.follow(session, moves)
            if reason := self.save(RENAME_WAIT):
                return reason
            try:
                self._keeper.rename(name, RENAME_WAIT)
            except CannotChange as error:
                return str(error)
            except OSError as error:
                return reason_of(error)
            return ""

    def close(self, patience: float, hurry: threading.Event, waits: Callable[[], None]) -> SaveOutcome:
        """Saves what is unsaved, with at most `patience` seconds for the disk, fewer once `hurry` is set.

        `waits` is called once where that takes longer than a moment.
        """
        saved = self._keeper.close(min(patience, QUICKLY))
        if not saved and not self._keeper.ended and patience > QUICKLY and not hurry.is_set():
            waits()
            until = time.monotonic() + patience - QUICKLY
            while not (saved := self._keeper.close(0.05)) and not self._keeper.ended:
                if hurry.is_set() or time.monotonic() > until:
                    break
        end = kept(self._slot) if saved else self._rescue()
        within(QUICKLY, self._slot.close)
        return end

    def _rescue(self) -> SaveOutcome:
        """Saves the newest state in any way that works. What asks a disk has a limit: it may be the one that hangs."""
        reason = self._reason or SILENT
        if self._last is None:
            return Lost(reason)
        # The thread that hangs may be using the other one.
        try:
            data = Encoder().encode(self._last[0], _stamp(self._slot.numbered, self._last[1]))
        except Exception as error:
            log.error("this session cannot be encoded: %s", place_of(error))
            return Lost(reason)
        if not self._keeper.ended:
            self._slot.abandon()
            # Written without waiting for the disk: it is there unless the machine itself goes down.
            if within(QUICKLY, partial(self._slot.save, data, flush=False)):
                return kept(self._slot)
        name = self._slot.name
        for find in ELSEWHERE:
            found: list[Path] = []
            if within(QUICKLY, partial(_put, data, name, find, found)):
                return Rescued(found[0], self._slot.folder / f"{name or found[0].stem}.json", reason)
        return Lost(reason)

    def _dump(self, session: Session, moves: int) -> Data:
        if not self._pruned:
            self._pruned = True
            threading.Thread(target=self._prune, daemon=True).start()
        return self._encoder.encode(session, _stamp(self._slot.sequence(), moves), self._keeper.give_way)

    def _prune(self) -> None:
        for line in store.prune(self._slot.folder, self._slot.name):
            log.info("%s", line)
            self._remark(line)

    def _told(self, reason: str) -> None:
        if reason:
            log.warning("not saved: %s: %s", self._slot.folder, reason)
        self._reason = reason
        self._tell(reason)


def _stamp(sequence: int, moves: int) -> Stamp:
    # A summary with the time of a clock that is as wrong as can be would not be believed.
    return Stamp(sequence, min(max(0, int(time.time())), MOST_COUNT), moves)


def _put(data: Data, name: str, find: Callable[[], Path], found: list[Path]) -> None:
    """Writes a session into the folder that `find` gives. Raises OSError, as `find` may."""
    found.append(store.rescue(data, name, find()))


def within(seconds: float, work: Callable[[], object]) -> bool:
    """Does what asks a disk in a thread; returns whether it was done in time, without an error."""
    done: list[bool] = []

    def run() -> None:
        try:
            work()
        except Exception:
            log.exception("the disk was asked in vain")
        else:
            done.append(True)

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the system gives no more threads
        run()
    else:
        thread.join(seconds)
    return bool(done)
