"""A terminal that obeys what prompt_toolkit's outputs are told, and keeps what stands in its cells."""

import functools
from collections.abc import Callable

from prompt_toolkit.data_structures import Size
from prompt_toolkit.output import ColorDepth, DummyOutput
from prompt_toolkit.styles import Attrs

from tokex_gguf.ui.cells import cells_of

Cell = tuple[str, tuple[object, ...]]
"""A character with its marks, and its attributes. The second cell of a wide character has no character."""

PLAIN: tuple[object, ...] = ()
BLANK: Cell = (" ", PLAIN)


class Canvas(DummyOutput):
    """A terminal of a size that the test chooses."""

    def __init__(self, columns: int = 130, rows: int = 40, width: Callable[[str], int] = cells_of) -> None:
        """`width` says how many cells a character takes here."""
        self.size = Size(rows, columns)
        self._width = width
        self.cells: dict[tuple[int, int], Cell] = {}
        """What was written, by row and column."""
        self._x = self._y = 0
        self._attributes = self._of_blanks = PLAIN
        self._wraps = True

    def get_size(self) -> Size:
        return self.size

    def line(self, y: int) -> list[Cell]:
        return [self.cells.get((y, x), BLANK) for x in range(self.size.columns)]

    def shown(self) -> list[list[Cell]]:
        """All cells, row by row."""
        return [self.line(y) for y in range(self.size.rows)]

    def text(self) -> str:
        return "\n".join("".join(char for char, _ in line) for line in self.shown())

    def write(self, data: str) -> None:
        for char in data:
            plain = " " <= char <= "~"  # as nearly all that is written
            width = 1 if plain else self._width(char)
            if width and (plain or char not in "\r\n"):
                assert self._x + width <= self.size.columns or not self._wraps, "this goes on in the next line"
                self.cells[self._y, self._x] = (char, self._attributes if char != " " else self._of_blanks)
                if width == 2:
                    self.cells[self._y, self._x + 1] = ("", PLAIN)
                self._x += width
            elif char == "\r":
                self._x = 0
            elif char == "\n":
                self._y += 1
                assert self._y < self.size.rows, "this scrolls the terminal"
            else:
                back = 1 if self.cells.get((self._y, self._x - 1), BLANK)[0] else 2
                before, attributes = self.cells.get((self._y, self._x - back), BLANK)
                self.cells[self._y, self._x - back] = (before + char, attributes)

    def cursor_up(self, amount: int) -> None:
        self._y -= amount
        assert self._y >= 0

    def cursor_forward(self, amount: int) -> None:
        self._x += amount

    def cursor_backward(self, amount: int) -> None:
        self._x -= amount

    def erase_end_of_line(self) -> None:
        for x in range(self._x, self.size.columns):
            self.cells.pop((self._y, x), None)

    def erase_down(self) -> None:
        if self._y == self._x == 0:
            self.cells.clear()
        for y, x in list(self.cells):
            if y > self._y or (y == self._y and x >= self._x):
                del self.cells[y, x]

    def disable_autowrap(self) -> None:
        self._wraps = False

    def enable_autowrap(self) -> None:
        self._wraps = True

    def set_attributes(self, attrs: Attrs, color_depth: ColorDepth) -> None:
        del color_depth
        self._attributes, self._of_blanks = _attributes(attrs)

    def reset_attributes(self) -> None:
        self._attributes = self._of_blanks = PLAIN


_LOOK = {"color", "bgcolor", "underline", "strike", "blink", "reverse"}


@functools.cache
def _attributes(attrs: Attrs) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """The attributes, and those where a blank shows anything of them: prompt_toolkit leaves others out."""
    attributes = tuple(value or "" for value in attrs)
    if not any(attributes):
        return PLAIN, PLAIN
    looks = any(value for name, value in zip(Attrs._fields, attributes, strict=False) if name in _LOOK)
    return attributes, attributes if looks else PLAIN
