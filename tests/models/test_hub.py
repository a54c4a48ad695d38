"""Fetching models from a stand-in for the hub, with all that can go wrong."""

import errno
import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants, file_download

from tests.figures import Figure
from tests.hub import REVISION, Hub, run, serving
from tests.sampling import some
from tests.terminal import Terminal
from tokex_gguf.cli import commands, main
from tokex_gguf.models import hub as hub_module
from tokex_gguf.models.reference import DownloadFailed

MODEL = b"GGUF" + bytes(range(256)) * 4000
FILES = {
    "README.md": b"# a model",
    "model.Q2_K.gguf": MODEL,
    "model.Q8_0.gguf": MODEL + b"8",
    "sub/big.F16-00001-of-00002.gguf": MODEL + b"one",
    "sub/big.F16-00002-of-00002.gguf": MODEL + b"two",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def kept(tmp_path: Path) -> set[str]:
    """The files that were downloaded, by their names in the repository."""
    folder = tmp_path / "hub" / "hub" / "models--maker--model" / "snapshots" / REVISION
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def left(tmp_path: Path) -> list[Path]:
    """All that the hub's cache holds of any repository, locks and empty folders included."""
    return list((tmp_path / "hub").rglob("*models--*"))


def beginnings(tmp_path: Path) -> list[Path]:
    """What waits to be gone on with."""
    return list((tmp_path / "hub").rglob("*.incomplete"))


def test_pull_fetches_what_is_preferred_and_prints_its_path(tmp_path: Path) -> None:
    with serving(FILES) as hub:
        done = run(hub.address, "pull", "maker/model")
        assert done.returncode == 0, done.stderr
        assert "downloading maker/model:model.Q8_0.gguf (1 MB, from the beginning)" in done.stderr
        assert Path(done.stdout.strip()).read_bytes() == FILES["model.Q8_0.gguf"]
        asked = len(hub.requests)
        again = run(hub.address, "pull", "maker/model")
        assert (again.returncode, again.stdout) == (0, done.stdout)
        assert len(hub.requests) == asked, "it is here"
    assert kept(tmp_path) == {"model.Q8_0.gguf"}


def test_pull_takes_a_quantisation_or_a_file(tmp_path: Path) -> None:
    with serving(FILES) as hub:
        assert run(hub.address, "pull", "hf:maker/model:q2_k").returncode == 0
        done = run(hub.address, "pull", "maker/model:big.F16-00001-of-00002.gguf")
        assert done.returncode == 0, done.stderr
        assert "2 files" in done.stderr
    assert kept(tmp_path) == {name for name in FILES if "Q2_K" in name or "big" in name}


def test_a_token_is_sent_where_there_is_one() -> None:
    with serving(FILES) as hub:
        assert run(hub.address, "pull", "maker/model", HF_TOKEN="hf_secret").returncode == 0
        assert "Bearer hf_secret" in hub.authorization


def test_a_cut_connection_goes_on_where_it_was(tmp_path: Path) -> None:
    with serving(FILES, "cut") as hub:
        done = run(hub.address, "pull", "maker/model")
        assert done.returncode == 0, done.stderr
        assert hub.cuts == 2
    assert kept(tmp_path) == {"model.Q8_0.gguf"}


Pull = Callable[[Hub, str], tuple[int, list[str]]]


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pull:
    """`tokex-gguf pull` in this process, and in haste: its exit code and its lines but the download's first."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr(hub_module, "HUB_WAIT", 10)
    monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=lambda _: None))  # between its tries

    def run_here(hub: Hub, name: str) -> tuple[int, list[str]]:
        if hub.fault == "hangs":
            monkeypatch.setattr(hub_module, "HUB_WAIT", 0.5)
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        code = main.main(["pull", name])
        lines = capsys.readouterr().err.splitlines()
        return code, [line for line in lines if not line.startswith("tokex-gguf: downloading")]

    return run_here


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("no repository", "model: no such repository on the hub, or a private one: check the name, or set HF_TOKEN"),
        ("gated", "maker/model is gated: accept its terms on the hub, then set HF_TOKEN"),
        ("forbidden", r"the hub refuses maker/model \(status 403\): set HF_TOKEN to a token that may read it"),
        ("wrong token", r"the hub refuses maker/model \(status 401\): set HF_TOKEN to a token that may read it"),
        ("rate limit", r"the hub refuses maker/model for now \(too many requests\): try again in some minutes, or set"),
        ("broken", "the hub cannot be reached for maker/model: it answers with status 500; try again later"),
        ("hangs", "the hub cannot be reached for maker/model: no answer: check the connection"),
        ("file gone", "maker/model: the hub does not have this file any more: try again"),
        ("huge", r"maker/model:model\.Q8_0\.gguf needs 1,000,000\.0 GB, and .* has .* free: make room, or let HF_HOME"),
        ("wrong hash", r"came with a wrong checksum \(SHA-256\) and was removed: the next try starts from the beg"),
        ("always cut", r"maker/model: the download broke off \(.*\): the next try goes on where it was$"),
        ("stalls", r"maker/model: the download broke off \(.*\): the next try goes on where it was$"),
    ],
)
def test_every_fault_is_one_line_with_the_next_step_and_leaves_nothing(
    fault: str, expected: str, tmp_path: Path, pull: Pull
) -> None:
    with serving(FILES, fault) as hub:
        code, lines = pull(hub, "maker/model")
    assert code == 1 and len(lines) == 1, lines
    assert re.search(expected, lines[0])
    assert left(tmp_path) == []


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pull: Pull) -> None:
    """There was room at first, and the hub's client finds none."""
    room = iter([10**12])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(room, 0)))

    def full(*_: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_download, "http_get", full)
    with serving(FILES) as hub:
        code, lines = pull(hub, "maker/model")
    cache = tmp_path / "hub" / "hub"
    assert (code, lines) == (
        1,
        [f"tokex-gguf: maker/model: the disk is full; nothing was kept: make room in {cache}"],
    )
    assert left(tmp_path) == []


def test_what_killed_downloads_left_is_removed(tmp_path: Path, pull: Pull) -> None:
    folder = tmp_path / "hub" / "hub" / "models--maker--model" / "blobs"
    folder.mkdir(parents=True)
    old, fresh = folder / "a.1.incomplete", folder / "b.2.incomplete"
    forgotten, waiting = folder / f"{'a' * 64}.incomplete", folder / f"{'b' * 64}.incomplete"
    for path, days in ((old, 1), (fresh, 0), (forgotten, 31), (waiting, 29)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - days * 86400,) * 2)
    with serving(FILES) as hub:
        assert pull(hub, "maker/model")[0] == 0
    assert not old.exists() and fresh.exists(), "somebody may still be at that one"
    assert not forgotten.exists() and waiting.exists(), "somebody may want to go on with that one"


def test_a_folder_that_cannot_be_written_is_told() -> None:
    with serving(FILES) as hub:
        done = run(hub.address, "pull", "maker/model", HF_HOME="/dev/null/there")
    assert done.returncode == 1
    said = "/dev/null/there/hub cannot be written (Not a directory): let HF_HOME name another folder"
    assert done.stderr.splitlines()[-1] == f"tokex-gguf: maker/model: {said}"


def test_a_split_model_is_gone_on_with(tmp_path: Path, pull: Pull) -> None:
    """What was whole stays, what was not does not, and the next try says which."""
    name = "maker/model:big.F16-00001-of-00002.gguf"
    with serving(FILES, "second part cut") as hub:
        code, lines = pull(hub, name)
        assert code == 1 and "broke off" in lines[0]
    first, second = sorted(file for file in FILES if "big" in file)
    assert kept(tmp_path) == {first}
    told: list[str] = []
    with serving(FILES) as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "say", told.append)
        assert pull(hub, name)[0] == 0
        assert not any(request == f"GET /maker/model/resolve/main/{first}" for request in hub.requests)
    assert told == [f"downloading maker/model:{first} (1 MB, going on: 1 of 2 files, the others are here)"]
    assert kept(tmp_path) == {first, second}


def test_the_next_try_goes_on_where_the_last_one_was(tmp_path: Path, pull: Pull) -> None:
    with serving(FILES, "half") as hub:
        code, lines = pull(hub, "maker/model")
    assert code == 1 and "the next try goes on where it was" in lines[0]
    assert kept(tmp_path) == set()
    (file,) = beginnings(tmp_path)
    whole, size = FILES["model.Q8_0.gguf"], file.stat().st_size
    assert size >= len(whole) // 2 and file.read_bytes() == whole[:size]
    told: list[str] = []
    with serving(FILES) as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "say", told.append)
        assert pull(hub, "maker/model")[0] == 0
        assert hub.ranges == [f"bytes={size}-"], "what is here is not sent again"
    assert "going on at " in told[0]
    assert kept(tmp_path) == {"model.Q8_0.gguf"} and not beginnings(tmp_path)
    (path,) = (tmp_path / "hub").rglob("model.Q8_0.gguf")
    assert path.read_bytes() == whole


@pytest.mark.parametrize("beginning", [b"other", MODEL * 2], ids=["of another file", "too long"])
def test_a_beginning_of_something_else_is_not_kept(beginning: bytes, tmp_path: Path, pull: Pull) -> None:
    """After one failed try at the most, the next one has the right file."""
    blobs = tmp_path / "hub" / "hub" / "models--maker--model" / "blobs"
    blobs.mkdir(parents=True)
    with serving(FILES) as hub:
        (blobs / f"{hub.sha256('model.Q8_0.gguf')}.incomplete").write_bytes(beginning)
        code, lines = pull(hub, "maker/model")
        if code:
            assert "came with a wrong checksum (SHA-256) and was removed: the next try starts from the be" in lines[0]
            assert kept(tmp_path) == set() and not beginnings(tmp_path)
            assert pull(hub, "maker/model")[0] == 0
    (path,) = (tmp_path / "hub").rglob("model.Q8_0.gguf")
    assert path.read_bytes() == FILES["model.Q8_0.gguf"]


def test_a_link_in_the_place_of_a_beginning_is_not_written_through(tmp_path: Path, pull: Pull) -> None:
    blobs = tmp_path / "hub" / "hub" / "models--maker--model" / "blobs"
    blobs.mkdir(parents=True)
    (tmp_path / "victim").write_bytes(b"mine")
    with serving(FILES) as hub:
        (blobs / f"{hub.sha256('model.Q8_0.gguf')}.incomplete").symlink_to(tmp_path / "victim")
        assert pull(hub, "maker/model")[0] == 0
    assert (tmp_path / "victim").read_bytes() == b"mine" and kept(tmp_path) == {"model.Q8_0.gguf"}


def test_two_programs_share_a_download(tmp_path: Path) -> None:
    """The second waits, and goes on where the first one ends: by force, here."""
    command = [sys.executable, "-m", "tokex_gguf", "pull", "maker/model"]
    with serving(FILES, "half") as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.address}
        with (
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as first,
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as second,
        ):
            both: dict[Any, subprocess.Popen[str]] = {first.stderr: first, second.stderr: second}
            while not (waiting := [errors for errors in select.select([*both], [], [])[0] if told(errors)]):
                pass
            waits = both.pop(waiting[0])
            (other,) = both.values()
            while not beginnings(tmp_path) or not beginnings(tmp_path)[0].stat().st_size:
                assert other.poll() is None
            assert len(hub.ranges) == 1, "one of them downloads"
            hub.fault = ""
            other.kill()
            assert waits.wait(30) == 0
            assert len(hub.ranges) == 2 and hub.ranges[1].startswith("bytes=")
            other.wait(30)
    assert kept(tmp_path) == {"model.Q8_0.gguf"} and not beginnings(tmp_path)


def told(errors: Any) -> bool:
    """Whether a line says that the program waits for another one."""
    return "another program downloads the same file" in errors.readline()


def test_what_nobody_waited_to_verify_has_no_name_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pull: Pull
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hashlib, "file_digest", interrupted)
    with serving(FILES) as hub:
        assert pull(hub, "maker/model") == (130, ["tokex-gguf: interrupted"])
        assert kept(tmp_path) == set() and len(beginnings(tmp_path)) == 1
        monkeypatch.undo()
        sent = len(hub.ranges)
        assert run(hub.address, "pull", "maker/model", HF_HOME=str(tmp_path / "hub")).returncode == 0
        assert len(hub.ranges) == sent, "all of it was here"
    assert kept(tmp_path) == {"model.Q8_0.gguf"}


def test_files_that_are_not_there_are_told_with_those_that_are(pull: Pull) -> None:
    with serving(FILES) as hub:
        code, (line,) = pull(hub, "maker/model:Q4_K_M")
        assert code == 1
        assert "maker/model:Q4_K_M: no Q4_K_M; it has model.Q2_K.gguf, model.Q8_0.gguf, sub/big" in line
        code, (line,) = pull(hub, "maker/model:other.gguf")
        assert code == 1 and "no file other.gguf; it has" in line


def test_the_bar_shows_speed_and_remaining_time_on_a_narrow_terminal() -> None:
    with serving(FILES) as hub:
        terminal = Terminal("pull", "maker/model", rows=24, columns=80, HF_ENDPOINT=hub.address)
        assert terminal.ends() == 0
    assert re.search(r"100 % █+ 1.02M of 1.02M, [\d.]+[kMG]?B/s, \d\d:\d\d left *\n", terminal.text())


def test_offline_means_offline() -> None:
    with serving(FILES) as hub:
        done = run(hub.address, "pull", "maker/model", HF_HUB_OFFLINE="1")
        assert done.returncode == 1 and "HF_HUB_OFFLINE is set" in done.stderr
        assert not hub.requests


ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.mark.parametrize("number", some(ENDING, of=3))
def test_a_download_can_be_broken_off(number: signal.Signals, tmp_path: Path) -> None:
    with serving(FILES, "stalls") as hub:
        program = subprocess.Popen(
            [sys.executable, "-m", "tokex_gguf", "pull", "maker/model"],
            env={**os.environ, "HF_ENDPOINT": hub.address},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert hub.sending.wait(30)
        program.send_signal(number)
        _, errors = program.communicate(timeout=20)
    assert program.returncode == 128 + number, errors
    assert errors.splitlines()[-1] == "tokex-gguf: interrupted"
    assert "Traceback" not in errors
    assert left(tmp_path) == []


def test_pull_has_no_stand_in() -> None:
    done = run("http://127.0.0.1:9", "pull")
    assert done.returncode == 1 and done.stdout == ""
    assert "the hub cannot be reached for QuantFactory/" in done.stderr and "bundled" not in done.stderr


# --- what a hub, or whoever stands in its place, can say


def everything(folder: Path) -> dict[str, bytes | str]:
    """All files and links below a folder."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return {str(path): str(path.readlink()) if path.is_symlink() else path.read_bytes() for path in found}


def ways_out(tmp_path: Path) -> list[str]:
    """Names that lead out of a folder, or to something else than a file."""
    absolute = [str(tmp_path / "victim"), "/", "C:\\victim", "//host/victim"]
    relative = [
        "../" * 5 + "victim",
        "../victim",
        "..\\victim",
        "..",
        ".",
        "a/b",
        "~/victim",
        "$HOME/victim",
        "x" * 300,
    ]
    return [*absolute, *relative, "NUL", "nul", "CON.gguf", "a\tb", "\x85", "\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9"]


def nothing_becomes_a_path(header: str, fault: str, values: list[str], tmp_path: Path, pull: Pull) -> int:
    """Pulls from a hub that says these values; returns how many answers it tried."""
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "victim").write_bytes(b"mine")
    before = everything(tmp_path)
    for value in values:
        with serving(FILES, fault, says={header: value}) as hub:
            code, lines = pull(hub, "maker/model")
        assert code == 1 and len(lines) == 1 and lines[0].isprintable(), (value, lines)
        if fault != "file gone" or header == "X-Repo-Commit":
            assert f"the hub's answer makes no sense: its {header} is " in lines[0], (value, lines)
        assert everything(tmp_path) == before, value
    return len(values)


@pytest.mark.parametrize(
    ("header", "fault"),
    [("ETag", ""), ("X-Linked-Etag", "wrong hash"), ("X-Repo-Commit", "file gone"), ("X-Xet-Hash", "")],
)
def test_no_answer_of_a_hub_becomes_a_path(header: str, fault: str, tmp_path: Path, pull: Pull, figure: Figure) -> None:
    first, *_, last = values = ways_out(tmp_path)
    some = [first, f'"{values[5]}"', f'W/"{values[6]}"', last]
    tried = nothing_becomes_a_path(header, fault, some, tmp_path, pull)
    figure(tried, "answers that name a way out of the cache", files_written=0)


@pytest.mark.soak
@pytest.mark.parametrize("header", ["ETag", "X-Linked-Etag", "X-Repo-Commit", "X-Xet-Hash"])
@pytest.mark.parametrize("fault", ["", "wrong hash", "file gone"])
def test_no_answer_of_a_hub_becomes_a_path_in_any_form(
    header: str, fault: str, tmp_path: Path, pull: Pull, figure: Figure
) -> None:
    values = ways_out(tmp_path)
    if header in ("ETag", "X-Linked-Etag"):
        values += [form.format(value) for value in values for form in ('"{}"', 'W/"{}"')]
    tried = nothing_becomes_a_path(header, fault, values, tmp_path, pull)
    figure(tried, "answers that name a way out of the cache", files_written=0)


NAMES = (
    *("../{}.gguf", "/{}.gguf", "sub/../../{}.gguf", "sub\\..\\{}.gguf", "C:\\{}.gguf", "c:{}.gguf", "//host/{}.gguf"),
    *("./{}.gguf", "sub//{}.gguf", "NUL.Q8_0.gguf", "com1.gguf", "sub/aux/{}.gguf", "{}\x1b[2J.gguf", "{}\n.gguf"),
    *("{}\0.gguf", "{}\u202e.gguf", "{}\u009b.gguf", "a/" * 600 + "{}.gguf", "x" * 260 + "{}.gguf", " {}.gguf"),
    *("sub /{}.gguf", "sub./{}.gguf", "{}\ud800.gguf"),
)


def test_files_with_names_that_lead_elsewhere_are_not_there(tmp_path: Path, pull: Pull) -> None:
    with serving({name.format("model.Q8_0"): MODEL for name in NAMES}) as hub:
        code, lines = pull(hub, "maker/model")
    assert (code, lines) == (1, ["tokex-gguf: maker/model: it has no GGUF file"])
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"lfs": {"sha256": "../../victim", "size": 1, "pointerSize": 1}}, "makes no sense: the checksum of model"),
        ({"lfs": {"sha256": "A" * 64, "size": 1, "pointerSize": 1}}, "makes no sense: the checksum of model"),
        ({"lfs": {"sha256": 7, "size": 1, "pointerSize": 1}}, "makes no sense: the checksum of model"),
        ({"size": -1}, "makes no sense: model.Q8_0.gguf has -1 bytes"),
        ({"size": "many"}, "makes no sense: .* has 'many' bytes"),
        ({"size": 10**30}, "needs .* free: make room"),
        ({"size": 1000}, "the hub sends more than the 1,000 bytes that it told of|broke off"),
        ({"size": len(MODEL) + 2}, "wrong checksum|broke off"),
        ({"rfilename": 5}, "no GGUF file|makes no sense"),
        ({"rfilename": None}, "no GGUF file|makes no sense"),
        ({"lfs": 5}, "makes no sense"),
    ],
)
def test_a_list_that_makes_no_sense_is_told(
    lists: dict[str, object], expected: str, tmp_path: Path, pull: Pull
) -> None:
    with serving({"model.Q8_0.gguf": MODEL}, lists=lists) as hub:
        code, lines = pull(hub, "maker/model")
    assert code == 1 and len(lines) == 1, lines
    assert re.search(expected, lines[0])
    assert left(tmp_path) == []


@pytest.mark.parametrize("size", [len(MODEL), None])
@pytest.mark.parametrize("fault", ["endless file", "more at each try"])
def test_a_body_without_an_end_is_given_up(
    fault: str, size: int | None, tmp_path: Path, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the size that the hub told, or by what a file of unknown size may have."""
    monkeypatch.setattr(hub_module, "MOST_BYTES", 50 << 20)
    with serving({"model.Q8_0.gguf": MODEL}, fault, lists={"size": size}) as hub:
        code, lines = pull(hub, "maker/model")
        assert hub.sent < 200 << 20 and hub.cuts < 100
    assert code == 1 and ("more than" in lines[0] or fault != "endless file"), lines
    assert left(tmp_path) == []


def test_a_list_without_an_end_is_given_up(tmp_path: Path, pull: Pull) -> None:
    with serving(FILES, "endless list") as hub:
        code, lines = pull(hub, "maker/model")
        assert hub.sent < 100 << 20
    assert code == 1 and "more than 17 MB" in lines[0], lines
    assert left(tmp_path) == []


def test_a_file_that_never_comes_whole_is_given_up(tmp_path: Path, pull: Pull) -> None:
    with serving({"model.Q8_0.gguf": MODEL}, "never whole") as hub:
        code, _ = pull(hub, "maker/model")
        assert code == 1 and hub.cuts <= hub_module.MOST_ANSWERS
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", "//", "http://127.0.0.1:9/x", "\\\\h\\x"]
)
def test_redirects_lead_to_no_file_of_this_machine(target: str, tmp_path: Path, pull: Pull) -> None:
    with serving(FILES, says={"Location": target}) as hub:
        code, lines = pull(hub, "maker/model")
    assert code == 1 and len(lines) == 1, lines
    assert left(tmp_path) == []


@pytest.mark.parametrize("target", ["http://huggingface.co/x", "HTTP://huggingface.co/x"])
def test_no_redirect_leads_from_an_encrypted_address_to_a_plain_one(target: str) -> None:
    request = SimpleNamespace(method="GET", url=SimpleNamespace(scheme="https"))
    with pytest.raises(DownloadFailed, match="without encryption"):
        hub_module._Guard().check(SimpleNamespace(headers={"Location": target}, request=request))


def test_a_download_leaves_files_in_its_repositorys_folders_alone(tmp_path: Path, pull: Pull) -> None:
    before = set(tmp_path.rglob("*"))
    with serving(FILES) as hub:
        assert pull(hub, "maker/model")[0] == 0
    cache = tmp_path / "hub" / "hub"
    ours = (cache / "models--maker--model", cache / ".locks" / "models--maker--model")
    state = tmp_path / "state" / "tokex-gguf"
    for path in set(tmp_path.rglob("*")) - before:
        above = path in (tmp_path / "hub", cache, cache / ".locks", cache / "CACHEDIR.TAG", state.parent, state)
        assert above or any(path.is_relative_to(folder) for folder in ours), path
        assert path.resolve().is_relative_to(tmp_path)


def test_what_is_packed_is_not_unpacked(tmp_path: Path, pull: Pull) -> None:
    with serving(FILES, says={"Content-Encoding": "gzip"}) as hub:
        code, lines = pull(hub, "maker/model")
    assert code == 1 and "packed form" in lines[0]
    assert left(tmp_path) == []


def test_a_wrong_file_takes_no_other_with_it(tmp_path: Path, pull: Pull) -> None:
    """What the cache holds already under the name that the hub gives a wrong file was there before us; what it is
    a link to, elsewhere, even more so."""
    blobs = tmp_path / "hub" / "hub" / "models--maker--model" / "blobs"
    blobs.mkdir(parents=True)
    (tmp_path / "victim").write_bytes(b"mine")
    (blobs / ("e" * 40)).symlink_to(tmp_path / "victim")
    with serving(FILES, says={"ETag": "e" * 40}) as hub:
        code, lines = pull(hub, "maker/model")
    assert code == 1 and "wrong checksum" in lines[0]
    assert (tmp_path / "victim").read_bytes() == b"mine"


def test_a_link_that_was_there_before_loses_its_name_alone(tmp_path: Path, pull: Pull) -> None:
    folder = tmp_path / "hub" / "hub" / "models--maker--model" / "snapshots" / REVISION / "sub"
    folder.mkdir(parents=True)
    (tmp_path / "victim").write_bytes(b"mine")
    first, second = sorted(file for file in FILES if "big" in file)
    (tmp_path / "hub" / "hub" / "models--maker--model" / "snapshots" / REVISION / second).symlink_to(
        tmp_path / "victim"
    )
    with serving(FILES) as hub:
        code, lines = pull(hub, "maker/model:big.F16-00001-of-00002.gguf")
    assert code == 1 and "wrong checksum" in lines[0]
    assert (tmp_path / "victim").read_bytes() == b"mine" and kept(tmp_path) == {first}


def test_another_revision_is_fetched_by_its_address(tmp_path: Path, pull: Pull) -> None:
    with serving(FILES, revision="v2") as hub:
        address = f"{hub.address}/maker/model/resolve/v2/model.Q2_K.gguf?download=true"
        assert pull(hub, "https://huggingface.co/maker/model/blob/v2/model.Q2_K.gguf") == (0, [])
        assert any(request.startswith("GET /api/models/maker/model/revision/v2") for request in hub.requests)
        asked = len(hub.requests)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HF_ENDPOINT", hub.address)
            assert pull(hub, address) == (0, [])
        assert pull(hub, "maker/model@v2:Q2_K") == (0, [])
        assert len(hub.requests) == asked, "it is here"
    assert kept(tmp_path) == {"model.Q2_K.gguf"}


def test_an_address_elsewhere_is_told(pull: Pull) -> None:
    with serving(FILES) as hub:
        for address in ("https://example.org/maker/model", "http://huggingface.co.example.org/a/b", "https://hf.co/a"):
            code, lines = pull(hub, address)
            assert code == 2 and "not a model's address on the hub" in lines[0]
        assert not hub.requests


def test_an_empty_cache_variable_is_none(tmp_path: Path) -> None:
    """The current folder gets nothing."""
    (tmp_path / "here").mkdir()
    os.chdir(tmp_path / "here")
    with serving(FILES) as hub:
        done = run(hub.address, "pull", "maker/model", HF_HUB_CACHE="")
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.strip()).is_relative_to(tmp_path / "hub" / "hub")
        done = subprocess.run(
            [sys.executable, "-m", "tokex_gguf", "pull", "maker/model:Q2_K"],
            env={**os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_DOWNLOAD_TIMEOUT": "soon"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1 and "a variable HF_... of the environment is not a number" in done.stderr
    assert list((tmp_path / "here").iterdir()) == []


def test_without_symbolic_links_a_model_is_there_once(
    tmp_path: Path, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, and on disks that have none."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    monkeypatch.setattr(file_download, "_are_symlinks_supported_in_dir", {})
    monkeypatch.setattr(shutil, "copyfile", lambda *_: pytest.fail("the model is copied"))
    with serving({"sub/model.Q8_0.gguf": MODEL}) as hub:
        code, _ = pull(hub, "maker/model")
        assert code == 0
        (file,) = [
            path for path in (tmp_path / "hub").rglob("*") if path.is_file() and path.stat().st_size >= len(MODEL)
        ]
        assert file.read_bytes() == MODEL and not file.is_symlink()
        assert file.name == "model.Q8_0.gguf" and file.parent.name == "sub"
        asked = len(hub.requests)
        assert pull(hub, "maker/model")[0] == 0 and len(hub.requests) == asked, "it is there"
