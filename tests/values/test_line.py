"""A line that is typed, against a plain list of characters."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tokex_gguf.values.text_field import EMPTY, TextField, is_text, pasted

LINES = st.text(alphabet="ab \n", max_size=12).flatmap(
    lambda text: st.integers(0, len(text)).map(lambda caret: TextField(text, caret))
)


@given(LINES, st.text(max_size=5))
def test_typing_puts_text_at_the_caret(line: TextField, text: str) -> None:
    after = line.typed(text)
    assert after.text == line.text[: line.caret] + text + line.text[line.caret :]
    assert after.text[: after.caret] == line.text[: line.caret] + text


@given(LINES)
def test_erasing_takes_what_is_before_the_caret_and_nothing_behind_it(line: TextField) -> None:
    before, behind = line.text[: line.caret], line.text[line.caret :]
    assert line.erased() == TextField(before[:-1] + behind, max(0, line.caret - 1))
    assert line.deleted() == TextField(before + behind[1:], line.caret)
    assert line.cleared() == TextField(behind, 0)
    word = line.word_erased()
    assert word.text == before[: word.caret] + behind
    gone = before[word.caret :]
    assert bool(gone) == bool(before) and len(gone.split()) <= 1
    assert word.caret == 0 or before[word.caret - 1].isspace()


@given(LINES, st.integers(-20, 20))
def test_the_caret_stays_in_the_text(line: TextField, step: int) -> None:
    moved = line.moved(step)
    assert moved.text == line.text
    assert moved.caret == min(max(line.caret + step, 0), len(line.text))


def test_nothing_is_typed_at_first() -> None:
    assert EMPTY.text == "" and EMPTY.erased() == EMPTY.deleted() == EMPTY.word_erased() == EMPTY


def test_every_character_but_controls_and_stray_bytes_is_text() -> None:
    for code in range(0x110000):
        assert is_text(chr(code)) == (unicodedata.category(chr(code)) not in ("Cc", "Cs")), hex(code)
    assert not is_text("a\x1b[A") and not is_text("")


@given(st.text(st.characters(codec=None)))
def test_what_is_pasted_is_kept_but_for_line_ends_and_stray_bytes(text: str) -> None:
    kept = pasted(text)
    kept.encode()
    assert "\r" not in kept
    if not any(char in "\r" or "\ud800" <= char <= "\udfff" for char in text):
        assert kept == text
