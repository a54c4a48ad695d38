"""Signals: what ends the program from outside, stops it for a while, and lets it go on.

Until someone listens, a signal that ends the program is an exception, as ctrl+c is for Python.
From then on nothing is cut off in the middle, least of all the terminal's restoration: the
listener is told, and acts when it can.
"""

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

_HARMLESS = ("CHLD", "CONT", "TSTP", "TTIN", "TTOU", "URG", "WINCH", "INFO", "KILL", "STOP")
"""Signals that by default end nothing, or cannot be caught."""
_FAULTS = ("SEGV", "BUS", "FPE", "ILL")
"""Signals that the processor causes, too. A handler that returns to such a fault would meet it again for ever."""


def _numbers(names: tuple[str, ...]) -> set[int]:
    return {int(getattr(signal, f"SIG{name}")) for name in names if hasattr(signal, f"SIG{name}")}


def _ending() -> tuple[int, ...]:
    if sys.platform == "win32":
        return tuple(sorted(_numbers(("INT", "TERM", "BREAK"))))
    others = ("IO",) if sys.platform == "darwin" else ()  # ignored there
    return tuple(sorted(set(map(int, signal.valid_signals())) - _numbers(_HARMLESS + _FAULTS + others)))


ENDING = _ending()
"""Every signal that by default ends a program and can be caught, with the real-time ones, but for faults."""
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


def catch_faults() -> None:
    """From now on, a fault's signal that comes from outside (`kill -SEGV`) lets the program tidy up.

    A real fault ends it as before: the handler is for one time only, and when it returns, the fault happens again.
    Does nothing where the system's library has no such handlers. Takes some milliseconds.
    """
    if sys.platform == "win32":
        return
    import ctypes  # not on the way to the first frame

    install = getattr(ctypes.CDLL(None), "sysv_signal", None)  # glibc has it
    if install is None:
        return
    install.restype, install.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    for number in _numbers(_FAULTS):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _arrived)
            install(number, install(number, None))  # Python's own handler, now for one time


class Watchdog:
    """Ends the program where it does not end by itself soon after a signal, whatever its main thread does."""

    def __init__(self, patience: float, restore: Callable[[], None]) -> None:
        """`restore` is called in a thread of its own, `patience` seconds after `warn`; then the process is over."""
        self._patience, self._restore = patience, restore
        self._told: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # may be used within a signal's handler
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def warn(self, number: int) -> None:
        """A signal came that ends the program."""
        self._told.put(number)

    def dismiss(self) -> None:
        """The program is ending by itself."""
        self._told.put(None)

    def _watch(self) -> None:
        number = self._told.get()
        end = time.monotonic() + self._patience
        following: int | None = number
        while following is not None and (left := end - time.monotonic()) > 0:
            try:
                following = self._told.get(timeout=left)
            except queue.Empty:
                break
        if following is None or number is None:
            return
        try:
            self._restore()
        finally:
            os._exit(128 + number)


def hold() -> None:
    """From now on they change nothing: the program is ending already."""
    global _listener
    _listener = lambda _: None  # noqa: E731


def why_not_stop() -> str:
    """Why the program cannot be stopped for a while; empty where it can."""
    if sys.platform == "win32" or STOP is None:
        return "this system cannot suspend a program"
    try:
        parent = os.getppid()  # 0 where it is outside of this container; getsid(0) would be our own session
        shell = parent > 0 and os.getsid(parent) == os.getsid(0)
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
        try:
            signal.signal(number, _arrived)
        except (OSError, ValueError):
            pass  # the system keeps it for itself


def _arrived(number: int, _frame: FrameType | None) -> None:
    if _listener is None:
        raise Ended(number)
    _listener(number)
