"""The models on this machine as lines for a terminal, or for another program. Pure."""

from collections.abc import Sequence

from tokex_gguf.models.catalogue import CatalogueEntry, row
from tokex_gguf.ui.cells import cells_of, clip, pad
from tokex_gguf.values.tokens import visible

HEAD = ("name", "from", "architecture", "quantization", "parameters", "size", "context")
BRIEF = ("name", "from", "arch", "quant", "params", "size", "context")
"""The same where a terminal has no room for these words."""
TEXTS = 4
"""Columns that are texts; those behind them are numbers."""
NAME, ARCHITECTURE, QUANTIZATION = 0, 2, 3
LEAST_CELLS = 12
"""Cells that these keep, where a terminal is narrow; they give way in this order."""


def model_lines(found: Sequence[CatalogueEntry], width: int | None) -> list[str]:
    """A heading and a line for each model.

    The lines have at most `width` cells. Without a width nothing is cut off.
    """
    rows = [row(entry) for entry in found]
    head, widths = HEAD, _widths([HEAD, *rows])
    if width is not None and _over(widths, width) > 0:
        head, widths = BRIEF, _widths([BRIEF, *rows])
        for column in (NAME, ARCHITECTURE, QUANTIZATION):
            widths[column] -= max(0, min(_over(widths, width), widths[column] - LEAST_CELLS))

    def line(cells: Sequence[str]) -> str:
        padded = (
            pad(cell, room) if column < TEXTS else " " * (room - cells_of(cell)) + cell
            for column, (cell, room) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    lines = [line(head)]
    for cells, (_, _, about) in zip(rows, found, strict=True):
        if not isinstance(about, str):
            lines.append(line(cells))
        elif width is None:
            lines.append(f"{line(cells)}  unusable: {visible(about)}")
        else:  # what is not known of it leaves its room to the reason
            lines.append(f"{pad(cells[0], widths[0])}  {pad(cells[1], widths[1])}  unusable: {visible(about)}")
    return lines if width is None else [clip(one, width) for one in lines]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cells_of, column)) for column in zip(*rows, strict=True)]


def _over(widths: Sequence[int], width: int) -> int:
    """Cells that a line of such columns has above `width`."""
    return sum(widths) + 2 * (len(widths) - 1) - width
