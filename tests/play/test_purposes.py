"""Every request ends in an answer or a line: whatever the engine refuses, nothing waits for it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest

from tests import fake
from tests.fake import OTHER, PIECES, Play, on, started
from tests.play.test_constraint import constrained
from tests.play.test_sampling import sampled
from tests.play.test_switching import ENTRIES
from tokex_gguf.engine.protocol import (
    Applied,
    Apply,
    Checked,
    Compare,
    Compared,
    Constrain,
    Constrained,
    Continued,
    EngineDied,
    Evaluated,
    Exported,
    Failed,
    Forced,
    Found,
    LookaheadDone,
    Noise,
    Pong,
    Recalled,
    Reply,
    Rolled,
    Search,
    Spell,
    Spelt,
    Stop,
    StrictLookaheadDone,
    Tokenize,
    Tokenized,
)
from tokex_gguf.models.memory import Fit
from tokex_gguf.play import requests, screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Edited, ListedModels, Prepared, Quit, Send, Typed
from tokex_gguf.play.purposes import (
    ForAgainst,
    ForAutoplay,
    ForBan,
    ForCarried,
    ForCheck,
    ForCompanion,
    ForConstraint,
    ForContinuation,
    ForCritical,
    ForDifference,
    ForEdited,
    ForEvaluation,
    ForExport,
    ForFanOut,
    ForForced,
    ForInsertion,
    ForLookahead,
    ForNewPrompt,
    ForNoise,
    ForParting,
    ForPhrase,
    ForRecall,
    ForRetokenized,
    ForRoll,
    ForScore,
    ForSearch,
    ForStart,
    ForStrict,
    ForStrictLookahead,
    ForVerdicts,
    ForView,
    ForWalk,
    Positions,
    Purpose,
)
from tokex_gguf.play.replies import WrongReply
from tokex_gguf.play.session import Session
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.distribution import TokenLogprob
from tokex_gguf.values.layers import REACHABLE
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.samplers import Chain, Kind, Sampler
from tokex_gguf.values.score import shares
from tokex_gguf.values.view import NOT_CUT, Draw, Verdict

REASON = "the engine refuses this"
TOLD = fake.distribution([1, 2], 5)


def starting() -> Play:
    play = Play()
    play.take(OTHER)
    return play


def continuing() -> Play:
    play = started().press(Action.INPUT)
    play.take(Typed("ab"))
    return play


def entering() -> Play:
    play = continuing()
    play.take(Action.ENTER)
    return play


def scoring() -> Play:
    play = continuing()
    play.take(Action.SCORE)
    return play


def scoring_and_gone() -> Play:
    play = scoring()
    play.take(Action.CLOSE)
    return play


def opening() -> Play:
    play = started().press(Action.PROMPTS, Action.NEW, Typed("another text"))
    play.take(Action.ENTER)
    return play


def opening_what_was_edited() -> Play:
    play = started()
    play.take(Edited("another text"))
    return play


def inserting() -> Play:
    play = started().press(Action.CURSOR_BACK, Action.INSERT, Typed("ab"))
    play.take(Action.ENTER)
    return play


def cutting_anew() -> Play:
    play = started()
    play.session.game.prompt.tip.differs = 1
    play.take(Action.RETOKENIZE)
    return play


def carrying() -> Play:
    play = started("ab").press(Action.COPY, Action.APPEND)
    play.take(Action.MODELS)
    play.take(ListedModels(ENTRIES))
    play.take(Action.DOWN)
    play.take(Action.ENTER)
    play.take(Prepared("other.gguf", Fit(0)))
    play.asked.clear()
    play.take(OTHER)
    start = play.asked.pop()
    assert isinstance(start, Tokenize)
    play.take(Tokenized(start.request, [1], fake.PIECES))
    return play


def searching() -> Play:
    play = started()
    play.take(Action.SEARCH)
    return play


def searching_again() -> Play:
    play = started().press(Action.SEARCH)
    play.take(Typed("a"))
    return play


def evaluating() -> Play:
    play = started()
    play.take(Action.APPEND)
    return play


def evaluating_a_phrase() -> Play:
    play = started().press(Action.INPUT)
    play.take(Typed("ab"))
    play.take(play.reply(play.asked.pop(0)))  # type: ignore[arg-type]
    play.take(Action.SCORE)
    return play


def autoplaying() -> Play:
    play = started()
    play.take(Action.AUTOPLAY)
    return play


def looking_ahead() -> Play:
    play = Play(lookahead=3)
    for _ in range(3):
        play.take(play.reply(play.asked.pop()))  # type: ignore[arg-type]
    return play


def fanning_out() -> Play:
    play = started()
    play.take(Action.ANSWERS)
    return play


def trying_second_choices() -> Play:
    play = started()
    play.take(Action.ANSWERS)
    play.take(Action.CRITICAL)
    return play


def walking() -> Play:
    return fake.walking("hello world")


def checking() -> Play:
    play = started()
    play.session.game.prompt.tip.checked = False
    play.take(Action.LAYER)
    return play


def viewing() -> Play:
    play = sampled()
    play.take(Action.CURSOR_BACK)
    return play


def judging() -> Play:
    play = sampled(Chain((Sampler.of(Kind.DRY, 1),))).press(Action.CURSOR_BACK, Action.CURSOR_TIP)
    play.session = replace(play.session, options=replace(play.session.options, layer=REACHABLE))
    play.take(Action.PALETTE)
    return play


def rolling() -> Play:
    play = sampled()
    play.take(Action.ROLL)
    return play


def rolling_without_samplers() -> Play:
    play = started()
    play.take(Action.ROLL)
    return play


def banning() -> Play:
    play = started().press(Action.COMMANDS, Typed("ban"), Action.ENTER, Typed("a"))
    play.take(Action.ENTER)
    return play


def constraining() -> Play:
    play = started().press(Action.CONSTRAINT)
    play.take(Typed("abc"))
    play.take(Action.ENTER)
    return play


def forcing() -> Play:
    play = constrained("a")
    play.take(Action.FORCE)
    return play


def judging_a_phrase() -> Play:
    play = started().press(Action.CONSTRAINT, Typed("_<?"), Action.ENTER, Action.INPUT, Typed("xo"))
    play.take(Action.SCORE)
    while not isinstance(play.asked[-1], Constrain):
        play.take(play.reply(play.asked.pop(0)) or Pong())
    while play.checks:
        play.take(Checked(play.checks.pop(0).request, None))
    while len(play.asked) > 1:
        play.take(play.reply(play.asked.pop(0)) or Pong())
    return play


def comparing(kind: type[Purpose] = ForStrict) -> Play:
    """Two prompts are compared, and what is asked for them is answered until something of a kind is."""
    play = started("hello").press(Action.COPY, Action.POP, Action.UP, Action.APPEND)
    play.take(Action.VERSUS)
    while not play.session.game.newest(kind):
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    return play


def comparing_tables() -> Play:
    return comparing(ForDifference)


def measuring_noise() -> Play:
    return comparing(ForNoise)


ASKING: dict[Callable[[], Play], type[Purpose]] = {
    starting: ForStart,
    continuing: ForContinuation,
    entering: ForContinuation,
    scoring: ForScore,
    scoring_and_gone: ForScore,
    opening: ForNewPrompt,
    opening_what_was_edited: ForEdited,
    inserting: ForInsertion,
    cutting_anew: ForRetokenized,
    carrying: ForCarried,
    searching: ForSearch,
    searching_again: ForSearch,
    evaluating: ForEvaluation,
    evaluating_a_phrase: ForEvaluation,
    autoplaying: ForAutoplay,
    looking_ahead: ForLookahead,
    fanning_out: ForFanOut,
    trying_second_choices: ForCritical,
    walking: ForWalk,
    checking: ForCheck,
    viewing: ForView,
    judging: ForVerdicts,
    rolling: ForRoll,
    rolling_without_samplers: ForRoll,
    banning: ForBan,
    constraining: ForConstraint,
    forcing: ForForced,
    judging_a_phrase: ForPhrase,
    comparing: ForStrict,
    comparing_tables: ForDifference,
    measuring_noise: ForNoise,
}
"""States in which something is asked for, and what for."""


OF_TWO = {ForExport, ForAgainst, ForRecall, ForStrictLookahead, ForCompanion, ForParting}
"""What two engines are asked: test_second_model.py tries these."""


def test_every_purpose_is_tried() -> None:
    assert set(ASKING.values()) | OF_TWO == set(get_args(Purpose))


def asked_for(session: Session, kind: type[Purpose]) -> int:
    found = session.game.newest(kind)
    assert found
    return found[0]


OF_LISTS = {ForFanOut, ForCritical}
"""What goes on while a list is shown, which tells of it."""


@pytest.mark.parametrize("state", ASKING)
def test_nothing_is_ready_while_an_answer_is_awaited(state: Callable[[], Play]) -> None:
    play = state()
    purpose = play.session.game.open_requests[asked_for(play.session, ASKING[state])]
    status = "".join(part for _, part in ScreenRenderer().screen(play.session, 130, 40)[-4])
    if purpose.awaited and type(purpose) not in OF_LISTS:
        assert "ready" not in status and "working" in status


@pytest.mark.parametrize("state", ASKING)
def test_a_refused_request_leaves_nothing_waiting(state: Callable[[], Play]) -> None:
    play = state()
    kind = ASKING[state]
    number = asked_for(play.session, kind)
    play.asked = [request for request in play.asked if getattr(request, "request", None) != number]
    play.checks.clear()
    play.take(Failed(number, REASON))
    if kind is ForStart:
        assert play.effects == [Quit(REASON)]
        return
    silent = kind in (ForLookahead, ForCheck, ForPhrase)  # nobody waits for these
    assert (REASON in play.session.notice) != silent
    if not silent:
        assert REASON in "".join(text for line in ScreenRenderer().screen(play.session, 150, 40) for _, text in line)
    asked = len(play.asked), len(play.checks)
    play.answer()
    assert not play.session.game.waiting and not play.session.game.newest(ForScore)
    assert silent or number not in play.session.game.open_requests
    play.take(Action.LAYER)
    assert not silent or asked == (0, 0), "it is not asked for again and again"
    for _ in range(2):
        play.press(Action.CLOSE if not isinstance(play.session.screen, screens.Play) else Action.LAYER)
    play.press(Action.APPEND)
    assert play.session.game.ready


def test_a_refused_search_says_so_until_there_is_another_answer() -> None:
    play = searching_again()
    play.take(Failed(asked_for(play.session, ForSearch), REASON))
    play.asked.clear()
    play.take(Action.DOWN)
    assert on(play.session, screens.SearchScreen).rows == ()
    assert REASON in "".join(text for line in ScreenRenderer().screen(play.session, 150, 40) for _, text in line)
    play.press(Action.APPEND)
    assert play.session.notice == REASON and isinstance(play.session.screen, screens.SearchScreen)
    play.press(Action.ERASE)
    assert on(play.session, screens.SearchScreen).rows and not on(play.session, screens.SearchScreen).fault


def test_a_refused_text_appends_no_earlier_one() -> None:
    play = started("hello").press(Action.INPUT, Typed("a"))
    play.take(Typed("b"))
    play.asked.clear()
    play.take(Failed(asked_for(play.session, ForContinuation), REASON))
    play.press(Action.ENTER)
    assert [prompt.tip.path() for prompt in play.session.game.prompts] == [fake.text_to_path("helloab")]


def test_two_edited_texts_both_become_prompts() -> None:
    play = started("hello").press(Action.COPY)
    play.take(Edited("one"))
    play.take(Edited("two"))
    assert len([p for p in play.session.game.open_requests.values() if isinstance(p, ForEdited)]) == 2
    play.answer()
    assert not play.session.game.waiting


# What each purpose is answered by. Nothing else that carries its number is believed.
ANSWERED_BY: dict[type[Purpose], type[Reply]] = {
    ForStart: Tokenized,
    ForContinuation: Tokenized,
    ForScore: Tokenized,
    ForNewPrompt: Tokenized,
    ForEdited: Tokenized,
    ForInsertion: Tokenized,
    ForRetokenized: Tokenized,
    ForCarried: Tokenized,
    ForCompanion: Tokenized,
    ForSearch: Found,
    ForEvaluation: Evaluated,
    ForWalk: Evaluated,
    ForVerdicts: Evaluated,
    ForStrict: Evaluated,
    ForAutoplay: Continued,
    ForParting: Continued,
    ForLookahead: LookaheadDone,
    ForFanOut: LookaheadDone,
    ForCritical: LookaheadDone,
    ForStrictLookahead: StrictLookaheadDone,
    ForCheck: Checked,
    ForView: Applied,
    ForRoll: Rolled,
    ForBan: Spelt,
    ForConstraint: Constrained,
    ForPhrase: Constrained,
    ForForced: Forced,
    ForDifference: Compared,
    ForAgainst: Compared,
    ForRecall: Recalled,
    ForExport: Exported,
    ForNoise: Noise,
}


def answers(number: int) -> list[Reply]:
    """One of each kind that answers a request."""
    return [
        Tokenized(number, [1, 2], PIECES),
        Found(number, [], [], 0, {}, 0, 0.0),
        Evaluated(number, 0, [TOLD], [], PIECES, 1, 0.1, 64),
        Continued(number, [1], [TOLD], PIECES, 0.1, 64),
        LookaheadDone(number, [[1]], [TOLD], PIECES),
        StrictLookaheadDone(number, 0, 0.1),
        Checked(number, None),
        fake.applied(Apply(number, [1, 2], Sampled(Chain()), [], 5)),
        Rolled(number, [Draw(1, 0.1, 0.0, 1.0)], [Verdict(1.0, NOT_CUT)], PIECES, 0, 0.1),
        Spelt(number, [1], PIECES),
        Constrained(number, -1),
        Forced(number, [1], False, PIECES),
        fake.compared(Compare(number, [1, 2], [1, 3], 5)),
        Exported(number, 0, 1, 0, 0.1),
        Recalled(number),
        Noise(number, 0.0),
    ]


def test_every_kind_of_answer_is_tried() -> None:
    kinds = {type(reply) for reply in answers(1)}
    assert kinds == {kind for kind in get_args(Reply) if "request" in kind.__slots__} - {Failed}
    assert kinds == set(ANSWERED_BY.values()) and set(ANSWERED_BY) == set(get_args(Purpose))


@pytest.mark.parametrize("state", ASKING)
def test_a_reply_of_the_wrong_kind_is_not_believed(state: Callable[[], Play]) -> None:
    play = state()
    number = asked_for(play.session, ASKING[state])
    wrong = [reply for reply in answers(number) if not isinstance(reply, ANSWERED_BY[ASKING[state]])]
    assert len(wrong) == len(answers(number)) - 1
    before = play.session
    for reply in wrong:
        with pytest.raises(WrongReply):
            play.take(reply)
    assert play.session == before


def test_nor_is_one_to_what_two_engines_are_asked() -> None:
    play = started("hello")
    tip = play.session.game.prompt.tip
    part = Positions(tip, 0, 2)
    both = ForExport(part), ForAgainst(part, True), ForRecall(part, True)
    purposes = (*both, ForStrictLookahead(), ForCompanion(tip), ForParting())
    assert {type(purpose) for purpose in purposes} == OF_TWO
    for purpose in purposes:
        play.session = replace(play.session, game=replace(play.session.game, open_requests={1: purpose}))
        for reply in answers(1):
            differences = isinstance(reply, Compared) and isinstance(purpose, ForRecall)  # they come before its end
            if not differences and not isinstance(reply, ANSWERED_BY[type(purpose)]):
                with pytest.raises(WrongReply):
                    play.take(reply)


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        # Positions that the path does not have, or none.
        (walking, lambda number: Evaluated(number, -1, [TOLD], [], PIECES, 1, 0.1, 64)),
        (walking, lambda number: Evaluated(number, 99, [TOLD], [], PIECES, 1, 0.1, 64)),
        (walking, lambda number: Evaluated(number, 0, [], [], PIECES, 1, 0.1, 64)),
        # Not strictly; behind what is asked for; without what came there.
        (comparing, lambda number: Evaluated(number, 0, [TOLD] * 6, [TokenLogprob(-1.0, 1)] * 5, PIECES, 1, 0.1, 64)),
        (comparing, lambda number: Evaluated(number, 9, [TOLD], [], PIECES, 1, 0.1, 64, strict=True)),
        (comparing, lambda number: Evaluated(number, 0, [TOLD] * 5, [], PIECES, 1, 0.1, 64, strict=True)),
        (comparing_tables, lambda number: Compared(number, 0, [], PIECES, 0, 0.1)),
        (fanning_out, lambda number: LookaheadDone(number, [], [], PIECES)),
        (trying_second_choices, lambda number: LookaheadDone(number, [[1, 2]], [TOLD], PIECES)),
        (trying_second_choices, lambda number: LookaheadDone(number, [], [], PIECES)),
    ],
)
def test_a_reply_to_another_question_is_not_believed(state: Callable[[], Play], wrong: Callable[[int], Reply]) -> None:
    """It would be asked for again and again, or its numbers would stand at another place."""
    play = state()
    with pytest.raises(WrongReply):
        play.take(wrong(asked_for(play.session, ASKING[state])))


def test_answers_that_nobody_waits_for_any_more_change_nothing() -> None:
    play = searching()
    (request,) = play.asked
    assert isinstance(request, Search)
    play.take(Action.CLOSE)
    before = play.session
    play.take(play.reply(request))  # type: ignore[arg-type]
    assert play.session == before


def test_only_the_newest_evaluation_is_waited_for() -> None:
    play = evaluating()
    for key in (Action.POP, Action.POP, Action.APPEND, Action.AUTOPLAY, Action.POP):
        play.take(key)
        assert sum(purpose.awaited for purpose in play.session.game.open_requests.values()) <= 1


def test_a_starting_text_that_ends_the_engine_is_named_and_tried_once_more_at_the_most() -> None:
    play = starting()
    for _ in range(2):
        assert play.session.game.newest(ForStart)
        play.asked.clear()
        play.take(EngineDied("SIGSEGV"))
        if play.effects[-1:] and isinstance(play.effects[-1], Quit):
            break
        assert "over the starting text, “" in play.session.notice
        assert play.session.notice.endswith("press r to restart it")
        play.take(Action.RESTART)
        play.asked.clear()
        play.take(OTHER)
    quit_ = play.effects[-1]
    assert isinstance(quit_, Quit) and "twice over the starting text" in quit_.fault


@pytest.mark.parametrize("others", [True, False])
def test_a_phrase_that_cannot_follow_has_probability_0_and_is_drawn(
    others: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A logit of minus infinity is legal."""

    def never(_: list[int], token: int, _given: int) -> TokenLogprob:
        return TokenLogprob(-math.inf if token == ord("a") % fake.VOCAB or not others else -2.0, fake.VOCAB)

    monkeypatch.setattr(fake, "taken", never)
    play = started().press(Action.INPUT)
    for phrase in ("ab", "ba", "bc"):
        for key in phrase:
            play.take(Typed(key))
            play.answer()
            ScreenRenderer().screen(play.session, 130, 40)
        play.press(Action.SCORE)
        for size in ((130, 40), (80, 24), (60, 16)):
            ScreenRenderer().screen(play.session, *size)
    for _ in range(8):
        play.press(Action.CLOSE if not isinstance(play.session.screen, screens.Play) else Action.LAYER)
        ScreenRenderer().screen(play.session, 130, 40)
    assert all(share is not None and 0 <= share <= 1 for share in shares(play.session.game.results.scores))


def test_what_a_stop_drops_is_no_more_under_way() -> None:
    play = started("hello")
    tip, lens = play.session.game.prompt.tip, Sampled(Chain((Sampler.of(Kind.TOP_K, 5),)))
    verdicts, strict = ForVerdicts(tuple(tip.nodes()), 0, lens), ForStrict(tip, 0)
    asked: dict[int, Purpose] = {1: verdicts, 2: strict, 3: ForLookahead(tip, ((5,),))}
    session = replace(play.session, game=replace(play.session.game, open_requests=asked))
    session, effects = requests.request(session, ForBan("x"), lambda number: Spell(number, "x"))
    assert isinstance(effects[0], Send) and isinstance(effects[0].request, Stop)
    kept = list(session.game.open_requests.values())
    assert [type(one) for one in kept] == [ForStrict, ForLookahead, ForBan]
    assert not any(one.going for one in kept if isinstance(one, ForStrict | ForLookahead))
