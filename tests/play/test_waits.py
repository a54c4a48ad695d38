"""An engine that waits for RPC workers says so, and can be started anew at once."""

from tests.fake import Play
from tokex_gguf.engine.protocol import EngineDied, EngineFailed, Load, Loading, Waits
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.messages import Start
from tokex_gguf.ui.status import _engine_state, header

WAITS = Waits(["lab:1", "lab:2"], 4.2)


def told(play: Play) -> str:
    return "".join(text for _, text in _engine_state(play.session))


def test_who_is_waited_for_is_told_until_that_is_over() -> None:
    play = Play().answer()
    play.take(WAITS)
    assert told(play) == "no answer from lab:1, lab:2 for 4 s: r restarts the engine"
    play.take(Waits([], 0.0))
    assert "no answer" not in told(play)


def test_while_a_model_is_sent_over_a_slow_network_its_progress_is_told_as_well() -> None:
    play = Play()
    play.take(Loading(0.4))
    play.take(WAITS)
    assert told(play) == "40 % loaded, no answer from lab:1, lab:2 for 4 s: r restarts the engine"


def test_an_engine_that_waits_is_restarted_by_one_press() -> None:
    play = Play().answer()
    before = play.session.game.prompts
    play.take(Action.RESTART)
    assert not any(isinstance(effect, Start) for effect in play.effects), "it answers: there is nothing to restart"
    play.take(WAITS)
    play.take(Action.RESTART)
    assert any(isinstance(effect, Start) for effect in play.effects)
    assert play.session.game.engine is EngineStatus.LOADING
    assert play.session.game.health.waits is None
    assert [prompt.tip for prompt in play.session.game.prompts] == [prompt.tip for prompt in before]


def test_an_engine_that_is_gone_waits_for_nobody() -> None:
    for end in (EngineDied("SIGABRT"), EngineFailed("the RPC worker lab:1 is gone")):
        play = Play().answer()
        play.take(WAITS)
        play.take(end)
        assert play.session.game.health.waits is None
        assert told(play) == "engine stopped: r restarts it"
        assert "your prompts are safe: press r to restart it" in play.session.notice


def test_the_header_names_the_workers_where_there_is_room() -> None:
    play = Play(load=Load("", 0, 0, rpc="lab-one:50052,lab-two:50052")).answer()

    def line(width: int, of: Play = play) -> str:
        return "".join(text for _, text in header(of.session, width))

    assert "  ⇄ lab-one:50052 lab-two:50052 " in line(120)
    assert "  ⇄ 2 RPC workers " in line(70)
    assert "  ⇄ 2 RPC " in line(60)
    assert "⇄" not in line(120, Play().answer())
