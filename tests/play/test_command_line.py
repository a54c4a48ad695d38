"""Commands by their names."""

from dataclasses import replace

import pytest

from tests.fake import Play, on, started
from tokex_gguf.engine.protocol import EngineDied
from tokex_gguf.models.memory import Fit
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands import registry
from tokex_gguf.play.commands.registry import SCREENS
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.messages import ListedModels, PointedAtRow, Prepared, Typed
from tokex_gguf.ui.help import help_lines
from tokex_gguf.ui.lists import command_entries, command_lines
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.layers import PROBABILITY
from tokex_gguf.values.model_entry import ModelEntry


def asking(*typed: str) -> Play:
    return started("hello").press(Action.COMMANDS, *map(Typed, typed))


def names(play: Play) -> list[str]:
    return [command.name for command in registry.found(play.session)]


def shown(play: Play, width: int = 130) -> list[str]:
    return ["".join(text for _, text in line) for line in ScreenRenderer().screen(play.session, width, 60)]


def test_without_a_word_all_commands_are_there_in_the_order_of_the_help() -> None:
    listed = [command for command in SCREENS[screens.Play].commands if command.handler]
    assert names(asking()) == [command.name for command in listed if command.action is not Action.COMMANDS]


@pytest.mark.parametrize(
    ("typed", "first"),
    [("layer", "layer"), ("ENTR high", "highest entropy"), ("colour-blind", "palette"), ("suspend", "suspend")],
)
def test_typing_filters_by_all_words_and_names_come_first(typed: str, first: str) -> None:
    assert names(asking(typed))[0] == first


def test_enter_does_the_selected_command() -> None:
    play = asking("layer").press(Action.ENTER)
    assert play.session.screen == screens.PLAY and play.session.options.layer is PROBABILITY
    play = asking("copy").press(Action.ENTER)
    assert len(play.session.game.prompts) == 2


def test_the_selection_moves_begins_anew_with_each_letter_and_stops_at_the_ends() -> None:
    play = asking("l")
    count = len(names(play))
    assert on(play.press(Action.DOWN, Action.DOWN).session, screens.Commands).row == 2
    assert on(play.press(PointedAtRow(4)).session, screens.Commands).row == 4
    assert on(play.press(Typed("a")).session, screens.Commands).row == 0
    assert play.press(Action.UP).session.notice == "this is the first command"
    play = asking("l").press(*[Action.PAGE_DOWN] * 9)
    assert on(play.session, screens.Commands).row == count - 1
    assert play.session.notice == "this is the last command"


def test_what_cannot_be_done_says_why_in_its_row_and_does_nothing() -> None:
    play = asking("drop")
    before = play.session.game
    assert any("a          the only prompt stays" in line for line in shown(play))
    play.press(Action.ENTER)
    assert play.session.notice == "the only prompt stays" and play.session.game.prompts == before.prompts


def test_a_word_that_nothing_has() -> None:
    play = asking("zzz")
    assert names(play) == [] and any("no command has this name" in line for line in shown(play))
    assert play.press(Action.DOWN).session.notice == "no command has this name"
    assert play.press(Action.ENTER).session.notice == "no command has this name"
    assert isinstance(play.session.screen, screens.Commands)


def test_esc_goes_back_to_where_it_was_asked_for() -> None:
    play = started("hello").press(Action.TREE, Action.COMMANDS)
    assert "go there" in " ".join(command.label for command in registry.found(play.session))
    assert isinstance(play.press(Action.CLOSE).session.screen, screens.TreeScreen)


def test_a_name_that_is_typed_in_full_is_the_first() -> None:
    assert names(asking("next"))[0] == "next" and names(asking("  Pop "))[0] == "pop"


def test_what_is_pasted_costs_no_more_than_what_is_looked_at_of_it() -> None:
    play = asking("e " * 200_000)
    assert "entropy" in " ".join(names(play)), "each word is looked for once"
    play = asking("layer" + " " * 1000 + "zzz")
    assert names(play)[0] == "layer"


def test_before_the_prompt_is_read_the_line_can_be_edited_and_rows_chosen() -> None:
    play = Play("hello")
    play.asked.clear()
    play.take(Action.COMMANDS)
    play.take(Typed("lay"))
    play.take(Action.ERASE)
    assert play.session.line.text == "la" and not play.session.notice
    play.take(PointedAtRow(1))
    assert on(play.session, screens.Commands).row == 1


def switching() -> Play:
    """A game in which another model is loaded while a command's name is typed."""
    play = started("hello")
    play.session = replace(play.session, screen=screens.Models(), models=(ModelEntry("b.gguf", "b", "Q8_0", "1 GB"),))
    play.take(Action.ENTER)
    play.take(Action.COMMANDS)
    play.take(Typed("re"))
    return play


def test_what_is_typed_is_text_also_where_the_model_is_switched_meanwhile() -> None:
    play = switching()
    play.take(Prepared("b.gguf", Fit(4096), "b"))
    assert "not loaded while text is typed" in play.session.notice
    play = started("hello")
    play.session = replace(play.session, screen=screens.Models(), models=(ModelEntry("b.gguf", "b", "Q8_0", "1 GB"),))
    play.take(Action.ENTER)
    play.take(Prepared("b.gguf", Fit(4096), "b"))
    play.asked.clear()
    play.take(Action.COMMANDS)
    play.take(Typed("re"))
    play.take(EngineDied("boom"))  # back to the model before
    play.take(Typed("art"))
    assert on(play.session, screens.Commands).line.text == "reart" and len(play.session.game.prompts) == 1
    assert on(play.session, screens.Commands).over == screens.PLAY


def listed(*names: str) -> ListedModels:
    return ListedModels(tuple(ModelEntry(name, name, "Q4_0", "1 GB") for name in names))


def test_a_list_of_models_that_comes_below_the_line_keeps_its_selection() -> None:
    play = started("hello").press(Action.MODELS, Action.COMMANDS)
    play.take(listed("a.gguf", "fake.gguf"))
    play.press(Typed("load"), Action.ENTER)
    assert play.session.notice == "this is the model that is played"
    play = started("hello").press(Action.MODELS, Action.COMMANDS)
    play.take(listed())
    assert "no model was found" in play.session.notice
    assert play.press(Action.CLOSE).session.screen == screens.PLAY


def test_an_engine_that_dies_closes_the_list_below_the_line() -> None:
    play = started("hello").press(Action.TREE, Action.COMMANDS)
    play.take(EngineDied("SIGSEGV"))
    assert "Esc, then r, restarts it" in play.session.notice
    play.press(Action.CLOSE, Action.RESTART)
    assert play.session.game.engine is EngineStatus.READY


def test_a_row_is_the_helps_own() -> None:
    lines, _ = help_lines(registry.help_entries(screens.Play), 130, 0)
    told = [" ".join("".join(text for _, text in line).split()) for line in lines]
    play = asking("palette")
    (command,) = [one for one in registry.found(play.session) if one.action is Action.PALETTE]
    row = f"{registry.keys_of(command)} {command.help}"
    assert row in told and any(row in " ".join(line.split()) for line in shown(play, 80))
    assert any(line.rstrip().endswith(" monochrome.") for line in shown(play)), "what has no room stands below the list"


def test_an_engine_that_dies_meanwhile_can_be_restarted_by_name() -> None:
    play = asking("restart")
    play.take(EngineDied("SIGSEGV"))
    play.press(Action.ENTER)
    assert play.session.game.engine is EngineStatus.READY


# --- a token's number


@pytest.mark.parametrize(("typed", "position"), [("1", 1), ("3", 3), (" 4 ", 4), ("05", 5)])
def test_a_number_leads_to_the_token(typed: str, position: int) -> None:
    play = asking(typed)
    assert f"Enter looks at token {int(typed)}" in "\n".join(shown(play))
    play.press(Action.ENTER)
    cursor = play.session.game.prompt.cursor
    assert play.session.screen == screens.PLAY and cursor is not None and cursor.depth == position


@pytest.mark.parametrize("typed", ["0", "6", "999999999"])
def test_a_number_that_no_token_has_is_told(typed: str) -> None:
    play = asking(typed).press(Action.ENTER)
    assert play.session.notice == "the prompt has tokens 1 to 5"
    assert play.session.game.prompt.cursor is None


@pytest.mark.parametrize("typed", ["-1", "1.5", "\u0663", "12345678901"])
def test_what_is_no_number_of_a_token_is_a_name(typed: str) -> None:
    assert asking(typed).press(Action.ENTER).session.notice == "no command has this name"


def test_only_where_a_number_looks_at_a_token_the_help_says_so() -> None:
    told = {kind for kind, row in SCREENS.items() for command in row.commands if ":42" in command.help}
    assert told == {screens.Play}


def test_elsewhere_a_number_is_a_name() -> None:
    play = started("hello").press(Action.TREE, Action.COMMANDS, Typed("3"), Action.ENTER)
    assert play.session.notice == "no command has this name"


@pytest.mark.parametrize(("width", "height"), [(45, 19), (50, 35), (59, 14), (79, 10), (59, 6)])
def test_the_selected_commands_sentence_is_whole_or_says_that_it_is_not(width: int, height: int) -> None:
    play = asking()
    before, cut = replace(play.session, screen=screens.PLAY), 0
    for command in registry.found(play.session):
        lines = command_lines(play.session, width, height)
        assert len(lines) <= height
        below = ["".join(part for _, part in line) for line in lines[2 + len(command_entries(play.session, height)) :]]
        told, whole = " ".join(map(str.strip, below)), command.disabled(before) or command.help
        cut += told != whole
        assert told == whole or (told.endswith("…") and whole.startswith(told[:-1].rstrip()))
        play.press(Action.DOWN)
    assert (cut > 0) == (height == 6), "there is room on all but the smallest"
