"""llama.cpp's samplers, applied one after the other to all of the vocabulary, with a record of each.

They are llama.cpp's own, called in its order, so the numbers are its numbers. Between two of them the array
of candidates is looked at: what is gone from it, by its size or by a logit of minus infinity, was cut there.
"""

import ctypes
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokex_gguf.engine.worker.llama import ModelError, Vocabulary, llama_cpp
from tokex_gguf.engine.worker.logit_math import Logits
from tokex_gguf.values.samplers import Chain, Kind, Sampler
from tokex_gguf.values.view import KEPT, Stage

Ids: TypeAlias = NDArray[np.int32]

_TOKEN_DATA = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
_LOG2_E = 1 / math.log(2)
_LARGE = 4096
"""Candidates from which single precision is used for what is only told of a stage: a tenth of the time."""
_TYPICAL_AFTER_CUT = "llama.cpp's typical is undefined behind a sampler that leaves logits of minus infinity"


_NONE: Ids = np.zeros(0, np.int32)


class _Array:
    """An array of candidates as llama.cpp's samplers take it: they sort it, shorten it, and may move its beginning."""

    def __init__(self, size: int) -> None:
        self._buffer = np.zeros(size, _TOKEN_DATA)
        self._address = self._buffer.ctypes.data
        self._ids = np.arange(size, dtype=np.int32)
        self._struct = llama_cpp.llama_token_data_array()
        self.reference = ctypes.byref(self._struct)

    def _point(self, size: int, *, is_sorted: bool) -> None:
        ctypes.c_void_p.from_buffer(self._struct).value = self._address  # its first field
        self._struct.size, self._struct.selected, self._struct.sorted = size, -1, is_sorted

    def fill(self, row: Logits, ids: Ids | None = None) -> None:
        """All tokens with their logits, or some of them. `row`: shape (vocabulary size,)."""
        size = len(row) if ids is None else len(ids)
        view = self._buffer[:size]
        view["id"] = self._ids if ids is None else ids
        view["logit"] = row if ids is None else row[ids]
        self._point(size, is_sorted=False)

    def copy_from(self, other: "_Array") -> None:
        """The same candidates in the same order."""
        view = other.view
        self._buffer[: len(view)] = view
        self._point(len(view), is_sorted=bool(other._struct.sorted))

    @property
    def view(self) -> NDArray[Any]:
        """The candidates that are there, with fields `id` and `logit`; the next sampler changes it."""
        data: int = ctypes.c_void_p.from_buffer(self._struct).value or self._address  # its first field
        start = (data - self._address) // _TOKEN_DATA.itemsize
        return self._buffer[start : start + self._struct.size]

    def alive(self) -> tuple[Ids, Logits]:
        """Ids and logits of those that can still be drawn, in the array's order; they are copies."""
        view = self.view
        logits = np.ascontiguousarray(view["logit"])
        finite = logits > -np.inf  # and not NaN
        if finite.all():
            return view["id"].copy(), logits
        return view["id"][finite], logits[finite]


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Probabilities of some logits, renormalised. Shape (n,)."""
    if not len(logits):
        return np.zeros(0)
    weights = np.exp(logits.astype(np.float64) - float(logits.max()))
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


def mass_of(row: Logits, log_sum: float, ids: Ids) -> float:
    """The probability by the model of some tokens together, 0 to 1."""
    return min(1.0, float(np.exp(row[ids] - np.float32(log_sum)).sum(dtype=np.float64)))


def _entropy(logits: Logits) -> float:
    """Bits of the distribution of some logits, renormalised."""
    if len(logits) < 2:
        return 0.0
    shifted: NDArray[Any] = logits - logits.max()
    if len(logits) <= _LARGE:
        shifted = shifted.astype(np.float64)
    weights = np.exp(shifted)
    total = float(weights.sum(dtype=np.float64))
    return max(0.0, (math.log(total) - float((weights * shifted).sum(dtype=np.float64)) / total) * _LOG2_E)


class Memory(NamedTuple):
    """What mirostat or adaptive-p remembers of what was chosen."""

    first: float
    """mirostat: mu; adaptive-p: the sum of the weighted probabilities."""
    second: float = 0.0
    """adaptive-p: the sum of the weights."""


@dataclass(frozen=True)
class Left:
    """What the stages have left of a row."""

    ids: Ids
    """Tokens that can be drawn."""
    finals: NDArray[np.float64]
    """Their chances, parallel."""
    cuts: NDArray[np.int8]
    """The stage that cut each token of the vocabulary, or KEPT."""
    stages: tuple[Stage, ...]
    chosen_among: tuple[Ids, Logits]
    """Where something remembers: what it chose among; else nothing."""

    def final(self, token: int) -> float:
        """The chance of one token."""
        where = np.flatnonzero(self.ids == token)
        return float(self.finals[where[0]]) if len(where) else 0.0


class _Run:
    """The array on its way through the stages, with what is noted of it."""

    def __init__(self, array: _Array, row: Logits, log_sum: float) -> None:
        """An array of all candidates with their logits."""
        self.array = array
        self.row = row
        self.log_sum = log_sum
        self.cuts = np.full(len(row), KEPT, np.int8)
        self.stages: list[Stage] = []
        self.ids: Ids | None = None
        """Tokens that can be drawn; None: all, in the vocabulary's order."""
        self.logits = row

    def note(self, stage: int, text: str = "") -> None:
        """Looks at what a stage has left."""
        before = self.ids
        self.ids, self.logits = self.array.alive()
        if before is None and len(self.ids) < len(self.row):
            self.cuts[:] = stage
            self.cuts[self.ids] = KEPT
        elif before is not None and len(self.ids) < len(before):
            self.cuts[before] = stage
            self.cuts[self.ids] = KEPT
        mass = 1.0 if len(self.ids) == len(self.row) else mass_of(self.row, self.log_sum, self.ids)
        self.stages.append(Stage(len(self.ids), mass, _entropy(self.logits), text))

    @property
    def there(self) -> Ids:
        """The tokens that can be drawn, parallel to `logits`."""
        return np.arange(len(self.row), dtype=np.int32) if self.ids is None else self.ids

    @property
    def holes(self) -> bool:
        """Whether the array has candidates that cannot be drawn."""
        return self.ids is not None and len(self.ids) < len(self.array.view)

    def branch(self, array: _Array) -> "_Run":
        """One more that goes on from here."""
        array.copy_from(self.array)
        other = _Run(array, self.row, self.log_sum)
        other.cuts, other.stages, other.ids, other.logits = self.cuts.copy(), self.stages.copy(), self.ids, self.logits
        return other


class BuiltChain:
    """The samplers of one chain, ready to be applied."""

    def __init__(self, vocabulary: Vocabulary, chain: Chain) -> None:
        """Raises ModelError where llama.cpp refuses a sampler."""
        self._size = vocabulary.size
        self.chain = chain
        self._own: list[Any] = []
        self._made: list[tuple[Sampler, Any]] = []
        self._bias = self._keep(_logit_bias(vocabulary.size, chain.bias)) if chain.bias else None
        for sampler in chain.samplers:
            made = None if sampler.row.chooses or sampler.kind is Kind.XTC else _init(vocabulary, chain, sampler)
            self._made.append((sampler, None if made is None else self._keep(made)))
        self._counted = [
            (made, int(sampler.values[1 if sampler.kind is Kind.PENALTIES else 3]))
            for sampler, made in self._made
            if sampler.kind in (Kind.PENALTIES, Kind.DRY)
        ]
        self._arrays = [_Array(vocabulary.size)]

    def _keep(self, made: Any) -> Any:
        if not made:
            raise ModelError("llama.cpp refuses a sampler of this chain")
        self._own.append(made)
        return made

    def close(self) -> None:
        """Frees the samplers."""
        for made in self._own:
            llama_cpp.llama_sampler_free(made)
        self._own = []

    def apply(self, row: Logits, log_sum: float, path: Sequence[int], memory: Memory, legal: Ids | None = None) -> Left:
        """What the chain leaves of a row of logits, shape (vocabulary size,), after a path.

        `legal`: the tokens that a constraint allows; it is the first stage then. Where XTC comes now and then,
        the chances are those of both ways together, and the record is that of the more frequent one.
        """
        for made, last in self._counted:
            llama_cpp.llama_sampler_reset(made)
            for token in path[-last:]:
                llama_cpp.llama_sampler_accept(made, token)
        first = self._arrays[0]
        first.fill(row)
        run = _Run(first, row, log_sum)
        stage = 0
        if legal is not None:
            first.fill(row, legal)
            run.note(stage)
            stage += 1
        if self._bias is not None and not len(run.there):
            run.note(stage)
            stage += 1
        elif self._bias is not None:
            llama_cpp.llama_sampler_apply(self._bias, first.reference)
            run.note(stage)
            stage += 1
        ways = [(1.0, run)]
        chosen_among: tuple[Ids, Logits] = (_NONE, row[:0])
        for number, (sampler, made) in enumerate(self._made, stage):
            if (sampler.row.chooses or sampler.kind is Kind.XTC) and not len(run.there):
                run.note(number)
                continue
            if sampler.row.chooses:
                before = run.there, run.logits
                _choose(self._size, run, sampler, memory)
                run.note(number)
                # mirostat counts the surprisal among what it has left, adaptive-p the probability before its change.
                among = (run.there, run.logits) if sampler.kind is Kind.MIROSTAT else before
                chosen_among = among
            elif sampler.kind is Kind.XTC:
                ways = self._xtc(ways, sampler, number)
                run = max(ways, key=lambda way: way[0])[1]
            else:
                for _, one in ways:
                    if not len(one.there):  # llama.cpp aborts over an empty array
                        one.note(number)
                        continue
                    holes = sampler.kind is Kind.TYPICAL and one.holes
                    llama_cpp.llama_sampler_apply(made, one.array.reference)
                    one.note(number, _TYPICAL_AFTER_CUT if holes else "")
        return self._together(ways, run, chosen_among)

    def _xtc(self, ways: list[tuple[float, _Run]], sampler: Sampler, number: int) -> list[tuple[float, _Run]]:
        """Both ways of a sampler that comes now and then: where it comes first, where it does not behind."""
        probability, threshold = min(1.0, sampler.values[0]), sampler.values[1]
        ((_, run),) = ways
        made = llama_cpp.llama_sampler_init_xtc(1.0, threshold, 0, 0)
        others: list[tuple[float, _Run]] = []
        if probability < 1:
            if len(self._arrays) < 2:
                self._arrays.append(_Array(self._size))
            passed = run.branch(self._arrays[1])
            passed.note(number)
            others = [(1 - probability, passed)]
        llama_cpp.llama_sampler_apply(made, run.array.reference)
        llama_cpp.llama_sampler_free(made)
        run.note(number)
        return [(probability, run), *others]

    @staticmethod
    def _together(ways: list[tuple[float, _Run]], shown: _Run, chosen_among: tuple[Ids, Logits]) -> Left:
        if len(ways) == 1:
            return Left(shown.there, softmax(shown.logits), shown.cuts, tuple(shown.stages), chosen_among)
        finals = np.zeros(len(shown.cuts))
        for weight, run in ways:
            finals[run.there] += weight * softmax(run.logits)
        ids = np.flatnonzero(finals).astype(np.int32)
        cuts = shown.cuts.copy()
        cuts[ids] = KEPT
        return Left(ids, finals[ids], cuts, tuple(shown.stages), chosen_among)

    # --- what is remembered

    def beginning(self) -> Memory:
        """What is remembered before anything was chosen."""
        last = self.chain.samplers[-1] if self.chain.samplers else None
        if last is None or not last.row.chooses:
            return Memory(0.0)
        if last.kind is Kind.MIROSTAT:
            return Memory(2 * last.values[1])
        target, decay = last.values
        return Memory(target / (1 - decay), 1 / (1 - decay))

    def after(self, memory: Memory, left: Left, token: int) -> Memory:
        """What is remembered once a token was chosen."""
        last = self.chain.samplers[-1] if self.chain.samplers else None
        if last is None or not last.row.chooses:
            return memory
        ids, logits = left.chosen_among
        where = np.flatnonzero(ids == token)
        if not len(where):
            return memory  # it could not have been chosen: nothing says by how much it surprised
        probability = float(softmax(logits)[where[0]])
        if probability <= 0:
            return memory
        if last.kind is Kind.MIROSTAT:
            return Memory(memory.first - last.values[2] * (-math.log2(probability) - last.values[1]))
        decay = last.values[1]
        return Memory(probability + decay * memory.first, 1 + decay * memory.second)


def _choose(size: int, run: _Run, sampler: Sampler, memory: Memory) -> None:
    """Applies a sampler that draws by itself, in the state that it has come to; what it draws is of no interest."""
    if sampler.kind is Kind.MIROSTAT:
        # A new one has a mu of twice its tau.
        if sampler.values[0] == 1:
            made = llama_cpp.llama_sampler_init_mirostat(size, 0, memory.first / 2, 0.0, 100)
        else:
            made = llama_cpp.llama_sampler_init_mirostat_v2(0, memory.first / 2, 0.0)
    else:
        # A new one aims at its own target.
        aim = 2 * sampler.values[0] - memory.first / memory.second
        made = llama_cpp.llama_sampler_init_adaptive_p(max(0.0, min(1.0, aim)), sampler.values[1], 0)
    try:
        if len(run.there):
            llama_cpp.llama_sampler_apply(made, run.array.reference)
    finally:
        llama_cpp.llama_sampler_free(made)


def _init(vocabulary: Vocabulary, chain: Chain, sampler: Sampler) -> Any:
    """llama.cpp's sampler of these values."""
    values = sampler.values
    whole = [int(value) for value in values]
    match sampler.kind:
        case Kind.PENALTIES:
            return llama_cpp.llama_sampler_init_penalties(vocabulary.size, whole[1], values[0], values[2], values[3])
        case Kind.DRY:
            texts = [one.encode() for one in chain.breakers if one]
            breakers = (ctypes.c_char_p * max(1, len(texts)))(*texts)
            return llama_cpp.llama_sampler_init_dry(
                vocabulary.pointer, values[0], values[1], whole[2], whole[3], breakers, len(texts)
            )
        case Kind.TOP_N_SIGMA:
            return llama_cpp.llama_sampler_init_top_n_sigma(values[0])
        case Kind.TOP_K:
            return llama_cpp.llama_sampler_init_top_k(whole[0])
        case Kind.TYPICAL:
            return llama_cpp.llama_sampler_init_typical(values[0], 0)
        case Kind.TOP_P:
            return llama_cpp.llama_sampler_init_top_p(values[0], 0)
        case Kind.MIN_P:
            return llama_cpp.llama_sampler_init_min_p(values[0], 0)
        case Kind.TEMPERATURE:
            return llama_cpp.llama_sampler_init_temp_ext(*values)
        case Kind.XTC | Kind.MIROSTAT | Kind.ADAPTIVE_P:
            raise AssertionError(sampler.kind)


def _logit_bias(size: int, bias: Iterable[tuple[int, float]]) -> Any:
    entries = [(token, amount) for token, amount in bias if 0 <= token < size]
    made = (llama_cpp.llama_logit_bias * max(1, len(entries)))()
    for one, (token, amount) in zip(made, entries, strict=False):
        one.token, one.bias = token, amount
    return llama_cpp.llama_sampler_init_logit_bias(size, len(entries), made)
