"""The one place where a session changes: `update(session, message) -> (session, effects)`.

A message is a key's action, an engine's reply, or the outcome of an effect. An
effect is something for the shell around this to do: ask the engine, save, quit.
Nothing here waits, reads a clock or touches the world, so a game can be played in a
test without model or terminal.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from tokex_gguf.engine.protocol import (
    Continue,
    Continued,
    EngineDied,
    Evaluate,
    Evaluated,
    Failed,
    Foresee,
    Foreseen,
    Load,
    Loaded,
    Loading,
    Reply,
    Request,
    Stop,
    Tokenize,
    Tokenized,
)
from tokex_gguf.keymap import BINDINGS, Action, Mode
from tokex_gguf.session import Cost, Engine, Job, Layer, Prompt, Session, selected_row, table, text_of
from tokex_gguf.tokens import label

PAGE = 10
"""Rows that page up and page down move by."""
ALL = 1_000_000
"""More rows than any table has."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A save is done."""

    path: str


@dataclass(frozen=True, slots=True)
class SaveFailed:
    """A save could not be done."""

    reason: str


Message: TypeAlias = Action | Reply | EngineDied | Saved | SaveFailed


@dataclass(frozen=True, slots=True)
class Send:
    """Give a request to the engine."""

    request: Request


@dataclass(frozen=True, slots=True)
class Start:
    """Start an engine process, in place of any that is there."""


@dataclass(frozen=True, slots=True)
class Save:
    """Write a prompt's text to a new file; answer Saved or SaveFailed."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave the program."""

    fault: str = ""
    """Why, where it is not the player's wish."""


Effect: TypeAlias = Send | Start | Save | Quit
Outcome: TypeAlias = tuple[Session, list[Effect]]


def begin(session: Session) -> list[Effect]:
    """The effects that start a game, and that restart its engine."""
    settings = session.settings
    return [Start(), Send(Load(settings.model, settings.context, settings.threads, settings.log))]


def update(session: Session, message: Message) -> Outcome:
    """The session after a message, and what is to be done."""
    session, effects = _act(session, message) if isinstance(message, Action) else _hear(session, message)
    session, more = _foresee(session)
    return session, effects + more


def _act(session: Session, action: Action) -> Outcome:
    """What a key does. Any key ends autoplay; space does nothing else then."""
    session = replace(session, notice="")
    if not session.autoplay:
        return _ACTIONS[action](session)
    session, effects = _halt(session)
    if action is not Action.AUTOPLAY:
        session, more = _ACTIONS[action](session)
        effects += more
    return session, effects


def _hear(session: Session, message: Reply | EngineDied | Saved | SaveFailed) -> Outcome:
    """What a reply of the engine, or the outcome of an effect, does."""
    match message:
        case Loading():
            return replace(session, progress=message.fraction), []
        case Loaded():
            return _loaded(session, message)
        case Tokenized():
            return _tokenized(session, message)
        case Evaluated():
            return _evaluated(session, message)
        case Foreseen():
            return _foreseen(session, message)
        case Continued():
            return _continued(session, message)
        case Failed():
            return _failed(session, message)
        case EngineDied():
            return _died(session, message)
        case Saved():
            return replace(session, notice=f"saved {message.path}"), []
        case SaveFailed():
            return replace(session, notice=f"not saved: {message.reason}"), []


# --- asking the engine


def _missing(prompt: Prompt) -> int | None:
    """The first position whose distribution must be asked for; None when all is known."""
    start = prompt.tip.first_unknown()
    if prompt.popped is not None and prompt.tip.child(prompt.popped).taken is None:
        start = min(start, prompt.tip.depth - 1)
    return start if start < prompt.tip.depth else None


def _ask(session: Session) -> Outcome:
    """Asks for what the active prompt lacks, once; stops what it does not need."""
    prompt, tip = session.prompt, session.prompt.tip
    start = _missing(prompt)
    if start is None:
        effects: list[Effect] = [Send(Stop())] if session.pending is not None else []
        return replace(session, pending=None, full=None), effects
    if session.engine is not Engine.READY:
        return session, []
    if session.pending is not None and _covers(session.jobs[session.pending], prompt):
        return session, []
    request = session.requests + 1
    job = Job(tuple(tip.nodes(start)), start, prompt.popped)
    session = replace(
        session,
        requests=request,
        pending=request,
        foresight=None,
        full=None,
        cost=Cost(),
        jobs={**session.jobs, request: job},
    )
    return session, [Send(Evaluate(request, tip.path(), start, session.settings.tokens_to_show, prompt.popped))]


def _foresee(session: Session) -> Outcome:
    """While nothing is asked for, asks for what may be asked next: the selected and the likeliest tokens."""
    budget = session.settings.lookahead
    if not budget or not session.ready or session.autoplay or session.engine is not Engine.READY:
        return session, []
    prompt = session.prompt
    rows = table(prompt)
    chosen = rows[selected_row(prompt)].token
    likely = [row.token for row in rows[:budget]]
    # Where a token ends the generation nobody goes on, unless it is chosen.
    likely = [token for token in likely if token != chosen and not session.piece(token).ends]
    wanted = tuple(token for token in (chosen, *likely) if not session.foresees(token))
    if not wanted or prompt.tip.depth >= (session.model.context_limit if session.model else 0):
        return session, []
    if session.foresight and session.foresight[0] is prompt.tip and set(wanted) <= set(session.foresight[1]):
        return session, []
    request = session.requests + 1
    job = Job((prompt.tip,), prompt.tip.depth, None)
    session = replace(session, requests=request, foresight=(prompt.tip, wanted), jobs={**session.jobs, request: job})
    foresee = Foresee(request, prompt.tip.path(), list(wanted), session.settings.tokens_to_show)
    return session, [Send(foresee)]


def _covers(job: Job, prompt: Prompt) -> bool:
    """Whether a job's answers will hold all that a prompt lacks."""
    index = prompt.tip.depth - 1 - job.start
    if not 0 <= index < len(job.nodes) or job.nodes[index] is not prompt.tip:
        return False
    following = job.nodes[index + 1].token if index + 1 < len(job.nodes) else job.asked
    return prompt.popped in (None, following)


def _loaded(session: Session, message: Loaded) -> Outcome:
    if session.model and replace(message, context=0) != replace(session.model, context=0):
        # Token ids of one vocabulary mean nothing in another.
        return _died(session, EngineDied("the file holds another model now; put the first one back"))
    session = replace(session, model=message, engine=Engine.READY, context=message.context, progress=1.0)
    if session.prompts:
        return _ask(session)
    request = session.requests + 1
    settings = session.settings
    tokenize = Tokenize(request, settings.text, settings.parse_special)
    return replace(session, requests=request), [Send(tokenize)]


def _tokenized(session: Session, message: Tokenized) -> Outcome:
    session.pieces.update(message.pieces)
    return _ask(replace(session, prompts=(Prompt(session.root.descend(message.path)),)))


def _evaluated(session: Session, message: Evaluated) -> Outcome:
    session.pieces.update(message.pieces)
    job = session.jobs.get(message.request)
    if job is None:
        return session, []
    offset = message.start - job.start
    nodes = job.nodes[offset : offset + len(message.distributions)]
    for node, distribution in zip(nodes, message.distributions, strict=True):
        node.attach(distribution)
    for node, taken in zip(job.nodes[offset + 1 :], message.taken, strict=False):
        node.attach_taken(taken)
    complete = nodes[-1] is job.nodes[-1]
    if complete and job.asked is not None:
        nodes[-1].child(job.asked).attach_taken(message.taken[-1])
    jobs = _from(session, message.request)
    if complete:
        del jobs[message.request]
    session = replace(session, jobs=jobs, context=message.context)
    if message.request != session.pending:
        return session, []
    cost = Cost(session.cost.tokens + message.decoded, session.cost.seconds + message.seconds)
    session = replace(session, cost=cost, pending=None if complete else session.pending)
    session, effects = _ask(session)
    if session.ready and (session.autoplay or session.ahead):
        session, more = _play_on(session) if session.autoplay else _append(session)
        effects += more
    return session, effects


def _foreseen(session: Session, message: Foreseen) -> Outcome:
    session.pieces.update(message.pieces)
    if (job := session.jobs.get(message.request)) is None:
        return session, []
    for token, distribution in zip(message.tokens, message.distributions, strict=True):
        job.nodes[0].child(token).attach(distribution)
    session = replace(session, jobs=_from(session, message.request), foreseen=session.foreseen + 1)
    if session.pending is None or session.prompt.tip.distribution is None:
        return session, []
    return _ask(session)  # the token was chosen while its answer was on the way


def _continued(session: Session, message: Continued) -> Outcome:
    session.pieces.update(message.pieces)
    if (job := session.jobs.get(message.request)) is None:
        return session, []
    node = job.nodes[0].child(message.token)
    node.attach(message.distributions[0])
    jobs = {**_from(session, message.request), message.request: replace(job, nodes=(node,))}
    session = replace(session, jobs=jobs, context=message.context)
    if message.request != session.pending or node is not session.prompt.tip:
        return session, []
    session = replace(session, cost=Cost(session.cost.tokens + 1, session.cost.seconds + message.seconds))
    return _step(session)


def _from(session: Session, request: int) -> dict[int, Job]:
    """The jobs that may still be answered: the engine answers in order."""
    return {number: job for number, job in session.jobs.items() if number >= request}


def _failed(session: Session, message: Failed) -> Outcome:
    if not session.prompts:
        return session, [Quit(message.reason)]
    if message.request is None:
        return _died(session, EngineDied(message.reason))
    session = replace(session, jobs=_from(session, message.request + 1))
    if message.request != session.pending:
        return session, []
    session = replace(session, pending=None, ahead=False, autoplay=False, full=message.context)
    return replace(session, notice=message.reason), []


def _died(session: Session, message: EngineDied) -> Outcome:
    safe = "; your prompts are safe" if session.prompts else ""
    notice = f"the engine stopped ({message.reason}){safe}: press r to restart it"
    mode = session.mode if session.mode is Mode.HELP else Mode.BROKEN
    return replace(
        session,
        engine=Engine.DEAD,
        mode=mode,
        pending=None,
        ahead=False,
        autoplay=False,
        foresight=None,
        jobs={},
        progress=0.0,
        notice=notice,
        fault=message.reason,
    ), []


# --- keys


def _with(session: Session, prompt: Prompt) -> Session:
    """The session with another active prompt in the same place."""
    prompts = (*session.prompts[: session.active], prompt, *session.prompts[session.active + 1 :])
    return replace(session, prompts=prompts)


def _show(session: Session) -> Outcome:
    """Turns to the active prompt: forgets what was asked ahead, and asks for what it lacks."""
    session = replace(session, ahead=False, full=None)
    if session.prompt.tip.known:
        session = replace(session, cost=Cost())
    return _ask(session)


def _move(rows: int) -> Callable[[Session], Outcome]:
    """Moves the selection, or scrolls the help, by so many rows; it stops at either end."""

    def move(session: Session) -> Outcome:
        if session.mode is Mode.HELP:
            # The screen's size is not known here: no further than the help can have lines.
            return replace(session, scroll=max(0, min(2 * len(BINDINGS), session.scroll + rows))), []
        if not session.prompts or not (candidates := table(session.prompt)):
            return session, []
        row = max(0, min(len(candidates) - 1, selected_row(session.prompt) + rows))
        return _with(session, replace(session.prompt, selected=candidates[row].token)), []

    return move


def _append(session: Session) -> Outcome:
    if not session.prompts:
        return session, []
    if session.full is not None:
        return replace(session, notice=f"context full ({session.full}/{session.full}): pop a token first"), []
    if session.pending is None and not session.ready:
        return _ask(session)  # the last attempt failed
    rows = table(session.prompt)
    if not session.ready or not rows:
        # One press is kept for when the table is there. More would run on after the key is released.
        return replace(session, ahead=session.pending is not None), []
    tip = session.prompt.tip.child(rows[selected_row(session.prompt)].token)
    return _show(_with(session, Prompt(tip)))


def _autoplay(session: Session) -> Outcome:
    if not session.prompts or session.engine is not Engine.READY or session.full is not None:
        return session, []
    session = replace(session, autoplay=True, cost=Cost())
    return _play_on(session) if session.ready else (session, [])


def _step(session: Session) -> Outcome:
    """Appends the most likely token, or ends autoplay where there is none to append."""
    tip = session.prompt.tip
    assert tip.distribution is not None
    assert session.model is not None
    token = tip.distribution.ids[0]
    name = label(session.piece(token).data)
    reason = ""
    if session.piece(token).ends:
        reason = f"the model ends here: {name} is the most likely token"
    elif tip.depth >= session.model.context_limit:
        reason = f"context full ({tip.depth}/{session.model.context_limit})"
    if reason:
        return replace(session, autoplay=False, pending=None, notice=reason), [Send(Stop())]
    return _with(session, Prompt(tip.child(token))), []


def _play_on(session: Session) -> Outcome:
    """Autoplay from a known tip: through what is known, then on with the engine."""
    while session.autoplay and session.prompt.tip.distribution is not None:
        session, effects = _step(session)
        if effects:
            return session, effects
    tip = session.prompt.tip
    assert tip.parent is not None
    request = session.requests + 1
    job = Job((tip.parent,), tip.depth - 1, None)
    jobs = {**session.jobs, request: job}
    session = replace(session, requests=request, pending=request, foresight=None, jobs=jobs)
    return session, [Send(Continue(request, tip.path(), session.settings.tokens_to_show))]


def _halt(session: Session) -> Outcome:
    """Ends autoplay at the last token whose table is known."""
    tip = session.prompt.tip
    while tip.distribution is None and tip.parent is not None and tip.parent.depth:
        tip = tip.parent
    if tip.distribution is None:  # nothing was played yet: the prompt itself is still being evaluated
        return replace(session, autoplay=False), []
    return _ask(_with(replace(session, autoplay=False), Prompt(tip)))


def _pop(session: Session) -> Outcome:
    if not session.prompts:
        return session, []
    tip = session.prompt.tip
    if tip.parent is None or tip.parent.depth == 0:
        return replace(session, ahead=False, notice="the first token stays: there is nothing before it"), []
    return _show(_with(session, Prompt(tip.parent, selected=tip.token, popped=tip.token)))


def _cycle(step: int) -> Callable[[Session], Outcome]:
    def go(session: Session) -> Outcome:
        if not session.prompts:
            return session, []
        return _show(replace(session, active=(session.active + step) % len(session.prompts)))

    return go


def _copy(session: Session) -> Outcome:
    if not session.prompts:
        return session, []
    limit = session.settings.max_prompts
    if len(session.prompts) >= limit:
        return replace(session, notice=f"{limit} prompts are open, the most there can be: remove one with a"), []
    place = session.active + 1
    prompts = (*session.prompts[:place], session.prompt, *session.prompts[place:])
    return _show(replace(session, prompts=prompts, active=place))


def _remove(session: Session) -> Outcome:
    if not session.prompts:
        return session, []
    if len(session.prompts) == 1:
        return replace(session, notice="the last prompt stays"), []
    prompts = session.prompts[: session.active] + session.prompts[session.active + 1 :]
    return _show(replace(session, prompts=prompts, active=min(session.active, len(prompts) - 1)))


def _layer(session: Session) -> Outcome:
    layers = list(Layer)
    return replace(session, layer=layers[(layers.index(session.layer) + 1) % len(layers)]), []


def _save(session: Session) -> Outcome:
    if not session.prompts:
        return replace(session, notice="nothing to save yet"), []
    return replace(session, notice="saving"), [Save(text_of(session, session.prompt.tip))]


def _help(session: Session) -> Outcome:
    return replace(session, mode=Mode.HELP, scroll=0), []


def _close(session: Session) -> Outcome:
    return replace(session, mode=Mode.BROKEN if session.engine is Engine.DEAD else Mode.PLAY), []


def _restart(session: Session) -> Outcome:
    session = replace(session, engine=Engine.LOADING, mode=Mode.PLAY, notice="")
    return session, begin(session)


def _quit(session: Session) -> Outcome:
    return session, [Quit()]


_ACTIONS: dict[Action, Callable[[Session], Outcome]] = {
    Action.UP: _move(-1),
    Action.DOWN: _move(1),
    Action.PAGE_UP: _move(-PAGE),
    Action.PAGE_DOWN: _move(PAGE),
    Action.TOP: _move(-ALL),
    Action.BOTTOM: _move(ALL),
    Action.APPEND: _append,
    Action.AUTOPLAY: _autoplay,
    Action.HALT: lambda session: (session, []),
    Action.POP: _pop,
    Action.NEXT: _cycle(1),
    Action.PREVIOUS: _cycle(-1),
    Action.COPY: _copy,
    Action.REMOVE: _remove,
    Action.LAYER: _layer,
    Action.SAVE: _save,
    Action.RESTART: _restart,
    Action.HELP: _help,
    Action.CLOSE: _close,
    Action.QUIT: _quit,
}
