"""The list of sessions in the program: finding one, and going on with it."""

from dataclasses import replace

import pytest

from tests.fake import Play, on, started
from tokex_gguf.engine.protocol import EngineDied, Load
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.messages import (
    BackgroundReported,
    Close,
    EngineReplied,
    ListedSessions,
    ListSessions,
    NotResumed,
    PointedAtRow,
    ReleaseSession,
    Resume,
    Resumed,
    SessionsNotListed,
    Start,
    SwitchSession,
    Typed,
)
from tokex_gguf.play.session import Session
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.session_entry import PlayedBy, SessionEntry


def entry(name: str, text: str, held: PlayedBy = PlayedBy.NOBODY, fault: str = "", called: str = "") -> SessionEntry:
    whole = f"{called} {text} today 12:00 Fake".casefold()
    return SessionEntry(name, called, name[-4:], text, 1.0, "today 12:00", 2, 7, 9, "Fake", "", held, fault, whole)


ENTRIES = (
    entry("a-0001", "Once upon a time"),
    entry("a-0002", "The cat sat", PlayedBy.HERE),
    entry("tale", "The dog", PlayedBy.ELSEWHERE, called="tale"),
    entry("a-0003", "", fault="it is damaged"),
)


def listing(entries: tuple[SessionEntry, ...] = ENTRIES) -> Play:
    play = started("hello")
    play.take(Action.SESSIONS)
    assert play.effects == [ListSessions()]
    play.take(ListedSessions(entries))
    return play


def names(play: Play) -> list[str]:
    return [one.name for one in on(play.session, screens.Sessions).found]


def drawn(play: Play, width: int = 80) -> list[str]:
    return ["".join(text for _, text in line) for line in ScreenRenderer().screen(play.session, width, 24)]


def other(text: str = "abc") -> Session:
    """A session as it is read from the disk: without an engine, and played before."""
    session = started(text).press(Action.APPEND, Action.COPY).session
    game = replace(session.game, address=0, engine=EngineStatus.LOADING, open_requests={})
    return replace(session, game=game, counts=replace(session.counts, engines=0, requests=0), name="tale")


def resuming(entries: tuple[SessionEntry, ...] = ENTRIES) -> Play:
    play = listing(entries)
    play.take(Action.ENTER)
    assert play.effects == [Resume("a-0001")]
    return play


@pytest.mark.parametrize("width", [60, 80, 130])
def test_a_line_begins_with_the_text_and_says_when_and_how_much(width: int) -> None:
    lines = drawn(listing(), width)
    (first,) = [line for line in lines if "Once" in line and "today" in line]
    assert first.index("Once") == 3 and "2      7 " in first and ("Fake" in first) == (width > 76)
    (heading,) = [line for line in lines if "saved" in line and "prompts" in line]
    assert heading.split("saved")[0].strip() == {60: "latest first", 80: "latest first"}.get(
        width, "sessions, the latest first"
    )
    assert any(line.startswith(" › The cat sat") for line in lines)
    assert any(line.startswith(" * tale  The dog") for line in lines)
    assert any("cannot be read: it is damaged" in line for line in lines)


def test_typing_finds_by_all_words_also_of_names_and_times() -> None:
    play = listing()
    assert names(play.press(Typed("THE c"))) == ["a-0002"]
    play.press(Action.ERASE_LINE, Typed("tale"))
    assert names(play) == ["tale"]
    play.press(Typed(" nowhere"))
    assert names(play) == [] and any("no session has this text" in line for line in drawn(play))
    assert play.press(Action.ENTER).session.notice == "no session has this text"
    assert len(names(play.press(Action.ERASE_LINE, Typed("today")))) == 4


def test_the_selection_stops_at_the_ends_and_begins_anew_with_each_letter() -> None:
    play = listing()
    assert play.press(Action.PAGE_DOWN, Action.DOWN).session.notice == "this is the last line"
    play.press(PointedAtRow(1))
    assert on(play.session, screens.Sessions).row == 1
    play.press(Typed("o"))
    assert on(play.session, screens.Sessions).row == 0


def test_what_is_typed_before_the_list_is_there_filters_it() -> None:
    play = started()
    play.take(Action.SESSIONS)
    play.press(Typed("cat"))
    play.take(ListedSessions(ENTRIES))
    assert names(play) == ["a-0002"]


def test_before_the_list_is_there_and_where_there_is_none() -> None:
    play = started()
    play.take(Action.SESSIONS)
    assert any("looking for sessions" in line for line in drawn(play))
    play.take(ListedSessions(()))
    assert any("there is no session to go on with yet" in line for line in drawn(play))
    assert play.press(Action.ENTER).session.notice == "there is no session to go on with yet"
    play = started()
    play.take(Action.SESSIONS)
    play.take(SessionsNotListed("no disk"))
    assert play.session.notice == "no disk"


def test_the_present_session_and_an_unreadable_one_are_not_opened() -> None:
    play = listing().press(Action.DOWN)
    play.take(Action.ENTER)
    assert play.effects == [] and play.session.notice == "this is the session that is played"
    play = listing().press(Action.DOWN, Action.DOWN, Action.DOWN)
    play.take(Action.ENTER)
    assert play.effects == [] and play.session.notice == "it cannot be read: it is damaged"


def test_the_session_that_was_read_takes_the_place_of_the_present_one() -> None:
    play = resuming()
    play.take(BackgroundReported(light=True))
    before, session = play.session, other()
    play.take(Resumed("a-0001", session, ""))
    after = play.session
    assert after.game.known.root is session.game.known.root and after.game.prompts == session.game.prompts
    assert after.screen == screens.PLAY and after.name == "tale"
    assert after.notice == "this is the session of today 12:00: y lists the others"
    assert after.game.settings.light, "the terminal is the same"
    first, *rest = play.effects
    assert first == SwitchSession("a-0001"), "before anything is asked for it"
    assert rest[:2] == [Close(before.game.address), Start(before.counts.engines + 1, after.game.settings.model)]
    (load,) = play.asked
    assert (
        isinstance(load, Load)
        and after.game.address == before.counts.engines + 1
        and after.counts.requests >= before.counts.requests
    )
    play.answer()
    assert play.session.game.ready and play.decoded == 5, "nothing was decoded for it"


def test_a_session_that_has_a_name_is_told_by_it() -> None:
    named = entry("tale", "Once upon a time", called="tale")
    play = listing((named, *ENTRIES[:2]))
    play.take(Action.ENTER)
    play.take(Resumed("tale", other(), ""))
    assert play.session.notice == "this is the session “tale”, saved today 12:00: y lists the others"


def test_what_there_is_to_tell_of_it_is_told() -> None:
    play = resuming()
    play.take(Resumed("a-0001", other(), "it is open in another program"))
    assert play.session.notice == "it is open in another program"


def test_late_answers_of_the_session_before_change_nothing() -> None:
    play = resuming()
    address = play.session.game.address
    play.take(Resumed("a-0001", other(), ""))
    before = play.session
    play.take(EngineReplied(address, EngineDied("SIGKILL")))
    assert play.session is before


def test_who_leaves_the_list_stays_and_the_other_one_is_given_back() -> None:
    play = resuming().press(Action.CLOSE, Action.APPEND)
    before = play.session
    play.take(Resumed("a-0001", other(), ""))
    assert play.effects == [ReleaseSession("a-0001")] and play.session is before
    play = resuming().press(Action.CLOSE)
    play.take(NotResumed("a-0001", "the disk does not answer"))
    assert play.session.notice == "", "nobody waits for it"


def test_one_session_is_opened_at_a_time() -> None:
    play = resuming().press(Action.DOWN, Action.DOWN)
    play.take(Action.ENTER)
    assert play.effects == [] and play.session.notice == "a session is being opened already"
    play.press(Action.CLOSE)
    play.take(Action.SESSIONS)
    play.take(ListedSessions(ENTRIES))
    play.press(Typed("dog"))
    play.take(Action.ENTER)
    assert play.effects == [Resume("tale")]
    before = play.session
    play.take(Resumed("a-0001", other(), ""))
    assert play.effects == [ReleaseSession("a-0001")] and play.session is before, "the one chosen last counts"
    play.take(NotResumed("tale", "the disk does not answer"))
    assert play.session.notice == "the session stays: the disk does not answer"
    assert play.session.screen == screens.PLAY


def test_a_dead_engine_is_no_obstacle_and_neither_is_the_help() -> None:
    play = started()
    play.take(EngineDied("SIGKILL"))
    play.take(Action.SESSIONS)
    play.take(ListedSessions(ENTRIES))
    play.take(Action.ENTER)
    play.take(Action.HELP)
    play.take(Resumed("a-0001", other(), ""))
    play.answer()
    assert play.session.game.ready and play.session.screen == screens.PLAY
