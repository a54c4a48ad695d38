"""The prompt's numbers without a terminal: as JSON, or as text to read."""

import math
from typing import Any

from tokex_gguf.game import Game
from tokex_gguf.session import Engine, Session
from tokex_gguf.tokens import label, visible


class EvaluationFailed(Exception):
    """The prompt could not be evaluated; `usage` tells whether the input is at fault."""

    def __init__(self, reason: str, usage: bool) -> None:
        super().__init__(reason)
        self.usage = usage


def evaluate(game: Game) -> Session:
    """Plays a started game until its first prompt is evaluated. Raises EvaluationFailed."""
    while not game.session.ready:
        game.wait()
        session = game.session
        if game.quit:
            raise EvaluationFailed(game.quit.fault, usage=True)
        if session.engine is Engine.DEAD:
            raise EvaluationFailed(f"the engine stopped ({session.fault})", usage=False)
        if session.prompts and session.pending is None and not session.ready:
            raise EvaluationFailed(session.notice, usage=session.full is not None)
    return game.session


def _number(value: float | None) -> float | None:
    """JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None


def as_json(session: Session) -> dict[str, Any]:
    """Model, tokens and next tokens of the active prompt; the README describes the fields.

    A token's text is its bytes as UTF-8; a character that spans tokens shows as U+FFFD.
    """
    model, tip = session.model, session.prompt.tip
    assert model is not None and tip.distribution is not None

    def text(token: int) -> str:
        return session.piece(token).data.decode("utf-8", "replace")

    def entropies(node: Any) -> dict[str, float | None]:
        distribution = node.distribution
        return {
            "entropy_bits": distribution.entropy_bits if distribution else None,
            "entropy": distribution.normalised_entropy(model.vocab_size) if distribution else None,
        }

    tokens = []
    for node in tip.nodes():
        taken = node.taken
        tokens.append(
            {
                "id": node.token,
                "text": text(node.token),
                "prob": taken.prob if taken else None,
                "logprob": _number(taken.logprob) if taken else None,
                "rank": taken.rank if taken else None,
                **entropies(node.parent),
            }
        )
    return {
        "model": {
            "path": session.settings.model,
            "name": model.name,
            "architecture": model.architecture,
            "quantization": model.quantization,
            "vocab_size": model.vocab_size,
            "context": session.context,
        },
        "tokens": tokens,
        "next": {
            **entropies(tip),
            "candidates": [
                {"rank": c.rank, "id": c.token, "text": text(c.token), "prob": c.prob, "logprob": _number(c.logprob)}
                for c in tip.distribution.candidates()
            ],
        },
        "logprob": _number(tip.logprob),
        "perplexity": _number(tip.perplexity),
    }


def as_text(session: Session) -> str:
    """The same as lines to read."""
    model, tip = session.model, session.prompt.tip
    assert model is not None and tip.distribution is not None
    lines = [f"model: {visible(model.name)} ({model.architecture}, {model.quantization})", ""]
    lines.append(f"{'prob':>10} {'rank':>7} {'entropy':>8} {'id':>7}  token")
    for node in tip.nodes():
        taken, before = node.taken, node.parent.distribution if node.parent else None
        prob = f"{taken.prob:.6f}" if taken else "–"
        rank = str(taken.rank) if taken else "–"
        entropy = f"{before.entropy_bits:.3f}" if before else "–"
        lines.append(f"{prob:>10} {rank:>7} {entropy:>8} {node.token:>7}  {label(session.piece(node.token).data)}")
    lines += ["", f"tokens: {tip.depth}"]
    if tip.logprob is not None and tip.perplexity is not None:
        lines.append(f"logprob: {tip.logprob:.4f}   perplexity: {tip.perplexity:.4f}")
    lines += ["", f"next: entropy {tip.distribution.entropy_bits:.3f} bits"]
    for row in tip.distribution.candidates():
        lines.append(f"{row.prob:>10.6f} {row.rank:>7} {'':>8} {row.token:>7}  {label(session.piece(row.token).data)}")
    return "\n".join(lines)
