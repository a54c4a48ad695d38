r"""Critical tokens: places of a path at which another choice would have led to another answer. Pure.

A place is doubtful where two tokens are likely: the path's own, and the likeliest of all others, which is the second
choice. The less likely of the two says how doubtful the place is: `min(p, p second)`, at most 0.5. So a place is not
doubtful where the model is sure, nor where the text has a token that the model finds unlikely.

The second choice of each place is continued greedily until its answer ends; this is a rollout. The path itself has an
answer by the same rule: it comes after a **lead**, such as “Answer:”, and ends at a stop. Where the model ends without
the lead, the answer is the last number of the text.

Nothing here decodes or waits: the caller asks an engine for the table that is `wanted`, and calls `advance` when it is
there.

>>> from tokex_gguf.values.distribution import Distribution
>>> from tokex_gguf.values.stops import AtLine
>>> pieces = dict(enumerate([Piece(b"A:"), Piece(b"7"), Piece(b"8"), Piece(b"\n")]))
>>> base = Node(None, -1).descend([0, 1])
>>> half = Distribution.of(1.0, [1, 2], [math.log(0.6), math.log(0.4)])
>>> line = Distribution.of(0.0, [3, 1], [0.0, -9.0])
>>> for node, distribution in ((base.parent, half), (base, line), (base.parent.child(2), line)):
...     node.attach(distribution)
>>> known = base.parent.child(1)  # sets `taken`
>>> out = Critical(base, Rule(b"A:", AtLine()), pieces.__getitem__)
>>> while not out.scan_places(100) or out.advance(8, 100, 100) < 100:
...     pass
>>> out.answer(out.standing), [(out.answer(trial.run), out.flips(trial)) for trial in out.trials(8)]
('7', [('8', True)])
"""

import math
from bisect import insort
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from tokex_gguf.values.grouping import FIRST_NUMBER, found, found_last, meaning, pattern_of
from tokex_gguf.values.record import record
from tokex_gguf.values.stops import AfterTokens, Finder, StopRule
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node

MOST_PLACES = 64
"""The most places that are kept."""
LOOKED_BACK = 400
"""The last bytes of a path in which its lead is searched."""
LONGEST_LEAD = 100
"""The most characters of a lead."""
_CONTINUED = bytes(range(0x80, 0xC0))
"""Continuation bytes of UTF-8."""
RECHECKED = 64
"""Places without numbers that one call checks again."""

Pieces = Callable[[int], Piece]


@record
class Rule:
    """How to find the answer in a text."""

    lead: bytes
    """The text before the answer; empty: the answer begins with the second choice."""
    stop: StopRule
    """Where the answer ends."""
    pattern: str = FIRST_NUMBER
    """A regular expression for the part of the answer that is compared."""


class RolloutEnd(Enum):
    """Why a rollout ended."""

    ANSWERED = "answered"
    ENDED = "the model ends"
    """Before the lead: the answer is the last number of the text, if it has one."""
    LONG = "no end"
    """The rollout has as many tokens as are allowed."""
    FULL = "the context is full"


class UncertainPlace(NamedTuple):
    """A token of the path, and its second choice."""

    min_logprob: float
    """Natural logarithm of the probability of the less likely of both."""
    node: Node
    """The path up to and with the token."""
    second: int
    """The likeliest other token."""
    second_logprob: float


def place_of(node: Node) -> UncertainPlace | None:
    """The doubtful place at a path's last token; None: no other token is possible, or numbers are not known yet."""
    before = node.parent.distribution if node.parent else None
    if before is None or node.taken is None:
        return None
    row = next((row for row in range(min(2, len(before))) if before.ids[row] != node.token), None)
    if row is None or before.logprobs[row] == -math.inf:
        return None
    return UncertainPlace(min(node.taken.logprob, before.logprobs[row]), node, before.ids[row], before.logprobs[row])


def lead_of(base: Node, piece: Pieces) -> bytes:
    r"""The lead at the end of a path.

    It is the last word of the last line that ends with a colon; else the last word, with the space before it.

    >>> pieces = [Piece(b"Reason: 4.\nAnswer"), Piece(b": "), Piece(b"7")]
    >>> lead_of(Node(None, -1).descend([0, 1, 2]), pieces.__getitem__)
    b'Answer:'
    >>> lead_of(Node(None, -1).child(0), lambda token: Piece(b"The capital of France is"))
    b' is'
    """
    text, node = b"", base
    while node.parent is not None and len(text) < LOOKED_BACK:
        text = piece(node.token).data + text
        node = node.parent
    line = text[-LOOKED_BACK:].rstrip().replace(b"\r", b"\n").rsplit(b"\n", 1)[-1]
    words = line.split()
    if not words:
        return b""
    lead = next((word for word in reversed(words) if word.endswith(b":")), b" " * (len(words) > 1) + words[-1])
    return lead[-LONGEST_LEAD:].lstrip(_CONTINUED)


class Rollout:
    """A continuation of `trunk`: along a given path, then by a given token, then greedily."""

    def __init__(self, trunk: Node, before: bytes, rule: Rule, piece: Pieces, along: Node, then: int | None) -> None:
        """`along`: the given path; `then`: the token after it; None: the most likely one.

        `before`: the end of the text before the first token, as a lead may begin there.
        """
        self.trunk = self.node = trunk
        """Its start, and its current end."""
        self.last = trunk
        """The path up to the end of the answer, without the stop."""
        self.end: RolloutEnd | None = None
        self.greedy = 0
        """How many tokens were appended greedily."""
        self.text = b""
        """The text after the trunk."""
        self.given = 0
        """Bytes of `text` that belong to the given path."""
        self.number: str | None = None
        """The match of the pattern, once the rollout ended."""
        self._rule, self._piece, self._along, self._then = rule, piece, along, then
        self._finder = Finder(rule.stop)
        self._tail = _last(before, len(rule.lead) - 1)
        self._answer: bytes | None = None
        """The text after the lead; None before the lead."""
        self._begun = b""
        self._counted = 0
        if not rule.lead:
            self._begin(piece(trunk.token).data if trunk.depth else b"")

    @property
    def token(self) -> int | None:
        """The next token; None where it needs a table that is not known."""
        if self.node.depth < self._along.depth:
            return self._along.ancestor(self.node.depth + 1).token
        if self._then is not None and self.node is self._along:
            return self._then
        return None if self.node.distribution is None else self.node.distribution.most_likely

    @property
    def said(self) -> str:
        """The text after the lead; empty without a lead."""
        return (self._answer or b"").decode("utf-8", "replace").strip()

    def step(self, token: int) -> None:
        """Appends a token."""
        piece, before = self._piece(token), self.node
        if piece.ends:
            self.stop(RolloutEnd.ENDED if self._answer is None else RolloutEnd.ANSWERED)
            return
        self.node, self.text = before.explore(token), self.text + piece.data
        if before.depth < self._along.depth:
            self.given = len(self.text)
        else:
            self.greedy += self._then is None or before is not self._along
        self._look(piece.data, before)

    def stop(self, why: RolloutEnd, last: Node | None = None) -> None:
        """Ends the rollout; `last`: the path up to the end of the answer, by default all of the rollout."""
        self.end, self.last = why, last or self.node
        pattern = pattern_of(self._rule.pattern)
        if why is RolloutEnd.ANSWERED:
            self.number = found(pattern, self.said)
        elif why is RolloutEnd.ENDED:
            text = _turn(self.trunk, self._piece) + self.text
            self.number = found_last(pattern, text.decode("utf-8", "replace"))

    def _begin(self, before: bytes) -> None:
        """Starts the answer after the text `before`."""
        self._answer, self._begun = b"", self._finder.begin(before)

    def _look(self, data: bytes, before: Node) -> None:
        """Searches a token's text for the lead, and after the lead for the stop."""
        lead = self._rule.lead
        if self._answer is None:
            text = self._tail + data
            if (at := text.find(lead)) < 0:
                self._tail = _last(text, len(lead) - 1)
                return
            data = text[at + len(lead) :]
            self._begin(lead)
        assert self._answer is not None
        if not self._answer:
            text = data.lstrip()
            if len(text) < len(data):  # a number does not continue after a space
                self._begun = b""
            if not (data := text):
                return
        result = self._finder.fresh(self._begun, Piece(data))
        self._begun = result.begun
        self._counted += 1
        stop = self._rule.stop
        ends = len(data) if isinstance(stop, AfterTokens) and self._counted >= stop.count else result.end
        answer = self._answer + data
        self._answer = answer if ends is None else answer[: len(self._answer) + ends]
        if ends is not None:
            self.stop(RolloutEnd.ANSWERED, self.node if ends > 0 else before)


def _last(text: bytes, size: int) -> bytes:
    """The last `size` bytes of a text."""
    return text[-size:] if size > 0 else b""


def _turn(node: Node, piece: Pieces) -> bytes:
    """The end of a path's text, back to a token that ends a turn."""
    text = b""
    while node.parent is not None and len(text) < LOOKED_BACK and not (last := piece(node.token)).ends:
        text, node = last.data + text, node.parent
    return text


class Trial(NamedTuple):
    """A place and the rollout of its second choice."""

    place: UncertainPlace
    run: Rollout


class Critical:
    """The rollouts of a path's second choices, the most doubtful place first."""

    def __init__(self, base: Node, rule: Rule, piece: Pieces, *, room: int = 2**31) -> None:
        """`piece` gives the piece of any token. `room`: the context's size in tokens."""
        self.base, self.rule = base, rule
        self._piece, self._room = piece, room
        self._next: Node | None
        """The next place to scan; None: all are scanned."""
        self._places: list[tuple[float, int, UncertainPlace]] = []
        """The most doubtful places, in order; equal ones in text order."""
        self._unknown: list[Node] = []
        self.begin = 0
        """How many of the first tokens belong to earlier answers."""
        self._runs: dict[Node, Rollout] = {}
        self._listed: tuple[tuple[int, int], list[Trial]] = ((-1, 0), [])
        self.changes = 0
        """Grows with every place found and every rollout that ends."""
        self._lead_at = self._with_lead()
        begin = base if self._lead_at is None else self._lead_at.parent
        assert begin is not None
        self.standing = self._run(begin, base, None)
        """The rollout of the path itself, whose answer may already have ended in it. Later tokens flip nothing."""
        while self.standing.end is None and self.standing.node.depth < base.depth:
            token = self.standing.token
            assert token is not None
            self.standing.step(token)
        self._next = self.standing.node

    @property
    def lacking(self) -> int:
        """How many places have no numbers yet."""
        return len(self._unknown)

    @property
    def looked(self) -> bool:
        """Whether all places are scanned."""
        return self._next is None

    @property
    def tokens(self) -> int:
        """How many tokens all rollouts have appended."""
        return self.standing.greedy + sum(run.greedy for run in self._runs.values())

    def _with_lead(self) -> Node | None:
        """The path up to the token in which its last lead ends; None where no lead is near its end."""
        lead, text, depth = self.rule.lead, b"", self.base.depth
        while lead and depth and len(text) < LOOKED_BACK + len(lead):
            piece = self._piece(self.base.ancestor(depth).token)
            if piece.ends:  # another turn comes before
                return None
            size, text = len(piece.data), piece.data + text
            if (at := text.rfind(lead)) >= 0:
                while size < at + len(lead):
                    depth += 1
                    size += len(self._piece(self.base.ancestor(depth).token).data)
                return self.base.ancestor(depth)
            depth -= 1
        return None

    def _run(self, trunk: Node, along: Node, then: int | None) -> Rollout:
        return Rollout(trunk, self._before(trunk), self.rule, self._piece, along, then)

    def _before(self, node: Node) -> bytes:
        """The end of a path's text, one byte shorter than the lead."""
        text, size, above = b"", len(self.rule.lead) - 1, node
        while above.parent is not None and len(text) < size:
            text, above = self._piece(above.token).data + text, above.parent
        return _last(text, size)

    def scan_places(self, count: int) -> bool:
        """Scans up to `count` more places, from the path's end to its start; returns whether all are scanned.

        The scan stops at an earlier lead, as of an example: tokens before it lead to that example's answer.
        """
        for node in self._unknown[:RECHECKED]:
            if _is_known(node):
                self._unknown.remove(node)
                self._note(node)
        for _ in range(count):
            if (place := self._next) is None:
                break
            if place.depth < 2 or self._has_earlier_lead(place):
                self._next, self.begin = None, place.depth if place.depth > 1 else 0
                break
            self._next = place.parent
            if _is_known(place):
                self._note(place)
            else:
                self._unknown.append(place)
        return self._next is None

    def _has_earlier_lead(self, node: Node) -> bool:
        """Whether a lead other than the last one ends with a path's last token."""
        lead, own = self.rule.lead, self._lead_at
        if not lead or own is None or node.depth >= own.depth or node.parent is None:
            return False
        return lead in self._before(node.parent) + self._piece(node.token).data

    def _note(self, node: Node) -> None:
        place = place_of(node)
        if place is not None:
            insort(self._places, (-place.min_logprob, node.depth, place))
            del self._places[MOST_PLACES:]
            self.changes += 1

    def trials(self, most: int) -> list[Trial]:
        """The `most` most doubtful places with their rollouts. Do not change the list."""
        key = self.changes, most
        if self._listed[0] != key:
            self._listed = key, [Trial(place, self._run_of(place)) for _, _, place in self._places[:most]]
        return self._listed[1]

    def _run_of(self, place: UncertainPlace) -> Rollout:
        run = self._runs.get(place.node)
        if run is None:
            trunk, own = place.node.parent, self._lead_at
            assert trunk is not None
            begin = (
                own.parent if own is not None and trunk.depth >= own.depth else trunk
            )  # inside the answer: from its lead on
            assert begin is not None
            run = self._runs[place.node] = self._run(begin, trunk, place.second)
        return run

    def running(self, most: int) -> Rollout | None:
        """The rollout to advance: the path's own first, then that of the most doubtful place; None: all ended."""
        if self.standing.end is None:
            return self.standing
        if not self.looked:
            return None
        return next((trial.run for trial in self.trials(most) if trial.run.end is None), None)

    def advance(self, most: int, each: int, work: int) -> int:
        """Advances rollouts by up to `work` tokens, as far as tables are known; returns how many steps were not needed.

        `most`: places; `each`: the most tokens of a rollout.
        """
        while work > 0 and (run := self.running(most)) is not None:
            if run.greedy >= each:
                run.stop(RolloutEnd.LONG)
            elif run.node.depth >= self._room:
                run.stop(RolloutEnd.FULL)
            elif (token := run.token) is None:
                break
            else:
                run.step(token)
            self.changes += run.end is not None
            work -= 1
        return work

    def wanted(self, most: int) -> Node | None:
        """The path whose table `advance` needs next; None: none."""
        run = self.running(most)
        return None if run is None or run.token is not None else run.node

    def resume(self) -> bool:
        """Lets rollouts that were too long go on; returns whether there were any."""
        runs = [run for run in (self.standing, *self._runs.values()) if run.end is RolloutEnd.LONG]
        for run in runs:
            run.end = None
        self.changes += 1
        return bool(runs)

    def answer(self, run: Rollout) -> str | None:
        """The part of a rollout's answer that is compared; None: no answer, or not yet.

        It is the match of the pattern, unless the path's own answer has none: then the whole answer.
        """
        numbers = self.standing.number is not None or self.standing.end is not RolloutEnd.ANSWERED
        match run.end:
            case RolloutEnd.ANSWERED:
                return run.number if numbers and run.number is not None else run.said
            case RolloutEnd.ENDED:
                return run.number if numbers else None
            case RolloutEnd.LONG | RolloutEnd.FULL | None:
                return None

    def flips(self, trial: Trial) -> bool | None:
        """Whether the second choice leads to another answer; None: one of the answers is not known."""
        own_answer, trial_answer = self.answer(self.standing), self.answer(trial.run)
        return None if own_answer is None or trial_answer is None else meaning(own_answer) != meaning(trial_answer)


def _is_known(node: Node) -> bool:
    """Whether the numbers of a path's last token are known."""
    return node.taken is not None and node.parent is not None and node.parent.distribution is not None
