"""Comparison of two paths of one tree: A, which is played, and B. Only strict answers are compared.

Tokens that are appended to A are appended to B as well, to compare what they cost there.
"""

from collections import OrderedDict
from typing import NamedTuple, Protocol

from tokex_gguf.values.alignment import Alignment
from tokex_gguf.values.deltas import Deltas
from tokex_gguf.values.difference import Difference, TokenPair
from tokex_gguf.values.tree import Node

PAIRS = 8
"""The latest pairs of paths, which are kept."""
SCANNED_TOKENS = (8, 256)
"""Tokens to scan for the next strict answer: at first, and at the most."""
MOST_DIFFERENCES = 1024
"""The latest differences, which are kept."""


class Comparison(Protocol):
    """A comparison of A and B for the screen and the keys. Nodes are those of A's path, which is played."""

    deltas: Deltas
    """As far as they are known."""

    def follow(self, tip: Node) -> None:
        """Sets the end of A's path."""

    def compare_more(self, most: int) -> bool:
        """Compares up to `most` more tokens; returns whether none is left whose numbers are known."""

    def delta(self, node: Node) -> float | None:
        """By how many bits A makes a token likelier than B; None until known, and for one that B lacks."""

    def token_pair(self, node: Node) -> TokenPair | None:
        """What A and B say of a token; None until known, and where B lacks the place."""

    def inserted(self, node: Node) -> bool:
        """Whether B lacks a token."""

    def missing(self, node: Node) -> int:
        """How many tokens B has, and A lacks, right before a token."""

    def difference(self, node: Node, taken: Node | None) -> Difference | None:
        """How both differ after a path; `taken`: its next token, None at the tip. None until known."""

    def divergence(self, node: Node, taken: Node | None) -> Difference | None:
        """As `difference`, but earlier: the rows may be fewer than a table shows."""

    def rows(self, node: Node, taken: Node | None) -> tuple[TokenPair, ...]:
        """What both say of the likeliest tokens there, as far as it is known."""

    def row(self, node: Node, taken: Node | None, token: int) -> TokenPair | None:
        """What both say there of one token, which may be unlikely; None until known."""

    def firsts(self, node: Node, taken: Node | None) -> tuple[int, int] | None:
        """The tokens that A and B make most likely there; None until known."""

    def comparable(self, node: Node, taken: Node | None) -> bool:
        """Whether B has the place, and a distribution there: none predicts a first token."""

    def shared(self, tip: Node) -> int:
        """How many tokens of a path can be compared."""

    @property
    def compared(self) -> int:
        """How many of them are in `deltas`."""


class Lacking(NamedTuple):
    """Strict answers that are still to come."""

    path: Node
    start: int
    """The first position without a strict distribution."""


class Differences:
    """Differences of distributions, by the two paths before them. The latest are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Node, Node], Difference] = OrderedDict()

    def attach(self, a: Node, b: Node, difference: Difference) -> None:
        """Stores the difference of the distributions after two paths."""
        self._kept[a, b] = difference
        if len(self._kept) > MOST_DIFFERENCES:
            self._kept.popitem(last=False)

    def get(self, a: Node, b: Node) -> Difference | None:
        """The difference of the distributions after two paths; None until known."""
        difference = self._kept.get((a, b))
        if difference is None and (reversed_ := self._kept.get((b, a))) is not None:
            difference = reversed_.reverse
            self.attach(a, b, difference)
        return difference


class PathComparison:
    """Two paths of one tree. Tokens appended to A are appended to B as well."""

    def __init__(self, a: Node, b: Node, differences: Differences) -> None:
        """`a` and `b`: where the two paths ended when their comparison began."""
        self.a, self.b = a, b
        self.common = a.common(b)
        """The length of the common prefix, where nothing differs."""
        self.deltas = Deltas()
        self.alignment: Alignment | None = None
        """None until it is computed."""
        self._tails: tuple[list[int], list[int]] = ([], [])
        """The tokens of both after the common prefix, gathered so far, the last one first."""
        self._gathered = [a, b]
        """The nodes that gathering has reached."""
        self._differences = differences
        self._along: dict[Node, Node] = {a: b}
        """From paths after A's end to those after B's."""
        self._partners: dict[Node, Node | None] = {}
        """From tokens of A to those of B, as far as `partner` was called."""
        self._ends: tuple[Node, Node] | None = None
        """The current ends of both paths."""
        self._seen = self.common
        """The depth of A up to which tokens are compared."""
        self._first = max(0, self.common - 1)
        """The depth before which no answers are needed."""
        self._strict_a = self._strict_b = self._first
        """The depths up to which all answers are strict."""

    # --- alignment

    def gather(self, most: int) -> bool:
        """Gathers up to `most` more tokens of each path for alignment; returns whether all are gathered."""
        for index, tail in enumerate(self._tails):
            node = self._gathered[index]
            end = max(self.common, node.depth - most)
            while node.depth > end:
                tail.append(node.token)
                assert node.parent is not None
                node = node.parent
            self._gathered[index] = node
        return self.gathered

    @property
    def gathered(self) -> bool:
        """Whether all tokens for the alignment are gathered."""
        return all(node.depth == self.common for node in self._gathered)

    @property
    def tails(self) -> tuple[list[int], list[int]]:
        """The tokens of both after the common prefix, once they are gathered."""
        a, b = self._tails
        return a[::-1], b[::-1]

    def path(self, node: Node) -> list[int]:
        """The tokens of a path of A or B. Those of B come from the gathered tails, without a walk through the tree."""
        if node.depth <= self.common or node.descends_from(self.a.ancestor(self.common + 1)):
            return node.path()
        tail = self._tails[1][::-1][: node.depth - self.common]
        appended = [each.token for each in node.nodes(self.b.depth)]
        return [*self.a.ancestor(self.common).path(), *tail, *appended]

    def align(self, tails: Alignment) -> None:
        """Sets the alignment of the tails.

        Ignored unless the tails are gathered: it may answer a request for an earlier object of the same pair.
        """
        if not self.gathered:
            return
        self.alignment = tails.with_prefix(self.common)

    # --- places

    def follow(self, tip: Node) -> None:
        """Sets the end of A's path: a prefix or a continuation of `a`."""
        if self.alignment is None or (self._ends and self._ends[0] is tip):
            return
        if tip.depth > self.a.depth:
            unknown: list[Node] = []
            node = tip
            while node not in self._along:
                unknown.append(node)
                assert node.parent is not None
                node = node.parent
            for node in reversed(unknown):
                assert node.parent is not None
                self._along[node] = self._along[node.parent].child(node.token)
        other = self._along.get(tip) or self.b  # where A is shorter by now, too: B's end belongs to A's end
        if self._ends:
            same, same_other = tip.common(self._ends[0]), other.common(self._ends[1])
            self._seen = max(self.common, min(self._seen, same))
            self._strict_a = max(self._first, min(self._strict_a, same))
            self._strict_b = max(self._first, min(self._strict_b, same_other))
            self.deltas.cut(same)
        self._ends = tip, other

    def partner(self, node: Node) -> Node | None:
        """The path of B that ends with the same token; None where B lacks it."""
        if node.depth <= self.common:
            return node
        if node.depth > self.a.depth:
            return self._along.get(node)
        if self.alignment is None or not self.a.descends_from(node):  # a path that is typed, and not entered
            return None
        if node not in self._partners:
            position = self.alignment.partner(node.depth - 1)
            before = self._partners.get(node.parent) if node.parent else None
            if position is None:
                partner = None
            elif before and before.depth == position:
                partner = before.children[node.token]
            else:
                partner = self.b.ancestor(position + 1)
            self._partners[node] = partner
        return self._partners[node]

    def place(self, node: Node, taken: Node | None) -> Node | None:
        """The path of B to compare with A's path `node`, whose next token is `taken`; None where B lacks the place."""
        if taken is None and self._ends and node is self._ends[0]:
            return self._ends[1]
        if taken is None and node in self._along:
            return self._along[node]
        if taken is not None and (partner := self.partner(taken)) is not None:
            return partner.parent  # after the common prefix, B may come to it later
        if taken is not None and taken.depth > self.common and self.alignment is None:
            return None
        return node if node.depth <= self.common else self.partner(node)

    def comparable(self, node: Node, taken: Node | None) -> bool:
        """As `Comparison` has it."""
        if self.alignment is None or node.depth > self.a.depth:
            return True
        place = self.place(node, taken)
        return place is not None and place.depth > 0

    def inserted(self, node: Node) -> bool:
        """As `Comparison` has it."""
        known = self.alignment is None or node.depth <= self.common or node.depth > self.a.depth
        return not known and self.partner(node) is None

    def missing(self, node: Node) -> int:
        """As `Comparison` has it."""
        return self.alignment.missing_before(node.depth - 1) if self.alignment and node.depth <= self.a.depth else 0

    def shared(self, tip: Node) -> int:
        """As `Comparison` has it. Tokens of the common prefix do not count, nor the first token of either path.

        The first token has no distribution before it.
        """
        if self.alignment is None:
            return 0
        depth = min(tip.depth, self.a.depth)
        same = max(0, self.alignment.shared_before(depth) - self.common)
        if self.common == 0:
            first = next((block.a for block in self.alignment.blocks if block.b == 0), depth)
            same -= (depth > 0 and self.alignment.partner(0) is not None) + (first < depth)
        return same + max(0, tip.depth - self.a.depth)

    @property
    def compared(self) -> int:
        """As `Comparison` has it."""
        return len(self.deltas)

    def unshared(self, tip: Node) -> tuple[int, int]:
        """How many tokens of A are not in B, and of B not in A, up to the compared ends."""
        if self.alignment is None or self._ends is None:
            return 0, 0
        depth = min(tip.depth, self.a.depth)
        same = self.alignment.shared_before(depth)
        return depth - same, min(self._ends[1].depth, self.b.depth) - same

    # --- numbers

    def delta(self, node: Node) -> float | None:
        """As `Comparison` has it."""
        if node.depth <= self.common:
            return 0.0
        partner = self.partner(node)
        both = None if partner is None else _pair(node, partner)
        return None if both is None else both.delta_bits

    def token_pair(self, node: Node) -> TokenPair | None:
        """As `Comparison` has it."""
        partner = self.partner(node)
        if partner is None and node.depth == self.common + 1 and self.alignment is not None:
            partner = node  # the first place after the common prefix is the same, also where B has no token there
        return None if partner is None else _pair(node, partner)

    def difference(self, node: Node, taken: Node | None) -> Difference | None:
        """As `Comparison` has it."""
        place = self.place(node, taken)
        return None if place is None else self._differences.get(node, place)

    divergence = difference

    def rows(self, node: Node, taken: Node | None) -> tuple[TokenPair, ...]:
        """As `Comparison` has it. Without a difference, the tokens that are candidates of both."""
        difference, place = self.difference(node, taken), self.place(node, taken)
        if difference is not None:
            return difference.rows
        if place is None or place.strict is None or node.strict is None:
            return ()
        a, b = node.strict, place.strict
        return tuple(
            TokenPair(row.token, row.taken, b.candidate(b.rows[row.token]).taken)
            for row in a.candidates()
            if row.token in b.rows
        )

    def row(self, node: Node, taken: Node | None, token: int) -> TokenPair | None:
        """As `Comparison` has it."""
        place = self.place(node, taken)
        a, b = node.strict_taken_after(token), None if place is None else place.strict_taken_after(token)
        return None if a is None or b is None else TokenPair(token, a, b)

    def firsts(self, node: Node, taken: Node | None) -> tuple[int, int] | None:
        """As `Comparison` has it."""
        place = self.place(node, taken)
        if place is None or place.strict is None or node.strict is None:
            return None
        return node.strict.most_likely, place.strict.most_likely

    def compare_more(self, most: int) -> bool:
        """As `Comparison` has it."""
        if self._ends is None:
            return True
        tip, other = self._ends
        self._strict_a, more_a = self._strict(tip, self._strict_a, most)
        self._strict_b, more_b = self._strict(other, self._strict_b, most)
        end = min(self._strict_a, self._seen + most)
        for node in tip.ancestor(end).nodes(self._seen):
            partner = self.partner(node)
            if partner is not None:
                if partner.depth > self._strict_b:
                    return not (more_a or more_b)
                if both := _pair(node, partner):
                    self.deltas.add(node.depth, both.delta_bits, flip=_flip(node.parent, partner.parent))
            self._seen = node.depth
        return not (more_a or more_b or self._seen < min(self._strict_a, tip.depth))

    def _strict(self, tip: Node, known: int, most: int) -> tuple[int, bool]:
        """The depth up to which all answers of a path are strict, and whether more may be."""
        end = min(tip.depth, known + most)
        for node in tip.ancestor(end).nodes(known):
            if node.strict is None or (node.strict_taken is None and node.depth > max(1, self.common)):
                return known, False
            known = node.depth
        return known, known < tip.depth

    def lacking(self) -> Lacking | None:
        """The strict answers to request next; None where all are known, or `compare_more` has not reached them."""
        for tip, known in zip(self._ends or (), (self._strict_a, self._strict_b), strict=False):
            if known < tip.depth:
                node = tip.ancestor(known + 1)
                lacks_taken = node.strict_taken is None and node.depth > max(1, self.common)
                return Lacking(_up_to_strict(tip, known), known - 1 if lacks_taken else known)
        return None


def _up_to_strict(tip: Node, known: int) -> Node:
    """The path up to the next strict answer after a depth; the whole path, if there is none near."""
    for count in SCANNED_TOKENS:
        for node in tip.ancestor(known + count).nodes(known + 1):
            if node.strict is not None and node.strict_taken is not None and node.parent is not None:
                return node.parent
    return tip


def _pair(a: Node, b: Node) -> TokenPair | None:
    """What two paths say of their last token, which is the same; None until known."""
    if a.strict_taken is None or b.strict_taken is None:
        return None
    return TokenPair(a.token, a.strict_taken, b.strict_taken)


def _flip(a: Node | None, b: Node | None) -> bool:
    """Whether two paths have different most likely tokens after them."""
    if a is None or b is None or a.strict is None or b.strict is None:
        return False
    return a.strict.most_likely != b.strict.most_likely


class Comparisons:
    """The latest comparisons of paths, and the latest differences."""

    def __init__(self) -> None:
        self.differences = Differences()
        self._pairs: OrderedDict[tuple[Node, Node], PathComparison] = OrderedDict()

    def paths(self, a: Node, b: Node) -> PathComparison:
        """The comparison of two paths."""
        pair = self._pairs.get((a, b))
        if pair is None:
            pair = self._pairs[a, b] = PathComparison(a, b, self.differences)
            if len(self._pairs) > PAIRS:
                self._pairs.popitem(last=False)
        self._pairs.move_to_end((a, b))
        return pair
