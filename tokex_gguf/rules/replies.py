"""What the engine's replies, and the outcomes of effects, change."""

from dataclasses import replace
from shlex import quote as shell_word

from tokex_gguf.engine.protocol import (
    Checked,
    Continued,
    EngineDied,
    Evaluated,
    Failed,
    Foreseen,
    Found,
    Loaded,
    Loading,
    Pong,
    Reply,
    Tokenized,
)
from tokex_gguf.keymap import Mode
from tokex_gguf.rules import composing, program, switching
from tokex_gguf.rules.asking import ask, read_prompt
from tokex_gguf.rules.effects import (
    Beat,
    EditFailed,
    Effect,
    Kept,
    Listed,
    ListedModels,
    News,
    NotPrepared,
    NotSuspended,
    Outcome,
    Prepared,
    Quit,
    Saved,
    SaveFailed,
)
from tokex_gguf.rules.playing import append, play_on, play_step
from tokex_gguf.session import Cost, Engine, Job, Prompt, Session


def hear(session: Session, message: News) -> Outcome:
    """What a reply of the engine, or the outcome of an effect, does."""
    if session.unanswered and isinstance(message, Reply):
        session = replace(session, unanswered=0)
    match message:
        case Beat():
            return program.beat(session)
        case Pong():
            return session, []
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
        case Found():
            return composing.found(session, message)
        case Checked():
            return _checked(session, message), []
        case Failed():
            return _failed(session, message)
        case EngineDied():
            return died(session, message)
        case Saved():
            return replace(session, notice=f"saved {message.path}"), []
        case Kept():
            told = f"kept as {message.name}: tokex-gguf --session {shell_word(message.name)} comes back to it"
            return replace(session, name=message.name, notice=told), []
        case SaveFailed():
            return replace(session, notice=f"not saved: {message.reason}"), []
        case EditFailed() | NotSuspended():
            return replace(session, notice=message.reason), []
        case Listed():
            return replace(session, starters=message.starters), []
        case ListedModels():
            return switching.listed(session, message.entries), []
        case Prepared():
            return switching.prepared(session, message)
        case NotPrepared():
            return replace(session, notice=message.reason), []


def _checked(session: Session, message: Checked) -> Session:
    if session.check is None or message.request != session.check[0]:
        return session
    node = session.check[1]
    # In this order: the tree may be saved between the two.
    node.differs = message.place
    node.checked = True
    return replace(session, check=None)


def _loaded(session: Session, message: Loaded) -> Outcome:
    # The contexts are this run's own: a resumed session may have been played with a larger one.
    if session.model and replace(message, context=0, context_limit=0) != replace(
        session.model, context=0, context_limit=0
    ):
        # Token ids of one vocabulary mean nothing in another.
        return died(session, EngineDied("the file holds another model now; put the first one back"))
    session = replace(session, model=message, engine=Engine.READY, context=message.context, progress=1.0, origin="")
    if not session.prompts:
        return read_prompt(session)
    session, effects = ask(session)
    session, more = switching.carry(session)
    return session, effects + more


def _tokenized(session: Session, message: Tokenized) -> Outcome:
    session.pieces.update(message.pieces)
    if not session.prompts:
        session, effects = ask(replace(session, prompts=(Prompt(session.root.descend(message.path)),)))
        session, more = switching.carry(session)
        return session, effects + more
    if message.request == session.carrying:
        return switching.arrived(session, message)
    if session.draft is not None and message.request == session.draft.request:
        return composing.drafted(session, message)
    if message.request in session.scoring:
        return composing.scored(session, message)
    if session.opening is not None and message.request == session.opening[0]:
        return composing.opened(session, message.path)
    return session, []


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
    return _go_on(replace(session, cost=cost, pending=None if complete else session.pending))


def _go_on(session: Session) -> Outcome:
    """Asks for what is still lacking; where nothing is, does what waited for the table."""
    session, effects = ask(session)
    more: list[Effect] = []
    if session.ready and session.autoplay:
        session, more = play_on(session)
    elif session.ready and session.ahead:
        # Who searches, types or looks back by now is no longer where → was pressed.
        there = session.mode is Mode.PLAY and session.prompt.cursor is None
        session, more = append(session) if there else (replace(session, ahead=False), [])
    return session, [*effects, *more]


def _foreseen(session: Session, message: Foreseen) -> Outcome:
    session.pieces.update(message.pieces)
    if (job := session.jobs.get(message.request)) is None:
        return session, []
    wanted = session.goal.tip
    if session.autoplay and wanted.distribution is not None:
        wanted = wanted.child(wanted.distribution.ids[0])
    waits = session.pending is not None and wanted.distribution is None
    for token, distribution in zip(message.tokens, message.distributions, strict=True):
        job.nodes[0].child(token).attach(distribution)
    session = replace(session, jobs=_from(session, message.request), foreseen=session.foreseen + 1)
    if not waits or wanted.distribution is None:
        return session, []
    return _go_on(session)  # the token was chosen while its answer was on the way


def _continued(session: Session, message: Continued) -> Outcome:
    session.pieces.update(message.pieces)
    if (job := session.jobs.get(message.request)) is None:
        return session, []
    node = job.nodes[0]
    for token, distribution in zip(message.tokens, message.distributions, strict=True):
        node = node.child(token)
        node.attach(distribution)
    jobs = {**_from(session, message.request), message.request: replace(job, nodes=(node,))}
    session = replace(session, jobs=jobs, context=message.context)
    if message.request != session.pending:
        return session, []
    session = replace(
        session, cost=Cost(session.cost.tokens + len(message.tokens), session.cost.seconds + message.seconds)
    )
    return play_step(session, node)


def _from(session: Session, request: int) -> dict[int, Job]:
    """The jobs that may still be answered: the engine answers in order."""
    return {number: job for number, job in session.jobs.items() if number >= request}


def _failed(session: Session, message: Failed) -> Outcome:
    if session.origin and (message.request is None or not session.prompts):
        return switching.back(session, f"{message.reason}: back to the model before")
    if not session.prompts:
        return session, [Quit(message.reason)]
    if message.request is not None and message.request == session.carrying:
        return switching.dropped(session)
    if message.request is None:
        return died(session, EngineDied(message.reason))
    session = replace(session, jobs=_from(session, message.request + 1))
    if session.opening is not None and message.request == session.opening[0]:
        return replace(session, opening=None, notice=message.reason), []
    if session.draft is not None and message.request == session.draft.request:
        return replace(session, draft=replace(session.draft, request=None, entered=False), notice=message.reason), []
    if message.request != session.pending:
        return session, []
    if session.goal.tip is not session.prompt.tip:
        # A phrase that does not fit must not be asked for again and again.
        scores = tuple(score for score in session.scores if score.logprob is not None)
        return replace(session, pending=None, scores=scores, notice=message.reason), []
    session = replace(session, pending=None, ahead=False, autoplay=False, full=message.context)
    return replace(session, notice=message.reason), []


def died(session: Session, message: EngineDied) -> Outcome:
    """The engine is gone: what was computed and all prompts stay."""
    if session.origin:
        return switching.back(session, f"the engine stopped ({message.reason}): back to the model before")
    safe = "; your prompts are safe" if session.prompts else ""
    notice = f"the engine stopped ({message.reason}){safe}: press r to restart it"
    mode = session.mode if session.mode is Mode.HELP else Mode.BROKEN
    session = program.lost(session)
    session = replace(session, engine=Engine.DEAD, mode=mode, explained=Mode.BROKEN)
    return replace(session, notice=notice, fault=message.reason), []
