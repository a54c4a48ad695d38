"""Answers through a lens: kept by lens and path, the first one stays, old lenses are forgotten."""

import math
from array import array

from tokex_gguf.values.answers import LENSES, Answers
from tokex_gguf.values.distribution import Taken
from tokex_gguf.values.lens import Sampled, lens_of
from tokex_gguf.values.samplers import Chain, Kind, Sampler
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import KEPT, Standing, Verdict, View


def sampled(top_k: int) -> Sampled:
    lens = lens_of(Chain((Sampler.of(Kind.TOP_K, top_k),)))
    assert isinstance(lens, Sampled)
    return lens


def view(final: float) -> View:
    rows = array("i", [7]), array("d", [final]), array("b", [KEPT])
    return View(1, 1.0, 0.0, 1.0, (), Standing.FREE, -1, *rows)


def test_each_lens_has_answers_of_its_own() -> None:
    answers, node = Answers(), Node(None, -1).child(1)
    one, other = view(0.5), view(0.25)
    answers.attach(sampled(5), node, one)
    assert answers.view(sampled(5), node) is one, "an equal lens is the same question"
    assert answers.view(sampled(6), node) is None
    answers.attach(sampled(6), node, other)
    assert answers.view(sampled(5), node) is one
    assert answers.verdict(sampled(5), node.child(7)) == Verdict(0.5, KEPT), "a table tells of the tokens after it"
    assert answers.verdict(sampled(5), node.child(8)) is None


def test_the_first_verdict_stays() -> None:
    answers, node = Answers(), Node(None, -1).child(1).child(2)
    answers.attach_verdict(sampled(5), node, Verdict(0.5, KEPT))
    answers.attach_verdict(sampled(5), node, Verdict(0.0, 0))
    assert answers.verdict(sampled(5), node) == Verdict(0.5, KEPT)


def test_of_many_lenses_the_latest_are_kept() -> None:
    answers, node = Answers(), Node(None, -1).child(1)
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
    chain, answers, node = Chain(bias=tuple((token, Counted(1)) for token in range(9000))), Answers(), Node(None, -1)
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
    answers, lens = Answers(), sampled(5)
    tip = Node(None, -1).descend(list(range(100)))
    for node in tip.nodes(1):
        node.attach_taken(Taken(-1.0, 2))
        answers.attach_verdict(lens, node, Verdict(0.5, KEPT))
    assert answers.first_unjudged(lens, tip) is None
    longer = tip.descend([7, 8])
    for node in longer.nodes(100):
        node.attach_taken(Taken(-1.0, 2))
    assert answers.first_unjudged(lens, longer) == 99, "the distribution behind the hundredth token"
    for node in longer.nodes(100):
        answers.attach_verdict(lens, node, Verdict(0.5, KEPT))
    assert answers.first_unjudged(lens, longer) is None
    other = tip.ancestor(50).child(9)
    other.attach_taken(Taken(-1.0, 2))
    assert answers.first_unjudged(lens, other) == 49


def test_the_cost_of_a_path_is_that_of_its_tokens() -> None:
    answers, lens = Answers(), lens_of(Chain(bias=((3, 1.0),)))
    assert isinstance(lens, Sampled)
    tip = Node(None, -1).descend(list(range(300)))
    for node in tip.nodes(2):
        answers.attach_verdict(lens, node, Verdict(0.5, KEPT, 0.5))
    assert answers.cost(lens, tip) is None, "one is not known"
    answers.attach_verdict(lens, tip.ancestor(2), Verdict(0.5, KEPT, 0.25))
    assert answers.cost(lens, tip) == 300.0
    assert answers.cost(lens, tip.ancestor(50)) == 50.0
    further = tip.child(7)
    assert answers.cost(lens, further) is None
    answers.attach_verdict(lens, further, Verdict(0.5, KEPT, 0.0))
    assert answers.cost(lens, further) == math.inf
