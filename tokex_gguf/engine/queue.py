"""Which request is answered next, and which others it makes worthless: rules that engines and the screen share.

Only the newest evaluation is worth anything, and background requests come last.

Strict requests, and the measurement of the noise, take long and run in the background. So a request that a key makes
(Evaluate, Continue, Apply, Roll, Search), and Stop, ends those that run and drops those that wait, without an answer:
their sender asks again when no other request is open, and nothing is decoded twice. One strict request never ends
another: one engine may be asked for both sides of a comparison. But each ends the measurement of the noise, which takes
seconds and nobody waits for. Strict evaluations come before the comparisons, which need them; and all strict requests
come before lookahead, which they end.

Lookahead does not end lookahead from the same path: the later request is answered after the earlier one.
"""

from typing import get_args

from tokex_gguf.engine.protocol import (
    Apply,
    Chat,
    Check,
    ConnectServer,
    Constrain,
    Continue,
    Evaluate,
    EvaluateStrictly,
    Force,
    Load,
    Lookahead,
    MeasureNoise,
    Ping,
    Request,
    Roll,
    Search,
    Spell,
    Stop,
    Strict,
    Tokenize,
    Walk,
)

_BACKGROUND: tuple[type[Request], ...] = (*get_args(Strict), MeasureNoise, Walk)
"""Requests that take long and give way to every request that a key makes."""
_ENDED_BY: dict[type[Request], tuple[type[Request], ...]] = {
    # Each of these is answered, and so are the requests that wait before it.
    **dict.fromkeys((Load, ConnectServer, Tokenize, Chat, Constrain, Force, Spell, Ping), ()),
    # A view of the new path is asked for next.
    **dict.fromkeys((Evaluate, Continue), (Evaluate, Continue, Apply, Lookahead, *_BACKGROUND)),
    Stop: (Evaluate, Continue, Lookahead, *_BACKGROUND),
    # These follow an evaluation of their path, and wait for it.
    Apply: (Apply, Continue, Lookahead, *_BACKGROUND),
    Roll: (Roll, Continue, Lookahead, *_BACKGROUND),
    Search: (Search, Lookahead, *_BACKGROUND),
    **dict.fromkeys(get_args(Strict), (Lookahead, MeasureNoise, Walk)),
    MeasureNoise: (Lookahead, Walk),
    Lookahead: (Lookahead, Continue, Walk),
    Walk: (Walk,),
    Check: (Check,),  # only the answer to the newest is used
}
"""For each kind, the kinds that it ends and drops."""
_TURNS: tuple[tuple[type[Request], ...], ...] = (
    (EvaluateStrictly,),
    (*get_args(Strict), MeasureNoise),
    (Lookahead, Check),
    (Walk,),
)
"""Kinds that are answered after all others, in this order: nobody waits for lookahead, nor for the check against the
tokenizer's own tokens, and a walk takes longest."""


def ends(newer: type[Request], older: type[Request], *, one_path: bool) -> bool:
    """Whether a request ends, or drops, one that came before it. `one_path`: whether both are of the same path."""
    if newer is older is Lookahead and one_path:
        return False
    return older in _ENDED_BY[newer]


class Queue:
    """The requests that wait, and the one that is being answered."""

    def __init__(self) -> None:
        self.waiting: list[Request] = []
        self.current: Request | None = None

    def put(self, request: Request) -> bool:
        """Adds a request, and drops those that it makes worthless. Returns whether it ends the current one."""
        self.waiting = [waiting for waiting in self.waiting if not _drops(request, waiting)]
        if not isinstance(request, Stop):
            self.waiting.append(request)
        return self.current is not None and _drops(request, self.current)

    def next(self) -> Request:
        """Takes out the request to be answered now. Raises ValueError if none waits."""
        self.current = min(self.waiting, key=_turn)
        self.waiting.remove(self.current)
        return self.current

    def next_of(self, kinds: tuple[type[Request], ...]) -> Request | None:
        """Takes out the oldest request of these kinds; None where none waits."""
        oldest = next((request for request in self.waiting if isinstance(request, kinds)), None)
        if oldest is not None:
            self.waiting.remove(oldest)
        return oldest


def _drops(newer: Request, older: Request) -> bool:
    one_path = isinstance(newer, Lookahead) and isinstance(older, Lookahead) and newer.path == older.path
    return ends(type(newer), type(older), one_path=one_path)


def _turn(request: Request) -> int:
    """The turn of a request; requests of the same turn are answered in the order in which they came."""
    return next((turn for turn, kinds in enumerate(_TURNS, 1) if isinstance(request, kinds)), 0)
