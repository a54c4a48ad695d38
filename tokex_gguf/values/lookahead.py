"""Lookahead: distributions after branches that the player has not chosen. Pure.

They are not part of the tree: they are neither saved nor shown as visited, and their number is bounded. When the player
appends a branch's tokens, the tree takes over its distributions.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import NamedTuple, TypeAlias

from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.tree import Node

TIPS = 16
"""The latest tips whose lookahead is kept."""
LONGEST_BRANCH = 32
"""The most tokens of a branch."""
NEAR_TIPS = 8
"""The most tokens after a tip at which its lookahead is still found."""

TokenBranch: TypeAlias = tuple[int, ...]


class Way(Enum):
    """Whether a branch may be extended by a row of the distribution after it."""

    OPEN = "open"
    CLOSED = "closed"
    LAST = "last"
    """Neither by this row nor by any less likely one."""


May: TypeAlias = Callable[[TokenBranch, Distribution, int], Way]
AsSeen: TypeAlias = Callable[[Distribution], Distribution]
"""Changes a distribution before branches are extended by its rows, such as by biases."""


def as_is(distribution: Distribution) -> Distribution:
    """The model's own distribution."""
    return distribution


@dataclass(slots=True)
class LookaheadNode:
    """A path outside the tree, with the distribution after it once that is known."""

    distribution: Distribution | None = None
    children: "dict[int, LookaheadNode]" = field(default_factory=dict)

    def descend(self, branch: Sequence[int]) -> "LookaheadNode":
        """The path with these tokens appended."""
        ahead = self
        for token in branch:
            ahead = ahead.children.setdefault(token, LookaheadNode())
        return ahead


class Place(NamedTuple):
    """A path, by its node of the tree and its node of the lookahead; either may be None."""

    node: Node | None
    ahead: LookaheadNode | None

    @property
    def distribution(self) -> Distribution | None:
        """The distribution after the path. The tree's comes first: a path never shows two answers."""
        in_tree = self.node.distribution if self.node is not None else None
        if in_tree is not None and in_tree.ids:
            return in_tree
        return self.ahead.distribution if self.ahead is not None else None

    def child(self, token: int) -> "Place":
        """The path one token longer."""
        node, ahead = self
        return Place(
            None if node is None else node.children.get(token), None if ahead is None else ahead.children.get(token)
        )


class _Row(NamedTuple):
    """The next row of a known distribution by which a branch may be extended. The smallest is next."""

    negated: float
    """The log-probability of the branch with that row's token, negated."""
    number: int
    """Equal rows keep their order by it."""
    branch: TokenBranch
    before: float
    """The log-probability of the branch."""
    row: int


class LookaheadTree:
    """The lookahead of one tip, and the likeliest branches not yet known: best first, by joint probability."""

    def __init__(self, tip: Node, ahead: LookaheadNode) -> None:
        self.tip = tip
        self.ahead = ahead
        self.known = 0
        """How many branches with known distributions the search has reached."""
        self._chosen_by: object = None
        self._seen: AsSeen = as_is
        self._rows: list[_Row] = []
        self._asked: dict[TokenBranch, float] = {}
        """Log-probabilities of the branches that `wanted` returned."""
        self._expected: Collection[TokenBranch] = ()
        """Branches whose answers are still to come."""
        self._count = 0
        self._began = False

    def at(self, branch: Sequence[int]) -> Place:
        """The tip with these tokens appended."""
        place = Place(self.tip, self.ahead)
        for token in branch:
            place = place.child(token)
        return place

    def begin(self, chosen_by: object, asked: Collection[TokenBranch], seen: AsSeen = as_is) -> None:
        """Restarts the search if other branches may be extended than before, or a requested answer will not come.

        `chosen_by`: the key of these conditions, also of `seen`; `asked`: branches whose answers are still to come.
        """
        self._expected = asked
        lost = any(branch not in asked and self.at(branch).distribution is None for branch in self._asked)
        if self._began and chosen_by == self._chosen_by and not lost:
            self._continue()
            return
        self._chosen_by, self._seen, self._rows, self._asked, self.known = chosen_by, seen, [], {}, 0
        self._began = self._open((), 0.0)

    def wanted(self, count: int, budget: int, may: May) -> list[TokenBranch]:
        """The likeliest branches that are neither known nor requested, the likeliest first.

        At most `count`, and no more than the `budget` allows, which also counts known and requested branches.
        """
        self._continue()
        branches: list[TokenBranch] = []
        while self._rows and len(branches) < count and self.known + len(self._asked) < budget:
            first = heappop(self._rows)
            distribution = self.at(first.branch).distribution
            assert distribution is not None
            before = self._seen(distribution)
            way = Way.LAST if len(first.branch) >= LONGEST_BRANCH else may(first.branch, before, first.row)
            if way is Way.LAST:
                continue
            self._push(first.branch, first.before, before, first.row + 1)
            if way is Way.CLOSED:
                continue
            branch = (*first.branch, before.ids[first.row])
            if self._open(branch, -first.negated):
                continue
            self._asked[branch] = -first.negated
            if branch not in self._expected:
                branches.append(branch)
        return branches

    def moved_to(self, tip: Node) -> "LookaheadTree":
        """The lookahead of a child of the tip, with the search going on where it was."""
        token = tip.token
        longer = LookaheadTree(tip, self.ahead.descend([token]))
        rows = [old._replace(branch=old.branch[1:]) for old in self._rows if old.branch[:1] == (token,)]
        if rows:
            heapify(rows)
            longer._rows, longer._count = rows, self._count
            asked = [(old[1:], logprob) for old, logprob in self._asked.items() if old[:1] == (token,)]
            longer._asked = {old: logprob for old, logprob in asked if old}
            longer.known, longer._chosen_by, longer._began = len(rows) - 1, self._chosen_by, True
            longer._seen = self._seen
        return longer

    def _continue(self) -> None:
        """Continues the search with requested answers that have come."""
        for branch in [one for one in self._asked if self.at(one).distribution is not None]:
            self._open(branch, self._asked.pop(branch))

    def _open(self, branch: TokenBranch, logprob: float) -> bool:
        """Extends the search by the distribution after a branch; returns whether that is known."""
        distribution = self.at(branch).distribution
        if distribution is None:
            return False
        self.known += bool(branch)
        self._push(branch, logprob, self._seen(distribution), 0)
        return True

    def _push(self, branch: TokenBranch, logprob: float, distribution: Distribution, row: int) -> None:
        if row < len(distribution):
            self._count += 1
            heappush(self._rows, _Row(-logprob - distribution.logprobs[row], self._count, branch, logprob, row))


class LookaheadResults:
    """The lookahead of the latest tips."""

    def __init__(self) -> None:
        self._tips: OrderedDict[Node, LookaheadTree] = OrderedDict()
        self.answers = 0
        """How often something was stored at a tip: after each time there may be something new to show."""

    def tree_at(self, tip: Node) -> LookaheadTree:
        """The lookahead of a tip."""
        if (lookahead := self._tips.get(tip)) is None:
            before = self._tips.get(tip.parent) if tip.parent else None
            lookahead = before.moved_to(tip) if before else LookaheadTree(tip, self.place(tip).ahead or LookaheadNode())
            children = lookahead.ahead.children
            for longer in self._tips.values():
                if longer.tip.parent is tip and longer.tip.token not in children:  # as after popping
                    children[longer.tip.token] = longer.ahead
                    self.answers += 1
            self._tips[tip] = lookahead
            if len(self._tips) > TIPS:
                self._tips.popitem(last=False)
        self._tips.move_to_end(tip)
        return lookahead

    def attach(self, tip: Node, branch: Sequence[int], distribution: Distribution) -> None:
        """Stores the distribution after a tip and a branch. The first one stays."""
        ahead = self.tree_at(tip).ahead.descend(branch)
        if ahead.distribution is None:
            ahead.distribution = distribution
            self.answers += 1

    def place(self, node: Node) -> Place:
        """A path of the tree, with its lookahead."""
        above: Node | None = node
        branch: list[int] = []
        while above is not None and len(branch) <= NEAR_TIPS:
            if (lookahead := self._tips.get(above)) is not None:
                return Place(node, lookahead.at(branch[::-1]).ahead)
            branch.append(above.token)
            above = above.parent
        return Place(node, None)

    def recall(self, node: Node) -> None:
        """Copies distributions from the lookahead to a path of the tree that the player goes to."""
        lacking: list[Node] = []
        above: Node | None = node
        while above is not None and above.depth and above.distribution is None and len(lacking) < NEAR_TIPS:
            lacking.append(above)
            above = above.parent
        for missing in reversed(lacking):
            if (distribution := self.place(missing).distribution) is not None:
                missing.attach(distribution)
            if missing.parent:
                missing.parent.child(missing.token)  # sets `taken`


def likeliest_after(place: Place) -> int | None:
    """The model's most likely token after a path; None where it is not known."""
    distribution = place.distribution
    return distribution.ids[0] if distribution is not None and distribution.ids else None


def following(place: Place, most: int, next_after: Callable[[Place], int | None] = likeliest_after) -> Iterator[int]:
    """The greedy continuation of a path, as far as it is known; at most `most` tokens."""
    for _ in range(most):
        if (token := next_after(place)) is None:
            return
        yield token
        place = place.child(token)
