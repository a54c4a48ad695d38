"""The real program in a real pseudo-terminal: changing the middle of a prompt, and what follows stays."""

import re
import stat
from pathlib import Path

import pytest

from tests.program.test_play import NATALIA, elsewhere, evaluated, terminal
from tests.terminal import Terminal

__all__ = ["elsewhere", "evaluated", "terminal"]

DELETE, TAB = "\x1b[3~", "\t"


def decoded(screen: str) -> int:
    """Tokens that the last key cost."""
    found = re.search(r"(?:known, )?(\d+) tokens?(?:, \d+ ms)?  ready", screen)
    assert found, screen
    return int(found.group(1))


def prompt_of(screen: str) -> str:
    """The beginning of the prompt's text."""
    return " ".join(line.split("│")[0].strip() for line in screen.splitlines()[1:4])


def test_one_token_is_replaced_and_only_what_is_behind_it_is_decoded(terminal: Terminal) -> None:
    terminal.press(":", "3", "\r")
    terminal.shows("looking at 3 ")
    terminal.press("home")
    terminal.until(lambda _: terminal.selected()[:1] == ["1"])
    token = terminal.selected()[1].replace("␣", " ")
    assert " Natal" in prompt_of(terminal.text())
    terminal.press("K")
    screen = terminal.shows(r"Prompt 2/2  tokens: 103  looking at 3 .* ready")
    assert decoded(screen) == 101, "the first two tokens are not decoded again"
    assert re.search(r"in place of “␣Natal”, 100 tokens after it kept", screen)
    assert f"Question:{token}ia sold clips" in prompt_of(screen)
    terminal.press(*[">"] * 9)
    terminal.shows("looking at 93 ")
    terminal.press("home")
    terminal.until(lambda _: terminal.selected()[:1] == ["1"])
    terminal.press("down", DELETE)
    screen = terminal.shows(r"Prompt 3/3  tokens: 102  looking at 93 .* ready")
    assert decoded(screen) <= 11
    terminal.press("u")
    terminal.shows(r"Prompt 2/2  tokens: 103  looking at 93 .* known, 0 tokens  ready")
    terminal.press("u")
    terminal.shows(r"Prompt 1/1  tokens: 103  looking at 3 .* known, 0 tokens  ready")
    terminal.press("U", "U")
    terminal.shows(r"Prompt 3/3  tokens: 102  looking at 93 .* known, 0 tokens  ready")


def test_text_is_put_in_and_typed_over_tokens(terminal: Terminal) -> None:
    terminal.press(":", "6", "\r")
    terminal.shows("looking at 6 ")
    terminal.press("I", " many")
    terminal.shows("put in:  many .*before “␣clips”")
    terminal.press("\r")
    screen = terminal.shows(r"Prompt 2/2  tokens: 104  looking at 6 .* ready")
    assert "Natalia sold many clips to 48" in prompt_of(screen) and decoded(screen) <= 104 - 5 + 1
    terminal.press("I", TAB, TAB, TAB)
    terminal.shows("put in:  many clips to .*in place of 3 tokens")
    terminal.press("\x15", " a lot of", "\r")
    screen = terminal.shows(r"Prompt 3/3  tokens: 104  looking at 6 .* ready")
    assert "Natalia sold a lot of 48" in prompt_of(screen)
    assert "3 tokens in place of 3" in screen


def test_a_seam_that_the_tokenizer_would_split_otherwise_is_told_and_split_anew(terminal: Terminal) -> None:
    terminal.press("i", " eat", "\r")
    terminal.shows(r"tokens: 104 .* ready")
    terminal.press("i", " s", "\r")
    terminal.shows(r"tokens: 105 .* ready")
    terminal.press("T")
    for _ in range(200):
        if "has not compared" not in terminal.shows("has not compared|the prompt is cut as the tokenizer does it"):
            break
        terminal.press("T")  # the engine compares while no key asks it for anything
    terminal.press(",")
    terminal.shows("looking at 105 ")
    terminal.press("I", "ing", "\r")
    screen = terminal.shows(
        r"Prompt 2/2  tokens: 106 [\s\S]*split unlike the tokenizer from token 104 on: T splits it anew"
    )
    assert "eating s" in " ".join(screen.split())
    terminal.press("T")
    screen = terminal.shows(r"Prompt 3/3  tokens: 105  looking at 104 .* ready")
    assert "split anew from token 104 on: 1 token for 2, 1 token after it kept" in screen and decoded(screen) <= 3
    terminal.press("u")
    terminal.shows(r"Prompt 2/2  tokens: 106 ")


def test_a_part_of_a_character_is_deleted_and_told(tmp_path: Path, light: str) -> None:
    text = tmp_path / "face.txt"
    text.write_text("We met 🥸 there")
    terminal = Terminal("--model", light, "--input", str(text))
    screen = terminal.shows(r"tokens: \d+ .* ready")
    count = int(re.search(r"tokens: (\d+)", screen).group(1))  # type: ignore[union-attr]
    terminal.press("[", ".", ".", ".")
    terminal.shows("looking at 4 ")
    terminal.press(DELETE)
    screen = terminal.shows(rf"Prompt 2/2  tokens: {count - 1} [\s\S]*token \d has bytes of no whole character")
    assert "🥸" not in screen and "‹" in screen, "what is left of it is spelled out"
    terminal.press("T")
    terminal.shows("has bytes of no whole character: there is no text to split anew")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.fixture
def editor(tmp_path: Path) -> str:
    """An editor that changes one word."""
    script = tmp_path / "editor.sh"
    script.write_text('#!/bin/sh\nsed -i "s/friends in April/cousins in April/" "$1"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


@pytest.mark.thorough
def test_the_editor_keeps_the_tokens_of_what_is_unchanged(tmp_path: Path, light: str, editor: str) -> None:
    (tmp_path / "config.toml").write_text("[engine]\nlookahead = 0\n")
    terminal = Terminal("--model", light, "--input", str(NATALIA), EDITOR=editor, VISUAL=editor)
    terminal.shows(r"tokens: 103 .* ready")
    terminal.press("i", " eat", "\r")
    terminal.shows(r"tokens: 104 .* ready")
    terminal.press("i", "ing", "\r")
    terminal.shows("split unlike the tokenizer from token 104 on")
    terminal.press("ctrl-e")
    screen = terminal.until(lambda text: "cousins in April" in " ".join(text.split()) and " ready" in text)
    assert "Prompt 1/1" in screen and "tokens: 105" in screen, "␣eat and ing are still two"
    assert decoded(screen) < 95, "what stands before the change is not decoded again"
    terminal.shows("split unlike the tokenizer from token 104 on")
    terminal.press("u")
    terminal.shows(r"tokens: 105 .* known, 0 tokens  ready")
    terminal.until(lambda text: "friends in April" in " ".join(text.split()))


def test_an_edit_can_be_made_on_a_small_screen(light: str) -> None:
    terminal = Terminal("--model", light, "--input", str(NATALIA), rows=24, columns=80)
    terminal.shows(r"tokens: 103 .* ready")
    terminal.press(":", "5", "\r")
    terminal.shows("looking at 5")
    terminal.shows(r"Del delete")
    terminal.shows(r"I insert")
    terminal.press("home")
    terminal.shows("K replace")
    terminal.press("K")
    terminal.shows(r"Prompt 2/2  tokens: 103  looking at 5[\s\S]*98 tokens after it kept")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def test_the_token_that_every_text_begins_with_is_deleted_and_put_back(tiny: dict[str, Path]) -> None:
    """Of a vocabulary with a BOS token, that puts a space before a text."""
    terminal = Terminal("--model", str(tiny["llama"]), "--prompt", "the day")
    screen = terminal.shows(r"tokens: \d+ .* ready")
    count = int(re.search(r"tokens: (\d+)", screen).group(1))  # type: ignore[union-attr]
    terminal.press("[")
    terminal.shows("looking at 1 ")
    terminal.press("I")
    terminal.shows("every text begins with this token: look at the next one")
    terminal.press(DELETE)
    terminal.shows(rf"Prompt 2/2  tokens: {count - 1}  looking at 1 .* ready")
    terminal.shows("split unlike the tokenizer from token 1 on: T splits it anew")
    terminal.press("T")
    screen = terminal.shows(rf"Prompt 3/3  tokens: {count}  looking at 1 .* ready")
    assert "split anew from token 1 on: 1 token for 0" in screen
    terminal.press(".", "I", "a", "\r")
    terminal.shows(rf"Prompt 4/4  tokens: {count + 1}  looking at 2 .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
