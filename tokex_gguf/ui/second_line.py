"""The line below the status: what is typed, a notice, or the legend and the numbers of a token. Pure."""

import math
from collections.abc import Callable

from tokex_gguf.engine.protocol import Capability
from tokex_gguf.play import compared
from tokex_gguf.play.game import split_otherwise, without_text
from tokex_gguf.play.screens import Find, Input, SearchScreen, TypingScreen
from tokex_gguf.play.session import Palette, Session
from tokex_gguf.play.table import selected_row, table
from tokex_gguf.ui import theme
from tokex_gguf.ui.cells import Line, cells_of, choose, clip, clip_start, longest, spread, under_caret, width_of
from tokex_gguf.ui.lens_lines import percent
from tokex_gguf.ui.prompt_pane import Path
from tokex_gguf.ui.screen_table import PANES, WIDE_CELLS, shown
from tokex_gguf.ui.versus import token_delta
from tokex_gguf.ui.wrap import paragraph
from tokex_gguf.values.distribution import Distribution, TokenLogprob, normalised
from tokex_gguf.values.formatting import NARROW as NARROW_BITS
from tokex_gguf.values.formatting import between, number, rank_text, short_text
from tokex_gguf.values.layers import (
    COST,
    DELTA,
    ENTROPY,
    PLAIN,
    PROBABILITY,
    RANK,
    REACHABLE,
    SURPRISAL,
    Layer,
    LensLayer,
)
from tokex_gguf.values.lens import GRAMMAR, Sampled
from tokex_gguf.values.ranking import Ranking, entropies, surprisals
from tokex_gguf.values.tokens import glimpse, label, visible
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT

EXACT_BY = {ENTROPY: Capability.EXACT_ENTROPY, RANK: Capability.EXACT_RANKS}
"""The capability by which the colours of a layer are exact; without it they are bounds."""


MONOCHROME_STEPS = 4
"""Steps of a layer without colours."""


NEAR_TOKENS = 4
"""Tokens: within these from the place where a prompt is split unlike the tokenizer, the status says so first."""


def second_line(session: Session, width: int) -> Line:
    """The line being typed, or the notice, else the layer's legend and the numbers of the token under the cursor."""
    if isinstance(session.screen, TypingScreen):
        return _input(session, session.screen, width)
    if session.notice_line:
        return _notice_lines(session, width)[0]
    parts: list[tuple[int, Line]] = []
    follow_ups: tuple[int, ...] = ()
    if session.options.layer is not PLAIN:
        least = session.options.layer in EXACT_BY and not session.game.can(EXACT_BY[session.options.layer])
        parts.append(
            (9, legend(session.options.layer, session.options.palette, 16 if width >= WIDE_CELLS else 8, least=least))
        )
    if session.options.layer is DELTA and session.game.comparison is None:
        parts.append((9, [("class:notice", "nothing is compared: v")]))
    if isinstance(session.options.layer, LensLayer) and (lacking := session.options.layer.lacking(session.lens)):
        parts.append((9, [("class:notice", lacking)]))
    path = shown(session)
    if session.game.model and isinstance(path, Path):
        cursor, tip = path.cursor, path.base
        if (differs := token_delta(session)) and tip is session.game.prompt.tip:
            parts.append((9, differs))
        if tip.differs is not None:
            text = split_otherwise(session.game, tip)
            if width < WIDE_CELLS and cursor is not None and not without_text(session.game, tip):
                text = f"split otherwise from {tip.differs + 1} on: T"
            near = cursor is not None and abs(cursor.depth - 1 - tip.differs) <= NEAR_TOKENS
            parts.append((9 if near else 8 if cursor is None else 4, [("class:dim", text)]))
        if cursor is not None:
            parts += _token_parts(session, tip, cursor, choices=width >= WIDE_CELLS)
        else:
            choices = width >= WIDE_CELLS or session.options.layer is PLAIN
            follow_ups = (
                (len(parts) + 1,) if _strict_numbers(session, tip, tip)[0] is not None else ()
            )  # the rank of the last token
            parts += _tip_parts(session, tip, session.game.model.vocab_size, choices=choices, wide=width >= WIDE_CELLS)
        if (tip, cursor) == (session.game.prompt.tip, session.game.prompt.cursor):  # lists show other places
            parts += _chance_of_others(session, 6 if cursor is None else 4)
    return [("", " "), *choose(parts, width - 1, further=follow_ups)]


def _notice_lines(session: Session, width: int, most: int | None = None) -> list[Line]:
    """The notice in as many lines as it takes, or `most` of them."""
    return [[("class:notice", f" {line}")] for line in paragraph(visible(session.notice_line), width - 2, most)]


def notice_overflow(session: Session, width: int, key_lines: int) -> list[Line]:
    """The lines of the notice that its own line has no room for. They replace the footer's keys until the next key.

    Where the footer has fewer lines, the notice takes some of those above the status, too.
    """
    if not session.notice_line or (isinstance(session.screen, Input) and _spaced_twice(session, session.screen)):
        return []
    most = key_lines + MOST_LINES_LENT
    if isinstance(session.screen, TypingScreen):
        beside = cells_of(visible(session.notice_line)) < _cells_beside_input(session.screen, width)
        return [] if beside else _notice_lines(session, width, most)
    return _notice_lines(session, width, 1 + most)[1:]


MOST_LINES_LENT = 2
"""Lines above the status that a long notice may take, at the most."""


def _cells_beside_input(typing: TypingScreen, width: int) -> int:
    """Cells for a notice at the end of the line being typed, so that the text before it stays in sight."""
    head = f" {PANES[type(typing)].label}: "
    return max(0, width - len(head) - max(12, width // 5))


def _strict_numbers(session: Session, tip: Node, node: Node) -> tuple[TokenLogprob | None, Distribution | None]:
    """A token's numbers and the distribution after it; of the active prompt, the strict ones during a comparison."""
    if tip is session.game.prompt.tip:
        return compared.of_token(session, node), compared.distribution_after(session, node)
    return node.taken, node.distribution


def _tip_parts(session: Session, tip: Node, vocabulary: int, *, choices: bool, wide: bool) -> list[tuple[int, Line]]:
    """The last token's own numbers, and the entropy of the distribution after it."""
    parts: list[tuple[int, Line]] = []
    taken, distribution = _strict_numbers(session, tip, tip)
    if taken is not None:
        name = clip(label(glimpse(session.game.piece(tip.token).data)), 20)
        parts.append((7, [("class:dim", "last token "), ("", name), ("class:dim", "  p "), ("", number(taken.prob))]))
        parts.append((4, [("class:dim", "rank "), ("", rank_text(taken))]))
    if distribution is not None:
        name = "next: entropy " if wide else "next entropy "
        line: Line = [("class:dim", name), ("", f"{_entropy(distribution)} bits")]
        if vocabulary:
            share = _entropy(distribution, lambda bits: normalised(bits, vocabulary) or 0)
            line.append(("class:dim", f" ({share})"))
        if choices and isinstance(session.lens, Sampled):  # a lens leaves less room: both or neither
            line += [("", "  "), *_choices(distribution)]
        parts.append((6, line))
        if choices and not isinstance(session.lens, Sampled):
            parts.append((5, _choices(distribution)))
    return parts


def _chance_of_others(session: Session, importance: int) -> list[tuple[int, Line]]:
    """The probability of all tokens but the selected one: raw and, through a lens, final."""
    place = session.game.prompt.place
    rows = table(session, place)
    if not rows or session.on(SearchScreen) or session.current is not session.screen:
        return []
    row = rows[selected_row(session, place)]
    compares = session.game.comparison is not None
    difference = compared.rows_by_token(session, place).get(row.token)
    taken = compared.of_row(place.tip, row.token, difference) if compares else row.taken
    if taken is None:
        return []
    raw = _all_but(math.exp(min(0.0, taken.logprob)))
    line: Line = [
        ("class:dim", "all but “"),
        ("", clip(label(glimpse(session.game.piece(row.token).data)), 12)),
        ("class:dim", "”: "),
        ("", raw),
    ]
    if not isinstance(session.lens, Sampled) or compares:  # final probabilities are of the first answers
        return [(importance, line)]
    verdict = session.view.verdicts.get(row.token) if session.view else None
    if verdict is not None:
        line += [("class:dim", " raw, "), ("", _all_but(verdict.final)), ("class:dim", " final")]
    return [(importance + 2, line)]


def _all_but(prob: float) -> str:
    """1 less a probability in percent; below 100 % unless that is 0."""
    return percent(max(0.0, min(1 - prob, 0.9999)) if prob > 0 else 1.0)


def _token_parts(session: Session, tip: Node, node: Node, *, choices: bool) -> list[tuple[int, Line]]:
    """All numbers of a token of the prompt; #1 marks the prompt's highest."""
    piece = session.game.piece(node.token)
    # The quantity of the layer goes first: the player looks for it.
    importance = {SURPRISAL: 8, PROBABILITY: 7, ENTROPY: 6, RANK: 5}
    importance |= {session.options.layer: 9} | ({session.game.prompt.sought: 9} if session.game.prompt.sought else {})
    parts: list[tuple[int, Line]] = [(9, [("bold", clip(label(glimpse(piece.data)), 20))])]
    taken, _ = _strict_numbers(session, tip, node)
    # Ranks within the path exist for the first answers only.
    ranked = session.game.comparison is None or tip is not session.game.prompt.tip
    if taken is not None:
        parts.append((importance[PROBABILITY], [("class:dim", "p "), ("", number(taken.prob))]))
        parts.append((importance[RANK], [("class:dim", "rank "), ("", rank_text(taken))]))
        surprisal: Line = [("class:dim", "surprisal "), ("", f"{taken.surprisal:.2f} bits")]
        place = _rank_in_path(tip, taken.surprisal, surprisals) if ranked else []
        parts.append((importance[SURPRISAL], [*surprisal, *place]))
    if node.parent and (before := _strict_numbers(session, tip, node.parent)[1]):
        entropy: Line = [("class:dim", "entropy "), ("", f"{_entropy(before)} bits")]
        exact = session.game.can(Capability.EXACT_ENTROPY)
        entropy += _rank_in_path(tip, before.entropy_bits, entropies, "#" if exact else "≈ #") if ranked else []
        if choices:
            entropy += [("", "  "), *_choices(before)]
        parts.append((importance[ENTROPY], entropy))
    parts += _lens_parts(session, node)
    parts.append((4, [("class:dim", f"id {node.token}")]))
    parts.append((3, [("class:dim", f"bytes {piece.data[:12].hex(' ')}{'…' if len(piece.data) > 12 else ''}")]))
    return parts


def _lens_parts(session: Session, node: Node) -> list[tuple[int, Line]]:
    """The final probability of a token of the prompt, or what cut it; and its cost."""
    lens = session.lens
    if not isinstance(lens, Sampled) or (verdict := session.game.known.lens_results.verdict(lens, node)) is None:
        return []
    if verdict.cut_by != NOT_CUT:
        outcome: Line = [("class:stage", f"cut by {lens.stage(verdict.cut_by)}")]
    elif math.isnan(verdict.final):
        outcome = [("class:dim", "can be drawn")]
    else:
        outcome = [("class:dim", "final "), ("", number(verdict.final))]
    parts = [(9 if session.options.layer is REACHABLE or verdict.cut_by != NOT_CUT else 6, outcome)]
    if lens.constraint is not None and (verdict.cut_by == NOT_CUT or lens.stage(verdict.cut_by) != GRAMMAR):
        cost: Line = [("class:dim", "cost "), ("", f"{short_text(verdict.cost_bits)} bits")]
        parts.append((9 if session.options.layer is COST else 6, cost))
    return parts


def _entropy(distribution: Distribution, scaled: Callable[[float], float] = lambda bits: bits) -> str:
    """An entropy, scaled: its two bounds, or one number where these are close."""
    wide = distribution.slack_bits >= NARROW_BITS
    return between(scaled(distribution.entropy_bits), scaled(distribution.most_bits), "{:.2f}".format, wide=wide)


def _choices(distribution: Distribution) -> Line:
    """2^H: how many equally likely tokens have this entropy."""

    def text(count: float) -> str:
        return f"{count:.1f}" if count < 100 else f"{count:,.0f}"

    wide = distribution.slack_bits >= NARROW_BITS
    count = between(2**distribution.entropy_bits, 2**distribution.most_bits, text, wide=wide)
    return [("class:dim", "2^H "), ("", count)]


def _rank_in_path(tip: Node, bits: float, ranking: Callable[[Node], Ranking], sign: str = "#") -> Line:
    """The rank of a value among those of a path, once all are known."""
    return [] if tip.logprob is None else [("class:dim", f" {sign}{ranking(tip).place(bits)}")]


def _input(session: Session, typing: TypingScreen, width: int) -> Line:
    """The line being typed, with its caret."""
    right: Line = []
    if isinstance(typing, Input) and _spaced_twice(session, typing):
        right = [("class:notice", "there is a space before it already ")]
    elif session.notice_line and cells_of(visible(session.notice_line)) < _cells_beside_input(typing, width):
        right = [("class:notice", visible(session.notice_line) + " ")]
    elif session.notice_line:
        right = []
    elif isinstance(typing, SearchScreen) and typing.rows is not None:
        fault = visible(typing.fault)
        right = [("class:notice", fault + " ")] if fault else [("class:dim", _count_found(typing))]
    elif isinstance(typing, Find):
        right = [("class:dim", _match_place(typing))]
    elif note := PANES[type(typing)].note(session):
        right = [("class:dim", note)]
    head = f" {PANES[type(typing)].label}: "
    right = [(style, clip(text, _cells_beside_input(typing, width))) for style, text in right]
    text, caret = typing.line.text, typing.line.caret
    room = max(10, width - len(head) - width_of(right) - 2)
    # Only the part of the text that can be in sight is looked at, however long the text is.
    start, end = max(0, caret - longest(room)), caret + 1 + longest(room)
    under, after = visible(text[caret : caret + 1]) or " ", clip(visible(text[caret + 1 : end]), room)
    before, under = under_caret(visible(text[start:caret]), under)
    before = clip_start(before, max(room * 2 // 3, room - cells_of(under + after)), more=start > 0)
    style = "class:selected" if typing.line.selected else "class:input"
    line: Line = [("class:label", head), (style, before), ("reverse", under), ("class:input", after)]
    return spread(line, right, width)


def _spaced_twice(session: Session, typing: Input) -> bool:
    """Whether the typed text begins with a space, and the path before it ends with one."""
    return typing.line.text.startswith(" ") and session.game.piece(typing.base.token).data.endswith(b" ")


def _count_found(searching: SearchScreen) -> str:
    """How many tokens were found; of a single one, whether it was found by its id."""
    text, query = searching.line.text, searching.line.text.strip()
    if query and text != query and not query.startswith('"'):
        return f"{searching.total} found; spaces count in quotes "
    if searching.total == 0:
        return "no token has this: Esc, then i, types it as several "
    if searching.total == 1 and searching.rows and query == str(searching.rows[0].token):
        return "1 found, by its id "
    return f"{searching.total} found "


def _match_place(finding: Find) -> str:
    """The number of the match under the cursor, and of all."""
    if finding.match:
        return f"{finding.match.nth} of {finding.match.total} "
    return "not in the prompt " if finding.query and not finding.line.selected else ""


def legend(layer: Layer, palette: Palette, cells: int = 16, *, least: bool = False) -> Line:
    """The layer's name and its scale. `least`: the values are lower bounds."""
    bounds: Line = [("class:label", " at least")] if least else []
    if layer.steps:
        last = len(layer.steps) - 1
        line: Line = [("class:label", f"{layer.name} ")]
        for index, name in enumerate(layer.steps):
            line += [(theme.shade(layer.name, index / last), f" {name} "), ("", " ")]
        return [*line[:-1], *bounds]
    if palette is Palette.MONOCHROME:
        # Bold does not show on a blank.
        samples = [
            (theme.shade(layer.name, (index + 0.5) / MONOCHROME_STEPS), "abc") for index in range(MONOCHROME_STEPS)
        ]
        return [("class:label", f"{layer.name} {layer.low} "), *samples, ("class:label", f" {layer.high}"), *bounds]
    shades = [(theme.shade(layer.name, (index + 0.5) / cells), " ") for index in range(cells)]
    return [("class:label", f"{layer.name} {layer.low} "), *shades, ("class:label", f" {layer.high}"), *bounds]
