"""The real program in a real pseudo-terminal: constraints typed, read from files, and what they cost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program.test_play import elsewhere
from tests.terminal import Terminal

__all__ = ["elsewhere"]


@pytest.fixture
def spider(light: str) -> Iterator[Terminal]:
    prompt = "Q: How many legs has a spider? Reply as JSON. A: "
    terminal = Terminal("--model", light, "--prompt", prompt, rows=24, columns=80)
    terminal.shows(r"\bready")
    yield terminal
    terminal.child.close(force=True)


def test_a_newcomer_finds_what_a_schema_costs_by_the_help_alone(spider: Terminal) -> None:
    """A dozen keys: each screen names the next one."""
    terminal = spider
    terminal.press("?", "cost")
    terminal.shows(r"Where does a schema cost most\? C sets it, space plays, then E and n")
    terminal.press("\r")
    terminal.shows("json-schema .*Tab")
    terminal.press("\t")
    terminal.shows("→ takes this example")
    terminal.press("right")
    terminal.shows(r'constraint: .*"required": \["answer"\]')
    terminal.press("\r")
    terminal.shows("json-schema: it holds from here on; space plays on, E shows its cost")
    terminal.shows(r"survives? .*(\n.*){1,3} ready")
    terminal.press("right")
    terminal.shows(r"tokens: 18 .*ready")
    terminal.press("right")
    terminal.shows(r"tokens: 19  cost \d+\.\d+ bits .* ready")
    terminal.press("E")
    terminal.shows(r"the constraint cost \d+\.\d+ bits; n looks at the token that cost most")
    terminal.press("n")
    terminal.shows(r"cost \d+\.\d+ of \d+\.\d+ bits, most of all")
    terminal.press("u", "u")
    terminal.shows(r"undone \(1 more\)")
    terminal.press("u")
    terminal.shows("undone: there is no constraint; U redoes it")
    terminal.until(lambda text: "survive" not in text)


def test_a_file_is_read_and_one_that_is_not_there_is_told_of(spider: Terminal) -> None:
    Path("numbers.gbnf").write_text('root ::= "[" ([0-9]+ ",")* [0-9]+ "]"\n')
    terminal = spider
    terminal.press("C", "@none.json\r")
    terminal.shows(r"constraint: @none.json.*none.json: No such file")
    terminal.press("\x15", "@numbers.gbnf\r")
    terminal.shows("grammar: it holds from here on")
    terminal.shows(r"survives? .*(\n.*){1,3} ready")
    terminal.press("C")
    terminal.shows(r'constraint: root ::= "\["')
    terminal.press("\x15", "\r")
    terminal.shows("there is no constraint any more")


@pytest.mark.thorough
def test_what_nothing_fits_is_said_and_stays_in_the_line(spider: Terminal) -> None:
    terminal = spider
    terminal.press("C", r"[^\s\S]" + "\r")
    terminal.shows(r"constraint: \[\^\\s\\S\] +regex: nothing fits it")


@pytest.mark.thorough
def test_a_constraint_is_set_while_a_long_prompt_is_evaluated(model_path: Path) -> None:
    Path("long.txt").write_text("The quick brown fox jumps over the lazy dog. " * 600)
    terminal = Terminal("--model", str(model_path), "--input", "long.txt")
    try:
        terminal.shows(r"working  \d+/\d+ tokens")
        terminal.press("C", "[0-9]+\r")
        terminal.shows(r"working  \d+/\d+ tokens  reading the constraint|it holds from here on")
        terminal.shows(r"it holds from here on")
        assert "working" in terminal.text(), "the prompt is still being evaluated"
        terminal.press("C", "\x15", "a+\r")  # an Esc behind it and ctrl+c could be one key together
        terminal.until(lambda text: "constraint:" not in text)
        terminal.press("ctrl-c")
        assert terminal.ends() == 0
    finally:
        terminal.child.close(force=True)
