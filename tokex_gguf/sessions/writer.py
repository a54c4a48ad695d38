"""Saves the states of one session, in a thread of its own."""

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

WRITE_INTERVAL = 0.8
"""Seconds between the beginnings of two writes, at the least."""
SETTLE = 0.5
"""Seconds that the first change waits for others. The answer to a key press comes before its save."""
QUIET, QUIET_WAIT = 0.06, 0.2
"""Seconds without a change before a save that is due begins, and seconds that it waits for them at the most: it should
not share the processor with the answer to a key."""
KEY_SECONDS, YIELDED_SECONDS = 0.012, 0.1
"""Seconds to answer a key and make its frame; seconds that the encoding of one save yields to keys, at the most."""
RETRY_AFTER = 5.0
"""Seconds until a failed write is tried again, if nothing requests it before."""
SLOW_WRITE = 3.0
"""Seconds after which an unfinished write is reported as a fault."""


class SessionWriter:
    """Saves the states of one session.

    A save begins within a second of its change. No error reaches the caller, and a failure leaves
    the earlier save as it is.
    """

    def __init__(self, slot: Slot, tell: Callable[[str], None], remark: Callable[[str], None] = lambda _: None) -> None:
        """`tell` gets the reason why states are not saved, once for each kind, and "" once one is saved again.

        `remark` gets further lines for the player. Both are called from any thread.
        """
        self._slot = slot
        self._disk = threading.Lock()
        """Held while the slot is used."""
        self._tell, self._remark = tell, remark
        self._reported: set[str] = set()
        self._changed = threading.Condition()
        # The attributes below are guarded by that lock.
        self._dump: Callable[[], Data] | None = None
        """Gives the state to be saved; None without unsaved changes."""
        self._due = self._latest = 0.0
        """When the next save is due, and when the last change was, on the monotonic clock."""
        self._hurry = False
        self._closing = False
        self._last = -WRITE_INTERVAL
        """When the last write began, on the monotonic clock."""
        self._offered = self._saved = 0
        """The number of the last state offered, and of the last one saved."""
        self._tries = 0
        """Finished writes, successful or not."""
        self._writing = False
        self._yielded = 0.0
        """Seconds that the save under way has yielded to keys."""
        # Not guarded by the lock: its reads and writes are atomic.
        self._expected = -KEY_SECONDS
        """When a key was pressed last, on the monotonic clock."""
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def offer(self, dump: Callable[[], Data]) -> None:
        """Takes a new state: `dump`, called in the thread, gives its bytes. Returns at once.

        Only the state offered last is saved.
        """
        with self._changed:
            if self._closing:
                return
            self._latest = time.monotonic()
            slow = self._writing and self._latest - self._last > SLOW_WRITE
            if self._dump is None:
                self._due = max(self._latest + SETTLE, self._last + WRITE_INTERVAL)
                # Else the thread waits for that moment already: waking it would slow down every key.
                self._changed.notify_all()
            self._dump = dump
            self._offered += 1
        if slow:
            self._failed("slow", f"the disk has not answered for {SLOW_WRITE:.0f} s")

    def expect(self) -> None:
        """A key was pressed. Returns at once."""
        self._expected = time.monotonic()

    def give_way(self) -> None:
        """Pauses encoding while a key is answered, unless a caller waits for the save. Called between parts."""
        if (wait := self._expected + KEY_SECONDS - time.monotonic()) <= 0:
            return
        with self._changed:
            if self._yielded >= YIELDED_SECONDS or self._waited_for:
                return
            self._yielded += wait
        time.sleep(wait)

    def save_now(self, timeout: float) -> bool:
        """Saves at once; returns whether all states offered so far are saved."""
        with self._changed:
            wanted = self._offered
            if self._saved < wanted and not self._closing:
                self._hurry = True
                self._changed.notify_all()
                # The write under way may be of an older state, or fail for a past reason.
                tries = self._tries + 1 + self._writing
                self._changed.wait_for(lambda: self._saved >= wanted or self._tries >= tries, timeout)
            return self._saved >= wanted

    def rename(self, name: str, timeout: float) -> None:
        """Renames the session. Raises CannotChange or OSError; TimeoutError if the disk does not answer."""
        if not self._disk.acquire(timeout=timeout):
            raise TimeoutError(errno.ETIMEDOUT, "the disk does not answer")
        try:
            self._slot.rename(name)
        finally:
            self._disk.release()

    def close(self, timeout: float) -> bool:
        """Saves unsaved changes and ends the thread; returns whether all is saved. Can be called again."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        with self._changed:
            return self._saved == self._offered

    @property
    def ended(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    @property
    def _waited_for(self) -> bool:
        """Whether a caller waits for a save."""
        return self._hurry or self._closing

    def _run(self) -> None:
        while (state := self._take()) is not None:
            dump, number = state
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
        """Waits for the next state to write; returns it and its number, None at the end."""
        with self._changed:
            while True:
                moment = min(max(self._due, self._latest + QUIET), self._due + QUIET_WAIT)
                wait = None if self._dump is None else moment - time.monotonic()
                if wait is not None and (wait <= 0 or self._waited_for):
                    break
                if self._closing:
                    return None
                self._changed.wait(wait)
            self._yielded = YIELDED_SECONDS if self._waited_for else 0.0
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
        except Exception as error:  # an internal error: the game goes on, and the player gets a line
            if type(error).__name__ not in self._reported:  # once, not for each retry
                log.error("this session cannot be encoded: %s", place_of(error))
            self._failed(type(error).__name__, f"internal error ({type(error).__name__}): the log file has the details")
            return False
        with suppress(Exception):
            if self._reported:
                self._reported.clear()
                self._tell("")
            if line:
                self._remark(line)
        return True

    def _failed(self, kind: str, reason: str) -> None:
        if kind not in self._reported:
            self._reported.add(kind)
            with suppress(Exception):
                self._tell(reason)
