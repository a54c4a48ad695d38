"""Writes lines to the terminal.

prompt_toolkit compares every cell of two screens for each frame, which takes longer than
all the rest. Here lines are compared by their fragments, and the changed ones are written
at once. prompt_toolkit still draws the first frame, and each one after a change of size
or style.
"""

import re
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from itertools import islice, takewhile
from typing import NamedTuple

from prompt_toolkit.layout.containers import Window
from prompt_toolkit.layout.controls import DummyControl
from prompt_toolkit.layout.mouse_handlers import MouseHandlers
from prompt_toolkit.layout.screen import Char, Screen, WritePosition
from prompt_toolkit.mouse_events import MouseEvent
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.renderer import Renderer
from prompt_toolkit.styles import Attrs, BaseStyle

from tokex_gguf.ui.cells import Fragment, Line, cells_of, is_mark, width_of

Row = defaultdict[int, Char]


@lru_cache(maxsize=8192)
def _cell(char: str, style: str) -> Char:
    cell = Char(char, style)
    cell.width = cells_of(cell.char)  # prompt_toolkit gives spacing marks none
    return cell


_EMPTY = Char()


class Painting(Window):
    """A window that shows the lines of `draw(width, height)`: `height` lines of `width` cells."""

    def __init__(
        self,
        draw: Callable[[int, int], list[Line]],
        point: Callable[[MouseEvent], None],
        pointing: Callable[[], bool],
        terminal: Callable[[], tuple[Renderer, ColorDepth]],
        again: Callable[[], None],
    ) -> None:
        """`point` gets clicks and turns of the wheel while `pointing()`; `again` requests another frame."""
        super().__init__(DummyControl(), always_hide_cursor=True)
        self._draw = draw
        self._point = point
        self._pointing = pointing
        self._terminal = terminal
        self._again = again
        self._shown: list[Line] = []
        self._attributes: dict[str, Attrs] = {}

    def write_to_screen(
        self,
        screen: Screen,
        mouse_handlers: MouseHandlers,
        write_position: WritePosition,
        parent_style: str,
        erase_bg: bool,
        z_index: int | None,
    ) -> None:
        """Called by prompt_toolkit for each frame. The window has the whole screen."""
        del parent_style, erase_bg, z_index  # the screen is all ours, and in our own styles
        if self._pointing():
            mouse_handlers.set_mouse_handler_for_range(
                0, write_position.width, 0, write_position.height, self._mouse_event
            )
        screen.show_cursor = False
        lines = self._draw(write_position.width, write_position.height)
        renderer, depth = self._terminal()
        before = renderer.last_rendered_screen
        if before is None:
            self._attributes.clear()
            screen.width, screen.height = write_position.width, write_position.height
            for y, line in enumerate(lines):
                screen.data_buffer[y] = _row(tuple(line))
            # If the terminal measures a character differently, the rest of its line is misplaced: such lines are
            # written again, with the cursor placed for each column.
            uncertain = [any(part.width_uncertain for _, text in line for part in parts(text)) for line in lines]
            self._shown = [[] if again else line for line, again in zip(lines, uncertain, strict=True)]
            if any(uncertain):
                self._again()
        else:
            # With two screens of no lines, prompt_toolkit has nothing to compare.
            before.height = screen.height = 0
            self._write(lines, renderer.output, renderer.style, depth)
            self._shown = lines

    def _write(self, lines: list[Line], output: Output, style: BaseStyle, depth: ColorDepth) -> None:
        """Writes the changed lines. The cursor begins and ends at 0, 0, where prompt_toolkit expects it.

        Wrapping is off: prompt_toolkit turns it off with its first frame, and on with its last. So text that is wider
        than assumed does not go on in the next line.
        """
        at = 0
        for y, (shown, line) in enumerate(zip(self._shown, lines, strict=True)):
            if shown == line:
                continue
            start, stop = changed(shown, line)
            output.reset_attributes()  # else new lines could be painted in them
            output.write("\r\n" * (y - at))
            x = width_of(line[:start])
            output.cursor_forward(x)
            at, latest, certain = y, None, True
            row = [(name, part) for name, text in line[start:stop] if text for part in parts(text)]
            has_marks = any(part.is_mark for _, part in row)
            for index, (name, part) in enumerate(row):
                attributes = self._attributes.get(name)
                if attributes is None:
                    attributes = self._attributes[name] = style.get_attrs_for_style_str(name)
                if attributes != latest:
                    output.set_attributes(attributes, depth)
                    latest = attributes
                # A mark is written right after its character: else terminals leave it out.
                joins = index > 0 and part.is_mark
                if not certain and not joins:
                    _go_to(x, output)
                mark_cells = 0
                if has_marks and not joins:
                    marks = takewhile(lambda named: named[1].is_mark, islice(row, index + 1, None))
                    mark_cells = sum(mark.cells for _, mark in marks)
                if (part.width_uncertain or mark_cells) and not joins:
                    # If the character is narrower than assumed, no old text stays beside it.
                    output.write(" " * (part.cells + mark_cells))
                    _go_to(x, output)
                output.write(part.text)
                x += part.cells
                certain = part.certain
        output.write("\r")
        output.cursor_up(at)
        output.reset_attributes()

    def _mouse_event(self, event: MouseEvent) -> None:
        self._point(event)


_CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f]")


def _go_to(x: int, output: Output) -> None:
    """Moves the cursor to a column of its line."""
    output.write("\r")
    output.cursor_forward(x)


class TextPart(NamedTuple):
    """A piece of a text."""

    text: str
    cells: int
    """Cells that the text paints, as assumed here."""
    certain: bool
    """Whether all terminals agree on them."""
    width_uncertain: bool = False
    """Whether the text is one character, with its marks, on whose width terminals disagree."""
    is_mark: bool = False
    """Whether the text begins with a mark."""


@lru_cache(maxsize=8192)
def parts(text: str) -> tuple[TextPart, ...]:
    """A text, cut where the cursor has to be placed: after characters that a terminal may measure differently.

    Control characters are replaced. Lines have none; this is a last safeguard.

    Latin, Greek and Cyrillic letters and CJK are the same everywhere. Signs and lines take two cells in some CJK
    settings. All others, such as Indic scripts and emoji, are placed character by character.
    """
    if text.isascii():
        return (TextPart(_CONTROL_CHARACTERS.sub("?", text), len(text), True),)
    cut: list[TextPart] = []
    for piece in _ASCII_OR_ONE.findall(_CONTROL_CHARACTERS.sub("?", text)):
        cells = cells_of(piece)
        last = cut[-1] if cut else None
        if is_mark(piece):
            if last and not last.width_uncertain and len(last.text) > 1:
                before = cells_of(last.text[-1])
                cut[-1] = TextPart(last.text[:-1], last.cells - before, last.certain)
                cut.append(TextPart(last.text[-1] + piece, before + cells, False, width_uncertain=True))
            elif last:
                cut[-1] = TextPart(last.text + piece, last.cells + cells, False, True, last.is_mark)
            else:
                cut.append(TextPart(piece, cells, False, width_uncertain=True, is_mark=True))
            continue
        certain = piece.isascii() or (piece < "\u0530" and piece.isalpha()) or (cells == 2 and _is_cjk(piece))
        signs = not certain and "\u00a0" <= piece < "\u2800" and not "\u0530" <= piece < "\u2000" and cells == 1
        if last and not last.width_uncertain and last.certain == certain and (certain or signs):
            cut[-1] = TextPart(last.text + piece, last.cells + cells, certain)
        else:
            cut.append(TextPart(piece, cells, certain, not (certain or signs)))
    return tuple(cut)


_ASCII_OR_ONE = re.compile("[\x00-\x7f]+|[^\x00-\x7f]")


def _is_cjk(char: str) -> bool:
    return "\u2e80" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7a3" or "\uff00" <= char <= "\uff60"


def changed(old: Line, new: Line) -> tuple[int, int]:
    """The fragments by which a line differs from an old one of the same width: where they begin and stop in it."""
    shorter = min(len(old), len(new))
    start = 0
    while start < shorter and old[start] == new[start]:
        start += 1
    # A fragment that begins without a cell belongs to the cell before it, and is written with it.
    while start and (_begins_with_mark(old, start) or _begins_with_mark(new, start)):
        start -= 1
    end = 0
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    # A character that is wider than assumed covers the next cell, which is written after it.
    while end and (_begins_with_mark(new, len(new) - end) or _may_be_wider(new, len(new) - end - 1)):
        end -= 1
    return start, len(new) - end


def _begins_with_mark(line: Line, index: int) -> bool:
    if index >= len(line):
        return False
    first = line[index][1][:1]
    return not (first.isascii() and first.isprintable() and first) and (cells_of(first) == 0 or is_mark(first))


def _may_be_wider(line: Line, index: int) -> bool:
    text = line[index][1] if index >= 0 else ""
    return not text[-1:].isascii() and not parts(text)[-1].certain


@lru_cache(maxsize=512)
def _row(line: tuple[Fragment, ...]) -> Row:
    """The cells of a line. Cached rows are shared between frames, and never changed."""
    cells: list[Char] = []
    for style, text in line:
        marks, painted = _cells(style, text)
        if marks and cells:
            # A mark belongs to the cell before it; a wide character has its own two cells back.
            base = -1 if cells[-1].char else -2
            cells[base] = _cell(cells[base].char + marks, cells[base].style)
        cells += painted
    row: Row = defaultdict(lambda: _EMPTY)
    row.update(enumerate(cells))
    return row


@lru_cache(maxsize=8192)
def _cells(style: str, text: str) -> tuple[str, tuple[Char, ...]]:
    """The marks that a text begins with, and its cells. Cached: frames repeat texts more often than lines."""
    body = text.lstrip("".join(char for char in text if cells_of(char) == 0)) if not text.isascii() else text
    cells: list[Char] = []
    for char in body:
        cell = _cell(char, style)
        if cell.width == 0:
            base = -1 if cells[-1].char else -2
            cells[base] = _cell(cells[base].char + char, cells[base].style)
            continue
        cells += [cell, *[_cell("", "")] * (cell.width - 1)]
    return text[: len(text) - len(body)], tuple(cells)
