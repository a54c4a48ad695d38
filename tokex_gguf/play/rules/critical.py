"""Critical tokens: from each doubtful place of the prompt, whether the second choice leads to another answer."""

from collections.abc import Callable

from tokex_gguf.engine.protocol import Lookahead
from tokex_gguf.play.critical import FURTHEST, CriticalState, CriticalTokens
from tokex_gguf.play.fan import KEPT_FAN_OUTS
from tokex_gguf.play.game import EngineStatus, Prompt
from tokex_gguf.play.messages import Outcome, SearchFurther
from tokex_gguf.play.purposes import ForCritical
from tokex_gguf.play.requests import candidates_at_tip, request
from tokex_gguf.play.rules import fan_out
from tokex_gguf.play.rules.prompt import insert, no_room, show, with_prompt
from tokex_gguf.play.rules.selection import moved
from tokex_gguf.play.screens import PLAY, AnswerList, CriticalLead, CriticalList
from tokex_gguf.play.session import Session
from tokex_gguf.values.critical import LONGEST_LEAD, MOST_PLACES, Critical, Rule, Trial, lead_of
from tokex_gguf.values.formatting import counted
from tokex_gguf.values.record import replace
from tokex_gguf.values.text_field import EMPTY
from tokex_gguf.values.tokens import meant, quoted
from tokex_gguf.values.tree import Node

PLACES_AT_ONCE = 100
"""Places that one message examines."""
TOKENS_AT_ONCE = 40
"""Known tokens that one message appends to second choices."""
PLACE_COUNTS = (4, 8, 16, 32, MOST_PLACES)
"""Numbers of places that keys choose from."""


def of(session: Session, base: Node) -> CriticalTokens | None:
    """The search for a path's critical tokens; None where there was none."""
    return next((search for search in reversed(session.game.results.criticals) if search.found.base is base), None)


def shown(session: Session) -> CriticalTokens | None:
    """The search that is listed."""
    screen = session.on(CriticalList) or session.on(CriticalLead)
    return None if screen is None else of(session, screen.base)


def _shown(session: Session) -> CriticalTokens:
    search = shown(session)
    assert search is not None
    return search


def _with(session: Session, search: CriticalTokens) -> Session:
    """Stores a search as the latest, in place of one from the same path."""
    others = tuple(other for other in session.game.results.criticals if other.found.base is not search.found.base)
    return replace(
        session,
        game=replace(session.game, results=replace(session.game.results, criticals=(*others, search)[-KEPT_FAN_OUTS:])),
    )


def _fresh(session: Session, base: Node, rule: Rule) -> Critical:
    limit = session.game.model.context_limit if session.game.model else base.depth
    return Critical(base, rule, session.game.piece, room=limit)


def open_list(session: Session) -> Outcome:
    """Lists the critical tokens of the path whose answers are listed; results from before stay."""
    fan = fan_out.shown(session)
    assert fan is not None
    base, search, settings = fan.out.base, of(session, fan.out.base), session.game.settings
    lead = search.found.rule.lead if search else lead_of(base, session.game.piece)
    rule = Rule(lead, fan.out.stop, fan.pattern)
    if search is None:
        search = CriticalTokens(_fresh(session, base, rule), settings.critical, settings.critical_tokens)
    elif search.found.rule != rule:
        search = replace(search, found=_fresh(session, base, rule), paused=False)
    return replace(_with(session, replace(search, fault="", due=False)), screen=CriticalList(base=base)), []


def close(session: Session) -> Outcome:
    """Returns to the list of answers. Results are kept; the search stops."""
    base = _shown(session).found.base
    has_answers = fan_out.fan_of(session, base) is not None
    return replace(session, screen=AnswerList(base=base) if has_answers else PLAY), []


# --- asking


def go_on(session: Session) -> Outcome:
    """While their list is shown, examines places, continues second choices, and requests what is not known."""
    if not session.game.results.criticals or (search := shown(session)) is None:
        return session, []
    game, critical = session.game, search.found
    if critical.lacking:  # a walked prompt's numbers come late: the list may have to change
        critical.scan_places(0)
    if game.pending is not None or game.pressed.autoplay or search.state is not CriticalState.RUNNING:
        return session, []
    if any(isinstance(purpose, ForCritical) and purpose.awaited for purpose in game.open_requests.values()):
        return session, []
    work, missing_node = TOKENS_AT_ONCE, None
    if critical.scan_places(PLACES_AT_ONCE):
        while (work := critical.advance(search.places, search.each, work)) > 0:
            missing_node = critical.wanted(search.places)
            if missing_node is None:
                return session, []  # complete
            game.known.lookahead.recall(missing_node)
            if missing_node.distribution is None:
                return _ask(session, missing_node) if game.engine is EngineStatus.READY else (session, [])
    if search.due or search.state is not CriticalState.RUNNING:
        return session, []
    return _with(session, replace(search, due=True)), [SearchFurther()]


def _ask(session: Session, node: Node) -> Outcome:
    assert node.parent is not None
    path, branches, top = node.parent.path(), [[node.token]], candidates_at_tip(session)
    return request(session, ForCritical(node), lambda number: Lookahead(number, path, branches, top, waited=True))


def further(session: Session) -> Session:
    """Handles `SearchFurther`: another one may be sent."""
    criticals = tuple(replace(search, due=False) if search.due else search for search in session.game.results.criticals)
    return replace(session, game=replace(session.game, results=replace(session.game.results, criticals=criticals)))


def refused(session: Session, node: Node, reason: str) -> Session:
    """Notes that the engine refused the distribution after a path in the searches that wait for it."""
    criticals = tuple(
        replace(search, fault=reason) if _waits_for(search, node) else search
        for search in session.game.results.criticals
    )
    return replace(session, game=replace(session.game, results=replace(session.game.results, criticals=criticals)))


def _waits_for(search: CriticalTokens, node: Node) -> bool:
    run = search.found.running(search.places)
    return run is not None and run.node is node


def pause(session: Session) -> Outcome:
    """Pauses or resumes the search; where some answers did not end, doubles the tokens for each."""
    search = _shown(session)
    match search.state:
        case CriticalState.RUNNING:
            return _with(session, replace(search, paused=True)), []
        case CriticalState.PAUSED:
            return _with(session, replace(search, paused=False)), []
        case CriticalState.LONG | CriticalState.LONGEST:
            return _longer(session, search)
        case CriticalState.DONE:
            return replace(session, notice="these are all: + looks at more places"), []
        case CriticalState.FAULT:
            return _with(session, replace(search, fault="")), []


def _longer(session: Session, search: CriticalTokens) -> Outcome:
    if search.each >= FURTHEST:
        return replace(session, notice=f"no more than {FURTHEST:,} tokens from each place"), []
    each = min(2 * search.each, FURTHEST)
    search.found.resume()
    notice = f"goes on to {each:,} tokens from each place"
    return replace(_with(session, replace(search, each=each, paused=False)), notice=notice), []


def more(step: int) -> Callable[[Session], Outcome]:
    """Examines more places, or fewer."""

    def go(session: Session) -> Outcome:
        search = _shown(session)
        counts = [count for count in PLACE_COUNTS if (count - search.places) * step > 0]
        if not counts:
            fewest = min(search.places, PLACE_COUNTS[0])  # the configuration may set fewer
            notice = f"no more than {MOST_PLACES} places" if step > 0 else f"no fewer than {counted(fewest, 'place')}"
            return replace(session, notice=notice), []
        places = min(counts) if step > 0 else max(counts)
        notice = f"looks at the {places} most doubtful places"
        return replace(_with(session, replace(search, places=places)), notice=notice), []

    return go


# --- the list


def select(lines: int) -> Callable[[Session], Outcome]:
    """Moves the selection by some lines."""

    def go(session: Session) -> Outcome:
        return _select(session, _shown(session).selected + lines)

    return go


def pick(session: Session, row: int) -> Outcome:
    """Selects a line."""
    return _select(session, row) if row >= 0 else (session, [])


def _select(session: Session, target: int) -> Outcome:
    search = _shown(session)
    trials, before = search.trials, search.selected
    row = moved(before, target, len(trials), empty="no place was found yet")
    if isinstance(row, str):
        return replace(session, notice=row), []
    return _with(session, replace(search, at=trials[row].place.node)), []


def append(session: Session) -> Outcome:
    """Continues the prompt with the second choice, as far as that was continued."""
    trial, end, reason = _end(session)
    if trial is None or end is None:
        return replace(session, notice=reason), []
    begin = _play(trial, end)
    prompt = Prompt(end, begins=min(session.game.prompt.begins, begin))
    session, effects = show(with_prompt(replace(session, screen=PLAY), prompt))
    notice = f"the prompt goes another way from token {begin + 1} on: u takes that back"
    return replace(session, notice=session.notice or notice), effects


def open_new(session: Session) -> Outcome:
    """Opens the path with the second choice as a new prompt."""
    trial, end, reason = _end(session)
    reason = reason or no_room(session)
    if trial is None or end is None or reason:
        return replace(session, notice=reason), []
    begin = _play(trial, end)
    before = session.game.prompt
    prompt = Prompt(end, begins=min(before.begins, begin), parent=before.tip)
    return insert(replace(session, screen=PLAY), prompt)


def _play(trial: Trial, end: Node) -> int:
    """Marks the new tokens as played; returns how many tokens come before them."""
    begin = trial.place.node.depth - 1
    for node in end.nodes(begin):
        node.play()
    return begin


def _end(session: Session) -> tuple[Trial | None, Node | None, str]:
    """The selected line, and the path with its answer; or why that is not opened."""
    search = _shown(session)
    if not search.trials:
        return None, None, "no place was found yet"
    trial = search.trials[search.selected]
    place = trial.place
    if trial.run.last.depth >= place.node.depth:
        return trial, trial.run.last, ""
    piece = session.game.piece(place.second)
    if piece.ends:
        return trial, None, f"nothing follows: the second choice, {quoted(piece.data)}, ends the text"
    assert place.node.parent is not None
    end = place.node.parent.child(place.second)  # only the second choice is known
    return trial, end, ""


# --- what is typed


def type_lead(session: Session) -> Outcome:
    """Begins to type the lead of answers; typing replaces the present one."""
    search = _shown(session)
    text = search.found.rule.lead.decode("utf-8", "replace").replace("\n", "⏎")
    line = replace(EMPTY.typed(text), selected=True)
    about = "what stands before an answer, such as “Answer:”; empty: nothing"
    return replace(session, screen=CriticalLead(base=search.found.base, line=line), notice=about), []


def enter_lead(session: Session) -> Outcome:
    """Looks for answers after the typed lead. What the tree knows is not computed again."""
    search, text = _shown(session), meant(session.line.text)
    if len(text) > LONGEST_LEAD:
        return replace(session, notice=f"what stands before an answer has {LONGEST_LEAD} characters at the most"), []
    rule = replace(search.found.rule, lead=text.encode("utf-8", "replace"))
    session = replace(session, screen=CriticalList(base=search.found.base))
    if rule == search.found.rule:
        return session, []
    return _with(session, replace(search, found=_fresh(session, search.found.base, rule), paused=False, fault="")), []


def leave_typing(session: Session) -> Outcome:
    """Returns to the list, or to the table where the engine is gone, which closes every list."""
    dead = session.game.engine is EngineStatus.DEAD
    return replace(session, screen=PLAY if dead else CriticalList(base=_shown(session).found.base)), []
