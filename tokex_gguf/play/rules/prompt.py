"""Choosing, appending and popping tokens; autoplay; the list of open prompts."""

from collections.abc import Callable

from tokex_gguf.engine.protocol import GOES_ON, NOTHING_LEFT, Capability, Continue
from tokex_gguf.play.game import Cost, Game, Prompt
from tokex_gguf.play.messages import Effect, Outcome
from tokex_gguf.play.purposes import ForAutoplay
from tokex_gguf.play.requests import ask, candidates_at_tip, request, stop
from tokex_gguf.play.rules.selected_prompt import keep_selected
from tokex_gguf.play.session import Session
from tokex_gguf.play.table import selected_row, table
from tokex_gguf.values.lens import Raw, Sampled
from tokex_gguf.values.record import replace
from tokex_gguf.values.tokens import quoted
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT, Standing

PAGE = 10
"""Rows that page up and page down move by."""
ALL_ROWS = 1_000_000
"""More rows than any table has."""
UNREAD = "the starting prompt is not read yet"
NO_TABLE = "this table is not there yet"
"""Why something cannot be done yet."""
CONTEXT_FULL = "the context is full: ← makes room"
TYPED_BEFORE = "the text typed before is back: ctrl+u clears it"


def with_prompt(session: Session, prompt: Prompt) -> Session:
    """Replaces the active prompt.

    The new one keeps the old one's name, and also its parent unless it has its own.
    """
    before = session.game.prompt
    prompt = replace(prompt, name=before.name, parent=prompt.parent or before.parent, along=before.along)
    prompts = (*session.game.prompts[: session.game.active], prompt, *session.game.prompts[session.game.active + 1 :])
    return replace(session, game=replace(session.game, prompts=prompts))


def with_along(game: Game, carried: int | None) -> Game:
    """Marks the prompt at an index, and no other, as carried to the second model and back; None: marks none."""
    prompts = [replace(prompt, along=index == carried) for index, prompt in enumerate(game.prompts)]
    return replace(game, prompts=tuple(prompts))


def show(session: Session) -> Outcome:
    """Turns to the active prompt: drops waiting key presses, ends autoplay, and requests what it lacks."""
    pressed = replace(session.game.pressed, appends=0, rolling=0, appending=False, autoplay=False)
    session = replace(session, game=replace(session.game, pressed=pressed, full=None))
    if session.game.complete(session.game.prompt.tip):
        session = replace(session, game=replace(session.game, cost=Cost()))
    return ask(session)


def turned(session: Session, rows: int) -> Prompt:
    """The active prompt with the selection moved down by `rows`; it stops at either end."""
    prompt = session.game.prompt
    candidates = table(session, prompt.place)
    if not candidates:
        return prompt
    row = max(0, min(len(candidates) - 1, selected_row(session, prompt.place) + rows))
    return chosen(prompt, candidates[row].token)


def chosen(prompt: Prompt, token: int) -> Prompt:
    """The prompt with another token selected."""
    return replace(prompt, selected=token) if prompt.cursor is None else replace(prompt, chosen=token)


def _without_table(session: Session) -> Outcome:
    """Says why nothing can be chosen."""
    first = session.game.prompt.place.tip.depth == 0
    notice = "nothing comes before the first token: nothing to choose" if first else NO_TABLE
    if session.game.full is not None and not first:
        notice = f"there is no table: {session.game.full} tokens fit into the context; ← makes room"
    return replace(session, notice=notice), []


def select(rows: int) -> Callable[[Session], Outcome]:
    """Moves the selection by some rows."""

    def go(session: Session) -> Outcome:
        candidates = table(session, session.game.prompt.place)
        if not candidates:
            return _without_table(session)
        last = 0 if rows < 0 else len(candidates) - 1
        if selected_row(session, session.game.prompt.place) == last:
            key_hint = "/ finds" if session.game.can(Capability.VOCABULARY_SEARCH) else "i types"
            # Sorted by final probability, or by Δ, the first row may be another token.
            first = "this is the most likely token" if candidates[0].rank == 1 else "this is the first row"
            notice = first if rows < 0 else f"the table ends here: {key_hint} every other token"
            return replace(session, notice=notice), []
        return with_prompt(session, turned(session, rows)), []

    return go


def pick_row(session: Session, row: int) -> Outcome:
    """Selects a row of the table."""
    return with_prompt(session, turned(session, row - selected_row(session, session.game.prompt.place))), []


def no_room(session: Session) -> str:
    """Why no further prompt can be opened; empty where one can."""
    limit = session.game.settings.max_prompts
    if len(session.game.prompts) < limit:
        return ""
    remedy = "a removes one" if len(session.game.prompts) > 1 else "the configuration's max_prompts"
    return f"no more than {limit} can be open: {remedy}"


def insert(session: Session, prompt: Prompt) -> Outcome:
    """Opens a prompt after the active one and goes to it."""
    if reason := no_room(session):
        return replace(session, notice=reason), []
    index = session.game.active + 1
    prompt = replace(prompt, along=False)
    prompts = (*session.game.prompts[:index], prompt, *session.game.prompts[index:])
    return show(keep_selected(replace(session, game=replace(session.game, prompts=prompts, active=index)), index))


def append(session: Session) -> Outcome:
    """Appends the selected token; inside the prompt, opens a new prompt that ends with it."""
    if session.game.prompt.cursor is not None:
        return _branch(session)
    if session.game.full is not None:
        return replace(session, notice=f"context full ({session.game.full}/{session.game.full}): pop a token first"), []
    if session.game.pending is None and not session.game.ready:
        return ask(session)  # the last attempt failed
    rows = table(session, session.game.prompt)
    if session.game.prompt.tip.distribution is None or not rows:
        # Two quick presses append two tokens, counting the one whose table is awaited. With more, a held key would
        # run on after its release.
        awaited = session.game.pending is not None or session.order_awaited
        limit = 0 if not awaited else 1 if session.game.pressed.appending else 2
        return replace(
            session,
            game=replace(
                session.game,
                pressed=replace(session.game.pressed, appends=min(session.game.pressed.appends + 1, limit)),
            ),
        ), []
    token = rows[selected_row(session, session.game.prompt)].token
    notice = would_cut(session, token)
    session, effects = take(session, token)
    return (replace(session, notice=notice) if notice else session), effects


def would_cut(session: Session, token: int) -> str:
    """A line saying what would have cut a token that is taken nevertheless; empty where nothing would."""
    verdict = session.view.verdicts.get(token) if session.view else None
    if verdict is None or verdict.cut_by == NOT_CUT or not isinstance(session.lens, Sampled):
        return ""
    return f"{quoted(session.game.piece(token).data)} would not be drawn: {session.lens.stage(verdict.cut_by)} cuts it"


def take(session: Session, token: int) -> Outcome:
    """Appends a token; inside the prompt, opens a new prompt that ends with it."""
    place = session.game.prompt.place
    if session.game.prompt.cursor is not None:
        if token == session.game.prompt.cursor.token:
            return replace(session, notice="this one was taken here: select another to go its way"), []
        begins, parent = min(session.game.prompt.begins, place.tip.depth), session.game.prompt.tip
        return insert(session, Prompt(place.tip.child(token).play(), begins=begins, parent=parent))
    session, effects = show(with_prompt(session, Prompt(place.tip.child(token).play(), begins=place.begins)))
    return replace(session, game=replace(session.game, pressed=replace(session.game.pressed, appending=True))), effects


def _branch(session: Session) -> Outcome:
    place = session.game.prompt.place
    rows = table(session, place)
    if not rows:
        return _without_table(session)
    return take(session, rows[selected_row(session, place)].token)


def pop(session: Session) -> Outcome:
    """Pops the last token."""
    if session.game.prompt.cursor is not None:
        return replace(session, notice="← pops at the prompt's end: Esc goes there"), []
    tip = session.game.prompt.tip
    if tip.parent is None or tip.parent.depth == 0:
        return replace(
            session,
            game=replace(session.game, pressed=replace(session.game.pressed, appends=0)),
            notice="the first token stays: there is nothing before it",
        ), []
    begins = min(session.game.prompt.begins, tip.parent.depth)
    return show(with_prompt(session, Prompt(tip.parent, selected=tip.token, popped=tip.token, begins=begins)))


def autoplay(session: Session) -> Outcome:
    """Begins to append the most likely token again and again."""
    if reason := session.game.unavailable:
        return replace(session, notice=reason), []
    if session.game.full is not None:
        return replace(session, notice=CONTEXT_FULL), []
    if session.game.prompt.cursor is not None:
        return replace(session, notice="space plays on from the prompt's end: Esc goes there"), []
    session = replace(
        session,
        game=replace(session.game, pressed=replace(session.game.pressed, autoplay=True, rolling=0), cost=Cost()),
    )
    return play_on(session) if session.game.ready else ask(session)  # the last attempt may have failed


def play_step(session: Session, node: Node, end: int = GOES_ON) -> Outcome:
    """Moves the prompt to a token of autoplay whose table is known; ends autoplay where nothing can follow.

    `end`: as in `Continued`.
    """
    for played in node.nodes(session.game.prompt.tip.depth):
        played.play()
    session = with_prompt(session, Prompt(node, begins=session.game.prompt.begins))
    if reason := _end_of_play(session, end):
        session, effects = stop(session)
        pressed = replace(session.game.pressed, autoplay=False)
        return replace(session, game=replace(session.game, pressed=pressed), notice=reason), effects
    return session, []


def _end_of_play(session: Session, end: int) -> str:
    """Why autoplay cannot go on from a tip with a known table; empty where it can."""
    tip = session.game.prompt.tip
    assert tip.distribution is not None
    assert session.game.model is not None
    if end == NOTHING_LEFT:
        return nothing_left(session)
    if end != GOES_ON:
        cost_hint = "; E shows what the constraint cost" if session.game.sampling.constraint else ""
        return f"the model ends here: {quoted(session.game.piece(end).data)} was drawn{cost_hint}"
    piece = session.game.piece(tip.distribution.most_likely)
    if piece.ends and isinstance(session.lens, Raw):
        return f"the model ends here: {quoted(piece.data)} is the most likely token"
    if tip.depth >= session.game.model.context_limit:
        return f"context full ({tip.depth}/{session.game.model.context_limit})"
    return ""


def nothing_legal(session: Session) -> str:
    """Why the constraint allows no token here, and what helps; empty where it allows one, or is not known."""
    view = session.view
    if view is None or view.standing not in (Standing.BROKEN, Standing.STUCK):
        return ""
    if view.standing is Standing.BROKEN:
        return f"nothing is legal after token {view.broken + 1}, which breaks the constraint: pop it, or lift that by C"
    return "nothing that can come here is legal: ← goes back, C changes the constraint"


def nothing_left(session: Session) -> str:
    """Why nothing can be drawn here."""
    return nothing_legal(session) or "nothing is left to draw from: S shows what cut it"


def play_on(session: Session) -> Outcome:
    """Continues autoplay from a tip with a known table: through known nodes, then by the engine.

    A token is shown once its table is there, so that stopping takes nothing back.
    """
    effects: list[Effect] = []
    node, lens = session.game.prompt.tip, session.lens
    if isinstance(lens, Sampled):  # the engine draws the tokens, beginning with the tip's own table
        tip, seed, top = node, session.game.sampling.seed, candidates_at_tip(session)
        assert tip.parent is not None
        return request(
            session,
            ForAutoplay(tip.parent, lens),
            lambda number: Continue(number, tip.path(), top, lens, seed),
        )
    session.game.known.lookahead.recall(node)
    while session.game.pressed.autoplay and node.distribution is not None:
        session, effects = play_step(session, node)
        node = node.child(node.distribution.most_likely)
        session.game.known.lookahead.recall(node)
    if not session.game.pressed.autoplay:
        return session, effects
    path, top = node.path(), candidates_at_tip(session)
    purpose = ForAutoplay(session.game.prompt.tip)
    return request(session, purpose, lambda number: Continue(number, path, top))


def stop_autoplay(session: Session) -> Outcome:
    """Ends autoplay at the token it has reached."""
    return ask(replace(session, game=replace(session.game, pressed=replace(session.game.pressed, autoplay=False))))


def cycle(step: int) -> Callable[[Session], Outcome]:
    """Goes to another open prompt, in a cycle."""

    def go(session: Session) -> Outcome:
        if len(session.game.prompts) == 1:
            return replace(session, notice="one prompt is open: d copies it"), []
        return show(
            replace(
                session, game=replace(session.game, active=(session.game.active + step) % len(session.game.prompts))
            )
        )

    return go


def copy(session: Session) -> Outcome:
    """Opens a copy of the prompt, without its name. The notice says which is which."""
    if reason := no_room(session):
        return replace(session, notice=reason), []
    index = session.game.active + 1
    prompt = session.game.prompt
    session, effects = insert(session, replace(prompt, name="", parent=prompt.tip))
    return replace(session, notice=f"this is prompt {index + 1}, a copy of prompt {index}: w and s switch"), effects


def remove(session: Session) -> Outcome:
    """Removes the prompt."""
    return remove_at(session, session.game.active)


def remove_at(session: Session, index: int) -> Outcome:
    """Removes a prompt. The active one stays active, unless it is removed."""
    if len(session.game.prompts) == 1:
        return replace(session, notice="the only prompt stays"), []
    prompts, active = session.game.prompts, session.game.active
    removed = (*session.game.removed, (index, replace(prompts[index], along=False)))[-100:]
    prompts = prompts[:index] + prompts[index + 1 :]
    new_active = min(active - (index < active), len(prompts) - 1)
    game = replace(session.game, prompts=prompts, active=new_active, removed=removed)
    session = replace(session, game=game, notice=f"prompt {index + 1} is removed: A brings it back")
    return show(session) if index == active else (session, [])


def bring_back(session: Session) -> Outcome:
    """Restores the prompt that was removed last at its old index, and goes to it."""
    if not session.game.removed:
        return replace(session, notice="there is no removed prompt to bring back"), []
    if reason := no_room(session):
        return replace(session, notice=reason), []
    index, prompt = session.game.removed[-1]
    index = min(index, len(session.game.prompts))
    prompts = (*session.game.prompts[:index], prompt, *session.game.prompts[index:])
    return show(
        replace(session, game=replace(session.game, prompts=prompts, active=index, removed=session.game.removed[:-1]))
    )


def move(session: Session, index: int, step: int) -> Session:
    """Moves a prompt by `step` places among the open ones."""
    order = list(range(len(session.game.prompts)))
    order.insert(index + step, order.pop(index))
    prompts = tuple(session.game.prompts[place] for place in order)
    return replace(session, game=replace(session.game, prompts=prompts, active=order.index(session.game.active)))


def go_to(session: Session, index: int) -> Outcome:
    """Goes to the open prompt of an index."""
    if index >= len(session.game.prompts):
        return replace(session, notice=f"there is no prompt {index + 1}"), []
    if index == session.game.active:
        return replace(session, notice=f"this is prompt {index + 1}"), []
    return show(replace(session, game=replace(session.game, active=index)))
