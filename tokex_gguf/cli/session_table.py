"""The sessions on the disk as lines for a terminal or another program. Pure."""

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
TERMINAL_COLUMNS = (_TEXT, _Column("saved", lambda entry: entry.when), _PROMPTS, _TOKENS, _MODEL, _NAME)
ALL_COLUMNS = (
    *(_TEXT, _Column("saved", lambda entry: when(entry.saved)), _PROMPTS, _TOKENS, _MODEL),
    *(_Column("asked for as", lambda entry: entry.asked), _Column("name", lambda entry: entry.name)),
)
LEAST_CELLS = 12
"""Cells of a name, a model's name and a text on a narrow terminal, at the least; they are shortened in this order."""


def session_lines(entries: Sequence[SessionEntry], width: int | None) -> list[str]:
    """A heading and a line for each session, with its number; the text, by which it is recognised, comes first.

    The lines have at most `width` cells. Without a width nothing is clipped, and names are whole.
    """
    columns = ALL_COLUMNS if width is None else TERMINAL_COLUMNS
    readable = [entry for entry in entries if not entry.fault]
    widths = {
        column: max([len(column.title), *(cells_of(column.cell(entry)) for entry in readable)]) for column in columns
    }
    number = len(f"{len(entries)}") + 2
    if width is not None:
        over = number + sum(widths.values()) + 2 * len(columns) - 1 - width
        for column in (_NAME, _MODEL, _TEXT):
            cut = max(0, min(over, widths[column] - LEAST_CELLS))
            widths[column], over = widths[column] - cut, over - cut

    def line(mark: str, cells: Sequence[str]) -> str:
        padded = (
            " " * (widths[column] - cells_of(cell)) + cell if column.right else pad(cell, widths[column])
            for column, cell in zip(columns, cells, strict=True)
        )
        return _clip_to(f"{mark:>{number}} {'  '.join(padded)}".rstrip(), width)

    lines = [line("", [column.title for column in columns])]
    for position, entry in enumerate(entries, 1):
        mark = f"{position}{' ' if entry.held is PlayedBy.NOBODY else '*'}"
        if entry.fault:
            name = entry.name if width is None else clip(entry.short, LEAST_CELLS)
            lines.append(_clip_to(f"{mark:>{number}} {name}: cannot be read: {entry.fault}", width))
        else:
            lines.append(line(mark, [column.cell(entry) for column in columns]))
    return lines


def _clip_to(line: str, width: int | None) -> str:
    return line if width is None else clip(line, width)
