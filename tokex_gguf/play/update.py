"""The one place where a session changes: `update(session, message) -> (session, effects)`.

A message is a key's action, other input, an engine's reply, or the outcome of an
effect. An effect is work for the shell around this: send a request, save, quit.
Nothing here waits, reads a clock or does I/O, so tests can play a game without
model or terminal.
"""

from tokex_gguf.play.beside import compare_models, compare_table
from tokex_gguf.play.events import PLAYER_MESSAGES, act
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
from tokex_gguf.values.record import replace


def _with_view_shown(session: Session) -> Session:
    """Records the view that is shown, so that it stays in sight until the next one comes."""
    view, lens = session.view, session.lens
    last = session.game.seen
    if view is None or not isinstance(lens, Sampled) or (last is not None and last.view is view):
        return session
    return replace(session, game=replace(session.game, seen=Viewed(session.game.prompt.place.tip, lens, view)))


LENS_STEPS = (dice.roll_on, judge_on, cursor.jump_on, look_through, judge_phrases)
"""Run after each message while the prompt is seen through a lens."""
VERDICT_STEPS = (judge,)
"""The same, but after the search for answers, which the player waits for."""
COMPARISON_STEPS = (compare_on, compare)
"""Run while something is compared."""
FURTHER_LOOKAHEAD_STEPS = (look_further_ahead,)
"""Run last: it requests only what nothing else needs the engine for."""
SEARCH_STEPS = (fan_out.go_on, critical.go_on)
"""Run where answers or critical tokens were looked for."""
SECOND_MODEL_FIRST_STEPS = (second_model.watch, compare_table)
"""Run where there is a second model, before lookahead."""
SECOND_MODEL_STEPS = (second_model.take_turns, compare_models)
"""The same, after lookahead and walks."""


def update(session: Session, message: Message) -> Outcome:
    """Handles a message: the next session, and the effects to carry out."""
    if isinstance(message, InternalError):  # first: any step below may be what failed
        return replace(session, notice=INTERNAL_ERROR), []
    before = session
    if isinstance(message, PLAYER_MESSAGES):
        if session.under_way.jumping:
            # Any input ends a jump that still waits.
            session = replace(session, under_way=replace(session.under_way, jumping=0))
        session, effects = act(session, message)
    else:
        session, effects = hear(session, message)
    session = remember(before, session, by_player=isinstance(message, PLAYER_MESSAGES))
    if session.game.prompts:
        session = versus.follow(before, visited(before, session))
    lens_steps, verdict_steps = (
        (LENS_STEPS, VERDICT_STEPS) if session.game.pressed.rolling or session.lens is not RAW else ((), ())
    )
    comparison_steps = () if session.game.versus is ALONE else COMPARISON_STEPS
    second_first, second_steps = (
        (SECOND_MODEL_FIRST_STEPS, SECOND_MODEL_STEPS) if session.paired is not UNPAIRED else ((), ())
    )
    lookahead_steps = FURTHER_LOOKAHEAD_STEPS if session.game.settings.lookahead_tokens else ()
    search_steps = SEARCH_STEPS if session.game.results.fans else ()
    for step in (
        *lens_steps,
        *search_steps,
        *verdict_steps,
        *second_first,
        look_ahead,
        walk,
        *second_steps,
        *comparison_steps,
        check,
        *lookahead_steps,
        downloads.begin,
    ):
        session, step_effects = step(session)
        effects = effects + step_effects
    if session.standing and session.notice:
        session = replace(session, standing=None)
    return _with_view_shown(session), effects
