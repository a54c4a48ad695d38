"""Undoing changes of the open prompts, the constraint and the sampler chain."""

from tokex_gguf.play.game import Game, Places, Running, Undo
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules.prompt import show, with_along
from tokex_gguf.play.session import Session
from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.formatting import bias_text
from tokex_gguf.values.record import replace
from tokex_gguf.values.samplers import Chain, Kind
from tokex_gguf.values.tokens import quoted
from tokex_gguf.values.tree import Node

MOST_ACTIONS = 1_000
"""The most actions that can be undone. The tree keeps all visited paths in any case."""


def remember(before: Session, after: Session, *, by_player: bool) -> Session:
    """Stores what it takes to undo a message.

    `by_player`: the message is the player's, and not the engine's. An autoplay is one action, however many tokens it
    appends, and so is a series of changes of one sampler's values. Going to another prompt, to another row or back
    in the prompt is no action: it changes nothing.
    """
    old, new = before.game, after.game
    if old.known.root is not new.known.root or old.undo is not new.undo or not old.prompts:
        return after
    running = new.undo.running
    if _changed(old, new):
        sampler = _tuned(old, new)
        extends = (
            running is Running.AUTOPLAY and (old.pressed.autoplay and not by_player)
            if sampler is None
            else running is sampler
        )
        if not extends:
            past = (*new.undo.past, _places(before))[-MOST_ACTIONS:]
            return replace(after, game=replace(new, undo=Undo(past, running=sampler or _running(new))))
    if running is Running.AUTOPLAY and not new.pressed.autoplay:
        return replace(after, game=replace(new, undo=replace(new.undo, running=Running.NOTHING)))
    return after


def _changed(old: Game, new: Game) -> bool:
    """Whether anything that can be undone has changed."""
    if old.prompts is new.prompts and old.sampling is new.sampling:
        return False  # the usual case
    return _played(old) != _played(new)


def _played(game: Game) -> tuple[list[tuple[Node, str, int]], Chain, Constraint | None]:
    """The prompts' tips, names and constrained parts, the chain and the constraint."""
    sampling = game.sampling
    limited = sampling.constraint is not None  # else `begins` has no effect
    prompts = [(prompt.tip, prompt.name, prompt.begins if limited else 0) for prompt in game.prompts]
    return prompts, sampling.chain, sampling.constraint


def _tuned(old: Game, new: Game) -> Kind | None:
    """The kind of the sampler whose values are the only difference; None where there is another one."""
    if old.prompts is not new.prompts or old.sampling.constraint != new.sampling.constraint:
        return None
    before, after = old.sampling.chain, new.sampling.chain
    if replace(before, samplers=()) != replace(after, samplers=()) or len(before.samplers) != len(after.samplers):
        return None
    pairs = zip(before.samplers, after.samplers, strict=True)
    different = [(old_sampler, new_sampler) for old_sampler, new_sampler in pairs if old_sampler != new_sampler]
    if len(different) != 1:
        return None
    ((old_sampler, new_sampler),) = different
    return old_sampler.kind if (old_sampler.kind, old_sampler.on) == (new_sampler.kind, new_sampler.on) else None


def _running(game: Game) -> Running:
    return Running.AUTOPLAY if game.pressed.autoplay else Running.NOTHING


def undo(session: Session) -> Outcome:
    """Restores the state before the last action."""
    past, undone = session.game.undo.past, session.game.undo.undone
    if not past:
        return replace(session, notice="there is nothing to undo"), []
    changed = Undo(past[:-1], (*undone, _places(session)))
    return _restore(session, past[-1], changed, "undone", f"{_more(len(past) - 1)}; U redoes it")


def redo(session: Session) -> Outcome:
    """Redoes what was undone last."""
    past, undone = session.game.undo.past, session.game.undo.undone
    if not undone:
        return replace(session, notice="there is nothing to redo"), []
    changed = Undo((*past, _places(session)), undone[:-1])
    return _restore(session, undone[-1], changed, "redone", _more(len(undone) - 1))


def _more(count: int) -> str:
    return f" ({count} more)" if count else ""


def _places(session: Session) -> Places:
    game = session.game
    chain, constraint = game.sampling.chain, game.sampling.constraint
    return Places(game.prompts, game.active, game.removed, chain, constraint, session.options.by_final)


def _restore(session: Session, places: Places, changed: Undo, done: str, more: str) -> Outcome:
    game, change_text = session.game, _change_text(session, places, "again" if done == "redone" else "back")
    # Which prompt is carried to a second model is kept, and not restored.
    carried = next((index for index, prompt in enumerate(game.prompts) if prompt.along), None)
    same_count = len(places.prompts) == len(game.prompts)
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
    game = with_along(game, carried if same_count else None)
    session, effects = show(replace(session, game=game, options=replace(session.options, by_final=by_final)))
    return replace(session, notice=f"{done}{change_text}{more}"), effects


def _of_chain(game: Game, chain: Chain, way: str) -> str:
    """What restoring a chain changes. A single changed bias is named, as its row may be far down the table."""
    present = game.sampling.chain
    if chain.samplers != present.samplers:
        return f"the samplers are changed {way}"
    changed = {token for token, _ in set(chain.bias) ^ set(present.bias)}
    if len(changed) != 1:
        return f"the biases are changed {way}"
    (token,) = changed
    amount = bias_text(chain.biases.get(token, 0.0))
    return f"{quoted(game.piece(token).data)} {amount or 'has no bias any more'}"


def _change_text(session: Session, places: Places, way: str) -> str:
    """What changes besides the prompts: constraint and samplers, which are hardly visible. `way`: back, or again."""
    sampling = session.game.sampling
    if places.constraint != sampling.constraint:
        return f": {places.constraint.title} holds again" if places.constraint else ": there is no constraint"
    if places.chain != sampling.chain:
        return f": {_of_chain(session.game, places.chain, way)}"
    present, restored = session.game.prompt, places.prompts[places.active]
    moved = places.constraint is not None and present.tip is restored.tip and present.begins != restored.begins
    return f": the constraint holds after token {restored.begins}" if moved else ""
