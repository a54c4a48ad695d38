"""The engine's loop: takes one request after the other from the inbox, and answers it with one model."""

import json
import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tokex_gguf.engine.capacity import ContextFull, TooLong, check_text, check_tokens
from tokex_gguf.engine.inbox import Inbox
from tokex_gguf.engine.kv_folder import KvFolder
from tokex_gguf.engine.pipes import AUTOPLAY_FLUSH, log_place, log_to, send
from tokex_gguf.engine.protocol import (
    GOES_ON,
    NOTHING_LEFT,
    Against,
    Applied,
    Apply,
    Capability,
    Chat,
    Check,
    Checked,
    Compare,
    Compared,
    ConnectServer,
    Constrain,
    Constrained,
    Continue,
    Continued,
    EngineFailed,
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
    Loading,
    Lookahead,
    LookaheadDone,
    LookaheadStrictly,
    MeasureNoise,
    Noise,
    Numbered,
    Ping,
    Pong,
    Recall,
    Recalled,
    Reply,
    Request,
    Roll,
    Rolled,
    Search,
    Spell,
    Spelt,
    Stop,
    StrictLookaheadDone,
    Tokenize,
    Tokenized,
    Walk,
    WithPath,
)
from tokex_gguf.engine.spelling import difference, no_text, without_bos
from tokex_gguf.engine.worker.abort import Abort
from tokex_gguf.engine.worker.chat_template import TemplateFailed, TextSpan
from tokex_gguf.engine.worker.chunks import Chunk, Damaged
from tokex_gguf.engine.worker.confined_chat import render_confined
from tokex_gguf.engine.worker.evaluator import Evaluator, Played
from tokex_gguf.engine.worker.fingerprints import Fingerprints, former
from tokex_gguf.engine.worker.known_models import KnownModels
from tokex_gguf.engine.worker.llama import Interrupted, Llama, ModelError, Vocabulary, arithmetic, connect
from tokex_gguf.engine.worker.model_files import ModelFiles, Overwritten
from tokex_gguf.engine.worker.prompt_cache import PART_GAP, WRITE_ANY_AFTER, WRITE_MUCH_AFTER, PromptCache
from tokex_gguf.engine.worker.rows_file import reading, writing
from tokex_gguf.engine.worker.rpc import Workers
from tokex_gguf.engine.worker.vocabulary_search import Index, likeliest
from tokex_gguf.models.reference import parts_of
from tokex_gguf.values.difference import Difference
from tokex_gguf.values.distribution import Distribution
from tokex_gguf.values.lens import Raw, as_sampled
from tokex_gguf.values.random_numbers import numbers
from tokex_gguf.values.sequence import common_prefix
from tokex_gguf.values.tokens import Piece, offsets
from tokex_gguf.values.workers import workers_of

SEARCH_READY_AFTER = 0.4
"""Seconds without a request before the search index is built: the threads of the last decode sleep by then, and a key
finds a processor free."""
FINISH_SECONDS = 0.45
"""For writing played paths to the disk before the process ends."""
SLICE_GAP = 0.0002
"""Seconds between two slices of the search index, in which the reading thread can have the interpreter."""

OVERWRITTEN = "the model's file was overwritten while it was played"

NO_RULES = "the file names no pre-tokenizer: words are parted by llama.cpp's default, and tokens may be others"
NO_BOS = "the file asks for a BOS token and names none: this text begins without one"
ONLY_SPECIAL = "the chat template makes nothing but special tokens of these messages: none of their text is in it"
NO_BOS_FOR_TEMPLATE = "the chat template asks for a BOS token and the file names none: it is left out"

WIDE_BRANCHES = 8
"""From so many branches on, a lookahead decodes its first branches together, too."""
ROWS, LARGE_VOCABULARY = 16, 64_000
"""The most branches in one batch, and the vocabulary size from which one thread decodes half as many: the output matrix
of all rows is one step of the computation, and a key has to wait for it."""


class _Step(NamedTuple):
    """The batch of a lookahead that is being decoded."""

    path: list[int]
    branches: list[list[int]]
    began: float


class _Identified(NamedTuple):
    """What identifies a model and how it computes: fields of `Loaded`."""

    fingerprint: str
    former: str
    cells: str
    arithmetic: str
    vocabulary: str


class _Identity(threading.Thread):
    """Computes a model's identity while the model loads."""

    def __init__(self, load: Load) -> None:
        super().__init__(daemon=True)
        self._load = load
        self._result: _Identified | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        load, path = self._load, Path(self._load.path)
        try:
            content = Fingerprints(Path(load.fingerprints) if load.fingerprints else None).of(path)
            rpc = bool(load.rpc)
            by = arithmetic(load.gpu_layers, repack=load.repack and not rpc, rpc=rpc)
            vocabulary = known_models(load).vocabulary(content, path)
            self._result = _Identified(content, former(path), load.kv, by, vocabulary)
        except Exception as error:
            if not isinstance(error, OSError):
                log_place(self, error)
            self._error = error

    def result(self) -> _Identified:
        """Waits for the identity. Raises ModelError."""
        self.join()
        if self._result is None:
            raise ModelError(f"the model's file cannot be read ({self._error})")
        return self._result


def known_models(load: Load) -> KnownModels:
    """The store of vocabularies and noise, in the same folder as the fingerprints."""
    return KnownModels(Path(load.fingerprints).with_name("models.json") if load.fingerprints else None)


def _computed(identified: _Identified, model: Llama) -> str:
    """The arithmetic that computes a model's numbers: any difference in it gives other numbers."""
    return f"{identified.arithmetic}, {model.rope_factors}" if model.rope_factors else identified.arithmetic


def _assistant_positions(
    path: list[int], text: str, turns: list[TextSpan] | None, vocabulary: Vocabulary
) -> list[int] | None:
    """The positions of a chat's path in the assistant's turns, each with the token that ends it."""
    if turns is None:
        return None
    pieces = [vocabulary.piece(token) for token in path]
    begins = [begin for begin in offsets([piece.data for piece in pieces], text.encode()) if begin is not None]
    if len(begins) < len(path):
        return None  # the tokenizer has changed the text
    positions: list[int] = []
    for start, end in turns:
        first, stop = (bisect_left(begins, len(text[:at].encode())) for at in (start, end))
        if first == stop:
            return None
        if not pieces[stop - 1].ends and stop < len(path) and pieces[stop].ends:
            stop += 1
        positions += range(first, stop)
    return positions


def _requested_path(request: Export | Against | Recall) -> list[int]:
    """The path up to the last requested position. Raises ModelError."""
    if not 0 <= request.start < request.end <= len(request.path):
        raise ModelError("no positions of this path")
    return request.path[: request.end]


def _single_row(request: Export | Against) -> bool:
    """Whether one row is requested. It is then cached; many would push out the rows prepared for later."""
    return request.end - request.start == 1


def _check_headers(path: Path) -> None:
    """Checks the headers of a model's files before the model is opened. Raises ModelError."""
    from tokex_gguf.models.gguf.metadata import BadHeader, read  # not on the way to the first table

    try:
        for part in parts_of(path.name):
            read(path.with_name(part))
    except BadHeader as error:
        raise ModelError(f"{path}: {error}") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None


def _most_worker_cells(load: Load, workers: Workers) -> int:
    """The most KV cells that fit on the RPC workers together with the model. Raises ModelError."""
    from tokex_gguf.models.gguf.metadata import BadHeader, read, tensor_bytes
    from tokex_gguf.models.memory import TooLarge, WorkerMemory, over_workers

    path = Path(load.path)
    try:
        files = [path.with_name(part) for part in parts_of(path.name)]
        places = [WorkerMemory(worker.name, *device.memory()) for worker in workers.all for device in worker.devices]
        room = over_workers(read(path), tensor_bytes(files), places, context=load.context, kv=load.kv)
    except TooLarge as error:
        raise ModelError(f"{path}: {error}") from None
    except BadHeader as error:
        raise ModelError(f"{path}: {error}") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    return min(filter(None, (load.most, room)), default=0)


def _most_branches(model: Llama) -> int:
    """The most branches in one batch."""
    return ROWS if model.threads > 1 or model.vocabulary.size < LARGE_VOCABULARY else ROWS // 2


class _LastLookahead(NamedTuple):
    """The distributions that the last lookahead sent: its path, and the candidates of each distribution."""

    path: list[int]
    top: int
    after: dict[tuple[int, ...], Distribution]
    """By branch."""


class Server:
    """Answers requests with one model."""

    def __init__(self, inbox: Inbox, sink: BinaryIO, abort: Abort) -> None:
        """`abort` is the one that the inbox sets."""
        self._inbox = inbox
        self._abort = abort
        self._sink = sink
        self._sent_pieces: set[int] = set()
        self._answered = False
        self._busy_until = time.monotonic()
        self._was_background = False
        """Whether the last request was lookahead from the same path as the one before it, or for answers."""
        self._lookahead_path: list[int] = []
        """The path of the last lookahead, if no other request came since."""
        self._progress = -1.0
        self._workers: Workers | None = None
        self._files: ModelFiles | None = None
        """The files of the loaded model."""
        self._identified = _Identified("", "", "", "", "")
        self._known_models = KnownModels(None)
        self._noise: float | None = None
        self._cache: PromptCache | None = None
        self._step: _Step | None = None
        self._last_lookahead = _LastLookahead([], 0, {})
        self._step_seconds: dict[int, float] = {}
        """Seconds that the last lookahead of each number of branches took."""
        inbox.finishes = self._finishes

    def _finishes(self, request: Request) -> bool:
        """Whether the running step may finish: it computes what `request` asks for, and sooner than a new decode."""
        step = self._step
        if step is None or not isinstance(request, Evaluate | Lookahead):
            return False
        first = [] if isinstance(request, Evaluate) else next(iter(request.branches), [])
        wanted = [*request.path, *first]
        size = len(step.path)
        if wanted[:size] != step.path or wanted[size:] not in step.branches:
            return False
        if isinstance(request, Lookahead) or len(step.branches) == 1:
            return True
        seconds_left = step.began + self._step_seconds.get(len(step.branches), math.inf) - time.perf_counter()
        return seconds_left < self._step_seconds.get(1, 0.0)

    def _send(self, reply: Reply) -> None:
        """Sends a reply. Raises Overwritten where its numbers may not be the loaded model's."""
        if self._files:
            self._files.check()
        self._write(reply)

    def _write(self, reply: Reply) -> None:
        send(self._sink, reply)

    def serve(self) -> None:
        """Answers until the inbox closes. The first request must be Load."""
        load = self._inbox.next()
        if not isinstance(load, Load):
            return
        log_to(load.log)
        self._known_models = known_models(load)
        try:
            self._play(load)
        finally:
            if self._workers:
                self._workers.leave()

    def _play(self, load: Load) -> None:
        try:
            model, loaded = self._load(load)
        except ModelError as error:
            self._send(EngineFailed(str(error)))
            return
        folder = self._kv_folder(load, model, loaded)
        evaluator = Evaluator(model, folder)
        if folder:
            self._cache = PromptCache(evaluator, folder, load.cache_bytes, model.vocabulary.size)
        index = Index(model.vocabulary.size, model.vocabulary.data)
        while request := self._next(index):
            if isinstance(request, Load | ConnectServer | Walk | Stop | Ping):
                continue  # a second Load, and requests for other engines; Stop and Ping never get here
            try:
                self._attempt(request, model, evaluator, index)
            except Interrupted:
                continue
            except Overwritten:
                self._write(EngineFailed(OVERWRITTEN))
                return
            except Damaged as error:
                unchanged = self._unchanged()
                if unchanged and self._cache and isinstance(request, WithPath):
                    self._cache.forget(request.path)
                self._write(EngineFailed(str(error) if unchanged else OVERWRITTEN))
                return  # a restart that loads the file again may do better
        if self._cache and self._unchanged():
            self._write(Pong())  # shows that the engine does not hang
            self._cache.finish(FINISH_SECONDS)

    def _attempt(self, request: Numbered, model: Llama, evaluator: Evaluator, index: Index) -> None:
        """Answers a request, with Failed where that is impossible. Raises Interrupted, Damaged, and OSError."""
        try:
            self._answer(request, model, evaluator, index)
        except ContextFull as error:
            self._send(Failed(request.request, str(error), error.room))
        except (Interrupted, Damaged, Overwritten):
            raise
        except ModelError as error:
            self._send(Failed(request.request, str(error)))
        except OSError:
            raise  # the other process is gone
        except Exception as error:
            log_place(request, error)
            self._send(Failed(request.request, f"the engine cannot answer this ({type(error).__name__})"))

    def _answer(self, request: Numbered, model: Llama, evaluator: Evaluator, index: Index) -> None:
        match request:
            case Evaluate():
                self._evaluate(request, model, evaluator, index)
            case Tokenize():
                self._tokenize(request, model)
            case Chat():
                self._chat(request, model)
            case Continue():
                self._continue(request, model, evaluator)
            case Lookahead():
                self._look_ahead(request, model, evaluator)
            case Apply():
                self._apply(request, model, evaluator)
            case Roll():
                self._roll(request, model, evaluator)
            case Constrain():
                broken = evaluator.constrain(request.constraint, request.path, request.start)
                self._send(Constrained(request.request, broken))
            case Force():
                tokens, more = evaluator.forced(request.path, request.lens)
                self._send(Forced(request.request, tokens, more, self._pieces(model.vocabulary, set(tokens))))
            case Search():
                self._search(request, model, evaluator, index)
            case Spell():
                self._spell(request, model.vocabulary, index)
            case Check():
                self._check(request, model.vocabulary)
            case EvaluateStrictly():
                self._evaluate(request, model, evaluator, index)
            case Compare():
                self._compare(request, model, evaluator)
            case Export():
                self._export(request, model, evaluator, index)
            case Recall():
                self._recall(request, model)
            case Against():
                self._against(request, model, evaluator, index)
            case LookaheadStrictly():
                began = time.perf_counter()
                decoded = evaluator.strict.look_ahead(request.path, request.tokens)
                self._send(StrictLookaheadDone(request.request, decoded, time.perf_counter() - began))
            case MeasureNoise():
                self._measure(request, evaluator)

    def _kv_folder(self, load: Load, model: Llama, loaded: Loaded) -> KvFolder | None:
        """The folder of the prompt cache. None with RPC workers: how they compute is not known."""
        if not load.cache or not load.cache_bytes or load.rpc:
            return None
        return KvFolder(Path(load.cache), loaded.identity, whole=not model.in_parts)

    def _next(self, index: Index) -> Request | None:
        """The next request. While none waits, the search index is built, and played paths are written."""
        if not self._was_background:
            self._busy_until = time.monotonic()  # the last answer may have taken long
        if self._cache and self._cache.cold and self._inbox.idle(SEARCH_READY_AFTER):
            self._cache.warm_up(lambda: not self._inbox.idle(0))
        if self._answered and not index.complete and self._inbox.idle(SEARCH_READY_AFTER):
            try:
                while not index.complete and self._inbox.idle(SLICE_GAP):
                    index.extend()
            except ModelError:
                pass  # the search that needs it will say so
        if self._answered and self._cache and self._unchanged():
            self._keep(self._cache)
        self._answered = True
        request = self._inbox.next()
        ahead = request if isinstance(request, Lookahead) else None
        self._was_background = ahead is not None and (ahead.waited or ahead.path == self._lookahead_path)
        if ahead is None or not ahead.waited:
            self._lookahead_path = ahead.path if ahead else []
        return request

    def _keep(self, cache: PromptCache) -> None:
        """Writes played paths, in parts, while no request waits but lookahead from the same path."""
        pause = max(0.0, WRITE_MUCH_AFTER - self._idle_seconds)
        while self._inbox.idle(pause):
            if not (wait := cache.write_next(late=self._idle_seconds >= WRITE_ANY_AFTER)):
                return
            pause = wait if wait <= PART_GAP else max(0.0, WRITE_ANY_AFTER - self._idle_seconds)
        # The next lookahead comes at once, and no key waits for it: a part is written before each.
        if self._idle_seconds >= WRITE_MUCH_AFTER and self._inbox.has_only(Lookahead):
            cache.write_next(late=self._idle_seconds >= WRITE_ANY_AFTER)

    def _unchanged(self) -> bool:
        """Whether what was decoded may be written to the disk."""
        try:
            if self._files:
                self._files.check()
        except Overwritten:
            return False
        return True

    @property
    def _idle_seconds(self) -> float:
        """Seconds since the last answer that was not in the background."""
        return time.monotonic() - self._busy_until

    def _load(self, load: Load) -> tuple[Llama, Loaded]:
        if load.check:
            _check_headers(Path(load.path))
        most_cells = load.most
        if load.rpc:
            self._workers = connect(workers_of(load.rpc), self._send)
            most_cells = _most_worker_cells(load, self._workers)
        # Runs while the model loads: loading takes one processor, and does not need the interpreter.
        files, identity = ModelFiles(Path(load.path)), _Identity(load)
        identity.start()
        model = Llama(
            Path(load.path),
            context=load.context,
            threads=load.threads,
            most=most_cells,
            kv=load.kv,
            gpu_layers=load.gpu_layers,
            repack=load.repack,
            rpc=bool(load.rpc),
            progress=self._report,
            abort=self._abort,
        )
        self._identified = identified = identity.result()
        files.loaded(identified.fingerprint)
        self._files = files
        capabilities = set(Capability)
        if load.rpc or not model.can_cut:
            capabilities.remove(Capability.BRANCHES)
        loaded = Loaded(
            model.name,
            model.architecture,
            model.quantization,
            model.vocabulary.size,
            model.cells,
            model.context_limit,
            model.vocabulary.bos,
            model.vocabulary.space_prefix(),
            identified.fingerprint,
            identified.former,
            identified.cells,
            _computed(identified, model),
            capabilities=frozenset(capabilities),
            vocabulary=identified.vocabulary,
            sampling=model.sampling(),
            suppressed=tuple(model.suppressed()),
        )
        self._send(loaded)
        return model, loaded

    def _report(self, fraction: float) -> None:
        if fraction - self._progress >= 0.05:
            self._progress = fraction
            self._send(Loading(fraction))

    def _pieces(self, vocabulary: Vocabulary, tokens: set[int]) -> dict[int, Piece]:
        new = {token: vocabulary.piece(token) for token in tokens - self._sent_pieces}
        self._sent_pieces |= new.keys()
        return new

    def _tokenize(self, request: Tokenize, model: Llama) -> None:
        vocabulary = model.vocabulary
        tokenize = vocabulary.continuation if request.continues else vocabulary.tokenize
        path = self._fitting(request.text, model, lambda text: tokenize(text, parse_special=request.parse_special))
        if not path:
            raise ModelError("this text has no tokens in the model's vocabulary")
        self._tokenized(request.request, request.text, path, model, continues=request.continues)

    def _tokenized(
        self,
        request: int,
        text: str,
        path: list[int],
        model: Llama,
        *,
        continues: bool = False,
        said: Sequence[int] | None = (),
        remark: str = "",
    ) -> None:
        """Sends a text's tokens, with a notice about how they spell it, else with `remark`."""
        vocabulary = model.vocabulary
        space, spelled = vocabulary.space_prefix() and not continues, vocabulary.spelled
        name = b"" if vocabulary.bos is None else vocabulary.piece(vocabulary.bos).data
        meant = without_bos(text, path, vocabulary.bos, name, spelled)
        notice = difference(meant, spelled(path), space_prefix=space) or remark
        if not notice and not continues:
            notice = NO_BOS if vocabulary.lacks_bos else "" if model.has_own_rules else NO_RULES
        pieces = self._pieces(vocabulary, set(path))
        self._send(Tokenized(request, path, pieces, None if said is None else list(said), notice))

    def _chat(self, request: Chat, model: Llama) -> None:
        special = model.special_texts()
        lacks_bos = "bos_token" in model.chat_template and "bos_token" not in special
        try:
            text, turns = render_confined(model.chat_template, json.loads(request.conversation), special)
        except TemplateFailed as error:
            raise ModelError(str(error)) from None
        if not text.strip():  # a BOS token alone could be played, but says nothing
            what = "nothing but white space" if text else "no text"
            raise ModelError(f"the model's chat template makes {what} of these messages")
        path = self._fitting(text, model, lambda text: model.vocabulary.tokenize(text, parse_special=True))
        said = _assistant_positions(path, text, turns, model.vocabulary)
        remark = NO_BOS_FOR_TEMPLATE if lacks_bos else ""
        if all(model.vocabulary.piece(token).control for token in set(path)):
            remark = ONLY_SPECIAL
        self._tokenized(request.request, text, path, model, said=said, remark=remark)

    def _fitting(self, text: str, model: Llama, tokenize: Callable[[str], list[int]]) -> list[int]:
        """The tokens of a text. Raises ModelError where it is much longer than the context."""
        try:
            check_text(text, model.context_limit, lambda beginning: len(tokenize(beginning)))
            path = tokenize(text)
            check_tokens(len(path), model.context_limit)
        except TooLong as error:
            raise ModelError(str(error)) from None
        return path

    def _evaluate(self, request: Evaluate | EvaluateStrictly, model: Llama, evaluator: Evaluator, index: Index) -> None:
        start = self._evaluate_known(request, model)
        if start == len(request.path) > request.start:
            return  # everything was on the disk
        if isinstance(request, Evaluate):
            chunks = evaluator.evaluate(request.path, start, request.top, request.asked, request.last_top, request.lens)
        else:
            chunks = evaluator.strict.evaluate(request.path, start, request.top)
        for chunk in chunks:
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
                    chunk.verdicts,
                    chunk.strict,
                )
            )
            if self._cache and isinstance(request, Evaluate):
                self._cache.note_answers(
                    request.path, chunk.start, chunk.distributions, chunk.taken, strict=chunk.strict
                )
            elif self._cache:
                self._cache.note_strictly(request.path, chunk)
            self._answer_waiting(model, evaluator, index, in_background=isinstance(request, EvaluateStrictly))

    def _evaluate_known(self, request: Evaluate | EvaluateStrictly, model: Llama) -> int:
        """Sends the answers that are on the disk; returns the position up to which they are complete.

        Only for the raw lens: verdicts of another lens need logits, which are not on the disk.
        """
        start, began = request.start, time.perf_counter()
        if self._cache is None or (isinstance(request, Evaluate) and not isinstance(request.lens, Raw)):
            return start
        if isinstance(request, Evaluate):
            known = self._cache.answers(request.path, start, request.top, request.last_top, request.asked)
        else:
            known = self._cache.strict_answers(request.path, start, request.top)
        for answers in known:
            mentioned = {token for distribution in answers.distributions for token in distribution.ids}
            pieces, seconds = self._pieces(model.vocabulary, mentioned), time.perf_counter() - began
            self._send(
                Evaluated(
                    request.request,
                    answers.start,
                    answers.distributions,
                    answers.taken,
                    pieces,
                    0,
                    seconds,
                    model.cells,
                    [],
                    answers.strict,
                )
            )
            if isinstance(request, Evaluate):
                self._cache.note_answers(
                    request.path, answers.start, answers.distributions, answers.taken, strict=answers.strict
                )
            start, began = answers.end, time.perf_counter()
            if self._abort.asked:
                raise Interrupted
        return start

    def _answer_waiting(self, model: Llama, evaluator: Evaluator, index: Index, *, in_background: bool) -> None:
        """Answers quick requests between two chunks of a long prompt, which takes minutes. Raises Interrupted.

        `in_background`: whether the prompt is evaluated in the background.
        """
        kinds = (Constrain, Force, Tokenize, Chat, Spell) if in_background else (Constrain, Force)
        while (waiting := self._inbox.next_of(*kinds)) is not None:
            assert isinstance(waiting, Constrain | Force | Tokenize | Chat | Spell)
            self._attempt(waiting, model, evaluator, index)
        if self._abort.asked:
            raise Interrupted

    def _compare(self, request: Compare, model: Llama, evaluator: Evaluator) -> None:
        began = time.perf_counter()
        difference, decoded = evaluator.strict.compare(request.path, request.other, request.top)
        self._compared(request.request, len(request.path) - 1, [difference], decoded, began, model)

    def _compared(
        self, request: int, start: int, differences: list[Difference], decoded: int, began: float, model: Llama
    ) -> None:
        mentioned = {row.token for each in differences for row in (*each.rows, *([each.taken] if each.taken else []))}
        firsts = {first for each in differences for first in (each.first_a, each.first_b)}
        pieces = self._pieces(model.vocabulary, mentioned | firsts)
        self._send(Compared(request, start, differences, pieces, decoded, time.perf_counter() - began))

    def _export(self, request: Export, model: Llama, evaluator: Evaluator, index: Index) -> None:
        began, decoded = time.perf_counter(), 0
        path = _requested_path(request)
        with writing(request.file, model.vocabulary.size, request.start, request.end) as file:
            for part in evaluator.strict.rows(path, request.start, keep=_single_row(request)):
                file.add(part.rows)
                decoded += part.decoded
                self._answer_waiting(model, evaluator, index, in_background=True)
        seconds = time.perf_counter() - began
        self._send(Exported(request.request, request.start, request.end, decoded, seconds))

    def _against(self, request: Against, model: Llama, evaluator: Evaluator, index: Index) -> None:
        began, decoded = time.perf_counter(), 0
        following = [*request.path[1:], None]
        path = _requested_path(request)
        with reading(request.file, model.vocabulary.size, request.start, request.end) as file:
            for part in evaluator.strict.rows(path, request.start, keep=_single_row(request)):
                decoded += part.decoded
                differences = [
                    evaluator.strict.difference(row, file.row(), request.top, following[place])
                    for place, row in enumerate(part.rows, part.first)
                ]
                if differences:  # a part before the first position has none
                    if self._cache and request.other:
                        self._cache.pairs.note(request.other, request.path, part.first, differences, request.top)
                    # One reply for each part: a reply with all differences may exceed the limit of a line.
                    self._compared(request.request, part.first, differences, decoded, began, model)
                    began, decoded = time.perf_counter(), 0
                self._answer_waiting(model, evaluator, index, in_background=True)

    def _recall(self, request: Recall, model: Llama) -> None:
        _requested_path(request)  # checks the positions
        began = time.perf_counter()
        if self._cache:
            for start, differences in self._cache.pairs.differences(
                request.other, request.path, request.start, request.end, request.top
            ):
                self._compared(request.request, start, differences, 0, began, model)
                if self._abort.asked:
                    raise Interrupted
        self._send(Recalled(request.request))

    def _measure(self, request: MeasureNoise, evaluator: Evaluator) -> None:
        by = f"{self._identified.arithmetic}, cells {self._identified.cells}"
        if self._noise is None:
            self._noise = self._known_models.noise(self._identified.fingerprint, by)
        if self._noise is None:
            self._noise = evaluator.strict.noise()
            self._known_models.measured(self._identified.fingerprint, by, self._noise)
        self._send(Noise(request.request, self._noise))

    def _search(self, request: Search, model: Llama, evaluator: Evaluator, index: Index) -> None:
        began = time.perf_counter()
        matching = index.matching(request.query)
        row, decoded = evaluator.row(request.path)
        tokens = likeliest(row.logits, matching, request.top).tolist()
        taken = evaluator.candidates(row, tokens)
        pieces = self._pieces(model.vocabulary, set(tokens))
        seconds = time.perf_counter() - began
        self._send(Found(request.request, tokens, taken, len(matching), pieces, decoded, seconds))

    def _spell(self, request: Spell, vocabulary: Vocabulary, index: Index) -> None:
        tokens = index.spelling(request.text).tolist()
        self._send(Spelt(request.request, tokens, self._pieces(vocabulary, set(tokens))))

    def _apply(self, request: Apply, model: Llama, evaluator: Evaluator) -> None:
        began = time.perf_counter()
        view, decoded = evaluator.apply(request.path, request.lens, request.tokens, request.top)
        pieces = self._pieces(model.vocabulary, set(view.ids))
        self._send(Applied(request.request, view, pieces, decoded, time.perf_counter() - began))

    def _roll(self, request: Roll, model: Llama, evaluator: Evaluator) -> None:
        began = time.perf_counter()
        draws = numbers(request.seed, request.path, request.first, request.count)
        drawn, verdicts, decoded = evaluator.roll(request.path, as_sampled(request.lens), draws)
        pieces = self._pieces(model.vocabulary, {one.token for one in drawn})
        self._send(Rolled(request.request, drawn, verdicts, pieces, decoded, time.perf_counter() - began))

    def _check(self, request: Check, vocabulary: Vocabulary) -> None:
        try:
            text = vocabulary.text(request.path)
        except UnicodeDecodeError:
            pieces = {token: vocabulary.data(token) for token in set(request.path)}
            place = no_text([pieces[token] for token in request.path])
            if place is not None:  # a path that ends inside a character has no text yet
                self._send(Checked(request.request, place))
            return
        path = vocabulary.tokenize(text, parse_special=request.parse_special)
        self._send(Checked(request.request, None if path == request.path else common_prefix(path, request.path)))

    def _continue(self, request: Continue, model: Llama, evaluator: Evaluator) -> None:
        path, flushed_at, end = request.path, 0.0, GOES_ON
        played: list[Chunk] = []
        drawn: dict[int, Played] = {}
        """By position, until they are sent."""
        try:
            while not self._abort.asked:
                (chunk,) = evaluator.evaluate(path, len(path) - 1, request.top)
                played.append(chunk)
                if self._cache:
                    self._cache.note_answers(path, chunk.start, chunk.distributions, chunk.taken, strict=chunk.strict)
                if (now := time.monotonic()) - flushed_at > AUTOPLAY_FLUSH:
                    self._continued(request, path, played, model, drawn)
                    flushed_at, played = now, []
                if isinstance(request.lens, Raw):
                    following = chunk.distributions[0].most_likely
                elif draw := evaluator.play(path, request.lens, request.seed):
                    following, drawn[len(path)] = draw.token, draw
                else:
                    end = NOTHING_LEFT
                    return
                last = len(path) + 1 - len(request.path) == request.most
                if last or model.vocabulary.piece(following).ends:
                    end = following
                    return
                path = [*path, following]
        finally:
            if played or end != GOES_ON:
                self._continued(request, path, played, model, drawn, end)

    def _continued(
        self,
        request: Continue,
        path: list[int],
        played: list[Chunk],
        model: Llama,
        drawn: dict[int, Played],
        end: int = GOES_ON,
    ) -> None:
        """Sends the tokens played since the last reply; `path` may be longer."""
        start = played[0].start if played else len(path)
        distributions = [chunk.distributions[0] for chunk in played]
        tokens = path[start : start + len(played)]
        mentioned = {token for each in distributions for token in each.ids} | {*tokens, end} - {GOES_ON, NOTHING_LEFT}
        pieces = self._pieces(model.vocabulary, mentioned)
        seconds = sum(chunk.seconds for chunk in played)
        played_draws = [drawn.pop(place) for place in range(start, start + len(played)) if place in drawn]
        verdicts = [draw.verdict for draw in played_draws]
        taken = [
            draw.taken for draw in (*played_draws, *([drawn[len(path)]] if end >= 0 and len(path) in drawn else []))
        ]
        cells = model.cells
        self._send(Continued(request.request, tokens, distributions, pieces, seconds, cells, verdicts, end, taken))

    def _look_ahead(self, request: Lookahead, model: Llama, evaluator: Evaluator) -> None:
        # Critical tokens ask about prefixes of the played path: those are not paths to cache themselves.
        cache = self._cache if self._cache and (not request.waited or self._cache.is_playing(request.path)) else None
        if cache:
            cache.note_path(request.path)
        if (self._last_lookahead.path, self._last_lookahead.top) != (request.path, request.top):
            self._last_lookahead = _LastLookahead(request.path, request.top, {})
        known = self._last_lookahead.after
        # A branch that two purposes wait for is decoded once.
        if ready := [branch for branch in request.branches if tuple(branch) in known]:
            self._looked_ahead(request, model, ready, [known[tuple(branch)] for branch in ready], 0.0)
        branches = [branch for branch in request.branches if tuple(branch) not in known]
        # The first branch is answered after the decode of one token.
        together = 1 if len(branches) < WIDE_BRANCHES else _most_branches(model)
        while branches and not self._inbox.ending:
            step = self._step = _Step(request.path, branches[:together], time.perf_counter())
            try:
                distributions = evaluator.ahead.look(request.path, step.branches, request.top)
            finally:
                self._step = None
            seconds = self._step_seconds[len(distributions)] = time.perf_counter() - step.began
            done, branches, together = (
                branches[: len(distributions)],
                branches[len(distributions) :],
                _most_branches(model),
            )
            known.update(zip(map(tuple, done), distributions, strict=True))
            if cache:
                cache.note_lookahead(request.path, done, distributions)
            self._looked_ahead(request, model, done, distributions, seconds)

    def _looked_ahead(
        self, request: Lookahead, model: Llama, done: list[list[int]], distributions: list[Distribution], seconds: float
    ) -> None:
        mentioned = {token for distribution in distributions for token in distribution.ids}
        pieces = self._pieces(model.vocabulary, mentioned)
        self._send(LookaheadDone(request.request, done, distributions, pieces, seconds))
