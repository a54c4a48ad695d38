"""Alignment of two paths: which tokens both have, by id and in order. Pure."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import Match, SequenceMatcher
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

from tokex_gguf.values.record import record
from tokex_gguf.values.sequence import common_prefix

LARGEST_PRODUCT = 60_000
"""Tokens of one part times tokens of the other, up to which all tokens are matched."""
GRAMS = (8, 3, 1)
"""In larger parts, anchors are sought: so many tokens in a row that each part has exactly once."""


class CommonBlock(NamedTuple):
    """Consecutive tokens that both have."""

    a: int
    """The position of the first in A."""
    b: int
    size: int

    @property
    def reverse(self) -> "CommonBlock":
        """The same with B in the place of A."""
        return CommonBlock(self.b, self.a, self.size)


@record(slots=False, eq=False)
class Alignment:
    """The tokens that two paths, A and B, have in common. Positions start at 0."""

    blocks: tuple[CommonBlock, ...]
    """In order, each as long as it can be."""
    a: int
    """Tokens of A."""
    b: int
    rough: bool = False
    """Whether a part was too long to match every token: more could be the same."""

    @cached_property
    def _starts(self) -> list[int]:
        """The positions of the blocks in A."""
        return [block.a for block in self.blocks]

    @cached_property
    def _sums(self) -> list[int]:
        """By block, the tokens in all blocks before it."""
        return [0, *accumulate(block.size for block in self.blocks)]

    @cached_property
    def _gaps(self) -> dict[int, int]:
        """By position in A, how many tokens right before it only B has; without zeros."""
        ends = [0, *(block.b + block.size for block in self.blocks)]
        begins = [*self.blocks, CommonBlock(self.a, self.b, 0)]
        return {block.a: block.b - end for block, end in zip(begins, ends, strict=True) if block.b > end}

    @property
    def same(self) -> int:
        """How many tokens both have."""
        return self.shared_before(self.a)

    def shared_before(self, position: int) -> int:
        """How many tokens of A before a position are in B."""
        index = self._block(position - 1)
        if index < 0:
            return 0
        block = self.blocks[index]
        return self._sums[index] + min(block.size, position - block.a)

    def partner(self, position: int) -> int | None:
        """The position in B of A's token at a position; None where B lacks it.

        >>> alignment = aligned([1, 2, 3], [1, 9, 3])
        >>> [alignment.partner(position) for position in range(3)]
        [0, None, 2]
        """
        index = self._block(position)
        if index < 0:
            return None
        block = self.blocks[index]
        offset = position - block.a
        return block.b + offset if offset < block.size else None

    def missing_before(self, position: int) -> int:
        """How many tokens B has, and A lacks, right before A's token at a position; `a`: at the end.

        >>> aligned([1, 3], [1, 9, 9, 3, 4]).missing_before(1)
        2
        """
        return self._gaps.get(position, 0)

    def with_prefix(self, common: int) -> "Alignment":
        """The alignment after a common prefix of `common` tokens is put before both paths."""
        moved = [CommonBlock(a + common, b + common, size) for a, b, size in self.blocks]
        blocks = _joined([CommonBlock(0, 0, common), *moved]) if common else moved
        return Alignment(tuple(blocks), self.a + common, self.b + common, self.rough)

    @property
    def reverse(self) -> "Alignment":
        """The same with B in the place of A."""
        return Alignment(tuple(block.reverse for block in self.blocks), self.b, self.a, self.rough)

    def _block(self, position: int) -> int:
        """The index of the last block that starts at or before a position of A; -1: none."""
        return bisect_right(self._starts, position) - 1


def aligned(a: list[int], b: list[int]) -> Alignment:
    """Aligns two paths. A common prefix or suffix takes little time, however long it is.

    In the other order, the same tokens are matched.

    >>> aligned([1, 2, 1], [2, 1, 2]).reverse.blocks == aligned([2, 1, 2], [1, 2, 1]).blocks
    True
    """
    return _aligned(a, b) if a <= b else _aligned(b, a).reverse


def _aligned(a: list[int], b: list[int]) -> Alignment:
    blocks, rough = [], False
    waiting = [(0, len(a), 0, len(b))]
    while waiting:
        low, high, start, end = waiting.pop()
        same = common_prefix(a[low:high], b[start:end])
        blocks.append(CommonBlock(low, start, same))
        low, start = low + same, start + same
        same = common_prefix(a[low:high][::-1], b[start:end][::-1])
        high, end = high - same, end - same
        blocks.append(CommonBlock(high, end, same))
        if low == high or start == end:
            continue
        if (high - low) * (end - start) <= LARGEST_PRODUCT:
            blocks += [CommonBlock(low + x, start + y, size) for x, y, size in _matches(a[low:high], b[start:end])]
            continue
        anchors = _anchors(a[low:high], b[start:end])
        if not anchors:
            rough = True
            continue
        # Each anchor begins a part, so that equal tokens after it are found with it.
        places = [(low, start), *((low + x, start + y) for x, y in anchors), (high, end)]
        waiting += [(x, next_x, y, next_y) for (x, y), (next_x, next_y) in pairwise(places)]
    return Alignment(tuple(_joined(sorted(block for block in blocks if block.size))), len(a), len(b), rough)


def _matches(a: list[int], b: list[int]) -> list[CommonBlock]:
    """The tokens that two short parts have in common, by the order of both that matches more."""
    one, other = ([CommonBlock(*block) for block in _matching_blocks(*pair)] for pair in ((a, b), (b, a)))
    if sum(block.size for block in other) > sum(block.size for block in one):
        return [block.reverse for block in other]
    return one


def _matching_blocks(a: list[int], b: list[int]) -> list[Match]:
    return SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()


def quick(a: list[int], b: list[int], most: int) -> bool:
    """Whether at most `most` tokens are between the common prefix and suffix, so that aligning is quick."""
    start = common_prefix(a, b)
    end = common_prefix(a[start:][::-1], b[start:][::-1])
    return len(a) + len(b) - 2 * (start + end) <= most


def _anchors(a: list[int], b: list[int]) -> list[tuple[int, int]]:
    """Positions of equal runs of tokens that neither path has twice; in order in both."""
    for size in GRAMS:
        in_a, in_b = _once(a, size), _once(b, size)
        if anchors := _rising([(place, in_b[gram]) for gram, place in in_a.items() if gram in in_b]):
            return anchors
    return []


def _once(tokens: list[int], size: int) -> dict[tuple[int, ...], int]:
    """The runs of `size` tokens that occur once, with their positions, in order."""
    grams = list(zip(*(tokens[offset:] for offset in range(size)), strict=False))
    counts = Counter(grams)
    return {gram: place for place, gram in enumerate(grams) if counts[gram] == 1}


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest subsequence with rising second numbers, of pairs whose first numbers rise."""
    last: list[int] = []  # by length, the last second number of the best subsequence
    ends: list[int] = []  # and its index
    before: list[int] = []
    for index, (_, second) in enumerate(pairs):
        place = bisect_left(last, second)
        before.append(ends[place - 1] if place else -1)
        last[place : place + 1], ends[place : place + 1] = [second], [index]
    row = []
    index = ends[-1] if ends else -1
    while index >= 0:
        row.append(pairs[index])
        index = before[index]
    return row[::-1]


def _joined(blocks: Iterable[CommonBlock]) -> Iterator[CommonBlock]:
    """Joins blocks that directly follow each other."""
    current: CommonBlock | None = None
    for block in blocks:
        if current and (current.a + current.size, current.b + current.size) == (block.a, block.b):
            current = CommonBlock(current.a, current.b, current.size + block.size)
            continue
        if current:
            yield current
        current = block
    if current:
        yield current
