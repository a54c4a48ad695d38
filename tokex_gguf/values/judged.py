"""The tokens of a path that a lens cut, and what its constraint cost there, to be gone through in few steps.

They are looked at once, some at a time, and kept sorted: what is asked then costs no more in a long path.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from itertools import compress
from math import ceil, inf
from operator import attrgetter

from tokex_gguf.values.ranking import Notable
from tokex_gguf.values.record import record
from tokex_gguf.values.tree import Node, SortedValues
from tokex_gguf.values.view import NOT_CUT, Verdict

_DEPTH: Callable[[Node], int] = attrgetter("depth")
ONE_IN = 10
"""Of the tokens where a constraint cost something, so many count as one that is dear."""


@record
class Marked:
    """Some tokens of a path, such as those that were cut, by their depths."""

    depths: "array[int]"
    """The lowest first."""

    def __len__(self) -> int:
        return len(self.depths)

    def next(self, depth: int) -> int | None:
        """The nearest of them behind a depth; None where there is none."""
        place = bisect_right(self.depths, depth)
        return self.depths[place] if place < len(self.depths) else None

    def after(self, depth: int) -> int:
        """How many of them are behind a depth."""
        return len(self.depths) - bisect_right(self.depths, depth)

    def previous(self, depth: int) -> int | None:
        """The nearest of them before a depth; None where there is none."""
        place = bisect_left(self.depths, depth)
        return self.depths[place - 1] if place else None


class Judged:
    """What a lens made of a path's tokens, as far as they were looked at."""

    def __init__(self, tip: Node) -> None:
        """Begins at a path of which there is nothing to look at."""
        self.tip = tip
        """So far they were looked at."""
        self.unknown: dict[Node, None] = {}
        """Those of them that have no verdict yet, the first one first."""
        self._cut = array("l")
        self._costs = SortedValues(array("d"), array("l"))

    def beginning(self, tip: Node) -> "Judged":
        """The same of a beginning of the path, to go on from there elsewhere."""
        other, depth = Judged(tip), tip.depth
        known = map(depth.__ge__, map(_DEPTH, self.unknown))
        other.unknown = dict.fromkeys(compress(self.unknown, known))
        other._cut = self.cut(tip).depths
        other._costs = self._until(depth)
        return other

    def go_on(self, node: Node, verdict: Verdict | None) -> None:
        """Takes in the path's next token; None: its verdict comes later."""
        self.tip = node
        if verdict is None:
            self.unknown[node] = None
        else:
            self._add(node.depth, verdict)

    def settle(self, node: Node, verdict: Verdict) -> None:
        """Takes in a verdict that comes later, if it is one of a token here."""
        if node in self.unknown:
            del self.unknown[node]
            self._add(node.depth, verdict)

    def _add(self, depth: int, verdict: Verdict) -> None:
        if verdict.cut_by != NOT_CUT:
            insort(self._cut, depth)
        if (bits := verdict.cost_bits) > 0:
            place = self._costs.behind(-bits, depth)
            self._costs.values.insert(place, -bits)
            self._costs.depths.insert(place, depth)

    def _until(self, depth: int) -> SortedValues:
        """The costs up to a depth."""
        known = [*map(depth.__ge__, self._costs.depths)]
        return SortedValues(
            array("d", compress(self._costs.values, known)), array("l", compress(self._costs.depths, known))
        )

    def _run(self, tip: Node) -> SortedValues:
        """The costs of a path that begins this one or goes on from it."""
        return self._costs if tip.depth >= self.tip.depth else self._until(tip.depth)

    def cut(self, tip: Node) -> Marked:
        """The tokens that were cut, of a path that begins this one or goes on from it."""
        return Marked(self._cut[: bisect_right(self._cut, tip.depth)])

    def costliest(self, tip: Node) -> int | None:
        """The depth of the token where the constraint cost most, if it cost anything; of the same path."""
        depths = self._run(tip).depths
        return depths[0] if depths else None

    def place(self, tip: Node, bits: float) -> int:
        """The place that a cost has among them, from 1; equal ones share it."""
        return 1 + bisect_left(self._run(tip).values, -bits)

    def dear(self, tip: Node) -> Notable:
        """Of the tokens where the constraint cost something, the dearest ones; of the same path."""
        run = self._run(tip)
        count = ceil(len(run.values) / ONE_IN)
        return Notable([run], -run.values[count - 1] if count else inf)
