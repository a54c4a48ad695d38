"""The prompt's numbers without a terminal: as JSON, or as text to read."""

import math
from collections.abc import Sequence
from typing import Any

from tokex_gguf.engine.protocol import Capability, Loaded
from tokex_gguf.play.session import EngineStatus, Session, table
from tokex_gguf.shell.runtime import Runtime
from tokex_gguf.system.console import say
from tokex_gguf.values.distribution import Candidate, Distribution, Taken
from tokex_gguf.values.formatting import between, counted, rank_text, share_text
from tokex_gguf.values.layers import LENS_LAYERS
from tokex_gguf.values.lens import Raw, Sampled
from tokex_gguf.values.tokens import label, offsets, visible
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT, Verdict, View


class EvaluationFailed(Exception):
    """The prompt could not be evaluated; `usage` tells whether the input is at fault."""

    def __init__(self, reason: str, usage: bool) -> None:
        super().__init__(reason)
        self.usage = usage


def evaluate(game: Runtime) -> Session:
    """Plays a started game until its first prompt is evaluated, to its last token, and seen through its lens.

    Raises EvaluationFailed.
    """
    told: list[str] = []
    while not _complete(game.session):
        game.wait()
        session = game.session
        silent = session.game.health.waits.workers if session.game.health.waits else []
        if silent and silent != told:
            say(f"no answer from {', '.join(silent)}: waiting")
        told = silent
        if game.quit:
            raise EvaluationFailed(game.quit.fault, usage=True)
        if session.game.engine is EngineStatus.DEAD:
            raise EvaluationFailed(session.game.lost(session.game.health.fault), usage=False)
        if session.game.prompts and session.game.pending is None and not session.game.ready:
            limited = session.game.sampling.constraint is not None  # it may be what is wrong
            raise EvaluationFailed(session.notice, usage=limited or session.game.full is not None)
        if session.game.refused:
            raise EvaluationFailed(session.notice, usage=session.game.sampling.constraint is not None)
    return game.session


def _complete(session: Session) -> bool:
    """Whether all is there that is told: what the model says, and what the lens makes of it."""
    lens, game = session.lens, session.game
    if not isinstance(lens, Raw) and (reason := game.cannot(Capability.SAMPLERS)):
        raise EvaluationFailed(reason, usage=False)
    told = game.ready and (game.can(Capability.PROMPT_AT_ONCE) or game.prompt.tip.whole)
    if not told or isinstance(lens, Raw):
        return told
    if session.view is None or session.options.layer not in LENS_LAYERS:
        return session.view is not None
    answers, tip = game.known.answers, game.prompt.tip
    return answers.judge_more(lens, tip, 0) and answers.first_unjudged(lens, tip) is None


def _number(value: float | None) -> float | None:
    """JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None


def as_json(session: Session, notices: Sequence[str]) -> dict[str, Any]:
    """Model, tokens and next tokens of the active prompt; docs/reference/json.md describes the fields.

    A token's `text` is its `bytes` as UTF-8; a part of a character shows as U+FFFD there.
    """
    model, tip, lens, view = session.game.model, session.game.prompt.tip, session.lens, session.view
    assert model is not None and tip.distribution is not None

    def entropies(node: Node | None) -> dict[str, float | None]:
        distribution = node.distribution if node else None
        if distribution is None:
            return {"entropy_bits": None, "entropy": None}
        return {
            "entropy_bits": distribution.entropy_bits,
            **({"entropy_bits_max": distribution.most_bits} if distribution.slack_bits else {}),
            "entropy": distribution.normalised_entropy(model.vocab_size),
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
                **(_rank(taken) if taken else {"rank": None}),
                **entropies(node.parent),
                **_judged(session, node),
            }
        )
    return {
        "model": {
            **_place(session, model),
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
                {
                    **_rank(c),
                    "id": c.token,
                    **look(c.token),
                    "prob": c.prob,
                    "logprob": _number(c.logprob),
                    **({"final": final(view, c.token), "cut_by": cut(lens, view.verdicts[c.token])} if view else {}),
                }
                for c in _rows(session)
            ],
            **(_kept(lens, view) if view else {}),
        },
        "logprob": _number(tip.logprob),
        "perplexity": _number(tip.perplexity),
        "assistant": assistant(session),
        "notices": list(notices),
    }


def _place(session: Session, model: Loaded) -> dict[str, Any]:
    """Where the model is."""
    if not session.game.server:
        return {"path": session.game.settings.model.key}
    return {"server": session.game.server, "software": model.server, "candidates": model.candidates or None}


def _rank(one: Candidate | Taken) -> dict[str, int | None]:
    """A rank; or the lowest that it can be, where no more is known."""
    return {"rank": None, "rank_at_least": one.rank} if one.at_least else {"rank": one.rank}


def _rows(session: Session) -> list[Candidate]:
    """The likeliest tokens by the model; then those of the likeliest that are left which are not among them."""
    rows, view, tip = list(table(session, session.game.prompt)), session.view, session.game.prompt.tip
    if view is None or tip.distribution is None:
        return rows
    there = {row.token for row in rows}
    further = (token for token in view.likeliest[: session.game.settings.tokens_to_show] if token not in there)
    told = ((token, view.others.get(token) or tip.child(token).taken) for token in further)
    return [*rows, *(taken.row(token) for token, taken in told if taken)]


def cut(lens: Raw | Sampled, verdict: Verdict) -> str | None:
    """The name of what cut a token; None where nothing did."""
    return None if verdict.cut_by == NOT_CUT or isinstance(lens, Raw) else lens.stages[verdict.cut_by]


def final(view: View, token: int) -> float:
    """The chance of a token to be drawn."""
    return view.verdicts[token].final


def _verdict(session: Session, node: Node) -> tuple[Sampled, Verdict | None] | None:
    """What became of a token of the prompt; None without a chain and a constraint."""
    lens = session.lens
    return None if isinstance(lens, Raw) else (lens, session.game.known.answers.verdict(lens, node))


def _judged(session: Session, node: Node) -> dict[str, Any]:
    """What is told of a token of the prompt through a lens."""
    seen = _verdict(session, node)
    if seen is None:
        return {}
    lens, verdict = seen
    told = {
        "reachable": None if verdict is None else verdict.cut_by == NOT_CUT,
        "cut_by": None if verdict is None else cut(lens, verdict),
    }
    return {**told, "cost_bits": None if verdict is None else _cost(verdict)} if lens.constraint else told


def _cost(verdict: Verdict) -> float | None:
    """Bits that the constraint cost; None where it allows nothing."""
    return max(0.0, -math.log2(verdict.legal_mass)) if verdict.legal_mass > 0 else None


def _kept(lens: Raw | Sampled, view: View) -> dict[str, Any]:
    """What is left of the distribution of the next token."""
    told: dict[str, Any] = {"kept": view.left, "kept_mass": view.mass}
    if isinstance(lens, Sampled) and lens.constraint:
        told |= {"legal_mass": view.legal_mass, "standing": view.standing.value}
    return told


def notices_of(session: Session) -> list[str]:
    """What is to be known about the numbers of the prompt, a line each."""
    unknown = "the model's chat template does not tell which tokens are the assistant's"
    return [*session.game.notices, *([] if session.game.said is not None else [unknown])]


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


def as_text(session: Session, beside: Sequence[str] = ()) -> str:
    """The same as lines to read. `beside`: a further column of the prompt's tokens, with its heading."""
    model, tip = session.game.model, session.game.prompt.tip
    assert model is not None and tip.distribution is not None
    lens, view = session.lens, session.view
    about = ", ".join(filter(None, (model.architecture, model.quantization)))
    lines = [f"model: {model.name} ({about})" if about else f"model: {model.name}"]
    if session.game.server:
        given = f", which gives {model.candidates} candidates" if model.candidates else ""
        lines.append(f"server: {session.game.server} ({model.server}{given})")
    lines.append("")
    through = "" if isinstance(lens, Raw) else f"{'final':>10} {'cut by':<11} "
    through += f"{'cost':>6} " if isinstance(lens, Sampled) and lens.constraint else ""
    bits = [_bits(node.parent.distribution) for node in tip.nodes() if node.parent and node.parent.distribution]
    wide = max(8, *map(len, bits)) if bits else 8
    more = [f" {one}" for one in beside] or [""] * (tip.depth + 1)
    lines.append(f"{'prob':>10} {through}{'rank':>7} {'entropy':>{wide}}{more[0]} {'id':>7}  token")
    for node, told in zip(tip.nodes(), more[1:], strict=True):
        taken, before = node.taken, node.parent.distribution if node.parent else None
        prob = probability(taken.prob) if taken else "–"
        rank = rank_text(taken) if taken else "–"
        entropy = _bits(before) if before else "–"
        seen = _seen(session, node)
        name = label(session.game.piece(node.token).data)
        lines.append(f"{prob:>10} {seen}{rank:>7} {entropy:>{wide}}{told} {node.token:>7}  {name}")
    lines += ["", f"tokens: {tip.depth}"]
    if tip.logprob is not None and tip.perplexity is not None:
        lines.append(f"logprob: {tip.logprob:.4f}   perplexity: {tip.perplexity:.4f}")
    if turns := assistant(session):
        logprob, perplexity = turns["logprob"], turns["perplexity"]
        if logprob is not None and perplexity is not None:
            length = counted(turns["tokens"], "token")
            lines.append(f"assistant's turns: {length}, logprob: {logprob:.4f}   perplexity: {perplexity:.4f}")
    told = f"; {_left(lens, view, model.vocab_size)}" if view else ""
    lines += ["", f"next: entropy {_bits(tip.distribution)} bits{told}"]
    for row in _rows(session):
        seen = "" if view is None else _columns(lens, view.verdicts[row.token], cost="")
        lines.append(
            f"{probability(row.prob):>10} {seen}{rank_text(row):>7} {'':>{wide}} {row.token:>7}  "
            f"{label(session.game.piece(row.token).data)}"
        )
    return "\n".join(map(visible, lines))


def _bits(distribution: Distribution) -> str:
    """An entropy; where it is not known exactly, the least and the most that it can be."""
    return between(distribution.entropy_bits, distribution.most_bits, "{:.3f}".format, wide=True)


def _columns(lens: Raw | Sampled, verdict: Verdict | None, cost: str) -> str:
    """The columns of what a lens made of a token."""
    final = "–" if verdict is None or math.isnan(verdict.final) else probability(verdict.final)
    name = "" if verdict is None else cut(lens, verdict) or ""
    told = f"{cost:>6} " if isinstance(lens, Sampled) and lens.constraint else ""
    return f"{final:>10} {name:<11} {told}"


def _seen(session: Session, node: Node) -> str:
    """The same of a token of the prompt; nothing without a chain and a constraint."""
    seen = _verdict(session, node)
    if seen is None:
        return ""
    lens, verdict = seen
    cost = None if verdict is None else _cost(verdict)
    return _columns(lens, verdict, "–" if cost is None else f"{cost:.2f}")


def _left(lens: Raw | Sampled, view: View, size: int) -> str:
    """What a lens leaves, in a line."""
    verb = "is" if view.left == 1 else "are"
    told = f"{view.left} of {size} {verb} left, with {share_text(view.mass, '')} of the mass"
    told += f"; entropy {view.entropy_bits:.3f} bits"
    if isinstance(lens, Sampled) and lens.constraint:
        told += f"; the constraint leaves {share_text(view.legal_mass, '')}, and the text is {view.standing}"
    return told
