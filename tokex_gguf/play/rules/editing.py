"""Changing the middle of a prompt and keeping what follows: a new prompt beside the one that it is made from."""

from dataclasses import replace

from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.purposes import ForRetokenized
from tokex_gguf.play.requests import tokenize
from tokex_gguf.play.rules.prompt import insert, no_room, would_cut
from tokex_gguf.play.screens import Play
from tokex_gguf.play.session import (
    EngineStatus,
    Game,
    Prompt,
    Session,
    selected_row,
    split_otherwise,
    table,
    text_of,
    without_text,
)
from tokex_gguf.values.formatting import counted
from tokex_gguf.values.splice import Splice, by_ids, by_text, starting_before, unfinished
from tokex_gguf.values.tokens import glimpse, label
from tokex_gguf.values.tree import Node

NOT_COMPARED = "the tokenizer has not compared this prompt with its text yet"


def edited(prompt: Prompt, splice: Splice, begins: int, *, chosen: bool = False) -> Prompt:
    """The prompt that comes about. What is kept keeps which of its tokens were chosen; those that are new are not.

    Its cursor is at the first token that is another one now.
    """
    node = prompt.tip.ancestor(splice.start)
    for token in splice.tokens:
        node = node.child(token)
        if chosen:
            node.play()
    for kept in prompt.tip.nodes(splice.end):
        node = node.child(kept.token)
        if kept.played:
            node.play()
    cursor = node.ancestor(splice.start + 1) if node.depth > splice.start else None
    return Prompt(node, cursor=cursor, begins=begins, parent=prompt.tip)


def remembered(session: Session, prompt: Prompt, splice: Splice) -> Session:
    """The session that knows which tokens of an edited chat are the assistant's: those that were it before.

    New ones are where they take the place of its tokens alone, or stand between two of them.
    """
    said, old = session.game.said, prompt.parent
    if not said or old is None:
        return session
    end = splice.start + len(splice.tokens)
    around = 1 if splice.start == splice.end else 0
    place = old.ancestor(splice.end + around).nodes(max(0, splice.start - around))
    more = set(prompt.tip.ancestor(end).nodes(splice.start)) if all(node in said for node in place) else set()
    behind = zip(old.nodes(splice.end), prompt.tip.nodes(end), strict=True)
    more |= {made for kept, made in behind if kept in said}
    return replace(session, game=replace(session.game, said=said | more)) if more else session


def begins_after(begins: int, splice: Splice) -> int:
    """Where what the model wrote begins after a splice. What a constraint governs stays so, and so does the rest.

    >>> [begins_after(begins, Splice(3, 5, [7])) for begins in (2, 3, 4, 5, 6)]
    [2, 3, 4, 4, 5]
    """
    if begins <= splice.start:
        return begins
    return max(begins - splice.end, 0) + splice.start + len(splice.tokens)


def begins_after_text(session: Session, begins: int, splice: Splice) -> int:
    """The same where the new tokens are of typed text: that is no text of the model's where it has none before it."""
    if begins == splice.start and session.game.sampling.constraint is None:
        return splice.start + len(splice.tokens)
    return begins_after(begins, splice)


# --- at the cursor


def no_cursor(session: Session, otherwise: str) -> str:
    """Why nothing can be changed in the middle; empty where a token is looked at and there is room for a prompt."""
    return otherwise if session.game.prompt.cursor is None else no_room(session)


def cannot_replace(session: Session) -> str:
    """Why the token that is looked at cannot be replaced."""
    if reason := no_cursor(session, "K replaces the token that is looked at: , looks back"):
        return reason
    place = session.game.prompt.place
    rows = table(session, place)
    if not rows:
        return "this table is not there yet"
    taken = rows[selected_row(session, place)].token == place.popped
    return "this one stands here: select another to replace it" if taken else ""


def replace_token(session: Session) -> Outcome:
    """Puts the selected token in place of the one that is looked at."""
    place = session.game.prompt.place
    return replaced_by(session, table(session, place)[selected_row(session, place)].token)


def replaced_by(session: Session, token: int) -> Outcome:
    """Puts a token in place of the one that is looked at."""
    prompt = session.game.prompt
    here = prompt.place.tip.depth
    splice = Splice(here, here + 1, [token])
    changed = edited(prompt, splice, begins_after(prompt.begins, splice), chosen=True)
    further = would_cut(session, token) or ("it ends a generation" if session.game.piece(token).ends else "")
    told = f"{_name(session.game, token)} in place of {_name(session.game, prompt.place.popped)}"
    return opened_beside(session, changed, splice, told, further)


def cannot_delete(session: Session) -> str:
    """Why the token that is looked at cannot be deleted."""
    reason = no_cursor(session, "Del deletes the token that is looked at: , looks back, ← pops the last one")
    return reason or ("the only token stays" if session.game.prompt.tip.depth == 1 else "")


def delete_token(session: Session) -> Outcome:
    """Takes the token that is looked at out of the prompt."""
    prompt, place = session.game.prompt, session.game.prompt.place
    splice = Splice(place.tip.depth, place.tip.depth + 1, [])
    changed = edited(prompt, splice, begins_after(prompt.begins, splice))
    told = f"without {_name(session.game, place.popped)}"
    return opened_beside(session, changed, splice, told)


def opened_beside(session: Session, prompt: Prompt, splice: Splice, told: str, further: str = "") -> Outcome:
    """Opens what came of an edit beside the prompt that it was made from."""
    session, effects = insert(remembered(session, prompt, splice), prompt)
    kept = prompt.parent.depth - splice.end if prompt.parent else 0
    behind = f"{counted(kept, 'token')} after it kept" if kept else "nothing stands after it"
    return replace(session, notice=f"{told}, {behind}{'; ' if further else ''}{further}"), effects


def _name(game: Game, token: int | None) -> str:
    return "" if token is None else f"“{label(glimpse(game.piece(token).data))}”"


# --- cutting a text anew


def compared(session: Session, tip: Node) -> Session:
    """A prompt was compared with what the tokenizer makes of its text. What an edit has told hides the line of that."""
    prompt = session.game.prompt
    if tip is not prompt.tip or prompt.cursor is None or prompt.parent is None or not session.notice:
        return session
    told = split_otherwise(session.game, tip)
    return replace(session, notice=f"{told}; {session.notice}") if told else session


def cannot_retokenize(session: Session) -> str:
    """Why the prompt cannot be split anew."""
    tip, game = session.game.prompt.tip, session.game
    if tip.checked and tip.differs is None:
        return "the prompt is cut as the tokenizer does it"
    pieces = [game.piece(node.token).data for node in tip.nodes(tip.depth - 4)]
    if not tip.checked:
        return "the prompt ends inside a character: append or pop first" if unfinished(pieces) else NOT_COMPARED
    if without_text(game, tip):
        return f"{split_otherwise(game, tip)}: there is no text to split anew"
    if game.engine is not EngineStatus.READY:
        return game.absent
    return no_room(session)


def retokenize(session: Session) -> Outcome:
    """Asks for the tokens that the tokenizer makes of the prompt's text."""
    tip = session.game.prompt.tip
    return tokenize(session, text_of(session.game, tip).decode(), ForRetokenized(tip))


def retokenized(session: Session, tip: Node, path: list[int]) -> Outcome:
    """The prompt's text is split anew: it is a prompt of its own. Who is elsewhere by now does not want it."""
    prompt, game = session.game.prompt, session.game
    if prompt.tip is not tip or not isinstance(session.current, Play):
        return session, []
    if reason := no_room(session):
        return replace(session, notice=reason), []
    old = tip.path()
    splice = by_ids(old, path)
    begins = begins_after(prompt.begins, splice)
    if splice.start < prompt.begins < splice.end:  # by the text: what is given stays given
        given = len(b"".join(game.piece(token).data for token in old[splice.start : prompt.begins]))
        begins = splice.start + starting_before([game.piece(token).data for token in splice.tokens], given)
    changed = edited(prompt, splice, begins)
    if prompt.cursor is None:
        changed = replace(changed, cursor=None)
    lost = sum(game.piece(token).control for token in old) > sum(game.piece(token).control for token in path)
    further = "special tokens became plain text" if lost else ""
    count = counted(len(splice.tokens), "token")
    told = f"split anew from token {splice.start + 1} on: {count} for {splice.end - splice.start:,}"
    return opened_beside(session, changed, splice, told, further)


# --- in the player's editor


def from_editor(session: Session, tip: Node, path: list[int]) -> tuple[Session, Prompt]:
    """What a prompt's text becomes that came back from the editor; its unchanged parts keep their tokens.

    `path`: what the tokenizer makes of it. Who looked at the prompt's end goes on at the end.
    """
    game = session.game
    before = next((one for one in (game.prompt, *game.prompts) if one.tip is tip), Prompt.at(tip))
    splice = by_text(tip.path(), path, lambda token: game.piece(token).data)
    changed = edited(before, splice, begins_after_text(session, before.begins, splice))
    if changed.tip is tip:  # the tokenizer knows no difference
        return session, before
    session = remembered(session, changed, splice)
    return session, changed if before.cursor is not None else replace(changed, cursor=None)
