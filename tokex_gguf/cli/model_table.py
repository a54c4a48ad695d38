"""The models on this machine as lines for a terminal or another program. Pure."""

from collections.abc import Sequence

from tokex_gguf.models.catalogue import CatalogueEntry, row
from tokex_gguf.ui.cells import cells_of, clip, pad
from tokex_gguf.values.tokens import visible

HEAD = ("name", "from", "architecture", "quantization", "parameters", "size", "context")
NARROW_HEAD = ("name", "from", "arch", "quant", "params", "size", "context")
"""Shorter headings for a narrow terminal."""
TEXT_COLUMNS = 4
"""Columns with text; the ones after them have numbers."""
NAME, ARCHITECTURE, QUANTIZATION = 0, 2, 3
LEAST_CELLS = 12
"""Cells of these columns on a narrow terminal, at the least; they are shortened in this order."""


def model_lines(entries: Sequence[CatalogueEntry], width: int | None) -> list[str]:
    """A heading and a line for each model.

    The lines have at most `width` cells. Without a width nothing is cut off.
    """
    rows = [row(entry) for entry in entries]
    head, widths = HEAD, _widths([HEAD, *rows])
    if width is not None and _over(widths, width) > 0:
        head, widths = NARROW_HEAD, _widths([NARROW_HEAD, *rows])
        for column in (NAME, ARCHITECTURE, QUANTIZATION):
            widths[column] -= max(0, min(_over(widths, width), widths[column] - LEAST_CELLS))

    def line(cells: Sequence[str]) -> str:
        padded = (
            pad(cell, room) if column < TEXT_COLUMNS else " " * (room - cells_of(cell)) + cell
            for column, (cell, room) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    lines = [line(head)]
    for cells, (_, _, about) in zip(rows, entries, strict=True):
        if not isinstance(about, str):
            lines.append(line(cells))
        elif width is None:
            lines.append(f"{line(cells)}  unusable: {visible(about)}")
        else:  # the reason takes the place of the unknown columns
            lines.append(f"{pad(cells[0], widths[0])}  {pad(cells[1], widths[1])}  unusable: {visible(about)}")
    return lines if width is None else [clip(one, width) for one in lines]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cells_of, column)) for column in zip(*rows, strict=True)]


def _over(widths: Sequence[int], width: int) -> int:
    """Cells by which a line of such columns exceeds `width`."""
    return sum(widths) + 2 * (len(widths) - 1) - width
