"""Any keys over engines that answer late, out of order, in part, wrongly, or not at all, and die at any step.

Whatever they do, no game loses anything but by its own keys, nothing raises, and once all
answers are in, nothing waits.
"""

import os
import random
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from tests import fake
from tests.fake import GIVEN, MODEL, OTHER, PIECES, VOCAB, OnServer, heard
from tests.figures import Figure
from tests.play.test_switching import ENTRIES
from tests.sampling import few
from tokex_gguf.engine.protocol import (
    Apply,
    Check,
    Checked,
    ConnectServer,
    Continue,
    Continued,
    EngineDied,
    EngineFailed,
    Evaluate,
    Evaluated,
    Failed,
    Found,
    Load,
    Loaded,
    Loading,
    Lookahead,
    LookaheadDone,
    Ping,
    Pong,
    Reply,
    Request,
    Roll,
    Search,
    Stop,
    Tokenize,
    Tokenized,
    Walk,
)
from tokex_gguf.engine.queue import Queue
from tokex_gguf.models.memory import Fit
from tokex_gguf.play import screens
from tokex_gguf.play.actions import Action
from tokex_gguf.play.game import EngineStatus, Game, Settings
from tokex_gguf.play.messages import (
    Beat,
    Begin,
    Edited,
    Effect,
    Go,
    ListedModels,
    ListedStarters,
    ListModels,
    Message,
    NotPrepared,
    PointedAtRow,
    PointedAtToken,
    Prepare,
    Prepared,
    Quit,
    SearchFurther,
    Send,
    Start,
    Typed,
    Unbound,
)
from tokex_gguf.play.purposes import ForEdited
from tokex_gguf.play.session import Session
from tokex_gguf.play.update import update
from tokex_gguf.ui.cells import width_of
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.score import Score
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.tree import Node

SEED = int(os.environ.get("UNRELIABLE_SEED", "1"))

KEYS: list[Message] = [
    *[Action.APPEND] * 8,
    *(Action.ANSWERS, Action.ANSWERS, Action.CRITICAL, Action.PAUSE, Action.STOP, Action.GROUP, Action.SORT),
    *(Action.REPLACE, Action.DELETE_TOKEN, Action.INSERT, Action.TAKE_IN, Action.RETOKENIZE),
    *[Action.MODELS] * 4,
    *[Action.ENTER] * 8,
    *[Action.RESTART] * 3,
    *[Action.CURSOR_TIP, Action.CLOSE] * 2,
    *(Action.POP, Action.UP, Action.DOWN, Action.TOP, Action.BOTTOM, Action.AUTOPLAY, Action.NEXT, Action.PREVIOUS),
    *(Action.COPY, Action.COPY, Action.REMOVE, Action.BRING_BACK, Action.CURSOR_BACK, Action.CURSOR_FIRST),
    *(
        Action.UNDO,
        Action.REDO,
        Action.HIGHEST_SURPRISAL,
        Action.SEARCH,
        Action.INPUT,
        Action.SCORE,
        Action.SCORE,
        Action.CLEAR_SCORES,
    ),
    *(Action.ERASE, Action.ERASE_LINE, Action.TREE, Action.OPEN, Action.PROMPTS, Action.HELP, Action.LAYER),
    *(Action.NAME, Action.SAVE, Action.EDIT, Typed("a"), Typed("bc"), Typed(" "), Go(0), Go(1), Unbound("q")),
    *(PointedAtRow(0), PointedAtRow(1), PointedAtRow(3), PointedAtToken(2), Edited("edited"), Edited("other text")),
]


class Position(NamedTuple):
    """What was played with one model."""

    root: Node
    prompts: tuple[Any, ...]
    removed: tuple[Any, ...]
    scores: tuple[Score, ...]
    carried: tuple[Any, ...]


def game(one: Game) -> Position:
    return Position(one.known.root, one.prompts, one.removed, one.results.scores, one.carried)


class FakeEngine:
    """An engine of arithmetic that takes requests in as the real one does, and answers when and how it is told to."""

    def __init__(self, *, served: bool) -> None:
        """`served`: fake.gguf is on a server, which gives few candidates, and of a prompt not all at once."""
        self.served = served
        self.file = ""
        self.queue = Queue()
        self.loaded = False
        self.told: set[int] = set()
        """Tokens whose pieces were sent: none is sent twice."""

    def send(self, request: Request) -> None:
        self.queue.put(request)

    @property
    def waiting(self) -> list[Request]:
        return self.queue.waiting

    def answer(self, chance: random.Random) -> list[Reply]:
        """Answers one request that waits, the first or any, wholly or in part."""
        if not self.waiting:
            return []
        index = 0 if chance.random() < 0.7 or not self.loaded else chance.randrange(len(self.waiting))
        request = self.waiting[index]
        if isinstance(request, Load) and chance.random() < 0.3:
            return [Loading(chance.random())]
        if isinstance(request, Continue):
            return [self._continued(index, request, chance)]
        if isinstance(request, Walk):
            return self._walked(index, request, chance)
        if isinstance(request, Evaluate) and self.given < VOCAB and len(request.path) - request.start > 1:
            if chance.random() < 0.5:
                place = chance.randrange(request.start, len(request.path) - 1)
                return [self._only_new(fake.evaluated(request, place, place + 1, self.given))]
        elif isinstance(request, Evaluate) and len(request.path) - request.start > 1 and chance.random() < 0.5:
            middle = chance.randrange(request.start + 1, len(request.path))
            self.waiting[index] = replace(request, start=middle)
            early = [fake.evaluated(request, len(request.path) - 1)] if chance.random() < 0.3 else []
            return [self._only_new(one) for one in (*early, fake.evaluated(request, None, middle))]
        del self.waiting[index]
        return [self._only_new(self._reply(request))] if not isinstance(request, Check) or chance.random() < 0.8 else []

    @property
    def given(self) -> int:
        return GIVEN if self.served and self.file == "fake.gguf" else VOCAB

    def _walked(self, index: int, request: Walk, chance: random.Random) -> list[Reply]:
        """One of its positions, whichever it is; of some, nothing ever comes."""
        place = chance.choice(request.places)
        left = [one for one in request.places if one != place]
        if left:
            self.waiting[index] = replace(request, places=left)
        else:
            del self.waiting[index]
        if chance.random() < 0.1:
            return []
        return [self._only_new(fake.evaluated(request, place, place + 1, self.given))]

    def all_of(self, request: Request) -> list[Reply]:
        """All answers to a request."""
        if isinstance(request, Walk):
            walked = [fake.evaluated(request, place, place + 1, self.given) for place in request.places]
            return [self._only_new(one) for one in walked]
        return [self._only_new(self._reply(request))]

    def _continued(self, index: int, request: Continue, chance: random.Random) -> Reply:
        path = request.path
        reply = fake.continued(request, path, self.given)
        following = reply.distributions[0].ids[0]
        if chance.random() < 0.2:
            del self.waiting[index]
        else:
            self.waiting[index] = Continue(request.request, [*path, following], request.top)
        return self._only_new(reply)

    def _only_new(self, reply: Reply) -> Reply:
        if isinstance(reply, Tokenized | Evaluated | LookaheadDone | Continued | Found):
            mentioned = set[int]()
            if isinstance(reply, Tokenized):
                mentioned = set(reply.path)
            elif isinstance(reply, Found):
                mentioned = set(reply.tokens)
            else:
                mentioned = {token for one in reply.distributions for token in one.ids}
            pieces: dict[int, Piece] = {token: PIECES[token] for token in mentioned - self.told}
            self.told |= mentioned
            object.__setattr__(reply, "pieces", pieces)
        return reply

    def _reply(self, request: Request) -> Reply:
        match request:
            case Load():
                self.file, self.loaded = request.path, True
                return OTHER if request.path != "fake.gguf" else fake.SERVED if self.served else MODEL
            case Tokenize():
                # The vocabularies of two models differ.
                shift = 0 if self.file == "fake.gguf" else 7
                path = [(token + shift) % VOCAB for token in fake.text_to_path(request.text)]
                return Tokenized(request.request, path, PIECES)
            case Evaluate():
                last = len(request.path) - 1
                return fake.evaluated(request, None if self.given == VOCAB else last, None, self.given)
            case Lookahead():
                values = [
                    fake.distribution([*request.path, *branch], request.top, self.given) for branch in request.branches
                ]
                return LookaheadDone(request.request, request.branches, values, PIECES)
            case Search():
                texts = {token: PIECES[token].data.decode().lower() for token in fake.ranked(request.path)}
                tokens = [token for token, text in texts.items() if request.query in text]
                taken = [fake.taken(request.path, token) for token in tokens]
                return Found(request.request, tokens, taken, len(tokens), PIECES, 0, 0.001)
            case Check():
                differs = sum(request.path) % 3 == 0
                return Checked(request.request, len(request.path) // 2 if differs else None)
            case Ping():
                return Pong()
            case Apply():  # the help does whatever is found there, also what no key here does
                return fake.applied(request)
            case Roll():
                return fake.rolled(request)
            case _:
                raise AssertionError(request)

    def refuse(self, chance: random.Random) -> Reply | None:
        """Refuses a request that waits, one that does not, or gives up as a whole."""
        if chance.random() < 0.15:
            return EngineFailed("it cannot go on")
        if not self.loaded:
            return None
        if chance.random() < 0.1:
            return Failed(chance.randrange(100), "a request that nobody made")
        waiting = [one for one in self.waiting if not isinstance(one, Load | ConnectServer | Ping | Stop)]
        if not waiting:
            return None
        request = chance.choice(waiting)
        self.waiting.remove(request)
        room = chance.choice([None, 5]) if isinstance(request, Evaluate | Continue) else None
        return Failed(request.request, "it does not want to", room)


class World:
    """A session, its engine, and a chance that plays with both."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        self.seed = seed
        lookahead = self.chance.choice([0, 3])
        self.served = self.chance.random() < 0.5
        file = OnServer("fake.gguf") if self.served else GgufFile("fake.gguf")
        settings = Settings(
            "hello", file, tokens_to_show=12, max_prompts=4, lookahead=lookahead, lookahead_tokens=5 * lookahead
        )
        self.session = Session(Game(settings))
        self.engine = FakeEngine(served=self.served)
        self.outside: list[Message] = []
        """Outcomes of effects on their way."""
        self.quit: Quit | None = None
        self.games: dict[str, Position] = {}
        """Each model's game, as it was last."""
        self.steps = 0
        self.switches = self.deaths = 0
        self.take(Begin())
        if self.chance.random() < 0.9:  # else it may end before it begins, which is right then
            self.settle()

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start():
                    self.engine = FakeEngine(served=self.served)
                case Send():
                    self.engine.send(effect.request)
                case ListModels():
                    self.outside.append(ListedModels(ENTRIES))
                case Prepare():
                    sound = self.chance.random() < 0.8
                    self.outside.append(
                        Prepared(effect.path, Fit(0)) if sound else NotPrepared(effect.path, "it does not fit")
                    )
                case SearchFurther():
                    self.outside.append(effect)
                case Quit():
                    self.quit = effect
                case _:
                    pass

    def take(self, message: Message | Reply | EngineDied) -> None:
        self.steps += 1
        before = self.session
        self.session, effects = update(before, heard(before, message))
        self.switches += self.session.game.settings.model.key != before.game.settings.model.key
        self.deaths += self.session.game.engine is EngineStatus.DEAD and before.game.engine is not EngineStatus.DEAD
        self._carry_out(effects)
        self._compare(before, message)

    def step(self) -> None:
        """Something happens: mostly a key, or an answer."""
        chance, what = self.chance, self.chance.random()
        if what < 0.03 and isinstance(self.session.screen, screens.Play):
            self.take(Action.MODELS)
            self.take(ListedModels(ENTRIES))
            self.take(PointedAtRow(chance.choice([0, 0, 1, 1, 2, 3])))
            self.take(Action.ENTER)
        elif what < 0.5:
            key = chance.choice(KEYS)
            if key is Action.EDIT:
                key = Action.LAYER
            self.take(key)
        elif what < 0.85:
            self.hear(self.engine.answer(chance))
        elif what < 0.9:
            reply = self.engine.refuse(chance)
            self.hear([reply] if reply else [])
        elif what < 0.91:
            self.die()
        elif what < 0.97 and self.outside:
            self.take(self.outside.pop(chance.randrange(len(self.outside))))
        elif what < 0.975:
            self.settle()
        elif what < 0.985:
            lines = ScreenRenderer().screen(
                self.session, width := chance.randint(1, 150), height := chance.randint(1, 50)
            )
            assert [width_of(line) for line in lines] == [width] * height
        else:
            self.take(Beat() if chance.random() < 0.5 else ListedStarters(()))

    def hear(self, replies: list[Reply]) -> None:
        engine = self.engine
        for reply in replies:
            if engine is self.engine and self.session.game.engine is not EngineStatus.DEAD:
                self.take(reply)
                if isinstance(reply, EngineFailed) and self.engine is engine:
                    engine.waiting.clear()

    def die(self) -> None:
        if self.session.game.engine is not EngineStatus.DEAD:
            self.engine.waiting.clear()
            self.take(EngineDied("SIGSEGV"))

    def settle(self) -> None:
        """Lets everything be answered that is asked for."""
        for _ in range(3000):
            if self.quit or not (self.engine.waiting or self.outside or self.session.game.pressed.autoplay):
                break
            if self.session.game.pressed.autoplay:
                self.take(Action.AUTOPLAY)
            elif self.outside:
                self.take(self.outside.pop(0))
            else:
                request = self.engine.waiting.pop(0)
                if isinstance(request, Continue):
                    continue  # ended by nothing that comes
                self.hear(self.engine.all_of(request))
        else:
            raise AssertionError("it goes on for ever")
        if not self.quit:
            assert self.session.game.engine is not EngineStatus.LOADING
            assert not self.session.game.waiting, (
                self.session.game.pressed.autoplay,
                self.session.screen,
                self.session.game.open_requests,
            )

    # --- what must hold

    def _compare(self, before: Session, message: Message | Reply | EngineDied) -> None:
        session = self.session
        file = session.game.settings.model.key
        player = isinstance(message, Action | Typed | Go | PointedAtRow | PointedAtToken)
        if session.game.pressed.autoplay and session.game.engine is EngineStatus.READY:
            assert session.game.pending is not None, "it plays on, and nothing is asked for"
        if file == before.game.settings.model.key:
            if before.game.prompts:
                self._own(before, session, message, player=player)
        elif before.game.prompts:
            # What is left is kept, to the last node, and comes back so.
            assert game(session.other_games[before.game.settings.model.key]) == game(before.game)
            if file in self.games:
                assert game(session.game) == self.games[file]
        else:
            assert not session.game.prompts or game(session.game) == self.games[file]
        if session.game.prompts:
            self.games[file] = game(session.game)
        for other, played in self.games.items():
            if other != file:
                assert game(session.other_games[other]) == played, f"{other} changed while {file} was played"

    def _own(self, before: Session, after: Session, message: Message | Reply | EngineDied, *, player: bool) -> None:
        """A game's own prompts, removed ones and scores never get less, but by its own keys."""
        assert after.game.known.root is before.game.known.root
        prompts, removed = len(after.game.prompts), len(after.game.removed)
        assert prompts
        # A key ends an autoplay, also where there is nothing to undo.
        if message in (Action.UNDO, Action.REDO) and len(after.game.undo.past) != len(before.game.undo.past):
            kept = after.game.undo.undone[-1] if message is Action.UNDO else after.game.undo.past[-1]
            assert kept.prompts == before.game.prompts and kept.removed == before.game.removed
            return
        assert prompts + removed >= min(len(before.game.prompts) + len(before.game.removed), prompts + 100)
        if message is not Action.CLEAR_SCORES:
            known = [score for score in before.game.results.scores if score.logprob is not None]
            assert all(score in after.game.results.scores for score in known[-40:])
        if player:
            return
        edited = sum(isinstance(one, ForEdited) for one in before.game.open_requests.values())
        tips = [prompt.tip for prompt in after.game.prompts]
        gone = [one for one in before.game.prompts if not any(tip.descends_from(one.tip) for tip in tips)]
        assert len(gone) <= (1 if edited and isinstance(message, Tokenized) else 0), "an answer took a prompt away"
        if isinstance(message, Failed | EngineFailed | EngineDied | Prepared | NotPrepared | Loaded | Loading):
            assert [one.tip for one in after.game.prompts] == [one.tip for one in before.game.prompts]
            assert after.game.removed == before.game.removed

    def ends_well(self) -> None:
        """Once all answers are in nothing waits, and the game can be played on."""
        self.settle()
        for _ in range(4):
            if not isinstance(self.session.screen, screens.Play):
                self.take(Action.CLOSE)
                self.settle()
        if self.quit:
            assert not self.session.game.prompts and not self.games
            return
        if self.session.game.engine is EngineStatus.DEAD:
            self.take(Action.RESTART)
            self.settle()
            if self.quit:
                return
        assert self.session.game.engine is EngineStatus.READY and self.session.game.prompts
        assert not self.session.game.carried
        self.take(Action.CURSOR_TIP)
        if self.session.game.full is not None:
            self.take(Action.POP)
            self.settle()
        depth = self.session.game.prompt.tip.depth
        if not self.session.game.ready:
            self.take(Action.APPEND)  # asks again
            self.settle()
            assert self.session.game.ready
            depth = self.session.game.prompt.tip.depth
        if self.session.game.full is None:
            self.take(Action.APPEND)
            self.settle()
            assert self.session.game.ready and self.session.game.prompt.tip.depth == depth + 1
        for prompt in self.session.game.prompts:
            for node in prompt.tip.nodes(1):
                before = node.path()[:-1]
                assert node.taken in (None, *(fake.taken(before, node.token, given) for given in (GIVEN, VOCAB)))


def play(seed: str, steps: int) -> World:
    """Lets a world go on for so many steps; where it fails, its seed and last steps are told."""
    world = World(seed)
    try:
        for _ in range(steps):
            if world.quit:
                break
            world.step()
        if world.quit and world.quit.fault:
            assert not world.games, "the program ended, though something was played"
        if not (world.quit and not world.quit.fault):
            world.ends_well()
    except Exception as error:
        error.add_note(f"seed {seed}, step {world.steps}")
        raise
    return world


def worlds(numbers: range, length: int, figure: Figure) -> None:
    played = [play(f"{SEED}-{number}", length) for number in numbers]
    figure(
        len(numbers),
        f"games of {length} steps over engines that answer late, out of order, in part, or never, refuse, and die",
        seed=SEED,
        steps_in_a_part=sum(one.steps for one in played),
        switches_of_models=sum(one.switches for one in played),
        deaths=sum(one.deaths for one in played),
    )


@pytest.mark.parametrize("part", few(range(4), of=4))
def test_no_engine_whatever_it_does_costs_a_game_anything(part: int, figure: Figure) -> None:
    worlds(range(part, 60, 4), 300, figure)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
def test_no_engine_costs_a_game_anything_in_long(part: int, figure: Figure) -> None:
    worlds(range(part, 4000, 4), 400, figure)
