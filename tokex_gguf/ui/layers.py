"""The layers as a table: what each shows of a token, on which scale, and how that is told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tokex_gguf.play.session import Layer
from tokex_gguf.values.tree import Node

Value: TypeAlias = Callable[[Node, int], float | None]
"""From a token and the vocabulary's size to a value on the scale, 0 to 1; None where there is none."""

MOST_BITS = 16.0
"""Surprisal at the scale's end: about what one token among a vocabulary of 65,536 equal ones has."""

BUCKETS = (10, 100, 1000)
"""The last ranks of the first three buckets, as in GLTR (Gehrmann, Strobelt and Rush, 2019)."""


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer."""

    value: Value
    low: str
    """What stands at the scale's beginning."""
    high: str
    steps: tuple[str, ...] = ()
    """Names of the buckets, where the scale has some instead of going on from 0 to 1."""
    striking: str = "high"
    """Which end is the one to find: in monochrome it stands out."""


def _probability(node: Node, _size: int) -> float | None:
    return None if node.taken is None else node.taken.prob


def _entropy(node: Node, size: int) -> float | None:
    # Of the distribution that the token was drawn from. The first token has none.
    if node.taken is None or node.parent is None or node.parent.distribution is None:
        return None
    return node.parent.distribution.normalised_entropy(size)


def _rank(node: Node, _size: int) -> float | None:
    if node.taken is None:
        return None
    return sum(node.taken.rank > last for last in BUCKETS) / len(BUCKETS)


def _surprisal(node: Node, _size: int) -> float | None:
    bits = node.surprisal
    return None if bits is None else min(1.0, bits / MOST_BITS)


def _boundaries(node: Node, _size: int) -> float | None:
    return float(node.depth % 2)


LAYERS: dict[Layer, LayerSpec] = {
    Layer.PROBABILITY: LayerSpec(_probability, "0", "1", striking="low"),
    Layer.ENTROPY: LayerSpec(_entropy, "0", "1"),
    Layer.RANK: LayerSpec(_rank, "", "", ("top 10", "100", "1,000", "rest")),
    Layer.SURPRISAL: LayerSpec(_surprisal, "0", f"{MOST_BITS:.0f} bits"),
    Layer.BOUNDARIES: LayerSpec(_boundaries, "", "", ("token", "next token")),
}
"""All layers but the plain one, in their order."""


def layer_value(layer: Layer, node: Node, vocab_size: int) -> float | None:
    """What colours a token in a layer, 0 to 1; None for a token without colour."""
    row = LAYERS.get(layer)
    return None if row is None else row.value(node, vocab_size)
