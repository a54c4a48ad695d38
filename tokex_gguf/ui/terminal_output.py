"""The terminal's output, of which nothing is lost.

prompt_toolkit writes through Python's buffered stream. There, a signal in the middle of a large write loses the rest of
it: where a window is resized while a frame is written, the screen stays wrong.
"""

import os
import sys

from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.utils import get_bell_environment_variable, get_term_environment_variable


class WholeOutput(Vt100_Output):
    """Writes all of a frame, whatever signals come meanwhile."""

    def flush(self) -> None:
        """Writes what was collected. Raises OSError where the terminal is gone."""
        if not self._buffer:
            return
        text, self._buffer = "".join(self._buffer), []
        self.stdout.flush()
        write_whole(self.stdout.fileno(), text.encode(self.stdout.encoding or "utf-8", "replace"))


def write_whole(descriptor: int, data: bytes) -> None:
    """Writes all bytes, also to a terminal that another program has set to non-blocking. Raises OSError."""
    blocks = os.get_blocking(descriptor)
    if not blocks:
        os.set_blocking(descriptor, True)
    try:
        unwritten = memoryview(data)
        while unwritten:
            unwritten = unwritten[os.write(descriptor, unwritten) :]
    finally:
        if not blocks:
            os.set_blocking(descriptor, False)


def terminal_output() -> Output | None:
    """Standard output, where it is a terminal. None leaves the choice to prompt_toolkit, as on Windows."""
    if sys.platform == "win32" or not sys.stdout.isatty():
        return None
    return WholeOutput.from_pty(
        sys.stdout,
        term=get_term_environment_variable(),
        default_color_depth=ColorDepth.from_env(),
        enable_bell=get_bell_environment_variable(),
    )
