"""The text of a path, to be searched: which token each of its characters is in. Pure."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from tokex_gguf.values.folding import folded
from tokex_gguf.values.record import record


class Match(NamedTuple):
    """A place in a text that has what is looked for."""

    character: int
    """The one that it begins at."""
    nth: int
    """1 is the first of all."""
    total: int
    """How many there are; none begins within another."""


@record(eq=False)
class PathText:
    """A path's text. Upper and lower case are the same in it."""

    folded: str
    """In lower case, each character where it stands in the text; bytes that are no text are lone surrogates."""
    ends: list[int]
    """Where the bytes of each token end."""

    @classmethod
    def of(cls, pieces: Iterable[bytes]) -> "PathText":
        """The text of some pieces, one for each token."""
        pieces = list(pieces)
        text = b"".join(pieces).decode("utf-8", "surrogateescape")
        return cls(folded(text), list(accumulate(map(len, pieces))))

    def match(self, query: str, character: int) -> "Match":
        """The match that begins at a character.

        >>> PathText.of([b"One", b" two", b" one"]).match("one", 8)
        Match(character=8, nth=2, total=2)
        """
        query = folded(query)
        return Match(character, self.folded.count(query, 0, character) + 1, self.folded.count(query))

    def next(self, query: str, character: int) -> int | None:
        """The first character of the first match from a character on; behind the last comes the first.

        >>> text = PathText.of([b"One", b" two", b" one"])
        >>> text.next("ONE", 0), text.next("one", 1), text.next("one", 9), text.next("three", 0)
        (0, 8, 0, None)
        """
        found = self.folded.find(folded(query), character)
        return _place(found if found >= 0 else self.folded.find(folded(query)))

    def previous(self, query: str, character: int) -> int | None:
        """The same backwards, of the last match that begins before a character.

        >>> PathText.of([b"One", b" two", b" one"]).previous("one", 8)
        0
        """
        query = folded(query)
        found = self.folded.rfind(query, 0, character + len(query) - 1) if character else -1
        return _place(found if found >= 0 else self.folded.rfind(query))

    def token(self, character: int) -> int:
        """The position of the token that a character begins in.

        >>> PathText.of(["é".encode(), b"a", b"", b"b"]).token(2)
        3
        """
        return bisect_right(self.ends, len(self._bytes(self.folded[:character])))

    def character(self, token: int) -> int:
        """The first character that does not begin before a token; the number of all characters, behind the last."""
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


def _place(found: int) -> int | None:
    return found if found >= 0 else None
