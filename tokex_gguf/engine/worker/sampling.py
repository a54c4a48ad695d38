"""llama.cpp's samplers, applied one after the other to the whole vocabulary, with a record of each stage.

The samplers are llama.cpp's own, called in its order, so the numbers are its numbers. The array of candidates is read
between two samplers: a token that is missing from it, or has a logit of minus infinity, was cut there.
"""

import ctypes
import math
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokex_gguf.engine.worker.llama import ModelError, Vocabulary, llama_cpp
from tokex_gguf.engine.worker.logit_math import LOG2_E, Logits, Statistics, top_ids
from tokex_gguf.values.record import record
from tokex_gguf.values.samplers import Chain, Kind, Sampler
from tokex_gguf.values.view import NOT_CUT, Stage

TokenIds: TypeAlias = NDArray[np.int32]

_TOKEN_DATA = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
_LARGE = 4096
"""Candidates from which a stage's numbers and the chances use single precision, which is much faster."""
_SMALL = 1e-30
"""The probability below which single precision has too few digits."""
_KEPT_SAMPLERS = 64
"""The most samplers kept for later chains."""
_LARGEST_BIAS = 1e30
"""Far beyond it, the sum with a logit is infinite, which no sampler can handle."""
_STILL = frozenset({Kind.PENALTIES, Kind.DRY, Kind.TOP_N_SIGMA, Kind.ADAPTIVE_P})
"""Samplers that keep the order of the array, as a fixed temperature does."""
_CUT_ONLY = frozenset({Kind.TOP_K, Kind.TYPICAL, Kind.TOP_P, Kind.MIN_P, Kind.TOP_N_SIGMA, Kind.XTC})
"""Samplers that change no logit of the remaining candidates."""
_TYPICAL_UNDEFINED = "llama.cpp's typical is undefined where a candidate has a probability of 0"
_DYNAMIC_COUNTS = "llama.cpp's dynamic temperature counts the candidates that were cut before as well"
_XTC_UNDEFINED = "llama.cpp's XTC leaves a candidate alone here that was cut before: nothing can be drawn"
_OVERFLOW = "llama.cpp's numbers overflow at this temperature: the most likely token is left alone"
_MIROSTAT_OVERFLOW = "llama.cpp's mirostat overflows at this target: the most likely token is left alone"
_MIROSTAT_TOKENS = 100
"""The likeliest candidates by which mirostat 1 estimates how fast probabilities fall: llama.cpp's `m`."""
_NONE: TokenIds = np.zeros(0, np.int32)


class _Array:
    """llama.cpp's array of candidates: samplers sort it, shorten it, and may move its start."""

    def __init__(self, size: int) -> None:
        self._buffer = np.zeros(size, _TOKEN_DATA)
        self._address = self._buffer.ctypes.data
        self._ids = np.arange(size, dtype=np.int32)
        self._struct = llama_cpp.llama_token_data_array()
        self.reference = ctypes.byref(self._struct)

    def _point(self, size: int, *, is_sorted: bool) -> None:
        ctypes.c_void_p.from_buffer(self._struct).value = self._address  # its first field
        self._struct.size, self._struct.selected, self._struct.sorted = size, -1, is_sorted

    def fill(self, row: Logits, ids: TokenIds | None = None) -> None:
        """Puts in all tokens with their logits, or those of `ids`. `row`: shape (vocabulary size,)."""
        size = len(row) if ids is None else len(ids)
        view = self._buffer[:size]
        view["id"] = self._ids if ids is None else ids
        view["logit"] = row if ids is None else row[ids]
        self._point(size, is_sorted=False)

    def copy_from(self, other: "_Array") -> None:
        """Copies the candidates of another array, in order."""
        view = other.view
        self._buffer[: len(view)] = view
        self._point(len(view), is_sorted=bool(other._struct.sorted))

    def leave(self, token: int) -> None:
        """Leaves one token."""
        self._buffer[0] = token, 0, 0
        self._point(1, is_sorted=True)

    @property
    def view(self) -> NDArray[Any]:
        """The candidates, with fields `id` and `logit`; the next sampler changes the array."""
        data: int = ctypes.c_void_p.from_buffer(self._struct).value or self._address  # its first field
        start = (data - self._address) // _TOKEN_DATA.itemsize
        return self._buffer[start : start + self._struct.size]


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Probabilities of some logits, renormalised. Shape (n,)."""
    if not len(logits):
        return np.zeros(0)
    values: NDArray[Any] = logits if len(logits) > _LARGE else logits.astype(np.float64)
    weights = np.exp(values - values.max())
    probabilities: NDArray[np.float64] = weights.astype(np.float64)
    probabilities /= probabilities.sum()
    return probabilities


def mass_of(row: Logits, log_sum: float, ids: TokenIds) -> float:
    """The joint probability of some tokens by the model, 0 to 1."""
    mass = float(np.exp(row[ids] - np.float32(log_sum)).sum(dtype=np.float64))
    if mass < _SMALL:
        mass = float(np.exp(row[ids].astype(np.float64) - log_sum).sum())
    return min(1.0, mass)


def _entropy(logits: Logits) -> float:
    """The entropy of a few logits, renormalised, in bits."""
    values = logits[logits > -np.inf].astype(np.float64)
    shifted = values - values.max()
    weights = np.exp(shifted)
    total = float(weights.sum())
    return max(0.0, (math.log(total) - float(weights @ shifted) / total) * LOG2_E)


class _BuiltSampler:
    """One of llama.cpp's samplers, freed with this object."""

    def __init__(self, pointer: Any) -> None:
        if not pointer:
            raise ModelError("llama.cpp refuses a sampler of this chain")
        self.pointer = pointer
        weakref.finalize(self, llama_cpp.llama_sampler_free, pointer).atexit = False
        self._length = 0
        """Tokens of the path that it has accepted."""
        self._window: list[int] = []
        """The last accepted tokens: all that its state depends on."""

    def follow(self, path: Sequence[int], last: int) -> None:
        """Makes it accept the `last` tokens of a path; only the new ones, where the path continues the one before."""
        begin = self._length
        if begin > len(path) or path[max(0, begin - last) : begin] != self._window:
            llama_cpp.llama_sampler_reset(self.pointer)
            begin = 0
        for token in path[max(begin, len(path) - last) :]:
            llama_cpp.llama_sampler_accept(self.pointer, token)
        self._length, self._window = len(path), list(path[-last:])


class Workshop:
    """What the chains of one model share: samplers, and arrays of candidates."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.statistics = Statistics(vocabulary.size)
        self._arrays: list[_Array] = []
        self._built: OrderedDict[object, _BuiltSampler] = OrderedDict()

    def array(self, number: int) -> _Array:
        """The array of candidates with this number; all chains share the arrays."""
        while len(self._arrays) <= number:
            self._arrays.append(_Array(self.vocabulary.size))
        return self._arrays[number]

    def sampler(self, key: object, make: Callable[[], Any]) -> _BuiltSampler:
        """The sampler of a key, kept: DRY reads the whole vocabulary, and other samplers of its chain change often."""
        built = self._built.get(key)
        if built is None:
            built = self._built[key] = _BuiltSampler(make())
            if len(self._built) > _KEPT_SAMPLERS:
                self._built.popitem(last=False)
        self._built.move_to_end(key)
        return built


class SamplerState(NamedTuple):
    """The memory of mirostat or adaptive-p."""

    first: float
    """mirostat: mu; adaptive-p: the sum of the weighted probabilities."""
    second: float = 0.0
    """adaptive-p: the sum of the weights."""


@record(slots=False)
class Remaining:
    """What the stages leave of a row."""

    ids: TokenIds
    """Tokens that can be drawn."""
    finals: NDArray[np.float64]
    """Their chances, parallel."""
    cuts: NDArray[np.int8]
    """The stage that cut each token of the vocabulary, or NOT_CUT."""
    stages: tuple[Stage, ...]
    mass: float
    """The joint probability of the remaining tokens by the model."""
    entropy_bits: float
    """Of the remaining tokens."""
    likeliest: TokenIds
    """The likeliest tokens by the model, the likeliest first: as many as the chain needed."""
    chosen_among: tuple[tuple[TokenIds, Logits], ...]
    """The candidates of a sampler with memory, and their logits, for each way that XTC can go."""

    def final(self, token: int) -> float:
        """The chance of one token."""
        where = np.flatnonzero(self.ids == token)
        return float(self.finals[where[0]]) if len(where) else 0.0


class _Run:
    """One array on its way through the stages, and the record of each."""

    def __init__(self, array: _Array, row: Logits, log_sum: float, statistics: Statistics) -> None:
        """An array of all candidates with their logits, in the vocabulary's order."""
        self.array = array
        self.row = row
        self.log_sum = log_sum
        self._statistics = statistics
        self.cuts = np.full(len(row), NOT_CUT, np.int8)
        self.stages: list[Stage] = []
        self.ids: TokenIds | None = None
        """Tokens that can be drawn; None: all, in the vocabulary's order."""
        self.logits = row
        self.in_order = True
        """Whether the array has all candidates, in the vocabulary's order."""

    def look(self, stage: int) -> None:
        """Reads what a stage has left in the array."""
        view = self.array.view
        logits = np.ascontiguousarray(view["logit"])
        finite = logits > -np.inf  # and not NaN
        every = bool(finite.all())
        if self.in_order:
            if not every:
                self.cuts[~finite & (self.cuts == NOT_CUT)] = stage
            self.ids = None if every else np.flatnonzero(finite).astype(np.int32)
        else:
            before, self.ids = self.ids, (view["id"].copy() if every else view["id"][finite])
            if before is None:
                self.cuts[:] = stage
            elif len(self.ids) < len(before):
                self.cuts[before] = stage
            self.cuts[self.ids] = NOT_CUT
        self.logits = logits if every else logits[finite]

    def note(self, stage: int, text: str = "") -> None:
        """Reads and records what a stage has left."""
        self.look(stage)
        self.record(text)

    def record(self, text: str = "", *, like_before: bool = False) -> None:
        """Records a stage. `like_before`: the logits of the remaining tokens are unchanged."""
        before = self.stages[-1] if self.stages else None
        same = before is not None and before.left == self.count_left
        mass = before.mass if before and same else self._mass()
        entropy = before.entropy_bits if before and same and like_before else self._entropy()
        self.stages.append(Stage(self.count_left, mass, entropy, text))

    @property
    def count_left(self) -> int:
        """How many tokens can be drawn."""
        return len(self.logits)

    def _mass(self) -> float:
        if self.ids is None:
            return 1.0
        if 2 * self.count_left > len(self.row):
            cut_mass = mass_of(self.row, self.log_sum, np.flatnonzero(self.cuts != NOT_CUT).astype(np.int32))
            if cut_mass < 0.5:
                return 1 - cut_mass
        return mass_of(self.row, self.log_sum, self.ids)

    def _entropy(self) -> float:
        if self.count_left < 2:
            return 0.0
        return self._statistics.entropy(self.logits)[0] if self.count_left > _LARGE else _entropy(self.logits)

    @property
    def tokens_left(self) -> TokenIds:
        """The tokens that can be drawn, parallel to `logits`."""
        return np.arange(len(self.row), dtype=np.int32) if self.ids is None else self.ids

    @property
    def has_zero(self) -> bool:
        """Whether the array has a candidate whose probability is 0 in single precision."""
        if self.count_left < len(self.array.view):
            return True
        shifted = self.logits - self.logits.max()
        if shifted.min() > -87:
            return False
        weights = np.exp(shifted)
        return bool((weights / weights.sum()).min() == 0)

    def branch(self, array: _Array) -> "_Run":
        """A copy that goes on separately, in `array`."""
        array.copy_from(self.array)
        other = _Run(array, self.row, self.log_sum, self._statistics)
        other.cuts, other.stages, other.ids, other.logits = self.cuts.copy(), self.stages.copy(), self.ids, self.logits
        other.in_order = self.in_order
        return other

    def apply(self, sampler: Sampler, built: _BuiltSampler, number: int) -> None:
        """Applies a sampler as one stage. An empty array is left alone: some samplers would end the process."""
        text = ""
        if self.count_left:
            if sampler.kind is Kind.TYPICAL and self.has_zero:
                text = _TYPICAL_UNDEFINED
            is_temperature = sampler.kind is Kind.TEMPERATURE
            if is_temperature and sampler.values[1] > 0 and self.count_left < len(self.array.view):
                text = _DYNAMIC_COUNTS
            likeliest = int(self.tokens_left[self.logits.argmax()]) if is_temperature else 0
            llama_cpp.llama_sampler_apply(built.pointer, self.array.reference)
            self.in_order &= sampler.kind in _STILL or (is_temperature and sampler.values[1] == 0)
            self.look(number)
            if is_temperature and (not self.count_left or self.logits.max() == np.inf):
                # A temperature near 0 makes infinite logits, and sorting their probabilities may end the process.
                self.array.leave(likeliest)
                self.in_order, text = False, _OVERFLOW
                self.look(number)
            if sampler.kind is Kind.XTC and not self.count_left:
                text = _XTC_UNDEFINED
        self.record(text, like_before=sampler.kind in _CUT_ONLY)


def _mirostat_count(logits: Logits, size: int, most_bits: float) -> float:
    """How many tokens mirostat 1 would keep by its formula (`llama_sampler_mirostat_apply`), which it takes for an int.

    `size`: of the vocabulary; `most_bits`: its memory, mu.
    """
    likeliest = np.sort(logits)[::-1][:_MIROSTAT_TOKENS].astype(np.float64)
    ranks = np.arange(1, len(likeliest))
    steps = np.log((ranks + 1) / ranks)
    with np.errstate(all="ignore"):  # impossible tokens, and what overflows
        slope = (steps @ (likeliest[:-1] - likeliest[1:])) / (steps @ steps)
        mass = (slope - 1) * np.exp2(np.float64(most_bits)) / (1 - np.float64(size) ** (1 - slope))
        return float(mass ** (1 / slope))


class _Together:
    """What the ways of a sampler that applies only at times leave, each as often as it comes."""

    def __init__(self) -> None:
        self.ids: TokenIds = _NONE
        """Tokens that can be drawn."""
        self.finals: NDArray[np.float64] = np.zeros(0)
        """Their chances, parallel."""
        self.stages: list[Stage] = []
        """From that sampler on."""

    def look(self, ways: Sequence[tuple[float, _Run]], note: str) -> None:
        """Reads and records what a stage has left."""
        first = ways[0][1]
        chances, is_left = np.zeros(len(first.cuts)), np.zeros(len(first.cuts), np.bool_)
        for weight, run in ways:
            chances[run.tokens_left] += weight * softmax(run.logits)
            is_left |= run.cuts == NOT_CUT
        self.ids = np.flatnonzero(is_left).astype(np.int32)
        finals = chances[self.ids]
        self.finals = finals / (finals.sum() or 1.0)  # one of the ways may leave nothing
        likely = self.finals[self.finals > 0]
        entropy = max(0.0, -float(likely @ np.log2(likely)))
        self.stages.append(Stage(len(self.ids), mass_of(first.row, first.log_sum, self.ids), entropy, note))


class BuiltChain:
    """The samplers of one chain."""

    def __init__(self, workshop: Workshop, chain: Chain) -> None:
        """Raises ModelError for values that llama.cpp refuses, or that would end the process."""
        _check(chain)
        self._workshop = workshop
        self.chain = chain
        size = workshop.vocabulary.size
        bias, breakers = chain.bias, chain.breakers
        self._bias = workshop.sampler(bias, lambda: _logit_bias(size, bias)) if bias else None
        self._samplers = chain.samplers
        self._built: list[_BuiltSampler | None] = []
        for sampler in chain.samplers:
            key = (sampler, breakers) if sampler.kind is Kind.DRY else sampler
            built = None if sampler.row.chooses else workshop.sampler(key, partial(_init, workshop, breakers, sampler))
            self._built.append(built)
        self._counted = [
            (built, int(sampler.values[1 if sampler.kind is Kind.PENALTIES else 3]))
            for sampler, built in zip(chain.samplers, self._built, strict=True)
            if built and sampler.kind in (Kind.PENALTIES, Kind.DRY)
        ]

    def apply(
        self, row: Logits, log_sum: float, path: Sequence[int], memory: SamplerState, legal: TokenIds | None = None
    ) -> Remaining:
        """What the chain leaves of a row of logits, shape (vocabulary size,), after a path.

        `legal`: the tokens that a constraint allows, which is then the first stage. Where XTC applies only at times,
        chances and stages are those of both ways together; a token that only one of them cuts is not cut.
        """
        for counting, last in self._counted:
            counting.follow(path, last)
        run = _Run(self._workshop.array(0), row, log_sum, self._workshop.statistics)
        likeliest = self._first_candidates(row) if legal is None else _NONE
        if legal is not None or len(likeliest):
            run.in_order = False
        run.array.fill(row, legal if len(likeliest) == 0 else likeliest)
        stage = 0
        if legal is not None:
            run.note(stage)
            stage += 1
        if self._bias is not None:
            self._apply_biases(self._bias, run, legal)
            run.note(stage)
            stage += 1
        ways = [(1.0, run)]
        both = _Together()
        chosen_among: tuple[tuple[TokenIds, Logits], ...] = ()
        for number, (sampler, built) in enumerate(zip(self._samplers, self._built, strict=True), stage):
            if built is None:
                chosen_among = tuple(
                    self._choose(one, sampler, memory, number) for _, one in sorted(ways, key=lambda way: -way[0])
                )
            elif sampler.kind is Kind.XTC:
                ways = self._xtc(run, sampler, built, number)
                run = max(ways, key=lambda way: way[0])[1]
            else:
                for _, one in ways:
                    one.apply(sampler, built, number)
            if len(ways) > 1:
                both.look(ways, run.stages[-1].note)
        return self._result(run, both, likeliest, chosen_among)

    def _apply_biases(self, biases: _BuiltSampler, run: _Run, legal: TokenIds | None) -> None:
        """Adds the biases to all tokens in the vocabulary's order, whichever are legal.

        There llama.cpp finds a token at once; in another order it compares each with each bias, which takes seconds.
        """
        every = run.array if legal is None else self._workshop.array(1)
        if legal is not None:
            every.fill(run.row)
        llama_cpp.llama_sampler_apply(biases.pointer, every.reference)
        if legal is not None:
            run.array.fill(every.view["logit"], legal)

    def _first_candidates(self, row: Logits) -> TokenIds:
        """The candidates of a chain that begins with top-k: llama.cpp needs no others. Empty for other chains."""
        if self._bias is not None or not self._samplers or self._samplers[0].kind is not Kind.TOP_K:
            return _NONE
        count = int(self._samplers[0].values[0])
        return top_ids(row, count).astype(np.int32) if 0 < count <= len(row) // 256 else _NONE

    def _xtc(self, run: _Run, sampler: Sampler, built: _BuiltSampler, number: int) -> list[tuple[float, _Run]]:
        """Both ways of a sampler that applies only at times: first applied, then skipped."""
        probability = min(1.0, sampler.values[0])
        others: list[tuple[float, _Run]] = []
        if probability < 1:
            passed = run.branch(self._workshop.array(1))
            passed.record(like_before=True)
            others = [(1 - probability, passed)]
        run.apply(sampler, built, number)
        return [(probability, run), *others]

    def _choose(self, run: _Run, sampler: Sampler, memory: SamplerState, number: int) -> tuple[TokenIds, Logits]:
        """Applies a sampler that draws a token itself, in the state `memory`; its draw is ignored.

        Returns the candidates that its memory counts by: for mirostat those that it leaves, for adaptive-p those before
        its change.
        """
        before = run.tokens_left, run.logits
        if sampler.kind is Kind.ADAPTIVE_P:
            # A new sampler without decay aims at twice its target minus its target.
            aim = max(0.0, min(1.0, 2 * sampler.values[0] - memory.first / memory.second))
            built = _BuiltSampler(llama_cpp.llama_sampler_init_adaptive_p(aim, 0.0, 0))
        elif sampler.values[0] == 1:
            # A new sampler has a mu of twice its tau.
            size = self._workshop.vocabulary.size
            built = _BuiltSampler(
                llama_cpp.llama_sampler_init_mirostat(size, 0, memory.first / 2, 0.0, _MIROSTAT_TOKENS)
            )
        else:
            built = _BuiltSampler(llama_cpp.llama_sampler_init_mirostat_v2(0, memory.first / 2, 0.0))
        run.apply(sampler, built, number)
        first_version = sampler.kind is Kind.MIROSTAT and sampler.values[0] == 1
        one_is_left = run.count_left == 1 < len(before[1])
        if first_version and one_is_left and _mirostat_count(before[1], len(run.row), memory.first) >= 2.0**31:
            run.stages[-1] = run.stages[-1]._replace(note=_MIROSTAT_OVERFLOW)
        return before if sampler.kind is Kind.ADAPTIVE_P else (run.tokens_left, run.logits)

    @staticmethod
    def _result(
        shown: _Run, both: _Together, likeliest: TokenIds, among: tuple[tuple[TokenIds, Logits], ...]
    ) -> Remaining:
        if not both.stages:  # there is one way
            finals = softmax(shown.logits)
            if not shown.stages:
                shown.record()
                last = shown.stages.pop()
            else:
                last = shown.stages[-1]
            stages = tuple(shown.stages)
            return Remaining(
                shown.tokens_left, finals, shown.cuts, stages, last.mass, last.entropy_bits, likeliest, among
            )
        cuts = shown.cuts.copy()
        cuts[both.ids] = NOT_CUT
        stages = (*shown.stages[: -len(both.stages)], *both.stages)
        last = stages[-1]
        return Remaining(both.ids, both.finals, cuts, stages, last.mass, last.entropy_bits, likeliest, among)

    # --- samplers with memory

    def beginning(self) -> SamplerState:
        """The memory before the first choice."""
        last = self.chain.samplers[-1] if self.chain.samplers else None
        if last is None or not last.row.chooses:
            return SamplerState(0.0)
        if last.kind is Kind.MIROSTAT:
            return SamplerState(2 * last.values[1])
        target, decay = last.values
        return SamplerState(target / (1 - decay), 1 / (1 - decay))

    def after(self, memory: SamplerState, remaining: Remaining, token: int) -> SamplerState:
        """The memory after the choice of a token."""
        last = self.chain.samplers[-1] if self.chain.samplers else None
        if last is None or not last.row.chooses:
            return memory
        probability = next((chance for one in remaining.chosen_among if (chance := _chance(one, token)) > 0), 0.0)
        if probability <= 0:
            return memory  # the chain could not have chosen it: its surprisal is undefined
        if last.kind is Kind.MIROSTAT:
            return SamplerState(memory.first - last.values[2] * (-math.log2(probability) - last.values[1]))
        decay = last.values[1]
        return SamplerState(probability + decay * memory.first, 1 + decay * memory.second)


def _chance(among: tuple[TokenIds, Logits], token: int) -> float:
    """The chance of a token among candidates with their logits; 0 where it is not a candidate."""
    ids, logits = among
    where = np.flatnonzero(ids == token)
    return float(softmax(logits)[where[0]]) if len(where) else 0.0


def _check(chain: Chain) -> None:
    """Raises ModelError for a chain with values out of range."""
    if len({sampler.kind for sampler in chain.samplers}) < len(chain.samplers):
        raise ModelError("a sampler chain has each sampler once")
    for sampler in chain.samplers:
        if len(sampler.values) != len(sampler.row.parameters):
            raise ModelError(f"{sampler.row.title} takes {len(sampler.row.parameters)} values")
        for parameter, value in zip(sampler.row.parameters, sampler.values, strict=True):
            if not parameter.least <= value <= parameter.most or (parameter.whole and value != int(value)):
                kind = "a whole number" if parameter.whole else "a number"
                ends = f"{parameter.text(parameter.least)} to {parameter.text(parameter.most)}"
                raise ModelError(f"{parameter.flag} takes {kind} from {ends}")
    if any(not (amount == -math.inf or abs(amount) <= _LARGEST_BIAS) for _, amount in chain.bias):
        raise ModelError(f"a logit bias is a number up to {_LARGEST_BIAS:g}, or minus infinity")


def _init(workshop: Workshop, dry_breakers: Sequence[str], sampler: Sampler) -> Any:
    """Creates llama.cpp's sampler with these values."""
    vocabulary, values = workshop.vocabulary, sampler.values
    whole = [int(value) for value in values]
    match sampler.kind:
        case Kind.PENALTIES:
            return llama_cpp.llama_sampler_init_penalties(vocabulary.size, whole[1], values[0], values[2], values[3])
        case Kind.DRY:
            texts = [data for one in dry_breakers if (data := one.encode(errors="ignore"))]
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
        case Kind.XTC:
            return llama_cpp.llama_sampler_init_xtc(1.0, values[1], 0, 0)
        case Kind.MIROSTAT | Kind.ADAPTIVE_P:
            raise AssertionError(sampler.kind)


def _logit_bias(size: int, bias: Iterable[tuple[int, float]]) -> Any:
    entries = [(token, amount) for token, amount in bias if 0 <= token < size]
    array = (llama_cpp.llama_logit_bias * max(1, len(entries)))()
    for entry, (token, amount) in zip(array, entries, strict=False):
        entry.token, entry.bias = token, amount
    return llama_cpp.llama_sampler_init_logit_bias(size, len(entries), array)
