"""The sessions on the disk as entries of a list."""

import time
from collections import Counter
from pathlib import Path

from tokex_gguf.play.game import Settings
from tokex_gguf.sessions import codec, store
from tokex_gguf.sessions.store import SavedSession
from tokex_gguf.sessions.summary import Summary
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.session_entry import PlayedBy, SessionEntry
from tokex_gguf.values.tokens import visible

EMPTY_SUMMARY = Summary(0, 0, 0, 0, 0, 0, 0, "", "")
"""The summary of an unreadable session."""
SHORT_CHARACTERS = 4
"""Characters at the end of an autosave's name that identify it, at the least."""


def listed(folder: Path, playing: str = "") -> tuple[SessionEntry, ...]:
    """The sessions in a folder, the last played first. `playing`: the name of this program's session."""
    saved_sessions = store.sessions(folder)
    short = shortened([saved.name for saved in saved_sessions])
    now = time.time()
    return tuple(_entry(folder, saved, short[saved.name], playing, now) for saved in saved_sessions)


def _entry(folder: Path, saved: SavedSession, short: str, playing: str, now: float) -> SessionEntry:
    about, fault = (saved.summary, "") if saved.summary else _read(folder, saved.name)
    held = PlayedBy.HERE if saved.name == playing else PlayedBy.NOBODY
    if held is PlayedBy.NOBODY and store.is_open(folder, saved.name):
        held = PlayedBy.ELSEWHERE
    called = "" if store.is_autosave(saved.name) else saved.name
    games = f" (and {about.games - 1} more)" if about.games > 1 else ""
    entry = SessionEntry(
        name=saved.name,
        called=called,
        short=short,
        text=visible(about.text),
        saved=saved.saved,
        when=brief(saved.saved, now),
        prompts=about.prompts,
        tokens=about.length,
        visited=about.tokens,
        model=f"{visible(about.model)}{games}",
        asked=visible(about.asked),
        held=held,
        fault=visible(fault),
    )
    return entry._replace(whole=" ".join((called, entry.text, entry.when, entry.model, entry.asked)).casefold())


def _read(folder: Path, name: str) -> tuple[Summary, str]:
    """The summary of a session whose file has none, and the reason if it cannot be read."""
    try:
        session, _ = store.read(folder, name, lambda data: codec.load(data, Settings("", GgufFile(""))))
    except store.NoSession as error:
        return EMPTY_SUMMARY, str(error)
    return codec.summary_of(session), ""


def brief(moment: float, now: float) -> str:
    """A moment as local time, in at most 12 characters."""
    try:
        then, today = time.localtime(moment), time.localtime(now)
        if then[:3] == today[:3]:
            return time.strftime("today %H:%M", then)
        return time.strftime("%b %d %H:%M" if then.tm_year == today.tm_year else "%b %d %Y", then)
    except (OverflowError, OSError, ValueError):
        return "no time"


def shortened(names: list[str]) -> dict[str, str]:
    """The shortest names for these sessions: of an autosave, the end of its name.

    >>> shortened(["mine", "autosave-20260101-120000-00aa", "autosave-20260102-120000-00ab"])["mine"]
    'mine'
    """
    ends = [name.rpartition("-")[2] for name in names if store.is_autosave(name)]
    others = {name for name in names if not store.is_autosave(name)}
    length = SHORT_CHARACTERS
    while length < max(map(len, ends), default=0):
        counted = Counter(end[-length:] for end in ends)
        if max(counted.values()) == 1 and not others & set(counted):
            break
        length += 1
    return {name: name.rpartition("-")[2][-length:] if store.is_autosave(name) else name for name in names}


def named(folder: Path, given: str) -> str:
    """The name of the session that a name means, or the end of an autosave's name."""
    names = [saved.name for saved in store.sessions(folder)]
    meant = [name for name in names if store.is_autosave(name) and name.rpartition("-")[2].endswith(given)]
    return meant[0] if given not in names and len(given) >= SHORT_CHARACTERS and len(meant) == 1 else given
