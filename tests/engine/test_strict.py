"""Strict answers: the same to the last bit, whatever came before them.

What is compared with is the same path, evaluated strictly for itself in another context.
The long form: `pytest -m soak -k strict`; STRICT_SEED gives another seed.
"""

import math
import os
import queue
import random
import stat
import sys
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_cpp import llama_cpp
from numpy.typing import NDArray

from tests.engine.test_leaks import agree
from tests.figures import Figure
from tests.fresh import Stopper, open_model
from tests.sampling import few
from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.client import EngineClient
from tokex_gguf.engine.protocol import (
    Against,
    Compare,
    Compared,
    Evaluate,
    Evaluated,
    EvaluateStrictly,
    Export,
    Exported,
    Failed,
    Load,
    Loaded,
    Loading,
    MeasureNoise,
    Noise,
    Recall,
    Recalled,
    Tokenize,
    Tokenized,
)
from tokex_gguf.engine.worker import llama as llama_module
from tokex_gguf.engine.worker import rows_file
from tokex_gguf.engine.worker.cells import batch_size as llama_batch_size
from tokex_gguf.engine.worker.chunks import Chunk
from tokex_gguf.engine.worker.differing import RowDifferences
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.known_models import KnownModels, vocabulary
from tokex_gguf.engine.worker.llama import BATCH, STRICT, BatchEntry, Interrupted, Llama, ModelError, strict_size
from tokex_gguf.engine.worker.logit_math import Logits
from tokex_gguf.engine.worker.logits_cache import LogitsRow
from tokex_gguf.engine.worker.rows_file import reading, writing
from tokex_gguf.values.difference import Difference
from tokex_gguf.values.distribution import Distribution

SEED = int(os.environ.get("STRICT_SEED", "1"))
EXACT = ["qwen2", "llama", "gpt2", "gemma3", "mixture"]
"""Models whose strict numbers are the same to the last bit: all but those whose tails cannot be cut."""
WHOLE = 10**6

Bits = tuple[float, bytes, bytes]


def bits(distribution: Distribution) -> Bits:
    return distribution.entropy_bits, distribution.ids.tobytes(), distribution.logprobs.tobytes()


def tokens(model: Llama, count: int, seed: int = SEED) -> list[int]:
    chance, bos = random.Random(seed), model.vocabulary.bos
    path = [chance.randrange(model.vocabulary.size) for _ in range(count)]
    return path if bos is None else [bos, *path[1:]]


def emptied(model: Llama) -> Evaluator:
    """An evaluator over a cache that holds nothing."""
    for sequence in range(model.sequences):
        model.cut(sequence, 0)
    return Evaluator(model)


def strictly(evaluator: Evaluator, path: list[int], start: int = 0) -> tuple[list[Bits], int]:
    """The strict answers at the positions from `start` on, and how many tokens were decoded for them."""
    chunks = list(evaluator.strict.evaluate(path, start, WHOLE))
    assert all(chunk.strict for chunk in chunks)
    return [bits(one) for chunk in chunks for one in chunk.distributions], sum(chunk.decoded for chunk in chunks)


class Truth:
    """A context in which each path is evaluated for itself."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._model = open_model(path, 0, None, threads)
        self._known: dict[tuple[int, ...], list[Bits]] = {}

    def of(self, path: list[int]) -> list[Bits]:
        if tuple(path) not in self._known:
            self._known[tuple(path)], _ = strictly(emptied(self._model), path)
        return self._known[tuple(path)]


@pytest.fixture(params=few(EXACT, of=4))
def file(request: pytest.FixtureRequest, tiny: dict[str, Path]) -> Path:
    return tiny[str(request.param)]


# --- the same bits


def test_a_part_of_a_path_has_the_bits_that_it_has_in_the_whole(file: Path) -> None:
    truth, model = Truth(file), open_model(file)
    path = tokens(model, 130)
    whole = truth.of(path)
    for count in (1, 2, 5, 7, 8, 9, 12, 47, 48, 49, 50, 97, 129):
        assert truth.of(path[:count]) == whole[:count], count


@pytest.mark.usefixtures("no_rows")
def test_edited_and_undone(file: Path) -> None:
    model = open_model(file)
    evaluator, truth, path = emptied(model), Truth(file), tokens(model, 60)
    for end in range(1, 61):  # token by token, as it is played
        for _ in evaluator.evaluate(path[:end], end - 1, 10):
            pass
    assert strictly(evaluator, path)[0] == truth.of(path)
    edited = [*path[:30], 7, *path[31:]]
    assert strictly(evaluator, edited)[0] == truth.of(edited)
    assert strictly(evaluator, path)[0] == truth.of(path), "undone"
    assert strictly(evaluator, path, 59)[0] == truth.of(path)[59:]


@pytest.mark.usefixtures("no_rows")
def test_after_branches(file: Path) -> None:
    model = open_model(file)
    evaluator, truth, path = emptied(model), Truth(file), tokens(model, 40)
    strictly(evaluator, path)
    evaluator.ahead.look(path, [[1]], 10)
    evaluator.ahead.look(path, [[2], [3], [4]], 10)
    for token in (1, 3, 9):
        assert strictly(evaluator, [*path, token], 40)[0] == truth.of([*path, token])[40:]


@pytest.mark.usefixtures("no_rows")
def test_after_others_took_the_cells(file: Path) -> None:
    model = open_model(file, 256)
    evaluator, truth = emptied(model), Truth(file)
    paths = [tokens(model, 100, seed) for seed in range(5)]
    for path in (*paths, *paths):
        assert strictly(evaluator, path, 70)[0] == truth.of(path)[70:]


@pytest.mark.thorough
@pytest.mark.usefixtures("no_rows")
def test_after_the_context_has_grown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_module, "FIRST_CONTEXT", 256)
    model = open_model(file)
    path = tokens(model, 420)
    truth, evaluator = Truth(file).of(path), emptied(model)
    for start, end in ((0, 250), (250, 420)):
        chunks = list(evaluator.evaluate(path[:end], start, WHOLE))
        assert [bits(one) for chunk in chunks for one in chunk.distributions] == truth[start:end]
    assert model.cells > 256
    if model.orderly < 420:
        assert not chunks[-1].strict, "cells that a window has left behind may be used again"
        return
    assert all(chunk.strict for chunk in chunks)
    more = [*path, 7, 8]
    answers, decoded = strictly(evaluator, more, 400)
    assert (answers, decoded) == (Truth(file).of(more)[400:], 22), "what was carried over is not decoded again"


@pytest.mark.parametrize("threads", few([2, 3], of=2))
def test_by_other_numbers_of_threads(threads: int, file: Path) -> None:
    """Also where a lone token's cells are split among them: from 257 on."""
    path = tokens(open_model(file), 300)
    assert Truth(file, threads).of(path) == Truth(file).of(path)


@pytest.mark.usefixtures("no_rows")
def test_at_the_end_of_the_context(file: Path) -> None:
    """Where nothing fits behind the path."""
    model, truth = open_model(file, 256), Truth(file)
    path = tokens(model, 256)
    assert strictly(emptied(model), path)[0] == truth.of(path)
    evaluator = emptied(model)
    strictly(evaluator, path[:255])
    assert strictly(evaluator, path, 255)[0] == truth.of(path)[255:]
    with pytest.raises(ContextFull):
        strictly(evaluator, [*path, 1])


# --- what an ordinary evaluation says of itself


@pytest.mark.usefixtures("no_rows")
def test_a_prompt_at_once_is_strict(file: Path) -> None:
    model, truth = open_model(file), Truth(file)
    for count in (8, 9, 11, 48, 49, 97, 130):
        path = tokens(model, count)
        chunks = list(emptied(model).evaluate(path, 0, WHOLE))
        assert all(chunk.strict for chunk in chunks)
        assert [bits(one) for chunk in chunks for one in chunk.distributions] == truth.of(path)
        assert all(chunk.decoded >= STRICT for chunk in chunks), "no small one at the end"


@pytest.mark.usefixtures("no_rows")
def test_what_is_played_token_by_token_is_not(file: Path) -> None:
    model = open_model(file)
    evaluator, path = emptied(model), tokens(model, 60)
    (short,) = evaluator.evaluate(path[:7], 0, 10)
    assert not short.strict
    (longer,) = evaluator.evaluate(path[:40], 7, 10)
    assert not longer.strict, "it stands on seven that were not"
    evaluator = emptied(model)
    for start, end in ((0, 40), (40, 59)):
        (chunk,) = evaluator.evaluate(path[:end], start, 10)
        assert chunk.strict
    (last,) = evaluator.evaluate(path, 59, 10)
    assert not last.strict


@pytest.mark.usefixtures("no_rows")
def test_what_takes_the_cells_of_others_is_not(file: Path) -> None:
    """Attention adds up cells in their own order: not that of the tokens, where later ones fill gaps."""
    model = open_model(file)
    evaluator, path = emptied(model), tokens(model, 60)
    for _ in evaluator.evaluate(path[:40], 0, 10):
        pass
    evaluator.ahead.look(path[:40], [[1], [2], [3], [4]], 10)
    for _ in evaluator.evaluate(tokens(model, 20, 9), 0, 10):  # the branches go
        pass
    (chunk,) = evaluator.evaluate(path, 40, 10)
    assert not chunk.strict


# --- what it costs


@pytest.mark.usefixtures("no_rows")
def test_a_strict_beginning_is_not_decoded_again(file: Path) -> None:
    model = open_model(file)
    evaluator, path = emptied(model), tokens(model, 200)
    assert sum(chunk.decoded for chunk in evaluator.evaluate(path, 0, 10)) == 200
    assert strictly(evaluator, [*path, 5], 200)[1] == 1
    assert strictly(evaluator, [*path, 6], 200)[1] == 1
    edited = [*path[:150], 7, *path[151:]]
    # Of sliding windows, what is carried to the other context has only the last cells.
    windows = "gemma" in file.name
    assert strictly(evaluator, edited, 150)[1] == (200 if windows else 50)
    assert strictly(evaluator, [*edited[:160], 7, *edited[161:]], 160)[1] == 40
    both = [*path, 5, 8], [*edited, 8]
    assert evaluator.strict.compare(*both, 10)[1] == 2, "one of each, though no row is kept"


@pytest.mark.parametrize(
    ("a", "b"),
    few(
        [
            ([], [1]),
            ([5], [6]),
            ([5, 6], [7]),
            ([5], [5, 6, 7]),
            ([5, 6, 7], [5]),
            ([5] * 9, [6] * 9),
            ([5] * 24, [6] * 24),
            ([5] * 30, [6] * 30),
        ],
        of=4,
    ),
)
def test_two_tips_are_decoded_in_one_batch(
    a: list[int], b: list[int], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model(file)
    evaluator, path = emptied(model), tokens(model, 100)
    strictly(evaluator, path[:99])
    batches: list[int] = []
    real = Llama.decode

    def counted(model: Llama, entries: list[BatchEntry], threads: int = 0) -> Logits:
        batches.append(len(entries))
        return real(model, entries, threads)

    monkeypatch.setattr(Llama, "decode", counted)
    one, other = [*path, *a], [*path, *b]
    found = evaluator.strict.compare(one, other, 10)
    missing = len(one) + len(other) - 2 * 99
    together = missing <= BATCH
    assert found[1] == (missing if together else missing - 1), (
        "one by one, the second has what the first has begun with"
    )
    assert len(batches) == (1 if together else 2)
    assert all(size == strict_size(size) for size in batches)
    assert evaluator.strict.compare(one, other, 10) == (found[0], 0)
    alone = emptied(open_model(file))
    for each in (one, other):
        strictly(alone, each)
    assert alone.strict.compare(one, other, 10)[0] == found[0], "one after the other: the same bits"
    assert evaluator.strict._second
    agree(evaluator.strict._second.model, evaluator.strict._second.sequences)


@pytest.mark.parametrize("kept", few([100, 99, 60, 0], of=2))
def test_what_is_looked_ahead_to_has_the_bits_that_it_has_in_the_whole(kept: int, file: Path) -> None:
    model, truth = open_model(file), Truth(file)
    evaluator, path = emptied(model), tokens(model, 100)
    if kept:
        strictly(evaluator, path[:kept])
    strict, likely = evaluator.strict, [3, 4, 5, 6, 7, 8, 9]
    decoded = strict.look_ahead(path, likely)
    assert decoded == (7 if kept else 0)
    if not decoded:  # too much is missing for one batch
        strictly(evaluator, path)
        assert strict.look_ahead(path, likely) == 7
    assert strict.look_ahead(path, likely) == 0, "they are kept"
    for token in likely:
        found, decoded = strictly(evaluator, [*path, token], len(path))
        assert (found, decoded) == (truth.of([*path, token])[-1:], 0)
    assert strict._second
    agree(strict._second.model, strict._second.sequences)
    # What comes behind finds all in order.
    whole = [*path, 5, 8, 8]
    assert strictly(evaluator, whole, len(path))[0] == truth.of(whole)[len(path) :]
    agree(strict._second.model, strict._second.sequences)
    assert strict.look_ahead(whole, likely) == 7
    for token in likely:
        assert strictly(evaluator, [*whole, token], len(whole)) == (truth.of([*whole, token])[-1:], 0)


@pytest.mark.thorough
def test_what_was_decoded_for_a_paths_end_is_not_decoded_again_for_what_comes_before(file: Path) -> None:
    model, truth = open_model(file), Truth(file)
    window = model.orderly < 2000  # of its cells only the last are kept
    evaluator, path = emptied(model), tokens(model, 960)
    strict = evaluator.strict
    assert sum(part.decoded for part in strict.rows(path, 959, keep=False)) == 960
    for end in range(960, 0, -32):  # from the end to the beginning, as they come into sight
        assert sum(part.decoded for part in strict.rows(path[:end], end - 32, keep=False)) <= (end if window else 32)
    assert strict.look_ahead(path, [3, 4, 5, 6, 7, 8, 9]) == 7
    more = [*path, 9, 3]
    answers, decoded = strictly(evaluator, more, 960)
    assert answers == truth.of(more)[960:]
    assert window or decoded == 2, "its cells are still there"


def test_strict_lookahead_ends_with_the_context(file: Path) -> None:
    model = open_model(file, context=64)
    evaluator, path = emptied(model), tokens(model, 64)
    for count in range(50, 65):
        strictly(evaluator, path[:count])
        assert evaluator.strict.look_ahead(path[:count], [3, 4, 5]) in (0, 3), count
    with pytest.raises(ModelError):
        evaluator.strict.look_ahead(path, [10**6])


def test_strict_lookahead_that_is_interrupted_leaves_all_in_order(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, truth = open_model(file), Truth(file)
    evaluator, path = emptied(model), tokens(model, 100)
    strictly(evaluator, path)
    real = Llama.decode

    def interrupted(model: Llama, entries: list[BatchEntry], threads: int = 0) -> Logits:
        real(model, entries[:3], threads)
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(Llama, "decode", interrupted)
        with pytest.raises(Interrupted):
            evaluator.strict.look_ahead([*path, 7], [3, 4, 5])
    assert evaluator.strict._second
    agree(evaluator.strict._second.model, evaluator.strict._second.sequences)
    assert strictly(evaluator, [*path, 7, 4], 100)[0] == truth.of([*path, 7, 4])[100:]


# --- the others' answers stay


def test_views_and_searches_go_on_giving_what_was_answered_first(file: Path) -> None:
    model = open_model(file)
    evaluator, path = emptied(model), tokens(model, 50)
    for end in range(1, 51):
        for _ in evaluator.evaluate(path[:end], end - 1, 10):
            pass
    before = evaluator.row(path)[0]
    (strict,), _ = strictly(evaluator, path, 49)
    after, decoded = evaluator.row(path)
    assert np.array_equal(before.logits, after.logits)
    assert decoded == 0
    (chunk,) = evaluator.evaluate(path, 49, WHOLE)
    assert not chunk.strict
    assert bits(chunk.distributions[0]) != strict, "else this shows nothing"


# --- at random


class Walk:
    """Somebody plays, and compares meanwhile."""

    def __init__(self, model: Llama, truth: Truth, stop: Stopper, chance: random.Random, longest: int) -> None:
        self.evaluator = emptied(model)
        self.strict = 0
        self._model, self._truth, self._stop, self._chance = model, truth, stop, chance
        self._longest = longest
        self._paths = [tokens(model, chance.randint(1, longest // 2), chance.randrange(1000)) for _ in range(3)]

    def _hold(self, path: list[int], chunks: Iterator[Chunk]) -> None:
        for chunk in chunks:
            if not chunk.strict:
                continue
            truth = self._truth.of(path)
            for place, distribution in enumerate(chunk.distributions, chunk.start):
                # The truth has all tokens, an answer as many as it was asked for.
                entropy, ids, logprobs = truth[place]
                told = bits(distribution)
                assert told[0] == entropy
                assert ids.startswith(told[1]) and logprobs.startswith(told[2])
                self.strict += 1

    def _step(self, path: list[int]) -> None:
        evaluator, chance, size = self.evaluator, self._chance, len(path)
        match chance.randrange(7):
            case 0:
                self._hold(path, evaluator.evaluate(path, chance.randrange(size), 50))
            case 1:
                self._hold(path, evaluator.evaluate(path, size - 1, 50))
            case 2:
                evaluator.ahead.look(path, [[chance.randrange(200)] for _ in range(chance.choice([1, 3, 8, 12]))], 50)
            case 3:
                for more in range(1, 6):  # as Continue does
                    self._hold([*path, *range(more)], evaluator.evaluate([*path, *range(more)], size + more - 1, 50))
            case 4 | 5:
                self._hold(path, evaluator.strict.evaluate(path, chance.choice([0, size // 2, size - 1]), 50))
            case 6:
                other = chance.choice(self._paths)
                difference, _ = evaluator.strict.compare(path, other, 5)
                assert (difference.kl_bits == 0) == (self._truth.of(path)[-1] == self._truth.of(other)[-1])

    def walk(self, steps: int) -> None:
        chance = self._chance
        for _ in range(steps):
            place = chance.randrange(len(self._paths))
            path = self._paths[place]
            if chance.random() < 0.3 or len(path) > self._longest:
                path = path[: -chance.choice([1, 1, 5, 30])] or path[:1]
            else:
                path = [*path, *(chance.randrange(200) for _ in range(chance.choice([1, 1, 2, 9, 40])))]
            self._paths[place] = path
            self._stop.left = chance.randrange(400) if chance.random() < 0.15 else None
            try:
                self._step(path)
            except (Interrupted, ContextFull):
                pass
            self._stop.left = None
            agree(self._model, self.evaluator.cells.sequences)
            if second := self.evaluator.strict._second:
                agree(second.model, second.sequences)


CONTEXTS = {"evicting": (256, 150), "growing": (0, 350), "roomy": (1000, 250)}


def walks(file: Path, kind: str, numbers: range, steps: int, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    monkeypatch.setattr(llama_module, "FIRST_CONTEXT", 256)
    context, longest = CONTEXTS[kind]
    truth, strict = Truth(file), 0
    for number in numbers:
        stop = Stopper()
        walk = Walk(open_model(file, context, stop), truth, stop, random.Random(f"{SEED}-{number}"), longest)
        walk.walk(steps)
        strict += walk.strict
    assert strict
    figure(len(numbers), "walks", seed=SEED, steps_of_each=steps, strict_answers=strict)


@pytest.mark.usefixtures("no_rows")
@pytest.mark.parametrize("kind", few(CONTEXTS, of=2))
@pytest.mark.parametrize("name", few(["qwen2", "gemma3"], of=2))
def test_strict_walks(
    name: str, kind: str, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    walks(tiny[name], kind, range(1), 60, monkeypatch, figure)


@pytest.mark.soak
@pytest.mark.parametrize("kind", CONTEXTS)
def test_many_strict_walks(
    kind: str, file: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure, request: pytest.FixtureRequest
) -> None:
    if kind != "roomy":
        request.getfixturevalue("no_rows")
    walks(file, kind, range(1, 3), 80, monkeypatch, figure)


@pytest.mark.parametrize("name", ["mamba", "jamba"])
def test_models_whose_tails_cannot_be_cut(name: str, tiny: dict[str, Path]) -> None:
    """Each path is decoded from its beginning, in the same parts."""
    model, truth = open_model(tiny[name]), Truth(tiny[name])
    evaluator, path = emptied(model), tokens(model, 100)
    for end in (5, 30, 31, 100):
        for _ in evaluator.evaluate(path[:end], end - 1, 10):
            pass
    for end in (5, 8, 31, 60, 100):
        assert strictly(evaluator, path[:end])[0] == truth.of(path[:end])
        agree(model, evaluator.cells.sequences)
    assert evaluator.strict.compare(path, path, 5)[0].kl_bits == 0
    evaluator.strict.noise()
    agree(model, evaluator.cells.sequences)


# --- differences


def row(logits: NDArray[np.float32]) -> LogitsRow:
    values = logits.astype(np.float64)
    peak = values.max()
    return LogitsRow(logits, float(peak + math.log(np.exp(values - peak).sum())), True)


def plain(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[float, float]:
    """KL both ways, in bits, by the formula."""
    p, q = (one.astype(np.float64) - one.max() for one in (a, b))
    p, q = p - math.log(np.exp(p).sum()), q - math.log(np.exp(q).sum())

    def kl(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
        there = np.isfinite(p)
        return float((np.exp(p[there]) * (p[there] - q[there])).sum() / math.log(2))

    return kl(p, q), kl(q, p)


def rank(logits: NDArray[np.float32], token: int) -> int:
    return sorted(range(len(logits)), key=lambda one: (-logits[one], one)).index(token) + 1


@pytest.mark.parametrize("size", [1, 2, 300, 512, 5000])
@pytest.mark.parametrize("apart", [0.0, 1e-4, 0.1, 3.0])
def test_divergence(size: int, apart: float) -> None:
    chance = np.random.default_rng(SEED)
    a = (chance.standard_normal(size) * 4).astype(np.float32)
    b = (a + 2 + chance.standard_normal(size) * apart).astype(np.float32)
    found = RowDifferences(size).difference(row(a), row(b), 10)
    assert (found.kl_bits, found.reverse_bits) == pytest.approx(plain(a, b), rel=2e-4, abs=1e-6)
    assert (found.first_a, found.first_b) == (int(a.argmax()), int(b.argmax()))
    same = RowDifferences(size).difference(row(a), row(a), 10, 0)
    assert (same.kl_bits, same.reverse_bits, same.flip) == (0, 0, False)
    assert all(one.delta_bits == 0 == one.moved for one in same.rows)


@pytest.mark.parametrize("top", [0, 3, 40])
def test_rows_of_a_difference(top: int) -> None:
    chance = np.random.default_rng(SEED)
    a, b = chance.integers(-9, 9, (2, 200)).astype(np.float32)  # with ties
    found = RowDifferences(200).difference(row(a), row(b), top, 17)
    likely = [[one for one in range(200) if rank(of, one) <= top] for of in (a, b)]
    assert {one.token for one in found.rows} == {*likely[0], *likely[1]}
    assert [one.a.rank for one in found.rows] == sorted(one.a.rank for one in found.rows)
    assert found.taken and found.taken.token == 17
    for one in (*found.rows, found.taken):
        assert (one.a.rank, one.b.rank) == (rank(a, one.token), rank(b, one.token))
        assert one.a.logprob == pytest.approx(float(a[one.token]) - row(a).log_sum)


def test_tokens_that_are_ruled_out() -> None:
    a = np.array([1, 2, 3, -math.inf, 0, -math.inf], np.float32)
    b = np.array([1, 2, 1, -math.inf, -math.inf, 5], np.float32)
    comparing = RowDifferences(6)
    same = comparing.difference(row(a), row(a), 6, 3)
    assert (same.kl_bits, same.reverse_bits) == (0, 0)
    assert same.taken and same.taken.delta_bits == 0
    found = comparing.difference(row(a), row(b), 6)
    assert (found.kl_bits, found.reverse_bits) == (math.inf, math.inf), "each rules out what the other does not"
    fewer = np.array([1, 2, 1, -math.inf, -math.inf, -math.inf], np.float32)
    found = comparing.difference(row(fewer), row(a), 6)
    assert found.kl_bits == pytest.approx(plain(fewer, a)[0])
    assert found.reverse_bits == math.inf


# --- rows in a file


def some_rows(count: int, size: int = 20) -> list[LogitsRow]:
    chance = np.random.default_rng(SEED)
    return [row(chance.standard_normal(size).astype(np.float32)) for _ in range(count)]


def test_rows_come_back(tmp_path: Path) -> None:
    file, rows = tmp_path / "rows", some_rows(5)
    file.write_bytes(b"what was there before" * 1000)
    with writing(str(file), 20, 3, 8) as written:
        written.add(rows[:2])
        written.add([])
        written.add(rows[2:])
    with reading(str(file), 20, 3, 8) as read:
        for one in rows:
            again = read.row()
            assert again.log_sum == one.log_sum
            assert np.array_equal(again.logits, one.logits)


def all_rows(file: Path, size: int, start: int, end: int) -> list[LogitsRow]:
    with reading(str(file), size, start, end) as read:
        return [read.row() for _ in range(end - start)]


def refused(file: Path, size: int = 20, start: int = 3, end: int = 8) -> str:
    with pytest.raises(ModelError) as error:
        all_rows(file, size, start, end)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_rows_that_are_not_those_that_are_due(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.touch()
    assert "too early" in refused(file), "nothing was written"
    with writing(str(file), 20, 3, 8) as written:
        written.add(some_rows(5))
    whole = file.read_bytes()
    assert refused(file, size=21) == "the other model has 20 tokens in its vocabulary, this one 21"
    assert "3 to 8, not 3 to 9" in refused(file, end=9)
    assert "3 to 8, not 2 to 8" in refused(file, start=2)
    for length in (0, 5, 24, 25, 63, 64, 100, len(whole) - 1):
        file.write_bytes(whole[:length])
        refused(file)
    file.write_bytes(whole + b"\0")
    assert "bytes of rows" in refused(file)
    file.write_bytes(b"GGUF" + whole[4:])
    assert "no rows" in refused(file)
    for at in (24, 64, len(whole) - 4):  # the sums, the first row, the last one
        damaged = bytearray(whole)
        damaged[at : at + 8] = b"\xff" * len(damaged[at : at + 8])
        file.write_bytes(damaged)
        assert "no numbers" in refused(file)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes among files")
@pytest.mark.parametrize("kind", ["none", "folder", "pipe", "link", "device", "zero byte"])
def test_only_a_regular_file_that_is_there(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "rows"
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "link":
        (tmp_path / "other").touch()
        file.symlink_to("other")
    elif kind == "device":
        file = Path("/dev/null")
    elif kind == "zero byte":
        file = tmp_path / "a\0b"
    refused(file)
    with pytest.raises(ModelError), writing(str(file), 20, 3, 8):
        raise AssertionError("it was opened")
    assert kind != "none" or not file.exists()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows"
    file.touch()

    class Full(FileIO):
        def write(self, data: Any, /) -> int:
            if self.tell() > 200:
                raise OSError(28, "No space left on device")
            return super().write(memoryview(data)[:50])

    monkeypatch.setattr(rows_file, "FileIO", Full)
    with pytest.raises(ModelError) as error, writing(str(file), 20, 3, 8) as written:
        written.add(some_rows(5))
    assert str(error.value) == f"{file}: cannot be written: No space left on device"
    assert file.stat().st_size == 0


def test_what_is_not_finished_is_taken_away(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.touch()

    def ended() -> None:
        with writing(str(file), 20, 3, 8) as written:
            written.add(some_rows(2))
            raise Interrupted

    with pytest.raises(Interrupted):
        ended()
    assert stat.S_ISREG(file.stat().st_mode) and file.stat().st_size == 0


# --- noise


def test_the_noise_is_nothing_and_leaves_nothing(file: Path) -> None:
    model = open_model(file, 256)
    evaluator, path = emptied(model), tokens(model, 60)
    for _ in evaluator.evaluate(path, 0, 10):
        pass
    strictly(evaluator, [*path, 7], 60)
    assert evaluator.strict.noise() == 0
    assert model.count(0) == 60, "what was cached is"
    assert strictly(evaluator, [*path, 7, 8], 61)[0] == Truth(file).of([*path, 7, 8])[61:]
    agree(model, evaluator.cells.sequences)


def test_noise_is_noticed(tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = open_model(tiny["qwen2"])
    evaluator, real = emptied(model), Llama.decode

    def noisy(model: Llama, entries: list[BatchEntry], threads: int = 0) -> Logits:
        logits = real(model, entries, threads) + np.float32(len(entries))  # all as much higher: the same probabilities
        logits[:, 7] += len(entries) == BATCH
        return logits

    monkeypatch.setattr(Llama, "decode", noisy)
    assert 0.9 < evaluator.strict.noise() < 1 / math.log(2) + 1e-3


def test_noise_is_interrupted(tiny: dict[str, Path]) -> None:
    stop = Stopper()
    model = open_model(tiny["qwen2"], 0, stop)
    evaluator = emptied(model)
    for left in (0, 50, 200, 600):
        stop.left = left
        with pytest.raises(Interrupted):
            evaluator.strict.noise()
        stop.left = None
        agree(model, evaluator.cells.sequences)
        assert not any(map(model.count, range(model.sequences)))


def test_what_is_known_of_models(tiny: dict[str, Path], tmp_path: Path) -> None:
    memory = tmp_path / "models.json"
    known = KnownModels(memory)
    assert known.noise("a", "x") is None
    known.measured("a", "x", 0.0)
    known.measured("a", "y", 0.25)
    known.measured("b", "x", 0.5)
    again = KnownModels(memory)
    assert [again.noise(*one) for one in (("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"))] == [0.0, 0.25, 0.5, None]
    assert again.vocabulary("a", tiny["qwen2"]) == vocabulary(tiny["qwen2"])
    assert again.vocabulary("a", tmp_path / "gone") == vocabulary(tiny["qwen2"]), "remembered"
    assert again.noise("a", "x") == 0
    for damage in (b"", b"[", b"[]", b'{"a": 5}', b'{"a": {"noise": [], "vocabulary": 3}}'):
        memory.write_bytes(damage)
        assert again.noise("a", "x") is None
        assert again.vocabulary("a", tiny["qwen2"]) == vocabulary(tiny["qwen2"])
    KnownModels(None).measured("a", "x", 0.5)


def test_vocabularies_are_told_apart_by_their_content(
    tiny: dict[str, Path], model_path: Path, light_model: Path
) -> None:
    assert vocabulary(model_path) == vocabulary(light_model) != ""
    assert vocabulary(tiny["qwen2"]) != vocabulary(model_path)


# --- two models


@pytest.fixture
def pair(quantisations: tuple[Path, Path]) -> dict[str, Path]:
    """The real model, requantised by llama.cpp itself."""
    return dict(zip("AB", quantisations, strict=True))


class Engine:
    """An engine in a process of its own."""

    def __init__(self, file: Path, threads: int = 0, fingerprints: str = "", cache: str = "") -> None:
        self._told: queue.Queue[Delivery] = queue.Queue()
        self.client = EngineClient(self._told.put)
        self.client.send(Load(str(file), 0, threads, fingerprints=fingerprints, cache=cache, cache_bytes=1 << 28))
        while isinstance(loaded := self.next(), Loading):
            pass
        assert isinstance(loaded, Loaded)
        self.loaded = loaded

    def next(self) -> Delivery:
        return self._told.get(timeout=600)


@pytest.fixture
def engine() -> Iterator[Callable[..., Engine]]:
    running: list[Engine] = []

    def start(file: Path, threads: int = 0, fingerprints: str = "", cache: str = "") -> Engine:
        running.append(Engine(file, threads, fingerprints, cache))
        return running[-1]

    yield start
    for one in running:
        one.client.close()


def all_logits(file: Path, path: list[int]) -> NDArray[np.float64]:
    """llama.cpp alone: the log-probabilities after each token, computed in batches of 48."""
    params, settings = llama_cpp.llama_model_default_params(), llama_cpp.llama_context_default_params()
    params.use_extra_bufts = b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info()  # as the engine has it
    model = llama_cpp.llama_model_load_from_file(os.fsencode(file), params)
    assert model
    settings.n_ctx, settings.n_batch, settings.n_ubatch = 1024, 48, 48
    context = llama_cpp.llama_init_from_model(model, settings)
    assert context
    size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    batch, rows = llama_cpp.llama_batch_init(48, 0, 1), []
    for start in range(0, len(path), 48):
        part = path[start : start + 48]
        batch.n_tokens = len(part)
        for index, token in enumerate(part):
            batch.token[index], batch.pos[index], batch.n_seq_id[index] = token, start + index, 1
            batch.seq_id[index][0], batch.logits[index] = 0, True
        assert llama_cpp.llama_decode(context, batch) == 0
        rows.append(np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (len(part), size)).astype(np.float64))
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    logits = np.concatenate(rows)
    logits -= logits.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return result


def differences(a: Engine, b: Engine, path: list[int], folder: Path, part: int = 48) -> list[Difference]:
    """A against B at all positions, as a game asks for them."""
    file, found = folder / "rows", []
    file.touch()
    for start in range(0, len(path), part):
        end = min(start + part, len(path))
        b.client.send(Export(1, path, start, end, str(file)))
        exported = b.next()
        assert isinstance(exported, Exported) and (exported.start, exported.end) == (start, end)
        a.client.send(Against(2, path, start, end, str(file), b.loaded.identity, 3))
        compared = a.next()
        assert isinstance(compared, Compared) and compared.start == start
        found += compared.differences
    return found


def recalled(engine: Engine, path: list[int], other: Engine, top: int) -> dict[int, Difference]:
    """What an engine finds on the disk, by positions."""
    engine.client.send(Recall(3, path, 0, len(path), other.loaded.identity, top))
    found: dict[int, Difference] = {}
    while isinstance(reply := engine.next(), Compared):
        assert reply.decoded == 0
        found |= dict(enumerate(reply.differences, reply.start))
    assert isinstance(reply, Recalled)
    return found


@pytest.mark.thorough
def test_what_two_models_differ_by_is_there_at_the_next_start(
    pair: dict[str, Path], engine: Callable[..., Engine], tmp_path: Path
) -> None:
    a, b = (engine(pair[name], cache=str(tmp_path / "cache")) for name in "AB")
    chance = random.Random(SEED)
    path = [chance.randrange(1000, 9000) for _ in range(70)]
    told = dict(enumerate(differences(a, b, path, tmp_path)))
    assert recalled(a, path, b, 3) == told, "before it is written, too"
    a.client.close()
    again = engine(pair["A"], cache=str(tmp_path / "cache"))
    assert recalled(again, path, b, 3) == told
    assert recalled(again, [*path[:40], path[3]], b, 3).keys() == set(range(39)), "another token follows"
    assert recalled(again, path, b, 4) == {}, "with too few candidates"
    assert recalled(again, path, again, 3) == {}
    other_way = engine(pair["B"], cache=str(tmp_path / "cache"))
    assert recalled(other_way, path, again, 3) == {place: one.reverse for place, one in told.items()}


def agrees(count: int, pair: dict[str, Path], engine: Callable[..., Engine], folder: Path) -> None:
    a, b = engine(pair["A"]), engine(pair["B"])
    assert a.loaded.vocabulary == b.loaded.vocabulary != ""
    assert a.loaded.fingerprint != b.loaded.fingerprint
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    a.client.send(Tokenize(1, text[: 8 * count], False))
    tokenized = a.next()
    assert isinstance(tokenized, Tokenized)
    path = tokenized.path[:count]
    assert len(path) == count
    found = differences(a, b, path, folder)
    of_a, of_b = (all_logits(pair[name], path) for name in "AB")
    kl = (np.exp(of_a) * (of_a - of_b)).sum(axis=1) / math.log(2)
    assert np.mean([one.kl_bits for one in found]) == pytest.approx(kl.mean(), rel=1e-3)
    assert [one.kl_bits for one in found] == pytest.approx(kl, rel=1e-3, abs=1e-6)
    reverse = (np.exp(of_b) * (of_b - of_a)).sum(axis=1) / math.log(2)
    assert [one.reverse_bits for one in found] == pytest.approx(reverse, rel=1e-3, abs=1e-6)
    assert [one.flip for one in found] == (of_a.argmax(axis=1) != of_b.argmax(axis=1)).tolist()
    places = np.arange(count - 1)
    taken = [one.taken for one in found[:-1]]
    assert found[-1].taken is None
    for index, of in enumerate((of_a, of_b)):
        expected = np.exp(of[places, path[1:]])
        got = [math.exp((one.a if index == 0 else one.b).logprob) for one in taken if one]
        assert got == pytest.approx(expected, rel=1e-3)


@pytest.mark.thorough
def test_two_quantisations(pair: dict[str, Path], engine: Callable[..., Engine], tmp_path: Path) -> None:
    agrees(60, pair, engine, tmp_path)


@pytest.mark.soak
def test_two_quantisations_on_a_long_text(
    pair: dict[str, Path], engine: Callable[..., Engine], tmp_path: Path, figure: Figure
) -> None:
    agrees(500, pair, engine, tmp_path)
    figure(500, "tokens by which two quantisations are compared")


# --- in processes


def test_a_new_process_gives_the_same_bits(
    tiny: dict[str, Path], engine: Callable[..., Engine], tmp_path: Path
) -> None:
    a, b = engine(tiny["qwen2"], 1), engine(tiny["qwen2"], 2)
    chance = random.Random(SEED)
    path = [chance.randrange(a.loaded.vocab_size) for _ in range(100)]
    for end in range(90, 101):
        a.client.send(Evaluate(end, path[:end], end - 1, 10))
        assert isinstance(a.next(), Evaluated)
    found = differences(a, b, path, tmp_path, 30)
    assert {(one.kl_bits, one.reverse_bits, one.flip) for one in found} == {(0, 0, False)}
    assert all(one.taken is None or one.taken.delta_bits == 0 for one in found)
    assert all(beside.a == beside.b for one in found for beside in one.rows)


def test_what_a_key_asks_for_ends_it(tiny: dict[str, Path], engine: Callable[..., Engine]) -> None:
    one = engine(tiny["qwen2"])
    path = [index % 200 for index in range(1000)]
    one.client.send(EvaluateStrictly(1, path, 0, 10))
    one.client.send(Compare(2, path, path[:-1], 10))
    first = one.next()
    assert isinstance(first, Evaluated) and first.request == 1 and first.strict
    one.client.send(Tokenize(3, "the", False))
    one.client.send(Evaluate(4, [5, 6, 7], 2, 10))
    told = [first]
    while isinstance(reply := one.next(), Evaluated) and reply.request == 1:
        told.append(reply)
    others = {type(reply), type(one.next())}
    assert others == {Tokenized, Evaluated}
    done = told[-1].start + len(told[-1].distributions)
    assert done < 1000, "it was not finished"
    # Asked again, it goes on.
    one.client.send(EvaluateStrictly(5, path, done, 10))
    decoded = 0
    while done < 1000:
        reply = one.next()
        assert isinstance(reply, Evaluated) and (reply.request, reply.start) == (5, done)
        done += len(reply.distributions)
        decoded += reply.decoded
    assert decoded < 1000, "what was decoded before is not decoded again"
    one.client.send(MeasureNoise(6))
    assert one.next() == Noise(6, 0.0), "and nothing came of what was dropped"


def test_noise_is_remembered(tiny: dict[str, Path], engine: Callable[..., Engine], tmp_path: Path) -> None:
    memory = str(tmp_path / "fingerprints.json")
    one = engine(tiny["qwen2"], fingerprints=memory)
    one.client.send(MeasureNoise(1))
    assert one.next() == Noise(1, 0.0)
    known = KnownModels(tmp_path / "models.json")
    by = f"{one.loaded.arithmetic}, cells {one.loaded.cells}"
    assert known.noise(one.loaded.fingerprint, by) == 0
    known.measured(one.loaded.fingerprint, by, 0.5)
    two = engine(tiny["qwen2"], fingerprints=memory)
    two.client.send(MeasureNoise(1))
    assert two.next() == Noise(1, 0.5), "not measured again"


@pytest.mark.parametrize(
    ("path", "start", "end", "why"),
    [
        ([1, 2], 1, 1, "no positions"),
        ([1, 2], 0, 3, "no positions"),
        ([1, 2], -1, 1, "no positions"),
        ([1, 10**9], 0, 2, "outside the vocabulary"),
    ],
)
def test_what_cannot_be_compared(
    path: list[int],
    start: int,
    end: int,
    why: str,
    tiny: dict[str, Path],
    engine: Callable[..., Engine],
    tmp_path: Path,
) -> None:
    one, file = engine(tiny["qwen2"]), tmp_path / "rows"
    file.touch()
    one.client.send(Export(1, path, start, end, str(file)))
    failed = one.next()
    assert isinstance(failed, Failed) and failed.request == 1 and why in failed.reason
    one.client.send(Against(2, path, start, end, str(file), "", 5))
    assert isinstance(one.next(), Failed)
    one.client.send(Compare(3, [1], [], 5))
    assert one.next() == Failed(3, "nothing to evaluate")


def test_sizes_of_batches() -> None:
    for left in range(1, 400):
        parts, rest = [], left
        while rest:
            parts.append(llama_batch_size(rest))
            rest -= parts[-1]
        assert max(parts) <= BATCH
        assert all(part == strict_size(part) for part in parts[:-1])
        assert left < STRICT or min(parts) >= STRICT
        assert len(parts) == -(-strict_size(left) // BATCH), "no more batches than must be"


def test_a_comparison_of_many_positions_comes_in_parts(
    tiny: dict[str, Path], engine: Callable[..., Engine], tmp_path: Path
) -> None:
    one, file = engine(tiny["qwen2"]), tmp_path / "rows"
    file.touch()
    path = [token % 60 for token in range(200)]
    one.client.send(Export(1, path, 0, 200, str(file)))
    assert isinstance(one.next(), Exported)
    one.client.send(Against(2, path, 0, 200, str(file), "", 60))
    end, parts = 0, 0
    while end < 200:
        told = one.next()
        assert isinstance(told, Compared) and told.start == end and len(told.differences) <= BATCH
        assert all(each.kl_bits == 0 for each in told.differences)
        end, parts = end + len(told.differences), parts + 1
    assert parts > 1


def test_of_what_is_decoded_before_the_first_position_nothing_is_told(
    tiny: dict[str, Path], engine: Callable[..., Engine], tmp_path: Path
) -> None:
    """A part without differences would be no answer: who hears it does not believe the engine any more."""
    writer, file = engine(tiny["qwen2"]), tmp_path / "rows"
    file.touch()
    path = [token % 60 for token in range(200)]
    writer.client.send(Export(1, path, 198, 200, str(file)))
    assert isinstance(writer.next(), Exported)
    reader = engine(tiny["qwen2"])  # nothing of the path is cached there
    reader.client.send(Against(2, path, 198, 200, str(file), "", 5))
    told = reader.next()
    assert isinstance(told, Compared) and (told.start, len(told.differences), told.decoded) == (198, 2, 200)
    assert all(each.kl_bits == 0 for each in told.differences)
