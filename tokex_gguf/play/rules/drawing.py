"""Drawing: one token to append, or many to count."""

from tokex_gguf.engine.protocol import Capability, Roll
from tokex_gguf.play.game import Drawn, EngineStatus
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.purposes import ForRoll
from tokex_gguf.play.requests import request
from tokex_gguf.play.rules.prompt import CONTEXT_FULL, NO_TABLE, no_room, nothing_left, take
from tokex_gguf.play.screens import PLAY, DrawCount, Play, Seed, TypingScreen
from tokex_gguf.play.session import Session
from tokex_gguf.values.lens import Raw, Sampled
from tokex_gguf.values.random_numbers import RANDOM_SEED, numbers
from tokex_gguf.values.record import replace
from tokex_gguf.values.text_field import EMPTY
from tokex_gguf.values.tokens import quoted
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import Draw, Verdict

DRAWS_PER_KEY = 100
"""Draws that one key counts."""
MOST_DRAWS = 10_000
"""The most draws of one request: its answer is a megabyte."""
MOST_ROLLS_WAITING = 2
"""The most rolls that wait: with more, a held key would run on after its release."""


def cannot_draw(session: Session) -> str:
    """Why no token can be drawn now; empty where one can."""
    if reason := session.game.cannot(Capability.SAMPLERS):
        return reason
    if reason := session.game.unavailable:
        return reason
    if session.game.full is not None:
        return CONTEXT_FULL
    return ""


def roll(session: Session) -> Outcome:
    """Draws a token through the lens and appends it; inside the prompt, opens a new prompt that ends with it."""
    inside = session.game.prompt.cursor is not None
    if reason := cannot_draw(session) or (inside and no_room(session)):
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
    """Makes a waiting roll once the table is there."""
    game = session.game
    if not game.pressed.rolling:
        return session, []
    if not isinstance(session.screen, Play) or game.pressed.autoplay or game.engine is not EngineStatus.READY:
        # The player types by now, or autoplay runs: drop the waiting rolls.
        return replace(session, game=replace(game, pressed=replace(game.pressed, rolling=0))), []
    if game.newest(ForRoll) or game.prompt.place.tip.distribution is None:
        return session, []
    return _ask(replace(session, game=replace(game, pressed=replace(game.pressed, rolling=game.pressed.rolling - 1))))


def draw_many(session: Session) -> Outcome:
    """Draws many times without appending, and counts the tokens; further draws add to the counts."""
    return _draw(session, DRAWS_PER_KEY)


def _draw(session: Session, count: int) -> Outcome:
    if reason := cannot_draw(session):
        return replace(session, notice=reason), []
    if session.game.newest(ForRoll):
        return replace(session, notice="the draw before is not there yet"), []
    if session.game.prompt.place.tip.distribution is None:
        return replace(session, notice=NO_TABLE), []
    return _ask(session, count)


def _ask(session: Session, count: int | None = None) -> Outcome:
    """Requests a token to append, or `count` draws that are only counted."""
    node, lens, seed = session.game.prompt.place.tip, session.lens, session.game.sampling.seed
    # Counted draws have numbers of their own, far from those of played ones.
    first_counted = COUNTED + len(_counted(session, node, lens, seed))
    first = session.game.known.rolls.get((seed, node), 0) if count is None else first_counted
    return request(
        session,
        ForRoll(node, lens, seed, many=count is not None),
        lambda number: Roll(number, node.path(), lens, seed, first, count or 1),
    )


def _counted(session: Session, node: Node, lens: Raw | Sampled, seed: int) -> tuple[Draw, ...]:
    """The draws whose counts further draws add to."""
    drawn = session.game.drawn
    same = drawn and drawn.counts_on(node, lens) and drawn.seed == seed
    return drawn.draws if drawn and same else ()


COUNTED = 2**32
"""The number of the first draw that is only counted."""


def rolled(session: Session, purpose: ForRoll, draws: list[Draw], verdicts: list[Verdict]) -> Outcome:
    """Handles draws: counts them, or appends the token."""
    node, seed, game = purpose.node, purpose.seed, session.game
    if not draws:
        return replace(
            session, game=replace(game, pressed=replace(game.pressed, rolling=0)), notice=nothing_left(session)
        ), []
    if purpose.many:
        all_draws = (*_counted(session, node, purpose.lens, seed), *draws)
        drawn = Drawn(node, purpose.lens, seed, all_draws, many=True)
        return replace(session, game=replace(game, drawn=drawn)), []
    typing = isinstance(session.current, TypingScreen)
    if game.prompt.place.tip is not node or session.lens != purpose.lens or typing:
        # The player has moved on meanwhile.
        return replace(session, game=replace(game, pressed=replace(game.pressed, rolling=0))), []
    (draw,) = draws
    game.known.rolls[seed, node] = game.known.rolls.get((seed, node), 0) + 1
    piece = game.piece(draw.token)
    notice = f"drew {draw.number:.4f}: {quoted(piece.data)} has {draw.low:.4f} to {draw.high:.4f} of the bar"
    drawn = Drawn(node, purpose.lens, seed, (draw,), many=False)
    if isinstance(purpose.lens, Sampled):
        game.known.lens_results.attach_verdict(purpose.lens, node.child(draw.token), verdicts[0])
    session, effects = take(replace(session, game=replace(game, drawn=drawn)), draw.token)
    # The rolls after this one still wait.
    pressed = replace(session.game.pressed, rolling=game.pressed.rolling)
    session = replace(session, game=replace(session.game, pressed=pressed))
    ends = "; it ends the generation" if piece.ends else ""
    why = f"; {session.notice}" if session.notice else ""
    return replace(session, notice=f"{notice}{ends}{why}"), effects


# --- what is typed


def draw(session: Session) -> Outcome:
    """Begins to type the number of draws."""
    return replace(session, screen=DrawCount()), []


def enter_count(session: Session) -> Outcome:
    """Makes the typed number of draws."""
    count = _whole(session.line.text)
    if count is None or not 1 <= count <= MOST_DRAWS:
        return replace(session, notice=f"a whole number from 1 to {MOST_DRAWS:,}"), []
    return _draw(replace(session, screen=PLAY), count)


def seed(session: Session) -> Outcome:
    """Begins to type a seed; typing replaces the present one."""
    line = replace(EMPTY.typed(str(session.game.sampling.seed)), selected=True)
    return replace(session, screen=Seed(line=line), notice="typing replaces it; an empty line takes a new one"), []


def enter_seed(session: Session) -> Outcome:
    """Sets the typed seed; a new one if the line is empty."""
    text, before = session.line.text.strip(), session.game.sampling.seed
    # The rules are pure: a new seed is derived from the present one.
    new_seed = _whole(text) if text else int(next(numbers(before, [], 0, 1)) * RANDOM_SEED)
    if new_seed is None or new_seed >= RANDOM_SEED:  # this value means a random seed to `--seed`
        return replace(session, notice=f"a whole number from 0 to {RANDOM_SEED - 1}, or nothing for a new one"), []
    sampling = replace(session.game.sampling, seed=new_seed)
    game = replace(session.game, sampling=sampling)
    return replace(session, game=game, screen=PLAY, notice=f"the seed is {new_seed}"), []


def _whole(text: str) -> int | None:
    """The value of a text of up to 11 digits; None where it is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
