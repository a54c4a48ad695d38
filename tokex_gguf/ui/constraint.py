"""What stands beside the prompt while a constraint is typed: all of it, in as many lines as it needs."""

from collections.abc import Iterator
from functools import lru_cache

from tokex_gguf.play.screens import Constraining
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line, cells_of, clip, under_caret
from tokex_gguf.values.constraint import EXAMPLES, ConstraintKind
from tokex_gguf.values.text_field import TextField
from tokex_gguf.values.tokens import visible

LAID_OUT_TOGETHER = 512
"""Lines of a long text are laid out from a multiple of so many characters on, and not from its beginning."""


def constraint_lines(session: Session, width: int, height: int) -> list[Line]:
    """The ways to write a constraint, the text with its caret, and what becomes of it."""
    screen = session.on(Constraining)
    if screen is None:
        return []
    told = _told(session)
    room = max(1, height - 1 - len(told))
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
    return [head, *([("", " "), *line] for line in lines[:room]), *([("class:dim", f" {line}")] for line in told)]


def _told(session: Session) -> list[str]:
    prompt = session.game.prompt
    where = f"from token {prompt.place.tip.depth + 1} on"
    lifts = "; an empty line lifts it" if session.game.sampling.constraint else ""
    return [f"Enter lets it hold {where}{lifts}.", "@schema.json reads a file. ↑ brings earlier ones back."]


def text_lines(line: TextField, width: int, height: int) -> list[Line]:
    """As many lines of a text as have room, those around its caret."""
    text, caret, most = line.text, line.caret, width * height
    begin = max(0, caret - most) // LAID_OUT_TOGETHER * LAID_OUT_TOGETHER
    rows = list(rows_of(text[: caret + most], begin, width))
    if not rows or (rows[-1][1] <= caret == len(text) and (text[-1:] == "\n" or cells_of(rows[-1][2]) >= width)):
        rows.append((len(text), len(text), ""))
    here = next((index for index, row in enumerate(rows) if row[0] <= caret < row[1]), len(rows) - 1)
    first = max(0, min(here - height * 2 // 3, len(rows) - height))
    lines: list[Line] = []
    for index, (start, end, shown) in enumerate(rows[first : first + height], first):
        if index != here:
            lines.append([("class:input", shown)])
            continue
        at = text[caret : min(caret + 1, end)]
        before, on = under_caret(_shown(text[start:caret]), _shown(at) if at.strip("\n") else " ")
        lines.append([("class:input", before), ("reverse", on), ("class:input", _shown(text[caret + 1 : end]))])
    return lines


def rows_of(text: str, begin: int, width: int) -> Iterator[tuple[int, int, str]]:
    """The lines of a text from a place on: where each begins and ends, its line break with it, and what is shown."""
    while begin < len(text):
        end = text.find("\n", begin) + 1 or len(text)
        while begin < end:
            most = text[begin : min(begin + width, end)]
            if most.isascii() and most.removesuffix("\n").isprintable():
                count = len(most) + (text[begin + len(most) : begin + len(most) + 1] == "\n")
            else:
                count = _fitting(most, width)
            yield begin, begin + count, _shown(text[begin : begin + count])
            begin += count


def _fitting(text: str, width: int) -> int:
    """How many characters of a text a line has room for; at least one."""
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
"""Of single characters: a frame has the same ones again and again."""
