"""Verdicts from what a place keeps, and where they are left to the engine."""

import math
import random

import pytest

from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.lens import Sampled, lens_of
from tokex_gguf.values.reachability import (
    CLOSE,
    CLOSE_OF_MANY,
    biased,
    cut_by,
    decidable,
    follows,
    likeliest,
    surely_cut,
)
from tokex_gguf.values.samplers import DEFAULT, Chain, Kind, Sampler
from tokex_gguf.values.view import NOT_CUT

PROBS = [0.4, 0.2, 0.1, 0.1 - 1e-3, 0.05]
"""Five of more candidates; 0.151 of the mass is elsewhere."""
BEFORE = Distribution.of(2.0, range(5), map(math.log, PROBS))


def lens(*samplers: Sampler) -> Sampled:
    found = lens_of(Chain(samplers))
    assert isinstance(found, Sampled) and decidable(found)
    return found


def told(one: Sampled, rank: int, prob: float | None = None) -> int | None:
    return cut_by(one, BEFORE, TokenLogprob(math.log(prob or PROBS[rank - 1]), rank))


def top_p(p: float) -> Sampler:
    return Sampler.of(Kind.TOP_P, p)


def test_top_k_is_a_matter_of_rank() -> None:
    one = lens(Sampler.of(Kind.TOP_K, 3))
    assert [told(one, rank) for rank in (1, 3, 4, 5)] == [NOT_CUT, NOT_CUT, 0, 0]
    assert told(one, 70, 0.001) == 0 and told(lens(Sampler.of(Kind.TOP_K, 70)), 70, 0.001) == NOT_CUT


def test_min_p_is_a_matter_of_the_ratio_to_the_likeliest() -> None:
    one = lens(Sampler.of(Kind.MIN_P, 0.3))  # 0.12
    assert [told(one, rank) for rank in (1, 2, 3)] == [NOT_CUT, NOT_CUT, 0]
    assert told(one, 3, 0.12 * (1 + CLOSE / 2)) is None and told(one, 3, 0.12 * (1 + 2 * CLOSE)) == NOT_CUT


def test_top_p_is_a_matter_of_the_mass_above() -> None:
    assert [told(lens(top_p(0.59)), rank) for rank in range(1, 5)] == [NOT_CUT, NOT_CUT, 0, 0]
    assert [told(lens(top_p(0.61)), rank) for rank in range(1, 5)] == [NOT_CUT, NOT_CUT, NOT_CUT, 0]
    assert told(lens(top_p(0.6)), 3) is None, "in single precision 0.4 and 0.2 may be less than 0.6"
    assert [told(lens(top_p(0.6 + step * CLOSE_OF_MANY)), 3) for step in (-2, -0.5, 0.5, 2)] == [0, None, None, NOT_CUT]


def test_top_p_of_what_top_k_has_left() -> None:
    # 0.4 and 0.2 of 0.7.
    assert [told(lens(Sampler.of(Kind.TOP_K, 3), top_p(p)), 3) for p in (0.85, 0.87)] == [1, NOT_CUT]
    assert told(lens(Sampler.of(Kind.TOP_K, 3), top_p(0.85)), 4) == 0, "the first stage that cuts is named"
    border = 0.6 / 0.7
    near = [told(lens(Sampler.of(Kind.TOP_K, 3), top_p(border + step * CLOSE)), 3) for step in (-2, -0.5, 0.5, 2)]
    assert near == [1, None, None, NOT_CUT], "of few the sum is exact enough"


@pytest.mark.parametrize(
    ("p", "expected"), [(0.5, 0), (0.9, 0), (0.92, None), (0.94, None), (0.96, NOT_CUT), (0.99, NOT_CUT)]
)
def test_beyond_the_candidates_there_are_bounds(p: float, expected: int | None) -> None:
    """A token of rank 8: two that are not known are above it, each between 0.03 and 0.05: 0.909 to 0.949 are above."""
    assert told(lens(top_p(p)), 8, 0.03) == expected


@pytest.mark.parametrize(("p", "expected"), [(0.5, 1), (0.8, 1), (0.9, None), (0.99, NOT_CUT)])
def test_beyond_the_candidates_top_k_has_left_a_bounded_mass(p: float, expected: int | None) -> None:
    """Of 7 the mass is 0.849 to 0.949; above the fifth there are 0.799."""
    assert told(lens(Sampler.of(Kind.TOP_K, 7), top_p(p)), 5) == expected


def test_equal_ones_at_a_border_are_left_to_the_engine() -> None:
    before = Distribution.of(2.0, range(4), map(math.log, [0.4, 0.2, 0.2, 0.2]))
    taken = [TokenLogprob(before.logprobs[rank - 1], rank) for rank in range(1, 5)]
    two = lens(Sampler.of(Kind.TOP_K, 2))
    assert [cut_by(two, before, one) for one in taken] == [NOT_CUT, None, None, None]
    half = lens(top_p(0.5))
    assert [cut_by(half, before, one) for one in taken] == [NOT_CUT, None, None, None]
    assert [cut_by(lens(Sampler.of(Kind.MIN_P, 0.1)), before, one) for one in taken] == [NOT_CUT] * 4


@pytest.mark.parametrize("sampler", [top_p(0.0), top_p(0.3), Sampler.of(Kind.TOP_K, 1), Sampler.of(Kind.MIN_P, 1.0)])
def test_of_equal_likeliest_ones_llama_cpp_may_keep_another(sampler: Sampler) -> None:
    before = Distribution.of(2.0, range(3), map(math.log, [0.4, 0.4, 0.2]))
    taken = [TokenLogprob(before.logprobs[rank - 1], rank) for rank in (1, 2)]
    assert [cut_by(lens(sampler), before, one) for one in taken] == [None, None]
    assert [cut_by(lens(Sampler.of(Kind.TOP_K, 2)), before, one) for one in taken] == [None, None]
    assert [cut_by(lens(Sampler.of(Kind.TOP_K, 3)), before, one) for one in taken] == [NOT_CUT, NOT_CUT]


@pytest.mark.parametrize(("limit", "expected"), [(2, 0), (3, None), (4, None), (60, None)])
def test_one_behind_the_candidates_may_be_as_likely_as_the_border(limit: int, expected: int | None) -> None:
    before = Distribution.of(2.0, range(4), map(math.log, [0.4, 0.2, 0.01, 0.01]))
    taken = TokenLogprob(before.logprobs[-1], 9)
    assert cut_by(lens(Sampler.of(Kind.TOP_K, limit)), before, taken) == expected
    assert cut_by(lens(top_p(0.5)), before, taken) is None


def test_the_default_chain_is_decidable_and_others_are_not() -> None:
    assert decidable(Sampled(DEFAULT.acting))
    heat = Sampler.of(Kind.TEMPERATURE, 0.7)
    for samplers in [(heat, top_p(0.9)), (Sampler.of(Kind.TYPICAL, 0.9),), (Sampler.of(Kind.TEMPERATURE, 0),)]:
        assert not decidable(Sampled(Chain(samplers).acting)), samplers
    assert not decidable(Sampled(Chain((Sampler.of(Kind.TEMPERATURE, 0.5, 0.5),)).acting)), "it may come to 0"
    assert not decidable(Sampled(DEFAULT.biased(1, -1).acting))


# --- through biases


def biases(*pairs: tuple[int, float], samplers: tuple[Sampler, ...] = ()) -> Sampled:
    found = lens_of(Chain(samplers, pairs))
    assert isinstance(found, Sampled)
    return found


def test_a_banned_token_is_left_out_and_what_follows_takes_its_place() -> None:
    one = biases((0, -math.inf), (2, -math.inf))
    left, exact = biased(one, BEFORE)
    assert exact and list(left.ids) == [1, 3, 4] and likeliest(one, BEFORE) == 1
    assert left.logprobs[0] == pytest.approx(math.log(0.2 / 0.5))
    two = biases((0, -math.inf), samplers=(Sampler.of(Kind.TOP_K, 2),))
    assert [surely_cut(two, biased(two, BEFORE), row) for row in range(3)] == [False, False, True]
    assert likeliest(biases(*((token, -math.inf) for token in range(5))), BEFORE) is None, "what is left is not known"


def test_a_bias_changes_the_order_as_far_as_the_candidates_tell_it() -> None:
    assert list(biased(biases((1, 1.0)), BEFORE).distribution.ids) == [1, 0, 2, 3, 4]
    assert list(biased(biases((1, -5.0)), BEFORE).distribution.ids) == [0, 2, 3, 4], "unseen ones may be likelier"
    # A token that is not among them has at most 0.05.
    assert likeliest(biases((9, 2.0)), BEFORE) == 0 and likeliest(biases((9, 2.2)), BEFORE) is None
    assert not biased(biases((9, 2.0)), BEFORE).exact
    assert likeliest(biases((9, math.inf)), BEFORE) is None
    assert list(biased(biases((9, 0.5)), BEFORE).distribution.ids) == [0, 1, 2, 3], "0.05 and half as much again"


def test_samplers_that_may_cut_the_likeliest_are_not_followed() -> None:
    for kind, follow in ((Kind.TOP_P, True), (Kind.TOP_N_SIGMA, True), (Kind.XTC, False), (Kind.PENALTIES, False)):
        assert follows(Sampled(Chain((Sampler.of(kind),)))) is follow


@pytest.mark.parametrize("seed", range(40))
def test_what_is_sure_is_so_whatever_the_other_tokens_are(seed: int) -> None:
    chance = random.Random(seed)
    weights = [chance.random() ** chance.choice((1, 6)) for _ in range(chance.choice((12, 40)))]
    order = sorted(range(len(weights)), key=lambda token: -weights[token])
    probs = {token: weights[token] / math.fsum(weights) for token in order}
    kept = order[: chance.choice((6, 12, 100))]
    before = Distribution.of(1.0, kept, [math.log(probs[token]) for token in kept])
    amounts = (-math.inf, -1.0, 0.3, 2.0)
    bias = [(token, chance.choice(amounts)) for token in sorted(chance.sample(order, chance.randint(1, 6)))]
    samplers = [Sampler.of(Kind.TOP_K, chance.randint(1, 8)), top_p(chance.uniform(0.2, 0.9))]
    samplers = [*samplers, Sampler.of(Kind.MIN_P, chance.uniform(0.02, 0.4))][chance.randint(0, 2) :]
    one = biases(*bias, samplers=tuple(samplers))

    scores = {token: prob * math.exp(dict(bias).get(token, 0.0)) for token, prob in probs.items()}
    true = sorted((token for token in order if scores[token]), key=lambda token: -scores[token])
    whole = math.fsum(scores.values())
    left, exact = biased(one, before)
    assert list(left.ids) == true[: len(left)]
    if exact:
        expected = [math.log(scores[token] / whole) for token in left.ids]
        assert list(left.logprobs) == pytest.approx(expected, abs=CLOSE)
    alive = true
    for sampler in samplers:
        total = math.fsum(scores[token] for token in alive)
        if sampler.kind is Kind.TOP_K:
            alive = alive[: int(sampler.values[0])]
        elif sampler.kind is Kind.TOP_P:
            above = [math.fsum(scores[token] for token in alive[:place]) / total for place in range(len(alive))]
            alive = [token for token, mass in zip(alive, above, strict=True) if mass < sampler.values[0]]
        else:
            alive = [token for token in alive if scores[token] >= sampler.values[0] * scores[alive[0]]]
    for row, token in enumerate(left.ids):
        if surely_cut(one, biased(one, before), row):
            assert token not in alive
