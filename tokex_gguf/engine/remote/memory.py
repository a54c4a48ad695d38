"""What a server said, by path: nothing is asked for twice, as long as it is remembered. Pure."""

from array import array
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from tokex_gguf.values.distribution import Distribution, Taken
from tokex_gguf.values.sequence import common_prefix

MOST_PATHS = 1000
"""Paths that are remembered, at the most: a hundred candidates of each take 2 kB."""
CANDIDATES = 2_000_000
"""Candidates of all of them together, which take 24 MB."""
RECENT = 8
"""Paths of which it is assumed that the server has them in its cache."""


@dataclass(slots=True)
class Remembered:
    """What a server said of the token after a path."""

    distribution: Distribution
    """With all candidates that it gave."""
    asked: dict[int, Taken] = field(default_factory=dict)
    """Tokens beyond these candidates."""

    def of(self, token: int) -> Taken | None:
        """What it said of a token; None where it was not asked."""
        # No table from tokens to rows is kept: it would take ten times as much as they do.
        try:
            row = self.distribution.ids.index(token)
        except ValueError:
            return self.asked.get(token)
        return Taken(self.distribution.logprobs[row], row + 1)

    def cut(self, top: int) -> Distribution:
        """The distribution with so many candidates at the most."""
        whole = self.distribution
        if len(whole) <= top:
            return whole
        return Distribution(whole.entropy_bits, whole.ids[:top], whole.logprobs[:top], whole.slack_bits)

    def shortened(self, top: int) -> "Remembered":
        """The same with so many candidates at the most."""
        return Remembered(self.cut(top), self.asked) if len(self.distribution) > top else self


class Memory:
    """The newest answers. A path stands as a digest of its tokens: a long one would take more than its answer."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Remembered] = OrderedDict()
        self._candidates = 0

    def __len__(self) -> int:
        """Paths that are remembered."""
        return len(self._known)

    def get(self, path: Sequence[int]) -> Remembered | None:
        """What is known of a path."""
        return self._known.get(_digest(path).digest())

    def all(self, path: Sequence[int], start: int) -> Iterator[Remembered | None]:
        """What is known of each position of a path from `start` on."""
        return map(self._known.get, _along(path, start))

    def put(self, path: Sequence[int], known: Remembered) -> None:
        """Remembers an answer, in place of an older one of its path."""
        self._put(_digest(path).digest(), known)

    def put_all(self, path: Sequence[int], start: int, answers: Sequence[Remembered]) -> None:
        """Remembers those of consecutive positions of a path, from `start` on."""
        for key, known in zip(_along(path, start), answers, strict=False):
            self._put(key, known)

    def _put(self, key: bytes, known: Remembered) -> None:
        if before := self._known.pop(key, None):
            self._candidates -= len(before.distribution)
        self._known[key] = known
        self._candidates += len(known.distribution)
        while len(self._known) > MOST_PATHS or (self._candidates > CANDIDATES and len(self._known) > 1):
            _, oldest = self._known.popitem(last=False)
            self._candidates -= len(oldest.distribution)


def _digest(path: Sequence[int]) -> "blake2b":
    return blake2b(array("i", path).tobytes(), digest_size=16)


def _along(path: Sequence[int], start: int) -> Iterator[bytes]:
    """The keys of a path's beginnings that end at `start` and behind it."""
    digest = _digest(path[:start])
    for token in path[start:]:
        digest.update(array("i", [token]).tobytes())
        yield digest.copy().digest()


class Recent:
    """The paths that a server was asked about last: what they begin with, it need not read again."""

    def __init__(self) -> None:
        self._paths: deque[list[int]] = deque(maxlen=RECENT)

    def shared(self, path: list[int]) -> int:
        """How many tokens of a path the server has read already, as far as one can know."""
        return max((common_prefix(path, other) for other in self._paths), default=0)

    def note(self, path: list[int]) -> None:
        """It was asked about a path."""
        # A llama-server puts aside what it has read where a path has less than half of it, and takes that back where
        # it has less than half of what came in between. Else it cuts off what is behind the common part.
        others = [one for one in self._paths if 2 * common_prefix(path, one) < min(len(path), len(one))]
        self._paths = deque([*others, path], maxlen=RECENT)
