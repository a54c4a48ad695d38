"""A fan-out as it is played: what may be spent on it, and how its answers are listed."""

import math
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from tokex_gguf.values.fan_out import Answer, Budget, FanOut
from tokex_gguf.values.grouping import FIRST_NUMBER, Number, found, meaning, pattern_of, tries
from tokex_gguf.values.record import record

KEPT_FAN_OUTS = 8
"""Fan-outs that a game keeps, the latest."""


class Unmatched(Enum):
    """What a pattern found in the answers of a group, where that is no text."""

    NOTHING = "nothing found"


TOKEN_BUDGETS = (100, 300, 1_000, 3_000, 10_000)
"""Budgets that keys go through."""


class FanState(Enum):
    """Whether a fan-out goes on, and why not, in words that stand on the screen."""

    RUNNING = "looking further"
    PAUSED = "paused: space goes on"
    COVERED = "enough: space goes on"
    SPENT = "all spent: space goes on"
    FULL = "all spent, and there is no more"
    TIMED = "time is up: space goes on"
    DONE = "nothing is left"
    FAULT = "stopped"


@record
class Fan:
    """A fan-out of a game, what may be spent on it, and how it is looked at."""

    out: FanOut
    budget: Budget = Budget()
    paused: bool = False
    fault: str = ""
    """Why the engine refused it."""
    due: bool = False
    """Whether a message is on its way by which more of what is known is looked at."""
    by_text: bool = False
    """Whether answers that begin with the same token stand together, and groups in the order of what was found."""
    grouped: bool = False
    pattern: str = FIRST_NUMBER
    """By what they are grouped."""
    at: bytes | str | Unmatched | None = None
    """The selected answer's text, or the selected group; None: the first line."""

    @property
    def state(self) -> FanState:
        """Whether it goes on."""
        if self.fault:
            return FanState.FAULT
        if self.out.exhausted:
            return FanState.DONE
        if self.paused:
            return FanState.PAUSED
        if self.out.seen >= self.budget.coverage:
            return FanState.COVERED
        if self.out.looked >= self.budget.tokens:
            return FanState.SPENT if self.out.looked < TOKEN_BUDGETS[-1] else FanState.FULL
        if self.budget.seconds and self.out.seconds >= self.budget.seconds:
            return FanState.TIMED
        return FanState.RUNNING


class FanLine(NamedTuple):
    """A line of the list."""

    key: bytes | str | Unmatched
    """The answer's text, or the group: what was found in its likeliest answer."""
    prob: float
    """Of the answer, or of all in the group."""
    answer: Answer
    """The likeliest one of the group."""
    size: int = 1
    """How many answers the group has."""


class FanLines(NamedTuple):
    """The lines of the list, of the likeliest answers, and where each is."""

    lines: tuple[FanLine, ...]
    places: dict[bytes | Number | str | Unmatched, int]
    """By what the keys mean."""


def rows(fan: Fan) -> FanLines:
    """The lines of a fan-out's list. The same call gives the same value at once while no more was seen."""
    pattern = fan.pattern if fan.grouped else ""
    read = len(_known(fan.out, pattern)) if pattern else 0
    there = _rows(fan.out, fan.out.looked, fan.by_text, pattern, read)
    if isinstance(fan.at, bytes) and not fan.grouped and fan.at not in there.places:
        return _with(fan.out, fan.out.looked, fan.by_text, fan.at)  # others came that are likelier
    return there


READ_AT_ONCE = 1_000_000
"""Tries of a pattern in the answers that are read with one message: some 20 ms at the worst, or a single answer."""
READ_MOST = 200
"""Answers that are read with one message."""


def read_on(fan: Fan) -> bool:
    """Reads what the pattern finds in a few more answers, where they are grouped; returns whether all were read."""
    if not fan.grouped:
        return True
    pattern, known, left, count = pattern_of(fan.pattern), _known(fan.out, fan.pattern), READ_AT_ONCE, 0
    for answer in fan.out.likeliest():
        if answer.text in known:
            continue
        if left <= 0 or count == READ_MOST:
            return False
        key = found(pattern, answer.text.decode("utf-8", "replace"))
        known[answer.text] = (Unmatched.NOTHING, Unmatched.NOTHING) if key is None else (key, meaning(key))
        left, count = left - int(tries(pattern, len(answer.text))), count + 1
    return True


def selected(fan: Fan) -> int:
    """The selected line."""
    return 0 if fan.at is None else rows(fan).places.get(_meant(fan.at), 0)


@lru_cache(4)
def _rows(out: FanOut, _looked: int, by_text: bool, pattern: str, _read: int) -> FanLines:
    likely = out.likeliest()
    if pattern:
        lines = _groups(out, likely, pattern)
        if by_text:
            lines = tuple(sorted(lines, key=in_order))
    elif by_text:
        lines = _by_first(likely)
    else:
        lines = tuple(map(_row, likely))
    return FanLines(lines, {_meant(line.key): place for place, line in enumerate(lines)})


def _meant(key: bytes | str | Unmatched) -> bytes | Number | str | Unmatched:
    """What tells a line from others: one number may be written in several ways."""
    return meaning(key) if isinstance(key, str) else key


@lru_cache(4)
def _with(out: FanOut, looked: int, by_text: bool, text: bytes) -> FanLines:
    """The lines, and behind them the selected answer, which is none of the likeliest any more."""
    there, answer = _rows(out, looked, by_text, "", 0), out.answer(text)
    if answer is None:
        return there
    return FanLines((*there.lines, _row(answer)), {**there.places, text: len(there.lines)})


def _row(answer: Answer) -> FanLine:
    return FanLine(answer.text, answer.prob, answer)


def _by_first(ranked: list[Answer]) -> tuple[FanLine, ...]:
    """Those that begin with the same token stand together, the likeliest first token first."""
    firsts: dict[int, list[Answer]] = {}
    for answer in ranked:
        firsts.setdefault(answer.best.first, []).append(answer)
    together = sorted(firsts.values(), key=lambda some: -math.fsum(one.prob for one in some))
    return tuple(_row(answer) for some in together for answer in some)


def in_order(line: FanLine) -> tuple[int, float, str]:
    """Numbers by their size, then other texts by the alphabet, then what nothing was found in."""
    match _meant(line.key):
        case Number(digits):
            return 0, float(digits), ""
        case str(text):
            return 1, 0.0, text
        case _:
            return 2, 0.0, ""


@lru_cache(4)
def _known(_out: FanOut, _pattern: str) -> dict[bytes, tuple[str | Unmatched, Number | str | Unmatched]]:
    """What a pattern found in answers, and what that means: each is read once, and none while a frame is drawn."""
    return {}


def _groups(out: FanOut, ranked: list[Answer], text: str) -> tuple[FanLine, ...]:
    """The groups by what a pattern found in the answers that were read, the likeliest first."""
    known = _known(out, text)
    groups: dict[Number | str | Unmatched, tuple[str | Unmatched, list[Answer]]] = {}
    for answer in ranked:
        if answer.text in known:
            as_written, meant = known[answer.text]
            groups.setdefault(meant, (as_written, []))[1].append(answer)
    lines = [FanLine(key, math.fsum(one.prob for one in some), some[0], len(some)) for key, some in groups.values()]
    return tuple(sorted(lines, key=lambda line: -line.prob))
