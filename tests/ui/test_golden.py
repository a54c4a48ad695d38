"""Screens as they are meant to be, in tests/ui/golden and docs/screens: `uv run poe golden` writes them anew.

In tests/ui/golden the numbers are those of an engine of arithmetic, so that they are the same on every machine. Below
each line stand its styles: the column at which each begins. The pictures in docs/screens have a real model's numbers,
which are recorded: `uv run poe screens` asks the model once more, and is needed only where a play asks other things.
"""

import re
from pathlib import Path

import pytest

from tests import pictures
from tests.pictures import Screen
from tests.recorded import Answers
from tests.sampling import few
from tests.ui.test_view import STATES, session_of
from tokex_gguf.ui.cells import Line, cells_of
from tokex_gguf.ui.screen import ScreenRenderer

GOLDEN = Path(__file__).parent / "golden"
SIZES = [(130, 40), (80, 24)]


def told(line: Line) -> str:
    """A line and its styles."""
    column, styles, before = 0, [], ""
    for style, part in line:
        if style != before and part:
            styles.append(f"{column}:{style.replace('class:', '') or '-'}")
            before = style
        column += cells_of(part)
    text = "".join(part for _, part in line).rstrip()
    return "\n".join([f"|{text}", *([f"~ {', '.join(styles)}"] if styles else [])])


def drawn(name: str) -> str:
    """A state's screen in each of the sizes."""
    parts = []
    for width, height in SIZES:
        lines = ScreenRenderer().screen(session_of(name), width, height)
        parts += [f"{width}x{height}", *map(told, lines), ""]
    return "\n".join(parts)


@pytest.mark.parametrize("name", STATES)
def test_a_screen_is_as_it_is_meant_to_be(name: str, pytestconfig: pytest.Config) -> None:
    path = GOLDEN / f"{name.replace(' ', '-')}.txt"
    if pytestconfig.getoption("--renew-screens"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(drawn(name), encoding="utf-8", newline="\n")
    assert drawn(name) == path.read_text(encoding="utf-8"), "see the difference, then: uv run poe golden"


def test_no_screen_is_left_that_nobody_draws() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {name.replace(" ", "-") for name in STATES}


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers.read(pictures.RECORDING)


@pytest.mark.parametrize("screen", few(pictures.SCREENS, of=3), ids=lambda screen: screen.name)
def test_a_picture_shows_what_the_program_draws(screen: Screen, answers: Answers, pytestconfig: pytest.Config) -> None:
    """Every character, colour and line."""
    path = pictures.FOLDER / f"{screen.name}.svg"
    picture = pictures.drawn(screen, answers)
    if pytestconfig.getoption("--renew-screens"):
        path.write_text(picture, encoding="utf-8", newline="\n")
    assert picture.splitlines() == path.read_text(encoding="utf-8").splitlines(), "see it, then: uv run poe golden"


@pytest.mark.parametrize("path", sorted(pictures.FOLDER.iterdir()), ids=lambda path: path.stem)
def test_a_picture_has_no_colour_but_numbers(path: Path) -> None:
    """Viewers paint an unknown name black."""
    colours = set(re.findall(r'(?:fill|stroke)="([^"]*)"', path.read_text(encoding="utf-8")))
    assert colours and all(re.fullmatch("#[0-9a-f]{6}|none", colour) for colour in colours), colours


def test_no_picture_is_left_that_nobody_draws() -> None:
    assert {path.name for path in pictures.FOLDER.iterdir()} == {f"{screen.name}.svg" for screen in pictures.SCREENS}
