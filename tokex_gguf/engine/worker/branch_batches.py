"""Lookahead: the distributions after branches of a path, many in one batch on shared cells.

The caller chooses the branches, best first; `branch_worth.py` decides which of them keep their cells.
"""

from collections.abc import Callable, Iterator
from itertools import chain, takewhile
from typing import NamedTuple

from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.worker.branch_worth import BranchWorth
from tokex_gguf.engine.worker.cells import Cells, is_strict
from tokex_gguf.engine.worker.chunks import Chunk, LogitsReader, decoded_chunks
from tokex_gguf.engine.worker.llama import BATCH, STRICT, BatchEntry, Interrupted, ModelError, OutOfCells
from tokex_gguf.engine.worker.logits_cache import LogitsCache, LogitsRow, RowsAhead
from tokex_gguf.values.distribution import Distribution

REUSING_BRANCHES = 4
"""Branches that may take other branches' sequences, where none is free: more would only take each other's."""
RANKED = 100
"""Candidates of the path by which branches are rated."""


class _BranchPlan(NamedTuple):
    """A branch of a lookahead, and where it is decoded."""

    branch: list[int]
    sequence: int
    keep: int
    """Tokens of the branch that need no decode."""
    own: int
    """The first token that the branch decodes itself: earlier branches decode those from `keep` to before it."""
    in_place: bool
    """Whether the sequence held just the `keep` tokens, and goes on with the rest."""


def _longest_cached(branch: list[int], cached: dict[tuple[int, ...], int]) -> tuple[int, ...]:
    """The longest cached prefix of a branch, without its last token."""
    return next(prefix for end in range(len(branch) - 1, -1, -1) if (prefix := tuple(branch[:end])) in cached)


class BranchBatches:
    """Lookahead in one context. Between two calls its branches keep their sequences."""

    def __init__(
        self,
        cells: Cells,
        rows: LogitsCache,
        reader: LogitsReader,
        evaluate: Callable[[list[int], int, int], Iterator[Chunk]],
    ) -> None:
        """`rows`: keeps the logits of small batches; `evaluate`: computes the distributions of other paths."""
        self._cells = cells
        self._rows = rows
        self._reader = reader
        self._evaluate = evaluate
        self._worth = BranchWorth()
        self.rows = RowsAhead(cells.model.vocabulary.size)
        """The logits after branches."""

    def look(self, path: list[int], branches: list[list[int]], top: int) -> list[Distribution]:
        """The distributions after `path` and each of the first branches, decoded in one batch.

        There is at least one, and as many as there are sequences and room in a batch for. Branches share the path's
        cells, and those of common prefixes. Each branch keeps a sequence of its own while that is not needed
        elsewhere and the path still leads there, so that appending its tokens finds them cached. Raises as
        `Evaluator.evaluate` does.
        """
        first = branches[0] if branches else []
        self._cells.check([*path, *chain.from_iterable(branches)])
        if not first:
            raise ModelError("nothing to look ahead to")
        room = self._cells.model.context_limit
        if len(path) + len(first) > room:
            raise ContextFull(len(path) + len(first), room)
        base = self._prepare_trunk(path)
        fitting = list(takewhile(lambda branch: branch and len(path) + len(branch) <= room, branches))
        needed = min(BATCH, room - len(path), sum(map(len, fitting)))
        if len(path) + needed > self._cells.model.cells:
            self._cells.make_room(path, base, len(path), needed)
            base = self._prepare_trunk(path)
        for tried in (fitting, [first]):
            plans = self._plan_branches(path, base, tried)
            if not plans:
                return self._look_at_one(path, base, first, top)
            if (distributions := self._decode_branches(path, base, plans, top)) is not None:
                return distributions
        raise ContextFull(len(path) + 1, self._cells.model.cells)

    def _prepare_trunk(self, path: list[int]) -> int:
        """Makes a sequence hold a path, from which branches go on; returns the sequence."""
        cells = self._cells
        base, position = cells.prepare(path, len(path))
        if position < len(path):  # its cells were given up, even where the row is cached
            batches, size = cells.batches(path, len(path) - 1), len(path)
            for _ in decoded_chunks(batches, path, [1] * size, [None] * size, self._reader, self._rows):
                pass
            base, position = cells.prepare(path, len(path))
            if position < len(path):
                raise ModelError("this path cannot be kept")
        sequences = cells.sequences
        if path != sequences.trunk:
            # Branches that do not begin with this path are of no use any more.
            stale = [one for one in sequences.branches if sequences.held(one)[: len(path)] != path]
            for one in stale:
                if cells.model.interrupted:  # forgetting a long path takes a while
                    raise Interrupted
                cells.forget([one])
            size = len(sequences.trunk)
            self._worth.move(tuple(path[size:]) if path[:size] == sequences.trunk else None)
            sequences.trunk = path
            if (row := self._rows.of(path)) is not None:
                self._worth.note((), self._reader.statistics.distribution(row.logits, RANKED)[0])
            self.rows.move(path, self._worth.keys)
        sequences.use(base)
        return base

    def _look_at_one(self, path: list[int], base: int, branch: list[int], top: int) -> list[Distribution]:
        """The distribution after a path and one branch, by `evaluate`."""
        cells, sequences, model = self._cells, self._cells.sequences, self._cells.model
        target = None if model.can_cut else sequences.victim(without=[base])
        if target is not None:  # else the branch would extend the path's own sequence, which cannot be cut back
            cells.forget([target])
            model.copy(base, target, len(path))
            sequences.hold(target, path, sequences.strict(base))
        path = [*path, *branch]
        return [chunk.distributions[-1] for chunk in self._evaluate(path, len(path) - 1, top)][-1:]

    def _plan_branches(self, path: list[int], base: int, branches: list[list[int]]) -> list[_BranchPlan]:
        """Plans branches, each in a sequence that shares the cells cached for it."""
        cells, sequences, model = self._cells, self._cells.sequences, self._cells.model
        cached: dict[tuple[int, ...], int] = {(): base}
        for one in sequences.branches:
            tail = tuple(sequences.held(one)[len(path) :])
            ends = range(1, len(tail) + 1) if model.can_cut else [len(tail)]
            cached.update((tail[:end], one) for end in ends if end)
        needed = [cached[_longest_cached(branch, cached)] for branch in branches]
        tails = {one: tuple(sequences.held(one)[len(path) :]) for one in sequences.branches}
        worth = self._worth.worth(tails)
        old = sorted((one for one in sequences.branches if one not in needed), key=worth.__getitem__)
        old += [one for one in reversed(needed) if one in sequences.branches]  # these go last
        plans: list[_BranchPlan] = []
        in_use: list[int] = []
        planned: dict[tuple[int, ...], int] = {}
        """The prefixes that earlier branches decode, and how many of their tokens are cached."""
        batch_room = BATCH
        for branch in branches:
            prefix = _longest_cached(branch, cached)
            source, keep = cached[prefix], len(path) + len(prefix)
            own = len(prefix)
            while model.can_cut and own < len(branch) - 1 and planned.get(tuple(branch[: own + 1])) == len(prefix):
                own += 1
            missing = len(branch) - own
            if missing > (batch_room if model.can_cut else 1):
                break
            # Otherwise it extends `source` in place: other branches from the same prefix still find its cells.
            needs_copy = not model.can_cut or source == base or source in in_use or not self._holds_just(source, keep)
            target = self._sequence_for_branch(base, old, [*in_use, source]) if needs_copy else source
            if target is None:
                break
            if needs_copy:
                cells.cut(target, 0)
                for gone in [tail for tail, sequence in cached.items() if sequence == target]:
                    del cached[gone]
                model.copy(source, target, keep)
                held = model.cut(target, keep)  # the source keeps all cells
                sequences.hold(target, [*path, *branch][:held], min(sequences.strict(source), held))
                if held < keep:  # cells outside the attention window are gone
                    break
                sequences.branches.append(target)
            batch_room -= missing
            in_use += [target, source]
            plans.append(_BranchPlan(branch, target, len(prefix), own, target == source))
            for end in range(own, len(branch)):
                planned.setdefault(tuple(branch[: end + 1]), len(prefix))
        return plans

    def _holds_just(self, sequence: int, length: int) -> bool:
        """Whether a sequence holds exactly `length` tokens."""
        return len(self._cells.sequences.held(sequence)) == length

    def _sequence_for_branch(self, base: int, old: list[int], without: list[int]) -> int | None:
        """A sequence for a further branch: an empty one, else that of the first old branch; None where none is left."""
        sequences, model = self._cells.sequences, self._cells.model
        most = model.sequences - 2
        if sequences.free() == 0 or len(sequences.branches) >= most:
            old = [one for one in old if one in sequences.branches and one not in without]
            if not model.can_cut:  # where few have room, the likeliest branch stays
                latest = [one for one in sequences.latest() if one in old]
                old = latest[:1] if len(sequences.branches) >= most and len(without) == 1 else []
            if old and len(sequences.branches) >= min(REUSING_BRANCHES, most):
                sequences.branches.remove(old[0])
                return old[0]
            if len(sequences.branches) >= most:
                return None
        return sequences.victim(without=[base, *sequences.branches, *without])

    def _decode_branches(
        self, path: list[int], base: int, plans: list[_BranchPlan], top: int
    ) -> list[Distribution] | None:
        """The distributions after planned branches; None where cells are short even after giving up all others."""
        cells, sequences, model = self._cells, self._cells.sequences, self._cells.model
        entries: list[BatchEntry] = []
        places: dict[tuple[int, ...], int] = {}
        for plan in plans:
            last = len(plan.branch) - 1
            for end in range(plan.keep, last + 1):
                prefix = tuple(plan.branch[: end + 1])
                if end < plan.own:
                    entry = entries[places[prefix]]
                    entries[places[prefix]] = entry._replace(others=(*entry.others, plan.sequence))
                    continue
                places.setdefault(prefix, len(entries))
                entries.append(BatchEntry(prefix[-1], plan.sequence, len(path) + end, end == last))
        own = [plan.sequence for plan in plans]
        while True:
            try:
                logits = model.decode(entries)
                break
            except OutOfCells:
                others = [one for one in sequences.latest() if one not in own and one != base]
                if not others:
                    self._undo(path, plans)
                    return None
                # All other branches, else the sequence used longest ago.
                cells.forget([one for one in others if one in sequences.branches] or others[-1:])
            except (Interrupted, ModelError):
                self._undo(path, plans)
                raise
        cells.filled += len(entries)
        batch_is_strict = cells.orderly and is_strict(len(entries)) and is_strict(len(plans))
        wide = len(plans) >= STRICT
        read = self._reader.read(logits, [None] * len(plans), [top] * len(plans))
        for plan, row, log_sum, distribution in zip(plans, logits, read.log_sums, read.distributions, strict=True):
            branch_path, before = [*path, *plan.branch], len(path) + plan.keep
            strict_count = min(sequences.strict(plan.sequence), before)
            strict = batch_is_strict and strict_count == before
            self._worth.note(tuple(plan.branch), distribution)
            sequences.hold(plan.sequence, branch_path, len(branch_path) if strict else strict_count)
            kept = LogitsRow(row, log_sum, strict)
            self.rows.keep(branch_path, kept, self._worth.keys(tuple(plan.branch)))
            if not wide:  # else they would push out the rows of the player's path
                self._rows.keep(branch_path, kept)
        return read.distributions

    def _undo(self, path: list[int], plans: list[_BranchPlan]) -> None:
        """Drops the cells of a batch that failed."""
        cells, sequences = self._cells, self._cells.sequences
        cells.forget([plan.sequence for plan in plans if not plan.in_place])
        for plan in plans:
            if plan.in_place:
                held = cells.cut(plan.sequence, len(path) + plan.keep)
                if held < len(path) + plan.keep:  # cells outside the attention window are gone
                    cells.forget([plan.sequence])
                    continue
                strict_count = min(sequences.strict(plan.sequence), held)
                sequences.hold(plan.sequence, [*path, *plan.branch][:held], strict_count)
