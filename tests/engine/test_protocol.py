"""The messages: what goes in comes out, on one line, and nothing else is accepted."""

import json
import math
from array import array
from base64 import b64encode
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokex_gguf.engine import protocol
from tokex_gguf.engine.protocol import (
    NOTHING_LEFT,
    Against,
    Applied,
    Apply,
    Capability,
    Chat,
    Check,
    Checked,
    Compare,
    Compared,
    ConnectServer,
    Constrain,
    Constrained,
    Continue,
    Continued,
    EngineFailed,
    Evaluate,
    Evaluated,
    EvaluateStrictly,
    Export,
    Exported,
    Failed,
    Force,
    Forced,
    Found,
    Load,
    Loaded,
    Loading,
    Lookahead,
    LookaheadDone,
    LookaheadStrictly,
    MeasureNoise,
    Noise,
    Ping,
    Pong,
    ProtocolError,
    Recall,
    Recalled,
    Roll,
    Rolled,
    Search,
    Spell,
    Spelt,
    Stop,
    StrictLookaheadDone,
    Tokenize,
    Tokenized,
    Waits,
    Walk,
    WireMessage,
    decode,
    encode,
)
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.difference import Difference, TokenPair
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.lens import RAW, Sampled
from tokex_gguf.values.samplers import Chain, Kind, Sampler
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.view import Draw, Stage, Standing, Verdict, View

ANSWER = Distribution.of(12.25, [5, 0, 2**31 - 1], [-0.1, -2.5, -700.125])
INTERVAL = Distribution.of(3.75, [5, 7], [-0.5, -2.5], 0.25)

DIFFERENCE = Difference(
    0.25,
    0.125,
    5,
    7,
    (
        TokenPair(5, TokenLogprob(-0.5, 1), TokenLogprob(-1.5, 2)),
        TokenPair(7, TokenLogprob(-9.0, 101), TokenLogprob(-0.5, 1)),
    ),
    TokenPair(9, TokenLogprob(-3.5, 140), TokenLogprob(-3.25, 139)),
)

LENS = Sampled(
    Chain((Sampler.of(Kind.TOP_K, 5), Sampler.of(Kind.TEMPERATURE, 0.7)), ((3, -math.inf), (5, 1.5)), ("\n", "é")),
    Constraint(ConstraintKind.REGEX, "[0-9]+\n"),
    12,
)
VIEW = View(
    2,
    0.5,
    1.25,
    0.75,
    (Stage(3, 0.75, 2.0), Stage(2, 0.5, 1.25, "undefined")),
    Standing.COMPLETE,
    -1,
    array("i", [5, 7, 9]),
    array("d", [0.75, 0.25, 0.0]),
    array("b", [-1, -1, 1]),
    {9: TokenLogprob(-3.5, 140)},
)

EXAMPLES: list[WireMessage] = [
    Load("/a b/ü\n.gguf", 4096, 8),
    ConnectServer("http://[::1]:8080/a", "a model", 30),
    Tokenize(7, "line\r\nbreak\u2028 and 🐕 \x00", False),
    Evaluate(8, [1, 2, 3], 1, 30),
    Evaluate(8, [1, 2, 3], 1, 30, 99, 100),
    Walk(8, [1, 2, 3], [2, 0], 30),
    Stop(),
    Loading(0.25),
    Loaded("Näme", "llama", "Q4_K - Medium", 49152, 2048, 8192, None, True),
    Loaded("Name", "llama", "F16", 49152, 2048, 8192, 1, False),
    Tokenized(9, [1, 2, 2], {1: Piece(b"a"), 2: Piece(b"<|x|>", True)}),
    Evaluated(
        10, 3, [ANSWER, ANSWER], [TokenLogprob(-1.5, 2), TokenLogprob(-20.0, 40_000)], {5: Piece(b"\n")}, 2, 0.5, 2048
    ),
    Evaluated(10, 3, [], [], {}, 0, 0.0, 2048),
    Failed(11, "why\nnot"),
    EngineFailed("no such file"),
    Lookahead(5, [1, 2], [[3], [4, 5]], 30),
    Lookahead(5, [1, 2], [[3]], 30, waited=True),
    Continue(6, [1, 2], 30),
    Tokenize(7, " and", True, True),
    Chat(8, '{"messages": [{"role": "user", "content": "Hé\\n"}]}'),
    Tokenized(8, [1, 2], {1: Piece(b" the"), 2: Piece(b"a")}, [1]),
    Tokenized(8, [1, 2], {}, None),
    Search(7, [1, 2], '" thé"', 30),
    Spell(7, " thé"),
    Spelt(7, [5, 7], {5: Piece(b" the")}),
    Check(8, [1, 2], True),
    Found(7, [3], [TokenLogprob(-1.5, 20)], 40_000, {3: Piece(b" the")}, 1, 0.01),
    Checked(8, 5),
    Checked(8, None),
    LookaheadDone(5, [[3, 4]], [Distribution.of(1.5, [7], [-0.1])], {7: Piece(b"x", True, True)}),
    Continued(6, [2], [Distribution.of(1.5, [7], [-0.1])], {}, 0.5, 4096),
    Evaluate(8, [1, 2, 3], 1, 30, lens=LENS),
    Evaluated(10, 3, [ANSWER], [TokenLogprob(-1.5, 2)], {}, 0, 0.0, 2048, [Verdict(0.25, -1, 0.5)]),
    Continue(6, [1, 2], 30, LENS, 2**32 - 1),
    Continue(6, [1, 2], 1, LENS, 42, 128),
    Continued(6, [2], [ANSWER], {}, 0.5, 4096, [Verdict(0.0, 1)], 7, [TokenLogprob(-1.5, 2), TokenLogprob(-0.5, 1)]),
    Continued(6, [], [], {}, 0.5, 4096, [], NOTHING_LEFT),
    Evaluated(10, 3, [INTERVAL], [TokenLogprob(-9.5, 101, True)], {}, 1, 0.0, 2048),
    Apply(9, [1, 2], LENS, [5, 7], 100),
    Applied(9, VIEW, {7: Piece(b"x")}, 1, 0.5),
    Roll(9, [1, 2], LENS, 42, 0, 100),
    Roll(9, [1, 2], RAW, 42, 2**32, 1),
    Rolled(9, [Draw(7, 0.5, 0.25, 0.75)], [Verdict(0.5, -1)], {}, 0, 0.0),
    Constrain(9, [1, 2], Constraint(ConstraintKind.JSON_SCHEMA, '{"type": "integer"}'), 1),
    Constrained(9, -1),
    Force(9, [1, 2], LENS),
    Forced(9, [5, 6], True, {5: Piece(b"x")}),
    Ping(),
    Pong(),
    Waits(["127.0.0.1:50052"], 4.5),
    Load("a.gguf", 0, 0, rpc="127.0.0.1:50052,lab:1"),
    Loaded("Name", "llama", "F16", 49152, 2048, 8192, 1, False, capabilities=frozenset({Capability.BATCHES})),
    Loaded("Name", "", "", 49152, 8192, 8192, None, False, server="llama-server b11434", candidates=100),
    Loaded("Name", "llama", "F16", 49152, 2048, 8192, 1, False, sampling={"top_k": "20", "sequence": "top_k;min_p"}),
    Loaded("Name", "llama", "F16", 49152, 2048, 8192, 1, False, suppressed=(3, 7)),
    Loaded("Name", "llama", "F16", 49152, 2048, 8192, 1, False, vocabulary="sha256:1f"),
    EvaluateStrictly(8, [1, 2, 3], 1, 30),
    Evaluated(8, 1, [ANSWER], [TokenLogprob(-1.5, 2)], {}, 8, 0.5, 2048, strict=True),
    Compare(8, [1, 2, 3], [1, 4], 10),
    Export(8, [1, 2, 3], 1, 3, "/tmp/a b/rows"),
    Exported(8, 1, 3, 8, 0.5),
    Recalled(8),
    LookaheadStrictly(9, [1, 2], [3, 4]),
    StrictLookaheadDone(9, 2, 0.5),
    Against(8, [1, 2, 3], 1, 3, "/tmp/a b/rows", "b\ncells f16", 0),
    Recall(8, [1, 2, 3], 1, 3, "b", 5),
    Compared(8, 1, [DIFFERENCE, Difference(0.0, 0.0, 7, 7, ())], {7: Piece(b"x")}, 8, 0.5),
    MeasureNoise(8),
    Noise(8, 0.015625),
]


def plain(value: Any) -> Any:
    """A value that compares by content; distributions compare by identity."""
    if isinstance(value, Distribution):
        return value.entropy_bits, value.slack_bits, value.ids, value.logprobs
    if is_dataclass(value):
        return type(value), {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return list(map(plain, value)) if isinstance(value, list) else value


def assert_comes_back(message: WireMessage) -> None:
    line = encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and len(line.splitlines()) == 1
    again = decode(line)
    assert plain(again) == plain(message)
    assert encode(again) == line


# --- there and back


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_round_trip(message: WireMessage) -> None:
    assert_comes_back(message)


def test_every_message_has_an_example() -> None:
    assert {type(message) for message in EXAMPLES} == set(get_args(protocol.Request)) | set(get_args(protocol.Reply))


def test_every_byte_in_a_piece() -> None:
    pieces = {byte: Piece(bytes([byte]), byte % 2 == 0) for byte in range(256)}
    pieces[256] = Piece(bytes(range(256)))
    pieces[257] = Piece(b"")
    assert_comes_back(Tokenized(1, list(pieces), pieces))


def test_types_come_back() -> None:
    message = decode(encode(EXAMPLES[11]))
    assert isinstance(message, Evaluated)
    assert isinstance(message.distributions[0], Distribution)
    assert isinstance(message.taken[0], TokenLogprob) and isinstance(message.taken[0].rank, int)
    assert isinstance(message.pieces[5], Piece)
    assert message.distributions[0].candidate(2).token == 2**31 - 1


@given(st.text(max_size=20), st.lists(st.integers(0, 2**31 - 1), max_size=5), st.binary(max_size=10), st.booleans())
def test_any_text_and_bytes(text: str, path: list[int], data: bytes, control: bool) -> None:
    assert_comes_back(Tokenize(1, text, control))
    assert_comes_back(Tokenized(1, path, {token: Piece(data, control) for token in path}))


@given(st.lists(st.floats(-1e4, 0), min_size=1, max_size=5), st.floats(0, 20))
def test_numbers_are_exact(logprobs: list[float], entropy: float) -> None:
    distribution = Distribution.of(entropy, range(len(logprobs)), logprobs)
    assert_comes_back(Evaluated(1, 0, [distribution], [TokenLogprob(logprobs[0], 1)], {}, 1, entropy, 512))


def test_a_token_that_cannot_come() -> None:
    """Statistics let a logit be minus infinity, so its log-probability can be sent."""
    distribution = Distribution.of(0.0, [1, 2], [0.0, -math.inf])
    assert_comes_back(Evaluated(1, 0, [distribution], [TokenLogprob(-math.inf, 2)], {}, 1, 0.5, 512))


# --- what is no message


def line(name: str, **values: Any) -> bytes:
    return json.dumps([name, values]).encode()


def evaluated(**changed: Any) -> bytes:
    """A good Evaluated, but for what is changed."""
    good = json.loads(encode(EXAMPLES[11]))[1]
    return line("Evaluated", **{**good, **changed})


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\n",
        b"llama.cpp: a warning\n",
        b"\xff\xfe",
        b'["Stop",{}',
        b'["Stop",{}] ["Stop",{}]',
        b"5",
        b"null",
        b"true",
        b'"Stop"',
        b'"ab"',
        b"[]",
        b"{}",
        b'["Stop"]',
        b'["Stop",{},{}]',
        b'{"Stop":{},"pieces":{}}',
        b'["Load",5]',
        b'["Load",null]',
        b'["Load",[]]',
        b'["Load","pieces"]',
        b'["Load",["pieces"]]',
        b'["Load",["distributions"]]',
        b"[5,{}]",
        b"[null,{}]",
        b'[["Stop"],{}]',
        b"[{},{}]",
        line("stop"),
        line("EngineDied", reason="forged"),
        line("__class__"),
        line("Stop", extra=1),
        line("Load", path="x"),
        line("Load", path="x", context=1, threads=1, more=1),
        line("Loading"),
        line("Tokenized", request=1, path=[]),
        b"[" * 100_000,
        b'["Stop",' + b'{"a":' * 100_000,
    ],
    ids=lambda bad: repr(bad[:40]),
)
def test_no_message(bad: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(bad)


@pytest.mark.parametrize("pieces", [5, None, [5], [[]], [[1, "a", False, 0, 0]], [[1, "\u0100", False]]])
def test_no_pieces(pieces: Any) -> None:
    with pytest.raises(ProtocolError):
        decode(evaluated(pieces=pieces))


@pytest.mark.parametrize("data", [5, None, ["a"], {}])
def test_piece_that_is_no_text(data: Any) -> None:
    with pytest.raises(ProtocolError):
        decode(evaluated(pieces=[[1, data, False]]))


def packed_numbers(kind: Any, numbers: list[Any]) -> str:
    return b64encode(array(kind, numbers).tobytes()).decode()


IDS, LOGPROBS = packed_numbers("i", [1, 2]), packed_numbers("d", [-0.5, -math.inf])


@pytest.mark.parametrize(
    "packed",
    [
        5,
        [],
        [1.0],
        [1.0, 5, LOGPROBS],
        [1.0, [1, 2], LOGPROBS],
        [1.0, IDS, [-0.5, -1.0]],
        [1.0, IDS, None],
        [1.0, "", ""],  # none of them
        [1.0, IDS, LOGPROBS[:12]],  # fewer than there are ids
        [1.0, IDS[:-4], LOGPROBS],  # a part of an id
        [1.0, IDS + "\n", LOGPROBS],
        [1.0, "?" + IDS[1:], LOGPROBS],
        [1.0, "\u0100" + IDS[1:], LOGPROBS],
        [1.0, IDS, packed_numbers("d", [-0.5, math.nan])],
        [1.0, IDS, packed_numbers("d", [1.5, -1.0])],
        [math.inf, IDS, LOGPROBS],
        ["1", IDS, LOGPROBS],
        [10**400, IDS, LOGPROBS],
        [1.0, IDS, LOGPROBS, -1.0],
        [1.0, IDS, LOGPROBS, math.inf],
        [1.0, IDS, LOGPROBS, 0.5, 0],
    ],
)
def test_no_distribution(packed: Any) -> None:
    with pytest.raises(ProtocolError):
        decode(evaluated(distributions=[packed]))


def test_a_distribution_comes_over_with_all_its_bits() -> None:
    message = decode(evaluated(distributions=[[1.25, IDS, LOGPROBS, 0.5]]))
    assert isinstance(message, Evaluated)
    (one,) = message.distributions
    assert (one.entropy_bits, one.slack_bits) == (1.25, 0.5)
    assert (list(one.ids), list(one.logprobs)) == ([1, 2], [-0.5, -math.inf])


@pytest.mark.parametrize("taken", [5, None, [5], [[]], [[1.0]], [[1.0, 2, 3]]])
def test_nothing_taken(taken: Any) -> None:
    with pytest.raises(ProtocolError):
        decode(evaluated(taken=taken))


NEEDED = [field.name for field in fields(Evaluated) if field.name not in ("verdicts", "strict")]


@pytest.mark.parametrize("missing", NEEDED)
def test_missing_field(missing: str) -> None:
    values = json.loads(evaluated())[1]
    del values[missing]
    with pytest.raises(ProtocolError):
        decode(line("Evaluated", **values))


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(st.sampled_from(["pieces", "distributions", "taken"]), json_values | st.lists(st.lists(json_values, max_size=3)))
def test_a_packed_field_is_right_or_a_fault(name: str, value: Any) -> None:
    """No other exception: the thread that reads knows only this one."""
    try:
        message = decode(evaluated(**{name: value}))
    except ProtocolError:
        return
    assert isinstance(message, Evaluated)


def test_a_fault_tells_nothing_of_what_was_said() -> None:
    with pytest.raises(ProtocolError, match=r"^10000 bytes are no message \(JSONDecodeError\)$"):
        decode(b"x" * 10_000)
