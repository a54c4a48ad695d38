"""Which tokens of two paths are the same."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sampling import few
from tokex_gguf.values.alignment import Alignment, aligned, quick

FEW = st.lists(st.integers(0, 4), max_size=60)
EDITS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.lists(st.integers(0, 9), max_size=3)), max_size=6)


def check(alignment: Alignment, a: list[int], b: list[int]) -> None:
    """What is aligned is equal and in order; all else is told as inserted or missing."""
    end_a = end_b = 0
    missing = 0
    for block in alignment.blocks:
        assert block.size > 0 and block.a >= end_a and block.b >= end_b
        assert (block.a, block.b) != (end_a, end_b) or block.a == 0, "blocks without a gap are one"
        assert a[block.a : block.a + block.size] == b[block.b : block.b + block.size]
        missing += alignment.missing_before(block.a)
        end_a, end_b = block.a + block.size, block.b + block.size
    partners = [alignment.partner(position) for position in range(len(a))]
    told = [one for one in partners if one is not None]
    assert told == sorted(set(told)) and alignment.same == len(told)
    assert all(a[position] == b[one] for position, one in enumerate(partners) if one is not None)
    assert alignment.same + missing + alignment.missing_before(len(a)) == len(b)
    shared = 0
    for position in range(len(a) + 1):
        assert alignment.shared_before(position) == shared
        shared += position < len(a) and partners[position] is not None
        if position < len(a) and partners[position] is None:
            assert alignment.missing_before(position) == 0
    pairs = enumerate(zip(a, b, strict=False))
    begin = next((index for index, (one, other) in pairs if one != other), min(len(a), len(b)))
    assert partners[:begin] == list(range(begin)), "what both begin with is found"


@given(FEW, FEW)
def test_what_is_aligned_is_the_same_and_all_is_accounted_for(a: list[int], b: list[int]) -> None:
    check(aligned(a, b), a, b)
    check(aligned(b, a), b, a)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=400), EDITS)
def test_edits_are_found(a: list[int], edits: list[tuple[int, int, list[int]]]) -> None:
    b = a.copy()
    for place, fewer, more in edits:
        b[place : place + fewer] = more
    alignment = aligned(a, b)
    check(alignment, a, b)
    if len(edits) == 1:
        assert alignment.same >= len(a) - edits[0][1]


@pytest.mark.parametrize("kinds", few([2, 50, 40_000], of=3))
def test_long_paths_that_share_little_are_aligned(kinds: int) -> None:
    chance = random.Random(kinds)
    a, b = ([chance.randrange(kinds) for _ in range(3000)] for _ in range(2))
    middle = [90_000 + index for index in range(200)]
    check(aligned(a + middle + b, b + middle + a), a + middle + b, b + middle + a)
    long = a + [kinds + 1] * 1000 + b
    check(aligned(long, b), long, b)
    constant = [1] * 2000
    found = aligned([2, *constant, 3], [4, *constant[:900], 5, *constant[:900], 6])
    check(found, [2, *constant, 3], [4, *constant[:900], 5, *constant[:900], 6])
    assert found.rough, "it says that more could be the same"


def test_several_edits_far_apart_are_found_in_a_long_path() -> None:
    chance = random.Random(1)
    a = [chance.randrange(300) for _ in range(6000)]
    b = [*a[:1000], 7, 8, *a[1000:3000], *a[3010:5000], 9, *a[5001:]]
    found = aligned(a, b)
    assert not found.rough and found.same >= len(a) - 11


def test_only_what_is_short_between_equal_ends_is_quick() -> None:
    a = list(range(1000))
    assert quick(a, a, 0) and quick(a, [*a[:500], -1, *a[501:]], 2)
    assert not quick(a, [*a[:500], -1, *a[501:]], 1) and not quick(a, a[::-1], 1999)


@pytest.mark.timed
def test_one_edit_in_thirty_thousand_tokens_takes_no_time() -> None:
    chance = random.Random(2)
    a = [chance.randrange(50_000) for _ in range(30_000)]
    b = [*a[:15_000], 1, 2, *a[15_001:]]
    took = []
    for _ in range(5):
        begin = time.perf_counter()
        assert quick(a, b, 400) and aligned(a, b).same == 29_999
        took.append(time.perf_counter() - begin)
    assert min(took) < 0.005


@pytest.mark.parametrize("seed", range(20))
def test_in_the_other_order_the_same_tokens_are_matched(seed: int) -> None:
    random_ = random.Random(seed)
    for _ in range(50):
        size = random_.choice([2, 5, 40])
        a, b = ([random_.randrange(size) for _ in range(random_.randrange(60))] for _ in range(2))
        one, other = aligned(a, b), aligned(b, a)
        assert (other.blocks, other.a, other.b) == (one.reverse.blocks, one.b, one.a)
        check(one, a, b)
    long_a, long_b = ([random_.randrange(30) for _ in range(400)] for _ in range(2))
    assert aligned(long_a, long_b).blocks == aligned(long_b, long_a).reverse.blocks
