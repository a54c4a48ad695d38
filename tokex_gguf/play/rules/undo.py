"""Undoing what was done to the open prompts: tokens appended and popped, prompts opened, edited, named and removed."""

from dataclasses import replace

from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules.prompt import show
from tokex_gguf.play.session import Game, Places, Session, Undo
from tokex_gguf.values.tree import Node

MOST = 1_000
"""Actions that can be undone. The tree has all that was visited in any case."""


def remember(before: Session, after: Session, *, asked: bool) -> Session:
    """The session after a message, with what it takes to undo what the message did to the prompts.

    `asked`: the message is the player's, and not the engine's. An autoplay is one action,
    however many tokens it appends. Going to another prompt, to another row or back in the
    prompt is none: nothing is changed by that.
    """
    was, now = before.game, after.game
    if was.root is not now.root or was.undo is not now.undo:
        return after
    playing = now.undo.playing and (was.autoplay and not asked)
    changed = bool(was.prompts) and was.prompts is not now.prompts and _played(was) != _played(now)
    if changed and not playing:
        past = (*now.undo.past, _places(was))[-MOST:]
        return replace(after, game=replace(now, undo=Undo(past, playing=now.autoplay)))
    if now.undo.playing and not now.autoplay:
        return replace(after, game=replace(now, undo=replace(now.undo, playing=False)))
    return after


def _played(game: Game) -> list[tuple[Node, str]]:
    """The prompts' ends and names."""
    return [(prompt.tip, prompt.name) for prompt in game.prompts]


def undo(session: Session) -> Outcome:
    """The prompts as they were before the last action."""
    past, undone = session.game.undo.past, session.game.undo.undone
    if not past:
        return replace(session, notice="there is nothing to undo"), []
    changed = Undo(past[:-1], (*undone, _places(session.game)))
    return _turned(session, past[-1], changed, f"undone{_more(len(past) - 1)}; U redoes it")


def redo(session: Session) -> Outcome:
    """Redoes what was undone last."""
    past, undone = session.game.undo.past, session.game.undo.undone
    if not undone:
        return replace(session, notice="there is nothing to redo"), []
    changed = Undo((*past, _places(session.game)), undone[:-1])
    return _turned(session, undone[-1], changed, f"redone{_more(len(undone) - 1)}")


def _more(count: int) -> str:
    return f" ({count} more)" if count else ""


def _places(game: Game) -> Places:
    return Places(game.prompts, game.active, game.removed)


def _turned(session: Session, places: Places, changed: Undo, told: str) -> Outcome:
    game = replace(session.game, prompts=places.prompts, active=places.active, removed=places.removed, undo=changed)
    session, effects = show(replace(session, game=game))
    return replace(session, notice=told), effects
