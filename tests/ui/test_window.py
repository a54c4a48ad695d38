"""Which entries of a list are shown."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake import Play, on, started
from tests.sampling import few
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import help_found
from tokex_gguf.play.messages import ListedModels, ListedStarters, PointedAtRow
from tokex_gguf.play.session import Starter
from tokex_gguf.ui.help import help_lines, help_page
from tokex_gguf.ui.screen import ScreenRenderer, body_lines
from tokex_gguf.ui.window import window
from tokex_gguf.values.model_entry import ModelEntry

SIZES = [(80, 24), (130, 40), (60, 16)]


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


@pytest.mark.thorough
def test_no_entry_of_a_list_that_fits_is_scrolled_away() -> None:
    """The list of prompts once lost its first entry though all fitted."""
    for entries in range(1, 60):
        play = started().press(Action.PROMPTS)
        play.take(ListedStarters(tuple(Starter(f"text {index}", "text") for index in range(entries))))
        for row in range(1 + entries):
            screen = ScreenRenderer().screen(play.session, 130, 40)
            told = ["".join(text for _, text in line) for line in screen]
            assert any(("+ text " in line and f"+ text {row - 1} " in line) or f" {1} " in line for line in told)
            shown = [index for index in range(entries) if any(f"+ text {index} " in line for line in told)]
            if 1 + entries <= 28:  # lines below the heading
                assert len(shown) == entries
            else:
                assert len(shown) >= 26, "one line says how many more there are"
            play.take(Action.DOWN)


def many(kind: str) -> Play:
    """A list of this kind that has more lines than fit."""
    if kind == "tree":
        play = started().press(Action.APPEND)
        for _ in range(40):
            play.press(Action.POP, Action.DOWN, Action.APPEND)
        return play.press(Action.TREE)
    if kind == "models":
        play = started().press(Action.MODELS)
        play.take(ListedModels(tuple(ModelEntry(f"{index}", f"{index}", "Q8_0", "5 MB", "") for index in range(40))))
        return play
    if kind == "prompts":
        return started().press(*[Action.COPY] * 39, Action.PROMPTS)
    return started().press({"help": Action.HELP, "commands": Action.COMMANDS}[kind])


TO_THE_END = 40
"""Presses that reach the end of each list."""


@pytest.mark.parametrize("kind", ["tree", "prompts", "models", "help", "commands"])
@pytest.mark.parametrize("size", few([(size,) for size in SIZES], of=3))
def test_each_list_says_how_many_lines_are_above_and_below(kind: str, size: tuple[int, int]) -> None:
    play = many(kind)

    def told() -> list[int]:
        """The lines that are said to be above and below."""
        text = "\n".join("".join(part for _, part in line) for line in ScreenRenderer().screen(play.session, *size))
        return [int(found[1]) if (found := re.search(rf"{arrow} (\d+) more", text)) else 0 for arrow in "↑↓"]

    # A list opens where the player is: the top is reached by keys.
    ends = [told()]
    for key in (Action.PAGE_UP, Action.PAGE_DOWN):
        for _ in range(TO_THE_END):
            helping = play.session.screen
            if isinstance(helping, screens.Help):  # how many entries make a page, only the screen knows
                play.press(
                    PointedAtRow(help_page(helping, size[0], body_lines(size[1]), 1 if key is Action.PAGE_DOWN else -1))
                )
            else:
                play.press(key)
            ends.append(told())
        assert ends[-1].count(0) == 1, "at an end, all others are on one side"
    (_, below), (above, _) = ends[TO_THE_END], ends[2 * TO_THE_END]
    assert above == below > 0
    assert all(abs(sum(one) - above) <= 1 for one in ends), "what is shown, above and below is always the same together"


@pytest.mark.parametrize("size", few([(size,) for size in SIZES], of=3))
@pytest.mark.parametrize("direction", [1, -1])
def test_the_help_is_turned_by_pages_and_nothing_is_passed_unseen(size: tuple[int, int], direction: int) -> None:
    play = started().press(Action.HELP, Action.TOP if direction > 0 else Action.BOTTOM)
    body = body_lines(size[1])

    def page() -> list[str]:
        lines = ["".join(part for _, part in line).rstrip() for line in ScreenRenderer().screen(play.session, *size)]
        return [line for line in lines[1 : 1 + body] if not re.match(" +[↑↓] [0-9]+ more", line)]

    def turn() -> list[str]:
        helping = on(play.session, screens.Help)
        play.press(PointedAtRow(help_page(helping, size[0], body, direction)))
        return page()

    pages = [page()]
    while (further := turn()) != pages[-1]:
        pages.append(further)
    entries, _ = help_lines(help_found(on(play.session, screens.Help)), size[0], -1)
    told = ["".join(part for _, part in line).rstrip() for line in entries]
    assert {line for one in pages for line in one} >= set(told), "all of it is seen"
    assert len(pages) <= 1.35 * len(told) / (body - 1) + 2, "a page is a page"


def test_a_list_that_fits_says_nothing_of_more() -> None:
    play = started().press(Action.COPY, Action.PROMPTS)
    assert " more" not in "".join(part for line in ScreenRenderer().screen(play.session, 80, 24) for _, part in line)
