"""A path's tokens by how many bits likelier A makes them than B.

Each token is added once, and the values stay sorted: a query takes no longer in a long path.
"""

import math
from array import array
from bisect import bisect_left, bisect_right, insort

from tokex_gguf.values.judged import Marked
from tokex_gguf.values.tree import SortedValues


class Deltas:
    """The compared tokens of a path, by depth."""

    def __init__(self) -> None:
        self._depths = array("l")
        self._bits = array("d")
        """Parallel to the depths."""
        self._sizes = SortedValues(array("d"), array("l"))
        """Absolute values, the greatest first."""
        self._flips = array("l")
        self._total: tuple[int, float] = (0, 0.0)
        """How many were summed, and their sum."""

    def __len__(self) -> int:
        return len(self._depths)

    def add(self, depth: int, bits: float, *, flip: bool) -> None:
        """Adds a token, unless it was added before. `flip`: whether A and B differ in the most likely token there."""
        place = bisect_left(self._depths, depth)
        if self._depths[place : place + 1] == array("l", [depth]):
            return
        self._depths.insert(place, depth)
        self._bits.insert(place, bits)
        at = self._sizes.index_after(-abs(bits), depth)
        self._sizes.values.insert(at, -abs(bits))
        self._sizes.depths.insert(at, depth)
        if flip:
            insort(self._flips, depth)

    def cut(self, depth: int) -> None:
        """Drops the tokens after a depth."""
        place = bisect_right(self._depths, depth)
        if place == len(self._depths):
            return
        del self._depths[place:], self._bits[place:], self._flips[bisect_right(self._flips, depth) :]
        self._sizes = SortedValues.of([*zip(map(abs, self._bits), self._depths, strict=True)])
        self._total = (0, 0.0)

    @property
    def total(self) -> float:
        """The sum in bits."""
        count, total = self._total
        if count != len(self._bits):
            # Infinities of both signs have no sum.
            finite = math.inf not in self._bits or -math.inf not in self._bits
            total = math.fsum(self._bits) if finite else math.nan
            self._total = (len(self._bits), total)
        return total

    def greatest(self, depth: int | None, direction: int = 1) -> int | None:
        """The depth of the next token in order of size after the one at `depth`; None: the greatest.

        None after the last. Equal ones are in path order. `direction` -1: the one before.
        """
        if depth is None:
            return self._sizes.depths[0] if len(self) else None
        bits = self.bits(depth)
        if bits is None:  # not compared: start from the greatest
            return self.greatest(None)
        place = self._sizes.index_after(-abs(bits), depth) - 1 + direction
        return self._sizes.depths[place] if 0 <= place < len(self) else None

    def bits(self, depth: int) -> float | None:
        """The value of the token at a depth; None where it was not compared."""
        place = bisect_left(self._depths, depth)
        return self._bits[place] if self._depths[place : place + 1] == array("l", [depth]) else None

    def place(self, bits: float) -> int:
        """The rank of a value by size, from 1; equal ones share it."""
        return 1 + bisect_left(self._sizes.values, -abs(bits))

    @property
    def flips(self) -> Marked:
        """The tokens where A and B differ in the most likely token."""
        return Marked(self._flips)
