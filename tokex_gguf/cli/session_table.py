"""The sessions on the disk as lines for a terminal, or for another program. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tokex_gguf.sessions.store import when
from tokex_gguf.ui.cells import cells_of, clip, pad
from tokex_gguf.values.session_entry import PlayedBy, SessionEntry


class _Column(NamedTuple):
    title: str
    cell: Callable[[SessionEntry], str]
    right: bool = False


_TEXT = _Column("text", lambda entry: entry.text)
_PROMPTS = _Column("prompts", lambda entry: f"{entry.prompts}", right=True)
_TOKENS = _Column("tokens", lambda entry: f"{entry.tokens}", right=True)
_MODEL = _Column("model", lambda entry: entry.model)
_NAME = _Column("name", lambda entry: entry.short)
ON_A_TERMINAL = (_TEXT, _Column("saved", lambda entry: entry.when), _PROMPTS, _TOKENS, _MODEL, _NAME)
WHOLE = (
    *(_TEXT, _Column("saved", lambda entry: when(entry.saved)), _PROMPTS, _TOKENS, _MODEL),
    *(_Column("asked for as", lambda entry: entry.asked), _Column("name", lambda entry: entry.name)),
)
LEAST_CELLS = 12
"""Cells that a name, a model's name and a text keep, where a terminal is narrow; they give way in this order."""


def session_lines(found: Sequence[SessionEntry], width: int | None) -> list[str]:
    """A heading and a line for each session: its number, and first what it is recognised by.

    The lines have at most `width` cells. Without a width nothing is cut off, and names are whole.
    """
    columns = WHOLE if width is None else ON_A_TERMINAL
    readable = [entry for entry in found if not entry.fault]
    widths = {one: max([len(one.title), *(cells_of(one.cell(entry)) for entry in readable)]) for one in columns}
    number = len(f"{len(found)}") + 2
    if width is not None:
        over = number + sum(widths.values()) + 2 * len(columns) - 1 - width
        for column in (_NAME, _MODEL, _TEXT):
            less = max(0, min(over, widths[column] - LEAST_CELLS))
            widths[column], over = widths[column] - less, over - less

    def line(mark: str, cells: Sequence[str]) -> str:
        padded = (
            " " * (widths[one] - cells_of(cell)) + cell if one.right else pad(cell, widths[one])
            for one, cell in zip(columns, cells, strict=True)
        )
        return _cut(f"{mark:>{number}} {'  '.join(padded)}".rstrip(), width)

    lines = [line("", [one.title for one in columns])]
    for place, entry in enumerate(found, 1):
        mark = f"{place}{' ' if entry.held is PlayedBy.NOBODY else '*'}"
        if entry.fault:
            name = entry.name if width is None else clip(entry.short, LEAST_CELLS)
            lines.append(_cut(f"{mark:>{number}} {name}: cannot be read: {entry.fault}", width))
        else:
            lines.append(line(mark, [one.cell(entry) for one in columns]))
    return lines


def _cut(line: str, width: int | None) -> str:
    return line if width is None else clip(line, width)
