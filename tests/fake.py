"""An engine made of arithmetic: answers requests as the real one would, at once and exactly."""

import math
import operator
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from functools import lru_cache
from typing import TypeVar

from tokex_gguf.engine.protocol import (
    Against,
    Applied,
    Apply,
    Capability,
    Check,
    Checked,
    Compare,
    Compared,
    Constrain,
    Constrained,
    Continue,
    Continued,
    EngineDied,
    Evaluate,
    Evaluated,
    EvaluateStrictly,
    Export,
    Exported,
    Failed,
    Force,
    Forced,
    Found,
    Load,
    Loaded,
    Lookahead,
    LookaheadDone,
    LookaheadStrictly,
    MeasureNoise,
    Noise,
    Ping,
    Pong,
    Reply,
    Request,
    Roll,
    Rolled,
    Search,
    Spell,
    Spelt,
    StrictLookaheadDone,
    Tokenize,
    Tokenized,
    Walk,
)
from tokex_gguf.play import screens
from tokex_gguf.play.game import Game, Sampling, Settings
from tokex_gguf.play.messages import (
    Align,
    Aligned,
    BackgroundReported,
    Begin,
    CompareFurther,
    Effect,
    EngineReplied,
    JudgeFurther,
    Message,
    SearchFurther,
    Send,
)
from tokex_gguf.play.purposes import Comparing
from tokex_gguf.play.screens import Screen
from tokex_gguf.play.session import Session
from tokex_gguf.play.update import update
from tokex_gguf.ui.second import awaited_of_both
from tokex_gguf.values.alignment import aligned
from tokex_gguf.values.constraint import Constraint, ConstraintKind
from tokex_gguf.values.difference import Difference, TokenPair
from tokex_gguf.values.distribution import Distribution, TokenLogprob
from tokex_gguf.values.lens import Raw, Sampled
from tokex_gguf.values.model_ref import GgufFile
from tokex_gguf.values.path_text import PathText
from tokex_gguf.values.random_numbers import numbers
from tokex_gguf.values.samplers import Chain, Kind
from tokex_gguf.values.text_field import EMPTY, TextField
from tokex_gguf.values.tokens import Piece
from tokex_gguf.values.view import NOT_CUT, Draw, Stage, Standing, Verdict, View

VOCAB = 64
PIECES = {token: Piece(f" {chr(0x30 + token)}".encode()) for token in range(VOCAB)}

MODEL = Loaded("Fake", "fake", "Q4_0", VOCAB, 4096, 8192, None, False, vocabulary="of the fake")
OTHER = Loaded("Other", "other", "Q8_0", VOCAB, 4096, 8192, None, False, vocabulary="of the fake")
"""What all files but fake.gguf hold."""

GIVEN = 10
"""Candidates that the server gives."""
STRICTLY = 8
"""Tokens of an evaluation from which on its numbers are strict ones."""
PIECE = 8
"""Tokens that it reads at once: it tells what follows each such part of a prompt."""
_WHOLE = (
    *(Capability.EXACT_ENTROPY, Capability.EXACT_RANKS, Capability.SAMPLERS, Capability.CONSTRAINTS),
    *(Capability.COMPARISON, Capability.BRANCHES),
)
SERVED = replace(
    MODEL,
    name="Served",
    capabilities=frozenset(Capability) - {*_WHOLE, Capability.PROMPT_AT_ONCE},
    server="llama-server b11434",
    candidates=GIVEN,
)
"""A model on a server, which gives a few candidates of a distribution, and not all of a prompt at once."""


class OnServer(GgufFile):
    """A model that a server has."""

    @property
    def server(self) -> str:
        return "127.0.0.1:8080"


PRIME = 1_000_003


class Answer:
    """What follows a path, as far as anybody has asked for it."""

    def __init__(self, seed: int) -> None:
        self.logits = [((seed * (token + 3) * 2654435761) % PRIME) / 100003 for token in range(VOCAB)]
        total = math.log(sum(map(math.exp, self.logits)))
        self.logprobs = [score - total for score in self.logits]
        self.ranked = sorted(range(VOCAB), key=self.logits.__getitem__, reverse=True)  # equal ones stay in order
        self._distributions: dict[tuple[int, int], Distribution] = {}

    def distribution(self, top: int, given: int) -> Distribution:
        """The likeliest tokens; `given`: as `fake.distribution` has it."""
        known = self._distributions.get((top, given))
        if known is None:
            known = self._distributions[top, given] = self._made(top, given)
        return known

    def _made(self, top: int, given: int) -> Distribution:
        values = self.logprobs
        ids = self.ranked[: min(top, given)]
        if given < VOCAB:
            low, high = bounds([values[token] for token in self.ranked[:given]])
            return Distribution.of(low, ids, [values[token] for token in ids], high - low)
        entropy = -sum(map(operator.mul, map(math.exp, values), values)) / math.log(2)
        return Distribution.of(entropy, ids, [values[token] for token in ids])


_answer = lru_cache(20_000)(Answer)


def answer(path: list[int]) -> Answer:
    """What follows a path: any fixed function of it will do. Nobody may change it."""
    return _answer(hash(tuple(path)) % PRIME)


def logits(path: list[int]) -> list[float]:
    """Scores of all tokens after a path."""
    return answer(path).logits


def logprobs(path: list[int]) -> list[float]:
    return answer(path).logprobs


def ranked(path: list[int]) -> list[int]:
    """All tokens, most likely after the path first."""
    return answer(path).ranked


def in_order(scores: list[float]) -> list[int]:
    """All tokens, the one with the highest score first."""
    return sorted(range(VOCAB), key=lambda token: (-scores[token], token))


def distribution(path: list[int], top: int, given: int = VOCAB) -> Distribution:
    """`given`: candidates from which the entropy is known, as far as it is."""
    return answer(path).distribution(top, given)


def bounds(known: list[float]) -> tuple[float, float]:
    """The least and the most bits of an entropy, by its highest log-probabilities."""
    probs = list(map(math.exp, known))
    told, rest = entropy_of(probs), max(0.0, 1 - math.fsum(probs))
    lumps = int(rest / probs[-1])  # as few tokens as can have the rest, or as many
    fewest = [probs[-1]] * lumps + [rest - lumps * probs[-1]]
    return told + entropy_of(fewest), told + (rest * math.log2((VOCAB - len(known)) / rest) if rest else 0.0)


def taken(path: list[int], token: int, given: int = VOCAB) -> TokenLogprob:
    rank = ranked(path).index(token) + 1
    return (
        TokenLogprob(logprobs(path)[token], rank)
        if rank <= given
        else TokenLogprob(logprobs(path)[token], given + 1, True)
    )


def text_to_path(text: str) -> list[int]:
    return [ord(char) % VOCAB for char in text]


def evaluated(
    request: Evaluate | EvaluateStrictly | Walk, first: int | None = None, last: int | None = None, given: int = VOCAB
) -> Evaluated:
    """The answer to a request, or to its positions `first` to before `last`."""
    path = request.path
    start, asked, last_top = 0, None, 0
    if isinstance(request, Evaluate):
        start, asked, last_top = request.start, request.asked, request.last_top
    elif isinstance(request, EvaluateStrictly):
        start = request.start
    first = start if first is None else first
    last = len(path) if last is None else last
    following = [*path[1:], asked]
    return Evaluated(
        request.request,
        first,
        [
            distribution(path[: index + 1], max(request.top, last_top * (index == len(path) - 1)), given)
            for index in range(first, last)
        ],
        [
            taken(path[: index + 1], token, given)
            for index in range(first, last)
            if (token := following[index]) is not None
        ],
        PIECES,
        last - first,
        0.001 * (last - first),
        4096,
        strict=isinstance(request, EvaluateStrictly) or (isinstance(request, Evaluate) and last - first >= STRICTLY),
    )


def second(path: list[int]) -> list[float]:
    """Log-probabilities of the other model of a comparison: it is half as sure."""
    halves = [value / 2 for value in logprobs(path)]
    total = math.log(sum(map(math.exp, halves)))
    return [value - total for value in halves]


def difference(a: list[float], b: list[float], top: int, token: int | None = None) -> Difference:
    """How the log-probabilities of all tokens differ, and what both say of the path's next token, if there is one."""
    orders = [in_order(a), in_order(b)]

    def beside(one: int) -> TokenPair:
        return TokenPair(
            one, *(TokenLogprob(row[one], order.index(one) + 1) for row, order in zip((a, b), orders, strict=True))
        )

    def kl(p: list[float], q: list[float]) -> float:
        return max(0.0, math.fsum(math.exp(x) * (x - y) for x, y in zip(p, q, strict=True)) / math.log(2))

    rows = sorted({*orders[0][:top], *orders[1][:top]}, key=orders[0].index)
    taken = None if token is None else beside(token)
    return Difference(kl(a, b), kl(b, a), orders[0][0], orders[1][0], tuple(map(beside, rows)), taken)


def compared(request: Compare | Against) -> Compared:
    """The answer to a comparison of two paths, or of this model with `second`."""
    if isinstance(request, Compare):
        one = difference(logprobs(request.path), logprobs(request.other), request.top)
        return Compared(request.request, len(request.path) - 1, [one], PIECES, 0, 0.001)
    following = [*request.path[1:], None]
    differences = [
        difference(
            logprobs(request.path[: place + 1]), second(request.path[: place + 1]), request.top, following[place]
        )
        for place in range(request.start, request.end)
    ]
    return Compared(request.request, request.start, differences, PIECES, 0, 0.001)


def heard(session: Session, message: Message | Reply | EngineDied) -> Message:
    """What an engine says, as said by the one of the game that is played."""
    return EngineReplied(session.game.address, message) if isinstance(message, Reply | EngineDied) else message


def left(path: list[int], lens: Raw | Sampled) -> tuple[dict[int, float], dict[int, int], list[Stage]]:
    """Each token's chance, the stage that cut it, and the record of the stages: of top-k, min-p and temperature."""
    scores = dict(enumerate(logits(path)))
    alive, cut, stages = ranked(path), dict.fromkeys(scores, NOT_CUT), []
    chain = lens.chain.samplers if isinstance(lens, Sampled) else ()
    probabilities = list(map(math.exp, logprobs(path)))

    def left_of(tokens: list[int]) -> float:
        return sum(probabilities[token] for token in tokens)

    if isinstance(lens, Sampled) and lens.constraint:
        alive = [token for token in alive if fits(lens.constraint, token)]
        cut |= dict.fromkeys(set(scores) - set(alive), 0)
        stages.append(Stage(len(alive), 0.5, 0.0))
    bias = dict(lens.chain.bias) if isinstance(lens, Sampled) else {}
    if bias:
        scores = {token: score + bias.get(token, 0) for token, score in scores.items()}
        cut |= {token: len(stages) for token in alive if scores[token] == -math.inf}
        alive = sorted((token for token in alive if cut[token] == NOT_CUT), key=lambda token: (-scores[token], token))
        stages.append(Stage(len(alive), left_of(alive), entropy_of(softmax(scores, alive).values())))
    for number, sampler in enumerate(chain, len(stages)):
        value, before = sampler.values[0], alive
        if sampler.kind is Kind.TOP_K:
            alive = alive[: int(value)]
        elif sampler.kind is Kind.MIN_P:
            alive = [token for token in alive if scores[token] >= scores[alive[0]] + math.log(value)]
        elif sampler.kind is Kind.TEMPERATURE and not value:
            alive = alive[:1]
        elif sampler.kind is Kind.TEMPERATURE:
            scores = {token: score / value for token, score in scores.items()}
        for token in set(before) - set(alive):
            cut[token] = number
        stages.append(Stage(len(alive), left_of(alive), entropy_of(softmax(scores, alive).values())))
    return softmax(scores, alive), cut, stages


def fits(constraint: Constraint, token: int) -> bool:
    """Whether a constraint allows a token: it is the characters that may come, in any order."""
    return PIECES[token].data.decode().strip() in constraint.text


def broken(constraint: Constraint, path: list[int], start: int) -> int:
    return next((place for place in range(start, len(path)) if not fits(constraint, path[place])), -1)


def forced(request: Force) -> list[int]:
    assert request.lens.constraint
    legal = [token for token in PIECES if fits(request.lens.constraint, token)]
    return legal * 3 if len(legal) == 1 else []


def softmax(scores: dict[int, float], alive: list[int]) -> dict[int, float]:
    weights = {token: math.exp(scores[token] - scores[alive[0]]) for token in alive}
    return {token: weight / sum(weights.values()) for token, weight in weights.items()}


def entropy_of(probabilities: Iterable[float]) -> float:
    return -sum(value * math.log2(value) for value in probabilities if value)


def applied(request: Apply) -> Applied:
    finals, cut, stages = left(request.path, request.lens)
    tokens = dict.fromkeys([*ranked(request.path)[: request.top], *request.tokens])
    rows = (
        array("i", tokens),
        array("d", [finals.get(token, 0.0) for token in tokens]),
        array("b", [cut[token] for token in tokens]),
    )
    mass = sum(math.exp(logprobs(request.path)[token]) for token in finals)
    entropy = entropy_of(finals.values())
    view = View(len(finals), mass, entropy, 1.0, tuple(stages), Standing.FREE, -1, *rows)
    return Applied(request.request, view, PIECES, 0, 0.001)


def rolled(request: Roll) -> Rolled:
    finals, _, _ = left(request.path, request.lens)
    draws, verdicts = [], []
    for number in numbers(request.seed, request.path, request.first, request.count):
        low = 0.0
        for token, final in sorted(finals.items(), key=lambda one: (-one[1], one[0])):
            if number < low + final or low + final > 0.999999:
                draws.append(Draw(token, number, low, low + final))
                verdicts.append(Verdict(final, NOT_CUT))
                break
            low += final
    return Rolled(request.request, draws, verdicts, PIECES, 0, 0.001)


class Play:
    """A session with a fake engine: `press` keys, `answer` what was asked, look at `session`."""

    given = VOCAB
    """Candidates of a distribution that its engine gives."""
    file: GgufFile = GgufFile("fake.gguf")
    loaded = MODEL
    noise = 0.0
    """What MeasureNoise is answered."""
    more_forced = False
    """Whether more is forced than Force is answered."""

    def __init__(self, text: str = "hello", **settings: object) -> None:
        game = Game(Settings(text=text, model=self.file, **settings))  # type: ignore[arg-type]
        self.session = Session(game, begun=True)  # so that a key that changes nothing leaves the session equal
        self.asked: list[Request] = []
        self.effects: list[Effect] = []
        self.checks: list[Check] = []
        """Comparisons with the tokenizer's own tokens; nothing else waits for them."""
        self.aligning: list[Align] = []
        self.decoded = self.lookaheads = 0
        self.take(Begin())

    def _collect(self, effects: list[Effect]) -> None:
        self.effects = [
            effect for effect in effects if not (isinstance(effect, Send) and isinstance(effect.request, Check))
        ]
        self.aligning += [effect for effect in effects if isinstance(effect, Align)]
        requests = [effect.request for effect in effects if isinstance(effect, Send)]
        self.asked += [request for request in requests if not isinstance(request, Check)]
        self.checks += [request for request in requests if isinstance(request, Check)]

    def take(self, message: Message | Reply | EngineDied) -> None:
        self.session, effects = update(self.session, heard(self.session, message))
        self._collect(effects)

    def press(self, *actions: Message | Reply | EngineDied) -> "Play":
        """Presses keys, each answered before the next."""
        for action in actions:
            self.take(action)
            self.answer()
        return self

    @property
    def fanning(self) -> bool:
        """Whether more of what is known is to be looked at for answers."""
        game = self.session.game
        return any(fan.due for fan in game.results.fans) or any(one.due for one in game.results.criticals)

    @property
    def _unfinished(self) -> bool:
        session = self.session
        return bool(
            self.asked or session.under_way.judging or session.under_way.comparing or self.fanning or self.aligning
        )

    def answer(self) -> "Play":
        """Lets the engine answer all that was asked; of evaluations only the newest, as the real one."""
        while self._unfinished:
            if self.session.under_way.judging:
                self.take(JudgeFurther())
                continue
            if self.aligning:
                one = self.aligning.pop(0)
                self.take(Aligned(one.a, one.b, aligned(one.first, one.second)))
                continue
            if self.session.under_way.comparing:
                self.take(CompareFurther())
                continue
            if self.fanning:
                self.take(SearchFurther())
                continue
            request = self.asked.pop(0)
            if isinstance(request, Evaluate) and any(isinstance(later, Evaluate) for later in self.asked):
                continue
            for reply in self.replies(request):
                self.take(reply)
        while self.checks:
            self.take(Checked(self.checks.pop(0).request, None))
        if not any(isinstance(purpose, Comparing) for purpose in self.session.game.open_requests.values()):
            assert awaited_of_both(self.session) != "comparing", "all is answered"
        return self

    def replies(self, request: Request) -> Iterator[Reply]:
        """The answers to a request, one after the other."""
        if reply := self.reply(request):
            yield reply

    def reply(self, request: Request) -> Reply | None:
        """The answer to a request, or the last one."""
        if isinstance(request, Load):
            return self.loaded if request.path == "fake.gguf" else OTHER
        if isinstance(request, Ping):
            return Pong()
        if isinstance(request, Tokenize):
            return Tokenized(request.request, text_to_path(request.text), PIECES)
        if isinstance(request, Evaluate):
            self.decoded += len(request.path) - request.start
            return evaluated(request, given=self.given)
        if isinstance(request, Search):
            texts = {token: PIECES[token].data.decode().lower() for token in ranked(request.path)}
            tokens = [token for token, text in texts.items() if request.query.strip().lower() in text]
            shown = tokens[: request.top]
            values = [taken(request.path, token) for token in shown]
            return Found(request.request, shown, values, len(tokens), PIECES, 0, 0.001)
        if isinstance(request, Lookahead):
            if not request.branches:
                return None
            self.lookaheads += len(request.branches)
            answers = [distribution([*request.path, *branch], request.top, self.given) for branch in request.branches]
            return LookaheadDone(request.request, request.branches, answers, PIECES)
        if isinstance(request, Spell):
            spelled = {text.encode() for text in (request.text, f" {request.text}")}
            return Spelt(request.request, [one for one, piece in PIECES.items() if piece.data in spelled], PIECES)
        if isinstance(request, Apply):
            return applied(request)
        if isinstance(request, Roll):
            return rolled(request)
        if isinstance(request, Constrain):
            if request.constraint.text == "[":
                return Failed(request.request, "regex:1:1: unclosed")
            return Constrained(request.request, broken(request.constraint, request.path, request.start))
        if isinstance(request, Force):
            return Forced(request.request, forced(request), self.more_forced, PIECES)
        if isinstance(request, EvaluateStrictly):
            self.decoded += len(request.path) - request.start
            return evaluated(request)
        if isinstance(request, Compare | Against):
            return compared(request)
        if isinstance(request, Export):
            return Exported(request.request, request.start, request.end, 0, 0.001)
        if isinstance(request, LookaheadStrictly):
            return StrictLookaheadDone(request.request, 0, 0.001)
        if isinstance(request, MeasureNoise):
            return Noise(request.request, self.noise)
        return None


def by_other_kernels(path: list[int]) -> list[float]:
    """Log-probabilities after a path as another way to compute them gives them: other ones, in another order."""
    moved = [value + (0.3 if token % 2 else -0.3) for token, value in enumerate(logprobs(path))]
    total = math.log(math.fsum(map(math.exp, moved)))
    return [value - total for value in moved]


def read_fast(path: list[int], top: int) -> Distribution:
    """The distribution of these."""
    values = by_other_kernels(path)
    ids = in_order(values)[:top]
    return Distribution.of(entropy_of(list(map(math.exp, values))), ids, [values[token] for token in ids])


class Fast(Play):
    """The same where what keys ask for is computed fast: its numbers are not the strict ones, and none of them is."""

    def reply(self, request: Request) -> Reply | None:
        """The answer to a request, or the last one."""
        reply = super().reply(request)
        if isinstance(request, Lookahead) and isinstance(reply, LookaheadDone):
            paths = [[*request.path, *branch] for branch in reply.branches]
            return replace(reply, distributions=[read_fast(path, request.top) for path in paths])
        if not isinstance(request, Evaluate) or not isinstance(reply, Evaluated):
            return reply
        paths = [request.path[: place + 1] for place in range(reply.start, reply.start + len(reply.distributions))]
        following = [*request.path[1:], request.asked]
        taken = []
        for path in paths:
            values, token = by_other_kernels(path), following[len(path) - 1]
            if token is not None:
                taken.append(TokenLogprob(values[token], in_order(values).index(token) + 1))
        told = zip(paths, reply.distributions, strict=True)
        return replace(
            reply, distributions=[read_fast(path, len(one)) for path, one in told], taken=taken, strict=False
        )


class Served(Play):
    """The same over a server."""

    given, file, loaded = GIVEN, OnServer("fake.gguf"), SERVED

    def __init__(self, text: str = "hello", **settings: object) -> None:
        self.walked: list[list[int]] = []
        """The paths of the positions that were walked, each with the token that comes there."""
        super().__init__(text, **settings)

    def replies(self, request: Request) -> Iterator[Reply]:
        """Of a long prompt also what follows each part of it; of a walk, until something else is asked."""
        if isinstance(request, Evaluate):
            self.decoded += 1
            last = len(request.path) - 1
            for place in [*range(request.start // PIECE * PIECE + PIECE - 1, last, PIECE), last]:
                yield evaluated(request, place, place + 1, self.given)
        elif isinstance(request, Walk):
            for place in request.places:
                if any(not isinstance(later, Tokenize) for later in self.asked):
                    break
                self.walked.append(request.path[: place + 2])
                yield evaluated(request, place, place + 1, self.given)
        else:
            yield from super().replies(request)


def served(text: str = "hello", **settings: object) -> Served:
    """A game on a server whose starting prompt is walked to its end."""
    play = Served(text, **settings)
    play.answer()
    return play


def walking(text: str = "hello", **settings: object) -> Served:
    """One whose prompt has its table; the walk has been asked for, and is not answered."""
    play = Served(text, **settings)
    while not play.asked or not isinstance(play.asked[0], Walk):
        for reply in play.replies(play.asked.pop(0)):
            play.take(reply)
    return play


def continued(request: Continue, path: list[int], given: int = VOCAB) -> Continued:
    """The answer for the last token of a path that a Continue has come to."""
    return Continued(request.request, path[-1:], [distribution(path, request.top, given)], PIECES, 0.01, 4096)


def started(text: str = "hello", **settings: object) -> Play:
    """A game whose starting prompt is evaluated."""
    return Play(text, **settings).answer()


def sampled(chain: Chain, text: str = "hello", seed: int = 1) -> Play:
    """The same, seen through samplers."""
    play = started(text)
    play.session = replace(play.session, game=replace(play.session.game, sampling=Sampling(chain, None, seed)))
    play.take(BackgroundReported(light=False))  # nothing of it is asked for before something happens
    return play.answer()


S = TypeVar("S", bound=Screen)


def on(session: Session, kind: type[S]) -> S:
    """The screen that is used, which is of this kind, or the help that covers it."""
    for screen in (session.screen, session.current):
        if isinstance(screen, kind):
            return screen
    raise AssertionError(f"{session.screen} is no {kind.__name__}")


def screen_of(session: Session, kind: type[Screen], line: TextField = EMPTY, row: int = 0) -> Screen:
    """A screen of a kind as it can be in this session, with a text that is typed or a row that is selected."""
    game = session.game
    tip = game.prompt.tip if game.prompts else game.known.root
    needed: dict[type[Screen], dict[str, object]] = {
        screens.SearchScreen: {"tip": tip},
        screens.Input: {"base": tip, "tip": tip},
        screens.Insert: {"tip": tip, "start": max(0, tip.depth - 1)},
        screens.Find: {"tip": tip, "origin": None},
        screens.CriticalList: {"base": tip},
        screens.CriticalLead: {"base": tip},
        screens.AnswerList: {"base": tip},
        screens.AnswerStop: {"base": tip},
        screens.AnswerPattern: {"base": tip},
        screens.TreeScreen: {"at": tip},
        screens.TreeSearch: {"before": tip},
        screens.Constraining: {"kind": ConstraintKind.REGEX},
        screens.Commands: {"over": screens.PLAY},
        screens.Help: {"over": screens.PLAY},
        screens.ListSearch: {"over": screens.Prompts(), "before": 0},
    }
    given: dict[str, object] = {"line": line, "row": row}
    if kind is screens.Find:  # of absurd tokens that would be more than there is memory for
        given["text"] = PathText.of(game.piece(token).data for token in tip.path())
    names = {one.name for one in fields(kind)}
    return kind(**{name: value for name, value in given.items() if name in names}, **needed.get(kind, {}))
