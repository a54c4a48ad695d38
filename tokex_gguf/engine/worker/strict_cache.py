"""Strict answers kept on the disk: what was compared once is compared at the next start without a decode.

They come from files of their own, and from the prompt cache's where what was shown first was strict. The logits at the
end of a path are kept as well: how two tables differ is computed from them.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from tokex_gguf.engine.kv_file import KvPart, RawRow, StoredAnswer, UnusablePart
from tokex_gguf.engine.kv_folder import KvFolder, Link, PartKind, closing
from tokex_gguf.engine.worker.chunks import Chunk
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import Interrupted
from tokex_gguf.engine.worker.logits_cache import LogitsRow

SHORTEST = 16
"""Positions that are worth a file: decoding fewer is as quick."""
MUCH = 32
"""New positions from which on an evaluation is written soon."""
LARGEST = 512
"""Positions from which on a written evaluation is forgotten: what continues it becomes another file."""
EVALUATIONS = 4
"""Evaluations that are remembered until they are written: of A and B, now and before."""


class _Evaluation:
    """Strict answers at consecutive positions of a path, up to its end so far."""

    def __init__(self, path: list[int], start: int) -> None:
        self.path = path
        self.start = start
        self.answers: list[StoredAnswer] = []
        self.written = 0
        """How many of the answers are on the disk."""

    @property
    def end(self) -> int:
        """The position after the last answer."""
        return self.start + len(self.answers)

    def continued_by(self, path: list[int], start: int) -> bool:
        """Whether answers of a path from position `start` on go on where these end, or some positions before."""
        return self.start <= start <= self.end <= len(path) and path[: self.end] == self.path[: self.end]


class StrictCache:
    """The strict answers of one model on the disk. Only the engine's loop calls its methods."""

    def __init__(self, folder: KvFolder, evaluator: Evaluator, vocabulary: int, budget: int) -> None:
        """`vocabulary`: the number of tokens; `budget`: bytes for all of the cache."""
        self._folder = folder
        self._model = evaluator.cells.model
        self._strict = evaluator.strict
        self._vocabulary = vocabulary
        self._budget = budget
        self._evaluations: list[_Evaluation] = []
        """The latest first."""

    def answers(self, path: list[int], start: int, top: int) -> list[StoredAnswer]:
        """The strict answers on the disk at the positions from `start` on, up to the first gap.

        Where they reach the path's end, its logits are cached if they are kept. Raises Interrupted.
        """
        if len(path) - start < SHORTEST:
            return []
        found: list[StoredAnswer | None] = [None] * (len(path) - start)
        with closing(self._folder.parts(path, PartKind.STRICT)) as own, closing(self._folder.chain(path)) as played:
            for link in (*own, *played):
                if link.reader.start + link.shared <= start:
                    continue
                if self._model.interrupted:
                    raise Interrupted
                for place, answer in self._strict_ones(link, path, start, top):
                    found[place - start] = found[place - start] or answer
            self._folder.touch([link.name for link in own])
            known = found[: found.index(None)] if None in found else found
            if len(known) == len(found):
                self._restore_row(path, [*own, *played])
        return [answer for answer in known if answer is not None]

    def _strict_ones(self, link: Link, path: list[int], start: int, top: int) -> Iterator[tuple[int, StoredAnswer]]:
        """The complete strict answers of a part, with their positions from `start` on, and at most `top` candidates."""
        first = link.reader.start
        try:
            answers = link.reader.answers()[: link.shared]
        except UnusablePart as error:
            self._folder.distrust(link.name, error)
            return
        count = min(top, self._vocabulary)
        for place, answer in enumerate(answers[max(0, start - first) :], max(start, first)):
            following = path[place + 1] if place + 1 < len(path) else -1
            taken = None if following < 0 else answer.of(following)
            if answer.strict and len(answer.distribution) >= count and (taken is None) is (following < 0):
                yield place, StoredAnswer(answer.distribution.shortened(count), following, taken, strict=True)

    def _restore_row(self, path: list[int], links: list[Link]) -> None:
        for link in links:
            if link.reader.end != len(path) or link.shared < len(link.reader.tokens):
                continue
            try:
                raw = link.reader.row()
            except UnusablePart as error:
                self._folder.distrust(link.name, error)
                continue
            if raw and raw.strict and len(raw.logits) == 4 * self._vocabulary:
                self._strict.cache_row(path, LogitsRow(np.frombuffer(raw.logits, np.float32), raw.log_sum, True))
                return

    def note(self, path: list[int], chunk: Chunk) -> None:
        """Records strict answers that were computed."""
        before = next((one for one in self._evaluations if one.continued_by(path, chunk.start)), None)
        evaluation = before or _Evaluation(path, chunk.start)
        evaluation.path = path
        taken = [*chunk.taken, *[None] * (len(chunk.distributions) - len(chunk.taken))]
        first = chunk.start - evaluation.start
        # The answer at the end so far comes again where it lacked the token that came next.
        evaluation.answers[first : first + len(taken)] = [
            StoredAnswer(distribution, -1 if token is None else path[place + 1], token, strict=True)
            for place, (distribution, token) in enumerate(zip(chunk.distributions, taken, strict=True), chunk.start)
        ]
        others = [one for one in self._evaluations if one is not evaluation]
        self._evaluations = [evaluation, *others][:EVALUATIONS]

    def next_write(self, *, late: bool) -> Callable[[], None] | None:
        """What writes an evaluation that is due; None where none is. `late`: few new positions are worth it, too."""
        for one in self._evaluations:
            new = len(one.answers) - one.written
            if len(one.answers) >= SHORTEST and (new >= MUCH or (late and new)):
                one.written = len(one.answers)  # also where the write fails: it is not tried twice
                if one.written >= LARGEST:
                    self._evaluations.remove(one)
                part, before = self._part(one), one.path[: one.start]
                return partial(self._folder.keep, part, before, b"", self._budget, kind=PartKind.STRICT)
        return None

    def _part(self, evaluation: _Evaluation) -> KvPart:
        path, start, end = evaluation.path, evaluation.start, evaluation.end
        row = self._strict.cached_row(path[:end])
        raw = RawRow(row.logits.tobytes(), row.log_sum, strict=True) if row else None
        return KvPart(start, path[start:end], 0, list(evaluation.answers), raw)
