"""What stays of a model's paths from one start to the next: answers, to be shown again, and cells, to go on from.

Answers are read before a prompt is decoded; the evaluator reads cells when it is about to decode what is behind them.
Both are written while nothing is asked, a part of a path at a time: the engine's loop takes its cells, which is a
matter of milliseconds, and a thread does the rest.
"""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from tokex_gguf.engine.kv_file import KeptAnswer, KvPart, PartReader, RawRow, UnusablePart, digest
from tokex_gguf.engine.kv_folder import KvFolder, Link, PartName, closing, name_of, tidy
from tokex_gguf.engine.pipes import log_line, log_place
from tokex_gguf.engine.worker.cells import CachedPrefix
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import Interrupted
from tokex_gguf.engine.worker.logits_cache import LogitsRow
from tokex_gguf.values.distribution import Distribution, Taken
from tokex_gguf.values.sequence import common_prefix

SHORTEST = 64
"""Tokens of a path below which nothing is kept of it, nor looked for: decoding them is as quick."""
SOON, LATE = 2.0, 8.0
"""Seconds without a request after which a path is kept that is MUCH_MORE tokens longer, and any longer one."""
MUCH_MORE = 32
BETWEEN = 0.03
"""Seconds between two parts, at the least."""
CELL_BYTES_AT_ONCE = 8 << 20
"""Bytes of cells that are taken at once, about: 3 ms, for which a key may have to wait."""
SMALLEST_PART, LARGEST_PART = 64, 1024
"""Tokens of a part."""
PATHS = 4
"""Paths that are looked after at the same time: the prompts that were played last."""
LONG_PATH = 1 << 14
"""Tokens of a path from which on its answers stay in memory only until they are on the disk."""
TOLD_POSITIONS = 256
"""Positions that are told together."""


class KnownAnswers(NamedTuple):
    """Answers at consecutive positions that need no decode."""

    start: int
    distributions: list[Distribution]
    taken: list[Taken]
    strict: bool

    @property
    def end(self) -> int:
        """The position behind the last."""
        return self.start + len(self.distributions)


class _PlayedPath:
    """A path that was played, and what is known of it."""

    def __init__(self, tokens: list[int], answers: list[KeptAnswer | None]) -> None:
        self.tokens = tokens
        self.answers = answers
        """At the first positions."""
        self.ahead: dict[tuple[int, ...], Distribution] = {}
        """What was looked ahead to: the answers after the path and each of these branches."""
        self.whole: int | None = None
        """The position up to which its parts on the disk will stay as they are; None: that was not looked up."""
        self.parts: list[PartName] = []
        """Those up to there, and one behind that a longer one may take the place of."""
        self.refused = 0
        """The length at which its cells could not be had: nothing is tried before it is longer."""
        self.begun = 0
        """The length at which it was begun with anew, as parts of it had gone."""

    @property
    def kept(self) -> int:
        """The position up to which there are parts."""
        return self.parts[-1].end if self.parts else 0

    def told(self, start: int, end: int) -> list[KeptAnswer]:
        """The answers from a position on, as far as there is no gap."""
        found: list[KeptAnswer] = []
        for answer in self.answers[start:end]:
            if answer is None:
                break
            found.append(answer)
        return found


class PromptCache:
    """The cache of one model. All its methods are for the engine's loop."""

    def __init__(self, evaluator: Evaluator, folder: KvFolder, budget: int, vocabulary: int) -> None:
        """`budget`: bytes of what is kept of all models; `vocabulary`: the number of tokens."""
        self._evaluator = evaluator
        self._folder = folder
        self._budget = budget
        self._vocabulary = vocabulary
        self._lines: list[_PlayedPath] = []
        """The last one first."""
        self._writing: threading.Thread | None = None
        self._off = False
        """Whether something could not be written: nothing more is tried."""
        self._tidied = False
        self.cold = True
        """Whether a decode may be slow that goes on from what is played: its cells are not in memory, or nothing is."""

    # --- answers

    def known(self, path: list[int], start: int, top: int, last_top: int, asked: int | None) -> Iterator[KnownAnswers]:
        """The answers at the positions from `start` on that are on the disk, as `Evaluate` asks for them.

        They end at the first one that is not, with all that belongs to it. Where they are many, that at the path's
        end comes before them as well: the table is what one waits for. Raises Interrupted.
        """
        if len(path) - start < SHORTEST:
            return
        with closing(self._folder.chain(path)) as links:
            found = list(self._known(links, path, start, top, last_top, asked))
            # Where one lacks, the last is computed along with it: a path never shows two answers.
            if len(path) - start > TOLD_POSITIONS and found and found[-1].end == len(path):
                last = found[-1]
                taken = last.taken[-1:] if asked is not None else []
                yield KnownAnswers(len(path) - 1, last.distributions[-1:], taken, last.strict)
            yield from found
            self._folder.touch([link.name for link in links])
            self._know_row(links, path)

    def _known(
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
            found: list[tuple[Distribution, Taken | None, bool]] = []
            for place, answer in enumerate(answers[skipped:], link.reader.start + skipped):
                last = place == len(path) - 1
                few = min(max(top, last_top) if last else top, self._vocabulary)
                following = asked if last else path[place + 1]
                taken = None if following is None else answer.of(following)
                if len(answer.distribution) < few or (taken is None) is not (following is None):
                    break
                found.append((_first(answer.distribution, few), taken, answer.strict))
            yield from _together(found, link.reader.start + skipped)
            if len(found) < link.shared - skipped:
                return

    def _know_row(self, links: list[Link], path: list[int]) -> None:
        """Lets searches and views at a path's end go on from the logits that its answer was made of."""
        if not links or links[-1].reader.end != len(path) or links[-1].shared < len(links[-1].reader.tokens):
            return
        try:
            raw = links[-1].reader.row()
        except UnusablePart as error:
            self._folder.distrust(links[-1].name, error)
            return
        if raw and len(raw.logits) == 4 * self._vocabulary:
            self._evaluator.know_row(path, LogitsRow(np.frombuffer(raw.logits, np.float32), raw.log_sum, raw.strict))

    # --- what was played

    def plays(self, path: list[int]) -> bool:
        """Whether a path is the one that is being played."""
        return bool(self._lines) and self._lines[0].tokens == path

    def seen(self, path: list[int]) -> None:
        """A path is being played."""
        self.cold = self.cold or not self._lines or self._lines[0].tokens != path
        self._line(path)

    def heard(
        self, path: list[int], start: int, distributions: list[Distribution], taken: list[Taken], *, strict: bool
    ) -> None:
        """Something was told of a path, at positions from `start` on. The first answer stays."""
        answers = self._line(path).answers
        answers += [None] * (start + len(distributions) - len(answers))
        for index, distribution in enumerate(distributions):
            place = start + index
            before = answers[place]
            if before is None or len(before.distribution) < len(distribution):
                before = KeptAnswer(distribution, -1, None, strict)
            if index < len(taken) and place + 1 < len(path) and before.of(path[place + 1]) is None:
                before = before._replace(following=path[place + 1], taken=taken[index])
            answers[place] = before

    def looked_ahead(self, path: list[int], branches: list[list[int]], distributions: list[Distribution]) -> None:
        """What was looked ahead to from a path; whoever goes there asks for nothing."""
        self._line(path).ahead |= dict(zip(map(tuple, branches), distributions, strict=False))

    def _line(self, path: list[int]) -> _PlayedPath:
        """What is known of a path. It goes on from the one with which it has most in common."""
        if self._lines and self._lines[0].tokens == path:
            return self._lines[0]
        shared = [common_prefix(line.tokens, path) for line in self._lines]
        best = max(range(len(shared)), key=shared.__getitem__, default=None)
        line = _PlayedPath(path, [])
        if best is not None and shared[best]:
            before, count = self._lines[best], shared[best]
            line.answers = before.answers[:count]
            line.begun = min(before.begun, count)
            if before.whole is not None and before.whole <= count:
                line.whole, line.parts = before.whole, [part for part in before.parts if part.end <= count]
            if count == len(before.tokens):
                for end in range(count, len(path)):
                    known = before.ahead.get(tuple(path[count : end + 1]))
                    if known is None or len(line.answers) != end:
                        break
                    line.answers.append(KeptAnswer(known, -1, None, strict=False))
                del self._lines[best]
        self._lines = [line, *self._lines][:PATHS]
        return line

    def forget(self, path: list[int]) -> None:
        """Removes what is on the disk of a path: numbers that came of it are none."""
        with closing(self._folder.chain(path)) as links:
            for link in links:
                self._folder.distrust(link.name, UnusablePart("its cells lead to no numbers"))

    def warm_up(self, ends: Callable[[], bool]) -> None:
        """Makes what is played ready to be gone on from, as after a start with a session: nothing was decoded yet.

        `ends`: whether something is asked for meanwhile.
        """
        self.cold = False
        self._evaluator.cells.warm_up()  # what is decoded first takes longest
        if self._lines:
            path = self._lines[0].tokens
            self._evaluator.cells.fetch(path, len(path), ends=ends)

    # --- writing

    def keep(self, *, late: bool) -> float | None:
        """Writes a part of what was played, if one is due. To be called again after so many seconds; None: no more.

        `late`: whether nothing was asked for so long that little is worth writing, too.
        """
        if self._off:
            return None
        if self._writing and self._writing.is_alive():
            return BETWEEN
        waits = False
        for line in self._lines:
            held = self._evaluator.cells.cached(line.tokens) if len(line.tokens) >= SHORTEST else None
            if held is None or held.length < SHORTEST:
                continue
            if line.whole is None:
                self._do(partial(self._look_up, line, self._size(held)))
                return BETWEEN
            if held.length <= max(line.kept, line.refused):
                continue
            if held.length - line.kept < MUCH_MORE and not late:
                waits = True
                continue
            self._take(line, held)
            return BETWEEN
        if not self._tidied:
            self._tidied = True
            self._do(partial(tidy, self._folder.root))
        return LATE - SOON if waits else None

    def finish(self, seconds: float) -> None:
        """Writes what is due before the process ends, for so many seconds at the most."""
        end = time.monotonic() + seconds
        self._tidied = True  # what others left can wait
        while (left := end - time.monotonic()) > 0:
            if self._writing:
                self._writing.join(left)
            if self.keep(late=True) is None:
                return

    def _size(self, held: CachedPrefix) -> int:
        """How many tokens a part has at the most; 0: it has all of a path."""
        if not self._evaluator.cells.in_parts:
            return 0
        each = max(1, self._evaluator.cells.cell_bytes(held))
        return (
            max(SMALLEST_PART, min(LARGEST_PART, 1 << (CELL_BYTES_AT_ONCE // each).bit_length() - 1))
            if each <= CELL_BYTES_AT_ONCE
            else SMALLEST_PART
        )

    def _look_up(self, line: _PlayedPath, size: int) -> None:
        """Finds out how much of a path is on the disk, with all that is known of it now."""
        whole, parts = 0, list[PartName]()
        with closing(self._folder.chain(line.tokens)) as links:
            for link in links:
                reader = link.reader
                if link.shared < len(reader.tokens) or _better(line.told(reader.start, reader.end), reader):
                    break
                parts.append(link.name)
                if not size or 2 * len(reader.tokens) <= size:
                    break  # there may be a longer one in its place
                whole = reader.end
        line.parts, line.whole = parts, whole

    def _take(self, line: _PlayedPath, held: CachedPrefix) -> None:
        """Takes the cells of a part, and lets them be written."""
        if not self._folder.has([name for name in line.parts if name.end <= (line.whole or 0)]):
            self._begin_anew(line, held)
            return
        start, size = line.whole or 0, self._size(held)
        end = min(held.length, start + size) if size else held.length
        cells: memoryview | None = memoryview(b"")
        if self._evaluator.cells.bytes_of(held, end) <= self._budget // 2:
            cells = self._evaluator.cells.take(held, start, end)
        if cells is None:
            line.refused = held.length
            return
        some, earlier = line.tokens[start:end], line.tokens[:start]
        before = [name for name in line.parts if name.end <= start]
        line.parts = [*before, name_of(start, some, digest(earlier))]  # whatever comes of it: it is not tried twice
        if 2 * (end - start) > size > 0:
            line.whole = end
        answers = line.told(start, end)
        if not (len(cells) or answers):
            return
        row = self._evaluator.known_row(line.tokens) if end == len(line.tokens) else None
        raw = RawRow(row.logits.tobytes(), row.log_sum, row.strict) if row else None
        part = KvPart(start, some, min(max(held.strict - start, 0), end - start), answers, raw)
        if len(line.answers) > LONG_PATH and line.whole == end:
            line.answers[start:end] = [None] * len(line.answers[start:end])
        self._do(partial(self._folder.keep, part, earlier, cells, self._budget, before))

    def _begin_anew(self, line: _PlayedPath, held: CachedPrefix) -> None:
        """A part has gone: what is written behind a gap is never found.

        Where there is no room for all of the path, or it went for another one, it would go again and again. So only
        what is played is begun with anew, and not again before it is twice as long.
        """
        if line is self._lines[0] and held.length >= 2 * line.begun:
            line.whole, line.parts, line.begun = None, [], held.length
        else:
            line.refused = held.length

    def _do(self, job: Callable[[], None]) -> None:
        """Does something on a thread of its own. Where that fails, nothing is written any more."""

        def run() -> None:
            try:
                job()
            except OSError as error:
                self._off = True
                log_line(f"cache: {self._folder.place}: cannot be written: {error.strerror}")
            except Exception as error:
                self._off = True
                log_place(self, error)

        self._writing = threading.Thread(target=run, daemon=True)
        try:
            self._writing.start()
        except RuntimeError:  # the system gives no more threads
            self._writing, self._off = None, True


def _better(answers: list[KeptAnswer], reader: PartReader) -> bool:
    """Whether more is known of a part than is on the disk."""
    if len(answers) > reader.answered or not reader.size:
        return True
    before = reader.answers()
    return bool(answers) and len(answers[0].distribution) > len(before[0].distribution)


def _first(distribution: Distribution, count: int) -> Distribution:
    """A distribution with so many of its candidates."""
    if len(distribution) == count:
        return distribution
    return Distribution(distribution.entropy_bits, distribution.ids[:count], distribution.logprobs[:count])


def _together(found: list[tuple[Distribution, Taken | None, bool]], start: int) -> Iterator[KnownAnswers]:
    """Consecutive answers of one kind, in parts."""
    for strict, group in groupby(found, key=itemgetter(2)):
        same = list(group)
        for at in range(0, len(same), TOLD_POSITIONS):
            some = same[at : at + TOLD_POSITIONS]
            taken = [taken for _, taken, _ in some if taken is not None]
            yield KnownAnswers(start + at, [distribution for distribution, _, _ in some], taken, strict)
        start += len(same)
