"""The engine on llama.cpp's real RPC workers: equal numbers, and what becomes of workers that fail."""

import math
import os
import queue
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import servers
from tests.sampling import few
from tests.servers import Line, RpcWorker, listed
from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.client import EngineClient
from tokex_gguf.engine.protocol import (
    Continue,
    Continued,
    EngineFailed,
    Evaluate,
    Evaluated,
    Load,
    Loaded,
    Loading,
    Lookahead,
    LookaheadDone,
    Waits,
)
from tokex_gguf.engine.worker import llama as llama_module
from tokex_gguf.models.gguf.metadata import read, tensor_bytes
from tokex_gguf.models.memory import CELL_BYTES, WORKER_BUFFER_BYTES, WORKER_BYTES_PER_LOGIT, layers_on
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.workers import MOST_WORKERS

SEED = int(os.environ.get("RPC_SEED", "1"))
TOLD = 5.0
"""Seconds after which a hang must have been told."""
STARTED = 5.0
"""Seconds that an engine has to start, on a machine that has much else to do."""
LONG = [1000 + index * 7 % 900 for index in range(700)]


class Engine:
    """An engine of its own process, and what it says."""

    def __init__(self, path: Path, rpc: str = "", *, context: int = 0) -> None:
        self.told: queue.Queue[Delivery] = queue.Queue()
        self.client = EngineClient(self.told.put)
        self.client.send(Load(str(path), context, 1, rpc=rpc))

    def next(self) -> Delivery:
        """What it says next, without what it says on the way."""
        while isinstance(reply := self.told.get(timeout=60), Loading | Waits):
            pass
        return reply

    def loaded(self) -> "Engine":
        reply = self.next()
        assert isinstance(reply, Loaded), reply
        return self

    def fault(self) -> str:
        """Why it ends."""
        while not (isinstance(reply := self.next(), EngineFailed)):
            assert isinstance(reply, Evaluated | Loaded), reply
        return reply.reason

    def evaluated(self, path: list[int], start: int) -> list[Distribution]:
        self.client.send(Evaluate(1, path, start, 40))
        found: list[Distribution] = []
        while len(found) < len(path) - start:
            reply = self.next()
            assert isinstance(reply, Evaluated)
            found += reply.distributions
        return found


@contextmanager
def engine(path: Path, rpc: str = "", *, context: int = 0) -> Iterator[Engine]:
    one = Engine(path, rpc, context=context)
    try:
        yield one
    finally:
        one.client.close()


@pytest.fixture
def workers() -> Iterator[list[RpcWorker]]:
    with servers.rpc_workers() as both:
        yield both


def numbers(distributions: list[Distribution]) -> list[tuple[float, list[int], list[float]]]:
    return [(one.entropy_bits, list(one.ids), list(one.logprobs)) for one in distributions]


# --- the numbers


def test_two_workers_give_the_numbers_of_this_machine(model_path: Path, workers: list[RpcWorker]) -> None:
    """Bit for bit: a prompt, an append, a pop, what is looked ahead to, what goes on by itself."""

    def played(one: Engine) -> list[object]:
        told: list[object] = [numbers(one.evaluated(LONG[:70], 0)), numbers(one.evaluated([*LONG[:70], 11], 70))]
        told.append(numbers(one.evaluated([*LONG[:60], 300], 60)))
        one.client.send(Lookahead(2, LONG[:70], [[20], [21], [22]], 10))
        ahead: list[Distribution] = []
        while len(ahead) < 3:
            reply = one.next()
            assert isinstance(reply, LookaheadDone)
            ahead += reply.distributions
        told.append(numbers(ahead))
        one.client.send(Continue(3, LONG[:61], 10, most=12))
        tokens: list[int] = []
        while len(tokens) < 12:
            more = one.next()
            assert isinstance(more, Continued)
            tokens += [*more.tokens, *([more.end] if more.end >= 0 else [])]
        return [*told, tokens[:12]]

    with engine(model_path) as one:
        here = played(one.loaded())
    with engine(model_path, listed(workers)) as one:
        there = played(one.loaded())
    assert here == there


@pytest.mark.thorough
def test_the_context_grows_over_workers(light_model: Path, workers: list[RpcWorker]) -> None:
    """What is in the cache is carried over, from the workers and back to them."""
    path = LONG * 6  # more than a context has at first

    def played(one: Engine) -> object:
        first = one.evaluated(path[:4032], 4031)
        return numbers(first), numbers(one.evaluated(path, len(path) - 2))

    with engine(light_model) as one:
        here = played(one.loaded())
    with engine(light_model, listed(workers)) as one:
        assert played(one.loaded()) == here


@pytest.mark.thorough
def test_each_worker_gets_the_layers_that_were_expected(model_path: Path, workers: list[RpcWorker]) -> None:
    before = [servers.resident(worker.pid) for worker in workers]
    with engine(model_path, listed(workers), context=4096) as one:
        one.loaded().evaluated(LONG[:100], 0)
        took = [servers.resident(worker.pid) - was for worker, was in zip(workers, before, strict=True)]
    about, layers = read(model_path), tensor_bytes([model_path])
    for bytes_, own in zip(took, layers_on(len(layers), [1, 1]), strict=True):
        weights = sum(layers[own.start : own.stop])
        cells = 4096 * about.kv_bytes_per_token(CELL_BYTES["f16"]) * len(range(own.start, min(own.stop, 30))) // 30
        # Cells take memory where they were written.
        assert weights < bytes_ < weights + cells + WORKER_BUFFER_BYTES + WORKER_BYTES_PER_LOGIT * about.vocab_size


# --- workers that fail


def test_one_that_is_not_there(light_model: Path) -> None:
    port = servers.free_port()
    with engine(light_model, f"127.0.0.1:{port}") as one:
        assert one.fault() == f"the RPC worker 127.0.0.1:{port} is not there: Connection refused"
    with engine(light_model, "no-such-host.invalid:50052") as one:
        told = "the RPC worker no-such-host.invalid:50052 is not there: there is no host no-such-host.invalid"
        assert one.fault() == told


def test_two_names_of_one_worker(light_model: Path, workers: list[RpcWorker]) -> None:
    one, other = workers[0].name, f"localhost:{workers[0].port}"
    with engine(light_model, f"{one},{other}") as playing:
        assert playing.fault() == f"the RPC workers {one} and {other} are the same one: name it once"


@pytest.mark.thorough
def test_one_that_serves_another_program(light_model: Path, workers: list[RpcWorker]) -> None:
    with engine(light_model, workers[0].name) as first:
        first.loaded()
        with engine(light_model, workers[0].name) as second:
            assert second.fault() == (
                f"the RPC worker {workers[0].name} does not answer: it is stopped or busy, serves another program, "
                "or is none"
            )
        first.evaluated([5, 6], 0)


@pytest.mark.thorough
def test_one_that_is_stopped_is_told(light_model: Path, workers: list[RpcWorker]) -> None:
    workers[1].signal(signal.SIGSTOP)
    with engine(light_model, listed(workers)) as one:
        assert f"the RPC worker {workers[1].name} does not answer" in one.fault()


@pytest.mark.timed
@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_one_that_fails_is_told_in_time(
    how: signal.Signals, loaded: bool, model_path: Path, workers: list[RpcWorker]
) -> None:
    if not loaded:
        workers[1].signal(how)
    began = time.monotonic()
    with engine(model_path, listed(workers)) as one:
        if loaded:
            one.loaded().client.send(Evaluate(1, LONG, 0, 5))
            assert isinstance(one.next(), Evaluated)
            began = time.monotonic()
            workers[1].signal(how)
        while not isinstance(reply := one.told.get(timeout=60), Waits | EngineFailed):
            pass
        assert time.monotonic() - began < (TOLD if loaded else STARTED + TOLD)
        assert workers[1].name in (" ".join(reply.workers) if isinstance(reply, Waits) else reply.reason)
        workers[1].signal(signal.SIGCONT)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """The port of a server that reads a little, and says always the same."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if connection.recv(16):
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


NONE = "is no RPC worker, or one of another version of llama.cpp: both must have the same"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"",
        struct.pack("<Q4B24s", 28, 6, 1, 0, 0, b""),
        struct.pack("<Q3B", 3, 3, 0, 0),
        struct.pack("<Q", 1 << 60),
    ],
    ids=["a web server", "one that hangs up", "version 6", "version 3", "a claim"],
)
def test_what_is_no_worker_of_this_version(answer: bytes, light_model: Path) -> None:
    with answering(answer) as port, engine(light_model, f"127.0.0.1:{port}") as one:
        assert one.fault() == f"what answers at 127.0.0.1:{port} {NONE}"


@pytest.mark.parametrize("which", few([0, 1], of=2))
@pytest.mark.parametrize("busy", few([True, False], of=2), ids=["in a decode", "idle"])
def test_one_that_dies(which: int, busy: bool, model_path: Path, workers: list[RpcWorker]) -> None:
    with engine(model_path, listed(workers)) as one:
        one.loaded().evaluated([5, 6], 0)
        if busy:
            one.client.send(Evaluate(1, LONG, 0, 5))
            assert isinstance(one.next(), Evaluated)
        workers[which].end()
        assert one.fault() == f"the RPC worker {workers[which].name} is gone"
        workers[which].start()
    with engine(model_path, listed(workers)) as again:
        again.loaded().evaluated([5, 6], 0)


@pytest.mark.thorough
@pytest.mark.parametrize("which", few([0, 1], of=2))
def test_one_that_hangs_is_told_by_its_name_and_may_go_on(
    which: int, model_path: Path, workers: list[RpcWorker]
) -> None:
    with engine(model_path, listed(workers)) as one:
        one.loaded()
        one.client.send(Evaluate(1, LONG, 0, 5))
        assert isinstance(one.next(), Evaluated)
        workers[which].signal(signal.SIGSTOP)
        while not isinstance(reply := one.told.get(timeout=60), Waits):
            assert isinstance(reply, Evaluated)
        assert reply.workers == [workers[which].name]
        assert reply.seconds >= 3
        workers[which].signal(signal.SIGCONT)
        while not (isinstance(reply := one.told.get(timeout=60), Waits) and not reply.workers):
            assert isinstance(reply, Waits | Evaluated)
        one.evaluated([5, 6, 7], 0)


CHANCE = random.Random(SEED)
CUTS = [0, 8, 33, 69, *(round(math.exp(CHANCE.uniform(5, 16))) for _ in range(4)), 40_000_000]
"""Bytes: while it is connected to, while weights are sent, while it computes."""
STALLS = [33, round(math.exp(CHANCE.uniform(5, 16))), 40_000_000]


@pytest.mark.parametrize(
    ("cut", "passes"), few([*((True, one) for one in CUTS), *((False, one) for one in STALLS)], of=4)
)
def test_a_line_that_fails_at_any_byte(cut: bool, passes: int, model_path: Path, workers: list[RpcWorker]) -> None:
    """The player is told, and which worker it is."""
    line = Line(workers[1], passes, cut=cut)
    try:
        with engine(model_path, f"{workers[0].name},{line.name}") as one:
            while True:
                reply = one.told.get(timeout=60)
                if isinstance(reply, EngineFailed):
                    assert line.name in reply.reason
                    assert workers[0].name not in reply.reason
                    break
                if isinstance(reply, Waits) and reply.workers:
                    assert not cut
                    assert reply.workers == [line.name]
                    break
                assert isinstance(reply, Loading | Loaded | Evaluated | Continued | Waits), reply
                if isinstance(reply, Loaded):
                    one.client.send(Continue(1, LONG[:100], 5))
    finally:
        line.close()
    assert workers[0].alive()


@pytest.mark.thorough
def test_workers_outlive_engines_that_end_in_the_middle(model_path: Path, workers: list[RpcWorker]) -> None:
    """A worker that answers an engine which is gone gets SIGPIPE, of which it dies."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for _ in range(4):
        with engine(model_path, listed(workers)) as one:
            one.loaded().client.send(Continue(1, LONG[:3], 5))
            assert isinstance(one.next(), Continued)
            time.sleep(chance.random() / 4)  # in the middle of any of its tokens
        assert all(worker.alive() for worker in workers), f"seed {seed}"


@pytest.mark.thorough
def test_as_many_workers_as_llama_cpp_takes(light_model: Path) -> None:
    """One more would end its process, and is refused before."""
    with servers.rpc_workers(MOST_WORKERS) as many:
        with engine(light_model) as one:
            here = numbers(one.loaded().evaluated(LONG[:5], 0))
        with engine(light_model, listed(many)) as one:
            assert numbers(one.loaded().evaluated(LONG[:5], 0)) == here


def test_a_build_without_rpc_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_module, "has_rpc", lambda: False)
    with pytest.raises(llama_module.ModelError, match=r"was built without RPC, which --rpc needs: install it with -DG"):
        llama_module.connect(("127.0.0.1:1",), lambda _: None)


def test_a_build_with_rpc_has_no_gpu_by_that() -> None:
    assert llama_module.has_rpc()
    assert not llama_module.has_gpu()
