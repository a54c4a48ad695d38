"""A path's tokens by a lens's verdicts: which were cut, and what the constraint cost at each.

Each token is read once, in pieces, and the results stay sorted: a query takes no longer in a long path.
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
"""One in so many of the tokens with a cost counts as dear."""


@record
class Marked:
    """Some tokens of a path, such as the cut ones, by their depths."""

    depths: "array[int]"
    """The lowest first."""

    def __len__(self) -> int:
        return len(self.depths)

    def next(self, depth: int) -> int | None:
        """The nearest after a depth; None where there is none."""
        place = bisect_right(self.depths, depth)
        return self.depths[place] if place < len(self.depths) else None

    def after(self, depth: int) -> int:
        """How many are after a depth."""
        return len(self.depths) - bisect_right(self.depths, depth)

    def previous(self, depth: int) -> int | None:
        """The nearest before a depth; None where there is none."""
        place = bisect_left(self.depths, depth)
        return self.depths[place - 1] if place else None


class Judged:
    """A lens's verdicts on a path's tokens, as far as they were read."""

    def __init__(self, tip: Node) -> None:
        """Starts after `tip`, none of whose tokens has a verdict."""
        self.tip = tip
        """The last token that was read."""
        self.unknown: dict[Node, None] = {}
        """Tokens without a verdict yet, in path order."""
        self._cut = array("l")
        self._costs = SortedValues(array("d"), array("l"))

    def beginning(self, tip: Node) -> "Judged":
        """A copy for a prefix of the path, to continue on another branch."""
        other, depth = Judged(tip), tip.depth
        in_prefix = map(depth.__ge__, map(_DEPTH, self.unknown))
        other.unknown = dict.fromkeys(compress(self.unknown, in_prefix))
        other._cut = self.cut(tip).depths
        other._costs = self._until(depth)
        return other

    def go_on(self, node: Node, verdict: Verdict | None) -> None:
        """Adds the path's next token; None: its verdict comes later."""
        self.tip = node
        if verdict is None:
            self.unknown[node] = None
        else:
            self._add(node.depth, verdict)

    def settle(self, node: Node, verdict: Verdict) -> None:
        """Adds a late verdict, if a token of this path waits for it."""
        if node in self.unknown:
            del self.unknown[node]
            self._add(node.depth, verdict)

    def _add(self, depth: int, verdict: Verdict) -> None:
        if verdict.cut_by != NOT_CUT:
            insort(self._cut, depth)
        if (bits := verdict.cost_bits) > 0:
            place = self._costs.index_after(-bits, depth)
            self._costs.values.insert(place, -bits)
            self._costs.depths.insert(place, depth)

    def _until(self, depth: int) -> SortedValues:
        """The costs up to a depth."""
        in_prefix = [*map(depth.__ge__, self._costs.depths)]
        return SortedValues(
            array("d", compress(self._costs.values, in_prefix)), array("l", compress(self._costs.depths, in_prefix))
        )

    def _run(self, tip: Node) -> SortedValues:
        """The costs of a prefix or a continuation of this path."""
        return self._costs if tip.depth >= self.tip.depth else self._until(tip.depth)

    def cut(self, tip: Node) -> Marked:
        """The cut tokens of a prefix or a continuation of this path."""
        return Marked(self._cut[: bisect_right(self._cut, tip.depth)])

    def costliest(self, tip: Node) -> int | None:
        """The depth of the token with the highest cost; None where nothing cost anything. `tip` as in `cut`."""
        depths = self._run(tip).depths
        return depths[0] if depths else None

    def place(self, tip: Node, bits: float) -> int:
        """The rank of a cost among all, from 1; equal ones share it."""
        return 1 + bisect_left(self._run(tip).values, -bits)

    def costliest_tenth(self, tip: Node) -> Notable:
        """The tokens with the highest costs. `tip` as in `cut`."""
        run = self._run(tip)
        count = ceil(len(run.values) / ONE_IN)
        return Notable([run], -run.values[count - 1] if count else inf)
