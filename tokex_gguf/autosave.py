"""The session that is played, kept on the disk while it is played."""

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tokex_gguf import keep
from tokex_gguf.archive import dump
from tokex_gguf.keep import Keeper
from tokex_gguf.session import Session

PATIENCE = 5.0
"""Seconds that the end of the program waits for the last save."""


class Autosave:
    """Saves each state of a session soon after it came to be, under a name that can change."""

    def __init__(self, folder: Path, name: str, tell: Callable[[str], None]) -> None:
        """`tell` gets the reason where saving fails, from another thread."""
        self._folder, self._name, self._tell = folder, name, tell
        threading.Thread(target=keep.prune, args=(folder, time.time()), daemon=True).start()
        self._keeper = Keeper(folder, name, tell)
        self._lock = threading.Lock()

    def follow(self, session: Session) -> None:
        """The session is this one now, with at least one prompt. Returns at once."""
        self._keeper.offer(partial(dump, session))

    def rename(self, name: str, session: Session) -> str:
        """Saves the session under a name, now and from now on; returns why that cannot be done, or nothing.

        Waits for the disk: not for the thread that draws.
        """
        with self._lock:
            if name != self._name and name in [kept.name for kept in keep.names(self._folder)]:
                return f"there is a session {name} already: take another name"
            reasons: list[str] = []
            keeper = Keeper(self._folder, name, reasons.append)
            keeper.offer(partial(dump, session))
            if not keeper.save_now(PATIENCE):
                keeper.close(0)
                return reasons[0] if reasons else "the disk does not answer"
            old, self._keeper, self._name = self._keeper, Keeper(self._folder, name, self._tell), name
            keeper.close(PATIENCE)
            old.close(PATIENCE)
            self._keeper.offer(partial(dump, session))
            return ""

    def close(self) -> None:
        """Saves what is unsaved."""
        self._keeper.close(PATIENCE)
