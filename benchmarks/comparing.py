"""Two prompts, and two models, compared in the program: an edit, `v`, a divergence, memory."""

import ctypes
import re
from pathlib import Path

from tests.terminal import Terminal

LENGTH = 1000
"""Tokens of the prompts that are compared."""
EVALUATED = r"Prompt 2/2 .*(?<!, 0 tokens)  ready"
"""What the status line says once nothing of the second prompt is left to evaluate."""
SETTLED = r"A−B \S+ bits over [\d,]+ (?!of )"
"""What the status line says once all is compared."""


def text_of(length: int) -> str:
    """A text of about `length` tokens in which no sentence comes again."""
    names = ["Ann", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal"]
    things = ["a map", "the lamp", "a letter", "two coins", "the old key"]
    count = range(length // 12 + 1)
    return " ".join(f"{names[i % 8]} gave {things[i % 5]} to {names[(i * 3 + 1) % 8]} on day {i}." for i in count)


class Comparing:
    """The program on one model, and beside it on two."""

    def __init__(self, model: Path, folder: Path) -> None:
        """`folder` is the current one: prompts and requantised models are put into it."""
        self.model, self.folder = model, folder
        (folder / "prompt.txt").write_text(text_of(LENGTH))

    def _started(self, *more: str, lookahead: str) -> Terminal:
        (self.folder / "config.toml").write_text(f"[engine]\n{lookahead}\n")
        terminal = Terminal(
            "--model", str(self.model), "--input", "prompt.txt", "--no-cache", *more, columns=130, rows=40
        )
        terminal.shows(" ready", timeout=600)
        return terminal

    def edits(self, times: int) -> tuple[list[float], list[float], list[float], int]:
        """Seconds from an edit in the middle until it is evaluated, and from there to all of the delta layer.

        Then those from `v` to it once both are evaluated, and how many tokens come behind the edit.
        """
        terminal = self._started(lookahead="lookahead = 0")
        length = terminal.tokens()
        middle = length // 2
        evaluated: list[float] = []
        drawn: list[float] = []
        compared: list[float] = []
        for index in range(times):
            terminal.press(":", f"{middle + 2 * index}\r")
            terminal.shows(rf"looking at {middle + 2 * index:,} ")
            terminal.press("down")
            ready, settled = terminal.moments([EVALUATED, SETTLED], "K", "v", quiet=3.0)
            evaluated.append(ready)
            drawn.append(max(0.0, settled - ready))
            terminal.press("v")
            terminal.shows("nothing is compared")
            compared.append(terminal.timed(SETTLED, "v"))
            terminal.press("v", "a")
            terminal.shows("Prompt 1/1")
            terminal.press("esc")
            terminal.shows("last token")
        _end(terminal)
        return evaluated, drawn, compared, length - middle

    def two_models(self, other: Path, times: int) -> tuple[list[float], list[float], float]:
        """Seconds from a new token to its divergence by two models, and the peak memory of all processes in bytes.

        First of tokens that are likely, which are looked ahead to, then of others, which are not.
        """
        terminal = self._started("--versus", str(other), lookahead="lookahead_tokens = 0")
        terminal.shows(SETTLED, timeout=600)
        terminal.shows("KL mean", timeout=600)
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for likely in [True] * times + [False] * times:
            terminal.collect(1.0)
            if not likely:
                terminal.press(*["down"] * 12)
                terminal.collect(1.0)
            longer = f"tokens: {terminal.tokens() + 1} "
            pattern = rf"(?s)KL here [\d.e-]+ bits.*{longer}.* A−B .* ready"
            seconds[likely].append(terminal.timed(pattern, "right", quiet=1.0))
        memory = proportional(terminal.child.pid)
        _end(terminal)
        return seconds[True], seconds[False], memory


def _end(terminal: Terminal) -> None:
    terminal.press("ctrl-q")
    terminal.ends()


def proportional(pid: int) -> float:
    """Bytes of memory that a program and the programs it has started take, each shared page once (Linux)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = re.search(r"(?m)^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert own
    return int(own.group(1)) * 1024 + sum(proportional(int(child)) for child in children)


def requantised(model: Path, to: Path) -> Path:
    """The same model as Q8_0."""
    from llama_cpp import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, True
    if llama_cpp.llama_model_quantize(str(model).encode(), str(to).encode(), ctypes.byref(params)):
        raise SystemExit(f"{model} cannot be requantised")
    return to
