"""Commands by their names: typing filters them, Enter runs the selected one."""

from collections.abc import Callable

from tokex_gguf.play.command import Command, CommandsOf, Handler, unread
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules import cursor
from tokex_gguf.play.rules.selection import moved
from tokex_gguf.play.screens import Commands, ListScreen, ListSearch, Screen
from tokex_gguf.play.session import Session
from tokex_gguf.values.record import replace

NO_MATCH_RANK = 4
"""The rank of a command that does not have all words."""
NO_COMMAND = "no command has this name"
MOST_CHARACTERS = 200
"""Characters of the line that are searched for: a paste may be longer."""


def open_commands(session: Session) -> Outcome:
    """Lists the commands of the present screen."""
    return replace(session, screen=Commands(over=session.screen)), []


def under(session: Session) -> Screen:
    """The screen under a list of commands or a line search; else the screen in use."""
    current = session.current
    return current.over if isinstance(current, Commands | ListSearch) else current


def with_under(session: Session, screen: Screen) -> Session:
    """Replaces the screen that `under` gives. A search over it stays, if the new screen is a list."""
    current = session.current
    match current:
        case Commands():
            return session.turned(replace(current, over=screen))
        case ListSearch() if isinstance(screen, ListScreen):
            return session.turned(replace(current, over=screen))
        case _:
            return session.turned(screen)


def close(session: Session) -> Outcome:
    """Returns to the screen before; nothing is done."""
    return replace(session, screen=_screen(session).over), []


def found(session: Session, rows: CommandsOf) -> list[Command]:
    """The commands that have all typed words: matches of names first, then of search words, then of help texts."""
    screen = _screen(session)
    text = " ".join(screen.line.text[:MOST_CHARACTERS].casefold().split())
    words = set(text.split())

    def rank(command: Command) -> int:
        """0: the text is its name; the words are in its name: 1, in its search words: 2, in its help: 3."""
        if command.name == text:
            return 0
        searched = f"{command.name} {command.label}".casefold()
        for match_rank, part in enumerate(("", command.words, f"{command.topic} {command.help}"), 1):
            searched += f" {part}".casefold()
            if all(word in searched for word in words):
                return match_rank
        return NO_MATCH_RANK

    runnable = [command for command in rows(screen.over) if command.handler not in (None, open_commands)]
    return sorted([command for command in runnable if rank(command) < NO_MATCH_RANK], key=rank)


def means_something(session: Session, rows: CommandsOf) -> bool:
    """Whether Enter has something to do: a command that was found, or a token to look at."""
    return _screen(session).token is not None or bool(found(session, rows))


def select(step: int, rows: CommandsOf) -> Handler:
    """Moves the selection."""

    def go(session: Session) -> Outcome:
        screen = _screen(session)
        row = moved(screen.row, screen.row + step, len(found(session, rows)), what="command", empty=NO_COMMAND)
        if isinstance(row, str):
            return replace(session, notice=row), []
        return session.turned(replace(screen, row=row)), []

    return go


def pick(rows: CommandsOf) -> Callable[[Session, int], Outcome]:
    """Selects a command by its row."""

    def go(session: Session, row: int) -> Outcome:
        return select(row - _screen(session).row, rows)(session)

    return go


def run(rows: CommandsOf) -> Handler:
    """Runs the selected command on its screen."""

    def go(session: Session) -> Outcome:
        screen, commands = _screen(session), found(session, rows)
        if (number := screen.token) is not None:
            return _go_to_token(replace(session, screen=screen.over), number)
        if screen.row >= len(commands):
            return replace(session, notice=NO_COMMAND), []
        command = commands[screen.row]
        session = replace(session, screen=screen.over)
        if reason := command.disabled(session):
            return replace(session, notice=reason), []
        assert command.handler is not None
        return command.handler(session)

    return go


def _go_to_token(session: Session, number: int) -> Outcome:
    if reason := unread(session):
        return replace(session, notice=reason), []
    last = session.game.prompt.tip.depth
    if not 1 <= number <= last:
        return replace(session, notice=f"the prompt has tokens 1 to {last}"), []
    return cursor.point(session, number - 1)


def _screen(session: Session) -> Commands:
    screen = session.on(Commands)
    assert screen is not None
    return screen
