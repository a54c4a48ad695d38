"""What two models differ by, as JSON and as text to read. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from tokex_gguf.cli.versus import OtherVocabulary, SameVocabulary, VersusResult
from tokex_gguf.values.difference import Difference
from tokex_gguf.values.figures import FLOOR_BITS, Figures
from tokex_gguf.values.tokens import visible


def with_versus(told: Mapping[str, Any], versus: VersusResult) -> dict[str, Any]:
    """The numbers of A's prompt with what B makes of it; docs/reference/json.md describes the fields."""
    found = versus.found
    rows = [{**token, **more} for token, more in zip(told["tokens"], _of_tokens(versus), strict=True)]
    last = found.differences[-1] if isinstance(found, SameVocabulary) else None
    return {
        **{name: value for name, value in told.items() if name != "notices"},
        "tokens": rows,
        "next": {**told["next"], **_of_place(last)},
        "versus": _versus(versus),
        "notices": told["notices"],
    }


def _of_tokens(versus: VersusResult) -> list[dict[str, Any]]:
    """What is told of each token of the prompt."""
    depth = versus.session.game.prompt.tip.depth
    found = versus.found
    if isinstance(found, SameVocabulary):
        before = [None, *found.differences[:-1]]
        return [
            {"delta_bits": _number(one.taken.delta_bits) if one and one.taken else None, **_of_place(one)}
            for one in before
        ]
    return [{"delta_bits": _number(found.deltas.get(token)), **_of_place(None)} for token in range(depth)]


def _of_place(difference: Difference | None) -> dict[str, Any]:
    """How both differ over the whole vocabulary."""
    if difference is None:
        return {"kl_bits": None, "flip": None}
    return {"kl_bits": _number(difference.kl_bits), "flip": difference.flip}


def _versus(versus: VersusResult) -> dict[str, Any]:
    model, found, rates = versus.model, versus.found, versus.rates
    same = isinstance(found, SameVocabulary)
    figures = found.figures if isinstance(found, SameVocabulary) else None
    ends = found.perplexity if isinstance(found, OtherVocabulary) else _perplexities(figures)
    per_byte = rates.per_byte if rates else (None, None)
    per_word = (rates.per_word if rates else None) or (None, None)
    return {
        "model": {
            "path": versus.path,
            "name": model.name,
            "architecture": model.architecture,
            "quantization": model.quantization,
            "vocab_size": model.vocab_size,
        },
        "same_vocabulary": same,
        "tokens": figures.tokens if figures else None,
        "mean_kl_bits": _number(figures.mean_kl_bits) if figures else None,
        "kl_error_bits": _number(figures.kl_error_bits) if figures else None,
        "median_kl_bits": _number(figures.median_kl_bits) if figures else None,
        "p99_kl_bits": _number(figures.high_kl_bits) if figures else None,
        "same_top": figures.same_top if figures else None,
        "delta_p_rms": figures.delta_p_rms if figures else None,
        "delta_bits": _number(figures.delta_bits) if figures else None,
        "perplexity_ratio": _number(figures.perplexity_ratio) if figures else None,
        "perplexity_a": _number(ends[0]),
        "perplexity_b": _number(ends[1]),
        "bytes": rates.bytes if rates else 0,
        "bits_per_byte_a": _number(per_byte[0]),
        "bits_per_byte_b": _number(per_byte[1]),
        "words": rates.words if rates else 0,
        "bits_per_word_a": _number(per_word[0]),
        "bits_per_word_b": _number(per_word[1]),
        "noise_bits": _number(found.noise_bits) if isinstance(found, SameVocabulary) else None,
        "floor_bits": FLOOR_BITS,
    }


def _perplexities(figures: Figures | None) -> tuple[float | None, float | None]:
    return (figures.perplexity_a, figures.perplexity_b) if figures else (None, None)


def _number(value: float | None) -> float | None:
    """JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None


def column(versus: VersusResult) -> list[str]:
    """What stands beside the tokens of the prompt: a heading, and then a text for each."""
    rows = [f"{'Δ bits':>8} {'KL':>8}  flip"]
    for one in _of_tokens(versus):
        delta, kl = one["delta_bits"], one["kl_bits"]
        shown = "–" if delta is None else f"{delta:+.3f}", "–" if kl is None else f"{kl:.4f}"
        rows.append(f"{shown[0]:>8} {shown[1]:>8}  {'flip' if one['flip'] else '':4}")
    return rows


def lines(versus: VersusResult) -> list[str]:
    """The figures in llama-perplexity's words: its base is A, and its Q is B."""
    model, found, rates = versus.model, versus.found, versus.rates
    about = ", ".join(filter(None, (model.architecture, model.quantization)))
    told = [f"versus: {model.name} ({about})" if about else f"versus: {model.name}"]
    if isinstance(found, SameVocabulary) and (figures := found.figures):
        told += [
            f"Mean PPL(Q)/PPL(base): {figures.perplexity_ratio:.6f}   "
            f"({figures.perplexity_b:.4f} / {figures.perplexity_a:.4f}, {figures.tokens} tokens)",
            f"Mean    KLD: {figures.mean_kl_bits:.6f} ± {figures.kl_error_bits:.6f} bits   "
            f"Median KLD: {figures.median_kl_bits:.6f}   99.0% KLD: {figures.high_kl_bits:.6f}",
            f"RMS Δp:      {100 * figures.delta_p_rms:.3f} %",
            f"Same top p:  {100 * figures.same_top:.3f} %",
        ]
        told.append(
            f"noise: {found.noise_bits:.4f} bits; with other kernels alone, KLD is about {FLOOR_BITS} bits"
            if found.noise_bits
            else f"noise: none; with other kernels alone, KLD is about {FLOOR_BITS} bits"
        )
    elif isinstance(found, OtherVocabulary):
        told.append("the vocabularies differ: what both say of the same bytes is compared")
    if rates:
        per_byte, per_word = rates.per_byte, rates.per_word
        told.append(
            f"bits per byte: {per_byte[0]:.4f} and {per_byte[1]:.4f}"
            + (f"   per word: {per_word[0]:.3f} and {per_word[1]:.3f}" if per_word else "")
            + f"   ({rates.bytes} bytes)"
        )
    return list(map(visible, told))
