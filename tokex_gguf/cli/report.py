"""The prompt's numbers without a terminal: as JSON, or as text to read."""

import math
from collections.abc import Sequence
from typing import Any

from tokex_gguf.engine.protocol import Capability, Loaded
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.session import Session
from tokex_gguf.play.table import table
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.system.console import say
from tokex_gguf.values.distribution import Candidate, Distribution, TokenLogprob
from tokex_gguf.values.formatting import between, counted, rank_text, share_text
from tokex_gguf.values.layers import LENS_LAYERS
from tokex_gguf.values.lens import Raw, Sampled
from tokex_gguf.values.tokens import label, offsets, visible
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT, Standing, Verdict, View

FIRST_REQUEST = 1_000_000_000
"""The number of the first request after those of the game, which never sends so many."""


class EvaluationFailed(Exception):
    """The prompt could not be evaluated. `usage`: whether the input is at fault."""

    def __init__(self, reason: str, usage: bool) -> None:
        super().__init__(reason)
        self.usage = usage


def evaluate(runtime: Runtime) -> Session:
    """Runs a started game until its first prompt is evaluated and seen through its lens.

    Raises EvaluationFailed.
    """
    reported: list[str] = []
    while not _complete(runtime.session):
        runtime.wait()
        session = runtime.session
        silent = session.game.health.waits.workers if session.game.health.waits else []
        if silent and silent != reported:
            say(f"no answer from {', '.join(silent)}: waiting")
        reported = silent
        if runtime.quit:
            raise EvaluationFailed(runtime.quit.fault, usage=True)
        if session.game.engine is EngineStatus.DEAD:
            raise EvaluationFailed(session.game.engine_lost(session.game.health.fault), usage=False)
        if session.game.prompts and session.game.pending is None and not session.game.ready:
            constrained = session.game.sampling.constraint is not None  # the constraint may be at fault
            raise EvaluationFailed(session.notice, usage=constrained or session.game.full is not None)
        if session.game.refused:
            raise EvaluationFailed(session.notice, usage=session.game.sampling.constraint is not None)
    return runtime.session


def _complete(session: Session) -> bool:
    """Whether all numbers of the report are known: raw, and through the lens. Raises EvaluationFailed."""
    lens, game = session.lens, session.game
    if not isinstance(lens, Raw) and (reason := game.cannot(Capability.SAMPLERS)):
        raise EvaluationFailed(reason, usage=False)
    evaluated = game.ready and (game.can(Capability.PROMPT_AT_ONCE) or game.prompt.tip.whole)
    if not evaluated or isinstance(lens, Raw):
        return evaluated
    if session.view is None or session.options.layer not in LENS_LAYERS:
        return session.view is not None
    answers, tip = game.known.lens_results, game.prompt.tip
    return answers.judge_more(lens, tip, 0) and answers.first_unjudged(lens, tip) is None


def finite(value: float | None) -> float | None:
    """None for infinity, which JSON lacks."""
    return value if value is not None and math.isfinite(value) else None


def as_json(session: Session, notices: Sequence[str], *, sampled: bool = False) -> dict[str, Any]:
    """Model, tokens and next tokens of the active prompt; docs/reference/json.md describes the fields.

    `sampled`: whether the fields of samplers are there, also where these change nothing.

    A token's `text` is its `bytes` as UTF-8; a part of a character shows as U+FFFD there.
    """
    model, tip, lens, view = session.game.model, session.game.prompt.tip, session.lens, session.view
    assert model is not None and tip.distribution is not None
    unchanged = sampled and isinstance(lens, Raw)

    def entropy_fields(node: Node | None) -> dict[str, float | None]:
        distribution = node.distribution if node else None
        if distribution is None:
            return {"entropy_bits": None, "entropy": None}
        return {
            "entropy_bits": distribution.entropy_bits,
            **({"entropy_bits_max": distribution.most_bits} if distribution.slack_bits else {}),
            "entropy": distribution.normalised_entropy(model.vocab_size),
        }

    def text_fields(token: int) -> dict[str, Any]:
        data = session.game.piece(token).data
        return {"text": data.decode("utf-8", "replace"), "bytes": list(data)}

    nodes = list(tip.nodes())
    pieces = [session.game.piece(node.token).data for node in nodes]
    # The text of a chat is the output of its template.
    text = b"".join(pieces) if session.game.settings.chat else session.game.settings.text.encode()
    tokens = []
    for node, offset in zip(nodes, offsets(pieces, text), strict=True):
        taken = node.taken
        tokens.append(
            {
                "id": node.token,
                **text_fields(node.token),
                "offset": offset,
                **({"assistant": node in session.game.said} if session.game.said else {}),
                "prob": taken.prob if taken else None,
                "logprob": finite(taken.logprob) if taken else None,
                **(_rank_fields(taken) if taken else {"rank": None}),
                **entropy_fields(node.parent),
                **(
                    {"reachable": True if taken else None, "cut_by": None} if unchanged else _lens_fields(session, node)
                ),
            }
        )
    return {
        "model": {
            **_model_place(session, model),
            "name": model.name,
            "architecture": model.architecture,
            "quantization": model.quantization,
            "vocab_size": model.vocab_size,
            "context": session.game.context,
        },
        "tokens": tokens,
        "next": {
            **entropy_fields(tip),
            "candidates": [
                {
                    **_rank_fields(c),
                    "id": c.token,
                    **text_fields(c.token),
                    "prob": c.prob,
                    "logprob": finite(c.logprob),
                    **({"final": c.prob, "cut_by": None} if unchanged else _final_fields(lens, view, c.token)),
                }
                for c in _rows(session)
            ],
            **({"kept": model.vocab_size, "kept_mass": 1.0} if unchanged else _mass_fields(lens, view)),
        },
        "logprob": finite(tip.logprob),
        "perplexity": finite(tip.perplexity),
        "assistant": assistant(session),
        "notices": list(notices),
    }


def _model_place(session: Session, model: Loaded) -> dict[str, Any]:
    """The fields for the place of the model."""
    if not session.game.server:
        return {"path": session.game.settings.model.key}
    return {"server": session.game.server, "software": model.server, "candidates": model.candidates or None}


def _rank_fields(token: Candidate | TokenLogprob) -> dict[str, int | None]:
    """The fields of a rank, or of its lower bound."""
    return {"rank": None, "rank_at_least": token.rank} if token.at_least else {"rank": token.rank}


def _rows(session: Session) -> list[Candidate]:
    """The likeliest tokens by raw probability; then the likeliest through the lens that are not among them."""
    rows, view, tip = list(table(session, session.game.prompt)), session.view, session.game.prompt.tip
    if view is None or tip.distribution is None:
        return rows
    raw = {row.token for row in rows}
    further_tokens = (token for token in view.likeliest[: session.game.settings.tokens_to_show] if token not in raw)
    with_numbers = ((token, view.others.get(token) or tip.child(token).taken) for token in further_tokens)
    return [*rows, *(taken.row(token) for token, taken in with_numbers if taken)]


def cut_by(lens: Raw | Sampled, verdict: Verdict) -> str | None:
    """The name of the stage that cut a token; None if none did."""
    return None if verdict.cut_by == NOT_CUT or isinstance(lens, Raw) else lens.stages[verdict.cut_by]


def final_of(view: View, token: int) -> float:
    """The final probability of a token."""
    return view.verdicts[token].final


def _verdict(session: Session, node: Node) -> tuple[Sampled, Verdict | None] | None:
    """The lens and its verdict on a token of the prompt; None for the raw lens."""
    lens = session.lens
    return None if isinstance(lens, Raw) else (lens, session.game.known.lens_results.verdict(lens, node))


def _lens_fields(session: Session, node: Node) -> dict[str, Any]:
    """The fields of a token of the prompt through the lens."""
    lens_verdict = _verdict(session, node)
    if lens_verdict is None:
        return {}
    lens, verdict = lens_verdict
    fields = {
        "reachable": None if verdict is None else verdict.cut_by == NOT_CUT,
        "cut_by": None if verdict is None else cut_by(lens, verdict),
    }
    return {**fields, "cost_bits": None if verdict is None else _cost(verdict)} if lens.constraint else fields


def _unchanged_fields(node: Node) -> dict[str, Any]:
    """The same where the samplers change nothing."""
    return {"reachable": True if node.taken else None, "cut_by": None}


def _cost(verdict: Verdict) -> float | None:
    """Bits that the constraint cost; None if no token was legal."""
    return max(0.0, -math.log2(verdict.legal_mass)) if verdict.legal_mass > 0 else None


def _final_fields(lens: Raw | Sampled, view: View | None, token: int) -> dict[str, Any]:
    """The fields of a next token through the lens."""
    return {"final": final_of(view, token), "cut_by": cut_by(lens, view.verdicts[token])} if view else {}


def _mass_fields(lens: Raw | Sampled, view: View | None) -> dict[str, Any]:
    """The fields of the next token's distribution through the lens."""
    if view is None:
        return {}
    fields: dict[str, Any] = {"kept": view.left, "kept_mass": view.mass}
    if isinstance(lens, Sampled) and lens.constraint:
        fields |= {"legal_mass": view.legal_mass, "standing": view.standing.value}
    return fields


def notices_of(session: Session) -> list[str]:
    """Remarks on the numbers of the prompt, a line each."""
    unknown = "the model's chat template does not tell which tokens are the assistant's"
    return [*session.game.notices, *([] if session.game.said is not None else [unknown])]


def assistant(session: Session) -> dict[str, Any] | None:
    """The numbers of the assistant's turns in a chat; None without any."""
    nodes = session.game.prompt.tip.nodes() if session.game.said else ()
    logprobs = [node.taken.logprob for node in nodes if node in (session.game.said or ()) and node.taken]
    if not logprobs:
        return None
    logprob = math.fsum(logprobs)
    return {
        "tokens": len(logprobs),
        "logprob": finite(logprob),
        "perplexity": finite(_exp(-logprob / len(logprobs))),
    }


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def probability(value: float) -> str:
    """A probability in at most 10 columns, with at least three significant digits.

    >>> probability(0.25), probability(2e-9), probability(0.0)
    ('0.250000', '2.00e-09', '0.000000')
    """
    return f"{value:.6f}" if value >= 1e-4 or value == 0 else f"{value:.2e}"


def as_text(session: Session, beside: Sequence[str] = ()) -> str:
    """The report as lines to read. `beside`: a further column of the prompt's tokens, with its heading."""
    model, tip = session.game.model, session.game.prompt.tip
    assert model is not None and tip.distribution is not None
    lens, view = session.lens, session.view
    about = ", ".join(filter(None, (model.architecture, model.quantization)))
    lines = [f"model: {model.name} ({about})" if about else f"model: {model.name}"]
    if session.game.server:
        given = f", which gives {model.candidates} candidates" if model.candidates else ""
        lines.append(f"server: {session.game.server} ({model.server}{given})")
    lines.append("")
    lens_heading = "" if isinstance(lens, Raw) else f"{'final':>10} {'cut by':<11} "
    lens_heading += f"{'cost':>6} " if isinstance(lens, Sampled) and lens.constraint else ""
    bits = [_bits(node.parent.distribution) for node in tip.nodes() if node.parent and node.parent.distribution]
    wide = max(8, *map(len, bits)) if bits else 8
    column = [f" {cell}" for cell in beside] or [""] * (tip.depth + 1)
    lines.append(f"{'prob':>10} {lens_heading}{'rank':>7} {'entropy':>{wide}}{column[0]} {'id':>7}  token")
    for node, cell in zip(tip.nodes(), column[1:], strict=True):
        taken, before = node.taken, node.parent.distribution if node.parent else None
        prob = probability(taken.prob) if taken else "–"
        rank = rank_text(taken) if taken else "–"
        entropy = _bits(before) if before else "–"
        lens_columns = _lens_columns(session, node)
        name = label(session.game.piece(node.token).data)
        lines.append(f"{prob:>10} {lens_columns}{rank:>7} {entropy:>{wide}}{cell} {node.token:>7}  {name}")
    lines += ["", f"tokens: {tip.depth}"]
    if tip.logprob is not None and tip.perplexity is not None:
        lines.append(f"logprob: {tip.logprob:.4f}   perplexity: {tip.perplexity:.4f}")
    if turns := assistant(session):
        logprob, perplexity = turns["logprob"], turns["perplexity"]
        if logprob is not None and perplexity is not None:
            length = counted(turns["tokens"], "token")
            lines.append(f"assistant's turns: {length}, logprob: {logprob:.4f}   perplexity: {perplexity:.4f}")
    summary = f"; {_lens_summary(lens, view, model.vocab_size)}" if view else ""
    lines += ["", f"next: entropy {_bits(tip.distribution)} bits{summary}"]
    for row in _rows(session):
        lens_columns = "" if view is None else _verdict_columns(lens, view.verdicts[row.token], cost="")
        lines.append(
            f"{probability(row.prob):>10} {lens_columns}{rank_text(row):>7} {'':>{wide}} {row.token:>7}  "
            f"{label(session.game.piece(row.token).data)}"
        )
    return "\n".join(map(visible, lines))


def _bits(distribution: Distribution) -> str:
    """An entropy, or its bounds where it is not known exactly."""
    return between(distribution.entropy_bits, distribution.most_bits, "{:.3f}".format, wide=True)


def _verdict_columns(lens: Raw | Sampled, verdict: Verdict | None, cost: str) -> str:
    """The columns of a token through the lens."""
    final = "–" if verdict is None or math.isnan(verdict.final) else probability(verdict.final)
    name = "" if verdict is None else cut_by(lens, verdict) or ""
    cost_column = f"{cost:>6} " if isinstance(lens, Sampled) and lens.constraint else ""
    return f"{final:>10} {name:<11} {cost_column}"


def _lens_columns(session: Session, node: Node) -> str:
    """The columns of a token of the prompt through the lens; empty for the raw lens."""
    lens_verdict = _verdict(session, node)
    if lens_verdict is None:
        return ""
    lens, verdict = lens_verdict
    cost = None if verdict is None else _cost(verdict)
    return _verdict_columns(lens, verdict, "–" if cost is None else f"{cost:.2f}")


def _standing(view: View) -> str:
    """The standing of the text under the constraint, in words."""
    match view.standing:
        case Standing.FREE:
            return "it has not begun here"
        case Standing.OPEN:
            return "the text must go on"
        case Standing.COMPLETE:
            return "the text may end here"
        case Standing.ENDED:
            return "the text must end here"
        case Standing.STUCK:
            return "nothing can follow"
        case Standing.BROKEN:
            return f"the text breaks it at token {view.broken + 1}"


def _lens_summary(lens: Raw | Sampled, view: View, size: int) -> str:
    """The next token's distribution through the lens, in a line."""
    verb = "is" if view.left == 1 else "are"
    text = f"{view.left} of {size} {verb} left, with {share_text(view.mass, '')} of the mass"
    text += f"; entropy {view.entropy_bits:.3f} bits"
    if isinstance(lens, Sampled) and lens.constraint:
        text += f"; the constraint leaves {share_text(view.legal_mass, '')}, and {_standing(view)}"
    return text
