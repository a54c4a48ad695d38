"""Distributions for paths from a server: no call twice, long prompts in pieces."""

import heapq
import math
import time
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import groupby, islice
from typing import NamedTuple, Protocol, TypeVar

from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.remote.bounds import entropy_interval, ranks
from tokex_gguf.engine.remote.dialects.dialect import Dialect, ServerAnswer, Steps
from tokex_gguf.engine.remote.memory import Memory, Recent, Remembered
from tokex_gguf.engine.remote.vocabulary import Vocabulary
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.record import record, replace
from tokex_gguf.values.sequence import common_prefix
from tokex_gguf.values.tokens import Piece

T = TypeVar("T")

PIECE_TOKENS = 256
"""Tokens of a prompt in one call, for servers that cannot be interrupted while they read a prompt."""
POSITIONS_AT_ONCE = 48
"""Positions of one chunk, where a call gives all positions of a prompt."""
WORTH_A_CALL = 32
"""Tokens to read again that cost more than a call about another path."""
MOST_CANDIDATES = 100_000
"""The most candidates of all positions of a prompt: for more, each position gets only those that are shown."""


class Asker(Protocol):
    """Runs calls to a server."""

    def run(self, steps: Steps[T]) -> T:
        """Runs the calls of a question."""


@record
class Chunk:
    """Distributions at consecutive positions from `start`, and what they cost."""

    start: int
    distributions: list[Distribution]
    taken: list[TokenLogprob]
    decoded: int
    """Tokens that the server had not cached, as far as that can be known."""
    seconds: float


class _CacheUse(Enum):
    """Which of the server's caches a call uses."""

    PLAYED = "played"
    """The cache of the played path, for that path."""
    IN_TURN = "in turn"
    """The cache of the played path, for another path."""
    SECOND = "second"
    """A second cache."""


class _Walked(NamedTuple):
    """The state in which a walk has left the cache of the played path."""

    length: int
    """Tokens in the cache."""
    kept: bool
    """Whether the server has saved the earlier content."""


class _KnownPath(NamedTuple):
    """An answer about a path, and its cost."""

    known: Remembered
    decoded: int
    """Tokens decoded for it, as far as that can be known."""
    seconds: float


class FoundTokens(NamedTuple):
    """The result of a search."""

    tokens: list[int]
    """The most likely first."""
    taken: list[TokenLogprob]
    total: int


class Evaluator:
    """Asks one server. All methods raise as `Asker.run` does."""

    def __init__(self, client: Asker, dialect: Dialect, candidates: int, *, second_cache: bool) -> None:
        """`candidates`: how many to ask for; a server may give fewer.

        `second_cache`: whether the server has a second cache, for calls about other paths.
        """
        self._client = client
        self._dialect = dialect
        self.served = dialect.served
        self.candidates = min(candidates, self.served.candidates)
        """How many each call asks for."""
        self._memory = Memory()
        self._recent = {where: Recent() for where in _CacheUse}
        self._has_second_cache = second_cache
        self._walked: _Walked | None = None
        """Set while the cache of the played path has another path of a walk."""
        self._played: list[int] = []
        """The last path of a call that was not for a walk."""
        self._second_length = 0
        """Tokens in the second cache."""
        self._searched: tuple[list[int], Remembered] | None = None
        """The path of the last search, with its whole distribution, which is kept for one path only."""
        self._vocabulary: Vocabulary | None = None
        self._pieces: dict[int, Piece] = {}

    @property
    def whole(self) -> bool:
        """Whether the candidates are all tokens of the vocabulary."""
        return 0 < self.served.vocab_size <= self.candidates

    def pieces(self, tokens: set[int]) -> dict[int, Piece]:
        """The pieces of some tokens."""
        if new := sorted(token for token in tokens if token not in self._pieces):
            self._pieces.update(self._client.run(self._dialect.pieces(new)))
        return {token: self._pieces[token] for token in tokens}

    def tokenize(self, text: str, *, special: bool, continues: bool) -> list[int]:
        """The tokens of a text."""
        path = self._client.run(self._dialect.tokenize(text, special=special, continues=continues))
        return path if continues else self._begun(path)

    def chat(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """The tokens of a chat."""
        return self._begun(self._client.run(self._dialect.chat(messages)))

    def _begun(self, path: list[int]) -> list[int]:
        """The path with one BOS. Servers add theirs even before a text that begins with its name."""
        bos = self.served.bos
        return path[1:] if bos is not None and path[:2] == [bos, bos] else path

    def check_room(self, path: Sequence[int]) -> None:
        """Raises ContextFull where a path is too long for the server."""
        if len(path) > self.served.context:
            raise ContextFull(len(path), self.served.context)

    def evaluate(
        self, path: list[int], start: int, top: int, asked: int | None = None, last_top: int = 0
    ) -> Iterator[Chunk]:
        """Distributions from `start` to the end: all, or without `at_once` those at the ends of pieces.

        Raises ContextFull.
        """
        self.check_room(path)
        if self.served.at_once and start < len(path) - 1:
            yield from self._along(path, start, top)
        for end, following, result in self._read(path, asked, _CacheUse.PLAYED):
            if end > start:
                count = max(top, last_top) if end == len(path) else top
                taken = _taken(result.known, following)
                yield Chunk(end - 1, [result.known.cut(count)], taken, result.decoded, result.seconds)

    def at(self, path: list[int], place: int, top: int) -> Chunk:
        """The distribution at one position of a path, with the numbers of the next token.

        Raises ContextFull.
        """
        self.check_room(path)
        wanted, following = path[: place + 1], path[place + 1] if place + 1 < len(path) else None
        # On a llama-server, both caches share the cells of one context: where these are short, each evicts the other.
        fits = self.served.at_once or len(path) + len(self._played) <= self.served.context
        where = _CacheUse.SECOND if self._has_second_cache and fits else _CacheUse.IN_TURN
        for _, _, result in self._read(wanted, following, where):
            known, decoded, seconds = result
        return Chunk(place, [known.cut(top)], _taken(known, following), decoded, seconds)

    def look_ahead(self, path: list[int], branches: list[list[int]], top: int) -> list[Distribution]:
        """The distributions after a path and each of some branches. Raises ContextFull."""
        paths = [[*path, *branch] for branch in branches]
        self.check_room(max(paths, key=len))
        known = [self._memory.get(one) for one in paths]
        new = [place for place, one in enumerate(known) if one is None]
        for _, group in groupby(new, key=lambda place: paths[place][:-1]):  # as `Dialect.after` wants them
            places = list(group)
            asked = [paths[place] for place in places]
            self._make_ready(asked[-1], _CacheUse.PLAYED)
            answers = self._client.run(self._dialect.after(asked, [None] * len(asked), self.candidates))
            for place, answer in zip(places, answers, strict=True):
                known[place] = one = self._known(answer)
                self._memory.put(paths[place], one)
            self._recent[_CacheUse.PLAYED].note(asked[-1])
        return [one.cut(top) for one in known if one]

    def search(self, path: list[int], query: str, top: int) -> FoundTokens:
        """Finds tokens by their text, in the whole distribution after a path. Raises ContextFull."""
        self.check_room(path)
        known = self._searched[1] if self._searched and self._searched[0] == path else self._memory.get(path)
        if self._vocabulary is None:
            known = self._read_vocabulary(path, _CacheUse.PLAYED)
        elif known is None or len(known.distribution) < len(self._vocabulary):
            self._make_ready(path, _CacheUse.PLAYED)
            (answer,) = self._client.run(self._dialect.after([path], [None], len(self._vocabulary)))
            known = self._keep(path, answer)
        self._searched = path, known
        assert self._vocabulary
        rows = {token: row for row, token in enumerate(known.distribution.ids)}
        matching = [token for token in self._vocabulary.matching(query) if token in rows]
        tokens = heapq.nsmallest(top, matching, key=rows.__getitem__)
        values = known.distribution.logprobs
        return FoundTokens(
            tokens, [TokenLogprob(values[rows[token]], rows[token] + 1) for token in tokens], len(matching)
        )

    def spelling(self, text: str) -> list[int]:
        """The tokens that spell a text."""
        if self._vocabulary is None:
            self._read_vocabulary([0] if self.served.bos is None else [self.served.bos], _CacheUse.IN_TURN)
        assert self._vocabulary
        return self._vocabulary.spelling(text)

    def _read_vocabulary(self, path: list[int], where: _CacheUse) -> Remembered:
        """Reads the whole vocabulary, once, as it has megabytes. Returns the answer about the path."""
        self._make_ready(path, where)
        answer, pieces = self._client.run(self._dialect.vocabulary(path))
        self._pieces.update(pieces)
        self._vocabulary = Vocabulary(pieces)
        return self._keep(path, answer)

    def _read(
        self, path: list[int], asked: int | None, where: _CacheUse
    ) -> Iterator[tuple[int, int | None, _KnownPath]]:
        """The answer about a path, also about a token that may follow; before it, those at the ends of its pieces.

        Yields the ends, the tokens after them and the answers. A piece is read again even if its answer is known.
        """
        known = self._memory.get(path)
        if known is not None and (asked is None or known.of(asked) is not None):
            yield len(path), asked, _KnownPath(known, 0, 0.0)
            return
        pieces = [] if self.served.at_once else range(self._shared(path, where) + PIECE_TOKENS, len(path), PIECE_TOKENS)
        for end in (*pieces, len(path)):
            following = path[end] if end < len(path) else asked
            yield end, following, self._ask(path[:end], following, where)

    def _shared(self, path: list[int], where: _CacheUse) -> int:
        """How many first tokens of a path the server has cached, as far as that can be known."""
        if where is _CacheUse.IN_TURN and self._walked is None:
            where = _CacheUse.PLAYED  # it uses the same cache
        return self._recent[where].shared(path)

    def _ask(self, path: list[int], asked: int | None, where: _CacheUse) -> _KnownPath:
        """Makes a call about a path, and a token that may follow."""
        began = time.perf_counter()
        decoded = max(1, len(path) - self._shared(path, where))
        self._make_ready(path, where)
        second_cache = where is _CacheUse.SECOND
        (answer,) = self._client.run(self._dialect.after([path], [asked], self.candidates, second_cache=second_cache))
        self._recent[where].note(path)
        return _KnownPath(self._keep(path, answer, asked), decoded, time.perf_counter() - began)

    def _make_ready(self, path: list[int], where: _CacheUse) -> None:
        """Keeps the played path in the server's cache across calls about other paths.

        A llama-server saves its cache when a call shares less than half of it, and restores that only when a call again
        shares less than half. So a call about another path comes first, before the played path is continued.
        """
        if where is _CacheUse.SECOND:
            self._second_length = len(path)
            return
        if len(path) + self._second_length > self.served.context:  # it evicts the second cache
            self._second_length, self._recent[_CacheUse.SECOND] = 0, Recent()
        if where is _CacheUse.IN_TURN:
            played = self._played
            kept = self._walked.kept if self._walked else 2 * common_prefix(path, played) < len(played)
            self._walked = _Walked(len(path), kept)
            if not kept:
                self._recent[_CacheUse.PLAYED].note(path)
            return
        walked, self._walked, self._played = self._walked, None, path
        self._recent[_CacheUse.IN_TURN] = Recent()
        if walked and walked.kept and not self.served.at_once and len(path) - walked.length > WORTH_A_CALL:
            self._client.run(self._dialect.after([[int(path[0] == 0)]], [None], 1))

    def _keep(self, path: list[int], answer: ServerAnswer, asked: int | None = None) -> Remembered:
        """Stores an answer. An earlier one stays as it is: a path never has two answers."""
        known = self._known(answer, asked)
        before = self._memory.get(path)
        if before is not None and len(before.distribution) >= len(known.distribution):
            before.asked.update(known.asked)
            return before
        if before is not None:
            known.asked.update(before.asked)
        self._memory.put(path, known.shortened(self.candidates))
        return known

    def _along(self, path: list[int], start: int, top: int) -> Iterator[Chunk]:
        """The positions from `start` to before the end; the answer at the end is only stored."""
        known = list(self._memory.all(path, start))
        pairs = zip(known, path[start + 1 :], strict=False)
        lacking = next((i for i, (one, token) in enumerate(pairs) if one is None or one.of(token) is None), None)
        began = time.perf_counter()
        decoded = 0
        if lacking is not None:
            count = len(path) - start - lacking
            wanted = self.candidates if count * self.candidates <= MOST_CANDIDATES else min(top, self.candidates)
            answers = self._client.run(self._dialect.along(path, start + lacking, wanted))
            following = [*path[start + lacking + 1 :], None]
            new = [self._known(answer, token) for answer, token in zip(answers, following, strict=True)]
            # At the end, all candidates are needed: if they are fewer, another call asks for them.
            whole = len(new[-1].distribution) >= min(self.candidates, self.served.vocab_size or self.candidates)
            kept = new if whole else new[:-1]
            self._memory.put_all(path, start + lacking, kept)
            self._recent[_CacheUse.PLAYED].note(path)
            known[lacking:] = new
            decoded = len(path)
        seconds = time.perf_counter() - began
        positions = iter(zip(range(start, len(path) - 1), known, strict=False))
        while part := [(place, one) for place, one in islice(positions, POSITIONS_AT_ONCE) if one]:
            taken = [each for place, one in part for each in _taken(one, path[place + 1])]
            yield Chunk(part[0][0], [one.cut(top) for _, one in part], taken, decoded, seconds)
            decoded, seconds = 0, 0.0

    def _known(self, answer: ServerAnswer, asked: int | None = None) -> Remembered:
        """Converts an answer to this program's numbers."""
        answer = within_one(answer)
        low, slack = entropy_interval(answer.logprobs, self.served.vocab_size)
        known = Remembered(Distribution.of(low, answer.ids, answer.logprobs, slack))
        if asked is not None and answer.asked is not None and asked not in known.distribution.ids:
            lowest, highest = ranks(answer.logprobs, answer.asked)
            known.asked[asked] = TokenLogprob(answer.asked, answer.rank or lowest, not answer.rank and highest > lowest)
        return known


def within_one(answer: ServerAnswer) -> ServerAnswer:
    """The answer with a total probability of at most 1; a server's rounding may make it more.

    Otherwise joint probabilities of branches and of answers could exceed 1.
    """
    total = math.fsum(map(math.exp, answer.logprobs))
    if total <= 1:
        return answer
    excess = math.log(total)
    asked = None if answer.asked is None else answer.asked - excess
    return replace(answer, logprobs=[logprob - excess for logprob in answer.logprobs], asked=asked)


def _taken(known: Remembered, token: int | None) -> list[TokenLogprob]:
    """The numbers of a token, if one is given and they are known."""
    taken = None if token is None else known.of(token)
    return [] if taken is None else [taken]
