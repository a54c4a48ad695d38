"""What is asked of the engine: what the screen lacks, and what may be wanted next."""

from collections.abc import Callable, Iterator
from dataclasses import replace

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
from tokex_gguf.play.compared import lacking as untold
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
from tokex_gguf.play.session import Cost, EngineStatus, Game, Prompt, Session, is_cut, selected_row, table
from tokex_gguf.values.alignment import aligned, quick
from tokex_gguf.values.comparison import PathComparison
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.layers import LENS_LAYERS
from tokex_gguf.values.lens import RAW, Raw, Sampled
from tokex_gguf.values.lookahead import LONGEST_BRANCH, AsSeen, May, TokenBranch, Way, as_told
from tokex_gguf.values.model_ref import GgufFile, ModelRef, ServerModel
from tokex_gguf.values.reachability import biased, decidable, surely_cut
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT


def begin(session: Session, *, again: bool = False) -> Outcome:
    """Starts an engine for the game, in place of one that it has; with `again` on files that may have changed since."""
    before, address = session.game.address, session.counts.engines + 1
    session = replace(
        session, counts=replace(session.counts, engines=address), game=replace(session.game, address=address)
    )
    model = session.game.settings.model
    ended: list[Effect] = [Close(before)] if before else []
    return session, [*ended, Start(address, model), send(session, _opening(session.game, model, again=again))]


def _opening(game: Game, model: ModelRef, *, again: bool) -> Load | ConnectServer:
    """An engine's first request."""
    match model:
        case GgufFile(path):
            # Numbers of different cells never stand side by side: a game goes on with those that it was begun with.
            kv = (game.model and game.model.cells) or game.settings.load.kv
            return replace(game.settings.load, path=path, kv=kv, check=again)
        case ServerModel(url, asked):
            return replace(game.settings.server, url=url, model=asked)


def send(session: Session, request: Request) -> Send:
    """A request to the engine of the game that is played."""
    return Send(session.game.address, request)


KEPT_CANDIDATES = 100
"""Candidates that are kept at a path's end, where the player is. What a key brings has so many, for 0.2 ms more; those
inside a prompt have as many as the table shows: each costs 26 bytes between the processes and 16 in a session."""


def kept(session: Session) -> int:
    """Candidates to ask for where the player is."""
    return max(KEPT_CANDIDATES, session.game.settings.tokens_to_show)


def missing(game: Game, prompt: Prompt) -> int | None:
    """The first position whose distribution must be asked for; None when all is there that is waited for."""
    tip = prompt.tip
    start = tip.depth if game.complete(tip) else _first_wanted(game, tip)
    if prompt.popped is not None and tip.child(prompt.popped).taken is None:
        start = min(start, tip.depth - 1)
    return start if start < tip.depth else None


def _first_wanted(game: Game, tip: Node) -> int:
    """The first position of a path, whose table is not there, that is wanted with it.

    Where tokens are walked, what the engine comes by on its way to the table is taken along: of a text that it
    reads for the first time, of nothing where it has been behind the table.
    """
    if game.can(Capability.PROMPT_AT_ONCE):
        return tip.first_unknown()
    node = tip
    if not any(child.distribution for child in tip.children.values()):
        while node.parent and node.parent.depth and node.parent.distribution is None:
            node = node.parent
    return node.depth - 1


def request(session: Session, purpose: Purpose, made: Callable[[int], Request]) -> Outcome:
    """Sends a request, made with its number, and notes what its answer is for."""
    number = session.counts.requests + 1
    effects: list[Effect] = []
    if purpose.awaited and session.game.newest(ForVerdicts):
        # They go through a whole prompt, and nobody waits for them: they are asked for again behind this.
        session, effects = stop(session)
    asked = _going_on(session.game, purpose.asks, purpose.base if isinstance(purpose, AheadOf) else None)
    if purpose.sole and (older := session.game.newest(type(purpose))):
        asked.pop(older[0], None)
    asked[number] = purpose
    session = replace(session, game=replace(session.game, asked=asked), counts=replace(session.counts, requests=number))
    return session, [*effects, send(session, made(number))]


def stop(session: Session) -> Outcome:
    """Ends what is decoded, or waits to be; what still comes of it is kept all the same."""
    game = replace(session.game, asked=_going_on(session.game, Stop, None))
    return replace(session, game=game), [send(session, Stop())]


def _going_on(game: Game, newer: type[Request], base: Node | None) -> dict[int, Purpose]:
    """What was asked for, when the engine gets a request of a kind, which looks ahead of `base` if it does."""
    asked = dict[int, Purpose]()
    for number, purpose in game.asked.items():
        one_path = base is not None and isinstance(purpose, AheadOf) and purpose.base is base
        left = _ended(purpose) if ends(newer, purpose.asks, one_path=one_path) else purpose
        if left is not None:
            asked[number] = left
    return asked


def _ended(purpose: Purpose) -> Purpose | None:
    """What becomes of a purpose that the engine ended; None where nothing is wanted that still comes."""
    match purpose:
        case ForEvaluation() | ForAutoplay() | ForExport() | ForParting() | ForFanOut() | ForCritical():
            return replace(purpose, awaited=False)
        case ForLookahead() | ForWalk() | ForStrict() | ForDifference() | ForNoise() | ForAgainst():
            return replace(purpose, going=False)
        case ForStrictLookahead():
            return replace(purpose, going=False)
        case _:
            return None


def comparable(game: Game) -> frozenset[tuple[type[Purpose], Node, Raw | Sampled]]:
    """What the engine has refused, but for what a comparison asks: that is tried once more where one begins."""
    return frozenset(one for one in game.refused if not issubclass(one[0], Comparing | ForExport | ForCompanion))


def answered(session: Session, number: int) -> Session:
    """The session without a request that needs no more answers."""
    return replace(
        session,
        game=replace(
            session.game, asked={one: purpose for one, purpose in session.game.asked.items() if one != number}
        ),
    )


def without(session: Session, *kinds: type[Purpose]) -> Session:
    """The session when nobody waits any more for answers of some kinds."""
    return replace(
        session,
        game=replace(
            session.game, asked={one: made for one, made in session.game.asked.items() if not isinstance(made, kinds)}
        ),
    )


def end_comparing(session: Session) -> Outcome:
    """Ends what the engine of the game that is played does for a comparison with another model, or by its rows.

    What still comes of it would be taken for an answer about the next model, or about the rows in the next file.
    """
    asked = session.game.asked.values()
    going = any(isinstance(one, ForExport | ForParting) and one.awaited for one in asked)
    going |= any(isinstance(one, ForAgainst) and one.going for one in asked)
    session, effects = stop(session) if going else (session, [])
    return without(session, ForAgainst, ForExport, ForParting), effects


def ask(session: Session) -> Outcome:
    """Asks for what the goal lacks, once; stops what it does not need."""
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
    if pending is not None and covers(session.game, session.game.asked[pending], prompt):
        return session, []
    session = replace(session, game=replace(session.game, full=None, cost=Cost()))
    lens = lens_for_verdicts(session)
    purpose = ForEvaluation(tuple(tip.nodes(start)), start, prompt.popped, lens)
    top, last = session.game.settings.tokens_to_show, kept(session)
    return request(
        session,
        purpose,
        lambda number: Evaluate(number, tip.path(), start, top, prompt.popped, last, lens),
    )


def lens_for_verdicts(session: Session) -> Raw | Sampled:
    """The lens through which verdicts are to come along with distributions.

    Those that are shown, and that what is kept does not give; and those on text under a constraint, as seeing it
    again would decode it again. On a text without either they would take a millisecond a token for nothing.
    """
    lens = session.lens
    if isinstance(lens, Raw) or decidable(lens):
        return RAW
    shown = session.options.layer in LENS_LAYERS
    governed = lens.constraint is not None and lens.start < session.goal.tip.depth
    return lens if shown or governed else RAW


def look_through(session: Session) -> Outcome:
    """Asks what the lens makes of the table that is shown, as soon as that is there or asked for."""
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
    view = game.known.answers.view(lens, node)
    if view is not None and all(token in view.verdicts for token in tokens):
        return session, []
    newest = game.newest(ForView)
    if (ForView, node, lens) in game.refused or (newest and (newest[1].node, newest[1].lens) == (node, lens)):
        return session, []
    # Of those that are not among the candidates, the view must tell what the model says: a place inside a prompt has
    # fewer of them than one that was reached by a key.
    top = len(node.distribution) if node.distribution else kept(session)
    return request(session, ForView(node, lens), lambda number: Apply(number, node.path(), lens, tokens, top))


JUDGED_AT_ONCE, FURTHER = 4, 64
"""Tokens of a prompt that are judged along with a key, and with a message of their own: 2 ms at the most."""


def judge_further(session: Session) -> Session:
    """Looks at more of the prompt's tokens, where a layer shows what a lens made of them."""
    lens = session.lens
    if isinstance(lens, Sampled) and session.options.layer in LENS_LAYERS:
        session.game.known.answers.look_on(lens, session.game.prompt.tip, FURTHER)
    return replace(session, under_way=replace(session.under_way, judging=False))


def judge_on(session: Session) -> Outcome:
    """Looks at a few more of them, and asks for a message of its own where there are more than a few."""
    game, lens = session.game, session.lens
    if isinstance(lens, Raw) or session.options.layer not in LENS_LAYERS or not game.ready or game.pressed.autoplay:
        return session, []
    further = not game.known.answers.look_on(lens, game.prompt.tip, JUDGED_AT_ONCE)
    if further == session.under_way.judging:
        return session, []
    session = replace(session, under_way=replace(session.under_way, judging=further))
    return session, [JudgeFurther()] if further else []


def judge(session: Session) -> Outcome:
    """Asks for the verdicts on the prompt's tokens, where a layer shows them and what is kept does not give them."""
    game, lens = session.game, session.lens
    if (
        isinstance(lens, Raw)
        or session.options.layer not in LENS_LAYERS
        or not game.ready
        or game.pressed.autoplay
        or session.under_way.judging
    ):
        return session, []
    asked = any(isinstance(purpose, ForVerdicts | ForView) for purpose in game.asked.values())
    if asked or _answers_awaited(game) or game.engine is not EngineStatus.READY or not game.can(Capability.SAMPLERS):
        return session, []
    tip = game.prompt.tip
    if (ForVerdicts, tip, lens) in game.refused:
        return session, []
    start = game.known.answers.first_unjudged(lens, tip)
    if start is None:
        return session, []
    nodes = tuple(tip.nodes(start))
    purpose = ForVerdicts(nodes, start, lens)
    return request(session, purpose, lambda number: Evaluate(number, tip.path(), start, 1, None, 0, lens))


def _answers_awaited(game: Game) -> bool:
    """Whether answers, or critical tokens, are looked for: what else is asked for would end that, or be ended by it."""
    return any(isinstance(purpose, ForFanOut | ForCritical) and purpose.awaited for purpose in game.asked.values())


def judge_phrases(session: Session) -> Outcome:
    """Asks where scored phrases break the constraint, one after the other, while they are seen."""
    game = session.game
    if game.engine is not EngineStatus.READY or not session.on(Input) or not game.can(Capability.CONSTRAINTS):
        return session, []
    if game.newest(ForPhrase):
        return session, []
    for score in reversed(game.results.scores):
        limit = session.limit_of(score)
        if limit is None or game.known.answers.broken(limit, score.tip) is not None:
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
    """Whether a request's answers will hold all that is waited for of a prompt."""
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
    """While nothing is asked for, asks for what may be asked next: the selected and the likeliest tokens."""
    budget = session.game.settings.lookahead
    if not session.game.can(Capability.BATCHES):
        return session, []
    if not session.game.ready or session.game.pressed.autoplay or session.game.engine is not EngineStatus.READY:
        return session, []
    if _compares_table(session):  # it would be ended by that
        return session, []
    if _answers_awaited(session.game):
        return session, []
    if isinstance(session.screen, TypingScreen) or session.game.prompt.cursor is not None:
        return session, []
    if not budget:
        return _name_path(session)
    prompt = session.game.prompt
    wanted = tuple((token,) for token in likely_next(session, budget) if not session.game.knows_ahead(token))
    if (ForLookahead, prompt.tip, RAW) in session.game.refused:
        return session, []
    if not wanted or prompt.tip.depth >= (session.game.model.context_limit if session.game.model else 0):
        return session, []
    # What was asked for stays asked for, answered or not, until something else ends it.
    going = [one for one in _lookaheads(session.game, prompt.tip) if one.going and not one.best_first]
    before = {branch for one in going for branch in one.branches}
    if set(wanted) <= before:
        return session, []
    path, top = prompt.tip.path(), kept(session)
    branches = list(map(list, wanted))
    return request(session, ForLookahead(prompt.tip, wanted), lambda number: Lookahead(number, path, branches, top))


WORTH_THE_DISK = 64
"""Tokens of a prompt from which on the engine may have it on the disk."""


def _name_path(session: Session) -> Outcome:
    """Where nothing is looked ahead to, names the prompt: the engine can read its cells before a key needs them.

    Without a cache there are none. Nor has a server any, and it would end a walk for it.
    """
    tip = session.game.prompt.tip
    cached = session.game.settings.load.cache and session.game.can(Capability.PROMPT_AT_ONCE)
    if tip.depth < WORTH_THE_DISK or not cached:
        return session, []
    if any(not one.best_first for one in _lookaheads(session.game, tip)):
        return session, []
    path, top = tip.path(), kept(session)
    return request(session, ForLookahead(tip, ()), lambda number: Lookahead(number, path, [], top))


def _compares_table(session: Session) -> bool:
    """Whether two models are asked for what the table says of both."""
    exporting = session.beside.newest(ForExport) if session.beside else None
    against = session.game.newest(ForAgainst)
    parts = [exporting[1].part] if exporting and exporting[1].awaited else []
    parts += [against[1].part] if against and against[1].going else []
    return any(part.end == session.game.prompt.place.tip.depth == part.start + 1 for part in parts)


def likely_next(session: Session, most: int) -> list[int]:
    """The tokens that may be appended next: the selected one, and others of the table's first `most`."""
    rows = table(session, session.game.prompt)
    if not rows:  # in what order is not known yet
        return []
    chosen = rows[selected_row(session, session.game.prompt)].token
    likely = [row.token for row in rows[:most]]
    # Where a token ends the generation, or is cut, nobody goes on, unless it is chosen.
    left = (token for token in likely if token != chosen and not is_cut(session, token))
    return [chosen, *(token for token in left if not session.game.piece(token).ends)]


def _lookaheads(game: Game, tip: Node) -> Iterator[ForLookahead]:
    """What was asked for ahead of a tip, since something else was decoded."""
    for one in reversed(game.asked.values()):
        if isinstance(one, ForLookahead) and one.target is tip:
            yield one
        elif isinstance(one, Decoded) and not isinstance(one, ForWalk | Comparing):  # these go on afterwards
            return


AT_FIRST, BRANCHES_TOGETHER = 8, 16
"""Branches that are asked for together. A batch of two or three takes longer than one after the other, of eight half
the time, of sixteen a third; a first one of sixteen would go further into the breadth than into the depth."""
REQUESTS_AHEAD = 2
"""Requests for them that are under way at once: while one is answered and the next made, the engine has another."""


def look_further_ahead(session: Session) -> Outcome:
    """While nothing at all is asked for, asks for what most likely comes behind the next tokens, best first."""
    game = session.game
    budget = game.settings.lookahead_tokens if game.settings.lookahead else 0
    if not budget or not game.ready or game.pressed.autoplay or game.waiting or game.engine is not EngineStatus.READY:
        return session, []
    if not game.can(Capability.BRANCHES) or looking_ahead(game):
        return session, []
    # Elsewhere a key, such as a step of a sampler's value, would wait for the end of a batch that nobody sees.
    if not isinstance(session.screen, Play) or game.prompt.cursor is not None or session.beside is not None:
        return session, []
    if session.under_way.judging or session.under_way.comparing or session.under_way.aligning or session.order_awaited:
        return session, []
    tip = game.prompt.tip
    if any(_goes_first(one) for one in game.asked.values()) or (ForLookahead, tip, RAW) in game.refused:
        return session, []
    lookahead, may = game.known.lookahead.of(tip), _may(session)
    going = [one.branches for one in _lookaheads(game, tip) if one.best_first and one.going]
    asked = {branch for branches in going for branch in branches if lookahead.at(branch).distribution is None}
    under_way = sum(any(branch in asked for branch in branches) for branches in going)
    if under_way < REQUESTS_AHEAD:
        lookahead.begin((game.sampling, session.view), asked, _seen(session))
    effects: list[Effect] = []
    for _ in range(under_way, REQUESTS_AHEAD):
        count = BRANCHES_TOGETHER if lookahead.known >= AT_FIRST else AT_FIRST
        wanted = (
            lookahead.wanted(count, budget, may)
            if tip.depth + LONGEST_BRANCH < (game.model.context_limit if game.model else 0)
            else []
        )
        if not wanted:
            break
        session, sent = request(
            session, ForLookahead(tip, tuple(wanted), best_first=True), _asks_best_first(session, tip, wanted)
        )
        effects += sent
    return session, effects


def _asks_best_first(session: Session, tip: Node, wanted: list[TokenBranch]) -> Callable[[int], Request]:
    path, branches, top = tip.path(), list(map(list, wanted)), kept(session)
    return lambda number: Lookahead(number, path, branches, top)


def _goes_first(purpose: Purpose) -> bool:
    """Whether what is asked for is worth more than looking further ahead, though nobody waits for it."""
    return isinstance(purpose, ForVerdicts) or (isinstance(purpose, ForWalk | Comparing) and purpose.going)


def _seen(session: Session) -> AsSeen:
    """How a distribution is seen where likely branches go on by it: as the lens's biases leave it."""
    lens = session.lens
    return as_told if isinstance(lens, Raw) else lambda told: biased(lens, told).distribution


def _may(session: Session) -> May:
    """Where a prompt may go on: not by what ends it, nor by what the lens cuts, where that is known."""
    game, lens, view = session.game, session.lens, session.view
    place = game.known.lookahead.of(game.prompt.tip)

    def may(branch: TokenBranch, before: Distribution, row: int) -> Way:
        token = before.ids[row]
        if game.piece(token).ends:
            return Way.CLOSED
        if isinstance(lens, Raw):
            return Way.OPEN
        if not branch and view is not None and (verdict := view.verdicts.get(token)) is not None:
            return Way.OPEN if verdict.cut_by == NOT_CUT else Way.CLOSED
        if lens.constraint is not None:
            return Way.CLOSED  # the engine is not asked what that leaves further on, and nothing of it is shown
        told = place.at(branch).distribution
        assert told is not None
        # What these samplers cut of a distribution is its end.
        return Way.LAST if surely_cut(lens, biased(lens, told), row) else Way.OPEN

    return may


WALKED = 32
"""Positions that are asked for together: behind them it is looked anew what is in sight."""
ON_A_LINE = 16
"""Tokens that stand on a line of a prompt, about."""


def walk(session: Session) -> Outcome:
    """While nothing else is asked for, asks for what the tokens of texts lack, where a prompt is not given at once.

    First comes the table that is looked at, then typed text and phrases that are scored, then what is in sight of
    the prompt, then the rest of it from its beginning.
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
    nodes = _in_order(session, looked_at) if prompt else path.lacking(start, path.depth - 1)[:WALKED]
    places, top = [node.depth - 1 for node in nodes], game.settings.tokens_to_show
    return request(session, ForWalk(path, tuple(nodes)), lambda number: Walk(number, path.path(), places, top))


def looking_ahead(game: Game) -> bool:
    """Whether likely next tokens are being gone on from: a walk would end that."""
    first = (one for one in game.asked.values() if isinstance(one, ForLookahead) and one.going and not one.best_first)
    return any(not one.target.knows(branch) for one in first for branch in one.branches)


def _walks(session: Session) -> Iterator[tuple[Node, int]]:
    """The paths whose tokens lack numbers, and the first position from which they are wanted."""
    game, typing = session.game, session.on(Input)
    paths = [(typing.tip, typing.base.depth - 1)] if typing and typing.tip is not typing.base else []
    paths += [(score.tip, score.base.depth - 1) for score in game.results.scores if score.logprob is None]
    for path, start in paths:
        if (ForWalk, path, RAW) not in game.refused and path.lacking(start, path.depth - 1):
            yield path, start
    if game.walking:
        yield game.prompt.tip, 0


def _in_order(session: Session, looked_at: Node | None) -> list[Node]:
    """Those of the prompt that are to come next."""
    tip, cursor, sight = session.game.prompt.tip, session.game.prompt.cursor, session.rows * ON_A_LINE
    end = tip.depth if cursor is None else cursor.depth + sight // 2
    nodes = tip.lacking(end - sight, end)
    if not nodes:
        first = tip.first_unknown()
        nodes = tip.lacking(first, first + WALKED)
    return list(dict.fromkeys([looked_at, *nodes] if looked_at else nodes))[:WALKED]


ALIGNED_AT_ONCE = 400
"""Tokens of both paths together, between what they begin and end with alike, that are aligned along with a key."""


GATHERED_AT_ONCE, GATHERED_FURTHER = 60, 1_500
"""Tokens of a path that are gathered along with a key, and with a message of their own, to be aligned."""


def _align(session: Session, comparison: PathComparison, most: int) -> Outcome:
    """Finds which tokens the two paths have in common; where that takes long, beside."""
    pair = comparison.a, comparison.b
    if session.under_way.aligning == pair or not comparison.gather(most):
        return session, []
    a, b = comparison.tails
    if quick(a, b, ALIGNED_AT_ONCE):
        comparison.align(aligned(a, b))
        return session, []
    return replace(session, under_way=replace(session.under_way, aligning=pair)), [Align(*pair, a, b)]


def compare_further(session: Session) -> Outcome:
    """Looks at more of what is compared."""
    effects: list[Effect] = []
    comparison = session.game.comparison
    if isinstance(comparison, PathComparison) and comparison.alignment is None:
        session, effects = _align(session, comparison, GATHERED_FURTHER)
    if comparison is not None:
        comparison.look_on(FURTHER)
    return replace(session, under_way=replace(session.under_way, comparing=False)), effects


def compare_on(session: Session) -> Outcome:
    """Looks at a little of what is compared, and asks for a message of its own where there is more."""
    comparison = session.game.comparison
    if comparison is None or session.game.pressed.autoplay or not session.game.prompts:
        return session, []
    effects: list[Effect] = []
    gathering = False
    if isinstance(comparison, PathComparison) and comparison.alignment is None:
        session, effects = _align(session, comparison, GATHERED_AT_ONCE)
        gathering = comparison.alignment is None and session.under_way.aligning != (comparison.a, comparison.b)
    comparison.follow(session.game.prompt.tip)
    further = not comparison.look_on(JUDGED_AT_ONCE) or gathering
    if further == session.under_way.comparing:
        return session, effects
    session = replace(session, under_way=replace(session.under_way, comparing=further))
    return session, [*effects, CompareFurther()] if further else effects


def compare(session: Session) -> Outcome:
    """While nothing else is asked for, asks for what is compared: strict answers, then how the shown tables differ."""
    game = session.game
    comparison = game.comparison
    if not isinstance(comparison, PathComparison) or comparison.alignment is None:
        return session, []
    if game.engine is not EngineStatus.READY or not game.can(Capability.COMPARISON):
        return session, []
    if not game.ready or game.pressed.autoplay or game.waiting or looking_ahead(game):
        return session, []
    asked = [one for one in game.asked.values() if isinstance(one, Comparing) and one.going]
    lacking, top = comparison.lacking(), game.settings.tokens_to_show
    if lacking and (ForStrict, lacking.path, RAW) not in game.refused:
        path, start = lacking
        if session.under_way.comparing or any(isinstance(one, ForStrict) and one.target is path for one in asked):
            return session, []
        return tell_strictly(session, path, start, comparison.path(path))
    if any(not isinstance(one, ForNoise) for one in asked):
        return session, []
    place, cursor = game.prompt.place.tip, game.prompt.cursor
    other = comparison.place(place, cursor) if place.depth else None
    refused = any((ForDifference, node, RAW) in game.refused for node in (place, other) if node)
    if other and other.depth and not refused and comparison.difference(place, cursor) is None:
        a, b = place, other
        difference = ForDifference(a, b)
        return request(session, difference, lambda number: Compare(number, comparison.path(a), comparison.path(b), top))
    for node, start in untold(session, other):
        if node.parent is not None and (ForStrict, node, RAW) not in game.refused:
            return tell_strictly(session, node, start, [*comparison.path(node.parent), node.token])
    if game.noise is None and not asked and (ForNoise, game.known.root, RAW) not in game.refused:
        return request(session, ForNoise(), MeasureNoise)
    return session, []


def tell_strictly(session: Session, node: Node, start: int, path: list[int]) -> Outcome:
    """Asks for the strict answers at the positions of a path from `start` on. `path`: its tokens."""
    top = session.game.settings.tokens_to_show
    return request(session, ForStrict(node, start), lambda number: EvaluateStrictly(number, path, start, top))


def check(session: Session) -> Outcome:
    """While nothing is asked for, compares the prompt with what the tokenizer makes of its text."""
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
    special = session.game.settings.parse_special
    return request(session, ForCheck(tip), lambda number: Check(number, tip.path(), special))


def read_prompt(session: Session) -> Outcome:
    """Asks for the tokens of the starting prompt."""
    if not session.game.settings.chat:
        return tokenize(session, session.game.settings.text, ForStart())
    return request(session, ForStart(), lambda number: Chat(number, session.game.settings.chat))


def tokenize(session: Session, text: str, purpose: Tokens, *, continues: bool = False) -> Outcome:
    """Asks for the tokens of a text."""
    special = session.game.settings.parse_special
    return request(session, purpose, lambda number: Tokenize(number, text, special, continues))
