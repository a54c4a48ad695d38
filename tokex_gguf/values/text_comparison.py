"""Comparison of two models with different vocabularies: over the same bytes of one text."""

import math
from collections.abc import Mapping

from tokex_gguf.values.byte_alignment import Rates, Stretch, Tokenisation, align, words_within
from tokex_gguf.values.deltas import Deltas
from tokex_gguf.values.difference import Difference, TokenPair
from tokex_gguf.values.tokens import Piece, offsets
from tokex_gguf.values.tree import Node


class TextComparison:
    """By the tokens of A: each has the difference of its stretch of the text, which may have several tokens.

    It is a `Comparison` without differences of distributions: B's are over other tokens.
    """

    def __init__(self) -> None:
        self.deltas = Deltas()
        """One for each stretch of the text, at A's last token of it."""
        self.tip: Node | None = None
        """The compared path; None where the played path is not a continuation of it."""
        self._known: Node | None = None
        """The compared prefix of the played path."""
        self._bits: dict[int, float] = {}
        """By depth of A's tokens, the difference of their stretch."""
        self._places: dict[int, Node] = {}
        """By depth of A's paths, B's path for the same bytes."""
        self._other: Node | None = None
        """B's path for the same text."""
        self._stretches: list[Stretch] = []
        """The stretches of both paths."""
        self._rates: list[Rates] = []
        """The rates of the text up to the end of each stretch."""

    def take(self, a: tuple[Node, Mapping[int, Piece]], b: tuple[Node, Mapping[int, Piece]], text: bytes) -> None:
        """Compares two paths that spell a text, both computed strictly. Each comes with its pieces.

        Stretches shared with the paths compared before are kept.
        """
        (tip, pieces), (other, pieces_b) = a, b
        self._cut_back(tip.common(self._known) if self._known else 0, other.common(self._other) if self._other else 0)
        self._cut_to(max(0, len(self._stretches) - 1))  # its last word may go on
        last = self._stretches[-1] if self._stretches else _NOTHING
        stretches = align(
            _cut(tip, last.a.stop, pieces, text, last.end), _cut(other, last.b.stop, pieces_b, text, last.end)
        )
        nodes = other.nodes(last.b.stop)
        for part in stretches:
            own = range(last.a.stop + part.a.start, last.a.stop + part.a.stop)
            others = range(last.b.stop + part.b.start, last.b.stop + part.b.stop)
            stretch = Stretch(last.end + part.start, last.end + part.end, own, others, part.bits_a, part.bits_b)
            self._stretches.append(stretch)
            before = self._rates[-1] if self._rates else Rates(0, 0, 0.0, 0.0)
            self._rates.append(before.plus(stretch, words_within(text, stretch.start, stretch.end)))
            if part.b.stop and own.stop:
                self._places[own.stop] = nodes[part.b.stop - 1]
            if stretch.delta_bits is None or not own:
                continue
            for place in own:
                self._bits[place + 1] = stretch.delta_bits
            self.deltas.add(own.stop, stretch.delta_bits, flip=False)
        self._places[tip.depth] = other
        self.tip, self._known, self._other = tip, tip, other

    def _cut_back(self, depth: int, depth_b: int) -> None:
        """Drops the stretches after depth `depth` of A or `depth_b` of B."""
        kept = len(self._stretches)
        while kept and (self._stretches[kept - 1].a.stop > depth or self._stretches[kept - 1].b.stop > depth_b):
            kept -= 1
        self._cut_to(kept)

    def _cut_to(self, kept: int) -> None:
        """Drops all but the first `kept` stretches."""
        end = self._stretches[kept - 1].a.stop if kept else 0
        del self._stretches[kept:], self._rates[kept:]
        self.deltas.cut(end)
        if self._known:
            for place in range(end + 1, self._known.depth + 1):
                self._bits.pop(place, None)
                self._places.pop(place, None)

    def place(self, node: Node) -> Node | None:
        """B's path for the text of a path of A; None where B has no token boundary there, or it is not known."""
        if self._known is None or not self._known.descends_from(node):
            return None
        return self._places.get(node.depth)

    @property
    def rates(self) -> Rates | None:
        """The rates of the compared text; None where no byte was predicted by both."""
        return self._rates[-1] if self._rates and self._rates[-1].bytes else None

    # --- as `Comparison` has it

    def follow(self, tip: Node) -> None:
        """Drops what does not belong to A's path. `take` adds new tokens."""
        if self._known is None or self._other is None or tip.descends_from(self._known):
            return
        self._cut_back(tip.common(self._known), self._other.depth)
        last = self._stretches[-1] if self._stretches else _NOTHING
        self.tip, self._known, self._other = None, self._known.ancestor(last.a.stop), self._other.ancestor(last.b.stop)

    def compare_more(self, most: int) -> bool:  # noqa: ARG002
        """Does nothing: `take` compares."""
        return True

    def delta(self, node: Node) -> float | None:
        """By how many bits A makes the bytes of a token likelier than B; None until known."""
        known = self._known is not None and self._known.descends_from(node)
        return self._bits.get(node.depth) if known else None

    def inserted(self, node: Node) -> bool:  # noqa: ARG002
        """Whether B lacks a token: never, as it has the bytes."""
        return False

    def missing(self, node: Node) -> int:  # noqa: ARG002
        """How many tokens B has, and A lacks, right before a token: the bytes are the same."""
        return 0

    def difference(self, node: Node, taken: Node | None) -> Difference | None:  # noqa: ARG002
        """None: distributions over different vocabularies have no difference."""
        return None

    divergence = difference

    def token_pair(self, node: Node) -> TokenPair | None:  # noqa: ARG002
        """None: B has other tokens."""
        return None

    def rows(self, node: Node, taken: Node | None) -> tuple[TokenPair, ...]:  # noqa: ARG002
        """None: B has other tokens."""
        return ()

    def row(self, node: Node, taken: Node | None, token: int) -> TokenPair | None:  # noqa: ARG002
        """None: B has other tokens."""
        return None

    def firsts(self, node: Node, taken: Node | None) -> tuple[int, int] | None:  # noqa: ARG002
        """None: B has other tokens."""
        return None

    def comparable(self, node: Node, taken: Node | None) -> bool:  # noqa: ARG002
        """Whether B has a token boundary there."""
        return self._known is None or not self._known.descends_from(node) or node.depth in self._places

    def shared(self, tip: Node) -> int:
        """How many tokens of a path can be compared; an upper bound until it is compared."""
        return self.compared if tip is self.tip else max(self.compared + 1, tip.depth - 1)

    @property
    def compared(self) -> int:
        """How many tokens of A are in compared stretches."""
        return len(self._bits)


_NOTHING = Stretch(0, 0, range(0), range(0), None, None)


def _cut(tip: Node, depth: int, pieces: Mapping[int, Piece], text: bytes, start: int) -> Tokenisation:
    """The text from byte `start` on, cut into the tokens of a path after depth `depth`, with their surprisals."""
    nodes = tip.nodes(depth)
    bits = [None if node.strict_taken is None else max(0.0, -node.strict_taken.logprob / math.log(2)) for node in nodes]
    if bits and not depth:
        bits[0] = None
    rest = text[start:]
    # Only at the start of the text, a token without text may come first, such as BOS.
    before = [b""] if depth else []
    places = offsets([*before, *(pieces[node.token].data for node in nodes)], rest)
    return Tokenisation.of(places[len(before) :], bits, len(rest))
