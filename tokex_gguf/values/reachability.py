"""Which sampler cut a token, decided from the kept numbers where they are enough. Pure.

A node keeps the likeliest candidates, and the log-probability and rank of the token that was taken. For llama.cpp's
default chain that is nearly always enough: the mass above a token is known where all likelier tokens are candidates,
and bounded where they are not. The engine decides the other cases from the whole row.
"""

import math
from functools import lru_cache
from typing import NamedTuple

from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.record import replace
from tokex_gguf.values.samplers import Kind, Sampler
from tokex_gguf.values.view import NOT_CUT

CLOSE = 2e-4
"""Masses closer than this to a limit are left to the engine: llama.cpp sums in single precision."""
CLOSE_OF_MANY = 5e-3
"""CLOSE for sums of more than MANY_TERMS: small terms are lost, and all chances are too high: by up to 0.1 % with
Qwen's vocabulary, and by 0.2 % with one of 262,144 tokens."""
MANY_TERMS = 1024
"""The most terms of a sum for the smaller margin."""
_ORDER = (Kind.TOP_K, Kind.TOP_P, Kind.MIN_P, Kind.TEMPERATURE)


@lru_cache(64)
def decidable(lens: Sampled) -> bool:
    """Whether the kept numbers can decide anything: only samplers that cut by rank and probability, in this order."""
    kinds = [one.kind for one in lens.chain.samplers]
    heat = lens.chain.get(Kind.TEMPERATURE)
    if heat and heat.values[0] - heat.values[1] <= 0:  # it may leave only the likeliest
        return False
    return (
        lens.constraint is None
        and not lens.chain.bias
        and all(kind in _ORDER for kind in kinds)
        and kinds == sorted(kinds, key=_ORDER.index)
    )


def cut_by(lens: Sampled, before: Distribution, taken: TokenLogprob) -> int | None:
    """The stage that cut a token of a distribution, or NOT_CUT; None where the kept numbers do not decide.

    `lens` must be `decidable`.
    """
    if taken.rank == 1 and before.logprobs[1:2] != before.logprobs[:1]:
        return NOT_CUT  # all these samplers keep the most likely token
    if taken.at_least:
        return None
    limit = math.inf
    for stage, sampler in enumerate(lens.chain.samplers):
        match sampler.kind:
            case Kind.TOP_K:
                limit = int(sampler.values[0])
                if _border(before, limit) == taken.logprob and _has_equals(before, taken):
                    return None
                if taken.rank > limit:
                    return stage
            case Kind.TOP_P:
                cut = None if _has_equals(before, taken) else _cut_by_top_p(sampler, before, taken, limit)
                if cut is None:
                    return None
                if cut:
                    return stage
            case Kind.MIN_P:
                least = before.logprobs[0] + math.log(sampler.values[0])
                if abs(taken.logprob - least) < CLOSE:
                    return None
                if taken.logprob < least:
                    return stage
            case _:
                pass
    return NOT_CUT


def _has_equals(before: Distribution, taken: TokenLogprob) -> bool:
    """Whether another candidate is exactly as likely as a token: llama.cpp may then order them either way.

    Equal tokens outside the candidates are not known. They matter only at a border, which is too rare for a request.
    """
    kept = len(before.logprobs)
    beside = before.logprobs[max(0, min(taken.rank, kept) - 2) : taken.rank + 1]
    return list(beside).count(taken.logprob) > (taken.rank <= kept)


def _border(before: Distribution, limit: int) -> float:
    """The log-probability of the last of the `limit` likeliest tokens; an upper bound where that is not kept."""
    return before.logprobs[min(limit, len(before.logprobs)) - 1]


def _cut_by_top_p(sampler: Sampler, before: Distribution, taken: TokenLogprob, limit: float) -> bool | None:
    """Whether the mass above a token, among the `limit` likeliest, reaches p; None: not decided."""
    probs = [*map(math.exp, before.logprobs)]
    last = probs[-1]
    above = math.fsum(probs[: taken.rank - 1])
    # Tokens between the last candidate and the token are at most as likely as the former, at least as the latter.
    missing = max(0, taken.rank - 1 - len(probs))
    above_least, above_most = above + missing * taken.prob, above + missing * last
    if limit == math.inf:
        total_least = total_most = 1.0
    else:
        total = math.fsum(probs[: int(limit)])
        further = max(0, int(limit) - len(probs))
        total_least, total_most = total, min(1.0, total + further * last)
    p, close = sampler.values[0], CLOSE_OF_MANY if limit > MANY_TERMS else CLOSE
    if above_least >= (p + close) * total_most:
        return True
    if above_most < (p - close) * total_least:
        return False
    return None


# --- the likeliest through a lens

_LEAVES_THE_FIRST = (*_ORDER, Kind.TOP_N_SIGMA, Kind.MIROSTAT)
UNSEEN = 1e-6
"""The joint probability that tokens outside the candidates have at the least: logits have single precision."""


def follows(lens: Sampled) -> bool:
    """Whether the samplers of a lens always keep the likeliest token the likeliest.

    Penalties depend on the text before; XTC and the typical sampler may cut the likeliest; adaptive-p aims elsewhere.
    """
    return all(one.kind in _LEAVES_THE_FIRST for one in lens.chain.samplers)


class _Biases(NamedTuple):
    """The biases of a lens."""

    amounts: dict[int, float]
    raised: tuple[tuple[float, int], ...]
    """Biases above 0 with their tokens, the highest first."""
    shift: float
    """The most that all biases together can add to or take from a probability, as a factor."""


@lru_cache(64)
def _biases(lens: Sampled) -> _Biases:
    raised = sorted(((amount, token) for token, amount in lens.chain.bias if amount > 0), reverse=True)
    return _Biases(dict(lens.chain.bias), tuple(raised), math.fsum(abs(_factor(one) - 1) for _, one in lens.chain.bias))


def _factor(amount: float) -> float:
    return math.exp(min(amount, 700.0))


class Biased(NamedTuple):
    """A distribution after a lens's biases, before all samplers."""

    distribution: Distribution
    """The candidates that are certainly the likeliest, in order, without banned ones."""
    exact: bool
    """Whether their probabilities are known, and not only their order and ratios."""


@lru_cache(1024)
def biased(lens: Sampled, before: Distribution) -> Biased:
    """A distribution after a lens's biases, as far as its candidates decide that."""
    if not lens.chain.bias or not len(before):
        return Biased(before, True)
    amounts, raised, shift = _biases(lens)
    kept = [
        (logprob, token, amounts.get(token, 0.0)) for token, logprob in zip(before.ids, before.logprobs, strict=True)
    ]
    rest = max(UNSEEN, 1 - math.fsum(math.exp(logprob) for logprob, _, _ in kept))
    unseen = min(rest, math.exp(before.logprobs[-1]))
    most = next((amount for amount, token in raised if token not in before.rows), 0.0)
    floor = min(math.log(rest), before.logprobs[-1]) + most  # no token outside the candidates is likelier
    changed = [_factor(amount) - 1 for _, _, amount in kept if amount]
    whole = 1 + math.fsum(math.exp(logprob) * (_factor(amount) - 1) for logprob, _, amount in kept if amount)
    scores = sorted(((logprob + amount, token) for logprob, token, amount in kept), key=lambda one: -one[0])
    sure = [(score, token) for score, token in scores if score > -math.inf and score >= floor]
    exact = whole > UNSEEN and unseen * max(0.0, shift - math.fsum(map(abs, changed))) < CLOSE * whole
    total = math.log(whole) if exact else 0.0
    ids, logprobs = [token for _, token in sure], [score - total for score, _ in sure]
    return Biased(Distribution.of(before.entropy_bits, ids, logprobs, before.slack_bits), exact)


def likeliest(lens: Sampled, before: Distribution) -> int | None:
    """The most likely token through a lens that `follows`; through others, by their biases alone. None: not known."""
    after = biased(lens, before).distribution
    return after.most_likely if len(after) else None


@lru_cache(64)
def _unbiased(lens: Sampled) -> Sampled:
    return replace(lens, chain=replace(lens.chain, bias=()))


def surely_cut(lens: Sampled, left: Biased, row: int) -> bool:
    """Whether the samplers of a lens certainly cut a row of `left`, and so all rows below it."""
    samplers = _unbiased(lens)
    if not decidable(samplers) or not (left.exact or lens.chain.get(Kind.TOP_P) is None):
        return False
    return cut_by(samplers, left.distribution, left.distribution.candidate(row).taken) not in (None, NOT_CUT)
