"""The recipes of CONTRIBUTING.md, followed: what it takes to add a thing, and no more."""

import math
from collections.abc import Callable
from pathlib import Path

from tokex_gguf.engine.backend import Delivery
from tokex_gguf.engine.protocol import Evaluate, Evaluated, Load, Loaded, Request, Tokenize, Tokenized
from tokex_gguf.play.actions import Action
from tokex_gguf.play.session import Game, Session, Settings
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.ui.screen import View
from tokex_gguf.values.distribution import Distribution, Taken
from tokex_gguf.values.tokens import Piece

LETTERS = "abcdefghijklmnop"
PIECES = {token: Piece(letter.encode()) for token, letter in enumerate(LETTERS)}


class Dice:
    """An engine without a model: after every path each letter is equally likely."""

    pid = None

    def __init__(self, deliver: Callable[[Delivery], None]) -> None:
        self._deliver = deliver

    def send(self, request: Request) -> None:
        bits = math.log2(len(LETTERS))
        match request:
            case Load():
                self._deliver(Loaded("Dice", "none", "exact", len(LETTERS), 512, 512, None, False))
            case Tokenize(number, text):
                self._deliver(Tokenized(number, [LETTERS.index(char) for char in text], PIECES))
            case Evaluate(number, path, start, top):
                ids = list(range(len(LETTERS)))[:top]
                equal = Distribution.of(bits, ids, [-math.log(len(LETTERS))] * len(ids))
                count = len(path) - start
                taken = [Taken(-math.log(len(LETTERS)), 1)] * (count - 1)
                self._deliver(Evaluated(number, start, [equal] * count, taken, PIECES, count, 0.001, 512))
            case _:
                pass  # what it does not answer, nobody waits for

    def close(self) -> None:
        pass


def test_an_engine_is_one_class(tmp_path: Path) -> None:
    runtime = Runtime(Session(Game(Settings("ab", "dice"))), folder=tmp_path, connect=Dice)
    runtime.start()
    while runtime.receive():
        pass
    runtime.dispatch(Action.APPEND)
    while runtime.receive():
        pass
    assert runtime.session.game.ready and runtime.session.game.prompt.tip.depth == 3
    assert runtime.session.game.prompt.tip.distribution is not None
    assert runtime.session.game.prompt.tip.distribution.entropy_bits == 4.0
    screen = ["".join(text for _, text in line) for line in View().screen(runtime.session, 100, 30)]
    assert "Dice" in screen[0] and "ready" in screen[-3]
    assert runtime.close() is None
