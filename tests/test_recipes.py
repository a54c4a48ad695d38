"""The recipes of CONTRIBUTING.md, followed: what it takes to add a thing, and no more."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests import fake
from tests.fake import Play, on, started
from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.protocol import EngineDied, Evaluate, Evaluated, Load, Loaded, Request, Tokenize, Tokenized
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import Command, ScreenRow
from tokex_gguf.play.commands import documents, registry
from tokex_gguf.play.game import Game, Settings
from tokex_gguf.play.messages import Outcome, PointedAtRow
from tokex_gguf.play.rules import help_screen, lists
from tokex_gguf.play.session import Session
from tokex_gguf.sessions.codec import dump, load
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.ui import lists as lists_pane
from tokex_gguf.ui import theme
from tokex_gguf.ui.cells import Line
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.ui.screen_table import PANES, Pane
from tokex_gguf.values import layers
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.layers import Layer
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.record import record
from tokex_gguf.values.tokens import Piece, label

LETTERS = "abcdefghijklmnop"
PIECES = {token: Piece(letter.encode()) for token, letter in enumerate(LETTERS)}


class Dice:
    """An engine without a model: after every path each letter is equally likely."""

    pid = None

    def __init__(self, deliver: Callable[[Delivery], None]) -> None:
        self._deliver = deliver

    def send(self, request: Request) -> None:
        bits = math.log2(len(LETTERS))
        match request:
            case Load():
                self._deliver(Loaded("Dice", "none", "exact", len(LETTERS), 512, 512, None, False))
            case Tokenize(number, text):
                self._deliver(Tokenized(number, [LETTERS.index(char) for char in text], PIECES))
            case Evaluate(number, path, start, top):
                ids = list(range(len(LETTERS)))[:top]
                equal = Distribution.of(bits, ids, [-math.log(len(LETTERS))] * len(ids))
                count = len(path) - start
                taken = [TokenLogprob(-math.log(len(LETTERS)), 1)] * (count - 1)
                self._deliver(Evaluated(number, start, [equal] * count, taken, PIECES, count, 0.001, 512))
            case _:
                pass  # what it does not answer, nobody waits for

    def close(self) -> None:
        pass


def test_an_engine_is_one_class(tmp_path: Path) -> None:
    runtime = Runtime(Session(Game(Settings("ab", GgufFile("dice")))), folder=tmp_path, connect=Dice)
    runtime.start()
    while runtime.receive():
        pass
    runtime.dispatch(Action.APPEND)
    while runtime.receive():
        pass
    assert runtime.session.game.ready and runtime.session.game.prompt.tip.depth == 3
    assert runtime.session.game.prompt.tip.distribution is not None
    assert runtime.session.game.prompt.tip.distribution.entropy_bits == 4.0
    screen = ["".join(text for _, text in line) for line in ScreenRenderer().screen(runtime.session, 100, 30)]
    assert "Dice" in screen[0] and "ready" in screen[-4]
    assert runtime.close() is None


# --- a layer: a row of `values/layers.py` and a scale of `ui/theme.py`

LENGTH = Layer("length", lambda node, _size: (node.token % 10) / 10, "by length", "0", "10 bytes")
GREENS = theme.Scale(
    lambda value: (0, round(100 * value), 0), ("bg:ansiblack fg:ansiwhite", "bg:ansigreen fg:ansiblack")
)


def test_a_layer_is_a_row_and_a_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layers.MORE_LAYERS, LENGTH.name, LENGTH)
    monkeypatch.setitem(theme.SCALES, LENGTH.name, GREENS)
    play = started("hello").press(*[Action.MORE_LAYERS] * 7)
    assert play.session.options.layer is LENGTH
    lines = ScreenRenderer().screen(play.session, 100, 30)
    assert "length 0" in text_of(lines[-3]) and "10 bytes" in text_of(lines[-3])
    first, *_ = play.session.game.prompt.tip.nodes()
    assert (theme.shade("length", (first.token % 10) / 10), "x") in {(style, "x") for style, _ in lines[1]}
    for palette in ("standard", "colour-blind", "monochrome"):
        for colours in (2, 16, 256):
            assert f"length.{theme.STEPS - 1}" in theme.styles(palette, colours=colours)
    again = load(dump(play.session), play.session.game.settings)
    assert again.options.layer is LENGTH
    assert play.press(Action.MORE_LAYERS).session.options.layer is layers.PLAIN


# --- a screen: its state and commands, and its pane; a row in each of two tables


@record(kw_only=True)
class Counts(screens.ListScreen):
    """How often each token is in the prompt."""


def counted(session: Session) -> list[tuple[int, int]]:
    return Counter(node.token for node in session.game.prompt.tip.nodes()).most_common()


def length(session: Session) -> int:
    return len(counted(session))


def open_counts(session: Session) -> Outcome:
    return replace(session, screen=Counts()), []


def count_lines(session: Session, _width: int, height: int) -> list[Line]:
    row = on(session, Counts).row
    return [
        [("class:head", " times token")],
        *(
            [("class:selected" if index == row else "", f" {times:>5} {label(session.game.piece(token).data)}")]
            for index, (token, times) in enumerate(counted(session)[: height - 1])
        ),
    ]


COUNTING = ScreenRow(
    "The counts (`Z`)",
    (
        Command(Action.DOWN, lists.move(1, length), ("down",), "Counts", "row", "Select the line below.", footer=70),
        Command(Action.CLOSE, lists.close, ("escape", "Z"), "Program", "back", "Go back.", footer=99),
        Command(Action.HELP, help_screen.open_help, ("?",), "Program", "help", "Show these keys.", footer=60),
    ),
    (("times", "How often the token is in the prompt."),),
    pick_row=lists.pick(length),
)
OPENS = Command(Action.OPEN, open_counts, ("Z",), "View", "counts", "Count the prompt's tokens.", footer=60)


def test_a_screen_is_a_row_in_each_of_two_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    playing = registry.SCREENS[screens.Play]
    monkeypatch.setitem(registry.SCREENS, screens.Play, replace(playing, commands=(*playing.commands, OPENS)))
    monkeypatch.setitem(registry.SCREENS, Counts, COUNTING)
    monkeypatch.setitem(PANES, Counts, Pane(count_lines, lists_pane.entries(length)))
    play, view = started("hello"), ScreenRenderer()
    assert registry.action(play.session.screen, "Z") is Action.OPEN and "Z counts" in " ".join(shown(play, view)[-2:])
    play.press(Action.OPEN)
    lines = shown(play, view)
    assert any("times token" in line for line in lines) and any(
        f"    2 {label(fake.PIECES[44].data)}" in line for line in lines
    )
    assert "↓ row" in lines[-2] and "Esc back" in lines[-2]
    play.press(Action.DOWN, Action.DOWN)
    assert on(play.session, Counts).row == 2
    assert play.press(PointedAtRow(1)).session.screen == Counts(row=1)
    assert on(play.press(PointedAtRow(99)).session, Counts).row == 3, "the last of hello's four"
    drawn = "\n".join(shown(play.press(Action.HELP), view))
    assert "Select the line below." in drawn and "How often the token is in the prompt." in drawn
    play.take(EngineDied("SIGSEGV"))
    assert isinstance(play.session.current, screens.Play), "an engine that is gone brings every list to an end"
    assert "The counts (`Z`)" in documents.manual() and "Count the prompt's tokens." in documents.manual()


def text_of(line: Line) -> str:
    return "".join(part for _, part in line)


def shown(play: Play, view: ScreenRenderer) -> list[str]:
    return [text_of(line) for line in view.screen(play.session, 130, 60)]
