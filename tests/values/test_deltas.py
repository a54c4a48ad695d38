"""Tokens by how much likelier A makes them."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tokex_gguf.values.deltas import Deltas

TOKENS = st.lists(st.tuples(st.floats(-20, 20, allow_nan=False), st.booleans()), max_size=40)


def of(tokens: list[tuple[float, bool]], order: list[int]) -> Deltas:
    deltas = Deltas()
    for index in order:
        deltas.add(index + 2, tokens[index][0], flip=tokens[index][1])
    return deltas


@given(TOKENS, st.randoms(), st.integers(0, 45))
def test_it_tells_what_plain_sorting_tells_in_whatever_order_tokens_come(tokens, chance, depth) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(tokens)))
    chance.shuffle(order)
    deltas = of(tokens, order)
    for index in order[:3]:
        deltas.add(index + 2, 99.0, flip=True)  # the first answer stays
    if depth % 2:
        deltas.cut(depth)
        tokens = tokens[: max(0, depth - 1)]
    plain = sorted(range(len(tokens)), key=lambda index: (-abs(tokens[index][0]), index))
    assert len(deltas) == len(tokens)
    assert math.isclose(deltas.total, math.fsum(bits for bits, _ in tokens), abs_tol=1e-9)
    found, at = [], deltas.greatest(None)
    while at is not None:
        found.append(at - 2)
        at = deltas.greatest(at)
    assert found == plain
    for before, then in pairwise(plain):
        assert deltas.greatest(then + 2, -1) == before + 2
    if plain:
        assert deltas.greatest(plain[0] + 2, -1) is None
        assert deltas.place(tokens[plain[0]][0]) == 1
    flips = [index + 2 for index, (_, flip) in enumerate(tokens) if flip]
    assert len(deltas.flips) == len(flips)
    assert deltas.flips.next(0) == (flips[0] if flips else None)
    if flips:
        assert deltas.flips.after(flips[0]) == len(flips) - 1


def test_infinities_of_both_signs_have_no_sum() -> None:
    deltas = Deltas()
    deltas.add(2, math.inf, flip=False)
    assert deltas.total == math.inf
    deltas.add(3, -math.inf, flip=False)
    assert math.isnan(deltas.total)
    assert deltas.greatest(9) == 2, "from a token that is none of them: from the beginning"
