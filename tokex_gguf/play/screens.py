"""The screens, each with its own state; `commands/registry.py` has their rows. Pure."""

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
"""The most characters of a query: pasted text may be longer."""


@record(kw_only=True)
class Screen:
    """A screen with its own state."""


@record(kw_only=True)
class TypingScreen(Screen):
    """A screen with a line of text: printing keys type."""

    line: TextField = EMPTY


@record(kw_only=True)
class ListScreen(Screen):
    """A screen with a list, one line of which is selected."""

    row: int = 0


class Play(Screen):
    """The prompt and its table."""

    __slots__ = ()


PLAY = Play()


@record(kw_only=True)
class SearchScreen(TypingScreen):
    """A part of a token is typed; the table shows the tokens that contain it."""

    tip: Node
    """The path that the tokens would follow."""
    rows: tuple[Candidate, ...] | None = None
    """The results, the most likely first; None before the first answer."""
    total: int = 0
    """How many tokens contain the text."""
    row: int = 0
    """The selected result."""
    fault: str = ""
    """Why the engine could not search; empty where it could."""


@record(kw_only=True)
class Input(TypingScreen):
    """Text to append or to score is typed: a continuation of a path."""

    base: Node
    """The path that the text continues."""
    tip: Node
    """The path with the typed tokens."""


@record(kw_only=True)
class Insert(TypingScreen):
    """Text is typed to insert before a token of the prompt, or to replace tokens."""

    tip: Node
    """The prompt's tip."""
    start: int
    """Tokens before the place of insertion."""
    over: int = 0
    """Tokens from there on that the text replaces."""
    taken: str = ""
    """The text of these tokens."""


@record(kw_only=True)
class Find(TypingScreen):
    """A part of the prompt's text is typed; the cursor is at its match."""

    tip: Node
    """The tip of the prompt that is searched."""
    text: PathText
    origin: Node | None
    """The cursor before the search; None: the tip."""
    match: Match | None = None
    """The match at the cursor; None: no match, or no search yet."""

    @property
    def query(self) -> str:
        """The query; a space, a line break and a tab may be typed as they are shown."""
        return meant(self.line.text[:MOST_CHARACTERS])


@record(kw_only=True)
class AnswerList(Screen):
    """The answers that may follow a path; `Game.results.fans` has them, and how they are shown."""

    base: Node


@record(kw_only=True)
class AnswerStop(TypingScreen):
    """The stop of the listed answers is typed."""

    base: Node


@record(kw_only=True)
class AnswerPattern(TypingScreen):
    """A regular expression to group the listed answers by is typed."""

    base: Node


@record(kw_only=True)
class CriticalList(Screen):
    """The critical tokens of a path; `Game.results.criticals` has them."""

    base: Node


@record(kw_only=True)
class CriticalLead(TypingScreen):
    """The lead, which comes before an answer, is typed."""

    base: Node


class Name(TypingScreen):
    """A name for the session is typed."""

    __slots__ = ()


class Ban(TypingScreen):
    """A text to ban is typed."""

    __slots__ = ()


class Seed(TypingScreen):
    """The seed of the draws is typed."""

    __slots__ = ()


class DrawCount(TypingScreen):
    """The number of draws is typed."""

    __slots__ = ()


@record(kw_only=True)
class TreeScreen(Screen):
    """The tree of all visited paths."""

    at: Node
    """The end of the selected line: the line stays selected where others come and go."""


@record(kw_only=True)
class TreeSearch(TypingScreen):
    """A part of a path is typed; the lines of the tree that contain it are listed."""

    before: Node
    """The end of the line that was selected in the tree."""
    row: int = 0
    """The selected match."""


@record(kw_only=True)
class ListSearch(TypingScreen):
    """A part of a line is typed; the lines of a list that contain it are listed."""

    over: ListScreen
    """The list, with a match selected."""
    before: int
    """The line that was selected before the search."""
    found: tuple[int, ...] = ()
    """The lines that match."""


class Prompts(ListScreen):
    """The open prompts, and texts to start new ones with."""

    __slots__ = ()


@record(kw_only=True)
class PromptName(TypingScreen):
    """A name for an open prompt is typed."""

    row: int
    """The prompt's index."""


class NewPrompt(TypingScreen):
    """The text of a new prompt is typed."""

    __slots__ = ()


@record(kw_only=True)
class Constraining(TypingScreen):
    """A constraint is typed."""

    kind: ConstraintKind
    """The kind of the constraint."""
    file: str = ""
    """The file of the constraint, while it is read."""


class Models(ListScreen):
    """Models on this machine."""

    __slots__ = ()


class SecondModels(Models):
    """Models on this machine, to choose one to compare with."""

    __slots__ = ()


@record(kw_only=True)
class Sessions(TypingScreen):
    """The sessions on the disk that match the typed words."""

    entries: tuple[SessionEntry, ...] | None = None
    """All sessions; None before they are listed."""
    found: tuple[SessionEntry, ...] = ()
    row: int = 0
    """The selected match."""
    opening: str = ""
    """The chosen session while it is read; the present one is played until then."""

    @property
    def nothing_found(self) -> str:
        """Why no session is listed, where none is."""
        if self.entries is None:
            return "looking for sessions"
        return "no session has this text" if self.entries else "there is no session to go on with yet"


@record(kw_only=True)
class Samplers(ListScreen):
    """The sampler chain, beside the table."""

    shown_lens: Raw | Sampled = RAW
    """The lens whose numbers are shown until those of the present one are known."""


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
    """The commands of another screen, found by their names."""

    over: Screen
    row: int = 0

    @property
    def token(self) -> int | None:
        """The number of a token of the prompt, if that is typed instead of a name."""
        text = self.line.text.strip()
        is_number = isinstance(self.over, Play) and len(text) < 10 and text.isascii() and text.isdigit()
        return int(text) if is_number else None


@record(kw_only=True)
class Help(TypingScreen):
    """The help of another screen, which it covers: entries that match the typed words."""

    over: Screen
    entry: int = 0
    """The selected entry."""
