"""A text that comes from the editor while another model is loaded, or waits in a game that is not played, is kept."""

from dataclasses import replace

import pytest

from tests import fake
from tests.fake import MODEL, OTHER, Play, started
from tokex_gguf.engine.protocol import EngineDied, EngineFailed, Failed
from tokex_gguf.models.memory import Fit
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EditState, Settings
from tokex_gguf.play.messages import Edited, Message, Prepared, Typed
from tokex_gguf.sessions.codec import dump, load
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.model_ref import GgufFile


def to(play: Play, file: str) -> Play:
    """Chooses a model; its engine says nothing yet."""
    play.session = replace(play.session, preparing=file)
    play.take(Prepared(file, Fit(4096), file))
    play.asked.clear()
    return play


def editing(play: Play) -> Play:
    """Another model is chosen, and the editor opened before it is."""
    play.take(Action.EDIT)
    return to(play, "other.gguf")


def texts(play: Play) -> list[list[int]]:
    return [prompt.tip.path() for prompt in play.session.game.prompts]


@pytest.mark.parametrize("gives_up", [Action.CURSOR_TIP, EngineDied("SIGKILL"), EngineFailed("it is broken")])
def test_a_text_goes_back_to_the_game_that_it_came_from(gives_up: Message | EngineDied | Failed) -> None:
    play = editing(started("hello"))
    play.take(Edited("help"))
    assert "opened once the model is there" in play.session.notice
    play.take(gives_up)
    assert play.session.game.settings.model.key == "fake.gguf"
    play.asked.clear()
    play.take(MODEL)
    play.answer()
    assert texts(play) == [fake.text_to_path("help")], "in its prompt's place"
    assert play.session.game.editing is None and play.session.game.ready


def test_a_text_is_opened_with_the_model_that_was_loaded_meanwhile() -> None:
    play = editing(started("hello"))
    play.take(Edited("help"))
    play.take(OTHER)
    play.answer()
    assert len(texts(play)) == 2 and texts(play)[1] == fake.text_to_path("help")
    assert play.session.game.editing is None


def test_a_text_that_waits_for_a_copy_of_a_model_is_opened_in_its_game() -> None:
    model = replace(MODEL, fingerprint="the same")
    play = Play("hello")
    play.asked.clear()
    play.take(model)
    play.answer()
    to(play, "other.gguf")
    play.take(OTHER)
    play.answer()
    to(play, "copy.gguf")
    play.take(Edited("help"))
    play.take(model)
    play.answer()
    assert play.session.game.settings.model.key == "copy.gguf"
    assert texts(play) == [fake.text_to_path("hello"), fake.text_to_path("help")]


def test_a_text_that_waits_for_a_model_is_saved() -> None:
    play = editing(started("hello"))
    play.take(Edited("help"))
    again = load(dump(play.session), Settings("", GgufFile("")))
    assert again.game.settings.model.key == "fake.gguf"
    assert again.game.editing and again.game.editing.text == "help"


def test_a_text_that_waits_in_another_game_is_saved() -> None:
    play = started("hello")
    play.take(EngineDied("SIGKILL"))
    play.take(Action.EDIT)
    play.take(Edited("help"))
    assert play.session.game.editing and play.session.game.editing.state is EditState.WAITING
    to(play, "other.gguf")
    play.take(OTHER)
    play.answer()
    again = load(dump(play.session), Settings("", GgufFile("")))
    waiting = again.other_games["fake.gguf"].editing
    assert again.game.editing is None and waiting and waiting.text == "help"
    assert dump(again) == dump(load(dump(again), Settings("", GgufFile(""))))


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("left", ["hello", "hello\n"])
def test_an_unchanged_text_is_no_new_prompt_with_another_model(loaded: bool, left: str) -> None:
    play = started("hello")
    play.take(Action.EDIT)
    (edit,) = play.effects
    to(play, "other.gguf")
    if loaded:
        play.take(OTHER)
        play.answer()
    play.take(Edited(getattr(edit, "text", "") + left.removeprefix("hello")))
    assert play.session.notice == "the text is unchanged"
    if not loaded:
        play.take(OTHER)
        play.answer()
    assert len(play.session.game.prompts) == 1


def test_a_name_that_is_typed_stays_where_the_way_leads_back() -> None:
    play = started("hello").press(Action.COPY, Action.COPY)
    to(play, "other.gguf")
    play.take(OTHER)
    play.answer()
    to(play, "fake.gguf")
    play.take(MODEL)
    play.answer()
    to(play, "other.gguf")
    play.take(Action.NAME)
    play.take(Typed("my"))
    play.take(EngineDied("SIGKILL"))
    assert play.session.game.settings.model.key == "fake.gguf" and "back to the model before" in play.session.notice
    play.take(Typed("-aa"))
    assert isinstance(play.session.screen, screens.Name) and play.session.line.text == "my-aa"
    assert len(play.session.game.prompts) == 3


def test_beyond_the_context_the_table_of_another_path_does_not_stay() -> None:
    play = started("hello")
    play.take(Action.APPEND)
    number = play.session.game.pending
    assert number
    play.take(Failed(number, "the context is full", 5))
    shown = "\n".join("".join(text for _, text in line) for line in ScreenRenderer().screen(play.session, 130, 40))
    assert (
        "no table: 5 tokens fit into the context" in shown and "0." not in shown.split("prob")[1].split("no table")[0]
    )
    play.take(Action.DOWN)
    assert "there is no table: 5 tokens fit" in play.session.notice
