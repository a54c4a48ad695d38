"""Inserting typed text before a token, or in place of some: what follows is kept."""

from collections.abc import Callable

from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.purposes import ForInsertion
from tokex_gguf.play.requests import tokenize
from tokex_gguf.play.rules.editing import begins_after_text, edited, no_cursor, open_edited
from tokex_gguf.play.rules.histories import used_up
from tokex_gguf.play.rules.prompt import no_room
from tokex_gguf.play.rules.text_entry import again, close, stopped
from tokex_gguf.play.screens import Insert
from tokex_gguf.play.session import Session
from tokex_gguf.values.formatting import counted
from tokex_gguf.values.record import replace
from tokex_gguf.values.splice import Splice
from tokex_gguf.values.text_field import EMPTY
from tokex_gguf.values.tokens import quoted

INSERTING = "putting it in …"
CHARACTER_BYTES = 4
"""The most bytes of a character, and so the most tokens that make one."""


def cannot_insert(session: Session) -> str:
    """Why no text can be inserted at the cursor; empty where it can."""
    prompt, game = session.game.prompt, session.game
    if reason := no_cursor(session, "I types before the token that is looked at: , looks back, i types at the end"):
        return reason
    if game.engine is not EngineStatus.READY:
        return game.unavailable
    begins = game.model and game.model.bos
    if prompt.cursor and prompt.cursor.depth == 1 and prompt.cursor.token == begins:
        return "every text begins with this token: look at the next one"
    return ""


def open_insert(session: Session) -> Outcome:
    """Begins to type."""
    prompt = session.game.prompt
    assert prompt.cursor is not None
    return again(session, Insert(tip=prompt.tip, start=prompt.cursor.depth - 1)), []


def take_in(step: int) -> Callable[[Session], Outcome]:
    """Takes in the next token (1), or gives the last one back (-1): the typed text replaces those taken in.

    While nothing else is typed, the line shows their text. A character of several tokens is taken whole.
    """

    def go(session: Session) -> Outcome:
        screen = _screen(session)
        if session.game.newest(ForInsertion):
            return replace(session, notice=INSERTING), []
        nearest = range(screen.over + step, screen.over + (CHARACTER_BYTES + 1) * step, step)
        for over in nearest:
            if not 0 <= over <= screen.tip.depth - screen.start:
                break
            if (text := _text(session, screen, over)) is not None:
                line = EMPTY.typed(text) if screen.line.text == screen.taken else screen.line
                return session.turned(replace(screen, over=over, taken=text, line=line)), []
        if step < 0:
            return replace(session, notice="no token is taken in"), []
        at_end = screen.start + screen.over == screen.tip.depth
        notice = "the prompt ends here" if at_end else "the next token is no whole character: Del deletes it"
        return replace(session, notice=notice), []

    return go


def _text(session: Session, screen: Insert, over: int) -> str | None:
    """The text of `over` tokens from the start on; None where they are no whole characters."""
    nodes = screen.tip.ancestor(screen.start + over).nodes(screen.start)
    try:
        return b"".join(session.game.piece(node.token).data for node in nodes).decode()
    except UnicodeDecodeError:
        return None


def place_hint(session: Session) -> str:
    """Where the text will be inserted."""
    screen = _screen(session)
    if not screen.over:
        token = screen.tip.ancestor(screen.start + 1).token
        return f"before {quoted(session.game.piece(token).data)}; tab takes it in "
    return f"in place of {counted(screen.over, 'token')} "


def enter(session: Session) -> Outcome:
    """Inserts the text."""
    screen, text = _screen(session), session.line.text
    if text == screen.taken:
        session, effects = close(session)
        return replace(session, notice="nothing was changed" if text else "nothing was typed"), effects
    if session.game.newest(ForInsertion):
        return replace(session, notice=INSERTING), []
    if session.game.prompt.tip is not screen.tip:
        return replace(session, notice="the prompt is another one now: Esc keeps the text"), []
    if reason := no_room(session):
        return replace(session, notice=reason), []
    if not text:
        return inserted(session, [])
    if session.game.engine is not EngineStatus.READY:
        return replace(session, notice=stopped(session)), []
    return tokenize(replace(session, notice=INSERTING), text, ForInsertion(), continues=screen.start > 0)


def inserted(session: Session, tokens: list[int]) -> Outcome:
    """Handles the tokens of the typed text: opens the prompt with them inserted."""
    screen, prompt = session.on(Insert), session.game.prompt
    if screen is None or prompt.tip is not screen.tip:
        return session, []
    splice = Splice(screen.start, screen.start + screen.over, tokens)
    if not tokens and screen.over == prompt.tip.depth:
        return replace(session, notice="an empty text cannot be gone on from"), []
    if no_room(session):
        return replace(session, notice=no_room(session)), []
    changed = edited(prompt, splice, begins_after_text(session, prompt.begins, splice))
    return open_edited(used_up(session), changed, splice, _done(session, screen, len(tokens)))


def _done(session: Session, screen: Insert, count: int) -> str:
    """A line saying what the insertion of `count` tokens did."""
    if not screen.over:
        return f"{counted(count, 'token')} put in"
    if count:
        return f"{counted(count, 'token')} in place of {screen.over:,}"
    if screen.over > 1:
        return f"without {counted(screen.over, 'token')}"
    token = screen.tip.ancestor(screen.start + 1).token
    return f"without {quoted(session.game.piece(token).data)}"


def _screen(session: Session) -> Insert:
    screen = session.on(Insert)
    assert screen is not None
    return screen
