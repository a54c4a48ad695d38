"""Every path visited in a session, as a tree that only grows.

A node stands for a path: the tokens from the root down to it. Popping a token
moves a prompt's tip to the parent and loses nothing; appending it again finds
the same node, with its distribution. So a distribution is computed once, and one
path never shows two answers.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

from tokex_gguf.values.distribution import Distribution, TokenLogprob

SMALLEST_BLOCK = 64
"""Tokens of the smallest block of sorted values."""
JOINED_BLOCKS = 8
"""Blocks that form one of the next size."""
LARGEST_BLOCK = 4096


class SortedValues(NamedTuple):
    """The values of tokens of a path, sorted: the highest first, equal ones in path order."""

    values: "array[float]"
    """Negated."""
    depths: "array[int]"

    @classmethod
    def of(cls, values: "list[tuple[float, int]]") -> "SortedValues":
        """Sorts pairs of a value and a depth, given in path order."""
        return cls._sorted([(-value, depth) for value, depth in values])

    @classmethod
    def joined(cls, runs: "list[SortedValues]") -> "SortedValues":
        """Merges some runs."""
        return cls._sorted([*chain.from_iterable(map(zip, *zip(*runs, strict=True)))])

    @classmethod
    def _sorted(cls, pairs: "list[tuple[float, int]]") -> "SortedValues":
        pairs.sort()
        values, depths = zip(*pairs, strict=True) if pairs else ((), ())
        return cls(array("d", values), array("l", depths))

    def index_after(self, value: float, depth: int) -> int:
        """The first index after a value, which is negated, at a depth."""
        low, high = bisect_left(self.values, value), bisect_right(self.values, value)
        return bisect_right(self.depths, depth, low, high)


class Tree:
    """What all nodes of a tree share."""

    __slots__ = ("changes", "counted", "latest", "visited", "visits")

    def __init__(self, root: "Node") -> None:
        self.changes = 0
        """Counts changes of the visited paths and of the order of siblings among them."""
        self.visits = 0
        """How often a prompt's tip moved to another node."""
        self.visited: Node | None = None
        """The last node that a prompt's tip moved to."""
        self.latest: tuple[Node, list[int]] = (root, [])
        """The last result of `path()`, unless it was a prefix of the one before.

        It is replaced, never changed, so any thread may read it.
        """
        self.counted: tuple[Node, int] = (root, 0)
        """The path whose unknown nodes were counted last, and their number."""


class Block(NamedTuple):
    """The values of the tokens after the node `before`, up to the node that has this block."""

    before: "Node"
    surprisals: SortedValues
    """Of each token, in bits."""
    entropies: SortedValues
    """Of the distribution before each token, in bits; a lower bound."""


class Node:
    """A path, by its last token and its parent.

    `distribution` is the model's answer after this path, `taken` the log-probability
    and rank of the last token in the distribution before it. Both are None until
    computed, which may be in any order along a path. Results of lenses are in
    `lens_results.LensResults`.
    """

    __slots__ = (
        *("tree", "parent", "token", "depth", "children", "distribution", "taken", "strict", "strict_taken"),
        *("visited", "played", "ahead", "seen", "checked", "differs", "whole", "logprob", "_jump", "_block"),
    )

    def __init__(self, parent: "Node | None", token: int) -> None:
        self.tree: Tree = parent.tree if parent else Tree(self)
        self.parent = parent
        self.token = token
        self.depth: int = parent.depth + 1 if parent else 0
        """Number of tokens in the path."""
        # An ancestor further up, chosen so that any other ancestor is reached in a number of steps logarithmic
        # in the depth.
        self._jump: Node = self
        if parent:
            far = parent._jump
            self._jump = far._jump if parent.depth - far.depth == far.depth - far._jump.depth else parent
        self.children: dict[int, Node] = {}
        self.distribution: Distribution | None = None
        self.taken: TokenLogprob | None = None
        self.strict: Distribution | None = None
        """The strict distribution after this path, for comparisons."""
        self.strict_taken: TokenLogprob | None = None
        """The last token in the strict distribution before it."""
        self.visited = False
        """Whether this node is or was on a prompt's path."""
        self.played = False
        """Whether the player chose its token, and it was not part of a text."""
        self.ahead = False
        """Whether a search for answers created this node: it is not saved before a prompt visits it."""
        self.seen = 0
        """The number of the last visit by a prompt's tip, counted over the tree; 0: none."""
        self.checked = False
        """Whether `differs` is known."""
        self.differs: int | None = None
        """The first position where this path differs from the tokenizer's own tokens; None where none does."""
        self.whole = parent is None
        """Whether all nodes of the path are known."""
        self.logprob: float | None = 0.0 if self.depth <= 1 else None
        """Log-probability (natural) of the path given its first token; None while incomplete.

        The first token is given, not predicted."""
        self._block: Block | None = None

    def play(self) -> "Node":
        """Records that the player chose this token, unless a prompt has been here before."""
        self.played = self.played or not self.visited
        return self

    def visit(self) -> None:
        """Records that a prompt's tip is here; the whole path counts as visited."""
        tree = self.tree
        if tree.visited is self:
            return
        self.pass_through()
        tree.visited = self
        tree.visits += 1
        tree.changes += 1
        self.seen = tree.visits

    def pass_through(self) -> None:
        """Marks all nodes of the path as visited."""
        node: Node | None = self
        while node and not node.visited:
            node.visited = True
            self.tree.changes += 1
            node = node.parent

    def child(self, token: int) -> "Node":
        """The path one token longer. The same call always gives the same node.

        Its log-probability and rank come from this node's distribution, if it is a
        candidate there.
        """
        node = self.children.get(token)
        if node is None:
            node = self.children[token] = Node(self, token)
        if node.taken is None and self.distribution and token in self.distribution.rows:
            row = self.distribution.candidate(self.distribution.rows[token])
            node.attach_taken(row.taken)
        if node.strict_taken is None and self.strict and token in self.strict.rows:
            node.strict_taken = self.strict.candidate(self.strict.rows[token]).taken
        return node

    def taken_after(self, token: int) -> TokenLogprob | None:
        """Log-probability and rank of a token after this path; None where they are not known."""
        if self.distribution is not None and token in self.distribution.rows:
            return self.distribution.candidate(self.distribution.rows[token]).taken
        child = self.children.get(token)
        return None if child is None else child.taken

    def strict_taken_after(self, token: int) -> TokenLogprob | None:
        """As `taken_after`, in the strict distribution."""
        if self.strict is not None and token in self.strict.rows:
            return self.strict.candidate(self.strict.rows[token]).taken
        child = self.children.get(token)
        return None if child is None else child.strict_taken

    def explore(self, token: int) -> "Node":
        """The path one token longer, for a search for answers: a new node is marked as `ahead`."""
        is_new = token not in self.children
        node = self.child(token)
        node.ahead = node.ahead or is_new
        return node

    def descend(self, tokens: list[int]) -> "Node":
        """The path with these tokens appended."""
        node = self
        for token in tokens:
            node = node.child(token)
        return node

    def knows(self, tokens: Iterable[int]) -> bool:
        """Whether the distribution after this path and these tokens is known."""
        node: Node | None = self
        for token in tokens:
            node = node.children.get(token) if node else None
        return node is not None and node.distribution is not None

    def nodes(self, start: int = 0) -> "list[Node]":
        """The nodes of the path from position `start` (0 is the first token, as is any before it) to this one."""
        first = max(0, start)
        nodes: list[Node] = []
        node: Node | None = self
        while node and node.depth > first:
            nodes.append(node)
            node = node.parent
        nodes.reverse()
        return nodes

    @property
    def given(self) -> int:
        """How many tokens of the path come before the first that the player chose."""
        chosen = next((node for node in self.nodes() if node.played), None)
        return chosen.depth - 1 if chosen else self.depth

    def path(self) -> list[int]:
        """The token ids from the first to this node's own."""
        # Most calls are for a path close to the last one, or for a prefix of it.
        latest, longest = self.tree.latest
        same = self.common(latest)
        path = longest[:same]
        if same < self.depth:
            path += [node.token for node in self.nodes(same)]
            self.tree.latest = (self, path.copy())
        return path

    def ancestor(self, depth: int) -> "Node":
        """The prefix of this path with `depth` tokens; this node where it is not longer."""
        node = self
        while node.depth > depth:
            assert node.parent is not None
            node = node._jump if node._jump.depth >= depth else node.parent
        return node

    def common(self, other: "Node") -> int:
        """The length of the common prefix of two paths; 0 where they are of different trees."""
        depth = min(self.depth, other.depth)
        a, b = self.ancestor(depth), other.ancestor(depth)
        while a is not b:
            if a.parent is None or b.parent is None:
                return 0
            a, b = (a._jump, b._jump) if a._jump is not b._jump else (a.parent, b.parent)
        return a.depth

    def descends_from(self, other: "Node") -> bool:
        """Whether `other` is this node or lies on its path."""
        return self.ancestor(other.depth) is other

    @property
    def known(self) -> bool:
        """Whether all numbers of this node are computed."""
        return self.distribution is not None and (self.taken is not None or self.depth == 1)

    def first_unknown(self) -> int:
        """The first position whose distribution an evaluation of this path must give.

        Returns `depth` when nothing is missing. Later positions may be known or not. A node
        that lacks only `taken` needs its parent's distribution again.
        """
        node = self
        if node.whole:
            return node.depth
        while node.parent is not None and not node.parent.whole:
            far = node._jump
            node = node.parent if far.whole else far
        return node.depth - (1 if node.taken is not None or node.depth == 1 else 2)

    @property
    def unknown(self) -> int:
        """How many nodes of the path are not known.

        Only nodes that differ from the path counted last are visited.
        """
        if self.whole:
            return 0
        before, count = self.tree.counted
        if before is not self:
            same = self.common(before)
            count -= sum(not node.known for node in before.nodes(same))
            count += sum(not node.known for node in self.nodes(same))
            self.tree.counted = (self, count)
        return count

    def lacking(self, start: int, end: int) -> "list[Node]":
        """The nodes at positions `start` to before `end` whose distribution an evaluation must give.

        Those include nodes where only `taken` of the next token is missing.
        """
        nodes = self.ancestor(end + 1).nodes(max(0, start))
        lacking = [node for node, child in pairwise(nodes) if node.distribution is None or child.taken is None]
        return [*lacking, *(node for node in nodes[-1:] if node.depth <= end and node.distribution is None)]

    @property
    def surprisal(self) -> float | None:
        """Surprisal of this node's token in bits; None until computed."""
        return None if self.taken is None else self.taken.surprisal

    def attach(self, distribution: Distribution) -> None:
        """Stores the distribution after this path. The first one stays: a path never shows two answers."""
        if self.distribution is None:
            self.distribution = distribution
            if self.known:
                self._became_known()

    def attach_taken(self, taken: TokenLogprob) -> None:
        """Stores the log-probability and rank of this node's token. The first ones stay."""
        if self.taken is None:
            self.taken = taken
            self._update_logprob()
            if self.known and self.depth > 1:
                self._became_known()
            if self.visited and self.parent and len(self.parent.children) > 1:
                self.tree.changes += 1
            if self.depth % SMALLEST_BLOCK == 0:
                self.block()  # else the first ranking would sort all of a long path at once

    def attach_strict(self, distribution: Distribution) -> None:
        """Stores a strict distribution after this path, also as `distribution` where that is None."""
        if self.strict is None:
            self.strict = distribution
        self.attach(distribution)

    def attach_strict_taken(self, taken: TokenLogprob) -> None:
        """Stores log-probability and rank of this node's token in the strict distribution."""
        if self.strict_taken is None:
            self.strict_taken = taken
        self.attach_taken(taken)

    def first_not_strict(self) -> int:
        """The first position whose strict distribution an evaluation of this path must give; `depth`: none."""
        # The whole path is visited: strict answers may have gaps.
        missing = self.depth if self.strict is not None else self.depth - 1
        node = self
        while node.parent is not None and node.parent.depth:
            if node.strict_taken is None or node.parent.strict is None:
                missing = node.depth - 2
            node = node.parent
        return missing

    def _became_known(self) -> None:
        """Updates the count of unknown nodes and `whole` after this node became known."""
        tip, count = self.tree.counted
        if count and tip.descends_from(self):
            self.tree.counted = (tip, count - 1)
        waiting = [self]  # its descendants may already be known
        while waiting:
            node = waiting.pop()
            if node.parent and node.parent.whole and node.known:
                node.whole = True
                waiting += node.children.values()

    def _update_logprob(self) -> None:
        """Computes `logprob` of this path, and of its descendants that waited for it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            before = node.parent.logprob if node.parent else None
            if before is not None and node.taken is not None and node.depth > 1:
                node.logprob = before + node.taken.logprob
                waiting += [child for child in node.children.values() if child.logprob is None]

    def block(self) -> Block | None:
        """The sorted values of the last tokens of this path; their number depends on the depth.

        None where the depth is no multiple of `SMALLEST_BLOCK`, or a value is not known.
        """
        if self._block is None and self.depth and self.depth % SMALLEST_BLOCK == 0:
            self._block = self._sorted()
        return self._block

    def _sorted(self) -> Block | None:
        surprisals: list[tuple[float, int]] = []
        entropies: list[tuple[float, int]] = []
        nodes = self.nodes(self.depth - SMALLEST_BLOCK)
        for node in nodes:
            if node.depth > 1:
                surprisal, entropy = node.surprisal, entropy_before(node)
                if surprisal is None or entropy is None:
                    return None
                surprisals.append((surprisal, node.depth))
                entropies.append((entropy, node.depth))
        before = nodes[0].parent
        assert before is not None
        block, size = (
            Block(before, SortedValues.of(surprisals), SortedValues.of(entropies)),
            SMALLEST_BLOCK * JOINED_BLOCKS,
        )
        while self.depth % size == 0 and size <= LARGEST_BLOCK:
            blocks = [block]
            while len(blocks) < JOINED_BLOCKS:
                if (earlier := blocks[-1].before.block()) is None:
                    return None
                blocks.append(earlier)
            runs = [each.surprisals for each in blocks], [each.entropies for each in blocks]
            block, size = Block(blocks[-1].before, *map(SortedValues.joined, runs)), size * JOINED_BLOCKS
        return block

    def sort(self) -> None:
        """Makes all blocks of this path, as `attach_taken` does one by one."""
        for node in self.nodes():
            if node.depth % SMALLEST_BLOCK == 0:
                node.block()

    @property
    def perplexity(self) -> float | None:
        """Exp of the mean negative log-probability of the predicted tokens; None without any."""
        if self.depth < 2 or self.logprob is None:
            return None
        try:
            return math.exp(-self.logprob / (self.depth - 1))
        except OverflowError:
            return math.inf


def grown(
    parents: Sequence[int],
    tokens: Sequence[int],
    takens: Sequence[TokenLogprob | None],
    distributions: Sequence[Distribution | None],
    visited: Sequence[int],
) -> list[Node]:
    """Builds a whole tree; returns its nodes. `parents`: the index of each node's parent, which comes before it.

    The first node is the root. No parent has two children of the same token. The result is as if each node got its
    numbers when it was created; blocks are made when they are requested.
    """
    nodes = [Node(None, -1)]
    add, tree, changes = nodes.append, nodes[0].tree, 0
    nodes[0].distribution = distributions[0]
    for index in range(1, len(parents)):
        parent, token, taken, distribution = nodes[parents[index]], tokens[index], takens[index], distributions[index]
        node = parent.children[token] = Node(parent, token)
        node.taken, node.distribution = taken, distribution
        if node.depth > 1 and taken is not None:
            if parent.logprob is not None:
                node.logprob = parent.logprob + taken.logprob
            node.whole = parent.whole and distribution is not None
        elif node.depth == 1:
            node.whole = distribution is not None
        add(node)
    for node, is_visited in zip(nodes, visited, strict=True):
        if is_visited and (node.parent is None or node.parent.visited):
            node.visited = True
            changes += 1
        elif is_visited:
            node.pass_through()
    tree.changes += changes
    return nodes


def entropy_before(node: Node) -> float | None:
    """The entropy of the distribution before a node's token in bits, a lower bound; None while not known."""
    parent = node.parent
    return parent.distribution.entropy_bits if parent and parent.distribution else None
