"""What follows for a whole distribution from its likeliest tokens: an interval for its entropy, one for a rank.

The rest of the probability is spread over tokens that are no likelier than the last one that is known. The entropy
is lowest where it lies in as few of them as can be, and highest where all of them have the same:

>>> [round(bits, 2) for bits in entropy_interval([math.log(0.5), math.log(0.25)], 6)]
[1.5, 0.5]
>>> ranks([math.log(0.5), math.log(0.25)], math.log(0.15))
(3, 3)
"""

import math
from collections.abc import Sequence

UNKNOWN_SIZE = 1 << 20
"""Tokens of a vocabulary whose size is not told: more than any has."""
EXACT_BITS = 0.005
"""An interval that is narrower is told as its middle: servers sum up in float32, which is off by as much."""
ROUNDING = 5e-4
"""What a server's probabilities are off by, all together."""


def entropy_interval(logprobs: Sequence[float], vocab_size: int) -> tuple[float, float]:
    """The entropy at the least, and how much more it may be, in bits; 0 where it is exact.

    `logprobs`: of the likeliest tokens, in descending order. `vocab_size`: 0 where it is not known.
    """
    probs = [math.exp(value) for value in logprobs]
    known = math.fsum(-prob * value for prob, value in zip(probs, logprobs, strict=True)) / math.log(2)
    others = max((vocab_size or UNKNOWN_SIZE) - len(probs), 0)
    if not others and (total := math.fsum(probs)):  # they are all, and would be 1 together, but for a sum in float32
        return max(known / total + math.log2(total), 0.0), 0.0
    last = probs[-1]
    # No more than they can have; and less than nothing where sums were rounded.
    rest = min(max(1 - math.fsum(probs), 0.0), others * last)
    lumps = math.floor(rest / last) if last else 0
    lowest = known + lumps * _bits(last) + _bits(max(rest - lumps * last, 0.0))
    highest = known + (rest * math.log2(others / rest) if rest else 0.0)
    slack = max(highest - lowest, 0.0)
    return (lowest + slack / 2, 0.0) if slack < EXACT_BITS else (lowest, slack)


def ranks(logprobs: Sequence[float], logprob: float) -> tuple[int, int]:
    """The lowest and the highest rank that a token can have which is not among the likeliest.

    `logprobs`: of the likeliest tokens. `logprob`: of the token. The highest is where all that are left are as likely.
    """
    rest = 1 - math.fsum(map(math.exp, logprobs)) + ROUNDING
    prob = math.exp(logprob)
    before = rest / prob if prob * UNKNOWN_SIZE > rest else UNKNOWN_SIZE
    return len(logprobs) + 1, len(logprobs) + max(math.floor(before), 1)


def _bits(prob: float) -> float:
    return -prob * math.log2(prob) if prob > 0 else 0.0
