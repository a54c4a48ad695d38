"""Strict answers of the start before: the same bits as computed anew, without a decode, or none."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_prompt_cache import TOP, Start
from tests.engine.test_strict import Bits, bits, tokens
from tests.figures import Figure
from tests.sampling import few
from tests.tiny_models import MODELS
from tokex_gguf.engine.worker import strict_cache
from tokex_gguf.engine.worker.llama import Interrupted

SEED = 1


def strictly(start: Start, path: list[int], first: int, top: int = TOP) -> tuple[list[Bits], list[Any], int]:
    """As the server answers `EvaluateStrictly`: the distributions, the tokens taken, and how many were decoded."""
    found, taken, decoded = list[Bits](), list[Any](), 0
    for known in start.cache.strict_answers(path, first, top):
        assert known.strict and known.start == first
        found += map(bits, known.distributions)
        taken += known.taken
        first = known.end
    if first < len(path):
        for chunk in start.evaluator.strict.evaluate(path, first, top):
            start.cache.note_strictly(path, chunk)
            found += map(bits, chunk.distributions)
            taken += chunk.taken
            decoded += chunk.decoded
    return found, taken, decoded


def edited(path: list[int], at: int) -> list[int]:
    return [*path[:at], path[at] + 1, *path[at + 1 :]]


@pytest.mark.parametrize("name", few(MODELS, of=4))
def test_a_comparison_of_the_start_before_is_there_without_a_decode(
    name: str, tiny: dict[str, Path], tmp_path: Path
) -> None:
    first = Start(tiny[name], tmp_path)
    a = tokens(first.model, 90)
    b = edited(a, 40)
    told = [strictly(first, one, 39) for one in (a, b)]
    difference, _ = first.evaluator.strict.compare(a, b, TOP)
    first.rest()
    second = Start(tiny[name], tmp_path)
    again = [strictly(second, one, 39) for one in (a, b)]
    assert [decoded for *_, decoded in again] == [0, 0]
    assert [numbers[:2] for numbers in again] == [numbers[:2] for numbers in told]
    assert second.evaluator.strict.compare(a, b, TOP) == (difference, 0)
    assert {len(found) for found, *_ in again} == {51} and {len(taken) for _, taken, _ in again} == {50}


def test_a_path_that_grows_is_one_file(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 80)
    strictly(first, path[:40], 10)
    first.rest()
    for end in range(41, 81):
        strictly(first, path[:end], end - 2)  # the answer before the last lacked the token that came next
        if end % 16 == 0:
            first.rest()
    first.rest()
    assert len(list(tmp_path.glob("*/*.strict"))) == 1
    assert strictly(Start(tiny["qwen2"], tmp_path), path, 10)[2] == 0


def test_of_other_paths_what_is_the_same_is_used(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 80)
    strictly(first, path, 10)
    first.rest()
    for other, kept in ((edited(path, 60), 60), (path[:70], 70), ([*path, 5, 6], 80), (edited(path, 5), 10)):
        second = Start(tiny["qwen2"], tmp_path)
        known = list(second.cache.strict_answers(other, 10, TOP))
        # At the place where the paths part, the other token that is taken may not be a candidate.
        assert sum(len(one.distributions) for one in known) in (kept - 10, kept - 11)
        found, taken, _ = strictly(second, other, 10)
        assert (found, taken) == strictly(Start(tiny["qwen2"], tmp_path / "none"), other, 10)[:2]


def test_parts_of_several_evaluations_are_joined(tiny: dict[str, Path], tmp_path: Path) -> None:
    path: list[int] = []
    for start, end in ((40, 60), (20, 45), (55, 80)):
        one = Start(tiny["qwen2"], tmp_path)
        path = tokens(one.model, 80)
        strictly(one, path[:end], start)
        one.rest()
    second = Start(tiny["qwen2"], tmp_path)
    found, taken, decoded = strictly(second, path, 20)
    assert decoded == 0
    assert (found, taken) == strictly(Start(tiny["qwen2"], tmp_path / "none"), path, 20)[:2]


def test_what_was_shown_first_serves_where_it_was_strict(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 100)
    first.play(path[:80])
    for end in range(81, 101):  # token by token: not strict
        first.play(path[:end], end - 1)
    first.rest()
    second = Start(tiny["qwen2"], tmp_path)
    answers = second.cache.strict_answers(path, 0, TOP)
    known = [distribution for one in answers for distribution in one.distributions]
    assert len(known) == 79, "the one at the end of the prompt lacks the token that came next, or is no candidate"
    found, taken, decoded = strictly(second, path, 0)
    assert (found, taken) == strictly(Start(tiny["qwen2"], tmp_path / "none"), path, 0)[:2]
    assert decoded <= 48


def test_fewer_candidates_are_cut_and_more_are_computed(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 60)
    strictly(first, path, 0)
    first.rest()
    for top, needs_decoding in ((TOP - 5, False), (TOP + 5, True)):
        found, taken, decoded = strictly(Start(tiny["qwen2"], tmp_path), path, 0, top)
        assert (decoded > 0) is needs_decoding
        assert (found, taken) == strictly(Start(tiny["qwen2"], tmp_path / "none"), path, 0, top)[:2]


def test_a_long_evaluation_is_forgotten_once_it_is_written(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strict_cache, "LARGEST", 64)
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 140)
    strictly(first, path[:100], 0)
    first.rest()
    assert not first.cache._strict._evaluations
    strictly(first, path, 99)
    first.rest()
    assert len(list(tmp_path.glob("*/*.strict"))) == 2
    assert strictly(Start(tiny["qwen2"], tmp_path), path, 0)[2] == 0


def test_an_evaluation_that_is_interrupted_takes_nothing_from_what_was_written(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 100)
    strictly(first, path, 0)
    first.rest()
    again = first.evaluator.strict.evaluate(path[:100], 0, TOP)
    first.cache.note_strictly(path, next(again))
    first.rest()
    strictly(first, [*path, 5], 98)
    first.rest()
    (file,) = tmp_path.glob("*/*.strict")
    assert strictly(Start(tiny["qwen2"], tmp_path), path, 0)[2] == 0, file


def test_a_key_ends_the_reading_of_what_was_compared(
    tiny: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 60)
    strictly(first, path, 0)
    first.rest()
    second = Start(tiny["qwen2"], tmp_path)
    monkeypatch.setattr(type(second.model), "interrupted", True)
    with pytest.raises(Interrupted):
        list(second.cache.strict_answers(path, 0, TOP))


def test_few_positions_are_not_worth_a_file(tiny: dict[str, Path], tmp_path: Path) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 60)
    strictly(first, path, 60 - strict_cache.SHORTEST + 1)
    first.rest()
    assert not list(tmp_path.glob("*/*.strict"))


def test_another_model_finds_nothing_and_damage_is_never_believed(
    tiny: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = Start(tiny["qwen2"], tmp_path)
    path = tokens(first.model, 60)
    told = strictly(first, path, 10)
    first.rest()
    (file,) = tmp_path.glob("*/*.strict")
    whole, random_ = file.read_bytes(), random.Random(SEED)
    other = Start(tiny["qwen2"], tmp_path, identity="two\nmodel")
    assert not list(other.cache.strict_answers(path, 10, TOP))
    for _ in range(30):
        at = random_.randrange(len(whole))
        damaged = whole[:at] + bytes([whole[at] ^ 1 << random_.randrange(8)]) + whole[at + 1 :]
        file.write_bytes(random_.choice([damaged, whole[:at]]))
        file.chmod(0o600)
        capfd.readouterr()
        found, taken, decoded = strictly(Start(tiny["qwen2"], tmp_path), path, 10)
        assert (found, taken) == told[:2] and decoded, f"seed {SEED}"
        assert sum("passed over" in line for line in capfd.readouterr().err.splitlines()) == 1


def test_random_comparisons_over_several_starts(tiny: dict[str, Path], tmp_path: Path, figure: Figure) -> None:
    random_, read = random.Random(SEED), 0
    start = Start(tiny["llama"], tmp_path)
    paths = [tokens(start.model, 120, seed) for seed in range(3)]
    truth = Start(tiny["llama"], tmp_path / "none")
    for _ in range(40):
        path = random_.choice(paths)
        if random_.random() < 0.3:
            path = edited(path, random_.randrange(len(path)))
        path = path[: random_.randrange(30, 121)]
        first = random_.randrange(len(path))
        read += sum(len(known.distributions) for known in start.cache.strict_answers(path, first, TOP))
        found, taken, _ = strictly(start, path, first)
        assert (found, taken) == strictly(truth, path, first)[:2], f"seed {SEED}"
        if random_.random() < 0.3:
            start.rest()
            start = Start(tiny["llama"], tmp_path)
    assert read > 300
    figure(40, "strict evaluations over several starts", seed=SEED, positions_read=read)
