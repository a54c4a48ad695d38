"""The table through a lens: its order, biases and bans, seeds and counts, and jumps by the layers of a lens."""

import math
from array import array
from dataclasses import replace

import pytest

from tests import fake
from tests.fake import Play, on, sampled, started
from tests.play.test_capabilities import Without
from tokex_gguf.engine.protocol import (
    Applied,
    Apply,
    Capability,
    Evaluate,
    Failed,
    Found,
    Reply,
    Request,
    Roll,
    Rolled,
    Spell,
)
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Cost, Prompt, Sampling
from tokex_gguf.play.messages import BackgroundReported, JudgeFurther, Typed
from tokex_gguf.play.table import selected_row, table
from tokex_gguf.ui.cells import cells_of
from tokex_gguf.ui.table import BIAS_CELLS, _Columns, _ColumnWidths, _Look, _row_line, _RowShown
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.formatting import bias_text
from tokex_gguf.values.layers import COST, REACHABLE
from tokex_gguf.values.lens import Sampled, lens_of
from tokex_gguf.values.random_numbers import RANDOM_SEED
from tokex_gguf.values.samplers import NO_CHAIN, Chain, Kind, Sampler
from tokex_gguf.values.tokens import label
from tokex_gguf.values.view import NOT_CUT, Standing, Verdict, View, by_final

CHAIN = Chain((Sampler.of(Kind.TOP_K, 5), Sampler.of(Kind.TEMPERATURE, 0.5)))


def tokens(play: Play) -> list[int]:
    return [row.token for row in table(play.session, play.session.game.prompt.place)]


def selected(play: Play) -> int:
    place = play.session.game.prompt.place
    return table(play.session, place)[selected_row(play.session, place)].token


# --- the order


def test_sorted_by_final_what_can_be_drawn_comes_first_and_what_was_cut_in_the_models_order() -> None:
    raw = Distribution.of(2.0, [10, 11, 12, 13], [math.log(one) for one in (0.4, 0.3, 0.1, 0.05)])
    rows = (
        array("i", [10, 11, 12, 13, 20, 21]),
        array("d", [0, 0.2, 0.5, 0, 0.3, 0.1]),
        array("b", [0, -1, -1, 1, -1, -1]),
    )
    view = View(4, 0.5, 1.0, 1.0, (), Standing.FREE, -1, *rows, {20: TokenLogprob(math.log(0.01), 90)})
    ordered = by_final(raw, view, {21: TokenLogprob(math.log(0.02), 70)})
    assert [row.token for row in ordered] == [12, 20, 11, 21, 10, 13]
    assert [row.rank for row in ordered] == [3, 90, 2, 70, 1, 4], "the model's own ranks"
    assert ordered[1].prob == pytest.approx(0.01), "and its probabilities"


def test_the_selection_is_a_token_and_stays_where_the_order_changes() -> None:
    play = sampled(CHAIN.biased(fake.ranked(sampled(CHAIN).session.game.prompt.tip.path())[0], -math.inf))
    play.press(Action.DOWN, Action.DOWN)
    before, raw = selected(play), tokens(play)
    play.press(Action.ORDER)
    assert selected(play) == before
    assert tokens(play)[:5] == raw[1:6], "the first one is banned"
    assert tokens(play)[5] == raw[0]
    play.press(Action.ORDER)
    assert tokens(play) == raw and selected(play) == before


def test_the_first_row_is_called_the_most_likely_token_only_where_it_is_that() -> None:
    first = fake.ranked(started().session.game.prompt.tip.path())[0]
    play = sampled(CHAIN.biased(first, -math.inf)).press(Action.UP)
    assert play.session.notice == "this is the most likely token"
    assert play.press(Action.ORDER, Action.UP).session.notice == "this is the first row"


def test_without_a_selection_the_first_shown_row_is_taken() -> None:
    first, second = fake.ranked(started().session.game.prompt.tip.path())[:2]
    play = sampled(CHAIN.biased(first, -math.inf)).press(Action.ORDER)
    assert play.session.game.prompt.selected is None and selected(play) == second
    play.press(Action.APPEND)
    assert play.session.game.prompt.tip.token == second


def test_while_the_order_is_not_known_no_other_token_is_taken() -> None:
    """→ pressed between the distribution and what the lens leaves of it waits for the latter."""
    play = sampled(CHAIN).press(Action.ORDER)
    play.take(Action.APPEND)
    evaluate, apply = play.asked
    assert isinstance(evaluate, Evaluate) and isinstance(apply, Apply)
    play.asked.clear()
    play.take(fake.evaluated(evaluate))
    tip = play.session.game.prompt.tip
    assert tip.distribution is not None and play.session.order_awaited and tokens(play) == []
    play.take(Action.APPEND)
    assert play.session.game.prompt.tip is tip and play.session.game.pressed.appends == 1
    told = fake.applied(apply).view
    finals = array("d", [one if one else 0.0 for one in told.finals])
    finals[2] = 0.99  # another token than the model's likeliest
    play.take(Applied(apply.request, replace(told, finals=finals), fake.PIECES, 0, 0.0))
    assert play.session.game.prompt.tip is tip.child(told.ids[2])


def test_a_lens_that_is_on_the_way_leaves_the_order_of_the_one_before() -> None:
    play = sampled(CHAIN).press(Action.ORDER, Action.DOWN)
    before = tokens(play)
    play.take(Action.UNLIKELIER)
    assert play.session.view is None and tokens(play) == before and not play.session.order_awaited
    viewed = play.session.viewed(play.session.game.prompt.tip)
    assert viewed is not None and viewed.lens != play.session.lens
    play.answer()
    assert play.session.view is not None


@pytest.mark.parametrize("key", [Action.APPEND, Action.ROLL, Action.DRAW_MANY, Action.SEARCH])
def test_what_a_view_a_draw_and_a_search_decode_is_told(key: Action) -> None:
    class Decoding(Play):
        def reply(self, request: Request) -> Reply | None:
            reply = super().reply(request)
            return replace(reply, decoded=1, seconds=0.3) if isinstance(reply, Applied | Rolled | Found) else reply

    play = Decoding("hello", lookahead=3, lookahead_tokens=0)
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling(CHAIN, None, 1)))
    play.answer().press(Action.DOWN, Action.UP)
    assert play.session.game.cost == Cost()
    decoded = play.decoded
    play.press(key, *([Typed("a")] if key is Action.SEARCH else []))
    answers = 2 if key is Action.ROLL else 1  # the draw, and the view of what comes behind it
    assert play.session.game.cost.tokens == answers + play.decoded - decoded
    assert play.session.game.cost.seconds >= answers * 0.3


def test_what_a_view_of_another_place_decodes_is_not_told_of_this_one() -> None:
    play = sampled(CHAIN)
    play.take(Action.APPEND)
    late = next(one for one in play.asked if isinstance(one, Apply))
    play.asked.remove(late)
    play.press(Action.POP)
    before = play.session.game.cost
    answer = play.reply(late)
    assert isinstance(answer, Applied)
    play.take(replace(answer, decoded=1))
    assert play.session.game.cost == before


def test_what_the_engine_refuses_leaves_the_models_order() -> None:
    play = sampled(CHAIN).press(Action.ORDER)
    play.take(Action.APPEND)
    evaluate, apply = play.asked
    play.asked.clear()
    assert isinstance(evaluate, Evaluate) and isinstance(apply, Apply)
    play.take(fake.evaluated(evaluate))
    play.take(Failed(apply.request, "no"))
    assert not play.session.order_awaited
    assert tokens(play)[0] == fake.ranked(play.session.game.prompt.tip.path())[0]


# --- bias and bans


def test_plus_and_minus_go_through_the_steps_and_keep_the_token() -> None:
    play = started()
    token = selected(play)
    seen = []
    for _ in range(6):
        play.press(Action.UNLIKELIER)
        seen.append(dict(play.session.game.sampling.chain.bias).get(token))
        assert selected(play) == token
    assert seen == [-1, -2, -4, -8, -math.inf, -math.inf]
    name = label(play.session.game.piece(token).data)
    assert play.session.notice == f"“{name}” is banned already: + lifts the ban"
    assert play.session.view is not None and play.session.view.verdicts[token].cut_by == 0
    assert isinstance(play.session.lens, Sampled) and play.session.lens.stage(0) == "logit bias"
    for _ in range(6):
        play.press(Action.LIKELIER)
    assert dict(play.session.game.sampling.chain.bias)[token] == 1
    play.press(Action.UNLIKELIER)
    assert play.session.game.sampling.chain == NO_CHAIN and play.session.view is None


def banned(play: Play) -> set[int]:
    return {token for token, amount in play.session.game.sampling.chain.bias if amount == -math.inf}


def typed(command: str, text: str) -> tuple[Action | Typed, ...]:
    return (Action.COMMANDS, Typed(command), Action.ENTER, *([Typed(text)] if text else []), Action.ENTER)


def test_a_text_is_banned_with_and_without_a_space_before_it() -> None:
    play = started().press(*typed("ban", "A"))
    assert banned(play) == {ord("A") - 0x30}, "the fake's pieces are a space and a letter"
    assert isinstance(play.session.screen, screens.Play)
    assert play.session.notice == "banned 1 token: “␣A”; :unban lifts it"
    play.press(*typed("ban", "␣B"))
    assert banned(play) == {ord("A") - 0x30, ord("B") - 0x30}, "a space may be typed as it is shown"
    play.press(Action.COMMANDS, Typed("unban"), Action.ENTER)
    assert not banned(play) and play.session.notice == "2 bans are lifted"


def test_a_text_that_no_single_token_spells_is_told() -> None:
    play = started().press(*typed("ban", "AB"))
    assert not banned(play) and play.session.notice == "no single token spells “AB”: nothing is banned"
    play.press(*typed("ban", ""))
    assert play.session.notice == "nothing was typed, nothing is banned"
    play.take(Action.COMMANDS)
    play.press(Typed("ban"), Action.ENTER, Typed("A"), Action.CLOSE)
    assert not banned(play) and isinstance(play.session.screen, screens.Play)


def test_what_was_asked_for_a_ban_is_waited_for() -> None:
    play = started().press(Action.COMMANDS, Typed("ban"), Action.ENTER, Typed("A"))
    play.take(Action.ENTER)
    (spell,) = play.asked
    assert isinstance(spell, Spell) and spell.text == "A" and play.session.game.waiting
    play.answer()
    assert not play.session.game.waiting


@pytest.mark.parametrize(("amount", "told"), [(2.0, "+2"), (-0.5, "-0.5"), (0.0, ""), (-math.inf, "banned")])
def test_how_a_bias_is_told(amount: float, told: str) -> None:
    assert bias_text(amount) == told


def test_an_engine_without_samplers_says_why_not() -> None:
    play = Without(Capability.SAMPLERS)
    for action in (Action.LIKELIER, Action.UNLIKELIER, Action.ORDER, Action.ROLL):
        play.press(action)
        assert play.session.notice in ("this engine has no samplers", "this engine does not draw"), action
    for name in ("ban", "unban", "seed", "draw"):
        play.press(Action.COMMANDS, Typed(name), Action.ENTER)
        assert isinstance(play.session.screen, screens.Play) and play.session.notice.startswith("this engine"), name
    assert play.session.game.sampling.chain == NO_CHAIN and not play.session.options.by_final


# --- seeds and counts


def test_a_seed_is_typed_and_draws_the_same_again() -> None:
    play = sampled(CHAIN).press(Action.COMMANDS, Typed("seed"), Action.ENTER)
    assert on(play.session, screens.Seed).line.text == "1" and on(play.session, screens.Seed).line.selected
    play.press(Typed("4294967294"), Action.ENTER)
    assert play.session.game.sampling.seed == RANDOM_SEED - 1 and play.session.notice == "the seed is 4294967294"
    play.press(*typed("seed", "7")).press(*[Action.ROLL] * 4)
    again = sampled(CHAIN, seed=7).press(*[Action.ROLL] * 4)
    assert again.session.game.prompt.tip.path() == play.session.game.prompt.tip.path()


@pytest.mark.parametrize("text", ["4294967295", "4294967296", "-1", "x", "1.5", "1" * 50, "²"])
def test_what_is_no_seed_is_told_and_stays(text: str) -> None:
    play = sampled(CHAIN).press(*typed("seed", text))
    assert play.session.game.sampling.seed == 1
    assert on(play.session, screens.Seed).line.text == text
    assert play.session.notice == "a whole number from 0 to 4294967294, or nothing for a new one"


def test_an_empty_line_takes_a_new_seed_each_time() -> None:
    play, seeds = sampled(CHAIN), [1]
    for _ in range(3):
        play.press(Action.COMMANDS, Typed("seed"), Action.ENTER, Action.ERASE_LINE, Action.ENTER)
        seeds.append(play.session.game.sampling.seed)
    assert len(set(seeds)) == 4 and all(0 <= seed <= RANDOM_SEED for seed in seeds)


def test_one_draws_as_often_as_one_types() -> None:
    play = sampled(CHAIN)
    tip = play.session.game.prompt.tip
    play.press(*typed("draw", "250"), *typed("draw", "1"))
    drawn = play.session.game.drawn
    assert drawn is not None and drawn.many and len(drawn.draws) == 251 and sum(drawn.counts.values()) == 251
    assert play.session.game.prompt.tip is tip
    play.press(*typed("draw", "0"))
    assert "from 1 to 10,000" in play.session.notice and isinstance(play.session.screen, screens.DrawCount)


def test_draws_of_another_seed_are_counted_anew() -> None:
    play = sampled(CHAIN).press(Action.DRAW_MANY, *typed("seed", "9"))
    play.take(Action.DRAW_MANY)
    (request,) = [one for one in play.asked if isinstance(one, Roll)]
    assert request.first == 2**32 and request.seed == 9
    play.answer()
    assert play.session.game.drawn is not None and len(play.session.game.drawn.draws) == 100


def test_a_draw_under_way_counts_for_the_seed_that_it_was_made_by() -> None:
    play = sampled(CHAIN)
    tip = play.session.game.prompt.tip
    play.take(Action.ROLL)
    for message in typed("seed", "9"):
        play.take(message)
    play.answer()
    assert play.session.game.known.rolls == {(1, tip): 1}
    assert play.session.game.drawn is not None and play.session.game.drawn.seed == 1
    play.press(Action.POP).take(Action.ROLL)
    (request,) = [one for one in play.asked if isinstance(one, Roll)]
    assert (request.seed, request.first) == (9, 0)


def test_many_draws_under_way_are_counted_with_those_of_their_seed() -> None:
    play = sampled(CHAIN)
    play.take(Action.DRAW_MANY)
    for message in typed("seed", "9"):
        play.take(message)
    play.answer()
    assert play.session.game.drawn is not None and play.session.game.drawn.seed == 1
    play.press(Action.DRAW_MANY)
    assert play.session.game.drawn is not None and play.session.game.drawn.seed == 9
    assert len(play.session.game.drawn.draws) == 100


# --- layers


def layered(play: Play, name: str) -> Play:
    while play.session.options.layer.name != name:
        play.press(Action.MORE_LAYERS)
    return play


@pytest.mark.parametrize(("bar", "ahead"), [(0, 12), (8, 12), (8, 0), (4, 0)])
def test_a_cut_row_says_by_what_in_the_room_of_what_it_lacks(bar: int, ahead: int) -> None:
    widths = _ColumnWidths(60, 7, 16, 7, 7, 0, False, bar, 0, ahead)
    row = _RowShown("", "1", b" Emma", False, -math.inf, 0.25, None, "logit bias", True, 0, 0.0, 7, "", "")
    text = "".join(text for _, text in _row_line(widths, row))
    assert "␣Emma" in text and "banned" in text and "logit bias" in text
    kept = "".join(
        text for _, text in _row_line(widths, row._replace(cut="", final=0.5, bar=1.0, ahead="goes on here"))
    )
    assert cells_of(text) == cells_of(kept) and ("goes on here" in kept) is bool(ahead)


def test_a_bias_has_cells_beside_the_name() -> None:
    game = started("hello", lookahead=3).session.game
    place = game.known.lookahead.place(game.prompt.tip)
    looks = (_Look(None, False, True, False, None, 1.0, biases, "ahead") for biases in ({}, {7: -math.inf}))
    plain, biased = (_Columns(120, look, place, lambda _: None)._token for look in looks)
    assert biased == plain + BIAS_CELLS


def test_sorting_needs_something_to_sort_by() -> None:
    play = started().press(Action.ORDER)
    assert play.session.notice.endswith("the table is sorted by probability") and not play.session.options.by_final
    assert sampled(CHAIN).press(Action.ORDER).session.options.by_final


def test_a_layer_of_a_lens_colours_what_is_known() -> None:
    play = layered(sampled(CHAIN, "hello " * 20), "reachable")
    lens, nodes = play.session.lens, play.session.game.prompt.tip.nodes()
    assert isinstance(lens, Sampled) and play.session.layer_value(nodes[0]) is None
    for node in nodes[1:]:
        assert node.parent is not None
        cut = fake.taken(node.parent.path(), node.token).rank > 5
        assert play.session.layer_value(node) == float(cut)
    assert layered(play, "cost").session.layer_value(nodes[5]) is None, "there is no constraint"
    assert REACHABLE.lacking(started().session.lens) == "no samplers: S"
    assert COST.lacking(lens) == "no constraint: C"


def test_n_jumps_to_the_tokens_that_were_cut() -> None:
    play = layered(sampled(CHAIN, "hello " * 20), "reachable")
    path = play.session.game.prompt.tip.path()
    cut = [depth for depth in range(2, len(path) + 1) if fake.taken(path[: depth - 1], path[depth - 1]).rank > 5]
    assert 2 < len(cut) < len(path)
    seen = []
    for _ in cut:
        play.press(Action.NEXT_SURPRISAL)
        assert play.session.game.prompt.cursor is not None
        seen.append(play.session.game.prompt.cursor.depth)
    assert seen == cut
    play.press(Action.NEXT_SURPRISAL)
    assert play.session.game.prompt.cursor is not None and play.session.game.prompt.cursor.depth == cut[0]
    assert play.session.notice == f"from the other end again: {len(cut)} such tokens"
    play.press(Action.PREVIOUS_SURPRISAL)
    assert play.session.game.prompt.cursor.depth == cut[-1]


def constrained(costs: dict[int, float]) -> Play:
    """A prompt whose tokens at these depths cost so many bits, the others unknown."""
    play = started("hello " * 8)
    limit = Constraint(ConstraintKind.REGEX, "a*")
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling(NO_CHAIN, limit, 0)))
    prompts = tuple(replace(prompt, begins=1) for prompt in play.session.game.prompts)
    play.session = replace(play.session, game=replace(play.session.game, prompts=prompts))
    lens = lens_of(NO_CHAIN, limit, 1)
    assert isinstance(lens, Sampled)
    for depth, bits in costs.items():
        node = play.session.game.prompt.tip.ancestor(depth)
        play.session.game.known.lens_results.attach_verdict(lens, node, Verdict(0.5, NOT_CUT, 2.0**-bits))
    play.session.game.known.lens_results.judge_more(lens, play.session.game.prompt.tip, 1000)
    play.session = replace(play.session, options=replace(play.session.options, layer=COST))
    return play


def test_a_prompt_is_judged_in_pieces_of_which_one_is_on_its_way() -> None:
    play = sampled(CHAIN, "hello " * 60)
    play.session = replace(play.session, options=replace(play.session.options, layer=REACHABLE))
    play.take(BackgroundReported(light=False))
    pieces = play.effects.count(JudgeFurther())
    while play.session.under_way.judging:
        play.take(BackgroundReported(light=False))
        assert JudgeFurther() not in play.effects, "one is on its way"
        play.take(JudgeFurther())
        pieces += play.effects.count(JudgeFurther())
    assert 3 <= pieces <= 8 and play.session.game.prompt.tip.depth == 360
    tip, lens = play.session.game.prompt.tip, play.session.lens
    assert isinstance(lens, Sampled)
    assert play.session.game.known.lens_results.judged(lens, tip).tip is tip
    play.press(Action.NEXT_SURPRISAL)
    assert play.session.game.prompt.cursor is not None


@pytest.mark.parametrize("beat", [False, True])
@pytest.mark.parametrize("tokens", range(64, 78))
def test_a_jump_that_waits_is_made_whichever_message_ends_the_wait(tokens: int, beat: bool) -> None:
    play = sampled(Chain((Sampler.of(Kind.TOP_K, 1),)), "hello" * 20)
    tip = play.session.game.prompt.tip.ancestor(tokens)
    play.session = replace(
        play.session,
        game=replace(play.session.game, prompts=(Prompt(tip),)),
        options=replace(play.session.options, layer=REACHABLE),
    )
    play.take(BackgroundReported(light=False))
    play.take(Action.PREVIOUS_SURPRISAL)
    assert (
        play.session.under_way.judging
        and play.session.under_way.jumping == -1
        and play.session.game.prompt.cursor is None
    )
    for _ in range(9):
        if play.session.under_way.judging:
            play.take(JudgeFurther())
        if beat:
            play.take(BackgroundReported(light=False))
    assert not play.session.under_way.judging and play.session.under_way.jumping == 0
    lens = play.session.lens
    assert isinstance(lens, Sampled)
    last = play.session.game.known.lens_results.judged(lens, tip).cut(tip).depths[-1]
    assert play.session.game.prompt.cursor is tip.ancestor(last) and last > tokens - 6
    assert any(isinstance(one, Apply) and len(one.path) == last - 1 for one in play.asked), "its table is asked for"


def test_with_cost_n_jumps_to_the_highest_tenth_of_the_places_that_cost_something() -> None:
    costs = dict.fromkeys(range(2, 20), 0.0) | dict.fromkeys(range(20, 40), 1.0) | {23: 7.0, 31: 9.0}
    play = constrained(costs)
    seen = []
    for _ in range(3):
        play.take(Action.NEXT_SURPRISAL)
        assert play.session.game.prompt.cursor is not None
        seen.append((play.session.game.prompt.cursor.depth, play.session.notice.partition(" cost ")[2]))
    most, second = (31, "9.00 bits, most of all"), (23, "7.00 bits, #2; from the other end again: 2 such tokens")
    assert seen == [most, second, most], "from the end, the costliest comes first"
    assert play.session.layer_value(play.session.game.prompt.tip.ancestor(31)) == 9 / 16
    assert play.session.layer_value(play.session.game.prompt.tip.ancestor(45)) is None


def test_unknown_tokens_are_not_jumped_to() -> None:
    play = constrained({})
    play.take(Action.NEXT_SURPRISAL)
    assert play.session.game.prompt.cursor is None
    assert play.session.notice == "no such token here, as far as is known"
    play = layered(started(), "reachable")
    play.press(Action.NEXT_SURPRISAL)
    assert play.session.notice == "no samplers: S"
