"""Headers are read once, and again when their file has changed."""

import json
import os
import sys
from pathlib import Path

import pytest

from tokex_gguf import __version__
from tokex_gguf.models.gguf import metadata
from tokex_gguf.models.gguf.cache import Headers
from tokex_gguf.models.gguf.metadata import BadHeader, Header
from tokex_gguf.system import stamps


@pytest.fixture(autouse=True)
def old_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were just written count as settled."""
    monkeypatch.setattr(stamps, "TIME_RESOLUTION", -(10**18))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is really read."""
    made: list[str] = []

    def watch(name: str) -> None:
        real = getattr(metadata, name)

        def counted(path: Path) -> Header:
            made.append(name)
            about: Header = real(path)
            return about

        monkeypatch.setattr(metadata, name, counted)

    watch("read")
    watch("glance")
    return made


def test_an_unchanged_file_is_read_once(tmp_path: Path, tiny: dict[str, Path], reads: list[str]) -> None:
    for path in tiny.values():
        reads.clear()
        headers = Headers(tmp_path / "headers.json")
        about = headers.read(path)
        assert headers.read(path) == headers.glance(path) == about
        headers.save()
        assert (tmp_path / "headers.json").stat().st_mode & 0o077 == 0 or sys.platform == "win32"
        again = Headers(tmp_path / "headers.json")
        assert again.read(path) == about and again.glance(path) == about
        assert reads == ["read"]


def test_a_glance_is_not_enough_for_a_check(tmp_path: Path, tiny: dict[str, Path], reads: list[str]) -> None:
    headers = Headers(tmp_path / "headers.json")
    headers.glance(tiny["qwen2"])
    headers.read(tiny["qwen2"])
    assert reads == ["glance", "read"]


def test_a_changed_file_is_read_again(tmp_path: Path, tiny: dict[str, Path], reads: list[str]) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny["qwen2"].read_bytes())
    headers = Headers(tmp_path / "headers.json")
    headers.read(path)
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    with pytest.raises(BadHeader):
        headers.read(path)
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))
    headers.read(path)
    assert reads == ["read"] * 3


def test_a_file_of_equal_size_and_time_is_read_again(tmp_path: Path, tiny: dict[str, Path]) -> None:
    """Changed in its place, or put there in the place of another."""
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny["qwen2"].read_bytes())
    headers = Headers(tmp_path / "headers.json")
    headers.read(path)
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[4] = 9  # its version
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BadHeader):
        headers.read(path)
    other = tmp_path / "other.gguf"
    other.write_bytes(data)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    with pytest.raises(BadHeader):
        headers.read(path)


def test_a_file_that_was_written_a_moment_ago_is_not_remembered(
    tmp_path: Path, tiny: dict[str, Path], reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can change once more within the same tick of the file system's clock."""
    monkeypatch.setattr(stamps, "TIME_RESOLUTION", 2 * 10**9)
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny["qwen2"].read_bytes())
    changed = path.stat().st_ctime_ns
    assert not stamps.settled(path.stat(), changed + 10**9) and stamps.settled(path.stat(), changed + 3 * 10**9)
    assert not stamps.settled(path.stat(), changed - 10**12), "a clock that was set back"
    headers = Headers(tmp_path / "headers.json")
    headers.read(path)
    headers.read(path)
    assert reads == ["read"] * 2


FILES = '{"version": VERSION, "files": %s}'


@pytest.mark.parametrize("damage", ["", "[]", "{", "[" * 100_000, "{}", '{"version": VERSION}', FILES % "3",
                                    FILES % '{"PATH": 3}',
                                    FILES % '{"PATH": {"stamp": STAMP}}',
                                    FILES % '{"PATH": {"stamp": STAMP, "checked": true, "header": {}}}',
                                    FILES % '{"PATH": {"stamp": STAMP, "checked": true, "header": []}}'])  # fmt: skip
def test_what_is_remembered_wrongly_is_forgotten(
    damage: str, tmp_path: Path, tiny: dict[str, Path], reads: list[str]
) -> None:
    path, file = tiny["qwen2"], tmp_path / "headers.json"
    stamp = json.dumps(stamps.stamp(path.stat()))
    for name, value in (("VERSION", f'"{__version__}"'), ("PATH", str(path)), ("STAMP", stamp)):
        damage = damage.replace(name, value)
    file.write_text(damage)
    assert Headers(file).read(path).architecture == "qwen2"
    assert reads == ["read"]


def test_what_another_version_checked_is_checked_again(tmp_path: Path, tiny: dict[str, Path], reads: list[str]) -> None:
    file = tmp_path / "headers.json"
    for version in ("0.0.1", __version__, __version__):
        headers = Headers(file)
        headers.read(tiny["qwen2"])
        headers.save()
        file.write_text(file.read_text().replace(f'"{__version__}"', f'"{version}"', 1))
    assert reads == ["read"] * 2


def test_where_nothing_can_be_kept_nothing_is_lost(tmp_path: Path, tiny: dict[str, Path], reads: list[str]) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        headers = Headers(tmp_path / "file" / "headers.json")
        about = headers.read(tiny["qwen2"])
        assert about == headers.read(tiny["qwen2"]) and about.architecture == "qwen2"
        headers.save()
    assert reads == ["read"] * 2, "once at each start"
    assert (tmp_path / "file").read_text() == ""
