"""How many threads decode: all of them, or fewer while something else wants the processor.

ggml's threads wait for each other a few hundred times a token, awake. If one of them shares its
core with another busy thread, each wait may last as long as the system lets the other run,
and a decode takes ten or a hundred times as long; with a thread fewer it takes hardly longer
than it must. The number of threads changes the time, and no bit of the result but for one case: where a token is
decoded alone and more than 256 cells are in use, flash attention splits these among the threads. Strict answers are
computed in larger batches.

A thread that waits awake uses its core. So processor time that the threads did not get tells
that somebody else did. It may also tell of threads that slept, so whether fewer are faster is tried:
one slower decode ends it, and the next try has to wait longer.

Whether the others are gone is found out by a decode with all threads, which may take a second where they are not.
So that comes ever more rarely, and not at all while the few do not get their cores either. Where the system tells how
much of the processors other programs use, a decode is not begun with threads that these leave no room for.
"""

import math

WINDOW = 0.1
"""Seconds of decoding after which is judged."""
LOST = 0.5
"""Threads' worth of processor time that others took, from which fewer threads are faster."""
MISSING = 0.75
"""Threads' worth of processors that others used of late, from which a decode does not begin with all threads. It is
more than LOST: what draws each token's frame does so between decodes, and is in nobody's way."""
PROBATION, FEWER_FOR = 0.5, 4.0
"""Seconds of decoding with fewer threads before all are tried again: at first, and after many such tries."""
BUSY = 2.0
"""Programs that want a core, for each core, from which the first decode is not tried with all threads, where the system
does not tell how much they use."""
STARVED = 0.8
"""What a thread gets of its core at the most where others wait for cores."""

LONGEST_TRIAL = 32 * WINDOW
"""Seconds of decoding after which is judged, at the most, where fewer threads were slower."""


class Pace:
    """Chooses the number of threads for each decode from what the ones before got of the processor."""

    def __init__(self, threads: int, load: float = 0.0) -> None:
        """`load`: programs that want a core, for each core, as far as is known before the first decode."""
        self._all = threads
        others = threads * load / (1 + load) if load >= BUSY else 0.0
        self.threads = self._without(others)
        """For the next decode."""
        self._window = WINDOW
        self._patience = self._next_patience = PROBATION
        """Seconds of decoding with fewer threads before all are tried: this time, and if they are as slow the next."""
        self._wall = self._processor = 0.0
        """Seconds decoded since the number of threads was judged last."""
        self._decodes: dict[bool, tuple[float, int]] = {}
        """Seconds and tokens, when all threads decoded last: of decodes of one token, and of several."""
        self._missing = 0.0
        """Processors that other programs used of late, of those that the threads need."""
        self._gave_way = False
        """Whether there are fewer threads for no other reason than that."""

    def begin(self, left: float | None) -> int:
        """The number of threads of a decode that begins now.

        `left`: processors that other programs did not use of late; None: unknown.
        """
        self._missing = 0.0 if left is None else self._all - left
        # Where fewer were slower a short time ago, they are not tried again at once.
        if self.threads == self._all and self._missing >= MISSING and self._window == WINDOW:
            self._begin(self._without(self._missing))
            self._gave_way = True
            self._decodes.clear()  # what all took before others came says nothing of now
        elif self._gave_way and left is not None and self._missing < MISSING:
            self._begin(self._all)
        return self.threads

    def _without(self, processors: float) -> int:
        """The threads that have a processor each where so many are missing."""
        return max(1, self._all - math.ceil(processors))

    def took(self, seconds: float, processor: float, tokens: int = 1) -> None:
        """Learns that a decode with `threads` took so long, and so many seconds of processor time in all threads."""
        self._wall += seconds
        self._processor += processor
        before, many = self._decodes.get(tokens == 1, (0.0, 0))
        if self.threads < self._all:
            slower = many > 0 and seconds / tokens > before / many
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
        self._decodes[tokens == 1] = (before + seconds, many + tokens)
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
