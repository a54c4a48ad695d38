"""Comparing two prompts: which tokens, by how much, and what is asked of the engine."""

import math
import random
import re
import time
from dataclasses import replace
from itertools import count

import pytest

from tests import fake
from tests.fake import Fast, Play, on, started
from tests.sampling import few
from tokex_gguf.engine.protocol import (
    Compare,
    Continue,
    EngineDied,
    Evaluate,
    EvaluateStrictly,
    Failed,
    MeasureNoise,
    Reply,
    Request,
)
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Sampling
from tokex_gguf.play.messages import Align, Aligned, CompareFurther, Go, Message, Typed
from tokex_gguf.play.rules import chain
from tokex_gguf.play.rules.versus import follow
from tokex_gguf.play.session import Session
from tokex_gguf.play.table import table
from tokex_gguf.play.versus import ALONE, AgainstPrompt
from tokex_gguf.sessions.codec import dump, load
from tokex_gguf.ui.cells import cells_of
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.ui.second_line import second_line
from tokex_gguf.ui.status import AssistantTurns, status
from tokex_gguf.ui.table import table_lines
from tokex_gguf.ui.versus import _first_tokens
from tokex_gguf.values.alignment import aligned
from tokex_gguf.values.comparison import Comparisons, PathComparison
from tokex_gguf.values.formatting import number
from tokex_gguf.values.layers import DELTA, ENTROPY, PLAIN, PROBABILITY
from tokex_gguf.values.samplers import Chain, Kind, Sampler

A, B = "say yes or no: it was good, so", "tell yes or no: it was good, so"


def opened(play: Play, text: str) -> Play:
    """The same game with a text as one more prompt."""
    return play.press(Action.PROMPTS, Action.NEW, Typed(text), Action.ENTER)


def two(a: str = A, b: str = B) -> Play:
    """Two prompts, of which `a` is the active one."""
    return opened(started(b), a)


def compared(a: str = A, b: str = B) -> Play:
    return two(a, b).press(Action.VERSUS)


def comparison(play: Play) -> PathComparison:
    found = play.session.game.comparison
    assert isinstance(found, PathComparison)
    return found


def bits(path: list[int], other: list[int]) -> float:
    """By how many bits the last token of one path is likelier than the same one of another."""
    return (fake.logprobs(path[:-1])[path[-1]] - fake.logprobs(other[:-1])[other[-1]]) / math.log(2)


def plain(a: list[int], b: list[int], tip: list[int]) -> dict[int, float]:
    """The same of each token that two paths share behind what they begin with; `tip` is where A ends now."""
    alignment = aligned(a, b)
    common = next((index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    found = {}
    for position in range(common, min(len(tip), len(a))):
        if (partner := alignment.partner(position)) is not None and position and partner:
            found[position + 1] = bits(tip[: position + 1], b[: partner + 1])
    for position in range(len(a), len(tip)):
        found[position + 1] = bits(tip[: position + 1], [*b, *tip[len(a) : position + 1]])
    return found


def check(play: Play) -> None:
    """All that is compared is what plain arithmetic gives."""
    versus, there = play.session.game.versus, comparison(play)
    assert isinstance(versus, AgainstPrompt)
    tip = play.session.game.prompt.tip
    wanted = plain(versus.end_of_a(tip).path(), versus.b.path(), tip.path())
    assert there.shared(tip) - len(wanted) in (0, 1), "a first token has no numbers"
    assert len(there.deltas) == len(wanted)
    for depth, value in wanted.items():
        told = there.deltas.bits(depth)
        assert told is not None and math.isclose(told, value, abs_tol=1e-12)
        assert there.delta(tip.ancestor(depth)) == told
    assert math.isclose(there.deltas.total, math.fsum(wanted.values()), abs_tol=1e-9)


def shown(play: Play, width: int = 130, height: int = 40) -> str:
    return "\n".join("".join(text for _, text in line) for line in ScreenRenderer().screen(play.session, width, height))


# --- what is compared


def test_two_prompts_are_compared_token_by_token() -> None:
    play = compared()
    check(play)
    assert play.session.options.layer is DELTA and play.session.notice.startswith("against prompt 1: n looks")
    drawn = shown(play.press(Action.PALETTE, Action.PALETTE, Action.PALETTE))
    assert f"A−B {comparison(play).deltas.total:+.2f}".replace("-", "−") in drawn
    assert "A prompt 2  B prompt 1" in drawn and "Δ bits" in drawn


def test_it_ends_with_the_same_key_and_the_layer_from_before_is_back() -> None:
    play = two().press(Action.LAYER, Action.VERSUS)
    assert play.session.options.layer is DELTA
    play.press(Action.VERSUS)
    assert play.session.options.layer is PROBABILITY and play.session.game.versus is ALONE
    play.press(Action.VERSUS, Action.LAYER, Action.LAYER, Action.VERSUS)
    assert play.session.options.layer is ENTROPY, "a layer that was chosen since stays"


def test_a_prompt_is_compared_with_what_it_was_made_from() -> None:
    play = opened(two(), "something else").press(Go(1), Action.CURSOR_FAR_BACK, Action.UP, Action.APPEND)
    assert len(play.session.game.prompts) == 4
    play.press(Action.VERSUS)
    versus = play.session.game.versus
    assert isinstance(versus, AgainstPrompt) and versus.b is play.session.game.prompts[1].tip
    check(play)


def test_an_edit_in_the_middle_is_compared_with_what_it_was_made_of() -> None:
    play = started(A).press(*[Action.CURSOR_FAR_BACK] * 2, Action.UP, Action.REPLACE, Action.VERSUS)
    before, after = (prompt.tip for prompt in play.session.game.prompts)
    versus, depth = play.session.game.versus, before.common(after)
    assert isinstance(versus, AgainstPrompt) and (versus.a, versus.b) == (after, before)
    check(play)
    there = comparison(play)
    assert there.shared(after) == after.depth - depth - 1 and there.unshared(after) == (1, 1)
    play.press(Action.CURSOR_FAR_BACK, Action.UP, Action.REPLACE)  # another one: still compared with the first
    changed = play.session.game.versus
    assert isinstance(changed, AgainstPrompt) and changed.b is before
    check(play)


def test_where_no_prompt_is_the_one_to_compare_with_the_list_lets_one_be_chosen() -> None:
    play = opened(two(), "something else").press(Action.VERSUS)
    assert on(play.session, screens.Prompts).row == 1
    play.press(Action.UP, Action.VERSUS)
    versus = play.session.game.versus
    assert isinstance(versus, AgainstPrompt) and versus.b is play.session.game.prompts[0].tip
    assert play.session.screen == screens.PLAY
    check(play)
    play.press(Action.PROMPTS, Action.UP, Action.VERSUS)  # another one, while one is compared
    changed = play.session.game.versus
    assert isinstance(changed, AgainstPrompt) and changed.b is play.session.game.prompts[1].tip
    assert changed.before is PLAIN
    check(play)


def test_one_prompt_alone_has_nothing_to_be_compared_with() -> None:
    play = started().press(Action.VERSUS)
    assert play.session.game.versus is ALONE and "d copies it" in play.session.notice
    for key in (Action.FLIP, Action.SWAP):
        assert "v compares" in play.press(key).session.notice


@pytest.mark.parametrize("text", ["a", "hello", A])
def test_a_prompt_against_itself_is_zero_exactly(text: str) -> None:
    play = started(text).press(Action.COPY, Action.VERSUS)
    tip = play.session.game.prompt.tip
    assert "the same so far" in play.session.notice
    there = comparison(play)
    assert [there.delta(node) for node in tip.nodes()] == [0.0] * tip.depth
    difference = play.session.difference
    assert difference and difference.kl_bits == 0.0 and not difference.flip
    assert all(row.delta_bits == 0.0 and row.moved == 0 for row in difference.rows)
    play.press(Action.APPEND, Action.APPEND)
    assert there.deltas.total == 0.0 and comparison(play).delta(play.session.game.prompt.tip) == 0.0


def test_prompts_that_share_nothing_say_so() -> None:
    play = compared("aaaa", "bbbb")
    there = comparison(play)
    assert there.shared(play.session.game.prompt.tip) == 0 and len(there.deltas) == 0
    assert there.unshared(play.session.game.prompt.tip) == (4, 4)
    play.press(Action.NEXT_SURPRISAL)
    assert "no token" in play.session.notice
    assert play.session.difference, "what comes next is compared all the same"
    play.press(Action.CURSOR_BACK)
    assert "B lacks this token" in shown(play)


def test_what_a_appends_is_compared_as_if_b_went_on_with_it() -> None:
    play = compared().press(Action.DOWN, Action.APPEND, Action.APPEND)
    check(play)
    play.press(Action.POP)
    check(play)
    play.press(Action.DOWN, Action.APPEND)
    check(play)
    play.press(*[Action.POP] * 6)
    check(play)
    play.press(*[Action.UNDO] * 6)
    check(play)
    versus = play.session.game.versus
    assert isinstance(versus, AgainstPrompt) and versus.b is play.session.game.prompts[0].tip


def test_a_prompt_that_is_popped_and_gone_on_with_is_compared_as_it_stands() -> None:
    """As if `v` were pressed afterwards, whatever A was when the comparison began."""
    keys = [Action.POP] * 3 + [Action.UP, Action.APPEND, Action.APPEND, Action.DOWN, Action.APPEND, Action.POP]
    for length in range(2, len(keys) + 1):
        early = started(A).press(Action.COPY, Action.VERSUS, *keys[:length])
        later = started(A).press(Action.COPY, *keys[:length], Action.VERSUS)
        check(early)
        assert "the same" not in shown(early)
        one, other = (
            (
                comparison(play).deltas.total,
                comparison(play).unshared(play.session.game.prompt.tip),
                play.session.difference,
                re.search(r"tokens: .*?−\d+ tokens", shown(play)),
            )
            for play in (early, later)
        )
        assert one[:3] == other[:3] and one[3] and other[3] and one[3][0] == other[3][0], length


def test_another_way_from_inside_the_prompt_is_aligned_anew() -> None:
    play = compared().press(*[Action.POP] * 5, Action.UP, Action.APPEND, Action.APPEND)
    check(play)
    play.press(Action.CURSOR_FAR_BACK, Action.UP, Action.APPEND)
    check(play)


def test_going_to_b_turns_the_two_round() -> None:
    play = compared()
    total = comparison(play).deltas.total
    play.press(Action.NEXT)
    versus = play.session.game.versus
    assert isinstance(versus, AgainstPrompt)
    assert versus.a is play.session.game.prompts[0].tip and versus.b is play.session.game.prompts[1].tip
    assert comparison(play).deltas.total == -total
    play.press(Action.NEXT)
    assert comparison(play).deltas.total == total


def test_swap_goes_to_the_same_place_of_b() -> None:
    play = compared().press(Action.CURSOR_FAR_BACK)
    before = play.session.game.prompt
    assert before.cursor
    play.press(Action.SWAP)
    after = play.session.game.prompt
    assert play.session.game.active == 0 and after.cursor and after.cursor.token == before.cursor.token
    assert after.tip.depth - after.cursor.depth == before.tip.depth - before.cursor.depth
    assert play.press(Action.SWAP).session.game.prompt.cursor is before.cursor


def test_swap_goes_to_the_end_of_b_from_as_end() -> None:
    play = compared().press(Action.CURSOR_FAR_BACK, Action.SWAP, Action.CURSOR_TIP)
    assert play.session.game.prompt.cursor is None
    assert play.press(Action.SWAP).session.game.prompt.cursor is None


def test_swap_goes_to_and_fro_between_a_prompt_and_its_copy() -> None:
    play = started(A).press(Action.COPY, Action.VERSUS, Action.SWAP)
    assert play.session.game.active == 0
    assert play.press(Action.SWAP).session.game.active == 1


@pytest.mark.parametrize("key", [Action.SWAP, Action.NEXT])
def test_what_was_appended_stays_behind_the_end_when_the_two_are_swapped(key: Action) -> None:
    play = compared()
    versus, total = play.session.game.versus, comparison(play).deltas.total
    assert isinstance(versus, AgainstPrompt)
    play.press(Action.DOWN, Action.APPEND, Action.APPEND)
    tip, with_two = play.session.game.prompt.tip, comparison(play).deltas.total
    play.press(key)
    assert play.session.game.versus == AgainstPrompt(versus.b, versus.a, versus.before)
    assert play.session.game.prompt.tip is versus.b and comparison(play).deltas.total == -total
    assert "B prompt 2 up to token 30" in shown(play)
    if key is Action.SWAP:
        assert play.session.notice == "prompt 2 has 2 tokens more, which you appended to it alone"
    check(play)
    play.press(key)
    assert play.session.game.versus == versus
    assert play.session.game.prompt.tip is tip and comparison(play).deltas.total == with_two


def test_each_of_two_prompts_has_what_was_appended_to_it() -> None:
    play = compared().press(Action.APPEND, Action.SWAP, Action.DOWN, Action.APPEND)
    tips = [prompt.tip for prompt in play.session.game.prompts]
    check(play)
    play.press(Action.SWAP)
    assert play.session.notice == "prompt 1 has 1 token more, which you appended to it alone"
    check(play)
    play.press(Action.CURSOR_BACK, Action.SWAP)
    assert play.session.game.active == 0 and play.session.game.prompt.cursor is None, "B lacks the place"
    assert play.session.notice == "prompt 2 has 1 token more, which you appended to it alone"
    assert [prompt.tip for prompt in play.session.game.prompts] == tips
    play.press(Action.POP, Action.UP, Action.APPEND, Action.CURSOR_BACK, Action.SWAP)  # the same token as A has
    prompt = play.session.game.prompt
    assert prompt.cursor is prompt.tip is tips[1]
    check(play)


def test_b_that_is_a_with_more_tokens_is_swapped_with_as_it_is() -> None:
    play = started(A).press(Action.COPY, Action.APPEND, Action.APPEND, Action.VERSUS)
    versus = play.session.game.versus
    assert isinstance(versus, AgainstPrompt) and versus.a.descends_from(versus.b)
    play.press(Action.APPEND)
    tips = [prompt.tip for prompt in play.session.game.prompts]
    for _ in range(2):
        play.press(Action.SWAP)
        assert play.session.game.versus == AgainstPrompt(versus.b, versus.a, versus.before)
        assert play.session.game.active == 0
        check(play)
        play.press(Action.SWAP)
        assert play.session.game.versus == versus and play.session.game.active == 1
        check(play)
    assert [prompt.tip for prompt in play.session.game.prompts] == tips


@pytest.mark.parametrize("seed", few(range(20), of=4))
def test_swapping_changes_no_prompt_and_swapping_twice_changes_nothing(seed: int) -> None:
    random_ = random.Random(seed)
    print(f"seed {seed}")
    play = opened(compared(), random_.choice([A, "say yes or no", "tell no"])).press(Go(1))
    keys = [Action.APPEND, Action.POP, Action.DOWN, Action.CURSOR_BACK, Action.CURSOR_TIP, Action.SWAP, Action.NEXT]
    for key in random_.choices([*keys, Action.COPY, Action.UNDO], k=25):
        play.press(key)
        if play.session.game.versus is ALONE:
            play.press(Action.VERSUS)
            if play.session.game.versus is ALONE:
                play.press(Action.VERSUS)
        check(play)
        before = play.session.game
        play.press(Action.SWAP)
        prompts = play.session.game.prompts
        if len(prompts) > len(before.prompts):
            continue  # B had no prompt
        assert [prompt.tip for prompt in prompts] == [prompt.tip for prompt in before.prompts]
        assert isinstance(before.versus, AgainstPrompt)
        if before.prompt.tip.descends_from(before.versus.a) and play.session.game.active != before.active:
            assert play.session.game.versus == AgainstPrompt(before.versus.b, before.versus.a, before.versus.before)
        check(play)
        play.press(Action.SWAP)
        if before.prompt.tip is before.versus.a:
            assert play.session.game.versus == before.versus


def test_b_stays_what_it_was_when_its_prompt_is_gone() -> None:
    play = compared()
    total = comparison(play).deltas.total
    play.press(Action.PROMPTS, Action.TOP, Action.REMOVE, Action.REMOVE, Action.CLOSE)
    assert len(play.session.game.prompts) == 1
    check(play)
    assert comparison(play).deltas.total == total and "B a path of" in shown(play)
    play.press(Action.SWAP)
    assert len(play.session.game.prompts) == 2 and comparison(play).deltas.total == -total


def test_a_that_is_removed_where_bs_prompt_takes_its_number_is_b_then() -> None:
    play = opened(started(A), B).press(Action.PREVIOUS, Action.VERSUS)
    a, b = play.session.game.prompt.tip, play.session.game.prompts[1].tip
    play.press(Action.REMOVE)
    versus = play.session.game.versus
    assert play.session.game.prompt.tip is b
    assert isinstance(versus, AgainstPrompt) and (versus.a, versus.b) == (b, a)
    check(play)


@pytest.mark.parametrize("keys", [(Action.MOVE_UP,), (Action.UP, Action.UP, Action.REMOVE, Action.REMOVE)])
def test_another_number_of_the_prompt_changes_nothing_of_what_is_compared(keys: tuple[Action, ...]) -> None:
    play = opened(two(), "say no").press(Action.PREVIOUS, Action.PROMPTS, Action.MOVE_DOWN, Action.CLOSE)
    play.press(Action.VERSUS, Action.UP, Action.UP, Action.VERSUS)
    play.press(Action.POP, Action.POP)
    before, active = play.session.game.versus, play.session.game.active
    assert isinstance(before, AgainstPrompt) and before.a is not play.session.game.prompt.tip
    play.press(Action.PROMPTS, *keys, Action.CLOSE)
    assert play.session.game.active != active
    assert play.session.game.versus is before


def test_a_model_that_is_come_back_to_has_what_was_compared_with_it_as_it_was() -> None:
    """Whatever number the other model's prompt has."""
    play = compared().press(Action.POP)
    session, other = play.session, started(A).session.game
    assert session.game.active == 1 and other.active == 0
    there = follow(replace(session, game=other), session)
    assert there.game.versus is session.game.versus


def test_another_prompt_is_compared_with_b_as_well() -> None:
    play = opened(two(), "spell yes or no: it was good, so").press(Go(1), Action.VERSUS)
    on_list = play.session.on(screens.Prompts)
    assert on_list
    play.press(Action.TOP, Action.VERSUS, Go(2))
    versus = play.session.game.versus
    assert isinstance(versus, AgainstPrompt)
    assert versus.a is play.session.game.prompts[2].tip and versus.b is play.session.game.prompts[0].tip
    check(play)


# --- looking at it


def test_n_goes_to_the_greatest_change_and_then_to_the_next() -> None:
    play = compared()
    there = comparison(play)
    order = sorted(
        (depth for depth in range(1, 99) if there.deltas.bits(depth) is not None),
        key=lambda depth: (-abs(there.deltas.bits(depth) or 0), depth),
    )
    for place, depth in enumerate(order, 1):
        play.press(Action.NEXT_SURPRISAL)
        assert play.session.game.prompt.cursor and play.session.game.prompt.cursor.depth == depth
        assert f"{f'#{place}' if place > 1 else 'the greatest change'}; " in play.session.notice
    assert "this is the last" in play.press(Action.NEXT_SURPRISAL).session.notice
    play.press(Action.PREVIOUS_SURPRISAL)
    assert play.session.game.prompt.cursor and play.session.game.prompt.cursor.depth == order[-2]


def test_flips_are_gone_through_from_the_first() -> None:
    play = compared()
    tip, there = play.session.game.prompt.tip, comparison(play)
    flips = [
        node.depth
        for node in tip.nodes(there.common)
        if (other := there.partner(node)) and node.parent and other.parent
        if fake.ranked(node.parent.path())[0] != fake.ranked(other.parent.path())[0]
    ]
    assert len(flips) > 2
    for place, depth in enumerate(flips, 1):
        play.press(Action.FLIP)
        assert play.session.game.prompt.cursor and play.session.game.prompt.cursor.depth == depth
        assert play.session.notice.startswith(f"flip {place} of {len(flips)}: A ")
    play.press(Action.FLIP)
    assert "a flip at the end: A" in play.session.notice and play.session.game.prompt.cursor is None


def test_the_table_has_both_and_rows_are_chosen_as_ever() -> None:
    play = compared()
    tip, other = (prompt.tip for prompt in reversed(play.session.game.prompts))
    rows = table(play.session, play.session.game.prompt)
    both = {*fake.ranked(tip.path())[:30], *fake.ranked(other.path())[:30]}
    assert {row.token for row in rows} == both and [row.rank for row in rows] == sorted(row.rank for row in rows)
    difference = play.session.difference
    assert difference
    for row in difference.rows:
        assert math.isclose(row.delta_bits, bits([*tip.path(), row.token], [*other.path(), row.token]), abs_tol=1e-9)
    play.press(*[Action.DOWN] * 40)
    chosen = play.session.game.prompt.selected
    assert chosen == rows[40].token, "one that only B has among the likely ones"
    play.press(Action.APPEND)
    assert play.session.game.prompt.tip.token == chosen
    check(play)


def test_the_table_of_both_is_sorted_by_the_changes_and_back() -> None:
    play = compared().press(Action.ORDER)
    rows, difference = table(play.session, play.session.game.prompt), play.session.difference
    assert difference
    sizes = {row.token: abs(row.delta_bits) for row in difference.rows}
    told = [sizes[row.token] for row in rows]
    assert told == sorted(told, reverse=True) and "Δ ↓" in shown(play)
    play.press(Action.ORDER)
    assert [row.token for row in table(play.session, play.session.game.prompt)] == [
        row.token for row in difference.rows
    ]


def test_at_the_cursor_the_token_that_was_taken_has_both_numbers() -> None:
    play = compared().press(Action.NEXT_SURPRISAL)
    cursor = play.session.game.prompt.cursor
    assert cursor
    line = next(line for line in shown(play).splitlines() if "›" in line)
    delta = comparison(play).delta(cursor)
    assert delta is not None and f"{delta:+.2f}".replace("-", "−") in line


def test_a_token_beyond_both_tables_does_not_take_the_likely_ones_out_of_sight() -> None:
    play = compared("it was good, so", "it was bad, so")
    tip, difference = play.session.game.prompt.tip, play.session.difference
    assert difference
    last = max(row.a.rank for row in difference.rows)
    beyond = [token for token in fake.ranked(tip.path()) if token not in {row.token for row in difference.rows}]
    rank = {token: place for place, token in enumerate(fake.ranked(tip.path()), 1)}
    token = next(token for token in beyond if rank[token] < last)
    prompt = replace(play.session.game.prompt, popped=token, selected=token)
    play.session = replace(
        play.session, game=replace(play.session.game, prompts=(*play.session.game.prompts[:-1], prompt))
    )
    there = table(play.session, prompt)
    assert there[-1].token == token and there[-1].rank < max(row.rank for row in there), "it is the last one"
    lines = [line.partition("│")[2].split() for line in shown(play, 130, 24).splitlines()]
    ranks = [line[0] for line in lines if line and line[0].isdigit()]
    assert ranks[:3] == ["1", "2", "3"] and ranks[-1] == str(rank[token])


def test_where_they_part_each_says_the_same_of_what_either_took() -> None:
    play = compared("it was good, so", "it was bad, so")
    found = comparison(play)
    tip = play.session.game.prompt.tip
    node = tip.ancestor(found.common + 1)
    told = found.token_pair(node)
    assert found.partner(node) is None, "B lacks it"
    assert told and told.token == node.token and told.a == told.b == node.strict_taken
    assert found.delta(node) is None, "it is no token that both have"


@pytest.mark.parametrize(
    ("a", "b"),
    [("it was so good", "it was not so good"), ("it was not so good", "it was so good"), ("it was", "it was good")],
)
def test_where_they_part_the_table_is_of_the_places_that_the_delta_is_of(a: str, b: str) -> None:
    """Also where A lacks tokens that B has there, and behind A's end."""
    play = compared(a, b)
    found, tip = comparison(play), play.session.game.prompt.tip
    if b.startswith(a):
        play.press(Action.APPEND)
        tip = play.session.game.prompt.tip
    for node in tip.nodes(found.common):
        if (partner := found.partner(node)) is None or node.parent is None or partner.parent is None:
            continue
        play.press(Action.CURSOR_TIP, *[Action.CURSOR_BACK] * (tip.depth - node.depth + 1))
        assert play.session.game.prompt.cursor is node
        difference, told = play.session.difference, found.token_pair(node)
        of_a, of_b = (fake.logprobs(one.path()) for one in (node.parent, partner.parent))
        assert difference and math.isclose(difference.kl_bits, fake.difference(of_a, of_b, 3).kl_bits, abs_tol=1e-9)
        assert told and told.delta_bits == found.delta(node) == bits(node.path(), partner.path())


def test_where_they_part_nothing_is_said_of_b_before_the_two_are_aligned() -> None:
    play = compared("it was so good", "it was not so good")
    found, tip = comparison(play), play.session.game.prompt.tip
    before, node = tip.ancestor(found.common), tip.ancestor(found.common + 1)
    alignment, found.alignment = found.alignment, None
    assert found.place(before, node) is found.token_pair(node) is None and not found.rows(before, node)
    found.alignment = alignment
    assert found.place(before, node) is not before and found.rows(before, node)


# --- what is asked


def strictly(play: Play) -> list[EvaluateStrictly]:
    """Answers everything; returns the strict evaluations that were asked for."""
    found = []
    while play.asked or play.session.under_way.comparing:
        if play.session.under_way.comparing:
            play.take(CompareFurther())
            continue
        request = play.asked.pop(0)
        if isinstance(request, EvaluateStrictly):
            found.append(request)
        for reply in play.replies(request):
            play.take(reply)
    return found


def lax(play: Play) -> Play:
    """The game when nothing of it was computed strictly."""
    for node in play.session.game.known.root.nodes():
        node.strict = node.strict_taken = None
    for prompt in play.session.game.prompts:
        for node in prompt.tip.nodes():
            node.strict = node.strict_taken = None
    return play


def test_only_what_comes_behind_the_common_beginning_is_asked_for_and_each_once() -> None:
    beginning = "the same beginning of both " * 3
    play = lax(two(f"{beginning}x and an end", f"{beginning}yz and an end"))
    play.take(Action.VERSUS)
    a, b = (prompt.tip for prompt in reversed(play.session.game.prompts))
    asked = strictly(play)
    assert [(one.path, one.start) for one in asked] == [
        (a.path(), a.common(b) - 1),
        (b.path(), a.common(b) - 1),
    ]
    check(play)
    play.press(Action.VERSUS)
    play.take(Action.VERSUS)
    assert not strictly(play), "what is there is not asked for again"
    play.press(Action.NEXT, Action.NEXT, Action.CURSOR_BACK, Action.CURSOR_TIP)
    play.take(Action.APPEND)
    assert [len(one.path) - one.start for one in strictly(play)] == [1, 1]


def test_of_a_path_whose_end_is_strict_already_only_what_comes_before_that_is_asked_for() -> None:
    text = "a text that has no numbers of this kind before it is compared"
    play = lax(two(f"{text[:40]}X{text[41:]}", text)).press(Action.VERSUS, Action.VERSUS)
    tip = play.session.game.prompts[0].tip
    told = next(node.depth for node in tip.nodes(20) if node.strict and node.strict_taken)
    assert 40 <= told < tip.depth
    opened(play, f"{text[:20]}Y{text[21:]}")
    play.take(Action.VERSUS)
    play.press(Action.TOP)
    play.take(Action.VERSUS)
    (asked,) = strictly(play)
    assert asked.path == tip.path()[: told - 1] and 18 <= asked.start <= 20
    check(play)
    assert not strictly(play)


def test_numbers_that_are_strict_already_are_compared_with_the_key() -> None:
    play = two()
    play.take(Action.VERSUS)
    while play.session.under_way.comparing:
        play.take(CompareFurther())
    assert not any(isinstance(request, EvaluateStrictly) for request in play.asked)
    check(play)
    assert [type(request) for request in play.asked] == [Compare]


def test_what_a_key_asks_for_goes_first_and_what_is_compared_afterwards() -> None:
    play = lax(two())
    play.take(Action.VERSUS)
    assert isinstance(play.asked[-1], EvaluateStrictly)
    play.asked.clear()  # the engine gives it up for the key
    play.take(Action.APPEND)
    assert [type(request) for request in play.asked] == [Evaluate]
    play.answer()
    check(play)


def test_parts_of_an_answer_are_kept_and_not_asked_for_again() -> None:
    play = lax(two())
    play.take(Action.VERSUS)
    (request,) = play.asked
    assert isinstance(request, EvaluateStrictly)
    middle = request.start + 5
    play.asked.clear()
    play.take(fake.evaluated(request, request.start, middle))
    play.take(Action.APPEND)
    play.take(fake.evaluated(play.asked.pop(0)))  # type: ignore[arg-type]
    asked = strictly(play)
    assert asked[0].start == middle
    check(play)


def test_what_the_engine_refuses_is_not_asked_for_again() -> None:
    play = lax(two())
    play.take(Action.VERSUS)
    for _ in range(6):
        if not play.asked:
            break
        play.take(Failed(play.asked.pop(0).request, "too long"))  # type: ignore[union-attr]
    assert not play.asked and play.session.notice == "too long"
    assert "the engine refused this: it is not compared" in shown(play) and "being computed" not in shown(play)
    play.press(Action.CURSOR_BACK, Action.CURSOR_TIP)
    assert len(comparison(play).deltas) == 0


def test_the_noise_is_asked_for_once_and_what_is_within_it_is_grey() -> None:
    play = two()
    play.noise = 99.0
    play.take(Action.VERSUS)
    seen: list[Request] = []
    while play.asked or play.session.under_way.comparing:
        if play.session.under_way.comparing:
            play.take(CompareFurther())
            continue
        seen.append(play.asked.pop(0))
        for reply in play.replies(seen[-1]):
            play.take(reply)
    assert sum(isinstance(request, MeasureNoise) for request in seen) == 1
    tip = play.session.game.prompt.tip
    values = {play.session.layer_value(node) for node in tip.nodes()} - {None}
    assert values == {0.5}
    play.press(Action.VERSUS)
    play.take(Action.VERSUS)
    assert not any(isinstance(request, MeasureNoise) for request in play.asked)


def test_a_place_that_is_looked_at_does_not_wait_for_the_noise() -> None:
    play = two()
    play.take(Action.VERSUS)
    while not any(isinstance(request, MeasureNoise) for request in play.asked):
        if play.session.under_way.comparing:
            play.take(CompareFurther())
            continue
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    play.take(Action.CURSOR_BACK)
    assert isinstance(play.asked[-1], Compare), "it is asked for while the noise is measured, which that ends"
    for reply in play.replies(play.asked.pop()):
        play.take(reply)
    assert sum(isinstance(request, MeasureNoise) for request in play.asked) == 2, "it is measured again"


def test_over_a_server_nothing_is_compared_and_why_is_told() -> None:
    play = fake.served("hello world").press(Action.COPY, Action.POP, Action.VERSUS)
    assert play.session.game.versus is ALONE
    assert "numbers depend on what it did before" in play.session.notice


def test_long_paths_are_aligned_beside() -> None:
    chance = random.Random(3)
    a, b = ("".join(chance.choice("abcdefgh ") for _ in range(400)) for _ in range(2))
    play = two(a, b)
    play.take(Action.VERSUS)
    while play.session.under_way.comparing:
        play.take(CompareFurther())
    asked = [effect for effect in play.effects if isinstance(effect, Align)]
    assert len(asked) == 1 and comparison(play).alignment is None
    tip = play.session.game.prompt.tip
    assert play.session.layer_value(tip) is None and "0 bits" not in shown(play)
    assert "A and B are being aligned" in shown(play) and "the same" not in shown(play)
    play.take(Action.NEXT_SURPRISAL)
    assert play.session.notice == "A and B are being aligned"
    play.take(Action.FLIP)
    assert "a flip at the end only" in play.session.notice and play.session.notice.endswith(", so far")
    play.take(Action.CURSOR_BACK)
    assert not any(isinstance(effect, Align) for effect in play.effects), "it is on its way"
    play.press(Action.CURSOR_TIP)
    check(play)


def test_an_alignment_of_a_pair_that_was_forgotten_meanwhile_is_asked_for_again() -> None:
    chance = random.Random(4)
    a, b = ("".join(chance.choice("abcdefgh ") for _ in range(400)) for _ in range(2))
    play = two(a, b)
    play.take(Action.VERSUS)
    while play.session.under_way.comparing:
        play.take(CompareFurther())
    (effect,) = play.aligning
    play.session = replace(
        play.session, game=replace(play.session.game, known=replace(play.session.game.known, compared=Comparisons()))
    )
    play.take(Aligned(effect.a, effect.b, aligned(effect.first, effect.second)))
    assert comparison(play).alignment is None
    play.aligning.clear()
    play.press(Action.CURSOR_BACK, Action.CURSOR_TIP)
    check(play)


def test_an_engine_that_dies_is_asked_again_after_its_restart() -> None:
    play = lax(two())
    play.take(Action.VERSUS)
    play.asked.clear()
    play.take(EngineDied("SIGSEGV"))
    assert isinstance(play.session.game.versus, AgainstPrompt)
    play.press(Action.RESTART)
    check(play)


# --- sessions


def test_what_is_compared_survives_a_restart() -> None:
    play = compared().press(Action.APPEND)
    total = comparison(play).deltas.total
    again = started()
    again.session = load(dump(play.session), play.session.game.settings)
    versus = again.session.game.versus
    assert isinstance(versus, AgainstPrompt) and versus.before is PLAIN and again.session.options.layer is DELTA
    again.session = replace(again.session, game=replace(again.session.game, engine=play.session.game.engine))
    again.press(Action.PALETTE)
    check(again)
    assert math.isclose(comparison(again).deltas.total, total)
    assert load(dump(started().session), play.session.game.settings).game.versus is ALONE


# --- whatever comes when


KEYS: tuple[Message, ...] = (
    *(Action.APPEND, Action.POP, Action.UP, Action.DOWN, Action.NEXT, Action.COPY, Action.REMOVE, Action.BRING_BACK),
    *(Action.CURSOR_BACK, Action.CURSOR_FAR_BACK, Action.CURSOR_TIP, Action.NEXT_SURPRISAL, Action.FLIP, Action.SWAP),
    *(Action.VERSUS, Action.UNDO, Action.REDO, Action.MORE_LAYERS, Action.AUTOPLAY, Go(0), Go(1)),
    *(Action.REPLACE, Action.DELETE_TOKEN, Action.ORDER, Go(2)),
)


@pytest.mark.parametrize("seed", range(6))
def test_answers_that_come_late_or_never_change_nothing_in_the_end(seed: int) -> None:
    chance = random.Random(seed)
    play = lax(two("abc defgh ijk lmn", "abx defgh iijk lmn"))
    late: list[list[Reply]] = []
    """Of each request; its parts come in their order."""
    play.press(Action.VERSUS)
    for step in count():
        if step >= 150:
            break
        play.take(chance.choice(KEYS))
        for _ in range(chance.randrange(3)):
            if play.session.under_way.comparing and chance.random() < 0.7:
                play.take(CompareFurther())
            elif play.aligning:
                effect = play.aligning.pop(0)
                play.take(Aligned(effect.a, effect.b, aligned(effect.first, effect.second)))
            elif play.asked:
                request = play.asked.pop(chance.randrange(len(play.asked)))
                number = getattr(request, "request", 0)
                ended = any(isinstance(one, Evaluate | Continue) and one.request > number for one in play.asked)
                if chance.random() < 0.5 and ended and not isinstance(request, Evaluate | Continue):
                    continue
                replies = list(play.replies(request))
                if isinstance(request, EvaluateStrictly) and len(request.path) - request.start > 3:
                    middle = chance.randrange(request.start + 1, len(request.path))
                    replies = [fake.evaluated(request, request.start, middle), fake.evaluated(request, middle)]
                if replies and chance.random() < 0.3:
                    late.append(replies)
                    continue
                for reply in replies:
                    play.take(reply)
        if late and chance.random() < 0.3:
            answer = late[chance.randrange(len(late))]
            play.take(answer.pop(0))
            late = [one for one in late if one]
    if play.session.game.pressed.autoplay:
        play.take(Action.CURSOR_TIP)
    for answer in late:
        for reply in answer:
            play.take(reply)
    play.answer()
    if play.session.screen != screens.PLAY:
        play.press(Action.CLOSE)
    if play.session.game.versus is ALONE:
        if len(play.session.game.prompts) == 1:
            play.press(Action.COPY)
        play.press(Action.VERSUS)
        if isinstance(play.session.screen, screens.Prompts):
            play.press(Action.VERSUS)
    play.press(Action.APPEND, Action.POP, Action.APPEND)
    play.answer()
    check(play)
    assert not play.asked


@pytest.mark.timed
def test_an_edit_in_the_middle_of_a_thousand_tokens_is_compared_as_it_is_evaluated() -> None:
    """From the engine's last answer to the frame with all differences: what is more than the evaluation itself."""
    chance = random.Random(1)
    text = "".join(chance.choice("abcdefghijklmnop") for _ in range(1000))
    play, view = two(f"{text[:500]}X{text[501:]}", text), ScreenRenderer()
    tip = play.session.game.prompt.tip
    replies = [
        replace(fake.evaluated(Evaluate(0, tip.path(), 499, 30), start, min(start + 48, 1000)), strict=True)
        for start in range(499, 1000, 48)
    ]
    took = []
    for _ in range(5):
        for node in tip.nodes(500):
            node.distribution = node.taken = node.strict = node.strict_taken = None
            node.whole = False
        play.session = replace(
            play.session,
            game=replace(
                play.session.game,
                versus=ALONE,
                known=replace(play.session.game.known, compared=Comparisons()),
                noise=0.0,
            ),
            options=replace(play.session.options, layer=PLAIN),
        )
        play.asked.clear()
        play.take(Action.VERSUS)
        play.take(Go(1 - play.session.game.active))
        play.take(Go(1 - play.session.game.active))
        (request,) = (one for one in play.asked if isinstance(one, Evaluate))
        began = 0.0
        for reply in replies:
            began = time.perf_counter()
            play.take(replace(reply, request=request.request))
        while play.session.under_way.comparing:
            play.take(CompareFurther())
        view.screen(play.session, 130, 40)
        took.append(time.perf_counter() - began)
        assert len(comparison(play).deltas) == 499
    assert min(took) < 0.05, took


def test_a_first_token_of_one_that_the_other_has_later_is_no_number_that_lacks() -> None:
    play = started("hello").press(Action.CURSOR_FIRST, Action.INSERT, Typed("X"), Action.ENTER)
    play.press(Action.CURSOR_TIP, Action.VERSUS)
    for _ in range(2):
        comparison = play.session.game.comparison
        assert comparison and len(comparison.deltas) == comparison.shared(play.session.game.prompt.tip) == 4
        play.press(Action.SWAP)


def test_bs_first_token_is_not_waited_for() -> None:
    play = compared("ab cd", "b cd").press(Action.CURSOR_FIRST, Action.CURSOR_ON)
    assert "B begins here: there is nothing to compare with" in shown(play)
    play.press(Action.CURSOR_ON)
    assert "KL here" in shown(play)
    play.press(Action.CURSOR_FIRST)
    assert "B begins" not in shown(play) and "being computed" not in shown(play)


def test_a_prompt_that_is_popped_to_what_both_begin_with_has_nothing_that_differs() -> None:
    play = started("hello").press(Action.COPY, Action.APPEND, Action.VERSUS, Action.POP, Action.POP)
    comparison = play.session.game.comparison
    assert comparison and comparison.shared(play.session.game.prompt.tip) == 0
    assert "−1 tokens" in shown(play) and "A and B are the same" not in shown(play)


@pytest.mark.parametrize("keys", [[Action.CURSOR_BACK] * 4, [Action.POP] * 3])
def test_text_that_is_typed_beside_what_is_compared_is_drawn(keys: list[Action]) -> None:
    play = started("hello world").press(Action.COPY, Action.CURSOR_BACK, Action.DELETE_TOKEN, Action.CURSOR_TIP)
    play.press(Action.VERSUS, *keys, Action.INPUT)
    for text in ("a", "b", "c"):
        play.press(Typed(text))
        screen = "\n".join("".join(part for _, part in line) for line in ScreenRenderer().screen(play.session, 130, 40))
        assert "cannot be drawn" not in screen and text in screen


# --- strict numbers alone


def told_of_a(session: Session) -> dict[int, tuple[str, str]]:
    """The rank and the probability of A in each row of the table of both, by the row's token."""
    head, *lines = ["".join(text for _, text in line) for line in table_lines(session, 64, 90)]
    if " A " not in f"{head[33:]} ":
        return {}
    rows = lines[: len(table(session, session.game.prompt.place))]
    return {ord(row[8]) - 0x30: (row[1:6].strip(), row[33:41].strip()) for row in rows}


def strictly_told(session: Session) -> None:
    """All numbers of A that stand beside those of B, and of its last token, are of strict answers, or not there."""
    prompt, place = session.game.prompt, session.game.prompt.place.tip
    path = place.path()
    for token, row in told_of_a(session).items():
        strict = str(fake.ranked(path).index(token) + 1), number(math.exp(fake.logprobs(path)[token]))
        assert row in (strict, ("", "")), f"{row} and not {strict}"
    line = "".join(text for _, text in second_line(replace(session, notice="", screen=screens.PLAY), 250))
    node = prompt.cursor or prompt.tip
    before = node.path()[:-1]
    if told := re.search(r" p ([^ ]+)  rank ([^ ]+)", line):
        strict = number(math.exp(fake.logprobs(before)[node.token])), str(fake.ranked(before).index(node.token) + 1)
        assert told.groups() == strict
    if told := re.search(r"entropy ([^ ]+) bits", line):
        assert told[1] == f"{fake.distribution(path, 1).entropy_bits:.2f}"


class Watched(Fast):
    """A game of two prompts, looked at after whatever is done and answered."""

    def take(self, message: Message | Reply | EngineDied) -> None:
        super().take(message)
        if self.session.game.prompts and self.session.game.comparison:
            strictly_told(self.session)


def fast() -> Play:
    """Two prompts of whose numbers none is strict."""
    return opened(Watched(B).answer(), A)


def test_before_strict_answers_the_table_of_both_has_no_numbers() -> None:
    play = fast()
    play.take(Action.VERSUS)
    told = told_of_a(play.session)
    assert len(told) >= 30 and set(told.values()) == {("", "")}
    assert "entropy" not in shown(play, 200) and "last token" not in shown(play, 200)
    assert "first ppl" in shown(play, 200), "of the first answers, and told apart"
    told = told_of_a(play.answer().session)
    assert all(rank and prob for rank, prob in told.values())
    play.session = replace(play.session, notice="")
    assert "entropy" in shown(play, 200) and "last token" in shown(play, 200)


def status_of(play: Play) -> str:
    """The status line."""
    return "".join(part for _, part in status(play.session, 200, AssistantTurns()))


@pytest.mark.parametrize("why", ["computed", "refused", "dead"])
def test_until_the_table_has_its_numbers_the_status_says_comparing(why: str) -> None:
    play = opened((WithoutRoom if why == "refused" else Fast)(B).answer(), A)
    assert "ready" in status_of(play)
    play.take(Action.VERSUS)
    assert "working  comparing" in status_of(play) and "ready" not in status_of(play)
    if why == "dead":
        play.asked.clear()
        play.take(EngineDied("SIGKILL"))
    play.answer()
    assert "comparing" not in status_of(play)
    assert why == "dead" or "ready" in status_of(play)
    if why == "computed":
        play.take(Action.APPEND)
        assert "ready" in status_of(play.answer())


@pytest.mark.parametrize("lookahead", [0, 4])
def test_the_status_is_ready_once_and_not_before_the_table_has_all_its_numbers(lookahead: int) -> None:
    play = opened(Fast(B, lookahead=lookahead).answer(), A).press(Action.VERSUS, Action.APPEND)
    play.take(Action.APPEND)
    states = [status_of(play)]
    while play.asked:
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
        states.append(status_of(play))
    ready = [bool(re.search(r"\bready\b", state)) for state in states]
    assert ready == sorted(ready) and ready[-1] and not ready[-2], states
    assert any("comparing" in state for state in states)


class WithoutRoom(Fast):
    """A game whose engine has no room for strict answers."""

    def reply(self, request: Request) -> Reply | None:
        if isinstance(request, EvaluateStrictly | Compare | MeasureNoise):
            return Failed(request.request, "no memory for strict answers")
        return super().reply(request)


@pytest.mark.parametrize("why", ["refused", "dead"])
def test_where_no_more_is_compared_the_status_has_no_dots(why: str) -> None:
    play = opened((WithoutRoom if why == "refused" else Fast)(B).answer(), A)
    play.take(Action.VERSUS)
    play.session = replace(play.session, notice="")
    assert re.search(r"… 0/\d+ compared", shown(play, 200))
    if why == "dead":
        play.asked.clear()
        play.take(EngineDied("SIGKILL"))
    play.answer()
    play.session = replace(play.session, notice="")
    assert re.search(r"0/\d+ compared", shown(play, 200)) and "… 0/" not in shown(play, 200)


def rows_of_both(session: Session) -> list[str]:
    """The head and the rows of the table, without marks."""
    return ["".join(text for _, text in line)[1:] for line in table_lines(session, 80, 20)[:16]]


def test_while_a_table_is_computed_the_dimmed_one_before_it_is_still_of_both() -> None:
    play = fast().press(Action.VERSUS)
    for _ in range(12):
        play.take(Action.DOWN)
    play.answer()
    before = rows_of_both(play.session)
    assert "moved" in before[0]
    play.take(Action.APPEND)
    assert play.asked and play.session.game.prompt.tip.distribution is None
    assert rows_of_both(play.session) == before
    assert all("class:dim" in style for line in table_lines(play.session, 80, 20)[1:16] for style, _ in line)


MOVES = [
    *(Action.APPEND, Action.POP, Action.UP, Action.DOWN, Action.BOTTOM, Action.TOP, Action.UNDO, Action.ORDER),
    *(Action.CURSOR_BACK, Action.CURSOR_FAR_BACK, Action.CURSOR_ON, Action.CURSOR_TIP, Action.NEXT_SURPRISAL),
    *(Action.FLIP, Action.SWAP, Action.NEXT, Action.LAYER, Action.CLOSE),
]


@pytest.mark.parametrize("seed", few(range(10), of=3))
def test_whatever_is_done_fast_and_strict_numbers_do_not_stand_beside_each_other(seed: int) -> None:
    play, rng = fast().press(Action.VERSUS), random.Random(seed)
    for _ in range(60):
        play.press(rng.choice(MOVES))
        told = told_of_a(play.session)
        assert all(rank and prob for rank, prob in told.values()), "all is told once all is answered"


def test_a_popped_token_that_is_unlikely_has_the_strict_numbers_of_both() -> None:
    play = fast()
    tip, other = (prompt.tip for prompt in reversed(play.session.game.prompts))
    rare = fake.ranked(tip.path())[45]
    name = fake.PIECES[rare].data.decode().strip()
    play.press(Action.SEARCH, Typed(name), Action.APPEND, Action.POP, Action.VERSUS)
    assert play.session.game.prompt.tip is tip and play.session.game.prompt.popped == rare
    line = next(line for line in shown(play, 160, 60).splitlines() if f" ␣{name} " in line[100:])
    a, b = (number(math.exp(fake.logprobs(one.path())[rare])) for one in (tip, other))
    assert f" 46 ␣{name} " in line and a in line and b in line
    play.press(Action.VERSUS, Action.VERSUS, Action.CURSOR_BACK, Action.CURSOR_TIP)
    play.take(Action.CURSOR_BACK)
    play.take(Action.CURSOR_TIP)
    assert not strictly(play), "nothing is asked twice"


def test_until_a_search_has_found_something_the_table_of_both_stays() -> None:
    play = fast().press(Action.POP, Action.VERSUS)
    before = told_of_a(play.session)
    play.take(Action.SEARCH)
    assert told_of_a(play.session) == before and before
    assert not told_of_a(play.answer().session), "what is found has a table of its own"


class Refusing(Watched):
    """Of what comes behind the first prompt's end, nothing is told strictly."""

    def reply(self, request: Request) -> Reply | None:
        if isinstance(request, EvaluateStrictly) and request.path[:-1] == fake.text_to_path(A):
            return Failed(request.request, "too long")
        return super().reply(request)


def test_strict_numbers_that_are_refused_are_left_out_and_not_asked_for_again() -> None:
    play = opened(Refusing(B).answer(), A)
    tip = play.session.game.prompt.tip
    rare = fake.ranked(tip.path())[45]
    play.press(Action.SEARCH, Typed(fake.PIECES[rare].data.decode().strip()), Action.APPEND, Action.POP, Action.VERSUS)
    told = told_of_a(play.session)
    assert told.pop(rare) == ("", "") and all(rank and prob for rank, prob in told.values())
    play.take(Action.CURSOR_BACK)
    play.take(Action.CURSOR_TIP)
    assert not any(one.path[-1] == rare for one in strictly(play))


def test_what_a_sampler_would_cut_is_judged_by_the_first_answer_also_while_something_is_compared() -> None:
    play = fast()
    play.session = replace(
        play.session,
        game=replace(play.session.game, sampling=Sampling(Chain((Sampler.of(Kind.TOP_K, 10),)), None, 1)),
    )
    play.press(Action.VERSUS, Action.SAMPLERS, Action.TOP)
    tip, distribution = play.session.game.prompt.tip, play.session.game.prompt.tip.distribution
    assert distribution and {*distribution.ids[:10]} != {*fake.ranked(tip.path())[:10]}
    for place, token in enumerate(distribution.ids):
        prompt = replace(play.session.game.prompt, selected=token)
        session = replace(play.session, game=replace(play.session.game, prompts=(prompt,), active=0))
        assert chain.cuts_alone(session) == (token, place >= 10)


@pytest.mark.parametrize("width", range(20, 70))
def test_both_first_tokens_of_a_flip_are_shown(width: int) -> None:
    text = "".join(part for _, part in _first_tokens("approximately", "␣a", width))
    assert cells_of(text) <= width or width < 24
    assert "A “appro" in text and ("B “␣a”" in text or width < 24)
    other = "".join(part for _, part in _first_tokens("␣a", "approximately", width))
    assert "A “␣a”" in other and "B “appro" in other
    assert ("approximately" in text) is (cells_of(": A “approximately”, B “␣a”") <= width)
