"""The rows of the table of next tokens, and what most likely follows them. Pure."""

import math
from collections.abc import Callable, Mapping

from tokex_gguf.play.game import Prompt
from tokex_gguf.play.screens import Play
from tokex_gguf.play.session import Session
from tokex_gguf.values.distribution import Candidate
from tokex_gguf.values.lens import Raw
from tokex_gguf.values.lookahead import LONGEST_BRANCH, Place, following, likeliest_after
from tokex_gguf.values.reachability import follows, likeliest
from tokex_gguf.values.view import NOT_CUT, by_final


def table(session: Session, prompt: Prompt) -> tuple[Candidate, ...]:
    """The rows of a prompt's table: the likeliest tokens, then the popped one if it is not among them.

    Empty while the distribution, or what the rows are sorted by, is not known. There are no more rows than are
    configured or fit on the screen; but the selected token always has one.
    """
    distribution = prompt.tip.distribution
    if distribution is None:
        return ()
    if compared := _compared(session, prompt):
        return _with_chosen(prompt, compared)
    limit = max(session.game.settings.tokens_to_show, session.rows)
    child = None if prompt.popped is None else prompt.tip.children.get(prompt.popped)
    popped_taken = {child.token: child.taken} if child is not None and child.taken is not None else {}
    viewed = session.viewed(prompt.tip) if session.sorts_by_final else None
    if viewed is None and session.sorts_by_final and session.view_awaited(prompt.tip):
        return ()
    if viewed is None:
        places: Mapping[int, int] = distribution.rows
        sorted_rows = None
    else:
        sorted_rows = by_final(distribution, viewed.view, popped_taken)
        places = {row.token: place for place, row in enumerate(sorted_rows)}
    if prompt.selected is not None and prompt.selected != prompt.popped:
        limit = max(limit, places.get(prompt.selected, 0) + 1)
    rows = distribution.first(limit) if sorted_rows is None else sorted_rows[:limit]
    for token, taken in popped_taken.items():
        if places.get(token, len(rows)) >= len(rows):
            rows += (taken.row(token),)
    return rows


def _compared(session: Session, prompt: Prompt) -> list[Candidate]:
    """The likeliest tokens of A or B by strict answers, of A alone until B's are known; empty before the first."""
    if session.game.comparison is None:
        return []
    if (difference := session.difference_after(prompt.tip)) is None:
        return [] if prompt.tip.strict is None else list(prompt.tip.strict.candidates())
    by_delta = session.options.by_delta
    ordered = sorted(difference.rows, key=lambda row: -abs(row.delta_bits)) if by_delta else difference.rows
    return [row.a.row(row.token) for row in ordered]


def _with_chosen(prompt: Prompt, rows: list[Candidate]) -> tuple[Candidate, ...]:
    """A comparison's rows, and those of the selected and the popped token.

    The latter two are left out until an answer has their numbers: see `compared.of_row`.
    """
    shown = {row.token for row in rows}
    extra = [
        token for token in dict.fromkeys((prompt.selected, prompt.popped)) if token is not None and token not in shown
    ]
    numbers = ((token, prompt.tip.strict_taken_after(token) or prompt.tip.taken_after(token)) for token in extra)
    return (*rows, *(taken.row(token) for token, taken in numbers if taken))


def selected_row(session: Session, prompt: Prompt) -> int:
    """The index of the selected row in `table`."""
    if prompt.selected is None:
        return 0
    tokens = [row.token for row in table(session, prompt)]
    return tokens.index(prompt.selected) if prompt.selected in tokens else 0


def is_cut(session: Session, token: int) -> bool:
    """Whether the lens surely cuts a token of the table that is shown."""
    if isinstance(session.lens, Raw):
        return False
    view = session.view
    if view is not None and (verdict := view.verdicts.get(token)) is not None:
        return verdict.cut_by != NOT_CUT
    return session.lens.chain.biases.get(token) == -math.inf


def next_after(session: Session) -> Callable[[Place], int | None]:
    """A function to the token that most likely follows a path through the lens; None where that is not known.

    With a constraint it is known where the engine gave a view. Samplers that change the order count by their biases
    alone, at every place, so that it is one quantity.
    """
    lens, view_of = session.lens, session.game.known.lens_results.view
    if isinstance(lens, Raw):
        return likeliest_after

    def after(place: Place) -> int | None:
        if (distribution := place.distribution) is None:
            return None
        by_view = lens.constraint is not None or follows(lens)
        if by_view and place.node is not None and (view := view_of(lens, place.node)) is not None:
            return next(iter(view.likeliest), None)
        return likeliest(lens, distribution) if lens.constraint is None else None

    return after


def continuation(session: Session) -> tuple[int, ...]:
    """The ghost text: the selected token and the likeliest known tokens after it; empty where it is not shown.

    It ends at a line's end, so that the prompt's tip stays in sight.
    """
    if not session.options.ghost or not isinstance(session.current, Play) or not session.game.prompts:
        return ()
    prompt, game = session.game.prompt, session.game
    if prompt.cursor is not None or game.pressed.autoplay or game.comparison or prompt.tip.distribution is None:
        return ()
    rows = table(session, prompt)
    if not rows:
        return ()
    chosen = rows[selected_row(session, prompt)].token
    if is_cut(session, chosen):
        return ()
    after_chosen = game.known.lookahead.place(prompt.tip).child(chosen)
    tokens = (chosen, *following(after_chosen, LONGEST_BRANCH, next_after(session)))
    for index, token in enumerate(tokens):
        piece = game.piece(token)
        if piece.ends or b"\n" in piece.data:
            return tokens[: index + (not piece.ends)]
    return tokens
