"""The real program in a real pseudo-terminal: critical tokens."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program.test_play import elsewhere, natalia
from tests.terminal import Terminal

__all__ = ["elsewhere", "natalia"]

CONFIG = '[answers]\nuntil = "2 tokens"\ntokens = 20\ncritical = 4\ncritical_tokens = 6\n'


@pytest.fixture(params=[pytest.param((24, 80), marks=pytest.mark.thorough), (40, 130)], ids=["80x24", "130x40"])
def few(request: pytest.FixtureRequest, light: str, tmp_path: Path) -> Iterator[Terminal]:
    """A game with a light model, of which few tokens are gone on from few places."""
    (tmp_path / "few.toml").write_text(CONFIG)
    rows, columns = request.param
    arguments = ["--config", "few.toml", "--model", light, "--prompt", "The capital of France is"]
    terminal = Terminal(*arguments, rows=rows, columns=columns)
    terminal.shows(r"tokens: \d+ .*ready")
    yield terminal
    terminal.child.close(force=True)


def test_critical_tokens_are_found_gone_to_and_taken_back(few: Terminal) -> None:
    before = few.tokens()
    few.press("W")
    few.shows("of the mass seen")
    few.press("y")
    screen = few.shows(r"of 4 flips? it.*  (these are all|some did not end: space goes on)")
    assert re.search(r"^ the answer as it stands: .* after “is” until 2 tokens", screen, re.MULTILINE)
    assert len(re.findall(r"^ +\d+ .* \d\.[\de-]+  .* \d\.[\de-]+  ", screen, re.MULTILINE)) >= 4
    few.press("R", "nowhere\r")
    few.shows(r"after “nowhere” .*[\s\S]*some did not end: space goes on")
    assert few.text().count("no end in 6") >= 2
    few.press(" ")
    few.shows(r"no end in 12[\s\S]*some did not end|these are all")
    few.press("down", "\r")
    few.shows(r"the prompt goes another way from token \d+ on")
    few.press("u")
    few.shows(rf"tokens: {before} .*ready")
    few.press("W", "y")
    few.shows("the answer as it stands")
    few.press("d")
    few.shows(r"Prompt 2/2 .*ready")


def test_it_is_paused_and_left(few: Terminal) -> None:
    few.press("W", "y", "esc")
    few.shows("of the mass seen")
    few.press("y", "+")
    few.shows("the 8 most doubtful places|no more than")
    few.press("?")
    few.shows("Let the prompt go on with the second choice")
    few.press("esc", "esc", "esc")
    few.shows("rank token")


@pytest.mark.thorough
def test_a_digit_of_the_worked_example_is_critical(natalia: Terminal) -> None:
    """From the whole prompt: where the answer's first digit is the second choice, the answer is another one."""
    natalia.press("W")
    natalia.shows("of the mass seen")
    natalia.press("y")
    natalia.shows("the answer as it stands: 72  after “Answer:”")
    natalia.until(lambda text: re.search(r"^ +95 ␣and +0\.\d+ .*  same  72 ", text, re.MULTILINE), 300)
    natalia.until(lambda text: re.search(r"^ +76 2 +0\.\d+  4 +0\.\d+  flips \d+ ", text, re.MULTILINE), 300)
    natalia.press("esc", "esc")
    natalia.shows(r"tokens: 103 .* ready")
