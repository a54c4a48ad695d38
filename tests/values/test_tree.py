"""The tree of paths: one node for each path, and answers that never change."""

import math
import random
from array import array
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.tree import Node, grown

ANSWER = Distribution.of(1.5, [7, 3, 5], [-0.5, -1.25, -3.0])

short_paths = st.lists(st.integers(0, 3), max_size=6)


def root() -> Node:
    return Node(None, -1)


def path_of(logprobs: list[float | None]) -> Node:
    """A path whose first token is given and whose others were taken with these log-probabilities."""
    node = root().child(0)
    for logprob in logprobs:
        node = node.child(0)
        if logprob is not None:
            node.attach_taken(TokenLogprob(logprob, 1))
    return node


# --- nodes stand for paths


@given(st.lists(short_paths))
def test_same_path_is_same_node(paths: list[list[int]]) -> None:
    top = root()
    nodes = [top.descend(path) for path in paths]
    for a, path_a in zip(nodes, paths, strict=True):
        assert (a.path(), a.depth) == (path_a, len(path_a))
        for b, path_b in zip(nodes, paths, strict=True):
            assert (a is b) == (path_a == path_b)
            assert a.descends_from(b) == (path_a[: len(path_b)] == path_b)


@given(st.lists(st.sampled_from("<01"), max_size=40))
def test_a_path_is_its_nodes_tokens_wherever_one_goes(steps: list[str]) -> None:
    here = root()
    for step in steps:
        here = here.parent or here if step == "<" else here.child(int(step))
        path = here.path()
        assert path == [node.token for node in here.nodes()]
        path.append(-5)  # the caller's own


def test_other_tree_is_no_ancestor() -> None:
    assert not root().descend([1, 2]).descends_from(root().descend([1]))


@pytest.mark.parametrize("start", range(6))
def test_nodes_from_a_position(start: int) -> None:
    node = root().descend([4, 5, 6, 7])
    nodes = node.nodes(start)
    assert [n.token for n in nodes] == [4, 5, 6, 7][start:]
    assert not nodes or nodes[-1] is node
    assert all(b.parent is a for a, b in pairwise(nodes))


@pytest.mark.parametrize("start", [-1, -9])
def test_nothing_comes_before_the_first_token(start: int) -> None:
    assert [n.token for n in root().descend([4, 5]).nodes(start)] == [4, 5]


def test_going_back_loses_nothing() -> None:
    node = root().descend([1, 2, 3])
    node.attach(ANSWER)
    parent = node.parent
    assert parent is not None
    parent.child(9)
    assert parent.child(3).distribution is ANSWER


def test_path_may_be_very_long() -> None:
    node = path_of([-1.0] * 20_000)
    assert len(node.path()) == 20_001
    assert node.logprob == -20_000.0


# --- answers stay


def test_first_distribution_stays() -> None:
    node = root().child(1)
    node.attach(ANSWER)
    node.attach(Distribution.of(0.0, [1], [0.0]))
    assert node.distribution is ANSWER


def test_first_taken_stays() -> None:
    node = root().descend([1, 2])
    node.attach_taken(TokenLogprob(-1.0, 2))
    node.attach_taken(TokenLogprob(-9.0, 3))
    assert node.taken == TokenLogprob(-1.0, 2)


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("visited_before", [False, True])
def test_child_takes_what_its_parent_lists(row: int, visited_before: bool) -> None:
    parent = root().child(1)
    token = ANSWER.ids[row]
    if visited_before:
        assert parent.child(token).taken is None
    parent.attach(ANSWER)
    assert parent.child(token).taken == TokenLogprob(ANSWER.logprobs[row], row + 1)


def test_child_that_its_parent_does_not_list_waits() -> None:
    parent = root().child(1)
    parent.attach(ANSWER)
    assert parent.child(4).taken is None


def test_child_keeps_what_was_told_before_its_parent_answered() -> None:
    parent = root().child(1)
    parent.child(7).attach_taken(TokenLogprob(-4.0, 40))
    parent.attach(ANSWER)
    assert parent.child(7).taken == TokenLogprob(-4.0, 40)


# --- what is still to compute

D, T = "distribution", "taken"


@pytest.mark.parametrize(
    ("has", "first"),
    [
        ([], 0),
        ([""], 0),
        ([D], 1),  # nothing is said of the first token, which is given
        (["", "", ""], 0),
        ([D, D + T, ""], 1),  # the token is not listed: its parent must answer again for it
        ([D, D + T, D + T], 3),
        ([D, D + T, T], 2),
        ([D, D + T, D], 1),
        ([D, "", ""], 0),
        ([D, T, ""], 1),
        ([D, D, ""], 0),
        ([D, D], 0),
        ([D, T], 1),
    ],
)
def test_first_unknown(has: list[str], first: int) -> None:
    node = root()
    for token, parts in enumerate(has):
        node = node.child(100 + token)  # no token that ANSWER lists
        if D in parts:
            node.attach(ANSWER)
        if T in parts:
            node.attach_taken(TokenLogprob(-1.0, 1))
    assert node.first_unknown() == first
    assert node.known == (has != [] and first == len(has))


@given(st.integers(1, 8), st.integers(0, 8), st.booleans())
def test_evaluating_from_first_unknown_completes_a_path(length: int, computed: int, listed: bool) -> None:
    """An evaluation as the engine does it: distributions from `start`, each with the token after it."""

    def evaluate(tip: Node) -> None:
        nodes = tip.nodes()
        for position in range(tip.first_unknown(), tip.depth):
            nodes[position].attach(ANSWER)
            if position + 1 < tip.depth:
                nodes[position + 1].attach_taken(TokenLogprob(-2.0, 9))

    top = root()
    path = [7 if listed else 100] * length
    evaluate(top.descend(path[:computed]))
    tip = top.descend(path)
    assert tip.first_unknown() >= min(computed, length) - 1  # what was computed is not asked for again
    evaluate(tip)
    assert tip.first_unknown() == length
    assert all(node.known for node in tip.nodes())


# --- answers in any order


@given(st.integers(1, 40), st.integers(0, 2**32), st.booleans())
@settings(max_examples=40)
def test_numbers_that_come_in_any_order_give_what_plain_loops_do(length: int, seed: int, forked: bool) -> None:
    """Of a walked prompt the tip is known first. Every sum, count and place is that of a loop over the path."""
    chance = random.Random(seed)
    tip = root().descend([100 + index for index in range(length)])
    tips = [tip, *([tip.ancestor(chance.randint(1, length)).descend([7, 200, 201])] if forked else [])]
    nodes = list({node: None for one in tips for node in one.nodes()})
    pending = [(node, part) for node in nodes for part in (D, T) if part == D or node.depth > 1]
    chance.shuffle(pending)
    while True:
        for one in chance.sample(tips, len(tips)):
            holds_on(one)
        if not pending:
            break
        for _ in range(min(len(pending), chance.randint(1, 6))):
            node, part = pending.pop()
            if part == D:
                node.attach(ANSWER)
            else:
                node.attach_taken(TokenLogprob(-chance.random(), chance.randint(1, 200), chance.random() < 0.5))
    assert all(one.whole and one.unknown == 0 and one.first_unknown() == one.depth for one in tips)


def holds_on(tip: Node) -> None:
    nodes = tip.nodes()
    unknown = [node for node in nodes if not node.known]
    assert tip.unknown == len(unknown) and tip.whole == (not unknown)
    lacking = [
        position
        for position, node in enumerate(nodes)
        if node.distribution is None or (node is not tip and nodes[position + 1].taken is None)
    ]
    for start, end in ((0, tip.depth), (0, 1), (3, 9), (tip.depth - 2, tip.depth + 5)):
        assert [n.depth - 1 for n in tip.lacking(start, end)] == [p for p in lacking if max(0, start) <= p < end]
    first = tip.first_unknown()
    if unknown:
        # The first node that is not known, or its parent, which is to say what is missing of its token.
        lacks = unknown[0].depth > 1 and unknown[0].taken is None
        assert first == unknown[0].depth - 1 - lacks
    else:
        assert first == tip.depth
    told = [node.taken.logprob for node in nodes[1:] if node.taken]
    if len(told) == len(nodes) - 1:
        assert tip.logprob == pytest.approx(math.fsum(told), abs=1e-9)
    else:
        assert tip.logprob is None and tip.perplexity is None


# --- log-probability and perplexity


@given(st.lists(st.floats(-30, 0), min_size=1, max_size=30))
def test_logprob_and_perplexity_are_the_naive_ones(logprobs: list[float]) -> None:
    node = path_of(list(logprobs))
    assert node.logprob == pytest.approx(math.fsum(logprobs), abs=1e-9)
    probability = math.prod(map(math.exp, logprobs))
    if probability > 1e-300:
        assert node.perplexity == pytest.approx(probability ** (-1 / len(logprobs)), rel=1e-9)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_no_total_while_one_token_is_missing(missing: int) -> None:
    logprobs: list[float | None] = [-1.0, -2.0, -4.0]
    logprobs[missing] = None
    node = path_of(logprobs)
    assert node.logprob is None and node.perplexity is None
    node.nodes()[missing + 1].attach_taken(TokenLogprob(-0.5, 1))
    assert node.logprob == -7.0 + [1, 2, 4][missing] - 0.5


def test_first_token_is_given() -> None:
    first = root().child(3)
    assert first.logprob == 0.0
    assert first.perplexity is None


@pytest.mark.parametrize("logprob", [-2000.0, -math.inf])
def test_perplexity_beyond_floats(logprob: float) -> None:
    assert path_of([logprob]).perplexity == math.inf


# --- distributions


def test_candidates() -> None:
    rows = list(ANSWER.candidates())
    assert len(ANSWER) == len(rows) == 3
    assert [(row.rank, row.token, row.logprob) for row in rows] == [(1, 7, -0.5), (2, 3, -1.25), (3, 5, -3.0)]
    assert rows[1] == ANSWER.candidate(1)
    assert [row.prob for row in rows] == pytest.approx([math.exp(-0.5), math.exp(-1.25), math.exp(-3.0)])
    assert ANSWER.rows == {7: 0, 3: 1, 5: 2}
    assert TokenLogprob(-0.5, 1).prob == pytest.approx(math.exp(-0.5))


def test_distribution_is_packed() -> None:
    thirty = Distribution.of(1.0, range(30), [-1.0] * 30)
    assert isinstance(thirty.ids, array) and isinstance(thirty.logprobs, array)
    assert sum(len(part) * part.itemsize for part in (thirty.ids, thirty.logprobs)) == 360


@pytest.mark.parametrize(("bits", "vocab_size", "share"), [(0.0, 8, 0.0), (3.0, 8, 1.0), (1.5, 8, 0.5), (0.0, 1, 0.0)])
def test_normalised_entropy(bits: float, vocab_size: int, share: float) -> None:
    assert Distribution.of(bits, [0], [0.0]).normalised_entropy(vocab_size) == pytest.approx(share)


@pytest.mark.parametrize("seed", range(20))
def test_a_tree_that_is_made_at_once_is_as_one_that_came_to_be(seed: int) -> None:
    chance = random.Random(seed)
    before = [root()]
    parents, tokens, visited = [-1], [-1], [0]
    takens: list[TokenLogprob | None] = [None]
    distributions: list[Distribution | None] = [None]
    for _ in range(chance.choice([1, 20, 300])):
        last = len(before) - 1
        parent = chance.choice([last, last, last, chance.randrange(len(before))])
        token = len(before[parent].children)
        before.append(before[parent].child(token))
        parents.append(parent)
        tokens.append(token)
        takens.append(TokenLogprob(-chance.random(), 1) if chance.random() < 0.99 else None)
        distributions.append(Distribution.of(chance.random(), [999], [-1.0]) if chance.random() < 0.99 else None)
        visited.append(int(chance.random() < 0.3))
    for node, taken, distribution, here in zip(before, takens, distributions, visited, strict=True):
        if taken:
            node.attach_taken(taken)
        if distribution:
            node.attach(distribution)
        if here:
            node.pass_through()
    for one, other in zip(before, grown(parents, tokens, takens, distributions, visited), strict=True):
        for name in ("token", "depth", "taken", "distribution", "visited", "whole", "logprob"):
            assert getattr(other, name) == getattr(one, name), (name, one.path())
        assert other.path() == one.path() and list(other.children) == list(one.children)
        assert (other.first_unknown(), other.unknown) == (one.first_unknown(), one.unknown)
        assert other._jump.path() == one._jump.path()
        known, made = one.block(), other.block()
        assert (known and known[1:]) == (made and made[1:])
