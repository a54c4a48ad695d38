"""Long prompts are read fast, in batches whose numbers are never taken for strict ones."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from tests.engine.test_leaks import agree
from tests.engine.test_strict import CONTEXTS, SEED, WHOLE, Truth, Walk, bits, emptied, strictly, tokens
from tests.fresh import Stopper, open_model
from tests.sampling import few
from tests.tiny_models import MODELS
from tokex_gguf.engine.worker import cells as cells_module
from tokex_gguf.engine.worker import llama as llama_module
from tokex_gguf.engine.worker.chunks import Chunk
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import BATCH, FAST_BATCH, BatchEntry, Interrupted, Llama
from tokex_gguf.engine.worker.logit_math import Logits

CLOSE = 0.01
"""How far a tiny model's probabilities may be apart: the kernel of large batches rounds differently."""
FAST = ["qwen2", "gemma3"]
LONG = 512
"""Tokens that are long enough here, for tests to be quick."""


@pytest.fixture(autouse=True)
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module, "FAST_FROM", LONG)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is decoded."""
    sizes: list[int] = []
    real = Llama.decode

    def counted(model: Llama, entries: list[BatchEntry], threads: int = 0) -> Logits:
        sizes.append(len(entries))
        return real(model, entries, threads)

    monkeypatch.setattr(Llama, "decode", counted)
    return sizes


def read(evaluator: Evaluator, path: list[int], start: int = 0, top: int = WHOLE) -> list[Chunk]:
    return list(evaluator.evaluate(path, start, top))


@pytest.mark.usefixtures("no_rows")
@pytest.mark.parametrize("name", FAST)
def test_only_long_ones_are(name: str, tiny: dict[str, Path], batches: list[int]) -> None:
    path = tokens(open_model(tiny[name]), LONG + 41)
    for count in (LONG - 1, LONG, LONG + 41):
        model = open_model(tiny[name])
        evaluator = emptied(model)
        batches.clear()
        chunks = read(evaluator, path[:count], 0, 5)
        assert [place for chunk in chunks for place in range(chunk.start, chunk.start + len(chunk.distributions))] == [
            *range(count)
        ]
        long = count >= LONG
        assert max(batches) == (FAST_BATCH if long else BATCH)
        assert any(chunk.strict for chunk in chunks) is not long
        agree(model, evaluator.cells.sequences)
        assert read(evaluator, [*path[:count], 7], count, 5)[0].strict is False


@pytest.mark.usefixtures("no_rows")
@pytest.mark.parametrize("name", few(FAST, of=2))
def test_strict_answers_are_computed_once_more(name: str, tiny: dict[str, Path]) -> None:
    model, truth = open_model(tiny[name]), Truth(tiny[name])
    evaluator, path = emptied(model), tokens(model, LONG + 150)
    short, edited = path[:100], [*path[:300], 7]
    read(evaluator, short)
    read(evaluator, path, 100)
    answers, decoded = strictly(evaluator, path, LONG)
    assert answers == truth.of(path)[LONG:]
    assert decoded == len(path) - 100, "what was read before was strict"
    assert strictly(evaluator, edited, 300)[0] == truth.of(edited)[300:], "behind what was read fast"
    difference, _ = evaluator.strict.compare(path, path[:-1], 5)
    assert (difference.kl_bits == 0) == (truth.of(path)[-1] == truth.of(path)[-2])


@pytest.mark.parametrize("name", FAST)
def test_the_first_answer_stays(name: str, tiny: dict[str, Path]) -> None:
    model = open_model(tiny[name])
    evaluator, path = emptied(model), tokens(model, LONG)
    first = read(evaluator, path)[-1]
    row = evaluator.row(path)[0].logits.copy()
    strictly(evaluator, path, LONG - 1)
    read(evaluator, path[:-1], LONG - 2)
    again = read(evaluator, path, LONG - 1)[-1]
    assert bits(again.distributions[-1]) == bits(first.distributions[-1])
    assert not again.strict
    assert np.array_equal(evaluator.row(path)[0].logits, row)


@pytest.mark.usefixtures("no_rows")
@pytest.mark.parametrize("name", few(MODELS, of=4))
def test_the_numbers_are_those_of_one_token_after_the_other(
    name: str, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module, "FAST_FROM", FAST_BATCH)
    model = open_model(tiny[name])
    path = tokens(model, 150)
    found = [one for chunk in read(emptied(model), path) for one in chunk.distributions]
    evaluator, worst = emptied(model), 0.0
    for end in range(1, len(path) + 1):
        (chunk,) = read(evaluator, path[:end], end - 1)
        fast, slow = found[end - 1], chunk.distributions[0]
        known = dict(zip(fast.ids, np.exp(fast.logprobs), strict=True))
        worst = max(worst, *(abs(known[i] - p) for i, p in zip(slow.ids, np.exp(slow.logprobs), strict=True)))
    assert worst < CLOSE
    whole = [np.exp(one.logprobs)[np.argsort(one.ids)] for one in found]
    apart = [float(np.abs(a - b).max()) for a, b in itertools.pairwise(whole)]
    assert min(apart) > worst, "those of other places are further apart, else this shows nothing"


@pytest.mark.parametrize("name", ["mamba", "jamba"])
def test_recurrent_models_are_read_as_before(name: str, tiny: dict[str, Path], batches: list[int]) -> None:
    model = open_model(tiny[name])
    read(emptied(model), tokens(model, LONG), 0, 5)
    assert max(batches) <= BATCH


def test_quantised_cells_have_no_faster_kernel(model_path: Path) -> None:
    for kv, fast in (("f16", True), ("q8_0", False)):
        model = Llama(model_path, context=256, threads=1, progress=lambda _: None, abort=Stopper(), kv=kv)
        assert model.reads_fast is fast


@pytest.mark.usefixtures("no_rows")
@pytest.mark.parametrize("name", FAST)
def test_interrupted_and_gone_on_with(name: str, tiny: dict[str, Path]) -> None:
    stop = Stopper()
    model, truth = open_model(tiny[name], 0, stop), Truth(tiny[name])
    evaluator, path = emptied(model), tokens(model, LONG)
    stop.left = 150
    done = 0
    try:
        for chunk in evaluator.evaluate(path, 0, 5):
            done = chunk.start + len(chunk.distributions)
    except Interrupted:
        pass
    stop.left = None
    assert 0 < done < LONG
    agree(model, evaluator.cells.sequences)
    chunks = read(evaluator, path, done, 5)
    assert sum(chunk.decoded for chunk in chunks) == LONG - done, "nothing is decoded again"
    assert not any(chunk.strict for chunk in chunks), (
        "those behind are in smaller batches, on cells that are not strict"
    )
    assert strictly(evaluator, path, LONG - 1)[0] == truth.of(path)[-1:]


@pytest.mark.usefixtures("no_rows")
@pytest.mark.parametrize("kind", few(CONTEXTS, of=3))
@pytest.mark.parametrize("name", few(FAST, of=2))
def test_walks_through_fast_and_strict(
    name: str, kind: str, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch, batches: list[int]
) -> None:
    """Whatever is called strict has the bits of a strict evaluation, with fast batches and interruptions between."""
    monkeypatch.setattr(llama_module, "FIRST_CONTEXT", 256)
    monkeypatch.setattr(cells_module, "FAST_FROM", FAST_BATCH + 6)
    context, longest = CONTEXTS[kind]
    stop = Stopper()
    print("seed", SEED)
    walk = Walk(open_model(tiny[name], context, stop), Truth(tiny[name]), stop, random.Random(f"fast-{SEED}"), longest)
    walk.walk(60)
    assert walk.strict
    assert FAST_BATCH in batches
