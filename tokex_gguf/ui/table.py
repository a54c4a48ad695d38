"""The table of the next tokens: its rows, its columns, and what stands below them. Pure."""

import math
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import NamedTuple

from tokex_gguf.engine.protocol import Capability
from tokex_gguf.play.compared import rows_by_token
from tokex_gguf.play.game import Drawn, Prompt, Viewed
from tokex_gguf.play.screens import SearchScreen
from tokex_gguf.play.session import Session
from tokex_gguf.play.table import next_after, selected_row, table
from tokex_gguf.ui import second, versus
from tokex_gguf.ui.cells import MARKS, Fragment, Line, bar, cells_of, clip, fit, joined, pad
from tokex_gguf.ui.lens_lines import TALL, draw_lines, lines_of_draws, lines_of_view, view_lines
from tokex_gguf.ui.window import window
from tokex_gguf.values.distribution import Candidate
from tokex_gguf.values.formatting import bias_text, number, rank_text, share_text
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.lookahead import LONGEST_BRANCH, Place, following
from tokex_gguf.values.reachability import follows
from tokex_gguf.values.tokens import glimpse, spell, token_name
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT


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
    return f"ranks 1–{last}: {share_text(math.fsum(row.prob for row in rows[:last]))}" if last else ""


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


LEAST_TOKEN, FEW_TOKEN, MOST_TOKEN, LEAST_AHEAD = 10, 16, 20, 12
"""Cells of the token's column, and of the lookahead column beside it: what that has beyond twice its least goes to the
tokens."""
BIAS_CELLS = 7
"""Cells of a bias beside a token, with a blank."""
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
        biased = BIAS_CELLS if look.biases else 0  # beside the token's name
        if ahead is not None and rest >= LEAST_TOKEN + biased + 1 + LEAST_AHEAD:
            token = max(LEAST_TOKEN, min(FEW_TOKEN, rest // 4))
            self._id, self._token = 0, biased + token
            self._bar = 8 if rest - self._token >= 8 + 2 * LEAST_AHEAD else 0
            self._ahead = rest - self._token - self._bar - (1 if self._bar else 0)
            more = max(0, min(MOST_TOKEN - token, self._ahead - 2 * LEAST_AHEAD))
            self._token, self._ahead = self._token + more, self._ahead - more
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
        named = (f"bar: {name} {scale}".strip(), f"{name} {scale}" if scale else "") if name else ()
        heads = (*named, scale, scale.replace(" 0.", " ."), "bar" if name or scale else "")
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
    over_ahead = max(0, over - widths.bar)
    bar_style = style if over or "class:dim" in style else f"class:bar {style}".strip()
    line.append((bar_style, bar(row.bar, max(0, widths.bar - over))))
    if widths.id:
        line.append((style, " " + str(row.token).rjust(widths.id)))
    if widths.ahead:
        dim = style if "class:dim" in style else f"class:dim {style}".strip()
        room = widths.ahead - over_ahead
        ahead = clip(row.ahead, room)
        line += [(dim, (" " if widths.bar else "") + ahead), (style, " " * (room - cells_of(ahead)))]
    return joined(line)


def _name(row: _RowShown, cells: int, struck: str) -> Line:
    """The token, and its logit bias."""
    name = token_name(row.data)
    amount = clip(bias_text(row.bias), cells - 1)
    room = cells - (cells_of(amount) + 1 if amount else 0)
    if struck:  # the blanks after the name are not struck through
        name = clip(name, room)
        parts = [(struck, name), (row.style, " " * (room - cells_of(name)))]
    else:
        parts = [("class:special" if row.control and not row.style else row.style, pad(name, room))]
    return [*parts, (row.style, f" {amount}" if amount else "")]


def _chance(row: _RowShown, widths: _ColumnWidths) -> tuple[Fragment, int]:
    """The final probability, or the name of the stage that cut the token.

    And the cells that takes of the columns to the right: of the bar, then of what comes next, which a cut token lacks.
    """
    style = row.style
    if not row.cut:
        # Until the lens's numbers come, those of the last lens are shown, dimmed.
        final = style if row.settled or "class:dim" in style else f"class:dim {style}".strip()
        return (final, ("" if row.final is None else number(row.final)).rjust(widths.final) + " "), 0
    name = clip(row.cut, widths.final + (0 if widths.counts else widths.bar + widths.ahead))
    final = style if "class:dim" in style else f"class:{'stage' if row.settled else 'dim'} {style}".strip()
    return (final, name.rjust(widths.final) + " "), max(0, cells_of(name) - widths.final)
