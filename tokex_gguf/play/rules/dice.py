"""Drawing: one token that is appended, or many that are counted."""

from dataclasses import replace

from tokex_gguf.engine.protocol import Capability, Roll
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.purposes import ForRoll
from tokex_gguf.play.requests import request
from tokex_gguf.play.rules.prompt import take
from tokex_gguf.play.session import Drawn, EngineStatus, Session
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.tokens import label
from tokex_gguf.values.view import Draw, Verdict

MANY = 100
"""Draws that one key counts."""
AHEAD = 2
"""Rolls that wait at the most: with more, a held key would run on after its release."""


def cannot_draw(session: Session) -> str:
    """Why nothing can be drawn now; empty where it can."""
    if not session.game.can(Capability.SAMPLERS):
        return "this engine does not draw"
    if session.game.engine is EngineStatus.DEAD:
        return "the engine is not there: r restarts it"
    if session.game.full is not None:
        return "the context is full: ← makes room"
    return ""


def roll(session: Session) -> Outcome:
    """Draws one token from what the chain leaves, and appends it; inside the prompt, opens a new one with it."""
    if reason := cannot_draw(session):
        return replace(session, notice=reason), []
    if session.game.newest(ForRoll) or session.game.prompt.place.tip.distribution is None:
        return replace(session, game=replace(session.game, rolling=min(AHEAD, session.game.rolling + 1))), []
    return _ask(session, 1)


def roll_on(session: Session) -> Outcome:
    """Makes a roll that has waited, once the table is there."""
    game = session.game
    if not game.rolling or not game.prompts or game.newest(ForRoll) or game.prompt.place.tip.distribution is None:
        return session, []
    return _ask(replace(session, game=replace(game, rolling=game.rolling - 1)), 1)


def draw_many(session: Session) -> Outcome:
    """Draws many times without moving, and counts what comes; once more, and it counts on."""
    if reason := cannot_draw(session):
        return replace(session, notice=reason), []
    if session.game.newest(ForRoll) or session.game.prompt.place.tip.distribution is None:
        return replace(session, notice="this table is not there yet"), []
    return _ask(session, MANY)


def _ask(session: Session, count: int) -> Outcome:
    node, lens, seed = session.game.prompt.place.tip, session.lens, session.game.sampling.seed
    many = count > 1
    first = session.game.rolls.get((seed, node), 0)
    if many:
        # What is only counted has numbers of its own, far from those that are played.
        before = session.game.drawn
        counted = len(before.draws) if before and before.counts_on(node, lens) else 0
        first = COUNTED + counted
    return request(
        session, ForRoll(node, lens, many), lambda number: Roll(number, node.path(), lens, seed, first, count)
    )


COUNTED = 2**32
"""The number of the first draw that is only counted."""


def rolled(session: Session, purpose: ForRoll, draws: list[Draw], verdicts: list[Verdict]) -> Outcome:
    """What was drawn is there."""
    node, game = purpose.node, session.game
    if not draws:
        return replace(session, game=replace(game, rolling=0), notice="nothing is left to draw from"), []
    if purpose.many:
        before = game.drawn.draws if game.drawn and game.drawn.counts_on(node, purpose.lens) else ()
        drawn = Drawn(node, purpose.lens, (*before, *draws), many=True)
        return replace(session, game=replace(game, drawn=drawn)), []
    if game.prompt.place.tip is not node or session.lens != purpose.lens:
        return replace(session, game=replace(game, rolling=0)), []  # who went elsewhere meanwhile does not want it
    (draw,) = draws
    seed = game.sampling.seed
    game.rolls[seed, node] = game.rolls.get((seed, node), 0) + 1
    piece = game.piece(draw.token)
    told = f"drew {draw.number:.4f}: {label(piece.data)} has {draw.low:.4f} to {draw.high:.4f} of the bar"
    drawn = Drawn(node, purpose.lens, (draw,), many=False)
    if isinstance(purpose.lens, Sampled):
        game.answers.attach_verdict(purpose.lens, node.child(draw.token), verdicts[0])
    session, effects = take(replace(session, game=replace(game, drawn=drawn)), draw.token)
    ends = "; it ends the generation" if piece.ends else ""
    return replace(session, notice=f"{told}{ends}"), effects
