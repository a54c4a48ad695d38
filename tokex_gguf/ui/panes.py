"""The three things that fill the screen: the prompt, the table, the help."""

import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import islice, pairwise
from typing import NamedTuple, TypeAlias

from tokex_gguf.engine.protocol import Capability
from tokex_gguf.play.command import HelpEntry
from tokex_gguf.play.compared import rows_by_token
from tokex_gguf.play.screens import Input, Insert, SearchScreen
from tokex_gguf.play.session import (
    Drawn,
    Palette,
    Prompt,
    Session,
    Viewed,
    continuation,
    next_after,
    selected_row,
    table,
)
from tokex_gguf.play.versus import Versus
from tokex_gguf.ui import second, theme, versus
from tokex_gguf.ui import wrap as wrap_module
from tokex_gguf.ui.cells import MARKS, Fragment, Line, cells_of, clip, fit, joined, pad, under_caret
from tokex_gguf.ui.lens_lines import draw_lines, lines_of_draws, lines_of_view, view_lines
from tokex_gguf.ui.window import window
from tokex_gguf.ui.wrap import Wrapped, paragraph, wrap
from tokex_gguf.values.distribution import Candidate
from tokex_gguf.values.formatting import bias_text, number, rank_text, share_text
from tokex_gguf.values.layers import DELTA, PLAIN, Layer, LensLayer
from tokex_gguf.values.lens import Raw, Sampled
from tokex_gguf.values.lookahead import LONGEST_BRANCH, Place, following
from tokex_gguf.values.reachability import follows
from tokex_gguf.values.text_comparison import TextComparison
from tokex_gguf.values.tokens import glimpse, is_whole, label, spell
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT

UNTOKENIZED_CHARACTERS = 20_000
"""Characters shown, from the end, of a text that is not tokenised yet."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


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


def bar(value: float, width: int) -> str:
    """A bar of `width` cells for a value from 0 to 1, in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, value)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


TALL = 16
"""Lines of a table from which it has a line below its rows."""


def table_room(height: int, below: int = 0) -> int:
    """Rows that a table of so many lines has room for, besides its heading and the lines below."""
    return height - 1 - max(below, height >= TALL)


class _TableShown(NamedTuple):
    """The table to show."""

    rows: tuple[Candidate, ...] = ()
    chosen: int = 0
    """The index of the selected row."""
    style: str = ""
    """The style of all rows."""
    place: Prompt | None = None
    """The path that the table comes after, with its selected row."""
    taken: int | None = None
    """The token of the path that comes next, where the cursor is on it."""
    viewed: Viewed | None = None
    """The distribution through the lens."""

    @property
    def node(self) -> Node | None:
        """The path that the table comes after."""
        return self.place.tip if self.place else None


def table_rows(session: Session, height: int) -> list[int]:
    """The rows below the heading of a table of `height` lines: those around the selected one.

    A row far below the others, of an unlikely token, is always the last: selecting it does
    not scroll the likely ones out of sight.
    """
    return _rows_in_sight(session, _shown_table(session), height)


def _rows_in_sight(session: Session, shown: _TableShown, height: int) -> list[int]:
    rows, chosen = shown.rows, shown.chosen
    room = max(1, table_room(height, _lines_below_rows(session, shown, height)))
    pinned = len(rows) > 1 and room > 1 and session.on(SearchScreen) is None and _is_far(session, shown)
    count, room = len(rows) - pinned, room - pinned
    middle = 0 if pinned and chosen == count else chosen
    return [*window(middle, count, room), *([count] if pinned else [])]


def _is_far(session: Session, shown: _TableShown) -> bool:
    """Whether the last row is none of the likely tokens, whatever the rows are sorted by."""
    rows = shown.rows
    if shown.node is not None and (difference := session.difference_after(shown.node)):
        return rows[-1].token not in {row.token for row in difference.rows}
    return rows[-1].at_least or rows[-1].rank > max(len(rows), *(row.rank for row in rows[:-1]))


def table_lines(session: Session, width: int, height: int) -> list[Line]:
    """The table's heading and the rows around the selected one, at most `height` lines."""
    shown = _shown_table(session)
    rows, node = shown.rows, shown.node
    seen = _rows_in_sight(session, shown, height)
    look = _Look.of(session, shown)
    below = _lines_below_rows(session, shown, height)
    mass = "" if isinstance(session.lens, Sampled) else _mass(session, rows, seen)
    lookahead_place = session.game.known.lookahead.place(node) if node is not None else None
    columns = _Columns(width, look, lookahead_place if session.looks_ahead else None, next_after(session))
    compares = _compares(session, shown)
    differences = rows_by_token(session, shown.place) if compares and shown.place else {}
    heading = columns.heading(mass if height < TALL and not below else "")
    by_text = compares and second.by_text(session)
    lines = [
        second.heading(width)
        if by_text
        else versus.heading(width, by_delta=session.options.by_delta)
        if compares
        else heading
    ]
    for index in seen:
        selected = "class:selected" if index == shown.chosen else ""
        mark = "" if lookahead_place is None else _mark(session, lookahead_place, rows[index].token, shown.taken)
        style = f"{shown.style} {selected}".strip()
        if node is not None and by_text:
            lines.append(second.row(session, node, rows[index], width, style, mark))
        elif node is not None and compares:
            difference = differences.get(rows[index].token)
            lines.append(versus.row(session, node, rows[index], difference, width, style, mark))
        else:
            lines.append(columns.row(session, rows[index], style, mark))
    if not compares and (few_rows := _no_more_rows(session, shown, len(seen), height)):
        lines.append([("class:dim", clip(f" {few_rows}", width))])
    if compares:
        lines += [*versus.below(session, width), *second.lines_below(session, width, height)]
    elif below:
        lines += _below_lines(session, shown, width, height)
    elif mass and height >= TALL:
        lines.append([("class:dim", f" {mass} of the probability")])
    tip = session.game.prompt.place.tip if session.game.prompts else None
    if tip is not None and tip.depth == 0:
        lines.append([("class:dim", " the first token is given: nothing comes before it")])
    elif not rows and session.game.full is not None:
        lines.append([("class:dim", f" no table: {session.game.full} tokens fit into the context")])
    return lines


def _no_more_rows(session: Session, shown: _TableShown, seen: int, height: int) -> str:
    """Says that there are no more rows, where there is room: inside a prompt fewer are kept than at its end."""
    before = shown.node.distribution if shown.node else None
    game = session.game
    if (
        before is None
        or session.on(SearchScreen)
        or seen >= table_room(height, _lines_below_rows(session, shown, height))
    ):
        return ""
    if game.model is None or not seen >= len(before) < (game.model.candidates or game.model.vocab_size):
        return ""
    way = "/ finds" if game.can(Capability.VOCABULARY_SEARCH) else "i types"
    return f"{len(before)} tokens are kept here: {way} any other"


def _mass(session: Session, rows: tuple[Candidate, ...], seen: list[int]) -> str:
    """The probability of all rows down to the last one in sight."""
    if session.on(SearchScreen) or not rows:
        return ""
    likely = [index for index in seen if rows[index].rank == index + 1 and not rows[index].at_least]
    last = max(likely, default=-1) + 1
    return f"ranks 1–{last}: {share_text(math.fsum(row.prob for row in rows[:last]), '')}" if last else ""


def bar_scale(highest: float) -> float:
    """The probability of a bar of full length: 1, 0.5, 0.2, 0.1, 0.05 and so on, the least that the highest fits in.

    >>> bar_scale(0.97), bar_scale(0.14), bar_scale(0.02), bar_scale(0.0)
    (1.0, 0.2, 0.02, 1.0)
    """
    if highest <= 1e-12:
        return 1.0
    tenth = math.floor(math.log10(highest))
    steps = (float(f"{step}e{tenth}") for step in (1, 2, 5, 10))
    return min(1.0, next(step for step in steps if step >= highest or step >= 10.0 ** (tenth + 1)))


def _mark(session: Session, after: Place, token: int, taken: int | None) -> str:
    """› the token that comes next in the path, • a visited one, · one after which the distribution is known."""
    if token == taken:
        return "›"
    place = after.child(token)
    if place.node is not None and place.node.visited and place.node not in session.game.hidden.pruned:
        return "•"
    return "·" if place.distribution is not None else ""


def _shown_table(session: Session) -> _TableShown:
    """The table to show.

    While the tip's distribution or its order is not known yet, the table of the token before it stays, dimmed, with
    the tip as its selected row.
    """
    if not session.game.prompts:
        return _TableShown()
    prompt, cursor = session.game.prompt.place, session.game.prompt.cursor
    taken = cursor.token if cursor else None
    style = ""
    if (searching := session.on(SearchScreen)) and searching.rows is not None:
        # Before the first answer the table stays: an empty search finds all tokens.
        return _TableShown(searching.rows, searching.row, "", prompt, taken, session.viewed(prompt.tip))
    if cursor is None and not searching and (prompt.tip.distribution is None or session.order_awaited):
        # What does not fit into the context never has a table: no other path's table may stand in its place.
        if prompt.tip.parent is None or prompt.tip.parent.distribution is None or session.game.full is not None:
            return _TableShown(place=prompt)
        token = prompt.tip.token
        prompt, style = Prompt(prompt.tip.parent, selected=token, popped=token), "class:dim"
    chosen = searching.row if searching else selected_row(session, prompt)
    return _TableShown(table(session, prompt), chosen, style, prompt, taken, session.viewed(prompt.tip))


# --- below the rows


def _lines_below_rows(session: Session, shown: _TableShown, height: int) -> int:
    """Lines below the rows, about the lens and draws."""
    if shown.node is None or not shown.node.depth:
        return 0
    if _compares(session, shown):
        return versus.LINES_BELOW + second.count_below(session, height)
    lens = lines_of_view(height) if isinstance(session.lens, Sampled) else 0
    return lens + (lines_of_draws(session, shown.node, height) if height > NO_DRAWS_LINES else 0)


def _compares(session: Session, shown: _TableShown) -> bool:
    """Whether the table is of A and B."""
    if session.game.comparison is None or shown.node is None or not shown.node.depth:
        return False
    searching = session.on(SearchScreen)
    return searching is None or searching.rows is None  # a search's rows look as without a comparison


NO_DRAWS_LINES = 7
"""Lines of a table up to which it shows no draws."""


def _below_lines(session: Session, shown: _TableShown, width: int, height: int) -> list[Line]:
    lines: list[Line] = []
    assert shown.node is not None
    if isinstance(session.lens, Sampled):
        style = "" if shown.viewed and shown.viewed.lens == session.lens and not shown.style else "class:dim"
        lines += [[(style, f" {text}")] for text in view_lines(session, shown.node, shown.viewed, width - 1, height)]
    return [*lines, *(draw_lines(session, shown.node, width, height) if height > NO_DRAWS_LINES else [])]


# --- columns


class _Look(NamedTuple):
    """What the columns show."""

    viewed: Viewed | None
    """The lens's numbers, once known."""
    through: bool
    """Whether the table is seen through a lens that changes something."""
    settled: bool
    """Whether the numbers belong to the present lens."""
    by_final: bool
    drawn: Drawn | None
    """Draws that are counted here."""
    scale: float
    """The probability of a bar of full length."""
    biases: Mapping[int, float]
    """Logit biases by token."""
    ahead_name: str
    """The name of the lookahead column: it says if the text is raw, where it does not follow the lens."""

    @classmethod
    def of(cls, session: Session, shown: _TableShown) -> "_Look":
        lens, drawn, viewed = session.lens, session.game.drawn, shown.viewed
        counted = drawn if drawn and shown.node is not None and drawn.counts_on(shown.node, lens) else None
        if counted:
            highest = max(counted.counts.values()) / len(counted.draws)
        elif isinstance(lens, Sampled):
            highest = max(viewed.view.finals, default=0.0) if viewed else 0.0
        else:
            highest = shown.rows[0].prob if shown.rows else 0.0
        through = isinstance(lens, Sampled)
        settled = viewed is not None and viewed.lens == lens
        by_final = through and session.sorts_by_final and session.on(SearchScreen) is None
        biases = session.game.sampling.chain.biases
        raw = isinstance(lens, Sampled) and lens.constraint is None and not follows(lens)
        name = "ahead (raw)" if raw else "ahead"
        return cls(viewed, through, settled, by_final, counted, bar_scale(highest), biases, name)


LEAST_TOKEN, LEAST_AHEAD = 10, 12
"""Cells of the token's column, and of the lookahead column, at the least."""
LEAST_BAR = 6
"""Cells of a bar's column at the least: its heading is the scale."""
LEAST_NAME = 5
"""Cells of the token's column below which other columns are left out."""


def ahead_text(session: Session, place: Place, cells: int, next_token: Callable[[Place], int | None]) -> str:
    """The most likely text after a path, as far as it is known and fits into so many cells.

    `next_token`: `next_after`. It is the text through the lens, where the lens `follows`.
    """
    pieces: list[bytes] = []
    room = MARKS * cells
    for token in following(place, LONGEST_BRANCH, next_token):
        piece = session.game.piece(token)
        pieces.append(piece.data)
        # A character of ASCII takes a cell at the least; others are marks, perhaps, and have none.
        room -= len(piece.data) * (MARKS if piece.data.isascii() else 1)
        if piece.ends or room < 0:
            break
    return _one_line(tuple(pieces))


@lru_cache(4096)
def _one_line(pieces: tuple[bytes, ...]) -> str:
    return "".join(spell(list(map(glimpse, pieces)))).replace("\n", "")


class _Columns:
    """Widths of the table's columns: rank, token, probability, bar, id; the final probability and draws.

    Where there is room, the lookahead column replaces the id and most of the bar.
    """

    def __init__(self, width: int, look: _Look, ahead: Place | None, next_token: Callable[[Place], int | None]) -> None:
        """`ahead`: the path that the rows come after, where there is to be a lookahead column."""
        self._width = width
        self._look = look
        self._rank, self._prob = 7, 7
        self._final = 7 if look.through else 0
        self._drawn = 6 if look.drawn else 0
        # Beside the sampler chain not all columns have room. The rank stands for the raw probability.
        if self._rest < LEAST_NAME and look.through:
            self._prob = 0
        if self._rest < LEAST_NAME:
            self._drawn = 0
        rest = self._rest
        self._ahead = 0
        self._place = ahead
        self._next_token = next_token
        if ahead is not None and rest >= LEAST_TOKEN + 1 + LEAST_AHEAD:
            self._id, self._token = 0, max(LEAST_TOKEN, min(16, rest // 4))
            self._bar = 8 if rest - self._token >= 8 + 2 * LEAST_AHEAD else 0
            self._ahead = rest - self._token - self._bar - (1 if self._bar else 0)
            return
        # The id is the least important column: there is `--json`.
        self._id = 0 if look.drawn or rest < 10 + 8 else 7
        rest -= self._id + bool(self._id)
        least = min(10, rest)
        self._token = max(least, rest * 3 // 5)
        self._bar = max(0, rest - self._token)
        if self._bar < LEAST_BAR:  # the heading must say what the bar shows
            self._token, self._bar = max(least, rest), 0

    @property
    def _rest(self) -> int:
        """Cells that the number columns leave."""
        widths = (self._rank, self._prob, self._final, self._drawn)
        return self._width - sum(widths) - sum(map(bool, widths)) - 1

    @cached_property
    def _widths(self) -> "_ColumnWidths":
        look = self._look
        return _ColumnWidths(
            self._width,
            self._rank,
            self._token,
            self._prob,
            self._final,
            self._drawn,
            look.drawn is not None,
            self._bar,
            self._id,
            self._ahead if self._place is not None else 0,
        )

    def heading(self, mass: str = "") -> Line:
        """The columns' names; where there is room, also the probability of the rows in sight."""
        look = self._look
        token = f"token  {mass}" if cells_of(mass) + 7 <= self._token else "token"
        by_raw = " ↓" if look.through and not look.by_final else ""
        parts = [("rank" if self._prob else f"rank{by_raw}").rjust(self._rank), pad(token, self._token)]
        if self._prob:
            parts += [(f"raw{by_raw}" if look.through else "prob").rjust(self._prob)]
        if look.through:
            parts += [("final ↓" if look.by_final else "final").rjust(self._final)]
        if self._drawn:
            parts += ["drawn".rjust(self._drawn)]
        parts += [pad(self._bar_head(), self._bar)]
        if self._id:
            parts += ["id".rjust(self._id)]
        if self._ahead:
            parts = [part for part in parts if part] + [pad(look.ahead_name, self._ahead)]
        return fit([("class:head", " ".join(parts))], self._width)

    @property
    def _bar_name(self) -> str:
        return "drawn" if self._look.drawn else "final" if self._look.through else ""

    def _bar_head(self) -> str:
        """What a bar shows, and its scale, as far as there is room. The column before it has the name, too."""
        scale = "" if self._look.scale == 1 else f"to {self._look.scale:g}"
        name = self._bar_name
        if not name:
            return scale
        heads = (f"bar: {name} {scale}".strip(), f"{name} {scale}" if scale else "", scale, "bar")
        return next((head for head in heads if head and cells_of(head) <= self._bar), "")

    def row(self, session: Session, candidate: Candidate, style: str, mark: str = "") -> Line:
        """One candidate, with a mark before it."""
        look, token = self._look, candidate.token
        verdict = look.viewed.view.verdicts.get(token) if look.viewed else None
        cut = look.viewed.lens.stage(verdict.cut_by) if look.viewed and verdict and verdict.cut_by != NOT_CUT else ""
        count, prob = look.drawn.counts.get(token, 0) if look.drawn else 0, candidate.prob
        if look.drawn:
            value = count / len(look.drawn.draws)
        elif look.through:
            value = verdict.final if verdict else 0.0
        else:
            value = prob
        ahead = ""
        if self._ahead and self._place is not None and not cut:  # a cut token has no lookahead
            ahead = ahead_text(session, self._place.child(token), self._ahead, self._next_token)
        piece = session.game.piece(token)
        return _row_line(
            self._widths,
            _RowShown(
                mark,
                rank_text(candidate),
                piece.data,
                piece.control,
                look.biases.get(token, 0.0),
                prob,
                verdict.final if verdict else None,
                cut,
                look.settled,
                count,
                value / look.scale,
                token,
                ahead,
                style,
            ),
        )


class _ColumnWidths(NamedTuple):
    """Cells of the table's columns; 0: left out."""

    whole: int
    rank: int
    token: int
    prob: int
    final: int
    drawn: int
    counts: bool
    """Whether draws are counted, for whose column there may be no room."""
    bar: int
    id: int
    ahead: int


class _RowShown(NamedTuple):
    """All that a row of the table shows."""

    mark: str
    rank: str
    data: bytes
    """The token's piece."""
    control: bool
    bias: float
    prob: float
    final: float | None
    cut: str
    """The name of the stage of the lens that cut the token."""
    settled: bool
    """Whether the lens's numbers belong to the present lens."""
    times_drawn: int
    bar: float
    """The bar's length, 0 to 1."""
    token: int
    ahead: str
    style: str


@lru_cache(1024)
def _row_line(widths: _ColumnWidths, row: _RowShown) -> Line:
    """A row of the table, as wide as its columns. Cached, as frames repeat most: the line is shared, never changed."""
    style = row.style
    struck = f"class:cut {style}".strip() if row.cut else ""
    raw = number(row.prob) if widths.prob else ""
    line = [
        (style, (row.mark or " ") + row.rank.rjust(widths.rank - 1) + " "),
        *_name(row, widths.token, struck),
        (style, " " * (bool(widths.prob) + widths.prob - len(raw))),
        (struck or style, raw),
        (style, " "),
    ]
    over = 0
    if widths.final:
        chance, over = _chance(row, widths)
        line.append(chance)
    if widths.drawn:
        line.append((style, str(row.times_drawn or "").rjust(widths.drawn) + " "))
    bar_style = style if over or "class:dim" in style else f"class:bar {style}".strip()
    line.append((bar_style, bar(row.bar, widths.bar - over)))
    if widths.id:
        line.append((style, " " + str(row.token).rjust(widths.id)))
    if widths.ahead:
        dim = style if "class:dim" in style else f"class:dim {style}".strip()
        ahead = clip(row.ahead, widths.ahead)
        line += [(dim, (" " if widths.bar else "") + ahead), (style, " " * (widths.ahead - cells_of(ahead)))]
    return joined(line)


def _name(row: _RowShown, cells: int, struck: str) -> Line:
    """The token, and its logit bias."""
    name = label(glimpse(row.data)) or "‹empty›"
    amount = bias_text(row.bias)
    room = cells - (cells_of(amount) + 1 if amount else 0)
    if struck:  # the blanks after the name are not struck through
        name = clip(name, room)
        parts = [(struck, name), (row.style, " " * (room - cells_of(name)))]
    else:
        parts = [("class:special" if row.control and not row.style else row.style, pad(name, room))]
    return [*parts, (row.style, f" {amount}" if amount else "")]


def _chance(row: _RowShown, widths: _ColumnWidths) -> tuple[Fragment, int]:
    """The final probability, or the name of the stage that cut the token; and the cells that takes of the bar."""
    style = row.style
    if not row.cut:
        # Until the lens's numbers come, those of the last lens are shown, dimmed.
        final = style if row.settled or "class:dim" in style else f"class:dim {style}".strip()
        return (final, ("" if row.final is None else number(row.final)).rjust(widths.final) + " "), 0
    name = clip(row.cut, widths.final + (0 if widths.counts else widths.bar))
    final = style if "class:dim" in style else f"class:{'stage' if row.settled else 'dim'} {style}".strip()
    return (final, name.rjust(widths.final) + " "), max(0, cells_of(name) - widths.final)


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
