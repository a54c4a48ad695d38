"""What the player does: a command, or something else."""

from dataclasses import replace

from tokex_gguf.play import commands
from tokex_gguf.play.actions import Action, Mode
from tokex_gguf.play.commands import UNREAD
from tokex_gguf.play.messages import Edited, Event, Go, Outcome, PointedAtRow, PointedAtToken, Typed, Unbound
from tokex_gguf.play.rules import cursor, lists, prompt, text_entry, view_options
from tokex_gguf.play.rules.histories import base_mode, keep_pasted
from tokex_gguf.play.session import Cost, Session

PLAYERS = (Action, Typed, Unbound, Go, PointedAtToken, PointedAtRow, Edited)
"""The messages that come from the player."""


def act(session: Session, message: Action | Event) -> Outcome:
    """What the player does. Any key ends autoplay; space does nothing else then."""
    if message is Action.RESTART and session.mode is Mode.PLAY and (session.silence or not session.autoplay):
        return view_options.confirm_restart(session)  # before the notice is taken away: it may ask for the second press
    # What is told of the cost is told of this key, unless an earlier one's answer is still awaited.
    session = replace(session, notice="", cost=Cost() if session.ready else session.cost)
    if not session.autoplay:
        return _take(session, message)
    session, effects = prompt.stop_autoplay(session)
    if message is not Action.AUTOPLAY and not isinstance(message, Unbound):
        session, more = _take(session, message)
        effects = effects + more
    return session, effects


def _take(session: Session, message: Action | Event) -> Outcome:
    if isinstance(message, Action):
        command = commands.of(session.mode, message)
        if command is None or command.handler is None or command.handler is view_options.confirm_restart:
            return session, []  # a restart is confirmed above, or autoplay goes first
        if reason := command.disabled(session):
            return replace(session, notice=reason), []
        return command.handler(session)
    if not session.prompts and session.mode in (Mode.PLAY, Mode.BROKEN) and not isinstance(message, Unbound | Edited):
        if isinstance(message, Typed):
            return keep_pasted(session, message.text, UNREAD), []
        return replace(session, notice=UNREAD), []
    return _event(session, message)


def _explain(session: Session, key: str) -> Session:
    """Why nothing happens."""
    way = "Esc goes back" if session.mode not in (Mode.PLAY, Mode.BROKEN) else "? shows the keys, ctrl+q quits"
    return replace(session, notice=f"{key or 'this key'} does nothing here: {way}")


def _event(session: Session, message: Event) -> Outcome:
    match message:
        case Unbound():
            return _explain(session, message.key), []
        case Typed():
            if session.mode.typing:
                return text_entry.typed(session, message.text)
            if session.mode in (Mode.PLAY, Mode.BROKEN):
                return text_entry.paste(session, message.text)
            return keep_pasted(session, message.text, "text is not wanted here: Esc goes back"), []
        case Go():
            if session.mode not in (Mode.PLAY, Mode.BROKEN, Mode.PROMPTS):
                return session, []
            return prompt.go_to(replace(session, mode=base_mode(session)), message.index)
        case PointedAtToken():
            if session.mode in (Mode.PLAY, Mode.BROKEN):
                return cursor.point(session, message.position)
            return _explain(session, "a click"), []
        case PointedAtRow():
            return _point_at_row(session, message.row)
        case Edited():
            return text_entry.edited(session, message.text)


def _point_at_row(session: Session, row: int) -> Outcome:
    if session.mode in (Mode.TREE, Mode.PROMPTS, Mode.MODELS):
        return lists.move(row - session.row)(session)
    if session.mode is Mode.SEARCH and session.token_search:
        return text_entry.select_found(row - session.token_search.row)(session)
    if session.mode in (Mode.PLAY, Mode.BROKEN):
        return prompt.select_row(session, row)
    return _explain(session, "a click"), []
