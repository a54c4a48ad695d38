"""Output to a real pseudo-terminal, while signals come in the middle of it."""

import io
import os
import signal
import sys
import threading
import tty

import pytest
from prompt_toolkit.output.vt100 import Vt100_Output

from tokex_gguf.ui.terminal_output import WholeOutput, terminal_output, write_whole

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")

FRAMES = 300
FRAME = "".join(f"{number:8}\n" for number in range(600))
"""Five times as large as the buffer that Python gives a terminal."""


def arrived(output_class: type[Vt100_Output]) -> bytes:
    """What comes of some frames on a terminal that reads slowly, with a signal every few milliseconds."""
    master, slave = os.openpty()
    tty.setraw(slave)
    found: list[bytes] = []

    def read() -> None:
        while b"\x04" not in (data := os.read(master, 100)):
            found.append(data)
        found.append(data)

    reader = threading.Thread(target=read)
    handler = signal.signal(signal.SIGALRM, lambda *_: None)
    # Like standard output's: text over a buffer over a file.
    with io.TextIOWrapper(io.BufferedWriter(io.FileIO(slave, "w"), 1024), encoding="utf-8") as stream:
        output = output_class.from_pty(stream, term="xterm")
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        reader.start()
        try:
            for _ in range(FRAMES):
                output.write_raw(FRAME)
                output.flush()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
        os.write(slave, b"\x04")
        reader.join(60)
    os.close(master)
    return b"".join(found)[:-1]


def test_signals_in_the_middle_of_a_frame_lose_nothing_of_it() -> None:
    assert arrived(WholeOutput) == FRAMES * FRAME.encode()


def test_a_terminal_that_does_not_block_stays_so() -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    reader = threading.Thread(target=lambda: [os.read(reads, 1000) for _ in range(300)])
    reader.start()
    write_whole(writes, b"x" * 300_000)
    reader.join(60)
    assert not reader.is_alive() and not os.get_blocking(writes)
    os.close(reads)
    with pytest.raises(BrokenPipeError):
        write_whole(writes, b"x")
    os.close(writes)


def test_without_a_terminal_prompt_toolkit_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal_output() is None
