"""Answers for paths with one model: from cached logits where they are there, else decoded; and views through lenses."""

import math
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from tokex_gguf.engine.kv_folder import KvFolder
from tokex_gguf.engine.worker import logit_math
from tokex_gguf.engine.worker.branch_batches import BranchBatches
from tokex_gguf.engine.worker.cells import Cells, check_place
from tokex_gguf.engine.worker.chunks import Chunk, LogitsReader, cached_chunks, decoded_chunks
from tokex_gguf.engine.worker.lenses import Lenses, SeenRow, likeliest
from tokex_gguf.engine.worker.llama import Interrupted, Llama, ModelError
from tokex_gguf.engine.worker.logits_cache import LogitsCache, LogitsRow
from tokex_gguf.engine.worker.strict import StrictAnswers
from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.distribution import TokenLogprob
from tokex_gguf.values.lens import RAW, Raw, Sampled
from tokex_gguf.values.random_numbers import numbers
from tokex_gguf.values.record import replace
from tokex_gguf.values.samplers import NO_CHAIN
from tokex_gguf.values.view import NOT_CUT, Draw, Verdict, View


class Played(NamedTuple):
    """A token that was drawn."""

    token: int
    verdict: Verdict
    taken: TokenLogprob


class Evaluator:
    """Answers for paths, and through lenses; it owns strict answers and lookahead."""

    def __init__(self, model: Llama, folder: KvFolder | None = None) -> None:
        """`folder`: the cells of earlier starts."""
        self._model = model
        self._reader = LogitsReader(model.vocabulary.size)
        self._rows = LogitsCache(model.vocabulary.size)
        self._lenses = Lenses(model.vocabulary)
        self.cells = Cells(model, folder)
        """The KV cells of the first context."""
        self.strict = StrictAnswers(self.cells, self._rows, self._reader)
        """Answers that do not depend on what was decoded before."""
        self.ahead = BranchBatches(self.cells, self._rows, self._reader, self.evaluate)
        """Lookahead: answers after branches, many in one batch."""

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
        self._restore_memory(lens, path[: start + 1])
        following, tops = [*path[1:], asked], [top] * (len(path) - 1) + [max(top, last_top)]
        judge = partial(self._verdicts, lens, path, following)
        for chunk in cached_chunks(path, start, tops, following, self._reader, self._rows.of, began, judge):
            yield chunk
            start += 1
        if start < len(path):
            batches = self.cells.batches(path, start)
            yield from decoded_chunks(batches, path, tops, following, self._reader, self._rows, judge)

    def cached_row(self, path: list[int]) -> LogitsRow | None:
        """The logits after a path, if they are cached."""
        return self._rows.of(path)

    def cache_row(self, path: list[int], row: LogitsRow) -> None:
        """Caches the logits after a path that its shown answer was made of, for searches and views."""
        self._rows.keep(path, row)

    def _restore_memory(self, lens: Raw | Sampled, path: list[int]) -> None:
        """Replays a path's choices through a lens with memory, as far as that memory is lost."""
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
        """A lens's verdicts on the tokens that follow some rows, the first of which is at position `first`.

        None where the lens fails: the model's own numbers are sent all the same. Raises Interrupted.
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
        """The logits after a path, also those of lookahead, and how many tokens were decoded for them.

        Raises as `evaluate` does.
        """
        if self._rows.of(path) is None and (row := self.ahead.rows.of(path)) is not None:
            return row, 0
        return self._row_without_lookahead(path)

    def _row_without_lookahead(self, path: list[int]) -> tuple[LogitsRow, int]:
        """As `row`, but without the rows of wide lookahead: the draws of a seed must not depend on lookahead."""
        if not path:
            raise ModelError("nothing to evaluate")
        count = 0
        while (row := self._rows.of(path)) is None:
            count += sum(chunk.decoded for chunk in self.evaluate(path, len(path) - 1, 1))
        return row, count

    def candidates(self, row: LogitsRow, ids: list[int]) -> list[TokenLogprob]:
        """Log-probabilities and ranks of tokens in a row."""
        return [logit_math.taken(row.logits, row.log_sum, token) for token in ids]

    def _see(self, path: list[int], lens: Sampled, *, alone: bool) -> tuple[SeenRow, LogitsRow, int]:
        self._restore_memory(lens, path)
        row, count = self._row_without_lookahead(path) if alone else self.row(path)
        return self._lenses.see(lens, row.logits, row.log_sum, path), row, count

    def apply(self, path: list[int], lens: Sampled, tokens: list[int], top: int) -> tuple[View, int]:
        """The view of the distribution after a path through a lens, and how many tokens were decoded for it.

        The view has the `top` likeliest by the model, `tokens`, and the likeliest left; and the model's numbers for
        those left that may not be candidates. Raises as `evaluate` does.
        """
        self.cells.check([*path, *tokens])
        seen, row, count = self._see(path, lens, alone=False)
        likely = likeliest(seen, row.logits, top)
        view = self._lenses.view(seen, [*likely, *tokens])
        shown, left = set(likely), set(view.likeliest)
        others = [token for token in view.likeliest if token not in shown]
        numbers = dict(zip(others, self.candidates(row, others), strict=True))
        # Where the distribution was computed in another way, other tokens may be its last candidates.
        for rank, token in enumerate(likely[top // 2 :], top // 2 + 1):
            if token in left:
                numbers[token] = TokenLogprob(float(row.logits[token]) - row.log_sum, rank)
        return (replace(view, others=numbers) if numbers else view), count

    def roll(self, path: list[int], lens: Sampled, draws: Iterable[float]) -> tuple[list[Draw], list[Verdict], int]:
        """The tokens that numbers from 0 to 1 draw through a lens, and how many tokens were decoded for that.

        Raises as `evaluate` does.
        """
        seen, _, count = self._see(path, lens, alone=True)
        drawn = list(self._lenses.draws(seen, draws))
        return drawn, [seen.verdict(draw.token) for draw in drawn], count

    def constrain(self, constraint: Constraint, path: list[int], start: int) -> int:
        """The position of a path's first token that a constraint from `start` on does not allow; -1: all are legal.

        Raises ModelError where the constraint is invalid.
        """
        self.cells.check(path)
        return self._lenses.broken(constraint, path, start)

    def forced(self, path: list[int], lens: Sampled) -> tuple[list[int], bool]:
        """The tokens after a path that a lens's constraint leaves no choice in; whether more may follow."""
        self.cells.check(path)
        return self._lenses.forced(lens, path)

    def play(self, path: list[int], lens: Sampled, seed: int) -> Played | None:
        """The token that a seed's first number draws after a path; None where the lens leaves none.

        Raises as `evaluate` does.
        """
        seen, row, _ = self._see(path, lens, alone=True)
        drawn = next(self._lenses.draws(seen, numbers(seed, path, 0, 1)), None)
        if drawn is None:
            return None
        self._lenses.chose(lens, path, seen, drawn.token)
        (taken,) = self.candidates(row, [drawn.token])
        return Played(drawn.token, seen.verdict(drawn.token), taken)
