"""How two distributions differ, over their whole vocabulary. Pure."""

import math
from typing import NamedTuple

from tokex_gguf.values.distribution import Taken
from tokex_gguf.values.record import record


class Beside(NamedTuple):
    """What two distributions say of one token."""

    token: int
    a: Taken
    b: Taken

    @property
    def delta_bits(self) -> float:
        """How much likelier A makes it than B: log2 of the ratio of the probabilities."""
        if self.a.logprob == self.b.logprob:
            return 0.0  # also where both rule it out
        return (self.a.logprob - self.b.logprob) / math.log(2)

    @property
    def moved(self) -> int:
        """By how many ranks it stands higher in B than in A."""
        return self.a.rank - self.b.rank


@record
class Difference:
    """Two distributions of one vocabulary, A and B, beside each other."""

    kl_bits: float
    """KL(A‖B), in bits: what it costs to take B for A. Infinite where B rules out what A does not."""
    reverse_bits: float
    """KL(B‖A), in bits."""
    first_a: int
    """The token that A makes most likely."""
    first_b: int
    rows: tuple[Beside, ...]
    """The likeliest tokens of either, the most likely by A first."""
    taken: Beside | None = None
    """What both say of the path's next token; None at its end, and where the two paths go on with other tokens."""

    @property
    def flip(self) -> bool:
        """Whether another token is the most likely."""
        return self.first_a != self.first_b
