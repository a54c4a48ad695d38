"""Fetching models from a stand-in for the hub, with all that can go wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hub import HASTE, REVISION, run, serving

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


def blobs(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "hub" / "hub").glob("models--*/blobs/*"))


def test_pull_fetches_what_is_preferred_and_prints_its_path(tmp_path: Path) -> None:
    with serving(FILES) as hub:
        done = run(hub.address, "pull", "maker/model")
        assert done.returncode == 0, done.stderr
        assert "downloading maker/model:model.Q8_0.gguf (1 MB) from the beginning" in done.stderr
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


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("no repository", "maker/model: no such repository on the hub, or a private one: check the name"),
        ("gated", "maker/model is gated: accept its terms on the hub, then set HF_TOKEN"),
        ("forbidden", "the hub refuses maker/model (status 403): set HF_TOKEN"),
        ("rate limit", "the hub refuses maker/model for now (too many requests): try again in some minutes"),
        ("broken", "the hub cannot be reached for maker/model: it answers with status 500; try again later"),
        ("hangs", "the hub cannot be reached for maker/model: no answer"),
        ("file gone", "maker/model: the hub does not have this file any more"),
        ("huge", "maker/model:model.Q8_0.gguf needs 1,000,000.0 GB, and"),
        ("wrong hash", "came with a wrong checksum (SHA-256) and was removed: run the same command again"),
        ("always cut", "maker/model: the download broke off ("),
        ("stalls", "maker/model: the download broke off ("),
    ],
)
def test_every_fault_is_one_line_with_the_next_step_and_leaves_nothing(
    fault: str, expected: str, tmp_path: Path
) -> None:
    with serving(FILES, fault) as hub:
        done = run(hub.address, "pull", "maker/model")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("tokex-gguf: downloading")]
    assert done.returncode == 1, done.stderr
    assert len(lines) == 1 and expected in lines[0], done.stderr
    assert not kept(tmp_path) and not blobs(tmp_path)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    script = HASTE.replace(
        "import huggingface_hub.file_download as f\n",
        "import errno, huggingface_hub.file_download as f\n"
        "def full(*_, **__): raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "f.http_get = full\n",
    )
    with serving(FILES) as hub:
        done = subprocess.run(
            [sys.executable, "-c", script, "pull", "maker/model"],
            env={**os.environ, "HF_ENDPOINT": hub.address},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "the disk is full; nothing was kept: make room in" in done.stderr
    assert not blobs(tmp_path)


def test_files_that_are_not_there_are_told_with_those_that_are() -> None:
    with serving(FILES) as hub:
        done = run(hub.address, "pull", "maker/model:Q4_K_M")
        assert done.returncode == 1
        assert "maker/model:Q4_K_M: no Q4_K_M; it has model.Q2_K.gguf, model.Q8_0.gguf, sub/big" in done.stderr
        done = run(hub.address, "pull", "maker/model:other.gguf")
        assert "no file other.gguf; it has" in done.stderr


def test_offline_means_offline() -> None:
    with serving(FILES) as hub:
        done = run(hub.address, "pull", "maker/model", HF_HUB_OFFLINE="1")
        assert done.returncode == 1 and "HF_HUB_OFFLINE is set" in done.stderr
        assert not hub.requests


def test_a_download_can_be_broken_off(tmp_path: Path) -> None:
    with serving(FILES, "stalls") as hub:
        program = subprocess.Popen(
            [sys.executable, "-m", "tokex_gguf", "pull", "maker/model"],
            env={**os.environ, "HF_ENDPOINT": hub.address},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 30
        while not any(request.startswith("GET /maker") for request in hub.requests):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=20)
    assert program.returncode == 130, errors
    assert errors.splitlines()[-1] == "tokex-gguf: interrupted"
    assert "Traceback" not in errors
    assert not kept(tmp_path) and not blobs(tmp_path)


def test_pull_has_no_stand_in() -> None:
    done = run("http://127.0.0.1:9", "pull")
    assert done.returncode == 1 and done.stdout == ""
    assert "the hub cannot be reached for QuantFactory/" in done.stderr and "bundled" not in done.stderr
