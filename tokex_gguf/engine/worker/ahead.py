"""Lookahead: the distributions after branches behind a path, many in one batch on shared cells.

Which branches are asked about, best first, is not decided here; which of them keep their cells is (`branch_worth.py`).
"""

from collections.abc import Callable, Iterator
from itertools import chain, takewhile
from typing import NamedTuple

from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.worker.branch_worth import BranchWorth
from tokex_gguf.engine.worker.cells import Cells, is_strict
from tokex_gguf.engine.worker.chunks import Chunk, LogitsReader, decoded
from tokex_gguf.engine.worker.llama import BATCH, STRICT, BatchEntry, Interrupted, ModelError, OutOfCells
from tokex_gguf.engine.worker.logits_cache import LogitsCache, LogitsRow, RowsAhead
from tokex_gguf.values.distribution import Distribution

MAY_TAKE_OTHERS = 4
"""Branches of a lookahead that may take the sequences of others, where none is free: more only take each other's."""
RANKED = 100
"""Candidates that are looked at to find which branches will be gone on from."""


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


class BranchBatches:
    """Looks ahead in a context, in sequences that nothing else is done with meanwhile."""

    def __init__(
        self,
        cells: Cells,
        rows: LogitsCache,
        reader: LogitsReader,
        evaluate: Callable[[list[int], int, int], Iterator[Chunk]],
    ) -> None:
        """`rows`: where the logits of few branches are kept; `evaluate`: the way that all other paths take."""
        self._cells = cells
        self._rows = rows
        self._reader = reader
        self._evaluate = evaluate
        self._worth = BranchWorth()
        self.rows = RowsAhead(cells.model.vocabulary.size)
        """The logits after branches, as far as there is room."""

    def look(self, path: list[int], branches: list[list[int]], top: int) -> list[Distribution]:
        """The distributions after `path` and each of the first of some branches, decoded in one batch.

        There is at least one, and as many as there are sequences and room in a batch for. They share the path's
        cells, and those of what they begin with. Each branch keeps a sequence of its own as long as there is no
        other use for it and the path goes on there, so that going on with it finds it cached. Raises as
        `Evaluator.evaluate` does.
        """
        first = branches[0] if branches else []
        self._cells.check([*path, *chain.from_iterable(branches)])
        if not first:
            raise ModelError("nothing to look ahead to")
        room = self._cells.model.context_limit
        if len(path) + len(first) > room:
            raise ContextFull(len(path) + len(first), room)
        base = self._settle(path)
        fitting = list(takewhile(lambda one: one and len(path) + len(one) <= room, branches))
        needed = min(BATCH, room - len(path), sum(map(len, fitting)))
        if len(path) + needed > self._cells.model.cells:
            self._cells.make_room(path, base, len(path), needed)
            base = self._settle(path)
        for some in (fitting, [first]):
            plans = self._plan_branches(path, base, some)
            if not plans:
                return self._alone(path, base, first, top)
            if (found := self._decode_branches(path, base, plans, top)) is not None:
                return found
        raise ContextFull(len(path) + 1, self._cells.model.cells)

    def _settle(self, path: list[int]) -> int:
        """Makes a sequence hold a path, for branches to go on from; returns it."""
        cells = self._cells
        base, position = cells.prepare(path, len(path))
        if position < len(path):  # given up meanwhile, even where the row is kept
            batches, size = cells.batches(path, len(path) - 1), len(path)
            for _ in decoded(batches, path, [1] * size, [None] * size, self._reader, self._rows):
                pass
            base, position = cells.prepare(path, len(path))
            if position < len(path):
                raise ModelError("this path cannot be kept")
        sequences = cells.sequences
        if path != sequences.trunk:
            # Those that do not go on from here are worth nothing any more.
            away = [one for one in sequences.branches if sequences.held(one)[: len(path)] != path]
            for one in away:
                if cells.model.interrupted:  # of a long path, each takes a while
                    raise Interrupted
                cells.forget([one])
            known = len(sequences.trunk)
            self._worth.move(tuple(path[known:]) if path[:known] == sequences.trunk else None)
            sequences.trunk = path
            if (row := self._rows.of(path)) is not None:
                self._worth.note((), self._reader.statistics.distribution(row.logits, RANKED)[0])
            self.rows.move(path, self._worth.keys)
        sequences.use(base)
        return base

    def _alone(self, path: list[int], base: int, branch: list[int], top: int) -> list[Distribution]:
        """The distribution after a path and one branch, on the way that all paths take."""
        cells, sequences, model = self._cells, self._cells.sequences, self._cells.model
        target = None if model.can_cut else sequences.victim(without=[base])
        if target is not None:  # the path's own sequence would go on with the branch, and could not come back
            cells.forget([target])
            model.copy(base, target, len(path))
            sequences.hold(target, path, sequences.strict(base))
        path = [*path, *branch]
        return [chunk.distributions[-1] for chunk in self._evaluate(path, len(path) - 1, top)][-1:]

    def _plan_branches(self, path: list[int], base: int, branches: list[list[int]]) -> list[_BranchPlan]:
        """What is to be decoded for some branches, each in a sequence that shares what is cached of it."""
        cells, sequences, model = self._cells, self._cells.sequences, self._cells.model
        cached: dict[tuple[int, ...], int] = {(): base}
        for one in sequences.branches:
            tail = tuple(sequences.held(one)[len(path) :])
            ends = range(1, len(tail) + 1) if model.can_cut else [len(tail)]
            cached.update((tail[:end], one) for end in ends if end)
        needed = [cached[_longest(branch, cached)] for branch in branches]
        tails = {one: tuple(sequences.held(one)[len(path) :]) for one in sequences.branches}
        worth = self._worth.worth(tails)
        old = sorted((one for one in sequences.branches if one not in needed), key=worth.__getitem__)
        old += [one for one in reversed(needed) if one in sequences.branches]  # these go last
        plans: list[_BranchPlan] = []
        taken: list[int] = []
        planned: dict[tuple[int, ...], int] = {}
        """What is decoded for those before, and how much of that is cached."""
        left = BATCH
        for branch in branches:
            begin = _longest(branch, cached)
            source, keep = cached[begin], len(path) + len(begin)
            own = len(begin)
            while model.can_cut and own < len(branch) - 1 and planned.get(tuple(branch[: own + 1])) == len(begin):
                own += 1
            missing = len(branch) - own
            if missing > (left if model.can_cut else 1):
                break
            # Else it goes on there: others that go on from the same place find its cells all the same.
            apart = not model.can_cut or source == base or source in taken or not self._ends(source, keep)
            target = self._place(base, old, [*taken, source]) if apart else source
            if target is None:
                break
            if apart:
                cells.cut(target, 0)
                for gone in [tail for tail, sequence in cached.items() if sequence == target]:
                    del cached[gone]
                model.copy(source, target, keep)
                held = model.cut(target, keep)  # whatever goes, the source has it
                sequences.hold(target, [*path, *branch][:held], min(sequences.strict(source), held))
                if held < keep:  # a window's cells are gone
                    break
                sequences.branches.append(target)
            left -= missing
            taken += [target, source]
            plans.append(_BranchPlan(branch, target, len(begin), own, target == source))
            for end in range(own, len(branch)):
                planned.setdefault(tuple(branch[: end + 1]), len(begin))
        return plans

    def _ends(self, sequence: int, length: int) -> bool:
        """Whether a sequence holds just so many tokens."""
        return len(self._cells.sequences.held(sequence)) == length

    def _place(self, base: int, old: list[int], without: list[int]) -> int | None:
        """A sequence for a further branch: an empty one, else the first of old branches; few are taken from others."""
        sequences, model = self._cells.sequences, self._cells.model
        most = model.sequences - 2
        if sequences.free() == 0 or len(sequences.branches) >= most:
            old = [one for one in old if one in sequences.branches and one not in without]
            if not model.can_cut:  # where few have room, the most wanted one stays
                latest = [one for one in sequences.latest() if one in old]
                old = latest[:1] if len(sequences.branches) >= most and len(without) == 1 else []
            if old and len(sequences.branches) >= min(MAY_TAKE_OTHERS, most):
                sequences.branches.remove(old[0])
                return old[0]
            if len(sequences.branches) >= most:
                return None
        return sequences.victim(without=[base, *sequences.branches, *without])

    def _decode_branches(
        self, path: list[int], base: int, plans: list[_BranchPlan], top: int
    ) -> list[Distribution] | None:
        """The distributions after planned branches; None where there are not enough cells, whatever is given up."""
        cells, sequences, model = self._cells, self._cells.sequences, self._cells.model
        entries: list[BatchEntry] = []
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
                entries.append(BatchEntry(begin[-1], plan.sequence, len(path) + end, end == last))
        own = [plan.sequence for plan in plans]
        while True:
            try:
                logits = model.decode(entries)
                break
            except OutOfCells:
                others = [one for one in sequences.latest() if one not in own and one != base]
                if not others:
                    self._take_back(path, plans)
                    return None
                # All other branches, else what was used longest ago.
                cells.forget([one for one in others if one in sequences.branches] or others[-1:])
            except (Interrupted, ModelError):
                self._take_back(path, plans)
                raise
        cells.filled += len(entries)
        together = cells.orderly and is_strict(len(entries)) and is_strict(len(plans))
        wide = len(plans) >= STRICT
        read = self._reader.read(logits, [None] * len(plans), [top] * len(plans))
        for plan, row, log_sum, distribution in zip(plans, logits, read.log_sums, read.distributions, strict=True):
            whole, before = [*path, *plan.branch], len(path) + plan.keep
            sure = min(sequences.strict(plan.sequence), before)
            strict = together and sure == before
            self._worth.note(tuple(plan.branch), distribution)
            sequences.hold(plan.sequence, whole, len(whole) if strict else sure)
            kept = LogitsRow(row, log_sum, strict)
            self.rows.keep(whole, kept, self._worth.keys(tuple(plan.branch)))
            if not wide:  # else they would leave no room for those where the player is
                self._rows.keep(whole, kept)
        return read.distributions

    def _take_back(self, path: list[int], plans: list[_BranchPlan]) -> None:
        """Drops what may be there of a batch that came to nothing."""
        cells, sequences = self._cells, self._cells.sequences
        cells.forget([plan.sequence for plan in plans if not plan.goes_on])
        for plan in plans:
            if plan.goes_on:
                held = cells.cut(plan.sequence, len(path) + plan.keep)
                if held < len(path) + plan.keep:  # a window's cells are gone
                    cells.forget([plan.sequence])
                    continue
                sure = min(sequences.strict(plan.sequence), held)
                sequences.hold(plan.sequence, [*path, *plan.branch][:held], sure)
