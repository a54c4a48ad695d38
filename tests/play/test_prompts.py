"""The list of prompts: names, their order, closing, new ones, as many as there may be."""

from dataclasses import replace

import pytest

from tests import fake
from tests.fake import Play, on, started
from tokex_gguf.engine.protocol import EngineDied, Failed
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Edited, Go, ListedStarters, Message, Typed
from tokex_gguf.play.purposes import ForNewPrompt
from tokex_gguf.play.session import Starter
from tokex_gguf.sessions.codec import dump, load
from tokex_gguf.ui.screen import ScreenRenderer

ROOT = fake.text_to_path("hello")


def three() -> Play:
    """Three prompts, each a token longer than the one before; the first is played, the list is shown."""
    play = started("hello").press(Action.COPY, Action.APPEND, Action.COPY, Action.APPEND, Go(0), Action.PROMPTS)
    play.take(ListedStarters((Starter("a.txt", "abc"),)))
    return play


def lengths(play: Play) -> list[int]:
    return [prompt.tip.depth for prompt in play.session.game.prompts]


def names(play: Play) -> list[str]:
    return [prompt.name for prompt in play.session.game.prompts]


def row(play: Play) -> int:
    return on(play.session, screens.Prompts).row


def text(play: Play, width: int = 100) -> str:
    return "\n".join("".join(part for _, part in line) for line in ScreenRenderer().screen(play.session, width, 24))


# --- names


def test_a_prompt_gets_a_name_that_stands_in_the_list_and_in_the_status_line() -> None:
    play = three().press(Action.DOWN, Action.RENAME)
    assert "name of this prompt:" in text(play) and "Prompt 2/3" in text(play)
    play.press(Typed(" a  name "), Action.ENTER)
    assert names(play) == ["", "a name", ""] and row(play) == 1 and "2 a name" in text(play)
    assert "Prompt 2/3 a name" in text(play.press(Action.ENTER))
    play.press(Action.PROMPTS, Action.RENAME)
    assert on(play.session, screens.PromptName).line.text == "a name"
    play.press(Action.ERASE_LINE, Typed("other"), Action.CLOSE)
    assert names(play) == ["", "a name", ""], "Esc leaves it as it was"
    assert names(play.press(Action.RENAME, Action.ERASE_LINE, Action.ENTER)) == ["", "", ""]


def test_a_name_that_is_too_long_is_refused_and_stays_in_the_line() -> None:
    play = three().press(Action.RENAME, Typed("x" * 41), Action.ENTER)
    assert "40 characters" in play.session.notice and on(play.session, screens.PromptName).line.text == "x" * 41
    assert names(play.press(Action.ERASE, Action.ENTER))[0] == "x" * 40
    assert all(len(line) == 60 for line in text(play, 60).splitlines())


@pytest.mark.parametrize(
    "keys",
    [
        (Action.APPEND,),
        (Action.APPEND, Action.POP, Action.POP),
        (Action.SEARCH, Typed("a"), Action.APPEND),
        (Action.INPUT, Typed("abc"), Action.ENTER),
        (Action.EDIT, Edited("help")),
        (Action.APPEND, Action.POP, Action.TREE, Action.BOTTOM, Action.ENTER),
        (Action.REMOVE, Action.BRING_BACK),
        (Action.CURSOR_BACK, Action.CURSOR_BACK, Action.DOWN, Action.CURSOR_TIP),
        (Action.AUTOPLAY, Action.AUTOPLAY),
    ],
)
def test_the_name_stays_with_the_prompt_whatever_becomes_of_it(keys: tuple[Message, ...]) -> None:
    play = three().press(Action.RENAME, Typed("mine"), Action.ENTER, Action.CLOSE).press(*keys)
    assert names(play) == ["mine", "", ""] and isinstance(play.session.screen, screens.Play)


@pytest.mark.parametrize(
    "key", [(Action.COPY,), (Action.CURSOR_BACK, Action.UP, Action.UP, Action.DOWN, Action.APPEND)]
)
def test_a_prompt_that_goes_out_from_a_named_one_has_no_name(key: tuple[Message, ...]) -> None:
    play = started("hello").press(Action.PROMPTS, Action.RENAME, Typed("mine"), Action.ENTER, Action.CLOSE).press(*key)
    assert names(play) == ["mine", ""]


def test_naming_and_moving_are_undone_like_all_that_is_done_to_prompts() -> None:
    play = three().press(Action.RENAME, Typed("mine"), Action.ENTER, Action.MOVE_DOWN, Action.CLOSE)
    assert names(play) == ["", "mine", ""]
    assert names(play.press(Action.UNDO)) == ["mine", "", ""]
    assert names(play.press(Action.UNDO)) == ["", "", ""] and lengths(play) == [5, 6, 7]
    assert names(play.press(Action.REDO, Action.REDO)) == ["", "mine", ""] and lengths(play) == [6, 5, 7]


# --- order


def test_a_prompt_is_moved_and_the_one_that_is_played_stays_so() -> None:
    play = three().press(Action.MOVE_DOWN)
    assert lengths(play) == [6, 5, 7] and play.session.game.active == 1 and row(play) == 1
    play.press(Action.MOVE_DOWN)
    assert lengths(play) == [6, 7, 5] and play.session.game.active == 2
    assert play.press(Action.MOVE_DOWN).session.notice == "this is the last prompt"
    play.press(Action.TOP, Action.MOVE_DOWN)
    assert lengths(play) == [7, 6, 5] and play.session.game.active == 2 and row(play) == 1
    play.press(Action.MOVE_UP)
    assert play.press(Action.MOVE_UP).session.notice == "this is the first prompt"
    assert lengths(play) == [6, 7, 5] and row(play) == 0
    assert play.press(Action.CLOSE).session.game.prompt.tip.depth == 5


@pytest.mark.parametrize("key", [Action.MOVE_UP, Action.MOVE_DOWN, Action.RENAME, Action.REMOVE])
def test_a_text_to_start_with_is_no_prompt(key: Action) -> None:
    play = three().press(Action.BOTTOM)
    before = play.session.game.prompts
    play.press(key)
    assert "text to start with" in play.session.notice and play.session.game.prompts == before


# --- closing


TWICE = (Action.REMOVE, Action.REMOVE)
"""The first press asks."""


def test_the_selected_prompt_is_removed_and_comes_back_where_it_was() -> None:
    play = three().press(Action.DOWN, Action.RENAME, Typed("mine"), Action.ENTER, *TWICE)
    assert lengths(play) == [5, 7] and play.session.game.active == 0 and row(play) == 1
    assert play.session.notice == "prompt 2 is removed: A brings it back"
    play.press(Action.BRING_BACK)
    assert lengths(play) == [5, 6, 7] and row(play) == 1 and names(play)[1] == "mine"
    play.press(*TWICE, Action.BOTTOM, Action.UP, *TWICE)
    assert lengths(play) == [5] and row(play) == 0
    assert play.press(Action.REMOVE).session.notice == "the only prompt stays"
    play.press(Action.BRING_BACK, Action.BRING_BACK)
    assert lengths(play) == [5, 6, 7]
    assert "no removed prompt" in play.press(Action.BRING_BACK).session.notice


def test_the_prompt_that_is_played_can_be_removed_and_another_one_is_played_then() -> None:
    play = three().press(*TWICE)
    assert lengths(play) == [6, 7] and play.session.game.active == 0 and play.session.game.ready
    play.press(Action.BOTTOM, Action.UP, *TWICE)
    assert lengths(play) == [6] and play.session.game.active == 0 and play.session.game.ready


# --- new prompts


def test_a_new_prompt_begins_with_what_is_typed() -> None:
    play = three().press(Action.NEW, Typed("ab"), Action.LINE_BREAK, Typed("c"), Action.ERASE, Action.CARET_LEFT)
    assert "a new prompt" in text(play) and "new prompt: ab⏎" in text(play)
    play.press(Typed("x"), Action.ENTER)
    assert play.session.game.prompt.tip.path() == fake.text_to_path("abx\n") and play.session.game.active == 1
    assert isinstance(play.session.screen, screens.Play) and play.session.game.ready and len(lengths(play)) == 4


def test_what_was_typed_for_one_is_kept() -> None:
    play = three().press(Action.NEW, Typed("a long text"), Action.CLOSE)
    assert isinstance(play.session.screen, screens.Prompts) and "n brings it back" in play.session.notice
    play.press(Action.CLOSE, Action.APPEND, Action.PROMPTS, Action.NEW)
    assert play.session.line.text == "a long text"
    play.take(EngineDied("SIGSEGV"))
    play.press(Action.ENTER)
    assert play.session.line.text == "a long text" and "r, restarts" in play.session.notice
    play.press(Action.CLOSE, Action.RESTART, Action.PROMPTS, Action.NEW, Action.ENTER)
    assert play.session.game.prompt.tip.path() == fake.text_to_path("a long text")
    assert play.press(Action.PROMPTS, Action.NEW, Action.EARLIER).session.line.text == "a long text"


def test_without_a_text_it_is_the_token_that_begins_all_texts_or_nothing() -> None:
    play = three().press(Action.NEW, Action.ENTER)
    assert "type one" in play.session.notice and isinstance(play.session.screen, screens.NewPrompt)
    assert play.session.game.model
    play.session = replace(play.session, game=replace(play.session.game, model=replace(play.session.game.model, bos=3)))
    assert "With no text it is empty" in text(play)
    play.take(Action.ENTER)
    (request,) = play.asked
    assert isinstance(play.session.screen, screens.Play) and request.text == ""  # type: ignore[union-attr]


# --- many


def test_ninety_nine_prompts_can_be_open_and_the_list_reaches_each() -> None:
    play = started("hello")
    for _ in range(98):
        play.press(Action.COPY, Action.APPEND)
    assert len(play.session.game.prompts) == 99
    play.press(Action.CURSOR_BACK, Action.DOWN, Action.APPEND)
    assert play.session.notice == "no more than 99 can be open: a removes one"
    play.press(Go(8))
    assert play.session.game.active == 8
    play.press(Action.PROMPTS, Action.BOTTOM)
    assert " 99 " in text(play) and "Prompt 99/99" in text(play)
    assert play.press(Action.NEW).session.notice.startswith("no more than 99")
    play.press(Action.UP, Action.ENTER)
    assert play.session.game.active == 97


def test_past_nine_a_branch_opens_a_prompt_like_any_other() -> None:
    play = started("hello").press(*[Action.COPY] * 9, Action.CURSOR_BACK, Action.TOP)
    play.press(Action.APPEND)
    assert len(play.session.game.prompts) == 11 and play.session.game.active == 10


@pytest.mark.parametrize("end", ["it dies", "it refuses", "the program is killed", "no room is left"])
def test_the_text_of_a_new_prompt_is_kept_until_it_is_one(end: str) -> None:
    play = started("hello", max_prompts=2).press(Action.PROMPTS, Action.NEW, Typed("an hour of typing"))
    play.take(Action.ENTER)
    (number,) = [one for one, purpose in play.session.game.open_requests.items() if isinstance(purpose, ForNewPrompt)]
    if end == "it dies":
        play.take(EngineDied("SIGSEGV"))
        assert play.press(Action.PROMPTS, Action.NEW).session.line.text == "an hour of typing"
    elif end == "it refuses":
        play.take(Failed(number, "it does not want to"))
        assert play.session.notice == "it does not want to; the text is kept: n brings it back"
    elif end == "no room is left":
        asked, play.asked = play.asked, []
        play.press(Action.COPY)
        play.asked = asked
        play.answer()
        assert play.session.notice.endswith("the text is kept: n brings it back")
    saved = load(dump(play.session), play.session.game.settings)
    assert play.session.unfinished(screens.NewPrompt) == saved.unfinished(screens.NewPrompt) == "an hour of typing"


def test_the_text_of_a_new_prompt_that_is_one_does_not_come_back() -> None:
    play = started("hello").press(Action.PROMPTS, Action.NEW, Typed("ab"))
    play.take(Action.ENTER)
    play.take(Action.PROMPTS)
    play.take(Action.NEW)
    assert not play.session.line.text, "it is on its way"
    play.take(Typed("cd"))
    play.take(Action.CLOSE)
    play.press(Action.CLOSE)
    assert [len(one.tip.path()) for one in play.session.game.prompts] == [5, 2]
    assert play.session.unfinished(screens.NewPrompt) == "cd"
    assert play.press(Action.PROMPTS, Action.NEW, Action.ENTER).session.unfinished(screens.NewPrompt) == ""
