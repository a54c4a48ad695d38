"""The tokens of a path in the order of a quantity, the highest first.

A ranking follows the path from token to token and is not made again for each of them: a look back in a
prompt of a hundred thousand tokens costs what it costs in one of ten.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable

from tokex_gguf.tree import Node


class Ranking:
    """Of the tokens after the first, as far as their values are known."""

    def __init__(self, value: Callable[[Node], float | None]) -> None:
        """`value` gives a node's value, or None while it is not known; once known it does not change."""
        self._value = value
        self._tip = Node(None, -1)
        self._done = 1
        """Tokens of the path that are looked at: as many as are known."""
        self._order: list[tuple[float, int]] = []
        """Values, negated, and depths of those that have one, in this order."""

    def of(self, tip: Node) -> "Ranking":
        """Ranks the tokens of a path; good until the next call."""
        same = max(1, tip.common(self._tip))
        if same < self._done:
            gone = [node for node in self._tip.nodes(same) if node.depth <= self._done]
            if len(gone) > self._done // 8:
                self._order, self._done = [], 1
            else:
                for node in gone:
                    if (value := self._value(node)) is not None:
                        del self._order[bisect_left(self._order, (-value, node.depth))]
                self._done = same
        self._tip = tip
        known = tip.depth if tip.known else min(tip.first_unknown() + 1, tip.depth)
        if known > self._done:
            self._extend(tip.ancestor(known).nodes(self._done))
        return self

    def _extend(self, nodes: list[Node]) -> None:
        values: list[tuple[float, int]] = []
        for node in nodes:
            if (value := self._value(node)) is None:
                break
            values.append((-value, node.depth))
        self._done += len(values)
        if len(values) > 100:
            self._order = sorted([*self._order, *values])
        else:
            for value_and_depth in values:
                insort(self._order, value_and_depth)

    def __len__(self) -> int:
        return len(self._order)

    def place(self, value: float) -> int:
        """The place that a value has among them, from 1; equal ones share it."""
        return 1 + bisect_left(self._order, (-value, -1))

    def node(self, place: int) -> Node:
        """The token at a place, from 1; of equal ones the first in the path goes first."""
        return self._tip.ancestor(self._order[place - 1][1])

    def notable(self, threshold: float) -> list[int]:
        """The depths of the tokens with a value from a threshold on; threshold 0: of the highest tenth."""
        if not self._order:
            return []
        least = -threshold if threshold > 0 else self._order[math.ceil(len(self._order) / 10) - 1][0]
        return [depth for _, depth in self._order[: bisect_right(self._order, (least, self._tip.depth))]]


def surprisal(node: Node) -> float | None:
    """Bits of a token after the path before it; None while not known, and for the first token, which is given."""
    return node.surprisal if node.depth > 1 else None


def doubt(node: Node) -> float | None:
    """The entropy in bits of the distribution that a token was drawn from; None while not known."""
    parent = node.parent
    return parent.distribution.entropy_bits if node.depth > 1 and parent and parent.distribution else None


SURPRISALS = Ranking(surprisal)
"""Of the path that was asked for last: the program asks for one path again and again."""
DOUBTS = Ranking(doubt)
"""The same by the entropy before each token."""
