"""An engine that never stops talking, or says nothing: keys are answered, and the program ends when it is told to."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.broken_engine import FAULTS_WITHOUT_END
from tests.sampling import some
from tests.terminal import Terminal

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")

PROGRAM = """
import subprocess, sys
from tokex_gguf.engine import process
def start():
    return subprocess.Popen(
        [sys.executable, "-m", "tests.broken_engine", {fault!r}, "0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )
process.start = start
from tokex_gguf.__main__ import run
sys.exit(run())
"""
ROOT = Path(__file__).parent.parent.parent
A_MOMENT = 1.0
"""Seconds. On a machine with two cores the flood itself takes one of them."""


def engine_of(parent: int) -> int:
    """The engine's process."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (engine,) = (int(one) for one in children if b"broken_engine" in Path(f"/proc/{one}/cmdline").read_bytes())
    return engine


@pytest.mark.timed
@pytest.mark.parametrize(("fault", "number"), some([(f, n) for f in FAULTS_WITHOUT_END for n in ("TERM", "HUP")], of=5))
def test_keys_are_answered_and_signals_end_it(
    fault: str, number: str, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    command = [sys.executable, "-c", PROGRAM.format(fault=fault), "--no-config"]
    terminal = Terminal(command=[*command, "--model", str(tiny["qwen2"]), "--prompt", "the cat and one answer"])
    terminal.shows(r"tokens: \d+ .* ready")
    os.kill(engine_of(terminal.child.pid), signal.SIGUSR1)
    for shown in (" probability 0", " entropy 0", "last token"):  # the last is the plain layer
        began = time.monotonic()
        terminal.press("e")
        terminal.shows(rf"{shown}|the engine stopped \(")  # which is told in the legend's place
        assert time.monotonic() - began < A_MOMENT
    began = time.monotonic()
    os.kill(terminal.child.pid, getattr(signal, f"SIG{number}"))
    assert terminal.ends() == 128 + getattr(signal, f"SIG{number}")
    assert time.monotonic() - began < A_MOMENT + 0.5, "one second, and what it takes to see that"
