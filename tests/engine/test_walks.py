"""Random walks through the tree of paths, against a fresh decode by llama.cpp alone.

A walk appends, pops, pastes, switches prompts, looks ahead, goes on with what was looked ahead to and is
interrupted, as players do; after each step the distribution is compared with that of the same path
decoded into an empty cache by a plain loop that shares no code with the engine.

The long form: `pytest -m soak -k walks`; WALK_MODEL=FILE takes another real model for its last test, WALKS
so many walks, WALK_SEED another seed.
"""

import os
import random
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import pytest

from tests.figures import Figure
from tests.fresh import Fresh, Stopper, difference, open_model, tip
from tests.sampling import few
from tests.tiny_models import MODELS
from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.worker import llama as llama_module
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import Interrupted, Llama, default_threads
from tokex_gguf.values.distribution import Distribution

pytestmark = pytest.mark.usefixtures("no_rows")

SEED = int(os.environ.get("WALK_SEED", "1"))
PARTS = 6
"""Parts of the walks of a real model, to be spread over the cores."""
EXACT = 1e-3
PLAYED = 0.02
SMOLLM2 = 0.1


@dataclass
class Walker:
    """One player at one model."""

    model: Llama
    fresh: Fresh
    stop: Stopper
    chance: random.Random
    longest: int
    """Tokens that a path has at the most."""
    top: int
    evaluator: Evaluator = field(init=False)
    worst: float = 0

    def __post_init__(self) -> None:
        for sequence in range(self.model.sequences):
            self.model.cut(sequence, 0)
        self.evaluator = Evaluator(self.model)
        self._prompts = [self._tokens(self.chance.randint(1, self.longest // 2)) for _ in range(3)]
        self._path = self._prompts[0]
        self._tip = self._look()

    def _tokens(self, count: int) -> list[int]:
        bos = self.model.vocabulary.bos
        tokens = [self.chance.randrange(self.model.vocabulary.size) for _ in range(count)]
        return tokens if bos is None else [bos, *tokens[1:]]

    def _compare(self, distribution: Distribution, path: list[int]) -> None:
        self.worst = max(self.worst, difference(distribution, self.fresh.probabilities(path)))

    def _look(self) -> Distribution:
        distribution, self.decoded = tip(self.evaluator, self._path, self.top)
        self._compare(distribution, self._path)
        return distribution

    # --- steps

    def _append(self) -> None:
        self._path = [*self._path, self.chance.choice(self._tip.ids[:10])]
        self._tip = self._look()
        assert self.decoded == 1

    def _paste(self) -> None:
        count = self.chance.choice([2, 5, 63, 64, 65, 100])
        self._path = [*self._path, *self._tokens(count + 1)[1:]][: self.longest]
        self._tip = self._look()

    def _pop(self) -> None:
        self._path = self._path[: -self.chance.choice([1, 1, 1, 2, 3, 10, 40])] or self._path[:1]
        self._tip = self._look()

    def _replace(self) -> None:
        if len(self._path) > 1:
            self._path = [*self._path[:-1], self.chance.randrange(self.model.vocabulary.size)]
            self._tip = self._look()

    def _switch(self) -> None:
        place = self.chance.randrange(len(self._prompts))
        self._prompts[place], self._path = self._path, self._prompts[place]
        self._tip = self._look()

    def _again(self) -> None:
        again, decoded = tip(self.evaluator, self._path, self.top)
        # Where a window has left cells behind, llama.cpp may have given them away.
        assert decoded == 1 or not self.model.can_cut or self.model._window
        self._compare(again, self._path)

    def _whole(self) -> None:
        start = self.chance.randrange(len(self._path))
        chunks = list(self.evaluator.evaluate(self._path, start, self.top))
        distributions = [distribution for chunk in chunks for distribution in chunk.distributions]
        assert len(distributions) == len(self._path) - start
        for position in (start, self.chance.randrange(start, len(self._path))):
            self._compare(distributions[position - start], self._path[: position + 1])

    def _look_ahead(self) -> None:
        tokens = list(self._tip.ids[:4])
        try:
            lookaheads = self.evaluator.ahead.look(self._path, [tokens[:1]], self.top)
            lookaheads += self.evaluator.ahead.look(self._path, [[token] for token in tokens[1:]], self.top)
        except ContextFull:
            return
        assert lookaheads, "where sequences are few, at least the first"
        for token, distribution in zip(tokens, lookaheads, strict=False):
            self._compare(distribution, [*self._path, token])
        if self.chance.random() < 0.7:
            self._path = [*self._path, self.chance.choice(tokens)]
            self._tip = self._look()

    def _grow(self) -> None:
        """Looks ahead to a tree, from a place to the next ones, in a few batches; some are interrupted."""
        known: dict[tuple[int, ...], Distribution] = {(): self._tip}
        for size in (1, 8, 3):
            room = self.longest - len(self._path)
            open_ends = [
                [*branch, token]
                for branch, one in known.items()
                for token in one.ids[:6]
                if (*branch, token) not in known and len(branch) < room
            ]
            branches = self.chance.sample(open_ends, min(size, len(open_ends)))
            self.stop.left = self.chance.randrange(400) if self.chance.random() < 0.2 else None
            while branches:
                try:
                    found = self.evaluator.ahead.look(self._path, branches, self.top)
                except (Interrupted, ContextFull):
                    break
                assert found
                for branch, distribution in zip(branches, found, strict=False):
                    self._compare(distribution, [*self._path, *branch])
                    known[tuple(branch)] = distribution
                branches = branches[len(found) :]
            self.stop.left = None
        if self.chance.random() < 0.7:
            self._path = [*self._path, *self.chance.choice(list(known))]
            self._tip = self._look()

    def _interrupt(self) -> None:
        """Asks for something and takes it back in the middle."""
        path = [*self._path, *self._tokens(self.chance.choice([2, 30, 100]))[1:]][: self.longest]
        # A recurrent model asks once for each batch, the others for each step of the computation.
        self.stop.left = self.chance.randrange(400 if self.model.can_cut else 3)
        try:
            if self.chance.random() < 0.3:
                self.evaluator.ahead.look(self._path, [[token] for token in self._tip.ids[:3]], self.top)
            else:
                tip(self.evaluator, path, self.top)
        except (Interrupted, ContextFull):
            pass
        self.stop.left = None
        if self.chance.random() < 0.5:
            self._path = path
        self._tip = self._look()

    def walk(self, steps: int) -> None:
        kinds = {
            self._append: 6,
            self._pop: 5,
            self._paste: 1,
            self._replace: 2,
            self._switch: 2,
            self._again: 1,
            self._whole: 1,
            self._look_ahead: 3,
            self._grow: 1,
            self._interrupt: 2,
        }
        for _ in range(steps):
            (step,) = self.chance.choices(list(kinds), list(kinds.values()))
            if len(self._path) >= self.longest:
                step = self._pop
            step()


def walks(
    path: Path, numbers: range, steps: int, figure: Figure, *, context: int, longest: int, top: int, threads: int = 1
) -> float:
    """Makes walks and tells of them; returns the largest difference."""
    stop, worst = Stopper(), 0.0
    fresh = Fresh(path, threads=threads)
    model = open_model(path, context, stop, threads)
    for number in numbers:
        fresh.size = (64, 1)[number % 2]
        if context == 0:
            model = open_model(path, context, stop, threads)  # one that has not grown
        walker = Walker(model, fresh, stop, random.Random(f"{SEED}-{number}"), longest, top)
        walker.walk(steps)
        worst = max(worst, walker.worst)
    fresh.close()
    figure(len(numbers), "walks", seed=SEED, steps_of_each=steps, largest_difference=worst)
    return worst


def exact_for(name: str) -> float:
    """The tolerance in float32. In a mixture, rounding chooses another expert where two are next to equal."""
    return 0.01 if name == "mixture" else EXACT


CONTEXTS = {"evicting": (256, 200), "growing": (0, 600), "roomy": (1000, 300)}
"""Cells, and the longest path: cells run out; the context grows from 256; sequences run out."""


def tiny_walks(path: Path, kind: str, count: int, steps: int, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> float:
    monkeypatch.setattr(llama_module, "FIRST_CONTEXT", 256)
    context, longest = CONTEXTS[kind]
    return walks(path, range(count), steps, figure, context=context, longest=longest, top=1000)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize(("name", "kind"), few(list(zip(MODELS, cycle(CONTEXTS), strict=False)), of=3))
def test_walks(name: str, kind: str, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    assert tiny_walks(tiny[name], kind, 2, 30 if kind == "evicting" else 15, monkeypatch, figure) < exact_for(name)


@pytest.mark.soak
@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("kind", CONTEXTS)
@pytest.mark.parametrize("name", MODELS)
def test_many_walks(
    name: str, kind: str, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    assert tiny_walks(tiny[name], kind, 16, 60, monkeypatch, figure) < exact_for(name)


@pytest.mark.soak
@pytest.mark.parametrize("name", [name for name in MODELS if name != "mixture"])
def test_many_walks_as_played(
    name: str, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    """With flash attention. Not the mixture: a little more or less chooses another expert."""
    assert tiny_walks(tiny[name], "evicting", 20, 60, monkeypatch, figure) < PLAYED


@pytest.mark.thorough
def test_walks_of_a_real_model(model_path: Path, figure: Figure) -> None:
    worst = walks(model_path, range(1), 6, figure, context=256, longest=60, top=100, threads=default_threads())
    assert worst < SMOLLM2


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_many_walks_of_a_real_model(part: int, model_path: Path, figure: Figure) -> None:
    each = int(os.environ.get("WALKS", "102")) // PARTS
    numbers = range(part * each, (part + 1) * each)
    path = Path(os.environ.get("WALK_MODEL", model_path))
    assert walks(path, numbers, 10, figure, context=256, longest=90, top=100, threads=default_threads()) < SMOLLM2
