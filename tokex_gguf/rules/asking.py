"""What is asked of the engine: what the screen lacks, and what may be wanted next."""

from dataclasses import replace

from tokex_gguf.engine.protocol import Chat, Check, Evaluate, Foresee, Load, Stop, Tokenize
from tokex_gguf.rules.effects import Effect, Outcome, Send, Start
from tokex_gguf.session import Cost, Engine, Job, Prompt, Session, selected_row, table


def begin(session: Session) -> list[Effect]:
    """The effects that start a game, and that restart its engine."""
    settings = session.settings
    load = Load(
        settings.model,
        settings.context,
        settings.threads,
        settings.log,
        settings.most,
        settings.kv,
        settings.gpu_layers,
        settings.repack,
    )
    return [Start(), Send(load)]


def missing(prompt: Prompt) -> int | None:
    """The first position whose distribution must be asked for; None when all is known."""
    start = prompt.tip.first_unknown()
    if prompt.popped is not None and prompt.tip.child(prompt.popped).taken is None:
        start = min(start, prompt.tip.depth - 1)
    return start if start < prompt.tip.depth else None


def ask(session: Session) -> Outcome:
    """Asks for what the goal lacks, once; stops what it does not need."""
    prompt, tip = session.goal, session.goal.tip
    start = missing(prompt)
    if start is None:
        effects: list[Effect] = [Send(Stop())] if session.pending is not None else []
        return replace(session, pending=None, full=None), effects
    if session.engine is not Engine.READY:
        return session, []
    if session.pending is not None and covers(session.jobs[session.pending], prompt):
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


def covers(job: Job, prompt: Prompt) -> bool:
    """Whether a job's answers will hold all that a prompt lacks."""
    index = prompt.tip.depth - 1 - job.start
    if not 0 <= index < len(job.nodes) or job.nodes[index] is not prompt.tip:
        return False
    following = job.nodes[index + 1].token if index + 1 < len(job.nodes) else job.asked
    return prompt.popped in (None, following)


def foresee(session: Session) -> Outcome:
    """While nothing is asked for, asks for what may be asked next: the selected and the likeliest tokens."""
    budget = session.settings.lookahead
    if not budget or not session.ready or session.autoplay or session.engine is not Engine.READY:
        return session, []
    if session.mode.typing or session.prompt.cursor is not None:
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


def check(session: Session) -> Outcome:
    """While nothing is asked for, compares the prompt with what the tokenizer makes of its text."""
    tip = session.prompt.tip if session.prompts else None
    if tip is None or tip.checked or not session.ready or session.autoplay or session.engine is not Engine.READY:
        return session, []
    if session.check is not None and session.check[1] is tip:
        return session, []
    request = session.requests + 1
    session = replace(session, requests=request, check=(request, tip))
    return session, [Send(Check(request, tip.path(), session.settings.parse_special))]


def read_prompt(session: Session) -> Outcome:
    """Asks for the tokens of the starting prompt."""
    if not session.settings.chat:
        session, _, effects = tokenize(session, session.settings.text)
        return session, effects
    request = session.requests + 1
    messages = [{"role": role, "content": content} for role, content in session.settings.chat]
    return replace(session, requests=request), [Send(Chat(request, messages))]


def tokenize(session: Session, text: str, *, continues: bool = False) -> tuple[Session, int, list[Effect]]:
    """Asks for the tokens of a text. Returns the request's number as well."""
    request = session.requests + 1
    effect = Send(Tokenize(request, text, session.settings.parse_special, continues))
    return replace(session, requests=request), request, [effect]
