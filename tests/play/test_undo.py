"""Undoing: each action on the prompts, the constraint and the samplers is one step; nothing else is a step."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import fake
from tests.fake import PIECES, Play, started
from tests.sampling import few
from tokex_gguf.engine.protocol import Continue
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Sampling, Settings
from tokex_gguf.play.messages import Edited, Go, Send, Typed
from tokex_gguf.play.rules import undo
from tokex_gguf.play.screens import PLAY, Samplers
from tokex_gguf.play.session import Session
from tokex_gguf.sessions.codec import dump, load
from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.lens import RAW
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.samplers import Chain

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
    "replace": keys(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.DOWN, Action.REPLACE),
    "delete": keys(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.DELETE_TOKEN),
    "insert": keys(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.INSERT, Typed("abc"), Action.ENTER),
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
    monkeypatch.setattr(undo, "MOST_ACTIONS", 5)
    play = started("hello")
    for _ in range(9):
        play.press(Action.APPEND)
    for _ in range(9):
        play.press(Action.UNDO)
    assert play.session.game.prompt.tip.depth == len("hello") + 4


# --- the constraint and the sampler chain


def constrain(text: str) -> tuple[Action | Typed, ...]:
    return Action.CONSTRAINT, Action.ERASE_LINE, Typed(text), Action.ENTER


LIFT = (Action.CONSTRAINT, Action.ERASE_LINE, Action.ENTER)
INSIDE = (Action.CURSOR_FIRST, Action.CURSOR_ON, Action.CURSOR_ON)
HOTTER = (Action.SAMPLERS, Action.BOTTOM, Action.MORE, Action.CLOSE)


def drawn_by(session: Session) -> tuple[list[int], Chain, Constraint | None, bool]:
    begins = [prompt.begins for prompt in session.game.prompts]
    return begins, session.game.sampling.chain, session.game.sampling.constraint, session.options.by_final


@pytest.mark.parametrize(
    ("before", "action", "told"),
    [
        ((), constrain("02468"), "there is no constraint"),
        (constrain("02468"), constrain("0123"), "regex 02468 holds again"),
        (constrain("02468"), LIFT, "regex 02468 holds again"),
        (constrain("02468"), (*INSIDE, Action.CONSTRAINT, Action.ENTER), "the constraint holds after token 5"),
        ((), (Action.SAMPLERS, Action.PRESET, Action.CLOSE), "the samplers are changed back"),
        ((Action.SAMPLERS, Action.ENTER, Action.CLOSE), HOTTER, "the samplers are changed back"),
        ((), (Action.DOWN, Action.LIKELIER), "has no bias any more"),
        ((Action.LIKELIER, Action.LIKELIER), (Action.UNLIKELIER,), " +2"),
        ((Action.LIKELIER, Action.DOWN, Action.LIKELIER), (Action.UNLIKELIER,), " +1"),
        (constrain("02468"), (Action.SAMPLERS, Action.PRESET, Action.CLOSE), "the samplers are changed back"),
    ],
)
def test_what_is_drawn_by_is_undone_as_prompts_are(
    before: tuple[Action | Typed, ...], action: tuple[Action | Typed, ...], told: str
) -> None:
    play = started("hello").press(Action.APPEND, Action.POP, *before)
    seen, steps = drawn_by(play.session), len(play.session.game.undo.past)
    play.press(*action)
    done = drawn_by(play.session)
    assert done != seen and len(play.session.game.undo.past) == steps + 1
    play.press(Action.UNDO)
    assert drawn_by(play.session) == seen and told in play.session.notice
    play.press(Action.REDO)
    assert drawn_by(play.session) == done
    assert play.session.view is not None or play.session.lens == RAW, "the table is seen as it was"


def test_a_constraint_begins_where_it_did_when_tokens_come_back() -> None:
    play = started("hello").press(Action.APPEND, Action.APPEND)
    before = play.session.game.prompt.begins
    play.press(Action.APPEND, *constrain("02468"), Action.APPEND)
    held = play.session.game.prompt.begins
    assert held > before
    play.press(Action.UNDO)
    assert play.session.game.prompt.begins == held and play.session.game.sampling.constraint
    play.press(Action.UNDO, Action.UNDO)
    assert play.session.game.prompt.begins == before and play.session.game.sampling.constraint is None


def test_the_steps_of_one_value_are_one() -> None:
    play = started("hello").press(Action.SAMPLERS, Action.ENTER)
    before, steps = drawn_by(play.session), len(play.session.game.undo.past)
    play.press(Action.BOTTOM, Action.MORE, Action.MORE, Action.MORE)
    assert len(play.session.game.undo.past) == steps + 1
    play.press(Action.UP, Action.MORE, Action.LESS, Action.MORE)
    changed = len(play.session.game.undo.past) - steps
    play.press(Action.CLOSE, *[Action.UNDO] * changed)
    assert changed in (1, 2) and drawn_by(play.session) == before  # the line above may be the same sampler's


WALKED: list[tuple[Action | Typed | Go, ...]] = [
    *[(Action.APPEND,)] * 4,
    *[(Action.POP,)] * 3,
    *[(Action.UNDO,)] * 5,
    *[(Action.REDO,)] * 3,
    (Action.DOWN,),
    (Action.COPY,),
    (Action.REMOVE,),
    (Action.BRING_BACK,),
    (Action.NEXT,),
    (Action.FORCE,),
    (Action.ROLL,),
    (Action.CURSOR_BACK,),
    (Action.CURSOR_TIP,),
    constrain("02468"),
    constrain("7"),
    constrain("["),
    (Action.CONSTRAINT, Action.ENTER),
    (*INSIDE, *constrain("05<?")),
    LIFT,
    (Action.CONSTRAINT, Typed("1"), Action.CLOSE),
    (Action.SAMPLERS, Action.PRESET, Action.CLOSE),
    (Action.SAMPLERS, Action.SWITCH, Action.CLOSE),
    (Action.SAMPLERS, Action.ENTER, Action.CLOSE, Action.CLOSE),
    HOTTER,
    (Action.LIKELIER,),
    (Action.INPUT, Typed("ab"), Action.ENTER),
    (*INSIDE, Action.UP, Action.REPLACE),
    (*INSIDE, Action.DOWN, Action.REPLACE),
    (*INSIDE, Action.DELETE_TOKEN),
    (Action.CURSOR_TIP, Action.CURSOR_BACK, Action.DELETE_TOKEN),
    (*INSIDE, Action.INSERT, Typed("ab"), Action.ENTER),
    (*INSIDE, Action.INSERT, Action.TAKE_IN, Action.TAKE_IN, Action.ERASE, Action.ENTER),
    (*INSIDE, Action.INSERT, Typed("ab"), Action.CLOSE),
]


def state(session: Session) -> object:
    """All that is undone, as it can be compared."""
    game = session.game
    prompts = [
        (prompt.tip.path(), prompt.begins, prompt.name, prompt.parent and prompt.parent.path())
        for prompt in game.prompts
    ]
    removed = [(place, prompt.tip.path(), prompt.begins) for place, prompt in game.removed]
    return prompts, removed, game.sampling.chain, game.sampling.constraint


@pytest.mark.parametrize("seed", few(range(40), of=4))
def test_a_random_walk_goes_back_and_forth_through_the_states_it_was_in(seed: int) -> None:
    rng = random.Random(seed)
    play = started("hello")
    states, here, tuned = [state(play.session)], 0, False
    for _ in range(60):
        for message in rng.choice(WALKED):
            before = state(play.session)
            tuning = message in (Action.MORE, Action.LESS)
            play.press(message)
            now = state(play.session)
            if message is Action.UNDO:
                here, tuned = max(0, here - 1), False
            elif message is Action.REDO:
                here, tuned = min(len(states) - 1, here + 1), False
            elif now != before:
                del states[here + 1 :]
                if tuning and tuned:
                    states[here] = now  # more of the same step
                else:
                    states.append(now)
                    here += 1
                tuned = tuning
            assert now == states[here], (seed, message)
            assert all(prompt.begins <= prompt.tip.depth for prompt in play.session.game.prompts)
        if play.session.screen is not PLAY:
            play.press(Action.CLOSE)
    again = load(dump(play.session), Settings("", GgufFile("")))
    assert state(again) == state(play.session), "what is saved begins where it did"


def test_in_the_chain_its_changes_are_undone_and_the_screen_stays() -> None:
    play = started().press(Action.SAMPLERS, Action.ENTER)
    whole = play.session.game.sampling.chain
    play.press(Action.REMOVE)
    less = play.session.game.sampling.chain
    assert len(less.samplers) == len(whole.samplers) - 1
    play.press(Action.UNDO)
    assert play.session.game.sampling.chain == whole and isinstance(play.session.screen, Samplers)
    assert "samplers are changed back" in play.session.notice
    play.press(Action.REDO)
    assert play.session.game.sampling.chain == less
    assert play.session.notice.startswith("redone: the samplers are changed again")
    play.press(Action.UNDO, Action.UNDO)
    assert play.session.lens is RAW and isinstance(play.session.screen, Samplers)


def test_a_bias_of_a_token_that_no_table_has_is_undone_after_a_restart() -> None:
    class Short(Play):
        """Its tables have three rows, so a session mentions few tokens."""

        given = 3

    play = Short("hello").answer()
    session = load(dump(play.session), play.session.game.settings)
    token = next(token for token in PIECES if token not in session.game.known.pieces)
    chain = Chain(bias=((token, -math.inf),))
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling(chain, None, 1)))
    assert token in load(dump(play.session), play.session.game.settings).game.known.pieces
    del play.session.game.known.pieces[token]  # as where it came of the command line
    play.take(Action.UNBAN)
    play.take(Action.UNDO)
    assert play.session.notice.startswith(f"undone: “‹{token}›” banned")
    assert play.session.game.sampling.chain == chain
