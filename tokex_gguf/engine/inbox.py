"""Requests on their way into an engine's process: read by one thread, answered by another.

So a newer one can end what has become unnecessary: only the newest evaluation is worth anything, and what nobody
waits for comes last.

What is asked strictly, and how far apart strict answers are, takes long and is asked for aside. So what a key asks for
(Evaluate, Continue, Apply, Roll, Search), and Stop, ends what of it is under way and drops what of it waits, without
an answer: whoever asked for it asks again when nothing else is asked, and what was decoded by then is not decoded
again. One strict request never ends another: both sides of a comparison may be asked of one engine. But each ends the
measurement of the noise, which takes seconds and nobody waits for. All evaluations among them come before the
comparisons, which need them; and all of them before lookahead, which they end.

Lookahead from one path goes on: what is asked behind it is answered behind it. What a key, or lookahead from the next
path, asks for while it is being decoded is finished, and not begun again.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import BinaryIO, NoReturn, Protocol, get_args

from tokex_gguf.engine import confinement
from tokex_gguf.engine.path_delta import OutOfStep, Receiver
from tokex_gguf.engine.protocol import (
    Apply,
    Chat,
    Check,
    ConnectServer,
    Constrain,
    Continue,
    Evaluate,
    EvaluateStrictly,
    Failed,
    Force,
    Load,
    Lookahead,
    MeasureNoise,
    Ping,
    Pong,
    ProtocolError,
    Reply,
    Request,
    Roll,
    Search,
    Spell,
    Stop,
    Strict,
    Tokenize,
    Walk,
    encode,
    number_of,
)

PATIENCE = 2
"""Seconds that this process has for what it is doing, once nobody is there to be answered."""

_ASIDE: tuple[type[Request], ...] = (*get_args(Strict), MeasureNoise, Walk)
"""What takes long and gives way to whatever a key asks for."""
_TURNS: tuple[tuple[type[Request], ...], ...] = (
    (EvaluateStrictly,),
    (*get_args(Strict), MeasureNoise),
    (Lookahead, Check),
    (Walk,),
)
"""What comes after all else, the first of these first: nobody waits for lookahead, nor for a comparison with the
tokenizer's own tokens, and a walk takes longest."""


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
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()
        self._current: Request | None = None
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
            confinement.end_soon(PATIENCE)

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
        # Each of these is answered.
        if isinstance(request, Load | ConnectServer | Tokenize | Chat | Constrain | Force | Spell):
            self._waiting.append(request)
            return
        # Only the newest of what takes long is worth anything; what nobody waits for gives way to all else.
        replaced: tuple[type[Request], ...] = (Evaluate, Continue, Lookahead, *_ASIDE)
        if isinstance(request, Lookahead):
            replaced = (Lookahead, Continue, Walk)
        elif isinstance(request, Walk):
            replaced = (Walk,)
        elif isinstance(request, Strict):
            replaced = (Lookahead, Walk, MeasureNoise)
        elif isinstance(request, MeasureNoise):
            replaced = (Lookahead, Walk)
        elif isinstance(request, Search):
            replaced = (Lookahead, Search, *_ASIDE)
        elif isinstance(request, Evaluate | Continue):
            replaced = (*replaced, Apply)  # whoever asks for these asks for a view of them next
        elif isinstance(request, Apply | Roll):  # they come behind an evaluation of their path, and wait for it
            replaced = (Lookahead, Continue, type(request), *_ASIDE)
        elif isinstance(request, Check):
            replaced = (Check,)  # its answer alone is listened to
        self._waiting = deque(r for r in self._waiting if not _gives_way(r, request, replaced))
        if self._current and _gives_way(self._current, request, replaced):
            self.ending = True
            self.abort.asked = self.abort.asked or not self.finishes(request)
        if not isinstance(request, Stop):
            self._waiting.append(request)

    def idle(self, seconds: float) -> bool:
        """Waits so long for a request; returns whether none has come."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._waiting or self._closed, seconds)

    def next(self) -> Request | None:
        """Waits for the next request; None when the other side is gone."""
        with self._changed:
            self._current = None
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self.abort.asked = self.ending = False
            self._current = min(self._waiting, key=_turn)
            self._waiting.remove(self._current)
            return self._current

    def beside(self, *kinds: type[Request]) -> Request | None:
        """A request of these kinds, to be answered between two parts of what takes long; None where none waits."""
        with self._changed:
            found = next((r for r in self._waiting if isinstance(r, kinds)), None)
            if found is not None:
                self._waiting.remove(found)
            return found


def _gives_way(older: Request, newer: Request, replaced: tuple[type[Request], ...]) -> bool:
    """Whether a request is ended, or dropped, by a newer one, which ends these kinds."""
    if isinstance(older, Lookahead) and isinstance(newer, Lookahead) and older.path == newer.path:
        return False
    return isinstance(older, replaced)


def _turn(request: Request) -> int:
    """When a request comes: those with the same number in the order in which they were asked."""
    return next((turn for turn, kinds in enumerate(_TURNS, 1) if isinstance(request, kinds)), 0)
