"""Private folders, also while other programs remove them."""

import stat
from pathlib import Path

import pytest

from tokex_gguf.system.files import private_folder


def test_parents_are_made_and_are_private_too(tmp_path: Path) -> None:
    folder = tmp_path / "one" / "two"
    private_folder(folder)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (folder, folder.parent)] == [0o700] * 2
    private_folder(folder)


def test_a_folder_that_another_process_removes_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    look = Path.is_dir

    def removed(path: Path) -> bool:
        monkeypatch.setattr(Path, "is_dir", look)
        path.rmdir()
        return look(path)

    monkeypatch.setattr(Path, "is_dir", removed)
    private_folder(folder)
    assert folder.is_dir()


def test_a_file_of_that_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            private_folder(tmp_path / name)
