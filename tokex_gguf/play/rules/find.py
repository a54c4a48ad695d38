"""Finding text in the prompt: the cursor follows the typed text."""

from collections.abc import Callable

from tokex_gguf.play.game import Game
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules.cursor import look
from tokex_gguf.play.screens import Find
from tokex_gguf.play.session import Session
from tokex_gguf.values.path_text import PathText
from tokex_gguf.values.record import replace


def opened(game: Game) -> Find:
    """The screen before anything is typed."""
    tip = game.prompt.tip
    text = PathText.of(game.piece(token).data for token in tip.path())
    return Find(tip=tip, text=text, origin=game.prompt.cursor)


def changed(session: Session) -> Outcome:
    """Handles a changed query: moves to the first match from the origin on, or back to the origin."""
    session, screen = _fresh(session)
    return _look(session, screen, screen.text.next(screen.query, _start(screen)) if screen.query else None)


def step(direction: int) -> Callable[[Session], Outcome]:
    """Moves to the next match (1) or the previous one (-1); after the last comes the first."""

    def go(session: Session) -> Outcome:
        session, screen = _fresh(session)
        if not screen.query:
            return replace(session, notice="type what to find"), []
        at = screen.match.character if screen.match else _start(screen)
        if direction < 0:
            character = screen.text.previous(screen.query, at)
        else:
            character = screen.text.next(screen.query, at + (screen.match is not None or screen.origin is not None))
        if character is None:
            return replace(session, notice="this is not in the prompt"), []
        if screen.match and character == at:
            return replace(session, notice="this is the only place"), []
        return _look(session, screen, character)

    return go


def back_to_origin(session: Session) -> Session:
    """Moves the cursor back to where it was before the search."""
    screen = session.on(Find)
    if screen is None or screen.tip is not session.game.prompt.tip:
        return session
    return look(session, screen.origin)[0]


def _start(screen: Find) -> int:
    """The first character of the token at the origin; 0 where the origin is the tip."""
    return 0 if screen.origin is None else screen.text.character(screen.origin.depth - 1)


def _look(session: Session, screen: Find, character: int | None) -> Outcome:
    match = None if character is None else screen.text.match(screen.query, character)
    node = screen.origin if match is None else screen.tip.ancestor(screen.text.token(match.character) + 1)
    return look(session.turned(replace(screen, match=match)), node)


def _fresh(session: Session) -> tuple[Session, Find]:
    """The screen, with the active prompt's text even if that has changed."""
    screen = session.on(Find)
    assert screen is not None
    if screen.tip is not session.game.prompt.tip:
        screen = replace(opened(session.game), line=screen.line)
        session = session.turned(screen)
    return session, screen
