"""RPC workers: other machines that compute a part of a model's layers, each with llama.cpp's own server.

llama.cpp ends the process when a worker is lost, and waits for ever for one that hangs. So a thread queries each worker
repeatedly, after its current work, and the player learns which one is gone or slow. A worker serves one program at a
time: a second connection would not be answered.
"""

import ctypes
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tokex_gguf.engine.protocol import EngineFailed, Reply, Waits
from tokex_gguf.engine.worker import ggml
from tokex_gguf.engine.worker.ggml import Device
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.workers import MOST_WORKERS

CONNECT_SECONDS = 3.0
"""For a worker to answer the first connection."""
BEAT = 0.5
"""Seconds between two queries to a worker."""
SILENT_SECONDS = 3.0
"""Without an answer until the player is told."""
LEAVE_SECONDS = 1.0
"""At the end, for workers to answer open queries."""
MOST_DESCRIPTORS = 256
"""Descriptors of connections are lower: this process has few files open."""


class NoWorker(Exception):
    """A worker is not available. The message says which and why in one line."""


@dataclass(slots=True)
class Worker:
    """A connected worker."""

    name: str
    """As the player gave it."""
    address: tuple[str, int]
    devices: list[Device] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    """Descriptors of this process's connections to it."""
    asked: float = 0.0
    """When the open query was sent; 0: none is open."""


class Workers:
    """The workers of a model. `tell` is called from any thread."""

    def __init__(self, library: ctypes.CDLL, names: tuple[str, ...], tell: Callable[[Reply], None]) -> None:
        """Connects to all of them, in order. Raises NoWorker."""
        self._library = library
        self._tell = tell
        self._connecting = ""
        self._over = threading.Event()
        self.all: list[Worker] = []
        ggml.on_abort(library, self._aborted)
        for name in names:
            self._connecting = name
            self.all.append(self._reached(name))
        self._connecting = ""
        count = sum(len(worker.devices) for worker in self.all)
        if count > MOST_WORKERS:
            raise NoWorker(f"these RPC workers have {count} devices: llama.cpp takes {MOST_WORKERS} at the most")
        for worker in self.all:
            threading.Thread(target=self._ask, args=(worker,), daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()

    def leave(self) -> None:
        """Stops the queries and waits a moment for open answers.

        A worker that answers a program which is gone dies of SIGPIPE, unless it ignores that.
        """
        self._over.set()
        connected = [worker for worker in self.all if not any(map(_hung_up, worker.connections))]
        queries = [threading.Thread(target=worker.devices[0].memory, daemon=True) for worker in connected]
        end = time.monotonic() + LEAVE_SECONDS
        for thread in queries:
            thread.start()
        for thread in queries:
            thread.join(max(0.0, end - time.monotonic()))

    def _reached(self, name: str) -> Worker:
        """Connects to a worker within a time limit. Raises NoWorker."""
        results: list[Worker | NoWorker] = []
        thread = threading.Thread(target=lambda: results.append(self._connected(name)), daemon=True)
        thread.start()
        thread.join(CONNECT_SECONDS)
        if not results:
            raise NoWorker(
                f"the RPC worker {name} does not answer: it is stopped or busy, serves another program, or is none"
            )
        if isinstance(results[0], NoWorker):
            raise results[0]
        return results[0]

    def _connected(self, name: str) -> Worker | NoWorker:
        """Connects to a worker, without a time limit."""
        host, _, port = name.rpartition(":")
        try:
            worker = Worker(name, (socket.gethostbyname(host), int(port)))
        except (OSError, UnicodeError):
            return NoWorker(f"the RPC worker {name} is not there: there is no host {host}")
        if same := [other.name for other in self.all if other.address == worker.address]:
            return NoWorker(f"the RPC workers {same[0]} and {name} are the same one: name it once")
        try:
            socket.create_connection(worker.address).close()
        except OSError as error:
            return NoWorker(f"the RPC worker {name} is not there: {system_reason(error)}")
        # By its address: llama.cpp would resolve the name again, perhaps to another address.
        worker.devices = ggml.add_worker(self._library, f"{worker.address[0]}:{port}")
        if not worker.devices:
            return NoWorker(f"the RPC worker {name} has no device to compute on")
        worker.devices[0].hold()
        worker.connections = _connections(worker.address)
        return worker

    def _ask(self, worker: Worker) -> None:
        """Queries a worker repeatedly. The answer waits for its current work."""
        while not self._over.wait(BEAT):
            worker.asked = time.monotonic()
            worker.devices[0].memory()
            worker.asked = 0.0

    def _watch(self) -> None:
        """Reports the workers that are waited for, and the end of each wait."""
        reported = False
        with suppress(OSError):  # the other process is gone
            while not self._over.wait(BEAT):
                now = time.monotonic()
                since = {worker.name: now - asked for worker in self.all if (asked := worker.asked)}
                silent = {name: seconds for name, seconds in since.items() if seconds >= SILENT_SECONDS}
                if silent or reported:
                    self._tell(Waits(list(silent), max(silent.values(), default=0.0)))
                reported = bool(silent)

    def _aborted(self, message: str) -> None:
        """Reports the worker for which ggml is about to abort, and ends the process in order."""
        if "RPC" not in message and "connect" not in message:
            return
        with suppress(OSError):
            self._tell(EngineFailed(self._lost()))
        if not self._connecting:
            self.leave()
        os._exit(1)

    def _lost(self) -> str:
        if self._connecting:
            return (
                f"what answers at {self._connecting} is no RPC worker, or one of another version of llama.cpp: "
                "both must have the same"
            )
        gone = [worker.name for worker in self.all if any(map(_hung_up, worker.connections))]
        if gone:
            return f"the RPC worker {' and '.join(gone)} is gone"
        return f"an RPC worker, {' or '.join(worker.name for worker in self.all)}, is gone, or says what makes no sense"


def _connections(address: tuple[str, int]) -> list[int]:
    """Descriptors of this process's connections to an address, which llama.cpp does not give."""
    descriptors: list[int] = []
    for descriptor in range(3, MOST_DESCRIPTORS):
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                if connection.family == socket.AF_INET and connection.getpeername() == address:
                    descriptors.append(descriptor)
    return descriptors


def _hung_up(descriptor: int) -> bool:
    """Whether the worker closed a connection."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:  # reset
        return True
