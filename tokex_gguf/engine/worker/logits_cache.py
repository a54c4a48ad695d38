"""The logits that were computed last, kept whole: for tokens that no table lists, and for lenses."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tokex_gguf.engine.worker.logit_math import Logits

MOST_BYTES = 8_000_000
"""Memory for rows: 13 with Qwen's vocabulary, 40 with SmolLM2's."""
MOST_ROWS = 64
"""Rows kept of small vocabularies: they are looked through one by one."""

BYTES_AHEAD = 16_000_000
"""Memory for rows of lookahead, beside that: 26 with Qwen's vocabulary."""


class LogitsRow(NamedTuple):
    """The logits after a path."""

    logits: Logits
    """Shape (vocabulary size,)."""
    log_sum: float
    """Their log-sum-exp: a logit less this is a log-probability."""
    strict: bool = False
    """Whether they are the same whatever was decoded before."""


class LogitsCache:
    """Rows of logits by path, the latest that there is room for."""

    def __init__(self, size: int) -> None:
        """`size`: tokens in the vocabulary, of 4 bytes each in a row."""
        self.room: int = min(MOST_ROWS, max(1, MOST_BYTES // (4 * size)))
        """Rows kept at the most: one at least, which a search reads."""
        self._rows: deque[tuple[list[int], LogitsRow]] = deque(maxlen=self.room)

    def keep(self, path: list[int], row: LogitsRow) -> None:
        """Copies a row: the next decode overwrites it."""
        if self.of(path) is None:
            self._rows.append((path, row._replace(logits=row.logits.copy())))

    def of(self, path: list[int]) -> LogitsRow | None:
        """The row after a path, if it is kept."""
        return next((row for held, row in reversed(self._rows) if _same(held, path)), None)


END = 16
"""Tokens at the end of paths by which most are told apart: branches have all else in common."""


def _same(one: list[int], other: list[int]) -> bool:
    return one[-END:] == other[-END:] and one == other


class _RowAhead(NamedTuple):
    path: list[int]
    row: LogitsRow
    keys: int
    """Keys that lead there from where the player is."""


FAR_KEYS = 1_000_000
"""In place of a number of keys: a path that neither goes on from where the player is nor leads there."""


class RowsAhead:
    """Rows of logits after branches behind the player's path: those that the fewest keys lead to.

    They have a room of their own: there are hundreds, and the rows of where the player is would go for them.
    """

    def __init__(self, size: int) -> None:
        """`size`: tokens in the vocabulary, of 4 bytes each in a row."""
        self.room: int = min(MOST_ROWS, max(1, BYTES_AHEAD // (4 * size)))
        """Rows kept at the most."""
        self._rows: list[_RowAhead] = []

    def keep(self, path: list[int], row: LogitsRow, keys: int) -> None:
        """Copies a row, where there is room or one that more keys lead to: the next decode overwrites it."""
        if self.of(path) is not None:
            return
        if len(self._rows) >= self.room:
            farthest = max(self._rows, key=lambda one: one.keys, default=None)
            if farthest is None or farthest.keys <= keys:
                return
            self._rows.remove(farthest)
            logits = farthest.row.logits  # memory that is touched for the first time takes several times as long
            logits[:] = row.logits
        else:
            logits = row.logits.copy()
        self._rows.append(_RowAhead(path, row._replace(logits=logits), keys))

    def move(self, path: list[int], keys: Callable[[tuple[int, ...]], int]) -> None:
        """The player is at another path; `keys`: how many lead from there to a branch behind it.

        To where the path came by, as many lead as it has tokens more. What is elsewhere stays until there is no room.
        """

        def away(other: list[int]) -> int:
            size = len(path)
            if other[:size] == path:
                return keys(tuple(other[size:]))
            return size - len(other) if path[: len(other)] == other else FAR_KEYS

        self._rows = [one._replace(keys=away(one.path)) for one in self._rows]

    def of(self, path: list[int]) -> LogitsRow | None:
        """The row after a path, if it is kept."""
        return next((one.row for one in self._rows if _same(one.path, path)), None)
