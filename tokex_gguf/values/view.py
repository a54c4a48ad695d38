"""A distribution through a sampler chain and a constraint, and the verdict on one of its tokens. Pure."""

import math
from array import array
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from tokex_gguf.values.distribution import Candidate, Distribution, TokenLogprob
from tokex_gguf.values.record import record

NOT_CUT = -1
"""In place of a stage's number: the token is not cut."""


class Verdict(NamedTuple):
    """The effect of a lens on one token."""

    final: float
    """The token's chance to be drawn, 0 to 1; 0 where it was cut."""
    cut_by: int
    """The stage that cut it, an index into `Sampled.stages`; NOT_CUT: none."""
    legal_mass: float = 1.0
    """The joint probability of all legal tokens in its place, 0 to 1."""

    @property
    def cost_bits(self) -> float:
        """The cost of the constraint in bits; infinite where the legal tokens have no probability."""
        return max(0.0, -math.log2(self.legal_mass)) if self.legal_mass > 0 else math.inf


class Stage(NamedTuple):
    """The distribution after one stage."""

    left: int
    """How many tokens are left."""
    mass: float
    """Their joint probability by the model, 0 to 1."""
    entropy_bits: float
    """Of the tokens left, renormalised."""
    note: str = ""
    """A fault of llama.cpp's sampler here, if any; its result is shown all the same."""


class Standing(StrEnum):
    """The state of a text under a constraint."""

    FREE = "free"
    """No constraint applies here."""
    OPEN = "open"
    """The text must go on."""
    COMPLETE = "complete"
    """The text may end here."""
    ENDED = "ended"
    """The text must end here."""
    STUCK = "stuck"
    """No token of the vocabulary may follow, and the text may not end here."""
    BROKEN = "broken"
    """The text has a token that is not legal."""


@record(slots=False, eq=False)
class View:
    """A distribution through a lens.

    `ids`, `finals` and `cuts` are parallel: for the requested tokens, and the most likely
    ones of those left.
    """

    left: int
    """How many tokens can be drawn."""
    mass: float
    """Their joint probability by the model, 0 to 1."""
    entropy_bits: float
    """Of the tokens left, renormalised."""
    legal_mass: float
    """The joint probability of all legal tokens by the model, 0 to 1; 1 without a constraint."""
    stages: tuple[Stage, ...]
    """After each of `Sampled.stages`."""
    standing: Standing
    broken: int
    """The position of the path's first token that the constraint does not allow; -1: none."""
    ids: "array[int]"
    finals: "array[float]"
    """The chance of each to be drawn; 0 where it was cut."""
    cuts: "array[int]"
    """The stage that cut each, or NOT_CUT."""
    others: Mapping[int, TokenLogprob] = field(default_factory=dict)
    """The model's numbers for tokens left that may not be among the candidates of its distribution."""

    @property
    def cost_bits(self) -> float:
        """The cost of the constraint here, whatever token comes next."""
        return Verdict(1.0, NOT_CUT, self.legal_mass).cost_bits

    @cached_property
    def verdicts(self) -> dict[int, Verdict]:
        """The verdicts on the tokens in `ids`."""
        rows = zip(self.ids, self.finals, self.cuts, strict=True)
        return {token: Verdict(final, cut, self.legal_mass) for token, final, cut in rows}

    @cached_property
    def likeliest(self) -> tuple[int, ...]:
        """The tokens in `ids` that can be drawn, the most likely first."""
        drawable = [(final, token) for token, final, _ in zip(self.ids, self.finals, self.cuts, strict=True) if final]
        return tuple(token for _, token in sorted(drawable, key=lambda one: (-one[0], one[1])))


def by_final(distribution: Distribution, view: View, further: Mapping[int, TokenLogprob]) -> tuple[Candidate, ...]:
    """The candidates of a distribution and other tokens that can be drawn, by chance to be drawn.

    Cut tokens come last, in the model's own order. `further`: the model's numbers for other tokens.
    """
    known = {**view.others, **further}
    rows: dict[int, Candidate] = {}
    for token in view.likeliest:
        if (place := distribution.rows.get(token)) is not None:
            rows[token] = distribution.candidate(place)
        elif (taken := known.get(token)) is not None:
            rows[token] = taken.row(token)
    cut = (one for one in distribution.candidates() if one.token not in rows)
    return (*rows.values(), *cut)


class Draw(NamedTuple):
    """A drawn token."""

    token: int
    number: float
    """The number drawn, 0 to 1."""
    low: float
    """The start of the token's part of the bar from 0 to 1; the most likely tokens come first."""
    high: float
    """The end of its part."""
