"""Verdicts from what a place keeps, and where they are left to the engine."""

import math

import pytest

from tokex_gguf.values.distribution import Distribution, Taken
from tokex_gguf.values.lens import Sampled, lens_of
from tokex_gguf.values.reachability import CLOSE, cut_by, decidable
from tokex_gguf.values.samplers import DEFAULT, Chain, Kind, Sampler
from tokex_gguf.values.view import KEPT

PROBS = [0.4, 0.2, 0.1, 0.1 - 1e-3, 0.05]
"""Five of more candidates; 0.151 of the mass is elsewhere."""
BEFORE = Distribution.of(2.0, range(5), map(math.log, PROBS))


def lens(*samplers: Sampler) -> Sampled:
    found = lens_of(Chain(samplers))
    assert isinstance(found, Sampled) and decidable(found)
    return found


def told(one: Sampled, rank: int, prob: float | None = None) -> int | None:
    return cut_by(one, BEFORE, Taken(math.log(prob or PROBS[rank - 1]), rank))


def top_p(p: float) -> Sampler:
    return Sampler.of(Kind.TOP_P, p)


def test_top_k_is_a_matter_of_rank() -> None:
    one = lens(Sampler.of(Kind.TOP_K, 3))
    assert [told(one, rank) for rank in (1, 3, 4, 5)] == [KEPT, KEPT, 0, 0]
    assert told(one, 70, 0.001) == 0 and told(lens(Sampler.of(Kind.TOP_K, 70)), 70, 0.001) == KEPT


def test_min_p_is_a_matter_of_the_ratio_to_the_likeliest() -> None:
    one = lens(Sampler.of(Kind.MIN_P, 0.3))  # 0.12
    assert [told(one, rank) for rank in (1, 2, 3)] == [KEPT, KEPT, 0]
    assert told(one, 3, 0.12 * (1 + CLOSE / 2)) is None and told(one, 3, 0.12 * (1 + 2 * CLOSE)) == KEPT


def test_top_p_is_a_matter_of_the_mass_above() -> None:
    assert [told(lens(top_p(0.59)), rank) for rank in range(1, 5)] == [KEPT, KEPT, 0, 0]
    assert [told(lens(top_p(0.61)), rank) for rank in range(1, 5)] == [KEPT, KEPT, KEPT, 0]
    assert told(lens(top_p(0.6)), 3) is None, "in single precision 0.4 and 0.2 may be less than 0.6"
    assert [told(lens(top_p(0.6 + step * CLOSE)), 3) for step in (-2, 2)] == [0, KEPT]


def test_top_p_of_what_top_k_has_left() -> None:
    # 0.4 and 0.2 of 0.7.
    assert [told(lens(Sampler.of(Kind.TOP_K, 3), top_p(p)), 3) for p in (0.85, 0.87)] == [1, KEPT]
    assert told(lens(Sampler.of(Kind.TOP_K, 3), top_p(0.85)), 4) == 0, "the first stage that cuts is named"


@pytest.mark.parametrize(
    ("p", "expected"), [(0.5, 0), (0.9, 0), (0.92, None), (0.94, None), (0.95, KEPT), (0.99, KEPT)]
)
def test_beyond_the_candidates_there_are_bounds(p: float, expected: int | None) -> None:
    """A token of rank 8: two that are not known are above it, each between 0.03 and 0.05: 0.909 to 0.949 are above."""
    assert told(lens(top_p(p)), 8, 0.03) == expected


@pytest.mark.parametrize(("p", "expected"), [(0.5, 1), (0.8, 1), (0.9, None), (0.99, KEPT)])
def test_beyond_the_candidates_top_k_has_left_a_bounded_mass(p: float, expected: int | None) -> None:
    """Of 7 the mass is 0.849 to 0.949; above the fifth there are 0.799."""
    assert told(lens(Sampler.of(Kind.TOP_K, 7), top_p(p)), 5) == expected


def test_equal_ones_at_a_border_are_left_to_the_engine() -> None:
    before = Distribution.of(2.0, range(4), map(math.log, [0.4, 0.2, 0.2, 0.2]))
    taken = [Taken(before.logprobs[rank - 1], rank) for rank in range(1, 5)]
    two = lens(Sampler.of(Kind.TOP_K, 2))
    assert [cut_by(two, before, one) for one in taken] == [KEPT, None, None, None]
    half = lens(top_p(0.5))
    assert [cut_by(half, before, one) for one in taken] == [KEPT, None, None, None]
    assert [cut_by(lens(Sampler.of(Kind.MIN_P, 0.1)), before, one) for one in taken] == [KEPT] * 4


@pytest.mark.parametrize("sampler", [top_p(0.0), top_p(0.3), Sampler.of(Kind.TOP_K, 1), Sampler.of(Kind.MIN_P, 1.0)])
def test_of_equal_likeliest_ones_llama_cpp_may_keep_another(sampler: Sampler) -> None:
    before = Distribution.of(2.0, range(3), map(math.log, [0.4, 0.4, 0.2]))
    taken = [Taken(before.logprobs[rank - 1], rank) for rank in (1, 2)]
    assert [cut_by(lens(sampler), before, one) for one in taken] == [None, None]
    assert [cut_by(lens(Sampler.of(Kind.TOP_K, 2)), before, one) for one in taken] == [None, None]
    assert [cut_by(lens(Sampler.of(Kind.TOP_K, 3)), before, one) for one in taken] == [KEPT, KEPT]


@pytest.mark.parametrize(("limit", "expected"), [(2, 0), (3, None), (4, None), (60, None)])
def test_one_behind_the_candidates_may_be_as_likely_as_the_border(limit: int, expected: int | None) -> None:
    before = Distribution.of(2.0, range(4), map(math.log, [0.4, 0.2, 0.01, 0.01]))
    taken = Taken(before.logprobs[-1], 9)
    assert cut_by(lens(Sampler.of(Kind.TOP_K, limit)), before, taken) == expected
    assert cut_by(lens(top_p(0.5)), before, taken) is None


def test_the_default_chain_is_decidable_and_others_are_not() -> None:
    assert decidable(Sampled(DEFAULT.acting))
    heat = Sampler.of(Kind.TEMPERATURE, 0.7)
    for samplers in [(heat, top_p(0.9)), (Sampler.of(Kind.TYPICAL, 0.9),), (Sampler.of(Kind.TEMPERATURE, 0),)]:
        assert not decidable(Sampled(Chain(samplers).acting)), samplers
    assert not decidable(Sampled(Chain((Sampler.of(Kind.TEMPERATURE, 0.5, 0.5),)).acting)), "it may come to 0"
    assert not decidable(Sampled(DEFAULT.biased(1, -1).acting))
