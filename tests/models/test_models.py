"""From a name to a file, with a stand-in for the hub on this machine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake import started
from tests.hub import Hub, run, serving
from tests.terminal import Terminal
from tokex_gguf.config import DEFAULT_MODEL
from tokex_gguf.models import hub as hub_module
from tokex_gguf.models import resolve as model_resolve
from tokex_gguf.models.resolve import DownloadFailed, UnknownModel, played, resolve
from tokex_gguf.sessions import codec
from tokex_gguf.values.model_ref import GgufFile

REPO, FILE = DEFAULT_MODEL.split(":")


@pytest.fixture
def hub(request: pytest.FixtureRequest, model_path: Path) -> Iterator[Hub]:
    """The stand-in with the bundled model's file under some names; a test's parameter names its fault."""
    data = model_path.read_bytes()
    with serving({FILE: data, "file.gguf": data}, getattr(request, "param", "")) as hub:
        yield hub


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def play(endpoint: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(endpoint, "--plain", "--prompt", "Once", *arguments, **environment)


def silent(_line: str) -> None:
    raise AssertionError("nothing is downloaded here")


# --- on disk


def test_a_path_is_taken_as_it_is(model_path: Path) -> None:
    assert resolve(str(model_path), silent).path == model_path


def test_a_path_is_kept_for_starts_from_other_folders(model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "here.gguf").symlink_to(model_path)
    for name in ("here.gguf", "./here.gguf", "sub/../here.gguf"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        path = resolve(name, silent).path
        assert path.is_absolute() and path.samefile(model_path)


def test_a_name_is_found_in_models(model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.gguf").symlink_to(model_path)
    assert resolve("mine.gguf", silent).path == tmp_path / "models" / "mine.gguf"
    (tmp_path / "models" / FILE).symlink_to(model_path)
    assert resolve(DEFAULT_MODEL, silent).path == tmp_path / "models" / FILE


def in_cache(home: Path, repo: str, file: str, model: Path) -> Path:
    folder = home / "hub" / f"models--{repo.replace('/', '--')}"
    path = folder / "snapshots" / ("b" * 40) / file
    path.parent.mkdir(parents=True)
    path.symlink_to(model)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("b" * 40)
    return path


def test_the_bundled_model_has_a_name(model_path: Path) -> None:
    assert resolve("bundled", silent).path == model_path
    assert resolve("SmolLM2-135M-Instruct.Q4_1.gguf", silent).path == model_path


def test_the_hubs_cache_is_used_without_the_hub(model_path: Path, tmp_path: Path) -> None:
    path = in_cache(tmp_path / "hub", "maker/model", "file.gguf", model_path)
    assert resolve("maker/model:file.gguf", silent).path == path


def test_the_cache_is_found_where_the_hubs_own_client_looks(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    script = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    path = in_cache(Path(done.stdout.strip()).parent, "maker/model", "file.gguf", model_path)
    assert resolve("maker/model:file.gguf", silent).path == path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing.gguf", "no such file"),
        ("./maker/model.gguf", "no such file"),
        ("a/b/c:d.gguf", "no such file"),
        (".", "a folder"),
    ],
)
def test_names_that_lead_nowhere(name: str, expected: str) -> None:
    with pytest.raises(UnknownModel, match=expected):
        resolve(name, silent)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes among files")
def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(UnknownModel, match="not a file"):
        resolve("pipe.gguf", silent)


# --- the hub


@pytest.mark.thorough
def test_the_default_model_is_fetched_once_into_the_hubs_cache(hub: Hub, tmp_path: Path) -> None:
    done = play(hub.address)
    assert done.returncode == 0, done.stderr
    assert f"downloading {DEFAULT_MODEL} (98 MB, from the beginning)" in done.stderr
    assert "bundled" not in done.stderr
    assert list((tmp_path / "hub" / "hub" / f"models--{REPO.replace('/', '--')}").rglob(FILE))
    asked = len(hub.requests)
    assert play(hub.address).returncode == 0
    assert len(hub.requests) == asked, "the second start asks the hub nothing"


def test_without_a_hub_the_bundled_model_is_used_and_a_line_says_so() -> None:
    done = play("http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert "the hub cannot be reached" in done.stderr
    assert "using the bundled SmolLM2-135M instead" in done.stderr
    assert "Smollm2 135M" in done.stdout


def test_a_model_asked_for_by_name_is_never_replaced() -> None:
    done = play("http://127.0.0.1:9", "--model", "maker/model:file.gguf")
    assert done.returncode == 1
    assert "the hub cannot be reached for maker/model:file.gguf" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.thorough
@pytest.mark.parametrize("hub", ["hangs"], indirect=True)
def test_a_hub_that_does_not_answer_is_given_up_in_time(hub: Hub) -> None:
    done = play(hub.address, PATIENCE="0.3")
    assert done.returncode == 0, done.stderr
    assert "no answer: check the connection; using the bundled" in done.stderr
    assert hub_module.HUB_WAIT < 9, "ten seconds in all"


def test_without_a_bundled_model_there_is_no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(model_resolve, "bundled_model", lambda: None)
    with pytest.raises(DownloadFailed, match="HF_HUB_OFFLINE"):
        resolve(DEFAULT_MODEL, silent)


# --- of a session


NO_PATHS = (
    *(
        DEFAULT_MODEL,
        "maker/model",
        "hf:maker/model:file.gguf",
        "hf.co/maker/model",
        "bundled",
        "mine",
        "maker/model:Q8_0",
    ),
    *("https://huggingface.co/maker/model/resolve/main/file.gguf", "", ".", "/", "~", "/dev/null", "/dev/zero", "a\0b"),
    *("\ud800", "x" * 5000, "round.gguf", "pipe.gguf", "https://127.0.0.1/file.gguf"),
)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes among files")
@pytest.mark.parametrize("file", NO_PATHS)
def test_what_a_session_says_is_a_path_and_never_a_name(
    file: str, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_resolve, "obtain", silent)
    monkeypatch.setattr(model_resolve, "find", silent)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.gguf").symlink_to(model_path)
    (tmp_path / "round.gguf").symlink_to(tmp_path / "round.gguf")
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(UnknownModel, match="the session's model is not there any more"):
        played(file)


def test_a_sessions_model_that_was_moved_is_found_on_this_machine(tiny: dict[str, Path], tmp_path: Path) -> None:
    """Under its file's name; which of two is meant, nobody knows. What the file holds is compared once it is loaded."""
    (tmp_path / "models").mkdir()
    there = tmp_path / "models" / "mine.gguf"
    shutil.copy(tiny["gemma3"], there)
    assert played(str(there)) == model_resolve.Resolved(there)
    found = played("/gone/mine.gguf")
    assert found == model_resolve.Resolved(there, f"the session's model is at {there} now")
    shutil.copy(there, in_cache(tmp_path / "hub", "maker/model", "mine.gguf", there).parent / "again.gguf")
    link = tmp_path / "hub" / "hub" / "models--maker--model" / "snapshots" / ("b" * 40) / "mine.gguf"
    link.unlink()
    shutil.copy(there, link)
    with pytest.raises(UnknownModel, match="put it back, or name one with --model"):
        played("/gone/mine.gguf")


def test_for_a_model_that_left_the_hubs_cache_the_command_that_fetches_it_is_told(tmp_path: Path) -> None:
    file = tmp_path / "hub" / "hub" / "models--maker--model" / "snapshots" / ("b" * 40) / "sub" / "file.gguf"
    with pytest.raises(UnknownModel, match=f"tokex-gguf pull maker/model@{'b' * 40}:sub/file.gguf fetches it"):
        played(str(file))
    with pytest.raises(UnknownModel, match="put it back"):
        played(str(tmp_path / "models--../snapshots/x/a.gguf"))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("maker/model:Q8_0", r"tokex-gguf pull maker/model:Q8_0 fetches it again$"),
        ("hf://maker/model@v2/sub/a.gguf", r"tokex-gguf pull maker/model@v2:sub/a\.gguf fetches it again$"),
        ("maker/model:a b.gguf", r"tokex-gguf pull 'maker/model:a b\.gguf' fetches it again$"),
        ("maker/model:$(rm -rf x)`y`", r"tokex-gguf pull 'maker/model:\$\(rm -rf x\)`y`' fetches it again$"),
        ("maker/model:a\nb", "put it back, or name one with --model"),
        ("maker/model:../../a", "put it back, or name one with --model"),
        ("mine", r"\(asked for as .?mine.?\): put it back, or name one with --model"),
        ("a" * 10_000, "put it back, or name one with --model"),
        ("/gone/x.gguf", r"any more: /gone/x\.gguf: put it back, or name one with --model"),
        ("", r"any more: /gone/x\.gguf: put it back, or name one with --model"),
        ("\udcff/\0", "put it back, or name one with --model"),
    ],
)
def test_what_was_asked_for_says_how_a_model_comes_back(
    asked: str, told: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    with pytest.raises(UnknownModel, match=told) as refusal:
        played("/gone/x.gguf", asked)
    assert not hub.requests and len(str(refusal.value)) < 400


def test_a_commit_of_the_hub_is_asked_for_before_what_it_stood_for() -> None:
    """Another commit may hold another model, and the session's numbers are of one."""
    with pytest.raises(UnknownModel, match=r"asked for as .*maker/model:Q8_0.*pull maker/model@0123abc:a\.gguf"):
        played("/gone/models--maker--model/snapshots/0123abc/a.gguf", "maker/model:Q8_0")


def test_the_name_of_a_model_is_kept_without_a_password(tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file = model_resolve.Resolved(tiny["llama"])
    monkeypatch.setattr(model_resolve, "obtain", lambda *_: file)
    kept = {
        "maker/model:Q8_0": "maker/model:Q8_0",
        "models/a.gguf": "models/a.gguf",
        "https://me:secret@huggingface.co/maker/model/resolve/main/a.gguf?token=secret": "maker/model:a.gguf",
        "https://me:secret@elsewhere.example/a.gguf": "",
    }
    assert {name: model_resolve.resolve(name, print).asked for name in kept} == kept


def test_a_session_fetches_nothing(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even from a hub that has what it names."""
    game = started("abc")
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    folder = tmp_path / "state" / "tokex-gguf" / "sessions"
    folder.mkdir(parents=True)
    session = replace(
        game.session,
        game=replace(game.session.game, settings=replace(game.session.game.settings, model=GgufFile(DEFAULT_MODEL))),
    )
    (folder / "a.json").write_bytes(codec.dump(session))
    terminal = Terminal("--session", "a", columns=200)
    assert terminal.ends() == 2
    assert "the session's model is not there any more" in terminal.text()
    assert not hub.requests
