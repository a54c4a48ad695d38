"""How many threads decode: all of them, or fewer while something else wants the processor.

ggml's threads wait for each other a few hundred times a token, awake. If one of them shares its
core with another busy thread, each wait may last as long as the system lets the other run,
and a decode takes ten or a hundred times as long; with a thread fewer it takes hardly longer
than it must. The number of threads changes the time and no bit of the result.

A thread that waits awake uses its core. So processor time that the threads did not get tells
that somebody else did.
"""

import math

WINDOW = 0.1
"""Seconds of decoding after which is judged."""
LOST = 0.5
"""Threads' worth of processor time that others took, from which fewer threads are faster."""
PROBATION = 0.5
"""Seconds of decoding with fewer threads before all are tried again."""


class Pace:
    """Chooses the number of threads for each decode from what the ones before got of the processor."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        """For the next decode."""
        self._all = threads
        self._wall = self._processor = 0.0
        """Seconds decoded since the number of threads was judged last."""

    def took(self, seconds: float, processor: float) -> None:
        """Learns that a decode with `threads` took so long, and so many seconds of processor time in all threads."""
        self._wall += seconds
        self._processor += processor
        if self._wall < (WINDOW if self.threads == self._all else PROBATION):
            return
        lost = self._all - self._processor / self._wall
        if self.threads < self._all or lost < LOST:
            self.threads = self._all
        else:
            self.threads = max(1, self._all - math.ceil(lost))
        self._wall = self._processor = 0.0
