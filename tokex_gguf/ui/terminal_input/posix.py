"""A terminal's keys and modes on POSIX systems: reads bytes, lets `KeyParser` say what they mean."""

import asyncio
import codecs
import fcntl
import os
import select
import signal
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TextIO

from prompt_toolkit.input import Input, create_input
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.input.vt100 import raw_mode as raw
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import KEY_ALIASES, Keys

from tokex_gguf.ui.terminal_input.guard import Guard
from tokex_gguf.ui.terminal_input.key_codes import CONTROLS
from tokex_gguf.ui.terminal_input.parser import (
    ESCAPE_WAIT,
    Attributes,
    Background,
    Key,
    KeyParser,
    Mouse,
    OversizedPaste,
    Paste,
    TerminalEvent,
    TypedText,
)

READ = 1 << 16
"""Bytes that are asked for at once. A terminal gives 4096 at the most."""
READ_OF_A_PASTE = 1 << 18
"""Bytes of a paste that are taken in one turn of the event loop."""
KEYS_IN_A_TURN = 256
"""Keys that are handed on in one turn of the event loop: signals and frames come between the keys of a flood."""
REMOTE_ESCAPE_WAIT = 0.1
"""`ESCAPE_WAIT` where the terminal is at the other end of a network."""

LEAVE = b"".join(
    b"\x1b[" + mode
    for mode in (b"?1000l", b"?1003l", b"?1015l", b"?1006l", b"?2004l", b"0m", b"?7h", b"?1049l", b"?12l", b"?25h")
)
"""What undoes all that prompt_toolkit asks of a terminal: mouse, pastes, attributes, the screen, the cursor."""
PATIENCE_OF_OUTPUT = 0.1
"""Seconds that a terminal has to take what is written last."""

ASK_BACKGROUND = b"\x1b]11;?\x1b\\\x1b[c"
"""Asks for the background's colour, and then for what every terminal answers: with that, nothing more will come."""
PATIENCE_OF_ANSWERS = 0.4
"""Seconds that the end of the program waits for an answer. While the program runs, a late one is as good."""

OVERSIZED = "a paste of more than 16 MiB"

_NAMED = {key.value: key for key in Keys}
_DATA = {name: chr(code) for code, name in CONTROLS.items()} | {"backspace": "\x7f"}
"""What a key's event has as its data, as prompt_toolkit gives it for control characters."""


def key_presses(event: TerminalEvent) -> list[KeyPress]:
    """What prompt_toolkit calls an event. A key that it has no name for is `Keys.Ignore`, with the name as its data."""
    match event:
        case TypedText(text):
            return [KeyPress(character, character) for character in text]
        case Paste(text):
            return [KeyPress(Keys.BracketedPaste, text)]
        case Mouse(report):
            return [KeyPress(Keys.Vt100MouseEvent, report)]
        case OversizedPaste():
            return [KeyPress(Keys.Ignore, OVERSIZED)]
        case Background() | Attributes():
            return []
        case Key(name):
            key = _NAMED.get(KEY_ALIASES.get(name, name))
            if key is None:
                return [KeyPress(Keys.Ignore, name)]
            return [KeyPress(key, _DATA.get(name, "\x1b"))]


class Keyboard(Vt100Input):
    """The keys of a terminal, and its modes."""

    def __init__(self, stdin: TextIO, *, escape_wait: float | None = None) -> None:
        """`escape_wait`: seconds after which ESC alone is the Escape key; by default, what the connection needs."""
        super().__init__(stdin)
        if escape_wait is None:
            escape_wait = REMOTE_ESCAPE_WAIT if os.environ.get("SSH_CONNECTION") else ESCAPE_WAIT
        self._parser = KeyParser(escape_wait=escape_wait)
        self._decoder = _decoder(stdin.encoding)
        self._presses: deque[KeyPress] = deque()
        self._before: list[Any] | None = None
        self._raw: list[Any] | None = None
        self._guard: Guard | None = None
        self._ready: Callable[[], None] = lambda: None
        self.ending: Callable[[], bool] = lambda: False
        """Whether the program was told to end."""
        self.coming: Callable[[], None] = lambda: None
        """Called when there is something to read, before it is read."""
        self._timer: asyncio.TimerHandle | None = None
        self._unanswered = False
        """Whether the terminal was asked and has not answered all of it."""
        self._answers_until = 0.0
        """Until when the end of the program waits for an answer of the terminal's, by `time.monotonic`."""
        self._tell: Callable[[tuple[int, int, int]], None] = lambda _: None

    def ask_background(self, tell: Callable[[tuple[int, int, int]], None]) -> None:
        """Asks the terminal for its background's colour; returns at once. In raw mode only: else the answer is shown.

        `tell` is called with red, green and blue if the terminal answers, however late.
        """
        shown = _shown()
        if shown is None:
            return
        self._tell, self._unanswered = tell, True
        self._answers_until = time.monotonic() + PATIENCE_OF_ANSWERS
        with suppress(OSError):
            os.write(shown.fileno(), ASK_BACKGROUND)

    def _answered(self, event: TerminalEvent) -> None:
        """Takes the terminal's answers out of what it sends."""
        if isinstance(event, Attributes):
            self._unanswered = False
        elif isinstance(event, Background) and self._unanswered:
            self._tell(event.colour)

    def _take_answers(self) -> None:
        """Waits for what the terminal was asked: whoever has it next would get the answers as keys."""
        while self._unanswered and not self.closed and self.in_foreground():
            left = self._answers_until - time.monotonic()
            if left <= 0 or not select.select([self.fileno()], [], [], left)[0]:
                break
            self._take(self._parser.feed(self._read()))

    def attach(self, input_ready_callback: Callable[[], None]) -> AbstractContextManager[None]:
        """See Input."""
        self._ready = input_ready_callback
        return super().attach(input_ready_callback)

    def read_keys(self) -> list[KeyPress]:
        """See Input. The keys of one turn of the event loop."""
        self.coming()
        taken = 0
        while not self._presses and taken < READ_OF_A_PASTE and self._readable():
            data = self._read()
            if not data:
                break
            taken += len(data)
            self._take(self._parser.feed(data))
        if taken:
            self._wait()
        keys = [self._presses.popleft() for _ in range(min(len(self._presses), KEYS_IN_A_TURN))]
        if self._presses:
            asyncio.get_running_loop().call_soon(self._ready)
        return keys

    def flush_keys(self) -> list[KeyPress]:
        """See Input. Keys that only time tells are found by a timer of this class."""
        return []

    def _take(self, events: list[TerminalEvent]) -> None:
        for event in events:
            self._presses.extend(key_presses(event))
            self._answered(event)

    def _readable(self) -> bool:
        try:
            return bool(select.select([self.fileno()], [], [], 0)[0])
        except (OSError, ValueError):
            self.stdin_reader.closed = True
            return False

    def _read(self) -> bytes:
        """What has come, in UTF-8. At the end of input, sets `closed` and returns nothing."""
        try:
            data = os.read(self.fileno(), READ)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            data = b""  # the terminal is gone
        if not data:
            self.stdin_reader.closed = True
        if self._decoder is None:
            return data
        return self._decoder.decode(data).encode("utf-8", "surrogateescape")

    def _wait(self) -> None:
        """Sets the timer for what the parser waits for."""
        if self._timer:
            self._timer.cancel()
        wait = self._parser.wait
        self._timer = None if wait is None else asyncio.get_running_loop().call_later(wait, self._silent)

    def _silent(self) -> None:
        self._timer = None
        if not self._readable():  # else the program was busy, and not the terminal silent
            self._take(self._parser.silence())
            self._wait()
        self._ready()

    def in_foreground(self) -> bool:
        """Whether the terminal is this job's just now."""
        try:
            return os.tcgetpgrp(self.fileno()) == os.getpgrp()
        except OSError:
            return True  # there are no jobs here

    def _leave_alone(self) -> None:
        """From now on nothing is written to the terminal: another job has it."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and stream.isatty():
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    @contextmanager
    def raw_mode(self) -> Iterator[None]:
        """Every key at once and unchanged; at the end everything is as it was."""
        self._before = self._modes()
        raw(self.fileno()).__enter__()
        self._raw = self._modes()
        try:
            yield
        finally:
            self._tell = lambda _: None  # there is nothing to draw any more
            self._take_answers()
            self._taken(False)
            self._raw = None
            if self.in_foreground():
                self._put(self._before)

    @contextmanager
    def cooked_mode(self) -> Iterator[None]:
        """As it was, for another program."""
        self._take_answers()
        self._taken(False)
        self._put(self._before)
        try:
            yield
        finally:
            self.again()

    def again(self) -> None:
        """Raw mode, whatever others have done. While another job has the terminal, waits for it or for the end."""
        while not self.in_foreground():
            time.sleep(0.02)  # the signal that lets us go on may have come with another one
            if self.ending():
                self._leave_alone()
                return
            os.kill(0, signal.SIGTTOU)  # what the system does to who touches another job's terminal
        self._put(self._raw)
        self._taken(True)

    def guard(self) -> None:
        """From now on the terminal is put back also where this process is killed, if the system can. Takes 1 ms."""
        before, now, shown = self._before, self._raw, _shown()
        if self._guard is None and before is not None and now is not None and shown is not None:
            with suppress(OSError, NotImplementedError):
                self._guard = Guard(shown.fileno(), before, now, LEAVE)

    def _taken(self, taken: bool) -> None:
        if self._guard:
            self._guard.tell(taken=taken)

    def restore_now(self) -> None:
        """Leaves the terminal as it was, from any thread and in the middle of anything: the process ends right after.

        Waits for nothing: to a terminal that takes no output, only the modes are given back.
        """
        self._taken(False)
        if not self.in_foreground():
            return
        self._put(self._before)
        shown = _shown()
        if shown is None:
            return
        terminal = os.dup(shown.fileno())
        self._leave_alone()  # what the main thread still writes goes nowhere
        if select.select([], [terminal], [], PATIENCE_OF_OUTPUT)[1]:
            os.write(terminal, LEAVE)

    def _modes(self) -> list[Any] | None:
        try:
            return termios.tcgetattr(self.fileno())
        except termios.error:
            return None

    def _put(self, modes: list[Any] | None) -> None:
        try:
            if modes is not None:
                termios.tcsetattr(self.fileno(), termios.TCSANOW, modes)
        except termios.error:
            pass  # the terminal is gone


def keyboard() -> Input:
    """The terminal's keys, also where standard input is something else."""
    streams = [stream for stream in (sys.stdin, sys.stdout, sys.stderr) if stream is not None and stream.isatty()]
    stream: TextIO | None = next(filter(_is_read, streams), None)
    if stream is None and streams:
        with suppress(OSError):
            stream = open("/dev/tty", encoding="utf-8")  # noqa: PTH123, SIM115  as long as the program runs
    return Keyboard(stream) if stream else create_input(always_prefer_tty=True)


def _is_read(stream: TextIO) -> bool:
    """Whether a terminal can be read by a stream: `> /dev/tty` opens it for writing alone."""
    return fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY


def _shown() -> TextIO | None:
    """What the terminal is written to by."""
    return next((s for s in (sys.stdout, sys.stderr) if s is not None and s.isatty()), None)


def _decoder(encoding: str) -> codecs.IncrementalDecoder | None:
    """From the terminal's encoding, bytes that it does not have kept as they are; None for UTF-8."""
    try:
        name = codecs.lookup(encoding or "utf-8").name
    except LookupError:
        return None
    return None if name in ("utf-8", "ascii") else codecs.getincrementaldecoder(name)("surrogateescape")
