"""The engine on a real model: its numbers, what it decodes, and what it reuses."""

import ctypes
import json
import math
import random
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
import pytest

from tests import tiny_models
from tests.conftest import Loader
from tests.fresh import open_model
from tests.sampling import few
from tests.tiny_models import REFUSED
from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.worker import llama as llama_module
from tokex_gguf.engine.worker import logit_math, logits_cache
from tokex_gguf.engine.worker.abort import Abort
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import Interrupted, Llama, ModelError
from tokex_gguf.engine.worker.vocabulary_search import Index, likeliest
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.model_sampling import chain_of_metadata

REFERENCE = json.loads((Path(__file__).parent.parent / "reference-smollm2-135m-q4_1.json").read_text())
TEXTS = REFERENCE["texts"]

# llama.cpp's kernels differ with the batch: the same path decoded token by token or at once
# gives probabilities this far apart at the most (measured 0.002 to 0.053), and entropies (0.42 bits).
PROBABILITY, ENTROPY_BITS = 0.08, 0.5


def answers(
    evaluator: Evaluator, path: list[int], start: int = 0
) -> tuple[list[Distribution], list[TokenLogprob], int]:
    """Distributions, what they said of the path's tokens, and the number of tokens decoded."""
    chunks = list(evaluator.evaluate(path, start, 30))
    return (
        [distribution for chunk in chunks for distribution in chunk.distributions],
        [taken for chunk in chunks for taken in chunk.taken],
        sum(chunk.decoded for chunk in chunks),
    )


def tip(evaluator: Evaluator, path: list[int]) -> tuple[Distribution, int]:
    """The distribution after a path, and the number of tokens decoded for it."""
    distributions, _, decoded = answers(evaluator, path, len(path) - 1)
    return distributions[-1], decoded


def assert_close(one: Distribution, other: Distribution) -> None:
    """Equal within what llama.cpp's kernels allow."""
    assert abs(one.entropy_bits - other.entropy_bits) < ENTROPY_BITS
    for candidate in list(one.candidates())[:10]:
        if candidate.token in other.rows:
            twin = other.candidate(other.rows[candidate.token])
            assert abs(candidate.prob - twin.prob) < PROBABILITY
        else:
            assert candidate.prob < PROBABILITY
    assert len(set(one.ids) & set(other.ids)) >= 26


@pytest.fixture
def natalia(llama: Llama) -> list[int]:
    return llama.vocabulary.tokenize(TEXTS["natalia"]["text"], parse_special=True)


class Evaluated(NamedTuple):
    """The worked example on the real model."""

    path: list[int]
    evaluator: Evaluator
    """Which has its path in the cache, whatever else was asked of it."""
    distributions: list[Distribution]
    taken: list[TokenLogprob]


@pytest.fixture(scope="module")
def example(model_path: Path) -> Evaluated:
    """Decoded once, for tests that ask for more."""
    model = open_model(model_path)
    path = model.vocabulary.tokenize(TEXTS["natalia"]["text"], parse_special=True)
    evaluator = Evaluator(model)
    distributions, taken, decoded = answers(evaluator, path)
    assert decoded == len(path)
    return Evaluated(path, evaluator, distributions, taken)


@pytest.fixture(params=["light", pytest.param("real", marks=pytest.mark.thorough)])
def any_load(request: pytest.FixtureRequest) -> Loader:
    """Loads a model into a new context, whose numbers are compared with themselves."""
    loader: Loader = request.getfixturevalue({"light": "light_load", "real": "load"}[request.param])
    return loader


# --- the numbers


@pytest.mark.parametrize("name", few(TEXTS, of=2))
def test_numbers_agree_with_an_independent_implementation(name: str, llama: Llama, evaluator: Evaluator) -> None:
    text = TEXTS[name]
    path = llama.vocabulary.tokenize(text["text"], parse_special=True)
    assert path == [token["id"] for token in text["tokens"]]
    distributions, taken, _ = answers(evaluator, path)
    # llama.cpp quantises activations, the reference does not: see the figures beside it.
    prob = [abs(t.prob - ref["prob"]) for t, ref in zip(taken, text["tokens"][1:], strict=True)]
    bits = [
        abs(d.entropy_bits - ref["entropy_bits"]) for d, ref in zip(distributions[:-1], text["tokens"][1:], strict=True)
    ]
    assert max(prob) < 0.12
    assert np.mean(prob) < 0.02
    assert max(bits) < 0.65  # 0.47 with AVX-512 kernels, 0.59 with AVX2
    assert np.mean(bits) < 0.22
    top = [row["id"] for row in text["next"]]
    assert len(set(top) & set(distributions[-1].ids)) >= 28


def test_a_distribution_sums_to_one(llama: Llama, evaluator: Evaluator, natalia: list[int]) -> None:
    (chunk,) = evaluator.evaluate(natalia[:20], 19, llama.vocabulary.size)
    (whole,) = chunk.distributions
    assert len(whole) == llama.vocabulary.size
    probs = np.exp(np.array(whole.logprobs))
    assert probs.sum() == pytest.approx(1, abs=1e-6)
    assert -(probs * np.log2(probs)).sum() == pytest.approx(whole.entropy_bits, abs=1e-4)
    assert list(whole.logprobs) == sorted(whole.logprobs, reverse=True)


@pytest.mark.thorough
def test_what_was_taken_agrees_with_the_table(example: Evaluated) -> None:
    assert len(example.distributions) == len(example.path) == len(example.taken) + 1
    for before, token, told in zip(example.distributions, example.path[1:], example.taken, strict=False):
        if token in before.rows:
            row = before.candidate(before.rows[token])
            assert (told.logprob, told.rank) == (pytest.approx(row.logprob), row.rank)
        else:
            assert told.rank > len(before)


@pytest.mark.thorough
def test_the_token_asked_for_gets_its_rank(example: Evaluated) -> None:
    path = example.path
    (chunk,) = example.evaluator.evaluate(path[:-1], len(path) - 2, 30, asked=path[-1])
    (told,) = chunk.taken
    row = chunk.distributions[0].rows[path[-1]]
    assert told.rank == row + 1
    assert told.logprob == pytest.approx(chunk.distributions[0].logprobs[row])


# --- what is decoded


def test_an_append_decodes_one_token(example: Evaluated) -> None:
    path, evaluator, distributions, _ = example
    for _ in range(5):
        path = [*path, distributions[-1].ids[0]]
        distributions, _, decoded = answers(evaluator, path, len(path) - 1)
        assert decoded == 1


@pytest.mark.thorough
def test_another_branch_decodes_one_token_and_leaves_the_first_cached(example: Evaluated) -> None:
    for token in (100, 200, 300):
        assert tip(example.evaluator, [*example.path, token])[1] == 1
    for token in (100, 200, 300):
        assert tip(example.evaluator, [*example.path, token, 400])[1] == 1


def test_prompts_of_different_beginnings_stay_cached(light_load: Loader, natalia: list[int]) -> None:
    evaluator = Evaluator(light_load())
    backwards = natalia[::-1]
    answers(evaluator, natalia)
    answers(evaluator, backwards)
    assert tip(evaluator, [*natalia, 100])[1] == 1
    assert tip(evaluator, [*backwards, 100])[1] == 1


def test_positions_before_the_start_are_decoded_without_an_answer(light_load: Loader, natalia: list[int]) -> None:
    evaluator = Evaluator(light_load())
    distributions, _, decoded = answers(evaluator, natalia, 80)
    assert len(distributions) == len(natalia) - 80
    assert decoded == len(natalia)


def test_after_an_edit_in_the_middle_what_follows_is_decoded_and_nothing_before(
    any_load: Loader, natalia: list[int]
) -> None:
    evaluator = Evaluator(any_load())
    answers(evaluator, natalia)
    here, behind = 60, len(natalia) - 61
    edits = {
        "replaced": ([*natalia[:here], 100, *natalia[here + 1 :]], behind + 1),
        "deleted": ([*natalia[:here], *natalia[here + 1 :]], behind),
        "inserted": ([*natalia[:here], 200, 300, *natalia[here:]], behind + 3),
    }
    for path, changed in edits.values():
        assert answers(evaluator, path, here)[2] == changed
    distributions, _, decoded = answers(evaluator, natalia, len(natalia) - 1)
    assert decoded <= 1, "the one that was changed is still there"
    assert distributions


# --- equal to a fresh decode


def test_random_walks_agree_with_a_fresh_decode(any_load: Loader, natalia: list[int]) -> None:
    chance = random.Random(1)
    fresh, evaluator = any_load(), Evaluator(any_load())
    path = natalia[:40]
    answers(evaluator, path)
    for _ in range(12):
        for _ in range(chance.randint(1, 6)):
            if chance.random() < 0.5 and len(path) > 5:
                path = path[: -chance.randint(1, 3)]
            else:
                path = [*path, chance.choice(tip(evaluator, path)[0].ids[:10])]
        cached, _ = tip(evaluator, path)
        for sequence in range(fresh.sequences):
            fresh.cut(sequence, 0)
        assert_close(cached, tip(Evaluator(fresh), path)[0])


def test_after_eviction_the_numbers_are_the_same(
    any_load: Loader, natalia: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logits_cache, "MOST_BYTES", 0)  # else the answer would be kept
    small = any_load(context=256)
    evaluator = Evaluator(small)
    first, decoded = tip(evaluator, natalia)
    assert decoded == len(natalia)
    tip(evaluator, natalia[::-1])
    tip(evaluator, natalia[50:] + natalia[:50])
    again, decoded = tip(evaluator, natalia)
    assert decoded == len(natalia), "256 cells hold two of these, not three"
    assert_close(again, first)


def test_the_context_grows_and_nothing_is_decoded_twice(
    any_load: Loader, natalia: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_module, "FIRST_CONTEXT", 256)
    growing = any_load()
    evaluator = Evaluator(growing)
    path = (natalia * 4)[:250]
    _, decoded = tip(evaluator, path)
    assert (growing.cells, decoded) == (256, 250)
    longer = (natalia * 4)[:300]
    grown, decoded = tip(evaluator, longer)
    assert growing.cells >= 512
    assert decoded == 50
    for sequence in range(growing.sequences):
        growing.cut(sequence, 0)
    assert_close(grown, tip(Evaluator(growing), longer)[0])


def test_a_context_of_fixed_size_is_full_after_what_fits(light_load: Loader, natalia: list[int]) -> None:
    evaluator = Evaluator(light_load(context=80))
    chunks = evaluator.evaluate(natalia, 0, 30)
    assert [len(next(chunks).distributions) for _ in range(2)] == [40, 40]
    with pytest.raises(ContextFull, match=r"context full \(80/80\): the prompt has \d+ tokens, 80 fit"):
        next(chunks)
    assert tip(evaluator, natalia[:50])[1] == 1, "what fits stays cached"


# --- interruption


def test_an_interrupted_evaluation_keeps_what_it_had_and_the_numbers_stay_right(
    any_load: Loader, natalia: list[int]
) -> None:
    abort = Abort()
    model = any_load(abort=abort)
    evaluator = Evaluator(model)
    path = natalia * 3
    chunks = evaluator.evaluate(path, 0, 30)
    first = next(chunks)
    abort.asked = True
    with pytest.raises(Interrupted):
        next(chunks)
    abort.asked = False
    done = len(first.distributions)
    after, decoded = tip(evaluator, path)
    assert decoded <= len(path) - done
    for sequence in range(model.sequences):
        model.cut(sequence, 0)
    assert_close(after, tip(Evaluator(model), path)[0])


# --- bad files, bad ids


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 200, b"not a model at all" * 10])
def test_a_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.gguf: llama\.cpp cannot load this file"):
        Llama(path, context=0, threads=0, progress=lambda _: None, abort=Abort())


def test_a_truncated_model_is_refused(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "truncated.gguf"
    path.write_bytes(model_path.read_bytes()[:5_000_000])
    with pytest.raises(ModelError, match="cannot load"):
        Llama(path, context=0, threads=0, progress=lambda _: None, abort=Abort())


def test_ids_outside_the_vocabulary_raise_instead_of_aborting(llama: Llama, evaluator: Evaluator) -> None:
    for token in (-1, llama.vocabulary.size):
        with pytest.raises(ModelError):
            llama.vocabulary.piece(token)
        with pytest.raises(ModelError):
            tip(evaluator, [1, token])


@pytest.mark.parametrize(("name", "why"), [("encoder", "does not continue text"), ("vocabulary", "cannot load")])
def test_a_file_that_continues_no_text_is_refused(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=why):
        Llama(REFUSED[name](tmp_path), context=0, threads=1, progress=lambda _: None, abort=Abort())


# --- the vocabulary


def test_special_tokens_in_a_text_become_tokens_or_stay_text(llama: Llama) -> None:
    text = "<|im_start|>user"
    special = llama.vocabulary.tokenize(text, parse_special=True)
    plain = llama.vocabulary.tokenize(text, parse_special=False)
    assert llama.vocabulary.piece(special[0]).control
    assert llama.vocabulary.piece(special[0]).data == b"<|im_start|>"
    assert len(plain) > len(special)
    assert not any(llama.vocabulary.piece(token).control for token in plain)


@pytest.mark.parametrize("text", ["a", " two  spaces ", "naïve 🙂 日本語\n\n\ttab", "nul\0inside", "x" * 5000])
def test_the_pieces_of_a_text_are_its_bytes(text: str, llama: Llama) -> None:
    path = llama.vocabulary.tokenize(text, parse_special=False)
    assert b"".join(llama.vocabulary.piece(token).data for token in path) == text.encode()


def test_every_piece_can_be_had(llama: Llama) -> None:
    pieces = [llama.vocabulary.piece(token) for token in range(llama.vocabulary.size)]
    assert max(len(piece.data) for piece in pieces) > 32
    assert 0 < sum(piece.control for piece in pieces) < 100


def test_the_model_tells_what_it_is(llama: Llama) -> None:
    assert (llama.architecture, llama.quantization) == ("llama", "Q4_1")
    assert llama.vocabulary.size == 49152
    assert llama.vocabulary.bos is None
    assert not llama.vocabulary.space_prefix()
    assert llama.context_limit == 8192
    assert math.log2(llama.cells) == 12
    assert llama.sampling() == {} and llama.suppressed() == []


def test_the_model_tells_what_its_file_recommends_to_draw_by(tmp_path: Path) -> None:
    def recommend(file: gguf.GGUFWriter) -> None:
        file.add_string("general.sampling.sequence", "top_k;temperature")
        file.add_int32("general.sampling.top_k", 20)
        file.add_float32("general.sampling.temp", 0.5)

    told = open_model(tiny_models.qwen2(tmp_path, change=recommend)).sampling()
    assert list(told) == ["sequence", "top_k", "temp"]
    assert chain_of_metadata(told).short == "top-k 20 · T 0.5"


def test_the_model_tells_what_its_file_bans(tmp_path: Path) -> None:
    told = tiny_models.qwen2(
        tmp_path, change=lambda file: file.add_array("tokenizer.ggml.suppress_tokens", [7, 3, 7, -1, 2**30])
    )
    assert open_model(told).suppressed() == [3, 7], "those that there are, once"


@pytest.mark.parametrize("context", [1, 2, 7, 31, 33])
def test_the_smallest_contexts_hold_what_they_say(context: int, light_load: Loader, natalia: list[int]) -> None:
    evaluator = Evaluator(light_load(context=context))
    assert len(answers(evaluator, natalia[:context])[0]) == context
    with pytest.raises(ContextFull, match=rf"\({context}/{context}\)"):
        answers(evaluator, natalia)


# --- look-ahead


def test_looking_ahead_costs_one_batch_and_then_nothing_is_decoded_twice(any_load: Loader, natalia: list[int]) -> None:
    evaluator = Evaluator(any_load())
    first, _ = tip(evaluator, natalia)
    tokens = list(first.ids[:4])
    lookaheads = evaluator.ahead.look(natalia, [[token] for token in tokens], 30)
    for token, distribution in zip(tokens, lookaheads, strict=True):
        path = [*natalia, token, 100]
        assert tip(evaluator, path)[1] == 1, "the token that was looked ahead to is cached"
        assert_close(distribution, tip(evaluator, [*natalia, token])[0])


def test_foresight_agrees_with_a_fresh_decode(any_load: Loader, natalia: list[int]) -> None:
    evaluator = Evaluator(any_load())
    first, _ = tip(evaluator, natalia)
    tokens = list(first.ids[:4])
    lookaheads = evaluator.ahead.look(natalia, [[token] for token in tokens], 30)
    fresh = Evaluator(any_load())
    for token, distribution in zip(tokens, lookaheads, strict=True):
        assert_close(distribution, tip(fresh, [*natalia, token])[0])


def test_looking_ahead_for_long_leaves_the_other_prompts_cached(light_load: Loader, natalia: list[int]) -> None:
    evaluator = Evaluator(light_load())
    others = [natalia[::-1], natalia[30:] + natalia[:30]]
    for other in others:
        answers(evaluator, other)
    path = natalia
    distribution, _ = tip(evaluator, path)
    for step in range(40):
        tokens = list(distribution.ids[:4])
        lookaheads = evaluator.ahead.look(path, [tokens[:1]], 30)
        lookaheads += evaluator.ahead.look(path, [[token] for token in tokens[1:]], 30)
        distribution = lookaheads[step % 4]
        path = [*path, tokens[step % 4]]
    assert tip(evaluator, [*path, 100])[1] == 1
    for other in others:
        assert tip(evaluator, [*other, 100])[1] == 1


def test_foresight_at_the_end_of_the_context_is_refused(light_load: Loader, natalia: list[int]) -> None:
    evaluator = Evaluator(light_load(context=64))
    tip(evaluator, natalia[:64])
    with pytest.raises(ContextFull):
        evaluator.ahead.look(natalia[:64], [[1]], 30)


def test_foresight_makes_up_for_what_was_given_up(any_load: Loader, natalia: list[int]) -> None:
    evaluator = Evaluator(any_load())
    (distribution,) = evaluator.ahead.look(natalia, [[5]], 30)
    assert_close(distribution, tip(evaluator, [*natalia, 5])[0])


def test_tokens_that_end_the_generation_are_known(llama: Llama) -> None:
    ends = [token for token in range(100) if llama.vocabulary.piece(token).ends]
    assert llama.vocabulary.tokenize("<|im_end|>", parse_special=True) == [2]
    assert 2 in ends


# --- logits that are kept, and searching the vocabulary


def test_a_row_that_is_kept_costs_no_decode_and_is_equal_to_the_bit(any_load: Loader, natalia: list[int]) -> None:
    evaluator = Evaluator(any_load())
    first, _ = tip(evaluator, natalia)
    tip(evaluator, natalia[:50])
    (chunk,) = evaluator.evaluate(natalia, len(natalia) - 1, 30, asked=7)
    assert chunk.decoded == 0
    assert chunk.distributions[0].logprobs == first.logprobs
    assert chunk.taken[0].logprob < 0
    # One token more: what was said of it comes from the row, and only it is decoded.
    chunks = list(evaluator.evaluate([*natalia, 7], len(natalia) - 1, 30))
    assert sum(chunk.decoded for chunk in chunks) == 1
    assert chunks[0].taken == chunk.taken


def test_logits_of_a_path_that_is_not_kept_cost_one_token(any_load: Loader, natalia: list[int]) -> None:
    evaluator = Evaluator(any_load())
    list(evaluator.evaluate(natalia, 0, 1))
    row, decoded = evaluator.row(natalia)
    assert decoded == 0 and row.logits.shape == (49152,)
    assert [evaluator.row(natalia[:-back])[1] for back in range(1, 40)] == [0] * 39
    row, decoded = evaluator.row(natalia[:60])
    assert decoded == 1
    again, decoded = evaluator.row(natalia[:60])
    assert decoded == 0 and np.array_equal(row.logits, again.logits)


def test_what_goes_on_from_a_text_is_tokenised_as_it_stands(llama: Llama) -> None:
    vocabulary = llama.vocabulary
    for text in ("and then", " and then", "\n", "<|im_end|>", "é 漢字"):
        tokens = vocabulary.continuation(text, parse_special=False)
        assert b"".join(vocabulary.piece(token).data for token in tokens) == text.encode()


def test_a_search_finds_every_token_with_the_text_and_the_id(llama: Llama) -> None:
    vocabulary = llama.vocabulary
    index = Index(vocabulary.size, vocabulary.data)
    texts = [vocabulary.piece(token).data.decode("utf-8", "replace").lower() for token in range(vocabulary.size)]
    for query, wanted in [("Nat", "nat"), ('" the"', " the"), ("a", "a"), ("ab", "ab"), ("zzzzzz", "zzzzzz")]:
        assert index.matching(query).tolist() == [token for token, text in enumerate(texts) if wanted in text]
    for query, wanted in [("␣the", " the"), ('"␣the', " the"), ("⏎", "\n"), ("⇥", "\t")]:
        meant = {token for token, text in enumerate(texts) if wanted in text}
        found = set(index.matching(query).tolist())
        assert meant and meant <= found and all(query in texts[token] for token in found - meant), query
    assert 1234 in index.matching("1234")
    assert len(index.matching("")) == len(index.matching("  ")) == vocabulary.size


def test_a_search_gives_true_ranks(example: Evaluated) -> None:
    row = example.evaluator.row(example.path)[0].logits
    among = np.arange(0, 49152, 7)
    best = likeliest(row, among, 12).tolist()
    assert best == sorted(among.tolist(), key=lambda token: (-row[token], token))[:12]
    assert likeliest(row, np.arange(49152), 30).tolist() == logit_math.top_ids(row, 30).tolist()
    assert likeliest(row, np.array([], np.intp), 5).tolist() == []


def test_the_native_callback_says_what_was_asked() -> None:
    abort = Abort()
    for asked in (False, True, False):
        abort.asked = asked
        assert abort.callback(abort.data) is abort.asked is asked


def test_without_a_native_callback_there_is_one_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: object) -> None:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)
    abort = Abort()
    assert abort.callback(abort.data) is False
    abort.asked = True
    assert abort.callback(abort.data) is True


def test_the_last_distribution_has_more_candidates(natalia: list[int], light_load: Loader) -> None:
    evaluator = Evaluator(light_load())
    for _ in range(2):  # decoded, and read from the logits that were kept
        chunks = list(evaluator.evaluate(natalia, len(natalia) - 60, 30, last_top=100))
        lengths = [len(one) for chunk in chunks for one in chunk.distributions]
        assert lengths == [30] * 59 + [100]
    (few,) = [one for chunk in evaluator.evaluate(natalia, len(natalia) - 1, 30) for one in chunk.distributions]
    many = chunks[-1].distributions[-1]
    assert list(many.ids[:30]) == list(few.ids) and len(few) == 30


def test_every_token_that_spells_a_text_is_found(llama: Llama) -> None:
    vocabulary = llama.vocabulary
    index = Index(vocabulary.size, vocabulary.data)
    pieces = [vocabulary.piece(token).data for token in range(vocabulary.size)]
    for text in ("the", "The", "a", "A", " the", "\n", "é", "Nat"):
        spelled = {text.encode(), b" " + text.encode()}
        wanted = [token for token, piece in enumerate(pieces) if piece in spelled]
        assert index.spelling(text).tolist() == wanted, text
    assert len(index.spelling("the")) == 2, "with and without a space before it, and no capitals"
    assert index.spelling("no such token").tolist() == index.spelling("").tolist() == []
