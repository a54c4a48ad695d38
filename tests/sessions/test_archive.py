"""Sessions as bytes: what was on the screen comes back, and bad bytes are refused in one line."""

import json
import math
import os
import random
import sys
import threading
import time
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import fake
from tests.fake import PIECES, Play, on, started
from tests.figures import Figure
from tokex_gguf.engine.protocol import Checked, EngineDied, Evaluate, Loaded, Tokenize
from tokex_gguf.play import requests, screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EngineStatus, Game, Prompt, Sampling, Settings, Turns
from tokex_gguf.play.messages import Edit, Edited, EngineReplied, Go, Send, Typed
from tokex_gguf.play.purposes import ForCheck
from tokex_gguf.play.rules.tree import tree_lines
from tokex_gguf.play.session import Palette, Session
from tokex_gguf.play.update import update
from tokex_gguf.sessions import codec, columns, summary
from tokex_gguf.sessions.codec import Encoder, dump, load, seal
from tokex_gguf.sessions.columns import BadArchive
from tokex_gguf.sessions.summary import Stamp
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values import layers
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.outline import Order
from tokex_gguf.values.samplers import Chain, Kind, Sampler
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT, Verdict

SEED = int(os.environ.get("ARCHIVE_SEED", "1"))
LOADED = Loaded("Fake", "fake", "Q4_0", 64, 4096, 8192, None, False)


def played() -> Play:
    """A game in which a little of everything was done."""
    play = started("hello world", lookahead=4)
    play.press(Action.DOWN, Action.DOWN, Action.APPEND, Action.APPEND, Action.POP, Action.POP)
    play.press(Action.COPY, Action.DOWN, Action.APPEND, Action.COPY, Action.APPEND, Action.REMOVE, Action.NEXT)
    play.press(Action.LAYER, Action.PALETTE, Action.MOUSE)
    play.press(Action.INPUT, Typed("abc"), Action.SCORE, Typed("xyz"), Action.SCORE, Action.CLOSE)
    return play.press(Action.CURSOR_BACK, Action.CURSOR_BACK, Action.DOWN)


def resumed(session: Session) -> Play:
    """The session after a restart of the program, its model loaded; nothing is answered."""
    play = Play(lookahead=session.game.settings.lookahead)
    play.session = load(dump(session), replace(session.game.settings, text="something else"))
    play.asked.clear()
    play.take(LOADED)
    return play


def test_what_a_constraint_costs_is_there_again_without_a_layer() -> None:
    """The tree has all distributions, and no verdicts."""
    play = started("hello")
    constraint = Constraint(ConstraintKind.REGEX, "[a-z]*")
    sampling = Sampling(Chain((Sampler(Kind.TOP_K, (5.0,)),)), constraint)
    prompts = (replace(play.session.game.prompt, begins=1),)
    play.session = replace(play.session, game=replace(play.session.game, sampling=sampling, prompts=prompts))
    again = resumed(play.session)
    lens, tip = again.session.lens, again.session.game.prompt.tip
    assert isinstance(lens, Sampled) and again.session.options.layer is layers.PLAIN
    for reply in again.replies(again.asked.pop(0)):  # the view of the table, which the player waits for, comes first
        again.take(reply)
    (request,) = again.asked
    assert isinstance(request, Evaluate) and (request.path, request.lens) == (tip.path(), lens)
    verdicts = [Verdict(0.5, NOT_CUT, 0.25)] * (tip.depth - request.start - 1)
    again.take(replace(fake.evaluated(request), verdicts=verdicts))
    assert again.session.game.known.lens_results.cost(lens, tip) == 2.0 * (tip.depth - 1), "two bits each"


def text(session: Session) -> list[str]:
    """The screen's lines, without what the last answer took."""
    lines = ["".join(part for _, part in line) for line in ScreenRenderer().screen(session, 130, 40)]
    status = lines[-4]
    assert "ready" in status
    return [*lines[:-4], status[:60], *lines[-3:]]


def screen(session: Session) -> list[Any]:
    """The screen with its styles, without the status line."""
    lines = ScreenRenderer().screen(replace(session, notice=""), 130, 40)
    return [*lines[:-4], *lines[-3:]]


# --- round trips


def test_a_played_session_comes_back_without_a_decode() -> None:
    before = played().session
    after = resumed(before)
    assert after.effects == [] and after.asked == []
    assert after.session.game.engine is EngineStatus.READY
    assert screen(after.session) == screen(before)
    assert text(after.session) == text(before)


def test_it_can_be_looked_at_before_the_model_is_loaded() -> None:
    before = played().session
    after = load(dump(before), before.game.settings)
    assert after.game.engine is EngineStatus.LOADING
    assert screen(after) == screen(before)


@pytest.mark.parametrize(
    "keys",
    [
        (Action.CURSOR_TIP,),
        (Action.CURSOR_TIP, Action.POP),
        (Action.BRING_BACK,),
        (Action.TREE,),
        (Action.PREVIOUS,),
        (Action.INPUT,),
        (Go(0), Action.TREE, Action.DOWN, Action.ENTER),
    ],
)
def test_what_was_known_is_known_afterwards(keys: tuple[Action | Go, ...]) -> None:
    """The same keys show the same screens, and the engine is not asked for what it has answered."""
    before = played()
    after = resumed(before.session)
    for key in keys:
        before.take(key)
        after.take(key)
        assert not any(isinstance(request, Evaluate) for request in after.asked)
        assert screen(after.session) == screen(before.session)


def test_playing_on_after_it() -> None:
    before, keys = played(), (Action.CURSOR_TIP, Action.DOWN, Action.APPEND, Action.APPEND, Action.POP, Action.COPY)
    after = resumed(before.session)
    assert screen(before.press(*keys).session) == screen(after.press(*keys).session)


def test_modes_and_what_is_typed_are_left_behind() -> None:
    play = played().press(Action.CURSOR_TIP, Action.INPUT, Typed("abc"))
    after = resumed(play.session).session
    assert isinstance(after.screen, screens.Play) and not after.line.text


def test_a_session_without_prompts_starts_as_a_new_one() -> None:
    play = Play()
    play.session = load(dump(play.session), replace(play.session.game.settings, text="new"))
    play.answer()
    assert play.session.game.ready and play.session.game.prompt.tip.depth == 3


def test_an_interrupted_evaluation_is_asked_for_again() -> None:
    play = started()
    play.take(Action.APPEND)
    after = resumed(play.session)
    assert [type(request) for request in after.asked] == [Evaluate]
    assert after.answer().session.game.ready


def arranged() -> Play:
    """A game with named prompts, and a tree that is sorted, folded and pruned."""
    play = started("hello")
    for _ in range(4):
        play.press(Action.APPEND, Action.APPEND, Action.POP, Action.POP, Action.DOWN)
    play.press(Action.COPY, Action.DOWN, Action.APPEND, Action.COPY, Action.APPEND)
    play.press(Action.PROMPTS, Action.RENAME, Typed("drei \u00e4\n\x1b"), Action.ENTER, Action.TOP)
    play.press(Action.RENAME, Typed("one"), Action.ENTER, Action.DOWN, Action.RENAME, Typed("gone"), Action.ENTER)
    play.press(Action.REMOVE, Action.REMOVE, Action.CLOSE)
    play.press(Action.TREE, Action.TOP, Action.DOWN, Action.PRUNE, Action.PRUNE)
    return play.press(Action.PRUNE, Action.PRUNE, Action.SORT, Action.TOP, Action.FOLD, Action.SORT, Action.CLOSE)


def lines_of(session: Session) -> list[tuple[int, list[int]]]:
    """The tree as it is drawn: levels and paths."""
    return [(line.level, line.branch.end.path()) for line in tree_lines(session).lines]


def test_names_and_the_trees_arrangement_come_back() -> None:
    before = arranged().session
    assert len(before.game.hidden.pruned) == 2 and len(before.game.hidden.folded) == 1
    assert [prompt.name for prompt in before.game.prompts] == ["one", "drei \u00e4 \x1b"]
    play = resumed(before)
    after = play.session
    assert [prompt.name for prompt in after.game.prompts] == [prompt.name for prompt in before.game.prompts]
    assert [node.path() for node in after.game.hidden.pruned] == [node.path() for node in before.game.hidden.pruned]
    assert {tuple(node.path()) for node in after.game.hidden.folded} == {
        tuple(node.path()) for node in before.game.hidden.folded
    }
    assert after.options.order is before.options.order and dump(after) == dump(before)
    for order in Order:
        unfolded = [
            replace(
                one,
                options=replace(one.options, order=order),
                game=replace(one.game, hidden=replace(one.game.hidden, folded=frozenset())),
            )
            for one in (before, after)
        ]
        assert lines_of(unfolded[0]) == lines_of(unfolded[1])
    play.press(Action.BRING_BACK)
    assert play.session.game.prompt.name == "gone"
    play.press(Action.TREE, Action.GRAFT, Action.GRAFT)
    assert not play.session.game.hidden.pruned and "brought back" in play.session.notice


def test_files_from_before_names_and_visits_were_kept_are_read() -> None:
    body = body_of(dump(arranged().session))
    for name in ("names", "removed_names", "pruned", "folded", "order"):
        del body[name]
    del body["nodes"]["seen"]
    play = resumed(load(sealed(body), Settings("x", GgufFile("fake.gguf"))))
    assert not any(prompt.name for prompt in play.session.game.prompts) and play.session.options.order is Order.RECENT
    assert len(lines_of(play.session)) > 5
    play.press(Action.POP, Action.POP, Action.TREE)
    tip = play.session.game.prompt.tip
    assert lines_of(play.session)[-1][1][: tip.depth] == tip.path(), "from now on visits count"


CHAIN = Chain(
    (Sampler.of(Kind.DRY, 0.8), Sampler.of(Kind.TOP_K, 5), Sampler.of(Kind.TEMPERATURE, 1 / 3).switched()),
    ((5, -math.inf), (7, 0.1)),
    ("\n", "\u00e4", ""),
)
OWN = (CHAIN, Chain(CHAIN.samplers[:1]))
SAMPLING = Sampling(CHAIN, Constraint(ConstraintKind.CHOICES, '["\u00e4", "b"]'), 2**32 - 1, OWN)


def rolling(sampling: Sampling = SAMPLING) -> Play:
    """A game in which a few tokens were drawn, some of them at one place."""
    play = started("hello")
    play.session = replace(play.session, game=replace(play.session.game, sampling=sampling))
    play.press(Action.ROLL, Action.ROLL, Action.POP, Action.ROLL, Action.COPY, Action.ROLL, Action.COPY, Action.REMOVE)
    return play


def test_the_chain_the_constraint_the_seed_and_the_draws_come_back() -> None:
    before = rolling().session
    after = resumed(before).session
    assert after.game.sampling == before.game.sampling == SAMPLING
    rolls = [
        {(seed, tuple(node.path())): count for (seed, node), count in one.game.known.rolls.items()}
        for one in (before, after)
    ]
    assert rolls[0] == rolls[1] and sorted(rolls[0].values()) == [1, 1, 2]
    assert [one.begins for one in after.game.prompts] == [one.begins for one in before.game.prompts] == [5, 5]
    assert [one.begins for _, one in after.game.removed] == [5]
    assert dump(after) == dump(before)


def test_after_a_restart_the_same_tokens_are_drawn() -> None:
    before = rolling(Sampling(Chain(CHAIN.samplers[1:2]), None, 7))
    after = resumed(before.session)
    for play in (before, after):
        play.press(Action.ROLL, Action.POP, Action.ROLL, Action.ROLL)
    assert before.session.game.prompt.tip.path() == after.session.game.prompt.tip.path()
    assert before.session.game.drawn and after.session.game.drawn
    assert before.session.game.drawn.draws == after.session.game.drawn.draws


def test_files_from_before_samplers_were_kept_are_read() -> None:
    body = body_of(dump(rolling().session))
    for name in ("sampling", "rolls", "begins", "removed_begins"):
        del body[name]
    game = load(sealed(body), Settings("x", GgufFile("fake.gguf"))).game
    assert game.sampling == Sampling() and game.known.rolls == {}
    assert [one.begins for one in game.prompts] == [one.tip.given for one in game.prompts] == [5, 5]


def parents(session: Session) -> list[list[int] | None]:
    """The path of what each prompt was made from, those last that were removed."""
    prompts = [*session.game.prompts, *(prompt for _, prompt in session.game.removed)]
    return [prompt.parent.path() if prompt.parent else None for prompt in prompts]


def test_what_a_prompt_was_made_from_comes_back() -> None:
    """Also where the one that it was made from has gone on, and one that was made and removed."""
    play = started("hello").press(Action.COPY, Action.APPEND, Action.CURSOR_BACK, Action.CURSOR_BACK)
    play.press(Action.UP, Action.APPEND, Go(0), Action.APPEND, Go(2), Action.COPY, Action.REMOVE)
    before = play.session
    hello, made = fake.text_to_path("hello"), [prompt.tip.path() for prompt in before.game.prompts]
    assert parents(before) == [None, hello, made[1], made[2]] and made[0][:-1] == hello
    after = resumed(before).session
    assert parents(after) == parents(before) and dump(after) == dump(before)


def test_a_prompt_that_was_made_and_undone_comes_back_with_what_it_was_made_from() -> None:
    play = started("hello").press(Action.CURSOR_BACK, Action.UP, Action.APPEND, Action.UNDO)
    assert parents(resumed(play.session).session) == parents(play.session) == [None]
    play.press(Action.REDO)
    assert parents(resumed(play.session).session) == parents(play.session) == [None, fake.text_to_path("hello")]


def test_files_from_before_it_was_kept_say_of_no_prompt_what_it_was_made_from() -> None:
    play = started("hello").press(Action.COPY, Action.COPY, Action.REMOVE)
    body = body_of(dump(play.session))
    del body["parents"], body["removed_parents"]
    game = load(sealed(body), Settings("x", GgufFile("fake.gguf"))).game
    assert [prompt.parent for prompt in (*game.prompts, game.removed[0][1])] == [None, None, None]


def test_a_layer_of_the_samplers_is_a_layer() -> None:
    session = replace(rolling().session, options=replace(rolling().session.options, layer=layers.REACHABLE))
    assert load(dump(session), session.game.settings).options.layer is layers.REACHABLE


def test_a_text_for_a_new_prompt_that_was_not_opened_comes_back() -> None:
    before = arranged().press(Action.PROMPTS, Action.NEW, Typed("half a\nstory"))
    for play in (resumed(before.session), resumed(before.press(Action.CLOSE).session)):
        play.press(Action.PROMPTS, Action.NEW)
        assert play.session.line.text == "half a\nstory"
    assert "unopened" not in body_of(dump(play.press(Action.ENTER).session))


def test_what_an_open_prompt_has_is_never_hidden_whatever_the_file_says() -> None:
    body = body_of(DATA)
    body["pruned"] = [1, body["prompts"][0][0]]
    session = load(sealed(body), Settings("x", GgufFile("m")))
    assert session.game.hidden.pruned == ()


def test_floats_and_bytes_keep_every_bit() -> None:
    values = [-5e-324, -0.0, -0.1, -1 / 3, -745.1, -1e300, -math.inf]
    session = Session(Game(Settings("x", GgufFile("m")), model=LOADED))
    session.game.known.pieces.update(
        {token: Piece(bytes(range(256)), token % 2 == 0, token % 3 == 0) for token in range(8)}
    )
    tip = session.game.known.root.child(0)
    tip.attach(Distribution.of(math.pi, range(7), values))
    tip.child(7).attach_taken(TokenLogprob(-math.inf, 64))
    again = load(dump(replace(session, game=replace(session.game, prompts=(Prompt(tip),)))), session.game.settings)
    distribution = again.game.prompt.tip.distribution
    assert distribution is not None and distribution.entropy_bits == math.pi
    assert [value.hex() for value in distribution.logprobs] == [value.hex() for value in values]
    assert again.game.prompt.tip.child(7).taken == TokenLogprob(-math.inf, 64)
    assert again.game.known.pieces == session.game.known.pieces


def test_deep_and_wide_trees() -> None:
    session = Session(Game(Settings("x", GgufFile("m")), model=replace(LOADED, vocab_size=5000)))
    session.game.known.pieces.update(dict.fromkeys(range(5000), PIECES[1]))
    tip = session.game.known.root.descend([1] * 20_000)
    tip.visit()
    for token in range(5000):
        session.game.known.root.child(token).visit()
    session = replace(session, game=replace(session.game, prompts=(Prompt(tip, cursor=tip.parent),)))
    again = load(dump(session), session.game.settings)
    assert again.game.prompt.tip.path() == tip.path() and len(again.game.known.root.children) == 5000
    assert again.game.prompt.cursor is again.game.prompt.tip.parent
    assert dump(again) == dump(session)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more candidates are kept than are shown."""
    monkeypatch.setattr(requests, "KEPT_CANDIDATES", 0)


@pytest.mark.usefixtures("few")
def test_empty_nodes_are_left_out_unless_something_refers_to_them() -> None:
    session = started().session
    before = dump(session)
    tip = session.game.prompt.tip
    far = tip.descend([60, 61, 62])
    assert tip.distribution is not None and 60 not in tip.distribution.rows
    assert dump(session) == before
    assert (
        load(
            dump(replace(session, game=replace(session.game, prompts=(Prompt(far),)))), session.game.settings
        ).game.prompt.tip.path()
        == far.path()
    )


def test_the_file_of_the_model_is_kept_where_none_is_given() -> None:
    session = replace(
        started().session, game=replace(started().session.game, settings=Settings("x", GgufFile("a/\udcff.gguf")))
    )
    assert load(dump(session), Settings("y", GgufFile(""))).game.settings.model.key == "a/\udcff.gguf"
    assert load(dump(session), Settings("y", GgufFile("other.gguf"))).game.settings.model.key == "other.gguf"


KEYS = st.lists(
    st.one_of(
        st.sampled_from([action for action in Action if action is not Action.QUIT]),
        st.builds(Typed, st.text("ab c", max_size=3)),
        st.builds(Go, st.integers(0, 3)),
    ),
    max_size=30,
)


@given(KEYS, st.integers(0, 3))
def test_whatever_was_played_a_second_dump_is_the_same(keys: list[Any], lookahead: int) -> None:
    play = started(lookahead=lookahead)
    for key in keys:
        play.press(key)
    data = dump(play.session)
    again = load(data, play.session.game.settings)
    assert dump(again) == data
    assert again.game.prompts[again.game.active].tip.path() == play.session.game.prompt.tip.path()
    assert (again.options.layer, again.options.palette, again.options.mouse) == (
        play.session.options.layer,
        play.session.options.palette,
        play.session.options.mouse,
    )
    again, effects = update(again, EngineReplied(0, LOADED))
    if play.session.game.ready and not play.session.game.pressed.autoplay:
        assert not [effect for effect in effects if isinstance(effect, Send) and isinstance(effect.request, Evaluate)]


def test_the_assistants_tokens_come_back() -> None:
    play = started()
    nodes = play.session.game.prompt.tip.nodes()
    play.session = replace(play.session, game=replace(play.session.game, turns=Turns(frozenset(nodes[2:4]))))
    again = load(dump(play.session), play.session.game.settings)
    assert again.game.said == frozenset(again.game.prompt.tip.nodes()[2:4])
    assert (
        load(
            dump(replace(play.session, game=replace(play.session.game, turns=Turns(None)))), play.session.game.settings
        ).game.said
        is None
    )


@pytest.mark.parametrize("chat", ["", "[]"])
def test_in_a_chat_special_tokens_are_typed_by_their_names_also_the_next_day(chat: str) -> None:
    play = started()
    play.session = replace(
        play.session, game=replace(play.session.game, settings=replace(play.session.game.settings, chat=chat))
    )
    plain = Settings("", GgufFile(""), parse_special=False)
    for _ in range(2):  # and the day after
        play.session = load(dump(play.session), plain)
        play.asked.clear()
        play.take(LOADED)
        play.answer()
    assert (b'"chat"' in dump(play.session)) == bool(chat)
    play.press(Action.INPUT)
    play.take(Typed("x"))
    asked = [one.parse_special for one in play.asked if isinstance(one, Tokenize)]
    assert asked == [bool(chat)]
    play.press(Action.CLOSE)
    play.take(Action.APPEND)
    while not play.checks:
        play.take(play.replies(play.asked.pop(0)).__next__())
    assert [one.parse_special for one in play.checks] == [bool(chat)]


# --- another model


@pytest.mark.parametrize(
    "other",
    [{"vocab_size": 65}, {"name": "Other"}, {"quantization": "Q8_0"}, {"architecture": "x"}, {"bos": 1}],
)
def test_another_model_is_noticed(other: dict[str, Any]) -> None:
    before = played().session
    session, effects = update(load(dump(before), before.game.settings), EngineReplied(0, replace(LOADED, **other)))
    assert session.game.engine is EngineStatus.DEAD and "another model" in session.notice
    assert effects == []
    *shown, keys, more_keys = screen(session)
    assert shown == screen(before)[:-2], "it can still be looked at"
    assert "restart engine" in "".join(text for _, text in [*keys, *more_keys])


def test_the_same_model_with_another_context_is_the_same() -> None:
    before = played().session
    session, _ = update(
        load(dump(before), before.game.settings), EngineReplied(0, replace(LOADED, context=512, context_limit=512))
    )
    assert session.game.engine is EngineStatus.READY and session.game.context == 512


# --- saving while it is played on


def test_dumps_while_the_tree_grows() -> None:
    session = started().session
    tip = session.game.prompt.tip
    numbers = random.Random(SEED)

    def grow() -> None:
        """As the rules do: pieces first, a path's nodes from the first to the last."""
        token = 64
        for _ in range(100):
            nodes = [tip]
            for _ in range(20):
                session.game.known.pieces[token] = Piece(b"%d" % token)
                nodes.append(nodes[-1].child(token))
                token += 1
            for node in nodes[1:]:
                node.attach(Distribution.of(1.0, [node.token], [-1.0]))
            for node in nodes[1:]:
                node.attach_taken(TokenLogprob(-1.0, 1))
            nodes[numbers.randrange(20)].visit()
            nodes[-1].visit()
            time.sleep(0.002)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    session = replace(session, game=replace(session.game, model=replace(LOADED, vocab_size=2**31 - 1)))
    thread = threading.Thread(target=grow)
    thread.start()
    try:
        sizes = set()
        while thread.is_alive():
            data = dump(session)
            sizes.add(len(data))
            again = load(data, session.game.settings)
            assert dump(again) == data
            check_whole(again.game.known.root)
        assert len(sizes) > 5, "it did not grow"
    finally:
        thread.join()
        sys.setswitchinterval(interval)


def check_whole(root: Node) -> None:
    """What holds in every tree: what is known or visited has only known or visited before it."""
    waiting = list(root.children.values())
    while waiting:
        node = waiting.pop()
        waiting += node.children.values()
        assert node.parent is not None
        assert node.parent.visited or not node.visited
        assert node.parent.known or not node.known or node.depth == 1


def test_dumps_between_any_two_steps_of_an_answer() -> None:
    """A node that is dumped whenever something about it changes."""
    dumps: list[bytes] = []
    watched: list[Session] = []

    class Watched(Node):
        __slots__ = ()

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if watched:
                dumps.append(dump(watched[0]))

    play = started("a")
    tip = play.session.game.prompt.tip
    node = tip.children[7] = Watched(tip, 7)
    play.session = replace(play.session, game=replace(play.session.game, prompts=(Prompt(node),)))
    watched.append(play.session)
    play.press(Action.COPY)
    assert len(dumps) > 2
    for data in dumps:
        again = load(data, play.session.game.settings)
        check_whole(again.game.known.root)
        assert dump(again) == data
    node.checked = False
    dumps.clear()
    play.session = replace(play.session, game=replace(play.session.game, open_requests={1000: ForCheck(node)}))
    play.take(Checked(1000, 1))
    tips = [load(data, play.session.game.settings).game.prompt.tip for data in dumps]
    assert {(tip.checked, tip.differs) for tip in tips} == {(False, None), (True, 1)}


def test_an_answer_that_arrives_in_the_middle_of_a_dump() -> None:
    """Of a path, what is read later may hold more than what was read before: never the other way round."""
    arrived: list[Node] = []

    class Growing(Node):
        __slots__ = ()

        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if name == "distribution" and path and not arrived:
                arrived.append(self)
                for node in path:
                    node.attach(Distribution.of(1.0, [node.token], [-1.0]))
                for node in path:
                    node.attach_taken(TokenLogprob(-1.0, 1))
            return value

    session = started("a").session
    path: list[Node] = []
    node = session.game.prompt.tip
    grown = []
    for token in (7, 8, 9):
        node.children[token] = Growing(node, token)
        node = node.children[token]
        grown.append(node)
    path += grown
    session = replace(session, game=replace(session.game, prompts=(Prompt(node),)))
    data = dump(session)
    assert arrived
    again = load(data, session.game.settings)
    check_whole(again.game.known.root)
    assert dump(again) == data


def test_a_visit_that_is_noted_halfway() -> None:
    session = started("abc").session
    tip = session.game.prompt.tip
    assert tip.parent is not None
    tip.parent.visited = session.game.known.root.visited = False
    again = load(data := dump(session), session.game.settings)
    check_whole(again.game.known.root)
    assert again.game.known.root.visited and dump(again) == data


# --- bad bytes


def body_of(data: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(data)["session"]
    return body


def sealed(body: object) -> bytes:
    return seal(json.dumps(body, separators=(",", ":")).encode())


def refused(data: bytes) -> str:
    """Why it is refused, in one line."""
    with pytest.raises(BadArchive) as info:
        load(data, Settings("x", GgufFile("m")))
    reason = str(info.value)
    assert reason and "\n" not in reason and len(reason) < 200
    return reason


def only_bad_archives(data: bytes) -> bool:
    """Whether it is read; anything but BadArchive is a failure. What is read can be drawn and played."""
    try:
        session, encoder = codec.read(data, Settings("x", GgufFile("m"), lookahead=2))
    except BadArchive:
        return False
    assert dump(load(b"".join(encoder.encode(session, Stamp())), session.game.settings)) == dump(session)
    if session.game.prompts:
        play = Play()
        play.session = session
        ScreenRenderer().screen(session, 130, 40)
        play.take(session.game.model or LOADED)
        for key in (Action.CURSOR_BACK, Action.MORE_LAYERS, Action.TREE, Action.CLOSE, Action.BRING_BACK, Action.INPUT):
            play.take(key)
            ScreenRenderer().screen(play.session, 130, 40)
    return True


DATA = dump(played().session)


def test_what_the_document_is() -> None:
    document = json.loads(DATA)
    assert list(document) == ["format", "version", "crc32", "session"]
    assert (document["format"], document["version"]) == ("tokex-gguf session", 2)
    assert sealed(document["session"]) == DATA
    assert DATA.isascii()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\xff\xfe{", "not JSON"),
        (DATA[:-1], "not JSON"),
        (b"NaN", "not a session"),
        (b"[]", "not a session"),
        (b"null", "not a session"),
        (b'{"format":"other","version":1}', "not a session"),
        (b'{"format":"tokex-gguf session"}', "version"),
        (b'{"format":"tokex-gguf session","version":true}', "version"),
        (b'{"format":"tokex-gguf session","version":0}', "no such version"),
        (b'{"format":"tokex-gguf session","version":3,"anything":1}', "made by a newer version of the program"),
        (b'{"format":"tokex-gguf session","version":1}', "crc32"),
        (b'{"format":"tokex-gguf session","version":1,"crc32":1,"session":{}}', "checksum"),
        (b'{"format":"tokex-gguf session","version":1,"crc32":' + b"9" * 5000 + b"}", "not JSON"),
        (b" " + DATA, "checksum"),
        (DATA + b"\n", "checksum"),
        (b"[" * 200_000, "nested"),
        (b'{"a":' * 200_000, "nested"),
        (seal(b"[" * 500 + b"]" * 500), "session: "),
        (seal(b"{}"), "file: missing"),
    ],
)
def test_other_documents_are_refused(data: bytes, reason: str) -> None:
    assert reason in refused(data)


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_MOST_BYTES", 1000)
    assert "larger" in refused(DATA)


Change = Callable[[dict[str, Any]], object]


def column(name: str, change: Callable[[Any], object], part: str = "nodes") -> Change:
    """A change of one column."""
    code = "B" if name in ("flags", "data") else "d" if name in columns.FLOATS else "i"

    def go(body: dict[str, Any]) -> None:
        values = columns.unpacked(body[part], name, array(code))
        change(values)
        body[part][name] = b64encode(values).decode()

    return go


def item(index: int, value: float) -> Callable[[Any], None]:
    return lambda values: values.__setitem__(index, value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body.pop("nodes"), "nodes"),
        (lambda body: body.update(file=3), "file"),
        (lambda body: body.update(file="a\0b"), "file"),
        (lambda body: body.update(mouse=1), "mouse"),
        (lambda body: body.update(layer="loud"), "layer"),
        (lambda body: body.update(palette=None), "palette"),
        (lambda body: body.update(active=True), "active"),
        (lambda body: body.update(active=99), "active"),
        (lambda body: body.update(active=-1), "active"),
        (lambda body: body.update(context=1.5), "context"),
        (lambda body: body.update(model=None), "model"),
        (lambda body: body.update(model=[]), "model"),
        (lambda body: body["model"].update(vocab_size=-1), "vocab_size"),
        (lambda body: body["model"].update(vocab_size=10), "pieces"),
        (lambda body: body["model"].update(bos=64), "bos"),
        (lambda body: body["model"].update(space_prefix=0), "space_prefix"),
        (lambda body: body.update(prompts={}), "prompts"),
        (lambda body: body.update(prompts=[[1]]), "prompts"),
        (lambda body: body.update(prompts=body["prompts"] * 1000), "prompts"),
        (lambda body: body["prompts"][0].__setitem__(0, 0), "prompts"),
        (lambda body: body["prompts"][0].__setitem__(0, 10**30), "prompts"),
        (lambda body: body["prompts"][0].__setitem__(0, 1.0), "prompts"),
        (lambda body: body["prompts"][0].__setitem__(1, 64), "without its piece"),
        (lambda body: body["prompts"][0].__setitem__(2, "3"), "prompts"),
        (lambda body: body["prompts"][0].__setitem__(3, body["scores"][0][1]), "beside its path"),
        (lambda body: body["removed"][0].__setitem__(0, -1), "removed"),
        (lambda body: body["scores"][0].reverse(), "scores"),
        (lambda body: body["scores"][0].__setitem__(0, body["scores"][0][1]), "scores"),
        (lambda body: body.update(names=[[9, "a"]]), "names"),
        (lambda body: body.update(names=[[0, 1]]), "names"),
        (lambda body: body.update(names=[[0, "\ud800"]]), "names"),
        (lambda body: body.update(removed_names=[["0", "a"]]), "removed_names"),
        (lambda body: body.update(pruned=[0]), "pruned"),
        (lambda body: body.update(pruned=[10**6]), "pruned"),
        (lambda body: body.update(folded={}), "folded"),
        (lambda body: body.update(order="loud"), "order"),
        (lambda body: body.update(begins=[0]), "begins"),
        (lambda body: body["begins"].__setitem__(0, 10**6), "begins"),
        (lambda body: body["removed_begins"].__setitem__(0, -1), "removed_begins"),
        (lambda body: body.update(parents=[]), "parents"),
        (lambda body: body["parents"].__setitem__(0, 0), "parents"),
        (lambda body: body["parents"].__setitem__(0, 10**6), "parents"),
        (lambda body: body["removed_parents"].__setitem__(0, "1"), "removed_parents"),
        (lambda body: body.update(versus=[1, 1]), "versus"),
        (lambda body: body.update(versus=[0, 1, "plain"]), "versus"),
        (lambda body: body.update(versus=[1, 10**6, "plain"]), "versus"),
        (lambda body: body.update(versus=[1, 1, "loud"]), "versus"),
        (lambda body: body.update(sampling=None), "sampling"),
        (lambda body: body["sampling"].update(seed=2**32), "seed"),
        (lambda body: body["sampling"].update(seed=1.0), "seed"),
        (lambda body: body["sampling"].update(samplers=[["top_q", [1], True]]), "samplers"),
        (lambda body: body["sampling"].update(samplers=[["top_k", [1, 2], True]]), "samplers"),
        (lambda body: body["sampling"].update(samplers=[["top_k", [True], True]]), "samplers"),
        (lambda body: body["sampling"].update(samplers=[["top_k", [math.nan], True]]), "samplers"),
        (lambda body: body["sampling"].update(samplers=[["top_k", [1e10], True]]), "samplers"),
        (lambda body: body["sampling"].update(samplers=[["top_k", [1], 1]]), "samplers"),
        (lambda body: body["sampling"].update(samplers=[["top_k", [1], True]] * 2), "samplers: one of them twice"),
        (lambda body: body["sampling"].update(bias=[[5, math.inf]]), "bias"),
        (lambda body: body["sampling"].update(bias=[[5, 0]]), "bias"),
        (lambda body: body["sampling"].update(bias=[[5, 1], [5, 1]]), "bias"),
        (lambda body: body["sampling"].update(bias=[[-5, 1]]), "bias"),
        (lambda body: body["sampling"].pop("bias"), "bias"),
        (lambda body: body["sampling"].update(breakers=[1]), "breakers"),
        (lambda body: body["sampling"].update(breakers=["\ud800"]), "breakers"),
        (lambda body: body["sampling"].update(constraint=["rhyme", "a"]), "constraint"),
        (lambda body: body["sampling"].update(constraint=["regex", "\ud800"]), "constraint"),
        (lambda body: body["sampling"].update(constraint="regex"), "constraint"),
        (lambda body: body.update(rolls=[[7, 0, 1]]), "rolls"),
        (lambda body: body.update(rolls=[[7, 1, 0]]), "rolls"),
        (lambda body: body.update(rolls=[[-1, 1, 1]]), "rolls"),
        (lambda body: body.update(rolls=[[7, 1, 1], [7, 1, 2]]), "rolls"),
        (lambda body: body.update(rolls=[[7, 1]]), "rolls"),
        (lambda body: body.update(by_delta=1), "by_delta"),
        (lambda body: body.update(chat="[]"), "chat"),
        (lambda body: body.update(left=[]), "left"),
        (lambda body: body.update(left={"find": 1}), "find"),
        (lambda body: body.update(left={"constraint": "\ud800"}), "constraint"),
        (lambda body: body.update(earlier={"input": "a"}), "input"),
        (lambda body: body.update(earlier={"input": ["a", 1]}), "input"),
        (lambda body: body.update(earlier={"input": ["a", "a"]}), "twice"),
        (lambda body: body.update(earlier={"search": [""]}), "an empty one"),
        (lambda body: body.update(earlier={"search": list(map(str, range(101)))}), "too many"),
        (lambda body: body.update(kinds=[["rhyme", "a"]]), "kinds"),
        (lambda body: body.update(kinds=[["regex", 1]]), "kinds"),
        (lambda body: body.update(kinds={}), "kinds"),
        (column("seen", item(1, -1)), "seen"),
        (column("seen", lambda values: values.pop()), "seen"),
        (lambda body: body["nodes"].update(ids="!"), "ids"),
        (lambda body: body["nodes"].update(ids="AAAA"), "ids"),
        (lambda body: body["nodes"].update(ids="é"), "ids"),
        (lambda body: body["nodes"].update(ids=["AAAA"]), "ids"),
        (lambda body: body["nodes"].update(dict.fromkeys(body["nodes"], "")), "nodes"),
        (column("parent", lambda values: values.pop()), "nodes"),
        (column("parent", item(0, 0)), "the root"),
        (column("parent", item(3, 3)), "parent"),
        (column("parent", item(3, 4)), "parent"),
        (column("parent", item(3, -1)), "parent"),
        (column("token", item(0, 1)), "the root"),
        (column("token", item(3, -1)), "token"),
        (column("token", item(3, 64)), "token"),
        (column("flags", item(3, 4)), "flags"),
        (column("differs", item(1, 3)), "differs"),
        (column("differs", item(1, -2)), "differs"),
        (column("taken_rank", item(3, -1)), "taken"),
        (column("taken_logprob", item(3, math.nan)), "taken"),
        (column("taken_logprob", item(3, 3.0)), "taken"),
        (column("entropy_bits", item(3, math.nan)), "entropy"),
        (column("entropy_bits", item(3, math.inf)), "entropy"),
        (column("rows", item(3, -30)), "rows"),
        (column("rows", item(3, 2**31 - 1)), "rows"),
        (column("logprobs", item(3, math.nan)), "logprobs"),
        (column("logprobs", item(3, math.inf)), "logprobs"),
        (column("logprobs", item(3, 710.0)), "logprobs"),
        (column("ids", item(3, 64)), "ids"),
        (column("ids", item(3, -1)), "ids"),
        (column("ids", lambda ids: ids.__setitem__(1, ids[0])), "twice"),
        (column("token", item(0, -1), "pieces"), "pieces"),
        (column("token", item(1, 0), "pieces"), "pieces"),
        (column("flags", item(1, 4), "pieces"), "pieces"),
        (column("length", item(1, -1), "pieces"), "length"),
        (column("length", item(1, 2**31 - 1), "pieces"), "length"),
        (column("data", lambda data: data.pop(), "pieces"), "length"),
    ],
)
def test_what_is_wrong_inside_is_told(change: Change, reason: str) -> None:
    body = body_of(DATA)
    change(body)
    assert reason in refused(sealed(body))


def test_two_nodes_for_one_path() -> None:
    body = body_of(DATA)
    parents = columns.unpacked(body["nodes"], "parent", array("i"))
    (first, second), *_ = [
        (a, b) for a in range(len(parents)) for b in range(a) if parents[a] == parents[b] and parents[a] >= 0
    ]
    tokens = columns.unpacked(body["nodes"], "token", array("i"))
    column("token", item(second, tokens[first]))(body)
    assert "twice after one path" in refused(sealed(body))


def test_fields_that_are_not_known_are_passed_over() -> None:
    body = body_of(DATA)
    body["later"] = body["nodes"]["later"] = [1]
    assert dump(load(sealed(body), Settings("x", GgufFile("fake.gguf")))) == DATA


# --- several models


def with_others() -> Session:
    """A session whose other games wait on the shelf."""
    play = played()
    other, third = played().session.game, started("abc").press(Action.APPEND, Action.COPY).session.game
    waiting = {
        "other.gguf": replace(other, settings=replace(other.settings, model=GgufFile("other.gguf"))),
        "third.gguf": replace(third, settings=replace(third.settings, model=GgufFile("third.gguf"))),
    }
    return replace(play.session, other_games=waiting)


def games(session: Session) -> dict[str, Any]:
    """All that was played, by the models' files: prompts, what was removed, scores, and the whole tree."""

    def tree(node: Node) -> object:
        known = (node.visited, node.taken, node.distribution and (node.distribution.ids, node.distribution.logprobs))
        return known, {token: tree(child) for token, child in node.children.items() if child.visited}

    def path(prompt: Prompt) -> object:
        return prompt.tip.path(), prompt.selected, prompt.popped, prompt.cursor and prompt.cursor.path()

    found = {}
    for game in (session.game, *session.other_games.values()):
        removed = [(place, path(prompt)) for place, prompt in game.removed]
        scores = [(score.base.path(), score.tip.path(), score.logprob) for score in game.results.scores]
        found[game.settings.model.key] = (
            list(map(path, game.prompts)),
            game.active,
            removed,
            scores,
            tree(game.known.root),
        )
    return found


def test_what_models_were_asked_for_as_comes_back() -> None:
    session = with_others()
    name = "maker/model:\udcff\x1b" + "é" * 300
    other_games = {
        file: replace(game, settings=replace(game.settings, model=GgufFile(file, f"as {file}")))
        for file, game in session.other_games.items()
    }
    session = replace(
        session,
        game=replace(session.game, settings=replace(session.game.settings, model=GgufFile("fake.gguf", name))),
        other_games=other_games,
    )
    data = dump(session)
    again = load(data, Settings("", GgufFile("", "not this")))
    assert again.game.settings.model.asked == name
    assert {file: game.settings.model.asked for file, game in again.other_games.items()} == {
        file: f"as {file}" for file in other_games
    }
    assert dump(again) == data
    about = summary.parse(data[: summary.SUMMARY_BYTES])
    assert about and len(about.asked) <= summary.NAME_CHARACTERS and about.asked.isprintable()


def test_files_that_do_not_say_what_was_asked_for_are_read() -> None:
    document = json.loads(dump(with_others()))["session"]
    del document["asked"], document["about"]["asked"]
    for other in document["others"]:
        del other["asked"]
    data = codec.seal(json.dumps(document, separators=(",", ":")).encode())
    again = load(data, Settings("", GgufFile("")))
    assert {game.settings.model.asked for game in (again.game, *again.other_games.values())} == {""}
    about = summary.parse(data[: summary.SUMMARY_BYTES])
    assert about and about.asked == "" and about.model == "Fake"


def test_the_games_of_all_models_come_back() -> None:
    session = with_others()
    again = load(dump(session), Settings("", GgufFile("")))
    assert games(again) == games(session) and list(again.other_games) == ["other.gguf", "third.gguf"]
    assert dump(again) == dump(session)
    assert all(other.model is not None and other.known.pieces for other in again.other_games.values())


def test_while_another_model_loads_the_game_before_is_the_one_to_come_back_to() -> None:
    session = with_others()
    loading = Session(
        Game(replace(session.game.settings, model=GgufFile("new.gguf"))),
        other_games={**session.other_games, "fake.gguf": session.game},
        origin="fake.gguf",
    )
    again = load(dump(loading), Settings("", GgufFile("")))
    assert again.game.settings.model.key == "fake.gguf" and games(again) == games(session)


def test_one_game_of_a_file(figure: Figure) -> None:
    body = body_of(dump(with_others()))
    for change, why in (
        (lambda: body["others"].append(body["others"][0]), "two games"),
        (lambda: body["others"][-1].update(file="fake.gguf"), "two games"),
        (lambda: body["others"][-1].update(nodes=None), "nodes"),
        (lambda: body.update(others={}), "others"),
        (lambda: body.update(others=[[]]), "others"),
    ):
        change()
        assert why in refused(sealed(body)), why
    figure(5, "faults among the games that wait")


@pytest.mark.usefixtures("few")
def test_a_file_of_version_0_1_0_comes_back() -> None:
    """Written by that program: it holds one game."""
    data = (Path(__file__).parent.parent / "data" / "session-0.1.0.json").read_bytes()
    before = played().session
    after = load(data, before.game.settings)
    assert games(after) == games(before) and screen(after) == screen(before)
    assert (after.options.layer, after.options.palette, after.options.mouse) == (
        before.options.layer,
        before.options.palette,
        before.options.mouse,
    )
    assert games(load(dump(after), before.game.settings)) == games(before)


# --- what the list shows


def test_the_summary_is_read_from_the_beginning_alone() -> None:
    data = b"".join(Encoder().encode(with_others(), Stamp(7, 1_700_000_000, 12)))
    about = summary.parse(data[: summary.SUMMARY_BYTES])
    assert about is not None and about.encoded() in data
    assert (about.sequence, about.saved, about.moves, about.games, about.model) == (7, 1_700_000_000, 12, 3, "Fake")
    session = with_others()
    assert about.length == session.game.prompt.tip.depth and about.prompts == len(session.game.prompts)
    assert about.tokens > about.length and about.weight == about.tokens + 120
    assert summary.parse(data[:40]) is None and summary.parse(b"") is None


@pytest.mark.parametrize("text", ["\x1b[2J\u009b", "é" * 500, "\U0001f990" * 90, '"\\{', "a" * 4000])
def test_a_summary_is_short_and_has_nothing_that_a_terminal_obeys(text: str) -> None:
    session = started("hello").session
    session.game.known.pieces[session.game.prompt.tip.path()[0]] = Piece(text.encode())
    about = codec.summary_of(session)
    assert len(about.encoded()) < summary.SUMMARY_BYTES - 200 and len(about.text) <= summary.TEXT_CHARACTERS + 1
    assert about.text.isprintable()
    data = dump(session)
    assert summary.parse(data[: summary.SUMMARY_BYTES]) == replace(about, tokens=5)


@given(st.binary(max_size=200))
def test_a_summary_of_anything(data: bytes) -> None:
    head = b'{"format":"tokex-gguf session","version":2,"crc32":1,"session":{"about":'
    for some in (data, head + data, head + b'{"sequence":' + data):
        summary.parse(some)


def test_cut_off_anywhere() -> None:
    for place in range(100):
        refused(DATA[: place * len(DATA) // 100])


def test_flipped_bits_never_pass() -> None:
    chance = random.Random(SEED)
    for _ in range(400):
        data = bytearray(DATA)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        assert not only_bad_archives(bytes(data))


def scrambled(body: bytes, chance: random.Random) -> bytes:
    """Some bytes replaced by others, or a part cut out, doubled or exchanged."""
    data = bytearray(body)
    match chance.randrange(3):
        case 0:
            for _ in range(chance.choice([1, 1, 2, 5])):
                data[chance.randrange(len(data))] = chance.choice(b'0123456789ABCabc/+="[]{},:nulltruefalse-.e')
        case 1:
            place, length = chance.randrange(len(data)), chance.randrange(1, 40)
            del data[place : place + length]
        case _:
            place, length, other = chance.randrange(len(data)), chance.randrange(1, 40), chance.randrange(len(data))
            data[other:other] = data[place : place + length]
    return bytes(data)


def scramble(times: int, seed: int) -> int:
    """Damage below the checksum; returns how many were read all the same."""
    chance = random.Random(seed)
    body = json.dumps(body_of(DATA), separators=(",", ":")).encode()
    short = dump(started("ab", tokens_to_show=3).session)
    shorter = json.dumps(body_of(short), separators=(",", ":")).encode()
    return sum(only_bad_archives(seal(scrambled(chance.choice([body, shorter]), chance))) for _ in range(times))


def test_damage_that_the_checksum_does_not_see(figure: Figure) -> None:
    read = scramble(300, SEED)
    figure(300, "damaged sessions", seed=SEED, still_read=read)
    assert read


@pytest.mark.soak
def test_much_damage(figure: Figure) -> None:
    figure(50_000, "damaged sessions", seed=SEED, still_read=scramble(50_000, SEED))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["sampling", "rolls", "begins", "removed_begins", "parents", "removed_parents", "versus"]
FIELDS += ["file", "model", "context", "prompts", "active", "removed", "scores", "layer", "palette", "mouse"]


@given(st.sampled_from([*FIELDS, "nodes", "pieces"]), JSON, st.booleans())
def test_anything_as_a_field(name: str, value: object, inside: bool) -> None:
    body = body_of(DATA)
    if inside and isinstance(body[name], dict):
        body[name][next(iter(body[name]))] = value
    elif inside and isinstance(body[name], list):
        body[name][:1] = [value]
    else:
        body[name] = value
    only_bad_archives(sealed(body))


def test_the_checksum_is_of_the_bytes_as_they_stand() -> None:
    body = DATA[DATA.index(b'"session":') + len(b'"session":') : -1]
    assert json.loads(DATA)["crc32"] == crc32(body)
    assert layers.every_layer()[body_of(DATA)["layer"]] is layers.PROBABILITY
    assert Palette(body_of(DATA)["palette"]) is Palette.COLOUR_BLIND


@pytest.mark.parametrize("helped", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_text_that_was_typed_is_there_the_next_day(helped: bool, left: bool) -> None:
    play = started("hello").press(Action.INPUT, Typed("née\u3000 🦜\n"))
    if helped:
        play.press(Action.HELP)
    if left:
        play.press(Action.CLOSE, Action.CLOSE)
    again = resumed(play.session).press(Action.INPUT)
    assert again.session.line.text == "née\u3000 🦜\n"
    again.press(Action.ERASE_LINE)
    assert b'"typed"' not in dump(again.session)


def test_a_text_that_was_begun_is_there_the_next_day_while_an_earlier_one_is_in_the_line() -> None:
    play = started("hello").press(Action.INPUT, Typed("used"), Action.ENTER)
    play.press(Action.INPUT, Typed("an hour of typing"), Action.EARLIER)
    assert play.session.line.text == "used"
    again = resumed(play.session).press(Action.INPUT)
    assert again.session.line.text == "an hour of typing"
    assert again.press(Action.EARLIER).session.line.text == "used"


@pytest.mark.parametrize("left", [False, True])
def test_a_constraint_and_a_chain_that_were_typed_are_there_the_next_day(left: bool) -> None:
    play = started("hello").press(Action.SAMPLERS, Action.READ_IN, Typed("--temp"), Action.CLOSE, Action.CLOSE)
    play.press(Action.CONSTRAINT, Typed("[0-9]"), Action.ENTER, Action.CONSTRAINT, Action.ERASE_LINE)
    play.press(Action.KIND, Typed("root ::= 'a"), *[Action.CLOSE] * left)
    kind = ConstraintKind.JSON_SCHEMA
    again = resumed(play.session).press(Action.CONSTRAINT)
    assert on(again.session, screens.Constraining).kind is kind and again.session.line.text == "root ::= 'a"
    again.press(Action.EARLIER)
    assert on(again.session, screens.Constraining).kind is ConstraintKind.REGEX and again.session.line.text == "[0-9]"
    again.press(Action.CLOSE, Action.SAMPLERS, Action.READ_IN)
    assert again.session.line.text == "--temp"


def test_how_the_table_of_what_is_compared_is_sorted_comes_back() -> None:
    two = started("hello").press(Action.COPY, Action.DOWN, Action.APPEND, Action.VERSUS, Action.ORDER)
    assert two.session.options.by_delta and resumed(two.session).session.options.by_delta
    assert not resumed(two.press(Action.ORDER).session).session.options.by_delta


def test_the_constraint_that_holds_is_no_text_that_was_typed() -> None:
    play = started("hello").press(Action.CONSTRAINT, Typed("[0-9]"), Action.ENTER, Action.CONSTRAINT)
    assert play.session.line.text == "[0-9]" and not play.session.unfinished(screens.Constraining)
    assert not play.press(Action.CLOSE).session.notice
    play.press(Action.CONSTRAINT, Action.KIND)
    assert play.session.unfinished(screens.Constraining) == "[0-9]", "written in another way it is another one"


def test_of_what_was_typed_before_the_newest_is_kept() -> None:
    play = started("hello")
    for text in ("a" * 40_000, "b" * 40_000, "c" * 20_000):
        play.press(Action.SEARCH, Typed(text), Action.CLOSE)  # in place of the one before
    kept = load(dump(play.session), play.session.game.settings).typed.histories[screens.SearchScreen]
    assert kept.texts == ("b" * 40_000,) and kept.unfinished == "c" * 20_000


def test_an_edited_text_that_is_no_prompt_yet_is_there_the_next_day() -> None:
    play = started("hello")
    play.take(Action.EDIT)
    play.take(EngineDied("SIGSEGV"))
    play.take(Edited("help me"))
    again = resumed(play.session)
    again.take(Action.EDIT)
    assert again.effects == [Edit("help me")]
    again.press(Edited("help you"))
    assert len(again.session.game.prompts) == 2, "the prompt that it was made of may be another by now"


@pytest.mark.parametrize("value", [1, None, ["a"], "\ud800"])
@pytest.mark.parametrize("name", ["typed", "edited"])
def test_a_damaged_text_is_refused(name: str, value: object) -> None:
    document = json.loads(dump(started("hello").session))["session"]
    with pytest.raises(BadArchive, match=name):
        load(seal(json.dumps({**document, name: value}).encode()), Settings("", GgufFile("fake.gguf")))


def test_what_the_models_file_recommends_is_not_kept() -> None:
    play = started("hello")
    game = play.session.game
    assert game.model
    model = replace(game.model, sampling={"top_k": "20"})
    play.session = replace(play.session, game=replace(game, model=model))
    assert b"sampling" not in dump(play.session).split(b'"model"')[1].split(b"}")[0]
    loaded = load(dump(play.session), game.settings).game.model
    assert loaded and loaded.sampling == {} and model.same(loaded)


# --- numbers with bounds, and paths with gaps


def test_a_walked_session_comes_back_bit_for_bit_with_its_bounds() -> None:
    play = fake.served("hello world").press(Action.APPEND, Action.POP, Action.POP, Action.COPY, Action.CURSOR_BACK)
    before = play.session
    after = load(dump(before), before.game.settings)
    assert numbers_of(after.game.known.root) == numbers_of(before.game.known.root)
    assert any(slack for _, _, slack in numbers_of(after.game.known.root).values())
    assert any(taken and taken.at_least for _, taken, _ in numbers_of(after.game.known.root).values())
    assert after.game.model is not None and after.game.model.server == fake.SERVED.server
    assert after.game.model.candidates == fake.GIVEN
    assert dump(after) == dump(before)
    for keys in ((Action.LAYER, Action.LAYER), (Action.MORE_LAYERS,)):  # which have bounds is known before it connects
        play.session = replace(after, options=replace(after.options, layer=layers.PLAIN))
        for key in keys:
            play.take(key)
        assert "at least" in "".join(
            part for line in ScreenRenderer().screen(play.session, 130, 40) for _, part in line
        )


def numbers_of(root: Node) -> dict[tuple[int, ...], tuple[Any, TokenLogprob | None, float | None]]:
    found, waiting = {}, [root]
    while waiting:
        node = waiting.pop()
        waiting += node.children.values()
        told = node.distribution
        if told or node.taken:
            numbers = (told.entropy_bits, told.ids, told.logprobs) if told else None
            found[tuple(node.path())] = numbers, node.taken, told.slack_bits if told else None
    return found


@pytest.mark.parametrize("seed", range(12))
def test_a_session_saved_in_the_middle_of_a_walk_goes_on_with_what_it_lacks(seed: int) -> None:
    chance = random.Random(seed)
    play = fake.Served("hello world " * 3)
    for _ in range(chance.randint(4, 9)):
        if play.asked:
            for reply in [*play.replies(play.asked.pop(0))][: chance.randint(1, 40)]:
                play.take(reply)
    before = play.session
    again = fake.Served("something else")
    again.asked.clear()
    again.session = load(dump(before), before.game.settings)
    assert numbers_of(again.session.game.known.root) == numbers_of(before.game.known.root)
    known = {path for path, (told, _, _) in numbers_of(before.game.known.root).items() if told}
    again.take(fake.SERVED)
    again.answer()
    assert again.session.game.prompt.tip.whole
    walked = {tuple(path[:-1]) for path in again.walked}
    lacked = {path for path in known if path in walked}
    assert all(before.game.known.root.descend([*path]).children for path in lacked), "only what it says of a token"
    tip, other = again.session.game.prompt.tip, fake.served("hello world " * 3).session.game.prompt.tip
    assert tip.logprob == other.logprob and tip.perplexity == other.perplexity


def test_exact_sessions_are_as_they_were() -> None:
    nodes = body_of(dump(played().session))["nodes"]
    assert "slack_bits" not in nodes and "taken_at_least" not in nodes
    assert not {"server", "candidates"} & set(body_of(dump(played().session))["model"])


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("slack_bits", array("d", [-1.0])),
        ("slack_bits", array("d", [math.nan])),
        ("slack_bits", array("d", [65.0])),
        ("taken_at_least", array("B", [2])),
        ("taken_at_least", array("B", [0] * 3)),
    ],
)
def test_bounds_that_cannot_be_are_refused(column: str, values: "array[Any]") -> None:
    body = body_of(dump(fake.served("hello").session))
    whole = array(values.typecode)
    whole.frombytes(b64decode(body["nodes"][column]))
    place = next(index for index, value in enumerate(whole) if value)
    changed = whole[:place] + values + whole[place + 1 :]
    body["nodes"][column] = b64encode(changed).decode()
    assert "out of range" in refused(sealed(body)) or "columns" in refused(sealed(body))
