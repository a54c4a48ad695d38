"""A search for a path's critical tokens: how many places it examines, and how far."""

from enum import Enum

from tokex_gguf.values.critical import Critical, RolloutEnd, Trial
from tokex_gguf.values.record import record
from tokex_gguf.values.tree import Node

DEFAULT_PLACES, DEFAULT_TOKENS = 8, 128
"""Places to examine, and the most tokens to continue each of them by."""


FURTHEST = 4_096
"""The most tokens from one place."""


class CriticalState(Enum):
    """The state of the search, in the words of the screen."""

    RUNNING = "looking further"
    PAUSED = "paused: space goes on"
    LONG = "some did not end: space goes on"
    LONGEST = "some did not end"
    DONE = "these are all"
    FAULT = "stopped"


@record
class CriticalTokens:
    """What the second choices of a path lead to, and how far to search."""

    found: Critical
    places: int = DEFAULT_PLACES
    """How many of the most doubtful places to examine."""
    each: int = DEFAULT_TOKENS
    """The most tokens to continue each of them by."""
    paused: bool = False
    fault: str = ""
    """Why the engine refused a request."""
    due: bool = False
    """Whether a `SearchFurther` is on its way."""
    at: Node | None = None
    """The selected place; None: the first line."""

    @property
    def trials(self) -> list[Trial]:
        """The lines of the list; none before all places were examined, as others may be more doubtful."""
        return self.found.trials(self.places) if self.found.looked else []

    @property
    def selected(self) -> int:
        """The selected line."""
        if self.at is None:
            return 0
        return next((row for row, trial in enumerate(self.trials) if trial.place.node is self.at), 0)

    @property
    def state(self) -> CriticalState:
        """The state of the search."""
        if self.fault:
            return CriticalState.FAULT
        if self.found.looked and self.found.running(self.places) is None:
            runs = [self.found.standing, *(trial.run for trial in self.trials)]
            if not any(run.end is RolloutEnd.LONG for run in runs):
                return CriticalState.DONE
            return CriticalState.LONG if self.each < FURTHEST else CriticalState.LONGEST
        return CriticalState.PAUSED if self.paused else CriticalState.RUNNING
