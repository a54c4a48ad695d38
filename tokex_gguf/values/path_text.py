"""The text of a path for searches, with the token of each character. Pure."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from tokex_gguf.values.folding import folded
from tokex_gguf.values.record import record


class Match(NamedTuple):
    """A match of a query."""

    character: int
    """Its first character."""
    nth: int
    """Its number, from 1."""
    total: int
    """How many matches there are, without overlaps."""


@record(eq=False)
class PathText:
    """A path's text. Matches ignore case."""

    folded: str
    """The text in lower case, with the same positions; invalid UTF-8 is lone surrogates."""
    ends: list[int]
    """The byte where each token ends."""

    @classmethod
    def of(cls, pieces: Iterable[bytes]) -> "PathText":
        """The text of some pieces, one for each token."""
        pieces = list(pieces)
        text = b"".join(pieces).decode("utf-8", "surrogateescape")
        return cls(folded(text), list(accumulate(map(len, pieces))))

    def match(self, query: str, character: int) -> "Match":
        """The match that starts at a character.

        >>> PathText.of([b"One", b" two", b" one"]).match("one", 8)
        Match(character=8, nth=2, total=2)
        """
        query = folded(query)
        return Match(character, self.folded.count(query, 0, character) + 1, self.folded.count(query))

    def next(self, query: str, character: int) -> int | None:
        """The start of the first match from a character on; after the last match comes the first.

        >>> text = PathText.of([b"One", b" two", b" one"])
        >>> text.next("ONE", 0), text.next("one", 1), text.next("one", 9), text.next("three", 0)
        (0, 8, 0, None)
        """
        place = self.folded.find(folded(query), character)
        return _or_none(place if place >= 0 else self.folded.find(folded(query)))

    def previous(self, query: str, character: int) -> int | None:
        """The start of the last match before a character; before the first match comes the last.

        >>> PathText.of([b"One", b" two", b" one"]).previous("one", 8)
        0
        """
        query = folded(query)
        place = self.folded.rfind(query, 0, character + len(query) - 1) if character else -1
        return _or_none(place if place >= 0 else self.folded.rfind(query))

    def token(self, character: int) -> int:
        """The position of the token in which a character starts.

        >>> PathText.of(["é".encode(), b"a", b"", b"b"]).token(2)
        3
        """
        return bisect_right(self.ends, len(self._bytes(self.folded[:character])))

    def character(self, token: int) -> int:
        """The first character that starts in or after a token; for the end of the path, the number of characters."""
        begin = self.ends[token - 1] if token else 0
        if self.folded.isascii():
            return begin
        low, high = 0, min(begin, len(self.folded))
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if len(self._bytes(self.folded[:middle])) < begin else (low, middle)
        return low

    def _bytes(self, text: str) -> bytes:
        return text.encode("utf-8", "surrogateescape")


def _or_none(place: int) -> int | None:
    return place if place >= 0 else None
