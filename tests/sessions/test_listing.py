"""What a list says of the sessions on the disk."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake import started
from tokex_gguf.cli.session_table import session_lines
from tokex_gguf.play.actions import Action
from tokex_gguf.sessions import codec, listing, store
from tokex_gguf.sessions.summary import Stamp
from tokex_gguf.ui.cells import cells_of
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.session_entry import PlayedBy

AUTO = "autosave-20260101-120000-{}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three sessions, the last first: without a name, with one, unreadable."""
    play = started("The quick brown fox jumps over the lazy dog and on and on, as far as it can").press(Action.COPY)
    for order, name in enumerate(("tale", AUTO.format("0123456789ab"))):
        data = b"".join(codec.Encoder().encode(play.session, Stamp(order + 1, int(time.time()), 3)))
        (tmp_path / f"{name}.json").write_bytes(data)
    (tmp_path / "third.json").write_text("no session")
    return tmp_path


def test_what_an_entry_says(folder: Path) -> None:
    first, second, third = listing.listed(folder, "tale")
    assert (first.name, first.called, first.short) == (AUTO.format("0123456789ab"), "", "89ab")
    assert (second.name, second.called, second.short) == ("tale", "tale", "tale")
    assert (first.prompts, first.tokens, first.model) == (2, 75, "Fake") and first.when.startswith("today ")
    assert second.held is PlayedBy.HERE and first.held is PlayedBy.NOBODY
    assert "not JSON" in third.fault and third.short == "third"
    slot = store.claim(folder, "tale")
    assert slot
    assert [entry.held for entry in listing.listed(folder)] == [PlayedBy.NOBODY, PlayedBy.ELSEWHERE, PlayedBy.NOBODY]
    slot.close()


@pytest.mark.parametrize("width", [60, 80, 100, 130, 300])
def test_a_line_fits_the_terminal_and_begins_with_what_is_recognised(folder: Path, width: int) -> None:
    found = listing.listed(folder)
    long = tuple(entry._replace(model="漢" * 30, called="n" * 60, short="n" * 60) for entry in found)
    for entries in (found, long):
        head, first, second, third = session_lines(entries, width)
        assert all(cells_of(line) <= width for line in (head, first, second, third))
        text = found[0].text
        assert first[4:14] == second[4:14] == text[:10] and first.startswith(" 1  ")
        assert "today" in first and "cannot be read" in third
    head, first, *_ = session_lines(found, width)
    assert "autosave" not in first and (first.endswith("89ab") or width < 80)
    assert len(first) - 14 <= width, "no wider than what it has to say"


def test_piped_lines_are_whole(folder: Path) -> None:
    head, first, second, third = session_lines(listing.listed(folder), None)
    assert first.endswith(AUTO.format("0123456789ab")) and second.endswith("tale") and "third.json" in third
    assert store.when(listing.listed(folder)[0].saved) in first and head.split()[:2] == ["text", "saved"]


def test_the_end_of_a_name_is_enough_where_it_says_which() -> None:
    names = [AUTO.format("00001234"), AUTO.format("11111234"), AUTO.format("0000abcd"), "cd12", "mine"]
    short = listing.shortened(names)
    assert short["mine"] == "mine" and short[names[0]] == "01234" and short[names[1]] == "11234"
    assert len(set(short.values())) == len(names)
    assert listing.shortened([]) == {}
    assert listing.shortened([AUTO.format("1234"), "1234"])[AUTO.format("1234")] == "1234", "no more is there"


def test_what_a_short_name_means(tmp_path: Path) -> None:
    for name in (AUTO.format("00001234"), AUTO.format("11111234"), AUTO.format("0000abcd"), "0abcd"):
        (tmp_path / f"{name}.json").write_text("")
    assert listing.named(tmp_path, "abcd") == AUTO.format("0000abcd")
    assert listing.named(tmp_path, "0abcd") == "0abcd", "a whole name goes first"
    assert listing.named(tmp_path, "1234") == "1234", "two end so: it is none"
    assert listing.named(tmp_path, "01234") == AUTO.format("00001234")
    assert listing.named(tmp_path, "bcd") == "bcd", "too short"
    assert listing.named(tmp_path, "2345") == "2345"


def test_moments_in_few_characters() -> None:
    now = time.mktime((2026, 11, 26, 13, 0, 0, 0, 0, -1))
    assert listing.brief(now - 60, now) == "today 12:59"
    assert listing.brief(now - 86_400, now) == "Nov 25 13:00"
    assert listing.brief(time.mktime((2025, 1, 2, 3, 4, 0, 0, 0, -1)), now) == "Jan 02 2025"
    assert listing.brief(1e300, now) == "no time"


def test_a_session_with_several_models_says_so(tmp_path: Path) -> None:
    one, two = started("abc").session, started("def").session
    game = replace(two.game, settings=replace(two.game.settings, model=GgufFile("other.gguf")))
    (tmp_path / "both.json").write_bytes(codec.dump(replace(one, other_games={"other.gguf": game})))
    assert listing.listed(tmp_path)[0].model == "Fake (and 1 more)"
