"""Fan-out: the answers that may follow a path, the likeliest first, and how much of the probability they cover.

The probability of all continuations of a path is split in three, which add up to 1:

- **seen**: of continuations that end, which are answers;
- **open**: of continuations that may go on, and were not explored yet;
- **cut**: of continuations below the cut-off, of those longer than an answer may be, and of the tokens beyond the
  candidates that a distribution keeps.

A path's log-probability is the sum of its tokens'; probabilities of different paths are added without rounding. Nothing
here decodes or waits: the caller asks an engine for the paths that `take` returns, and calls `settle` when their
distributions are there.

>>> from tokex_gguf.values.distribution import Distribution
>>> from tokex_gguf.values.stops import AtEnd
>>> from tokex_gguf.values.tokens import Piece
>>> pieces = [Piece(b" yes"), Piece(b"", ends=True)]
>>> root = Node(None, -1)
>>> half = Distribution.of(1.0, [0, 1], [math.log(0.5), math.log(0.5)])
>>> out = FanOut(root.child(0), AtEnd(), pieces.__getitem__, cut_off=0.2)
>>> while wanted := out.take(1):
...     wanted[0].attach(half)
...     explored = out.settle()
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
"""Shown for an answer without text."""
CUT_OFF = 1e-6
"""Probability below which a path is not explored: a default budget ends long before."""
LISTED = 2_000
"""The likeliest answers that are kept in order while others come."""
_UNIT = 1126
"""A float is a whole number of 2^-1126, the smallest one too."""


class ExactSum:
    """An exact sum of floats, each up to some thousands, added and subtracted in any order.

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
        """The float nearest to the sum."""
        return self._units / (1 << _UNIT)


class Coverage(NamedTuple):
    """How the probability of all continuations is split: from 0 to 1 each, 1 together."""

    seen: float
    open: float
    cut: float

    @property
    def text(self) -> str:
        """One line.

        >>> Coverage(0.92304, 0.04096, 0.036).text
        '92.3 % of the mass seen, 4.1 % still open, 3.6 % below the cut'
        >>> Coverage(0.99996, 3e-5, 1e-5).text
        '> 99.9 % of the mass seen, < 0.1 % still open, < 0.1 % below the cut'
        """
        seen, still, cut = map(share_text, self)
        return f"{seen} of the mass seen, {still} still open, {cut} below the cut"

    @property
    def short_text(self) -> str:
        """The same where room is short.

        >>> Coverage(0.92304, 0.04096, 0.036).short_text
        '92.3 % seen, 4.1 % open, 3.6 % cut'
        """
        seen, still, cut = map(share_text, self)
        return f"{seen} seen, {still} open, {cut} cut"


@record
class Budget:
    """What may be spent until the player is asked whether to go on."""

    tokens: int = 1_000
    """Paths to explore; each needs the decode of one token, or none."""
    seconds: float = 0.0
    """Of the engine's time; 0: no limit."""
    coverage: float = 0.9
    """The share of the probability, 0 to 1, that is enough."""


@dataclass(slots=True, eq=False)
class Answer:
    """A text that may follow a path, with all token sequences that spell it."""

    text: bytes
    logprob: float
    """Natural logarithm of the joint probability of all its paths."""
    paths: int
    """How many ways to spell and end it were seen."""
    best: "Ending"
    """The likeliest way."""

    @property
    def prob(self) -> float:
        """Probability, 0 to 1."""
        return math.exp(self.logprob)


class Ending(NamedTuple):
    """A path that ends an answer. The last token gets a node only when a prompt goes there."""

    logprob: float
    before: Node
    """The path before the last token."""
    row: int
    """The last token's row in the distribution there."""
    first: int
    """The answer's first token."""

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
    """The begun part of a stop at the end of the text."""
    first: int
    """The first token; -1: none yet."""
    rows: "array[int]" = field(default_factory=lambda: array("i"))
    """The rows of its distribution with which it goes on, the likeliest first; set once the path is explored."""


class FanOut:
    """The answers that may follow a path. Answers that were found stay."""

    def __init__(
        self,
        base: Node,
        stop: StopRule,
        piece: Callable[[int], Piece],
        *,
        cut_off: float = CUT_OFF,
        room: int = MOST_TOKENS,
    ) -> None:
        """`piece` gives the piece of any candidate. `room`: tokens that fit into the context after the path."""
        self.base, self.stop = base, stop
        self._piece = piece
        self._floor = math.log(cut_off) if cut_off > 0 else -math.inf
        self._longest = base.depth + min(room, MOST_TOKENS)
        self._finder = Finder(stop)
        self._seen, self._open, self._cut = ExactSum(), ExactSum(), ExactSum()
        self._heap: list[tuple[float, int, _Path, int]] = []
        """The likeliest open continuation of each explored path: by its negated log-probability, then by order of
        arrival. An index of -1 is the path itself."""
        self._taken: dict[Node, _Path] = {}
        """Paths whose distributions are requested."""
        self._answers: dict[bytes, Answer] = {}
        self._serial = 0
        self._likely: dict[bytes, Answer] = {}
        """All answers likelier than `_least`, among which are the likeliest `LISTED`."""
        self._least = -math.inf
        self._ranked: tuple[int, list[Answer]] = (0, [])
        self.looked = 0
        """Explored paths. Every change raises it."""
        self.seconds = 0.0
        """Time spent in the engine."""
        self._open.add(1.0)
        begun = self._finder.begin(piece(base.token).data) if base.depth else b""
        self._push(0.0, _Path(base, 0.0, b"", begun, -1), -1)

    @property
    def answers(self) -> int:
        """How many different texts were found."""
        return len(self._answers)

    @property
    def coverage(self) -> Coverage:
        """How the probability is split now."""
        return Coverage(self._seen.value, self._open.value, max(0.0, self._cut.value))

    @property
    def seen(self) -> float:
        """The probability of all answers."""
        return self._seen.value

    @property
    def taken(self) -> int:
        """How many paths are requested."""
        return len(self._taken)

    @property
    def exhausted(self) -> bool:
        """Whether no path is open."""
        return not self._heap and not self._taken

    def asked(self) -> list[Node]:
        """The requested paths that are not explored yet."""
        return list(self._taken)

    def ranked(self) -> list[Answer]:
        """All answers, the likeliest first; equal ones in order of arrival."""
        return sorted(self._answers.values(), key=_LOGPROB, reverse=True)

    def likeliest(self) -> list[Answer]:
        """The first `LISTED` of `ranked`, in a time that does not grow with the answers. Do not change the list."""
        if self._ranked[0] != self.looked:
            self._ranked = self.looked, sorted(self._likely.values(), key=_LOGPROB, reverse=True)[:LISTED]
        return self._ranked[1]

    def answer(self, text: bytes) -> Answer | None:
        """The answer with this text; None where it was not found."""
        return self._answers.get(text)

    def spend(self, seconds: float) -> None:
        """Adds to the time spent in the engine."""
        self.seconds += seconds

    def take(self, count: int) -> list[Node]:
        """Takes out up to `count` of the likeliest open paths, to be requested."""
        nodes: list[Node] = []
        while len(nodes) < count and self._heap:
            _, _, path, index = heapq.heappop(self._heap)
            if index >= 0:
                path = self._extended(path, index)
            self._taken[path.node] = path
            nodes.append(path.node)
        return nodes

    def give_back(self, nodes: Iterable[Node]) -> None:
        """Puts back paths that were taken and are not requested any more."""
        for node in nodes:
            if path := self._taken.pop(node, None):
                self._push(path.logprob, path, -1)

    def settle(self, most: int = 2**31) -> int:
        """Explores up to `most` taken paths whose distributions are known; returns how many."""
        ready = [path for node, path in self._taken.items() if node.distribution is not None][:most]
        for path in ready:
            del self._taken[path.node]
            self._explore(path)
        return len(ready)

    def _push(self, logprob: float, path: _Path, index: int) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (-logprob, self._serial, path, index))

    def _extended(self, path: _Path, index: int) -> _Path:
        """The path with a candidate appended; the next candidate takes its place in the heap."""
        before = path.node.distribution
        assert before is not None
        row = path.rows[index]
        if index + 1 < len(path.rows):
            self._push(path.logprob + before.logprobs[path.rows[index + 1]], path, index + 1)
        token = before.ids[row]
        piece = self._piece(token)
        begun = self._finder.look(path.begun, token, piece).begun
        node = path.node.explore(token)
        logprob, first = path.logprob + before.logprobs[row], token if path.first < 0 else path.first
        return _Path(node, logprob, path.text + piece.data, begun, first)

    def _explore(self, path: _Path) -> None:
        """Splits a path's probability among the answers that end here, open continuations, and what is cut."""
        self.looked += 1
        distribution = path.node.distribution
        assert distribution is not None
        mass = math.exp(path.logprob)
        depth = path.node.depth + 1
        ends = isinstance(self.stop, AfterTokens) and depth - self.base.depth >= self.stop.count
        remaining = ExactSum()
        remaining.add(mass)
        for row, (token, logprob) in enumerate(zip(distribution.ids, distribution.logprobs, strict=True)):
            joint = path.logprob + logprob
            if joint < self._floor or joint == -math.inf:
                break  # later rows are less likely
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
                remaining.add(-part)
                continue
            else:
                continue
            self._seen.add(part)
            remaining.add(-part)
        self._open.add(-mass)
        self._cut.add(remaining.value)  # about 0, also below, where the candidates are the whole vocabulary
        if path.rows:
            self._push(path.logprob + distribution.logprobs[path.rows[0]], path, 0)

    def _finish(self, path: _Path, row: int, joint: float, end: int, piece: Piece) -> None:
        text = path.text[: len(path.text) + end] if end < 0 else path.text + piece.data[:end]
        ending = Ending(joint, path.node, row, _token(path, row) if path.first < 0 else path.first)
        answer = self._answers.get(text)
        if answer is None:
            answer = self._answers[text] = Answer(text, joint, 1, ending)
            self._note(answer)
            return
        low, high = sorted((answer.logprob, joint))
        answer.logprob = high + math.log1p(math.exp(low - high))
        answer.paths += 1
        if joint > answer.best.logprob:
            answer.best = ending
        self._note(answer)

    def _note(self, answer: Answer) -> None:
        """Updates the likeliest answers after an answer is new or became likelier."""
        if answer.logprob > self._least:
            self._likely[answer.text] = answer
        if len(self._likely) > 2 * LISTED:
            likely = sorted(self._likely.values(), key=_LOGPROB, reverse=True)[:LISTED]
            self._likely = {each.text: each for each in likely}
            # A less likely answer is not among them until its probability grows.
            self._least = likely[-1].logprob


_LOGPROB = attrgetter("logprob")


def _token(path: _Path, row: int) -> int:
    assert path.node.distribution is not None
    return path.node.distribution.ids[row]


def tokens_of(answer: Answer, base: Node) -> list[tuple[int, float]]:
    """The tokens of an answer's likeliest path, with their log-probabilities; the last one ends the answer."""
    best = answer.best
    tokens = [(node.token, node.taken.logprob) for node in best.before.nodes(base.depth) if node.taken]
    return [*tokens, (best.token, best.logprob_of_last)]


def weakest(answer: Answer, base: Node) -> tuple[int, float]:
    """The least likely token of an answer's likeliest path, and its log-probability."""
    return min(tokens_of(answer, base), key=lambda token: token[1])


def end_of(answer: Answer, base: Node, piece: Callable[[int], Piece]) -> Node:
    """The shortest prefix of an answer's likeliest path that has all of its text, without the stop.

    Where the stop is inside a token, the whole token is included.
    """
    best, size, node = answer.best, 0, base
    for node in best.before.nodes(base.depth):
        if size >= len(answer.text):
            assert node.parent is not None
            return node.parent
        size += len(piece(node.token).data)
    return node if size >= len(answer.text) else best.before.child(best.token)
