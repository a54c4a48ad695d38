"""Bounds for a whole distribution from its likeliest tokens: of its entropy, and of a rank.

The rest of the probability belongs to tokens that are no likelier than the last known one. The entropy is lowest if as
few tokens as possible share it, and highest if all share it equally:

>>> [round(bits, 2) for bits in entropy_interval([math.log(0.5), math.log(0.25)], 6)]
[1.5, 0.5]
>>> ranks([math.log(0.5), math.log(0.25)], math.log(0.15))
(3, 3)
"""

import math
from collections.abc import Sequence

UNKNOWN_SIZE = 1 << 20
"""Assumed size of an unknown vocabulary: more than any has."""
EXACT_BITS = 0.005
"""A narrower interval is replaced by its middle: servers sum in float32, whose error is as large."""
ROUNDING = 5e-4
"""The total error of a server's probabilities."""


def entropy_interval(logprobs: Sequence[float], vocab_size: int) -> tuple[float, float]:
    """The least entropy, and how much higher it may be, in bits; 0 where it is exact.

    `logprobs`: of the likeliest tokens, in descending order. `vocab_size`: 0 where it is not known.
    """
    probs = [math.exp(value) for value in logprobs]
    known = math.fsum(-prob * value for prob, value in zip(probs, logprobs, strict=True)) / math.log(2)
    others = max((vocab_size or UNKNOWN_SIZE) - len(probs), 0)
    if not others and (total := math.fsum(probs)):  # all tokens are known: their sum is 1, but for float32 errors
        return max(known / total + math.log2(total), 0.0), 0.0
    last = probs[-1]
    # At most what the other tokens can have; rounding may make the difference negative.
    rest = min(max(1 - math.fsum(probs), 0.0), others * last)
    full = math.floor(rest / last) if last else 0
    lowest = known + full * _bits(last) + _bits(max(rest - full * last, 0.0))
    highest = known + (rest * math.log2(others / rest) if rest else 0.0)
    slack = max(highest - lowest, 0.0)
    return (lowest + slack / 2, 0.0) if slack < EXACT_BITS else (lowest, slack)


def ranks(logprobs: Sequence[float], logprob: float) -> tuple[int, int]:
    """The lowest and the highest possible rank of a token that is not among the likeliest.

    `logprobs`: of the likeliest tokens. `logprob`: of the token. The highest rank assumes that the rest of the
    probability belongs to tokens that are as likely.
    """
    rest = 1 - math.fsum(map(math.exp, logprobs)) + ROUNDING
    prob = math.exp(logprob)
    before = rest / prob if prob * UNKNOWN_SIZE > rest else UNKNOWN_SIZE
    return len(logprobs) + 1, len(logprobs) + max(math.floor(before), 1)


def _bits(prob: float) -> float:
    return -prob * math.log2(prob) if prob > 0 else 0.0
