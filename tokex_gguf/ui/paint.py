"""Lines onto prompt_toolkit's screen.

prompt_toolkit's own Window paints every cell of every line again for each frame, which
takes longer than all of the rest. Most lines of two frames are the same: here a line
is turned into cells once.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache

from prompt_toolkit.layout.containers import Window
from prompt_toolkit.layout.controls import DummyControl
from prompt_toolkit.layout.mouse_handlers import MouseHandlers
from prompt_toolkit.layout.screen import Char, Screen, WritePosition
from prompt_toolkit.mouse_events import MouseEvent
from prompt_toolkit.utils import get_cwidth

from tokex_gguf.ui.cells import Fragment, Line

Row = defaultdict[int, Char]

_cell = lru_cache(maxsize=8192)(Char)
_EMPTY = Char()


class Painting(Window):
    """A window that shows the lines that `draw(width, height)` gives."""

    def __init__(
        self, draw: Callable[[int, int], list[Line]], point: Callable[[MouseEvent], None], pointing: Callable[[], bool]
    ) -> None:
        """`point` gets clicks and turns of the wheel while `pointing` says so."""
        super().__init__(DummyControl(), always_hide_cursor=True)
        self._draw = draw
        self._point = point
        self._pointing = pointing

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
            mouse_handlers.set_mouse_handler_for_range(0, write_position.width, 0, write_position.height, self._pointed)
        screen.show_cursor = False
        screen.width, screen.height = write_position.width, write_position.height
        for y, line in enumerate(self._draw(write_position.width, write_position.height)):
            screen.data_buffer[y] = _row(tuple(line))

    def _pointed(self, event: MouseEvent) -> None:
        self._point(event)


@lru_cache(maxsize=512)
def _row(line: tuple[Fragment, ...]) -> Row:
    """The cells of a line. Rows are shared between frames: nobody writes into them afterwards."""
    cells: list[Char] = []
    for style, text in line:
        marks, painted = _cells(style, text)
        if marks and cells:
            # A mark belongs to the cell before it, which for a wide character is two back.
            base = -1 if cells[-1].char else -2
            cells[base] = _cell(cells[base].char + marks, cells[base].style)
        cells += painted
    row: Row = defaultdict(lambda: _EMPTY)
    row.update(enumerate(cells))
    return row


@lru_cache(maxsize=8192)
def _cells(style: str, text: str) -> tuple[str, tuple[Char, ...]]:
    """The marks that a text begins with, and its cells. Most texts of two frames are the same, if not their lines."""
    body = text.lstrip("".join(char for char in text if get_cwidth(char) == 0)) if not text.isascii() else text
    cells: list[Char] = []
    for char in body:
        cell = _cell(char, style)
        if cell.width == 0:
            base = -1 if cells[-1].char else -2
            cells[base] = _cell(cells[base].char + char, cells[base].style)
            continue
        cells += [cell, *[_cell("", "")] * (cell.width - 1)]
    return text[: len(text) - len(body)], tuple(cells)
