"""The real program on llama.cpp's real RPC workers, on this machine: the same numbers, and workers that fail."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.program import test_play
from tests.servers import Line, RpcWorker, listed
from tests.terminal import Terminal
from tokex_gguf.models.gguf.metadata import tensor_bytes
from tokex_gguf.values.formatting import size_of

TOLD = 5.0
"""Seconds after which a hang must have been told."""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def workers() -> Iterator[list[RpcWorker]]:
    with servers.rpc_workers() as both:
        yield both


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tokex_gguf", *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)


def told(*arguments: str) -> dict[str, Any]:
    done = run("--no-config", "--model", "bundled", "--json", "--input", str(test_play.NATALIA), *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.thorough
def test_the_numbers_are_those_of_this_machine(workers: list[RpcWorker]) -> None:
    assert told() == told("--rpc", listed(workers))
    assert all(worker.alive() for worker in workers)


def test_the_worked_example(workers: list[RpcWorker], tmp_path: Path) -> None:
    for terminal in test_play.evaluated(tmp_path, "--rpc", listed(workers)):
        assert f"⇄ {workers[0].name} {workers[1].name}" in terminal.text().splitlines()[0]
        test_play.test_the_worked_example(terminal)


def test_what_is_looked_ahead_to_autoplay_and_a_restart(workers: list[RpcWorker], light: str) -> None:
    terminal = Terminal("--no-config", "--model", light, "--prompt", "Once upon", "--rpc", listed(workers), columns=80)
    terminal.shows("tokens: 2 .* ready")
    assert "⇄ 2 RPC workers" in terminal.text().splitlines()[0], "where there is no room for their names"
    terminal.press("right")
    terminal.shows("tokens: 3 .* ready")
    terminal.press(" ")
    terminal.shows(r"tokens: [\d,]{2,} .*autoplay")
    terminal.press("r", "r")
    terminal.shows("working  loading|tokens: .* ready")
    terminal.shows("tokens: .* ready")
    assert all(worker.alive() for worker in workers), "an engine that is ended takes its leave"
    terminal.press(" ")
    terminal.shows("autoplay")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0
    assert all(worker.alive() for worker in workers)


@pytest.mark.thorough
def test_a_worker_that_dies_stops_and_comes_back(workers: list[RpcWorker], light: str) -> None:
    """Each time one line names it, nothing is lost, and `r` goes on."""
    terminal = Terminal("--no-config", "--model", light, "--prompt", "Once upon", "--rpc", listed(workers))
    terminal.shows("tokens: 2 .* ready")
    terminal.press("right")
    terminal.shows("tokens: 3 .* ready")

    workers[1].end()
    terminal.shows(rf"the engine stopped \(the RPC worker {workers[1].name} is gone\); your prompts are safe: press r")
    terminal.press("r")
    terminal.shows(rf"the RPC worker {workers[1].name} is not there: Connection refused\); your prompts are safe")
    workers[1].start()
    terminal.press("r")
    terminal.shows("tokens: 3 .* ready")

    workers[0].signal(signal.SIGSTOP)
    began = time.monotonic()
    terminal.press("down", "right")
    terminal.shows(rf"no answer from {workers[0].name} for \d s: r restarts the engine")
    assert time.monotonic() - began < TOLD
    workers[0].signal(signal.SIGCONT)
    terminal.shows("tokens: 4 .* ready")

    workers[0].signal(signal.SIGSTOP)
    terminal.press("down", "right")
    terminal.shows(rf"no answer from {workers[0].name} for \d s: r restarts the engine")
    terminal.press("r")
    terminal.shows(rf"the engine stopped \(the RPC worker {workers[0].name} does not answer")
    workers[0].end()
    workers[0].start()
    terminal.press("r")
    terminal.shows("tokens: 5 .* ready")
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.thorough
def test_what_was_played_is_kept_where_a_worker_hangs_and_the_program_is_ended(
    workers: list[RpcWorker], light: str
) -> None:
    """And it is gone on with on this machine alone."""
    terminal = Terminal("--no-config", "--model", light, "--prompt", "Once upon", "--rpc", listed(workers))
    terminal.shows("tokens: 2 .* ready")
    terminal.press("right")
    terminal.shows("tokens: 3 .* ready")
    workers[0].signal(signal.SIGSTOP)
    terminal.press("right")
    terminal.shows("no answer from")
    terminal.child.kill(signal.SIGTERM)
    assert terminal.ends() == 143
    workers[0].signal(signal.SIGCONT)

    terminal = Terminal("--no-config", "--resume")
    terminal.shows("tokens: 4 .* ready")
    assert "computed by another build or machine: new ones can differ a little" in terminal.text()
    terminal.press("ctrl-q")
    assert terminal.ends() == 0


@pytest.mark.thorough
def test_without_a_screen_who_is_waited_for_is_told(workers: list[RpcWorker]) -> None:
    line = Line(workers[0], 60_000_000, cut=False)
    command = [sys.executable, "-m", "tokex_gguf", "--no-config", "--model", "bundled", "--json", "--rpc", line.name]
    command += ["--input", str(test_play.NATALIA)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stderr and program.stdout
        told = program.stderr.readline()
        line.close()
        assert told == f"tokex-gguf: no answer from {line.name}: waiting\n"
        assert program.stderr.read() == f"tokex-gguf: the RPC worker {line.name} is gone\n"
        assert program.stdout.read() == ""
    assert program.returncode in (1, 2)


REFUSED = {
    "no port": ("lab", "'lab'"),
    "port 0": ("lab:0", "'lab:0'"),
    "too high a port": ("lab:70000", "'lab:70000'"),
    "nothing": ("", "''"),
    "an empty place": ("lab:1,,lab:2", "''"),
    "no host": (":50052", "':50052'"),
    "twice": ("lab:1, lab:1", "lab:1 twice"),
    "a URL": ("http://lab:50052", "'http://lab:50052'"),
    "IPv6": ("[::1]:50052", "'[::1]:50052'"),
    "an option": ("-m:1", "'-m:1'"),
    "control characters": ("a\x1b[2J:1", r"'a\x1b[2J:1'"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_list_of_workers_is_refused_in_one_line(case: str) -> None:
    given, shown = REFUSED[case]
    done = run("--no-config", "--json", "--prompt", "a", f"--rpc={given}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "tokex-gguf: argument --rpc: expected HOST:PORT with commas between, each once, a port from 1 to 65535, "
        f"got {shown}; try --help\n"
    )


def test_workers_that_cannot_be_had_are_one_line(light: str) -> None:
    port = servers.free_port()
    done = run("--no-config", "--model", light, "--json", "--prompt", "a", "--rpc", f"127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"tokex-gguf: the RPC worker 127.0.0.1:{port} is not there: Connection refused\n"


@pytest.mark.thorough
def test_workers_of_the_configuration(workers: list[RpcWorker], tmp_path: Path, light: str) -> None:
    file = tmp_path / "rpc.toml"
    file.write_text(f'[engine]\nrpc = "{listed(workers)}"\n')
    done = run("--config", str(file), "--model", light, "--plain", "--prompt", "a")
    assert done.returncode == 0, done.stderr
    workers[0].end()
    done = run("--config", str(file), "--model", light, "--plain", "--prompt", "a")
    assert (done.returncode, f"the RPC worker {workers[0].name} is not there" in done.stderr) == (2, True)
    file.write_text('[engine]\nrpc = "lab:0"\n')
    done = run("--config", str(file), "--model", light, "--plain", "--prompt", "a")
    assert done.returncode == 2
    assert done.stderr == (
        f"tokex-gguf: {file}: engine.rpc: expected HOST:PORT with commas between, each once, a port from 1 to 65535, "
        "got 'lab:0'\n"
    )


@pytest.mark.thorough
def test_the_doctor_looks_at_workers(workers: list[RpcWorker], model_path: Path) -> None:
    done = run("doctor", "--model", "bundled", "--rpc", listed(workers))
    text = " ".join(done.stdout.split())
    layers = tensor_bytes([model_path])
    halves = size_of(sum(layers[:16])), size_of(sum(layers[16:]))
    for worker, count, half in zip(workers, (16, 15), halves, strict=True):
        assert f"{worker.name}: {count} of 31 layers, {half}" in text
    gone = f"127.0.0.1:{servers.free_port()}"
    done = run("doctor", "--model", "bundled", "--rpc", f"{workers[0].name},{gone}")
    text = " ".join(done.stdout.split())
    assert "GPU not built in; RPC can be used: --rpc" in text
    assert f"RPC worker {workers[0].name}: " in text
    assert f"! the RPC worker {gone} is not there: Connection refused" in text
    assert done.returncode == 1
    assert workers[0].alive()
