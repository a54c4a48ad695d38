"""Finding tokens of the vocabulary by their text."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tokex_gguf.engine.statistics import Logits, top_ids


class Index:
    """The texts of a whole vocabulary, made ready for searching a part at a time."""

    SLICE = 2000
    """Tokens read in one go: 3 ms, while nothing else is asked for."""

    def __init__(self, size: int, data_of: Callable[[int], bytes]) -> None:
        self._size = size
        self._data_of = data_of
        self._texts: list[str] = []
        """In lower case, by token."""
        self._last: tuple[str, list[int]] = ("", [])

    @property
    def complete(self) -> bool:
        """Whether all of the vocabulary is read."""
        return len(self._texts) == self._size

    def extend(self) -> None:
        """Reads the next slice."""
        start = len(self._texts)
        for token in range(start, min(start + self.SLICE, self._size)):
            self._texts.append(self._data_of(token).decode("utf-8", "replace").lower())

    def matching(self, query: str) -> NDArray[np.intp]:
        """The ids of the tokens whose text contains a query, in any case, and the one whose id it is.

        White space around the query counts only inside double quotes.
        """
        while not self.complete:
            self.extend()
        wanted = _wanted(query)
        if not wanted:
            return np.arange(self._size)
        before, among = self._last
        texts = self._texts
        # What contains a longer text contains its parts.
        tokens = among if before and before in wanted else range(self._size)
        found = [token for token in tokens if wanted in texts[token]]
        self._last = (wanted, found)
        number = query.strip()
        if number.isascii() and number.isdigit() and len(number) < 10 and int(number) < self._size:
            found = sorted({*found, int(number)})
        return np.array(found, np.intp)


def _wanted(query: str) -> str:
    """The text to look for.

    >>> _wanted(' The '), _wanted('" the"'), _wanted('"')
    ('the', ' the', '"')
    """
    text = query.strip()
    if text.startswith('"') and len(text) > 1:
        text = query.lstrip()[1:]
        text = text.removesuffix('"')
    return text.lower()


def likeliest(logits: Logits, among: NDArray[np.intp], top: int) -> NDArray[np.intp]:
    """The `top` ids among some with the largest logits, largest first, smaller id first among equals."""
    if len(among) == len(logits):
        return top_ids(logits, top)
    values = logits[among]
    if len(among) > top:
        # Equals at the border are all kept until they are sorted.
        threshold = np.partition(values, len(values) - top)[len(values) - top]
        among, values = among[values >= threshold], values[values >= threshold]
    return among[np.lexsort((among, -values))[:top]]
