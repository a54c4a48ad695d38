"""How the engine's replies and the outcomes of effects change the session."""

from typing import assert_never

from tokex_gguf.engine.protocol import (
    Applied,
    Capability,
    Checked,
    Compared,
    Constrained,
    Continued,
    EngineDied,
    EngineFailed,
    Evaluated,
    Exported,
    Failed,
    Forced,
    Found,
    Loaded,
    Loading,
    LookaheadDone,
    Noise,
    Pong,
    Recalled,
    Reply,
    Rolled,
    Spelt,
    StrictLookaheadDone,
    Tokenized,
    Waits,
)
from tokex_gguf.play.game import WHOLE_PROMPT, Cost, EngineStatus, Prompt
from tokex_gguf.play.messages import (
    Aligned,
    BackgroundReported,
    Beat,
    Begin,
    Close,
    CompareFurther,
    CopiedOut,
    Downloaded,
    Downloading,
    EditFailed,
    Effect,
    EngineReplied,
    JudgeFurther,
    ListedModels,
    ListedSessions,
    ListedStarters,
    ModelsNotListed,
    NoRows,
    NotDownloaded,
    NotPrepared,
    NotResumed,
    NotSuspended,
    Outcome,
    Prepared,
    PreparedSecond,
    ProgramEvent,
    Quit,
    Remark,
    Resized,
    Resumed,
    RowsReady,
    Saved,
    SaveFailed,
    SearchFurther,
    SessionSaved,
    SessionsNotListed,
    TextNotRead,
    TextRead,
    Unsaved,
)
from tokex_gguf.play.pairing import compared, exported, in_front, recalled
from tokex_gguf.play.purposes import (
    Computed,
    Decoded,
    ForAgainst,
    ForAutoplay,
    ForBan,
    ForCarried,
    ForCheck,
    ForCompanion,
    ForConstraint,
    ForContinuation,
    ForCritical,
    ForDifference,
    ForEdited,
    ForEvaluation,
    ForExport,
    ForFanOut,
    ForForced,
    ForInsertion,
    ForLookahead,
    ForNewPrompt,
    ForNoise,
    ForParting,
    ForPhrase,
    ForRecall,
    ForRetokenized,
    ForRoll,
    ForScore,
    ForSearch,
    ForStart,
    ForStrict,
    ForStrictLookahead,
    ForVerdicts,
    ForView,
    ForWalk,
    Purpose,
)
from tokex_gguf.play.requests import answered, ask, begin, compare_further, judge_further, read_prompt
from tokex_gguf.play.rules import (
    bias,
    constraint,
    critical,
    downloads,
    drawing,
    editing,
    fan_out,
    insertion,
    list_search,
    model_switch,
    second_model,
    sessions,
    text_entry,
    view_options,
)
from tokex_gguf.play.rules.command_line import with_under
from tokex_gguf.play.rules.histories import history, with_history
from tokex_gguf.play.rules.prompt import append, play_on, play_step
from tokex_gguf.play.screens import PLAY, Commands, Name, Play, TypingScreen
from tokex_gguf.play.session import Session
from tokex_gguf.system.words import shell_word
from tokex_gguf.values.formatting import counted
from tokex_gguf.values.lens import RAW, Raw, Sampled
from tokex_gguf.values.record import replace
from tokex_gguf.values.tokens import visible
from tokex_gguf.values.tree import Node


def handle_event(session: Session, message: ProgramEvent) -> Outcome:
    """Handles an engine's message or the outcome of an effect."""
    match message:
        case Begin():
            session, effects = begin(session)
            session, further = second_model.begun(session)
            return session, effects + further
        case Resized(rows):
            return replace(session, rows=rows), []
        case EngineReplied(engine, reply):
            # Ignore what an engine sent before it was replaced.
            if engine == session.game.address:
                return _handle_engine(session, reply)
            second = session.second
            return _handle_second_engine(session, reply) if second and engine == second.address else (session, [])
        case Beat():
            return view_options.beat(session)
        case JudgeFurther():
            return judge_further(session), []
        case CompareFurther():
            return compare_further(session)
        case SearchFurther():
            return critical.further(fan_out.further(session)), []  # `update` continues the search
        case Aligned():
            return _aligned(session, message), []
        case Saved():
            warning = "" if message.is_utf_8 else ": not UTF-8, as the prompt has a part of a character"
            return replace(session, notice=f"saved {message.path}{warning}"), []
        case CopiedOut():
            notice = f"flags copied, where the terminal lets programs do that; flags and JSON are in {message.path}"
            return replace(session, notice=notice), []
        case SessionSaved():
            notice = f"kept as {message.name}: tokex-gguf --session {shell_word(message.name)} comes back to it"
            session = with_history(session, Name, history(session, Name).use(""))
            return replace(session, name=message.name, notice=notice), []
        case SaveFailed():
            return replace(session, notice=f"not saved: {message.reason}"), []
        case EditFailed():
            return text_entry.not_edited(session, message), []
        case Unsaved():
            return replace(session, unsaved=message.reason), []
        case Remark():
            return replace(session, notice=message.line), []
        case NotSuspended():
            return replace(session, notice=message.reason), []
        case ListedStarters():
            return list_search.renewed(replace(session, starters=message.starters)), []
        case TextRead():
            return constraint.file_read(session, message.name, message.text)
        case TextNotRead():
            return constraint.file_not_read(session, message.name, message.reason)
        case ListedModels():
            return model_switch.listed(session, message.entries), []
        case ModelsNotListed():
            return model_switch.not_listed(session, message.reason), []
        case ListedSessions():
            return sessions.listed(session, message.entries), []
        case SessionsNotListed():
            return sessions.not_listed(session, message.reason), []
        case Resumed():
            return sessions.resumed(session, message)
        case NotResumed():
            return sessions.not_resumed(session, message), []
        case Prepared():
            return model_switch.prepared(session, message)
        case PreparedSecond():
            return second_model.prepared(session, message)
        case NotPrepared():
            return model_switch.not_prepared(session, message), []
        case RowsReady():
            return second_model.with_rows(session, message.path), []
        case NoRows():
            return second_model.without_rows(session, message.reason), []
        case BackgroundReported():
            return view_options.lit(session, light=message.light), []
        case Downloading():
            return downloads.progressed(session, message.percent), []
        case Downloaded():
            return downloads.arrived(session, message.path)
        case NotDownloaded():
            return downloads.failed(session, message.reason), []


def _handle_engine(session: Session, message: Reply | EngineDied) -> Outcome:
    if session.game.health.unanswered:
        session = replace(session, game=replace(session.game, health=replace(session.game.health, unanswered=0)))
    match message:
        case Pong():
            return session, []
        case Waits():
            return replace(
                session,
                game=replace(
                    session.game, health=replace(session.game.health, waits=message if message.workers else None)
                ),
            ), []
        case Loading():
            return replace(
                session, game=replace(session.game, health=replace(session.game.health, progress=message.fraction))
            ), []
        case Loaded():
            return _loaded(session, message)
        case Tokenized():
            return _tokenized(session, message)
        case Evaluated():
            return _evaluated(session, message)
        case LookaheadDone():
            return _looked_ahead(session, message)
        case Continued():
            return _continued(session, message)
        case Applied() | Rolled() | Constrained() | Forced() | Spelt():
            return _lens_replied(session, message)
        case Found():
            return _found(session, message)
        case Checked():
            return _checked(session, message)
        case Compared():
            return _compared(session, message)
        case Noise():
            return _noise(session, message)
        case Recalled():
            return _recalled(session, message), []
        case Exported():
            return _exported(session, message)
        case StrictLookaheadDone():
            return _looked_ahead_strictly(session, message), []
        case Failed():
            return _failed(session, message)
        case EngineFailed(reason):
            return _not_loaded(session, reason)
        case EngineDied():
            return died(session, message)


def _aligned(session: Session, message: Aligned) -> Session:
    session.game.known.compared.paths(message.a, message.b).align(message.alignment)
    return (
        replace(session, under_way=replace(session.under_way, aligning=None))
        if session.under_way.aligning == (message.a, message.b)
        else session
    )


def _handle_second_engine(session: Session, message: Reply | EngineDied) -> Outcome:
    """Handles a message of the second model's engine."""
    match message:
        case EngineDied(reason) | EngineFailed(reason):
            return second_model.died(session, reason)
        case Loaded():
            return second_model.loaded(session, message)
        case _:
            return in_front(session, lambda inside: _handle_engine(inside, message))


class WrongReply(Exception):
    """A reply of a kind that its request cannot have."""


def _checked(session: Session, message: Checked) -> Outcome:
    match session.game.open_requests.get(message.request):
        case None:
            return session, []
        case ForCheck(node):
            # `checked` is set last: the tree may be saved in between.
            node.differs = message.place
            node.checked = True
            return editing.compared(answered(session, message.request), node), []
        case _:
            raise WrongReply


def _exported(session: Session, message: Exported) -> Outcome:
    match session.game.open_requests.get(message.request):
        case None:
            return session, []
        case ForExport() as purpose:
            return _valid_reply(exported(session, purpose, message)), []
        case _:
            raise WrongReply


def _recalled(session: Session, message: Recalled) -> Session:
    match session.game.open_requests.get(message.request):
        case None:
            return session
        case ForRecall() as purpose:
            return recalled(session, purpose, message.request)
        case _:
            raise WrongReply


def _looked_ahead_strictly(session: Session, message: StrictLookaheadDone) -> Session:
    match session.game.open_requests.get(message.request):
        case None | ForStrictLookahead():
            return answered(session, message.request)
        case _:
            raise WrongReply


def _valid_reply(session: Session | None) -> Session:
    if session is None:
        raise WrongReply
    return session


def _found(session: Session, message: Found) -> Outcome:
    session.game.known.pieces.update(message.pieces)
    match session.game.open_requests.get(message.request):
        case None:
            return session, []
        case ForSearch():
            return text_entry.found(_with_cost(answered(session, message.request), message), message)
        case _:
            raise WrongReply


def _lens_replied(session: Session, message: Applied | Rolled | Constrained | Forced | Spelt) -> Outcome:
    """Handles what samplers and constraints make of a distribution."""
    if not isinstance(message, Constrained):
        session.game.known.pieces.update(message.pieces)
    purpose = session.game.open_requests.get(message.request)
    if purpose is None:
        return session, []
    session = answered(session, message.request)
    shown = isinstance(purpose, ForView | ForRoll) and purpose.node is session.game.prompt.place.tip
    match purpose, message:
        case ForView(node=node, lens=lens), Applied():
            session.game.known.lens_results.attach(lens, node, message.view)
            return _append_waiting(_with_cost(session, message) if shown and lens == session.lens else session)
        case ForRoll(), Rolled():
            session, effects = drawing.rolled(session, purpose, message.draws, message.verdicts)
            # The cost is added last: appending the token resets it.
            return _with_cost(session, message) if shown else session, effects
        case ForConstraint(), Constrained():
            return constraint.constrained(session, purpose, message)
        case ForPhrase(node=node, lens=lens), Constrained():
            session.game.known.lens_results.attach_broken(lens, node, message.broken)
            return session, []
        case ForForced(), Forced():
            return constraint.forced(session, purpose, message.tokens, more=message.more)
        case ForBan(text=text), Spelt():
            return bias.banned(session, text, message.tokens)
        case _:
            raise WrongReply


def _loaded(session: Session, message: Loaded) -> Outcome:
    if session.game.model and not message.same(session.game.model):
        # Token ids have no meaning in another vocabulary.
        address = session.game.address
        changed = "the server has another model now" if session.game.server else "the file holds another model now"
        session, effects = died(session, EngineDied(f"{changed}; put the first one back"))
        return session, [*([Close(address)] if address else []), *effects]
    if session.game.model is None:
        session = model_switch.adopted(session, message)
    if session.game.model and session.game.model.arithmetic not in ("", message.arithmetic):
        warning = "the numbers from before were computed by another build or machine: new ones can differ a little"
        session = replace(session, notice=f"{session.notice}; {warning}" if session.notice else warning)
    session = replace(
        session,
        game=replace(
            session.game,
            model=message,
            engine=EngineStatus.READY,
            context=message.context,
            health=replace(session.game.health, progress=1.0),
        ),
    )
    session = _with_biases_of(session, message)
    if not session.game.prompts:
        return read_prompt(session)
    session, effects = ask(model_switch.settled(session))
    session, more = model_switch.carry(session)
    session, edited_effects = text_entry.send_edited(session)
    return session, effects + more + edited_effects


def _with_biases_of(session: Session, model: Loaded) -> Session:
    """Drops biases of tokens that the vocabulary lacks, with a notice: it was not known when they were set."""
    chain, missing = bias.of_vocabulary(session.game.sampling.chain, model.vocab_size)
    if not missing:
        return session
    sampling = replace(session.game.sampling, chain=chain)
    return _noted(replace(session, game=replace(session.game, sampling=sampling)), missing)


def _noted(session: Session, line: str) -> Session:
    """Adds a lasting notice, after the one that is shown."""
    game = replace(session.game, notices=(*session.game.notices, line)[-9:])
    return replace(session, game=game, notice="; ".join(filter(None, [session.notice, line])))


def _tokenized(session: Session, message: Tokenized) -> Outcome:
    purpose = session.game.open_requests.get(message.request)
    session, effects = _with_tokens(session, message)
    if purpose is None or not message.notice:
        return session, effects
    temporary = isinstance(purpose, ForScore) or (isinstance(purpose, ForContinuation) and not purpose.entered)
    notices = (
        session.game.notices
        if temporary or message.notice in session.game.notices
        else (*session.game.notices, message.notice)
    )
    return replace(session, game=replace(session.game, notices=notices[-9:]), notice=message.notice), effects


def _with_tokens(session: Session, message: Tokenized) -> Outcome:
    session.game.known.pieces.update(message.pieces)
    purpose, path = session.game.open_requests.get(message.request), message.path
    if not path and purpose is not None:
        return _failed(session, Failed(message.request, "this text has no tokens in the model's vocabulary"))
    session = answered(session, message.request)
    match purpose:
        case None:
            return session, []
        case ForStart():
            tip = session.game.known.root.descend(path)
            nodes = list(tip.nodes()) if message.said else []
            said = message.said if message.said is None else frozenset(nodes[place] for place in message.said)
            session = _begun(session, tip)
            turns = replace(session.game.turns, said=said)
            session = model_switch.settled(replace(session, game=replace(session.game, turns=turns)))
            session, effects = ask(session)
            session, more = model_switch.carry(session)
            session, edited_effects = text_entry.send_edited(session)
            return session, effects + more + edited_effects
        case ForContinuation(entered):
            return text_entry.continuation_tokenized(session, path, entered=entered)
        case ForScore(base):
            return text_entry.scored(session, base, path)
        case ForNewPrompt(text):
            return text_entry.opened(session, path, text)
        case ForEdited(replacing):
            return text_entry.edited_opened(session, path, replacing)
        case ForInsertion():
            return insertion.inserted(session, path)
        case ForRetokenized(tip):
            return editing.retokenized(session, tip, path)
        case ForCarried():
            return model_switch.arrived(session, path)
        case ForCompanion(target):
            return second_model.accompanied(session, target, path), []
        case ForExport() | ForAgainst() | ForRecall() | ForParting():
            raise WrongReply
        case ForSearch() | ForEvaluation() | ForAutoplay() | ForLookahead() | ForWalk() | ForCheck():
            raise WrongReply
        case ForStrict() | ForDifference() | ForNoise() | ForStrictLookahead() | ForFanOut() | ForCritical():
            raise WrongReply
        case ForVerdicts() | ForView() | ForRoll() | ForBan() | ForConstraint() | ForForced() | ForPhrase():
            raise WrongReply
        case _:
            assert_never(purpose)


def _begun(session: Session, tip: Node) -> Session:
    """Opens the starting prompt; a notice says if its constraint was to begin after its end."""
    settings = session.game.settings
    prompt = Prompt(tip, begins=min(tip.depth, settings.begins), name=settings.name)
    session = replace(session, game=replace(session.game, prompts=(prompt,)))
    if session.game.sampling.constraint is None or settings.begins in (WHOLE_PROMPT, prompt.begins):
        return session
    has = f"the prompt has {counted(tip.depth, 'token')}, and not {settings.begins:,}"
    return _noted(session, f"{has}: the constraint begins at its end")


def _evaluated(session: Session, message: Evaluated) -> Outcome:
    session.game.known.pieces.update(message.pieces)
    match session.game.open_requests.get(message.request):
        case None:
            return session, []
        case ForEvaluation() as purpose:
            pass
        case ForVerdicts() as verdicts_purpose:
            return _keep_verdicts(session, verdicts_purpose, message), []
        case ForWalk() as walk:
            return _keep_walked(session, walk, message)
        case ForStrict() as strict:
            return _keep_strict(session, strict, message), []
        case _:
            raise WrongReply
    offset = message.start - purpose.start
    nodes = purpose.nodes[offset : offset + len(message.distributions)]
    for node, distribution in zip(nodes, message.distributions, strict=True):
        (node.attach_strict if message.strict else node.attach)(distribution)
    for node, taken in zip(purpose.nodes[offset + 1 :], message.taken, strict=False):
        (node.attach_strict_taken if message.strict else node.attach_taken)(taken)
    if isinstance(purpose.lens, Sampled):
        for node, verdict in zip(purpose.nodes[offset + 1 :], message.verdicts, strict=False):
            session.game.known.lens_results.attach_verdict(purpose.lens, node, verdict)
    at_end = nodes[-1] is purpose.target
    if at_end and purpose.asked is not None:
        nodes[-1].child(purpose.asked).attach_taken(message.taken[-1])
    # The table's answer may come before the others, and once more after them.
    at_once = session.game.can(Capability.PROMPT_AT_ONCE)
    early = at_end and at_once and len(nodes) == 1 and message.start > max(purpose.start, purpose.reached)
    pending = session.game.pending
    remaining = purpose if early else None if at_end else replace(purpose, reached=message.start + len(nodes))
    session = _with_context(_answered_up_to(session, message.request, remaining), message)
    if message.request != pending:
        return session, []
    return _ask_or_resume(_with_cost(session, message))


def _with_cost(session: Session, message: Evaluated | Applied | Rolled | Found) -> Session:
    """Adds an answer's cost to that of the last key."""
    cost = Cost(session.game.cost.tokens + message.decoded, session.game.cost.seconds + message.seconds)
    return replace(session, game=replace(session.game, cost=cost))


def _keep_walked(session: Session, walk: ForWalk, message: Evaluated) -> Outcome:
    """Keeps the numbers of a path's positions, whatever was requested meanwhile."""
    end = message.start + len(message.distributions)
    if not 0 <= message.start < end <= walk.target.depth:
        raise WrongReply
    table_awaited = _awaits_table(session)
    nodes = walk.target.ancestor(end).nodes(message.start)
    lacking_before = len(walk.target.lacking(message.start, end))
    for node, distribution in zip(nodes, message.distributions, strict=True):
        node.attach(distribution)
    for node, taken in zip(walk.target.ancestor(end + 1).nodes(message.start + 1), message.taken, strict=False):
        node.attach_taken(taken)
    lacking_after = len(walk.target.lacking(message.start, end))
    missing = tuple(node for node in walk.nodes if not message.start < node.depth <= end)
    remaining = replace(walk, nodes=missing) if missing else None
    session = _with_context(_answered_up_to(session, message.request, remaining), message)
    if lacking_after and lacking_after == lacking_before:  # else it would be requested forever
        session = replace(session, notice="the engine does not tell all of this prompt")
        session = _refused(session, ForWalk, walk.target, RAW)
    return _ask_or_resume(session) if table_awaited and not _awaits_table(session) else (session, [])


def _keep_strict(session: Session, purpose: ForStrict, message: Evaluated) -> Session:
    """Keeps strict answers, whatever is compared by now."""
    end = message.start + len(message.distributions)
    depth = purpose.target.depth
    if not message.strict or not 0 <= message.start <= purpose.start < end <= depth:
        raise WrongReply
    if len(message.taken) < min(end, depth - 1) - message.start:  # else it would be requested forever
        raise WrongReply
    nodes = purpose.target.ancestor(end + 1).nodes(message.start)
    for node, distribution in zip(nodes, message.distributions, strict=False):
        node.attach_strict(distribution)
    for node, taken in zip(nodes[1:], message.taken, strict=False):
        node.attach_strict_taken(taken)
    remaining = replace(purpose, start=end) if end < depth else None
    return _with_context(_answered_up_to(session, message.request, remaining), message)


def _compared(session: Session, message: Compared) -> Outcome:
    """Keeps how the distributions after two paths differ."""
    session.game.known.pieces.update(message.pieces)
    match session.game.open_requests.get(message.request):
        case None:
            return session, []
        case ForDifference(a, b):
            pass
        case ForAgainst() | ForRecall() as purpose:
            return _valid_reply(compared(session, purpose, message)), []
        case _:
            raise WrongReply
    if len(message.differences) != 1:
        raise WrongReply
    session.game.known.compared.differences.attach(a, b, message.differences[0])
    return _answered_up_to(session, message.request), []


def _noise(session: Session, message: Noise) -> Outcome:
    match session.game.open_requests.get(message.request):
        case None:
            return session, []
        case ForNoise():
            session = answered(session, message.request)
            return replace(session, game=replace(session.game, noise=message.bits)), []
        case _:
            raise WrongReply


def _keep_verdicts(session: Session, purpose: ForVerdicts, message: Evaluated) -> Session:
    offset = message.start - purpose.start
    for node, verdict in zip(purpose.nodes[offset + 1 :], message.verdicts, strict=False):
        session.game.known.lens_results.attach_verdict(purpose.lens, node, verdict)
    if not message.verdicts and len(purpose.nodes) > offset + 1:
        session = _refused(
            session, ForVerdicts, purpose.nodes[-1], purpose.lens
        )  # the lens has no verdicts on this text
    all_there = message.start + len(message.distributions) >= purpose.start + len(purpose.nodes)
    return _with_context(_answered_up_to(session, message.request, None if all_there else purpose), message)


def _ask_or_resume(session: Session) -> Outcome:
    """Requests what is still missing; resumes what waited for the table once that is there."""
    session, effects = ask(session)
    if session.game.ready and session.game.pressed.autoplay:
        session, more = play_on(session)
        return session, [*effects, *more]
    session, more = _append_waiting(session)
    return session, [*effects, *more]


def _append_waiting(session: Session) -> Outcome:
    """Runs the presses of → that came before the table was there."""
    effects: list[Effect] = []
    while session.game.ready and session.game.pressed.appends and not session.order_awaited:
        if not isinstance(session.screen, Play) or session.game.prompt.cursor is not None:
            # The player searches, types or looks back by now, and no longer means these presses.
            return replace(
                session, game=replace(session.game, pressed=replace(session.game.pressed, appends=0))
            ), effects
        remaining = session.game.pressed.appends - 1
        session, more = append(session)
        session = replace(session, game=replace(session.game, pressed=replace(session.game.pressed, appends=remaining)))
        effects = [*effects, *more]
    return session, effects


def _looked_ahead(session: Session, message: LookaheadDone) -> Outcome:
    session.game.known.pieces.update(message.pieces)
    match session.game.open_requests.get(message.request):
        case None:
            return session, []
        case ForLookahead(node) as ahead:
            pass
        case ForFanOut() as fan_purpose:
            return _keep_fanned_out(session, fan_purpose, message), []
        case ForCritical(node):
            return _keep_critical(session, node, message), []
        case _:
            raise WrongReply
    table_awaited = _awaits_table(session)
    for branch, distribution in zip(message.branches, message.distributions, strict=True):
        if ahead.best_first:
            session.game.known.lookahead.attach(node, branch, distribution)
        else:
            node.descend(branch).attach(distribution)
    counts = replace(session.counts, lookaheads=session.counts.lookaheads + 1)
    session = replace(_answered_up_to(session, message.request, ahead), counts=counts)
    # A table that was awaited: its token was chosen while the answer was on its way.
    return _ask_or_resume(session) if table_awaited and not _awaits_table(session) else (session, [])


def _keep_fanned_out(session: Session, purpose: ForFanOut, message: LookaheadDone) -> Session:
    """Keeps distributions that a search for answers requested, whatever was requested meanwhile."""
    nodes = [purpose.out.base.descend(branch) for branch in message.branches]
    # Unrequested nodes must be known from an earlier lookahead: without progress the search would never end.
    if not nodes or any(node.distribution is None and node not in purpose.nodes for node in nodes):
        raise WrongReply
    for node, distribution in zip(nodes, message.distributions, strict=True):
        node.attach(distribution)
    purpose.out.spend(message.seconds)
    unknown = tuple(node for node in purpose.nodes if node.distribution is None)
    return _answered_up_to(session, message.request, replace(purpose, nodes=unknown) if unknown else None)


def _keep_critical(session: Session, node: Node, message: LookaheadDone) -> Session:
    """Keeps the distribution after a path from a critical token, whatever was requested meanwhile."""
    for branch, distribution in zip(message.branches, message.distributions, strict=True):
        if node.parent is None or branch != [node.token]:
            raise WrongReply
        node.attach(distribution)
    if node.distribution is None:  # else it would be awaited forever
        raise WrongReply
    return _answered_up_to(session, message.request)


def _awaits_table(session: Session) -> bool:
    """Whether an awaited table is neither computed nor known by lookahead."""
    target = session.goal.tip
    if session.game.pressed.autoplay and target.distribution is not None:
        target = target.child(target.distribution.most_likely)
    if session.game.pending is None:
        return False
    session.game.known.lookahead.recall(target)
    return target.distribution is None


def _continued(session: Session, message: Continued) -> Outcome:
    session.game.known.pieces.update(message.pieces)
    match session.game.open_requests.get(message.request):
        case None:
            return session, []
        case ForAutoplay(node) as purpose:
            pass
        case ForParting():
            return second_model.continued(session, message)
        case _:
            raise WrongReply
    nodes: list[Node] = []
    for token, distribution in zip(message.tokens, message.distributions, strict=True):
        node = node.child(token)
        node.attach(distribution)
        nodes.append(node)
    if isinstance(purpose.lens, Sampled):
        judged = nodes[len(nodes) - len(message.verdicts) :]
        for judged_node, verdict in zip(judged, message.verdicts, strict=True):
            session.game.known.lens_results.attach_verdict(purpose.lens, judged_node, verdict)
        for judged_node, taken in zip(judged, message.taken, strict=False):  # for tokens outside the candidates
            judged_node.attach_taken(taken)
    pending = session.game.pending
    session = _with_context(_answered_up_to(session, message.request, replace(purpose, target=node)), message)
    if message.request != pending:
        return session, []
    session = replace(
        session,
        game=replace(
            session.game,
            cost=Cost(session.game.cost.tokens + len(message.tokens), session.game.cost.seconds + message.seconds),
        ),
    )
    return play_step(session, node, message.end)


def _answered_up_to(session: Session, request: int, remaining: Purpose | None = None) -> Session:
    """The session after an answer to a request, which ends those before it: decoded requests are answered in order.

    `remaining`: what is still awaited of this one; None: nothing.
    """
    open_requests = {
        number: purpose
        for number, purpose in session.game.open_requests.items()
        if number >= request or not isinstance(purpose, Decoded)
    }
    if remaining is None:
        del open_requests[request]
    else:
        open_requests[request] = remaining
    return replace(session, game=replace(session.game, open_requests=open_requests))


def _with_context(session: Session, message: Evaluated | Continued) -> Session:
    return replace(session, game=replace(session.game, context=message.context))


def _failed(session: Session, message: Failed) -> Outcome:
    purpose = session.game.open_requests.get(message.request)
    noticed = replace(answered(session, message.request), notice=message.reason)
    match purpose:
        case None:
            return session, []
        case ForLookahead() as ahead:  # not awaited: no notice, and no retry
            open_requests = {**session.game.open_requests, message.request: replace(ahead, going=False)}
            session = _refused(session, ForLookahead, ahead.target, RAW)
            return replace(session, game=replace(session.game, open_requests=open_requests)), []
        case ForFanOut(out):
            return fan_out.refused(noticed, out, message.reason), []
        case ForCritical(node):
            return critical.refused(noticed, node, message.reason), []
        case ForCheck():
            return session, []  # not awaited: no notice
        case ForWalk() as walk:
            return _not_walked(noticed, walk)
        case ForVerdicts(nodes=nodes, lens=lens):
            return _refused(noticed, ForVerdicts, nodes[-1], lens), []
        case ForStrict(target):
            return _refused(noticed, ForStrict, target, RAW), []
        case ForDifference(a, b):
            return _refused(_refused(noticed, ForDifference, a, RAW), ForDifference, b, RAW), []
        case ForNoise():
            return _refused(noticed, ForNoise, session.game.known.root, RAW), []
        case ForPhrase(node=node, lens=lens):
            return _refused(answered(session, message.request), ForPhrase, node, lens), []
        case ForView(node=node, lens=lens):
            # Waiting presses of → would append the top row, and its order stays unknown.
            return _refused(
                replace(noticed, game=replace(noticed.game, pressed=replace(noticed.game.pressed, appends=0))),
                ForView,
                node,
                lens,
            ), []
        case ForRoll():
            return replace(noticed, game=replace(noticed.game, pressed=replace(noticed.game.pressed, rolling=0))), []
        case ForConstraint() | ForForced():
            return noticed, []
        case ForStart():
            return _not_loaded(session, message.reason)
        case ForContinuation():
            return text_entry.not_tokenized(noticed)
        case ForScore():
            return replace(noticed, notice=f"{message.reason}; ↑ brings the phrase back"), []
        case ForNewPrompt(text):
            return text_entry.not_opened(noticed, message.reason, text), []
        case ForEdited():
            return replace(noticed, notice=f"{message.reason}; {text_entry.OPENS_AGAIN}"), []
        case ForCarried():
            return model_switch.dropped(noticed, message.reason)
        case ForAgainst(going=False):
            return answered(session, message.request), []  # the rows may have been replaced while it still read them
        case ForExport(part) | ForAgainst(part):
            return _refused(noticed, type(purpose), part.tip, RAW), []
        case ForCompanion(target):
            return _refused(noticed, ForCompanion, target, RAW), []
        case ForStrictLookahead():
            return answered(session, message.request), []  # not awaited: no notice
        case ForRecall() as asked_disk:
            return recalled(session, asked_disk, message.request), []
        case ForParting():
            return second_model.not_parted(noticed), []
        case ForSearch():
            return text_entry.not_found(noticed, message.reason), []
        case ForBan() | ForInsertion() | ForRetokenized():
            return noticed, []
        case ForEvaluation() | ForAutoplay():
            return _not_evaluated(session, purpose, message)
        case _:
            assert_never(purpose)


def _not_walked(session: Session, walk: ForWalk) -> Outcome:
    """The engine refused a walk: it is not requested again, and a phrase that needs it is left out."""
    session = _refused(session, ForWalk, walk.target, RAW)
    scores = tuple(
        score for score in session.game.results.scores if score.tip is not walk.target or score.logprob is not None
    )
    if len(scores) == len(session.game.results.scores):
        return session, []
    notice = f"{session.notice}; this phrase is left out, ↑ brings it back"
    return replace(
        session, game=replace(session.game, results=replace(session.game.results, scores=scores)), notice=notice
    ), []


def _refused(session: Session, kind: type[Purpose], node: Node, lens: Raw | Sampled) -> Session:
    """Notes a refusal, so that the engine is not asked the same again."""
    return replace(session, game=replace(session.game, refused=session.game.refused | {(kind, node, lens)}))


def _not_loaded(session: Session, reason: str) -> Outcome:
    """The model or its first text failed: returns to the previous model, if there is one."""
    if model_switch.way_back(session):
        return model_switch.back(session, f"{reason}: back to the model before")
    return died(session, EngineDied(reason)) if session.game.prompts else (session, [Quit(reason)])


def _not_evaluated(session: Session, purpose: Computed, message: Failed) -> Outcome:
    session = _answered_up_to(session, message.request or 0)
    if not purpose.awaited:
        return session, []
    if session.goal.tip is not session.game.prompt.tip:
        # Leave out the phrase that does not fit, else it is requested forever; the others are still wanted.
        refused = purpose.target
        scores = tuple(
            score for score in session.game.results.scores if score.tip is not refused or score.logprob is not None
        )
        if len(scores) == len(session.game.results.scores):
            return replace(session, notice=message.reason), []
        session, effects = ask(
            replace(session, game=replace(session.game, results=replace(session.game.results, scores=scores)))
        )
        return replace(session, notice=f"{message.reason}; this phrase is left out, ↑ brings it back"), effects
    game = replace(
        session.game, pressed=replace(session.game.pressed, appends=0, rolling=0, autoplay=False), full=message.context
    )
    return replace(session, game=game, notice=message.reason), []


def died(session: Session, message: EngineDied) -> Outcome:
    """The engine is gone: all prompts and computed numbers stay."""
    lost = session.game.engine_lost(message.reason)
    if model_switch.way_back(session):
        return model_switch.back(session, f"{lost}: back to the model before")
    starting = any(isinstance(purpose, ForStart) for purpose in session.game.open_requests.values())
    cause = f" over the starting text, {_quoted(session.game.settings.text)}" if starting else ""
    if starting and session.game.health.fault_at_start and not session.game.prompts:
        return session, [Quit(f"{lost} twice{cause}: start with another one")]
    typing = session.on(TypingScreen)
    remedy = f"press r to {'reconnect' if session.game.server else 'restart it'}"
    reassurance = "; your prompts are safe" if session.game.prompts else ""
    if typing:  # further keys are still meant as text
        reassurance, remedy = "; your prompts and this text are safe", f"Esc, then {session.game.reconnect_hint}"
    notice = f"{lost}{cause}{reassurance}: {remedy}"
    session = view_options.without_engine(session)
    if not typing or isinstance(typing, Commands):
        session = with_under(session, PLAY)
    return replace(
        session,
        game=replace(
            session.game,
            engine=EngineStatus.DEAD,
            health=replace(session.game.health, fault=message.reason, fault_at_start=starting),
        ),
        notice=notice,
    ), []


def _quoted(text: str) -> str:
    """The beginning of a text on one line: enough to tell several starting texts apart.

    >>> _quoted("a" * 30_000)
    '“aaaaaaaaaaaaaaaaaaaa…” (30,000 characters)'
    """
    begin = visible(text[:20])
    return f"“{begin}…” ({len(text):,} characters)" if len(text) > 20 else f"“{begin}”"
