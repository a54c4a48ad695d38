"""The critical tokens of a path as they are played: how many places are looked at, and how far."""

from enum import Enum

from tokex_gguf.values.critical import Critical, RolloutEnd, Trial
from tokex_gguf.values.record import record
from tokex_gguf.values.tree import Node

PLACES, EACH = 8, 128
"""Places to look at, and tokens to go on from each of them at the most."""


FURTHEST = 4_096
"""Tokens from one place at the most."""


class CriticalState(Enum):
    """Whether it goes on, and why not, in words that stand on the screen."""

    RUNNING = "looking further"
    PAUSED = "paused: space goes on"
    LONG = "some did not end: space goes on"
    LONGEST = "some did not end"
    DONE = "these are all"
    FAULT = "stopped"


@record
class CriticalTokens:
    """What the second choices of a path lead to, and how that is looked at."""

    found: Critical
    places: int = PLACES
    """How many of the most doubtful places are looked at."""
    each: int = EACH
    """Tokens to go on from each of them at the most."""
    paused: bool = False
    fault: str = ""
    """Why the engine refused it."""
    due: bool = False
    """Whether a message is on its way by which more is looked at."""
    at: Node | None = None
    """The selected place; None: the first line."""

    @property
    def trials(self) -> list[Trial]:
        """The lines of the list; none before all places were looked at, as until then others may be more doubtful."""
        return self.found.trials(self.places) if self.found.looked else []

    @property
    def selected(self) -> int:
        """The selected line."""
        if self.at is None:
            return 0
        return next((row for row, trial in enumerate(self.trials) if trial.place.node is self.at), 0)

    @property
    def state(self) -> CriticalState:
        """Whether it goes on."""
        if self.fault:
            return CriticalState.FAULT
        if self.found.looked and self.found.running(self.places) is None:
            runs = [self.found.standing, *(trial.run for trial in self.trials)]
            if not any(run.end is RolloutEnd.LONG for run in runs):
                return CriticalState.DONE
            return CriticalState.LONG if self.each < FURTHEST else CriticalState.LONGEST
        return CriticalState.PAUSED if self.paused else CriticalState.RUNNING
