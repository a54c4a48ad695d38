"""What a sampler chain and a constraint make of a distribution, and of one token of it. Pure."""

import math
from array import array
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from tokex_gguf.values.distribution import Candidate, Distribution, Taken
from tokex_gguf.values.record import record

NOT_CUT = -1
"""In place of a stage's number: nothing has cut this token."""


class Verdict(NamedTuple):
    """What became of one token."""

    final: float
    """Its chance to be drawn, 0 to 1; 0 where it was cut."""
    cut_by: int
    """The stage that cut it, an index into `Sampled.stages`; NOT_CUT: none."""
    legal_mass: float = 1.0
    """The probability of all tokens that the constraint allowed in its place, 0 to 1."""

    @property
    def cost_bits(self) -> float:
        """What the constraint cost there: bits, infinite where the model gives nothing to what is legal."""
        return max(0.0, -math.log2(self.legal_mass)) if self.legal_mass > 0 else math.inf


class Stage(NamedTuple):
    """What is left after one stage."""

    left: int
    """Tokens."""
    mass: float
    """Their probability by the model, 0 to 1."""
    entropy_bits: float
    """Of what is left, renormalised."""
    note: str = ""
    """What is wrong with it here, where something is: it is shown as llama.cpp does it all the same."""


class Standing(StrEnum):
    """Where a text stands under a constraint."""

    FREE = "free"
    """There is none here."""
    OPEN = "open"
    """It must go on."""
    COMPLETE = "complete"
    """It may end here."""
    ENDED = "ended"
    """It must end here."""
    STUCK = "stuck"
    """No token of the vocabulary can follow, and it may not end here."""
    BROKEN = "broken"
    """It has a token that is not legal."""


@record(slots=False, eq=False)
class View:
    """A distribution as a lens leaves it.

    `ids`, `finals` and `cuts` are parallel: the tokens that were asked about, and the
    most likely ones of those left.
    """

    left: int
    """Tokens that can be drawn."""
    mass: float
    """Their probability by the model, 0 to 1."""
    entropy_bits: float
    """Of what is left, renormalised."""
    legal_mass: float
    """The probability by the model of what the constraint allows, 0 to 1; 1 without one."""
    stages: tuple[Stage, ...]
    """After each of `Sampled.stages`."""
    standing: Standing
    broken: int
    """The position of the path's first token that the constraint does not allow; -1 where there is none."""
    ids: "array[int]"
    finals: "array[float]"
    """The chance of each to be drawn; 0 where it was cut."""
    cuts: "array[int]"
    """The stage that cut each, or NOT_CUT."""
    others: Mapping[int, Taken] = field(default_factory=dict)
    """What the model says of those left that are not among its likeliest."""

    @property
    def cost_bits(self) -> float:
        """What the constraint costs here, whatever token comes next."""
        return Verdict(1.0, NOT_CUT, self.legal_mass).cost_bits

    @cached_property
    def verdicts(self) -> dict[int, Verdict]:
        """What became of each token that is told of."""
        rows = zip(self.ids, self.finals, self.cuts, strict=True)
        return {token: Verdict(final, cut, self.legal_mass) for token, final, cut in rows}

    @cached_property
    def likeliest(self) -> tuple[int, ...]:
        """The tokens that can be drawn, the most likely first, as far as they are told."""
        drawable = [(final, token) for token, final, _ in zip(self.ids, self.finals, self.cuts, strict=True) if final]
        return tuple(token for _, token in sorted(drawable, key=lambda one: (-one[0], one[1])))


def by_final(distribution: Distribution, view: View, further: Mapping[int, Taken]) -> tuple[Candidate, ...]:
    """The candidates of a distribution and what else can be drawn, the most likely to be drawn first.

    What was cut comes behind, in the model's own order. `further`: what the model says of tokens beyond both.
    """
    known = {**further, **view.others}
    rows: dict[int, Candidate] = {}
    for token in view.likeliest:
        if (place := distribution.rows.get(token)) is not None:
            rows[token] = distribution.candidate(place)
        elif (taken := known.get(token)) is not None:
            rows[token] = taken.row(token)
    cut = (one for one in distribution.candidates() if one.token not in rows)
    return (*rows.values(), *cut)


class Draw(NamedTuple):
    """One draw."""

    token: int
    number: float
    """The number drawn, 0 to 1."""
    low: float
    """Where the token's part of the bar from 0 to 1 begins; the most likely tokens come first."""
    high: float
    """Where it ends."""
