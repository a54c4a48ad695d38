"""A model on a server: its numbers have bounds, a prompt's tokens are walked, and the connection may be lost."""

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import fake
from tests.fake import GIVEN, PIECE, SERVED, VOCAB, Play, Served, on, served, walking
from tests.play.test_update import MOVES, Oracle, agree, keys_of
from tokex_gguf.engine.protocol import (
    Capability,
    EngineDied,
    Evaluate,
    Evaluated,
    Failed,
    Lookahead,
    Request,
    Roll,
    Search,
    Walk,
)
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import hints
from tokex_gguf.play.game import SILENT_AFTER
from tokex_gguf.play.messages import Beat, Message, Resized, Send, Typed
from tokex_gguf.play.purposes import ForWalk
from tokex_gguf.play.requests import TOKENS_PER_LINE, WALK_POSITIONS
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values import layers
from tokex_gguf.values.score import Score
from tokex_gguf.values.tree import Node


def screen(play: Play, width: int = 140) -> str:
    return "\n".join("".join(text for _, text in line) for line in ScreenRenderer().screen(play.session, width, 40))


def the_walk(play: Play) -> Walk:
    (request,) = (request for request in play.asked if isinstance(request, Walk))
    return request


def one(request: Walk, place: int) -> Evaluated:
    """The answer to one position of a walk."""
    return fake.evaluated(request, place, place + 1, GIVEN)


# --- walking


def test_only_the_tips_table_is_waited_for() -> None:
    play = walking("hello world")
    assert play.session.game.ready and not play.session.game.waiting
    assert play.decoded == 1 and play.walked == []
    assert play.session.game.prompt.tip.unknown == 11
    play.answer()
    assert play.session.game.prompt.tip.whole
    assert has_true_numbers(play.session.game.prompt.tip)


def test_how_far_it_is_stands_in_the_status_line_and_perplexity_once_all_is_known() -> None:
    play = walking("hello " * 200)
    for place in the_walk(play).places[:11]:
        play.take(one(the_walk(play), place))
    known = 1200 - play.session.game.prompt.tip.unknown
    # Parts of the prompt were told on the way to its table, each of what follows it: those tokens lack their own.
    assert known == sum(node.known for node in play.session.game.prompt.tip.nodes()) > 0
    assert f"… {known}/1,200" in screen(play) and "ppl" not in screen(play)
    play.answer()
    assert "…" not in screen(play).splitlines()[-4] and "ppl" in screen(play)


def test_what_is_in_sight_comes_first_and_then_the_beginning() -> None:
    play = walking("hello " * 200)
    assert the_walk(play).places[:3] == [0, 1, 2], "nothing is in sight without a screen"
    begin = 1200 - 5 * TOKENS_PER_LINE
    play = Served("hello " * 200)
    play.take(Resized(5))
    while not play.asked or not isinstance(play.asked[0], Walk):
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    assert the_walk(play).places[0] == begin and the_walk(play).places == sorted(the_walk(play).places)
    assert len(the_walk(play).places) == WALK_POSITIONS
    play.answer()
    told = range(PIECE - 1, 1200, PIECE)  # on the way to the table
    in_sight = [place for place in range(begin, 1199) if place not in told]
    assert [len(path) - 2 for path in play.walked[: len(in_sight) + 3]] == [*in_sight, 0, 1, 2]
    assert play.session.game.prompt.tip.whole


def test_the_table_that_is_looked_at_comes_before_all_else() -> None:
    play = walking("hello " * 100)
    for _ in range(3):
        play.take(Action.CURSOR_FAR_BACK)
    cursor = play.session.game.prompt.cursor
    assert cursor is not None
    newest = [request for request in play.asked if isinstance(request, Walk)][-1]
    assert newest.places[0] == cursor.depth - 2
    assert play.session.game.ready
    play.take(one(newest, newest.places[0]))
    assert cursor.taken is not None and "this table" not in play.session.notice
    play.asked = [newest]
    play.take(Action.LAYER)
    assert play.asked == [newest], "it goes on"


def test_a_key_ends_a_walk_that_goes_on_behind_it() -> None:
    play = walking("hello " * 20)
    first = the_walk(play)
    play.take(one(first, 0))
    play.asked.clear()
    play.take(Action.APPEND)
    (evaluate,) = play.asked
    assert isinstance(evaluate, Evaluate) and evaluate.start == 120, "one token, and nothing else"
    play.take(one(first, 1))  # it was on its way
    assert play.session.game.prompt.tip.ancestor(3).taken is not None
    play.answer()
    assert play.walked[0] == evaluate.path[:4], "what is known is not asked for again"
    assert play.session.game.prompt.tip.whole and unique(play)


@pytest.mark.parametrize("keys", [(Action.POP,), (Action.POP, Action.POP), (Action.COPY,), (Action.POP, Action.UNDO)])
def test_keys_while_it_walks_wait_for_one_token_at_the_most(keys: tuple[Action, ...]) -> None:
    play = walking("hello " * 20)
    for key in keys:
        play.take(key)
        evaluates = [request for request in play.asked if isinstance(request, Evaluate)]
        assert all(request.start == len(request.path) - 1 for request in evaluates)
        for request in evaluates:
            for reply in play.replies(request):
                play.take(reply)
        play.asked = [request for request in play.asked if request not in evaluates]
        assert play.session.game.ready
    play.answer()
    assert play.session.game.prompt.tip.whole and unique(play)


def test_a_table_that_the_walk_brings_is_not_waited_for_any_more() -> None:
    play = walking("hello " * 4)
    walk = the_walk(play)
    play.asked.clear()
    play.take(Action.POP)
    play.session.game.prompts[0].tip.child(walk.path[-1]).attach_taken(fake.taken(walk.path[:-1], walk.path[-1], GIVEN))
    assert not play.session.game.ready
    play.take(one(walk, 22))
    assert play.session.game.ready


def test_it_walks_the_prompt_that_is_gone_to() -> None:
    play = walking("hello " * 20)
    play.press(Action.COPY, Action.APPEND, Action.PREVIOUS)
    other = play.session.game.prompts[1].tip
    assert play.session.game.prompt.tip.whole
    assert other.whole, "they have all but a token in common"
    play.take(Typed("text of its own"))
    play.answer()
    play.take(Action.ENTER)
    play.answer()
    assert all(prompt.tip.whole for prompt in play.session.game.prompts) and unique(play)


def test_the_selected_token_is_gone_on_from_before_the_walk() -> None:
    play = Served("hello world", lookahead=3)
    kinds: list[type[Request]] = []
    while play.asked:
        request = play.asked.pop(0)
        kinds.append(type(request))
        for reply in play.replies(request):
            play.take(reply)
        if isinstance(request, Walk) and play.session.game.prompt.tip.whole:
            break
    assert kinds[-2:] == [Lookahead, Walk]


@pytest.mark.parametrize("answers", ["refused", "followed by a search"])
def test_lookahead_that_is_never_answered_does_not_stop_the_walk(answers: str) -> None:
    play = Served("hello world", lookahead=3)
    while not play.asked or not isinstance(play.asked[0], Lookahead):
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    ahead = play.asked.pop()
    assert isinstance(ahead, Lookahead)
    if answers == "refused":
        play.take(Failed(ahead.request, "no"))
    else:
        play.press(Action.SEARCH, Typed("a"), Action.CLOSE)
    assert any(isinstance(request, Walk) for request in play.asked) or play.session.game.prompt.tip.whole


def test_a_refused_walk_is_told_and_not_asked_for_again_and_again() -> None:
    play = walking("hello " * 20)
    play.take(Failed(the_walk(play).request, "the server says no"))
    play.asked.clear()
    assert play.session.notice == "the server says no"
    for key in (Action.LAYER, Action.DOWN, Action.UP, Action.CURSOR_BACK, Action.CURSOR_TIP):
        play.take(key)
        assert play.asked == []
    assert "…" not in screen(play).splitlines()[-4]


def test_an_answer_that_brings_nothing_is_not_asked_for_again_and_again() -> None:
    play = walking("hello")
    walk = the_walk(play)
    play.asked.clear()
    for place in range(5):
        play.take(replace(one(walk, place), taken=[]))
        if play.session.game.refused:
            break
    play.asked.clear()
    play.take(Action.LAYER)
    assert play.asked == []


def test_typed_text_and_phrases_are_walked_before_the_rest_of_the_prompt() -> None:
    play = walking("hello " * 30)
    play.asked.clear()
    play.take(Action.INPUT)
    play.take(Typed("abc"))
    while not (play.session.game.ready and play.asked and isinstance(play.asked[-1], Walk)):
        request = play.asked.pop(0)
        if not isinstance(request, Walk):
            for reply in play.replies(request):
                play.take(reply)
    walk = play.asked[-1]
    assert isinstance(walk, Walk) and walk.places[:3] == [179, 180, 181][: len(walk.places)]
    for place in walk.places:
        play.take(one(walk, place))
    typing = on(play.session, screens.Input)
    joint = Score(typing.base, typing.tip).logprob
    path = typing.tip.path()
    assert joint == pytest.approx(sum(fake.taken(path[:-n], path[-n]).logprob for n in (1, 2, 3)))
    play.asked.clear()
    play.take(Action.SCORE)
    assert play.session.game.results.scores[0].logprob == joint and not any(
        isinstance(one, Evaluate) for one in play.asked
    )


def test_a_phrase_that_is_refused_is_left_out_and_said() -> None:
    play = served("hello").press(Action.INPUT)
    play.take(Typed("abc"))
    play.take(Action.SCORE)
    while not any(isinstance(request, Walk) for request in play.asked):
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    play.take(Failed(the_walk(play).request, "no room"))
    assert play.session.game.results.scores == () and "this phrase is left out" in play.session.notice


def test_jumps_go_through_what_is_there() -> None:
    play = walking("hello " * 20)
    for place in (50, 7, 90):
        play.take(one(the_walk(play), place))
    play.asked.clear()
    there = [node for node in play.session.game.prompt.tip.nodes(1) if node.taken]
    assert {51, 8, 91} < {node.depth - 1 for node in there}
    for node in sorted(there, key=lambda node: -(node.surprisal or 0)):
        play.take(Action.HIGHEST_SURPRISAL)
        assert play.session.game.prompt.cursor is node
        assert play.session.notice == "the highest of what is known so far"
        assert "#" not in screen(play), "its place among all is not known"


def test_the_next_notable_token_is_one_of_what_is_known() -> None:
    play = walking("hello " * 20)
    play.take(Action.PREVIOUS_ENTROPY)
    assert play.session.notice == "the highest of what is known so far"
    play.answer()
    play.take(Action.PREVIOUS_ENTROPY)
    assert play.session.notice == ""


# --- any keys, any order


def unique(play: Served) -> bool:
    """Whether no position was walked twice."""
    return len(set(map(tuple, play.walked))) == len(play.walked)


def has_true_numbers(tip: Node) -> bool:
    """Whether a path's numbers are those of the engine of arithmetic, as far as a server tells them."""
    for node in tip.nodes(1):
        before, token = node.path()[:-1], node.token
        # A search has the ranks of all tokens.
        assert node.taken in (fake.taken(before, token, GIVEN), fake.taken(before, token))
        assert node.parent is not None and node.parent.distribution is not None
        true = fake.distribution(before, 1).entropy_bits
        assert node.parent.distribution.entropy_bits - 1e-9 <= true <= node.parent.distribution.most_bits + 1e-9
    return True


class Bounded(Oracle):
    """The rules written down again, of an engine with few candidates: what leads to entropies has their lower ends."""

    entropy_given = GIVEN


@given(st.lists(st.sampled_from(MOVES), max_size=40), st.sampled_from([0, 4]))
@settings(max_examples=20)
def test_any_keys_over_a_server_do_what_the_plain_rules_say(moves: list[object], lookahead: int) -> None:
    play = served("hello", tokens_to_show=12, max_prompts=3, lookahead=lookahead)
    oracle = Bounded(fake.text_to_path("hello"), shown=GIVEN, limit=3)
    for move in moves:
        for key in keys_of(move):
            play.press(key)
        oracle.press(move)
        agree(play.session, oracle)
        assert play.session.game.prompt.tip.whole
    assert unique(play)
    for prompt in play.session.game.prompts:
        has_true_numbers(prompt.tip)


class Asking(Served):
    """A game in which nothing is asked for that is known."""

    def take(self, message: Any) -> None:
        super().take(message)
        for effect in self.effects:
            if isinstance(effect, Send) and isinstance(effect.request, Walk):
                path = effect.request.path
                lacking = self.session.game.known.root.descend(path).lacking(0, len(path))
                assert {node.depth - 1 for node in lacking} >= set(effect.request.places)


@given(st.integers(0, 2**32))
@settings(max_examples=15)
def test_answers_that_come_late_in_any_order_or_never_are_made_up_for(seed: int) -> None:
    """Keys meanwhile; nothing that came is asked for again, and in the end all is known."""
    chance = random.Random(seed)
    play = Asking("hello " * chance.randint(1, 8), lookahead=chance.choice([0, 3]))
    play.take(Resized(chance.choice([0, 2, 30])))
    late: list[Evaluated] = []
    keys: list[Message] = [Action.APPEND, Action.POP, Action.COPY, Action.NEXT, Action.CURSOR_BACK, Action.CURSOR_TIP]
    keys += [Action.UNDO, Action.REDO, Action.DOWN, Action.LAYER, Action.REMOVE, Action.CURSOR_FAR_BACK]
    for _ in range(60):
        what = chance.random()
        if what < 0.3 and play.session.game.prompts:
            play.take(chance.choice(keys))
        elif what < 0.5 and late:
            play.take(late.pop(chance.randrange(len(late))))
        elif play.asked:
            request = play.asked.pop(0)
            if isinstance(request, Walk):
                places = [place for place in request.places if chance.random() < 0.8]
                chance.shuffle(places)
                late += [one(request, place) for place in places]
                if play.asked and chance.random() < 0.7:
                    late.clear()  # it was ended
            else:
                for reply in play.replies(request):
                    play.take(reply)
        ScreenRenderer().screen(play.session, chance.choice([80, 130]), 40)
    # What never came is asked for again behind what is asked for next.
    play.answer()
    play.press(Action.CURSOR_TIP, Action.INPUT, Typed("and so on"), Action.ENTER)
    assert play.session.game.ready and play.session.game.prompt.tip.whole
    has_true_numbers(play.session.game.prompt.tip)


# --- what it cannot do


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (Action.SAMPLERS, "this server gives 10 candidates of a distribution: samplers need all of it"),
        (Action.ROLL, "this server gives 10 candidates of a distribution: samplers need all of it"),
        (Action.LIKELIER, "this server gives 10 candidates of a distribution: samplers need all of it"),
        (Action.CONSTRAINT, "this server gives 10 candidates of a distribution: constraints need all of it"),
    ],
)
def test_what_needs_the_whole_distribution_says_so(key: Action, told: str) -> None:
    play = served().press(key)
    assert play.session.notice == told and isinstance(play.session.screen, screens.Play)
    assert not any(isinstance(request, Roll) for request in play.asked)


class Vocabularyless(Served):
    """A server that does not give its vocabulary."""

    loaded = replace(SERVED, capabilities=SERVED.capabilities - {Capability.VOCABULARY_SEARCH})


def test_a_server_without_a_vocabulary_to_search_says_so() -> None:
    play = Vocabularyless("hello").answer()
    assert "search" not in [label for _, _, label in hints(play.session)]
    play.press(Action.SEARCH)
    assert play.session.notice == "this server does not tell its vocabulary: i types any token"
    play.press(Action.BOTTOM, Action.DOWN)
    assert play.session.notice == "the table ends here: i types every other token"


def test_a_search_says_its_price_before_it_is_begun() -> None:
    play = served("hello")
    model = replace(SERVED, vocab_size=49_152)
    play.session = replace(play.session, game=replace(play.session.game, model=model))
    play.take(Action.SEARCH)
    assert play.asked == []
    assert "needs the whole vocabulary from the server: about 5 MB" in screen(play)
    play.take(Typed("a"))
    assert [type(request) for request in play.asked] == [Search] and "needs the whole" not in screen(play)
    play.answer()
    assert on(play.session, screens.SearchScreen).rows
    assert "needs the whole vocabulary" not in screen(fake.started().press(Action.SEARCH))


def test_a_search_with_an_empty_line_is_begun_by_enter() -> None:
    play = served().press(Action.SEARCH)
    play.take(Action.APPEND)
    assert [type(request) for request in play.asked] == [Search]
    play.answer()
    assert on(play.session, screens.SearchScreen).rows


# --- honest numbers


def test_numbers_have_their_bounds() -> None:
    play = served("hello " * 20)
    tip = play.session.game.prompt.tip
    distribution = tip.distribution
    assert distribution is not None
    low, high = distribution.entropy_bits, distribution.most_bits
    assert high - low > 0.05
    drawn = screen(play)
    assert (
        f"next: entropy {low:.2f}–{high:.2f} bits ({low / 6:.2f}–{high / 6:.2f})  2^H {2**low:.1f}–{2**high:.1f}"
        in drawn
    )
    while (node := play.session.game.prompt.cursor or tip).taken is None or not node.taken.at_least:
        play.press(Action.CURSOR_BACK)
    drawn = screen(play)
    assert "rank > 10 " in drawn and "≈ #" in drawn
    row = next(line for line in drawn.splitlines() if "›" in line)
    assert "> 10 " in row.split("›")[1]
    assert "ranks 1–10:" in drawn and "ranks 1–11" not in drawn


def test_close_bounds_are_one_number_which_is_marked() -> None:
    play = served("hello")
    node = play.session.game.prompt.tip
    assert node.distribution is not None
    node.distribution = replace(node.distribution, entropy_bits=3.98, slack_bits=0.03)
    assert "next: entropy ≈ 4.00 bits" in screen(play)
    node.distribution = replace(node.distribution, entropy_bits=3.981, slack_bits=0.001)
    assert "next: entropy 3.98 bits (0.66)" in screen(play)


def test_a_vocabulary_of_unknown_size_gives_no_share() -> None:
    play = served("hello")
    play.session = replace(play.session, game=replace(play.session.game, model=replace(SERVED, vocab_size=0)))
    assert " bits  2^H" in screen(play)
    play.press(Action.LAYER, Action.LAYER)
    assert play.session.options.layer is layers.ENTROPY
    assert all(play.session.layer_value(node) is None for node in play.session.game.prompt.tip.nodes())


def test_layers_of_bounds_say_so_and_colour_by_what_is_certain() -> None:
    play = served("hello").press(Action.LAYER)
    assert "at least" not in screen(play)
    play.press(Action.LAYER)
    assert " 1 at least" in screen(play)
    node = play.session.game.prompt.tip.ancestor(3)
    assert node.parent is not None and node.parent.distribution is not None
    assert play.session.layer_value(node) == node.parent.distribution.entropy_bits / math.log2(VOCAB)
    play.press(Action.LAYER, Action.MORE_LAYERS)
    assert "rest  at least" in screen(play)
    assert "at least" not in screen(fake.started().press(Action.MORE_LAYERS))


def test_scores_have_bounds_of_ranks() -> None:
    play = served("hello").press(Action.INPUT, Typed("abcdefgh"), Action.SCORE)
    score = play.session.game.results.scores[0]
    assert any(node.taken and node.taken.at_least for node in score.nodes)
    assert " > 10" in screen(play)


def test_uncoloured_tokens_get_their_colours_when_they_come() -> None:
    """Drawn lines are kept, but not those with tokens that are not known."""
    play, view = walking("hello " * 60), ScreenRenderer()
    play.session = replace(play.session, options=replace(play.session.options, layer=layers.PROBABILITY))
    view.screen(play.session, 130, 40)
    chance = random.Random(1)
    while not play.session.game.prompt.tip.whole:
        walk = play.asked.pop()
        assert isinstance(walk, Walk)
        for place in chance.sample(walk.places, len(walk.places)):
            play.take(one(walk, place))
            if chance.random() < 0.2:
                assert view.screen(play.session, 130, 40) == ScreenRenderer().screen(play.session, 130, 40)
    assert view.screen(play.session, 130, 40) == ScreenRenderer().screen(play.session, 130, 40)


# --- the connection


def test_the_first_line_says_where_the_model_is() -> None:
    play = served()
    wide, narrow = screen(play).splitlines()[0], screen(play, 80).splitlines()[0]
    assert "⇄ 127.0.0.1:8080 · llama-server b11434 · top 10 · Served" in wide
    assert "⇄ 127.0.0.1:8080 · llama-server b11434 · top 10" in narrow and "context 5/4096" in narrow
    connecting = screen(Served())
    assert "⇄ fake.gguf" in connecting and "connecting to 127.0.0.1:8080" in connecting


def test_a_lost_connection_keeps_everything_and_r_reconnects() -> None:
    play = served("hello").press(Action.APPEND)
    path = play.session.game.prompt.tip.path()
    play.take(EngineDied("refused"))
    lost = "the connection to 127.0.0.1:8080 is lost (refused); your prompts are safe: press r to reconnect"
    assert play.session.notice == lost
    assert "no connection to 127.0.0.1:8080: r reconnects" in screen(play)
    assert ("r", "reconnect") in [(keys, label) for _, keys, label in hints(play.session)]
    for key in (Action.AUTOPLAY, Action.INPUT):
        play.press(key)
        assert play.session.notice == "no connection to 127.0.0.1:8080: r reconnects"
    assert "restart" not in screen(play)
    play.press(Action.POP, Action.APPEND, Action.RESTART)
    assert play.session.game.ready and play.session.game.prompt.tip.path() == path


def test_a_connection_that_is_lost_while_text_is_typed_names_the_way() -> None:
    play = served("hello").press(Action.INPUT, Typed("abc"))
    play.take(EngineDied("refused"))
    assert "your prompts and this text are safe: Esc, then r, reconnects" in play.session.notice
    assert "no connection to 127.0.0.1:8080: Esc, then r, reconnects" in screen(play)
    play.take(Action.ENTER)
    assert play.session.notice == "the connection to 127.0.0.1:8080 is lost: Esc, then r, reconnects; the text is kept"
    assert "restart" not in screen(play)


def test_a_silent_connection_and_one_that_answers() -> None:
    play = served("hello").press(Action.RESTART)
    assert play.session.notice == "the server answers: you are connected"
    play.take(Action.APPEND)
    play.take(Action.RESTART)
    assert "the server is still at it: press r again to reconnect" in play.session.notice_line
    for _ in range(SILENT_AFTER):
        play.take(Beat())
    assert "connection silent for 4 s: r reconnects" in screen(play)


def test_a_walk_under_way_when_the_connection_is_lost_goes_on_with_the_next_one() -> None:
    play = walking("hello " * 20)
    play.take(one(the_walk(play), 0))
    play.asked.clear()
    play.take(EngineDied("refused"))
    assert play.session.game.newest(ForWalk) is None and "…" not in screen(play).splitlines()[-4]
    play.press(Action.RESTART)
    assert play.session.game.prompt.tip.whole
    assert fake.text_to_path("he") not in play.walked, "what is known is not asked for again"
