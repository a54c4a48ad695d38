"""Games over a server that fails in every way in every state: nothing that was played is lost, and play goes on.

The long form, every fault in every state: `pytest -m soak tests/program/test_served_faults.py`.
"""

import threading
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.figures import Figure
from tests.sampling import few
from tests.stand_in_server import FAULTS, HARMLESS, KINDS, PATIENT, StandIn, serving
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EngineStatus, Game, Settings
from tokex_gguf.play.messages import Message, Typed
from tokex_gguf.play.screens import PLAY
from tokex_gguf.play.session import Session
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.model_ref import ServerModel

TEXT = "Once upon a time there was little girl who the and to of in that it"


class Player:
    """Plays on a server by messages, and waits for what the session has to become."""

    def __init__(self, folder: Path, server: StandIn) -> None:
        settings = Settings(TEXT, ServerModel(server.address), lookahead=2)
        self.game = Runtime(Session(Game(settings)), folder=folder)
        self._news = threading.Event()
        self.game.notify = self._news.set
        self.game.start()

    @property
    def session(self) -> Session:
        return self.game.session

    def until(self, holds: Callable[[Session], object], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not holds(self.session):
            assert self._news.wait(max(0.0, end - time.monotonic())), f"never came to be: {self.session.notice!r}"
            self._news.clear()
            self.game.receive()

    def settle(self, seconds: float) -> None:
        """Takes in what comes until there is nothing more, or the engine is gone."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.session.game.engine is not EngineStatus.DEAD:
            if not self._news.wait(0.15) and not self.session.game.waiting:
                return
            self._news.clear()
            self.game.receive()

    def press(self, *messages: Message) -> None:
        for message in messages:
            self.game.dispatch(message)

    def played(self) -> list[list[int]]:
        return [prompt.tip.path() for prompt in self.session.game.prompts]


def appending(player: Player) -> None:
    player.press(*[Action.DOWN] * 9, Action.APPEND)


def appending_fast(player: Player) -> None:
    player.press(Action.APPEND, Action.APPEND, Action.APPEND)


def playing_on(player: Player) -> None:
    player.press(Action.AUTOPLAY)


def typing(player: Player) -> None:
    player.press(Action.INPUT, Typed("and the dog went home"))


def searching(player: Player) -> None:
    player.press(Action.SEARCH, Typed("moon"))


def walking(player: Player) -> None:
    player.press(Action.COPY, Action.CURSOR_BACK)


def opening(player: Player) -> None:
    player.press(Action.PROMPTS, Action.NEW, Typed("saw big dog cat happy friend " * 60), Action.ENTER)


STATES = (appending, appending_fast, playing_on, typing, searching, walking, opening)
SUDDEN = [fault for fault in FAULTS if fault not in PATIENT]
"""Faults that are noticed at once; the others take their time, and are tried in one state each."""


def play(server: StandIn, folder: Path, fault: str, state: Callable[[Player], None], seconds: float) -> None:
    """One fault in one state."""
    player = Player(folder, server)
    try:
        player.until(lambda session: session.game.ready)
        player.press(Action.APPEND)
        player.until(lambda session: session.game.ready)
        before = player.played()
        server.calls.clear()
        server.fault = fault
        state(player)
        player.settle(seconds)
        assert all(any(path[: len(one)] == one for path in player.played()) for one in before), "a prompt is lost"
        assert "\n" not in player.session.notice and "Traceback" not in player.session.notice
        ScreenRenderer().screen(player.session, 100, 30)
        dead = player.session.game.engine is EngineStatus.DEAD
        if fault in HARMLESS:
            assert not dead, player.session.notice
        server.fault = ""
        if player.session.screen != PLAY:
            player.press(Action.CLOSE)
        player.press(Action.RESTART if dead else Action.POP)
        player.until(lambda session: session.game.engine is EngineStatus.READY)
        if not dead:
            player.press(Action.TOP, Action.APPEND)
        player.settle(3)
        if not player.session.game.ready:  # what was refused is asked for by the next key
            player.press(Action.POP)
        player.until(lambda session: session.game.ready)
        assert all(any(path[: len(one) - 1] == one[:-1] for path in player.played()) for one in before)
    finally:
        server.fault = ""
        player.game.close()


Case: TypeAlias = tuple[str, str, Callable[[Player], None]]


def tried(cases: Sequence[Case], folder: Path, figure: Figure) -> None:
    """Plays each case on a server of its own kind."""
    for number, (kind, fault, state) in enumerate(cases):
        with serving(kind) as server:
            (folder / str(number)).mkdir()
            play(server, folder / str(number), fault, state, seconds=40 if fault in PATIENT else 3)
    figure(len(cases), f"faults of servers of {len(KINDS)} kinds in {len(STATES)} states")


EVERY: list[Case] = [(kind, fault, state) for kind in KINDS for fault in SUDDEN for state in STATES]
SLOW: list[Case] = [("llama-server", fault, appending) for fault in PATIENT]


@pytest.mark.parametrize(("part", "kind"), few(product(range(3), KINDS), of=9))
def test_no_fault_of_a_server_costs_anything(part: int, kind: str, tmp_path: Path, figure: Figure) -> None:
    some = [case for case in EVERY if case[0] == kind][:: len(STATES) * 6 + 1]
    tried(some[part::3], tmp_path, figure)


def test_no_silence_of_a_server_costs_anything(tmp_path: Path, figure: Figure) -> None:
    tried(SLOW[2:3], tmp_path, figure)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_of_a_server_in_every_state(kind: str, tmp_path: Path, figure: Figure) -> None:
    tried([case for case in (*EVERY, *SLOW) if case[0] == kind], tmp_path, figure)
