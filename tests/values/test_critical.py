"""Critical tokens against a plain greedy search over whole texts."""

import math
import os
import random
from collections.abc import Callable

import pytest

from tests.sampling import few
from tokex_gguf.values.critical import (
    LONGEST_LEAD,
    MOST_PLACES,
    Critical,
    Rollout,
    RolloutEnd,
    Rule,
    UncertainPlace,
    lead_of,
    place_of,
)
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.grouping import FIRST_NUMBER, found, found_last, pattern_of
from tokex_gguf.values.stops import AfterTokens, AtEnd, AtLine, AtSentence, AtText, StopRule, describe_stop
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node

SEED = int(os.environ.get("CRITICAL_SEED", "1"))

PIECES = [
    *(Piece(text.encode()) for text in ("A", "An", "ns", "s:", ":", "Ans:", " ", "\n", "7", "2", ".", "x ", "s: 4\n")),
    Piece("…".encode()[:1]),
    Piece("…".encode()[1:]),
    Piece(b"<end>", control=True, ends=True),
]
"""A lead that is spelled in several ways and has the answer in its token, numbers, stops, a cut character, an end."""
LEADS = [b"Ans:", b":", b"s", b"", b"nowhere"]
STOPS: list[StopRule] = [AtLine(), AtSentence(), AtEnd(), AfterTokens(1), AfterTokens(3), AtText("x "), AtText("2.")]


class Model:
    """What follows a path: any fixed function of it will do. Equal tokens are in the order of their ids."""

    def __init__(self, seed: str, candidates: int) -> None:
        self._seed, self._candidates = seed, candidates

    def logprobs(self, path: list[int]) -> list[float]:
        chance = random.Random(f"{self._seed} {path[-4:]}")
        scores = [2 * round(chance.gauss(0, 1), 1) for _ in PIECES]
        if chance.random() < 0.2:
            scores[chance.randrange(len(scores))] = -math.inf
        total = math.log(math.fsum(map(math.exp, scores)))
        return [score - total for score in scores]

    def ranked(self, path: list[int]) -> list[int]:
        values = self.logprobs(path)
        return sorted(range(len(PIECES)), key=lambda token: (-values[token], token))

    def attach(self, node: Node) -> None:
        """Tells what follows a path, and what it said of the tokens that are there."""
        path = node.path()
        values, order = self.logprobs(path), self.ranked(path)
        node.attach(
            Distribution.of(1.0, order[: self._candidates], [values[token] for token in order][: self._candidates])
        )
        for token, child in node.children.items():
            child.attach_taken(TokenLogprob(values[token], order.index(token) + 1))


def data(path: list[int]) -> bytes:
    return b"".join(PIECES[token].data for token in path)


class Plain:
    """The same by looking at whole texts, anew at each token."""

    def __init__(self, model: Model, base: list[int], rule: Rule, each: int) -> None:
        self.model, self.base, self.rule, self.each = model, base, rule, each
        begins = data(base).rfind(rule.lead) if rule.lead else -1
        self.lead_ends = begins + len(rule.lead) if begins >= 0 else None
        self.ended = len(base)
        """Tokens up to the end of its answer."""
        for end in range(len(base) - 1, 0, -1):
            if (
                self.lead_ends is not None
                and self.lead_ends <= len(data(base[:end]))
                and self.answer(base[:end], None) is not None
            ):
                self.ended = end
        self.standing = self.run(base, len(data(base)) if self.lead_ends is None else None)

    def run(self, path: list[int], new: int | None) -> tuple[RolloutEnd, str | None, list[int]]:
        """How a path goes on greedily; `new`: bytes before which no lead may end; None: the path's own lead counts."""
        path, given = list(path), len(path)
        while True:
            answer = self.answer(path, new)
            if answer is not None:
                return RolloutEnd.ANSWERED, answer, path
            if len(path) - given >= self.each:
                return RolloutEnd.LONG, None, path
            token = self.model.ranked(path)[0]
            if PIECES[token].ends:
                behind = self.behind(path, new)
                if behind is not None:
                    return RolloutEnd.ANSWERED, behind.decode("utf-8", "replace").strip(), path
                return RolloutEnd.ENDED, None, path
            path.append(token)

    def behind(self, path: list[int], new: int | None) -> bytes | None:
        """What stands behind the lead."""
        text, lead = data(path), self.rule.lead
        if new is None:
            assert self.lead_ends is not None
            return text[self.lead_ends :].lstrip()
        if not lead:
            return text[new:].lstrip()
        at = text.find(lead, max(0, new - len(lead) + 1))
        return None if at < 0 else text[at + len(lead) :].lstrip()

    def answer(self, path: list[int], new: int | None) -> str | None:
        """The answer, once it is there."""
        behind = self.behind(path, new)
        if behind is None:
            return None
        if isinstance(self.rule.stop, AfterTokens):
            size, tokens = 0, 0
            for token in reversed(path):  # those that have a part of it
                if size >= len(behind):
                    break
                size += len(PIECES[token].data)
                tokens += 1
            return behind.decode("utf-8", "replace").strip() if behind and tokens >= self.rule.stop.count else None
        found = None
        if isinstance(self.rule.stop, AtLine):
            found = behind.find(b"\n")
        elif isinstance(self.rule.stop, AtText):
            found = behind.find(self.rule.stop.text.encode())
        return None if found is None or found < 0 else behind[:found].decode("utf-8", "replace").strip()


def grown(model: Model, path: list[int]) -> Node:
    """A path whose tables are known but for the last one."""
    base = Node(None, -1).descend(path)
    for node in base.nodes()[:-1]:
        model.attach(node)
    return base


def through(out: Critical, model: Model, most: int, each: int, chance: random.Random) -> None:
    """Lets it be looked at in parts, and answers what is wanted, late or not."""
    for _ in range(100_000):
        looked = out.scan_places(chance.choice((1, 3, 100)))
        out.advance(most, each, chance.choice((1, 2, 50)))
        wanted = out.wanted(most)
        if wanted is not None and chance.random() < 0.7:
            assert wanted.distribution is None, "nothing is asked for twice"
            model.attach(wanted)
        if looked and wanted is None and out.running(most) is None:
            return
    raise AssertionError("it goes on for ever")


def doubts(base: Node, begin: int) -> list[tuple[float, int, int]]:
    """All places behind a depth by doubt, where they are, and the second choice: by sorting."""
    rows = []
    for node in base.nodes(max(begin, 1)):
        assert node.parent and node.parent.distribution and node.taken
        others = [(one.token, one.logprob) for one in node.parent.distribution.candidates() if one.token != node.token]
        if others and others[0][1] > -math.inf:
            rows.append((-min(node.taken.logprob, others[0][1]), node.depth, others[0][0]))
    return sorted(rows)


@pytest.mark.parametrize("stop", STOPS, ids=describe_stop)
@pytest.mark.parametrize("lead", few(LEADS, of=3))
def test_all_ways_are_those_of_a_plain_greedy_search(stop: StopRule, lead: bytes) -> None:
    ended = set[RolloutEnd | None]()
    for number in range(12):
        seed = f"{SEED} {number} {stop} {lead!r}"
        print("seed", seed)
        chance = random.Random(seed)
        model = Model(seed, len(PIECES))
        path = [chance.randrange(13) for _ in range(chance.randint(2, 14))]
        base, rule, each = grown(model, path), Rule(lead, stop), chance.choice((1, 5, 25))
        out = Critical(base, rule, PIECES.__getitem__)
        through(out, model, MOST_PLACES, each, chance)
        text = data(path)
        ends = [at + len(lead) for at in range(len(text)) if lead and text.startswith(lead, at)]
        begin = 0
        if len(ends) > 1 and len(lead) > 3:  # such a lead does not overlap itself
            begin = next(depth for depth in range(len(path)) if len(data(path[: depth + 1])) >= ends[-2]) + 1
        plain = Plain(model, path, rule, each)
        last = out.standing.node.depth if isinstance(stop, AtSentence) else plain.ended
        places = [one for one in doubts(base, begin) if one[1] <= last]
        if len(lead) != 1:
            assert [
                (-one.place.min_logprob, one.place.node.depth, one.place.second) for one in out.trials(MOST_PLACES)
            ] == places
        if isinstance(stop, AtSentence):
            continue  # where a sentence ends depends on where tokens do: by hand, below
        same(out, out.standing, plain, plain.standing)
        for trial in out.trials(MOST_PLACES):
            place = trial.place
            before = path[: place.node.depth - 1]
            given = len(data(before))
            new = None if plain.lead_ends is not None and given >= plain.lead_ends else given
            if PIECES[place.second].ends:
                if new is None:
                    assert trial.run.end is RolloutEnd.ANSWERED or data(before)[plain.lead_ends :].strip()
                continue
            if new is None and plain.answer(before, None) is not None:
                continue  # it ended before the place
            same(out, trial.run, plain, plain.run([*before, place.second], new))
            ended.add(trial.run.end)
    if not isinstance(stop, AtSentence):
        print(ended)


def same(out: Critical, run: Rollout, plain: Plain, wanted: tuple[RolloutEnd, str | None, list[int]]) -> None:
    """Whether a way is told as it is."""
    end, answer, path = wanted
    if run is out.standing and plain.lead_ends is not None and plain.answer(plain.base, None) is not None:
        # It has ended within the path.
        assert run.end is RolloutEnd.ANSWERED and run.node.depth <= len(plain.base)
        return
    assert run.end is end
    assert run.node.path() == path
    if end is RolloutEnd.ANSWERED:
        assert run.said == answer
        assert run.number == found(pattern_of(FIRST_NUMBER), answer or "")
        assert run.node.depth - run.last.depth in (0, 1)
    elif end is RolloutEnd.ENDED:
        assert run.number == found_last(pattern_of(FIRST_NUMBER), data(path).decode("utf-8", "replace"))
        assert run.last is run.node
    assert data(path).endswith(run.text)


@pytest.mark.parametrize(
    "text", ["法国的首都是哪座城市呢" * 10, "x " + "法" * 50 + ":", "法" * 500, "a" * 500, "é" * 49 + "ab:"]
)
def test_a_long_lead_begins_with_a_character(text: str) -> None:
    lead = lead_of(Node(None, -1).descend(list(range(len(text)))), lambda token: Piece(text[token].encode()))
    assert text.endswith(lead.decode()) and LONGEST_LEAD - 3 <= len(lead) <= LONGEST_LEAD


def test_the_second_choice_is_the_likeliest_token_that_does_not_stand_there() -> None:
    root = Node(None, -1).child(0)
    root.attach(Distribution.of(1.0, [3, 1, 2], [math.log(0.5), math.log(0.3), math.log(0.2)]))
    assert place_of(root.child(3)) == UncertainPlace(math.log(0.3), root.child(3), 1, math.log(0.3))
    assert place_of(root.child(1)) == UncertainPlace(math.log(0.3), root.child(1), 3, math.log(0.5))
    assert place_of(root.child(2)) == UncertainPlace(math.log(0.2), root.child(2), 3, math.log(0.5))
    unlikely = root.child(9)
    assert place_of(unlikely) is None, "not known yet"
    unlikely.attach_taken(TokenLogprob(-20.0, 900))
    assert place_of(unlikely) == UncertainPlace(-20.0, unlikely, 3, math.log(0.5))
    sure = root.child(1)
    sure.attach(Distribution.of(0.0, [4, 5], [0.0, -math.inf]))
    assert place_of(sure.child(4)) is None, "nothing else can stand there"


def test_of_equally_doubtful_places_the_first_comes_first() -> None:
    base = Node(None, -1).descend([0, 1, 2, 3])
    for node in base.nodes()[:-1]:
        node.attach(Distribution.of(1.0, [8, 9], [math.log(0.5), math.log(0.4)]))
    for node in base.nodes(1):
        node.attach_taken(TokenLogprob(math.log(0.1), 3))
    out = Critical(base, Rule(b":", AtLine()), PIECES.__getitem__)
    assert not out.scan_places(1)
    assert out.scan_places(100)
    assert [one.place.node.depth for one in out.trials(8)] == [2, 3, 4]
    assert [one.place.node.depth for one in out.trials(2)] == [2, 3]


def test_places_without_numbers_are_told_and_come_along_once_they_are_known() -> None:
    model = Model(f"{SEED} lacking", len(PIECES))
    base = Node(None, -1).descend([0, 11, 8, 11, 9])
    nodes = base.nodes()
    for node in (nodes[0], nodes[3]):
        model.attach(node)
    out = Critical(base, Rule(b"nowhere", AtLine()), PIECES.__getitem__)
    assert out.scan_places(100)
    assert (out.lacking, len(out.trials(MOST_PLACES))) == (2, 2)
    model.attach(nodes[2])
    assert out.scan_places(0)
    assert (out.lacking, len(out.trials(MOST_PLACES))) == (1, 3)
    model.attach(nodes[1])
    out.scan_places(0)
    assert out.lacking == 0
    assert [one.place.node.depth for one in out.trials(MOST_PLACES)] == [depth for _, depth, _ in doubts(base, 0)]


def test_what_came_before_an_earlier_answer_is_left_out() -> None:
    """Each example leads to an answer of its own, and only the last one is compared."""
    model = Model(f"{SEED} examples", len(PIECES))
    path = [11, 8, 7, 5, 9, 7, 11, 2, 5, 6]  # "x 7\nAns:2\nx nsAns: "
    base = grown(model, path)
    out = Critical(base, Rule(b"Ans:", AtLine()), PIECES.__getitem__)
    assert out.scan_places(100)
    assert sorted(one.place.node.depth for one in out.trials(MOST_PLACES)) == [5, 6, 7, 8, 9, 10]
    assert out.begin == 4


def by_hand(said: dict[tuple[int, ...], str]) -> Callable[[Node], None]:
    """A model that says texts behind some paths, token by token, and then ends."""
    following: dict[tuple[int, ...], int] = {}
    for begin, text in said.items():
        way = list(begin)
        for char in (*text, "<end>"):
            token = next(token for token, piece in enumerate(PIECES) if piece.data == char.encode())
            following[tuple(way)] = token
            way.append(token)

    def attach(node: Node) -> None:
        token = following[tuple(node.path())]
        node.attach(Distribution.of(0.1, [token, (token + 1) % 13], [math.log(0.9), math.log(0.1)]))

    return attach


@pytest.mark.parametrize(
    ("said", "answer", "end"),
    [
        (" 72.", "72", RolloutEnd.ANSWERED),
        ("\n\n72\n", "72", RolloutEnd.ANSWERED),
        ("72.2\n", "72.2", RolloutEnd.ANSWERED),
        ("", "", RolloutEnd.ANSWERED),
        ("A\n", "A", RolloutEnd.ANSWERED),
    ],
)
def test_the_answer_as_it_stands(said: str, answer: str, end: RolloutEnd) -> None:
    path = [5]
    attach = by_hand({tuple(path): said})
    out = Critical(Node(None, -1).descend(path), Rule(b"Ans:", AtSentence()), PIECES.__getitem__)
    out.scan_places(10)
    while out.advance(8, 100, 100) and (wanted := out.wanted(8)):
        attach(wanted)
    assert (out.answer(out.standing), out.standing.end) == (answer, end)


@pytest.mark.parametrize("lead", [b"", b"Ans:2"])
@pytest.mark.parametrize(("said", "answer"), [(".7\n", ".7"), (". 7\n", "."), (" .", ".")])
def test_a_number_goes_on_behind_a_digit(lead: bytes, said: str, answer: str) -> None:
    path = [5, 9]
    attach = by_hand({tuple(path): said})
    out = Critical(Node(None, -1).descend(path), Rule(lead, AtSentence()), PIECES.__getitem__)
    out.scan_places(10)
    while out.advance(8, 100, 100) and (wanted := out.wanted(8)):
        attach(wanted)
    assert out.standing.said == answer


def test_without_the_lead_the_last_number_is_the_answer_where_the_model_ends() -> None:
    path = [9, 11, 5, 8]  # "2x Ans:7"; in place of the x: ". 72", and the model ends
    attach = by_hand({(9, 11, 5, 8): "\n", (9, 10): " 72"})
    base = Node(None, -1).descend(path)
    place = base.ancestor(2)
    base.ancestor(1).attach(Distribution.of(1.0, [11, 10], [math.log(0.6), math.log(0.4)]))
    place.attach_taken(TokenLogprob(math.log(0.6), 1))
    out = Critical(base, Rule(b"Ans:", AtLine()), PIECES.__getitem__)
    out.scan_places(10)
    while out.advance(8, 100, 100) and (wanted := out.wanted(8)):
        attach(wanted)
    (trial,) = out.trials(8)
    assert (out.answer(out.standing), out.answer(trial.run), trial.run.end) == ("7", "72", RolloutEnd.ENDED)
    assert out.flips(trial) is True
    assert [node.token for node in trial.run.last.nodes()] == [9, 10, 6, 8, 9]


def test_without_a_lead_in_the_text_its_own_last_number_is_the_answer_as_it_stands() -> None:
    path = [9, 15, 11, 8, 10]  # another turn with a 2, then "x 7."; in place of the 7: "2.", and the model ends
    base = Node(None, -1).descend(path)
    attach = by_hand({tuple(path): "", (9, 15, 11, 9): "."})
    base.ancestor(3).attach(Distribution.of(1.0, [8, 9], [math.log(0.6), math.log(0.4)]))
    base.ancestor(4).attach_taken(TokenLogprob(math.log(0.6), 1))
    out = Critical(base, Rule(b"Ans:", AtLine()), PIECES.__getitem__)
    out.scan_places(10)
    while out.advance(8, 100, 100) and (wanted := out.wanted(8)):
        attach(wanted)
    (trial,) = out.trials(8)
    assert (out.answer(out.standing), out.answer(trial.run), out.flips(trial)) == ("7", "2", True)
    empty = Critical(Node(None, -1).descend([9, 15]), Rule(b"Ans:", AtLine()), PIECES.__getitem__)
    empty.standing.stop(RolloutEnd.ENDED)
    assert empty.answer(empty.standing) is None, "the number is another turn's"


@pytest.mark.parametrize(
    ("path", "depth", "second", "said", "stands", "answer"),
    [
        ([11, 8, 9], 3, 8, ".", "72", "77"),
        ([11, 8, 9], 3, 10, "", "72", "7"),
        ([11, 8, 10, 0], 4, 11, "", "7", "7"),
        ([11, 8, 9], 3, 15, "", "72", "7"),
        ([8, 15, 11, 9], 4, 10, "", "2", None),
        ([11, 8, 10, 5, 9, 7], 4, 15, "", "2", "7"),
        ([11, 8, 9, 5, 9, 7], 3, 8, ".", "2", "77"),
    ],
    ids=["a digit", "no digit", "behind it", "an end", "another turn", "a lead left out", "a lead not reached"],
)
def test_where_the_model_ends_all_of_the_text_may_have_the_number(
    path: list[int], depth: int, second: int, said: str, stands: str, answer: str | None
) -> None:
    """Also what stands before the second choice."""
    base = Node(None, -1).descend(path)
    base.ancestor(depth - 1).attach(Distribution.of(1.0, [path[depth - 1], second], [math.log(0.6), math.log(0.4)]))
    base.ancestor(depth).attach_taken(TokenLogprob(math.log(0.6), 1))
    out = Critical(base, Rule(b"Ans:", AtLine()), PIECES.__getitem__)
    attach = by_hand({tuple(path): "", (*path[: depth - 1], second): said})
    out.scan_places(10)
    while out.advance(8, 100, 100) and (wanted := out.wanted(8)):
        attach(wanted)
    (trial,) = out.trials(8)
    assert trial.run.end is RolloutEnd.ENDED
    assert (out.answer(out.standing), out.answer(trial.run)) == (stands, answer)
    assert out.flips(trial) is (None if answer is None else answer != stands)


@pytest.mark.parametrize(
    ("stands", "second", "flips"),
    [
        ("72", "72.00", False),
        ("1200", "1,200", False),
        ("$72", "72.0 clips", False),
        ("72", "72.5", True),
        ("yes", "yes", False),
        ("yes", "72", True),
        ("12345678901234567890", "12345678901234567891", True),
    ],
)
def test_an_answer_flips_where_its_number_is_another_one(stands: str, second: str, flips: bool) -> None:
    pieces = [Piece(text.encode()) for text in ("A:", stands, f" {second}", "\n")]
    base = Node(None, -1).descend([0, 1])
    trunk = base.ancestor(1)
    line = Distribution.of(0.0, [3, 1], [0.0, -9.0])
    trunk.attach(Distribution.of(1.0, [1, 2], [math.log(0.6), math.log(0.4)]))
    for node in (base, trunk.child(2)):
        node.attach(line)
    trunk.child(1)  # what was said of its token comes along
    out = Critical(base, Rule(b"A:", AtLine()), pieces.__getitem__)
    while not out.scan_places(100) or out.advance(8, 100, 100) < 100:
        pass
    assert [out.flips(trial) for trial in out.trials(8)] == [flips]


def test_what_is_too_long_has_no_answer_and_may_go_on() -> None:
    model = Model(f"{SEED} long", len(PIECES))
    base = grown(model, [11, 8, 9])
    out = Critical(base, Rule(b"nowhere", AtLine()), PIECES.__getitem__, room=40)
    chance = random.Random(SEED)
    through(out, model, 2, 3, chance)
    runs = [trial.run for trial in out.trials(2)]
    assert RolloutEnd.LONG in {run.end for run in runs}
    assert all(out.flips(trial) is None for trial in out.trials(2) if trial.run.end is RolloutEnd.LONG)
    assert out.resume()
    through(out, model, 2, 1000, chance)
    assert {run.end for run in runs} <= {RolloutEnd.ENDED, RolloutEnd.FULL}
    assert all(run.node.depth <= 40 for run in runs)


@pytest.mark.parametrize(
    ("texts", "lead"),
    [
        (["Question: a", "\nAnswer", ": ", "72"], b"Answer:"),
        (["Answer", ":\n"], b"Answer:"),
        (["The capital of", " France", " is"], b" is"),
        (["a: b\nfinal answer is: 1 2"], b"is:"),
        (["  \n "], b""),
        (["x" * 500], b"x" * 100),
    ],
)
def test_what_stands_before_an_answer(texts: list[str], lead: bytes) -> None:
    pieces = [Piece(text.encode()) for text in texts]
    assert lead_of(Node(None, -1).descend(list(range(len(texts)))), pieces.__getitem__) == lead


def test_a_lead_in_the_question_of_a_chat_is_none_of_the_answers() -> None:
    words = [b"Finish with Answer:", b" a number", b"<end>", b" Sum", b" is", b" 4", b"Answer:", b" 5"]
    pieces = [Piece(word, control=word == b"<end>", ends=word == b"<end>") for word in words]

    def found(path: list[int]) -> Critical:
        base = Node(None, -1).descend(path)
        for node in base.nodes():
            node.attach(Distribution.of(1.0, [3, 4, 5], [math.log(0.5), math.log(0.3), math.log(0.2)]))
            node.attach_taken(TokenLogprob(math.log(0.5), 1))
        critical = Critical(base, Rule(b"Answer:", AtLine()), pieces.__getitem__)
        while not critical.scan_places(100):
            pass
        return critical

    question = found([0, 1, 2, 3, 4, 5])
    assert question.standing.said == "" and question.standing.node.depth == 6, "the answer has not come"
    answered = found([0, 1, 2, 3, 6, 7])
    assert answered.standing.said.startswith("5")
