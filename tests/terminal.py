"""A program in a pseudo-terminal, played by keys and read from its screen."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pexpect
import pyte
import pytest

from tokex_gguf.ui.theme import styles

KEYS = {"up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "esc": "\x1b", "ctrl-q": "\x11",
        "home": "\x1b[H", "ctrl-c": "\x03", "ctrl-e": "\x05", "end": "\x1b[F"}  # fmt: skip


SELECTED = re.findall(r"bg:#(\w+)", styles("standard")["selected"])[0]
"""The background of a selected line in true colour."""


def spawn(command: list[str], **options: Any) -> Any:
    """A program in a pseudo-terminal: by `tests/fork_server.py` where that starts this one."""
    if sys.platform == "win32":
        pytest.skip("there are no pseudo-terminals")
    import termios

    import ptyprocess

    from tests import fork_server

    spawned: Any = pexpect.spawn  # has no types
    process: Any = ptyprocess
    if (server := fork_server.server(command, options["env"])) is None:
        return spawned(command[0], command[1:], **options)
    forking = server

    class Forked(spawned):  # type: ignore[misc]
        def _spawnpty(self, args: list[str], *, env: dict[str, str], dimensions: tuple[int, int], **_: Any) -> Any:
            terminal, other = os.openpty()
            termios.tcsetwinsize(terminal, dimensions)
            child = process.PtyProcess(forking.start(args, env, [other] * 3, terminal=True), terminal)
            os.close(other)
            return child

    return Forked(command[0], command[1:], **options)


class Terminal:
    """A program in a terminal of its own; what it writes is interpreted into a screen."""

    def __init__(
        self,
        *arguments: str,
        rows: int = 40,
        columns: int = 130,
        command: list[str] | None = None,
        keep: tuple[str, ...] = (),
        **more: str,
    ) -> None:
        if sys.platform == "win32":
            pytest.skip("there are no pseudo-terminals here")
        import termios

        command = command or [sys.executable, "-m", "tokex_gguf", *arguments]
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **more}
        for name in {"NO_COLOR"} - set(keep):
            environment.pop(name, None)
        self.child = spawn(command, dimensions=(rows, columns), env=environment, timeout=60)
        self.child.delaybeforesend = None
        self.child.ptyproc.delayafterclose = 0.01  # what was to be read has been
        self.before = termios.tcgetattr(self.child.child_fd)
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.over = False
        """Whether the program has closed the terminal."""

    def pump(self, patience: float = 0.01) -> bool:
        """Reads what has come, or comes in so many seconds; returns whether there was anything."""
        try:
            data = self.child.read_nonblocking(1 << 16, timeout=patience)
        except pexpect.TIMEOUT:
            return False
        except pexpect.EOF:
            self.over = True
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def text(self) -> str:
        # As `screen.display`, which takes twenty times as long: the second cell of a wide character is empty.
        lines = [self.screen.buffer[row] for row in range(self.screen.lines)]
        blank = self.screen.default_char
        return "\n".join(
            "".join([line.get(column, blank).data for column in range(self.screen.columns)]) for line in lines
        )

    def tokens(self) -> int:
        """How many the prompt has, as the status line says."""
        found = re.search(r"tokens: ([\d,]+)", self.text())
        assert found
        return int(found[1].replace(",", ""))

    def until(self, holds: Callable[[str], object], timeout: float = 60) -> str:
        end = time.monotonic() + timeout
        text, patience = "", 0.01
        while time.monotonic() < end and not self.over:
            # What is read in the middle of a frame is no screen: first all that has come.
            if self.pump(patience):
                text, patience = "", 0.01
                continue
            text = text or self.text()
            if holds(text):
                return text
            # Reading ends once something comes. Looking again and again takes the processor from the program.
            patience = min(2 * patience, 0.05)
        text = self.text()
        if holds(text):  # it came with the program's end
            return text
        raise AssertionError("this never came to be on the screen:\n" + text)

    def shows(self, pattern: str, timeout: float = 60) -> str:
        return self.until(lambda text: re.search(pattern, text), timeout)

    def timed(self, pattern: str, *names: str, quiet: float = 0.15) -> float:
        """Seconds from writing keys to the arrival of the bytes after which the screen shows a pattern."""
        return self.moments([pattern], *names, quiet=quiet)[0]

    def moments(self, patterns: list[str], *names: str, quiet: float = 0.15) -> list[float]:
        """The same for each of several patterns, the last one last.

        Bytes are only time-stamped while they come, and interpreted afterwards: reading
        the screen meanwhile would take the processor from the program.
        """
        # Before the key: who was put aside right behind it would find the answer sooner than it came.
        began = last = time.perf_counter()
        self.press(*names)
        answers: dict[str, float] = {}
        for _ in range(100):
            came: list[tuple[float, bytes]] = []
            while time.perf_counter() - last < quiet:
                try:
                    data = self.child.read_nonblocking(1 << 16, timeout=quiet)
                except (pexpect.TIMEOUT, pexpect.EOF):
                    break
                last = time.perf_counter()
                came.append((last - began, data))
            for moment, data in came:
                self.raw += data
                self._stream.feed(data)
                text = self.text()
                for pattern in patterns:
                    if pattern not in answers and re.search(pattern, text):
                        answers[pattern] = moment
            if len(answers) == len(patterns):
                return [answers[pattern] for pattern in patterns]
            last = time.perf_counter()
        missing = [pattern for pattern in patterns if pattern not in answers]
        raise AssertionError(f"{missing} never came to be on the screen:\n" + self.text())

    def ended(self) -> float:
        """The moment at which the program closes the terminal, by `time.perf_counter`."""
        while True:
            try:
                self.raw += self.child.read_nonblocking(1 << 16, timeout=20)
            except pexpect.EOF:
                return time.perf_counter()

    def collect(self, seconds: float) -> None:
        """Lets the program run undisturbed: what it writes is interpreted afterwards."""
        end = time.perf_counter() + seconds
        came: list[bytes] = []
        while (left := end - time.perf_counter()) > 0:
            try:
                came.append(self.child.read_nonblocking(1 << 16, timeout=left))
            except (pexpect.TIMEOUT, pexpect.EOF):
                break
        for data in came:
            self.raw += data
            self._stream.feed(data)

    def press(self, *names: str) -> None:
        for name in names:
            self.child.send(KEYS.get(name, name))

    def ends(self) -> int:
        """Waits for the program's end; its exit code."""
        end = time.monotonic() + 20
        while self.child.isalive() and time.monotonic() < end:
            self.pump()
        for _ in range(5):
            self.pump()
        assert not self.child.isalive(), "still running:\n" + self.text()
        self.child.close()
        return -self.child.signalstatus if self.child.signalstatus else self.child.exitstatus or 0

    def engine(self) -> int:
        """The engine's process id."""
        children = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.child.pid)], capture_output=True, text=True
        )
        (line,) = [line for line in children.stdout.splitlines() if "tokex_gguf.engine" in line]
        return int(line.split()[0])

    def selected(self) -> list[str]:
        """The columns of the selected row: rank, token, probability, id. Empty while a frame is half there."""
        for row in range(self.screen.lines):
            cells = [self.screen.buffer[row][column] for column in range(self.screen.columns)]
            selected = "".join(cell.data for cell in cells if cell.reverse or cell.bg == SELECTED)
            if len(selected) > 20:  # less is the cursor in the prompt, or the caret
                # The mark before a row is not one of the columns, nor is the bar.
                return selected.translate(dict.fromkeys(map(ord, "·•›█▉▊▋▌▍▎▏"), " ")).split()
        return []

    def row(self, word: str) -> list[pyte.screens.Char]:
        """The cells of the table's row with a word, but for the margins."""
        for row, line in enumerate(self.screen.display):
            left = line.find("│") + 2
            if left > 1 and word in line[left:]:
                return [self.screen.buffer[row][column] for column in range(left, self.screen.columns - 1)]
        raise AssertionError(f"{word!r} is in no row")

    def colour_of(self, word: str, offset: int = 0) -> str:
        """The background of a cell of a word, its first occurrence on the screen."""
        for row, line in enumerate(self.screen.display):
            if (column := line.find(word)) >= 0:
                return str(self.screen.buffer[row][column + offset].bg)
        raise AssertionError(f"{word!r} is not on the screen")
