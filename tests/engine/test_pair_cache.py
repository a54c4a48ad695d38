"""How two models differ, from the start before: the same bits, whichever of them is A, or nothing."""

import random
from pathlib import Path

import pytest

from tests.figures import Figure
from tokex_gguf.engine.worker.pair_cache import MUCH, PATHS, PairCache
from tokex_gguf.values.difference import Difference, TokenPair
from tokex_gguf.values.distribution import TokenLogprob

A, B, C = (f"{name * 64}\ncells f16, llama.cpp\n{name} (llama Q8_0)" for name in "abc")
BUDGET = 1 << 24
SEED = 1


def difference(chance: random.Random, following: int | None, top: int = 3) -> Difference:
    def pair(token: int) -> TokenPair:
        a, b = (TokenLogprob(-chance.expovariate(1), chance.randrange(1, 99)) for _ in "ab")
        return TokenPair(token, a, b)

    rows = tuple(sorted(map(pair, chance.sample(range(100, 200), top + 1)), key=lambda row: -row.a.logprob))
    kl, reverse = float("inf") if chance.random() < 0.1 else chance.expovariate(1), chance.expovariate(1)
    taken = None if following is None else pair(following)
    return Difference(kl, reverse, rows[0].token, rows[1].token, rows, taken)


def all_of(path: list[int], seed: int = SEED, top: int = 3) -> list[Difference]:
    chance = random.Random(seed)
    return [difference(chance, following, top) for following in [*path[1:], None]]


def write(cache: PairCache, *, late: bool = True) -> int:
    count = 0
    while job := cache.next_write(late=late):
        job()
        count += 1
    return count


def found(cache: PairCache, other: str, path: list[int], top: int = 3) -> dict[int, Difference]:
    runs = cache.differences(other, path, 0, len(path), top)
    return {start + index: one for start, run in runs for index, one in enumerate(run)}


def test_the_next_start_has_them_whichever_model_is_a(tmp_path: Path) -> None:
    path = list(range(70))
    told = all_of(path)
    one = PairCache(tmp_path, A, BUDGET)
    one.note(B, path, 0, told, 3)
    assert write(one) == 1
    again = found(PairCache(tmp_path, A, BUDGET), B, path)
    assert again == dict(enumerate(told))
    mirrored = found(PairCache(tmp_path, B, BUDGET), A, path)
    assert mirrored == {position: one.reverse for position, one in enumerate(told)}
    assert not found(PairCache(tmp_path, A, BUDGET), C, path), "of another model"


@pytest.mark.parametrize("other", [B, A])
def test_with_fewer_candidates_than_a_table_has_they_are_no_answer(tmp_path: Path, other: str) -> None:
    path = list(range(40))
    one = PairCache(tmp_path, A, BUDGET)
    one.note(other, path, 0, all_of(path, top=2), 2)
    detailed = all_of(path, top=9)[-1:]
    one.note(other, path, 39, detailed, 9)
    write(one)
    again = PairCache(tmp_path, A, BUDGET)
    assert len(found(again, other, path, top=2)) == 40
    assert found(again, other, path, top=9) == {39: detailed[0]}
    again.note(other, path, 39, all_of(path, seed=2, top=2)[-1:], 2)
    assert found(again, other, path, top=2)[39] == detailed[0], "the one with more candidates stays"


def test_a_path_that_grows_is_one_file_and_one_that_parts_from_it_another(tmp_path: Path) -> None:
    path = list(range(64))
    one = PairCache(tmp_path, A, BUDGET)
    one.note(B, path, 0, all_of(path), 3)
    write(one)
    longer = [*path, 70]
    one.note(B, longer, 63, all_of(longer)[63:], 3)
    assert write(one, late=False) == 0, "two more are not worth it yet"
    assert write(one) == 1
    assert len(list(tmp_path.glob("*/*.pair"))) == 1
    again = PairCache(tmp_path, A, BUDGET)
    assert len(found(again, B, longer)) == 65
    parted = [*path[:50], *range(90, 130)]
    before = found(again, B, parted)
    assert set(before) == set(range(49)), "at the last common token, another one follows"
    assert write(again) == 0, "nothing is new"
    again.note(B, parted, 49, all_of(parted)[49:], 3)
    assert write(again) == 1 and len(list(tmp_path.glob("*/*.pair"))) == 2
    assert len(found(PairCache(tmp_path, A, BUDGET), B, parted)) == 90
    popped = path[:30]
    assert set(found(PairCache(tmp_path, B, BUDGET), A, popped)) == set(range(30))


def test_a_prefix_of_what_is_written_is_not_written_again(tmp_path: Path) -> None:
    path = list(range(64))
    one = PairCache(tmp_path, A, BUDGET)
    one.note(B, path, 0, all_of(path), 3)
    write(one)
    assert len(found(one, B, path[:40])) == 40 and write(one) == 0
    for end in range(2, 40):
        found(one, B, path[:end])
    assert len(one._paths) <= PATHS


def test_damage_is_passed_over(tmp_path: Path) -> None:
    path = list(range(MUCH))
    one = PairCache(tmp_path, A, BUDGET)
    one.note(B, path, 0, all_of(path), 3)
    assert write(one, late=False) == 1
    (file,) = tmp_path.glob("*/*.pair")
    whole = file.read_bytes()
    chance = random.Random(SEED)
    for _ in range(200):
        data = bytearray(whole)
        at = chance.randrange(len(data))
        data[at] ^= 1 << chance.randrange(8)
        file.write_bytes(data[: chance.choice([at, len(data), len(data)])])
        file.chmod(0o600)
        assert not found(PairCache(tmp_path, A, BUDGET), B, path)
        file.parent.mkdir(exist_ok=True)
    file.write_bytes(whole)
    assert len(found(PairCache(tmp_path, A, BUDGET), B, path)) == MUCH


def test_random_comparisons_over_several_starts(tmp_path: Path, figure: Figure) -> None:
    """Against a plain dictionary of all that was computed: nothing else is ever found, and at the end all of it."""
    chance = random.Random(SEED)
    computed: dict[tuple[int, ...], tuple[Difference, int | None]] = {}
    caches = {A: PairCache(tmp_path, A, BUDGET), B: PairCache(tmp_path, B, BUDGET)}
    paths, hits = [[0, 1, 2]], 0
    for step in range(300):
        base = chance.choice(paths)
        path = [*base[: chance.randrange(1, len(base) + 1)], *(chance.randrange(4) for _ in range(chance.randrange(6)))]
        paths = [*paths[-20:], path]
        own = chance.choice([A, B])
        there = found(caches[own], B if own is A else A, path)
        for position, one in there.items():
            of_a = one if own is A else one.reverse
            prefix, following = tuple(path[: position + 1]), (*path[1:], None)[position]
            known = computed[prefix]
            assert (of_a.kl_bits, of_a.reverse_bits) == (known[0].kl_bits, known[0].reverse_bits)
            assert (of_a.taken.token if of_a.taken else None) == following
        hits += len(there)
        for position, following in enumerate([*path[1:], None]):
            if position not in there:
                prefix = tuple(path[: position + 1])
                # Deterministic, as the models are.
                seed = random.Random(repr(prefix)).randrange(1 << 30)
                one = difference(random.Random(seed), following)
                computed[prefix] = one, following
                caches[own].note(B if own is A else A, path, position, [one if own is A else one.reverse], 3)
        if chance.random() < 0.3:
            write(caches[own], late=chance.random() < 0.7)
        if step % 40 == 39:
            write(caches[own])
            caches[own] = PairCache(tmp_path, own, BUDGET)
    assert hits > 500
    figure(300, f"comparisons over several starts; differences found {hits}", seed=SEED)
