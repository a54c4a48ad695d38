"""What comes in besides keys, and what is to be done about it outside."""

from typing import TypeAlias

from tokex_gguf.engine.protocol import EngineDied, Reply, Request
from tokex_gguf.models.memory import Fit
from tokex_gguf.play.actions import Action
from tokex_gguf.play.session import Session, Starter
from tokex_gguf.values.alignment import Alignment
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.model_ref import ModelRef
from tokex_gguf.values.record import record
from tokex_gguf.values.session_entry import SessionEntry
from tokex_gguf.values.tree import Node


@record
class _WithoutFields:
    """A message that says all by its kind. Making a dataclass takes a part of the start: these share one."""


@record
class Saved:
    """A save is done."""

    path: str


@record
class CopiedOut:
    """What was to be copied is with the terminal, and in a file."""

    path: str


@record
class SaveFailed:
    """A save could not be done."""

    reason: str


@record
class Unsaved:
    """The session cannot be saved as it is now."""

    reason: str
    """One line; empty once it is saved again."""


@record
class Remark:
    """Something that the player should know."""

    line: str


INTERNAL_ERROR = "internal error: the log file has the details"
"""What the player is told of a fault of this program."""


class InternalError(_WithoutFields):
    """A fault of this program, which the log has: what was to be done is not done, and the game goes on."""

    __slots__ = ()


@record
class Typed:
    """Text from the keyboard, or pasted."""

    text: str


@record
class Unbound:
    """A key that has no meaning in the present mode: it only ends autoplay."""

    key: str
    """As it stands on the keyboard; empty where it has no name."""


@record
class Go:
    """To the open prompt of this index."""

    index: int


@record
class PointedAtToken:
    """A click on the prompt's token at this position."""

    position: int


@record
class PointedAtRow:
    """A click on this row of the table or list."""

    row: int


@record
class Edited:
    """The text that an editor left."""

    text: str


@record
class EditFailed:
    """There is no editor, or it failed, or what it left is no text."""

    reason: str
    kept: str = ""
    """The file that has the text, where there is more in it than was given to the editor."""


@record
class NotSuspended:
    """There is nothing to go to."""

    reason: str


@record
class Listed:
    """The texts that prompts can start with."""

    starters: tuple[Starter, ...]


@record
class TextRead:
    """The text of a file."""

    name: str
    """As it was asked for."""
    text: str


@record
class TextNotRead:
    """A file has no text that can be had."""

    name: str
    """As it was asked for."""
    reason: str


@record
class ListedModels:
    """The models on this machine."""

    entries: tuple[ModelEntry, ...]


@record
class NotListed:
    """The models on this machine could not be looked for."""

    reason: str


@record
class Prepared:
    """A model's file can be loaded."""

    path: str
    fit: Fit
    asked: str = ""
    """The name that it was asked for by."""


@record
class NotPrepared:
    """A model's file cannot be loaded."""

    path: str
    reason: str


@record
class PreparedBeside:
    """A model's file can be loaded beside the one that is played."""

    path: str
    fit: Fit
    asked: str
    """The name that it was asked for by."""
    together: bool
    """Whether there is memory for both at once."""


@record
class RowsReady:
    """The file is there through which two engines compare."""

    path: str


@record
class NoRows:
    """No such file can be made."""

    reason: str


@record
class Downloading:
    """A part of the model that is downloaded is here."""

    percent: int


@record
class Downloaded:
    """All of it is here."""

    path: str
    """Its file; of a split model, the first part."""


@record
class NotDownloaded:
    """It cannot be had."""

    reason: str


@record
class ListedSessions:
    """The sessions on the disk."""

    entries: tuple[SessionEntry, ...]


@record
class SessionsNotListed:
    """The sessions on the disk could not be listed."""

    reason: str


@record
class Resumed:
    """A session was read. It is held for this program until GoOn or GiveBack."""

    name: str
    """As it was asked for."""
    session: Session
    notice: str
    """What there is to tell about it; empty where there is nothing."""


@record
class NotResumed:
    """A session cannot be gone on with."""

    name: str
    """As it was asked for."""
    reason: str


@record
class SessionSaved:
    """The session is on the disk under this name."""

    name: str


@record
class Resized:
    """The screen has another size."""

    rows: int
    """Rows that it has room for in a table."""


class Begin(_WithoutFields):
    """The program is there: the engine can be started."""

    __slots__ = ()


@record
class Heard:
    """What an engine says."""

    engine: int
    """Its address."""
    reply: Reply | EngineDied


class JudgeFurther(_WithoutFields):
    """More of a prompt's tokens are to be judged than one message may take.

    As an effect it asks to be given back as a message, once other messages had their turn.
    """

    __slots__ = ()


class CompareFurther(_WithoutFields):
    """The same of what is compared."""

    __slots__ = ()


class FanFurther(_WithoutFields):
    """The same of answers."""

    __slots__ = ()


@record
class Aligned:
    """Which tokens two paths have in common."""

    a: Node
    b: Node
    alignment: Alignment
    """Behind what both begin with."""


class Beat(_WithoutFields):
    """So much time has passed that an engine which owes an answer is to show that it is alive."""

    __slots__ = ()


@record
class Lit:
    """The terminal says how its background is."""

    light: bool


PlayerEvent: TypeAlias = Typed | Unbound | Go | PointedAtToken | PointedAtRow | Edited
"""What the player does besides pressing a key of the table."""
News: TypeAlias = (
    Begin
    | InternalError
    | Resized
    | Heard
    | Beat
    | JudgeFurther
    | CompareFurther
    | FanFurther
    | Aligned
    | Saved
    | CopiedOut
    | SessionSaved
    | SaveFailed
    | Unsaved
    | Remark
    | EditFailed
    | NotSuspended
    | Listed
    | TextRead
    | TextNotRead
    | ListedModels
    | NotListed
    | ListedSessions
    | SessionsNotListed
    | Resumed
    | NotResumed
    | Prepared
    | NotPrepared
    | PreparedBeside
    | RowsReady
    | NoRows
    | Downloading
    | Downloaded
    | NotDownloaded
    | Lit
)
"""What comes in without the player."""
Message: TypeAlias = Action | PlayerEvent | News


@record
class Send:
    """Give a request to an engine."""

    engine: int
    """Its address."""
    request: Request


@record
class Start:
    """Start an engine, to be known by an address of its own; answer Heard."""

    engine: int
    model: ModelRef
    """What it is to play: that of a file and that of a server have engines of their own."""


@record
class Close:
    """End an engine, whatever it is doing; nothing is heard of it any more."""

    engine: int


@record
class Align:
    """Find which tokens two paths have in common; answer Aligned."""

    a: Node
    b: Node
    first: list[int]
    """The tokens of A, behind those that both begin with."""
    second: list[int]
    """Those of B."""


@record
class Save:
    """Write a prompt's text to a new file; answer Saved or SaveFailed."""

    text: bytes


@record
class CopyOut:
    """Give a text to the terminal's clipboard, and write more of it to a new file; answer CopiedOut or SaveFailed."""

    text: str
    file: str


@record
class Edit:
    """Let the player edit a text in an editor; answer Edited or EditFailed."""

    text: str


class Suspend(_WithoutFields):
    """Give the terminal to the shell until the player comes back; answer NotSuspended where that cannot be."""

    __slots__ = ()


class ListStarters(_WithoutFields):
    """Read the texts that prompts can start with; answer Listed or Remark."""

    __slots__ = ()


@record
class ReadText:
    """Read the text of a file; answer TextRead or TextNotRead."""

    name: str


class ListModels(_WithoutFields):
    """Look for models; answer ListedModels or NotListed."""

    __slots__ = ()


class ListSessions(_WithoutFields):
    """Look for sessions on the disk; answer ListedSessions or SessionsNotListed."""

    __slots__ = ()


@record
class Resume:
    """Save the present session and read another one; answer Resumed or NotResumed."""

    name: str


@record
class GoOn:
    """The session of this name that was read is the one that is played: save it from now on, and end the one before."""

    name: str


@record
class GiveBack:
    """The session of this name that was read is not wanted."""

    name: str


@record
class Prepare:
    """Look at a model's file; answer Prepared or NotPrepared."""

    path: str
    asked: str
    """The name that it was asked for by."""


@record
class PrepareBeside:
    """Look at a model's file, to be loaded beside the present one; answer PreparedBeside or NotPrepared."""

    path: str
    asked: str
    """The name that it was asked for by."""


class MakeRows(_WithoutFields):
    """Make an empty file of this program's own for two engines; answer RowsReady or NoRows."""

    __slots__ = ()


@record
class Download:
    """Download a model; answer Downloading as often as there is more of it, then Downloaded or NotDownloaded."""

    name: str
    """As `--model` takes it."""


@record
class Keep:
    """Give the session this name; answer SessionSaved or SaveFailed."""

    name: str


@record
class Quit:
    """Leave the program."""

    fault: str = ""
    """Why, where it is not the player's wish."""


Effect: TypeAlias = (
    Send
    | Start
    | Close
    | Save
    | CopyOut
    | Edit
    | Suspend
    | ListStarters
    | ReadText
    | ListModels
    | ListSessions
    | Resume
    | GoOn
    | GiveBack
    | Prepare
    | PrepareBeside
    | MakeRows
    | Download
    | Keep
    | JudgeFurther
    | CompareFurther
    | FanFurther
    | Align
    | Quit
)
Outcome: TypeAlias = tuple[Session, list[Effect]]
