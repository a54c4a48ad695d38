r"""Wraps a prompt's tokens into lines, by words and by the cells they paint.

>>> [[span.text for span in line.spans] for line in wrap([" every", "body", " is"], 11).lines]
[[' every', 'body', ' '], ['is']]
"""

import re
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from tokex_gguf.ui.cells import MARKS, cells_of, clip, is_mark
from tokex_gguf.values.record import record
from tokex_gguf.values.sequence import common_prefix
from tokex_gguf.values.tokens import starts_combining


class Span(NamedTuple):
    """A piece of one line that belongs to one token."""

    token: int
    """The token's position in the prompt."""
    text: str


@record
class WrappedLine:
    """One line, and the token and the offset in its text at which the line begins."""

    token: int
    offset: int
    spans: tuple[Span, ...]


@record
class Wrapped:
    """A prompt laid out for a width."""

    texts: list[str]
    width: int
    lines: list[WrappedLine]


@lru_cache(maxsize=65536)
def _atoms(text: str) -> tuple[tuple[str, int], ...]:
    """Line breaks, single spaces and runs of other characters, each with its width in cells.

    Text with wide characters is split into characters, as lines of CJK text break anywhere; so
    are combining marks at the beginning, as each may begin a line.
    """
    atoms: list[tuple[str, int]] = []
    for part in re.findall(r"\n| |[^ \n]+", text):
        widths = [cells_of(char) for char in part] if not part.isascii() else [1]
        if 2 in widths or widths.count(0) > MARKS:
            atoms += zip(part, widths, strict=True)
        elif widths[0] == 0:
            leading_marks = next((index for index, width in enumerate(widths) if width), len(part))
            atoms += zip(part[:leading_marks], widths, strict=False)
            atoms += [(part[leading_marks:], sum(widths))] if leading_marks < len(part) else []
        else:
            atoms.append((part, cells_of(part)))
    return tuple(atoms)


def _resume(previous: Wrapped, texts: list[str]) -> tuple[list[WrappedLine], int, int]:
    """The lines of an earlier layout that stay valid, and the token and offset to continue from.

    A change affects its word from the beginning, which may be on the line before the
    change.
    """
    same = common_prefix(previous.texts, texts)
    low, high = 0, len(previous.lines)
    while low < high:  # the first line that begins at the change or after it
        middle = (low + high) // 2
        if previous.lines[middle].token < same:
            low = middle + 1
        else:
            high = middle
    # Marks take their character to the next line, which can move the word before it: one line more.
    kept = max(0, low - 3)
    # A word longer than a line begins further up. If it fills the line before already, it stays broken there.
    while kept and previous.lines[kept].spans and not _begins_word(previous, kept):
        if kept > 1 and not _begins_word(previous, kept - 1):
            break
        kept -= 1
    if kept == 0:
        return [], 0, 0
    line = previous.lines[kept]
    return previous.lines[:kept], line.token, line.offset


def _begins_word(layout: Wrapped, index: int) -> bool:
    before = layout.lines[index - 1].spans
    return bool(before) and (before[-1].text[-1] in " \n" or cells_of(before[-1].text[-1]) == 2)


def wrap(texts: list[str], width: int, previous: Wrapped | None = None) -> Wrapped:
    """Wraps `texts`, one for each token, into lines of at most `width` cells.

    Breaks after spaces if the next word fits on a line of its own, else inside the word.
    An earlier layout of a similar prompt saves work and does not change the result.
    """
    kept: list[WrappedLine] = []
    token = offset = 0
    if previous is not None and previous.width == width:
        kept, token, offset = _resume(previous, texts)
    builder = _Builder(width, kept, token, offset)
    for index in range(token, len(texts)):
        text = texts[index]
        at = offset if index == token else 0
        for atom, cells in _atoms(text[at:] if at else text):
            builder.add(index, at, atom, cells)
            at += len(atom)
    return Wrapped(texts, width, builder.finish())


def paragraph(text: str, width: int, most: int | None = None) -> list[str]:
    """A text in lines of at most `width` cells; at most `most` of them, with a … at the end of a longer text.

    >>> paragraph("what every body is", 10), paragraph("what every body is", 10, 1)
    (['what every', 'body is'], ['what ever…'])
    """
    lines = ["".join(span.text for span in line.spans).strip() for line in wrap([text], width).lines]
    if most is None or len(lines) <= most:
        return lines
    return [*lines[: most - 1], clip(f"{lines[most - 1]} …", width)] if most > 0 else []


def _marks(text: str, start: int, following: int) -> int:
    """Cells of the marks from index `start` of a text on, `MARKS` at the most.

    `following`: cells of the marks after the text, which count if it ends with marks.
    """
    marks = "".join(takewhile(is_mark, text[start : start + MARKS]))
    return min(MARKS, cells_of(marks) + (following if start + len(marks) == len(text) else 0))


class _Builder:
    """Collects atoms into words, and words into lines."""

    def __init__(self, width: int, lines: list[WrappedLine], token: int, offset: int) -> None:
        self._width = width
        self._lines = list(lines)
        self._begin = (token, offset)
        self._spans: list[Span] = []
        self._used = self._marks = 0
        self._word: list[tuple[int, int, str, int]] = []
        self._word_width = 0

    def add(self, token: int, offset: int, atom: str, cells: int) -> None:
        if atom == "\n":
            self._flush()
            # The ⏎ before it shows the line break; this atom only ends the line.
            self._spans.append(Span(token, "\n"))
            self._end(token, offset + 1)
        elif atom == " " or (cells == 2 and len(atom) == 1) or (cells == 0 and not self._word):
            self._flush()
            self._place(token, offset, atom, cells)
        else:
            self._word.append((token, offset, atom, cells))
            self._word_width += cells

    def finish(self) -> list[WrappedLine]:
        self._flush()
        if self._spans or not self._lines:
            self._end(0, 0)
        return self._lines

    def _flush(self) -> None:
        """Places the collected word."""
        if not self._word:
            return
        if self._used and self._used + self._word_width > self._width >= self._word_width:
            self._end(*self._word[0][:2])
        marks_after = self._marks_after() if self._used + self._word_width > self._width else [0] * len(self._word)
        for (token, offset, atom, cells), marks in zip(self._word, marks_after, strict=True):
            if self._used + cells + marks <= self._width:
                self._put(token, offset, atom, cells)
            elif atom.isascii() and not marks:
                done = 0
                while done < len(atom):
                    if self._used >= self._width:
                        self._end(token, offset + done)
                    part = atom[done : done + max(1, self._width - self._used)]
                    self._put(token, offset + done, part, len(part))
                    done += len(part)
            else:
                for index, char in enumerate(atom):
                    own = cells_of(char)
                    # A character stays on one line with its marks.
                    room = own if is_mark(char) else own + _marks(atom, index + 1, marks)
                    if self._used and self._used + room > self._width:
                        self._end(token, offset + index)
                    self._place(token, offset + index, char, own)
        self._word, self._word_width = [], 0

    def _marks_after(self) -> list[int]:
        """For each atom, cells of the marks that the next one begins with; 0 for atoms of marks alone."""
        following, cells = [], 0
        for _, _, atom, _ in reversed(self._word):
            alone = all(map(is_mark, atom))
            following.append(0 if alone else cells)
            cells = _marks(atom, 0, cells)
        return following[::-1]

    def _place(self, token: int, offset: int, char: str, cells: int) -> None:
        """Places one character, on the next line if this one is full."""
        if self._used and self._used + cells > self._width:
            self._end(token, offset)
        self._put(token, offset, char, cells)

    def _put(self, token: int, offset: int, text: str, cells: int) -> None:
        if cells == 0:
            # Any number of marks would go on one cell; after `MARKS` of them they get another base.
            self._marks += len(text)
        else:
            self._marks = 0
        if (self._used == 0 and not self._spans and starts_combining(text)) or self._marks > MARKS:
            if self._used and self._used + 1 > self._width:
                self._end(token, offset)
            text, cells, self._marks = "◌" + text, cells + 1, 0
        if self._spans and self._spans[-1].token == token:
            self._spans[-1] = Span(token, self._spans[-1].text + text)
        else:
            self._spans.append(Span(token, text))
        self._used += cells

    def _end(self, token: int, offset: int) -> None:
        self._lines.append(WrappedLine(*self._begin, tuple(self._spans)))
        self._begin = (token, offset)
        self._spans, self._used = [], 0
