"""The layers: the quantity that each shows, its scale and its texts. `ui/theme.py` has the colours. Pure."""

import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

from tokex_gguf.values.lens import Raw, Sampled
from tokex_gguf.values.record import record
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT, Verdict

Value: TypeAlias = Callable[[Node, int], float | None]
"""From a token and the vocabulary's size to a value on the scale, 0 to 1; None: no value."""

MOST_BITS = 16.0
"""Surprisal at the scale's end: that of one of 65,536 equally likely tokens."""

BUCKETS = (10, 100, 1000)
"""The last ranks of the first three buckets, as in GLTR (Gehrmann, Strobelt and Rush, 2019)."""


@record(eq=False)
class Layer:
    """A colouring of the prompt."""

    name: str
    """Also its scale's name in `theme.SCALES`."""
    value: Value | None
    """None: nothing is coloured."""
    by: str = ""
    """The quantity, for the help."""
    low: str = ""
    """The label at the scale's start."""
    high: str = ""
    steps: tuple[str, ...] = ()
    """Names of the buckets, for a scale that is not continuous."""

    def of(self, node: Node, vocab_size: int) -> float | None:
        """A token's value, 0 to 1; None for a token without colour."""
        return None if self.value is None else self.value(node, vocab_size)


@record(eq=False, kw_only=True)
class LensLayer(Layer):
    """A colouring by a lens's verdict on each token."""

    judged: Callable[[Verdict], float]
    """From a verdict to a value on the scale, 0 to 1."""
    of_constraint: bool = False
    """Whether it depends on the constraint alone."""

    def lacking(self, lens: Raw | Sampled) -> str:
        """Why a lens gives nothing to colour; empty where it does."""
        if self.of_constraint:
            return "" if isinstance(lens, Sampled) and lens.constraint else "no constraint: C"
        return "no samplers: S" if isinstance(lens, Raw) else ""


def _probability(node: Node, _size: int) -> float | None:
    return None if node.taken is None else node.taken.prob


def _entropy(node: Node, size: int) -> float | None:
    # Of the distribution before the token. The first token has none.
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


def _relative(node: Node, _size: int) -> float | None:
    # The distribution before the token; the first token has none.
    before = node.parent.distribution if node.parent else None
    if node.taken is None or before is None:
        return None
    return min(1.0, math.exp(node.taken.logprob - before.candidate(0).logprob))


def _boundaries(node: Node, _size: int) -> float | None:
    return float(node.depth % 2)


PLAIN = Layer("plain", None)
PROBABILITY = Layer("probability", _probability, "by probability", "0", "1")
ENTROPY = Layer("entropy", _entropy, "by entropy", "0", "1")
RANK = Layer("rank", _rank, "by rank", steps=("top 10", "100", "1,000", "rest"))
AND_MORE = f"{MOST_BITS:.0f} bits or more"
SURPRISAL = Layer("surprisal", _surprisal, "by surprisal", "0", AND_MORE)
RELATIVE = Layer("relative", _relative, "by probability relative to the best", "0", "1: the best choice")
BOUNDARIES = Layer("boundaries", _boundaries, "by token boundaries", steps=("token", "next token"))

REACHABLE = LensLayer(
    "reachable",
    None,
    "by reachability",
    steps=("can be drawn", "cut"),
    judged=lambda verdict: float(verdict.cut_by != NOT_CUT),
)
COST = LensLayer(
    "cost",
    None,
    "by cost",
    "0",
    AND_MORE,
    judged=lambda verdict: min(1.0, verdict.cost_bits / MOST_BITS),
    of_constraint=True,
)
MOST_DELTA = 8.0
"""Bits at the ends of the scale of differences."""


def delta_value(bits: float, noise: float = 0.0) -> float:
    """A difference on a scale from 0 to 1; 0.5 means none. Small differences take more of the scale than large ones.

    >>> delta_value(0.0), delta_value(8.0), delta_value(-2.0), delta_value(0.01, noise=0.02)
    (0.5, 1.0, 0.25, 0.5)
    """
    if abs(bits) <= noise or math.isnan(bits):
        return 0.5
    return 0.5 + math.copysign(math.sqrt(min(1.0, abs(bits) / MOST_DELTA)) / 2, bits)


DELTA = Layer("delta", None, "by what differs from B", f"−{MOST_DELTA:.0f}", f"+{MOST_DELTA:.0f} bits")
"""How much likelier A makes a token than B. Shown during a comparison."""

LENS_LAYERS = (REACHABLE, COST)
"""The layers that show verdicts of a lens."""

LAYERS = {layer.name: layer for layer in (PROBABILITY, ENTROPY)}
"""The layers that `e` cycles through; the plain one comes last."""
MORE_LAYERS = {layer.name: layer for layer in (RANK, SURPRISAL, RELATIVE, BOUNDARIES, *LENS_LAYERS)}
"""The layers that `E` cycles through."""


def every_layer() -> dict[str, Layer]:
    """All layers by their names."""
    return {PLAIN.name: PLAIN, **LAYERS, **MORE_LAYERS, DELTA.name: DELTA}


def listed(layers: Iterable[Layer]) -> str:
    """The quantities of some layers, for a sentence.

    >>> listed(MORE_LAYERS.values())
    'by rank, surprisal, probability relative to the best, token boundaries, reachability, cost'
    """
    return "by " + ", ".join(layer.by.removeprefix("by ") for layer in layers)
