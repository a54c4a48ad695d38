"""The pictures in docs/screens: what the program draws when it is played, as SVG.

Every picture is a row of `SCREENS`: what to press, and what must stand on the screen before the next key. The real
application is played, on a terminal that is interpreted here, with an engine that says what is recorded: so a picture
is the same on every machine, and needs no model. Only what was never asked for needs one: `uv run poe screens`.
"""

import asyncio
import io
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TextIO, cast
from unittest.mock import patch
from xml.sax.saxutils import escape

import pyte
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.output.vt100 import Vt100_Output

from tests.recorded import Answers, Recorded
from tokex_gguf import config
from tokex_gguf.engine.protocol import Load
from tokex_gguf.play.game import Game, Settings
from tokex_gguf.play.rules.second_model import add_second, second_game
from tokex_gguf.play.session import Session
from tokex_gguf.play.versus import Pair
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.ui.app import App
from tokex_gguf.values.model_ref import GgufFile

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "screens"
RECORDING = ROOT / "tests" / "data" / "screens.json.xz"
PROMPT = ROOT / "prompts" / "natalia.txt"
SECOND = "Q2_K.gguf"
"""The second model's file, beside the first one's."""
TURNS = 20
"""So many turns of the event loop without anything to do, and there is nothing to come."""

KEYS = {
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "enter": "\r",
    "space": " ",
    "score": "\x10",
    "twice": f"\x1b[200~{PROMPT.read_text(encoding='utf-8').strip().replace('half as many', 'twice as many')}\x1b[201~",
}
"""What a terminal sends for the keys that are no characters."""


class Step(NamedTuple):
    """Keys to press, and what the screen shows once they have done their work."""

    keys: str
    """Names of `KEYS` or characters, with blanks between; `left*3` is three presses."""
    shown: str


@dataclass(frozen=True)
class Screen:
    """One picture: where it goes, what it says to those who cannot see it, how to get there."""

    name: str
    title: str
    columns: int
    rows: int
    steps: tuple[Step, ...]
    versus: bool = False
    """Whether a second model is beside the first."""
    ahead: int = 0
    """Likely continuations to know behind the prompt, in tokens."""


def take(first: int, last: int) -> tuple[Step, ...]:
    """Takes the selected token until the prompt has `last` tokens; each press waits for its answer."""
    return tuple(Step("right", f"tokens: {count} ") for count in range(first, last + 1))


START = Step("", "tokens: 103 ")
PROBABILITY = Step("e", " probability 0  ")
ENTROPY = Step("e e", " entropy 0  ")
FORK = (START, ENTROPY, Step("d", "Prompt 2/2"), Step("left*42", "tokens: 61 "))
DETOUR = (*FORK, Step("down down", "tokens: 61 "), *take(62, 80), Step("e e", " probability 0  "))
SUM = (
    *(START, PROBABILITY, Step("d", "Prompt 2/2"), Step("left*18", "tokens: 85 ")),
    *(Step("up up", "tokens: 85 "), *take(86, 107)),
)

SCREENS = (
    Screen("probability", "The Natalia prompt, each token coloured by its probability", 120, 32, (START, PROBABILITY)),
    Screen(
        "answer",
        "The table from which the answer's first digit was taken",
        120,
        24,
        (START, Step("left*2", "tokens: 101 ")),
    ),
    Screen(
        "ahead",
        "Where each first digit of the answer leads, before one is chosen: 7 to 72, 2 to 24, 1 to 120",
        120,
        24,
        (START, Step("left*2", "tokens: 101 ")),
        ahead=96,
    ),
    Screen("entropy", "The Natalia prompt, each token coloured by entropy", 120, 24, (START, ENTROPY)),
    Screen("fork", "A copy of the prompt, popped back to an uncertain token", 120, 24, FORK),
    Screen("detour", "The copy after another path: its answer is 24", 120, 24, DETOUR),
    Screen(
        "look",
        "Looking back at the place where the model was least sure, without popping",
        120,
        24,
        (START, ENTROPY, Step("B", "#1 ")),
    ),
    Screen(
        "search",
        "Searching the vocabulary for seven, after the word Answer",
        120,
        24,
        (START, Step("left*3", "tokens: 100 "), Step("/ s e v e n", "found")),
    ),
    Screen(
        "score",
        "Three answers scored against each other",
        120,
        24,
        (
            *(START, Step("left*3", "tokens: 100 ")),
            *(
                Step("i space 7 2 score", "␣72"),
                Step("space 9 6 score", "␣96"),
                Step("space 1 0 4 score", "tokens of ␣104"),
            ),
        ),
    ),
    Screen(
        "samplers",
        "What llama.cpp's samplers leave of the table from which the answer's first digit was taken",
        120,
        32,
        (START, Step("left*2", "tokens: 101 "), Step("S", "empty"), Step("enter", "6 of 49,152 survive")),
    ),
    Screen(
        "constraint",
        "The answer under a constraint that allows digits alone: its space is not legal",
        120,
        24,
        (START, Step("left*3", "tokens: 100 "), Step("C", "constraint:"), Step("[ 0 - 9 ] + enter", " legal ")),
    ),
    Screen(
        "versus",
        "The same text with twice in place of half: the reasoning after it is coloured by what that word costs it",
        120,
        28,
        (
            *(START, Step("p n", "new prompt"), Step("twice enter", "Prompt 2/2"), Step("v", " KL here ")),
            Step("n", "the greatest change"),
        ),
    ),
    Screen(
        "models",
        "Two quantisations of one model: how much likelier each token is by A, and the first place where they part",
        120,
        28,
        (START, Step("D", "flip")),
        versus=True,
    ),
    Screen("sum", "Another copy after the model's own sum: its answer is 104", 120, 24, SUM),
)


class Player:
    """The application on a terminal of its own, played by the names of `KEYS`."""

    def __init__(self, screen: Screen, answers: Answers, model: str, keys: PipeInput, folder: Path) -> None:
        self.screen = pyte.Screen(screen.columns, screen.rows)
        self._stream = pyte.Stream(self.screen)
        self._written = io.StringIO()
        self._keys = keys
        settings = config.Config()
        chosen = Settings(
            text=PROMPT.read_text(encoding="utf-8").removesuffix("\n"),
            model=GgufFile(model),
            load=Load("", 0, 0),
            lookahead=settings.engine.lookahead,
            lookahead_tokens=screen.ahead,
            tokens_to_show=settings.display.tokens_to_show,
        )
        self._engines: list[Recorded] = []

        def connect(deliver: Any) -> Recorded:
            self._engines.append(Recorded(answers, deliver, "B " if self._engines else ""))
            return self._engines[-1]

        session = Session(Game(chosen))
        if screen.versus:
            second = second_game(session, replace(chosen, model=GgufFile(str(Path(model).with_name(SECOND)))))
            session = add_second(session, second)
        self._game = Runtime(session, folder=folder, connect=connect)
        size = Size(screen.rows, screen.columns)
        output = Vt100_Output(cast("TextIO", self._written), lambda: size, "xterm-256color", enable_cpr=False)
        self._app = App(self._game, keys, output)

    async def play(self, steps: tuple[Step, ...]) -> None:
        """Presses the keys of all steps."""
        running = asyncio.create_task(self._app.run_async())
        self._game.start()
        while isinstance(pair := self._game.session.paired, Pair) and not pair.file:  # it is made in a thread
            await asyncio.sleep(0.001)
        await self._calm()
        for step in steps:
            for key in step.keys.split():
                name, _, times = key.partition("*")
                self._keys.send_text(KEYS.get(name, name) * int(times or 1))
                await self._calm()
            shown = "\n".join(self.screen.display)
            assert step.shown in shown, f"{step.shown!r} is not on the screen:\n{shown}"
        assert any(line.rstrip().endswith("ready") for line in self.screen.display[-4:])
        self._keys.send_text("\x11")
        await running
        self._game.close()

    async def _calm(self) -> None:
        """Waits until keys are obeyed, questions answered, and all is drawn: turns in which nothing happens."""
        calm, drawn = 0, 0
        while calm < TURNS:
            later = self._app._frame_timer is not None  # a frame of lookahead comes a little later
            await asyncio.sleep(0.001 if later else 0)
            busy = sum(engine.answer() for engine in self._engines) > 0  # each answers
            calm = 0 if busy or later or self._written.tell() > drawn else calm + 1
            drawn = self._written.tell()
        self._stream.feed(self._written.getvalue())
        self._written.seek(0)
        self._written.truncate()


# --- drawing

CELL, LINE, SIZE, MARGIN = 8.4, 18, 14, 14
"""Width and height of a cell, size of its font, and the frame around the screen, in pixels."""
GROUND, TEXT, FRAME = "#14161b", "#dfe2e8", "#3a3f4b"
PALETTE = {
    "black": GROUND,
    "red": "#f2777a",
    "green": "#8fce7a",
    "brown": "#e5c46b",
    "blue": "#6ca6f0",
    "magenta": "#cf8ee0",
    "cyan": "#5fc4cf",
    "white": TEXT,
    "brightblack": "#868d9c",
    "brightred": "#ff9a9c",
    "brightgreen": "#b0e89d",
    "brightbrown": "#ffe08a",
    "brightblue": "#8fc0ff",
    "brightmagenta": "#e3b0f0",
    "brightcyan": "#85e0ea",
    "brightwhite": "#ffffff",
}
"""The terminal's own colours, by pyte's names; dimmed text is `brightblack`."""
BLOCKS = {char: (0.0, 0.0, (8 - index) / 8, 1.0) for index, char in enumerate("█▉▊▋▌▍▎▏")} | {
    "│": (0.45, 0.0, 0.1, 1.0),
    "─": (0.0, 0.48, 1.0, 0.05),
    "┃": (0.4, 0.0, 0.2, 1.0),
    "━": (0.0, 0.46, 1.0, 0.09),
}
"""Characters drawn as shapes, so that they join in every font: x, y, width, height in cells."""
FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"


class Cell(NamedTuple):
    """One character and its look."""

    text: str
    ink: str
    ground: str
    bold: bool
    underline: bool


def cells(screen: Any, row: int) -> list[Cell]:
    """The cells of a row. The second cell of a wide character is empty."""

    def colour(name: str, default: str) -> str:
        return default if name == "default" else PALETTE.get(name) or f"#{name}"

    found = []
    for column in range(screen.columns):
        char = screen.buffer[row][column]
        ink, ground = colour(char.fg, TEXT), colour(char.bg, GROUND)
        if char.reverse:
            ink, ground = ground, ink
        found.append(Cell(char.data, ink, ground, char.bold, char.underscore))
    return found


def runs(row: list[Cell], *look: str) -> Iterator[tuple[int, list[Cell]]]:
    """Neighbouring cells that share a look (names of Cell's fields), with the first one's column."""
    column = 0
    for _, group in groupby(row, key=lambda cell: [getattr(cell, name) for name in look]):
        run = list(group)
        yield column, run
        column += len(run)


def words(run: list[Cell]) -> Iterator[tuple[int, str, int]]:
    """What to write of a run: column, text and width in cells.

    Two blanks, or a character that a font may draw in another width, begin a new
    piece, so that every piece begins where its cell does.
    """
    start, text = 0, ""
    for column, cell in enumerate(run):
        following = run[column + 1].text if column + 1 < len(run) else " "
        blank = cell.text == " " and (not text or following == " ")
        if cell.text.isascii() and cell.text and not blank:
            start = start if text else column
            text += cell.text
            continue
        if text:
            yield start, text, len(text)
            text = ""
        if cell.text and not blank and cell.text not in BLOCKS:
            yield column, cell.text, 1 if following else 2
    if text:
        yield start, text, len(text)


def rectangle(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A rectangle, in cells."""
    return (
        f'<rect x="{MARGIN + x * CELL:.1f}" y="{MARGIN + y * LINE:.1f}" width="{width * CELL:.1f}" '
        f'height="{height * LINE:.1f}" fill="{fill}"/>'
    )


def svg(screen: Any, title: str) -> str:
    """The screen as a picture: grounds first, then shapes and underlines, then text."""
    width, height = screen.columns * CELL + 2 * MARGIN, screen.lines * LINE + 2 * MARGIN
    grounds, shapes, texts = [], [], []
    for y in range(screen.lines):
        row = cells(screen, y)
        for x, run in runs(row, "ground"):
            if run[0].ground != GROUND:
                grounds.append(rectangle(x, y, len(run), 1, run[0].ground))
        for x, run in runs(row, "text", "ink"):
            if run[0].text in BLOCKS:
                for column in range(x, x + len(run)):
                    left, top, wide, high = BLOCKS[run[0].text]
                    shapes.append(rectangle(column + left, y + top, wide, high, run[0].ink))
        for x, run in runs(row, "ink", "underline"):
            if run[0].underline:
                shapes.append(rectangle(x, y + 0.94, len(run), 0.06, run[0].ink))
        for x, run in runs(row, "ink", "bold"):
            look = (f' fill="{run[0].ink}"' if run[0].ink != TEXT else "") + (
                ' font-weight="bold"' if run[0].bold else ""
            )
            for column, text, wide in words(run):
                texts.append(
                    f'<text x="{MARGIN + (x + column) * CELL:.1f}" y="{MARGIN + (y + 0.74) * LINE:.1f}" '
                    f'textLength="{wide * CELL:.1f}" lengthAdjust="spacingAndGlyphs"{look}>{escape(text)}</text>'
                )
    frame = f'width="{width - 1:.0f}" height="{height - 1:.0f}" rx="9" fill="{GROUND}" stroke="{FRAME}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
            f"<title>{escape(title)}</title>",
            f'<rect x="0.5" y="0.5" {frame}/>',
            '<g shape-rendering="crispEdges">',
            *grounds,
            *shapes,
            f'</g>\n<g font-family="{FONTS}" font-size="{SIZE}" fill="{TEXT}">',
            *texts,
            "</g>\n</svg>\n",
        ]
    )


def drawn(screen: Screen, answers: Answers, model: str = "recorded.gguf") -> str:
    """Plays a screen's steps; returns its picture. Raises NotRecorded."""

    async def play(folder: str) -> str:
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            player = Player(screen, answers, model, keys, Path(folder))
            await player.play(screen.steps)
            return svg(player.screen, screen.title)

    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"COLORTERM": "truecolor"}):
        os.environ.pop("NO_COLOR", None)
        return asyncio.run(play(folder))
