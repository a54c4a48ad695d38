"""Resizes to any size, with keys between them: the program goes on, and its screen is that of a fresh start.

The long form: `pytest -m soak tests/ui/test_resizing.py`.
"""

import asyncio
import os
import random
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import DummyInput, create_pipe_input

from tests.canvas import Canvas, Cell
from tests.figures import Figure
from tests.sampling import few
from tests.ui.test_app import FakeEngine
from tokex_gguf.play import screens
from tokex_gguf.play.game import Game, Settings
from tokex_gguf.play.session import Session
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.ui.app import App
from tokex_gguf.values.model_ref import GgufFile

SEED = int(os.environ.get("RESIZING_SEED", "1"))
LARGEST = 500
TOGETHER = 250
"""Resizes of one program: its paths grow with the keys, and the fake engine slows down with them."""
PARTS = 4
"""Parts of the long form, to be spread over the cores."""
KEYS = [
    *("\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[5~", "\x1b[6~", "\x1b[H", "\x1b[F", "\x1b"),
    *("w", "s", "a", "A", "d", "e", "E", ",", ".", "<", ">", "n", "N", "m", "M", "/", "i", "t", "p", "1", "2", "?"),
    *("c", "9", "\r", "\x7f", "\t", "日", "🙂", "e\u0301", "\x1b[200~a text\nthat is pasted \x1b[201~"),
]
"""Not those that quit, save, or open an editor."""


def rendered(session: Session, columns: int, rows: int, folder: Path) -> list[list[Cell]]:
    """The screen of a program that has drawn nothing before."""
    canvas = Canvas(columns, rows)
    application = App(Runtime(session, folder=folder), DummyInput(), canvas).application
    application.renderer.render(application, application.layout)
    return canvas.shown()


def size(chance: random.Random) -> Size:
    """Any size; often one near where the layout changes, or an extreme one."""
    kind = chance.random()
    if kind < 0.15:
        return Size(
            chance.choice([1, 2, 15, 16, 17, LARGEST]), chance.choice([1, 2, 59, 60, 61, 99, 100, 101, LARGEST])
        )
    most = LARGEST if kind < 0.3 else 120
    return Size(chance.randint(1, most), chance.randint(1, most))


async def resize(number: int, count: int, folder: Path) -> tuple[int, int]:
    """Resizes one program so often; returns how many screens were compared, and keys pressed."""
    chance = random.Random(f"{SEED}-{number}")
    compared = pressed = 0
    with create_pipe_input() as keys, create_app_session(input=keys, output=Canvas()):
        output = Canvas()
        text = "hello 日本 world\n" * 12
        game = Runtime(
            Session(Game(Settings(text, GgufFile("fake.gguf"), lookahead=0, example="Once"))),
            folder=folder,
            connect=FakeEngine,
        )
        app = App(game, keys, output)
        game.start()
        task = asyncio.create_task(app.run_async())

        latest: list[Session] = []
        app.application.after_render += lambda _: latest.append(game.session)

        async def drawn() -> list[list[Cell]]:
            """The screen, once it is that of the present session and size."""
            latest.clear()
            while not latest or latest[-1] is not game.session:
                assert not task.done(), "the program has ended"
                app.application.invalidate()  # a session may be another and look the same: then nothing is drawn
                await asyncio.sleep(0)
            return output.shown()

        while not app.application.is_running or not game.session.game.ready:
            await asyncio.sleep(0)
        for number in range(count):
            output.size = size(chance)
            app.application._on_resize()
            for _ in range(chance.choice([0, 0, 1, 2, 5])):
                pressed += 1
                keys.send_text(chance.choice(KEYS))
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            if number % 10 == 9 or number == count - 1:
                shown = await drawn()
                assert shown == rendered(game.session, output.size.columns, output.size.rows, folder), output.size
                compared += 1
        output.size = Size(40, 130)
        app.application._on_resize()
        while not isinstance(game.session.screen, screens.Play):
            keys.send_text("\x1b")
            await drawn()
        shown = await drawn()
        assert shown == rendered(game.session, 130, 40, folder)
        keys.send_text("\x11")
        await asyncio.wait_for(task, 10)
    return compared, pressed


def resizes(games: range, folder: Path, figure: Figure, count: int = TOGETHER) -> None:
    told = f"resizes between 1x1 and {LARGEST}x{LARGEST}"
    for number in games:
        compared, pressed = asyncio.run(resize(number, count, folder))
        figure(count, told, seed=SEED, keys_beside_250=pressed, screens_compared_of_them=compared)


@pytest.mark.parametrize("count", few([80, TOGETHER], of=2))
def test_resizes(count: int, tmp_path: Path, figure: Figure) -> None:
    resizes(range(1), tmp_path, figure, count)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_many_resizes(part: int, tmp_path: Path, figure: Figure) -> None:
    resizes(range(part, 10_000 // TOGETHER, PARTS), tmp_path, figure)
