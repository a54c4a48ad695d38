"""Sessions on the disk: saved in time, never half, and read back however a program ended."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.fake import started
from tests.figures import Figure
from tokex_gguf import archive, keep
from tokex_gguf.keep import Keeper, Kept, NoSession, autosave_name, names, prune, read, valid_name
from tokex_gguf.keymap import Action

SEED = int(os.environ.get("KEEP_SEED", "1"))
LONG = 10.0


def number(data: bytes) -> int:
    """A document of these tests: `<n>` and as much padding as n says. Raises ValueError."""
    head, _, rest = data.partition(b" ")
    if rest != padding(int(head)):
        raise ValueError("padding: another one")
    return int(head)


def padding(n: int) -> bytes:
    return b"x" * (n * 7919 % 200_000)


def document(n: int) -> bytes:
    return b"%d " % n + padding(n)


def dump(n: int) -> Callable[[], bytes]:
    return lambda: document(n)


class Told(list[str]):
    """What a keeper told."""

    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def keeper(tmp_path: Path, told: Told) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path, "one", told)
    yield keeper
    keeper.close(LONG)


def save(keeper: Keeper, n: int) -> bool:
    keeper.offer(dump(n))
    return keeper.save_now(LONG)


def files(folder: Path) -> dict[str, int]:
    """What is in a folder, and which state each file holds."""
    return {path.name: number(path.read_bytes()) for path in folder.iterdir()}


def failing(code: int) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return fail


# --- saving


def test_the_generation_before_is_kept_beside_the_newest(tmp_path: Path, keeper: Keeper, told: Told) -> None:
    assert save(keeper, 1) and files(tmp_path) == {"one.json": 1}
    assert save(keeper, 2) and files(tmp_path) == {"one.json": 2, "one.1.json": 1}
    assert save(keeper, 3) and files(tmp_path) == {"one.json": 3, "one.1.json": 2}
    assert told == []
    assert read(tmp_path, "one", number) == (3, "")


def test_the_folder_is_made_and_is_for_its_owner(tmp_path: Path, told: Told) -> None:
    keeper = Keeper(tmp_path / "a" / "b", "one", told)
    assert save(keeper, 1)
    assert keeper.close(LONG)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o077 == 0


def test_at_most_a_second_after_a_change_also_while_changes_never_pause(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[float] = []
    monkeypatch.setattr(keep, "save_generation", lambda *_: begun.append(time.monotonic()))
    first = time.monotonic()
    offered = 0
    while time.monotonic() < first + 2.9:
        keeper.offer(dump(offered))
        offered += 1
        time.sleep(0.01)
    gaps = [later - earlier for earlier, later in zip([first, *begun], begun, strict=False)]
    assert 0.4 < gaps[0] < 1.1
    assert all(0.99 < gap < 1.2 for gap in gaps[1:]), gaps
    assert len(gaps) == 3


def test_what_is_due_waits_for_a_pause(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []
    monkeypatch.setattr(keep, "save_generation", lambda *_: begun.append(time.monotonic()))
    monkeypatch.setattr(keep, "SETTLE", 0.1)
    monkeypatch.setattr(keep, "QUIET", 0.5)
    monkeypatch.setattr(keep, "AT_MOST", LONG)
    keeper.offer(dump(1))
    for n in range(2, 30):
        time.sleep(0.02)
        keeper.offer(dump(n))
    last = time.monotonic()
    assert not begun
    time.sleep(0.8)
    assert len(begun) == 1 and begun[0] >= last + 0.49


def test_the_last_state_wins_and_offering_waits_for_nothing(tmp_path: Path, keeper: Keeper) -> None:
    dumped: list[int] = []
    going = threading.Event()

    def slow(n: int) -> Callable[[], bytes]:
        def go() -> bytes:
            dumped.append(n)
            going.wait(LONG)
            return document(n)

        return go

    began = time.monotonic()
    for n in range(1000):
        keeper.offer(slow(n))
    assert time.monotonic() - began < 0.3
    threading.Timer(0.1, going.set).start()
    assert keeper.save_now(LONG)
    assert dumped == [999] and files(tmp_path) == {"one.json": 999}


def test_saving_now_waits_for_what_was_offered_before_it(tmp_path: Path, keeper: Keeper) -> None:
    """Also while an older state is being written."""
    going = threading.Event()

    def slow() -> bytes:
        going.set()
        time.sleep(0.2)
        return document(1)

    keeper.offer(slow)
    threading.Thread(target=keeper.save_now, args=(LONG,)).start()
    assert going.wait(LONG)
    assert save(keeper, 2)
    assert files(tmp_path) == {"one.json": 2, "one.1.json": 1}
    assert keeper.save_now(0.0), "nothing is unsaved"


def test_saving_now_gives_up_in_time(keeper: Keeper) -> None:
    going = threading.Event()

    def stuck() -> bytes:
        going.wait(LONG)
        return document(1)

    keeper.offer(stuck)
    began = time.monotonic()
    assert not keeper.save_now(0.1)
    assert not keeper.close(0.1)
    assert time.monotonic() - began < 1.0
    going.set()
    assert keeper.close(LONG)


def test_closing_saves_what_is_unsaved(tmp_path: Path, told: Told) -> None:
    keeper = Keeper(tmp_path, "one", told)
    keeper.offer(dump(5))
    began = time.monotonic()
    assert keeper.close(LONG)
    assert time.monotonic() - began < 0.4
    assert files(tmp_path) == {"one.json": 5}
    keeper.offer(dump(6))
    assert keeper.close(LONG) and keeper.save_now(LONG)
    assert files(tmp_path) == {"one.json": 5}


def test_closing_without_a_change_writes_nothing(tmp_path: Path, told: Told) -> None:
    assert Keeper(tmp_path / "none", "one", told).close(LONG)
    assert not (tmp_path / "none").exists()


def test_going_on_under_a_name_keeps_the_good_generation_beside_a_damaged_one(tmp_path: Path, told: Told) -> None:
    (tmp_path / "one.json").write_bytes(b"damaged")
    (tmp_path / "one.1.json").write_bytes(document(1))
    keeper = Keeper(tmp_path, "one", told)
    assert save(keeper, 2) and files(tmp_path) == {"one.json": 2, "one.1.json": 1}
    assert save(keeper, 3) and files(tmp_path) == {"one.json": 3, "one.1.json": 2}
    keeper.close(LONG)


# --- what fails


class Refusing(FileIO):
    """A file that does not take what is written."""

    code, at = errno.ENOSPC, "write"

    def write(self, data: Any) -> int:
        if self.at == "write":
            super().write(bytes(data)[:10])
            raise OSError(self.code, os.strerror(self.code))
        return super().write(data)

    def flush(self) -> None:
        if self.at == "flush" and not self.closed:
            raise OSError(self.code, os.strerror(self.code))

    def close(self) -> None:
        closed = self.closed
        super().close()
        if self.at == "close" and not closed:
            raise OSError(self.code, os.strerror(self.code))


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    """Lets one step of a save fail."""
    if call in ("write", "flush", "close"):
        kind = type("Kind", (Refusing,), {"code": code, "at": call})
        monkeypatch.setattr(Path, "open", lambda path, mode: kind(str(path), mode))
    elif call.startswith("rename"):
        put = Path.replace

        def replace(path: Path, target: Path) -> Path:
            if target.name.endswith(".1.json") == (call == "rename old"):
                raise OSError(code, os.strerror(code))
            return put(path, target)

        monkeypatch.setattr(Path, "replace", replace)
    elif call == "fsync":
        monkeypatch.setattr(os, "fsync", failing(code))
    else:
        monkeypatch.setattr(Path, call, failing(code))


CALLS = ["mkdir", "open", "write", "flush", "fsync", "close", "rename old", "rename new"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("call", CALLS)
def test_a_step_that_fails_costs_nothing_and_is_told_once(
    tmp_path: Path, keeper: Keeper, told: Told, monkeypatch: pytest.MonkeyPatch, call: str, code: int, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    save(keeper, 1)
    save(keeper, 2)
    with monkeypatch.context() as patch:
        refuse(patch, call, code)
        assert not save(keeper, 3)
        assert not save(keeper, 4)
        assert len(told) == 1 and os.strerror(code) in told[0] and "\n" not in told[0]
    if call == "rename new":
        assert files(tmp_path) == ({"one.json": 2, "one.1.json": 2} if links else {"one.1.json": 2})
        assert read(tmp_path, "one", number)[0] == 2
    else:
        assert files(tmp_path) == {"one.json": 2, "one.1.json": 1}
    assert keeper.save_now(LONG), "what was offered last was not forgotten"
    assert files(tmp_path) == {"one.json": 4, "one.1.json": 2}
    with monkeypatch.context() as patch:
        refuse(patch, call, code)
        assert not save(keeper, 5)
    assert len(told) == 2, "after a save the same failure is told anew"


def test_each_kind_of_failure_is_told(keeper: Keeper, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in (errno.ENOSPC, errno.EIO, errno.ENOSPC, errno.EIO):
        with monkeypatch.context() as patch:
            refuse(patch, "fsync", code)
            assert not save(keeper, 1)
    assert [os.strerror(code) in text for code, text in zip((errno.ENOSPC, errno.EIO), told, strict=True)] == [True] * 2


def test_a_file_that_may_not_grow(tmp_path: Path, keeper: Keeper, told: Told) -> None:
    """The system's own refusal, in the middle of a write."""
    small = next(n for n in range(1, 100) if len(padding(n)) < 10_000)
    large = next(n for n in range(1, 100) if len(padding(n)) > 100_000)
    assert save(keeper, small)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        assert not save(keeper, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(told) == 1 and os.strerror(errno.EFBIG) in told[0]
    assert files(tmp_path) == {"one.json": small}
    assert keeper.save_now(LONG) and files(tmp_path) == {"one.json": large, "one.1.json": small}


@pytest.mark.parametrize("error", [KeyError(7), MemoryError(), RuntimeError("dictionary changed size")])
def test_a_dump_that_fails_ends_nothing(keeper: Keeper, told: Told, error: Exception) -> None:
    def fail() -> NoReturn:
        raise error

    keeper.offer(fail)
    assert not keeper.save_now(LONG)
    assert len(told) == 1 and type(error).__name__ in told[0]
    assert save(keeper, 2)


def test_telling_that_fails_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(_: str) -> NoReturn:
        raise RuntimeError

    keeper = Keeper(tmp_path, "one", tell)
    with monkeypatch.context() as patch:
        refuse(patch, "open", errno.EIO)
        assert not save(keeper, 1)
    assert keeper.save_now(LONG) and keeper.close(LONG)


def test_what_failed_is_tried_again_by_itself(tmp_path: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "AGAIN", 0.05)
    with monkeypatch.context() as patch:
        refuse(patch, "fsync", errno.ENOSPC)
        assert not save(keeper, 1)
    until = time.monotonic() + LONG
    while not (tmp_path / "one.json").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert files(tmp_path) == {"one.json": 1}


def test_closing_with_a_full_disk_ends_and_says_so(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(tmp_path, "one", told)
    keeper.offer(dump(1))
    refuse(monkeypatch, "write", errno.ENOSPC)
    assert not keeper.close(LONG)
    assert len(told) == 1 and list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_should_be(tmp_path: Path, told: Told) -> None:
    (tmp_path / "sessions").write_text("a file")
    keeper = Keeper(tmp_path / "sessions", "one", told)
    assert not save(keeper, 1)
    assert len(told) == 1 and (tmp_path / "sessions").read_text() == "a file"
    keeper.close(LONG)


# --- reading


def test_a_damaged_newest_one_falls_back_and_says_so(tmp_path: Path, keeper: Keeper) -> None:
    save(keeper, 1)
    save(keeper, 2)
    (tmp_path / "one.json").write_bytes(document(2)[:-1])
    told = "the newest session file was unreadable (padding: another one): the one before is shown"
    assert read(tmp_path, "one", number) == (1, told)
    (tmp_path / "one.json").unlink()
    assert read(tmp_path, "one", number)[0] == 1
    (tmp_path / "one.json").mkdir()
    assert "(Is a directory)" in read(tmp_path, "one", number)[1]


def test_real_sessions_fall_back(tmp_path: Path, told: Told) -> None:
    play = started("hello")
    keeper = Keeper(tmp_path, "one", told)
    for key in (Action.APPEND, Action.APPEND):
        session = play.press(key).session
        keeper.offer(lambda session=session: archive.dump(session))  # type: ignore[misc]
        assert keeper.save_now(LONG)
    keeper.close(LONG)

    def load(data: bytes) -> int:
        return archive.load(data, play.session.settings).prompt.tip.depth

    assert read(tmp_path, "one", load) == (7, "")
    data = (tmp_path / "one.json").read_bytes()
    (tmp_path / "one.json").write_bytes(data.replace(b'"version":1', b'"version":2'))
    depth, notice = read(tmp_path, "one", load)
    assert depth == 6 and "made by a newer version of the program" in notice


@pytest.mark.parametrize(
    ("newest", "previous", "reason"),
    [
        (None, None, "there is no session one"),
        (b"1 bad", None, "padding"),
        (b"", None, "invalid literal"),
        (b"1 bad", b"2 bad", "and the one before: padding"),
        (None, b"2 bad", "and the one before: padding"),
    ],
)
def test_nothing_to_read(tmp_path: Path, newest: bytes | None, previous: bytes | None, reason: str) -> None:
    for name, data in (("one.json", newest), ("one.1.json", previous)):
        if data is not None:
            (tmp_path / name).write_bytes(data)
    with pytest.raises(NoSession, match=reason) as info:
        read(tmp_path, "one", number)
    assert "\n" not in str(info.value)


def test_a_name_that_leads_elsewhere_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_bytes(document(1))
    with pytest.raises(NoSession, match="not a name"):
        read(tmp_path / "sessions", "../secret", number)
    with pytest.raises(ValueError, match="not a name"):
        Keeper(tmp_path, "../secret", Told())


# --- names


@pytest.mark.parametrize("name", ["a", "Try 2", "v1.2-final_b", "x" * 64, "autosave-20250304-050607-9", "a.10", "11"])
def test_names(name: str) -> None:
    assert valid_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", "a/b", "a\\b", "a\0", "a\n", "é", "x" * 65, ".hidden", "a ", " a", "a."),
        *("a.1", "a:b", "C:", "con", "NUL.x", "~", "*", "a\u202eb", "-\n"),
    ],
)
def test_no_names(name: str) -> None:
    assert not valid_name(name)


def test_listing(tmp_path: Path) -> None:
    assert names(tmp_path / "none") == []
    for name, when in [("b.json", 5), ("a.json", 7), ("a.1.json", 9), ("c.1.json", 6), (".saving-1", 8), ("x.txt", 8)]:
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (when, when))
    assert names(tmp_path) == [Kept("a", 9), Kept("c", 6), Kept("b", 5)]


def test_autosaves_are_pruned_to_the_newest_ten(tmp_path: Path) -> None:
    now = datetime.fromisoformat("2025-03-04T05:06:07")
    assert autosave_name(now) == f"autosave-20250304-050607-{os.getpid()}" and valid_name(autosave_name(now))
    for index in range(14):
        for suffix in (".json", ".1.json"):
            path = tmp_path / f"autosave-20250304-0506{index:02}-9{suffix}"
            path.write_bytes(b"")
            os.utime(path, (1000 + index, 1000 + index))
    for name in ("mine.json", ".saving-old", ".saving-new", "autosave-mine.json"):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (10, 10))
    os.utime(tmp_path / ".saving-new", (9000, 9000))
    prune(tmp_path, 9001.0)
    left = {path.name for path in tmp_path.iterdir()}
    assert {"mine.json", ".saving-new", "autosave-mine.json"} <= left and ".saving-old" not in left
    assert [kept.modified for kept in names(tmp_path)[:10]] == [1013.0 - index for index in range(10)]
    assert len(left) == 3 + 20
    prune(tmp_path / "none", 0.0)


def test_two_keepers_of_two_names_leave_each_other_alone(tmp_path: Path, told: Told) -> None:
    one, two = Keeper(tmp_path, "one", told), Keeper(tmp_path, "two", told)
    assert save(one, 1) and save(two, 2) and save(one, 3)
    assert files(tmp_path) == {"one.json": 3, "one.1.json": 1, "two.json": 2}
    one.close(LONG)
    two.close(LONG)


# --- killed

WRITER = """
import sys
from pathlib import Path
from tokex_gguf.keep import Keeper
folder, n = Path(sys.argv[1]), int(sys.argv[2])
keeper = Keeper(folder, "one", print)
while True:
    n += 1
    keeper.offer(lambda: b"%d " % n + b"x" * (n * 7919 % 200_000))
    assert keeper.save_now(10.0)
    sys.stdout.write(f"{n}\\n")
    sys.stdout.flush()
"""


def kill_writers(folder: Path, times: int, figure: Figure) -> None:
    """Kills a program that saves all the time, at any moment, and reads what it left."""
    chance = random.Random(SEED)
    acknowledged, unfinished, saved = 0, 0, 0
    for _ in range(times):
        command = [sys.executable, "-c", WRITER, str(folder), str(acknowledged)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(chance.random() * 0.02)
            writer.send_signal(signal.SIGKILL)
            lines = (first + writer.stdout.read()).splitlines(keepends=True)
        whole = [int(line) for line in lines if line.endswith("\n")]
        saved += len(whole)
        acknowledged = max([acknowledged, *whole])
        found, _ = read(folder, "one", number)
        assert acknowledged <= found <= acknowledged + 1
        if (folder / "one.1.json").exists():
            assert number((folder / "one.1.json").read_bytes()) <= found
        acknowledged = found
        assert (folder / "one.json").exists(), "with hard links there is no moment without it"
        unfinished += sum(path.name.startswith(".saving-") for path in folder.iterdir())
        prune(folder, time.time() + 7200)
        assert {path.name for path in folder.iterdir()} <= {"one.json", "one.1.json"}
    figure(times, "programs killed while they saved", seed=SEED, saves=saved, unfinished_files=unfinished)


def test_killed_while_it_saves(tmp_path: Path, figure: Figure) -> None:
    kill_writers(tmp_path, 20, figure)


@pytest.mark.soak
def test_killed_a_thousand_times(tmp_path: Path, figure: Figure) -> None:
    kill_writers(tmp_path, 1000, figure)


# --- refused by the system, again and again


def refuse_saves(folder: Path, times: int, figure: Figure) -> None:
    """Saves, and lets one step or another of some saves fail; what was saved last can be read after each."""
    chance, told = random.Random(SEED), Told()
    keeper = Keeper(folder, "one", told)
    saved, refused = 0, 0
    for n in range(1, times + 1):
        with pytest.MonkeyPatch.context() as patch:
            if chance.random() < 0.2:
                patch.setattr(os, "link", failing(errno.EPERM))
            if fails := chance.random() < 0.7:
                refuse(patch, chance.choice(CALLS), chance.choice([errno.ENOSPC, errno.EIO, errno.EACCES]))
            done = save(keeper, n)
        assert done or fails  # a step that is not taken refuses nothing: there may be no generation to put aside
        refused += not done
        saved = n if done else saved
        if saved:
            assert read(folder, "one", number)[0] == saved
    keeper.close(LONG)
    figure(refused, "saves refused by the system at one step or another", seed=SEED, saves_between=times - refused)


def test_refused_by_the_system(tmp_path: Path, figure: Figure) -> None:
    refuse_saves(tmp_path, 100, figure)


@pytest.mark.soak
def test_refused_by_the_system_a_thousand_times(tmp_path: Path, figure: Figure) -> None:
    refuse_saves(tmp_path, 2000, figure)
