"""The logits that were computed last, kept whole: for tokens that no table lists."""

from collections import deque

from tokex_gguf.engine.statistics import Logits

ROWS = 8
"""Rows kept: 5 MB with Qwen's vocabulary."""


class Rows:
    """Rows of logits by path, the latest ROWS of them."""

    def __init__(self) -> None:
        self._rows: deque[tuple[list[int], Logits]] = deque(maxlen=ROWS)

    def keep(self, path: list[int], row: Logits) -> None:
        """Copies a row, shape (vocabulary size,): the next decode overwrites it."""
        if self.of(path) is None:
            self._rows.append((path, row.copy()))

    def of(self, path: list[int]) -> Logits | None:
        """The row after a path, if it is kept."""
        return next((row for held, row in reversed(self._rows) if held == path), None)
