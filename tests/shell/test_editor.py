"""The player's editor: which one is run, what it may leave, and where a text stays that cannot be taken."""

import os
import shlex
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tokex_gguf.play.messages import Edited, EditFailed
from tokex_gguf.shell.editor import Editor, NoEditor, command, split

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the editors here are shell scripts")

Script = Callable[[str], Path]
SLOW = iter(range(0, 10**9, 60)).__next__
"""A clock by which every editor takes a minute."""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Makes an editor of a shell script that gets the file as $1; texts are kept below tmp_path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "kept"))
    (tmp_path / "kept").mkdir()
    monkeypatch.delenv("VISUAL", raising=False)

    def make(text: str) -> Path:
        path = tmp_path / "editor.sh"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv("EDITOR", str(path))
        return path

    return make


def left(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]


# --- which editor


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vim", ["vim"]),
        ("code --wait", ["code", "--wait"]),
        (r'"C:\Program Files\Vim\gvim.exe"', [r"C:\Program Files\Vim\gvim.exe"]),
        (r'"C:\Program Files\Vim\gvim.exe" --nofork -c "set ft=text"', None),
        (r"'C:/Program Files/x.exe' -w", ["C:/Program Files/x.exe", "-w"]),
        (r"C:\vim\vim.exe -n", [r"C:\vim\vim.exe", "-n"]),
        ("a # b", ["a", "#", "b"]),
    ],
)
def test_windows_commands_keep_their_backslashes_and_lose_their_quotes(text: str, expected: list[str] | None) -> None:
    expected = expected or [r"C:\Program Files\Vim\gvim.exe", "--nofork", "-c", "set ft=text"]
    assert split(text, windows=True) == expected


@pytest.mark.parametrize("text", ["vim", "emacsclient -nw -a ''", r"my\ editor -x", "'my editor' \"-x y\"", "a#b #c"])
def test_other_systems_commands_are_read_as_by_a_shell(text: str) -> None:
    assert split(text, windows=False) == shlex.split(text)


def test_visual_goes_before_editor_and_blank_is_unset() -> None:
    assert command({"VISUAL": "a", "EDITOR": "b"}).arguments == ["a"]
    assert command({"VISUAL": "  ", "EDITOR": "b"}) == (["b"], "EDITOR=b")


def test_a_path_with_blanks_needs_no_quotes_where_it_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "my editor"
    path.write_text("")
    assert command({"EDITOR": str(path)}, windows=True).arguments == [str(path)]
    assert command({"EDITOR": str(path)}, windows=False).arguments == [str(path)]


def test_on_windows_the_program_is_looked_for_as_its_shell_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: rf"C:\bin\{name}.cmd")
    assert command({"EDITOR": "code --wait"}, windows=True).arguments == [r"C:\bin\code.cmd", "--wait"]


def test_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert command({"EDITOR": "~/bin/ed -p"}, windows=False).arguments == ["/home/me/bin/ed", "-p"]


def test_no_editor_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(NoEditor, match="no vi and no nano; set EDITOR to one"):
        command({})


# --- every way to fail names what was run and why


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("EDITOR", "nosuch", "EDITOR=nosuch cannot be run (No such file or directory): set it to an editor"),
        ("VISUAL", "nosuch -w", "VISUAL=nosuch -w cannot be run (No such file or directory)"),
        ("EDITOR", "/", "EDITOR=/ cannot be run (Permission denied)"),
        ("EDITOR", "vim 'x", "EDITOR=vim 'x cannot be read as a command (No closing quotation)"),
        ("EDITOR", '""', 'EDITOR="" cannot be run'),
        ("EDITOR", "x\x1b[31m" + "y" * 60, "EDITOR=…/x␛[31myyyyyyyyyyyyyyyyyyyyyyyy… cannot be run"),
        ("EDITOR", f"/{'long/' * 20}nano -w", "EDITOR=…/nano cannot be run (No such file or directory)"),
        ("EDITOR", "false", "EDITOR=false ended with exit code 1"),
        ("EDITOR", "sh -c 'kill -9 $$'", "EDITOR=sh -c 'kill -9 $$' was ended by SIGKILL"),
        ("EDITOR", "sh -c 'exit 127'", "EDITOR=sh -c 'exit 127' ended with exit code 127"),
    ],
)
def test_a_failure_names_what_was_run_and_why(
    variable: str, value: str, told: str, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script("")
    monkeypatch.setenv(variable, value)
    outcome = Editor(SLOW).edit("text")
    assert isinstance(outcome, EditFailed)
    assert outcome.reason.startswith(told) and outcome.reason.isprintable() and not outcome.kept
    assert left(tmp_path) == [], "nothing was edited, so nothing is kept"


def test_a_file_that_is_no_program(tmp_path: Path, script: Script) -> None:
    script("").write_text("no program")
    outcome = Editor(SLOW).edit("text")
    assert isinstance(outcome, EditFailed) and "Exec format error" in outcome.reason
    script("").chmod(0o600)
    outcome = Editor(SLOW).edit("text")
    assert isinstance(outcome, EditFailed) and "Permission denied" in outcome.reason
    assert left(tmp_path) == []


def test_no_room_for_the_file(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    script("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    outcome = Editor(SLOW).edit("text")
    assert isinstance(outcome, EditFailed) and "No such file or directory" in outcome.reason


# --- what it leaves


def written(data: bytes, script: Script, before: str = "text") -> Edited | EditFailed:
    shell = "".join(f"\\{byte:03o}" for byte in data)
    script(f"printf '%b' '{shell}' > \"$1\"".replace("\\", "\\0"))
    return Editor(SLOW).edit(before)


@pytest.mark.parametrize(
    ("data", "before", "text"),
    [
        (b"new\n", "text", "new\n"),
        (b"\xef\xbb\xbfnew", "text", "new"),
        (b"a\r\nb\r\n", "text", "a\nb\n"),
        (b"\xef\xbb\xbfa\r\nb\r\n", "a\nb", "a\nb\n"),
        (b"a\r\nb\r\n", "x\r\ny", "a\r\nb\r\n"),
        (b"a\r\nb\n", "text", "a\r\nb\n"),
        ("né\r\nw".encode("utf-16"), "text", "né\nw"),
        ("né\nw".encode("utf-32"), "text", "né\nw"),
        (b"\xef\xbb\xbfmore", "\ufefftext", "\ufeffmore"),
        (b"", "text", ""),
        ("zwj \u200d nbsp \xa0".encode(), "text", "zwj \u200d nbsp \xa0"),
    ],
)
def test_the_texts_of_all_editors(data: bytes, before: str, text: str, script: Script, tmp_path: Path) -> None:
    assert written(data, script, before) == Edited(text)
    assert left(tmp_path) == [], "what was taken is not kept twice"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"caf\xe9", "not UTF-8 at byte offset 3: save it as UTF-8"),
        ("hello".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"a\0b", "not text: a zero byte"),
    ],
)
def test_what_is_no_text_is_told_and_kept(data: bytes, told: str, script: Script, tmp_path: Path) -> None:
    outcome = written(data, script)
    assert isinstance(outcome, EditFailed) and told in outcome.reason
    (path,) = left(tmp_path)
    assert outcome.kept == str(path) and path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("exit 3", "ended with exit code 3"),
        ("kill -9 $$", "was ended by SIGKILL"),
        ("kill -TERM $$", "was ended by SIGTERM"),
    ],
)
def test_what_was_written_before_it_failed_is_kept(end: str, told: str, script: Script) -> None:
    script(f'umask 0; rm "$1"; printf mine > "$1"; {end}')
    outcome = Editor(SLOW).edit("text")
    assert isinstance(outcome, EditFailed) and told in outcome.reason
    assert Path(outcome.kept).read_text() == "mine"
    assert stat.S_IMODE(Path(outcome.kept).stat().st_mode) == 0o600, "also where the editor made it anew"


def test_a_file_beside_it_is_kept_too(script: Script, tmp_path: Path) -> None:
    script('printf "what vim saves when it is killed" > "$(dirname "$1")/.prompt.txt.swp"; kill -9 $$')
    outcome = Editor(SLOW).edit("text")
    assert isinstance(outcome, EditFailed) and outcome.kept
    assert len(left(tmp_path)) == 2


def test_a_file_that_the_editor_removed_is_told(script: Script, tmp_path: Path) -> None:
    script('rm "$1"')
    outcome = Editor(SLOW).edit("text")
    assert isinstance(outcome, EditFailed) and "cannot be read (No such file or directory)" in outcome.reason
    assert not outcome.kept and list((tmp_path / "kept").iterdir()) == []


def test_while_it_runs_nobody_else_can_read_the_text(script: Script, tmp_path: Path) -> None:
    script(f'ls -ld "$1" "$(dirname "$1")" | cut -c1-10 > {tmp_path}/modes; printf x >> "$1"')
    before = os.umask(0)
    try:
        assert Editor(SLOW).edit("text") == Edited("textx")
    finally:
        os.umask(before)
    assert (tmp_path / "modes").read_text().split() == ["drwx------", "-rw-------"]


def test_an_editor_that_is_ended_leaves_its_text(script: Script, tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    script(f'printf mine > "$1"; echo > {started}; exec sleep 100')
    editor = Editor(SLOW)
    outcome: list[Edited | EditFailed] = []
    thread = threading.Thread(target=lambda: outcome.append(editor.edit("text")))
    thread.start()
    started.read_text()
    editor.end()
    thread.join()
    assert editor.kept and editor.kept.read_text() == "mine"
    assert [one.kept for one in outcome if isinstance(one, EditFailed)] == [str(editor.kept)]
    assert editor.kept, "asked twice, it is still there"


def test_an_editor_that_returns_at_once_is_told_and_its_file_waits(script: Script, tmp_path: Path) -> None:
    name = script("")
    editor = Editor(lambda: 0.0)
    outcome = editor.edit("text")
    assert isinstance(outcome, EditFailed) and "unchanged" in outcome.reason and "option to wait" in outcome.reason
    (path,) = left(tmp_path)
    path.write_text("saved later, in a window")
    assert editor.kept == path, f"what {name} saves later is not lost"


def test_a_file_that_nobody_saved_in_is_removed(script: Script, tmp_path: Path) -> None:
    script("")
    editor = Editor(lambda: 0.0)
    editor.edit("text")
    assert editor.kept is None and left(tmp_path) == []
