"""Finding tokens of the vocabulary by their text."""

from array import array
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tokex_gguf.engine.query import as_bytes, query_texts, token_id
from tokex_gguf.engine.worker.logit_math import Logits, top_ids


class Index:
    """The search index: the texts of a whole vocabulary as one array of bytes, built in slices."""

    SLICE = 500
    """Tokens of a slice: less than a millisecond, which a request may have to wait."""
    _SEPARATOR = b"\xff"
    """Between two texts: no byte of UTF-8, so that no match spans it."""

    def __init__(self, size: int, data_of: Callable[[int], bytes]) -> None:
        self._size = size
        self._data_of = data_of
        self._texts = bytearray()
        """In lower case, by token, each followed by `_SEPARATOR`."""
        self._starts = array("I")
        """The start of each text, for the tokens read so far."""

    @property
    def complete(self) -> bool:
        """Whether the whole vocabulary is read."""
        return len(self._starts) == self._size

    def extend(self) -> None:
        """Reads the next slice."""
        start = len(self._starts)
        for token in range(start, min(start + self.SLICE, self._size)):
            text = self._data_of(token)
            text = text.lower() if text.isascii() else text.decode("utf-8", "replace").lower().encode()
            self._starts.append(len(self._texts))
            self._texts += text + self._SEPARATOR

    def matching(self, query: str) -> NDArray[np.intp]:
        """The ids of the tokens whose text contains a query, in any case, and the query itself if it is an id.

        Blanks, tabs and line breaks around the query count only inside double quotes; other spaces always do.
        """
        while not self.complete:
            self.extend()
        texts = query_texts(query)
        if not texts:
            return np.arange(self._size)
        tokens = self._containing(texts[0])
        for text in texts[1:]:
            tokens = np.union1d(tokens, self._containing(text))
        if (token := token_id(query)) is not None and token < self._size:
            tokens = np.union1d(tokens, token)
        return tokens.astype(np.intp)

    def spelling(self, text: str) -> NDArray[np.intp]:
        """The ids of the tokens whose whole text this is, letter by letter, also with one space before it."""
        while not self.complete:
            self.extend()
        exact = text.encode("utf-8", "surrogatepass")
        wanted = as_bytes(text.lower())
        if not wanted:
            return np.arange(0)
        containing = self._containing(wanted)
        ends = np.append(np.frombuffer(self._starts, np.uint32)[1:], len(self._texts)).astype(np.int64)
        lengths = ends - np.frombuffer(self._starts, np.uint32) - len(self._SEPARATOR)
        # Few have that length: a single letter is in half of all tokens.
        likely = containing[(lengths[containing] == len(wanted)) | (lengths[containing] == len(wanted) + 1)]
        return np.array([token for token in likely if self._data_of(int(token)) in (exact, b" " + exact)], np.intp)

    def _containing(self, wanted: bytes) -> NDArray[np.intp]:
        texts = np.frombuffer(self._texts, np.uint8)
        matches = np.zeros(len(texts), bool)
        last = max(0, len(texts) - len(wanted) + 1)
        matches[:last] = texts[:last] == wanted[0]
        for offset, byte in enumerate(wanted[1:], start=1):
            matches[:last] &= texts[offset : offset + last] == byte
        return np.flatnonzero(np.logical_or.reduceat(matches, np.frombuffer(self._starts, np.uint32)))


def likeliest(logits: Logits, among: NDArray[np.intp], top: int) -> NDArray[np.intp]:
    """The `top` ids of `among` with the largest logits, largest first, smaller id first among equals."""
    if len(among) == len(logits):
        return top_ids(logits, top)
    values = logits[among]
    if len(among) > top:
        # All equal values at the threshold are kept until they are sorted.
        threshold = np.partition(values, len(values) - top)[len(values) - top]
        among, values = among[values >= threshold], values[values >= threshold]
    return among[np.lexsort((among, -values))[:top]]
