"""The state of the program: an immutable value that `update` turns into the next one.

What grows without changing what was (the tree of paths, the pieces of tokens seen)
is shared between one value and the next.
"""

import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from enum import Enum
from functools import cached_property
from itertools import islice
from typing import NamedTuple, TypeVar

from tokex_gguf.engine.protocol import Capability, ConnectServer, Load, Loaded, Waits
from tokex_gguf.play.actions import Action
from tokex_gguf.play.critical import EACH, PLACES, CriticalTokens
from tokex_gguf.play.fan import Fan
from tokex_gguf.play.purposes import (
    Computed,
    Decoded,
    ForCheck,
    ForEvaluation,
    ForLookahead,
    ForView,
    ForWalk,
    Purpose,
)
from tokex_gguf.play.screens import PLAY, Help, Input, Insert, NewPrompt, Play, Screen, TypingScreen
from tokex_gguf.play.versus import ALONE, UNPAIRED, AgainstModel, AgainstPrompt, Alone, Pair, Paired, Versus
from tokex_gguf.values.answers import LensResults
from tokex_gguf.values.comparison import Comparison, Comparisons
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.difference import Difference
from tokex_gguf.values.distribution import Candidate
from tokex_gguf.values.download import DownloadState, Here, meanwhile
from tokex_gguf.values.fan_out import Budget
from tokex_gguf.values.history import History
from tokex_gguf.values.layers import DELTA, PLAIN, Layer, LensLayer, delta_value
from tokex_gguf.values.lens import RAW, Raw, Sampled, lens_of
from tokex_gguf.values.lookahead import LONGEST_BRANCH, LookaheadResults, Place, following, likeliest_after
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.model_ref import ModelRef
from tokex_gguf.values.outline import Order
from tokex_gguf.values.reachability import follows, likeliest
from tokex_gguf.values.record import record
from tokex_gguf.values.samplers import NO_CHAIN, Chain, Kind
from tokex_gguf.values.splice import unspelled
from tokex_gguf.values.stops import AtSentence, StopRule
from tokex_gguf.values.text_field import EMPTY, TextField
from tokex_gguf.values.tokens import Piece, untold, visible
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT, Draw, View, by_final

P = TypeVar("P", bound=Purpose)
S = TypeVar("S", bound=Screen)

BEAT = 2.0
"""Seconds between two questions whether the engine is alive, while it owes an answer."""
SILENT_AFTER = 3
"""So many of them unanswered, the player is told."""
SILENT_AFTER_AT_START = 15
"""The same before an engine has said anything: it may be read from a slow disk."""


class Palette(Enum):
    """The colours of the layers."""

    STANDARD = "standard"
    COLOUR_BLIND = "colour-blind"
    """Shades that differ in brightness and along blue and yellow only."""
    MONOCHROME = "monochrome"
    """No colours: bold and underlined text; reversed is the cursor alone."""


class EngineStatus(Enum):
    """How the engine is."""

    LOADING = "loading"
    READY = "ready"
    DEAD = "dead"


BY_DEFAULT = Load("", 0, 0)
NO_SERVER = ConnectServer("")
ALL = 2**31
"""More tokens than any prompt has."""


@record
class Settings:
    """What a game is started with."""

    text: str
    """The starting prompt."""
    model: ModelRef
    load: Load = BY_DEFAULT
    """What the engine of a model's file is started with; the file is put in then."""
    server: ConnectServer = NO_SERVER
    """The server that is configured, and how any is connected to; without an address none is configured."""
    chat: str = ""
    """JSON of the messages that the starting prompt is made of (`chat.Conversation`); empty: it is `text` as it is."""
    name: str = ""
    """What the player calls the starting prompt, where it came along from another model."""
    parse_special: bool = True
    max_prompts: int = 99
    tokens_to_show: int = 30
    lookahead: int = 0
    """Likely next tokens to go on from before they are chosen."""
    lookahead_tokens: int = 0
    """Tokens of likely continuations to know behind a prompt's end."""
    example: str = ""
    """The configuration's own starting text."""
    light: bool = False
    """Whether the terminal's background is light."""
    colours: bool = True
    """Whether there may be any: NO_COLOR says no."""
    begins: int = ALL
    """Tokens of the starting prompt before those that count as written by the model: a constraint governs these."""
    surprise: float = 0.0
    """Bits of surprisal from which `n` stops at a token; 0: the highest tenth of the prompt."""
    stop: StopRule = AtSentence()
    """Where answers end that are looked for, until the player says otherwise."""
    budget: Budget = Budget()
    """What may be spent on them."""
    critical: int = PLACES
    """Places that are looked at for critical tokens."""
    critical_tokens: int = EACH
    """Tokens to go on from each of them."""
    presets: tuple[tuple[str, Chain], ...] = ()
    """The configuration's own sampler chains, by their names."""


@record
class Prompt:
    """One open path, and what is selected in its table.

    The selection is a token and not a row, so that it holds before its table is
    computed. None selects the top.
    """

    tip: Node
    selected: int | None = None
    popped: int | None = None
    """The token popped last, which has a row even when it is not among the likely ones."""
    cursor: Node | None = None
    """The token of this path that is looked at; None at the tip."""
    chosen: int | None = None
    """The token selected in the cursor's table; None: the one that was taken there."""
    sought: Layer | None = None
    """The quantity by which the cursor was led here, SURPRISAL or ENTROPY."""
    nth: int = 0
    """Its place among the highest, where it was led by that."""
    name: str = ""
    """What the player calls it."""
    begins: int = 0
    """Tokens before those that the model wrote: a constraint governs what follows them."""
    parent: Node | None = None
    """The end that the prompt had which this one was made from, when it was made; None: it was made from no prompt."""
    along: bool = False
    """Whether it is the one that goes along to the second model and back, where it was begun with."""

    @classmethod
    def at(cls, tip: Node) -> "Prompt":
        """A prompt that was not gone on with yet: what was chosen on the way there is what the model wrote."""
        return cls(tip, begins=tip.given)

    @property
    def place(self) -> "Prompt":
        """The prompt whose table is shown: before the cursor's token, else after the tip."""
        if self.cursor is None:
            return self
        assert self.cursor.parent is not None
        taken = self.cursor.token
        selected = taken if self.chosen is None else self.chosen
        return Prompt(self.cursor.parent, selected, popped=taken, begins=self.begins)

    @property
    def unseen(self) -> Node | None:
        """The path whose table the cursor looks at, where that is not known, or not what it says of the token taken."""
        before = self.cursor.parent if self.cursor else None
        if self.cursor is None or before is None or not before.depth:
            return None
        return before if before.distribution is None or self.cursor.taken is None else None


@record
class Cost:
    """What the last answer took."""

    tokens: int = 0
    """Tokens decoded."""
    seconds: float = 0.0
    """Time in the engine."""


@record
class Score:
    """A phrase that was scored: `tip` is `base` and the phrase."""

    base: Node
    tip: Node

    @property
    def nodes(self) -> list[Node]:
        """The phrase's tokens."""
        return self.tip.nodes(self.base.depth)

    @property
    def logprob(self) -> float | None:
        """Log-probability (natural) of the phrase after its base; None until computed."""
        before, after = self.base.logprob, self.tip.logprob
        if self.base.depth and before is not None and after is not None and math.isfinite(before):
            return after - before  # nodes keep their totals: a long phrase costs no more than a short one
        values, node = [], self.tip
        while node.depth > self.base.depth and node.taken is not None and node.parent is not None:
            values.append(node.taken.logprob)
            node = node.parent
        return math.fsum(values) if node is self.base else None

    @property
    def weakest(self) -> Node:
        """The token with the lowest probability."""
        return min(self.nodes, key=lambda node: node.taken.logprob if node.taken else 0.0)


def shares(scores: "tuple[Score, ...]") -> list[float | None]:
    """Each phrase's part of the probability of all that were scored at its place together; None until computed."""
    # A place where none of them can follow has no parts: 0 of 0.
    places = {base: (max(max(values), -sys.float_info.max), values) for base, values in _places(scores).items()}
    totals = {base: math.fsum(math.exp(value - top) for value in values) or 1 for base, (top, values) in places.items()}
    # Less the highest of its place: else a very unlikely phrase would be 0 of 0.
    return [
        None if (logprob := score.logprob) is None else math.exp(logprob - places[score.base][0]) / totals[score.base]
        for score in scores
    ]


def best(scores: "tuple[Score, ...]") -> dict[Node, float]:
    """The highest log-probability of the phrases that were scored at each place, as far as computed."""
    return {base: max(values) for base, values in _places(scores).items()}


def _places(scores: "tuple[Score, ...]") -> dict[Node, list[float]]:
    """The log-probabilities of the phrases that were scored at each place, as far as computed."""
    places: dict[Node, list[float]] = {}
    for score in scores:
        if (logprob := score.logprob) is not None:
            places.setdefault(score.base, []).append(logprob)
    return places


@record
class Sampling:
    """How the next token is drawn: what is left of the model's distribution, and by which numbers."""

    chain: Chain = NO_CHAIN
    constraint: Constraint | None = None
    seed: int = 0
    own: tuple[Chain, ...] = ()
    """Chains that the player made and then left for others, the latest last: they are among the presets."""

    def lens(self, prompt: Prompt, suppressed: tuple[int, ...]) -> Raw | Sampled:
        """Through what a prompt is seen. `suppressed`: tokens that the model's file bans."""
        if self.constraint is None and self.chain is NO_CHAIN:
            return RAW  # nearly always: hashing the chain for nothing would be a part of each key
        return lens_of(self.chain, self.constraint, prompt.begins, suppressed)


class Places(NamedTuple):
    """The open prompts at one time, and what their tokens are drawn by: a prompt knows where a constraint begins."""

    prompts: tuple[Prompt, ...]
    active: int
    removed: tuple[tuple[int, Prompt], ...]
    chain: Chain
    constraint: Constraint | None
    by_final: bool
    """How the table was sorted, which a constraint changes."""


class Running(Enum):
    """What may go on as the same action."""

    NOTHING = "nothing"
    AUTOPLAY = "autoplay"


@record
class Undo:
    """What can be undone, and done again."""

    past: tuple[Places, ...] = ()
    """What was there before each action, the latest last."""
    undone: tuple[Places, ...] = ()
    """What was there before each undo, the latest last."""
    running: Running | Kind = Running.NOTHING
    """What the last action is, where more of it is no further one; a sampler's kind: its values are changed."""


class Viewed(NamedTuple):
    """A distribution through a lens."""

    node: Node
    """After this path."""
    lens: Sampled
    view: View


@record(slots=False, eq=False)
class Drawn:
    """Draws at one place, through one lens."""

    node: Node
    lens: Raw | Sampled
    seed: int
    draws: tuple[Draw, ...]
    many: bool
    """Whether they are only counted; else the one was played."""

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """How often each token was drawn."""
        return Counter(draw.token for draw in self.draws)

    def counts_on(self, node: Node, lens: Raw | Sampled) -> bool:
        """Whether further draws are counted together with these."""
        return self.many and self.node is node and self.lens == lens


class EditState(Enum):
    """Where a text from the editor is."""

    OPEN = "open"
    """In the editor."""
    WAITING = "waiting"
    """Back, and waiting for an engine."""
    SENT = "sent"
    """With an engine, whose answer makes it a prompt. What that engine dies of is not sent again unasked."""


@record
class Editing:
    """A prompt's text in the player's editor, or on its way from there."""

    target: Node
    """The end of the prompt whose text it was."""
    text: str
    """As it was given to the editor, and then as it came back."""
    state: EditState = EditState.OPEN


class Starter(NamedTuple):
    """A text to start a prompt with."""

    name: str
    text: str


class Carried(NamedTuple):
    """A prompt that came along from another model."""

    place: int
    """Its place among the prompts."""
    text: str
    name: str


@record
class Known:
    """What grows without changing what was: one value of the game shares it with the next."""

    root: Node = field(default_factory=lambda: Node(None, -1))
    pieces: dict[int, Piece] = field(default_factory=dict)
    """Pieces of all tokens met so far."""
    answers: LensResults = field(default_factory=LensResults)
    """What samplers and constraints make of the tree's distributions."""
    rolls: dict[tuple[int, Node], int] = field(default_factory=dict)
    """How many draws were made by a seed after a path."""
    lookahead: LookaheadResults = field(default_factory=LookaheadResults)
    """What is known ahead of the prompts' ends, beside the tree; the oldest of it is forgotten."""
    compared: Comparisons = field(default_factory=Comparisons)
    """What was compared, as far as it is kept."""


@record
class Health:
    """How the engine does."""

    progress: float = 0.0
    """Of loading the model, 0 to 1."""
    waits: Waits | None = None
    """Whom the engine itself waits for."""
    unanswered: int = 0
    """Questions whether the engine is alive, since it said anything last."""
    fault: str = ""
    """Why the engine stopped, when it did last."""
    fault_at_start: bool = False
    """Whether it stopped over the starting prompt's tokens: asked for once more, and not again."""


@record
class Pressed:
    """What was pressed and waits for the engine, or goes on by itself."""

    ahead: int = 0
    """Presses of → while the table was still being computed: so many tokens are appended once it is there."""
    appending: bool = False
    """Whether that is the table after a token which → appended."""
    rolling: int = 0
    """Rolls that wait for the table, or for the one before."""
    autoplay: bool = False
    """Whether the most likely token is appended again and again."""


@record
class Hidden:
    """What the tree does not show."""

    pruned: tuple[Node, ...] = ()
    """What the tree does not show, with all that goes on from there, the latest last. No open prompt has any of it."""
    folded: frozenset[Node] = frozenset()
    """Behind these ends of its lines the tree is folded."""


@record
class Results:
    """What was looked for, and stays listed."""

    fans: tuple[Fan, ...] = ()
    """What was looked for of answers, the latest last: the few last ones are kept, and what they grow is shared."""
    criticals: tuple[CriticalTokens, ...] = ()
    """What was looked for of critical tokens, the latest last."""
    scores: tuple[Score, ...] = ()
    """Phrases scored so far, until they are cleared."""


LOADING = "still loading"


@record
class Game:
    """What is played with one model: its tree, prompts and scores, its engine, and what that is asked."""

    settings: Settings
    known: Known = field(default_factory=Known)
    sampling: Sampling = Sampling()
    versus: Versus = ALONE
    """What the active prompt is compared with."""
    noise: float | None = None
    """Bits that two strict answers to one question can differ by on this machine; None until told."""
    drawn: Drawn | None = None
    """The last draws, for the screen."""
    seen: Viewed | None = None
    """The view that was shown last: it stays in sight while the next one of its place is on the way."""
    refused: frozenset[tuple[type[Purpose], Node, Raw | Sampled]] = frozenset()
    """Questions that the engine refused, until there is another engine: they are not asked again."""
    prompts: tuple[Prompt, ...] = ()
    """The open prompts; empty until the starting text is tokenised."""
    active: int = 0
    said: frozenset[Node] | None = frozenset()
    """Of a chat that the game was started with, and of what was made of it by edits, the assistant's tokens.

    None where the template does not tell."""
    removed: tuple[tuple[int, Prompt], ...] = ()
    """Prompts that were removed and where they stood, the latest last."""
    undo: Undo = Undo()
    hidden: Hidden = Hidden()
    results: Results = Results()
    editing: Editing | None = None
    """The text that is with the editor, or came from it and is no prompt yet."""
    carried: tuple[Carried, ...] = ()
    """What came along from another model and has no tokens yet."""
    address: int = 0
    """Of its engine: what it is asked goes there, and only what comes from there is an answer. 0: it has none."""
    engine: EngineStatus = EngineStatus.LOADING
    health: Health = Health()
    model: Loaded | None = None
    context: int = 0
    """KV cells there are now."""
    asked: dict[int, Purpose] = field(default_factory=dict)
    """What each request that may still be answered is for, by its number, the oldest first. Replaced, never changed."""
    pressed: Pressed = Pressed()
    full: int | None = None
    """Tokens that fit, where the active prompt is longer than the context can be."""
    cost: Cost = Cost()
    notices: tuple[str, ...] = ()
    """Lines about the prompts' texts that hold as long as the prompts do: where tokens spell another one."""

    @property
    def prompt(self) -> Prompt:
        """The active prompt."""
        return self.prompts[self.active]

    @property
    def comparison(self) -> Comparison | None:
        """What is compared; None where nothing is."""
        match self.versus:
            case Alone():
                return None
            case AgainstPrompt(a, b):
                return self.known.compared.paths(a, b)
            case AgainstModel(comparison=comparison):
                return comparison

    @property
    def floor(self) -> float | None:
        """Bits up to which a difference says nothing; None until known."""
        return self.versus.floor if isinstance(self.versus, AgainstModel) else self.noise

    @property
    def ready(self) -> bool:
        """Whether the table belongs to the prompt and nothing asked for is pending."""
        return bool(self.prompts) and self.pending is None and self.prompt.tip.distribution is not None

    @property
    def waiting(self) -> bool:
        """Whether the engine owes something that the player waits for."""
        if self.engine is not EngineStatus.READY:
            return self.engine is EngineStatus.LOADING
        return any(purpose.awaited for purpose in self.asked.values())

    @property
    def owed(self) -> bool:
        """Whether the engine owes any answer for sure, waited for or not."""
        return any(not isinstance(purpose, ForCheck | ForLookahead) for purpose in self.asked.values())

    def newest(self, kind: type[P]) -> tuple[int, P] | None:
        """The newest unanswered request of a kind: its number and its purpose."""
        for number, purpose in reversed(self.asked.items()):
            if isinstance(purpose, kind):
                return number, purpose
        return None

    @property
    def decoding(self) -> tuple[int, Decoded] | None:
        """The newest request that is to be decoded: its number and its purpose. It replaced those before it."""
        for number, purpose in reversed(self.asked.items()):
            if isinstance(purpose, Decoded):
                return number, purpose
        return None

    @property
    def pending(self) -> int | None:
        """The request whose distributions are waited for: of the active prompt, what is typed, or a phrase."""
        newest = self.decoding
        return newest[0] if newest and newest[1].awaited and isinstance(newest[1], Computed) else None

    @property
    def silence(self) -> float:
        """Seconds for which the engine's process has not answered at all; 0 while that is no wonder."""
        heard = self.engine is not EngineStatus.LOADING or self.health.progress > 0
        missed = SILENT_AFTER if heard else SILENT_AFTER_AT_START
        return (self.health.unanswered - 1) * BEAT if self.health.unanswered >= missed else 0.0

    def evaluated(self, tip: Node) -> int:
        """How many tokens of the path that is waited for the engine has come by."""
        pending = self.decoding
        if pending and isinstance(pending[1], ForEvaluation) and not self.can(Capability.PROMPT_AT_ONCE):
            return max(pending[1].reached, pending[1].start)
        return min(tip.first_unknown(), tip.depth)

    def complete(self, tip: Node) -> bool:
        """Whether all is there of a path that is waited for: its table, where its tokens are walked afterwards."""
        return tip.known if self.can(Capability.PROMPT_AT_ONCE) else tip.distribution is not None

    @property
    def walking(self) -> bool:
        """Whether numbers of the active prompt's tokens are still to come, one by one."""
        tip = self.prompt.tip
        if self.can(Capability.PROMPT_AT_ONCE) or tip.whole or self.engine is not EngineStatus.READY:
            return False
        return (ForWalk, tip, RAW) not in self.refused

    def knows_ahead(self, token: int) -> bool:
        """Whether the active prompt's table after this token is known already."""
        return self.known.lookahead.place(self.prompt.tip).child(token).distribution is not None

    def can(self, capability: Capability) -> bool:
        """Whether the engine can do something. What is not told yet, it can."""
        return self.model is None or capability in self.model.capabilities

    @property
    def suppressed(self) -> tuple[int, ...]:
        """Tokens that the model's file bans wherever samplers are applied."""
        return self.model.suppressed if self.model else ()

    def cannot(self, capability: Capability) -> str:
        """Why the engine cannot do something, in one line; empty where it can."""
        if self.model is None or self.can(capability):
            return ""
        who = "server" if self.server else "engine"
        if capability is Capability.VOCABULARY_SEARCH:
            return (
                "this server does not tell its vocabulary"
                if self.server
                else "this engine cannot search its vocabulary"
            )
        what = "constraints" if capability is Capability.CONSTRAINTS else "samplers"
        if capability is Capability.BRANCHES:
            return f"this {who} computes the likely next tokens ahead, and not where they lead to"
        if capability is Capability.COMPARISON:
            return f"this {who}'s numbers depend on what it did before: differences of them say little"
        if self.model.candidates:
            return f"this {who} gives {self.model.candidates} candidates of a distribution: {what} need all of it"
        return f"this {who} has no {what}"

    @property
    def looks_no_further(self) -> str:
        """Why it is not computed where the table's rows lead to; empty where it is."""
        for name, count in (
            ("lookahead", self.settings.lookahead),
            ("lookahead_tokens", self.settings.lookahead_tokens),
        ):
            if count == 0:
                return f"{name} = 0 in the configuration: it is not computed where the rows lead to"
        if self.sampling.constraint is not None:
            return "under a constraint it is not computed where the rows lead to"
        return self.cannot(Capability.BRANCHES)

    @property
    def server(self) -> str:
        """The server that has the model, as host and port; empty: it is on this machine."""
        return visible(self.settings.model.server)

    @property
    def comes_back(self) -> str:
        """The key that brings the engine back."""
        return "r, reconnects" if self.server else "r, restarts it"

    @property
    def absent(self) -> str:
        """Why the engine can be asked nothing now, and what helps; empty where it can."""
        match self.engine:
            case EngineStatus.READY:
                return ""
            case EngineStatus.LOADING:
                return LOADING
            case EngineStatus.DEAD:
                return self.gone

    @property
    def gone(self) -> str:
        """That the engine is not there, and what helps."""
        if self.server:
            return f"no connection to {self.server}: r reconnects"
        return "the engine is not there: r restarts it"

    def lost(self, reason: str) -> str:
        """That the engine is gone, and why."""
        if self.server and reason.startswith(self.server):  # it says what is wrong with that
            return reason
        return f"{self.stopped} ({reason})"

    @property
    def stopped(self) -> str:
        """That the engine is gone."""
        return f"the connection to {self.server} is lost" if self.server else "the engine stopped"

    def piece(self, token: int) -> Piece:
        """The piece of a token met before."""
        try:
            return self.known.pieces[token]
        except KeyError:
            return untold(token)


@record
class Options:
    """How things are shown, as the player chose."""

    layer: Layer = PLAIN
    palette: Palette = Palette.STANDARD
    mouse: bool = False
    """Whether clicks and the wheel are for this program."""
    by_final: bool = False
    """Whether the table is sorted by what the lens leaves, and not by the model's own probabilities."""
    shows_ahead: bool = True
    """Whether the table shows where each row leads to."""
    ghost: bool = False
    """Whether the prompt shows how it most likely goes on."""
    by_delta: bool = False
    """Whether the table of what is compared is sorted by the size of the changes."""
    order: Order = Order.RECENT
    """How the tree's branches are sorted."""


@record
class Question:
    """Whether something is meant that was asked for: it is done when the same key comes next."""

    action: Action
    line: str


@record
class Meanwhile:
    """That the model that is played stands in for one that is downloaded."""

    name: str

    @property
    def line(self) -> str:
        """As it is told."""
        return meanwhile(self.name)


@record
class TypedBefore:
    """What was typed before, to come back to."""

    histories: Mapping[type[TypingScreen], History] = field(default_factory=dict)
    """What was typed before on each screen for typing."""
    kinds: Mapping[str, ConstraintKind] = field(default_factory=dict)
    """In what the constraints that were typed before are written, by their texts."""


@record
class Counts:
    """How many of each there have been so far."""

    lookaheads: int = 0
    """Look-ahead answers so far: with each the tree knows more, and there is something new to draw."""
    engines: int = 0
    """Engines started so far: the last one's address."""
    requests: int = 0
    """Requests made so far."""


@record
class UnderWay:
    """The messages that are on their way, by which more is done."""

    judging: bool = False
    """Whether a message is on its way by which more of a prompt's tokens are judged."""
    comparing: bool = False
    """The same of what is compared."""
    aligning: tuple[Node, Node] | None = None
    """The two paths that are being aligned, beside."""
    jumping: int = 0
    """A jump that waits until all are: forwards (1) or backwards (-1); 0: none."""


@record
class Session:
    """Everything the screen shows and the keys change: the games, and how one of them is looked at."""

    game: Game
    """The one that is played."""
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
    """The line of the sampler chain that was left the last time: the sampler's title, and which of its parameters."""
    starters: tuple[Starter, ...] = ()
    """Texts to choose from in the list of prompts."""
    models: tuple[ModelEntry, ...] = ()
    """Models to choose from in the list of them."""
    other_games: Mapping[str, Game] = field(default_factory=dict)
    """What was played with other models, by their keys."""
    origin: str = ""
    """The key of the model to go back to, until there is something to play with the one loaded in its place."""
    paired: Paired = UNPAIRED
    """The second model, whose engine runs beside that of the one that is played."""
    preparing: str = ""
    """The file of the model that was chosen, while it is looked at; the present one is played on until then."""
    download: DownloadState | None = None
    """A model that is downloaded, as the one that is played only stands in for it."""
    name: str = ""
    """What the player called this session."""
    unsaved: str = ""
    """Why the session cannot be saved as it is now; empty where it can."""
    notice: str = ""
    """One line for the player."""
    standing: Question | Meanwhile | None = None
    """What stands in the notice's place while there is none; a notice takes it away, and so does the next key."""

    @property
    def told(self) -> str:
        """The line for the player: the notice, or what stands in its place."""
        return self.notice or (self.standing.line if self.standing else "")

    def asks(self, action: Action) -> bool:
        """Whether the player was asked if this is meant: the same key again does it."""
        return isinstance(self.standing, Question) and self.standing.action is action

    @property
    def beside(self) -> Game | None:
        """The game of the second model, whose engine runs beside that of the one that is played; None without one."""
        if not isinstance(self.paired, Pair):
            return None
        return self.game if self.paired.key == self.game.settings.model.key else self.other_games[self.paired.key]

    @property
    def current(self) -> Screen:
        """The screen that is used; where the help covers it, that one."""
        return self.screen.over if isinstance(self.screen, Help) else self.screen

    def on(self, kind: type[S]) -> S | None:
        """The screen that is used, if it is of this kind; the help may cover it."""
        current = self.current
        return current if isinstance(current, kind) else None

    def turned(self, current: Screen) -> "Session":
        """The session with the screen that is used in another state; what covers it stays."""
        return replace(self, screen=replace(self.screen, over=current) if isinstance(self.screen, Help) else current)

    @property
    def lens(self) -> Raw | Sampled:
        """Through what the active prompt is seen."""
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
        """What the lens leaves of the distribution that the table shows; None through the raw one, and until told."""
        lens = self.lens
        return None if isinstance(lens, Raw) else self.game.known.answers.view(lens, self.game.prompt.place.tip)

    def viewed(self, node: Node) -> Viewed | None:
        """What the lens leaves of the distribution after a path.

        While that is on its way, what another lens left of the same one, if it was shown last.
        """
        lens = self.lens
        if isinstance(lens, Raw):
            return None
        if (view := self.game.known.answers.view(lens, node)) is not None:
            return Viewed(node, lens, view)
        last = self.game.seen
        return last if last is not None and last.node is node and self.view_awaited(node) else None

    def view_awaited(self, node: Node) -> bool:
        """Whether the engine owes what the lens leaves of the distribution after a path."""
        newest = self.game.newest(ForView)
        return newest is not None and newest[1].node is node and newest[1].lens == self.lens

    @property
    def sorts_by_final(self) -> bool:
        """Whether tables are sorted by what can be drawn. What is compared is sorted by what the models say."""
        return self.options.by_final and self.game.comparison is None

    @property
    def order_awaited(self) -> bool:
        """Whether the shown table's order is not known yet."""
        if not (self.sorts_by_final and self.game.prompts):
            return False
        node = self.game.prompt.place.tip
        return self.view_awaited(node) and self.viewed(node) is None

    @property
    def layer_value(self) -> Callable[[Node], float | None]:
        """What colours a token, 0 to 1; None for a token without colour."""
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
        judged, verdict_on = layer.judged, game.known.answers.verdict
        return lambda node: None if (verdict := verdict_on(lens, node)) is None else judged(verdict)

    @property
    def looks_ahead(self) -> bool:
        """Whether the table has a column for where each row leads to: only where that is computed."""
        return self.options.shows_ahead and not self.game.looks_no_further

    @property
    def difference(self) -> Difference | None:
        """How A and B differ where the table is shown; None where nothing is compared, and until told."""
        return self.difference_after(self.game.prompt.place.tip) if self.game.prompts else None

    def difference_after(self, node: Node) -> Difference | None:
        """How A and B differ after a path that the active prompt begins with."""
        comparison, prompt = self.game.comparison, self.game.prompt
        taken = prompt.cursor if node is prompt.place.tip else None
        return None if comparison is None else comparison.difference(node, taken)

    @property
    def divergence(self) -> Difference | None:
        """The same, maybe with fewer rows than the table shows: it is there as soon as the place was compared."""
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
    def unfinished(self) -> str:
        """The text to go on with that was typed and not used."""
        typing = self.on(Input)
        return typing.line.text if typing else self.typed.histories.get(Input, History()).unfinished

    @property
    def uninserted(self) -> str:
        """The text to put into a prompt that was typed and not used."""
        typing = self.on(Insert)
        if typing is None:
            return self.typed.histories.get(Insert, History()).unfinished
        return "" if typing.line.text == typing.taken else typing.line.text

    @property
    def unopened(self) -> str:
        """The text of a new prompt that was typed and not opened."""
        typing = self.on(NewPrompt)
        return typing.line.text if typing else self.typed.histories.get(NewPrompt, History()).unfinished

    @property
    def arrived(self) -> Here | None:
        """The model that was downloaded, until it is played."""
        here = self.download
        if not isinstance(here, Here) or here.path == self.game.settings.model.key or here.path in self.other_games:
            return None
        return here

    @property
    def goal(self) -> Prompt:
        """The path whose numbers are waited for: of what is typed, of the active prompt, then of phrases to score.

        Where a path's tokens are walked, phrases are walked, too, and need no table.
        """
        typing = self.on(Input)
        if typing and typing.tip is not typing.base:
            return Prompt(typing.tip)
        if self.game.can(Capability.PROMPT_AT_ONCE) and self.game.prompt.tip.known:
            return next(
                (Prompt(score.tip) for score in self.game.results.scores if score.logprob is None), self.game.prompt
            )
        return self.game.prompt


def table(session: Session, prompt: Prompt) -> tuple[Candidate, ...]:
    """The rows of a prompt's table: the likeliest tokens, then the popped one if it is not among them.

    Empty while the distribution, or by what the rows are sorted, is not known. There are no more rows than are to be
    shown or have room on the screen, whatever is kept; but the selected token has one in any case.
    """
    distribution = prompt.tip.distribution
    if distribution is None:
        return ()
    if compared := _compared(session, prompt):
        return _with_chosen(prompt, compared)
    most = max(session.game.settings.tokens_to_show, session.rows)
    child = None if prompt.popped is None else prompt.tip.children.get(prompt.popped)
    further = {child.token: child.taken} if child is not None and child.taken is not None else {}
    viewed = session.viewed(prompt.tip) if session.sorts_by_final else None
    if viewed is None and session.sorts_by_final and session.view_awaited(prompt.tip):
        return ()
    if viewed is None:
        places: Mapping[int, int] = distribution.rows
        ordered = distribution.candidates()
    else:
        sorted_rows = by_final(distribution, viewed.view, further)
        places = {row.token: place for place, row in enumerate(sorted_rows)}
        ordered = iter(sorted_rows)
    if prompt.selected is not None and prompt.selected != prompt.popped:
        most = max(most, places.get(prompt.selected, 0) + 1)
    rows = tuple(islice(ordered, most))
    for token, taken in further.items():
        if places.get(token, len(rows)) >= len(rows):
            rows += (taken.row(token),)
    return rows


def _compared(session: Session, prompt: Prompt) -> list[Candidate]:
    """The likeliest tokens of A or B, or of A until B's are known, by strict answers; none before the first of them."""
    if session.game.comparison is None:
        return []
    if (difference := session.difference_after(prompt.tip)) is None:
        return [] if prompt.tip.strict is None else list(prompt.tip.strict.candidates())
    by_delta = session.options.by_delta
    ordered = sorted(difference.rows, key=lambda row: -abs(row.delta_bits)) if by_delta else difference.rows
    return [row.a.row(row.token) for row in ordered]


def _with_chosen(prompt: Prompt, rows: list[Candidate]) -> tuple[Candidate, ...]:
    """The rows of what is compared, and those of the selected and the popped token.

    What no strict answer has said yet of these is not told: see `compared.of_row`.
    """
    there = {row.token for row in rows}
    further = [one for one in dict.fromkeys((prompt.selected, prompt.popped)) if one is not None and one not in there]
    told = ((token, prompt.tip.said_strictly(token) or prompt.tip.said(token)) for token in further)
    return (*rows, *(taken.row(token) for token, taken in told if taken))


def selected_row(session: Session, prompt: Prompt) -> int:
    """The index of the selected row in `table`."""
    if prompt.selected is None:
        return 0
    tokens = [row.token for row in table(session, prompt)]
    return tokens.index(prompt.selected) if prompt.selected in tokens else 0


def is_cut(session: Session, token: int) -> bool:
    """Whether the lens surely cuts a token of the table that is shown."""
    if isinstance(session.lens, Raw):
        return False
    view = session.view
    if view is not None and (verdict := view.verdicts.get(token)) is not None:
        return verdict.cut_by != NOT_CUT
    return session.lens.chain.biases.get(token) == -math.inf


def next_after(session: Session) -> Callable[[Place], int | None]:
    """What says which token most likely follows a path, as the session's lens leaves it; None: that is not known.

    What a constraint leaves is known where the engine was asked. What samplers leave is told by their biases alone
    where they do not keep the order: everywhere, so that it is one quantity.
    """
    lens, view_of = session.lens, session.game.known.answers.view
    if isinstance(lens, Raw):
        return likeliest_after

    def after(place: Place) -> int | None:
        if (told := place.distribution) is None:
            return None
        asked = lens.constraint is not None or follows(lens)
        if asked and place.node is not None and (view := view_of(lens, place.node)) is not None:
            return next(iter(view.likeliest), None)
        return likeliest(lens, told) if lens.constraint is None else None

    return after


def continuation(session: Session) -> tuple[int, ...]:
    """The selected token and what most likely follows it, as far as known; none where it is not to be shown.

    It ends with a line, so that it does not take the prompt's own end out of sight.
    """
    if not session.options.ghost or not isinstance(session.current, Play) or not session.game.prompts:
        return ()
    prompt, game = session.game.prompt, session.game
    if prompt.cursor is not None or game.pressed.autoplay or game.comparison or prompt.tip.distribution is None:
        return ()
    rows = table(session, prompt)
    if not rows:
        return ()
    chosen = rows[selected_row(session, prompt)].token
    if is_cut(session, chosen):
        return ()
    there = game.known.lookahead.place(prompt.tip).child(chosen)
    tokens = (chosen, *following(there, LONGEST_BRANCH, next_after(session)))
    for place, token in enumerate(tokens):
        piece = game.piece(token)
        if piece.ends or b"\n" in piece.data:
            return tokens[: place + (not piece.ends)]
    return tokens


def text_of(game: Game, tip: Node) -> bytes:
    """The text of a path as bytes: what tokenising gave it, without the BOS that it adds."""
    path, model = tip.path(), game.model
    if model and model.bos is not None and path[:1] == [model.bos]:
        path = path[1:]
    data = b"".join(game.piece(token).data for token in path)
    return data.removeprefix(b" ") if model and model.space_prefix else data


def split_otherwise(game: Game, tip: Node) -> str:
    """That a path is not what the tokenizer makes of its text, and what helps; empty where it is, or not compared."""
    if tip.differs is None:
        return ""
    if without_text(game, tip):
        return f"token {tip.differs + 1} has bytes of no whole character"
    return f"split unlike the tokenizer from token {tip.differs + 1} on: T splits it anew"


def without_text(game: Game, tip: Node) -> bool:
    """Whether a path differs from the tokenizer's because it has bytes that no text has."""
    if (place := tip.differs) is None:
        return False
    around = tip.ancestor(place + 5).nodes(max(0, place - 3))  # no character has more than four tokens
    return unspelled([game.piece(node.token).data for node in around], begins=place <= 3)
