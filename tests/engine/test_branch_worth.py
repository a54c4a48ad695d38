"""Which branches of a lookahead keep their cells."""

import math

import pytest

from tokex_gguf.engine.worker.branch_worth import BranchWorth
from tokex_gguf.values.distribution import Distribution

TWO = Distribution.of(1.0, [1, 2], [math.log(0.75), math.log(0.25)])


def test_a_branch_is_worth_its_likeliest_way_on_that_was_not_gone() -> None:
    known = BranchWorth()
    for branch in ((), (1,), (2,), (1, 1), (1, 2)):
        known.note(branch, TWO)
    worth = known.worth({5: (1, 1), 6: (2,), 7: (9,), 8: ()})
    assert worth[5] == pytest.approx(math.log(0.75**3)), "both ways on from (1,) were gone: from (1, 1) none"
    assert worth[6] == pytest.approx(math.log(0.25 * 0.75))
    assert worth[7] == worth[8] == -math.inf, "nothing was said after them"
    known.note((1, 1, 1), TWO)
    assert known.worth({5: (1, 1)})[5] == pytest.approx(math.log(0.75**2 * 0.25))


def test_what_others_hold_as_well_counts_for_none() -> None:
    known = BranchWorth()
    for branch in ((), (1,), (1, 1)):
        known.note(branch, TWO)
    worth = known.worth({5: (1, 1), 6: (1, 2)})
    assert worth[5] == pytest.approx(math.log(0.75**3)) and worth[6] == -math.inf


def test_going_on_keeps_what_goes_on_from_there() -> None:
    known = BranchWorth()
    for branch in ((), (1,), (1, 1), (2,)):
        known.note(branch, TWO)
    known.move((1,))
    assert known.worth({5: (1,)})[5] == pytest.approx(math.log(0.75**2))
    assert known.worth({5: (7,)})[5] == -math.inf
    known.move(None)
    assert known.worth({5: (1,)})[5] == -math.inf
