"""Setting, changing and lifting a constraint; appending forced tokens."""

from collections.abc import Callable

from tokex_gguf.engine.protocol import Capability, Constrain, Constrained, Force
from tokex_gguf.play.game import EngineStatus, Prompt
from tokex_gguf.play.messages import Outcome, ReadText
from tokex_gguf.play.purposes import ForConstraint, ForForced
from tokex_gguf.play.requests import ask, request, without
from tokex_gguf.play.rules import text_entry
from tokex_gguf.play.rules.histories import history, used_up, with_history
from tokex_gguf.play.rules.prompt import nothing_legal, show, with_prompt
from tokex_gguf.play.screens import Constraining
from tokex_gguf.play.session import Session
from tokex_gguf.values.constraint import EXAMPLES, Constraint, ConstraintKind, choices
from tokex_gguf.values.formatting import counted
from tokex_gguf.values.history import MOST_TEXTS
from tokex_gguf.values.lens import Raw
from tokex_gguf.values.record import replace
from tokex_gguf.values.text_field import EMPTY
from tokex_gguf.values.tokens import quoted
from tokex_gguf.values.view import Standing

ENDINGS = {
    ".json": ConstraintKind.JSON_SCHEMA,
    ".gbnf": ConstraintKind.GRAMMAR,
    ".lark": ConstraintKind.LARK,
    ".regex": ConstraintKind.REGEX,
}
"""The kind of a constraint's file, by the end of its name."""
NEXT = "space plays on, E shows its cost"
"""A hint for playing under a constraint."""


def cannot_constrain(session: Session) -> str:
    """Why no constraint can be set now; empty where one can."""
    if reason := session.game.cannot(Capability.CONSTRAINTS):
        return reason
    if session.game.engine is not EngineStatus.READY:
        return session.game.unavailable
    return ""


def open_constraint(session: Session) -> Outcome:
    """Begins to type a constraint, with the unfinished text or the present one in the line."""
    before, present = history(session, Constraining), session.game.sampling.constraint
    text = before.unfinished or (present.text if present else "")
    kind = present.kind if present and text == present.text else session.typed.kinds.get(text, _kind_of(text))
    session = with_history(session, Constraining, replace(before, unfinished=""))
    return replace(session, screen=Constraining(line=EMPTY.typed(text), kind=kind)), []


def _kind_of(text: str) -> ConstraintKind:
    """A guess at the kind of a constraint from its text."""
    begins = text.lstrip()
    if begins.startswith("{"):
        return ConstraintKind.JSON_SCHEMA
    if begins.startswith("root ") or "::=" in begins:
        return ConstraintKind.GRAMMAR
    return ConstraintKind.LARK if begins.startswith("start:") else ConstraintKind.REGEX


def _with_kind(session: Session) -> Session:
    """Stores the kind of the text in the line, for when the text comes back from the history."""
    screen = _screen(session)
    if not screen.line.text:
        return session
    others = {text: kind for text, kind in session.typed.kinds.items() if text != screen.line.text}
    recent = list(others.items())[-MOST_TEXTS:]
    return replace(session, typed=replace(session.typed, kinds={**dict(recent), screen.line.text: screen.kind}))


def next_kind(session: Session) -> Outcome:
    """Selects the next kind of constraint; the text stays."""
    screen = _screen(session)
    kinds = list(ConstraintKind)
    following = kinds[(kinds.index(screen.kind) + 1) % len(kinds)]
    return _with_reading_ended(session.turned(replace(screen, kind=following))), []


def walk(step: int) -> Callable[[Session], Outcome]:
    """Goes to an earlier (-1) or a later (1) typed constraint, with its kind."""

    def go(session: Session) -> Outcome:
        session, effects = text_entry.walk(step)(_with_reading_ended(_with_kind(session)))
        screen = _screen(session)
        return session.turned(replace(screen, kind=session.typed.kinds.get(screen.line.text, screen.kind))), effects

    return go


def right(session: Session) -> Outcome:
    """Moves right by a character; in an empty line, inserts the example."""
    screen = _screen(session)
    line = screen.line.moved(1) if screen.line.text else EMPTY.typed(EXAMPLES[screen.kind])
    return session.turned(replace(screen, line=line)), []


def close(session: Session) -> Outcome:
    """Leaves the constraint as it was, also while the typed one is being read."""
    return text_entry.close(_with_reading_ended(_with_kind(session)))


def _with_reading_ended(session: Session) -> Session:
    """Ends the reading of a constraint or its file."""
    return without(session, ForConstraint).turned(replace(_screen(session), file=""))


def enter(session: Session) -> Outcome:
    """Sets the typed constraint from the cursor on; an empty line lifts it.

    After an @ comes the name of a file to read.
    """
    session = _with_reading_ended(_with_kind(session))
    screen = _screen(session)
    text = screen.line.text
    if not text.strip():
        return _lift(session)
    if text.startswith("@"):
        name = text[1:].strip()
        if not name:
            return replace(session, notice="after the @ comes a file's name, as @schema.json"), []
        return replace(session.turned(replace(screen, file=name)), notice=f"reading {name}"), [ReadText(name)]
    return _request_constraint(session, screen.kind, text)


def _lift(session: Session) -> Outcome:
    session = used_up(session)
    if session.game.sampling.constraint is None:
        return session, []
    notice = "there is no constraint any more"
    sampling = replace(session.game.sampling, constraint=None)
    session = replace(
        session, game=replace(session.game, sampling=sampling), options=replace(session.options, by_final=False)
    )
    return ask(replace(session, notice=notice))


def file_read(session: Session, name: str, text: str) -> Outcome:
    """Handles a constraint's file: its name may give the kind."""
    screen = session.on(Constraining)
    if screen is None or screen.file != name:
        return session, []  # the player has moved on meanwhile
    kind = next((kind for ending, kind in ENDINGS.items() if name.lower().endswith(ending)), screen.kind)
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        return file_not_read(session, name, "empty")
    return _request_constraint(_with_kind(session.turned(replace(screen, file="", kind=kind))), kind, text)


def file_not_read(session: Session, name: str, reason: str) -> Outcome:
    """A constraint's file cannot be read: the typed text stays."""
    screen = session.on(Constraining)
    if screen is None or screen.file != name:
        return session, []
    return replace(session.turned(replace(screen, file="")), notice=f"{name}: {reason}"), []


def _request_constraint(session: Session, kind: ConstraintKind, text: str) -> Outcome:
    """Sends a constraint to the engine, which says whether it accepts it."""
    if reason := cannot_constrain(session):
        return replace(session, notice=reason), []
    place, tip = session.game.prompt.place.tip, session.game.prompt.tip
    try:
        constraint = choices(text) if kind is ConstraintKind.CHOICES else Constraint(kind, text)
    except ValueError as error:
        return replace(session, notice=str(error)), []
    if constraint == session.game.sampling.constraint and session.game.prompt.cursor is None:
        begins = session.game.prompt.begins
        return ask(replace(used_up(session), notice=f"unchanged: it holds after token {begins}"))
    return request(
        replace(session, notice="reading the constraint; Esc leaves it"),
        ForConstraint(constraint, place, tip),
        lambda number: Constrain(number, tip.path(), constraint, place.depth),
    )


def constrained(session: Session, purpose: ForConstraint, message: Constrained) -> Outcome:
    """Sets a constraint that the engine has accepted."""
    if session.on(Constraining):
        session = used_up(session)
    sampling = replace(session.game.sampling, constraint=purpose.constraint)
    # Legal tokens may be unlikely: sort them first, so that → takes the best of them.
    session = replace(
        session, game=replace(session.game, sampling=sampling), options=replace(session.options, by_final=True)
    )
    prompt = session.game.prompt
    if prompt.tip is not purpose.tip:
        return replace(session, notice=f"{purpose.constraint.title}: C changes it"), []
    begins = purpose.place.depth
    if message.broken < 0:
        effect_text = "the text so far can go on" if begins < prompt.tip.depth else "it holds from here on"
        session = with_prompt(session, replace(prompt, begins=begins, selected=None, cursor=None, chosen=None))
        return replace(session, notice=f"{purpose.constraint.title}: {effect_text}; {NEXT}"), []
    first = prompt.tip.ancestor(message.broken + 1)
    session = with_prompt(session, replace(prompt, begins=begins, cursor=first, chosen=None, sought=None))
    effect_text = f"token {first.depth}, {quoted(session.game.piece(first.token).data)}, is the first that is not legal"
    return replace(session, notice=f"{purpose.constraint.title}: {effect_text}"), []


def force(session: Session) -> Outcome:
    """Appends the tokens that the constraint forces."""
    prompt, lens = session.game.prompt, session.lens
    if isinstance(lens, Raw) or lens.constraint is None:
        return replace(session, notice="there is no constraint: C sets one"), []
    if prompt.cursor is not None:
        return replace(session, notice="F goes on from the prompt's end: Esc goes there"), []
    return request(session, ForForced(prompt.tip, lens), lambda number: Force(number, prompt.tip.path(), lens))


def _not_forced(session: Session) -> str:
    standing = session.view.standing if session.view else Standing.OPEN
    if standing is Standing.ENDED:
        return "the text must end here: nothing else is legal, and no end is appended by F"
    return nothing_legal(session) or "there is a choice here: nothing is forced"


def forced(session: Session, purpose: ForForced, tokens: list[int], *, more: bool) -> Outcome:
    """Appends forced tokens, or a part of them."""
    prompt = session.game.prompt
    if prompt.tip is not purpose.node or prompt.cursor is not None:
        return session, []  # the player has moved on meanwhile
    if not tokens:
        return replace(session, notice=_not_forced(session)), []
    tip = prompt.tip
    for token in tokens:
        tip = tip.child(token).play()
    session, effects = show(with_prompt(session, Prompt(tip, begins=prompt.begins)))
    hint = "; F again goes on" if more else ""
    return replace(session, notice=f"{counted(len(tokens), 'token')} forced by the constraint{hint}"), effects


def _screen(session: Session) -> Constraining:
    screen = session.on(Constraining)
    assert screen is not None
    return screen
