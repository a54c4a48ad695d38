"""A constraint that is typed is seen as a whole, and around its caret where it is long."""

import random

import pytest

from tests.fake import started
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Typed
from tokex_gguf.ui.cells import cells_of, width_of
from tokex_gguf.ui.constraint import constraint_lines, rows_of, text_lines
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.text_field import TextField


def plain(session_lines: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(text for _, text in line).rstrip() for line in session_lines]


def test_a_schema_has_the_width_there_is() -> None:
    schema = '{"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}'
    play = started().press(Action.CONSTRAINT, Typed(schema), Action.KIND)
    shown = plain(ScreenRenderer().screen(play.session, 80, 24))
    (at,) = [index for index, line in enumerate(shown) if line.startswith(' {"type": "object"')]
    assert shown[at][1:] + shown[at + 1][1:] == schema
    assert "json-schema" in shown[at - 1] and "@schema.json" in shown[at + 3]
    play.press(Action.ERASE_LINE)
    assert "→ takes this example" in "\n".join(plain(ScreenRenderer().screen(play.session, 80, 24)))


@pytest.mark.parametrize("seed", range(30))
def test_the_caret_is_in_sight_and_what_stands_around_it(seed: int) -> None:
    rng = random.Random(seed)
    pieces = ['"a": 1, ', "\n", "漢字", "e\u0301", "\t", "x" * 70, "\x01", "  "]
    text = "".join(rng.choices(pieces, k=rng.choice([0, 3, 40, 2000])))
    width, height = rng.randint(20, 90), rng.randint(1, 30)
    for caret in {0, len(text), *(rng.randint(0, len(text)) for _ in range(12))}:
        lines = text_lines(TextField(text, caret), width, height)
        assert 1 <= len(lines) <= height and all(width_of(line) <= width + 1 for line in lines)
        (here,) = [part for line in lines for style, part in line if style == "reverse"]
        assert cells_of(here) > 0
    rows = list(rows_of(text, 0, width))
    assert [begin for begin, _, _ in rows[1:]] == [end for _, end, _ in rows[:-1]]
    assert not text or (rows[0][0], rows[-1][1]) == (0, len(text))


def test_a_pane_of_any_size_is_drawn() -> None:
    play = started().press(Action.CONSTRAINT, Typed("[0-9]+\n" * 50))
    for size in ((40, 6), (79, 11), (51, 33)):
        assert 1 < len(constraint_lines(play.session, *size)) <= size[1]
