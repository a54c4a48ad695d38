"""What stays from one start to the next: the same answers and the same bits of the next decode, or nothing.

The long form: `pytest -m soak -k several_starts`; CACHE_SEED gives another seed.
"""

import os
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_strict import bits, tokens
from tests.engine.test_walks import exact_for
from tests.figures import Figure
from tests.fresh import Fresh, difference, open_model
from tests.sampling import few
from tests.tiny_models import MODELS
from tokex_gguf.engine.capacity import ContextFull
from tokex_gguf.engine.kv_file import KvPart
from tokex_gguf.engine.kv_folder import KvFolder, Link
from tokex_gguf.engine.worker import prompt_cache
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import BatchEntry, Interrupted
from tokex_gguf.engine.worker.logit_math import Logits
from tokex_gguf.engine.worker.prompt_cache import PromptCache
from tokex_gguf.values.distribution import Distribution

SEED = int(os.environ.get("CACHE_SEED", "1"))
BUDGET = 1 << 30
TOP = 20


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
        early: list[Distribution] = []
        for known in self.cache.answers(path, start, TOP, 2 * TOP, asked):
            if known.start > start:
                assert not early and not found and known.start == len(path) - 1
                early = known.distributions
                continue
            assert known.start == start
            found += known.distributions
            self.cache.note_answers(path, known.start, known.distributions, known.taken, strict=known.strict)
            start += len(known.distributions)
        assert not early or list(map(bits, found[-1:])) == list(map(bits, early)), (
            "the table's answer comes first, and again in its place"
        )
        if start == len(path):
            return found, 0
        for chunk in self.evaluator.evaluate(path, start, TOP, asked, 2 * TOP):
            assert chunk.start == start
            start += len(chunk.distributions)
            found += chunk.distributions
            decoded += chunk.decoded
            self.cache.note_answers(path, chunk.start, chunk.distributions, chunk.taken, strict=chunk.strict)
        return found, decoded

    def rest(self) -> None:
        """Nothing is asked for a long time."""
        for _ in range(200):
            if self.cache.write_next(late=True) is None:
                break
            if self.cache._writing:
                self.cache._writing.join()
        else:
            raise AssertionError("it writes for ever")
        if self.cache._writing:
            self.cache._writing.join()


def never() -> bool:
    """Nothing is asked for meanwhile."""
    return False


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of some hundred tokens have several."""
    monkeypatch.setattr(prompt_cache, "LARGEST_PART", 128)


@pytest.mark.parametrize("name", few(MODELS, of=4))
def test_a_second_start_decodes_nothing_and_then_one_token(name: str, tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny[name], tmp_path)
    path = tokens(first.model, 300)
    told, decoded = first.play(path)
    assert decoded == 300
    first.rest()
    following = first.play([*path, 7], 300)
    second = Start(tiny[name], tmp_path)
    assert next(second.cache.answers(path, 0, TOP, 2 * TOP, None)).start == len(path) - 1, "the table comes first"
    again, decoded = second.play(path)
    assert decoded == 0
    assert list(map(bits, again)) == list(map(bits, told))
    after, decoded = second.play([*path, 7], 300)
    assert decoded == 1
    assert list(map(bits, after)) == list(map(bits, following[0]))


# --- answers


def test_what_is_longer_shorter_or_parts_needs_only_what_is_not_there(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 300)
    first.play(path)
    first.rest()
    other = tokens(first.model, 300, SEED + 1)

    def decoded(asked: list[int], start: int = 0, last: int | None = None) -> int:
        again = Start(tiny["qwen2"], tmp_path)
        found, count = again.play(asked, start, last)
        assert len(found) == len(asked) - start
        return count

    assert decoded([*path, *other[:50]]) in (50, 51), "what was said of the first new token may have to be asked"
    assert decoded(path[:200]) <= 1, "at the end more candidates are asked for than inside"
    assert decoded([*path[:200], *other[:50]]) in (50, 51)
    assert decoded([*path[:128], *other[:50]]) in (50, 51)
    assert decoded(path, 100) == 0
    assert decoded(path, 0, 3) <= 1
    assert decoded(other) == 300


def test_fewer_candidates_are_the_same_and_more_are_computed(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 150)
    told, _ = first.play(path)
    first.rest()
    second = Start(tiny["qwen2"], tmp_path)
    (known, *_) = second.cache.answers(path, 0, 5, 5, None)
    assert [list(one.ids) for one in known.distributions] == [list(one.ids[:5]) for one in told[: len(known.taken)]]
    assert not list(second.cache.answers(path, 0, TOP + 1, 2 * TOP, None))
    monkeypatch.setattr(f"{__name__}.TOP", TOP + 5)
    assert second.play(path)[1] == 150
    second.rest()
    assert Start(tiny["qwen2"], tmp_path).play(path)[1] == 0, "those with more candidates took their place"


def test_the_taken_of_a_token_is_exact_wherever_it_comes_from(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 130)
    whole = [one for chunk in first.evaluator.evaluate(path, 0, TOP) for one in chunk.taken]
    first.play(path)
    first.rest()
    second = Start(tiny["qwen2"], tmp_path)
    assert [one for known in second.cache.answers(path, 0, TOP, TOP, None) for one in known.taken] == whole
    for token in range(first.model.vocabulary.size):
        (expected,) = [chunk.taken[-1] for chunk in first.evaluator.evaluate(path, 129, TOP, token)]
        *_, last = second.cache.answers(path, 0, TOP, TOP, token)
        if last.start + len(last.distributions) == 130:
            assert last.taken[-1] == expected


def test_a_search_at_the_end_reads_the_row_that_was_shown(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 130)
    first.play(path)
    first.rest()
    row = first.evaluator.cached_row(path)
    second = Start(tiny["qwen2"], tmp_path)
    second.play(path)
    again, decoded = second.evaluator.row(path)
    assert row is not None and decoded == 0
    assert (again.logits.tobytes(), again.log_sum, again.strict) == (row.logits.tobytes(), row.log_sum, row.strict)


# --- cells


@pytest.mark.parametrize("name", few(MODELS, of=4))
def test_strict_answers_have_the_same_bits_and_cells_that_are_not_strict_are_not_taken_for_such(
    name: str, tiny: dict[str, Path], tmp_path: Path
) -> None:
    first = Start(tiny[name], tmp_path)
    path = tokens(first.model, 200)
    first.play(path[:150])
    for end in range(151, 201):  # token by token: not strict
        first.play(path[:end], end - 1)
    first.rest()
    truth = [bits(one) for chunk in Start(tiny[name], tmp_path / "none").evaluator.strict.evaluate(path, 0, TOP)
             for one in chunk.distributions]  # fmt: skip
    second = Start(tiny[name], tmp_path)
    chunks = list(second.evaluator.strict.evaluate(path, 195, TOP))
    if second.model.can_cut:
        assert [bits(one) for chunk in chunks for one in chunk.distributions] == truth[195:]
    if second.model.in_parts:
        assert sum(chunk.decoded for chunk in chunks) < 200 - 128 + 1, "the first parts were strict"


def test_cells_are_read_into_a_context_that_has_to_grow_or_is_full_of_others(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokex_gguf.engine.worker import llama as llama_module

    monkeypatch.setattr(llama_module, "FIRST_CONTEXT", 256)
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 500)
    first.play(path)
    expected = list(map(bits, first.play([*path, 7], 500)[0]))
    first.rest()
    growing = Start(tiny["qwen2"], tmp_path)
    assert growing.model.cells == 256
    found, decoded = growing.play([*path, 7], 500)
    assert (list(map(bits, found)), decoded) == (expected, 1)
    full = Start(tiny["qwen2"], tmp_path, context=600)
    for seed in range(5):
        full.play(tokens(full.model, 110, SEED + 10 + seed))
    found, decoded = full.play([*path, 7], 500)
    assert decoded == 1
    assert list(found[0].ids[:5]) == list(growing.play([*path, 7], 500)[0][0].ids[:5])
    short = Start(tiny["qwen2"], tmp_path, context=300)
    with pytest.raises(ContextFull):
        short.play([*path, 7], 500)


def test_lookahead_goes_on_from_cells_on_the_disk(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 200)
    first.play(path)
    first.rest()
    expected = first.evaluator.ahead.look(path, [[5], [6], [7]], TOP)
    second = Start(tiny["qwen2"], tmp_path)
    second.play(path)
    counted = Counted(second, monkeypatch)
    assert list(map(bits, second.evaluator.ahead.look(path, [[5], [6], [7]], TOP))) == list(map(bits, expected))
    assert counted.tokens == 3


@pytest.mark.parametrize("name", few(MODELS, of=4))
def test_a_path_that_is_named_is_ready_before_it_is_gone_on_from(
    name: str, tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Start(tiny[name], tmp_path)
    path = tokens(first.model, 300)
    first.play(path)
    first.rest()
    expected = list(map(bits, first.play([*path, 7], 300)[0]))
    second = Start(tiny[name], tmp_path)
    second.cache.note_path(path)
    assert second.cache.cold
    with monkeypatch.context() as patch:
        counted = Counted(second, patch)
        second.cache.warm_up(never)
        assert counted.tokens == 1, "and that token is dropped"
    assert not second.cache.cold
    held = second.evaluator.cells.cached(path)
    assert held is not None and held.length == len(path)
    reading = Reads(second, monkeypatch)
    found, decoded = second.play([*path, 7], 300)
    assert (list(map(bits, found)), decoded) == (expected, 1)
    assert not reading.parts, "the cells are there"
    second.cache.note_path([*path, 7])
    second.cache.warm_up(never)
    assert not reading.parts


def test_a_key_ends_the_reading_of_what_is_only_made_ready(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 500)
    first.play(path)
    expected = list(map(bits, first.play([*path, 7], 500)[0]))
    first.rest()
    second = Start(tiny["qwen2"], tmp_path)
    reading = Reads(second, monkeypatch)
    second.cache.note_path(path)
    second.cache.warm_up(lambda: len(reading.parts) == 2)
    held = second.evaluator.cells.cached(path)
    assert held is not None and 0 < held.length < len(path)
    assert len(reading.parts) == 2
    second.model._abort.asked = True
    with pytest.raises(Interrupted):
        list(second.cache.answers(path, 0, TOP, 2 * TOP, None))
    second.model._abort.asked = False
    found, decoded = second.play([*path, 7], 500)
    assert (list(map(bits, found)), decoded) == (expected, 1)


@pytest.mark.parametrize("name", few(MODELS, of=4))
def test_a_prompt_is_kept_though_lookahead_has_taken_all_sequences(
    name: str, tiny: dict[str, Path], tmp_path: Path
) -> None:
    first = Start(tiny[name], tmp_path)
    path = tokens(first.model, 100)
    first.play(path)
    cells = first.evaluator.cells
    held = cells.cached(path)
    assert held
    for one in range(first.model.sequences):  # as branches do, and what the prompt was before
        if not cells.sequences.held(one):
            first.model.copy(held.sequence, one, len(path))
            cells.sequences.hold(one, path)
            cells.sequences.branches += [one] * (one % 2)
    assert cells.sequences.free() == 0
    first.rest()
    following = first.play([*path, 7], len(path))[0]
    second = Start(tiny[name], tmp_path)
    assert second.play(path)[1] == 0
    after, decoded = second.play([*path, 7], len(path))
    assert decoded == 1
    assert list(map(bits, after)) == list(map(bits, following)) or not first.model.in_parts


def test_a_prompt_whose_cells_cannot_be_had_is_kept_once_they_can(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 400)
    first.play(path[:300])
    with monkeypatch.context() as patch:
        patch.setattr(first.evaluator.cells, "take", lambda *_: None)
        first.rest()
    assert not list(tmp_path.glob("*/*.kv"))
    first.play(path, 300)
    first.rest()
    assert Start(tiny["qwen2"], tmp_path).play([*path, 7], 400)[1] == 1


@pytest.mark.parametrize("name", ["mamba", "qwen2"])
def test_a_recurrent_state_counts_as_large_as_it_is(name: str, tiny: dict[str, Path], tmp_path: Path) -> None:
    start = Start(tiny[name], tmp_path)
    path, sizes = tokens(start.model, 640), list[int]()
    for end in (64, 640):
        start.play(path[:end], min(end, 64) - 1)
        held = start.evaluator.cells.cached(path)
        assert held is not None and held.length == end
        sizes.append(start.evaluator.cells.bytes_of(held, end))
    assert sizes[1] == pytest.approx(sizes[0] if name == "mamba" else 10 * sizes[0], rel=0.1)


class Reads:
    """Counts the parts whose cells a start puts back."""

    def __init__(self, start: Start, patch: pytest.MonkeyPatch) -> None:
        self.parts: list[int] = []
        put = start.evaluator.cells._append

        def counting(target: int, link: Link, state: memoryview) -> bool:
            self.parts.append(link.shared)
            return put(target, link, state)

        patch.setattr(start.evaluator.cells, "_append", counting)


class Counted:
    """Counts what a start decodes."""

    def __init__(self, start: Start, patch: pytest.MonkeyPatch) -> None:
        self.tokens = 0
        decode = start.model.decode

        def counting(entries: list[BatchEntry], threads: int = 0) -> Logits:
            self.tokens += len(entries)
            return decode(entries, threads)

        patch.setattr(start.model, "decode", counting)


def test_a_prompt_that_grows_by_keys_is_kept_with_its_answers(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 100)
    first.play(path)
    for _ in range(40):
        *_, tip = first.play(path, len(path) - 1)[0]
        (ahead,) = first.evaluator.ahead.look(path, [[tip.most_likely]], 2 * TOP)
        first.cache.note_lookahead(path, [[tip.most_likely]], [ahead])
        path = [*path, tip.most_likely]
        if len(path) % 7 == 0:
            first.rest()
    first.play(path, len(path) - 1)
    first.rest()
    second = Start(tiny["qwen2"], tmp_path)
    assert second.play(path)[1] == 0
    assert second.play([*path, 3], len(path))[1] == 1


@pytest.mark.parametrize("name", few(MODELS, of=4))
def test_a_token_that_warms_up_changes_no_bit(
    name: str, tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, warm = Start(tiny[name], tmp_path / "a"), Start(tiny[name], tmp_path / "b")
    path = tokens(first.model, 150)
    warm.cache.warm_up(never)
    assert warm.evaluator.cells.cached(path) is None
    for start in (0, 149):
        (told, decoded), (again, as_many) = first.play(path, start), warm.play(path, start)
        assert (list(map(bits, again)), as_many) == (list(map(bits, told)), decoded)
    with monkeypatch.context() as patch:
        counted = Counted(warm, patch)
        warm.cache.warm_up(never)
        assert counted.tokens == 0, "it is warm"
    strict = [[bits(one) for chunk in start.evaluator.strict.evaluate(path, 0, TOP) for one in chunk.distributions]
              for start in (first, warm)]  # fmt: skip
    assert strict[0] == strict[1]


def test_many_paths_share_their_beginning(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 300)
    paths = [[*path, *tokens(first.model, 70, SEED + seed)[1:]] for seed in range(1, 4)]
    first.play(path)
    for one in paths:
        first.play(one, 299)
    first.rest()
    assert sum(name.name.startswith("0-128-") for name in tmp_path.glob("*/*")) == 1
    second = Start(tiny["qwen2"], tmp_path)
    for one in paths:
        assert second.play(one)[1] == 0
        assert second.play([*one, 3], len(one))[1] == 1


# --- faults


def test_cells_that_are_damaged_are_decoded_and_removed(
    tiny: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 300)
    first.play(path)
    expected = Fresh(tiny["qwen2"]).probabilities([*path, 7])
    first.rest()
    capfd.readouterr()
    for start in (0, 128, 256):
        (damaged,) = tmp_path.glob(f"*/{start}-*.kv")
        before = damaged.read_bytes()
        damaged.write_bytes(before[:-9] + bytes([before[-9] ^ 1]) + before[-8:])
        second = Start(tiny["qwen2"], tmp_path)
        found, decoded = second.play([*path, 7], 300)
        assert decoded > 1 and difference(found[-1], expected) < 1e-3
        assert not damaged.exists()
        second.rest()
        assert len(list(tmp_path.glob("*/*.kv"))) == 3, "it is written again"
        assert sum("passed over" in line for line in capfd.readouterr().err.splitlines()) == 1


def test_another_model_way_or_quantisation_finds_nothing(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 100)
    first.play(path)
    first.rest()
    assert Start(tiny["qwen2"], tmp_path, identity="two\nmodel").play(path)[1] == 100
    (place,) = (one for one in tmp_path.iterdir() if list(one.glob("*.kv")))
    other = KvFolder(tmp_path, "two\nmodel", whole=False).place
    other.mkdir(exist_ok=True)
    for file in place.iterdir():
        file.rename(other / file.name)  # as if the names of two folders were the same
    assert Start(tiny["qwen2"], tmp_path, identity="two\nmodel").play(path)[1] == 100


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), OSError(30, "Read-only file system")])
def test_what_cannot_be_written_is_told_once_and_play_goes_on(
    fault: OSError, tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fails(*_: object) -> None:
        raise fault

    monkeypatch.setattr("tokex_gguf.engine.kv_file.write", fails)
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 100)
    capfd.readouterr()
    for seed in range(3):
        first.play([*path, *tokens(first.model, 50, seed)])
        first.rest()
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("cache:")]
    assert len(told) == 1 and str(fault.strerror) in told[0]
    assert not list(tmp_path.rglob("*.kv")) and not list(tmp_path.rglob(".saving-*"))


def test_a_place_that_is_no_folder_is_no_fault(tiny: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    first = Start(tiny["qwen2"], tmp_path / "file")
    path = tokens(first.model, 100)
    assert first.play(path)[1] == 100
    first.rest()
    assert (tmp_path / "file").read_text() == "no folder"


def test_short_prompts_are_not_kept_and_large_ones_without_their_cells(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path, budget=100_000)
    first.play(tokens(first.model, 60))
    first.rest()
    assert not list(tmp_path.rglob("*.kv"))
    path = tokens(first.model, 300)
    first.play(path)
    first.rest()
    second = Start(tiny["qwen2"], tmp_path)
    assert second.play(path)[1] == 0
    assert second.play([*path, 3], 300)[1] > 1


def test_what_the_budget_has_no_room_for_goes(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path, budget=400_000)
    for seed in range(8):
        first.play(tokens(first.model, 120, seed))
        first.rest()
        assert sum(file.stat().st_size for file in tmp_path.rglob("*.kv")) <= 400_000
    assert Start(tiny["qwen2"], tmp_path).play(tokens(first.model, 120, 7))[1] == 0


def test_cells_that_lead_to_no_numbers_are_removed(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 300)
    first.play(path)
    first.rest()
    second = Start(tiny["qwen2"], tmp_path)
    second.cache.forget([*path[:200], 1, 2, 3])
    assert [file.name[:8] for file in tmp_path.glob("*/*.kv")] == ["256-300-"], "nothing leads there any more"
    assert second.play(path)[1] == 300


def test_of_long_paths_answers_are_not_held_twice(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_cache, "LONG_PATH", 100)
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 300)
    first.play(path)
    first.rest()
    assert first.cache._played[0].answers[:256] == [None] * 256
    first.play([*path, 3], 300)
    first.rest()
    assert Start(tiny["qwen2"], tmp_path).play([*path, 3])[1] <= 2


GROWS_BY = 15
"""Tokens."""


@pytest.mark.parametrize("budget", few([20_000, 60_000, 150_000, 400_000, BUDGET], of=3))
def test_what_has_no_room_is_not_written_again_and_again(
    budget: int, tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Start(tiny["qwen2"], tmp_path, budget=budget)
    written: list[int] = []
    keep = start.cache._folder.keep

    def counted(part: KvPart, *rest: Any) -> None:
        written.append(len(part.tokens))
        keep(part, *rest)

    monkeypatch.setattr(start.cache._folder, "keep", counted)
    paths = [tokens(start.model, 390, seed) for seed in range(3)]
    for path in paths:
        start.play(path)
        start.rest()
    first = sum(written)
    assert first <= 2 * sum(map(len, paths)), "each at the most once more"
    for number in range(GROWS_BY):
        paths[0] = [*paths[0], number]
        start.play(paths[0], len(paths[0]) - 1)
        start.rest()
    # Of a path that grows, its last part is written again, and all of it at the most once.
    assert sum(written) - first <= GROWS_BY * 128 + 2 * len(paths[0])


# --- walks


def several_starts(path: Path, folder: Path, seed: int, steps: int) -> tuple[float, int]:
    """Plays at random, starts again at random, and damages files at random.

    Returns the largest difference from a fresh decode, and how many tokens did not have to be decoded.
    """
    chance = random.Random(f"{SEED}-{seed}")
    fresh = Fresh(path)
    start = Start(path, folder, context=chance.choice([0, 512, 1000]), budget=chance.choice([BUDGET, 400_000]))
    prompts = [tokens(start.model, chance.randint(1, 350), chance.randrange(10**6)) for _ in range(3)]
    worst, saved, before = 0.0, 0, prompts[0]
    for _ in range(steps):
        kind = chance.choice(["append", "append", "pop", "paste", "switch", "whole", "rest", "rest", "start", "damage"])
        if kind == "append":
            before = [*before, chance.randrange(start.model.vocabulary.size)]
        elif kind == "pop":
            before = before[: -chance.choice([1, 3, 50, 150])] or before[:1]
        elif kind == "paste":
            before = [*before, *tokens(start.model, 70, chance.randrange(10**6))[1:]][:400]
        elif kind == "switch":
            place = chance.randrange(len(prompts))
            prompts[place], before = before, prompts[place]
        elif kind == "rest":
            start.rest()
        elif kind == "start":
            kept, context = chance.choice([BUDGET, 400_000]), chance.choice([0, 512, 1000])
            start = Start(path, folder, context=context, budget=kept)
        elif kind == "damage" and (files := list(folder.glob("*/*.kv"))):
            file = chance.choice(files)
            data = bytearray(file.read_bytes())
            data[chance.randrange(len(data))] ^= chance.randint(1, 255)
            file.write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
        first = 0 if kind in ("whole", "start", "switch") else len(before) - 1
        found, decoded = start.play(before, first)
        saved += len(before) - decoded if first == 0 else 0
        assert len(found) == len(before) - first
        for place in {first, chance.randrange(first, len(before)), len(before) - 1}:
            worst = max(worst, difference(found[place - first], fresh.probabilities(before[: place + 1])))
        if chance.random() < 0.3:
            likely, ahead = list(found[-1].ids[:3]), list[Distribution]()
            with suppress(ContextFull):  # a window's cells may be full of what it has left behind
                ahead = start.evaluator.ahead.look(before, [[one] for one in likely], TOP)
            for token, one in zip(likely, ahead, strict=False):
                worst = max(worst, difference(one, fresh.probabilities([*before, token])))
    fresh.close()
    return worst, saved


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", few(MODELS, of=4))
def test_several_starts(name: str, tiny: dict[str, Path], tmp_path: Path, figure: Figure) -> None:
    worst, saved = several_starts(tiny[name], tmp_path, 0, 40)
    figure(40, "steps over several starts", seed=SEED, largest_difference=worst, tokens_not_decoded=saved)
    assert worst < exact_for(name) and saved > 0


@pytest.mark.soak
@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", MODELS)
def test_many_walks_over_several_starts(name: str, tiny: dict[str, Path], tmp_path: Path, figure: Figure) -> None:
    for seed in range(1, 13):
        worst, saved = several_starts(tiny[name], tmp_path / str(seed), seed, 80)
        figure(80, "steps over several starts", seed=SEED, largest_difference=worst, tokens_not_decoded=saved)
        assert worst < exact_for(name), f"walk {seed}"
