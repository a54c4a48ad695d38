"""A path to distributions, in calls to a server: nothing twice, long prompts in pieces."""

import heapq
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum
from itertools import groupby, islice
from typing import NamedTuple, Protocol, TypeVar

from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.remote.bounds import entropy_interval, ranks
from tokex_gguf.engine.remote.dialects.dialect import Dialect, ServerAnswer, Steps
from tokex_gguf.engine.remote.memory import Memory, Recent, Remembered
from tokex_gguf.engine.remote.vocabulary import Vocabulary
from tokex_gguf.values.distribution import Distribution, Taken
from tokex_gguf.values.record import record
from tokex_gguf.values.sequence import common_prefix
from tokex_gguf.values.tokens import Piece

T = TypeVar("T")

PIECE = 256
"""Tokens of a prompt that a server is given at a time, where it reads all that it was given, wanted or not."""
POSITIONS_AT_ONCE = 48
"""Positions of one chunk, where all of a prompt come at once."""
WORTH_IT = 32
"""Tokens to be read again that cost more than asking about something else."""
MOST_CANDIDATES = 100_000
"""Candidates of all positions of a prompt together: where it has more, each gets no more than are shown."""


class Asker(Protocol):
    """How a server is asked."""

    def run(self, steps: Steps[T]) -> T:
        """Carries a question's calls out."""


@record
class Chunk:
    """Distributions at consecutive positions from `start`, and what they cost."""

    start: int
    distributions: list[Distribution]
    taken: list[Taken]
    decoded: int
    """Tokens that the server had not read before, as far as one can know."""
    seconds: float


class _CacheUse(Enum):
    """What a server is asked for, by the cache that this takes."""

    PLAYED = "played"
    """The path that is played."""
    IN_TURN = "in turn"
    """Something else, with the cache of the path that is played."""
    BESIDE = "beside"
    """Something else, with a cache of its own."""


class _Walked(NamedTuple):
    """Where a walk has come to, with the cache that the path which is played needs."""

    length: int
    """Tokens that are left in the cache."""
    kept: bool
    """Whether the server has put aside what was in it."""


class _KnownPath(NamedTuple):
    """What is known of a path, and what that took."""

    known: Remembered
    decoded: int
    """Tokens that were decoded for it, as far as one can know."""
    seconds: float


class FoundTokens(NamedTuple):
    """What a search found."""

    tokens: list[int]
    """The most likely first."""
    taken: list[Taken]
    total: int


class Evaluator:
    """Asks one server. All that it is asked raises what `Asker.run` raises."""

    def __init__(self, client: Asker, dialect: Dialect, candidates: int, *, apart: bool) -> None:
        """`candidates`: those to ask for, where the server gives so many.

        `apart`: whether calls aside leave what the server has cached for the others.
        """
        self._client = client
        self._dialect = dialect
        self.served = dialect.served
        self.candidates = min(candidates, self.served.candidates)
        """Those that it is asked for."""
        self._memory = Memory()
        self._recent = {where: Recent() for where in _CacheUse}
        self._apart = apart
        self._walked: _Walked | None = None
        """How a walk has left the cache of the path that is played."""
        self._played: list[int] = []
        """The path that was asked about last, but for walks."""
        self._beside = 0
        """Tokens in the cache beside."""
        self._searched: tuple[list[int], Remembered] | None = None
        """The path that was searched last, and all of its distribution: of others that would take too much memory."""
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
        """A path with one BOS. Servers put theirs before a text also where that begins with its name."""
        bos = self.served.bos
        return path[1:] if bos is not None and path[:2] == [bos, bos] else path

    def check_room(self, path: Sequence[int]) -> None:
        """Raises ContextFull where a path is too long for the server."""
        if len(path) > self.served.context:
            raise ContextFull(len(path), self.served.context)

    def evaluate(
        self, path: list[int], start: int, top: int, asked: int | None = None, last_top: int = 0
    ) -> Iterator[Chunk]:
        """Distributions from `start` to the end: all of them at once, or those that the way to the end comes by.

        Raises ContextFull.
        """
        self.check_room(path)
        if self.served.at_once and start < len(path) - 1:
            yield from self._along(path, start, top)
        for end, following, told in self._read(path, asked, _CacheUse.PLAYED):
            if end > start:
                count = max(top, last_top) if end == len(path) else top
                taken = _taken(told.known, following)
                yield Chunk(end - 1, [told.known.cut(count)], taken, told.decoded, told.seconds)

    def at(self, path: list[int], place: int, top: int) -> Chunk:
        """The distribution at one position of a path, and what it said of the token that comes there.

        Raises ContextFull.
        """
        self.check_room(path)
        wanted, following = path[: place + 1], path[place + 1] if place + 1 < len(path) else None
        # On a llama-server, both share the cells of one context: where these do not suffice, each empties the other's.
        fits = self.served.at_once or len(path) + len(self._played) <= self.served.context
        where = _CacheUse.BESIDE if self._apart and fits else _CacheUse.IN_TURN
        for _, _, told in self._read(wanted, following, where):
            known, decoded, seconds = told
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
        """Finds tokens by their text, among all of the distribution after a path. Raises ContextFull."""
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
        return FoundTokens(tokens, [Taken(values[rows[token]], rows[token] + 1) for token in tokens], len(matching))

    def spelling(self, text: str) -> list[int]:
        """The tokens that spell a text."""
        if self._vocabulary is None:
            self._read_vocabulary([0] if self.served.bos is None else [self.served.bos], _CacheUse.IN_TURN)
        assert self._vocabulary
        return self._vocabulary.spelling(text)

    def _read_vocabulary(self, path: list[int], where: _CacheUse) -> Remembered:
        """Reads all tokens, which takes megabytes, and so is done once. Returns what is known of the path then."""
        self._make_ready(path, where)
        answer, pieces = self._client.run(self._dialect.vocabulary(path))
        self._pieces.update(pieces)
        self._vocabulary = Vocabulary(pieces)
        return self._keep(path, answer)

    def _read(
        self, path: list[int], asked: int | None, where: _CacheUse
    ) -> Iterator[tuple[int, int | None, _KnownPath]]:
        """What is known of a path, a token that may follow included; and before, where the pieces of it end.

        Gives those ends, and the tokens there. What is known of a piece does not spare reading it.
        """
        known = self._memory.get(path)
        if known is not None and (asked is None or known.of(asked) is not None):
            yield len(path), asked, _KnownPath(known, 0, 0.0)
            return
        pieces = [] if self.served.at_once else range(self._shared(path, where) + PIECE, len(path), PIECE)
        for end in (*pieces, len(path)):
            following = path[end] if end < len(path) else asked
            yield end, following, self._ask(path[:end], following, where)

    def _shared(self, path: list[int], where: _CacheUse) -> int:
        """How many tokens of a path the server has read already, as far as one can know."""
        if where is _CacheUse.IN_TURN and self._walked is None:
            where = _CacheUse.PLAYED  # whose cache it takes now
        return self._recent[where].shared(path)

    def _ask(self, path: list[int], asked: int | None, where: _CacheUse) -> _KnownPath:
        """Asks about a path, and a token that may follow."""
        began = time.perf_counter()
        decoded = max(1, len(path) - self._shared(path, where))
        self._make_ready(path, where)
        beside = where is _CacheUse.BESIDE
        (answer,) = self._client.run(self._dialect.after([path], [asked], self.candidates, aside=beside))
        self._recent[where].note(path)
        return _KnownPath(self._keep(path, answer, asked), decoded, time.perf_counter() - began)

    def _make_ready(self, path: list[int], where: _CacheUse) -> None:
        """Lets a server keep the path that is played while others are asked about.

        A llama-server that is asked about less than half of what it has read puts all of it aside, and takes that back
        only in place of something else. So it is asked about something else, once, before it is asked to go on there.
        """
        if where is _CacheUse.BESIDE:
            self._beside = len(path)
            return
        if len(path) + self._beside > self.served.context:  # it empties what is beside
            self._beside, self._recent[_CacheUse.BESIDE] = 0, Recent()
        if where is _CacheUse.IN_TURN:
            played = self._played
            kept = self._walked.kept if self._walked else 2 * common_prefix(path, played) < len(played)
            self._walked = _Walked(len(path), kept)
            if not kept:
                self._recent[_CacheUse.PLAYED].note(path)
            return
        walked, self._walked, self._played = self._walked, None, path
        self._recent[_CacheUse.IN_TURN] = Recent()
        if walked and walked.kept and not self.served.at_once and len(path) - walked.length > WORTH_IT:
            self._client.run(self._dialect.after([[int(path[0] == 0)]], [None], 1))

    def _keep(self, path: list[int], answer: ServerAnswer, asked: int | None = None) -> Remembered:
        """Remembers an answer. What was known before stays as it is: one path never has two answers."""
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
        """The positions from `start` to before the end; the end's is remembered."""
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
            come = [self._known(answer, token) for answer, token in zip(answers, following, strict=True)]
            # The end has as many candidates as there are, and is asked for once more where these are fewer.
            whole = len(come[-1].distribution) >= min(self.candidates, self.served.vocab_size or self.candidates)
            kept = come if whole else come[:-1]
            self._memory.put_all(path, start + lacking, kept)
            self._recent[_CacheUse.PLAYED].note(path)
            known[lacking:] = come
            decoded = len(path)
        seconds = time.perf_counter() - began
        there = iter(zip(range(start, len(path) - 1), known, strict=False))
        while part := [(place, one) for place, one in islice(there, POSITIONS_AT_ONCE) if one]:
            taken = [each for place, one in part for each in _taken(one, path[place + 1])]
            yield Chunk(part[0][0], [one.cut(top) for _, one in part], taken, decoded, seconds)
            decoded, seconds = 0, 0.0

    def _known(self, answer: ServerAnswer, asked: int | None = None) -> Remembered:
        """What an answer says, in this program's numbers."""
        answer = within_one(answer)
        low, slack = entropy_interval(answer.logprobs, self.served.vocab_size)
        known = Remembered(Distribution.of(low, answer.ids, answer.logprobs, slack))
        if asked is not None and answer.asked is not None and asked not in known.distribution.ids:
            lowest, highest = ranks(answer.logprobs, answer.asked)
            known.asked[asked] = Taken(answer.asked, answer.rank or lowest, not answer.rank and highest > lowest)
        return known


def within_one(answer: ServerAnswer) -> ServerAnswer:
    """The same with probabilities that are 1 together at the most: sums that a server rounds may be more.

    Products of those would be more and more, and the masses of answers more than all.
    """
    total = math.fsum(map(math.exp, answer.logprobs))
    if total <= 1:
        return answer
    more = math.log(total)
    asked = None if answer.asked is None else answer.asked - more
    return replace(answer, logprobs=[logprob - more for logprob in answer.logprobs], asked=asked)


def _taken(known: Remembered, token: int | None) -> list[Taken]:
    """What is known of a token, if one was asked for."""
    taken = None if token is None else known.of(token)
    return [] if taken is None else [taken]
