"""Both ends of the pipe: the real engine process, talked to as the program does."""

import io
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.deadline import ended
from tokex_gguf.engine import client as client_module
from tokex_gguf.engine import process
from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.client import EngineClient, exit_reason
from tokex_gguf.engine.inbox import Inbox
from tokex_gguf.engine.path_delta import Receiver, Sender
from tokex_gguf.engine.pipes import AUTOPLAY_FLUSH
from tokex_gguf.engine.protocol import (
    Against,
    Apply,
    Check,
    Compare,
    Constrain,
    Constrained,
    Continue,
    Continued,
    EngineDied,
    EngineFailed,
    Evaluate,
    Evaluated,
    EvaluateStrictly,
    Export,
    Failed,
    Load,
    Loaded,
    Loading,
    Lookahead,
    LookaheadDone,
    MeasureNoise,
    Recall,
    Request,
    Roll,
    Search,
    Spell,
    Stop,
    Tokenize,
    Tokenized,
    Walk,
    decode,
    encode,
)
from tokex_gguf.engine.worker import llama as llama_module
from tokex_gguf.engine.worker import server as server_module
from tokex_gguf.engine.worker.abort import Abort
from tokex_gguf.engine.worker.server import Server
from tokex_gguf.engine.worker.vocabulary_search import Index
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.samplers import Chain
from tokex_gguf.values.tokens import Piece

LONG = list(range(1000, 2000)) * 5


class Conversation:
    """A client and what it was told."""

    def __init__(self) -> None:
        self.told: queue.Queue[Delivery] = queue.Queue()
        self.client = EngineClient(self.told.put)

    def next(self) -> Delivery:
        return self.told.get(timeout=60)

    def load(self, path: Path, context: int = 0, cache: str = "", *, repack: bool = True) -> Loaded:
        self.client.send(Load(str(path), context, 0, cache=cache, cache_bytes=1 << 24, repack=repack))
        while isinstance(reply := self.next(), Loading):
            assert 0 <= reply.fraction <= 1
        assert isinstance(reply, Loaded)
        return reply


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    conversation = Conversation()
    yield conversation
    conversation.client.close()


def test_load_tokenise_evaluate(conversation: Conversation, model_path: Path) -> None:
    assert conversation.load(model_path).vocab_size == 49152
    conversation.client.send(Tokenize(1, "Once upon a time", True))
    tokenized = conversation.next()
    assert isinstance(tokenized, Tokenized)
    assert b"".join(tokenized.pieces[token].data for token in tokenized.path) == b"Once upon a time"
    conversation.client.send(Evaluate(2, tokenized.path, 0, 5))
    first = conversation.next()
    assert isinstance(first, Evaluated)
    assert first.decoded == len(first.distributions) == len(tokenized.path)
    assert all(token in first.pieces for d in first.distributions for token in d.ids if token not in tokenized.pieces)
    path = [*tokenized.path, first.distributions[-1].ids[0]]
    conversation.client.send(Evaluate(3, path, len(path) - 1, 5))
    second = conversation.next()
    assert isinstance(second, Evaluated)
    assert second.decoded == 1
    assert not set(second.pieces) & (set(first.pieces) | set(tokenized.pieces)), "a piece is told once"


def test_a_newer_evaluation_ends_an_older_one(conversation: Conversation, light_model: Path) -> None:
    conversation.load(light_model)
    conversation.client.send(Evaluate(1, LONG, 0, 5))
    first = conversation.next()
    assert isinstance(first, Evaluated)
    conversation.client.send(Evaluate(2, LONG[:3], 0, 5))
    while isinstance(reply := conversation.next(), Evaluated) and reply.request == 1:
        first = reply
    assert isinstance(reply, Evaluated)
    assert reply.request == 2
    done = first.start + len(first.distributions)
    assert done < len(LONG), "the older one was not finished"
    conversation.client.send(Evaluate(3, LONG[:done], done - 1, 5))
    again = conversation.next()
    assert isinstance(again, Evaluated)
    assert again.decoded == 1, "what it had decoded is kept"


@pytest.mark.thorough
def test_a_constraint_is_read_while_a_long_prompt_is_evaluated(conversation: Conversation, light_model: Path) -> None:
    """Without ending the evaluation, and also where it is refused."""
    conversation.load(light_model)
    conversation.client.send(Evaluate(1, LONG, 0, 5))
    assert isinstance(conversation.next(), Evaluated)
    for number, regex in enumerate(("[0-9]+", "[0-9"), 2):
        conversation.client.send(Constrain(number, LONG, Constraint(ConstraintKind.REGEX, regex), len(LONG)))
    came = [conversation.next()]
    while not (isinstance(came[-1], Evaluated) and came[-1].start + len(came[-1].distributions) == len(LONG)):
        came.append(conversation.next())
    assert Constrained(2, -1) in came and Failed(3, "regex:1:1: unclosed character class") in came
    assert sum(len(one.distributions) for one in came if isinstance(one, Evaluated)) > len(LONG) // 4


def test_stop_ends_an_evaluation(conversation: Conversation, light_model: Path) -> None:
    conversation.load(light_model)
    conversation.client.send(Evaluate(1, LONG, 0, 5))
    assert isinstance(conversation.next(), Evaluated)
    conversation.client.send(Stop())
    conversation.client.send(Tokenize(2, "a", True))
    replies = [conversation.next()]
    while not isinstance(replies[-1], Tokenized):
        replies.append(conversation.next())
    assert sum(len(r.distributions) for r in replies if isinstance(r, Evaluated)) < 1000


def test_what_the_model_cannot_do_is_told_and_survived(conversation: Conversation, light_model: Path) -> None:
    conversation.load(light_model)
    conversation.client.send(Evaluate(1, [5, 10_000_000], 0, 5))
    reply = conversation.next()
    assert isinstance(reply, Failed)
    assert reply.request == 1
    conversation.client.send(Tokenize(2, "", True))
    reply = conversation.next()
    assert isinstance(reply, Failed)
    assert "no tokens" in reply.reason
    conversation.client.send(Tokenize(3, "a", True))
    assert isinstance(conversation.next(), Tokenized)


def test_a_file_that_is_no_model_is_told_in_one_line(conversation: Conversation, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + b"\xff" * 100)
    conversation.client.send(Load(str(path), 0, 0))
    reply = conversation.next()
    assert isinstance(reply, EngineFailed)
    assert "bad.gguf" in reply.reason
    assert "\n" not in reply.reason
    with pytest.raises(queue.Empty):
        conversation.told.get(timeout=0.5)  # its orderly end is not told as a death


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_death_is_noticed_with_its_reason(name: str, conversation: Conversation, light_model: Path) -> None:
    conversation.load(light_model)
    conversation.client.send(Evaluate(1, LONG, 0, 5))
    conversation.next()
    os.kill(conversation.client.pid, signal.Signals[name])
    while not isinstance(reply := conversation.next(), EngineDied):
        assert isinstance(reply, Evaluated)
    assert reply.reason == name


@pytest.mark.skipif(sys.platform == "win32", reason="no signal asks whether a process is there")
def test_close_ends_the_process_at_once_and_silently(light_model: Path) -> None:
    conversation = Conversation()
    conversation.load(light_model)
    conversation.client.send(Evaluate(1, LONG, 0, 5))
    conversation.next()
    conversation.client.close()
    with pytest.raises(ProcessLookupError):
        os.kill(conversation.client.pid, 0)
    while not conversation.told.empty():
        assert not isinstance(conversation.told.get(), EngineDied)


def parts(folder: Path) -> list[str]:
    """What is on the disk, without the digests."""
    return sorted("-".join(path.name.split("-")[:2]) for path in folder.glob("*/*.kv"))


def test_what_was_played_is_written_while_it_is_looked_ahead_without_end(
    conversation: Conversation, light_model: Path, tmp_path: Path
) -> None:
    conversation.load(light_model, cache=str(tmp_path / "kv"))
    path = LONG[:100]
    conversation.client.send(Evaluate(1, path, 0, 5))
    while not (isinstance(reply := conversation.next(), Evaluated) and reply.start + len(reply.distributions) == 100):
        pass
    conversation.client.send(Lookahead(2, path, [[2]], 5))
    for number in range(3, 100_000):
        # The next one waits before this one is answered: the engine never has nothing to do.
        conversation.client.send(Lookahead(number, path, [[number % 1000]], 5))
        assert isinstance(conversation.next(), LookaheadDone)
        if parts(tmp_path / "kv"):
            break
    assert parts(tmp_path / "kv") == ["0-100"]


def test_what_critical_tokens_ask_about_leaves_what_is_played_kept(light_model: Path, tmp_path: Path) -> None:
    conversation = Conversation()
    conversation.load(light_model, cache=str(tmp_path / "kv"))
    conversation.client.send(Evaluate(1, LONG[:100], 0, 5))
    while not (isinstance(reply := conversation.next(), Evaluated) and reply.start + len(reply.distributions) == 100):
        pass
    for number, size in enumerate((90, 80, 70, 60, 50), 2):
        conversation.client.send(Lookahead(number, LONG[:size], [[7]], 5, waited=True))
        assert isinstance(conversation.next(), LookaheadDone)
    conversation.client.close()
    assert parts(tmp_path / "kv") == ["0-100"]


def test_what_was_played_last_is_written_at_the_end(light_model: Path, tmp_path: Path) -> None:
    conversation = Conversation()
    conversation.load(light_model, cache=str(tmp_path / "kv"))
    conversation.client.send(Evaluate(1, LONG[:100], 0, 5))
    while not (isinstance(reply := conversation.next(), Evaluated) and reply.start + len(reply.distributions) == 100):
        pass
    assert parts(tmp_path / "kv") == []
    conversation.client.close()
    assert parts(tmp_path / "kv") == ["0-100"]
    again = Conversation()
    again.load(light_model, cache=str(tmp_path / "kv"))
    again.client.send(Evaluate(1, [*LONG[:100], 7], 100, 5))
    reply = again.next()
    assert isinstance(reply, Evaluated) and reply.decoded == 1
    again.client.close()
    assert parts(tmp_path / "kv") == ["0-101"], "the longer one is in its place"


@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_close_never_waits_for_what_was_queued(pause: float) -> None:
    for _ in range(5):
        conversation = Conversation()
        time.sleep(pause)  # lets the writing thread come to different places
        conversation.client.send(Stop())
        conversation.client.send(Stop())
        closing = threading.Thread(target=conversation.client.close)
        closing.start()
        closing.join(10)
        assert not closing.is_alive()


@pytest.mark.skipif(sys.platform == "win32", reason="no signal ends a process")
def test_exit_reasons() -> None:
    assert exit_reason(-9) == "SIGKILL"
    assert exit_reason(-200) == "signal 200"
    assert exit_reason(1) == "exit code 1"


def test_continue_plays_greedily_until_it_is_stopped(conversation: Conversation, light_model: Path) -> None:
    conversation.load(light_model)
    conversation.client.send(Evaluate(1, [100, 200], 0, 5))
    first = conversation.next()
    assert isinstance(first, Evaluated)
    conversation.client.send(Continue(2, [100, 200, first.distributions[-1].ids[0]], 5))
    count, expected = 0, first.distributions[-1].ids[0]
    while count < 10:
        reply = conversation.next()
        assert isinstance(reply, Continued) and reply.tokens
        for token, distribution in zip(reply.tokens, reply.distributions, strict=True):
            assert token == expected
            expected = distribution.ids[0]
        count += len(reply.tokens)
    conversation.client.send(Stop())
    conversation.client.send(Tokenize(3, "a", True))
    late = 0.0
    while isinstance(reply := conversation.next(), Continued):
        late += reply.seconds
    # Those that were computed and not sent yet, and the one that was just being decoded.
    assert late < AUTOPLAY_FLUSH + 1


@pytest.mark.thorough
def test_continue_ends_with_the_model(conversation: Conversation, model_path: Path) -> None:
    conversation.load(model_path)
    text = (Path(__file__).parent.parent.parent / "prompts" / "natalia.txt").read_text()
    conversation.client.send(Tokenize(1, text.partition("72 clips")[0] + "72", True))
    tokenized = conversation.next()
    assert isinstance(tokenized, Tokenized)
    conversation.client.send(Continue(2, tokenized.path, 5))
    conversation.client.send(Tokenize(3, "a", True))
    replies = [conversation.next()]
    while not isinstance(replies[-1], Tokenized):
        replies.append(conversation.next())
    told = {token: piece for reply in replies for token, piece in reply.pieces.items()}  # type: ignore[union-attr]
    last = replies[-2]
    assert isinstance(last, Continued)
    assert told[last.end].ends  # the tokens before it may have been told already


def test_look_ahead_gives_the_likeliest_first_and_yields_to_everything(
    conversation: Conversation, light_model: Path
) -> None:
    conversation.load(light_model)
    conversation.client.send(Evaluate(1, LONG[:40], 0, 5))
    assert isinstance(conversation.next(), Evaluated)
    conversation.client.send(Lookahead(2, LONG[:40], [[5], [6], [7]], 5))
    first = conversation.next()
    assert isinstance(first, LookaheadDone)
    second = conversation.next()
    assert isinstance(second, LookaheadDone)
    assert (first.branches, second.branches) == ([[5]], [[6], [7]])
    conversation.client.send(Evaluate(3, [*LONG[:40], 6, 8], 41, 5))
    reply = conversation.next()
    assert isinstance(reply, Evaluated)
    assert reply.decoded == 1


def test_what_two_ask_for_ahead_of_a_path_is_decoded_once(conversation: Conversation, light_model: Path) -> None:
    conversation.load(light_model)
    conversation.client.send(Lookahead(1, LONG[:40], [[5], [6]], 5))
    conversation.client.send(Lookahead(2, LONG[:40], [[6], [7]], 5))
    replies = [conversation.next() for _ in range(4)]
    told = [(one.request, one.branches) for one in replies if isinstance(one, LookaheadDone)]
    assert told == [(1, [[5]]), (1, [[6]]), (2, [[6]]), (2, [[7]])]
    first, again = replies[1], replies[2]
    assert isinstance(first, LookaheadDone) and isinstance(again, LookaheadDone)
    assert again.distributions[0].logprobs == first.distributions[0].logprobs
    assert again.seconds == 0.0 < first.seconds
    # Neither of another path, nor with more candidates.
    conversation.client.send(Lookahead(3, LONG[:39], [[6]], 5))
    conversation.client.send(Lookahead(4, LONG[:39], [[6]], 9))
    for number in (3, 4):
        reply = conversation.next()
        assert isinstance(reply, LookaheadDone) and reply.request == number and reply.seconds > 0.0
        assert len(reply.distributions[0]) == (5 if number == 3 else 9)


def test_lookahead_names_its_tokens_where_sequences_are_few(conversation: Conversation, tiny: dict[str, Path]) -> None:
    conversation.load(tiny["mamba"])
    conversation.client.send(Evaluate(1, [5, 6, 7], 2, 5))
    assert isinstance(conversation.next(), Evaluated)
    conversation.client.send(Lookahead(2, [5, 6, 7], [[1], [2], [3], [4]], 5))
    found: list[list[int]] = []
    while len(found) < 4:
        reply = conversation.next()
        assert isinstance(reply, LookaheadDone)
        assert 1 <= len(reply.branches) == len(reply.distributions) <= 2
        found += reply.branches
    assert found == [[1], [2], [3], [4]]


@pytest.mark.parametrize("name", ["qwen2", "mamba", "gemma3"])
def test_all_branches_of_a_lookahead_are_answered(name: str, conversation: Conversation, tiny: dict[str, Path]) -> None:
    conversation.load(tiny[name])
    chance = random.Random(1)
    branches = [[chance.randrange(4) for _ in range(chance.randrange(1, 6))] for _ in range(70)] + [[5] * 60]
    conversation.client.send(Lookahead(1, [5, 6, 7], branches, 5))
    conversation.client.send(Lookahead(3, [5, 6, 7], [], 5))
    conversation.client.send(Lookahead(2, [5, 6, 7], branches[:5], 5))
    found: list[list[int]] = []
    answers: dict[tuple[int, ...], Distribution] = {}
    while len(found) < 76:
        reply = conversation.next()
        assert isinstance(reply, LookaheadDone)
        found += reply.branches
        for branch, one in zip(reply.branches, reply.distributions, strict=True):
            assert abs(answers.setdefault(tuple(branch), one).entropy_bits - one.entropy_bits) < 0.01
    assert found == [*branches, *branches[:5]]


def test_a_lookahead_that_does_not_fit_is_refused(conversation: Conversation, tiny: dict[str, Path]) -> None:
    conversation.load(tiny["qwen2"], context=8)
    conversation.client.send(Lookahead(1, [5, 6, 7], [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6], [1]], 5))
    reply = conversation.next()
    assert isinstance(reply, LookaheadDone) and reply.branches == [[1, 2, 3, 4, 5]]
    refused = conversation.next()
    assert isinstance(refused, Failed) and refused.request == 1


# --- what the client writes, and when


@pytest.fixture
def echo() -> "subprocess.Popen[bytes]":
    """In an engine's place: says what it was written, and never answers it."""
    script = "import sys\nfor line in sys.stdin: print(line.strip(), file=sys.stderr, flush=True)"
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, stderr=pipe)


def test_what_nobody_waits_for_is_held_back(echo: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "BACKGROUND_DELAY", 3600)
    client = EngineClient(lambda _: None, echo)
    assert echo.stderr
    check, look_ahead, evaluate = Check(1, [1], True), Lookahead(2, [1], [[2]], 5), Evaluate(3, [1], 0, 5)
    client.send(check)
    client.send(look_ahead)
    client.send(Stop())  # goes at once, and what was held with it, in its order
    receiver = Receiver()
    assert [receiver.decode(echo.stderr.readline()) for _ in range(3)] == [check, look_ahead, Stop()]
    client.send(evaluate)
    assert receiver.decode(echo.stderr.readline()) == evaluate
    client.close()
    echo.stderr.close()


def test_what_is_grown_behind_answers_is_not_held_back(
    echo: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine would rest meanwhile. From another path it follows a key. Nor is what is awaited."""
    monkeypatch.setattr(client_module, "BACKGROUND_DELAY", 3600)
    client = EngineClient(lambda _: None, echo)
    assert echo.stderr
    many = [[token] for token in range(8)]
    receiver = Receiver()
    likely, grown, elsewhere = (Lookahead(n, p, b, 5) for n, p, b in ((1, [1], [[9]]), (2, [1], many), (3, [2], many)))
    awaited = Lookahead(4, [3], [[2]], 5, waited=True)
    client.send(likely)
    client.send(Stop())
    assert [receiver.decode(echo.stderr.readline()) for _ in range(2)] == [likely, Stop()]
    for one in (grown, grown, awaited):
        client.send(one)
        assert receiver.decode(echo.stderr.readline()) == one
    client.send(elsewhere)
    client.send(likely)
    client.send(Stop())
    assert [receiver.decode(echo.stderr.readline()) for _ in range(3)] == [elsewhere, likely, Stop()]
    client.close()
    echo.stderr.close()


def test_what_is_held_back_goes_when_nothing_else_comes(echo: "subprocess.Popen[bytes]") -> None:
    client = EngineClient(lambda _: None, echo)
    assert echo.stderr
    client.send(Check(1, [1], True))
    assert Receiver().decode(echo.stderr.readline()) == Check(1, [1], True)
    client.close()
    echo.stderr.close()


# --- the engine's inbox


def inbox(*requests: Request) -> Inbox:
    box = Inbox(io.BytesIO(b"".join(map(Sender().encode, requests))), io.BytesIO(), Abort())
    box.read()
    box._closed = False  # the source ended, but the other side is still there
    return box


def ask(box: Inbox, request: Request) -> None:
    """Takes a request as the reading thread does."""
    with box._changed:
        box._take(request)
        box._changed.notify()


def test_only_the_newest_evaluation_is_answered() -> None:
    box = inbox(Evaluate(1, [1], 0, 5), Tokenize(2, "a", True), Evaluate(3, [1], 0, 5), Tokenize(4, "b", True))
    assert [box.next(), box.next(), box.next()] == [
        Tokenize(2, "a", True),
        Evaluate(3, [1], 0, 5),
        Tokenize(4, "b", True),
    ]


def test_stop_takes_back_an_evaluation_that_has_not_begun() -> None:
    box = inbox(Evaluate(1, [1], 0, 5), Stop(), Tokenize(2, "a", True))
    assert box.next() == Tokenize(2, "a", True)


def test_the_end_of_the_source_is_the_end() -> None:
    box = Inbox(io.BytesIO(b""), io.BytesIO(), Abort())
    box.read()
    assert box.next() is None


def test_a_comparison_with_the_tokenizer_waits_for_what_somebody_waits_for() -> None:
    box = inbox(Check(1, [1], True), Check(2, [1], True), Evaluate(3, [1], 0, 5))
    assert [box.next(), box.next()] == [Evaluate(3, [1], 0, 5), Check(2, [1], True)]
    assert not box._queue.waiting, "nobody listens to the older one's answer"


def test_a_request_ends_the_wait_for_quiet() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source:
        box = Inbox(source, io.BytesIO(), Abort())
        reader = threading.Thread(target=box.read)
        reader.start()
        assert box.idle(0.001)
        threading.Timer(0.05, os.write, [writing, encode(Tokenize(1, "a", True))]).start()
        assert not ended(lambda: box.idle(3600))
        os.close(writing)
        reader.join()


def test_no_request_waits_for_the_search_to_be_made_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the quiet before it, nor for more than a slice of it."""
    box = inbox()
    server = Server(box, io.BytesIO(), Abort())
    slices: list[int] = []
    index = Index(10**9, lambda _: b"a")
    monkeypatch.setattr(index, "extend", lambda: slices.append(1))
    monkeypatch.setattr(server_module, "SEARCH_READY_AFTER", 3600)
    server._answered = True
    asked = Evaluate(1, [1], 0, 5)
    threading.Timer(0.05, ask, [box, asked]).start()
    assert ended(lambda: server._next(index)) == asked and not slices
    monkeypatch.setattr(server_module, "SEARCH_READY_AFTER", 0)
    threading.Timer(0.05, ask, [box, asked]).start()
    assert server._next(index) == asked
    assert slices


def test_foresight_waits_for_everything_else() -> None:
    box = inbox(Lookahead(1, [1], [[2]], 5), Tokenize(2, "a", True), Lookahead(3, [4], [[3]], 5))
    assert [box.next(), box.next()] == [Tokenize(2, "a", True), Lookahead(3, [4], [[3]], 5)]


@pytest.mark.parametrize("newer", [Evaluate(9, [1], 0, 5), Continue(9, [1], 5), Stop()])
@pytest.mark.parametrize("older", [Evaluate(1, [1], 0, 5), Continue(1, [1], 5), Lookahead(1, [1], [[2]], 5)])
def test_what_is_asked_for_ends_what_is_under_way(older: Request, newer: Request) -> None:
    box = inbox(older)
    assert box.next() == older
    assert not box.abort.asked
    box._take(newer)
    assert box.abort.asked


def test_foresight_and_text_end_no_evaluation() -> None:
    box = inbox(Evaluate(1, [1], 0, 5))
    box.next()
    box._take(Lookahead(2, [1], [[2]], 5))
    box._take(Tokenize(3, "a", True))
    assert not box.abort.asked


def test_foresight_from_one_path_goes_on_and_from_another_begins_anew() -> None:
    first, behind = Lookahead(1, [1], [[2]], 5), Lookahead(2, [1], [[2, 3]], 5)
    elsewhere = Lookahead(3, [1, 2], [[3]], 5)
    box = inbox(first)
    assert box.next() == first
    box._take(behind)
    assert not box.ending and list(box._queue.waiting) == [behind]
    box._take(elsewhere)
    assert box.ending and box.abort.asked and list(box._queue.waiting) == [elsewhere]
    assert box.next() == elsewhere and not box.ending and not box.abort.asked


def test_what_is_being_decoded_and_is_asked_for_next_is_finished() -> None:
    box = inbox(Lookahead(1, [1], [[2], [3]], 5))
    box.next()
    box.finishes = lambda request: isinstance(request, Evaluate) and request.path == [1, 2]
    box._take(Evaluate(2, [1, 2], 1, 5))
    assert box.ending and not box.abort.asked, "it ends behind that"
    box._take(Stop())
    assert box.abort.asked


def looking_ahead(
    monkeypatch: pytest.MonkeyPatch, branches: list[list[int]], *, came: Request, at: float = 0.0, took: int = 1
) -> tuple[bool, list[list[int]]]:
    """What a server does with lookahead from [1, 2] while something else comes, so many seconds after it began.

    `took`: seconds of a step of 8 branches before; one of a single branch took 1. Returns whether the decode under way
    was ended, and which branches were decoded.
    """
    now = [100.0]
    monkeypatch.setattr(server_module, "time", SimpleNamespace(perf_counter=lambda: now[0], monotonic=lambda: now[0]))
    asked = Lookahead(1, [1, 2], branches, 1)
    box = inbox(asked)
    server = Server(box, io.BytesIO(), Abort())
    server._step_seconds = {1: 1.0, 8: took}
    decoded: list[list[int]] = []

    def look(path: list[int], step: list[list[int]], top: int) -> list[Distribution]:
        assert (path, top) == ([1, 2], 1)
        if not decoded:
            now[0] += at
            box._take(came)
        decoded.extend(step)
        return [Distribution.of(1.0, [3], [-1.0]) for _ in step]

    model: Any = SimpleNamespace(threads=1, vocabulary=SimpleNamespace(size=100, piece=lambda _: Piece(b"a")))
    evaluator: Any = SimpleNamespace(ahead=SimpleNamespace(look=look))
    box.next()
    server._look_ahead(asked, model, evaluator)
    return box.abort.asked, decoded


@pytest.mark.parametrize(
    ("came", "ended"),
    [
        (Evaluate(2, [1, 2, 3], 2, 5), False),
        (Evaluate(2, [1, 2, 4], 2, 5), True),  # behind the other branch, which is not under way
        (Evaluate(2, [1, 2], 1, 5), True),
        (Evaluate(2, [7, 2, 3], 2, 5), True),
        (Lookahead(2, [1], [[2, 3], [5]], 5), False),
        (Lookahead(2, [1, 2, 3], [], 5), False),
        (Lookahead(2, [1, 2, 3], [[4]], 5), True),
        (Continue(2, [1, 2, 3], 5), True),
        (Stop(), True),
    ],
)
def test_a_decode_of_what_is_asked_for_next_is_finished(
    monkeypatch: pytest.MonkeyPatch, came: Request, ended: bool
) -> None:
    """And is the last of its lookahead."""
    assert looking_ahead(monkeypatch, [[3], [4]], came=came) == (ended, [[3]])


@pytest.mark.parametrize(("at", "took", "ended"), [(0.5, 2, True), (1.5, 2, False), (1.5, 3, True), (2.5, 3, False)])
def test_a_decode_of_many_is_finished_where_that_takes_less_than_one_anew(
    monkeypatch: pytest.MonkeyPatch, at: float, took: int, ended: bool
) -> None:
    many, came = [[token] for token in range(8)], Evaluate(2, [1, 2, 3], 2, 5)
    assert looking_ahead(monkeypatch, many, came=came, at=at, took=took) == (ended, many)


@pytest.mark.parametrize(
    "newer", [Evaluate(9, [1], 0, 5), Continue(9, [1], 5), Stop(), Lookahead(9, [1], [[2]], 5), Search(9, [1], "a", 5)]
)
def test_anything_that_is_computed_ends_a_walk(newer: Request) -> None:
    box = inbox(Walk(1, [1, 2], [0, 1], 5))
    box.next()
    box._take(newer)
    assert box.abort.asked
    waiting = inbox(Walk(1, [1, 2], [0, 1], 5), newer, Tokenize(10, "a", True))
    expected = [] if isinstance(newer, Stop) else [newer]
    found = [waiting.next() for _ in waiting._queue.waiting.copy()]
    assert found in ([*expected, Tokenize(10, "a", True)], [Tokenize(10, "a", True), *expected])


def test_text_is_tokenised_between_two_parts_of_a_walk() -> None:
    walk = Walk(1, [1, 2], [0, 1], 5)
    box = inbox(walk, Check(2, [1], True), Tokenize(3, "a", True))
    assert box.next() == Tokenize(3, "a", True), "a walk comes last of all"
    assert box.next() == Check(2, [1], True)
    assert box.next() == walk
    box._take(Tokenize(4, "b", True))
    assert not box.abort.asked
    assert (box.next_of(Tokenize), box.next_of(Tokenize)) == (Tokenize(4, "b", True), None)


def test_a_broken_llama_cpp_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "llama_cpp.py").write_text("raise OSError('libllama.so: cannot open')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    conversation = Conversation()
    conversation.client.send(Load("any.gguf", 0, 0))
    reply = conversation.next()
    assert isinstance(reply, EngineFailed)
    assert "libllama.so: cannot open" in reply.reason
    conversation.client.close()


def test_the_engine_writes_its_log_where_load_says(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    conversation = Conversation()
    conversation.client.send(Load(str(tmp_path / "bad.gguf"), 0, 0, str(tmp_path / "log")))
    while not isinstance(conversation.next(), EngineFailed | EngineDied):
        pass
    conversation.client.close()
    assert "gguf" in (tmp_path / "log").read_text()
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_an_engine_started_early_serves_and_goes_with_the_client(light_model: Path) -> None:
    engine = process.start()
    told: queue.Queue[Delivery] = queue.Queue()
    client = EngineClient(told.put, engine)
    assert client.pid == engine.pid
    client.send(Load(str(light_model), 0, 0))
    while not isinstance(told.get(timeout=60), Loaded):
        pass
    client.close()
    assert engine.poll() is not None


def test_an_engine_that_nobody_wants_ends_with_its_input() -> None:
    engine = process.start()
    assert engine.stdin and engine.stdout
    engine.stdin.close()
    assert engine.wait(timeout=60) == 0
    engine.stdout.close()


def test_a_line_of_nothing_but_numbers_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading JSON holds the interpreter: 14 MB of numbers are no reply, and would stop every key and signal."""
    head, end = '["Tokenized",{"request":1,"path":[', '1],"pieces":[],"said":[],"notice":""}]\n'
    code = f"print({head!r} + '1,' * (7 << 20) + {end!r}, end='', flush=True); input()"
    engine = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    came: queue.SimpleQueue[object] = queue.SimpleQueue()
    read: list[bytes] = []
    monkeypatch.setattr(client_module, "decode", read.append)
    talk = EngineClient(came.put, engine)
    try:
        assert came.get(timeout=60) == EngineDied("unreadable reply")
    finally:
        talk.close()
    assert not read


# --- what is asked strictly


EVALUATION, COMPARISON = EvaluateStrictly(1, [1, 2], 0, 5), Compare(2, [1, 2], [1, 3], 5)
ASIDE: list[Request] = [
    EVALUATION,
    COMPARISON,
    Export(3, [1, 2], 0, 2, "rows"),
    Against(4, [1, 2], 0, 2, "rows", "", 5),
    Recall(4, [1, 2], 0, 2, "b", 5),
    MeasureNoise(5),
]
KEYS: list[Request] = [
    Evaluate(9, [1], 0, 5),
    Continue(9, [1], 5),
    Apply(9, [1], Sampled(Chain(()), None, 0), [], 5),
    Roll(9, [1], Sampled(Chain(()), None, 0), 1, 0, 1),
    Search(9, [1], "a", 5),
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("strict", ASIDE)
def test_what_a_key_asks_for_ends_and_drops_what_is_strict(strict: Request, key: Request) -> None:
    box = inbox(strict)
    assert box.next() == strict
    for other in ASIDE:
        if not isinstance(strict, MeasureNoise):  # which they end
            ask(box, other)
    assert not box.abort.asked, "both sides of a comparison may be asked of one engine"
    ask(box, key)
    assert box.abort.asked
    assert box.next() == key
    assert not box._queue.waiting


def test_stop_ends_and_drops_what_is_strict() -> None:
    box = inbox(EVALUATION)
    assert box.next() == EVALUATION
    ask(box, COMPARISON)
    ask(box, Stop())
    assert box.abort.asked
    ask(box, Tokenize(6, "a", True))
    assert box.next() == Tokenize(6, "a", True)
    assert not box._queue.waiting


def test_comparisons_come_behind_evaluations() -> None:
    other = EvaluateStrictly(6, [1, 3], 0, 5)
    box = inbox(COMPARISON, EVALUATION, other, MeasureNoise(5), Tokenize(7, "a", True))
    told = [box.next() for _ in range(5)]
    assert told == [Tokenize(7, "a", True), EVALUATION, other, COMPARISON, MeasureNoise(5)]


def test_what_is_compared_ends_the_measurement_of_noise() -> None:
    box = inbox(MeasureNoise(5))
    assert box.next() == MeasureNoise(5)
    ask(box, COMPARISON)
    assert box.abort.asked
    assert box.next() == COMPARISON
    ask(box, MeasureNoise(6))
    assert not box.abort.asked, "which ends nothing itself"
    ask(box, EVALUATION)
    assert box.next() == EVALUATION and not box._queue.waiting, "whoever wants to know asks again"


def test_foresight_waits_for_what_is_strict() -> None:
    ahead = Lookahead(8, [1], [[2]], 5)
    box = inbox(ahead)
    assert box.next() == ahead
    ask(box, Check(9, [1], True))
    ask(box, EVALUATION)
    assert box.abort.asked, "it is ended"
    assert box.next() == EVALUATION
    ask(box, ahead)
    assert not box.abort.asked, "and ends nothing"
    ask(box, COMPARISON)
    assert [box.next(), box.next()] == [COMPARISON, Check(9, [1], True)]
    assert not box._queue.waiting, "whoever looks ahead asks again"


def test_words_are_answered_between_two_chunks() -> None:
    box = inbox(EVALUATION)
    assert box.next() == EVALUATION
    ask(box, Tokenize(7, "a", True))
    assert not box.abort.asked
    assert box.next_of(Tokenize) == Tokenize(7, "a", True)


def test_closing_waits_a_moment_for_an_engine_that_no_signal_ends(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that reads from a disk that does not answer."""
    monkeypatch.setattr(client_module, "LEAVE_SECONDS", 0.05)
    talk = Conversation()
    talk.load(model_path)
    kill = talk.client._process.kill
    monkeypatch.setattr(talk.client._process, "kill", lambda: None)
    ended(talk.client.close)
    kill()


def test_a_file_that_is_replaced_while_it_is_loaded_is_refused(
    light_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is kept of it on the disk would be one file's numbers by another's name."""
    file, other = tmp_path / "model.gguf", tmp_path / "other.gguf"
    for one in (file, other):
        one.write_bytes(light_model.read_bytes())
    load = Load(str(file), 256, 1)
    whole = llama_module.Llama

    def slow(*arguments: object, **named: object) -> object:
        other.replace(file)
        return whole(*arguments, **named)  # type: ignore[arg-type]

    server = Server(Inbox(io.BytesIO(), io.BytesIO(), Abort()), io.BytesIO(), Abort())
    server._load(load)
    monkeypatch.setattr(server_module, "Llama", slow)
    with pytest.raises(llama_module.ModelError, match="was replaced while it was loaded"):
        server._load(load)


@pytest.mark.parametrize("text", ["<s>the cat", "<s>a<s>", "the cat<s>", "<s>"])
@pytest.mark.parametrize("special", [True, False])
def test_names_of_the_first_token_are_no_change_of_the_text(
    text: str, special: bool, conversation: Conversation, tiny: dict[str, Path]
) -> None:
    conversation.load(tiny["llama"])
    conversation.client.send(Tokenize(1, text, special))
    reply = conversation.next()
    assert isinstance(reply, Tokenized) and not reply.notice


def flipped(file: Path) -> None:
    """Writes other weights into a model's file, in place and of the same size: all of them finite."""
    whole = file.read_bytes()
    at = 2 * len(whole) // 3
    with file.open("r+b") as open_file:
        open_file.seek(at - at % 4)
        rest = open_file.read()
        open_file.seek(at - at % 4)
        open_file.write(bytes(byte ^ 0x80 if index % 4 == 3 else byte for index, byte in enumerate(rest)))


def evaluated(conversation: Conversation, number: int, path: list[int]) -> Delivery:
    """The last reply to an evaluation."""
    conversation.client.send(Evaluate(number, path, 0, 5))
    while isinstance(reply := conversation.next(), Evaluated):
        if reply.start + len(reply.distributions) == len(path):
            break
    return reply


def test_a_file_that_is_overwritten_while_it_is_played_ends_the_engine_and_spoils_no_cache(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    file, kv = tmp_path / "model.gguf", str(tmp_path / "kv")
    file.write_bytes(tiny["llama"].read_bytes())
    path = [5 + index % 50 for index in range(100)]
    fresh = Conversation()
    fresh.load(tiny["llama"])
    told = evaluated(fresh, 1, [*path, 7, 9])
    fresh.client.close()
    conversation = Conversation()
    conversation.load(file, cache=kv)
    assert isinstance(evaluated(conversation, 1, path), Evaluated)
    flipped(file)
    ended = evaluated(conversation, 2, [*path, 7, 9])
    assert isinstance(ended, EngineFailed) and ended.reason == "the model's file was overwritten while it was played"
    conversation.client.close()
    flipped(file)
    again = Conversation()
    again.load(file, cache=kv)
    reply = evaluated(again, 1, [*path, 7, 9])
    again.client.close()
    assert isinstance(reply, Evaluated) and isinstance(told, Evaluated)
    assert reply.distributions[-1].logprobs == pytest.approx(told.distributions[-1].logprobs, abs=1e-3)


def test_a_file_that_is_overwritten_with_what_gives_no_numbers_is_told_as_overwritten(
    tiny: dict[str, Path], tmp_path: Path, conversation: Conversation
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(tiny["llama"].read_bytes())
    conversation.load(file, repack=False)  # repacked weights are copies
    assert isinstance(evaluated(conversation, 1, [5, 6, 7]), Evaluated)
    size = file.stat().st_size
    with file.open("r+b") as open_file:
        open_file.seek(size // 3)
        open_file.write(b"\xff" * (size - size // 3))
    ended = evaluated(conversation, 2, [9, 8, 7, 6])
    assert isinstance(ended, EngineFailed) and ended.reason == "the model's file was overwritten while it was played"


FAULTY_ENGINE = """
import sys
from tokex_gguf.engine.inbox import Inbox
class Flag:
    asked = False
def answer():
    inbox.next()
    raise ValueError("the text of a prompt")
inbox = Inbox(sys.stdin.buffer, sys.stdout.buffer, Flag())
inbox.serve(answer)
"""


def test_an_exception_that_leaves_the_loop_ends_the_process_with_a_line() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FAULTY_ENGINE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(encode(Spell(1, "a")))  # standard input stays open, and is read
        process.stdin.flush()
        reply = decode(process.stdout.readline())
        assert isinstance(reply, EngineFailed) and reply.reason.startswith("an internal error (ValueError)")
        assert process.wait(60) == 1
        log = process.stderr.read()
    assert b"ValueError" in log and b"in answer" in log and b"prompt" not in log


@pytest.mark.parametrize("what", ["touched", "replaced", "removed"])
def test_a_file_whose_content_stays_or_that_stays_mapped_is_played_on(
    what: str, tiny: dict[str, Path], tmp_path: Path, conversation: Conversation
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(tiny["llama"].read_bytes())
    conversation.load(file)
    assert isinstance(evaluated(conversation, 1, [5, 6, 7]), Evaluated)
    match what:
        case "touched":
            os.utime(file, (1, 1))
        case "replaced":
            (tmp_path / "other").write_bytes(tiny["gemma3"].read_bytes())
            (tmp_path / "other").replace(file)
        case "removed":
            file.unlink()
    assert isinstance(evaluated(conversation, 2, [5, 6, 7, 8]), Evaluated)
    assert isinstance(evaluated(conversation, 3, [5, 6, 7, 8, 9]), Evaluated)
