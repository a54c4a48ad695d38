r"""Two tokenisations of one text, aligned by its bytes. Pure.

Models with different vocabularies cut a text into different tokens, so they are compared over the same bytes: stretches
of the text between places where both have a token boundary. The surprisal of a stretch is the sum over its tokens. Bits
per byte can be compared as well, as a text's bytes do not depend on how it is cut.

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
"""The last character of a word before white space."""


@record
class Tokenisation:
    """A text's bytes, cut into tokens."""

    bounds: tuple[int, ...]
    """The byte where each token starts, and where the last one ends."""
    bits: tuple[float | None, ...]
    """The surprisal of each token; None where it was not predicted."""

    @classmethod
    def of(cls, starts: Iterable[int | None], bits: Iterable[float | None], end: int) -> "Tokenisation":
        """From the starts of tokens in a text of `end` bytes; cut off at the first start that is None."""
        known: list[int] = []
        for start in starts:
            if start is None:
                # The end of the token before it is not known either.
                return cls(tuple(known), tuple(list(bits)[: max(0, len(known) - 1)]))
            known.append(start)
        return cls((*known, end) if known else (), tuple(bits))

    def bits_of(self, tokens: range) -> float | None:
        """The surprisal of some tokens together. None where a token with text was not predicted."""
        costs = [(self.bits[token], self.bounds[token + 1] > self.bounds[token]) for token in tokens]
        if any(bits is None and has_text for bits, has_text in costs):
            return None
        return math.fsum(bits for bits, _ in costs if bits is not None)


@record
class Stretch:
    """The bytes between two neighbouring boundaries that both tokenisations share."""

    start: int
    end: int
    a: range
    """A's tokens of these bytes; a token without text belongs to the stretch after it."""
    b: range
    bits_a: float | None
    """The surprisal of these bytes; None where it is not known."""
    bits_b: float | None

    @property
    def delta_bits(self) -> float | None:
        """How much likelier A makes these bytes than B: log2 of the ratio of the probabilities."""
        return None if self.bits_a is None or self.bits_b is None else _difference(self.bits_b, self.bits_a)


def align(a: Tokenisation, b: Tokenisation, within: Iterable[int] | None = None) -> list[Stretch]:
    """The text up to the last shared boundary, in the shortest stretches.

    `within`: the only bytes where a boundary counts, such as ends of words; None: all.
    """
    firsts_a, firsts_b = _firsts(a.bounds), _firsts(b.bounds)
    shared = firsts_a.keys() & firsts_b.keys()
    places = sorted(shared if within is None else shared & {0, *within})
    if not places or places[0] != 0:
        return []
    stretches = []
    for start, end in pairwise(places):
        own, others = range(firsts_a[start], firsts_a[end]), range(firsts_b[start], firsts_b[end])
        stretches.append(Stretch(start, end, own, others, a.bits_of(own), b.bits_of(others)))
    return stretches


def single(cut: Tokenisation, stretches: Iterable[Stretch]) -> dict[int, Stretch]:
    """The stretches that are one token of A, whose tokenisation is `cut`, by that token.

    A token without text that was not predicted, such as BOS, may come along.

    >>> a, b = Tokenisation.of([0, 0, 3], [None, 2.0, 1.0], 7), Tokenisation.of([0, 3, 5], [None, 1.0, 3.0], 7)
    >>> [(token, one.delta_bits) for token, one in single(a, align(a, b)).items()]
    [(1, None), (2, 3.0)]
    """
    by_token = {}
    for one in stretches:
        tokens = [token for token in one.a if cut.bits[token] is not None or cut.bounds[token + 1] > cut.bounds[token]]
        if len(tokens) == 1:
            by_token[tokens[0]] = one
    return by_token


def _firsts(bounds: Sequence[int]) -> dict[int, int]:
    """From each boundary to the first token that starts there."""
    firsts: dict[int, int] = {}
    for token, place in enumerate(bounds):
        firsts.setdefault(place, token)
    return firsts


def word_ends(text: bytes) -> list[int]:
    r"""The byte where each word of a text ends: words include the white space before them.

    >>> word_ends(b"the cat\n sat "), word_ends("é a".encode())
    ([3, 7, 12, 13], [2, 4])
    """
    ends = [word.end() for word in _WORD.finditer(text)]
    return ends if not text or ends[-1:] == [len(text)] else [*ends, len(text)]


@record
class Rates:
    """The surprisal of a text by two models, over the bytes that both have predicted."""

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
        """Bits per word of A and of B; None where no word ends."""
        return (self.bits_a / self.words, self.bits_b / self.words) if self.words else None

    @property
    def delta_bits(self) -> float:
        """How much likelier A makes the text than B, in bits."""
        return _difference(self.bits_b, self.bits_a)

    def plus(self, stretch: Stretch, words: int) -> "Rates":
        """Adds a stretch in which `words` words end, if both have predicted it."""
        if stretch.bits_a is None or stretch.bits_b is None:
            return self
        size, bits_a, bits_b = stretch.end - stretch.start, self.bits_a + stretch.bits_a, self.bits_b + stretch.bits_b
        return Rates(self.bytes + size, self.words + words, bits_a, bits_b)


def words_within(text: bytes, start: int, end: int) -> int:
    r"""How many words of a text end after byte `start`, up to `end`.

    >>> [words_within(b"the cat sat", start, end) for start, end in [(0, 3), (0, 4), (3, 9), (9, 11), (4, 4)]]
    [1, 1, 1, 1, 0]
    """
    within = text[start:end]
    at_end = within[-1:].strip() and not text[end : end + 1].strip()
    return len(_LAST.findall(within)) + bool(at_end)


def rates(stretches: Sequence[Stretch], text: bytes) -> Rates | None:
    """The rates over the stretches of a text. None where no byte was predicted by both.

    >>> a = Tokenisation.of([0, 3], [None, 3.0], 7)
    >>> total = rates(align(a, Tokenisation.of([0, 3, 5], [1.0, 1.0, 1.0], 7)), b"the cat")
    >>> total.bytes, total.words, total.per_byte, total.delta_bits
    (4, 1, (0.75, 0.5), -1.0)
    """
    predicted = [
        (one.end - one.start, words_within(text, one.start, one.end), one.bits_a, one.bits_b)
        for one in stretches
        if one.bits_a is not None and one.bits_b is not None
    ]
    size = sum(size for size, *_ in predicted)
    if not size:
        return None
    bits_a, bits_b = math.fsum(bits for _, _, bits, _ in predicted), math.fsum(bits for *_, bits in predicted)
    return Rates(size, sum(count for _, count, _, _ in predicted), bits_a, bits_b)


def _difference(one: float, other: float) -> float:
    """`one` minus `other`; 0 where both are the same infinity."""
    return 0.0 if one == other else one - other
