"""The one place where a session changes: `update(session, message) -> (session, effects)`.

A message is a key's action, something else that the player does, an engine's reply, or
the outcome of an effect. An effect is something for the shell around this to do: ask
the engine, save, quit. Nothing here waits, reads a clock or touches the world, so a
game can be played in a test without model or terminal.
"""

from dataclasses import replace

from tokex_gguf.play.beside import compare_models, compare_table
from tokex_gguf.play.events import PLAYERS, act
from tokex_gguf.play.messages import INTERNAL_ERROR, InternalError, Message, Outcome
from tokex_gguf.play.replies import hear
from tokex_gguf.play.requests import (
    check,
    compare,
    compare_on,
    judge,
    judge_on,
    judge_phrases,
    look_ahead,
    look_further_ahead,
    look_through,
    walk,
)
from tokex_gguf.play.rules import critical, cursor, dice, downloads, fan_out, second_model, versus
from tokex_gguf.play.rules.tree import visited
from tokex_gguf.play.rules.undo import remember
from tokex_gguf.play.session import Session, Viewed
from tokex_gguf.play.versus import ALONE, UNPAIRED
from tokex_gguf.values.lens import RAW, Sampled


def seen(session: Session) -> Session:
    """The session that knows which view was shown last."""
    view, lens = session.view, session.lens
    last = session.game.seen
    if view is None or not isinstance(lens, Sampled) or (last is not None and last.view is view):
        return session
    return replace(session, game=replace(session.game, seen=Viewed(session.game.prompt.place.tip, lens, view)))


THROUGH = (dice.roll_on, judge_on, cursor.jump_on, look_through, judge_phrases)
"""What goes on by itself where the prompt is seen through a lens."""
JUDGED = (judge,)
"""The same, behind what is looked for among answers: of both, that is waited for."""
BESIDE = (compare_on, compare)
"""What goes on by itself where something is compared."""
FURTHER_AHEAD = (look_further_ahead,)
"""What goes on by itself where nothing else does."""
FANNED = (fan_out.go_on, critical.go_on)
"""What goes on by itself where answers were looked for."""
TWO_FIRST = (second_model.watch, compare_table)
"""What goes on by itself where a second model is there, and comes before what a key may ask for next."""
TWO = (second_model.take_turns, compare_models)
"""What goes on by itself there, and comes behind that."""


def update(session: Session, message: Message) -> Outcome:
    """The session after a message, and what is to be done."""
    if isinstance(message, InternalError):  # before all that may have failed
        return replace(session, notice=INTERNAL_ERROR), []
    before = session
    if isinstance(message, PLAYERS):
        if session.under_way.jumping:
            # Who goes on meanwhile does not wait for it.
            session = replace(session, under_way=replace(session.under_way, jumping=0))
        session, effects = act(session, message)
    else:
        session, effects = hear(session, message)
    session = remember(before, session, asked=isinstance(message, PLAYERS))
    if session.game.prompts:
        session = versus.follow(before, visited(before, session))
    through, judged = (THROUGH, JUDGED) if session.game.pressed.rolling or session.lens is not RAW else ((), ())
    beside = () if session.game.versus is ALONE else BESIDE
    first, two = (TWO_FIRST, TWO) if session.paired is not UNPAIRED else ((), ())
    ahead = FURTHER_AHEAD if session.game.settings.lookahead_tokens else ()
    fanned = FANNED if session.game.results.fans else ()
    for more in (*through, *fanned, *judged, *first, look_ahead, walk, *two, *beside, check, *ahead, downloads.begin):
        session, further = more(session)
        effects = effects + further
    if session.standing and session.notice:
        session = replace(session, standing=None)
    return seen(session), effects
