"""What is known ahead grows best first, whatever comes late or in another order, and has a bound."""

import math
import random
from functools import lru_cache

import pytest

from tests.sampling import few
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.lookahead import (
    LONGEST_BRANCH,
    NEAR_TIPS,
    TIPS,
    LookaheadNode,
    LookaheadResults,
    LookaheadTree,
    TokenBranch,
    Way,
    following,
)
from tokex_gguf.values.tree import Node

OPEN, CLOSED = Way.OPEN, Way.CLOSED
SEEDS = range(30)
ALL = 10_000


def everything(branch: TokenBranch, before: Distribution, row: int) -> Way:
    del branch, before, row
    return Way.OPEN


class Model:
    """Random distributions, by path, behind some tokens."""

    def __init__(self, seed: int, start: TokenBranch = ()) -> None:
        self.seed, self.start, self.size = seed, start, 5

    @lru_cache(4096)  # noqa: B019
    def after(self, path: TokenBranch) -> Distribution:
        chance = random.Random(f"{self.seed} {(*self.start, *path)}")
        weights = [chance.random() ** 4 for _ in range(self.size)]
        ordered = sorted(range(self.size), key=lambda token: -weights[token])
        total = math.fsum(weights)
        return Distribution.of(1.0, ordered, [math.log(weights[token] / total) for token in ordered])

    @lru_cache(4096)  # noqa: B019
    def joint(self, branch: TokenBranch) -> float:
        """The joint log-probability of a branch: of a product of probabilities."""
        product = 1.0
        for end, token in enumerate(branch):
            before = self.after(branch[:end])
            product *= math.exp(before.logprobs[before.rows[token]])
        return math.log(product)

    def best(self, known: set[TokenBranch], asked: set[TokenBranch] = frozenset()) -> TokenBranch:  # type: ignore[assignment]
        """The likeliest branch that is neither known nor asked for, by looking at all."""
        ends = [(*one, token) for one in known for token in range(self.size)]
        return max((one for one in ends if one not in known | asked), key=self.joint)


def tip_of(model: Model) -> Node:
    tip = Node(None, -1).child(7)
    tip.attach(model.after(()))
    return tip


def answer(results: LookaheadResults, tip: Node, model: Model, branch: TokenBranch, start: TokenBranch = ()) -> None:
    results.attach(tip, branch, model.after((*start, *branch)))


@pytest.mark.parametrize("seed", SEEDS)
def test_answered_at_once_it_is_a_plain_search(seed: int) -> None:
    model, results = Model(seed), LookaheadResults()
    tip = tip_of(model)
    lookahead = results.tree_at(tip)
    lookahead.begin(None, ())
    known: set[TokenBranch] = {()}
    for _ in range(60):
        (branch,) = lookahead.wanted(1, ALL, everything)
        assert branch == model.best(known)
        answer(results, tip, model, branch)
        known.add(branch)


@pytest.mark.parametrize("seed", SEEDS)
def test_with_late_answers_in_any_order_it_is_the_best_of_what_is_known(seed: int) -> None:
    """Some answers never come, and are asked for again."""
    chance = random.Random(seed)
    model, results = Model(seed), LookaheadResults()
    tip = tip_of(model)
    lookahead = results.tree_at(tip)
    known: set[TokenBranch] = {()}
    asked: list[TokenBranch] = []
    for _ in range(40):
        if chance.random() < 0.2 and asked:
            asked.remove(chance.choice(asked))
        lookahead.begin(None, asked)
        if chance.random() < 0.5:
            for branch in lookahead.wanted(chance.choice([1, 4]), ALL, everything):
                assert branch == model.best(known, set(asked))
                asked.append(branch)
        for branch in chance.sample(asked, chance.randrange(len(asked) + 1)):
            answer(results, tip, model, branch)
            known.add(branch)
            asked.remove(branch)
    assert len(known) > 20


@pytest.mark.parametrize("seed", few(SEEDS, of=3))
def test_going_on_keeps_what_is_known_and_goes_on_in_the_same_order(seed: int) -> None:
    chance = random.Random(seed)
    model, results = Model(seed), LookaheadResults()
    tip, path = tip_of(model), TokenBranch()
    known: set[TokenBranch] = {()}
    for _ in range(6):
        lookahead = results.tree_at(tip)
        lookahead.begin(None, ())
        for _ in range(12):
            (branch,) = lookahead.wanted(1, ALL, everything)
            below = {one[len(path) :] for one in known if one[: len(path)] == path}
            assert branch == Model(seed, path).best(below)
            answer(results, tip, model, branch, path)
            known.add((*path, *branch))
        token = chance.choice([one[len(path)] for one in known if len(one) > len(path) and one[: len(path)] == path])
        tip, path = tip.child(token), (*path, token)
        if path not in known:
            answer(results, tip, model, (), path)
            known.add(path)
        results.recall(tip)
        assert tip.distribution is not None
        if chance.random() < 0.3:  # back, and there again
            assert tip.parent
            results.tree_at(tip)
            results.tree_at(tip.parent).begin(None, ())


def test_a_budget_counts_what_is_known_and_what_is_asked_for() -> None:
    model, results = Model(1), LookaheadResults()
    tip = tip_of(model)
    lookahead = results.tree_at(tip)
    lookahead.begin(None, ())
    first = lookahead.wanted(4, 6, everything)
    assert len(first) == 4
    for branch in first[:2]:
        answer(results, tip, model, branch)
    assert len(lookahead.wanted(4, 6, everything)) == 2 and not lookahead.wanted(4, 6, everything)
    again = results.tree_at(tip)
    again.begin(None, ())  # the others do not come
    assert len(again.wanted(9, 6, everything)) == 4


def test_what_may_not_be_gone_on_by_is_left_out_until_that_changes() -> None:
    model, results = Model(2), LookaheadResults()
    lookahead = results.tree_at(tip_of(model))
    best = model.after(()).most_likely
    lookahead.begin("one", ())
    assert (best,) not in lookahead.wanted(ALL, 9, lambda _, before, row: CLOSED if before.ids[row] == best else OPEN)
    lookahead.begin("other", ())
    assert lookahead.wanted(1, 9, everything) == [(best,)]


@pytest.mark.parametrize("seed", SEEDS)
def test_behind_the_last_way_none_is_looked_at(seed: int) -> None:
    """It makes no difference but to how much is looked at, where all that are less likely are closed."""
    found: list[list[TokenBranch]] = []
    looked: list[list[int]] = []
    for end in (CLOSED, Way.LAST):
        model, results, rows = Model(seed), LookaheadResults(), list[int]()
        tip = tip_of(model)
        lookahead = results.tree_at(tip)
        lookahead.begin(None, ())

        def two(_: TokenBranch, __: Distribution, row: int, end: Way = end, rows: list[int] = rows) -> Way:
            rows.append(row)
            return OPEN if row < 2 else end

        given: list[TokenBranch] = []
        while len(given) < 30:
            some = lookahead.wanted(4, ALL, two)
            for branch in some:
                answer(results, tip, model, branch)
            given += some
        found.append(given)
        looked.append(rows)
    assert found[0] == found[1]
    assert max(looked[0]) > 2 >= max(looked[1]), "of each, the first that is closed"


def test_what_the_tree_knows_is_not_asked_for() -> None:
    model, results = Model(3), LookaheadResults()
    tip = tip_of(model)
    best = model.best({()})
    tip.descend(list(best)).attach(model.after(best))
    lookahead = results.tree_at(tip)
    lookahead.begin(None, ())
    (branch,) = lookahead.wanted(1, ALL, everything)
    assert branch == model.best({(), best})


def test_no_branch_is_deeper_than_its_bound() -> None:
    results = LookaheadResults()
    tip = Node(None, -1).child(7)
    sure = Distribution.of(0.0, [3], [0.0])
    tip.attach(sure)
    lookahead = results.tree_at(tip)
    lookahead.begin(None, ())
    while branches := lookahead.wanted(4, ALL, everything):
        for branch in branches:
            results.attach(tip, branch, sure)
    assert list(following(results.place(tip), 99)) == [3] * (LONGEST_BRANCH + 1)


def test_the_tree_takes_over_what_the_player_goes_to_and_its_own_answers_stay() -> None:
    model, results = Model(4), LookaheadResults()
    tip = tip_of(model)
    branches = [(0,), (0, 1), (0, 1, 2)]
    for branch in branches:
        answer(results, tip, model, branch)
    assert not tip.children, "it is no part of the tree before"
    end = tip.descend([0, 1, 2])
    own = Model(5).after(())
    tip.child(0).attach(own)
    results.recall(end)
    assert tip.child(0).distribution is own
    assert end.distribution is results.tree_at(tip).at([0, 1, 2]).distribution is not None
    assert next(following(results.place(tip).child(0), 1)) == own.most_likely
    assert results.place(end.child(9)).distribution is None


@pytest.mark.parametrize("tokens", [1, 2, 3, NEAR_TIPS])
def test_what_is_known_behind_some_tokens_stays_where_the_prompt_goes_on_by_all_of_them_at_once(tokens: int) -> None:
    model, results = Model(4), LookaheadResults()
    tip = tip_of(model)
    word = tuple(place % 5 for place in range(tokens))
    for branch in ((*word[:-1],), word, (*word, 3), (*word, 3, 1)):
        answer(results, tip, model, branch)
    end = tip.descend(list(word))
    results.recall(end)
    lookahead = results.tree_at(end)
    assert lookahead.at([3, 1]).distribution is model.after((*word, 3, 1))
    lookahead.begin(None, ())
    wanted = lookahead.wanted(4, ALL, everything)
    assert (3,) not in wanted and (3, 1) not in wanted
    answer(results, end, model, (2,), word)
    assert results.tree_at(tip).at((*word, 2)).distribution is not None, "and what comes is known from there, too"


def test_only_the_latest_tips_are_kept() -> None:
    model, results = Model(6), LookaheadResults()
    node = tip_of(model)
    first = node
    answer(results, first, model, (0,))
    for token in range(TIPS):
        node = node.child(token % 5)
        node.attach(model.after((token,)))
        assert isinstance(results.tree_at(node), LookaheadTree)
    assert results.place(first).distribution is first.distribution
    assert results.tree_at(first).at([1]).distribution is None
    assert len(results._tips) == TIPS


def test_a_guess_is_made_where_it_is_looked_for() -> None:
    ahead = LookaheadNode()
    assert ahead.descend([1, 2]) is ahead.descend([1]).descend([2])
