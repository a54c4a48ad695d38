"""The list of answers: what is asked for it, when, and what its keys do."""

import math
import os
import random
import re
from dataclasses import replace
from itertools import pairwise, product

import pytest

from tests import fake
from tests.fake import PIECES, VOCAB, Play, Served, on, screen_of, started
from tokex_gguf.engine.protocol import EngineDied, Evaluate, Failed, Lookahead, LookaheadDone, Request
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import hints
from tokex_gguf.play.fan import MAX_ANSWERS_READ, Fan, FanLine, FanState, Unmatched, in_order, read_on, rows, selected
from tokex_gguf.play.game import EngineStatus, Sampling
from tokex_gguf.play.messages import SearchFurther, Typed
from tokex_gguf.play.purposes import ForFanOut, ForVerdicts
from tokex_gguf.play.replies import WrongReply
from tokex_gguf.play.rules.fan_out import BATCH, PATHS_AHEAD
from tokex_gguf.sessions import codec
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.fan_out import Budget, FanOut
from tokex_gguf.values.layers import REACHABLE
from tokex_gguf.values.samplers import Chain, Kind, Sampler
from tokex_gguf.values.stops import AfterTokens, AtEnd, AtLine, AtSentence, AtText
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node

SEED = int(os.environ.get("FAN_OUT_SEED", "1"))
TWO = AfterTokens(2)


def fan(play: Play) -> Fan:
    return play.session.game.results.fans[-1]


def opened(text: str = "hello", tokens: int = 1000, coverage: float = 0.9, **settings: object) -> Play:
    """A game whose answers of two tokens are listed; what is asked for them is not answered."""
    play = started(text, stop=TWO, budget=Budget(tokens, 0.0, coverage), **settings)
    play.take(Action.ANSWERS)
    return play


def seen(play: Play, width: int = 130, height: int = 40) -> str:
    return "\n".join("".join(text for _, text in line) for line in ScreenRenderer().screen(play.session, width, height))


def saved(play: Play) -> int:
    """How many tokens a session has once it was saved and read again."""
    again = codec.load(codec.dump(play.session), play.session.game.settings)
    waiting, count = [again.game.known.root], 0
    while waiting:
        children = waiting.pop().children.values()
        count += len(children)
        waiting += children
    return count


def one_by_one(play: Play) -> list[Request]:
    """Answers the oldest request, and what is to be looked at then; returns what was asked for."""
    request = play.asked.pop(0)
    for reply in play.replies(request):
        play.take(reply)
    while play.fanning:
        play.take(SearchFurther())
    return [request]


def all_of_two(path: list[int]) -> dict[bytes, float]:
    """All answers of two tokens, and their probabilities."""
    first = fake.logprobs(path)
    return {
        PIECES[a].data + PIECES[b].data: math.exp(first[a] + fake.logprobs([*path, a])[b])
        for a, b in product(range(VOCAB), repeat=2)
    }


def test_the_likeliest_paths_are_asked_for_in_batches_and_two_are_under_way() -> None:
    play = opened(coverage=1.0)
    (first,) = play.asked
    assert isinstance(first, Lookahead) and first.waited
    assert first.path == play.session.game.prompt.tip.path()
    assert first.branches == [[token] for token in fake.ranked(first.path)[:BATCH]]
    assert fan(play).state is FanState.RUNNING and play.session.game.waiting
    one_by_one(play)
    one_by_one(play)
    assert 1 <= len(play.asked) <= 2
    most = 0
    while play.asked:
        asked = {tuple(branch) for one in play.asked if isinstance(one, Lookahead) for branch in one.branches}
        most = max(most, len(asked))
        assert len(asked) == sum(len(one.branches) for one in play.asked if isinstance(one, Lookahead)) <= PATHS_AHEAD
        one_by_one(play)
    assert most == PATHS_AHEAD
    assert fan(play).state is FanState.DONE and not play.session.game.waiting
    wanted = all_of_two(play.session.game.prompt.tip.path())
    there = {answer.text: answer.prob for answer in fan(play).out.ranked()}
    for text, prob in there.items():
        assert prob == pytest.approx(wanted[text], rel=1e-9)
    missed = math.fsum(prob for text, prob in wanted.items() if text not in there)
    assert fan(play).out.coverage.cut == pytest.approx(missed, abs=1e-12)
    assert all(prob < 1e-6 for text, prob in wanted.items() if text not in there)


def test_it_stops_where_enough_is_seen_and_goes_on_with_space() -> None:
    play = opened(coverage=0.5).answer()
    assert fan(play).state is FanState.COVERED
    assert 0.5 <= fan(play).out.seen < 0.9
    assert "enough: space goes on" in seen(play)
    assert "space go on" in seen(play) and "space pause" not in seen(play)
    play.press(Action.PAUSE)
    assert fan(play).state is FanState.COVERED and 0.9 <= fan(play).out.seen < 0.99


def test_it_stops_where_the_tokens_are_spent_and_goes_on_with_more() -> None:
    play = opened(tokens=10, coverage=1.0).answer()
    assert fan(play).state is FanState.SPENT
    assert fan(play).out.looked == 10 and not fan(play).out.taken
    play.press(Action.PAUSE)
    assert fan(play).budget.tokens == 100 and fan(play).out.looked > 10
    play.press(Action.LESS)
    assert "no less than 100" in play.session.notice


@pytest.mark.parametrize(("tokens", "key", "told"), [(20_000, Action.MORE, "no more"), (20, Action.LESS, "no less")])
def test_the_limits_of_a_budget_are_those_of_the_configuration(tokens: int, key: Action, told: str) -> None:
    play = opened(tokens=tokens).answer().press(key)
    assert play.session.notice == f"{told} than {tokens:,} tokens" and fan(play).budget.tokens == tokens


def test_it_stops_where_the_seconds_are_spent() -> None:
    play = started(stop=AtEnd(), budget=Budget(1000, 1.0, 1.0))
    play.take(Action.ANSWERS)
    while play.asked:
        request = play.asked.pop(0)
        assert isinstance(request, Lookahead)
        values = [fake.distribution([*request.path, *branch], request.top) for branch in request.branches]
        play.take(LookaheadDone(request.request, request.branches, values, PIECES, 0.4))
    assert fan(play).state is FanState.TIMED
    assert 1.0 <= fan(play).out.seconds < 2.0
    play.press(Action.PAUSE)
    assert fan(play).budget.seconds > 1.0 and fan(play).state is not FanState.TIMED


def test_nothing_is_asked_twice_and_what_lookahead_knows_is_used() -> None:
    play = started(lookahead=4, lookahead_tokens=40, stop=TWO, budget=Budget(1000, 0.0, 0.9))
    known = play.lookaheads
    assert known >= 5
    play.press(Action.ANSWERS)
    assert fan(play).state is FanState.COVERED
    there = play.lookaheads
    assert there - known < fan(play).out.looked - 1, "some were known"
    play.press(Action.CLOSE, Action.ANSWERS)
    play.press(Action.STOP_TEXT, *map(Typed, "1 token"), Action.ENTER)
    assert fan(play).out.stop == AfterTokens(1)
    assert play.lookaheads - there <= 64, "no more than idle lookahead asks for meanwhile"
    assert fan(play).out.coverage.seen == pytest.approx(1.0)


def test_a_pause_ends_nothing_that_is_under_way_and_asks_no_more() -> None:
    play = opened(coverage=1.0)
    assert fan(play).state is FanState.RUNNING and "space pause" in seen(play)
    play.take(Action.PAUSE)
    assert fan(play).state is FanState.PAUSED
    play.answer()
    assert fan(play).out.looked == 1 + BATCH
    assert "paused: space goes on" in seen(play)
    assert "space go on" in seen(play)
    play.press(Action.PAUSE)
    assert fan(play).state is FanState.DONE and not re.search("space (pause|go on)", seen(play))


def test_leaving_keeps_what_was_found_and_coming_back_goes_on() -> None:
    play = opened(coverage=1.0)
    one_by_one(play)
    play.take(Action.CLOSE)
    assert isinstance(play.session.screen, screens.Play)
    play.answer()
    looked = fan(play).out.looked
    play.take(Action.ANSWERS)
    assert on(play.session, screens.AnswerList).base is play.session.game.prompt.tip
    assert len(play.session.game.results.fans) == 1 and fan(play).out.looked >= looked
    play.answer()
    assert fan(play).state is FanState.DONE


def test_a_keys_own_question_goes_first_and_it_goes_on_afterwards() -> None:
    play = opened(coverage=1.0)
    one_by_one(play)
    play.take(Action.CLOSE)
    play.take(Action.APPEND)
    play.take(Action.APPEND)
    newest = [one for one in play.asked if isinstance(one, Evaluate)]
    asked = [one for one in play.session.game.open_requests.values() if isinstance(one, ForFanOut)]
    assert not newest or not any(one.going for one in asked)
    play.asked = [one for one in play.asked if not isinstance(one, Lookahead)]  # they are ended
    play.answer()
    play.press(Action.UNDO, Action.UNDO)
    play.press(Action.ANSWERS)
    assert fan(play).state is FanState.DONE
    assert fan(play).out.coverage.seen + fan(play).out.coverage.cut == pytest.approx(1.0, abs=1e-12)


def test_what_a_search_ended_is_asked_for_again() -> None:
    """Its answer is no reason to forget it: only what is decoded is answered in order."""
    play = opened(coverage=1.0)
    one_by_one(play)
    play.take(Action.CLOSE)
    play.take(Action.SEARCH)
    play.take(Typed("a"))
    play.asked = [one for one in play.asked if not isinstance(one, Lookahead)]  # the engine has ended them
    play.answer().press(Action.CLOSE, Action.ANSWERS)
    assert fan(play).state is FanState.DONE


def test_the_arrow_appends_the_answer_and_one_undo_takes_it_back() -> None:
    play = opened().answer()
    tip, decoded = play.session.game.prompt.tip, play.decoded
    wanted = rows(fan(play)).lines[2].answer
    play.press(Action.DOWN, Action.DOWN, Action.APPEND)
    prompt = play.session.game.prompt
    assert prompt.tip.depth == tip.depth + 2 and prompt.tip.descends_from(tip)
    assert b"".join(PIECES[node.token].data for node in prompt.tip.nodes(tip.depth)) == wanted.text
    assert all(node.played and node.visited for node in prompt.tip.nodes(tip.depth))
    assert prompt.tip.whole and play.decoded - decoded == 1, "the last token's own table"
    assert isinstance(play.session.screen, screens.Play)
    play.press(Action.UNDO)
    assert play.session.game.prompt.tip is tip


def test_answers_are_not_visited_before_somebody_goes_there() -> None:
    play = opened().answer()
    tip = play.session.game.prompt.tip
    assert tip.children and not any(child.visited for child in tip.children.values())


def test_answers_are_not_saved_before_somebody_goes_there() -> None:
    play = opened(coverage=1.0).answer()
    tip = play.session.game.prompt.tip
    assert len(tip.children) > 30 and saved(play) == tip.depth
    play.press(Action.DOWN, Action.APPEND)
    assert saved(play) == tip.depth + 2
    assert play.session.game.prompt.tip.descends_from(tip)


def test_it_is_opened_as_a_new_prompt() -> None:
    play = opened().answer()
    tip = play.session.game.prompt.tip
    play.press(Action.OPEN)
    assert [prompt.tip.depth - tip.depth for prompt in play.session.game.prompts] == [0, 2]
    assert play.session.game.prompt.parent is tip


def test_inside_the_prompt_it_becomes_a_new_one() -> None:
    play = started("hello", stop=TWO).press(Action.CURSOR_BACK, Action.CURSOR_BACK)
    base = play.session.game.prompt.place.tip
    play.press(Action.ANSWERS, Action.APPEND)
    assert len(play.session.game.prompts) == 2
    assert play.session.game.prompt.tip.ancestor(base.depth) is base
    assert play.session.game.prompt.tip.depth == base.depth + 2


def test_the_selected_answer_stays_selected_while_others_come() -> None:
    play = opened(coverage=1.0)
    one_by_one(play)
    play.take(Action.BOTTOM)
    key = rows(fan(play)).lines[-1].key
    assert fan(play).at == key
    places = {selected(fan(play))}
    while play.asked:
        one_by_one(play)
        there = rows(fan(play)).lines[selected(fan(play))]
        assert there.key == key
        places.add(selected(fan(play)))
    assert len(places) > 1, "it has moved"
    play.press(Action.TOP, Action.UP)
    assert play.session.notice == "this is the first line"


def test_sorted_by_the_first_token_answers_stand_together() -> None:
    play = opened(coverage=0.99).answer().press(Action.SORT)
    firsts = [line.answer.best.first for line in rows(fan(play)).lines]
    together = [one for place, one in enumerate(firsts) if place == 0 or firsts[place - 1] != one]
    assert len(set(firsts)) == len(together)
    sums = {
        one: math.fsum(line.prob for line in rows(fan(play)).lines if line.answer.best.first == one) for one in firsts
    }
    assert [sums[one] for one in together] == sorted(sums.values(), reverse=True)
    play.press(Action.SORT)
    probs = [line.prob for line in rows(fan(play)).lines]
    assert probs == sorted(probs, reverse=True)


@pytest.mark.parametrize("keys", [(Action.ANSWERS,), (Action.ANSWERS, Action.CRITICAL)])
def test_verdicts_on_the_prompt_are_asked_for_once_answers_are_there(keys: tuple[Action, ...]) -> None:
    """Each would end the other at every reply."""
    play = started("hello there", stop=TWO, budget=Budget(30 if len(keys) == 1 else 1, 0.0, 1.0))
    play.press(*keys[:-1])
    play.take(keys[-1])
    sampling = Sampling(Chain((Sampler.of(Kind.DRY, 1),)))
    options = replace(play.session.options, layer=REACHABLE)
    play.session = replace(play.session, game=replace(play.session.game, sampling=sampling), options=options)
    replies = 0
    while not (judging := play.session.game.newest(ForVerdicts)):
        assert play.asked, "they are asked for in the end"
        one_by_one(play)
        replies += 1
        assert replies < 1000, "they end each other"
    assert replies >= 4 and judging
    results = play.session.game.results
    assert fan(play).state is not FanState.RUNNING and all(one.state.name != "RUNNING" for one in results.criticals)


def test_where_no_table_comes_nothing_is_waited_for() -> None:
    play = Play("hello there")
    while play.asked:
        request = play.asked.pop(0)
        if isinstance(request, Evaluate):
            play.take(Failed(request.request, "the engine cannot answer this"))
        else:
            for reply in play.replies(request):
                play.take(reply)
    play.take(Action.ANSWERS)
    assert fan(play).state is FanState.FAULT and not play.asked and not play.session.game.waiting
    assert "stopped: the engine gave no table here" in seen(play)
    play.press(Action.PAUSE)
    assert fan(play).state is FanState.FAULT
    play.press(Action.CLOSE, Action.APPEND, Action.ANSWERS)
    assert fan(play).out.answers, "with a table it goes on"


def drawn(play: Play) -> list[str]:
    return ["".join(text for _, text in line) for line in ScreenRenderer().screen(play.session, 80, 24)]


def test_groups_have_the_probability_of_their_answers() -> None:
    play = opened(coverage=0.99).answer().press(Action.GROUP)
    lines = rows(fan(play)).lines
    assert math.fsum(line.prob for line in lines) == pytest.approx(fan(play).out.seen)
    seven = next(line for line in lines if line.key == "7")
    wanted = [one for one in fan(play).out.ranked() if one.text.decode().replace(" ", "")[:1] == "7"]
    assert seven.prob >= math.fsum(one.prob for one in wanted)
    play.press(Action.PATTERN)
    for char in "(a+)+":
        play.take(Typed(char))
    play.press(Action.ENTER)
    assert "could take for ever" in play.session.notice and on(play.session, screens.AnswerPattern)
    play.press(Action.ERASE_LINE, *map(Typed, "[a-c]"), Action.ENTER)
    assert fan(play).pattern == "[a-c]" and {line.key for line in rows(fan(play)).lines} == {
        "a",
        "b",
        "c",
        Unmatched.NOTHING,
    }
    play.press(Action.PATTERN, Action.ERASE_LINE, *map(Typed, "x?"), Action.ENTER)
    assert any(re.search("‹empty› +␣", line) for line in drawn(play)), "what finds nothing but the empty text"
    play.press(Action.DOWN, Action.GROUP)
    assert selected(fan(play)) == 0


def test_answers_are_read_in_parts_and_none_while_a_frame_is_drawn() -> None:
    play = opened(coverage=1.0, tokens=100).answer()
    there = len(fan(play).out.likeliest())
    assert there > MAX_ANSWERS_READ
    play.take(Action.GROUP)
    sizes = [sum(line.size for line in rows(fan(play)).lines)]
    while play.fanning:
        play.take(SearchFurther())
        seen(play)
        sizes.append(sum(line.size for line in rows(fan(play)).lines))
    assert (
        sizes[0] == MAX_ANSWERS_READ
        and sizes[-1] == there
        and max(b - a for a, b in pairwise(sizes)) <= MAX_ANSWERS_READ
    )
    play.press(Action.PATTERN, Action.ERASE_LINE, *map(Typed, r"(\w+)\W*$"))
    play.take(Action.ENTER)
    first = sum(line.size for line in rows(fan(play)).lines)
    assert 0 < first <= MAX_ANSWERS_READ and play.fanning, "what takes longer is read in smaller parts"


def test_groups_are_sorted_by_what_was_found() -> None:
    play = opened(coverage=0.99).answer().press(Action.GROUP, Action.SORT)
    assert fan(play).grouped and play.session.notice.startswith("groups stand in the order")
    keys = [line.key for line in rows(fan(play)).lines]
    numbers = [int(key) for key in keys if isinstance(key, str)]
    assert len(numbers) > 2 and numbers == sorted(numbers)
    assert Unmatched.NOTHING not in keys[:-1]
    play.press(Action.SORT)
    probs = [line.prob for line in rows(fan(play)).lines]
    assert fan(play).grouped and probs == sorted(probs, reverse=True)
    play.press(Action.SORT, Action.GROUP)
    assert not fan(play).by_text, "answers come the likeliest first again"
    play.press(Action.SORT, Action.GROUP)
    assert fan(play).by_text and fan(play).grouped, "each list keeps its order"
    play.press(Action.SORT, Action.GROUP)
    assert fan(play).by_text and not fan(play).grouped
    play.press(Action.GROUP)
    assert not fan(play).by_text


def test_what_was_found_stands_in_order() -> None:
    answer = rows(fan(opened(coverage=0.99).answer())).lines[0].answer
    keys: list[str | Unmatched] = ["b", "1,200", "9", Unmatched.NOTHING, "-3", "a", "10.5", "inf"]
    ordered = sorted((FanLine(key, 0.1, answer) for key in keys), key=in_order)
    assert [row.key for row in ordered] == ["-3", "9", "10.5", "1,200", "a", "b", "inf", Unmatched.NOTHING]


def test_one_number_is_one_group_however_it_is_written() -> None:
    pieces = [Piece(text) for text in (b"Q", b"1200", b"1,200", b"1200.00", b"12")] + [Piece(b"", ends=True)]
    base = Node(None, -1).child(0)
    base.attach(Distribution.of(1.0, [2, 1, 3, 4], map(math.log, (0.4, 0.3, 0.2, 0.1))))
    out = FanOut(base, AtLine(), pieces.__getitem__)
    while nodes := out.take(4):
        for node in nodes:
            node.attach(Distribution.of(0.0, [5], [0.0]))
        out.settle()
    there = Fan(out, grouped=True, at="1200")
    assert read_on(there)
    told = [(line.key, round(line.prob, 9), line.size) for line in rows(there).lines]
    assert told == [("1,200", 0.9, 3), ("12", 0.1, 1)]
    assert selected(there) == 0 and selected(replace(there, at="12.0")) == 1


def test_the_head_says_where_in_the_prompt_it_is() -> None:
    play = started("hello").press(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.ANSWERS).answer()
    length = play.session.game.prompt.tip.depth
    assert f"after token {length - 2} of {length}: " in seen(play)
    assert "after token" not in seen(opened().answer())


def test_where_answers_end_is_changed_by_keys() -> None:
    play = started(stop=AtSentence(), budget=Budget(40)).press(Action.ANSWERS)
    for stop in (AtEnd(), AtLine(), AtSentence()):
        play.press(Action.STOP)
        assert fan(play).out.stop == stop and len(play.session.game.results.fans) == 1
    play.press(Action.STOP_TEXT, *map(Typed, "7 8"), Action.ENTER)
    assert fan(play).out.stop == AtText("7 8")
    assert isinstance(play.session.screen, screens.AnswerList)
    play.press(Action.STOP_TEXT, *map(Typed, "9999 tokens"), Action.ENTER)
    assert play.session.notice.startswith("an answer has 1 to") and on(play.session, screens.AnswerStop)
    play.press(Action.CLOSE)
    assert fan(play).out.stop == AtText("7 8")
    play.press(Action.COVERAGE)
    assert fan(play).budget.coverage == 0.99


def test_an_empty_answer_is_not_opened() -> None:
    play = started(stop=AtText(PIECES[fake.ranked(fake.text_to_path("hello"))[0]].data.decode()), budget=Budget(1))
    play.press(Action.ANSWERS, Action.APPEND)
    assert "this answer is empty" in play.session.notice
    assert "‹empty›" in seen(play)


def test_a_refusal_is_told_and_space_tries_again() -> None:
    play = opened(coverage=1.0)
    (request,) = play.asked
    assert isinstance(request, Lookahead)
    play.asked.clear()
    play.take(Failed(request.request, "this does not fit"))
    assert fan(play).state is FanState.FAULT and not play.asked and not play.session.game.waiting
    assert "stopped: this does not fit" in seen(play)
    play.press(Action.PAUSE)
    assert fan(play).state is FanState.DONE


def test_a_dead_engine_closes_the_list_and_a_new_one_goes_on() -> None:
    play = opened(coverage=1.0)
    one_by_one(play)
    looked = fan(play).out.looked
    play.asked.clear()
    play.take(EngineDied("SIGSEGV"))
    assert isinstance(play.session.screen, screens.Play)
    play.press(Action.ANSWERS)
    assert isinstance(play.session.screen, screens.AnswerList), "what was found is there"
    assert fan(play).out.looked == looked
    play.press(Action.CLOSE, Action.RESTART, Action.ANSWERS)
    assert fan(play).state is FanState.DONE


def test_a_server_without_batches_is_told() -> None:
    play = fake.served("hello")
    if fake.SERVED.capabilities >= {"batches"}:
        play.press(Action.ANSWERS)
        assert sum(fan(play).out.coverage) == pytest.approx(1.0)
        return
    play.press(Action.ANSWERS)
    assert "one path at a time" in play.session.notice


def test_samplers_do_not_count_and_that_is_told() -> None:
    play = fake.sampled(Chain((Sampler.of(Kind.TEMPERATURE, 0.5),)))
    play.press(Action.ANSWERS)
    assert "samplers and constraint do not count here" in seen(play)


def test_few_fan_outs_are_kept() -> None:
    play = started(stop=AfterTokens(1), budget=Budget(3))
    for _ in range(12):
        play.press(Action.ANSWERS, Action.APPEND)
    assert len(play.session.game.results.fans) == 8


@pytest.mark.parametrize("number", range(6))
def test_whatever_comes_between_the_answers_are_the_same(number: int) -> None:
    """Late, in any order, in part, or never: keys, undo, a dead engine. In the end all are there."""
    chance = random.Random(f"{SEED} {number}")
    print("seed", SEED, number)
    play = started("hello", stop=TWO, budget=Budget(10_000, 0.0, 1.0), lookahead=3, lookahead_tokens=20)
    base = play.session.game.prompt.tip
    keys = [
        *([Action.ANSWERS] * 6),
        *(Action.CLOSE, Action.APPEND, Action.POP, Action.UNDO, Action.REDO, Action.PAUSE, Action.SORT, Action.GROUP),
        *(Action.UP, Action.DOWN, Action.BOTTOM, Action.COPY, Action.NEXT, Action.HELP, Action.RESTART, Action.OPEN),
        *(Action.MORE, Action.LESS, Action.COVERAGE, Action.CURSOR_BACK, Action.CURSOR_TIP, Action.LAYER),
    ]
    for _ in range(300):
        what = chance.random()
        if what < 0.4:
            play.take(chance.choice(keys))
        elif what < 0.8 and play.asked:
            request = play.asked.pop(chance.randrange(len(play.asked)))
            if isinstance(request, Lookahead) and len(request.branches) > 1 and chance.random() < 0.3:
                few = request.branches[: chance.randrange(1, len(request.branches))]
                values = [fake.distribution([*request.path, *branch], request.top) for branch in few]
                play.take(LookaheadDone(request.request, few, values, PIECES))
            else:
                for reply in play.replies(request):
                    play.take(reply)
        elif what < 0.85 and play.asked and isinstance(play.asked[0], Lookahead):
            play.asked.pop(0)  # ended by the engine for something newer
        elif what < 0.87:
            play.asked.clear()
            play.take(EngineDied("SIGSEGV"))
        elif play.fanning:
            play.take(SearchFurther())
        for one in play.session.game.results.fans:
            assert abs(math.fsum(one.out.coverage) - 1) < 1e-12
            assert one.out.taken <= PATHS_AHEAD
        if chance.random() < 0.1:
            seen(play, chance.randint(60, 140), chance.randint(16, 45))
    play.take(EngineDied("the last one"))
    play.asked.clear()
    play.press(*[Action.CLOSE] * 2, Action.CURSOR_TIP, Action.RESTART)
    play.press(Action.CURSOR_TIP)
    while play.session.game.prompt.tip is not base and play.session.game.undo.past:
        play.press(Action.UNDO)
    play.press(Action.CURSOR_TIP, Action.ANSWERS)
    for _ in range(20):
        if fan(play).state in (FanState.DONE, FanState.FAULT):
            break
        play.press(Action.PAUSE)
    assert fan(play).out.base is base and fan(play).state is FanState.DONE
    wanted = all_of_two(base.path())
    there = {answer.text: answer.prob for answer in fan(play).out.ranked()}
    assert set(there) == {text for text, prob in wanted.items() if prob >= 1e-6}
    assert all(prob == pytest.approx(wanted[text], rel=1e-9) for text, prob in there.items())


def test_the_screen_can_be_made_for_any_session() -> None:
    play = started()
    screen = screen_of(play.session, screens.AnswerList)
    assert isinstance(screen, screens.AnswerList)


@pytest.mark.parametrize("kind", [Play, Served])
def test_lookahead_that_is_under_way_may_answer_what_answers_are_looked_for_by(kind: type[Play]) -> None:
    play = kind("hello", lookahead=4)
    while not isinstance(play.asked[0], Lookahead):
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    first = play.asked.pop(0)
    assert isinstance(first, Lookahead)
    play.take(Action.ANSWERS)
    ahead = next(one for one in play.asked if isinstance(one, Lookahead))
    assert {*map(tuple, first.branches)} & {*map(tuple, ahead.branches)}, "both ask for some of the same"
    play.asked.remove(ahead)
    for request in (first, ahead):  # one by one, as servers and recurrent models answer
        for branch in request.branches:
            told = fake.distribution([*request.path, *branch], request.top, play.given)
            play.take(LookaheadDone(request.request, [branch], [told], PIECES))
    assert fan(play.answer()).out.answers
    assert play.session.game.engine is EngineStatus.READY


def test_a_reply_of_what_nobody_asked_for_is_not_believed() -> None:
    play = opened()
    request = play.asked[0]
    assert isinstance(request, Lookahead)
    with pytest.raises(WrongReply):
        play.take(LookaheadDone(request.request, [], [], PIECES))
    with pytest.raises(WrongReply):
        play.take(LookaheadDone(request.request, [[1, 2, 3, 4, 5]], [fake.distribution([1], 5)], PIECES))


def test_with_no_engine_nothing_is_looked_for_and_the_list_says_so() -> None:
    play = opened(tokens=300)
    play.take(EngineDied("SIGKILL"))
    play.press(Action.ANSWERS)
    assert "looking further" not in seen(play)
    assert isinstance(play.session.screen, screens.AnswerList) is ("the engine is not there, Esc and r" in seen(play))


@pytest.mark.parametrize("width", [60, 80, 130])
def test_what_the_state_is_goes_before_how_much_there_is(width: int) -> None:
    play = opened(tokens=300)
    assert "  looking further " in seen(play, width)
    play.session = replace(play.session, game=replace(play.session.game, engine=EngineStatus.DEAD))
    assert "stopped: the engine is not there, Esc and r restart it " in seen(play, width)
    assert "pause" not in " ".join(label for _, _, label in hints(play.session))


@pytest.mark.parametrize("width", [60, 70, 80, 130])
def test_the_whole_coverage_is_told_at_any_width(width: int) -> None:
    play = opened(tokens=40)
    head = next(line for line in seen(play, width, 24).splitlines() if " open, " in line)
    assert re.search(r"(below the|\d % ) ?cut", head) and "…" not in head
