"""What terminals send, and the keys that come of it: the parser alone, without a terminal or a clock.

A read is bytes; `SILENCE` between two reads stands for a long time in which nothing comes, `MOMENT` for a tenth of a
second.

The long form: `pytest -m soak tests/ui/test_keyboard.py`. Another seed: KEYBOARD_SEED.
"""

import itertools
import os
import random
import sys
from pathlib import Path

import pytest

from tests.figures import Figure
from tokex_gguf.play.commands.registry import all_commands
from tokex_gguf.ui.terminal_input import parser as parser_module
from tokex_gguf.ui.terminal_input.parser import (
    Attributes,
    Background,
    Key,
    KeyParser,
    Mouse,
    OversizedPaste,
    Paste,
    TerminalEvent,
    TypedText,
)

SEED = int(os.environ.get("KEYBOARD_SEED", "1"))
SILENCE = None
MOMENT = b""

ANSWERS: dict[str, bytes] = {
    "DA1": b"\x1b[?1;2c",
    "DA1 with sixel": b"\x1b[?62;1;4;6;9;15;22c",
    "DA2": b"\x1b[>0;276;0c",
    "DA2, screen": b"\x1b[>83;40900;0c",
    "DA3": b"\x1bP!|00000000\x1b\\",
    "DSR": b"\x1b[0n",
    "DSR, colour scheme": b"\x1b[?997;1n",
    "CPR": b"\x1b[24;80R",
    "CPR in the first row": b"\x1b[1;2R",
    "DECXCPR": b"\x1b[?24;80;1R",
    "DECRPM": b"\x1b[?2026;2$y",
    "DECRPM, ANSI": b"\x1b[4;1$y",
    "DECREPTPARM": b"\x1b[2;1;1;128;128;1;0x",
    "XTVERSION": b"\x1bP>|XTerm(390)\x1b\\",
    "XTVERSION, 8 bits": "\x90>|XTerm(390)\x9c".encode(),
    "OSC 4": b"\x1b]4;255;rgb:eeee/eeee/eeee\x1b\\",
    "OSC 4, BEL": b"\x1b]4;0;rgb:0000/0000/0000\x07",
    "OSC 10": b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\",
    "OSC 11": b"\x1b]11;rgb:1a1a/1b1b/2626\x1b\\",
    "OSC 11, BEL": b"\x1b]11;rgb:1a1a/1b1b/2626\x07",
    "OSC 11, 8 bits": "\x9d11;rgb:1a1a/1b1b/2626\x9c".encode(),
    "OSC 11, raw 8 bits": b"\x9d11;rgb:1a1a/1b1b/2626\x1b\\",
    "OSC 12": b"\x1b]12;rgba:ffff/ffff/ffff/ffff\x07",
    "OSC 52": b"\x1b]52;c;cXVpdCBwcm9tcHQgYWFhYQ==\x07",
    "OSC 52, ST": b"\x1b]52;p;?\x1b\\",
    "OSC 99": b"\x1b]99;i=1:p=?;a=focus:o=always\x1b\\",
    "title": b"\x1b]lquit ia\xc3\x9f\x1b\\",
    "icon's title": b"\x1b]Ltokex\x1b\\",
    "XTGETTCAP": b"\x1bP1+r544e=787465726d2d323536636f6c6f72\x1b\\",
    "XTGETTCAP, none": b"\x1bP0+r544e\x1b\\",
    "DECRQSS": b"\x1bP1$r0;1;31m\x1b\\",
    "DECCIR": b"\x1bP1$u1;1;1;@;@;@;0;2;@;BB%5%5\x1b\\",
    "DECRQCRA": b"\x1bP1!~A1B2\x1b\\",
    "XTSMGRAPHICS": b"\x1b[?2;0;800;600S",
    "kitty keyboard": b"\x1b[?31u",
    "modifyOtherKeys": b"\x1b[>4;2m",
    "kitty graphics": b"\x1b_Gi=31;OK\x1b\\",
    "kitty graphics, error": b"\x1b_Gi=31;ENOENT:no such file\x1b\\",
    "APC": b"\x1b_anything quit\x1b\\",
    "PM": b"\x1b^private q\x1b\\",
    "SOS": b"\x1bXstart of string q\x1b\\",
    "sixel": b'\x1bP0;1;0q"1;1;4;6#0;2;0;0;0~~@@vv$-\x1b\\',
    "ReGIS": b"\x1bP0pS(E)\x1b\\",
    "focus in": b"\x1b[I",
    "focus out": b"\x1b[O",
    "window in pixels": b"\x1b[4;600;800t",
    "text area": b"\x1b[8;24;80t",
    "cell": b"\x1b[6;16;8t",
    "window's state": b"\x1b[1t",
    "in-band size": b"\x1b[48;24;80;384;640t",
    "locator": b"\x1b[1;2;24;80;1&w",
    "mouse, X10": b"\x1b[M !!",
    "mouse, X10, far right": b"\x1b[M \xff!",
    "mouse, 1005": b"\x1b[M \xc4\x80\xc3\xa1",
    "mouse, SGR": b"\x1b[<0;5;6M",
    "mouse, SGR released": b"\x1b[<0;115;26m",
    "mouse, SGR wheel": b"\x1b[<65;115;26M",
    "mouse, rxvt": b"\x1b[32;5;6M",
    "mouse, three numbers too many": b"\x1b[<0;5;6;7;8;9M",
    "mouse, not a number": b"\x1b[<0;5M",
    "end of a paste": b"\x1b[201~",
    "released key": b"\x1b[97;1:3u",
    "released arrow": b"\x1b[1;1:3A",
    "lone shift": b"\x1b[57441;2u",
    "caps lock": b"\x1b[57358;65u",
    "Windows' key": b"\x1b[65;30;97;0;0;1_",
    "a sequence nobody knows": b"\x1b[99;9~",
    "another": b"\x1b[?1;2;3:4 !p",
    "overlong": b"\x1b[" + b"1;" * 400 + b"c",
    "a number without an end": b"\x1b[" + b"9" * 5000 + b";5u",
    "ST alone": b"\x1b\\",
    "C1": "\x84\x85\x8d".encode(),
}
"""What presses no key. The mouse's reports are events of their own."""

MOUSE_BUT_ONE = (b"\x1b[M !", b"\x1b[M \xff", b"\x1b[M \xc4\x80")
"""The oldest reports of the mouse, less their last number."""

KEYS: dict[bytes, str] = {
    b"\x1b[A": "up",
    b"\x1bOC": "right",
    b"\x1b[D": "left",
    b"\x1b[H": "home",
    b"\x1bOF": "end",
    b"\x1b[1~": "home",
    b"\x1b[7~": "home",
    b"\x1b[4~": "end",
    b"\x1b[3~": "delete",
    b"\x1b[5~": "pageup",
    b"\x1b[6~": "pagedown",
    b"\x1b[1;2D": "s-left",
    b"\x1b[1;2H": "s-home",
    b"\x1b[1;6D": "c-s-left",
    b"\x1b[1;6C": "c-s-right",
    b"\x1b[1;5A": "c-up",
    b"\x1b[5A": "c-up",
    b"\x1b[1;3A": "a-up",
    b"\x1b[1;1:1A": "up",
    b"\x1b[1;1:2A": "up",
    b"\x1b[1;129A": "up",
    b"\x1b[a": "s-up",
    b"\x1bOa": "c-up",
    b"\x1b[3$": "s-delete",
    b"\x1b[3^": "c-delete",
    b"\x1b[3@": "c-s-delete",
    b"\x1bOP": "f1",
    b"\x1b[P": "f1",
    b"\x1b[R": "f3",
    b"\x1b[11~": "f1",
    b"\x1b[[A": "f1",
    b"\x1b[[E": "f5",
    b"\x1b[17~": "f6",
    b"\x1b[24;2~": "s-f12",
    b"\x1b[1;5P": "c-f1",
    b"\x1bO5P": "c-f1",
    b"\x1bO1;5P": "c-f1",
    b"\x1b[Z": "s-tab",
    b"\x1bOM": "enter",
    b"\x03": "c-c",
    b"\x0a": "c-j",
    b"\x0d": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
    b"\x00": "c-@",
    b"\x1c": "c-\\",
    b"\x1b": "escape",
    # CSI u, as the kitty protocol and xterm's formatOtherKeys have it.
    b"\x1b[99;5u": "c-c",
    b"\x1b[99;5:1u": "c-c",
    b"\x1b[99;69u": "c-c",
    b"\x1b[67;5u": "c-c",
    b"\x1b[113;5u": "c-q",
    b"\x1b[122;5u": "c-z",
    b"\x1b[99;6u": "c-s-c",
    b"\x1b[99;7u": "a-c-c",
    b"\x1b[99;9u": "super-c",
    b"\x1b[98;3u": "a-b",
    b"\x1b[27u": "escape",
    b"\x1b[27;1:2u": "escape",
    b"\x1b[27;129u": "escape",
    b"\x1b[13u": "enter",
    b"\x1b[13;2u": "enter",
    b"\x1b[9u": "tab",
    b"\x1b[9;2u": "s-tab",
    b"\x1b[127u": "backspace",
    b"\x1b[32;5u": "c-@",
    b"\x1b[91;5u": "escape",
    b"\x1b[57414u": "enter",
    b"\x1b[57417u": "left",
    b"\x1b[57376u": "f13",
    # xterm's modifyOtherKeys.
    b"\x1b[27;5;99~": "c-c",
    b"\x1b[27;6;67~": "c-s-c",
    b"\x1b[27;2;13~": "enter",
    b"\x1b[27;3;98~": "a-b",
    # Alt.
    b"\x1bb": "a-b",
    b"\x1bB": "a-B",
    b"\x1b\xc3\xa9": "a-é",
    b"\x1b ": "a- ",
    b"\x1b\r": "a-enter",
    b"\x1b\x7f": "a-backspace",
    b"\x1b\x03": "a-c-c",
    b"\x1b[1;3D": "a-left",
    b"\x1b[1;9D": "super-left",
    b"\x1b[3;3~": "a-delete",
    b"\x1b\x1b[A": "a-up",
    b"\x1b\x1bOA": "a-up",
    b"\x1b\x1b[3~": "a-delete",
}

TYPED: dict[bytes, str] = {
    b"a": "a",
    "é漢🦜".encode(): "é漢🦜",
    "\u200d\u3000\xa0".encode(): "\u200d\u3000\xa0",
    b"\x1b[97u": "a",
    b"\x1b[97;1:2u": "a",
    b"\x1b[97;65u": "a",
    b"\x1b[97;2u": "A",
    b"\x1b[97:65;2u": "A",
    b"\x1b[49:33;2u": "!",
    b"\x1b[49;2;33u": "!",
    b"\x1b[233;1u": "é",
    b"\x1b[27;2;65~": "A",
    b"\x1b[57400u": "1",
    b"\x1bOq": "1",
    b"\x1bOk": "+",
}


def events(*reads: bytes | None) -> list[TerminalEvent]:
    """What is read one after the other, and a silence at the end."""
    parser = KeyParser()
    found: list[TerminalEvent] = []
    for data in (*reads, SILENCE):
        if data == MOMENT and parser.wait is not None and parser.wait < 0.1:
            found += parser.silence()
        elif data is not None:
            found += parser.feed(data)
        for _ in range(3):
            if data is SILENCE and parser.wait is not None:
                found += parser.silence()
    return found


def pressed(*reads: bytes | None) -> list[TerminalEvent]:
    """The same, without the mouse."""
    return [event for event in events(*reads) if not isinstance(event, Mouse | Background | Attributes)]


def name_of(*reads: bytes | None) -> str:
    (event,) = events(*reads)
    assert isinstance(event, Key)
    return event.name


def typed(*reads: bytes | None) -> str:
    found = events(*reads)
    assert all(isinstance(event, TypedText) for event in found), found
    return "".join(event.text for event in found if isinstance(event, TypedText))


def cuts(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(data[:at], data[at:]) for at in range(1, min(len(data), 300))]


@pytest.mark.parametrize("name", ANSWERS)
def test_what_a_terminal_answers_presses_no_key_wherever_it_is_cut(name: str) -> None:
    answer = ANSWERS[name]
    assert pressed(answer) == []
    assert pressed(*(answer[at : at + 1] for at in range(len(answer)))) == []
    for first, second in cuts(answer):
        assert pressed(first, second) == [], (first, second)
        assert pressed(b"a" + first, second + b"b") == [TypedText("a"), TypedText("b")], (first, second)
        if first != b"\x1b":
            assert pressed(first, MOMENT, second) == [], (first, second)


@pytest.mark.parametrize("name", ANSWERS)
def test_what_a_terminal_answers_presses_no_key_however_late_its_rest_is(name: str) -> None:
    """Once Escape is the key, and Alt+[ and its like are told, they stay so; what follows them late is no key."""
    for first, second in cuts(ANSWERS[name]):
        found = pressed(first, SILENCE, second)
        if first == b"\x1b":
            assert found[:1] == [Key("escape")]
            found = found[1:]
        elif first in parser_module._INTRODUCERS and second:
            assert found[:1] == [Key(f"a-{first[1:].decode()}")] or found == []
            found = found[1:]
        if first in (b"\x1b", b"\x1b[", *MOUSE_BUT_ONE) and len(second.decode("utf-8", "replace")) == 1:
            continue  # one character, long after: a key
        assert found == [], (first, second)


@pytest.mark.parametrize("sequence", KEYS)
def test_a_key_is_itself_wherever_it_is_cut(sequence: bytes) -> None:
    assert name_of(sequence) == KEYS[sequence]
    for first, second in cuts(sequence):
        assert name_of(first, second) == KEYS[sequence], (first, second)
    assert name_of(*(sequence[at : at + 1] for at in range(len(sequence)))) == KEYS[sequence]


@pytest.mark.parametrize("sequence", TYPED)
def test_a_character_is_itself_wherever_it_is_cut(sequence: bytes) -> None:
    assert typed(sequence) == TYPED[sequence]
    for first, second in cuts(sequence):
        assert typed(first, second) == TYPED[sequence], (first, second)
        if not sequence.startswith(b"\x1b"):
            assert typed(first, SILENCE, second) == TYPED[sequence], (first, second)


COLOURS = {
    b"\x1b]11;rgb:ffff/8080/0000\x1b\\": (255, 128, 0),
    b"\x1b]11;rgb:ff/80/0\x07": (255, 128, 0),
    "\x9d11;rgba:ffff/8080/0000/1000\x9c".encode(): (255, 128, 0),
    b"\x1b]11;rgb:0000/0000/0000\x07": (0, 0, 0),
}


@pytest.mark.parametrize("answer", COLOURS)
def test_the_background_is_told_wherever_the_answer_is_cut(answer: bytes) -> None:
    told: list[TerminalEvent] = [Background(COLOURS[answer])]
    assert events(answer) == told
    assert events(*(answer[at : at + 1] for at in range(len(answer)))) == told
    for first, second in cuts(answer):
        assert events(b"a" + first, second + b"b") == [TypedText("a"), *told, TypedText("b")], (first, second)


@pytest.mark.parametrize(
    "other",
    [
        *(b"\x1b]10;rgb:ffff/ffff/ffff\x07", b"\x1b]11;rgb:ffff/ffff\x07", b"\x1b]11;?\x07", b"\x1b]111;rgb:f/f/f\x07"),
        *(b"\x1bP11;rgb:f/f/f\x1b\\", b"\x1b]11;rgb:f/f/f\x18", b"\x1b]11;rgb:f/f/f\x1b]0;\x07"),
        b"\x1b]11;rgb:f/f/f" + b" " * 5000 + b"\x07",
    ],
)
def test_what_is_no_colour_of_the_background_is_none(other: bytes) -> None:
    for reads in ((other,), (other[:9], other[9:])):
        assert events(*reads) == []


def test_the_answer_of_every_terminal_is_told() -> None:
    assert events(b"\x1b[?62;c") == events(b"\x1b[?6", b"5;1;9c") == events(b"\x1b[?1;2c") == [Attributes()]
    for other in (b"\x1b[c", b"\x1b[>0;95;0c", b"\x1b[?1;2$c"):
        assert Attributes() not in events(other)


def test_escape_and_later_a_key_are_two_keys() -> None:
    assert events(b"\x1b", SILENCE, b"b") == [Key("escape"), TypedText("b")]
    assert events(b"\x1b", SILENCE, b"[") == [Key("escape"), TypedText("[")]
    assert events(b"\x1b", SILENCE, b"\x1b[A") == [Key("escape"), Key("up")]
    assert events(b"\x1b", SILENCE, b"\x1b") == [Key("escape"), Key("escape")]
    assert events(b"\x1b\x1b") == [Key("escape"), Key("escape")]
    assert events(b"\x1b\x1bb") == [Key("escape"), Key("a-b")]


def test_alt_and_a_character_ends_where_the_character_does() -> None:
    assert pressed(b"\x1b\xc3\xa9\x9d11;rgb:0/0/0\x07q") == [Key("a-é"), TypedText("q")]
    assert pressed(b"\x1b\x9b?1;2cq") == [TypedText("q")]


def test_escape_before_an_answer_is_escape() -> None:
    assert pressed(b"\x1b\x1b[?1;2c") == [Key("escape")]
    assert pressed(b"\x1b\x1b]11;rgb:0/0/0\x07q") == [Key("escape"), TypedText("q")]


def test_alt_and_a_character_that_begins_sequences_is_a_key_after_a_pause() -> None:
    for character in "[]OP_^X":
        alt = b"\x1b" + character.encode()
        assert events(alt) == [Key(f"a-{character}")]
        assert events(alt, SILENCE, b"q") == [Key(f"a-{character}"), TypedText("q")]
    assert events(b"\x1bP", MOMENT, b"h") == [Key("a-P"), TypedText("h")], "too slow for an answer, and not like one"


def test_no_key_with_alt_is_bound_that_could_be_the_beginning_of_an_answer() -> None:
    bound = {key for binding in all_commands() for key in binding.keys}
    assert not bound & {f"a-{character}" for character in "[]OP_^X\\"}


def test_what_breaks_an_answer_off_is_itself() -> None:
    assert events(b"\x1b]11;rgb:", b"\x1b[A") == [Key("up")]
    assert events(b"\x1b]11;rgb:\x18a") == [TypedText("a")]
    assert events(b"\x1b[1;\x1b[A") == [Key("up")]
    assert events(b"\x1b[1;\x03") == [Key("c-c")]
    assert events(b"\x1b[1;\xc3\xa9") == [TypedText("é")]


@pytest.mark.parametrize("unfinished", [b"\x1b]11;rgb:", b"\x1bP1+r", b"\x1b_G", b"\x1b[200~half", b"\x1b[M "])
def test_what_has_no_end_swallows_no_keys_after_a_pause(unfinished: bytes) -> None:
    assert pressed(unfinished, SILENCE, b"q")[-1:] == [TypedText("q")]
    assert pressed(unfinished, SILENCE, "é".encode())[-1:] == [TypedText("é")]
    assert pressed(unfinished, SILENCE, b"\x1b[A")[-1:] == [Key("up")]
    if not unfinished.startswith(b"\x1b[M"):
        assert pressed(unfinished, b"\x11")[-1:] == [Key("c-q")], "the way out is always open"


def test_the_end_of_an_answer_is_never_a_key() -> None:
    for end in (b"\x1b\\", b"\x07"):
        for first, second in [(b"", end), *cuts(end)]:
            assert events(b"\x1b]11;rgb:" + first, SILENCE, second, b"q") == [TypedText("q")]


PASTED = "a\x1b[99zb\n\x03\x1b]11;x\x07é"


def test_a_paste_is_one_event_wherever_it_is_cut() -> None:
    data = b"x\x1b[200~" + PASTED.encode() + b"\x1b[201~y"
    whole = [TypedText("x"), Paste(PASTED), TypedText("y")]
    assert events(data) == whole
    for first, second in cuts(data):
        assert events(first, second) in (whole, [TypedText("x"), Paste(PASTED), TypedText("y")]), (first, second)
    # Byte by byte, ctrl+c would be the way out.
    without = data.replace(b"\x03", b"")
    assert events(*(without[at : at + 1] for at in range(len(without))))[1] == Paste(PASTED.replace("\x03", ""))


def test_the_end_of_a_paste_that_was_taken_for_ended_is_nothing() -> None:
    end = b"\x1b[201~"
    for first, second in [(b"", end), *cuts(end)]:
        assert events(b"\x1b[200~text" + first, SILENCE, second + b"b") == [Paste("text"), TypedText("b")], (
            first,
            second,
        )
        assert events(b"\x1b[200~text" + first, SILENCE, second, b"b") == [Paste("text"), TypedText("b")], (
            first,
            second,
        )


def test_two_pastes_in_one_read() -> None:
    assert events(b"\x1b[200~a\x1b[201~\x1b[99z\x1b[200~b\x1b[201~") == [Paste("a"), Paste("b")]


def test_a_paste_of_what_is_no_utf_8() -> None:
    assert events(b"\x1b[200~caf\xe9\xff\x1b[201~") == [Paste("caf\ufffd\ufffd")]


def test_bytes_that_are_no_utf_8_are_one_key_that_nobody_knows() -> None:
    assert events(b"\xff\xfe\xfd") == [Key("")]
    assert events(b"caf\xe9", b" au") == [TypedText("caf"), Key(""), TypedText(" au")]
    assert events(b"\xf8\xc3\xa9") == [Key(""), TypedText("é")]


def test_the_mouse() -> None:
    assert events(b"\x1b[<0;5;6M") == [Mouse("\x1b[<0;5;6M")]
    assert events(b"\x1b[M !&") == [Mouse("\x1b[<0;1;6M")]
    assert events(b"\x1b[M#!&") == [Mouse("\x1b[<0;1;6m")]
    assert events(b"\x1b[M`\xff!") == [Mouse("\x1b[<64;223;1M")]
    assert events(b"\x1b[M \xc4\x80!") == [Mouse("\x1b[<0;224;1M")]
    assert events(b"\x1b[32;5;6M") == [Mouse("\x1b[<0;5;6M")]
    assert events(b"\x1b[<0;123456789;1M") == []
    assert events(b"\x1b[M !\x1b[A") == [Key("up")], "broken off"


def looked_at(size: int, data: bytes, read: int = 4096) -> int:
    """Bytes that are still kept after many reads; and the parser must not look at what it has seen again."""
    parser = KeyParser()
    parser.feed(data)
    for _ in range(0, size, read):
        parser.feed(b"x" * read)
    assert len(parser._osc_content) <= 2 * parser_module.LONGEST_ANSWER + 1
    return len(parser._incomplete) + sum(map(len, parser._paste or ()))


@pytest.mark.parametrize("begun", [b"\x1b]11;", b"\x1bP1+r", b"\x1b_G", b"\x1b^", b"\x1bX"])
def test_a_string_without_an_end_keeps_nothing(begun: bytes) -> None:
    assert looked_at(10 << 20, begun) == 0


def test_a_sequence_without_an_end_keeps_little() -> None:
    parser = KeyParser()
    parser.feed(b"\x1b[")
    for _ in range(1000):
        assert parser.feed(b"1;" * 2000) == []
        assert len(parser._incomplete) <= parser_module.LONGEST_SEQUENCE
    assert parser.feed(b"cq") == [TypedText("q")]


def test_a_paste_of_ten_megabytes_is_whole_and_one_that_is_larger_is_dropped_and_told() -> None:
    text = b"0123456789abcdef" * 256
    parser = KeyParser()
    parser.feed(b"\x1b[200~")
    for _ in range((10 << 20) // len(text)):
        assert parser.feed(text) == []
    assert parser.feed(b"\x1b[201~q") == [Paste(text.decode() * ((10 << 20) // len(text))), TypedText("q")]
    parser.feed(b"\x1b[200~")
    for _ in range((17 << 20) // len(text)):
        assert parser.feed(text) == []
    assert not parser._paste
    assert parser.feed(b"\x1b[201~q") == [OversizedPaste(), TypedText("q")]
    assert parser.feed(b"\x1b[200~a\x1b[201~") == [Paste("a")]


def scrambled(chance: random.Random) -> tuple[list[bytes | None], list[TerminalEvent]]:
    """Answers, keys and text one after the other, cut anywhere, with silences where they change nothing; and what
    they are."""
    data, marks, expected = b"", [0], list[TerminalEvent]()
    for _ in range(chance.randint(1, 8)):
        kind = chance.random()
        if kind < 0.6:
            data += chance.choice(list(ANSWERS.values()))
        elif kind < 0.8:
            sequence, name = chance.choice([(s, n) for s, n in KEYS.items() if s not in (b"\x1b", b"\x1b[3$")])
            data += sequence
            expected.append(Key(name))
        else:
            sequence, text = chance.choice(list(TYPED.items()))
            data += sequence
            expected += [TypedText(character) for character in text]
        marks.append(len(data))
    places = sorted({chance.randrange(len(data) + 1) for _ in range(chance.randint(0, 6))} | {0, len(data)})
    reads: list[bytes | None] = []
    for start, end in itertools.pairwise(places):
        reads.append(data[start:end])
        if end in marks and chance.random() < 0.5:
            reads.append(SILENCE)
    return reads, expected


def runs(numbers: range, figure: Figure) -> None:
    for number in numbers:
        reads, expected = scrambled(random.Random(f"{SEED}-{number}"))
        if any(read in (b"\x03", b"\x11") for read in reads):
            continue  # the way out of what is unfinished
        found: list[TerminalEvent] = []
        for event in pressed(*reads):
            found += [TypedText(character) for character in event.text] if isinstance(event, TypedText) else [event]
        assert found == expected, (SEED, number, reads)
    figure(len(numbers), "mixtures of answers, keys and text, cut into reads", seed=SEED)


def test_keys_among_answers_are_all_there_and_no_others(figure: Figure) -> None:
    runs(range(3000), figure)


@pytest.mark.soak
def test_keys_among_many_answers_are_all_there_and_no_others(figure: Figure) -> None:
    runs(range(300_000), figure)


@pytest.mark.soak
def test_answers_in_three_reads_press_no_key(figure: Figure) -> None:
    tried = 0
    for answer in ANSWERS.values():
        for first, second in itertools.combinations(range(1, min(len(answer), 60)), 2):
            parts = (answer[:first], answer[first:second], answer[second:])
            assert pressed(*parts) == [], parts
            tried += 1
            # One character, long after, is a key.
            if first > 2 and all(len(part.decode("utf-8", "replace")) > 1 for part in parts[1:]):
                assert pressed(parts[0], SILENCE, parts[1], SILENCE, parts[2]) == [], parts
                tried += 1
    figure(tried, "answers of the terminal in three reads, at once and with pauses")


def noise(numbers: range, figure: Figure) -> None:
    """Any bytes: no exception, nothing kept for ever, and the way out stays open."""
    pieces = [
        b"\x1b",
        b"[",
        b"]",
        b"P",
        b"O",
        b"M",
        b"\\",
        b"\x07",
        b"<",
        b"$",
        b";",
        b":",
        b"200~",
        b"201~",
        b"27",
        b"u",
    ]
    for number in numbers:
        chance = random.Random(f"{SEED}-noise-{number}")
        parser = KeyParser()
        for _ in range(chance.randint(1, 40)):
            data = chance.choice(pieces) if chance.random() < 0.6 else chance.randbytes(chance.randint(1, 9))
            parser.feed(data)
            if chance.random() < 0.2 and parser.wait is not None:
                parser.silence()
        for _ in range(3):
            if parser.wait is not None:
                parser.silence()
        out = parser.feed(b"\x11")
        assert out[-1:] in ([Key("c-q")], [Key("a-c-q")]) or Key("c-q") in parser.feed(b"\x11"), (SEED, number)
        assert len(parser._incomplete) <= parser_module.LONGEST_SEQUENCE
    figure(len(numbers), "streams of any bytes", seed=SEED)


def test_any_bytes(figure: Figure) -> None:
    noise(range(2000), figure)


@pytest.mark.soak
def test_any_bytes_for_long(figure: Figure) -> None:
    noise(range(200_000), figure)


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_keys_are_not_read_where_the_terminal_is_open_for_writing_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokex_gguf.ui.terminal_input import keyboard

    master, slave = os.openpty()
    writing = os.open(os.ttyname(slave), os.O_WRONLY | os.O_NOCTTY)
    with Path(os.devnull).open() as nothing, os.fdopen(writing, "w") as out, os.fdopen(slave) as err:
        for name, stream in (("stdin", nothing), ("stdout", out), ("stderr", err)):
            monkeypatch.setattr(sys, name, stream)
        found = keyboard().fileno()
        monkeypatch.undo()
        assert found == slave
    os.close(master)
