"""A first start where the default model is not here: played at once, on the bundled one, while that is downloaded."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub, serving
from tests.terminal import Terminal
from tokex_gguf.config import DEFAULT_MODEL

REPO, FILE = DEFAULT_MODEL.split(":")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub(tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Has a small model under the default one's name, and sends one half until it is released."""
    with serving({FILE: tiny["llama"].read_bytes() + bytes(4 << 20)}, "half") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        yield hub


def begin(*arguments: str) -> Terminal:
    return Terminal(*arguments, rows=24, columns=110)


def quits(terminal: Terminal) -> float:
    """Seconds to the program's end."""
    began = time.perf_counter()
    terminal.press("ctrl-q")
    seconds = terminal.ended() - began
    assert terminal.ends() == 0
    return seconds


def beginning(tmp_path: Path) -> int:
    """Bytes that wait to be gone on with."""
    return sum(path.stat().st_size for path in (tmp_path / "hub").rglob("*.incomplete"))


def test_the_first_start_plays_at_once_and_switches_with_two_keys(hub: Hub) -> None:
    terminal = begin("--prompt", "Once upon a time")
    text = terminal.shows(r"tokens: 4 .* ready")
    assert "Smollm2" in text and "play with it while Qwen2.5-0.5B is downloaded" in text
    terminal.shows(r"Smollm2 .* downloading Qwen2\.5-0\.5B [3-5]\d % +context 4/")
    terminal.press("right")
    terminal.shows(r"tokens: 5 .* ready")
    hub.released.set()
    terminal.shows(r"Qwen2\.5-0\.5B is here: o, then Enter, plays with it")
    terminal.press("w")
    terminal.shows(r"Qwen2\.5-0\.5B is here: o Enter")
    terminal.press("o")
    terminal.shows(r"QuantFactory/Qwen2\.5.* F32")
    assert terminal.selected()[0].startswith("QuantFactory/Qwen2.5")
    terminal.press("\r")
    text = terminal.shows(r"(?s)tiny llama .*Once upon a time,.* ready")
    assert "is here" not in text
    assert quits(terminal) < 5

    # The next start has the default model; what was played on both is one session.
    asked = len(hub.requests)
    terminal = begin()
    terminal.shows(r"(?s)tiny llama .*the session of .* is kept: start with --resume")
    quits(terminal)
    assert len(hub.requests) == asked
    terminal = begin("--resume")
    terminal.shows(r"(?s)tiny llama .*Once upon a time,.* ready")
    terminal.press("o")
    terminal.shows(r"bundled .*Q4_1")
    terminal.press("up")
    terminal.press("\r")
    terminal.shows(r"(?s)Smollm2.*tokens: 5 .* ready")
    quits(terminal)


@pytest.mark.thorough
def test_quitting_is_at_once_and_the_next_start_goes_on(hub: Hub, tmp_path: Path) -> None:
    terminal = begin("--prompt", "Once upon a time")
    terminal.shows(r"downloading Qwen2\.5-0\.5B [3-5]\d %")
    terminal.press("right")
    terminal.shows(r"tokens: 5 .* ready")
    assert quits(terminal) < 2
    size = beginning(tmp_path)
    assert size > 1 << 20

    # The session of the bundled model is resumed, and its download as well.
    terminal = begin("--resume")
    terminal.shows(r"(?s)Smollm2 .* downloading Qwen2\.5-0\.5B [6-8]\d %.*tokens: 5 .* ready")
    assert hub.ranges[-1] == f"bytes={size}-"
    terminal.child.kill(signal.SIGKILL)
    terminal.ended()
    assert beginning(tmp_path) > size

    hub.released.set()
    terminal = begin("--prompt", "Once upon a time")
    terminal.shows(r"Qwen2\.5-0\.5B is here")
    quits(terminal)
    assert beginning(tmp_path) == 0

    # Yesterday's session is still there, with its own model.
    terminal = begin("--resume")
    terminal.shows(r"(?s)Smollm2 .*tokens: 5 .* ready")
    assert "downloading" not in terminal.text()
    quits(terminal)


@pytest.mark.thorough
def test_a_second_program_waits_for_the_first_ones_download(hub: Hub) -> None:
    one = begin("--prompt", "Once")
    one.shows(r"downloading Qwen2\.5-0\.5B [3-5]\d %")
    two = begin("--prompt", "Once")
    two.shows(r"downloading Qwen2\.5-0\.5B [3-5]\d %")
    assert len(hub.ranges) == 1
    hub.released.set()
    for terminal in (one, two):
        terminal.shows(r"Qwen2\.5-0\.5B is here")
    assert len(hub.ranges) == 1
    for terminal in (one, two):
        assert quits(terminal) < 2


@pytest.mark.thorough
def test_a_hub_that_cannot_be_reached_is_one_line_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for _ in range(2):
        terminal = begin("--prompt", "Once upon a time")
        terminal.shows(r"Qwen2\.5-0\.5B is not downloaded, the next start tries again: the hub cannot be reached")
        terminal.press("right")
        text = terminal.shows(r"tokens: 5 .* ready")
        assert "downloa" not in text and "Smollm2" in text
        assert quits(terminal) < 2


@pytest.mark.thorough
def test_who_named_a_model_gets_that_one_and_nothing_is_downloaded(hub: Hub) -> None:
    terminal = begin("--model", "bundled", "--prompt", "Once upon a time")
    terminal.shows(r"tokens: 4 .* ready")
    terminal.press("right")
    terminal.shows(r"tokens: 5 .* ready")
    quits(terminal)
    terminal = begin("--resume")
    terminal.shows(r"tokens: 5 .* ready")
    quits(terminal)
    assert not hub.requests


def test_a_text_that_the_bundled_model_may_have_no_room_for_waits(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("a b " * 5000)
    terminal = begin("long.txt")
    terminal.shows(r"downloading QuantFactory/Qwen2\.5-0\.5B")
    assert hub.sending.wait(30)
    hub.released.set()
    terminal.until(lambda _: b"\x1b[?1049h" in terminal.raw)
    terminal.shows("tiny llama|too long")
    assert "Smollm2" not in terminal.text()
    terminal.child.close(force=True)


def test_a_script_gets_the_model_that_it_asked_for(hub: Hub) -> None:
    hub.fault = ""
    done = subprocess.run(
        [sys.executable, "-m", "tokex_gguf", "--plain", "--prompt", "Once"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tiny llama" in done.stdout and f"downloading {DEFAULT_MODEL}" in done.stderr
