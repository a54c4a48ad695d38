"""A program that is forked is what a started one is, seen from outside."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal import Terminal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere programs are started as users start them")

PROGRAM = [sys.executable, "-m", "tokex_gguf"]
FORKED = [True, False]


@contextlib.contextmanager
def by_fork(forked: bool) -> Iterator[None]:
    from tests import fork_server

    with contextlib.nullcontext() if forked else fork_server.off():
        assert (fork_server.server(PROGRAM, os.environ) is not None) == forked
        yield


@pytest.mark.parametrize("forked", FORKED)
def test_arguments_streams_folder_and_exit_code(forked: bool, tmp_path: Path, tiny: dict[str, Path]) -> None:
    (tmp_path / "here.txt").write_text("once upon")
    command = [*PROGRAM, "--model", str(tiny["qwen2"]), "--json", "--no-config"]
    with by_fork(forked):
        done = subprocess.run([*command, "-"], input=b"once upon", capture_output=True, check=False)
        assert done.returncode == 0 and done.stderr == b"" and done.stdout.startswith(b"{")
        again = subprocess.run([*command, "here.txt"], capture_output=True, cwd=tmp_path, check=False)
        assert again.stdout == done.stdout
        assert subprocess.run([*command, "none.txt"], capture_output=True, cwd=tmp_path, check=False).returncode == 2
        with (tmp_path / "out").open("wb") as out:
            process = subprocess.Popen([*PROGRAM, "--version"], stdout=out, stderr=subprocess.STDOUT)
            assert process.wait(60) == 0
    assert (tmp_path / "out").read_bytes().startswith(b"tokex-gguf ")


@pytest.mark.parametrize("forked", FORKED)
def test_processes_and_their_names(forked: bool, tmp_path: Path, light: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.umask(mask := os.umask(0))
    with by_fork(forked):
        terminal = Terminal("--model", light, "--prompt", "Once", XDG_STATE_HOME=str(tmp_path / "state"))
        terminal.shows(" ready")
        program = Path(f"/proc/{terminal.child.pid}")
        engine = Path(f"/proc/{terminal.engine()}")
        told = [one.joinpath("status").read_text().split() for one in (program, engine)]
        parents = [int(words[words.index("PPid:") + 1]) for words in told]
        assert parents == [os.getpid(), terminal.child.pid]
        assert all(int(words[words.index("Umask:") + 1], 8) == mask for words in told)
        names = [one.joinpath("cmdline").read_bytes().rstrip(b"\0").split(b"\0") for one in (program, engine)]
        assert names[0][:5] == [sys.executable.encode(), b"-m", b"tokex_gguf", b"--model", light.encode()]
        assert names[1] == [sys.executable.encode(), b"-P", b"-m", b"tokex_gguf.engine"]
        assert os.getsid(terminal.child.pid) == terminal.child.pid, "its own terminal"
        assert os.getsid(terminal.engine()) not in (os.getsid(0), terminal.child.pid), "and none"
        assert [(one / "cwd").readlink() for one in (program, engine)] == [tmp_path] * 2
        terminal.press("ctrl-q")
        assert terminal.ends() == 0 and not engine.exists()


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_model_that_was_loaded_before_says_the_same(real: bool, light_model: Path, model_path: Path) -> None:
    model = model_path if real else light_model
    command = [*PROGRAM, "--model", str(model), "--json", "--no-config", "--no-cache", "--prompt", "Once upon a time"]
    told = []
    for forked in FORKED:
        with by_fork(forked):
            told.append(subprocess.run(command, capture_output=True, check=False))
    assert told[0].returncode == told[1].returncode == 0
    assert told[0].stdout == told[1].stdout and told[0].stdout.startswith(b"{")


def test_what_is_read_early_is_read_by_a_start() -> None:
    from tests import fork_server

    assert fork_server.server(PROGRAM, {**os.environ, "OMP_NUM_THREADS": "1"}) is None
    assert fork_server.server([sys.executable, "-c", "pass"], os.environ) is None
