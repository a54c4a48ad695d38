"""The console of Windows: prompt_toolkit's own input. Nothing takes a console's modes away."""

from collections.abc import Callable

from prompt_toolkit.input import DummyInput, Input, create_input


class Keyboard(DummyInput):
    """What only other systems have."""

    ending: Callable[[], bool]
    coming: Callable[[], None]

    def ask_background(self, tell: Callable[[tuple[int, int, int]], None]) -> None:
        """Does nothing: there the theme is dark, unless the configuration says otherwise."""

    def again(self) -> None:
        """Does nothing: no job takes a console's modes away."""

    def guard(self) -> None:
        """Does nothing, for the same reason."""

    def restore_now(self) -> None:
        """Does nothing: the console itself ends with its last program."""


def keyboard() -> Input:
    """The console's keys."""
    return create_input(always_prefer_tty=True)
