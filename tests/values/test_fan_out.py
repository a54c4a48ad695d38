"""Answers and their coverage against an enumeration of all paths."""

import math
import os
import random
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction

import pytest

from tests.sampling import few
from tokex_gguf.values import fan_out as module
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.fan_out import Answer, ExactSum, FanOut, end_of, tokens_of, weakest
from tokex_gguf.values.stops import (
    AfterTokens,
    AtEnd,
    AtLine,
    AtSentence,
    AtText,
    Finder,
    StopRule,
    describe_stop,
    stop_of,
    written,
)
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node

SEED = int(os.environ.get("FAN_OUT_SEED", "1"))

PIECES = [
    *(Piece(text.encode()) for text in ("a", "ab", "b", "\n", "b\n", ". ", "c.", "\n\n", "", "aba", ".5", "!”x", "1")),
    Piece("…".encode()[:1]),
    Piece("…".encode()[1:]),
    Piece(b"<end>", control=True, ends=True),
]
"""Texts that are spelled in several ways, stops inside of them and across them, a character in two parts, an end."""
STOPS: list[StopRule] = [
    *(AtLine(), AtSentence(), AtEnd(), AfterTokens(1), AfterTokens(2), AfterTokens(3)),
    *(AtText("ab"), AtText("aba"), AtText("\n\n"), AtText("b\nb"), AtText("…")),
]


class Model:
    """What follows a path: any fixed function of it will do."""

    def __init__(self, seed: int, candidates: int, sharp: float) -> None:
        self._seed, self._candidates, self._sharp = seed, candidates, sharp

    def distribution(self, path: list[int]) -> Distribution:
        """The likeliest tokens of all; equal ones in the order of their ids, and some that cannot come."""
        chance = random.Random(f"{self._seed} {path}")
        scores = [self._sharp * round(chance.gauss(0, 1), 1) for _ in PIECES]
        if chance.random() < 0.2:
            scores[chance.randrange(len(scores))] = -math.inf
        total = math.log(math.fsum(math.exp(one) for one in scores))
        order = sorted(range(len(PIECES)), key=lambda token: (-scores[token], token))[: self._candidates]
        return Distribution.of(1.0, order, [scores[token] - total for token in order])


def cut(text: bytes, ends: bool, stop: StopRule, tokens: int) -> bytes | None:
    """The answer in a text that is looked at as a whole; None: it goes on. Its last token is that by which it ended."""
    found: int | None = None
    match stop:
        case AtLine():
            found = min((at for mark in b"\n\r" if (at := text.find(mark)) >= 0), default=None)
        case AtText(wanted):
            found = at if (at := text.find(wanted.encode())) >= 0 else None
        case AfterTokens(count):
            found = len(text) if tokens == count else None
        case AtSentence() | AtEnd():
            pass
    return text[:found] if found is not None else text if ends else None


def by_tokens(base: Piece, pieces: list[Piece], stop: StopRule) -> bytes | None:
    """The same by the program's own search: sentences depend on where tokens end."""
    finder, text = Finder(stop), b""
    begun = finder.begin(base.data)
    for index, piece in enumerate(pieces):
        looked = finder.look(begun, PIECES.index(piece), piece)
        if looked.end is not None:
            assert index == len(pieces) - 1
            return (text + piece.data)[: len(text) + looked.end]
        text, begun = text + piece.data, looked.begun
    return None


class Enumerated:
    """All paths of a model behind a prompt, followed by recursion and added up as fractions."""

    def __init__(self, model: Model, base: list[int], stop: StopRule, cut_off: float, longest: int) -> None:
        self.answers: dict[bytes, list[tuple[list[int], float]]] = defaultdict(list)
        self.cut = Fraction(0)
        self._model, self._base, self._stop, self._cut_off, self._longest = model, base, stop, cut_off, longest
        self._follow([], 0.0)

    def _follow(self, path: list[int], logprob: float) -> None:
        left = Fraction(math.exp(logprob))
        there = self._model.distribution([*self._base, *path])
        for token, one in zip(there.ids, there.logprobs, strict=True):
            joint = logprob + one
            mass = math.exp(joint)
            if one == -math.inf or (self._cut_off and joint < math.log(self._cut_off)):
                continue
            pieces = [PIECES[each] for each in (*path, token)]
            data = b"".join(piece.data for piece in pieces if not piece.ends)
            if isinstance(self._stop, AtSentence):
                text = by_tokens(PIECES[self._base[-1]], pieces, self._stop)
            else:
                text = cut(data, pieces[-1].ends, self._stop, len(pieces))
            if text is not None:
                self.answers[text].append(([*path, token], joint))
                left -= Fraction(mass)
            elif len(pieces) <= self._longest:
                self._follow([*path, token], joint)
                left -= Fraction(mass)
        self.cut += left

    @property
    def seen(self) -> Fraction:
        """The probability of all answers."""
        return sum((Fraction(math.exp(one)) for paths in self.answers.values() for _, one in paths), Fraction(0))


def lucky(chance: random.Random, out: FanOut, model: Model, steps: int, check: Callable[[], None]) -> None:
    """Takes paths and answers them late, in any order, in part, or gives them back."""
    asked: list[Node] = []
    for _ in range(steps):
        asked += out.take(chance.choice((1, 8, 100)))
        if not asked:
            return
        chance.shuffle(asked)
        done = asked[: chance.randrange(len(asked) + 1)]
        if chance.random() < 0.2:
            out.give_back(done)
        else:
            for node in done:
                node.attach(model.distribution(node.path()))
            while out.settle(chance.choice((1, 3, 100))):
                check()
        asked = out.asked()
        check()


@pytest.mark.parametrize("stop", STOPS, ids=describe_stop)
@pytest.mark.parametrize("candidates", few([len(PIECES), 5], of=3))
def test_all_answers_and_the_coverage_are_those_of_an_enumeration(
    stop: StopRule, candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LISTED", 3)
    for number in range(2):
        seed = f"{SEED} {number} {stop} {candidates}"
        print("seed", seed)
        chance = random.Random(seed)
        model = Model(chance.randrange(2**32), candidates, chance.choice((1.0, 3.0)))
        cut_off, longest = chance.choice((0.0, 1e-3)), chance.choice((1, 2))
        base = Node(None, -1).descend([chance.randrange(12) for _ in range(3)])
        wanted = Enumerated(model, base.path(), stop, cut_off, longest)
        out = FanOut(base, stop, PIECES.__getitem__, cut_off=cut_off, room=longest)

        def check(out: FanOut = out, wanted: Enumerated = wanted) -> None:
            seen, still, lost = out.coverage
            assert abs(seen + still + lost - 1) < 1e-14
            assert min(seen, still, lost) >= 0
            assert seen <= float(wanted.seen) + 1e-14
            assert lost <= float(wanted.cut) + 1e-14
            likely = out.ranked()
            assert [one.logprob for one in likely] == sorted((one.logprob for one in likely), reverse=True)
            assert abs(math.fsum(one.prob for one in likely) - seen) < 1e-13
            few = [one.logprob for one in out.likeliest()]
            assert few == [one.logprob for one in likely[: module.LISTED]], "whatever was left out before"

        lucky(chance, out, model, 100_000, check)
        assert out.exhausted
        assert out.coverage.open == 0
        assert abs(out.coverage.seen - float(wanted.seen)) < 1e-14
        assert abs(out.coverage.cut - float(wanted.cut)) < 1e-14
        assert {answer.text for answer in out.ranked()} == set(wanted.answers)
        for answer in out.ranked():
            is_told_rightly(answer, base, wanted)


def is_told_rightly(answer: Answer, base: Node, wanted: Enumerated) -> None:
    """Whether an answer has all its paths, the likeliest of them, and ends where its text does."""
    paths = wanted.answers[answer.text]
    assert answer.paths == len(paths)
    assert answer.prob == pytest.approx(math.fsum(math.exp(one) for _, one in paths), rel=1e-12)
    tokens = tokens_of(answer, base)
    assert answer.best.logprob == max(one for _, one in paths)
    assert [token for token, _ in tokens] in [path for path, one in paths if one == answer.best.logprob]
    assert math.fsum(one for _, one in tokens) == pytest.approx(answer.best.logprob, rel=1e-12)
    assert weakest(answer, base)[1] == min(one for _, one in tokens)
    end = end_of(answer, base, PIECES.__getitem__)
    behind = [node.token for node in end.nodes(base.depth)]
    assert behind == [token for token, _ in tokens][: len(behind)]
    assert b"".join(PIECES[token].data for token in behind).startswith(answer.text)
    if behind:
        assert len(b"".join(PIECES[token].data for token in behind[:-1])) < len(answer.text)


def test_with_a_budget_the_likeliest_paths_are_looked_at_first() -> None:
    print("seed", SEED)
    model = Model(SEED, len(PIECES), 2.0)
    base = Node(None, -1).descend([0, 2])
    out = FanOut(base, AtLine(), PIECES.__getitem__)
    before, least = 0.0, 0.0
    for _ in range(200):
        (node,) = out.take(1)
        logprob = math.fsum(one.taken.logprob for one in node.nodes(base.depth) if one.taken)
        assert logprob <= least + 1e-9
        least = logprob
        node.attach(model.distribution(node.path()))
        assert out.settle() == 1
        assert out.coverage.seen >= before
        before = out.coverage.seen
    assert out.looked == 200


def test_a_path_that_is_taken_counts_as_open_and_may_be_looked_at_by_anybody() -> None:
    model = Model(SEED, len(PIECES), 2.0)
    base = Node(None, -1).descend([0, 2])
    out = FanOut(base, AtLine(), PIECES.__getitem__)
    assert out.coverage == (0.0, 1.0, 0.0)
    assert out.take(5) == [base] == out.asked()
    assert out.coverage == (0.0, 1.0, 0.0)
    assert out.settle() == 0
    out.give_back([base, base.child(1)])
    assert out.take(1) == [base]
    base.attach(model.distribution(base.path()))
    assert out.settle() == 1
    assert out.settle() == 0
    out.give_back([base])  # it was looked at
    assert base not in out.take(100)


def test_a_path_has_no_more_tokens_than_there_is_room_for() -> None:
    model = Model(SEED, len(PIECES), 2.0)
    base = Node(None, -1).descend([0, 2])
    out = FanOut(base, AtEnd(), PIECES.__getitem__, room=0)
    assert out.take(9) == [base]
    base.attach(model.distribution(base.path()))
    out.settle()
    assert out.exhausted
    (answer,) = out.ranked()
    assert answer.text == b""
    assert out.coverage.cut == pytest.approx(1 - answer.prob)


def test_a_sum_loses_no_digit() -> None:
    print("seed", SEED)
    chance = random.Random(SEED)
    values = [chance.choice((1, -1)) * math.exp(chance.uniform(-740, 5)) for _ in range(2000)] + [5e-324, 0.0]
    total, exact = ExactSum(), Fraction(0)
    for value in values:
        total.add(value)
        exact += Fraction(value)
    assert total.value == float(exact)
    for value in values:
        total.add(-value)
    assert total.value == 0


@pytest.mark.parametrize(
    ("texts", "stop", "answer"),
    [
        ([" Paris", ".", " It"], AtSentence(), b" Paris."),
        ([" Paris", '."', " It"], AtSentence(), b' Paris."'),
        ([" 3", ".14", "!?"], AtSentence(), b" 3.14!?"),
        ([" 3", ".", "14", ".", "\n"], AtSentence(), b" 3.14."),
        ([" 72", ".", " She"], AtSentence(), b" 72."),
        ([" 72. She"], AtSentence(), b" 72."),
        ([" 72", ". She"], AtSentence(), b" 72."),
        ([" 72", "\n"], AtSentence(), b" 72"),
        ([" 7", "2", "."], AtSentence(), None),
        ([" e.g", "."], AtSentence(), b" e.g."),
        ([" a", ".\n\nB"], AtSentence(), b" a."),
        ([" a", "!”x"], AtSentence(), None),
        ([" a", "!” x"], AtSentence(), " a!”".encode()),
        ([" a", "\r\n"], AtLine(), b" a"),
        ([" a\nb"], AtLine(), b" a"),
        ([" a", "\n"], AtText("\n\n"), None),
        ([" a", "\n", "\n"], AtText("\n\n"), b" a"),
        (["aab", "c"], AtText("aabc"), b""),
        (["aaab", "c"], AtText("aabc"), b"a"),
        (["aa", "aa", "bc"], AtText("aabc"), b"aa"),
    ],
)
def test_where_an_answer_ends(texts: list[str], stop: StopRule, answer: bytes | None) -> None:
    finder, begun, before = Finder(stop), b"", b""
    for index, text in enumerate(texts):
        looked = finder.look(begun, index, Piece(text.encode()))
        if looked.end is not None:
            assert (before + text.encode())[: len(before) + looked.end] == answer
            return
        before, begun = before + text.encode(), looked.begun
    assert answer is None


@pytest.mark.parametrize(
    ("prompt", "answers"),
    [
        ("It costs $3", {b".50.": 0.5, b".": 0.25, b"": 0.25}),
        ("It costs $3.", {b"": 0.25, b".": 0.75}),
        ("It costs ", {b"": 0.25, b".": 0.75}),
    ],
)
def test_decimals_belong_to_the_digit_before_the_answer(prompt: str, answers: dict[bytes, float]) -> None:
    pieces = [Piece(prompt.encode()), Piece(b"."), Piece(b"50."), Piece(b" So"), Piece(b"", ends=True)]
    out = FanOut(Node(None, -1).child(0), AtSentence(), pieces.__getitem__)
    after = {(0,): [(1, 0.75), (4, 0.25)], (0, 1): [(2, 2 / 3), (3, 1 / 3)]}
    while nodes := out.take(8):
        for node in nodes:
            rows = after.get(tuple(node.path()), [(4, 1.0)])
            node.attach(Distribution.of(1.0, [token for token, _ in rows], [math.log(prob) for _, prob in rows]))
        out.settle()
    assert {one.text: pytest.approx(one.prob) for one in out.ranked()} == answers


def test_the_weakest_token_is_known_where_its_path_was_there_before() -> None:
    pieces = [Piece(b"Q"), Piece(b"a"), Piece(b"b"), Piece(b"", ends=True)]
    base = Node(None, -1).child(0)
    base.child(1)  # somebody typed it, before any table came
    base.attach(Distribution.of(1.0, [2, 1], [math.log(0.9), math.log(0.1)]))
    out = FanOut(base, AtEnd(), pieces.__getitem__)
    while nodes := out.take(8):
        for node in nodes:
            node.attach(Distribution.of(0.0, [3], [0.0]))
        out.settle()
    answer = out.answer(b"a")
    assert answer and weakest(answer, base) == (1, math.log(0.1))
    assert not base.child(1).ahead and base.child(2).ahead


@pytest.mark.parametrize(
    "text",
    [
        "line",
        "sentence",
        "end",
        "1 token",
        "12 tokens",
        "12tokens",
        "2  Tokens",
        "012 TOKEN ",
        "\\n\\n",
        "text:end",
        "a b",
    ],
)
def test_a_stop_is_read_as_it_is_written(text: str) -> None:
    assert stop_of(written(stop_of(text))) == stop_of(text)


@pytest.mark.parametrize(
    "text", ["", "text:", "0 tokens", "1001 tokens", "10000000 tokens", "9" * 5000 + " tokens", "a" * 201, "\udc80"]
)
def test_what_is_no_stop_is_told_in_a_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^an answer has|^a text that ends"):
        stop_of(text)
