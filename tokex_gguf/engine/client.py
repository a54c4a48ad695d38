"""The user interface's side of the engine: start it, talk to it, notice its end.

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
    Evaluate,
    Failed,
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
)

log = logging.getLogger(__name__)

MOST_REPLY_BYTES = 2**24
"""Bytes of a reply, at the most. While one is read nothing else is done, and what the engine says is bounded by
its context: a path of a million tokens has half of it."""

MOST_ITEMS = 2**22
"""Commas in a reply, at the most. Reading JSON holds the interpreter, so that no key is answered and no signal heeded
meanwhile: a line of 40 MB that was nothing but numbers stopped the screen for 12 s."""


KEEPING, BEGINNING = 0.5, 0.15
"""Seconds that an engine has at its end to write what was played to the disk, and to say that it is at it."""
LEAVE = 2.0
"""Seconds that an engine on RPC workers has at its end, to finish what they compute. A worker that answers an engine
which is gone is ended by that, unless it ignores SIGPIPE."""

HELD_BACK = 0.02
"""Seconds that what nobody waits for is held back."""
MANY = 8
"""Branches of a lookahead that follows an answer, and no key."""


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
    """Whether a request is held back. `ahead_of`: the path that was looked ahead from last."""
    if isinstance(request, Lookahead):
        return not request.waited and (len(request.branches) < MANY or request.path != ahead_of)
    return isinstance(request, Check | Walk)


def local(started: EngineProcess | None = None) -> Connect:
    """Connects to engines on this machine: first to the process that was `started` already, then to new ones."""
    waiting = [started] if started else []

    def connect(deliver: Callable[[Delivery], None]) -> EngineClient:
        return EngineClient(deliver, waiting.pop() if waiting else None)

    return connect


def remote(deliver: Callable[[Delivery], None]) -> "EngineClient":
    """Connects to a process of this machine that plays a server's model. Raises OSError."""
    return EngineClient(deliver, start(REMOTE))


class EngineClient:
    """One engine process. After EngineDied, make another."""

    def __init__(self, deliver: Callable[[Delivery], None], engine: EngineProcess | None = None) -> None:
        """Talks to `engine`, or starts one. `deliver` gets each reply. Raises OSError."""
        self._deliver = deliver
        self._closing = False
        self._takes_leave = self._keeps = self._loaded = False
        self._finishing = threading.Event()
        """Set once the engine says, at its end, that it is at it; or says nothing more."""
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
            self._takes_leave = bool(request.rpc)
            self._keeps = bool(request.cache and request.cache_bytes)
        self._outbox.put(request)

    def close(self) -> None:
        """Ends the engine, whatever it is doing. No EngineDied follows.

        One on RPC workers has `LEAVE` for it, and one that keeps prompts on the disk has `KEEPING`. One that waits for
        a disk that does not answer ends when that does; nothing waits for it longer than `LEAVE`.
        """
        self._closing = True
        self._outbox.put(None)
        keeps = self._keeps and self._loaded and self._finishing.wait(BEGINNING)
        if patience := LEAVE if self._takes_leave else KEEPING if keeps else 0.0:
            with suppress(TimeoutExpired):
                self._process.wait(patience)
        self._process.kill()
        with suppress(TimeoutExpired):
            self._process.wait(LEAVE)
        for thread in self._threads:
            thread.join(LEAVE)

    def _write(self, pipe: BinaryIO) -> None:
        """Writes what is queued, leaving out evaluations that a newer one has replaced.

        What nobody waits for is held back a moment: it must not take the processor from the
        frame that is drawn just now. What follows an answer is not: the engine would rest.
        """
        try:
            held: list[Request | None] = []
            sender, ahead_of = Sender(), list[int]()
            is_open = True
            while is_open:
                came = self._queued(HELD_BACK if held else None)
                held += came
                if came and all(_can_wait(request, ahead_of) for request in came):
                    continue
                ahead_of = next((one.path for one in reversed(held) if isinstance(one, Lookahead)), ahead_of)
                newest = max((i for i, r in enumerate(held) if isinstance(r, Evaluate)), default=-1)
                for index, waiting in enumerate(held):
                    if waiting and (not isinstance(waiting, Evaluate) or index == newest):
                        self._write_one(sender, waiting, pipe)
                pipe.flush()
                is_open, held = None not in held, []
        except OSError:
            pass  # the engine is gone; the reading thread says so
        finally:
            try:
                pipe.close()
            except OSError:
                pass

    def _write_one(self, sender: Sender, request: Request, pipe: BinaryIO) -> None:
        """Writes a request; one that has no form as a line is refused here. Raises OSError."""
        try:
            line = sender.encode(request)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            log.error("engine: a %s cannot be sent (%s)", type(request).__name__, type(error).__name__)
            self._deliver(Failed(getattr(request, "request", None), "this request cannot be sent to the engine"))
        else:
            pipe.write(line)

    def _queued(self, patience: float | None) -> list[Request | None]:
        """All that is queued; waits for it, if need be, so many seconds or for ever."""
        try:
            queued = [self._outbox.get(timeout=patience)]
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
                    failed = failed or (isinstance(message, Failed) and message.request is None)
                    self._deliver(message)
        except (OSError, ProtocolError) as error:
            reason = "unreadable reply"
            log.error("engine: %s: %s", reason, error)
            self._process.kill()
        except Exception as error:  # its own words may hold what the engine said
            reason = "unreadable reply"
            log.error("engine: %s: %s", reason, type(error).__name__)
            self._process.kill()
        self._finishing.set()
        code = self._process.wait()
        if not self._closing and not failed:
            reason = reason or exit_reason(code)
            log.error("engine process %d ended: %s", self._process.pid, reason)
            self._deliver(EngineDied(reason))
