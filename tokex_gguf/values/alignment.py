"""Which tokens of one path are the same as those of another: by their ids, in order. Pure."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

from tokex_gguf.values.record import record
from tokex_gguf.values.sequence import common_prefix

CELLS = 60_000
"""Tokens of one part times those of the other, up to which each is looked for in the other."""
GRAMS = (8, 3, 1)
"""Of larger parts, so many tokens in a row are looked for that both have once."""


class CommonBlock(NamedTuple):
    """Tokens that both have, without a gap."""

    a: int
    """The position of the first one in A."""
    b: int
    size: int


@record(slots=False, eq=False)
class Alignment:
    """What two paths, A and B, have in common. Positions begin at 0."""

    blocks: tuple[CommonBlock, ...]
    """In order, each as long as it can be."""
    a: int
    """Tokens of A."""
    b: int
    rough: bool = False
    """Whether a part was too long to look for every token of it: more could be the same."""

    @cached_property
    def _starts(self) -> list[int]:
        """Where the blocks begin in A."""
        return [block.a for block in self.blocks]

    @cached_property
    def _sums(self) -> list[int]:
        """How many tokens the blocks before each one have."""
        return [0, *accumulate(block.size for block in self.blocks)]

    @cached_property
    def _gaps(self) -> dict[int, int]:
        """By the positions in A, how many tokens B has right before them and A lacks; 0 is left out."""
        ends = [0, *(block.b + block.size for block in self.blocks)]
        begins = [*self.blocks, CommonBlock(self.a, self.b, 0)]
        return {block.a: block.b - end for block, end in zip(begins, ends, strict=True) if block.b > end}

    @property
    def same(self) -> int:
        """How many tokens both have."""
        return self.shared_before(self.a)

    def shared_before(self, position: int) -> int:
        """How many tokens of A before a position B has, too."""
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

    def behind(self, common: int) -> "Alignment":
        """The alignment of two paths that have so many tokens in common before these."""
        moved = [CommonBlock(a + common, b + common, size) for a, b, size in self.blocks]
        blocks = _joined([CommonBlock(0, 0, common), *moved]) if common else moved
        return Alignment(tuple(blocks), self.a + common, self.b + common, self.rough)

    def _block(self, position: int) -> int:
        """The last block that begins at a position of A or before; -1: none does."""
        return bisect_right(self._starts, position) - 1


def aligned(a: list[int], b: list[int]) -> Alignment:
    """Aligns two paths. What they begin and end with alike is found at once, however long it is."""
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
        if (high - low) * (end - start) <= CELLS:
            found = SequenceMatcher(None, a[low:high], b[start:end], autojunk=False).get_matching_blocks()
            blocks += [CommonBlock(low + one.a, start + one.b, one.size) for one in found]
            continue
        anchors = _anchors(a[low:high], b[start:end])
        if not anchors:
            rough = True
            continue
        # Each anchor begins a part, so that what follows it alike is found with it.
        places = [(low, start), *((low + x, start + y) for x, y in anchors), (high, end)]
        waiting += [(x, then_x, y, then_y) for (x, y), (then_x, then_y) in pairwise(places)]
    return Alignment(tuple(_joined(sorted(block for block in blocks if block.size))), len(a), len(b), rough)


def quick(a: list[int], b: list[int], most: int) -> bool:
    """Whether there is so little between what two paths begin and end with alike that they are aligned in no time."""
    start = common_prefix(a, b)
    end = common_prefix(a[start:][::-1], b[start:][::-1])
    return len(a) + len(b) - 2 * (start + end) <= most


def _anchors(a: list[int], b: list[int]) -> list[tuple[int, int]]:
    """Places where both have the same tokens in a row, which neither has twice; in order in both."""
    for size in GRAMS:
        in_a, in_b = _once(a, size), _once(b, size)
        if found := _rising([(place, in_b[gram]) for gram, place in in_a.items() if gram in in_b]):
            return found
    return []


def _once(tokens: list[int], size: int) -> dict[tuple[int, ...], int]:
    """What so many tokens in a row there are once, and where, from the first to the last."""
    grams = list(zip(*(tokens[offset:] for offset in range(size)), strict=False))
    counts = Counter(grams)
    return {gram: place for place, gram in enumerate(grams) if counts[gram] == 1}


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of pairs whose first numbers rise, the most that there are with rising second ones, too."""
    last: list[int] = []  # of the best row of each length, the second number it ends with
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
    """Blocks without those that go on where another one ends."""
    now: CommonBlock | None = None
    for block in blocks:
        if now and (now.a + now.size, now.b + now.size) == (block.a, block.b):
            now = CommonBlock(now.a, now.b, now.size + block.size)
            continue
        if now:
            yield now
        now = block
    if now:
        yield now
