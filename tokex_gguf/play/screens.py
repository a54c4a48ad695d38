"""What the screen is used for. Each screen carries its own state; `commands/registry.py` has its row. Pure."""

from tokex_gguf.values.constraint import ConstraintKind
from tokex_gguf.values.distribution import Candidate
from tokex_gguf.values.lens import RAW, Raw, Sampled
from tokex_gguf.values.path_text import Match, PathText
from tokex_gguf.values.record import record
from tokex_gguf.values.session_entry import SessionEntry
from tokex_gguf.values.text_field import EMPTY, TextField
from tokex_gguf.values.tokens import meant
from tokex_gguf.values.tree import Node

MOST_CHARACTERS = 1_000
"""Characters that are looked for: what is pasted may be longer."""


@record(kw_only=True)
class Screen:
    """One use of the screen, with what belongs to it alone."""


@record(kw_only=True)
class TypingScreen(Screen):
    """One on which keys that print are text."""

    line: TextField = EMPTY


@record(kw_only=True)
class ListScreen(Screen):
    """One on which a line of a list is selected."""

    row: int = 0


class Play(Screen):
    """The prompt and its table."""

    __slots__ = ()


PLAY = Play()


@record(kw_only=True)
class SearchScreen(TypingScreen):
    """A part of a token is typed; the table shows what has it."""

    tip: Node
    """After this path."""
    rows: tuple[Candidate, ...] | None = None
    """What was found, the most likely first; None before the first answer."""
    total: int = 0
    """How many tokens there are with this text."""
    row: int = 0
    """The selected one."""
    fault: str = ""
    """Why the engine could not search, where it could not."""


@record(kw_only=True)
class Input(TypingScreen):
    """Text to go on with, or to score, is typed: a continuation of a path."""

    base: Node
    """The path it goes on from."""
    tip: Node
    """The path with the typed tokens."""


@record(kw_only=True)
class Insert(TypingScreen):
    """Text is typed that goes before a token of the prompt, or in place of some."""

    tip: Node
    """The prompt's end."""
    start: int
    """Tokens before the place."""
    over: int = 0
    """Tokens from there on whose place the text takes."""
    taken: str = ""
    """Their text."""


@record(kw_only=True)
class Find(TypingScreen):
    """A part of the prompt's text is typed; what is looked at is where it stands."""

    tip: Node
    """The prompt whose text it is."""
    text: PathText
    origin: Node | None
    """What was looked at before; None: the prompt's end."""
    match: Match | None = None
    """The one that is looked at; None: there is none, or none was looked for."""

    @property
    def query(self) -> str:
        """What is looked for; a space, a line break and a tab may be typed as they are shown."""
        return meant(self.line.text[:MOST_CHARACTERS])


@record(kw_only=True)
class AnswerList(Screen):
    """The answers that may follow a path; `Game.fans` has what was found, and how it is looked at."""

    base: Node


@record(kw_only=True)
class AnswerStop(TypingScreen):
    """Where the listed answers end is typed."""

    base: Node


@record(kw_only=True)
class AnswerPattern(TypingScreen):
    """A regular expression to group the listed answers by is typed."""

    base: Node


@record(kw_only=True)
class CriticalList(Screen):
    """The critical tokens of a path; `Game.criticals` has what was found."""

    base: Node


@record(kw_only=True)
class CriticalLead(TypingScreen):
    """What stands before an answer is typed."""

    base: Node


class Name(TypingScreen):
    """A name for the session is typed."""

    __slots__ = ()


class Ban(TypingScreen):
    """A text is typed whose tokens are to be banned."""

    __slots__ = ()


class Seed(TypingScreen):
    """The seed of the draws is typed."""

    __slots__ = ()


class DrawCount(TypingScreen):
    """How often to draw is typed."""

    __slots__ = ()


@record(kw_only=True)
class TreeScreen(Screen):
    """All paths that were visited."""

    at: Node
    """The end of the selected line: it stays selected where lines come and go."""


@record(kw_only=True)
class TreeSearch(TypingScreen):
    """A part of a path is typed; the lines of the tree that have it are listed."""

    before: Node
    """The end of the line that was selected in the tree."""
    row: int = 0
    """The selected one of those found."""


@record(kw_only=True)
class ListSearch(TypingScreen):
    """A part of a line is typed; the lines of a list that have it are listed."""

    over: ListScreen
    """The list, with the line selected that was found."""
    before: int
    """The line that was selected in it."""
    found: tuple[int, ...] = ()
    """The lines that have what is typed."""


class Prompts(ListScreen):
    """Open prompts, and texts to start others with."""

    __slots__ = ()


@record(kw_only=True)
class PromptName(TypingScreen):
    """A name for an open prompt is typed."""

    row: int
    """Its index."""


class NewPrompt(TypingScreen):
    """The text of a new prompt is typed."""

    __slots__ = ()


@record(kw_only=True)
class Constraining(TypingScreen):
    """A constraint is typed."""

    kind: ConstraintKind
    """In what it is written."""
    file: str = ""
    """The file whose text it is, while that is read."""


class Models(ListScreen):
    """Models on this machine."""

    __slots__ = ()


class SecondModels(Models):
    """The same, to choose the one that is compared with."""

    __slots__ = ()


@record(kw_only=True)
class Sessions(TypingScreen):
    """The sessions on the disk that have what is typed."""

    entries: tuple[SessionEntry, ...] | None = None
    """All of them; None before they are listed."""
    found: tuple[SessionEntry, ...] = ()
    row: int = 0
    """The selected one of those found."""
    opening: str = ""
    """The session that was chosen, while it is read; the present one is played until then."""


@record(kw_only=True)
class Samplers(ListScreen):
    """The sampler chain, beside the table."""

    told: Raw | Sampled = RAW
    """The lens whose numbers stand there until those of the present one are known."""


class SamplersToAdd(ListScreen):
    """The samplers that the chain lacks."""

    __slots__ = ()


@record(kw_only=True)
class SamplerValue(TypingScreen):
    """A value for a line of the sampler chain is typed."""

    row: int


class SamplerText(TypingScreen):
    """A chain is typed or pasted, as flags or JSON of llama.cpp's programs."""

    __slots__ = ()


@record(kw_only=True)
class Commands(TypingScreen):
    """The commands of another screen, to be found by their names."""

    over: Screen
    row: int = 0

    @property
    def token(self) -> int | None:
        """The number of a token of the prompt, where that is typed in place of a name."""
        text = self.line.text.strip()
        is_number = isinstance(self.over, Play) and len(text) < 10 and text.isascii() and text.isdigit()
        return int(text) if is_number else None


@record(kw_only=True)
class Help(TypingScreen):
    """The keys of another screen, which it covers; those that have what is typed."""

    over: Screen
    entry: int = 0
    """The selected one."""
