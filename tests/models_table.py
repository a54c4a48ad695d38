"""What each kind of model does here, measured: the table in docs/reference/supported-models.md.

`python -m tests.models_table` writes it; `test_models_table.py` compares it with what is measured.
"""

import tempfile
from pathlib import Path

from tests.fresh import Fresh, difference, open_model, tip
from tests.tiny_models import MODELS, WINDOW, encoder, vocabulary
from tokex_gguf.engine.worker.evaluator import Evaluator
from tokex_gguf.engine.worker.llama import ModelError
from tokex_gguf.models.discovery import bundled_model
from tokex_gguf.models.gguf.metadata import BadHeader, read

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "supported-models.md"

KINDS = {
    "qwen2": ("Qwen2 and Qwen2.5", "BPE", "attention"),
    "llama": ("Llama with SentencePiece", "SentencePiece, BOS, byte fallback", "attention"),
    "gpt2": ("GPT-2", "BPE", "attention, learned positions"),
    "gemma3": ("Gemma 3", "SentencePiece, BOS", f"attention, most layers in a sliding window (here {WINDOW} tokens)"),
    "mamba": ("Mamba", "BPE", "recurrent"),
    "mixture": ("mixture of experts", "BPE", "attention, 2 of 4 experts for each token"),
    "jamba": ("Jamba", "BPE", "hybrid: recurrent and attention, experts"),
}
"""Name, vocabulary and layers of each small model."""
LENGTH = 60
"""Tokens of the prompts."""
PLAYED = {"mixture": 0.1}
"""Bounds of the difference as played, where it is not 0.02: rounding chooses another expert."""


def row(name: str, path: Path, bound: float) -> str:
    """Plays a model; a line of the table."""
    model = open_model(path)
    alone = Fresh(path)
    evaluator = Evaluator(model)
    prompt = [*([model.vocabulary.bos] if model.vocabulary.bos is not None else []), *range(10, 10 + LENGTH)][:LENGTH]
    other = [*prompt[:1], *range(90, 90 + LENGTH)][:LENGTH]
    chunks = list(evaluator.evaluate(prompt, 0, 30))
    assert sum(len(chunk.taken) for chunk in chunks) == LENGTH - 1, "every token but the first has its probability"
    worst = 0.0

    def cost(path: list[int]) -> int:
        nonlocal worst
        distribution, decoded = tip(evaluator, path, 30)
        worst = max(worst, difference(distribution, alone.probabilities(path)))
        return decoded

    append = cost([*prompt, 5])
    pop = cost([*prompt[:-1], 7])
    cost(other)
    switch = cost([*prompt, 5, 6])
    alone.close()
    assert worst < bound, f"{name}: {worst}"
    title, words, layers = KINDS.get(name, ("SmolLM2 135M (Llama), real", "BPE", "attention"))
    return f"| {title} | {words} | {layers} | {append} | {pop} | {switch} | all | < {bound:g} |"


def refusal(path: Path) -> str:
    """The line that a file is refused with."""
    try:
        read(path)
        open_model(path)
    except (BadHeader, ModelError) as error:
        return str(error)
    raise AssertionError(f"{path} was taken")


def page(folder: Path, tiny: dict[str, Path]) -> str:
    """The whole page."""
    real = bundled_model()
    assert real is not None
    rows = [row("", real, 0.1), *(row(name, tiny[name], PLAYED.get(name, 0.02)) for name in MODELS)]
    refused = [("an encoder", encoder(folder)), ("a vocabulary without weights", vocabulary(folder))]
    return f"""# Models

Any GGUF that llama.cpp loads as a model that continues text can be played. These kinds are played by the tests:
one real model, and small generated ones with random weights (`tests/tiny_models.py`). This page is written by
`uv run python -m tests.models_table`, and a test holds that it is true.

The prompt has {LENGTH} tokens. *Append*, *pop and another token* and *switch and back* tell how many tokens were
decoded for it; what was computed before costs none in any model. *Colours*: how many of the prompt's tokens after the
first have probability, rank and entropy. *Equal*: the largest difference of a probability from llama.cpp alone on an
empty cache, as played, with flash attention (in float32 throughout it is below 0.001; see `test_walks.py`).

| model | vocabulary | layers | append | pop and another token | switch and back | colours | equal |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

Recurrent and hybrid models keep one state and not one for each token: their tails cannot be cut, so a place that was
popped back to is decoded from the start, once. The status line tells it.

Refused, in one line:

| file | line |
|---|---|
{chr(10).join(f"| {name} | {refusal(path)} |" for name, path in refused)}
"""


def main() -> None:
    """Writes the page."""
    folder = Path(tempfile.mkdtemp())
    PAGE.write_text(page(folder, {name: write(folder) for name, write in MODELS.items()}), encoding="utf-8")


if __name__ == "__main__":
    main()
