"""The figures over a text, beside what numpy makes of the same numbers and what llama-perplexity defines."""

import math
from dataclasses import fields
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokex_gguf.values.difference import Difference, TokenPair
from tokex_gguf.values.distribution import TokenLogprob
from tokex_gguf.values.figures import FLOOR_DELTA_BITS, Figures, figures, percentile

logprobs = st.floats(-30, 0)
divergences = st.floats(0, 20)
places = st.tuples(divergences, st.booleans(), logprobs, logprobs)


def difference(kl: float, flip: bool, a: float, b: float) -> Difference:
    return Difference(kl, kl, 1, 2 if flip else 1, (), TokenPair(5, TokenLogprob(a, 1), TokenLogprob(b, 1)))


def told(*rows: tuple[float, bool, float, float]) -> Figures:
    found = figures(difference(*row) for row in rows)
    assert found is not None
    return found


@given(st.lists(places, min_size=1, max_size=60))
@settings(deadline=None)
def test_the_figures_are_those_of_llama_perplexity(rows: list[tuple[float, bool, float, float]]) -> None:
    """Its formulas (`kl_divergence` of tools/perplexity), where its base is A and its model B."""
    np = pytest.importorskip("numpy")  # pure tests run without it
    kl, flips, a, b = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    found, count = told(*rows), len(rows)
    shifts = np.exp(b) - np.exp(a)
    assert found.tokens == count
    assert found.mean_kl_bits == pytest.approx(kl.mean(), abs=1e-12)
    assert found.median_kl_bits == pytest.approx(np.percentile(kl, 50))
    assert found.high_kl_bits == pytest.approx(np.percentile(kl, 99))
    assert found.same_top == pytest.approx(1 - flips.mean())
    assert found.delta_p_rms == pytest.approx(math.sqrt((shifts**2).mean()), abs=1e-12)
    assert found.perplexity_a == pytest.approx(math.exp(-a.mean()))
    assert found.perplexity_b == pytest.approx(math.exp(-b.mean()))
    assert found.perplexity_ratio == pytest.approx(found.perplexity_b / found.perplexity_a)
    if count > 1:
        assert found.kl_error_bits == pytest.approx(kl.std(ddof=1) / math.sqrt(count), abs=1e-9)


@given(st.lists(logprobs | st.just(-math.inf), min_size=1, max_size=60))
def test_a_model_does_not_differ_from_itself(values: list[float]) -> None:
    found = told(*((0.0, False, one, one) for one in values))
    assert (found.mean_kl_bits, found.same_top, found.delta_p_rms, found.perplexity_ratio) == (0, 1, 0, 1)
    assert found.kl_error_bits == found.median_kl_bits == found.high_kl_bits == found.delta_bits == 0


@given(st.lists(places, min_size=1, max_size=20), st.randoms())
def test_the_order_of_places_does_not_matter(rows: list[tuple[float, bool, float, float]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert told(*rows) == told(*shuffled)


@given(st.lists(places, min_size=1, max_size=20))
def test_b_against_a_turns_the_ratio_round(rows: list[tuple[float, bool, float, float]]) -> None:
    here, back = told(*rows), told(*((kl, flip, b, a) for kl, flip, a, b in rows))
    assert here.delta_bits == -back.delta_bits and here.delta_p_rms == back.delta_p_rms
    assert here.perplexity_ratio * back.perplexity_ratio == pytest.approx(1)


def test_only_places_where_a_token_came_count() -> None:
    tip = Difference(9.0, 9.0, 1, 2, ())
    one = difference(0.5, False, -1.0, -2.0)
    assert figures([one, tip]) == figures([one]) and figures([tip]) is None and figures([]) is None


def test_b_is_worse_where_the_ratio_is_above_one() -> None:
    found = told((0.1, False, math.log(0.5), math.log(0.25)))
    assert (found.delta_bits, found.perplexity_ratio) == (pytest.approx(1), pytest.approx(2))
    assert found.delta_p_rms == pytest.approx(0.25) and found.kl_error_bits == 0


@pytest.mark.parametrize("rows", [[(math.inf, True, -1.0, -math.inf)], [(0.5, True, -1.0, -math.inf)] * 3])
def test_what_b_makes_impossible_is_infinite(rows: list[tuple[float, bool, float, float]]) -> None:
    found = told(*rows)
    assert found.perplexity_b == found.perplexity_ratio == found.delta_bits == math.inf
    assert not any(math.isnan(getattr(found, one.name)) for one in fields(found))


def test_where_each_makes_another_token_impossible_there_is_no_ratio() -> None:
    found = told((1.0, True, -1.0, -math.inf), (1.0, True, -math.inf, -1.0))
    assert math.isnan(found.perplexity_ratio) and found.perplexity_a == found.perplexity_b == math.inf


@given(st.lists(divergences, min_size=1, max_size=30).map(sorted), st.floats(0, 1))
def test_a_percentile_is_between_the_least_and_the_most(values: list[float], share: float) -> None:
    assert values[0] <= percentile(values, share) <= values[-1]
    assert all(percentile(values, a) <= percentile(values, b) for a, b in pairwise((0, share, 1)))


def test_a_token_that_is_not_grey_stands_above_what_kernels_do() -> None:
    """The bundled model beside its own weights as F32: the standard deviation over 2,818 tokens of three texts."""
    deviation = 0.134
    assert math.erf(FLOOR_DELTA_BITS / deviation / math.sqrt(2)) > 0.99
