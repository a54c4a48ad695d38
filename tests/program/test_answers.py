"""The program in a terminal that answers questions nobody asked, and whose keys come in many encodings."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sampling import some
from tests.terminal import Terminal
from tests.ui.test_keyboard import ANSWERS
from tokex_gguf.ui.screen import GREETING

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")


@pytest.fixture
def terminal(tmp_path: Path, light: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.chdir(tmp_path)
    terminal = Terminal("--model", light, "--prompt", "Once upon a time, there was a")
    terminal.shows(r"\bready\b")
    terminal.press("down", "up")
    terminal.until(lambda text: GREETING[0] not in text)  # it goes with the first key
    yield terminal
    terminal.child.close(force=True)


def played(text: str) -> list[str]:
    """What is on the screen, but for the marks of what is known already and what the last key cost."""
    return [line[:100] for line in text.replace("·", " ").splitlines()]


def unchanged(terminal: Terminal, before: str) -> None:
    """Nothing has happened: a key that does nothing finds the screen as it was, but for its own line."""
    terminal.press("\x1bb")
    after = played(terminal.shows(r"alt\+b does nothing here"))
    assert [line for line, was in zip(after, played(before), strict=True) if line != was and "alt+b" not in line] == []


@pytest.mark.thorough
def test_answers_change_nothing_on_the_screen(terminal: Terminal) -> None:
    before = terminal.text()
    for name, answer in ANSWERS.items():
        if "X10" in name:
            continue  # pexpect's own encoding is not that of such bytes
        for cut in {2, len(answer) // 2, len(answer) - 1}:
            terminal.child.send(answer[:cut])
            terminal.pump()
            terminal.child.send(answer[cut:])
            terminal.pump()
    unchanged(terminal, before)


def test_an_answer_whose_rest_is_late_changes_nothing(terminal: Terminal) -> None:
    before = terminal.text()
    terminal.child.send(b"\x1b]11;rgb:1a1a/1b")
    for _ in range(20):  # twice the time in which Escape is a key
        terminal.pump()
    terminal.child.send(b"1b/2626\x1b\\")
    unchanged(terminal, before)


def test_f1_and_a_question_mark_open_the_help_in_any_encoding(terminal: Terminal) -> None:
    for key in (b"\x1b[[A", b"\x1bOP", b"\x1b[11~", b"\x1b[63u"):
        terminal.child.send(key)
        terminal.shows("Pop the prompt's last token")
        terminal.child.send(b"\x1b[27u")
        terminal.until(lambda text: "Pop the prompt's last token" not in text)


@pytest.mark.parametrize("key", some([b"\x1b[99;5u", b"\x1b[27;5;113~"], of=2))
def test_ctrl_c_quits_in_any_encoding(terminal: Terminal, key: bytes) -> None:
    terminal.child.send(key)
    assert terminal.ends() == 0


def test_a_key_with_alt_is_neither_escape_nor_the_key(terminal: Terminal) -> None:
    terminal.press("i", " there")
    terminal.shows(" there")
    terminal.press("\x1bx")
    terminal.shows(r"alt\+x does nothing here")
    terminal.press("!")
    terminal.shows(" there!")
    terminal.press("\x1b")
    terminal.until(lambda text: " there!" not in text)


def test_the_beginning_of_a_paste_in_two_reads(terminal: Terminal) -> None:
    terminal.press("i")
    terminal.child.send(b"\x1b[20")
    for _ in range(10):
        terminal.pump()
    terminal.child.send(b"0~ quit ia\x1b[2")
    terminal.pump()
    terminal.child.send(b"01~!")
    terminal.shows(" quit ia!")


@pytest.mark.thorough
def test_many_characters_without_the_marks_of_a_paste_are_text(terminal: Terminal) -> None:
    terminal.press("i")
    left = b" word" * 4000 + b" and the end"
    while left:  # a terminal takes 4096 bytes at once
        left = left[terminal.child.send(left[:4000]) :]
        terminal.pump()
    terminal.shows("and the end")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
