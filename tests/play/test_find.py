"""Finding text in the prompt."""

import pytest

from tests.fake import Play, on, started
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Edited, Typed
from tokex_gguf.play.screens import PLAY, Find
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.outline import searchable
from tokex_gguf.values.path_text import PathText

TEXT = "abcabxabc"
"""Tokens of one letter each; the engine made of arithmetic puts a space before each."""


def finding(*keys: Action | Typed, text: str = TEXT) -> Play:
    return started(text).press(Action.FIND, *keys)


def cursor(play: Play) -> int | None:
    """The number of the token that is looked at."""
    node = play.session.game.prompt.cursor
    return node.depth if node else None


def letters(play: Play) -> str:
    """What the pieces of the prompt spell."""
    return "".join(play.session.game.piece(token).data.decode() for token in play.session.game.prompt.tip.path())


def piece(play: Play, number: int) -> str:
    return letters(play)[2 * number - 2 : 2 * number]


def second_line(play: Play) -> str:
    lines = ["".join(text for _, text in line).rstrip() for line in ScreenRenderer().screen(play.session, 100, 30)]
    (line,) = [line for line in lines if line.startswith(" find in the prompt:")]
    return line


def test_what_is_looked_at_follows_what_is_typed() -> None:
    play = finding()
    wanted = letters(play)[2:6]
    for end, place in [(1, 1), (4, 2)]:
        play.press(Action.ERASE_LINE, Typed(wanted[:end]))
        assert cursor(play) == place
    assert second_line(play).endswith("1 of 2")


def test_next_and_previous_go_round() -> None:
    play = finding()
    wanted = letters(play)[:4]
    play.press(Typed(wanted))
    assert cursor(play) == 1
    for key, place in [(Action.DOWN, 4), (Action.DOWN, 7), (Action.DOWN, 1), (Action.UP, 7)]:
        assert cursor(play.press(key)) == place


def test_erasing_looks_from_where_one_was() -> None:
    play = started(TEXT).press(*[Action.CURSOR_BACK] * 5)
    origin = cursor(play)
    play.press(Action.FIND, Typed(letters(play)[:2]))
    assert cursor(play) == 7
    play.press(Action.ERASE_LINE)
    assert cursor(play) == origin == 5


def test_enter_stays_there_and_f_enter_goes_on() -> None:
    play = finding()
    wanted = letters(play)[:4]
    play.press(Typed(wanted), Action.ENTER)
    assert play.session.screen == PLAY and cursor(play) == 1
    for place in (4, 7, 1):
        play.press(Action.FIND)
        assert play.session.line.text == wanted and play.session.line.selected
        assert cursor(play.press(Action.ENTER)) == place
    play.press(Action.FIND, Typed(letters(play)[10:12]))
    assert cursor(play) == 6, "typing replaces what was found last"


def test_escape_goes_back_to_where_one_was() -> None:
    play = started(TEXT).press(Action.CURSOR_BACK, Action.FIND)
    play.press(Typed(letters(play)[:4]), Action.DOWN, Action.CLOSE)
    assert play.session.screen == PLAY and cursor(play) == len(TEXT)
    assert "f brings it back" in play.session.notice


@pytest.mark.parametrize("key", [Action.ENTER, Action.DOWN, Action.UP])
def test_what_is_not_there_is_told_and_nothing_moves(key: Action) -> None:
    play = finding(Typed("no such text"))
    assert cursor(play) is None
    assert "not in the prompt" in second_line(play)
    play.press(key)
    assert "not in the prompt" in play.session.notice and cursor(play) is None


def test_nothing_typed_finds_nothing() -> None:
    play = finding(Action.DOWN)
    assert play.session.notice == "type what to find"
    assert finding(Action.ENTER).session.screen == PLAY


def test_signs_may_be_typed_as_they_are_shown() -> None:
    play = finding(Typed("␣1␣2"))
    assert on(play.session, Find).query == " 1 2"


def test_the_prompt_may_be_another_one_by_then() -> None:
    play = started(TEXT).press(Action.EDIT, Action.FIND)
    wanted = letters(play)[:2]
    play.press(Typed(wanted))
    play.take(Edited("xyabc"))
    play.answer()
    play.press(Action.DOWN)
    node = play.session.game.prompt.cursor
    assert node is None or node in play.session.game.prompt.tip.nodes()
    play.press(Action.CLOSE)
    node = play.session.game.prompt.cursor
    assert node is None or node in play.session.game.prompt.tip.nodes()


def test_nothing_is_decoded_by_finding() -> None:
    play = started(TEXT)
    before = play.decoded
    play.press(Action.FIND, Typed(letters(play)[:4]), Action.DOWN, Action.ENTER)
    assert play.decoded == before


@pytest.mark.parametrize(
    ("text", "wanted", "at"), [("ΟΔΟΣΑ", "οδος", 0), ("ΟΔΟΣ", "Σ", 3), ("ὀδός", "ΔΌΣ", 1), ("İİ cat", "CAT", 3)]
)
def test_letters_are_the_same_wherever_they_stand(text: str, wanted: str, at: int) -> None:
    whole = PathText.of([text.encode()])
    assert whole.next(wanted, 0) == at
    assert searchable(text).find(searchable(wanted)) == at
