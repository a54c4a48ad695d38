"""What the player is told is never cut: all texts that the rules make have room on a terminal of 80 columns.

They stand on a line of their own, and where one is not enough, on that of the first keys, too.
"""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake import Play, started
from tests.ui.test_view import STATES
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import SCREENS
from tokex_gguf.play.messages import Typed
from tokex_gguf.ui.cells import cells_of
from tokex_gguf.ui.screen import SMALLEST, ScreenRenderer

PLAY = Path(__file__).parent.parent.parent / "tokex_gguf" / "play"
LONGEST = 2 * 78 - 12
"""Cells of a notice at the most: two lines, less what is lost where a line ends between words."""
SHOWN = 14
"""Cells that a name or a number takes in a notice."""


def texts(path: Path) -> Iterator[tuple[int, int, str]]:
    """Every text that a function of a module makes: line, cells at the most, and itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        documented = {id(function.body[0].value)} if isinstance(function.body[0], ast.Expr) else set()
        inside = {id(part) for one in ast.walk(function) if isinstance(one, ast.JoinedStr) for part in one.values}
        for node in ast.walk(function):
            if id(node) in documented | inside:
                continue
            if isinstance(node, ast.JoinedStr):
                yield node.lineno, sum(map(width_of, node.values)), ast.unparse(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.lineno, cells_of(node.value), node.value


def width_of(part: ast.expr) -> int:
    """The cells of a part of a text that is put together."""
    if isinstance(part, ast.Constant):
        return cells_of(str(part.value))
    assert isinstance(part, ast.FormattedValue)
    value = part.value
    if isinstance(value, ast.IfExp):
        return max(cells_of(str(end.value)) for end in (value.body, value.orelse) if isinstance(end, ast.Constant))
    return SHOWN


MODULES = sorted({*PLAY.rglob("*.py")})


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(PLAY)) for path in MODULES])
def test_no_text_of_a_rule_is_longer_than_two_lines_of_80_columns(path: Path) -> None:
    long = [(line, cells, text) for line, cells, text in texts(path) if cells > LONGEST and "\n" not in text]
    assert not long


def test_texts_are_found() -> None:
    told = [text for path in MODULES for _, _, text in texts(path)]
    assert "this is the only such token" in told and any("from the other end" in text for text in told)
    assert len(told) > 200


@pytest.mark.parametrize("name", ["ready", "samplers", "no samplers", "looking back", "dead", "prompts", "tree"])
def test_why_a_command_cannot_be_done_has_room_on_one_or_two_lines(name: str) -> None:
    session = STATES[name]().session
    for command in SCREENS[type(session.screen)].commands:
        assert cells_of(command.disabled(session)) <= LONGEST, command.name


# --- on the screen


WORDS = "from the other end again: " + " ".join(f"word{number}" for number in range(14)) + " end."


def drawn(play: Play, width: int, height: int) -> list[str]:
    return ["".join(part for _, part in line) for line in ScreenRenderer().screen(play.session, width, height)]


@pytest.mark.parametrize("size", [SMALLEST, (80, 24), (80, 20)])
def test_a_long_notice_goes_on_in_the_place_of_keys_and_is_whole(size: tuple[int, int]) -> None:
    play = started()
    before = drawn(play, *size)
    text = WORDS[: WORDS.index("word7")] + "end." if size == SMALLEST else WORDS
    play.session = replace(play.session, notice=text)
    lines = drawn(play, *size)
    assert text in " ".join(" ".join(lines[-3:]).split())
    rows = 2 if size[1] >= 24 else 1
    assert lines[: -rows - 1] == before[: -rows - 1], "nothing else is moved by it"
    assert ("? help" in lines[-1] or "quit" in lines[-1]) == (rows == 2), "the most important keys stay"
    play.session = replace(play.session, notice="a short one")
    assert drawn(play, *size)[-rows:] == before[-rows:]


@pytest.mark.parametrize("action", [Action.INPUT, Action.SEARCH, Action.CONSTRAINT, Action.COMMANDS])
def test_beside_what_is_typed_a_long_notice_has_a_line_of_its_own(action: Action) -> None:
    play = started().press(action, Typed("some words"))
    assert isinstance(play.session.screen, screens.TypingScreen)
    play.session = replace(play.session, notice="short")
    line = drawn(play, 80, 24)[-3]
    assert "some words" in line and line.rstrip().endswith("short")
    play.session = replace(play.session, notice=WORDS)
    lines = drawn(play, 80, 24)
    assert "some words" in lines[-3] and WORDS in " ".join(" ".join(lines[-2:]).split())


@pytest.mark.parametrize("size", [SMALLEST, (80, 20), (99, 23), (80, 24)])
@pytest.mark.parametrize("typed", [False, True])
def test_a_notice_that_needs_more_lines_than_the_keys_have_is_whole(size: tuple[int, int], typed: bool) -> None:
    play = started().press(*((Action.CONSTRAINT, Typed("some words")) if typed else ()))
    play.session = replace(play.session, notice="oneOf is not supported: anyOf is. " * (4 if size == SMALLEST else 5))
    lines = drawn(play, *size)
    assert len(lines) == size[1] and {cells_of(line) for line in lines} == {size[0]}
    told = " ".join(" ".join(lines[-6:]).split())
    assert told.endswith(play.session.notice.strip()) and "Prompt 1/1" in told
    play.session = replace(play.session, notice=play.session.notice * 9)
    lines = drawn(play, *size)
    assert len(lines) == size[1] and lines[-1].rstrip().endswith("…"), "and where it is cut, that is seen"


def test_what_a_long_notice_covers_is_not_clicked() -> None:
    play, view = started(), ScreenRenderer()
    hit = [view.hit(play.session, 60, 16, 5, y) for y in range(16) if view.screen(play.session, 60, 16)]
    play.session = replace(play.session, notice=WORDS + WORDS)
    view.screen(play.session, 60, 16)
    assert hit[11] and hit[12] and not view.hit(play.session, 60, 16, 5, 11)
    assert view.hit(play.session, 60, 16, 5, 10) == hit[10]
