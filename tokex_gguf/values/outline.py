"""The paths that were visited, as lines of a tree. Pure."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from tokex_gguf.values.tree import Node


class Branch(NamedTuple):
    """A run of tokens without a choice between them."""

    nodes: tuple[Node, ...]
    depth: int
    """How many branchings lie before it."""

    @property
    def end(self) -> Node:
        """Its last token's node."""
        return self.nodes[-1]


class _Known(NamedTuple):
    """The tree found last, and what it was asked for with."""

    tip: Node
    ends: frozenset[Node]
    changes: int
    lines: Sequence[Branch]


_latest: list[_Known] = []


def branches(tip: Node, ends: Collection[Node]) -> Sequence[Branch]:
    """All visited paths with the same first token as `tip`, the likeliest first among siblings.

    A run ends where paths part, where one stops, and at each of `ends`. The same call gives the same
    lines at once while nothing was visited or evaluated that would change them.
    """
    wanted = frozenset(ends)
    for known in _latest:
        if known.tip is tip and known.changes == tip.tree.changes and known.ends == wanted:
            return known.lines
    lines = _branches(tip, wanted)
    _latest[:] = [_Known(tip, wanted, tip.tree.changes, lines)]
    return lines


def _branches(tip: Node, ends: frozenset[Node]) -> Sequence[Branch]:
    if tip.depth == 0:
        return ()
    lines: list[Branch] = []
    waiting = [(tip.ancestor(1), 0)]
    while waiting:
        node, depth = waiting.pop()
        run = [node]
        following = _visited(node)
        while len(following) == 1 and node not in ends:
            node = following[0]
            run.append(node)
            following = _visited(node)
        lines.append(Branch(tuple(run), depth))
        deeper = depth + (len(following) > 1)
        waiting += [(child, deeper) for child in reversed(following)]
    return tuple(lines)


def _visited(node: Node) -> list[Node]:
    children = [child for child in node.children.values() if child.visited]
    if len(children) > 1:
        children.sort(key=lambda child: (-(child.taken.logprob if child.taken else 0.0), child.token))
    return children
