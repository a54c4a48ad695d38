"""Evaluating a path: reuse what is cached, decode what is missing, turn logits into numbers."""

import ctypes
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, takewhile
from typing import NamedTuple

from tokex_gguf.engine.kv_folder import KvFolder, Link, closing
from tokex_gguf.engine.worker import logit_math, noise
from tokex_gguf.engine.worker.branch_worth import BranchWorth
from tokex_gguf.engine.worker.differing import Comparing
from tokex_gguf.engine.worker.kv_plan import Sequences
from tokex_gguf.engine.worker.lenses import Lenses, Seen, likeliest
from tokex_gguf.engine.worker.llama import (
    BATCH,
    LARGE,
    LONG,
    SMALLEST_CONTEXT,
    STEP,
    STRICT,
    Entry,
    Interrupted,
    Llama,
    ModelError,
    OutOfCells,
    strict_size,
)
from tokex_gguf.engine.worker.logits_cache import Row, Rows
from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.dice import numbers
from tokex_gguf.values.difference import Difference
from tokex_gguf.values.distribution import Distribution, Taken
from tokex_gguf.values.lens import RAW, Raw, Sampled
from tokex_gguf.values.record import record
from tokex_gguf.values.samplers import NO_CHAIN
from tokex_gguf.values.sequence import common_prefix
from tokex_gguf.values.view import KEPT, Draw, Verdict, View

WORTH = 2 * STRICT
"""Tokens from which on carrying their cells to another context is faster than decoding them again."""
ROOM = 512
"""Cells of the context for strict answers, beside those of a path."""
FEW = 4
"""Branches of a lookahead that may take the sequences of others, where none is free: more only take each other's."""
RANKED = 100
"""Candidates that are looked at to find which branches will be gone on from."""
NO_MEMORY = "not enough memory for a second context, which strict answers need"


class ContextFull(Exception):
    """A path is longer than the context can be made."""

    def __init__(self, needed: int, room: int) -> None:
        super().__init__(f"context full ({room}/{room}): the prompt has {needed} tokens, {room} fit")
        self.room = room


class Damaged(ModelError):
    """The model gives no numbers. What it decoded before may be as wrong, and so may be the cache."""


@record
class Chunk:
    """Distributions at consecutive positions from `start`, and what they cost."""

    start: int
    distributions: list[Distribution]
    taken: list[Taken]
    decoded: int
    seconds: float
    verdicts: list[Verdict]
    """What the lens made of each of `taken`; none through the raw one."""
    strict: bool
    """Whether they are the same whatever was decoded before."""


class Part(NamedTuple):
    """Rows of logits at consecutive positions, computed strictly."""

    first: int
    """The position of the first."""
    rows: list[Row]
    """Views that the next decode overwrites; none before the first that is asked for."""
    decoded: int


class Held(NamedTuple):
    """Where some of a path is cached."""

    sequence: int
    length: int
    """How many of its first tokens."""
    strict: int
    """How many of them were computed strictly."""


class Evaluator:
    """Answers for paths with one model; keeps the record of what its KV cache holds."""

    def __init__(self, model: Llama, folder: KvFolder | None = None) -> None:
        """`folder`: where cells are that were computed at earlier starts."""
        self._model = model
        self._folder = folder
        self._sequences = Sequences(model.sequences, can_cut=model.can_cut)
        self._statistics = logit_math.Statistics(model.vocabulary.size)
        self._rows = Rows(model.vocabulary.size)
        self._strict_rows = Rows(model.vocabulary.size)
        """Of strict evaluations alone: the others go on giving what was answered first."""
        self._aside: Evaluator | None = None
        """Where strict answers are computed, once one is asked for."""
        self._cell_bytes = 0
        self._filled = 0
        """Cells that were filled, one behind the other."""
        self._in_order = True
        """Whether later cells come behind them. Attention adds up cells in their own order, and not in that of the
        tokens: those that were given up leave gaps, which later tokens take."""
        self._comparing = Comparing(model.vocabulary.size)
        self._lenses = Lenses(model.vocabulary)
        self._tells = False
        """Whether a row of logits has told tokens apart."""
        self._trunk: list[int] = []
        """The path of the last lookahead."""
        self._branches: list[int] = []
        """The sequences that hold it and a branch behind it."""
        self._worth = BranchWorth()

    def evaluate(
        self,
        path: list[int],
        start: int,
        top: int,
        asked: int | None = None,
        last_top: int = 0,
        lens: Raw | Sampled = RAW,
    ) -> Iterator[Chunk]:
        """The distributions at positions `start` to the end of `path`, chunk by chunk.

        Each has `top` candidates, the last one `last_top` where these are more. `asked` is a
        token whose probability after the whole path is wanted too. Through a `lens`, there are
        verdicts on the tokens taken. Raises ContextFull after the part that fits, ModelError,
        Damaged, and Interrupted. What was decoded by then stays cached.
        """
        _check_place(path, start)
        self._check(path if asked is None else [*path, asked])
        began = time.perf_counter()
        self._recall(lens, path[: start + 1])
        following = [*path[1:], asked]
        while start < len(path) and (row := self._rows.of(path[: start + 1])) is not None:
            few = top if start < len(path) - 1 else max(top, last_top)
            read = self._read(row.logits[None, :], following[start : start + 1], [few])
            verdicts = self._verdicts(lens, path, start, row.logits[None, :], read.log_sums, following)
            seconds = time.perf_counter() - began
            yield Chunk(start, read.distributions, read.taken, 0, seconds, verdicts, row.strict)
            began, start = time.perf_counter(), start + 1
        if start < len(path):
            yield from self._decoded(path, start, [top] * (len(path) - 1) + [max(top, last_top)], following, lens)

    def evaluate_strictly(self, path: list[int], start: int, top: int) -> Iterator[Chunk]:
        """`evaluate`, with numbers that are the same whatever was decoded before.

        What `evaluate` answers stays as it is.
        """
        _check_place(path, start)
        self._check(path)
        began = time.perf_counter()
        following = [*path[1:], None]
        while start < len(path) and (row := self._strict_row(path[: start + 1])) is not None:
            read = self._read(row.logits[None, :], following[start : start + 1], [top])
            yield Chunk(start, read.distributions, read.taken, 0, time.perf_counter() - began, [], strict=True)
            began, start = time.perf_counter(), start + 1
        if start < len(path):
            aside = self._strictly(path, start)
            yield from aside._decoded(path, start, [top] * len(path), following, strict=True)

    def strict_rows(self, path: list[int], start: int) -> Iterator[Part]:
        """The logits at positions `start` to the end of `path`, computed strictly, part by part.

        Raises as `evaluate` does.
        """
        _check_place(path, start)
        self._check(path)
        while start < len(path) and (row := self._strict_row(path[: start + 1])) is not None:
            yield Part(start, [row], 0)
            start += 1
        if start == len(path):
            return
        for batch in self._strictly(path, start)._batches(path, start, strict=True):
            log_sums = self._read(batch.logits, [None] * len(batch.logits), [1] * len(batch.logits)).log_sums
            rows = [Row(row, log_sum, True) for row, log_sum in zip(batch.logits, log_sums, strict=True)]
            try:
                yield Part(batch.first, rows, batch.decoded)
            finally:
                for end in range(max(batch.first, len(path) - self._strict_rows.room), batch.first + len(rows)):
                    self._strict_rows.keep(path[: end + 1], rows[end - batch.first])

    def compare(self, path: list[int], other: list[int], top: int) -> tuple[Difference, int]:
        """How the distributions after two paths differ, and how many tokens were decoded for it.

        Raises as `evaluate` does.
        """
        for one in (path, other):
            _check_place(one, len(one) - 1)
            self._check(one)
        decoded = 0
        if path != other and self._model.can_cut and self._strict_row(path) is self._strict_row(other) is None:
            self._strictly(path, len(path) - 1)
            decoded = self._strictly(other, len(other) - 1)._decode_together(path, other)
        a, of_a = self._strict_tip(path)
        b, of_b = self._strict_tip(other)
        return self.difference(a, b, top, None), decoded + of_a + of_b

    def _decode_together(self, path: list[int], other: list[int]) -> int:
        """Computes the rows after two paths in one batch, if so few tokens are missing: it costs as much as one.

        Returns how many tokens were decoded.
        """
        kept = [self._sequences.strictly_held(one, len(one) - 1) for one in (path, other)]
        missing = len(path) + len(other) - sum(kept)
        size = strict_size(missing)
        room = max(self._model.context_limit, SMALLEST_CONTEXT)
        if size > BATCH or len(path) > room or len(other) + size - missing > room or self._strict_rows.room < 2:
            return 0
        if not self._orderly or self._sequences.free() < 2 or self._filled + size > self._model.cells:
            return 0
        first, at = self._prepare(path, kept[0], strict=True)
        self._sequences.hold(first, path, at)  # so that the other one takes another
        second, there = self._prepare(other, kept[1], strict=True)
        places = [(path, first, at), (other, second, there)]
        # As many rows as tokens, and others behind them: for both to be strict.
        entries = [
            Entry(token, sequence, place, wanted=True)
            for one, sequence, start in places
            for place, token in enumerate(one[start:], start)
        ]
        entries += [Entry(other[0], second, len(other) + index, wanted=True) for index in range(size - missing)]
        try:
            if [at, there] != kept:  # a window's cells are gone
                return 0
            logits = self._model.decode(entries)
            self._filled += missing
        except OutOfCells:
            return 0
        finally:
            for one, sequence, _ in places:
                held = self._model.cut(sequence, min(self._model.count(sequence), len(one)))
                self._sequences.hold(sequence, one[:held], held)
        rows = logits[[len(path) - at - 1, missing - 1]]
        log_sums = self._read(rows, [None, None], [1, 1]).log_sums
        for one, row, log_sum in zip((path, other), rows, log_sums, strict=True):
            self._strict_rows.keep(one, Row(row, log_sum, True))
        return missing

    def difference(self, a: Row, b: Row, top: int, token: int | None) -> Difference:
        """How two rows differ, with what both say of a token where one comes next. Raises Damaged."""
        try:
            return self._comparing.difference(a, b, top, token)
        except logit_math.NotFinite:
            raise Damaged("the model gives no numbers: its file is damaged") from None

    def noise(self) -> float:
        """How far apart strict answers to one question are with this model: see `noise.measure`.

        Raises as `evaluate` does.
        """
        aside = self._strictly([], 0)
        if aside is not self:
            aside._tidy([], 0, 3 * noise.LENGTH)
        return aside._noise()

    def _noise(self) -> float:
        sequences = self._two_victims()
        self._forget_all(sequences)

        def decode(entries: list[Entry], threads: int) -> logit_math.Logits:
            logits = self._decode_entries(entries, entries[0].sequence, threads)
            self._read(logits, [None] * len(logits), [1] * len(logits))
            return logits

        try:
            return noise.measure(self._model, decode, *sequences)
        except OutOfCells:
            raise ContextFull(noise.LENGTH, self._model.cells) from None
        finally:
            self._forget(sequences)

    def _two_victims(self) -> list[int]:
        first = self._sequences.victim(without=[])
        second = self._sequences.victim(without=[first] if first is not None else [])
        return [one for one in (first, second) if one is not None]

    def _strictly(self, path: list[int], start: int) -> "Evaluator":
        """Where the rows of a path from `start` on are computed strictly: in another context, if tails can be cut.

        It then holds what is cached of the path's beginning.
        """
        if not self._model.can_cut:
            return self
        size = min(len(path), self._model.context_limit)
        if self._aside is None:
            model = self._model.aside(size + ROOM)
            if model is None:
                raise ModelError(NO_MEMORY)
            self._aside = Evaluator(model)
            self._aside._strict_rows = self._strict_rows
        aside = self._aside
        if start - aside._sequences.strictly_held(path, start) >= WORTH:
            self._fetch(path, start, strict=True)
        here, there = (one._sequences.strictly_held(path, start) for one in (self, aside))
        carries = here - there >= WORTH
        aside._tidy(path, start, size - (0 if carries else there) + BATCH)
        if carries:
            sequence, held = self._prepare(path, here, strict=True)
            state = self._model.state(sequence) if held == here else None
            target = aside._sequences.victim(without=[])
            if state is not None and target is not None and aside._model.restore(target, state):
                aside._sequences.hold(target, path[:held], held)
                aside._filled += held
        return aside

    # --- what stays from one start to the next

    def warm_up(self) -> None:
        """Makes the first decode as fast as later ones, where nothing was decoded yet."""
        if not self._sequences.latest() and (sequence := self._sequences.victim(without=[])) is not None:
            self._model.warm_up(sequence)

    @property
    def in_parts(self) -> bool:
        """Whether cells of any part of a path can be taken, and ends of what is there be cut off."""
        return self._model.in_parts

    def cached(self, path: list[int]) -> "Held | None":
        """Where the most of a path is cached; None where nothing is."""
        sequence = self._sequences.holding(path, whole=not self.in_parts)
        if sequence is None:
            return None
        count = common_prefix(self._sequences.held(sequence), path)
        return Held(sequence, count, min(self._sequences.strict(sequence), count))

    def cell_bytes(self, held: "Held") -> int:
        """Bytes of the cells of a token."""
        if not self._cell_bytes:
            self._cell_bytes = self._model.size(held.sequence) // len(self._sequences.held(held.sequence))
        return self._cell_bytes

    def take(self, held: "Held", start: int, end: int) -> memoryview | None:
        """Cells of what is cached, at the positions `start` to before `end`; None where they cannot be had."""
        if not self.in_parts:
            state = self._model.state(held.sequence)
        else:
            spare = self._sequences.victim(without=[held.sequence])
            if spare is None or self._sequences.held(spare):
                return None
            state = self._model.take(held.sequence, start, end, spare)
        return None if state is None else memoryview(state).cast("B")

    def known_row(self, path: list[int]) -> Row | None:
        """The logits after a path, if they are there."""
        return self._rows.of(path)

    def know_row(self, path: list[int], row: Row) -> None:
        """Searches and views of a path go on from these logits, as what was shown of it did."""
        self._rows.keep(path, row)

    def _fetch(self, path: list[int], limit: int, *, strict: bool = False) -> None:
        """Lets a sequence hold what is on the disk of a path's first `limit` tokens, where much of that is missing.

        With `strict`, for what was computed strictly.
        """
        limit = min(limit, self._model.context_limit)
        if self._folder is None or limit < WORTH or (strict and not self._orderly):
            return
        have = self._sequences.strictly_held(path, limit) if strict else self._sequences.held_best(path, limit)
        if limit - have < WORTH:
            return
        with closing(self._folder.chain(path[:limit])) as links:
            links = self._of_use(links, strict=strict)
            count = sum(link.shared for link in links)
            if count - have < WORTH or (target := self._emptied(path, count)) is None:
                return
            held = sure = 0
            for link in links:
                state = self._folder.cells(link)
                if state is None or not self._put(target, link, state):
                    break
                sure += link.reader.strict if sure == held else 0
                held += link.shared
            held = self._model.cut(target, min(held, self._model.count(target)))
            self._filled += held
            self._sequences.hold(target, path[:held], min(sure, held) if self._orderly else 0)
            self._folder.touch([link.name for link in links])

    def _of_use(self, links: list[Link], *, strict: bool) -> list[Link]:
        """Those of a path's parts whose cells can be put back, and with `strict`, were computed strictly."""
        found: list[Link] = []
        for link in links:
            whole = link.shared == len(link.reader.tokens)
            if not link.reader.size or not (whole or self._model.can_cut):
                break
            if strict and link.reader.strict < link.shared:
                break
            found.append(link)
        return found

    def _put(self, target: int, link: Link, state: bytearray) -> bool:
        """Puts the cells of a part behind those that a sequence has; returns whether they are there."""
        start, end = link.reader.start, link.reader.start + link.shared
        while True:
            spare = self._sequences.victim(without=[target])
            if self.in_parts and spare is not None:
                there = self._model.put(target, state, start, end, spare)
            else:
                there = self._model.restore(target, state)
            if there or (victim := self._sequences.evictable(without=target)) is None:
                return there
            self._forget_all([victim])  # paths that were decoded twice take more cells than they would have to

    def _emptied(self, path: list[int], count: int) -> int | None:
        """An empty sequence, and room for so many cells of a path; None where there is not so much.

        Another one is empty, too.
        """
        if count + BATCH > self._model.cells < self._model.context_limit:
            if not self._model.clear(min(self._model.context_limit, max(2 * self._model.cells, len(path) + BATCH))):
                return None
            self._sequences = Sequences(self._model.sequences, can_cut=self._model.can_cut)
            self._trunk, self._branches = [], []
            self._filled, self._in_order = 0, True
        while self._sequences.cells() + count > self._model.cells:
            if (victim := self._sequences.evictable(without=-1)) is None:
                return None
            self._forget_all([victim])
        found = self._two_victims()
        self._forget_all(found)
        return found[0] if found else None

    def _tidy(self, path: list[int], start: int, needed: int) -> None:
        """Makes room for so many cells behind all others, and for sequences: none is given up while others stay.

        So each sequence's cells stay in its order. Where room is short, all are taken out, and what serves the path
        best and what was used last are put back.
        """
        if self._in_order and self._sequences.free() > 1 and self._filled + needed <= self._model.cells:
            return
        plan = self._sequences.plan(path, start, strict=True)
        best = plan.sequence if plan.source is None else plan.source
        kept: list[tuple[list[int], int, ctypes.Array[ctypes.c_uint8]]] = []
        for sequence in dict.fromkeys([*([best] if plan.keep else []), *self._sequences.latest()]):
            tokens, sure = self._sequences.held(sequence), self._sequences.strict(sequence)
            part = any(tokens == other[: len(tokens)] for other, _, _ in kept)
            if (
                len(kept) < 2
                and not part
                and sure == len(tokens)
                and (state := self._model.state(sequence)) is not None
            ):
                kept.append((tokens, sure, state))
        while True:
            cells = sum(len(tokens) for tokens, _, _ in kept) + needed
            if self._model.clear(cells if cells <= self._model.cells else cells + ROOM):
                break
            if not kept:
                raise ModelError(NO_MEMORY)
            kept.pop()
        self._sequences = Sequences(self._model.sequences, can_cut=self._model.can_cut)
        self._filled, self._in_order = 0, True
        for sequence, (tokens, sure, state) in reversed(list(enumerate(kept))):
            if self._model.restore(sequence, state):
                self._sequences.hold(sequence, tokens, sure)
                self._filled += len(tokens)

    def _strict_row(self, path: list[int]) -> Row | None:
        """The row after a path that was computed strictly, if it is kept."""
        row = self._rows.of(path)
        return row if row is not None and row.strict else self._strict_rows.of(path)

    def _strict_tip(self, path: list[int]) -> tuple[Row, int]:
        """The row after a path, computed strictly, and how many tokens were decoded for it."""
        decoded = 0
        for part in self.strict_rows(path, len(path) - 1):
            decoded += part.decoded
            if part.rows:
                row = part.rows[-1]._replace(logits=part.rows[-1].logits.copy())
        return row, decoded

    def _check(self, tokens: list[int]) -> None:
        """Raises ModelError for a token that the vocabulary has not."""
        size = self._model.vocabulary.size
        if tokens and not (min(tokens) >= 0 and max(tokens) < size):
            raise ModelError(f"a token id outside the vocabulary of {size:,}")

    def _recall(self, lens: Raw | Sampled, path: list[int]) -> None:
        """Brings back what a lens remembers of a path's choices, where that is lost."""
        if isinstance(lens, Raw) or (known := self._lenses.remembered(lens, path)) >= len(path):
            return
        for _ in self.evaluate(path[:-1], max(known, 1) - 1, 1, path[-1], 1, lens):
            pass

    def _verdicts(
        self,
        lens: Raw | Sampled,
        path: list[int],
        first: int,
        logits: logit_math.Logits,
        log_sums: list[float],
        following: list[int | None],
    ) -> list[Verdict]:
        """What a lens makes of the tokens that follow some rows, the first of which is at position `first`.

        There are none where the lens fails: what the model says is told all the same. Raises Interrupted.
        """
        if isinstance(lens, Raw):
            return []
        verdicts: list[Verdict] = []
        for position, (row, log_sum) in enumerate(zip(logits, log_sums, strict=True), first):
            if self._model.interrupted:
                raise Interrupted
            token, before = following[position], path[: position + 1]
            if token is not None and position + 1 < lens.start and lens.chain == NO_CHAIN:
                verdicts.append(Verdict(math.exp(float(row[token]) - log_sum), KEPT))
            elif token is not None:
                try:
                    seen = self._lenses.see(lens, row, log_sum, before)
                except ModelError:
                    return []
                verdicts.append(seen.verdict(token))
                self._lenses.chose(lens, before, seen, token)
        return verdicts

    def _decoded(
        self,
        path: list[int],
        start: int,
        tops: list[int],
        following: list[int | None],
        lens: Raw | Sampled = RAW,
        *,
        strict: bool = False,
    ) -> Iterator[Chunk]:
        """`evaluate`, or `evaluate_strictly`, by decoding alone: the path's cells are there afterwards.

        `tops`: candidates at each position.
        """
        began, decoded = time.perf_counter(), 0
        rows = self._strict_rows if strict else self._rows
        for batch in self._batches(path, start, strict=strict):
            decoded += batch.decoded
            first, behind = batch.first, batch.first + len(batch.logits)
            if first == behind:
                continue
            read = self._read(batch.logits, following[first:behind], tops[first:behind])
            verdicts = self._verdicts(lens, path, first, batch.logits, read.log_sums, following)
            ended = time.perf_counter()
            try:
                yield Chunk(
                    first, read.distributions, read.taken, decoded, ended - began, verdicts, batch.strict or strict
                )
            finally:  # also where nobody asks for more; the answer goes first, as somebody waits for it
                # The path's last ones: who goes back goes there first.
                for end in range(max(first, len(path) - rows.room), behind):
                    row = Row(batch.logits[end - first], read.log_sums[end - first], batch.strict or strict)
                    rows.keep(path[: end + 1], row)
            began, decoded = ended, 0

    def _batches(self, path: list[int], start: int, *, strict: bool = False) -> "Iterator[_Batch]":
        """Decodes a path, batch by batch, for the rows at positions `start` to its end.

        Each batch has about as many tokens as the others: so none has few, unless few are left. To be strict, the
        last one has others behind them, whose cells go again; where there is no room for these, some are decoded again.
        Of many, those that need not be strict are decoded in larger batches.
        """
        room = self._model.context_limit
        end = min(len(path), room)
        again = strict and not self._model.can_cut
        sequence, position = self._prepare(path, min(start, max(0, end - STRICT)) if again else start, strict=strict)
        large = not strict and self._model.reads_fast and end - position >= LONG
        while position < len(path):
            if position >= room:
                raise ContextFull(len(path), room)
            count = LARGE if large and end - position >= LARGE else _part(end - position)
            more = strict_size(count) - count if self._model.can_cut else 0
            if position + count + more > max(room, SMALLEST_CONTEXT):
                if strict and not again and position >= more:
                    again = True
                    sequence, position = self._prepare(path, position - more, strict=True)
                    continue
                more = 0
            if not strict and (count < STRICT or self._sequences.strict(sequence) < position):
                more = 0
            sequence = self._make_room(path, sequence, position, min(count + more, room - position))
            # A position before `start` needs its cells but no answer.
            first_row = min(max(start - position, 0), count)
            wanted = count + more - first_row
            # The last layer and the logits are computed of the rows alone: these, too, must be so many.
            extra = min(first_row, strict_size(wanted) - wanted) if strict and first_row < count else 0
            try:
                logits = self._decode(path, sequence, position, count, first_row - extra, more)
            except OutOfCells:
                raise ContextFull(len(path), position) from None
            first = position + first_row
            position += count
            sure = self._sequences.strict(sequence) == position and _is_strict(len(logits))
            yield _Batch(first, logits[extra : extra + count - first_row], count, sure)

    def look_ahead(self, path: list[int], branches: list[list[int]], top: int) -> list[Distribution]:
        """The distributions after `path` and each of the first of some branches, decoded in one batch.

        There is at least one, and as many as there are sequences and room in a batch for. They share the path's
        cells, and those of what they begin with. Each branch keeps a sequence of its own as long as there is no
        other use for it and the path goes on there, so that going on with it finds it cached. Raises as `evaluate`
        does.
        """
        first = branches[0] if branches else []
        self._check([*path, *chain.from_iterable(branches)])
        if not first:
            raise ModelError("nothing to look ahead to")
        room = self._model.context_limit
        if len(path) + len(first) > room:
            raise ContextFull(len(path) + len(first), room)
        base = self._settle(path)
        fitting = takewhile(lambda one: one and len(path) + len(one) <= room, branches)
        plans = self._plan_branches(path, base, list(fitting))
        if not plans:
            return self._alone([*path, *first], top)
        return self._decode_branches(path, plans, top)

    def _settle(self, path: list[int]) -> int:
        """Makes a sequence hold a path, for branches to go on from; returns it."""
        base, position = self._prepare(path, len(path))
        if position < len(path):  # given up meanwhile, even where the row is kept
            for _ in self._decoded(path, len(path) - 1, [1] * len(path), [None] * len(path)):
                pass
            base, position = self._prepare(path, len(path))
            if position < len(path):
                raise ModelError("this path cannot be kept")
        if path != self._trunk:
            # Those that do not go on from here are worth nothing any more.
            away = [one for one in self._branches if self._sequences.held(one)[: len(path)] != path]
            self._forget_all(away)
            known = len(self._trunk)
            self._worth.move(tuple(path[known:]) if path[:known] == self._trunk else None)
            self._trunk = path
            if (row := self._rows.of(path)) is not None:
                self._worth.note((), self._statistics.distribution(row.logits, RANKED)[0])
        self._sequences.use(base)
        return base

    def _alone(self, path: list[int], top: int) -> list[Distribution]:
        """The distribution after one path, on the way that all others take."""
        return [chunk.distributions[-1] for chunk in self.evaluate(path, len(path) - 1, top)][-1:]

    def _plan_branches(self, path: list[int], base: int, branches: list[list[int]]) -> "list[_BranchPlan]":
        """What is to be decoded for some branches, each in a sequence that shares what is cached of it."""
        cached: dict[tuple[int, ...], int] = {(): base}
        for one in self._branches:
            tail = tuple(self._sequences.held(one)[len(path) :])
            ends = range(1, len(tail) + 1) if self._model.can_cut else [len(tail)]
            cached.update((tail[:end], one) for end in ends if end)
        needed = [cached[_longest(branch, cached)] for branch in branches]
        tails = {one: tuple(self._sequences.held(one)[len(path) :]) for one in self._branches}
        worth = self._worth.worth(tails)
        old = sorted((one for one in self._branches if one not in needed), key=worth.__getitem__)
        old += [one for one in reversed(needed) if one in self._branches]  # these go last
        plans: list[_BranchPlan] = []
        taken: list[int] = []
        planned: dict[tuple[int, ...], int] = {}
        """What is decoded for those before, and how much of that is cached."""
        left = BATCH
        for branch in branches:
            begin = _longest(branch, cached)
            source, keep = cached[begin], len(path) + len(begin)
            own = len(begin)
            while self._model.can_cut and own < len(branch) - 1 and planned.get(tuple(branch[: own + 1])) == len(begin):
                own += 1
            missing = len(branch) - own
            if missing > (left if self._model.can_cut else 1):
                break
            # Else it goes on there: others that go on from the same place find its cells all the same.
            apart = not self._model.can_cut or source == base or source in taken or not self._ends(source, keep)
            target = self._place(base, old, [*taken, source]) if apart else source
            if target is None:
                break
            if apart:
                self._cut(target, 0)
                for gone in [tail for tail, sequence in cached.items() if sequence == target]:
                    del cached[gone]
                self._model.copy(source, target, keep)
                held = self._model.cut(target, keep)  # whatever goes, the source has it
                self._sequences.hold(target, [*path, *branch][:held], min(self._sequences.strict(source), held))
                if held < keep:  # a window's cells are gone
                    break
                self._branches.append(target)
            left -= missing
            taken += [target, source]
            plans.append(_BranchPlan(branch, target, len(begin), own, target == source))
            for end in range(own, len(branch)):
                planned.setdefault(tuple(branch[: end + 1]), len(begin))
        return plans

    def _ends(self, sequence: int, length: int) -> bool:
        """Whether a sequence holds just so many tokens."""
        return len(self._sequences.held(sequence)) == length

    def _place(self, base: int, old: list[int], without: list[int]) -> int | None:
        """A sequence for a further branch: an empty one, else the first of old branches; few are taken from others."""
        most = self._model.sequences - 2
        if self._sequences.free() == 0 or len(self._branches) >= most:
            old = [one for one in old if one in self._branches and one not in without]
            if not self._model.can_cut:  # where few have room, the most wanted one stays
                latest = [one for one in self._sequences.latest() if one in old]
                old = latest[:1] if len(self._branches) >= most and len(without) == 1 else []
            if old and len(self._branches) >= min(FEW, most):
                self._branches.remove(old[0])
                return old[0]
            if len(self._branches) >= most:
                return None
        return self._sequences.victim(without=[base, *self._branches, *without])

    def _decode_branches(self, path: list[int], plans: "list[_BranchPlan]", top: int) -> list[Distribution]:
        entries: list[Entry] = []
        places: dict[tuple[int, ...], int] = {}
        for plan in plans:
            last = len(plan.branch) - 1
            for end in range(plan.keep, last + 1):
                begin = tuple(plan.branch[: end + 1])
                if end < plan.own:
                    entry = entries[places[begin]]
                    entries[places[begin]] = entry._replace(others=(*entry.others, plan.sequence))
                    continue
                places.setdefault(begin, len(entries))
                entries.append(Entry(begin[-1], plan.sequence, len(path) + end, end == last))
        sequences = [plan.sequence for plan in plans]
        while True:
            try:
                logits = self._model.decode(entries)
                break
            except OutOfCells:
                older = [one for one in self._branches if one not in sequences]
                if not older:
                    self._take_back(path, plans)
                    raise ContextFull(len(path) + 1, self._model.cells) from None
                self._forget_all(older)
            except (Interrupted, ModelError):
                self._take_back(path, plans)
                raise
        self._filled += len(entries)
        together = self._orderly and _is_strict(len(entries)) and _is_strict(len(plans))
        wide = len(plans) >= STRICT
        read = self._read(logits, [None] * len(plans), [top] * len(plans))
        for plan, row, log_sum, distribution in zip(plans, logits, read.log_sums, read.distributions, strict=True):
            whole, before = [*path, *plan.branch], len(path) + plan.keep
            sure = min(self._sequences.strict(plan.sequence), before)
            strict = together and sure == before
            self._worth.note(tuple(plan.branch), distribution)
            self._sequences.hold(plan.sequence, whole, len(whole) if strict else sure)
            if not wide:  # else they would leave no room for those where the player is
                self._rows.keep(whole, Row(row, log_sum, strict))
        return read.distributions

    def _take_back(self, path: list[int], plans: "list[_BranchPlan]") -> None:
        """Drops what may be there of a batch that came to nothing."""
        self._forget_all([plan.sequence for plan in plans if not plan.goes_on])
        for plan in plans:
            if plan.goes_on:
                held = self._cut(plan.sequence, len(path) + plan.keep)
                sure = min(self._sequences.strict(plan.sequence), held)
                self._sequences.hold(plan.sequence, [*path, *plan.branch][:held], sure)

    def row(self, path: list[int]) -> tuple[Row, int]:
        """The logits after a path, and how many tokens were decoded for them.

        Raises as `evaluate` does.
        """
        if not path:
            raise ModelError("nothing to evaluate")
        decoded = 0
        while (row := self._rows.of(path)) is None:
            decoded += sum(chunk.decoded for chunk in self.evaluate(path, len(path) - 1, 1))
        return row, decoded

    def candidates(self, row: Row, ids: list[int]) -> list[Taken]:
        """Log-probabilities and true ranks of some tokens of a row."""
        return [logit_math.taken(row.logits, row.log_sum, token) for token in ids]

    def _see(self, path: list[int], lens: Sampled) -> tuple[Seen, Row, int]:
        self._recall(lens, path)
        row, decoded = self.row(path)
        return self._lenses.see(lens, row.logits, row.log_sum, path), row, decoded

    def apply(self, path: list[int], lens: Sampled, tokens: list[int], top: int) -> tuple[View, int]:
        """What a lens leaves of the distribution after a path, and how many tokens were decoded for it.

        It tells of the `top` likeliest by the model, of `tokens`, and of the likeliest left. Raises as `evaluate` does.
        """
        self._check([*path, *tokens])
        seen, row, decoded = self._see(path, lens)
        likely = likeliest(seen, row.logits, top)
        view = self._lenses.view(seen, [*likely, *tokens])
        known = set(likely)
        known = set(likely)
        others = [token for token in view.likeliest if token not in known]
        if not others:
            return view, decoded
        return replace(view, others=dict(zip(others, self.candidates(row, others), strict=True))), decoded

    def roll(self, path: list[int], lens: Sampled, draws: Iterable[float]) -> tuple[list[Draw], list[Verdict], int]:
        """What some numbers from 0 to 1 draw of what a lens leaves, and how many tokens were decoded for it.

        Raises as `evaluate` does.
        """
        seen, _, decoded = self._see(path, lens)
        drawn = list(self._lenses.draws(seen, draws))
        return drawn, [seen.verdict(one.token) for one in drawn], decoded

    def constrain(self, constraint: Constraint, path: list[int], start: int) -> int:
        """The position of a path's first token that a constraint from `start` on does not allow; -1: all are legal.

        Raises ModelError where the constraint is none.
        """
        self._check(path)
        return self._lenses.broken(constraint, path, start)

    def forced(self, path: list[int], lens: Sampled) -> list[int]:
        """The tokens after a path that a lens's constraint leaves no choice in."""
        self._check(path)
        return self._lenses.forced(lens, path)

    def play(self, path: list[int], lens: Sampled, seed: int) -> "Played | None":
        """The token that is drawn after a path by a seed's first number there; None where nothing is left.

        Raises as `evaluate` does.
        """
        seen, row, _ = self._see(path, lens)
        drawn = next(self._lenses.draws(seen, numbers(seed, path, 0, 1)), None)
        if drawn is None:
            return None
        self._lenses.chose(lens, path, seen, drawn.token)
        (taken,) = self.candidates(row, [drawn.token])
        return Played(drawn.token, seen.verdict(drawn.token), taken)

    def _forget_all(self, sequences: list[int]) -> None:
        """`_forget`, of whatever they are used for."""
        self._forget(sequences)
        self._branches = [branch for branch in self._branches if branch not in sequences]

    def _forget(self, sequences: list[int]) -> None:
        for sequence in sequences:
            self._cut(sequence, 0)
            self._sequences.hold(sequence, [])

    @property
    def _orderly(self) -> bool:
        """Whether what was decoded last came behind all cells that are there."""
        return self._in_order and self._filled <= self._model.orderly

    def _cut(self, sequence: int, keep: int) -> int:
        """Drops what a sequence holds from `keep` on; returns how many tokens it then holds."""
        before = self._model.count(sequence)
        held = self._model.cut(sequence, keep)
        self._in_order = self._in_order and held == before
        return held

    def _prepare(self, path: list[int], start: int, *, strict: bool = False) -> tuple[int, int]:
        """Makes a sequence hold as much of the path as is cached, before `start`; returns it and how much."""
        # What was looked ahead to stays for who plays on, if a strict evaluation has room beside it.
        leaves = path[: len(self._trunk)] != self._trunk and not (strict and self._sequences.free())
        if leaves:
            # Else the trunk would go before them, as they hold all of it, and they go next.
            self._forget(self._branches)
            self._branches = []
        self._fetch(path, start, strict=strict)
        plan = self._sequences.plan(path, start, strict=strict)
        if plan.sequence in self._branches:
            self._branches.remove(plan.sequence)
            if plan.source is None and plan.keep > len(self._trunk):
                # Going on with a token of the lookahead: its sequence has all that the trunk's has.
                self._forget(self._sequences.prefixes_of(self._trunk, without=plan.sequence))
        sure = self._sequences.strict(plan.sequence if plan.source is None else plan.source)
        if plan.source is not None:
            self._cut(plan.sequence, 0)
            self._model.copy(plan.source, plan.sequence, plan.keep)
            self._sequences.use(plan.source)
            held = self._model.cut(plan.sequence, plan.keep)  # whatever goes, the source has it
        else:
            held = self._cut(plan.sequence, plan.keep)
        self._sequences.hold(plan.sequence, path[:held], min(sure, held))
        return plan.sequence, held

    def _make_room(self, path: list[int], sequence: int, position: int, count: int) -> int:
        """Grows the context when the path outgrows it. Returns the sequence to go on with."""
        needed = position + count
        if needed <= self._model.cells:
            return sequence
        # All of the path at once, and some to play: growing copies what is cached.
        wanted = max(2 * self._model.cells, len(path) + BATCH)
        cells = min(self._model.context_limit, wanted)
        if not self._model.grow(cells, sequence):
            raise ContextFull(len(path), self._model.cells)
        sure = self._sequences.strict(sequence)
        self._sequences = Sequences(self._model.sequences, can_cut=self._model.can_cut)
        self._sequences.hold(sequence, path[:position], sure)
        self._trunk, self._branches = [], []
        self._filled, self._in_order = position, True  # new cells come behind those that were carried over
        return sequence

    def _decode(
        self, path: list[int], sequence: int, position: int, count: int, first_row: int, more: int
    ) -> logit_math.Logits:
        """Decodes `count` tokens, and `more` behind them whose cells go again, for the batch to be large enough."""
        entries = [
            Entry(token, sequence, position + index, index >= first_row)
            for index, token in enumerate(path[position : position + count])
        ]
        entries += [Entry(path[0], sequence, position + count + index, True) for index in range(more)]
        sure = self._sequences.strict(sequence)
        held = position
        try:
            logits = self._decode_entries(entries, sequence)
            held = position + count
            self._filled += count
        except (Interrupted, ModelError):
            held = min(self._model.count(sequence), position)
            raise
        finally:
            if more:
                held = self._model.cut(sequence, held)
            whole = sure >= position and self._orderly and _is_strict(len(entries))
            self._sequences.hold(sequence, path[:held], held if whole else min(sure, held))
        return logits

    def _decode_entries(self, entries: list[Entry], sequence: int, threads: int = 0) -> logit_math.Logits:
        """Decodes a batch, giving up sequences other than `sequence` while cells are short."""
        while True:
            try:
                return self._model.decode(entries, threads)
            except OutOfCells:
                victim = self._sequences.evictable(without=sequence)
                if victim is None:
                    raise
                self._forget_all([victim])

    def _read(self, logits: logit_math.Logits, following: list[int | None], tops: list[int]) -> "_Read":
        """The numbers of each row, with so many candidates, and of the token in `following` beside it."""
        if not self._tells and logits.shape[0]:
            # A graph without logits leaves zeros.
            if logits.shape[1] > 1 and logits[0].min() == logits[0].max():
                raise Damaged("every token is equally likely: not a model that continues text, or a damaged file")
            self._tells = True
        read = _Read([], [], [])
        for row, token, top in zip(logits, following, tops, strict=False):
            try:
                distribution, log_sum = self._statistics.distribution(row, top)
            except logit_math.NotFinite:
                raise Damaged("the model gives no numbers: its file is damaged") from None
            read.distributions.append(distribution)
            read.log_sums.append(log_sum)
            if token is not None:
                read.taken.append(logit_math.taken(row, log_sum, token))
        return read


class _BranchPlan(NamedTuple):
    """A branch of a lookahead, and where it is decoded."""

    branch: list[int]
    sequence: int
    keep: int
    """Tokens of the branch that need no decode."""
    own: int
    """Tokens of the branch that need none of its own: those behind `keep` are decoded for others before it."""
    goes_on: bool
    """Whether the sequence held just these."""


def _longest(branch: list[int], cached: dict[tuple[int, ...], int]) -> tuple[int, ...]:
    """The longest beginning of a branch that is cached, without its last token."""
    return next(begin for end in range(len(branch) - 1, -1, -1) if (begin := tuple(branch[:end])) in cached)


class _Batch(NamedTuple):
    """What was decoded at once."""

    first: int
    """The position of the first row."""
    logits: logit_math.Logits
    """A view that the next decode overwrites."""
    decoded: int
    strict: bool
    """Whether all cells up to here were computed strictly."""


def _part(left: int) -> int:
    """The tokens of the next of the batches that so many are decoded in, all about as large.

    >>> _part(5), _part(48), _part(97), _part(61)
    (5, 48, 36, 32)
    """
    size = strict_size(left)
    each = -(-size // -(-size // BATCH))
    return min(left, -(-each // STEP) * STEP)


def _is_strict(tokens: int) -> bool:
    """Whether a batch of so many tokens, or rows, is strict."""
    return tokens == strict_size(tokens) <= BATCH


def _check_place(path: list[int], start: int) -> None:
    if not 0 <= start < len(path):
        raise ModelError("nothing to evaluate")


class Played(NamedTuple):
    """A token that was drawn."""

    token: int
    verdict: Verdict
    taken: Taken


class _Read(NamedTuple):
    """The numbers of some rows."""

    distributions: list[Distribution]
    log_sums: list[float]
    taken: list[Taken]
