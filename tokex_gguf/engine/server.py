"""The engine's loop: newest evaluation first, everything else in order.

One thread reads requests, so that a newer one can end a decode that has become
unnecessary; the other answers them.
"""

import threading
from collections import deque
from pathlib import Path
from typing import BinaryIO

from tokex_gguf.engine.evaluation import ContextFull, Evaluator
from tokex_gguf.engine.llama import Interrupted, Llama, ModelError, Vocabulary
from tokex_gguf.engine.protocol import (
    Continue,
    Continued,
    Evaluate,
    Evaluated,
    Failed,
    Foresee,
    Foreseen,
    Load,
    Loaded,
    Loading,
    Reply,
    Request,
    Stop,
    Tokenize,
    Tokenized,
    decode,
    encode,
)
from tokex_gguf.tokens import Piece

QUIET = 0.02
"""Seconds without a request before the engine looks ahead."""


class Inbox:
    """Requests as they come in, from a thread that only reads."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()
        self._current: Request | None = None
        self._closed = False
        self.interrupted = False
        """Whether something came in that ends what is under way."""

    def read(self) -> None:
        """Reads to the end of the source."""
        for line in self._source:
            request = decode(line)
            with self._changed:
                self._take(request)  # type: ignore[arg-type]
                self._changed.notify()
        with self._changed:
            self._closed = self.interrupted = True
            self._changed.notify()

    def _take(self, request: Request) -> None:
        """Queues a request, and drops and interrupts those that it makes worthless."""
        if isinstance(request, Load | Tokenize):
            self._waiting.append(request)
            return
        # Only the newest of what takes long is worth anything; foresight waits for all else.
        replaced: tuple[type[Request], ...] = (Evaluate, Continue, Foresee)
        if isinstance(request, Foresee):
            replaced = (Foresee, Continue)
        self._waiting = deque(r for r in self._waiting if not isinstance(r, replaced))
        if isinstance(self._current, replaced):
            self.interrupted = True
        if not isinstance(request, Stop):
            self._waiting.append(request)

    def _foresight_alone(self) -> bool:
        return not self._closed and all(isinstance(request, Foresee) for request in self._waiting)

    def next(self) -> Request | None:
        """Waits for the next request; None when the other side is gone."""
        with self._changed:
            self._current = None
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._foresight_alone():
                # Looking ahead must not take the processor from the frame that is drawn just now.
                self._changed.wait_for(lambda: not self._foresight_alone(), QUIET)
            if self._closed:
                return None
            self.interrupted = False
            foresight = [r for r in self._waiting if isinstance(r, Foresee)]
            self._current = next((r for r in self._waiting if r not in foresight), None) or foresight[0]
            self._waiting.remove(self._current)
            return self._current


class Server:
    """Answers requests with one model."""

    def __init__(self, inbox: Inbox, sink: BinaryIO) -> None:
        self._inbox = inbox
        self._sink = sink
        self._told: set[int] = set()
        self._progress = -1.0

    def _send(self, reply: Reply) -> None:
        self._sink.write(encode(reply))
        self._sink.flush()

    def serve(self) -> None:
        """Answers until the other side is gone. The first request must be Load."""
        load = self._inbox.next()
        if not isinstance(load, Load):
            return
        try:
            model = self._load(load)
        except ModelError as error:
            self._send(Failed(None, str(error)))
            return
        evaluator = Evaluator(model)
        while request := self._inbox.next():
            try:
                if isinstance(request, Evaluate):
                    self._evaluate(request, model, evaluator)
                elif isinstance(request, Tokenize):
                    self._tokenize(request, model.vocabulary)
                elif isinstance(request, Continue):
                    self._continue(request, model, evaluator)
                elif isinstance(request, Foresee):
                    self._foresee(request, model, evaluator)
            except Interrupted:
                continue
            except ContextFull as error:
                self._send(Failed(request.request, str(error), error.room))  # type: ignore[union-attr]
            except ModelError as error:
                self._send(Failed(request.request, str(error)))  # type: ignore[union-attr]

    def _load(self, load: Load) -> Llama:
        model = Llama(
            Path(load.path),
            context=load.context,
            threads=load.threads,
            progress=self._report,
            should_stop=lambda: self._inbox.interrupted,
        )
        self._send(
            Loaded(
                model.name,
                model.architecture,
                model.quantization,
                model.vocabulary.size,
                model.cells,
                model.context_limit,
                model.vocabulary.bos,
                model.vocabulary.space_prefix(),
            )
        )
        return model

    def _report(self, fraction: float) -> None:
        if fraction - self._progress >= 0.05:
            self._progress = fraction
            self._send(Loading(fraction))

    def _pieces(self, vocabulary: Vocabulary, tokens: set[int]) -> dict[int, Piece]:
        new = tokens - self._told
        self._told |= new
        return {token: vocabulary.piece(token) for token in new}

    def _tokenize(self, request: Tokenize, vocabulary: Vocabulary) -> None:
        path = vocabulary.tokenize(request.text, parse_special=request.parse_special)
        if not path:
            raise ModelError("this text has no tokens in the model's vocabulary")
        self._send(Tokenized(request.request, path, self._pieces(vocabulary, set(path))))

    def _evaluate(self, request: Evaluate, model: Llama, evaluator: Evaluator) -> None:
        for chunk in evaluator.evaluate(request.path, request.start, request.top, request.asked):
            mentioned = {token for distribution in chunk.distributions for token in distribution.ids}
            self._send(
                Evaluated(
                    request.request,
                    chunk.start,
                    chunk.distributions,
                    chunk.taken,
                    self._pieces(model.vocabulary, mentioned),
                    chunk.decoded,
                    chunk.seconds,
                    model.cells,
                )
            )
            if self._inbox.interrupted:
                raise Interrupted

    def _continue(self, request: Continue, model: Llama, evaluator: Evaluator) -> None:
        path = request.path
        while not self._inbox.interrupted:
            (chunk,) = evaluator.evaluate(path, len(path) - 1, request.top)
            distribution = chunk.distributions[-1]
            self._send(
                Continued(
                    request.request,
                    path[-1],
                    [distribution],
                    self._pieces(model.vocabulary, set(distribution.ids)),
                    chunk.seconds,
                    model.cells,
                )
            )
            following = distribution.ids[0]
            if model.vocabulary.piece(following).ends:
                return
            path = [*path, following]

    def _foresee(self, request: Foresee, model: Llama, evaluator: Evaluator) -> None:
        # The most wanted one first and alone: it is there after one token's decode.
        for tokens in (request.tokens[:1], request.tokens[1:]):
            if not tokens or self._inbox.interrupted:
                continue
            try:
                distributions = evaluator.foresee(request.path, tokens, request.top)
            except (ContextFull, ModelError):
                return  # nobody asked: who goes there will be told
            mentioned = {token for distribution in distributions for token in distribution.ids}
            pieces = self._pieces(model.vocabulary, mentioned)
            self._send(Foreseen(request.request, tokens[: len(distributions)], distributions, pieces))
