"""Answers that are the same whatever was decoded before: only those may be subtracted from each other.

They come from a second context of the model, opened when the first is asked for, whose cells stay in the order of their
paths. What was computed strictly in the first context is carried over, and not decoded again.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.worker import logit_math, noise
from tokex_gguf.engine.worker.cells import NO_MEMORY, SPARE_CELLS, WORTH, Batch, Cells, check_place
from tokex_gguf.engine.worker.chunks import Chunk, Damaged, LogitsReader, decoded, known
from tokex_gguf.engine.worker.differing import RowDifferences
from tokex_gguf.engine.worker.llama import (
    BATCH,
    BatchEntry,
    ModelError,
    OutOfCells,
    strict_size,
)
from tokex_gguf.engine.worker.logit_math import Logits
from tokex_gguf.engine.worker.logits_cache import LogitsCache, LogitsRow
from tokex_gguf.values.difference import Difference


class StrictRows(NamedTuple):
    """Rows of logits at consecutive positions, computed strictly."""

    first: int
    """The position of the first."""
    rows: list[LogitsRow]
    """Views that the next decode overwrites; none before the first that is asked for."""
    decoded: int


class StrictAnswers:
    """Strict answers for paths. What was answered in the first context stays as it is."""

    def __init__(self, cells: Cells, rows: LogitsCache, reader: LogitsReader) -> None:
        """`cells`, `rows`: those of the first context; what of them is strict is used."""
        self._cells = cells
        self._rows = rows
        self._reader = reader
        self._kept = LogitsCache(cells.model.vocabulary.size)
        """Rows that were computed here: lenses and searches go on reading those of what was answered first."""
        self._aside: Cells | None = None
        """Where strict answers are computed, once one is asked for."""
        self._comparing = RowDifferences(cells.model.vocabulary.size)

    def evaluate(self, path: list[int], start: int, top: int) -> Iterator[Chunk]:
        """The distributions at positions `start` to the end of `path`, chunk by chunk, with `top` candidates each.

        Raises as `Evaluator.evaluate` does, and ModelError where memory is short.
        """
        check_place(path, start)
        self._cells.check(path)
        following, tops = [*path[1:], None], [top] * len(path)
        for chunk in known(path, start, tops, following, self._reader, self._row, time.perf_counter()):
            yield chunk
            start += 1
        if start < len(path):
            yield from decoded(self._batches(path, start), path, tops, following, self._reader, self._kept)

    def rows(self, path: list[int], start: int, *, keep: bool = True) -> Iterator[StrictRows]:
        """The logits at positions `start` to the end of `path`, computed strictly, part by part.

        With `keep`, the last of them are kept. Raises as `evaluate` does.
        """
        check_place(path, start)
        self._cells.check(path)
        while start < len(path) and (row := self._row(path[: start + 1])) is not None:
            yield StrictRows(start, [row], 0)
            start += 1
        if start == len(path):
            return
        for batch in self._batches(path, start):
            log_sums = self._reader.log_sums(batch.logits)
            rows = [LogitsRow(row, log_sum, True) for row, log_sum in zip(batch.logits, log_sums, strict=True)]
            try:
                yield StrictRows(batch.first, rows, batch.decoded)
            finally:
                last = len(path) - self._kept.room if keep else len(path)
                for end in range(max(batch.first, last), batch.first + len(rows)):
                    self._kept.keep(path[: end + 1], rows[end - batch.first])

    def look_ahead(self, path: list[int], tokens: list[int]) -> int:
        """Computes the rows after `path` and each of some tokens that may follow, in one batch, and keeps them.

        Returns how many of them were decoded: none where there is no room, or all are kept. Raises as `evaluate` does.
        """
        self._cells.check([*path, *tokens])
        new = [token for token in tokens if self._row([*path, token]) is None][: max(0, self._kept.room - 1)]
        if not new or not self._cells.model.can_cut:
            return 0
        cells = self._place(path, len(path) - 1)
        logits = cells.decode_behind(path, new)
        if logits is None:
            return 0
        for token, row, log_sum in zip(new, logits, self._reader.log_sums(logits), strict=True):
            self._kept.keep([*path, token], LogitsRow(row, log_sum, True))
        return len(new)

    def compare(self, path: list[int], other: list[int], top: int) -> tuple[Difference, int]:
        """How the distributions after two paths differ, and how many tokens were decoded for it.

        Raises as `evaluate` does.
        """
        for one in (path, other):
            check_place(one, len(one) - 1)
            self._cells.check(one)
        together = 0
        if path != other and self._cells.model.can_cut and self._row(path) is self._row(other) is None:
            self._place(path, len(path) - 1)
            together = self._decode_together(self._place(other, len(other) - 1), path, other)
        a, of_a = self._tip(path)
        b, of_b = self._tip(other)
        return self.difference(a, b, top, None), together + of_a + of_b

    def difference(self, a: LogitsRow, b: LogitsRow, top: int, token: int | None) -> Difference:
        """How two rows differ, with what both say of a token where one comes next. Raises Damaged."""
        try:
            return self._comparing.difference(a, b, top, token)
        except logit_math.NotFinite:
            raise Damaged("the model gives no numbers: its file is damaged") from None

    def noise(self) -> float:
        """How far apart strict answers to one question are with this model: see `noise.measure`.

        Raises as `evaluate` does.
        """
        if self._cells.model.positions < noise.PATH_TOKENS:
            raise ContextFull(noise.PATH_TOKENS, self._cells.model.context_limit)
        cells = self._place([], 0)
        if cells is not self._cells:
            cells.tidy([], 0, 3 * noise.PATH_TOKENS)
        sequences = cells.two_victims()
        cells.forget(sequences)

        def decode(entries: list[BatchEntry], threads: int) -> Logits:
            logits = cells.decode(entries, entries[0].sequence, threads)
            self._reader.log_sums(logits)
            return logits

        try:
            return noise.measure(cells.model, decode, *sequences)
        except OutOfCells:
            raise ContextFull(noise.PATH_TOKENS, cells.model.cells) from None
        finally:
            cells.forget(sequences)

    def _decode_together(self, cells: Cells, path: list[int], other: list[int]) -> int:
        """Computes the rows after two paths in one batch, if so few tokens are missing: it costs as much as one.

        Returns how many tokens were decoded.
        """
        kept = [cells.sequences.strictly_held(one, len(one) - 1) for one in (path, other)]
        missing = len(path) + len(other) - sum(kept)
        size = strict_size(missing)
        room = cells.model.positions
        if size > BATCH or len(path) > room or len(other) + size - missing > room or self._kept.room < 2:
            return 0
        if not cells.orderly or cells.sequences.free() < 2 or cells.filled + size > cells.model.cells:
            return 0
        first, at = cells.prepare(path, kept[0], strict=True)
        cells.sequences.hold(first, path, at)  # so that the other one takes another
        second, there = cells.prepare(other, kept[1], strict=True)
        places = [(path, first, at), (other, second, there)]
        # As many rows as tokens, and others behind them: for both to be strict.
        entries = [
            BatchEntry(token, sequence, place, wanted=True)
            for one, sequence, start in places
            for place, token in enumerate(one[start:], start)
        ]
        entries += [BatchEntry(other[0], second, len(other) + index, wanted=True) for index in range(size - missing)]
        try:
            if [at, there] != kept:  # a window's cells are gone
                return 0
            logits = cells.model.decode(entries)
            cells.filled += missing
        except OutOfCells:
            return 0
        finally:
            for one, sequence, _ in places:
                held = cells.model.cut(sequence, min(cells.model.count(sequence), len(one)))
                cells.sequences.hold(sequence, one[:held], held)
        rows = logits[[len(path) - at - 1, missing - 1]]
        log_sums = self._reader.log_sums(rows)
        for one, row, log_sum in zip((path, other), rows, log_sums, strict=True):
            self._kept.keep(one, LogitsRow(row, log_sum, True))
        return missing

    def _batches(self, path: list[int], start: int) -> Iterator[Batch]:
        return (one._replace(strict=True) for one in self._place(path, start).batches(path, start, strict=True))

    def _place(self, path: list[int], start: int) -> Cells:
        """Where the rows of a path from `start` on are computed: in the second context, if tails can be cut.

        It then holds what is cached of the path's beginning.
        """
        first = self._cells
        if not first.model.can_cut:
            return first
        size = min(len(path), first.model.context_limit)
        if self._aside is None:
            model = first.model.aside(size + SPARE_CELLS)
            if model is None:
                raise ModelError(NO_MEMORY)
            self._aside = Cells(model)
        aside = self._aside
        if start - aside.sequences.strictly_held(path, start) >= WORTH:
            first.fetch(path, start, strict=True)
        here, there = (one.sequences.strictly_held(path, start) for one in (first, aside))
        carries = here - there >= WORTH
        aside.tidy(path, start, size - (0 if carries else there) + BATCH)
        if carries:
            first.carry(path, here, aside)
        return aside

    def _row(self, path: list[int]) -> LogitsRow | None:
        """The row after a path that was computed strictly, if it is kept."""
        row = self._rows.of(path)
        return row if row is not None and row.strict else self._kept.of(path)

    def _tip(self, path: list[int]) -> tuple[LogitsRow, int]:
        """The row after a path, computed strictly, and how many tokens were decoded for it."""
        count = 0
        for part in self.rows(path, len(path) - 1):
            count += part.decoded
            if part.rows:
                row = part.rows[-1]._replace(logits=part.rows[-1].logits.copy())
        return row, count
