"""Answers: how a path goes on until something ends it, the likeliest first, and how sure it is that these are all.

All of the probability of what follows a path is in one of three places, and together they are 1:

- **seen**: of paths that end, which are answers;
- **open**: of paths that may go on, and were not looked at yet;
- **cut**: of paths below a cut-off, of those longer than an answer may be, and of the tokens beyond the candidates
  that a distribution keeps.

A path's probability is the product of its tokens', so its logarithm is a sum; what is added up are probabilities of
different paths, with all their digits. Nothing here is decoded, and nothing waits: whoever has an engine asks it for
the paths that are `wanted`, and says when their distributions came.

>>> from tokex_gguf.values.distribution import Distribution
>>> from tokex_gguf.values.stops import AtEnd
>>> from tokex_gguf.values.tokens import Piece
>>> pieces = [Piece(b" yes"), Piece(b"", ends=True)]
>>> root = Node(None, -1)
>>> half = Distribution.of(1.0, [0, 1], [math.log(0.5), math.log(0.5)])
>>> out = FanOut(root.child(0), AtEnd(), pieces.__getitem__, cut_off=0.2)
>>> while wanted := out.take(1):
...     wanted[0].attach(half)
...     looked_at = out.settle()
>>> [(answer.text, round(answer.prob, 3)) for answer in out.ranked()]
[(b'', 0.5), (b' yes', 0.25)]
>>> out.coverage
Coverage(seen=0.75, open=0.0, cut=0.25)
"""

import heapq
import math
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from tokex_gguf.values.formatting import share_text
from tokex_gguf.values.record import record
from tokex_gguf.values.stops import MOST_TOKENS, AfterTokens, Finder, StopRule
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node

EMPTY = "‹empty›"
"""What stands for an answer without text."""
CUT_OFF = 1e-6
"""Probability below which a path is not followed: with a default budget, none is come to that is as unlikely."""
LISTED = 2_000
"""Answers, the likeliest, that are kept in order while others come."""
_UNIT = 1126
"""A float is a whole number of 2^-1126, the smallest one too."""


class ExactSum:
    """A sum of floats, each from 0 to some thousands, that loses no digit: added and taken away in any order.

    >>> total = ExactSum()
    >>> for value in (1.0, 1e-30, -1.0):
    ...     total.add(value)
    >>> total.value
    1e-30
    """

    __slots__ = ("_units",)

    def __init__(self) -> None:
        self._units = 0

    def add(self, value: float) -> None:
        """Adds a finite number."""
        mantissa, exponent = math.frexp(value)
        self._units += int(mantissa * 2.0**53) << (exponent - 53 + _UNIT)

    @property
    def value(self) -> float:
        """The float that is nearest to the sum."""
        return self._units / (1 << _UNIT)


class Coverage(NamedTuple):
    """Where the probability of all that may follow is: from 0 to 1 each, and 1 together."""

    seen: float
    open: float
    cut: float

    @property
    def text(self) -> str:
        """The same as a line.

        >>> Coverage(0.92304, 0.04096, 0.036).text
        '92.3 % of the mass seen, 4.1 % still open, 3.6 % below the cut'
        >>> Coverage(0.99996, 3e-5, 1e-5).text
        '> 99.9 % of the mass seen, < 0.1 % still open, < 0.1 % below the cut'
        """
        seen, still, cut = map(share_text, self)
        return f"{seen} of the mass seen, {still} still open, {cut} below the cut"


@record
class Budget:
    """What may be spent until it is asked whether to go on."""

    tokens: int = 1_000
    """Paths to look at; each is a token to decode at the most."""
    seconds: float = 0.0
    """Of the engine's time; 0: as many as it takes."""
    coverage: float = 0.9
    """Of the probability, 0 to 1, that is enough."""


@dataclass(slots=True, eq=False)
class Answer:
    """A text that may follow, with all tokens that spell it."""

    text: bytes
    logprob: float
    """Natural logarithm of the probability of all its paths together."""
    paths: int
    """In how many ways it is spelled and ended, as far as that was seen."""
    best: "Ending"
    """The likeliest of them."""

    @property
    def prob(self) -> float:
        """Probability, 0 to 1."""
        return math.exp(self.logprob)


class Ending(NamedTuple):
    """A path that ends an answer: the last token has no node of its own before somebody goes there."""

    logprob: float
    before: Node
    """The path before the last token."""
    row: int
    """The last token's row in the distribution there."""
    first: int
    """The first token of all."""

    @property
    def token(self) -> int:
        """The last token."""
        assert self.before.distribution is not None
        return self.before.distribution.ids[self.row]

    @property
    def logprob_of_last(self) -> float:
        """Natural logarithm of the last token's probability."""
        assert self.before.distribution is not None
        return self.before.distribution.logprobs[self.row]


@dataclass(slots=True, eq=False)
class _Path:
    """A path that may go on."""

    node: Node
    logprob: float
    text: bytes
    begun: bytes
    """What of a stop the text ends with."""
    first: int
    """Its first token; -1: it has none yet."""
    rows: "array[int]" = field(default_factory=lambda: array("i"))
    """Of its distribution, the candidates with which it goes on, the likeliest first: known once it was looked at."""


class FanOut:
    """What may follow a path. It only grows: what was found stays, whatever is looked at further."""

    def __init__(
        self,
        base: Node,
        stop: StopRule,
        piece: Callable[[int], Piece],
        *,
        cut_off: float = CUT_OFF,
        room: int = MOST_TOKENS,
    ) -> None:
        """`piece` gives the piece of any candidate. `room`: tokens that the context has room for behind the path."""
        self.base, self.stop = base, stop
        self._piece = piece
        self._floor = math.log(cut_off) if cut_off > 0 else -math.inf
        self._longest = base.depth + min(room, MOST_TOKENS)
        self._finder = Finder(stop)
        self._seen, self._open, self._cut = ExactSum(), ExactSum(), ExactSum()
        self._heap: list[tuple[float, int, _Path, int]] = []
        """Of each path that was looked at, the likeliest way on that is open: by its negated log-probability, then by
        when it came. An index of -1 is the path itself."""
        self._taken: dict[Node, _Path] = {}
        """Paths whose distributions are asked for."""
        self._answers: dict[bytes, Answer] = {}
        self._serial = 0
        self._likely: dict[bytes, Answer] = {}
        """Those that may be among the likeliest: all that are likelier than `_least`."""
        self._least = -math.inf
        self._ranked: tuple[int, list[Answer]] = (0, [])
        self.looked = 0
        """Paths that were looked at: each time, something changed."""
        self.seconds = 0.0
        """Time in the engine, as it was told."""
        self._open.add(1.0)
        begun = self._finder.begin(piece(base.token).data) if base.depth else b""
        self._push(0.0, _Path(base, 0.0, b"", begun, -1), -1)

    @property
    def answers(self) -> int:
        """How many different texts there are."""
        return len(self._answers)

    @property
    def coverage(self) -> Coverage:
        """Where the probability is by now."""
        return Coverage(self._seen.value, self._open.value, max(0.0, self._cut.value))

    @property
    def seen(self) -> float:
        """The probability of all answers."""
        return self._seen.value

    @property
    def taken(self) -> int:
        """How many paths are asked for."""
        return len(self._taken)

    @property
    def exhausted(self) -> bool:
        """Whether nothing is open."""
        return not self._heap and not self._taken

    def asked(self) -> list[Node]:
        """The paths that were taken and are not looked at yet."""
        return list(self._taken)

    def ranked(self) -> list[Answer]:
        """All answers, the likeliest first; of equally likely ones, the first that came."""
        return sorted(self._answers.values(), key=_LOGPROB, reverse=True)

    def likeliest(self) -> list[Answer]:
        """The first `LISTED` of them: it takes no longer for there being more. A list nobody may change."""
        if self._ranked[0] != self.looked:
            self._ranked = self.looked, sorted(self._likely.values(), key=_LOGPROB, reverse=True)[:LISTED]
        return self._ranked[1]

    def answer(self, text: bytes) -> Answer | None:
        """The answer of a text."""
        return self._answers.get(text)

    def spend(self, seconds: float) -> None:
        """Notes time that the engine has taken."""
        self.seconds += seconds

    def take(self, count: int) -> list[Node]:
        """Takes so many of the likeliest open paths, to be asked for; fewer where there are no more."""
        nodes: list[Node] = []
        while len(nodes) < count and self._heap:
            _, _, path, index = heapq.heappop(self._heap)
            if index >= 0:
                path = self._further(path, index)
            self._taken[path.node] = path
            nodes.append(path.node)
        return nodes

    def give_back(self, nodes: Iterable[Node]) -> None:
        """Paths that were taken, and are not asked for any more, are open again."""
        for node in nodes:
            if path := self._taken.pop(node, None):
                self._push(path.logprob, path, -1)

    def settle(self, most: int = 2**31) -> int:
        """Looks at paths that were taken and whose distributions are there, so many at the most; returns how many."""
        there = [path for node, path in self._taken.items() if node.distribution is not None][:most]
        for path in there:
            del self._taken[path.node]
            self._look_at(path)
        return len(there)

    def _push(self, logprob: float, path: _Path, index: int) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (-logprob, self._serial, path, index))

    def _further(self, path: _Path, index: int) -> _Path:
        """The path that goes on with a candidate; the next one takes its place in the heap."""
        before = path.node.distribution
        assert before is not None
        row = path.rows[index]
        if index + 1 < len(path.rows):
            self._push(path.logprob + before.logprobs[path.rows[index + 1]], path, index + 1)
        token = before.ids[row]
        piece = self._piece(token)
        begun = self._finder.look(path.begun, token, piece).begun
        node = path.node.look_at(token)
        logprob, first = path.logprob + before.logprobs[row], token if path.first < 0 else path.first
        return _Path(node, logprob, path.text + piece.data, begun, first)

    def _look_at(self, path: _Path) -> None:
        """Shares a path's probability out among its answers, what goes on from it, and what is cut."""
        self.looked += 1
        there = path.node.distribution
        assert there is not None
        mass = math.exp(path.logprob)
        depth = path.node.depth + 1
        ends = isinstance(self.stop, AfterTokens) and depth - self.base.depth >= self.stop.count
        left = ExactSum()
        left.add(mass)
        for row, (token, logprob) in enumerate(zip(there.ids, there.logprobs, strict=True)):
            joint = path.logprob + logprob
            if joint < self._floor or joint == -math.inf:
                break  # all that follow are less likely
            part = math.exp(joint)
            piece = self._piece(token)
            looked = self._finder.look(path.begun, token, piece)
            if looked.end is not None:
                self._finish(path, row, joint, looked.end, piece)
            elif ends:
                self._finish(path, row, joint, len(piece.data), piece)
            elif depth <= self._longest:
                path.rows.append(row)
                self._open.add(part)
                left.add(-part)
                continue
            else:
                continue
            self._seen.add(part)
            left.add(-part)
        self._open.add(-mass)
        self._cut.add(left.value)  # where the numbers of a whole vocabulary are 1 but for their last digits: ±0
        if path.rows:
            self._push(path.logprob + there.logprobs[path.rows[0]], path, 0)

    def _finish(self, path: _Path, row: int, joint: float, end: int, piece: Piece) -> None:
        text = path.text[: len(path.text) + end] if end < 0 else path.text + piece.data[:end]
        ending = Ending(joint, path.node, row, _token(path, row) if path.first < 0 else path.first)
        known = self._answers.get(text)
        if known is None:
            known = self._answers[text] = Answer(text, joint, 1, ending)
            self._note(known)
            return
        low, high = sorted((known.logprob, joint))
        known.logprob = high + math.log1p(math.exp(low - high))
        known.paths += 1
        if joint > known.best.logprob:
            known.best = ending
        self._note(known)

    def _note(self, answer: Answer) -> None:
        """An answer has come, or is likelier than it was."""
        if answer.logprob > self._least:
            self._likely[answer.text] = answer
        if len(self._likely) > 2 * LISTED:
            likely = sorted(self._likely.values(), key=_LOGPROB, reverse=True)[:LISTED]
            self._likely = {one.text: one for one in likely}
            # Who is no likelier than the last of these is none of them, before it grows.
            self._least = likely[-1].logprob


_LOGPROB = attrgetter("logprob")


def _token(path: _Path, row: int) -> int:
    assert path.node.distribution is not None
    return path.node.distribution.ids[row]


def tokens_of(answer: Answer, base: Node) -> list[tuple[int, float]]:
    """The tokens of an answer's likeliest path, with their log-probabilities; the one that ends it is the last."""
    best = answer.best
    told = [(node.token, node.taken.logprob) for node in best.before.nodes(base.depth) if node.taken]
    return [*told, (best.token, best.logprob_of_last)]


def weakest(answer: Answer, base: Node) -> tuple[int, float]:
    """The least likely token of an answer's likeliest path, and its log-probability."""
    return min(tokens_of(answer, base), key=lambda one: one[1])


def end_of(answer: Answer, base: Node, piece: Callable[[int], Piece]) -> Node:
    """The shortest beginning of an answer's likeliest path that has all of its text: what ends it is left out.

    Where the stop is inside a token, that token's rest comes along.
    """
    best, size, node = answer.best, 0, base
    for node in best.before.nodes(base.depth):
        if size >= len(answer.text):
            assert node.parent is not None
            return node.parent
        size += len(piece(node.token).data)
    return node if size >= len(answer.text) else best.before.child(best.token)
