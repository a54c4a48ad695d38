"""Saves the session to the disk while it is played."""

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
from tokex_gguf.sessions.writer import SessionWriter
from tokex_gguf.system.console import place_of
from tokex_gguf.system.files import Data
from tokex_gguf.values.record import record

RENAME_WAIT = 5.0
"""Seconds that a rename waits for the disk."""
SILENT_WAIT = 1.0
"""Seconds that the program's end waits without a message, and for each further place to save."""
RESCUE_FOLDERS: tuple[Callable[[], Path], ...] = (
    lambda: Path(tempfile.gettempdir()),
    lambda: Path("/dev/shm"),
    Path.cwd,
    Path.home,
)
"""Folders to try for a session that cannot be saved in its place. Each may raise OSError or RuntimeError: there may be
no folder for temporary files, and the current one may have been removed."""
NO_ANSWER = "the disk does not answer"

log = logging.getLogger(__name__)


@record
class SavedWhole:
    """The session is saved completely."""

    name: str
    last: bool
    """Whether this session was saved last of all."""


@record
class Rescued:
    """The session could not be saved in its place, and is in another file."""

    path: Path
    place: Path
    """The path that the file must get to be resumed."""
    reason: str


@record
class Lost:
    """The last state could not be saved anywhere."""

    reason: str


@record
class TextSaved:
    """There was no prompt yet, so that there is no session: typed text is in a file of its own."""

    path: Path


SaveOutcome: TypeAlias = SavedWhole | Rescued | Lost | TextSaved


def kept(slot: Slot) -> SavedWhole:
    """The outcome for a session that is saved completely.

    `last` is False if the disk does not answer any more.
    """
    others: list[SavedSession] = []
    within(SILENT_WAIT, lambda: others.extend(store.sessions(slot.folder)))
    return SavedWhole(slot.name, bool(others) and others[0].name == slot.name)


def left(slot: Slot) -> SavedWhole | None:
    """Closes the slot of a session without moves; returns the outcome, None if there is no session to resume."""
    filled: list[bool] = []
    within(SILENT_WAIT, lambda: filled.append(slot.filled))
    end = kept(slot) if filled == [True] else None
    within(SILENT_WAIT, slot.close)
    return end


class Autosave:
    """Saves each state of a session soon after the change, under a name that can change."""

    def __init__(
        self,
        slot: Slot,
        tell: Callable[[str], None],
        remark: Callable[[str], None],
        encoder: Encoder | None = None,
    ) -> None:
        """`tell` gets the reason while saving fails, and "" once it works again; `remark`, lines for the player.

        Both are called from other threads. `encoder`: the encoder of a session that was read.
        """
        self._slot = slot
        self._encoder = encoder or Encoder()
        self._remark = remark
        self._reason = ""
        self._tell = tell
        self._last: tuple[Session, int] | None = None
        self._pruned = False
        self._keeper = SessionWriter(slot, self._report, remark)
        self._renaming = threading.Lock()

    def expect(self) -> None:
        """A key was pressed: saving pauses for its answer. Returns at once."""
        self._keeper.expect()

    def follow(self, session: Session, moves: int) -> None:
        """Takes a new state, with a prompt in one game at least. Returns at once."""
        self._last = session, moves
        self._keeper.offer(partial(self._dump, session, moves))

    def save(self, patience: float) -> str:
        """Saves unsaved changes; returns the reason if that fails, else "". Waits for the disk."""
        return "" if self._keeper.save_now(patience) else self._reason or NO_ANSWER

    def rename(self, name: str, session: Session, moves: int) -> str:
        """Saves the session, and renames it; returns the reason if that fails, else "".

        Waits for the disk, so that the screen's thread must not call this.
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
        """Saves unsaved changes, within `patience` seconds, or fewer once `hurry` is set.

        `waits` is called once if that is slow.
        """
        saved = self._keeper.close(min(patience, SILENT_WAIT))
        if not saved and not self._keeper.ended and patience > SILENT_WAIT and not hurry.is_set():
            waits()
            until = time.monotonic() + patience - SILENT_WAIT
            while not (saved := self._keeper.close(0.05)) and not self._keeper.ended:
                if hurry.is_set() or time.monotonic() > until:
                    break
        end = kept(self._slot) if saved else self._rescue()
        within(SILENT_WAIT, self._slot.close)
        return end

    def _rescue(self) -> SaveOutcome:
        """Saves the newest state wherever possible. Each try has a time limit, as a disk may hang.

        Where it is too large for any place, its paths are saved without their numbers.
        """
        reason = self._reason or NO_ANSWER
        if self._last is None:
            return Lost(reason)
        hangs = not self._keeper.ended
        if hangs:
            self._slot.abandon()
        session, moves = self._last
        for numbers in (True, False):
            # A new encoder: the hanging thread may be using the other one.
            try:
                data = Encoder(numbers=numbers).encode(session, _stamp(self._slot.numbered, moves))
            except Exception as error:
                log.error("this session cannot be encoded: %s", place_of(error))
                return Lost(reason)
            # Without `flush`: the file is safe unless the machine itself goes down.
            if (hangs or not numbers) and within(SILENT_WAIT, partial(self._slot.save, data, flush=False)):
                return kept(self._slot)
            name = self._slot.name
            for find in RESCUE_FOLDERS:
                paths: list[Path] = []
                if within(SILENT_WAIT, partial(_rescue_into, data, name, find, paths)):
                    return Rescued(paths[0], self._slot.folder / f"{name or paths[0].stem}.json", reason)
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

    def _report(self, reason: str) -> None:
        if reason:
            log.warning("not saved: %s: %s", self._slot.folder, reason)
        self._reason = reason
        self._tell(reason)


def _stamp(sequence: int, moves: int) -> Stamp:
    # A summary with an impossible time would be refused.
    return Stamp(sequence, min(max(0, int(time.time())), MOST_COUNT), moves)


def _rescue_into(data: Data, name: str, find: Callable[[], Path], found: list[Path]) -> None:
    """Writes a session into the folder of `find`, and appends its path to `found`. Raises OSError."""
    found.append(store.rescue(data, name, find()))


def within(seconds: float, work: Callable[[], object]) -> bool:
    """Does disk work in a thread; returns whether it ended in time and without an error."""
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
