"""The noise: how far apart strict answers to one question can be, measured with one model on this machine.

The tip of a short path is computed in batches of several sizes, with its prompt in other parts, in another sequence,
and by one thread. If all results are identical, strict answers only differ where the model's do.
"""

import math
import random
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from tokex_gguf.engine.worker.llama import BATCH, STEP, STRICT, BatchEntry, Llama
from tokex_gguf.engine.worker.logit_math import Logits

PATH_TOKENS = 60
"""Tokens of the path: a multiple of STEP."""

Decode = Callable[[list[BatchEntry], int], Logits]
"""Decodes a batch with a number of threads; 0: as usual."""


def measure(model: Llama, decode: Decode, first: int, second: int) -> float:
    """The largest measured difference of log2 of a probability; 0: all are identical.

    `first` and `second`: two empty sequences, which are not empty afterwards. Raises as `Llama.decode` does.
    """
    worst = 0.0
    expected = None
    for tip in _tips(model, decode, first, second):
        if expected is None:
            expected = tip
        elif not np.array_equal(tip, expected):
            worst = max(worst, _largest_gap(tip, expected))
    return worst


def _largest_gap(one: Logits, other: Logits) -> float:
    bits = (_log2(one), _log2(other))
    with np.errstate(invalid="ignore"):
        gaps = np.abs(bits[0] - bits[1])
    return float(np.nanmax(gaps))  # NaN where both rule out a token


def _log2(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - float(logits.max())
    result: NDArray[np.float64] = (shifted - math.log(np.exp(shifted).sum())) / math.log(2)
    return result


def _tips(model: Llama, decode: Decode, first: int, second: int) -> Iterator[Logits]:
    """The logits after the path, computed in several ways; the first as for a prompt."""
    size, bos = model.vocabulary.size, model.vocabulary.bos
    chance = random.Random(PATH_TOKENS)
    path = [chance.randrange(size) for _ in range(PATH_TOKENS)]
    if bos is not None:
        path[0] = bos

    def entries(sequence: int, start: int, end: int, rows: int) -> list[BatchEntry]:
        return [BatchEntry(path[place], sequence, place, place >= PATH_TOKENS - rows) for place in range(start, end)]

    def fed(sequence: int, *borders: int) -> Logits:
        for start, end in zip((0, *borders), (*borders, PATH_TOKENS), strict=True):
            logits = decode(entries(sequence, start, end, PATH_TOKENS), 0)
        return np.array(logits[-1])

    yield fed(first, 4 * STRICT)
    yield fed(second, PATH_TOKENS // 3, 2 * PATH_TOKENS // 3)
    if not model.can_cut:
        model.cut(second, 0)
        yield fed(second, PATH_TOKENS - BATCH + STEP + 1)  # their last batch has no padding
        return

    def last(count: int, threads: int = 0) -> Logits:
        """The tip in a batch of `count` tokens."""
        model.cut(second, 0)
        model.copy(first, second, PATH_TOKENS - count)
        return np.array(decode(entries(second, PATH_TOKENS - count, PATH_TOKENS, STRICT), threads)[-1])

    yield last(BATCH)
    yield last(2 * STRICT)
    yield last(STRICT + STEP)
    yield last(STRICT)
    yield last(2 * STRICT, threads=1)
