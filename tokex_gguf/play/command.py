"""The types of a command and of a screen's row. `commands/` declares them all."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import Outcome
from tokex_gguf.play.rules.prompt import UNREAD
from tokex_gguf.play.session import Session
from tokex_gguf.values.record import record

Handler: TypeAlias = Callable[[Session], Outcome]
Reason: TypeAlias = Callable[[Session], str]
"""Why a command cannot be done now, in one line; empty where it can."""
Hint: TypeAlias = Callable[[Session], tuple[int, str] | None]
"""A function to importance and word for the footer, where they differ now from the usual ones; else to None."""


def unread(session: Session) -> str:
    """Why a command needs the starting prompt first; empty where it can run."""
    early = screens.Help | screens.Commands | screens.Models | screens.Sessions | screens.ListSearch
    if isinstance(session.screen, early):
        return ""
    return "" if session.game.prompts else UNREAD


def no_hint(_: Session) -> None:
    """The footer always shows a command in the same way."""
    return


@record
class Command:
    """One row of a screen's table."""

    action: Action
    handler: Handler | None
    """What the command does; None where that depends on the key: see `messages.Go`."""
    keys: tuple[str, ...]
    """Names as in prompt_toolkit."""
    topic: str
    label: str
    """A word for the footer; neighbours with the same word share an entry."""
    help: str
    """A sentence for help screen and docs."""
    footer: int = 0
    """Larger is shown first when the footer is short of room; 0 never."""
    words: str = ""
    """Further words to find it by, for which its sentence has no room."""
    now: Hint = no_hint
    disabled: Reason = unread

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return self.action.name.lower().replace("_", " ")


@record
class HelpEntry:
    """A line of the help: keys and what they do, or a sign on the screen and its meaning."""

    topic: str
    name: str
    """The keys, or the sign."""
    text: str
    command: Command | None = None
    """The command of the keys; None for a sign."""

    @property
    def whole(self) -> str:
        """The text to find it by; a question has only its own words."""
        command = self.command if self.command and self.text == self.command.help else None
        name = f"{command.name} {command.label} {command.words}" if command else ""
        return f"{self.topic} {self.name} {self.text} {name}".casefold()


CommandsOf: TypeAlias = Callable[[screens.Screen], Sequence[Command]]
"""The commands of a screen."""


@record
class ScreenRow:
    """A screen's commands and handlers; its state and its looks are elsewhere."""

    title: str
    """The title in the docs."""
    commands: tuple[Command, ...]
    signs: tuple[tuple[str, str], ...] = ()
    """Signs on the screen, and their meanings."""
    questions: tuple[tuple[str, Action, str], ...] = ()
    """What a player may want to know, for the top of the help: keys, a command, and how they answer it."""
    typed: Callable[[Session, str], Outcome] | None = None
    """Handles typed or pasted text; None: the text is kept for the input line."""
    pick_row: Callable[[Session, int], Outcome] | None = None
    """Handles a click on a row of the table or list."""
    pick_token: Callable[[Session, int], Outcome] | None = None
    """Handles a click on the prompt's token at a position."""
