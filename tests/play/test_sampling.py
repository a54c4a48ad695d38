"""The lens over the table: what is asked, when, and what a roll does."""

from dataclasses import replace

from tests.fake import Play, continued, evaluated, on, started
from tokex_gguf.engine.protocol import Apply, Continue, EngineDied, Evaluate, Failed, Roll
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Sampling
from tokex_gguf.play.messages import Send, Typed
from tokex_gguf.play.purposes import ForView
from tokex_gguf.play.screens import SearchScreen
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.layers import REACHABLE
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.samplers import NO_CHAIN, Chain, Kind, Sampler
from tokex_gguf.values.view import NOT_CUT, Verdict

CHAIN = Chain((Sampler.of(Kind.TOP_K, 5), Sampler.of(Kind.TEMPERATURE, 0.5)))


def sampled(chain: Chain = CHAIN, seed: int = 1, tokens_to_show: int = 30) -> Play:
    play = started(tokens_to_show=tokens_to_show)
    game = play.session.game
    play.session = replace(play.session, game=replace(game, sampling=Sampling(chain, None, seed)))
    return play


def test_without_a_chain_nothing_more_is_asked() -> None:
    play = sampled(NO_CHAIN)
    play.take(Action.APPEND)
    assert [type(request) for request in play.asked] == [Evaluate]
    play.answer()
    assert play.session.view is None


def test_the_view_is_asked_for_together_with_the_table() -> None:
    play = sampled()
    play.take(Action.APPEND)
    assert [type(request) for request in play.asked] == [Evaluate, Apply], "it waits for no answer"
    assert play.session.game.waiting
    play.answer()
    view = play.session.view
    assert view is not None and view.left == 5 and not play.session.game.waiting
    assert abs(sum(view.finals) - 1) < 1e-9


def test_a_view_is_asked_for_once() -> None:
    play = sampled()
    play.press(Action.APPEND, Action.DOWN)
    seen: list[object] = []
    play.take(Action.UP)
    seen += play.asked
    play.answer()
    play.press(Action.POP)
    play.take(Action.APPEND)
    assert not [request for request in [*seen, *play.asked] if isinstance(request, Apply)]


def test_a_roll_appends_what_its_number_draws() -> None:
    play = sampled()
    tip = play.session.game.prompt.tip
    play.press(Action.ROLL)
    drawn = play.session.game.drawn
    assert drawn is not None and drawn.node is tip and len(drawn.draws) == 1
    (draw,) = drawn.draws
    assert draw.low <= draw.number < draw.high
    assert play.session.game.prompt.tip is tip.child(draw.token)
    assert "drew 0." in play.session.notice


def test_the_same_seed_draws_the_same_path_again_and_another_roll_another_number() -> None:
    def path(seed: int) -> list[int]:
        play = sampled(seed=seed)
        play.press(*[Action.ROLL] * 6)
        return play.session.game.prompt.tip.path()

    assert path(1) == path(1) != path(2)
    play = sampled()
    play.press(Action.ROLL)
    first = play.session.game.drawn
    play.press(Action.POP, Action.ROLL)
    again = play.session.game.drawn
    assert first and again and first.node is again.node and first.draws[0].number != again.draws[0].number


def test_rolls_that_come_too_fast_wait_for_the_table() -> None:
    play = sampled()
    depth = play.session.game.prompt.tip.depth
    for _ in range(3):
        play.take(Action.ROLL)
    assert sum(isinstance(request, Roll) for request in play.asked) == 1
    play.answer()
    assert play.session.game.prompt.tip.depth == depth + 3


def test_many_draws_are_counted_and_move_nothing() -> None:
    play = sampled()
    tip = play.session.game.prompt.tip
    play.press(Action.DRAW_MANY, Action.DRAW_MANY)
    drawn = play.session.game.drawn
    assert drawn is not None and drawn.many and len(drawn.draws) == 200
    assert play.session.game.prompt.tip is tip
    assert len({draw.number for draw in drawn.draws}) == 200


def test_the_view_of_a_place_inside_the_prompt() -> None:
    play = sampled()
    play.press(Action.CURSOR_BACK, Action.CURSOR_BACK)
    assert play.session.view is not None
    cursor = play.session.game.prompt.cursor
    assert cursor is not None and cursor.token in play.session.view.verdicts, "the one that was taken is told of"


def test_what_is_found_is_told_of() -> None:
    play = sampled().press(Action.SEARCH, Typed("a"))
    searching, view = on(play.session, SearchScreen), play.session.view
    assert searching.rows and view is not None
    assert {row.token for row in searching.rows} <= set(view.verdicts)


def test_autoplay_draws_through_the_chain_from_the_tip_on() -> None:
    play = sampled(seed=7)
    tip = play.session.game.prompt.tip
    play.take(Action.AUTOPLAY)
    (request,) = [one for one in play.asked if isinstance(one, Continue)]
    assert request.path == tip.path() and request.seed == 7 and request.lens == play.session.lens
    path = [*tip.path(), 5]
    play.take(replace(continued(request, tip.path()), request=request.request))
    assert play.session.game.prompt.tip is tip, "its own table comes first"
    play.take(replace(continued(request, path), verdicts=[Verdict(0.25, NOT_CUT)]))
    node = tip.child(5)
    assert play.session.game.prompt.tip is node and play.session.game.pressed.autoplay
    lens = play.session.lens
    assert isinstance(lens, Sampled) and play.session.game.known.lens_results.verdict(lens, node) == Verdict(
        0.25, NOT_CUT
    )
    play.take(replace(continued(request, path), tokens=[], distributions=[], end=9))
    assert not play.session.game.pressed.autoplay and "was drawn" in play.session.notice


def test_a_view_is_asked_to_tell_of_what_is_not_among_the_candidates() -> None:
    play = sampled(tokens_to_show=7)
    play.take(Action.CURSOR_BACK)
    (request,) = [one for one in play.asked if isinstance(one, Apply)]
    place = play.session.game.prompt.place.tip
    assert place.distribution is not None and request.top == len(place.distribution) == 7


def test_a_roll_that_waits_is_made_where_it_was_asked_for_or_not_at_all() -> None:
    for key in (Action.NEXT, Action.AUTOPLAY, Action.INPUT):
        play = sampled().press(Action.COPY)
        play.take(Action.APPEND)
        play.take(Action.ROLL)
        assert play.session.game.pressed.rolling == 1
        play.take(key)
        play.answer()
        assert play.session.game.pressed.rolling == 0 and play.session.game.drawn is None
    play = sampled()
    play.take(Action.APPEND)
    play.take(Action.ROLL)
    play.take(EngineDied("gone"))
    play.take(Action.POP)
    assert not play.session.game.pressed.rolling
    assert not any(isinstance(one, Send) and isinstance(one.request, Roll) for one in play.effects)


def test_what_the_engine_refuses_is_not_asked_again_and_again() -> None:
    play = sampled(Chain((Sampler.of(Kind.DRY, 1),))).press(Action.CURSOR_BACK, Action.CURSOR_TIP)
    play.session = replace(play.session, options=replace(play.session.options, layer=REACHABLE))
    play.take(Action.CURSOR_BACK)
    refusals = 0
    while play.asked and refusals < 50:
        request = play.asked.pop(0)
        if isinstance(request, Apply | Evaluate):
            refusals += 1
            play.take(Failed(request.request, "the lens fails"))
    assert refusals < 10
    play.take(EngineDied("gone"))
    assert not play.session.game.refused, "another engine may do better"


def test_autoplay_without_samplers_ends_the_wait_for_a_view() -> None:
    play = sampled()
    play.take(Action.APPEND)
    evaluate = play.asked.pop(0)
    assert isinstance(evaluate, Evaluate)
    play.take(evaluated(evaluate))
    assert play.session.game.newest(ForView)
    game = play.session.game
    play.session = replace(play.session, game=replace(game, sampling=Sampling()))
    play.take(Action.AUTOPLAY)
    assert not play.session.game.newest(ForView), "the engine has dropped it for the newer request"


def test_a_draw_is_not_shown_through_another_lens() -> None:
    play = sampled().press(Action.ROLL)
    assert "drew 0." in "".join(text for line in ScreenRenderer().screen(play.session, 130, 40) for _, text in line)
    play.session = replace(play.session, notice="", game=replace(play.session.game, sampling=Sampling()))
    assert "drew 0." not in "".join(text for line in ScreenRenderer().screen(play.session, 130, 40) for _, text in line)
