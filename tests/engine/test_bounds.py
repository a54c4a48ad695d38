"""Bounds of what a server does not tell: the truth always lies within them."""

import math
import random
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokex_gguf.engine.remote.bounds import EXACT_BITS, entropy_interval, ranks

if TYPE_CHECKING:
    from tokex_gguf.engine.worker.evaluator import Evaluator
    from tokex_gguf.engine.worker.llama import Llama

PROMPTS = Path(__file__).parent.parent.parent / "prompts"
LN2 = math.log(2)


def normal(logits: list[float]) -> list[float]:
    """Log-probabilities of logits, the most likely first."""
    peak = max(logits)
    total = peak + math.log(math.fsum(math.exp(logit - peak) for logit in logits))
    return sorted((logit - total for logit in logits), reverse=True)


def entropy(logprobs: list[float]) -> float:
    return math.fsum(-math.exp(value) * value for value in logprobs) / LN2


def within(truth: float, interval: tuple[float, float]) -> bool:
    """Exact ones are the middle of an interval that is narrower than can be told."""
    lowest, slack = interval
    assert slack == 0 or slack >= EXACT_BITS
    return (
        abs(truth - lowest) <= EXACT_BITS / 2 + 1e-9 if slack == 0 else lowest - 1e-9 <= truth <= lowest + slack + 1e-9
    )


LOGITS = st.lists(st.floats(-60, 30), min_size=2, max_size=300)


@given(LOGITS, st.integers(1, 300))
@example([0.0] * 300, 10)  # all alike: the highest is the truth
@example([0.0] * 4 + [-60.0] * 200, 3)  # a lump: the lowest is
@example([30.0] + [-60.0] * 200, 1)  # nothing is left
def test_the_entropy_is_within_its_interval(logits: list[float], known: int) -> None:
    logprobs = normal(logits)
    truth = entropy(logprobs)
    assert within(truth, entropy_interval(logprobs[:known], len(logits)))
    lowest, slack = entropy_interval(logprobs[:known], 0)
    assert truth <= lowest + slack + EXACT_BITS
    if known >= len(logits):
        assert entropy_interval(logprobs, len(logits)) == (pytest.approx(truth, abs=1e-9), 0)


@given(LOGITS, st.integers(1, 300), st.floats(-2e-4, 2e-4))
def test_sums_in_float32_change_little(logits: list[float], known: int, off: float) -> None:
    """A server's probabilities are all off by the same factor: its sum over a vocabulary is rounded."""
    logprobs = normal(logits)
    lowest, slack = entropy_interval([min(value + off, 0.0) for value in logprobs[:known]], len(logits))
    assert lowest - 3 * EXACT_BITS <= entropy(logprobs) <= lowest + slack + 3 * EXACT_BITS


@given(LOGITS, st.floats(-0.02, 0.02))
def test_the_entropy_of_all_is_exact_whatever_they_sum_up_to(logits: list[float], off: float) -> None:
    logprobs = normal(logits)
    told = entropy_interval([value + off for value in logprobs], len(logits))
    assert told == (pytest.approx(entropy(logprobs), abs=1e-9), 0)
    assert entropy_interval([-9999.0] * 3, 3)[0] >= 0


@given(LOGITS, st.integers(1, 300))
def test_a_rank_is_within_its_interval(logits: list[float], known: int) -> None:
    logprobs = normal(logits)
    for rank in range(known + 1, len(logits) + 1, 7):
        least, most = ranks(logprobs[:known], logprobs[rank - 1])
        assert least <= rank <= most


@pytest.mark.thorough
def test_large_vocabularies() -> None:
    """As models have them: a few likely tokens, and a tail of many."""
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    for _ in range(5):
        spread = dice.uniform(1, 4)
        logprobs = normal([dice.gauss(0, spread) for _ in range(50_000)])
        for known in (1, 20, 100, 1000, 50_000):
            assert within(entropy(logprobs), entropy_interval(logprobs[:known], 50_000)), f"seed {seed}"


def test_more_candidates_never_widen_the_interval() -> None:
    dice = random.Random(7)
    logprobs = normal([dice.gauss(0, 3) for _ in range(20_000)])
    widths = [entropy_interval(logprobs[:known], 20_000)[1] for known in (5, 20, 100, 1000, 20_000)]
    assert widths == sorted(widths, reverse=True) and widths[0] > widths[2] > widths[-1] == 0


@pytest.mark.thorough
def test_what_a_real_model_says_is_within_the_interval_and_that_is_narrow(
    llama: "Llama", evaluator: "Evaluator"
) -> None:
    """At 100 candidates, after each token of the prompts that come along."""
    texts = [path.read_text(encoding="utf-8") for path in PROMPTS.glob("*.txt")]
    assert texts
    widths = []
    for text in texts:
        path = llama.vocabulary.tokenize(text, parse_special=True)
        for chunk in evaluator.evaluate(path, 0, 100):
            for distribution in chunk.distributions:
                interval = entropy_interval(distribution.logprobs, llama.vocabulary.size)
                assert within(distribution.entropy_bits, interval)
                widths.append(interval[1])
    print(f"{len(widths)} places: median {median(widths):.3f} bits, largest {max(widths):.2f}")
    assert len(widths) >= 100 and median(widths) <= 0.15
