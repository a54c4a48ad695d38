"""Finding a line of a list by what it says: one rule for all lists."""

import pytest

from tests.fake import Play, on, started
from tests.fake import sampled as through
from tokex_gguf.engine.protocol import EngineDied
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import ListedModels, ListedStarters, PointedAtRow, Typed, Unbound
from tokex_gguf.play.rules import list_search
from tokex_gguf.play.screens import PLAY
from tokex_gguf.play.session import Starter
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.samplers import NO_CHAIN, Kind

MODELS = ("fake.gguf", "coder.gguf", "Poet.gguf", "poems.gguf")


def prompts() -> Play:
    """Three prompts with different ends, and two texts to start with."""
    play = started("hello").press(Action.COPY, Action.DOWN, Action.APPEND, Action.COPY, Action.APPEND)
    play.press(Action.PROMPTS, Action.RENAME, Typed("A Woman"), Action.ENTER)
    play.take(ListedStarters((Starter("tale.txt", "Once a woman\nlived"), Starter("sum.txt", "2 + 2"))))
    return play


def models() -> Play:
    play = started("hello").press(Action.MODELS)
    play.take(ListedModels(tuple(ModelEntry(name, name.removesuffix(".gguf"), "Q4_0", "1 GB") for name in MODELS)))
    return play


def found(play: Play) -> list[int]:
    return list(list_search.found(play.session))


def shown(play: Play, width: int = 80, height: int = 24) -> str:
    return "\n".join("".join(part for _, part in line) for line in ScreenRenderer().screen(play.session, width, height))


def test_a_prompt_is_found_by_its_name_and_a_text_by_its_own() -> None:
    play = prompts().press(Action.FILTER)
    assert found(play) == [0, 1, 2, 3, 4], "nothing is typed"
    play.press(Typed("woman"))
    assert found(play) == [2, 3] and list_search.selected(play.session) == 2
    drawn = shown(play)
    assert "A Woman" in drawn and "tale.txt" in drawn and "sum.txt" not in drawn and "2 lines" in drawn
    play.press(Typed(" lived"))
    assert found(play) == [3], "a line break is a blank"
    assert "Once a woman" in shown(play).split("─")[0], "above stands what is selected"


def test_a_list_that_is_searched_says_what_it_is_for() -> None:
    play = models()
    play.press(Action.CLOSE, Action.VERSUS_MODEL)
    heading = next(line for line in shown(play).splitlines() if "compare with" in line)
    play.press(Action.FILTER, Typed("b"))
    assert heading in shown(play).splitlines()


def test_letters_that_are_commands_of_the_list_remove_nothing_there() -> None:
    play = prompts().press(Action.FILTER)
    before = play.session.game.prompts
    play.press(*map(Typed, "woman"))
    assert play.session.game.prompts == before and play.session.line.text == "woman"


def test_a_prompt_is_found_by_its_text() -> None:
    play = prompts()
    tips = [prompt.tip for prompt in play.session.game.prompts]
    (last,) = {tips[2].token} - {node.token for node in tips[0].nodes()}
    own = play.session.game.piece(last).data.decode().strip()
    play.press(Action.FILTER, Typed(own))
    assert 2 in found(play) and 0 not in found(play)


def test_enter_does_what_it_does_in_the_list() -> None:
    play = prompts().press(Action.FILTER, Typed("once"), Action.ENTER)
    assert play.session.screen == PLAY and len(play.session.game.prompts) == 4
    play = models().press(Action.FILTER, Typed("po"), Action.DOWN, Action.ENTER)
    assert play.session.preparing == "poems.gguf"
    play = through(NO_CHAIN).press(Action.SAMPLERS, Action.ADD, Action.FILTER, Typed("min-p"), Action.ENTER)
    assert [one.kind for one in play.session.game.sampling.chain.samplers] == [Kind.MIN_P]


def test_a_sampler_is_found_by_what_it_does_and_by_its_flag() -> None:
    play = through(NO_CHAIN).press(Action.SAMPLERS, Action.ADD, Action.FILTER)
    assert "add" in shown(play), "the list stays"
    play.press(Typed("--xtc"))
    assert len(found(play)) == 1 and "XTC" in shown(play) and "typical" not in shown(play)


def test_arrows_go_through_what_was_found_and_stop_at_its_ends() -> None:
    play = models().press(Action.FILTER, Typed("po"))
    assert found(play) == [2, 3] and list_search.selected(play.session) == 2
    play.press(Action.DOWN)
    assert list_search.selected(play.session) == 3
    assert play.press(Action.DOWN).session.notice == "this is the last line"
    assert play.press(Action.PAGE_UP).session.notice == "" and list_search.selected(play.session) == 2
    play.press(PointedAtRow(3))
    assert list_search.selected(play.session) == 3


def test_escape_goes_back_to_the_whole_list_with_the_found_line_selected() -> None:
    play = models().press(Action.FILTER, Typed("poems"), Action.CLOSE)
    assert on(play.session, screens.Models).row == 3
    play = models().press(Action.FILTER, Typed("no such"), Action.CLOSE)
    assert on(play.session, screens.Models).row == 0


def test_what_no_line_has_is_told_and_chosen_by_nothing() -> None:
    play = models().press(Action.FILTER, Typed("xyz"))
    assert found(play) == [] and "no line has this text" in shown(play)
    play.press(Action.ENTER)
    assert play.session.notice == "no line has this text" and not play.session.preparing
    assert play.press(Action.DOWN).session.notice == "no line has this text"
    play.press(Action.ERASE_LINE)
    assert len(found(play)) == 4


def test_a_list_that_comes_meanwhile_is_searched_as_well() -> None:
    play = models().press(Action.FILTER, Typed("po"))
    names = ("poet.gguf", *MODELS, "pony.gguf")
    play.take(ListedModels(tuple(ModelEntry(name, name, "Q4_0", "1 GB") for name in names)))
    assert found(play) == [0, 3, 4, 5]
    play.take(ListedModels(()))
    assert play.session.screen == PLAY, "there is nothing to search"


def test_an_engine_that_dies_leaves_what_is_typed_and_escape_leads_to_the_key() -> None:
    play = prompts().press(Action.FILTER, Typed("woman"))
    play.take(EngineDied("SIGSEGV"))
    assert play.session.line.text == "woman" and "Esc, then r" in play.session.notice
    assert play.press(Action.CLOSE).session.screen == PLAY


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (130, 40)])
def test_a_click_chooses_the_line_that_is_seen(size: tuple[int, int]) -> None:
    play, view = prompts().press(Action.FILTER, Typed("woman")), ScreenRenderer()
    lines = ["".join(part for _, part in line) for line in view.screen(play.session, *size)]
    (row,) = [index for index, line in enumerate(lines) if "tale.txt" in line]
    assert view.hit(play.session, *size, 6, row) == PointedAtRow(3)


# --- letters in a list without the search


def test_a_letter_without_meaning_says_how_lines_are_found() -> None:
    for play in (prompts(), models(), started("hello").press(Action.TREE)):
        assert play.press(Unbound("w")).session.notice == "w does nothing here: / finds a line, Esc goes back"


def test_a_prompt_is_removed_at_the_second_press_and_the_way_back_is_told() -> None:
    play = prompts()
    play.press(Action.REMOVE)
    assert len(play.session.game.prompts) == 3
    assert play.session.notice_line == "a again removes prompt 3; A brings it back, / finds a line by its text"
    play.press(Action.UP, Action.REMOVE)
    assert len(play.session.game.prompts) == 3, "another key came between"
    play.press(Action.REMOVE)
    assert len(play.session.game.prompts) == 2 and play.session.notice == "prompt 2 is removed: A brings it back"
    play.press(Action.REMOVE)
    assert len(play.session.game.prompts) == 2, "each one is asked for"
    assert len(play.press(Action.BRING_BACK).session.game.prompts) == 3
