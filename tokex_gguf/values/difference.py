"""How two distributions differ, over their whole vocabulary. Pure."""

import math
from typing import NamedTuple

from tokex_gguf.values.distribution import TokenLogprob
from tokex_gguf.values.record import record


class TokenPair(NamedTuple):
    """What two distributions say of one token."""

    token: int
    a: TokenLogprob
    b: TokenLogprob

    @property
    def delta_bits(self) -> float:
        """How much likelier A makes the token than B: log2 of the ratio of the probabilities."""
        if self.a.logprob == self.b.logprob:
            return 0.0  # also where both are -inf
        return (self.a.logprob - self.b.logprob) / math.log(2)

    @property
    def moved(self) -> int:
        """By how many ranks the token is higher in B than in A."""
        return self.a.rank - self.b.rank

    @property
    def reverse(self) -> "TokenPair":
        """The same with B in the place of A."""
        return TokenPair(self.token, self.b, self.a)


@record
class Difference:
    """How two distributions over one vocabulary, A and B, differ."""

    kl_bits: float
    """KL(A‖B), in bits: the cost of taking B for A. Infinite where B rules out a token that A does not."""
    reverse_bits: float
    """KL(B‖A), in bits."""
    first_a: int
    """The token that A makes most likely."""
    first_b: int
    rows: tuple[TokenPair, ...]
    """The likeliest tokens of either, the most likely by A first."""
    taken: TokenPair | None = None
    """What both say of the path's next token; None at its end, and where the two paths have different next tokens."""

    @property
    def flip(self) -> bool:
        """Whether A and B have different most likely tokens."""
        return self.first_a != self.first_b

    @property
    def reverse(self) -> "Difference":
        """The same with B in the place of A."""
        rows = sorted((row.reverse for row in self.rows), key=lambda row: (-row.a.logprob, row.token))
        taken = self.taken.reverse if self.taken else None
        return Difference(self.reverse_bits, self.kl_bits, self.first_b, self.first_a, tuple(rows), taken)
