"""The shell around the rules takes in what comes, some at a time."""

import errno
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake import MODEL, OTHER, Play, started
from tokex_gguf.engine.backend import Delivery, Engine
from tokex_gguf.engine.client import local
from tokex_gguf.engine.protocol import EngineDied, Load, Pong, Request, Tokenize
from tokex_gguf.models.memory import Fit
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Editing, EditState, EngineStatus, Game, Sampling, Settings
from tokex_gguf.play.messages import (
    Begin,
    CopiedOut,
    CopyOut,
    Edited,
    EngineReplied,
    Save,
    SaveFailed,
    SessionSaved,
    Start,
    Typed,
)
from tokex_gguf.play.rules import second_model
from tokex_gguf.play.session import Session
from tokex_gguf.play.update import update
from tokex_gguf.sessions import autosave
from tokex_gguf.sessions.autosave import Lost, SavedWhole, TextSaved
from tokex_gguf.sessions.store import Slot
from tokex_gguf.shell import runtime as game_module
from tokex_gguf.shell.resuming import opened, resumed, with_second
from tokex_gguf.shell.runtime import MESSAGES_PER_TURN, MOST_QUEUED_REPLIES, Runtime
from tokex_gguf.shell.saving import OfSlot, saved_besides_moves
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.samplers import DEFAULT, Chain, Kind, Sampler


class Mute:
    """An engine that does nothing."""

    pid = None

    def send(self, request: Request) -> None:
        pass

    def close(self) -> None:
        pass


FILE = GgufFile("fake.gguf")


@pytest.fixture
def game(tmp_path: Path) -> Runtime:
    game = Runtime(Session(Game(Settings(text="hello", model=FILE))), folder=tmp_path)
    game._engines = {1: Mute()}
    return game


def test_a_turn_takes_some_of_many_messages_and_asks_for_another(game: Runtime) -> None:
    calls = []
    game.notify = lambda: calls.append(1)
    for _ in range(MESSAGES_PER_TURN + 5):
        game._listen(Pong(), 1)
    assert calls == [1], "told once, and not for each"
    game._clock = lambda: 0.0
    assert game.receive() and game._inbox.qsize() == 5 and len(calls) == 2
    assert game.receive() and game._inbox.qsize() == 0 and len(calls) == 2
    assert not game.receive()


def test_texts_that_are_pasted_before_the_first_prompt_are_kept_in_a_file(game: Runtime, tmp_path: Path) -> None:
    for text in ("first", "second\nline"):
        game.dispatch(Typed(text))
    end = game.close()
    assert isinstance(end, TextSaved) and end.path.parent == tmp_path
    assert end.path.read_text() == "first\nsecond\nline\n"


def test_where_their_folder_cannot_be_written_it_is_another_one(
    game: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(autosave, "RESCUE_FOLDERS", (lambda: tmp_path / "file", lambda: tmp_path / "other"))
    game._folder = tmp_path / "file"
    game.dispatch(Typed("first"))
    end = game.close()
    assert isinstance(end, TextSaved) and end.path.parent == tmp_path / "other"


def test_without_a_disk_that_is_said(game: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(autosave, "RESCUE_FOLDERS", ())
    game._folder = tmp_path / "file"
    game.dispatch(Typed("first"))
    assert isinstance(game.close(), Lost)


def test_beside_another_model_s_prompts_the_session_keeps_them(game: Runtime, tmp_path: Path) -> None:
    game.dispatch(Typed("first"))
    other = replace(game.session.game, settings=replace(game.session.game.settings, model=GgufFile("other.gguf")))
    game.session = replace(game.session, other_games={"other": other})
    assert game.close() is None and not list(tmp_path.iterdir())


def test_without_such_a_text_there_is_no_file(game: Runtime, tmp_path: Path) -> None:
    assert game.close() is None and not list(tmp_path.iterdir())


def test_a_turn_ends_after_a_time(game: Runtime) -> None:
    moments = iter(range(1000))
    game._clock = lambda: float(next(moments))
    for _ in range(10):
        game._listen(Pong(), 1)
    assert game.receive() and game._inbox.qsize() == 9, "one at least, or nothing would ever be taken"


def test_messages_behind_one_that_failed_are_taken_in_next(game: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    game.notify = lambda: calls.append(1)
    game.remark("fails")
    game.remark("comes after")
    with monkeypatch.context() as patch:
        patch.setattr(game_module, "handle", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            game.receive()
    assert len(calls) == 2, "told again that there is something"
    assert game.receive() and game.session.notice == "comes after"


def test_an_engine_that_floods_has_to_wait_and_ending_it_does_not(game: Runtime) -> None:
    said = []

    def flood() -> None:
        for number in range(10 * MOST_QUEUED_REPLIES):
            game._listen(Pong(), 1)
            said.append(number)

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while len(said) < MOST_QUEUED_REPLIES and time.monotonic() < end:
        time.sleep(0.001)
    assert game._inbox.qsize() == MOST_QUEUED_REPLIES
    while game.receive():
        assert game._inbox.qsize() <= MOST_QUEUED_REPLIES
        if len(said) > 3 * MOST_QUEUED_REPLIES:
            break
    game._end_all()
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_the_limits_are_those_of_a_turn_that_is_not_felt() -> None:
    assert game_module.TURN_SECONDS <= 0.02 and MOST_QUEUED_REPLIES >= MESSAGES_PER_TURN


def test_an_engine_that_cannot_be_started_again_has_died(game: Runtime) -> None:
    def refuse(_: Callable[[Delivery], None]) -> Engine:
        raise OSError(errno.EMFILE, "Too many open files")

    game._connect[GgufFile] = refuse
    game._carry_out([Start(2, FILE)])
    assert game.engine_pid is None
    assert game._inbox.get(timeout=1) == EngineReplied(
        2, EngineDied("the limit of open files is too low: raise it with ulimit -n")
    )


def test_without_threads_a_save_is_refused_and_an_engine_is_not_left(
    game: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    game._carry_out([Save(b"a")])
    assert game._inbox.get(timeout=1) == SaveFailed(TOO_FEW)
    sleeping = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    game._connect[GgufFile] = local(sleeping)
    game._carry_out([Start(2, FILE)])
    assert game._inbox.get(timeout=1) == EngineReplied(2, EngineDied(TOO_FEW))
    with sleeping:
        assert sleeping.poll() is not None


def test_what_is_told_of_a_session_that_was_left_is_not_for_the_one_after_it(tmp_path: Path) -> None:
    first, second = Slot(tmp_path), Slot(tmp_path)
    session = Session(Game(Settings(text="hello", model=FILE)))
    game = Runtime(session, folder=tmp_path, slot=first)
    game._saver.autosave_in(first)._tell("the disk is full")
    game._enqueue(OfSlot(first, SessionSaved("mine")))
    game._saver.slot = second
    while game.receive():
        pass
    assert (game.session.unsaved, game.session.name) == ("", "")
    game._enqueue(OfSlot(second, SessionSaved("mine")))
    assert game.receive() and game.session.name == "mine"
    game.close(1.0)


def test_a_chain_that_was_set_is_worth_saving(tmp_path: Path) -> None:
    game = Runtime(started().session, folder=tmp_path, slot=Slot(tmp_path))
    game._saver.count_move(game.session, game.session)
    assert not game._saver.changed
    sampling = replace(game.session.game.sampling, chain=DEFAULT)
    before = game.session
    game.session = replace(before, game=replace(before.game, sampling=sampling))
    game._saver.count_move(before, game.session)
    assert game._saver.changed and game._saver.moves == 0, "though it is no move"
    game.close(1.0)


def test_a_chain_is_kept_beside_the_prompts_and_given_to_the_terminal(game: Runtime, tmp_path: Path) -> None:
    given: list[object] = []
    game.terminal = given.append
    effect = CopyOut("--temp 0", "--temp 0\n\n{}\n")
    game._folder = tmp_path / "prompts"
    game._carry_out([effect])
    kept = game._inbox.get(timeout=5)
    assert given == [effect] and isinstance(kept, CopiedOut)
    path = Path(kept.path)
    assert path.parent == tmp_path / "samplers" and path.name.startswith("samplers-")
    assert path.read_text() == "--temp 0\n\n{}\n"
    game._folder = path / "prompts"
    game._carry_out([effect])
    assert isinstance(game._inbox.get(timeout=5), SaveFailed)


TOO_FEW = "the limit of processes and threads is too low: raise it with ulimit -u"


def test_the_first_engine_that_cannot_be_started_ends_the_program(game: Runtime) -> None:
    def refuse(_: Callable[[Delivery], None]) -> Engine:
        raise OSError(errno.EMFILE, "Too many open files")

    game._connect[GgufFile] = refuse
    with pytest.raises(OSError, match="Too many"):
        game._carry_out([Start(1, FILE)])


def test_the_first_engine_of_a_session_gone_on_with_another_model_is_the_first(tmp_path: Path) -> None:
    def refuse(_: Callable[[Delivery], None]) -> Engine:
        raise OSError(errno.EMFILE, "Too many open files")

    before = started("hello").session
    other = replace(before.game.settings, model=GgufFile("b.gguf"))
    session = resumed(before, other, "f16")
    assert session.game.settings.model.key == "b.gguf" and "fake.gguf" in session.other_games
    with pytest.raises(OSError, match="Too many"):
        Runtime(session, folder=tmp_path, connect=refuse).start()


def test_text_that_is_typed_inside_or_comes_back_from_the_editor_is_worth_saving() -> None:
    session = started("hello").session
    before = saved_besides_moves(session)
    play = started("hello").press(Action.CURSOR_BACK, Action.INSERT, Typed("many words"))
    assert saved_besides_moves(play.session) != before
    play = started("hello").press(Action.CONSTRAINT, Typed("[0-9"))
    assert saved_besides_moves(play.session) != before
    play = started("hello").press(Action.SEARCH, Typed("many"), Action.CLOSE)
    assert saved_besides_moves(play.session) == before, "what is searched for is looked at"
    editing = Editing(session.game.prompt.tip, "another text", EditState.OPEN)
    game = replace(session.game, editing=editing)
    assert saved_besides_moves(replace(session, game=game)) == before, "the editor has it"
    states = [one for one in EditState if one is not EditState.OPEN]
    for state in states:
        game = replace(session.game, editing=replace(editing, state=state))
        assert saved_besides_moves(replace(session, game=game)) != before


def test_what_is_compared_is_worth_saving() -> None:
    two = started("hello").press(Action.COPY, Action.APPEND)
    before = saved_besides_moves(two.session)
    assert saved_besides_moves(two.press(Action.VERSUS).session) != before
    assert saved_besides_moves(two.press(Action.LAYER, Action.CURSOR_BACK, Action.VERSUS).session) == before
    session = two.session
    second = Game(replace(session.game.settings, model=GgufFile("b.gguf")))
    assert saved_besides_moves(second_model.add_second(session, second)) != before


class Arriving:
    """An engine that makes tokens of one text, and dies over the next."""

    pid = None

    def __init__(self, deliver: Callable[[Delivery], None]) -> None:
        self.deliver, self.texts, self.play = deliver, 0, Play()

    def send(self, request: Request) -> None:
        self.texts += isinstance(request, Tokenize)
        if isinstance(request, Load):
            self.deliver(replace(OTHER, name=request.path))
        elif self.texts > 1:
            self.deliver(EngineDied("SIGSEGV"))
        elif reply := self.play.reply(request):
            self.deliver(reply)

    def close(self) -> None:
        """Nothing is left of it."""


def test_moves_count_while_texts_are_still_to_come_along_to_another_model(tmp_path: Path) -> None:
    before = started("hello").press(Action.COPY, Action.APPEND).session
    session = resumed(before, replace(before.game.settings, model=GgufFile("b.gguf")), "f16")
    game = Runtime(session, folder=tmp_path / "prompts", connect=Arriving, slot=Slot(tmp_path / "sessions"))
    game.start()
    while game.receive():
        pass
    assert game.session.game.engine is EngineStatus.DEAD and len(game.session.game.carried) == 1
    assert not game._saver.changed and not game._saver.moves, "texts that come along are no moves"
    game.dispatch(Edited("an hour of work"))
    assert game._saver.changed and game._saver.moves == 0
    game.dispatch(Action.POP)
    assert game._saver.moves == 1
    end = game.close(5.0)
    assert isinstance(end, SavedWhole)
    kept = opened(tmp_path / "sessions", end.name).session
    assert kept.game.editing and kept.game.editing.text == "an hour of work"
    assert kept.game.prompt.tip.depth == game.session.game.prompt.tip.depth
    assert len(kept.other_games["fake.gguf"].prompts) == 2


@pytest.mark.parametrize("asked", [True, False])
def test_a_session_whose_file_has_moved_is_drawn_from_as_was_asked_for(asked: bool) -> None:
    chain = Chain((Sampler.of(Kind.TEMPERATURE, 0.5),), bias=((3, 1.0),))
    before = started("hello").session
    model = replace(MODEL, fingerprint="of the file")
    before = replace(before, game=replace(before.game, model=model, sampling=Sampling(chain, None, 1)))
    session = resumed(before, replace(before.game.settings, model=GgufFile("moved.gguf")), "f16")
    wanted = Sampling(Chain((Sampler.of(Kind.TEMPERATURE, 0.0),)), None, 7) if asked else session.game.sampling
    session = replace(session, game=replace(session.game, sampling=wanted))
    session, _ = update(session, Begin())
    session, _ = update(session, EngineReplied(session.game.address, model))
    assert session.game.prompts == before.game.prompts, "it is the model that was played"
    assert session.game.sampling == (wanted if asked else before.game.sampling)


@pytest.mark.parametrize(
    ("notice", "told"), [("trained for 8 tokens", "B: trained for 8 tokens"), ("", second_model.HOW)]
)
def test_what_there_is_to_say_of_the_second_models_context_is_said(
    notice: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokex_gguf.shell.resuming.together", lambda *_, **__: True)
    session = with_second(started("hello").session, GgufFile("b.gguf"), replace(Fit(4096), notice=notice))
    assert session.notice == told
