"""Which entries of a list are shown."""

from hypothesis import given
from hypothesis import strategies as st

from tests.fake import started
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Listed
from tokex_gguf.play.session import Starter
from tokex_gguf.ui.screen import View
from tokex_gguf.ui.window import window


@given(st.integers(1, 300), st.integers(1, 60), st.data())
def test_the_selected_entry_and_as_many_as_fit_are_shown(count: int, room: int, data: st.DataObject) -> None:
    selected = data.draw(st.integers(0, count - 1))
    shown = window(selected, count, room)
    assert selected in shown and len(shown) == min(count, room)
    assert shown.start >= 0 and shown.stop <= count
    if shown.start > 0 and shown.stop < count:
        assert selected - shown.start == room // 2


def test_where_there_is_nothing_nothing_is_shown() -> None:
    assert list(window(0, 0, 5)) == [] and list(window(3, 5, 0)) == [] and list(window(0, 3, -1)) == []


def test_no_entry_of_a_list_that_fits_is_scrolled_away() -> None:
    """The list of prompts once lost its first entry though all fitted."""
    for entries in range(1, 60):
        play = started().press(Action.PROMPTS)
        play.take(Listed(tuple(Starter(f"text {index}", "text") for index in range(entries))))
        for row in range(1 + entries):
            screen = View().screen(play.session, 130, 40)
            told = ["".join(text for _, text in line) for line in screen]
            assert any(("+ text " in line and f"+ text {row - 1} " in line) or f" {1} " in line for line in told)
            shown = [index for index in range(entries) if any(f"+ text {index} " in line for line in told)]
            if 1 + entries <= 28:  # lines below the heading
                assert len(shown) == entries
            else:
                assert len(shown) >= 27
            play.take(Action.DOWN)
