"""Finding tokens of a server's vocabulary by their text. Pure."""

from bisect import bisect_right
from collections.abc import Mapping

from tokex_gguf.engine.query import as_bytes, query_texts, token_id
from tokex_gguf.values.tokens import Piece

_SEPARATOR = b"\xff"
"""Between two texts: no byte of UTF-8, so that no match spans it."""


class Vocabulary:
    """The texts of all tokens, joined for searches."""

    def __init__(self, pieces: Mapping[int, Piece]) -> None:
        self._pieces = pieces
        self._tokens = sorted(pieces)
        texts = [pieces[token].data.decode("utf-8", "replace").lower().encode() for token in self._tokens]
        self._starts = [0]
        for text in texts:
            self._starts.append(self._starts[-1] + len(text) + 1)
        self._texts = b"".join(text + _SEPARATOR for text in texts)

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self._tokens)

    def matching(self, query: str) -> set[int]:
        """The tokens whose text contains a query, in any case, and the token with the query as its id."""
        texts = query_texts(query)
        if not texts:
            return set(self._tokens)
        tokens = {token for text in texts for token in self._containing(text)}
        number = token_id(query)
        return tokens | {number} if number in self._pieces and number is not None else tokens

    def spelling(self, text: str) -> list[int]:
        """The tokens whose whole text this is, letter by letter, also with one space before it."""
        exact = as_bytes(text)
        if not exact:
            return []
        likely = self._containing(as_bytes(text.lower()))
        return [token for token in likely if self._pieces[token].data in (exact, b" " + exact)]

    def _containing(self, wanted: bytes) -> list[int]:
        tokens: list[int] = []
        at = self._texts.find(wanted)
        while at >= 0:
            place = bisect_right(self._starts, at) - 1
            tokens.append(self._tokens[place])
            at = self._texts.find(wanted, self._starts[place + 1])
        return tokens
