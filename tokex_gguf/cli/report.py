"""The prompt's numbers without a terminal: as JSON, or as text to read."""

import math
from collections.abc import Sequence
from typing import Any

from tokex_gguf.play.session import EngineStatus, Session, table
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.values.tokens import label, offsets, visible


class EvaluationFailed(Exception):
    """The prompt could not be evaluated; `usage` tells whether the input is at fault."""

    def __init__(self, reason: str, usage: bool) -> None:
        super().__init__(reason)
        self.usage = usage


def evaluate(game: Runtime) -> Session:
    """Plays a started game until its first prompt is evaluated. Raises EvaluationFailed."""
    while not game.session.game.ready:
        game.wait()
        session = game.session
        if game.quit:
            raise EvaluationFailed(game.quit.fault, usage=True)
        if session.game.engine is EngineStatus.DEAD:
            raise EvaluationFailed(f"the engine stopped ({session.game.fault})", usage=False)
        if session.game.prompts and session.game.pending is None and not session.game.ready:
            raise EvaluationFailed(session.notice, usage=session.game.full is not None)
    return game.session


def _number(value: float | None) -> float | None:
    """JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None


def as_json(session: Session, notices: Sequence[str]) -> dict[str, Any]:
    """Model, tokens and next tokens of the active prompt; docs/reference/json.md describes the fields.

    A token's `text` is its `bytes` as UTF-8; a part of a character shows as U+FFFD there.
    """
    model, tip = session.game.model, session.game.prompt.tip
    assert model is not None and tip.distribution is not None

    def entropies(node: Any) -> dict[str, float | None]:
        distribution = node.distribution
        return {
            "entropy_bits": distribution.entropy_bits if distribution else None,
            "entropy": distribution.normalised_entropy(model.vocab_size) if distribution else None,
        }

    def look(token: int) -> dict[str, Any]:
        data = session.game.piece(token).data
        return {"text": data.decode("utf-8", "replace"), "bytes": list(data)}

    nodes = list(tip.nodes())
    pieces = [session.game.piece(node.token).data for node in nodes]
    # The text of a chat is what its template made of it.
    text = b"".join(pieces) if session.game.settings.chat else session.game.settings.text.encode()
    tokens = []
    for node, offset in zip(nodes, offsets(pieces, text), strict=True):
        taken = node.taken
        tokens.append(
            {
                "id": node.token,
                **look(node.token),
                "offset": offset,
                **({"assistant": node in session.game.said} if session.game.said else {}),
                "prob": taken.prob if taken else None,
                "logprob": _number(taken.logprob) if taken else None,
                "rank": taken.rank if taken else None,
                **entropies(node.parent),
            }
        )
    return {
        "model": {
            "path": session.game.settings.model.path,
            "name": model.name,
            "architecture": model.architecture,
            "quantization": model.quantization,
            "vocab_size": model.vocab_size,
            "context": session.game.context,
        },
        "tokens": tokens,
        "next": {
            **entropies(tip),
            "candidates": [
                {"rank": c.rank, "id": c.token, **look(c.token), "prob": c.prob, "logprob": _number(c.logprob)}
                for c in table(session, session.game.prompt)
            ],
        },
        "logprob": _number(tip.logprob),
        "perplexity": _number(tip.perplexity),
        "assistant": assistant(session),
        "notices": [*notices, *([] if session.game.said is not None else [_UNKNOWN])],
    }


_UNKNOWN = "the model's chat template does not tell which tokens are the assistant's"


def assistant(session: Session) -> dict[str, Any] | None:
    """The numbers of the assistant's turns in a chat, given all that stands before them; None without any."""
    nodes = session.game.prompt.tip.nodes() if session.game.said else ()
    logprobs = [node.taken.logprob for node in nodes if node in (session.game.said or ()) and node.taken]
    if not logprobs:
        return None
    logprob = math.fsum(logprobs)
    return {
        "tokens": len(logprobs),
        "logprob": _number(logprob),
        "perplexity": _number(_exp(-logprob / len(logprobs))),
    }


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def probability(value: float) -> str:
    """A probability in at most 10 columns, with at least three digits that say something.

    >>> probability(0.25), probability(2e-9), probability(0.0)
    ('0.250000', '2.00e-09', '0.000000')
    """
    return f"{value:.6f}" if value >= 1e-4 or value == 0 else f"{value:.2e}"


def as_text(session: Session) -> str:
    """The same as lines to read."""
    model, tip = session.game.model, session.game.prompt.tip
    assert model is not None and tip.distribution is not None
    lines = [f"model: {model.name} ({model.architecture}, {model.quantization})", ""]
    lines.append(f"{'prob':>10} {'rank':>7} {'entropy':>8} {'id':>7}  token")
    for node in tip.nodes():
        taken, before = node.taken, node.parent.distribution if node.parent else None
        prob = probability(taken.prob) if taken else "–"
        rank = str(taken.rank) if taken else "–"
        entropy = f"{before.entropy_bits:.3f}" if before else "–"
        lines.append(f"{prob:>10} {rank:>7} {entropy:>8} {node.token:>7}  {label(session.game.piece(node.token).data)}")
    lines += ["", f"tokens: {tip.depth}"]
    if tip.logprob is not None and tip.perplexity is not None:
        lines.append(f"logprob: {tip.logprob:.4f}   perplexity: {tip.perplexity:.4f}")
    if turns := assistant(session):
        logprob, perplexity = turns["logprob"], turns["perplexity"]
        if logprob is not None and perplexity is not None:
            lines.append(
                f"assistant's turns: {turns['tokens']} tokens, logprob: {logprob:.4f}   perplexity: {perplexity:.4f}"
            )
    lines += ["", f"next: entropy {tip.distribution.entropy_bits:.3f} bits"]
    for row in table(session, session.game.prompt):
        lines.append(
            f"{probability(row.prob):>10} {row.rank:>7} {'':>8} {row.token:>7}  "
            f"{label(session.game.piece(row.token).data)}"
        )
    return "\n".join(map(visible, lines))
