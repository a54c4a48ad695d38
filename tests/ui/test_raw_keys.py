"""Keys as a terminal sends them, against the plain rules: bytes through the parser, the key table and the application.

Any key of any mode, text that is typed or pasted, keys that mean nothing, and resizes between them. Nothing is drawn
but now and then: what the screen shows is for other tests.

The long form: `pytest -m soak tests/ui/test_raw_keys.py`. Another seed: ORACLE_SEED.
"""

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input.ansi_escape_sequences import REVERSE_ANSI_SEQUENCES
from prompt_toolkit.keys import KEY_ALIASES, Keys

from tests import fake
from tests.canvas import Canvas
from tests.figures import Figure
from tests.play.test_switching import HEADER
from tests.play.test_update import MOVES, Oracle, agree, has_true_numbers, keys_of
from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.protocol import Check, Checked, Reply, Request
from tokex_gguf.models.catalogue import CatalogueEntry
from tokex_gguf.models.discovery import ModelOnDisk
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import SCREENS
from tokex_gguf.play.events import PLAYER_MESSAGES
from tokex_gguf.play.game import Game, Settings
from tokex_gguf.play.messages import Go, Message, Typed, Unbound
from tokex_gguf.play.screens import Screen, TypingScreen
from tokex_gguf.play.session import Session
from tokex_gguf.shell import background
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.ui.app import App
from tokex_gguf.values.model_ref import GgufFile

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")

SEED = int(os.environ.get("ORACLE_SEED", "1"))
UNKNOWN = ["\x1b[24~", "\x1b[17~", "\x1bOQ", "\ue000", "\x1c", "\x1b[97;7u", "\x1bb", "\x1b[1;3A", "\x1b[57362u"]
"""F12, F6, F2 and others that no mode has."""
ANSWERS = [
    "\x1b[I",
    "\x1b[?1;2c",
    "\x1b[99;9~",
    "\x1b]11;rgb:1a1a/1b1b/2626\x1b\\",
    "\x1b[97;1:3u",
    "\x1bP1+r544e=71\x1b\\",
]
"""What a terminal sends that is no key."""
LEAVES = {Action.EDIT, Action.SUSPEND, Action.SAVE}
"""What would leave the program, or fill the disk: other tests press these."""


class Engine:
    """In the place of the engine's process: answers at once."""

    def __init__(self, deliver: Callable[[Delivery], None]) -> None:
        self._deliver, self._play, self.pid = deliver, fake.Play(), 1

    def send(self, request: Request) -> None:
        reply: Reply | None
        reply = Checked(request.request, None) if isinstance(request, Check) else self._play.reply(request)
        if reply:
            self._deliver(reply)

    def close(self) -> None:
        pass


def key(name: str) -> str:
    """What a terminal sends for a key, by prompt_toolkit's name."""
    if len(name) == 1:
        return name
    return REVERSE_ANSI_SEQUENCES[Keys(KEY_ALIASES.get(name, name))]


def sent(message: Message, screen: Screen, chance: random.Random) -> str:
    """What a terminal sends, on a screen, for what the rules call this."""
    if isinstance(message, Typed):
        typed = isinstance(screen, TypingScreen) and message.text.isprintable() and chance.random() < 0.7
        return message.text if typed else f"\x1b[200~{message.text}\x1b[201~"
    if isinstance(message, Go):
        return str(message.index + 1)
    if isinstance(message, Unbound) and message.key:
        return message.key
    keys = [name for binding in SCREENS[type(screen)].commands if binding.action is message for name in binding.keys]
    return chance.choice(UNKNOWN) if not keys or message in LEAVES else key(chance.choice(keys))


class Typist:
    """Sits at the terminal of a running game."""

    def __init__(self, folder: Path, lookahead: int, chance: random.Random) -> None:
        self._chance = chance
        self._master, slave = os.openpty()
        from tokex_gguf.ui.terminal_input import Keyboard

        self._stream = os.fdopen(slave, "r")
        self.canvas = Canvas()
        settings = Settings(
            "hello", GgufFile("fake.gguf"), tokens_to_show=12, max_prompts=3, lookahead=lookahead, example="Once"
        )
        self.game = Runtime(Session(Game(settings)), folder=folder, connect=Engine)
        # Escape alone is known by what does not follow.
        self.app = App(self.game, Keyboard(self._stream, escape_wait=0.001), self.canvas)
        self._heard = 0
        dispatch = self.game.dispatch

        def counted(message: Message) -> None:
            self._heard += len(message.text) if isinstance(message, Typed) else isinstance(message, PLAYER_MESSAGES)
            dispatch(message)

        self.game.dispatch = counted  # type: ignore[method-assign]
        self.expected = 0
        expect = self.game.expect

        def told() -> None:
            self.expected += 1
            expect()

        self.game.expect = told  # type: ignore[method-assign]
        draw = self.app.application.renderer.render

        def sometimes(*arguments: Any, **options: Any) -> None:
            # The last frame goes beyond the last line, on a screen that is left at once.
            if chance.random() < 0.01 and not options.get("is_done"):
                draw(*arguments, **options)

        self.app.application.renderer.render = sometimes  # type: ignore[method-assign]

    async def press(self, message: Message) -> None:
        """Presses a key and waits until it, and all that it asked for, has been taken in."""
        screen, heard = self.game.session.screen, self._heard
        self._latest = data = sent(message, screen, self._chance)
        answer = self._chance.choice(ANSWERS) if self._chance.random() < 0.2 else ""
        os.write(self._master, (answer + data).encode())
        typed = isinstance(message, Typed) and not data.startswith("\x1b[200~")
        await self.until(lambda: self._heard - heard >= (len(data) if typed else 1))
        if self._chance.random() < 0.02:
            self.canvas.size = Size(self._chance.randint(1, 60), self._chance.randint(1, 200))
            self.app.application._on_resize()

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(100_000):
            if holds() and self.game._inbox.empty() and self.game.session.game.pending is None:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"not heard, or not answered: {self._latest}")

    async def play(self, moves: list[Any]) -> int:
        """Makes moves here and in the oracle; returns how many keys that took."""
        try:
            with create_app_session(input=self.app.application.input, output=self.canvas):
                return await self._play(moves)
        finally:
            self._stream.close()
            os.close(self._master)

    async def _play(self, moves: list[Any]) -> int:
        self.game.start()
        task = asyncio.create_task(self.app.run_async())
        await self.until(lambda: self.game.session.game.ready and self.app.application.is_running)
        oracle = Oracle(fake.text_to_path("hello"), shown=12, limit=3)
        pressed = 0
        for move in moves:
            for message in keys_of(move):
                before = self.expected
                await self.press(message)
                assert self.expected > before + 1, "saves give way when a key comes, and when it is answered"
                pressed += 1
            oracle.press(move)
            agree(self.game.session, oracle)
        for prompt in self.game.session.game.prompts:
            has_true_numbers(prompt.tip)
        os.write(self._master, b"\x11")
        await asyncio.wait_for(task, 10)
        return pressed


PARTS = 4
"""Parts of the long form, to be spread over the cores."""


def games(numbers: range, length: int, folder: Path, patch: pytest.MonkeyPatch, figure: Figure) -> None:
    patch.setattr(background, "starters", lambda *_: ())
    # How many rows there are then depends on the sizes that a place was seen in: the plain rules do not know these.
    patch.setattr("tokex_gguf.ui.app.rows_of", lambda *_: 0)
    # An empty list would close itself, sooner or later.
    patch.setattr(
        background, "catalogue", lambda _: (CatalogueEntry(ModelOnDisk("a", "", Path("/a.gguf")), 5, HEADER),)
    )
    pressed = 0
    for number in numbers:
        chance = random.Random(f"{SEED}-{number}")
        often = [Action.APPEND, Action.CURSOR_TIP] * chance.choice([0, 5, 20])
        moves, total = list[Any](), 0
        while total < length:
            moves.append(chance.choice([*MOVES, *often]))
            total += len(keys_of(moves[-1]))
        pressed += asyncio.run(Typist(folder, chance.choice([0, 4]), chance).play(moves))
    figure(
        len(numbers), f"sequences of {length} keys and more, as bytes, with resizes", seed=SEED, keys_in_a_part=pressed
    )


def test_bytes_do_what_the_plain_rules_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    games(range(5), 200, tmp_path, monkeypatch, figure)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_many_bytes_do_what_the_plain_rules_say(
    part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    games(range(part, 2000, PARTS), 200, tmp_path, monkeypatch, figure)
