"""Messages to `update` besides keys, and the effects that it returns."""

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
    """A message or effect without fields. Each dataclass made adds to the start-up time: these share one base."""


@record
class Saved:
    """A prompt's text was saved."""

    path: str
    is_utf_8: bool = True
    """Whether it can be read as a text: a prompt may have a part of a character."""


@record
class CopiedOut:
    """A text was given to the terminal's clipboard and written to a file."""

    path: str


@record
class SaveFailed:
    """A file could not be written."""

    reason: str


@record
class Unsaved:
    """The session cannot be saved as it is now."""

    reason: str
    """One line; empty once it is saved again."""


@record
class Remark:
    """A line for the player."""

    line: str


INTERNAL_ERROR = "internal error: the log file has the details"
"""The notice of a fault of this program."""


class InternalError(_WithoutFields):
    """A fault of this program, which is in the log: a message was not handled, and the game goes on."""

    __slots__ = ()


@record
class Typed:
    """Text from the keyboard, or pasted."""

    text: str


@record
class Unbound:
    """A key without a command on the present screen: it only ends autoplay."""

    key: str
    """The key's name on the keyboard; empty where it has none."""


@record
class Go:
    """Go to the open prompt of this index."""

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
    """The text that the player left in the editor."""

    text: str


@record
class EditFailed:
    """There is no editor, it failed, or its file is no text."""

    reason: str
    kept: str = ""
    """The file with the text, if the player has changed it."""


@record
class NotSuspended:
    """The program cannot be suspended."""

    reason: str


@record
class ListedStarters:
    """The texts that prompts can start with."""

    starters: tuple[Starter, ...]


@record
class TextRead:
    """The text of a file."""

    name: str
    """The name as requested."""
    text: str


@record
class TextNotRead:
    """The text of a file cannot be read."""

    name: str
    """The name as requested."""
    reason: str


@record
class ListedModels:
    """The models on this machine."""

    entries: tuple[ModelEntry, ...]


@record
class ModelsNotListed:
    """The models on this machine could not be listed."""

    reason: str


@record
class Prepared:
    """A model's file can be loaded."""

    path: str
    fit: Fit
    asked: str = ""
    """The name by which the player chose it."""


@record
class NotPrepared:
    """A model's file cannot be loaded."""

    path: str
    reason: str


@record
class PreparedSecond:
    """A model's file can be loaded beside the current model."""

    path: str
    fit: Fit
    asked: str
    """The name by which the player chose it."""
    together: bool
    """Whether there is memory for both models at once."""


@record
class RowsReady:
    """The file through which two engines compare is there."""

    path: str


@record
class NoRows:
    """The file for two engines cannot be made."""

    reason: str


@record
class Downloading:
    """Progress of a download."""

    percent: int


@record
class Downloaded:
    """A download is complete."""

    path: str
    """The model's file; of a split model, the first part."""


@record
class NotDownloaded:
    """A download has failed."""

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
    """A session was read. It stays locked for this program until SwitchSession or ReleaseSession."""

    name: str
    """The name as requested."""
    session: Session
    notice: str
    """A notice about it; may be empty."""


@record
class NotResumed:
    """A session cannot be continued."""

    name: str
    """The name as requested."""
    reason: str


@record
class SessionSaved:
    """The session is on the disk under this name."""

    name: str


@record
class Resized:
    """The terminal was resized."""

    rows: int
    """Rows of a table that fit."""


class Begin(_WithoutFields):
    """The program is ready: the engine can be started."""

    __slots__ = ()


@record
class EngineReplied:
    """A message of an engine."""

    engine: int
    """The engine's address."""
    reply: Reply | EngineDied


class JudgeFurther(_WithoutFields):
    """Continue judging a prompt's tokens, of which one message does only a few.

    As an effect, it is sent back as a message after all other messages.
    """

    __slots__ = ()


class CompareFurther(_WithoutFields):
    """The same for a comparison."""

    __slots__ = ()


class SearchFurther(_WithoutFields):
    """The same for searches for answers and critical tokens."""

    __slots__ = ()


@record
class Aligned:
    """The tokens that two paths have in common."""

    a: Node
    b: Node
    alignment: Alignment
    """After the common prefix."""


class Beat(_WithoutFields):
    """Heartbeat timer fired: ping engines that owe an answer."""

    __slots__ = ()


@record
class BackgroundReported:
    """The terminal has reported its background."""

    light: bool


PlayerEvent: TypeAlias = Typed | Unbound | Go | PointedAtToken | PointedAtRow | Edited
"""Input of the player besides commands' keys."""
ProgramEvent: TypeAlias = (
    Begin
    | Resized
    | EngineReplied
    | Beat
    | JudgeFurther
    | CompareFurther
    | SearchFurther
    | Aligned
    | Saved
    | CopiedOut
    | SessionSaved
    | SaveFailed
    | Unsaved
    | Remark
    | EditFailed
    | NotSuspended
    | ListedStarters
    | TextRead
    | TextNotRead
    | ListedModels
    | ModelsNotListed
    | ListedSessions
    | SessionsNotListed
    | Resumed
    | NotResumed
    | Prepared
    | NotPrepared
    | PreparedSecond
    | RowsReady
    | NoRows
    | Downloading
    | Downloaded
    | NotDownloaded
    | BackgroundReported
)
"""What engines send, and the outcomes of effects."""
Message: TypeAlias = Action | PlayerEvent | ProgramEvent | InternalError


@record
class Send:
    """Send a request to an engine."""

    engine: int
    """The engine's address."""
    request: Request


@record
class Start:
    """Start an engine with a new address; answer EngineReplied."""

    engine: int
    model: ModelRef
    """The model: files and servers have different engines."""


@record
class Close:
    """End an engine, whatever it is doing; it sends no more messages."""

    engine: int


@record
class Align:
    """Find the tokens that two paths have in common; answer Aligned."""

    a: Node
    b: Node
    first: list[int]
    """The tokens of A after the common prefix."""
    second: list[int]
    """The same of B."""


@record
class Save:
    """Write a prompt's text to a new file; answer Saved or SaveFailed."""

    text: bytes


@record
class CopyOut:
    """Copy `text` to the terminal's clipboard, and write `file` to a new file; answer CopiedOut or SaveFailed."""

    text: str
    file: str


@record
class Edit:
    """Open a text in the player's editor; answer Edited or EditFailed."""

    text: str


class Suspend(_WithoutFields):
    """Suspend the program until the player comes back; answer NotSuspended where that is impossible."""

    __slots__ = ()


class ListStarters(_WithoutFields):
    """Read the texts that prompts can start with; answer ListedStarters or Remark."""

    __slots__ = ()


@record
class ReadText:
    """Read the text of a file; answer TextRead or TextNotRead."""

    name: str


class ListModels(_WithoutFields):
    """Look for models; answer ListedModels or ModelsNotListed."""

    __slots__ = ()


class ListSessions(_WithoutFields):
    """Look for sessions on the disk; answer ListedSessions or SessionsNotListed."""

    __slots__ = ()


@record
class Resume:
    """Save the present session and read another one; answer Resumed or NotResumed."""

    name: str


@record
class SwitchSession:
    """Switch to the session that was read: save it from now on, and close the one before."""

    name: str


@record
class ReleaseSession:
    """Release the session that was read: it is not wanted."""

    name: str


@record
class Prepare:
    """Check a model's file; answer Prepared or NotPrepared."""

    path: str
    asked: str
    """The name by which the player chose it."""


@record
class PrepareSecond:
    """Check a model's file, to load it beside the present one; answer PreparedSecond or NotPrepared."""

    path: str
    asked: str
    """The name by which the player chose it."""


class MakeRows(_WithoutFields):
    """Make an empty private file for two engines; answer RowsReady or NoRows."""

    __slots__ = ()


@record
class Download:
    """Download a model; answer Downloading on progress, then Downloaded or NotDownloaded."""

    name: str
    """As `--model` takes it."""


@record
class NameSession:
    """Give the session this name; answer SessionSaved or SaveFailed."""

    name: str


@record
class Quit:
    """Leave the program."""

    fault: str = ""
    """Why, if the player did not ask for it."""


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
    | SwitchSession
    | ReleaseSession
    | Prepare
    | PrepareSecond
    | MakeRows
    | Download
    | NameSession
    | JudgeFurther
    | CompareFurther
    | SearchFurther
    | Align
    | Quit
)
Outcome: TypeAlias = tuple[Session, list[Effect]]
