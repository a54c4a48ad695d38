"""The rules of the game, played against an engine of arithmetic: no model, no terminal."""

import math
import os
import random
import re
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import fake
from tests.fake import Play, on, started
from tests.figures import Figure
from tokex_gguf.engine.protocol import (
    Continue,
    EngineDied,
    EngineFailed,
    Evaluate,
    Failed,
    Load,
    Loaded,
    Loading,
    Lookahead,
    Ping,
    Pong,
    Stop,
)
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import BEAT, SILENT_AFTER, SILENT_AFTER_AT_START, EngineStatus, Prompt
from tokex_gguf.play.messages import (
    Beat,
    Go,
    Message,
    Quit,
    Remark,
    Resized,
    Save,
    Saved,
    SaveFailed,
    Send,
    Start,
    Typed,
    Unbound,
)
from tokex_gguf.play.session import Session
from tokex_gguf.play.table import selected_row, table
from tokex_gguf.ui.cells import width_of
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values import layers
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node


def path(play: Play) -> list[int]:
    return play.session.game.prompt.tip.path()


def selected(play: Play) -> int:
    return table(play.session, play.session.game.prompt)[selected_row(play.session, play.session.game.prompt)].token


# --- starting


def test_the_first_effects_start_the_engine_and_load_the_model() -> None:
    play = Play()
    assert [type(effect) for effect in play.effects] == [Start, Send]
    assert play.asked == [Load("fake.gguf", 0, 0)]
    assert not play.session.game.ready


def test_loading_is_told() -> None:
    play = Play()
    play.take(Loading(0.5))
    assert play.session.game.health.progress == 0.5
    assert play.session.game.engine is EngineStatus.LOADING


def test_the_starting_text_is_tokenised_and_evaluated_once() -> None:
    play = started("hello")
    assert path(play) == fake.text_to_path("hello")
    assert play.session.game.ready
    assert play.decoded == 5
    assert play.session.game.cost.tokens == 5


def test_settings_reach_the_engine() -> None:
    play = Play("hello", load=Load("", 512, 3), parse_special=False, tokens_to_show=7)
    assert play.asked == [Load("fake.gguf", 512, 3)]
    play.take(play.reply(play.asked.pop()))  # type: ignore[arg-type]
    (tokenize,) = play.asked
    assert tokenize.parse_special is False  # type: ignore[union-attr]
    play.answer()
    assert len(table(play.session, play.session.game.prompt)) == 7


def test_keys_before_the_prompt_is_there_do_nothing_bad() -> None:
    for action in Action:
        play = Play()
        play.take(action)
        play.answer()
        assert play.session.game.engine is EngineStatus.READY


# --- the table


def test_the_selection_moves_and_stops_at_both_ends() -> None:
    play = started()
    expected = fake.ranked(path(play))[:30]
    assert selected(play) == expected[0]
    for action, row in [
        (Action.UP, 0),
        (Action.DOWN, 1),
        (Action.DOWN, 2),
        (Action.UP, 1),
        (Action.PAGE_DOWN, 11),
        (Action.BOTTOM, 29),
        (Action.DOWN, 29),
        (Action.PAGE_UP, 19),
        (Action.TOP, 0),
        (Action.PAGE_UP, 0),
    ]:
        play.press(action)
        assert selected(play) == expected[row], action
    assert play.decoded == 5


# --- append and pop


def test_append_takes_the_selected_token_and_decodes_one() -> None:
    play = started()
    before = path(play)
    play.press(Action.DOWN, Action.DOWN)
    token = selected(play)
    play.press(Action.APPEND)
    assert path(play) == [*before, token]
    assert play.decoded == 6
    assert play.session.game.cost.tokens == 1
    assert selected_row(play.session, play.session.game.prompt) == 0
    assert play.session.game.prompt.tip.taken == fake.taken(before, token)


def test_a_popped_token_is_selected_and_append_takes_it_back_without_a_decode() -> None:
    play = started()
    play.press(Action.DOWN, Action.DOWN, Action.APPEND)
    there = play.session.game.prompt.tip
    play.press(Action.POP)
    assert selected(play) == there.token
    assert selected_row(play.session, play.session.game.prompt) == 2
    play.press(Action.APPEND)
    assert play.session.game.prompt.tip is there
    assert play.decoded == 6
    assert play.session.game.cost.tokens == 0


def test_a_popped_token_below_the_table_has_a_row_with_its_true_rank() -> None:
    play = started(tokens_to_show=3)
    token, before = path(play)[-1], path(play)[:-1]
    rank = fake.ranked(before).index(token) + 1
    assert rank > 3, "choose another text: this one's last token is likely"
    play.press(Action.POP)
    rows = table(play.session, play.session.game.prompt)
    assert len(rows) == 4
    assert (rows[3].token, rows[3].rank) == (token, rank)
    assert rows[3].logprob == pytest.approx(fake.logprobs(before)[token])
    assert selected_row(play.session, play.session.game.prompt) == 3
    play.press(Action.UP, Action.DOWN)
    assert selected(play) == token
    play.press(Action.APPEND)
    assert path(play) == [*before, token]
    assert play.decoded == 5


def test_the_first_token_cannot_be_popped() -> None:
    play = started("hi")
    play.press(Action.POP, Action.POP)
    assert len(path(play)) == 1
    assert "first token" in play.session.notice


def test_nothing_popped_is_lost() -> None:
    play = started()
    play.press(Action.APPEND, Action.APPEND, Action.POP, Action.POP, Action.POP)
    play.press(Action.APPEND, Action.APPEND, Action.APPEND)
    assert play.decoded == 7


# --- prompts


def test_copy_goes_after_the_prompt_and_to_it() -> None:
    play = started().press(Action.COPY)
    assert play.session.notice == "this is prompt 2, a copy of prompt 1: w and s switch"
    play = started()
    play.press(Action.COPY, Action.APPEND, Action.PREVIOUS, Action.COPY)
    first, second, third = play.session.game.prompts
    assert play.session.game.active == 1
    assert second.tip is first.tip
    assert third.tip.depth == first.tip.depth + 1


def test_next_and_previous_go_round_and_keep_each_prompts_selection() -> None:
    play = started()
    play.press(Action.COPY, Action.DOWN, Action.DOWN)
    play.press(Action.NEXT)
    assert (play.session.game.active, selected_row(play.session, play.session.game.prompt)) == (0, 0)
    play.press(Action.PREVIOUS)
    assert (play.session.game.active, selected_row(play.session, play.session.game.prompt)) == (1, 2)
    play.press(Action.NEXT, Action.NEXT)
    assert play.session.game.active == 1
    assert play.decoded == 5


def test_copy_stops_at_the_limit_and_says_so() -> None:
    play = started(max_prompts=2)
    play.press(Action.COPY, Action.COPY)
    assert len(play.session.game.prompts) == 2
    assert "no more than 2 can be open" in play.session.notice


def test_remove_never_takes_the_last() -> None:
    play = started()
    play.press(Action.COPY, Action.APPEND, Action.REMOVE)
    assert (len(play.session.game.prompts), play.session.game.active) == (1, 0)
    play.press(Action.REMOVE)
    assert len(play.session.game.prompts) == 1
    assert "only prompt" in play.session.notice


def test_going_back_to_a_removed_path_decodes_nothing() -> None:
    play = started()
    play.press(Action.COPY, Action.APPEND, Action.REMOVE, Action.APPEND)
    assert play.decoded == 6


# --- layers, help, save, quit


def test_layers_cycle_and_decode_nothing() -> None:
    play = started()
    seen = []
    for _ in range(3):
        play.press(Action.LAYER)
        seen.append(play.session.options.layer)
    assert seen == [layers.PROBABILITY, layers.ENTROPY, layers.PLAIN]
    assert play.decoded == 5


def test_help_opens_scrolls_and_closes() -> None:
    play = started()
    play.press(Action.HELP)
    assert isinstance(play.session.screen, screens.Help)
    play.press(Action.DOWN, Action.DOWN, Action.UP, Action.UP, Action.UP, Action.DOWN)
    assert on(play.session, screens.Help).entry == 1
    play.press(Action.CLOSE)
    assert isinstance(play.session.screen, screens.Play)
    assert selected_row(play.session, play.session.game.prompt) == 0


def test_save_gives_the_text_and_tells_the_outcome() -> None:
    play = started("hello")
    play.press(Action.SAVE)
    assert play.effects == [Save(b"".join(fake.PIECES[token].data for token in path(play)))]
    play.take(Saved("prompts/prompt-1.txt"))
    assert play.session.notice == "saved prompts/prompt-1.txt"
    play.take(SaveFailed("disk full"))
    assert play.session.notice == "not saved: disk full"


def test_what_the_tokenizer_adds_is_not_saved() -> None:
    play = started("hello")
    model = play.session.game.model
    assert model is not None
    play.session = replace(
        play.session, game=replace(play.session.game, model=replace(model, bos=path(play)[0], space_prefix=True))
    )
    play.press(Action.SAVE)
    pieces = [fake.PIECES[token].data for token in path(play)[1:]]
    assert play.effects == [Save(b"".join(pieces)[1:])]


def test_quit() -> None:
    play = started()
    play.press(Action.QUIT)
    assert play.effects == [Quit()]


def test_a_notice_goes_with_the_next_key() -> None:
    play = started()
    play.press(Action.REMOVE, Action.DOWN)
    assert play.session.notice == ""


# --- while the engine works


def test_one_append_is_kept_while_the_table_is_computed_and_no_more() -> None:
    play = started()
    for _ in range(300):
        play.take(Action.APPEND)
    assert len(play.asked) == 1
    play.answer()
    assert play.session.game.ready
    assert len(path(play)) == 5 + 2


@pytest.mark.parametrize("lookahead", [0, 4])
@pytest.mark.parametrize("presses", [1, 2, 300])
def test_two_quick_appends_append_two_tokens_also_before_the_first_table(presses: int, lookahead: int) -> None:
    play = Play(lookahead=lookahead)
    for _ in range(2):
        play.take(play.reply(play.asked.pop()))  # type: ignore[arg-type]
    assert play.session.game.pending and not play.session.game.ready
    for _ in range(presses):
        play.take(Action.APPEND)
    play.answer()
    assert play.session.game.ready and len(path(play)) == 5 + min(presses, 2)


@pytest.mark.parametrize("slow", range(1, 6))
def test_a_held_append_stops_within_a_token_of_its_release(slow: int) -> None:
    """The key repeats `slow` times while each table is computed."""
    play = Play()
    for _ in range(2):
        play.take(play.reply(play.asked.pop()))  # type: ignore[arg-type]
    for _ in range(20):
        for _ in range(slow):
            play.take(Action.APPEND)
        play.take(play.reply(play.asked.pop()))  # type: ignore[arg-type]
    depth = len(path(play))
    assert depth >= 5 + 19
    play.answer()
    assert len(path(play)) <= depth + 1


@pytest.mark.parametrize("elsewhere", [Action.SEARCH, Action.INPUT, Action.TREE, Action.CURSOR_BACK])
def test_an_append_that_was_kept_is_dropped_by_who_goes_elsewhere(elsewhere: Action) -> None:
    play = started()
    play.take(Action.APPEND)
    play.take(Action.APPEND)
    play.take(elsewhere)
    play.answer()
    assert play.session.game.ready and not play.session.game.pressed.appends
    assert len(path(play)) == 5 + 1 and len(play.session.game.prompts) == 1


def test_pop_wins_over_a_decode_under_way() -> None:
    play = started()
    tip = play.session.game.prompt.tip
    play.take(Action.APPEND)
    play.take(Action.APPEND)
    play.take(Action.POP)
    assert play.session.game.ready
    assert play.session.game.prompt.tip is tip
    assert isinstance(play.asked[-1], Stop)
    play.answer()
    assert play.session.game.prompt.tip is tip


def test_an_answer_that_comes_late_is_kept() -> None:
    play = started()
    play.take(Action.APPEND)
    (request,) = play.asked
    play.asked.clear()
    play.take(Action.POP)
    play.asked.clear()
    assert isinstance(request, Evaluate)
    play.take(fake.evaluated(request))
    decoded = play.decoded
    play.press(Action.APPEND)
    assert play.session.game.ready
    assert play.decoded == decoded


def evaluating() -> tuple[Play, Evaluate]:
    """A prompt of eleven tokens, and the request for what the model says of it."""
    play = Play("hello world")
    for _ in range(2):
        play.take(play.reply(play.asked.pop()))  # type: ignore[arg-type]
    (request,) = play.asked
    assert isinstance(request, Evaluate)
    return play, request


def test_chunks_come_one_by_one_and_progress_shows() -> None:
    play, request = evaluating()
    play.take(fake.evaluated(request, 0, 4))
    assert not play.session.game.ready
    assert play.session.game.evaluated(play.session.game.prompt.tip) == 4
    play.take(fake.evaluated(request, 4, 11))
    assert play.session.game.ready
    assert play.session.game.evaluated(play.session.game.prompt.tip) == 11
    assert play.session.game.cost.tokens == 11


def test_the_table_may_come_before_all_that_leads_to_it() -> None:
    play, request = evaluating()
    play.take(fake.evaluated(request, 10))
    assert play.session.game.prompt.tip.distribution
    assert not play.session.game.ready
    assert play.session.game.evaluated(play.session.game.prompt.tip) == 0
    play.take(fake.evaluated(request, 0, 4))
    play.take(fake.evaluated(request, 4, 11))
    assert play.session.game.ready
    assert play.session.game.evaluated(play.session.game.prompt.tip) == 11
    play.take(fake.evaluated(request, 10))
    assert play.session.game.ready, "what nobody asked for is nothing"


def test_a_token_is_appended_from_a_table_that_came_first() -> None:
    play, request = evaluating()
    play.take(fake.evaluated(request, 10))
    play.take(fake.evaluated(request, 0, 4))
    play.take(Action.APPEND)
    assert play.session.game.prompt.tip.depth == 12, "no key waits for what is known"
    (*_, longer) = play.asked
    assert isinstance(longer, Evaluate)
    assert (longer.start, len(longer.path)) == (4, 12)
    play.answer()
    assert play.session.game.ready


def test_popping_into_an_evaluation_under_way_asks_nothing_twice() -> None:
    play, request = evaluating()
    play.take(fake.evaluated(request, 0, 4))
    play.take(Action.POP)
    assert play.asked == [request]
    play.take(fake.evaluated(request, 4, 10))
    # The popped token's own distribution is not wanted any more, its rank is known.
    assert play.session.game.ready
    assert isinstance(play.asked[-1], Stop)
    assert selected(play) == request.path[-1]


def test_a_token_popped_before_anything_is_known_gets_its_rank() -> None:
    play = started("hello", tokens_to_show=2)
    play.take(EngineDied("SIGKILL"))
    other = Play("hello", tokens_to_show=2)
    for _ in range(2):
        other.take(other.reply(other.asked.pop()))  # type: ignore[arg-type]
    token = path(other)[-1]
    other.take(EngineDied("SIGKILL"))
    other.asked.clear()
    other.take(Action.POP)
    other.press(Action.RESTART)
    assert other.session.game.ready
    assert selected(other) == token
    assert table(other.session, other.session.game.prompt)[-1].rank == fake.ranked(path(other)).index(token) + 1


def test_switching_to_a_known_prompt_is_ready_at_once() -> None:
    play = started()
    play.press(Action.COPY)
    play.take(Action.APPEND)
    play.take(Action.NEXT)
    assert play.session.game.ready


# --- look-ahead


def ahead(play: Play) -> Lookahead:
    """The look-ahead that the game asks for now."""
    (request,) = play.asked
    assert isinstance(request, Lookahead)
    return request


def waiting(text: str = "hello", lookahead: int = 3) -> Play:
    """A game that has asked for its look-ahead, which is not answered."""
    play = Play(text, lookahead=lookahead)
    for _ in range(3):
        play.take(play.reply(play.asked.pop()))  # type: ignore[arg-type]
    return play


def test_when_nothing_is_asked_the_likeliest_tokens_are_gone_on_from() -> None:
    play = waiting()
    assert play.session.game.ready
    assert ahead(play).path == path(play)
    assert ahead(play).branches == [[token] for token in fake.ranked(path(play))[:3]]


def test_a_token_that_was_looked_ahead_to_is_appended_without_a_decode() -> None:
    play = waiting().answer()
    play.press(Action.DOWN)
    decoded = play.decoded
    play.take(Action.APPEND)
    assert play.session.game.ready
    assert play.session.game.cost.tokens == 0
    assert play.decoded == decoded


def test_resting_on_a_row_asks_for_it_first_and_nothing_is_asked_twice() -> None:
    play = waiting().answer()
    lookaheads = play.lookaheads
    play.take(Action.BOTTOM)
    assert ahead(play).branches == [[selected(play)]]
    play.answer()
    play.press(Action.TOP, Action.BOTTOM, Action.LAYER, Action.HELP, Action.CLOSE)
    assert play.lookaheads == lookaheads + 1


def test_an_answer_that_was_already_on_its_way_counts() -> None:
    play = waiting()
    request = ahead(play)
    play.asked.clear()
    play.take(Action.APPEND)
    assert isinstance(play.asked.pop(), Evaluate)
    assert not play.session.game.ready
    play.take(play.reply(request))  # type: ignore[arg-type]
    assert play.session.game.ready
    assert isinstance(play.asked[0], Stop)


@pytest.mark.parametrize("key", [Action.AUTOPLAY, Action.APPEND])
def test_what_waits_for_the_table_goes_on_when_look_ahead_brings_it(key: Action) -> None:
    """Autoplay stood still, and the key that was kept was kept for later."""
    play = waiting()
    request = ahead(play)
    play.asked.clear()
    if key is Action.APPEND:
        play.take(Action.APPEND)
    play.take(key)
    asked = play.asked[-1]
    assert isinstance(asked, Continue | Evaluate)
    assert len(asked.path) == 6 and play.session.game.pending is not None
    play.take(play.reply(request))  # type: ignore[arg-type]
    assert play.session.game.pressed.autoplay == (key is Action.AUTOPLAY) and not play.session.game.pressed.appends
    stop, asked = play.asked[-2:]
    assert isinstance(stop, Stop)
    assert isinstance(asked, Continue if key is Action.AUTOPLAY else Evaluate)
    assert len(asked.path) == 7 and play.session.game.pending is not None


def test_lookahead_can_be_turned_off() -> None:
    play = started(lookahead=0)
    assert play.asked == []
    assert play.lookaheads == 0


def test_nobody_goes_on_from_a_token_that_ends_the_generation() -> None:
    play = waiting()
    play.asked.clear()
    best = fake.ranked(path(play))[:3]
    play.session = replace(
        play.session,
        game=replace(
            play.session.game,
            open_requests={},
            known=replace(play.session.game.known, pieces={**fake.PIECES, best[1]: Piece(b"<end>", True, True)}),
        ),
    )
    play.take(Action.LAYER)
    assert ahead(play).branches == [[best[0]], [best[2]]]


# --- autoplay


def playing(steps: int = 0) -> tuple[Play, Continue]:
    """A game in autoplay, with so many tokens played, and the request that plays it."""
    play = started()
    play.take(Action.AUTOPLAY)
    (request,) = play.asked
    assert isinstance(request, Continue)
    play.asked.clear()
    for _ in range(steps):
        go_on(play, request)
    return play, request


def go_on(play: Play, request: Continue, **changes: object) -> None:
    """The answer for the next token."""
    play.take(replace(fake.continued(request, best(path(play))), **changes))  # type: ignore[arg-type]


def best(before: list[int]) -> list[int]:
    """A path and the most likely token."""
    return [*before, fake.ranked(before)[0]]


def test_space_appends_the_most_likely_token_again_and_again() -> None:
    play, request = playing(3)
    expected = fake.text_to_path("hello")
    for _ in range(3):
        expected = best(expected)
    assert path(play) == expected
    assert request.path == expected[:6]
    assert play.session.game.pressed.autoplay
    assert not play.session.game.ready


@pytest.mark.parametrize("action", [Action.AUTOPLAY, Unbound("q"), Action.DOWN, Action.LAYER])
def test_any_key_stops_it_and_takes_nothing_back(action: Action | Unbound) -> None:
    play, _ = playing(3)
    shown = play.session.game.prompt.tip
    assert shown.distribution is not None and not any(node.visited for node in shown.children.values())
    play.take(action)
    assert play.session.game.prompt.tip is shown
    assert not play.session.game.pressed.autoplay
    assert "nothing" not in play.session.notice
    assert play.session.game.ready
    assert len(path(play)) == 5 + 3
    assert isinstance(play.asked[0], Stop)


def test_a_key_that_stops_it_does_its_own_work_too() -> None:
    play, _ = playing(3)
    play.take(Action.POP)
    assert len(path(play)) == 5 + 2
    assert play.session.game.ready


def test_what_was_played_is_known_when_popped_and_played_again() -> None:
    play, request = playing(3)
    late = fake.continued(request, best(path(play)))
    play.take(Unbound("q"))
    play.take(late)
    play.press(*[Action.POP] * 3)
    play.take(Action.AUTOPLAY)
    (again,) = [asked for asked in play.asked if isinstance(asked, Continue)]
    assert len(again.path) == 5 + 5, "it goes on where nothing is known yet"


def test_it_stops_where_the_model_ends() -> None:
    play, request = playing(1)
    following = best(path(play))
    end = fake.ranked(following)[0]
    play.session.game.known.pieces[end] = Piece(b"<end>", True, True)
    go_on(play, request, pieces={})
    assert not play.session.game.pressed.autoplay
    assert play.session.game.ready
    assert path(play) == following
    assert play.session.notice == "the model ends here: “<end>” is the most likely token"


def test_it_stops_at_a_full_context() -> None:
    play, request = playing(1)
    model = play.session.game.model
    assert model is not None
    play.session = replace(play.session, game=replace(play.session.game, model=replace(model, context_limit=7)))
    go_on(play, request)
    assert not play.session.game.pressed.autoplay
    assert play.session.game.ready
    assert "context full (7/7)" in play.session.notice


def test_it_begins_when_the_prompt_is_evaluated() -> None:
    play = Play()
    for _ in range(2):
        play.take(play.reply(play.asked.pop()))  # type: ignore[arg-type]
    evaluate = play.asked.pop()
    play.take(Action.AUTOPLAY)
    assert play.asked == []
    play.take(play.reply(evaluate))  # type: ignore[arg-type]
    assert [type(asked) for asked in play.asked] == [Continue]


def test_the_engines_death_ends_it() -> None:
    play, _ = playing(2)
    play.take(EngineDied("SIGKILL"))
    assert not play.session.game.pressed.autoplay
    play.press(Action.RESTART)
    assert play.session.game.ready


# --- when things go wrong


def test_a_model_that_cannot_be_loaded_ends_the_program_with_the_reason() -> None:
    play = Play()
    play.take(EngineFailed("no such model"))
    assert play.effects == [Quit("no such model")]


def test_the_engines_death_keeps_everything_and_r_restarts() -> None:
    play = started()
    play.press(Action.APPEND, Action.COPY)
    before = play.session
    play.take(EngineDied("SIGSEGV"))
    assert play.session.game.engine is EngineStatus.DEAD
    assert "SIGSEGV" in play.session.notice
    assert (play.session.game.prompts, play.session.game.active) == (before.game.prompts, before.game.active)
    play.press(Action.POP, Action.LAYER)
    assert play.session.game.ready
    play.press(Action.APPEND, Action.DOWN)
    assert play.session.game.ready, "this path is known: no engine is needed"
    play.take(Action.APPEND)
    assert not play.session.game.ready
    play.answer()
    play.press(Action.RESTART)
    assert play.session.game.ready
    assert isinstance(play.session.screen, screens.Play)


def test_death_in_a_decode_is_made_up_for_after_the_restart() -> None:
    play = started()
    play.take(Action.APPEND)
    play.asked.clear()
    play.take(EngineDied("SIGABRT"))
    assert not play.session.game.ready
    play.press(Action.RESTART)
    assert play.session.game.ready
    assert len(path(play)) == 6


def test_death_before_there_is_a_prompt_promises_nothing_and_r_begins_again() -> None:
    play = Play()
    play.take(EngineDied("SIGABRT"))
    assert play.session.notice == "the engine stopped (SIGABRT): press r to restart it"
    play.asked.clear()
    play.press(Action.RESTART)
    assert play.session.game.ready


def test_another_model_under_the_same_name_is_not_mixed_in() -> None:
    play = started()
    play.take(EngineDied("SIGKILL"))
    play.take(Action.RESTART)
    play.take(Loaded("Other", "fake", "Q4_0", 99, 4096, 8192, None, False))
    assert play.session.game.engine is EngineStatus.DEAD
    assert "another model" in play.session.notice
    assert len(play.session.game.prompts) == 1


def test_a_restart_that_fails_keeps_the_prompts() -> None:
    play = started()
    play.take(EngineDied("SIGABRT"))
    play.take(Action.RESTART)
    play.take(EngineFailed("fake.gguf: no such file"))
    assert play.session.game.engine is EngineStatus.DEAD
    assert play.effects == []
    assert "no such file" in play.session.notice


def test_death_while_the_help_is_open_leads_back_to_the_key_that_restarts() -> None:
    play = started()
    play.press(Action.HELP)
    play.take(EngineDied("SIGABRT"))
    assert isinstance(play.session.screen, screens.Help)
    play.press(Action.CLOSE)
    assert isinstance(play.session.screen, screens.Play)


def test_an_engine_that_owes_an_answer_is_asked_whether_it_is_alive() -> None:
    play = started()
    play.take(Beat())
    assert play.asked == [] and play.session.game.health.unanswered == 0, "nothing is owed"
    before = play.session
    play.take(Beat())
    assert play.session is before, "nothing to save"
    play.take(Action.APPEND)
    for _ in range(SILENT_AFTER):
        assert play.session.game.silence == 0
        play.take(Beat())
    assert play.asked[1:] == [Ping()] * SILENT_AFTER
    assert play.session.game.silence == BEAT * (SILENT_AFTER - 1)
    play.take(Pong())
    assert play.session.game.silence == 0, "it was slow"
    play.answer()
    play.take(Beat())
    assert play.asked == []


def test_an_engine_that_is_being_started_gets_more_time() -> None:
    play = Play()
    for _ in range(SILENT_AFTER_AT_START):
        assert play.session.game.silence == 0
        play.take(Beat())
    assert play.session.game.silence == BEAT * (SILENT_AFTER_AT_START - 1)
    play.take(Loading(0.1))
    for _ in range(SILENT_AFTER):
        assert play.session.game.silence == 0
        play.take(Beat())
    assert play.session.game.silence


@pytest.mark.parametrize("key", [Action.APPEND, Action.AUTOPLAY])
def test_a_silent_engine_is_restarted_by_one_key(key: Action) -> None:
    play = started()
    play.take(key)
    for _ in range(SILENT_AFTER):
        play.take(Beat())
    play.take(Action.RESTART)
    game = play.session.game
    assert Start(game.address, game.settings.model) in play.effects and game.engine is EngineStatus.LOADING
    assert play.session.game.silence == 0
    play.asked = [request for request in play.asked if isinstance(request, Load)]
    assert play.answer().session.game.ready


def test_a_full_context_says_so_and_popping_helps() -> None:
    play = started()
    play.take(Action.APPEND)
    (request,) = play.asked
    play.asked.clear()
    assert isinstance(request, Evaluate)
    play.take(Failed(request.request, "context full (5/5): the prompt has 6 tokens, 5 fit", 5))
    assert not play.session.game.ready
    assert play.session.game.full == 5
    assert "5 fit" in play.session.notice
    play.press(Action.APPEND)
    assert "context full (5/5)" in play.session.notice
    play.press(Action.POP)
    assert play.session.game.ready
    assert play.session.game.full is None


def test_after_a_failed_evaluation_append_asks_again() -> None:
    play = started()
    play.take(Action.APPEND)
    (request,) = play.asked
    play.asked.clear()
    assert isinstance(request, Evaluate)
    play.take(Failed(request.request, "llama.cpp could not decode (code -3)"))
    assert not play.session.game.ready
    play.press(Action.APPEND)
    assert play.session.game.ready
    assert len(path(play)) == 6


# --- any keys at all, as messages; as bytes, and the long form: test_raw_keys.py

SEED = int(os.environ.get("ORACLE_SEED", "1"))

JUMPS = (
    *(Action.NEXT_SURPRISAL, Action.PREVIOUS_SURPRISAL, Action.HIGHEST_SURPRISAL),
    *(Action.NEXT_ENTROPY, Action.PREVIOUS_ENTROPY, Action.HIGHEST_ENTROPY),
)
KEYS = [
    *(Action.UP, Action.DOWN, Action.PAGE_UP, Action.PAGE_DOWN, Action.TOP, Action.BOTTOM, Action.APPEND, Action.POP),
    *(Action.NEXT, Action.PREVIOUS, Action.COPY, Action.REMOVE, Action.BRING_BACK, Action.LAYER, Action.MORE_LAYERS),
    *(Action.UNDO, Action.UNDO, Action.UNDO, Action.REDO, Action.REDO),
    *(Action.CURSOR_BACK, Action.CURSOR_ON, Action.CURSOR_FAR_BACK, Action.CURSOR_FAR_ON, Action.CURSOR_FIRST),
    *(Action.CURSOR_TIP, Action.PALETTE, Action.MOUSE, Unbound("q"), Go(0), Go(1), Go(5)),
    *JUMPS,
    *(Action.SAVE, Action.EDIT, Action.SUSPEND, Action.RESTART, Action.CLEAR_SCORES, Unbound(""), Unbound("\ue000")),
    *(Action.REPLACE, Action.DELETE_TOKEN, Action.RETOKENIZE),
]
VISITS: list[tuple[Message, ...]] = [
    (Action.HELP, Action.DOWN, Action.PAGE_DOWN, Action.CLOSE),
    (Action.TREE, Action.DOWN, Unbound("x"), Action.CLOSE),
    (Action.MODELS, Action.DOWN, Go(1), Action.CLOSE),
    (Action.PROMPTS, Action.DOWN, Typed("no text"), Action.CLOSE),
    (Action.SEARCH, Typed("a"), Action.DOWN, Action.ERASE, Action.CLOSE),
    (Action.INPUT, Typed("abc"), Action.CARET_LEFT, Action.DELETE, Action.ERASE_WORD, Action.CLOSE),
    (Action.INPUT, Typed("xy"), Action.SCORE, Typed("é\n"), Action.HELP, Action.CLOSE, Action.CLOSE),
    (Action.NAME, Typed("no/name"), Action.ENTER, Action.CLOSE),
    (Typed("pasted\ntext \x1b[2J"), Action.CLOSE),
]
"""What changes nothing of the prompts: there and back."""


class Write(NamedTuple):
    """Text that is typed or pasted, and entered."""

    keys: tuple[Message, ...]
    text: str


class Find(NamedTuple):
    """The likeliest token with a text, searched and appended."""

    text: str


WRITES = [
    Write((Action.INPUT, Typed("ac"), Action.CARET_LEFT, Typed("b"), Action.ENTER, Action.CLOSE), "abc"),
    Write((Typed("past"), Typed("ed"), Action.ENTER, Action.CLOSE), "pasted"),
    Write((Action.INPUT, Action.ENTER, Action.CLOSE), ""),
]
LISTS = [(Action.PROMPTS, Action.DOWN, Action.ENTER), (Action.TREE, Action.ENTER)]
MOVES = [*KEYS, *VISITS, *WRITES, Find("a"), Find("k"), *LISTS]


def keys_of(move: Any) -> tuple[Message, ...]:
    """The keys to press for a move."""
    if isinstance(move, Write):
        return move.keys
    if isinstance(move, Find):
        return (Action.SEARCH, Action.ERASE_LINE, Typed(move.text), Action.APPEND, Action.CLOSE)
    return move if isinstance(move, tuple) else (move,)


class Oracle:
    """The rules written down again, in the plainest way: lists, and no cleverness."""

    entropy_given = fake.VOCAB
    """Candidates from which entropies are known."""

    def __init__(self, first: list[int], shown: int, limit: int) -> None:
        self.prompts: list[dict[str, Any]] = [
            {"path": first, "selected": None, "popped": None, "cursor": None, "chosen": None, "sought": None}
        ]
        self.removed: list[tuple[int, dict[str, Any]]] = []
        self.active, self.shown, self.limit, self.layer = 0, shown, limit, "plain"
        self.left = ""
        """Text that was typed and not used."""
        self.past: list[Any] = []
        self.undone: list[Any] = []

    def places(self) -> Any:
        return deepcopy((self.prompts, self.active, self.removed))

    def rows(self) -> list[int]:
        prompt = self.prompts[self.active]
        path, extra = prompt["path"], prompt["popped"]
        if prompt["cursor"] is not None:
            path, extra = path[: prompt["cursor"]], path[prompt["cursor"]]
            if not path:
                return []
        rows = fake.ranked(path)[: self.shown]
        return rows if extra is None or extra in rows else [*rows, extra]

    def selected(self) -> int:
        prompt = self.prompts[self.active]
        token = prompt["selected"]
        if prompt["cursor"] is not None:
            token = prompt["path"][prompt["cursor"]] if prompt["chosen"] is None else prompt["chosen"]
        rows = self.rows()
        return rows.index(token) if token in rows else 0

    def insert(self, place: int, prompt: dict[str, Any]) -> bool:
        if len(self.prompts) >= self.limit:
            return False
        self.prompts.insert(place, prompt)
        self.active = place
        return True

    def go_on(self, tokens: list[int]) -> bool:
        """Goes on from the place that is looked at; from an inner one in a new prompt. Whether there was room."""
        prompt = self.prompts[self.active]
        fresh = {"selected": None, "popped": None, "cursor": None, "chosen": None, "sought": None}
        if prompt["cursor"] is None:
            self.prompts[self.active] = {**fresh, "path": [*prompt["path"], *tokens]}
            return True
        return self.insert(self.active + 1, {**fresh, "path": [*prompt["path"][: prompt["cursor"]], *tokens]})

    def write(self, move: Write) -> None:
        """What was left comes back and is gone on from, unless text is pasted; it is left where there is no room."""
        if self.prompts[self.active]["cursor"] == 0:  # nothing can be typed there
            self.left = next((key.text for key in reversed(move.keys) if isinstance(key, Typed)), self.left)
            return
        text = move.text if isinstance(move.keys[0], Typed) else self.left + move.text
        self.left = "" if not text or self.go_on(fake.text_to_path(text)) else text

    def find(self, text: str) -> int:
        """The likeliest token with this text at the place that is looked at."""
        prompt = self.prompts[self.active]
        path = prompt["path"][: prompt["cursor"]]
        return next(token for token in fake.ranked(path) if text in fake.PIECES[token].data.decode().lower())

    def jump(self, action: Action) -> None:
        """To the next of the tenth that surprised most, or of the places with the highest entropy; or in that order."""
        prompt = self.prompts[self.active]
        path, cursor = prompt["path"], prompt["cursor"]
        places = range(1, len(path))
        if self.layer in ("reachable", "cost") and action in (Action.NEXT_SURPRISAL, Action.PREVIOUS_SURPRISAL):
            return  # the next that the samplers cut, and here there are none
        if action in (Action.NEXT_ENTROPY, Action.PREVIOUS_ENTROPY, Action.HIGHEST_ENTROPY):
            values = [fake.distribution(path[:place], 1, self.entropy_given).entropy_bits for place in places]
        else:
            values = [-fake.taken(path[:place], path[place]).logprob / math.log(2) for place in places]
        if not values:
            return
        if action in (Action.HIGHEST_ENTROPY, Action.HIGHEST_SURPRISAL):
            ordered = [place for _, place in sorted(zip(values, places, strict=True), key=lambda p: (-p[0], p[1]))]
            kind, nth = "doubt" if action is Action.HIGHEST_ENTROPY else "surprise", 0
            if prompt["sought"] and prompt["sought"][0] == kind:
                nth = prompt["sought"][1]
            if nth < len(ordered):
                self.prompts[self.active] = {
                    **prompt, "cursor": ordered[nth], "chosen": None, "sought": (kind, nth + 1),
                }  # fmt: skip
            return
        least = sorted(values, reverse=True)[-(-len(values) // 10) - 1]
        notable = [place for place, value in zip(places, values, strict=True) if value >= least]
        here = len(path) if cursor is None else cursor
        if action in (Action.NEXT_ENTROPY, Action.NEXT_SURPRISAL):
            there = next((place for place in notable if place > here), notable[0])
        else:
            there = next((place for place in reversed(notable) if place < here), notable[-1])
        if there != cursor:  # else it is the only one, and nothing happens
            kind = "doubt" if action in (Action.NEXT_ENTROPY, Action.PREVIOUS_ENTROPY) else "surprise"
            self.prompts[self.active] = {**prompt, "cursor": there, "chosen": None, "sought": (kind, 0)}

    def press(self, action: Any) -> None:
        before = self.places()
        if action in (Action.UNDO, Action.REDO):
            here, there = (self.past, self.undone) if action is Action.UNDO else (self.undone, self.past)
            if here:
                there.append(before)
                self.prompts, self.active, self.removed = deepcopy(here.pop())
            return
        self.do(action)
        if [prompt["path"] for prompt in before[0]] != [prompt["path"] for prompt in self.prompts]:
            self.past.append(before)
            self.undone = []

    def do(self, action: Any) -> None:
        if isinstance(action, Write):
            self.write(action)
        elif isinstance(action, Find):
            if self.prompts[self.active]["cursor"] == 0:
                self.left = action.text  # taken for a paste
            else:
                self.go_on([self.find(action.text)])
        elif action == LISTS[0]:
            self.active = min(self.active + 1, len(self.prompts) - 1)
        elif action == LISTS[1]:
            path = self.prompts[self.active]["path"]
            self.prompts[self.active] = {
                "path": path, "selected": None, "popped": None, "cursor": None, "chosen": None, "sought": None,
            }  # fmt: skip
        elif action in JUMPS:
            self.jump(action)
        elif isinstance(action, tuple):
            self.visit(action)
        else:
            self.play(action)

    def visit(self, keys: tuple[Any, ...]) -> None:
        """What is typed on the way there and back is left for the next time."""
        first = self.prompts[self.active]["cursor"] == 0  # nothing can be typed there: it is taken for a paste
        if Action.NAME in keys or (Action.SEARCH in keys and not first):
            return
        if Action.DELETE in keys and not first:
            self.left = "".join(re.findall(r"\S*\s+", self.left))
            return
        self.left = next((key.text for key in reversed(keys) if isinstance(key, Typed)), self.left)

    def play(self, action: Action | Go) -> None:
        prompt = self.prompts[self.active] = dict(self.prompts[self.active])
        path, cursor = prompt["path"], prompt["cursor"]
        moves = {
            Action.UP: -1, Action.DOWN: 1, Action.PAGE_UP: -10, Action.PAGE_DOWN: 10,
            Action.TOP: -1000, Action.BOTTOM: 1000,
        }  # fmt: skip
        looks = {
            Action.CURSOR_BACK: -1, Action.CURSOR_ON: 1, Action.CURSOR_FAR_BACK: -10, Action.CURSOR_FAR_ON: 10,
        }  # fmt: skip
        fresh = {"selected": None, "popped": None, "cursor": None, "chosen": None, "sought": None}
        if isinstance(action, Go):
            self.active = action.index if action.index < len(self.prompts) else self.active
        elif action in moves:
            rows = self.rows()
            if rows:
                row = max(0, min(len(rows) - 1, self.selected() + moves[action]))
                prompt["selected" if cursor is None else "chosen"] = rows[row]
        elif action in looks:
            there = max(0, (len(path) if cursor is None else cursor) + looks[action])
            prompt |= {"cursor": there if there < len(path) else None, "chosen": None, "sought": None}
        elif action is Action.CURSOR_FIRST:
            prompt |= {"cursor": 0, "chosen": None, "sought": None}
        elif action is Action.CURSOR_TIP:
            prompt |= {"cursor": None, "chosen": None, "sought": None}
        elif action is Action.APPEND and cursor is None:
            self.prompts[self.active] = {"path": [*path, self.rows()[self.selected()]], **fresh}
        elif action is Action.APPEND and self.rows() and self.rows()[self.selected()] != path[cursor]:
            self.insert(self.active + 1, {"path": [*path[:cursor], self.rows()[self.selected()]], **fresh})
        elif action is Action.REPLACE and cursor and self.rows()[self.selected()] != path[cursor]:
            made = [*path[:cursor], self.rows()[self.selected()], *path[cursor + 1 :]]
            self.insert(self.active + 1, {**fresh, "path": made, "cursor": cursor})
        elif action is Action.DELETE_TOKEN and cursor is not None and len(path) > 1:
            made = path[:cursor] + path[cursor + 1 :]
            self.insert(self.active + 1, {**fresh, "path": made, "cursor": cursor if cursor < len(made) else None})
        elif action is Action.POP and len(path) > 1 and cursor is None:
            self.prompts[self.active] = {**fresh, "path": path[:-1], "selected": path[-1], "popped": path[-1]}
        elif action is Action.NEXT:
            self.active = (self.active + 1) % len(self.prompts)
        elif action is Action.PREVIOUS:
            self.active = (self.active - 1) % len(self.prompts)
        elif action is Action.COPY:
            self.insert(self.active + 1, prompt)
        elif action is Action.REMOVE and len(self.prompts) > 1:
            self.removed.append((self.active, self.prompts.pop(self.active)))
            self.active = min(self.active, len(self.prompts) - 1)
        elif action is Action.BRING_BACK and self.removed:
            place, removed = self.removed[-1]
            if self.insert(min(place, len(self.prompts)), removed):
                self.removed.pop()
        elif action in (Action.LAYER, Action.MORE_LAYERS):
            names = ["plain", "probability", "entropy"]
            if action is Action.MORE_LAYERS:
                names = ["plain", "rank", "surprisal", "relative", "boundaries", "reachable", "cost"]
            here = names.index(self.layer) if self.layer in names else 0
            self.layer = names[(here + 1) % len(names)]


def follows(moves: list[Any], lookahead: int, sizes: random.Random | None = None) -> Play:
    """Makes moves in a game and in the oracle; both are at the same place after each. Now and then at another size."""
    play = started("hello", tokens_to_show=12, max_prompts=3, lookahead=lookahead)
    oracle = Oracle(fake.text_to_path("hello"), shown=12, limit=3)
    for move in moves:
        for key in keys_of(move):
            play.press(key)
            if sizes and sizes.random() < 0.02:
                width, height = sizes.randint(1, 200), sizes.randint(1, 60)
                lines = ScreenRenderer().screen(play.session, width, height)
                assert [width_of(line) for line in lines] == [width] * height
        oracle.press(move)
        agree(play.session, oracle)
    return play


def test_rows_that_have_room_are_shown_too_and_what_is_selected_stays() -> None:
    play = started("hello", tokens_to_show=5).press(Resized(12), Action.BOTTOM)
    chosen = table(play.session, play.session.game.prompt)[-1].token
    assert selected_row(play.session, play.session.game.prompt) == 11
    play.press(Resized(3))
    rows = table(play.session, play.session.game.prompt)
    assert rows[selected_row(play.session, play.session.game.prompt)].token == chosen, "what → would append"
    play.press(Action.UP, Action.TOP)
    assert len(table(play.session, play.session.game.prompt)) == 5


def agree(session: Session, oracle: Oracle) -> None:
    """Both are at the same place."""
    assert isinstance(session.screen, screens.Play) and session.game.ready
    place = session.game.prompt.place
    assert [prompt.tip.path() for prompt in session.game.prompts] == [p["path"] for p in oracle.prompts]
    assert [p.cursor and p.cursor.depth - 1 for p in session.game.prompts] == [p["cursor"] for p in oracle.prompts]
    assert session.game.active == oracle.active
    assert [row.token for row in table(session, place)] == oracle.rows()
    assert selected_row(session, place) == oracle.selected()
    assert session.options.layer.name == oracle.layer


def has_true_numbers(tip: Node) -> None:
    for node in tip.nodes(1):
        before = node.path()[:-1]
        assert node.taken == fake.taken(before, node.token)


@given(st.lists(st.sampled_from(MOVES), max_size=60), st.sampled_from([0, 4]))
def test_any_keys_do_what_the_plain_rules_say(moves: list[Any], lookahead: int) -> None:
    for prompt in follows(moves, lookahead).session.game.prompts:
        has_true_numbers(prompt.tip)


def sequences(count: int, length: int, figure: Figure) -> None:
    longest = pressed = 0
    for number in range(count):
        chance = random.Random(f"{SEED}-{number}")
        # Often more of what makes paths long, and of one key besides: full lists, both ends.
        often = [Action.APPEND, Action.CURSOR_TIP, chance.choice(KEYS)] * chance.choice([0, 5, 20])
        moves, total = list[Any](), 0
        while total < length:
            moves.append(chance.choice([*MOVES, *often]))
            total += len(keys_of(moves[-1]))
        pressed += total
        for prompt in follows(moves, chance.choice([0, 4]), chance).session.game.prompts:
            has_true_numbers(prompt.tip)
            longest = max(longest, prompt.tip.depth)
    told = f"sequences of {length} keys and more, with resizes"
    figure(count, told, seed=SEED, keys=pressed, tokens_in_the_longest_path=longest)


def test_long_sequences_do_what_the_plain_rules_say(figure: Figure) -> None:
    sequences(10, 200, figure)


def test_a_question_that_no_longer_stands_on_the_line_is_not_answered() -> None:
    play = started()
    play.take(Action.APPEND)
    play.take(Action.RESTART)
    asked = play.session.notice_line
    assert "press r again" in asked
    for remark in ("something else", asked):  # of the line itself nothing depends
        play.take(Remark(remark))
        assert play.session.notice_line == remark
        play.take(Action.RESTART)
        assert play.session.notice_line == asked and not any(isinstance(effect, Start) for effect in play.effects)
    play.take(Action.RESTART)
    assert any(isinstance(effect, Start) for effect in play.effects)


def test_more_candidates_are_kept_where_the_player_is_than_the_table_shows() -> None:
    play = started("hello", tokens_to_show=5).press(Action.BOTTOM)
    inside, tip = play.session.game.prompt.tip.ancestor(3), play.session.game.prompt.tip
    assert inside.distribution and len(inside.distribution) == 5
    assert tip.distribution and len(tip.distribution) == fake.VOCAB, "100, or all that there are"
    assert len(table(play.session, play.session.game.prompt)) == 5
    assert selected_row(play.session, play.session.game.prompt) == 4
    # What is popped and is kept, but not shown, is in the row below the others.
    token = tip.distribution.ids[20]
    game = replace(play.session.game, prompts=(Prompt(tip, selected=token, popped=token),))
    longer = replace(play.session, game=game)
    tip.child(token)
    rows = table(longer, game.prompt)
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5, 21] and selected_row(longer, game.prompt) == 5
