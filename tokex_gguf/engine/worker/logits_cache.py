"""The latest rows of logits, whole: for tokens outside the table, and for lenses."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tokex_gguf.engine.worker.logit_math import Logits

MOST_BYTES = 8_000_000
"""Memory for rows: 13 with Qwen's vocabulary, 40 with SmolLM2's."""
MOST_ROWS = 64
"""The most rows, with small vocabularies: a lookup compares them one by one."""

BYTES_AHEAD = 16_000_000
"""Further memory, for rows of lookahead: 26 with Qwen's vocabulary."""


class LogitsRow(NamedTuple):
    """The logits after a path."""

    logits: Logits
    """Shape (vocabulary size,)."""
    log_sum: float
    """The log-sum-exp of the logits: a logit minus it is a log-probability."""
    strict: bool = False
    """Whether the logits do not depend on what was decoded before."""


class LogitsCache:
    """The latest rows of logits, by path, as many as there is room for."""

    def __init__(self, size: int) -> None:
        """`size`: tokens in the vocabulary, of 4 bytes each in a row."""
        self.room: int = min(MOST_ROWS, max(1, MOST_BYTES // (4 * size)))
        """The most rows; at least one, which a search reads."""
        self._rows: deque[tuple[list[int], LogitsRow]] = deque(maxlen=self.room)

    def keep(self, path: list[int], row: LogitsRow) -> None:
        """Copies a row: the next decode overwrites it."""
        if self.of(path) is None:
            self._rows.append((path, row._replace(logits=row.logits.copy())))

    def of(self, path: list[int]) -> LogitsRow | None:
        """The row after a path, if it is kept."""
        return next((row for held, row in reversed(self._rows) if _same(held, path)), None)


COMPARED_END = 16
"""Tokens at the end of paths that are compared first: branches have all earlier ones in common."""


def _same(one: list[int], other: list[int]) -> bool:
    return one[-COMPARED_END:] == other[-COMPARED_END:] and one == other


class _RowAhead(NamedTuple):
    path: list[int]
    row: LogitsRow
    keys: int
    """Keys that lead there from the player's path."""


FAR_KEYS = 1_000_000
"""The number of keys to a path that is neither a continuation of the player's path nor a prefix of it."""


class RowsAhead:
    """Rows of logits after branches of the player's path: those that the fewest keys lead to.

    They have their own memory: there are hundreds, and they would push out the rows of the player's path.
    """

    def __init__(self, size: int) -> None:
        """`size`: tokens in the vocabulary, of 4 bytes each in a row."""
        self.room: int = min(MOST_ROWS, max(1, BYTES_AHEAD // (4 * size)))
        """The most rows."""
        self._rows: list[_RowAhead] = []

    def keep(self, path: list[int], row: LogitsRow, keys: int) -> None:
        """Copies a row: the next decode overwrites it. Where room is short, it replaces one that more keys lead to."""
        if self.of(path) is not None:
            return
        if len(self._rows) >= self.room:
            farthest = max(self._rows, key=lambda one: one.keys, default=None)
            if farthest is None or farthest.keys <= keys:
                return
            self._rows.remove(farthest)
            logits = farthest.row.logits  # new memory takes several times as long to write to
            logits[:] = row.logits
        else:
            logits = row.logits.copy()
        self._rows.append(_RowAhead(path, row._replace(logits=logits), keys))

    def move(self, path: list[int], keys: Callable[[tuple[int, ...]], int]) -> None:
        """Counts all keys again for another path of the player; `keys`: how many lead from there to a branch.

        To a prefix of the path, one key leads for each token less. Rows of other paths stay until room is short.
        """

        def keys_to(other: list[int]) -> int:
            size = len(path)
            if other[:size] == path:
                return keys(tuple(other[size:]))
            return size - len(other) if path[: len(other)] == other else FAR_KEYS

        self._rows = [one._replace(keys=keys_to(one.path)) for one in self._rows]

    def of(self, path: list[int]) -> LogitsRow | None:
        """The row after a path, if it is kept."""
        return next((one.row for one in self._rows if _same(one.path, path)), None)
