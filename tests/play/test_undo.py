"""Undoing: each action on the prompts is one step, and comes back; nothing else is a step."""

from collections.abc import Callable

import pytest

from tests import fake
from tests.fake import Play, started
from tokex_gguf.engine.protocol import Continue
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Edited, Go, Send, Typed
from tokex_gguf.play.rules import undo
from tokex_gguf.play.session import Session

Places = tuple[list[list[int]], int]


def places(session: Session) -> Places:
    return [prompt.tip.path() for prompt in session.game.prompts], session.game.active


def keys(*actions: Action | Typed | Go) -> Callable[[Play], None]:
    def go(play: Play) -> None:
        for action in actions:
            play.press(action)

    return go


ACTIONS: dict[str, Callable[[Play], None]] = {
    "append": keys(Action.DOWN, Action.APPEND),
    "pop": keys(Action.POP),
    "copy": keys(Action.COPY),
    "remove": keys(Action.COPY, Action.APPEND, Action.REMOVE),
    "bring back": keys(Action.COPY, Action.APPEND, Action.REMOVE, Action.BRING_BACK),
    "branch": keys(Action.CURSOR_BACK, Action.DOWN, Action.APPEND),
    "type": keys(Action.INPUT, Typed("abc"), Action.ENTER),
    "type inside": keys(Action.CURSOR_BACK, Action.INPUT, Typed("abc"), Action.ENTER),
    "search": keys(Action.SEARCH, Typed("a"), Action.APPEND),
    "go on from the tree": keys(Action.POP, Action.TREE, Action.BOTTOM, Action.ENTER),
}
LAST = {"remove": 3, "bring back": 4, "go on from the tree": 2}
"""Actions on the prompts that each of those is made of, where it is not one."""


@pytest.mark.parametrize("name", ACTIONS)
def test_each_action_is_undone_and_done_again(name: str) -> None:
    play = started("hello")
    for _ in range(3):
        play.press(Action.APPEND)
    play.press(Action.POP)
    seen = [places(play.session)]
    before = len(play.session.game.undo.past)
    ACTIONS[name](play)
    assert name == "remove" or places(play.session) != seen[0]
    steps = len(play.session.game.undo.past) - before
    assert steps == LAST.get(name, 1)
    after = places(play.session)
    for _ in range(steps):
        play.press(Action.UNDO)
    assert play.session.game.ready, "the table is there again"
    assert places(play.session) == seen[0]
    assert "U redoes it" in play.session.notice
    for _ in range(steps):
        play.press(Action.REDO)
    assert play.session.game.ready
    assert places(play.session) == after


def test_edited_text_is_undone() -> None:
    play = started("hello")
    play.press(Action.EDIT)
    before = places(play.session)
    play.take(Edited("other"))
    play.answer()
    assert places(play.session) != before
    play.press(Action.UNDO)
    assert places(play.session) == before


@pytest.mark.parametrize(
    "key",
    [
        *(Action.UP, Action.DOWN, Action.BOTTOM, Action.CURSOR_BACK, Action.CURSOR_FIRST, Action.CURSOR_TIP),
        *(Action.HIGHEST_SURPRISAL, Action.NEXT, Action.PREVIOUS, Action.LAYER, Action.HELP, Go(0)),
    ],
)
def test_what_changes_no_prompt_is_no_step(key: Action | Go) -> None:
    play = started("hello")
    play.press(Action.COPY)
    play.press(Action.APPEND)
    steps = play.session.game.undo
    play.press(key)
    assert play.session.game.undo is steps


def test_selection_comes_back_with_the_place() -> None:
    play = started("hello")
    for key in (Action.DOWN, Action.DOWN, Action.APPEND):
        play.press(key)
    chosen = play.session.game.prompt.tip.token
    play.press(Action.UNDO)
    assert play.session.game.prompt.selected == chosen


def test_going_elsewhere_and_undoing_leads_to_where_it_was_done() -> None:
    play = started("hello")
    for key in (Action.COPY, Action.APPEND, Action.NEXT):
        play.press(key)
    assert play.session.game.active == 0
    play.press(Action.UNDO)
    assert play.session.game.active == 1


def test_another_action_ends_what_could_be_done_again() -> None:
    play = started("hello")
    for key in (Action.APPEND, Action.UNDO, Action.COPY, Action.REDO):
        play.press(key)
    assert play.session.notice == "there is nothing to redo"
    assert len(play.session.game.prompts) == 2


def test_nothing_to_undo_is_said() -> None:
    play = started("hello")
    play.press(Action.UNDO)
    assert play.session.notice == "there is nothing to undo"


def play_on(play: Play, tokens: int) -> None:
    """Autoplay through some tokens, each in an answer of its own."""
    (request,) = [one.request for one in play.effects if isinstance(one, Send) and isinstance(one.request, Continue)]
    path = list(request.path)
    for _ in range(tokens):
        play.take(fake.continued(request, path))
        path.append(fake.ranked(path)[0])


@pytest.mark.parametrize("lookahead", [0, 5])
@pytest.mark.parametrize("stop", [Action.AUTOPLAY, Action.LAYER, Action.COPY, Action.APPEND])
def test_an_autoplay_is_one_step(lookahead: int, stop: Action) -> None:
    play = started("hello", lookahead=lookahead)
    before = places(play.session)
    play.take(Action.AUTOPLAY)
    play_on(play, 4)
    stood = places(play.session)
    assert len(stood[0][0]) > len(before[0][0])
    play.press(stop)
    if stop in (Action.COPY, Action.APPEND):
        play.press(Action.UNDO)
    assert places(play.session) == stood
    play.take(Action.AUTOPLAY)
    play_on(play, 2)
    play.press(Action.AUTOPLAY)
    play.press(Action.UNDO)
    assert places(play.session) == stood, "a second run is another step"
    play.press(Action.UNDO)
    assert places(play.session) == before


def test_steps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo, "MOST", 5)
    play = started("hello")
    for _ in range(9):
        play.press(Action.APPEND)
    for _ in range(9):
        play.press(Action.UNDO)
    assert play.session.game.prompt.tip.depth == len("hello") + 4
