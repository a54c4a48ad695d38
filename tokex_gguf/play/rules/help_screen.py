"""The help: typing filters it, Enter runs the selected command."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tokex_gguf.play.command import Handler, HelpEntry
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules.histories import keep_pasted
from tokex_gguf.play.screens import Help, Screen
from tokex_gguf.play.session import Session
from tokex_gguf.values.key_names import shown
from tokex_gguf.values.record import replace
from tokex_gguf.values.text_field import TextField

MOST_CHARACTERS = 40
"""The longest filter, in characters: a longer text was meant for another place."""

HelpOf: TypeAlias = Callable[[Screen], Sequence[HelpEntry]]
"""A function to a screen's help entries."""


def open_help(session: Session) -> Outcome:
    """Shows the keys of the present screen."""
    return replace(session, screen=Help(over=session.screen)), []


def close(session: Session) -> Outcome:
    """Closes the help. The filter is forgotten: ? shows all entries again."""
    return replace(session, screen=_screen(session).over), []


def found(screen: Help, entries: HelpOf) -> list[HelpEntry]:
    """The entries that have all typed words."""
    words = screen.line.text.casefold().split()
    return [entry for entry in entries(screen.over) if all(word in entry.whole for word in words)]


def typed(entries: HelpOf) -> Callable[[Session, str], Outcome]:
    """Adds typed text to the filter. The key or name of a command selects its entry."""

    def go(session: Session, text: str) -> Outcome:
        screen = _screen(session)
        if text == "?" and not screen.line.text:
            return close(session)
        if "\n" in text or len(screen.line.text + text) > MOST_CHARACTERS:
            return keep_pasted(session, text, "too long to look for"), []
        return _changed(session, screen.line.typed(text), entries)

    return go


def edit_line(change: Callable[[TextField], TextField], entries: HelpOf) -> Handler:
    """Changes the filter by a key."""
    return lambda session: _changed(session, change(_screen(session).line), entries)


def _changed(session: Session, line: TextField, entries: HelpOf) -> Outcome:
    screen = replace(_screen(session), line=line, entry=0)
    commands = [(index, entry.command) for index, entry in enumerate(found(screen, entries)) if entry.command]
    by_key = (index for index, command in commands if line.text in map(shown, command.keys))
    text = line.text.casefold().strip()
    by_name = (index for index, command in commands if text in (command.name, command.label))
    entry = next(by_key, next(by_name, 0))
    return replace(session, screen=replace(screen, entry=entry)), []


def scroll(rows: int, entries: HelpOf) -> Handler:
    """Moves the selection."""

    def go(session: Session) -> Outcome:
        return pick(entries)(session, _screen(session).entry + rows)

    return go


def pick(entries: HelpOf) -> Callable[[Session, int], Outcome]:
    """Selects an entry."""

    def go(session: Session, entry: int) -> Outcome:
        screen = _screen(session)
        last = max(0, len(found(screen, entries)) - 1)
        return replace(session, screen=replace(screen, entry=max(0, min(last, entry)))), []

    return go


def run(entries: HelpOf) -> Handler:
    """Runs the selected command on its screen."""

    def go(session: Session) -> Outcome:
        screen = _screen(session)
        shown_now = found(screen, entries)
        if screen.entry >= len(shown_now):
            return replace(session, notice=NO_MATCH), []
        command = shown_now[screen.entry].command
        if command is None:
            return replace(session, notice="this line explains a sign: it is no command"), []
        if command.handler is None:
            return replace(session, notice="press the number itself: Esc, then 2 goes to prompt 2"), []
        session = replace(session, screen=screen.over)
        if reason := command.disabled(session):
            return replace(session, notice=reason), []
        return command.handler(session)

    return go


NO_MATCH = "no match: Backspace takes a letter back, ctrl+u all of them"


def _screen(session: Session) -> Help:
    assert isinstance(session.screen, Help)
    return session.screen
