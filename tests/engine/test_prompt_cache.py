"""What stays from one start to the next: the same answers and the same bits of the next decode, or nothing."""

import os
import random
from pathlib import Path

import pytest

from tests.fresh import open_model
from tests.tiny_models import MODELS
from tokex_gguf.engine.kv_folder import KvFolder
from tokex_gguf.engine.worker import prompt_cache
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import Llama
from tokex_gguf.engine.worker.prompt_cache import PromptCache
from tokex_gguf.values.distribution import Distribution

SEED = int(os.environ.get("CACHE_SEED", "1"))
BUDGET = 1 << 30
TOP = 20

Bits = tuple[float, bytes, bytes]


def bits(distribution: Distribution) -> Bits:
    return distribution.entropy_bits, distribution.ids.tobytes(), distribution.logprobs.tobytes()


def tokens(model: Llama, count: int, seed: int = SEED) -> list[int]:
    chance, bos = random.Random(seed), model.vocabulary.bos
    path = [chance.randrange(model.vocabulary.size) for _ in range(count)]
    return path if bos is None else [bos, *path[1:]]


class Start:
    """An engine from its start on, as far as it has to do with the cache."""

    def __init__(self, path: Path, folder: Path, *, context: int = 0, identity: str = "one\nmodel", **how: int) -> None:
        self.model = open_model(path, context)
        kept = KvFolder(folder, identity, whole=not self.model.in_parts)
        self.evaluator = Evaluator(self.model, kept)
        self.cache = PromptCache(self.evaluator, kept, how.get("budget", BUDGET), self.model.vocabulary.size)

    def play(self, path: list[int], start: int = 0, asked: int | None = None) -> tuple[list[Distribution], int]:
        """As the server answers `Evaluate`; returns the distributions, and how many tokens were decoded."""
        found: list[Distribution] = []
        decoded = 0
        for known in self.cache.known(path, start, TOP, 2 * TOP, asked):
            assert known.start == start
            found += known.distributions
            self.cache.heard(path, known.start, known.distributions, known.taken, strict=known.strict)
            start += len(known.distributions)
        if start == len(path):
            return found, 0
        for chunk in self.evaluator.evaluate(path, start, TOP, asked, 2 * TOP):
            assert chunk.start == start
            start += len(chunk.distributions)
            found += chunk.distributions
            decoded += chunk.decoded
            self.cache.heard(path, chunk.start, chunk.distributions, chunk.taken, strict=chunk.strict)
        return found, decoded

    def rest(self) -> None:
        """Nothing is asked for a long time."""
        while self.cache.keep(late=True) is not None:
            if self.cache._writing:
                self.cache._writing.join()
        if self.cache._writing:
            self.cache._writing.join()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of some hundred tokens have several."""
    monkeypatch.setattr(prompt_cache, "MOST", 128)


@pytest.mark.parametrize("name", MODELS)
def test_a_second_start_decodes_nothing_and_then_one_token(name: str, tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny[name], tmp_path)
    path = tokens(first.model, 300)
    told, decoded = first.play(path)
    assert decoded == 300
    first.rest()
    following = first.play([*path, 7], 300)
    second = Start(tiny[name], tmp_path)
    again, decoded = second.play(path)
    assert decoded == 0
    assert list(map(bits, again)) == list(map(bits, told))
    after, decoded = second.play([*path, 7], 300)
    assert decoded == 1
    assert list(map(bits, after)) == list(map(bits, following[0]))
