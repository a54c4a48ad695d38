"""The user interface's side of the engine: starts it, sends requests, delivers replies, notices its end.

Nothing here blocks the caller: one thread writes requests, one reads replies, and
`deliver` is called from the reading one.
"""

import errno
import logging
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from tokex_gguf.engine.backend import Connect, Delivery
from tokex_gguf.engine.path_delta import Sender
from tokex_gguf.engine.process import REMOTE, EngineProcess, TimeoutExpired, start
from tokex_gguf.engine.protocol import (
    Check,
    EngineDied,
    EngineFailed,
    Evaluate,
    Load,
    Loaded,
    Lookahead,
    Pong,
    ProtocolError,
    Reply,
    Request,
    Walk,
    WireMessage,
    decode,
    failure,
)

log = logging.getLogger(__name__)

MOST_REPLY_BYTES = 2**24
"""The most bytes of a reply. Nothing else is done while one is read. Its size is bounded by the engine's context: a
path of a million tokens takes half of this."""

MOST_ITEMS = 2**22
"""The most commas in a reply. Parsing JSON holds the interpreter, so that no key and no signal is handled meanwhile: a
line of 40 MB of numbers stopped the screen for 12 s."""


WRITE_SECONDS, WRITE_BEGINS_SECONDS = 0.5, 0.15
"""For an engine at its end: to write played paths to the disk, and to report that it has begun."""
LEAVE_SECONDS = 2.0
"""For an engine on RPC workers at its end, until they finish computing. A worker that answers an engine which is gone
dies of SIGPIPE, unless it ignores that."""

BACKGROUND_DELAY = 0.02
"""Seconds that background requests are held back."""
MANY_BRANCHES = 8
"""Branches from which on a lookahead follows an answer, and not a key."""


def exit_reason(code: int) -> str:
    """A process's exit code in words: a signal's name where the system gives one.

    >>> exit_reason(3)
    'exit code 3'
    """
    if code < 0:
        import signal

        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _can_wait(request: Request | None, ahead_of: list[int]) -> bool:
    """Whether a request is held back. `ahead_of`: the path of the last lookahead."""
    if isinstance(request, Lookahead):
        return not request.waited and (len(request.branches) < MANY_BRANCHES or request.path != ahead_of)
    return isinstance(request, Check | Walk)


def local(started: EngineProcess | None = None) -> Connect:
    """Connects to engines on this machine: first to the process `started`, then to new ones."""
    ready = [started] if started else []

    def connect(deliver: Callable[[Delivery], None]) -> EngineClient:
        return EngineClient(deliver, ready.pop() if ready else None)

    return connect


def remote(deliver: Callable[[Delivery], None]) -> "EngineClient":
    """Connects to a new process on this machine that uses a server's model. Raises OSError."""
    return EngineClient(deliver, start(REMOTE))


class EngineClient:
    """One engine process. After EngineDied, make a new client."""

    def __init__(self, deliver: Callable[[Delivery], None], engine: EngineProcess | None = None) -> None:
        """Uses `engine`, or starts one. `deliver` gets each reply. Raises OSError."""
        self._deliver = deliver
        self._closing = False
        self._on_workers = self._has_cache = self._loaded = False
        self._finishing = threading.Event()
        """Set once the engine reports, at its end, that it writes; or once it is gone."""
        self._outbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._process = engine or start()
        assert self._process.stdin and self._process.stdout
        self._threads = [
            threading.Thread(target=target, args=(pipe,), daemon=True)
            for target, pipe in ((self._write, self._process.stdin), (self._read, self._process.stdout))
        ]
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:  # the system gives no more threads
            self._process.kill()
            self._process.wait()
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    def send(self, request: Request) -> None:
        """Queues a request; returns at once."""
        if isinstance(request, Load):
            self._on_workers = bool(request.rpc)
            self._has_cache = bool(request.cache and request.cache_bytes)
        self._outbox.put(request)

    def close(self) -> None:
        """Ends the engine, even in the middle of a request. No EngineDied follows.

        An engine on RPC workers gets `LEAVE_SECONDS`, and one that writes prompts to the disk `WRITE_SECONDS`. An
        engine that waits for a disk ends when that answers; no wait here is longer than `LEAVE_SECONDS`.

        The reading thread sees the engine's end at once, where `Popen.wait` with a limit looks ever more rarely.
        """
        self._closing = True
        self._outbox.put(None)
        writes = self._has_cache and self._loaded and self._finishing.wait(WRITE_BEGINS_SECONDS)
        if seconds := LEAVE_SECONDS if self._on_workers else WRITE_SECONDS if writes else 0.0:
            self._threads[-1].join(seconds)
        self._process.kill()
        for thread in self._threads:
            thread.join(LEAVE_SECONDS)
        with suppress(TimeoutExpired):
            self._process.wait(LEAVE_SECONDS)

    def _write(self, pipe: BinaryIO) -> None:
        """Writes queued requests, without evaluations that a newer one has replaced.

        Background requests are held back a moment: they must not take the processor from the
        frame that is being drawn. Those that follow an answer are not: the engine would idle.
        """
        try:
            pending: list[Request | None] = []
            sender, ahead_of = Sender(), list[int]()
            is_open = True
            while is_open:
                new = self._queued(BACKGROUND_DELAY if pending else None)
                pending += new
                if new and all(_can_wait(request, ahead_of) for request in new):
                    continue
                ahead_of = next((one.path for one in reversed(pending) if isinstance(one, Lookahead)), ahead_of)
                newest = max((i for i, r in enumerate(pending) if isinstance(r, Evaluate)), default=-1)
                for index, waiting in enumerate(pending):
                    if waiting and (not isinstance(waiting, Evaluate) or index == newest):
                        self._write_one(sender, waiting, pipe)
                pipe.flush()
                is_open, pending = None not in pending, []
        except OSError:
            pass  # the engine is gone; the reading thread says so
        finally:
            try:
                pipe.close()
            except OSError:
                pass

    def _write_one(self, sender: Sender, request: Request, pipe: BinaryIO) -> None:
        """Writes a request; refuses one that cannot be encoded. Raises OSError."""
        try:
            line = sender.encode(request)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            log.error("engine: a %s cannot be sent (%s)", type(request).__name__, type(error).__name__)
            self._deliver(failure(getattr(request, "request", None), "this request cannot be sent to the engine"))
        else:
            pipe.write(line)

    def _queued(self, timeout: float | None) -> list[Request | None]:
        """Takes out all queued requests; waits for the first up to `timeout` seconds, or without a limit."""
        try:
            queued = [self._outbox.get(timeout=timeout)]
        except queue.Empty:
            return []
        while not self._outbox.empty():
            queued.append(self._outbox.get())
        return queued

    def _read(self, pipe: BinaryIO) -> None:
        reason = ""
        failed = False
        try:
            with pipe:
                while line := pipe.readline(MOST_REPLY_BYTES):
                    if line.count(b",") > MOST_ITEMS:
                        raise ProtocolError(f"{len(line)} bytes are more than any reply has")
                    message: WireMessage = decode(line)
                    if not isinstance(message, Reply):
                        raise ProtocolError(f"{type(message).__name__} is no reply")
                    self._loaded = self._loaded or isinstance(message, Loaded)
                    if self._closing and isinstance(message, Pong):
                        self._finishing.set()
                    failed = failed or isinstance(message, EngineFailed)
                    self._deliver(message)
        except (OSError, ProtocolError) as error:
            reason = "unreadable reply"
            log.error("engine: %s: %s", reason, error)
            self._process.kill()
        except Exception as error:  # its message may quote the reply
            reason = "unreadable reply"
            log.error("engine: %s: %s", reason, type(error).__name__)
            self._process.kill()
        self._finishing.set()
        code = self._process.wait()
        if not self._closing and not failed:
            reason = reason or exit_reason(code)
            log.error("engine process %d ended: %s", self._process.pid, reason)
            self._deliver(EngineDied(reason))
