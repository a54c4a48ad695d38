"""The KV cells of one context, by the paths that they hold: reuse, decode, grow, give way."""

import ctypes
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.kv_folder import KvFolder, Link, closing
from tokex_gguf.engine.worker.kv_plan import Sequences
from tokex_gguf.engine.worker.llama import (
    BATCH,
    FAST_BATCH,
    FAST_FROM,
    STEP,
    STRICT,
    BatchEntry,
    Interrupted,
    Llama,
    ModelError,
    OutOfCells,
    strict_size,
)
from tokex_gguf.engine.worker.logit_math import Logits
from tokex_gguf.values.sequence import common_prefix

WORTH = 2 * STRICT
"""Tokens from which on carrying their cells to another context is faster than decoding them again."""
SPARE_SEQUENCES = STRICT
"""Sequences that hold nothing, in a context that was made room in: as many as strict lookahead takes."""
SPARE_CELLS = 512
"""Cells of the context for strict answers, beside those of a path."""
NO_MEMORY = "not enough memory for a second context, which strict answers need"


class CachedPrefix(NamedTuple):
    """Where some of a path is cached."""

    sequence: int
    length: int
    """How many of its first tokens."""
    strict: int
    """How many of them were computed strictly."""


class Batch(NamedTuple):
    """What was decoded at once."""

    first: int
    """The position of the first row."""
    logits: Logits
    """A view that the next decode overwrites."""
    decoded: int
    strict: bool
    """Whether all cells up to here, and the rows, were computed strictly."""


def part(left: int) -> int:
    """The tokens of the next of the batches that so many are decoded in, all about as large.

    >>> part(5), part(48), part(97), part(61)
    (5, 48, 36, 32)
    """
    size = strict_size(left)
    each = -(-size // -(-size // BATCH))
    return min(left, -(-each // STEP) * STEP)


def is_strict(tokens: int) -> bool:
    """Whether a batch of so many tokens, or rows, is strict."""
    return tokens == strict_size(tokens) <= BATCH


def check_place(path: list[int], start: int) -> None:
    """Raises ModelError where a path has no position `start`."""
    if not 0 <= start < len(path):
        raise ModelError("nothing to evaluate")


class Cells:
    """What one context's KV cache holds, on record; and decoding what of a path is missing there."""

    def __init__(self, model: Llama, folder: KvFolder | None = None) -> None:
        """`folder`: where cells are that were computed at earlier starts."""
        self.model = model
        self._folder = folder
        self.sequences = Sequences(model.sequences, can_cut=model.can_cut)
        self.filled = 0
        """Cells that were filled, one behind the other."""
        self._in_order = True
        """Whether later cells come behind them. Attention adds up cells in their own order, and not in that of the
        tokens: those that were given up leave gaps, which later tokens take."""
        self._cell_bytes = 0

    def check(self, tokens: list[int]) -> None:
        """Raises ModelError for a token that the vocabulary has not."""
        size = self.model.vocabulary.size
        if tokens and not (min(tokens) >= 0 and max(tokens) < size):
            raise ModelError(f"a token id outside the vocabulary of {size:,}")

    @property
    def orderly(self) -> bool:
        """Whether what was decoded last came behind all cells that are there."""
        return self._in_order and self.filled <= self.model.orderly

    def cut(self, sequence: int, keep: int) -> int:
        """Drops what a sequence holds from `keep` on; returns how many tokens it then holds."""
        before = self.model.count(sequence)
        held = self.model.cut(sequence, keep)
        self._in_order = self._in_order and held == before
        return held

    def forget(self, sequences: Iterable[int]) -> None:
        """Drops all that some sequences hold, whatever they are used for."""
        for sequence in list(sequences):
            self.cut(sequence, 0)
            self.sequences.clear(sequence)

    def two_victims(self) -> list[int]:
        """Two sequences to be given up next; fewer where there are not so many."""
        first = self.sequences.victim(without=[])
        second = self.sequences.victim(without=[first] if first is not None else [])
        return [one for one in (first, second) if one is not None]

    def prepare(self, path: list[int], start: int, *, strict: bool = False) -> tuple[int, int]:
        """Makes a sequence hold as much of the path as is cached, before `start`; returns it and how much."""
        # What was looked ahead to stays for who plays on, if a strict evaluation has room beside it.
        leaves = path[: len(self.sequences.trunk)] != self.sequences.trunk and not (strict and self.sequences.free())
        if leaves:
            # Else the trunk would go before them, as they hold all of it, and they go next.
            self.forget(self.sequences.branches)
        self.fetch(path, start, strict=strict)
        plan = self.sequences.plan(path, start, strict=strict)
        if plan.sequence in self.sequences.branches:
            self.sequences.branches.remove(plan.sequence)
            if plan.source is None and plan.keep > len(self.sequences.trunk):
                # Going on with a token of the lookahead: its sequence has all that the trunk's has.
                self.forget(self.sequences.prefixes_of(self.sequences.trunk, without=plan.sequence))
        sure = self.sequences.strict(plan.sequence if plan.source is None else plan.source)
        if plan.source is not None:
            self.cut(plan.sequence, 0)
            self.model.copy(plan.source, plan.sequence, plan.keep)
            self.sequences.use(plan.source)
            held = self.model.cut(plan.sequence, plan.keep)  # whatever goes, the source has it
        else:
            held = self.cut(plan.sequence, plan.keep)
        self.sequences.hold(plan.sequence, path[:held], min(sure, held))
        return plan.sequence, held

    def batches(self, path: list[int], start: int, *, strict: bool = False) -> Iterator[Batch]:
        """Decodes a path, batch by batch, for the rows at positions `start` to its end.

        Each batch has about as many tokens as the others: so none has few, unless few are left. To be strict, the
        last one has others behind them, whose cells go again; where there is no room for these, some are decoded again.
        Of many, those that need not be strict are decoded in larger batches.
        """
        room = self.model.context_limit
        end = min(len(path), room)
        again = strict and not self.model.can_cut
        sequence, position = self.prepare(path, min(start, max(0, end - STRICT)) if again else start, strict=strict)
        large = not strict and self.model.reads_fast and end - position >= FAST_FROM
        while position < len(path):
            if position >= room:
                raise ContextFull(len(path), room)
            count = FAST_BATCH if large and end - position >= FAST_BATCH else part(end - position)
            more = strict_size(count) - count if self.model.can_cut else 0
            if position + count + more > self.model.positions:
                if strict and not again and position >= more:
                    again = True
                    sequence, position = self.prepare(path, position - more, strict=True)
                    continue
                more = 0
            if not strict and (count < STRICT or self.sequences.strict(sequence) < position):
                more = 0
            sequence = self.make_room(path, sequence, position, min(count + more, room - position))
            # A position before `start` needs its cells but no answer.
            first_row = min(max(start - position, 0), count)
            wanted = count + more - first_row
            # The last layer and the logits are computed of the rows alone: these, too, must be so many.
            extra = min(first_row, strict_size(wanted) - wanted) if strict and first_row < count else 0
            try:
                logits = self._decode_part(path, sequence, position, count, first_row - extra, more)
            except OutOfCells:
                raise ContextFull(len(path), position) from None
            first = position + first_row
            position += count
            sure = self.sequences.strict(sequence) == position and is_strict(len(logits))
            yield Batch(first, logits[extra : extra + count - first_row], count, sure)

    def decode_behind(self, path: list[int], tokens: list[int]) -> Logits | None:
        """Decodes some tokens strictly, in one batch, each as the one that follows a path; their cells go again.

        Returns the rows after them, shape (tokens, vocabulary size), a view that the next decode overwrites. None
        where there is no room, or where much of the path is not cached.
        """
        kept = self.sequences.strictly_held(path, len(path))
        missing = len(path) - kept
        size = strict_size(missing + len(tokens))
        fits = size <= BATCH and len(path) + size <= self.model.positions
        if not fits or not self.orderly or self.filled + size > self.model.cells:
            return None
        if self.sequences.free() <= len(tokens):
            return None
        sequence, held = self.prepare(path, kept, strict=True)
        others = [one for one in range(self.model.sequences) if not self.sequences.held(one) and one != sequence]
        branches = tuple(others[: len(tokens)])
        if held != kept or len(branches) < len(tokens):  # a window's cells are gone
            return None
        entries = [
            BatchEntry(token, sequence, place, wanted=True, others=branches)
            for place, token in enumerate(path[held:], held)
        ]
        entries += [
            BatchEntry(token, branch, len(path), wanted=True) for token, branch in zip(tokens, branches, strict=True)
        ]
        # As many rows as tokens, and others behind them: for all to be strict.
        entries += [
            BatchEntry(path[0], sequence, len(path) + index, wanted=True)
            for index in range(size - missing - len(tokens))
        ]
        try:
            for branch in branches:
                self.model.copy(sequence, branch, held)
            logits = self.model.decode(entries)
            held = len(path)
            self.filled += missing
        except OutOfCells:
            return None
        finally:
            for branch in branches:
                self.model.cut(branch, 0)
            held = self.model.cut(sequence, min(self.model.count(sequence), held))
            self.sequences.hold(sequence, path[:held], held)
        return logits[missing : missing + len(tokens)]

    def _decode_part(
        self, path: list[int], sequence: int, position: int, count: int, first_row: int, more: int
    ) -> Logits:
        """Decodes `count` tokens, and `more` behind them whose cells go again, for the batch to be large enough."""
        entries = [
            BatchEntry(token, sequence, position + index, index >= first_row)
            for index, token in enumerate(path[position : position + count])
        ]
        entries += [BatchEntry(path[0], sequence, position + count + index, True) for index in range(more)]
        sure = self.sequences.strict(sequence)
        held = position
        try:
            logits = self.decode(entries, sequence)
            held = position + count
            self.filled += count
        except (Interrupted, ModelError):
            held = min(self.model.count(sequence), position)
            raise
        finally:
            if more:
                held = self.model.cut(sequence, held)
            whole = sure >= position and self.orderly and is_strict(len(entries))
            self.sequences.hold(sequence, path[:held], held if whole else min(sure, held))
        return logits

    def decode(self, entries: list[BatchEntry], sequence: int, threads: int = 0) -> Logits:
        """Decodes a batch, giving up sequences other than `sequence` while cells are short."""
        while True:
            try:
                return self.model.decode(entries, threads)
            except OutOfCells:
                victim = self.sequences.evictable(without=sequence)
                if victim is None:
                    raise
                self.forget([victim])

    def make_room(self, path: list[int], sequence: int, position: int, count: int) -> int:
        """Grows the context when the path outgrows it. Returns the sequence to go on with."""
        needed = position + count
        if needed <= self.model.cells:
            return sequence
        # All of the path at once, and some to play: growing copies what is cached.
        wanted = max(2 * self.model.cells, len(path) + BATCH)
        cells = min(self.model.context_limit, wanted)
        if not self.model.grow(cells, sequence):
            raise ContextFull(len(path), self.model.cells)
        sure = self.sequences.strict(sequence)
        self.sequences = Sequences(self.model.sequences, can_cut=self.model.can_cut)
        self.sequences.hold(sequence, path[:position], sure)
        self.filled, self._in_order = position, True  # new cells come behind those that were carried over
        return sequence

    def tidy(self, path: list[int], start: int, needed: int) -> None:
        """Makes room for so many cells behind all others, and for sequences: none is given up while others stay.

        So each sequence's cells stay in its order. Where room is short, all are taken out, and what serves the path
        best and what was used last are put back.
        """
        if self._in_order and self.sequences.free() > SPARE_SEQUENCES and self.filled + needed <= self.model.cells:
            return
        kept: list[tuple[list[int], int, ctypes.Array[ctypes.c_uint8]]] = []
        for sequence in self.sequences.worth_keeping(path, start)[:2]:
            tokens, sure = self.sequences.held(sequence), self.sequences.strict(sequence)
            if (state := self.model.state(sequence)) is not None:
                kept.append((tokens, sure, state))
        while True:
            cells = sum(len(tokens) for tokens, _, _ in kept) + needed
            # The last of them, which serves the path best, needs no room for what fills a batch up.
            if kept and cells - (BATCH if len(kept) == 1 else 0) > self.model.most:
                kept.pop()
                continue
            if self.model.clear(cells if cells <= self.model.cells else cells + SPARE_CELLS):
                break
            if not kept:
                raise ModelError(NO_MEMORY)
            kept.pop()
        self.sequences = Sequences(self.model.sequences, can_cut=self.model.can_cut)
        self.filled, self._in_order = 0, True
        for sequence, (tokens, sure, state) in reversed(list(enumerate(kept))):
            if self.model.restore(sequence, state):
                self.sequences.hold(sequence, tokens, sure)
                self.filled += len(tokens)

    def carry(self, path: list[int], count: int, other: "Cells") -> None:
        """Copies the first `count` cells of a path, which were computed strictly, to another context, if it has room.

        It may give up a sequence for them.
        """
        sequence, held = self.prepare(path, count, strict=True)
        state = self.model.state(sequence) if held == count else None
        target = other.sequences.victim(without=[])
        if state is not None and target is not None and other.model.restore(target, state):
            other.sequences.hold(target, path[:held], held)
            other.filled += held

    # --- what stays from one start to the next

    def warm_up(self) -> None:
        """Makes the first decode as fast as later ones, where nothing was decoded yet."""
        if not self.sequences.latest() and (sequence := self.sequences.victim(without=[])) is not None:
            self.model.warm_up(sequence)

    @property
    def in_parts(self) -> bool:
        """Whether cells of any part of a path can be taken, and ends of what is there be cut off."""
        return self.model.in_parts

    def cached(self, path: list[int]) -> CachedPrefix | None:
        """Where the most of a path is cached; None where nothing is."""
        sequence = self.sequences.holding(path, whole=not self.in_parts)
        if sequence is None:
            return None
        count = common_prefix(self.sequences.held(sequence), path)
        return CachedPrefix(sequence, count, min(self.sequences.strict(sequence), count))

    def cell_bytes(self, held: CachedPrefix) -> int:
        """Bytes of the cells of a token."""
        if not self._cell_bytes:
            self._cell_bytes = self.model.size(held.sequence) // len(self.sequences.held(held.sequence))
        return self._cell_bytes

    def bytes_of(self, held: CachedPrefix, end: int) -> int:
        """Bytes of the cells of the first `end` tokens; where they are had as a whole only, of all that is held."""
        return self.cell_bytes(held) * end if self.in_parts else self.model.size(held.sequence)

    def take(self, held: CachedPrefix, start: int, end: int) -> memoryview | None:
        """Cells of what is cached, at the positions `start` to before `end`; None where they cannot be had.

        A branch of the lookahead may be given up for that, or what is a beginning of the same: while one looks,
        branches take all sequences that are free.
        """
        if not self.in_parts:
            state = self.model.state(held.sequence)
        else:
            spare = self.sequences.victim(without=[held.sequence])
            shorter = self.sequences.prefixes_of(self.sequences.held(held.sequence), without=held.sequence)
            if spare is not None and spare in (*self.sequences.branches, *shorter):
                self.forget([spare])
            if spare is None or self.sequences.held(spare):
                return None
            state = self.model.take(held.sequence, start, end, spare)
        return None if state is None else memoryview(state).cast("B")

    def fetch(
        self, path: list[int], limit: int, *, strict: bool = False, ends: Callable[[], bool] | None = None
    ) -> None:
        """Lets a sequence hold what is on the disk of a path's first `limit` tokens, where much of that is missing.

        With `strict`, for what was computed strictly. With `ends`, as far as that is read once it is true.
        """
        limit = min(limit, self.model.context_limit)
        if self._folder is None or limit < WORTH or (strict and not self.orderly):
            return
        have = self.sequences.strictly_held(path, limit) if strict else self.sequences.held_best(path, limit)
        if limit - have < WORTH:
            return
        with closing(self._folder.chain(path[:limit])) as links:
            links = self._of_use(links, strict=strict)
            count = sum(link.shared for link in links)
            if count - have < WORTH or (target := self._emptied(path, count)) is None:
                return
            held = sure = 0
            for link, state in self._folder.cells(links):
                if (ends and ends()) or not self._put(target, link, state):
                    break
                sure += link.reader.strict if sure == held else 0
                held += link.shared
            held = self.model.cut(target, min(held, self.model.count(target)))
            self.filled += held
            self.sequences.hold(target, path[:held], min(sure, held) if self.orderly else 0)
            self._folder.touch([link.name for link in links])

    def _of_use(self, links: list[Link], *, strict: bool) -> list[Link]:
        """Those of a path's parts whose cells can be put back, and with `strict`, were computed strictly."""
        found: list[Link] = []
        for link in links:
            whole = link.shared == len(link.reader.tokens)
            if not link.reader.size or not (whole or self.model.can_cut):
                break
            if strict and link.reader.strict < link.shared:
                break
            found.append(link)
        return found

    def _put(self, target: int, link: Link, state: memoryview) -> bool:
        """Puts the cells of a part behind those that a sequence has; returns whether they are there."""
        start, end = link.reader.start, link.reader.start + link.shared
        while True:
            spare = self.sequences.victim(without=[target])
            if self.in_parts and spare is not None:
                there = self.model.put(target, state, start, end, spare)
            else:
                there = self.model.restore(target, state)
            if there or (victim := self.sequences.evictable(without=target)) is None:
                return there
            self.forget([victim])  # paths that were decoded twice take more cells than they would have to

    def _emptied(self, path: list[int], count: int) -> int | None:
        """An empty sequence, and room for so many cells of a path; None where there is not so much.

        Another one is empty, too.
        """
        if count + BATCH > self.model.cells < self.model.context_limit:
            if not self.model.clear(min(self.model.context_limit, max(2 * self.model.cells, len(path) + BATCH))):
                return None
            self.sequences = Sequences(self.model.sequences, can_cut=self.model.can_cut)
            self.filled, self._in_order = 0, True
        while self.sequences.cells() + count > self.model.cells:
            if (victim := self.sequences.evictable(without=-1)) is None:
                return None
            self.forget([victim])
        found = self.two_victims()
        self.forget(found)
        return found[0] if found else None
