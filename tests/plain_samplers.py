"""llama.cpp's samplers once more, in plain numpy and double precision; and llama.cpp's chain applied whole.

The first is what the engine's numbers should be, written from the papers and from what llama.cpp says its samplers
do. The second is what llama.cpp's tools do: all samplers in one chain, the ones that do nothing among them.
"""

import ctypes
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from llama_cpp import llama_cpp
from numpy.typing import NDArray

from tokex_gguf.engine.worker.llama import Vocabulary
from tokex_gguf.values.samplers import BREAKERS, DEFAULT_ORDER, KINDS, Chain, Kind, Sampler

Row = NDArray[np.float32]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Alive:
    """Tokens that can be drawn, and their logits, parallel."""

    ids: NDArray[np.int64]
    logits: Numbers

    def probabilities(self) -> Numbers:
        weights = np.exp(self.logits - self.logits.max())
        return np.asarray(weights / weights.sum())

    def surprisals(self) -> Numbers:
        """In nats: also where a probability is too small for a number."""
        shifted = self.logits - self.logits.max()
        return np.asarray(math.log(float(np.exp(shifted).sum())) - shifted)

    def entropy_bits(self) -> float:
        return float((self.probabilities() * self.surprisals()).sum()) / math.log(2)

    def only(self, mask: NDArray[np.bool_]) -> "Alive":
        return Alive(self.ids[mask], self.logits[mask])

    def with_logits(self, logits: Numbers) -> "Alive":
        return Alive(self.ids, logits).only(logits > -np.inf)

    def of(self, tokens: Sequence[int]) -> "Alive":
        """Some of them, by their names."""
        return self.only(np.isin(self.ids, np.array(tokens)))

    def sorted(self) -> "Alive":
        order = np.lexsort((self.ids, -self.logits))
        return Alive(self.ids[order], self.logits[order])


def everything(row: Row) -> Alive:
    return Alive(np.arange(len(row)), row.astype(np.float64))


# --- the samplers


def bias(alive: Alive, chain: Chain) -> Alive:
    amounts = np.zeros(int(alive.ids.max(initial=0)) + 1)
    for token, amount in chain.bias:
        if 0 <= token < len(amounts):
            amounts[token] = amount
    return alive.with_logits(alive.logits + amounts[alive.ids])


def penalties(alive: Alive, values: Sequence[float], path: Sequence[int]) -> Alive:
    repeat, last, frequency, presence = values
    logits = alive.logits.copy()
    window = list(path)[-int(last) :]
    for token in set(window):
        where = alive.ids == token
        heated = np.where(logits[where] <= 0, logits[where] * repeat, logits[where] / repeat)
        logits[where] = heated - window.count(token) * frequency - presence
    return alive.with_logits(logits)


def dry(alive: Alive, values: Sequence[float], path: Sequence[int], breakers: set[int]) -> Alive:
    """`breakers`: tokens that hold one."""
    multiplier, base, allowed, last = values[0], values[1], int(values[2]), int(values[3])
    window = list(path)[-last:]
    if len(window) <= allowed:
        return alive
    since = next((back for back, token in enumerate(reversed(window)) if token in breakers), len(window))
    if since < allowed:
        return alive
    longest: dict[int, int] = {}
    for end in range(len(window) - 1):
        same = 0
        while same <= end and window[end - same] == window[len(window) - 1 - same]:
            same += 1
        same = min(same, since)
        if same >= allowed:
            longest[window[end + 1]] = max(same, longest.get(window[end + 1], 0))
    most = int(88.7228391 / math.log(base)) if base > 1.000001 else 0
    logits = alive.logits.copy()
    for token, length in longest.items():
        if token not in breakers:
            exponent = min(length - allowed, most) if most else length - allowed
            logits[alive.ids == token] -= multiplier * base**exponent
    return alive.with_logits(logits)


def top_n_sigma(alive: Alive, n: float) -> Alive:
    return alive.only(alive.logits >= alive.logits.max() - n * alive.logits.std())


def top_k(alive: Alive, k: int) -> Alive:
    ordered = alive.sorted()
    return Alive(ordered.ids[:k], ordered.logits[:k])


def typical(alive: Alive, p: float) -> Alive:
    if p >= 1:
        return alive
    alive = alive.sorted()
    chances, surprisals = alive.probabilities(), alive.surprisals()
    order = np.argsort(np.abs(surprisals - float((chances * surprisals).sum())), kind="stable")
    enough = np.flatnonzero(np.cumsum(chances[order]) > p)
    kept = order[: int(enough[0]) + 1] if len(enough) else order
    return Alive(alive.ids[kept], alive.logits[kept])


def top_p(alive: Alive, p: float) -> Alive:
    alive = alive.sorted()
    enough = np.flatnonzero(np.cumsum(alive.probabilities()) >= p)
    count = int(enough[0]) + 1 if len(enough) else len(alive.ids)
    return Alive(alive.ids[:count], alive.logits[:count])


def min_p(alive: Alive, p: float) -> Alive:
    return alive.only(alive.logits >= alive.logits.max() + math.log(p))


def xtc(alive: Alive, threshold: float) -> Alive:
    """Where it comes."""
    alive = alive.sorted()
    above = int((alive.probabilities() >= threshold).sum())
    first = max(0, above - 1)
    return Alive(alive.ids[first:], alive.logits[first:])


def temperature(alive: Alive, values: Sequence[float], size: int) -> Alive:
    """`size`: the candidates that a dynamic one takes for what there is: in llama.cpp also those that are cut."""
    heat, spread, exponent = values
    if spread > 0:
        if size < 2:
            return alive
        share = alive.entropy_bits() / math.log2(size)
        low, high = max(0.0, heat - spread), heat + spread
        heat = low + (high - low) * share**exponent
    if heat <= 0:
        return alive.only(np.arange(len(alive.ids)) == alive.logits.argmax())
    return alive.with_logits(alive.logits / heat)


def mirostat(alive: Alive, mu: float, size: int) -> Alive:
    """Version 1: it estimates the exponent of Zipf's law from the 100 likeliest."""
    alive = alive.sorted()
    if len(alive.ids) < 2:
        return alive
    first = alive.logits[:100]
    ranks = np.arange(1, len(first))
    steps, falls = np.log((ranks + 1) / ranks), first[:-1] - first[1:]
    exponent = float((steps * falls).sum() / (steps * steps).sum())
    epsilon = exponent - 1
    count = (epsilon * 2**mu / (1 - size**-epsilon)) ** (1 / exponent)
    return Alive(alive.ids[: max(1, int(count))], alive.logits[: max(1, int(count))])


def mirostat_2(alive: Alive, mu: float) -> Alive:
    alive = alive.sorted()
    count = max(1, int((alive.surprisals() <= mu * math.log(2)).sum()))
    return Alive(alive.ids[:count], alive.logits[:count])


def adaptive_p(alive: Alive, aim: float) -> Alive:
    far = np.abs(alive.probabilities() - aim) / 0.3
    return Alive(alive.ids, 5 - 10 * far * far / (1 + far))


def stage(alive: Alive, sampler: Sampler, path: Sequence[int], breakers: set[int], size: int) -> Alive:
    """What one sampler leaves; XTC comes each time. `size`: the candidates there are, cut ones among them."""
    values = sampler.values
    if not len(alive.ids):
        return alive
    one: dict[Kind, Callable[[], Alive]] = {
        Kind.PENALTIES: lambda: penalties(alive, values, path),
        Kind.DRY: lambda: dry(alive, values, path, breakers),
        Kind.TOP_N_SIGMA: lambda: top_n_sigma(alive, values[0]),
        Kind.TOP_K: lambda: top_k(alive, int(values[0])),
        Kind.TYPICAL: lambda: typical(alive, values[0]),
        Kind.TOP_P: lambda: top_p(alive, values[0]),
        Kind.MIN_P: lambda: min_p(alive, values[0]),
        Kind.XTC: lambda: xtc(alive, values[1]),
        Kind.TEMPERATURE: lambda: temperature(alive, values, size),
    }
    return one[sampler.kind]()


def breaking(vocabulary: Vocabulary, texts: Sequence[str]) -> set[int]:
    """The tokens that hold one of some texts of one character."""
    wanted = [text.encode() for text in texts]
    pieces = ((token, vocabulary.piece(token).data) for token in range(vocabulary.size))
    return {token for token, data in pieces if any(one in data for one in wanted)}


# --- llama.cpp's chain

_TOKEN_DATA = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])


class Whole:
    """llama.cpp's chain of all samplers of a chain, as its tools build it: `common_sampler_init`."""

    def __init__(self, vocabulary: Vocabulary, chain: Chain, *, xtc_comes: bool = True) -> None:
        """XTC comes each time, or never."""
        self._size = vocabulary.size
        self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        if chain.bias:
            entries = [llama_cpp.llama_logit_bias(token, amount) for token, amount in chain.bias]
            array = (llama_cpp.llama_logit_bias * len(entries))(*entries)
            self._add(llama_cpp.llama_sampler_init_logit_bias(self._size, len(entries), array))
        on = [one for one in chain.samplers if one.on]
        chooser = next((one for one in on if one.kind is Kind.MIROSTAT and one.values[0]), None)
        if chooser:
            heat = next((one.values[0] for one in on if one.kind is Kind.TEMPERATURE), 1.0)
            self._add(llama_cpp.llama_sampler_init_temp(heat))
            version, tau, eta = chooser.values
            if version == 1:
                self._add(llama_cpp.llama_sampler_init_mirostat(self._size, 7, tau, eta, 100))
            else:
                self._add(llama_cpp.llama_sampler_init_mirostat_v2(7, tau, eta))
            return
        adaptive: tuple[float, ...] | None = None
        for one in on:
            if one.kind is Kind.ADAPTIVE_P:
                adaptive = one.values
            elif one.kind is not Kind.MIROSTAT and (one.kind is not Kind.XTC or xtc_comes):
                self._add(_made(vocabulary, chain, one))
        if adaptive and adaptive[0] >= 0:
            self._add(llama_cpp.llama_sampler_init_adaptive_p(*adaptive, 7))
        else:
            self._add(llama_cpp.llama_sampler_init_dist(7))

    def _add(self, made: Any) -> None:
        assert made
        llama_cpp.llama_sampler_chain_add(self._chain, made)

    def accept(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            llama_cpp.llama_sampler_accept(self._chain, token)

    def apply(self, row: Row) -> tuple[Alive, dict[int, float], int]:
        """What is left; llama.cpp's own probabilities; and the token that it draws."""
        buffer = np.zeros(len(row), _TOKEN_DATA)
        buffer["id"], buffer["logit"] = np.arange(len(row)), row
        pointer = ctypes.cast(buffer.ctypes.data, ctypes.POINTER(llama_cpp.llama_token_data))
        array = llama_cpp.llama_token_data_array(pointer, len(row), -1, False)
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(array))
        address = ctypes.cast(array.data, ctypes.c_void_p).value
        assert address is not None
        start = (address - buffer.ctypes.data) // 12
        left = buffer[start : start + array.size]
        drawn = int(left["id"][array.selected])
        left = left[left["logit"] > -np.inf]
        alive = Alive(left["id"].astype(np.int64), left["logit"].astype(np.float64))
        return alive, dict(zip(left["id"].tolist(), left["p"].tolist(), strict=True)), drawn

    def close(self) -> None:
        llama_cpp.llama_sampler_free(self._chain)


def _made(vocabulary: Vocabulary, chain: Chain, sampler: Sampler) -> Any:
    values = sampler.values
    match sampler.kind:
        case Kind.PENALTIES:
            return llama_cpp.llama_sampler_init_penalties(vocabulary.size, int(values[1]), values[0], *values[2:])
        case Kind.DRY:
            texts = [one.encode() for one in chain.breakers]
            return llama_cpp.llama_sampler_init_dry(
                vocabulary.pointer,
                values[0],
                values[1],
                int(values[2]),
                int(values[3]),
                (ctypes.c_char_p * len(texts))(*texts),
                len(texts),
            )
        case Kind.TOP_N_SIGMA:
            return llama_cpp.llama_sampler_init_top_n_sigma(values[0])
        case Kind.TOP_K:
            return llama_cpp.llama_sampler_init_top_k(int(values[0]))
        case Kind.TYPICAL:
            return llama_cpp.llama_sampler_init_typical(values[0], 0)
        case Kind.TOP_P:
            return llama_cpp.llama_sampler_init_top_p(values[0], 0)
        case Kind.MIN_P:
            return llama_cpp.llama_sampler_init_min_p(values[0], 0)
        case Kind.XTC:
            return llama_cpp.llama_sampler_init_xtc(float(values[0] > 0), values[1], 0, 7)
        case Kind.TEMPERATURE:
            return llama_cpp.llama_sampler_init_temp_ext(*values)
        case _:
            raise AssertionError(sampler.kind)


# --- any chain


def any_chain(chance: random.Random, row: Row, *, choosing: bool = True) -> Chain:
    """A chain of some samplers with some values: in llama.cpp's order, or in another."""
    likely = np.argsort(-row)[:60].tolist()

    def values(kind: Kind) -> tuple[float, ...]:
        found = [chance.choice(one.steps) for one in KINDS[kind].parameters]
        match kind:
            case Kind.DRY if chance.random() < 0.7:
                found[1:] = [1.75, chance.choice([0, 1, 2, 3]), chance.choice([16, 64, 1024])]
            case Kind.TEMPERATURE:
                found[0] = chance.choice([0, 0.01, 0.2, 0.7, 0.8, 1.0, 1.5, 3.0])
                found[1] = chance.choice([0, 0, 0, 0.3, 1.0])
            case Kind.TOP_K:
                found[0] = chance.choice([1, 2, 5, 40, 129, 300, 1000, 1_000_000])
            case Kind.XTC:
                found = [chance.choice([0, 0.3, 0.5, 0.8, 1.0]), chance.choice([0, 0.02, 0.1, 0.3, 0.5, 0.6])]
            case Kind.TOP_P | Kind.TYPICAL:
                found[0] = chance.choice([0.0, 0.1, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0])
            case Kind.MIN_P:
                found[0] = chance.choice([0.0, 0.001, 0.02, 0.05, 0.1, 0.5, 1.0])
            case _:
                pass
        return tuple(map(float, found))

    kinds = [kind for kind in DEFAULT_ORDER if chance.random() < 0.45]
    if chance.random() < 0.5:
        chance.shuffle(kinds)
    if choosing and chance.random() < 0.25:
        kinds.insert(chance.randrange(len(kinds) + 1), chance.choice([Kind.MIROSTAT, Kind.ADAPTIVE_P]))
    samplers = [Sampler(kind, values(kind), chance.random() < 0.9) for kind in kinds]
    tokens = chance.sample(likely, chance.randrange(1, 5)) if chance.random() < 0.3 else []
    amounts = [-math.inf, -100.0, -2.0, -0.5, 0.5, 3.0, 100.0]
    biased = tuple(sorted((token, chance.choice(amounts)) for token in tokens))
    return Chain(tuple(samplers), biased, BREAKERS if chance.random() < 0.8 else ("e", ","))


def xtc_each_time(chain: Chain) -> Chain:
    """The chain with an XTC that comes each time, where it has one that acts."""
    one = chain.get(Kind.XTC)
    if one is None or not one.acts:
        return chain
    return replace(chain, samplers=tuple(x.with_value(0, 1) if x is one else x for x in chain.samplers))
