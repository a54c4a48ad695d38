"""The shell around `update`: holds the session, carries effects out, collects messages.

The full-screen application and the plain output both play through it.
"""

import queue
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tokex_gguf.engine.client import EngineClient
from tokex_gguf.engine.process import Engine
from tokex_gguf.session import Session
from tokex_gguf.starters import starters
from tokex_gguf.storage import save_prompt
from tokex_gguf.update import (
    Edit,
    Effect,
    Listed,
    ListStarters,
    Message,
    Quit,
    Save,
    Saved,
    SaveFailed,
    Send,
    Start,
    begin,
    update,
)


class Game:
    """One game. `session` is its present state; only `dispatch` changes it."""

    def __init__(self, session: Session, *, folder: Path, engine: Engine | None = None) -> None:
        """`folder` is where prompts are saved; `engine`, a process that was started already."""
        self.session = session
        self.quit: Quit | None = None
        """Set once the game is over."""
        self.edit: str | None = None
        """A text that is to be edited, until the caller takes it."""
        self.notify: Callable[[], None] = lambda: None
        """Called, from any thread, when a message waits for `receive`."""
        self._engine = engine
        self._folder = folder
        self._client: EngineClient | None = None
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def start(self) -> None:
        """Starts the engine, which loads the model while the caller goes on."""
        self._carry_out(begin(self.session))

    def close(self) -> None:
        """Ends the engine."""
        if self._client:
            self._client.close()

    @property
    def engine_pid(self) -> int | None:
        """The engine's process id, while there is one."""
        return self._client.pid if self._client else None

    def dispatch(self, message: Message) -> None:
        """Takes one message in."""
        self.session, effects = update(self.session, message)
        self._carry_out(effects)

    def receive(self) -> bool:
        """Takes in all messages that wait; returns whether there were any. Never blocks."""
        received = False
        while not self._inbox.empty():
            self.dispatch(self._inbox.get())
            received = True
        return received

    def wait(self) -> None:
        """Waits for a message and takes it in."""
        self.dispatch(self._inbox.get())

    def _put(self, message: Message) -> None:
        self._inbox.put(message)
        self.notify()

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start():
                    self.close()
                    self._client = EngineClient(self._put, self._engine)
                    self._engine = None
                case Send():
                    if self._client:
                        self._client.send(effect.request)
                case Save():
                    # Not a daemon: a save that has begun is finished before the program ends.
                    threading.Thread(target=self._save, args=(effect.text,)).start()
                case Edit():
                    self.edit = effect.text
                case ListStarters():
                    threading.Thread(target=self._list, daemon=True).start()
                case Quit():
                    self.quit = effect

    def _list(self) -> None:
        self._put(Listed(starters(self._folder, self.session.settings.example)))

    def _save(self, text: bytes) -> None:
        try:
            path = save_prompt(self._folder, text, datetime.now())
        except OSError as error:
            self._put(SaveFailed(f"{self._folder}: {error.strerror or error}"))
        else:
            self._put(Saved(str(path)))
