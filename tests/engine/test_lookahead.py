"""What is grown ahead of a path, as the rules and the engine grow it together: hardly anything is decoded twice."""

from collections import deque

import pytest

from tests.conftest import Loader
from tokex_gguf.config import EngineOptions
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import Entry
from tokex_gguf.engine.worker.logit_math import Logits
from tokex_gguf.play.requests import AHEAD, AT_FIRST, TOGETHER
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
