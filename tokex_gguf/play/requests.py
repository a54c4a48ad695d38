"""Requests to the engine: for what the screen lacks, and for what may be wanted next."""

from collections.abc import Callable, Iterator

from tokex_gguf.engine.protocol import (
    Apply,
    Capability,
    Chat,
    Check,
    Compare,
    ConnectServer,
    Constrain,
    Evaluate,
    EvaluateStrictly,
    Load,
    Lookahead,
    MeasureNoise,
    Request,
    Stop,
    Tokenize,
    Walk,
)
from tokex_gguf.engine.queue import ends
from tokex_gguf.play.compared import lacking_strict
from tokex_gguf.play.game import Cost, EngineStatus, Game, Prompt
from tokex_gguf.play.messages import Align, Close, CompareFurther, Effect, JudgeFurther, Outcome, Send, Start
from tokex_gguf.play.purposes import (
    AheadOf,
    Comparing,
    Decoded,
    ForAgainst,
    ForAutoplay,
    ForCheck,
    ForCompanion,
    ForCritical,
    ForDifference,
    ForEvaluation,
    ForExport,
    ForFanOut,
    ForLookahead,
    ForNoise,
    ForParting,
    ForPhrase,
    ForRecall,
    ForStart,
    ForStrict,
    ForStrictLookahead,
    ForVerdicts,
    ForView,
    ForWalk,
    Purpose,
    Tokens,
)
from tokex_gguf.play.screens import Input, Play, SearchScreen, TypingScreen
from tokex_gguf.play.session import Session
from tokex_gguf.play.table import is_cut, selected_row, table
from tokex_gguf.values.alignment import aligned, quick
from tokex_gguf.values.comparison import PathComparison
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.layers import LENS_LAYERS
from tokex_gguf.values.lens import RAW, Raw, Sampled
from tokex_gguf.values.lookahead import LONGEST_BRANCH, AsSeen, May, TokenBranch, Way, as_is
from tokex_gguf.values.model_ref import GgufFile, ModelRef, ServerModel
from tokex_gguf.values.reachability import biased, decidable, surely_cut
from tokex_gguf.values.record import replace
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT


def begin(session: Session, *, again: bool = False) -> Outcome:
    """Starts an engine for the game and closes its old one. `again`: the model's files may have changed."""
    old_address, address = session.game.address, session.counts.engines + 1
    session = replace(
        session, counts=replace(session.counts, engines=address), game=replace(session.game, address=address)
    )
    model = session.game.settings.model
    closing: list[Effect] = [Close(old_address)] if old_address else []
    return session, [*closing, Start(address, model), send(session, _opening(session.game, model, again=again))]


def _opening(game: Game, model: ModelRef, *, again: bool) -> Load | ConnectServer:
    """An engine's first request."""
    match model:
        case GgufFile(path):
            # A game keeps its cell types: numbers of different cells are never shown side by side.
            kv = (game.model and game.model.cells) or game.settings.load.kv
            return replace(game.settings.load, path=path, kv=kv, check=again)
        case ServerModel(url, model_name):
            return replace(game.settings.server, url=url, model=model_name)


def send(session: Session, request: Request) -> Send:
    """A request to the engine of the current game."""
    return Send(session.game.address, request)


KEPT_CANDIDATES = 100
"""Candidates kept at a path's end, where the player is: this costs 0.2 ms more for a key. Positions inside a prompt
keep as many as the table shows: each costs 26 bytes between the processes and 16 in a session."""


def candidates_at_tip(session: Session) -> int:
    """Candidates to request where the player is."""
    return max(KEPT_CANDIDATES, session.game.settings.tokens_to_show)


def missing(game: Game, prompt: Prompt) -> int | None:
    """The first position to request; None when nothing that is awaited is missing."""
    tip = prompt.tip
    start = tip.depth if game.complete(tip) else _first_wanted(game, tip)
    if prompt.popped is not None and tip.child(prompt.popped).taken is None:
        start = min(start, tip.depth - 1)
    return start if start < tip.depth else None


def _first_wanted(game: Game, tip: Node) -> int:
    """The first position to request together with a path's missing table.

    Where tokens are walked, distributions on the way to the table come for free if the engine reads the text for
    the first time, and not if it has been past the table.
    """
    if game.can(Capability.PROMPT_AT_ONCE):
        return tip.first_unknown()
    node = tip
    if not any(child.distribution for child in tip.children.values()):
        while node.parent and node.parent.depth and node.parent.distribution is None:
            node = node.parent
    return node.depth - 1


def request(session: Session, purpose: Purpose, make: Callable[[int], Request]) -> Outcome:
    """Sends the request that `make` makes of a number, and notes what its answer is for."""
    number = session.counts.requests + 1
    effects: list[Effect] = []
    if purpose.awaited and session.game.newest(ForVerdicts):
        # Verdicts go through a whole prompt and are not awaited: they are requested again after this.
        session, effects = stop(session)
    open_requests = _still_open(session.game, purpose.asks, purpose.base if isinstance(purpose, AheadOf) else None)
    if purpose.sole and (older := session.game.newest(type(purpose))):
        open_requests.pop(older[0], None)
    open_requests[number] = purpose
    session = replace(
        session,
        game=replace(session.game, open_requests=open_requests),
        counts=replace(session.counts, requests=number),
    )
    return session, [*effects, send(session, make(number))]


def stop(session: Session) -> Outcome:
    """Ends all decoding, also what is queued; late answers are kept."""
    game = replace(session.game, open_requests=_still_open(session.game, Stop, None))
    return replace(session, game=game), [send(session, Stop())]


def _still_open(game: Game, newer: type[Request], base: Node | None) -> dict[int, Purpose]:
    """The open requests after one of type `newer`. `base`: the path that it looks ahead from, if it does."""
    remaining_requests = dict[int, Purpose]()
    for number, purpose in game.open_requests.items():
        same_base = base is not None and isinstance(purpose, AheadOf) and purpose.base is base
        remaining = _ended(purpose) if ends(newer, purpose.asks, one_path=same_base) else purpose
        if remaining is not None:
            remaining_requests[number] = remaining
    return remaining_requests


def _ended(purpose: Purpose) -> Purpose | None:
    """A purpose after the engine ended its request; None where late answers are not wanted."""
    match purpose:
        case ForEvaluation() | ForAutoplay() | ForExport() | ForParting() | ForFanOut() | ForCritical():
            return replace(purpose, awaited=False)
        case ForLookahead() | ForWalk() | ForStrict() | ForDifference() | ForNoise() | ForAgainst():
            return replace(purpose, going=False)
        case ForStrictLookahead() | ForRecall():
            return replace(purpose, going=False)
        case _:
            return None


def refused_elsewhere(game: Game) -> frozenset[tuple[type[Purpose], Node, Raw | Sampled]]:
    """The engine's refusals without those of comparisons, which are tried again where a comparison begins."""
    return frozenset(
        refusal for refusal in game.refused if not issubclass(refusal[0], Comparing | ForExport | ForCompanion)
    )


def answered(session: Session, number: int) -> Session:
    """Removes a request that needs no more answers."""
    return replace(
        session,
        game=replace(
            session.game,
            open_requests={other: purpose for other, purpose in session.game.open_requests.items() if other != number},
        ),
    )


def without(session: Session, *kinds: type[Purpose]) -> Session:
    """Forgets all open requests of some kinds."""
    return replace(
        session,
        game=replace(
            session.game,
            open_requests={
                number: purpose
                for number, purpose in session.game.open_requests.items()
                if not isinstance(purpose, kinds)
            },
        ),
    )


def end_comparing(session: Session) -> Outcome:
    """Ends the current game's requests that compare it with another model.

    Late answers would be taken for answers about the next model, or about the rows of the next file.
    """
    purposes = session.game.open_requests.values()
    going = any(isinstance(purpose, ForExport | ForParting) and purpose.awaited for purpose in purposes)
    going |= any(isinstance(purpose, ForAgainst | ForRecall) and purpose.going for purpose in purposes)
    session, effects = stop(session) if going else (session, [])
    return without(session, ForAgainst, ForRecall, ForExport, ForParting), effects


def ask(session: Session) -> Outcome:
    """Requests what the goal lacks, once; stops requests that it does not need."""
    prompt, tip = session.goal, session.goal.tip
    if tip.distribution is None:
        session.game.known.lookahead.recall(tip)
    start = missing(session.game, prompt)
    pending = session.game.pending
    if start is None:
        session, effects = stop(session) if pending is not None else (session, [])
        return replace(session, game=replace(session.game, full=None)), effects
    if session.game.engine is not EngineStatus.READY:
        return session, []
    if pending is not None and covers(session.game, session.game.open_requests[pending], prompt):
        return session, []
    session = replace(session, game=replace(session.game, full=None, cost=Cost()))
    lens = lens_for_verdicts(session)
    purpose = ForEvaluation(tuple(tip.nodes(start)), start, prompt.popped, lens)
    top, top_at_tip = session.game.settings.tokens_to_show, candidates_at_tip(session)
    return request(
        session,
        purpose,
        lambda number: Evaluate(number, tip.path(), start, top, prompt.popped, top_at_tip, lens),
    )


def lens_for_verdicts(session: Session) -> Raw | Sampled:
    """The lens whose verdicts are requested along with distributions.

    Needed where a layer shows verdicts that kept numbers do not give, and for text under a constraint, which would
    be decoded twice otherwise. Elsewhere verdicts would cost a millisecond a token for nothing.
    """
    lens = session.lens
    if isinstance(lens, Raw) or decidable(lens):
        return RAW
    return lens if _verdicts_shown(session, lens, session.goal.tip) else RAW


def _verdicts_shown(session: Session, lens: Sampled, tip: Node) -> bool:
    """Whether verdicts on a path's tokens are shown: by a layer, or summed up, as what a constraint costs."""
    governed = lens.constraint is not None and lens.start < tip.depth
    return governed or session.options.layer in LENS_LAYERS


def look_through(session: Session) -> Outcome:
    """Requests the lens's view of the shown table, as soon as the table is there or requested."""
    game = session.game
    lens = session.lens
    if isinstance(lens, Raw) or game.engine is not EngineStatus.READY or not game.can(Capability.SAMPLERS):
        return session, []
    place = game.prompt.place
    node = place.tip
    if (
        not node.depth
        or game.pressed.autoplay
        or (node.distribution is None and game.pending is None)
        or game.full is not None
    ):
        return session, []
    tokens = [token for token in (place.popped, place.selected) if token is not None]
    if searching := session.on(SearchScreen):
        tokens += [row.token for row in searching.rows or ()]
    view = game.known.lens_results.view(lens, node)
    if view is not None and all(token in view.verdicts for token in tokens):
        return session, []
    newest = game.newest(ForView)
    if (ForView, node, lens) in game.refused or (newest and (newest[1].node, newest[1].lens) == (node, lens)):
        return session, []
    # For tokens outside the candidates, the view must bring the model's numbers: positions inside a prompt have fewer
    # candidates than those reached by a key.
    top = len(node.distribution) if node.distribution else candidates_at_tip(session)
    return request(session, ForView(node, lens), lambda number: Apply(number, node.path(), lens, tokens, top))


JUDGED_AT_ONCE, JUDGED_FURTHER = 4, 64
"""Tokens of a prompt that are judged along with a key, and with a message of their own: 2 ms at the most."""


def judge_further(session: Session) -> Session:
    """Judges more of the prompt's tokens, where verdicts are shown."""
    lens, tip = session.lens, session.game.prompt.tip
    if isinstance(lens, Sampled) and _verdicts_shown(session, lens, tip):
        session.game.known.lens_results.judge_more(lens, tip, JUDGED_FURTHER)
    return replace(session, under_way=replace(session.under_way, judging=False))


def judge_on(session: Session) -> Outcome:
    """Judges a few more tokens, and sends itself `JudgeFurther` where many are left."""
    game, lens = session.game, session.lens
    if isinstance(lens, Raw) or not game.ready or game.pressed.autoplay:
        return session, []
    if not _verdicts_shown(session, lens, game.prompt.tip):
        return session, []
    unfinished = not game.known.lens_results.judge_more(lens, game.prompt.tip, JUDGED_AT_ONCE)
    if unfinished == session.under_way.judging:
        return session, []
    session = replace(session, under_way=replace(session.under_way, judging=unfinished))
    return session, [JudgeFurther()] if unfinished else []


def judge(session: Session) -> Outcome:
    """Requests verdicts on the prompt's tokens, where they are shown and kept numbers do not give them."""
    game, lens = session.game, session.lens
    if (
        isinstance(lens, Raw)
        or not game.ready
        or not _verdicts_shown(session, lens, game.prompt.tip)
        or game.pressed.autoplay
        or session.under_way.judging
    ):
        return session, []
    requested = any(isinstance(purpose, ForVerdicts | ForView) for purpose in game.open_requests.values())
    if (
        requested
        or _answers_awaited(game)
        or game.engine is not EngineStatus.READY
        or not game.can(Capability.SAMPLERS)
    ):
        return session, []
    tip = game.prompt.tip
    if (ForVerdicts, tip, lens) in game.refused:
        return session, []
    start = game.known.lens_results.first_unjudged(lens, tip)
    if start is None:
        return session, []
    nodes = tuple(tip.nodes(start))
    purpose = ForVerdicts(nodes, start, lens)
    return request(session, purpose, lambda number: Evaluate(number, tip.path(), start, 1, None, 0, lens))


def _answers_awaited(game: Game) -> bool:
    """Whether a search for answers or critical tokens runs: it and any other decoding would end each other."""
    return any(
        isinstance(purpose, ForFanOut | ForCritical) and purpose.awaited for purpose in game.open_requests.values()
    )


def judge_phrases(session: Session) -> Outcome:
    """Requests where scored phrases break the constraint, one after the other, while they are shown."""
    game = session.game
    if game.engine is not EngineStatus.READY or not session.on(Input) or not game.can(Capability.CONSTRAINTS):
        return session, []
    if game.newest(ForPhrase):
        return session, []
    for score in reversed(game.results.scores):
        limit = session.limit_of(score)
        if limit is None or game.known.lens_results.broken(limit, score.tip) is not None:
            continue
        if (ForPhrase, score.tip, limit) not in game.refused:
            return _judge_phrase(session, score.tip, limit)
    return session, []


def _judge_phrase(session: Session, tip: Node, limit: Sampled) -> Outcome:
    constraint = limit.constraint
    assert constraint is not None
    return request(
        session, ForPhrase(tip, limit), lambda number: Constrain(number, tip.path(), constraint, limit.start)
    )


def covers(game: Game, purpose: Purpose, prompt: Prompt) -> bool:
    """Whether a request's answers will bring all that is awaited of a prompt."""
    if not isinstance(purpose, ForEvaluation):
        return False
    if purpose.target is not prompt.tip and not game.can(Capability.PROMPT_AT_ONCE):
        return False
    index = prompt.tip.depth - 1 - purpose.start
    if not 0 <= index < len(purpose.nodes) or purpose.nodes[index] is not prompt.tip:
        return False
    following = purpose.nodes[index + 1].token if index + 1 < len(purpose.nodes) else purpose.asked
    return prompt.popped in (None, following)


def look_ahead(session: Session) -> Outcome:
    """While idle, requests the distributions after the selected and the likeliest tokens."""
    budget = session.game.settings.lookahead
    if not session.game.can(Capability.BATCHES):
        return session, []
    if not session.game.ready or session.game.pressed.autoplay or session.game.engine is not EngineStatus.READY:
        return session, []
    if _compares_table(session):  # that would end lookahead
        return session, []
    if _answers_awaited(session.game):
        return session, []
    if isinstance(session.screen, TypingScreen) or session.game.prompt.cursor is not None:
        return session, []
    if not budget:
        return _announce_path(session)
    prompt = session.game.prompt
    branches = tuple((token,) for token in likely_next(session, budget) if not session.game.knows_ahead(token))
    if (ForLookahead, prompt.tip, RAW) in session.game.refused:
        return session, []
    if not branches or prompt.tip.depth >= (session.game.model.context_limit if session.game.model else 0):
        return session, []
    # A lookahead stays valid, answered or not, until another request ends it.
    going = [earlier for earlier in _lookaheads(session.game, prompt.tip) if earlier.going and not earlier.best_first]
    requested = {branch for earlier in going for branch in earlier.branches}
    if set(branches) <= requested:
        return session, []
    path, top = prompt.tip.path(), candidates_at_tip(session)
    branch_lists = list(map(list, branches))
    return request(
        session, ForLookahead(prompt.tip, branches), lambda number: Lookahead(number, path, branch_lists, top)
    )


MIN_CACHED_TOKENS = 64
"""The length of a prompt from which on the engine may have it in its disk cache."""


def _announce_path(session: Session) -> Outcome:
    """Without lookahead, announces the prompt to the engine, which can read its cells from the disk before a key comes.

    There is nothing to read without a cache, nor on a server, where this would end a walk.
    """
    tip = session.game.prompt.tip
    cached = session.game.settings.load.cache and session.game.can(Capability.PROMPT_AT_ONCE)
    if tip.depth < MIN_CACHED_TOKENS or not cached:
        return session, []
    if any(not one.best_first for one in _lookaheads(session.game, tip)):
        return session, []
    path, top = tip.path(), candidates_at_tip(session)
    return request(session, ForLookahead(tip, ()), lambda number: Lookahead(number, path, [], top))


def _compares_table(session: Session) -> bool:
    """Whether the shown table is being compared between two models."""
    exporting = session.second.newest(ForExport) if session.second else None
    against = session.game.newest(ForAgainst)
    parts = [exporting[1].part] if exporting and exporting[1].awaited else []
    parts += [against[1].part] if against and against[1].going else []
    return any(part.end == session.game.prompt.place.tip.depth == part.start + 1 for part in parts)


def likely_next(session: Session, limit: int) -> list[int]:
    """The tokens that may be appended next: the selected one, then others of the table's first `limit` rows."""
    rows = table(session, session.game.prompt)
    if not rows:  # the order is not known yet
        return []
    chosen = rows[selected_row(session, session.game.prompt)].token
    likely = [row.token for row in rows[:limit]]
    # Skip tokens that are cut or end the generation: they are not continued unless chosen.
    others = (token for token in likely if token != chosen and not is_cut(session, token))
    return [chosen, *(token for token in others if not session.game.piece(token).ends)]


def _lookaheads(game: Game, tip: Node) -> Iterator[ForLookahead]:
    """The lookaheads from a tip, newest first, back to the last other decoding."""
    for purpose in reversed(game.open_requests.values()):
        if isinstance(purpose, ForLookahead) and purpose.target is tip:
            yield purpose
        elif isinstance(purpose, Decoded) and not isinstance(purpose, ForWalk | Comparing):  # these resume afterwards
            return


FIRST_BRANCHES, BRANCHES_TOGETHER = 8, 16
"""Branches of the first requests, and of later ones. A batch of two or three takes longer than single decodes, one of
eight half the time, one of sixteen a third; sixteen at first would search more in breadth than in depth."""
REQUESTS_AHEAD = 2
"""Such requests open at once: while one is answered and the next made, the engine works on the other."""


def look_further_ahead(session: Session) -> Outcome:
    """While fully idle, requests distributions after the likeliest continuations, best first."""
    game = session.game
    budget = game.settings.lookahead_tokens if game.settings.lookahead else 0
    if not budget or not game.ready or game.pressed.autoplay or game.waiting or game.engine is not EngineStatus.READY:
        return session, []
    if not game.can(Capability.BRANCHES) or looking_ahead(game):
        return session, []
    # On other screens a key, such as a step of a sampler's value, would wait for a batch whose result is not shown.
    if not isinstance(session.screen, Play) or game.prompt.cursor is not None or session.second is not None:
        return session, []
    if session.under_way.judging or session.under_way.comparing or session.under_way.aligning or session.order_awaited:
        return session, []
    tip = game.prompt.tip
    if any(_goes_first(purpose) for purpose in game.open_requests.values()) or (ForLookahead, tip, RAW) in game.refused:
        return session, []
    lookahead, may = game.known.lookahead.tree_at(tip), _may(session)
    going = [purpose.branches for purpose in _lookaheads(game, tip) if purpose.best_first and purpose.going]
    awaited = {branch for branches in going for branch in branches if lookahead.at(branch).distribution is None}
    under_way = sum(any(branch in awaited for branch in branches) for branches in going)
    if under_way < REQUESTS_AHEAD:
        lookahead.begin((game.sampling, session.view), awaited, _seen(session))
    effects: list[Effect] = []
    for _ in range(under_way, REQUESTS_AHEAD):
        count = BRANCHES_TOGETHER if lookahead.known >= FIRST_BRANCHES else FIRST_BRANCHES
        next_branches = (
            lookahead.wanted(count, budget, may)
            if tip.depth + LONGEST_BRANCH < (game.model.context_limit if game.model else 0)
            else []
        )
        if not next_branches:
            break
        session, sent = request(
            session,
            ForLookahead(tip, tuple(next_branches), best_first=True),
            _asks_best_first(session, tip, next_branches),
        )
        effects += sent
    return session, effects


def _asks_best_first(session: Session, tip: Node, wanted: list[TokenBranch]) -> Callable[[int], Request]:
    path, branches, top = tip.path(), list(map(list, wanted)), candidates_at_tip(session)
    return lambda number: Lookahead(number, path, branches, top)


def _goes_first(purpose: Purpose) -> bool:
    """Whether a request that is not awaited still goes before further lookahead."""
    return isinstance(purpose, ForVerdicts) or (isinstance(purpose, ForWalk | Comparing) and purpose.going)


def _seen(session: Session) -> AsSeen:
    """How lookahead sees a distribution that branches continue: with the lens's biases."""
    lens = session.lens
    return as_is if isinstance(lens, Raw) else lambda distribution: biased(lens, distribution).distribution


def _may(session: Session) -> May:
    """Which branches lookahead may continue: not by tokens that end the text, nor by those that the lens cuts."""
    game, lens, view = session.game, session.lens, session.view
    place = game.known.lookahead.tree_at(game.prompt.tip)

    def may(branch: TokenBranch, before: Distribution, row: int) -> Way:
        token = before.ids[row]
        if game.piece(token).ends:
            return Way.CLOSED
        if isinstance(lens, Raw):
            return Way.OPEN
        if not branch and view is not None and (verdict := view.verdicts.get(token)) is not None:
            return Way.OPEN if verdict.cut_by == NOT_CUT else Way.CLOSED
        if lens.constraint is not None:
            return Way.CLOSED  # its effect further on is neither requested nor shown
        distribution = place.at(branch).distribution
        assert distribution is not None
        # These samplers cut a tail: all rows from here on.
        return Way.LAST if surely_cut(lens, biased(lens, distribution), row) else Way.OPEN

    return may


WALK_POSITIONS = 32
"""Positions of one request: after it, what is in sight is determined again."""
TOKENS_PER_LINE = 16
"""About how many tokens a line of a prompt has."""


def walk(session: Session) -> Outcome:
    """While idle, requests missing numbers of tokens, where the engine does not give a prompt at once.

    First comes the table at the cursor, then typed text and scored phrases, then the part of the prompt in sight,
    then the rest from its beginning.
    """
    game = session.game
    if game.can(Capability.PROMPT_AT_ONCE) or game.engine is not EngineStatus.READY:
        return session, []
    if not game.ready or game.pressed.autoplay or game.waiting or looking_ahead(game):
        return session, []
    path, start = next(_walks(session), (None, 0))
    if path is None:
        return session, []
    newest, looked_at = game.newest(ForWalk), game.prompt.unseen
    if newest and newest[1].going:
        first = newest[1].nodes[0]
        if looked_at in (None, first) and first.depth > start and path.descends_from(first):
            return session, []
    prompt = path is game.prompt.tip
    nodes = _in_order(session, looked_at) if prompt else path.lacking(start, path.depth - 1)[:WALK_POSITIONS]
    places, top = [node.depth - 1 for node in nodes], game.settings.tokens_to_show
    return request(session, ForWalk(path, tuple(nodes)), lambda number: Walk(number, path.path(), places, top))


def looking_ahead(game: Game) -> bool:
    """Whether a lookahead after likely next tokens is open: a walk would end it."""
    open_lookaheads = (
        lookahead
        for lookahead in game.open_requests.values()
        if isinstance(lookahead, ForLookahead) and lookahead.going and not lookahead.best_first
    )
    return any(not lookahead.target.knows(branch) for lookahead in open_lookaheads for branch in lookahead.branches)


def _walks(session: Session) -> Iterator[tuple[Node, int]]:
    """The paths whose tokens lack numbers, each with the first wanted position."""
    game, typing = session.game, session.on(Input)
    paths = [(typing.tip, typing.base.depth - 1)] if typing and typing.tip is not typing.base else []
    paths += [(score.tip, score.base.depth - 1) for score in game.results.scores if score.logprob is None]
    for path, start in paths:
        if (ForWalk, path, RAW) not in game.refused and path.lacking(start, path.depth - 1):
            yield path, start
    if game.walking:
        yield game.prompt.tip, 0


def _in_order(session: Session, looked_at: Node | None) -> list[Node]:
    """The prompt's nodes to request next."""
    tip, cursor, sight = session.game.prompt.tip, session.game.prompt.cursor, session.rows * TOKENS_PER_LINE
    end = tip.depth if cursor is None else cursor.depth + sight // 2
    nodes = tip.lacking(end - sight, end)
    if not nodes:
        first = tip.first_unknown()
        nodes = tip.lacking(first, first + WALK_POSITIONS)
    return list(dict.fromkeys([looked_at, *nodes] if looked_at else nodes))[:WALK_POSITIONS]


ALIGNED_AT_ONCE = 400
"""Tokens of both paths together, without common prefix and suffix, that are aligned along with a key."""


GATHERED_AT_ONCE, GATHERED_FURTHER = 60, 1_500
"""Tokens of a path that are gathered for alignment along with a key, and with a message of their own."""


def _align(session: Session, comparison: PathComparison, limit: int) -> Outcome:
    """Aligns two paths, in the background where that takes long. `limit`: tokens to gather."""
    pair = comparison.a, comparison.b
    if session.under_way.aligning == pair or not comparison.gather(limit):
        return session, []
    a, b = comparison.tails
    if quick(a, b, ALIGNED_AT_ONCE):
        comparison.align(aligned(a, b))
        return session, []
    return replace(session, under_way=replace(session.under_way, aligning=pair)), [Align(*pair, a, b)]


def compare_further(session: Session) -> Outcome:
    """Evaluates more tokens of a comparison."""
    effects: list[Effect] = []
    comparison = session.game.comparison
    if isinstance(comparison, PathComparison) and comparison.alignment is None:
        session, effects = _align(session, comparison, GATHERED_FURTHER)
    if comparison is not None:
        comparison.compare_more(JUDGED_FURTHER)
    return replace(session, under_way=replace(session.under_way, comparing=False)), effects


def compare_on(session: Session) -> Outcome:
    """Evaluates a few tokens of a comparison, and sends itself `CompareFurther` where more are left."""
    comparison = session.game.comparison
    if comparison is None or session.game.pressed.autoplay or not session.game.prompts:
        return session, []
    effects: list[Effect] = []
    gathering = False
    if isinstance(comparison, PathComparison) and comparison.alignment is None:
        session, effects = _align(session, comparison, GATHERED_AT_ONCE)
        gathering = comparison.alignment is None and session.under_way.aligning != (comparison.a, comparison.b)
    comparison.follow(session.game.prompt.tip)
    unfinished = not comparison.compare_more(JUDGED_AT_ONCE) or gathering
    if unfinished == session.under_way.comparing:
        return session, effects
    session = replace(session, under_way=replace(session.under_way, comparing=unfinished))
    return session, [*effects, CompareFurther()] if unfinished else effects


def compare(session: Session) -> Outcome:
    """While idle, requests what a comparison needs: strict answers, then how the shown tables differ."""
    game = session.game
    comparison = game.comparison
    if not isinstance(comparison, PathComparison) or comparison.alignment is None:
        return session, []
    if game.engine is not EngineStatus.READY or not game.can(Capability.COMPARISON):
        return session, []
    if not game.ready or game.pressed.autoplay or game.waiting or looking_ahead(game):
        return session, []
    open_purposes = [
        purpose for purpose in game.open_requests.values() if isinstance(purpose, Comparing) and purpose.going
    ]
    lacking, top = comparison.lacking(), game.settings.tokens_to_show
    if lacking and (ForStrict, lacking.path, RAW) not in game.refused:
        path, start = lacking
        # A request for a longer path covers this one.
        going = any(isinstance(purpose, ForStrict) and purpose.target.descends_from(path) for purpose in open_purposes)
        if session.under_way.comparing or going:
            return session, []
        return evaluate_strictly(session, path, start, comparison.path(path))
    if any(not isinstance(purpose, ForNoise) for purpose in open_purposes):
        return session, []
    place, cursor = game.prompt.place.tip, game.prompt.cursor
    other_place = comparison.place(place, cursor) if place.depth else None
    refused = any((ForDifference, node, RAW) in game.refused for node in (place, other_place) if node)
    if other_place and other_place.depth and not refused and comparison.difference(place, cursor) is None:
        a, b = place, other_place
        difference = ForDifference(a, b)
        return request(session, difference, lambda number: Compare(number, comparison.path(a), comparison.path(b), top))
    for node, start in lacking_strict(session, other_place):
        if node.parent is not None and (ForStrict, node, RAW) not in game.refused:
            return evaluate_strictly(session, node, start, [*comparison.path(node.parent), node.token])
    if game.noise is None and not open_purposes and (ForNoise, game.known.root, RAW) not in game.refused:
        return request(session, ForNoise(), MeasureNoise)
    return session, []


def evaluate_strictly(session: Session, node: Node, start: int, path: list[int]) -> Outcome:
    """Requests strict answers at the positions of a path from `start` on. `path`: its tokens."""
    top = session.game.settings.tokens_to_show
    return request(session, ForStrict(node, start), lambda number: EvaluateStrictly(number, path, start, top))


def check(session: Session) -> Outcome:
    """While idle, compares the prompt with the tokenizer's tokens of its text."""
    tip = session.game.prompt.tip if session.game.prompts else None
    if (
        tip is None
        or tip.checked
        or not session.game.ready
        or session.game.pressed.autoplay
        or session.game.engine is not EngineStatus.READY
    ):
        return session, []
    newest = session.game.newest(ForCheck)
    if newest and newest[1].target is tip:
        return session, []
    special = session.game.parses_special
    return request(session, ForCheck(tip), lambda number: Check(number, tip.path(), special))


def read_prompt(session: Session) -> Outcome:
    """Requests the tokens of the starting prompt."""
    if not session.game.settings.chat:
        return tokenize(session, session.game.settings.text, ForStart())
    return request(session, ForStart(), lambda number: Chat(number, session.game.settings.chat))


def tokenize(session: Session, text: str, purpose: Tokens, *, continues: bool = False) -> Outcome:
    """Requests the tokens of a text."""
    special = session.game.parses_special
    return request(session, purpose, lambda number: Tokenize(number, text, special, continues))
