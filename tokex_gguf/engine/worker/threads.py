"""How many threads decode: all of them, or fewer while other programs use the processor.

ggml's threads busy-wait for each other a few hundred times per token. If one of them shares its core with another busy
thread, each wait may last a time slice of the other, and a decode takes ten or a hundred times as long; with one thread
fewer it is hardly slower than necessary. The number of threads changes only the time, and no bit of the result, except
in one case: where a token is decoded alone and more than 256 cells are in use, flash attention splits these among the
threads. Strict answers use larger batches.

A busy-waiting thread uses its core. So missing processor time means that another program got it. It may also mean that
threads slept, so fewer threads are only a trial: one slower decode ends it, and the next trial comes later.

Only a decode with all threads shows whether the other programs are gone, and it may take a second if they are not. So
these decodes come ever more rarely, and not at all while even the fewer threads lack their cores. Where the system says
how much of the processors other programs use, a decode does not start with threads that have no core left.
"""

import math

WINDOW = 0.1
"""Seconds of decoding between two decisions."""
LOST = 0.5
"""Processors' worth of time taken by other programs from which fewer threads are faster."""
MISSING = 0.75
"""Processors recently used by other programs from which a decode does not start with all threads. More than LOST:
frames are drawn between decodes, and do not slow these down."""
PROBATION, FEWER_FOR = 0.5, 4.0
"""Seconds of decoding with fewer threads before all are tried again: at first, and after many such tries."""
BUSY = 2.0
"""Runnable programs per core from which the first decode does not use all threads, where the system does not say how
much they use."""
STARVED = 0.8
"""The most that a thread gets of its core where programs wait for cores."""

LONGEST_TRIAL = 32 * WINDOW
"""The longest WINDOW, after fewer threads were slower."""


class ThreadTuner:
    """Chooses the number of threads for each decode, by the processor time of earlier ones."""

    def __init__(self, threads: int, load: float = 0.0) -> None:
        """`load`: runnable programs per core before the first decode; 0: not known."""
        self._all = threads
        others = threads * load / (1 + load) if load >= BUSY else 0.0
        self.threads = self._without(others)
        """For the next decode."""
        self._window = WINDOW
        self._patience = self._next_patience = PROBATION
        """Seconds of decoding with fewer threads before all are tried: this time, and the next if they are slow."""
        self._wall = self._processor = 0.0
        """Seconds of decoding, and of processor time, since the last decision."""
        self._decodes: dict[bool, tuple[float, int]] = {}
        """Seconds and tokens of the last decodes with all threads; by whether they had one token."""
        self._missing = 0.0
        """How many of the needed processors other programs used recently."""
        self._gave_way = False
        """Whether `_missing` is the only reason for fewer threads."""

    def begin(self, left: float | None) -> int:
        """The number of threads for the next decode.

        `left`: processors that other programs did not use recently; None: unknown.
        """
        self._missing = 0.0 if left is None else self._all - left
        # If fewer were slower a short time ago, they are not tried again at once.
        if self.threads == self._all and self._missing >= MISSING and self._window == WINDOW:
            self._begin(self._without(self._missing))
            self._gave_way = True
            self._decodes.clear()  # times from before other programs came do not count
        elif self._gave_way and left is not None and self._missing < MISSING:
            self._begin(self._all)
        return self.threads

    def _without(self, processors: float) -> int:
        """The threads with a processor each, if `processors` are missing."""
        return max(1, self._all - math.ceil(processors))

    def took(self, seconds: float, processor: float, tokens: int = 1) -> None:
        """Records a decode with `threads`: its seconds, and the processor time of all threads."""
        self._wall += seconds
        self._processor += processor
        before, count = self._decodes.get(tokens == 1, (0.0, 0))
        if self.threads < self._all:
            slower = count > 0 and seconds / tokens > before / count
            if slower:
                self._window = min(2 * self._window, LONGEST_TRIAL)
                self._next_patience = PROBATION
                self._begin(self._all)
            elif self._wall >= self._patience:
                starved = self._processor < STARVED * self.threads * self._wall
                few = self._without(self._missing) if self._missing >= MISSING else self._all
                self._begin(self.threads if starved else few)
                self._gave_way = not starved and few < self._all
            return
        self._decodes[tokens == 1] = (before + seconds, count + tokens)
        if self._wall < self._window:
            return
        missing = self._all - self._processor / self._wall
        if missing < LOST:
            self._window = max(self._window / 2, WINDOW)
            self._next_patience = PROBATION
            self._begin(self._all)
        else:
            self._patience = self._next_patience
            self._next_patience = min(2 * self._patience, FEWER_FOR)
            self._begin(self._without(missing))

    def _begin(self, threads: int) -> None:
        self.threads, self._gave_way = threads, False
        self._wall = self._processor = 0.0
        if threads == self._all:
            self._decodes.clear()
