"""Two models in the real program: compared, either played on with, one of them killed; brought back by --resume."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal import Terminal

REQUANTISE = """
import ctypes, sys
import llama_cpp as llama
params = llama.llama_model_quantize_default_params()
params.ftype, params.allow_requantize, params.nthread = llama.LLAMA_FTYPE_MOSTLY_Q8_0, True, 1
sys.exit(llama.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(params)))
"""
TEXT = "One two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def smaller(tmp_path_factory: pytest.TempPathFactory, light_model: Path) -> Path:
    """The light model in another quantisation."""
    path = tmp_path_factory.mktemp("smaller") / "smaller.gguf"
    subprocess.run([sys.executable, "-c", REQUANTISE, light_model, path], check=True, capture_output=True)
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smaller: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "smaller.gguf").symlink_to(smaller)


@pytest.fixture
def two(light: str) -> Iterator[Terminal]:
    terminal = Terminal("--no-config", "--model", light, "--versus", "smaller.gguf", "--prompt", TEXT)
    yield terminal
    terminal.child.close(force=True)


def engines(terminal: Terminal) -> list[int]:
    """The engines' processes, the first started first: not the lowest number, as numbers begin again at the highest."""
    children = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(terminal.child.pid)], capture_output=True, text=True
    )
    found = [int(line.split()[0]) for line in children.stdout.splitlines() if "tokex_gguf.engine" in line]
    return sorted(found, key=started)


def started(pid: int) -> int:
    """When a process was started, in clock ticks since the system was: field 22 in proc(5)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def rows() -> list[Path]:
    return sorted(Path(os.environ["XDG_STATE_HOME"], "tokex-gguf", "rows").rglob("*"))


def test_two_models_are_compared_and_either_is_played_on_with(two: Terminal, light: str) -> None:
    two.shows(r"A−B .* over \d+ .*ready")
    text = two.shows(r"KL mean [\d.e-]+ bits: kernels alone do that")
    assert "A F32  B Q8_0" in text
    private = rows()
    assert private and all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in private)
    two.press("\t")
    two.shows(r"· Q8_0 ")
    two.shows(r"A Q8_0")
    two.press("right")
    two.shows(r"tokens: 11 .*ready")
    two.press("\t")
    two.shows(r"B Q8_0(.|\n)*tokens: 11 ")
    # It is brought back as it was.
    two.press("ctrl-q")
    assert two.ends() == 0
    assert not rows()
    again = Terminal("--no-config", "--resume")
    again.shows(r"B Q8_0(.|\n)*tokens: 11 .*A−B")
    again.press("v")
    again.shows("the comparison is ended")
    again.child.kill(signal.SIGKILL)
    again.child.wait()
    # What is left by a program that was killed is removed by the next that compares.
    left = rows()
    assert left
    third = Terminal("--no-config", "--model", light, "--versus", light, "--prompt", TEXT)
    third.shows(r"A−B (0|\+0|0\.00|=).* over \d+ ")
    assert not set(left) & set(rows())
    third.child.close(force=True)


def test_what_was_compared_is_on_the_screen_after_resume_without_a_decode(two: Terminal) -> None:
    two.shows(r"A−B .* over 9 .*ready")
    two.press("right")
    two.shows(r"A−B .* over 10 .*ready")
    figures = two.text().splitlines()[:4]
    two.press("ctrl-q")
    assert two.ends() == 0
    again = Terminal("--no-config", "--resume")
    again.shows(r"A−B .* over 10 .*ready")
    assert again.text().splitlines()[:4] == figures
    files = [path for path in rows() if path.is_file() and path.suffix != ".lock"]
    assert files and all(path.stat().st_size == 0 for path in files), "B was asked for no row"
    again.press("right")
    again.shows(r"A−B .* over 11 .*ready")
    again.press("ctrl-q")
    assert again.ends() == 0


@pytest.mark.thorough
def test_one_of_two_engines_is_killed_and_comes_back(two: Terminal) -> None:
    two.shows(r"A−B .* over \d+ .*ready")
    first, second = engines(two)
    os.kill(second, signal.SIGKILL)
    two.shows(r"B: engine stopped, r restarts it")
    two.press("left")
    two.shows(r"ready")
    two.press("r")
    two.until(lambda text: "engine stopped" not in text and "A−B" in text)
    two.press("right")
    two.shows(r"A−B .* over \d+ .*ready")
    os.kill(first, signal.SIGKILL)
    two.shows(r"engine stopped: r restarts it")
    two.press("r")
    two.shows(r"A−B .* over \d+ .*ready")


def test_a_model_of_another_vocabulary_is_compared_by_the_text(light: str, tiny: dict[str, Path]) -> None:
    two = Terminal("--no-config", "--model", light, "--versus", str(tiny["qwen2"]), "--prompt", TEXT)
    two.shows(r"bits per byte A [\d.]+ B [\d.]+")
    two.press("\t")
    two.shows(r"bits per byte A [\d.]+ B [\d.]+")
    two.press("ctrl-q")
    assert two.ends() == 0


def test_what_cannot_be_compared_ends_with_a_line(light: str, tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"no model")
    for arguments, line in (
        (("--versus", "no.gguf"), "no.gguf"),
        (("--versus", "there-is-none.gguf"), "there-is-none.gguf"),
    ):
        two = Terminal("--no-config", "--model", light, *arguments, "--prompt", TEXT)
        two.shows(line)
        assert two.ends() == 2
