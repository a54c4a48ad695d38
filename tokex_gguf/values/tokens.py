r"""How tokens look: from a piece's bytes to text that any terminal shows safely.

A piece may hold anything: control characters, half of a UTF-8 character, marks
that turn the writing direction. What comes out of here is printable, and what
cannot be printed is spelled out:

>>> label(b" caf\xc3\xa9\n")
'␣café⏎'
>>> label(b"\x1b[2J")
'␛[2J'
>>> spell([b"\xf0\x9f", b"\x99\x82"])   # one character across two tokens
['', '🙂']
>>> spell([b"a", b"\xf0\x9f"])          # ... that never was finished
['a', '‹F0›‹9F›']
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple


class Piece(NamedTuple):
    """A token's bytes, as the vocabulary gives them."""

    data: bytes
    control: bool = False
    """A special token such as <|im_start|>: `data` is its name, not text."""
    ends: bool = False
    """Whether generation ends with this token."""


def unknown_piece(token: int) -> Piece:
    """A piece for a token of which only the id is known, so that a lost piece does not lose a session."""
    return Piece(f"‹{token}›".encode())


_NAMED = {"\n": "⏎", "\t": "⇥", "\r": "␍", "\x7f": "␡", "\u00a0": "⍽", "\u3000": "\u3000"}
# They change how the character before them is drawn, and terminals disagree on its
# width. Alone they are spelled out; beside a character they are left out, which shows
# a family of emoji as its members.
_JOINERS = frozenset("\u200d\ufe0e\ufe0f")
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters that are blank, of no cell or of two."""
_SPELLED = re.compile(f"[\U0001f1e6-\U0001f1ff{''.join(_FILLERS)}]")
"""Printable characters that are spelled out."""
_JAMO = re.compile("[\u1161-\u11ff\ud7b0-\ud7ff]")
"""Vowels and final consonants of Hangul that are drawn on the consonant before them."""


@lru_cache(maxsize=4096)
def _visible(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    if char in _JOINERS or char in _FILLERS:
        return f"‹U+{ord(char):04X}›"
    if "\U0001f1e6" <= char <= "\U0001f1ff":
        # Halves of flags: terminals disagree on the width of two of them.
        return f"‹{chr(ord(char) - 0x1F1E6 + ord('A'))}›"
    if char.isprintable():
        return char
    if char < " ":
        return chr(0x2400 + ord(char))
    return f"‹U+{ord(char):04X}›"


def meant(text: str) -> str:
    r"""A typed text with the signs for white space replaced by white space.

    >>> meant("␣the⏎")
    ' the\n'
    """
    return text.translate({ord("␣"): " ", ord("⏎"): "\n", ord("⇥"): "\t"})


def visible(text: str) -> str:
    """Printable text, in which control and format characters are spelled out.

    Spaces stay spaces; a line break becomes ⏎ and a tab ⇥.
    """
    if any(char in text for char in _JOINERS):
        text = "".join(char for char in text if char not in _JOINERS) or text
    if text.isprintable() and text[:1] not in _JOINERS and not _SPELLED.search(text):
        return text
    return "".join(map(_visible, text))


def _raw(data: Iterable[int]) -> str:
    return "".join(f"‹{byte:02X}›" for byte in data)


GLIMPSE = 256
"""Bytes of a token that are shown. Longer tokens, which usual vocabularies lack, must not slow down the screen."""


def glimpse(data: bytes) -> bytes:
    """A piece's bytes; of more than `GLIMPSE`, the first whole characters and a …."""
    if len(data) <= GLIMPSE:
        return data
    end = GLIMPSE
    while end > GLIMPSE - 3 and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[:end] + "…".encode()


def token_name(data: bytes) -> str:
    """A token's piece as a table shows it."""
    return label(glimpse(data)) or "‹empty›"


def quoted(data: bytes) -> str:
    """A token's piece in a line of words, as far as it has room there.

    >>> quoted(b" Paris"), quoted(b":")
    ('“␣Paris”', '“:”')
    """
    return f"“{label(glimpse(data))}”"


def starts_combining(text: str) -> bool:
    """Whether the first character takes no cell, such as a combining mark."""
    return text != "" and (unicodedata.category(text[0]) in ("Mn", "Me") or _JAMO.match(text) is not None)


@lru_cache(8192)
def label(data: bytes) -> str:
    r"""A token on its own, on one line: white space visible too.

    >>> label(b"\xe0\xa4")
    '‹E0›‹A4›'
    """
    (text,) = spell([data])
    text = text.replace("\n", "").replace(" ", "␣")
    return "◌" + text if starts_combining(text) else text


def spell(pieces: Sequence[bytes]) -> list[str]:
    """The text that each token of a path adds to the screen; shape like `pieces`.

    A character whose bytes span tokens belongs to the token that completes it, and
    the tokens before show nothing. Bytes that are no UTF-8 are spelled out. A line
    break is shown as ⏎ followed by a real one, so that a layout can break there.
    """
    spelled: list[str] = []
    carry: list[tuple[int, int]] = []
    for index, data in enumerate(pieces):
        spelled.append("")
        if not carry and (text := _whole(data)) is not None:
            spelled[index] = text
        else:
            carry = _join(spelled, carry + [(index, byte) for byte in data])
    for index, byte in carry:
        spelled[index] += _raw([byte])
    return spelled


@lru_cache(maxsize=65536)
def _whole(data: bytes) -> str | None:
    """The shown text of a piece that is valid UTF-8 by itself, else None."""
    try:
        return _lines(data.decode())
    except UnicodeDecodeError:
        return None


def is_whole(data: bytes) -> bool:
    """Whether a piece is valid UTF-8 by itself: no character spans it and its neighbours."""
    return data != b"" and _whole(data) is not None


def _lines(text: str) -> str:
    return "⏎\n".join(map(visible, text.split("\n"))) if "\n" in text else visible(text)


def _join(spelled: list[str], waiting: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Adds the characters that `waiting` (owner, byte) completes; returns the unfinished rest."""
    data = bytes([byte for _, byte in waiting])
    start = 0
    while start < len(data):
        try:
            text, rest = data[start:].decode(), None
        except UnicodeDecodeError as error:
            text, rest = data[start : start + error.start].decode(), error
        at = start
        completed: dict[int, str] = {}
        for char in text:
            at += len(char.encode())
            owner = waiting[at - 1][0]
            completed[owner] = completed.get(owner, "") + char
        for owner, chars in completed.items():
            spelled[owner] += _lines(chars)
        if rest is None:
            return []
        if rest.reason == "unexpected end of data":
            return waiting[start + rest.start :]
        for owner, byte in waiting[start + rest.start : start + rest.end]:
            spelled[owner] += _raw([byte])
        start += rest.end
    return []


def offsets(pieces: Sequence[bytes], text: bytes) -> list[int | None]:
    r"""The offset of each token's bytes in a text; None from where the tokenizer changed it. Shape like `pieces`.

    Additions of the vocabulary have no length: a token before the text, and a space before it and
    after special tokens.

    >>> offsets([b"<s>", b" caf", b"\xc3", b"\xa9", b"<s>", b" a"], "café<s>a".encode())
    [0, 0, 3, 4, 5, 8]
    """
    starts: list[int | None] = []
    at = 0
    for index, data in enumerate(pieces):
        starts.append(at)
        if text.startswith(data, at):
            at += len(data)
        elif data[:1] == b" " and text.startswith(data[1:], at):
            at += len(data) - 1
        elif index:
            return starts[:-1] + [None] * (len(pieces) - index)
    return starts
