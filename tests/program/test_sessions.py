"""Sessions as players meet them: one for each game, gone on with, listed, shared, and saved on bad disks."""

import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.commands import run
from tests.sampling import few
from tests.terminal import Terminal
from tokex_gguf.play.game import Settings
from tokex_gguf.play.screens import Input
from tokex_gguf.play.session import Session
from tokex_gguf.sessions import codec
from tokex_gguf.values.model_ref import GgufFile

READY = r" ready"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, light: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (tmp_path / light).exists()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tokex-gguf" / "sessions"


def saved(folder: Path) -> dict[str, Session]:
    """The sessions on the disk, by name."""
    newest = (path for path in folder.glob("*.json") if not path.name.endswith(".1.json"))
    return {path.stem: codec.load(path.read_bytes(), Settings("", GgufFile(""))) for path in newest}


def begin(*arguments: str, program: str = "", **more: str) -> Terminal:
    """The program on a terminal; `program` is Python that is run before it."""
    if not program:
        return Terminal(*arguments, **more)  # type: ignore[arg-type]
    command = [sys.executable, "-c", f"{program}\nimport sys\nfrom tokex_gguf.__main__ import run\nsys.exit(run())"]
    return Terminal(command=[*command, *arguments], **more)  # type: ignore[arg-type]


def quits(terminal: Terminal, code: int = 0) -> str:
    """Quits the program; what it wrote below the screen that it left."""
    terminal.press("ctrl-q")
    assert terminal.ends() == code, terminal.text()
    return terminal.text()


def appends(terminal: Terminal, depth: int) -> None:
    terminal.press("right")
    terminal.shows(rf"tokens: {depth} .*ready")


def once(model: str = "light.gguf") -> Terminal:
    terminal = begin("--model", model, "--prompt", "Once upon a time")
    terminal.shows(r"tokens: 4 .*ready")
    return terminal


# --- one session for each game


def test_a_start_that_plays_nothing_keeps_nothing(folder: Path) -> None:
    terminal = once()
    terminal.press("e", "down", ",", "?")
    terminal.shows("Select the first row")
    terminal.press("esc")
    terminal.until(lambda text: "Select the first row" not in text)
    assert "to go on" not in quits(terminal)
    terminal = begin("--model", "light.gguf", "--session", "mine")
    terminal.shows(READY)
    quits(terminal)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_resuming_goes_on_in_the_same_session(folder: Path) -> None:
    terminal = once()
    appends(terminal, 5)
    assert "to go on: tokex-gguf --resume\n" in "\n".join(line.rstrip() for line in quits(terminal).splitlines())
    (name,) = saved(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    terminal = begin("--resume")
    terminal.shows(r"tokens: 5 .*ready")
    terminal.press(",")
    terminal.shows("looking at 5")
    assert "to go on: tokex-gguf --resume" in quits(terminal)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before, "nothing was played"
    terminal = begin("--resume")
    terminal.shows(r"tokens: 5 .*ready")
    appends(terminal, 6)
    quits(terminal)
    assert [session.game.prompt.tip.depth for session in saved(folder).values()] == [6] and list(saved(folder)) == [
        name
    ]
    terminal = begin("--model", "light.gguf", "--session", name)
    terminal.shows(r"tokens: 6 .*ready")
    appends(terminal, 7)
    quits(terminal)
    assert list(saved(folder)) == [name]


def test_naming_is_renaming(folder: Path) -> None:
    terminal = once()
    appends(terminal, 5)
    terminal.press("\x13", "mine", "\r")
    terminal.shows("kept as mine")
    assert list(saved(folder)) == ["mine"]
    terminal.press("right", "\x13", "\x15", "another", "\r")
    terminal.shows("kept as another")
    said = quits(terminal)
    assert "to go on: tokex-gguf --session another" in said
    assert list(saved(folder)) == ["another"] and saved(folder)["another"].game.prompt.tip.depth == 6


def test_commands_of_sessions(folder: Path) -> None:
    terminal = once()
    terminal.press("\x13", "mine", "\r")
    terminal.shows("kept as mine")
    listed = run("sessions").stdout
    assert re.search(
        r"^ 1\* Once upon a time  \d{4}-\d\d-\d\d \d\d:\d\d        1       4  tiny llama .*  mine$", listed, re.M
    )
    for command in (("rm", "mine"), ("rename", "mine", "other")):
        done = run("sessions", *command)
        assert done.returncode == 2 and "mine is open in another program" in done.stderr
    quits(terminal)
    assert "\n 1  " in run("sessions").stdout
    done = run("sessions", "rename", "mine", "other/x")
    assert done.returncode == 2 and "not a name of a session" in done.stderr
    assert run("sessions", "rename", "mine", "yours").returncode == 0
    done = run("sessions", "rm", "mine", "yours", "../yours")
    assert done.returncode == 2 and "there is no session mine" in done.stderr and done.stderr.count("\n") == 2
    assert list(folder.iterdir()) == []


def test_sessions_fit_the_terminal_and_are_named_by_a_few_characters(folder: Path) -> None:
    terminal = begin(
        "--model", "light.gguf", "--prompt", "Once upon a time there was a little girl who lived in a village"
    )
    terminal.shows(r" ready")
    terminal.press("right")
    terminal.shows(r"known, 0 tokens  ready|ms  ready")
    quits(terminal)
    (name,) = saved(folder)
    terminal = Terminal("sessions", rows=24, columns=80)
    assert terminal.ends() == 0
    (line,) = [line.rstrip() for line in terminal.text().splitlines() if "Once upon a" in line]
    assert line.startswith(" 1  Once upon a time") and "today " in line and line.endswith(name[-4:])
    assert run("sessions", "rename", name[-4:], "mine").returncode == 0 and list(saved(folder)) == ["mine"]


# --- in the program


def listed(terminal: Terminal) -> None:
    terminal.press("y")
    terminal.shows(r"\d+ sessions? ")


def test_another_session_is_gone_on_with_and_nothing_of_this_one_is_lost(folder: Path) -> None:
    first = once()
    appends(first, 5)
    quits(first)
    (before,) = saved(folder)
    terminal = begin("--model", "bundled", "--prompt", "The cat sat")
    terminal.shows(r"tokens: 3 .*ready")
    appends(terminal, 4)
    terminal.press("i", " never sent")
    terminal.shows("go on with:  never sent")
    terminal.press("esc")
    terminal.until(lambda text: "go on with:" not in text)
    terminal.press("d", "right")
    terminal.shows(r"Prompt 2/2 +tokens: 5 .*ready")
    listed(terminal)
    terminal.press("once", "\r")
    terminal.shows(r"this is the session of today \d\d:\d\d: y lists the others")
    terminal.shows(r"Prompt 1/1 +tokens: 5 .*known, 0 tokens  ready")
    assert "Once upon a time" in terminal.text()
    other = next(name for name in saved(folder) if name != before)
    session = saved(folder)[other]
    assert [prompt.tip.depth for prompt in session.game.prompts] == [4, 5] and session.unfinished(
        Input
    ) == " never sent"
    assert not (folder / f"{other}.lock").exists() and (folder / f"{before}.lock").exists()
    appends(terminal, 6)
    # And back, as often as one likes: what is played last is there.
    listed(terminal)
    terminal.press("cat", "\r")
    terminal.shows(r"Prompt 2/2 +tokens: 5 .*known, 0 tokens  ready")
    appends(terminal, 6)
    quits(terminal)
    found = {name: session.game.prompt.tip.depth for name, session in saved(folder).items()}
    assert found == {before: 6, other: 6}
    assert not list(folder.glob("*.lock"))


@pytest.mark.thorough
def test_a_session_that_another_program_plays_is_copied_and_that_is_said(folder: Path) -> None:
    one = begin("--model", "light.gguf", "--session", "mine", "--prompt", "Once upon a time")
    one.shows(r"tokens: 4 .*ready")
    appends(one, 5)
    one.press("\x13", "\r")
    one.shows("kept as mine")
    two = begin("--model", "light.gguf", "--prompt", "The cat sat")
    two.shows(r"tokens: 3 .*ready")
    listed(two)
    two.shows(r" \* mine  Once upon")
    two.press("\r")
    two.shows("the session mine is open in another program: what is played here is kept apart from it")
    two.shows(r"tokens: 5 .*ready")
    appends(two, 6)
    appends(two, 7)
    quits(two)
    quits(one)
    depths = {name: session.game.prompt.tip.depth for name, session in saved(folder).items()}
    assert depths.pop("mine") == 5 and list(depths.values()) == [7]


# --- several models


@pytest.fixture
def two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: dict[str, Path]) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    shutil.copy(tiny["llama"], tmp_path / "models" / "tiny.gguf")


def turns(terminal: Terminal, listed: str, key: str, shows: str) -> None:
    terminal.press("o")
    terminal.shows(listed)
    terminal.press(key, "\r")
    terminal.shows(shows)


@pytest.mark.thorough
@pytest.mark.usefixtures("two_models")
@pytest.mark.parametrize("name", few(["", "mine"], of=2))
def test_the_games_of_two_models_are_both_kept(folder: Path, name: str) -> None:
    terminal = begin("--model", "bundled", "--prompt", "Once upon a time", *(["--session", name] if name else []))
    terminal.shows(r"tokens: 4 .*ready")
    appends(terminal, 5)
    appends(terminal, 6)
    terminal.press("left")
    terminal.shows(r"tokens: 5 .*ready")
    turns(terminal, r"tiny\.gguf .*F32", "up", r"(?s)tiny llama .* ready")
    terminal.press("right")
    terminal.shows(READY)
    said = quits(terminal)
    assert f"--session {name}" in said if name else "--resume" in said
    (session,) = saved(folder).values()
    ((_, other),) = session.other_games.items()
    assert session.game.model and "tiny" in session.game.model.name and other.model and "Smollm2" in other.model.name
    assert other.prompt.tip.depth == 5 and other.prompt.tip.children
    terminal = begin(*(["--session", name] if name else ["--resume"]))
    terminal.shows(r"(?s)tiny llama .* ready")
    turns(terminal, r"bundled .*Q4_1", "down", r"(?s)Smollm2.*tokens: 5 .* ready")
    assert "known, 0 tokens" in terminal.text()
    appends(terminal, 6)
    assert "known, 0 tokens" in terminal.text(), "what was popped is known as well"
    quits(terminal)
    assert len(saved(folder)) == 1


@pytest.mark.thorough
@pytest.mark.usefixtures("two_models")
def test_resuming_with_another_model_is_as_choosing_it(folder: Path) -> None:
    terminal = once("bundled")
    appends(terminal, 5)
    quits(terminal)
    (before,) = (path.read_bytes() for path in folder.glob("*.json") if ".1." not in path.name)
    terminal = begin("--resume", "--model", "models/tiny.gguf")
    terminal.shows(r"(?s)tiny llama .* ready")
    assert "Once upon a time" in terminal.text()
    quits(terminal)
    assert before in [path.read_bytes() for path in folder.glob("*.json")], "nothing was played"
    terminal = begin("--resume", "--model", "models/tiny.gguf")
    terminal.shows(r"(?s)tiny llama .* ready")
    terminal.press("right")
    terminal.shows(READY)
    quits(terminal)
    (session,) = saved(folder).values()
    assert [other.prompt.tip.depth for other in session.other_games.values()] == [5]
    terminal = begin("--resume")
    terminal.shows(r"(?s)tiny llama .* ready")
    quits(terminal)
    terminal = begin("--resume", "--model", "bundled")
    terminal.shows(r"(?s)Smollm2.*tokens: 5 .*known, 0 tokens  ready")
    quits(terminal)


@pytest.mark.usefixtures("two_models")
@pytest.mark.parametrize("kind", few(["missing", "cut off", "refused by llama.cpp"], of=3))
def test_a_start_that_fails_changes_no_session(folder: Path, tmp_path: Path, kind: str) -> None:
    terminal = once()
    appends(terminal, 5)
    quits(terminal)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    bad = tmp_path / "models" / "bad.gguf"
    data = (tmp_path / "models" / "tiny.gguf").read_bytes()
    if kind == "cut off":
        bad.write_bytes(data[:-1000])
    elif kind != "missing":
        bad.write_bytes(data.replace(b"blk.0.attn_q.weight", b"blk.0.attn_z.weight"))
    terminal = begin("--resume", "--model", "models/bad.gguf")
    if kind == "refused by llama.cpp":
        terminal.shows(r"llama\.cpp cannot load this file")
        terminal.shows(r"tokens: 5 .*ready")
        quits(terminal)
    else:
        assert terminal.ends() == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    terminal = begin("--resume")
    terminal.shows(r"tokens: 5 .*known, 0 tokens  ready")
    quits(terminal)


@pytest.mark.usefixtures("two_models")
def test_a_model_that_was_moved_is_known_again(folder: Path, tmp_path: Path) -> None:
    terminal = begin("--model", "models/tiny.gguf", "--prompt", "once upon")
    terminal.shows(READY)
    terminal.press("right")
    terminal.shows(READY)
    quits(terminal)
    (tmp_path / "models" / "tiny.gguf").rename(tmp_path / "moved.gguf")
    terminal = begin("--resume", "--model", "moved.gguf")
    terminal.shows(r"known, 0 tokens  ready")
    terminal.press("right")
    terminal.shows(READY)
    quits(terminal)
    (session,) = saved(folder).values()
    assert not session.other_games and session.game.settings.model.key.endswith("moved.gguf")


@pytest.mark.thorough
@pytest.mark.usefixtures("two_models")
def test_a_session_of_another_model_is_gone_on_with_and_one_without_its_model_is_not(
    folder: Path, tmp_path: Path
) -> None:
    terminal = begin("--model", "models/tiny.gguf", "--session", "small", "--prompt", "once upon")
    terminal.shows(READY)
    terminal.press("right")
    terminal.shows(READY)
    quits(terminal)
    terminal = once("bundled")
    appends(terminal, 5)
    listed(terminal)
    terminal.press("small", "\r")
    terminal.shows("this is the session “small”")
    assert re.search(r"tokex-gguf +tiny llama ", terminal.shows(r"known, 0 tokens  ready"))
    terminal.press("right")
    terminal.shows(r"ms  ready|known, 0 tokens  ready")
    listed(terminal)
    terminal.press("Once upon a time", "\r")
    terminal.shows("this is the session of today")
    assert re.search(r"tokex-gguf +Smollm2 ", terminal.shows(r"tokens: 5 .* ready"))
    (tmp_path / "models" / "tiny.gguf").unlink()
    listed(terminal)
    terminal.press("small", "\r")
    terminal.shows(r"the session stays: the session's model is not there any more: ")
    terminal.shows(r"(?s)Smollm2.*tokens: 5 .* ready")
    appends(terminal, 6)
    quits(terminal)
    assert not list(folder.glob("*.lock"))


# --- two programs


def test_the_second_program_plays_a_copy(folder: Path) -> None:
    one = begin("--model", "light.gguf", "--session", "mine", "--prompt", "Once upon a time")
    one.shows(r"tokens: 4 .*ready")
    two = begin("--model", "light.gguf", "--session", "mine", "--prompt", "Once")
    assert two.ends() == 2 and "the session mine is open in another program" in two.text()
    appends(one, 5)
    one.press("\x13", "\r")
    one.shows("kept as mine")
    two = begin("--session", "mine")
    two.shows("the session mine is open in another program: what is played here is kept apart from it")
    two.shows(r"tokens: 5 .*ready")
    for depth in (6, 7):
        appends(two, depth)
    appends(one, 6)
    assert "to go on: tokex-gguf --session mine" in quits(one)
    assert "--resume" in quits(two)
    found = {name: session.game.prompt.tip.depth for name, session in saved(folder).items()}
    assert found.pop("mine") == 6 and list(found.values()) == [7] and next(iter(found)).startswith("autosave-")


def test_a_killed_program_holds_nothing(folder: Path) -> None:
    terminal = once()
    terminal.press("\x13", "mine", "\r")
    terminal.shows("kept as mine")
    os.kill(terminal.child.pid, signal.SIGKILL)
    terminal.ends()
    assert (folder / "mine.lock").exists()
    terminal = begin("--session", "mine")
    terminal.shows(READY)
    appends(terminal, 5)
    quits(terminal)
    assert {path.name for path in folder.iterdir()} == {"mine.json", "mine.1.json"}


# --- disks

SLOW = """
import os, time
fsync = os.fsync
os.fsync = lambda file: (time.sleep({seconds}), fsync(file))
"""

FULL = """
import os
from pathlib import Path
fsync = os.fsync
def full(file):
    if Path({flag!r}).exists():
        raise OSError(28, "No space left on device")
    fsync(file)
os.fsync = full
"""


@pytest.mark.thorough
def test_quitting_waits_for_a_slow_disk(folder: Path) -> None:
    terminal = begin("--model", "light.gguf", "--prompt", "Once upon a time", program=SLOW.format(seconds=3))
    terminal.shows(r"tokens: 4 .*ready")
    for depth in range(5, 9):
        appends(terminal, depth)
    said = quits(terminal)
    assert "saving what was played: the disk is slow" in said and "to go on" in said
    assert [session.game.prompt.tip.depth for session in saved(folder).values()] == [8]


@pytest.mark.thorough
def test_a_signal_does_not_wait_for_a_slow_disk_and_loses_nothing(folder: Path) -> None:
    terminal = begin("--model", "light.gguf", "--prompt", "Once upon a time", program=SLOW.format(seconds=30))
    terminal.shows(r"tokens: 4 .*ready")
    for depth in range(5, 9):
        appends(terminal, depth)
    time.sleep(1)  # a save is under way
    began = time.monotonic()
    os.kill(terminal.child.pid, signal.SIGTERM)
    assert terminal.ends() == 143
    assert time.monotonic() - began < 10
    assert [session.game.prompt.tip.depth for session in saved(folder).values()] == [8]


@pytest.mark.thorough
def test_naming_and_quitting_keeps_the_newest_state(folder: Path) -> None:
    terminal = begin("--model", "light.gguf", "--prompt", "Once upon a time", program=SLOW.format(seconds=1))
    terminal.shows(r"tokens: 4 .*ready")
    appends(terminal, 5)
    terminal.press("\x13", "mine", "\r", "right", "right")
    terminal.shows(r"tokens: [67] .*ready")
    depth = int(re.findall(r"tokens: (\d)", terminal.text())[0])
    quits(terminal)
    (session,) = saved(folder).values()
    assert session.game.prompt.tip.depth >= depth


def test_a_full_disk_is_told_until_it_is_over_and_where_the_work_is(folder: Path, tmp_path: Path) -> None:
    flag = tmp_path / "full"
    flag.touch()
    full = FULL.format(flag=str(flag))
    terminal = begin("--model", "light.gguf", "--prompt", "Once upon a time", program=full, TMPDIR=str(tmp_path))
    terminal.shows(r"tokens: 4 .*ready")
    appends(terminal, 5)
    terminal.shows("not saved: No space left on device  .*tokens: 5")
    appends(terminal, 6)
    assert "not saved: " in terminal.text(), "it stands"
    terminal.press("\x13", "mine", "\r")
    terminal.shows("(?s)not saved: No space.*not saved: No space")
    said = quits(terminal, 1).replace("\n", "")
    assert "No space left on device" in said
    (rescued,) = tmp_path.glob("tokex-gguf-*.json")
    assert rescued.stat().st_mode & 0o777 == 0o600
    assert codec.load(rescued.read_bytes(), Settings("", GgufFile(""))).game.prompt.tip.depth == 6
    assert str(rescued) in re.sub(r"\s", "", said) and saved(folder) == {}
    # It goes on as the line says, and once there is room the fault is over.
    name = rescued.stem
    rescued.rename(folder / f"{name}.json")
    terminal = begin("--session", name, program=full)
    terminal.shows(r"tokens: 6 .*ready")
    appends(terminal, 7)
    terminal.shows("not saved: ")
    flag.unlink()
    terminal.press("right")
    terminal.until(lambda text: "tokens: 8" in text and "not saved" not in text)
    assert "to go on" in quits(terminal)
    assert [session.game.prompt.tip.depth for session in saved(folder).values()] == [8]


@pytest.mark.thorough
def test_a_session_that_cannot_be_saved_is_not_left(folder: Path, tmp_path: Path) -> None:
    terminal = once()
    appends(terminal, 5)
    quits(terminal)
    flag = tmp_path / "full"
    terminal = begin("--model", "light.gguf", "--prompt", "The cat sat", program=FULL.format(flag=str(flag)))
    terminal.shows(r"tokens: 3 .*ready")
    flag.touch()
    appends(terminal, 4)
    listed(terminal)
    terminal.press("once", "\r")
    terminal.shows("the session stays: it cannot be saved: No space left on device")
    flag.unlink()
    listed(terminal)
    terminal.press("once", "\r")
    terminal.shows(r"Once upon a time(.|\n)*tokens: 5 .*ready")
    assert "not saved" not in terminal.text()
    quits(terminal)
    assert sorted(session.game.prompt.tip.depth for session in saved(folder).values()) == [4, 5]
