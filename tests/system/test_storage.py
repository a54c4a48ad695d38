"""Saved prompts: each in a new file, whole or not at all, and nothing else left behind."""

import errno
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import pytest

from tokex_gguf.system.files import same_file, save_prompt

NOW = datetime.fromisoformat("2025-03-04T05:06:07")


def refusing(code: int) -> Callable[..., NoReturn]:
    """A stand-in for a system call that fails."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.fixture(params=["hard links", "no hard links"])
def any_file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of file system."""
    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", refusing(errno.EPERM))


@pytest.mark.usefixtures("any_file_system")
@pytest.mark.parametrize("text", [b"", b"Once upon", b"two\nlines\n", b"\xff\x00\r\n", "🐕".encode()])
def test_content_and_a_line_break(tmp_path: Path, text: bytes) -> None:
    path = save_prompt(tmp_path, text, NOW)
    assert path == tmp_path / "prompt-20250304-050607.txt"
    assert path.read_bytes() == text + b"\n"
    assert list(tmp_path.iterdir()) == [path], "no temporary file stays"


@pytest.mark.usefixtures("any_file_system")
def test_nothing_is_overwritten(tmp_path: Path) -> None:
    paths = [save_prompt(tmp_path, b"%d" % number, NOW) for number in range(4)]
    names = ["prompt-20250304-050607.txt", *(f"prompt-20250304-050607-{n}.txt" for n in (2, 3, 4))]
    assert [path.name for path in paths] == names
    assert [path.read_bytes() for path in paths] == [b"0\n", b"1\n", b"2\n", b"3\n"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@pytest.mark.usefixtures("any_file_system")
@pytest.mark.parametrize("kind", ["file", "folder", "broken link"])
def test_whatever_has_the_name_stays(tmp_path: Path, kind: str) -> None:
    taken = tmp_path / "prompt-20250304-050607.txt"
    if kind == "file":
        taken.write_text("mine")
    elif kind == "folder":
        taken.mkdir()
    else:
        taken.symlink_to(tmp_path / "nowhere")
    path = save_prompt(tmp_path, b"new", NOW)
    assert path.name == "prompt-20250304-050607-2.txt"
    assert (taken.is_file() and taken.read_text() == "mine") or taken.is_dir() or taken.is_symlink()
    assert not (tmp_path / "nowhere").exists()


def test_a_file_system_without_modes_takes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a disk of Windows under WSL, where a file's mode cannot be changed."""
    for name in ("chmod", "fchmod", "lchmod"):
        monkeypatch.setattr(os, name, refusing(errno.EPERM), raising=False)
    assert save_prompt(tmp_path / "new" / "folder", b"x", NOW).read_bytes() == b"x\n"


def test_one_file_is_told_from_another_where_none_has_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("a")
    b.write_text("b")
    (tmp_path / "link").symlink_to(a)
    assert same_file(a, a) and same_file(a, tmp_path / "link") and not same_file(a, b)
    stat = Path.stat

    def numberless(path: Path, **named: bool) -> os.stat_result:
        return os.stat_result((*stat(path, **named)[:1], 0, *stat(path, **named)[2:]))

    monkeypatch.setattr(Path, "stat", numberless)
    assert same_file(a, a) and same_file(a, tmp_path / "link") and not same_file(a, b)
    with pytest.raises(FileNotFoundError):
        same_file(a, tmp_path / "none")


def test_other_second_other_name(tmp_path: Path) -> None:
    save_prompt(tmp_path, b"", NOW)
    assert save_prompt(tmp_path, b"", NOW.replace(second=8)).name == "prompt-20250304-050608.txt"


def test_folder_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert save_prompt(folder, b"x", NOW).parent == folder


@pytest.mark.usefixtures("any_file_system")
def test_file_is_whole_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(_: int) -> None:
        assert [path.name.startswith(".saving-") for path in tmp_path.iterdir()] == [True]
        assert next(tmp_path.iterdir()).read_bytes() == b"text\n"
        looked.append(True)

    looked: list[bool] = []
    monkeypatch.setattr(os, "fsync", look)
    save_prompt(tmp_path, b"text", NOW)
    assert looked == [True]


# --- what fails leaves nothing


def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refusing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        save_prompt(tmp_path, b"x", NOW)
    assert list(tmp_path.iterdir()) == []


def test_name_cannot_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    monkeypatch.setattr(os, "open", refusing(errno.EACCES))
    with pytest.raises(PermissionError):
        save_prompt(tmp_path, b"x", NOW)
    assert list(tmp_path.iterdir()) == []


def test_file_cannot_be_put_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hard links the name is taken first: an empty prompt under it would look saved."""
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    monkeypatch.setattr(Path, "replace", refusing(errno.EIO))
    with pytest.raises(OSError):
        save_prompt(tmp_path, b"x", NOW)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs this may write everywhere, so the refusal is acted."""
    monkeypatch.setattr(os, "open", refusing(errno.EACCES))
    with pytest.raises(PermissionError):
        save_prompt(tmp_path, b"x", NOW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "deeper"])
def test_file_where_the_folder_should_be(tmp_path: Path, below: str) -> None:
    (tmp_path / "prompts").write_text("a file")
    with pytest.raises(OSError):
        save_prompt(tmp_path / "prompts" / below, b"x", NOW)
    assert (tmp_path / "prompts").read_text() == "a file"
