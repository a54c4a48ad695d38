"""Changing the middle of a prompt and keeping what follows: the result is a new prompt beside the old one."""

from tokex_gguf.play.game import EngineStatus, Game, Prompt, split_otherwise, text_of, without_text
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.purposes import ForRetokenized
from tokex_gguf.play.requests import tokenize
from tokex_gguf.play.rules.prompt import NO_TABLE, insert, no_room, would_cut
from tokex_gguf.play.screens import Play
from tokex_gguf.play.session import Session
from tokex_gguf.play.table import selected_row, table
from tokex_gguf.values.formatting import counted
from tokex_gguf.values.record import replace
from tokex_gguf.values.splice import Splice, by_ids, by_text, starting_before, unfinished
from tokex_gguf.values.tokens import quoted
from tokex_gguf.values.tree import Node

SAME_TOKEN = "this one stands here: select another to replace it"
NOT_COMPARED = "the tokenizer has not compared this prompt with its text yet"


def edited(prompt: Prompt, splice: Splice, begins: int, *, chosen: bool = False) -> Prompt:
    """The prompt after a splice. Kept tokens keep their mark of being chosen; new ones get it if `chosen`.

    The cursor is at the first changed token.
    """
    node = prompt.tip.ancestor(splice.start)
    for token in splice.tokens:
        node = node.child(token)
        if chosen:
            node.play()
    for old_node in prompt.tip.nodes(splice.end):
        node = node.child(old_node.token)
        if old_node.played:
            node.play()
    cursor = node.ancestor(splice.start + 1) if node.depth > splice.start else None
    return Prompt(node, cursor=cursor, begins=begins, parent=prompt.tip)


def with_roles_kept(session: Session, prompt: Prompt, splice: Splice) -> Session:
    """Notes which tokens of an edited chat are the assistant's: those that were before.

    New tokens are the assistant's where they replace only its tokens, or stand between two of them.
    """
    said, old = session.game.said, prompt.parent
    if not said or old is None:
        return session
    end = splice.start + len(splice.tokens)
    around = 1 if splice.start == splice.end else 0
    replaced = old.ancestor(splice.end + around).nodes(max(0, splice.start - around))
    assistant_nodes = (
        set(prompt.tip.ancestor(end).nodes(splice.start)) if all(node in said for node in replaced) else set()
    )
    following = zip(old.nodes(splice.end), prompt.tip.nodes(end), strict=True)
    assistant_nodes |= {new_node for old_node, new_node in following if old_node in said}
    turns = replace(session.game.turns, said=said | assistant_nodes)
    return replace(session, game=replace(session.game, turns=turns)) if assistant_nodes else session


def begins_after(begins: int, splice: Splice) -> int:
    """Where the model's part begins after a splice: each kept token stays on its side.

    >>> [begins_after(begins, Splice(3, 5, [7])) for begins in (2, 3, 4, 5, 6)]
    [2, 3, 4, 4, 5]
    """
    if begins <= splice.start:
        return begins
    return max(begins - splice.end, 0) + splice.start + len(splice.tokens)


def begins_after_text(session: Session, begins: int, splice: Splice) -> int:
    """Like `begins_after`, for typed text, which is not the model's at the beginning of its part if unconstrained."""
    if begins == splice.start and session.game.sampling.constraint is None:
        return splice.start + len(splice.tokens)
    return begins_after(begins, splice)


# --- at the cursor


def no_cursor(session: Session, otherwise: str) -> str:
    """Why nothing can be changed at the cursor; empty where there is a cursor and room for a prompt."""
    return otherwise if session.game.prompt.cursor is None else no_room(session)


def cannot_replace(session: Session) -> str:
    """Why the token at the cursor cannot be replaced; empty where it can."""
    if reason := no_cursor(session, "K replaces the token that is looked at: , looks back"):
        return reason
    place = session.game.prompt.place
    rows = table(session, place)
    if not rows:
        return NO_TABLE
    taken = rows[selected_row(session, place)].token == place.popped
    return SAME_TOKEN if taken else ""


def replace_token(session: Session) -> Outcome:
    """Replaces the token at the cursor by the selected one."""
    place = session.game.prompt.place
    return replaced_by(session, table(session, place)[selected_row(session, place)].token)


def replaced_by(session: Session, token: int) -> Outcome:
    """Replaces the token at the cursor."""
    prompt = session.game.prompt
    position = prompt.place.tip.depth
    splice = Splice(position, position + 1, [token])
    changed = edited(prompt, splice, begins_after(prompt.begins, splice), chosen=True)
    warning = would_cut(session, token) or ("it ends a generation" if session.game.piece(token).ends else "")
    notice = f"{_name(session.game, token)} in place of {_name(session.game, prompt.place.popped)}"
    return open_edited(session, changed, splice, notice, warning)


def cannot_delete(session: Session) -> str:
    """Why the token at the cursor cannot be deleted; empty where it can."""
    reason = no_cursor(session, "Del deletes the token that is looked at: , looks back, ← pops the last one")
    return reason or ("the only token stays" if session.game.prompt.tip.depth == 1 else "")


def delete_token(session: Session) -> Outcome:
    """Deletes the token at the cursor."""
    prompt, place = session.game.prompt, session.game.prompt.place
    splice = Splice(place.tip.depth, place.tip.depth + 1, [])
    changed = edited(prompt, splice, begins_after(prompt.begins, splice))
    notice = f"without {_name(session.game, place.popped)}"
    return open_edited(session, changed, splice, notice)


def open_edited(session: Session, prompt: Prompt, splice: Splice, notice: str, warning: str = "") -> Outcome:
    """Opens an edited prompt beside the one that it was made from."""
    session, effects = insert(with_roles_kept(session, prompt, splice), prompt)
    kept_count = prompt.parent.depth - splice.end if prompt.parent else 0
    kept_text = f"{counted(kept_count, 'token')} after it kept" if kept_count else "nothing stands after it"
    return replace(session, notice=f"{notice}, {kept_text}{'; ' if warning else ''}{warning}"), effects


def _name(game: Game, token: int | None) -> str:
    return "" if token is None else quoted(game.piece(token).data)


# --- splitting a text again


def compared(session: Session, tip: Node) -> Session:
    """Adds the result of a check to the notice of an edit, which hides the line about it."""
    prompt = session.game.prompt
    if tip is not prompt.tip or prompt.cursor is None or prompt.parent is None or not session.notice:
        return session
    difference = split_otherwise(session.game, tip)
    return replace(session, notice=f"{difference}; {session.notice}") if difference else session


def cannot_retokenize(session: Session) -> str:
    """Why the prompt cannot be split again; empty where it can."""
    tip, game = session.game.prompt.tip, session.game
    if tip.checked and tip.differs is None:
        return "the prompt is cut as the tokenizer does it"
    pieces = [game.piece(node.token).data for node in tip.nodes(tip.depth - 4)]
    if not tip.checked:
        return "the prompt ends inside a character: append or pop first" if unfinished(pieces) else NOT_COMPARED
    if without_text(game, tip):
        return f"{split_otherwise(game, tip)}: there is no text to split anew"
    if game.engine is not EngineStatus.READY:
        return game.unavailable
    return no_room(session)


def retokenize(session: Session) -> Outcome:
    """Requests the tokenizer's tokens of the prompt's text."""
    tip = session.game.prompt.tip
    return tokenize(session, text_of(session.game, tip).decode(), ForRetokenized(tip))


def retokenized(session: Session, tip: Node, path: list[int]) -> Outcome:
    """Opens the retokenised text as a prompt, unless the player has moved on meanwhile."""
    prompt, game = session.game.prompt, session.game
    if prompt.tip is not tip or not isinstance(session.current, Play):
        return session, []
    if reason := no_room(session):
        return replace(session, notice=reason), []
    old = tip.path()
    splice = by_ids(old, path)
    begins = begins_after(prompt.begins, splice)
    if splice.start < prompt.begins < splice.end:  # decided by the text: given text stays given
        given = len(b"".join(game.piece(token).data for token in old[splice.start : prompt.begins]))
        begins = splice.start + starting_before([game.piece(token).data for token in splice.tokens], given)
    changed = edited(prompt, splice, begins)
    if prompt.cursor is None:
        changed = replace(changed, cursor=None)
    lost = sum(game.piece(token).control for token in old) > sum(game.piece(token).control for token in path)
    warning = "special tokens became plain text" if lost else ""
    count = counted(len(splice.tokens), "token")
    notice = f"split anew from token {splice.start + 1} on: {count} for {splice.end - splice.start:,}"
    return open_edited(session, changed, splice, notice, warning)


# --- in the player's editor


def from_editor(session: Session, tip: Node, path: list[int]) -> tuple[Session, Prompt]:
    """The prompt of a text that came back from the editor; its unchanged parts keep their tokens.

    `path`: the text's tokens. The cursor stays at the tip if it was there.
    """
    game = session.game
    before = next((prompt for prompt in (game.prompt, *game.prompts) if prompt.tip is tip), Prompt.at(tip))
    splice = by_text(tip.path(), path, lambda token: game.piece(token).data)
    changed = edited(before, splice, begins_after_text(session, before.begins, splice))
    if changed.tip is tip:  # the text is the same to the tokenizer
        return session, before
    session = with_roles_kept(session, changed, splice)
    return session, changed if before.cursor is not None else replace(changed, cursor=None)
