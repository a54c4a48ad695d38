"""The engine of a server's model, over its pipes: what it answers, what it asks for, and what becomes of faults."""

import os
import queue
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.sampling import few
from tests.stand_in_server import ANSWERS, KINDS, OTHERS, PIECES, SIZE, StandIn, logprobs, ranked, serving, tokenize
from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.client import EngineClient, remote
from tokex_gguf.engine.protocol import (
    Apply,
    Capability,
    Chat,
    Check,
    Checked,
    ConnectServer,
    Continue,
    Continued,
    EngineFailed,
    Evaluate,
    Evaluated,
    Failed,
    Found,
    Loaded,
    Lookahead,
    LookaheadDone,
    Ping,
    Pong,
    Request,
    Search,
    Spell,
    Spelt,
    Stop,
    Tokenize,
    Tokenized,
    Walk,
)
from tokex_gguf.engine.remote.dialects.probe import probe
from tokex_gguf.engine.remote.evaluator import PIECE_TOKENS, Evaluator
from tokex_gguf.engine.remote.http import HttpClient
from tokex_gguf.engine.remote.server import SameModel
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.samplers import NO_CHAIN
from tokex_gguf.values.server_url import parse

ROOT = Path(__file__).parent.parent.parent
WHOLE = [token for token, piece in enumerate(PIECES) if token > 4 and len(piece) > 2 and piece.isascii()]
LONG = [WHOLE[place % len(WHOLE)] for place in range(700)]
START = 1
"""The token that the stand-in's tokenizer puts first."""


class Talk:
    """An engine that plays on one server, and what it says."""

    def __init__(self, address: str, **options: object) -> None:
        self.replies: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self.client: EngineClient = remote(self.replies.put)
        self.client.send(ConnectServer(address, **options))  # type: ignore[arg-type]

    def next(self, timeout: float = 20) -> Delivery:
        return self.replies.get(timeout=timeout)

    def ask(self, request: Request, timeout: float = 20) -> Delivery:
        self.client.send(request)
        return self.next(timeout)

    def all(self, request: Request, last: int) -> list[Evaluated]:
        """The answers to an evaluation or a walk, to that of a position."""
        self.client.send(request)
        found: list[Evaluated] = []
        while not found or found[-1].start + len(found[-1].distributions) - 1 != last:
            reply = self.next()
            assert isinstance(reply, Evaluated), reply
            found.append(reply)
        return found


@pytest.fixture
def server() -> Iterator[StandIn]:
    with serving() as server:
        yield server


@pytest.fixture
def talk(server: StandIn) -> Iterator[Talk]:
    talk = Talk(server.address)
    assert isinstance(talk.next(), Loaded)
    server.calls.clear()
    yield talk
    talk.client.close()


def completions(server: StandIn) -> list[list[int]]:
    """The paths that a llama-server was asked about, in order."""
    prompts = [body["prompt"] for path, body in server.calls if path == "/completion"]
    return [one for prompt in prompts for one in (prompt if isinstance(prompt[0], list) else [prompt])]


def told(path: list[int], token: int) -> float:
    return logprobs(tuple(path))[token]


# --- connecting


def test_a_server_is_a_model_with_what_it_can_and_cannot(server: StandIn) -> None:
    talk = Talk(server.address, candidates=50)
    loaded = talk.next()
    talk.client.close()
    assert isinstance(loaded, Loaded)
    assert (loaded.server.split()[0], loaded.vocab_size, loaded.candidates) == ("llama-server", SIZE, 50)
    assert loaded.capabilities == {Capability.BATCHES, Capability.VOCABULARY_SEARCH}
    assert loaded.context_limit == loaded.context > 1000 and len(loaded.fingerprint) == 32


def test_candidates_that_are_all_there_are_make_every_number_exact(server: StandIn) -> None:
    talk = Talk(server.address, candidates=10 * SIZE)
    loaded = talk.next()
    assert isinstance(loaded, Loaded) and loaded.candidates == 0
    assert {Capability.EXACT_ENTROPY, Capability.EXACT_RANKS} <= loaded.capabilities
    reply = talk.ask(Evaluate(1, [5, 6], 1, SIZE))
    talk.client.close()
    assert isinstance(reply, Evaluated)
    assert reply.distributions[0].slack_bits == 0 and len(reply.distributions[0]) == SIZE


def test_the_same_server_is_the_same_model_and_another_one_is_not(server: StandIn) -> None:
    found = []
    for model in ("toy", "toy", "other"):
        server.model = model
        talk = Talk(server.address)
        found.append(talk.next())
        talk.client.close()
    first, again, other = found
    assert isinstance(first, Loaded) and isinstance(again, Loaded) and isinstance(other, Loaded)
    assert again.same(first) and not other.same(first)


@pytest.mark.parametrize(
    ("address", "said"),
    [("http://127.0.0.1:1", "127.0.0.1:1 does not answer: connection refused"), ("nowhere", "begins with http://")],
)
def test_no_server_is_told_in_one_line(address: str, said: str) -> None:
    talk = Talk(address)
    reply = talk.next()
    talk.client.close()
    assert isinstance(reply, EngineFailed) and said in reply.reason and "\n" not in reply.reason


def test_a_key_comes_from_the_environment_and_is_in_no_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(key="s3cret-of-mine") as server:
        talk = Talk(server.address, log=str(tmp_path / "log"))
        reply = talk.next()
        talk.client.close()
        assert isinstance(reply, EngineFailed) and "TOKEX_SERVER_KEY" in reply.reason
        monkeypatch.setenv("TOKEX_SERVER_KEY", "s3cret-of-mine")
        talk = Talk(server.address, log=str(tmp_path / "log"))
        assert isinstance(talk.next(), Loaded)
        if (arguments := Path(f"/proc/{talk.client.pid}/cmdline")).exists():
            assert b"s3cret" not in arguments.read_bytes()
        talk.client.close()
        monkeypatch.setenv("TOKEX_SERVER_KEY", "s3cret-that-is-wrong")
        talk = Talk(server.address, log=str(tmp_path / "log"))
        reply = talk.next()
        talk.client.close()
        assert isinstance(reply, EngineFailed) and "s3cret" not in reply.reason
    assert not (tmp_path / "log").exists() or "s3cret" not in (tmp_path / "log").read_text()


# --- what is asked, and how often


def test_a_key_is_one_question_and_its_answer_is_the_models(talk: Talk, server: StandIn) -> None:
    path = [5, 6, 7, 8]
    reply = talk.ask(Evaluate(1, path, 3, 30, asked=ranked(path)[0][1], last_top=100))
    assert isinstance(reply, Evaluated) and completions(server) == [path]
    (distribution,) = reply.distributions
    assert list(distribution.ids) == [token for _, token in ranked(path)[:100]]
    assert distribution.logprobs[0] == pytest.approx(ranked(path)[0][0], abs=1e-6)
    true = -sum(2.718281828459045**value * value for value in logprobs(tuple(path))) / 0.6931471805599453
    assert distribution.entropy_bits - 1e-6 <= true <= distribution.entropy_bits + distribution.slack_bits + 1e-6
    assert reply.taken[0].rank == 1 and not reply.taken[0].at_least
    assert reply.pieces[distribution.ids[0]].data == PIECES[distribution.ids[0]]


def test_nothing_is_asked_twice(talk: Talk, server: StandIn) -> None:
    for number in range(1, 4):
        assert isinstance(talk.ask(Evaluate(number, [5, 6, 7], 2, 30)), Evaluated)
    assert completions(server) == [[5, 6, 7]]


def test_a_token_beyond_the_candidates_has_its_probability_and_a_rank_at_least(talk: Talk) -> None:
    unlikely = next(token for _, token in reversed(ranked([5, 6])) if len(PIECES[token]) > 1 and token > 4)
    reply = talk.ask(Evaluate(1, [5, 6], 1, 30, asked=unlikely))
    assert isinstance(reply, Evaluated)
    (taken,) = reply.taken
    assert taken.logprob == pytest.approx(told([5, 6], unlikely), abs=1e-6)
    assert (taken.rank, taken.at_least) == (101, True)


def test_a_long_prompt_goes_in_pieces_and_then_its_end(talk: Talk, server: StandIn) -> None:
    chunks = talk.all(Evaluate(1, LONG, 0, 30), len(LONG) - 1)
    ends = [PIECE_TOKENS, 2 * PIECE_TOKENS, len(LONG)]
    assert [len(path) for path in completions(server)] == ends
    assert [chunk.start for chunk in chunks] == [end - 1 for end in ends]
    assert chunks[0].taken[0].logprob == pytest.approx(told(LONG[:PIECE_TOKENS], LONG[PIECE_TOKENS]), abs=1e-6)
    server.calls.clear()
    talk.all(Evaluate(2, [*LONG, 9], len(LONG), 30), len(LONG))
    assert [len(path) for path in completions(server)] == [len(LONG) + 1], "what it has read is not read in pieces"


def test_a_newer_request_ends_a_piece(talk: Talk, server: StandIn) -> None:
    server.delay = 3600.0
    talk.client.send(Evaluate(1, LONG, 0, 30))
    while not completions(server):
        time.sleep(0.01)
    server.delay = 0.0
    reply = talk.ask(Evaluate(2, [5, 6], 1, 30))
    assert isinstance(reply, Evaluated) and reply.request == 2


def test_a_walk_gives_the_places_in_their_order_and_what_came_there(talk: Talk) -> None:
    path = LONG[:40]
    talk.client.send(Walk(1, path, [39, 7, 3], 30))
    replies = [talk.next() for _ in range(3)]
    assert all(isinstance(reply, Evaluated) for reply in replies)
    found = [reply for reply in replies if isinstance(reply, Evaluated)]
    assert [reply.start for reply in found] == [39, 7, 3]
    assert found[0].taken == [] and found[1].taken[0].logprob == pytest.approx(told(path[:8], path[8]), abs=1e-6)


def test_a_key_ends_a_walk_and_text_is_tokenised_meanwhile(talk: Talk, server: StandIn) -> None:
    server.delay = 0.05
    talk.client.send(Walk(1, LONG[:200], list(range(200)), 30))
    assert isinstance(talk.next(), Evaluated)
    talk.client.send(Tokenize(2, "Once", True))
    while not isinstance(reply := talk.next(), Tokenized):
        assert isinstance(reply, Evaluated) and reply.start < 20
    assert reply.path == [START, *tokenize("Once", special=True)]
    talk.client.send(Evaluate(3, [5, 6], 1, 30))
    while (reply := talk.next()) and isinstance(reply, Evaluated) and reply.request == 1:
        assert reply.start < 30
    assert isinstance(reply, Evaluated) and reply.request == 3
    assert talk.ask(Ping()) == Pong(), "nothing of the walk comes any more"


def test_lookahead_has_the_most_wanted_one_first_and_the_rest(talk: Talk, server: StandIn) -> None:
    server.delay = 0.02
    talk.client.send(Lookahead(1, [5, 6], [[9], [7], [8]], 30))
    found: dict[int, int] = {}
    while len(found) < 3:
        reply = talk.next()
        assert isinstance(reply, LookaheadDone) and reply.seconds >= server.delay
        found |= {token: one.most_likely for (token,), one in zip(reply.branches, reply.distributions, strict=True)}
    assert found == {token: ranked([5, 6, token])[0][1] for token in (9, 7, 8)} and next(iter(found)) == 9
    server.calls.clear()
    assert isinstance(talk.ask(Evaluate(2, [5, 6, 8], 2, 30)), Evaluated)
    assert not completions(server), "a token that was looked at costs nothing"


def test_autoplay_follows_the_likeliest_until_it_is_stopped(talk: Talk) -> None:
    talk.client.send(Continue(1, [5, 6], 30, most=12))
    path, end = [5], -1
    while end < 0:
        reply = talk.next()
        assert isinstance(reply, Continued)
        path, end = [*path, *reply.tokens], reply.end
    assert len(path) <= 13 and path[:2] == [5, 6]
    for place in range(2, len(path)):
        assert path[place] == ranked(path[:place])[0][1]
    assert end == ranked(path)[0][1]


def test_a_key_ends_autoplay(talk: Talk, server: StandIn) -> None:
    server.delay = 0.02
    talk.client.send(Continue(1, [5, 6], 30))
    assert isinstance(talk.next(), Continued)
    talk.client.send(Stop())
    talk.client.send(Evaluate(2, [7, 8], 1, 30))
    while isinstance(reply := talk.next(), Continued):
        pass
    assert isinstance(reply, Evaluated) and reply.request == 2


def test_a_search_reads_the_vocabulary_once(talk: Talk, server: StandIn) -> None:
    reply = talk.ask(Search(1, [5, 6], "the", 5))
    assert isinstance(reply, Found)
    having = [token for _, token in ranked([5, 6]) if b"the" in PIECES[token].lower()]
    assert (reply.tokens, reply.total) == (having[:5], len(having))
    places = {token: place + 1 for place, (_, token) in enumerate(ranked([5, 6]))}
    assert [one.rank for one in reply.taken] == [places[token] for token in reply.tokens]
    count = len(server.calls)
    assert isinstance(talk.ask(Search(2, [5, 6], "day", 5)), Found)
    assert len(server.calls) == count
    spelt = talk.ask(Spell(3, "day"))
    assert isinstance(spelt, Spelt) and {PIECES[token] for token in spelt.tokens} == {b"day", b" day"}


def test_text_becomes_tokens_and_a_path_is_compared_with_them(talk: Talk) -> None:
    reply = talk.ask(Tokenize(1, "Once upon a time", True))
    assert isinstance(reply, Tokenized) and reply.path == [START, *tokenize("Once upon a time", special=True)]
    assert reply.notice == "" and b"".join(reply.pieces[token].data for token in reply.path[1:]) == b"Once upon a time"
    assert talk.ask(Check(2, reply.path, True)) == Checked(2, None)
    assert talk.ask(Check(3, [START, *(5 + byte for byte in b"Once")], True)) == Checked(3, 1)
    # A half of a character in the middle is what the tokenizer makes of no text.
    assert talk.ask(Check(4, [START, *(5 + byte for byte in b"a\xf0\x9fb")], True)) == Checked(4, 2)


def test_a_chat_is_made_by_the_servers_template(talk: Talk) -> None:
    reply = talk.ask(Chat(1, '{"messages": [{"role": "user", "content": "Once"}]}'))
    assert isinstance(reply, Tokenized) and reply.said is None
    assert reply.path == [START, *tokenize("<|user|>Once<|stop|><|assistant|>", special=True)]


def test_what_needs_the_whole_vocabulary_is_refused_in_one_line(talk: Talk) -> None:
    reply = talk.ask(Apply(1, [5, 6], Sampled(NO_CHAIN, None, 0), [], 5))
    assert isinstance(reply, Failed) and reply.request == 1 and "whole vocabulary" in reply.reason


def test_a_path_that_is_too_long_is_told_with_what_fits(talk: Talk, server: StandIn) -> None:
    reply = talk.ask(Evaluate(1, [5] * 5000, 4999, 30))
    assert isinstance(reply, Failed) and reply.request == 1 and reply.context == server.context - 1
    assert isinstance(talk.ask(Evaluate(2, [5, 6], 1, 30)), Evaluated)


# --- all kinds of servers


@pytest.fixture(params=KINDS)
def any_talk(request: pytest.FixtureRequest) -> Iterator[tuple[Talk, StandIn, Loaded]]:
    with serving(request.param) as server:
        talk = Talk(server.address)
        loaded = talk.next()
        assert isinstance(loaded, Loaded), loaded
        server.calls.clear()
        yield talk, server, loaded
        talk.client.close()


def test_every_kind_gives_a_prompt_a_key_and_what_may_come(any_talk: tuple[Talk, StandIn, Loaded]) -> None:
    talk, server, loaded = any_talk
    path = [WHOLE[place % len(WHOLE)] for place in range(60)]
    at_once = Capability.PROMPT_AT_ONCE in loaded.capabilities
    assert at_once == (server.kind != "llama-server")
    chunks = talk.all(Evaluate(1, path, 0, 30, last_top=100), 59)
    places = [chunk.start + index for chunk in chunks for index in range(len(chunk.distributions))]
    assert places == (list(range(60)) if at_once else [59])
    taken = [one for chunk in chunks for one in chunk.taken]
    for place, one in enumerate(taken):
        assert one.logprob == pytest.approx(told(path[: place + 1], path[place + 1]), abs=2e-4)
        if Capability.EXACT_RANKS in loaded.capabilities:
            rank = 1 + [token for _, token in ranked(path[: place + 1])].index(path[place + 1])
            assert (one.rank, one.at_least) == (rank, False)
    if at_once:
        asked = [called for called, _ in server.calls if called in ("/v1/completions", "/generate")]
        assert len(asked) == 1, "one call for all of a prompt"
        server.calls.clear()
        talk.all(Evaluate(2, path, 0, 30), 59)
        assert not server.calls
    longer = [*path, chunks[-1].distributions[-1].most_likely]
    (reply,) = talk.all(Evaluate(3, longer, 60, 30), 60)
    assert reply.distributions[0].most_likely == ranked(longer)[0][1]
    tokens = list(reply.distributions[0].ids[:4])
    talk.client.send(Lookahead(4, longer, [[token] for token in tokens], 30))
    found: dict[int, int] = {}
    while len(found) < 4:
        ahead = talk.next()
        assert isinstance(ahead, LookaheadDone)
        found |= {token: one.most_likely for (token,), one in zip(ahead.branches, ahead.distributions, strict=True)}
    assert found == {token: ranked([*longer, token])[0][1] for token in tokens}


def test_a_text_that_names_the_first_token_has_one_of_it(any_talk: tuple[Talk, StandIn, Loaded]) -> None:
    talk, _, _ = any_talk
    inner = tokenize("the cat", special=True)
    reply = talk.ask(Tokenize(1, "<|start|>the cat", True))
    assert isinstance(reply, Tokenized) and (reply.path, reply.notice) == ([START, *inner], "")
    assert talk.ask(Check(2, reply.path, True)) == Checked(2, None)
    for number, continues in ((3, False), (4, True)):  # whoever types it twice has it twice, and once more nowhere
        reply = talk.ask(Tokenize(number, "<|start|><|start|>the cat", True, continues))
        assert isinstance(reply, Tokenized) and reply.path == [START, START, *inner]


def test_a_chat_whose_template_names_the_first_token_has_one_of_it(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANSWERS["llama-server"], "/apply-template", lambda *_: {"prompt": "<|start|><|user|>Once"})
    reply = talk.ask(Chat(1, '{"messages": [{"role": "user", "content": "Once"}]}'))
    assert isinstance(reply, Tokenized) and reply.path == [START, *tokenize("<|user|>Once", special=True)]


def test_every_kind_tokenises_chats_and_plays_on(any_talk: tuple[Talk, StandIn, Loaded]) -> None:
    talk, _, _ = any_talk
    reply = talk.ask(Tokenize(1, "Once upon a time", True))
    assert isinstance(reply, Tokenized) and reply.notice == ""
    assert reply.path[-4:] == tokenize("Once upon a time", special=True)
    assert talk.ask(Check(2, reply.path, True)) == Checked(2, None)
    chat = talk.ask(Chat(3, '{"messages": [{"role": "user", "content": "Once"}]}'))
    assert isinstance(chat, Tokenized) and chat.path[-2:] == [2, 4]
    talk.client.send(Continue(4, reply.path, 30, most=3))
    tokens, end = list[int](), -1
    while end < 0:
        played = talk.next()
        assert isinstance(played, Continued)
        tokens, end = [*tokens, *played.tokens], played.end
    path = reply.path[:-1]
    for token in (*tokens, end):
        assert token == (reply.path[-1] if len(path) < len(reply.path) else ranked(path)[0][1])
        path.append(token)


def test_every_kind_says_no_to_a_search_or_answers_it(any_talk: tuple[Talk, StandIn, Loaded]) -> None:
    talk, _, loaded = any_talk
    reply = talk.ask(Search(1, [5, 6], "the", 5))
    if Capability.VOCABULARY_SEARCH in loaded.capabilities:
        assert isinstance(reply, Found) and reply.total
    else:
        assert isinstance(reply, Failed) and reply.request == 1


@pytest.mark.parametrize("kind", OTHERS)
def test_other_servers_are_refused_in_one_sentence(kind: str) -> None:
    with serving(kind) as server:
        talk = Talk(server.address)
        reply = talk.next()
        talk.client.close()
    assert isinstance(reply, EngineFailed) and "llama-server, vLLM or SGLang" in reply.reason


GUIDE = ROOT / "docs" / "guide" / "servers.md"


def can(kind: str) -> list[str]:
    """What a server with its defaults can, as cells of the guide's table."""
    with serving(kind) as server:
        talk = Talk(server.address)
        loaded = talk.next()
        talk.client.close()
    assert isinstance(loaded, Loaded)
    has = loaded.capabilities.__contains__
    always = has(Capability.BATCHES)  # asked of each kind by the tests above
    return [
        f"{loaded.candidates}",
        "all in one call" if has(Capability.PROMPT_AT_ONCE) else "one by one, in the background",
        "exact" if has(Capability.EXACT_RANKS) else "at least",
        "exact" if has(Capability.EXACT_ENTROPY) else "an interval",
        "yes" if always else "no",
        "yes" if always else "no",
        "yes" if has(Capability.BRANCHES) else "no",
        "yes" if has(Capability.COMPARISON) else "no",
        "yes" if has(Capability.VOCABULARY_SEARCH) else "no",
        "yes" if has(Capability.SAMPLERS) and has(Capability.CONSTRAINTS) else "no",
    ]


def test_the_guides_table_says_what_each_kind_can(request: pytest.FixtureRequest) -> None:
    names = (
        *("candidates of a place, by default", "numbers of a prompt", "ranks after the candidates", "entropy"),
        *(
            "lookahead, autoplay, typing, scores, tree, chats",
            "answers, critical tokens",
            "the column `ahead`",
            "comparing prompts, and models",
            "search of the vocabulary",
            "samplers, constraints, draws",
        ),
    )
    columns = [can(kind) for kind in KINDS]
    lines = [f"| | {' | '.join(KINDS)} |", f"|---{'|---' * len(KINDS)}|"]
    lines += [f"| {' | '.join(row)} |" for row in zip(names, *columns, strict=True)]
    table = "\n".join(["<!-- servers -->", *lines, "<!-- /servers -->"])
    page = GUIDE.read_text(encoding="utf-8")
    before, rest = page.split("<!-- servers -->")
    renewed = before + table + rest.split("<!-- /servers -->")[1]
    if request.config.getoption("--renew-screens"):
        GUIDE.write_text(renewed, encoding="utf-8")
    else:
        assert page == renewed


# --- faults


def test_a_server_that_goes_ends_the_engine_with_a_line(talk: Talk, server: StandIn) -> None:
    server.fault = "resets"
    reply = talk.ask(Evaluate(1, [5, 6], 1, 30))
    assert isinstance(reply, EngineFailed) and "127.0.0.1" in reply.reason


@pytest.mark.parametrize("fault", ["wrong id", "nan", "over one", "no json", "double"])
def test_nonsense_is_one_line_and_the_engine_goes_on(talk: Talk, server: StandIn, fault: str) -> None:
    server.fault = fault
    reply = talk.ask(Evaluate(1, [5, 6], 1, 30))
    assert isinstance(reply, Failed) and reply.request == 1 and "\n" not in reply.reason
    server.fault = ""
    assert isinstance(talk.ask(Evaluate(2, [5, 6], 1, 30)), Evaluated)


def test_a_model_that_changed_is_noticed_behind_a_new_connection(talk: Talk, server: StandIn) -> None:
    server.fault = "closes"
    assert isinstance(talk.ask(Evaluate(1, [5, 6], 1, 30)), Evaluated)
    server.model = "other"
    reply = talk.ask(Evaluate(2, [5, 6, 7], 2, 30))
    assert isinstance(reply, EngineFailed) and "another model" in reply.reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_may_close_each_connection(kind: str) -> None:
    with serving(kind, fault="closes") as server:
        talk = Talk(server.address)
        assert isinstance(talk.next(), Loaded)
        for number in (1, 2, 3):
            assert isinstance(talk.ask(Evaluate(number, [5, 6, 6 + number], 2, 30)), Evaluated)
        assert server.connections < 100
        talk.client.close()


def test_a_check_within_a_walk_that_a_key_ends_is_answered(talk: Talk, server: StandIn) -> None:
    path = [START, *tokenize("Once upon a time there was a small village by the sea", special=True)]
    server.delay = 0.2
    talk.client.send(Walk(1, path, list(range(3, len(path))), 30))
    while not server.calls:
        time.sleep(0.01)
    talk.client.send(Check(2, path, True))
    count = len(server.calls)
    while len(server.calls) == count:  # it is being answered
        time.sleep(0.01)
    talk.client.send(Stop())
    while isinstance(reply := talk.next(), Evaluated):
        pass
    assert reply == Checked(2, None)


@pytest.mark.thorough
def test_a_table_of_a_long_prompt_has_all_candidates_also_when_it_comes_along() -> None:
    with serving("vLLM", cap=100) as server:
        server.context = 8_000
        client = HttpClient(parse(server.address))
        dialect = client.run(probe(""))
        evaluator = Evaluator(SameModel(client, dialect), dialect, 100, second_cache=False)
        path = [5 + index % 60 for index in range(1200)]
        for start in (1199, 1196):  # alone, and with tokens before it whose numbers are asked for as well
            *_, last = Evaluator(SameModel(client, dialect), dialect, 100, second_cache=False).evaluate(
                path, start, 100
            )
            assert len(last.distributions[-1]) == 100
        list(evaluator.evaluate(path, 1196, 100))
        *_, again = evaluator.evaluate(path, 1199, 100)
        assert len(again.distributions[-1]) == 100
        client.close()


def test_of_paths_that_were_searched_one_is_remembered_as_a_whole(server: StandIn) -> None:
    client = HttpClient(parse(server.address))
    dialect = client.run(probe(""))
    evaluator = Evaluator(SameModel(client, dialect), dialect, 20, second_cache=False)
    for last in range(5):
        assert evaluator.search([5, 6, 7 + last], "e", 5).total
        count = len(server.calls)
        found = evaluator.search([5, 6, 7 + last], "a", 5)
        assert found.tokens and len(server.calls) == count, "the newest is not asked for twice"
    sizes = [len(known.distribution) for known in evaluator._memory._known.values()]
    assert max(sizes) == 20
    client.close()


CONTEXT = 1000


@pytest.fixture(params=["keeps slots", "empties slots", "one slot"])
def cached(request: pytest.FixtureRequest, server: StandIn) -> Iterator[tuple[Evaluator, StandIn]]:
    """A server that says what it reads, and whose cells do not suffice for two long paths."""
    server.context, server.slots = CONTEXT, 1 if request.param == "one slot" else 4
    server.cache.keeps_idle = request.param == "keeps slots"
    client = HttpClient(parse(server.address))
    dialect = client.run(probe(""))
    second_cache = dialect.served.has_second_cache and client.run(dialect.stays_cached())
    assert second_cache == server.cache.keeps_idle == (request.param == "keeps slots")
    yield Evaluator(SameModel(client, dialect), dialect, 100, second_cache=second_cache), server
    client.close()


def read(server: StandIn) -> list[int]:
    """The tokens that were read for each call since the last time."""
    told = [count for _, count in server.cache.reads]
    server.cache.reads.clear()
    return told


@pytest.mark.parametrize("size", few([300, 450, 494, 600, 900], of=3))
def test_whatever_comes_behind_a_part_of_a_walk_reads_nothing_again(
    cached: tuple[Evaluator, StandIn], size: int
) -> None:
    evaluator, server = cached
    path = LONG[:size] if size <= len(LONG) else [*LONG, *LONG[::-1]][:size]
    list(evaluator.evaluate(path, size - 1, 30))
    questions: list[Callable[[list[int]], object]] = [
        lambda path: list(evaluator.evaluate(path, len(path) - 1, 30)),
        lambda path: evaluator.look_ahead(path, [[7], [7, 8]], 30),
        lambda path: evaluator.search(path, "a", 5),
        lambda path: evaluator.search(path, "b", 5),
    ]
    place = 0
    for turn in range(3):
        for question in questions:
            for _ in range(10):
                evaluator.at(path, place, 30)
                place += 1
            read(server)
            path = [*path, 20 + turn]
            question(path)
            assert sum(read(server)) <= 4


def test_the_spelling_of_a_text_leaves_what_is_played_in_the_cache(cached: tuple[Evaluator, StandIn]) -> None:
    evaluator, server = cached
    list(evaluator.evaluate(LONG, len(LONG) - 1, 30))
    assert evaluator.spelling("day")
    read(server)
    list(evaluator.evaluate([*LONG, 7], len(LONG), 30))
    assert sum(read(server)) <= 2


@pytest.mark.parametrize("size", [400, 450, 600, 900])
def test_what_has_to_be_read_again_is_read_in_pieces(cached: tuple[Evaluator, StandIn], size: int) -> None:
    """Walks in any order, keys and pops: whatever was lost."""
    evaluator, server = cached
    chance = random.Random(size)
    path = [chance.choice(WHOLE) for _ in range(size)]
    list(evaluator.evaluate(path, size - 1, 30))
    for _ in range(40):
        match chance.randrange(4):
            case 0:
                path = [*path, chance.choice(WHOLE)]
            case 1:
                path = path[: -chance.choice([1, 2, len(path) // 3])]
            case 2:
                path = [*path, *(chance.choice(WHOLE) for _ in range(min(300, CONTEXT - 20 - len(path))))]
            case _:
                evaluator.at(path, chance.randrange(len(path)), 30)
        list(evaluator.evaluate(path, len(path) - 1, 30))
    assert max(read(server)) <= PIECE_TOKENS


def test_a_vocabulary_whose_size_is_not_told_is_searched_as_a_whole(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    tells = ANSWERS["llama-server"]["/v1/models"]

    def silent(server: StandIn, asked: object) -> object:
        answer = tells(server, asked)
        del answer["data"][0]["meta"]
        return answer

    monkeypatch.setitem(ANSWERS["llama-server"], "/v1/models", silent)
    client = HttpClient(parse(server.address))
    dialect = client.run(probe(""))
    assert dialect.served.vocab_size == 0
    evaluator = Evaluator(SameModel(client, dialect), dialect, 20, second_cache=False)
    known, new = [5, 6], [5, 7]
    list(evaluator.evaluate(known, 1, 10))
    assert {evaluator.search(path, "", 5).total for path in ([5], known, new, known)} == {SIZE}
    client.close()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing can be stopped here")
@pytest.mark.thorough
def test_a_stopped_server_is_told() -> None:
    """Within five seconds, by the limits that tests/engine/test_http.py looks at."""
    with stand_in() as (process, address):
        talk = Talk(address)
        assert isinstance(talk.next(), Loaded)
        os.kill(process.pid, signal.SIGSTOP)
        reply = talk.ask(Evaluate(1, [5, 6], 1, 30))
        os.kill(process.pid, signal.SIGCONT)
        talk.client.close()
    assert isinstance(reply, EngineFailed)


def test_a_ping_is_answered_while_a_call_is_under_way(talk: Talk, server: StandIn) -> None:
    server.delay = 2.0
    talk.client.send(Evaluate(1, [5, 6], 1, 30))
    while not completions(server):
        time.sleep(0.01)
    assert talk.ask(Ping(), timeout=1) == Pong()


def test_the_process_imports_neither_numpy_nor_llama_cpp() -> None:
    program = "import sys, tokex_gguf.engine.remote.server; print(sorted({'numpy', 'llama_cpp'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@contextmanager
def stand_in(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A stand-in that is a process of its own, and its address."""
    command = [sys.executable, "-m", "tests.stand_in_server", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
