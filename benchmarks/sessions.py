"""A session of very many visited nodes: saving it, keys beside that, and going on with it."""

import gc
import random
import re
import time
from array import array
from dataclasses import replace
from pathlib import Path

from tests.terminal import Terminal
from tokex_gguf import config
from tokex_gguf.play.game import Settings
from tokex_gguf.play.session import Session
from tokex_gguf.sessions.codec import dump, load, read
from tokex_gguf.sessions.summary import Stamp
from tokex_gguf.system.files import save_generation
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.model_ref import GgufFile

NODES = 50_000
ROWS = 30
"""Candidates of a place inside a prompt."""
DEEPEST = 3_000


class Large:
    """A session of a model, `small`, and the same one with `NODES` more nodes that were visited, `large`."""

    def __init__(self, model: Path, text: str) -> None:
        self.model = model
        terminal = Terminal("--model", str(model), "--session", "small", "--prompt", text)
        terminal.shows(r"tokens: \d+ .* ready", timeout=600)
        found = re.search(r"tokens: (\d+)", terminal.text())
        assert found
        terminal.press("right")
        terminal.shows(rf"tokens: {int(found.group(1)) + 1} .* ready", timeout=600)
        _end(terminal)
        self.folder = config.state_folder() / "sessions"
        session = self.read("small")
        _grow(session)
        (self.folder / "large.json").write_bytes(dump(session))

    def read(self, name: str) -> Session:
        """What is saved under a name."""
        return load((self.folder / f"{name}.json").read_bytes(), Settings("", GgufFile("")))

    def started(self, name: str) -> float:
        """Seconds from the start with a session until its screen is ready."""
        began = time.perf_counter()
        terminal = Terminal("--model", str(self.model), "--session", name)
        terminal.shows(" ready", timeout=600)
        took = time.perf_counter() - began
        _end(terminal)
        return took

    def keys(self, name: str, count: int) -> list[float]:
        """Seconds from each key, whose answer is known and which is saved, to its frame."""
        config_file = self.folder.with_name("config.toml")
        config_file.write_text("[engine]\nlookahead = 0\nlookahead_tokens = 0\n")  # no decode beside the keys
        terminal = Terminal("--model", str(self.model), "--session", name, "--config", str(config_file))
        terminal.shows(" ready", timeout=600)
        terminal.collect(1.0)
        found = re.search(r"tokens: (\d+)", terminal.text())
        assert found
        length, times = int(found.group(1)), []
        for _ in range(count // 2):
            # The next one comes soon: what is due to be saved is saved beside it.
            times.append(terminal.timed(rf"tokens: {length - 1} .* ready", "left", quiet=0.03))
            times.append(terminal.timed(rf"tokens: {length} .* ready", "right", quiet=0.03))
        _end(terminal)
        return times

    def saves(self, name: str, count: int) -> tuple[list[float], list[float], int]:
        """Seconds of the processor, and in all, of each save after a session was read, with a move before each.

        The first one of them notes what was read. The last value is the bytes of one.
        """
        session, encoder = read((self.folder / f"{name}.json").read_bytes(), Settings("", GgufFile("")))
        path = self.folder.with_name("saved.json")
        processor: list[float] = []
        wall: list[float] = []
        for _ in range(count + 1):
            session = _moved(session)
            began, computed = time.perf_counter(), time.process_time()
            save_generation(path, encoder.encode(session, Stamp()), None)
            processor.append(time.process_time() - computed)
            wall.append(time.perf_counter() - began)
        return processor, wall, path.stat().st_size

    def loads(self, name: str, count: int) -> list[float]:
        """Seconds that reading it takes, without a search for garbage, as at a start."""
        times = []
        gc.disable()
        for _ in range(count):
            began = time.perf_counter()
            self.read(name)
            times.append(time.perf_counter() - began)
            gc.collect()
        gc.enable()
        return times


def _grow(session: Session) -> None:
    chance, tokens = random.Random(1), list(session.game.known.pieces)
    logprobs = array("d", [-0.5 * row - 0.1 for row in range(ROWS)])
    before = session.game.prompt.tip
    node = session.game.known.root.child(tokens[0])
    tips = [node]
    for _ in range(NODES):
        ids = array("i", chance.sample(tokens, ROWS))
        node.attach(Distribution(chance.random() * 8, ids, logprobs))
        assert node.distribution
        node = node.child(node.distribution.ids[min(ROWS - 1, int(chance.expovariate(1)))])
        node.visit()
        if node.depth > DEEPEST or chance.random() < 0.002:
            tips.append(node)
            node = chance.choice(tips)
            node = node.ancestor(chance.randrange(1, node.depth + 1))
    before.visit()


def _moved(session: Session) -> Session:
    tip = session.game.prompt.tip
    node = tip.child(next(token for token in session.game.known.pieces if token not in tip.children))
    node.attach(Distribution.of(1.0, list(session.game.known.pieces)[:100], [-0.1 * row for row in range(100)]))
    node.visit()
    prompt = replace(session.game.prompt, tip=node)
    return replace(session, game=replace(session.game, prompts=(prompt,), active=0))


def _end(terminal: Terminal) -> None:
    terminal.press("ctrl-q")
    terminal.ends()
