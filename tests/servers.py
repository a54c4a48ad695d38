"""Real servers of llama.cpp, each on a free port of this machine: what `scripts/llama_servers.py` builds."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from scripts import llama_servers

NEEDED = "TOKEX_GGUF_SERVERS"
"""An environment variable; where it is set, tests that need the servers fail where there are none."""


def folder() -> Path:
    """Where the servers are. Skips the test where they were not built, or fails it where they must have been."""
    if sys.platform == "win32":
        pytest.skip("the servers are not built on Windows")
    found = llama_servers.found()
    if found is None:
        told = "llama.cpp's servers are not built here: uv run scripts/llama_servers.py builds them, once"
        if os.environ.get(NEEDED):
            pytest.fail(told)
        pytest.skip(told)
    return found


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class RpcWorker:
    """One of llama.cpp's RPC workers, on one thread. It can be ended, and started again at its port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.name = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        program = folder() / "ggml-rpc-server"
        command = [str(program), "--host", "127.0.0.1", "--port", str(self.port), "--threads", "1"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:  # not by connecting: it would serve that connection first
            if listening(self.port):
                return
            assert self.process.poll() is None and time.monotonic() < end, "the worker does not listen"
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


def listening(port: int) -> bool:
    """Whether somebody listens at a port of this machine."""
    if sys.platform == "linux":
        wanted = f":{port:04X} 00000000:0000 0A"
        return any(wanted in line for line in Path("/proc/net/tcp").read_text().splitlines())
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def resident(pid: int) -> int:
    """Bytes of memory that a process has, for now."""
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return 1024 * int(told)


@contextmanager
def rpc_workers(count: int = 2) -> Iterator[list[RpcWorker]]:
    """Some RPC workers, for a while."""
    workers: list[RpcWorker] = []
    try:
        workers.extend(RpcWorker() for _ in range(count))
        yield workers
    finally:
        for worker in workers:
            worker.end()


def listed(workers: list[RpcWorker]) -> str:
    """Workers as the command line takes them."""
    return ",".join(worker.name for worker in workers)


class Line:
    """What stands between engines and a worker, and passes so many bytes on in all: then it is cut, or passes none."""

    def __init__(self, worker: RpcWorker, passes: int, *, cut: bool) -> None:
        self._worker, self._left, self._cut = worker, passes, cut
        self._turn = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.name = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._worker.port))
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                with self._turn:
                    data = data[: self._left]
                    self._left -= len(data)
                sink.sendall(data)
                if not self._left:
                    if self._cut:
                        self.close()
                    return
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class LlamaServer:
    """A llama-server with a model, which decodes prompts in the same pieces as the engine does."""

    def __init__(self, model: Path) -> None:
        self.port = free_port()
        options = ("--ctx-size", "4096", "--parallel", "1", "--threads", "1", "--batch-size", "48", "--ubatch-size")
        command = [folder() / "llama-server", "--model", model, "--host", "127.0.0.1", "--port", self.port]
        command += [*options, "48", "--no-warmup", "--offline", "--fit", "off", "--log-disable"]
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 120
        while not self._ready():
            assert self.process.poll() is None and time.monotonic() < end, "the server does not answer"
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            return "ok" in self.ask("GET", "/health").get("status", "")
        except (OSError, HTTPException):
            return False

    def ask(self, method: str, place: str, question: object = None) -> dict[str, Any]:
        """What it answers, as JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            body = None if question is None else json.dumps(question)
            connection.request(method, place, body, {"Content-Type": "application/json"})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def llama_server(model: Path) -> Iterator[LlamaServer]:
    """A llama-server, for a while."""
    server = LlamaServer(model)
    try:
        yield server
    finally:
        server.end()
