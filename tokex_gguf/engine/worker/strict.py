"""Strict answers, which do not depend on what was decoded before: only those may be subtracted from each other.

They come from a second context of the model, opened for the first strict request, whose cells stay in the order of
their paths. Cells computed strictly in the first context are copied, and not decoded again.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.worker import logit_math, noise
from tokex_gguf.engine.worker.cells import NO_MEMORY, SPARE_CELLS, WORTH_COPYING, Batch, Cells, check_place
from tokex_gguf.engine.worker.chunks import Chunk, Damaged, LogitsReader, cached_chunks, decoded_chunks
from tokex_gguf.engine.worker.differing import RowDifferences
from tokex_gguf.engine.worker.llama import BATCH, BatchEntry, ModelError, OutOfCells, strict_size
from tokex_gguf.engine.worker.logit_math import Logits
from tokex_gguf.engine.worker.logits_cache import LogitsCache, LogitsRow
from tokex_gguf.values.difference import Difference


class StrictRows(NamedTuple):
    """Rows of logits at consecutive positions, computed strictly."""

    first: int
    """The position of the first row."""
    rows: list[LogitsRow]
    """Views that the next decode overwrites; only rows from the requested start on."""
    decoded: int


class StrictAnswers:
    """Strict answers for paths. Answers of the first context stay as they are."""

    def __init__(self, cells: Cells, rows: LogitsCache, reader: LogitsReader) -> None:
        """`cells`, `rows`: of the first context; their strict ones are used."""
        self._cells = cells
        self._rows = rows
        self._reader = reader
        self._strict_rows = LogitsCache(cells.model.vocabulary.size)
        """Rows of the second context: lenses and searches still read those of the first."""
        self._second: Cells | None = None
        """The cells of the second context, once it is opened."""
        self._differences = RowDifferences(cells.model.vocabulary.size)

    def evaluate(self, path: list[int], start: int, top: int) -> Iterator[Chunk]:
        """The distributions at positions `start` to the end of `path`, chunk by chunk, with `top` candidates each.

        Raises as `Evaluator.evaluate` does, and ModelError where memory is short.
        """
        check_place(path, start)
        self._cells.check(path)
        following, tops = [*path[1:], None], [top] * len(path)
        for chunk in cached_chunks(path, start, tops, following, self._reader, self.cached_row, time.perf_counter()):
            yield chunk
            start += 1
        if start < len(path):
            yield from decoded_chunks(
                self._batches(path, start), path, tops, following, self._reader, self._strict_rows
            )

    def rows(self, path: list[int], start: int, *, keep: bool = True) -> Iterator[StrictRows]:
        """The logits at positions `start` to the end of `path`, computed strictly, part by part.

        With `keep`, the last rows are cached. Raises as `evaluate` does.
        """
        check_place(path, start)
        self._cells.check(path)
        while start < len(path) and (row := self.cached_row(path[: start + 1])) is not None:
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
                last = len(path) - self._strict_rows.room if keep else len(path)
                for end in range(max(batch.first, last), batch.first + len(rows)):
                    self._strict_rows.keep(path[: end + 1], rows[end - batch.first])

    def look_ahead(self, path: list[int], tokens: list[int]) -> int:
        """Computes the rows after `path` and each of `tokens`, in one batch, and caches them.

        Returns how many rows were decoded: none where there is no room, or all are cached. Raises as `evaluate` does.
        """
        self._cells.check([*path, *tokens])
        new = [token for token in tokens if self.cached_row([*path, token]) is None][
            : max(0, self._strict_rows.room - 1)
        ]
        if not new or not self._cells.model.can_cut:
            return 0
        cells = self._cells_for(path, len(path) - 1)
        logits = cells.decode_after(path, new)
        if logits is None:
            return 0
        for token, row, log_sum in zip(new, logits, self._reader.log_sums(logits), strict=True):
            self._strict_rows.keep([*path, token], LogitsRow(row, log_sum, True))
        return len(new)

    def compare(self, path: list[int], other: list[int], top: int) -> tuple[Difference, int]:
        """How the distributions after two paths differ, and how many tokens were decoded for it.

        Raises as `evaluate` does.
        """
        for one in (path, other):
            check_place(one, len(one) - 1)
            self._cells.check(one)
        decoded = 0
        if path != other and self._cells.model.can_cut and self.cached_row(path) is self.cached_row(other) is None:
            self._cells_for(path, len(path) - 1)
            decoded = self._decode_together(self._cells_for(other, len(other) - 1), path, other)
        a, of_a = self._tip(path)
        b, of_b = self._tip(other)
        return self.difference(a, b, top, None), decoded + of_a + of_b

    def difference(self, a: LogitsRow, b: LogitsRow, top: int, token: int | None) -> Difference:
        """How two rows differ, also at `token` where one follows. Raises Damaged."""
        try:
            return self._differences.difference(a, b, top, token)
        except logit_math.NotFinite:
            raise Damaged("the model gives no numbers: its file is damaged") from None

    def noise(self) -> float:
        """How far apart two strict answers to one question can be with this model: see `noise.measure`.

        Raises as `evaluate` does.
        """
        if self._cells.model.positions < noise.PATH_TOKENS:
            raise ContextFull(noise.PATH_TOKENS, self._cells.model.context_limit)
        cells = self._cells_for([], 0)
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
        """Computes the rows after two paths in one batch, if few tokens are missing: that costs as much as one path.

        Returns how many tokens were decoded.
        """
        kept = [cells.sequences.strictly_held(one, len(one) - 1) for one in (path, other)]
        missing = len(path) + len(other) - sum(kept)
        size = strict_size(missing)
        room = cells.model.positions
        if size > BATCH or len(path) > room or len(other) + size - missing > room or self._strict_rows.room < 2:
            return 0
        if not cells.orderly or cells.sequences.free() < 2 or cells.filled + size > cells.model.cells:
            return 0
        first, first_held = cells.prepare(path, kept[0], strict=True)
        cells.sequences.hold(first, path, first_held)  # so that the second path gets another sequence
        second, second_held = cells.prepare(other, kept[1], strict=True)
        sides = [(path, first, first_held), (other, second, second_held)]
        # A row for each token, and padding after them, so that both are strict.
        entries = [
            BatchEntry(token, sequence, place, wanted=True)
            for one, sequence, start in sides
            for place, token in enumerate(one[start:], start)
        ]
        entries += [BatchEntry(other[0], second, len(other) + index, wanted=True) for index in range(size - missing)]
        try:
            if [first_held, second_held] != kept:  # cells outside the attention window are gone
                return 0
            logits = cells.model.decode(entries)
            cells.filled += missing
        except OutOfCells:
            return 0
        finally:
            for one, sequence, _ in sides:
                held = cells.model.cut(sequence, min(cells.model.count(sequence), len(one)))
                cells.sequences.hold(sequence, one[:held], held)
        rows = logits[[len(path) - first_held - 1, missing - 1]]
        log_sums = self._reader.log_sums(rows)
        for one, row, log_sum in zip((path, other), rows, log_sums, strict=True):
            self._strict_rows.keep(one, LogitsRow(row, log_sum, True))
        return missing

    def _batches(self, path: list[int], start: int) -> Iterator[Batch]:
        return (batch._replace(strict=True) for batch in self._cells_for(path, start).batches(path, start, strict=True))

    def _cells_for(self, path: list[int], start: int) -> Cells:
        """The cells for the rows of a path from `start` on: of the second context, if tails can be cut.

        They then include the path's cached prefix. Raises ModelError where memory is short.
        """
        first = self._cells
        if not first.model.can_cut:
            return first
        size = min(len(path), first.model.context_limit)
        if self._second is None:
            model = first.model.second_context(size + SPARE_CELLS)
            if model is None:
                raise ModelError(NO_MEMORY)
            self._second = Cells(model)
        second = self._second
        if start - second.sequences.strictly_held(path, start) >= WORTH_COPYING:
            first.fetch(path, start, strict=True)
        in_first, in_second = (cells.sequences.strictly_held(path, start) for cells in (first, second))
        copies = in_first - in_second >= WORTH_COPYING
        second.tidy(path, start, size - (0 if copies else in_second) + BATCH)
        if copies:
            first.copy_to(second, path, in_first)
        return second

    def cache_row(self, path: list[int], row: LogitsRow) -> None:
        """Caches the strict row after a path, which an earlier start has computed."""
        self._strict_rows.keep(path, row)

    def cached_row(self, path: list[int]) -> LogitsRow | None:
        """The strict row after a path, if it is cached."""
        row = self._rows.of(path)
        return row if row is not None and row.strict else self._strict_rows.of(path)

    def _tip(self, path: list[int]) -> tuple[LogitsRow, int]:
        """The row after a path, computed strictly, and how many tokens were decoded for it."""
        count = 0
        for part in self.rows(path, len(path) - 1):
            count += part.decoded
            if part.rows:
                row = part.rows[-1]._replace(logits=part.rows[-1].logits.copy())
        return row, count
