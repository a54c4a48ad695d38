"""Which request is answered next, and which others it makes worthless: rules that engines and the screen share.

Only the newest evaluation is worth anything, and what nobody waits for comes last.

What is asked strictly, and how far apart strict answers are, takes long and is asked for aside. So what a key asks for
(Evaluate, Continue, Apply, Roll, Search), and Stop, ends what of it is under way and drops what of it waits, without
an answer: whoever asked for it asks again when nothing else is asked, and what was decoded by then is not decoded
again. One strict request never ends another: both sides of a comparison may be asked of one engine. But each ends the
measurement of the noise, which takes seconds and nobody waits for. All evaluations among them come before the
comparisons, which need them; and all of them before lookahead, which they end.

Lookahead from one path goes on: what is asked behind it is answered behind it.
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

_ASIDE: tuple[type[Request], ...] = (*get_args(Strict), MeasureNoise, Walk)
"""What takes long and gives way to whatever a key asks for."""
_ENDED_BY: dict[type[Request], tuple[type[Request], ...]] = {
    # Each of these is answered, and so is what waits before it.
    **dict.fromkeys((Load, ConnectServer, Tokenize, Chat, Constrain, Force, Spell, Ping), ()),
    # Whoever asks for these asks for a view of them next.
    **dict.fromkeys((Evaluate, Continue), (Evaluate, Continue, Apply, Lookahead, *_ASIDE)),
    Stop: (Evaluate, Continue, Lookahead, *_ASIDE),
    # They come behind an evaluation of their path, and wait for it.
    Apply: (Apply, Continue, Lookahead, *_ASIDE),
    Roll: (Roll, Continue, Lookahead, *_ASIDE),
    Search: (Search, Lookahead, *_ASIDE),
    **dict.fromkeys(get_args(Strict), (Lookahead, MeasureNoise, Walk)),
    MeasureNoise: (Lookahead, Walk),
    Lookahead: (Lookahead, Continue, Walk),
    Walk: (Walk,),
    Check: (Check,),  # its answer alone is listened to
}
"""For each kind, those that it ends and drops."""
_TURNS: tuple[tuple[type[Request], ...], ...] = (
    (EvaluateStrictly,),
    (*get_args(Strict), MeasureNoise),
    (Lookahead, Check),
    (Walk,),
)
"""What comes after all else, the first of these first: nobody waits for lookahead, nor for a comparison with the
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
        """Takes one in, and drops those that it makes worthless. Returns whether it ends the one that is answered."""
        self.waiting = [one for one in self.waiting if not _drops(request, one)]
        if not isinstance(request, Stop):
            self.waiting.append(request)
        return self.current is not None and _drops(request, self.current)

    def next(self) -> Request:
        """The request that is to be answered now. Raises ValueError if none waits."""
        self.current = min(self.waiting, key=_turn)
        self.waiting.remove(self.current)
        return self.current

    def beside(self, kinds: tuple[type[Request], ...]) -> Request | None:
        """The oldest of these kinds, to be answered between two parts of what takes long; None where none waits."""
        found = next((one for one in self.waiting if isinstance(one, kinds)), None)
        if found is not None:
            self.waiting.remove(found)
        return found


def _drops(newer: Request, older: Request) -> bool:
    one_path = isinstance(newer, Lookahead) and isinstance(older, Lookahead) and newer.path == older.path
    return ends(type(newer), type(older), one_path=one_path)


def _turn(request: Request) -> int:
    """When a request comes: those with the same number in the order in which they were asked."""
    return next((turn for turn, kinds in enumerate(_TURNS, 1) if isinstance(request, kinds)), 0)
