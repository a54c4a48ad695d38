"""What a real engine has answered, kept in a file, and an engine that answers so again: without a model, at once.

An answer belongs to its question: requests carry whole paths, so it is the same whenever it is asked for. Candidates
below the table are left out, and numbers are rounded to what a screen shows, so that the file is small.
"""

import json
import lzma
import queue
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from tokex_gguf.engine.backend import Connect, Delivery
from tokex_gguf.engine.protocol import (
    Against,
    Applied,
    EngineDied,
    EngineFailed,
    Evaluate,
    EvaluateStrictly,
    Failed,
    Load,
    Loading,
    Lookahead,
    Ping,
    Pong,
    Reply,
    Request,
    Stop,
    Tokenize,
    decode,
    encode,
)
from tokex_gguf.values.difference import TokenPair
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.tokens import Piece

ROWS = 30
"""Candidates that are kept of a distribution."""
DIGITS = 5
"""Of logarithms and entropies, behind the point."""
PATIENCE = 120.0
"""Seconds that the real engine may take for an answer."""


class NotRecorded(Exception):
    """Something is asked for that was not asked for before."""


class Answers:
    """Replies by the requests that they answer; a real engine is asked for those that are missing, if there is one.

    There may be several models, each with a name of its own; the only one has none.
    """

    def __init__(self, connect: Connect | None = None) -> None:
        """`connect` makes the real engines, once they are needed."""
        self._said: dict[str, list[Reply]] = {}
        self._pieces: dict[int, Piece] = {}
        self._connect = connect
        self._engines: dict[str, Asked] = {}
        self._loads: dict[str, Load] = {}

    def close(self) -> None:
        """Ends the real engines."""
        for engine in self._engines.values():
            engine.close()

    @classmethod
    def read(cls, path: Path) -> "Answers":
        """Those that were written to a file."""
        answers = cls()
        said, pieces = json.loads(lzma.decompress(path.read_bytes()))
        for asked, replies in said:
            answers._said[asked] = [_reply(reply) for reply in replies]
        answers._pieces = {token: Piece(data.encode("latin-1"), *flags) for token, data, *flags in pieces}
        return answers

    def write(self, path: Path) -> None:
        """Writes all answers to a file."""
        said = [(asked, [_line(reply) for reply in replies]) for asked, replies in self._said.items()]
        pieces = [(token, piece.data.decode("latin-1"), *piece[1:]) for token, piece in sorted(self._pieces.items())]
        path.write_bytes(lzma.compress(json.dumps([said, pieces], separators=(",", ":")).encode(), preset=9))

    def to(self, request: Request, model: str = "") -> list[Reply]:
        """What a model's engine says to a request. Raises NotRecorded."""
        if isinstance(request, Load):
            self._loads[model] = request
        key = model + _key(request)
        if key not in self._said:
            if self._connect is None:
                raise NotRecorded(f"{type(request).__name__} with another content: see `uv run poe screens`")
            self._said[key] = [_rounded(reply) for reply in self._really(request, model)]
        return [self._numbered(reply, request) for reply in self._said[key]]

    def _numbered(self, reply: Reply, request: Request) -> Reply:
        """A reply with the request's number and the pieces of all tokens that it mentions."""
        values: dict[str, Any] = {}
        if hasattr(reply, "request"):
            values["request"] = getattr(request, "request", 0)
        if hasattr(reply, "pieces"):
            values["pieces"] = {token: self._pieces[token] for token in _mentioned(reply)}
        return replace(reply, **values)

    def _really(self, request: Request, model: str) -> list[Reply]:
        """What the real engine says to a request."""
        if model not in self._engines:
            assert self._connect
            heard: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
            engine = self._connect(heard.put)
            self._engines[model] = Asked(engine.send, engine.close, heard)
            if request is not self._loads[model]:
                self._really(self._loads[model], model)
        engine_of = self._engines[model]
        engine_of.send(request)
        replies: list[Reply] = []
        while not _complete(request, replies):
            reply = engine_of.heard.get(timeout=PATIENCE)
            assert not isinstance(reply, EngineDied | EngineFailed | Failed), reply
            if not isinstance(reply, Loading):
                replies.append(reply)
                self._pieces |= getattr(reply, "pieces", {})
        return replies


class Asked(NamedTuple):
    """A real engine."""

    send: Callable[[Request], None]
    close: Callable[[], None]
    heard: "queue.SimpleQueue[Delivery]"


class Recorded:
    """An engine that has its answers from a recording, and gives them when it is told to."""

    pid = None

    def __init__(self, answers: Answers, deliver: Callable[[Delivery], None], model: str = "") -> None:
        self._answers = answers
        self._model = model
        self._deliver = deliver
        self._waiting: list[Request] = []

    def send(self, request: Request) -> None:
        """Takes a request. A newer one of its kind makes it worthless, as with the real engine."""
        if not isinstance(request, Load | Tokenize):
            self._waiting = [one for one in self._waiting if not _replaced(one, request)]
        self._waiting.append(request)

    def answer(self) -> bool:
        """Answers what was asked; returns whether that was anything. Raises NotRecorded."""
        asked, self._waiting = self._waiting, []
        for request in asked:
            if isinstance(request, Ping):
                self._deliver(Pong())
            elif not isinstance(request, Stop):
                for reply in self._answers.to(request, self._model):
                    self._deliver(reply)
        return bool(asked)

    def close(self) -> None:
        """Forgets what was asked."""
        self._waiting.clear()


def _replaced(older: Request, newer: Request) -> bool:
    """Whether a request is worthless once there is a newer one."""
    if isinstance(older, Lookahead) and isinstance(newer, Lookahead):
        return older.path != newer.path
    return type(older) is type(newer)


def _key(request: Request) -> str:
    """A request without what differs from one time to the next."""
    if isinstance(request, Load):
        return "Load"
    name, values = json.loads(encode(request))
    values.pop("waited", None)  # whoever waits, the answer is the same
    if isinstance(request, Against):
        values.pop("other")  # by which it is kept
    own: dict[str, object] = {"request": 0, "file": ""}  # a number, and a file that is made anew each time
    return json.dumps([name, values | {field: own[field] for field in own.keys() & values.keys()}])


def _line(reply: Reply) -> str:
    """A reply as a line; distributions as plain numbers, of which the file has few that differ and compresses well."""
    name, values = json.loads(encode(reply))
    if told := getattr(reply, "distributions", None):
        values["distributions"] = [[one.entropy_bits, one.ids.tolist(), one.logprobs.tolist()] for one in told]
    return json.dumps([name, values], separators=(",", ":"))


def _reply(line: str) -> Reply:
    name, values = json.loads(line)
    told = [Distribution.of(*one) for one in values.get("distributions", ())]
    reply = decode(json.dumps([name, values | {"distributions": []} if told else values]).encode())
    assert isinstance(reply, Reply)
    return replace(reply, distributions=told) if told else reply  # type: ignore[arg-type]


def _complete(request: Request, replies: list[Reply]) -> bool:
    """Whether these are all replies to a request."""
    match request:
        case Evaluate() | EvaluateStrictly():
            wanted = len(request.path) - request.start
        case Lookahead():
            wanted = len(request.branches)
        case _:
            return bool(replies)
    return sum(len(getattr(reply, "distributions", ())) for reply in replies) == wanted


def _rounded(reply: Reply) -> Reply:
    """A reply as it is kept: without a number and without pieces."""
    values: dict[str, Any] = {}
    for field in fields(reply):
        value = getattr(reply, field.name)
        if field.name == "request":
            values["request"] = 0
        elif field.name == "pieces":
            values["pieces"] = {}
        elif field.name == "distributions":
            values["distributions"] = [
                Distribution.of(
                    round(one.entropy_bits, DIGITS), one.ids[:ROWS], [round(x, DIGITS) for x in one.logprobs[:ROWS]]
                )
                for one in value
            ]
        elif field.name == "taken":
            values["taken"] = [_short(one) for one in value]
        elif field.name == "differences":
            values["differences"] = [
                replace(
                    one,
                    kl_bits=round(one.kl_bits, DIGITS),
                    reverse_bits=round(one.reverse_bits, DIGITS),
                    rows=tuple(TokenPair(row.token, _short(row.a), _short(row.b)) for row in one.rows),
                )
                for one in value
            ]
        elif field.name in ("fingerprint", "former", "arithmetic"):
            values[field.name] = ""  # of a machine and its file, and not on the screen
    return replace(reply, **values)


def _short(taken: TokenLogprob) -> TokenLogprob:
    return TokenLogprob(round(taken.logprob, DIGITS), taken.rank)


def _mentioned(reply: Reply) -> set[int]:
    tokens = {*getattr(reply, "path", ()), *getattr(reply, "tokens", ())}
    for distribution in getattr(reply, "distributions", ()):
        tokens |= set(distribution.ids)
    for difference in getattr(reply, "differences", ()):
        tokens |= {row.token for row in difference.rows}
    if isinstance(reply, Applied):
        tokens |= {*reply.view.ids}
    return tokens
