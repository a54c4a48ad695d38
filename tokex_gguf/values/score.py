"""Scored phrases: their log-probabilities, and their shares among those at one place."""

import math
import sys

from tokex_gguf.values.record import record
from tokex_gguf.values.tree import Node


@record
class Score:
    """A scored phrase: `tip` is `base` plus the phrase."""

    base: Node
    tip: Node

    @property
    def nodes(self) -> list[Node]:
        """The phrase's tokens."""
        return self.tip.nodes(self.base.depth)

    @property
    def logprob(self) -> float | None:
        """Log-probability (natural) of the phrase after its base; None until computed."""
        before, after = self.base.logprob, self.tip.logprob
        if self.base.depth and before is not None and after is not None and math.isfinite(before):
            return after - before  # nodes keep totals: long phrases cost no more than short ones
        values, node = [], self.tip
        while node.depth > self.base.depth and node.taken is not None and node.parent is not None:
            values.append(node.taken.logprob)
            node = node.parent
        return math.fsum(values) if node is self.base else None

    @property
    def weakest(self) -> Node:
        """The token with the lowest probability."""
        return min(self.nodes, key=lambda node: node.taken.logprob if node.taken else 0.0)


def shares(scores: "tuple[Score, ...]") -> list[float | None]:
    """Each phrase's share of the total probability of the phrases scored at its place; None until computed."""
    # Where no phrase can follow, avoid 0 of 0.
    places = {base: (max(max(values), -sys.float_info.max), values) for base, values in _places(scores).items()}
    totals = {base: math.fsum(math.exp(value - top) for value in values) or 1 for base, (top, values) in places.items()}
    # Relative to the place's highest: else very unlikely phrases would be 0 of 0.
    return [
        None if (logprob := score.logprob) is None else math.exp(logprob - places[score.base][0]) / totals[score.base]
        for score in scores
    ]


def best(scores: "tuple[Score, ...]") -> dict[Node, float]:
    """The highest log-probability of the phrases scored at each place, as far as computed."""
    return {base: max(values) for base, values in _places(scores).items()}


def _places(scores: "tuple[Score, ...]") -> dict[Node, list[float]]:
    """The log-probabilities of the phrases scored at each place, as far as computed."""
    places: dict[Node, list[float]] = {}
    for score in scores:
        if (logprob := score.logprob) is not None:
            places.setdefault(score.base, []).append(logprob)
    return places
