"""A game with a real engine and no terminal, played by messages."""

import threading
from collections.abc import Callable
from pathlib import Path

from tokex_gguf.engine.protocol import Load
from tokex_gguf.play.game import Game, Sampling, Settings
from tokex_gguf.play.messages import Message
from tokex_gguf.play.session import Session
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.model_ref import GgufFile

TEXT = "once upon a time there was the cat and one answer"


BY_THE_MODEL = Sampling()


class Patient:
    """A player who waits for what the session has to become."""

    def __init__(
        self,
        folder: Path,
        model: Path,
        text: str = TEXT,
        context: int = 0,
        sampling: Sampling = BY_THE_MODEL,
        **settings: object,
    ) -> None:
        values: dict[str, object] = {"lookahead": 2, **settings}
        how = Load("", context, threads=1)
        chosen = Settings(text, GgufFile(str(model)), how, **values)  # type: ignore[arg-type]
        self.game = Runtime(Session(Game(chosen, sampling=sampling)), folder=folder)
        self._news = threading.Event()
        self.game.notify = self._news.set
        self.game.start()

    @property
    def session(self) -> Session:
        return self.game.session

    def until(self, holds: Callable[[Session], object]) -> None:
        while not holds(self.session):
            assert self._news.wait(60), f"this never came to be: {self.session.notice!r}\n{self.screen()}"
            self._news.clear()
            self.game.receive()

    def press(self, *messages: Message) -> None:
        for message in messages:
            self.game.dispatch(message)

    def ready(self) -> None:
        self.until(lambda session: session.game.ready)

    def screen(self, width: int = 130, height: int = 40) -> str:
        return "\n".join(
            "".join(text for _, text in line) for line in ScreenRenderer().screen(self.session, width, height)
        )
