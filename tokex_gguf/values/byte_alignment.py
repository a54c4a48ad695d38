r"""Two tokenisations of one text, aligned by its bytes. Pure.

Models with different vocabularies cut a text into other tokens, and only what both say of the same bytes can be
compared: stretches of the text between places where both have a boundary. What a model says of a stretch is the sum of
its tokens' surprisals, and a text's bytes do not depend on how it is cut, so bits per byte can be compared as well.

>>> a = Tokenisation.of([0, 3, 4], [None, 1.0, 2.0], 8)           # "the" " " "cats"
>>> b = Tokenisation.of([0, 0, 3, 7], [None, 2.0, 3.5, 0.5], 8)   # "<s>" "the" " cat" "s"
>>> for one in align(a, b):
...     print(one.start, one.end, list(one.a), list(one.b), one.bits_a, one.bits_b, one.delta_bits)
0 3 [0] [0, 1] None 2.0 None
3 8 [1, 2] [2, 3] 3.0 4.0 1.0
"""

import math
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from tokex_gguf.values.record import record

_WORD = re.compile(rb"\s*\S+")
_LAST = re.compile(rb"\S(?=\s)")
"""What is before white space."""


@record
class Tokenisation:
    """A text's bytes, cut into tokens."""

    bounds: tuple[int, ...]
    """Where each token begins, in bytes, and where the last one ends."""
    bits: tuple[float | None, ...]
    """The surprisal of each; None where it was not predicted."""

    @classmethod
    def of(cls, starts: Iterable[int | None], bits: Iterable[float | None], end: int) -> "Tokenisation":
        """From where tokens begin in a text of `end` bytes; it is cut off where the first is that is not known."""
        known: list[int] = []
        for start in starts:
            if start is None:
                # Where the token before it ends is not known either.
                return cls(tuple(known), tuple(list(bits)[: max(0, len(known) - 1)]))
            known.append(start)
        return cls((*known, end) if known else (), tuple(bits))

    def bits_of(self, tokens: range) -> float | None:
        """What it took to say some tokens. None where one was not predicted, but for those that take no room."""
        told = [(self.bits[one], self.bounds[one + 1] > self.bounds[one]) for one in tokens]
        if any(bits is None and room for bits, room in told):
            return None
        return math.fsum(bits for bits, _ in told if bits is not None)


@record
class Stretch:
    """Bytes of a text that both have boundaries around, and none that they share within."""

    start: int
    end: int
    a: range
    """The tokens of A that they are; one that takes no room belongs to what comes after it."""
    b: range
    bits_a: float | None
    """The surprisal of these bytes; None where it is not known."""
    bits_b: float | None

    @property
    def delta_bits(self) -> float | None:
        """How much likelier A makes these bytes than B: log2 of the ratio of the probabilities."""
        return None if self.bits_a is None or self.bits_b is None else _difference(self.bits_b, self.bits_a)


def align(a: Tokenisation, b: Tokenisation, within: Iterable[int] | None = None) -> list[Stretch]:
    """The text from its beginning to the last place where both have a boundary, in stretches as short as can be.

    `within`: places outside of which no boundary counts, such as those between words.
    """
    firsts_a, firsts_b = _firsts(a.bounds), _firsts(b.bounds)
    shared = firsts_a.keys() & firsts_b.keys()
    places = sorted(shared if within is None else shared & {0, *within})
    if not places or places[0] != 0:
        return []
    found = []
    for start, end in pairwise(places):
        own, others = range(firsts_a[start], firsts_a[end]), range(firsts_b[start], firsts_b[end])
        found.append(Stretch(start, end, own, others, a.bits_of(own), b.bits_of(others)))
    return found


def single(cut: Tokenisation, stretches: Iterable[Stretch]) -> dict[int, Stretch]:
    """The stretches that are one token of A, whose text is `cut`, by that token.

    One that takes no room and was not predicted, such as the first of all, may be there as well.

    >>> a, b = Tokenisation.of([0, 0, 3], [None, 2.0, 1.0], 7), Tokenisation.of([0, 3, 5], [None, 1.0, 3.0], 7)
    >>> [(token, one.delta_bits) for token, one in single(a, align(a, b)).items()]
    [(1, None), (2, 3.0)]
    """
    found = {}
    for one in stretches:
        told = [token for token in one.a if cut.bits[token] is not None or cut.bounds[token + 1] > cut.bounds[token]]
        if len(told) == 1:
            found[told[0]] = one
    return found


def _firsts(bounds: Sequence[int]) -> dict[int, int]:
    """From each boundary to the first token that begins there."""
    firsts: dict[int, int] = {}
    for token, place in enumerate(bounds):
        firsts.setdefault(place, token)
    return firsts


def word_ends(text: bytes) -> list[int]:
    r"""Where the words of a text end, in bytes: each has the white space before it.

    >>> word_ends(b"the cat\n sat "), word_ends("é a".encode())
    ([3, 7, 12, 13], [2, 4])
    """
    ends = [word.end() for word in _WORD.finditer(text)]
    return ends if not text or ends[-1:] == [len(text)] else [*ends, len(text)]


@record
class Rates:
    """What a text costs with two models, over the bytes that both have predicted."""

    bytes: int
    words: int
    """Words that end within these bytes."""
    bits_a: float
    bits_b: float

    @property
    def per_byte(self) -> tuple[float, float]:
        """Bits per byte of A and of B."""
        return self.bits_a / self.bytes, self.bits_b / self.bytes

    @property
    def per_word(self) -> tuple[float, float] | None:
        """Bits per word; None where there is no whole word."""
        return (self.bits_a / self.words, self.bits_b / self.words) if self.words else None

    @property
    def delta_bits(self) -> float:
        """How much likelier A makes the text than B, in bits."""
        return _difference(self.bits_b, self.bits_a)

    def plus(self, one: Stretch, words: int) -> "Rates":
        """These and one more stretch, within which so many words end; it counts where both have predicted it."""
        if one.bits_a is None or one.bits_b is None:
            return self
        size = one.end - one.start
        return Rates(self.bytes + size, self.words + words, self.bits_a + one.bits_a, self.bits_b + one.bits_b)


def words_within(text: bytes, start: int, end: int) -> int:
    r"""How many words of a text end behind byte `start`, and at `end` at the latest.

    >>> [words_within(b"the cat sat", start, end) for start, end in [(0, 3), (0, 4), (3, 9), (9, 11), (4, 4)]]
    [1, 1, 1, 1, 0]
    """
    within = text[start:end]
    at_end = within[-1:].strip() and not text[end : end + 1].strip()
    return len(_LAST.findall(within)) + bool(at_end)


def rates(stretches: Sequence[Stretch], text: bytes) -> Rates | None:
    """Sums up the stretches of a text. None where both have predicted none of them.

    >>> a = Tokenisation.of([0, 3], [None, 3.0], 7)
    >>> found = rates(align(a, Tokenisation.of([0, 3, 5], [1.0, 1.0, 1.0], 7)), b"the cat")
    >>> found.bytes, found.words, found.per_byte, found.delta_bits
    (4, 1, (0.75, 0.5), -1.0)
    """
    told = [
        (one.end - one.start, words_within(text, one.start, one.end), one.bits_a, one.bits_b)
        for one in stretches
        if one.bits_a is not None and one.bits_b is not None
    ]
    size = sum(size for size, *_ in told)
    if not size:
        return None
    bits_a, bits_b = math.fsum(bits for _, _, bits, _ in told), math.fsum(bits for *_, bits in told)
    return Rates(size, sum(count for _, count, _, _ in told), bits_a, bits_b)


def _difference(one: float, other: float) -> float:
    """One minus the other; nothing where both are infinite."""
    return 0.0 if one == other else one - other
