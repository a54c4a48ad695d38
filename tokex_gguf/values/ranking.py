"""A path's tokens ordered by a quantity, the highest first.

Nodes keep values of earlier tokens in sorted blocks, made as answers arrive (`Node.block`). A ranking reads those, so
that the first jump in a prompt of a hundred thousand tokens takes little longer than in one of a hundred.
"""

import math
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import repeat

from tokex_gguf.values.tree import SMALLEST_BLOCK, Block, Node, SortedValues, entropy_before

_INFINITY: int = struct.unpack("<q", struct.pack("<d", math.inf))[0]


def _float(bits: int) -> float:
    """The float with these bits. From 0 to infinity, floats have the order of their bits."""
    value: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return value


class Ranking:
    """The ranking of a path's tokens after the first, as far as their values are known."""

    def __init__(self, tip: Node, value: Callable[[Node], float | None], run: Callable[[Block], SortedValues]) -> None:
        """`value` gives a node's quantity, None where unknown; `run` gives the same quantity of a block."""
        self._tip = tip
        self._value = value
        node = tip.ancestor(tip.depth // SMALLEST_BLOCK * SMALLEST_BLOCK)
        self._runs: list[SortedValues] = []
        """From the end of the path to its start."""
        self._add(tip.nodes(node.depth))
        while node.depth:
            if block := node.block():
                self._runs.append(run(block))
                node = block.before
            else:  # a value in it is unknown
                self._add(node.nodes(node.depth - SMALLEST_BLOCK))
                node = node.ancestor(node.depth - SMALLEST_BLOCK)
        self._values = [run.values for run in self._runs]

    def _add(self, nodes: list[Node]) -> None:
        """Adds nodes before those added so far, as far as their values are known."""
        values = [(bits, node.depth) for node in nodes if node.depth > 1 and (bits := self._value(node)) is not None]
        self._runs.append(SortedValues.of(values))

    def __len__(self) -> int:
        return sum(map(len, self._values))

    def place(self, value: float) -> int:
        """The rank of a value, from 1; equal ones share it."""
        return 1 + sum(map(bisect_left, self._values, repeat(-value)))

    def following(self, node: Node | None) -> Node | None:
        """The token after `node` in the ranking, the first for None; None after the last.

        Equal ones are in path order.
        """
        value = None if node is None else self._value(node)
        best: tuple[float, int] | None = None
        for run in self._runs:
            index = 0 if node is None or value is None else run.index_after(-value, node.depth)
            if index < len(run.values):
                first = (run.values[index], run.depths[index])
                best = first if best is None else min(best, first)
        return None if best is None else self._tip.ancestor(best[1])

    def notable(self, threshold: float) -> "Notable":
        """The tokens with at least the value `threshold`; 0: the highest tenth."""
        return Notable(self._runs, threshold if threshold > 0 else self._nth(math.ceil(len(self) / 10)))

    def _nth(self, place: int) -> float:
        """The value at a rank, from 1; infinity where there is none."""
        if not 0 < place <= len(self):
            return math.inf

        def fewer(bits: int) -> int:
            return -sum(map(bisect_right, self._values, repeat(-_float(bits))))

        # The highest number that `place` values reach, which is one of the values.
        return _float(bisect_right(range(_INFINITY + 1), -place, key=fewer) - 1)


class Notable:
    """The tokens of a ranking with at least the value `least`, by depth."""

    def __init__(self, runs: list[SortedValues], least: float) -> None:
        self._runs = runs
        self._ends = [bisect_right(run.values, -least) for run in runs]

    def __len__(self) -> int:
        return sum(self._ends)

    def next(self, depth: int) -> int | None:
        """The nearest after a depth; None where there is none."""
        for run, end in zip(reversed(self._runs), reversed(self._ends), strict=True):
            if end and (nearest := min(filter(depth.__lt__, run.depths[:end]), default=None)) is not None:
                return nearest
        return None

    def previous(self, depth: int) -> int | None:
        """The nearest before a depth; None where there is none."""
        for run, end in zip(self._runs, self._ends, strict=True):
            if end and (nearest := max(filter(depth.__gt__, run.depths[:end]), default=None)) is not None:
                return nearest
        return None


def surprisals(tip: Node) -> Ranking:
    """A path's tokens by surprisal in bits."""
    return Ranking(tip, lambda node: node.surprisal, lambda block: block.surprisals)


def entropies(tip: Node) -> Ranking:
    """A path's tokens by the entropy of the distribution before each in bits, a lower bound."""
    return Ranking(tip, entropy_before, lambda block: block.entropies)
