"""Comparison of two models with one vocabulary, along paths that both have evaluated."""

import math
from array import array
from itertools import pairwise
from typing import NamedTuple

from tokex_gguf.values.deltas import Deltas
from tokex_gguf.values.difference import Difference, TokenPair
from tokex_gguf.values.tree import Node


class Sums(NamedTuple):
    """How two models differ over the tokens of a text, in the figures of llama-perplexity's `--kl-divergence`."""

    tokens: int
    mean_kl_bits: float
    same_top: float
    """The share of places, 0 to 1, where both have the same most likely token."""
    delta_p_rms: float
    """Root of the mean square of what B adds to the probability, 0 to 1, of the token that came."""
    perplexity_ratio: float
    """B's perplexity by A's."""


class ModelComparison:
    """By the paths of either model's tree: results for one tree hold for the other with A and B exchanged.

    It is a `Comparison`: B has all tokens of A's path.
    """

    def __init__(self) -> None:
        self._after: dict[Node, Difference] = {}
        """The differences of the distributions after paths."""
        self._of: dict[Node, TokenPair] = {}
        """What both say of paths' last tokens."""
        self._detailed: set[Node] = set()
        """Paths with all rows that a table shows."""
        self._twins: dict[Node, Node] = {}
        """From paths to the same path in the other tree."""
        self._whole: set[Node] = set()
        """Paths that are compared at every position."""
        self.deltas = Deltas()
        """Of the followed path, as far as they are known."""
        self._tip: Node | None = None
        """The followed path."""
        self._sums = [array("d", [0.0]) for _ in range(4)]
        """By token: running sums of divergences, flips, squared changes of probability, and bits."""
        self._seen = 1
        """The depth up to which tokens are summed. The first token has no distribution before it."""

    def after(self, node: Node) -> Difference | None:
        """The difference of the distributions after a path; None until compared."""
        known, twin = self._after.get(node), self._twins.get(node)
        # The twin may have more rows: it is then preferred, as in `keep`.
        more = twin in self._detailed and node not in self._detailed
        if twin in self._after and (known is None or more):
            known = self._after[node] = self._after[twin].reverse
            if more:
                self._detailed.add(node)
        return known

    def token_pair(self, node: Node) -> TokenPair | None:
        """What both say of a path's last token; None until compared."""
        if (known := self._of.get(node)) is not None:
            return known
        twin = self._twins.get(node)
        if twin is not None and (reversed_ := self._of.get(twin)) is not None:
            known = self._of[node] = reversed_.reverse
            return known
        before = self.after(node.parent) if node.parent else None
        for row in before.rows if before else ():
            if row.token == node.token:
                return self._of.setdefault(node, row)
        return None

    def detailed(self, node: Node) -> bool:
        """Whether all rows that a table shows are known after a path."""
        return node in self._detailed or self._twins.get(node) in self._detailed

    def keep(self, node: Node, difference: Difference, *, detailed: bool) -> None:
        """Stores the difference after a path. The first one stays, unless only the new one is `detailed`."""
        if self.after(node) is None or (detailed and not self.detailed(node)):
            self._after[node] = difference
        if detailed:
            self._detailed.add(node)
        if difference.taken is not None:
            self._of.setdefault(node.child(difference.taken.token), difference.taken)

    def join(self, first: Node, second: Node) -> None:
        """Records that two paths, each in its own tree, have the same tokens."""
        a: Node | None = first
        b: Node | None = second
        while a is not None and b is not None and self._twins.get(a) is not b:
            self._twins[a], self._twins[b] = b, a
            a, b = a.parent, b.parent

    def twin(self, tip: Node, root: Node) -> Node:
        """The same path in the other tree, which has this root. Prefixes that are joined are not visited again."""
        node, rest = tip, []
        while node.parent is not None and node not in self._twins:
            rest.append(node.token)
            node = node.parent
        twin = self._twins.get(node, root).descend(rest[::-1])
        self.join(tip, twin)
        return twin

    def lacking(self, tip: Node, start: int, end: int) -> list[Node]:
        """The nodes at positions `start` to before `end` of a path whose distributions must be compared."""
        nodes = tip.ancestor(end + 1).nodes(max(0, start))
        lacking = [
            node for node, child in pairwise(nodes) if self.after(node) is None or self.token_pair(child) is None
        ]
        return [*lacking, *(node for node in nodes[-1:] if node.depth <= end and self.after(node) is None)]

    def first_lacking(self, tip: Node) -> int | None:
        """The first position of a path whose distributions must be compared; None where all are."""
        node = tip
        while node.depth and node not in self._whole:
            assert node.parent is not None
            node = node.parent
        for following in tip.nodes(node.depth):
            if following.depth > 1 and self.token_pair(following) is None:
                return following.depth - 2
            if self.after(following) is None:
                return following.depth - 1
            self._whole.add(following)
        return None

    # --- as `Comparison` has it

    def follow(self, tip: Node) -> None:
        """Sets the end of A's path."""
        if tip is self._tip:
            return
        same = tip.common(self._tip) if self._tip else 0
        self._seen = max(1, min(self._seen, same))
        self.deltas.cut(self._seen)
        for sums in self._sums:
            del sums[self._seen :]
        self._tip = tip

    def compare_more(self, most: int) -> bool:
        """As `Comparison` has it."""
        if self._tip is None:
            return True
        for node in self._tip.ancestor(min(self._tip.depth, self._seen + most)).nodes(self._seen):
            beside = self.token_pair(node)
            before = self.after(node.parent) if node.parent else None
            if beside is None or before is None:
                return True
            bits = beside.delta_bits
            self.deltas.add(node.depth, bits, flip=before.flip)
            values = before.kl_bits, before.flip, (beside.b.prob - beside.a.prob) ** 2, bits
            for sums, value in zip(self._sums, values, strict=True):
                sums.append(sums[-1] + value)
            self._seen = node.depth
        return self._seen == self._tip.depth

    @property
    def sums(self) -> Sums | None:
        """Over the tokens compared so far; None before the first."""
        count = len(self._sums[0]) - 1
        if not count:
            return None
        kl, flips, squares, bits = (sums[-1] for sums in self._sums)
        mean = bits / count
        ratio = 2**mean if mean < 1000 else math.inf
        return Sums(count, kl / count, 1 - flips / count, math.sqrt(squares / count), ratio)

    def delta(self, node: Node) -> float | None:
        """By how many bits A makes a token likelier than B; None until known."""
        if node.depth <= 1:
            return 0.0
        beside = self.token_pair(node)
        return None if beside is None else beside.delta_bits

    def inserted(self, node: Node) -> bool:  # noqa: ARG002
        """Whether B lacks a token: it never does."""
        return False

    def missing(self, node: Node) -> int:  # noqa: ARG002
        """How many tokens B has, and A lacks, right before a token: none."""
        return 0

    def difference(self, node: Node, taken: Node | None) -> Difference | None:  # noqa: ARG002
        """How both differ after a path; None until all rows that a table shows are known."""
        return self.after(node) if self.detailed(node) else None

    def divergence(self, node: Node, taken: Node | None) -> Difference | None:  # noqa: ARG002
        """As `difference`, but earlier: the rows may be fewer than a table shows."""
        return self.after(node)

    def rows(self, node: Node, taken: Node | None) -> tuple[TokenPair, ...]:  # noqa: ARG002
        """What both say of the likeliest tokens after a path; none until compared."""
        known = self.after(node)
        return () if known is None else known.rows

    def row(self, node: Node, taken: Node | None, token: int) -> TokenPair | None:  # noqa: ARG002
        """What both say of one token after a path; None until compared."""
        child = node.children.get(token)
        return None if child is None else self.token_pair(child)

    def firsts(self, node: Node, taken: Node | None) -> tuple[int, int] | None:  # noqa: ARG002
        """The tokens that A and B make most likely after a path; None until compared."""
        known = self.after(node)
        return None if known is None else (known.first_a, known.first_b)

    def comparable(self, node: Node, taken: Node | None) -> bool:  # noqa: ARG002
        """Whether B has the place: always."""
        return True

    def shared(self, tip: Node) -> int:
        """How many tokens of a path can be compared."""
        return max(0, tip.depth - 1)

    @property
    def compared(self) -> int:
        """How many of them are in `deltas`."""
        return len(self.deltas)
