"""The three things that fill the screen: the prompt, the table, the help."""

from collections import OrderedDict
from typing import NamedTuple

from tokex_gguf.distribution import Candidate
from tokex_gguf.keymap import Mode, keys_of, topics
from tokex_gguf.session import Layer, Prompt, Session, selected_row, table
from tokex_gguf.tokens import is_whole, label, spell
from tokex_gguf.tree import Node
from tokex_gguf.ui import theme
from tokex_gguf.ui import wrap as wrap_module
from tokex_gguf.ui.cells import Line, fit, pad
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
        self._lines: OrderedDict[tuple[int, Node, Layer], tuple[wrap_module.Line, Line]] = OrderedDict()

    def lines(self, session: Session, width: int, height: int) -> list[Line]:
        """The lines with the tip, at most `height`, none wider than `width` cells."""
        if not session.prompts:
            text = spell([session.settings.text[-_UNREAD:].encode()])
            return [
                [("class:dim", span.text.rstrip("\n")) for span in line.spans]
                for line in wrap(text, width).lines[-height:]
            ]
        laid = self._lay(session, session.prompt.tip, width)
        return [self._line(session, laid.nodes, line) for line in laid.wrapped.lines[-height:]]

    def _line(self, session: Session, nodes: list[Node], line: wrap_module.Line) -> Line:
        if not line.spans:
            return []
        last = line.spans[-1].token
        # What is known before a node is known with it; the tip is underlined and goes on changing.
        lasting = last < len(nodes) - 1 and nodes[last].known
        key = (id(line), nodes[last], session.layer)
        if lasting and key in self._lines:
            self._lines.move_to_end(key)
            return self._lines[key][1]
        drawn: Line = [(_token_style(session, nodes, span.token), span.text.rstrip("\n")) for span in line.spans]
        if lasting:
            self._lines[key] = (line, drawn)  # the line itself is kept, so that its id stays its own
            if len(self._lines) > 1024:
                self._lines.popitem(last=False)
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


def _token_style(session: Session, nodes: list[Node], position: int) -> str:
    node = nodes[position]
    style = ""
    if session.piece(node.token).control:
        style = "class:dim"
    if (value := layer_value(session, node)) is not None:
        style = theme.shade(session.layer.value, value)
    return f"{style} class:tip" if position == len(nodes) - 1 else style


def layer_value(session: Session, node: Node) -> float | None:
    """What colours a token in the session's layer, 0 to 1.

    The first token has none: no distribution precedes it. A token's entropy is that
    of the distribution it was drawn from.
    """
    if session.layer is Layer.PLAIN or node.taken is None or node.parent is None:
        return None
    if session.layer is Layer.PROBABILITY:
        return node.taken.prob
    if node.parent.distribution is None or session.model is None:
        return None
    return node.parent.distribution.normalised_entropy(session.model.vocab_size)


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


def table_lines(session: Session, width: int, height: int) -> list[Line]:
    """The table's heading and the rows around the selected one, at most `height` lines."""
    columns = _Columns(width)
    rows, chosen, style = _rows(session)
    shown = max(1, height - 1)
    first = max(0, min(chosen - shown // 2, len(rows) - shown))
    lines = [columns.heading()]
    for index in range(first, min(first + shown, len(rows))):
        selected = "class:selected" if index == chosen else ""
        lines.append(columns.row(session, rows[index], f"{style} {selected}".strip()))
    return lines


def _rows(session: Session) -> tuple[tuple[Candidate, ...], int, str]:
    """The rows to show, the one selected, and their style.

    While the tip's distribution is not there yet, the table of the token before it
    stays, dimmed, with what was taken from it.
    """
    if not session.prompts:
        return (), 0, ""
    prompt = session.prompt
    if prompt.tip.distribution is None:
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

    def row(self, session: Session, candidate: Candidate, style: str) -> Line:
        """One candidate; a dot stands where the table after it is known."""
        known = not style.startswith("class:dim") and session.foresees(candidate.token)
        piece = session.piece(candidate.token)
        token = label(piece.data) or "‹empty›"
        special = "class:special" if piece.control and not style else style
        line = [
            (style, ("·" if known else " ") + str(candidate.rank).rjust(self._rank - 1) + " "),
            (special, pad(token, self._token)),
            (style, " " + number(candidate.prob).rjust(self._prob) + " "),
            # Reversed, a bar would show what is not there.
            ("class:dim" if "class:dim" in style else "class:bar", bar(candidate.prob, self._bar)),
            (style, " " + str(candidate.token).rjust(self._id)),
        ]
        return fit(line, self._width, style)


def help_lines(mode: Mode, width: int) -> list[Line]:
    """The keys of a mode by topic, in lines of at most `width` cells."""
    keys = 13
    lines: list[Line] = []
    for topic, bindings in topics(mode).items():
        lines += [[], [("class:title", " " + topic)]]
        for binding in bindings:
            told = wrap([binding.help], width - keys - 4).lines
            for index, line in enumerate(told):
                name = keys_of(binding) if index == 0 else ""
                lines.append([("class:key", "   " + pad(name, keys)), *(("", span.text) for span in line.spans)])
    return lines[1:]
