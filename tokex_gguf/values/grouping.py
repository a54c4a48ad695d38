r"""What a regular expression finds in answers, to group them by. Pure.

>>> found(pattern_of(FIRST_NUMBER), "She has 1,200 of them, not 12."), found(pattern_of(FIRST_NUMBER), "None.")
('1,200', None)
"""

import re
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

FIRST_NUMBER = r"-?\d+(?:,\d{3}){0,9}(?:\.\d+)?"
LONGEST = 200
"""Characters of a pattern at the most."""
READ = 300
"""Characters of an answer that are looked at."""
OPEN = 3
"""Repeats without an end that a pattern may have: with each, the time that it takes may grow by a factor of `READ`."""
FEW = 10
"""Times up to which a repeat counts as one with an end."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"([-+]?)0*([0-9]*)(?:\.([0-9]*?)0*)?")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


@lru_cache(16)
def pattern_of(text: str) -> re.Pattern[str]:
    """The pattern that a text is. Raises ValueError with what is wrong, in one line."""
    if not text:
        raise ValueError("a pattern has a character at the least")
    if len(text) > LONGEST:
        raise ValueError(f"a pattern has {LONGEST} characters at the most")
    try:
        pattern = re.compile(text)
        parsed = re._parser.parse(text)  # type: ignore[attr-defined]
    except (re.error, RecursionError, OverflowError) as error:
        reason = error.msg if isinstance(error, re.error) else "too deep, or too large a number"
        raise ValueError(f"this is no regular expression: {reason}") from None
    counts = list(_open(parsed, inside=False))
    if any(counts) or len(counts) > OPEN:
        raise ValueError("this pattern could take for ever: no repeat inside a repeat, and not more than three")
    return pattern


def _open(parsed: Any, *, inside: bool) -> Iterator[bool]:
    """For each repeat without an end, and each group that is referred to, whether it is inside of another such."""
    for operation, argument in parsed:
        repeats = str(operation) in _REPEATS and int(argument[1]) > FEW
        if repeats:
            yield inside
        if str(operation) in ("GROUPREF", "GROUPREF_EXISTS"):
            yield True
        for part in _parts(argument):
            yield from _open(part, inside=inside or repeats)


def _parts(argument: Any) -> Iterator[Any]:
    """The patterns in the argument of an operation."""
    if isinstance(argument, re._parser.SubPattern):  # type: ignore[attr-defined]
        yield argument
    elif isinstance(argument, tuple | list):
        for one in argument:
            yield from _parts(one)


def found(pattern: re.Pattern[str], text: str) -> str | None:
    """What a pattern finds first: its first group, where it has one; None: nothing."""
    match = pattern.search(text[:READ])
    return None if match is None else _of(match, pattern)


def found_last(pattern: re.Pattern[str], text: str) -> str | None:
    """What a pattern finds last, near the end of a text: its first group, where it has one; None: nothing.

    >>> found_last(pattern_of(FIRST_NUMBER), "48+24 = 72 clips"), found_last(pattern_of(FIRST_NUMBER), "none")
    ('72', None)
    """
    last = deque(pattern.finditer(text[-READ:]), maxlen=1)
    return _of(last[0], pattern) if last else None


class Number(NamedTuple):
    """A number, written in the one way that equal ones share, however many digits they have."""

    digits: str


def meaning(text: str) -> Number | str:
    """What a text that was found says: the number that it is, however that is written; else the text.

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
    return Number(f"-{digits}" if sign == "-" and (whole or part) else digits)


def _of(match: re.Match[str], pattern: re.Pattern[str]) -> str:
    return match[1] if pattern.groups and match[1] is not None else match[0]
