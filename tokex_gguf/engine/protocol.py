r"""The messages between the user interface and the engine: the only thing both share.

A message is one line of JSON, `[name, {field: value}]`. JSON and not pickle,
because the engine runs native code over files from strangers, and its replies
must not run code here. A request carries its whole path, so the engine has no
state that matters, and a new one needs no history:

>>> encode(Search(1, [7, 9], "a", 30))
b'["Search",{"request":1,"path":[7,9],"query":"a","top":30}]\n'
>>> decode(encode(Search(1, [7, 9], "a", 30)))
Search(request=1, path=[7, 9], query='a', top=30)
"""

import json
import math
import sys
from array import array
from binascii import a2b_base64, b2a_base64
from dataclasses import field, fields
from enum import StrEnum
from typing import Any, TypeAlias, get_args

from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.difference import Difference, TokenPair
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.lens import RAW, Raw, Sampled
from tokex_gguf.values.record import record
from tokex_gguf.values.samplers import KINDS, Chain, Kind, Sampler
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.view import Draw, Stage, Standing, Verdict, View


class ProtocolError(Exception):
    """A line that is no message."""


# --- requests


@record
class Load:
    """Load a model; the first request. Answered by Loading…, then Loaded or EngineFailed."""

    path: str
    context: int
    """KV cells, fixed; 0: grow as needed, up to what the model was trained for."""
    threads: int
    """0: choose."""
    log: str = ""
    """Path of the file that the engine's log is appended to; none if empty."""
    most: int = 0
    """The most KV cells to grow to; 0: as many as the model was trained for."""
    kv: str = "f16"
    """Type of the KV cells' values: f16 or q8_0."""
    gpu_layers: int = 0
    """Layers to compute on a graphics processor."""
    rpc: str = ""
    """RPC workers that compute all layers, HOST:PORT with commas between; none if empty."""
    repack: bool = True
    """Whether weights may be rearranged into a copy, for faster kernels."""
    fingerprints: str = ""
    """Path of the file with the fingerprints of files; none if empty."""
    cache: str = ""
    """Path of the prompt cache's folder; no cache if empty."""
    cache_bytes: int = 0
    """The most bytes of the prompt cache."""
    check: bool = False
    """Whether to check the files' headers again first: the files may have changed since the last check."""


@record
class ConnectServer:
    """Use the model of a server; the first request, in place of Load. Answered by Loaded or EngineFailed.

    The server's key is not a field: it comes through the environment only.
    """

    url: str
    """Its scheme, host and port, such as http://127.0.0.1:8080, and a path where the server is behind one."""
    model: str = ""
    """Which of the server's models; empty: its only one, or its first."""
    candidates: int = 100
    """Candidates to ask for; a server may give fewer."""
    log: str = ""
    """Path of the file that the engine's log is appended to; none if empty."""
    insecure: bool = False
    """Whether a key may go over plain http to another machine."""


@record
class Tokenize:
    """Turn text into a path, with a first BOS where the vocabulary asks for it."""

    request: int
    text: str
    parse_special: bool
    """Whether the name of a special token in the text becomes that token."""
    continues: bool = False
    """Whether the text continues another: nothing is put before it."""


@record
class Chat:
    """Turn messages into a path, by the model's own chat template. Answered as Tokenize is."""

    request: int
    conversation: str
    """JSON: what `chat_template.render` takes."""


@record
class Evaluate:
    """Give the distributions at positions `start` to the end of a path.

    Answered by one Evaluated for each chunk, in order, or by Failed. Where many
    distributions are known, the one at the path's end may come first, and again in
    its place. A newer Evaluate or a Stop ends it; chunks sent by then count. An engine without
    `Capability.PROMPT_AT_ONCE` gives the last position and those that it passes:
    the others need Walk.
    """

    request: int
    path: list[int]
    start: int
    top: int
    """How many candidates to give."""
    asked: int | None = None
    """A token whose probability after the whole path is requested as well."""
    last_top: int = 0
    """How many candidates to give at the path's end, if more than `top`."""
    lens: Raw | Sampled = RAW
    """The lens for verdicts on the tokens taken; raw: no verdicts."""


@record
class Walk:
    """Give the distributions at some positions of a path, one after the other, in the background.

    Answered by one Evaluated for each, in the order given. Most other requests end it: see `engine/queue.py`. For
    engines without `Capability.PROMPT_AT_ONCE`.
    """

    request: int
    path: list[int]
    places: list[int]
    """Positions of the path, the most wanted first."""
    top: int


@record
class Lookahead:
    """Give the distributions after a path and each of some branches, in the background.

    Answered by one or more LookaheadDone until all branches are answered, or by Failed. Branches share the cells of
    their common prefixes. Most other requests end it: see `engine/queue.py`. Another Lookahead does so only with
    another path: with the same path, it is answered after this one.
    """

    request: int
    path: list[int]
    branches: list[list[int]]
    """One or more tokens each, the most wanted first. Without branches, nothing is decoded or answered: the engine
    prepares for the path, such as by reading its cells from the disk."""
    top: int
    waited: bool = False
    """Whether the player waits for it; else it prepares for the next key."""


@record
class Continue:
    """Append tokens to a path: the most likely ones, or draws through a lens.

    Answered by Continued, again and again, until the next token ends generation or reaches `most`, the lens leaves no
    token, the context is full (Failed), or another request ends it.
    """

    request: int
    path: list[int]
    """Its last token is the first one that is evaluated."""
    top: int
    lens: Raw | Sampled = RAW
    seed: int = 0
    """Of the draws; nothing is drawn through the raw lens."""
    most: int = 0
    """The most tokens to append; the last one is `Continued.end`. 0: no limit but the context."""


@record
class Apply:
    """Apply a constraint and a sampler chain to the distribution after a path. Answered by Applied."""

    request: int
    path: list[int]
    lens: Sampled
    tokens: list[int]
    """Tokens to include in the view, besides the likeliest ones left."""
    top: int
    """How many of the model's likeliest tokens to include."""


@record
class Roll:
    """Draw tokens after a path through a lens. Answered by Rolled."""

    request: int
    path: list[int]
    lens: Raw | Sampled
    seed: int
    first: int
    """The number of the first of the seed's draws at this place, from 0: see `values.random_numbers`."""
    count: int


@record
class Constrain:
    """Compile a constraint, and find where a path breaks it.

    Answered by Constrained, or by Failed with the reason.
    """

    request: int
    path: list[int]
    constraint: Constraint
    start: int
    """How many tokens of the path come before the constraint."""


@record
class Force:
    """Give the tokens that a lens's constraint leaves no choice in after a path. Answered by Forced."""

    request: int
    path: list[int]
    lens: Sampled


@record
class EvaluateStrictly:
    """Give the strict distributions at positions `start` to the end of a path.

    Answered by Evaluated with `strict`, chunk by chunk. For engines with `Capability.COMPARISON`. As all strict
    requests, it runs in the background: a request that a key makes ends it, and drops those that wait, without an
    answer (see `engine/queue.py`). Chunks sent by then count: the next request starts after them.
    """

    request: int
    path: list[int]
    start: int
    top: int


@record
class Compare:
    """Compare the distributions after two paths, both computed strictly. Answered by Compared, with one difference."""

    request: int
    path: list[int]
    """A."""
    other: list[int]
    """B."""
    top: int
    """How many of the likeliest tokens of each to include."""


@record
class Export:
    """Write the logits at some positions of a path into a file, for another engine. Answered by Exported.

    A row has the logits of the whole vocabulary, in float32, and their log-sum-exp. All are computed strictly.
    """

    request: int
    path: list[int]
    start: int
    end: int
    """The position after the last."""
    file: str
    """Path of an existing regular file; it is empty until everything is written."""


@record
class Against:
    """Compare the distributions at some positions of a path, A, with those of another engine, B.

    Answered by Compared, in parts from the start on, with one difference for each position. Both engines have the same
    vocabulary.
    """

    request: int
    path: list[int]
    start: int
    end: int
    file: str
    """Path of the file that another engine's Export wrote for the same positions."""
    other: str
    """`Loaded.identity` of the other engine's model, by which the differences are kept on the disk; empty: not kept."""
    top: int


@record
class Recall:
    """Give the differences at some positions of a path that earlier comparisons have left on the disk.

    Answered by Compared for each run of positions with a difference, and then by Recalled. Nothing is computed.
    """

    request: int
    path: list[int]
    start: int
    end: int
    """The position after the last."""
    other: str
    """As in Against."""
    top: int


@record
class LookaheadStrictly:
    """Compute the strict distributions after a path and each of some tokens, for the next requests.

    Answered by StrictLookaheadDone. Tokens that do not fit into the context or the cached rows are left out.
    """

    request: int
    path: list[int]
    tokens: list[int]


@record
class MeasureNoise:
    """Measure how far apart two strict answers to one question can be. Answered by Noise.

    The result is stored for each model and processor.
    """

    request: int


@record
class Stop:
    """End the request under way."""


@record
class Search:
    """Find tokens by their text, the most likely after a path first. Answered by Found; a newer one ends it."""

    request: int
    path: list[int]
    query: str
    """Part of a token's text, in any case, or its id; in double quotes, white space at its ends counts."""
    top: int
    """The most tokens to give."""


@record
class Spell:
    """Find all tokens that spell a text, letter by letter, also with one space before it. Answered by Spelt."""

    request: int
    text: str


@record
class Check:
    """Compare a path with the tokenizer's own tokens for its text. Answered by Checked."""

    request: int
    path: list[int]
    parse_special: bool


@record
class Ping:
    """Ask whether the engine's process is alive. Answered by Pong at once, also during other requests."""


Strict: TypeAlias = EvaluateStrictly | Compare | Export | Against | Recall | LookaheadStrictly
"""Requests for strict numbers."""
Numbered: TypeAlias = (
    Tokenize
    | Chat
    | Evaluate
    | Walk
    | Lookahead
    | Continue
    | Apply
    | Roll
    | Constrain
    | Force
    | Search
    | Spell
    | Check
    | Strict
    | MeasureNoise
)
"""Requests with a number, which their answers repeat."""
WithPath: TypeAlias = (
    Evaluate | Lookahead | Continue | Apply | Roll | Constrain | Force | Search | Check | Walk | Strict
)
"""Requests about a path."""
Request: TypeAlias = Load | ConnectServer | Numbered | Stop | Ping

# --- replies


@record
class Loading:
    """How much of the model is loaded, 0 to 1."""

    fraction: float


class Capability(StrEnum):
    """What an engine can do beyond giving the likeliest next tokens."""

    EXACT_ENTROPY = "exact entropy"
    """Entropies are exact, and not bounds."""
    EXACT_RANKS = "exact ranks"
    """Ranks are exact, and not bounds."""
    VOCABULARY_SEARCH = "vocabulary search"
    """It answers Search and Spell."""
    SAMPLERS = "samplers"
    """It answers Apply and Roll."""
    CONSTRAINTS = "constraints"
    """It answers Constrain and Force."""
    PROMPT_AT_ONCE = "prompt at once"
    """Evaluate gives all positions of a prompt."""
    BATCHES = "batches"
    """It answers Lookahead: several next tokens for little more than one."""
    BRANCHES = "branches"
    """Lookahead of many long branches takes a part of the time of decoding all their tokens."""
    COMPARISON = "comparison"
    """It answers EvaluateStrictly, Compare, Export, Against, Recall, LookaheadStrictly and MeasureNoise."""


@record
class Loaded:
    """The model is ready."""

    name: str
    architecture: str
    quantization: str
    vocab_size: int
    context: int
    """The current number of KV cells."""
    context_limit: int
    """The most KV cells."""
    bos: int | None
    """The token that Tokenize puts first, if any."""
    space_prefix: bool
    """Whether Tokenize puts a space before the text, as SentencePiece vocabularies do."""
    fingerprint: str = ""
    """Of the content of the model's files: it differs between models."""
    former: str = ""
    """The fingerprint that version 0.1.0 had for the file."""
    cells: str = ""
    """Type of the KV cells' values, which every number depends on; "" where a session does not have it."""
    arithmetic: str = ""
    """What else the numbers depend on: versions, kernels; "" where a session does not have it."""
    capabilities: frozenset[Capability] = frozenset(Capability)
    """The engine's; by default all."""
    server: str = ""
    """The server's program and version, such as `llama-server b11434`; empty: the model is on this machine."""
    candidates: int = 0
    """The most candidates of a distribution; 0: as many as the vocabulary has tokens."""
    sampling: dict[str, str] = field(default_factory=dict)
    """The samplers that the model's file recommends: keys after `general.sampling.`, and their values."""
    suppressed: tuple[int, ...] = ()
    """Tokens that the model's file bans wherever samplers are applied."""
    vocabulary: str = ""
    """Fingerprint of the vocabulary: models with the same one have the same tokens; "" where it is not known."""

    @property
    def identity(self) -> str:
        """All that cells, answers and differences depend on, and in the last line the model's name."""
        how = f"cells {self.cells}, {self.arithmetic}, {sys.byteorder}-endian"
        return f"{self.fingerprint}\n{how}\n{self.name} ({self.architecture} {self.quantization})"

    def same(self, other: "Loaded") -> bool:
        """Whether numbers of an earlier game with `other` may be shown together with this model's."""
        if other.fingerprint not in (self.fingerprint, self.former) or other.cells not in ("", self.cells):
            return False
        named = (self.name, self.architecture, self.quantization)
        tokens = (self.vocab_size, self.bos, self.space_prefix)
        return named == (other.name, other.architecture, other.quantization) and tokens == (
            other.vocab_size,
            other.bos,
            other.space_prefix,
        )


@record
class Tokenized:
    """The path of a text."""

    request: int
    path: list[int]
    pieces: dict[int, Piece]
    said: list[int] | None = field(default_factory=list)
    """The positions of the assistant's turns in a chat; None where they are not known."""
    notice: str = ""
    """One line if the tokens do not spell the text, or were made without the model's own rules."""


@record
class Evaluated:
    """Distributions at consecutive positions of a path."""

    request: int
    start: int
    """The position of the first."""
    distributions: list[Distribution]
    taken: list[TokenLogprob]
    """Log-probability and rank of the token after each; at the path's end, of `Evaluate.asked`, if any."""
    pieces: dict[int, Piece]
    """Pieces of mentioned tokens that this engine has not sent before."""
    decoded: int
    """Tokens decoded for this chunk."""
    seconds: float
    context: int
    """The current number of KV cells."""
    verdicts: list[Verdict] = field(default_factory=list)
    """The lens's verdicts on the tokens in `taken`, if a lens was given."""
    strict: bool = False
    """Whether the numbers do not depend on what was decoded before: only such numbers are compared."""


@record
class LookaheadDone:
    """Distributions after a path and each of some of the requested branches."""

    request: int
    branches: list[list[int]]
    distributions: list[Distribution]
    pieces: dict[int, Piece]
    seconds: float = 0.0
    """Their time; 0 where it is not known."""


GOES_ON, NOTHING_LEFT = -1, -2
"""In place of the last token: more tokens come; the lens leaves no token."""


@record
class Continued:
    """Tokens that were appended, and the distribution after each."""

    request: int
    tokens: list[int]
    distributions: list[Distribution]
    pieces: dict[int, Piece]
    seconds: float
    context: int
    """The current number of KV cells."""
    verdicts: list[Verdict] = field(default_factory=list)
    """The lens's verdicts on the tokens: on all, or on all but the first."""
    end: int = GOES_ON
    """The last token, which comes after `tokens`: it ends generation, or reaches `most`. Or GOES_ON, or
    NOTHING_LEFT."""
    taken: list[TokenLogprob] = field(default_factory=list)
    """The model's numbers for the tokens with a verdict, and for the token `end`. None through the raw lens."""


@record
class Applied:
    """The view of the distribution after a path through a lens."""

    request: int
    view: View
    pieces: dict[int, Piece]
    decoded: int
    seconds: float


@record
class Rolled:
    """The drawn tokens; none where the lens leaves no token."""

    request: int
    draws: list[Draw]
    verdicts: list[Verdict]
    """One for each draw."""
    pieces: dict[int, Piece]
    decoded: int
    seconds: float


@record
class Constrained:
    """A constraint is valid."""

    request: int
    broken: int
    """The position of the path's first token that it does not allow; -1: none."""


@record
class Forced:
    """The tokens that a constraint forces."""

    request: int
    tokens: list[int]
    more: bool
    """Whether more tokens may be forced after these, which are as many as one reply has."""
    pieces: dict[int, Piece]


@record
class Found:
    """Tokens that a search found, the most likely first."""

    request: int
    tokens: list[int]
    taken: list[TokenLogprob]
    """Log-probability and rank of each."""
    total: int
    """How many tokens of the vocabulary match."""
    pieces: dict[int, Piece]
    decoded: int
    seconds: float


@record
class Spelt:
    """The tokens that spell a text."""

    request: int
    tokens: list[int]
    pieces: dict[int, Piece]


@record
class Checked:
    """Where a path first differs from the tokenizer's own tokens."""

    request: int
    place: int | None
    """The first position that differs; None: none."""


@record
class Compared:
    """How distributions at consecutive positions of a path differ from others."""

    request: int
    start: int
    """The position of the first."""
    differences: list[Difference]
    pieces: dict[int, Piece]
    decoded: int
    seconds: float


@record
class Recalled:
    """All differences that are on the disk were given."""

    request: int


@record
class Exported:
    """The file is written."""

    request: int
    start: int
    end: int
    """The position after the last one written."""
    decoded: int
    seconds: float


@record
class StrictLookaheadDone:
    """LookaheadStrictly is done, as far as there was room."""

    request: int
    decoded: int
    seconds: float


@record
class Noise:
    """How far apart two strict answers to one question can be."""

    request: int
    bits: float
    """The largest measured difference of log2 of a probability; 0: all numbers are identical."""


@record
class Pong:
    """The engine's process is alive; it may come in the middle of other answers."""


@record
class Waits:
    """The engine waits for RPC workers: sent repeatedly, and once more at the end of the wait."""

    workers: list[str]
    """RPC workers that do not answer; empty: the wait is over."""
    seconds: float
    """The time waited so far."""


@record
class Failed:
    """A request cannot be fulfilled."""

    request: int
    reason: str
    """One line for the player."""
    context: int | None = None
    """The number of KV cells, if they were too few."""


@record
class EngineFailed:
    """The model could not be loaded, or its numbers are unusable: the engine ends."""

    reason: str
    """One line for the player."""


def failure(request: int | None, reason: str) -> Failed | EngineFailed:
    """The reply to a request that cannot be fulfilled; if it has no number, the engine cannot go on."""
    return EngineFailed(reason) if request is None else Failed(request, reason)


@record
class EngineDied:
    """The engine's process ended by itself; the client delivers this in its place."""

    reason: str


Reply: TypeAlias = (
    Loading
    | Loaded
    | Tokenized
    | Evaluated
    | LookaheadDone
    | Continued
    | Applied
    | Rolled
    | Constrained
    | Forced
    | Found
    | Spelt
    | Checked
    | Compared
    | Recalled
    | Exported
    | StrictLookaheadDone
    | Noise
    | Pong
    | Waits
    | Failed
    | EngineFailed
)
WireMessage: TypeAlias = Request | Reply

_MESSAGES: dict[str, type[WireMessage]] = {cls.__name__: cls for kind in (Request, Reply) for cls in get_args(kind)}


def _plain(value: object) -> object:
    """Converts values for JSON: distributions to [entropy, ids, logprobs], the raw lens to null.

    A distribution whose entropy is an interval also has its width. Ids and logprobs are base64 of the arrays' bytes,
    which takes both processes a fifth of the time of JSON numbers; both are on one machine.
    """
    if isinstance(value, Distribution):
        packed = [value.entropy_bits, _base64(value.ids), _base64(value.logprobs)]
        return [*packed, value.slack_bits] if value.slack_bits else packed
    if isinstance(value, Raw):
        return None
    if isinstance(value, Sampled):
        return _pack_lens(value)
    if isinstance(value, Constraint):
        return [value.kind, value.text]
    if isinstance(value, View):
        others = [(token, *taken) for token, taken in value.others.items()]
        arrays = value.ids.tolist(), value.finals.tolist(), value.cuts.tolist(), others
        numbers = (value.left, value.mass, value.entropy_bits, value.legal_mass)
        return [*numbers, value.stages, value.standing, value.broken, *arrays]
    if isinstance(value, Difference):
        rows = [(row.token, *row.a, *row.b) for row in value.rows]
        return [value.kl_bits, value.reverse_bits, value.first_a, value.first_b, rows, value.taken]
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _base64(numbers: "array[int] | array[float]") -> str:
    return b2a_base64(numbers, newline=False).decode()


def _pack_pieces(pieces: dict[int, Piece]) -> list[tuple[int, str, bool, bool]]:
    # Latin-1 maps each byte to one character, which JSON can carry.
    return [(token, piece.data.decode("latin-1"), *piece[1:]) for token, piece in pieces.items()]


def _pack_lens(lens: Sampled) -> dict[str, object]:
    return {
        "samplers": [(one.kind, one.values) for one in lens.chain.samplers],
        "bias": lens.chain.bias,
        "breakers": lens.chain.breakers,
        "constraint": lens.constraint,
        "start": lens.start,
    }


def _unpack_lens(packed: dict[str, Any] | None) -> Raw | Sampled:
    if packed is None:
        return RAW
    samplers = tuple(Sampler(Kind(kind), tuple(map(float, values))) for kind, values in packed["samplers"])
    if any(len(one.values) != len(KINDS[one.kind].parameters) for one in samplers):
        raise ValueError("a sampler with the wrong number of values")
    bias = tuple((int(token), float(amount)) for token, amount in packed["bias"])
    chain = Chain(samplers, bias, tuple(map(str, packed["breakers"])))
    packed_constraint = packed["constraint"]
    constraint = None if packed_constraint is None else _unpack_constraint(*packed_constraint)
    return Sampled(chain, constraint, int(packed["start"]))


def _unpack_constraint(kind: str, text: str) -> Constraint:
    return Constraint(ConstraintKind(kind), str(text))


def _unpack_view(
    left: int,
    mass: float,
    entropy_bits: float,
    legal_mass: float,
    stages: list[list[Any]],
    standing: str,
    broken: int,
    ids: list[int],
    finals: list[float],
    cuts: list[int],
    others: list[Any],
) -> View:
    if not len(ids) == len(finals) == len(cuts) or not all(map(math.isfinite, (mass, entropy_bits, legal_mass))):
        raise ValueError("a view of the wrong numbers")
    rows = array("i", ids), array("d", finals), array("b", cuts)
    unpacked = tuple(Stage(*stage) for stage in stages)
    more = {token: _unpack_taken(*taken) for token, *taken in others}
    return View(left, mass, entropy_bits, legal_mass, unpacked, Standing(standing), broken, *rows, more)


def encode(message: WireMessage) -> bytes:
    """A message as a line of JSON, line break included."""
    values: dict[str, Any] = {field.name: getattr(message, field.name) for field in fields(message)}
    if "pieces" in values:
        values["pieces"] = _pack_pieces(values["pieces"])
    text = json.dumps([type(message).__name__, values], default=_plain, separators=(",", ":"))
    return text.encode() + b"\n"


def _unpack_piece(token: int, data: str, control: bool, ends: bool) -> tuple[int, Piece]:
    if not (type(token) is int and type(control) is type(ends) is bool):
        raise TypeError("a piece of the wrong types")
    return token, Piece(data.encode("latin-1"), control, ends)


def _unpack_distribution(entropy_bits: float, ids: str, logprobs: str, slack_bits: float = 0.0) -> Distribution:
    tokens, values = array("i"), array("d")
    tokens.frombytes(a2b_base64(ids, strict_mode=True))
    values.frombytes(a2b_base64(logprobs, strict_mode=True))
    # NaN compares as false.
    sound = math.isfinite(entropy_bits) and 0 <= slack_bits < math.inf
    if not (0 < len(tokens) == len(values) and sound and all(value <= 1 for value in values)):
        raise ValueError("a distribution of the wrong numbers")
    return Distribution(entropy_bits, tokens, values, slack_bits)


def _unpack_taken(logprob: float, rank: int, at_least: bool = False) -> TokenLogprob:
    if not (type(rank) is int and type(at_least) is bool and logprob <= 1):
        raise ValueError("a probability of the wrong numbers")
    return TokenLogprob(logprob, rank, at_least)


def _unpack_pair(token: int, a: list[Any], b: list[Any]) -> TokenPair:
    if type(token) is not int:
        raise ValueError("a token that is none")
    return TokenPair(token, _unpack_taken(*a), _unpack_taken(*b))


def _unpack_difference(
    kl_bits: float, reverse_bits: float, first_a: int, first_b: int, rows: list[Any], taken: list[Any] | None
) -> Difference:
    # NaN compares as false.
    if not (kl_bits >= 0 and reverse_bits >= 0 and type(first_a) is type(first_b) is int):
        raise ValueError("a difference of the wrong numbers")
    pairs = tuple(_unpack_pair(token, both[:3], both[3:]) for token, *both in rows)
    return Difference(kl_bits, reverse_bits, first_a, first_b, pairs, _unpack_pair(*taken) if taken else None)


def _fits(value: object, kind: object) -> bool:
    """Whether a field's value has its type. Types that are not plain are not checked."""
    if kind in (int, str, bool):
        return type(value) is kind
    if kind is float:
        return type(value) in (int, float)
    if kind == int | None:
        return value is None or type(value) is int
    if kind == list[int] | None and value is None:
        return True
    if kind == dict[str, str]:
        return type(value) is dict and {type(one) for pair in value.items() for one in pair} <= {str}
    if kind == list[str]:
        return type(value) is list and set(map(type, value)) <= {str}
    if kind in (list[int], list[int] | None):
        return type(value) is list and set(map(type, value)) <= {int}
    if kind == list[list[int]]:
        return type(value) is list and all(_fits(one, list[int]) for one in value)
    return True


def decode(line: bytes) -> WireMessage:
    """Parses a message. Raises ProtocolError: broken native code may write anything."""
    try:
        name, values = json.loads(line)
        if "pieces" in values:
            values["pieces"] = dict(_unpack_piece(*packed) for packed in values["pieces"])
        if "distributions" in values:
            values["distributions"] = [_unpack_distribution(*packed) for packed in values["distributions"]]
        if "taken" in values:
            values["taken"] = [_unpack_taken(*packed) for packed in values["taken"]]
        if "verdicts" in values:
            values["verdicts"] = [Verdict(*packed) for packed in values["verdicts"]]
        if "draws" in values:
            values["draws"] = [Draw(*packed) for packed in values["draws"]]
        if "differences" in values:
            values["differences"] = [_unpack_difference(*packed) for packed in values["differences"]]
        if "bits" in values and not values["bits"] >= 0:
            raise ValueError("noise of the wrong number")
        if "lens" in values:
            values["lens"] = _unpack_lens(values["lens"])
        if "constraint" in values:
            values["constraint"] = _unpack_constraint(*values["constraint"])
        if "view" in values:
            values["view"] = _unpack_view(*values["view"])
        if "suppressed" in values:
            values["suppressed"] = tuple(values["suppressed"])
            if not set(map(type, values["suppressed"])) <= {int}:
                raise TypeError("tokens of the wrong types")
        if "capabilities" in values:
            # Unknown capabilities are ignored.
            known = set(Capability)
            values["capabilities"] = frozenset(Capability(one) for one in values["capabilities"] if one in known)
        message = _MESSAGES[name](**values)
        if not all(_fits(getattr(message, field.name), field.type) for field in fields(message)):
            raise TypeError("values of the wrong types")
        return message
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        # The error must not quote the line: it goes to the log, and may have a prompt's text.
        raise ProtocolError(f"{len(line)} bytes are no message ({type(error).__name__})") from None


def number_of(line: bytes) -> int:
    """The request's number in an invalid line; 0, which no request has, if there is none."""
    try:
        number = json.loads(line)[1]["request"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return 0
    return number if type(number) is int else 0
