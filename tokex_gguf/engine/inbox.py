"""Requests on their way into an engine's process: read by one thread, answered by another.

So a newer one can end what has become unnecessary, as `engine/queue.py` has it. What a key, or lookahead from the next
path, asks for while it is being decoded is finished, and not begun again.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO, NoReturn, Protocol

from tokex_gguf.engine import confinement
from tokex_gguf.engine.path_delta import OutOfStep, Receiver
from tokex_gguf.engine.protocol import Failed, Ping, Pong, ProtocolError, Reply, Request, encode, number_of
from tokex_gguf.engine.queue import Queue

LAST_REPLY_WAIT = 2
"""Seconds that this process has for what it is doing, once nobody is there to be answered."""


class Wish(Protocol):
    """The wish to end what is under way, in whatever form that looks for it."""

    asked: bool
    """Whether it is to end. Any thread may change it."""


class Inbox:
    """Requests as they come in, from a thread that only reads."""

    def __init__(self, source: BinaryIO, sink: BinaryIO, abort: Wish) -> None:
        """`sink` gets the answers that wait for nothing; its lock keeps two threads' lines apart.

        `abort` is asked for where something came in that ends what is under way.
        """
        self._source = source
        self._sink = sink
        self._queue = Queue()
        self._changed = threading.Condition()
        self._closed = False
        self.abort = abort
        self.ending = False
        """Whether what is under way is to end with what is being decoded."""
        self.finishes: Callable[[Request], bool] = lambda _: False
        """Whether what is being decoded is finished all the same, as it is what a request asks for."""

    def read(self) -> None:
        """Reads to the end of the source, or to a line that makes all later ones unreadable."""
        try:
            self._read()
        except OSError:
            pass  # nobody listens any more
        finally:
            with self._changed:
                self._closed = self.abort.asked = True
                self._changed.notify()

    def serve(self, answer: Callable[[], None]) -> NoReturn:
        """Answers while another thread reads. Ends this process once that is done, or nobody is there any more."""

        def read() -> None:
            self.read()
            confinement.end_soon(LAST_REPLY_WAIT)

        threading.Thread(target=read, daemon=True).start()
        try:
            answer()
        except BrokenPipeError:
            pass
        sys.stderr.flush()
        # The reading thread may hold standard input's lock, which would stop an orderly exit.
        os._exit(0)

    def _read(self) -> None:
        receiver = Receiver()
        for line in self._source:
            try:
                request = receiver.decode(line)
                if not isinstance(request, Request):
                    raise ProtocolError("a reply, where a request is due")
            except OutOfStep as error:
                self._answer(Failed(None, f"a request cannot be read: {error}"))
                return
            except ProtocolError as error:
                self._answer(Failed(number_of(line), f"a request cannot be read: {error}"))
                continue
            if isinstance(request, Ping):
                self._answer(Pong())
                continue
            with self._changed:
                self._take(request)
                self._changed.notify()

    def _answer(self, reply: Reply) -> None:
        """Says what waits for nothing. Raises OSError where nobody listens."""
        self._sink.write(encode(reply))
        self._sink.flush()

    def _take(self, request: Request) -> None:
        """Queues a request, and drops and interrupts those that it makes worthless."""
        if self._queue.put(request):
            self.ending = True
            self.abort.asked = self.abort.asked or not self.finishes(request)

    def idle(self, seconds: float) -> bool:
        """Waits so long for a request; returns whether none has come."""
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

    def beside(self, *kinds: type[Request]) -> Request | None:
        """A request of these kinds, to be answered between two parts of what takes long; None where none waits."""
        with self._changed:
            return self._queue.beside(kinds)
