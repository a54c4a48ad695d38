"""The state of the program: an immutable value that `update` turns into the next one.

What `Known` has (the tree of paths, the pieces of tokens) is shared between one
value and the next.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import Enum
from typing import NamedTuple, TypeVar

from tokex_gguf.engine.protocol import Capability
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import Game, Prompt, Viewed
from tokex_gguf.play.purposes import ForView
from tokex_gguf.play.screens import (
    PLAY,
    Constraining,
    Help,
    Input,
    Insert,
    Name,
    NewPrompt,
    SamplerText,
    Screen,
    TypingScreen,
)
from tokex_gguf.play.versus import UNPAIRED, AgainstPrompt, Pair, Paired
from tokex_gguf.values.constraint import ConstraintKind
from tokex_gguf.values.difference import Difference
from tokex_gguf.values.download import DownloadState, Here, meanwhile
from tokex_gguf.values.history import History
from tokex_gguf.values.layers import DELTA, PLAIN, Layer, LensLayer, delta_value
from tokex_gguf.values.lens import RAW, Raw, Sampled
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.outline import Order
from tokex_gguf.values.record import record, replace
from tokex_gguf.values.samplers import NO_CHAIN
from tokex_gguf.values.score import Score
from tokex_gguf.values.text_field import EMPTY, TextField
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import View

S = TypeVar("S", bound=Screen)


class Palette(Enum):
    """The colours of the layers."""

    STANDARD = "standard"
    COLOUR_BLIND = "colour-blind"
    """Shades that differ in brightness and along blue and yellow only."""
    MONOCHROME = "monochrome"
    """No colours: bold and underlined text; reversed is the cursor alone."""


class Starter(NamedTuple):
    """A text to start a prompt with."""

    name: str
    text: str


@record
class Options:
    """The player's choices of how things are shown."""

    layer: Layer = PLAIN
    palette: Palette = Palette.STANDARD
    mouse: bool = False
    """Whether this program gets clicks and the wheel."""
    by_final: bool = False
    """Whether the table is sorted by final probabilities, and not by the model's own."""
    shows_ahead: bool = True
    """Whether the table shows where each row leads to."""
    ghost: bool = False
    """Whether the prompt shows its most likely continuation."""
    by_delta: bool = False
    """Whether a comparison's table is sorted by the size of the deltas."""
    order: Order = Order.RECENT
    """How the tree's branches are sorted."""


@record
class Question:
    """A confirmation of an action: the same key next does it."""

    action: Action
    line: str


@record
class Meanwhile:
    """The line saying that the current model stands in for one that is downloaded."""

    name: str

    @property
    def line(self) -> str:
        """The text of the line."""
        return meanwhile(self.name)


@record
class TypedBefore:
    """The histories of typed lines."""

    histories: Mapping[type[TypingScreen], History] = field(default_factory=dict)
    """The history of each screen for typing."""
    kinds: Mapping[str, ConstraintKind] = field(default_factory=dict)
    """The kinds of the constraints in their history, by their texts."""


@record
class Counts:
    """Running totals."""

    lookaheads: int = 0
    """Answers to lookahead so far: each adds to the tree, and gives something new to draw."""
    engines: int = 0
    """Engines started so far, which is the last one's address."""
    requests: int = 0
    """Requests made so far."""


@record
class UnderWay:
    """Background work and the messages to itself that continue it."""

    judging: bool = False
    """Whether a `JudgeFurther` is on its way, which judges more of a prompt's tokens."""
    comparing: bool = False
    """Whether a `CompareFurther` is on its way."""
    aligning: tuple[Node, Node] | None = None
    """The two paths that are aligned in the background."""
    jumping: int = 0
    """A jump that waits until all tokens are judged: forwards (1) or backwards (-1); 0: none."""


CHANGING_SCREENS: tuple[type[TypingScreen], ...] = (Input, Insert, NewPrompt, Constraining, SamplerText)
"""Screens whose text changes the game; that of others is a query."""


@record
class Session:
    """Everything the screen shows and the keys change: the games, and how the current one is shown."""

    game: Game
    """The current game."""
    screen: Screen = PLAY
    options: Options = Options()
    typed: TypedBefore = field(default_factory=TypedBefore)
    counts: Counts = Counts()
    under_way: UnderWay = UnderWay()
    begun: bool = False
    """Whether the player has done anything yet, now or before the session was saved."""
    rows: int = 0
    """Rows that the screen has room for in a table; 0: there is no screen."""
    sampler: tuple[str, int] = ("", 0)
    """The line where the cursor was last in the sampler chain: the sampler's title, and the index of its parameter."""
    starters: tuple[Starter, ...] = ()
    """Texts to choose from in the list of prompts."""
    models: tuple[ModelEntry, ...] = ()
    """Models to choose from in the list of models."""
    other_games: Mapping[str, Game] = field(default_factory=dict)
    """The games with other models, by the models' keys."""
    origin: str = ""
    """The key of the previous model, to return to if the new one fails before it has a prompt."""
    paired: Paired = UNPAIRED
    """The second model, whose engine runs beside the current game's."""
    preparing: str = ""
    """The file of the chosen model, while it is checked; meanwhile the present one is played on."""
    download: DownloadState | None = None
    """The download of a model that the current one stands in for."""
    name: str = ""
    """The player's name for this session."""
    unsaved: str = ""
    """Why the session cannot be saved as it is now; empty where it can."""
    notice: str = ""
    """One line for the player."""
    standing: Question | Meanwhile | None = None
    """Shown while there is no notice, until a notice or the next key."""

    @property
    def notice_line(self) -> str:
        """The line to show: the notice, else the standing line."""
        return self.notice or (self.standing.line if self.standing else "")

    def asks(self, action: Action) -> bool:
        """Whether the player was asked to confirm this action by the same key."""
        return isinstance(self.standing, Question) and self.standing.action is action

    @property
    def second(self) -> Game | None:
        """The game of the second model, whose engine runs beside the current game's; None without one."""
        if not isinstance(self.paired, Pair):
            return None
        return self.game if self.paired.key == self.game.settings.model.key else self.other_games[self.paired.key]

    @property
    def compared(self) -> tuple[Node, Node] | str:
        """What is compared: the ends of two prompts, or with which model; empty where nothing is."""
        match self.game.versus:
            case AgainstPrompt(a, b):
                return a, b
            case _:
                return self.paired.key if isinstance(self.paired, Pair) else ""

    @property
    def current(self) -> Screen:
        """The screen in use, also where the help covers it."""
        return self.screen.over if isinstance(self.screen, Help) else self.screen

    def on(self, kind: type[S]) -> S | None:
        """The screen in use, if it is of this kind; the help may cover it."""
        current = self.current
        return current if isinstance(current, kind) else None

    def turned(self, current: Screen) -> "Session":
        """The session with another state of the screen in use; the help over it stays."""
        return replace(self, screen=replace(self.screen, over=current) if isinstance(self.screen, Help) else current)

    @property
    def lens(self) -> Raw | Sampled:
        """The lens of the active prompt."""
        game = self.game
        return game.sampling.lens(game.prompt, game.suppressed) if game.prompts else RAW

    def limit_of(self, score: Score) -> Sampled | None:
        """The constraint that a scored phrase is under, from where it begins on its path; None without one."""
        constraint = self.game.sampling.constraint
        if constraint is None:
            return None
        return Sampled(NO_CHAIN, constraint, min(self.game.prompt.begins, score.base.depth))

    @property
    def view(self) -> View | None:
        """The lens's view of the distribution that the table shows; None for the raw lens, and until known."""
        lens = self.lens
        return None if isinstance(lens, Raw) else self.game.known.lens_results.view(lens, self.game.prompt.place.tip)

    def viewed(self, node: Node) -> Viewed | None:
        """The lens's view of the distribution after a path.

        While that is on its way, the view of the same node that was shown last, if any.
        """
        lens = self.lens
        if isinstance(lens, Raw):
            return None
        if (view := self.game.known.lens_results.view(lens, node)) is not None:
            return Viewed(node, lens, view)
        last = self.game.seen
        return last if last is not None and last.node is node and self.view_awaited(node) else None

    def view_awaited(self, node: Node) -> bool:
        """Whether the engine owes the lens's view of the distribution after a path."""
        newest = self.game.newest(ForView)
        return newest is not None and newest[1].node is node and newest[1].lens == self.lens

    @property
    def sorts_by_final(self) -> bool:
        """Whether tables are sorted by final probabilities; those of a comparison never are."""
        return self.options.by_final and self.game.comparison is None

    @property
    def order_awaited(self) -> bool:
        """Whether the shown table's order waits for the engine."""
        if not (self.sorts_by_final and self.game.prompts):
            return False
        node = self.game.prompt.place.tip
        return self.view_awaited(node) and self.viewed(node) is None

    @property
    def layer_value(self) -> Callable[[Node], float | None]:
        """A function to the value that colours a token, 0 to 1; None for a token without colour."""
        layer, game = self.options.layer, self.game
        if layer is DELTA:
            comparison, floor = game.comparison, game.floor or 0.0
            if comparison is None:
                return lambda _node: None
            delta = comparison.delta
            return lambda node: None if (bits := delta(node)) is None else delta_value(bits, floor)
        if not isinstance(layer, LensLayer):
            of, size = layer.of, game.model.vocab_size if game.model else 0
            return lambda node: of(node, size)
        lens = self.lens
        if isinstance(lens, Raw) or layer.lacking(lens):
            return lambda _node: None
        judged, verdict_on = layer.judged, game.known.lens_results.verdict
        return lambda node: None if (verdict := verdict_on(lens, node)) is None else judged(verdict)

    @property
    def looks_ahead(self) -> bool:
        """Whether the table has a column for where each row leads to."""
        return self.options.shows_ahead and not self.game.no_further_lookahead

    @property
    def difference(self) -> Difference | None:
        """How A and B differ in the shown table; None where nothing is compared, and until known."""
        return self.difference_after(self.game.prompt.place.tip) if self.game.prompts else None

    def difference_after(self, node: Node) -> Difference | None:
        """How A and B differ after a prefix of the active prompt."""
        comparison, prompt = self.game.comparison, self.game.prompt
        taken = prompt.cursor if node is prompt.place.tip else None
        return None if comparison is None else comparison.difference(node, taken)

    @property
    def divergence(self) -> Difference | None:
        """Like `difference`, maybe with fewer rows than the table shows: known as soon as the place was compared."""
        comparison = self.game.comparison if self.game.prompts else None
        if comparison is None:
            return None
        return comparison.divergence(self.game.prompt.place.tip, self.game.prompt.cursor)

    @property
    def line(self) -> TextField:
        """The text that is being typed."""
        typing = self.on(TypingScreen)
        return typing.line if typing else EMPTY

    @property
    def typed_histories(self) -> Mapping[type[TypingScreen], History]:
        """The history of typed text of each screen, as it will be after the present screen is left.

        The text in the line becomes its unfinished text, unless the player has not changed it.
        """
        typing, histories, present = self.on(TypingScreen), self.typed.histories, self.game.sampling.constraint
        if typing is None:
            return histories
        match typing:
            case Name():
                prefilled = self.name
            case Insert():
                prefilled = typing.taken
            case Constraining() if present and present.kind is typing.kind:
                prefilled = present.text
            case _:
                prefilled = ""
        text = "" if typing.line.text == prefilled else typing.line.text
        return {**histories, type(typing): histories.get(type(typing), History()).leave(text)}

    def unfinished(self, kind: type[TypingScreen]) -> str:
        """The text that was typed on a screen and not used."""
        return self.typed_histories.get(kind, History()).unfinished

    @property
    def unused(self) -> tuple[str, ...]:
        """The typed texts that were not used yet, on the screens that change the game; queries are left out."""
        histories = self.typed_histories
        return tuple(histories.get(kind, History()).unfinished for kind in CHANGING_SCREENS)

    @property
    def all_typed(self) -> list[str]:
        """All texts that were typed on these screens, used or not."""
        histories = [self.typed_histories.get(kind, History()) for kind in CHANGING_SCREENS]
        return [text for one in histories for text in (*one.texts, one.unfinished) if text]

    @property
    def kinds(self) -> Mapping[str, ConstraintKind]:
        """The kinds of the typed constraints, by their texts."""
        typing = self.on(Constraining)
        return {**self.typed.kinds, typing.line.text: typing.kind} if typing else self.typed.kinds

    @property
    def arrived(self) -> Here | None:
        """The downloaded model, until it is played."""
        download = self.download
        if (
            not isinstance(download, Here)
            or download.path == self.game.settings.model.key
            or download.path in self.other_games
        ):
            return None
        return download

    @property
    def goal(self) -> Prompt:
        """The path whose numbers are awaited: typed text, else the active prompt, then phrases to score.

        Where tokens are walked, phrases are walked too, and need no table.
        """
        typing = self.on(Input)
        if typing and typing.tip is not typing.base:
            return Prompt(typing.tip)
        if self.game.can(Capability.PROMPT_AT_ONCE) and self.game.prompt.tip.known:
            return next(
                (Prompt(score.tip) for score in self.game.results.scores if score.logprob is None), self.game.prompt
            )
        return self.game.prompt
