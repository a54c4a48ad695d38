r"""Critical tokens: places of a path at which another choice would have led to another answer. Pure.

A place is doubtful where two tokens are likely: the one that stands there, and the likeliest of all others, which is
its second choice. The less likely of the two says how doubtful it is: `min(p, p second)`, 0.5 at the most. So neither
a place where the model knows what comes is doubtful, nor one where a text says what the model would not.

From each place the second choice is gone on from greedily, by the most likely token again and again, as far as its
answer ends. What the answer of a text is, is found in the same way for the path itself: it stands behind a **lead**,
such as “Answer:”, and ends at a stop. Where the model ends without the lead, it is the last number of the text.

Nothing here is decoded, and nothing waits: whoever has an engine asks for what is `wanted`, and tells when it came.

>>> from tokex_gguf.values.distribution import Distribution
>>> from tokex_gguf.values.stops import AtLine
>>> pieces = dict(enumerate([Piece(b"A:"), Piece(b"7"), Piece(b"8"), Piece(b"\n")]))
>>> base = Node(None, -1).descend([0, 1])
>>> half = Distribution.of(1.0, [1, 2], [math.log(0.6), math.log(0.4)])
>>> line = Distribution.of(0.0, [3, 1], [0.0, -9.0])
>>> for node, told in ((base.parent, half), (base, line), (base.parent.child(2), line)):
...     node.attach(told)
>>> known = base.parent.child(1)  # what was said of its token comes along
>>> out = Critical(base, Rule(b"A:", AtLine()), pieces.__getitem__)
>>> while not out.look_on(100) or out.advance(8, 100, 100) < 100:
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
"""Places that are looked at, at the most."""
LOOKED_BACK = 400
"""Bytes before a path's end in which its lead is looked for."""
LONGEST_LEAD = 100
"""Characters of a lead, at the most."""
_CONTINUED = bytes(range(0x80, 0xC0))
"""Bytes with which no character of UTF-8 begins."""
RECHECKED = 64
"""Places without numbers that are looked at again at once."""

Pieces = Callable[[int], Piece]


@record
class Rule:
    """What the answer of a text is."""

    lead: bytes
    """What stands before it; empty: it begins with the other choice itself."""
    stop: StopRule
    """Where it ends."""
    pattern: str = FIRST_NUMBER
    """A regular expression that finds in it what is compared."""


class RolloutEnd(Enum):
    """Why a way on ends."""

    ANSWERED = "answered"
    ENDED = "the model ends"
    """Before the lead came: the answer is the last number of all the text, if there is one."""
    LONG = "no end"
    """So many tokens were allowed, and no more."""
    FULL = "the context is full"


class DoubtfulPlace(NamedTuple):
    """A token of the path, and what else could stand there."""

    doubt: float
    """Natural logarithm of the less likely one's probability."""
    node: Node
    """The path up to it, with it."""
    second: int
    """The likeliest other token."""
    second_logprob: float


def place_of(node: Node) -> DoubtfulPlace | None:
    """What else could stand in place of a path's last token; None: nothing, or that is not known yet."""
    before = node.parent.distribution if node.parent else None
    if before is None or node.taken is None:
        return None
    row = next((row for row in range(min(2, len(before))) if before.ids[row] != node.token), None)
    if row is None or before.logprobs[row] == -math.inf:
        return None
    return DoubtfulPlace(min(node.taken.logprob, before.logprobs[row]), node, before.ids[row], before.logprobs[row])


def lead_of(base: Node, piece: Pieces) -> bytes:
    r"""What stands before the answer at the end of a path.

    Of its last line, it is the last word that ends with a colon; else the last word, with the space before it.

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
    """A way on from a path: along another one as far as that goes, then by a token, then by the most likely ones."""

    def __init__(self, trunk: Node, before: bytes, rule: Rule, piece: Pieces, along: Node, then: int | None) -> None:
        """`before`: the end of the text before the first token, as a lead may begin there.

        `then`: the token behind `along`; None: the most likely one.
        """
        self.trunk = self.node = trunk
        """Where it begins, and how far it has come."""
        self.last = trunk
        """The path that has all of the answer, without what ended it."""
        self.end: RolloutEnd | None = None
        self.greedy = 0
        """Tokens that were gone on by as they are the most likely ones."""
        self.text = b""
        """What was said behind the trunk."""
        self.given = 0
        """So many bytes of that belong to the path that it goes along."""
        self.number: str | None = None
        """What the pattern finds, once it ended."""
        self._rule, self._piece, self._along, self._then = rule, piece, along, then
        self._finder = Finder(rule.stop)
        self._tail = _last(before, len(rule.lead) - 1)
        self._answer: bytes | None = None
        """What came behind the lead; None before that came."""
        self._begun = b""
        self._counted = 0
        if not rule.lead:
            self._begin(piece(trunk.token).data if trunk.depth else b"")

    @property
    def token(self) -> int | None:
        """The next token; None where the table is needed that says which."""
        if self.node.depth < self._along.depth:
            return self._along.ancestor(self.node.depth + 1).token
        if self._then is not None and self.node is self._along:
            return self._then
        return None if self.node.distribution is None else self.node.distribution.most_likely

    @property
    def said(self) -> str:
        """All that stands behind the lead; empty without one."""
        return (self._answer or b"").decode("utf-8", "replace").strip()

    def step(self, token: int) -> None:
        """Goes on by a token."""
        piece, before = self._piece(token), self.node
        if piece.ends:
            self.stop(RolloutEnd.ENDED if self._answer is None else RolloutEnd.ANSWERED)
            return
        self.node, self.text = before.look_at(token), self.text + piece.data
        if before.depth < self._along.depth:
            self.given = len(self.text)
        else:
            self.greedy += self._then is None or before is not self._along
        self._look(piece.data, before)

    def stop(self, why: RolloutEnd, last: Node | None = None) -> None:
        """Goes no further; `last`: the path that has all of the answer, where that is not all of it."""
        self.end, self.last = why, last or self.node
        pattern = pattern_of(self._rule.pattern)
        if why is RolloutEnd.ANSWERED:
            self.number = found(pattern, self.said)
        elif why is RolloutEnd.ENDED:
            text = _turn(self.trunk, self._piece) + self.text
            self.number = found_last(pattern, text.decode("utf-8", "replace"))

    def _begin(self, before: bytes) -> None:
        """The answer begins here, behind this text."""
        self._answer, self._begun = b"", self._finder.begin(before)

    def _look(self, data: bytes, before: Node) -> None:
        """Looks for the lead, and behind that for the answer's end."""
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
            if len(text) < len(data):  # no number goes on behind a blank
                self._begun = b""
            if not (data := text):
                return
        looked = self._finder.fresh(self._begun, Piece(data))
        self._begun = looked.begun
        self._counted += 1
        stop = self._rule.stop
        ends = len(data) if isinstance(stop, AfterTokens) and self._counted >= stop.count else looked.end
        whole = self._answer + data
        self._answer = whole if ends is None else whole[: len(self._answer) + ends]
        if ends is not None:
            self.stop(RolloutEnd.ANSWERED, self.node if ends > 0 else before)


def _last(text: bytes, size: int) -> bytes:
    """The last bytes of a text."""
    return text[-size:] if size > 0 else b""


def _turn(node: Node, piece: Pieces) -> bytes:
    """The end of a path's text: what comes before a token that ends a text is another turn."""
    text = b""
    while node.parent is not None and len(text) < LOOKED_BACK and not (last := piece(node.token)).ends:
        text, node = last.data + text, node.parent
    return text


class Trial(NamedTuple):
    """What the second choice of a place leads to."""

    place: DoubtfulPlace
    run: Rollout


class Critical:
    """What the second choices of a path lead to, the most doubtful first. It only grows."""

    def __init__(self, base: Node, rule: Rule, piece: Pieces, *, room: int = 2**31) -> None:
        """`piece` gives the piece of any token met. `room`: tokens that the context holds."""
        self.base, self.rule = base, rule
        self._piece, self._room = piece, room
        self._next: Node | None
        """The place that is looked at next; None: all were."""
        self._places: list[tuple[float, int, DoubtfulPlace]] = []
        """The most doubtful ones, in order; of equally doubtful ones, the first in the text."""
        self._lacking: list[Node] = []
        self.begin = 0
        """Tokens at the beginning that lead to earlier answers, where they do."""
        self._runs: dict[Node, Rollout] = {}
        self._listed: tuple[tuple[int, int], list[Trial]] = ((-1, 0), [])
        self.changes = 0
        """It grows with every place that is found and every way that ends."""
        self._lead_at = self._with_lead()
        begin = base if self._lead_at is None else self._lead_at.parent
        assert begin is not None
        self.standing = self._run(begin, base, None)
        """The path's own way on: its answer may have begun in it, or ended. What comes behind that flips nothing."""
        while self.standing.end is None and self.standing.node.depth < base.depth:
            token = self.standing.token
            assert token is not None
            self.standing.step(token)
        self._next = self.standing.node

    @property
    def lacking(self) -> int:
        """How many places have no numbers yet."""
        return len(self._lacking)

    @property
    def looked(self) -> bool:
        """Whether all places were looked at."""
        return self._next is None

    @property
    def tokens(self) -> int:
        """How many tokens were gone on by."""
        return self.standing.greedy + sum(run.greedy for run in self._runs.values())

    def _with_lead(self) -> Node | None:
        """The path up to the token in which its last lead ends; None where it has none near its end."""
        lead, text, depth = self.rule.lead, b"", self.base.depth
        while lead and depth and len(text) < LOOKED_BACK + len(lead):
            piece = self._piece(self.base.ancestor(depth).token)
            if piece.ends:  # what comes before is another turn
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
        """The end of a path's text, a byte shorter than a lead."""
        text, size, above = b"", len(self.rule.lead) - 1, node
        while above.parent is not None and len(text) < size:
            text, above = self._piece(above.token).data + text, above.parent
        return _last(text, size)

    def look_on(self, count: int) -> bool:
        """Looks at so many further places, from the path's end to its beginning; returns whether all were looked at.

        It goes no further back than to an earlier lead, as of an example: what comes before leads to that answer.
        """
        for node in self._lacking[:RECHECKED]:
            if _told(node):
                self._lacking.remove(node)
                self._note(node)
        for _ in range(count):
            if (place := self._next) is None:
                break
            if place.depth < 2 or self._has_earlier_lead(place):
                self._next, self.begin = None, place.depth if place.depth > 1 else 0
                break
            self._next = place.parent
            if _told(place):
                self._note(place)
            else:
                self._lacking.append(place)
        return self._next is None

    def _has_earlier_lead(self, node: Node) -> bool:
        """Whether a lead ends with a path's last token, and it is not the last lead."""
        lead, own = self.rule.lead, self._lead_at
        if not lead or own is None or node.depth >= own.depth or node.parent is None:
            return False
        return lead in self._before(node.parent) + self._piece(node.token).data

    def _note(self, node: Node) -> None:
        place = place_of(node)
        if place is not None:
            insort(self._places, (-place.doubt, node.depth, place))
            del self._places[MOST_PLACES:]
            self.changes += 1

    def trials(self, most: int) -> list[Trial]:
        """So many of the most doubtful places, with what is known of where they lead. A list nobody may change."""
        key = self.changes, most
        if self._listed[0] != key:
            self._listed = key, [Trial(place, self._run_of(place)) for _, _, place in self._places[:most]]
        return self._listed[1]

    def _run_of(self, place: DoubtfulPlace) -> Rollout:
        run = self._runs.get(place.node)
        if run is None:
            trunk, own = place.node.parent, self._lead_at
            assert trunk is not None
            begin = own.parent if own is not None and trunk.depth >= own.depth else trunk  # the answer has begun
            assert begin is not None
            run = self._runs[place.node] = self._run(begin, trunk, place.second)
        return run

    def running(self, most: int) -> Rollout | None:
        """What is gone on with now: the path's own way first, then the most doubtful place; None: nothing is left."""
        if self.standing.end is None:
            return self.standing
        if not self.looked:
            return None
        return next((trial.run for trial in self.trials(most) if trial.run.end is None), None)

    def advance(self, most: int, each: int, work: int) -> int:
        """Goes on as far as tables are known, so many tokens at the most; returns how many of these are left.

        `most`: places; `each`: tokens of a way on.
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
        """The path whose table is needed to go on, once it was gone on as far as possible; None: there is none."""
        run = self.running(most)
        return None if run is None or run.token is not None else run.node

    def resume(self) -> bool:
        """Lets what was too long go on; returns whether anything was."""
        runs = [run for run in (self.standing, *self._runs.values()) if run.end is RolloutEnd.LONG]
        for run in runs:
            run.end = None
        self.changes += 1
        return bool(runs)

    def answer(self, run: Rollout) -> str | None:
        """What is compared of a way; None: it has no answer, or not yet.

        Where the pattern finds something in the answer as the path stands, it is that; else all of the answer.
        """
        numbers = self.standing.number is not None
        match run.end:
            case RolloutEnd.ANSWERED:
                return run.number if numbers and run.number is not None else run.said
            case RolloutEnd.ENDED:
                return run.number if numbers else None
            case RolloutEnd.LONG | RolloutEnd.FULL | None:
                return None

    def flips(self, trial: Trial) -> bool | None:
        """Whether the second choice leads to another answer; None: it is not known of one of both."""
        one, other = self.answer(self.standing), self.answer(trial.run)
        return None if one is None or other is None else meaning(one) != meaning(other)


def _told(node: Node) -> bool:
    """Whether it is known what was said of a path's last token."""
    return node.taken is not None and node.parent is not None and node.parent.distribution is not None
