"""A model on a real llama-server, beside the same file here: the same numbers, and what that costs."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import pytest

from tests import servers
from tests.engine.test_served import Talk
from tests.pace import pace
from tests.stand_in_server import Cache
from tokex_gguf.engine.protocol import Continue, Continued, Evaluate, Evaluated, Loaded, Request, Walk
from tokex_gguf.engine.remote.dialects.dialect import Call, Steps
from tokex_gguf.engine.remote.dialects.llama_server import request
from tokex_gguf.engine.remote.dialects.probe import probe
from tokex_gguf.engine.remote.evaluator import PIECE_TOKENS, Evaluator
from tokex_gguf.engine.remote.http import HttpClient
from tokex_gguf.values.server_url import parse

T = TypeVar("T")
NATALIA = Path(__file__).parent.parent.parent / "prompts" / "natalia.txt"


@contextmanager
def serving(model: Path, *options: str) -> Iterator[str]:
    """A llama-server with its own number of slots, which decodes prompts in the same batches as the engine does."""
    port = servers.free_port()
    command = [servers.folder() / "llama-server", "-m", model, "--port", port, "-ub", "48", "-t", "1", "--offline"]
    command += ["--no-warmup", "--log-disable", *options]
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            end = time.monotonic() + 120
            while not _is_ready(port):
                assert process.poll() is None and time.monotonic() < end, "the server does not answer"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


@pytest.fixture(
    scope="module",
    params=[[], pytest.param(["--no-cache-idle-slots"], marks=pytest.mark.thorough)],
    ids=["by default", "keeps slots"],
)
def address(request: pytest.FixtureRequest, model_path: Path) -> Iterator[str]:
    with serving(model_path, *request.param) as address:
        yield address


class Watched:
    """A client that asks a llama-server for its own times as well, and keeps them."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self.timings: list[dict[str, float]] = []

    def run(self, steps: Steps[T]) -> T:
        return self._client.run(self._watching(steps))

    def _watching(self, steps: Steps[T]) -> Steps[T]:
        try:
            call = next(steps)
            while True:
                if call.path == "/completion":
                    assert isinstance(call.body, Mapping)
                    fields = [*call.body["response_fields"], "timings"]  # type: ignore[misc]
                    call = Call(call.path, {**call.body, "response_fields": fields}, call.most)
                answer = yield call
                if call.path == "/completion":
                    answers = answer if isinstance(answer, list) else [answer]
                    self.timings += [one["timings"] for one in answers]
                call = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result


@pytest.fixture
def watched(address: str) -> Iterator[tuple[Evaluator, Watched]]:
    client = HttpClient(parse(address))
    watched = Watched(client)
    dialect = client.run(probe(""))
    yield Evaluator(watched, dialect, 100, second_cache=client.run(dialect.stays_cached())), watched
    client.close()


def told(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tokex_gguf", "--no-config", str(NATALIA), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.thorough
def test_the_numbers_are_those_of_the_file(address: str, model_path: Path) -> None:
    there, here = told("--server", address), told("--model", str(model_path))
    assert [one["id"] for one in there["tokens"]] == [one["id"] for one in here["tokens"]]
    for one, own in zip(there["tokens"][1:], here["tokens"][1:], strict=True):
        assert one["logprob"] == pytest.approx(own["logprob"], abs=5e-4)
        assert one["rank"] == own["rank"] or (one["rank"] is None and own["rank"] >= one["rank_at_least"] > 100)
        highest = one.get("entropy_bits_max", one["entropy_bits"])
        assert one["entropy_bits"] - 5e-3 <= own["entropy_bits"] <= highest + 5e-3
    ahead = zip(there["next"]["candidates"], here["next"]["candidates"], strict=True)
    assert all(one["id"] == own["id"] and one["rank"] == own["rank"] for one, own in ahead)


@pytest.mark.thorough
def test_entropies_are_known_within_little(address: str) -> None:
    tokens = told("--server", address)["tokens"][1:]
    widths = [one.get("entropy_bits_max", one["entropy_bits"]) - one["entropy_bits"] for one in tokens]
    assert median(widths) <= 0.15


@pytest.mark.thorough
def test_a_token_that_is_looked_at_ahead_reads_no_prefix_again(watched: tuple[Evaluator, Watched]) -> None:
    evaluator, client = watched
    path = evaluator.tokenize(NATALIA.read_text(encoding="utf-8"), special=True, continues=False)
    (chunk,) = evaluator.evaluate(path, len(path) - 1, 30, None, 100)
    tokens = list(chunk.distributions[0].ids[:4])
    client.timings.clear()
    for token in tokens:
        evaluator.look_ahead(path, [[token]], 30)
    assert [one["prompt_n"] for one in client.timings] == [1, 1, 1, 1]
    client.timings.clear()
    list(evaluator.evaluate([*path, tokens[3], tokens[0]], len(path) + 1, 30))
    assert [one["prompt_n"] for one in client.timings] == [1]


@pytest.mark.thorough
def test_a_walk_leaves_the_path_that_is_played_in_the_cache(watched: tuple[Evaluator, Watched]) -> None:
    evaluator, client = watched
    text = NATALIA.read_text(encoding="utf-8")
    path = evaluator.tokenize(text, special=True, continues=False)
    (chunk,) = evaluator.evaluate(path, len(path) - 1, 30)
    for start in (0, 20):
        for place in range(start, start + 20):
            evaluator.at(path, place, 30)
        client.timings.clear()
        path = [*path, chunk.distributions[0].most_likely]
        (chunk,) = evaluator.evaluate(path, len(path) - 1, 30)
        # Where there is one cache, one token of something else stands before it.
        assert [one["prompt_n"] for one in client.timings] in ([1], [1, 1])


@pytest.mark.thorough
@pytest.mark.parametrize("options", [[], ["--no-cache-idle-slots"]], ids=["by default", "keeps slots"])
def test_the_stand_in_reads_again_what_a_llama_server_reads_again(tiny: dict[str, Path], options: list[str]) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    cache = Cache()
    cache.keeps_idle = bool(options)
    path = [chance.randrange(300) for _ in range(500)]
    with serving(tiny["qwen2"], "-c", "1024", *options) as address:
        client = HttpClient(parse(address))
        for _ in range(100):
            slot, kind = chance.randrange(2), chance.randrange(4)
            path = [*path, *(chance.randrange(300) for _ in range(min(chance.choice([1, 300]), 1000 - len(path))))]
            path = path[: chance.choice([len(path), len(path) - 1, 2 * len(path) // 3])]
            asked = [path, path, path[: chance.randrange(1, len(path))], [chance.randrange(300)]][kind]
            body = {**request(asked, 65, 1, slot), "response_fields": ["timings/prompt_n"]}
            told = client.run(once(Call("/completion", body)))["timings/prompt_n"]
            assert cache.read(slot, asked, 1024) == told, f"seed {seed}"
        client.close()


def once(call: Call) -> Steps[Any]:
    return (yield call)


@pytest.mark.timed
def test_a_key_costs_the_servers_own_decode_and_little_more(watched: tuple[Evaluator, Watched]) -> None:
    """Of forty keys, the quickest tenth: other programs take this machine, too."""
    evaluator, client = watched
    path = evaluator.tokenize(NATALIA.read_text(encoding="utf-8"), special=True, continues=False)
    (chunk,) = evaluator.evaluate(path, len(path) - 1, 30, None, 100)
    beyond = []
    for _ in range(40):
        path = [*path, chunk.distributions[0].most_likely]
        client.timings.clear()
        began = time.perf_counter()
        (chunk,) = evaluator.evaluate(path, len(path) - 1, 30, None, 100)
        beyond.append(1000 * (time.perf_counter() - began) - client.timings[0]["prompt_ms"])
    assert sorted(beyond)[4] <= 3 * pace(), sorted(beyond)


@pytest.mark.timed
def test_lookahead_of_four_costs_four_tokens(watched: tuple[Evaluator, Watched]) -> None:
    """Of ten times, the quickest: other programs take this machine, too."""
    evaluator, _ = watched
    path = evaluator.tokenize(NATALIA.read_text(encoding="utf-8"), special=True, continues=False)
    keys, aheads = [], []
    for _ in range(10):
        began = time.perf_counter()
        for _ in range(4):
            (chunk,) = evaluator.evaluate(path, len(path) - 1, 30, None, 100)
            path = [*path, chunk.distributions[0].most_likely]
        keys.append(time.perf_counter() - began)
        (chunk,) = evaluator.evaluate(path, len(path) - 1, 30, None, 100)
        likely = list(chunk.distributions[0].ids[1:5])
        began = time.perf_counter()
        for token in likely:
            evaluator.look_ahead(path, [[token]], 30)
        aheads.append(time.perf_counter() - began)
        path = [*path, chunk.distributions[0].most_likely]
    assert min(aheads) <= min(keys) + 0.005 * pace(), (aheads, keys)


WALKED = list(range(1000, 1400))
BUSY: dict[str, Request] = {
    "a walk": Walk(1, WALKED, list(range(400)), 30),
    "autoplay": Continue(1, WALKED, 30),
}


@pytest.mark.timed
@pytest.mark.parametrize("name", BUSY)
def test_a_key_waits_for_one_token_at_the_most(name: str, address: str) -> None:
    """Of ten keys, the quickest: other programs take this machine, too."""
    talk = Talk(address)
    assert isinstance(talk.next(), Loaded)
    path = [*WALKED, 7]
    alone, meanwhile = [], []
    for number in range(2, 42, 2):
        began = time.perf_counter()
        reply = evaluated(talk, Evaluate(number, path, len(path) - 1, 30, None, 100))
        alone.append(time.perf_counter() - began)
        talk.client.send(BUSY[name])
        talk.next()
        path = [*path, reply.distributions[0].most_likely]
        began = time.perf_counter()
        reply = evaluated(talk, Evaluate(number + 1, path, len(path) - 1, 30, None, 100))
        meanwhile.append(time.perf_counter() - began)
        path = [*path, reply.distributions[0].most_likely]
    talk.client.close()
    # Where a server has one cache for both, it is asked about something else first: a token more.
    assert min(meanwhile) <= 4 * median(alone) + 0.005 * pace(), (alone, meanwhile)


@pytest.mark.timed
def test_a_key_waits_for_one_piece_of_a_long_prompt(address: str) -> None:
    """Of three keys, the quickest: other programs take this machine, too."""
    talk = Talk(address)
    assert isinstance(talk.next(), Loaded)
    pieces, keys = [], []
    for number in (1, 4, 7):
        first = 1000 * number
        began = time.perf_counter()
        evaluated(talk, Evaluate(number, list(range(first, first + PIECE_TOKENS)), PIECE_TOKENS - 1, 30))
        pieces.append(time.perf_counter() - began)
        talk.client.send(Evaluate(number + 1, list(range(first + 500, first + 2500)), 0, 30))
        time.sleep(pieces[-1] / 2)  # it is in the middle of one
        began = time.perf_counter()
        evaluated(talk, Evaluate(number + 2, [number, 6, 7], 2, 30))
        keys.append(time.perf_counter() - began)
    assert min(keys) <= 1.5 * max(pieces) + 0.1, (keys, pieces)
    talk.client.close()


def evaluated(talk: Talk, request: Evaluate) -> Evaluated:
    """The answer to a request, behind what is left of others."""
    talk.client.send(request)
    while True:
        reply = talk.next(60)
        if isinstance(reply, Evaluated) and reply.request == request.request:
            return reply
        assert isinstance(reply, Evaluated | Continued), reply
