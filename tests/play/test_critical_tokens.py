"""The list of critical tokens: what is asked for it, when, and what its keys do."""

import os
import random
import re
from dataclasses import replace

import pytest

from tests import fake
from tests.fake import PIECES, Play, on, started, walking
from tests.sampling import few
from tokex_gguf.engine.protocol import EngineDied, Evaluate, Failed, Lookahead, Walk
from tokex_gguf.play import critical as play_critical
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import hints
from tokex_gguf.play.critical import CriticalState, CriticalTokens
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.messages import Message, SearchFurther, Typed
from tokex_gguf.play.purposes import ForCritical
from tokex_gguf.play.rules import critical
from tokex_gguf.sessions import codec
from tokex_gguf.ui import screen_table
from tokex_gguf.ui.prompt_pane import Path
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.critical import RolloutEnd
from tokex_gguf.values.fan_out import Budget
from tokex_gguf.values.stops import AfterTokens
from tokex_gguf.values.tree import Node

SEED = int(os.environ.get("CRITICAL_SEED", "1"))
TEXT = "hello there, what is it?"


def one(play: Play) -> CriticalTokens:
    return play.session.game.results.criticals[-1]


def opened(text: str = TEXT, each: int = 12, **settings: object) -> Play:
    """A game whose critical tokens are listed; what is asked for them is not answered."""
    play = started(text, stop=AfterTokens(2), budget=Budget(1), critical=6, critical_tokens=each, **settings)
    play.press(Action.ANSWERS)
    play.take(Action.CRITICAL)
    return play


def seen(play: Play, width: int = 130, height: int = 40) -> str:
    return "\n".join("".join(text for _, text in line) for line in ScreenRenderer().screen(play.session, width, height))


def greedy(path: list[int], count: int) -> list[int]:
    """So many of the most likely tokens behind a path."""
    path = list(path)
    for _ in range(count):
        path.append(fake.ranked(path)[0])
    return path


def expected(base: Node) -> list[tuple[int, int]]:
    """The places of a prompt and their second choices, the most doubtful first."""
    path, rows = base.path(), []
    for place in range(1, len(path)):
        values = fake.logprobs(path[:place])
        second = next(token for token in fake.ranked(path[:place]) if token != path[place])
        rows.append((-min(values[path[place]], values[second]), place + 1, second))
    return [(place, second) for _, place, second in sorted(rows)]


def is_right(play: Play) -> None:
    """Whether all ways of the list are what greedy search says."""
    critical = one(play)
    base = critical.found.base
    assert [(trial.place.node.depth, trial.place.second) for trial in critical.trials] == expected(base)[
        : critical.places
    ]
    for trial in critical.trials:
        run, before = trial.run, base.path()[: trial.place.node.depth - 1]
        assert run.end is not None
        assert run.node.path() == greedy([*before, trial.place.second], run.greedy)
        if run.end is RolloutEnd.LONG:
            assert run.greedy == critical.each


def test_one_path_at_a_time_is_asked_for_the_most_doubtful_first() -> None:
    play = opened()
    base, paths = play.session.game.prompt.tip, list[list[int]]()
    while play.asked:
        (request,) = play.asked
        assert isinstance(request, Lookahead) and request.waited and play.session.game.waiting
        assert one(play).state is CriticalState.RUNNING
        (branch,) = request.branches
        paths.append([*request.path, *branch])
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
        while play.fanning:
            play.take(SearchFurther())
    assert one(play).state in (CriticalState.DONE, CriticalState.LONG) and not play.session.game.waiting
    assert len(paths) == len(set(map(tuple, paths))), "nothing is asked for twice"
    first = one(play).trials[0].place
    behind = next(path for path in paths if path[: base.depth] != base.path())
    assert behind == [*base.path()[: first.node.depth - 1], first.second]
    is_right(play)


def test_what_the_tree_knows_is_asked_for_no_more() -> None:
    play = opened().answer()
    known = play.lookaheads
    assert known
    play.press(Action.CLOSE, Action.CRITICAL)
    assert play.lookaheads == known
    play.press(Action.LEAD, *map(Typed, "nowhere"), Action.ENTER)
    assert one(play).found.rule.lead == b"nowhere"
    assert play.lookaheads > known, "the standing answer has another end"
    known = play.lookaheads
    play.press(Action.LEAD, Action.ERASE_LINE, *map(Typed, "never"), Action.ENTER)
    assert play.lookaheads == known
    is_right(play)


def test_with_the_lead_the_answer_is_what_comes_behind_it() -> None:
    play = opened(each=200).answer()
    lead = PIECES[greedy(play.session.game.prompt.tip.path(), 8)[-1]].data.decode()
    play.press(Action.LEAD, Action.ERASE_LINE, *map(Typed, lead), Action.ENTER)
    is_right(play)
    found = one(play).found
    ends = [trial.run.end for trial in one(play).trials]
    assert RolloutEnd.ANSWERED in ends and found.standing.end is RolloutEnd.ANSWERED
    screen = seen(play)
    flips = sum(bool(found.flips(trial)) for trial in one(play).trials)
    assert f"{flips} of 6 {'flips' if flips == 1 else 'flip'} it" in screen
    assert flips and screen.count(" flips ") == flips


def test_the_selected_token_has_the_cursor_in_the_prompt() -> None:
    play = opened().answer()
    for _ in range(3):
        path = screen_table.shown(play.session)
        assert isinstance(path, Path) and path.base is play.session.game.prompt.tip
        assert path.cursor is one(play).trials[one(play).selected].place.node
        play.press(Action.DOWN)
    assert play.session.game.prompt.cursor is None, "it is shown alone"


def test_where_the_text_has_no_answer_there_is_nothing_to_flip() -> None:
    play = opened(each=3).answer()
    play.press(Action.LEAD, Action.ERASE_LINE, *map(Typed, "nowhere"), Action.ENTER)
    assert one(play).found.standing.end is RolloutEnd.LONG
    screen = seen(play)
    assert "no answer to compare with" in screen and "flip it" not in screen
    assert not any(one(play).found.flips(trial) for trial in one(play).trials)


@pytest.mark.parametrize("longest", few([96, play_critical.FURTHEST], of=2))
def test_what_is_too_long_goes_on_with_space(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (critical, play_critical):
        monkeypatch.setattr(module, "FURTHEST", longest)
    play = opened(each=3).answer()
    play.press(Action.LEAD, Action.ERASE_LINE, *map(Typed, "nowhere"), Action.ENTER)
    assert one(play).state is CriticalState.LONG and "some did not end: space goes on" in seen(play)
    assert "space go on" in seen(play)
    assert "no end in 3" in seen(play, 80, 24)
    play.press(Action.PAUSE)
    assert one(play).each == 6 and one(play).state is CriticalState.LONG
    is_right(play)
    for _ in range(12):
        play.press(Action.PAUSE)
    assert one(play).each == longest or one(play).state is CriticalState.DONE


def test_a_pause_asks_no_more_and_space_goes_on() -> None:
    play = opened()
    play.take(Action.PAUSE)
    play.answer()
    assert one(play).state is CriticalState.PAUSED and not play.asked
    assert "paused: space goes on" in seen(play)
    assert "space go on" in seen(play) and "space pause" not in seen(play)
    play.press(Action.PAUSE)
    is_right(play)


def test_more_places_and_fewer() -> None:
    play = opened().answer()
    play.press(Action.MORE)
    assert one(play).places == 8
    is_right(play)
    known = play.lookaheads
    play.press(Action.LESS, Action.LESS)
    assert one(play).places == 4 and play.lookaheads == known and len(one(play).trials) == 4
    assert "no fewer than 4" in play.press(Action.LESS).session.notice


def test_there_are_no_fewer_places_than_are_configured() -> None:
    play = started(TEXT, stop=AfterTokens(2), budget=Budget(1), critical=2, critical_tokens=4)
    play.press(Action.ANSWERS, Action.CRITICAL, Action.LESS)
    assert play.session.notice == "no fewer than 2 places" and one(play).places == 2


def test_the_arrow_goes_that_way_and_one_undo_takes_it_back() -> None:
    play = opened(each=4).answer()
    tip = play.session.game.prompt.tip
    play.press(Action.DOWN)
    trial = one(play).trials[1]
    play.press(Action.APPEND)
    prompt = play.session.game.prompt
    assert isinstance(play.session.screen, screens.Play) and len(play.session.game.prompts) == 1
    assert prompt.tip is trial.run.last
    begin = trial.place.node.depth - 1
    assert prompt.tip.ancestor(begin) is trial.place.node.parent
    assert all(node.played and node.visited for node in prompt.tip.nodes(begin))
    assert prompt.tip.whole and "u takes that back" in play.session.notice
    play.press(Action.UNDO)
    assert play.session.game.prompt.tip is tip


def test_it_is_opened_as_a_new_prompt() -> None:
    play = opened(each=4).answer()
    tip = play.session.game.prompt.tip
    play.press(Action.OPEN)
    assert len(play.session.game.prompts) == 2 and play.session.game.prompt.parent is tip
    assert play.session.game.prompt.tip is one(play).trials[0].run.last


def test_a_line_that_was_not_gone_on_from_is_opened_with_the_second_choice_alone() -> None:
    play = opened()
    play.asked.clear()
    while not one(play).found.looked:
        play.take(SearchFurther())
    play.take(Action.BOTTOM)
    trial = one(play).trials[-1]
    assert trial.run.end is None and not trial.run.greedy
    play.take(Action.APPEND)
    assert play.session.game.prompt.tip.token == trial.place.second
    assert play.session.game.prompt.tip.depth == trial.place.node.depth


def test_nothing_is_saved_before_somebody_goes_there() -> None:
    play = opened().answer()
    tip = play.session.game.prompt.tip
    again = codec.load(codec.dump(play.session), play.session.game.settings)
    node, count = again.game.known.root, 0
    while node.children:
        (node,) = node.children.values()
        count += 1
    assert count == tip.depth


def test_from_inside_the_prompt_it_is_about_the_text_before() -> None:
    play = started(TEXT, stop=AfterTokens(2), budget=Budget(1), critical=6, critical_tokens=5)
    play.press(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.ANSWERS, Action.CRITICAL)
    assert one(play).found.base is play.session.game.prompt.place.tip
    play.press(Action.LEAD, *map(Typed, "nowhere"), Action.ENTER)
    is_right(play)


def test_leaving_goes_back_to_the_answers_and_all_stays() -> None:
    play = opened().answer()
    tokens = one(play).found.tokens
    play.press(Action.CLOSE)
    assert isinstance(play.session.screen, screens.AnswerList)
    play.press(Action.CRITICAL)
    assert one(play).found.tokens == tokens and len(play.session.game.results.criticals) == 1
    play.press(Action.CLOSE, Action.STOP, Action.CRITICAL)
    assert one(play).found.rule.stop == play.session.game.results.fans[-1].out.stop


def test_the_selected_place_stays_selected() -> None:
    play = opened().answer()
    play.press(Action.BOTTOM)
    node = one(play).trials[-1].place.node
    assert one(play).at is node and one(play).selected == 5
    play.press(Action.DOWN)
    assert play.session.notice == "this is the last line"
    play.press(Action.MORE)
    assert one(play).at is node


def test_a_refusal_is_told_and_space_tries_again() -> None:
    play = opened()
    (request,) = play.asked
    assert isinstance(request, Lookahead)
    play.asked.clear()
    play.take(Failed(request.request, "this does not fit"))
    assert one(play).state is CriticalState.FAULT and not play.asked and not play.session.game.waiting
    assert "stopped: this does not fit" in seen(play)
    play.press(Action.PAUSE)
    is_right(play)


def test_a_refusal_is_of_what_it_was_asked_for() -> None:
    play = opened()
    (request,) = play.asked
    assert isinstance(request, Lookahead)
    play.asked.clear()
    before = one(play).found.base
    for key in (Action.CLOSE, Action.CLOSE, Action.POP, Action.ANSWERS, Action.CRITICAL):
        play.take(key)
    assert one(play).found.base is before.parent
    play.take(Failed(request.request, "this does not fit"))
    assert not one(play).fault
    assert [other.fault for other in play.session.game.results.criticals if other.found.base is before] == [
        "this does not fit"
    ]


def test_a_dead_engine_closes_the_list_and_a_new_one_goes_on() -> None:
    play = opened()
    play.asked.clear()
    play.take(EngineDied("SIGSEGV"))
    assert isinstance(play.session.screen, screens.Play)
    play.press(Action.RESTART, Action.ANSWERS, Action.CRITICAL)
    is_right(play)


def test_a_text_of_one_token_has_no_places() -> None:
    play = opened("a").answer()
    assert one(play).state in (CriticalState.DONE, CriticalState.LONG)
    assert "no place has a second choice" in seen(play)
    play.press(Action.APPEND)
    assert play.session.notice == "no place was found yet"


def test_a_lead_that_is_too_long_is_refused() -> None:
    play = opened().answer()
    play.press(Action.LEAD, *map(Typed, "x" * 101), Action.ENTER)
    assert "100 characters" in play.session.notice and on(play.session, screens.CriticalLead)
    play.press(Action.CLOSE)
    assert on(play.session, screens.CriticalList)


@pytest.mark.parametrize("number", range(6))
def test_whatever_comes_between_the_ways_are_the_same(number: int) -> None:
    """Late, in any order, or never: keys, undo, a dead engine. In the end all are there."""
    chance = random.Random(f"{SEED} {number}")
    print("seed", SEED, number)
    play = started(
        TEXT, stop=AfterTokens(2), budget=Budget(30), critical=6, critical_tokens=6, lookahead=3, lookahead_tokens=20
    )
    base = play.session.game.prompt.tip
    keys: list[Message] = [
        *([Action.ANSWERS] * 4),
        *([Action.CRITICAL] * 6),
        *(Action.CLOSE, Action.APPEND, Action.POP, Action.UNDO, Action.REDO, Action.PAUSE, Action.STOP, Action.GROUP),
        *(Action.UP, Action.DOWN, Action.BOTTOM, Action.COPY, Action.NEXT, Action.HELP, Action.RESTART, Action.OPEN),
        *(Action.MORE, Action.LESS, Action.LEAD, Action.ENTER, Action.CURSOR_BACK, Action.CURSOR_TIP, Action.SEARCH),
        *(Typed("a"), Typed(" 7")),
    ]
    for _ in range(300):
        what = chance.random()
        if what < 0.4:
            play.take(chance.choice(keys))
        elif what < 0.75 and play.asked:
            for reply in play.replies(play.asked.pop(chance.randrange(len(play.asked)))):
                play.take(reply)
        elif what < 0.83 and play.asked and isinstance(play.asked[0], Lookahead | Evaluate):
            play.asked.pop(0)  # ended by the engine for something newer
        elif what < 0.85:
            play.asked.clear()
            play.take(EngineDied("SIGSEGV"))
        elif play.fanning:
            play.take(SearchFurther())
        going = [
            one for one in play.session.game.open_requests.values() if isinstance(one, ForCritical) and one.awaited
        ]
        assert len(going) <= 1
        if chance.random() < 0.1:
            seen(play, chance.randint(60, 140), chance.randint(16, 45))
    play.take(EngineDied("the last one"))
    play.asked.clear()
    play.press(*[Action.CLOSE] * 3, Action.CURSOR_TIP, Action.RESTART)
    play.press(Action.CURSOR_TIP)
    while play.session.game.prompt.tip is not base and play.session.game.undo.past:
        play.press(Action.UNDO)
    play.press(Action.CURSOR_TIP, Action.ANSWERS, Action.CRITICAL)
    if one(play).state in (CriticalState.PAUSED, CriticalState.FAULT):
        play.press(Action.PAUSE)
    assert one(play).found.base is base
    assert one(play).state in (CriticalState.DONE, CriticalState.LONG)
    is_right(play)


def test_places_whose_numbers_come_late_are_looked_at() -> None:
    """On a llama-server, the walk through the prompt gives way to all that is asked for here."""

    def beside_the_walk(play: Play) -> None:
        while play.fanning or any(not isinstance(one, Walk) for one in play.asked):
            if play.fanning:
                play.take(SearchFurther())
                continue
            request = next(one for one in play.asked if not isinstance(one, Walk))
            play.asked.remove(request)
            for reply in play.replies(request):
                play.take(reply)

    text, settings = "the quick brown fox", {"stop": AfterTokens(2), "budget": Budget(1), "critical_tokens": 3}
    expected = walking(text, critical=4, **settings).answer().press(Action.ANSWERS, Action.CRITICAL)
    play = walking(text, critical=4, **settings)
    for key in (Action.ANSWERS, Action.CRITICAL):
        play.take(key)
        beside_the_walk(play)
    assert one(play).found.lacking and one(play).state is not CriticalState.RUNNING
    play.answer()
    assert not one(play).found.lacking
    assert [trial.place.node.depth for trial in one(play).trials] == [
        trial.place.node.depth for trial in one(expected).trials
    ]


@pytest.mark.parametrize("width", [60, 80, 130])
def test_what_the_state_is_goes_before_how_much_there_is(width: int) -> None:
    play = opened().answer()
    told = seen(play, width).splitlines()
    assert any(re.search(r" (some did not end: space goes on|these are all)$", line.rstrip()) for line in told)
    heading = next(line for line in told if " stands " in line)
    assert ("leads to" in heading) == (width > 60), "there is room for a word, or none of it"
    play.session = replace(play.session, game=replace(play.session.game, engine=EngineStatus.DEAD))
    assert "pause" not in " ".join(label for _, _, label in hints(play.session))
