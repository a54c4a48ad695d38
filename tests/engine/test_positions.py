"""Models whose positions depend on the context's size, and models that have only so many positions."""

import random
from pathlib import Path

import pytest

from tests import tiny_models
from tests.fresh import Fresh, difference, open_model, tip
from tests.sampling import few
from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.worker import llama
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import Llama, RopeFactors
from tokex_gguf.values.distribution import Distribution

ORIGINAL = tiny_models.TRAINED // 2


def tokens(model: Llama, count: int) -> list[int]:
    chance = random.Random(count)
    return [chance.randrange(model.vocabulary.size) for _ in range(count)]


def strictly(evaluator: Evaluator, path: list[int]) -> Distribution:
    return list(evaluator.strict.evaluate(path, len(path) - 1, 20))[-1].distributions[-1]


@pytest.fixture(scope="module")
def longrope(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.longrope(tmp_path_factory.mktemp("longrope"))


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize(("context", "cells"), [(0, 2 * ORIGINAL), (2 * ORIGINAL, 2 * ORIGINAL), (ORIGINAL, ORIGINAL)])
def test_positions_are_rotated_as_a_context_of_that_size_does_it(
    context: int, cells: int, longrope: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama, "FIRST_CONTEXT", 256)  # it grows on the way
    model, fresh = open_model(longrope, context), Fresh(longrope, cells=cells)
    assert model.rope_factors == RopeFactors(ORIGINAL, long=cells > ORIGINAL)
    evaluator = Evaluator(model)
    for count in (200, ORIGINAL - 100, *([2 * ORIGINAL - 100] if cells > ORIGINAL else [])):
        path = tokens(model, count)
        expected = fresh.probabilities(path)
        assert difference(tip(evaluator, path, 20)[0], expected) < 1e-3
        assert difference(strictly(evaluator, path), expected) < 1e-3
    path = [5, *tokens(model, 200)]  # and after all that
    assert difference(tip(evaluator, path, 20)[0], fresh.probabilities(path)) < 1e-3
    assert difference(strictly(evaluator, path), fresh.probabilities(path)) < 1e-3
    fresh.close()


def test_the_factors_are_others(longrope: Path) -> None:
    path = tokens(open_model(longrope, ORIGINAL), 300)
    found = [tip(Evaluator(open_model(longrope, context)), path, 20)[0] for context in (ORIGINAL, 2 * ORIGINAL)]
    fresh = Fresh(longrope, cells=ORIGINAL)
    assert difference(found[0], fresh.probabilities(path)) < 0.01 < difference(found[1], fresh.probabilities(path))
    fresh.close()


@pytest.mark.parametrize("trained", few([20, 50, 64, 70, 255, 300], of=3))
@pytest.mark.parametrize("context", [0, 2048])
def test_no_position_is_taken_that_a_model_has_not_learned(trained: int, context: int, tmp_path: Path) -> None:
    """llama.cpp would abort, and the engine with it."""
    model = open_model(tiny_models.gpt2(tmp_path, trained), context)
    assert model.context_limit == trained
    evaluator = Evaluator(model)
    for count in (trained - 2, trained - 1, trained):
        path = tokens(model, count)
        tip(evaluator, path, 5)
        strictly(evaluator, path)
        if count + 2 <= trained:
            evaluator.strict.look_ahead(path, [1, 2, 3])
            evaluator.strict.compare(path, [*path[:-1], 1], 5)
            assert evaluator.ahead.look(path, [[1, 2], [3, 4]], 5)
    if trained < 60:
        with pytest.raises(ContextFull):
            evaluator.strict.noise()
    else:
        evaluator.strict.noise()
    with pytest.raises(ContextFull):
        tip(evaluator, tokens(model, trained + 1), 5)


def test_two_long_paths_are_compared_in_a_small_context(longrope: Path) -> None:
    """The context that stands apart is no larger: what does not fit beside a path is given up, and not the path."""
    model = open_model(longrope, ORIGINAL)
    evaluator = Evaluator(model)
    path = tokens(model, ORIGINAL - 30)
    list(evaluator.strict.evaluate(path, len(path) - 1, 20))
    other = [7, *path[1:]]
    list(evaluator.strict.evaluate(other, len(other) - 1, 20))
    for number in range(3):
        other = [*other, number]
        chunks = list(evaluator.strict.evaluate(other, len(other) - 1, 20))
        assert sum(chunk.decoded for chunk in chunks) < 100


def test_a_file_without_factors_has_none(tmp_path: Path) -> None:
    assert open_model(tiny_models.qwen2(tmp_path), 0).rope_factors is None
