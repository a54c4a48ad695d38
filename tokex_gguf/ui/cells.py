"""Lines of styled text, measured in the cells they paint."""

import unicodedata
from collections.abc import Container
from functools import lru_cache
from itertools import takewhile
from typing import TypeAlias

from prompt_toolkit.utils import get_cwidth

Fragment: TypeAlias = tuple[str, str]
"""(style, text), as prompt_toolkit has it."""
Line: TypeAlias = list[Fragment]


MARKS = 8
"""Characters that are drawn on one other, at the most."""


class _Widths(dict[str, int]):
    """Cells of characters, filled as they come."""

    def __missing__(self, char: str) -> int:
        # Terminals give a spacing mark, as many Indic vowel signs are, a cell of its own.
        width = self[char] = 1 if unicodedata.category(char) == "Mc" else get_cwidth(char)
        return width


_width = _Widths().__getitem__


def cells_of(text: str) -> int:
    """Cells that a text paints.

    >>> cells_of("ab"), cells_of("\u6f22"), cells_of("e\u0301"), cells_of("\u0915\u093e")
    (2, 2, 1, 2)
    """
    if text.isascii() and text.isprintable():
        return len(text)
    return _cells_of_short(text) if len(text) <= SHORT else sum(map(_width, text))


SHORT = 64
"""Characters of a text that is short: a frame has many of these that the one before had."""


@lru_cache(maxsize=4096)
def _cells_of_short(text: str) -> int:
    return sum(map(_width, text))


def is_mark(char: str) -> bool:
    """Whether a character is drawn with the one before it, also where it takes a cell."""
    return not char.isascii() and (_width(char) == 0 or unicodedata.category(char)[0] == "M")


def width_of(line: Line) -> int:
    """Cells that a line paints."""
    return sum(cells_of(text) for _, text in line)


def clip(text: str, width: int) -> str:
    """The text, or as much of it as fits into `width` cells with a … at the end.

    >>> clip("every", 4), clip("every", 5)
    ('eve…', 'every')
    """
    most = longest(width)
    if len(text) <= most and cells_of(text) <= width:
        return text
    end = used = 0
    for char in text[:most]:
        used += cells_of(char)
        if used > width - 1:
            break
        end += 1
    return text[: whole(text, end)] + "…" if width > 0 else ""


def clip_start(text: str, width: int, *, more: bool = False) -> str:
    """The text, or as much of its end as fits into `width` cells with a … before it.

    `more`: there is text before it in any case.

    >>> clip_start("every", 4), clip_start("every", 5), clip_start("every", 6, more=True)
    ('…ery', 'every', '…every')
    """
    most = longest(width)
    if not more and len(text) <= most and cells_of(text) <= width:
        return text
    start, used = len(text), 0
    for char in reversed(text[-most:] if most else ""):
        used += cells_of(char)
        if used > width - 1:
            break
        start -= 1
    # Marks whose character is left out would be drawn on the sign.
    marks = takewhile(is_mark, text[start : start + MARKS] if start else "")
    return "…" + text[start + sum(1 for _ in marks) :] if width > 0 else ""


def whole(text: str, end: int) -> int:
    """Where to cut a text that may be cut at `end`, so that no character loses the marks that are drawn with it."""
    if end < len(text) and is_mark(text[end]):
        for start in range(end - 1, max(-1, end - 2 - MARKS), -1):
            if not is_mark(text[start]):
                return start
    return end


def under_caret(before: str, here: str) -> tuple[str, str]:
    r"""What stands before a caret, and what it is on: a mark is seen there with the character that it is drawn on.

    >>> under_caret("ab", "c"), under_caret("ae", "\u0301") == ("a", "e\u0301"), under_caret("", "\u0301")[1][0]
    (('ab', 'c'), True, '◌')
    """
    if cells_of(here):
        return before, here
    start = next((index for index in reversed(range(len(before))) if cells_of(before[index])), None)
    return (before, f"◌{here}") if start is None else (before[:start], before[start:] + here)


def longest(width: int) -> int:
    """Characters that are looked at to fill `width` cells, so that a text of any length costs no more."""
    return MARKS + max(0, width) * (1 + MARKS)


def pad(text: str, width: int) -> str:
    """The text in exactly `width` cells, to the left."""
    text = clip(text, width)
    return text + " " * (width - cells_of(text))


def joined(line: Line) -> Line:
    """The line with as few fragments as its styles need."""
    found: Line = []
    for style, text in line:
        if found and found[-1][0] == style:
            found[-1] = style, found[-1][1] + text
        elif text:
            found.append((style, text))
    return found


def fit(line: Line, width: int, fill: str = "") -> Line:
    """The line in exactly `width` cells: cut off, or filled up with blanks of style `fill`."""
    fitted: Line = []
    left, most = width, longest(width)
    for style, text in line:
        if len(text) > most:
            wide = left + 1
        elif len(text) <= SHORT:  # nearly every text, and what a frame does most
            wide = _cells_of_short(text)
        else:
            wide = cells_of(text)
        if wide > left:
            text = clip(text, left)
            fitted.append((style, text))
            left -= cells_of(text)
            break
        fitted.append((style, text))
        left -= wide
    return [*fitted, (fill, " " * left)] if left else fitted


def spread(left: Line, right: Line, width: int) -> Line:
    """One line with `left` at its left end and `right`, which goes first if room is short, at its right."""
    space = width - width_of(right)
    return [*fit(left, max(space, 0)), *right] if space > 0 else fit(right, width)


def choose(parts: list[tuple[int, Line]], width: int, gap: str = "  ", further: Container[int] = ()) -> Line:
    """As many parts as fit, in their order, the ones of higher priority first to stay.

    `further`: parts that say more of the one before, by their indices. That has the higher priority, and without it
    they mean nothing.
    """
    room = width
    stay: set[int] = set()
    for index in sorted(range(len(parts)), key=lambda i: -parts[i][0]):
        if index in further and index - 1 not in stay:
            continue
        needed = width_of(parts[index][1]) + (len(gap) if stay else 0)
        if needed <= room:
            stay.add(index)
            room -= needed
    line: Line = []
    for index, (_, part) in enumerate(parts):
        if index in stay:
            line += [("", gap), *part] if line else part
    return line
