"""The KV cells of one context, by the paths that they hold: reuse, decode, grow, evict."""

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

WORTH_COPYING = 2 * STRICT
"""Tokens from which on copying cells to another context is faster than decoding them again."""
SPARE_SEQUENCES = STRICT
"""Empty sequences after `tidy`: as many as strict lookahead takes."""
SPARE_CELLS = 512
"""Cells of the context for strict answers, besides those of a path."""
NO_MEMORY = "not enough memory for a second context, which strict answers need"


class CachedPrefix(NamedTuple):
    """A sequence that holds a prefix of a path."""

    sequence: int
    length: int
    """Tokens of the prefix."""
    strict: int
    """Tokens of it that were computed strictly."""


class Batch(NamedTuple):
    """The rows of one decode."""

    first: int
    """The position of the first row."""
    logits: Logits
    """A view that the next decode overwrites."""
    decoded: int
    strict: bool
    """Whether the rows, and all cells up to them, were computed strictly."""


def batch_size(remaining: int) -> int:
    """The tokens of the next batch, where `remaining` are decoded in batches of about the same size.

    >>> batch_size(5), batch_size(48), batch_size(97), batch_size(61)
    (5, 48, 36, 32)
    """
    size = strict_size(remaining)
    each = -(-size // -(-size // BATCH))
    return min(remaining, -(-each // STEP) * STEP)


def is_strict(tokens: int) -> bool:
    """Whether a batch of so many tokens or rows is strict."""
    return tokens == strict_size(tokens) <= BATCH


def check_place(path: list[int], start: int) -> None:
    """Raises ModelError where a path has no position `start`."""
    if not 0 <= start < len(path):
        raise ModelError("nothing to evaluate")


class Cells:
    """Records what one context's KV cache holds, and decodes the tokens of a path that it lacks."""

    def __init__(self, model: Llama, folder: KvFolder | None = None) -> None:
        """`folder`: the cells of earlier starts."""
        self.model = model
        self._folder = folder
        self.sequences = Sequences(model.sequences, can_cut=model.can_cut)
        self.filled = 0
        """Cells filled so far, one after the other."""
        self._in_order = True
        """Whether the next cells come after them. Attention adds up cells in cell order, not in token order, and cells
        that were given up leave gaps, which later tokens fill."""
        self._cell_bytes = 0

    def check(self, tokens: list[int]) -> None:
        """Raises ModelError for a token outside the vocabulary."""
        size = self.model.vocabulary.size
        if tokens and not (min(tokens) >= 0 and max(tokens) < size):
            raise ModelError(f"a token id outside the vocabulary of {size:,}")

    @property
    def orderly(self) -> bool:
        """Whether the last decode filled cells after all others."""
        return self._in_order and self.filled <= self.model.orderly

    def cut(self, sequence: int, keep: int) -> int:
        """Drops a sequence's cells from `keep` on; returns how many tokens it then holds."""
        before = self.model.count(sequence)
        held = self.model.cut(sequence, keep)
        self._in_order = self._in_order and held == before
        return held

    def forget(self, sequences: Iterable[int]) -> None:
        """Drops all cells of some sequences."""
        for sequence in list(sequences):
            self.cut(sequence, 0)
            self.sequences.clear(sequence)

    def two_victims(self) -> list[int]:
        """The two sequences to give up next; fewer where fewer exist."""
        first = self.sequences.victim(without=[])
        second = self.sequences.victim(without=[first] if first is not None else [])
        return [one for one in (first, second) if one is not None]

    def prepare(self, path: list[int], start: int, *, strict: bool = False) -> tuple[int, int]:
        """Makes a sequence hold the cached prefix of a path, up to `start`; returns the sequence and the length."""
        # The cells of lookahead stay for the player's next key, if a strict evaluation has room besides them.
        drops_branches = path[: len(self.sequences.trunk)] != self.sequences.trunk and not (
            strict and self.sequences.free()
        )
        if drops_branches:
            # Else the trunk would be evicted before the branches, as they hold all of it.
            self.forget(self.sequences.branches)
        self.fetch(path, start, strict=strict)
        plan = self.sequences.plan(path, start, strict=strict)
        if plan.sequence in self.sequences.branches:
            self.sequences.branches.remove(plan.sequence)
            if plan.source is None and plan.keep > len(self.sequences.trunk):
                # The player appended a token of the lookahead: its sequence has all cells of the trunk.
                self.forget(self.sequences.prefixes_of(self.sequences.trunk, without=plan.sequence))
        strict_count = self.sequences.strict(plan.sequence if plan.source is None else plan.source)
        if plan.source is not None:
            self.cut(plan.sequence, 0)
            self.model.copy(plan.source, plan.sequence, plan.keep)
            self.sequences.use(plan.source)
            held = self.model.cut(plan.sequence, plan.keep)  # the source keeps all cells
        else:
            held = self.cut(plan.sequence, plan.keep)
        self.sequences.hold(plan.sequence, path[:held], min(strict_count, held))
        return plan.sequence, held

    def batches(self, path: list[int], start: int, *, strict: bool = False) -> Iterator[Batch]:
        """Decodes a path, batch by batch, for the rows at positions `start` to its end.

        All batches are of about the same size, so that none is small unless few tokens are missing. To be strict, the
        last one is padded with tokens whose cells are dropped; where there is no room for these, some tokens are
        decoded again. Many tokens that need not be strict are decoded in larger batches.
        """
        room = self.model.context_limit
        end = min(len(path), room)
        decodes_again = strict and not self.model.can_cut
        sequence, position = self.prepare(
            path, min(start, max(0, end - STRICT)) if decodes_again else start, strict=strict
        )
        large = not strict and self.model.reads_fast and end - position >= FAST_FROM
        while position < len(path):
            if position >= room:
                raise ContextFull(len(path), room)
            count = FAST_BATCH if large and end - position >= FAST_BATCH else batch_size(end - position)
            padding = strict_size(count) - count if self.model.can_cut else 0
            if position + count + padding > self.model.positions:
                if strict and not decodes_again and position >= padding:
                    decodes_again = True
                    sequence, position = self.prepare(path, position - padding, strict=True)
                    continue
                padding = 0
            if not strict and (count < STRICT or self.sequences.strict(sequence) < position):
                padding = 0
            sequence = self.make_room(path, sequence, position, min(count + padding, room - position))
            # Positions before `start` need cells but no rows.
            first_row = min(max(start - position, 0), count)
            wanted = count + padding - first_row
            # The last layer and the logits are computed for the rows alone: their number must be strict as well.
            extra = min(first_row, strict_size(wanted) - wanted) if strict and first_row < count else 0
            try:
                logits = self._decode_part(path, sequence, position, count, first_row - extra, padding)
            except OutOfCells:
                raise ContextFull(len(path), position) from None
            first = position + first_row
            position += count
            is_strict_batch = self.sequences.strict(sequence) == position and is_strict(len(logits))
            yield Batch(first, logits[extra : extra + count - first_row], count, is_strict_batch)

    def decode_after(self, path: list[int], tokens: list[int]) -> Logits | None:
        """Decodes each of `tokens` strictly as the next token of a path, in one batch; their cells are dropped.

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
        if held != kept or len(branches) < len(tokens):  # cells outside the attention window are gone
            return None
        entries = [
            BatchEntry(token, sequence, place, wanted=True, others=branches)
            for place, token in enumerate(path[held:], held)
        ]
        entries += [
            BatchEntry(token, branch, len(path), wanted=True) for token, branch in zip(tokens, branches, strict=True)
        ]
        # A row for each token, and padding after them, so that all are strict.
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
        self, path: list[int], sequence: int, position: int, count: int, first_row: int, padding: int
    ) -> Logits:
        """Decodes `count` tokens, and `padding` more whose cells are dropped, so that the batch is large enough."""
        entries = [
            BatchEntry(token, sequence, position + index, index >= first_row)
            for index, token in enumerate(path[position : position + count])
        ]
        entries += [BatchEntry(path[0], sequence, position + count + index, True) for index in range(padding)]
        strict_count = self.sequences.strict(sequence)
        held = position
        try:
            logits = self.decode(entries, sequence)
            held = position + count
            self.filled += count
        except (Interrupted, ModelError):
            held = min(self.model.count(sequence), position)
            raise
        finally:
            if padding:
                held = self.model.cut(sequence, held)
            whole = strict_count >= position and self.orderly and is_strict(len(entries))
            self.sequences.hold(sequence, path[:held], held if whole else min(strict_count, held))
        return logits

    def decode(self, entries: list[BatchEntry], sequence: int, threads: int = 0) -> Logits:
        """Decodes a batch; gives up sequences other than `sequence` while cells are short."""
        while True:
            try:
                return self.model.decode(entries, threads)
            except OutOfCells:
                victim = self.sequences.evictable(without=sequence)
                if victim is None:
                    raise
                self.forget([victim])

    def make_room(self, path: list[int], sequence: int, position: int, count: int) -> int:
        """Grows the context if it lacks cells for `count` tokens at `position`. Returns the sequence to go on with."""
        needed = position + count
        if needed <= self.model.cells:
            return sequence
        # Room for the whole path and some keys: growing copies all cached cells.
        wanted = max(2 * self.model.cells, len(path) + BATCH)
        cells = min(self.model.context_limit, wanted)
        if not self.model.grow(cells, sequence):
            raise ContextFull(len(path), self.model.cells)
        strict_count = self.sequences.strict(sequence)
        self.sequences = Sequences(self.model.sequences, can_cut=self.model.can_cut)
        self.sequences.hold(sequence, path[:position], strict_count)
        self.filled, self._in_order = position, True  # new cells come after the copied ones
        return sequence

    def tidy(self, path: list[int], start: int, needed: int) -> None:
        """Makes room for `needed` cells after all others, and for new sequences, without leaving gaps.

        So each sequence's cells stay in token order. Where room is short, the cache is cleared, and two sequences are
        put back: the one that serves the path best and the one used last.
        """
        if self._in_order and self.sequences.free() > SPARE_SEQUENCES and self.filled + needed <= self.model.cells:
            return
        saved: list[tuple[list[int], int, ctypes.Array[ctypes.c_uint8]]] = []
        for sequence in self.sequences.worth_keeping(path, start)[:2]:
            tokens, strict_count = self.sequences.held(sequence), self.sequences.strict(sequence)
            if (state := self.model.state(sequence)) is not None:
                saved.append((tokens, strict_count, state))
        while True:
            cells = sum(len(tokens) for tokens, _, _ in saved) + needed
            # The last one, which serves the path best, needs no room for padding.
            if saved and cells - (BATCH if len(saved) == 1 else 0) > self.model.most:
                saved.pop()
                continue
            if self.model.clear(cells if cells <= self.model.cells else cells + SPARE_CELLS):
                break
            if not saved:
                raise ModelError(NO_MEMORY)
            saved.pop()
        self.sequences = Sequences(self.model.sequences, can_cut=self.model.can_cut)
        self.filled, self._in_order = 0, True
        for sequence, (tokens, strict_count, state) in reversed(list(enumerate(saved))):
            if self.model.restore(sequence, state):
                self.sequences.hold(sequence, tokens, strict_count)
                self.filled += len(tokens)

    def copy_to(self, other: "Cells", path: list[int], count: int) -> None:
        """Copies the first `count` cells of a path, which are strict, to another context, if it has room.

        That context may give up a sequence for them.
        """
        sequence, held = self.prepare(path, count, strict=True)
        state = self.model.state(sequence) if held == count else None
        target = other.sequences.victim(without=[])
        if state is not None and target is not None and other.model.restore(target, state):
            other.sequences.hold(target, path[:held], held)
            other.filled += held

    # --- the prompt cache

    def warm_up(self) -> None:
        """Makes the first decode as fast as later ones; does nothing after a decode."""
        if not self.sequences.latest() and (sequence := self.sequences.victim(without=[])) is not None:
            self.model.warm_up(sequence)

    @property
    def in_parts(self) -> bool:
        """Whether the cells of any part of a path can be copied, and tails be cut."""
        return self.model.in_parts

    def cached(self, path: list[int]) -> CachedPrefix | None:
        """The longest cached prefix of a path; None where nothing is cached."""
        sequence = self.sequences.holding(path, whole=not self.in_parts)
        if sequence is None:
            return None
        count = common_prefix(self.sequences.held(sequence), path)
        return CachedPrefix(sequence, count, min(self.sequences.strict(sequence), count))

    def cell_bytes(self, prefix: CachedPrefix) -> int:
        """Bytes of one token's cell."""
        if not self._cell_bytes:
            self._cell_bytes = self.model.size(prefix.sequence) // len(self.sequences.held(prefix.sequence))
        return self._cell_bytes

    def bytes_of(self, prefix: CachedPrefix, end: int) -> int:
        """Bytes of the cells of the first `end` tokens; of the whole sequence, where only that can be copied."""
        return self.cell_bytes(prefix) * end if self.in_parts else self.model.size(prefix.sequence)

    def take(self, prefix: CachedPrefix, start: int, end: int) -> memoryview | None:
        """The cells of a cached prefix at positions `start` to before `end`; None where they cannot be copied.

        That needs an empty sequence, and lookahead takes all that are free: a branch may be given up for it, or a
        sequence that holds a prefix of the same path.
        """
        if not self.in_parts:
            state = self.model.state(prefix.sequence)
        else:
            spare = self.sequences.victim(without=[prefix.sequence])
            shorter = self.sequences.prefixes_of(self.sequences.held(prefix.sequence), without=prefix.sequence)
            if spare is not None and spare in (*self.sequences.branches, *shorter):
                self.forget([spare])
            if spare is None or self.sequences.held(spare):
                return None
            state = self.model.take(prefix.sequence, start, end, spare)
        return None if state is None else memoryview(state).cast("B")

    def fetch(
        self, path: list[int], limit: int, *, strict: bool = False, ends: Callable[[], bool] | None = None
    ) -> None:
        """Reads cells of a path's first `limit` tokens from the disk into a sequence, where many of them are missing.

        With `strict`, only strict cells. Reading stops once `ends` returns true; the cells read by then stay.
        """
        limit = min(limit, self.model.context_limit)
        if self._folder is None or limit < WORTH_COPYING or (strict and not self.orderly):
            return
        cached = self.sequences.strictly_held(path, limit) if strict else self.sequences.held_best(path, limit)
        if limit - cached < WORTH_COPYING:
            return
        with closing(self._folder.chain(path[:limit])) as links:
            links = self._usable(links, strict=strict)
            count = sum(link.shared for link in links)
            if count - cached < WORTH_COPYING or (target := self._make_empty(path, count)) is None:
                return
            held = strict_count = 0
            for link, state in self._folder.cells(links):
                if (ends and ends()) or not self._append(target, link, state):
                    break
                strict_count += link.reader.strict if strict_count == held else 0
                held += link.shared
            held = self.model.cut(target, min(held, self.model.count(target)))
            self.filled += held
            self.sequences.hold(target, path[:held], min(strict_count, held) if self.orderly else 0)
            self._folder.touch([link.name for link in links])

    def _usable(self, links: list[Link], *, strict: bool) -> list[Link]:
        """A path's first parts whose cells can be put back, and with `strict`, are strict."""
        usable: list[Link] = []
        for link in links:
            whole = link.shared == len(link.reader.tokens)
            if not link.reader.size or not (whole or self.model.can_cut):
                break
            if strict and link.reader.strict < link.shared:
                break
            usable.append(link)
        return usable

    def _append(self, target: int, link: Link, state: memoryview) -> bool:
        """Appends the cells of a part to a sequence; returns whether that worked."""
        start, end = link.reader.start, link.reader.start + link.shared
        while True:
            spare = self.sequences.victim(without=[target])
            if self.in_parts and spare is not None:
                appended = self.model.put(target, state, start, end, spare)
            else:
                appended = self.model.restore(target, state)
            if appended or (victim := self.sequences.evictable(without=target)) is None:
                return appended
            self.forget([victim])  # tokens decoded twice take cells twice

    def _make_empty(self, path: list[int], count: int) -> int | None:
        """An empty sequence, and room for `count` cells of a path; None where room is short.

        A second sequence is emptied as well.
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
        victims = self.two_victims()
        self.forget(victims)
        return victims[0] if victims else None
