"""The random numbers of draws: from a seed, a path and a count, so that draws can be repeated. Pure."""

import hashlib
import sys
from array import array
from collections.abc import Iterator, Sequence

RANDOM_SEED = 2**32 - 1
"""Seeds are below it. As in llama.cpp, this number, and -1, mean a random one where they are given."""


def numbers(seed: int, path: Sequence[int], first: int, count: int) -> Iterator[float]:
    """The numbers from 0 to below 1 of `count` draws after a path, from the draw `first` on (0 is the first).

    They are the same on every machine and in every version: a game can be repeated from its seed. They
    depend on the path, so that each place has its own numbers.

    >>> [round(value, 3) for value in numbers(42, [1, 2], 0, 3)]
    [0.212, 0.313, 0.731]
    """
    tokens = array("q", path)
    if sys.byteorder == "big":
        tokens.byteswap()
    beginning = hashlib.sha256(seed.to_bytes(8, "little") + tokens.tobytes())
    for place in range(first, first + count):
        this = beginning.copy()
        this.update(place.to_bytes(8, "little"))
        yield (int.from_bytes(this.digest()[:8], "little") >> 11) / 2**53
