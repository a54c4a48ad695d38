"""Every path visited in a session, as a tree that only grows.

A node stands for a path: the tokens from the root down to it. Popping a token
moves a prompt's tip to the parent and loses nothing; going the same way again
finds the same node, and with it the distribution that was computed there. So a
distribution is computed once, and one path never shows two answers.
"""

import math
from typing import ClassVar

from tokex_gguf.distribution import Distribution, Taken


class Node:
    """A path, by its last token and its parent.

    `distribution` is what the model says after this path, `taken` what it said
    of this path's last token before it; both are None until computed.
    """

    __slots__ = (
        *("parent", "token", "depth", "children", "distribution", "taken"),
        *("visited", "checked", "differs", "_total"),
    )

    def __init__(self, parent: "Node | None", token: int) -> None:
        self.parent = parent
        self.token = token
        self.depth: int = parent.depth + 1 if parent else 0
        """Number of tokens in the path."""
        self.children: dict[int, Node] = {}
        self.distribution: Distribution | None = None
        self.taken: Taken | None = None
        self.visited = False
        """Whether a prompt has been here, or passed through."""
        self.checked = False
        """Whether `differs` is known."""
        self.differs: int | None = None
        """The first position where this path is not what the tokenizer makes of its text."""
        self._total: float | None = None

    _latest: "ClassVar[tuple[Node, list[int]]]"
    """The path given last. It is never changed, only replaced, so it may be read from any thread."""

    def visit(self) -> None:
        """Notes that a prompt is here, and has passed through all of the path."""
        node: Node | None = self
        while node and not node.visited:
            node.visited = True
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
            node.taken = Taken(row.logprob, row.rank)
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

    def path(self) -> list[int]:
        """The token ids from the first to this node's own."""
        # Most that are asked for are as long as the last one, or one token longer or shorter.
        node, path = Node._latest
        if self.parent is node:
            path = [*path, self.token]
        elif node.parent is self:
            path = path[:-1]
        elif node is not self:
            path = [node.token for node in self.nodes()]
        Node._latest = (self, path)
        return path.copy()

    def descends_from(self, other: "Node") -> bool:
        """Whether `other` is this node or lies on its path."""
        node: Node | None = self
        while node and node.depth > other.depth:
            node = node.parent
        return node is other

    @property
    def known(self) -> bool:
        """Whether everything shown of this node is computed."""
        return self.distribution is not None and (self.taken is not None or self.depth == 1)

    def first_unknown(self) -> int:
        """The first position whose distribution an evaluation of this path must give.

        Returns `depth` when nothing is missing. Known nodes form a prefix of every
        path, since evaluations answer in order: the search stops at the first known
        one. A node that lacks only what was said of its token needs its parent's
        distribution again.
        """
        start, node = self.depth, self
        while node.depth and not node.known:
            assert node.parent is not None
            if node.distribution is None:
                start = min(start, node.depth - 1)
            if node.taken is None and node.depth > 1:
                start = min(start, node.depth - 2)
            node = node.parent
        return start

    @property
    def surprisal(self) -> float | None:
        """Bits of this node's token after the path before it; None until computed."""
        return None if self.taken is None else max(0.0, -self.taken.logprob / math.log(2))

    def attach(self, distribution: Distribution) -> None:
        """Keeps a distribution. The first one stays: a path never shows two answers."""
        if self.distribution is None:
            self.distribution = distribution

    def attach_taken(self, taken: Taken) -> None:
        """Keeps what was said of this node's token. The first answer stays."""
        if self.taken is None:
            self.taken = taken

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


Node._latest = (Node(None, -1), [])
