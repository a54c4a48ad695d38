"""Two paths of one tree beside each other: A, which is played, and B. Only strict answers are compared.

Where A goes on behind its end, B goes on with the same tokens: what they would have cost there is what is asked.
"""

from collections import OrderedDict
from typing import NamedTuple, Protocol

from tokex_gguf.values.alignment import Alignment
from tokex_gguf.values.deltas import Deltas
from tokex_gguf.values.difference import Beside, Difference
from tokex_gguf.values.tree import Node

PAIRS = 8
"""Pairs of paths that are kept, the latest."""
MOST_DIFFERENCES = 1024
"""Places whose differences are kept, the latest."""


class Comparison(Protocol):
    """What the screen and the keys need to know of A and B. Nodes are those of A's path, the one that is played."""

    deltas: Deltas
    """As far as they are known."""

    def follow(self, tip: Node) -> None:
        """Takes in where A's path ends now."""

    def look_on(self, most: int) -> bool:
        """Looks at so many further tokens at the most; returns whether that was all that can be seen now."""

    def delta(self, node: Node) -> float | None:
        """By how many bits A makes a token likelier than B; None until known, and for one that B lacks."""

    def beside(self, node: Node) -> Beside | None:
        """What A and B say of a token in its place; None until known, and where B has no such place."""

    def inserted(self, node: Node) -> bool:
        """Whether B lacks a token."""

    def missing(self, node: Node) -> int:
        """How many tokens B has, and A lacks, right before a token."""

    def difference(self, node: Node, taken: Node | None) -> Difference | None:
        """How both differ after a path, before the token `taken` of it where that is looked at; None until known."""

    def divergence(self, node: Node, taken: Node | None) -> Difference | None:
        """The same as far as the divergence and the first tokens are known, with fewer rows than a table shows."""

    def rows(self, node: Node, taken: Node | None) -> tuple[Beside, ...]:
        """What both say there of tokens, as far as is known."""

    def row(self, node: Node, taken: Node | None, token: int) -> Beside | None:
        """The same of one token, which may be unlikely; None until known."""

    def firsts(self, node: Node, taken: Node | None) -> tuple[int, int] | None:
        """The tokens that A and B make most likely there; None until known."""

    def comparable(self, node: Node, taken: Node | None) -> bool:
        """Whether there is such a place in B, with something that comes after it: nothing predicts a first token."""

    def shared(self, tip: Node) -> int:
        """How many tokens there are to compare, up to the end of a path."""

    @property
    def compared(self) -> int:
        """How many of them `deltas` is of."""


class Lacking(NamedTuple):
    """Strict answers that are still to come."""

    path: Node
    start: int
    """The first position whose distribution is lacking."""


class Differences:
    """How distributions differ, by the paths that they come after. The latest are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Node, Node], Difference] = OrderedDict()

    def attach(self, a: Node, b: Node, difference: Difference) -> None:
        """Keeps how what comes after two paths differs."""
        self._kept[a, b] = difference
        if len(self._kept) > MOST_DIFFERENCES:
            self._kept.popitem(last=False)

    def get(self, a: Node, b: Node) -> Difference | None:
        """How what comes after two paths differs; None until told."""
        found = self._kept.get((a, b))
        if found is None and (turned := self._kept.get((b, a))) is not None:
            found = turned.reverse
            self.attach(a, b, found)
        return found


class PathComparison:
    """Two paths of one tree. What goes on behind A's end goes on behind B's with the same tokens."""

    def __init__(self, a: Node, b: Node, differences: Differences) -> None:
        """`a` and `b`: where the two paths ended when their comparison began."""
        self.a, self.b = a, b
        self.common = a.common(b)
        """Tokens that both begin with: there all is the same."""
        self.deltas = Deltas()
        self.alignment: Alignment | None = None
        """None while it is on its way."""
        self._tails: tuple[list[int], list[int]] = ([], [])
        """The tokens of both behind what they begin with, from the last one on, as far as they were gathered."""
        self._gathered = [a, b]
        """Up to here they were."""
        self._differences = differences
        self._along: dict[Node, Node] = {a: b}
        """Of paths behind A's end, those behind B's."""
        self._partners: dict[Node, Node | None] = {}
        """Of tokens of A, those of B, as far as they were looked for."""
        self._ends: tuple[Node, Node] | None = None
        """Where the two paths end now."""
        self._seen = self.common
        """Up to this depth of A the tokens were looked at."""
        self._first = max(0, self.common - 1)
        """Before this depth no answer is needed."""
        self._strict_a = self._strict_b = self._first
        """Up to these depths all answers are strict."""

    # --- alignment

    def gather(self, most: int) -> bool:
        """Gathers so many further tokens of both paths at the most; returns whether those are all to be aligned."""
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
        """Whether all tokens that are to be aligned are."""
        return all(node.depth == self.common for node in self._gathered)

    @property
    def tails(self) -> tuple[list[int], list[int]]:
        """The tokens of both behind what they begin with, once they are gathered."""
        a, b = self._tails
        return a[::-1], b[::-1]

    def path(self, node: Node) -> list[int]:
        """The tokens of a path of A or B. Those of B are put together: its tree is not walked through for them."""
        if node.depth <= self.common or node.descends_from(self.a.ancestor(self.common + 1)):
            return node.path()
        behind = self._tails[1][::-1][: node.depth - self.common]
        further = [one.token for one in node.nodes(self.b.depth)]
        return [*self.a.ancestor(self.common).path(), *behind, *further]

    def align(self, tails: Alignment) -> None:
        """Takes in which tokens behind what they begin with both have.

        An answer to a question from before this pair was forgotten is not taken in: it is asked again.
        """
        if not self.gathered:
            return
        self.alignment = tails.behind(self.common)

    # --- places

    def follow(self, tip: Node) -> None:
        """Takes in where A's path ends now; it begins `a`, or goes on from it."""
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
        other = self._along.get(tip) or self.place(tip, None) or self.b
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
        if self.alignment is None or not self.a.descends_from(node):  # it is typed beside A, and not entered
            return None
        if node not in self._partners:
            position = self.alignment.partner(node.depth - 1)
            before = self._partners.get(node.parent) if node.parent else None
            if position is None:
                found = None
            elif before and before.depth == position:
                found = before.children[node.token]
            else:
                found = self.b.ancestor(position + 1)
            self._partners[node] = found
        return self._partners[node]

    def place(self, node: Node, taken: Node | None) -> Node | None:
        """The path of B after which to look, beside that of A which ends with `node` and goes on with `taken`."""
        if taken is None and node in self._along:  # both at their ends
            return self._along[node]
        if node.depth <= self.common:
            return node
        if taken is not None and (partner := self.partner(taken)) is not None:
            return partner.parent
        return self.partner(node)

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
        """As `Comparison` has it. What both begin with does not count: there is nothing to compare.

        Nor does what is the first token of either: nothing is said of that.
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
        """How many of A's tokens B lacks, and A of B's, up to where B is compared."""
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
        told = None if partner is None else _beside(node, partner)
        return None if told is None else told.delta_bits

    def beside(self, node: Node) -> Beside | None:
        """As `Comparison` has it."""
        # Behind what both begin with, the place is the same, whatever B goes on with.
        partner = node if node.depth <= self.common + 1 else self.partner(node)
        return None if partner is None else _beside(node, partner)

    def difference(self, node: Node, taken: Node | None) -> Difference | None:
        """As `Comparison` has it."""
        place = self.place(node, taken)
        return None if place is None else self._differences.get(node, place)

    divergence = difference

    def rows(self, node: Node, taken: Node | None) -> tuple[Beside, ...]:
        """As `Comparison` has it. Before it is told how both differ, those that both have among the likely ones."""
        difference, place = self.difference(node, taken), self.place(node, taken)
        if difference is not None:
            return difference.rows
        if place is None or place.strict is None or node.strict is None:
            return ()
        a, b = node.strict, place.strict
        return tuple(
            Beside(row.token, row.taken, b.candidate(b.rows[row.token]).taken)
            for row in a.candidates()
            if row.token in b.rows
        )

    def row(self, node: Node, taken: Node | None, token: int) -> Beside | None:
        """As `Comparison` has it."""
        place = self.place(node, taken)
        a, b = node.said_strictly(token), None if place is None else place.said_strictly(token)
        return None if a is None or b is None else Beside(token, a, b)

    def firsts(self, node: Node, taken: Node | None) -> tuple[int, int] | None:
        """As `Comparison` has it."""
        place = self.place(node, taken)
        if place is None or place.strict is None or node.strict is None:
            return None
        return node.strict.most_likely, place.strict.most_likely

    def look_on(self, most: int) -> bool:
        """Looks at so many further tokens at the most; returns whether that was all that can be seen now."""
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
                if told := _beside(node, partner):
                    self.deltas.add(node.depth, told.delta_bits, flip=_flip(node.parent, partner.parent))
            self._seen = node.depth
        return not (more_a or more_b or self._seen < min(self._strict_a, tip.depth))

    def _strict(self, tip: Node, known: int, most: int) -> tuple[int, bool]:
        """Up to what depth all answers of a path are strict, and whether more of them may be."""
        end = min(tip.depth, known + most)
        for node in tip.ancestor(end).nodes(known):
            if node.strict is None or (node.strict_taken is None and node.depth > max(1, self.common)):
                return known, False
            known = node.depth
        return known, known < tip.depth

    def lacking(self) -> Lacking | None:
        """What is to be asked for next; None where all is there, or not looked at yet."""
        for tip, known in zip(self._ends or (), (self._strict_a, self._strict_b), strict=False):
            if known < tip.depth:
                node = tip.ancestor(known + 1)
                untold = node.strict_taken is None and node.depth > max(1, self.common)
                return Lacking(tip, known - 1 if untold else known)
        return None


def _beside(a: Node, b: Node) -> Beside | None:
    """What was said of the same token at the ends of two paths; None until known."""
    if a.strict_taken is None or b.strict_taken is None:
        return None
    return Beside(a.token, a.strict_taken, b.strict_taken)


def _flip(a: Node | None, b: Node | None) -> bool:
    """Whether another token is the most likely after one path than after another."""
    if a is None or b is None or a.strict is None or b.strict is None:
        return False
    return a.strict.most_likely != b.strict.most_likely


class Comparisons:
    """What was compared: pairs of paths, the latest of them, and places. It only gains."""

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
