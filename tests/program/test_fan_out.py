"""The real program in a real pseudo-terminal: which answers may follow."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program.test_play import elsewhere, natalia
from tests.terminal import Terminal

__all__ = ["elsewhere", "natalia"]

MASS = r"([<>]? ?[\d.]+) % of the mass seen, ([<>]? ?[\d.]+) % still open, ([<>]? ?[\d.]+) % below the cut"


@pytest.fixture(params=[pytest.param((24, 80), marks=pytest.mark.thorough), (40, 130)], ids=["80x24", "130x40"])
def few(request: pytest.FixtureRequest, light: str, tmp_path: Path) -> Iterator[Terminal]:
    """A game with a light model, of whose answers few tokens are looked at."""
    (tmp_path / "few.toml").write_text('[answers]\nuntil = "3 tokens"\ntokens = 60\ncoverage = 100\n')
    arguments = ["--config", "few.toml", "--model", light, "--prompt", "The capital of France is"]
    rows, columns = request.param
    terminal = Terminal(*arguments, rows=rows, columns=columns)
    terminal.shows(r"tokens: \d+ .*ready")
    yield terminal
    terminal.child.close(force=True)


def test_answers_are_found_opened_and_taken_back(few: Terminal) -> None:
    before = few.tokens()
    few.press("W")
    screen = few.shows(r"60/60 tokens.*  all spent: space goes on")
    told = re.search(MASS, screen)
    assert told
    assert sum(float(one.strip("<> ")) for one in told.groups()) == pytest.approx(100, abs=0.3)
    few.press(" ")
    few.shows(r"100/100 tokens.*  all spent")
    few.press("down", "\r")
    few.shows(rf"tokens: {before + 3} .*ready")
    few.press("u")
    few.shows(rf"tokens: {before} .*ready")
    few.press("W")
    few.shows(r"100/100 tokens.*  all spent")
    few.press("d")
    few.shows(rf"Prompt 2/2  tokens: {before + 3} .*ready")


def test_the_list_is_sorted_grouped_and_ended_elsewhere(few: Terminal) -> None:
    few.press("W")
    few.shows("all spent")
    few.press("r")
    few.shows("first number +likeliest answer")
    few.press("R", "a+\r")
    few.shows(r"a\+ +likeliest answer")
    few.press("r", "O")
    few.shows("begin with the same token stand together")
    few.press("S", "1 token\r")
    few.shows(r"until 1 token  \d+ answers  1/60 tokens.*  nothing is left")
    few.press("s")
    few.shows("until the line ends")
    few.press("esc")
    few.shows("rank token")


@pytest.mark.thorough
def test_the_answers_of_a_word_problem(natalia: Terminal) -> None:
    """From the prompt without its answer: 72 is the likeliest, and its line says how likely."""
    natalia.press("left", "left")
    natalia.shows(r"tokens: 101 .* ready")
    natalia.press("W")
    natalia.shows(r"of the mass seen")
    natalia.until(lambda text: re.search(r"^ +0\.2\d+ .* 72 *$", text, re.MULTILINE))
    natalia.press("esc")
    natalia.shows(r"tokens: 101 .* ready")


def test_ctrl_c_ends_it_at_once(few: Terminal) -> None:
    few.press("W")
    few.shows("of the mass seen")
    few.press("\x03")
    assert few.ends() == 0
