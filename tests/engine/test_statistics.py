"""From logits to numbers, against a naive float64 computation over the whole vocabulary."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sampling import few
from tokex_gguf.engine.worker.logit_math import Logits, NotFinite, Statistics, taken, top_ids
from tokex_gguf.values.distribution import Distribution, TokenLogprob

# Smaller than a block of 64, a block, several, and no multiple of it; the last is a real one.
SIZES = [1, 2, 5, 63, 64, 65, 128, 1000, 4099, 151_936]

# Logits are float32: exp and the sum of w * log w carry its rounding (relative 6e-8 each),
# while the sum of exp is collected in float64.
LOGPROB: dict[str, Any] = {"abs": 2e-6, "rel": 1e-7}
ENTROPY: dict[str, Any] = {"abs": 2e-5, "rel": 2e-6}


def row(size: int, scale: float = 4.0, seed: int = 1) -> Logits:
    return np.random.default_rng(seed).normal(0, scale, size).astype(np.float32)


def naive(logits: Logits) -> tuple[float, list[int], list[float]]:
    """Entropy in bits, all ids from the most to the least likely, and their log-probabilities."""
    exact = logits.astype(np.float64)
    exact = exact - exact.max()
    logprobs = exact - math.log(np.exp(exact).sum())
    finite = logprobs[np.isfinite(logprobs)]
    ids = sorted(range(len(logits)), key=lambda i: (-logprobs[i], i))
    return -float((np.exp(finite) * finite).sum()) / math.log(2), ids, logprobs[ids].tolist()


def check(logits: Logits, top: int) -> Distribution:
    """Compares everything about one row with the naive computation."""
    before = logits.copy()
    distribution, log_sum = Statistics(len(logits)).distribution(logits, top)
    assert np.array_equal(before, logits), "the row belongs to llama.cpp and is left as it is"
    entropy, ids, logprobs = naive(logits)
    count = min(top, len(logits))
    assert distribution.entropy_bits == pytest.approx(entropy, **ENTROPY)
    assert list(distribution.ids) == ids[:count]
    assert list(distribution.logprobs) == pytest.approx(logprobs[:count], **LOGPROB)
    assert top_ids(logits, top).tolist() == ids[:count]
    for rank in {1, 2, count, len(ids) // 2 + 1, len(ids)} & set(range(1, len(ids) + 1)):
        answer = taken(logits, log_sum, ids[rank - 1])
        assert answer.rank == rank
        assert answer.logprob == pytest.approx(logprobs[rank - 1], **LOGPROB)
        if rank <= count:
            assert answer == TokenLogprob(distribution.logprobs[rank - 1], rank), (
                "what is listed and what is asked agree"
            )
    return distribution


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", few([0.01, 1.0, 4.0, 40.0], of=2))
def test_random_rows(size: int, scale: float) -> None:
    check(row(size, scale), top=30)


@pytest.mark.parametrize("size", SIZES)
def test_far_from_zero(size: int) -> None:
    """A shift changes nothing but float32's own rounding of the logits."""
    check(row(size) + np.float32(10_000), top=30)
    check(row(size) - np.float32(10_000), top=30)


@pytest.mark.parametrize("top", [1, 2, 15, 16, 17, 64, 999, 1000, 1001, 5000])
def test_how_many(top: int) -> None:
    """From one candidate to more than the vocabulary has, around its number of blocks."""
    assert len(check(row(1000), top)) == min(top, 1000)


@given(
    st.sampled_from([3, 64, 70, 192, 200]).flatmap(lambda n: st.lists(st.integers(-2, 2), min_size=n, max_size=n)),
    st.integers(1, 40),
)
@settings(max_examples=30)
def test_ties(values: list[int], top: int) -> None:
    """Equal logits are ranked by their id, in the table and beside it."""
    check(np.array(values, np.float32), top)


@pytest.mark.parametrize("at", [0, 63, 64, 639, 640, 699])
def test_largest_is_found_anywhere(at: int) -> None:
    """Also in the part behind the last whole block."""
    logits = np.zeros(700, np.float32)
    logits[at] = 5
    assert check(logits, top=3).ids[0] == at


def test_many_large_ones_in_one_block() -> None:
    logits = np.zeros(6400, np.float32)
    logits[64:128] = np.arange(64)
    assert list(check(logits, top=40).ids) == list(range(127, 87, -1))


@pytest.mark.parametrize("size", SIZES)
def test_uniform_has_the_largest_entropy(size: int) -> None:
    entropy = check(np.full(size, 3.5, np.float32), top=5).entropy_bits
    assert entropy == pytest.approx(math.log2(size), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_certainty_has_no_entropy(size: int) -> None:
    logits = np.zeros(size, np.float32)
    logits[size // 2] = 200
    distribution = check(logits, top=5)
    assert 0 <= distribution.entropy_bits < 1e-9
    assert distribution.candidate(0).prob == pytest.approx(1, abs=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("finite", [1, 2, 40])
@pytest.mark.parametrize("never", [-np.inf, np.finfo(np.float32).min])
def test_token_that_cannot_come(size: int, finite: int, never: float) -> None:
    logits = np.full(size, never, np.float32)
    logits[-finite:] = row(size)[-finite:]
    with np.errstate(invalid="ignore"):  # the next test is about that
        distribution = check(logits, top=5)
    assert distribution.entropy_bits <= math.log2(finite) + 1e-6


def test_minus_infinity_warns_nobody() -> None:
    """The engine's standard error is the program's log, where a warning is noise."""
    logits = row(100)
    logits[7] = -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Statistics(100).distribution(logits, 5)


@pytest.mark.parametrize("size", [1, 64, 200])
@pytest.mark.parametrize("bad", [[np.nan], [np.inf], [np.nan, np.inf, -np.inf]])
def test_no_numbers(size: int, bad: list[float]) -> None:
    for at in {0, size // 2, size - 1}:
        logits = row(size)
        logits[at : at + len(bad)] = bad[: size - at]
        with pytest.raises(NotFinite):
            Statistics(size).distribution(logits, 5)


def test_nothing_but_minus_infinity() -> None:
    with pytest.raises(NotFinite):
        Statistics(64).distribution(np.full(64, -np.inf, np.float32), 5)


def test_buffers_carry_nothing_from_row_to_row() -> None:
    statistics = Statistics(1000)
    rows = [row(1000, seed=seed) for seed in range(3)]
    first = [statistics.distribution(logits, 30) for logits in rows]
    with pytest.raises(NotFinite):
        statistics.distribution(np.full(1000, np.nan, np.float32), 30)
    for logits, (distribution, log_sum) in zip(reversed(rows), reversed(first), strict=True):
        again, log_sum_again = statistics.distribution(logits, 30)
        assert (again.entropy_bits, again.ids, again.logprobs) == (
            distribution.entropy_bits,
            distribution.ids,
            distribution.logprobs,
        )
        assert log_sum_again == log_sum


@pytest.mark.parametrize("count", [1, 2, 511, 512, 513, 1000, 4099])
def test_the_entropy_of_fewer_logits_in_the_same_buffers(count: int) -> None:
    statistics, logits = Statistics(4099), row(4099)
    statistics.distribution(np.where(logits > 0, logits, -np.inf).astype(np.float32), 5)
    entropy, log_sum = statistics.entropy(logits[:count])
    exact = logits[:count].astype(np.float64)
    assert log_sum == pytest.approx(math.log(np.exp(exact).sum()), **LOGPROB)
    assert entropy == pytest.approx(naive(logits[:count])[0], **ENTROPY)
