"""How two distributions differ over their whole vocabulary, from their logits."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokex_gguf.engine.worker.logit_math import RUN, Logits, NotFinite, taken, top_ids
from tokex_gguf.engine.worker.logits_cache import LogitsRow
from tokex_gguf.values.difference import Difference, TokenPair
from tokex_gguf.values.distribution import TokenLogprob

_FEW_TOKENS = 24
"""For more tokens, sorting all logits is faster than counting the higher ones for each."""


class RowDifferences:
    """Buffers for one vocabulary size, used again for every pair of rows."""

    def __init__(self, vocab_size: int) -> None:
        # As in `logit_math.Statistics`: single precision sums short runs only; the padding of the last run is 0.
        runs = (-(-vocab_size // RUN), RUN)
        self._ratio_runs, self._prob_runs = np.zeros(runs, np.float32), np.zeros(runs, np.float32)
        self._ratios = self._ratio_runs.reshape(-1)[:vocab_size]
        self._probs = self._prob_runs.reshape(-1)[:vocab_size]

    def difference(self, a: LogitsRow, b: LogitsRow, top: int, token: int | None = None) -> Difference:
        """How two rows differ, with the `top` likeliest tokens of each, and what both say of `token`.

        The same row twice differs by 0. Raises NotFinite.
        """
        firsts = top_ids(a.logits, max(1, top)).tolist(), top_ids(b.logits, max(1, top)).tolist()
        likely = list(dict.fromkeys([*firsts[0][:top], *firsts[1][:top]]))
        asked = likely if token is None else [*likely, token]
        both = zip(asked, _taken(a, asked, firsts[0]), _taken(b, asked, firsts[1]), strict=True)
        pairs = [TokenPair(*each) for each in both]
        rows = sorted(pairs[: len(likely)], key=lambda row: row.a.rank)
        kl, reverse = self._divergences(a, b)
        last = None if token is None else pairs[-1]
        return Difference(kl, reverse, firsts[0][0], firsts[1][0], tuple(rows), last)

    def _divergences(self, a: LogitsRow, b: LogitsRow) -> tuple[float, float]:
        """KL(A‖B) and KL(B‖A), in bits."""
        with np.errstate(invalid="ignore"):  # infinity minus infinity, where both rule out a token
            np.subtract(a.logits, b.logits, out=self._ratios)
        apart = a.log_sum - b.log_sum
        self._ratios -= np.float32(apart)
        rounded = apart - float(np.float32(apart))
        return self._mean(a, 1, -rounded), self._mean(b, -1, rounded)

    def _mean(self, row: LogitsRow, sign: int, more: float) -> float:
        """The mean of the log-ratios over a row's probabilities, plus `more` nats, in bits."""
        np.subtract(row.logits, np.float32(row.log_sum), out=self._probs)
        np.exp(self._probs, out=self._probs)
        with np.errstate(invalid="ignore"):
            nats = sign * float(np.einsum("ij,ij->i", self._prob_runs, self._ratio_runs).sum(dtype=np.float64))
        if not math.isfinite(nats):
            # A token that this row rules out adds nothing, whatever its ratio.
            possible = self._probs > 0
            nats = sign * float(np.dot(self._probs[possible].astype(np.float64), self._ratios[possible]))
            if math.isnan(nats):
                raise NotFinite("logits that are no numbers")
        return max(0.0, nats + more) / math.log(2)


def _taken(row: LogitsRow, tokens: Sequence[int], firsts: list[int]) -> list[TokenLogprob]:
    """Log-probabilities and ranks of some tokens in a row. `firsts`: its likeliest, in order."""
    ranks = {token: rank for rank, token in enumerate(firsts, 1)}
    others = [token for token in tokens if token not in ranks]
    if len(others) > _FEW_TOKENS:
        ranks.update(zip(others, _ranks(row.logits, np.array(others)), strict=True))
    return [
        TokenLogprob(float(row.logits[token]) - row.log_sum, ranks[token])
        if token in ranks
        else taken(row.logits, row.log_sum, token)
        for token in tokens
    ]


def _ranks(logits: Logits, tokens: NDArray[np.intp]) -> list[int]:
    """The ranks of many tokens, as `logit_math.taken` gives them."""
    ordered = np.sort(logits)
    values = logits[tokens]
    above = len(logits) - np.searchsorted(ordered, values, "right")
    equal = np.searchsorted(ordered, values, "right") - np.searchsorted(ordered, values, "left")
    before = [
        int(np.count_nonzero(logits[:token] == value)) if same > 1 else 0
        for token, value, same in zip(tokens.tolist(), values, equal.tolist(), strict=True)
    ]
    ranks: list[int] = (1 + above + np.array(before)).tolist()
    return ranks
