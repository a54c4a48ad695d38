"""What the suites count and find: told at the end of each run, and written into docs/reliability.md when asked.

A test that takes the fixture `figure` says with it how much it tried and what it found:

    figure(1000, "programs killed while they saved", seed=SEED, unfinished_files=unfinished)

`pytest -m soak --reliability` writes the page. Rows of tests that did not run stay as they were, so that it can be
written file by file; the row of a test that fails goes. `tests/test_reliability.py` holds that the page has a row
for each long test there is.
"""

import ast
import os
import platform
import re
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"

PROMISES = {
    "test_faults": "The engine can fail in any way: the screen, the prompts and all that was computed stay",
    "test_served_faults": "A server can fail in any way: what was played stays, and play goes on",
    "test_unreliable": "Whatever an engine does, and whenever, no game loses anything and nothing waits for ever",
    "test_queue": "The screen waits for nothing that the engine has dropped, and asks for nothing twice",
    "test_header": "A malformed model is refused in one line, or it plays; the program goes on in any case",
    "test_hub": "Nothing that a hub or a mirror says becomes a path, or a line without sense",
    "test_keyboard": "What a terminal answers presses no key",
    "test_raw_keys": "The program behaves as the plain rules say",
    "test_walks": "The tables are true, whatever was played before",
    "test_strict": "What is compared has the same bits, whatever came before, and is what both models say",
    "test_kv_folder": "What stays on the disk of prompts is what was computed, or nothing",
    "test_prompt_cache": "Over any number of starts, on files that are damaged meanwhile, the tables are true",
    "test_constraints": "A constraint allows what fits it, and nothing else",
    "test_samplers": "What the samplers leave is what llama.cpp's own chain leaves, and what the formulas say",
    "test_versus_report": "How two models differ is what all of their logits say",
    "test_shown": "Text is shown safely",
    "test_restored": "The terminal is always put back, and the engine is gone",
    "test_keep": "Nothing that was saved is lost",
    "test_columns": "A save writes all there is, however little of it is encoded anew",
    "test_days": "Days of use lose nothing: many programs, clocks that jump, disks that refuse, wait or fill up",
    "test_typed": "Text that was typed is never lost",
    "test_archive": "A damaged session is refused in one line",
    "test_responsive": "Quitting is never kept waiting",
    "test_resizing": "Any size of the terminal will do",
    "test_inputs": "Wrong input, configuration and sessions end with one line and the documented exit code",
    "test_cost": "A frame costs what is seen of a game, however much there is of it",
    "test_leaks": "Long play leaves nothing behind",
}
"""What each suite shows, in the page's order."""

HEAD = """# Reliability

This page is written by the tests themselves: `uv run pytest -m soak --reliability`. Each row is what one long test
tried and found; the same tests run shorter in the normal suite (`uv run pytest`). Nothing is tried twice: a test that
fails has no row here, and is named at the end. A seed brings the same tries again; how to give another one stands at
the head of each file.
"""


@dataclass
class Figure:
    """What one test tried and found."""

    count: int = 0
    what: str = ""
    seeds: set[int] = field(default_factory=set)
    found: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def __call__(self, count: int, what: str, *, seed: int | None = None, **found: float) -> None:
        """Says it. `found` has names with underscores for blanks; several values of one name give the largest."""
        self.count += count
        self.what = what
        self.seeds |= set() if seed is None else {seed}
        for name, value in found.items():
            self.found[name] = max(value, self.found.get(name, value))

    def add(self, other: "Figure") -> None:
        """Takes in what the same test found with other parameters."""
        for seed in other.seeds or (None,):
            self(0, other.what, seed=seed, **other.found)
        self.count += other.count
        self.seconds += other.seconds

    def told(self) -> dict[str, Any]:
        """The figure as JSON has it."""
        return {**asdict(self), "seeds": sorted(self.seeds)}

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Figure":
        """The figure that `told` gives."""
        return cls(**{**told, "seeds": set(told["seeds"])})

    def row(self) -> "Row":
        """The figure in words."""
        return Row(
            f"{self.count:,} {self.what}",
            ", ".join(map(str, sorted(self.seeds))) or "none",
            ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in self.found.items())
            or "nothing wrong",
            f"{self.seconds:.0f}",
        )


class Row(NamedTuple):
    """A row of the page."""

    tried: str
    seed: str
    found: str
    seconds: str


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.2g}" if abs(value) < 1 else f"{value:,.0f}"


def read(text: str) -> dict[str, Row]:
    """The rows of a page by the test that they are from: `test_keep.py::test_killed_a_thousand_times`."""
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \| (\d+) \| `(\S+)` \|$", text, re.MULTILINE)
    return {test: Row(*cells) for *cells, test in rows}


def write(rows: dict[str, Row]) -> str:
    """The page with these rows."""
    parts = [HEAD]
    for module, promise in PROMISES.items():
        own = {test: row for test, row in rows.items() if test.startswith(f"{module}.py::")}
        if own:
            table = "".join(f"| {' | '.join(row)} | `{test}` |\n" for test, row in sorted(own.items()))
            parts.append(f"## {promise}\n\n| tried | seed | found | seconds | test |\n|---|---|---|---|---|\n{table}")
    return "\n".join(parts)


@cache
def long_tests() -> dict[str, list[str]]:
    """The tests with the mark `soak`, and the fixtures that each takes. Read from the sources."""
    found = {}
    for path in sorted(Path(__file__).parent.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and "pytest.mark.soak" in map(ast.unparse, node.decorator_list):
                found[f"{path.name}::{node.name}"] = [argument.arg for argument in node.args.args]
    return found


def foot(rows: dict[str, Row]) -> str:
    """What is not there; where and how long the others ran."""
    absent = [f"- `{test}`\n" for test in long_tests() if test not in rows]
    told = f"\n{ABSENT}\n\n{''.join(absent)}" if absent else ""
    minutes = sum(int(row.seconds) for row in rows.values()) / 60
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{told}\nAll of this took {minutes:.1f} minutes, which the cores share ({machine}).\n"


ABSENT = "These tests did not run when this was written, or failed:"


def absent(text: str) -> set[str]:
    """The tests that a page says are not there."""
    return set(re.findall(r"^- `(\S+)`$", text.partition(f"\n{ABSENT}\n")[2], re.MULTILINE))
