"""The help: all commands by topic, found by typing. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from tokex_gguf.play.command import HelpEntry
from tokex_gguf.play.commands.registry import help_found
from tokex_gguf.play.screens import Help
from tokex_gguf.ui.cells import Line, cells_of, fit, pad
from tokex_gguf.ui.window import listed, more
from tokex_gguf.ui.wrap import paragraph


def help_lines(entries: Sequence[HelpEntry], width: int, selected: int) -> tuple[list[Line], list[int]]:
    """Lines of `width` cells by topic, each topic with a column of keys; and the line on which each entry begins."""
    columns: dict[str, int] = {}
    for entry in entries:
        columns[entry.topic] = max(columns.get(entry.topic, 0), 2 + cells_of(entry.name))
    lines: list[Line] = []
    starts: list[int] = []
    topic = ""
    for entry_index, entry in enumerate(entries):
        keys = columns[entry.topic]
        if entry.topic != topic:
            topic = entry.topic
            lines += [[], [("class:title", " " + topic)]]
        style = " class:selected" if entry_index == selected else ""
        starts.append(len(lines) - 1)  # the first line, a blank one, is left out
        for index, text in enumerate(paragraph(entry.text, width - keys - 4)):
            head = "   " + pad(entry.name if index == 0 else "", keys)
            lines.append(fit([("class:key" + style, head), (style.strip(), text)], width, style.strip()))
    return lines[1:], starts


def help_pane(screen: Help, width: int, height: int) -> list[Line]:
    """The commands around the selected one, in at most `height` lines."""
    entries = help_found(screen)
    if not entries:
        return [[("class:dim", " no match")]]
    lines, starts = help_lines(entries, width, screen.entry)
    inside = listed(starts[screen.entry], len(lines), height)
    return [*lines[inside.start : inside.stop], *more(inside, len(lines))]


HELP_OVERLAP = 1
"""Lines that two pages of the help have in common, at the least."""


def help_page(screen: Help, width: int, height: int, direction: int) -> int:
    """The entry to select so that the help moves by a page, down (1) or up (-1), and skips no line.

    `height`: lines of the help.
    """
    lines, starts = help_lines(help_found(screen), width, screen.entry)
    if not starts:
        return 0
    last = len(starts) - 1
    inside = listed(starts[screen.entry], len(lines), height)
    if (inside.stop == len(lines) and direction > 0) or (inside.start == 0 and direction < 0):
        return last if direction > 0 else 0  # the rest is in sight
    target = inside.start + direction * (len(inside) - HELP_OVERLAP)
    firsts = [listed(start, len(lines), height).start for start in starts]
    if direction > 0:
        return max(screen.entry + 1, bisect_right(firsts, target) - 1)
    return min(screen.entry - 1, bisect_left(firsts, target))
