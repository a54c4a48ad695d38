"""What an engine's process does with its standard streams: replies go out by one, and nothing else does."""

import os
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO


def replies() -> BinaryIO:
    """Where replies are written to. From now on, what anything else prints, native code too, goes to the log."""
    sys.excepthook = lambda kind, _, trace: _tell(kind, trace)
    threading.excepthook = lambda fault: _tell(fault.exc_type, fault.exc_traceback)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # A key press that interrupts the terminal's whole process group is the client's to handle.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return sink


def log_to(path: str) -> None:
    """Appends what this process and its libraries print to a file; native code prints to descriptor 1, too."""
    if not path:
        return
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError:
        return  # no log, then
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)


def log_place(what: object, error: BaseException) -> None:
    """Writes an error's kind and place to the log, and not its words: they may hold a prompt's text."""
    import traceback

    places = "".join(traceback.format_tb(error.__traceback__))
    print(f"{type(what).__name__}: {type(error).__name__}\n{places}", file=sys.stderr, flush=True)


def log_line(line: str) -> None:
    """Writes a line to the log, with nothing in it that a terminal would obey."""
    from tokex_gguf.values.tokens import visible

    with suppress(OSError, ValueError):  # a log that cannot be written is nothing for the player
        print(visible(line), file=sys.stderr, flush=True)


def _tell(kind: type[BaseException], trace: TracebackType | None) -> None:
    """Writes what nothing has caught to the log: its kind and place, for its words may hold anything."""
    import traceback

    from tokex_gguf.values.tokens import visible

    lines = [kind.__name__, *"".join(traceback.format_tb(trace)).splitlines()]
    print("\n".join(map(visible, lines)), file=sys.stderr, flush=True)
