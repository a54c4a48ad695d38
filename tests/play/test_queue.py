"""The screen knows what the engine still does for it: both have the rules of `engine/queue.py`.

Any keys over an engine that takes requests in as the real one does, and answers each that its queue lets it come to.
Then nothing is waited for that it has dropped, and nothing is asked for that it is already asked for.
"""

import os
import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fake import Play, Served, continued, heard
from tests.figures import Figure
from tests.sampling import few
from tokex_gguf.engine.protocol import (
    Check,
    Checked,
    Constrain,
    Continue,
    Numbered,
    Ping,
    Reply,
    Request,
    Stop,
    Tokenize,
)
from tokex_gguf.engine.queue import Queue
from tokex_gguf.play.actions import Action
from tokex_gguf.play.messages import (
    Align,
    Aligned,
    Beat,
    CompareFurther,
    JudgeFurther,
    Message,
    SearchFurther,
    Send,
    Typed,
)
from tokex_gguf.play.purposes import ForCheck, ForFanOut, ForLookahead, Purpose
from tokex_gguf.play.update import update
from tokex_gguf.values.alignment import aligned

SEED = int(os.environ.get("QUEUE_SEED", "1"))

LEFT_OUT = {
    *(Action.QUIT, Action.SUSPEND, Action.EDIT, Action.RESTART, Action.MODELS, Action.VERSUS_MODEL, Action.SESSIONS),
    *(Action.SAVE, Action.NAME, Action.PALETTE, Action.MOUSE),
}
"""What asks the engine for nothing, or for another one."""
KEYS: list[Message] = [
    *[Action.APPEND] * 12,
    *[Action.POP, Action.UP, Action.DOWN, Action.CURSOR_BACK, Action.CURSOR_TIP] * 3,
    *[Action.ENTER, Action.CLOSE] * 10,
    *[Action.ANSWERS, Action.CRITICAL, Action.AUTOPLAY, Action.SAMPLERS, Action.CONSTRAINT, Action.ROLL] * 3,
    *[Action.COPY, Action.VERSUS, Action.LAYER, Action.INPUT, Action.SEARCH] * 3,
    *[Typed("ab"), Typed("3")] * 3,
    *[key for key in Action if key not in LEFT_OUT],
]


class World:
    """A session, and an engine that answers whatever its queue lets it come to, wholly, after any time."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        lookahead = self.chance.choice([0, 3])
        kind = Served if self.chance.random() < 0.3 else Play
        self.fake = kind("hello world", lookahead=lookahead, lookahead_tokens=5 * lookahead, max_prompts=4)
        self.session = self.fake.session
        self.queue = Queue()
        self.replies: Iterator[Reply] = iter(())
        """What the engine has still to say of what it is answering."""
        self.wire = deque[Reply]()
        """What it has said, and nobody has heard."""
        self.told = set[int]()
        """Requests that were answered once, wholly or in part."""
        self.outside: list[Message] = []
        self.kinds = Counter[str]()
        for request in self.fake.asked:
            self.queue.put(request)
        self.fake.asked.clear()

    def take(self, message: Message | Reply) -> None:
        """Lets the session have a message, and looks at what it believes then."""
        if (number := number_of(message)) is not None:
            self.told.add(number)
        self.session, effects = update(self.session, heard(self.session, message))
        for effect in effects:
            match effect:
                case Send(_, request):
                    self.kinds[type(request).__name__] += 1
                    self._once(request)
                    if self.queue.put(request):
                        self.queue.current, self.replies = None, iter(())
                case Align():
                    self.outside.append(Aligned(effect.a, effect.b, aligned(effect.first, effect.second)))
                case JudgeFurther() | CompareFurther() | SearchFurther():
                    self.outside.append(effect)
                case _:
                    pass
        self._agree()

    def _once(self, request: Request) -> None:
        """Nothing that waits asks for the same, for the same purpose."""
        if isinstance(request, Stop | Ping | Tokenize | Constrain):  # the last two are what a key says, each time
            return
        same = [one for one in self.queue.waiting if type(one) is type(request)]
        twice = [one for one in same if without_number(one) == without_number(request)]
        asked = self.session.game.open_requests
        purposes = [purpose_of(asked[number]) for one in (*twice, request) if (number := number_of(one)) in asked]
        assert len(set(purposes)) == len(purposes), f"asked for twice: {request}"

    def _agree(self) -> None:
        """What the screen waits for, or believes to be under way, the engine has."""
        held = {number_of(one) for one in (*self.queue.waiting, self.queue.current, *self.wire)}
        for number, purpose in self.session.game.open_requests.items():
            if isinstance(purpose, ForLookahead) and number in self.told:
                continue  # it may be answered once more, or never
            if isinstance(purpose, ForCheck) or not (purpose.awaited or getattr(purpose, "going", False)):
                continue
            assert number in held, f"dropped, and waited for: {purpose}"

    def work(self) -> None:
        """The engine says what it has come to, or turns to the next request."""
        reply = next(self.replies, None)
        if reply is not None:
            self.wire.append(reply)
            return
        self.queue.current = None
        if self.queue.waiting:
            request = self.queue.next()
            self.replies = self._continued(request) if isinstance(request, Continue) else self._all(request)

    def _all(self, request: Request) -> Iterator[Reply]:
        if isinstance(request, Check):
            yield Checked(request.request, None)
        else:
            yield from self.fake.replies(request)

    def _continued(self, request: Continue) -> Iterator[Reply]:
        path = request.path
        while True:
            reply = continued(request, path, self.fake.given)
            yield reply
            path = [*path, reply.distributions[0].most_likely]

    def step(self) -> None:
        """A key, or something that the engine does, or that comes from it."""
        chance = self.chance.random()
        if chance < 0.35:
            self.take(self.chance.choice(KEYS))
        elif chance < 0.65:
            self.work()
        elif chance < 0.9:
            if self.wire:
                self.take(self.wire.popleft())
        elif chance < 0.98:
            if self.outside:
                self.take(self.outside.pop(self.chance.randrange(len(self.outside))))
        else:
            self.take(Beat())

    def settle(self) -> None:
        """Lets the engine come to the end of all; then nothing waits."""
        for _ in range(50_000):  # of 16 places, 128 tokens each may be decoded
            if self.session.game.pressed.autoplay:
                self.take(Action.AUTOPLAY)
            elif self.outside:
                self.take(self.outside.pop())
            elif self.wire:
                self.take(self.wire.popleft())
            elif self.queue.waiting or self.queue.current:
                self.work()
            else:
                break
        else:
            raise AssertionError("it goes on for ever")
        assert not self.session.game.waiting, self.session.game.open_requests


def number_of(message: object) -> int | None:
    return getattr(message, "request", None)


def purpose_of(one: Purpose) -> tuple[object, ...]:
    """What tells it apart: answers that end elsewhere are looked for anew, and decoded once all the same."""
    return type(one), one.out if isinstance(one, ForFanOut) else None


def without_number(request: Request) -> Request:
    return replace(request, request=0) if isinstance(request, Numbered) else request


def worlds(seeds: range, steps: int, figure: Figure) -> None:
    asked = Counter[str]()
    for seed in seeds:
        world = World(f"{SEED}-{seed}")
        try:
            for number in range(steps):
                world.step()
                if number % 100 == 99:
                    world.settle()
        except Exception as error:
            error.add_note(f"seed {SEED}-{seed}")
            raise
        asked += world.kinds
    figure(len(seeds), f"games of {steps} steps over an engine's real queue", seed=SEED, requests=asked.total())


@pytest.mark.parametrize("part", few(range(4), of=4))
def test_what_is_waited_for_is_under_way(part: int, figure: Figure) -> None:
    worlds(range(part, 60, 4), 300, figure)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
def test_what_is_waited_for_is_under_way_in_long(part: int, figure: Figure) -> None:
    worlds(range(part, 2000, 4), 400, figure)
