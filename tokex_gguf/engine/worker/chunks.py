"""Rows of logits to chunks of answers; the last rows of a path are cached."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from tokex_gguf.engine.worker import logit_math
from tokex_gguf.engine.worker.cells import Batch
from tokex_gguf.engine.worker.llama import ModelError
from tokex_gguf.engine.worker.logit_math import Logits
from tokex_gguf.engine.worker.logits_cache import LogitsCache, LogitsRow
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.record import record
from tokex_gguf.values.view import Verdict


class Damaged(ModelError):
    """The model's logits are not finite. Earlier answers and the prompt cache may be wrong as well."""


@record
class Chunk:
    """Distributions at consecutive positions from `start`, and what they cost."""

    start: int
    distributions: list[Distribution]
    taken: list[TokenLogprob]
    decoded: int
    seconds: float
    verdicts: list[Verdict]
    """The lens's verdict on each of `taken`; none through the raw lens."""
    strict: bool
    """Whether the distributions do not depend on what was decoded before."""


class Read(NamedTuple):
    """The numbers of some rows."""

    distributions: list[Distribution]
    log_sums: list[float]
    taken: list[TokenLogprob]


Judge: TypeAlias = Callable[[int, Logits, list[float]], list[Verdict]]
"""A lens's verdicts on the tokens that follow some rows: the position of the first, the rows, their log-sum-exps."""


def no_verdicts(_first: int, _logits: Logits, _log_sums: list[float]) -> list[Verdict]:
    """The verdicts of the raw lens."""
    return []


class LogitsReader:
    """Reads a model's rows of logits."""

    def __init__(self, vocabulary: int) -> None:
        """`vocabulary`: the number of tokens."""
        self.statistics = logit_math.Statistics(vocabulary)
        self._has_differed = False
        """Whether some row had logits that differ."""

    def read(self, logits: Logits, following: list[int | None], tops: list[int]) -> Read:
        """The numbers of each row: as many candidates as `tops` says, and the token in `following`.

        Raises Damaged.
        """
        if not self._has_differed and logits.shape[0]:
            # A computation graph without logits leaves zeros.
            if logits.shape[1] > 1 and logits[0].min() == logits[0].max():
                raise Damaged("every token is equally likely: not a model that continues text, or a damaged file")
            self._has_differed = True
        read = Read([], [], [])
        for row, token, top in zip(logits, following, tops, strict=False):
            try:
                distribution, log_sum = self.statistics.distribution(row, top)
            except logit_math.NotFinite:
                raise Damaged("the model gives no numbers: its file is damaged") from None
            read.distributions.append(distribution)
            read.log_sums.append(log_sum)
            if token is not None:
                read.taken.append(logit_math.taken(row, log_sum, token))
        return read

    def log_sums(self, logits: Logits) -> list[float]:
        """The log-sum-exp of each row. Raises Damaged."""
        return self.read(logits, [None] * len(logits), [1] * len(logits)).log_sums


def cached_chunks(
    path: list[int],
    start: int,
    tops: list[int],
    following: list[int | None],
    reader: LogitsReader,
    row_after: Callable[[list[int]], LogitsRow | None],
    began: float,
    judge: Judge = no_verdicts,
) -> Iterator[Chunk]:
    """Chunks from cached rows, one for each position from `start` on, up to the first row that is not cached.

    `tops`: candidates at each position of the path; `following`: the token after each; `began`: the start time of the
    first chunk. Raises Damaged.
    """
    while start < len(path) and (row := row_after(path[: start + 1])) is not None:
        logits = row.logits[None, :]
        read = reader.read(logits, following[start : start + 1], tops[start : start + 1])
        verdicts = judge(start, logits, read.log_sums)
        yield Chunk(start, read.distributions, read.taken, 0, time.perf_counter() - began, verdicts, row.strict)
        began, start = time.perf_counter(), start + 1


def decoded_chunks(
    batches: Iterator[Batch],
    path: list[int],
    tops: list[int],
    following: list[int | None],
    reader: LogitsReader,
    rows: LogitsCache,
    judge: Judge = no_verdicts,
) -> Iterator[Chunk]:
    """A chunk for each batch, as soon as it is decoded. The path's last rows are kept in `rows`.

    `tops`: candidates at each position of the path; `following`: the token after each. Raises Damaged, and the errors
    of decoding.
    """
    began, count = time.perf_counter(), 0
    for batch in batches:
        count += batch.decoded
        first, stop = batch.first, batch.first + len(batch.logits)
        if first == stop:
            continue
        read = reader.read(batch.logits, following[first:stop], tops[first:stop])
        verdicts = judge(first, batch.logits, read.log_sums)
        ended = time.perf_counter()
        try:
            yield Chunk(first, read.distributions, read.taken, count, ended - began, verdicts, batch.strict)
        finally:  # also where the caller stops here; after the yield, as the player waits for the answer
            # Cache the last positions: pops ask for those first.
            for end in range(max(first, len(path) - rows.room), stop):
                rows.keep(
                    path[: end + 1], LogitsRow(batch.logits[end - first], read.log_sums[end - first], batch.strict)
                )
        began, count = ended, 0
