"""The file through which two engines compare: this user's alone, and gone at the end, also after a crash."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tokex_gguf.shell.rows import RowsFolder
from tokex_gguf.system import locks


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.skipif(sys.platform == "win32", reason="modes are others there")
def test_it_is_this_users_alone(tmp_path: Path) -> None:
    rows = RowsFolder(tmp_path / "rows")
    file = rows.file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert file.stat().st_size == 0
    rows.close()
    assert everything(tmp_path) == [tmp_path / "rows"]


def test_a_newer_one_takes_its_place(tmp_path: Path) -> None:
    rows = RowsFolder(tmp_path)
    first, second = rows.file(), rows.file()
    assert first != second and not first.exists() and second.exists()
    rows.close()
    rows.close()
    third = rows.file()
    assert third.exists()
    rows.close()


def test_what_a_killed_program_left_is_removed_and_what_is_used_stays(tmp_path: Path) -> None:
    here = RowsFolder(tmp_path)
    used = here.file()
    code = "import os, pathlib, sys; from tokex_gguf.shell.rows import RowsFolder; "
    code += "print(RowsFolder(pathlib.Path(sys.argv[1])).file()); sys.stdout.flush(); os._exit(9)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    left = Path(done.stdout.strip())
    assert left.exists()
    again = RowsFolder(tmp_path)
    again.file()
    assert not left.parent.exists() and used.exists()
    again.close()
    here.close()
    assert everything(tmp_path) == []


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("a file")
    with pytest.raises(OSError):
        RowsFolder(tmp_path / "rows").file()


def test_without_locks_no_program_takes_anothers_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> bool:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(locks, "_try", none)
    first, second, third = RowsFolder(tmp_path), RowsFolder(tmp_path), RowsFolder(tmp_path)
    used = first.file()
    second.file()
    assert used.exists()
    second.close()
    # What is left of a day ago is nobody's.
    old = time.time() - 100_000
    os.utime(used.parent.with_suffix(".lock"), (old, old))
    third.file()
    assert not used.exists()
    assert first.file().exists(), "and whoever has it still makes another folder"
    first.close()
    third.close()
    assert everything(tmp_path) == []


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    rows = RowsFolder(tmp_path)
    shutil.rmtree(rows.file().parent)
    assert rows.file().exists()
    rows.close()
    assert everything(tmp_path) == []
