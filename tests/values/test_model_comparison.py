"""Two models along one path: what is told of A is told of B the other way round; the figures are those of a report."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokex_gguf.values.difference import Difference, TokenPair
from tokex_gguf.values.distribution import TokenLogprob
from tokex_gguf.values.figures import figures
from tokex_gguf.values.model_comparison import ModelComparison
from tokex_gguf.values.tree import Node

logprobs = st.floats(-30, 0)
places = st.tuples(st.floats(0, 20), st.floats(0, 20), st.integers(0, 2), st.integers(0, 2), logprobs, logprobs)


def difference(place: tuple[float, float, int, int, float, float], token: int | None) -> Difference:
    kl, reverse, first_a, first_b, a, b = place
    taken = None if token is None else TokenPair(token, TokenLogprob(a, 1), TokenLogprob(b, 2))
    rows = (
        TokenPair(first_a, TokenLogprob(-0.5, 1), TokenLogprob(-1.5, 2)),
        TokenPair(7, TokenLogprob(-2.0, 2), TokenLogprob(-0.5, 1)),
    )
    return Difference(kl, reverse, first_a, first_b, rows, taken)


@given(st.lists(places, min_size=2, max_size=12), st.integers(1, 12), st.integers(1, 3))
@settings(deadline=None)
def test_the_figures_are_those_of_the_path_however_it_was_gone(
    told: list[tuple[float, float, int, int, float, float]], back: int, step: int
) -> None:
    tokens = [place % 3 + 10 for place in range(len(told))]
    root, other = Node(None, -1), Node(None, -1)
    nodes, twins = root.descend(tokens).nodes(), other.descend(tokens).nodes()
    known = ModelComparison()
    every = [difference(place, token) for place, token in zip(told, [*tokens[1:], None], strict=True)]
    for node, one in reversed(list(zip(nodes, every, strict=True))):
        assert known.first_lacking(nodes[-1]) == 0
        known.keep(node, one, detailed=True)
    assert known.first_lacking(nodes[-1]) is None and not known.lacking(nodes[-1], 0, len(nodes))
    for tip in (nodes[-1], nodes[max(0, len(nodes) - 1 - back)], nodes[-1]):
        known.follow(tip)
        while not known.compare_more(step):
            pass
        expected, sums = figures(every[: tip.depth - 1]), known.sums
        assert (expected is None) == (sums is None)
        if expected and sums:
            assert sums.tokens == expected.tokens
            for name in ("mean_kl_bits", "same_top", "delta_p_rms", "perplexity_ratio"):
                assert getattr(sums, name) == pytest.approx(getattr(expected, name), rel=1e-9, abs=1e-9)
    known.join(nodes[-1], twins[-1])
    for node, twin in zip(nodes, twins, strict=True):
        here, there = known.after(node), known.after(twin)
        assert here and there and there.reverse == here
        assert (there.kl_bits, there.first_a) == (here.reverse_bits, here.first_b)
    for node, twin in zip(nodes[1:], twins[1:], strict=True):
        a, b = known.delta(node), known.delta(twin)
        assert a is not None and b is not None and a == -b


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize("side", [0, 1])
def test_what_a_table_shows_of_one_side_it_shows_of_the_other(side: int, *, asked_before: bool) -> None:
    """Few rows of a place are kept first, of A; then all of it, of either side."""
    pair = Node(None, -1).descend([1, 2]), Node(None, -1).descend([1, 2])
    few, all_rows = difference((1.0, 2.0, 3, 4, -1.0, -2.0), None), difference((1.0, 2.0, 5, 6, -1.0, -2.0), None)
    known = ModelComparison()
    known.join(*pair)
    known.keep(pair[0], few, detailed=False)
    if asked_before:
        assert known.after(pair[1]) == few.reverse and not known.detailed(pair[1])
    known.keep(pair[side], all_rows, detailed=True)
    for place, node in enumerate(pair):
        assert known.detailed(node)
        assert known.difference(node, None) == (all_rows if place == side else all_rows.reverse)
    known.keep(pair[1 - side], few, detailed=False)
    assert known.difference(pair[side], None) == all_rows, "what is more stays"


def test_equal_models_differ_by_nothing() -> None:
    known, tip = ModelComparison(), Node(None, -1).descend([1, 2, 3])
    same = TokenLogprob(-math.inf, 3)
    for node, token in zip(tip.nodes(), (2, 3, None), strict=True):
        taken = None if token is None else TokenPair(token, same, same)
        known.keep(node, Difference(0.0, 0.0, 5, 5, (), taken), detailed=False)
    known.follow(tip)
    assert known.compare_more(10)
    assert known.sums == (2, 0.0, 1.0, 0.0, 1.0) and known.deltas.total == 0.0
    assert known.difference(tip, None) is None, "not all that a table shows is there"
