"""Quitting is never kept waiting: not by a long evaluation, and not by keys that came before.

The long form: `pytest -m soak tests/program/test_responsive.py`.
"""

import os
import random
import time
from pathlib import Path

import pytest

from tests.figures import Figure
from tests.pace import pace
from tests.terminal import Terminal

SEED = int(os.environ.get("RESPONSIVE_SEED", "1"))
LIMIT = 0.1
LEFT = b"\x1b[?1049l"
"""What gives the terminal its own screen back."""
KEY = 0.0002
"""Seconds that a key takes to be obeyed, at the most."""
NOISE = 3
"""So much longer it may take where few are measured, on a machine that has other work."""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "long.txt").write_text("The quick brown fox jumps over the lazy dog. " * 600)


def quit_with(key: str, before: int, wait: str) -> tuple[float, float]:
    """Seconds from the key that quits, in the middle of an evaluation, to the terminal as it was, and to the end."""
    terminal = Terminal("--model", "bundled", "--input", "long.txt")
    try:
        terminal.shows(wait)
        came = len(terminal.raw)
        terminal.press("\x1b[C" * before)
        began = time.perf_counter()
        terminal.press(key)
        while LEFT not in terminal.raw[came:]:
            terminal.raw += terminal.child.read_nonblocking(1 << 16, timeout=20)
        restored = time.perf_counter()
        ended = terminal.ended()
        assert terminal.ends() == 0
        return restored - began, ended - began
    finally:
        terminal.child.close(force=True)


def measured(count: int, before: int, figure: Figure) -> float:
    """Measures so often; returns the 99th percentile of the time until the terminal is as it was."""
    chance = random.Random(SEED)
    waits = [r"working  \d+/\d+ tokens", r"working  [1-9]\d*/\d+ tokens"]
    times = [quit_with(chance.choice(["ctrl-c", "ctrl-q"]), before, chance.choice(waits)) for _ in range(count)]
    last = min(count - 1, int(0.99 * count))
    restored, ended = (float(sorted(values)[last]) for values in zip(*times, strict=True))
    found = {
        f"ms until the terminal is back, 99 % after {before} keys": restored * 1000,
        f"ms until the end, 99 % after {before} keys": ended * 1000,
    }
    figure(count, "quits in the middle of an evaluation", seed=SEED, **found)
    return restored


def limit(before: int) -> float:
    """Seconds until the terminal is as it was. Each key before is still obeyed: it may have been one that saves."""
    return (LIMIT + before * KEY) * pace()


@pytest.mark.timed
@pytest.mark.parametrize("before", [0, 300])
def test_quitting_during_an_evaluation(before: int, figure: Figure) -> None:
    assert measured(3, before, figure) < NOISE * limit(before)


@pytest.mark.soak
@pytest.mark.timed
@pytest.mark.parametrize("before", [0, 300])
def test_quitting_during_many_evaluations(before: int, figure: Figure) -> None:
    assert measured(100 if before == 0 else 50, before, figure) < limit(before)
