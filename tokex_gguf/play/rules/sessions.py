"""The list of sessions: finding one, and continuing it in place of the present one."""

from collections.abc import Callable, Sequence

from tokex_gguf.play.messages import (
    Close,
    ListSessions,
    NotResumed,
    Outcome,
    ReleaseSession,
    Resume,
    Resumed,
    SwitchSession,
)
from tokex_gguf.play.requests import begin
from tokex_gguf.play.rules import second_model
from tokex_gguf.play.rules.selection import moved
from tokex_gguf.play.rules.view_options import lit
from tokex_gguf.play.screens import MOST_CHARACTERS, PLAY, Sessions
from tokex_gguf.play.session import Session
from tokex_gguf.values.record import replace
from tokex_gguf.values.session_entry import PlayedBy, SessionEntry


def open_list(session: Session) -> Outcome:
    """Shows the sessions, once they are listed."""
    return replace(session, screen=Sessions()), [ListSessions()]


def typed(session: Session) -> Session:
    """Handles a changed line: shows the sessions that have all its words."""
    return session.turned(_filtered(_screen(session)))


def _filtered(screen: Sessions) -> Sessions:
    words = screen.line.text[:MOST_CHARACTERS].casefold().split()
    found = tuple(entry for entry in screen.entries or () if all(word in entry.whole for word in words))
    return replace(screen, found=found, row=0)


def listed(session: Session, entries: tuple[SessionEntry, ...]) -> Session:
    """Shows the list of sessions, unless the player has left it."""
    screen = session.on(Sessions)
    return session.turned(_filtered(replace(screen, entries=entries))) if screen else session


def not_listed(session: Session, reason: str) -> Session:
    """The sessions could not be listed."""
    return replace(listed(session, ()), notice=reason)


def found(session: Session) -> Sequence[SessionEntry]:
    """The sessions that have what is typed; none until they are listed."""
    return _screen(session).found


def select(rows: int) -> Callable[[Session], Outcome]:
    """Moves the selection by some lines."""

    def go(session: Session) -> Outcome:
        return pick(session, _screen(session).row + rows)

    return go


def pick(session: Session, row: int) -> Outcome:
    """Selects a line."""
    screen = _screen(session)
    target = moved(screen.row, row, len(screen.found), empty=screen.nothing_found)
    if isinstance(target, str):
        return replace(session, notice=target), []
    return session.turned(replace(screen, row=target)), []


def choose(session: Session) -> Outcome:
    """Requests the selected session. The present one is played until then."""
    screen = _screen(session)
    if screen.opening:
        return replace(session, notice="a session is being opened already"), []
    if screen.row >= len(screen.found):
        return replace(session, notice=screen.nothing_found), []
    entry = screen.found[screen.row]
    if entry.held is PlayedBy.HERE:
        return replace(session, screen=PLAY, notice="this is the session that is played"), []
    if entry.fault:
        return replace(session, notice=f"it cannot be read: {entry.fault}"), []
    opening = replace(session.turned(replace(screen, opening=entry.name)), notice="opening the session")
    return opening, [Resume(entry.name)]


def resumed(session: Session, message: Resumed) -> Outcome:
    """Continues the chosen session, unless the player has left the list meanwhile."""
    screen = session.on(Sessions)
    if screen is None or screen.opening != message.name:
        return session, [ReleaseSession(message.name)]
    chosen = message.session
    # Keep what belongs to the program and not to a session.
    after = replace(
        chosen,
        game=replace(chosen.game, address=session.game.address),
        screen=PLAY,
        begun=True,
        rows=session.rows,
        starters=session.starters,
        models=session.models,
        download=session.download,
        counts=session.counts,
        notice=message.notice or f"this is the session {_which(screen, message.name)}: y lists the others",
    )
    after, effects = begin(lit(after, light=session.game.settings.light))
    after, more = second_model.begun(after)
    second = session.second
    closing = [Close(second.address)] if second and second.address not in (0, session.game.address) else []
    return after, [SwitchSession(message.name), *closing, *effects, *more]


def _which(screen: Sessions, name: str) -> str:
    """A session's name, if it has one, and when it was saved."""
    entry = next((entry for entry in screen.entries or () if entry.name == name), None)
    if entry is None:
        return "from before"
    return f"“{entry.called}”, saved {entry.when}" if entry.called else f"of {entry.when}"


def not_resumed(session: Session, message: NotResumed) -> Session:
    """The chosen session cannot be continued: the present one stays. The list closes, so that the reason has room."""
    screen = session.on(Sessions)
    if screen is None or screen.opening != message.name:
        return session
    return replace(session, screen=PLAY, notice=f"the session stays: {message.reason}")


def _screen(session: Session) -> Sessions:
    screen = session.on(Sessions)
    assert screen is not None
    return screen
