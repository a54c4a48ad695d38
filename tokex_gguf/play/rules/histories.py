"""What is typed stays until it was used: the histories of the input line, by mode."""

from dataclasses import replace

from tokex_gguf.play.actions import Mode
from tokex_gguf.play.purposes import ForContinuation, ForSearch
from tokex_gguf.play.requests import without
from tokex_gguf.play.session import EngineStatus, Session
from tokex_gguf.values.history import History
from tokex_gguf.values.text_field import EMPTY

BRINGS_BACK = {Mode.INPUT: "i", Mode.SEARCH: "/", Mode.NAME: "ctrl+s"}
"""The key that begins each mode."""


def base_mode(session: Session) -> Mode:
    """The mode that all others go back to."""
    return Mode.BROKEN if session.engine is EngineStatus.DEAD else Mode.PLAY


def typing_mode(session: Session) -> Mode | None:
    """The mode in which something is being typed, also while the help covers it; None where nothing is."""
    mode = session.explained if session.mode is Mode.HELP else session.mode
    return mode if mode.typing else None


def history(session: Session, mode: Mode) -> History:
    """What was typed in a mode before."""
    return session.histories.get(mode, History())


def with_history(session: Session, mode: Mode, changed: History) -> Session:
    """The session with another history of a mode."""
    return replace(session, histories={**session.histories, mode: changed})


def put_aside(session: Session) -> Session:
    """The session in which nothing is typed; the text in the line comes back the next time."""
    mode = typing_mode(session)
    if mode is None:
        return session
    text = session.line.text
    if mode is Mode.NAME and text == session.name:
        text = ""  # it stood there already
    return _nothing_typed(with_history(session, mode, history(session, mode).leave(text)))


def used_up(session: Session) -> Session:
    """The session in which nothing is typed, as the text in the line was used."""
    mode = typing_mode(session)
    if mode is None:
        return session
    return _nothing_typed(with_history(session, mode, history(session, mode).use(session.line.text)))


def keep_pasted(session: Session, text: str, reason: str) -> Session:
    """Keeps a text that cannot be typed now, and says why not."""
    before = history(session, Mode.INPUT)
    if typing_mode(session) is Mode.INPUT:
        kept, way = before.change().remember(text), "↑ brings it back"
    else:
        kept, way = replace(before.remember(before.unfinished), unfinished=text), "i brings it back"
    return replace(with_history(session, Mode.INPUT, kept), notice=f"{reason}; the text is kept: {way}")


def _nothing_typed(session: Session) -> Session:
    session = without(session, ForSearch, ForContinuation)
    return replace(session, mode=base_mode(session), line=EMPTY, continuation=None, token_search=None)
