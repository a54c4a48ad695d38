"""The default model, downloaded while the bundled one is played: without a hub."""

from dataclasses import replace

import pytest

from tests.fake import MODEL, PIECES, Play, on, text_to_path
from tests.play.test_switching import entry
from tokex_gguf.engine.protocol import Tokenized
from tokex_gguf.models.memory import Fit
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import (
    Download,
    Downloaded,
    Downloading,
    ListedModels,
    ListModels,
    NotDownloaded,
    Prepare,
    Prepared,
    Typed,
    Unbound,
)
from tokex_gguf.play.screens import Input, ListScreen
from tokex_gguf.sessions import codec
from tokex_gguf.ui.status import header
from tokex_gguf.values.download import Coming, Here, Wanted

NAME = "maker/Large-1B-GGUF:Large-1B.Q4_K_M.gguf"
ENTRIES = (entry("big.gguf"), entry("fake.gguf"), entry("other.gguf"))


def wanted() -> Play:
    """A game whose first text has no tokens yet, and whose model stands in for another."""
    play = Play("hello")
    play.session = replace(play.session, download=Wanted(NAME))
    return play


def coming() -> Play:
    """The same when it is played."""
    play = wanted()
    play.answer()
    assert play.session.download == Coming(NAME)
    assert play.session.notice_line == "this is the small bundled model: play with it while Large-1B is downloaded"
    return play


def top(play: Play, width: int = 120) -> str:
    line = "".join(text for _, text in header(play.session, width))
    assert len(line) == width
    return line


def test_it_is_asked_for_once_and_not_before_there_is_something_to_play() -> None:
    play = wanted()
    play.take(MODEL)
    assert Download(NAME) not in play.effects and play.session.download == Wanted(NAME)
    asked = 0
    play.asked.clear()
    while isinstance(play.session.download, Wanted):
        assert not play.session.game.ready and not asked
        reply = play.reply(play.asked.pop(0)) if play.asked else Tokenized(1, text_to_path("hello"), PIECES)
        assert reply
        play.take(reply)
        asked += play.effects.count(Download(NAME))
    assert play.session.game.ready
    play.answer()
    for key in (Action.DOWN, Action.APPEND, Action.POP):
        play.take(key)
        asked += play.effects.count(Download(NAME))
    assert asked == 1 and play.session.download == Coming(NAME)


def test_a_game_whose_model_stands_in_for_none_downloads_nothing() -> None:
    play = Play("hello").answer()
    for message in (Downloading(5), Downloaded("big.gguf"), NotDownloaded("no hub")):
        play.take(message)
        assert play.session.download is None and play.session.notice == ""


def test_the_header_shows_how_far_it_is() -> None:
    play = coming()
    play.take(Downloading(34))
    assert "downloading Large-1B 34 %" in top(play) and "Fake · fake · Q4_0" in top(play)
    assert "context 5/4096" in top(play)
    narrow = top(play, 66)
    assert "downloading Large-1B 34 %" in narrow and "Fake" in narrow and "Q4_0" not in narrow
    assert "downloading Large-1B 34 %" in top(play, 60)


def test_nothing_that_is_played_is_touched() -> None:
    play = coming().press(Action.INPUT)
    play.take(Typed("more"))
    before = play.session
    play.take(Downloading(50))
    assert replace(play.session, download=None) == replace(before, download=None)
    play.take(Downloaded("big.gguf"))
    assert on(play.session, Input).line.text == "more"
    assert replace(play.session, download=None, notice="") == replace(before, download=None)


def test_when_it_is_here_a_line_names_the_key_and_the_list_selects_it() -> None:
    play = coming()
    play.take(Downloaded("big.gguf"))
    assert play.session.notice == "Large-1B is here: o, then Enter, plays with it; your prompts come along"
    play.take(Unbound("q"))
    assert "Large-1B is here: o Enter" in top(play), "it stays to be seen"
    play.take(Action.MODELS)
    play.take(ListedModels(ENTRIES))
    assert play.session.models[on(play.session, ListScreen).row].path == "big.gguf"
    play.take(Action.ENTER)
    assert play.effects == [Prepare("big.gguf", "big.gguf")]
    play.take(Prepared("big.gguf", Fit(0, 5000)))
    play.answer()
    assert play.session.game.settings.model.key == "big.gguf" and play.session.game.prompts
    assert "is here" not in top(play)
    play.take(Action.MODELS)
    assert play.session.models[on(play.session, ListScreen).row].path == "big.gguf", "the one that is played"


def test_enter_never_loads_what_stood_in_its_place() -> None:
    """The list as it was before it came has another model on the first row."""
    play = coming().press(Action.MODELS)
    play.take(ListedModels((entry("another.gguf"), entry("fake.gguf"))))
    play.press(Action.CLOSE)
    play.take(Downloaded("big.gguf"))
    play.take(Action.MODELS)
    play.take(Action.ENTER)
    assert play.effects == [] and play.session.preparing == ""
    play.take(ListedModels(ENTRIES))
    assert play.session.models[on(play.session, ListScreen).row].path == "big.gguf"


def test_a_list_that_is_open_gets_it_and_keeps_its_place() -> None:
    play = coming().press(Action.MODELS)
    play.take(ListedModels(ENTRIES[1:]))
    play.take(Action.DOWN)
    play.take(Downloaded("big.gguf"))
    assert play.effects == [ListModels()]
    play.take(ListedModels(ENTRIES))
    assert play.session.models[on(play.session, ListScreen).row].path == "other.gguf"


def test_where_it_cannot_be_had_one_line_says_so() -> None:
    play = coming()
    play.take(NotDownloaded("the hub cannot be reached"))
    assert play.session.notice == "Large-1B is not downloaded, the next start tries again: the hub cannot be reached"
    assert play.session.download is None and "Large" not in top(play)


@pytest.mark.parametrize("told", [f"the hub cannot be reached for {NAME}: no answer", f"{NAME}: the disk is full"])
def test_the_line_names_the_model_once(told: str) -> None:
    play = coming()
    play.take(NotDownloaded(told))
    assert NAME not in play.session.notice and "Large-1B is not downloaded" in play.session.notice
    assert play.session.notice.endswith(told.rpartition(":")[2])


def test_a_line_that_stands_there_stays() -> None:
    play = coming()
    play.session = replace(play.session, notice="the session of yesterday is kept")
    play.take(NotDownloaded("the hub cannot be reached"))
    assert play.session.notice.startswith("the session of yesterday is kept; Large-1B is not downloaded")


def test_a_session_file_knows_nothing_of_it() -> None:
    play = coming()
    play.take(Downloaded("big.gguf"))
    assert play.session.download == Here(NAME, "big.gguf")
    loaded = codec.load(codec.dump(play.session), play.session.game.settings)
    assert loaded.download is None and loaded.game.prompts
