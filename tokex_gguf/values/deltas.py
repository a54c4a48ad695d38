"""By how many bits each of a path's tokens is likelier by A than by B, to be gone through in few steps.

They are looked at once and kept sorted: what is asked then costs no more in a long path.
"""

import math
from array import array
from bisect import bisect_left, bisect_right, insort

from tokex_gguf.values.judged import Marked
from tokex_gguf.values.tree import SortedValues


class Deltas:
    """The tokens of a path that were looked at, by their depths."""

    def __init__(self) -> None:
        self._depths = array("l")
        self._bits = array("d")
        """Of each of them, in the path's order."""
        self._sizes = SortedValues(array("d"), array("l"))
        """The same without their signs, the greatest change first."""
        self._flips = array("l")
        self._total: tuple[int, float] = (0, 0.0)
        """The sum, and of how many."""

    def __len__(self) -> int:
        return len(self._depths)

    def add(self, depth: int, bits: float, *, flip: bool) -> None:
        """Takes in a token; nothing where that is done. `flip`: another one is the most likely in its place."""
        place = bisect_left(self._depths, depth)
        if self._depths[place : place + 1] == array("l", [depth]):
            return
        self._depths.insert(place, depth)
        self._bits.insert(place, bits)
        at = self._sizes.behind(-abs(bits), depth)
        self._sizes.values.insert(at, -abs(bits))
        self._sizes.depths.insert(at, depth)
        if flip:
            insort(self._flips, depth)

    def cut(self, depth: int) -> None:
        """Forgets the tokens behind a depth."""
        place = bisect_right(self._depths, depth)
        if place == len(self._depths):
            return
        del self._depths[place:], self._bits[place:], self._flips[bisect_right(self._flips, depth) :]
        self._sizes = SortedValues.of([*zip(map(abs, self._bits), self._depths, strict=True)])
        self._total = (0, 0.0)

    @property
    def total(self) -> float:
        """All of them together, in bits."""
        count, total = self._total
        if count != len(self._bits):
            # Infinities of both signs have no sum.
            finite = math.inf not in self._bits or -math.inf not in self._bits
            total = math.fsum(self._bits) if finite else math.nan
            self._total = (len(self._bits), total)
        return total

    def greatest(self, depth: int | None, direction: int = 1) -> int | None:
        """The token whose change comes after that at a depth in the order of their sizes, the greatest for None.

        None where there is none. Of equal ones the first in the path goes first. `direction` -1: the one before.
        """
        if depth is None:
            return self._sizes.depths[0] if len(self) else None
        bits = self.bits(depth)
        if bits is None:  # none of them is there: from the beginning
            return self.greatest(None)
        place = self._sizes.behind(-abs(bits), depth) - 1 + direction
        return self._sizes.depths[place] if 0 <= place < len(self) else None

    def bits(self, depth: int) -> float | None:
        """The change of the token at a depth; None where it was not looked at."""
        place = bisect_left(self._depths, depth)
        return self._bits[place] if self._depths[place : place + 1] == array("l", [depth]) else None

    def place(self, bits: float) -> int:
        """The place that a change has among them by its size, from 1; equal ones share it."""
        return 1 + bisect_left(self._sizes.values, -abs(bits))

    @property
    def flips(self) -> Marked:
        """Those in whose place another token is the most likely."""
        return Marked(self._flips)
