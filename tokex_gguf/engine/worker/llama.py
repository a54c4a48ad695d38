"""llama.cpp: a model, one context, and decoding. The only importer of llama_cpp.

It uses the low-level binding: the high-level class keeps the logits of a whole
context in memory, redirects the process's output while loading, and compiles chat
templates that are not needed.

Many mistakes abort the process instead of raising (an id out of range, a batch
too large, a bad file), so every value is checked here before the call. A mistake
that is missed ends only the engine: it is a process of its own.
"""

import copy
import ctypes
import hashlib
import importlib.util
import os
import re
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

# Otherwise an abort attaches a debugger to the process for a backtrace.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")

import numpy as np
from numpy.typing import NDArray

from tokex_gguf.engine.protocol import Reply
from tokex_gguf.engine.worker import ggml, large_stack
from tokex_gguf.engine.worker.abort import Abort
from tokex_gguf.engine.worker.logit_math import Logits
from tokex_gguf.engine.worker.rpc import NoWorker, Workers
from tokex_gguf.engine.worker.threads import ThreadTuner
from tokex_gguf.models.memory import LEARNED_POSITIONS
from tokex_gguf.system import machine
from tokex_gguf.system.limits import limits
from tokex_gguf.values.model_sampling import KEYS, PREFIX, SEQUENCE
from tokex_gguf.values.tokens import Piece, visible


@contextmanager
def _without_init(package: str) -> Iterator[None]:
    """Imports a package's modules without running its `__init__`.

    llama_cpp's chat formats, template engine and disk cache take a tenth of the time to the
    first table. So an empty package replaces it meanwhile.
    """
    spec = importlib.util.find_spec(package)
    if package in sys.modules or spec is None or not spec.submodule_search_locations:
        yield
        return
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[package]


with _without_init("llama_cpp"):
    from llama_cpp import llama_cpp as llama_cpp  # `worker/sampling.py` has it from here

BATCH = 48
"""Tokens of a batch, except in long prompts. Each costs a row of logits, and llama.cpp holds them twice: 58 MB with
Qwen's vocabulary.

Below 64, where ggml's flash attention changes to a kernel that is faster and rounds differently: so a path
gives nearly the same numbers token by token and in one batch."""
FAST_BATCH = 64
"""Tokens of a batch while `FAST_FROM` or more are missing: never strict; at 1,800 tokens 1.7 to 1.9 times as fast.
More are no faster, take memory, and the output matrix over all of them cannot be interrupted."""
FAST_FROM = 1536
"""Missing tokens from which large batches pay off: a comparison then has to decode them a second time."""
STRICT, STEP = 8, 4
"""A batch of STRICT tokens or more, in a multiple of STEP, gives numbers that do not depend on earlier decodes.

ggml's kernels depend on the tokens of a batch: some add up a few of them in another order, some process repacked
weights for four tokens at a time and round the remaining tokens differently, and a lone token's cells are split among
the threads. The last layer is computed only for tokens whose logits are wanted, so the same holds for their number."""
SEQUENCES = 64
"""KV sequences: prompts and branches whose cells stay. llama.cpp allows no more than tokens in a batch, and allocates
as many rows of logits. With half as many, a seventh to a fifth of a lookahead would be decoded twice."""
SEQUENCES_APART = 32
"""KV sequences of a second context, which has no lookahead."""
SMALLEST_CONTEXT = 256
"""The fewest KV cells of a context."""
FIRST_CONTEXT = 4096
"""KV cells at the start, where no size is given."""
LARGEST_CONTEXT = 2**31 - 2**16
"""The most KV cells: positions are 32-bit numbers."""
SHORT_TEXT = 2_000
"""Characters of a text below which any thread's stack is enough to tokenise it."""
STACK_PER_CHARACTER = 1024
"""Bytes of stack that llama.cpp's tokenizer may take for each character of a word.

It splits texts by `std::regex`, which calls itself for each character of a match: 320 bytes with the patterns
of most pre-tokenizers, 640 with those of five (x86-64, GCC 13)."""
LONGEST_REASON = 200
"""Characters of llama.cpp's own message that are shown."""
SPARE_STACK = 2**20
"""Further bytes of stack."""

_RUN = re.compile(r"\S+|\s+")


def longest_run(text: str) -> int:
    """The length of the longest run of white space, or of other characters: no pre-tokenizer makes longer words.

    >>> longest_run("one  2345 six")
    4
    """
    return max((match.end() - match.start() for match in _RUN.finditer(text)), default=0)


class ModelError(Exception):
    """The model cannot be loaded or used; says why in one line."""


def _continues_no_text(why: str) -> ModelError:
    return ModelError(f"this model does not continue text: {why}")


class OutOfCells(Exception):
    """The KV cache has no room for a batch."""


class Interrupted(Exception):
    """The interruption callback ended a decode."""


_WARNING, _ERROR, _CONTINUED = 3, 4, 5
_last_level = 0
_errors: deque[str] = deque(maxlen=20)
"""llama.cpp's last error lines."""


def _log(level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
    """Writes warnings and errors to standard error, which is the log file."""
    global _last_level
    _last_level = _last_level if level == _CONTINUED else level
    if _last_level < _WARNING:
        return
    lines = text.decode("utf-8", "replace").split("\n")
    if _last_level == _ERROR:
        _errors.extend(line for line in lines if line.strip())
    # A broken stderr must not raise into C.
    try:
        sys.stderr.write("\n".join(map(visible, lines)))  # may contain text of the model's file
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


_LOG_CALLBACK = llama_cpp.llama_log_callback(_log)
"""Must stay alive: llama.cpp keeps only the address."""
llama_cpp.llama_log_set(_LOG_CALLBACK, ctypes.c_void_p(0))

_GGML: ctypes.CDLL | None = llama_cpp._lib if sys.platform != "win32" else None
"""The library, for functions that llama_cpp does not bind; None where they cannot be called."""
PLUG_INS = _GGML is not None and ggml.load_backends(_GGML, llama_cpp._base_path)
"""Whether the code for the processor was loaded as a plug-in."""

_FTYPES = {
    value: name.removeprefix("LLAMA_FTYPE_").removeprefix("MOSTLY_").removeprefix("ALL_")
    for name, value in vars(llama_cpp).items()
    if name.startswith("LLAMA_FTYPE_")
}


def _reason() -> str:
    """llama.cpp's reason for its last failure, in one line; empty where it gave none."""
    lines = [visible(line.strip()) for line in _errors]
    _errors.clear()
    # The last lines say only that it failed; the line before them says why.
    named = [line.partition("error loading model: ")[2] for line in lines if "error loading model: " in line]
    named = named or [line for line in lines if "failed to load model" not in line]
    # Names of functions do not help a player.
    reason = re.sub(r"^(\w+: )+", "", named[-1]) if named else ""
    return reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"


def default_threads() -> int:
    """The threads to decode with: one for each core that this process may use and its CPU quota covers.

    Decoding is bound by memory; a second thread on one core only takes turns with the
    first. Linux says which processors share a core; elsewhere two are assumed to.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    if affinity is None:
        return _allowed((os.cpu_count() or 1) // 2)
    processors = affinity(0)
    cores: set[str] = set()
    for processor in processors:
        shared = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
        try:
            cores.add(shared.read_text())
        except OSError:
            cores.add(str(processor))
    return _allowed(len(cores))


def _allowed(threads: int) -> int:
    """`threads`, or fewer under a CPU quota: once it is spent, all threads stop until the next period."""
    share = limits().processors
    return max(1, min(threads, int(share)) if share else threads)


def built_for() -> str:
    """The processor features that llama.cpp uses, in its own words."""
    return str(llama_cpp.llama_print_system_info().decode("utf-8", "replace"))


def build() -> str:
    """The version of llama.cpp, and the origin of its code for the processor."""
    version = str(llama_cpp.llama_version().decode())
    if _GGML is None:
        return version
    version = f"{version} ({ggml.commit(_GGML)})"
    if not PLUG_INS:
        return f"{version}, CPU code compiled in"
    count = len(list(llama_cpp._base_path.glob("libggml-cpu*")))
    return f"{version}, CPU code from {ggml.cpu_library(_GGML).name}, one of {count}"


def arithmetic(gpu_layers: int, *, repack: bool, rpc: bool = False) -> str:
    """What a model's numbers depend on besides its file and its cells. Where it differs, numbers may still agree."""
    import importlib.metadata  # 5 ms, while the model is loaded

    kernels = hashlib.sha256(llama_cpp.llama_print_system_info()).hexdigest()[:8]
    version = importlib.metadata.version("llama-cpp-python")
    where = "all layers on RPC workers" if rpc else f"{gpu_layers} layers on a GPU"
    return f"llama-cpp-python {version}, kernels {kernels}, {where}, repack {repack:d}"


def has_gpu() -> bool:
    """Whether llama.cpp can use a graphics processor here; connected RPC workers count as one."""
    if _GGML is None:
        return bool(llama_cpp.llama_supports_gpu_offload())  # on Windows also where RPC alone is built in
    return ggml.has_gpu(_GGML)


def has_rpc() -> bool:
    """Whether llama.cpp was built for RPC workers, and they can be registered."""
    return _GGML is not None and ggml.has_rpc(_GGML)


def connect(workers: tuple[str, ...], tell: Callable[[Reply], None]) -> Workers:
    """Connects to RPC workers, which compute all models loaded afterwards. Raises ModelError."""
    if _GGML is None or not has_rpc():
        why = "on Windows it cannot be used" if _GGML is None else "install it with -DGGML_RPC=ON in CMAKE_ARGS"
        raise ModelError(f"this llama.cpp was built without RPC, which --rpc needs: {why}")
    try:
        return Workers(_GGML, workers, tell)
    except NoWorker as error:
        raise ModelError(str(error)) from None


ALL_LAYERS = -1
"""llama.cpp's number of layers for all of them."""

_SPECIAL = {
    "bos_token": "bos",
    "eos_token": "eos",
    "unk_token": "unknown",
    "sep_token": "seperator",  # GGUF spells it so
    "pad_token": "padding",
    "cls_token": "cls",
    "mask_token": "mask",
}
"""Special tokens: their names in chat templates, and in GGUF's keys."""


def strict_size(tokens: int) -> int:
    """The size of the smallest strict batch for `tokens` tokens.

    >>> strict_size(1), strict_size(8), strict_size(9)
    (8, 8, 12)
    """
    return max(STRICT, -(-tokens // STEP) * STEP)


class BatchEntry(NamedTuple):
    """One token of a batch."""

    token: int
    sequence: int
    position: int
    wanted: bool
    """Whether its logits are wanted."""
    others: tuple[int, ...] = ()
    """Further sequences that get the token, and hold the same tokens before it."""


def _meta(model: int, key: str) -> str:
    """The value of a key in a model's file, as text; empty where the key is missing."""
    room = 512
    while True:
        buffer = ctypes.create_string_buffer(room)
        count = llama_cpp.llama_model_meta_val_str(model, key.encode(), buffer, room)
        if count < room:
            return buffer.value.decode("utf-8", "replace") if count > 0 else ""
        room = count + 1


class Vocabulary:
    """Text to token ids and back."""

    def __init__(self, model: int) -> None:
        self.pointer = llama_cpp.llama_model_get_vocab(model)
        """llama.cpp's vocabulary."""
        self.size: int = llama_cpp.llama_vocab_n_tokens(self.pointer)
        """Number of tokens."""
        # llama.cpp has default ids for tokens that a file does not name, or names wrongly: 11 may be a comma.
        wants_bos = bool(llama_cpp.llama_vocab_get_add_bos(self.pointer))
        bos, eos = llama_cpp.llama_vocab_bos(self.pointer), llama_cpp.llama_vocab_eos(self.pointer)
        named_bos = bos if _meta(model, "tokenizer.ggml.bos_token_id") == str(bos) else None
        self.bos: int | None = named_bos if wants_bos and 0 <= bos < self.size else None
        """The first token of every path, where the vocabulary asks for one and names it."""
        self.lacks_bos = wants_bos and self.bos is None
        """Whether the vocabulary asks for a BOS token and names none."""
        self._guessed_eos = eos if _meta(model, "tokenizer.ggml.eos_token_id") != str(eos) else -1
        """The token that llama.cpp takes for the end of a text though the file does not name it; -1: none."""
        self._buffer = ctypes.create_string_buffer(64)

    def tokenize(self, text: str, *, parse_special: bool) -> list[int]:
        """The path of a text, with BOS where the vocabulary asks for it.

        No closing token is added even where the vocabulary asks for one: the path is to
        be continued.
        """
        path = self._plain(text, parse_special)
        if self.bos is not None and path[:1] != [self.bos]:
            path.insert(0, self.bos)
        return path

    def _plain(self, text: str, parse_special: bool) -> list[int]:
        """The tokens of a text, without BOS. Raises ModelError."""
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise ModelError("this text is not valid Unicode: it holds bytes that are not UTF-8") from None
        if len(text) < SHORT_TEXT:
            return self._tokens(data, parse_special)
        stack = len(text) * STACK_PER_CHARACTER
        if stack > large_stack.MOST_STACK:
            if (run := longest_run(text)) * STACK_PER_CHARACTER > large_stack.MOST_STACK:
                raise ModelError(
                    f"this text has {run:,} characters without a space between them: too many for the tokenizer"
                )
            stack = large_stack.MOST_STACK
        try:
            return large_stack.call(lambda: self._tokens(data, parse_special), stack + SPARE_STACK)
        except large_stack.NoStack as error:
            raise ModelError(f"no memory to tokenise a text of {len(text):,} characters ({error})") from None

    def _tokens(self, data: bytes, parse_special: bool) -> list[int]:
        room = len(data) + 16
        for _ in range(2):
            ids = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(self.pointer, data, len(data), ids, room, False, parse_special)
            if count >= 0:
                return list(ids[:count])
            room = -count
        raise ModelError("the tokenizer does not answer")

    def continuation(self, text: str, *, parse_special: bool) -> list[int]:
        """The tokens of a text that continues another: no BOS, and no space before it."""
        path = self._plain(text, parse_special)
        if not self.space_prefix():
            return path
        # Such a vocabulary adds its space only at the start of a text.
        before = self._plain("\n", False)
        whole = self._plain("\n" + text, parse_special)
        return whole[len(before) :] if whole[: len(before)] == before else path

    def text(self, path: list[int]) -> str:
        """The text of a path, as `tokenize` takes it. Raises UnicodeDecodeError."""
        tokens = path[1:] if self.bos is not None and path[:1] == [self.bos] else path
        pieces = {token: self.piece(token).data for token in set(tokens)}
        data = b"".join(pieces[token] for token in tokens)
        return (data.removeprefix(b" ") if self.space_prefix() else data).decode()

    def spelled(self, path: list[int]) -> bytes:
        """The bytes of a path's tokens, without the BOS that `tokenize` adds."""
        pieces = {token: self.piece(token).data for token in set(path)}
        return b"".join([pieces[token] for token in (path[1:] if path[:1] == [self.bos] else path)])

    def space_prefix(self) -> bool:
        """Whether `tokenize` puts a space before the text."""
        first = next((token for token in self.tokenize("a", parse_special=False) if token != self.bos), None)
        return first is not None and self.piece(first).data.startswith(b" ")

    def piece(self, token: int) -> Piece:
        """A token's bytes and kind. Raises ModelError for an id outside the vocabulary."""
        data = self.data(token)
        control = bool(llama_cpp.llama_vocab_is_control(self.pointer, token))
        ends = bool(llama_cpp.llama_vocab_is_eog(self.pointer, token))
        return Piece(data, control, ends and (control or token != self._guessed_eos))

    def data(self, token: int) -> bytes:
        """A token's bytes. Raises as `piece` does. Not for two threads at once."""
        if not 0 <= token < self.size:
            raise ModelError(f"token id {token} is not in the vocabulary of {self.size}")
        buffer = self._buffer
        while (count := llama_cpp.llama_token_to_piece(self.pointer, token, buffer, len(buffer), 0, True)) < 0:
            buffer = self._buffer = ctypes.create_string_buffer(-count)
        return buffer.raw[:count]

    def texts(self) -> list[bytes]:
        """The text that each token adds to an output, by id; empty for special tokens."""
        room = 64
        buffer = ctypes.create_string_buffer(room)
        texts: list[bytes] = []
        for token in range(self.size):
            while (count := llama_cpp.llama_token_to_piece(self.pointer, token, buffer, room, 0, False)) < 0:
                room = -count
                buffer = ctypes.create_string_buffer(room)
            texts.append(buffer.raw[:count] if count else b"")
        return texts

    def ends(self) -> list[int]:
        """The tokens that end generation."""
        candidates = [token for token in range(self.size) if llama_cpp.llama_vocab_is_eog(self.pointer, token)]
        return [token for token in candidates if self.piece(token).ends]

    def grammar(self, text: str) -> "Grammar":
        """llama.cpp's own grammar of a GBNF text, at its start. Raises GrammarError."""
        data = text.encode()
        if not data:  # llama.cpp takes an empty text for no grammar
            raise GrammarError("an empty grammar", None)
        _errors.clear()
        with _captured_stderr() as output:
            sampler = llama_cpp.llama_sampler_init_grammar(self.pointer, data, b"root")
        if sampler:
            return Grammar(sampler)
        message = (output[0] if output else b"").partition(b"error parsing grammar: ")[2]
        message, _, _ = message.partition(b"\n\n" + data)
        reason, at, rest = message.partition(b" at ")
        if at and data.endswith(rest):
            raise GrammarError(_text(reason), len(_text(data.removesuffix(rest))))
        if message == b"unexpected end of input":
            raise GrammarError(_text(message), len(text))
        raise GrammarError(_text(message) or _reason() or "llama.cpp refuses it", None)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


class GrammarError(Exception):
    """An invalid GBNF grammar: `reason` in llama.cpp's words, `place` in characters from 0 on."""

    def __init__(self, reason: str, place: int | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place


@contextmanager
def _captured_stderr() -> Iterator[list[bytes]]:
    """Captures what C code writes to standard error; the list has it after the block.

    llama.cpp's grammar parser reports its errors only there.
    """
    import tempfile  # a tenth of the engine's imports, and only grammars need it

    output: list[bytes] = []
    try:
        saved = os.dup(2)
    except OSError:  # standard error is closed
        yield output
        return
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield output
            finally:
                os.dup2(saved, 2)
            file.seek(0)
            output.append(file.read())
    finally:
        os.close(saved)


_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama.cpp's `llama_token_data`."""


class Grammar:
    """The state of llama.cpp's grammar after some tokens."""

    def __init__(self, sampler: int) -> None:
        self._sampler = sampler
        # Not at exit: its model may be freed before it.
        weakref.finalize(self, llama_cpp.llama_sampler_free, sampler).atexit = False

    def legal(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of `tokens`, all in the vocabulary, are legal next; shape like `tokens`.

        Tokens that end a text are legal where the grammar may end.
        """
        if not len(tokens):
            return np.zeros(0, np.bool_)
        entries = np.zeros(len(tokens), _CANDIDATE)
        entries["id"] = tokens
        array = llama_cpp.llama_token_data_array(
            data=entries.ctypes.data_as(llama_cpp.llama_token_data_p), size=len(tokens), selected=-1, sorted=False
        )
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        legal: NDArray[np.bool_] = entries["logit"] == 0
        return legal

    def accept(self, token: int) -> bool:
        """Advances by a token, if it is legal; returns whether it was."""
        # Accepting an illegal one ends the process.
        if not self.legal(np.array([token], np.int32))[0]:
            return False
        llama_cpp.llama_sampler_accept(self._sampler, token)
        return True

    def copy(self) -> "Grammar":
        """An independent copy of the state."""
        return Grammar(llama_cpp.llama_sampler_clone(self._sampler))


class RopeFactors(NamedTuple):
    """The factors by which a model with LongRoPE rotates positions."""

    original: int
    """The most positions for the short factors."""
    long: bool

    def size(self, cells: int) -> int:
        """The context size nearest to `cells` at which llama.cpp takes these factors.

        >>> RopeFactors(4096, long=True).size(4096), RopeFactors(4096, long=False).size(5000)
        (4352, 4096)
        """
        step = SMALLEST_CONTEXT  # llama.cpp rounds up to a multiple
        if self.long:
            return max(cells, (self.original // step + 1) * step)
        return min(cells, max(self.original // step, 1) * step)

    def __str__(self) -> str:
        return f"{'long' if self.long else 'short'} RoPE factors"


class Llama:
    """A loaded model and its context.

    `abort` is checked throughout a decode; only before it where tails cannot be cut.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int,
        threads: int,
        progress: Callable[[float], None],
        abort: Abort,
        most: int = 0,
        kv: str = "f16",
        gpu_layers: int = 0,
        repack: bool = True,
        rpc: bool = False,
    ) -> None:
        """Loads a GGUF; the other arguments are those of `protocol.Load`. Raises ModelError.

        `rpc`: onto the connected workers.
        """
        if rpc:
            gpu_layers, repack, threads = ALL_LAYERS, False, 1  # this process only looks up embeddings
        elif gpu_layers and not has_gpu():
            raise ModelError("this llama.cpp was built without a graphics processor: leave --gpu-layers out")
        llama_cpp.llama_log_set(_LOG_CALLBACK, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._others = machine.OtherPrograms()
        self._model = self._load(path, progress, gpu_layers, repack)
        self.vocabulary = Vocabulary(self._model)
        self._check()
        self.name = self._meta("general.name") or path.stem
        self.chat_template = self._meta("tokenizer.chat_template")
        """Jinja source; empty if the file has none."""
        self.architecture = self._meta("general.architecture") or "unknown"
        byte_pairs = self._meta("tokenizer.ggml.model") == "gpt2"
        self.has_own_rules = not byte_pairs or bool(self._meta("tokenizer.ggml.pre"))
        """Whether the file names its pre-tokenizer; else llama.cpp takes its default."""
        self.quantization = self._quantization()
        self.can_cut = not (
            llama_cpp.llama_model_is_recurrent(self._model) or llama_cpp.llama_model_is_hybrid(self._model)
        )
        self.reads_fast = self.can_cut and kv == "f16"
        """Whether large batches pay off: quantised cells have no faster kernel, recurrent models no interrupt."""
        self._window = llama_cpp.llama_model_n_swa(self._model) if self.can_cut else 0
        """Positions that sliding-window layers attend to; 0: no such layers, or tails are never cut."""
        # The value is unsigned, and the function returns it as signed; positions are signed.
        trained = llama_cpp.llama_model_n_ctx_train(self._model) & 0xFFFFFFFF or FIRST_CONTEXT
        trained = min(trained, LARGEST_CONTEXT)
        self.context_limit: int = context or min(trained, most or trained)
        """The most KV cells: `context` where it is given, else the length of training, or `most`."""
        # llama.cpp aborts at any position after the end of its table.
        learned = self.architecture in LEARNED_POSITIONS
        if learned:
            self.context_limit = min(self.context_limit, trained)
        self.positions: int = self.context_limit if learned else max(self.context_limit, SMALLEST_CONTEXT)
        """Padding of a batch must be at positions before this one."""
        self.rope_factors = self._rope_factors(path)
        self.most: int = self.rope_factors.size(LARGEST_CONTEXT) if self.rope_factors else LARGEST_CONTEXT
        """The most KV cells of any context, also of the second one."""
        self._kv = kv
        self._threads = threads or default_threads()
        self._pace = ThreadTuner(self._threads, 0.0 if self._others.known else machine.load())
        own = _GGML is not None and "OPENMP = 1" not in built_for()
        self._pool = ggml.thread_pool(_GGML, self._threads) if _GGML and own else None
        self._abort = abort
        self.is_second = False
        """Whether this is the second context of a model."""
        self._batch = llama_cpp.llama_batch_init(FAST_BATCH, 0, SEQUENCES)
        self._logits_at = 0
        self._logits = np.empty((0, 0), np.float32)
        self._context = self._open(min(self.context_limit, context or FIRST_CONTEXT))
        if self._context is None:
            why = f" ({reason})" if (reason := _reason()) else ""
            if "does not divide" in why:
                raise ModelError(f"this model's heads cannot be kept as {kv}{why}: leave --kv {kv} out")
            raise ModelError(
                f"not enough memory for a context of {context or FIRST_CONTEXT} tokens{why}: try --context N"
            )
        self._check_context()

    # --- loading

    def _load(self, path: Path, progress: Callable[[float], None], gpu_layers: int, repack: bool) -> int:
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        # With AMX, ggml repacks the weights for it and then crashes in the first decode
        # (ggml-org/llama.cpp #20824); without its repacking the other kernels serve.
        params.use_extra_bufts = repack and "AMX_INT8 = 1" not in built_for()

        def report(fraction: float, _user_data: ctypes.c_void_p) -> bool:
            progress(fraction)
            return True

        params.progress_callback = callback = llama_cpp.llama_progress_callback(report)
        _errors.clear()
        model: int | None = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        del callback  # llama.cpp had only its address: it must live until here
        if not model:
            reason = _reason() or "it is damaged, or of an architecture it does not know"
            raise ModelError(f"{path}: llama.cpp cannot load this file: {reason}")
        return model

    def _check(self) -> None:
        if self.vocabulary.size < 1:
            raise ModelError("the model has no vocabulary")
        if llama_cpp.llama_model_is_diffusion(self._model):
            raise _continues_no_text("it is a diffusion model, which fills in the places of a text in any order")
        if llama_cpp.llama_model_has_encoder(self._model) or not llama_cpp.llama_model_has_decoder(self._model):
            raise _continues_no_text("it has an encoder, which needs all of a text first")
        if llama_cpp.llama_model_n_cls_out(self._model) > 1 or llama_cpp.llama_model_cls_label(self._model, 0):
            raise _continues_no_text("it is a classifier")

    def _check_context(self) -> None:
        pooling = llama_cpp.llama_pooling_type(self._context)
        if pooling == llama_cpp.LLAMA_POOLING_TYPE_RANK:
            raise _continues_no_text("it is a reranker")
        if pooling > llama_cpp.LLAMA_POOLING_TYPE_NONE:
            raise _continues_no_text("it is an embedding model, which makes one vector of a text")
        if not llama_cpp.llama_get_causal_attn(self._context):
            raise _continues_no_text("its attention is not causal: each place sees what follows it")
        if not self._memory:
            raise _continues_no_text("it keeps nothing from one token to the next (an encoder or embedding model)")

    def _meta(self, key: str) -> str:
        return _meta(self._model, key)

    def special_texts(self) -> dict[str, str]:
        """The texts of the special tokens that the file names, by their names in chat templates."""
        texts: dict[str, str] = {}
        for name, key in _SPECIAL.items():
            token = self._meta(f"tokenizer.ggml.{key}_token_id")
            if token.isdecimal() and int(token) < self.vocabulary.size:
                texts[name] = self.vocabulary.piece(int(token)).data.decode("utf-8", "replace")
        return texts

    def sampling(self) -> dict[str, str]:
        """The samplers that the file recommends, by key."""
        values = {key: self._meta(f"{PREFIX}{key}") for key in (SEQUENCE, *KEYS)}
        return {key: value for key, value in values.items() if value}

    def suppressed(self) -> list[int]:
        """Tokens that the file bans, as llama.cpp reads it (`tokenizer.ggml.suppress_tokens`), each once."""
        count = ctypes.c_int32()
        tokens = llama_cpp.llama_vocab_get_suppress_tokens(self.vocabulary.pointer, ctypes.byref(count))
        return sorted(set(tokens[: count.value])) if count.value else []

    def _quantization(self) -> str:
        ftype = self._meta("general.file_type")
        return _FTYPES.get(int(ftype), "unknown") if ftype.isdigit() else "unknown"

    def _rope_factors(self, path: Path) -> "RopeFactors | None":
        """The factors of a model with LongRoPE (Phi-3, MiniCPM), which depend on the context's size.

        llama.cpp takes the long factors where the context has more cells than the model's original training length,
        else the short ones.
        """
        scaling = f"{self.architecture}.rope.scaling"
        length, kind = self._meta(f"{scaling}.original_context_length"), self._meta(f"{scaling}.type")
        if not length.isdigit() or kind not in ("", "none", "longrope"):
            return None
        from tokex_gguf.models.gguf.metadata import has_tensor  # few models need it
        from tokex_gguf.models.reference import parts_of

        if not has_tensor((path.with_name(part) for part in parts_of(path.name)), "rope_factors_long.weight"):
            return None
        return RopeFactors(int(length), long=self.context_limit > int(length))

    def _open(self, cells: int) -> int | None:
        params = llama_cpp.llama_context_default_params()
        # llama.cpp aborts where a context is smaller than a batch.
        params.n_ctx = max(cells, SMALLEST_CONTEXT)
        if self.rope_factors:
            params.n_ctx = self.rope_factors.size(params.n_ctx)
        params.n_batch = params.n_ubatch = FAST_BATCH
        most = min(SEQUENCES, SEQUENCES_APART) if self.is_second else SEQUENCES
        params.n_seq_max = most if self.can_cut else 4
        params.kv_unified = True
        params.swa_full = self.is_second  # else cells outside the window are reused, in any order
        if self._kv == "q8_0":
            params.type_k = params.type_v = llama_cpp.GGML_TYPE_Q8_0
        params.no_perf = True
        params.n_threads = params.n_threads_batch = self._threads
        context: int | None = llama_cpp.llama_init_from_model(self._model, params)
        if context:
            # An interrupted decode would leave recurrent states half changed, also those of other
            # sequences, and all would be lost. So recurrent models finish each batch.
            if self.can_cut:
                llama_cpp.llama_set_abort_callback(context, self._abort.callback, self._abort.data)
            if _GGML and self._pool:
                ggml.attach(_GGML, context, self._pool)
            self._memory = llama_cpp.llama_get_memory(context)
            self.sequences: int = params.n_seq_max
            # The second context may have more cells than one path can.
            self.cells: int = min(
                llama_cpp.llama_n_ctx(context), LARGEST_CONTEXT if self.is_second else self.context_limit
            )
        return context

    # --- the context

    def second_context(self, cells: int) -> "Llama | None":
        """A second context of the same model, with `cells` cells; None where memory is short."""
        second = copy.copy(self)
        second.is_second, second._logits_at = True, 0
        second._context = second._open(cells)
        return second if second._context else None

    def clear(self, cells: int) -> bool:
        """Drops all sequences, and grows to at least `cells` cells; returns whether there is memory for them."""
        if cells <= self.cells:
            llama_cpp.llama_memory_clear(self._memory, False)
            return True
        old, memory, held = self._context, self._memory, self.cells
        new = self._open(cells)
        if new is None:
            self._memory, self.cells = memory, held
            return False
        llama_cpp.llama_free(old)
        self._context = new
        return True

    def state(self, sequence: int) -> "ctypes.Array[ctypes.c_uint8] | None":
        """The state of a sequence with its cells, for another context; None where memory is short."""
        size = llama_cpp.llama_state_seq_get_size(self._context, sequence)
        try:
            state = (ctypes.c_uint8 * size)()
        except MemoryError:
            return None
        return state if llama_cpp.llama_state_seq_get_data(self._context, state, size, sequence) == size else None

    def restore(self, sequence: int, state: "ctypes.Array[ctypes.c_uint8] | memoryview") -> bool:
        """Puts a state of another context of this model into an empty sequence; returns whether that worked."""
        if isinstance(state, memoryview):
            state = (ctypes.c_uint8 * len(state)).from_buffer(state)
        return bool(llama_cpp.llama_state_seq_set_data(self._context, state, len(state), sequence))

    def warm_up(self, sequence: int) -> None:
        """Decodes a token in an empty sequence and drops it: the first decode of a process takes longest.

        It brings the weights into memory and starts the threads. Its time is no measure of later decodes.
        """
        with suppress(OutOfCells, Interrupted, ModelError):
            self.decode(
                [BatchEntry(self.vocabulary.bos or 0, sequence, 0, True)], self._pace.begin(self._others.left())
            )
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    @property
    def in_parts(self) -> bool:
        """Whether the cells of any part of a sequence can be copied out and put back, and tails be cut."""
        return self.can_cut and not self._window

    def size(self, sequence: int) -> int:
        """Bytes of a sequence's state."""
        return int(llama_cpp.llama_state_seq_get_size(self._context, sequence))

    def take(self, sequence: int, start: int, end: int, spare: int) -> "ctypes.Array[ctypes.c_uint8] | None":
        """The cells of a sequence at positions `start` to before `end`, copied through the empty sequence `spare`.

        Only with `in_parts`. None where memory is short.
        """
        llama_cpp.llama_memory_seq_cp(self._memory, sequence, spare, start, end)
        try:
            return self.state(spare)
        finally:
            llama_cpp.llama_memory_seq_rm(self._memory, spare, -1, -1)

    def put(self, sequence: int, state: memoryview, start: int, end: int, spare: int) -> bool:
        """Adds cells from `take` to a sequence, at positions `start` to before `end`; returns whether that worked."""
        if not self.restore(spare, state):
            return False
        llama_cpp.llama_memory_seq_cp(self._memory, spare, sequence, start, end)
        llama_cpp.llama_memory_seq_rm(self._memory, spare, -1, -1)
        return self.count(sequence) == end

    def grow(self, cells: int, keep: int) -> bool:
        """Opens a larger context and copies sequence `keep` to it.

        Returns whether that worked; where memory is short, nothing changes.
        The other sequences are lost.
        """
        assert self._context is not None
        state = self.state(keep)
        if state is None:
            return False
        old, memory, held = self._context, self._memory, self.cells
        new = self._open(cells)
        if new is None:
            return False
        if len(state) and llama_cpp.llama_state_seq_set_data(new, state, len(state), keep) == 0:
            llama_cpp.llama_free(new)
            self._memory, self.cells = memory, held
            return False
        llama_cpp.llama_free(old)
        self._context = new
        return True

    def copy(self, source: int, target: int, count: int) -> None:
        """Lets `target` share the first `count` cells of `source`."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, count)

    def cut(self, sequence: int, keep: int) -> int:
        """Drops a sequence's cells from position `keep` on; returns how many tokens it then holds.

        Where the tail cannot be cut, or a sliding window then lacks cells, the whole sequence is dropped.
        """
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, keep, -1) or self._window_lacks_cells(sequence):
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return self.count(sequence)

    def _window_lacks_cells(self, sequence: int) -> bool:
        """Whether the sliding window at a sequence's end lacks cells.

        llama.cpp reuses cells outside the window of a sequence's end; after a cut, the
        window reaches back to them.
        """
        if not self._window:
            return False
        held = self.count(sequence)
        return held == 0 or llama_cpp.llama_memory_seq_pos_min(self._memory, sequence) > max(0, held - self._window + 1)

    @property
    def orderly(self) -> int:
        """How many cells can be filled before cells outside a sliding window are reused."""
        return self.sequences * self._window if self._window and not self.is_second else LARGEST_CONTEXT

    @property
    def threads(self) -> int:
        """The threads of the next decode."""
        return self._pace.threads

    @property
    def interrupted(self) -> bool:
        """Whether the request under way is to end."""
        return self._abort.asked

    def count(self, sequence: int) -> int:
        """How many tokens a sequence holds in llama.cpp."""
        return int(llama_cpp.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def decode(self, entries: list[BatchEntry], threads: int = 0) -> Logits:
        """Decodes a batch of at most FAST_BATCH tokens; returns the logits of the entries that want them, in order.

        Shape (entries that want logits, vocabulary size), a view that the next decode overwrites. `threads`: at most
        those of the context; 0: as many as pay off. Raises OutOfCells, Interrupted, ModelError; `count` then says how
        much is in the cache.
        """
        size = self.vocabulary.size
        if not 0 < len(entries) <= FAST_BATCH or not all(0 <= entry.token < size for entry in entries):
            raise ModelError("tokens outside the vocabulary, or too many at once")
        batch = self._batch
        batch.n_tokens = len(entries)
        rows = 0
        for index, (token, sequence, position, wanted, others) in enumerate(entries):
            batch.token[index] = token
            batch.pos[index] = position
            batch.n_seq_id[index] = 1 + len(others)
            batch.seq_id[index][0] = sequence
            for place, other in enumerate(others, 1):
                batch.seq_id[index][place] = other
            batch.logits[index] = wanted
            rows += wanted
        if not self.can_cut and self._abort.asked:
            raise Interrupted
        given_threads, threads = threads, threads or self._pace.begin(self._others.left())
        began, processor = time.perf_counter(), time.process_time()
        llama_cpp.llama_set_n_threads(self._context, threads, threads)
        code = llama_cpp.llama_decode(self._context, batch)
        if code == 1:
            raise OutOfCells
        if code == 2:
            raise Interrupted
        if code:
            raise ModelError(f"llama.cpp could not decode (code {code})")
        if rows == 0:
            return np.empty((0, size), np.float32)
        if not given_threads:
            self._pace.took(time.perf_counter() - began, time.process_time() - processor, len(entries))
        return self._buffer()[:rows]

    def _buffer(self) -> Logits:
        """llama.cpp's buffer of logits, shape (FAST_BATCH, vocabulary size); only the requested rows are valid."""
        pointer = llama_cpp.llama_get_logits(self._context)
        address = ctypes.addressof(pointer.contents)
        if address != self._logits_at:  # it seldom moves, and making a view is slower than this check
            self._logits_at = address
            self._logits = np.ctypeslib.as_array(pointer, shape=(FAST_BATCH, self.vocabulary.size))
        return self._logits
