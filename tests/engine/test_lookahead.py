"""What is grown ahead of a path, as the rules and the engine grow it together: hardly anything is decoded twice."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Loader
from tests.fake import Play
from tests.fresh import Fresh, difference, open_model
from tests.sampling import few
from tokex_gguf.config import EngineOptions
from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.protocol import (
    Applied,
    Apply,
    Evaluate,
    Evaluated,
    Lookahead,
    LookaheadDone,
    Reply,
    Request,
    Tokenize,
    Tokenized,
)
from tokex_gguf.engine.worker import llama as llama_module
from tokex_gguf.engine.worker import logits_cache
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import BatchEntry
from tokex_gguf.engine.worker.logit_math import Logits
from tokex_gguf.engine.worker.logits_cache import LogitsRow, RowsAhead
from tokex_gguf.engine.worker.server import ROWS, WIDE_BRANCHES
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Sampling
from tokex_gguf.play.requests import BRANCHES_TOGETHER, FIRST_BRANCHES, REQUESTS_AHEAD
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.lookahead import LookaheadResults, TokenBranch, Way
from tokex_gguf.values.samplers import DEFAULT, Chain, Kind, Sampler
from tokex_gguf.values.tree import Node

STORY = "Once upon a time, in a small village by the sea, there lived an old fisherman and his daughter. One morning"
REPEATED = "The quick brown fox jumps over the lazy dog, and then it sleeps. " * 6


@pytest.mark.parametrize("text", few([STORY, REPEATED], of=2))
def test_what_is_grown_is_decoded_once(text: str, load: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sequences are short, branches that are gone on from have to be decoded again."""
    model = load()
    evaluator = Evaluator(model)
    path = model.vocabulary.tokenize(text, parse_special=True)
    (chunk,) = evaluator.evaluate(path, len(path) - 1, 100)
    tip, results = Node(None, -1).descend(path), LookaheadResults()
    tip.attach(chunk.distributions[-1])
    batches: list[tuple[int, int]] = []
    decode = model.decode

    def counted(
        entries: list[BatchEntry], threads: int = 1
    ) -> Logits:  # on a machine that is busy, two wait for each other
        batches.append((len(entries), sum(entry.wanted for entry in entries)))
        return decode(entries, threads)

    monkeypatch.setattr(model, "decode", counted)
    lookahead, budget = results.tree_at(tip), EngineOptions().lookahead_tokens
    asked: deque[list[TokenBranch]] = deque()
    known = 0
    while True:
        lookahead.begin(None, {branch for branches in asked for branch in branches})
        while len(asked) < REQUESTS_AHEAD:
            count = BRANCHES_TOGETHER if lookahead.known >= FIRST_BRANCHES else FIRST_BRANCHES
            if not (wanted := lookahead.wanted(count, budget, lambda *_: Way.OPEN)):
                break
            asked.append(wanted)
        if not asked:
            break
        branches = asked.popleft()
        found = evaluator.ahead.look(path, [list(branch) for branch in branches], 100)
        assert len(found) == len(branches), "in one batch"
        for branch, distribution in zip(branches, found, strict=True):
            results.attach(tip, branch, distribution)
        known += len(found)
    assert known == budget == sum(rows for _, rows in batches)
    assert sum(entries for entries, _ in batches) <= 1.02 * budget
    assert len(batches) <= 2 + -(-(budget - 2 * FIRST_BRANCHES) // BRANCHES_TOGETHER)


class Real(Play):
    """A game whose numbers are a real model's, with what it decodes for keys."""

    def __init__(self, evaluator: Evaluator, path: list[int], lens: Chain) -> None:
        self._evaluator, self._path = evaluator, path
        self.decodes: list[int] = []
        super().__init__("", lookahead=EngineOptions().lookahead, lookahead_tokens=60)
        self.session = replace(self.session, game=replace(self.session.game, sampling=Sampling(lens, None, 1)))
        self.answer()

    def reply(self, request: Request) -> Reply | None:
        if isinstance(request, Tokenize):
            return Tokenized(request.request, self._path, {})
        if isinstance(request, Evaluate):
            path, top = request.path, max(request.top, request.last_top)
            chunks = list(self._evaluator.evaluate(path, request.start, request.top, request.asked, top))
            self.decodes.append(sum(one.decoded for one in chunks))
            told = [one for chunk in chunks for one in chunk.distributions]
            taken = [one for chunk in chunks for one in chunk.taken]
            return Evaluated(request.request, request.start, told, taken, {}, self.decodes[-1], 0.01, 4096)
        if isinstance(request, Apply):
            view, decoded = self._evaluator.apply(request.path, request.lens, request.tokens, request.top)
            self.decodes.append(decoded)
            return Applied(request.request, view, {}, decoded, 0.01)
        return super().reply(request)

    def replies(self, request: Request) -> Iterator[Reply]:
        if not isinstance(request, Lookahead):
            yield from super().replies(request)
            return
        branches = request.branches
        together = 1 if len(branches) < WIDE_BRANCHES else ROWS
        while branches:
            found = self._evaluator.ahead.look(request.path, branches[:together], request.top)
            yield LookaheadDone(request.request, branches[: len(found)], found, {})
            branches, together = branches[len(found) :], ROWS


@pytest.mark.thorough
@pytest.mark.parametrize("text", [STORY, REPEATED])
def test_going_on_through_samplers_decodes_nothing_that_was_looked_ahead_to(
    text: str, load: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load()
    for name, count in (("MOST_BYTES", 13), ("BYTES_AHEAD", 26)):  # as many as there are with a large vocabulary
        monkeypatch.setattr(logits_cache, name, count * 4 * model.vocabulary.size)
    play = Real(Evaluator(model), model.vocabulary.tokenize(text, parse_special=True), DEFAULT)
    depth = play.session.game.prompt.tip.depth
    for rows in (0, 0, 0, 2):
        play.press(*[Action.DOWN] * rows)
        play.decodes.clear()
        play.press(Action.APPEND)
        assert play.session.view is not None and play.session.game.ready
        assert play.decodes == [0], "its table is known, and its view costs no decode"
    assert play.session.game.prompt.tip.depth == depth + 4


def test_a_view_of_what_was_looked_ahead_to_is_of_what_the_table_shows_and_a_draw_is_not(tiny: dict[str, Path]) -> None:
    evaluator = Evaluator(open_model(tiny["qwen2"], 0))
    path = [token % 60 for token in range(100)]
    list(evaluator.evaluate(path, 99, 5))
    told = evaluator.ahead.look(path, [[token] for token in range(16)], 5)[3]
    lens = Sampled(Chain((Sampler.of(Kind.TOP_K, 5),)))
    view, decoded = evaluator.apply([*path, 3], lens, [], 5)
    whole = math.fsum(map(math.exp, told.logprobs))
    assert decoded == 0 and list(view.likeliest) == list(told.ids)
    for token, logprob in zip(told.ids, told.logprobs, strict=True):
        assert view.verdicts[token].final == pytest.approx(math.exp(logprob) / whole, rel=1e-5)
    *_, decoded = evaluator.roll([*path, 3], lens, [0.5])
    assert decoded == 1, "what a seed draws does not depend on what was looked ahead to"


def test_rows_that_the_fewest_keys_lead_to_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logits_cache, "BYTES_AHEAD", 3 * 4 * 2)
    rows, row = RowsAhead(2), LogitsRow(np.zeros(2, np.float32), 0.0)

    def kept() -> list[int]:
        return [token for token in range(9) if rows.of([0, token])]

    for token, keys in ((1, 4), (2, 2), (3, 3), (4, 5), (5, 1), (5, 9)):
        rows.keep([0, token], row, keys)
    assert kept() == [2, 3, 5]
    rows.move([0, 2], lambda branch: len(branch))
    assert kept() == [2, 3, 5], "who goes back finds them"
    rows.keep([0, 6], row, 7)
    rows.keep([0, 7], row, 7)
    assert kept() == [2, 6, 7]
    rows.move([0, 2, 8, 8], lambda branch: len(branch))
    for token in range(3):
        rows.keep([0, 2, 8, 8, token], row, 3)
    assert kept() == [2], "two keys lead back there"


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
