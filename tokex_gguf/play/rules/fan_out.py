"""Fanning out: which answers may follow, found the likeliest first while their list is shown."""

from collections.abc import Callable
from dataclasses import replace

from tokex_gguf.engine.protocol import Capability, Lookahead
from tokex_gguf.play.fan import KEPT_FAN_OUTS, TOKEN_BUDGETS, Fan, FanLine, FanState, read_on, rows, selected
from tokex_gguf.play.messages import Effect, FanFurther, Outcome
from tokex_gguf.play.purposes import ForFanOut
from tokex_gguf.play.requests import kept, request
from tokex_gguf.play.rules.prompt import insert, no_room, show, with_prompt
from tokex_gguf.play.screens import PLAY, AnswerList, AnswerPattern, AnswerStop
from tokex_gguf.play.session import EngineStatus, Prompt, Session
from tokex_gguf.values.fan_out import FanOut, end_of
from tokex_gguf.values.grouping import pattern_of
from tokex_gguf.values.stops import PLAIN_STOPS, StopRule, stop_of, told, written
from tokex_gguf.values.text_field import EMPTY
from tokex_gguf.values.tokens import label, meant
from tokex_gguf.values.tree import Node

BATCH = 8
"""Paths that are asked for together: of more, the last ones would be no likely ones, and a key would wait longer."""
PATHS_AHEAD = 16
"""Paths that are asked for at once: while one batch is answered, the engine has the next."""
FIRST_PATHS = 16
"""Paths to look at before a second batch is asked for: until then the likeliest ones are not known yet."""
PATHS_AT_ONCE = 12
"""Paths that are looked at with one message, of a hundred candidates each: 2 ms."""
NO_TABLE = "the engine gave no table here"
COVERAGES = (0.5, 0.9, 0.99, 0.999, 1.0)


def cannot_fan_out(session: Session) -> str:
    """Why it cannot be looked for answers now; empty where it can."""
    game = session.game
    if not game.can(Capability.BATCHES):
        return "this server computes one path at a time: looking at many would take too long"
    if game.engine is EngineStatus.DEAD and fan_of(session, game.prompt.place.tip) is None:
        return game.gone
    return ""


def fan_of(session: Session, base: Node) -> Fan | None:
    """The fan-out from a path that was looked at last."""
    return next((fan for fan in reversed(session.game.results.fans) if fan.out.base is base), None)


def shown(session: Session) -> Fan | None:
    """The fan-out whose answers are listed."""
    typing = session.on(AnswerStop) or session.on(AnswerPattern)
    screen = session.on(AnswerList)
    base = typing.base if typing else screen.base if screen else None
    return None if base is None else fan_of(session, base)


def _shown(session: Session) -> Fan:
    fan = shown(session)
    assert fan is not None
    return fan


def _with(session: Session, fan: Fan) -> Session:
    """The session with a fan-out in the place of the one that has its answers, or as one more; it is the latest."""
    others = tuple(one for one in session.game.results.fans if one.out is not fan.out)
    return replace(
        session, game=replace(session.game, results=replace(session.game.results, fans=(*others, fan)[-KEPT_FAN_OUTS:]))
    )


def _fresh(session: Session, base: Node, stop: StopRule) -> FanOut:
    limit = session.game.model.context_limit if session.game.model else base.depth
    return FanOut(base, stop, session.game.piece, room=max(0, limit - base.depth))


def open_list(session: Session) -> Outcome:
    """Lists the answers that may follow the place that is looked at; those that were found there before stay."""
    base = session.game.prompt.place.tip
    fan = fan_of(session, base)
    if fan is None:
        settings = session.game.settings
        fan = Fan(_fresh(session, base, settings.stop), settings.budget)
    return replace(_with(session, replace(fan, fault="", due=False)), screen=AnswerList(base=base)), []


def close(session: Session) -> Outcome:
    """Back to the table. What was found is kept, and no more is looked for."""
    return replace(session, screen=PLAY), []


# --- asking


def go_on(session: Session) -> Outcome:
    """While its list is shown, looks at what is known, asks for the likeliest paths that are not, and reads answers."""
    if not session.game.results.fans or (fan := shown(session)) is None:
        return session, []
    session, effects, is_more = _look_on(session, fan)
    if (not read_on(fan) or is_more) and not fan.due:
        return _with(session, replace(fan, due=True)), [*effects, FanFurther()]
    return session, effects


def _look_on(session: Session, fan: Fan) -> tuple[Session, list[Effect], bool]:
    """Looks at what is known, and asks for what is not; returns whether there is more to look at with a message."""
    game, out = session.game, fan.out
    going = {node for one in game.asked.values() if isinstance(one, ForFanOut) and one.going for node in one.nodes}
    out.give_back(node for node in out.asked() if node not in going and node.distribution is None)
    if game.pending is not None or game.pressed.autoplay or fan.state is FanState.FAULT:
        return session, [], False
    if out.base.distribution is None and game.engine is EngineStatus.READY and not game.walking:
        return refused(session, out, NO_TABLE), [], False
    work = PATHS_AT_ONCE - out.settle(PATHS_AT_ONCE)
    effects: list[Effect] = []
    asking = game.engine is EngineStatus.READY and out.base.distribution is not None
    while out.taken <= PATHS_AHEAD - BATCH and (out.looked >= FIRST_PATHS or not out.taken):
        before = out.taken
        wanted, work = _wanted(session, fan, work)
        if not wanted or not asking:
            out.give_back(wanted)
            break
        session, asked = _ask(session, out, wanted)
        effects += asked
        if out.taken - before < BATCH:
            break
    return session, effects, work <= 0


def _wanted(session: Session, fan: Fan, work: int) -> tuple[list[Node], int]:
    """The likeliest paths that are not known, a batch at the most, and what is left of `work`.

    What is known on the way is looked at.
    """
    out, wanted = fan.out, list[Node]()
    while work > 0 and len(wanted) < BATCH and fan.state is FanState.RUNNING:
        if out.looked + out.taken >= fan.budget.tokens or not (nodes := out.take(1)):
            break
        session.game.known.lookahead.recall(nodes[0])
        if nodes[0].distribution is None:
            wanted += nodes
        else:
            work -= out.settle(1)
    return wanted, work


def _ask(session: Session, out: FanOut, nodes: list[Node]) -> Outcome:
    path, branches = out.base.path(), [[node.token for node in one.nodes(out.base.depth)] for one in nodes]
    purpose, top = ForFanOut(out, tuple(nodes)), kept(session)
    return request(session, purpose, lambda number: Lookahead(number, path, branches, top, waited=True))


def further(session: Session) -> Session:
    """The session when the message came by which more is looked at."""
    fans = tuple(replace(fan, due=False) if fan.due else fan for fan in session.game.results.fans)
    return replace(session, game=replace(session.game, results=replace(session.game.results, fans=fans)))


def refused(session: Session, out: FanOut, reason: str) -> Session:
    """The session in which the engine is not asked for these paths any more."""
    fans = tuple(replace(fan, fault=reason) if fan.out is out else fan for fan in session.game.results.fans)
    return replace(session, game=replace(session.game, results=replace(session.game.results, fans=fans)))


def pause(session: Session) -> Outcome:
    """Looks no further, or goes on: where the budget is spent, with more of it."""
    fan = _shown(session)
    match fan.state:
        case FanState.RUNNING:
            return _with(session, replace(fan, paused=True)), []
        case FanState.PAUSED:
            return _with(session, replace(fan, paused=False)), []
        case FanState.COVERED:
            return _covering(session, fan)
        case FanState.SPENT | FanState.FULL:
            return more(1)(session)
        case FanState.TIMED:
            budget = replace(fan.budget, seconds=fan.out.seconds + fan.budget.seconds)
            return _with(session, replace(fan, budget=budget)), []
        case FanState.DONE:
            return replace(session, notice="these are all: nothing is left to look at"), []
        case FanState.FAULT:
            return _with(session, replace(fan, fault="")), []


def _covering(session: Session, fan: Fan) -> Outcome:
    """Goes on to the next coverage that is not reached."""
    further = next((one for one in COVERAGES if one > max(fan.out.seen, fan.budget.coverage)), 1.0)
    told = f"goes on to {further:.4g} of the mass" if further < 1 else "goes on until nothing is left"
    return replace(_with(session, replace(fan, budget=replace(fan.budget, coverage=further))), notice=told), []


def coverage(session: Session) -> Outcome:
    """Wants another coverage."""
    fan = _shown(session)
    wanted = next((one for one in COVERAGES if one > fan.budget.coverage), COVERAGES[0])
    told = f"looks until {wanted:.1%} of the mass is seen"
    return replace(_with(session, replace(fan, budget=replace(fan.budget, coverage=wanted))), notice=told), []


def more(step: int) -> Callable[[Session], Outcome]:
    """Gives it a larger budget of tokens, or a smaller one."""

    def go(session: Session) -> Outcome:
        fan = _shown(session)
        now = fan.budget.tokens
        further = [one for one in TOKEN_BUDGETS if one > max(now, fan.out.looked)] if step > 0 else []
        less = [one for one in TOKEN_BUDGETS if one < now]
        wanted = further[0] if further else less[-1] if step < 0 and less else now
        if wanted == now:
            # The configuration may want more than the most of these, or less than the least.
            most, least = max(now, TOKEN_BUDGETS[-1]), min(now, TOKEN_BUDGETS[0])
            told = f"no more than {most:,} tokens" if step > 0 else f"no less than {least:,} tokens"
            return replace(session, notice=told), []
        return _with(session, replace(fan, budget=replace(fan.budget, tokens=wanted))), []

    return go


# --- the list


def select(lines: int) -> Callable[[Session], Outcome]:
    """Moves the selection by so many lines."""

    def go(session: Session) -> Outcome:
        return _select(session, selected(_shown(session)) + lines)

    return go


def pick(session: Session, row: int) -> Outcome:
    """Selects a line."""
    return _select(session, row) if row >= 0 else (session, [])


def _select(session: Session, wanted: int) -> Outcome:
    fan = _shown(session)
    there, before = rows(fan).lines, selected(fan)
    if not there:
        return replace(session, notice="no answer was found yet"), []
    row = max(0, min(len(there) - 1, wanted))
    if row == before and wanted != row:
        if wanted > row and not fan.grouped and len(there) < fan.out.answers:
            return replace(session, notice=f"the {len(there):,} likeliest are listed, and no more"), []
        return replace(session, notice=f"this is the {'first' if wanted < row else 'last'} line"), []
    # Whoever never left the first line stays there, whichever answer that has by now.
    return _with(session, replace(fan, at=there[row].key)), []


def _line(fan: Fan) -> FanLine | None:
    there = rows(fan).lines
    return there[selected(fan)] if there else None


def append(session: Session) -> Outcome:
    """Appends the selected answer to the prompt; inside the prompt, opens a new one that goes on with it."""
    fan = _shown(session)
    if session.game.prompt.cursor is not None or session.game.prompt.tip is not fan.out.base:
        return open_new(session)
    end, reason = _end(session, fan)
    if end is None:
        return replace(session, notice=reason), []
    for node in end.nodes(fan.out.base.depth):
        node.play()
    prompt = Prompt(end, begins=session.game.prompt.begins)
    return show(with_prompt(replace(session, screen=PLAY), prompt))


def open_new(session: Session) -> Outcome:
    """Opens the prompt with the selected answer as a new one."""
    fan = _shown(session)
    end, reason = _end(session, fan)
    if end is None:
        return replace(session, notice=reason), []
    if reason := no_room(session):
        return replace(session, notice=reason), []
    for node in end.nodes(fan.out.base.depth):
        node.play()
    before = session.game.prompt
    prompt = Prompt(end, begins=min(before.begins, fan.out.base.depth), parent=before.tip)
    return insert(replace(session, screen=PLAY), prompt)


def _end(session: Session, fan: Fan) -> tuple[Node | None, str]:
    """Where the selected answer ends; or why it is not opened."""
    line = _line(fan)
    if line is None:
        return None, "no answer was found yet"
    end = end_of(line.answer, fan.out.base, session.game.piece)
    if end is fan.out.base:
        return None, f"this answer is empty: {label(session.game.piece(line.answer.best.token).data)} comes at once"
    return end, ""


def sort(session: Session) -> Outcome:
    """Sorts answers by the first token and groups by what was found, or all by probability alone."""
    fan = _shown(session)
    if fan.by_text:
        told = "the likeliest is at the top"
    elif fan.grouped:
        told = "groups stand in the order of what was found: numbers by their size"
    else:
        told = "those that begin with the same token stand together"
    return replace(_with(session, replace(fan, by_text=not fan.by_text, at=None)), notice=told), []


def group(session: Session) -> Outcome:
    """Groups the answers by what the pattern finds in them, or lists them one by one again."""
    fan = _shown(session)
    return _with(session, replace(fan, grouped=not fan.grouped, by_text=False, at=None)), []


def next_stop(session: Session) -> Outcome:
    """Looks for answers that end elsewhere. What the tree knows is not computed again."""
    fan = _shown(session)
    stops = PLAIN_STOPS if fan.out.stop in PLAIN_STOPS else (fan.out.stop, *PLAIN_STOPS)
    return _stopping(session, fan, stops[(stops.index(fan.out.stop) + 1) % len(stops)])


def _stopping(session: Session, fan: Fan, stop: StopRule) -> Outcome:
    if stop == fan.out.stop:
        return session, []
    out = _fresh(session, fan.out.base, stop)
    session = replace(
        session,
        game=replace(
            session.game,
            results=replace(session.game.results, fans=tuple(o for o in session.game.results.fans if o is not fan)),
        ),
    )
    fresh = replace(fan, out=out, paused=False, fault="", due=False, at=None)
    return replace(_with(session, fresh), notice=f"until {told(stop)}"), []


# --- what is typed


def type_stop(session: Session) -> Outcome:
    """Begins to type where answers end; typing replaces the present stop."""
    fan = _shown(session)
    line = replace(EMPTY.typed(written(fan.out.stop)), selected=True)
    about = "line, sentence, end, 12 tokens, or a text"
    return replace(session, screen=AnswerStop(base=fan.out.base, line=line), notice=about), []


def enter_stop(session: Session) -> Outcome:
    """Looks for answers that end there."""
    fan = _shown(session)
    try:
        stop = stop_of(meant(session.line.text))
    except ValueError as error:
        return replace(session, notice=str(error)), []
    return _stopping(_back(session), fan, stop)


def type_pattern(session: Session) -> Outcome:
    """Begins to type by what to group; typing replaces the present pattern."""
    fan = _shown(session)
    line = replace(EMPTY.typed(fan.pattern), selected=True)
    return replace(session, screen=AnswerPattern(base=fan.out.base, line=line)), []


def enter_pattern(session: Session) -> Outcome:
    """Groups the answers by what is typed."""
    fan, text = _shown(session), session.line.text
    try:
        pattern_of(text)
    except ValueError as error:
        return replace(session, notice=str(error)), []
    return _with(_back(session), replace(fan, pattern=text, grouped=True, at=None)), []


def _back(session: Session) -> Session:
    return replace(session, screen=AnswerList(base=_shown(session).out.base))


def leave_typing(session: Session) -> Outcome:
    """Back to the list; nothing is changed. Where the engine is gone, which closes every list, to the prompt."""
    return (replace(session, screen=PLAY) if session.game.engine is EngineStatus.DEAD else _back(session)), []
