"""The standard streams of an engine's process: only replies go to standard output, all else to the log."""

import os
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO

from tokex_gguf.engine.protocol import Reply, encode

AUTOPLAY_FLUSH = 0.15
"""Seconds between two replies of autoplay: several tokens wake the other process once."""


def replies() -> BinaryIO:
    """The stream for replies. Afterwards, all other output, also of native code, goes to the log."""
    sys.excepthook = lambda kind, _, trace: _log_uncaught(kind, trace)
    threading.excepthook = lambda fault: _log_uncaught(fault.exc_type, fault.exc_traceback)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Only the client handles a key that interrupts the terminal's whole process group.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return sink


def send(sink: BinaryIO, reply: Reply) -> None:
    """Sends a reply at once. Raises OSError where the other process is gone."""
    sink.write(encode(reply))
    sink.flush()


def log_to(path: str) -> None:
    """Appends the output of this process and its libraries to a file; native code also prints to descriptor 1."""
    if not path:
        return
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError:
        return  # without a log
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)


def log_place(what: object, error: BaseException) -> None:
    """Logs an error's type and place, without its message, which may have a prompt's text."""
    import traceback

    places = "".join(traceback.format_tb(error.__traceback__))
    print(f"{type(what).__name__}: {type(error).__name__}\n{places}", file=sys.stderr, flush=True)


def log_line(line: str) -> None:
    """Logs a line, without control characters."""
    from tokex_gguf.values.tokens import visible

    with suppress(OSError, ValueError):  # a failing log does not concern the player
        print(visible(line), file=sys.stderr, flush=True)


def _log_uncaught(kind: type[BaseException], trace: TracebackType | None) -> None:
    """Logs an uncaught error's type and place, without its message, which may have any text."""
    import traceback

    from tokex_gguf.values.tokens import visible

    lines = [kind.__name__, *"".join(traceback.format_tb(trace)).splitlines()]
    print("\n".join(map(visible, lines)), file=sys.stderr, flush=True)
