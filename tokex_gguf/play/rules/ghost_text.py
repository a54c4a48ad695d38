"""The column of continuations and the ghost text: showing them, and appending words of the latter."""

import unicodedata

from tokex_gguf.play.game import Prompt
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules.prompt import show, with_prompt
from tokex_gguf.play.session import Session
from tokex_gguf.play.table import continuation, is_cut, selected_row, table
from tokex_gguf.play.versus import ALONE
from tokex_gguf.values.record import replace
from tokex_gguf.values.tokens import Piece

OFF = "P shows how the prompt most likely goes on, and tab takes that up"
NOT_KNOWN_YET = "how the prompt goes on is not known yet"
NOT_AT_THE_END = "tab takes up what follows the prompt's end: Esc goes there"
CUT = "the selected token is cut: what follows it is not looked into"


def column(session: Session) -> Outcome:
    """Shows or hides where each row leads to."""
    state = "hidden" if session.options.shows_ahead else "shown from 100 columns on, as far as it is known"
    return replace(
        session,
        options=replace(session.options, shows_ahead=not session.options.shows_ahead),
        notice=f"where each row leads to is {state}",
    ), []


def ghost(session: Session) -> Outcome:
    """Shows or hides the ghost text."""
    session = replace(session, options=replace(session.options, ghost=not session.options.ghost))
    tab_hint = "tab takes it up, word by word" if session.game.versus is ALONE else "while you compare, tab goes to B"
    reason = cannot_take(session)
    hint = reason if reason in (CUT, NOT_AT_THE_END) else tab_hint
    state = f"shown: {hint}" if session.options.ghost else "hidden"
    return replace(session, notice=f"how the prompt most likely goes on is {state}"), []


def cannot_take(session: Session) -> str:
    """Why no word can be appended; empty where one can."""
    if not session.options.ghost:
        return OFF
    if continuation(session):
        return ""
    prompt = session.game.prompt
    if prompt.cursor is not None:
        return NOT_AT_THE_END
    rows = table(session, prompt)
    return CUT if rows and is_cut(session, rows[selected_row(session, prompt)].token) else NOT_KNOWN_YET


def take_word(session: Session) -> Outcome:
    """Appends the ghost text up to the end of its first word."""
    tokens = continuation(session)
    count = word([session.game.piece(token) for token in tokens])
    prompt = session.game.prompt
    node = prompt.tip
    for token in tokens[:count]:
        session.game.known.lookahead.recall(node)  # copies its distribution into the tree
        node = node.child(token).play()
    return show(with_prompt(session, Prompt(node, begins=prompt.begins)))


def word(pieces: list[Piece]) -> int:
    r"""How many tokens the first word has, with the blanks before it.

    >>> word([Piece(b" cli"), Piece(b"ps"), Piece(b" in")]), word([Piece(b"\n"), Piece(b"a")])
    (2, 1)
    """
    text = b""
    for count, piece in enumerate(pieces):
        if text and _word_ends_between(text, piece.data):
            return count
        text += piece.data
    return len(pieces)


def _word_ends_between(before: bytes, after: bytes) -> bool:
    """Whether a word ends between two texts; never inside a character."""
    try:
        text, following = before.decode(), after.decode()
    except UnicodeDecodeError:
        return False
    left, right = text[-1:], following[:1]
    if not text.strip():  # blanks belong to the word after them, line breaks stand alone
        return "\n" in text
    if not right or left.isspace() or right.isspace():
        return bool(right)
    return _wide(left) or _wide(right) or left.isalnum() != right.isalnum()


def _wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"
