"""Signals that end, stop and continue the program.

Without a listener, a signal that ends the program raises an exception, as ctrl+c does in Python.
With one, nothing is interrupted, least of all the terminal's restoration: the listener is called,
and acts when it can.
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
"""Signals that do not end a program by default, or cannot be caught."""
_FAULTS = ("SEGV", "BUS", "FPE", "ILL")
"""Signals that the processor also causes. After a handler returns, such a fault happens again, endlessly."""


def _numbers(names: tuple[str, ...]) -> set[int]:
    return {int(getattr(signal, f"SIG{name}")) for name in names if hasattr(signal, f"SIG{name}")}


def _ending() -> tuple[int, ...]:
    if sys.platform == "win32":
        return tuple(sorted(_numbers(("INT", "TERM", "BREAK"))))
    others = ("IO",) if sys.platform == "darwin" else ()  # ignored on macOS
    return tuple(sorted(set(map(int, signal.valid_signals())) - _numbers(_HARMLESS + _FAULTS + others)))


ENDING = _ending()
"""All signals that end a program by default and can be caught, real-time ones included, without faults."""
STOP: int | None = getattr(signal, "SIGTSTP", None)
CONTINUE: int | None = getattr(signal, "SIGCONT", None)

_listener: Callable[[int], None] | None = None


class Ended(KeyboardInterrupt):
    """A signal that ends the program."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def catch() -> None:
    """Lets signals that end the program raise `Ended`. Ignored signals (nohup) stay ignored."""
    for number in ENDING:
        _handle(number)


def listen(listener: Callable[[int], None]) -> None:
    """Calls `listener` for signals from now on, in the main thread, between any two instructions."""
    global _listener
    _listener = listener
    for number in (*ENDING, STOP, CONTINUE):
        if number is not None:
            _handle(number)
    if sys.platform != "win32" and CONTINUE is not None:
        signal.siginterrupt(CONTINUE, False)  # does not interrupt a wait for the foreground


def catch_faults() -> None:
    """Handles fault signals that come from outside (`kill -SEGV`) as signals that end the program.

    A real fault still ends the program: the handler runs once, and when it returns, the fault happens again.
    Does nothing if the C library has no such handlers. Takes some milliseconds.
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
            install(number, install(number, None))  # Python's own handler, now for one call only


class Watchdog:
    """Kills the program if it does not end soon after a signal, whatever its main thread does."""

    def __init__(self, patience: float, restore: Callable[[], None]) -> None:
        """`restore` is called in a thread of its own, `patience` seconds after `warn`; then the process exits."""
        self._patience, self._restore = patience, restore
        self._signals: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # may be used within a signal's handler
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def warn(self, number: int) -> None:
        """A signal that ends the program has come."""
        self._signals.put(number)

    def dismiss(self) -> None:
        """The program is ending by itself."""
        self._signals.put(None)

    def _watch(self) -> None:
        number = self._signals.get()
        end = time.monotonic() + self._patience
        following: int | None = number
        while following is not None and (remaining := end - time.monotonic()) > 0:
            try:
                following = self._signals.get(timeout=remaining)
            except queue.Empty:
                break
        if following is None or number is None:
            return
        try:
            self._restore()
        finally:
            os._exit(128 + number)


def hold() -> None:
    """Ignores further signals, as the program is ending already."""
    global _listener
    _listener = lambda _: None  # noqa: E731


def why_not_stop() -> str:
    """Why the program cannot be suspended; empty if it can."""
    if sys.platform == "win32" or STOP is None:
        return "this system cannot suspend a program"
    try:
        parent = os.getppid()  # 0 if the parent is outside of this container; getsid(0) would be our own session
        shell = parent > 0 and os.getsid(parent) == os.getsid(0)
    except OSError:
        shell = False
    if not shell or signal.getsignal(STOP) is signal.SIG_IGN:
        return "there is no shell here to come back from: nothing is suspended"
    return ""


def stop(*, job: bool) -> None:
    """Stops this process, or its whole job; returns when it continues."""
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
            pass  # reserved by the system


def _arrived(number: int, _frame: FrameType | None) -> None:
    if _listener is None:
        raise Ended(number)
    _listener(number)
