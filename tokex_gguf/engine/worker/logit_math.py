"""From logits to numbers: entropy, the k most likely tokens, probability and rank of one token.

Everything is exact over the whole vocabulary; nothing is sampled or cut off.
"""

import math
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokex_gguf.values.distribution import Distribution, TokenLogprob

Logits = NDArray[np.float32]

_BLOCK = 64
RUN = 512
_LOWEST = np.finfo(np.float32).min
LOG2_E = 1 / math.log(2)


class NotFinite(ValueError):
    """The logits have NaN, or only infinities: a broken model file."""


class Statistics:
    """Buffers for one vocabulary size, used again for every row."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        # Single precision sums short runs only: over a whole vocabulary it would lose five digits. The padding of
        # the last run has weight 0.
        runs = (-(-vocab_size // RUN), RUN)
        self._shifted_runs, self._weight_runs = np.zeros(runs, np.float32), np.zeros(runs, np.float32)
        self._shifted, self._weights = self._shifted_runs.reshape(-1), self._weight_runs.reshape(-1)

    def distribution(self, logits: Logits, top: int) -> tuple[Distribution, float]:
        """The distribution of one row, and its log-sum-exp for `taken`.

        `logits`: shape (vocab_size,). `top`: how many candidates. Raises NotFinite.
        """
        entropy, log_sum = self.entropy(logits)
        tokens = top_ids(logits, top)
        ids, logprobs = array("i"), array("d")
        ids.frombytes(tokens.astype(np.intc).tobytes())
        logprobs.frombytes((logits[tokens].astype(np.float64) - log_sum).tobytes())
        return Distribution(entropy, ids, logprobs), log_sum

    def entropy(self, logits: Logits) -> tuple[float, float]:
        """The entropy of up to `vocab_size` logits, in bits, and their log-sum-exp.

        Raises NotFinite.
        """
        peak = float(logits.max())
        if not math.isfinite(peak):
            raise NotFinite(f"largest logit is {peak}")
        count = len(logits)
        runs = -(-count // RUN)
        np.subtract(logits, np.float32(peak), out=self._shifted[:count])
        np.exp(self._shifted[:count], out=self._weights[:count])
        self._shifted[count : runs * RUN] = self._weights[count : runs * RUN] = 0
        total = float(self._weight_runs[:runs].sum(axis=1).sum(dtype=np.float64))
        # Entropy = log(sum w) - sum(w * shifted) / sum w, in nats, with w = exp(shifted).
        moment = self._moment(runs)
        if math.isnan(moment):
            # A logit of minus infinity has weight 0 and must add 0, not 0 * inf.
            np.maximum(self._shifted, _LOWEST, out=self._shifted)
            moment = self._moment(runs)
        return max(0.0, (math.log(total) - moment / total) * LOG2_E), peak + math.log(total)

    def _moment(self, runs: int) -> float:
        products = np.einsum("ij,ij->i", self._weight_runs[:runs], self._shifted_runs[:runs])
        return float(products.sum(dtype=np.float64))


def top_ids(logits: Logits, top: int) -> NDArray[np.intp]:
    """The ids of the `top` largest logits, largest first, smaller id first among equals.

    Each block of 64 holds at least its own maximum, so the k-th largest of the
    blocks' maxima is no larger than the k-th largest logit: only logits that reach
    it need sorting, a few dozen of 151,936.
    """
    survivors = reaching(logits, top)
    order = np.lexsort((survivors, -logits[survivors]))
    return survivors[order[:top]]


def reaching(values: NDArray[Any], top: int) -> NDArray[np.intp]:
    """The indexes of the `top` largest values, and perhaps of some more, in order."""
    size = values.shape[0]
    blocks = size // _BLOCK
    if blocks <= top:
        return np.arange(size)
    # A block is a column, so that whole rows are compared at once.
    maxima = values[: blocks * _BLOCK].reshape(_BLOCK, blocks).max(axis=0)
    return np.flatnonzero(values >= np.partition(maxima, blocks - top)[blocks - top])


def taken(logits: Logits, log_sum: float, token: int) -> TokenLogprob:
    """Log-probability and rank of one token of a row, ranked as `top_ids` does."""
    value = logits[token]
    rank = 1 + int(np.count_nonzero(logits > value)) + int(np.count_nonzero(logits[:token] == value))
    return TokenLogprob(float(value) - log_sum, rank)
