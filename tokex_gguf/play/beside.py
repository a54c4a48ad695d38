"""The second model's game, live beside the one that is played; what two models are asked to be compared by."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from tokex_gguf.engine.protocol import (
    Against,
    Capability,
    Compared,
    Export,
    Exported,
    LookaheadStrictly,
)
from tokex_gguf.play.compared import apart
from tokex_gguf.play.compared import lacking as untold
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.purposes import (
    ForAgainst,
    ForCompanion,
    ForExport,
    ForStrict,
    ForStrictLookahead,
    Positions,
)
from tokex_gguf.play.requests import (
    TOKENS_PER_LINE,
    answered,
    evaluate_strictly,
    likely_next,
    looking_ahead,
    request,
    stop,
    tokenize,
)
from tokex_gguf.play.screens import PLAY
from tokex_gguf.play.session import EngineStatus, Game, Session, text_of
from tokex_gguf.play.versus import ByDistributions, ByText, Pair, Turn
from tokex_gguf.values.comparison import Lacking
from tokex_gguf.values.lens import RAW
from tokex_gguf.values.model_comparison import ModelComparison
from tokex_gguf.values.tree import Node

POSITIONS_AT_ONCE = 32
"""Positions that are compared together: a row takes four bytes for each token of the vocabulary."""
LIKELY = 7
"""Tokens that may come next whose rows are computed before they are chosen: with the prompt's last one, as many as the
smallest strict batch has."""
FEW_CANDIDATES = 2
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


def unasked(game: Game) -> bool:
    """Whether the engine of the game that is played has nothing to do that is waited for."""
    return game.ready and not game.pressed.autoplay and not game.waiting


def resting(game: Game) -> bool:
    """Whether it has nothing to do that a key may ask for next, either."""
    return unasked(game) and not looking_ahead(game)


def compare_table(session: Session) -> Outcome:
    """Asks for what the comparison of two models lacks of the table: before all that a key may ask for next."""
    pair, other = session.paired, session.beside
    if not isinstance(pair, Pair) or other is None or pair.turn is not Turn.BOTH or not both_ready(session):
        return session, []
    if not unasked(session.game):
        return _give_way(session, other)
    if not isinstance(pair.way, ByDistributions) or _under_way(session, pair, other):
        return session, []
    part = _table(session, pair.way.comparison)
    return (session, []) if part is None else _compare(session, pair, part, detailed=True)


def compare_models(session: Session) -> Outcome:
    """While nothing else is asked for, asks for what the comparison of two models lacks of the prompt."""
    pair, other = session.paired, session.beside
    if not isinstance(pair, Pair) or other is None:
        return session, []
    if pair.turn in (Turn.A, Turn.DUE) and pair.held is not None:
        return _against_all(session, pair, pair.held)
    if pair.turn is not Turn.BOTH or not both_ready(session) or other.silence:
        return _tell(session)  # nothing comes of B for now
    if not resting(session.game):
        return session, []
    if isinstance(pair.way, ByText):
        return (session, []) if _parting(pair) else _compare_text(session, pair.way, other)
    if pair.fault:
        return _tell(session)
    if _under_way(session, pair, other):
        return session, []
    if (part := _apart(session, pair.way.comparison)) is not None and not _refused(session, part):
        return _compare(session, pair, part, detailed=False)
    if (tokens := _likely(session, pair.way, other)) is not None:
        return _look_ahead(session, pair, pair.way, tokens)
    part = _lacking(session, pair.way.comparison)
    if part is None or _refused(session, part):
        return _tell(session)
    return _compare(session, pair, part, detailed=False)


def _parting(pair: Pair) -> bool:
    """Whether both models go on greedily to see where they part."""
    return pair.parting is not None and not pair.parting.told


def _under_way(session: Session, pair: Pair, other: Game) -> bool:
    """Whether the file is not there, or is written or read, or there is something else that is waited for."""
    asked, exporting = session.game.newest(ForAgainst), other.newest(ForExport)
    busy = (exporting and exporting[1].awaited) or (asked and asked[1].going)
    return not pair.file or bool(busy) or _parting(pair)


def _compare(session: Session, pair: Pair, part: Positions, *, detailed: bool) -> Outcome:
    """Asks for B's rows of a part, and once they are there, what A's differ from them by."""
    if _refused(session, part):
        return session, []
    if pair.held and pair.held.same(part):
        return _against(session, part, pair.file, detailed=detailed)
    session = replace(session, paired=pair.holding(None))
    return in_front(session, lambda inside: _export(inside, part, pair.file))


def _refused(session: Session, part: Positions) -> bool:
    """Whether one of the two engines has refused to compare a part."""
    other = session.beside
    b = other is not None and (ForExport, part.tip, RAW) in other.refused
    return b or (ForAgainst, part.tip, RAW) in session.game.refused


def lacks_of_a(session: Session) -> Lacking | None:
    """A strict answer that the screen lacks of A besides what is compared, and that A has not refused."""
    if not session.game.can(Capability.COMPARISON):
        return None
    refused = session.game.refused
    return next((one for one in untold(session, None) if (ForStrict, one.path, RAW) not in refused), None)


def _tell(session: Session) -> Outcome:
    """Asks A for the strict numbers that the screen lacks of it besides what is compared."""
    newest = session.game.newest(ForStrict)
    if session.game.engine is not EngineStatus.READY or not resting(session.game) or (newest and newest[1].going):
        return session, []
    lacking = lacks_of_a(session)
    return (session, []) if lacking is None else evaluate_strictly(session, *lacking, lacking.path.path())


def _give_way(session: Session, other: Game) -> Outcome:
    """Stops what B computes, while A computes what is waited for: it has the processor for itself."""
    asked = other.asked.values()
    exporting = any(isinstance(one, ForExport) and one.awaited for one in asked)
    busy = exporting or any(isinstance(one, ForStrictLookahead) and one.going for one in asked)
    waits = any(one.awaited and not isinstance(one, ForExport) for one in asked)
    if other is session.game or not busy or waits:
        return session, []
    return in_front(session, stop)


def _likely(session: Session, way: ByDistributions, other: Game) -> list[int] | None:
    """The tokens that may come next, where the table is compared and both models can be asked for what they lead to."""
    game = session.game
    tip = game.prompt.tip
    if way.ahead_of is tip or game.prompt.cursor is not None or not way.comparison.detailed(tip):
        return None
    if not game.settings.lookahead or not game.can(Capability.BRANCHES) or not other.can(Capability.BRANCHES):
        return None
    if not resting(game) or game.model is None or tip.depth >= game.model.context_limit:
        return None
    return likely_next(session, LIKELY)[:LIKELY] or None


def _look_ahead(session: Session, pair: Pair, way: ByDistributions, tokens: list[int]) -> Outcome:
    """Asks both models, once, for what comes after each of some tokens that may come next."""
    tip = session.game.prompt.tip
    session = replace(session, paired=replace(pair, way=replace(way, ahead_of=tip)))

    def ask(inside: Session) -> Outcome:
        return request(inside, ForStrictLookahead(), lambda number: LookaheadStrictly(number, tip.path(), tokens))

    session, effects = ask(session)
    session, more = in_front(session, ask) if session.beside is not session.game else (session, [])
    return session, [*effects, *more]


def _table(session: Session, known: ModelComparison) -> Positions | None:
    """The place whose table is shown, where it is not compared."""
    place = session.game.prompt.place.tip
    if not place.depth or known.detailed(place):
        return None
    return _part(place.depth - 1, place.depth, session)


def _apart(session: Session, known: ModelComparison) -> Positions | None:
    """The place whose table is shown, with a token that is selected or popped and is not compared there."""
    place = session.game.prompt.place.tip
    token = next(iter(apart(session)), None) if known.detailed(place) else None
    return None if token is None else Positions(place.child(token), place.depth - 1, place.depth)


def _lacking(session: Session, known: ModelComparison) -> Positions | None:
    """What is to be compared next of the prompt: what is in sight, then all."""
    tip, cursor = session.game.prompt.tip, session.game.prompt.cursor
    sight = session.rows * TOKENS_PER_LINE
    end = tip.depth if cursor is None else min(tip.depth, cursor.depth + sight // 2)
    nodes = known.lacking(tip, end - sight, end)
    if not nodes:
        first = known.first_lacking(tip)
        if first is None:
            return None
        nodes = known.lacking(tip, first, first + POSITIONS_AT_ONCE)
    run = [nodes[-1]]
    for node, then in pairwise(reversed(nodes)):
        if then.depth != node.depth - 1 or len(run) == POSITIONS_AT_ONCE:
            break
        run.append(then)
    return _part(run[-1].depth - 1, nodes[-1].depth, session)


def _part(start: int, end: int, session: Session) -> Positions:
    return Positions(session.game.prompt.tip.ancestor(end + 1), start, end)


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
    return in_front(session, lambda inside: _export(inside, Positions(tip.ancestor(end + 1), start, end), pair.file))


def _against_all(session: Session, pair: Pair, part: Positions) -> Outcome:
    """Compares with all rows that B has left in the file."""
    newest, known = session.game.newest(ForAgainst), pair.way.comparison
    if not resting(session.game) or (newest and newest[1].going) or not isinstance(known, ModelComparison):
        return session, []
    if known.after(part.tip.ancestor(part.end)) and known.detailed(part.tip.ancestor(part.end)):
        return _tell(replace(session, paired=pair.holding(None)))
    if (ForAgainst, part.tip, RAW) in session.game.refused:
        return _tell(session)
    return _against(session, part, pair.file, detailed=True)


def _export(session: Session, part: Positions, file: str) -> Outcome:
    """Asks B for the rows of a part of A's path: the same tokens in its own tree."""
    path = part.tip.path()
    return request(session, ForExport(part), lambda number: Export(number, path, part.start, part.end, file))


def _against(session: Session, part: Positions, file: str, *, detailed: bool) -> Outcome:
    """Asks A how its distributions differ from the rows in the file."""
    path, top = part.tip.path(), session.game.settings.tokens_to_show if detailed else FEW_CANDIDATES
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
        told = session.game.known.pieces.keys()
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
        return _tell(session)
    if companion is None:
        newest = other.newest(ForCompanion)
        if newest and newest[1].target is tip:
            return _tell(session)
        try:
            text = text_of(session.game, tip).decode()
        except UnicodeDecodeError:
            return _tell(session)  # the prompt ends within a character
        return in_front(session, lambda inside: tokenize(inside, text, ForCompanion(tip)))
    own, lacks = _strictly(session, tip)
    there, lacks_b = in_front(own, lambda inside: _strictly(inside, companion))
    if lacks or lacks_b:
        return there, lacks + lacks_b
    if tip.first_lax() < tip.depth or companion.first_lax() < companion.depth:
        return _tell(session)
    way.comparison.take((tip, session.game.known.pieces), (companion, other.known.pieces), text_of(session.game, tip))
    return session, []


def _strictly(session: Session, tip: Node) -> Outcome:
    """Asks the engine of the game in front for the strict numbers that a path lacks."""
    start, newest = tip.first_lax(), session.game.newest(ForStrict)
    if start >= tip.depth or (ForStrict, tip, RAW) in session.game.refused:
        return session, []
    if newest and newest[1].going and newest[1].target is tip:
        return session, []
    return evaluate_strictly(session, tip, start, tip.path())
