"""Every path visited in a session, as a tree that only grows.

A node stands for a path: the tokens from the root down to it. Popping a token
moves a prompt's tip to the parent and loses nothing; going the same way again
finds the same node, and with it the distribution that was computed there. So a
distribution is computed once, and one path never shows two answers.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

from tokex_gguf.values.distribution import Distribution, Taken

SMALLEST_BLOCK = 64
"""Tokens of the smallest blocks in which values are sorted."""
JOINED = 8
"""Blocks that are joined to one of the next size."""
LARGEST_BLOCK = 4096


class SortedValues(NamedTuple):
    """The values of some tokens of a path, sorted: the highest first, of equal ones the first in the path."""

    values: "array[float]"
    """Negated."""
    depths: "array[int]"

    @classmethod
    def of(cls, values: "list[tuple[float, int]]") -> "SortedValues":
        """The run of these values and depths, given in the path's order."""
        return cls._sorted([(-value, depth) for value, depth in values])

    @classmethod
    def joined(cls, runs: "list[SortedValues]") -> "SortedValues":
        """All of some runs in one."""
        return cls._sorted([*chain.from_iterable(map(zip, *zip(*runs, strict=True)))])

    @classmethod
    def _sorted(cls, pairs: "list[tuple[float, int]]") -> "SortedValues":
        pairs.sort()
        values, depths = zip(*pairs, strict=True) if pairs else ((), ())
        return cls(array("d", values), array("l", depths))

    def behind(self, value: float, depth: int) -> int:
        """The first index behind a value, which is negated, at a depth."""
        low, high = bisect_left(self.values, value), bisect_right(self.values, value)
        return bisect_right(self.depths, depth, low, high)


class Tree:
    """What all nodes of a tree share."""

    __slots__ = ("changes", "counted", "latest", "visited", "visits")

    def __init__(self, root: "Node") -> None:
        self.changes = 0
        """Counts what changes the visited paths and the order of siblings among them."""
        self.visits = 0
        """How often a prompt came to another node than the one before."""
        self.visited: Node | None = None
        """The node that a prompt came to last."""
        self.latest: tuple[Node, list[int]] = (root, [])
        """The last path that was asked for and is not the beginning of another that was.

        It is never changed, only replaced, so it may be read from any thread.
        """
        self.counted: tuple[Node, int] = (root, 0)
        """The path whose unknown nodes were counted last, and how many there are."""


class Block(NamedTuple):
    """The values of the tokens behind the node `before`, up to the node that has this block."""

    before: "Node"
    surprisals: SortedValues
    """Bits of each token after the path before it."""
    entropies: SortedValues
    """Bits of the distribution that each token was drawn from, at least."""


class Node:
    """A path, by its last token and its parent.

    `distribution` is what the model says after this path, `taken` what it said
    of this path's last token before it; both are None until computed, which may be
    in any order along a path. What a lens makes of that distribution is kept by lens:
    see `answers.Answers`.
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
        # An ancestor further up, chosen so that every other one is reached in a number of steps that grows
        # with the logarithm of the depth.
        self._jump: Node = self
        if parent:
            far = parent._jump
            self._jump = far._jump if parent.depth - far.depth == far.depth - far._jump.depth else parent
        self.children: dict[int, Node] = {}
        self.distribution: Distribution | None = None
        self.taken: Taken | None = None
        self.strict: Distribution | None = None
        """What the model says after this path, computed in one way whatever came before: these are compared."""
        self.strict_taken: Taken | None = None
        """What it said so of this path's last token."""
        self.visited = False
        """Whether a prompt has been here, or passed through."""
        self.played = False
        """Whether its token was first chosen here, and not part of a text."""
        self.ahead = False
        """Whether it was made to look for answers: it is not saved before somebody goes there."""
        self.seen = 0
        """When a prompt came here last, counted in visits to any node of the tree; 0: none ended here."""
        self.checked = False
        """Whether `differs` is known."""
        self.differs: int | None = None
        """The first position where this path is not what the tokenizer makes of its text."""
        self.whole = parent is None
        """Whether all of the path is known."""
        self.logprob: float | None = 0.0 if self.depth <= 1 else None
        """Log-probability (natural) of the path given its first token; None while incomplete.

        The first token is given, not predicted: nothing comes before it."""
        self._block: Block | None = None

    def play(self) -> "Node":
        """Notes that a prompt is about to come here by a choice, where none has been here before."""
        self.played = self.played or not self.visited
        return self

    def visit(self) -> None:
        """Notes that a prompt is here, and has passed through all of the path."""
        tree = self.tree
        if tree.visited is self:
            return
        self.pass_through()
        tree.visited = self
        tree.visits += 1
        tree.changes += 1
        self.seen = tree.visits

    def pass_through(self) -> None:
        """Notes that a prompt has passed through all of the path."""
        node: Node | None = self
        while node and not node.visited:
            node.visited = True
            self.tree.changes += 1
            node = node.parent

    def child(self, token: int) -> "Node":
        """The path one token longer. The same call always gives the same node.

        A token that this node's distribution lists brings its log-probability and
        rank from there.
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

    def said(self, token: int) -> Taken | None:
        """What the answer after this path said of a token that may come; None where that is not known."""
        if self.distribution is not None and token in self.distribution.rows:
            return self.distribution.candidate(self.distribution.rows[token]).taken
        child = self.children.get(token)
        return None if child is None else child.taken

    def said_strictly(self, token: int) -> Taken | None:
        """The same of the strict answer."""
        if self.strict is not None and token in self.strict.rows:
            return self.strict.candidate(self.strict.rows[token]).taken
        child = self.children.get(token)
        return None if child is None else child.strict_taken

    def look_at(self, token: int) -> "Node":
        """The path one token longer, made to look for answers where it is not there yet."""
        is_new = token not in self.children
        node = self.child(token)
        node.ahead = node.ahead or is_new
        return node

    def descend(self, tokens: list[int]) -> "Node":
        """The path longer by these tokens."""
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
        """How many tokens of the path come before the first that was chosen here."""
        chosen = next((node for node in self.nodes() if node.played), None)
        return chosen.depth - 1 if chosen else self.depth

    def path(self) -> list[int]:
        """The token ids from the first to this node's own."""
        # Most that are asked for have nearly all of the last one, or are a beginning of it.
        latest, longest = self.tree.latest
        same = self.common(latest)
        path = longest[:same]
        if same < self.depth:
            path += [node.token for node in self.nodes(same)]
            self.tree.latest = (self, path.copy())
        return path

    def ancestor(self, depth: int) -> "Node":
        """The node of this path with that many tokens; this one where it has no more."""
        node = self
        while node.depth > depth:
            assert node.parent is not None
            node = node._jump if node._jump.depth >= depth else node.parent
        return node

    def common(self, other: "Node") -> int:
        """How many tokens the two paths begin with alike; 0 where they are of different trees."""
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
        """Whether everything shown of this node is computed."""
        return self.distribution is not None and (self.taken is not None or self.depth == 1)

    def first_unknown(self) -> int:
        """The first position whose distribution an evaluation of this path must give.

        Returns `depth` when nothing is missing. What comes behind it may be known or not. A node
        that lacks only what was said of its token needs its parent's distribution again.
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

        What differs from the path counted last is looked at, and nothing where that is asked for again.
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
        """The nodes at positions from `start` to before `end` of the path whose distribution must be given.

        That is also where only what it said of the next token is missing.
        """
        nodes = self.ancestor(end + 1).nodes(max(0, start))
        lacking = [node for node, then in pairwise(nodes) if node.distribution is None or then.taken is None]
        return [*lacking, *(node for node in nodes[-1:] if node.depth <= end and node.distribution is None)]

    @property
    def surprisal(self) -> float | None:
        """Bits of this node's token after the path before it; None until computed."""
        return None if self.taken is None else self.taken.surprisal

    def attach(self, distribution: Distribution) -> None:
        """Keeps what the model says after this path. The first answer stays: a path never shows two."""
        if self.distribution is None:
            self.distribution = distribution
            if self.known:
                self._came_to_know()

    def attach_taken(self, taken: Taken) -> None:
        """Keeps what was said of this node's token. The first answer stays."""
        if self.taken is None:
            self.taken = taken
            self._add_up()
            if self.known and self.depth > 1:
                self._came_to_know()
            if self.visited and self.parent and len(self.parent.children) > 1:
                self.tree.changes += 1
            if self.depth % SMALLEST_BLOCK == 0:
                self.block()  # else the first look back would sort all of a long path at once

    def attach_strict(self, distribution: Distribution) -> None:
        """Keeps a strict answer after this path; it is also the answer, where there is none yet."""
        if self.strict is None:
            self.strict = distribution
        self.attach(distribution)

    def attach_strict_taken(self, taken: Taken) -> None:
        """Keeps what a strict answer said of this node's token."""
        if self.strict_taken is None:
            self.strict_taken = taken
        self.attach_taken(taken)

    def first_lax(self) -> int:
        """The first position whose strict distribution an evaluation of this path must give; `depth`: none."""
        # No further than the numbers of the path are needed without a gap.
        missing = self.depth if self.strict is not None else self.depth - 1
        node = self
        while node.parent is not None and node.parent.depth:
            if node.strict_taken is None or node.parent.strict is None:
                missing = node.depth - 2
            node = node.parent
        return missing

    def _came_to_know(self) -> None:
        """Notes that this node is known now, also for paths through it."""
        tip, count = self.tree.counted
        if count and tip.descends_from(self):
            self.tree.counted = (tip, count - 1)
        waiting = [self]  # those behind it may have been known before
        while waiting:
            node = waiting.pop()
            if node.parent and node.parent.whole and node.known:
                node.whole = True
                waiting += node.children.values()

    def _add_up(self) -> None:
        """Gives this path its log-probability, and those that go on from it and waited for that."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            before = node.parent.logprob if node.parent else None
            if before is not None and node.taken is not None and node.depth > 1:
                node.logprob = before + node.taken.logprob
                waiting += [child for child in node.children.values() if child.logprob is None]

    def block(self) -> Block | None:
        """The sorted values of the last tokens of this path, as many as are sorted together at this depth.

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
        block, size = Block(before, SortedValues.of(surprisals), SortedValues.of(entropies)), SMALLEST_BLOCK * JOINED
        while self.depth % size == 0 and size <= LARGEST_BLOCK:
            blocks = [block]
            while len(blocks) < JOINED:
                if (earlier := blocks[-1].before.block()) is None:
                    return None
                blocks.append(earlier)
            runs = [one.surprisals for one in blocks], [one.entropies for one in blocks]
            block, size = Block(blocks[-1].before, *map(SortedValues.joined, runs)), size * JOINED
        return block

    def sort(self) -> None:
        """Makes all blocks of this path, as answers that arrive one by one do."""
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
    takens: Sequence[Taken | None],
    distributions: Sequence[Distribution | None],
    visited: Sequence[int],
) -> list[Node]:
    """The nodes of a whole tree, made at once, by the index of each one's parent, which comes before it.

    The first one is the root. No parent has two children of the same token. Each node is as if it was given its
    numbers when it was made; blocks are made when they are asked for.
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
    for node, here in zip(nodes, visited, strict=True):
        if here and (node.parent is None or node.parent.visited):
            node.visited = True
            changes += 1
        elif here:
            node.pass_through()
    tree.changes += changes
    return nodes


def entropy_before(node: Node) -> float | None:
    """The entropy in bits of the distribution that a node's token was drawn from, at least; None while not known."""
    parent = node.parent
    return parent.distribution.entropy_bits if parent and parent.distribution else None
