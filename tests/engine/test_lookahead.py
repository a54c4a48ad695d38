"""What is grown ahead of a path, as the rules and the engine grow it together: hardly anything is decoded twice."""

from collections import deque
from pathlib import Path

import pytest

from tests.conftest import Loader
from tests.fresh import Fresh, difference, open_model
from tokex_gguf.config import EngineOptions
from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.worker import llama as llama_module
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import Entry
from tokex_gguf.engine.worker.logit_math import Logits
from tokex_gguf.play.requests import AHEAD, AT_FIRST, TOGETHER
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.foreseen import Branch, Foreseen, Way
from tokex_gguf.values.tree import Node

STORY = "Once upon a time, in a small village by the sea, there lived an old fisherman and his daughter. One morning"
REPEATED = "The quick brown fox jumps over the lazy dog, and then it sleeps. " * 6


@pytest.mark.parametrize("text", [STORY, REPEATED])
def test_what_is_grown_is_decoded_once(text: str, load: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sequences are short, branches that are gone on from have to be decoded again."""
    model = load()
    evaluator = Evaluator(model)
    path = model.vocabulary.tokenize(text, parse_special=True)
    (chunk,) = evaluator.evaluate(path, len(path) - 1, 100)
    tip, foreseen = Node(None, -1).descend(path), Foreseen()
    tip.attach(chunk.distributions[-1])
    batches: list[tuple[int, int]] = []
    decode = model.decode

    def counted(entries: list[Entry], threads: int = 1) -> Logits:  # on a machine that is busy, two wait for each other
        batches.append((len(entries), sum(entry.wanted for entry in entries)))
        return decode(entries, threads)

    monkeypatch.setattr(model, "decode", counted)
    growth, budget = foreseen.of(tip), EngineOptions().lookahead_tokens
    asked: deque[list[Branch]] = deque()
    known = 0
    while True:
        growth.begin(None, {branch for branches in asked for branch in branches})
        while len(asked) < AHEAD:
            count = TOGETHER if growth.known >= AT_FIRST else AT_FIRST
            if not (wanted := growth.wanted(count, budget, lambda *_: Way.OPEN)):
                break
            asked.append(wanted)
        if not asked:
            break
        branches = asked.popleft()
        found = evaluator.ahead.look(path, [list(branch) for branch in branches], 100)
        assert len(found) == len(branches), "in one batch"
        for branch, distribution in zip(branches, found, strict=True):
            foreseen.attach(tip, branch, distribution)
        known += len(found)
    assert known == budget == sum(rows for _, rows in batches)
    assert sum(entries for entries, _ in batches) <= 1.02 * budget
    assert len(batches) <= 2 + -(-(budget - 2 * AT_FIRST) // TOGETHER)


@pytest.mark.parametrize("cells", [256, 300])
def test_where_the_cells_end_the_context_grows_and_other_prompts_go(
    cells: int, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_module, "FIRST_CONTEXT", cells)
    model = open_model(tiny["qwen2"], 0)
    evaluator, fresh = Evaluator(model), Fresh(tiny["qwen2"])
    path = [token % model.vocabulary.size for token in range(250)]
    list(evaluator.evaluate(path, 249, 5))
    for branches in ([[1] * 9], [[token] for token in range(8)], [[token, 5] for token in range(8)]):
        found = evaluator.ahead.look(path, branches, 5)
        assert len(found) == len(branches)
        for branch, one in zip(branches, found, strict=True):
            assert difference(one, fresh.probabilities([*path, *branch])) < 1e-3


def test_other_prompts_are_given_up_before_it_is_said_that_the_context_is_full(tiny: dict[str, Path]) -> None:
    model = open_model(tiny["qwen2"], 256)
    evaluator = Evaluator(model)
    first, second = ([start, *(token % 60 for token in range(119))] for start in (1, 2))
    for path in (first, second):
        list(evaluator.evaluate(path, 119, 5))
    assert len(evaluator.ahead.look(second, [[token] for token in range(8)], 5)) == 8
    found = list[Distribution]()
    while len(found) < 20:
        found += evaluator.ahead.look(second, [[token, 5] for token in range(len(found), 20)], 5)
    room = [*second, *(token % 50 for token in range(model.context_limit - 121))]
    list(evaluator.evaluate(room, len(room) - 1, 5))
    assert len(evaluator.ahead.look(room, [[1], [2]], 5)) == 1, "for one there is room"
    with pytest.raises(ContextFull):
        evaluator.ahead.look([*room, 1], [[1]], 5)


@pytest.mark.parametrize("name", ["mamba", "jamba"])
def test_looking_far_ahead_leaves_a_recurrent_models_prompt_where_it_is(name: str, tiny: dict[str, Path]) -> None:
    evaluator = Evaluator(open_model(tiny[name], 0))
    path = [token % 60 for token in range(100)]
    (chunk,) = list(evaluator.evaluate(path, 99, 5))[-1:]
    for branch in ([1], [2], [3, 4], [5, 6, 7], [1, 2]):
        evaluator.ahead.look(path, [branch], 5)
    (chunk,) = evaluator.evaluate([*path, 9], 100, 5)
    assert chunk.decoded == 1
