"""The screen of a comparison of two models, besides what any comparison shows. Pure."""

from tokex_gguf.engine.protocol import Capability
from tokex_gguf.play.compared import of_row
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.purposes import ForAgainst, ForCompanion, ForDifference, ForExport, ForStrict
from tokex_gguf.play.session import Session
from tokex_gguf.play.versus import AgainstModel, ByDistributions, ByText, Pair, Parting, Turn
from tokex_gguf.ui.cells import Line, cells_of, choose, clip, clip_start, fit, pad, width_of
from tokex_gguf.values.comparison import PathComparison
from tokex_gguf.values.distribution import Candidate
from tokex_gguf.values.figures import FLOOR_BITS
from tokex_gguf.values.formatting import number, rank_text, share_text
from tokex_gguf.values.lens import RAW
from tokex_gguf.values.text_comparison import TextComparison
from tokex_gguf.values.tokens import glimpse, label, token_name
from tokex_gguf.values.tree import Node

RANK_CELLS, NUMBER_CELLS = 6, 7
"""Cells of the columns of a rank, and of a probability."""


WITH_FIGURES = 7
"""Lines from which a table has room for the figures beside a row, the comparison, and both continuations."""


def _has_figures(pair: Pair, height: int) -> bool:
    return pair.parting is None or height >= WITH_FIGURES


def count_below(session: Session, height: int) -> int:
    """Lines below a table of `height` lines, about two models."""
    pair = session.paired
    if not isinstance(pair, Pair):
        return 0
    return _has_figures(pair, height) + 2 * (pair.parting is not None)


def lines_below(session: Session, width: int, height: int) -> list[Line]:
    """How two models differ over the prompt, and how each continues from where they part."""
    pair = session.paired
    if not isinstance(pair, Pair):
        return []
    lines = [_figures_line(pair, width)] if _has_figures(pair, height) else []
    if pair.parting:
        lines += [_continuation_line(pair.parting, which, width) for which in (0, 1)]
    return [fit(line, width) for line in lines]


def state(session: Session) -> Line:
    """Why the second model does not answer; empty where all is well."""
    second = session.second
    if second is None or second is session.game:
        return []
    if isinstance(session.paired, Pair) and session.paired.turn in (Turn.A, Turn.DUE):
        waits = session.difference is None and session.paired.turn is Turn.A and session.paired.held is None
        return [("class:notice", " B is not loaded: r compares what is new")] if waits else []
    if second.engine is EngineStatus.DEAD:
        return [("class:fault", " B: engine stopped, r restarts it")]
    if second.silence:
        return [("class:fault", f" B: silent for {second.silence:.0f} s, r restarts it")]
    if second.engine is EngineStatus.LOADING:
        return [("class:busy", " B: "), ("class:dim", f"loading the model {100 * second.health.progress:3.0f} %")]
    return []


def awaited_of_both(session: Session) -> str:
    """Work of both models or on two prompts that the player waits for while A's table is there; empty without any."""
    if isinstance(session.paired, Pair) and session.paired.is_parting:
        return "looking where they part"
    return "comparing" if _awaits_numbers(session) else ""


def _awaits_numbers(session: Session) -> bool:
    """Whether the shown table lacks numbers of a comparison, which are being computed or will be."""
    game, second = session.game, session.second
    comparison = game.comparison if game.prompts else None
    if comparison is None or game.engine is not EngineStatus.READY or not game.can(Capability.COMPARISON):
        return False
    tip, cursor = game.prompt.place.tip, game.prompt.cursor
    if not tip.depth or not comparison.comparable(tip, cursor):
        return False
    lacks_a, lacks_b = session.difference is None and tip.strict is None, session.difference is None
    if by_text(session):
        counterpart = place_of_b(session, tip)
        lacks_b = counterpart is None or counterpart.strict is None
        reads = second is not None and not second.silence and second.newest(ForCompanion) is not None
        if reads or (lacks_b and game.lookahead_awaited and _can_go_on(session)):
            return True
    if lacks_b and goes_on(session) and not _refused_by(session) and _can_go_on(session):
        return True
    strict = game.newest(ForStrict)
    # What is compared is requested behind lookahead.
    return lacks_a and (game.lookahead_awaited or (strict is not None and strict[1].going))


def _can_go_on(session: Session) -> bool:
    """Whether the engines that a comparison needs next are there."""
    pair, second = session.paired, session.second
    if not isinstance(pair, Pair) or second is None:
        return True
    return (pair.turn is Turn.BOTH and second.engine is EngineStatus.READY) or pair.held is not None


def awaited(session: Session) -> Line:
    """Says that the difference of A and B is being computed, or why it never will be."""
    if session.game.engine is not EngineStatus.READY:
        return [("class:dim", " the engine is not there")]
    if isinstance(pair := session.paired, Pair):
        if pair.fault and isinstance(pair.way, ByDistributions):
            return [("class:notice", f" nothing can be compared: {pair.fault}")]
        if isinstance(pair.way, ByText) and pair.way.of(session.game.prompt.tip) is None:
            return [("class:notice", " B has not read this text")]
    if name := _refused_by(session):
        return [("class:notice", f" {name} refused this: it is not compared")]
    return [("class:dim", " … is being computed" if by_text(session) else " KL … is being computed")]


def goes_on(session: Session) -> bool:
    """Whether the comparison goes on by itself: no request was refused, and the engines live."""
    pair, game, comparison, second = session.paired, session.game, session.game.comparison, session.second
    if any(side is not None and (side.engine is EngineStatus.DEAD or side.silence) for side in (game, second)):
        return False
    if not isinstance(pair, Pair) or second is None:
        lacking = comparison.lacking() if isinstance(comparison, PathComparison) else None
        return lacking is None or (ForStrict, lacking.path, RAW) not in game.refused
    if pair.turn is Turn.A and pair.held is None:
        return False
    ready = pair.way.of(game.prompt.tip) is not None if isinstance(pair.way, ByText) else not pair.fault
    return ready and not _refused_by(session)


def _refused_by(session: Session) -> str:
    """Which engine refused the request for this difference; empty where none did."""
    pair, game, comparison, second = session.paired, session.game, session.game.comparison, session.second
    tip, place = game.prompt.tip, game.prompt.place.tip
    if not isinstance(pair, Pair) or second is None:
        other = comparison.place(place, game.prompt.cursor) if isinstance(comparison, PathComparison) else None
        refused = any((ForDifference, node, RAW) in game.refused for node in (place, other))
        return "the engine" if refused else ""
    if isinstance(pair.way, ByText):
        a, b = (ForStrict, tip, RAW) in game.refused, (ForStrict, pair.way.of(tip), RAW) in second.refused
    else:
        part = tip.ancestor(place.depth + 1)
        a, b = (ForAgainst, part, RAW) in game.refused, (ForExport, part, RAW) in second.refused
    return "A" if a else "B" if b else ""


def _figures_line(pair: Pair, width: int) -> Line:
    """How the models differ, in llama-perplexity's figures; with different vocabularies, the bits of the text."""
    if isinstance(pair.way, ByText):
        rates = pair.way.comparison.rates
        if rates is None:
            return [("class:dim", " different vocabularies: compared by the bytes of the text")]
        (a, b), words = rates.per_byte, rates.per_word
        parts: list[tuple[int, Line]] = [(2, [("class:dim", "bits per byte "), ("", f"A {a:.3f} B {b:.3f}")])]
        if words is not None:
            parts.append((1, [("class:dim", "per word "), ("", f"A {words[0]:.2f} B {words[1]:.2f}")]))
        gap = "  " if sum(width_of(part) + 2 for _, part in parts) < width else " "
        return [("", " "), *choose(parts, width - 1, gap)]
    sums = pair.way.comparison.sums
    if sums is None:
        return []
    # Files of the very same weights differ by up to the floor.
    negligible = sums.mean_kl_bits <= FLOOR_BITS
    if sums.mean_kl_bits > 0 and negligible:  # it says nothing of the models
        return [("class:dim", f" KL mean {sums.mean_kl_bits:.3g} bits: kernels alone do that")]
    parts = [
        (4, [("class:dim", "KL mean "), ("class:dim" if negligible else "", f"{sums.mean_kl_bits:.3g} bits")]),
        (3, [("class:dim", "same top "), ("", share_text(sums.same_top, ""))]),
        (2, [("class:dim", "Δp "), ("", share_text(sums.delta_p_rms, ""))]),
        (1, [("class:dim", "ppl ×"), ("", f"{sums.perplexity_ratio:.3f}")]),
    ]
    gap = "  " if sum(width_of(part) + 2 for _, part in parts) < width else " "
    return [("", " "), *choose(parts, width - 1, gap)]


def _continuation_line(parting: Parting, which: int, width: int) -> Line:
    """How one of the two models continues; marked from where they part."""
    way, pieces, parts_at = parting.ways[which], parting.pieces[which], parting.apart
    data = [glimpse(pieces[node.token].data) for node in way]
    name = " A … " if which == 0 else " B … "
    room = width - len(name)
    if parts_at is None:
        return [("class:dim", name), ("", clip(label(b"".join(data)), room))]
    # A character may consist of several tokens.
    before, after = label(b"".join(data[: parts_at[which]])), label(b"".join(data[parts_at[which] :]))
    shown = clip(after, max(room // 2, room - cells_of(before)))
    return [("class:dim", name), ("", clip_start(before, room - cells_of(shown))), ("class:stage", shown)]


# --- the table where the vocabularies differ


def place_of_b(session: Session, node: Node) -> Node | None:
    """B's path with the text of a path of A, where the vocabularies differ and B has a token boundary there."""
    against = session.game.versus
    if not isinstance(against, AgainstModel) or not isinstance(against.comparison, TextComparison):
        return None
    return against.comparison.place(node)


def by_text(session: Session) -> bool:
    """Whether the table has B's tokens beside A's."""
    against = session.game.versus
    return isinstance(against, AgainstModel) and isinstance(against.comparison, TextComparison)


def heading(width: int) -> Line:
    """The columns' names."""
    cells, ranked = _cells(width)
    parts = [
        "rank".rjust(RANK_CELLS) if ranked else "",
        pad("A", cells),
        "prob".rjust(NUMBER_CELLS),
        " " + pad("B", cells),
        "prob".rjust(NUMBER_CELLS),
    ]
    return fit([("class:head", " ".join(parts))], width)


def row_start(mark: str, rank: str) -> str:
    """A row's mark and rank. A rank of six digits takes the blanks around it, so that no column moves.

    >>> row_start("", "7"), row_start("·", "7"), row_start("", "123456"), row_start("·", "123456")
    ('     7 ', '·    7 ', '123456 ', '·123456')
    """
    text = (mark or " ") + rank.rjust(RANK_CELLS - 1)
    return (text if len(text) <= RANK_CELLS else text.lstrip(" ")).ljust(RANK_CELLS + 1)


LEAST_NAME = 6
"""Cells of a token's column from which there is one for the rank."""


def _cells(width: int) -> tuple[int, bool]:
    """Cells of each model's tokens, and whether there is room for the rank."""
    without = (width - 2 * NUMBER_CELLS - 6) // 2
    cells = (width - RANK_CELLS - 2 * NUMBER_CELLS - 5) // 2
    return (cells, True) if cells >= LEAST_NAME else (max(1, without), False)


def row(session: Session, node: Node, candidate: Candidate, width: int, style: str, mark: str) -> Line:
    """A token of A after a path, and B's token of the same rank.

    Numbers without a strict answer yet are left out.
    """
    cells, ranked = _cells(width)
    a = of_row(node, candidate.token, None)
    line: Line = [
        (style, row_start(mark, "" if a is None else rank_text(a)) if ranked else mark or " "),
        (style, _name(session.game.piece(candidate.token).data, cells)),
        (style, " " + ("" if a is None else number(a.prob)).rjust(NUMBER_CELLS)),
    ]
    counterpart, second = place_of_b(session, node), session.second
    distribution = counterpart.strict if counterpart else None
    if a is None or distribution is None or second is None or a.rank > len(distribution):
        return fit(line, width, style)
    b = distribution.candidate(a.rank - 1)
    line += [
        (style, "  " + _name(second.piece(b.token).data, cells)),
        (style, " " + number(b.prob).rjust(NUMBER_CELLS)),
    ]
    return fit(line, width, style)


def _name(data: bytes, cells: int) -> str:
    return pad(clip(token_name(data), cells), cells)
