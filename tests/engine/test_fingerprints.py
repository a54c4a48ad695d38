"""What tells a model's files from all others, and which numbers may stand side by side."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake import started
from tests.terminal import Terminal
from tokex_gguf.engine.protocol import Loaded
from tokex_gguf.engine.worker import fingerprints
from tokex_gguf.engine.worker.fingerprints import Fingerprints, former
from tokex_gguf.play.messages import EngineReplied, Send
from tokex_gguf.play.requests import begin
from tokex_gguf.play.session import Session
from tokex_gguf.play.update import update
from tokex_gguf.system import stamps


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[list[Path]]:
    """The files that were really read. Those that were just written count as settled."""
    monkeypatch.setattr(stamps, "TIME_RESOLUTION", -(10**18))
    made: list[list[Path]] = []
    real = fingerprints.content

    def counted(files: list[Path]) -> str:
        made.append(files)
        return real(files)

    monkeypatch.setattr(fingerprints, "content", counted)
    return made


def split(folder: Path, size: int = 3 << 20) -> list[Path]:
    """A model of two files, with nothing in them but noise."""
    parts = [folder / f"m-0000{index}-of-00002.gguf" for index in (1, 2)]
    for part in parts:
        part.write_bytes(os.urandom(1 << 10) * (size >> 10))
    return parts


def change(path: Path, at: int) -> None:
    """Another byte there, and the same size and time."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        (old,) = file.read(1)
        file.seek(at)
        file.write(bytes([old ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("at", [0, 70_000, 1 << 20, (3 << 20) // 2, (3 << 20) - 70_000, (3 << 20) - 1])
def test_every_byte_counts(part: int, at: int, tmp_path: Path, reads: list[list[Path]]) -> None:
    """Of every part, and of what is remembered nothing is taken for what it is not."""
    parts = split(tmp_path)
    known = Fingerprints(tmp_path / "fingerprints.json")
    before = known.of(parts[0])
    assert known.of(parts[0]) == before and len(reads) == 1
    change(parts[part], at)
    assert known.of(parts[0]) != before
    change(parts[part], at)
    assert known.of(parts[0]) == before


@pytest.mark.usefixtures("reads")
def test_a_file_put_in_the_place_of_another_is_read(tmp_path: Path) -> None:
    parts = split(tmp_path)
    known = Fingerprints(tmp_path / "fingerprints.json")
    before = known.of(parts[0])
    other = tmp_path / "other"
    shutil.copy2(parts[1], other)
    change(other, 5)
    other.replace(parts[1])
    assert known.of(parts[0]) != before


@pytest.mark.usefixtures("reads")
def test_a_copy_is_the_same_model(tmp_path: Path) -> None:
    parts = split(tmp_path)
    (tmp_path / "there").mkdir()
    for part in parts:
        shutil.copy(part, tmp_path / "there" / part.name)
    known = Fingerprints(tmp_path / "fingerprints.json")
    assert known.of(parts[0]) == known.of(tmp_path / "there" / parts[0].name)


def test_young_files_are_not_remembered(tmp_path: Path) -> None:
    Fingerprints(tmp_path / "fingerprints.json").of(split(tmp_path)[0])
    assert not (tmp_path / "fingerprints.json").exists()


@pytest.mark.usefixtures("reads")
@pytest.mark.parametrize("at", [0, 1 << 20, (32 << 20) - 1])
def test_of_large_files_the_beginnings_and_ends_count(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "WHOLE", 8 << 20)
    monkeypatch.setattr(fingerprints, "BEGINNING", 2 << 20)
    parts = split(tmp_path, 32 << 20)
    before = Fingerprints(None).of(parts[0])
    change(parts[1], at)
    assert Fingerprints(None).of(parts[0]) != before


@pytest.mark.usefixtures("reads")
def test_of_large_files_what_lies_between_the_blocks_is_not_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SECURITY.md says: of 32 MiB with every fourth block read, these are the two kinds of bytes."""
    monkeypatch.setattr(fingerprints, "WHOLE", 8 << 20)
    monkeypatch.setattr(fingerprints, "BEGINNING", 2 << 20)
    file = tmp_path / "m.gguf"
    file.write_bytes(bytes(32 << 20))
    noticed = []
    for block in range(32):
        before = Fingerprints(None).of(file)
        change(file, (block << 20) + 5)
        noticed.append(Fingerprints(None).of(file) != before)
    assert noticed[0] and noticed[1] and noticed[31] and 8 <= sum(noticed) < 16


def test_of_large_files_no_more_is_read_than_is_worth_waiting_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "WHOLE", 8 << 20)
    monkeypatch.setattr(fingerprints, "BEGINNING", 2 << 20)
    file = tmp_path / "m.gguf"
    with file.open("wb") as sparse:
        sparse.truncate(4 << 30)
    real, took = hashlib.sha256, [0]

    class Counted:
        def __init__(self, data: bytes) -> None:
            self._digest = real(data)

        def update(self, data: bytes) -> None:
            took[0] += len(data)
            self._digest.update(data)

        def hexdigest(self) -> str:
            return str(self._digest.hexdigest())

    monkeypatch.setattr(hashlib, "sha256", Counted)
    Fingerprints(None).of(file)
    assert took[0] < 16 << 20


@pytest.mark.parametrize("damage", ["", "[", "3", "[]", '{"FILE": 3}', '{"FILE": {"stamps": STAMPS, "content": 3}}'])
def test_what_is_remembered_wrongly_is_forgotten(damage: str, tmp_path: Path, reads: list[list[Path]]) -> None:
    parts = split(tmp_path)
    stamped = json.dumps([stamps.stamp(part.stat()) for part in parts])
    memory = tmp_path / "fingerprints.json"
    memory.write_text(damage.replace("FILE", str(parts[0])).replace("STAMPS", stamped))
    assert len(Fingerprints(memory).of(parts[0])) == 32
    assert len(reads) == 1


NOW = Loaded("m", "llama", "Q4_0", 9, 512, 512, None, False, "content", "ends", "f16", "this build")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"context": 1, "context_limit": 2}, True),
        ({"fingerprint": "ends", "former": "", "cells": "", "arithmetic": ""}, True),
        ({"arithmetic": "another"}, True),
        ({"fingerprint": ""}, False),
        ({"fingerprint": "other"}, False),
        ({"fingerprint": "other", "former": "ends"}, False),
        ({"cells": "q8_0"}, False),
        ({"name": "n"}, False),
        ({"vocab_size": 8}, False),
        ({"bos": 1}, False),
    ],
)
def test_numbers_of_one_model_and_its_cells_stand_side_by_side(changed: dict[str, object], expected: bool) -> None:
    assert NOW.same(replace(NOW, **changed)) is expected  # type: ignore[arg-type]


def test_a_game_goes_on_with_the_cells_that_it_was_begun_with() -> None:
    game = started("abc").session.game
    assert game.model is not None
    _, (_, sent) = begin(Session(replace(game, address=0, model=replace(game.model, cells="q8_0"))))
    assert isinstance(sent, Send) and getattr(sent.request, "kv", "") == "q8_0"


def test_numbers_of_another_build_are_told() -> None:
    session = started("abc").session
    assert session.game.model is not None
    before, now = replace(session.game.model, arithmetic="another"), replace(session.game.model, arithmetic="this one")
    session, _ = update(
        replace(session, game=replace(session.game, model=before)), EngineReplied(session.game.address, now)
    )
    assert "computed by another build or machine" in session.notice
    assert session.game.model == now
    session, _ = update(replace(session, notice=""), EngineReplied(session.game.address, now))
    assert "another build" not in session.notice


def test_the_two_ends_are_as_version_0_1_0_had_them(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(bytes(range(256)) * 1000)
    assert former(tmp_path / "m") == "1474c2532950d314"


def test_a_changed_model_and_other_cells_are_refused(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte in the middle of the weights, at the same size and time; then the first file again, with other cells."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    model = tmp_path / "m.gguf"
    shutil.copy(tiny["llama"], model)
    first = Terminal("--model", str(model), "--session", "a", "--prompt", "Once upon")
    first.shows(r" ready")
    first.press("right")
    first.shows(r" ready")
    first.press("ctrl-q")
    assert first.ends() == 0
    change(model, model.stat().st_size // 2)
    again = Terminal("--session", "a")
    again.shows("another model")
    again.press("ctrl-q")
    again.ends()
    change(model, model.stat().st_size // 2)
    refused = Terminal("--session", "a", "--kv", "q8_0", columns=200)
    assert refused.ends() == 2 and "played with f16 cells" in refused.text()
    back = Terminal("--session", "a", "--kv", "f16")
    back.shows(r"Once upon the(.|\n)* ready")
    back.press("ctrl-q")
    assert back.ends() == 0
