"""What an engine answers late acts on what it was asked for, and on nothing that the player does meanwhile."""

import random
from dataclasses import replace
from typing import Any

import pytest

from tests.fake import PIECES, Play
from tests.play.test_second_model import ENTRIES
from tokex_gguf.engine.protocol import Continue, Evaluate, Tokenize, Tokenized
from tokex_gguf.models.memory import Fit
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Sampling
from tokex_gguf.play.messages import (
    CompareFurther,
    Edited,
    ListedModels,
    Message,
    NotPrepared,
    Prepared,
    Remark,
    Typed,
)
from tokex_gguf.play.screens import Commands, Help, Input, ListSearch, PromptName, Prompts
from tokex_gguf.values.samplers import Chain, Kind, Sampler


def texts(play: Play) -> list[str]:
    return ["".join(chr(0x30 + token) for token in prompt.tip.path()) for prompt in play.session.game.prompts]


def take(play: Play, *messages: Message) -> None:
    """Without an answer between them."""
    for message in messages:
        play.take(message)


def opened(play: Play, text: str) -> None:
    play.press(Action.PROMPTS, Action.NEW, Typed(text), Action.ENTER)


def one_on_its_way(text: str = "zzz") -> Play:
    """Two prompts, the first one active, and a third that was typed and has no tokens yet."""
    play = Play("aaa").answer()
    opened(play, "bbb")
    play.press(Action.PREVIOUS)
    for message in (Action.PROMPTS, Action.NEW, Typed(text), Action.ENTER):
        play.take(message)
    return play


# --- autoplay


def asked(play: Play, kind: type[Any]) -> list[Any]:
    return [request for request in play.asked if isinstance(request, kind)]


@pytest.mark.parametrize("text", ["zzz", "bbb"])  # the second one's table is known
def test_autoplay_ends_where_a_prompt_opens_that_was_typed_before(text: str) -> None:
    play = one_on_its_way(text)
    (tokenize,) = asked(play, Tokenize)
    play.asked.clear()
    play.take(Action.AUTOPLAY)
    assert play.session.game.pressed.autoplay and len(asked(play, Continue)) == 1
    reply = play.reply(tokenize)
    assert reply is not None
    play.take(reply)
    assert texts(play)[play.session.game.active] == texts(play)[1] and not play.session.game.pressed.autoplay
    play.asked = [request for request in play.asked if not isinstance(request, Continue)]
    play.answer()
    assert not asked(play, Continue) and not play.session.game.pressed.autoplay and play.session.game.ready


def retokenizing() -> Play:
    play = Play("aaa").answer()
    tip = play.press(Action.APPEND).session.game.prompt.tip
    tip.checked, tip.differs = True, 1
    play.take(Action.RETOKENIZE)
    return play


def from_the_editor() -> Play:
    play = Play("aaa").answer()
    play.take(Edited("zzz"))
    return play


@pytest.mark.parametrize("begun", [retokenizing, from_the_editor])
def test_autoplay_ends_where_an_edited_text_opens(begun: Any) -> None:
    play: Play = begun()
    (tokenize,) = asked(play, Tokenize)
    path = play.session.game.prompt.tip.path()
    play.asked.clear()
    play.take(Action.AUTOPLAY)
    play.take(Tokenized(tokenize.request, [*path[:1], 33, 34], PIECES))
    game = play.session.game
    assert len(game.prompts) == 2 and not game.pressed.autoplay and len(asked(play, Evaluate)) == 1


# --- the list of prompts


def test_a_prompt_that_comes_does_not_get_the_key_that_was_to_remove_another() -> None:
    play = one_on_its_way()
    take(play, Action.PROMPTS, Action.DOWN, Action.REMOVE)
    assert "a again removes prompt 2" in play.session.notice_line
    play.answer()
    screen = play.session.screen
    assert isinstance(screen, Prompts) and texts(play)[screen.row] == texts(play)[2] and len(texts(play)) == 3
    play.take(Action.REMOVE)
    assert len(texts(play)) == 3 and "a again removes prompt 3" in play.session.notice_line
    before = texts(play)
    play.take(Action.REMOVE)
    assert texts(play) == before[:2]


def test_nor_the_name_that_is_typed_for_another() -> None:
    play = one_on_its_way()
    for message in (Action.PROMPTS, Action.DOWN, Action.RENAME, Typed("mine")):
        play.take(message)
    play.answer()
    assert isinstance(play.session.screen, PromptName)
    play.take(Action.ENTER)
    assert [prompt.name for prompt in play.session.game.prompts] == ["", "", "mine"]


def switching() -> Play:
    """Three prompts come along to another model; the last one has its tokens there."""
    play = Play("aaa").answer()
    opened(play, "bbb")
    opened(play, "ccc")
    for message in (Action.MODELS, ListedModels(ENTRIES), Action.TOP, Action.DOWN, Action.ENTER):
        if message is Action.DOWN and play.session.models[0].path != "fake.gguf":
            continue
        play.take(message)
    play.asked.clear()
    play.take(Prepared("other.gguf", Fit(0, 5000)))
    while not play.session.game.prompts:
        request = play.asked.pop(0)
        for reply in play.replies(request):
            play.take(reply)
    assert len(play.session.game.carried) == 2
    return play


@pytest.mark.parametrize("over", [[], [Action.FILTER], [Action.COMMANDS], [Action.HELP], [Action.FILTER, Typed("c")]])
def test_the_same_prompt_stays_selected_under_whatever_is_over_the_list(over: list[Message]) -> None:
    play = switching()
    selected = texts(play)[0]
    play.take(Action.PROMPTS)
    for message in over:
        play.take(message)
    play.answer()
    screen = play.session.screen
    while isinstance(screen, Help | Commands | ListSearch):
        if isinstance(screen, ListSearch):
            assert screen.before == 2
        screen = screen.over
    assert isinstance(screen, Prompts) and len(texts(play)) == 3 and texts(play)[screen.row] == selected


# --- draws


def sampled(**settings: Any) -> Play:
    play = Play("hello", **settings).answer()
    chain = Chain((Sampler(Kind.TOP_K, (5.0,)),))
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling(chain)))
    return play.answer()


def test_a_draw_that_comes_while_a_text_is_typed_changes_nothing() -> None:
    play = Play("aaa").answer()
    before = texts(play)
    take(play, Action.ROLL, Action.INPUT)
    play.answer()
    assert isinstance(play.session.screen, Input) and texts(play) == before
    rolls = dict(play.session.game.known.rolls)
    assert not rolls, "it is drawn again by the next R"
    play.press(Typed("zz"), Action.ENTER)
    assert [len(text) for text in texts(play)] == [5]


def test_a_draw_inside_the_prompt_needs_room_for_another() -> None:
    play = sampled(max_prompts=1)
    play.press(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.ROLL)
    assert "no more than 1 can be open" in play.session.notice
    assert not play.session.game.known.rolls and len(texts(play)) == 1


def test_a_draw_of_the_token_that_stands_there_says_both() -> None:
    play = sampled()
    play.press(Action.APPEND, Action.CURSOR_BACK)  # the most likely token
    for _ in range(30):
        play.press(Action.ROLL)
        if play.session.game.active == 0:
            break
        play.press(Action.PREVIOUS)
    assert play.session.game.active == 0
    assert play.session.notice.startswith("drew ") and "this one was taken here" in play.session.notice


def test_draws_are_counted_one_key_after_the_other() -> None:
    play = sampled()
    take(play, Action.DRAW_MANY, Action.DRAW_MANY)
    assert play.session.notice == "the draw before is not there yet"


# --- others


def test_an_empty_constraint_changes_nothing_where_there_is_none() -> None:
    play = sampled()
    play.press(Action.ORDER)
    assert play.session.options.by_final
    play.press(Action.CONSTRAINT, Action.ENTER)
    assert play.session.options.by_final and play.session.game.sampling.constraint is None


def test_a_model_that_nobody_wants_any_more_says_nothing() -> None:
    play = Play("aaa").answer()
    for message in (Action.MODELS, ListedModels(ENTRIES), Action.TOP, Action.DOWN, Action.ENTER, Action.CURSOR_TIP):
        play.take(message)
    before = play.session
    path = next(entry.path for entry in ENTRIES if entry.path != "fake.gguf")
    play.take(NotPrepared(path, "it does not fit"))
    assert play.session.notice == before.notice


def test_an_alignment_that_failed_is_tried_again_by_the_next_comparison() -> None:
    chance = random.Random(1)
    text = ["".join(chr(0x30 + chance.randrange(60)) for _ in range(900)) for _ in "ab"]
    play = Play(text[0]).answer()
    opened(play, text[1])
    play.take(Action.VERSUS)
    while play.session.under_way.comparing:
        play.take(CompareFurther())
    assert len(play.aligning) == 1
    play.aligning.clear()
    take(play, Remark("Resource temporarily unavailable"), Action.LAYER)
    assert not play.aligning, "not again and again"
    take(play, Action.VERSUS, Action.VERSUS)
    while play.session.under_way.comparing:
        play.take(CompareFurther())
    assert len(play.aligning) == 1
