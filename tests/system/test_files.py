"""Private folders, also while other programs remove them; files that only save time."""

import os
import stat
from pathlib import Path

import pytest

from tokex_gguf.engine.worker.fingerprints import Fingerprints
from tokex_gguf.engine.worker.known_models import KnownModels
from tokex_gguf.models.gguf.cache import Headers
from tokex_gguf.system import json_file
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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name on Windows")
@pytest.mark.parametrize("kind", ["pipe", "folder", "zeros", "large", "none"])
def test_a_file_that_only_saves_time_is_empty_where_it_is_no_plain_file(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case "zeros":
            file.symlink_to("/dev/zero")
        case "large":
            with file.open("wb") as sparse:
                sparse.truncate(json_file.MOST_BYTES + 1)
        case _:
            pass
    assert json_file.load(file) == {}
    assert Headers(file)._known == {} and KnownModels(file).noise("a", "b") is None
    assert len(Fingerprints(file).of(Path(__file__))) == 32
