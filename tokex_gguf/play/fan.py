"""A search for answers by fan-out: its budget, and how its answers are listed."""

import math
from collections.abc import Iterable
from dataclasses import field
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from tokex_gguf.values.fan_out import Answer, Budget, FanOut
from tokex_gguf.values.grouping import FIRST_NUMBER, Number, found, meaning, pattern_of, tries
from tokex_gguf.values.record import record

KEPT_FAN_OUTS = 8
"""The number of fan-outs that a game keeps, the latest ones."""


class Unmatched(Enum):
    """The key of a group of answers that a pattern does not match."""

    NOTHING = "nothing found"


MAX_TRIES = 1_000_000
"""The most tries of a pattern with one message: 20 ms at the worst, or a single answer."""
MAX_ANSWERS_READ = 200
"""The most answers that one message reads."""


class Matches:
    """A pattern's matches in answers. Each answer is read once, and never while drawing."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        """A valid regular expression."""
        self.found: dict[bytes, tuple[str | Unmatched, Number | str | Unmatched]] = {}
        """By the answer's text: the match as it is written, and what it means."""

    def read_on(self, answers: Iterable[Answer]) -> bool:
        """Looks for the pattern in a few more answers; returns whether all are done."""
        pattern, tries_left, count = pattern_of(self.pattern), MAX_TRIES, 0
        for answer in answers:
            if answer.text in self.found:
                continue
            if tries_left <= 0 or count == MAX_ANSWERS_READ:
                return False
            key = found(pattern, answer.text.decode("utf-8", "replace"))
            self.found[answer.text] = (Unmatched.NOTHING, Unmatched.NOTHING) if key is None else (key, meaning(key))
            tries_left, count = tries_left - int(tries(pattern, len(answer.text))), count + 1
        return True


TOKEN_BUDGETS = (100, 300, 1_000, 3_000, 10_000)
"""Budgets that keys choose from."""


class FanState(Enum):
    """The state of a fan-out, in the words of the screen."""

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
    """A fan-out, its budget, and how it is shown."""

    out: FanOut
    budget: Budget = Budget()
    paused: bool = False
    fault: str = ""
    """Why the engine refused a request."""
    due: bool = False
    """Whether a `SearchFurther` is on its way, which expands more known paths."""
    by_token: bool = False
    """Whether answers are sorted by their first token."""
    by_match: bool = False
    """Whether groups are sorted by the pattern's match."""
    grouped: bool = False
    matches: Matches = field(default_factory=lambda: Matches(FIRST_NUMBER))
    """Of the regular expression to group by."""
    at: bytes | str | Unmatched | None = None
    """The selected answer's text, or the selected group; None: the first line."""

    @property
    def pattern(self) -> str:
        """The regular expression to group by."""
        return self.matches.pattern

    @property
    def by_text(self) -> bool:
        """Whether what is listed is sorted by its text, and not by probability."""
        return self.by_match if self.grouped else self.by_token

    @property
    def state(self) -> FanState:
        """The state of the fan-out."""
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
    """The answer's text, or the group's match in its likeliest answer."""
    prob: float
    """The probability of the answer, or of all in the group."""
    answer: Answer
    """The answer, or the likeliest of the group."""
    size: int = 1
    """How many answers the group has."""


class FanLines(NamedTuple):
    """The lines of the list of the likeliest answers, and the index of each."""

    lines: tuple[FanLine, ...]
    places: dict[bytes | Number | str | Unmatched, int]
    """Line indices by the meanings of the keys."""


def rows(fan: Fan) -> FanLines:
    """The lines of a fan-out's list, cached until more paths are expanded."""
    matches = fan.matches if fan.grouped else None
    fan_lines = _rows(fan.out, fan.out.looked, fan.by_text, matches, len(matches.found) if matches else 0)
    if isinstance(fan.at, bytes) and not fan.grouped and fan.at not in fan_lines.places:
        return _with(fan.out, fan.out.looked, fan.by_text, fan.at)  # likelier answers came
    return fan_lines


def read_on(fan: Fan) -> bool:
    """Matches the pattern in a few more answers, where they are grouped; returns whether all are done."""
    return not fan.grouped or fan.matches.read_on(fan.out.likeliest())


def selected(fan: Fan) -> int:
    """The selected line."""
    return 0 if fan.at is None else rows(fan).places.get(_meant(fan.at), 0)


@lru_cache(4)
def _rows(out: FanOut, _looked: int, by_text: bool, matches: Matches | None, _read: int) -> FanLines:
    likely = out.likeliest()
    if matches:
        lines = _groups(likely, matches)
        if by_text:
            lines = tuple(sorted(lines, key=in_order))
    elif by_text:
        lines = _by_first(likely)
    else:
        lines = tuple(map(_row, likely))
    return FanLines(lines, {_meant(line.key): place for place, line in enumerate(lines)})


def _meant(key: bytes | str | Unmatched) -> bytes | Number | str | Unmatched:
    """The meaning of a key: one number may be written in several ways."""
    return meaning(key) if isinstance(key, str) else key


@lru_cache(4)
def _with(out: FanOut, looked: int, by_text: bool, text: bytes) -> FanLines:
    """The lines, and after them the selected answer, which is not among the likeliest any more."""
    fan_lines, answer = _rows(out, looked, by_text, None, 0), out.answer(text)
    if answer is None:
        return fan_lines
    return FanLines((*fan_lines.lines, _row(answer)), {**fan_lines.places, text: len(fan_lines.lines)})


def _row(answer: Answer) -> FanLine:
    return FanLine(answer.text, answer.prob, answer)


def _by_first(ranked: list[Answer]) -> tuple[FanLine, ...]:
    """The lines grouped by their first token, the likeliest first token first."""
    firsts: dict[int, list[Answer]] = {}
    for answer in ranked:
        firsts.setdefault(answer.best.first, []).append(answer)
    groups = sorted(firsts.values(), key=lambda answers: -math.fsum(answer.prob for answer in answers))
    return tuple(_row(answer) for answers in groups for answer in answers)


def in_order(line: FanLine) -> tuple[int, float, str]:
    """Sort key: numbers by their size, then other texts by the alphabet, then answers without a match."""
    match _meant(line.key):
        case Number(digits):
            return 0, float(digits), ""
        case str(text):
            return 1, 0.0, text
        case _:
            return 2, 0.0, ""


def _groups(ranked: list[Answer], matches: Matches) -> tuple[FanLine, ...]:
    """The groups by the pattern's matches in the answers read so far, the likeliest first."""
    groups: dict[Number | str | Unmatched, tuple[str | Unmatched, list[Answer]]] = {}
    for answer in ranked:
        if answer.text in matches.found:
            as_written, meant = matches.found[answer.text]
            groups.setdefault(meant, (as_written, []))[1].append(answer)
    lines = [
        FanLine(key, math.fsum(answer.prob for answer in answers), answers[0], len(answers))
        for key, answers in groups.values()
    ]
    return tuple(sorted(lines, key=lambda line: -line.prob))
