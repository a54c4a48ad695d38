"""The real program in a real pseudo-terminal: what samplers leave, seen and played."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program.test_play import NATALIA, elsewhere, natalia, terminal
from tests.terminal import Terminal

__all__ = ["elsewhere", "natalia", "terminal"]


def test_a_banned_token_is_struck_through_and_never_drawn(natalia: Terminal) -> None:
    """From the whole prompt back to the answer's first digit: it is banned, another one is first, and is taken."""
    terminal = natalia
    terminal.press("left", "left")
    terminal.shows(r"tokens: 101 .* ready")
    terminal.until(lambda _: terminal.selected()[:2] == ["1", "7"])
    terminal.press("-")
    screen = terminal.shows(r"1 biased .* ready")
    assert re.search(r"raw ↓ +final", screen)
    terminal.until(lambda text: re.search(r" 1 7 +-1 +0\.\d+ +0\.\d+ ", text))
    terminal.press(*["-"] * 4)
    terminal.shows(r" 1 7 +banned +0\.\d+ logit")
    terminal.shows("49,151 of 49,152 survive")
    struck = [cell for cell in terminal.row("banned") if cell.strikethrough]
    assert [cell.data for cell in struck][:1] == ["7"] and len(struck) > 5, "the token and its probability"
    terminal.press("O")
    terminal.shows(r"final ↓")
    terminal.until(lambda _: terminal.selected()[:3] == ["1", "7", "banned"])
    terminal.press("home")
    terminal.until(lambda _: terminal.selected()[1:2] not in ([], ["7"]))
    first = terminal.selected()[1]
    terminal.press("right")
    terminal.shows(r"tokens: 102 .*ready")
    assert f"Answer: {first}" in terminal.text()


def test_a_text_is_banned_by_all_that_spell_it(terminal: Terminal) -> None:
    terminal.press(":", "ban\r")
    terminal.shows("ban the text: ")
    terminal.press("the\r")
    terminal.shows(r"banned 2 tokens: “␣the”, “the”|banned 2 tokens: “the”, “␣the”")
    terminal.press(":", "ban\r")
    terminal.shows("ban the text: ")
    terminal.press("no such word\r")
    terminal.shows("no single token spells “no such word”: nothing is banned")
    terminal.press(":", "unban\r")
    terminal.shows("2 bans are lifted")
    terminal.until(lambda text: "survive" not in text)


@pytest.mark.thorough
def test_the_same_seed_rolls_the_same(terminal: Terminal) -> None:
    paths = []
    for _ in range(2):
        terminal.press(":", "seed\r")
        terminal.shows("seed: ")
        terminal.press("42\r")
        terminal.shows("the seed is 42")
        terminal.press("d")
        terminal.shows(r"Prompt \d/\d  tokens: 103 .* ready")
        terminal.press(":", "seed\r", "\x15", "7\r")
        terminal.shows("the seed is 7")
        terminal.press("R")
        screen = terminal.shows(r"seed 7 · drew 0\.\d+")
        terminal.shows(r"tokens: 104 .* ready")
        assert "●" in screen
        paths.append(re.findall(r"seed 7 · drew (0\.\d+)", terminal.text()))
        terminal.press("left", "left")
        terminal.shows(r"tokens: 102 .* ready")
        terminal.press("right")
        terminal.shows(r"tokens: 103 .* ready")
    assert len(paths) == 2 and paths[0] != paths[1], "another roll at the same place has another number"


def test_counted_draws(terminal: Terminal) -> None:
    terminal.press("\x12")
    terminal.shows(r"100 draws: \d+ % match · \d+ % is usual")
    assert re.search(r"prob +drawn", terminal.text())
    terminal.press(":", "draw\r")
    terminal.shows("how often to draw: ")
    terminal.press("900\r")
    screen = terminal.shows(r"1,000 draws: \d+ % match")
    match = re.search(r"draws: (\d+) % match · (\d+) % is usual", screen)
    assert match and abs(int(match[1]) - int(match[2])) < 8, "of 1,000 draws, with the seed of the fixture"
    assert "tokens: 103" in screen


@pytest.fixture
def plain_terminal(light: str) -> Iterator[Terminal]:
    """Without colours."""
    terminal = Terminal("--model", light, "--input", str(NATALIA), NO_COLOR="1", keep=("NO_COLOR",))
    terminal.shows(r"tokens: 103 .* ready")
    yield terminal
    terminal.child.close(force=True)


def test_without_colours_what_was_cut_is_struck_through_too(plain_terminal: Terminal) -> None:
    plain_terminal.press(*["-"] * 5)
    plain_terminal.shows(r"banned +0\.\d+ logit")
    struck = [cell for cell in plain_terminal.row("banned") if cell.strikethrough]
    assert struck and {cell.fg for cell in struck} == {"default"}


@pytest.mark.thorough
@pytest.mark.usefixtures("elsewhere")
def test_in_a_long_prompt_what_was_cut_is_jumped_through_from_end_to_end(light: str) -> None:
    """Judged in pieces, between keys: the jump that comes to the end names how many there are."""
    terminal = Terminal("--model", light, "--prompt", "every body is a word " * 600, "--top-k", "9000", "--top-p", "1")
    terminal.shows(r"tokens: \d{4} .* ready")
    terminal.press(*5 * ["E"])
    terminal.shows(r"reachable +can be drawn")
    terminal.press("N")
    last = int(re.findall(r"looking at (\d+)", terminal.shows(r"looking at \d+[\s\S]*cut by "))[0])
    terminal.press("n")
    screen = terminal.shows(r"from the other end again: [\d,]+ such tokens")
    first = int(re.findall(r"looking at (\d+)", screen)[0])
    assert first < 30 < 2000 < last
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.usefixtures("elsewhere")
def test_values_that_are_taken_otherwise_are_told_at_the_start(light: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[samplers]\nmine = '--min-p -1'\n")
    terminal = Terminal("--model", light, "--prompt", "once", "--top-p", "2")
    terminal.shows(r"--top-p 2 is taken as 1; \[samplers\] mine: --min-p -1 is taken as 0")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
