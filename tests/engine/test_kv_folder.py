"""Files of cells and answers, and their folder: what was written, or nothing."""

import os
import random
import signal
import stat
import subprocess
import sys
import time
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.figures import Figure
from tokex_gguf.engine import kv_file, kv_folder
from tokex_gguf.engine.kv_file import Foreign, KvPart, PartReader, RawRow, StoredAnswer, UnusablePart, digest
from tokex_gguf.engine.kv_folder import KvFolder, closing
from tokex_gguf.values.distribution import Distribution, TokenLogprob

SEED = int(os.environ.get("CACHE_SEED", "1"))
IDENTITY = "fingerprint\ncells f16\na model (llama Q4_1)"
BUDGET = 1 << 20


def distribution(chance: random.Random, size: int) -> Distribution:
    ids = array("i", (chance.randrange(1000) for _ in range(size)))
    return Distribution(chance.random() * 9, ids, array("d", (-chance.random() for _ in range(size))))


def answer(chance: random.Random, following: int) -> StoredAnswer:
    taken = TokenLogprob(-chance.random(), chance.randrange(1, 999)) if following >= 0 else None
    return StoredAnswer(distribution(chance, chance.randrange(1, 5)), following, taken, chance.random() < 0.5)


def part(tokens: list[int], start: int = 0, seed: int = SEED, answered: int | None = None) -> KvPart:
    chance = random.Random(seed)
    count = len(tokens) if answered is None else answered
    following = [*tokens[1:], -1]
    row = RawRow(chance.randbytes(40), chance.random(), chance.random() < 0.5) if chance.random() < 0.5 else None
    answers = [answer(chance, following[place]) for place in range(count)]
    return KvPart(start, tokens, chance.randint(0, len(tokens)), answers, row)


def told(answers: list[StoredAnswer]) -> list[object]:
    return [
        (one.distribution.entropy_bits, one.distribution.ids, one.distribution.logprobs, *one[1:]) for one in answers
    ]


def written(path: Path, what: KvPart, cells: bytes, before: list[int] | None = None) -> Path:
    with path.open("wb") as file:
        kv_file.write(file, IDENTITY, digest(before or []), what, cells)
    path.chmod(0o600)
    return path


def everything(path: Path) -> list[object]:
    """All that a file tells. Raises Unusable."""
    reader = PartReader(path, IDENTITY)
    try:
        head = [reader.start, reader.tokens, reader.strict, reader.parent]
        return [*head, told(reader.answers()), reader.row(), reader.cells()]
    finally:
        reader.close()


@given(st.integers(0, 2**32), st.integers(1, 20), st.binary(max_size=200), st.integers(0, 10**6))
def test_a_file_tells_what_was_written(tmp_path_factory, seed: int, count: int, cells: bytes, start: int) -> None:  # type: ignore[no-untyped-def]
    chance = random.Random(seed)
    tokens = [chance.randrange(2**31) for _ in range(count)]
    what = part(tokens, start, seed, chance.randint(0, count))
    path = written(tmp_path_factory.mktemp("file") / "one", what, cells, [1, 2])
    assert everything(path) == [start, tokens, what.strict, digest([1, 2]), told(what.answers), what.row, cells]


def test_no_flipped_byte_and_no_cut_is_believed(tmp_path: Path, figure: Figure) -> None:
    path = written(tmp_path / "one", part([5, 6, 7]), bytes(range(100)))
    data = path.read_bytes()
    whole = everything(path)
    for place in range(len(data)):
        for flipped in (1, 0x80, 0xFF):
            path.write_bytes(data[:place] + bytes([data[place] ^ flipped]) + data[place + 1 :])
            with pytest.raises(UnusablePart):
                everything(path)
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(UnusablePart):
            everything(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(UnusablePart):
        everything(path)
    path.write_bytes(data)
    assert everything(path) == whole
    figure(4 * len(data), "damaged files", believed=0)


def test_random_damage_is_never_believed(tmp_path: Path, figure: Figure) -> None:
    chance = random.Random(SEED)
    path = written(tmp_path / "one", part(list(range(40))), chance.randbytes(5000))
    data = path.read_bytes()
    for _ in range(300):
        bad = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(bad))
            bad[at : at + chance.randint(1, 30)] = chance.randbytes(chance.randint(0, 30))
        if bad == data:
            continue
        path.write_bytes(bad)
        with pytest.raises(UnusablePart):
            everything(path)
    figure(300, "damaged files", seed=SEED, believed=0)


def test_what_is_of_another_model_or_version_is_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "one", part([5, 6, 7]), b"cells")
    for other in ("", "x", IDENTITY + "x", IDENTITY.replace("f16", "q8")):
        with pytest.raises(Foreign):
            PartReader(path, other)
    monkeypatch.setattr(kv_file, "VERSION", kv_file.VERSION + 1)
    with pytest.raises(Foreign, match="another version"):
        PartReader(path, IDENTITY)


@pytest.mark.skipif(sys.platform == "win32", reason="no modes, links and pipes there")
def test_only_a_plain_file_that_nobody_else_can_write_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "one", part([5, 6, 7]), b"cells")
    path.chmod(0o620)
    with pytest.raises(Foreign):
        PartReader(path, IDENTITY)
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError):
        PartReader(tmp_path / "link", IDENTITY)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Foreign):
        PartReader(tmp_path / "pipe", IDENTITY)


# --- the folder


def keep(folder: KvFolder, path: list[int], start: int, end: int, budget: int = BUDGET, size: int = 50) -> None:
    folder.keep(part(path[start:end], start), path[:start], bytes(size), budget)


def covered(folder: KvFolder, path: list[int]) -> list[tuple[int, int]]:
    with closing(folder.chain(path)) as links:
        return [(link.reader.start, link.shared) for link in links]


@pytest.fixture
def folder(tmp_path: Path) -> KvFolder:
    return KvFolder(tmp_path / "kv", IDENTITY, whole=False)


def test_a_path_is_found_by_its_longest_beginning(folder: KvFolder) -> None:
    path = list(range(100))
    keep(folder, path, 0, 40)
    keep(folder, path, 40, 80)
    assert covered(folder, path) == [(0, 40), (40, 40)]
    assert covered(folder, path[:60]) == [(0, 40), (40, 20)]
    assert covered(folder, path[:30]) == [(0, 30)]
    assert covered(folder, [*path[:50], 7, 7, 7]) == [(0, 40)], "ten tokens alike are too few to be looked for"
    assert covered(folder, [*path[:60], 7, 7, 7]) == [(0, 40), (40, 20)]
    assert covered(folder, [7, *path[1:]]) == []
    assert covered(folder, []) == []


def test_a_prompt_that_grows_replaces_its_last_part(folder: KvFolder) -> None:
    path = list(range(100))
    for end in range(20, 100, 7):
        keep(folder, path, 0, end)
    assert covered(folder, path) == [(0, 97)]
    assert len(list(folder.place.iterdir())) == 1
    keep(folder, [*path[:50], 7, 8, 9], 0, 53)
    assert covered(folder, path) == [(0, 97)]
    assert covered(folder, [*path[:50], 7, 8, 9]) == [(0, 53)]


def test_where_parts_cannot_be_cut_the_first_one_stays_and_an_uncut_one_serves(tmp_path: Path) -> None:
    folder = KvFolder(tmp_path / "kv", IDENTITY, whole=True)
    path = list(range(100))
    for end in (30, 50, 70, 90):
        keep(folder, path, 0, end)
    assert sorted(kv_folder._parsed(one.name).end for one in folder.place.iterdir()) == [30, 90]  # type: ignore[union-attr]
    assert covered(folder, path[:40]) == [(0, 30)]
    assert covered(folder, path) == [(0, 90)]


def test_what_was_used_longest_ago_goes_first_and_a_path_from_its_end(folder: KvFolder) -> None:
    path, other = list(range(100)), list(range(500, 600))
    for start in (0, 40):
        keep(folder, path, start, start + 40)
    keep(folder, other, 0, 40)
    size = sum(one.size for one in kv_folder.files(folder.root))
    for one in folder.place.iterdir():
        os.utime(one, (1000, 1000))
    with closing(folder.chain(other)) as links:
        folder.touch([link.name for link in links])
    kv_folder.make_room(folder.root, size - 1)
    assert (covered(folder, path), covered(folder, other)) == ([(0, 40)], [(0, 40)])
    kv_folder.make_room(folder.root, size // 2)
    assert (covered(folder, path), covered(folder, other)) == ([], [(0, 40)])


def test_the_budget_is_for_all_models(tmp_path: Path) -> None:
    for model in range(5):
        one = KvFolder(tmp_path / "kv", f"{model}\n{model}", whole=False)
        keep(one, list(range(20)), 0, 20, budget=30_000, size=10_000)
    assert 10_000 < sum(one.size for one in kv_folder.files(tmp_path / "kv")) <= 30_000
    assert len(kv_folder.contents(tmp_path / "kv")) == 2
    assert kv_folder.contents(tmp_path / "kv")[0].model == "4"


def test_cells_of_one_part_after_the_other_are_those_that_were_kept(folder: KvFolder) -> None:
    path = list(range(80))
    sizes = [40_000, 100, 0, 120_001, 5]
    written = [random.Random(size).randbytes(size) for size in sizes]
    for index, cells in enumerate(written):
        start = 16 * index
        folder.keep(part(path[start : start + 16], start), path[:start], cells, 1 << 30, [])
    with closing(folder.chain(path)) as links:
        assert [state.tobytes() for _, state in folder.cells(links)] == written
    (third, *_) = folder.place.glob("48-*")
    damaged = bytearray(third.read_bytes())
    damaged[-7] ^= 1
    third.write_bytes(damaged)
    with closing(folder.chain(path)) as links:
        assert [state.tobytes() for _, state in folder.cells(links)] == written[:3], "up to the damaged ones"
    assert not third.exists()


def test_files_and_folders_are_private(folder: KvFolder) -> None:
    before = os.umask(0)
    try:
        keep(folder, list(range(20)), 0, 20)
    finally:
        os.umask(before)
    if sys.platform != "win32":
        (file,) = folder.place.iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [stat.S_IMODE(one.stat().st_mode) for one in (folder.place, folder.root)] == [0o700] * 2


def test_a_damaged_file_is_removed_and_told_in_one_line(folder: KvFolder, capsys: pytest.CaptureFixture[str]) -> None:
    keep(folder, list(range(20)), 0, 20)
    (file,) = folder.place.iterdir()
    file.write_bytes(file.read_bytes()[:-40] + b"x" * 40)  # the cells
    with closing(folder.chain(list(range(20)))) as (link,):
        with pytest.raises(UnusablePart) as error:
            link.reader.cells()
        folder.distrust(link.name, error.value)
    assert not file.exists()
    keep(folder, list(range(20)), 0, 20)
    file.write_bytes(b"x" + file.read_bytes()[1:])
    assert covered(folder, list(range(20))) == []
    assert not file.exists()
    assert capsys.readouterr().err.count("\n") == 2


def test_what_a_killed_process_left_goes_and_what_is_written_now_stays(folder: KvFolder) -> None:
    keep(folder, list(range(20)), 0, 20)
    old, new = folder.place / ".saving-old", folder.place / ".saving-new"
    for one in (old, new):
        one.write_bytes(b"x")
    os.utime(old, (time.time() - 3600,) * 2)
    kv_folder.tidy(folder.root)
    assert (old.exists(), new.exists()) == (False, True)


def test_clearing_removes_ours_and_nothing_else(folder: KvFolder) -> None:
    keep(folder, list(range(20)), 0, 20)
    theirs = [folder.root / "notes.txt", folder.place / "notes.txt"]
    for one in theirs:
        one.write_text("mine")
    (folder.place / ".saving-x").write_bytes(b"x")
    count, size = kv_folder.clear(folder.root)
    assert count == 1 and size > 50
    assert sorted(one for one in folder.root.rglob("*") if one.is_file()) == sorted(theirs)
    for one in theirs:
        one.unlink()
    assert kv_folder.clear(folder.root) == (0, 0)
    assert list(folder.root.iterdir()) == []


def test_clearing_goes_on_behind_what_cannot_be_removed(folder: KvFolder) -> None:
    keep(folder, list(range(20)), 0, 20)
    (file,) = folder.place.glob("*.kv")
    stuck = [folder.place / f"{start}-{file.name.split('-', 1)[1]}" for start in (0, 5)]
    for one in stuck:
        if not one.exists():
            one.mkdir()
    (folder.place / ".saving-there").mkdir()
    with pytest.raises((IsADirectoryError, PermissionError)):
        kv_folder.clear(folder.root)
    assert not file.exists() and stuck[1].is_dir()


def test_no_folder_and_one_that_cannot_be_read_have_nothing(tmp_path: Path) -> None:
    folder = KvFolder(tmp_path / "none", IDENTITY, whole=False)
    assert covered(folder, [1, 2, 3]) == []
    kv_folder.tidy(folder.root)
    kv_folder.make_room(folder.root, 0)
    assert kv_folder.clear(folder.root) == (0, 0)
    (tmp_path / "file").write_text("no folder")
    assert covered(KvFolder(tmp_path / "file", IDENTITY, whole=False), [1, 2, 3]) == []


# --- several processes

HAMMER = """
import random, sys
from pathlib import Path
from tests.engine.test_kv_folder import BUDGET, IDENTITY, check, keep
from tokex_gguf.engine import kv_folder
from tokex_gguf.engine.kv_folder import KvFolder
folder, seed, rounds, size = KvFolder(Path(sys.argv[1]), IDENTITY, whole=False), *map(int, sys.argv[2:])
chance = random.Random(seed)
found = 0
for count in range(rounds) if rounds else iter(int, 1):
    path = [chance.randrange(3)] * 30 + list(range(100))
    start = chance.choice([0, 40, 80])
    keep(folder, path, start, start + chance.randint(20, 40), budget=3 * size, size=chance.randint(1, size))
    found += check(folder, path)
    if chance.random() < 0.02:
        kv_folder.clear(folder.root)
    if chance.random() < 0.1:
        kv_folder.tidy(folder.root)
print(found)
"""


def check(folder: KvFolder, path: list[int]) -> int:
    """Reads all that there is of a path; nothing is damaged. Returns how many parts there are."""
    with closing(folder.chain(path)) as links:
        at = 0
        for link in links:
            expected = part(path[at : at + len(link.reader.tokens)], at)
            assert link.reader.start == at
            assert told(link.reader.answers())[: link.shared - 1] == told(expected.answers)[: link.shared - 1]
            assert link.reader.cells() == bytes(link.reader.size)
            at += link.shared
        return len(links)


def hammers(folder: Path, count: int, rounds: int, size: int) -> list["subprocess.Popen[str]"]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, str(folder), str(SEED + one), str(rounds), str(size)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for one in range(count)
    ]


@pytest.mark.thorough
def test_two_processes_at_once_damage_nothing(tmp_path: Path, figure: Figure) -> None:
    found = 0
    for process in hammers(tmp_path / "kv", 2, 150, 20_000):
        out, error = process.communicate(timeout=120)
        assert (process.returncode, error) == (0, "")
        found += int(out)
    assert found > 50
    figure(300, "parts written by two processes", seed=SEED, damaged=0)


def stamps(folder: Path) -> set[tuple[Path, int]]:
    """The files that are there, and when each was written."""
    return {(one.path, int(one.used * 1e9)) for one in kv_folder.files(folder)}


def killed(folder: Path, times: int, chance: random.Random) -> int:
    """Kills processes that write; returns how many unfinished files they left. All else is whole."""
    left = 0
    for _ in range(times):
        before = stamps(folder)
        (process,) = hammers(folder, 1, 0, 4_000_000)
        while stamps(folder) == before:
            assert process.poll() is None
            time.sleep(0)
        end = time.monotonic() + chance.random() * 0.05
        while time.monotonic() < end:
            time.sleep(0)
        process.kill()
        assert process.communicate()[1] == ""
        assert process.returncode in (-signal.SIGKILL, 1)
        for one in range(3):
            check(KvFolder(folder, IDENTITY, whole=False), [one] * 30 + list(range(100)))
        left += len(list(folder.glob("*/.saving-*")))
        for one_left in folder.glob("*/.saving-*"):
            os.utime(one_left, (1000, 1000))
        kv_folder.tidy(folder)
        assert not list(folder.glob("*/.saving-*"))
    return left


def test_a_process_killed_while_it_writes_leaves_whole_files(tmp_path: Path, figure: Figure) -> None:
    left = killed(tmp_path / "kv", 3, random.Random(SEED))
    figure(3, "processes killed while they wrote", seed=SEED, unfinished_files=left, damaged=0)


@pytest.mark.soak
def test_many_processes_killed_while_they_write(tmp_path: Path, figure: Figure) -> None:
    left = killed(tmp_path / "kv", 100, random.Random(SEED))
    figure(100, "processes killed while they wrote", seed=SEED, unfinished_files=left, damaged=0)


def test_what_a_clock_that_was_ahead_has_dated_goes_first(tmp_path: Path) -> None:
    old, new = (KvFolder(tmp_path, f"{name}\nmodel", whole=False) for name in ("old", "new"))
    budget = 350_000
    for start in range(3):
        old.keep(KvPart(0, [start] * 80, 0, [], None), [], memoryview(bytes(100_000)), budget)
    later = time.time() + 400 * 86_400
    for file in kv_folder.files(tmp_path):
        os.utime(file.path, (later, later))
    for start in range(3):
        new.keep(KvPart(0, [start] * 80, 0, [], None), [], memoryview(bytes(100_000)), budget)
        with closing(new.chain([start] * 80)) as links:
            assert links, "what is written now stays"


def test_a_part_that_another_one_goes_on_behind_stays_and_one_that_is_gone_is_told(tmp_path: Path) -> None:
    folder = KvFolder(tmp_path, IDENTITY, whole=False)
    tokens = list(range(300))
    first, more = KvPart(0, tokens[:100], 0, [], None), KvPart(100, tokens[100:200], 0, [], None)
    folder.keep(first, [], memoryview(b"cells"), BUDGET)
    names = [kv_folder.name_of(0, tokens[:100], digest([]))]
    assert folder.has(names)
    folder.keep(more, tokens[:100], memoryview(b"cells"), BUDGET)
    folder.keep(KvPart(0, tokens[:150], 0, [], None), [], memoryview(b"cells"), BUDGET)
    assert folder.has(names), "the second goes on behind it"
    with closing(folder.chain(tokens[:200])) as links:
        assert sum(link.shared for link in links) >= 150
    other = [7, *range(1000, 1099)]
    folder.keep(KvPart(0, other[:80], 0, [], None), [], memoryview(b"cells"), BUDGET)
    folder.keep(KvPart(0, other, 0, [], None), [], memoryview(b"cells"), BUDGET)
    assert not folder.has([kv_folder.name_of(0, other[:80], digest([]))])


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner's number")
def test_where_files_get_another_owner_nothing_is_kept(folder: KvFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a server that gives all files to nobody: none would ever be believed."""
    monkeypatch.setattr(os, "getuid", lambda real=os.getuid: real() + 1)
    with pytest.raises(PermissionError, match="not this user's alone"):
        keep(folder, [1, 2, 3], 0, 3)
    assert [path for path in folder.place.rglob("*") if path.is_file()] == []


def test_a_part_that_somebody_reads_need_not_be_replaced(folder: KvFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows no file can be replaced that is open."""
    keep(folder, [1, 2, 3], 0, 3)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(Path, "replace", refuse)
    keep(folder, [1, 2, 3], 0, 3)
    assert covered(folder, [1, 2, 3]) == [(0, 3)]
    with pytest.raises(PermissionError, match="denied"):
        keep(folder, [7, 8, 9], 0, 3)
