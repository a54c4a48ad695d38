"""How two models differ, as JSON and as text to read. Pure."""

from collections.abc import Mapping
from typing import Any

from tokex_gguf.cli.report import finite
from tokex_gguf.cli.versus import OtherVocabulary, SameVocabulary, VersusResult
from tokex_gguf.values.difference import Difference
from tokex_gguf.values.figures import FLOOR_BITS, Figures
from tokex_gguf.values.tokens import visible


def with_versus(report: Mapping[str, Any], versus: VersusResult) -> dict[str, Any]:
    """The numbers of A's prompt with B's; docs/reference/json.md describes the fields."""
    comparison = versus.found
    rows = [{**token, **more} for token, more in zip(report["tokens"], _token_fields(versus), strict=True)]
    last = comparison.differences[-1] if isinstance(comparison, SameVocabulary) else None
    return {
        **{name: value for name, value in report.items() if name != "notices"},
        "tokens": rows,
        "next": {**report["next"], **_place_fields(last)},
        "versus": _versus_fields(versus),
        "notices": report["notices"],
    }


def _token_fields(versus: VersusResult) -> list[dict[str, Any]]:
    """The fields of each token of the prompt."""
    depth = versus.session.game.prompt.tip.depth
    comparison = versus.found
    if isinstance(comparison, SameVocabulary):
        before = [None, *comparison.differences[:-1]]
        return [
            {"delta_bits": finite(one.taken.delta_bits) if one and one.taken else None, **_place_fields(one)}
            for one in before
        ]
    return [{"delta_bits": finite(comparison.deltas.get(token)), **_place_fields(None)} for token in range(depth)]


def _place_fields(difference: Difference | None) -> dict[str, Any]:
    """The fields of a difference over the whole vocabulary."""
    if difference is None:
        return {"kl_bits": None, "flip": None}
    return {"kl_bits": finite(difference.kl_bits), "flip": difference.flip}


def _versus_fields(versus: VersusResult) -> dict[str, Any]:
    model, comparison, rates = versus.model, versus.found, versus.rates
    same = isinstance(comparison, SameVocabulary)
    figures = comparison.figures if isinstance(comparison, SameVocabulary) else None
    perplexities = comparison.perplexity if isinstance(comparison, OtherVocabulary) else _perplexities(figures)
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
        "mean_kl_bits": finite(figures.mean_kl_bits) if figures else None,
        "kl_error_bits": finite(figures.kl_error_bits) if figures else None,
        "median_kl_bits": finite(figures.median_kl_bits) if figures else None,
        "p99_kl_bits": finite(figures.high_kl_bits) if figures else None,
        "same_top": figures.same_top if figures else None,
        "delta_p_rms": figures.delta_p_rms if figures else None,
        "delta_bits": finite(figures.delta_bits) if figures else None,
        "perplexity_ratio": finite(figures.perplexity_ratio) if figures else None,
        "perplexity_a": finite(perplexities[0]),
        "perplexity_b": finite(perplexities[1]),
        "bytes": rates.bytes if rates else 0,
        "bits_per_byte_a": finite(per_byte[0]),
        "bits_per_byte_b": finite(per_byte[1]),
        "words": rates.words if rates else 0,
        "bits_per_word_a": finite(per_word[0]),
        "bits_per_word_b": finite(per_word[1]),
        "noise_bits": finite(comparison.noise_bits) if isinstance(comparison, SameVocabulary) else None,
        "floor_bits": FLOOR_BITS,
    }


def _perplexities(figures: Figures | None) -> tuple[float | None, float | None]:
    return (figures.perplexity_a, figures.perplexity_b) if figures else (None, None)


def column(versus: VersusResult) -> list[str]:
    """A column beside the prompt's tokens: a heading, then a text for each."""
    rows = [f"{'Δ bits':>8} {'KL':>8}  flip"]
    for fields in _token_fields(versus):
        delta, kl = fields["delta_bits"], fields["kl_bits"]
        shown = "–" if delta is None else f"{delta:+.3f}", "–" if kl is None else f"{kl:.4f}"
        rows.append(f"{shown[0]:>8} {shown[1]:>8}  {'flip' if fields['flip'] else '':4}")
    return rows


def lines(versus: VersusResult) -> list[str]:
    """The figures as llama-perplexity prints them: its base is A, and its Q is B."""
    model, comparison, rates = versus.model, versus.found, versus.rates
    about = ", ".join(filter(None, (model.architecture, model.quantization)))
    rows = [f"versus: {model.name} ({about})" if about else f"versus: {model.name}"]
    if isinstance(comparison, SameVocabulary) and (figures := comparison.figures):
        rows += [
            f"Mean PPL(Q)/PPL(base): {figures.perplexity_ratio:.6f}   "
            f"({figures.perplexity_b:.4f} / {figures.perplexity_a:.4f}, {figures.tokens} tokens)",
            f"Mean    KLD: {figures.mean_kl_bits:.6f} ± {figures.kl_error_bits:.6f} bits   "
            f"Median KLD: {figures.median_kl_bits:.6f}   99.0% KLD: {figures.high_kl_bits:.6f}",
            f"RMS Δp:      {100 * figures.delta_p_rms:.3f} %",
            f"Same top p:  {100 * figures.same_top:.3f} %",
        ]
        rows.append(
            f"noise: {comparison.noise_bits:.4f} bits; with other kernels alone, KLD is about {FLOOR_BITS} bits"
            if comparison.noise_bits
            else f"noise: none; with other kernels alone, KLD is about {FLOOR_BITS} bits"
        )
    elif isinstance(comparison, OtherVocabulary):
        rows.append("the vocabularies differ: what both say of the same bytes is compared")
    if rates:
        per_byte, per_word = rates.per_byte, rates.per_word
        rows.append(
            f"bits per byte: {per_byte[0]:.4f} and {per_byte[1]:.4f}"
            + (f"   per word: {per_word[0]:.3f} and {per_word[1]:.3f}" if per_word else "")
            + f"   ({rates.bytes} bytes)"
        )
    else:
        rows.append("no part of the text was predicted by both models: give a longer one")
    return list(map(visible, rows))
