"""What a command and a screen's row are. `commands/` has them all."""

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
"""Importance and word for the footer, where these are others now than else."""


def unread(session: Session) -> str:
    """Nearly everything needs a prompt."""
    early = screens.Help | screens.Commands | screens.Models | screens.Sessions | screens.ListSearch
    if isinstance(session.screen, early):
        return ""
    return "" if session.game.prompts else UNREAD


def as_ever(_: Session) -> None:
    """The footer has always the same of a command."""
    return


@record
class Command:
    """One row of a screen's table."""

    action: Action
    handler: Handler | None
    """What it does; None where the key itself says what: see `messages.Go`."""
    keys: tuple[str, ...]
    """As prompt_toolkit names them."""
    topic: str
    label: str
    """A word for the footer; neighbours that share it stand there together."""
    help: str
    """A sentence for help screen and docs."""
    footer: int = 0
    """Larger is shown first when the footer is short of room; 0 never."""
    words: str = ""
    """What else it may be looked for by: words that its sentence has no room for."""
    now: Hint = as_ever
    disabled: Reason = unread

    @property
    def name(self) -> str:
        """What it is called where it is typed."""
        return self.action.name.lower().replace("_", " ")


@record
class HelpEntry:
    """A line of the help: keys and what they do, or what stands on the screen and what that means."""

    topic: str
    name: str
    """The keys, or the sign."""
    text: str
    command: Command | None = None
    """What the keys do; None: it is a sign."""

    @property
    def whole(self) -> str:
        """All that it can be found by; a question, by its own words alone."""
        of = self.command if self.command and self.text == self.command.help else None
        name = f"{of.name} {of.label} {of.words}" if of else ""
        return f"{self.topic} {self.name} {self.text} {name}".casefold()


CommandsOf: TypeAlias = Callable[[screens.Screen], Sequence[Command]]
"""The commands of a screen."""


@record
class ScreenRow:
    """What there is to a screen besides its state and its looks."""

    title: str
    """For the docs."""
    commands: tuple[Command, ...]
    signs: tuple[tuple[str, str], ...] = ()
    """What stands on it, and what that means."""
    questions: tuple[tuple[str, Action, str], ...] = ()
    """What a player may want to know, for the top of the help: keys, a command, and how they answer it."""
    typed: Callable[[Session, str], Outcome] | None = None
    """What text from the keyboard, or pasted, does; None: it is kept for the input line."""
    pick_row: Callable[[Session, int], Outcome] | None = None
    """What a click on a row of the table or list does."""
    pick_token: Callable[[Session, int], Outcome] | None = None
    """What a click on the prompt's token at a position does."""
