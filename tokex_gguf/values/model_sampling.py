"""The samplers that a model's file recommends (`general.sampling.*`). Pure."""

from collections.abc import Mapping

from tokex_gguf.values.record import replace
from tokex_gguf.values.samplers import DEFAULT, NO_CHAIN, Chain, Kind, Sampler, kind_named

KEYS: Mapping[str, tuple[Kind, int]] = {
    "top_k": (Kind.TOP_K, 0),
    "top_p": (Kind.TOP_P, 0),
    "min_p": (Kind.MIN_P, 0),
    "xtc_probability": (Kind.XTC, 0),
    "xtc_threshold": (Kind.XTC, 1),
    "temp": (Kind.TEMPERATURE, 0),
    "penalty_last_n": (Kind.PENALTIES, 1),
    "penalty_repeat": (Kind.PENALTIES, 0),
    "mirostat": (Kind.MIROSTAT, 0),
    "mirostat_tau": (Kind.MIROSTAT, 1),
    "mirostat_eta": (Kind.MIROSTAT, 2),
}
"""Keys after `general.sampling.`, and the sampler and parameter that each sets."""
SEQUENCE = "sequence"
"""The key of the samplers' order: their names, with semicolons between them."""
PREFIX = "general.sampling."


def chain_of_metadata(metadata: Mapping[str, str]) -> Chain:
    """llama.cpp's default chain with the values of a file; empty where the file has none.

    Invalid values are ignored, as by llama.cpp.

    >>> chain_of_metadata({"top_k": "20", "sequence": "temperature;top_k"}).short
    'T 0.8 · top-k 20'
    """
    order = _order(metadata.get(SEQUENCE, ""))
    chain = Chain(order) if order else DEFAULT
    changed = bool(order)
    if metadata.get("mirostat", "").strip() not in ("", "0") and chain.get(Kind.TEMPERATURE) is None:
        chain = chain.with_sampler(Sampler.of(Kind.TEMPERATURE))  # mirostat has one before it, whatever the order names
    for key, (kind, index) in KEYS.items():
        value = _value(metadata.get(key, ""), kind, index)
        sampler = chain.get(kind)
        if value is None or (sampler is None and kind is not Kind.MIROSTAT):
            continue
        chain = chain.with_sampler((sampler or Sampler.of(kind)).with_value(index, value))
        changed = True
    mirostat = chain.get(Kind.MIROSTAT)
    if mirostat and not mirostat.acts:  # its other values alone do not switch it on
        chain = chain.without(Kind.MIROSTAT)
    return replace(chain, bias=()) if changed else NO_CHAIN


def _order(text: str) -> tuple[Sampler, ...]:
    """Samplers by their names; each once, at its first place."""
    kinds: dict[Kind, None] = {}
    for name in text.split(";"):
        try:
            kinds[kind_named(name)] = None
        except ValueError:
            continue
    return tuple(map(Sampler.of, kinds))


def _value(text: str, kind: Kind, index: int) -> float | None:
    """A parameter's value; None where it is invalid."""
    parameter = Sampler.of(kind).row.parameters[index]
    if (kind, index) == (Kind.PENALTIES, 1) and text.strip() == "-1":
        return 0.0  # llama.cpp switches it off below 0
    try:
        return parameter.parsed(text)
    except ValueError:
        return None
