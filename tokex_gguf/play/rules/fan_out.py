"""The search for answers by fan-out, the likeliest first, while their list is shown."""

from collections.abc import Callable

from tokex_gguf.engine.protocol import Capability, Lookahead
from tokex_gguf.play.fan import KEPT_FAN_OUTS, TOKEN_BUDGETS, Fan, FanLine, FanState, Matches, read_on, rows, selected
from tokex_gguf.play.game import EngineStatus, Prompt
from tokex_gguf.play.messages import Effect, Outcome, SearchFurther
from tokex_gguf.play.purposes import ForFanOut
from tokex_gguf.play.requests import candidates_at_tip, request
from tokex_gguf.play.rules.prompt import insert, no_room, show, with_prompt
from tokex_gguf.play.rules.selection import moved
from tokex_gguf.play.screens import PLAY, AnswerList, AnswerPattern, AnswerStop
from tokex_gguf.play.session import Session
from tokex_gguf.values.fan_out import FanOut, end_of
from tokex_gguf.values.grouping import pattern_of
from tokex_gguf.values.record import replace
from tokex_gguf.values.stops import PLAIN_STOPS, StopRule, describe_stop, stop_of, written
from tokex_gguf.values.text_field import EMPTY
from tokex_gguf.values.tokens import meant, quoted
from tokex_gguf.values.tree import Node

BATCH = 8
"""Paths of one request. With more, the last ones would be unlikely, and a key would wait longer."""
PATHS_AHEAD = 16
"""Requested paths at one time: while one batch is answered, the engine has the next."""
FIRST_PATHS = 16
"""Paths to expand before a second batch is requested: until then the likeliest ones are not known."""
PATHS_AT_ONCE = 12
"""Paths, of a hundred candidates each, that one message expands: 2 ms."""
NO_TABLE = "the engine gave no table here"
COVERAGES = (0.5, 0.9, 0.99, 0.999, 1.0)


def cannot_fan_out(session: Session) -> str:
    """Why answers cannot be looked for now; empty where they can."""
    game = session.game
    if reason := game.cannot(Capability.BATCHES):
        return reason
    if game.engine is EngineStatus.DEAD and fan_of(session, game.prompt.place.tip) is None:
        return game.engine_missing
    return ""


def fan_of(session: Session, base: Node) -> Fan | None:
    """The latest fan-out from a path."""
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
    """Stores a fan-out as the latest, in place of the one with the same answers if there is one."""
    others = tuple(other for other in session.game.results.fans if other.out is not fan.out)
    return replace(
        session, game=replace(session.game, results=replace(session.game.results, fans=(*others, fan)[-KEPT_FAN_OUTS:]))
    )


def _fresh(session: Session, base: Node, stop: StopRule) -> FanOut:
    limit = session.game.model.context_limit if session.game.model else base.depth
    return FanOut(base, stop, session.game.piece, room=max(0, limit - base.depth))


def open_list(session: Session) -> Outcome:
    """Lists the answers that may follow the path before the cursor; answers found there before stay."""
    base = session.game.prompt.place.tip
    fan = fan_of(session, base)
    if fan is None:
        settings = session.game.settings
        fan = Fan(_fresh(session, base, settings.stop), settings.budget)
    return replace(_with(session, replace(fan, fault="", due=False)), screen=AnswerList(base=base)), []


def close(session: Session) -> Outcome:
    """Returns to the table. Found answers are kept; the search stops."""
    return replace(session, screen=PLAY), []


# --- asking


def go_on(session: Session) -> Outcome:
    """While its list is shown, expands known paths, requests the likeliest unknown ones, and reads answers."""
    if not session.game.results.fans or (fan := shown(session)) is None:
        return session, []
    session, effects, work_left = _expand(session, fan)
    if (not read_on(fan) or work_left) and not fan.due:
        return _with(session, replace(fan, due=True)), [*effects, SearchFurther()]
    return session, effects


def _expand(session: Session, fan: Fan) -> tuple[Session, list[Effect], bool]:
    """Expands known paths and requests others; the last value says whether more work is left for a message."""
    game, out = session.game, fan.out
    requested = {
        node
        for purpose in game.open_requests.values()
        if isinstance(purpose, ForFanOut) and purpose.going
        for node in purpose.nodes
    }
    out.give_back(node for node in out.asked() if node not in requested and node.distribution is None)
    if game.pending is not None or game.pressed.autoplay or fan.state is FanState.FAULT:
        return session, [], False
    if out.base.distribution is None and game.engine is EngineStatus.READY and not game.walking:
        return refused(session, out, NO_TABLE), [], False
    work = PATHS_AT_ONCE - out.settle(PATHS_AT_ONCE)
    effects: list[Effect] = []
    asking = game.engine is EngineStatus.READY and out.base.distribution is not None
    while out.taken <= PATHS_AHEAD - BATCH and (out.looked >= FIRST_PATHS or not out.taken):
        before = out.taken
        nodes, work = _wanted(session, fan, work)
        if not nodes or not asking:
            out.give_back(nodes)
            break
        session, ask_effects = _ask(session, out, nodes)
        effects += ask_effects
        if out.taken - before < BATCH:
            break
    return session, effects, work <= 0


def _wanted(session: Session, fan: Fan, work: int) -> tuple[list[Node], int]:
    """The likeliest unknown paths, a batch at the most, and what is left of `work`.

    Known paths on the way are expanded.
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
    purpose, top = ForFanOut(out, tuple(nodes)), candidates_at_tip(session)
    return request(session, purpose, lambda number: Lookahead(number, path, branches, top, waited=True))


def further(session: Session) -> Session:
    """Handles `SearchFurther`: another one may be sent."""
    fans = tuple(replace(fan, due=False) if fan.due else fan for fan in session.game.results.fans)
    return replace(session, game=replace(session.game, results=replace(session.game.results, fans=fans)))


def refused(session: Session, out: FanOut, reason: str) -> Session:
    """Notes that the engine refused a fan-out's paths: no more are requested."""
    fans = tuple(replace(fan, fault=reason) if fan.out is out else fan for fan in session.game.results.fans)
    return replace(session, game=replace(session.game, results=replace(session.game.results, fans=fans)))


def pause(session: Session) -> Outcome:
    """Pauses or resumes the search; where the budget is spent, enlarges it."""
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
    """Goes on to the next coverage that was not reached."""
    target = next((coverage for coverage in COVERAGES if coverage > max(fan.out.seen, fan.budget.coverage)), 1.0)
    notice = f"goes on to {100 * target:.4g} % of the mass" if target < 1 else "goes on until nothing is left"
    return replace(_with(session, replace(fan, budget=replace(fan.budget, coverage=target))), notice=notice), []


def coverage(session: Session) -> Outcome:
    """Sets the next coverage to reach."""
    fan = _shown(session)
    target = next((value for value in COVERAGES if value > fan.budget.coverage), COVERAGES[0])
    notice = f"looks until {100 * target:.4g} % of the mass is seen"
    return replace(_with(session, replace(fan, budget=replace(fan.budget, coverage=target))), notice=notice), []


def more(step: int) -> Callable[[Session], Outcome]:
    """Enlarges or reduces the budget of tokens."""

    def go(session: Session) -> Outcome:
        fan = _shown(session)
        present = fan.budget.tokens
        larger = [count for count in TOKEN_BUDGETS if count > max(present, fan.out.looked)] if step > 0 else []
        smaller = [count for count in TOKEN_BUDGETS if count < present]
        budget = larger[0] if larger else smaller[-1] if step < 0 and smaller else present
        if budget == present:
            # The configuration may set more than the largest of these, or less than the smallest.
            largest, smallest = max(present, TOKEN_BUDGETS[-1]), min(present, TOKEN_BUDGETS[0])
            notice = f"no more than {largest:,} tokens" if step > 0 else f"no less than {smallest:,} tokens"
            return replace(session, notice=notice), []
        return _with(session, replace(fan, budget=replace(fan.budget, tokens=budget))), []

    return go


# --- the list


def select(lines: int) -> Callable[[Session], Outcome]:
    """Moves the selection by some lines."""

    def go(session: Session) -> Outcome:
        return _select(session, selected(_shown(session)) + lines)

    return go


def pick(session: Session, row: int) -> Outcome:
    """Selects a line."""
    return _select(session, row) if row >= 0 else (session, [])


def _select(session: Session, target: int) -> Outcome:
    fan = _shown(session)
    lines, before = rows(fan).lines, selected(fan)
    row = moved(before, target, len(lines), empty="no answer was found yet")
    if isinstance(row, str):
        if 0 < len(lines) <= target and not fan.grouped and len(lines) < fan.out.answers:
            row = f"the {len(lines):,} likeliest are listed, and no more"
        return replace(session, notice=row), []
    # A selection that never left the first line stays there, whichever answer that has by now.
    return _with(session, replace(fan, at=lines[row].key)), []


def _line(fan: Fan) -> FanLine | None:
    lines = rows(fan).lines
    return lines[selected(fan)] if lines else None


def append(session: Session) -> Outcome:
    """Appends the selected answer to the prompt; inside the prompt, opens a new one that ends with it."""
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
    """Opens a new prompt that ends with the selected answer."""
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
    """The path that ends with the selected answer; or why it is not opened."""
    line = _line(fan)
    if line is None:
        return None, "no answer was found yet"
    end = end_of(line.answer, fan.out.base, session.game.piece)
    if end is fan.out.base:
        return None, f"this answer is empty: {quoted(session.game.piece(line.answer.best.token).data)} comes at once"
    return end, ""


def sort(session: Session) -> Outcome:
    """Sorts answers by their first token and groups by the match, or all by probability."""
    fan = _shown(session)
    if fan.by_text:
        notice = "the likeliest is at the top"
    elif fan.grouped:
        notice = "groups stand in the order of what was found: numbers by their size"
    else:
        notice = "those that begin with the same token stand together"
    order = replace(fan, by_match=not fan.by_match) if fan.grouped else replace(fan, by_token=not fan.by_token)
    return replace(_with(session, replace(order, at=None)), notice=notice), []


def group(session: Session) -> Outcome:
    """Groups the answers by the pattern's match, or lists them one by one again."""
    fan = _shown(session)
    return _with(session, replace(fan, grouped=not fan.grouped, at=None)), []


def next_stop(session: Session) -> Outcome:
    """Looks for answers with the next stop. What the tree knows is not computed again."""
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
            results=replace(
                session.game.results, fans=tuple(other for other in session.game.results.fans if other is not fan)
            ),
        ),
    )
    fresh = replace(fan, out=out, paused=False, fault="", due=False, at=None)
    return replace(_with(session, fresh), notice=f"until {describe_stop(stop)}"), []


# --- what is typed


def type_stop(session: Session) -> Outcome:
    """Begins to type where answers end; typing replaces the present stop."""
    fan = _shown(session)
    line = replace(EMPTY.typed(written(fan.out.stop)), selected=True)
    about = "line, sentence, end, 12 tokens, or a text"
    return replace(session, screen=AnswerStop(base=fan.out.base, line=line), notice=about), []


def enter_stop(session: Session) -> Outcome:
    """Looks for answers with the typed stop."""
    fan = _shown(session)
    try:
        stop = stop_of(meant(session.line.text))
    except ValueError as error:
        return replace(session, notice=str(error)), []
    return _stopping(_back(session), fan, stop)


def type_pattern(session: Session) -> Outcome:
    """Begins to type the pattern to group by; typing replaces the present one."""
    fan = _shown(session)
    line = replace(EMPTY.typed(fan.pattern), selected=True)
    return replace(session, screen=AnswerPattern(base=fan.out.base, line=line)), []


def enter_pattern(session: Session) -> Outcome:
    """Groups the answers by the typed pattern."""
    fan, text = _shown(session), session.line.text
    try:
        pattern_of(text)
    except ValueError as error:
        return replace(session, notice=str(error)), []
    return _with(_back(session), replace(fan, matches=Matches(text), grouped=True, at=None)), []


def _back(session: Session) -> Session:
    return replace(session, screen=AnswerList(base=_shown(session).out.base))


def leave_typing(session: Session) -> Outcome:
    """Returns to the list, or to the table where the engine is gone, which closes every list."""
    return (replace(session, screen=PLAY) if session.game.engine is EngineStatus.DEAD else _back(session)), []
