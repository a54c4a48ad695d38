"""What is told of A while something is compared: numbers of strict answers alone. Pure.

The first answers can differ a little from these, and would stand beside them.
"""

from collections.abc import Iterator

from tokex_gguf.play.session import Prompt, Session
from tokex_gguf.values.comparison import Lacking
from tokex_gguf.values.difference import Beside
from tokex_gguf.values.distribution import Distribution, Taken
from tokex_gguf.values.tree import Node


def rows_by_token(session: Session, place: Prompt) -> dict[int, Beside]:
    """What A and B say of each token of the table of a place, as far as known."""
    comparison = session.game.comparison
    if comparison is None:
        return {}
    cursor = session.game.prompt.cursor
    rows = {row.token: row for row in comparison.rows(place.tip, cursor)}
    if cursor and (taken := comparison.beside(cursor)):
        rows.setdefault(cursor.token, taken)
    for token in (place.selected, place.popped):
        if token is not None and token not in rows and (row := comparison.row(place.tip, cursor, token)):
            rows[token] = row
    return rows


def of_row(node: Node, token: int, beside: Beside | None) -> Taken | None:
    """What A says of a token of the table after a path, of which `beside` is known; None until a strict answer does."""
    return beside.a if beside else node.said_strictly(token)


def of_token(session: Session, node: Node) -> Taken | None:
    """What is said of a token of the active prompt: where something is compared, strictly; None until known."""
    comparison = session.game.comparison
    if comparison is None:
        return node.taken
    if (beside := comparison.beside(node)) is not None:
        return beside.a
    return node.parent.said_strictly(node.token) if node.parent else None


def after(session: Session, node: Node) -> Distribution | None:
    """The distribution after a path of the active prompt: where something is compared, the strict one."""
    return node.distribution if session.game.comparison is None else node.strict


def apart(session: Session) -> list[int]:
    """The tokens that are selected or popped where the table is shown, and of which it does not have both numbers."""
    place, model = session.game.prompt.place, session.game.model
    if model is None or not 0 < place.tip.depth < model.context_limit:
        return []
    there = rows_by_token(session, place)
    return [one for one in dict.fromkeys((place.selected, place.popped)) if one is not None and one not in there]


def lacking(session: Session, other: Node | None) -> Iterator[Lacking]:
    """The strict answers that are lacking besides those that tokens are compared by.

    They are of the shown table, of the prompt's last token, and of tokens that are selected or popped and not among
    the likely ones: what comes after these is told along. `other`: B's path, where it is one of the same model.
    """
    prompt, tip = session.game.prompt, session.game.prompt.place.tip
    if not tip.depth:
        return
    if tip.strict is None:
        yield Lacking(tip, tip.depth - 1)
    if prompt.cursor is None and tip.depth > 1 and of_token(session, tip) is None:
        yield Lacking(tip, tip.depth - 2)
    for token in apart(session):
        for node in (tip, other):
            if node is not None and node.depth and node.said_strictly(token) is None:
                yield Lacking(node.child(token), node.depth - 1)
