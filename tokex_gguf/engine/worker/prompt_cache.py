"""The prompt cache: answers and KV cells of played paths, kept on the disk from one start to the next.

Answers are read before a prompt is decoded; the evaluator reads cells just before it decodes the tokens after them.
Both are written while no request waits, a part of a path at a time: the engine's loop copies the cells of the part, in
milliseconds, and a thread does the rest.
"""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from tokex_gguf.engine.kv_file import KvPart, PartReader, RawRow, StoredAnswer, UnusablePart, digest
from tokex_gguf.engine.kv_folder import KvFolder, Link, PartName, closing, name_of, tidy
from tokex_gguf.engine.pipes import log_line, log_place
from tokex_gguf.engine.worker.cells import CachedPrefix
from tokex_gguf.engine.worker.chunks import Chunk
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import Interrupted
from tokex_gguf.engine.worker.logits_cache import LogitsRow
from tokex_gguf.engine.worker.pair_cache import PairCache
from tokex_gguf.engine.worker.strict_cache import StrictCache
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.sequence import common_prefix

SHORTEST = 64
"""Tokens of the shortest path that is cached: decoding fewer is as quick."""
WRITE_MUCH_AFTER, WRITE_ANY_AFTER = 2.0, 8.0
"""Seconds without a request until MUCH_TOKENS new tokens of a path are written, and until any number is."""
MUCH_TOKENS = 32
PART_GAP = 0.03
"""Seconds between two parts, at the least."""
CELL_BYTES_AT_ONCE = 8 << 20
"""Bytes of cells that are copied at once, about: 3 ms, for which a key may have to wait."""
SMALLEST_PART, LARGEST_PART = 64, 1024
"""Tokens of a part."""
PATHS = 4
"""Paths that are followed at the same time: the prompts played last."""
LONG_PATH = 1 << 14
"""Tokens from which on a path's answers stay in memory only until they are on the disk."""
POSITIONS_TOGETHER = 256
"""The most positions in one reply."""


class KnownAnswers(NamedTuple):
    """Answers at consecutive positions that need no decode."""

    start: int
    distributions: list[Distribution]
    taken: list[TokenLogprob]
    strict: bool

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.start + len(self.distributions)


class _PlayedPath:
    """A path that was played, its answers, and its parts on the disk."""

    def __init__(self, tokens: list[int], answers: list[StoredAnswer | None]) -> None:
        self.tokens = tokens
        self.answers = answers
        """By position; shorter than the path where the last are not known."""
        self.ahead: dict[tuple[int, ...], Distribution] = {}
        """The answers after the path and each of these branches."""
        self.final_end: int | None = None
        """The position up to which the parts on the disk are final; None: the disk was not read yet."""
        self.parts: list[PartName] = []
        """The final parts, and one after them that a longer part may replace."""
        self.refused_length = 0
        """The length at which its cells could not be copied: the next try is at a greater length."""
        self.restarted_length = 0
        """The length at which it was written from the start again, as parts had been removed."""

    @property
    def kept(self) -> int:
        """The position up to which parts are written."""
        return self.parts[-1].end if self.parts else 0

    def known_answers(self, start: int, end: int) -> list[StoredAnswer]:
        """The answers from `start` to before `end`, up to the first gap."""
        found: list[StoredAnswer] = []
        for answer in self.answers[start:end]:
            if answer is None:
                break
            found.append(answer)
        return found


class PromptCache:
    """The cache of one model. Only the engine's loop calls its methods."""

    def __init__(self, evaluator: Evaluator, folder: KvFolder, budget: int, vocabulary: int) -> None:
        """`budget`: bytes on the disk, for all models; `vocabulary`: the number of tokens."""
        self._evaluator = evaluator
        self._folder = folder
        self._budget = budget
        self._vocabulary = vocabulary
        self._strict = StrictCache(folder, evaluator, vocabulary, budget)
        self.pairs = PairCache(folder.root, folder.identity, budget)
        """How the model differs from others."""
        self._played: list[_PlayedPath] = []
        """The one played last first."""
        self._writing: threading.Thread | None = None
        self._disabled = False
        """Whether a write has failed: nothing more is written."""
        self._tidied = False
        self.cold = True
        """Whether the next decode may be slow: the played path's cells are not in memory, or nothing was decoded."""

    # --- answers

    def answers(
        self, path: list[int], start: int, top: int, last_top: int, asked: int | None
    ) -> Iterator[KnownAnswers]:
        """The answers on the disk at the positions from `start` on, as `Evaluate` asks for them.

        They end before the first position whose answer is missing or incomplete. Where they are many, the answer at
        the path's end comes first as well, as the player waits for the table. Raises Interrupted.
        """
        if len(path) - start < SHORTEST:
            return
        with closing(self._folder.chain(path)) as links:
            groups = list(self._read_answers(links, path, start, top, last_top, asked))
            # If one is missing, the last is computed with it, and not sent from here: a path never shows two answers.
            if len(path) - start > POSITIONS_TOGETHER and groups and groups[-1].end == len(path):
                last = groups[-1]
                taken = last.taken[-1:] if asked is not None else []
                yield KnownAnswers(len(path) - 1, last.distributions[-1:], taken, last.strict)
            yield from groups
            self._folder.touch([link.name for link in links])
            self._restore_row(links, path)

    def _read_answers(
        self, links: list[Link], path: list[int], start: int, top: int, last_top: int, asked: int | None
    ) -> Iterator[KnownAnswers]:
        for link in links:
            if link.reader.start + link.shared <= start:
                continue
            if self._evaluator.cells.model.interrupted:
                raise Interrupted
            try:
                answers = link.reader.answers()[: link.shared]
            except UnusablePart as error:
                self._folder.distrust(link.name, error)
                return
            skipped = max(0, start - link.reader.start)
            found: list[tuple[Distribution, TokenLogprob | None, bool]] = []
            for place, answer in enumerate(answers[skipped:], link.reader.start + skipped):
                last = place == len(path) - 1
                count = min(max(top, last_top) if last else top, self._vocabulary)
                following = asked if last else path[place + 1]
                taken = None if following is None else answer.of(following)
                if len(answer.distribution) < count or (taken is None) is not (following is None):
                    break
                found.append((answer.distribution.shortened(count), taken, answer.strict))
            yield from _grouped(found, link.reader.start + skipped)
            if len(found) < link.shared - skipped:
                return

    def _restore_row(self, links: list[Link], path: list[int]) -> None:
        """Caches the logits at a path's end, which its answer was made of, for searches and views."""
        if not links or links[-1].reader.end != len(path) or links[-1].shared < len(links[-1].reader.tokens):
            return
        try:
            raw = links[-1].reader.row()
        except UnusablePart as error:
            self._folder.distrust(links[-1].name, error)
            return
        if raw and len(raw.logits) == 4 * self._vocabulary:
            self._evaluator.cache_row(path, LogitsRow(np.frombuffer(raw.logits, np.float32), raw.log_sum, raw.strict))

    def strict_answers(self, path: list[int], start: int, top: int) -> Iterator[KnownAnswers]:
        """The strict answers on the disk at the positions from `start` on, up to the first gap. Raises Interrupted."""
        answers = self._strict.answers(path, start, top)
        yield from _grouped([(answer.distribution, answer.taken, True) for answer in answers], start)

    # --- what was played

    def is_playing(self, path: list[int]) -> bool:
        """Whether a path is the one played last."""
        return bool(self._played) and self._played[0].tokens == path

    def note_path(self, path: list[int]) -> None:
        """Records that a path is being played."""
        self.cold = self.cold or not self._played or self._played[0].tokens != path
        self._record_of(path)

    def note_answers(
        self, path: list[int], start: int, distributions: list[Distribution], taken: list[TokenLogprob], *, strict: bool
    ) -> None:
        """Records answers that were sent, from position `start` on. The first answer at a position stays."""
        answers = self._record_of(path).answers
        answers += [None] * (start + len(distributions) - len(answers))
        for index, distribution in enumerate(distributions):
            place = start + index
            before = answers[place]
            if before is None or len(before.distribution) < len(distribution):
                before = StoredAnswer(distribution, -1, None, strict)
            if index < len(taken) and place + 1 < len(path) and before.of(path[place + 1]) is None:
                before = before._replace(following=path[place + 1], taken=taken[index])
            answers[place] = before

    def note_strictly(self, path: list[int], chunk: Chunk) -> None:
        """Records strict answers that were computed."""
        self._strict.note(path, chunk)

    def note_lookahead(self, path: list[int], branches: list[list[int]], distributions: list[Distribution]) -> None:
        """Records the answers of a lookahead: a player who goes there sends no request for them."""
        self._record_of(path).ahead |= dict(zip(map(tuple, branches), distributions, strict=False))

    def _record_of(self, path: list[int]) -> _PlayedPath:
        """The record of a path. A new one takes over the answers of the played path with the longest common prefix."""
        if self._played and self._played[0].tokens == path:
            return self._played[0]
        shared = [common_prefix(played.tokens, path) for played in self._played]
        best = max(range(len(shared)), key=shared.__getitem__, default=None)
        played = _PlayedPath(path, [])
        if best is not None and shared[best]:
            before, count = self._played[best], shared[best]
            played.answers = before.answers[:count]
            played.restarted_length = min(before.restarted_length, count)
            if before.final_end is not None and before.final_end <= count:
                played.final_end, played.parts = before.final_end, [part for part in before.parts if part.end <= count]
            if count == len(before.tokens):
                for end in range(count, len(path)):
                    distribution = before.ahead.get(tuple(path[count : end + 1]))
                    if distribution is None or len(played.answers) != end:
                        break
                    played.answers.append(StoredAnswer(distribution, -1, None, strict=False))
                del self._played[best]
        self._played = [played, *self._played][:PATHS]
        return played

    def forget(self, path: list[int]) -> None:
        """Removes a path's parts from the disk: their cells led to logits that are not finite."""
        with closing(self._folder.chain(path)) as links:
            for link in links:
                self._folder.distrust(link.name, UnusablePart("its cells lead to no numbers"))

    def warm_up(self, ends: Callable[[], bool]) -> None:
        """Reads the cells of the played path into memory, as after a start with a session: nothing was decoded yet.

        `ends`: whether a request has come meanwhile.
        """
        self.cold = False
        self._evaluator.cells.warm_up()  # the first decode takes longest
        if self._played:
            path = self._played[0].tokens
            self._evaluator.cells.fetch(path, len(path), ends=ends)

    # --- writing

    def write_next(self, *, late: bool) -> float | None:
        """Writes a part of a played path, if one is due. Returns the seconds until the next call; None: none is due.

        `late`: whether no request came for so long that a few tokens are worth writing, too.
        """
        if self._disabled:
            return None
        if self._writing and self._writing.is_alive():
            return PART_GAP
        some_wait = False
        for played in self._played:
            held = self._evaluator.cells.cached(played.tokens) if len(played.tokens) >= SHORTEST else None
            if held is None or held.length < SHORTEST:
                continue
            if played.final_end is None:
                self._run_in_thread(partial(self._look_up, played, self._part_size(held)))
                return PART_GAP
            if held.length <= max(played.kept, played.refused_length):
                continue
            if held.length - played.kept < MUCH_TOKENS and not late:
                some_wait = True
                continue
            self._write_part(played, held)
            return PART_GAP
        if job := self._strict.next_write(late=late) or self.pairs.next_write(late=late):
            self._run_in_thread(job)
            return PART_GAP
        if not self._tidied:
            self._tidied = True
            self._run_in_thread(partial(tidy, self._folder.root))
        return WRITE_ANY_AFTER - WRITE_MUCH_AFTER if some_wait else None

    def finish(self, seconds: float) -> None:
        """Writes all parts that are due before the process ends, for at most `seconds`."""
        end = time.monotonic() + seconds
        self._tidied = True  # tidying the folder can wait for the next start
        while (seconds_left := end - time.monotonic()) > 0:
            if self._writing:
                self._writing.join(seconds_left)
            if self.write_next(late=True) is None:
                return

    def _part_size(self, held: CachedPrefix) -> int:
        """The most tokens of a part; 0: one part has the whole path."""
        if not self._evaluator.cells.in_parts:
            return 0
        each = max(1, self._evaluator.cells.cell_bytes(held))
        return (
            max(SMALLEST_PART, min(LARGEST_PART, 1 << (CELL_BYTES_AT_ONCE // each).bit_length() - 1))
            if each <= CELL_BYTES_AT_ONCE
            else SMALLEST_PART
        )

    def _look_up(self, played: _PlayedPath, size: int) -> None:
        """Finds the parts of a path on the disk, up to the first that has less than memory has."""
        final_end, parts = 0, list[PartName]()
        with closing(self._folder.chain(played.tokens)) as links:
            for link in links:
                reader = link.reader
                if link.shared < len(reader.tokens) or _has_more(
                    played.known_answers(reader.start, reader.end), reader
                ):
                    break
                parts.append(link.name)
                if not size or 2 * len(reader.tokens) <= size:
                    break  # a longer part may replace it
                final_end = reader.end
        played.parts, played.final_end = parts, final_end

    def _write_part(self, played: _PlayedPath, held: CachedPrefix) -> None:
        """Copies the cells of the next part, and starts a thread that writes them."""
        if not self._folder.has([name for name in played.parts if name.end <= (played.final_end or 0)]):
            self._start_over(played, held)
            return
        start, size = played.final_end or 0, self._part_size(held)
        end = min(held.length, start + size) if size else held.length
        cells: memoryview | None = memoryview(b"")
        if self._evaluator.cells.bytes_of(held, end) <= self._budget // 2:
            cells = self._evaluator.cells.take(held, start, end)
        if cells is None:
            played.refused_length = held.length
            return
        tokens, earlier = played.tokens[start:end], played.tokens[:start]
        before = [name for name in played.parts if name.end <= start]
        played.parts = [
            *before,
            name_of(start, tokens, digest(earlier)),
        ]  # also where the write fails: it is not tried twice
        if 2 * (end - start) > size > 0:
            played.final_end = end
        answers = played.known_answers(start, end)
        if not (len(cells) or answers):
            return
        row = self._evaluator.cached_row(played.tokens) if end == len(played.tokens) else None
        raw = RawRow(row.logits.tobytes(), row.log_sum, row.strict) if row else None
        part = KvPart(start, tokens, min(max(held.strict - start, 0), end - start), answers, raw)
        if len(played.answers) > LONG_PATH and played.final_end == end:
            played.answers[start:end] = [None] * len(played.answers[start:end])
        self._run_in_thread(partial(self._folder.keep, part, earlier, cells, self._budget, before))

    def _start_over(self, played: _PlayedPath, held: CachedPrefix) -> None:
        """Writes a path from its start again, as one of its parts was removed: parts after a gap are never found.

        A part that was removed for lack of room would be removed again and again. So only the path played last is
        written again, and then not before it is twice as long.
        """
        if played is self._played[0] and held.length >= 2 * played.restarted_length:
            played.final_end, played.parts, played.restarted_length = None, [], held.length
        else:
            played.refused_length = held.length

    def _run_in_thread(self, job: Callable[[], None]) -> None:
        """Runs a job on a thread. If it fails, nothing is written any more."""

        def run() -> None:
            try:
                job()
            except OSError as error:
                self._disabled = True
                log_line(f"cache: {self._folder.place}: cannot be written: {error.strerror}")
            except Exception as error:
                self._disabled = True
                log_place(self, error)

        self._writing = threading.Thread(target=run, daemon=True)
        try:
            self._writing.start()
        except RuntimeError:  # the system gives no more threads
            self._writing, self._disabled = None, True


def _has_more(answers: list[StoredAnswer], reader: PartReader) -> bool:
    """Whether memory has more answers or candidates of a part than the disk."""
    if len(answers) > reader.answered or not reader.size:
        return True
    before = reader.answers()
    return bool(answers) and len(answers[0].distribution) > len(before[0].distribution)


def _grouped(found: list[tuple[Distribution, TokenLogprob | None, bool]], start: int) -> Iterator[KnownAnswers]:
    """Groups of consecutive answers that are all strict, or all not, for one reply each."""
    for strict, group in groupby(found, key=itemgetter(2)):
        alike = list(group)
        for at in range(0, len(alike), POSITIONS_TOGETHER):
            some = alike[at : at + POSITIONS_TOGETHER]
            taken = [taken for _, taken, _ in some if taken is not None]
            yield KnownAnswers(start + at, [distribution for distribution, _, _ in some], taken, strict)
        start += len(alike)
