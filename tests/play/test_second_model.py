"""Two models at once: two engines, heard in any order; one can stop, and either is played on with."""

import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests import fake
from tests.fake import MODEL, OTHER, PIECES, Fast, Play, distribution, logprobs, second, text_to_path
from tests.play.test_versus import rows_of_both, strictly_told, told_of_a
from tests.sampling import few
from tests.ui.test_cost import steps
from tokex_gguf.engine.protocol import (
    Against,
    Capability,
    Continue,
    Continued,
    EngineDied,
    EngineFailed,
    Evaluate,
    Evaluated,
    EvaluateStrictly,
    Export,
    Exported,
    Failed,
    Load,
    Loaded,
    Loading,
    LookaheadStrictly,
    Ping,
    Pong,
    Recall,
    Recalled,
    Reply,
    Request,
    Stop,
    StrictLookaheadDone,
    Tokenize,
    Tokenized,
)
from tokex_gguf.engine.queue import Queue
from tokex_gguf.models.memory import Fit
from tokex_gguf.play.actions import Action
from tokex_gguf.play.commands.registry import hints
from tokex_gguf.play.game import Carried, EngineStatus, Game, Settings
from tokex_gguf.play.messages import (
    Beat,
    Begin,
    Close,
    Effect,
    EngineReplied,
    Go,
    ListedModels,
    MakeRows,
    Message,
    NoRows,
    Prepared,
    PreparedSecond,
    PrepareSecond,
    Quit,
    RowsReady,
    Send,
    Start,
    Typed,
)
from tokex_gguf.play.pairing import lacks_of_a
from tokex_gguf.play.purposes import ForAgainst, ForLookahead, ForRoll
from tokex_gguf.play.replies import WrongReply
from tokex_gguf.play.rules import model_switch, second_model
from tokex_gguf.play.screens import SecondModels
from tokex_gguf.play.session import Session
from tokex_gguf.play.table import table
from tokex_gguf.play.update import update
from tokex_gguf.play.versus import UNPAIRED, AgainstModel, ByText, Opening, Pair, Turn
from tokex_gguf.sessions.codec import Encoder, dump, load, seal
from tokex_gguf.sessions.columns import BadArchive
from tokex_gguf.sessions.summary import Stamp
from tokex_gguf.ui.cells import Line
from tokex_gguf.ui.prompt_pane import PromptPane
from tokex_gguf.ui.screen import ScreenRenderer
from tokex_gguf.ui.screen_table import shown as looks
from tokex_gguf.ui.second import awaited_of_both
from tokex_gguf.ui.status import AssistantTurns, status
from tokex_gguf.ui.table import table_lines
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.formatting import bits_text, number
from tokex_gguf.values.layers import DELTA, PROBABILITY
from tokex_gguf.values.lens import RAW
from tokex_gguf.values.model_comparison import ModelComparison
from tokex_gguf.values.model_entry import ModelEntry
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.samplers import Chain, Kind, Sampler
from tokex_gguf.values.text_comparison import TextComparison
from tokex_gguf.values.tokens import Piece

ENTRIES = tuple(
    ModelEntry(name, name, "Q8_0", "500 MB", fault)
    for name, fault in (("fake.gguf", ""), ("other.gguf", ""), ("bad.gguf", "it ends too early"))
)
ELSEWHERE = replace(OTHER, vocabulary="another one")


class Two:
    """A game, and engines by their addresses, each with what it was asked; `run` lets them answer."""

    def __init__(
        self, text: str = "hello", other: Loaded = OTHER, *, at_start: bool = False, kind: type[Play] = Play
    ) -> None:
        self.play = kind(text).answer()
        self.session: Session = self.play.session
        self.other = other
        self.files: dict[int, str] = {}
        self.queues: dict[int, Queue] = {}
        if not at_start:
            self.files[self.session.game.address], self.queues[self.session.game.address] = "fake.gguf", Queue()
        self.written: list[tuple[int, list[int], int, int]] = []
        """Who wrote which rows into the file."""
        self.going: set[int] = set()
        """Those that have not been asked for anything else since."""
        self.rows = 0
        self.effects: list[Effect] = []
        self.on_disk: dict[tuple[int, ...], int] = {}
        """The prefixes whose differences an earlier start has left, with the candidates of each."""
        self.recalled = 0
        """How often the disk was asked."""
        self.disk_fails = False

    @property
    def asked(self) -> dict[int, list[Request]]:
        """What waits to be answered by each engine."""
        return {engine: queue.waiting for engine, queue in self.queues.items()}

    def take(self, message: Message) -> "Two":
        self.session, self.effects = update(self.session, message)
        for effect in self.effects:
            match effect:
                case Start(engine, model):
                    self.files[engine], self.queues[engine] = model.key, Queue()
                case Close(engine):
                    self.files.pop(engine)
                    self.queues.pop(engine)
                case Send(engine, request) if engine in self.queues:
                    self.ask(engine, request)
                case MakeRows():
                    self.rows += 1
                    self.take(RowsReady(f"rows{self.rows}"))
        return self

    def ask(self, engine: int, request: Request) -> None:
        """What a key asks for ends what is done in the background, as the engines have it."""
        if self.queues[engine].put(request):
            self.going.discard(engine)

    def step(self, engine: int) -> None:
        """Lets an engine answer the oldest that it was asked."""
        request = self.queues[engine].next()
        self.going.add(engine)
        for reply in self.replies(engine, request):
            self.take(EngineReplied(engine, reply))
            if engine not in self.going:
                break

    def replies(self, engine: int, request: Request) -> Iterator[Reply]:
        match request:
            case Load():
                yield MODEL if self.files[engine] == "fake.gguf" else self.other
                return
            case Export():
                self.written.append((engine, request.path[: request.end], request.start, request.end))
                yield Exported(request.request, request.start, request.end, 0, 0.0)
                return
            case LookaheadStrictly():
                yield StrictLookaheadDone(request.request, 0, 0.0)
                return
            case Tokenize() if request.text.startswith(" "):  # as the tokens' pieces spell a text
                path = [ord(piece) - 0x30 for piece in request.text.split(" ")[1:]]
                yield Tokenized(request.request, path, PIECES)
                return
            case Recall():
                assert request.other == self.other.identity, "of the model that it is compared with"
                self.recalled += 1
                if self.disk_fails:
                    yield Failed(request.request, "the engine cannot answer this (OSError)", None)
                    return
                for place in range(request.start, request.end):
                    if self.on_disk.get(tuple(request.path[: place + 1]), -1) >= request.top:
                        against = Against(request.request, request.path, place, place + 1, "", "", request.top)
                        yield fake.compared(against)
                yield Recalled(request.request)
                return
            case Against():
                writer, path, start, end = self.written[-1]
                assert (path, start, end) == (request.path[: request.end], request.start, request.end)
                assert writer != engine or len(self.asked) == 1, "rows of its own"
            case Continue():
                path, most = request.path, 0
                while (most := most + 1) < 80:
                    after = self.goes_on(engine, path)
                    yield Continued(request.request, path[-1:], [after], PIECES, 0.0, 9)
                    path = [*path, after.most_likely]
                return
        if reply := self.play.reply(request):
            yield reply

    def goes_on(self, engine: int, path: list[int]) -> Distribution:
        """B goes on as A does for three tokens, and then by what A makes of the path without its first token."""
        base = len(self.session.game.prompt.tip.path()) if self.session.game.prompts else 0
        return distribution(path[1:] if self.files[engine] != "fake.gguf" and len(path) > base + 3 else path, 5)

    def run(self, choose: random.Random | None = None) -> "Two":
        """Lets all engines answer all, in order, or in one that is drawn."""
        while ready := [engine for engine, waiting in self.asked.items() if waiting]:
            self.step(choose.choice(ready) if choose else ready[0])
        assert awaited_of_both(self.session) != "comparing", "all is answered"
        return self

    def press(self, *messages: Message) -> "Two":
        for message in messages:
            self.take(message).run()
        return self

    @property
    def b(self) -> Game:
        beside = self.session.second
        assert beside is not None
        return beside

    @property
    def versus(self) -> Pair:
        assert isinstance(self.session.paired, Pair)
        return self.session.paired

    @property
    def known(self) -> ModelComparison:
        assert isinstance(self.versus.way.comparison, ModelComparison)
        return self.versus.way.comparison

    def complete(self) -> bool:
        known, prompt = self.known, self.session.game.prompt
        place = prompt.place.tip
        return known.first_lacking(prompt.tip) is None and (not place.depth or known.detailed(place))


def shown(two: Two) -> str:
    return "\n".join("".join(text for _, text in line) for line in ScreenRenderer().screen(two.session, 130, 40))


def listed(two: Two) -> Two:
    two.press(Action.VERSUS_MODEL)
    assert isinstance(two.session.screen, SecondModels)
    return two.press(ListedModels(ENTRIES))


def test_the_list_opens_on_the_first_model_that_can_be_compared() -> None:
    """Also where it was listed before."""
    two = listed(Two())
    for _ in range(2):
        screen = two.session.screen
        assert isinstance(screen, SecondModels) and two.session.models[screen.row].path == "other.gguf"
        two.press(Action.CLOSE, Action.VERSUS_MODEL)
    assert two.press(Action.ENTER).session.paired == Opening("other.gguf")


def test_where_no_other_model_can_be_compared_the_played_one_is_selected() -> None:
    two = Two().press(Action.VERSUS_MODEL, ListedModels((ENTRIES[2], ENTRIES[0])))
    assert isinstance(two.session.screen, SecondModels) and two.session.screen.row == 1


def chosen(two: Two, *, together: bool = True) -> Two:
    """Chooses the other model; its engine is started, and has said nothing yet."""
    front = two.session.game.settings.model.key
    there = "other.gguf" if front == "fake.gguf" else "fake.gguf"
    listed(two).take(Action.TOP)
    if there == "other.gguf":
        two.take(Action.DOWN)
    two.take(Action.ENTER)
    assert two.effects == [PrepareSecond(there, there)]
    return two.take(PreparedSecond(there, Fit(0, 5000), there, together))


def test_what_is_told_at_first_is_true_of_any_two_models() -> None:
    """Whether there are flips is known only once both are loaded."""
    told = chosen(Two(other=ELSEWHERE)).session.notice
    assert told == "n goes to the greatest change, :part shows where the two part"


def compared(text: str = "hello", other: Loaded = OTHER) -> Two:
    """Two models beside each other, all compared."""
    return chosen(Two(text, other)).run()


def test_the_other_model_gets_an_engine_of_its_own_and_the_first_stays() -> None:
    two = chosen(Two())
    assert sorted(two.files.values()) == ["fake.gguf", "other.gguf"]
    assert two.session.game.engine is EngineStatus.READY and two.b.engine is EngineStatus.LOADING
    before = two.session.game
    two.take(EngineReplied(two.b.address, Loading(0.5)))
    assert two.b.health.progress == 0.5 and two.session.game is before
    two.run()
    assert two.b.model == OTHER and two.complete()


@pytest.mark.parametrize("seed", range(10))
def test_both_models_are_loaded_at_the_start(seed: int) -> None:
    two, model = Two(at_start=True), GgufFile("fake.gguf")
    session = Session(Game(Settings(" 1 2 3", model)), begun=True)
    other = second_model.second_game(session, Settings("hello", GgufFile("other.gguf")))
    two.session = second_model.add_second(session, other)
    two.take(Begin())
    assert sorted(two.files.values()) == ["fake.gguf", "other.gguf"]
    ScreenRenderer().screen(two.session, 130, 40)
    assert two.run(random.Random(seed)).complete()


def test_the_first_model_cannot_be_loaded_at_the_start() -> None:
    two = Two(at_start=True)
    session = Session(Game(Settings("hello", GgufFile("fake.gguf"))), begun=True)
    other = second_model.second_game(session, Settings("hello", GgufFile("other.gguf")))
    two.session = second_model.add_second(session, other)
    two.take(Begin())
    two.take(EngineReplied(two.session.game.address, EngineFailed("no memory")))
    assert two.effects == [Quit("no memory")]


def test_every_place_is_compared_with_what_both_say_of_it() -> None:
    two = compared("hello you")
    tip = two.session.game.prompt.tip
    for node in tip.nodes():
        difference, path = two.known.after(node), node.path()
        assert difference is not None and difference.kl_bits > 0
        assert difference.first_a == max(range(64), key=lambda token: logprobs(path)[token])
    for node in tip.nodes(1):
        beside, path = two.known.token_pair(node), node.path()
        assert beside is not None and beside.token == node.token
        assert (beside.a.logprob, beside.b.logprob) == (
            logprobs(path[:-1])[node.token],
            second(path[:-1])[node.token],
        )


def caching(text: str) -> Two:
    """A game whose engine has a prompt cache."""
    two = Two(text)
    settings = two.session.game.settings
    settings = replace(settings, load=replace(settings.load, cache="kv"))
    two.session = replace(two.session, game=replace(two.session.game, settings=settings))
    return two


@pytest.mark.parametrize("seed", range(5))
def test_what_is_on_the_disk_is_not_computed_again(seed: int) -> None:
    chance = random.Random(seed)
    two = caching("x" * 100)
    tip = two.session.game.prompt.tip
    nodes = tip.nodes()
    two.on_disk = {tuple(node.path()): 100 for node in nodes}
    chosen(two).run(chance)
    assert two.complete() and two.written == [] and two.recalled
    fresh = compared("x" * 100)
    for node, same in zip(nodes, fresh.session.game.prompt.tip.nodes(), strict=True):
        assert node.path() == same.path()
        assert two.known.after(node) is not None and two.known.token_pair(node) == fresh.known.token_pair(same)


@pytest.mark.parametrize("seed", range(5))
def test_what_the_disk_lacks_is_computed(seed: int) -> None:
    chance = random.Random(seed)
    two = caching("x" * 100)
    nodes = two.session.game.prompt.tip.nodes()
    two.on_disk = {tuple(node.path()): chance.choice([2, 100]) for node in nodes if chance.random() < 0.6}
    missing = {node.depth - 1 for node in nodes if tuple(node.path()) not in two.on_disk}
    chosen(two).run(chance)
    assert two.complete()
    computed = {place for _, _, start, end in two.written for place in range(start, end)}
    assert missing <= computed
    two.press(Action.APPEND)
    assert two.complete() and two.written[-1][2:] == (100, 101)


def test_a_disk_that_gives_nothing_costs_no_comparison() -> None:
    two = caching("x" * 100)
    two.disk_fails = True
    chosen(two).run()
    assert two.complete() and two.recalled < 20 and "cannot answer" not in two.session.notice


def test_without_a_cache_the_disk_is_not_asked() -> None:
    assert compared("x" * 40).recalled == 0


def test_the_table_comes_first_and_a_long_prompt_in_parts() -> None:
    two = compared("x" * 100)
    starts = [(start, end) for _, _, start, end in two.written]
    assert starts[0] == (99, 100) and all(end - start <= 32 for start, end in starts)
    assert sum(end - start for start, end in starts[1:]) >= 99


def test_a_known_place_is_asked_for_once() -> None:
    two = compared()
    asked = len(two.written)
    two.press(Action.POP, Action.APPEND, Action.CURSOR_BACK, Action.CURSOR_TIP)
    more = len(two.written) - asked
    two.press(Action.POP, Action.APPEND, Action.CURSOR_BACK, Action.CURSOR_TIP)
    assert len(two.written) == asked + more and two.complete()


def keyed(two: Two, key: Action) -> list[str]:
    """What both engines are asked from a key on, each answered as it comes: B's with a `B` before it."""
    told: list[str] = []
    two.take(key)
    while ready := [engine for engine, waiting in two.asked.items() if waiting]:
        told.append("B " * (ready[0] == two.b.address) + type(two.asked[ready[0]][0]).__name__)
        two.step(ready[0])
    return told


def looking_ahead(most: int = 8) -> Two:
    """Two models beside each other, all compared, where so many likely tokens are looked ahead to."""
    two = compared()
    game = two.session.game
    two.session = replace(two.session, game=replace(game, settings=replace(game.settings, lookahead=most)))
    return two


def test_both_models_look_ahead_strictly_once_the_table_is_compared() -> None:
    two = looking_ahead()
    asked = keyed(two, Action.APPEND)
    assert asked.count("LookaheadStrictly") == asked.count("B LookaheadStrictly") == 1
    assert asked.index("B Export") < asked.index("Against") < asked.index("LookaheadStrictly")
    asked = [one for one in asked if "Lookahead" in one]
    assert asked[0] == "Lookahead", "what a key asks for next comes first"
    assert "LookaheadStrictly" in keyed(two, Action.POP), "the rows that it left may be gone"
    assert not any("LookaheadStrictly" in one for one in keyed(two, Action.CURSOR_BACK))


def test_strict_lookahead_asks_for_what_likely_comes_next() -> None:
    two = looking_ahead()
    two.take(Action.APPEND)
    while not any(isinstance(one, LookaheadStrictly) for waiting in two.asked.values() for one in waiting):
        two.step(next(engine for engine, waiting in two.asked.items() if waiting))
    (asked,) = [one for one in two.asked[two.b.address] if isinstance(one, LookaheadStrictly)]
    tip = two.session.game.prompt.tip
    assert tip.distribution is not None
    assert asked.path == tip.path() and asked.tokens == [*tip.distribution.ids[:7]]
    assert asked.tokens == next(
        one.tokens for one in two.asked[two.session.game.address] if isinstance(one, LookaheadStrictly)
    )


@pytest.mark.parametrize("settings", ["no lookahead", "no branches"])
def test_where_nothing_is_looked_ahead_to_no_model_does_strictly(settings: str) -> None:
    two = looking_ahead(0 if settings == "no lookahead" else 8)
    game = two.session.game
    assert game.model is not None
    if settings == "no branches":
        model = replace(game.model, capabilities=game.model.capabilities - {Capability.BRANCHES})
        two.session = replace(two.session, game=replace(game, model=model))
    asked = keyed(two, Action.APPEND)
    assert "Against" in asked and not any("LookaheadStrictly" in one for one in asked)


def test_strict_lookahead_that_is_refused_is_not_told_nor_asked_for_again() -> None:
    two = looking_ahead().take(Action.APPEND)
    here = two.session.game.address
    while not any(isinstance(one, LookaheadStrictly) for one in two.asked[here]):
        two.step(next(engine for engine, waiting in two.asked.items() if waiting))
    (asked,) = [one for one in two.asked[here] if isinstance(one, LookaheadStrictly)]
    two.asked[here].remove(asked)
    before = two.session.notice
    two.take(EngineReplied(here, Failed(asked.request, "no memory")))
    assert two.session.notice == before and asked.request not in two.session.game.open_requests
    assert not any(isinstance(one, LookaheadStrictly) for one in two.asked[here])
    assert two.run().complete()


def test_what_a_key_waits_for_has_the_processor_for_itself() -> None:
    two = compared("x" * 100)
    two.take(Action.APPEND)
    here, there = two.session.game.address, two.b.address
    while not two.asked[there]:
        two.step(here)
    assert isinstance(two.asked[there][0], Export)
    two.take(Action.APPEND)
    assert isinstance(two.asked[here][-1], Evaluate) and not two.asked[there]
    assert Send(there, Stop()) in two.effects
    two.take(Action.DOWN)
    assert Send(there, Stop()) not in two.effects, "once"
    assert two.run().complete()


def test_a_compared_places_divergence_waits_for_no_table() -> None:
    two = compared("hello there")
    two.take(Action.CURSOR_BACK)
    place = two.session.game.prompt.place.tip
    known = two.known.after(place)
    assert known is not None and not two.known.detailed(place)
    assert f"KL here {known.kl_bits:.4g} bits" in shown(two)
    two.run()
    assert two.known.detailed(place) and f"KL here {known.kl_bits:.4g} bits" in shown(two)


def test_a_key_ends_what_is_compared_and_it_is_asked_for_again() -> None:
    two = chosen(Two("hello there"))
    two.step(two.b.address)  # it is loaded
    assert [type(one) for one in two.asked[two.b.address]] == [Export]
    two.step(two.b.address)
    here = two.session.game.address
    assert isinstance(two.asked[here][-1], Against)
    two.take(Action.APPEND)
    assert not any(isinstance(one, Against) for one in two.asked[here])
    assert two.run().complete()


def test_the_same_file_is_compared_with_itself_by_one_engine() -> None:
    two = listed(Two()).press(Action.TOP, Action.ENTER)
    assert two.session.notice == "this is the same file: every difference is 0"
    assert two.session.second is two.session.game and list(two.files.values()) == ["fake.gguf"]
    assert two.complete() and {writer for writer, *_ in two.written} == {two.session.game.address}
    assert two.press(Action.SWAP).session.notice.startswith("this is the same file")
    assert two.press(Action.PART).session.notice == "this is the same file: they do not part"
    assert two.press(Action.VERSUS_MODEL).session.paired is UNPAIRED


def test_the_footer_says_once_how_a_comparison_is_ended() -> None:
    for two in (Two(), chosen(Two()), compared()):
        told = [label for _, keys, label in hints(two.session) if keys in ("v", "V")]
        assert told == (["versus model"] if two.session.paired is UNPAIRED else ["end comparing"])


@pytest.mark.parametrize("key", [Action.VERSUS_MODEL, Action.VERSUS])
def test_leaving_ends_the_second_engine_alone(key: Action) -> None:
    two = compared()
    address = two.b.address
    two.take(key)
    assert two.effects == [Close(address)]
    assert two.session.paired is UNPAIRED and two.session.game.ready and not two.session.other_games
    before = two.session
    two.take(EngineReplied(address, Loading(0.1)))  # what it said before it ended
    assert two.session is before or two.session == before


def test_escape_at_the_prompts_end_ends_nothing() -> None:
    """It is pressed to be sure where one is: a model would have to be loaded again."""
    two = compared()
    two.press(Action.CURSOR_TIP, Action.CURSOR_TIP)
    assert isinstance(two.session.paired, Pair) and not two.effects


def test_what_cannot_be_compared_says_why() -> None:
    two = listed(Two()).press(Action.DOWN, Action.DOWN, Action.ENTER)
    assert two.session.notice == "bad.gguf cannot be used: it ends too early" and two.session.paired is UNPAIRED
    game = two.session.game
    assert game.model
    served = replace(game.model, capabilities=game.model.capabilities - {Capability.COMPARISON})
    two.session = replace(two.session, game=replace(game, model=served))
    assert "only models of this machine" in two.press(Action.VERSUS_MODEL).session.notice
    two = chosen(Two())
    two.take(NoRows("/tmp: disk full"))
    assert two.session.notice == "nothing can be compared: /tmp: disk full"


def test_the_second_engine_may_stop_at_any_time_and_the_first_goes_on() -> None:
    for moment in range(8):
        two = chosen(Two("hello"))
        address = two.b.address
        for _ in range(moment):
            if waiting := [engine for engine, asked in two.asked.items() if asked]:
                two.step(waiting[0])
        two.asked[address].clear()
        two.take(EngineReplied(address, EngineDied("SIGKILL")))
        assert two.session.notice == "B: engine stopped (SIGKILL), r restarts it", moment
        assert two.session.game.engine is EngineStatus.READY and two.b.engine is EngineStatus.DEAD
        assert "B: engine stopped, r restarts it" in shown(two)
        two.press(Action.APPEND, Action.POP)
        assert two.session.game.ready
        two.take(Action.RESTART)
        assert two.b.address != address and two.b.engine is EngineStatus.LOADING
        assert two.rows == 2 and two.run().complete(), moment


def test_the_first_engine_stops_and_comes_back_before_the_second() -> None:
    two = compared()
    first, beside = two.session.game.address, two.b.address
    two.take(EngineReplied(first, EngineDied("SIGKILL")))
    assert two.session.game.engine is EngineStatus.DEAD and two.b.engine is EngineStatus.READY
    two.take(EngineReplied(beside, EngineDied("SIGKILL")))
    two.press(Action.RESTART)
    assert two.session.game.engine is EngineStatus.READY and two.b.engine is EngineStatus.DEAD
    two.press(Action.RESTART, Action.APPEND)
    assert two.b.engine is EngineStatus.READY and two.complete()


def status_of(two: Two) -> str:
    """The status line."""
    return "".join(part for _, part in status(two.session, 200, AssistantTurns()))


@pytest.mark.parametrize("other", [OTHER, ELSEWHERE])
@pytest.mark.parametrize("first", ["A", "B"])
@pytest.mark.parametrize("lookahead", [0, 4])
def test_the_status_is_ready_once_both_halves_of_the_table_are_there(other: Loaded, first: str, lookahead: int) -> None:
    """Whichever engine is the faster one."""
    two = compared("hello", other)
    game = two.session.game
    two.session = replace(two.session, game=replace(game, settings=replace(game.settings, lookahead=lookahead)))
    two.take(Action.APPEND)
    a, b = two.session.game.address, two.b.address
    states = [status_of(two)]
    while any(two.asked.values()):
        faster, slower = (a, b) if first == "A" else (b, a)
        two.step(faster if two.asked[faster] else slower)
        states.append(status_of(two))
    ready = [bool(re.search(r"\bready\b", state)) for state in states]
    assert ready[-1] and not any(ready[: ready.index(False) + 1]), states
    assert ready.count(False) and all(ready[ready.index(True) :]), states
    assert any("comparing" in state for state in states)


def test_while_the_second_model_is_silent_the_status_is_that_of_the_first() -> None:
    two = compared().take(Action.APPEND)
    idle(two)
    assert "comparing" in status_of(two)
    for _ in range(20):
        two.take(Beat())
    idle(two)
    assert two.b.silence and re.search(r"\bready\b", status_of(two))


def test_both_engines_are_asked_whether_they_are_alive() -> None:
    two = chosen(Two())
    for _ in range(20):
        two.take(Beat())
    assert [request for request in two.asked[two.b.address] if isinstance(request, Ping)]
    assert two.b.silence and not two.session.game.silence
    assert "B: silent for" in shown(two)
    two.take(EngineReplied(two.b.address, Pong()))
    assert not two.b.silence


def test_a_wrong_answer_is_not_believed() -> None:
    two = chosen(Two())
    two.step(two.b.address)
    request = two.asked[two.b.address][0]
    assert isinstance(request, Export)
    with pytest.raises(WrongReply):
        two.take(EngineReplied(two.b.address, Exported(request.request, request.start, request.end + 1, 0, 0.0)))


def test_what_an_engine_refuses_is_told_as_its_and_not_asked_again() -> None:
    two = chosen(Two())
    two.step(two.b.address)
    request = two.asked[two.b.address].pop(0)
    assert isinstance(request, Export)
    two.take(EngineReplied(two.b.address, Failed(request.request, "too long for its context")))
    assert two.session.notice == "B: too long for its context"
    assert two.run().written == []


def refuse(two: Two, engine: int, kind: type[Request], reason: str = "too long for its context") -> Two:
    """Lets all engines answer, but for one of them that refuses requests of a kind."""
    while ready := [one for one, waiting in two.asked.items() if waiting]:
        request = two.asked[ready[0]][0]
        if ready[0] == engine and isinstance(request, kind):
            two.queues[engine].next()
            two.take(EngineReplied(engine, Failed(request.request, reason)))  # type: ignore[union-attr]
        else:
            two.step(ready[0])
    return two


@pytest.mark.parametrize(
    ("kind", "other", "told"),
    [
        (Export, OTHER, "B refused this: it is not compared"),
        (Against, OTHER, "A refused this: it is not compared"),
        (Tokenize, ELSEWHERE, "B has not read this text"),
        (EvaluateStrictly, ELSEWHERE, "B refused this: it is not compared"),
    ],
)
def test_where_something_is_refused_it_is_not_said_to_be_computed(
    kind: type[Request], other: Loaded, told: str
) -> None:
    two = chosen(Two("hello", other))
    engine = two.session.game.address if kind is Against else two.b.address
    screen = shown(refuse(two, engine, kind))
    assert told in screen and "being computed" not in screen


@pytest.mark.parametrize(
    ("kind", "other"), [(Export, OTHER), (Against, OTHER), (Tokenize, ELSEWHERE), (EvaluateStrictly, ELSEWHERE)]
)
def test_where_no_more_is_compared_the_status_has_no_dots(kind: type[Request], other: Loaded) -> None:
    two = chosen(Two("hello", other, kind=Fast))
    engine = two.session.game.address if kind is Against else two.b.address
    assert "… 0/4 compared" in shown(two)
    screen = shown(refuse(two, engine, kind).take(Action.UNDO))
    assert "0/4 compared" in screen and "… 0/4" not in screen


@pytest.mark.parametrize("kind", [Tokenize, EvaluateStrictly])
def test_where_the_other_model_reads_no_more_text_the_status_has_no_dots(kind: type[Request]) -> None:
    two = chosen(Two("hello", ELSEWHERE, kind=Fast)).run().take(Action.APPEND)
    screen = shown(refuse(two, two.b.address, kind).take(Action.UP))
    assert " over 4 of 5 " in screen and "of 5 …" not in screen


@pytest.mark.parametrize("why", ["dead", "silent", "not loaded", "no file", "within a character"])
def test_where_the_other_model_is_not_asked_the_status_has_no_dots(why: str) -> None:
    two = Within("hello", ELSEWHERE if why == "within a character" else OTHER, kind=Fast)
    if why == "within a character":
        two.beginning(two.session.game.prompt.tip.token)
    chosen(two, together=why != "not loaded")
    match why:
        case "dead":
            two.take(EngineReplied(two.b.address, EngineDied("SIGKILL")))
            two.queues[two.b.address].waiting.clear()
        case "silent":
            for _ in range(200):
                two.take(Beat())
            assert two.b.silence
        case "no file":
            two.session = replace(two.session, paired=replace(two.versus, file=""))  # it was made at once
            two.take(NoRows("/tmp: disk full")).run()
        case "not loaded":
            two.run().press(Action.APPEND, Action.APPEND)
        case _:
            two.run()
    two.session = replace(two.session, notice="")
    assert re.search(r"(0/4 compared|over \d of \d)", shown(two)), shown(two)
    assert not re.search(r"(… 0/4|of \d …)", shown(two))


class Within(Two):
    """Where one of the first model's tokens is the beginning of a character."""

    begins = PIECES

    def beginning(self, token: int) -> "Within":
        self.begins = {token: Piece(b"\xc3")}
        self.session.game.known.pieces.update(self.begins)
        return self

    def replies(self, engine: int, request: Request) -> Iterator[Reply]:
        for reply in super().replies(engine, request):
            if isinstance(reply, Evaluated) and self.files[engine] == "fake.gguf":
                reply = replace(reply, pieces={**reply.pieces, **self.begins})
            yield reply


def test_a_text_that_ends_within_a_character_is_not_said_to_be_computed() -> None:
    two = Within("hello", ELSEWHERE)
    two.beginning(two.session.game.prompt.tip.token)
    screen = shown(chosen(two).run())
    assert "B has not read this text" in screen and "being computed" not in screen


@pytest.mark.parametrize("other", [OTHER, ELSEWHERE])
def test_without_a_file_for_rows_it_is_said_why_nothing_is_compared(other: Loaded) -> None:
    two = chosen(Two("hello", other))
    two.session = replace(two.session, paired=replace(two.versus, file=""))  # it was made at once
    two.take(NoRows("/tmp: disk full")).run().take(Action.UNDO)
    needed = other is OTHER
    assert ("nothing can be compared: /tmp: disk full" in shown(two)) is needed
    assert "being computed" not in shown(two)
    two.press(RowsReady("rows"))
    assert "disk full" not in shown(two)


# --- playing on with either


def test_the_other_model_comes_to_the_front_at_the_same_place() -> None:
    two = compared("hello you").press(Action.CURSOR_BACK, Action.CURSOR_BACK)
    prompt, kept = two.session.game.prompt, len(two.written)
    difference = two.known.after(prompt.place.tip)
    assert difference
    two.press(Action.SWAP)
    there = two.session.game.prompt
    assert two.session.game.model == OTHER and there.tip.path() == prompt.tip.path()
    assert there.cursor and prompt.cursor and there.cursor.depth == prompt.cursor.depth
    assert two.known.after(there.place.tip) == difference.reverse
    assert two.complete() and len(two.written) == kept  # nothing is computed again
    two.press(Action.CURSOR_TIP, Action.APPEND, Action.APPEND)
    path = two.session.game.prompt.tip.path()
    two.press(Action.SWAP)
    assert two.session.game.model == MODEL and two.session.game.prompt.tip.path() == path
    assert len(two.session.game.prompts) == 1
    two.press(Action.UNDO)
    assert two.session.game.prompt.tip is prompt.tip


def test_what_was_played_with_the_second_model_before_stays() -> None:
    two = compared().press(Action.SWAP, Action.APPEND, Action.COPY, Action.APPEND, Action.SWAP)
    two.press(Action.VERSUS_MODEL)
    before = two.session.other_games["other.gguf"]
    assert len(before.prompts) == 2 and before.address == 0
    two.press(Action.POP, Action.POP)
    chosen(two).run().press(Action.SWAP)
    tips = [prompt.tip for prompt in two.session.game.prompts]
    assert {prompt.tip for prompt in before.prompts} < set(tips) and len(tips) == 3


def test_another_model_in_place_of_the_first_ends_the_comparison() -> None:
    two = compared()
    address = two.b.address
    two.press(Action.MODELS, ListedModels(ENTRIES), Action.DOWN, Action.ENTER, Prepared("other.gguf", Fit(0, 5000)))
    assert two.session.paired is UNPAIRED and two.session.game.model == OTHER and two.session.game.ready
    assert address not in two.files and len(two.files) == 1


def test_a_model_that_is_being_opened_stands_beside_no_other_than_it_was_chosen_for() -> None:
    two = listed(Two()).press(Action.TOP, Action.DOWN, Action.ENTER)
    assert two.session.paired == Opening("other.gguf")
    third = ENTRIES[0]._replace(path="third.gguf")
    two.press(Action.MODELS, ListedModels((*ENTRIES, third)), Action.BOTTOM, Action.ENTER)
    two.press(Prepared("third.gguf", Fit(0, 5000)))
    assert two.session.game.settings.model.key == "third.gguf" and two.session.paired is UNPAIRED
    two.press(PreparedSecond("other.gguf", Fit(0, 5000), "other.gguf", True))
    assert two.session.paired is UNPAIRED and list(two.files.values()) == ["third.gguf"]


@pytest.mark.parametrize("seed", few(range(30), of=5))
def test_whatever_comes_in_whatever_order_nothing_is_lost_or_mixed(seed: int) -> None:
    choose = random.Random(seed)
    two = chosen(Two("hello"))
    keys: list[Message] = [
        *(Action.APPEND, Action.POP, Action.SWAP, Action.CURSOR_BACK, Action.CURSOR_TIP, Action.COPY),
        *(Action.NEXT, Action.DOWN, Action.UP, Action.RESTART, Action.PART, Action.UNDO, Action.AUTOPLAY, Go(0)),
    ]
    for _ in range(120):
        if two.session.paired is UNPAIRED:
            chosen(two)
        if choose.random() < 0.5:
            two.take(choose.choice(keys))
        elif choose.random() < 0.06:
            engine = choose.choice([*two.asked])
            two.asked[engine].clear()
            two.take(EngineReplied(engine, EngineDied("SIGKILL")))
        elif waiting := [engine for engine, asked in two.asked.items() if asked]:
            two.step(choose.choice(waiting))
    for _ in range(2):
        two.press(Action.RESTART, Action.RESTART)
    if two.session.paired is UNPAIRED:
        chosen(two)
    if two.session.game.pressed.autoplay:
        two.take(Action.AUTOPLAY)
    two.run(choose).press(Action.POP, Action.APPEND)
    assert two.session.game.ready and two.complete()
    for node in two.session.game.prompt.tip.nodes(1):
        beside, path = two.known.token_pair(node), node.parent.path() if node.parent else []
        assert beside
        own = {beside.a.logprob, beside.b.logprob}
        assert own == {logprobs(path)[node.token], second(path)[node.token]}


def test_a_session_brings_the_comparison_back() -> None:
    two = compared().press(Action.SWAP, Action.APPEND, Action.SWAP)
    settings = two.session.game.settings
    again = load(b"".join(Encoder().encode(two.session, Stamp())), settings)
    assert isinstance(again.paired, Pair) and again.paired.key == "other.gguf"
    assert again.second and again.second.prompt.tip.path() == two.b.prompt.tip.path()
    assert isinstance(again.game.versus, AgainstModel) and again.options.layer is DELTA


def test_a_session_knows_the_second_model_also_before_it_was_played_with() -> None:
    two = compared()
    again = load(dump(two.session), two.session.game.settings)
    assert isinstance(again.paired, Pair) and again.second and not again.second.prompts
    assert again.other_games["other.gguf"].settings.model == GgufFile("other.gguf", "other.gguf")


@pytest.mark.parametrize("keys", [(), (Action.COPY, Action.APPEND)])
@pytest.mark.parametrize("there", [False, True])
def test_a_session_that_is_come_back_to_goes_on_as_one_that_was_played_on(
    keys: tuple[Action, ...], there: bool
) -> None:
    def end(two: Two) -> tuple[object, ...]:
        two.press(Action.SWAP)
        games = two.session.game, two.b
        prompts = [[(one.tip.path(), one.along) for one in game.prompts] for game in games]
        two.press(Action.VERSUS_MODEL)
        return prompts, [game.active for game in games], two.session.options.layer

    ends = []
    for saved in (False, True):
        two = Two("hello").run().press(Action.LAYER)
        assert two.session.options.layer is PROBABILITY
        chosen(two).run().press(Action.SWAP, *[Action.SWAP] * (not there), *keys, Action.APPEND)
        if saved:
            two.session = replace(load(dump(two.session), two.session.game.settings), rows=20)
            two.files.clear()
            two.queues.clear()
            two.press(Begin())
        ends.append(end(two))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("change", ['"along":1', '"along":-1', '"along":"0"', '"before":"none"', '"before":1'])
def test_a_prompt_that_is_not_there_goes_not_along(change: str) -> None:
    two = compared().press(Action.SWAP, Action.SWAP)
    body = json.dumps(json.loads(dump(two.session))["session"], separators=(",", ":"))
    name = change.split(":")[0]
    own = {'"along"': '"along":0', '"before"': '"before":"plain"'}[name]
    assert own in body
    older = body.replace(f"{own},", "").replace(f",{own}", "")
    assert isinstance(load(seal(older.encode()), two.session.game.settings).paired, Pair)
    with pytest.raises(BadArchive):
        load(seal(body.replace(own, change).encode()), two.session.game.settings)


@pytest.mark.parametrize("beside", ['{"file":1,"asked":""}', '{"file":"a\\u0000","asked":""}', '{"file":"a"}', "[]"])
def test_a_second_model_that_is_none_is_refused(beside: str) -> None:
    two = compared()
    body = json.dumps(json.loads(dump(two.session))["session"], separators=(",", ":"))
    own = '"beside":{"file":"other.gguf","asked":"other.gguf","before":"plain"}'
    assert own in body
    assert isinstance(load(seal(body.encode()), two.session.game.settings).paired, Pair)
    with pytest.raises(BadArchive):
        load(seal(body.replace(own, f'"beside":{beside}').encode()), two.session.game.settings)


# --- where two models part


def test_where_two_models_part_is_shown_with_both_ways() -> None:
    two = compared().press(Action.PART)
    parting = two.versus.parting
    assert parting and parting.reported and two.session.notice == "they part after 4 tokens; t shows both ways"
    tip = two.session.game.prompt.tip
    a = parting.a.path()
    assert a[: tip.depth] == tip.path() and parting.a.visited
    assert two.session.game.known.root.descend(parting.b.path()).visited
    assert not any(game.waiting for game in (two.session.game, two.b))
    assert two.press(Action.APPEND).versus.parting is None


class AtOnce(Two):
    """Engines that tell of many tokens together, as those do that play quickly, and go on until they are ended."""

    def replies(self, engine: int, request: Request) -> Iterator[Reply]:
        if not isinstance(request, Continue):
            yield from super().replies(engine, request)
            return
        told = [distribution([9], 5)] * (request.most or 100)
        yield Continued(request.request, [request.path[-1], *[9] * (len(told) - 1)], told, PIECES, 0.0, 9)


def test_both_go_on_by_no_more_tokens_than_is_said() -> None:
    two = chosen(AtOnce("hello")).run().press(Action.PART)
    parting = two.versus.parting
    assert parting and parting.reported and [len(way) for way in parting.ways] == [64, 64]
    assert two.session.notice == "they do not part in 64 tokens"


def test_while_it_is_looked_where_they_part_the_header_says_so() -> None:
    two = compared()
    two.take(Action.PART)
    assert "working  looking where they part" in shown(two) and "ready" not in shown(two)
    while two.versus.is_parting:
        assert "working  looking where they part" in shown(two)
        two.step(next(engine for engine, waiting in two.asked.items() if waiting))
    assert "looking where" not in shown(two.run()) and "ready" in shown(two)


@pytest.mark.parametrize("size", [(60, 16), (60, 17), (60, 18), (80, 24), (100, 16)])
def test_both_ways_are_seen_on_a_terminal_of_any_size(size: tuple[int, int]) -> None:
    two = compared().press(Action.PART)
    lines = ["".join(part for _, part in line) for line in ScreenRenderer().screen(two.session, *size)]
    for way in ("A … ␣o", "B … ␣o"):
        assert any(way in line for line in lines)


def test_the_other_ways_tokens_are_known_where_their_own_engine_never_told_of_them() -> None:
    two = compared()
    two.take(Action.PART)
    a = two.session.game.address
    while two.asked[a]:  # A's way is there first
        two.step(a)
    assert two.versus.parting and two.versus.parting.done == (True, False)
    pieces = two.session.game.known.pieces
    for token in {*pieces} - {*two.versus.parting.a.path()}:
        del pieces[token]
    two.run()
    assert two.versus.parting and two.versus.parting.reported
    assert {node.token for node in two.versus.parting.ways[1]} <= pieces.keys()


def test_a_key_breaks_off_looking_where_they_part() -> None:
    two = compared()
    two.take(Action.PART)
    two.take(Action.APPEND)
    assert two.versus.parting is None and two.session.notice == "where they part is not looked for any more"
    assert two.run().complete()


def test_a_key_costs_no_more_in_a_long_prompt() -> None:
    two = compared("x" * 2000)
    two.press(Action.SWAP, Action.APPEND)  # the first time the whole path is gone through
    for key in (Action.SWAP, Action.CURSOR_BACK, Action.CURSOR_TIP, Action.POP, Action.APPEND, Action.SWAP):
        if key is Action.CURSOR_TIP:
            key = Action.CURSOR_ON
        assert steps(lambda key=key: two.take(key)) < 12_000, key  # type: ignore[misc]
        two.run()


# --- other vocabularies


def test_models_of_different_vocabularies_are_compared_by_their_text() -> None:
    two = compared("hello", ELSEWHERE)
    comparison = two.versus.way.comparison
    assert isinstance(comparison, TextComparison) and not two.written
    tip = two.session.game.prompt.tip
    assert comparison.tip is tip and isinstance(two.versus.way, ByText) and two.versus.way.of(tip)
    assert [comparison.delta(node) for node in tip.nodes(1)] == [0.0] * 4  # the fake says the same of the same tokens
    assert comparison.rates and comparison.rates.per_byte[0] == comparison.rates.per_byte[1]
    two.press(Action.APPEND)
    assert comparison.tip is two.session.game.prompt.tip
    ScreenRenderer().screen(two.session, 130, 40)
    two.press(Action.SWAP, Action.APPEND)
    assert two.session.game.model == ELSEWHERE
    there = two.versus.way.comparison
    assert isinstance(there, TextComparison) and there.tip is two.session.game.prompt.tip
    assert two.press(Action.PART).versus.parting


class Pairs(Two):
    """Where the second model's tokens are two of the first one's each, whatever they are."""

    cut = PIECES

    def replies(self, engine: int, request: Request) -> Iterator[Reply]:
        if self.files[engine] == "fake.gguf":
            yield from super().replies(engine, request)
        elif isinstance(request, Tokenize) and request.text.startswith(" "):
            parts = request.text.split(" ")[1:]
            texts = ["".join(f" {part}" for part in parts[at : at + 2]) for at in range(0, len(parts), 2)]
            self.cut = {**PIECES, **{token: Piece(text.encode()) for token, text in enumerate(texts)}}
            yield Tokenized(request.request, [*range(len(texts))], self.cut)
        else:
            for reply in super().replies(engine, request):
                if isinstance(reply, Evaluated):
                    reply = replace(reply, pieces={token: self.cut[token] for token in reply.pieces})
                yield reply


def test_where_b_has_longer_tokens_the_mean_is_that_of_as_tokens() -> None:
    two = chosen(Pairs("hello wo", ELSEWHERE)).run()
    comparison = two.versus.way.comparison
    assert isinstance(comparison, TextComparison)
    tip = two.session.game.prompt.tip
    # The first stretch is B's first token, which nothing predicts.
    assert len(comparison.deltas) == 3 and comparison.compared == comparison.shared(tip) == 6
    total = comparison.deltas.total
    assert f"A−B {bits_text(total)} bits over 6" in shown(two) and f"{bits_text(total / 6)} a token" in shown(two)
    two.press(Action.NEXT_SURPRISAL)
    assert "so far" not in two.session.notice
    two.press(Action.CURSOR_TIP, Action.CURSOR_BACK)
    assert "B has no boundary here" in shown(two) and "B lacks" not in shown(two)
    two.press(Action.CURSOR_BACK)
    assert "no divergence" in shown(two)


def test_the_colours_of_a_line_follow_what_b_makes_of_its_bytes_with_the_text_behind_it() -> None:
    two = chosen(Pairs("hello", ELSEWHERE)).run()
    pane = PromptPane()

    def lines(pane: PromptPane) -> list[Line]:
        return pane.lines(two.session, looks(two.session), 3, 20)  # one token on each

    changed = False
    for _ in range(4):
        lines(pane)
        two.take(Action.APPEND)
        last = two.session.game.prompt.tip.parent
        comparison = two.session.game.comparison
        assert last and comparison
        two.step(two.session.game.address)
        before = comparison.delta(last)
        lines(pane)
        two.run()
        assert lines(pane) == lines(PromptPane())
        changed |= comparison.delta(last) != before
    assert changed


@pytest.mark.parametrize("other", [OTHER, ELSEWHERE])
def test_before_anything_is_predicted_two_models_are_not_called_the_same(other: Loaded) -> None:
    two = compared("t", other)
    assert "no text was predicted by both yet" in shown(two) and "the same:" not in shown(two)
    assert "A and B are the same" not in shown(two)
    assert two.press(Action.NEXT_SURPRISAL).session.notice == "no text was predicted by both yet"
    if other is OTHER:
        assert two.press(Action.FLIP).session.notice == "no text was predicted by both yet"


def test_of_other_vocabularies_nothing_is_told_that_they_do_not_have() -> None:
    two = compared("hello", ELSEWHERE)
    assert two.press(Action.FLIP).session.notice == "different vocabularies: no flips"
    before = two.session.options
    assert two.press(Action.ORDER).session.notice == "different vocabularies: both are sorted by probability"
    assert two.session.options == before


def test_beside_a_rank_of_a_stands_the_same_one_of_b_through_samplers_too() -> None:
    two = Two("hello", ELSEWHERE)
    chain = Chain((Sampler.of(Kind.TEMPERATURE, 0.9),), bias=((5, 8.0), (7, 9.0)))
    sampling = replace(two.session.game.sampling, chain=chain)
    two.session = replace(
        two.session,
        game=replace(two.session.game, sampling=sampling),
        options=replace(two.session.options, by_final=True),
    )
    two.press(Action.APPEND)
    assert table(two.session, two.session.game.prompt)[0].rank > 1
    chosen(two).run()
    assert [row.rank for row in table(two.session, two.session.game.prompt)][:9] == [*range(1, 10)]
    # The fake models say the same of the same tokens.
    rows = ranked(two)
    assert len(rows) > 9 and all(len(cells) == 5 and cells[1:3] == cells[3:5] for cells in rows)


def ranked(two: Two) -> list[list[str]]:
    """The cells of the table's rows."""
    told = [line.split("│")[1].strip(" •").split() for line in shown(two).splitlines() if "│" in line]
    return [cells for cells in told if cells and cells[0].isdigit()]


def test_a_popped_token_behind_the_likely_ones_has_none_of_b_beside_it() -> None:
    two = compared("hello", ELSEWHERE).press(Action.POP)
    *_, popped = ranked(two)
    assert popped[0] == "58" and len(popped) == 3


def test_a_text_that_the_other_vocabulary_refuses_is_not_asked_again() -> None:
    two = chosen(Two("hello", ELSEWHERE))
    two.step(two.b.address)
    request = two.asked[two.b.address].pop(0)
    assert isinstance(request, Tokenize)
    two.take(EngineReplied(two.b.address, Failed(request.request, "no token for this")))
    assert two.session.notice == "B: no token for this"
    two.run()
    assert not any(two.asked.values())


# --- where there is memory for one of the two


def test_two_models_that_do_not_fit_together_take_turns() -> None:
    two = chosen(Two("hello you"), together=False)
    most = 0
    assert two.session.notice == "there is memory for one of the two models: they take turns"
    while ready := [engine for engine, waiting in two.asked.items() if waiting]:
        two.step(ready[0])
        most = max(most, len(two.asked))
    assert most == 1 and list(two.files.values()) == ["fake.gguf"]
    assert two.complete() and two.session.game.ready and len(two.written) == 1
    assert "o plays the other one" in two.press(Action.SWAP).session.notice
    two.press(Action.APPEND)
    assert "B is not loaded: r compares what is new" in shown(two)
    assert not two.complete() and two.session.game.ready  # each key would load both again
    assert two.press(Action.RESTART).complete() and len(two.written) == 2
    two.press(Action.VERSUS_MODEL)
    assert two.session.paired is UNPAIRED and two.session.game.ready


@pytest.mark.parametrize("moment", range(6))
@pytest.mark.parametrize("leave", [True, False])
def test_while_the_second_model_computes_nothing_is_lost(moment: int, leave: bool) -> None:
    two = chosen(Two("hello you"), together=False)
    for _ in range(moment):
        if ready := [engine for engine, waiting in two.asked.items() if waiting]:
            two.step(ready[0])
    tip = two.session.game.prompt.tip
    if leave:
        two.press(Action.VERSUS_MODEL)
        assert two.session.paired is UNPAIRED
    elif address := two.b.address:
        two.asked[address].clear()
        two.take(EngineReplied(address, EngineDied("SIGKILL")))
        two.press(Action.RESTART, Action.RESTART)
        assert two.complete()
    two.run().press(Action.APPEND)
    assert two.session.game.ready and two.session.game.prompt.tip.parent is tip
    assert list(two.files.values()) == ["fake.gguf"]


def test_the_second_model_refuses_while_they_take_turns() -> None:
    two = chosen(Two("hello you"), together=False)
    two.step(two.b.address)
    request = two.asked[two.b.address].pop(0)
    assert isinstance(request, Export)
    two.take(EngineReplied(two.b.address, Failed(request.request, "too long for its context")))
    assert list(two.run().files.values()) == ["fake.gguf"] and two.session.game.ready


def test_models_of_different_vocabularies_do_not_take_turns() -> None:
    two = chosen(Two("hello", ELSEWHERE), together=False).run()
    assert two.session.paired is UNPAIRED and two.session.game.ready
    assert list(two.files.values()) == ["fake.gguf"]


@pytest.mark.parametrize("keys", [(Action.COPY,), (Action.COPY, Action.REMOVE), (Action.CURSOR_BACK, Action.APPEND)])
def test_prompts_that_were_made_from_others_are_saved_with_either_model_in_front(keys: tuple[Action, ...]) -> None:
    two = Two("hello")
    two.run().press(*keys)
    chosen(two).run()
    for _ in range(3):
        two.press(Action.SWAP)
        settings = two.session.game.settings
        again = load(dump(two.session), settings)
        assert [one.tip.path() for one in again.game.prompts] == [one.tip.path() for one in two.session.game.prompts]
        roots = {one.parent.ancestor(0) for one in two.session.game.prompts if one.parent}
        assert roots <= {two.session.game.known.root}


def test_a_prompt_whose_parent_is_in_no_tree_is_saved() -> None:
    two = compared()
    game = two.session.game
    elsewhere = two.b.known.root.descend(game.prompt.tip.path())
    prompts = (replace(game.prompt, parent=elsewhere),)
    session = replace(two.session, game=replace(game, prompts=prompts))
    assert load(dump(session), game.settings).game.prompt.parent is None


PARTING = [(Action.DOWN, Action.DOWN, Action.APPEND), (Action.APPEND,), (Action.SWAP,), (Action.POP,)]


@pytest.mark.parametrize("keys", PARTING)
@pytest.mark.parametrize("steps", range(3))
def test_what_is_asked_while_it_is_looked_where_they_part_is_answered(keys: tuple[Action, ...], steps: int) -> None:
    two = compared()
    two.take(Action.PART)
    for _ in range(steps):
        for engine in [engine for engine, waiting in two.asked.items() if waiting]:
            two.step(engine)
    for key in keys:
        two.take(key)
    two.run()
    assert two.session.game.ready and not two.session.game.waiting and two.complete()


def test_the_model_beside_stays_while_another_one_is_gone_back_to() -> None:
    two = compared()
    session = replace(two.session, origin="before")
    settled = model_switch.settled(session)
    assert settled.second is not None and two.versus.key in settled.other_games
    game = two.b
    twin = replace(session, other_games={two.versus.key: replace(game, prompts=session.game.prompts)})
    assert game.model is not None
    assert model_switch.adopted(twin, game.model).second is not None


def test_texts_that_came_along_are_asked_for_once_their_model_is_in_front() -> None:
    two = compared()
    other = replace(two.b, carried=(Carried(0, " A B", ""),))
    two.session = replace(two.session, other_games={**two.session.other_games, two.versus.key: other})
    two.press(Action.SWAP)
    assert not two.session.game.carried and len(two.session.game.prompts) == 2


def test_what_a_comparison_was_refused_is_tried_again_by_the_next_one() -> None:
    two = compared()
    tip = two.session.game.prompt.tip
    refused = frozenset({(ForAgainst, tip, RAW), (ForLookahead, tip, RAW)})
    two.session = replace(two.session, game=replace(two.session.game, refused=refused))
    two.press(Action.VERSUS_MODEL)
    chosen(two)
    assert two.session.game.refused == {(ForLookahead, tip, RAW)}


def test_another_prompt_takes_no_prompt_away_from_the_other_model() -> None:
    two = compared("hello")
    two.press(Action.SWAP)
    two.press(Action.POP, Action.POP)
    two.press(Action.PROMPTS, Action.NEW, Typed("new"), Action.ENTER)
    two.press(Action.SWAP)
    assert [prompt.tip.path() for prompt in two.session.game.prompts] == list(map(text_to_path, ("hello", "new")))
    assert two.session.game.active == 1
    # The one that is played on with goes along, to and fro.
    two.press(Action.SWAP)
    two.press(Action.POP, Action.SWAP)
    assert [prompt.tip.path() for prompt in two.session.game.prompts] == list(map(text_to_path, ("hello", "ne")))


def test_the_place_is_kept_in_a_prompt_that_the_other_model_has_open_already() -> None:
    two = Two("hello").run().press(Action.COPY, Action.APPEND)
    chosen(two).run().press(Action.SWAP, Action.SWAP, Action.PREVIOUS, Action.SWAP, Action.SWAP, Action.NEXT)
    for back in (2, 0):
        two.press(Action.CURSOR_TIP, *[Action.CURSOR_BACK] * back)
        here = two.session.game.prompt
        assert not here.along
        two.press(Action.SWAP)
        there = two.session.game.prompt
        assert len(two.session.game.prompts) == 2 and there.tip.path() == here.tip.path()
        assert (there.cursor and there.cursor.path()) == (here.cursor and here.cursor.path())
        two.press(Action.SWAP, Action.PREVIOUS, Action.SWAP, Action.SWAP, Action.NEXT)


def test_another_prompt_is_not_taken_along_where_there_is_no_room() -> None:
    two = compared("hello")
    two.press(Action.SWAP)
    two.press(Action.PROMPTS, Action.NEW, Typed("new"), Action.ENTER)
    full = replace(two.b, prompts=two.b.prompts * two.b.settings.max_prompts)
    two.session = replace(two.session, other_games={**two.session.other_games, full.settings.model.key: full})
    before = two.session.game.prompts
    two.press(Action.SWAP)
    assert two.session.game.prompts == before and "no more than" in two.session.notice
    assert two.b.prompts == full.prompts


def test_all_prompts_go_to_a_model_that_was_only_beside_this_one() -> None:
    two = compared("hello")
    two.press(Action.COPY, Action.APPEND)
    assert len(two.session.game.prompts) == 2 and not two.b.prompts
    two.press(Action.MODELS, ListedModels(ENTRIES), Action.DOWN, Action.ENTER, Prepared("other.gguf", Fit(0, 5000)))
    two.run()
    assert two.session.game.settings.model.key == "other.gguf"
    assert len(two.session.game.prompts) == 2 and not two.session.game.carried
    assert len(two.session.other_games["fake.gguf"].prompts) == 2


def test_a_prompt_removed_and_another_opened_is_another_one() -> None:
    two = compared("hello")
    two.press(Action.SWAP)
    two.press(Action.PROMPTS, Action.NEW, Typed("new"), Action.ENTER)
    two.press(Action.PREVIOUS, Action.REMOVE, Action.SWAP)
    assert [prompt.tip.path() for prompt in two.session.game.prompts] == list(map(text_to_path, ("hello", "new")))


def test_the_prompt_played_on_with_goes_along_wherever_it_stands() -> None:
    two = compared("hello")
    two.press(Action.SWAP)
    two.press(Action.PROMPTS, Action.NEW, Typed("new"), Action.ENTER, Action.PREVIOUS)
    two.press(Action.POP, Action.SWAP)
    assert [prompt.tip.path() for prompt in two.session.game.prompts] == [text_to_path("hell")]


def test_a_roll_while_the_models_take_turns_is_refused() -> None:
    two = chosen(Two(), together=False)
    while two.session.paired.turn is not Turn.B:  # type: ignore[union-attr]
        two.step(next(engine for engine, waiting in two.asked.items() if waiting))
    two.press(Action.ROLL)
    assert two.session.notice == "still loading" and not two.session.game.newest(ForRoll)
    two.run()
    assert not two.session.game.waiting and two.press(Action.ROLL).run().session.game.prompt.tip.depth == 6


def test_rows_of_a_file_that_was_replaced_are_not_believed() -> None:
    two = compared("hello")
    pair = two.session.paired
    assert isinstance(pair, Pair)
    assert pair.held is not None
    two.take(RowsReady("another"))
    assert isinstance(two.session.paired, Pair) and two.session.paired.held is None


def until(two: Two, engine: int, kind: type[Request]) -> Request:
    """Lets all engines answer until one of them is to answer a request of this kind, which it takes."""
    while not (found := [one for one in two.asked[engine] if isinstance(one, kind)]):
        two.step(next(one for one, waiting in two.asked.items() if waiting))
    while two.queues[engine].next() is not found[0]:
        pass
    two.going.add(engine)
    return found[0]


@pytest.mark.parametrize("same", [False, True])
def test_what_is_computed_for_a_comparison_that_is_ended_says_nothing_of_the_next_model(same: bool) -> None:
    two = chosen(Two("hello"))
    here = two.session.game.address
    late = list(two.replies(here, until(two, here, Against)))
    two.take(Action.VERSUS_MODEL)
    assert two.effects[0] == Send(here, Stop())
    if same:
        listed(two).take(Action.TOP).take(Action.ENTER)
    else:
        chosen(two)
    for reply in late:
        two.take(EngineReplied(here, reply))
    assert all(two.known.after(node) is None for node in two.session.game.prompt.tip.nodes())
    assert two.run().complete()


def test_rows_that_came_for_a_comparison_that_is_ended_are_not_in_the_next_file() -> None:
    two = Two("hello")
    here = two.session.game.address
    listed(two).take(Action.TOP).take(Action.ENTER)
    late = list(two.replies(here, until(two, here, Export)))
    two.take(Action.VERSUS_MODEL)
    listed(two).take(Action.TOP).take(Action.ENTER)
    for reply in late:
        two.take(EngineReplied(here, reply))
    assert two.versus.held is None and two.run().complete()


def test_who_reads_rows_of_a_file_that_is_replaced_is_not_waited_for() -> None:
    two = chosen(Two("hello"))
    here = two.session.game.address
    reads = until(two, here, Against)
    assert isinstance(reads, Against)
    two.take(EngineReplied(two.b.address, EngineDied("SIGKILL"))).take(Action.RESTART)
    two.take(EngineReplied(here, Failed(reads.request, "there is no such file")))
    assert not two.session.game.refused and two.run().complete()


def test_who_was_ended_while_rows_were_read_has_refused_nothing() -> None:
    """Two quick keys: the second one lets B replace the rows before A has noticed the first."""
    two = Two("hello you").press(Action.PROMPTS, Action.NEW, Typed("other text"), Action.ENTER, Go(0))
    a = chosen(two).session.game.address
    while not any(isinstance(request, Against) for request in two.asked[a]):
        two.step(next(engine for engine, waiting in two.asked.items() if waiting))
    reading = two.queues[a].next()
    assert isinstance(reading, Against)
    two.take(Action.APPEND).take(Go(1))
    assert any(isinstance(request, Export) for request in two.asked[two.b.address])
    two.take(EngineReplied(a, Failed(reading.request, "the rows end too early")))
    assert "rows" not in two.session.notice
    assert two.run().press(Go(0), Action.POP).complete()


def test_another_prompt_has_none_of_the_numbers_of_the_one_before() -> None:
    """Also where B is never to read it, as it ends within a character."""
    two = Within("hello", ELSEWHERE)
    chosen(two).run()
    game = two.session.game
    comparison = two.versus.way.comparison
    assert isinstance(comparison, TextComparison) and comparison.rates and len(comparison.deltas)
    two.press(Action.PROMPTS, Action.NEW, Typed("other"), Action.ENTER)
    two.beginning(two.session.game.prompt.tip.token).press(Action.PREVIOUS)
    assert two.session.game.prompt.tip is game.prompt.tip and comparison.rates
    two.press(Action.NEXT)
    assert comparison.rates is None and not len(comparison.deltas)
    assert "0/4 compared" in shown(two) and "bits per byte" not in shown(two)
    assert two.press(Action.NEXT_SURPRISAL).session.notice == "no token was compared yet"
    assert two.session.game.prompt.cursor is None


def test_what_a_shorter_text_begins_with_is_known_at_once() -> None:
    two = compared("hello", ELSEWHERE)
    rows = len(ranked(two))
    two.take(Action.POP)
    comparison = two.versus.way.comparison
    assert isinstance(comparison, TextComparison) and comparison.tip is None
    assert len(comparison.deltas) == 3 and "over 3" in shown(two)
    table = ranked(two)
    assert len(table) >= rows and len(table[0]) == 5, "B's tokens stand beside those of A"
    two.run()
    assert comparison.tip is two.session.game.prompt.tip


@pytest.mark.parametrize("there", [True, False])
def test_what_is_undone_does_not_change_which_prompt_goes_along(there: bool) -> None:
    two = compared("hello")
    two.press(Action.SWAP, Action.SWAP)
    two.press(*([Action.SWAP] if there else []))
    two.press(Action.COPY, Action.APPEND)
    two.press(Action.SWAP)
    two.press(Action.UNDO)
    before = [prompt.tip.path() for prompt in two.b.prompts]
    two.press(Action.SWAP)
    after = [prompt.tip.path() for prompt in two.session.game.prompts]
    assert all(path in after for path in before), "no prompt is taken away by another"


def test_undoing_does_not_pile_up_prompts_in_the_other_model() -> None:
    two = compared("hello")
    two.press(Action.APPEND, Action.APPEND)
    for _ in range(3):
        two.press(Action.SWAP, Action.SWAP, Action.UNDO)
    two.press(Action.SWAP)
    assert len(two.session.game.prompts) == 1


def test_undoing_after_the_comparison_marks_no_prompt() -> None:
    two = compared("hello")
    two.press(Action.SWAP, Action.SWAP, Action.APPEND, Action.VERSUS_MODEL, Action.UNDO)
    assert not any(prompt.along for prompt in two.session.game.prompts)


# --- strict numbers alone


def all_told(two: Two) -> bool:
    """Whether all rows of the table have numbers of A."""
    told = told_of_a(two.session)
    return bool(told) and all(rank and prob for rank, prob in told.values())


class Watched(Two):
    """Two models of which nothing is read strictly, looked at after whatever is done and answered."""

    def take(self, message: Message) -> "Two":
        super().take(message)
        if self.session.game.prompts and isinstance(self.session.game.comparison, ModelComparison):
            strictly_told(self.session)
        return self


MOVES = [
    *(Action.APPEND, Action.POP, Action.UP, Action.DOWN, Action.BOTTOM, Action.TOP, Action.UNDO, Action.ORDER),
    *(Action.CURSOR_BACK, Action.CURSOR_FAR_BACK, Action.CURSOR_TIP, Action.NEXT_SURPRISAL, Action.FLIP),
]


@pytest.mark.parametrize("seed", few(range(10), of=5))
def test_fast_and_strict_numbers_do_not_stand_beside_each_other(seed: int) -> None:
    two, rng = chosen(Watched("hello you", kind=Fast)).run(), random.Random(seed)
    for _ in range(40):
        two.press(rng.choice(MOVES))
        assert not two.session.game.prompt.place.tip.depth or all_told(two)


def test_a_popped_token_that_is_unlikely_has_the_numbers_of_both_models() -> None:
    two = chosen(Two(kind=Fast)).run()
    path = two.session.game.prompt.tip.path()
    rare = sorted(range(64), key=lambda token: -logprobs(path)[token])[45]
    name = PIECES[rare].data.decode().strip()
    two.press(Action.SEARCH, Typed(name), Action.APPEND, Action.POP)
    line = next(line for line in shown(two).splitlines() if f" ␣{name} " in line[80:])
    a, b = (number(math.exp(of(path)[rare])) for of in (logprobs, second))
    assert f" 46 ␣{name} " in line and a in line and b in line


def test_while_the_other_model_is_not_loaded_the_table_has_strict_numbers_of_the_first() -> None:
    two = chosen(Watched(kind=Fast), together=False).run()
    assert two.versus.turn is Turn.A
    two.take(Action.APPEND)
    assert not any(prob for _, prob in told_of_a(two.session).values())
    two.run()
    assert "B is not loaded" in shown(two) and all_told(two)


@pytest.mark.parametrize("other", [OTHER, ELSEWHERE])
def test_while_a_table_is_computed_the_dimmed_one_before_it_is_still_of_both_models(other: Loaded) -> None:
    two = chosen(Two("hello you", other, kind=Fast)).run()
    for _ in range(12):
        two.take(Action.DOWN)
    before = rows_of_both(two.run().session)
    two.take(Action.APPEND)
    assert two.session.game.prompt.tip.distribution is None
    assert rows_of_both(two.session) == before


def idle(two: Two) -> Two:
    """Lets A answer all, and B nothing."""
    while two.asked[two.session.game.address]:
        two.step(two.session.game.address)
    return two


@pytest.mark.parametrize("why", ["loading", "dead", "silent", "no file"])
def test_where_nothing_comes_of_the_other_model_the_table_has_strict_numbers_of_the_first(why: str) -> None:
    two = chosen(Watched("hello you", kind=Fast))
    match why:
        case "dead":
            two.take(EngineReplied(two.b.address, EngineDied("SIGKILL")))
            two.queues[two.b.address].waiting.clear()
        case "silent":
            two.step(two.b.address)
            for _ in range(20):
                two.take(Beat())
            assert two.b.silence
        case "no file":
            two.session = replace(two.session, paired=replace(two.versus, file=""))  # it was made at once
            two.take(NoRows("/tmp: disk full")).run()
    assert all_told(idle(two))
    two.take(Action.APPEND)
    assert all_told(idle(two))


@pytest.mark.parametrize("kind", [Export, Against])
def test_where_nothing_can_be_compared_the_table_has_strict_numbers_of_the_first(kind: type[Request]) -> None:
    two = chosen(Watched("hello you", kind=Fast))
    engine = two.b.address if kind is Export else two.session.game.address
    refuse(two, engine, kind)
    two.take(Action.APPEND)
    assert all_told(refuse(two, engine, kind))


def test_what_is_told_of_a_table_and_of_the_token_before_it_is_asked_for_together() -> None:
    two = chosen(Two("hello you", kind=Fast))
    a, tip = two.session.game.address, two.session.game.prompt.tip
    (request,) = (one for one in two.asked[a] if isinstance(one, EvaluateStrictly))
    assert (request.path, request.start) == (tip.path(), tip.depth - 2)
    two.step(a)
    assert not any(isinstance(one, EvaluateStrictly) for one in two.asked[a]) and all_told(two)


def test_before_the_first_engine_goes_the_table_has_its_strict_numbers() -> None:
    two = chosen(Watched("hello you", kind=Fast), together=False)
    while two.versus.turn is Turn.DUE:
        two.step(two.session.game.address)
    assert two.versus.turn is Turn.B and all_told(two)


def test_what_the_first_engine_refuses_when_it_is_back_leaves_the_table_its_strict_numbers() -> None:
    two = chosen(Watched("hello you", kind=Fast), together=False)
    while two.versus.turn is not Turn.A:
        two.step(next(engine for engine, waiting in two.asked.items() if waiting))
    engine = two.session.game.address
    refuse(two, engine, Against)
    two.take(Action.APPEND)
    assert all_told(refuse(two, engine, Against))


@pytest.mark.parametrize("moment", range(2, 6))
def test_what_is_appended_while_they_take_turns_has_strict_numbers_behind_the_comparison(moment: int) -> None:
    """Also where that ends last: nothing else comes by which they would be asked for."""
    two = chosen(Watched("he", kind=Fast), together=False)
    for _ in range(moment):
        two.step(next(engine for engine, waiting in two.asked.items() if waiting))
    two.take(Action.APPEND).run()
    assert two.versus.turn is Turn.A and two.versus.held is None and not two.session.under_way.comparing
    assert all_told(two) and lacks_of_a(two.session) is None


def test_of_other_vocabularies_the_table_of_the_first_does_not_wait_for_the_other() -> None:
    two = chosen(Two("hello you", ELSEWHERE, kind=Fast))
    two.step(two.b.address)
    assert isinstance(two.asked[two.b.address][0], Tokenize)
    assert lacks_of_a(idle(two).session) is None


def test_of_other_vocabularies_both_tables_are_strict() -> None:
    two = chosen(Two(other=ELSEWHERE, kind=Fast))

    def columns() -> set[tuple[str, ...]]:
        """The probabilities by A and B of each row."""
        head, *lines = ["".join(text for _, text in line) for line in table_lines(two.session, 64, 90)]
        rows = lines[: len(table(two.session, two.session.game.prompt.place))]
        return {tuple(re.findall(r" (0\.[0-9]+|[0-9.]+e-[0-9]+)", row)) for row in rows} if "prob" in head else set()

    def strict() -> set[tuple[str, ...]]:
        path = two.session.game.prompt.place.tip.path()
        return {(number(math.exp(value)),) * 2 for value in logprobs(path)}

    two.run().press(Action.DOWN)
    assert columns() <= strict() and () not in columns()
    two.take(Action.APPEND)
    while waiting := [engine for engine, requests in two.asked.items() if requests]:
        if isinstance(two.session.game.comparison, TextComparison) and two.session.game.ready:
            assert all(set(one) <= {prob for pair in strict() for prob in pair} for one in columns())
        two.step(waiting[0])
    assert columns() <= strict() and () not in columns()
