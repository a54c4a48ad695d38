"""Answers for paths with one model: kept ones are told, missing ones are decoded, and lenses look through logits."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from tokex_gguf.engine.kv_folder import KvFolder
from tokex_gguf.engine.worker import logit_math
from tokex_gguf.engine.worker.ahead import BranchBatches
from tokex_gguf.engine.worker.cells import Cells, check_place
from tokex_gguf.engine.worker.chunks import Chunk, LogitsReader, decoded, known
from tokex_gguf.engine.worker.lenses import Lenses, SeenRow, likeliest
from tokex_gguf.engine.worker.llama import Interrupted, Llama, ModelError
from tokex_gguf.engine.worker.logits_cache import LogitsCache, LogitsRow
from tokex_gguf.engine.worker.strict import StrictAnswers
from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.dice import numbers
from tokex_gguf.values.distribution import Taken
from tokex_gguf.values.lens import RAW, Raw, Sampled
from tokex_gguf.values.samplers import NO_CHAIN
from tokex_gguf.values.view import NOT_CUT, Draw, Verdict, View


class Played(NamedTuple):
    """A token that was drawn."""

    token: int
    verdict: Verdict
    taken: Taken


class Evaluator:
    """Answers for paths, and through lenses; strict answers and lookahead are its parts."""

    def __init__(self, model: Llama, folder: KvFolder | None = None) -> None:
        """`folder`: where cells are that were computed at earlier starts."""
        self._model = model
        self._reader = LogitsReader(model.vocabulary.size)
        self._rows = LogitsCache(model.vocabulary.size)
        self._lenses = Lenses(model.vocabulary)
        self.cells = Cells(model, folder)
        """What is cached."""
        self.strict = StrictAnswers(self.cells, self._rows, self._reader)
        """Answers that are the same whatever was decoded before."""
        self.ahead = BranchBatches(self.cells, self._rows, self._reader, self.evaluate)
        """Answers behind a path, many at once."""

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
        check_place(path, start)
        self.cells.check(path if asked is None else [*path, asked])
        began = time.perf_counter()
        self._recall(lens, path[: start + 1])
        following, tops = [*path[1:], asked], [top] * (len(path) - 1) + [max(top, last_top)]
        judge = partial(self._verdicts, lens, path, following)
        for chunk in known(path, start, tops, following, self._reader, self._rows.of, began, judge):
            yield chunk
            start += 1
        if start < len(path):
            batches = self.cells.batches(path, start)
            yield from decoded(batches, path, tops, following, self._reader, self._rows, judge)

    def known_row(self, path: list[int]) -> LogitsRow | None:
        """The logits after a path, if they are there."""
        return self._rows.of(path)

    def know_row(self, path: list[int], row: LogitsRow) -> None:
        """Searches and views of a path go on from these logits, as what was shown of it did."""
        self._rows.keep(path, row)

    def _recall(self, lens: Raw | Sampled, path: list[int]) -> None:
        """Brings back what a lens remembers of a path's choices, where that is lost."""
        if isinstance(lens, Raw) or (since := self._lenses.remembered(lens, path)) >= len(path):
            return
        for _ in self.evaluate(path[:-1], max(since, 1) - 1, 1, path[-1], 1, lens):
            pass

    def _verdicts(
        self,
        lens: Raw | Sampled,
        path: list[int],
        following: list[int | None],
        first: int,
        logits: logit_math.Logits,
        log_sums: list[float],
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
                verdicts.append(Verdict(math.exp(float(row[token]) - log_sum), NOT_CUT))
            elif token is not None:
                try:
                    seen = self._lenses.see(lens, row, log_sum, before)
                except ModelError:
                    return []
                verdicts.append(seen.verdict(token))
                self._lenses.chose(lens, before, seen, token)
        return verdicts

    def row(self, path: list[int]) -> tuple[LogitsRow, int]:
        """The logits after a path, and how many tokens were decoded for them: those of lookahead, too.

        Raises as `evaluate` does.
        """
        if self._rows.of(path) is None and (row := self.ahead.rows.of(path)) is not None:
            return row, 0
        return self._row_alone(path)

    def _row_alone(self, path: list[int]) -> tuple[LogitsRow, int]:
        """The same, but no row of wide lookahead: what a seed draws must not depend on what was looked ahead to."""
        if not path:
            raise ModelError("nothing to evaluate")
        count = 0
        while (row := self._rows.of(path)) is None:
            count += sum(chunk.decoded for chunk in self.evaluate(path, len(path) - 1, 1))
        return row, count

    def candidates(self, row: LogitsRow, ids: list[int]) -> list[Taken]:
        """Log-probabilities and true ranks of some tokens of a row."""
        return [logit_math.taken(row.logits, row.log_sum, token) for token in ids]

    def _see(self, path: list[int], lens: Sampled, *, alone: bool) -> tuple[SeenRow, LogitsRow, int]:
        self._recall(lens, path)
        row, count = self._row_alone(path) if alone else self.row(path)
        return self._lenses.see(lens, row.logits, row.log_sum, path), row, count

    def apply(self, path: list[int], lens: Sampled, tokens: list[int], top: int) -> tuple[View, int]:
        """What a lens leaves of the distribution after a path, and how many tokens were decoded for it.

        It tells of the `top` likeliest by the model, of `tokens`, and of the likeliest left. Raises as `evaluate` does.
        """
        self.cells.check([*path, *tokens])
        seen, row, count = self._see(path, lens, alone=False)
        likely = likeliest(seen, row.logits, top)
        view = self._lenses.view(seen, [*likely, *tokens])
        told = set(likely)
        others = [token for token in view.likeliest if token not in told]
        if not others:
            return view, count
        return replace(view, others=dict(zip(others, self.candidates(row, others), strict=True))), count

    def roll(self, path: list[int], lens: Sampled, draws: Iterable[float]) -> tuple[list[Draw], list[Verdict], int]:
        """What some numbers from 0 to 1 draw of what a lens leaves, and how many tokens were decoded for it.

        Raises as `evaluate` does.
        """
        seen, _, count = self._see(path, lens, alone=True)
        drawn = list(self._lenses.draws(seen, draws))
        return drawn, [seen.verdict(one.token) for one in drawn], count

    def constrain(self, constraint: Constraint, path: list[int], start: int) -> int:
        """The position of a path's first token that a constraint from `start` on does not allow; -1: all are legal.

        Raises ModelError where the constraint is none.
        """
        self.cells.check(path)
        return self._lenses.broken(constraint, path, start)

    def forced(self, path: list[int], lens: Sampled) -> tuple[list[int], bool]:
        """The tokens after a path that a lens's constraint leaves no choice in; whether more may follow."""
        self.cells.check(path)
        return self._lenses.forced(lens, path)

    def play(self, path: list[int], lens: Sampled, seed: int) -> Played | None:
        """The token that is drawn after a path by a seed's first number there; None where nothing is left.

        Raises as `evaluate` does.
        """
        seen, row, _ = self._see(path, lens, alone=True)
        drawn = next(self._lenses.draws(seen, numbers(seed, path, 0, 1)), None)
        if drawn is None:
            return None
        self._lenses.chose(lens, path, seen, drawn.token)
        (taken,) = self.candidates(row, [drawn.token])
        return Played(drawn.token, seen.verdict(drawn.token), taken)
