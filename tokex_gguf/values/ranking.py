"""The tokens of a path in the order of a quantity, the highest first.

Nodes keep the values of the tokens before them in sorted blocks, made as answers arrive (`Node.block`). A ranking reads
those, so that the first look back in a prompt of a hundred thousand tokens costs little
more than in one of a hundred.
"""

import math
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import repeat

from tokex_gguf.values.tree import SMALLEST_BLOCK, Block, Node, SortedValues, entropy_before

_INFINITY: int = struct.unpack("<q", struct.pack("<d", math.inf))[0]


def _float(bits: int) -> float:
    """The number with these bits: among those from 0 to infinity, in the order of their bits."""
    value: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return value


class Ranking:
    """Of the tokens of a path after the first whose values are known."""

    def __init__(self, tip: Node, value: Callable[[Node], float | None], run: Callable[[Block], SortedValues]) -> None:
        """`value` gives the quantity of a node, None where unknown; `run` takes the same quantity from a block."""
        self._tip = tip
        self._value = value
        node = tip.ancestor(tip.depth // SMALLEST_BLOCK * SMALLEST_BLOCK)
        self._runs: list[SortedValues] = []
        """From the end of the path to its beginning."""
        self._add(tip.nodes(node.depth))
        while node.depth:
            if block := node.block():
                self._runs.append(run(block))
                node = block.before
            else:  # something in it is unknown
                self._add(node.nodes(node.depth - SMALLEST_BLOCK))
                node = node.ancestor(node.depth - SMALLEST_BLOCK)
        self._values = [run.values for run in self._runs]

    def _add(self, nodes: list[Node]) -> None:
        """Adds the nodes before those that are there, as far as their values are known."""
        told = [(bits, node.depth) for node in nodes if node.depth > 1 and (bits := self._value(node)) is not None]
        self._runs.append(SortedValues.of(told))

    def __len__(self) -> int:
        return sum(map(len, self._values))

    def place(self, value: float) -> int:
        """The place that a value has among them, from 1; equal ones share it."""
        return 1 + sum(map(bisect_left, self._values, repeat(-value)))

    def following(self, node: Node | None) -> Node | None:
        """The token that comes after one of them in the order, the first for None; None after the last.

        Of equal ones the first in the path goes first.
        """
        value = None if node is None else self._value(node)
        found: tuple[float, int] | None = None
        for run in self._runs:
            index = 0 if node is None or value is None else run.behind(-value, node.depth)
            if index < len(run.values):
                first = (run.values[index], run.depths[index])
                found = first if found is None else min(found, first)
        return None if found is None else self._tip.ancestor(found[1])

    def notable(self, threshold: float) -> "Notable":
        """The tokens with a value from a threshold on; threshold 0: of the highest tenth."""
        return Notable(self._runs, threshold if threshold > 0 else self._nth(math.ceil(len(self) / 10)))

    def _nth(self, place: int) -> float:
        """The value at a place, from 1; infinity where there is none."""
        if not 0 < place <= len(self):
            return math.inf

        def fewer(bits: int) -> int:
            return -sum(map(bisect_right, self._values, repeat(-_float(bits))))

        # The highest number that so many values reach. It is one of them.
        return _float(bisect_right(range(_INFINITY + 1), -place, key=fewer) - 1)


class Notable:
    """The tokens of a ranking with a value from `least` on, by their depths."""

    def __init__(self, runs: list[SortedValues], least: float) -> None:
        self._runs = runs
        self._ends = [bisect_right(run.values, -least) for run in runs]

    def __len__(self) -> int:
        return sum(self._ends)

    def next(self, depth: int) -> int | None:
        """The nearest of them behind a depth; None where there is none."""
        for run, end in zip(reversed(self._runs), reversed(self._ends), strict=True):
            if end and (found := min(filter(depth.__lt__, run.depths[:end]), default=None)) is not None:
                return found
        return None

    def previous(self, depth: int) -> int | None:
        """The nearest of them before a depth; None where there is none."""
        for run, end in zip(self._runs, self._ends, strict=True):
            if end and (found := max(filter(depth.__gt__, run.depths[:end]), default=None)) is not None:
                return found
        return None


def surprisals(tip: Node) -> Ranking:
    """A path's tokens by the bits of each after the path before it."""
    return Ranking(tip, lambda node: node.surprisal, lambda block: block.surprisals)


def entropies(tip: Node) -> Ranking:
    """A path's tokens by the entropy in bits of the distribution that each was drawn from, at least."""
    return Ranking(tip, entropy_before, lambda block: block.entropies)
