"""A model's next-token distribution after a path, as far as it is kept."""

import math
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import islice
from typing import NamedTuple

from tokex_gguf.values.record import record


class Candidate(NamedTuple):
    """One row of a distribution's table."""

    rank: int
    """1 for the most likely token of the vocabulary."""
    token: int
    logprob: float
    """Natural logarithm of the probability."""
    at_least: bool = False
    """Whether `rank` is a lower bound."""

    @property
    def prob(self) -> float:
        """Probability, 0 to 1."""
        return math.exp(self.logprob)

    @property
    def taken(self) -> "TokenLogprob":
        """Log-probability and rank alone."""
        return TokenLogprob(self.logprob, self.rank, self.at_least)


class TokenLogprob(NamedTuple):
    """Log-probability and rank of one token in a distribution."""

    logprob: float
    """Natural logarithm of the probability."""
    rank: int
    """1 for the most likely token of the vocabulary; ties are ranked by token id."""
    at_least: bool = False
    """Whether `rank` is a lower bound: a server may not give more."""

    @property
    def prob(self) -> float:
        """Probability, 0 to 1."""
        return math.exp(self.logprob)

    @property
    def surprisal(self) -> float:
        """The token's surprisal in bits."""
        return max(0.0, -self.logprob / math.log(2))

    def row(self, token: int) -> Candidate:
        """The row of this token in a table."""
        return Candidate(self.rank, token, self.logprob, self.at_least)


@record(slots=False, eq=False)
class Distribution:
    """Entropy and the k most likely tokens of a next-token distribution.

    The arrays are parallel, most likely first. They are arrays and not lists of
    objects because a session keeps one distribution for every token of every
    prompt: 30 candidates take 360 bytes instead of several thousand.
    """

    entropy_bits: float
    """A lower bound where only a part of the distribution is known."""
    ids: "array[int]"
    """Token ids, shape (k,)."""
    logprobs: "array[float]"
    """Natural logarithms of their probabilities, shape (k,)."""
    slack_bits: float = 0.0
    """How much higher than `entropy_bits` the entropy may be; 0 where the whole distribution is known."""

    @classmethod
    def of(
        cls, entropy_bits: float, ids: Iterable[int], logprobs: Iterable[float], slack_bits: float = 0.0
    ) -> "Distribution":
        """Packs plain numbers into a distribution."""
        return cls(entropy_bits, array("i", ids), array("d", logprobs), slack_bits)

    def __len__(self) -> int:
        """The number k of candidates."""
        return len(self.ids)

    def candidate(self, index: int) -> Candidate:
        """The candidate in row `index` (0 for the most likely)."""
        return Candidate(index + 1, self.ids[index], self.logprobs[index])

    def candidates(self) -> Iterator[Candidate]:
        """All candidates, most likely first."""
        return map(self.candidate, range(len(self)))

    def first(self, count: int) -> tuple[Candidate, ...]:
        """The most likely candidates, at most `count`. Cached: several steps of a key need the same."""
        return _first(self, count)

    def shortened(self, count: int) -> "Distribution":
        """The distribution with its first `count` candidates; itself where it has no more."""
        if len(self) <= count:
            return self
        return Distribution(self.entropy_bits, self.ids[:count], self.logprobs[:count], self.slack_bits)

    @property
    def most_likely(self) -> int:
        """The token with the highest probability."""
        return self.ids[0]

    @cached_property
    def rows(self) -> dict[int, int]:
        """From a token id to its row."""
        return {token: row for row, token in enumerate(self.ids)}

    @property
    def most_bits(self) -> float:
        """An upper bound of the entropy: `entropy_bits` where that is exact."""
        return self.entropy_bits + self.slack_bits

    def normalised_entropy(self, vocab_size: int) -> float | None:
        """`entropy_bits` divided by the largest possible entropy; None where the vocabulary's size is not known."""
        return normalised(self.entropy_bits, vocab_size)


@lru_cache(32)
def _first(distribution: Distribution, count: int) -> tuple[Candidate, ...]:
    return tuple(islice(distribution.candidates(), count))


def normalised(bits: float, vocab_size: int) -> float | None:
    """Bits divided by log2 of the vocabulary's size: 0 to 1. None where that size is 0, which means not known.

    >>> normalised(3.0, 64)
    0.5
    """
    if vocab_size == 0:
        return None
    return bits / math.log2(vocab_size) if vocab_size > 1 else 0.0
