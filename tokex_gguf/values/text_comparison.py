"""Two models of different vocabularies beside each other: what both say of the same bytes of one text."""

import math
from collections.abc import Mapping

from tokex_gguf.values.byte_alignment import Rates, Stretch, Tokenisation, align, words_within
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
        """The path that is compared; None where the one that is played does not go on from that."""
        self._known: Node | None = None
        """Of that path, or of the one before, what the one that is played begins with."""
        self._bits: dict[int, float] = {}
        """By the depths of A's tokens, the difference of their bytes."""
        self._places: dict[int, Node] = {}
        """By the depths of A's paths, B's for the same bytes."""
        self._other: Node | None = None
        """B's path for the same text."""
        self._stretches: list[Stretch] = []
        """Those of both paths."""
        self._rates: list[Rates] = []
        """What the text up to the end of each costs."""

    def take(self, a: tuple[Node, Mapping[int, Piece]], b: tuple[Node, Mapping[int, Piece]], text: bytes) -> None:
        """Compares two paths that spell a text, of which all was computed strictly. Each comes with its pieces.

        What they begin with as the two paths before them did is not looked at again.
        """
        (tip, pieces), (other, pieces_b) = a, b
        self._cut_back(tip.common(self._known) if self._known else 0, other.common(self._other) if self._other else 0)
        self._cut_to(max(0, len(self._stretches) - 1))  # its last word may go on
        last = self._stretches[-1] if self._stretches else _NOTHING
        found = align(
            _cut(tip, last.a.stop, pieces, text, last.end), _cut(other, last.b.stop, pieces_b, text, last.end)
        )
        nodes = other.nodes(last.b.stop)
        for one in found:
            own = range(last.a.stop + one.a.start, last.a.stop + one.a.stop)
            others = range(last.b.stop + one.b.start, last.b.stop + one.b.stop)
            whole = Stretch(last.end + one.start, last.end + one.end, own, others, one.bits_a, one.bits_b)
            self._stretches.append(whole)
            before = self._rates[-1] if self._rates else Rates(0, 0, 0.0, 0.0)
            self._rates.append(before.plus(whole, words_within(text, whole.start, whole.end)))
            if one.b.stop and own.stop:
                self._places[own.stop] = nodes[one.b.stop - 1]
            if whole.delta_bits is None or not own:
                continue
            for place in own:
                self._bits[place + 1] = whole.delta_bits
            self.deltas.add(own.stop, whole.delta_bits, flip=False)
        self._places[tip.depth] = other
        self.tip, self._known, self._other = tip, tip, other

    def _cut_back(self, depth: int, depth_b: int) -> None:
        """Forgets the stretches behind so many tokens of A and of B."""
        kept = len(self._stretches)
        while kept and (self._stretches[kept - 1].a.stop > depth or self._stretches[kept - 1].b.stop > depth_b):
            kept -= 1
        self._cut_to(kept)

    def _cut_to(self, kept: int) -> None:
        """Forgets all stretches but so many."""
        end = self._stretches[kept - 1].a.stop if kept else 0
        del self._stretches[kept:], self._rates[kept:]
        self.deltas.cut(end)
        if self._known:
            for place in range(end + 1, self._known.depth + 1):
                self._bits.pop(place, None)
                self._places.pop(place, None)

    def place(self, node: Node) -> Node | None:
        """B's path for the text of a path of A; None where B has no boundary there, or none is known."""
        if self._known is None or not self._known.descends_from(node):
            return None
        return self._places.get(node.depth)

    @property
    def rates(self) -> Rates | None:
        """What the text that was compared costs by each; None where both have predicted none of it."""
        return self._rates[-1] if self._rates and self._rates[-1].bytes else None

    # --- as `Comparison` has it

    def follow(self, tip: Node) -> None:
        """Forgets what is of another path than A's. What is new of it `take` takes in."""
        if self._known is None or self._other is None or tip.descends_from(self._known):
            return
        self._cut_back(tip.common(self._known), self._other.depth)
        last = self._stretches[-1] if self._stretches else _NOTHING
        self.tip, self._known, self._other = None, self._known.ancestor(last.a.stop), self._other.ancestor(last.b.stop)

    def look_on(self, most: int) -> bool:  # noqa: ARG002
        """Looks at further tokens: `take` does."""
        return True

    def delta(self, node: Node) -> float | None:
        """By how many bits A makes the bytes of a token likelier than B; None until known."""
        known = self._known is not None and self._known.descends_from(node)
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

    divergence = difference

    def beside(self, node: Node) -> Beside | None:  # noqa: ARG002
        """What both say of a path's last token: B has another one."""
        return None

    def rows(self, node: Node, taken: Node | None) -> tuple[Beside, ...]:  # noqa: ARG002
        """What both say of tokens: B has others."""
        return ()

    def row(self, node: Node, taken: Node | None, token: int) -> Beside | None:  # noqa: ARG002
        """What both say of one token: B has others."""
        return None

    def firsts(self, node: Node, taken: Node | None) -> tuple[int, int] | None:  # noqa: ARG002
        """The tokens that A and B make most likely after a path: these are of two vocabularies."""
        return None

    def comparable(self, node: Node, taken: Node | None) -> bool:  # noqa: ARG002
        """Whether B has a boundary in the text there."""
        return self._known is None or not self._known.descends_from(node) or node.depth in self._places

    def shared(self, tip: Node) -> int:
        """How many tokens there are to compare, up to the end of a path; until it is compared, the most it can be."""
        return self.compared if tip is self.tip else max(self.compared + 1, tip.depth - 1)

    @property
    def compared(self) -> int:
        """Of how many tokens `deltas` has the bytes: a stretch may have several."""
        return len(self._bits)


_NOTHING = Stretch(0, 0, range(0), range(0), None, None)


def _cut(tip: Node, depth: int, pieces: Mapping[int, Piece], text: bytes, start: int) -> Tokenisation:
    """A text from byte `start` on in the tokens of a path behind so many, with what was said of each."""
    nodes = tip.nodes(depth)
    told = [None if node.strict_taken is None else max(0.0, -node.strict_taken.logprob / math.log(2)) for node in nodes]
    if told and not depth:
        told[0] = None
    rest = text[start:]
    # Before the text a token may take no room. Behind other tokens none that is not there.
    before = [b""] if depth else []
    places = offsets([*before, *(pieces[node.token].data for node in nodes)], rest)
    return Tokenisation.of(places[len(before) :], told, len(rest))
