"""The logits that were computed last, kept whole: for tokens that no table lists."""

from collections import deque
from typing import NamedTuple

from tokex_gguf.engine.worker.logit_math import Logits

BYTES = 8_000_000
"""Memory for rows: 13 with Qwen's vocabulary, 40 with SmolLM2's."""
MOST = 64
"""Rows kept of small vocabularies: they are looked through one by one."""


class Row(NamedTuple):
    """The logits after a path."""

    logits: Logits
    """Shape (vocabulary size,)."""
    log_sum: float
    """Their log-sum-exp: a logit less this is a log-probability."""
    strict: bool = False
    """Whether they are the same whatever was decoded before."""


class Rows:
    """Rows of logits by path, the latest that there is room for."""

    def __init__(self, size: int) -> None:
        """`size`: tokens in the vocabulary, of 4 bytes each in a row."""
        self.room: int = min(MOST, max(1, BYTES // (4 * size)))
        """Rows kept at the most: one at least, which a search reads."""
        self._rows: deque[tuple[list[int], Row]] = deque(maxlen=self.room)

    def keep(self, path: list[int], row: Row) -> None:
        """Copies a row: the next decode overwrites it."""
        if self.of(path) is None:
            self._rows.append((path, row._replace(logits=row.logits.copy())))

    def of(self, path: list[int]) -> Row | None:
        """The row after a path, if it is kept."""
        return next((row for held, row in reversed(self._rows) if held == path), None)
