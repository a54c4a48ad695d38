"""A's numbers while something is compared: those of strict answers only. Pure.

The first answers can differ a little from these, and would stand beside them.
"""

from collections.abc import Iterator

from tokex_gguf.play.game import Prompt
from tokex_gguf.play.session import Session
from tokex_gguf.values.comparison import Lacking
from tokex_gguf.values.difference import TokenPair
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.tree import Node


def rows_by_token(session: Session, place: Prompt) -> dict[int, TokenPair]:
    """A's and B's numbers of each token in a place's table, as far as known."""
    comparison = session.game.comparison
    if comparison is None:
        return {}
    cursor = session.game.prompt.cursor
    rows = {row.token: row for row in comparison.rows(place.tip, cursor)}
    if cursor and (taken := comparison.token_pair(cursor)):
        rows.setdefault(cursor.token, taken)
    for token in (place.selected, place.popped):
        if token is not None and token not in rows and (row := comparison.row(place.tip, cursor, token)):
            rows[token] = row
    return rows


def of_row(node: Node, token: int, beside: TokenPair | None) -> TokenLogprob | None:
    """A's numbers of a token in the table after a path: from `beside`, else from a strict answer; None until known."""
    return beside.a if beside else node.strict_taken_after(token)


def of_token(session: Session, node: Node) -> TokenLogprob | None:
    """The numbers of a token of the active prompt, strict ones in a comparison; None until known."""
    comparison = session.game.comparison
    if comparison is None:
        return node.taken
    if (beside := comparison.token_pair(node)) is not None:
        return beside.a
    return node.parent.strict_taken_after(node.token) if node.parent else None


def distribution_after(session: Session, node: Node) -> Distribution | None:
    """The distribution after a path of the active prompt, the strict one in a comparison."""
    return node.distribution if session.game.comparison is None else node.strict


def unlisted(session: Session) -> list[int]:
    """The selected and popped tokens of the shown table that lack A's or B's numbers."""
    place, model = session.game.prompt.place, session.game.model
    if model is None or not 0 < place.tip.depth < model.context_limit:
        return []
    rows = rows_by_token(session, place)
    return [token for token in dict.fromkeys((place.selected, place.popped)) if token is not None and token not in rows]


def lacking_strict(session: Session, path_b: Node | None) -> Iterator[Lacking]:
    """The strict answers that the screen lacks besides the comparison itself.

    They are of the shown table, of the prompt's last token, and of selected and popped tokens that are not among the
    candidates: evaluating these as well gives their numbers. `path_b`: B's path, where it is of the same model.
    """
    prompt, tip = session.game.prompt, session.game.prompt.place.tip
    if not tip.depth:
        return
    if prompt.cursor is None and tip.depth > 1 and of_token(session, tip) is None:
        yield Lacking(tip, tip.depth - 2)  # the table comes along
    elif tip.strict is None:
        yield Lacking(tip, tip.depth - 1)
    for token in unlisted(session):
        for node in (tip, path_b):
            if node is not None and node.depth and node.strict_taken_after(token) is None:
                yield Lacking(node.child(token), node.depth - 1)
