"""Changing the middle of a prompt: what follows stays, and the new prompt knows the one that it was made from."""

import pytest

from tests import fake
from tests.fake import Play, started
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Go, Message, Typed


def path(play: Play) -> list[int]:
    return play.session.game.prompt.tip.path()


def parent(play: Play) -> list[int] | None:
    made_from = play.session.game.prompt.parent
    return made_from and made_from.path()


# --- what a prompt was made from


BRANCHES: dict[str, tuple[Message, ...]] = {
    "a copy": (Action.COPY,),
    "another token": (Action.CURSOR_BACK, Action.DOWN, Action.APPEND),
    "typed text": (Action.CURSOR_BACK, Action.INPUT, Typed("abc"), Action.ENTER),
    "a token that was found": (Action.CURSOR_BACK, Action.SEARCH, Typed("a"), Action.APPEND),
    "a place of the tree": (Action.TREE, Action.TOP, Action.OPEN),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_a_prompt_knows_what_it_was_made_from(name: str) -> None:
    play = started("hello").press(Action.APPEND)
    assert parent(play) is None
    before = path(play)
    play.press(*BRANCHES[name])
    assert len(play.session.game.prompts) == 2 and parent(play) == before
    play.press(Action.CURSOR_TIP, Action.APPEND, Action.POP, Action.INPUT, Typed("x"), Action.ENTER)
    assert parent(play) == before, "also when it has gone on"
    play.press(Go(0), Action.POP)
    play.press(Go(1))
    assert parent(play) == before, "and when that has gone elsewhere"


def test_a_text_that_is_opened_was_made_from_no_prompt() -> None:
    play = started("hello").press(Action.PROMPTS, Action.NEW, Typed("another"), Action.ENTER)
    assert path(play) == fake.text_to_path("another") and parent(play) is None
