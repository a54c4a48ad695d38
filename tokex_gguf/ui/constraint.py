"""The pane while a constraint is typed: its whole text, in as many lines as it needs."""

from collections.abc import Iterator
from functools import lru_cache

from tokex_gguf.play.screens import Constraining
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line, cells_of, clip, under_caret
from tokex_gguf.values.constraint import EXAMPLES, ConstraintKind
from tokex_gguf.values.text_field import TextField
from tokex_gguf.values.tokens import visible

LAYOUT_STEP = 512
"""Lines of a long text are laid out from a multiple of so many characters on, and not from its beginning."""


def constraint_lines(session: Session, width: int, height: int) -> list[Line]:
    """The kinds of constraint, the text with its caret, and what the keys do."""
    screen = session.on(Constraining)
    if screen is None:
        return []
    hints = _hints(session)
    room = max(1, height - 1 - len(hints))
    head: Line = [("", " ")]
    for kind in ConstraintKind:
        head += [("class:selected" if kind is screen.kind else "class:dim", f" {kind.value} ")]
    head.append(("class:dim", "  Tab" if width > 50 else ""))
    if screen.line.text:
        lines = text_lines(screen.line, width - 2, room)
    else:
        example = TextField(EXAMPLES[screen.kind])
        lines = [[("class:dim", clip(text, width - 2))] for _, _, text in rows_of(example.text, 0, width - 2)][:room]
        lines.append([("class:dim", "→ takes this example")])
    return [head, *([("", " "), *line] for line in lines[:room]), *([("class:dim", f" {line}")] for line in hints)]


def _hints(session: Session) -> list[str]:
    prompt = session.game.prompt
    where = f"from token {prompt.place.tip.depth + 1} on"
    lifts = "; an empty line lifts it" if session.game.sampling.constraint else ""
    return [f"Enter lets it hold {where}{lifts}.", "@schema.json reads a file. ↑ brings earlier ones back."]


def text_lines(line: TextField, width: int, height: int) -> list[Line]:
    """The lines of a text around its caret, as many as fit."""
    text, caret, most = line.text, line.caret, width * height
    begin = max(0, caret - most) // LAYOUT_STEP * LAYOUT_STEP
    rows = list(rows_of(text[: caret + most], begin, width))
    if not rows or (rows[-1][1] <= caret == len(text) and (text[-1:] == "\n" or cells_of(rows[-1][2]) >= width)):
        rows.append((len(text), len(text), ""))
    caret_row = next((index for index, row in enumerate(rows) if row[0] <= caret < row[1]), len(rows) - 1)
    first = max(0, min(caret_row - height * 2 // 3, len(rows) - height))
    lines: list[Line] = []
    for index, (start, end, shown) in enumerate(rows[first : first + height], first):
        if index != caret_row:
            lines.append([("class:input", shown)])
            continue
        at = text[caret : min(caret + 1, end)]
        before, under = under_caret(_shown(text[start:caret]), _shown(at) if at.strip("\n") else " ")
        lines.append([("class:input", before), ("reverse", under), ("class:input", _shown(text[caret + 1 : end]))])
    return lines


def rows_of(text: str, begin: int, width: int) -> Iterator[tuple[int, int, str]]:
    """The lines of a text from an offset on: the offsets of beginning and end, with the line break; the shown text."""
    while begin < len(text):
        end = text.find("\n", begin) + 1 or len(text)
        while begin < end:
            most = text[begin : min(begin + width, end)]
            if most.isascii() and most.removesuffix("\n").isprintable():
                count = len(most) + (text[begin + len(most) : begin + len(most) + 1] == "\n")
            else:
                count = _fitting_count(most, width)
            yield begin, begin + count, _shown(text[begin : begin + count])
            begin += count


def _fitting_count(text: str, width: int) -> int:
    """How many characters of a text fit on a line; at least one."""
    used = 0
    for index, char in enumerate(text):
        used += cells_of(_visible(char)) if char != "\n" else 0
        if used > width and index:
            return index
    return len(text)


def _shown(text: str) -> str:
    text = text.removesuffix("\n")
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


_visible = lru_cache(maxsize=4096)(visible)
"""Cached `visible` of single characters."""
