"""What is known ahead of a tree's paths: the tables behind tokens that nobody has chosen. Pure.

It is no part of the tree: what was only looked at is neither saved nor shown as visited, and there is a bound to it.
Where the player goes there, the tree takes it over.
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
"""Tips of which it is kept what is known ahead of them, the latest."""
LONGEST_BRANCH = 32
"""Tokens of a branch at the most."""
NEAR_TIPS = 8
"""Tokens that a player goes on by, at the most, for what was known ahead to be found again."""

TokenBranch: TypeAlias = tuple[int, ...]


class Way(Enum):
    """Whether a branch may go on by a row of the distribution after it."""

    OPEN = "open"
    CLOSED = "closed"
    LAST = "last"
    """Neither by this one nor by any that is less likely."""


May: TypeAlias = Callable[[TokenBranch, Distribution, int], Way]
AsSeen: TypeAlias = Callable[[Distribution], Distribution]
"""What is made of a distribution before it is gone on by its rows."""


def as_told(distribution: Distribution) -> Distribution:
    """A distribution as the model tells it."""
    return distribution


@dataclass(slots=True)
class LookaheadNode:
    """A path that is no part of the tree: what the model says after it, once that is known."""

    distribution: Distribution | None = None
    children: "dict[int, LookaheadNode]" = field(default_factory=dict)

    def descend(self, branch: Sequence[int]) -> "LookaheadNode":
        """The path longer by these tokens."""
        ahead = self
        for token in branch:
            ahead = ahead.children.setdefault(token, LookaheadNode())
        return ahead


class Place(NamedTuple):
    """A path, as the tree has it and beside the tree: either may lack it."""

    node: Node | None
    ahead: LookaheadNode | None

    @property
    def distribution(self) -> Distribution | None:
        """What the model says after it. The tree's own answer goes first: a path never shows two."""
        told = self.node.distribution if self.node else None
        return told or (self.ahead.distribution if self.ahead else None)

    def child(self, token: int) -> "Place":
        """The path one token longer."""
        node = self.node.children.get(token) if self.node else None
        return Place(node, self.ahead.children.get(token) if self.ahead else None)


class _Row(NamedTuple):
    """The next row of a known distribution to be gone on by. The smallest comes first."""

    negated: float
    """The log-probability of the branch with that row's token, negated."""
    number: int
    """So that of equal ones the first comes first."""
    branch: TokenBranch
    before: float
    """The log-probability of the branch."""
    row: int


class LookaheadTree:
    """What is known behind one tip, and what is the likeliest that is not: best first, by joint probability."""

    def __init__(self, tip: Node, ahead: LookaheadNode) -> None:
        self.tip = tip
        self.ahead = ahead
        self.known = 0
        """Branches whose distributions are known, as far as they were come by."""
        self._chosen_by: object = None
        self._seen: AsSeen = as_told
        self._rows: list[_Row] = []
        self._asked: dict[TokenBranch, float] = {}
        """Log-probabilities of what was given to be asked for."""
        self._expected: Collection[TokenBranch] = ()
        """What is still to come."""
        self._count = 0
        self._began = False

    def at(self, branch: Sequence[int]) -> Place:
        """The path longer by these tokens."""
        place = Place(self.tip, self.ahead)
        for token in branch:
            place = place.child(token)
        return place

    def begin(self, chosen_by: object, asked: Collection[TokenBranch], seen: AsSeen = as_told) -> None:
        """Begins anew where other branches may be gone on by than before, or what was asked for does not come.

        `chosen_by`: what decides that, also how distributions are `seen`; `asked`: what is still to come.
        """
        self._expected = asked
        lost = any(branch not in asked and self.at(branch).distribution is None for branch in self._asked)
        if self._began and chosen_by == self._chosen_by and not lost:
            self._take_up()
            return
        self._chosen_by, self._seen, self._rows, self._asked, self.known = chosen_by, seen, [], {}, 0
        self._began = self._open((), 0.0)

    def wanted(self, count: int, budget: int, may: May) -> list[TokenBranch]:
        """The likeliest branches that are neither known nor asked for, the likeliest first.

        There are no more than `count`, nor than are left of a `budget` of all that are known or asked for.
        """
        self._take_up()
        found: list[TokenBranch] = []
        while self._rows and len(found) < count and self.known + len(self._asked) < budget:
            first = heappop(self._rows)
            told = self.at(first.branch).distribution
            assert told is not None
            before = self._seen(told)
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
                found.append(branch)
        return found

    def behind(self, tip: Node) -> "LookaheadTree":
        """What is known of the path one token longer, and in what order it goes on there."""
        token = tip.token
        longer = LookaheadTree(tip, self.ahead.descend([token]))
        rows = [one._replace(branch=one.branch[1:]) for one in self._rows if one.branch[:1] == (token,)]
        if rows:
            heapify(rows)
            longer._rows, longer._count = rows, self._count
            asked = [(one[1:], logprob) for one, logprob in self._asked.items() if one[:1] == (token,)]
            longer._asked = {one: logprob for one, logprob in asked if one}
            longer.known, longer._chosen_by, longer._began = len(rows) - 1, self._chosen_by, True
            longer._seen = self._seen
        return longer

    def _take_up(self) -> None:
        """Goes on by what was asked for and has come."""
        for branch in [one for one in self._asked if self.at(one).distribution is not None]:
            self._open(branch, self._asked.pop(branch))

    def _open(self, branch: TokenBranch, logprob: float) -> bool:
        """Lets a branch be gone on by the rows of the distribution after it; returns whether that is known."""
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
    """What is known ahead of the tips that the player came to last."""

    def __init__(self) -> None:
        self._tips: OrderedDict[Node, LookaheadTree] = OrderedDict()
        self.answers = 0
        """How many were kept so far: with each there may be something new to show."""

    def of(self, tip: Node) -> LookaheadTree:
        """What is known behind a tip."""
        if (lookahead := self._tips.get(tip)) is None:
            before = self._tips.get(tip.parent) if tip.parent else None
            lookahead = before.behind(tip) if before else LookaheadTree(tip, self.place(tip).ahead or LookaheadNode())
            for longer in self._tips.values():
                if longer.tip.parent is tip:  # as after popping
                    lookahead.ahead.children.setdefault(longer.tip.token, longer.ahead)
            self._tips[tip] = lookahead
            if len(self._tips) > TIPS:
                self._tips.popitem(last=False)
        self._tips.move_to_end(tip)
        return lookahead

    def attach(self, tip: Node, branch: Sequence[int], distribution: Distribution) -> None:
        """Keeps what the model says after a tip and a branch. The first answer stays."""
        ahead = self.of(tip).ahead.descend(branch)
        if ahead.distribution is None:
            ahead.distribution = distribution
            self.answers += 1

    def place(self, node: Node) -> Place:
        """A path of the tree, with what is known beside it."""
        above: Node | None = node
        branch: list[int] = []
        while above is not None and len(branch) <= NEAR_TIPS:
            if (lookahead := self._tips.get(above)) is not None:
                return Place(node, lookahead.at(branch[::-1]).ahead)
            branch.append(above.token)
            above = above.parent
        return Place(node, None)

    def recall(self, node: Node) -> None:
        """Lets the tree take over what is known of a path that the player goes to."""
        lacking: list[Node] = []
        above: Node | None = node
        while above is not None and above.depth and above.distribution is None and len(lacking) < NEAR_TIPS:
            lacking.append(above)
            above = above.parent
        for one in reversed(lacking):
            if (told := self.place(one).distribution) is not None:
                one.attach(told)
            if one.parent:
                one.parent.child(one.token)  # what was said of its own token comes along


def likeliest_after(place: Place) -> int | None:
    """The token that the model makes most likely after a path; None where that is not known."""
    return place.distribution.most_likely if place.distribution else None


def following(place: Place, most: int, next_after: Callable[[Place], int | None] = likeliest_after) -> Iterator[int]:
    """The tokens that follow a path, one after the other, as far as they are known; no more than `most`."""
    for _ in range(most):
        if (token := next_after(place)) is None:
            return
        yield token
        place = place.child(token)
