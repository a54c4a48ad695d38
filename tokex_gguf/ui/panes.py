"""The three things that fill the screen: the prompt, the table, the help."""

from bisect import bisect_right
from collections import OrderedDict
from typing import NamedTuple

from prompt_toolkit.utils import get_cwidth

from tokex_gguf.distribution import Candidate
from tokex_gguf.keymap import Mode, explained
from tokex_gguf.rules.browsing import selected_end
from tokex_gguf.session import Layer, Prompt, Session, selected_row, table
from tokex_gguf.tokens import glimpse, is_whole, label, spell
from tokex_gguf.tree import Node
from tokex_gguf.ui import theme
from tokex_gguf.ui import wrap as wrap_module
from tokex_gguf.ui.cells import Line, fit, pad
from tokex_gguf.ui.layers import layer_value
from tokex_gguf.ui.window import window
from tokex_gguf.ui.wrap import Wrapped, wrap

_UNREAD = 20_000
"""Characters shown, from the end, of a text that is not tokenised yet."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class Laid(NamedTuple):
    """A prompt, laid out."""

    nodes: list[Node]
    wrapped: Wrapped


class PromptPane:
    """The prompt's tokens, laid out and coloured.

    It keeps layouts, and the fragments of lines whose tokens are all known: one token
    more changes a line or two.
    """

    def __init__(self) -> None:
        self._laid: OrderedDict[tuple[Node, int], Laid] = OrderedDict()
        self._first = 0
        """The first line shown."""
        self._lines: OrderedDict[tuple[int, Node, Layer], tuple[wrap_module.Line, Line]] = OrderedDict()

    def lines(self, session: Session, width: int, height: int) -> list[Line]:
        """The lines with the tip or the cursor, `height` of them, in exactly `width` cells."""
        lines = self._in_sight(session, width, height)
        return lines + [fit([], width)] * (height - len(lines))

    def _in_sight(self, session: Session, width: int, height: int) -> list[Line]:
        if (text := unread(session)) is not None:
            spelled = spell([text.encode()])
            return [
                fit([("class:dim", span.text.rstrip("\n")) for span in line.spans], width)
                for line in wrap(spelled, width).lines[-height:]
            ]
        tip, cursor, base = shown(session)
        laid = self._lay(session, tip, width)
        lines = laid.wrapped.lines
        first = max(0, len(lines) - height)
        if cursor is not None:
            cursor = _seen(laid, cursor)
            # The cursor's line is somewhere in the middle, but no place is left free below the last.
            first = max(0, min(first, _line_of(lines, cursor.depth - 1) - height // 2))
        self._first = first
        return [self._line(session, laid, line, cursor, base) for line in lines[first : first + height]]

    def token_at(self, session: Session, width: int, x: int, y: int) -> int | None:
        """The position of the token in a cell of what `lines` gave last."""
        if not session.prompts:
            return None
        lines = self._lay(session, shown(session)[0], width).wrapped.lines
        if not 0 <= self._first + y < len(lines):
            return None
        for span in lines[self._first + y].spans:
            x -= get_cwidth(span.text.rstrip("\n"))
            if x < 0:
                return span.token
        return None

    def _line(self, session: Session, laid: Laid, line: wrap_module.Line, cursor: Node | None, base: Node) -> Line:
        nodes, width = laid.nodes, laid.wrapped.width
        if not line.spans:
            return fit([], width)
        last = line.spans[-1].token
        if base.depth <= last or (cursor and line.spans[0].token < cursor.depth <= last + 1):
            return fit(self._draw(session, nodes, line, cursor, base), width)
        # What is known before a node is known with it; the tip is underlined and goes on changing.
        lasting = last < len(nodes) - 1 and nodes[last].known
        key = (id(line), nodes[last], session.layer)
        if lasting and key in self._lines:
            self._lines.move_to_end(key)
            return self._lines[key][1]
        drawn = fit(self._draw(session, nodes, line, None, base), width)
        if lasting:
            self._lines[key] = (line, drawn)  # the line itself is kept, so that its id stays its own
            if len(self._lines) > 1024:
                self._lines.popitem(last=False)
        return drawn

    def _draw(
        self, session: Session, nodes: list[Node], line: wrap_module.Line, cursor: Node | None, base: Node
    ) -> Line:
        drawn: Line = []
        for span in line.spans:
            style = _token_style(session, nodes, span.token)
            if span.token >= base.depth:
                style = "class:draft"
            elif nodes[span.token] is cursor:
                style = "class:cursor"
            drawn.append((style, span.text.rstrip("\n")))
        return drawn

    def _lay(self, session: Session, tip: Node, width: int) -> Laid:
        key = (tip, width)
        if (laid := self._laid.get(key)) is None:
            nodes, texts, previous = self._neighbour(session, tip, width)
            laid = self._laid[key] = Laid(nodes, wrap(texts, width, previous))
            if len(self._laid) > 16:
                self._laid.popitem(last=False)
        self._laid.move_to_end(key)
        return laid

    def _neighbour(self, session: Session, tip: Node, width: int) -> tuple[list[Node], list[str], Wrapped | None]:
        """The nodes and texts of a prompt, and a layout to begin with.

        A prompt one token shorter or longer has nearly all of it: only the pieces after
        the last one that is whole by itself can look different.
        """
        near = self._laid.get((tip.parent, width)) if tip.parent else None
        nodes = [*near.nodes, tip] if near else []
        if near is None:
            near = next((laid for (node, w), laid in self._laid.items() if node.parent is tip and w == width), None)
            nodes = near.nodes[:-1] if near else tip.nodes()
        start = len(nodes) - 1 if near else 0
        while start and not is_whole(session.piece(nodes[start - 1].token).data):
            start -= 1
        texts = spell([session.piece(node.token).data for node in nodes[start:]])
        if near:
            return nodes, near.wrapped.texts[:start] + texts, near.wrapped
        return nodes, texts, next((laid.wrapped for (_, w), laid in reversed(self._laid.items()) if w == width), None)


def shown(session: Session) -> tuple[Node, Node | None, Node]:
    """The path to show, the cursor in it, and the part of it that is not only tried."""
    prompt = session.prompt
    if session.mode is Mode.TREE:
        end = selected_end(session)
        return end, None, end
    if session.mode is Mode.PROMPTS and session.row < len(session.prompts):
        prompt = session.prompts[session.row]
    if session.draft is not None:
        return session.draft.tip, None, session.draft.base
    if session.hunt is not None:
        return session.hunt.tip, None, session.hunt.tip
    return prompt.tip, prompt.cursor, prompt.tip


def _seen(laid: Laid, cursor: Node) -> Node:
    """Where the cursor shows: a token that is a part of a character shows with the token that completes it."""
    position = cursor.depth - 1
    while position < len(laid.nodes) - 1 and not laid.wrapped.texts[position]:
        position += 1
    return laid.nodes[position]


def _token_style(session: Session, nodes: list[Node], position: int) -> str:
    node = nodes[position]
    style = ""
    if session.piece(node.token).control:
        style = "class:dim"
    size = session.model.vocab_size if session.model else 0
    if (value := layer_value(session.layer, node, size)) is not None:
        style = theme.shade(session.layer.value, value)
    return f"{style} class:tip" if position == len(nodes) - 1 else style


def unread(session: Session) -> str | None:
    """The text to show where it has no tokens yet."""
    if not session.prompts:
        return session.settings.text[-_UNREAD:]
    index = session.row - len(session.prompts)
    if session.mode is Mode.PROMPTS and 0 <= index < len(session.starters):
        return session.starters[index].text[:_UNREAD]
    return None


def _line_of(lines: list[wrap_module.Line], token: int) -> int:
    """The line on which a token begins."""
    return max(0, bisect_right(lines, token, key=lambda line: line.spans[0].token if line.spans else line.token) - 1)


def number(value: float) -> str:
    """A probability in at most seven characters.

    >>> number(0.97312), number(0.0000031)
    ('0.9731', '3.1e-06')
    """
    return f"{value:.4f}" if value >= 0.0001 or value == 0 else f"{value:.1e}"


def bar(value: float, width: int) -> str:
    """A bar of `width` cells for a value from 0 to 1, in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, value)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def row_at(session: Session, height: int, line: int) -> int:
    """The row of the table on a line below its heading, where `height` lines hold all of it."""
    shown = _window(session, height)
    return shown[line] if line < len(shown) else -1


def _window(session: Session, height: int) -> list[int]:
    """The rows shown: those around the selected one.

    A row far below the others, of a token that is not among the likely ones, is always
    the last: looking at it does not take the likely ones out of sight.
    """
    rows, chosen, _ = _rows(session)
    room = max(1, height - 1)
    pinned = len(rows) > 1 and room > 1 and session.hunt is None and rows[-1].rank > len(rows)
    count, room = len(rows) - pinned, room - pinned
    middle = 0 if pinned and chosen == count else chosen
    return [*window(middle, count, room), *([count] if pinned else [])]


def table_lines(session: Session, width: int, height: int) -> list[Line]:
    """The table's heading and the rows around the selected one, at most `height` lines."""
    columns = _Columns(width)
    rows, chosen, style = _rows(session)
    node = session.prompt.place.tip if session.prompts else None
    taken = session.prompt.cursor.token if session.prompts and session.prompt.cursor else None
    lines = [columns.heading()]
    for index in _window(session, height):
        selected = "class:selected" if index == chosen else ""
        mark = "" if style or node is None else _mark(node, rows[index].token, taken)
        lines.append(columns.row(session, rows[index], f"{style} {selected}".strip(), mark))
    if node is not None and node.depth == 0:
        lines.append([("class:dim", " the first token is given: nothing comes before it")])
    return lines


def _mark(node: Node, token: int, taken: int | None) -> str:
    """› the token taken here, • one that was visited, · one whose table is known."""
    if token == taken:
        return "›"
    child = node.children.get(token)
    if child is None:
        return ""
    return "•" if child.visited else "·" if child.distribution is not None else ""


def _rows(session: Session) -> tuple[tuple[Candidate, ...], int, str]:
    """The rows to show, the one selected, and their style.

    While the tip's distribution is not there yet, the table of the token before it
    stays, dimmed, with what was taken from it.
    """
    if not session.prompts:
        return (), 0, ""
    if session.hunt is not None:
        # Before the first answer: what is found without any text are all tokens, so the table may stay.
        rows = table(session.prompt.place) if session.hunt.rows is None else session.hunt.rows
        return rows, session.hunt.row, ""
    prompt = session.prompt.place
    if prompt.tip.distribution is None and session.prompt.cursor is None:
        if prompt.tip.parent is None or prompt.tip.parent.distribution is None:
            return (), 0, ""
        token = prompt.tip.token
        prompt = Prompt(prompt.tip.parent, selected=token, popped=token)
        return table(prompt), selected_row(prompt), "class:dim"
    return table(prompt), selected_row(prompt), ""


class _Columns:
    """Widths of the table's columns: rank, token, probability, bar, id."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._rank, self._prob, self._id = 7, 7, 7
        rest = width - self._rank - self._prob - self._id - 4
        self._token = max(10, rest * 3 // 5)
        self._bar = max(0, rest - self._token)

    def heading(self) -> Line:
        text = " ".join(
            (
                "rank".rjust(self._rank),
                pad("token", self._token),
                "prob".rjust(self._prob),
                " " * self._bar,
                "id".rjust(self._id),
            )
        )
        return fit([("class:head", text)], self._width)

    def row(self, session: Session, candidate: Candidate, style: str, mark: str = "") -> Line:
        """One candidate, with a mark before it."""
        piece = session.piece(candidate.token)
        token = label(glimpse(piece.data)) or "‹empty›"
        special = "class:special" if piece.control and not style else style
        line = [
            (style, (mark or " ") + str(candidate.rank).rjust(self._rank - 1) + " "),
            (special, pad(token, self._token)),
            (style, " " + number(candidate.prob).rjust(self._prob) + " "),
            (style if "class:dim" in style else f"class:bar {style}".strip(), bar(candidate.prob, self._bar)),
            (style, " " + str(candidate.token).rjust(self._id)),
        ]
        return fit(line, self._width, style)


def help_lines(mode: Mode, width: int, selected: int) -> tuple[list[Line], int]:
    """The keys of a mode by topic, in lines of `width` cells; and the line of the selected entry."""
    topics = explained(mode)
    keys = 3 + max(len(name) for entries in topics.values() for name, _ in entries)
    lines: list[Line] = []
    entry = at = 0
    for topic, entries in topics.items():
        lines += [[], [("class:title", " " + topic)]]
        for name, text in entries:
            style = ""
            if entry == selected:
                style, at = " class:selected", len(lines) - 1
            for index, line in enumerate(wrap([text], width - keys - 5).lines):
                head = "   " + pad(name if index == 0 else "", keys)
                told = "".join(span.text for span in line.spans).strip()
                lines.append(fit([("class:key" + style, head), (style.strip(), told)], width, style.strip()))
            entry += 1
    return lines[1:], at
