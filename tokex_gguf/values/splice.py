"""Splices: replacing tokens in the middle of a path and keeping the tokens after them. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from tokex_gguf.values.sequence import common_prefix


class Splice(NamedTuple):
    """The tokens that replace those at positions `start` to before `end`."""

    start: int
    end: int
    tokens: list[int]


def by_ids(old: list[int], new: list[int]) -> Splice:
    """The shortest splice that turns one path into another.

    >>> by_ids([1, 2, 3, 4], [1, 5, 6, 4])
    Splice(start=1, end=3, tokens=[5, 6])
    """
    start = common_prefix(old, new)
    suffix = min(common_prefix(old[::-1], new[::-1]), len(old) - start, len(new) - start)
    return Splice(start, len(old) - suffix, new[start : len(new) - suffix])


def by_text(old: list[int], new: list[int], data: Callable[[int], bytes]) -> Splice:
    """A splice of `old` that gives it the text of `new`.

    The texts' common prefix and suffix keep the tokens of `old`, as far as both paths have a token boundary at the same
    byte. The tokens between are those of `new`.

    >>> text = {1: b"ab", 2: b"a", 3: b"b", 4: b"c", 5: b"d"}
    >>> by_text([2, 3, 4, 2, 3], [1, 5, 1], text.__getitem__)
    Splice(start=2, end=3, tokens=[5])
    """
    before, after = (b"".join(map(data, path)) for path in (old, new))
    ends, others = (list(accumulate((len(data(token)) for token in path), initial=0)) for path in (old, new))
    same = common_prefix(before, after)
    suffix = min(common_prefix(before[::-1], after[::-1]), len(before) - same, len(after) - same)
    shared, longer = set(others), len(after) - len(before)
    start = bisect_right(ends, same) - 1
    while ends[start] not in shared:
        start -= 1
    first = bisect_right(others, ends[start]) - 1
    end = max(start, bisect_left(ends, len(before) - suffix))
    while ends[end] + longer not in shared:
        end += 1
    last = max(first, bisect_left(others, ends[end] + longer))
    return Splice(start, end, new[first:last])


def starting_before(tokens: Sequence[bytes], offset: int) -> int:
    """How many tokens start before a byte of their text.

    >>> starting_before([b"ab", b"c"], 1), starting_before([b"ab", b"c"], 2), starting_before([b"ab", b"c"], 9)
    (1, 1, 2)
    """
    begins = accumulate(map(len, tokens[:-1]), initial=0) if tokens else ()
    return sum(begin < offset for begin in begins)


def unspelled(pieces: Sequence[bytes], *, begins: bool) -> bool:
    r"""Whether a part of a path is invalid UTF-8. It may end inside a character.

    `begins`: whether it is the start of the path; else it may also start inside a character.

    >>> unspelled([b"\x82", b"a", b"\xf0"], begins=False), unspelled([b"\xf0", b"a"], begins=False)
    (False, True)
    """
    text = _from_character(b"".join(pieces)) if not begins else b"".join(pieces)
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.reason != "unexpected end of data"
    return False


def unfinished(pieces: Sequence[bytes]) -> bool:
    r"""Whether a part of a path, which may start inside a character, ends inside one.

    >>> unfinished([b"\x82", b"\xf0"]), unfinished([b"\xf0", b"a"])
    (True, False)
    """
    try:
        _from_character(b"".join(pieces)).decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def _from_character(text: bytes) -> bytes:
    """The text without the rest of a character that began before it, which has at most three bytes."""
    return text[next((place for place in range(min(3, len(text))) if text[place] & 0xC0 != 0x80), 3) :]
