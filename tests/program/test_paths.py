"""The real program in a real pseudo-terminal: finding a path again among many, and keeping prompts apart."""

import re
from functools import partial
from pathlib import Path

import pytest

from tests.program.test_play import elsewhere
from tests.terminal import Terminal

__all__ = ["elsewhere"]

SHIFT_DOWN, SHIFT_UP = "\x1b[1;2B", "\x1b[1;2A"


@pytest.fixture
def folder(tmp_path: Path, light: str) -> Path:
    """Without look-ahead, so that forks cost what they must."""
    (tmp_path / "config.toml").write_text("[engine]\nlookahead = 0\n")
    assert (tmp_path / light).exists()
    return tmp_path


def at_rank(terminal: Terminal, rank: str, _screen: str) -> bool:
    """Whether the row of a rank is selected."""
    return terminal.selected()[:1] == [rank]


def forks(terminal: Terminal, count: int, length: int) -> list[str]:
    """Appends so many tokens of the table, each in place of the one before; returns them as they are shown."""
    names = []
    for index in range(count):
        terminal.until(partial(at_rank, terminal, str(index + 1)))
        names.append(terminal.selected()[1])
        terminal.press("right")
        terminal.shows(rf"tokens: {length + 1} .* ready")
        terminal.press("left", *["down"] * (index + 1 < count))
    terminal.shows(rf"tokens: {length} .* ready")
    return names


@pytest.mark.thorough
@pytest.mark.usefixtures("folder")
def test_a_path_is_found_again_among_sixty_forks() -> None:
    terminal = Terminal("--model", "light.gguf", "--prompt", "The old house was", rows=24, columns=80)
    length = int(re.search(r"tokens: (\d+)", terminal.shows(r"tokens: \d+ .* ready")).group(1))  # type: ignore[union-attr]
    first = forks(terminal, 30, length)
    terminal.press("home", "right")
    terminal.shows(rf"tokens: {length + 1} .* ready")
    second = forks(terminal, 30, length + 1)
    assert len(set(first)) == len(set(second)) == 30

    terminal.press("t")
    terminal.shows("visited paths, the latest last")
    terminal.press("home")  # the first line, and beside the way that goes on from it, the others
    terminal.shows(r"\n +␣?The old house was +\n {4}├ ")

    # One of the first thirty, by a part of its text.
    wanted = first[20]
    terminal.press("/", wanted.strip("␣").lower())
    terminal.shows(r"find in the tree: \S+ +\d+ lines?")
    for _ in range(60):
        if wanted.strip("␣") in terminal.selected():
            break
        terminal.press("down")
        terminal.until(lambda _: not terminal.pump())
    terminal.press("\r")
    terminal.shows(rf"tokens: {length + 1} .* ready")
    assert f"The old house was{wanted.replace('␣', ' ')}" in terminal.text()

    # It is the latest now: the last line of the tree. Its forks are gone through, folded and pruned by keys.
    terminal.press("t")
    terminal.until(lambda _: wanted.strip("␣") in " ".join(terminal.selected()))
    terminal.press("left")
    terminal.until(lambda _: "house" in terminal.selected())
    terminal.press("left")
    terminal.shows(r"▸ 59 paths")
    terminal.press("right", "end", "up", "a")
    terminal.shows(r"a again prunes \d+ paths?")
    terminal.press("a")
    terminal.shows(r"hidden: A brings (it|them) back")
    terminal.press("A")
    terminal.shows(r"paths? brought back")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.usefixtures("folder")
def test_prompts_are_named_moved_closed_and_begun_in_their_list_and_come_back() -> None:
    terminal = Terminal("--model", "light.gguf", "--prompt", "Once upon a time", rows=24, columns=80)
    terminal.shows(r"tokens: \d+ .* ready")
    for count in range(2, 12):
        terminal.press("d", *["down"] * count, "\r")
        terminal.shows(rf"Prompt {count}/{count} .* ready")
    terminal.press("p")
    screen = terminal.shows("open prompts")
    assert re.search(r"›11 .*", screen) and re.search(r"\n  9 ", screen)
    terminal.press("r", "the long one", "\r")
    terminal.shows(r"›11 the long one ")
    terminal.press(SHIFT_UP)
    terminal.shows(r"›10 the long one ")
    terminal.press("K", SHIFT_DOWN)
    terminal.shows(r"› ?10 the long one ")
    terminal.press("home", "/", "the long")  # with letters that are commands of the list
    terminal.shows(r"find in the list: the long +1 line ")
    assert "long" in terminal.selected() and "open prompts" in terminal.text()
    terminal.press("esc")
    terminal.until(lambda text: "find in the list" not in text and "long" in terminal.selected())
    terminal.press("home", "a")
    terminal.shows(r"a again removes prompt 1; A brings it back")
    terminal.press("a")
    terminal.shows(r"prompt 1 is removed: A brings it back")
    terminal.shows(r"› 9 the long one ")
    terminal.press("A")
    terminal.shows(r"Prompt 1/11 ")
    terminal.press("n")
    terminal.shows(r"new prompt: ")
    terminal.press("A quite different text")
    terminal.shows("A quite different text")
    terminal.press("\r")
    terminal.shows(r"Prompt 2/12 .* ready")
    terminal.press("p")
    terminal.shows(r"› 2 .*A quite different text")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0

    again = Terminal("--resume", rows=24, columns=80)
    again.shows(r"Prompt 2/12 .* ready")
    again.press("p")
    again.shows(r" 11 the long one ")
    again.shows(r" \+ ")  # a text to start with, below the prompts
    again.press("end", "up", "up", "\r")
    again.shows(r"Prompt 11/12 the long one .* ready")
    again.press("ctrl-q")
    assert again.ends() == 0
