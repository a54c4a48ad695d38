"""Requests that come into an engine's process: one thread reads them, another answers them.

So a newer request can end an older one that has become unnecessary; `engine/queue.py` has the rules. A decode finishes
if a key, or lookahead from the next path, asks for its result meanwhile.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, NoReturn, Protocol

from tokex_gguf.engine import confinement
from tokex_gguf.engine.path_delta import OutOfStep, Receiver
from tokex_gguf.engine.pipes import log_place, send
from tokex_gguf.engine.protocol import (
    EngineFailed,
    Ping,
    Pong,
    ProtocolError,
    Reply,
    Request,
    failure,
    number_of,
)
from tokex_gguf.engine.queue import Queue

LAST_REPLY_WAIT = 2
"""Seconds that this process may go on once nobody reads its replies."""


class Wish(Protocol):
    """A flag that asks the request under way to end."""

    asked: bool
    """Whether the request is to end. Any thread may set it."""


class Inbox:
    """Requests in the order of their turns; a thread that only reads fills it."""

    def __init__(self, source: BinaryIO, sink: BinaryIO, abort: Wish) -> None:
        """`sink` gets the replies that the reading thread sends; its lock keeps two threads' lines apart.

        `abort` is set when a request comes in that ends the one under way.
        """
        self._source = source
        self._sink = sink
        self._queue = Queue()
        self._changed = threading.Condition()
        self._closed = False
        self.abort = abort
        self.ending = False
        """Whether the request under way is to end after the decode that is running."""
        self.finishes: Callable[[Request], bool] = lambda _: False
        """Whether the running decode may finish all the same, as a request asks for its result."""

    def read(self) -> None:
        """Reads to the end of the source, or to a line that makes all later ones unreadable."""
        try:
            self._read()
        except OSError:
            pass  # the other process is gone
        finally:
            with self._changed:
                self._closed = self.abort.asked = True
                self._changed.notify()

    def serve(self, answer: Callable[[], None]) -> NoReturn:
        """Runs `answer` while another thread reads; then ends this process, whatever came of it.

        An exception is logged, and the other process is told.
        """

        def read() -> None:
            self.read()
            confinement.end_soon(LAST_REPLY_WAIT)

        threading.Thread(target=read, daemon=True).start()
        code = 1
        try:
            answer()
            code = 0
        except BrokenPipeError:
            code = 0
        except Exception as error:
            log_place(answer, error)
            with suppress(OSError):
                self._answer(EngineFailed(f"an internal error ({type(error).__name__}): the log file has the details"))
        finally:
            with suppress(OSError):
                sys.stderr.flush()
            # The reading thread may hold standard input's lock, which would stop an orderly exit.
            os._exit(code)

    def _read(self) -> None:
        receiver = Receiver()
        for line in self._source:
            try:
                request = receiver.decode(line)
                if not isinstance(request, Request):
                    raise ProtocolError("a reply, where a request is due")
            except OutOfStep as error:
                self._answer(EngineFailed(f"a request cannot be read: {error}"))
                return
            except ProtocolError as error:
                self._answer(failure(number_of(line), f"a request cannot be read: {error}"))
                continue
            if isinstance(request, Ping):
                self._answer(Pong())
                continue
            with self._changed:
                self._take(request)
                self._changed.notify()

    def _answer(self, reply: Reply) -> None:
        """Sends a reply at once. Raises OSError where the other process is gone."""
        send(self._sink, reply)

    def _take(self, request: Request) -> None:
        """Queues a request; drops or interrupts those that it makes worthless."""
        if self._queue.put(request):
            self.ending = True
            self.abort.asked = self.abort.asked or not self.finishes(request)

    def idle(self, seconds: float) -> bool:
        """Waits up to `seconds` for a request; returns whether none has come."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._queue.waiting or self._closed, seconds)

    def has_only(self, kind: type[Request]) -> bool:
        """Whether requests of a kind wait, and no others."""
        with self._changed:
            waiting = self._queue.waiting
            return bool(waiting) and all(isinstance(request, kind) for request in waiting)

    def next(self) -> Request | None:
        """Waits for the next request; None when the other side is gone."""
        with self._changed:
            self._queue.current = None
            self._changed.wait_for(lambda: self._queue.waiting or self._closed)
            if self._closed:
                return None
            self.abort.asked = self.ending = False
            return self._queue.next()

    def next_of(self, *kinds: type[Request]) -> Request | None:
        """The oldest request of these kinds, for an answer in the middle of a long one; None where none waits."""
        with self._changed:
            return self._queue.next_of(kinds)
