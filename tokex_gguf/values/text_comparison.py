"""Two models of different vocabularies beside each other: what both say of the same bytes of one text."""

import math
from collections.abc import Mapping

from tokex_gguf.values.byte_alignment import Rates, Tokenisation, align, rates
from tokex_gguf.values.deltas import Deltas
from tokex_gguf.values.difference import Beside, Difference
from tokex_gguf.values.tokens import Piece, offsets
from tokex_gguf.values.tree import Node


class TextComparison:
    """By the tokens of A: each has the difference of the bytes that it shares with its neighbours, as far as it must.

    It is a `Comparison` without differences of distributions: these are over other tokens.
    """

    def __init__(self) -> None:
        self.deltas = Deltas()
        """Of each stretch of the text, at its last token of A."""
        self.tip: Node | None = None
        """The path that was compared last."""
        self.rates: Rates | None = None
        """What its text costs by each."""
        self._bits: dict[int, float] = {}
        """By the depths of A's tokens, the difference of their bytes."""
        self._places: dict[int, Node] = {}
        """By the depths of A's paths, B's for the same bytes."""
        self._shared = 0

    def take(self, a: tuple[Node, Mapping[int, Piece]], b: tuple[Node, Mapping[int, Piece]], text: bytes) -> None:
        """Compares two paths that spell a text, of which all was computed strictly. Each comes with its pieces."""
        (tip, pieces), (other, pieces_b) = a, b
        stretches = align(_cut(tip, pieces, text), _cut(other, pieces_b, text))
        self.deltas, self._bits, self._places, self._shared = Deltas(), {}, {}, 0
        nodes = other.nodes()
        for one in stretches:
            if one.b.stop and one.a.stop:
                self._places[one.a.stop] = nodes[one.b.stop - 1]
            if one.delta_bits is None or not one.a:
                continue
            self._shared += 1
            for place in one.a:
                self._bits[place + 1] = one.delta_bits
            self.deltas.add(one.a.stop, one.delta_bits, flip=False)
        self._places[tip.depth] = other
        self.tip, self.rates = tip, rates(stretches, text)

    def place(self, node: Node) -> Node | None:
        """B's path for the text of a path of A; None where B has no boundary there, or none is known."""
        if self.tip is None or not self.tip.descends_from(node):
            return None
        return self._places.get(node.depth)

    # --- as `Comparison` has it

    def follow(self, tip: Node) -> None:
        """Takes in where A's path ends now: `take` does."""

    def look_on(self, most: int) -> bool:  # noqa: ARG002
        """Looks at further tokens: `take` does."""
        return True

    def delta(self, node: Node) -> float | None:
        """By how many bits A makes the bytes of a token likelier than B; None until known."""
        known = self.tip is not None and self.tip.descends_from(node)
        return self._bits.get(node.depth) if known else None

    def inserted(self, node: Node) -> bool:  # noqa: ARG002
        """Whether B lacks a token: its bytes are there."""
        return False

    def missing(self, node: Node) -> int:  # noqa: ARG002
        """How many tokens B has, and A lacks, right before a token: the bytes are the same."""
        return 0

    def difference(self, node: Node, taken: Node | None) -> Difference | None:  # noqa: ARG002
        """How both differ after a path: other tokens have no difference."""
        return None

    def beside(self, node: Node) -> Beside | None:  # noqa: ARG002
        """What both say of a path's last token: B has another one."""
        return None

    def rows(self, node: Node, taken: Node | None) -> tuple[Beside, ...]:  # noqa: ARG002
        """What both say of tokens: B has others."""
        return ()

    def firsts(self, node: Node, taken: Node | None) -> tuple[int, int] | None:  # noqa: ARG002
        """The tokens that A and B make most likely after a path: these are of two vocabularies."""
        return None

    def comparable(self, node: Node, taken: Node | None) -> bool:  # noqa: ARG002
        """Whether B has a boundary in the text there."""
        return self.tip is None or not self.tip.descends_from(node) or node.depth in self._places

    def shared(self, tip: Node) -> int:
        """How many stretches of the text there are to compare."""
        return self._shared if tip is self.tip else self._shared + 1


def _cut(tip: Node, pieces: Mapping[int, Piece], text: bytes) -> Tokenisation:
    """A text in the tokens of a path, with what was said of each."""
    nodes = tip.nodes()
    told = [None if node.strict_taken is None else max(0.0, -node.strict_taken.logprob / math.log(2)) for node in nodes]
    if told:
        told[0] = None
    return Tokenisation.of(offsets([pieces[node.token].data for node in nodes], text), told, len(text))
