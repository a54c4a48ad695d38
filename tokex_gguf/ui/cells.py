"""Lines of styled text, measured in the cells they paint."""

from typing import TypeAlias

from prompt_toolkit.utils import get_cwidth

Fragment: TypeAlias = tuple[str, str]
"""(style, text), as prompt_toolkit has it."""
Line: TypeAlias = list[Fragment]


MARKS = 8
"""Characters without a cell of their own that are drawn on one cell, at the most."""


def width_of(line: Line) -> int:
    """Cells that a line paints."""
    return sum(get_cwidth(text) for _, text in line)


def clip(text: str, width: int) -> str:
    """The text, or as much of it as fits into `width` cells with a … at the end.

    >>> clip("every", 4), clip("every", 5)
    ('eve…', 'every')
    """
    most = longest(width)
    if len(text) <= most and get_cwidth(text) <= width:
        return text
    kept, used = [], 0
    for char in text[:most]:
        used += get_cwidth(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…" if width > 0 else ""


def clip_start(text: str, width: int, *, more: bool = False) -> str:
    """The text, or as much of its end as fits into `width` cells with a … before it.

    `more`: there is text before it in any case.

    >>> clip_start("every", 4), clip_start("every", 5), clip_start("every", 6, more=True)
    ('…ery', 'every', '…every')
    """
    most = longest(width)
    if not more and len(text) <= most and get_cwidth(text) <= width:
        return text
    kept, used = [], 0
    for char in reversed(text[-most:] if most else ""):
        used += get_cwidth(char)
        if used > width - 1:
            break
        kept.append(char)
    return "…" + "".join(reversed(kept)) if width > 0 else ""


def longest(width: int) -> int:
    """Characters that are looked at to fill `width` cells, so that a text of any length costs no more."""
    return MARKS + max(0, width) * (1 + MARKS)


def pad(text: str, width: int) -> str:
    """The text in exactly `width` cells, to the left."""
    text = clip(text, width)
    return text + " " * (width - get_cwidth(text))


def fit(line: Line, width: int, fill: str = "") -> Line:
    """The line in exactly `width` cells: cut off, or filled up with blanks of style `fill`."""
    fitted: Line = []
    left = width
    for style, text in line:
        cells = get_cwidth(text) if len(text) <= longest(left) else left + 1
        if cells > left:
            text = clip(text, left)
            fitted.append((style, text))
            left -= get_cwidth(text)
            break
        fitted.append((style, text))
        left -= cells
    return [*fitted, (fill, " " * left)] if left else fitted


def spread(left: Line, right: Line, width: int) -> Line:
    """One line with `left` at its left end and `right`, which goes first if room is short, at its right."""
    space = width - width_of(right)
    return [*fit(left, max(space, 0)), *right] if space > 0 else fit(right, width)


def choose(parts: list[tuple[int, Line]], width: int, gap: str = "  ") -> Line:
    """As many parts as fit, in their order, the ones of higher priority first to stay."""
    room = width
    stay: set[int] = set()
    for index in sorted(range(len(parts)), key=lambda i: -parts[i][0]):
        needed = width_of(parts[index][1]) + (len(gap) if stay else 0)
        if needed <= room:
            stay.add(index)
            room -= needed
    line: Line = []
    for index, (_, part) in enumerate(parts):
        if index in stay:
            line += [("", gap), *part] if line else part
    return line
