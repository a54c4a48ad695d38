"""Sessions on the disk: saved in time, never half, and read back however a program ended."""

import errno
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from functools import partial
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from tests.fake import started
from tests.figures import Figure
from tests.sampling import few
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Settings
from tokex_gguf.sessions import autosave as autosave_module
from tokex_gguf.sessions import codec, store, summary
from tokex_gguf.sessions import writer as keeper_module
from tokex_gguf.sessions.autosave import Autosave, Lost, Rescued, SavedWhole, left
from tokex_gguf.sessions.store import CannotChange, NoSession, Slot, claim, prune, read, sessions
from tokex_gguf.sessions.summary import Stamp, Summary
from tokex_gguf.sessions.writer import SessionWriter
from tokex_gguf.system import files as system_files
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.names import valid_name

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
    """What a keeper told, less that a fault is over."""

    def __call__(self, text: str) -> None:
        if text:
            self.append(text)


@pytest.fixture
def told() -> Told:
    return Told()


def keeper_of(folder: Path, name: str, told: Callable[[str], None]) -> SessionWriter:
    """A keeper that nobody else is in the way of."""
    slot = claim(folder, name)
    assert slot is not None
    return SessionWriter(slot, told)


@pytest.fixture(name="keeper")
def a_keeper(tmp_path: Path, told: Told) -> Iterator[SessionWriter]:
    one = keeper_of(tmp_path, "one", told)
    yield one
    one.close(LONG)


def test_a_fault_is_told_and_logged_once_and_without_its_words(
    keeper: SessionWriter, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong() -> NoReturn:
        raise KeyError("a word of a prompt")

    for _ in range(3):
        keeper.offer(wrong)
        assert not keeper.save_now(LONG)
    assert told == ["internal error (KeyError): the log file has the details"]
    (record,) = caplog.records
    assert "KeyError" in record.getMessage() and "in wrong" in record.getMessage()
    assert "a word of a prompt" not in record.getMessage().replace('raise KeyError("a word of a prompt")', "")
    assert record.exc_info is None


def save(keeper: SessionWriter, n: int) -> bool:
    keeper.offer(dump(n))
    return keeper.save_now(LONG)


def files(folder: Path) -> dict[str, int]:
    """What is in a folder, and which state each file holds."""
    return {path.name: number(path.read_bytes()) for path in folder.iterdir() if path.suffix != ".lock"}


def failing(code: int) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return fail


# --- saving


def test_the_generation_before_is_kept_beside_the_newest(tmp_path: Path, keeper: SessionWriter, told: Told) -> None:
    assert save(keeper, 1) and files(tmp_path) == {"one.json": 1}
    assert save(keeper, 2) and files(tmp_path) == {"one.json": 2, "one.1.json": 1}
    assert save(keeper, 3) and files(tmp_path) == {"one.json": 3, "one.1.json": 2}
    assert told == []
    assert read(tmp_path, "one", number) == (3, "")


@pytest.mark.skipif(sys.platform == "win32", reason="modes are others there")
def test_the_folder_is_made_and_is_for_its_owner(tmp_path: Path, told: Told) -> None:
    keeper = keeper_of(tmp_path / "a" / "b", "one", told)
    assert save(keeper, 1)
    assert keeper.close(LONG)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o077 == 0


@pytest.mark.timed
def test_at_most_a_second_after_a_change_also_while_changes_never_pause(
    keeper: SessionWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[float] = []
    monkeypatch.setattr(store, "save_generation", lambda *_, **__: begun.append(time.monotonic()))
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


@pytest.mark.timed
def test_what_is_due_waits_for_a_pause(keeper: SessionWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []
    monkeypatch.setattr(store, "save_generation", lambda *_, **__: begun.append(time.monotonic()))
    monkeypatch.setattr(keeper_module, "SETTLE", 0.1)
    monkeypatch.setattr(keeper_module, "QUIET", 0.5)
    monkeypatch.setattr(keeper_module, "QUIET_WAIT", LONG)
    keeper.offer(dump(1))
    for n in range(2, 30):
        time.sleep(0.02)
        keeper.offer(dump(n))
    last = time.monotonic()
    assert not begun
    time.sleep(0.8)
    assert len(begun) == 1 and begun[0] >= last + 0.49


def test_what_is_encoded_waits_while_a_key_is_answered_and_not_for_long(
    keeper: SessionWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waits = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(keeper_module, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    keeper.give_way()
    assert waits == []
    keeper.expect()
    now[0] += 0.004
    keeper.give_way()
    keeper.give_way()
    assert waits == [pytest.approx(keeper_module.KEY_SECONDS - 0.004)]
    for _ in range(50):  # keys without a pause
        keeper.expect()
        keeper.give_way()
    assert keeper_module.YIELDED_SECONDS <= sum(waits) < keeper_module.YIELDED_SECONDS + keeper_module.KEY_SECONDS

    def waited_for() -> bytes:
        keeper.expect()
        keeper.give_way()
        return document(1)

    waits.clear()
    keeper.offer(waited_for)
    assert keeper.save_now(LONG)
    keeper.offer(waited_for)
    assert keeper.close(LONG)
    assert waits == []


def test_the_last_state_wins_and_offering_waits_for_nothing(
    tmp_path: Path, keeper: SessionWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "SETTLE", 60.0)
    dumped: list[int] = []
    going = threading.Event()

    def slow(n: int) -> Callable[[], bytes]:
        def go() -> bytes:
            dumped.append(n)
            going.wait(LONG)
            return document(n)

        return go

    for n in range(1000):
        keeper.offer(slow(n))
    threading.Timer(0.1, going.set).start()
    assert keeper.save_now(LONG)
    assert dumped == [999] and files(tmp_path) == {"one.json": 999}


def test_saving_now_waits_for_what_was_offered_before_it(tmp_path: Path, keeper: SessionWriter) -> None:
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


def test_saving_now_gives_up_in_time(keeper: SessionWriter) -> None:
    going = threading.Event()

    def stuck() -> bytes:
        going.wait(LONG)  # it would be saved by then
        return document(1)

    keeper.offer(stuck)
    assert not keeper.save_now(0.1)
    assert not keeper.close(0.1)
    going.set()
    assert keeper.close(LONG)


def test_closing_saves_what_is_unsaved(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: nobody waits for more changes."""
    monkeypatch.setattr(keeper_module, "SETTLE", 60.0)
    keeper = keeper_of(tmp_path, "one", told)
    keeper.offer(dump(5))
    assert keeper.close(LONG)
    assert files(tmp_path) == {"one.json": 5}
    keeper.offer(dump(6))
    assert keeper.close(LONG) and keeper.save_now(LONG)
    assert files(tmp_path) == {"one.json": 5}


def test_closing_without_a_change_writes_nothing(tmp_path: Path, told: Told) -> None:
    assert keeper_of(tmp_path / "none", "one", told).close(LONG)
    assert files(tmp_path / "none") == {}


def test_going_on_under_a_name_keeps_the_good_generation_beside_a_damaged_one(tmp_path: Path, told: Told) -> None:
    (tmp_path / "one.json").write_bytes(b"damaged")
    (tmp_path / "one.1.json").write_bytes(document(1))
    keeper = keeper_of(tmp_path, "one", told)
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
        monkeypatch.setattr(system_files, "create_private", lambda path: kind(str(path), "xb"))
    elif call.startswith("rename"):
        put = Path.replace

        def replace(path: Path, target: Path) -> Path:
            if target.name.endswith(".1.json") == (call == "rename old"):
                raise OSError(code, os.strerror(code))
            return put(path, target)

        monkeypatch.setattr(Path, "replace", replace)
    elif call == "open":
        monkeypatch.setattr(system_files, "create_private", failing(code))
    elif call == "fsync":
        monkeypatch.setattr(os, "fsync", failing(code))
    else:
        monkeypatch.setattr(Path, call, failing(code))


CALLS = ["mkdir", "open", "write", "flush", "fsync", "close", "rename old", "rename new"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("call", CALLS)
def test_a_step_that_fails_costs_nothing_and_is_told_once(
    tmp_path: Path,
    keeper: SessionWriter,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
    links: bool,
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


def test_each_kind_of_failure_is_told(keeper: SessionWriter, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in (errno.ENOSPC, errno.EIO, errno.ENOSPC, errno.EIO):
        with monkeypatch.context() as patch:
            refuse(patch, "fsync", code)
            assert not save(keeper, 1)
    assert [os.strerror(code) in text for code, text in zip((errno.ENOSPC, errno.EIO), told, strict=True)] == [True] * 2


def test_a_file_that_may_not_grow(tmp_path: Path, keeper: SessionWriter, told: Told) -> None:
    """The system's own refusal, in the middle of a write."""
    small = next(n for n in range(1, 100) if len(padding(n)) < 10_000)
    large = next(n for n in range(1, 100) if len(padding(n)) > 100_000)
    assert save(keeper, small)
    resource = pytest.importorskip("resource")
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
def test_a_dump_that_fails_ends_nothing(keeper: SessionWriter, told: Told, error: Exception) -> None:
    def fail() -> NoReturn:
        raise error

    keeper.offer(fail)
    assert not keeper.save_now(LONG)
    assert len(told) == 1 and type(error).__name__ in told[0]
    assert save(keeper, 2)


def test_telling_that_fails_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(_: str) -> NoReturn:
        raise RuntimeError

    keeper = keeper_of(tmp_path, "one", tell)
    with monkeypatch.context() as patch:
        refuse(patch, "open", errno.EIO)
        assert not save(keeper, 1)
    assert keeper.save_now(LONG) and keeper.close(LONG)


def test_what_failed_is_tried_again_by_itself(
    tmp_path: Path, keeper: SessionWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "RETRY_AFTER", 0.05)
    with monkeypatch.context() as patch:
        refuse(patch, "fsync", errno.ENOSPC)
        assert not save(keeper, 1)
    until = time.monotonic() + LONG
    while not (tmp_path / "one.json").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert files(tmp_path) == {"one.json": 1}


def test_a_disk_that_does_not_answer_is_told_until_it_does(
    tmp_path: Path, keeper: SessionWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(keeper, "_tell", said.append)
    monkeypatch.setattr(keeper_module, "SLOW_WRITE", 0.0)
    began, going = threading.Event(), threading.Event()
    flush = os.fsync

    def slow(file: int) -> None:
        began.set()
        going.wait(LONG)
        flush(file)

    monkeypatch.setattr(os, "fsync", slow)
    keeper.offer(dump(1))
    assert not keeper.save_now(0.0) and began.wait(LONG)
    for n in (2, 3):
        keeper.offer(dump(n))
    assert len(said) == 1 and "the disk has not answered" in said[0]
    going.set()
    assert keeper.save_now(LONG) and files(tmp_path)["one.json"] == 3
    assert said[1:] == [""]


def test_a_save_that_was_given_up_changes_nothing_when_the_disk_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest state has been saved another way meanwhile."""
    slot = claim(tmp_path, "one")
    assert slot is not None
    began, going = threading.Event(), threading.Event()

    def slow(_: int) -> None:
        began.set()
        going.wait(LONG)

    monkeypatch.setattr(os, "fsync", slow)
    told: list[object] = []

    def save_old() -> None:
        try:
            told.append(slot.save(document(1)))
        except system_files.Abandoned as error:
            told.append(error)

    old = threading.Thread(target=save_old)
    old.start()
    assert began.wait(LONG)
    slot.abandon()
    slot.save(document(2), flush=False)
    going.set()
    old.join(LONG)
    assert isinstance(told[0], system_files.Abandoned)
    assert files(tmp_path) == {"one.json": 2}
    slot.close()


def test_closing_with_a_full_disk_ends_and_says_so(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = keeper_of(tmp_path, "one", told)
    keeper.offer(dump(1))
    refuse(monkeypatch, "write", errno.ENOSPC)
    assert not keeper.close(LONG)
    assert len(told) == 1 and files(tmp_path) == {}


def test_a_file_where_the_folder_should_be(tmp_path: Path, told: Told) -> None:
    (tmp_path / "sessions").write_text("a file")
    keeper = keeper_of(tmp_path / "sessions", "one", told)
    assert not save(keeper, 1)
    assert len(told) == 1 and (tmp_path / "sessions").read_text() == "a file"
    keeper.close(LONG)


# --- reading


def test_a_damaged_newest_one_falls_back_and_says_so(tmp_path: Path, keeper: SessionWriter) -> None:
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
    keeper = keeper_of(tmp_path, "one", told)
    for key in (Action.APPEND, Action.APPEND):
        session = play.press(key).session
        keeper.offer(lambda session=session: codec.dump(session))  # type: ignore[misc]
        assert keeper.save_now(LONG)
    keeper.close(LONG)

    def load(data: bytes) -> int:
        return codec.load(data, play.session.game.settings).game.prompt.tip.depth

    assert read(tmp_path, "one", load) == (7, "")
    data = (tmp_path / "one.json").read_bytes()
    (tmp_path / "one.json").write_bytes(data[:-9])
    depth, notice = read(tmp_path, "one", load)
    assert depth == 6 and "the one before is shown" in notice
    # What a newer version saved is not what was before it, and would be overwritten by who plays on from that.
    (tmp_path / "one.json").write_bytes(data.replace(b'"version":2', b'"version":3'))
    with pytest.raises(NoSession, match="made by a newer version of the program"):
        read(tmp_path, "one", load)


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
    with pytest.raises(CannotChange, match="not a name"):
        store.remove(tmp_path, "../secret")
    with pytest.raises(CannotChange, match="not a name"):
        store.rename(tmp_path, "../secret", "a")


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


def saved(folder: Path, name: str, *, sequence: int = 0, moves: int = 0, tokens: int = 0, when: int = 0) -> Path:
    """A session that is a summary and nothing else."""
    about = Summary(sequence, when, moves, tokens, 1, 1, 1, "Model", "text")
    path = folder / f"{name}.json"
    path.write_bytes(codec.seal(b'{"about":%s}' % about.encoded()))
    return path


def autosave(folder: Path, index: int, **values: int) -> str:
    name = f"autosave-20250304-0506{index % 60:02}-{index:06x}"
    saved(folder, name, sequence=index + 1, **values)
    return name


def found(folder: Path) -> list[str]:
    return [one.name for one in sessions(folder)]


def test_listing_without_summaries_goes_by_the_time(tmp_path: Path) -> None:
    assert sessions(tmp_path / "none") == []
    for name, when in [("b.json", 5), ("a.json", 7), ("a.1.json", 9), ("c.1.json", 6), (".saving-1", 8), ("x.txt", 8)]:
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (when, when))
    assert found(tmp_path) == ["a", "c", "b"]


def test_no_clock_disturbs_the_order(tmp_path: Path) -> None:
    """Files from the future, or saved before the clock was put back, stand where they were played."""
    saved(tmp_path, "first", sequence=1, when=4_000_000_000)
    saved(tmp_path, "second", sequence=2, when=1_000_000_000)
    os.utime(saved(tmp_path, "third", sequence=3, when=5), (5, 5))
    os.utime(tmp_path / "first.json", (4_000_000_000, 4_000_000_000))
    (tmp_path / "of-0.1.0.json").write_bytes(b"")
    os.utime(tmp_path / "of-0.1.0.json", (4_100_000_000, 4_100_000_000))
    assert found(tmp_path) == ["third", "second", "first", "of-0.1.0"]
    slot = Slot(tmp_path)
    assert slot.sequence() == 4
    slot.save(saved(tmp_path, "x", sequence=4).read_bytes())
    (tmp_path / "x.json").unlink()
    assert found(tmp_path)[0] == slot.name
    slot.close()


def test_a_sequence_that_nobody_believes(tmp_path: Path) -> None:
    saved(tmp_path, "huge", sequence=2**60)
    saved(tmp_path, "one", sequence=1)
    assert found(tmp_path) == ["one", "huge"] and Slot(tmp_path).sequence() == 2


def test_pruning_takes_what_was_played_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_AUTOSAVES", 20)
    big = autosave(tmp_path, 0, moves=500, tokens=1906)
    hour = autosave(tmp_path, 1, moves=300, tokens=20)
    names = [autosave(tmp_path, index, moves=2, tokens=9 + index) for index in range(2, 60)]
    saved(tmp_path, "mine")
    (tmp_path / ".saving-old").write_bytes(b"")
    os.utime(tmp_path / ".saving-old", (10, 10))
    (tmp_path / ".saving-new").write_bytes(b"")
    (tmp_path / "left.lock").write_bytes(b"")
    assert prune(tmp_path, "") == []
    left = set(found(tmp_path))
    assert {big, hour, "mine", *names[-18:]} == left
    assert not (tmp_path / ".saving-old").exists() and (tmp_path / ".saving-new").exists()
    assert not (tmp_path / "left.lock").exists()
    prune(tmp_path / "none", "")


def test_the_last_work_of_a_day_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_AUTOSAVES", 25)
    day = 86_400
    names = [
        autosave(tmp_path, index, moves=1 + index % 3, when=1_700_000_000 + index // 4 * day) for index in range(60)
    ]
    prune(tmp_path, "")
    last = {names[index] for index in range(3, 60, 4)}
    assert last | set(names[-10:]) <= set(found(tmp_path)) and len(found(tmp_path)) == 25


def test_a_larger_one_goes_only_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many days: the oldest goes, and the player is told."""
    monkeypatch.setattr(store, "MOST_AUTOSAVES", 12)
    names = [autosave(tmp_path, index, moves=99 - index, when=index * 86_400) for index in range(13)]
    (line,) = prune(tmp_path, "")
    assert f"{names[0]} was removed" in line
    assert names[0] not in found(tmp_path)


def test_bytes_are_bounded_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [autosave(tmp_path, index, moves=index) for index in range(30)]
    monkeypatch.setattr(store, "MOST_AUTOSAVE_BYTES", 20 * (tmp_path / f"{names[-1]}.json").stat().st_size)
    prune(tmp_path, "")
    assert len(found(tmp_path)) in (19, 20, 21) and set(names[-10:]) <= set(found(tmp_path))


def test_what_is_played_is_never_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_AUTOSAVES", 10)
    first = autosave(tmp_path, 0, moves=1)
    second = autosave(tmp_path, 1, moves=1)
    slot = claim(tmp_path, first)
    assert slot is not None and store.is_open(tmp_path, first)
    for index in range(2, 40):
        autosave(tmp_path, index, moves=9)
    prune(tmp_path, "")
    assert first in found(tmp_path) and second not in found(tmp_path)
    slot.close()
    prune(tmp_path, "")
    assert len(found(tmp_path)) == 10 or first in found(tmp_path)


# --- one session, two programs


def test_a_session_that_is_open_is_held(tmp_path: Path) -> None:
    slot = claim(tmp_path, "one")
    assert slot is not None
    slot.save(document(1))
    assert claim(tmp_path, "one") is None and store.is_open(tmp_path, "one")
    with pytest.raises(CannotChange, match="open in another program"):
        store.remove(tmp_path, "one")
    with pytest.raises(CannotChange, match="open in another program"):
        store.rename(tmp_path, "one", "two")
    slot.close()
    assert not store.is_open(tmp_path, "one") and not list(tmp_path.glob("*.lock"))
    store.rename(tmp_path, "one", "two")
    assert files(tmp_path) == {"two.json": 1}
    store.remove(tmp_path, "two")
    with pytest.raises(CannotChange, match="there is no session two: tokex-gguf sessions lists them"):
        store.remove(tmp_path, "two")


def test_a_lock_ends_with_its_program(tmp_path: Path) -> None:
    """Also one that is killed; the file that is left is nobody's."""
    program = "import sys, time; from pathlib import Path; from tokex_gguf.sessions.store import claim\n"
    program += "slot = claim(Path(sys.argv[1]), 'one'); print(slot is not None, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "True\n"
        assert claim(tmp_path, "one") is None
        other.kill()
    assert (tmp_path / "one.lock").exists() and not store.is_open(tmp_path, "one")
    slot = claim(tmp_path, "one")
    assert slot is not None
    slot.close()


@pytest.mark.skipif(sys.platform == "win32", reason="flock")
def test_without_locks_nothing_is_lost_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that finds another's state in its place goes on under a name of its own."""
    import fcntl

    monkeypatch.setattr(fcntl, "flock", failing(errno.EOPNOTSUPP))
    one, two = claim(tmp_path, "one"), claim(tmp_path, "one")
    assert one is not None and two is not None
    assert len(caplog.messages) == 1 and "no locks here" in caplog.messages[0]
    assert one.save(document(1)) == ""
    line = two.save(document(2))
    assert "another program has saved the session one" in line and two.name in line and store.is_autosave(two.name)
    assert one.save(document(3)) == "" and two.save(document(4)) == ""
    assert files(tmp_path) == {"one.json": 3, "one.1.json": 1, f"{two.name}.json": 4, f"{two.name}.1.json": 2}


def test_many_programs_that_start_at_once_have_names_of_their_own(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from tokex_gguf.sessions import store as keep\n"
    program += "keep.os.getpid = lambda: 1\n"
    program += "slot = keep.Slot(Path(sys.argv[1])); slot.save(b'1 ' + b'x' * (7919 % 200_000)); print(slot.name)"
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    names = {one.communicate()[0].strip() for one in running}
    assert len(names) == 6 and names == set(found(tmp_path))


def test_no_two_names_are_the_same_in_one_second() -> None:
    """Whatever locks there are: two containers have the same process number, and may see no lock of the other."""
    now = datetime.now()
    assert len({store.autosave_name(now) for _ in range(1000)}) == 1000


def test_renaming_takes_all_of_it_along(tmp_path: Path, keeper: SessionWriter) -> None:
    save(keeper, 1)
    save(keeper, 2)
    keeper.rename("two", LONG)
    assert files(tmp_path) == {"two.json": 2, "two.1.json": 1}
    assert save(keeper, 3) and files(tmp_path) == {"two.json": 3, "two.1.json": 2}
    assert store.is_open(tmp_path, "two") and not store.is_open(tmp_path, "one")
    (tmp_path / "three.1.json").write_bytes(document(9))
    for name, why in (("three", "there is a session three already"), ("../x", "not a name")):
        with pytest.raises(CannotChange, match=why):
            keeper.rename(name, LONG)
    other = claim(tmp_path, "four")
    assert other is not None
    with pytest.raises(CannotChange, match="open in another program"):
        keeper.rename("four", LONG)
    other.close()
    assert save(keeper, 4) and read(tmp_path, "two", number) == (4, "")


@pytest.mark.skipif(sys.platform == "win32", reason="modes are others there")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_files_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path, told: Told, umask: int) -> None:
    folder = tmp_path / "state" / "sessions"
    before = os.umask(umask)
    try:
        keeper = keeper_of(folder, "one", told)
        assert save(keeper, 1) and save(keeper, 2)
        prompt = system_files.save_prompt(tmp_path / "prompts", b"text", datetime.now())
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [*folder.iterdir(), prompt]}
    expected = {"one.json": 0o600, "one.1.json": 0o600, prompt.name: 0o600}
    assert {name: mode for name, mode in modes.items() if name != "one.lock"} == expected
    for path in (folder, folder.parent, prompt.parent):
        assert path.stat().st_mode & 0o777 == 0o700
    keeper.close(LONG)


@pytest.mark.skipif(sys.platform == "win32", reason="modes are others there")
def test_a_folder_that_others_can_read_is_closed(tmp_path: Path, told: Told) -> None:
    (tmp_path / "sessions").mkdir(mode=0o755)
    keeper = keeper_of(tmp_path / "sessions", "one", told)
    assert (tmp_path / "sessions").stat().st_mode & 0o777 == 0o700
    keeper.close(LONG)


def test_two_keepers_of_two_names_leave_each_other_alone(tmp_path: Path, told: Told) -> None:
    one, two = keeper_of(tmp_path, "one", told), keeper_of(tmp_path, "two", told)
    assert save(one, 1) and save(two, 2) and save(one, 3)
    assert files(tmp_path) == {"one.json": 3, "one.1.json": 1, "two.json": 2}
    one.close(LONG)
    two.close(LONG)


# --- killed

WRITER = """
import sys
import tempfile
from pathlib import Path
from tokex_gguf.sessions.store import claim
from tokex_gguf.sessions.writer import SessionWriter
folder, n = Path(sys.argv[1]), int(sys.argv[2])
keeper = SessionWriter(claim(folder, "one"), print)
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
        for path in folder.glob(".saving-*"):
            os.utime(path, (1000, 1000))
        prune(folder, "one")
        assert {path.name for path in folder.iterdir()} <= {"one.json", "one.1.json"}
    figure(times, "programs killed while they saved", seed=SEED, saves=saved, unfinished_files=unfinished)


def test_killed_while_it_saves(tmp_path: Path, figure: Figure) -> None:
    kill_writers(tmp_path, 10, figure)


@pytest.mark.soak
def test_killed_a_thousand_times(tmp_path: Path, figure: Figure) -> None:
    kill_writers(tmp_path, 1000, figure)


# --- refused by the system, again and again


def refuse_saves(folder: Path, times: int, figure: Figure) -> None:
    """Saves, and lets one step or another of some saves fail; what was saved last can be read after each."""
    chance, told = random.Random(SEED), Told()
    keeper = keeper_of(folder, "one", told)
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


# --- found by days of use


def about(sequence: int, saved: int) -> bytes:
    return b"".join(codec.Encoder().encode(started("abc").session, Stamp(sequence, saved, 1)))


def test_after_the_largest_number_sessions_are_still_believed(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_bytes(about(summary.MOST_COUNT, 1))
    slot = claim(tmp_path, "new")
    assert slot is not None
    slot.save(about(slot.sequence(), 2))
    assert [(one.name, one.summary is not None) for one in sessions(tmp_path)] == [("new", True), ("old", True)]


@pytest.mark.parametrize("moment", [-1e6, -6e10, 1e18])
def test_a_clock_that_shows_no_date_is_no_obstacle(
    moment: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Wrong":
            return cls.fromtimestamp(moment, tz)

    monkeypatch.setattr(store, "datetime", Wrong)
    monkeypatch.setattr(time, "time", lambda: moment)
    saver = Autosave(Slot(tmp_path), print, print)
    saver.follow(started("abc").session, 1)
    end = saver.close(LONG, threading.Event(), lambda: None)
    assert isinstance(end, SavedWhole) and store.is_autosave(end.name)
    (found,) = sessions(tmp_path)
    assert found.summary is not None and store.when(found.saved)


@pytest.mark.parametrize("step", range(6))
def test_a_name_that_cannot_be_given_is_still_free(
    step: int, tmp_path: Path, keeper: SessionWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever step the disk fails, the session is there once, and trying again gives the name."""
    assert save(keeper, 1) and save(keeper, 2)
    left = [step]

    def failing_at(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            left[0] -= 1
            if left[0] == -1:
                raise OSError(errno.EIO, "Input/output error")
            return function(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((os, "link"), (Path, "unlink"), (Path, "replace")):
            patch.setattr(owner, name, failing_at(getattr(owner, name)))
        try:
            keeper.rename("mine", LONG)
        except OSError:
            assert [one.name for one in sessions(tmp_path)] == ["one"]
            assert files(tmp_path) == {"one.json": 2, "one.1.json": 1}
            patch.undo()
            keeper.rename("mine", LONG)
    assert save(keeper, 3)
    assert [one.name for one in sessions(tmp_path)] == ["mine"] and files(tmp_path)["mine.json"] == 3


def test_what_a_newer_version_made_is_not_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_AUTOSAVES", 3)
    monkeypatch.setattr(store, "NEWEST_KEPT", 1)
    newer = about(9, 9).replace(b'"version":2', b'"version":3', 1)
    for number in range(4):
        (tmp_path / f"autosave-20990101-00000{number}-a.json").write_bytes(newer)
        (tmp_path / f"autosave-20260101-00000{number}-b.json").write_bytes(about(number + 1, number + 1))
    prune(tmp_path, "")
    left = [path.name for path in tmp_path.glob("*.json")]
    assert sum("2099" in name for name in left) == 4 and sum("2026" in name for name in left) == 3


@pytest.mark.parametrize("hours", [-30, 30])
def test_what_is_being_written_is_no_leftover_whatever_the_clock_says(
    hours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder may be on a server with a clock of its own."""
    now = time.time()
    for name, age in (("running", 0), ("killed", 7200)):
        path = tmp_path / f"{system_files.TEMPORARY}{name}"
        path.write_bytes(b"")
        os.utime(path, (now - age, now - age))
    monkeypatch.setattr(time, "time", lambda: now + hours * 3600)
    prune(tmp_path, "")
    assert [path.name for path in tmp_path.iterdir()] == [f"{system_files.TEMPORARY}running"]


@pytest.mark.parametrize("room", [0, 10_000, 10**9])
def test_where_the_numbers_have_no_room_the_paths_are_kept(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited(save: Callable[..., Any]) -> Callable[..., Any]:
        def limited_save(*arguments: Any, **named: Any) -> Any:
            data = next(one for one in arguments if isinstance(one, bytes | list))
            if (len(data) if isinstance(data, bytes) else sum(map(len, data))) > room:
                raise OSError(errno.EFBIG, "File too large")
            return save(*arguments, **named)

        return limited_save

    monkeypatch.setattr(Slot, "save", limited(Slot.save))
    monkeypatch.setattr(store, "rescue", limited(store.rescue))
    play = started("hello " * 20).press(Action.APPEND, Action.COPY, Action.POP)
    saver = Autosave(Slot(tmp_path), lambda _: None, lambda _: None)
    saver.follow(play.session, 1)
    end = saver.close(0.1, threading.Event(), lambda: None)
    if not room:
        assert isinstance(end, Lost)
        return
    assert isinstance(end, SavedWhole)
    again = codec.load((tmp_path / f"{end.name}.json").read_bytes(), play.session.game.settings).game
    assert [one.tip.path() for one in again.prompts] == [one.tip.path() for one in play.session.game.prompts]
    assert (again.prompt.tip.distribution is None) is (room < 10**9)


def test_what_cannot_be_encoded_at_the_end_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise KeyError(7)

    monkeypatch.setattr(codec.Encoder, "encode", fail)
    saver = Autosave(Slot(tmp_path), lambda _: None, lambda _: None)
    saver.follow(started("abc").session, 1)
    end = saver.close(0.1, threading.Event(), lambda: None)
    assert isinstance(end, Lost) and end.reason


@pytest.mark.parametrize("missing", ["a folder for temporary files", "the current folder", "both"])
def test_what_cannot_be_saved_goes_wherever_there_is_a_folder(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> NoReturn:
        raise FileNotFoundError(2, "No such file or directory")

    if missing != "the current folder":
        monkeypatch.setattr(tempfile, "gettempdir", none)
    if missing != "a folder for temporary files":
        monkeypatch.setattr(os, "getcwd", none)
    (tmp_path / "file").write_text("")
    slot = Slot(tmp_path / "file")
    saver = Autosave(slot, lambda _: None, lambda _: None)
    saver.follow(started("abc").session, 1)
    end = saver.close(0.1, threading.Event(), lambda: None)
    assert isinstance(end, Rescued) and end.path.stat().st_size > 100
    end.path.unlink()


@pytest.mark.parametrize("call", few(["open", "listdir", "scandir", "stat", "unlink", "replace"], of=3))
def test_a_disk_that_hangs_in_any_call_keeps_nobody_waiting(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server's folder does that is mounted hard, once the server is gone."""
    monkeypatch.setattr(store, "REORDERED_AFTER", 0.0)
    monkeypatch.setattr(autosave_module, "SILENT_WAIT", 0.2)
    dead, never = threading.Event(), threading.Event()
    real, real_sync = getattr(os, call), os.fsync
    folder = tmp_path / "sessions"

    def hangs(path: Any, *arguments: Any, **named: Any) -> Any:
        if dead.is_set() and str(path).startswith(str(folder)):
            never.wait()
        return real(path, *arguments, **named)

    def sync(file: int) -> None:
        if dead.is_set():
            never.wait()
        real_sync(file)

    monkeypatch.setattr(os, call, hangs)
    monkeypatch.setattr(os, "fsync", sync)
    saver = Autosave(Slot(folder), lambda _: None, lambda _: None)
    play = started("abc")
    saver.follow(play.session, 1)
    assert saver.save(5.0) == ""
    dead.set()
    try:
        saver.follow(play.press(Action.APPEND).session, 2)
        ends: list[object] = []
        closing = threading.Thread(
            target=lambda: ends.append(saver.close(0.2, threading.Event(), lambda: None)), daemon=True
        )
        closing.start()
        closing.join(20)
        assert ends, "it waits for the disk"
        if isinstance(ends[0], Rescued):
            loaded = codec.load(ends[0].path.read_bytes(), Settings("", GgufFile("")))
            ends[0].path.unlink()
            assert loaded.game.prompt.tip.depth == 4
        else:
            assert isinstance(ends[0], SavedWhole)
    finally:
        never.set()


def test_a_session_that_was_only_looked_at_ends_though_its_disk_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autosave_module, "SILENT_WAIT", 0.1)
    saved(tmp_path, "mine")
    slot = claim(tmp_path, "mine")
    assert slot is not None
    never = threading.Event()
    for call in ("stat", "scandir", "listdir", "unlink"):
        monkeypatch.setattr(os, call, lambda *_, **__: never.wait())
    ends: list[object] = []
    thread = threading.Thread(target=lambda: ends.append(left(slot)), daemon=True)
    thread.start()
    thread.join(20)
    monkeypatch.undo()
    never.set()
    assert ends == [None]
    assert left(Slot(tmp_path, "mine")) == SavedWhole("mine", last=True)


def test_what_could_not_be_read_again_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_BYTES", 1 << 20)
    slot = Slot(tmp_path)
    slot.save(document(1))
    for data in (b"x" * (1 << 20 | 1), [b"x" * (1 << 19)] * 3):
        with pytest.raises(OSError, match="1 MB, and no more than 1 could be read again"):
            slot.save(data)
    assert read(tmp_path, slot.name, number) == (1, "")
    slot.close()


def test_a_session_gets_its_name_in_other_letters_where_case_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS and Windows, where both names are one file's."""

    def low(path: Any) -> Any:
        return (
            tmp_path / Path(path).name.lower()
            if isinstance(path, str | Path) and Path(path).parent == tmp_path
            else path
        )

    for call in ("open", "stat", "unlink", "chmod"):
        monkeypatch.setattr(os, call, partial(lambda real, path, *a, **k: real(low(path), *a, **k), getattr(os, call)))
    for call in ("replace", "link"):
        real = getattr(os, call)
        monkeypatch.setattr(os, call, partial(lambda real, a, b, **k: real(low(a), low(b), **k), real))
    opened = io.open
    monkeypatch.setattr(io, "open", lambda path, *a, **k: opened(low(path), *a, **k))
    slot = Slot(tmp_path)
    slot.save(document(1))
    slot.rename("mine")
    slot.save(document(2))
    slot.rename("Mine")
    slot.save(document(3))
    assert slot.name == "Mine" and read(tmp_path, "Mine", number) == (3, "")
    with pytest.raises(CannotChange):
        slot.rename("MINE ")
    slot.close()
    store.rename(tmp_path, "Mine", "MINE")
    assert read(tmp_path, "MINE", number) == (3, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.1.json", "mine.json"]


def test_a_system_without_threads_is_no_reason_not_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = Autosave(slot := Slot(tmp_path), lambda _: None, lambda _: None)
    saver.follow(started("abc").session, 1)
    assert saver.save(5.0) == ""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert saver.close(5.0, threading.Event(), lambda: None) == SavedWhole(slot.name, last=True)
