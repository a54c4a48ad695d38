"""What stands on the screen while something is compared: the columns of both, what is below them, the status. Pure."""

from tokex_gguf.play.compared import of_row
from tokex_gguf.play.rules.versus import called, shares_nothing, unshared
from tokex_gguf.play.session import Session
from tokex_gguf.ui import second
from tokex_gguf.ui.cells import Line, clip, fit, pad
from tokex_gguf.values.difference import Beside
from tokex_gguf.values.distribution import Candidate
from tokex_gguf.values.formatting import bits_text, number, rank_text
from tokex_gguf.values.tokens import glimpse, label
from tokex_gguf.values.tree import Node

BELOW = 2
"""Lines below the rows."""
RANK, NUMBER, BITS, MOVED = 6, 7, 7, 5
"""Cells of the columns besides the token's."""


def _moved(row: Beside) -> str:
    """By how many ranks it stands higher or lower in A than in B."""
    if row.moved == 0:
        return "="
    steps = f"{abs(row.moved)}" if abs(row.moved) < 10_000 else f"{abs(row.moved) // 1000}k"
    return ("↑" if row.moved < 0 else "↓") + steps


def _token_cells(width: int) -> int:
    """Cells that the token has; where there are too few, the rank by B goes."""
    return max(8, width - RANK - 2 * NUMBER - BITS - MOVED - 6)


def heading(width: int, *, by_delta: bool) -> Line:
    """The columns' names."""
    bits = "Δ ↓" if by_delta else "Δ bits"
    parts = ["rank".rjust(RANK), pad("token", _token_cells(width)), "A".rjust(NUMBER), "B".rjust(NUMBER)]
    return fit([("class:head", " ".join([*parts, bits.rjust(BITS), "moved".rjust(MOVED)]))], width)


def row(
    session: Session, node: Node, candidate: Candidate, beside: Beside | None, width: int, style: str, mark: str
) -> Line:
    """One token after a path, with a mark before it. What no strict answer has told yet is left out."""
    piece = session.game.piece(candidate.token)
    room = _token_cells(width)
    name = label(glimpse(piece.data)) or "‹empty›"
    a = of_row(node, candidate.token, beside)
    line: Line = [
        (style, (mark or " ") + ("" if a is None else rank_text(a)).rjust(RANK - 1) + " "),
        ("class:special" if piece.control and not style else style, pad(clip(name, room), room)),
        (style, " " + ("" if a is None else number(a.prob)).rjust(NUMBER)),
    ]
    if beside is None:
        return fit(line, width, style)
    bits = bits_text(beside.delta_bits)
    noise = session.game.floor or 0.0
    look = style
    if "class:dim" not in style and abs(beside.delta_bits) > noise:
        look = f"class:{'gain' if beside.delta_bits > 0 else 'loss'} {style}".strip()
    line += [
        (style, " " + number(beside.b.prob).rjust(NUMBER)),
        (look, " " + bits.rjust(BITS)),
        (style, " " + _moved(beside).rjust(MOVED)),
    ]
    return fit(line, width, style)


def below(session: Session, width: int) -> list[Line]:
    """What is compared, and by how much it differs here."""
    a, b = called(session)
    names: Line = [("class:dim", " A "), ("", clip(a, (width - 8) // 2)), ("class:dim", "  B "), ("", b)]
    return [fit(names, width), fit(_here(session), width)]


def _here(session: Session) -> Line:
    comparison, prompt = session.game.comparison, session.game.prompt
    if comparison is None or not prompt.place.tip.depth:
        return []
    if lacking := second.state(session):
        return lacking
    if not comparison.comparable(prompt.place.tip, prompt.cursor):
        begins = prompt.cursor is not None and not comparison.inserted(prompt.cursor)
        lacks = "has no boundary here" if second.by_text(session) else "begins here" if begins else "lacks this token"
        return [("class:notice", f" B {lacks}: there is nothing to compare with")]
    difference = session.divergence
    if difference is None and second.place_of_b(session, prompt.place.tip):
        return [("class:dim", " other vocabularies: no divergence")]
    if difference is None:
        return second.awaited(session)
    told: Line = [("class:dim", " KL here "), ("", f"{difference.kl_bits:.4g} bits")]
    if difference.flip:
        a, b = (label(glimpse(session.game.piece(one).data)) for one in (difference.first_a, difference.first_b))
        return [
            *told,
            ("class:stage", "  flip"),
            ("class:dim", ": first is A "),
            ("", f"“{a}”"),
            ("class:dim", ", B "),
            ("", f"“{b}”"),
        ]
    return [*told, ("class:dim", "  the same token is first")]


def told_on_status(session: Session) -> list[tuple[int, Line]]:
    """How much A and B differ altogether, in parts by their importance."""
    comparison = session.game.comparison
    if comparison is None:
        return []
    shared, known = comparison.shared(session.game.prompt.tip), comparison.compared
    more, fewer = unshared(session)
    parts: list[tuple[int, Line]] = []
    if known:
        total = comparison.deltas.total
        told: Line = [("class:notice", f"A−B {bits_text(total)} bits"), ("", f" over {known:,}")]
        if known < shared:
            told.append(("class:busy", f" of {shared:,} …") if second.goes_on(session) else ("", f" of {shared:,}"))
        parts.append((9, told))
        parts.append((7, [("", f"{bits_text(total / known)} a token")]))
    elif known < shared:
        none = f"0/{shared:,} compared"
        parts.append((8, [("class:busy", f"… {none}") if second.goes_on(session) else ("", none)]))
    if more or fewer:
        parts.append((6, [("", " ".join([f"+{more:,}"] * bool(more) + [f"−{fewer:,}"] * bool(fewer)) + " tokens")]))
    elif why := shares_nothing(session):
        parts.append((8, [("", why)]))
    return parts


def of_token(session: Session) -> Line:
    """By how much the token that is looked at, or the last one, differs; and that B lacks it, where it does."""
    comparison, prompt = session.game.comparison, session.game.prompt
    node = prompt.cursor or prompt.tip
    if comparison is None:
        return []
    if comparison.inserted(node):
        return [("class:inserted", "B lacks it")]
    bits = comparison.delta(node)
    if bits is None:
        return []
    told: Line = [("class:dim", "Δ "), ("", f"{bits_text(bits)} bits")]
    if prompt.cursor is not None and prompt.nth and prompt.sought and prompt.sought.name == "delta":
        told.append(("class:dim", f" #{prompt.nth}"))
    if missing := comparison.missing(node):
        told.append(("class:notice", f"  B has {missing} more before it"))
    return told
