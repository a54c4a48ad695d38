"""The second model's game, live beside the one that is played; what two models are asked to be compared by."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from tokex_gguf.engine.protocol import Against, Compared, EvaluateStrictly, Export, Exported
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.purposes import ForAgainst, ForCompanion, ForExport, ForStrict, Part
from tokex_gguf.play.requests import ON_A_LINE, answered, foreseeing, request, tokenize
from tokex_gguf.play.screens import PLAY
from tokex_gguf.play.session import EngineStatus, Game, Session, text_of
from tokex_gguf.play.versus import ByDistributions, ByText, Pair, Turn
from tokex_gguf.values.lens import RAW
from tokex_gguf.values.model_comparison import ModelComparison
from tokex_gguf.values.tree import Node

PART = 32
"""Positions that are compared together: a row takes four bytes for each token of the vocabulary."""
FEW = 2
"""Tokens of each table that are told of where the numbers of the prompt's own token are wanted alone."""


def in_front(session: Session, do: Callable[[Session], Outcome]) -> Outcome:
    """Does something with the second game in front, and puts it back. What there is to tell is told as B's."""
    pair, other = session.paired, session.beside
    assert isinstance(pair, Pair) and other is not None
    if other is session.game:
        return do(session)
    inside = replace(session, game=other, screen=PLAY, notice="")
    inside, effects = do(inside)
    notice = f"B: {inside.notice}" if inside.notice else session.notice
    others = {**inside.other_games, pair.key: inside.game}
    back = replace(inside, game=session.game, other_games=others, screen=session.screen, notice=notice)
    return back, effects


def one_vocabulary(session: Session) -> bool:
    """Whether both models have the same tokens, so that their distributions can be compared."""
    other = session.beside
    if other is None or session.game.model is None or other.model is None:
        return False
    return session.game.model.vocabulary == other.model.vocabulary != ""


def both_ready(session: Session) -> bool:
    """Whether both engines have loaded their models."""
    other = session.beside
    return other is not None and session.game.engine is other.engine is EngineStatus.READY


def resting(game: Game) -> bool:
    """Whether the engine of the game that is played has nothing to do that is waited for."""
    return game.ready and not game.autoplay and not game.waiting and not foreseeing(game)


def compare_models(session: Session) -> Outcome:
    """While nothing else is asked for, asks for what the comparison of two models lacks of the prompt."""
    pair, other = session.paired, session.beside
    if not isinstance(pair, Pair) or other is None:
        return session, []
    if pair.turn in (Turn.A, Turn.DUE) and pair.held is not None:
        return _against_all(session, pair, pair.held)
    if pair.turn is not Turn.BOTH or not both_ready(session):
        return session, []
    if not resting(session.game) or (pair.parting and not pair.parting.told):
        return session, []
    if isinstance(pair.way, ByText):
        return _compare_text(session, pair.way, other)
    asked, exporting = session.game.newest(ForAgainst), other.newest(ForExport)
    if not pair.file or (exporting and exporting[1].awaited) or (asked and asked[1].going):
        return session, []  # the file is not there, or it is written, or read
    wanted = _wanted(session, pair.way.comparison)
    if wanted is None:
        return session, []
    part, detailed = wanted
    if (ForExport, part.tip, RAW) in other.refused or (ForAgainst, part.tip, RAW) in session.game.refused:
        return session, []
    if pair.held and pair.held.same(part):
        return _against(session, part, pair.file, detailed=detailed)
    session = replace(session, paired=pair.holding(None))
    return in_front(session, lambda inside: _export(inside, part, pair.file))


def _wanted(session: Session, known: ModelComparison) -> tuple[Part, bool] | None:
    """What is to be compared next, and whether all that a table shows: the table, what is in sight, then all."""
    tip, cursor = session.game.prompt.tip, session.game.prompt.cursor
    place = session.game.prompt.place.tip
    if place.depth and not known.detailed(place):
        return _part(place.depth - 1, place.depth, session), True
    sight = session.rows * ON_A_LINE
    end = tip.depth if cursor is None else min(tip.depth, cursor.depth + sight // 2)
    nodes = known.lacking(tip, end - sight, end)
    if not nodes:
        first = known.first_lacking(tip)
        if first is None:
            return None
        nodes = known.lacking(tip, first, first + PART)
    run = [nodes[-1]]
    for node, then in pairwise(reversed(nodes)):
        if then.depth != node.depth - 1 or len(run) == PART:
            break
        run.append(then)
    return _part(run[-1].depth - 1, nodes[-1].depth, session), False


def _part(start: int, end: int, session: Session) -> Part:
    return Part(session.game.prompt.tip.ancestor(end + 1), start, end)


MOST_BYTES = 1 << 28
"""Of the rows that wait in the file, where the models take turns."""


def export_all(session: Session, pair: Pair) -> Outcome:
    """Asks B for all rows that lack of A's prompt, as far as there is room: it is there for this alone."""
    tip, known = session.game.prompt.tip, pair.way.comparison
    vocabulary = session.game.model.vocab_size if session.game.model else 1
    start = known.first_lacking(tip) if isinstance(known, ModelComparison) else None
    if start is None:
        return session, []
    end = min(tip.depth, start + max(1, MOST_BYTES // (4 * vocabulary)))
    return in_front(session, lambda inside: _export(inside, Part(tip.ancestor(end + 1), start, end), pair.file))


def _against_all(session: Session, pair: Pair, part: Part) -> Outcome:
    """Compares with all rows that B has left in the file."""
    newest, known = session.game.newest(ForAgainst), pair.way.comparison
    if not resting(session.game) or (newest and newest[1].going) or not isinstance(known, ModelComparison):
        return session, []
    if known.after(part.tip.ancestor(part.end)) and known.detailed(part.tip.ancestor(part.end)):
        return replace(session, paired=pair.holding(None)), []
    if (ForAgainst, part.tip, RAW) in session.game.refused:
        return session, []
    return _against(session, part, pair.file, detailed=True)


def _export(session: Session, part: Part, file: str) -> Outcome:
    """Asks B for the rows of a part of A's path: the same tokens in its own tree."""
    path = part.tip.path()
    return request(session, ForExport(part), lambda number: Export(number, path, part.start, part.end, file))


def _against(session: Session, part: Part, file: str, *, detailed: bool) -> Outcome:
    """Asks A how its distributions differ from the rows in the file."""
    path, top = part.tip.path(), session.game.settings.tokens_to_show if detailed else FEW
    return request(
        session,
        ForAgainst(part, detailed),
        lambda number: Against(number, path, part.start, part.end, file, top),
    )


def exported(session: Session, purpose: ForExport, message: Exported) -> Session | None:
    """The rows are in the file. B is in front. None: the answer is not to what was asked."""
    if (message.start, message.end) != (purpose.part.start, purpose.part.end):
        return None
    pair = session.paired
    # Where this model has come to the front meanwhile, it is the other one's rows that are wanted.
    if isinstance(pair, Pair) and pair.key == session.game.settings.model.key:
        session = replace(session, paired=pair.holding(purpose.part))
    return answered(session, message.request)


def compared(session: Session, purpose: ForAgainst, message: Compared) -> Session | None:
    """Some of a part are compared. None: the answer is not to what was asked."""
    part, end = purpose.part, message.start + len(message.differences)
    if not part.start <= message.start < end <= part.end:
        return None
    if isinstance(session.paired, Pair) and isinstance(session.paired.way, ByDistributions):
        known = session.paired.way.comparison
        nodes = part.tip.ancestor(end).nodes(message.start)
        told = session.game.pieces.keys()
        for node, difference in zip(nodes, message.differences, strict=True):
            tokens = {row.token for row in difference.rows}
            if not tokens | {difference.first_a, difference.first_b} <= told:
                return None
            following = part.tip.ancestor(node.depth + 1)
            if following is not node and (difference.taken is None or difference.taken.token != following.token):
                return None  # it would be asked for again and again
            known.keep(node, difference, detailed=purpose.detailed)
    return answered(session, message.request) if end == part.end else session


def _compare_text(session: Session, way: ByText, other: Game) -> Outcome:
    """Where the vocabularies differ: asks for B's tokens for the text of A's prompt, then for both's strict numbers."""
    tip, companion = session.game.prompt.tip, way.of(session.game.prompt.tip)
    if way.comparison.tip is tip or (ForCompanion, tip, RAW) in other.refused:
        return session, []
    if companion is None:
        newest = other.newest(ForCompanion)
        if newest and newest[1].target is tip:
            return session, []
        try:
            text = text_of(session.game, tip).decode()
        except UnicodeDecodeError:
            return session, []  # the prompt ends within a character
        return in_front(session, lambda inside: tokenize(inside, text, ForCompanion(tip)))
    own, lacks = _strictly(session, tip)
    there, lacks_b = in_front(own, lambda inside: _strictly(inside, companion))
    if lacks or lacks_b or tip.first_lax() < tip.depth or companion.first_lax() < companion.depth:
        return there, lacks + lacks_b
    way.comparison.take((tip, session.game.pieces), (companion, other.pieces), text_of(session.game, tip))
    return session, []


def _strictly(session: Session, tip: Node) -> Outcome:
    """Asks the engine of the game in front for the strict numbers that a path lacks."""
    start, top = tip.first_lax(), session.game.settings.tokens_to_show
    newest = session.game.newest(ForStrict)
    if start >= tip.depth or (ForStrict, tip, RAW) in session.game.refused:
        return session, []
    if newest and newest[1].going and newest[1].target is tip:
        return session, []
    return request(session, ForStrict(tip, start), lambda number: EvaluateStrictly(number, tip.path(), start, top))
