"""What is peculiar to a kind of model: small files with random weights, against llama.cpp alone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fresh import Fresh, Stopper, difference, open_model, tip
from tests.sampling import few
from tests.tiny_models import MODELS
from tokex_gguf.engine.worker import llama as llama_module
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import BatchEntry, Interrupted, Llama
from tokex_gguf.engine.worker.logit_math import Logits

EQUAL = 1e-3
"""Differences of probabilities: see test_walks.py for what was measured. Wrong numbers differ by far more."""

pytestmark = pytest.mark.usefixtures("exact", "no_rows")

Compare = Callable[[str], Fresh]


@pytest.fixture
def fresh(tiny: dict[str, Path]) -> Iterator[Compare]:
    """Opens a model in llama.cpp alone."""
    opened: list[Fresh] = []

    def open_fresh(name: str) -> Fresh:
        opened.append(Fresh(tiny[name]))
        return opened[-1]

    yield open_fresh
    for one in opened:
        one.close()


def tokens(model: Llama, seed: int, count: int) -> list[int]:
    """A path of random tokens."""
    chosen = np.random.default_rng(seed).integers(model.vocabulary.size, size=count).tolist()
    return chosen if model.vocabulary.bos is None else [model.vocabulary.bos, *chosen[1:]]


def fill(model: Llama, evaluator: Evaluator) -> None:
    """Lets every sequence hold something of its own."""
    for seed in range(model.sequences):
        tip(evaluator, tokens(model, 100 + seed, 5), 1)


@pytest.mark.parametrize("name", MODELS)
def test_every_layout_plays(name: str, tiny: dict[str, Path], fresh: Compare) -> None:
    model, alone = open_model(tiny[name]), fresh(name)
    evaluator, path = Evaluator(model), tokens(model, 1, 70)
    chunks = list(evaluator.evaluate(path, 0, model.vocabulary.size))
    distributions = [distribution for chunk in chunks for distribution in chunk.distributions]
    assert len(distributions) == 70
    for position in (0, 40, 63, 64, 69):
        assert difference(distributions[position], alone.probabilities(path[: position + 1])) < EQUAL
    entropies = [distribution.entropy_bits for distribution in distributions]
    assert min(entropies) > 0.5 and max(entropies) < 7
    assert max(entropies) - min(entropies) > 1
    further, decoded = tip(evaluator, [*path, 5], 30)
    assert decoded == 1
    assert difference(further, alone.probabilities([*path, 5])) < EQUAL


@pytest.mark.parametrize("name", few(MODELS, of=3))
def test_the_last_distribution_depends_on_every_token(name: str, tiny: dict[str, Path], fresh: Compare) -> None:
    model, alone = open_model(tiny[name]), fresh(name)
    path = tokens(model, 1, 70)
    before = alone.probabilities(path)
    for position in range(1, len(path)):
        other = [*path[:position], (path[position] + 1) % model.vocabulary.size, *path[position + 1 :]]
        assert np.abs(alone.probabilities(other) - before).max() > 1e-4, position


# --- tails that cannot be cut


def test_going_back_in_a_recurrent_model_decodes_the_whole_path(tiny: dict[str, Path], fresh: Compare) -> None:
    for name in ("mamba", "jamba"):
        model, alone = open_model(tiny[name]), fresh(name)
        evaluator, path = Evaluator(model), tokens(model, 1, 90)
        assert not model.can_cut
        assert tip(evaluator, path, 30)[1] == 90
        popped, decoded = tip(evaluator, path[:-1], 30)
        assert decoded == 89
        assert difference(popped, alone.probabilities(path[:-1])) < EQUAL
        again, decoded = tip(evaluator, [*path, 5], 30)
        assert decoded == 1, "the longer path kept its state"
        assert difference(again, alone.probabilities([*path, 5])) < EQUAL


def test_going_back_to_where_a_sliding_window_has_lost_cells_decodes_them_again(
    tiny: dict[str, Path], fresh: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_module, "SEQUENCES", 3)
    model, alone = open_model(tiny["gemma3"]), fresh("gemma3")
    evaluator, path = Evaluator(model), tokens(model, 1, 100)
    tip(evaluator, tokens(model, 2, 10), 1)
    tip(evaluator, path, 1)
    tip(evaluator, tokens(model, 3, 5), 1)
    # It gets the cells of the first, and goes on into those that the second looks back at no more.
    tip(evaluator, tokens(model, 4, 60), 1)
    for count, cost in ((96, 1), (12, 12), (35, 35)):
        back, decoded = tip(evaluator, path[:count], 30)
        assert difference(back, alone.probabilities(path[:count])) < EQUAL, count
        assert decoded == cost


@pytest.mark.parametrize("name", MODELS)
def test_after_an_interruption_the_numbers_are_right(name: str, tiny: dict[str, Path], fresh: Compare) -> None:
    stop, alone = Stopper(), fresh(name)
    model = open_model(tiny[name], stop=stop)
    evaluator, path = Evaluator(model), tokens(model, 1, 20)
    longer = [*path, *tokens(model, 2, 30)]
    interruptions = 0
    for asked in range(0, 90, 10):
        tip(evaluator, path, 1)
        stop.left = asked
        try:
            tip(evaluator, longer, 1)
        except Interrupted:
            interruptions += 1
        stop.left = None
        for after in ([*longer, 6], longer, [*path, 5]):
            assert difference(tip(evaluator, after, 30)[0], alone.probabilities(after)) < EQUAL
        longer = [*longer[:-1], asked]
    assert interruptions


# --- look-ahead


@pytest.mark.parametrize("name", MODELS)
def test_foresight_is_right_when_all_sequences_are_taken(name: str, tiny: dict[str, Path], fresh: Compare) -> None:
    model, alone = open_model(tiny[name]), fresh(name)
    evaluator, path = Evaluator(model), tokens(model, 1, 30)
    fill(model, evaluator)
    first, _ = tip(evaluator, path, 30)
    wanted = list(first.ids[:4])
    lookaheads = evaluator.ahead.look(path, [wanted[:1]], 30)
    lookaheads += evaluator.ahead.look(path, [[token] for token in wanted[1:]], 30)
    assert len(lookaheads) == min(4, model.sequences - 2)
    for token, distribution in zip(wanted, lookaheads, strict=False):
        assert difference(distribution, alone.probabilities([*path, token])) < EQUAL
    following, decoded = tip(evaluator, [*path, wanted[0], 5], 30)
    assert decoded == 1, "the first is cached, though others were looked ahead to after it"
    assert difference(following, alone.probabilities([*path, wanted[0], 5])) < EQUAL


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("name", few(MODELS, of=3))
def test_branches_of_any_depth_are_right(
    name: str, filled: bool, tiny: dict[str, Path], fresh: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many at once, and more than there are sequences; what they have in common was not looked ahead to before."""
    model, alone = open_model(tiny[name]), fresh(name)
    evaluator, path = Evaluator(model), tokens(model, 1, 30)
    if filled:
        fill(model, evaluator)
    chance = np.random.default_rng(5)
    left = [chance.integers(3, size=int(chance.integers(1, 7))).tolist() for _ in range(60)]
    batches: list[int] = []
    decode = model.decode

    def counted(entries: list[BatchEntry], threads: int = 0) -> Logits:
        batches.append(len(entries))
        return decode(entries, threads)

    monkeypatch.setattr(model, "decode", counted)
    while left:
        found = evaluator.ahead.look(path, left[:16], 30)
        for branch, distribution in zip(left, found, strict=False):
            assert difference(distribution, alone.probabilities([*path, *branch])) < EQUAL
        left = left[len(found) :]
    following, _ = tip(evaluator, [*path, 1, 2, 0, 5], 30)
    assert difference(following, alone.probabilities([*path, 1, 2, 0, 5])) < EQUAL
    if model.can_cut and not filled:
        assert sum(batches) < 60 * 3, "what they have in common is decoded once"


def test_looking_ahead_costs_no_prompt_its_cells_when_all_sequences_are_taken(tiny: dict[str, Path]) -> None:
    model = open_model(tiny["qwen2"])
    evaluator, path, other = Evaluator(model), tokens(model, 1, 30), tokens(model, 2, 30)
    fill(model, evaluator)
    tip(evaluator, path, 1)
    evaluator.ahead.look(path, [[1], [2], [3]], 1)
    tip(evaluator, other, 1)
    evaluator.ahead.look(other, [[1]], 1)
    assert tip(evaluator, [*other, 7], 1)[1] == 1
    assert tip(evaluator, [*path, 7], 1)[1] == 1
