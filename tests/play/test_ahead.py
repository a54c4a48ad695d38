"""What is looked ahead to behind the prompt's end: in what order, beside what else is asked, and what becomes of it."""

import math
from dataclasses import replace

import pytest

from tests import fake
from tests.fake import Play, started
from tokex_gguf.engine.protocol import (
    Apply,
    Compare,
    Evaluate,
    EvaluateStrictly,
    Failed,
    Load,
    Lookahead,
    MeasureNoise,
    Reply,
    Request,
)
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Sampling
from tokex_gguf.play.messages import Typed
from tokex_gguf.play.purposes import Comparing, ForLookahead
from tokex_gguf.play.rules.ghost_text import CUT, NOT_AT_THE_END, OFF, word
from tokex_gguf.play.table import continuation
from tokex_gguf.sessions.codec import dump
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.lookahead import following
from tokex_gguf.values.samplers import NO_CHAIN, Chain, Kind, Sampler
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node

BUDGET = 40


def growing(text: str = "hello", budget: int = BUDGET) -> Play:
    """A game that has its table and its likely next tokens, and has asked for more."""
    play = Play(text, lookahead=3, lookahead_tokens=budget)
    while not best_first(play):
        request = play.asked.pop(0)
        for reply in play.replies(request):
            play.take(reply)
    return play


def best_first(play: Play) -> list[Lookahead]:
    """What is asked for best first, behind the next tokens."""
    purposes = play.session.game.open_requests
    return [
        one
        for one in play.asked
        if isinstance(one, Lookahead)
        and isinstance(purpose := purposes.get(one.request), ForLookahead)
        and purpose.best_first
    ]


def joint(path: list[int], branch: list[int]) -> float:
    """The joint log-probability of a branch."""
    values = [fake.logprobs([*path, *branch[:end]])[token] for end, token in enumerate(branch)]
    return math.log(math.prod(map(math.exp, values)))


def known(play: Play, tip: Node | None = None) -> set[tuple[int, ...]]:
    """The branches whose distributions are known behind the prompt's end."""
    tip = tip or play.session.game.prompt.tip
    found: set[tuple[int, ...]] = set()
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        branch = waiting.pop()
        if play.session.game.known.lookahead.tree_at(tip).at(branch).distribution is None:
            continue
        found.add(branch)
        waiting += [(*branch, token) for token in range(fake.VOCAB)]
    return found - {()}


def path(play: Play) -> list[int]:
    return play.session.game.prompt.tip.path()


def test_the_likeliest_is_grown_and_two_requests_are_under_way_until_the_budget_is_spent() -> None:
    play = growing()
    first, second = best_first(play)
    assert first.path == second.path == path(play) and len(first.branches) == 8
    here = path(play)
    likely = {(token,) for token in fake.ranked(here)[:3]}
    ends = [(*branch, token) for branch in [(), *likely] for token in range(fake.VOCAB)]
    best = sorted((end for end in ends if end not in likely), key=lambda end: -joint(here, list(end)))
    asked = [tuple(branch) for branch in first.branches + second.branches]
    assert asked == best[: len(asked)]
    play.take(play.reply(first))  # type: ignore[arg-type]
    play.asked.remove(first)
    assert len(best_first(play)[-1].branches) == 16, "the depth is known: batches are as large as is worth it"
    most = 0
    while play.asked:
        most = max(most, len(best_first(play)))
        play.take(play.reply(play.asked.pop(0)))  # type: ignore[arg-type]
    assert most == 2 and len(known(play)) == BUDGET
    play.press(Action.LAYER, Action.DOWN, Action.UP)
    assert len(known(play)) == BUDGET, "it is spent"
    for branch in known(play):
        found = play.session.game.known.lookahead.tree_at(play.session.game.prompt.tip).at(branch).distribution
        assert found is not None and list(found.ids) == list(fake.distribution([*here, *branch], 100).ids)


def test_going_on_decodes_nothing_that_is_known_and_looks_further_from_there() -> None:
    play = growing().answer()
    here, decoded = path(play), play.decoded
    deepest = max(known(play), key=len)
    assert len(deepest) > 1
    before = {branch[1:] for branch in known(play) if branch[0] == deepest[0] and len(branch) > 1}
    lookaheads = play.lookaheads
    for _ in range(fake.ranked(here).index(deepest[0])):
        play.press(Action.DOWN)
    play.press(Action.APPEND)
    assert path(play) == [*here, deepest[0]] and play.decoded == decoded and play.session.game.ready
    assert before <= known(play) and len(known(play)) == BUDGET
    assert play.lookaheads - lookaheads <= BUDGET - len(before), "what was known is not asked for again"
    play.press(Action.POP)
    assert play.decoded == decoded and deepest in known(play)


def test_a_key_while_it_looks_ahead_goes_first_and_what_still_comes_is_kept() -> None:
    play = growing()
    here = path(play)
    late = best_first(play)
    play.take(Action.BOTTOM)
    play.asked.clear()
    play.take(Action.APPEND)
    (asked,) = [one for one in play.asked if isinstance(one, Evaluate)]
    assert asked.path[:-1] == here and not best_first(play), "it waits"
    tip = play.session.game.prompt.tip
    play.take(play.reply(late[0]))  # type: ignore[arg-type]
    assert tip.parent and {tuple(one) for one in late[0].branches} <= known(play, tip.parent)
    play.answer()
    assert play.session.game.ready and len(known(play)) == BUDGET


def test_what_is_known_ahead_is_neither_saved_nor_shown_as_visited() -> None:
    play, other = growing().answer(), started("hello", lookahead=3)
    assert not any(child.visited for child in play.session.game.prompt.tip.children.values())
    other.session = replace(other.session, game=replace(other.session.game, settings=play.session.game.settings))
    assert len(known(play)) == BUDGET
    assert len(dump(play.session)) == len(dump(other.session))
    assert not any(child.children for child in play.session.game.prompt.tip.children.values())


def test_a_refusal_is_not_asked_for_again_and_again() -> None:
    play = growing()
    for request in best_first(play):
        play.take(Failed(request.request, "no room"))
    play.asked.clear()
    play.press(Action.LAYER, Action.DOWN, Action.UP)
    assert not best_first(play) and not play.session.notice and not play.asked
    play.press(Action.APPEND)
    assert len(known(play)) == BUDGET, "elsewhere it goes on"


def test_what_a_search_ended_is_asked_for_again() -> None:
    play = growing()
    play.asked.clear()
    play.press(Action.SEARCH, Typed("a"))
    assert not best_first(play)
    play.press(Action.CLOSE)
    assert len(known(play)) == BUDGET


def test_comparisons_come_first() -> None:
    play = started("hello", lookahead=3, lookahead_tokens=BUDGET).press(Action.COPY, Action.DOWN)
    play.take(Action.APPEND)
    play.take(Action.VERSUS)
    strict = 0
    for _ in range(300):
        if not play.asked:
            play.answer()
            break
        request = play.asked.pop(0)
        strict += isinstance(request, EvaluateStrictly | Compare | MeasureNoise)
        purpose = play.session.game.open_requests.get(getattr(request, "request", 0))
        if isinstance(purpose, ForLookahead) and not purpose.going:
            continue  # the engine has ended it
        before = len(best_first(play))
        for reply in play.replies(request):
            play.take(reply)
            compares = any(isinstance(one, Comparing) and one.going for one in play.session.game.open_requests.values())
            assert not compares or len(best_first(play)) <= before
    assert strict > 2 and play.session.difference is not None and len(known(play)) == BUDGET


@pytest.mark.parametrize("settings", [{"lookahead": 0, "lookahead_tokens": 9}, {"lookahead": 3}])
def test_it_can_be_turned_off(settings: dict[str, int]) -> None:
    play = started("hello", **settings)
    assert not known(play) - {(token,) for token in fake.ranked(path(play))[:3]}
    assert not play.session.looks_ahead


@pytest.mark.parametrize(
    ("kind", "lookahead", "tokens", "why"),
    [
        (Play, 3, BUDGET, "where each row leads to is hidden"),
        (Play, 0, BUDGET, "lookahead = 0 in the configuration: "),
        (Play, 3, 0, "lookahead_tokens = 0 in the configuration: "),
        (fake.Served, 3, BUDGET, "this server computes the likely next tokens"),
    ],
)
def test_where_there_is_no_column_its_key_says_why(kind: type[Play], lookahead: int, tokens: int, why: str) -> None:
    play = kind("hello", lookahead=lookahead, lookahead_tokens=tokens).answer()
    shows = play.session.looks_ahead
    play.press(Action.AHEAD)
    assert play.session.notice.startswith(why)
    assert play.session.options.shows_ahead != shows, "nothing is shown or hidden where there is no column"


@pytest.mark.parametrize("key", [Action.SAMPLERS, Action.TREE, Action.PROMPTS, Action.HELP, Action.ANSWERS])
def test_where_another_screen_is_shown_nothing_is_grown(key: Action) -> None:
    """There a key, such as a step of a sampler's value, does not wait for a batch that nobody sees."""
    play = growing(budget=10_000)
    before = {one.request for one in best_first(play)}
    play.take(key)
    while play.asked:
        assert {one.request for one in best_first(play)} <= before
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    play.take(Action.CLOSE)
    assert best_first(play), "and then it goes on"


def test_over_a_server_nothing_is_grown() -> None:
    play = fake.Served("hello", lookahead=3, lookahead_tokens=BUDGET)
    play.answer()
    assert len(known(play)) == 3 and not play.session.looks_ahead


def test_what_the_chain_cuts_is_not_grown() -> None:
    chain = Chain((Sampler.of(Kind.TOP_K, 2),))
    play = Play("hello", lookahead=1, lookahead_tokens=BUDGET)
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling(chain)))
    play.answer()
    here = path(play)
    branches = known(play)
    assert len(branches) == BUDGET
    for branch in branches:
        for end, token in enumerate(branch):
            assert token in fake.ranked([*here, *branch[:end]])[:2]
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling()))
    play.press(Action.LAYER)
    assert play.session.game.known.lookahead.tree_at(play.session.game.prompt.tip).known == BUDGET


def through(lens: Chain, constraint: Constraint | None = None, budget: int = BUDGET) -> Play:
    """A game seen through samplers and a constraint, with the text behind the prompt's end."""
    play = Play("hello", lookahead=3, lookahead_tokens=budget)
    sampling = Sampling(lens, constraint, 1)
    play.session = replace(play.session, game=replace(play.session.game, sampling=sampling))
    play.answer()
    return play.press(Action.DOWN, Action.UP, Action.GHOST)


def test_what_is_banned_is_neither_grown_nor_shown_nor_taken_up() -> None:
    here = path(started("hello"))
    first = fake.ranked(here)[0]
    banned, second, *_ = fake.ranked([*here, first])
    play = through(Chain(bias=((banned, -math.inf),)))
    assert len(known(play)) == BUDGET and not any(banned in branch for branch in known(play))
    after = likeliest_of([*here, first, second], banned)
    assert continuation(play.session)[:3] == (first, second, after)
    object.__setattr__(play.session.game.known, "pieces", dict.fromkeys(range(fake.VOCAB), Piece(b"a")))
    play.press(Action.SWAP)
    taken = path(play)[len(here) :]
    assert len(taken) > 2 and taken[:3] == [first, second, after] and banned not in taken


def likeliest_of(path: list[int], banned: int) -> int:
    return next(token for token in fake.ranked(path) if token != banned)


def test_a_bias_is_followed() -> None:
    here = path(started("hello"))
    first = fake.ranked(here)[0]
    lifted = fake.ranked([*here, first])[3]
    play = through(Chain((Sampler.of(Kind.TOP_K, 3),), ((lifted, 9.0),)))
    assert continuation(play.session)[:2] == (first, lifted)
    assert (first, lifted) in known(play), "it is gone on by as what is likeliest now"
    cut = fake.ranked([*here, first])[2]
    assert (first, cut) not in known(play), "three are left, and this one is the fourth"


def test_what_a_constraint_leaves_is_shown_where_it_was_asked() -> None:
    first, other = fake.ranked(path(started("hello")))[1:3]
    play = through(NO_CHAIN, Constraint(ConstraintKind.REGEX, chr(0x30 + first) + chr(0x30 + other)))
    assert not continuation(play.session), "a row that is cut"
    assert play.press(Action.SWAP).session.notice == CUT
    play.press(Action.DOWN)
    assert continuation(play.session) == (first,)
    play.press(Action.APPEND)
    view = play.session.view
    assert view is not None
    following_one = view.likeliest[0]
    play.press(Action.POP)
    assert continuation(play.session) == (first, following_one)


def test_under_a_constraint_nothing_is_grown_that_is_not_shown() -> None:
    play = through(NO_CHAIN, Constraint(ConstraintKind.REGEX, "[0-9]+"))
    assert known(play) and all(len(branch) == 1 for branch in known(play))
    assert not play.session.looks_ahead
    assert "under a constraint" in play.press(Action.AHEAD).session.notice


def test_where_samplers_are_not_followed_what_was_seen_changes_no_text() -> None:
    play = through(Chain((Sampler.of(Kind.TYPICAL, 0.5),)))
    before = continuation(play.session)
    assert len(before) > 1
    play.press(Action.APPEND)
    view = play.session.view
    assert view is not None
    view.__dict__["likeliest"] = view.likeliest[::-1]
    play.press(Action.POP)
    assert continuation(play.session)[: len(before)] == before


def test_the_selected_row_is_looked_into_where_it_is_cut_but_no_other() -> None:
    here = path(started("hello"))
    banned = fake.ranked(here)[1]
    play = Play("hello", lookahead=3, lookahead_tokens=0)
    sampling = Sampling(Chain(bias=((banned, -math.inf),)), None, 1)
    play.session = replace(play.session, game=replace(play.session.game, sampling=sampling))
    play.answer()
    assert play.lookaheads and (banned,) not in known(play)
    play.press(Action.DOWN)
    assert (banned,) in known(play)


def test_nothing_is_grown_behind_what_ends_the_generation() -> None:
    play = Play("hello", lookahead=3, lookahead_tokens=BUDGET)
    while not play.session.game.prompts:
        play.take(play.reply(play.asked.pop(0)))  # type: ignore[arg-type]
    end = fake.ranked(path(play))[1]
    pieces = {**fake.PIECES, end: Piece(b"<end>", True, True)}
    object.__setattr__(play.session.game.known, "pieces", pieces)
    fake_pieces = dict(fake.PIECES)
    try:
        fake.PIECES[end] = pieces[end]
        play.answer()
    finally:
        fake.PIECES.update(fake_pieces)
    assert known(play) and not any(end in branch for branch in known(play))


# --- the text behind the prompt's end


def test_tab_takes_up_a_word_and_undo_takes_it_back_at_once() -> None:
    play = growing().answer()
    here, decoded = path(play), play.decoded
    assert play.press(Action.SWAP).session.notice and path(play) == here
    play.press(Action.GHOST)
    tokens = continuation(play.session)
    tip = play.session.game.prompt.tip
    assert tokens == (
        fake.ranked(here)[0],
        *following(play.session.game.known.lookahead.place(tip).child(fake.ranked(here)[0]), 99),
    )
    pieces = [Piece(b" a"), Piece(b"b"), Piece(b" c"), *[Piece(b" d")] * 64]
    object.__setattr__(play.session.game.known, "pieces", {**fake.PIECES, **dict(zip(tokens, pieces, strict=False))})
    play.press(Action.SWAP)
    assert path(play) == [*here, *tokens[:2]] and play.session.game.prompt.tip.known
    assert play.decoded <= decoded + 1, "what was known is not decoded"
    assert all(node.played for node in play.session.game.prompt.tip.nodes(len(here)))
    play.press(Action.UNDO)
    assert path(play) == here


def test_the_text_ends_with_a_line_and_before_what_ends_the_generation() -> None:
    play = growing().answer().press(Action.GHOST)
    tokens = continuation(play.session)
    assert len(tokens) > 2
    for piece, count in ((Piece(b"a\n"), 2), (Piece(b"<end>", True, True), 1)):
        object.__setattr__(play.session.game.known, "pieces", {**fake.PIECES, tokens[1]: piece})
        assert continuation(play.session) == tokens[:count]


def test_the_text_goes_on_from_the_selected_row() -> None:
    play = growing().answer()
    play.press(Action.GHOST, Action.DOWN)
    assert continuation(play.session)[0] == fake.ranked(path(play))[1]
    for action in (Action.CURSOR_BACK, Action.INPUT):
        assert not continuation(Play.press(play, action).session)
        play.press(Action.CURSOR_TIP if action is Action.CURSOR_BACK else Action.CLOSE)


def test_behind_the_end_tab_says_where_it_takes_up() -> None:
    """Also through samplers that cut what is selected at the end: it is another place's table that is shown."""
    greedy = Chain((Sampler(Kind.TOP_K, (1,)),))
    for chain in (NO_CHAIN, greedy):
        play = growing().answer()
        sampling = replace(play.session.game.sampling, chain=chain)
        play.session = replace(play.session, game=replace(play.session.game, sampling=sampling))
        play.press(Action.GHOST, Action.DOWN, Action.CURSOR_BACK)
        before = path(play)
        assert play.press(Action.SWAP).session.notice == NOT_AT_THE_END and path(play) == before


def test_tab_swaps_while_something_is_compared() -> None:
    play = growing().answer().press(Action.GHOST, Action.COPY, Action.DOWN, Action.APPEND, Action.VERSUS)
    active = play.session.game.active
    play.press(Action.SWAP)
    assert play.session.game.active != active


def test_without_the_text_tab_says_what_shows_it() -> None:
    play = growing().answer()
    play.press(Action.GHOST, Action.GHOST, Action.SWAP)
    assert play.session.notice != OFF  # what compares is told, as before


@pytest.mark.parametrize(
    ("pieces", "count"),
    [
        ([b" cli", b"ps", b" in"], 2),
        ([b"\n", b"a"], 1),
        ([b" ", b"a", b"b", b"."], 3),
        ([b"a ", b"b"], 1),
        ([b".", b"a"], 1),
        ("日本".encode().partition("本".encode())[:2], 1),
        ([b" \xe6\x97", b"\xa5", b"a"], 2),
        ([b"a"], 1),
        ([b"", b"a", b" b"], 2),
    ],
)
def test_a_word_ends_where_readers_see_one_end(pieces: list[bytes], count: int) -> None:
    assert word([Piece(piece) for piece in pieces]) == count


# --- with no lookahead


def test_a_long_prompt_is_named_once_where_nothing_is_looked_ahead_to() -> None:
    class Hearing(Play):
        """Writes down what is asked ahead of a path."""

        named: list[list[int]]
        branches = 0

        def reply(self, request: Request) -> Reply | None:
            if isinstance(request, Lookahead):
                self.named = [*getattr(self, "named", []), request.path]
                self.branches += len(request.branches)
            return super().reply(request)

    assert not hasattr(Hearing("ab" * 40).answer(), "named"), "there is no cache"
    load = Load("", 0, 0, cache="a folder")
    play = Hearing("ab" * 40, load=load)
    play.answer()
    first = path(play)
    assert play.named == [first] and play.session.game.ready, "nobody waits for it"
    play.press(Action.UP, Action.DOWN, Action.LAYER)
    assert play.named == [first], "once"
    play.press(Action.APPEND)
    assert play.named == [first, path(play)]
    play.press(Action.POP)
    assert play.named[-1] == first
    assert play.branches == 0
    assert not hasattr(Hearing("hello", load=load).answer(), "named"), "of a short one nothing is on the disk"
    ahead = Hearing("ab" * 40, load=load, lookahead=3)
    ahead.answer()
    assert ahead.named == [first] and ahead.branches == 3


def test_what_a_view_has_ended_is_asked_for_again() -> None:
    chain = Chain((Sampler.of(Kind.TOP_K, 5),))
    play = Play("hello", lookahead=4)
    while not any(isinstance(one, Lookahead) for one in play.asked):
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    (first,) = (one for one in play.asked if isinstance(one, Lookahead))
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling(chain, None, 1)))
    play.take(Action.LAYER)  # it is looked through now
    assert any(isinstance(one, Apply) for one in play.asked)
    play.asked.remove(first)  # the engine drops it for that
    play.answer()
    known = [token for (token,) in map(tuple, first.branches) if play.session.game.knows_ahead(token)]
    assert len(known) == len(first.branches)


def test_what_is_answered_beside_it_ends_no_lookahead() -> None:
    play = Play("hello", lookahead=4)
    while not any(isinstance(one, Lookahead) for one in play.asked):
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    number = next(one.request for one in play.asked if isinstance(one, Lookahead))
    play.take(Action.CONSTRAINT)
    play.take(Typed("[a-z]+"))
    purpose = play.session.game.open_requests[number]
    assert isinstance(purpose, ForLookahead) and purpose.going


def test_what_was_refused_is_not_asked_for_again_and_again() -> None:
    play = Play("hello", lookahead=4)
    refused = 0
    while play.asked:
        request = play.asked.pop(0)
        if isinstance(request, Lookahead):
            refused += 1
            play.take(Failed(request.request, "no"))
            continue
        for reply in play.replies(request):
            play.take(reply)
    assert refused == 1 and play.session.game.ready
    assert len(play.press(Action.DOWN, Action.UP).asked) == 0
