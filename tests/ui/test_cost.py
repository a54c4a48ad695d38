"""The cost of a frame is bounded by what is seen of a game, however much there is of it.

Counted is what Python does, in calls of functions and in lines of code, and not the time it takes.
"""

import os
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from types import FrameType
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests import fake
from tests.fake import Play, heard, screen_of, started
from tests.figures import Figure
from tests.play import test_ahead
from tests.sampling import few
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import SCREENS
from tokex_gguf.play.game import Prompt
from tokex_gguf.play.messages import (
    CompareFurther,
    JudgeFurther,
    Message,
    PointedAtToken,
    Resized,
    SearchFurther,
    Typed,
)
from tokex_gguf.play.rules import tree
from tokex_gguf.play.screens import Screen
from tokex_gguf.play.session import Options, Starter
from tokex_gguf.sessions import codec
from tokex_gguf.ui import prompt_pane
from tokex_gguf.ui.cells import width_of
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.ui.screen_table import shown as shown_path
from tokex_gguf.values import layers
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.distribution import TokenLogprob
from tokex_gguf.values.fan_out import Budget
from tokex_gguf.values.layers import Layer
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.outline import Order
from tokex_gguf.values.ranking import Ranking, entropies, surprisals
from tokex_gguf.values.samplers import Chain, Kind, Sampler
from tokex_gguf.values.score import Score
from tokex_gguf.values.stops import AfterTokens
from tokex_gguf.values.text_field import TextField
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node, entropy_before
from tokex_gguf.values.view import NOT_CUT, Verdict

SEED = int(os.environ.get("COST_SEED", "1"))
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


def frame(play: Play, view: ScreenRenderer, size: tuple[int, int]) -> int:
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
@pytest.mark.parametrize("kind", few(TEXTS, of=2))
@pytest.mark.parametrize("screen", [screens.Input, screens.SearchScreen, screens.Name, screens.NewPrompt])
def test_a_line_of_any_length_is_drawn_by_what_is_seen_of_it(
    screen: type[Screen], kind: str, size: tuple[int, int]
) -> None:
    play, view, text = started(), ScreenRenderer(), TEXTS[kind]
    for caret in (0, len(text) // 2, len(text)):
        play.session = replace(play.session, screen=screen_of(play.session, screen, TextField(text, caret)))
        assert frame(play, view, size) < STEPS


@pytest.mark.parametrize("key", [Action.ERASE_WORD, Action.ERASE, Action.ERASE_LINE])
def test_a_key_in_a_long_line_looks_at_little_of_it(key: Action) -> None:
    play = started()
    play.session = replace(
        play.session, screen=screens.Name(line=TextField("a word " + "b" * 300_000 + " " * 300_000, 600_007))
    )
    assert steps(lambda: play.take(key)) < 1500  # most of it for copies of the session, by the number of its fields
    play.session = replace(play.session, screen=screens.Name(line=TextField("b" * 300_000, 300_000)))
    assert steps(lambda: play.take(Typed("b"))) < 1500


# --- paths and trees


LONG = 12_000


def grown(node: Node, tokens: int, seed: int = 1) -> Node:
    """A path longer by so many tokens, all of it computed and visited."""
    answer = fake.distribution([seed], 3)
    for index in range(tokens):
        node = node.child((index + seed) % fake.VOCAB)
        node.attach(answer)
        if node.depth > 1:
            node.attach_taken(TokenLogprob(-1.0, 2))
    node.visit()
    return node


def with_prompts(*tips: Node, screen: type[Screen] = screens.Play, row: int = 0, **changes: Any) -> Play:
    """A game that is played at these paths."""
    play = started()
    prompts, root = tuple(map(Prompt, tips)), tips[0].ancestor(0)
    play.session = replace(
        play.session,
        game=replace(
            play.session.game, known=replace(play.session.game.known, root=root, pieces=fake.PIECES), prompts=prompts
        ),
        **changes,
    )
    play.session = replace(play.session, screen=screen_of(play.session, screen, row=row))
    return play


def test_a_frame_makes_only_the_rows_that_changed_anew() -> None:
    """It took 17,000 steps after each key while all rows were made anew."""
    play, view, size = test_ahead.growing().answer(), ScreenRenderer(), (130, 40)
    play.take(Resized(33))
    view.screen(play.session, *size)
    for key in (Action.DOWN, Action.DOWN, Action.UP, Action.LAYER):
        play.take(key)
        assert frame(play, view, size) < 11_000
    play.take(Action.APPEND)
    play.answer()
    assert frame(play, view, size) < 19_000, "a table that was not seen before"
    play.take(Action.POP)
    assert frame(play, view, size) < 11_000


@pytest.mark.parametrize("size", SIZES)
def test_the_list_of_long_prompts_costs_no_more_than_that_of_short_ones(size: tuple[int, int]) -> None:
    trunk = grown(Node(None, -1), 10_000)
    tips = [grown(trunk.ancestor(10_000 - 50 * (seed % 7)), 3, seed) for seed in range(2, 101)]
    starters = tuple(Starter(f"text {index}", "a text" * 10_000) for index in range(1000))
    for row in (0, 98, 500, 1098):
        play = with_prompts(*tips, screen=screens.Prompts, row=row, starters=starters)
        view = ScreenRenderer()
        frame(play, view, size)  # lays out a prompt once
        assert frame(play, view, size) < STEPS


@pytest.mark.parametrize("size", SIZES)
def test_a_list_that_is_searched_costs_no_more_than_all_of_it(size: tuple[int, int]) -> None:
    """What many prompts begin with is read once, and a frame looks for nothing."""
    trunk = grown(Node(None, -1), 10_000)
    tips = [grown(trunk.ancestor(10_000 - 50 * (seed % 7)), 3, seed) for seed in range(2, 101)]
    starters = tuple(Starter(f"text {index}", "a text" * 10_000) for index in range(1000))
    play, view = with_prompts(*tips, screen=screens.Prompts, starters=starters), ScreenRenderer()
    play.take(Action.FILTER)
    play.take(Typed("a"))
    view.screen(play.session, *size)
    assert steps(lambda: play.take(Typed(" text"))) < 20_000
    view.screen(play.session, *size)  # lays out the text that is selected
    assert frame(play, view, size) < 1.5 * STEPS
    assert steps(lambda: play.take(Action.DOWN)) < 2500


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", Order)
def test_a_tree_is_walked_once_and_not_in_every_frame(size: tuple[int, int], order: Order) -> None:
    trunk = grown(Node(None, -1), 2000)
    for depth in range(1, 2000):
        grown(trunk.ancestor(depth), 3, 7 + depth % 5)
    view, play = ScreenRenderer(), with_prompts(trunk, screen=screens.TreeScreen, options=Options(order=order))
    play.take(Action.UP)
    view.screen(play.session, *size)
    for key in [Action.UP, Action.PAGE_UP, Action.DOWN, Action.TOP, Action.DOWN, Action.FOLD, Action.DOWN]:
        assert steps(lambda key=key: play.take(key)) < 1450  # type: ignore[misc]
        view.screen(play.session, *size)
        assert frame(play, view, size) < STEPS


def test_finding_and_folding_in_a_large_tree_cost_by_its_forks_and_not_by_its_tokens() -> None:
    """What is walked again for a key are the lines; the tokens are looked at once."""
    root = Node(None, -1)
    trunk = grown(root, 20_000)
    for depth in range(1, 20_000, 20):
        grown(trunk.ancestor(depth), 20, 7 + depth % 5)
    view, play = ScreenRenderer(), with_prompts(trunk, screen=screens.TreeScreen)
    view.screen(play.session, 130, 40)  # 40,000 tokens, 1,000 places where they part
    lines = len(tree.tree_lines(play.session).lines)
    assert lines > 1900
    play.take(Action.FILTER)
    view.screen(play.session, 130, 40)
    play.take(Typed("5"))
    view.screen(play.session, 130, 40)  # spells the tokens, once
    play.take(Typed(" 6 7"))
    assert steps(lambda: tree.found_lines(play.session)) < 20 * lines
    assert len(tree.found_lines(play.session)) > 300
    assert frame(play, view, (130, 40)) < STEPS
    assert steps(lambda: play.take(Action.PAGE_DOWN)) < 1130
    play.take(Action.CLOSE)
    view.screen(play.session, 130, 40)
    assert frame(play, view, (130, 40)) < STEPS
    play.take(Action.FOLD)
    assert steps(lambda: tree.tree_lines(play.session)) < 30 * lines
    assert frame(play, view, (130, 40)) < STEPS


def test_a_visit_costs_no_more_in_a_long_path() -> None:
    tip = grown(Node(None, -1), 20_000)
    assert steps(tip.child(3).visit) < 50 and steps(tip.visit) < 50
    play = with_prompts(tip)
    tip.path()  # as it was sent to the engine
    play.session = replace(
        play.session,
        game=replace(play.session.game, hidden=replace(play.session.game.hidden, pruned=(tip.ancestor(9).child(1),))),
    )
    assert steps(lambda: play.take(Action.LAYER)) < 1740


@pytest.mark.parametrize("size", SIZES)
def test_phrases_of_any_number_and_length_are_compared_at_little_cost(size: tuple[int, int]) -> None:
    base = grown(Node(None, -1), 5)
    scores = tuple(Score(base, grown(base, 400, seed)) for seed in range(1, 51))
    play, view = with_prompts(base, screen=screens.Input), ScreenRenderer()
    play.session = replace(
        play.session, game=replace(play.session.game, results=replace(play.session.game.results, scores=scores))
    )
    frame(play, view, size)
    assert frame(play, view, size) < STEPS
    assert steps(lambda: play.session.goal) < 5000


def test_a_path_is_looked_into_in_a_few_steps_wherever() -> None:
    root = Node(None, -1)
    tip = grown(root, 20_000)
    tip.child(3).attach_taken(TokenLogprob(-1.0, 2))
    for depth in (0, 1, 2, 3, 777, 10_000, 19_999, 20_000):
        assert tip.ancestor(depth).depth == depth
        assert steps(lambda depth=depth: tip.ancestor(depth)) < 200  # type: ignore[misc]
    other = tip.ancestor(8_010).descend([1, 2, 3])
    tip.path()
    assert steps(other.path) < 500 and other.path() == [*tip.path()[:8_010], 1, 2, 3]
    assert steps(other.first_unknown) < 500 and other.first_unknown() == 8_009
    assert steps(lambda: other.descends_from(tip)) < 500


# --- the prompt


PIECES = {
    **fake.PIECES,
    **{
        100 + index: Piece(data)
        for index, data in enumerate(
            [
                *(b"a", b" word", b"\n", b" longer-words", "日".encode(), "\u0301".encode(), "🙂".encode()),
                *(b"\xf0\x9f", b"\x99\x82", b"", b"x" * 10_000_000, "e\u0301".encode() * 100_000, b"\x00" * 1000),
                "\u200d".encode(),
            ]
        )
    },
}
"""Tokens of every kind that a vocabulary may hold, some of them absurd."""
KINDS = {
    "letters": [100],
    "words": [101, 101, 103],
    "lines": [101, 101, 101, 102],
    "breaks": [102],
    "wide": [104],
    "marks": [105],
    "halves": [107, 108],
    "unfinished": [107],
    "empty": [109],
    "huge": [110],
    "marked": [111],
    "controls": [112],
    "joiners": [113],
    "all": list(range(100, 114)),
}


def path_of(tokens: list[int], length: int) -> Node:
    """A path of these tokens again and again, computed."""
    node, answer = Node(None, -1), fake.distribution([1], 3)
    for index in range(length):
        node = node.child(tokens[index % len(tokens)])
        node.attach(answer)
        if node.depth > 1:
            node.attach_taken(TokenLogprob(-1.0, 2))
    node.visit()
    return node


ABSURD = ["huge", "marked", "controls", "all"]
"""Kinds with tokens longer than what is shown of them, whose layout takes long to count."""


@pytest.mark.parametrize("kind", few(KINDS, of=2))
def test_a_prompt_of_any_length_is_drawn_by_what_is_seen_of_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first frame lays out what is in sight; the frames after it what has changed."""
    if kind in ABSURD:  # smaller blocks cost less, and are as independent of the length
        monkeypatch.setattr(prompt_pane, "BLOCK_TOKENS", 64)
        monkeypatch.setattr(prompt_pane, "BOUNDARY_TOKENS", 48)
    holds_for(kind)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ABSURD)
def test_a_prompt_of_absurd_tokens_is_drawn_by_what_is_seen_of_it(kind: str, figure: Figure) -> None:
    holds_for(kind)
    figure(1, "kinds of absurd tokens, every line of Python counted")


def holds_for(kind: str) -> None:
    """Counts the steps of the frames of a short and a long prompt of these tokens."""
    first, later, written = [], [], []
    short = 3 * prompt_pane.BLOCK_TOKENS
    for length in (short,) if kind == "marked" else (short, short + 4 * prompt_pane.BLOCK_TOKENS):
        tip = path_of(KINDS[kind], length)
        view, play = ScreenRenderer(), with_prompts(tip)
        play.session = replace(
            play.session, game=replace(play.session.game, known=replace(play.session.game.known, pieces=PIECES))
        )
        first.append(frame(play, view, (130, 40)))
        for cursor in (None, tip.ancestor(length // 2), tip.ancestor(length // 2 + 1), tip.ancestor(1), tip):
            play.session = replace(play.session, game=replace(play.session.game, prompts=(Prompt(tip, cursor=cursor),)))
            view.screen(play.session, 130, 40)  # not counted, which takes twenty times as long
            later.append(frame(play, view, (130, 40)))
        play.session = replace(play.session, game=replace(play.session.game, prompts=(Prompt(tip.child(100)),)))
        view.screen(play.session, 130, 40)
        play.session = replace(
            play.session, game=replace(play.session.game, prompts=(Prompt(tip.child(100).child(101)),))
        )
        assert frame(play, view, (130, 40)) < 3 * STEPS  # so many where every token is a mark
        written.append(sum(len(part) for line in view.screen(play.session, 130, 40) for _, part in line))
    assert max(later) < STEPS and max(written) < 130 * 40 * 10
    most = 40 * STEPS if kind in ("marks", "empty") else 1.2 * first[0]  # of these a block is a line or two
    assert first[-1] < most


USES: list[type[Screen]] = [kind for kind in SCREENS if kind is not screens.Help]


def any_game(chance: random.Random, most: int) -> Play:
    """A game of drawn size: path, tree, prompts, phrases, texts to start with, and what is typed."""

    def many(limit: int) -> int:
        return int(chance.uniform(1, limit ** (1 / 3)) ** 3)

    screen = chance.choice(USES)
    # Lists spell all of what is shown of a token, 20 for each line: much, but no more for longer paths.
    kinds = [kind for kind in KINDS if kind not in ABSURD or screen is screens.Play]
    tokens = [token for kind in chance.sample(kinds, chance.randint(1, 3)) for token in KINDS[kind]]
    tip = path_of([chance.choice(tokens) for _ in range(64)], many(most))
    tips = [tip]
    for _ in range(many(60)):
        tips.append(grown(chance.choice(tips).ancestor(chance.randint(1, tip.depth)), many(40), chance.randrange(60)))
    text = chance.choice([*TEXTS.values()])[: many(300_000)]
    cursor = chance.choice([None, tip.ancestor(chance.randint(1, tip.depth))])
    play = with_prompts(*tips)
    play.session = replace(
        play.session,
        game=replace(
            play.session.game,
            prompts=(Prompt(tip, cursor=cursor), *map(Prompt, tips[1:])),
            known=replace(play.session.game.known, pieces=PIECES),
            results=replace(
                play.session.game.results,
                scores=tuple(Score(tip.ancestor(max(0, tip.depth - 40)), tip) for _ in range(many(50))),
            ),
        ),
        starters=tuple(Starter(str(index), text) for index in range(many(500))),
        options=replace(play.session.options, layer=chance.choice(list(layers.every_layer().values()))),
    )
    line, row = TextField(text, chance.randint(0, len(text))), chance.randrange(len(tips))
    play.session = replace(play.session, screen=screen_of(play.session, screen, line, row))
    return play


def drawn_at_any_size(seeds: range, most: int, figure: Figure) -> None:
    """Counts the steps of frames of games that are drawn at random, after one that laid out what is in sight."""
    worst = 0.0
    for seed in seeds:
        chance = random.Random(seed)
        play, view = any_game(chance, most), ScreenRenderer()
        size = chance.randint(60, 250), chance.randint(16, 70)
        view.screen(play.session, *size)
        # A list is spelled anew for each frame, and thousands of tokens that take a cell or none are seen at once.
        lists = screens.TreeScreen | screens.TreeSearch | screens.Prompts | screens.PromptName | screens.Input
        limit = (4 if isinstance(play.session.screen, lists) else 2) * STEPS
        share = frame(play, view, size) / (limit * max(1.0, size[0] * size[1] / (130 * 40)))
        assert share < 1, f"seed {seed}"
        worst = max(worst, share)
    figure(
        len(seeds), "games drawn, every line of Python counted", seed=SEED, largest_percentage_of_the_limit=100 * worst
    )


def test_a_frame_of_any_game_is_bounded(figure: Figure) -> None:
    drawn_at_any_size(range(SEED, SEED + 6), 2000, figure)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
def test_a_frame_of_very_many_games_is_bounded(part: int, figure: Figure) -> None:
    drawn_at_any_size(range(SEED + part, SEED + 400, 4), 100_000, figure)


@pytest.mark.parametrize("size", SIZES)
def test_blocks_are_not_seen_where_lines_end(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every block can begin after a line break, the screen is that of one layout for the whole prompt."""
    chance = random.Random(SEED)
    words = [100, 101, 101, 101, 103, 104, 105, 106, 107, 108]
    tokens = [102 if chance.random() < 0.1 else chance.choice(words) for _ in range(400)]
    tip = path_of(tokens, 400)
    monkeypatch.setattr(prompt_pane, "BLOCK_TOKENS", 64)
    monkeypatch.setattr(prompt_pane, "BOUNDARY_TOKENS", 48)
    blocks = prompt_pane.PromptPane()
    begins = {
        blocks._block_start(
            replace(
                started().session,
                game=replace(started().session.game, known=replace(started().session.game.known, pieces=PIECES)),
            ),
            tip,
            block,
        )
        for block in range(1, 5)
    }
    assert all(tokens[begin - 1] == 102 for begin in begins), f"seed {SEED}"
    shown = []
    for each in range(100, 400, 7):
        prompts = [Prompt(tip.ancestor(each)), Prompt(tip, cursor=tip.ancestor(each))]
        for prompt in prompts:
            play = with_prompts(tip)
            play.session = replace(
                play.session,
                game=replace(
                    play.session.game, prompts=(prompt,), known=replace(play.session.game.known, pieces=PIECES)
                ),
            )
            shown.append((play.session, blocks.lines(play.session, shown_path(play.session), *size)))
    monkeypatch.setattr(prompt_pane, "BLOCK_TOKENS", 1 << 30)
    whole = prompt_pane.PromptPane()
    for session, lines in shown:
        assert lines == whole.lines(session, shown_path(session), *size), f"seed {SEED}"


def test_a_block_that_begins_inside_a_line_begins_before_a_word() -> None:
    tip = path_of([101, 100], 5000)
    play = with_prompts(tip)
    play.session = replace(
        play.session, game=replace(play.session.game, known=replace(play.session.game.known, pieces=PIECES))
    )
    pane = prompt_pane.PromptPane()
    for each in range(1100, 5000, 150):
        play.session = replace(
            play.session, game=replace(play.session.game, prompts=(Prompt(tip, cursor=tip.ancestor(each)),))
        )
        told = [
            "".join(part for _, part in line).strip()
            for line in pane.lines(play.session, shown_path(play.session), 60, 20)
        ]
        assert all(set(line.split()) == {"worda"} for line in told)


def surprisal(node: Node) -> float | None:
    return node.surprisal


def checked(ranked: Ranking, values: list[tuple[int, float]], node: Node) -> None:
    """Holds a ranking of a path against one that is made plainly, of depths and values."""
    expected = sorted(values, key=lambda one: (-one[1], one[0]))
    order: list[int] = []
    following = ranked.following(None)
    while following is not None:
        assert following is node.ancestor(following.depth)
        order.append(following.depth)
        following = ranked.following(following)
    assert order == [depth for depth, _ in expected] and len(ranked) == len(expected)
    bits = [value for _, value in expected]
    for value in bits[:: 1 + len(bits) // 50]:
        assert ranked.place(value) == 1 + sum(other > value for other in bits)
    for threshold in (0.0, 1.5, 99.0):
        least = threshold or (bits[-(-len(bits) // 10) - 1] if bits else 0.0)
        places = sorted(depth for depth, value in expected if value >= least)
        notable = ranked.notable(threshold)
        assert len(notable) == len(places)
        for here in range(0, node.depth + 2, 1 + node.depth // 40):
            assert notable.next(here) == next((place for place in places if place > here), None)
            assert notable.previous(here) == next((place for place in reversed(places) if place < here), None)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 150), st.integers(0, 99)), max_size=8), st.data())
@settings(max_examples=15, phases=[Phase.generate])
def test_a_ranking_is_a_plain_one_on_any_path(moves: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """Also where paths part inside a block, and where something in them is not computed yet."""
    chance, tip = random.Random(data.draw(st.integers(0, 1 << 30))), Node(None, -1).child(0)
    tip.attach(fake.distribution([1], 3))
    for pops, tokens, unknown in moves:
        tip = tip.ancestor(max(1, tip.depth - pops))
        for _ in range(tokens):
            tip = tip.child(chance.randrange(fake.VOCAB))
            if chance.randrange(1000) >= unknown % 3:
                tip.attach(fake.distribution([chance.randrange(9)], 3))
                tip.attach_taken(TokenLogprob(-chance.randrange(5) / 2, 2))
        for ranked, value in ((surprisals(tip), surprisal), (entropies(tip), entropy_before)):
            values = [(node.depth, bits) for node in tip.nodes(1) if (bits := value(node)) is not None]
            checked(ranked, values, tip)


def test_a_ranking_of_a_long_path_is_a_plain_one() -> None:
    chance, tip = random.Random(SEED), Node(None, -1)
    for _ in range(5000):
        tip = tip.child(chance.randrange(fake.VOCAB))
        tip.attach(fake.distribution([1], 3))
        tip.attach_taken(TokenLogprob(-chance.random(), 2))
    for length in (4095, 4096, 4097, 5000):
        path = tip.ancestor(length)
        ranked = surprisals(path)
        expected = sorted(path.nodes(1), key=lambda node: (-(node.surprisal or 0), node.depth))
        assert len(ranked) == length - 1
        assert len(ranked.notable(0.0)) == -(-(length - 1) // 10)
        assert ranked.place(expected[1000].surprisal or 0) == 1001
        assert ranked.following(expected[1000]) is expected[1001], f"seed {SEED}"


LOOKS = [
    *(Action.HIGHEST_SURPRISAL, Action.HIGHEST_ENTROPY, Action.NEXT_ENTROPY, Action.PREVIOUS_SURPRISAL),
    *(Action.CURSOR_BACK, Action.CURSOR_FIRST),
]


@pytest.mark.parametrize("key", few(LOOKS, of=3))
def test_the_first_look_back_in_a_long_prompt_costs_no_more_than_in_a_short_one(key: Action) -> None:
    play = with_prompts(grown(Node(None, -1), 6_000))
    view = ScreenRenderer()
    play.session.game.prompt.tip.path()  # as it was sent to the engine
    frame(play, view, (130, 40))
    assert steps(lambda: play.take(key)) < 4000
    frame(play, view, (130, 40))  # lays out what is in sight now
    assert steps(lambda: play.take(key)) < 4000
    assert frame(play, view, (130, 40)) < 2 * STEPS


EDITS = (Action.REPLACE, Action.DELETE_TOKEN, Action.ENTER)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("behind", few([0, 100, LONG // 2], of=2))
def test_an_edit_in_a_long_prompt_costs_by_what_is_behind_it(edit: Action, behind: int) -> None:
    tip = unlike(LONG)
    play, view = with_prompts(tip), ScreenRenderer()
    tip.path()  # as it was sent to the engine
    play.take(PointedAtToken(tip.depth - 1 - behind))
    view.screen(play.session, 130, 40)
    if edit is Action.ENTER:
        for key in (Action.INSERT, Action.TAKE_IN, Action.TAKE_IN, Typed("a"), Action.ENTER):
            if behind or key is not Action.TAKE_IN:
                assert steps(lambda key=key: play.take(key)) < 3500, key  # type: ignore[misc]
                view.screen(play.session, 130, 40)
                assert frame(play, view, (130, 40)) < 2 * STEPS
        (request,) = play.asked
        reply = play.reply(request)
        assert reply is not None
        count = steps(lambda: play.take(reply))
    else:
        play.take(Action.TOP)
        if play.session.game.prompt.place.selected == play.session.game.prompt.place.popped:
            play.take(Action.DOWN)
        count = steps(lambda: play.take(edit))
    assert len(play.session.game.prompts) == 2
    assert count < 6200 + 80 * behind
    play.asked.clear()
    view.screen(play.session, 130, 40)
    assert frame(play, view, (130, 40)) < 2 * STEPS
    play.session.game.prompt.tip.differs = LONG - behind
    play.session.game.prompt.tip.checked = True
    assert frame(play, view, (130, 40)) < 2 * STEPS
    for key in (Action.UNDO, Action.REDO, Action.UNDO):
        play.session.game.prompts[0].tip.path()
        assert steps(lambda key=key: play.take(key)) < 5000 + 40 * behind  # type: ignore[misc]


def test_an_answer_costs_no_more_at_the_end_of_a_long_path() -> None:
    """Sorting what a look back will read is done as answers arrive, and little of it for each."""
    tip, counts = Node(None, -1), []
    for _ in range(10_000 // 48):
        grow: list[Node] = []
        counts.append(steps(lambda tip=tip, grow=grow: grow.append(grown(tip, 48))))  # type: ignore[misc]
        (tip,) = grow
    assert max(counts[-200:]) < 40_000


# --- the layers of a lens


DECIDED = Chain((Sampler.of(Kind.TOP_K, 6), Sampler.of(Kind.MIN_P, 0.02), Sampler.of(Kind.TEMPERATURE, 0.8)))
"""Samplers whose cuts the numbers of each place decide."""
OTHER = Chain((Sampler.of(Kind.TOP_K, 12), Sampler.of(Kind.TEMPERATURE, 0.8)))
REGEX = Constraint(ConstraintKind.REGEX, ".*")


def unlike(tokens: int, start: Node | None = None, seed: int = SEED) -> Node:
    """A path longer by so many tokens of various ranks, all of it computed and visited."""
    chance, node = random.Random(seed), start or Node(None, -1).child(0)
    answers = [fake.distribution([index], 20) for index in range(20)]
    if node.distribution is None:
        node.attach(answers[0])
    for _ in range(tokens):
        rank = chance.choice([0, 0, 0, 0, 0, 1, 2, 5, 9, 15])
        assert node.distribution is not None
        node = node.child(node.distribution.ids[rank])
        node.attach(chance.choice(answers))
    node.visit()
    return node


def through(play: Play, chain: Chain, layer: Layer, constraint: Constraint | None = None) -> Play:
    """The same game, coloured by what a lens makes of it."""
    game = play.session.game
    game = replace(game, sampling=replace(game.sampling, chain=chain, constraint=constraint))
    play.session = replace(play.session, game=game, options=replace(play.session.options, layer=layer))
    return play


def lens_in(play: Play) -> Sampled:
    assert isinstance(play.session.lens, Sampled)
    return play.session.lens


def every_key_costs_little(play: Play, view: ScreenRenderer, *keys: Action) -> None:
    """Holds keys, what is computed behind them, and their frames, against the limits of the other layers."""
    for key in keys:
        assert steps(lambda key=key: play.take(key)) < 3800, key  # type: ignore[misc]
        view.screen(play.session, 130, 40)  # lays out what is in sight now, and decides what is seen of it
        assert frame(play, view, (130, 40)) < 2 * STEPS, key
        while play.session.under_way.judging:
            assert steps(lambda: play.take(JudgeFurther())) < 9000, key


JUMPS = (Action.NEXT_SURPRISAL, Action.PREVIOUS_SURPRISAL)


def test_the_layer_of_a_lens_costs_no_more_in_a_long_prompt() -> None:
    """Also on another way, through another lens, and for each key of all that leads there."""
    tip = unlike(LONG)
    play, view = with_prompts(tip), ScreenRenderer()
    tip.path()  # as it was sent to the engine
    through(play, DECIDED, layers.SURPRISAL)
    view.screen(play.session, 130, 40)
    while play.session.options.layer is not layers.REACHABLE:
        every_key_costs_little(play, view, Action.MORE_LAYERS)
    cut = play.session.game.known.lens_results.judged(lens_in(play), tip).cut(tip)
    assert LONG / 5 < len(cut) < LONG / 2, "all of it was looked at"
    every_key_costs_little(play, view, *JUMPS, *JUMPS)
    assert play.session.game.prompt.cursor is not None and play.session.game.prompt.cursor.depth in cut.depths
    every_key_costs_little(play, view, Action.CLOSE, *3 * [Action.POP], *3 * [Action.APPEND], *3 * [Action.POP])
    play.press(Action.NEXT_SURPRISAL, *40 * [Action.CURSOR_FAR_BACK])
    here = play.session.game.prompt.cursor
    assert here is not None and here.depth < LONG - 300
    every_key_costs_little(play, view, Action.DOWN, Action.APPEND, *JUMPS, Action.UNDO, *JUMPS)
    assert len(play.session.game.prompts) == 1 and not play.session.under_way.judging
    through(play, OTHER, layers.REACHABLE)
    every_key_costs_little(play, view, *JUMPS, *JUMPS)
    assert len(play.session.game.known.lens_results.judged(lens_in(play), tip).cut(tip)) < len(cut)


def test_a_jump_waits_while_the_prompt_is_still_looked_at() -> None:
    tip = unlike(LONG)
    play, view = with_prompts(tip), ScreenRenderer()
    tip.path()
    view.screen(through(play, DECIDED, layers.SURPRISAL).session, 130, 40)
    while play.session.options.layer is not layers.REACHABLE:
        play.take(Action.MORE_LAYERS)
    for key in (Action.NEXT_SURPRISAL, Action.PREVIOUS_SURPRISAL, Action.CURSOR_FIRST, Action.PREVIOUS_SURPRISAL):
        assert play.session.under_way.judging and play.session.under_way.jumping == 0
        assert steps(lambda key=key: play.take(key)) < 3500  # type: ignore[misc]
        play.take(JudgeFurther())
        assert key is Action.CURSOR_FIRST or play.session.game.prompt.cursor is None
        assert (play.session.under_way.jumping == 0) == (key is Action.CURSOR_FIRST)
        play.take(Action.CURSOR_TIP)
        assert play.session.under_way.jumping == 0, "who goes on does not wait"
    play.take(Action.PREVIOUS_SURPRISAL)
    play.answer()
    cut = play.session.game.known.lens_results.judged(lens_in(play), tip).cut(tip)
    assert play.session.game.prompt.cursor is tip.ancestor(cut.depths[-1])


def test_what_a_constraint_cost_is_jumped_through_in_a_long_prompt_at_no_more_cost() -> None:
    """The verdicts come from the engine here, and are sorted in as they come."""
    chance, tip = random.Random(SEED), unlike(LONG)
    play, view = with_prompts(tip), ScreenRenderer()
    tip.path()
    through(play, Chain(), layers.COST, REGEX)
    lens, answers = lens_in(play), play.session.game.known.lens_results
    nodes = tip.nodes(1)
    for node in nodes[: LONG // 2]:
        answers.attach_verdict(lens, node, Verdict(0.5, NOT_CUT, chance.choice([1.0, chance.random()])))
    while not answers.judge_more(lens, tip, 1000):
        pass

    def sorted_in() -> None:
        for node in nodes[LONG // 2 :]:
            answers.attach_verdict(lens, node, Verdict(0.5, NOT_CUT, chance.choice([1.0, chance.random()])))

    assert steps(sorted_in) < 100 * LONG / 2
    view.screen(play.session, 130, 40)
    every_key_costs_little(play, view, *JUMPS, *JUMPS, Action.CLOSE, *3 * [Action.POP], *JUMPS)
    assert f"{answers.cost(lens, tip):,.0f}" != "0" and steps(lambda: answers.cost(lens, tip)) < 50
    assert len(answers.judged(lens, tip).costliest_tenth(tip)) >= LONG / 20 - 1


def test_the_layer_of_a_lens_costs_no_more_where_a_session_is_gone_on_with() -> None:
    play, view = with_prompts(unlike(LONG)), ScreenRenderer()
    through(play, DECIDED, layers.REACHABLE)
    data = codec.dump(play.session)
    resumed = started()
    resumed.session = codec.load(data, play.session.game.settings)
    game = replace(resumed.session.game, engine=play.session.game.engine, model=play.session.game.model)
    resumed.session = replace(
        resumed.session, game=game, options=replace(resumed.session.options, layer=layers.SURPRISAL)
    )
    resumed.session.game.prompt.tip.path()
    view.screen(resumed.session, 130, 40)
    while resumed.session.options.layer is not layers.REACHABLE:
        every_key_costs_little(resumed, view, Action.MORE_LAYERS)
    every_key_costs_little(resumed, view, *JUMPS)


WALKED = [
    *(Action.LAYER, Action.APPEND, Action.POP, Action.CURSOR_BACK, Action.CURSOR_FIRST, Action.CURSOR_TIP),
    *(Action.COPY, Action.DOWN, Action.TREE, Action.CLOSE, Action.PROMPTS, Action.CLOSE),
]


@pytest.mark.parametrize("length", [1_000, 10_000])
def test_a_long_prompt_that_is_walked_costs_no_more_than_a_short_one(length: int) -> None:
    """Keys, answers and frames, while most of its tokens have no numbers."""
    play, view = fake.walking("h" * length, lookahead=3), ScreenRenderer()
    play.take(Resized(30))
    view.screen(play.session, 130, 40)
    costs: list[int] = []

    def take(message: Message) -> None:
        costs.append(steps(lambda: play.take(message)))
        view.screen(play.session, 130, 40)  # lays out what is in sight
        assert frame(play, view, (130, 40)) < STEPS

    for key in WALKED:
        take(key)
        for request in play.asked[-2:]:
            for reply in islice(play.replies(request), 3):
                take(heard(play.session, reply))
        play.asked.clear()
    assert not play.session.game.prompt.tip.whole
    assert max(costs) < 8_000, costs


def strictly(trunk: Node, tokens: list[int], chance: random.Random) -> Node:
    """A path longer by these tokens, all of it computed strictly and visited."""
    node = trunk
    answers = [fake.distribution([seed], 3) for seed in range(5)]
    for token in tokens:
        node = node.child(token)
        node.attach_strict(chance.choice(answers))
        if node.depth > 1:
            node.attach_strict_taken(TokenLogprob(-5 * chance.random(), 2))
    node.visit()
    return node


def versus_costs_little(play: Play, view: ScreenRenderer, *keys: Action) -> None:
    """The same as `every_key_costs_little`, with what is compared behind the keys."""
    for key in keys:
        assert steps(lambda key=key: play.take(key)) < 3500, key  # type: ignore[misc]
        view.screen(play.session, 130, 40)
        assert frame(play, view, (130, 40)) < 2 * STEPS, key
        while play.session.under_way.comparing:
            assert steps(lambda: play.take(CompareFurther())) < 14_000, key


def test_comparing_costs_no_more_in_a_long_prompt() -> None:
    """One token in the middle is another one; all was computed strictly."""
    chance = random.Random(SEED)
    root, rest = Node(None, -1), [chance.randrange(fake.VOCAB) for _ in range(LONG)]
    trunk = strictly(root, [chance.randrange(fake.VOCAB) for _ in range(LONG)], chance)
    a, b = (strictly(trunk, [token, *rest], chance) for token in (1, 2))
    play, view = with_prompts(a, b), ScreenRenderer()
    a.path()
    view.screen(play.session, 130, 40)
    versus_costs_little(play, view, Action.VERSUS)
    there = play.session.game.comparison
    assert there and len(there.deltas) == LONG == there.shared(a), "all of it was looked at"
    versus_costs_little(play, view, *JUMPS, *JUMPS, Action.FLIP, Action.FLIP, Action.CURSOR_FAR_BACK, Action.CLOSE)
    versus_costs_little(play, view, *3 * [Action.POP], *3 * [Action.APPEND], *3 * [Action.POP], Action.NEXT_SURPRISAL)
    versus_costs_little(play, view, Action.VERSUS, Action.VERSUS, Action.MORE_LAYERS)


# --- answers


@pytest.mark.parametrize("size", SIZES)
def test_thousands_of_answers_cost_by_those_that_are_seen(size: tuple[int, int]) -> None:
    """Also where they are sorted anew, or grouped, as more were found."""
    play, view = started("hello", stop=AfterTokens(2), budget=Budget(10_000, 0.0, 1.0)), ScreenRenderer()
    play.press(Action.ANSWERS)
    fan = play.session.game.results.fans[-1]
    assert fan.out.answers > 2000
    view.screen(play.session, *size)
    for key in (Action.DOWN, Action.BOTTOM, Action.UP, Action.PAGE_UP, Action.TOP):
        assert steps(lambda key=key: play.take(key)) < 2500, key  # type: ignore[misc]
        assert frame(play, view, size) < STEPS
    for key in (Action.SORT, Action.GROUP, Action.GROUP):
        play.take(key)
        assert frame(play, view, size) < 1.5 * STEPS, key
        assert frame(play, view, size) < STEPS, key


@pytest.mark.thorough
@pytest.mark.parametrize("size", few([(size,) for size in SIZES], of=2))
def test_critical_tokens_of_a_long_text_cost_by_those_that_are_seen(size: tuple[int, int]) -> None:
    """Its places are looked at in parts, and so is what is gone on from them."""
    play, view = (
        started("hello " * 1000, stop=AfterTokens(2), budget=Budget(1), critical=64, critical_tokens=40),
        ScreenRenderer(),
    )
    play.press(Action.ANSWERS)
    view.screen(play.session, *size)
    assert steps(lambda: play.take(Action.CRITICAL)) < STEPS
    play.answer().press(Action.LEAD, Typed("nowhere"))
    assert steps(lambda: play.take(Action.ENTER)) < STEPS
    parts = 0
    while play.asked or play.fanning:
        if play.fanning:
            assert steps(lambda: play.take(SearchFurther())) < STEPS
        else:
            (reply,) = play.replies(play.asked.pop(0))
            assert steps(lambda reply=reply: play.take(reply)) < STEPS  # type: ignore[misc]
        parts += 1
        if parts % 200 == 0:
            frame(play, view, size)
            assert frame(play, view, size) < STEPS
    assert parts > 1000 and len(play.session.game.results.criticals[-1].trials) == 64
    for key in (Action.DOWN, Action.BOTTOM, Action.UP, Action.TOP):
        assert steps(lambda key=key: play.take(key)) < 2500, key  # type: ignore[misc]
        # The prompt is shown at another place: two blocks of its text are wrapped, however long it is.
        assert frame(play, view, size) < 4 * STEPS, key
        assert frame(play, view, size) < STEPS, key


def test_what_comes_is_looked_at_in_parts() -> None:
    play = started("hello", stop=AfterTokens(2), budget=Budget(10_000, 0.0, 1.0))
    play.press(Action.ANSWERS)  # all of it is in the tree now
    play.take(Action.STOP_TEXT)
    for char in "3 tokens":
        play.take(Typed(char))
    assert steps(lambda: play.take(Action.ENTER)) < STEPS
    pieces = 0
    while play.fanning:
        assert steps(lambda: play.take(SearchFurther())) < STEPS
        pieces += 1
    assert pieces
