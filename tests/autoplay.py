"""How fast an engine plays by itself, through one lens or another."""

import os
import queue
import time
from pathlib import Path
from typing import NamedTuple

from tokex_gguf.engine.client import EngineClient
from tokex_gguf.engine.protocol import (
    Continue,
    Continued,
    EngineFailed,
    Evaluate,
    Evaluated,
    Failed,
    Load,
    Loaded,
    Stop,
)
from tokex_gguf.values.lens import RAW, Raw, Sampled

PATH = list(range(1000, 1040))


class Player:
    """A real engine with a model."""

    def __init__(self, model: Path, threads: int = 0) -> None:
        self._told: queue.Queue[object] = queue.Queue()
        self._client = EngineClient(self._told.put)
        self._client.send(Load(str(model), 0, threads))
        self._request = 0
        self._until(Loaded)

    def _until(self, kind: type) -> object:
        while not isinstance(told := self._told.get(timeout=120), kind):
            assert not isinstance(told, Failed | EngineFailed), told
        return told

    def close(self) -> None:
        """Ends the engine."""
        self._client.close()

    def processor(self) -> float:
        """Seconds of processor time that the engine has taken (Linux)."""
        fields = Path(f"/proc/{self._client.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def play(self, lens: Raw | Sampled, count: int, seed: int = 1) -> "Played":
        """Plays so many tokens, or a few more, from the same path each time; again where the model ends its text."""
        self._request += 1
        self._client.send(Evaluate(self._request, PATH, len(PATH) - 1, 30))
        self._until(Evaluated)
        began, processor, tokens, ended = time.perf_counter(), self.processor(), 0, True
        while tokens < count:
            if ended:
                self._request += 1
                self._client.send(Continue(self._request, PATH, 30, lens, seed + 1000 * self._request))
            told = self._until(Continued)
            assert isinstance(told, Continued)
            tokens += len(told.tokens)
            ended = told.end >= 0
        took = Played(tokens, time.perf_counter() - began, self.processor() - processor)
        self._client.send(Stop())
        return took


class Played(NamedTuple):
    """What playing took."""

    tokens: int
    seconds: float
    processor: float


def against_greedy(player: Player, lens: Sampled, rounds: int, count: int) -> tuple[list[float], list[float]]:
    """Tokens/s by the likeliest token and through a lens, in turns."""
    greedy: list[float] = []
    drawn: list[float] = []
    player.play(RAW, count)
    for seed in range(rounds):
        for speeds, one in ((greedy, RAW), (drawn, lens)):
            played = player.play(one, count, seed)
            speeds.append(played.tokens / played.seconds)
    return greedy, drawn
