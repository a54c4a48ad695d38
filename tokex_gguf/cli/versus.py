"""The numbers of two models over one text: A, which is played, and B. All of them are computed strictly.

Where memory has no room for both engines, B's runs after A's has ended, and A's once more after B's.
"""

import logging
import math
import queue
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from tokex_gguf import config
from tokex_gguf.cli.report import EvaluationFailed
from tokex_gguf.engine.backend import Connect, Delivery
from tokex_gguf.engine.protocol import (
    Against,
    Compared,
    EngineDied,
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
from tokex_gguf.play.session import Prompt, Session
from tokex_gguf.shell.rows import RowsFolder
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.system.console import say
from tokex_gguf.system.files import create_private
from tokex_gguf.values.byte_alignment import Rates, Tokenisation, align, rates, single
from tokex_gguf.values.difference import Difference
from tokex_gguf.values.distribution import Taken
from tokex_gguf.values.figures import Figures, figures
from tokex_gguf.values.formatting import size_of, system_reason
from tokex_gguf.values.record import record
from tokex_gguf.values.tokens import offsets
from tokex_gguf.values.tree import Node

POSITIONS_AT_ONCE = 32
"""Positions whose rows go from one engine to the other together: of a vocabulary of 152,000, they are 19 MB."""
FREE_DISK = 200_000_000
"""Bytes of the disk that are left to others."""
SPARE_CELLS = 512
"""KV cells beside those of a prompt, at the most."""
FLOAT = 4
"""Bytes of a log-probability in a row."""

_NONSENSE = "the engine's reply makes no sense"

log = logging.getLogger(__name__)


@record
class Second:
    """B: the model to compare with, and how it is loaded."""

    load: Load
    free: int
    """Bytes of memory that there were before any model was loaded; 0: unknown."""


@record
class SameVocabulary:
    """Both have the same tokens, so that all of their distributions can be compared."""

    differences: Sequence[Difference]
    """At each position."""
    figures: Figures | None
    """None for a text of one token."""
    noise_bits: float
    """How far apart two strict answers of one model to one question can be."""


@record
class OtherVocabulary:
    """They cut the text into other tokens: what they say of the same bytes can be compared."""

    deltas: Mapping[int, float]
    """By how many bits A makes bytes likelier than B: of the tokens of A around which both have boundaries."""
    perplexity: tuple[float | None, float | None]
    """Of A's tokens and of B's, which are not the same."""


@record
class VersusResult:
    """What came of it."""

    session: Session
    """A's, where the prompt has strict answers alone."""
    path: str
    """B's file."""
    model: Loaded
    """B."""
    found: SameVocabulary | OtherVocabulary
    rates: Rates | None
    """Per byte and per word; None where both have predicted nothing."""
    notices: tuple[str, ...] = ()
    """What should be known of the numbers."""


def compare(game: Runtime, session: Session, second: Second, connect: Connect) -> VersusResult:
    """Compares the evaluated prompt of a game with what B says of it. Raises EvaluationFailed.

    `connect` makes engines for models' files. The game's own may be gone afterwards.
    """
    model, load = session.game.model, session.game.settings.load
    assert model is not None
    played = _Played(game)
    session = _strictly(played, session)
    first = replace(load, path=session.game.settings.model.key, kv=model.cells or load.kv)
    both = _both_fit(session, first, second)
    if not both:
        say(f"memory has no room for both models at once: {Path(second.load.path).name} runs after the other one")
        game.close()
    # Not where files for a moment are, which is memory on some machines: what waits here may be more than that.
    with closing(RowsFolder(config.state_folder() / "rows")) as rows, ExitStack() as engines:
        try:
            folder = rows.folder()
        except OSError as error:
            raise EvaluationFailed(f"{config.state_folder()}: {system_reason(error)}", usage=False) from None
        other = engines.enter_context(closing(_Engine(connect, second.load)))

        def own() -> _Asked:
            other.close()
            return engines.enter_context(closing(_Engine(connect, first)))

        return _compared(session, other, _AtOnce(played, folder) if both else _InTurn(own, folder))


def _both_fit(session: Session, first: Load, second: Second) -> bool:
    """Whether there is memory for both models, each with the cells that the prompt takes."""
    if not second.free or first.rpc:
        return True
    # What is computed strictly has cells of its own, for twice the prompt and some.
    cells = max(session.game.context, second.load.context) + 2 * session.game.prompt.tip.depth + SPARE_CELLS
    try:
        each = [memory_of(Path(load.path), cells=cells, kv=load.kv) for load in (first, second.load)]
    except UnusableModel as error:
        raise EvaluationFailed(str(error), usage=True) from None
    log.info("both models take %s, %s were available", size_of(sum(each)), size_of(second.free))
    return sum(each) <= second.free


def _compared(session: Session, other: "_Engine", way: "_AtOnce | _InTurn") -> VersusResult:
    """What B says, beside A."""
    a, b = session.game.model, other.loaded()
    assert a is not None
    path, text = session.game.prompt.tip.path(), _text(session)
    pieces = [session.game.piece(token).data for token in path]
    if a.vocabulary and a.vocabulary == b.vocabulary:
        differences, noise = way.differences(other, path, b.vocab_size)
        taken = [None, *(one.taken for one in differences[:-1])]
        cut_a = _cut(pieces, [one and one.a for one in taken], text)
        cut_b = _cut(pieces, [one and one.b for one in taken], text)
        begins = f"{other.called}begins texts with other special tokens: it is given those of the first model"
        return VersusResult(
            session,
            other.path,
            b,
            SameVocabulary(differences, figures(differences), noise),
            rates(align(cut_a, cut_b), text),
            () if a.bos == b.bos else (begins,),
        )
    if session.game.settings.chat:
        why = "has other tokens, and would be told the turns in another way: leave --chat out"
        raise EvaluationFailed(f"--chat --versus: {other.called}{why}", usage=True)
    own = [node.strict_taken for node in session.game.prompt.tip.nodes()]
    others, others_pieces = _said_by(other, session)
    cut = _cut(pieces, own, text)
    stretches = align(cut, _cut(others_pieces, others, text))
    deltas = {token: one.delta_bits for token, one in single(cut, stretches).items() if one.delta_bits is not None}
    found = OtherVocabulary(deltas, (perplexity(own), perplexity(others)))
    return VersusResult(session, other.path, b, found, rates(stretches, text))


# --- rows, from one engine to the other


class _AtOnce:
    """Both engines are there: the rows of a few positions wait in a file, and then those of the next ones."""

    def __init__(self, own: "_Asked", folder: Path) -> None:
        self._own, self._folder = own, folder

    def differences(self, other: "_Engine", path: list[int], vocab_size: int) -> tuple[list[Difference], float]:  # noqa: ARG002
        """How both differ at each position of the path, and how far apart equal answers can be."""
        found: list[Difference] = []
        for start, end in _parts(path):
            file = _export(other, path, start, end, self._folder)
            found += _against(self._own, path, start, end, file)
        return found, max(_noise(self._own), _noise(other))


class _InTurn:
    """A's engine comes when B's has ended: all rows wait in files."""

    def __init__(self, own: "Callable[[], _Asked]", folder: Path) -> None:
        self._own, self._folder = own, folder

    def differences(self, other: "_Engine", path: list[int], vocab_size: int) -> tuple[list[Difference], float]:
        """As `_AtOnce` has it. Raises EvaluationFailed where the disk has no room for them."""
        size, free = len(path) * vocab_size * FLOAT, shutil.disk_usage(self._folder).free - FREE_DISK
        if size > free:
            why = f"its numbers take {size_of(size)} on the disk meanwhile, and there are {size_of(max(0, free))} at"
            raise EvaluationFailed(f"{other.called}{why} {self._folder.parent}: take a shorter text", usage=False)
        say(f"its numbers take {size_of(size)} on the disk meanwhile, at {self._folder.parent}")
        noise = _noise(other)
        files = [_export(other, path, start, end, self._folder) for start, end in _parts(path)]
        own = self._own()
        found: list[Difference] = []
        for (start, end), file in zip(_parts(path), files, strict=True):
            found += _against(own, path, start, end, file)
        return found, max(noise, _noise(own))


def _parts(path: list[int]) -> list[tuple[int, int]]:
    """Positions that are compared together: the first, and the one behind the last."""
    return [(start, min(start + POSITIONS_AT_ONCE, len(path))) for start in range(0, len(path), POSITIONS_AT_ONCE)]


def _export(other: "_Engine", path: list[int], start: int, end: int, folder: Path) -> Path:
    """Has B's rows for some positions written; returns where."""
    file = folder / str(start)
    create_private(file).close()
    _only(other, Exported, lambda number: Export(number, path, start, end, str(file)))
    return file


def _against(own: "_Asked", path: list[int], start: int, end: int, file: Path) -> list[Difference]:
    """How A differs from rows in a file, which is removed then."""
    found: list[Difference] = []
    for reply in own.ask(lambda number: Against(number, path, start, end, str(file), 1)):
        if not isinstance(reply, Compared) or reply.start != start + len(found) or not reply.differences:
            raise EvaluationFailed(f"{own.called}{_NONSENSE}", usage=False)
        found += reply.differences
        if len(found) >= end - start:
            break
    file.unlink()
    return found


# --- engines


class _Asked(Protocol):
    """An engine that is asked one thing after the other."""

    @property
    def called(self) -> str:
        """What its failures begin with."""

    def ask(self, made: Callable[[int], Request]) -> Iterator[Reply]:
        """What it says to a request, which is made with a number. Raises EvaluationFailed where it cannot."""


R = TypeVar("R", bound=Reply)
_Said: TypeAlias = Reply | EngineDied


def _answers(said: Iterator[_Said], number: int, called: str) -> Iterator[Reply]:
    """The answers to a request among all that an engine says. Raises EvaluationFailed."""
    for reply in said:
        match reply:
            case EngineDied(reason):
                raise EvaluationFailed(f"{called}the engine stopped ({reason})", usage=False)
            case Failed(request, reason, context) if request in (number, None):
                raise EvaluationFailed(f"{called}{reason}", usage=context is not None)
            case Tokenized() | Evaluated() | Exported() | Compared() | Noise() if reply.request == number:
                yield reply
            case _:
                pass


def _only(engine: _Asked, kind: type[R], made: Callable[[int], Request]) -> R:
    """The one answer to a request. Raises EvaluationFailed."""
    reply = next(engine.ask(made))
    if not isinstance(reply, kind):
        raise EvaluationFailed(f"{engine.called}{_NONSENSE}", usage=False)
    return reply


class _Played:
    """The game's engine."""

    called = ""

    def __init__(self, game: Runtime) -> None:
        self._game = game
        self._number = 1_000_000_000  # no game has made so many requests

    def ask(self, made: Callable[[int], Request]) -> Iterator[Reply]:
        while self._game.session.game.owed:  # what is still to come is no answer to this
            self._game.wait()
        self._number += 1
        return _answers(self._game.ask(made(self._number)), self._number, self.called)


class _Engine:
    """One of our own."""

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

    def _said(self) -> Iterator[_Said]:
        while True:
            yield self._inbox.get()

    def loaded(self) -> Loaded:
        """What it says of its model. Raises EvaluationFailed."""
        for reply in self._said():
            match reply:
                case Loaded():
                    return reply
                case Failed(_, reason):
                    raise EvaluationFailed(reason if self.path in reason else f"{self.called}{reason}", usage=True)
                case EngineDied(reason):
                    raise EvaluationFailed(f"{self.called}the engine stopped ({reason})", usage=False)
                case _:
                    pass
        raise AssertionError

    def ask(self, made: Callable[[int], Request]) -> Iterator[Reply]:
        self._number += 1
        self._engine.send(made(self._number))
        return _answers(self._said(), self._number, self.called)

    def close(self) -> None:
        """Ends it."""
        if self._open:
            self._open = False
            self._engine.close()


def _noise(engine: _Asked) -> float:
    return _only(engine, Noise, MeasureNoise).bits


# --- what they say


def _strictly(engine: _Asked, session: Session) -> Session:
    """The same prompt with strict answers, and with no other ones."""
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
        session.game, known=replace(session.game.known, root=top), prompts=(Prompt(copy),), active=0, said=said
    )
    return replace(session, game=game)


def _evaluated(engine: _Asked, path: list[int], start: int, session: Session) -> Iterator[Evaluated]:
    """Strict answers at the positions of a path from `start` on, chunk by chunk."""
    top, reached = session.game.settings.tokens_to_show, start
    for reply in engine.ask(lambda number: EvaluateStrictly(number, path, start, top)):
        if not isinstance(reply, Evaluated) or reply.start != reached or not reply.distributions:
            raise EvaluationFailed(f"{engine.called}{_NONSENSE}", usage=False)
        yield reply
        reached += len(reply.distributions)
        if reached >= len(path):
            return


def _said_by(other: _Engine, session: Session) -> tuple[list[Taken | None], list[bytes]]:
    """What B says of each of its own tokens for the text, and their bytes."""
    settings = session.game.settings
    cut = _only(other, Tokenized, lambda number: Tokenize(number, settings.text, settings.parse_special))
    if not cut.path:
        raise EvaluationFailed(f"{other.called}this text has no tokens in the model's vocabulary", usage=False)
    taken: list[Taken | None] = [None]
    for reply in _evaluated(other, cut.path, 0, session):
        taken += reply.taken
    return taken, [cut.pieces[token].data for token in cut.path]


def _text(session: Session) -> bytes:
    """The bytes that the prompt's tokens spell; those of a chat are what its template made of it."""
    if session.game.settings.chat:
        return b"".join(session.game.piece(token).data for token in session.game.prompt.tip.path())
    return session.game.settings.text.encode()


def _cut(pieces: list[bytes], taken: Sequence[Taken | None], text: bytes) -> Tokenisation:
    """The text in tokens, with what was said of each."""
    bits = [None if one is None else max(0.0, -one.logprob / math.log(2)) for one in taken]
    return Tokenisation.of(offsets(pieces, text), bits, len(text))


def perplexity(taken: Sequence[Taken | None]) -> float | None:
    """That of some tokens; None where none was predicted.

    >>> perplexity([None, Taken(-math.log(4), 2), Taken(-math.log(4), 1)])
    4.0
    """
    logprobs = [one.logprob for one in taken if one is not None]
    mean = math.fsum(logprobs) / len(logprobs) if logprobs else None
    return None if mean is None else math.exp(-mean) if mean > -700 else math.inf
