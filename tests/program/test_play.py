"""The real program in a real pseudo-terminal: the worked example, and what may happen on the way."""

import os
import signal
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sampling import few
from tests.terminal import Terminal

NATALIA = Path(__file__).parent.parent.parent / "prompts" / "natalia.txt"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def evaluated(folder: Path, *arguments: str) -> Iterator[Terminal]:
    """The Natalia prompt, loaded and evaluated. Without look-ahead, so that each cost is known."""
    (folder / "config.toml").write_text("[engine]\nlookahead = 0\n")
    terminal = Terminal(*arguments, "--input", str(NATALIA))
    terminal.shows(r"tokens: 103 .* ready")
    yield terminal
    terminal.child.close(force=True)


@pytest.fixture
def terminal(tmp_path: Path, light: str) -> Iterator[Terminal]:
    """The Natalia prompt, on a model that has the real one's tokens and decodes them in no time."""
    yield from evaluated(tmp_path, "--model", light)


@pytest.fixture
def natalia(tmp_path: Path) -> Iterator[Terminal]:
    """The Natalia prompt on the real model, where it matters what that says."""
    yield from evaluated(tmp_path)


@pytest.mark.real_start
def test_the_worked_example(natalia: Terminal) -> None:
    """Back up to the answer, find an uncertain token, copy the prompt, take another path."""
    terminal = natalia
    assert "103 tokens, " in terminal.text()

    # The probability layer: the answer's last digit was nearly certain, the first token has no colour.
    terminal.press("e")
    terminal.shows("probability 0 ")
    assert terminal.colour_of("Question") == "default"
    blue, red = terminal.colour_of("Answer: 72", len("Answer: 7")), terminal.colour_of("Natalia sold clips")
    assert int(blue[4:], 16) > int(blue[:2], 16)
    assert int(red[:2], 16) > int(red[4:], 16)

    # Back up to the answer: the popped token is selected, with its rank, and nothing is decoded.
    terminal.press("left")
    terminal.shows("tokens: 102 .* known, 0 tokens  ready")
    assert terminal.selected()[:2] == ["1", "2"]
    assert float(terminal.selected()[2]) > 0.9
    terminal.press("left")
    terminal.shows("tokens: 101 .* ready")
    assert terminal.selected()[:2] == ["1", "7"]

    # Further back, to a name that the model did not expect.
    terminal.press("e")
    terminal.shows("entropy 0 ")
    terminal.press("d")
    terminal.shows("Prompt 2/2  tokens: 101 ")
    terminal.press(*["left"] * 34)
    terminal.shows("Prompt 2/2  tokens: 67 .* known, 0 tokens  ready")
    before = terminal.text()

    # Another path: not the token that was there. One decode each.
    rank = int(terminal.selected()[0])
    terminal.press("down" if rank == 1 else "up")
    terminal.until(lambda _: terminal.selected()[:1] not in ([], [str(rank)]))
    other = terminal.selected()[1]
    terminal.press("right")
    terminal.shows("tokens: 68 .* 1 token, .* ready")
    assert terminal.text() != before
    for count in range(69, 74):
        terminal.press("right")
        terminal.shows(f"tokens: {count} .* 1 token, .* ready")

    # The first prompt is as it was left.
    terminal.press("w")
    terminal.shows("Prompt 1/2  tokens: 101 .* known, 0 tokens  ready")
    assert terminal.selected()[:2] == ["1", "7"]
    assert other
    terminal.press("right", "right")
    terminal.shows("tokens: 103 .* known, 0 tokens  ready")
    terminal.press("e", "ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.real_start
def test_what_was_looked_ahead_to_costs_nothing_and_space_plays() -> None:
    terminal = Terminal("--prompt", "Once upon a time, there was a")
    terminal.shows("tokens: 8 .* ready")
    terminal.shows(r"· +1 ", timeout=20)
    terminal.press("right")
    terminal.shows("tokens: 9 .* known, 0 tokens  ready", timeout=20)
    terminal.press(" ")
    terminal.shows(r"tokens: [\d,]{2,} ", timeout=20)
    terminal.press(" ")
    terminal.shows(" ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def test_the_terminal_is_left_as_it_was(terminal: Terminal) -> None:
    during = termios.tcgetattr(terminal.child.child_fd)
    assert during != terminal.before
    terminal.press("ctrl-c")
    while terminal.child.isalive():
        terminal.pump()
    terminal.pump()
    assert termios.tcgetattr(terminal.child.child_fd) == terminal.before
    for entered, left in ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?2004h", b"\x1b[?2004l")):
        assert terminal.raw.rfind(left) > terminal.raw.rfind(entered) >= 0
    assert b"\x1b[?1000h" not in terminal.raw, "the mouse is the terminal's own"
    assert terminal.ends() == 0


@pytest.mark.real_start
@pytest.mark.parametrize("name", few(["SIGTERM", "SIGHUP", "SIGINT"], of=3))
def test_signals_leave_the_terminal_as_it_was(name: str, terminal: Terminal) -> None:
    engine = terminal.engine()
    os.kill(terminal.child.pid, signal.Signals[name])
    while terminal.child.isalive():
        terminal.pump()
    terminal.pump()
    assert termios.tcgetattr(terminal.child.child_fd) == terminal.before
    assert b"\x1b[?1049l" in terminal.raw
    with pytest.raises(ProcessLookupError):
        os.kill(engine, 0)


@pytest.mark.parametrize("name", few(["SIGKILL", "SIGSEGV"], of=2))
def test_the_engine_dies_and_everything_stays(name: str, terminal: Terminal) -> None:
    terminal.press("left", "d")
    terminal.shows("Prompt 2/2  tokens: 102 .* ready")
    os.kill(terminal.engine(), signal.Signals[name])
    terminal.shows(rf"the engine stopped \({name}\); your prompts are safe: press r to restart it")
    terminal.press("left", "w", "s")
    terminal.shows("Prompt 2/2  tokens: 101 ")
    terminal.press("r")
    terminal.shows("Prompt 2/2  tokens: 101 .* ready")
    terminal.press("down", "right")
    terminal.shows("tokens: 102 .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.timed
def test_quitting_does_not_wait_for_a_long_evaluation(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("The quick brown fox jumps over the lazy dog. " * 600)
    terminal = Terminal("--input", "long.txt")
    terminal.shows(r"working  \d+/\d+ tokens")
    began = time.monotonic()
    terminal.press("ctrl-c")
    assert terminal.ends() == 0
    assert time.monotonic() - began < 2


def test_a_long_prompt_shows_progress_and_can_be_popped_while_it_is_evaluated(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("The quick brown fox jumps over the lazy dog. " * 25 + "END")
    terminal = Terminal("--input", "long.txt")
    terminal.shows(r"working  [1-9]\d*/2\d\d tokens")
    terminal.press("left")
    terminal.shows(r"tokens: 2\d\d .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.timed
def test_three_hundred_held_keys_do_not_delay_quitting(terminal: Terminal) -> None:
    terminal.press(*["right"] * 300)
    began = time.monotonic()
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    assert time.monotonic() - began < 2


@pytest.mark.thorough
def test_keys_come_from_the_terminal_when_the_prompt_comes_from_standard_input(light: str) -> None:
    command = f"echo piped words | {sys.executable} -m tokex_gguf --model {light} --input -"
    terminal = Terminal(command=["/bin/sh", "-c", command])
    terminal.shows("piped words.*(.|\n)* ready")
    terminal.press("right")
    terminal.shows("tokens: 4 .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def test_a_bad_model_ends_with_one_line_and_exit_code_2(tmp_path: Path, model_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(model_path.read_bytes()[:3_000_000])
    terminal = Terminal("--model", "cut.gguf")
    assert terminal.ends() == 2
    assert "cut.gguf: the file ends inside tensor" in terminal.text()
    assert "Traceback" not in terminal.text()


@pytest.mark.thorough
def test_a_full_context_says_how_many_tokens_fit(light: str) -> None:
    terminal = Terminal("--model", light, "--input", str(NATALIA), "--context", "256")
    terminal.shows("tokens: 103 .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    terminal = Terminal("--model", light, "--prompt", "word " * 300, "--context", "256")
    terminal.shows(r"context full \(256/256\): the prompt has 30\d tokens, 256 fit")
    terminal.press(*["left"] * 60)
    terminal.shows("tokens: 24\\d .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def test_no_control_character_of_a_prompt_reaches_the_terminal(tmp_path: Path, light: str) -> None:
    (tmp_path / "evil.txt").write_text("a\x1b]0;title\x07b\x9b31mc\u202ed \x1b[2J")
    terminal = Terminal("--model", light, "--input", "evil.txt")
    terminal.shows("ready")
    for evil in (b"\x1b]0;title", b"\x9b", "\u202e".encode(), b"\x1b[2Jc"):
        assert evil not in terminal.raw.replace("␛".encode(), b"<ESC>")
    assert "␛]0;title␇b" in terminal.text()
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def test_x_saves_into_prompts_what_input_reads_back(terminal: Terminal, tmp_path: Path) -> None:
    terminal.press("x")
    terminal.shows(r"saved prompts/prompt-\d{8}-\d{6}\.txt")
    (saved,) = (tmp_path / "prompts").iterdir()
    assert saved.read_bytes() == NATALIA.read_bytes()
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.parametrize(("rows", "columns"), few([(24, 80), (16, 60), (30, 100)], of=3))
def test_it_can_be_played_at_every_size(rows: int, columns: int, light: str) -> None:
    terminal = Terminal("--model", light, "--input", str(NATALIA), rows=rows, columns=columns)
    terminal.shows("tokens: 103 .*ready")
    terminal.press("end")
    terminal.until(lambda _: terminal.selected()[:1] == ["30"])
    terminal.press("left")
    terminal.shows("tokens: 102 .*ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


def test_resizing_redraws_at_once(terminal: Terminal) -> None:
    terminal.child.setwinsize(10, 50)
    terminal.screen.resize(10, 50)
    terminal.shows("tokex-gguf needs 60x16 cells")
    terminal.collect(0.6)
    before = len(terminal.raw)
    terminal.child.setwinsize(24, 80)
    terminal.screen.resize(24, 80)
    terminal.shows("tokens: 103 .*ready")
    terminal.collect(0.6)
    assert terminal.raw[before:].count(b"Prompt 1/1") == 1, "and once"
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
