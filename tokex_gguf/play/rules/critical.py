"""Critical tokens: from each doubtful place of the prompt, whether the second choice leads to another answer."""

from collections.abc import Callable
from dataclasses import replace

from tokex_gguf.engine.protocol import Lookahead
from tokex_gguf.play.critical import FURTHEST, CriticalState, CriticalTokens
from tokex_gguf.play.fan import KEPT_FAN_OUTS
from tokex_gguf.play.messages import FanFurther, Outcome
from tokex_gguf.play.purposes import ForCritical
from tokex_gguf.play.requests import kept, request
from tokex_gguf.play.rules import fan_out
from tokex_gguf.play.rules.prompt import insert, no_room, show, with_prompt
from tokex_gguf.play.screens import PLAY, AnswerList, CriticalLead, CriticalList
from tokex_gguf.play.session import EngineStatus, Prompt, Session
from tokex_gguf.values.critical import LONGEST_LEAD, MOST_PLACES, Critical, Rule, Trial, lead_of
from tokex_gguf.values.formatting import counted
from tokex_gguf.values.text_field import EMPTY
from tokex_gguf.values.tokens import label, meant
from tokex_gguf.values.tree import Node

LOOKED_AT = 100
"""Places that are looked at with one message."""
GONE_ON = 40
"""Tokens of what is known that are gone on by with one message."""
PLACE_COUNTS = (4, 8, 16, 32, MOST_PLACES)
"""Numbers of places that keys go through."""


def of(session: Session, base: Node) -> CriticalTokens | None:
    """The critical tokens of a path, as far as they were looked for."""
    return next((one for one in reversed(session.game.results.criticals) if one.found.base is base), None)


def shown(session: Session) -> CriticalTokens | None:
    """Those that are listed."""
    screen = session.on(CriticalList) or session.on(CriticalLead)
    return None if screen is None else of(session, screen.base)


def _shown(session: Session) -> CriticalTokens:
    one = shown(session)
    assert one is not None
    return one


def _with(session: Session, one: CriticalTokens) -> Session:
    """The session with these in place of those of the same path; they are the latest."""
    others = tuple(other for other in session.game.results.criticals if other.found.base is not one.found.base)
    return replace(
        session,
        game=replace(session.game, results=replace(session.game.results, criticals=(*others, one)[-KEPT_FAN_OUTS:])),
    )


def _fresh(session: Session, base: Node, rule: Rule) -> Critical:
    limit = session.game.model.context_limit if session.game.model else base.depth
    return Critical(base, rule, session.game.piece, room=limit)


def open_list(session: Session) -> Outcome:
    """Lists the critical tokens of the path whose answers are listed; what was found before stays."""
    fan = fan_out.shown(session)
    assert fan is not None
    base, before, settings = fan.out.base, of(session, fan.out.base), session.game.settings
    lead = before.found.rule.lead if before else lead_of(base, session.game.piece)
    rule = Rule(lead, fan.out.stop, fan.pattern)
    if before is None:
        before = CriticalTokens(_fresh(session, base, rule), settings.critical, settings.critical_tokens)
    elif before.found.rule != rule:
        before = replace(before, found=_fresh(session, base, rule), paused=False)
    return replace(_with(session, replace(before, fault="", due=False)), screen=CriticalList(base=base)), []


def close(session: Session) -> Outcome:
    """Back to the list of answers. What was found is kept, and no more is looked for."""
    base = _shown(session).found.base
    there = fan_out.fan_of(session, base) is not None
    return replace(session, screen=AnswerList(base=base) if there else PLAY), []


# --- asking


def go_on(session: Session) -> Outcome:
    """While their list is shown, looks at places, goes on through what is known, and asks for what is not."""
    if not session.game.results.criticals or (one := shown(session)) is None:
        return session, []
    game, found = session.game, one.found
    if found.lacking:  # numbers of a prompt that is walked come late: the list may have to go on
        found.look_on(0)
    if game.pending is not None or game.pressed.autoplay or one.state is not CriticalState.RUNNING:
        return session, []
    if any(isinstance(asked, ForCritical) and asked.awaited for asked in game.asked.values()):
        return session, []
    work, wanted = GONE_ON, None
    if found.look_on(LOOKED_AT):
        while (work := found.advance(one.places, one.each, work)) > 0:
            wanted = found.wanted(one.places)
            if wanted is None:
                return session, []  # all is there
            game.known.lookahead.recall(wanted)
            if wanted.distribution is None:
                return _ask(session, wanted) if game.engine is EngineStatus.READY else (session, [])
    if one.due or one.state is not CriticalState.RUNNING:
        return session, []
    return _with(session, replace(one, due=True)), [FanFurther()]


def _ask(session: Session, node: Node) -> Outcome:
    assert node.parent is not None
    path, branches, top = node.parent.path(), [[node.token]], kept(session)
    return request(session, ForCritical(node), lambda number: Lookahead(number, path, branches, top, waited=True))


def further(session: Session) -> Session:
    """The session when the message came by which more is looked at."""
    criticals = tuple(replace(one, due=False) if one.due else one for one in session.game.results.criticals)
    return replace(session, game=replace(session.game, results=replace(session.game.results, criticals=criticals)))


def refused(session: Session, node: Node, reason: str) -> Session:
    """The session in which the engine is not asked any more where it was asked for what follows a path."""
    criticals = tuple(
        replace(one, fault=reason) if _waits_for(one, node) else one for one in session.game.results.criticals
    )
    return replace(session, game=replace(session.game, results=replace(session.game.results, criticals=criticals)))


def _waits_for(one: CriticalTokens, node: Node) -> bool:
    run = one.found.running(one.places)
    return run is not None and run.node is node


def pause(session: Session) -> Outcome:
    """Looks no further, or goes on: where some did not end, with twice as many tokens for each."""
    one = _shown(session)
    match one.state:
        case CriticalState.RUNNING:
            return _with(session, replace(one, paused=True)), []
        case CriticalState.PAUSED:
            return _with(session, replace(one, paused=False)), []
        case CriticalState.LONG | CriticalState.LONGEST:
            return _longer(session, one)
        case CriticalState.DONE:
            return replace(session, notice="these are all: + looks at more places"), []
        case CriticalState.FAULT:
            return _with(session, replace(one, fault="")), []


def _longer(session: Session, one: CriticalTokens) -> Outcome:
    if one.each >= FURTHEST:
        return replace(session, notice=f"no more than {FURTHEST:,} tokens from each place"), []
    each = min(2 * one.each, FURTHEST)
    one.found.resume()
    told = f"goes on to {each:,} tokens from each place"
    return replace(_with(session, replace(one, each=each, paused=False)), notice=told), []


def more(step: int) -> Callable[[Session], Outcome]:
    """Looks at more places, or at fewer."""

    def go(session: Session) -> Outcome:
        one = _shown(session)
        there = [count for count in PLACE_COUNTS if (count - one.places) * step > 0]
        if not there:
            least = min(one.places, PLACE_COUNTS[0])  # the configuration may want fewer
            told = f"no more than {MOST_PLACES} places" if step > 0 else f"no fewer than {counted(least, 'place')}"
            return replace(session, notice=told), []
        places = min(there) if step > 0 else max(there)
        told = f"looks at the {places} most doubtful places"
        return replace(_with(session, replace(one, places=places)), notice=told), []

    return go


# --- the list


def select(lines: int) -> Callable[[Session], Outcome]:
    """Moves the selection by so many lines."""

    def go(session: Session) -> Outcome:
        return _select(session, _shown(session).selected + lines)

    return go


def pick(session: Session, row: int) -> Outcome:
    """Selects a line."""
    return _select(session, row) if row >= 0 else (session, [])


def _select(session: Session, wanted: int) -> Outcome:
    one = _shown(session)
    there, before = one.trials, one.selected
    if not there:
        return replace(session, notice="no place was found yet"), []
    row = max(0, min(len(there) - 1, wanted))
    if row == before and wanted != row:
        return replace(session, notice=f"this is the {'first' if wanted < row else 'last'} line"), []
    return _with(session, replace(one, at=there[row].place.node)), []


def append(session: Session) -> Outcome:
    """Lets the prompt go on with the second choice, as far as that was gone on from."""
    trial, end, reason = _end(session)
    if trial is None or end is None:
        return replace(session, notice=reason), []
    begin = _play(trial, end)
    prompt = Prompt(end, begins=min(session.game.prompt.begins, begin))
    session, effects = show(with_prompt(replace(session, screen=PLAY), prompt))
    told = f"the prompt goes another way from token {begin + 1} on: u takes that back"
    return replace(session, notice=session.notice or told), effects


def open_new(session: Session) -> Outcome:
    """Opens that as a new prompt."""
    trial, end, reason = _end(session)
    reason = reason or no_room(session)
    if trial is None or end is None or reason:
        return replace(session, notice=reason), []
    begin = _play(trial, end)
    before = session.game.prompt
    prompt = Prompt(end, begins=min(before.begins, begin), parent=before.tip)
    return insert(replace(session, screen=PLAY), prompt)


def _play(trial: Trial, end: Node) -> int:
    """Notes that a prompt is about to come there; returns how many tokens it has from before."""
    begin = trial.place.node.depth - 1
    for node in end.nodes(begin):
        node.play()
    return begin


def _end(session: Session) -> tuple[Trial | None, Node | None, str]:
    """The selected line, and the path that has its answer; or why that is not opened."""
    one = _shown(session)
    if not one.trials:
        return None, None, "no place was found yet"
    trial = one.trials[one.selected]
    place = trial.place
    if trial.run.last.depth >= place.node.depth:
        return trial, trial.run.last, ""
    piece = session.game.piece(place.second)
    if piece.ends:
        return trial, None, f"nothing follows: the second choice, {label(piece.data)}, ends the text"
    assert place.node.parent is not None
    end = place.node.parent.child(place.second)  # nothing but that belongs to it
    return trial, end, ""


# --- what is typed


def type_lead(session: Session) -> Outcome:
    """Begins to type what stands before an answer; typing replaces the present one."""
    one = _shown(session)
    text = one.found.rule.lead.decode("utf-8", "replace").replace("\n", "⏎")
    line = replace(EMPTY.typed(text), selected=True)
    about = "what stands before an answer, such as “Answer:”; empty: nothing"
    return replace(session, screen=CriticalLead(base=one.found.base, line=line), notice=about), []


def enter_lead(session: Session) -> Outcome:
    """Looks for answers behind what is typed. What the tree knows is not computed again."""
    one, text = _shown(session), meant(session.line.text)
    if len(text) > LONGEST_LEAD:
        return replace(session, notice=f"what stands before an answer has {LONGEST_LEAD} characters at the most"), []
    rule = replace(one.found.rule, lead=text.encode("utf-8", "replace"))
    session = replace(session, screen=CriticalList(base=one.found.base))
    if rule == one.found.rule:
        return session, []
    return _with(session, replace(one, found=_fresh(session, one.found.base, rule), paused=False, fault="")), []


def leave_typing(session: Session) -> Outcome:
    """Back to the list; nothing is changed. Where the engine is gone, which closes every list, to the prompt."""
    dead = session.game.engine is EngineStatus.DEAD
    return replace(session, screen=PLAY if dead else CriticalList(base=_shown(session).found.base)), []
