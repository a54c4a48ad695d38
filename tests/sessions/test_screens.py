"""Whatever was played: after a restart every screen is as it was, down to the styles."""

import os
import random
from dataclasses import replace

import pytest

from tests.fake import Play, Served
from tests.sampling import few
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Go, Message, PointedAtRow, PointedAtToken, Typed
from tokex_gguf.play.session import Session
from tokex_gguf.sessions.codec import dump, load
from tokex_gguf.ui.cells import Line
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.layers import LensLayer

SEED = int(os.environ.get("SCREENS_SEED", "1"))

OUTSIDE = (
    *(Action.QUIT, Action.SUSPEND, Action.EDIT, Action.SAVE, Action.COPY_OUT, Action.NAME, Action.RESTART),
    *(Action.MODELS, Action.VERSUS_MODEL, Action.SESSIONS, Action.HELP, Action.COMMANDS, Action.AUTOPLAY),
    *(Action.ANSWERS, Action.CRITICAL),
)
"""What needs more than one game with one engine; and what is looked for anew after a restart: answers."""
ANY: list[Message] = [one for one in Action if one not in OUTSIDE]
OFTEN: list[Message] = [
    *[Action.APPEND] * 12,
    *[Action.ENTER] * 10,
    *[Action.CLOSE] * 6,
    *(Action.COPY, Action.COPY, Action.CURSOR_BACK, Action.CURSOR_BACK, Action.CURSOR_BACK, Action.TREE, Action.TREE),
    *(Action.CONSTRAINT, Action.SAMPLERS, Action.ADD, Action.LIKELIER, Action.ROLL, Action.DRAW_MANY, Action.VERSUS),
    *(Action.VERSUS, Action.ORDER, Action.INPUT, Action.INPUT, Action.SCORE, Action.SCORE, Action.INSERT),
    *(Action.REPLACE, Action.DELETE_TOKEN),
]
TEXTS = ("a", "bc", "0", "[", "=", "0 1 2 3 4 5 6 7 8 9 a b c d e f")

LOOKS: list[tuple[Message, ...]] = [
    *((Action.TREE,), (Action.TREE, Action.SORT), (Action.TREE, Action.GRAFT), (Action.PROMPTS,), (Action.PREVIOUS,)),
    *((Action.PROMPTS, Action.NEW), (Action.BRING_BACK,), (Go(0),), (Go(1),), (Action.REMOVE, Action.REMOVE)),
    *((Action.SAMPLERS,), (Action.SAMPLERS, Action.PRESET), (Action.SAMPLERS, Action.ADD), (Action.CONSTRAINT,)),
    *((Action.SAMPLERS, Action.READ_IN), (Action.CONSTRAINT, Action.EARLIER), (Action.SEED,), (Action.BAN,)),
    *((Action.ROLL,), (Action.DRAW_MANY,), (Action.ORDER,), (Action.FORCE,), (Action.AHEAD,), (Action.GHOST,)),
    *((Action.INPUT,), (Action.INPUT, Action.EARLIER), (Action.INSERT,), (Action.SEARCH,), (Action.FIND,)),
    *((Action.CURSOR_TIP,), (Action.CURSOR_TIP, Action.POP), (Action.CURSOR_BACK,), (Action.CURSOR_FIRST,)),
    *((Action.VERSUS,), (Action.VERSUS, Action.FLIP), (Action.SWAP,), (Action.ORDER,), (Action.NEXT_SURPRISAL,)),
    *((Action.HIGHEST_ENTROPY,), (Action.ANSWERS,), (Action.CRITICAL,), (Action.APPEND,), (Action.COPY,)),
    *((Action.REPLACE,), (Action.DELETE_TOKEN,), (Action.RETOKENIZE,), (Action.APPEND, Action.APPEND, Action.POP)),
    *[(Action.LAYER,) * count for count in range(1, 6)],
    *[(Action.MORE_LAYERS,) * count for count in range(1, 4)],
]


def key(chance: random.Random) -> Message:
    what = chance.random()
    if what < 0.2:
        return Typed(chance.choice(TEXTS))
    if what < 0.33:
        place = chance.randrange(8)
        pointed: list[Message] = [Go(place % 4), PointedAtRow(place), PointedAtToken(place)]
        return chance.choice(pointed)
    return chance.choice(OFTEN if what < 0.7 else ANY)


def played(seed: str) -> Play:
    """A game in which anything was done, with no screen open but the prompt's.

    Without what is not kept: the draws that were shown last, and by what quantity the cursor was led to its place.
    """
    chance = random.Random(seed)
    kind = Served if chance.random() < 0.2 else Play
    play = kind(
        chance.choice(["hello", "hello world and more", "h"]), tokens_to_show=chance.choice([5, 12, 30])
    ).answer()
    for _ in range(chance.randrange(5, 60)):
        play.press(key(chance))
    for _ in range(6):
        if not isinstance(play.session.screen, screens.Play):
            play.press(Action.CLOSE)
    game = play.session.game
    prompts = tuple(replace(prompt, sought=None, nth=0) for prompt in game.prompts)
    play.session = replace(play.session, game=replace(game, prompts=prompts, drawn=None), rows=chance.choice([0, 40]))
    return play


def restarted(before: Play) -> Play:
    """The same in a program that was started again."""
    play = type(before)()
    session = load(dump(before.session), before.session.game.settings)
    play.session = replace(session, rows=before.session.rows)
    play.asked.clear()
    play.take(play.loaded)
    return play.answer()


def shown(session: Session) -> list[list[Line]]:
    """Two sizes of the screen, without notices and without the line that tells what the last answer took."""
    session = replace(session, notice="", standing=None)
    sizes = [ScreenRenderer().screen(session, width, height) for width, height in ((130, 40), (80, 24))]
    return [[line for line in lines if " ready" not in "".join(text for _, text in line)] for lines in sizes]


@pytest.mark.parametrize("number", few(range(200), of=20))
def test_after_a_restart_every_screen_is_as_it_was(number: int) -> None:
    seed = f"{SEED}-{number}"
    for look in ((), *random.Random(seed).sample(LOOKS, 5)):
        before = played(seed)
        after = restarted(before).press(*look)
        if not isinstance(before.press(*look).session.options.layer, LensLayer):  # the engine here judges no tokens
            assert shown(after.session) == shown(before.session), look
