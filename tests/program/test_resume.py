"""Coming back: what was played is there again, with its numbers, without a decode."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.commands import refusal, run
from tests.fake import started
from tests.sampling import few
from tests.terminal import Terminal
from tokex_gguf.cli import main
from tokex_gguf.cli.arguments import make_parser
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Settings
from tokex_gguf.play.messages import NameSession, SaveFailed, SessionSaved, Typed
from tokex_gguf.sessions import codec
from tokex_gguf.sessions.autosave import Autosave, Rescued
from tokex_gguf.sessions.store import Slot
from tokex_gguf.values.model_ref import GgufFile

NATALIA = Path(__file__).parent.parent.parent / "prompts" / "natalia.txt"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, light: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (tmp_path / light).exists()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def sessions(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "state" / "tokex-gguf" / "sessions").glob("*.json"))


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tokex_gguf", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def body(terminal: Terminal) -> list[str]:
    """The screen without the cost of the last key."""
    return [re.sub(r"(known, )?\d+ tokens?(, \d+ ms)?  ready", "ready", line) for line in terminal.screen.display]


def played() -> Terminal:
    """A game with two prompts, a layer, a pop, and a look back."""
    terminal = Terminal("--model", "light.gguf", "--input", str(NATALIA))
    terminal.shows(r"tokens: 103 .* ready")
    terminal.press("L")  # the column `ahead` fills while one looks, and is not all saved
    terminal.shows("where each row leads to is hidden")
    terminal.press("e")
    terminal.shows("probability 0")
    terminal.press("d")
    terminal.shows("Prompt 2/2")
    terminal.press("left")
    terminal.shows(r"tokens: 102 .* ready")
    terminal.press(",")
    terminal.shows("looking at 102")
    return terminal


def looks_back(path: Path) -> bool:
    """Whether the session in a file is the one that `played` leaves."""
    session = codec.load(path.read_bytes(), Settings("", GgufFile("")))
    return len(session.game.prompts) == 2 and session.game.prompts[1].cursor is not None


@pytest.mark.parametrize("end", few(["quit", "SIGHUP", "killed"], of=3))
def test_what_was_on_the_screen_is_there_again_without_a_decode(end: str, tmp_path: Path) -> None:
    terminal = played()
    before = body(terminal)
    if end == "quit":
        terminal.press("ctrl-q")
        assert terminal.ends() == 0
    elif end.startswith("SIG"):
        os.kill(terminal.child.pid, signal.Signals[end])
        assert terminal.ends() == 128 + signal.Signals[end]
    else:
        folder = tmp_path / "state" / "tokex-gguf" / "sessions"
        deadline = time.monotonic() + 20
        while not any(looks_back(path) for path in folder.glob("*.json")):
            assert time.monotonic() < deadline, "saved a second after the change, on a quiet machine"
            terminal.pump()
        os.kill(terminal.child.pid, signal.SIGKILL)
        terminal.ends()
    assert len([name for name in sessions(tmp_path) if not name.endswith(".1.json")]) == 1
    again = Terminal("--resume")
    again.shows(r"Prompt 2/2 .* ready")
    assert body(again) == before
    assert "known, 0 tokens" in again.text()
    again.press("]")
    again.shows(r"tokens: 102 (?!.*looking).*known, 0 tokens  ready")
    again.press("right")
    again.shows(r"tokens: 103 .*known, 0 tokens  ready")
    again.press("ctrl-q")
    assert again.ends() == 0


def test_a_session_with_a_name(tmp_path: Path) -> None:
    terminal = Terminal("--model", "light.gguf", "--prompt", "Once upon a time")
    terminal.shows(" ready")
    terminal.press("\x13")
    terminal.shows("name of this session:")
    terminal.press("no/good", "\r")
    terminal.shows("1 to 64 letters")
    terminal.press("\x15", "my tale", "\r")
    terminal.shows("kept as my tale: tokex-gguf --session 'my tale' comes back to it")
    terminal.press("right")
    terminal.shows(r"tokens: 5 .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    assert "my tale.json" in sessions(tmp_path)
    listed = run("sessions")
    assert listed.returncode == 0
    line = r"^ 1  Once upon a time.*  \d{4}-\d\d-\d\d \d\d:\d\d        1       5  tiny llama .*  my tale$"
    assert re.search(line, listed.stdout, re.M), listed.stdout
    again = Terminal("--session", "my tale")
    again.shows(r"tokens: 5 .* ready")
    # Two sessions never share a name by accident.
    again.press("\x13", "\x15", "other", "\r")
    again.shows("kept as other")
    assert "my tale.json" not in sessions(tmp_path)
    (tmp_path / "state" / "tokex-gguf" / "sessions" / "taken.json").write_text("somebody's")
    again.press("\x13", "\x15", "taken", "\r")
    again.shows("not saved: there is a session taken already")
    again.press("ctrl-q")
    assert again.ends() == 0


@pytest.mark.thorough
def test_what_is_kept_is_offered_at_the_start_and_can_be_chosen(tmp_path: Path) -> None:
    for name, text in (("first", "Once upon"), ("second", "The cat\x1b[2J")):
        terminal = Terminal("--model", "light.gguf", "--session", name, "--prompt", text)
        terminal.shows(" ready")
        assert "--resume" not in terminal.text(), "another one was asked for"
        terminal.press("right")
        terminal.shows("known, |tokens?, ")
        terminal.press("ctrl-q")
        assert terminal.ends() == 0
    folder = tmp_path / "state" / "tokex-gguf" / "sessions"
    (folder / "third.json").write_text("no session")
    os.utime(folder / "third.json", (1, 1))
    listed = run("sessions").stdout.splitlines()[1:]
    expected = [
        r" 1  The cat␛\[2J.* 7  tiny llama .* second$",
        r" 2  Once upon.* 3  tiny llama .* first$",
        rf" 3  third: cannot be read: {re.escape(str(folder))}/third\.json: not JSON: cut off or damaged$",
    ]
    assert len(listed) == 3
    assert all(re.match(line, told) for line, told in zip(expected, listed, strict=True)), listed
    terminal = Terminal("--model", "light.gguf")
    terminal.shows("the session “second” is kept: start with --resume to go on with it")
    terminal.shows(" ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    assert not any(name.startswith("autosave") for name in sessions(tmp_path)), "nothing was played"
    again = Terminal("--resume", "2")
    again.shows(r"Once upon(.|\n)*tokens: 3 .* ready")
    again.press("ctrl-q")
    assert again.ends() == 0
    assert "--resume 9: tokex-gguf sessions lists 3" in refusal("--resume", "9")


def test_a_game_with_the_example_is_kept_once_it_is_played(tmp_path: Path) -> None:
    terminal = Terminal("--model", "light.gguf")
    terminal.shows(" ready")
    terminal.press("right")
    terminal.shows(" ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    assert len(sessions(tmp_path)) == 1


def test_a_damaged_file_falls_back_to_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "tokex-gguf" / "sessions"
    folder.mkdir(parents=True)
    (folder / "mine.json").write_bytes(codec.dump(started("abcd").session)[:-100])
    (folder / "mine.1.json").write_bytes(codec.dump(started("abc").session))
    kept = main._open_session(make_parser().parse_args(["--session", "mine"]))
    assert "the newest session file was unreadable" in kept.notice
    assert kept.session is not None and kept.session.game.prompt.tip.depth == 3
    kept.slot.close()


@pytest.mark.thorough
def test_another_model_in_the_same_file_is_noticed_and_told(tmp_path: Path, tiny: dict[str, Path]) -> None:
    shutil.copy(tiny["llama"], tmp_path / "model.gguf")
    terminal = Terminal("--model", "model.gguf", "--session", "mine", "--prompt", "once upon")
    terminal.shows(r" ready")
    terminal.press("right")
    terminal.shows(r" ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    newest = tmp_path / "state" / "tokex-gguf" / "sessions" / "mine.json"
    before = newest.read_bytes()
    shutil.copy(tiny["qwen2"], tmp_path / "model.gguf")
    again = Terminal("--session", "mine")
    again.shows("another model")
    assert "once upon" in again.text()
    again.press("r")
    again.shows("another model")
    again.press("ctrl-q")
    assert again.ends() == 0
    assert newest.read_bytes() == before
    shutil.copy(tiny["llama"], tmp_path / "model.gguf")
    again = Terminal("--session", "mine")
    again.shows("known, 0 tokens  ready")
    again.press("ctrl-q")
    assert again.ends() == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--resume",), "there is no session to go on with yet"),
        (("--resume", "0"), "expected a whole number from 1"),
        (("--resume", "last"), "expected a whole number from 1"),
        (("--session", "../up"), "a name has 1 to 64 letters"),
        (("--resume", "--session", "a"), "leave it or --session out"),
        (("--resume", "--prompt", "a"), "not allowed with argument"),
    ],
)
def test_what_cannot_be_gone_on_with_is_one_line(arguments: tuple[str, ...], expected: str) -> None:
    told = refusal(*arguments)
    assert expected in told and "Traceback" not in told


def test_sessions_need_the_screen() -> None:
    for option in (("--resume",), ("--session", "a")):
        done = program(*option, "--plain")
        assert done.returncode == 2 and "need the screen" in done.stderr
    done = program("--plain", "--model", "light.gguf", "--prompt", "a")
    assert done.returncode == 0
    assert run("sessions").stdout == "", "nothing is kept of what is only printed"


# --- the rules


def test_naming_is_a_mode_of_its_own() -> None:
    play = started().press(Action.NAME)
    assert isinstance(play.session.screen, screens.Name)
    play.take(Typed("my tale "))
    play.take(Action.ENTER)
    assert play.effects[0] == NameSession("my tale") and isinstance(play.session.screen, screens.Play)
    play.take(SessionSaved("my tale"))
    assert play.session.name == "my tale"
    assert play.press(Action.NAME).session.line.text == "my tale"
    play.press(Action.CLOSE)
    assert isinstance(play.session.screen, screens.Play) and play.session.game.ready


def test_failures_are_told_and_the_game_goes_on(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "file").write_text("")
    autosave = Autosave(Slot(tmp_path / "file"), told.append, told.append)
    play = started()
    autosave.follow(play.session, 1)
    reason = autosave.rename("mine", play.session, 1)
    assert reason
    end = autosave.close(5.0, threading.Event(), lambda: None)
    assert told and isinstance(end, Rescued)
    assert codec.load(end.path.read_bytes(), Settings("", GgufFile(""))).game.prompt.tip.depth == 5
    end.path.unlink()
    play.take(SaveFailed(reason))
    assert play.session.notice.startswith("not saved: ")
