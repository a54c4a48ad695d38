"""The help: typing filters it, and Enter does what is selected."""

import pytest

from tests.fake import Play, on, started
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.questions_and_signs import QUESTIONS
from tokex_gguf.play.commands.registry import SCREENS, found, help_entries, help_found
from tokex_gguf.play.messages import Typed
from tokex_gguf.play.screens import PLAY, Screen
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.layers import PROBABILITY


def helping(*typed: str, before: tuple[Action, ...] = ()) -> Play:
    return started("hello").press(*before, Action.HELP, *map(Typed, typed))


def names(play: Play) -> list[str]:
    return [entry.name for entry in help_found(on(play.session, screens.Help))]


def shown(play: Play, width: int = 100, height: int = 40) -> list[str]:
    return ["".join(text for _, text in line).rstrip() for line in ScreenRenderer().screen(play.session, width, height)]


def test_without_a_word_all_is_there() -> None:
    assert names(helping()) == [entry.name for entry in help_entries(screens.Play)]


def test_typing_filters_keys_and_signs_and_erasing_brings_them_back() -> None:
    play = helping("entro")
    assert names(play) == ["m", "M", "B", "e", "entropy", "2^H", "3.98–4.35 bits", "at least"]
    lines = shown(play)
    assert "find in the help: entro" in lines[-3]
    assert not any("Pop the prompt" in line for line in lines)
    play.press(Action.ERASE_LINE)
    assert names(play) == names(helping())


def test_a_key_alone_is_selected_by_itself() -> None:
    for key, action in [("u", Action.UNDO), ("e", Action.LAYER), ("E", Action.MORE_LAYERS), ("ctrl+s", Action.NAME)]:
        play = helping(key)
        screen = on(play.session, screens.Help)
        command = help_found(screen)[screen.entry].command
        assert command is not None and command.action is action, key


def test_a_name_alone_is_selected_by_itself_also_where_a_question_has_it() -> None:
    for name, action in [("pop", Action.POP), ("copy", Action.COPY), ("append", Action.APPEND)]:
        screen = on(helping(name).session, screens.Help)
        command = help_found(screen)[screen.entry].command
        assert command is not None and command.action is action, name


def test_questions_stand_first_each_in_one_line_of_a_small_screen() -> None:
    lines = shown(helping(), 80, 24)
    assert lines[1] == " Questions" and lines[len(QUESTIONS) + 2] == "", "each in its line"
    assert lines[2].endswith("pops it again.")


@pytest.mark.parametrize(
    ("typed", "action"),
    [
        *(("cut", Action.SAMPLERS), ("which sampler", Action.SAMPLERS), ("min-p", Action.SAMPLERS)),
        *(("top-p", Action.SAMPLERS), ("temperature", Action.SAMPLERS), ("wrong", Action.SAMPLERS)),
        *(("chance", Action.SAMPLERS), ("schema", Action.CONSTRAINT), ("cost", Action.CONSTRAINT)),
        *(("json", Action.CONSTRAINT), ("likely", Action.LAYER), ("uncertain", Action.LAYER)),
        *(("dice", Action.ROLL), ("random", Action.ROLL), ("another way", Action.COPY)),
        *(("compare", Action.VERSUS), ("phrasing", Action.VERSUS), ("two models", Action.VERSUS_MODEL)),
        *(("quantisation", Action.VERSUS_MODEL), ("quantization", Action.VERSUS_MODEL), ("disagree", Action.FLIP)),
    ],
)
def test_the_words_of_a_question_lead_to_the_command_that_answers_it(typed: str, action: Action) -> None:
    screen = on(helping(typed).session, screens.Help)
    command = help_found(screen)[screen.entry].command
    assert command is not None and command.action is action


@pytest.mark.parametrize(
    ("typed", "action"),
    [
        *(("cut", Action.SAMPLERS), ("min-p", Action.SAMPLERS), ("wrong", Action.SAMPLERS)),
        *(("chance", Action.SAMPLERS), ("schema", Action.CONSTRAINT), ("cost", Action.CONSTRAINT)),
    ],
)
def test_the_same_words_lead_there_in_the_list_of_commands(typed: str, action: Action) -> None:
    play = started("hello").press(Action.COMMANDS, Typed(typed))
    assert found(play.session)[0].action is action


def test_enter_does_the_selected_command_on_the_screen_below() -> None:
    play = helping("colour the prompt").press(Action.ENTER)
    assert play.session.screen == PLAY and play.session.options.layer is PROBABILITY
    play = helping("pop").press(Action.ENTER)
    assert play.session.game.prompt.tip.depth == 4
    play = helping("open the place", before=(Action.TREE,)).press(Action.ENTER)
    assert len(play.session.game.prompts) == 2


def test_a_command_that_cannot_be_done_says_why() -> None:
    play = helping("next prompt").press(Action.ENTER)
    assert play.session.screen == PLAY and play.session.notice == "one prompt is open: d copies it"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("perplexity", "it is no command"),
        ("of that number", "press the number"),
        ("xyzzy", "no match"),
    ],
)
def test_enter_on_what_cannot_be_done_says_so_and_the_help_stays(typed: str, told: str) -> None:
    play = helping(typed).press(Action.ENTER)
    assert told in play.session.notice
    assert isinstance(play.session.screen, screens.Help)
    assert any(told in line for line in shown(play))


def test_nothing_found_is_told_in_the_pane() -> None:
    assert any("no match" in line for line in shown(helping("xyzzy")))


def test_escape_closes_whatever_is_typed_and_the_next_time_all_is_shown() -> None:
    play = helping("entropy").press(Action.CLOSE)
    assert play.session.screen == PLAY
    assert names(play.press(Action.HELP)) == names(helping())


def test_a_question_mark_closes_unless_something_is_typed() -> None:
    assert helping("?").session.screen == PLAY
    play = helping("a", "?")
    assert on(play.session, screens.Help).line.text == "a?"


@pytest.mark.parametrize("kind", [kind for kind in SCREENS if kind is not screens.Help])
def test_every_entry_can_be_found_by_its_own_words(kind: type[Screen]) -> None:
    for entry in help_entries(kind):
        words = entry.text.casefold().split()
        assert all(word in entry.whole for word in words)


def test_what_is_typed_below_stays() -> None:
    play = started("hello").press(Action.INPUT, Typed("abc"), Action.HELP, Typed("caret"), Action.ERASE)
    assert play.session.line.text == "abc"
    play.press(Action.CLOSE)
    assert isinstance(play.session.screen, screens.Input) and play.session.line.text == "abc"
