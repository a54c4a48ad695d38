"""The numbers of two models over one text: A, the game's, and B. All are computed strictly.

Where memory has no room for both engines, B's runs after A's has ended, and then A's again.
"""

import logging
import math
import queue
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from tokex_gguf import config
from tokex_gguf.cli.report import FIRST_REQUEST, EvaluationFailed
from tokex_gguf.engine.backend import Connect, Delivery
from tokex_gguf.engine.protocol import (
    Against,
    Compared,
    EngineDied,
    EngineFailed,
    Evaluated,
    EvaluateStrictly,
    Export,
    Exported,
    Failed,
    Load,
    Loaded,
    MeasureNoise,
    Noise,
    Reply,
    Request,
    Tokenize,
    Tokenized,
)
from tokex_gguf.models.preflight import UnusableModel, memory_of
from tokex_gguf.play.game import Prompt, Turns
from tokex_gguf.play.session import Session
from tokex_gguf.shell.rows import RowsFolder
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.system.console import say
from tokex_gguf.system.files import create_private
from tokex_gguf.values.byte_alignment import Rates, Tokenisation, align, rates, single
from tokex_gguf.values.difference import Difference
from tokex_gguf.values.distribution import TokenLogprob
from tokex_gguf.values.figures import Figures, figures
from tokex_gguf.values.formatting import size_of, system_reason
from tokex_gguf.values.record import record, replace
from tokex_gguf.values.tokens import offsets
from tokex_gguf.values.tree import Node

POSITIONS_AT_ONCE = 32
"""Positions whose rows go from one engine to the other together: 19 MB for a vocabulary of 152,000."""
FREE_DISK = 200_000_000
"""Bytes of the disk that stay free."""
SPARE_CELLS = 512
"""KV cells besides those of a prompt, at the most."""
LOGPROB_BYTES = 4
"""Bytes of a log-probability in a row."""

_NONSENSE = "the engine's reply makes no sense"

log = logging.getLogger(__name__)


@record
class Second:
    """B: the model to compare with, and how it is loaded."""

    load: Load
    free: int
    """Bytes of available memory before any model was loaded; 0: unknown."""


@record
class SameVocabulary:
    """Both models have the same vocabulary, so that whole distributions are compared."""

    differences: Sequence[Difference]
    """The difference at each position."""
    figures: Figures | None
    """None for a text of one token."""
    noise_bits: float
    """How far apart two strict answers of one model to one question can be."""


@record
class OtherVocabulary:
    """The models tokenise the text differently: their numbers are compared for the same bytes."""

    deltas: Mapping[int, float]
    """The delta in bits by A's token positions, where B has boundaries at both ends of the token."""
    perplexity: tuple[float | None, float | None]
    """The perplexity of A's tokens, and of B's, which are other ones."""


@record
class VersusResult:
    """A finished comparison."""

    session: Session
    """A's session, with strict answers only."""
    path: str
    """B's file."""
    model: Loaded
    """B's model."""
    found: SameVocabulary | OtherVocabulary
    rates: Rates | None
    """Bits per byte and per word; None if no token was predicted."""
    notices: tuple[str, ...] = ()
    """Remarks on the numbers, for the user."""


def compare(runtime: Runtime, session: Session, second: Second, connect: Connect) -> VersusResult:
    """Compares the evaluated prompt of a game with B. Raises EvaluationFailed.

    `connect` starts engines. The game's own engine may be closed afterwards.
    """
    model, load = session.game.model, session.game.settings.load
    assert model is not None
    game_engine = _GameEngine(runtime)
    session = _with_strict_answers(game_engine, session)
    first = replace(load, path=session.game.settings.model.key, kv=model.cells or load.kv)
    both = _both_fit(session, first, second)
    if not both:
        say(f"memory has no room for both models at once: {Path(second.load.path).name} runs after the other one")
        runtime.close()
    # Not in the system's folder for temporary files: on some machines that is memory, and the rows may need more.
    with closing(RowsFolder(config.state_folder() / "rows")) as rows, ExitStack() as engines:
        try:
            folder = rows.folder()
        except OSError as error:
            raise EvaluationFailed(f"{config.state_folder()}: {system_reason(error)}", usage=False) from None
        b = engines.enter_context(closing(_OwnEngine(connect, second.load)))

        def reopen_a() -> _AskableEngine:
            b.close()
            return engines.enter_context(closing(_OwnEngine(connect, first)))

        return _compare_with(
            session, b, _BothEngines(game_engine, folder) if both else _OneEngineAtATime(reopen_a, folder)
        )


def _both_fit(session: Session, first: Load, second: Second) -> bool:
    """Whether memory has room for both models, each with the cells for the prompt."""
    if not second.free or first.rpc:
        return True
    # Strict answers use cells of their own, for twice the prompt and some more.
    cells = max(session.game.context, second.load.context) + 2 * session.game.prompt.tip.depth + SPARE_CELLS
    try:
        sizes = [memory_of(Path(load.path), cells=cells, kv=load.kv) for load in (first, second.load)]
    except UnusableModel as error:
        raise EvaluationFailed(str(error), usage=True) from None
    log.info("both models take %s, %s were available", size_of(sum(sizes)), size_of(second.free))
    return sum(sizes) <= second.free


def _compare_with(
    session: Session, engine_b: "_OwnEngine", engines: "_BothEngines | _OneEngineAtATime"
) -> VersusResult:
    """The comparison of A's session with B's engine. Raises EvaluationFailed."""
    a, b = session.game.model, engine_b.loaded()
    assert a is not None
    path, text = session.game.prompt.tip.path(), _text(session)
    pieces = [session.game.piece(token).data for token in path]
    if a.vocabulary and a.vocabulary == b.vocabulary:
        differences, noise = engines.differences(engine_b, path, b.vocab_size)
        taken = [None, *(difference.taken for difference in differences[:-1])]
        cut_a = _tokenisation(pieces, [one and one.a for one in taken], text)
        cut_b = _tokenisation(pieces, [one and one.b for one in taken], text)
        bos_notice = f"{engine_b.called}begins texts with other special tokens: it is given those of the first model"
        return VersusResult(
            session,
            engine_b.path,
            b,
            SameVocabulary(differences, figures(differences), noise),
            rates(align(cut_a, cut_b), text),
            () if a.bos == b.bos else (bos_notice,),
        )
    if session.game.settings.chat:
        reason = "has other tokens, and would be told the turns in another way: leave --chat out"
        raise EvaluationFailed(f"--chat --versus: {engine_b.called}{reason}", usage=True)
    taken_a = [node.strict_taken for node in session.game.prompt.tip.nodes()]
    taken_b, pieces_b = _strict_answers_of(engine_b, session)
    cut_a = _tokenisation(pieces, taken_a, text)
    stretches = align(cut_a, _tokenisation(pieces_b, taken_b, text))
    deltas = {token: one.delta_bits for token, one in single(cut_a, stretches).items() if one.delta_bits is not None}
    comparison = OtherVocabulary(deltas, (perplexity(taken_a), perplexity(taken_b)))
    return VersusResult(session, engine_b.path, b, comparison, rates(stretches, text))


# --- rows, from one engine to the other


class _BothEngines:
    """Both engines run: the rows of a few positions go through a file, then those of the next ones."""

    def __init__(self, engine_a: "_AskableEngine", folder: Path) -> None:
        self._engine_a, self._folder = engine_a, folder

    def differences(self, b: "_OwnEngine", path: list[int], vocab_size: int) -> tuple[list[Difference], float]:  # noqa: ARG002
        """The difference at each position of the path, and the noise in bits."""
        differences: list[Difference] = []
        for start, end in _position_ranges(path):
            file = _export(b, path, start, end, self._folder)
            differences += _against(self._engine_a, path, start, end, file)
        return differences, max(_noise(self._engine_a), _noise(b))


class _OneEngineAtATime:
    """A's engine starts after B's has ended: all rows are kept in files meanwhile."""

    def __init__(self, start_a: "Callable[[], _AskableEngine]", folder: Path) -> None:
        self._start_a, self._folder = start_a, folder

    def differences(self, b: "_OwnEngine", path: list[int], vocab_size: int) -> tuple[list[Difference], float]:
        """As in `_BothEngines`. Raises EvaluationFailed if the disk has no room for the rows."""
        size, free = len(path) * vocab_size * LOGPROB_BYTES, shutil.disk_usage(self._folder).free - FREE_DISK
        if size > free:
            reason = f"its numbers take {size_of(size)} on the disk meanwhile, and there are {size_of(max(0, free))} at"
            raise EvaluationFailed(f"{b.called}{reason} {self._folder.parent}: take a shorter text", usage=False)
        say(f"its numbers take {size_of(size)} on the disk meanwhile, at {self._folder.parent}")
        noise = _noise(b)
        files = [_export(b, path, start, end, self._folder) for start, end in _position_ranges(path)]
        a = self._start_a()
        differences: list[Difference] = []
        for (start, end), file in zip(_position_ranges(path), files, strict=True):
            differences += _against(a, path, start, end, file)
        return differences, max(noise, _noise(a))


def _position_ranges(path: list[int]) -> list[tuple[int, int]]:
    """Ranges of positions that are compared together: the first, and the one after the last."""
    return [(start, min(start + POSITIONS_AT_ONCE, len(path))) for start in range(0, len(path), POSITIONS_AT_ONCE)]


def _export(b: "_OwnEngine", path: list[int], start: int, end: int, folder: Path) -> Path:
    """Lets B write its rows for some positions to a file; returns the file."""
    file = folder / str(start)
    create_private(file).close()
    _single_answer(b, Exported, lambda number: Export(number, path, start, end, str(file)))
    return file


def _against(a: "_AskableEngine", path: list[int], start: int, end: int, file: Path) -> list[Difference]:
    """The differences of A from B's rows in a file, which is removed."""
    differences: list[Difference] = []
    for reply in a.ask(lambda number: Against(number, path, start, end, str(file), "", 1)):
        if not isinstance(reply, Compared) or reply.start != start + len(differences) or not reply.differences:
            raise EvaluationFailed(f"{a.called}{_NONSENSE}", usage=False)
        differences += reply.differences
        if len(differences) >= end - start:
            break
    file.unlink()
    return differences


# --- engines


class _AskableEngine(Protocol):
    """An engine that answers one request after the other."""

    @property
    def called(self) -> str:
        """The beginning of the engine's error messages."""

    def ask(self, make_request: Callable[[int], Request]) -> Iterator[Reply]:
        """The answers to a request that `made` creates from a number. Raises EvaluationFailed."""


R = TypeVar("R", bound=Reply)
_EngineMessage: TypeAlias = Reply | EngineDied


def _answers(messages: Iterator[_EngineMessage], number: int, called: str) -> Iterator[Reply]:
    """The answers to one request among an engine's messages. Raises EvaluationFailed."""
    for reply in messages:
        match reply:
            case EngineDied(reason):
                raise EvaluationFailed(f"{called}the engine stopped ({reason})", usage=False)
            case EngineFailed(reason):
                raise EvaluationFailed(f"{called}{reason}", usage=False)
            case Failed(request, reason, context) if request == number:
                raise EvaluationFailed(f"{called}{reason}", usage=context is not None)
            case Tokenized() | Evaluated() | Exported() | Compared() | Noise() if reply.request == number:
                yield reply
            case _:
                pass


def _single_answer(engine: _AskableEngine, kind: type[R], make_request: Callable[[int], Request]) -> R:
    """The only answer to a request. Raises EvaluationFailed."""
    reply = next(engine.ask(make_request))
    if not isinstance(reply, kind):
        raise EvaluationFailed(f"{engine.called}{_NONSENSE}", usage=False)
    return reply


class _GameEngine:
    """The game's engine."""

    called = ""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._number = FIRST_REQUEST

    def ask(self, make_request: Callable[[int], Request]) -> Iterator[Reply]:
        while self._runtime.session.game.owed:  # answers to earlier requests
            self._runtime.wait()
        self._number += 1
        return _answers(self._runtime.ask(make_request(self._number)), self._number, self.called)


class _OwnEngine:
    """An engine started for the comparison."""

    def __init__(self, connect: Connect, load: Load) -> None:
        self.path = load.path
        self.called = f"{Path(load.path).name}: "
        self._inbox: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        try:
            self._engine = connect(self._inbox.put)
        except OSError as error:
            raise EvaluationFailed(f"{self.called}{system_reason(error)}", usage=False) from None
        self._open = True
        self._number = 0
        self._engine.send(load)

    def _messages(self) -> Iterator[_EngineMessage]:
        while True:
            yield self._inbox.get()

    def loaded(self) -> Loaded:
        """The engine's description of its model. Raises EvaluationFailed."""
        for reply in self._messages():
            match reply:
                case Loaded():
                    return reply
                case EngineFailed(reason):
                    raise EvaluationFailed(reason if self.path in reason else f"{self.called}{reason}", usage=True)
                case EngineDied(reason):
                    raise EvaluationFailed(f"{self.called}the engine stopped ({reason})", usage=False)
                case _:
                    pass
        raise AssertionError

    def ask(self, make_request: Callable[[int], Request]) -> Iterator[Reply]:
        self._number += 1
        self._engine.send(make_request(self._number))
        return _answers(self._messages(), self._number, self.called)

    def close(self) -> None:
        """Ends the engine."""
        if self._open:
            self._open = False
            self._engine.close()


def _noise(engine: _AskableEngine) -> float:
    return _single_answer(engine, Noise, MeasureNoise).bits


# --- the models' answers


def _with_strict_answers(engine: _AskableEngine, session: Session) -> Session:
    """The session with the same prompt, with strict answers only."""
    tip = session.game.prompt.tip
    nodes, start = list(tip.nodes()), tip.first_not_strict()
    if start < tip.depth:
        for reply in _evaluated(engine, tip.path(), start, session):
            for node, distribution in zip(nodes[reply.start :], reply.distributions, strict=False):
                node.attach_strict(distribution)
            for node, taken in zip(nodes[reply.start + 1 :], reply.taken, strict=False):
                node.attach_strict_taken(taken)
    top = Node(None, -1)
    copies: dict[Node, Node] = {}
    copy = top
    for node in nodes:
        copies[node] = copy = copy.child(node.token)
        if node.strict_taken is not None:
            copy.attach_strict_taken(node.strict_taken)
        assert node.strict is not None
        copy.attach_strict(node.strict)
    said = session.game.said and frozenset(copies[node] for node in session.game.said)
    game = replace(
        session.game, known=replace(session.game.known, root=top), prompts=(Prompt(copy),), active=0, turns=Turns(said)
    )
    return replace(session, game=game)


def _evaluated(engine: _AskableEngine, path: list[int], start: int, session: Session) -> Iterator[Evaluated]:
    """Strict answers at the positions of a path from `start` on, chunk by chunk."""
    top, reached = session.game.settings.tokens_to_show, start
    for reply in engine.ask(lambda number: EvaluateStrictly(number, path, start, top)):
        if not isinstance(reply, Evaluated) or reply.start != reached or not reply.distributions:
            raise EvaluationFailed(f"{engine.called}{_NONSENSE}", usage=False)
        yield reply
        reached += len(reply.distributions)
        if reached >= len(path):
            return


def _strict_answers_of(b: _OwnEngine, session: Session) -> tuple[list[TokenLogprob | None], list[bytes]]:
    """B's strict answers for its own tokens of the text, and their bytes."""
    settings = session.game.settings
    tokenized = _single_answer(b, Tokenized, lambda number: Tokenize(number, settings.text, settings.parse_special))
    if not tokenized.path:
        raise EvaluationFailed(f"{b.called}this text has no tokens in the model's vocabulary", usage=False)
    taken: list[TokenLogprob | None] = [None]
    for reply in _evaluated(b, tokenized.path, 0, session):
        taken += reply.taken
    return taken, [tokenized.pieces[token].data for token in tokenized.path]


def _text(session: Session) -> bytes:
    """The bytes of the prompt's text; of a chat, the output of its template."""
    if session.game.settings.chat:
        return b"".join(session.game.piece(token).data for token in session.game.prompt.tip.path())
    return session.game.settings.text.encode()


def _tokenisation(pieces: list[bytes], taken: Sequence[TokenLogprob | None], text: bytes) -> Tokenisation:
    """The tokens of the text, with the surprisal of each."""
    bits = [None if token is None else max(0.0, -token.logprob / math.log(2)) for token in taken]
    return Tokenisation.of(offsets(pieces, text), bits, len(text))


def perplexity(taken: Sequence[TokenLogprob | None]) -> float | None:
    """The perplexity of some tokens; None if none was predicted.

    >>> perplexity([None, TokenLogprob(-math.log(4), 2), TokenLogprob(-math.log(4), 1)])
    4.0
    """
    logprobs = [token.logprob for token in taken if token is not None]
    mean = math.fsum(logprobs) / len(logprobs) if logprobs else None
    return None if mean is None else math.exp(-mean) if mean > -700 else math.inf
