"""Evaluating a path: reuse what is cached, decode what is missing, turn logits into numbers."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tokex_gguf.engine.worker import logit_math
from tokex_gguf.engine.worker.kv_plan import Sequences
from tokex_gguf.engine.worker.lenses import Lenses, Seen, likeliest
from tokex_gguf.engine.worker.llama import BATCH, Entry, Interrupted, Llama, ModelError, OutOfCells
from tokex_gguf.engine.worker.logits_cache import Row, Rows
from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.dice import numbers
from tokex_gguf.values.distribution import Distribution, Taken
from tokex_gguf.values.lens import RAW, Raw, Sampled
from tokex_gguf.values.record import record
from tokex_gguf.values.samplers import NO_CHAIN
from tokex_gguf.values.view import KEPT, Draw, Verdict, View


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


class Evaluator:
    """Answers for paths with one model; keeps the record of what its KV cache holds."""

    def __init__(self, model: Llama) -> None:
        self._model = model
        self._sequences = Sequences(model.sequences, can_cut=model.can_cut)
        self._statistics = logit_math.Statistics(model.vocabulary.size)
        self._rows = Rows(model.vocabulary.size)
        self._lenses = Lenses(model.vocabulary)
        self._tells = False
        """Whether a row of logits has told tokens apart."""
        self._trunk: list[int] = []
        """The path of the last lookahead."""
        self._branches: list[int] = []
        """The sequences that hold it and one of those tokens."""

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
        if not 0 <= start < len(path):
            raise ModelError("nothing to evaluate")
        self._check(path if asked is None else [*path, asked])
        began = time.perf_counter()
        self._recall(lens, path[: start + 1])
        following = [*path[1:], asked]
        while start < len(path) and (row := self._rows.of(path[: start + 1])) is not None:
            few = top if start < len(path) - 1 else max(top, last_top)
            read = self._read(row.logits[None, :], following[start : start + 1], [few])
            verdicts = self._verdicts(lens, path, start, row.logits[None, :], read.log_sums, following)
            yield Chunk(start, read.distributions, read.taken, 0, time.perf_counter() - began, verdicts)
            began, start = time.perf_counter(), start + 1
        if start < len(path):
            yield from self._decoded(path, start, [top] * (len(path) - 1) + [max(top, last_top)], following, lens)

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
    ) -> Iterator[Chunk]:
        """`evaluate`, by decoding alone: the path's cells are there afterwards. `tops`: candidates at each position."""
        began, decoded = time.perf_counter(), 0
        sequence, position = self._prepare(path, start)
        while position < len(path):
            room = self._model.context_limit
            if position >= room:
                raise ContextFull(len(path), room)
            count = min(BATCH, len(path) - position, room - position)
            sequence = self._make_room(path, sequence, position, count)
            # A position before `start` needs its cells but no answer.
            first_row = min(max(start - position, 0), count)
            try:
                logits = self._decode(path, sequence, position, count, first_row)
            except OutOfCells:
                raise ContextFull(len(path), position) from None
            first = position + first_row
            position += count
            decoded += count
            if first == position:
                continue
            read = self._read(logits, following[first:position], tops[first:position])
            verdicts = self._verdicts(lens, path, first, logits, read.log_sums, following)
            ended = time.perf_counter()
            try:
                yield Chunk(first, read.distributions, read.taken, decoded, ended - began, verdicts)
            finally:  # also where nobody asks for more; the answer goes first, as somebody waits for it
                # The path's last ones: who goes back goes there first.
                for end in range(max(first, len(path) - self._rows.room), position):
                    self._rows.keep(path[: end + 1], Row(logits[end - first], read.log_sums[end - first]))
            began, decoded = ended, 0

    def look_ahead(self, path: list[int], tokens: list[int], top: int) -> list[Distribution]:
        """The distributions after `path` and each of `tokens`, decoded in one batch.

        They share the path's cells, and each token keeps a sequence of its own until
        there is a lookahead from another path, so that going on with it finds it cached. Where there
        are not enough sequences, only the first tokens are answered for. Raises as
        `evaluate` does.
        """
        self._check([*path, *tokens])
        most = self._model.sequences - 2
        if path != self._trunk or len(self._branches) >= most:
            self._forget(self._branches)
            self._branches, self._trunk = [], path
        if len(path) >= self._model.context_limit:
            raise ContextFull(len(path) + 1, self._model.context_limit)
        base, position = self._prepare(path, len(path))
        if position < len(path):  # given up meanwhile, even where the row is kept
            for _ in self._decoded(path, len(path) - 1, [1] * len(path), [None] * len(path)):
                pass
            base, position = self._prepare(path, len(path))
            if position < len(path):
                raise ModelError("this path cannot be kept")
        branches: list[int] = []
        for token in tokens[: most - len(self._branches)]:
            # One just made would be the next to go: nothing is cheaper to decode again.
            branch = self._sequences.victim(without=[base, *self._branches, *branches])
            assert branch is not None
            self._model.cut(branch, 0)
            self._model.copy(base, branch, len(path))
            self._sequences.hold(branch, [*path, token])
            branches.append(branch)
        self._sequences.hold(base, path)
        try:
            logits = self._model.decode(
                [Entry(token, branch, position, True) for token, branch in zip(tokens, branches, strict=False)]
            )
        except OutOfCells:
            self._forget(branches)
            raise ContextFull(len(path) + 1, self._model.cells) from None
        except (Interrupted, ModelError):
            self._forget(branches)
            raise
        self._branches += branches
        read = self._read(logits, [None] * len(branches), [top] * len(branches))
        for token, row, log_sum in zip(tokens, logits, read.log_sums, strict=False):
            self._rows.keep([*path, token], Row(row, log_sum))
        return read.distributions

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

    def _forget(self, sequences: list[int]) -> None:
        for sequence in sequences:
            self._model.cut(sequence, 0)
            self._sequences.hold(sequence, [])

    def _prepare(self, path: list[int], start: int) -> tuple[int, int]:
        """Makes a sequence hold as much of the path as is cached; returns it and how much."""
        if path[: len(self._trunk)] != self._trunk:
            # Else the trunk would go before them, as they hold all of it, and they go next.
            self._forget(self._branches)
            self._branches = []
        plan = self._sequences.plan(path, start)
        if plan.sequence in self._branches:
            self._branches.remove(plan.sequence)
            if plan.source is None and plan.keep > len(self._trunk):
                # Going on with a token of the lookahead: its sequence has all that the trunk's has.
                self._forget(self._sequences.prefixes_of(self._trunk, without=plan.sequence))
        if plan.source is not None:
            self._model.cut(plan.sequence, 0)
            self._model.copy(plan.source, plan.sequence, plan.keep)
            self._sequences.hold(plan.source, self._sequences.held(plan.source))
        held = self._model.cut(plan.sequence, plan.keep)
        self._sequences.hold(plan.sequence, path[:held])
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
        self._sequences = Sequences(self._model.sequences, can_cut=self._model.can_cut)
        self._sequences.hold(sequence, path[:position])
        self._trunk, self._branches = [], []
        return sequence

    def _decode(self, path: list[int], sequence: int, position: int, count: int, first_row: int) -> logit_math.Logits:
        """Decodes `count` tokens, giving up other sequences while cells are short."""
        entries = [
            Entry(token, sequence, position + index, index >= first_row)
            for index, token in enumerate(path[position : position + count])
        ]
        while True:
            try:
                logits = self._model.decode(entries)
            except OutOfCells:
                victim = self._sequences.evictable(without=sequence)
                if victim is None:
                    raise
                self._forget([victim])
            except (Interrupted, ModelError):
                held = min(self._model.count(sequence), position + count)
                self._sequences.hold(sequence, path[:held])
                raise
            else:
                self._sequences.hold(sequence, path[: position + count])
                return logits

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
