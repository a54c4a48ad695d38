"""Whether a model fits into memory, and how long a context fits with it. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, Protocol

from tokex_gguf.values.formatting import size_of
from tokex_gguf.values.record import record, replace

OVERHEAD = 100_000_000
"""Bytes of the two processes without a model. This and the next figure were measured."""
BYTES_PER_VOCABULARY_TOKEN = 850
"""Bytes of a token of the vocabulary besides its weights: its text, and its logits for a batch."""
RECURRENT_SEQUENCES = 4
"""Sequences for which recurrent models keep a state."""
WORKER_BUFFER_BYTES, WORKER_BYTES_PER_LOGIT = 50_000_000, 192
"""Bytes of an RPC worker besides weights and cells, and for each token of the vocabulary."""
SMALLEST_CONTEXT = 256
"""KV cells of a context, at the least."""
CELL_BYTES = {"f16": 2.0, "q8_0": 34 / 32}
"""Bytes of a value in a KV cell, by its type; q8_0 has blocks of 32 with a scale of two bytes."""
LEARNED_POSITIONS = ("gpt2", "starcoder")
"""Architectures with a table of positions, which ends at the trained context."""


class Sizes(Protocol):
    """The fields of a model's header that are used here."""

    @property
    def architecture(self) -> str:
        """GGUF's name of the architecture."""

    @property
    def context_trained(self) -> int:
        """Tokens; 0: unknown."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors."""

    @property
    def repacked_bytes(self) -> int:
        """Bytes of the tensors whose types ggml may rearrange into a copy."""

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary."""

    @property
    def state_bytes(self) -> int:
        """Bytes of a sequence's recurrent state."""

    def kv_bytes_per_token(self, bytes_per_value: float) -> int:
        """Bytes of a KV cell."""


class TooLarge(Exception):
    """The model does not fit into memory. The message has the numbers."""


@record
class Fit:
    """How a model is to be loaded."""

    context: int
    """KV cells at the start; 0: they grow as needed."""
    most: int = 0
    """KV cells at the most; 0: the trained context."""
    notice: str = ""
    """A line for the player."""
    repack: bool = False
    """Whether ggml may rearrange the weights of some types into a copy, for faster kernels."""


def fit(model: Sizes, *, context: int, kv: str, free: int, total: int, weights: int = 0) -> Fit:
    """How to load a model with `free` of `total` bytes of memory for this program; zeros: unknown, nothing is checked.

    `context`: requested KV cells, 0: as needed. `weights`: bytes of all of a split model's files. Raises TooLarge.
    """
    # If most weights are of other types, the copy takes memory and saves no time.
    repack = 2 * model.repacked_bytes >= model.weight_bytes
    context_notice = ""
    if 0 < model.context_trained < context and model.architecture in LEARNED_POSITIONS:
        context_notice = f"context {context}: the model has {model.context_trained:,} positions, and no more"
        context = model.context_trained
    fitted = _fit_cells(model, context, kv, free, total, weights)
    if 0 < model.context_trained < fitted.context:
        trained = f"the model was trained for {model.context_trained:,} tokens"
        context_notice = f"context {fitted.context}: {trained}, numbers behind that are not to be trusted"
    return replace(fitted, notice="; ".join(filter(None, [fitted.notice, context_notice])), repack=repack)


def needed(model: Sizes, *, cells: int, kv: str, weights: int = 0) -> int:
    """Bytes of memory that a model takes with so many KV cells. `weights`: bytes of all of a split model's files."""
    return _bytes_without_cells(model, weights or model.weight_bytes) + max(
        SMALLEST_CONTEXT, cells
    ) * model.kv_bytes_per_token(CELL_BYTES[kv])


def _bytes_without_cells(model: Sizes, weights: int) -> int:
    """Bytes of memory that a model takes without KV cells."""
    return weights + OVERHEAD + BYTES_PER_VOCABULARY_TOKEN * model.vocab_size + RECURRENT_SEQUENCES * model.state_bytes


def _fit_cells(model: Sizes, context: int, kv: str, free: int, total: int, weights: int) -> Fit:
    weights = weights or model.weight_bytes
    cell = model.kv_bytes_per_token(CELL_BYTES[kv])
    if not total:
        return Fit(context)
    least = _bytes_without_cells(model, weights)
    smallest = least + SMALLEST_CONTEXT * cell
    if smallest > total:
        raise TooLarge(
            f"it needs {size_of(smallest)} of memory ({size_of(weights)} for its weights) and this program can have "
            f"{size_of(total)}: take a smaller quantisation, or a smaller model"
        )
    room = max(0, free - least)
    cells = max(SMALLEST_CONTEXT, room // cell) if cell else 0
    notice = ""
    if smallest > free:
        notice = f"{size_of(smallest)} of memory are needed and {size_of(free)} available: this will be slow"
    if not cell:
        return Fit(context, notice=notice)
    if context > cells:
        reason = f"context {context} needs {size_of(context * cell)} beside {size_of(weights)} of weights"
        return Fit(cells, cells, notice or f"{reason}, {size_of(free)} are available: {cells} tokens instead")
    return Fit(context, 0 if context else cells, notice)


class WorkerMemory(NamedTuple):
    """A device of an RPC worker, and its memory in bytes; zeros: unknown."""

    worker: str
    free: int
    total: int


def layers_on(count: int, free: Sequence[int]) -> list[range]:
    """The layers, of `count` with the output, that llama.cpp puts on each device, by its free memory.

    >>> layers_on(31, [1000, 1000])
    [range(0, 16), range(16, 31)]
    """
    ends = list(accumulate(free))
    # `min`: rounding must not leave a layer after the last device.
    on = [min(bisect_right(ends, layer * ends[-1] / count), len(free) - 1) for layer in range(count)]
    starts = [bisect_right(on, device - 1) for device in range(len(free) + 1)]
    return [range(start, end) for start, end in pairwise(starts)]


def over_workers(model: Sizes, layers: Sequence[int], devices: Sequence[WorkerMemory], *, context: int, kv: str) -> int:
    """How many KV cells fit where RPC workers compute all layers; 0: unknown, nothing is checked.

    `layers`: bytes of each layer's weights, and of the output's. `context`: requested cells. Raises TooLarge.
    """
    if not all(device.total for device in devices) or not any(device.free for device in devices):
        return 0
    count = len(layers) - 1
    cell, state = model.kv_bytes_per_token(CELL_BYTES[kv]), RECURRENT_SEQUENCES * model.state_bytes
    device_cells: list[int] = []
    for device, share in zip(devices, layers_on(len(layers), [device.free for device in devices]), strict=True):
        attending = len(range(share.start, min(share.stop, count)))
        weights = sum(layers[share.start : share.stop])
        least = (
            weights
            + WORKER_BUFFER_BYTES
            + WORKER_BYTES_PER_LOGIT * model.vocab_size
            + (state * attending // count if count else 0)
        )
        share_cell = cell * attending // count if count else 0
        needed = least + (context or SMALLEST_CONTEXT) * share_cell
        if needed > device.free and share:
            beside = (
                f", {size_of((context or SMALLEST_CONTEXT) * share_cell)} for a context of {context}" if context else ""
            )
            raise TooLarge(
                f"the RPC worker {device.worker} needs {size_of(needed)} of memory ({size_of(weights)} for "
                f"{len(share)} of {len(layers)} layers{beside}) and has {size_of(device.free)}: "
                "add a worker, or take a smaller quantisation"
            )
        if share_cell:
            device_cells.append((device.free - least) // share_cell)
    return min(device_cells, default=0)
