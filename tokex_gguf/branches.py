"""The paths that were visited, as lines of a tree. Pure."""

from collections.abc import Collection
from typing import NamedTuple

from tokex_gguf.tree import Node


class Branch(NamedTuple):
    """A run of tokens without a choice between them."""

    nodes: tuple[Node, ...]
    depth: int
    """How many branchings lie before it."""

    @property
    def end(self) -> Node:
        """Its last token's node."""
        return self.nodes[-1]


def branches(tip: Node, ends: Collection[Node]) -> list[Branch]:
    """All visited paths with the same first token as `tip`, the likeliest first among siblings.

    A run ends where paths part, where one stops, and at each of `ends`.
    """
    first = next(iter(tip.nodes()), None)
    if first is None:
        return []
    lines: list[Branch] = []
    waiting = [(first, 0)]
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
    return lines


def _visited(node: Node) -> list[Node]:
    children = [child for child in node.children.values() if child.visited]
    return sorted(children, key=lambda child: (-(child.taken.logprob if child.taken else 0.0), child.token))
