"""Handles the player's input: commands, text and clicks."""

from tokex_gguf.play.actions import Action
from tokex_gguf.play.command import unread
from tokex_gguf.play.commands import registry
from tokex_gguf.play.commands.registry import SCREENS
from tokex_gguf.play.game import Cost
from tokex_gguf.play.messages import Edited, Go, Outcome, PlayerEvent, PointedAtRow, PointedAtToken, Typed, Unbound
from tokex_gguf.play.rules import prompt, text_entry
from tokex_gguf.play.rules.histories import keep_pasted
from tokex_gguf.play.screens import PLAY, Play
from tokex_gguf.play.session import Session
from tokex_gguf.values.record import replace

PLAYER_MESSAGES = (Action, Typed, Unbound, Go, PointedAtToken, PointedAtRow, Edited)
"""The types of the player's messages."""


def act(session: Session, message: Action | PlayerEvent) -> Outcome:
    """Handles the player's input. Any key ends autoplay; space does only that."""
    # The cost is that of this key, unless an earlier key's answer is still awaited.
    cost = Cost() if session.game.ready else session.game.cost
    question = session.standing if isinstance(message, Action) and session.asks(message) else None
    session = replace(session, game=replace(session.game, cost=cost), notice="", standing=question, begun=True)
    if not session.game.pressed.autoplay:
        return _take(session, message)
    session, effects = prompt.stop_autoplay(session)
    if message is not Action.AUTOPLAY and not isinstance(message, Unbound):
        session, more = _take(session, message)
        effects = effects + more
    return session, effects


def _take(session: Session, message: Action | PlayerEvent) -> Outcome:
    if not isinstance(message, Action):
        return _event(session, message)
    command = registry.of(session.screen, message)
    if command is None or command.handler is None:
        return session, []
    if reason := command.disabled(session):
        return replace(session, notice=reason), []
    return command.handler(session)


def _explain(session: Session, key: str) -> Outcome:
    """Says why a key does nothing, and how to find a line, as typed letters may be meant for that."""
    hint = "? shows the keys, ctrl+q quits" if isinstance(session.screen, Play) else "Esc goes back"
    if len(key) == 1 and registry.of(session.screen, Action.FILTER):
        hint = f"/ finds a line, {hint}"
    return replace(session, notice=f"{key or 'this key'} does nothing here: {hint}"), []


def _event(session: Session, message: PlayerEvent) -> Outcome:
    row = SCREENS[type(session.screen)]
    match message:
        case Unbound():
            return _explain(session, message.key)
        case Edited():
            return text_entry.edited(session, message.text)
        case Typed():
            if row.typed is None:
                return keep_pasted(session, message.text, "text is not wanted here: Esc goes back"), []
            return row.typed(session, message.text)
        case Go():
            if registry.of(session.screen, Action.GO) is None:
                return session, []
            if reason := unread(session):
                return replace(session, notice=reason), []
            return prompt.go_to(replace(session, screen=PLAY), message.index)
        case PointedAtToken():
            if row.pick_token is None:
                return _explain(session, "a click")
            if reason := unread(session):
                return replace(session, notice=reason), []
            return row.pick_token(session, message.position)
        case PointedAtRow():
            if row.pick_row is None:
                return _explain(session, "a click")
            if reason := unread(session):
                return replace(session, notice=reason), []
            return row.pick_row(session, message.row)
