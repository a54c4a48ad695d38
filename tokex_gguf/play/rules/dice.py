"""Drawing: one token that is appended, or many that are counted."""

from dataclasses import replace

from tokex_gguf.engine.protocol import Capability, Roll
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.purposes import ForRoll
from tokex_gguf.play.requests import request
from tokex_gguf.play.rules.prompt import nothing_left, take
from tokex_gguf.play.screens import PLAY, DrawCount, Play, Seed
from tokex_gguf.play.session import Drawn, EngineStatus, Session
from tokex_gguf.values.dice import RANDOM_SEED, numbers
from tokex_gguf.values.lens import Raw, Sampled
from tokex_gguf.values.text_field import EMPTY
from tokex_gguf.values.tokens import label
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import Draw, Verdict

MANY = 100
"""Draws that one key counts."""
MOST_AT_ONCE = 10_000
"""Draws that can be asked for at once: the answer is a megabyte."""
MOST_ROLLS_WAITING = 2
"""Rolls that wait at the most: with more, a held key would run on after its release."""


def cannot_draw(session: Session) -> str:
    """Why nothing can be drawn now; empty where it can."""
    if reason := session.game.cannot(Capability.SAMPLERS):
        return reason
    if reason := session.game.absent:
        return reason
    if session.game.full is not None:
        return "the context is full: ← makes room"
    return ""


def roll(session: Session) -> Outcome:
    """Draws one token from what the chain leaves, and appends it; inside the prompt, opens a new one with it."""
    if reason := cannot_draw(session):
        return replace(session, notice=reason), []
    if session.game.newest(ForRoll) or session.game.prompt.place.tip.distribution is None:
        return replace(
            session,
            game=replace(
                session.game,
                pressed=replace(
                    session.game.pressed, rolling=min(MOST_ROLLS_WAITING, session.game.pressed.rolling + 1)
                ),
            ),
        ), []
    return _ask(session)


def roll_on(session: Session) -> Outcome:
    """Makes a roll that has waited, once the table is there."""
    game = session.game
    if not game.pressed.rolling:
        return session, []
    if not isinstance(session.screen, Play) or game.pressed.autoplay or game.engine is not EngineStatus.READY:
        # Who types by now, or plays on, is no longer where R was pressed.
        return replace(session, game=replace(game, pressed=replace(game.pressed, rolling=0))), []
    if game.newest(ForRoll) or game.prompt.place.tip.distribution is None:
        return session, []
    return _ask(replace(session, game=replace(game, pressed=replace(game.pressed, rolling=game.pressed.rolling - 1))))


def draw_many(session: Session) -> Outcome:
    """Draws many times without moving, and counts what comes; once more, and it counts on."""
    return _draw(session, MANY)


def _draw(session: Session, count: int) -> Outcome:
    if reason := cannot_draw(session):
        return replace(session, notice=reason), []
    if session.game.newest(ForRoll) or session.game.prompt.place.tip.distribution is None:
        return replace(session, notice="this table is not there yet"), []
    return _ask(session, count)


def _ask(session: Session, count: int | None = None) -> Outcome:
    """Asks for one token to append, or for so many draws that are only counted."""
    node, lens, seed = session.game.prompt.place.tip, session.lens, session.game.sampling.seed
    # What is only counted has numbers of its own, far from those that are played.
    counted = COUNTED + len(_counted(session, node, lens, seed))
    first = session.game.known.rolls.get((seed, node), 0) if count is None else counted
    return request(
        session,
        ForRoll(node, lens, seed, many=count is not None),
        lambda number: Roll(number, node.path(), lens, seed, first, count or 1),
    )


def _counted(session: Session, node: Node, lens: Raw | Sampled, seed: int) -> tuple[Draw, ...]:
    """The draws that further ones by a seed are counted together with."""
    drawn = session.game.drawn
    same = drawn and drawn.counts_on(node, lens) and drawn.seed == seed
    return drawn.draws if drawn and same else ()


COUNTED = 2**32
"""The number of the first draw that is only counted."""


def rolled(session: Session, purpose: ForRoll, draws: list[Draw], verdicts: list[Verdict]) -> Outcome:
    """What was drawn is there."""
    node, seed, game = purpose.node, purpose.seed, session.game
    if not draws:
        return replace(
            session, game=replace(game, pressed=replace(game.pressed, rolling=0)), notice=nothing_left(session)
        ), []
    if purpose.many:
        together = (*_counted(session, node, purpose.lens, seed), *draws)
        drawn = Drawn(node, purpose.lens, seed, together, many=True)
        return replace(session, game=replace(game, drawn=drawn)), []
    if game.prompt.place.tip is not node or session.lens != purpose.lens:
        return replace(
            session, game=replace(game, pressed=replace(game.pressed, rolling=0))
        ), []  # who went elsewhere meanwhile does not want it
    (draw,) = draws
    game.known.rolls[seed, node] = game.known.rolls.get((seed, node), 0) + 1
    piece = game.piece(draw.token)
    told = f"drew {draw.number:.4f}: {label(piece.data)} has {draw.low:.4f} to {draw.high:.4f} of the bar"
    drawn = Drawn(node, purpose.lens, seed, (draw,), many=False)
    if isinstance(purpose.lens, Sampled):
        game.known.answers.attach_verdict(purpose.lens, node.child(draw.token), verdicts[0])
    session, effects = take(replace(session, game=replace(game, drawn=drawn)), draw.token)
    # Those behind this one still wait.
    pressed = replace(session.game.pressed, rolling=game.pressed.rolling)
    session = replace(session, game=replace(session.game, pressed=pressed))
    ends = "; it ends the generation" if piece.ends else ""
    return replace(session, notice=f"{told}{ends}"), effects


# --- what is typed


def draw(session: Session) -> Outcome:
    """Asks how often to draw."""
    return replace(session, screen=DrawCount()), []


def enter_count(session: Session) -> Outcome:
    """Draws as often as is typed."""
    count = _whole(session.line.text)
    if count is None or not 1 <= count <= MOST_AT_ONCE:
        return replace(session, notice=f"a whole number from 1 to {MOST_AT_ONCE:,}"), []
    return _draw(replace(session, screen=PLAY), count)


def seed(session: Session) -> Outcome:
    """Asks for a seed; typing replaces the present one."""
    line = replace(EMPTY.typed(str(session.game.sampling.seed)), selected=True)
    return replace(session, screen=Seed(line=line), notice="typing replaces it; an empty line takes a new one"), []


def enter_seed(session: Session) -> Outcome:
    """Draws by the seed that is typed from now on; by another one where none is."""
    text, before = session.line.text.strip(), session.game.sampling.seed
    # The rules know no chance but that of the seed itself: the next one comes from it.
    chosen = _whole(text) if text else int(next(numbers(before, [], 0, 1)) * RANDOM_SEED)
    if chosen is None or chosen >= RANDOM_SEED:  # the largest one means a random seed where it is given to `--seed`
        return replace(session, notice=f"a whole number from 0 to {RANDOM_SEED - 1}, or nothing for a new one"), []
    sampling = replace(session.game.sampling, seed=chosen)
    game = replace(session.game, sampling=sampling)
    return replace(session, game=game, screen=PLAY, notice=f"the seed is {chosen}"), []


def _whole(text: str) -> int | None:
    """The number that a text is, where it is a whole one of few digits."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
