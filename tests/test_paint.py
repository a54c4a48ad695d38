"""Lines onto the screen: what a plain loop over the characters paints, however they are cut into fragments."""

from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.application import Application
from prompt_toolkit.input import DummyInput
from prompt_toolkit.layout import Layout
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth

from tests.canvas import Canvas
from tokex_gguf.ui.cells import Line, fit
from tokex_gguf.ui.paint import Painting, _row

Cell = tuple[str, str]

# Narrow, wide, and marks that take no cell: an accent, a variation selector, a Devanagari sign.
CHARACTERS = "a␣ é日本🙂\u0301\ufe0f\u0941"
LINES = st.lists(st.tuples(st.sampled_from(["", "class:a", "class:b"]), st.text(CHARACTERS, min_size=1)), max_size=8)


def plainly(line: Line) -> list[Cell]:
    """Characters and styles, one for each cell; the second cell of a wide character is empty."""
    cells: list[Cell] = []
    for style, text in line:
        for char in text:
            width = get_cwidth(char)
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
STYLES = Style.from_dict({"a": "bold", "b": "reverse #ff0000", "c": "bg:#00ff00"})
FRAMES = st.lists(st.lists(LINES, min_size=3, max_size=3), min_size=2, max_size=4)


def application(frame: list[Line], canvas: Canvas) -> Application[None]:
    """Shows what is in `frame`."""

    def draw(width: int, height: int) -> list[Line]:
        return [fit(line, width) for line in frame[:height]]

    painting = Painting(draw, lambda _: None, lambda: False, lambda: (app.renderer, app.color_depth))
    app: Application[None] = Application(
        Layout(painting), style=STYLES, full_screen=True, input=DummyInput(), output=canvas
    )
    return app


@given(FRAMES)
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
