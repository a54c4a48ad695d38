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
"""Marks that are drawn on one character, at the most."""


class _Widths(dict[str, int]):
    """Cells of characters, computed when first needed."""

    def __missing__(self, char: str) -> int:
        # Terminals give a spacing mark, such as many Indic vowel signs, a cell of its own.
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
"""Characters of a short text, at the most. The widths of short texts are cached: frames repeat them."""


@lru_cache(maxsize=4096)
def _cells_of_short(text: str) -> int:
    return sum(map(_width, text))


def is_mark(char: str) -> bool:
    """Whether a character is drawn with the one before it, even if it takes a cell."""
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

    `more`: there is further text before it.

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
    # Marks without their character would be drawn on the ….
    marks = takewhile(is_mark, text[start : start + MARKS] if start else "")
    return "…" + text[start + sum(1 for _ in marks) :] if width > 0 else ""


def whole(text: str, end: int) -> int:
    """The offset at or before `end` at which a text can be cut without parting a character from its marks."""
    if end < len(text) and is_mark(text[end]):
        for start in range(end - 1, max(-1, end - 2 - MARKS), -1):
            if not is_mark(text[start]):
                return start
    return end


def under_caret(before: str, here: str) -> tuple[str, str]:
    r"""The text before a caret, and the text under it: a mark under it moves there with its character.

    >>> under_caret("ab", "c"), under_caret("ae", "\u0301") == ("a", "e\u0301"), under_caret("", "\u0301")[1][0]
    (('ab', 'c'), True, '◌')
    """
    if cells_of(here):
        return before, here
    start = next((index for index in reversed(range(len(before))) if cells_of(before[index])), None)
    return (before, f"◌{here}") if start is None else (before[:start], before[start:] + here)


def longest(width: int) -> int:
    """Characters looked at to fill `width` cells, at the most, so that long texts cost no more."""
    return MARKS + max(0, width) * (1 + MARKS)


def pad(text: str, width: int) -> str:
    """The text in exactly `width` cells, left-aligned."""
    text = clip(text, width)
    return text + " " * (width - cells_of(text))


def joined(line: Line) -> Line:
    """The line with as few fragments as its styles need."""
    merged: Line = []
    for style, text in line:
        if merged and merged[-1][0] == style:
            merged[-1] = style, merged[-1][1] + text
        elif text:
            merged.append((style, text))
    return merged


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


@lru_cache(1024)
def fit_cached(line: tuple[Fragment, ...], width: int) -> Line:
    """As `fit`. Cached, for lines that frames repeat: the line is shared, and never changed."""
    return fit(list(line), width)


def spread(left: Line, right: Line, width: int) -> Line:
    """One line with `left` and `right` at its ends. Where room is short, `left` is cut first."""
    space = width - width_of(right)
    return [*fit(left, max(space, 0)), *right] if space > 0 else fit(right, width)


def choose(parts: list[tuple[int, Line]], width: int, gap: str = "  ", further: Container[int] = ()) -> Line:
    """The parts that fit, in their order; those of higher priority are kept first.

    `further`: indices of parts that add to the part before them. They have a lower priority than that part, and are
    left out without it.
    """
    room = width
    kept: set[int] = set()
    for index in sorted(range(len(parts)), key=lambda i: -parts[i][0]):
        if index in further and index - 1 not in kept:
            continue
        needed = width_of(parts[index][1]) + (len(gap) if kept else 0)
        if needed <= room:
            kept.add(index)
            room -= needed
    line: Line = []
    for index, (_, part) in enumerate(parts):
        if index in kept:
            line += [("", gap), *part] if line else part
    return line


_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(value: float, width: int) -> str:
    """A bar of `width` cells for a value from 0 to 1, in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, value)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)
