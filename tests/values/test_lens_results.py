"""Answers through a lens: kept by lens and path, the first one stays, old lenses are forgotten."""

import math
import random
from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from tests import fake
from tokex_gguf.values.distribution import TokenLogprob
from tokex_gguf.values.lens import Sampled, lens_of
from tokex_gguf.values.lens_results import LENSES, LensResults
from tokex_gguf.values.reachability import cut_by, decidable
from tokex_gguf.values.samplers import Chain, Kind, Sampler
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT, Standing, Verdict, View


def sampled(top_k: int) -> Sampled:
    lens = lens_of(Chain((Sampler.of(Kind.TOP_K, top_k),)))
    assert isinstance(lens, Sampled)
    return lens


def view(final: float) -> View:
    rows = array("i", [7]), array("d", [final]), array("b", [NOT_CUT])
    return View(1, 1.0, 0.0, 1.0, (), Standing.FREE, -1, *rows)


def test_each_lens_has_answers_of_its_own() -> None:
    answers, node = LensResults(), Node(None, -1).child(1)
    one, other = view(0.5), view(0.25)
    answers.attach(sampled(5), node, one)
    assert answers.view(sampled(5), node) is one, "an equal lens is the same question"
    assert answers.view(sampled(6), node) is None
    answers.attach(sampled(6), node, other)
    assert answers.view(sampled(5), node) is one
    assert answers.verdict(sampled(5), node.child(7)) == Verdict(0.5, NOT_CUT), "a table tells of the tokens after it"
    assert answers.verdict(sampled(5), node.child(8)) is None


def test_the_first_verdict_stays() -> None:
    answers, node = LensResults(), Node(None, -1).child(1).child(2)
    answers.attach_verdict(sampled(5), node, Verdict(0.5, NOT_CUT))
    answers.attach_verdict(sampled(5), node, Verdict(0.0, 0))
    assert answers.verdict(sampled(5), node) == Verdict(0.5, NOT_CUT)


def test_of_many_lenses_the_latest_are_kept() -> None:
    answers, node = LensResults(), Node(None, -1).child(1)
    for top_k in range(1, LENSES + 2):
        answers.attach(sampled(top_k), node, view(0.5))
    assert answers.view(sampled(1), node) is None
    assert answers.view(sampled(2), node) is not None


def test_what_changes_nothing_is_no_part_of_the_question() -> None:
    one = Chain((Sampler.of(Kind.TOP_K, 40), Sampler.of(Kind.TOP_P, 1.0), Sampler.of(Kind.MIN_P, 0.1).switched()))
    assert lens_of(one, None, 5) == lens_of(Chain((Sampler.of(Kind.TOP_K, 40),)), None, 9)


class Counted(float):
    """A number that counts how often it is hashed."""

    hashes = 0

    def __hash__(self) -> int:
        Counted.hashes += 1
        return super().__hash__()


def test_a_chain_of_very_many_biases_is_hashed_and_sorted_once() -> None:
    chain, answers, node = (
        Chain(bias=tuple((token, Counted(1)) for token in range(9000))),
        LensResults(),
        Node(None, -1),
    )
    lens = lens_of(chain)
    assert isinstance(lens, Sampled)
    answers.attach(lens, node, view(0.5))
    once = Counted.hashes
    assert once <= 2 * 9000, "the chain, and what acts of it"
    for _ in range(5):
        assert lens_of(chain) is lens and answers.view(lens, node) and answers.verdict(lens, node.child(7))
        assert lens.chain.short == chain.short == "9000 biased"
    assert Counted.hashes == once
    assert chain.acting is chain.acting and Chain(chain.samplers, chain.bias) == chain
    assert hash(Chain(chain.samplers, chain.bias)) == hash(chain)


def test_only_what_is_new_of_a_path_is_looked_at_again() -> None:
    answers, lens = LensResults(), sampled(5)
    tip = Node(None, -1).descend(list(range(100)))
    for node in tip.nodes(1):
        node.attach_taken(TokenLogprob(-1.0, 2))
        answers.attach_verdict(lens, node, Verdict(0.5, NOT_CUT))
    assert answers.judge_more(lens, tip, 1000) and answers.first_unjudged(lens, tip) is None
    longer = tip.descend([7, 8])
    for node in longer.nodes(100):
        node.attach_taken(TokenLogprob(-1.0, 2))
    assert answers.judge_more(lens, longer, 1000)
    assert answers.first_unjudged(lens, longer) == 99, "the distribution behind the hundredth token"
    for node in longer.nodes(100):
        answers.attach_verdict(lens, node, Verdict(0.5, NOT_CUT))
    assert answers.judge_more(lens, longer, 1000) and answers.first_unjudged(lens, longer) is None
    other = tip.ancestor(50).child(9)
    other.attach_taken(TokenLogprob(-1.0, 2))
    assert answers.judge_more(lens, other, 1000) and answers.first_unjudged(lens, other) == 49


def test_the_cost_of_a_path_is_that_of_its_tokens() -> None:
    answers, lens = LensResults(), lens_of(Chain(bias=((3, 1.0),)))
    assert isinstance(lens, Sampled)
    tip = Node(None, -1).descend(list(range(300)))
    for node in tip.nodes(2):
        answers.attach_verdict(lens, node, Verdict(0.5, NOT_CUT, 0.5))
    assert answers.cost(lens, tip) is None, "one is not known"
    answers.attach_verdict(lens, tip.ancestor(2), Verdict(0.5, NOT_CUT, 0.25))
    assert answers.cost(lens, tip) == 300.0
    assert answers.cost(lens, tip.ancestor(50)) == 50.0
    further = tip.child(7)
    assert answers.cost(lens, further) is None
    answers.attach_verdict(lens, further, Verdict(0.5, NOT_CUT, 0.0))
    assert answers.cost(lens, further) == math.inf


# --- what is kept sorted


def test_a_path_is_looked_at_in_pieces() -> None:
    answers, lens = LensResults(), sampled(5)
    tip = Node(None, -1).descend(list(range(100)))
    for node in tip.nodes(1):
        node.attach_taken(TokenLogprob(-1.0, 2))
        answers.attach_verdict(lens, node, Verdict(0.0, 0))
    assert not answers.judge_more(lens, tip, 40) and len(answers.judged(lens, tip).cut(tip)) == 40
    assert not answers.judge_more(lens, tip, 40) and not answers.judge_more(lens, tip, 0)
    assert answers.judge_more(lens, tip, 40) and list(answers.judged(lens, tip).cut(tip).depths) == list(range(2, 101))


def test_what_the_model_has_not_said_yet_is_looked_at_later() -> None:
    answers, lens = LensResults(), sampled(5)
    tip = Node(None, -1).descend(list(range(10)))
    for node in tip.nodes(1):
        answers.attach_verdict(lens, node, Verdict(0.0, 0))
    for node in tip.nodes(1)[:5]:
        node.attach_taken(TokenLogprob(-1.0, 2))
    assert answers.judge_more(lens, tip, 100) and len(answers.judged(lens, tip).cut(tip)) == 5
    for node in tip.nodes(1)[5:]:
        node.attach_taken(TokenLogprob(-1.0, 2))
    assert answers.judge_more(lens, tip, 100) and len(answers.judged(lens, tip).cut(tip)) == 9


def plain(answers: LensResults, lens: Sampled, tip: Node) -> tuple[list[int], list[int], list[int]]:
    """The depths of the tokens of a path that are unknown, that were cut, and that cost most, by going through it."""
    verdicts = [(node.depth, answers.verdict(lens, node)) for node in tip.nodes(1)]
    unknown = [depth for depth, verdict in verdicts if verdict is None]
    cut = [depth for depth, verdict in verdicts if verdict and verdict.cut_by != NOT_CUT]
    costs = [(verdict.cost_bits, depth) for depth, verdict in verdicts if verdict and verdict.cost_bits > 0]
    least = sorted(costs, reverse=True)[: math.ceil(len(costs) / 10)][-1:]
    return unknown, cut, [depth for bits, depth in costs if least and bits >= least[0][0]]


@given(st.integers(0, 1 << 30))
@settings(max_examples=30)
def test_what_is_kept_sorted_is_what_a_walk_along_the_path_finds(seed: int) -> None:
    """On any way through a tree, through two lenses, whenever and from wherever a verdict comes."""
    chance, answers = random.Random(seed), LensResults()
    asked = lens_of(Chain(bias=((3, 1.0),)))
    assert isinstance(asked, Sampled) and not decidable(asked) and decidable(sampled(2))
    tips = [Node(None, -1).child(0)]
    tips[0].attach(fake.distribution([1], 4))
    for _ in range(60):
        lens = chance.choice([asked, sampled(2)])
        tip = chance.choice(tips)
        tip = tip.ancestor(chance.randint(max(1, tip.depth - 12), tip.depth))
        for _ in range(chance.randint(0, 9)):
            tip = tip.child(chance.randrange(6))
            tip.attach(fake.distribution([chance.randrange(9)], 4))
            tip.attach_taken(TokenLogprob(-chance.randrange(5) / 2, chance.randint(1, 6)))
        tips = [*tips[-4:], tip]
        for node in tip.nodes(1):
            if chance.random() < 0.2:
                answers.attach_verdict(lens, node, true(lens, node, seed))
            elif chance.random() < 0.05 and node.parent is not None and node.parent.depth > 1:
                answers.attach(lens, node.parent, told(lens, node, seed))
        answers.judge_more(lens, tip, chance.choice([1, 3, 1000]))
        if chance.random() < 0.5:
            answers.judge_more(lens, tip, 1000)
            unknown, cut, dear = plain(answers, lens, tip)
            found = answers.judged(lens, tip)
            assert answers.first_unjudged(lens, tip) == (unknown[0] - 2 if unknown else None)
            places = range(tip.depth + 2)
            for marked, depths in ((found.cut(tip), cut), (found.costliest_tenth(tip), dear)):
                assert len(marked) == len(depths)
                for here in places:
                    assert marked.next(here) == next((one for one in depths if one > here), None)
                    assert marked.previous(here) == next((one for one in reversed(depths) if one < here), None)


def true(lens: Sampled, node: Node, seed: int) -> Verdict:
    """What a lens makes of a token, always the same."""
    assert node.parent is not None and node.parent.distribution is not None and node.taken is not None
    chance = random.Random(f"{seed} {node.path()} {lens}")
    cut, mass = chance.choice([NOT_CUT, NOT_CUT, 0]), chance.choice([1.0, 0.5, 0.25, chance.random(), 0.0])
    if decidable(lens):
        decided = cut_by(lens, node.parent.distribution, node.taken)
        cut, mass = cut if decided is None else decided, 1.0
    return Verdict(0.0 if cut == 0 else 0.5, cut, mass)


def told(lens: Sampled, node: Node, seed: int) -> View:
    """A view that tells of what was visited there."""
    assert node.parent is not None
    verdict = true(lens, node, seed)
    rows = array("i", [node.token]), array("d", [verdict.final]), array("b", [verdict.cut_by])
    return View(1, 1.0, 0.0, verdict.legal_mass, (), Standing.FREE, -1, *rows)


def test_a_path_that_ends_earlier_has_what_comes_before_its_end() -> None:
    answers, lens = LensResults(), sampled(5)
    tip = Node(None, -1).descend(list(range(300)))
    for node in tip.nodes(1):
        node.attach_taken(TokenLogprob(-1.0, 2))
        answers.attach_verdict(lens, node, Verdict(0.0, 0, 1 / node.depth))
    answers.judge_more(lens, tip, 1000)
    for depth in (300, 150, 40, 2, 1):
        shorter = tip.ancestor(depth)
        found = answers.judged(lens, shorter)
        assert len(found.cut(shorter)) == depth - 1
        assert len(found.costliest_tenth(shorter)) == math.ceil((depth - 1) / 10)
        assert answers.judge_more(lens, shorter, 0), "it was looked at"
