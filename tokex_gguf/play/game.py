"""All that is played with one model: its tree, prompts and results, its engine and open requests. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from functools import cached_property, reduce
from typing import NamedTuple, TypeVar, assert_never

from tokex_gguf.engine.protocol import Capability, ConnectServer, Load, Loaded, Waits
from tokex_gguf.play.critical import DEFAULT_PLACES, DEFAULT_TOKENS, CriticalTokens
from tokex_gguf.play.fan import Fan
from tokex_gguf.play.purposes import Computed, Decoded, ForCheck, ForEvaluation, ForLookahead, ForWalk, Purpose
from tokex_gguf.play.versus import ALONE, AgainstModel, AgainstPrompt, Alone, Versus
from tokex_gguf.values.comparison import Comparison, Comparisons
from tokex_gguf.values.constraint import Constraint
from tokex_gguf.values.fan_out import Budget
from tokex_gguf.values.layers import Layer
from tokex_gguf.values.lens import RAW, Raw, Sampled, lens_of
from tokex_gguf.values.lens_results import LensResults
from tokex_gguf.values.lookahead import LookaheadResults, Place
from tokex_gguf.values.model_ref import ModelRef
from tokex_gguf.values.record import record
from tokex_gguf.values.samplers import NO_CHAIN, Chain, Kind
from tokex_gguf.values.score import Score
from tokex_gguf.values.splice import unspelled
from tokex_gguf.values.stops import AtSentence, StopRule
from tokex_gguf.values.tokens import Piece, unknown_piece, visible
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import Draw, View

P = TypeVar("P", bound=Purpose)


BEAT = 2.0
"""Seconds between two pings of the engine, while it owes an answer."""


SILENT_AFTER = 3
"""Unanswered pings after which the player is told."""


SILENT_AFTER_AT_START = 15
"""The same before an engine's first message: it may be read from a slow disk."""


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
    """JSON of the messages that make the starting prompt (`chat_input.Conversation`); empty: the prompt is `text`."""
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


class Carried(NamedTuple):
    """A prompt carried over from another model."""

    place: int
    """Its place among the prompts."""
    text: str
    name: str


@record
class Known:
    """What one value of the game shares with the next, and what changes in place.

    Answers are only added, and draws are counted. `lens_results`, `lookahead` and `compared` forget the oldest.
    """

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

    appends: int = 0
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
    """The chat that the game was started with."""

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
            case AgainstPrompt(b=b) as versus:
                return self.known.compared.paths(versus.end_of_a(self.prompt.tip), b)
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
        who, candidates = "server" if self.server else "engine", self.model.candidates
        match capability:
            case Capability.VOCABULARY_SEARCH:
                tells = "does not tell" if self.server else "cannot search"
                return f"this {who} {tells} its vocabulary"
            case Capability.BRANCHES:
                return f"this {who} computes the likely next tokens ahead, and not where they lead to"
            case Capability.BATCHES:
                return f"this {who} computes one path at a time: looking at many would take too long"
            case Capability.COMPARISON:
                return f"this {who}'s numbers depend on what it did before: differences of them say little"
            case Capability.SAMPLERS | Capability.CONSTRAINTS if candidates:
                return f"this {who} gives {candidates} candidates of a distribution: {capability.value} need all of it"
            case Capability.SAMPLERS | Capability.CONSTRAINTS:
                return f"this {who} has no {capability.value}"
            case Capability.EXACT_ENTROPY | Capability.EXACT_RANKS:
                return f"this {who} gives {candidates} candidates of a distribution, and bounds for the rest"
            case Capability.PROMPT_AT_ONCE:
                return f"this {who} gives a prompt's numbers one token after the other"
            case _:
                assert_never(capability)

    @property
    def no_further_lookahead(self) -> str:
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
    def reconnect_hint(self) -> str:
        """The key that restarts or reconnects the engine, in words."""
        return "r, reconnects" if self.server else "r, restarts it"

    @property
    def unavailable(self) -> str:
        """Why the engine takes no requests now, and what helps; empty where it does."""
        match self.engine:
            case EngineStatus.READY:
                return ""
            case EngineStatus.LOADING:
                return LOADING
            case EngineStatus.DEAD:
                return self.engine_missing

    @property
    def engine_missing(self) -> str:
        """A line saying that the engine is not there, and what helps."""
        if self.server:
            return f"no connection to {self.server}: r reconnects"
        return "the engine is not there: r restarts it"

    def engine_lost(self, reason: str) -> str:
        """A line saying that the engine is gone, and why."""
        if self.server and reason.startswith(self.server):  # the reason names the server already
            return reason
        return f"{self.engine_stopped} ({reason})"

    @property
    def engine_stopped(self) -> str:
        """A line saying that the engine is gone."""
        return f"the connection to {self.server} is lost" if self.server else "the engine stopped"

    def piece(self, token: int) -> Piece:
        """The piece of a token; a stand-in where it is not known."""
        try:
            return self.known.pieces[token]
        except KeyError:
            return unknown_piece(token)


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
