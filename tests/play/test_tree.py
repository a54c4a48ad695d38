"""The tree of all paths: its order, folding, finding, pruning."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import fake
from tests.fake import Play, on, started
from tests.sampling import few
from tokex_gguf.engine.protocol import EngineDied
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.messages import Go, Message, PointedAtRow, Typed
from tokex_gguf.play.rules import tree
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.outline import Order, lines, outline, shared
from tokex_gguf.values.tree import Node

ROOT = fake.text_to_path("hello")


def forked(count: int = 4) -> Play:
    """A game with so many paths that part at the prompt's end, in the order of the table; the last one is played."""
    play = started("hello")
    for index in range(count):
        if index:
            play.press(Action.POP, Action.POP, *[Action.DOWN])
        play.press(Action.APPEND, Action.APPEND)
    return play


def said(play: Play) -> list[str]:
    """The tree's lines as text, indented by their levels."""
    told = []
    for line in tree.tree_lines(play.session).lines:
        text = "".join(fake.PIECES[node.token].data.decode() for node in line.branch.nodes).strip()
        told.append("  " * line.level + ("├ " if line.indented else "") + text)
    return told


def selected(play: Play) -> list[int]:
    """The tokens of the selected line."""
    return [node.token for node in tree.selected(play.session).nodes]


def text_of(tokens: list[int]) -> str:
    return "".join(fake.PIECES[token].data.decode() for token in tokens).strip()


def screen(play: Play) -> str:
    return "\n".join("".join(part for _, part in line) for line in ScreenRenderer().screen(play.session, 100, 30))


def firsts() -> list[int]:
    """The likeliest tokens after the starting text."""
    return fake.ranked(ROOT)


def path(index: int) -> list[int]:
    """The tokens of one of the paths."""
    token = firsts()[index]
    return [token, fake.ranked([*ROOT, token])[0]]


# --- order


def test_the_way_played_last_goes_on_without_indent_and_the_others_hang_beside_it() -> None:
    play = forked(3).press(Action.TREE)
    assert said(play) == [
        text_of(ROOT),
        f"  ├ {text_of(path(0))}",
        f"  ├ {text_of(path(1))}",
        text_of(path(2)),
    ]
    play.press(Action.SORT)
    assert said(play)[1:] == [f"  ├ {text_of(path(index))}" for index in range(3)], "the likeliest at the top"
    assert "the likeliest first" in screen(play)
    play.press(Action.SORT)
    assert said(play)[-1] == text_of(path(2))
    play.press(Action.UP, Action.ENTER, Action.TREE)
    assert said(play)[-1] == text_of(path(1)), "where a prompt goes, it was there last"
    assert said(play)[1:3] == [f"  ├ {text_of(path(0))}", f"  ├ {text_of(path(2))}"]


def test_a_line_without_forks_is_one_line_however_long_and_forks_of_forks_are_indented() -> None:
    play = started("hello").press(*[Action.APPEND] * 40, Action.TREE)
    assert len(said(play)) == 1
    play.press(Action.CLOSE, *[Action.POP] * 20, Action.DOWN, Action.APPEND, *[Action.POP] * 11)
    play.press(Action.DOWN, Action.APPEND, Action.TREE)
    levels = [(line.level, line.indented) for line in tree.tree_lines(play.session).lines]
    assert levels == [(0, False), (1, True), (2, True), (1, False), (0, False)]
    drawn = [line[4:9] for line in screen(play).splitlines()[8:13]]
    assert [line[:2] for line in drawn[1:4]] == ["├ ", "│ ", "│ "] and drawn[2][2:4] == "├ "


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=12), st.data())
def test_every_visited_path_is_in_the_tree_once_and_the_last_visit_is_the_last_line(
    paths: list[list[int]], data: st.DataObject
) -> None:
    root = Node(None, -1)
    for one in paths:
        root.descend(one).visit()
    ends = [root.descend(one) for one in data.draw(st.lists(st.sampled_from(paths), max_size=3))]
    shown = lines(outline(root, ends), data.draw(st.sampled_from(Order)))
    tokens = [node for line in shown.lines for node in line.branch.nodes]
    assert len(tokens) == len(set(tokens)), "no token twice"
    assert {tuple(node.path()) for node in tokens} == {
        tuple(one[:length]) for one in paths for length in range(1, len(one) + 1)
    }
    assert all(end in {line.branch.end for line in shown.lines} for end in ends)
    above = {0: root}
    for line in shown.lines:  # what a reader does with the indents: it goes on from the last line of its level
        assert line.branch.first.parent is above[line.level - line.indented]
        above[line.level] = line.branch.end
    recent = lines(outline(root, ends), Order.RECENT).lines
    last = root.descend(paths[-1])
    assert recent[-1].branch.end.descends_from(last) or last.descends_from(recent[-1].branch.end)
    assert shown.row(last) == next(row for row, line in enumerate(shown.lines) if last in line.branch.nodes)


def test_the_parents_of_lines_stay_where_they_are_when_the_active_prompt_moves_on() -> None:
    play = forked(3).press(Action.APPEND, Action.TREE)
    assert selected(play) == [*path(2), fake.ranked([*ROOT, *path(2)])[0]]


# --- going through it


def test_left_folds_and_goes_up_and_right_unfolds_and_goes_on() -> None:
    play = forked(4).press(Action.TREE)
    assert selected(play) == path(3)
    play.press(Action.UNFOLD)
    assert play.session.notice == "nothing goes on from this line"
    play.press(Action.FOLD)
    assert selected(play) == ROOT and len(said(play)) == 5, "nothing can be folded there: the line before"
    play.press(Action.FOLD)
    assert said(play) == [text_of(ROOT)] and "▸ 4 paths" in screen(play)
    play.press(Action.FOLD)
    assert play.session.notice == "nothing comes before this line"
    play.press(Action.UNFOLD)
    assert len(said(play)) == 5 and selected(play) == ROOT
    play.press(Action.UNFOLD)
    assert selected(play) == path(3)


def test_what_is_folded_stays_so_but_for_the_way_to_the_prompt() -> None:
    play = started("hello").press(Action.APPEND, *[Action.APPEND] * 3, Action.POP, Action.DOWN, Action.APPEND)
    play.press(*[Action.POP] * 4, Action.DOWN, Action.APPEND, Action.TREE)  # a fork beside, with one in it
    play.press(Action.TOP, Action.DOWN, Action.FOLD)
    count = len(said(play))
    play.press(Action.CLOSE, Action.TREE)
    assert len(said(play)) == count and "▸ 2 paths" in screen(play)
    play.press(Action.UP, Action.ENTER, Action.TREE)
    assert len(said(play)) == count, "the prompt is at the end of the folded line"
    play.press(Action.UNFOLD, Action.BOTTOM, Action.ENTER, Action.TREE)
    assert not play.session.game.hidden.folded


def test_the_selected_line_stays_selected_when_lines_come_and_go() -> None:
    play = forked(5).press(Action.TREE, Action.UP, Action.UP)
    before = selected(play)
    play.press(Action.SORT)
    assert selected(play) == before
    play.press(PointedAtRow(1))
    assert selected(play) == path(0), "sorted by probability, the likeliest is the first"
    play.press(Action.FOLD, Action.UNFOLD)
    assert selected(play) == path(0), "→ leads to it"
    assert play.press(Action.TOP, Action.UP).session.notice == "this is the first line"
    assert play.press(Action.BOTTOM, Action.PAGE_DOWN).session.notice == "this is the last line"


# --- finding


def test_a_part_of_its_text_finds_a_line_also_where_it_is_folded_away() -> None:
    play = forked(30).press(Action.TREE, Action.FOLD, Action.FOLD)
    assert len(said(play)) == 1
    wanted = path(17)
    play.press(Action.FILTER)
    assert len(tree.found_lines(play.session)) == 31, "before anything is typed, all are there"
    play.press(Typed(text_of(wanted).lower()))
    found = [text_of([node.token for node in one.branch.nodes]) for one in tree.found_lines(play.session)]
    assert text_of(wanted) in found and len(found) < 4 and f"{len(found)} line" in screen(play)
    while selected(play) != wanted:
        play.press(Action.DOWN)
    play.press(Action.ENTER)
    assert play.session.game.prompt.tip.path() == [*ROOT, *wanted] and isinstance(play.session.screen, screens.Play)


def test_esc_leads_back_to_the_tree_with_the_found_line_in_sight() -> None:
    play = forked(30).press(Action.TREE, Action.FOLD, Action.FOLD, Action.FILTER, Typed(text_of(path(9))), Action.CLOSE)
    assert isinstance(play.session.screen, screens.TreeScreen) and selected(play) == path(9) and len(said(play)) == 31
    before = selected(play)
    play.press(Action.FILTER, Typed("no such text"))
    assert "no line has this text" in screen(play)
    assert play.press(Action.ENTER).session.notice == "no line has this text"
    play.press(Action.CLOSE)
    assert selected(play) == before
    play.press(Action.FILTER, Action.CLOSE)
    assert selected(play) == before


def test_a_text_is_found_across_the_place_where_paths_part() -> None:
    play = forked(3).press(Action.TREE, Action.FILTER, Typed(text_of([*ROOT[-2:], path(1)[0]])))
    ((branch, at),) = tree.found_lines(play.session)
    assert [node.token for node in branch.nodes] == path(1) and at < 0
    drawn = screen(play)
    assert text_of(path(1)) in drawn and "…" not in text_of(path(1))


def test_a_line_that_was_found_is_opened_as_a_prompt_of_its_own() -> None:
    play = forked(5).press(Action.TREE, Action.FILTER, Typed(text_of(path(3))))
    assert "^d open" in screen(play)
    before = play.session.game.prompt.tip
    play.press(Action.OPEN)
    assert [prompt.tip.path() for prompt in play.session.game.prompts] == [before.path(), [*ROOT, *path(3)]]
    assert play.session.game.active == 1 and isinstance(play.session.screen, screens.Play)
    play.press(Action.TREE, Action.FILTER, Typed("no such text"), Action.OPEN)
    assert play.session.notice == "no line has this text" and len(play.session.game.prompts) == 2


def test_what_stands_before_a_found_line_has_all_room_that_is_left() -> None:
    play = forked(3).press(Action.TREE, Action.FILTER, Typed(text_of(path(1))))
    for width in (60, 80, 200):
        (line,) = ["".join(part for _, part in line) for line in ScreenRenderer().screen(play.session, width, 24)[6:7]]
        assert f"{text_of([*ROOT, *path(1)]).strip()}" in line.replace("␣", " "), "nothing is cut where all fits"
    play = started("hello " * 60).press(Action.APPEND, Action.POP, Action.DOWN, Action.APPEND, Action.TREE)
    play.press(Action.FILTER, Typed(text_of(play.session.game.prompt.tip.path()[-1:])))
    lines = ["".join(part for _, part in line) for line in ScreenRenderer().screen(play.session, 80, 24)]
    (cut,) = [line for line in lines if "…" in line and "0." in line]
    assert len(cut[4 : 80 - 19].strip()) >= 80 - 4 - 19 - 2, "the line is full"


def test_what_was_found_is_marked_in_a_long_line() -> None:
    play = started("hello").press(*[Action.APPEND] * 300)
    tokens = play.session.game.prompt.tip.path()
    wanted = text_of(tokens[200:204])
    play.press(Action.TREE, Action.FILTER, Typed(wanted))
    assert len(tree.found_lines(play.session)) == 1
    for width in (60, 80, 200):
        marked = [
            part
            for line in ScreenRenderer().screen(play.session, width, 24)
            for style, part in line
            if "taken" in style
        ]
        assert marked == [wanted]


# --- pruning


def pruned() -> Play:
    """Four paths, the second one pruned."""
    play = forked(4).press(Action.TREE, Action.TOP, Action.DOWN, Action.DOWN)
    assert selected(play) == path(1)
    return play.press(Action.PRUNE, Action.PRUNE)


def test_a_line_is_pruned_at_the_second_press_and_comes_back() -> None:
    play = forked(4).press(Action.TREE, Action.TOP, Action.DOWN, Action.DOWN, Action.PRUNE)
    assert "a again prunes 1 path" in play.session.notice_line and len(said(play)) == 5
    play.press(Action.DOWN, Action.UP, Action.PRUNE)
    assert len(said(play)) == 5, "another key between them: it asks again"
    play.press(Action.PRUNE)
    assert text_of(path(1)) not in "".join(said(play)) and len(said(play)) == 4
    assert "A brings it back" in play.session.notice and "1 hidden" in screen(play)
    play.press(Action.GRAFT)
    assert len(said(play)) == 5 and selected(play) == path(1) and "1 path brought back" in play.session.notice
    assert play.press(Action.GRAFT).session.notice == "nothing is hidden in this tree"


def test_what_an_open_prompt_has_cannot_be_pruned() -> None:
    play = forked(3).press(Action.TREE, Action.UP, Action.OPEN, Action.PREVIOUS, Action.TREE, Action.TOP)
    play.press(Action.PRUNE, Action.PRUNE)
    assert play.session.notice == "prompt 1 is there: the line stays" and not play.session.game.hidden.pruned
    for _ in range(3):
        play.press(Action.DOWN, Action.PRUNE, Action.PRUNE)
    open_ones = [prompt.tip for prompt in play.session.game.prompts]
    assert len(play.session.game.hidden.pruned) == 1
    assert not any(tip.descends_from(node) for tip in open_ones for node in play.session.game.hidden.pruned)


def test_a_prompt_that_goes_there_brings_it_back() -> None:
    play = pruned()
    token = path(1)[0]
    play.press(Action.CLOSE, Action.POP, Action.POP)
    rows = [line for line in screen(play).splitlines() if f" {fake.PIECES[token].data.decode().strip()} " in line]
    assert "•" not in "".join(line.split("│")[-1] for line in rows if f" {token}" in line[-6:]), "no mark either"
    while play.session.game.prompt.selected != token:
        play.press(Action.DOWN if play.session.game.prompt.selected == firsts()[0] else Action.UP)
    play.press(Action.APPEND)
    assert not play.session.game.hidden.pruned
    play.press(Action.TREE)
    assert said(play)[-2:] == text_of(path(1)).split(), "with all that goes on from there"


def test_a_removed_prompt_that_comes_back_brings_its_line_back() -> None:
    play = forked(2).press(Action.TREE, Action.UP, Action.OPEN, Action.REMOVE, Action.TREE)
    play.press(Action.TOP, Action.DOWN, Action.PRUNE, Action.PRUNE)
    assert len(said(play)) == 1 and len(play.session.game.hidden.pruned) == 1
    play.press(Action.CLOSE, Action.BRING_BACK, Action.TREE)
    assert len(said(play)) == 3 and not play.session.game.hidden.pruned


def test_undoing_brings_the_line_of_any_prompt_back_and_not_only_of_the_active_one() -> None:
    play = forked(2).press(Action.TREE, Action.UP, Action.OPEN, Action.PREVIOUS)
    play.press(Action.PROMPTS, Action.DOWN, Action.REMOVE, Action.REMOVE, Action.CLOSE)
    assert len(play.session.game.prompts) == 1
    play.press(Action.TREE, Action.TOP, Action.DOWN, Action.PRUNE, Action.PRUNE, Action.CLOSE)
    assert len(play.session.game.hidden.pruned) == 1
    play.press(Action.UNDO)
    assert len(play.session.game.prompts) == 2 and play.session.game.active == 0
    assert not play.session.game.hidden.pruned, "an open prompt stands there"
    tips = {prompt.tip for prompt in play.session.game.prompts}
    assert tips <= {line.branch.end for line in tree.tree_lines(play.press(Action.TREE).session).lines}


def test_pruned_lines_come_back_one_after_the_other_the_latest_first() -> None:
    play = forked(5).press(Action.TREE, Action.TOP, Action.DOWN)
    for _ in range(3):
        play.press(Action.PRUNE, Action.PRUNE)
    assert len(said(play)) == 3
    for count in (4, 5, 6):
        play.press(Action.GRAFT)
        assert len(said(play)) == count
    assert not play.session.game.hidden.pruned


def test_what_is_pruned_is_not_found_and_costs_nothing_to_have_back() -> None:
    play = pruned()
    decoded = play.decoded
    play.press(Action.FILTER, Typed(text_of(path(1))))
    assert not any([node.token for node in one.branch.nodes] == path(1) for one in tree.found_lines(play.session))
    play.press(Action.CLOSE, Action.GRAFT, Action.ENTER)
    assert play.session.game.prompt.tip.path() == [*ROOT, *path(1)] and play.decoded == decoded


def test_an_engine_that_dies_while_a_path_is_looked_for_leaves_the_text_and_one_esc_leads_to_the_prompt() -> None:
    play = forked(3).press(Action.TREE, Action.FILTER, Typed("a"))
    play.take(EngineDied("SIGSEGV"))
    assert on(play.session, screens.TreeSearch).line.text == "a"
    play.press(Typed("b"), Action.CLOSE, Action.RESTART)
    assert play.session.game.engine is EngineStatus.READY and isinstance(play.session.screen, screens.Play)


@pytest.mark.parametrize("seed", few(range(6), of=3))
def test_whatever_is_pressed_in_the_tree_nothing_is_lost(seed: int) -> None:
    """At the end, everything that was ever visited is there or comes back."""
    chance, play = random.Random(seed), forked(6)
    keys: list[Message] = [
        *(Action.UP, Action.DOWN, Action.FOLD, Action.UNFOLD, Action.SORT, Action.PRUNE, Action.PRUNE, Action.GRAFT),
        *(
            Action.OPEN,
            Action.ENTER,
            Action.FILTER,
            Action.CLOSE,
            Action.TREE,
            Action.REMOVE,
            Action.BRING_BACK,
            Typed("5"),
        ),
        *(Action.TREE, Action.APPEND, Action.POP, Action.PAGE_UP, Action.TOP, Go(0), Action.PRUNE),
    ]
    ever: set[Node] = set()
    for _ in range(400):
        play.press(chance.choice(keys))
        tips = [prompt.tip for prompt in play.session.game.prompts]
        ever.update(node for tip in tips for node in tip.nodes())
        assert len(ScreenRenderer().screen(play.session, 80, 24)) == 24
        assert not any(tip.descends_from(node) for tip in tips for node in play.session.game.hidden.pruned), (
            f"seed {seed}"
        )
    play.press(Action.CLOSE, Action.CLOSE, Action.TREE)
    while play.session.game.hidden.pruned:
        play.press(Action.GRAFT)
    play.session = replace(
        play.session, game=replace(play.session.game, hidden=replace(play.session.game.hidden, folded=frozenset()))
    )
    shown = {node for line in tree.tree_lines(play.session).lines for node in line.branch.nodes}
    assert ever <= shown, f"seed {seed}"


# --- where paths leave each other


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=8))
def test_what_a_path_shares_with_another_is_what_comparing_all_finds(paths: list[list[int]]) -> None:
    root = Node(None, -1)
    tips = tuple(root.descend(one) for one in paths)
    assert shared(tips) == tuple(
        max((tip.common(other) for place, other in enumerate(tips) if place != index), default=0)
        for index, tip in enumerate(tips)
    )
