"""The terminal's keys, and its modes: what prompt_toolkit's own input lacks.

Its modes are put back exactly as they were, also for an editor or a shell in between, and
never while another job has the terminal. A paste without an end does not swallow what is
typed after it.
"""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Callable

from prompt_toolkit.input import Input, create_input

if sys.platform == "win32":
    from prompt_toolkit.input import DummyInput

    class Keyboard(DummyInput):
        """What only other systems have."""

        ending: Callable[[], bool]

        def again(self) -> None:
            """Nothing: no job takes a console's modes away."""

    def keyboard() -> Input:
        """The console's keys."""
        return create_input(always_prefer_tty=True)

else:
    import termios
    from collections.abc import Iterator
    from contextlib import AbstractContextManager, contextmanager
    from typing import Any, TextIO

    from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
    from prompt_toolkit.input.vt100 import Vt100Input
    from prompt_toolkit.input.vt100 import raw_mode as raw
    from prompt_toolkit.input.vt100_parser import Vt100Parser
    from prompt_toolkit.key_binding import KeyPress

    PAUSE = 0.8
    """Seconds without a byte after which a paste has ended, though nothing said so."""
    PASTE_END = "\x1b[201~"
    WAYS_OUT = "\x03\x11"
    """ctrl+c and ctrl+q. Terminals leave them out of what they paste."""

    SEQUENCE = re.compile(r"\x1b\[200~.*?(?:\x1b\[201~|\Z)|\x1b\[[0-?]*[ -/]*[@-~]", re.DOTALL)
    """A paste, or what a terminal sends for a key that is no character."""
    REPORT = re.compile(r"\x1b\[(200~.*|\d+;\d+R|<?[\d;]+[mM]|M)", re.DOTALL)
    """A paste, the cursor's position, the mouse."""
    NO_KEY = "\x1b[24;2~"
    """F24. A sequence that nobody knows would be taken for Escape and the characters behind it, which are keys."""

    def known(sequence: re.Match[str]) -> str:
        """The sequence, or `NO_KEY` in its place."""
        text = sequence[0]
        if text == PASTE_END:
            return ""  # of a paste that was taken for ended
        return text if text in ANSI_SEQUENCES or REPORT.fullmatch(text) else NO_KEY

    class Parser(Vt100Parser):
        """Bytes to keys."""

        @property
        def pasting(self) -> bool:
            """Whether a paste has begun and not ended."""
            return self._in_bracketed_paste

        def feed(self, data: str) -> None:
            """Takes what was read."""
            pasted = ""
            if self.pasting and data and not data.strip(WAYS_OUT):
                self.end_paste()
            elif self.pasting:
                pasted, end, data = data.partition(PASTE_END)
                pasted += end
            super().feed(pasted + SEQUENCE.sub(known, data))

        def end_paste(self) -> None:
            """Takes a paste as it is."""
            if self.pasting:
                super().feed(PASTE_END)

    class Keyboard(Vt100Input):
        """The keys of a terminal."""

        def __init__(self, stdin: TextIO) -> None:
            super().__init__(stdin)
            self.vt100_parser: Parser = Parser(lambda key: self._buffer.append(key))
            self._before: list[Any] | None = None
            self._raw: list[Any] | None = None
            self._ready: Callable[[], None] = lambda: None
            self.ending: Callable[[], bool] = lambda: False
            """Whether the program was told to end."""
            self._timer: asyncio.TimerHandle | None = None

        def attach(self, input_ready_callback: Callable[[], None]) -> AbstractContextManager[None]:
            """See Input."""
            self._ready = input_ready_callback
            return super().attach(input_ready_callback)

        def read_keys(self) -> list[KeyPress]:
            """See Input."""
            keys = super().read_keys()
            if self._timer:
                self._timer.cancel()
            if self.vt100_parser.pasting:
                self._timer = asyncio.get_running_loop().call_later(PAUSE, self._end_paste)
            return keys

        def _end_paste(self) -> None:
            self.vt100_parser.end_paste()
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
                self._raw = None
                if self.in_foreground():
                    self._put(self._before)

        @contextmanager
        def cooked_mode(self) -> Iterator[None]:
            """As it was, for another program."""
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
        stream = next((s for s in (sys.stdin, sys.stdout, sys.stderr) if s is not None and s.isatty()), None)
        return Keyboard(stream) if stream else create_input(always_prefer_tty=True)
