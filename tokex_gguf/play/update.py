"""The one place where a session changes: `update(session, message) -> (session, effects)`.

`update` is `handle`, which does what the message says, and `plan`, which gives the engines work while nobody waits
for them: between the two, a frame can be drawn.

A message is a key's action, other input, an engine's reply, or the outcome of an
effect. An effect is work for the shell around this: send a request, save, quit.
Nothing here waits, reads a clock or does I/O, so tests can play a game without
model or terminal.
"""

from collections.abc import Callable, Iterable

from tokex_gguf.engine.protocol import Capability
from tokex_gguf.play.events import PLAYER_MESSAGES, act
from tokex_gguf.play.game import Viewed
from tokex_gguf.play.messages import INTERNAL_ERROR, Effect, InternalError, Message, Outcome
from tokex_gguf.play.pairing import compare_models, compare_table
from tokex_gguf.play.replies import handle_event
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
from tokex_gguf.play.rules import critical, cursor, downloads, drawing, fan_out, second_model, versus
from tokex_gguf.play.rules.tree import visited
from tokex_gguf.play.rules.undo import remember
from tokex_gguf.play.session import Session
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


LENS_STEPS = (drawing.roll_on, judge_on, cursor.jump_on, look_through, judge_phrases)
"""Run after each message while the prompt is seen through a lens."""
VERDICT_STEPS = (judge,)
"""The same, but after the search for answers, which the player waits for."""
COMPARISON_STEPS = (compare_on, compare)
"""Planned while something is compared."""
FURTHER_LOOKAHEAD_STEPS = (look_further_ahead,)
"""Planned last: it requests only what nothing else needs the engine for."""
SEARCH_STEPS = (fan_out.go_on, critical.go_on)
"""Run where answers or critical tokens were looked for."""
SECOND_MODEL_FIRST_STEPS = (second_model.watch, compare_table)
"""Planned where there is a second model, before lookahead."""
SECOND_MODEL_STEPS = (second_model.take_turns, compare_models)
"""The same, after lookahead and walks."""


def handle(session: Session, message: Message) -> Outcome:
    """Handles a message: the next session, and the effects to carry out. Afterwards `plan` must run."""
    if isinstance(message, InternalError):  # first: any step below may be what failed
        return replace(session, notice=INTERNAL_ERROR), []
    before = session
    if isinstance(message, PLAYER_MESSAGES):
        if session.under_way.jumping:
            # Any input ends a jump that still waits.
            session = replace(session, under_way=replace(session.under_way, jumping=0))
        session, effects = act(session, message)
    else:
        session, effects = handle_event(session, message)
    session = remember(before, session, by_player=isinstance(message, PLAYER_MESSAGES))
    if session.game.prompts:
        session = versus.follow(before, visited(before, session))
    lens_steps, verdict_steps = (
        (LENS_STEPS, VERDICT_STEPS) if session.game.pressed.rolling or session.lens is not RAW else ((), ())
    )
    search_steps = SEARCH_STEPS if session.game.results.fans else ()
    session, effects = _run((*lens_steps, *search_steps, *verdict_steps, downloads.begin), session, effects)
    return _with_view_shown(session), effects


def plan(session: Session) -> Outcome:
    """Requests what the engines compute while the player waits for nothing: lookahead, walks, comparisons."""
    comparison_steps = () if session.game.versus is ALONE else COMPARISON_STEPS
    second_first, second_steps = (
        (SECOND_MODEL_FIRST_STEPS, SECOND_MODEL_STEPS) if session.paired is not UNPAIRED else ((), ())
    )
    lookahead_steps = FURTHER_LOOKAHEAD_STEPS if session.game.settings.lookahead_tokens else ()
    steps = (*second_first, look_ahead, walk, *second_steps, *comparison_steps, check, *lookahead_steps)
    return _run(steps, session, [])


def frame_first(before: Session, session: Session, message: Message) -> bool:
    """Whether the frame after a message can be drawn before `plan`: the player waits for it, and not for the plan.

    It has what a key did, or the first table. `plan` changes little in it: what is known ahead of a popped token may
    come. But a comparison goes on there, and a walk brings what the frame waits for.
    """
    alone = session.game.versus is ALONE and session.paired is UNPAIRED
    if not alone or not session.game.can(Capability.PROMPT_AT_ONCE):
        return False
    return session.game.ready and (isinstance(message, PLAYER_MESSAGES) or not before.game.ready)


def update(session: Session, message: Message) -> Outcome:
    """Handles a message, and plans what comes next."""
    session, effects = handle(session, message)
    if isinstance(message, InternalError):
        return session, effects
    session, planned = plan(session)
    return session, effects + planned


def _run(steps: Iterable[Callable[[Session], Outcome]], session: Session, effects: list[Effect]) -> Outcome:
    for step in steps:
        session, step_effects = step(session)
        effects = effects + step_effects
    if session.standing and session.notice:
        session = replace(session, standing=None)
    return session, effects
