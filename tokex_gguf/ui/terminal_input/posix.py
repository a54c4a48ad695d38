"""A terminal's keys and modes on POSIX systems: reads bytes, which `KeyParser` parses."""

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

READ_BYTES = 1 << 16
"""Bytes of one read. A terminal gives 4096 at the most."""
BYTES_PER_TURN = 1 << 18
"""Bytes of a paste that are read in one turn of the event loop."""
KEYS_PER_TURN = 256
"""Keys that are passed on in one turn of the event loop: signals and frames come between the keys of a flood."""
REMOTE_ESCAPE_WAIT = 0.1
"""`ESCAPE_WAIT` where the terminal is at the other end of a network."""

LEAVE = b"".join(
    b"\x1b[" + mode
    for mode in (b"?1000l", b"?1003l", b"?1015l", b"?1006l", b"?2004l", b"0m", b"?7h", b"?1049l", b"?12l", b"?25h")
)
"""Resets all that prompt_toolkit sets on a terminal: mouse, pastes, attributes, the screen, the cursor."""
LAST_OUTPUT_TIMEOUT = 0.1
"""Seconds that a terminal has to take the last output."""

ASK_BACKGROUND = b"\x1b]11;?\x1b\\\x1b[c"
"""Queries the background's colour, then the device attributes: every terminal answers these, after the colour."""
ANSWERS_TIMEOUT = 0.4
"""Seconds that the program's end waits for an answer. While the program runs, late answers are taken as well."""

OVERSIZED = "a paste of more than 16 MiB"

_NAMED = {key.value: key for key in Keys}
_DATA = {name: chr(code) for code, name in CONTROLS.items()} | {"backspace": "\x7f"}
"""The data of key events, as prompt_toolkit has it for control characters."""


def key_presses(event: TerminalEvent) -> list[KeyPress]:
    """An event as prompt_toolkit's key presses. A key unknown to it is `Keys.Ignore`, with the name as data."""
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
        """`escape_wait`: seconds after which ESC alone is the Escape key; None: longer over SSH."""
        super().__init__(stdin)
        if escape_wait is None:
            escape_wait = REMOTE_ESCAPE_WAIT if os.environ.get("SSH_CONNECTION") else ESCAPE_WAIT
        self._parser = KeyParser(escape_wait=escape_wait)
        self._decoder = _decoder(stdin.encoding)
        self._presses: deque[KeyPress] = deque()
        self._modes_before: list[Any] | None = None
        self._raw_modes: list[Any] | None = None
        self._guard: Guard | None = None
        self._input_ready: Callable[[], None] = lambda: None
        self.ending: Callable[[], bool] = lambda: False
        """Whether the program was told to end."""
        self.coming: Callable[[], None] = lambda: None
        """Called before input is read."""
        self._timer: asyncio.TimerHandle | None = None
        self._unanswered = False
        """Whether answers of the terminal are awaited."""
        self._answers_until = 0.0
        """Until when the program's end waits for an answer, by `time.monotonic`."""
        self._tell: Callable[[tuple[int, int, int]], None] = lambda _: None

    def ask_background(self, tell: Callable[[tuple[int, int, int]], None]) -> None:
        """Queries the terminal's background colour; returns at once. In raw mode only: else the answer is echoed.

        `tell` is called with red, green and blue if the terminal answers, however late.
        """
        shown = _output_stream()
        if shown is None:
            return
        self._tell, self._unanswered = tell, True
        self._answers_until = time.monotonic() + ANSWERS_TIMEOUT
        with suppress(OSError):
            os.write(shown.fileno(), ASK_BACKGROUND)

    def _handle_answer(self, event: TerminalEvent) -> None:
        """Handles the terminal's answers among its events."""
        if isinstance(event, Attributes):
            self._unanswered = False
        elif isinstance(event, Background) and self._unanswered:
            self._tell(event.colour)

    def _take_answers(self) -> None:
        """Waits for awaited answers: the terminal's next program would get them as keys."""
        while self._unanswered and not self.closed and self.in_foreground():
            remaining = self._answers_until - time.monotonic()
            if remaining <= 0 or not select.select([self.fileno()], [], [], remaining)[0]:
                break
            self._take_events(self._parser.feed(self._read()))

    def attach(self, input_ready_callback: Callable[[], None]) -> AbstractContextManager[None]:
        """See Input."""
        self._input_ready = input_ready_callback
        return super().attach(input_ready_callback)

    def read_keys(self) -> list[KeyPress]:
        """See Input. The keys of one turn of the event loop."""
        self.coming()
        taken = 0
        while not self._presses and taken < BYTES_PER_TURN and self._readable():
            data = self._read()
            if not data:
                break
            taken += len(data)
            self._take_events(self._parser.feed(data))
        if taken:
            self._set_timer()
        keys = [self._presses.popleft() for _ in range(min(len(self._presses), KEYS_PER_TURN))]
        if self._presses:
            asyncio.get_running_loop().call_soon(self._input_ready)
        return keys

    def flush_keys(self) -> list[KeyPress]:
        """See Input. A timer of this class finds the keys that depend on time."""
        return []

    def _take_events(self, events: list[TerminalEvent]) -> None:
        for event in events:
            self._presses.extend(key_presses(event))
            self._handle_answer(event)

    def _readable(self) -> bool:
        try:
            return bool(select.select([self.fileno()], [], [], 0)[0])
        except (OSError, ValueError):
            self.stdin_reader.closed = True
            return False

    def _read(self) -> bytes:
        """The input available, in UTF-8. At its end, sets `closed` and returns nothing."""
        try:
            data = os.read(self.fileno(), READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            data = b""  # the terminal is gone
        if not data:
            self.stdin_reader.closed = True
        if self._decoder is None:
            return data
        return self._decoder.decode(data).encode("utf-8", "surrogateescape")

    def _set_timer(self) -> None:
        """Sets the timer for the parser's `wait`."""
        if self._timer:
            self._timer.cancel()
        wait = self._parser.wait
        self._timer = None if wait is None else asyncio.get_running_loop().call_later(wait, self._silence_timer_fired)

    def _silence_timer_fired(self) -> None:
        self._timer = None
        if not self._readable():  # else the program was busy, and the terminal not silent
            self._take_events(self._parser.silence())
            self._set_timer()
        self._input_ready()

    def in_foreground(self) -> bool:
        """Whether this job is in the terminal's foreground."""
        try:
            return os.tcgetpgrp(self.fileno()) == os.getpgrp()
        except OSError:
            return True  # no job control

    def _discard_output(self) -> None:
        """Discards further output, as another job has the terminal."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and stream.isatty():
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    @contextmanager
    def raw_mode(self) -> Iterator[None]:
        """Raw mode; restores the modes at the end."""
        self._modes_before = self._modes()
        raw(self.fileno()).__enter__()
        self._raw_modes = self._modes()
        try:
            yield
        finally:
            self._tell = lambda _: None  # nothing is drawn any more
            self._take_answers()
            self._tell_guard(False)
            self._raw_modes = None
            if self.in_foreground():
                self._set_modes(self._modes_before)

    @contextmanager
    def cooked_mode(self) -> Iterator[None]:
        """The modes as they were before, for another program."""
        self._take_answers()
        self._tell_guard(False)
        self._set_modes(self._modes_before)
        try:
            yield
        finally:
            self.again()

    def again(self) -> None:
        """Sets raw mode again. While another job has the terminal, waits for the foreground or the program's end."""
        while not self.in_foreground():
            time.sleep(0.02)  # another signal may have come with SIGCONT
            if self.ending():
                self._discard_output()
                return
            os.kill(0, signal.SIGTTOU)  # as the system does when a job writes to a terminal that it does not have
        self._set_modes(self._raw_modes)
        self._tell_guard(True)

    def guard(self) -> None:
        """Starts the guard, which restores the terminal if this process is killed. Takes 1 ms."""
        before, now, shown = self._modes_before, self._raw_modes, _output_stream()
        if self._guard is None and before is not None and now is not None and shown is not None:
            with suppress(OSError, NotImplementedError):
                self._guard = Guard(shown.fileno(), before, now, LEAVE)

    def _tell_guard(self, taken: bool) -> None:
        if self._guard:
            self._guard.tell(taken=taken)

    def restore_now(self) -> None:
        """Restores the terminal, from any thread and at any point: the process ends right after.

        Does not block: of a terminal that takes no output, only the modes are restored.
        """
        self._tell_guard(False)
        if not self.in_foreground():
            return
        self._set_modes(self._modes_before)
        shown = _output_stream()
        if shown is None:
            return
        terminal = os.dup(shown.fileno())
        self._discard_output()  # discards further output of the main thread
        if select.select([], [terminal], [], LAST_OUTPUT_TIMEOUT)[1]:
            os.write(terminal, LEAVE)

    def _modes(self) -> list[Any] | None:
        try:
            return termios.tcgetattr(self.fileno())
        except termios.error:
            return None

    def _set_modes(self, modes: list[Any] | None) -> None:
        try:
            if modes is not None:
                termios.tcsetattr(self.fileno(), termios.TCSANOW, modes)
        except termios.error:
            pass  # the terminal is gone


def keyboard() -> Input:
    """The terminal's keys, even if standard input is no terminal."""
    streams = [stream for stream in (sys.stdin, sys.stdout, sys.stderr) if stream is not None and stream.isatty()]
    stream: TextIO | None = next(filter(_is_read, streams), None)
    if stream is None and streams:
        with suppress(OSError):
            stream = open("/dev/tty", encoding="utf-8")  # noqa: PTH123, SIM115  as long as the program runs
    return Keyboard(stream) if stream else create_input(always_prefer_tty=True)


def _is_read(stream: TextIO) -> bool:
    """Whether the stream can be read: `> /dev/tty` opens it for writing only."""
    return fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY


def _output_stream() -> TextIO | None:
    """The stream that writes to the terminal; None without one."""
    return next((s for s in (sys.stdout, sys.stderr) if s is not None and s.isatty()), None)


def _decoder(encoding: str) -> codecs.IncrementalDecoder | None:
    """A decoder of the terminal's encoding, with undecodable bytes kept as surrogates; None for UTF-8."""
    try:
        name = codecs.lookup(encoding or "utf-8").name
    except LookupError:
        return None
    return None if name in ("utf-8", "ascii") else codecs.getincrementaldecoder(name)("surrogateescape")
