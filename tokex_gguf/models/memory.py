"""Whether a model fits into the machine's memory, and how long a context fits beside it. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import NamedTuple, Protocol

from tokex_gguf.values.formatting import size_of
from tokex_gguf.values.record import record

OVERHEAD = 100_000_000
"""Bytes of the two processes without any model. This and the next were measured."""
PER_TOKEN = 850
"""Bytes that a token of the vocabulary takes beside its weights: its text, and its logits for a batch."""
STATES = 4
"""Sequences that recurrent models keep a state for."""
BUFFERS, PER_LOGIT = 50_000_000, 192
"""Bytes that an RPC worker takes beside its weights and cells, and for each token of the vocabulary."""
SMALLEST = 256
"""KV cells that every context has."""
CELL_BYTES = {"f16": 2.0, "q8_0": 34 / 32}
"""Bytes of a value in a KV cell, by its type; q8_0 has blocks of 32 with a scale of two bytes."""
LEARNED_POSITIONS = ("gpt2", "starcoder")
"""Architectures with a table of positions: there are no more than the model was trained for."""


class Sizes(Protocol):
    """What of a model's header counts here."""

    @property
    def architecture(self) -> str:
        """In GGUF's words."""

    @property
    def context_trained(self) -> int:
        """Tokens; 0: it does not say."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors."""

    @property
    def repacked_bytes(self) -> int:
        """Of those, the ones of types that ggml may rearrange into a copy."""

    @property
    def vocab_size(self) -> int:
        """Tokens."""

    @property
    def state_bytes(self) -> int:
        """Bytes of a sequence's recurrent state."""

    def kv_bytes_per_token(self, bytes_per_value: float) -> int:
        """Bytes of a KV cell."""


class TooLarge(Exception):
    """The model cannot be loaded here; says the numbers."""


@record
class Fit:
    """How a model is to be loaded."""

    context: int
    """KV cells from the beginning; 0: they grow."""
    most: int = 0
    """KV cells that they may grow to; 0: as many as the model was trained for."""
    notice: str = ""
    """What the player should know."""
    repack: bool = False
    """Whether ggml may rearrange the weights of some types into a copy, for faster kernels."""


def fit(model: Sizes, *, context: int, kv: str, free: int, total: int, weights: int = 0) -> Fit:
    """How to load a model with `free` of `total` bytes of memory for this program; zeros: unknown, all is well.

    `context`: KV cells asked for, 0: as needed. `weights`: bytes of all of a split model's files. Raises TooLarge.
    """
    # Where most weights are of other types, their copy takes memory and saves no time.
    repack = 2 * model.repacked_bytes >= model.weight_bytes
    beyond = ""
    if 0 < model.context_trained < context and model.architecture in LEARNED_POSITIONS:
        beyond = f"context {context}: the model has {model.context_trained:,} positions, and no more"
        context = model.context_trained
    made = _cells(model, context, kv, free, total, weights)
    if 0 < model.context_trained < made.context:
        trained = f"the model was trained for {model.context_trained:,} tokens"
        beyond = f"context {made.context}: {trained}, numbers behind that are not to be trusted"
    return replace(made, notice="; ".join(filter(None, [made.notice, beyond])), repack=repack)


def needed(model: Sizes, *, cells: int, kv: str, weights: int = 0) -> int:
    """Bytes of memory that a model takes with so many KV cells. `weights`: bytes of all of a split model's files."""
    return _least(model, weights or model.weight_bytes) + max(SMALLEST, cells) * model.kv_bytes_per_token(
        CELL_BYTES[kv]
    )


def _least(model: Sizes, weights: int) -> int:
    """What it takes without any cell."""
    return weights + OVERHEAD + PER_TOKEN * model.vocab_size + STATES * model.state_bytes


def _cells(model: Sizes, context: int, kv: str, free: int, total: int, weights: int) -> Fit:
    weights = weights or model.weight_bytes
    cell = model.kv_bytes_per_token(CELL_BYTES[kv])
    if not total:
        return Fit(context)
    least = _least(model, weights)
    smallest = least + SMALLEST * cell
    if smallest > total:
        raise TooLarge(
            f"it needs {size_of(smallest)} of memory ({size_of(weights)} for its weights) and this program can have "
            f"{size_of(total)}: take a smaller quantisation, or a smaller model"
        )
    room = max(0, free - least)
    cells = max(SMALLEST, room // cell) if cell else 0
    tight = ""
    if smallest > free:
        tight = f"{size_of(smallest)} of memory are needed and {size_of(free)} available: this will be slow"
    if not cell:
        return Fit(context, notice=tight)
    if context > cells:
        why = f"context {context} needs {size_of(context * cell)} beside {size_of(weights)} of weights"
        return Fit(cells, cells, tight or f"{why}, {size_of(free)} are available: {cells} tokens instead")
    return Fit(context, 0 if context else cells, tight)


class WorkerMemory(NamedTuple):
    """A device of an RPC worker, and its memory in bytes; zeros: unknown."""

    worker: str
    free: int
    total: int


def layers_on(count: int, free: Sequence[int]) -> list[range]:
    """Which of so many layers, the output counted, llama.cpp puts on each device: by the memory that is free there.

    >>> layers_on(31, [1000, 1000])
    [range(0, 16), range(16, 31)]
    """
    ends = list(accumulate(free))
    # Where the last device ends, rounding is not to leave a layer over.
    on = [min(bisect_right(ends, layer * ends[-1] / count), len(free) - 1) for layer in range(count)]
    starts = [bisect_right(on, device - 1) for device in range(len(free) + 1)]
    return [range(start, end) for start, end in pairwise(starts)]


def over_workers(model: Sizes, layers: Sequence[int], places: Sequence[WorkerMemory], *, context: int, kv: str) -> int:
    """How many KV cells there is room for where RPC workers compute all layers; 0: unknown, all is well.

    `layers`: bytes of each layer's weights, and of the output's. `context`: cells asked for. Raises TooLarge.
    """
    if not all(place.total for place in places) or not any(place.free for place in places):
        return 0
    count = len(layers) - 1
    cell, state = model.kv_bytes_per_token(CELL_BYTES[kv]), STATES * model.state_bytes
    rooms: list[int] = []
    for place, own in zip(places, layers_on(len(layers), [place.free for place in places]), strict=True):
        attending = len(range(own.start, min(own.stop, count)))
        weights = sum(layers[own.start : own.stop])
        least = weights + BUFFERS + PER_LOGIT * model.vocab_size + (state * attending // count if count else 0)
        own_cell = cell * attending // count if count else 0
        needed = least + (context or SMALLEST) * own_cell
        if needed > place.free and own:
            beside = f", {size_of((context or SMALLEST) * own_cell)} for a context of {context}" if context else ""
            raise TooLarge(
                f"the RPC worker {place.worker} needs {size_of(needed)} of memory ({size_of(weights)} for "
                f"{len(own)} of {len(layers)} layers{beside}) and has {size_of(place.free)}: "
                "add a worker, or take a smaller quantisation"
            )
        if own_cell:
            rooms.append((place.free - least) // own_cell)
    return min(rooms, default=0)
