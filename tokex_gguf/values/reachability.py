"""What cut a token, from the few numbers that a place keeps, where they decide it. Pure.

A place keeps its likeliest candidates, and of the token that was taken its log-probability and its rank. For
llama.cpp's default chain that is enough nearly always: the mass above a token is known where all likelier ones are
among the candidates, and bounded where they are not. What is not decided, the engine says from the whole row.
"""

import math
from functools import lru_cache

from tokex_gguf.values.distribution import Distribution, Taken
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.samplers import Kind, Sampler
from tokex_gguf.values.view import KEPT

CLOSE = 2e-4
"""Masses closer than this to a limit are left to the engine: llama.cpp adds them up in single precision."""
_ORDER = (Kind.TOP_K, Kind.TOP_P, Kind.MIN_P, Kind.TEMPERATURE)


@lru_cache(64)
def decidable(lens: Sampled) -> bool:
    """Whether the kept numbers can decide anything: only samplers that cut by rank and probability, in this order."""
    kinds = [one.kind for one in lens.chain.samplers]
    heat = lens.chain.get(Kind.TEMPERATURE)
    if heat and heat.values[0] - heat.values[1] <= 0:  # it may leave the likeliest alone
        return False
    return (
        lens.constraint is None
        and not lens.chain.bias
        and all(kind in _ORDER for kind in kinds)
        and kinds == sorted(kinds, key=_ORDER.index)
    )


def cut_by(lens: Sampled, before: Distribution, taken: Taken) -> int | None:
    """The stage that cut a token of a distribution, or KEPT; None where the kept numbers do not decide.

    `lens` must be `decidable`.
    """
    if taken.rank == 1 and before.logprobs[1:2] != before.logprobs[:1]:
        return KEPT  # all of these keep the most likely one
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
    return KEPT


def _has_equals(before: Distribution, taken: Taken) -> bool:
    """Whether a candidate is as likely as a token: which of them comes first llama.cpp leaves open.

    Equal ones that are no candidates are not seen. That they lie at a border is too rare to ask of each such token.
    """
    kept = len(before.logprobs)
    beside = before.logprobs[max(0, min(taken.rank, kept) - 2) : taken.rank + 1]
    return list(beside).count(taken.logprob) > (taken.rank <= kept)


def _border(before: Distribution, limit: int) -> float:
    """The log-probability of the last of the `limit` likeliest; the most that it can be, where that is not kept."""
    return before.logprobs[min(limit, len(before.logprobs)) - 1]


def _cut_by_top_p(sampler: Sampler, before: Distribution, taken: Taken, limit: float) -> bool | None:
    """Whether the mass above a token, among the `limit` likeliest, is p already."""
    probs = [*map(math.exp, before.logprobs)]
    last = probs[-1]
    above = math.fsum(probs[: taken.rank - 1])
    # Those between the last candidate and the token have at most the last one's probability, at least the token's.
    missing = max(0, taken.rank - 1 - len(probs))
    above_least, above_most = above + missing * taken.prob, above + missing * last
    if limit == math.inf:
        total_least = total_most = 1.0
    else:
        total = math.fsum(probs[: int(limit)])
        further = max(0, int(limit) - len(probs))
        total_least, total_most = total, min(1.0, total + further * last)
    p = sampler.values[0]
    if above_least >= (p + CLOSE) * total_most:
        return True
    if above_most < (p - CLOSE) * total_least:
        return False
    return None
