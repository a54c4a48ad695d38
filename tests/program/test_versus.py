"""The real program in a real pseudo-terminal: one prompt against another."""

import re

import pytest

from tests.program.test_play import NATALIA, elsewhere, terminal
from tests.terminal import Terminal

__all__ = ["elsewhere", "terminal"]

COMPARED = r"A−B [+−]\d+\.\d+ bits over \d+ (?!of )"


def open_changed(terminal: Terminal, **changes: str) -> int:
    """Opens the same text with other words as a second prompt; returns how many tokens that has."""
    text = NATALIA.read_text(encoding="utf-8").removesuffix("\n")
    for word, other in changes.items():
        assert word in text
        text = text.replace(word, other, 1)
    terminal.press("p", "n")
    terminal.shows("new prompt: ")
    terminal.press(f"\x1b[200~{text}\x1b[201~", "\r")
    shown = terminal.shows(r"Prompt 2/2  tokens: \d+ .* ready")
    found = re.search(r"Prompt 2/2  tokens: (\d+)", shown)
    assert found
    return int(found[1])


def bits(terminal: Terminal) -> float:
    found = re.search(r"A−B ([+−]\d+\.\d+) bits over", terminal.text())
    assert found
    return float(found[1].replace("−", "-"))


def test_two_prompts_are_compared_and_gone_through(terminal: Terminal) -> None:
    open_changed(terminal, Natalia="Robert")
    terminal.press("v")
    screen = terminal.shows(COMPARED)
    assert "Δ bits" in screen and "A prompt 2  B prompt 1" in screen and re.search(r"\+\d+ −\d+ tokens", screen)
    assert terminal.colour_of("sold clips") != "default"
    total = bits(terminal)

    terminal.press("n")
    terminal.shows(r"[+−]\d+\.\d+ bits, the greatest change; [+−]\d+\.\d+ in all")
    assert len(terminal.selected()) >= 5, "rank, token, A, B, Δ and the move, of the token that was taken"
    terminal.press("n")
    terminal.shows(r"bits, #2")
    terminal.press("]", "D")
    terminal.shows(r"flip 1 of \d+: A |no shared token|a flip at the end")

    # The other way round, and what is compared is the same after a restart.
    terminal.press("]", "\t")
    terminal.shows(r"(?s)A prompt 1  B prompt 2.*Prompt 1/2 .*" + COMPARED)
    assert bits(terminal) == -total
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    again = Terminal("--resume")
    try:
        again.shows(r"(?s)A prompt 1  B prompt 2.*" + COMPARED)
        assert bits(again) == -total
        again.press("v")
        again.shows("the comparison is ended")
        assert "Δ bits" not in again.text()
    finally:
        again.child.close(force=True)


@pytest.mark.thorough
def test_an_edit_in_the_middle_is_compared_with_one_more_key(terminal: Terminal) -> None:
    terminal.press("<", "<", "<", "<")
    terminal.shows("looking at 64 ")
    terminal.press("home", "K")
    terminal.shows(r"Prompt 2/2  tokens: 103 .* ready")
    terminal.press("v")
    screen = terminal.shows(r"A−B [+−]\d+\.\d+ bits over 39 (?!of )")
    assert "A prompt 2  B prompt 1" in screen


def test_a_copy_differs_by_nothing_at_all(terminal: Terminal) -> None:
    terminal.press("d", "v")
    screen = terminal.shows(r"(?s) KL here 0 bits.*A and B are the same")
    rows = re.findall(r"^ *│? *·? +\d+ .* (\S+) +(\S+)$", screen, re.MULTILINE)
    assert not [row for row in rows if row[1] in "↑↓"]
    terminal.press("right")
    terminal.shows(r"tokens: 104 .*A−B 0 bits over 1 ")


@pytest.mark.timed
def test_what_was_evaluated_strictly_is_compared_at_once(terminal: Terminal) -> None:
    """Nothing is decoded for it."""
    open_changed(terminal, Natalia="Robert")
    terminal.press("v")
    terminal.shows(COMPARED)
    took = []
    for _ in range(5):
        terminal.timed("the comparison is ended", "v")
        took.append(terminal.timed(COMPARED, "v"))
    assert min(took) < 0.05, took
