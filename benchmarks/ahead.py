"""How fast the tree behind a prompt's end grows, how much of what comes it knows, and what a key waits for meanwhile.

The rules and the engine are the program's own, without its screen.
"""

import math
import queue
import random
import time
from collections.abc import Callable
from pathlib import Path

from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.client import EngineClient
from tokex_gguf.engine.protocol import Load
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Game, Settings
from tokex_gguf.play.messages import Begin, EngineReplied, Message, Resized, Send
from tokex_gguf.play.purposes import ForLookahead
from tokex_gguf.play.session import Session
from tokex_gguf.play.update import update
from tokex_gguf.values.lookahead import Place
from tokex_gguf.values.model_ref import GgufFile

LOOKING = 2.0
"""Seconds for which a player looks."""
ROWS = 40


class Looking:
    """A game whose player looks."""

    def __init__(self, model: Path, text: str, budget: int) -> None:
        self._told: queue.Queue[Delivery] = queue.Queue()
        self._client = EngineClient(self._told.put)
        settings = Settings(text, GgufFile(str(model)), Load("", 0, 0), lookahead=4, lookahead_tokens=budget)
        self.session = Session(Game(settings))
        self.take(Begin())
        self.take(Resized(ROWS))
        self.until(lambda: self.session.game.ready)

    def take(self, message: Message) -> None:
        """Lets the rules have a message, and the engine what they ask."""
        self.session, effects = update(self.session, message)
        for effect in effects:
            if isinstance(effect, Send):
                self._client.send(effect.request)

    def until(self, reached: Callable[[], bool], seconds: float = 120.0) -> float:
        """Listens to the engine until something is reached, or for so long; returns how long that took."""
        began = time.perf_counter()
        while not reached() and (left := began + seconds - time.perf_counter()) > 0:
            try:
                message = self._told.get(timeout=left)
            except queue.Empty:
                break
            self.take(EngineReplied(self.session.game.address, message))
        return time.perf_counter() - began

    @property
    def known(self) -> int:
        """Answers that came of lookahead best first."""
        return self.session.game.known.lookahead.answers

    @property
    def best_first(self) -> bool:
        """Whether the engine is at it."""
        asked = self.session.game.open_requests.values()
        return any(isinstance(one, ForLookahead) and one.best_first and one.going for one in asked)

    def mass(self) -> tuple[float, float]:
        """The probability of the next token, and of the next two, whose tables are known."""
        here = self.session.game.known.lookahead.place(self.session.game.prompt.tip)
        one = two = 0.0
        for chance, place in _children(here):
            if place.distribution is not None:
                one += chance
                two += chance * math.fsum(more for more, behind in _children(place) if behind.distribution is not None)
        return one, two

    def close(self) -> None:
        """Ends the engine."""
        self._client.close()


def _children(place: Place) -> list[tuple[float, Place]]:
    told = place.distribution
    return [(row.prob, place.child(row.token)) for row in told.candidates()] if told else []


def speed(model: Path, text: str, tokens: int) -> float:
    """Tokens a second that are known ahead, while so many are looked ahead to."""
    game = Looking(model, text, tokens)
    first = game.known
    took = game.until(lambda: game.known - first >= tokens - 8)
    told = game.known - first
    game.close()
    return told / took


def masses(model: Path, text: str, budget: int, places: int) -> list[tuple[float, float]]:
    """What is known of the next token and of the next two, after a look at each of some places of a text."""
    game = Looking(model, text, budget)
    found = []
    for _ in range(places):
        game.until(lambda: False, LOOKING)
        found.append(game.mass())
        for _ in range(4):
            game.take(Action.APPEND)
            game.until(lambda: game.session.game.ready)
    game.close()
    return found


def waits(model: Path, text: str, count: int) -> list[float]:
    """Seconds from a key to the table of a token that nobody looked ahead to, while the engine looks ahead."""
    chance = random.Random(1)
    game = Looking(model, text, 4096)
    times: list[float] = []
    while len(times) < count:
        game.until(lambda: game.best_first)
        game.until(lambda: False, chance.uniform(0.02, 0.3))
        game.take(Action.BOTTOM)
        token = game.session.game.prompt.selected
        if game.best_first and token is not None and not game.session.game.knows_ahead(token):
            game.take(Action.APPEND)
            times.append(game.until(lambda: game.session.game.ready))
            game.take(Action.POP)
        game.take(Action.TOP)
        game.take(Action.APPEND)  # somewhere else
        game.until(lambda: game.session.game.ready)
    game.close()
    return times
