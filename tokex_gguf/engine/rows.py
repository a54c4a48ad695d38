"""The logits that were computed last, kept whole: for tokens that no table lists."""

import numpy as np

from tokex_gguf.engine.statistics import Logits

BYTES = 8_000_000
"""Memory for rows: 13 with Qwen's vocabulary, 40 with SmolLM2's."""
MOST = 64
"""Rows kept of small vocabularies: they are looked through one by one."""


class Rows:
    """Rows of logits by path, the latest that there is room for."""

    def __init__(self, size: int) -> None:
        """`size`: tokens in the vocabulary, of 4 bytes each in a row."""
        self.room: int = max(1, min(MOST, BYTES // (4 * size)))
        """Rows kept at the most."""
        # In one piece, taken once: memory for each row anew would cost more than filling it.
        self._rows = np.empty((self.room, size), np.float32)
        self._paths: list[list[int]] = [[]] * self.room
        self._oldest = 0

    def keep(self, path: list[int], row: Logits) -> None:
        """Copies a row, shape (vocabulary size,): the next decode overwrites it."""
        if self.of(path) is None:
            self._rows[self._oldest], self._paths[self._oldest] = row, path
            self._oldest = (self._oldest + 1) % self.room

    def of(self, path: list[int]) -> Logits | None:
        """The row after a path, if it is kept: a view that holds until another row is."""
        return self._rows[self._paths.index(path)] if path in self._paths else None
