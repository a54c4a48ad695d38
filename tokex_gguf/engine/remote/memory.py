"""A server's answers by path, so that no call is made twice. Pure."""

from array import array
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.sequence import common_prefix

MOST_PATHS = 1000
"""The most answers; one with a hundred candidates takes 2 kB."""
TOTAL_CANDIDATES = 2_000_000
"""The most candidates of all answers, which take 24 MB."""
RECENT_PATHS = 8
"""Paths that are assumed to be in the server's cache."""


@dataclass(slots=True)
class Remembered:
    """A server's answer about the token after a path."""

    distribution: Distribution
    """With all candidates that the server gave."""
    asked: dict[int, TokenLogprob] = field(default_factory=dict)
    """Requested tokens that are not candidates."""

    def of(self, token: int) -> TokenLogprob | None:
        """Log-probability and rank of a token; None where they are not known."""
        # No table from tokens to rows: it would take ten times the memory of the candidates.
        try:
            row = self.distribution.ids.index(token)
        except ValueError:
            return self.asked.get(token)
        return TokenLogprob(self.distribution.logprobs[row], row + 1)

    def cut(self, top: int) -> Distribution:
        """The distribution with at most `top` candidates."""
        whole = self.distribution
        if len(whole) <= top:
            return whole
        return Distribution(whole.entropy_bits, whole.ids[:top], whole.logprobs[:top], whole.slack_bits)

    def shortened(self, top: int) -> "Remembered":
        """The answer with at most `top` candidates."""
        return Remembered(self.cut(top), self.asked) if len(self.distribution) > top else self


class Memory:
    """The newest answers, by a digest of the path: a long path takes more memory than its answer."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Remembered] = OrderedDict()
        self._candidates = 0

    def __len__(self) -> int:
        """The number of answers."""
        return len(self._known)

    def get(self, path: Sequence[int]) -> Remembered | None:
        """The answer about a path."""
        return self._known.get(_digest(path).digest())

    def all(self, path: Sequence[int], start: int) -> Iterator[Remembered | None]:
        """The answers at each position of a path from `start` on."""
        return map(self._known.get, _along(path, start))

    def put(self, path: Sequence[int], known: Remembered) -> None:
        """Stores an answer, in place of an older one about its path."""
        self._put(_digest(path).digest(), known)

    def put_all(self, path: Sequence[int], start: int, answers: Sequence[Remembered]) -> None:
        """Stores the answers at consecutive positions of a path, from `start` on."""
        for key, known in zip(_along(path, start), answers, strict=False):
            self._put(key, known)

    def _put(self, key: bytes, known: Remembered) -> None:
        if before := self._known.pop(key, None):
            self._candidates -= len(before.distribution)
        self._known[key] = known
        self._candidates += len(known.distribution)
        while len(self._known) > MOST_PATHS or (self._candidates > TOTAL_CANDIDATES and len(self._known) > 1):
            _, oldest = self._known.popitem(last=False)
            self._candidates -= len(oldest.distribution)


def _digest(path: Sequence[int]) -> "blake2b":
    return blake2b(array("i", path).tobytes(), digest_size=16)


def _along(path: Sequence[int], start: int) -> Iterator[bytes]:
    """The keys of a path's prefixes that end at `start` or later."""
    digest = _digest(path[:start])
    for token in path[start:]:
        digest.update(array("i", [token]).tobytes())
        yield digest.copy().digest()


class Recent:
    """The paths of the last calls: the server has their tokens in its cache."""

    def __init__(self) -> None:
        self._paths: deque[list[int]] = deque(maxlen=RECENT_PATHS)

    def shared(self, path: list[int]) -> int:
        """How many first tokens of a path the server has cached, as far as that can be known."""
        return max((common_prefix(path, other) for other in self._paths), default=0)

    def note(self, path: list[int]) -> None:
        """Records a call about a path."""
        # A llama-server saves its cache if a path shares less than half of it, and restores that if a later path shares
        # less than half of the new content. Otherwise it cuts the cache after the common prefix.
        others = [one for one in self._paths if 2 * common_prefix(path, one) < min(len(path), len(one))]
        self._paths = deque([*others, path], maxlen=RECENT_PATHS)
