"""The screen of a comparison: the columns of A and B, the lines below the table, the status. Pure."""

from typing import NamedTuple

from tokex_gguf.play.compared import of_row
from tokex_gguf.play.rules.versus import called, shares_nothing, unshared
from tokex_gguf.play.session import Session
from tokex_gguf.ui import second
from tokex_gguf.ui.cells import Line, cells_of, clip, fit, pad, width_of
from tokex_gguf.ui.second import NUMBER_CELLS, RANK_CELLS
from tokex_gguf.values.difference import TokenPair
from tokex_gguf.values.distribution import Candidate
from tokex_gguf.values.formatting import bits_text, number, rank_text
from tokex_gguf.values.layers import DELTA
from tokex_gguf.values.tokens import glimpse, label, token_name
from tokex_gguf.values.tree import Node

LINES_BELOW = 2
"""Lines below the rows."""
BITS_CELLS, MOVED_CELLS = 7, 5
"""Cells of the columns, without the token's."""


def _moved(row: TokenPair) -> str:
    """By how many ranks the token is higher or lower in A than in B."""
    if row.moved == 0:
        return "="
    steps = f"{abs(row.moved)}" if abs(row.moved) < 10_000 else f"{abs(row.moved) // 1000}k"
    return ("↑" if row.moved < 0 else "↓") + steps


LEAST_TOKEN = 8
"""Cells of the token's column, at the least: where there are fewer, other columns are left out."""


class _BothColumns(NamedTuple):
    """Cells of the token's column, and whether there is room for some others."""

    token: int
    rank: bool
    bits: bool
    moved: bool

    @classmethod
    def of(cls, width: int) -> "_BothColumns":
        """The columns of a table: beside the sampler chain, there is no room for all of them."""
        for rank, bits, moved in ((True, True, True), (True, True, False), (False, True, False)):
            others = (RANK_CELLS + 1 if rank else 1) + bits * (BITS_CELLS + 1) + moved * (MOVED_CELLS + 1)
            token = width - others - 2 * (NUMBER_CELLS + 1) - 1
            if token >= LEAST_TOKEN:
                return cls(token, rank, bits, moved)
        return cls(max(1, width - 2 * (NUMBER_CELLS + 1) - 2), rank=False, bits=False, moved=False)


def heading(width: int, *, by_delta: bool) -> Line:
    """The columns' names."""
    columns = _BothColumns.of(width)
    parts = ["rank".rjust(RANK_CELLS) if columns.rank else ""]
    parts += [pad("token", columns.token), "A".rjust(NUMBER_CELLS), "B".rjust(NUMBER_CELLS)]
    parts += [("Δ ↓" if by_delta else "Δ bits").rjust(BITS_CELLS)] if columns.bits else []
    parts += ["moved".rjust(MOVED_CELLS)] if columns.moved else []
    return fit([("class:head", " ".join(parts))], width)


def row(
    session: Session, node: Node, candidate: Candidate, difference: TokenPair | None, width: int, style: str, mark: str
) -> Line:
    """One token after a path, with a mark before it. Numbers without a strict answer yet are left out."""
    piece = session.game.piece(candidate.token)
    columns = _BothColumns.of(width)
    name = token_name(piece.data)
    a = of_row(node, candidate.token, difference)
    line: Line = [
        (style, second.row_start(mark, "" if a is None else rank_text(a)) if columns.rank else mark or " "),
        ("class:special" if piece.control and not style else style, pad(name, columns.token)),
        (style, " " + ("" if a is None else number(a.prob)).rjust(NUMBER_CELLS)),
    ]
    if difference is None:
        return fit(line, width, style)
    bits = bits_text(difference.delta_bits)
    noise = session.game.floor or 0.0
    look = style
    if "class:dim" not in style and abs(difference.delta_bits) > noise:
        look = f"class:{'gain' if difference.delta_bits > 0 else 'loss'} {style}".strip()
    line.append((style, " " + number(difference.b.prob).rjust(NUMBER_CELLS)))
    if columns.bits:
        line.append((look, " " + bits.rjust(BITS_CELLS)))
    if columns.moved:
        line.append((style, " " + _moved(difference).rjust(MOVED_CELLS)))
    return fit(line, width, style)


def below(session: Session, width: int) -> list[Line]:
    """The names of A and B, and how much their distributions differ after this path."""
    a, b = called(session)
    names: Line = [("class:dim", " A "), ("", clip(a, (width - 8) // 2)), ("class:dim", "  B "), ("", b)]
    return [fit(names, width), fit(_divergence(session, width), width)]


def _divergence(session: Session, width: int) -> Line:
    comparison, prompt = session.game.comparison, session.game.prompt
    if comparison is None or not prompt.place.tip.depth:
        return []
    if lacking := second.state(session):
        return lacking
    if not comparison.comparable(prompt.place.tip, prompt.cursor):
        is_start = prompt.cursor is not None and not comparison.inserted(prompt.cursor)
        reason = (
            "has no boundary here" if second.by_text(session) else "begins here" if is_start else "lacks this token"
        )
        return [("class:notice", f" B {reason}: there is nothing to compare with")]
    difference = session.divergence
    if difference is None and second.place_of_b(session, prompt.place.tip):
        return [("class:dim", " different vocabularies: no divergence")]
    if difference is None:
        return second.awaited(session)
    line: Line = [("class:dim", " KL here "), ("", f"{difference.kl_bits:.4g} bits")]
    if difference.flip:
        a, b = (label(glimpse(session.game.piece(token).data)) for token in (difference.first_a, difference.first_b))
        return [*line, ("class:stage", "  flip"), *_first_tokens(a, b, width - width_of(line) - 6)]
    return [*line, ("class:dim", "  the same token is first")]


def _first_tokens(a: str, b: str, width: int) -> Line:
    """The most likely tokens of A and B. Where room is short, both are cut."""
    for before, between in ((": first is A “", "”, B “"), (": A “", "”, B “")):
        room = width - cells_of(before + between) - 1
        if room >= cells_of(a) + cells_of(b):
            break
    else:
        a, b = clip(a, max(room // 2, room - cells_of(b))), clip(b, max(room - room // 2, room - cells_of(a)))
    return [("class:dim", before[:-1]), ("", f"“{a}”"), ("class:dim", between[1:-1]), ("", f"“{b}”")]


def status_parts(session: Session) -> list[tuple[int, Line]]:
    """How much A and B differ over the whole path, in parts by importance."""
    comparison = session.game.comparison
    if comparison is None:
        return []
    shared, compared = comparison.shared(session.game.prompt.tip), comparison.compared
    more, fewer = unshared(session)
    parts: list[tuple[int, Line]] = []
    if compared:
        total = comparison.deltas.total
        line: Line = [("class:notice", f"A−B {bits_text(total)} bits"), ("", f" over {compared:,}")]
        if compared < shared:
            line.append(("class:busy", f" of {shared:,} …") if second.goes_on(session) else ("", f" of {shared:,}"))
        parts.append((9, line))
        parts.append((7, [("", f"{bits_text(total / compared)} a token")]))
    elif compared < shared:
        progress = f"0/{shared:,} compared"
        parts.append((8, [("class:busy", f"… {progress}") if second.goes_on(session) else ("", progress)]))
    if more or fewer:
        parts.append((6, [("", " ".join([f"+{more:,}"] * bool(more) + [f"−{fewer:,}"] * bool(fewer)) + " tokens")]))
    elif why := shares_nothing(session):
        parts.append((8, [("", why)]))
    return parts


def token_delta(session: Session) -> Line:
    """The delta of the token under the cursor, or of the last one; or that B lacks it."""
    comparison, prompt = session.game.comparison, session.game.prompt
    node = prompt.cursor or prompt.tip
    if comparison is None:
        return []
    if comparison.inserted(node):
        return [("class:inserted", "B lacks it")]
    bits = comparison.delta(node)
    if bits is None:
        return []
    line: Line = [("class:dim", "Δ "), ("", f"{bits_text(bits)} bits")]
    if prompt.cursor is not None and prompt.nth and prompt.sought is DELTA:
        line.append(("class:dim", f" #{prompt.nth}"))
    if missing := comparison.missing(node):
        line.append(("class:notice", f"  B has {missing} more before it"))
    return line
