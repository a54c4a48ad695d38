"""A vocabulary's texts as a prefix tree: below an illegal text, no longer one is tested."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

TokenIds = NDArray[np.int32]


def starts_inside(data: bytes) -> bool:
    """Whether bytes start inside a character."""
    return data[:1] != b"" and data[0] & 0xC0 == 0x80


def unfinished(data: bytes) -> bytes:
    r"""The incomplete character at the end of some bytes.

    >>> unfinished(b"a\xe6\x97"), unfinished("日".encode())
    (b'\xe6\x97', b'')
    """
    if data[-1:] < b"\x80":
        return b""
    for length in range(1, min(3, len(data)) + 1):
        byte = data[-length]
        if byte & 0xC0 != 0x80:
            needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return data[-length:] if needed > length else b""
    return b""


def _is_text(data: bytes) -> bool:
    """Whether bytes are UTF-8 without NUL; the last character may be incomplete."""
    if not data or b"\0" in data:  # llama.cpp takes a NUL for the end of a token
        return False
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


class VocabularyTree:
    """The tokens of a vocabulary, each below the token with the longest prefix of its text.

    Only texts of whole characters have others below them: on an incomplete character, llama.cpp's grammar gives
    less certain answers than on a whole one.
    """

    def __init__(self, texts: list[bytes]) -> None:
        self._texts = texts
        self.whole = np.array([_is_text(data) for data in texts], np.bool_)
        """The texts that can follow a whole character, shape (V,)."""
        self._inside = [token for token, data in enumerate(texts) if starts_inside(data)]
        self._after: dict[bytes, TokenIds] = {}
        order = sorted(np.flatnonzero(self.whole).tolist(), key=texts.__getitem__)
        below: dict[int, list[int]] = {}
        parents: list[int] = []
        for token in order:
            data = texts[token]
            while parents and not data.startswith(texts[parents[-1]]):
                parents.pop()
            below.setdefault(parents[-1] if parents else -1, []).append(token)
            if not unfinished(data):
                parents.append(token)
        self._roots = np.array(below.pop(-1, []), np.int32)
        counts = np.zeros(len(texts), np.int64)
        counts[list(below)] = [len(children) for children in below.values()]
        self._begin = np.concatenate(([0], np.cumsum(counts)))
        children = [child for parent in sorted(below) for child in below[parent]]
        self._children = np.array(children, np.int32)

    def after(self, pending: bytes) -> TokenIds:
        """The tokens that can continue a begun character."""
        if pending not in self._after:
            if len(self._after) > 64:
                self._after.clear()
            fitting = [token for token in self._inside if _is_text(pending + self._texts[token])]
            self._after[pending] = np.array(fitting, np.int32)
        return self._after[pending]

    def legal(self, ask: Callable[[TokenIds], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """The tokens that `ask` finds legal, shape (V,). A text is legal only if its prefixes are."""
        mask = np.zeros(len(self._texts), np.bool_)
        asked = self._roots
        while len(asked):
            legal = asked[ask(asked)]
            mask[legal] = True
            begin, end = self._begin[legal], self._begin[legal + 1]
            counts = end - begin
            # The children of all legal tokens, each a run in the list of children.
            runs = np.repeat(begin - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
            asked = self._children[runs + np.arange(counts.sum())]
        return mask
