"""Setting, changing and lifting a constraint; running through what is forced."""

from dataclasses import replace

from tokex_gguf.engine.protocol import Capability, Constrain, Constrained, Force
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.purposes import ForConstraint, ForForced
from tokex_gguf.play.requests import ask, request
from tokex_gguf.play.rules.histories import history, used_up, with_history
from tokex_gguf.play.rules.prompt import show, with_prompt
from tokex_gguf.play.screens import Constraining
from tokex_gguf.play.session import EngineStatus, Prompt, Session
from tokex_gguf.values.constraint import Constraint, ConstraintKind, choices
from tokex_gguf.values.lens import Raw
from tokex_gguf.values.text_field import EMPTY
from tokex_gguf.values.tokens import label


def cannot_constrain(session: Session) -> str:
    """Why there can be no constraint now; empty where there can."""
    if reason := session.game.cannot(Capability.CONSTRAINTS):
        return reason
    if session.game.engine is not EngineStatus.READY:
        return session.game.gone if session.game.engine is EngineStatus.DEAD else "still loading"
    return ""


def open_constraint(session: Session) -> Outcome:
    """Begins to type a constraint, with the present one in the line, or what was left there."""
    before, present = history(session, Constraining), session.game.sampling.constraint
    text = before.unfinished or (present.text if present else "")
    kind = present.kind if present and text == present.text else _kind_of(text)
    session = with_history(session, Constraining, replace(before, unfinished=""))
    return replace(session, screen=Constraining(line=EMPTY.typed(text), kind=kind)), []


def _kind_of(text: str) -> ConstraintKind:
    """In what a text is written that was left, as far as that can be seen."""
    begins = text.lstrip()
    if begins.startswith("{"):
        return ConstraintKind.JSON_SCHEMA
    if begins.startswith("root ") or "::=" in begins:
        return ConstraintKind.GRAMMAR
    return ConstraintKind.LARK if begins.startswith("start:") else ConstraintKind.REGEX


def next_kind(session: Session) -> Outcome:
    """To the next way to write a constraint; the text stays."""
    screen = _screen(session)
    kinds = list(ConstraintKind)
    following = kinds[(kinds.index(screen.kind) + 1) % len(kinds)]
    return session.turned(replace(screen, kind=following)), []


def enter(session: Session) -> Outcome:
    """Sets what was typed as the constraint from the place on that is looked at; an empty line lifts it."""
    screen, place = _screen(session), session.game.prompt.place.tip
    text = screen.line.text
    if not text.strip():
        lifted = replace(session.game.sampling, constraint=None)
        told = "there is no constraint any more" if session.game.sampling.constraint else ""
        session = used_up(session)
        session = replace(session, game=replace(session.game, sampling=lifted), by_final=False)
        return ask(replace(session, notice=told))
    try:
        constraint = choices(text) if screen.kind is ConstraintKind.CHOICES else Constraint(screen.kind, text)
    except ValueError as error:
        return replace(session, notice=str(error)), []
    tip = session.game.prompt.tip
    if constraint == session.game.sampling.constraint and session.game.prompt.cursor is None:
        begins = session.game.prompt.begins
        return ask(replace(used_up(session), notice=f"unchanged: it holds behind token {begins}"))
    return request(
        session,
        ForConstraint(constraint, place, tip),
        lambda number: Constrain(number, tip.path(), constraint, place.depth),
    )


def constrained(session: Session, purpose: ForConstraint, message: Constrained) -> Outcome:
    """The engine has understood a constraint: it holds from now on."""
    if session.on(Constraining):
        session = used_up(session)
    sampling = replace(session.game.sampling, constraint=purpose.constraint)
    # What is legal may be far below what is likely: it comes first now, and → takes the best of it.
    session = replace(session, game=replace(session.game, sampling=sampling), by_final=True)
    prompt = session.game.prompt
    if prompt.tip is not purpose.tip:
        return replace(session, notice=f"{purpose.constraint.title}: C changes it"), []
    begins = purpose.place.depth
    if message.broken < 0:
        told = "the text so far can go on" if begins < prompt.tip.depth else f"it holds behind token {begins}"
        session = with_prompt(session, replace(prompt, begins=begins, selected=None, cursor=None, chosen=None))
        return replace(session, notice=f"{purpose.constraint.title}: {told}; C changes it"), []
    first = prompt.tip.ancestor(message.broken + 1)
    session = with_prompt(session, replace(prompt, begins=begins, cursor=first, chosen=None, sought=None))
    told = f"token {first.depth}, {label(session.game.piece(first.token).data)}, is the first that is not legal"
    return replace(session, notice=f"{purpose.constraint.title}: {told}"), []


def not_constrained(session: Session, reason: str) -> Session:
    """The engine refuses a constraint: what was typed stays, and so does the one before."""
    return replace(session, notice=reason)


def force(session: Session) -> Outcome:
    """Goes on through all that the constraint leaves no choice in."""
    prompt, lens = session.game.prompt, session.lens
    if isinstance(lens, Raw) or lens.constraint is None:
        return replace(session, notice="there is no constraint: C sets one"), []
    if prompt.cursor is not None:
        return replace(session, notice="F goes on from the prompt's end: Esc goes there"), []
    return request(session, ForForced(prompt.tip, lens), lambda number: Force(number, prompt.tip.path(), lens))


def forced(session: Session, purpose: ForForced, tokens: list[int]) -> Outcome:
    """What is forced is there."""
    prompt = session.game.prompt
    if prompt.tip is not purpose.node or prompt.cursor is not None:
        return session, []  # who went elsewhere meanwhile does not want it
    if not tokens:
        return replace(session, notice="there is a choice here: nothing is forced"), []
    tip = prompt.tip
    for token in tokens:
        tip = tip.child(token).play()
    count = f"{len(tokens)} token{'s' if len(tokens) > 1 else ''}"
    session, effects = show(with_prompt(session, Prompt(tip, begins=prompt.begins)))
    return replace(session, notice=f"{count} forced by the constraint"), effects


def _screen(session: Session) -> Constraining:
    screen = session.on(Constraining)
    assert screen is not None
    return screen
