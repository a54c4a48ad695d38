"""Lines onto the screen: what a plain loop over the characters paints, however they are cut into fragments."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_toolkit.application import Application
from prompt_toolkit.input import DummyInput
from prompt_toolkit.layout import Layout
from prompt_toolkit.styles import Style

from tests.canvas import Canvas
from tokex_gguf.ui.cells import Line, cells_of, fit
from tokex_gguf.ui.paint import Painting, _row, parts

Cell = tuple[str, str]

# Narrow, wide, marks that take no cell (an accent, a variation selector, a Devanagari sign), and one that does.
CHARACTERS = "a␣ é日本🙂क\u0301\ufe0f\u0941\u093e"
LINES = st.lists(st.tuples(st.sampled_from(["", "class:a", "class:b"]), st.text(CHARACTERS, min_size=1)), max_size=8)


def plainly(line: Line) -> list[Cell]:
    """Characters and styles, one for each cell; the second cell of a wide character is empty."""
    cells: list[Cell] = []
    for style, text in line:
        for char in text:
            width = cells_of(char)
            if width == 0:
                if cells:
                    base = -1 if cells[-1][0] else -2
                    cells[base] = (cells[base][0] + char, cells[base][1])
                continue
            cells += [(char, style), *[("", "")] * (width - 1)]
    return cells


@given(LINES)
def test_fragments_are_painted_as_their_characters(line: Line) -> None:
    row = _row(tuple(line))
    assert [(row[x].char, row[x].style) for x in range(len(row))] == plainly(line)


def test_a_mark_that_begins_a_fragment_belongs_to_the_cell_before() -> None:
    row = _row((("class:a", "日"), ("class:b", "\u0301x")))
    assert [row[x].char for x in range(3)] == ["日\u0301", "", "x"]
    assert (row[0].style, row[2].style) == ("class:a", "class:b")


WIDTH = 14
STYLES = Style.from_dict({"a": "bold strike", "b": "reverse #ff0000", "c": "bg:#00ff00"})
FRAMES = st.lists(st.lists(LINES, min_size=3, max_size=3), min_size=2, max_size=4)


def application(frame: list[Line], canvas: Canvas) -> Application[None]:
    """Shows what is in `frame`."""

    def draw(width: int, height: int) -> list[Line]:
        return [fit(line, width) for line in frame[:height]]

    painting = Painting(draw, lambda _: None, lambda: False, lambda: (app.renderer, app.color_depth), lambda: None)
    app: Application[None] = Application(
        Layout(painting), style=STYLES, full_screen=True, input=DummyInput(), output=canvas
    )
    return app


@pytest.mark.thorough
@given(FRAMES)
@settings(max_examples=15)
def test_a_frame_after_others_is_what_it_is_alone(frames: list[list[Line]]) -> None:
    frame = list(frames[0])
    canvas = Canvas(WIDTH, 3)
    app = application(frame, canvas)
    for frame[:] in frames:
        app.renderer.render(app, app.layout)
        fresh = Canvas(WIDTH, 3)
        alone = application(frame, fresh)
        alone.renderer.render(alone, alone.layout)
        assert canvas.shown() == fresh.shown()


def test_only_what_changed_is_written() -> None:
    frame: list[Line] = [[("", "one "), ("class:a", "two "), ("", "six")], [("", "same")], [("", "same")]]
    canvas = Canvas(WIDTH, 3)
    app = application(frame, canvas)
    app.renderer.render(app, app.layout)
    written: list[str] = []
    canvas.write = written.append  # type: ignore[assignment, method-assign]
    frame[0] = [("", "one "), ("class:a", "ten "), ("", "six")]
    app.renderer.render(app, app.layout)
    assert "".join(written).strip("\r") == "ten "


OPINIONS: dict[str, Callable[[str], int]] = {
    "Indic signs take a cell": lambda char: 1 if char in "\u094d\u0941" else cells_of(char),
    "Indic letters take two": lambda char: 2 if "\u0900" <= char < "\u0a00" and cells_of(char) else cells_of(char),
    "spacing signs take none": lambda char: 0 if char in "\u093e\u093f\u0947" else cells_of(char),
    "emoji are narrow": lambda char: min(1, cells_of(char)) if char > "\U0001f000" else cells_of(char),
    "symbols are wide": lambda char: 2 if "\u2600" <= char < "\u2800" else cells_of(char),
    "signs are wide": lambda char: 2 if "\u2000" <= char < "\u2800" else cells_of(char),
}
"""How terminals measure characters otherwise than the library for widths."""
DOUBTFUL = [
    "नमस्ते दुनिया",
    "🙂🙂👍🏽 ok",
    "⌚☕✈ …→█",
    "ภาษาไทย",
    "e\u0301é",
    "한국어 日本",
    "✈",
    "\u093e\u093eक",
    "क\u0941\u0941",
]
TABLE = " rank 42 0.5"


@pytest.mark.parametrize("opinion", OPINIONS)
def test_a_width_on_which_the_terminal_disagrees_does_not_move_the_table(opinion: str) -> None:
    """Whatever text comes and goes in front of it: the columns behind it stand in their places."""
    canvas = Canvas(40, 3, OPINIONS[opinion])
    frame: list[Line] = [[], [], []]
    app = application(frame, canvas)
    for before in [*DOUBTFUL, "plain", *reversed(DOUBTFUL)]:
        for style in ("", "class:a"):
            frame[:] = [[*fit([(style, before)], 24), ("class:b", TABLE)], fit([("", before * 9)], 40), []]
            for _ in range(2):  # the first frame of all is prompt_toolkit's
                app.renderer.render(app, app.layout)
            assert "".join(char for char, _ in canvas.line(0)[24:36]) == TABLE
            assert not any(char.strip() for char, _ in canvas.line(2))


@pytest.mark.parametrize("opinion", OPINIONS)
def test_what_is_wider_than_believed_goes_on_in_no_other_line(opinion: str) -> None:
    """Also where a frame before had text that is placed character by character."""
    canvas = Canvas(40, 3, OPINIONS[opinion])
    frame: list[Line] = [[("", " " * 40)], [("", " " * 40)], []]
    app = application(frame, canvas)
    for text in ("plain", "🙂 नमस्ते", "─" * 40, "━" * 10 + "─" * 30):
        frame[:2] = [fit([("", text)], 40), fit([("", "x")], 40)]
        app.renderer.render(app, app.layout)  # the canvas refuses it
        assert canvas.text().splitlines()[1].startswith("x")


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])))
def test_parts_are_the_text_and_only_whole_characters_are_in_doubt(text: str) -> None:
    cut = parts(text)
    assert "".join(part.text for part in cut) == text
    assert all(part.cells == sum(map(cells_of, part.text)) for part in cut)
    for part in cut:
        if part.width_uncertain:
            assert sum(cells_of(char) > 0 and unicodedata.category(char)[0] != "M" for char in part.text) <= 1


def test_a_mark_is_written_right_behind_its_character_also_from_another_fragment() -> None:
    """Terminals leave out one that comes after the cursor was moved."""
    frame: list[Line] = [[("", " " * WIDTH)], [], []]
    canvas = Canvas(WIDTH, 3)
    app = application(frame, canvas)
    app.renderer.render(app, app.layout)
    written: list[str] = []
    canvas.write = written.append  # type: ignore[assignment, method-assign]
    canvas.cursor_forward = lambda amount: written.append(f"<{amount}>")  # type: ignore[method-assign]
    frame[0] = [("", "दुनि"), ("", "या"), ("", "क"), ("", "\u093f"), ("", "x")]
    app.renderer.render(app, app.layout)
    told = "".join(written)
    assert all(whole in told for whole in ("दु", "नि", "या", "क\u093f"))
