"""Commands by their names."""

import pytest

from tests.fake import Play, on, started
from tokex_gguf.engine.protocol import EngineDied
from tokex_gguf.play import commands, screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands import SCREENS
from tokex_gguf.play.messages import PointedAtRow, Typed
from tokex_gguf.play.session import EngineStatus
from tokex_gguf.ui.panes import help_lines
from tokex_gguf.ui.screen import View
from tokex_gguf.values.layers import PROBABILITY


def asking(*typed: str) -> Play:
    return started("hello").press(Action.COMMANDS, *map(Typed, typed))


def names(play: Play) -> list[str]:
    return [command.name for command in commands.found(play.session)]


def shown(play: Play, width: int = 130) -> list[str]:
    return ["".join(text for _, text in line) for line in View().screen(play.session, width, 60)]


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
    assert play.session.screen == screens.PLAY and play.session.layer is PROBABILITY
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
    assert any("a          the last prompt stays" in line for line in shown(play))
    play.press(Action.ENTER)
    assert play.session.notice == "the last prompt stays" and play.session.game.prompts == before.prompts


def test_a_word_that_nothing_has() -> None:
    play = asking("zzz")
    assert names(play) == [] and any("no command has this name" in line for line in shown(play))
    assert play.press(Action.DOWN).session.notice == "this is the last command"
    assert play.press(Action.ENTER).session.notice == "no command has this name"
    assert isinstance(play.session.screen, screens.Commands)


def test_esc_goes_back_to_where_it_was_asked_for() -> None:
    play = started("hello").press(Action.TREE, Action.COMMANDS)
    assert "go there" in " ".join(command.label for command in commands.found(play.session))
    assert isinstance(play.press(Action.CLOSE).session.screen, screens.Tree)


def test_a_row_is_the_helps_own() -> None:
    lines, _ = help_lines(screens.Play, 130, 0)
    told = [" ".join("".join(text for _, text in line).split()) for line in lines]
    play = asking("palette")
    (command,) = [one for one in commands.found(play.session) if one.action is Action.PALETTE]
    row = f"{commands.keys_of(command)} {command.help}"
    assert row in told and any(row in " ".join(line.split()) for line in shown(play, 80))
    assert any(line.rstrip().endswith(" none.") for line in shown(play)), "what has no room stands below the list"


def test_an_engine_that_dies_meanwhile_can_be_restarted_by_name() -> None:
    play = asking("restart")
    play.take(EngineDied("SIGSEGV"))
    play.press(Action.ENTER)
    assert play.session.game.engine is EngineStatus.READY
