"""What a newcomer asks at 80 columns, answered by the real program with the help alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program.test_play import NATALIA, elsewhere
from tests.terminal import Terminal

__all__ = ["elsewhere"]


def evaluated(folder: Path, *arguments: str) -> Iterator[Terminal]:
    """The Natalia prompt on a small screen."""
    (folder / "config.toml").write_text("[engine]\nlookahead = 0\n")
    terminal = Terminal(*arguments, "--input", str(NATALIA), rows=24, columns=80)
    terminal.shows(r"tokens: 103 .* ready")
    yield terminal
    terminal.child.close(force=True)


@pytest.fixture
def natalia(tmp_path: Path) -> Iterator[Terminal]:
    """On the real model."""
    yield from evaluated(tmp_path)


@pytest.fixture
def terminal(tmp_path: Path, light: str) -> Iterator[Terminal]:
    """Where it does not matter what the model says."""
    yield from evaluated(tmp_path, "--model", light)


def asked(terminal: Terminal, word: str, answer: str) -> None:
    """Asks the help for a word: the selected line is the answer, and Enter does it."""
    terminal.press("?", word)
    terminal.shows(f"find in the help: {word} ")
    terminal.until(lambda _: answer in " ".join(terminal.selected()))
    terminal.press("\r")


def test_which_sampler_would_have_cut_96(natalia: Terminal) -> None:
    terminal = natalia
    terminal.press(*["left"] * 3)
    terminal.shows(r"tokens: 100 .*ready")
    asked(terminal, "cut", "Which sampler cuts a token? S, then Enter")
    terminal.shows("The chain is empty")
    terminal.press("\r")
    terminal.until(lambda _: terminal.selected()[:1] == ["top-k"])
    terminal.press("down", "down", "0.9\r", "down", "0.05\r", "down", "down", "down", "0.7\r")
    terminal.shows(r"temperature +0\.7 .*(.|\n)* ready")
    terminal.press("esc")
    terminal.shows("space play")
    terminal.press("i")
    terminal.shows("go on with: ")
    terminal.press(" 96\x10")
    terminal.shows(r"\n +9 +0\.0\d+ +\d+ +← top-p cuts")


@pytest.mark.thorough
def test_what_is_the_chance_of_a_wrong_first_digit_with_and_without_min_p(natalia: Terminal) -> None:
    terminal = natalia
    terminal.press(*["left"] * 2)
    terminal.shows(r"tokens: 101 .*ready")
    asked(terminal, "any other", "How likely is any other token, also with samplers?")
    terminal.press("\r")
    terminal.shows(r"all but “7”: 57\.\d % raw, 48\.3 % final")
    terminal.press("down", "down", "down", " ")
    terminal.shows(r"all but “7”: 57\.\d % raw, 48\.9 % final")


def test_where_a_schema_costs_most(natalia: Terminal) -> None:
    terminal = natalia
    terminal.press(*["left"] * 3)
    terminal.shows(r"tokens: 100 .*ready")
    asked(terminal, "cost", "Where does a schema cost most? C sets it")
    terminal.shows("constraint: ")
    terminal.press("\t", "right")
    terminal.shows('"answer": {"type": "integer"}')
    terminal.press("\r")
    terminal.shows("it holds from here on")
    terminal.press(" ")
    terminal.shows("the model ends here")
    terminal.press("E")
    terminal.shows("n looks at the token that cost most")
    terminal.press("n")
    terminal.shows(r"cost \d+\.\d+ of \d+\.\d+ bits, most of all")


def test_the_first_steps_of_the_worked_example(terminal: Terminal) -> None:
    terminal.press("?")
    terminal.shows(
        r"Questions(.|\n)*How likely was each token \(e\)(.|\n)*most uncertain \(B\)(.|\n)*d copies the prompt"
    )
    terminal.press("?")
    terminal.shows("last token 2 ")
    terminal.press("e")
    terminal.shows("probability 0 ")
    terminal.press("e", "B")
    terminal.shows(r"looking at \d+ ")
    terminal.press("esc")
    terminal.shows("space play")
    terminal.press("left", "left")
    terminal.shows(r"tokens: 101 .*ready")
    terminal.press("d")
    terminal.shows("this is prompt 2, a copy of prompt 1")


@pytest.mark.thorough
def test_the_help_is_turned_by_its_page_keys(terminal: Terminal) -> None:
    terminal.press("?")
    first = terminal.shows("Questions")
    terminal.press("\x1b[6~")
    second = terminal.until(lambda text: "Questions" not in text and text != first)
    last = [line for line in first.splitlines() if " more" not in line][18]
    assert second.splitlines()[1] == last or second.splitlines()[2] == last, "it goes on where the page before ended"
    terminal.press("\x1b[5~")
    terminal.shows("Questions")
