"""RPC workers: other machines that compute a part of a model's layers, each with llama.cpp's own server.

llama.cpp ends the process where a worker is lost, and waits without end for one that hangs. So each is asked again
and again, behind whatever it is doing, and the player is told which one is gone, or is waited for. A worker serves
one program at a time: another connection to it tells nothing.
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

from tokex_gguf.engine.protocol import Failed, Reply, Waits
from tokex_gguf.engine.worker import ggml
from tokex_gguf.engine.worker.ggml import Device
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.workers import MOST_WORKERS

CONNECTS = 3.0
"""Seconds that a worker has to answer when it is connected to."""
BEAT = 0.5
"""Seconds between two questions to a worker."""
SILENT = 3.0
"""Seconds without an answer after which the player is told."""
LEAVES = 1.0
"""Seconds that workers have at the end to answer what they were asked."""
DESCRIPTORS = 256
"""Connections have lower ones: this process has few files open."""


class NoWorker(Exception):
    """A worker cannot be had; says which and why in one line."""


@dataclass(slots=True)
class Worker:
    """One that was connected to."""

    name: str
    """As the player gave it."""
    address: tuple[str, int]
    devices: list[Device] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    """Descriptors of this process's connections to it."""
    asked: float = 0.0
    """When the question that is not answered yet was asked; 0: there is none."""


class Workers:
    """The workers that a model is computed by. `tell` is called from any thread."""

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
        """Waits a moment until no worker has anything to say any more, and asks nothing more.

        A worker that answers a program which is gone ends, unless it ignores SIGPIPE.
        """
        self._over.set()
        there = [worker for worker in self.all if not any(map(_hung_up, worker.connections))]
        last = [threading.Thread(target=worker.devices[0].memory, daemon=True) for worker in there]
        end = time.monotonic() + LEAVES
        for thread in last:
            thread.start()
        for thread in last:
            thread.join(max(0.0, end - time.monotonic()))

    def _reached(self, name: str) -> Worker:
        """A worker that answers; what does not do so in time is given up."""
        found: list[Worker | NoWorker] = []
        thread = threading.Thread(target=lambda: found.append(self._connected(name)), daemon=True)
        thread.start()
        thread.join(CONNECTS)
        if not found:
            raise NoWorker(
                f"the RPC worker {name} does not answer: it is stopped or busy, serves another program, or is none"
            )
        if isinstance(found[0], NoWorker):
            raise found[0]
        return found[0]

    def _connected(self, name: str) -> Worker | NoWorker:
        """Connects to a worker, for as long as that takes."""
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
        # By its address: llama.cpp, too, would ask for the host's name, and may be told another one.
        worker.devices = ggml.add_worker(self._library, f"{worker.address[0]}:{port}")
        if not worker.devices:
            return NoWorker(f"the RPC worker {name} has no device to compute on")
        worker.devices[0].hold()
        worker.connections = _connections(worker.address)
        return worker

    def _ask(self, worker: Worker) -> None:
        """Asks a worker for something small, again and again. The question waits behind what it computes."""
        while not self._over.wait(BEAT):
            worker.asked = time.monotonic()
            worker.devices[0].memory()
            worker.asked = 0.0

    def _watch(self) -> None:
        """Tells who is waited for, and that nobody is any more."""
        told = False
        with suppress(OSError):  # nobody listens any more
            while not self._over.wait(BEAT):
                now = time.monotonic()
                since = {worker.name: now - asked for worker in self.all if (asked := worker.asked)}
                silent = {name: seconds for name, seconds in since.items() if seconds >= SILENT}
                if silent or told:
                    self._tell(Waits(list(silent), max(silent.values(), default=0.0)))
                told = bool(silent)

    def _aborted(self, message: str) -> None:
        """Tells which worker is the reason for ggml's ending the process, and ends it in an orderly way."""
        if "RPC" not in message and "connect" not in message:
            return
        with suppress(OSError):
            self._tell(Failed(None, self._lost()))
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
    """Descriptors of this process's connections to an address: llama.cpp does not tell them."""
    found: list[int] = []
    for descriptor in range(3, DESCRIPTORS):
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                if connection.family == socket.AF_INET and connection.getpeername() == address:
                    found.append(descriptor)
    return found


def _hung_up(descriptor: int) -> bool:
    """Whether a connection was closed by the other side."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:  # reset
        return True
