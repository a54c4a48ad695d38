"""A vocabulary's texts by what they begin with: where a beginning is illegal, nothing longer is asked about."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

TokenIds = NDArray[np.int32]


def starts_inside(data: bytes) -> bool:
    """Whether bytes begin inside a character."""
    return data[:1] != b"" and data[0] & 0xC0 == 0x80


def unfinished(data: bytes) -> bytes:
    r"""The bytes of a character that has begun at the end of others.

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
    """Whether bytes are UTF-8 up to a last character that may be unfinished, and hold no NUL."""
    if not data or b"\0" in data:  # llama.cpp takes a NUL for the end of a token
        return False
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


class VocabularyTree:
    """The tokens of a vocabulary, each below the longest other one that it begins with.

    Only texts of whole characters have others below them: of an unfinished one, llama.cpp's grammar says less
    than of the finished.
    """

    def __init__(self, texts: list[bytes]) -> None:
        self._texts = texts
        self.whole = np.array([_is_text(data) for data in texts], np.bool_)
        """Which texts can stand where no character has begun, shape (V,)."""
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
        """The tokens that can follow a character that has begun."""
        if pending not in self._after:
            if len(self._after) > 64:
                self._after.clear()
            fitting = [token for token in self._inside if _is_text(pending + self._texts[token])]
            self._after[pending] = np.array(fitting, np.int32)
        return self._after[pending]

    def legal(self, ask: Callable[[TokenIds], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """Which tokens `ask` finds legal, where a longer text is only if what it begins with is; shape (V,)."""
        mask = np.zeros(len(self._texts), np.bool_)
        asked = self._roots
        while len(asked):
            found = asked[ask(asked)]
            mask[found] = True
            begin, end = self._begin[found], self._begin[found + 1]
            counts = end - begin
            # The children of all of them, each a run in the list of children.
            runs = np.repeat(begin - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
            asked = self._children[runs + np.arange(counts.sum())]
        return mask
