"""Planning which cached sequence serves a path: the best one, at the smallest loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokex_gguf.engine.worker.kv_plan import Plan, Sequences
from tokex_gguf.values.sequence import common_prefix

# Two tokens, so that paths share long beginnings.
paths = st.lists(st.integers(0, 1), max_size=8)


def holding(*held: list[int], can_cut: bool = True) -> Sequences:
    """Sequences that were used in this order, the last one most recently; empty ones never."""
    sequences = Sequences(len(held), can_cut=can_cut)
    for index, tokens in enumerate(held):
        if tokens:
            sequences.hold(index, tokens)
    return sequences


def naive_common_prefix(a: list[int], b: list[int]) -> int:
    count = 0
    while count < min(len(a), len(b)) and a[count] == b[count]:
        count += 1
    return count


# --- common_prefix


@given(paths, paths, paths)
def test_common_prefix(shared: list[int], a: list[int], b: list[int]) -> None:
    for x, y in ((shared + a, shared + b), (a, b), (shared, shared + a), (shared + a, shared)):
        assert common_prefix(x, y) == naive_common_prefix(x, y)


@pytest.mark.parametrize("at", [0, 1, 499, 500, 998, 999])
def test_common_prefix_finds_one_difference(at: int) -> None:
    a = list(range(1000))
    assert common_prefix(a, [*a[:at], -1, *a[at + 1 :]]) == at


@given(paths, st.lists(paths, min_size=1, max_size=3), st.lists(paths, min_size=1, max_size=3), paths)
def test_branches_change_no_plan(
    trunk: list[int], branches: list[list[int]], others: list[list[int]], path: list[int]
) -> None:
    """What they share is only compared once."""
    held = [*others, *[[*trunk, *branch] for branch in branches if branch], []]
    told, plain = holding(*held), holding(*held)
    told.trunk, told.branches = trunk, list(range(len(others), len(held) - 1))
    for one in (path, [*trunk, *path], trunk):
        for limit in range(len(one) + 1):
            assert told.plan(one, limit) == plain.plan(one, limit)
            assert told.held_best(one, limit) == plain.held_best(one, limit)
        assert told.holding(one, whole=True) == plain.holding(one, whole=True)


# --- plan


@pytest.mark.parametrize(
    ("held", "path", "plan"),
    [
        ([[], []], [1, 2, 3], Plan(0, 0)),
        # Only extended: in place.
        ([[1, 2], []], [1, 2, 3], Plan(0, 2)),
        ([[1], [1, 2]], [1, 2, 3], Plan(1, 2)),
        # What goes another way stays, and its beginning is copied to the free sequence.
        ([[1, 2, 9], []], [1, 2, 3], Plan(1, 2, 0)),
        ([[1, 2, 3, 4], []], [1, 2, 3, 5], Plan(1, 3, 0)),
        # Of two with the same beginning the one that is only extended loses nothing.
        ([[1, 2, 9], [1, 2]], [1, 2, 3], Plan(1, 2)),
        ([[1, 2], [1, 2, 9]], [1, 2, 3], Plan(0, 2)),
        # No free one: the least recently used goes, though never the one copied from.
        ([[7], [1, 2, 9], [8]], [1, 2, 3], Plan(0, 2, 1)),
        ([[1, 2, 9], [7], [8]], [1, 2, 3], Plan(1, 2, 0)),
        # Nothing shared: nothing copied, and a free one before an old one.
        ([[7], [8], []], [1], Plan(2, 0)),
        ([[7], [8]], [1], Plan(0, 0)),
        # One sequence only: it is cut.
        ([[1, 2, 9]], [1, 2, 3], Plan(0, 2)),
        ([[1, 2, 9]], [5], Plan(0, 0)),
    ],
)
def test_plan(held: list[list[int]], path: list[int], plan: Plan) -> None:
    assert holding(*held).plan(path, len(path)) == plan


@pytest.mark.parametrize(
    ("limit", "plan"), [(4, Plan(0, 3)), (3, Plan(0, 3)), (2, Plan(1, 2, 0)), (1, Plan(1, 1, 0)), (0, Plan(1, 0))]
)
def test_plan_keeps_no_more_than_its_limit(limit: int, plan: Plan) -> None:
    assert holding([1, 2, 3], []).plan([1, 2, 3, 4], limit) == plan


@pytest.mark.parametrize(
    ("held", "path", "limit", "plan"),
    [
        ([[1, 2], []], [1, 2, 3], 3, Plan(0, 2)),
        ([[1, 2, 9], []], [1, 2, 3], 3, Plan(1, 0)),
        ([[1, 2, 9], [1]], [1, 2, 3], 3, Plan(1, 1)),
        ([[1, 2], []], [1, 2], 1, Plan(1, 0)),
        ([[1, 2, 9]], [1, 2, 3], 3, Plan(0, 0)),
    ],
)
def test_plan_where_tails_cannot_be_cut(held: list[list[int]], path: list[int], limit: int, plan: Plan) -> None:
    assert holding(*held, can_cut=False).plan(path, limit) == plan


# --- who goes


def test_among_equals_the_least_recently_used_goes_first() -> None:
    sequences = holding([1], [2], [3])
    sequences.hold(0, [4])
    assert sequences.victim(without=[]) == 1
    assert sequences.victim(without=[1]) == 2
    assert sequences.evictable(without=1) == 2
    sequences.hold(1, [])
    assert sequences.victim(without=[]) == 1, "an empty one before all others"
    assert sequences.evictable(without=0) == 2, "an empty one frees nothing"


def test_what_is_cheapest_to_decode_again_goes_first() -> None:
    long = list(range(100))
    assert holding(long, [200, 201], [*long, 5]).victim(without=[]) == 0, "the third has all of it"
    assert holding([200, 201], long, [*long[:90], 5]).victim(without=[]) == 2, "one token of its own"
    assert holding(long, [200, 201], [*long, 5]).victim(without=[0]) == 2


@given(st.lists(paths, min_size=2, max_size=5))
def test_no_other_victim_would_cost_less(held: list[list[int]]) -> None:
    def loss(sequence: int) -> int:
        others = [naive(held[sequence], other) for index, other in enumerate(held) if index != sequence]
        return len(held[sequence]) - max(others)

    def naive(a: list[int], b: list[int]) -> int:
        return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))

    victim = holding(*held).victim(without=[])
    assert victim is not None
    assert loss(victim) == min(map(loss, range(len(held))))


def test_prefixes() -> None:
    sequences = holding([1, 2], [1, 2, 3], [1], [2], [])
    assert sequences.prefixes_of([1, 2], without=2) == [0]
    assert sequences.prefixes_of([1, 2, 3, 4], without=9) == [0, 1, 2]


def test_nobody_is_left_to_go() -> None:
    assert holding([1]).victim(without=[0]) is None
    assert holding([1], [], []).evictable(without=0) is None


@given(st.lists(paths, min_size=1, max_size=4), st.data())
def test_evictable_is_never_the_one_in_use(held: list[list[int]], data: st.DataObject) -> None:
    sequences = holding(*held)
    in_use = data.draw(st.integers(0, len(held) - 1))
    while (victim := sequences.evictable(without=in_use)) is not None:
        assert victim != in_use and sequences.held(victim)
        sequences.hold(victim, [])
    assert sequences.held(in_use) == held[in_use]
    assert not any(sequences.held(s) for s in range(len(held)) if s != in_use)


# --- plans carried out on a cache


class Cache:
    """llama.cpp's cache in small: cells by sequence; tails may or may not be cut."""

    def __init__(self, count: int, can_cut: bool) -> None:
        self.cells: list[list[int]] = [[] for _ in range(count)]
        self.can_cut = can_cut

    def cut(self, sequence: int, keep: int) -> None:
        assert self.can_cut or keep in (0, len(self.cells[sequence]))
        del self.cells[sequence][keep:]

    def copy(self, source: int, target: int, keep: int) -> None:
        assert source != target and not self.cells[target]
        assert self.can_cut or keep == len(self.cells[source])
        assert keep <= len(self.cells[source])
        self.cells[target] = self.cells[source][:keep]


@given(st.integers(1, 4), st.booleans(), st.lists(st.tuples(paths.filter(bool), st.integers(0, 8), st.integers(0, 8))))
def test_plans_carried_out(count: int, can_cut: bool, visits: list[tuple[list[int], int, int]]) -> None:
    cache, sequences = Cache(count, can_cut), Sequences(count, can_cut=can_cut)
    for path, limit, decoded in visits:
        before = [list(cells) for cells in cache.cells]
        plan = sequences.plan(path, limit)
        shared = [min(naive_common_prefix(cells, path), limit) for cells in before]
        usable = [n for n, cells in zip(shared, before, strict=True) if can_cut or n == len(cells)]
        assert plan.keep == max(usable, default=0)
        if plan.source is not None:
            cache.cut(plan.sequence, 0)
            cache.copy(plan.source, plan.sequence, plan.keep)
        cache.cut(plan.sequence, plan.keep)
        assert cache.cells[plan.sequence] == path[: plan.keep]
        # Nobody else loses a cell, and a free sequence is used before one that holds something.
        assert all(a == b for s, (a, b) in enumerate(zip(before, cache.cells, strict=True)) if s != plan.sequence)
        if [] in before:
            given_up = before[plan.sequence]
            assert given_up == path[: len(given_up)]
        # A decode may end early; what is there then is recorded.
        cache.cells[plan.sequence] = path[: plan.keep + decoded]
        sequences.hold(plan.sequence, path[: plan.keep + decoded])


# --- what is put back where all was taken out


def test_what_is_worth_keeping() -> None:
    sequences = Sequences(6, can_cut=True)
    for sequence, tokens in enumerate([[1, 2, 3, 4, 5], [1, 2, 3], [7, 8], [1, 2, 9], [7, 8, 9]]):
        sequences.hold(sequence, tokens, len(tokens))
    assert sequences.worth_keeping([1, 2, 3], 3) == [0, 4, 3], "beginnings of others are among their cells"
    assert sequences.worth_keeping([7, 8, 1], 3) == [4, 3, 0]
    assert sequences.worth_keeping([], 0) == [4, 3, 0], "nothing is shared: what was used last"
    sequences.hold(0, [1, 2, 3, 4, 5], 4)
    assert sequences.worth_keeping([1, 2, 3], 3) == [1, 4, 3], "what is not strict serves nobody"
    assert Sequences(2, can_cut=True).worth_keeping([1], 1) == []


@given(st.lists(paths, max_size=6), paths)
def test_all_that_is_held_is_among_what_is_worth_keeping(held: list[list[int]], path: list[int]) -> None:
    sequences = Sequences(len(held) + 1, can_cut=True)
    for sequence, tokens in enumerate(held):
        sequences.hold(sequence, tokens, len(tokens))
    found = [sequences.held(one) for one in sequences.worth_keeping(path, len(path))]
    assert all(any(other[: len(one)] == one for other in found) for one in held if one)
    assert not any(a[: len(b)] == b for a in found for b in found if a is not b)
    if found:
        assert common_prefix(found[0], path) == max(common_prefix(one, path) for one in held)
