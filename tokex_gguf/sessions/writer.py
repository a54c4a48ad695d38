"""Saves one session again and again, in a thread of its own."""

import errno
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tokex_gguf.sessions.store import Slot, reason_of
from tokex_gguf.system.console import place_of
from tokex_gguf.system.files import Abandoned, Data

log = logging.getLogger(__name__)

APART = 0.8
"""Seconds between the beginnings of two writes, at the least."""
SETTLE = 0.5
"""Seconds that the first change waits for others. The answer to a key press comes before its save."""
SAVE_AFTER, AT_MOST = 0.06, 0.2
"""Seconds without a change that a save which is due waits for, and how long it waits for them: a key whose answer is
being computed is not to share the processor with it."""
SHOWN, GIVEN = 0.012, 0.1
"""Seconds in which a key is answered and its frame made, and how many a save that is being encoded leaves to keys."""
RETRY_AFTER = 5.0
"""Seconds until what could not be written is tried again, where nothing asks for it before."""
SLOW = 3.0
"""Seconds after which a write that has not ended is told as a fault."""


class Keeper:
    """Saves the states of one session.

    Between a change and the beginning of its save lies a second at the most. Nothing here raises
    into the caller, and what fails costs nothing that was saved before.
    """

    def __init__(self, slot: Slot, tell: Callable[[str], None], remark: Callable[[str], None] = lambda _: None) -> None:
        """`tell` gets the reason why states are not saved, once for each kind, and "" once one is saved again.

        `remark` gets a line that the player should know, where saving has more to say. Both are called from any
        thread.
        """
        self._slot = slot
        self._disk = threading.Lock()
        """Held while the slot is used."""
        self._tell, self._remark = tell, remark
        self._told: set[str] = set()
        self._changed = threading.Condition()
        # What follows is read and changed under that lock only.
        self._dump: Callable[[], Data] | None = None
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
        self._given = 0.0
        """Seconds that the save under way has left to keys."""
        # This is not: it is read and changed at once.
        self._expected = -SHOWN
        """When there was something last that is to be answered, on the monotonic clock."""
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def offer(self, dump: Callable[[], Data]) -> None:
        """The state has changed: `dump`, called in the thread, gives its bytes. Returns at once.

        Only the state offered last is saved.
        """
        with self._changed:
            if self._closing:
                return
            self._latest = time.monotonic()
            slow = self._writing and self._latest - self._last > SLOW
            if self._dump is None:
                self._due = max(self._latest + SETTLE, self._last + APART)
                # Else the thread waits for that moment already: waking it would cost every key its time.
                self._changed.notify_all()
            self._dump = dump
            self._offered += 1
        if slow:
            self._failed("slow", f"the disk has not answered for {SLOW:.0f} s")

    def expect(self) -> None:
        """Something is to be answered now, and soon to be seen. Returns at once."""
        self._expected = time.monotonic()

    def give_way(self) -> None:
        """Waits while a key is answered, unless the save is waited for: called between the parts of a state."""
        if (wait := self._expected + SHOWN - time.monotonic()) <= 0:
            return
        with self._changed:
            if self._given >= GIVEN or self._waited_for:
                return
            self._given += wait
        time.sleep(wait)

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

    def rename(self, name: str, timeout: float) -> None:
        """Gives the session another name. Raises Refused or OSError; TimeoutError where the disk does not answer."""
        if not self._disk.acquire(timeout=timeout):
            raise TimeoutError(errno.ETIMEDOUT, "the disk does not answer")
        try:
            self._slot.rename(name)
        finally:
            self._disk.release()

    def close(self, timeout: float) -> bool:
        """Saves what is unsaved and ends; returns whether all that was offered is saved. Can be called again."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        with self._changed:
            return self._saved == self._offered

    @property
    def ended(self) -> bool:
        """Whether nothing is being written any more."""
        return not self._thread.is_alive()

    @property
    def _waited_for(self) -> bool:
        """Whether somebody waits for a save."""
        return self._hurry or self._closing

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
                    self._dump, self._due = dump, time.monotonic() + RETRY_AFTER
                self._changed.notify_all()

    def _take(self) -> tuple[Callable[[], Data], int] | None:
        """The state to write now and its number, once there is one; None at the end."""
        with self._changed:
            while True:
                moment = min(max(self._due, self._latest + SAVE_AFTER), self._due + AT_MOST)
                wait = None if self._dump is None else moment - time.monotonic()
                if wait is not None and (wait <= 0 or self._waited_for):
                    break
                if self._closing:
                    return None
                self._changed.wait(wait)
            self._given = GIVEN if self._waited_for else 0.0
            dump, self._dump, self._hurry = self._dump, None, False
            assert dump is not None
            self._last = time.monotonic()
            self._writing = True
            return dump, self._offered

    def _save(self, dump: Callable[[], Data]) -> bool:
        try:
            data = dump()
            with self._disk:
                line = self._slot.save(data)
        except Abandoned:
            return False
        except OSError as error:
            self._failed(errno.errorcode.get(error.errno or 0, type(error).__name__), reason_of(error))
            return False
        except Exception as error:  # a fault of this program: the session is played on, and the player is told
            if type(error).__name__ not in self._told:  # it is tried again and again
                log.error("this session cannot be encoded: %s", place_of(error))
            self._failed(type(error).__name__, f"internal error ({type(error).__name__}): the log file has the details")
            return False
        with suppress(Exception):
            if self._told:
                self._told.clear()
                self._tell("")
            if line:
                self._remark(line)
        return True

    def _failed(self, kind: str, reason: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            with suppress(Exception):
                self._tell(reason)
