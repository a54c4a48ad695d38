"""What a terminal sends, and the keys that come of it."""

import os

import pytest
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

if os.name == "nt":
    pytest.skip("a console sends no bytes", allow_module_level=True)

from tokex_gguf.ui.keyboard import Parser


def keys(*reads: str) -> list[tuple[str, str]]:
    """The keys, and their data, of what was read one after the other."""
    pressed: list[KeyPress] = []
    parser = Parser(pressed.append)
    for data in reads:
        parser.feed(data)
    parser.flush()
    return [(str(press.key.value if isinstance(press.key, Keys) else press.key), press.data) for press in pressed]


PASTED = ("<bracketed-paste>", "a\x1b[99zb\n")


@pytest.mark.parametrize(
    "reads",
    [
        ["\x1b[200~a\x1b[99zb\n\x1b[201~x"],
        ["\x1b[200~a", "\x1b[99zb\n", "\x1b[201~", "x"],
        ["\x1b[200~a\x1b[99zb\n", "\x1b[201~x"],
        ["\x1b[200~", "a\x1b[99zb\n\x1b[20", "1~x"],
    ],
)
def test_a_paste_is_one_key_as_soon_as_it_ends(reads: list[str]) -> None:
    assert keys(*reads) == [PASTED, ("x", "x")]


def test_two_pastes_in_one_read() -> None:
    assert keys("\x1b[200~a\x1b[201~\x1b[99z\x1b[200~b\x1b[201~") == [
        ("<bracketed-paste>", "a"),
        ("f24", "\x1b[24;2~"),
        ("<bracketed-paste>", "b"),
    ]


def test_the_end_of_a_paste_that_was_taken_for_ended_is_nothing() -> None:
    assert keys("a\x1b[201~b") == [("a", "a"), ("b", "b")]


@pytest.mark.parametrize("sequence", ["\x1b[I", "\x1b[97;5u", "\x1b[?1;2c", "\x1b[99;9~", "\x1b[>0;276;0c"])
def test_what_no_terminal_sends_for_a_key_is_none_of_ours(sequence: str) -> None:
    assert keys(f"a{sequence}d") == [("a", "a"), ("f24", "\x1b[24;2~"), ("d", "d")]


@pytest.mark.parametrize(
    ("sequence", "key"),
    [
        ("\x1b[A", "up"),
        ("\x1bOC", "right"),
        ("\x1b[1;2D", "s-left"),
        ("\x1b[3;7R", "<cursor-position-response>"),
        ("\x1b[<0;5;6M", "<vt100-mouse-event>"),
        ("\x1b[M !!", "<vt100-mouse-event>"),
        ("\x1b", "escape"),
    ],
)
def test_what_is_known_stays(sequence: str, key: str) -> None:
    assert keys(sequence) == [(key, sequence)]


def test_escape_before_an_arrow_is_two_keys() -> None:
    assert [key for key, _ in keys("\x1b\x1b[A")] == ["escape", "up"]
