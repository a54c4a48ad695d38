"""The prompt, laid out in lines and coloured. Pure."""

import math
from bisect import bisect_right
from collections import OrderedDict
from functools import lru_cache
from itertools import islice, pairwise
from typing import NamedTuple, TypeAlias

from tokex_gguf.play.screens import Input, Insert, SearchScreen
from tokex_gguf.play.session import Palette, Session
from tokex_gguf.play.table import continuation
from tokex_gguf.play.versus import Versus
from tokex_gguf.ui import theme
from tokex_gguf.ui import wrap as wrap_module
from tokex_gguf.ui.cells import Line, cells_of, fit, under_caret
from tokex_gguf.ui.wrap import Wrapped, wrap
from tokex_gguf.values.layers import DELTA, PLAIN, Layer, LensLayer
from tokex_gguf.values.lens import Raw, Sampled
from tokex_gguf.values.text_comparison import TextComparison
from tokex_gguf.values.tokens import glimpse, is_whole, spell
from tokex_gguf.values.tree import Node

UNTOKENIZED_CHARACTERS = 20_000
"""Characters shown, from the end, of a text that is not tokenised yet."""


BLOCK_TOKENS = 1024
"""Tokens of a layout block, about."""


BOUNDARY_TOKENS = 256
"""Tokens that are searched for a good beginning of a block."""


class Path(NamedTuple):
    """A path to show."""

    tip: Node
    base: Node
    """The part of the path that is there without what is typed, searched or ghost text."""
    cursor: Node | None = None
    """The token that the cursor is on."""
    prompt: int | None = None
    """The index of the prompt, where the path is one."""
    marked: int = 1
    """Tokens under the cursor, from that one on."""
    ghost: bool = False
    """Whether the tokens after `base` are ghost text, and not what the player types."""


class UntokenizedText(NamedTuple):
    """A text to show that has no tokens yet."""

    text: str
    end: bool = False
    """Whether the end of a long text is shown, and not its beginning."""


Shown: TypeAlias = Path | UntokenizedText


def starting_text(session: Session) -> UntokenizedText:
    """The text that the game begins with, until it is tokenised."""
    return UntokenizedText(session.game.settings.text[-UNTOKENIZED_CHARACTERS:], end=True)


def active_path(session: Session) -> Shown:
    """The active prompt, or what is typed or searched after it."""
    prompt, index = session.game.prompt, session.game.active
    match session.current:
        case Input(base=base, tip=tip):
            return Path(tip, base, None, index)
        case SearchScreen(tip=tip) if tip is not prompt.place.tip:
            return Path(tip, tip, None, index)
        case Insert(tip=tip, start=start, over=over):
            return Path(tip, tip, tip.ancestor(start + 1), index, max(1, over))
        case _:
            tokens = continuation(session)
            return Path(_beyond(prompt.tip, tokens), prompt.tip, prompt.cursor, index, ghost=bool(tokens))


@lru_cache(16)
def _beyond(tip: Node, tokens: tuple[int, ...]) -> Node:
    """A path of further tokens after a tip, outside of the tree. Cached: layouts are keyed by its nodes."""
    for token in tokens:
        tip = Node(tip, token)
    return tip


class LayoutBlock(NamedTuple):
    """A block: some tokens of a prompt, laid out."""

    start: int
    """The first one's position in the prompt."""
    nodes: list[Node]
    wrapped: Wrapped


_LineKey: TypeAlias = tuple[
    int, Node, Layer, Palette, Raw | Sampled | None, int | None, tuple[Versus, float | None, Node | None] | None
]
"""All that the fragments of a line depend on."""


class PromptPane:
    """The prompt's tokens, laid out and coloured.

    A long prompt is laid out in blocks, and only those in sight. A block begins after a line break
    where there is one, so that blocks are invisible; else before a space, where a line may end
    earlier than it would have to.

    Caches layouts, and the fragments of lines by what is known of their tokens: one more token
    changes a line or two.
    """

    def __init__(self) -> None:
        self._blocks: OrderedDict[tuple[Node, int, int], LayoutBlock] = OrderedDict()
        """Layouts by a block's last node, its first position, and the width."""
        self._block_starts: OrderedDict[Node, int] = OrderedDict()
        """Positions where blocks begin, by the last node on which that depends."""
        self._visible_lines: list[tuple[LayoutBlock, wrap_module.WrappedLine]] = []
        """The lines of the last frame."""
        self._depth = 0
        """Tokens of the path in the last frame."""
        self._lines: OrderedDict[_LineKey, tuple[wrap_module.WrappedLine, Line]] = OrderedDict()

    def lines(self, session: Session, shown: Shown, width: int, height: int) -> list[Line]:
        """The lines with the tip or the cursor, `height` of them, in exactly `width` cells."""
        lines = self._draw_visible(session, shown, width, height)
        return lines + [fit([], width)] * (height - len(lines))

    def _draw_visible(self, session: Session, shown: Shown, width: int, height: int) -> list[Line]:
        self._visible_lines = []
        if isinstance(shown, UntokenizedText):
            return _text_lines(shown, width, height)
        tip, base, cursor = shown.tip, shown.base, shown.cursor
        self._depth = base.depth if shown.ghost else tip.depth
        if cursor is None:
            self._visible_lines = self._lines_before(session, tip, width, 0, height, _last_block(tip))[1][-height:]
        else:
            cursor, self._visible_lines = self._lines_around(session, tip, cursor, width, height)
        marked = range(cursor.depth, cursor.depth + shown.marked) if cursor else range(0)
        tried = "class:ghost" if shown.ghost else "class:typed"
        tip = base if shown.ghost else tip
        return [self._line(session, layout, line, tip, marked, base, tried) for layout, line in self._visible_lines]

    def _lines_around(
        self, session: Session, tip: Node, cursor: Node, width: int, height: int
    ) -> tuple[Node, list[tuple[LayoutBlock, wrap_module.WrappedLine]]]:
        """The node on which the cursor shows, and the lines around it."""
        block = self._block_of(session, tip, cursor.depth - 1)
        layout = self._lay_out(session, tip, width, block)
        cursor = _shown_node(layout, cursor)
        # The cursor's line is about in the middle, but no line stays empty below the last one.
        at = _line_of(layout.wrapped.lines, cursor.depth - 1 - layout.start)
        below = [(layout, line) for line in layout.wrapped.lines[at : at + height]]
        last = _last_block(tip)
        following = block
        while len(below) < height and following < last:
            following += 1
            further = self._lay_out(session, tip, width, following)
            below += [(further, line) for line in further.wrapped.lines[:height]]
        below = below[:height]
        above = max(height // 2, height - len(below))
        at, lines = self._lines_before(session, tip, width, len(layout.wrapped.lines) - at, above, block)
        lines = lines[: len(lines) - at][-above:]
        return cursor, [*lines, *below][:height]

    def _lines_before(
        self, session: Session, tip: Node, width: int, skipped: int, wanted: int, block: int
    ) -> tuple[int, list[tuple[LayoutBlock, wrap_module.WrappedLine]]]:
        """At least `wanted` lines before the last `skipped` ones of a block, if there are so many, and those, too."""
        lines: list[tuple[LayoutBlock, wrap_module.WrappedLine]] = []
        while block >= 0 and len(lines) < wanted + skipped:
            layout = self._lay_out(session, tip, width, block)
            needed = layout.wrapped.lines[-(wanted + skipped) :]
            lines = [*((layout, line) for line in needed), *lines]
            block -= 1
        return skipped, lines

    @property
    def used(self) -> int:
        """Lines that the prompt took in the last frame."""
        return len(self._visible_lines)

    def in_sight(self, cells: int) -> range:
        """The cells of a scroll bar of so many cells that stand for what is in sight; none if all of it is."""
        if not self._visible_lines:
            return range(0)
        (top, upper), (bottom, lower) = self._visible_lines[0], self._visible_lines[-1]
        first = top.start + upper.token  # not its first span's: of a character of several tokens only the last has one
        whole = lower is bottom.wrapped.lines[-1]
        stop = bottom.start + (len(bottom.nodes) if whole else lower.spans[-1].token + 1)
        if first == 0 and stop >= self._depth:
            return range(0)
        first, stop = min(first, self._depth - 1), min(stop, self._depth)  # without ghost text
        start = min(cells - 1, first * cells // self._depth)
        return range(start, max(start + 1, math.ceil(stop * cells / self._depth)))

    def token_at(self, x: int, y: int) -> int | None:
        """The position of the token in a cell of the last frame."""
        if not 0 <= y < len(self._visible_lines):
            return None
        layout, line = self._visible_lines[y]
        for span in line.spans:
            x -= cells_of(span.text.rstrip("\n"))
            if x < 0:
                return layout.start + span.token if layout.start + span.token < self._depth else None
        return None

    def _line(
        self,
        session: Session,
        layout: LayoutBlock,
        line: wrap_module.WrappedLine,
        tip: Node,
        marked: range,
        base: Node,
        tried: str,
    ) -> Line:
        nodes, width = layout.nodes, layout.wrapped.width
        if not line.spans:
            return fit([], width)
        last = nodes[line.spans[-1].token]
        first = nodes[line.spans[0].token]
        if base.depth < last.depth or (marked and first.depth < marked.stop and marked.start <= last.depth):
            return fit(_draw(session, nodes, line, tip, marked, base, tried), width)
        # The tip is underlined, and its line goes on changing.
        by_lens = isinstance(session.options.layer, LensLayer)
        known = None if last.whole else _known_count(nodes[line.spans[0].token : line.spans[-1].token + 1])
        compared = _comparison_key(session, last) if session.options.layer is DELTA else None
        key = (
            id(line),
            last,
            session.options.layer,
            session.options.palette,
            session.lens if by_lens else None,
            known,
            compared,
        )
        if last is not tip and key in self._lines:
            self._lines.move_to_end(key)
            return self._lines[key][1]
        cacheable = last is not tip
        if cacheable and by_lens:
            # A token's value through a lens may come after what is known of the tokens after it.
            value_of = session.layer_value
            cacheable = all(value_of(nodes[span.token]) is not None for span in line.spans)
        if cacheable and compared:  # as with a lens's values
            cacheable = all(_delta_is_known(session, nodes[span.token]) for span in line.spans)
        fragments = fit(_draw(session, nodes, line, tip, range(0), base, tried), width)
        if cacheable:
            self._lines[key] = (line, fragments)  # with the line, so that its id stays unique
            if len(self._lines) > 1024:
                self._lines.popitem(last=False)
        return fragments

    # --- blocks

    def _block_of(self, session: Session, tip: Node, position: int) -> int:
        """The number of the block that holds a position."""
        block = min(position // BLOCK_TOKENS, _last_block(tip))
        return block - 1 if block and self._block_start(session, tip, block) > position else block

    def _block_start(self, session: Session, tip: Node, block: int) -> int:
        """The position at which a block begins. It does not depend on what comes after the block."""
        if block == 0:
            return 0
        first = block * BLOCK_TOKENS
        last = tip.ancestor(first + BOUNDARY_TOKENS)
        if (begin := self._block_starts.get(last)) is None:
            before, *pieces = (session.game.piece(node.token).data for node in last.nodes(first - 1))
            begin = self._block_starts[last] = first + _best_block_start(before, pieces)
            if len(self._block_starts) > 1024:
                self._block_starts.popitem(last=False)
        return begin

    def _lay_out(self, session: Session, tip: Node, width: int, block: int) -> LayoutBlock:
        start = self._block_start(session, tip, block)
        end = tip if block == _last_block(tip) else tip.ancestor(self._block_start(session, tip, block + 1))
        key = (end, start, width)
        if (layout := self._blocks.get(key)) is None:
            nodes = end.nodes(start)
            texts, previous = self._texts(session, nodes, start, width)
            layout = self._blocks[key] = LayoutBlock(start, nodes, wrap(texts, width, previous))
            if len(self._blocks) > 64:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return layout

    def _texts(self, session: Session, nodes: list[Node], start: int, width: int) -> tuple[list[str], Wrapped | None]:
        """The texts of a block's tokens, and a similar layout to start from.

        A prompt one token shorter or longer shares nearly all texts: only the pieces after
        the last one that is complete UTF-8 by itself can look different.
        """
        tip = nodes[-1] if nodes else None
        similar = self._blocks.get((tip.parent, start, width)) if tip and tip.parent else None
        if similar is None:
            recent = islice(reversed(self._blocks.items()), 16)
            similar = next(
                (one for (node, s, w), one in recent if node.parent is tip and (s, w) == (start, width)), None
            )
        same = max(0, len(nodes) - 1) if similar else 0
        while same and not is_whole(glimpse(session.game.piece(nodes[same - 1].token).data)):
            same -= 1
        texts = spell([glimpse(session.game.piece(node.token).data) for node in nodes[same:]])
        if similar:
            return similar.wrapped.texts[:same] + texts, similar.wrapped
        same_place = islice(reversed(self._blocks.items()), 16)
        return texts, next((one.wrapped for (_, s, w), one in same_place if (s, w) == (start, width)), None)


def _delta_is_known(session: Session, node: Node) -> bool:
    """Whether the token's delta to B is known."""
    comparison = session.game.comparison
    return comparison is None or comparison.delta(node) is not None or comparison.inserted(node)


def _comparison_key(session: Session, last: Node) -> tuple[Versus, float | None, Node | None]:
    """In the delta layer: what the colours of a line that ends with this token depend on.

    What B makes of the line's bytes can change with the text after them.
    """
    comparison = session.game.comparison
    of_text = (comparison.place(last) or comparison.tip) if isinstance(comparison, TextComparison) else None
    return session.game.versus, session.game.floor, of_text


def _known_count(nodes: list[Node]) -> int:
    """How many of the values that colour a line's tokens are known: the number never falls."""
    before = nodes[0].parent
    known = [node.taken is not None for node in nodes] + [node.distribution is not None for node in nodes]
    return sum(known) + (before is not None and before.distribution is not None)


def _last_block(tip: Node) -> int:
    """The number of a prompt's last block."""
    return max(0, (tip.depth - BOUNDARY_TOKENS) // BLOCK_TOKENS)


def _best_block_start(before: bytes, pieces: list[bytes]) -> int:
    """The index of the piece with which a block begins best. `before`: the piece before the first one."""
    space: int | None = None
    for index, (left, right) in enumerate(pairwise([before, *pieces])):
        if left.endswith(b"\n"):
            return index
        if space is None and right.startswith(b" "):
            space = index
    if space is not None:
        return space
    inside = (index for index, left in enumerate([before, *pieces[:-1]]) if is_whole(glimpse(left)))
    return next(inside, 0)


def _draw(
    session: Session,
    nodes: list[Node],
    line: wrap_module.WrappedLine,
    tip: Node,
    marked: range,
    base: Node,
    tried: str,
) -> Line:
    drawn: Line = []
    compared = session.game.comparison if session.options.layer is DELTA else None
    pieces, value_of = session.game.known.pieces, session.layer_value
    # Without colours, bold shows a layer's value.
    tells_played = session.options.layer is PLAIN or session.options.palette is not Palette.MONOCHROME
    before: Node | None = None
    for span in line.spans:
        node = nodes[span.token]
        if node.depth > base.depth:
            style = tried
        elif node.depth in marked:
            style = "class:cursor"
        else:
            value = value_of(node)
            style = "class:dim" if pieces[node.token].control else ""
            style = style if value is None else theme.shade(session.options.layer.name, value)
            if node.played and tells_played:
                style = f"{style} class:played".strip()
            if node is tip:
                style += " class:tip"
        text = span.text.rstrip("\n")
        if compared:
            if node.depth not in marked and node is not before:
                if compared.inserted(node):
                    style = f"{style} class:inserted".strip()
                elif text and compared.missing(node):
                    drawn.append((f"{style} class:removed".strip(), text[:1]))
                    text = text[1:]
            before = node
        drawn.append((style, _with_cell(drawn, text) if node.depth in marked and text else text))
    return drawn


def _with_cell(line: Line, text: str) -> str:
    """The text; if it is marks alone, with their base character, which is taken from the line's end."""
    while line and not cells_of(text):
        style, before = line.pop()
        if cells_of(before):
            before, text = under_caret(before, text)
            line.append((style, before))
        else:
            text = before + text
    return text


def _text_lines(shown: UntokenizedText, width: int, height: int) -> list[Line]:
    """The lines in sight of a text that has no tokens yet."""
    most = width * height
    text = shown.text[-most:] if shown.end else shown.text[:most]
    (spelled,) = spell([text.encode("utf-8", "replace")])  # a character can become several
    lines = wrap([spelled[-most:] if shown.end else spelled[:most]], width).lines
    lines = lines[-height:] if shown.end else lines[:height]
    return [fit([("class:dim", span.text.rstrip("\n")) for span in line.spans], width) for line in lines]


def _shown_node(layout: LayoutBlock, cursor: Node) -> Node:
    """The node on which the cursor shows: a part of a character shows with the token that completes it."""
    position = cursor.depth - 1 - layout.start
    while position < len(layout.nodes) - 1 and not layout.wrapped.texts[position]:
        position += 1
    return layout.nodes[position]


def _line_of(lines: list[wrap_module.WrappedLine], token: int) -> int:
    """The line on which a token begins."""
    return max(0, bisect_right(lines, token, key=lambda line: line.spans[0].token if line.spans else line.token) - 1)
