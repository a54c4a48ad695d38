"""The cost of a frame is bounded by what is seen of a game, however much there is of it.

Counted is what Python does, in calls of functions and in lines of code, and not the time it takes.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest

from tests import fake
from tests.fake import Play, started
from tokex_gguf.distribution import Taken
from tokex_gguf.keymap import Action, Mode
from tokex_gguf.line import Line
from tokex_gguf.session import Prompt, Score, Starter
from tokex_gguf.tree import Node
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
        del event, argument
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


# --- paths and trees


def grown(node: Node, tokens: int, seed: int = 1) -> Node:
    """A path longer by so many tokens, all of it computed and visited."""
    answer = fake.distribution([seed], 3)
    for index in range(tokens):
        node = node.child((index + seed) % fake.VOCAB)
        node.attach(answer)
        if node.depth > 1:
            node.attach_taken(Taken(-1.0, 2))
    node.visit()
    return node


def with_prompts(*tips: Node, mode: Mode = Mode.PLAY, **changes: Any) -> Play:
    """A game that is played at these paths."""
    play = started()
    play.session = replace(play.session, prompts=tuple(map(Prompt, tips)), mode=mode, pieces=fake.PIECES, **changes)
    return play


@pytest.mark.parametrize("size", SIZES)
def test_the_list_of_long_prompts_costs_no_more_than_that_of_short_ones(size: tuple[int, int]) -> None:
    trunk = grown(Node(None, -1), 10_000)
    tips = [grown(trunk, 3, seed) for seed in range(2, 11)]
    starters = tuple(Starter(f"text {index}", "a text" * 10_000) for index in range(1000))
    for row in (0, 8):
        play = with_prompts(*tips, mode=Mode.PROMPTS, row=row, starters=starters)
        view = View()
        frame(play, view, size)  # lays out a prompt once
        assert frame(play, view, size) < STEPS


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_is_walked_once_and_not_in_every_frame(size: tuple[int, int]) -> None:
    trunk = grown(Node(None, -1), 2000)
    for depth in range(1, 2000):
        grown(trunk.ancestor(depth), 3, 7 + depth % 5)
    view, play = View(), with_prompts(trunk, mode=Mode.TREE)
    frame(play, view, size)
    play.take(Action.DOWN)
    for _ in range(5):
        assert steps(lambda: play.take(Action.DOWN)) < 1000
        frame(play, view, size)
        assert frame(play, view, size) < STEPS


@pytest.mark.parametrize("size", SIZES)
def test_phrases_of_any_number_and_length_are_compared_at_little_cost(size: tuple[int, int]) -> None:
    base = grown(Node(None, -1), 5)
    scores = tuple(Score(base, grown(base, 1000, seed)) for seed in range(1, 51))
    play, view = with_prompts(base, mode=Mode.INPUT, scores=scores), View()
    frame(play, view, size)
    assert frame(play, view, size) < STEPS
    assert steps(lambda: play.session.goal) < 5000


def test_a_path_is_looked_into_in_a_few_steps_wherever() -> None:
    root = Node(None, -1)
    tip = grown(root, 50_000)
    tip.child(3).attach_taken(Taken(-1.0, 2))
    for depth in (0, 1, 2, 3, 777, 25_000, 49_999, 50_000):
        assert tip.ancestor(depth).depth == depth
        assert steps(lambda depth=depth: tip.ancestor(depth)) < 200  # type: ignore[misc]
    other = tip.ancestor(20_000).descend([1, 2, 3])
    tip.path()
    assert steps(other.path) < 500 and other.path() == [*tip.path()[:20_000], 1, 2, 3]
    assert steps(other.first_unknown) < 500 and other.first_unknown() == 19_999
    assert steps(lambda: other.descends_from(tip)) < 500
