"""Dialects without a socket: what a toy says comes through, what real servers have said means what it should."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests import stand_in_server
from tests.sampling import few
from tests.stand_in_server import (
    ENDS,
    KINDS,
    NUMBERS,
    PIECES,
    SIZE,
    SPECIAL,
    Cache,
    Refusal,
    logprobs,
    ranked,
    spelled,
    tokenize,
)
from tests.tape import HALVES, TEXT, TOP, Asked, Tape, answered, ask, tapes
from tokex_gguf.engine.remote.dialects import by_text
from tokex_gguf.engine.remote.dialects.by_text import REPLACEMENT
from tokex_gguf.engine.remote.dialects.checks import distribution
from tokex_gguf.engine.remote.dialects.dialect import (
    Call,
    CallRefused,
    Dialect,
    InvalidAnswer,
    ServerAnswer,
    UnsupportedServer,
)
from tokex_gguf.engine.remote.dialects.probe import probe

if TYPE_CHECKING:
    from tokex_gguf.engine.worker.evaluator import Evaluator
    from tokex_gguf.engine.worker.llama import Llama

SAID = "Once upon a time, there was a 🙂 café in 北京.<|stop|>\n"


class Toy:
    """A server of one kind, as a function."""

    def __init__(self, kind: str, **options: Any) -> None:
        usual = {"kind": kind, "failing": "", "delay": 0, "context": 4096, "slots": 4, "model": "toy", "cap": 20}
        usual |= {"several": (), "loaded": "", "cache": Cache(), "bytewise": False}
        self.server: Any = SimpleNamespace(**{**usual, **options})
        self.calls: list[Call] = []
        self.spoil: Callable[[Any], Any] = lambda answer: answer

    def run(self, steps: Any) -> Any:
        return answered(steps, self._answer)

    def _answer(self, call: Call) -> Any:
        self.calls.append(call)
        try:
            answer = stand_in_server.answered(self.server, call.path, json.loads(json.dumps(call.body)))
        except Refusal as refusal:
            raise CallRefused(refusal.status, str(refusal)) from None
        data = json.dumps(self.spoil(answer))
        assert len(data) <= call.most
        return json.loads(data)

    def seen(self) -> list[Call]:
        """The calls of connecting."""
        self.run(probe(""))
        return self.calls

    def connected(self) -> Dialect:
        dialect: Dialect = self.run(probe(""))
        self.calls.clear()
        return dialect


@pytest.fixture(params=KINDS)
def toy(request: pytest.FixtureRequest) -> Toy:
    return Toy(request.param)


def expected(path: list[int], top: int) -> tuple[list[int], list[float]]:
    rows = ranked(path)[:top]
    return [token for _, token in rows], [pytest.approx(value, abs=1e-9) for value, _ in rows]  # type: ignore[misc]


# --- a toy


def test_what_a_server_is(toy: Toy) -> None:
    served = toy.connected().served
    assert (served.context, served.vocab_size, served.bos) == (4095, SIZE, 1)
    assert served.software in ("llama-server b11434", "vLLM 0.32.0", "SGLang 0.5.23")
    assert served.at_once == (toy.server.kind != "llama-server")
    assert served.exact_ranks == (toy.server.kind == "vLLM")
    assert served.candidates == (20 if toy.server.kind == "vLLM" else SIZE)


def test_of_several_models_the_first_is_meant_or_the_one_that_is_named() -> None:
    for name in ("", "other"):
        toy = Toy("llama-server", several=("toy", "other"))
        dialect = toy.run(probe(name))
        served = dialect.served
        assert (served.model, served.context, served.vocab_size) == (name or "toy", 4095, SIZE)
        (answer,) = toy.run(dialect.after([[300]], [None], 10))
        assert answer.ids == expected([300], 10)[0] and toy.server.loaded == served.model
        assert toy.run(dialect.identity()) == served.identity
    with pytest.raises(CallRefused, match="model not found"):
        Toy("llama-server", several=("toy", "other")).run(probe("third"))


@pytest.mark.parametrize("times", [1, 2, 100])
def test_a_model_that_others_have_unloaded_is_asked_about_again(times: int) -> None:
    """Between two calls, while connecting and later."""
    toy = Toy("llama-server", several=("toy", "other"), loaded="other")
    left = 0

    def unload(answer: Any) -> Any:
        nonlocal left
        if toy.calls[-1].path.startswith("/props") and left:
            left -= 1
            toy.server.loaded = "other"
        return answer

    toy.spoil = unload
    dialect = toy.run(probe("toy"))
    left = times
    if times < 100:
        assert toy.run(probe("toy")).served == dialect.served
        left = times
        assert toy.run(dialect.identity()) == dialect.served.identity
    else:
        with pytest.raises(UnsupportedServer, match="unloads toy again and again"):
            toy.run(dialect.identity())


def test_an_adapter_is_a_model_of_vllm() -> None:
    toy = Toy("vLLM")
    dialect = toy.run(probe("adapter"))
    assert (dialect.served.model, dialect.served.context) == ("adapter", 4095)
    assert dialect.served.identity != toy.run(probe("")).served.identity
    toy.calls.clear()
    toy.run(dialect.after([[300]], [None], 10))
    assert toy.calls[-1].body and toy.calls[-1].body["model"] == "adapter"


def test_an_adapter_of_sglang_is_refused_in_a_sentence() -> None:
    with pytest.raises(UnsupportedServer, match="its model is toy"):
        Toy("SGLang").run(probe("adapter"))


def test_distributions_come_through(toy: Toy) -> None:
    dialect = toy.connected()
    path = tokenize(SAID, special=True)
    for top in (1, 10, 20):
        (answer,) = toy.run(dialect.after([path], [None], top))
        assert (answer.ids, answer.logprobs) == expected(path, top)
        assert (answer.asked, answer.rank) == (None, None)
    assert len(toy.calls) == 3


def test_a_token_that_is_asked_for_comes_along(toy: Toy) -> None:
    """Also one that is half a character, or ends the generation."""
    dialect = toy.connected()
    path = tokenize(SAID, special=True)
    order = [token for _, token in ranked(path)]
    for token in (order[0], order[15], *ENDS, 1, PIECES.index(b"\xf0\x9f"), order[-1]):
        toy.calls.clear()
        (answer,) = toy.run(dialect.after([path], [token], 10))
        assert (answer.ids, answer.logprobs) == expected(path, 10)
        assert answer.asked == pytest.approx(logprobs(tuple(path))[token], abs=1e-9)
        rank = order.index(token) + 1
        known = rank <= 10 or toy.server.kind == "vLLM" or PIECES[token] == b"\xf0\x9f"
        assert answer.rank == (rank if known else None) or (answer.rank is None and toy.server.kind != "vLLM")


def test_several_paths_in_one_call_and_each_question_its_own(toy: Toy) -> None:
    dialect = toy.connected()
    path = tokenize("Once upon a", special=True)
    paths = [[*path, token] for token in (300, 301, 302, 303)]
    answers = toy.run(dialect.after(paths, [None] * 4, 10))
    assert len(toy.calls) == 1
    assert [(one.ids, one.logprobs) for one in answers] == [expected(each, 10) for each in paths]
    top = [ranked(each)[0][1] for each in paths]
    answers = toy.run(dialect.after(paths, [top[0], None, top[2], None], 10))
    assert [one.ids for one in answers] == [expected(each, 10)[0] for each in paths]
    assert [one.rank for one in answers] == [1, None, 1, None]


def test_positions_of_a_prompt(toy: Toy) -> None:
    dialect = toy.connected()
    path = tokenize(SAID, special=True)
    for start in (0, 5, len(path) - 1):
        toy.calls.clear()
        answers = toy.run(dialect.along(path, start, 10))
        assert dialect.served.at_once is (len(toy.calls) == 1) or start == len(path) - 1
        assert len(answers) == len(path) - start
        for place, answer in enumerate(answers, start):
            assert (answer.ids, answer.logprobs) == expected(path[: place + 1], 10)
            if place + 1 == len(path):
                assert (answer.asked, answer.rank) == (None, None)
                continue
            order = [token for _, token in ranked(path[: place + 1])]
            assert answer.asked == pytest.approx(logprobs(tuple(path[: place + 1]))[path[place + 1]], abs=1e-9)
            assert answer.rank in (order.index(path[place + 1]) + 1, None)
            assert answer.rank is not None or (not dialect.served.exact_ranks and path[place + 1] not in answer.ids)


def test_texts_become_tokens(toy: Toy) -> None:
    dialect = toy.connected()
    plain, special = tokenize(SAID, special=False), tokenize(SAID, special=True)
    assert toy.run(dialect.tokenize(SAID, special=True, continues=False)) == [1, *special]
    assert toy.run(dialect.tokenize(SAID, special=True, continues=True)) == special
    # vLLM and SGLang have no other way than to take names for what they name.
    without = plain if toy.server.kind == "llama-server" else special
    assert toy.run(dialect.tokenize(SAID, special=False, continues=True)) == without
    chat = toy.run(dialect.chat([{"role": "user", "content": "Hi"}]))
    assert chat[-5:] == tokenize("<|user|>Hi<|stop|><|assistant|>", special=True)[-5:]


def test_tokens_become_pieces(toy: Toy) -> None:
    """All bytes, but for those that stand in no text: vLLM and SGLang tell texts."""
    dialect = toy.connected()
    pieces = toy.run(dialect.pieces(range(SIZE)))
    never = {bytes([byte]) for byte in (0xC0, 0xC1, *range(0xF5, 0x100))} if toy.server.kind != KINDS[0] else set()
    for token, piece in pieces.items():
        assert piece.data == PIECES[token] or PIECES[token] in never
        assert (piece.control, piece.ends) == (token < len(SPECIAL), token in ENDS)
    toy.calls.clear()
    toy.run(dialect.pieces(range(SIZE)))
    assert not toy.calls


@pytest.mark.parametrize("kind", ["vLLM", "SGLang"])
def test_half_characters_are_known_where_no_text_was_taken_apart_into_them(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they come in a table before they come in a text."""
    monkeypatch.setattr(
        by_text, "TAKEN_APART", [*map(chr, range(0x1000, 0x1040)), "\u0800", "\U00010000", "\U00040000"]
    )
    toy = Toy(kind)
    dialect = toy.connected()
    known = [token for token in range(5, SIZE) if REPLACEMENT in spelled([token])]
    pieces = toy.run(dialect.pieces(known))
    never = {bytes([byte]) for byte in (0xC0, 0xC1, *range(0xF5, 0x100))}
    assert {PIECES[token] for token in known if pieces[token].data != PIECES[token]} == never
    path = toy.run(dialect.tokenize("Ω\U0001f680", special=True, continues=True))
    assert b"".join(toy.run(dialect.pieces([one]))[one].data for one in path).decode() == "Ω\U0001f680"


@pytest.mark.parametrize("kind", ["vLLM", "SGLang"])
def test_a_vocabulary_that_spells_a_line_break_as_a_byte_can_be_played(kind: str) -> None:
    """Beside half a character, it is no line break any more."""
    toy = Toy(kind, bytewise=True)
    dialect = toy.connected()
    path = toy.run(dialect.tokenize(SAID, special=True, continues=False))
    singles = [
        token for token in range(len(SPECIAL) + 0x80, len(SPECIAL) + 0xF5) if token - len(SPECIAL) not in (0xC0, 0xC1)
    ]
    pieces = toy.run(dialect.pieces([*path, *singles]))
    assert b"".join(pieces[token].data for token in path[1:]).decode() == SAID
    assert all(pieces[token].data == PIECES[token] for token in singles)


def test_a_vllm_with_more_candidates_gives_its_vocabulary() -> None:
    toy = Toy("vLLM", cap=SIZE)
    dialect = toy.connected()
    assert (dialect.served.candidates, dialect.served.searchable) == (SIZE, True)
    answer, pieces = toy.run(dialect.vocabulary([300]))
    assert len(answer.ids) == len(pieces) == SIZE


def test_a_llama_server_is_told_a_harmless_token_and_its_slot() -> None:
    toy = Toy("llama-server")
    dialect = toy.connected()
    path = tokenize(HALVES, special=True)
    toy.run(dialect.after([path], [None], 10))
    toy.run(dialect.after([path], [None], 10, second_cache=True))
    bodies = [call.body for call in toy.calls if call.body]
    assert [body["id_slot"] for body in bodies] == [0, 1] and dialect.served.has_second_cache
    assert all(body["logit_bias"] == [[PIECES.index(b"a", 261), 1e6]] for body in bodies)
    alone = Toy("llama-server", slots=1)
    dialect = alone.connected()
    alone.run(dialect.after([path], [None], 10, second_cache=True))
    assert (
        alone.calls[-1].body is not None
        and alone.calls[-1].body["id_slot"] == 0
        and not dialect.served.has_second_cache
    )


def test_samplers_before_the_probabilities_are_noticed_when_connecting() -> None:
    toy = Toy("vLLM")

    def processed(answer: Any) -> Any:
        if toy.calls[-1].body and "allowed_token_ids" in toy.calls[-1].body and "choices" in answer:
            rows = answer["choices"][0]["logprobs"]["top_logprobs"][0]
            for key in list(rows)[:-1]:
                rows[key] = -9999.0
        return answer

    toy.spoil = processed
    with pytest.raises(UnsupportedServer, match="--logprobs-mode raw_logprobs"):
        toy.connected()


@pytest.mark.parametrize("fault", few([fault for fault in NUMBERS if fault not in ("zero", "-9999", "null")], of=4))
def test_numbers_that_cannot_be_right_are_nonsense(toy: Toy, fault: str) -> None:
    dialect = toy.connected()
    path = tokenize(SAID, special=True)
    toy.server.failing = fault
    troubles = []
    questions = [
        dialect.after([path, [*path, 300]], [None, None], 10),
        dialect.after([path], [ranked(path)[5][1]], 10),
        dialect.along(path, 0, 10),
    ]
    for question in questions:
        try:
            toy.run(question)
        except InvalidAnswer as nonsense:
            troubles.append(str(nonsense))
    assert all(line.isprintable() and len(line) < 100 for line in troubles)
    assert len(troubles) >= (1 if fault in ("missing answer", "other token") else 2)


@pytest.mark.parametrize("size", [49_152, 262_144])
@pytest.mark.parametrize("spread", few([1.0, 2.0, 3.0], of=3))
def test_a_sum_in_float32_over_a_large_vocabulary_is_believed(size: int, spread: float) -> None:
    """As llama-server adds up: one after the other. The numbers stay those of the server."""
    logits = np.sort(np.random.default_rng(1).normal(0, spread, size).astype(np.float32))[::-1]
    total = float(np.cumsum(np.exp(logits - logits[0]), dtype=np.float32)[-1])
    logprobs = (logits.astype(float) - float(logits[0]) - math.log(total)).tolist()
    answer = distribution(enumerate(logprobs), size, size, -104.0)
    assert answer.logprobs == logprobs
    with pytest.raises(InvalidAnswer, match="sum up to more than 1"):
        distribution(enumerate([min(value + 0.02, 0.0) for value in logprobs]), size, size, -104.0)


JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    10**20,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "x" * 9000,
    "\ud800",
    [],
    [[]],
    {},
    {"a": 1},
]


def mutated(answer: Any, dice: random.Random) -> Any:
    """An answer with one of its values replaced, doubled, or left out."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            places.append((value, key))
            walk(value[key])

    whole = [json.loads(json.dumps(answer))]
    walk(whole)
    value, key = dice.choice(places[:40] if dice.random() < 0.5 else places)
    what = dice.random()
    if what < 0.1:
        del value[key]
    elif what < 0.2 and isinstance(value, list):
        value.insert(key, value[key])
    else:
        value[key] = dice.choice(JUNK)
    return whole[0] if whole else None


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_stands_in_an_answer_what_comes_out_is_sound(kind: str) -> None:
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    path = tokenize(SAID, special=True)[-12:]
    refused = 0
    for turn in range(100):
        if turn % 20 == 0:
            toy = Toy(kind)
            dialect = toy.connected()
        countdown = dice.randrange(8)

        def spoil(answer: Any) -> Any:
            nonlocal countdown
            countdown -= 1
            return mutated(answer, dice) if countdown == -1 else answer

        toy.spoil = spoil
        try:
            toy.run(dialect.tokenize("Once é", special=True, continues=False))
            answers = toy.run(dialect.after([path], [path[0]], 5))
            answers += toy.run(dialect.along(path, 6, 5))
            pieces = toy.run(dialect.pieces(range(40)))
            toy.run(dialect.identity())
        except (InvalidAnswer, CallRefused, UnsupportedServer):
            refused += 1
            continue
        assert set(pieces) == set(range(40)), f"seed {seed}"
        for answer in answers:
            sound(answer, 5)
    assert refused > 1, f"seed {seed}"


@pytest.mark.parametrize("part", few(range(8), of=8))
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_said_while_connecting_is_refused_or_harmless(kind: str, part: int) -> None:
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    refused = 0
    calls = len(Toy(kind).seen())
    # About half of them are refused: of 16, seldom one or none.
    for countdown in [turn % calls for turn in range(part, 128, 8)]:
        toy = Toy(kind)

        def spoil(answer: Any, toy: Toy = toy, last: int = countdown + 1) -> Any:
            return mutated(answer, dice) if len(toy.calls) == last else answer

        toy.spoil = spoil
        try:
            served = toy.run(probe("")).served
        except (InvalidAnswer, CallRefused, UnsupportedServer) as trouble:
            refused += str(trouble).isprintable()
            continue
        for text in (served.software, served.model, served.quantization):
            assert len(text) < 10_000 and text.isprintable(), f"seed {seed}"
        assert served.context > 0 and served.candidates > 0 and served.vocab_size >= 0, f"seed {seed}"
    assert refused > 1, f"seed {seed}"


def sound(answer: ServerAnswer, top: int) -> None:
    assert 1 <= len(answer.ids) == len(answer.logprobs) == len(set(answer.ids)) <= top
    assert all(type(token) is int and 0 <= token < SIZE for token in answer.ids)
    values = [*answer.logprobs, *([answer.asked] if answer.asked is not None else [])]
    assert all(type(value) is float and math.isfinite(value) and value <= 0 for value in values)
    assert answer.logprobs == sorted(answer.logprobs, reverse=True)
    assert math.fsum(map(math.exp, answer.logprobs)) <= 1.002
    assert answer.rank is None or (type(answer.rank) is int and answer.rank >= 1)


# --- recorded answers of real servers


@pytest.mark.parametrize("file", list(tapes()), ids=lambda file: str(file.stem))
def test_what_real_servers_have_said(file: Path) -> None:
    tape = Tape(file)
    asked = ask(tape.run)
    assert not tape.unused
    served = asked.dialect.served
    assert served.software.partition(" ")[0] in ("llama-server", "vLLM", "SGLang") and served.candidates >= 20
    assert b"".join(asked.pieces[token].data for token in asked.path).decode() == TEXT
    assert b"".join(asked.pieces[token].data for token in asked.halves).decode() == HALVES
    (end,) = [token for token in set(asked.path) if asked.pieces[token].data == b"<|im_end|>"]
    assert (asked.pieces[end].control, asked.pieces[end].ends) == (True, True)
    assert not any(piece.control for token, piece in asked.pieces.items() if piece.data[:1].isalpha())
    assert len(asked.after) == len(asked.along) == len(asked.path)
    for one, other in zip(asked.after, asked.along, strict=True):
        assert len(one.ids) == len(other.ids) == TOP
        assert one.logprobs[0] == pytest.approx(other.logprobs[0], abs=0.05)
    assert asked.half.asked is not None and asked.half.rank == 1
    assert asked.unlikely.asked is not None and asked.unlikely.asked < asked.unlikely.logprobs[-1]
    assert asked.chat[-5:] and len(asked.branches) == 3


def same_as_here(asked: Asked, llama: "Llama", evaluator: "Evaluator") -> tuple[float, int]:
    """How far a server's probabilities are from this program's own engine, and places where the order differs."""
    assert asked.path == llama.vocabulary.tokenize(TEXT, parse_special=True)
    assert {token for token, piece in asked.pieces.items() if piece.ends} <= set(llama.vocabulary.ends())
    for token, piece in asked.pieces.items():
        # With what generation ends, each server has from another file.
        here = llama.vocabulary.piece(token)
        assert (piece.data, piece.control) == (here.data, here.control)
    largest, others = 0.0, 0
    for place, answer in enumerate(asked.after):
        (chunk,) = evaluator.evaluate(asked.path[: place + 1], place, TOP)
        own = chunk.distributions[-1]
        largest = max(
            largest, *(abs(math.exp(a) - math.exp(b)) for a, b in zip(answer.logprobs, own.logprobs, strict=True))
        )
        others += list(own.ids) != answer.ids
    return largest, others


def test_a_real_llama_server_has_said_what_the_engine_here_says(llama: "Llama", evaluator: "Evaluator") -> None:
    (file,) = [file for file in tapes() if file.stem == "llama-server"]
    asked = ask(Tape(file).run)
    largest, others = same_as_here(asked, llama, evaluator)
    assert all(piece.ends == llama.vocabulary.piece(token).ends for token, piece in asked.pieces.items())
    print(f"largest difference of a probability {largest:.6f}, {others} places in another order")
    assert largest <= 5e-4 and others == 0


def test_a_real_vllm_has_said_nearly_what_the_engine_here_says(llama: "Llama", evaluator: "Evaluator") -> None:
    """It computes with the same weights, in other precision; and told the rank of all that came."""
    (file,) = [file for file in tapes() if file.stem == "vllm"]
    asked = ask(Tape(file).run)
    largest, _ = same_as_here(asked, llama, evaluator)
    print(f"largest difference of a probability {largest:.4f}")
    assert largest <= 0.1
    assert all(answer.rank is not None for answer in asked.along[:-1])
    assert asked.unlikely.rank is not None and asked.unlikely.rank > TOP
