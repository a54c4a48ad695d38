r"""Matches of a regular expression in answers, to group these by. Pure.

>>> first = pattern_of(FIRST_NUMBER)
>>> [found(first, text) for text in ("She has 1,200 of them, not 12.", "COVID-19", "x = -5", "None.")]
['1,200', '19', '-5', None]
"""

import math
import re
from collections import deque
from collections.abc import Iterator
from functools import lru_cache, reduce
from typing import Any, NamedTuple

FIRST_NUMBER = r"(?:(?<![\w)\]])[-\u2212])?\d+(?:,\d{3}){0,9}(?:\.\d+)?"
"""A hyphen after a word, a number or a bracket is not a minus sign."""
LONGEST_PATTERN = 200
"""The most characters of a pattern."""
READ = 300
"""Characters of an answer that are searched."""
FEW_TIMES = 10
"""A repeat of more times counts as one without a limit."""
MOST_TRIES = 160_000_000
"""The most tries that a pattern may need for an answer; so many take half a second at the worst."""
_MOST_OPEN = 6
"""The most repeats without a limit that a pattern may have."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"([-+\u2212]?)0*([0-9]*)(?:\.([0-9]*?)0*)?")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_CHARACTERS = ("LITERAL", "NOT_LITERAL", "IN", "ANY")
_SLOW = 8.0
"""The extra cost of a lookahead, or of repeating more than a character, in tries of a character."""


@lru_cache(16)
def pattern_of(text: str) -> re.Pattern[str]:
    """Compiles a pattern. Raises ValueError with the reason in one line."""
    if not text:
        raise ValueError("a pattern has a character at the least")
    if len(text) > LONGEST_PATTERN:
        raise ValueError(f"a pattern has {LONGEST_PATTERN} characters at the most")
    try:
        pattern = re.compile(text)
        most = tries(pattern, READ)
    except (re.error, RecursionError, OverflowError) as error:
        reason = error.msg if isinstance(error, re.error) else "too deep, or too large a number"
        raise ValueError(f"this is no regular expression: {reason}") from None
    if most > MOST_TRIES:
        raise ValueError("this pattern could take for ever: too many repeats, or a choice inside a repeat")
    return pattern


def tries(pattern: re.Pattern[str], length: int) -> float:
    """The most tries of the parts of a pattern in a text of `length` characters.

    Raises ValueError where the pattern refers to one of its groups.
    """
    ways = _ways_of(pattern)
    return math.inf if ways.open > _MOST_OPEN else ways.cost * math.comb(min(length, READ) + ways.open, ways.open)


class _Ways(NamedTuple):
    """Upper bounds: in how many ways a pattern can match at one place, and how often its parts are tried."""

    open: int
    """Repeats without a limit: each takes any part of the remaining text."""
    factor: float
    """Ways for each choice of these parts."""
    cost: float
    """Tries for each choice of these parts."""

    @property
    def single(self) -> bool:
        """Whether it matches in one way at most; then its length is always the same."""
        return not self.open and self.factor == 1

    def then(self, other: "_Ways") -> "_Ways":
        """The ways of a pattern followed by another, which is tried for each way of the first."""
        return _Ways(self.open + other.open, self.factor * other.factor, self.cost + self.factor * other.cost)

    def either(self, other: "_Ways") -> "_Ways":
        """The ways of a choice between two patterns."""
        return _Ways(max(self.open, other.open), self.factor + other.factor, self.cost + other.cost)


_NOTHING = _Ways(0, 1.0, 0.0)


@lru_cache(16)
def _ways_of(pattern: re.Pattern[str]) -> _Ways:
    """The ways of a search: at each place of the text, unless the pattern is anchored to its start."""
    parsed = re._parser.parse(pattern.pattern)  # type: ignore[attr-defined]
    first = [str(argument) for _, argument in parsed[:1]]
    fixed = first == ["AT_BEGINNING_STRING"] or (first == ["AT_BEGINNING"] and not pattern.flags & re.MULTILINE)
    return _last(parsed, _Ways(0 if fixed else 1, 1.0, 1.0))


def _last(parsed: Any, before: _Ways) -> _Ways:
    """The ways of the last part of a pattern, after parts with the ways `before`.

    A repeat at the end matches as much as it can, and nothing fails after it: it is tried once, and not for each way of
    the parts before it.
    """
    parts, ends = list(parsed), list[Any]()
    while parts and _is_repeat(parts[-1]) and int(parts[-1][1][0]) == 0:
        ends.append(parts.pop())
    if parts and _is_repeat(parts[-1]) and int(parts[-1][1][0]) <= FEW_TIMES and _ways(parts[-1][1][2]).single:
        ends.append(parts.pop())
        least, _, repeated = ends[-1][1]
        # Its least number of matches is tried for each way of the parts before it.
        ways = before.then(_ways(parts)).then(_repeated(repeated, int(least), int(least)))
    elif parts and str(parts[-1][0]) == "SUBPATTERN":
        ways = _last(parts[-1][1][-1], before.then(_ways(parts[:-1])))
    else:
        ways = before.then(_ways(parts))
    return reduce(_Ways.either, (_ways([end]) for end in ends), ways)


def _is_repeat(part: Any) -> bool:
    return str(part[0]) in _REPEATS


def _ways(parsed: Any) -> _Ways:
    """The ways of a pattern that others may follow."""
    ways = _NOTHING
    for operation, argument in parsed:
        name = str(operation)
        if _is_repeat((operation, argument)):
            part_ways = _repeated(argument[2], int(argument[0]), int(argument[1]))
        elif name == "BRANCH":
            part_ways = reduce(_Ways.either, map(_ways, argument[1]))
        elif name.startswith("GROUPREF"):
            raise ValueError("this pattern refers to one of its groups, which could take for ever")
        elif name == "IN":
            part_ways = _Ways(0, 1.0, max(1, sum(map(_is_compared, argument))))
        else:
            cost = _SLOW if name.startswith("ASSERT") else 1.0
            part_ways = reduce(_Ways.then, map(_ways, _parts(argument)), _Ways(0, 1.0, cost))
        ways = ways.then(part_ways)
    return ways


def _is_compared(member: Any) -> bool:
    """Whether a member of a character set is compared separately, as it is not in the set's table."""
    name, argument = str(member[0]), member[1]
    return name == "CATEGORY" or (name == "LITERAL" and argument > 0xFFFF) or (name == "RANGE" and argument[1] > 0xFFFF)


def _repeated(parsed: Any, least: int, most: int) -> _Ways:
    """The ways of a pattern that is repeated."""
    once = _ways(parsed)
    if most > 1 and (len(parsed) != 1 or str(parsed[0][0]) not in _CHARACTERS):
        once = once._replace(cost=once.cost + _SLOW)
    elif 1 < most <= FEW_TIMES:
        once = once._replace(cost=3 * once.cost)  # repeats without a limit are quicker for each way
    if once.single and most <= FEW_TIMES:  # always the same match: only the number of times varies
        return _Ways(0, most - least + 1.0, most * once.cost + 1)
    if once.single and parsed.getwidth()[1]:
        return _Ways(1, 1.0, once.cost + 1)
    if most > FEW_TIMES:  # an empty match does not end with the text
        return _Ways(0, math.inf, math.inf)
    # A repeat without a limit that is left out takes no text: such ways are few.
    part = _MOST_OPEN / READ if once.open else 1.0
    ways, fewer = _NOTHING, 0.0
    for times in range(most):
        fewer += part * ways.factor if times >= least else 0.0
        ways = ways.then(once)
    return _Ways(ways.open, ways.factor + fewer, ways.cost + ways.factor + fewer)


def _parts(argument: Any) -> Iterator[Any]:
    """The patterns in the argument of an operation."""
    if isinstance(argument, re._parser.SubPattern):  # type: ignore[attr-defined]
        yield argument
    elif isinstance(argument, tuple | list):
        for one in argument:
            yield from _parts(one)


def found(pattern: re.Pattern[str], text: str) -> str | None:
    """The first match of a pattern, or its first group; None: no match."""
    match = pattern.search(text[:READ])
    return None if match is None else _group_of(match, pattern)


def found_last(pattern: re.Pattern[str], text: str) -> str | None:
    """The last match of a pattern near the end of a text, or its first group; None: no match.

    >>> found_last(pattern_of(FIRST_NUMBER), "48+24 = 72 clips"), found_last(pattern_of(FIRST_NUMBER), "none")
    ('72', None)
    """
    last = deque(pattern.finditer(text[-READ:]), maxlen=1)
    return _group_of(last[0], pattern) if last else None


class Number(NamedTuple):
    """A number in normal form: equal numbers have equal digits."""

    digits: str


def meaning(text: str) -> Number | str:
    """The meaning of a match: its number in normal form, else the text.

    >>> meaning("1,200") == meaning("1200.00"), meaning("72") == meaning("72.5"), meaning("1,2")
    (True, False, '1,2')
    >>> meaning("-0.0") == meaning("0"), meaning("+007.50"), meaning("."), meaning("x")
    (True, Number(digits='7.5'), '.', 'x')
    """
    match = _NUMBER.fullmatch(_THOUSANDS.sub("", text))
    if match is None or not any(map(str.isdigit, text)):
        return text
    sign, whole, part = match[1], match[2], match[3] or ""
    digits = f"{whole or 0}.{part}" if part else whole or "0"
    return Number(f"-{digits}" if sign in ("-", "\u2212") and (whole or part) else digits)


def _group_of(match: re.Match[str], pattern: re.Pattern[str]) -> str:
    return match[1] if pattern.groups and match[1] is not None else match[0]
