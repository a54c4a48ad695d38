"""The cost of a frame is bounded by what is seen of a game, however much there is of it.

Counted is what Python does, in calls of functions and in lines of code, and not the time it takes.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest

from tests.fake import Play, started
from tokex_gguf.keymap import Action, Mode
from tokex_gguf.line import Line
from tokex_gguf.ui.cells import width_of
from tokex_gguf.ui.view import View
from tokex_gguf.update import Typed

SIZES = [(80, 24), (130, 40)]
STEPS = 60_000
"""Lines of Python that the frame of a large terminal may take; with nothing to show it takes some 5,000."""


def steps(work: Callable[[], object]) -> int:
    """Lines of Python code that are run, comprehensions included; what is computed in C counts as one line."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        frame.f_trace_opcodes = False
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def frame(play: Play, view: View, size: tuple[int, int]) -> int:
    """The steps of one frame, which is whole."""
    lines: list[Any] = []
    count = steps(lambda: lines.extend(view.screen(play.session, *size)))
    assert len(lines) == size[1] and {width_of(line) for line in lines} == {size[0]}
    return count


TEXTS = {
    "letters": "a" * 300_000,
    "words": "every body is " * 20_000,
    "lines": "a line\n" * 40_000,
    "wide": "漢字" * 100_000,
    "marks": "e" + "\u0301" * 300_000,
    "joiners": "\u200d" * 300_000,
    "flags": "🇩🇪" * 100_000,
    "controls": "\x1b\x00" * 100_000,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("mode", [Mode.INPUT, Mode.SEARCH, Mode.NAME])
def test_a_line_of_any_length_is_drawn_by_what_is_seen_of_it(mode: Mode, kind: str, size: tuple[int, int]) -> None:
    play, view, text = started(), View(), TEXTS[kind]
    for caret in (0, len(text) // 2, len(text)):
        play.session = replace(play.session, mode=mode, line=Line(text, caret))
        assert frame(play, view, size) < STEPS


@pytest.mark.parametrize("key", [Action.ERASE_WORD, Action.ERASE, Action.ERASE_LINE])
def test_a_key_in_a_long_line_looks_at_little_of_it(key: Action) -> None:
    play = started()
    play.session = replace(play.session, mode=Mode.NAME, line=Line("a word " + "b" * 300_000 + " " * 300_000, 600_007))
    assert steps(lambda: play.take(key)) < 1000
    play.session = replace(play.session, line=Line("b" * 300_000, 300_000))
    assert steps(lambda: play.take(Typed("b"))) < 1000
