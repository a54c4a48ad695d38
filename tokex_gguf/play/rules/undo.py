"""Undoing what was done to the open prompts, to the constraint and to the sampler chain."""

from dataclasses import replace

from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules.prompt import show, with_along
from tokex_gguf.play.session import Game, Places, Running, Session, Undo
from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.formatting import bias_text
from tokex_gguf.values.samplers import Chain, Kind
from tokex_gguf.values.tokens import glimpse, label
from tokex_gguf.values.tree import Node

MOST_ACTIONS = 1_000
"""Actions that can be undone. The tree has all that was visited in any case."""


def remember(before: Session, after: Session, *, asked: bool) -> Session:
    """The session after a message, with what it takes to undo what the message did.

    `asked`: the message is the player's, and not the engine's. An autoplay is one action, however many tokens it
    appends, and so are the steps by which one sampler's values are changed. Going to another prompt, to another row
    or back in the prompt is none: nothing is changed by that.
    """
    was, now = before.game, after.game
    if was.known.root is not now.known.root or was.undo is not now.undo or not was.prompts:
        return after
    running = now.undo.running
    if _changed(was, now):
        tuned = _tuned(was, now)
        same = (
            running is Running.AUTOPLAY and (was.pressed.autoplay and not asked) if tuned is None else running is tuned
        )
        if not same:
            past = (*now.undo.past, _places(before))[-MOST_ACTIONS:]
            return replace(after, game=replace(now, undo=Undo(past, running=tuned or _running(now))))
    if running is Running.AUTOPLAY and not now.pressed.autoplay:
        return replace(after, game=replace(now, undo=replace(now.undo, running=Running.NOTHING)))
    return after


def _changed(was: Game, now: Game) -> bool:
    """Whether anything differs that can be undone."""
    if was.prompts is now.prompts and was.sampling is now.sampling:
        return False  # with nearly every message
    return _played(was) != _played(now)


def _played(game: Game) -> tuple[list[tuple[Node, str, int]], Chain, Constraint | None]:
    """The prompts' ends and names, and where a constraint begins in them; what their tokens are drawn by."""
    sampling = game.sampling
    limited = sampling.constraint is not None  # else it is nowhere seen
    prompts = [(prompt.tip, prompt.name, prompt.begins if limited else 0) for prompt in game.prompts]
    return prompts, sampling.chain, sampling.constraint


def _tuned(was: Game, now: Game) -> Kind | None:
    """The only sampler whose values are what differs; None where anything else does."""
    if was.prompts is not now.prompts or was.sampling.constraint != now.sampling.constraint:
        return None
    before, after = was.sampling.chain, now.sampling.chain
    if replace(before, samplers=()) != replace(after, samplers=()) or len(before.samplers) != len(after.samplers):
        return None
    pairs = zip(before.samplers, after.samplers, strict=True)
    different = [(one, other) for one, other in pairs if one != other]
    if len(different) != 1:
        return None
    ((one, other),) = different
    return one.kind if (one.kind, one.on) == (other.kind, other.on) else None


def _running(game: Game) -> Running:
    return Running.AUTOPLAY if game.pressed.autoplay else Running.NOTHING


def undo(session: Session) -> Outcome:
    """All as it was before the last action."""
    past, undone = session.game.undo.past, session.game.undo.undone
    if not past:
        return replace(session, notice="there is nothing to undo"), []
    changed = Undo(past[:-1], (*undone, _places(session)))
    return _turned(session, past[-1], changed, "undone", f"{_more(len(past) - 1)}; U redoes it")


def redo(session: Session) -> Outcome:
    """Redoes what was undone last."""
    past, undone = session.game.undo.past, session.game.undo.undone
    if not undone:
        return replace(session, notice="there is nothing to redo"), []
    changed = Undo((*past, _places(session)), undone[:-1])
    return _turned(session, undone[-1], changed, "redone", _more(len(undone) - 1))


def _more(count: int) -> str:
    return f" ({count} more)" if count else ""


def _places(session: Session) -> Places:
    game = session.game
    chain, constraint = game.sampling.chain, game.sampling.constraint
    return Places(game.prompts, game.active, game.removed, chain, constraint, session.options.by_final)


def _turned(session: Session, places: Places, changed: Undo, done: str, more: str) -> Outcome:
    game, told = session.game, _told(session, places, "again" if done == "redone" else "back")
    # Which prompt goes along with a second model is so now, and not as it was then.
    along = next((place for place, prompt in enumerate(game.prompts) if prompt.along), None)
    same = len(places.prompts) == len(game.prompts)
    by_final = session.options.by_final if places.constraint == game.sampling.constraint else places.by_final
    sampling = replace(game.sampling, chain=places.chain, constraint=places.constraint)
    game = replace(
        game,
        prompts=places.prompts,
        active=places.active,
        removed=places.removed,
        sampling=sampling,
        undo=changed,
    )
    game = with_along(game, along if same else None)
    session, effects = show(replace(session, game=game, options=replace(session.options, by_final=by_final)))
    return replace(session, notice=f"{done}{told}{more}"), effects


def _of_chain(game: Game, chain: Chain, way: str) -> str:
    """What another chain changes: a token's bias, which the table shows far below perhaps, is named."""
    now = game.sampling.chain
    if chain.samplers != now.samplers:
        return f"the samplers are changed {way}"
    changed = {token for token, _ in set(chain.bias) ^ set(now.bias)}
    if len(changed) != 1:
        return f"the biases are changed {way}"
    (token,) = changed
    amount = bias_text(chain.biases.get(token, 0.0))
    return f"{label(glimpse(game.piece(token).data))} {amount or 'has no bias any more'}"


def _told(session: Session, places: Places, way: str) -> str:
    """What changes besides the prompts, which are seen: a constraint and samplers are hardly. `way`: back, or again."""
    sampling = session.game.sampling
    if places.constraint != sampling.constraint:
        return f": {places.constraint.title} holds again" if places.constraint else ": there is no constraint"
    if places.chain != sampling.chain:
        return f": {_of_chain(session.game, places.chain, way)}"
    here, there = session.game.prompt, places.prompts[places.active]
    moved = places.constraint is not None and here.tip is there.tip and here.begins != there.begins
    return f": the constraint holds after token {there.begins}" if moved else ""
