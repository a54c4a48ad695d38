"""Key to screen, prompt evaluation, autoplay, start and memory, each against its baseline.

uv run python -m benchmarks [--model PATH ...] [--depths 100,1000,3000] [--rounds 3] [--only PART,…] …

Baselines run as programs of their own (`bare.py`), alternating with the measured
program, which runs in a real pseudo-terminal. Figures are medians. Times differ from
machine to machine and from hour to hour; ratios within one run do much less.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import ahead
from benchmarks.bare import silent, text_of
from benchmarks.comparing import Comparing, requantised
from benchmarks.sessions import NODES, Large
from tests.autoplay import Player, against_greedy
from tests.terminal import Terminal
from tokex_gguf.config import EngineOptions
from tokex_gguf.engine.worker.llama import BATCH
from tokex_gguf.models.discovery import bundled_model
from tokex_gguf.values.lens import Sampled, lens_of
from tokex_gguf.values.samplers import DEFAULT

STORY = "Once upon a time, in a small village by the sea, there lived an old fisherman and his daughter. One morning"
"""A text that goes on as stories do."""
QUESTION = "Question: What is the capital of France? Answer in one word.\nAnswer:"
BARE = Path(__file__).with_name("bare.py")
LARGE = 256
"""Tokens of a batch with which a plain loop is fastest."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    model: str
    what: str
    measured: float
    unit: str
    baseline: float | None = None
    """The limit of the machine, in the same unit."""
    goal: str = ""
    met: bool | None = None

    def cells(self) -> list[str]:
        """The row as text."""
        ratio = f"{self.measured / self.baseline:.2f}" if self.baseline else ""
        base = f"{self.baseline:.4g}" if self.baseline else ""
        met = {True: "yes", False: "no", None: ""}[self.met]
        return [self.model, self.what, f"{self.measured:.4g} {self.unit}", base, ratio, self.goal, met]


def bare(model: Path, *arguments: object) -> Any:
    """A baseline's figure."""
    command = [sys.executable, str(BARE), str(model), *map(str, arguments)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def alternating(rounds: int, *measures: Callable[[], Any]) -> list[list[Any]]:
    """The results of each measure, taken in turns."""
    results: list[list[Any]] = [[] for _ in measures]
    for _ in range(rounds):
        for index, measure in enumerate(measures):
            results[index].append(measure())
    return results


class Bench:
    """The measurements on one model."""

    def __init__(self, model: Path, name: str, rounds: int, steps: int) -> None:
        self.model, self.name, self.rounds, self.steps = model, name, rounds, steps
        # Where a decode takes little time, what is around it cannot be little beside it.
        self.slow = model.stat().st_size > 300_000_000
        self.rows: list[Row] = []

    def row(self, what: str, measured: float, unit: str, **more: Any) -> None:
        """Keeps a row and shows it at once."""
        self.rows.append(Row(self.name, what, measured, unit, **more))
        print("  ".join(self.rows[-1].cells()), file=sys.stderr, flush=True)

    def play(self, folder: Path, depth: int, *, lookahead: int, text: str = "") -> Terminal:
        """The program on a text, or on a prompt of about `depth` tokens, ready."""
        (folder / "config.toml").write_text(f"[engine]\nlookahead = {lookahead}\nlookahead_tokens = 0\n")
        text = text or text_of(depth)[: int(len(text_of(depth)) * depth / (depth + 15))]
        (folder / "prompt.txt").write_text(text)
        terminal = Terminal("--model", str(self.model), "--input", "prompt.txt", "--no-cache")
        terminal.shows(" ready", timeout=600)
        return terminal

    def keys(self, depth: int) -> None:
        """What each key costs at a depth, from writing it to the last byte of its frame."""
        appended = 3 * self.steps  # what decodes differs most from one time to the next

        def program(lookahead: int, act: Callable[[Terminal], list[float]]) -> Callable[[], list[float]]:
            def measure() -> list[float]:
                with tempfile.TemporaryDirectory() as name:
                    before = Path.cwd()
                    os.chdir(name)
                    try:
                        terminal = self.play(Path(name), depth, lookahead=lookahead)
                        times = act(terminal)
                        terminal.press("ctrl-q")
                        terminal.ends()
                        return times
                    finally:
                        os.chdir(before)

            return measure

        def appends(terminal: Terminal) -> list[float]:
            count = terminal.tokens()
            return [terminal.timed(rf"tokens: {count + step} .* ready", "right") for step in range(1, appended + 1)]

        late: list[bool] = []

        def lookaheads(terminal: Terminal) -> list[float]:
            count, times = terminal.tokens(), []
            for step in range(1, self.steps + 1):
                terminal.collect(0.5)
                times.append(terminal.timed(rf"tokens: {count + step} .* ready", "right"))
                late.append("known, 0 tokens" not in terminal.text())
            return times

        def known(terminal: Terminal) -> list[float]:
            count, times = terminal.tokens(), []
            for step in range(1, self.steps + 1):
                times.append(terminal.timed(rf"tokens: {count - step} .* ready", "left"))
                times.append(terminal.timed("2 /2|2/2", "d"))
                times.append(terminal.timed("1/2", "w"))
                times.append(terminal.timed("2/2", "w"))
                times.append(terminal.timed("1/1", "a"))
                times.append(terminal.timed("probability 0 ", "e"))
                times.append(terminal.timed("entropy 0 ", "e"))
                times.append(terminal.timed("(?s)^(?!.*entropy 0 )", "e"))
            return times

        decodes, paused, new = alternating(
            self.rounds,
            lambda: bare(self.model, "decode", depth, appended),
            lambda: bare(self.model, "paused", depth, appended),
            program(0, appends),
        )
        limit = median(decodes)
        self.row(f"bare decode at {depth} after a pause, as between keys", median(paused), "ms", baseline=limit)
        seconds = median(new) * 1000
        self.row(
            f"append at {depth}, a new token",
            seconds,
            "ms",
            baseline=limit,
            goal="≤ 1.25 x, ≤ 8 ms above" if self.slow else "≤ 8 ms above",
            met=seconds <= limit + 8 and (not self.slow or seconds <= 1.25 * limit),
        )
        value = median([program(4, lookaheads)() for _ in range(self.rounds)]) * 1000
        what = f"append at {depth}, looked ahead to" + (
            f" ({sum(late)} of {len(late)} not in time)" if any(late) else ""
        )
        self.row(what, value, "ms", goal="≤ 20 ms", met=value <= 20)
        value = median([program(0, known)() for _ in range(self.rounds)]) * 1000
        self.row(f"pop, copy, switch, remove, layer at {depth}", value, "ms", goal="≤ 16 ms", met=value <= 16)
        whole = bare(self.model, "uncached", depth)
        self.row(f"append at {depth} with no KV reuse (decoding the whole prompt anew)", whole, "ms", baseline=limit)

    def evaluation(self, length: int) -> None:
        """Tokens/s of a prompt with probability, rank and entropy of every token."""

        def ours() -> float:
            text = text_of(length)[: int(len(text_of(length)) * length / (length + 15))]
            log = Path(tempfile.mkdtemp()) / "log"
            script = (
                "import sys, time; from pathlib import Path\n"
                "from tokex_gguf.engine.worker.abort import Abort; from tokex_gguf.engine.worker.llama import Llama\n"
                "from tokex_gguf.engine.worker.evaluator import Evaluator\n"
                "from tokex_gguf.models.preflight import prepare; file = Path(sys.argv[1])\n"
                "m = Llama(file, context=0, threads=0, progress=lambda f: None, abort=Abort(),"
                " repack=prepare(file, context=0, kv='f16').repack)\n"
                "path = m.vocabulary.tokenize(sys.argv[2], parse_special=True); e = Evaluator(m)\n"
                "t = time.perf_counter(); n = sum(len(c.distributions) for c in e.evaluate(path, 0, 30))\n"
                "print(n / (time.perf_counter() - t))"
            )
            with log.open("wb") as errors:
                done = subprocess.run(
                    [sys.executable, "-c", script, str(self.model), text], stdout=-1, stderr=errors, check=True
                )
            return float(done.stdout)

        def limits(batch: int) -> Callable[[], float]:
            return lambda: bare(self.model, "evaluate", length, batch)

        largest, same, ours_all = alternating(self.rounds, limits(LARGE), limits(BATCH), ours)
        limit, speed = statistics.median(largest), statistics.median(ours_all)
        self.row(f"evaluate {length}", speed, "tokens/s", baseline=limit, goal="≥ 0.95 x", met=speed >= 0.95 * limit)
        what = f"evaluate {length}, against the same batches of {BATCH}"
        self.row(what, speed, "tokens/s", baseline=statistics.median(same))

    def ahead(self, depth: int, count: int) -> None:
        """What is known ahead while one looks, against tokens decoded one by one; a key meanwhile."""
        text = text_of(depth)[: int(len(text_of(depth)) * depth / (depth + 15))]
        decodes, wide, speeds = alternating(
            self.rounds,
            lambda: bare(self.model, "decode", depth, 60),
            lambda: bare(self.model, "branches", depth, 16),
            lambda: ahead.speed(self.model, text, EngineOptions().lookahead_tokens),
        )
        speed, limit = statistics.median(speeds), statistics.median(wide)
        what = f"known ahead at {depth}, best first, against one by one"
        alone, times = 1000 / median(decodes), 2.6 if self.slow else 1.7
        self.row(what, speed, "tokens/s", baseline=alone, goal=f"≥ {times} x", met=speed >= times * alone)
        what = f"known ahead at {depth}, against bare batches of 16"
        self.row(what, speed, "tokens/s", baseline=limit, goal="≥ 0.85 x", met=speed >= 0.85 * limit)
        masses = ahead.masses(self.model, STORY, EngineOptions().lookahead_tokens, 8)
        for (name, least), values in zip(
            (("next token", 90), ("two tokens", 65)), zip(*masses, strict=True), strict=True
        ):
            value = 100 * statistics.mean(values)
            self.row(f"of the {name}, known after 2 s", value, "%", goal=f"≥ {least} %", met=value >= least)
        worst, more = 1000 * max(ahead.waits(self.model, text, count)), 40 if self.slow else 20
        base = median(decodes)
        what = f"a key while it looks ahead, a new token, the slowest of {count}"
        self.row(what, worst, "ms", baseline=base, goal=f"≤ {more} ms above", met=worst <= base + more)

    def autoplay(self, depth: int, seconds: float) -> None:
        """Tokens/s of autoplay, in the terminal, against a greedy loop over as many tokens."""
        # Models go on counting; other texts they may end.
        numbers = "".join(f"{number}, " for number in range(1, 1 + depth // 4))

        def ours() -> tuple[int, float]:
            with tempfile.TemporaryDirectory() as name:
                before = Path.cwd()
                os.chdir(name)
                try:
                    terminal = self.play(Path(name), depth, lookahead=0, text=numbers.rstrip())
                    count = terminal.tokens()
                    began = time.perf_counter()
                    terminal.press(" ")
                    terminal.collect(seconds)
                    assert "autoplay" in terminal.text(), "the model ended its text"
                    terminal.press(" ")
                    took = time.perf_counter() - began
                    terminal.shows(" ready")
                    played = terminal.tokens() - count
                    terminal.press("ctrl-q")
                    terminal.ends()
                    return played, played / took
                finally:
                    os.chdir(before)

        limits, speeds = [], []
        for _ in range(self.rounds):
            played, speed = ours()
            speeds.append(speed)
            limits.append(bare(self.model, "greedy", depth, played))  # deeper tokens take longer
        limit, speed = statistics.median(limits), statistics.median(speeds)
        self.row(f"autoplay at {depth}", speed, "tokens/s", baseline=limit, goal="≥ 0.95 x", met=speed >= 0.95 * limit)

    def autoplay_by_chain(self) -> None:
        """Tokens/s of an engine that draws from what llama.cpp's default chain leaves, against one that is greedy."""
        player = Player(self.model)
        lens = lens_of(DEFAULT)
        assert isinstance(lens, Sampled)
        speeds = against_greedy(player, lens, self.rounds, 20 * self.steps)
        player.close()
        limit, speed = map(statistics.median, speeds)
        what = "autoplay by the default sampler chain, against greedily"
        self.row(what, speed, "tokens/s", baseline=limit, goal="≥ 0.85 x", met=speed >= 0.85 * limit)

    def sampler_step(self) -> None:
        """One step of top-k in the sampler chain, key to screen: the table follows, and nothing is decoded."""
        terminal = Terminal("--model", str(self.model), "--prompt", "Once upon a time")
        terminal.shows(" ready")
        terminal.press("S")
        terminal.shows("The chain is empty")
        terminal.press("\r")
        terminal.shows(r"top-k +40 ")
        times = []
        for _ in range(self.rounds * 2 * self.steps):
            for key, k in (("right", 50), ("left", 40)):
                times.append(terminal.timed(rf"top-k +{k} +[\d,]+ ", key))
        terminal.shows("known, 0 tokens")
        terminal.press("ctrl-q")
        terminal.ends()
        value = statistics.median(times) * 1000
        self.row("a step of a sampler's value", value, "ms", goal="≤ 8 ms", met=value <= 8)

    def start(self) -> None:
        """Process start to first frame, and to the first table of a short prompt."""
        text = "Once upon a time, there was a"

        def limit() -> float:
            began = time.perf_counter()
            bare(self.model, "first", text)
            return time.perf_counter() - began

        def ours(pattern: str) -> Callable[[], float]:
            def measure() -> float:
                began = time.perf_counter()
                terminal = Terminal("--model", str(self.model), "--prompt", text)
                spawned = time.perf_counter() - began
                took = spawned + terminal.timed(pattern)
                terminal.shows(" ready")
                terminal.press("ctrl-q")
                terminal.ends()
                return took

            return measure

        limit(), ours(" ready")()  # writes the bytecode
        limits, frames, tables = alternating(self.rounds + 2, limit, ours("tokex-gguf"), ours(" ready"))
        frame, table, bare_time = map(statistics.median, (frames, tables, limits))
        self.row("start to first frame", frame, "s", goal="≤ 0.20 s", met=frame <= 0.20)
        self.row("start to first table", table, "s", baseline=bare_time, goal="≤ 1.25 x", met=table <= 1.25 * bare_time)

    def second_start(self, depth: int) -> None:
        """A file of `depth` tokens that was played before: its table, and the first new token after --resume."""
        with tempfile.TemporaryDirectory() as name:
            before = Path.cwd(), os.environ["XDG_STATE_HOME"], os.environ["XDG_CACHE_HOME"]
            os.environ["XDG_STATE_HOME"], os.environ["XDG_CACHE_HOME"] = f"{name}/state", f"{name}/cache"
            os.chdir(name)
            try:
                self._second_start(Path(name), depth)
            finally:
                os.chdir(before[0])
                os.environ["XDG_STATE_HOME"], os.environ["XDG_CACHE_HOME"] = before[1:]

    def _second_start(self, folder: Path, depth: int) -> None:
        (folder / "config.toml").write_text("[engine]\nlookahead = 0\n")
        text = text_of(depth)[: int(len(text_of(depth)) * depth / (depth + 15))]
        (folder / "prompt.txt").write_text(text)
        terminal = Terminal("--model", str(self.model), "prompt.txt")
        terminal.shows(" ready", timeout=900)
        count = terminal.tokens()
        terminal.press("right")
        terminal.shows(rf"tokens: {count + 1} .* ready")
        terminal.press("left")
        terminal.shows(rf"tokens: {count} .* ready")
        cache = folder / "cache" / "tokex-gguf" / "kv"
        while not any(int(path.name.split("-")[1]) >= count for path in cache.glob("*/*.kv")):
            terminal.collect(0.2)
        terminal.press("ctrl-q")
        terminal.ends()

        def started(*arguments: str) -> float:
            began = time.perf_counter()
            terminal = Terminal("--model", str(self.model), *arguments)
            took = time.perf_counter() - began + terminal.timed(r" 1 +\S+ +\d\.\d{4}")
            terminal.shows(" ready")
            assert "prompt.txt" not in arguments or "known, 0 tokens" in terminal.text()
            terminal.press("ctrl-q")
            terminal.ends()
            return took

        def read() -> float:
            began = time.perf_counter()
            for path in cache.glob("*/*.kv"):
                path.read_bytes()
            return time.perf_counter() - began

        row = iter(range(1, 100))

        def resumed(lookahead: int) -> float:
            (folder / "config.toml").write_text(f"[engine]\nlookahead = {lookahead}\n")
            terminal = Terminal("--model", str(self.model), "--resume")
            terminal.shows(rf"tokens: {count} .*known, 0 tokens  ready")
            terminal.press(*["down"] * 3)  # one that was not chosen before
            terminal.collect(0.5)
            took = terminal.timed(rf"tokens: {count + 1} .* {'' if lookahead else '1 token, .*'} ready", "right")
            terminal.press("left")
            terminal.shows(rf"tokens: {count} .* ready")
            terminal.press("ctrl-q")
            terminal.ends()
            return took

        def kept() -> set[Path]:
            return set(cache.glob("*/*"))

        waited: list[float] = []

        def beside(*arguments: str) -> float:
            """A key while the cells of a prompt that is new are written; or after as long, where none are."""
            (folder / "other.txt").write_text(f"{next(row)} times. {text}")
            terminal = Terminal("--model", str(self.model), "other.txt", *arguments)
            terminal.shows(" ready", timeout=900)
            count, before, began = terminal.tokens(), kept(), time.perf_counter()
            if arguments:
                terminal.collect(waited[-1])
            else:
                while kept() == before:
                    terminal.pump(0.005)
                waited.append(time.perf_counter() - began)
            took = terminal.timed(rf"tokens: {count + 1} .* ready", "right")
            terminal.press("ctrl-q")
            terminal.ends()
            return took

        empty, again = alternating(self.rounds + 2, lambda: started("--prompt", "a"), lambda: started("prompt.txt"))
        limit, took = statistics.median(empty), statistics.median(again)
        what = f"the same file of {count} tokens again: start to table, no decode"
        self.row(what, took, "s", baseline=limit, goal="≤ 1.2 x an empty start", met=took <= 1.2 * limit)
        decodes, reads, firsts, ahead = alternating(
            self.rounds,
            lambda: statistics.median(bare(self.model, "paused", depth, 10)),
            read,
            lambda: resumed(0),
            lambda: resumed(4),
        )
        limit = statistics.median(decodes) + 1000 * statistics.median(reads)
        what = f"first new token after --resume at {count}, against a decode and reading the cells"
        for more, values in ((", with no lookahead", firsts), (", as it is set", ahead)):
            took = 1000 * statistics.median(values)
            self.row(what + more, took, "ms", baseline=limit, goal="≤ 50 ms above", met=took <= limit + 50)
        (folder / "config.toml").write_text("[engine]\nlookahead = 0\n")
        written, alone = alternating(self.rounds + 2, beside, lambda: beside("--no-cache"))
        limit, took = 1000 * statistics.median(alone), 1000 * statistics.median(written)
        what = f"append at {depth} while its cells are written to the disk, against as long a pause with --no-cache"
        self.row(what, took, "ms", baseline=limit, goal="≤ 20 ms above", met=took <= limit + 20)

    def answers(self, count: int) -> None:
        """The answers to a short question, until 90 % are seen or 1,000 tokens are looked at; a key meanwhile."""
        seen: list[float] = []
        times: list[float] = []
        waits: list[float] = []
        for _ in range(self.rounds):
            terminal = Terminal("--model", str(self.model), "--prompt", QUESTION, "--no-cache")
            terminal.shows(r"known, 0 tokens|\d+ tokens, \d+ ms  ready", timeout=600)
            began = time.perf_counter()
            terminal.press("W")
            terminal.shows(r"enough: |all spent: |nothing is left", timeout=600)
            times.append(time.perf_counter() - began)
            found = re.search(r"([\d.]+) % of the mass seen.*? ([\d,]+)/1,000 tokens", terminal.text(), re.S)
            assert found
            seen.append(float(found.group(1)))
            if len(seen) == 1:
                tokens = found.group(2)
            terminal.timed("append .*play ", "esc")
            length = terminal.tokens()
            for step in range(1, count + 1):
                terminal.press("down", "right")
                terminal.shows(rf"tokens: {length + step} .* ready")
                terminal.press("W")
                if "looking further" in terminal.shows("looking further|enough: |nothing is left"):
                    waits.append(terminal.timed("paused: |enough: |nothing is left", " "))
                terminal.timed("append .*play ", "esc")
            terminal.press("ctrl-q")
            terminal.ends()
        value, took = statistics.median(seen), statistics.median(times)
        what = f"answers to a short question: seen after {tokens} of 1,000 tokens, {took:.1f} s"
        self.row(what, value, "%", goal="90 %, or 1,000 tokens", met=value >= 90 or tokens == "1,000")
        if waits:  # else they are found at once
            worst = 1000 * max(waits)
            what = f"a key while answers are looked for, the slowest of {len(waits)}"
            self.row(what, worst, "ms", goal="≤ 50 ms", met=worst <= 50)

    def memory(self, depth: int) -> None:
        """Peak memory of both processes, beyond the model's file and the KV cells."""
        with tempfile.TemporaryDirectory() as name:
            before = Path.cwd()
            os.chdir(name)
            try:
                terminal = self.play(Path(name), depth, lookahead=4)
                for _ in range(5):
                    terminal.press("right")
                    terminal.collect(0.3)
                processes = (terminal.child.pid, terminal.engine())
                peak = (sum(map(peak_memory, processes)) - shared_memory(*processes)) / 2**20
                terminal.press("ctrl-q")
                terminal.ends()
            finally:
                os.chdir(before)
        file = self.model.stat().st_size / 2**20
        cells = 4096 * kv_bytes(self.model) / 2**20
        extra = peak - file - cells
        self.row(f"peak memory beyond file and KV cells, at {depth}", extra, "MiB", goal="≤ 200 MB", met=extra <= 191)

    def comparing(self) -> None:
        """An edit in the middle, `v`, and a second model: time to what is compared, and memory."""
        before = Path.cwd()
        with tempfile.TemporaryDirectory() as name:
            os.chdir(name)
            try:
                self._comparing(Comparing(self.model, Path(name)), requantised(self.model, Path(name, "other.gguf")))
            finally:
                os.chdir(before)

    def _comparing(self, program: Comparing, other: Path) -> None:
        suffixes: list[float] = []
        edits: list[float] = []
        layers: list[float] = []
        switches: list[float] = []
        for _ in range(self.rounds):
            evaluated, drawn, compared, suffix = program.edits(3)
            suffixes.append(bare(self.model, "suffix", suffix, suffix))
            edits += evaluated
            layers += drawn
            switches += compared
        value = statistics.median(edits) * 1000
        self.row("edit in the middle of 1000 tokens, evaluated", value, "ms", baseline=statistics.median(suffixes))
        value = statistics.median(layers) * 1000
        self.row("from there to the delta layer of all of it", value, "ms", goal="≤ 50 ms", met=value <= 50)
        value = statistics.median(switches) * 1000
        self.row("v between two evaluated prompts", value, "ms", goal="≤ 50 ms", met=value <= 50)
        decodes, others, both = alternating(
            self.rounds,
            lambda: bare(self.model, "paused", 1000, self.steps),
            lambda: bare(other, "paused", 1000, self.steps),
            lambda: program.two_models(other, self.steps),
        )
        limit, value = median(decodes) + median(others), median([likely for likely, _, _ in both]) * 1000
        what = "a new, likely token to its divergence by two models"
        self.row(what, value, "ms", baseline=limit, goal="≤ 10 ms above", met=value <= limit + 10)
        value = median([unlikely for _, unlikely, _ in both]) * 1000
        self.row("the same of an unlikely one: two strict batches", value, "ms", baseline=limit)
        files = self.model.stat().st_size + other.stat().st_size
        cells = 2 * (4096 + 2 * 1024) * kv_bytes(self.model)
        extra = (max(memory for *_, memory in both) - files - cells) / 2**20
        what = "memory of two models beyond files and KV cells"
        self.row(what, extra, "MiB", goal="≤ 300 MB", met=extra <= 286)

    def sessions(self) -> None:
        """A session of very many visited nodes: a save, a key beside saves, and a start that goes on with it."""
        large, what = Large(self.model, STORY), f"at {NODES:,} visited nodes"
        processor, wall, size = large.saves("large", self.steps)
        value = processor.pop(0) * 1000
        self.row(f"the first save {what} after it was read: processor", value, "ms")
        value = statistics.median(processor) * 1000
        self.row(f"a save {what}, {size / 1e6:.0f} MB: processor", value, "ms", goal="≤ 150 ms", met=value <= 150)
        value = statistics.median(wall[1:]) * 1000
        self.row(f"a save {what}: until it is on the disk", value, "ms", goal="≤ 150 ms", met=value <= 150)
        value = statistics.median(large.loads("large", self.steps)) * 1000
        self.row(f"reading a session {what}", value, "ms", goal="≤ 1 s", met=value <= 1000)
        few, many, plain, keys = alternating(
            self.rounds,
            lambda: large.started("small"),
            lambda: large.started("large"),
            lambda: large.keys("small", 10 * self.steps),
            lambda: large.keys("large", 10 * self.steps),
        )
        limit, value = statistics.median(few) * 1000, statistics.median(many) * 1000
        self.row(f"start with it {what}", value, "ms", baseline=limit, goal="≤ 1 s above", met=value <= limit + 1000)
        limit, value = (1000 * statistics.quantiles(chain.from_iterable(one), n=100)[98] for one in (plain, keys))
        self.row(f"a key beside saves {what}, 99 %", value, "ms", baseline=limit, goal="≤ 20 ms", met=value <= 20)

    def quit_after_held_keys(self) -> None:
        """300 queued → keys, then ctrl+q, to the program's end."""
        times = []
        for _ in range(self.rounds):
            terminal = Terminal("--model", str(self.model), "--prompt", "Once upon a time")
            terminal.shows(" ready")
            terminal.press(*["right"] * 300)
            began = time.perf_counter()
            terminal.press("ctrl-q")
            times.append(terminal.ended() - began)
        value = statistics.median(times) * 1000
        self.row("300 queued →, then ctrl+q", value, "ms", goal="≤ 200 ms", met=value <= 200)


def redraw() -> Row:
    """One frame of a prompt of 8,000 tokens with a layer on, in this process: layout kept, cells painted."""
    from prompt_toolkit.data_structures import Size
    from prompt_toolkit.input import DummyInput
    from prompt_toolkit.output import DummyOutput

    from tests.fake import Play
    from tokex_gguf.play.game import Prompt
    from tokex_gguf.shell.runtime import Runtime
    from tokex_gguf.ui.app import App
    from tokex_gguf.values.layers import PROBABILITY

    class Output(DummyOutput):
        def get_size(self) -> Size:
            return Size(rows=40, columns=130)

    play = Play("hi").answer()
    tip = play.session.game.prompt.tip.descend([index * 7919 % 64 for index in range(8000)])
    first = play.session.game.prompt.tip
    for node in tip.nodes(2):
        node.attach_taken(first.taken)  # type: ignore[arg-type]
        node.attach(first.distribution)  # type: ignore[arg-type]
    from dataclasses import replace

    game = Runtime(
        replace(
            play.session,
            game=replace(play.session.game, prompts=(Prompt(tip),)),
            options=replace(play.session.options, layer=PROBABILITY),
        ),
        folder=Path(),
    )
    app = App(game, DummyInput(), Output()).application
    times = []
    assert tip.parent
    for index in range(25):
        prompts = (Prompt(tip if index % 2 else tip.parent),)
        game.session = replace(game.session, game=replace(game.session.game, prompts=prompts))
        began = time.perf_counter()
        app.renderer.render(app, app.layout)
        times.append(time.perf_counter() - began)
    value = statistics.median(times[3:]) * 1000
    return Row("", "redraw at 8,000 tokens, layer on", value, "ms", goal="≤ 10 ms", met=value <= 10)


def median(rounds: list[list[float]]) -> float:
    """The median of all values of all rounds."""
    return statistics.median(value for values in rounds for value in values)


def peak_memory(pid: int) -> int:
    """Peak resident bytes of a process (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found.group(1)) * 1024


def shared_memory(one: int, other: int) -> int:
    """Bytes of files, such as libraries, that two processes both have in memory, where they lie once (Linux)."""

    def files(pid: int) -> dict[str, int]:
        held: dict[str, int] = {}
        path = ""
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            if mapping := re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+\s*(.*)", line):
                path = mapping.group(1)
            elif size := re.match(r"(Rss|Anonymous):\s+(\d+) kB", line):
                held[path] = held.get(path, 0) + (1 if size.group(1) == "Rss" else -1) * int(size.group(2)) * 1024
        return {path: size for path, size in held.items() if path.startswith("/")}

    mine, its = files(one), files(other)
    return sum(min(size, its.get(path, 0)) for path, size in mine.items())


def kv_bytes(model: Path) -> int:
    """Bytes of a KV cell: two f16 values for each layer, KV head and dimension."""
    from llama_cpp import llama_cpp

    llama_cpp.llama_log_set(silent, None)  # a lasting one: llama.cpp keeps only its address
    loaded = llama_cpp.llama_model_load_from_file(str(model).encode(), llama_cpp.llama_model_default_params())
    layers, heads = llama_cpp.llama_model_n_layer(loaded), llama_cpp.llama_model_n_head(loaded)
    size = llama_cpp.llama_model_n_embd(loaded) // heads * llama_cpp.llama_model_n_head_kv(loaded)
    return int(2 * 2 * layers * size)


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    head = ["model", "what", "measured", "limit", "ratio", "goal", "met"]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * 7, *(row.cells() for row in rows)])


def machine() -> str:
    """The processor and the cores that may be used."""
    info = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return f"{name.group(1) if name else platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    """Runs what is asked for and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", type=Path, help="a GGUF file; default: the bundled model")
    parser.add_argument("--depths", default="100,1000,3000")
    parser.add_argument("--lengths", default="600,1800,6000", help="of the prompts that are evaluated, in tokens")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="one quick round, so that the benchmark cannot rot")
    parser.add_argument("--only", metavar="PART,…", help="start, quit, keys, evaluation, autoplay, … (see main)")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    bundled = bundled_model()
    models = [path.resolve() for path in options.model or [bundled] if path]
    depths = [100] if options.short else [int(depth) for depth in options.depths.split(",")]
    lengths = [200] if options.short else [int(length) for length in options.lengths.split(",")]
    rounds, steps = (1, 3) if options.short else (options.rounds, 10)
    os.environ["XDG_STATE_HOME"], os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(), tempfile.mkdtemp()
    # An installed program has its bytecode; where writing it is turned off, every start would compile anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    rows = [redraw()]
    for model in models:
        bench = Bench(model, model.stem.split(".")[0][:20], rounds, steps)
        parts: dict[str, Callable[[], None]] = {
            "start": bench.start,
            "quit": bench.quit_after_held_keys,
            **{f"keys at {depth}": partial(bench.keys, depth) for depth in depths},
            **{f"evaluation of {length}": partial(bench.evaluation, length) for length in lengths},
            "ahead": partial(bench.ahead, 100, 10 if options.short else 100),
            "answers": partial(bench.answers, 3 if options.short else 10),
            "autoplay": partial(bench.autoplay, 100, 1.0 if options.short else 4.0),
            "chain": bench.autoplay_by_chain,
            "sampler": bench.sampler_step,
            "memory": partial(bench.memory, depths[-1]),
            "comparing": bench.comparing,
            "sessions": bench.sessions,
            "second start": partial(bench.second_start, depths[-1]),
        }
        for name, measure in parts.items():
            if not options.only or any(name.startswith(one) for one in options.only.split(",")):
                measure()
        rows += bench.rows
    print(f"{machine()}; medians of {rounds} alternating rounds\n\n{table(rows)}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
