"""Every path visited in a session, as a tree that only grows.

A node stands for a path: the tokens from the root down to it. Popping a token
moves a prompt's tip to the parent and loses nothing; going the same way again
finds the same node, and with it the distribution that was computed there. So a
distribution is computed once, and one path never shows two answers.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from itertools import chain
from typing import NamedTuple

from tokex_gguf.values.distribution import Distribution, Taken

BLOCK = 64
"""Tokens of the smallest blocks in which values are sorted."""
JOINED = 8
"""Blocks that are joined to one of the next size."""
LARGEST_BLOCK = 4096


class Run(NamedTuple):
    """The values of some tokens of a path, sorted: the highest first, of equal ones the first in the path."""

    values: "array[float]"
    """Negated."""
    depths: "array[int]"

    @classmethod
    def of(cls, values: "list[tuple[float, int]]") -> "Run":
        """The run of these values and depths, given in the path's order."""
        return cls._sorted([(-value, depth) for value, depth in values])

    @classmethod
    def joined(cls, runs: "list[Run]") -> "Run":
        """All of some runs in one."""
        return cls._sorted([*chain.from_iterable(map(zip, *zip(*runs, strict=True)))])

    @classmethod
    def _sorted(cls, pairs: "list[tuple[float, int]]") -> "Run":
        pairs.sort()
        values, depths = zip(*pairs, strict=True) if pairs else ((), ())
        return cls(array("d", values), array("l", depths))

    def behind(self, value: float, depth: int) -> int:
        """The first index behind a value, which is negated, at a depth."""
        low, high = bisect_left(self.values, value), bisect_right(self.values, value)
        return bisect_right(self.depths, depth, low, high)


class Tree:
    """What all nodes of a tree share."""

    __slots__ = ("changes", "latest", "visited", "visits")

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


class Block(NamedTuple):
    """The values of the tokens behind the node `before`, up to the node that has this block."""

    before: "Node"
    surprisals: Run
    """Bits of each token after the path before it."""
    entropies: Run
    """Bits of the distribution that each token was drawn from."""


class Node:
    """A path, by its last token and its parent.

    `distribution` is what the model says after this path, `taken` what it said
    of this path's last token before it; both are None until computed. What a
    lens makes of that distribution is kept by lens: see `answers.Answers`.
    """

    __slots__ = (
        *("tree", "parent", "token", "depth", "children", "distribution", "taken"),
        *("visited", "played", "seen", "checked", "differs", "_total", "_jump", "_block"),
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
        self.visited = False
        """Whether a prompt has been here, or passed through."""
        self.played = False
        """Whether its token was first chosen here, and not part of a text."""
        self.seen = 0
        """When a prompt came here last, counted in visits to any node of the tree; 0: none ended here."""
        self.checked = False
        """Whether `differs` is known."""
        self.differs: int | None = None
        """The first position where this path is not what the tokenizer makes of its text."""
        self._total: float | None = None
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
            node.attach_taken(Taken(row.logprob, row.rank))
        return node

    def descend(self, tokens: list[int]) -> "Node":
        """The path longer by these tokens."""
        node = self
        for token in tokens:
            node = node.child(token)
        return node

    def nodes(self, start: int = 0) -> "list[Node]":
        """The nodes of the path from position `start` (0 is the first token) to this one."""
        nodes: list[Node] = []
        node: Node | None = self
        while node and node.depth > start:
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

        Returns `depth` when nothing is missing. Known nodes form a prefix of every
        path, since evaluations answer in order: what is looked for is the first that is
        not. A node that lacks only what was said of its token needs its parent's
        distribution again.
        """
        node = self
        if not node.depth or node.known:
            return node.depth
        while node.parent is not None and node.parent.depth and not node.parent.known:
            far = node._jump
            node = far if far.depth and not far.known else node.parent
        return node.depth - (1 if node.taken is not None or node.depth == 1 else 2)

    @property
    def surprisal(self) -> float | None:
        """Bits of this node's token after the path before it; None until computed."""
        return None if self.taken is None else max(0.0, -self.taken.logprob / math.log(2))

    def attach(self, distribution: Distribution) -> None:
        """Keeps what the model says after this path. The first answer stays: a path never shows two."""
        if self.distribution is None:
            self.distribution = distribution

    def attach_taken(self, taken: Taken) -> None:
        """Keeps what was said of this node's token. The first answer stays."""
        if self.taken is None:
            self.taken = taken
            parent = self.parent
            if parent and parent.depth:
                before = parent._total if parent.depth > 1 else 0.0
                if before is not None:
                    self._total = before + taken.logprob  # else `logprob` would go through all of a long path at once
            if self.visited and parent and len(parent.children) > 1:
                self.tree.changes += 1
            if self.depth % BLOCK == 0:
                self.block()  # else the first look back would sort all of a long path at once

    def block(self) -> Block | None:
        """The sorted values of the last tokens of this path, as many as are sorted together at this depth.

        None where the depth is no multiple of `BLOCK`, or a value is not known.
        """
        if self._block is None and self.depth and self.depth % BLOCK == 0:
            self._block = self._sorted()
        return self._block

    def _sorted(self) -> Block | None:
        surprisals: list[tuple[float, int]] = []
        entropies: list[tuple[float, int]] = []
        nodes = self.nodes(self.depth - BLOCK)
        for node in nodes:
            if node.depth > 1:
                surprisal, entropy = node.surprisal, entropy_before(node)
                if surprisal is None or entropy is None:
                    return None
                surprisals.append((surprisal, node.depth))
                entropies.append((entropy, node.depth))
        before = nodes[0].parent
        assert before is not None
        block, size = Block(before, Run.of(surprisals), Run.of(entropies)), BLOCK * JOINED
        while self.depth % size == 0 and size <= LARGEST_BLOCK:
            blocks = [block]
            while len(blocks) < JOINED:
                if (earlier := blocks[-1].before.block()) is None:
                    return None
                blocks.append(earlier)
            runs = [one.surprisals for one in blocks], [one.entropies for one in blocks]
            block, size = Block(blocks[-1].before, *map(Run.joined, runs)), size * JOINED
        return block

    @property
    def logprob(self) -> float | None:
        """Log-probability (natural) of the path given its first token; None while incomplete.

        The first token is given, not predicted: nothing comes before it.
        """
        waiting: list[Node] = []
        node = self
        while node._total is None:
            if node.depth <= 1:
                node._total = 0.0
                break
            if node.taken is None or node.parent is None:
                return None
            waiting.append(node)
            node = node.parent
        total = node._total
        for node in reversed(waiting):
            assert node.taken is not None
            total += node.taken.logprob
            node._total = total
        return total

    @property
    def perplexity(self) -> float | None:
        """Exp of the mean negative log-probability of the predicted tokens; None without any."""
        if self.depth < 2 or (logprob := self.logprob) is None:
            return None
        try:
            return math.exp(-logprob / (self.depth - 1))
        except OverflowError:
            return math.inf


def entropy_before(node: Node) -> float | None:
    """The entropy in bits of the distribution that a node's token was drawn from; None while not known."""
    parent = node.parent
    return parent.distribution.entropy_bits if parent and parent.distribution else None
