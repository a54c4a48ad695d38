"""Starting again on the same text: what was computed is there, and costs nothing."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.program.test_resume import NATALIA, elsewhere
from tests.terminal import Terminal
from tests.tiny_models import MODELS

__all__ = ["elsewhere"]


def kept() -> list[Path]:
    """The parts that are on the disk."""
    return sorted(Path(os.environ["XDG_CACHE_HOME"]).glob("tokex-gguf/kv/*/*.kv"))


def body(terminal: Terminal) -> list[str]:
    """The screen without the cost of the last key, and without marks of what was looked ahead to."""
    lines = [re.sub(r"(known, )?\d+ tokens?(, \d+ ms)?  ready", "ready", line) for line in terminal.screen.display]
    return [line.replace("·", " ") for line in lines]


def start(*arguments: str) -> Terminal:
    terminal = Terminal("--model", "light.gguf", *arguments)
    terminal.shows(" ready")
    return terminal


def ends(terminal: Terminal) -> None:
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def looked_at(terminal: Terminal, holds: Callable[[], object]) -> None:
    """Looks at the screen and presses nothing, until something holds."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "some seconds after the last key"
        terminal.pump(0.05)


def test_a_second_start_shows_the_table_and_all_layers_without_a_decode() -> None:
    Path("config.toml").write_text("[engine]\nlookahead_tokens = 0\n")  # how far that came is no part of it
    terminal = start(str(NATALIA))
    assert "103 tokens, " in terminal.text()
    terminal.press("e")
    terminal.shows("probability 0")
    before = body(terminal)
    looked_at(terminal, kept)
    ends(terminal)
    again = start(str(NATALIA))
    assert "known, 0 tokens" in again.text()
    again.press("e")
    again.shows("probability 0")
    assert body(again) == before
    again.press("right")
    again.shows(r"tokens: 104 .* ready")
    ends(again)


def test_after_resume_the_first_new_token_costs_one_decode() -> None:
    terminal = Terminal("--model", "light.gguf", str(NATALIA))
    terminal.shows(r"tokens: 103 .* ready")
    for count in (104, 105):
        terminal.press("right")
        terminal.shows(rf"tokens: {count} .* ready")
    looked_at(terminal, lambda: [one for one in kept() if one.name.startswith("0-105-")])
    ends(terminal)
    Path("config.toml").write_text("[engine]\nlookahead = 0\n")
    again = Terminal("--resume")
    again.shows(r"tokens: 105 .*known, 0 tokens  ready")
    again.press("down", "down", "down", "down", "down", "down", "down", "down", "right")
    again.shows(r"tokens: 106 .* 1 token, \d+ ms  ready")
    ends(again)


def test_what_is_played_last_is_kept_at_the_end() -> None:
    terminal = start(str(NATALIA))
    terminal.press("right")
    terminal.shows(r"tokens: 104 .* ready")
    ends(terminal)
    Path("config.toml").write_text("[engine]\nlookahead = 0\n")
    again = Terminal("--resume")
    again.shows(r"tokens: 104 .*known, 0 tokens  ready")
    again.press(*["down"] * 8, "right")
    again.shows(r"tokens: 105 .* 1 token, \d+ ms  ready")
    ends(again)


@pytest.mark.thorough
def test_a_longer_text_goes_on_from_what_is_there() -> None:
    terminal = start(str(NATALIA))
    looked_at(terminal, kept)
    ends(terminal)
    Path("longer.txt").write_text(NATALIA.read_text() + " And then some more of it, which is new.\n")
    again = start("longer.txt")
    count = re.search(r"(\d+) tokens, \d+ ms  ready", again.text())
    assert count is not None and int(count[1]) < 20
    ends(again)


@pytest.mark.thorough
def test_without_the_cache_nothing_is_read_or_written() -> None:
    terminal = start(str(NATALIA))
    looked_at(terminal, kept)
    ends(terminal)
    files = {one: one.stat().st_mtime_ns for one in kept()}
    assert files
    again = start("--no-cache", str(NATALIA))
    assert "103 tokens, " in again.text()
    ends(again)
    Path("config.toml").write_text("[engine]\ncache = 0\n")
    again = start(str(NATALIA))
    assert "103 tokens, " in again.text()
    ends(again)
    Path("config.toml").unlink()
    command = [sys.executable, "-m", "tokex_gguf", "--model", "light.gguf", "--json", str(NATALIA)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    assert {one: one.stat().st_mtime_ns for one in kept()} == files


@pytest.mark.thorough
def test_a_file_that_changed_under_the_same_name_finds_nothing(tmp_path: Path, light_model: Path) -> None:
    Path("light.gguf").unlink()
    shutil.copyfile(light_model, "light.gguf")
    terminal = start(str(NATALIA))
    looked_at(terminal, kept)
    ends(terminal)
    data = bytearray(Path("light.gguf").read_bytes())
    data[-5] ^= 1  # of a tensor
    Path("light.gguf").write_bytes(data)
    again = start(str(NATALIA))
    assert "103 tokens, " in again.text()
    ends(again)
    Path("light.gguf").unlink()
    shutil.copyfile(MODELS["qwen2"](tmp_path), "light.gguf")
    again = start(str(NATALIA))
    assert re.search(r"\d\d+ tokens, \d+ ms  ready", again.text())
    ends(again)


@pytest.mark.thorough
def test_a_folder_that_takes_nothing_is_told_in_the_log_alone(tmp_path: Path) -> None:
    place = Path(os.environ["XDG_CACHE_HOME"])
    place.mkdir(parents=True)
    (place / "tokex-gguf").write_text("no folder")
    log = tmp_path / "log"
    terminal = start("--log", str(log), str(NATALIA))
    looked_at(terminal, lambda: "cannot be written" in log.read_text())
    assert "cannot" not in terminal.text()
    terminal.press("right")
    terminal.shows(r"tokens: 104 .* ready")
    ends(terminal)
    assert log.read_text().count("cache:") == 1
