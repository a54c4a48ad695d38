"""The loop of an engine over a server: takes requests from the inbox, one at a time, and calls the server."""

import json
import time
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import BinaryIO, TypeVar

from tokex_gguf.engine.capacity import ContextFull, TooLong, check_text, check_tokens
from tokex_gguf.engine.inbox import Inbox
from tokex_gguf.engine.pipes import AUTOPLAY_FLUSH, log_place, log_to, send
from tokex_gguf.engine.protocol import (
    GOES_ON,
    Against,
    Apply,
    Capability,
    Chat,
    Check,
    Checked,
    Compare,
    ConnectServer,
    Constrain,
    Continue,
    Continued,
    EngineFailed,
    Evaluate,
    Evaluated,
    EvaluateStrictly,
    Export,
    Failed,
    Force,
    Found,
    Load,
    Loaded,
    Lookahead,
    LookaheadDone,
    LookaheadStrictly,
    MeasureNoise,
    Numbered,
    Ping,
    Recall,
    Reply,
    Roll,
    Search,
    Spell,
    Spelt,
    Stop,
    Tokenize,
    Tokenized,
    Walk,
)
from tokex_gguf.engine.remote.dialects.dialect import (
    CallRefused,
    Changed,
    Dialect,
    InvalidAnswer,
    Steps,
    UnsupportedServer,
)
from tokex_gguf.engine.remote.dialects.probe import probe
from tokex_gguf.engine.remote.evaluator import Chunk, Evaluator
from tokex_gguf.engine.remote.http import HttpClient, Interrupted, NoAnswer
from tokex_gguf.engine.spelling import difference, no_text, without_bos
from tokex_gguf.values.lens import Raw
from tokex_gguf.values.sequence import common_prefix
from tokex_gguf.values.server_url import BadAddress, parse
from tokex_gguf.values.tokens import Piece

T = TypeVar("T")


LIKELY_ONLY = "a server tells the likeliest tokens alone: samplers and constraints need the whole vocabulary"
NOT_COMPARED = "a server's numbers depend on what it did before: differences of them say little"
CHANGED = "the server has another model now than the one that was played"
NO_SEARCH = "this server does not tell its vocabulary: there is nothing to search"


class _Fault(Exception):
    """A request cannot be fulfilled. The message is one line for the player."""


class Interruption:
    """A flag that asks the request under way to end, and interrupts its call."""

    def __init__(self) -> None:
        self.client: HttpClient | None = None
        """The client of the call, once there is one."""
        self._asked = False

    @property
    def asked(self) -> bool:
        """Whether the request is to end. Any thread may set it."""
        return self._asked

    @asked.setter
    def asked(self, wish: bool) -> None:
        self._asked = wish
        if wish and self.client:
            self.client.interrupt()


class SameModel:
    """Runs calls, and checks that the server still has the model of the first connection."""

    def __init__(self, client: HttpClient, dialect: Dialect) -> None:
        self._client = client
        self._dialect = dialect
        self._connections = client.connections

    def run(self, steps: Steps[T]) -> T:
        """Runs the calls of a question. Raises Changed, and as `HttpClient.run` does."""
        result = self._client.run(steps)
        if self._connections != self._client.connections:  # a new connection may reach another model
            if self._client.run(self._dialect.identity()) != self._dialect.served.identity:
                raise Changed(CHANGED)
            self._connections = self._client.connections  # the check may have connected again
        return result


class Server:
    """Answers requests with the model of one server."""

    def __init__(self, inbox: Inbox, sink: BinaryIO, abort: Interruption, key: str) -> None:
        """`abort` is the one that the inbox sets; `key`: the server's, or empty."""
        self._inbox = inbox
        self._sink = sink
        self._abort = abort
        self._key = key
        self._sent_pieces: set[int] = set()

    def _send(self, reply: Reply) -> None:
        send(self._sink, reply)

    def serve(self) -> None:
        """Answers until the inbox closes or the server is gone. The first request must be ConnectServer."""
        connect = self._inbox.next()
        if not isinstance(connect, ConnectServer):
            return
        log_to(connect.log)
        try:
            self._serve(connect)
        except (NoAnswer, UnsupportedServer, Changed) as error:
            self._send(EngineFailed(str(error)))
        except (CallRefused, InvalidAnswer) as error:  # while connecting
            self._send(EngineFailed(_message(error)))
        except Interrupted:
            pass  # while connecting: the other process is gone

    def _serve(self, connect: ConnectServer) -> None:
        """Raises NoAnswer, UnsupportedServer, Changed; while connecting also CallRefused and InvalidAnswer."""
        try:
            client = HttpClient(parse(connect.url), self._key, insecure=connect.insecure)
        except BadAddress as error:
            raise UnsupportedServer(str(error)) from None
        self._abort.client = client
        dialect = client.run(probe(connect.model))
        same = SameModel(client, dialect)
        second_cache = dialect.served.has_second_cache and same.run(dialect.stays_cached())
        evaluator = Evaluator(same, dialect, connect.candidates, second_cache=second_cache)
        model = self._loaded(evaluator)
        self._send(model)
        while request := self._inbox.next():
            if isinstance(request, Load | ConnectServer | Stop | Ping):
                continue  # a second connection, and requests for other engines; Stop and Ping never get here
            self._answer(request, evaluator, model)

    def _loaded(self, evaluator: Evaluator) -> Loaded:
        served = evaluator.served
        capabilities = {Capability.BATCHES}
        capabilities |= {Capability.EXACT_ENTROPY, Capability.EXACT_RANKS} if evaluator.whole else set()
        capabilities |= {Capability.EXACT_RANKS} if served.exact_ranks else set()
        capabilities |= {Capability.VOCABULARY_SEARCH} if served.searchable else set()
        capabilities |= {Capability.PROMPT_AT_ONCE} if served.at_once else set()
        return Loaded(
            served.model,
            "",
            served.quantization,
            served.vocab_size,
            served.context,
            served.context,
            served.bos,
            served.space_prefix,
            sha256(served.identity.encode("utf-8", "surrogatepass")).hexdigest()[:32],
            arithmetic=served.software,
            capabilities=frozenset(capabilities),
            server=served.software,
            candidates=0 if evaluator.whole else evaluator.candidates,
        )

    def _answer(self, request: Numbered, evaluator: Evaluator, model: Loaded) -> None:
        """Answers a request, with Failed where that is impossible. Raises NoAnswer and Changed."""
        try:
            self._try(request, evaluator, model)
        except Interrupted:
            # The interrupt was for the walk around this request, which still needs an answer.
            if isinstance(request, Tokenize | Chat | Check):
                self._answer(request, evaluator, model)
        except (NoAnswer, Changed, BrokenPipeError):
            raise
        except ContextFull as error:
            if not isinstance(request, Walk):  # walk errors are ignored; a real request will report them
                self._send(Failed(request.request, str(error), error.room))
        except (_Fault, CallRefused, InvalidAnswer) as error:
            self._send(Failed(request.request, _message(error)))
        except Exception as error:
            log_place(request, error)
            self._send(Failed(request.request, f"the engine cannot answer this ({type(error).__name__})"))

    def _try(self, request: Numbered, evaluator: Evaluator, model: Loaded) -> None:
        match request:
            case Evaluate():
                self._evaluate(request, evaluator)
            case Tokenize():
                self._tokenize(request, evaluator, model)
            case Chat():
                self._chat(request, evaluator)
            case Continue():
                self._continue(request, evaluator)
            case Lookahead():
                self._look_ahead(request, evaluator)
            case Walk():
                self._walk(request, evaluator, model)
            case Search():
                self._search(request, evaluator)
            case Spell():
                if not evaluator.served.searchable:
                    raise _Fault(NO_SEARCH)
                tokens = evaluator.spelling(request.text)
                self._send(Spelt(request.request, tokens, self._pieces(evaluator, set(tokens))))
            case Check():
                self._check(request, evaluator, model)
            case Apply() | Roll() | Constrain() | Force():
                raise _Fault(LIKELY_ONLY)
            case EvaluateStrictly() | Compare() | Export() | Against() | Recall():
                raise _Fault(NOT_COMPARED)
            case LookaheadStrictly() | MeasureNoise():
                raise _Fault(NOT_COMPARED)

    def _pieces(self, evaluator: Evaluator, tokens: set[int]) -> dict[int, Piece]:
        new = evaluator.pieces(tokens - self._sent_pieces)
        self._sent_pieces |= new.keys()
        return new

    def _evaluate(self, request: Evaluate, evaluator: Evaluator) -> None:
        chunks = evaluator.evaluate(request.path, request.start, request.top, request.asked, request.last_top)
        for chunk in chunks:
            self._evaluated(request.request, chunk, evaluator)
            if self._abort.asked:
                raise Interrupted

    def _evaluated(self, request: int, chunk: Chunk, evaluator: Evaluator) -> None:
        mentioned = {token for distribution in chunk.distributions for token in distribution.ids}
        pieces = self._pieces(evaluator, mentioned)
        context = evaluator.served.context
        self._send(
            Evaluated(
                *(request, chunk.start, chunk.distributions, chunk.taken, pieces),
                *(chunk.decoded, chunk.seconds, context),
            )
        )

    def _walk(self, request: Walk, evaluator: Evaluator, model: Loaded) -> None:
        for place in request.places:
            while (waiting := self._inbox.next_of(Tokenize, Chat, Check)) is not None:
                assert isinstance(waiting, Tokenize | Chat | Check)
                self._answer(waiting, evaluator, model)
            if self._abort.asked:
                raise Interrupted
            self._evaluated(request.request, evaluator.at(request.path, place, request.top), evaluator)

    def _look_ahead(self, request: Lookahead, evaluator: Evaluator) -> None:
        # One call for all, if the server computes them together; else one call each: the first branch is answered
        # first, and a key waits for one call at most.
        branches = request.branches
        parts = [branches] if branches and evaluator.served.at_once else [[branch] for branch in branches]
        for part in parts:
            if self._inbox.ending:
                raise Interrupted
            began = time.perf_counter()
            distributions = evaluator.look_ahead(request.path, part, request.top)
            seconds = time.perf_counter() - began
            mentioned = {token for distribution in distributions for token in distribution.ids}
            pieces = self._pieces(evaluator, mentioned)
            self._send(LookaheadDone(request.request, part, distributions, pieces, seconds))

    def _continue(self, request: Continue, evaluator: Evaluator) -> None:
        if not isinstance(request.lens, Raw):
            raise _Fault(LIKELY_ONLY)
        path, flushed_at, end = request.path, 0.0, GOES_ON
        played: list[Chunk] = []
        try:
            while not self._abort.asked:
                (chunk,) = evaluator.evaluate(path, len(path) - 1, request.top)
                played.append(chunk)
                if (now := time.monotonic()) - flushed_at > AUTOPLAY_FLUSH:
                    self._continued(request, path, played, evaluator)
                    flushed_at, played = now, []
                following = chunk.distributions[0].most_likely
                last = len(path) + 1 - len(request.path) == request.most
                if last or evaluator.pieces({following})[following].ends:
                    end = following
                    return
                path = [*path, following]
        finally:
            if played or end != GOES_ON:
                self._continued(request, path, played, evaluator, end)

    def _continued(
        self, request: Continue, path: list[int], played: list[Chunk], evaluator: Evaluator, end: int = GOES_ON
    ) -> None:
        """Sends the tokens played since the last reply; `path` may be longer."""
        start = played[0].start if played else len(path)
        distributions = [chunk.distributions[0] for chunk in played]
        tokens = path[start : start + len(played)]
        mentioned = {token for each in distributions for token in each.ids} | {*tokens, end} - {GOES_ON}
        pieces = self._pieces(evaluator, mentioned)
        seconds = sum(chunk.seconds for chunk in played)
        context = evaluator.served.context
        self._send(Continued(request.request, tokens, distributions, pieces, seconds, context, end=end))

    def _search(self, request: Search, evaluator: Evaluator) -> None:
        if not evaluator.served.searchable:
            raise _Fault(NO_SEARCH)
        began = time.perf_counter()
        result = evaluator.search(request.path, request.query, request.top)
        pieces = self._pieces(evaluator, set(result.tokens))
        seconds = time.perf_counter() - began
        self._send(Found(request.request, *result, pieces, 0, seconds))

    def _tokenize(self, request: Tokenize, evaluator: Evaluator, model: Loaded) -> None:
        def tokenized(text: str) -> list[int]:
            return evaluator.tokenize(text, special=request.parse_special, continues=request.continues)

        limit = evaluator.served.context
        try:
            check_text(request.text, limit, lambda beginning: len(tokenized(beginning)))
            path = tokenized(request.text)
            check_tokens(len(path), limit)
        except TooLong as error:
            raise _Fault(str(error)) from None
        if not path:
            raise _Fault("this text has no tokens in the model's vocabulary")
        name = b"" if model.bos is None else evaluator.pieces({model.bos})[model.bos].data
        spelled = partial(_spelled, bos=model.bos, evaluator=evaluator)
        meant = without_bos(request.text, path, model.bos, name, spelled)
        space = model.space_prefix and not request.continues
        notice = difference(meant, spelled(path), space_prefix=space)
        self._send(Tokenized(request.request, path, self._pieces(evaluator, set(path)), notice=notice))

    def _chat(self, request: Chat, evaluator: Evaluator) -> None:
        conversation = json.loads(request.conversation)
        if set(conversation) != {"messages"}:
            raise _Fault("a server's chat template is given messages alone: leave all beside `messages` out")
        path = evaluator.chat(conversation["messages"])
        try:
            check_tokens(len(path), evaluator.served.context)
        except TooLong as error:
            raise _Fault(str(error)) from None
        if not path:
            raise _Fault("the model's chat template makes no text of these messages")
        self._send(Tokenized(request.request, path, self._pieces(evaluator, set(path)), said=None))

    def _check(self, request: Check, evaluator: Evaluator, model: Loaded) -> None:
        spelled = _spelled(request.path, model.bos, evaluator)
        try:
            text = (spelled.removeprefix(b" ") if model.space_prefix else spelled).decode()
        except UnicodeDecodeError:
            pieces = evaluator.pieces(set(request.path))
            place = no_text([pieces[token].data for token in request.path])
            if place is not None:  # a path that ends inside a character has no text yet
                self._send(Checked(request.request, place))
            return
        path = evaluator.tokenize(text, special=request.parse_special, continues=False)
        self._send(Checked(request.request, None if path == request.path else common_prefix(path, request.path)))


def _spelled(path: Sequence[int], bos: int | None, evaluator: Evaluator) -> bytes:
    """The bytes of a path's tokens, without the BOS that the tokenizer adds."""
    pieces = evaluator.pieces(set(path))
    return b"".join(pieces[token].data for token in (path[1:] if path[:1] == [bos] else path))


def _message(error: Exception) -> str:
    """The message for an error, in one line."""
    if isinstance(error, CallRefused):
        if error.status in (401, 403):
            return "the server wants a key, or another one: TOKEX_SERVER_KEY in the environment holds it"
        return f"the server refuses this: {error}"
    if isinstance(error, InvalidAnswer):
        return f"the server's answer cannot be right: {error}"
    return str(error)
