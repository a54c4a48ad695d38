"""Lines onto the screen: what a plain loop over the characters paints, however they are cut into fragments."""

from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from tokex_gguf.ui.cells import Line
from tokex_gguf.ui.paint import _row

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
