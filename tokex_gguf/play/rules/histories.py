"""The histories of the input line, by screen. Typed text stays until it is used."""

from tokex_gguf.play.purposes import ForContinuation, ForInsertion, ForSearch
from tokex_gguf.play.requests import without
from tokex_gguf.play.screens import (
    PLAY,
    Constraining,
    Find,
    Input,
    Insert,
    Name,
    NewPrompt,
    SamplerText,
    SearchScreen,
    TypingScreen,
)
from tokex_gguf.play.session import Session
from tokex_gguf.values.history import History
from tokex_gguf.values.record import replace

BRINGS_BACK: dict[type[TypingScreen], str] = {
    Input: "i",
    Insert: "I",
    SearchScreen: "/",
    Find: "f",
    Name: "ctrl+s",
    Constraining: "C",
    NewPrompt: "n in the list of prompts",
    SamplerText: "i in the sampler chain",
}
"""The key that opens each screen whose typed text is kept."""


def history(session: Session, kind: type[TypingScreen]) -> History:
    """A screen's history."""
    return session.typed.histories.get(kind, History())


def with_history(session: Session, kind: type[TypingScreen], changed: History) -> Session:
    """Replaces a screen's history."""
    return replace(session, typed=replace(session.typed, histories={**session.typed.histories, kind: changed}))


def put_aside(session: Session) -> Session:
    """Ends typing; the text in the line comes back the next time."""
    typing = session.on(TypingScreen)
    if typing is None or type(typing) not in BRINGS_BACK:
        return session
    return _typing_ended(replace(session, typed=replace(session.typed, histories=session.typed_histories)))


def used_up(session: Session) -> Session:
    """Ends typing after the text in the line was used."""
    typing = session.on(TypingScreen)
    if typing is None:
        return session
    kind = type(typing)
    return _typing_ended(with_history(session, kind, history(session, kind).use(typing.line.text)))


def keep_pasted(session: Session, text: str, reason: str) -> Session:
    """Keeps a text that cannot be typed now, and says why not."""
    before = history(session, Input)
    if session.on(Input):
        changed, hint = before.change().remember(text), "↑ brings it back"
    else:
        changed, hint = replace(before.remember(before.unfinished), unfinished=text), "i brings it back"
    return replace(with_history(session, Input, changed), notice=f"{reason}; the text is kept: {hint}")


def _typing_ended(session: Session) -> Session:
    return replace(without(session, ForSearch, ForContinuation, ForInsertion), screen=PLAY)
