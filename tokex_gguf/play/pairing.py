"""The second model's game beside the current one, and the requests that compare the two models."""

from collections.abc import Callable
from itertools import pairwise

from tokex_gguf.engine.protocol import (
    Against,
    Capability,
    Compared,
    Export,
    Exported,
    LookaheadStrictly,
    Recall,
)
from tokex_gguf.play.compared import lacking_strict, unlisted
from tokex_gguf.play.game import EngineStatus, Game, text_of
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.purposes import (
    ForAgainst,
    ForCompanion,
    ForExport,
    ForRecall,
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
from tokex_gguf.play.session import Session
from tokex_gguf.play.versus import ByDistributions, ByText, Pair, Turn
from tokex_gguf.values.comparison import Lacking
from tokex_gguf.values.lens import RAW
from tokex_gguf.values.model_comparison import ModelComparison
from tokex_gguf.values.record import replace
from tokex_gguf.values.tree import Node

POSITIONS_AT_ONCE = 32
"""Positions of one request: a row takes four bytes for each token of the vocabulary."""
LIKELY_TOKENS = 7
"""Likely next tokens whose rows are computed before one is chosen: with the prompt's last token, the smallest strict
batch."""
FEW_CANDIDATES = 2
"""Candidates to request for each table where only the numbers of the prompt's own token are wanted."""


def in_front(session: Session, do: Callable[[Session], Outcome]) -> Outcome:
    """Runs `do` with the second game in front, and puts that back. Its notice is marked as B's."""
    pair, second = session.paired, session.second
    assert isinstance(pair, Pair) and second is not None
    if second is session.game:
        return do(session)
    inside = replace(session, game=second, screen=PLAY, notice="")
    inside, effects = do(inside)
    notice = f"B: {inside.notice}" if inside.notice else session.notice
    other_games = {**inside.other_games, pair.key: inside.game}
    restored = replace(inside, game=session.game, other_games=other_games, screen=session.screen, notice=notice)
    return restored, effects


def one_vocabulary(session: Session) -> bool:
    """Whether both models have the same tokens, so that their distributions can be compared."""
    second = session.second
    if second is None or session.game.model is None or second.model is None:
        return False
    return session.game.model.vocabulary == second.model.vocabulary != ""


def both_ready(session: Session) -> bool:
    """Whether both engines have loaded their models."""
    second = session.second
    return second is not None and session.game.engine is second.engine is EngineStatus.READY


def idle(game: Game) -> bool:
    """Whether nothing is awaited from the current game's engine."""
    return game.ready and not game.pressed.autoplay and not game.waiting


def fully_idle(game: Game) -> bool:
    """Whether the engine is idle and has no lookahead to do either."""
    return idle(game) and not looking_ahead(game)


def compare_table(session: Session) -> Outcome:
    """Requests what the comparison of two models lacks of the table: before lookahead."""
    pair, second = session.paired, session.second
    if not isinstance(pair, Pair) or second is None or pair.turn is not Turn.BOTH or not both_ready(session):
        return session, []
    if not idle(session.game):
        return _give_way(session, second)
    if not isinstance(pair.way, ByDistributions) or _under_way(session, pair, second):
        return session, []
    part = _table(session, pair.way.comparison)
    return (session, []) if part is None else _compare(session, pair, part, detailed=True)


def compare_models(session: Session) -> Outcome:
    """While idle, requests what the comparison of two models lacks of the prompt."""
    pair, second = session.paired, session.second
    if not isinstance(pair, Pair) or second is None:
        return session, []
    if pair.turn in (Turn.A, Turn.DUE) and pair.held is not None:
        return _against_all(session, pair, pair.held)
    if pair.turn is not Turn.BOTH or not both_ready(session) or second.silence:
        return _request_strict_of_a(session)  # B does not answer for now
    if not fully_idle(session.game):
        return session, []
    if isinstance(pair.way, ByText):
        return (session, []) if pair.is_parting else _compare_text(session, pair.way, second)
    if pair.fault:
        return _request_strict_of_a(session)
    if _under_way(session, pair, second):
        return session, []
    if (part := _apart(session, pair.way.comparison)) is not None and not _refused(session, part):
        return _compare(session, pair, part, detailed=False)
    if (tokens := _likely(session, pair.way, second)) is not None:
        return _look_ahead(session, pair, pair.way, tokens)
    part = _lacking(session, pair.way.comparison)
    if part is None or _refused(session, part):
        return _request_strict_of_a(session)
    return _compare(session, pair, part, detailed=False)


def _under_way(session: Session, pair: Pair, second: Game) -> bool:
    """Whether the file is missing or in use, or the models are looking for their parting."""
    against, exporting = session.game.newest(ForAgainst), second.newest(ForExport)
    recall = session.game.newest(ForRecall)
    busy = (exporting and exporting[1].awaited) or (against and against[1].going) or (recall and recall[1].going)
    return not pair.file or bool(busy) or pair.is_parting


def _compare(session: Session, pair: Pair, part: Positions, *, detailed: bool) -> Outcome:
    """Requests B's rows of a part, and once they are there, how A's differ from them."""
    if _refused(session, part):
        return session, []
    if pair.held and pair.held.same(part):
        return _against(session, part, pair.file, detailed=detailed)
    if not pair.looked_up(part) and session.game.settings.load.cache:
        return _recall(session, part, detailed=detailed)
    session = replace(session, paired=pair.holding(None))
    return in_front(session, lambda inside: _export(inside, part, pair.file))


def _recall(session: Session, part: Positions, *, detailed: bool) -> Outcome:
    """Requests the differences of a part that are on the disk."""
    path, top, other = part.tip.path(), _top(session, detailed=detailed), _identity_of_b(session)
    return request(
        session,
        ForRecall(part, detailed),
        lambda number: Recall(number, path, part.start, part.end, other, top),
    )


def recalled(session: Session, purpose: ForRecall, number: int) -> Session:
    """Notes that the disk was asked for the differences of a part: what it lacks, or cannot give, is computed."""
    pair = session.paired
    if isinstance(pair, Pair) and isinstance(pair.way, ByDistributions):
        session = replace(session, paired=replace(pair, way=replace(pair.way, recalled=purpose.part)))
    return answered(session, number)


def _top(session: Session, *, detailed: bool) -> int:
    """How many candidates of each model to compare."""
    return session.game.settings.tokens_to_show if detailed else FEW_CANDIDATES


def _identity_of_b(session: Session) -> str:
    second = session.second
    return second.model.identity if second and second.model else ""


def _refused(session: Session, part: Positions) -> bool:
    """Whether either engine has refused to compare a part."""
    second = session.second
    refused_by_b = second is not None and (ForExport, part.tip, RAW) in second.refused
    return refused_by_b or (ForAgainst, part.tip, RAW) in session.game.refused


def lacks_of_a(session: Session) -> Lacking | None:
    """A strict answer of A that the screen lacks besides the comparison, and that A has not refused."""
    if not session.game.can(Capability.COMPARISON):
        return None
    refused = session.game.refused
    return next(
        (lacking for lacking in lacking_strict(session, None) if (ForStrict, lacking.path, RAW) not in refused), None
    )


def _request_strict_of_a(session: Session) -> Outcome:
    """Requests the strict numbers of A that the screen lacks besides the comparison."""
    newest = session.game.newest(ForStrict)
    if session.game.engine is not EngineStatus.READY or not fully_idle(session.game) or (newest and newest[1].going):
        return session, []
    lacking = lacks_of_a(session)
    return (session, []) if lacking is None else evaluate_strictly(session, *lacking, lacking.path.path())


def _give_way(session: Session, second: Game) -> Outcome:
    """Stops B while A computes something awaited, so that A has the processor for itself."""
    purposes = second.open_requests.values()
    exporting = any(isinstance(purpose, ForExport) and purpose.awaited for purpose in purposes)
    busy = exporting or any(isinstance(purpose, ForStrictLookahead) and purpose.going for purpose in purposes)
    awaited = any(purpose.awaited and not isinstance(purpose, ForExport) for purpose in purposes)
    if second is session.game or not busy or awaited:
        return session, []
    return in_front(session, stop)


def _likely(session: Session, way: ByDistributions, second: Game) -> list[int] | None:
    """The likely next tokens, where the table is compared and both models can look ahead; else None."""
    game = session.game
    tip = game.prompt.tip
    if way.ahead_of is tip or game.prompt.cursor is not None or not way.comparison.detailed(tip):
        return None
    if not game.settings.lookahead or not game.can(Capability.BRANCHES) or not second.can(Capability.BRANCHES):
        return None
    if not fully_idle(game) or game.model is None or tip.depth >= game.model.context_limit:
        return None
    return likely_next(session, LIKELY_TOKENS)[:LIKELY_TOKENS] or None


def _look_ahead(session: Session, pair: Pair, way: ByDistributions, tokens: list[int]) -> Outcome:
    """Requests, once, strict lookahead after some tokens from both models."""
    tip = session.game.prompt.tip
    session = replace(session, paired=replace(pair, way=replace(way, ahead_of=tip)))

    def ask(inside: Session) -> Outcome:
        return request(inside, ForStrictLookahead(), lambda number: LookaheadStrictly(number, tip.path(), tokens))

    session, effects = ask(session)
    session, more = in_front(session, ask) if session.second is not session.game else (session, [])
    return session, [*effects, *more]


def _table(session: Session, comparison: ModelComparison) -> Positions | None:
    """The position of the shown table; None where it is compared already."""
    place = session.game.prompt.place.tip
    if not place.depth or comparison.detailed(place):
        return None
    return _part(place.depth - 1, place.depth, session)


def _apart(session: Session, comparison: ModelComparison) -> Positions | None:
    """The position of the shown table, with a selected or popped token that is not compared there; None without one."""
    place = session.game.prompt.place.tip
    token = next(iter(unlisted(session)), None) if comparison.detailed(place) else None
    return None if token is None else Positions(place.child(token), place.depth - 1, place.depth)


def _lacking(session: Session, comparison: ModelComparison) -> Positions | None:
    """The next positions of the prompt to compare: those in sight, then all."""
    tip, cursor = session.game.prompt.tip, session.game.prompt.cursor
    sight = session.rows * TOKENS_PER_LINE
    end = tip.depth if cursor is None else min(tip.depth, cursor.depth + sight // 2)
    nodes = comparison.lacking(tip, end - sight, end)
    if not nodes:
        first = comparison.first_lacking(tip)
        if first is None:
            return None
        nodes = comparison.lacking(tip, first, first + POSITIONS_AT_ONCE)
    run = [nodes[-1]]
    for node, previous in pairwise(reversed(nodes)):
        if previous.depth != node.depth - 1 or len(run) == POSITIONS_AT_ONCE:
            break
        run.append(previous)
    return _part(run[-1].depth - 1, nodes[-1].depth, session)


def _part(start: int, end: int, session: Session) -> Positions:
    return Positions(session.game.prompt.tip.ancestor(end + 1), start, end)


MAX_FILE_BYTES = 1 << 28
"""The largest size of the file of rows where the models take turns."""


def export_all(session: Session, pair: Pair) -> Outcome:
    """Requests all missing rows of A's prompt from B, as far as there is room: B is loaded for this alone."""
    tip, comparison = session.game.prompt.tip, pair.way.comparison
    vocabulary = session.game.model.vocab_size if session.game.model else 1
    start = comparison.first_lacking(tip) if isinstance(comparison, ModelComparison) else None
    if start is None:
        return session, []
    end = min(tip.depth, start + max(1, MAX_FILE_BYTES // (4 * vocabulary)))
    return in_front(session, lambda inside: _export(inside, Positions(tip.ancestor(end + 1), start, end), pair.file))


def _against_all(session: Session, pair: Pair, part: Positions) -> Outcome:
    """Compares with all rows that B has written to the file."""
    newest, comparison = session.game.newest(ForAgainst), pair.way.comparison
    if not fully_idle(session.game) or (newest and newest[1].going) or not isinstance(comparison, ModelComparison):
        return session, []
    if comparison.after(part.tip.ancestor(part.end)) and comparison.detailed(part.tip.ancestor(part.end)):
        return _request_strict_of_a(replace(session, paired=pair.holding(None)))
    if (ForAgainst, part.tip, RAW) in session.game.refused:
        return _request_strict_of_a(session)
    return _against(session, part, pair.file, detailed=True)


def _export(session: Session, part: Positions, file: str) -> Outcome:
    """Requests B's rows of a part of A's path."""
    path = part.tip.path()
    return request(session, ForExport(part), lambda number: Export(number, path, part.start, part.end, file))


def _against(session: Session, part: Positions, file: str, *, detailed: bool) -> Outcome:
    """Requests how A's distributions differ from the rows in the file."""
    path, top, other = part.tip.path(), _top(session, detailed=detailed), _identity_of_b(session)
    return request(
        session,
        ForAgainst(part, detailed),
        lambda number: Against(number, path, part.start, part.end, file, other, top),
    )


def exported(session: Session, purpose: ForExport, message: Exported) -> Session | None:
    """Notes that rows are in the file. B is in front. None: a wrong reply."""
    if (message.start, message.end) != (purpose.part.start, purpose.part.end):
        return None
    pair = session.paired
    # If the models were exchanged meanwhile, the other one's rows are wanted.
    if isinstance(pair, Pair) and pair.key == session.game.settings.model.key:
        session = replace(session, paired=pair.holding(purpose.part))
    return answered(session, message.request)


def compared(session: Session, purpose: ForAgainst | ForRecall, message: Compared) -> Session | None:
    """Stores differences of a part. None: a wrong reply."""
    part, end = purpose.part, message.start + len(message.differences)
    if not part.start <= message.start < end <= part.end:
        return None
    if isinstance(session.paired, Pair) and isinstance(session.paired.way, ByDistributions):
        comparison = session.paired.way.comparison
        nodes = part.tip.ancestor(end).nodes(message.start)
        known_tokens = session.game.known.pieces.keys()
        for node, difference in zip(nodes, message.differences, strict=True):
            tokens = {row.token for row in difference.rows}
            if not tokens | {difference.first_a, difference.first_b} <= known_tokens:
                return None
            following = part.tip.ancestor(node.depth + 1)
            if following is not node and (difference.taken is None or difference.taken.token != following.token):
                return None  # else it would be requested forever
            comparison.keep(node, difference, detailed=purpose.detailed)
    return answered(session, message.request) if isinstance(purpose, ForAgainst) and end == part.end else session


def _compare_text(session: Session, way: ByText, second: Game) -> Outcome:
    """For different vocabularies: requests B's tokens of the text of A's prompt, then both models' strict numbers."""
    tip, companion = session.game.prompt.tip, way.of(session.game.prompt.tip)
    if way.comparison.tip is tip or (ForCompanion, tip, RAW) in second.refused:
        return _request_strict_of_a(session)
    if companion is None:
        newest = second.newest(ForCompanion)
        if newest and newest[1].target is tip:
            return _request_strict_of_a(session)
        try:
            text = text_of(session.game, tip).decode()
        except UnicodeDecodeError:
            return _request_strict_of_a(session)  # the prompt ends inside a character
        return in_front(session, lambda inside: tokenize(inside, text, ForCompanion(tip)))
    after_a, effects_a = _request_strict(session, tip)
    after_b, effects_b = in_front(after_a, lambda inside: _request_strict(inside, companion))
    if effects_a or effects_b:
        return after_b, effects_a + effects_b
    if tip.first_not_strict() < tip.depth or companion.first_not_strict() < companion.depth:
        return _request_strict_of_a(session)
    way.comparison.take((tip, session.game.known.pieces), (companion, second.known.pieces), text_of(session.game, tip))
    return session, []


def _request_strict(session: Session, tip: Node) -> Outcome:
    """Requests the strict numbers that a path lacks from the engine in front."""
    start, newest = tip.first_not_strict(), session.game.newest(ForStrict)
    if start >= tip.depth or (ForStrict, tip, RAW) in session.game.refused:
        return session, []
    if newest and newest[1].going and newest[1].target is tip:
        return session, []
    return evaluate_strictly(session, tip, start, tip.path())
