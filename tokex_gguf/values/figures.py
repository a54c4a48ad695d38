"""How two models differ over a text, in the figures of llama-perplexity's `--kl-divergence`. Pure.

Its base is A, and its model B: the divergence is KL(A‖B), and the ratio of perplexities is B's by A's, above 1 where B
is worse. llama-perplexity uses the second half of each part of a file, rounds A's numbers to 16 bits and leaves out
tokens that A makes less likely than exp(-16). Here every predicted token counts, and the whole vocabulary. Its
divergences are in nats, and these in bits: 1 nat is 1.4427 bits.
"""

import math
from collections.abc import Iterable, Sequence

from tokex_gguf.values.difference import Difference
from tokex_gguf.values.record import record

FLOOR_BITS = 0.005
"""Mean divergence, in bits, of two models with the same weights in different number types (Q4_1 and F32 of one file,
over 500 tokens): different kernels compute them, and 5 % of the most likely tokens differ. A smaller difference says
nothing about the models."""
FLOOR_DELTA_BITS = 0.4
"""The same for one token: three standard deviations of the difference of its surprisal, in bits. Of 2,800 tokens 1.3 %
are above it. One deviation is too little: a quarter of the tokens are above that."""


@record
class Figures:
    """How two models differ over the places of a text where a token was predicted."""

    tokens: int
    """The number of places."""
    mean_kl_bits: float
    """Mean of KL(A‖B) ("Mean KLD")."""
    kl_error_bits: float
    """Its standard error, as if places were independent; 0 for a single place."""
    median_kl_bits: float
    """Half of the places are below this ("Median KLD")."""
    high_kl_bits: float
    """99 % of the places are below this ("99.0% KLD")."""
    same_top: float
    """The share of places, 0 to 1, at which both have the same most likely token ("Same top p")."""
    delta_p_rms: float
    """Root of the mean square of what B adds to the probability, 0 to 1, of the token that came ("RMS Δp")."""
    perplexity_a: float
    """exp of the mean negative log-probability of a token that came ("Mean PPL(base)")."""
    perplexity_b: float
    """The same by B ("Mean PPL(Q)")."""
    delta_bits: float
    """How much likelier A makes a token than B, in bits, on average; NaN where each finds a token impossible that the
    other does not."""

    @property
    def perplexity_ratio(self) -> float:
        """B's perplexity by A's ("Mean PPL(Q)/PPL(base)")."""
        return _exp(self.delta_bits * math.log(2))


def figures(differences: Iterable[Difference]) -> Figures | None:
    """The figures of the differences at the places of a text. None where no token was predicted.

    A place without a next token, such as the text's end, does not count. Two equal models do not differ:

    >>> from tokex_gguf.values.difference import TokenPair
    >>> from tokex_gguf.values.distribution import TokenLogprob
    >>> same = Difference(0.0, 0.0, 7, 7, (), TokenPair(7, TokenLogprob(-0.5, 1), TokenLogprob(-0.5, 1)))
    >>> equal = figures([same] * 3)
    >>> equal.mean_kl_bits, equal.same_top, equal.delta_p_rms, equal.perplexity_ratio
    (0.0, 1.0, 0.0, 1.0)
    >>> pair = TokenPair(7, TokenLogprob(math.log(0.5), 1), TokenLogprob(math.log(0.25), 2))
    >>> half = Difference(0.25, 0.3, 7, 8, (), pair)
    >>> total = figures([same, half])
    >>> total.mean_kl_bits, total.same_top, total.delta_bits
    (0.125, 0.5, 0.5)
    """
    counted = [(one, one.taken) for one in differences if one.taken is not None]
    if not counted:
        return None
    count = len(counted)
    divergences = sorted(one.kl_bits for one, _ in counted)
    mean = _mean(divergences)
    spread = _mean([(value - mean) ** 2 for value in divergences]) if mean < math.inf else math.inf
    shifts = [(taken.b.prob - taken.a.prob) ** 2 for _, taken in counted]
    return Figures(
        tokens=count,
        mean_kl_bits=mean,
        kl_error_bits=math.sqrt(spread / (count - 1)) if count > 1 else 0.0,
        median_kl_bits=percentile(divergences, 0.5),
        high_kl_bits=percentile(divergences, 0.99),
        same_top=sum(not one.flip for one, _ in counted) / count,
        delta_p_rms=math.sqrt(_mean(shifts)),
        perplexity_a=_exp(-_mean([taken.a.logprob for _, taken in counted])),
        perplexity_b=_exp(-_mean([taken.b.logprob for _, taken in counted])),
        # The mean of the gaps, not the gap of the means: equal numbers give exactly 0.
        delta_bits=_mean([_gap(taken.a.logprob, taken.b.logprob) for _, taken in counted]) / math.log(2),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The percentile `share`, 0 to 1, of sorted values; interpolated between two of them.

    >>> percentile([1.0, 2.0, 4.0], 0.5), percentile([1.0, 2.0], 0.5), percentile([3.0], 0.99)
    (2.0, 1.5, 3.0)
    """
    place = share * (len(values) - 1)
    below = int(place)
    low, high = values[below], values[min(below + 1, len(values) - 1)]
    # Equal values are not interpolated: that can round, and infinities would give NaN.
    return low if low == high else low + (place - below) * (high - low) if place > below else low


def _mean(values: Sequence[float]) -> float:
    if math.inf in values and -math.inf in values:
        return math.nan
    return math.fsum(values) / len(values)


def _gap(a: float, b: float) -> float:
    """`a` minus `b`; 0 where both are the same infinity."""
    return 0.0 if a == b else a - b


def _exp(value: float) -> float:
    return math.inf if value >= 700 else math.exp(value)
