"""What of a command depends on the session: why it cannot be done now, and its hint in the footer."""

from collections.abc import Callable

from tokex_gguf.engine.protocol import Capability
from tokex_gguf.play.command import Hint, Reason, unread
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.rules import (
    bias,
    constraint,
    drawing,
    editing,
    fan_out,
    ghost_text,
    insertion,
    second_model,
    versus,
)
from tokex_gguf.play.session import Session
from tokex_gguf.play.versus import ALONE, UNPAIRED

FIRST = "nothing comes before the first token"


def never(_: Session) -> str:
    """The command can always be done."""
    return ""


def either(first: Reason, second: Reason) -> Reason:
    """The first reason; where that is empty, the second."""

    def reason(session: Session) -> str:
        return first(session) or second(session)

    return reason


def at_first_token(session: Session) -> str:
    """The command needs a table, and there is none before the first token."""
    return unread(session) or ("" if session.game.prompt.place.tip.depth else FIRST)


def no_engine(session: Session) -> str:
    """The command needs an engine. It may wait for one that is still loading."""
    return session.game.engine_missing if session.game.engine is EngineStatus.DEAD else ""


def cannot_search(session: Session) -> str:
    """The command needs a table, and an engine with the vocabulary."""
    reason = session.game.cannot(Capability.VOCABULARY_SEARCH)
    return at_first_token(session) or (f"{reason}: i types any token" if reason else no_engine(session))


def nothing_to_choose(session: Session) -> str:
    """The command needs a row of the table."""
    reason = at_first_token(session)
    return f"{reason}: nothing to choose" if reason == FIRST else reason


def of_found(found: Callable[[Session], object]) -> Hint:
    """The footer leaves out what is done with something that was found, where nothing was."""
    return lambda session: None if found(session) else (0, "")


cannot_play = either(unread, no_engine)
cannot_type = either(at_first_token, no_engine)
cannot_replace = either(nothing_to_choose, editing.cannot_replace)
cannot_delete = either(unread, editing.cannot_delete)
cannot_insert = either(unread, insertion.cannot_insert)
cannot_retokenize = either(unread, editing.cannot_retokenize)
cannot_draw = either(at_first_token, drawing.cannot_draw)
cannot_fan_out = either(at_first_token, fan_out.cannot_fan_out)
cannot_constrain = either(unread, constraint.cannot_constrain)
cannot_bias = either(at_first_token, bias.cannot_sample)
cannot_sample = either(unread, bias.cannot_sample)
no_further_lookahead = either(unread, lambda session: session.game.no_further_lookahead)
cannot_order = either(unread, versus.cannot_order)
cannot_ban = either(unread, bias.cannot_ban)
cannot_compare_models = either(unread, second_model.cannot_compare)
no_samplers = either(unread, lambda session: session.game.cannot(Capability.SAMPLERS))


def _alone_reason(reason: str) -> Reason:
    return either(unread, lambda session: reason if len(session.game.prompts) == 1 else "")


is_alone = _alone_reason("one prompt is open: d copies it")
removes_nothing = _alone_reason("the only prompt stays")
cannot_compare = either(unread, versus.cannot_compare)


def cannot_exchange(session: Session) -> str:
    """The command needs a comparison, or a ghost text to append."""
    if session.game.versus is not ALONE:
        return unread(session)
    return unread(session) or (
        ghost_text.cannot_take(session) if session.options.ghost else versus.compares_nothing(session)
    )


cannot_flip = either(unread, versus.cannot_flip)


def _where(holds: Callable[[Session], object]) -> Callable[[int, str], Hint]:
    """A maker of hints that are shown where a condition holds."""

    def make(importance: int, label: str) -> Hint:
        return lambda session: (importance, label) if holds(session) else None

    return make


comparing = _where(lambda session: session.game.versus is not ALONE)
inside = _where(lambda session: session.game.prompts and session.game.prompt.cursor is not None)
"""A hint for while the cursor is inside the prompt."""
split_otherwise = _where(lambda session: session.game.prompts and session.game.prompt.tip.differs is not None)
"""A hint for a prompt that the tokenizer would split otherwise."""
limited = _where(lambda session: session.game.sampling.constraint is not None)


def nothing_scored(session: Session) -> str:
    """The command needs a scored phrase."""
    return unread(session) or ("" if session.game.results.scores else "no phrases were scored")


def without_engine(importance: int, label: str, of_server: str) -> Hint:
    """A hint while the engine, or the connection to a server, is gone."""

    def hint(session: Session) -> tuple[int, str] | None:
        word = of_server if session.game.server else label
        return (importance, word) if session.game.engine is EngineStatus.DEAD else None

    return hint


def playing(session: Session) -> tuple[int, str] | None:
    """The hint of the key that starts and stops autoplay."""
    return (45, "stop") if session.game.pressed.autoplay else inside(0, "")(session)


def taking(session: Session) -> tuple[int, str] | None:
    """The hint of tab, which exchanges A and B, or appends a word of the ghost text."""
    if session.game.versus is not ALONE:
        return 65, "A ⇄ B"
    return (65, "take up") if session.options.ghost else None


def compares(session: Session) -> tuple[int, str] | None:
    """The hint of the key that starts and ends a comparison."""
    if session.game.versus is not ALONE:
        return 48, "end comparing"
    several = len(session.game.prompts) > 1 or (session.game.prompts and session.game.prompt.parent is not None)
    return (43, "compare") if several else None


def pairs(session: Session) -> tuple[int, str] | None:
    """The hint of the key that opens and closes a second model. In a comparison, `compares` has the hint."""
    if session.paired is UNPAIRED:
        return None
    return (0, "") if session.game.versus is not ALONE else (48, "end comparing")
