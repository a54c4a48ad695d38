"""Signals: what ends the program from outside, stops it for a while, and lets it go on.

Until someone listens, a signal that ends the program is an exception, as ctrl+c is for Python.
From then on nothing is cut off in the middle, least of all the terminal's restoration: the
listener is told, and acts when it can.
"""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

ENDING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")  # the last one is Windows' own
    if hasattr(signal, name)
)
STOP: int | None = getattr(signal, "SIGTSTP", None)
CONTINUE: int | None = getattr(signal, "SIGCONT", None)

_listener: Callable[[int], None] | None = None


class Ended(KeyboardInterrupt):
    """A signal that ends the program."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def catch() -> None:
    """From now on signals that end the program let it tidy up. What is ignored (nohup) stays ignored."""
    for number in ENDING:
        _handle(number)


def listen(listener: Callable[[int], None]) -> None:
    """From now on `listener` is told of signals, in the main thread, between any two instructions."""
    global _listener
    _listener = listener
    for number in (*ENDING, STOP, CONTINUE):
        if number is not None:
            _handle(number)
    if sys.platform != "win32" and CONTINUE is not None:
        signal.siginterrupt(CONTINUE, False)  # who waits to be in the foreground again goes on waiting


def hold() -> None:
    """From now on they change nothing: the program is ending already."""
    global _listener
    _listener = lambda _: None  # noqa: E731


def why_not_stop() -> str:
    """Why the program cannot be stopped for a while; empty where it can."""
    if sys.platform == "win32" or STOP is None:
        return "this system cannot suspend a program"
    try:
        shell = os.getsid(os.getppid()) == os.getsid(0)
    except OSError:
        shell = False
    if not shell or signal.getsignal(STOP) is signal.SIG_IGN:
        return "there is no shell here to come back from: nothing is suspended"
    return ""


def stop(*, job: bool) -> None:
    """Stops this process, or the whole job it belongs to; returns when it goes on."""
    if STOP is None:
        return
    handler = signal.signal(STOP, signal.SIG_DFL)
    try:
        os.kill(0 if job else os.getpid(), STOP)
    finally:
        signal.signal(STOP, handler)


def _handle(number: int) -> None:
    if signal.getsignal(number) not in (signal.SIG_IGN, None):
        signal.signal(number, _arrived)


def _arrived(number: int, _frame: FrameType | None) -> None:
    if _listener is None:
        raise Ended(number)
    _listener(number)
