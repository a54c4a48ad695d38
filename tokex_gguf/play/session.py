"""The state of the program: an immutable value that `update` turns into the next one.

What only grows (the tree of paths, the pieces of tokens) is shared between one
value and the next.
"""

import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import field
from enum import Enum
from functools import cached_property, reduce
from typing import NamedTuple, TypeVar

from tokex_gguf.engine.protocol import Capability, ConnectServer, Load, Loaded, Waits
from tokex_gguf.play.actions import Action
from tokex_gguf.play.critical import DEFAULT_PLACES, DEFAULT_TOKENS, CriticalTokens
from tokex_gguf.play.fan import Fan
from tokex_gguf.play.purposes import Computed, Decoded, ForCheck, ForEvaluation, ForLookahead, ForView, ForWalk, Purpose
from tokex_gguf.play.screens import (
    PLAY,
    Constraining,
    Help,
    Input,
    Insert,
    Name,
    NewPrompt,
    Play,
    SamplerText,
    Screen,
    TypingScreen,
)
from tokex_gguf.play.versus import ALONE, UNPAIRED, AgainstModel, AgainstPrompt, Alone, Pair, Paired, Versus
from tokex_gguf.values.comparison import Comparison, Comparisons
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.difference import Difference
from tokex_gguf.values.distribution import Candidate
from tokex_gguf.values.download import DownloadState, Here, meanwhile
from tokex_gguf.values.fan_out import Budget
from tokex_gguf.values.history import History
from tokex_gguf.values.layers import DELTA, PLAIN, Layer, LensLayer, delta_value
from tokex_gguf.values.lens import RAW, Raw, Sampled, lens_of
from tokex_gguf.values.lens_results import LensResults
from tokex_gguf.values.lookahead import LONGEST_BRANCH, LookaheadResults, Place, following, likeliest_after
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.model_ref import ModelRef
from tokex_gguf.values.outline import Order
from tokex_gguf.values.reachability import follows, likeliest
from tokex_gguf.values.record import record, replace
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
"""Seconds between two pings of the engine, while it owes an answer."""
SILENT_AFTER = 3
"""Unanswered pings after which the player is told."""
SILENT_AFTER_AT_START = 15
"""The same before an engine's first message: it may be read from a slow disk."""


class Palette(Enum):
    """The colours of the layers."""

    STANDARD = "standard"
    COLOUR_BLIND = "colour-blind"
    """Shades that differ in brightness and along blue and yellow only."""
    MONOCHROME = "monochrome"
    """No colours: bold and underlined text; reversed is the cursor alone."""


class EngineStatus(Enum):
    """The state of the engine."""

    LOADING = "loading"
    READY = "ready"
    DEAD = "dead"


DEFAULT_LOAD = Load("", 0, 0)
NO_SERVER = ConnectServer("")
WHOLE_PROMPT = 2**31
"""More tokens than any prompt has."""


@record
class Settings:
    """What a game starts with."""

    text: str
    """The starting prompt."""
    model: ModelRef
    load: Load = DEFAULT_LOAD
    """Parameters for the engine of a model's file; the file's path is added at the start."""
    server: ConnectServer = NO_SERVER
    """The configured server, and how to connect to any; without an address, none is configured."""
    chat: str = ""
    """JSON of the messages that make the starting prompt (`chat.Conversation`); empty: the prompt is `text`."""
    name: str = ""
    """The starting prompt's name, where it was carried over from another model."""
    parse_special: bool = True
    max_prompts: int = 99
    tokens_to_show: int = 30
    lookahead: int = 0
    """Likely next tokens to evaluate before they are chosen."""
    lookahead_tokens: int = 0
    """Tokens of likely continuations to know after a prompt's tip."""
    example: str = ""
    """The configuration's own starting text."""
    light: bool = False
    """Whether the terminal's background is light."""
    colours: bool = True
    """Whether colours are allowed: NO_COLOR forbids them."""
    begins: int = WHOLE_PROMPT
    """Tokens of the starting prompt that do not count as written by the model: a constraint governs only later ones."""
    surprise: float = 0.0
    """Bits of surprisal from which `n` stops at a token; 0: the highest tenth of the prompt."""
    stop: StopRule = AtSentence()
    """Where answers end in a search for answers, until the player changes it."""
    budget: Budget = Budget()
    """The budget of a search for answers."""
    critical: int = DEFAULT_PLACES
    """Places to examine for critical tokens."""
    critical_tokens: int = DEFAULT_TOKENS
    """Tokens to continue from each of them."""
    presets: tuple[tuple[str, Chain], ...] = ()
    """The configuration's own sampler chains, by their names."""


@record
class Prompt:
    """One open path, and what is selected in its table.

    The selection is a token and not a row, so that it is valid before its table is
    computed. None selects the top.
    """

    tip: Node
    selected: int | None = None
    popped: int | None = None
    """The token popped last, which has a row even when it is not among the likely ones."""
    cursor: Node | None = None
    """The token of this path that the cursor is on; None at the tip."""
    chosen: int | None = None
    """The token selected in the cursor's table; None: the taken one."""
    sought: Layer | None = None
    """The quantity that a jump of the cursor went by, SURPRISAL or ENTROPY."""
    nth: int = 0
    """The token's rank by that quantity."""
    name: str = ""
    """The player's name for the prompt."""
    begins: int = 0
    """Tokens that the model did not write: a constraint governs only what follows them."""
    parent: Node | None = None
    """The tip of the prompt that this one was made from, at that time; None: made from no prompt."""
    along: bool = False
    """Whether this prompt is carried to the second model and back."""

    @classmethod
    def at(cls, tip: Node) -> "Prompt":
        """A new prompt at a node: the tokens chosen on the way there count as written by the model."""
        return cls(tip, begins=tip.given)

    @property
    def place(self) -> "Prompt":
        """The path whose table is shown, as a prompt: the one before the cursor's token, else the whole."""
        if self.cursor is None:
            return self
        assert self.cursor.parent is not None
        taken = self.cursor.token
        selected = taken if self.chosen is None else self.chosen
        return Prompt(self.cursor.parent, selected, popped=taken, begins=self.begins)

    @property
    def unseen(self) -> Node | None:
        """The path before the cursor's token, where its table or the taken token's numbers are not known."""
        before = self.cursor.parent if self.cursor else None
        if self.cursor is None or before is None or not before.depth:
            return None
        return before if before.distribution is None or self.cursor.taken is None else None


@record
class Cost:
    """What the answers to the last key cost."""

    tokens: int = 0
    """Tokens decoded."""
    seconds: float = 0.0
    """Time in the engine."""


@record
class Score:
    """A scored phrase: `tip` is `base` plus the phrase."""

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
            return after - before  # nodes keep totals: long phrases cost no more than short ones
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
    """Each phrase's share of the total probability of the phrases scored at its place; None until computed."""
    # Where no phrase can follow, avoid 0 of 0.
    places = {base: (max(max(values), -sys.float_info.max), values) for base, values in _places(scores).items()}
    totals = {base: math.fsum(math.exp(value - top) for value in values) or 1 for base, (top, values) in places.items()}
    # Relative to the place's highest: else very unlikely phrases would be 0 of 0.
    return [
        None if (logprob := score.logprob) is None else math.exp(logprob - places[score.base][0]) / totals[score.base]
        for score in scores
    ]


def best(scores: "tuple[Score, ...]") -> dict[Node, float]:
    """The highest log-probability of the phrases scored at each place, as far as computed."""
    return {base: max(values) for base, values in _places(scores).items()}


def _places(scores: "tuple[Score, ...]") -> dict[Node, list[float]]:
    """The log-probabilities of the phrases scored at each place, as far as computed."""
    places: dict[Node, list[float]] = {}
    for score in scores:
        if (logprob := score.logprob) is not None:
            places.setdefault(score.base, []).append(logprob)
    return places


@record
class Sampling:
    """How the next token is drawn: chain, constraint and seed."""

    chain: Chain = NO_CHAIN
    constraint: Constraint | None = None
    seed: int = 0
    own: tuple[Chain, ...] = ()
    """Chains that the player made and then replaced, the latest last: they are offered as presets."""

    def lens(self, prompt: Prompt, suppressed: tuple[int, ...]) -> Raw | Sampled:
        """The lens of a prompt. `suppressed`: tokens that the model's file bans."""
        if self.constraint is None and self.chain is NO_CHAIN:
            return RAW  # the usual case: do not hash the chain on each key
        return lens_of(self.chain, self.constraint, prompt.begins, suppressed)


class Places(NamedTuple):
    """The open prompts at one time, with chain and constraint: a prompt knows where a constraint begins."""

    prompts: tuple[Prompt, ...]
    active: int
    removed: tuple[tuple[int, Prompt], ...]
    chain: Chain
    constraint: Constraint | None
    by_final: bool
    """Whether the table was sorted by final probability: setting a constraint changes it."""


class Running(Enum):
    """An action that further messages can extend."""

    NOTHING = "nothing"
    AUTOPLAY = "autoplay"


@record
class Undo:
    """What can be undone, and redone."""

    past: tuple[Places, ...] = ()
    """The state before each action, the latest last."""
    undone: tuple[Places, ...] = ()
    """The state before each undo, the latest last."""
    running: Running | Kind = Running.NOTHING
    """The last action, where more of it extends it; a sampler's kind: its values are being changed."""


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
    """Whether the draws are only counted; else there is one, which was appended."""

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """How often each token was drawn."""
        return Counter(draw.token for draw in self.draws)

    def counts_on(self, node: Node, lens: Raw | Sampled) -> bool:
        """Whether draws with this node and lens add to these counts."""
        return self.many and self.node is node and self.lens == lens


class EditState(Enum):
    """The state of a text from the editor."""

    OPEN = "open"
    """In the editor."""
    WAITING = "waiting"
    """Back from the editor, waiting for an engine."""
    SENT = "sent"
    """Sent to an engine, to become a prompt. If that engine dies, the text is not sent again by itself."""


@record
class Editing:
    """A prompt's text in the player's editor, or on its way back."""

    target: Node
    """The tip of the prompt that is edited."""
    text: str
    """The text as given to the editor, then as it came back."""
    state: EditState = EditState.OPEN


class Starter(NamedTuple):
    """A text to start a prompt with."""

    name: str
    text: str


class Carried(NamedTuple):
    """A prompt carried over from another model."""

    place: int
    """Its place among the prompts."""
    text: str
    name: str


@record
class Known:
    """What only grows: one value of the game shares it with the next."""

    root: Node = field(default_factory=lambda: Node(None, -1))
    pieces: dict[int, Piece] = field(default_factory=dict)
    """Pieces of all tokens met so far."""
    lens_results: LensResults = field(default_factory=LensResults)
    """What samplers and constraints make of the tree's distributions."""
    rolls: dict[tuple[int, Node], int] = field(default_factory=dict)
    """Draws made so far, by seed and path."""
    lookahead: LookaheadResults = field(default_factory=LookaheadResults)
    """What is known ahead of the prompts' tips, beside the tree; the oldest entries are forgotten."""
    compared: Comparisons = field(default_factory=Comparisons)
    """Kept results of comparisons."""


@record
class Health:
    """Progress, pings and faults of the engine."""

    progress: float = 0.0
    """Of loading the model, 0 to 1."""
    waits: Waits | None = None
    """The workers that the engine waits for."""
    unanswered: int = 0
    """Pings since the engine's last message."""
    fault: str = ""
    """Why the engine stopped the last time."""
    fault_at_start: bool = False
    """Whether it died on tokenising the starting prompt: that is tried once more only."""


@record
class Pressed:
    """Keys that wait for the engine, and autoplay."""

    ahead: int = 0
    """Presses of → while the table was computed: as many tokens are appended once it is there."""
    appending: bool = False
    """Whether that table comes after a token that → appended."""
    rolling: int = 0
    """Rolls that wait for the table, or for the roll before."""
    autoplay: bool = False
    """Whether the most likely token is appended again and again."""


@record
class Hidden:
    """Paths that the tree does not show."""

    pruned: tuple[Node, ...] = ()
    """Nodes hidden with their subtrees, the latest last. No open prompt goes through one."""
    folded: frozenset[Node] = frozenset()
    """Ends of lines after which the tree is folded."""


@record
class Results:
    """Results of searches and scores, which stay listed."""

    fans: tuple[Fan, ...] = ()
    """Searches for answers, the latest last: only the last few are kept. Their growing parts are shared."""
    criticals: tuple[CriticalTokens, ...] = ()
    """Searches for critical tokens, the latest last."""
    scores: tuple[Score, ...] = ()
    """Phrases scored so far, until they are cleared."""


@record
class Turns:
    """The chat that the game was started with, and edits of it."""

    said: frozenset[Node] | None = frozenset()
    """The assistant's tokens. None where the template does not tell."""
    of_chat: bool = False
    """Whether the game continues a chat, from a saved session or another model."""


LOADING = "still loading"


@record
class Game:
    """All that is played with one model: its tree, prompts and scores, its engine and open requests."""

    settings: Settings
    known: Known = field(default_factory=Known)
    sampling: Sampling = Sampling()
    versus: Versus = ALONE
    """What the active prompt is compared with."""
    noise: float | None = None
    """Bits by which two strict answers to one request can differ on this machine; None until measured."""
    drawn: Drawn | None = None
    """The last draws, for the screen."""
    seen: Viewed | None = None
    """The view that was shown last: it stays in sight while the next one of its node is on the way."""
    refused: frozenset[tuple[type[Purpose], Node, Raw | Sampled]] = frozenset()
    """Requests that this engine refused: they are not sent to it again."""
    prompts: tuple[Prompt, ...] = ()
    """The open prompts; empty until the starting text is tokenised."""
    active: int = 0
    turns: Turns = Turns()
    removed: tuple[tuple[int, Prompt], ...] = ()
    """Removed prompts, each with its index, the latest last."""
    undo: Undo = Undo()
    hidden: Hidden = Hidden()
    results: Results = Results()
    editing: Editing | None = None
    """The text that is in the editor, or came from it and is no prompt yet."""
    carried: tuple[Carried, ...] = ()
    """Prompts carried over from another model that have no tokens yet."""
    address: int = 0
    """The address of the game's engine: requests go there, and messages from elsewhere are ignored. 0: no engine."""
    engine: EngineStatus = EngineStatus.LOADING
    health: Health = Health()
    model: Loaded | None = None
    context: int = 0
    """The present size of the context, in KV cells."""
    open_requests: dict[int, Purpose] = field(default_factory=dict)
    """The purpose of each open request, by its number, the oldest first. Replaced, never changed."""
    pressed: Pressed = Pressed()
    full: int | None = None
    """Tokens that fit, where the active prompt is too long for the context."""
    cost: Cost = Cost()
    notices: tuple[str, ...] = ()
    """Lasting notices on the prompts: where tokens spell another text, which biases were left out."""

    @property
    def prompt(self) -> Prompt:
        """The active prompt."""
        return self.prompts[self.active]

    @property
    def is_chat(self) -> bool:
        """Whether the game began with a chat."""
        return self.turns.of_chat or bool(self.settings.chat)

    @property
    def said(self) -> frozenset[Node] | None:
        """The assistant's tokens in a chat; None where the template does not tell them."""
        return self.turns.said

    @property
    def parses_special(self) -> bool:
        """Whether the name of a special token in a text becomes that token."""
        return self.settings.parse_special or self.is_chat

    @property
    def comparison(self) -> Comparison | None:
        """The running comparison; None without one."""
        match self.versus:
            case Alone():
                return None
            case AgainstPrompt(a, b):
                return self.known.compared.paths(a, b)
            case AgainstModel(comparison=comparison):
                return comparison

    @property
    def floor(self) -> float | None:
        """Bits up to which a difference is noise; None until known."""
        return self.versus.floor if isinstance(self.versus, AgainstModel) else self.noise

    @property
    def ready(self) -> bool:
        """Whether the prompt's table is there and no evaluation is pending."""
        return bool(self.prompts) and self.pending is None and self.prompt.tip.distribution is not None

    @property
    def waiting(self) -> bool:
        """Whether the player waits for the engine."""
        if self.engine is not EngineStatus.READY:
            return self.engine is EngineStatus.LOADING
        return any(purpose.awaited for purpose in self.open_requests.values())

    @property
    def owed(self) -> bool:
        """Whether the engine must still answer anything, awaited or not."""
        return any(not isinstance(purpose, ForCheck | ForLookahead) for purpose in self.open_requests.values())

    def newest(self, kind: type[P]) -> tuple[int, P] | None:
        """The newest open request of a kind: its number and its purpose."""
        for number, purpose in reversed(self.open_requests.items()):
            if isinstance(purpose, kind):
                return number, purpose
        return None

    @property
    def decoding(self) -> tuple[int, Decoded] | None:
        """The newest decoding request: its number and its purpose. It replaced those before it."""
        for number, purpose in reversed(self.open_requests.items()):
            if isinstance(purpose, Decoded):
                return number, purpose
        return None

    @property
    def pending(self) -> int | None:
        """The number of the awaited evaluation: of the active prompt, typed text, or a phrase."""
        newest = self.decoding
        return newest[0] if newest and newest[1].awaited and isinstance(newest[1], Computed) else None

    @property
    def silence(self) -> float:
        """Seconds for which the engine's process has not answered pings; 0 while that is normal."""
        heard = self.engine is not EngineStatus.LOADING or self.health.progress > 0
        threshold = SILENT_AFTER if heard else SILENT_AFTER_AT_START
        return (self.health.unanswered - 1) * BEAT if self.health.unanswered >= threshold else 0.0

    def evaluated(self, tip: Node) -> int:
        """How many tokens of the awaited path the engine has evaluated."""
        pending = self.decoding
        if pending and isinstance(pending[1], ForEvaluation) and not self.can(Capability.PROMPT_AT_ONCE):
            return max(pending[1].reached, pending[1].start)
        return min(tip.first_unknown(), tip.depth)

    def complete(self, tip: Node) -> bool:
        """Whether all that is awaited of a path is there: only its table, where tokens are walked afterwards."""
        return tip.known if self.can(Capability.PROMPT_AT_ONCE) else tip.distribution is not None

    @property
    def walking(self) -> bool:
        """Whether the active prompt's tokens still lack numbers that a walk will bring."""
        tip = self.prompt.tip
        if self.can(Capability.PROMPT_AT_ONCE) or tip.whole or self.engine is not EngineStatus.READY:
            return False
        return (ForWalk, tip, RAW) not in self.refused

    def knows_ahead(self, token: int) -> bool:
        """Whether the table after the active prompt and this token is known already."""
        return self.known.lookahead.place(self.prompt.tip).child(token).distribution is not None

    @property
    def lookahead_awaited(self) -> bool:
        """Whether an open lookahead still lacks a distribution."""
        for purpose in self.open_requests.values():
            if isinstance(purpose, ForLookahead) and purpose.going:
                start = self.known.lookahead.place(purpose.target)
                for branch in purpose.branches:
                    if reduce(Place.child, branch, start).distribution is None:
                        return True
        return False

    def can(self, capability: Capability) -> bool:
        """Whether the engine has a capability. Before it is loaded, it is assumed to have all."""
        return self.model is None or capability in self.model.capabilities

    @property
    def suppressed(self) -> tuple[int, ...]:
        """Tokens that the model's file bans wherever samplers are applied."""
        return self.model.suppressed if self.model else ()

    def cannot(self, capability: Capability) -> str:
        """Why the engine lacks a capability, in one line; empty where it has it."""
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
        """Why the table does not show where its rows lead to; empty where it does."""
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
        """The server that has the model, as host and port; empty: the model is on this machine."""
        return visible(self.settings.model.server)

    @property
    def comes_back(self) -> str:
        """The key that restarts or reconnects the engine, in words."""
        return "r, reconnects" if self.server else "r, restarts it"

    @property
    def absent(self) -> str:
        """Why the engine takes no requests now, and what helps; empty where it does."""
        match self.engine:
            case EngineStatus.READY:
                return ""
            case EngineStatus.LOADING:
                return LOADING
            case EngineStatus.DEAD:
                return self.gone

    @property
    def gone(self) -> str:
        """A line saying that the engine is not there, and what helps."""
        if self.server:
            return f"no connection to {self.server}: r reconnects"
        return "the engine is not there: r restarts it"

    def lost(self, reason: str) -> str:
        """A line saying that the engine is gone, and why."""
        if self.server and reason.startswith(self.server):  # the reason names the server already
            return reason
        return f"{self.stopped} ({reason})"

    @property
    def stopped(self) -> str:
        """A line saying that the engine is gone."""
        return f"the connection to {self.server} is lost" if self.server else "the engine stopped"

    def piece(self, token: int) -> Piece:
        """The piece of a token; a stand-in where it is not known."""
        try:
            return self.known.pieces[token]
        except KeyError:
            return untold(token)


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
    def beside(self) -> Game | None:
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
        return self.options.shows_ahead and not self.game.looks_no_further

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


def table(session: Session, prompt: Prompt) -> tuple[Candidate, ...]:
    """The rows of a prompt's table: the likeliest tokens, then the popped one if it is not among them.

    Empty while the distribution, or what the rows are sorted by, is not known. There are no more rows than are
    configured or fit on the screen; but the selected token always has one.
    """
    distribution = prompt.tip.distribution
    if distribution is None:
        return ()
    if compared := _compared(session, prompt):
        return _with_chosen(prompt, compared)
    limit = max(session.game.settings.tokens_to_show, session.rows)
    child = None if prompt.popped is None else prompt.tip.children.get(prompt.popped)
    popped_taken = {child.token: child.taken} if child is not None and child.taken is not None else {}
    viewed = session.viewed(prompt.tip) if session.sorts_by_final else None
    if viewed is None and session.sorts_by_final and session.view_awaited(prompt.tip):
        return ()
    if viewed is None:
        places: Mapping[int, int] = distribution.rows
        sorted_rows = None
    else:
        sorted_rows = by_final(distribution, viewed.view, popped_taken)
        places = {row.token: place for place, row in enumerate(sorted_rows)}
    if prompt.selected is not None and prompt.selected != prompt.popped:
        limit = max(limit, places.get(prompt.selected, 0) + 1)
    rows = distribution.first(limit) if sorted_rows is None else sorted_rows[:limit]
    for token, taken in popped_taken.items():
        if places.get(token, len(rows)) >= len(rows):
            rows += (taken.row(token),)
    return rows


def _compared(session: Session, prompt: Prompt) -> list[Candidate]:
    """The likeliest tokens of A or B by strict answers, of A alone until B's are known; empty before the first."""
    if session.game.comparison is None:
        return []
    if (difference := session.difference_after(prompt.tip)) is None:
        return [] if prompt.tip.strict is None else list(prompt.tip.strict.candidates())
    by_delta = session.options.by_delta
    ordered = sorted(difference.rows, key=lambda row: -abs(row.delta_bits)) if by_delta else difference.rows
    return [row.a.row(row.token) for row in ordered]


def _with_chosen(prompt: Prompt, rows: list[Candidate]) -> tuple[Candidate, ...]:
    """A comparison's rows, and those of the selected and the popped token.

    The latter two are left out until an answer has their numbers: see `compared.of_row`.
    """
    shown = {row.token for row in rows}
    extra = [
        token for token in dict.fromkeys((prompt.selected, prompt.popped)) if token is not None and token not in shown
    ]
    numbers = ((token, prompt.tip.strict_taken_after(token) or prompt.tip.taken_after(token)) for token in extra)
    return (*rows, *(taken.row(token) for token, taken in numbers if taken))


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
    """A function to the token that most likely follows a path through the lens; None where that is not known.

    With a constraint it is known where the engine gave a view. Samplers that change the order count by their biases
    alone, at every place, so that it is one quantity.
    """
    lens, view_of = session.lens, session.game.known.lens_results.view
    if isinstance(lens, Raw):
        return likeliest_after

    def after(place: Place) -> int | None:
        if (distribution := place.distribution) is None:
            return None
        by_view = lens.constraint is not None or follows(lens)
        if by_view and place.node is not None and (view := view_of(lens, place.node)) is not None:
            return next(iter(view.likeliest), None)
        return likeliest(lens, distribution) if lens.constraint is None else None

    return after


def continuation(session: Session) -> tuple[int, ...]:
    """The ghost text: the selected token and the likeliest known tokens after it; empty where it is not shown.

    It ends at a line's end, so that the prompt's tip stays in sight.
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
    after_chosen = game.known.lookahead.place(prompt.tip).child(chosen)
    tokens = (chosen, *following(after_chosen, LONGEST_BRANCH, next_after(session)))
    for index, token in enumerate(tokens):
        piece = game.piece(token)
        if piece.ends or b"\n" in piece.data:
            return tokens[: index + (not piece.ends)]
    return tokens


def text_of(game: Game, tip: Node) -> bytes:
    """The text of a path as bytes, without the BOS and the space that tokenising adds."""
    path, model = tip.path(), game.model
    if model and model.bos is not None and path[:1] == [model.bos]:
        path = path[1:]
    data = b"".join(game.piece(token).data for token in path)
    return data.removeprefix(b" ") if model and model.space_prefix else data


def split_otherwise(game: Game, tip: Node) -> str:
    """A line saying that the tokenizer splits a path's text otherwise; empty where it does not, or is unchecked."""
    if tip.differs is None:
        return ""
    if without_text(game, tip):
        return f"token {tip.differs + 1} has bytes of no whole character"
    return f"split unlike the tokenizer from token {tip.differs + 1} on: T splits it anew"


def without_text(game: Game, tip: Node) -> bool:
    """Whether a path differs from the tokenizer's because its bytes are no valid text there."""
    if (place := tip.differs) is None:
        return False
    around = tip.ancestor(place + 5).nodes(max(0, place - 3))  # no character has more than four tokens
    return unspelled([game.piece(node.token).data for node in around], begins=place <= 3)
