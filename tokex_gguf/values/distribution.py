"""What a model answers after a path: a next-token distribution, as far as it is kept."""

import math
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from tokex_gguf.values.record import record


class Candidate(NamedTuple):
    """One row of a distribution's table."""

    rank: int
    """1 for the most likely token of the vocabulary."""
    token: int
    logprob: float
    """Natural logarithm of the probability."""

    @property
    def prob(self) -> float:
        """Probability, 0 to 1."""
        return math.exp(self.logprob)


class Taken(NamedTuple):
    """What a distribution said of the token that was really taken after it."""

    logprob: float
    """Natural logarithm of the probability."""
    rank: int
    """1 for the most likely token of the vocabulary; ties are ranked by token id."""
    at_least: bool = False
    """Whether the rank is that or a higher number: a server tells no more."""

    @property
    def prob(self) -> float:
        """Probability, 0 to 1."""
        return math.exp(self.logprob)


@record(slots=False, eq=False)
class Distribution:
    """Entropy and the k most likely tokens of a next-token distribution.

    The arrays are parallel, most likely first. They are arrays and not lists of
    objects because a session keeps one distribution for every token of every
    prompt: 30 candidates take 360 bytes instead of several thousand.
    """

    entropy_bits: float
    ids: "array[int]"
    """Token ids, shape (k,)."""
    logprobs: "array[float]"
    """Natural logarithms of their probabilities, shape (k,)."""
    slack_bits: float = 0.0
    """How much higher the entropy may be than `entropy_bits`: 0 where all of the distribution was summed up."""

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

    @property
    def most_likely(self) -> int:
        """The token with the highest probability."""
        return self.ids[0]

    @cached_property
    def rows(self) -> dict[int, int]:
        """From a token id to its row."""
        return {token: row for row, token in enumerate(self.ids)}

    def normalised_entropy(self, vocab_size: int) -> float:
        """Entropy divided by its largest possible value, log2 of the vocabulary's size: 0 to 1."""
        return self.entropy_bits / math.log2(vocab_size) if vocab_size > 1 else 0.0
