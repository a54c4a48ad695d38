"""The visited paths as lines of a tree. Pure."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cmp_to_key, lru_cache
from itertools import pairwise
from typing import NamedTuple

from tokex_gguf.values.folding import folded
from tokex_gguf.values.tree import Node


class Order(Enum):
    """The order of sibling branches."""

    RECENT = "recent"
    """By the last visit, the latest at the bottom, which is not indented."""
    LIKELY = "likely"
    """By the probability of their first token, the likeliest at the top. All are indented."""


@dataclass(slots=True, eq=False)
class Branch:
    """A run of tokens without a fork."""

    first: Node
    end: Node
    parent: "Branch | None"
    """The branch that it continues."""
    latest: int
    """The last visit to it or to its descendants, as `Node.seen` counts."""
    branches: "list[Branch]" = field(default_factory=list)
    """The branches that continue it, in order of creation."""
    paths: int = 0
    """How many paths end in it or its descendants."""
    text: str | None = None
    """Its text, once a search needed it."""

    @property
    def nodes(self) -> list[Node]:
        """Its tokens."""
        return self.end.nodes(self.first.depth - 1)

    def following(self, order: Order) -> "Branch":
        """The first of its branches by an order: the latest, or the likeliest."""
        return _ordered(self.branches, order)[-1 if order is Order.RECENT else 0]


class OutlineLine(NamedTuple):
    """A branch as a line."""

    branch: Branch
    level: int
    """Its level of indent."""
    indented: bool
    """Whether it is indented under its parent; else it continues at the parent's level."""


@dataclass(slots=True, eq=False)
class Outline:
    """All branches of a tree."""

    roots: list[Branch]
    branches: list[Branch]
    """All branches, each after its parent."""
    by_end: dict[Node, Branch]

    def of(self, node: Node) -> Branch | None:
        """The branch with a token."""
        if node in self.by_end:
            return self.by_end[node]
        inside = (one for one in self.branches if one.first.depth <= node.depth <= one.end.depth)
        return next((one for one in inside if one.end.ancestor(node.depth) is node), None)


class Lines:
    """The lines of a tree that are not folded."""

    def __init__(self, outline: Outline, order: Order, folded: frozenset[Node]) -> None:
        self.outline = outline
        self.lines: Sequence[OutlineLine] = _lines(outline, order, folded)
        self._rows = {line.branch.end: row for row, line in enumerate(self.lines)}
        self.found_last: tuple[str, tuple[BranchMatch, ...]] | None = None
        """The last search and its matches."""

    def row(self, node: Node) -> int:
        """The row of the line with a token; where that is folded, of the line that hides it; else the first."""
        if (row := self._rows.get(node)) is None:
            branch = self.outline.of(node)
            while branch is not None and branch.end not in self._rows:
                branch = branch.parent
            row = self._rows[node] = self._rows[branch.end] if branch else 0
        return row


class BranchMatch(NamedTuple):
    """A branch that matches a search."""

    branch: Branch
    at: int
    """The start of the match in the branch's text; negative: before it."""


@lru_cache(maxsize=1)
def _outline(root: Node, ends: frozenset[Node], pruned: frozenset[Node], _changes: int) -> Outline:
    roots: list[Branch] = []
    branches: list[Branch] = []
    begins = [node for node in root.children.values() if node.visited and node not in pruned]
    waiting: list[tuple[Node, Branch | None]] = [(node, None) for node in reversed(begins)]
    while waiting:
        node, parent = waiting.pop()
        first, latest = node, 0
        while True:  # once for each token: no function calls
            if node.seen > latest:
                latest = node.seen
            following = [child for child in node.children.values() if child.visited]
            if pruned:
                following = [child for child in following if child not in pruned]
            if len(following) != 1 or node in ends:
                break
            node = following[0]
        branch = Branch(first, node, parent, latest)
        branches.append(branch)
        (parent.branches if parent else roots).append(branch)
        waiting += [(child, branch) for child in reversed(following)]
    for branch in reversed(branches):
        branch.paths = branch.paths or 1
        if branch.parent:
            branch.parent.paths += branch.paths
            branch.parent.latest = max(branch.parent.latest, branch.latest)
    return Outline(roots, branches, {branch.end: branch for branch in branches})


def outline(root: Node, ends: Collection[Node], pruned: Collection[Node] = ()) -> Outline:
    """All visited paths of a tree but those through a node of `pruned`.

    A branch ends at a fork, at the end of a path, and at each of `ends`. The result is cached until a visit
    or an evaluation changes it.
    """
    return _outline(root, frozenset(ends), frozenset(pruned), root.tree.changes)


@lru_cache(maxsize=2)
def lines(outline: Outline, order: Order, folded: frozenset[Node] = frozenset()) -> Lines:
    """The lines of a tree without those after the ends in `folded`. The result is cached."""
    return Lines(outline, order, folded)


def _ordered(branches: list[Branch], order: Order) -> list[Branch]:
    if len(branches) < 2:
        return branches
    if order is Order.RECENT:
        return sorted(branches, key=lambda branch: branch.latest)
    return sorted(branches, key=lambda branch: (-_logprob(branch.first), -branch.latest))


def _logprob(node: Node) -> float:
    return node.taken.logprob if node.taken else -float("inf")


def _lines(outline: Outline, order: Order, folded: frozenset[Node]) -> Sequence[OutlineLine]:
    lines: list[OutlineLine] = []
    waiting: list[OutlineLine] = []

    def wait(branches: list[Branch], level: int) -> None:
        """The latest branch stays at this level, below its indented siblings; by likelihood, all are indented."""
        indented = _ordered(branches, order)
        if order is Order.RECENT or len(indented) == 1:
            *indented, last = indented
            waiting.append(OutlineLine(last, level, False))
        waiting.extend(OutlineLine(branch, level + 1, True) for branch in reversed(indented))

    if outline.roots:
        wait(outline.roots, 0)
    while waiting:
        line = waiting.pop()
        lines.append(line)
        if line.branch.branches and line.branch.end not in folded:
            wait(line.branch.branches, line.level)
    return tuple(lines)


_BLANKS = str.maketrans("\n\r\t", "   ")


def searchable(text: str) -> str:
    r"""A text for searches: in lower case, with a space for every blank.

    >>> searchable("One\nTWO")
    'one two'
    """
    return folded(text.translate(_BLANKS))


def found(lines: Lines, wanted: str, text: Callable[[Branch], str]) -> tuple[BranchMatch, ...]:
    """The lines that match a search, also where the match begins before them. The last result is cached.

    `text` gives the text of a branch, and is called once for each.
    """
    wanted = searchable(wanted)
    if lines.found_last and lines.found_last[0] == wanted:
        return lines.found_last[1]
    places = _places(lines.outline, wanted, text) if wanted else dict.fromkeys(lines.outline.branches, 0)
    rows = tuple(BranchMatch(line.branch, places[line.branch]) for line in lines.lines if line.branch in places)
    lines.found_last = wanted, rows
    return rows


def _places(outline: Outline, wanted: str, text: Callable[[Branch], str]) -> dict[Branch, int]:
    """The start of the first match in each branch that has one."""
    places: dict[Branch, int] = {}
    tails: dict[Branch | None, str] = {None: ""}
    reach = len(wanted) - 1
    for branch in outline.branches:
        if branch.text is None:
            branch.text = text(branch)
        before = tails[branch.parent]
        whole = before + searchable(branch.text)
        tails[branch] = whole[max(0, len(whole) - reach) :]
        if (at := whole.find(wanted)) >= 0:
            places[branch] = at - len(before)
    return places


@lru_cache(maxsize=2)
def shared(tips: tuple[Node, ...]) -> tuple[int, ...]:
    """For each path, the length of its longest common prefix with another of them."""

    def before(a: Node, b: Node) -> int:
        """Compares two paths, so that those with common prefixes are neighbours."""
        same = a.common(b)
        if same == min(a.depth, b.depth):
            return a.depth - b.depth
        return a.ancestor(same + 1).token - b.ancestor(same + 1).token

    key = cmp_to_key(before)
    order = sorted(range(len(tips)), key=lambda index: key(tips[index]))
    most = [0] * len(tips)
    for left, right in pairwise(order):
        same = tips[left].common(tips[right])
        most[left], most[right] = max(most[left], same), max(most[right], same)
    return tuple(most)
