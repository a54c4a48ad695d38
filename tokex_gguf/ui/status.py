"""The header, and the status line. Pure."""

import math

from tokex_gguf.engine.protocol import Loaded
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.purposes import (
    ForBan,
    ForCarried,
    ForCompanion,
    ForConstraint,
    ForContinuation,
    ForEdited,
    ForForced,
    ForInsertion,
    ForNewPrompt,
    ForRetokenized,
    ForRoll,
    ForScore,
    ForSearch,
    ForVerdicts,
    ForView,
    Purpose,
)
from tokex_gguf.play.screens import Input, NewPrompt, Sessions, TypingScreen
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line, cells_of, choose, clip, spread, width_of
from tokex_gguf.ui.lens_lines import SAMPLERS, lens_texts
from tokex_gguf.ui.lists import called, logarithmic
from tokex_gguf.ui.prompt_pane import Path
from tokex_gguf.ui.screen_table import shown
from tokex_gguf.ui.second import awaited_of_both
from tokex_gguf.ui.versus import status_parts
from tokex_gguf.values.download import Coming, Here, title
from tokex_gguf.values.formatting import counted, short_text
from tokex_gguf.values.layers import LensLayer
from tokex_gguf.values.lens import Sampled
from tokex_gguf.values.score import Score
from tokex_gguf.values.tokens import visible
from tokex_gguf.values.tree import Node

WORKING_ON: dict[type[Purpose], str] = {
    **dict.fromkeys((ForContinuation, ForNewPrompt, ForEdited, ForInsertion, ForRetokenized), "tokenising"),
    **dict.fromkeys((ForCarried, ForCompanion), "tokenising"),
    ForScore: "scoring",
    ForSearch: "searching",
    ForBan: "searching",
    ForView: "samplers",
    ForRoll: "drawing",
    ForForced: "forced tokens",
}
"""What the engine works on, by purpose, where the player waits for something else than the table."""


class AssistantTurns:
    """The perplexity of the assistant's turns in the chat that a game was started with, or in an edit of it.

    Computed once for each path to the last of these tokens.
    """

    def __init__(self) -> None:
        self._said: frozenset[Node] = frozenset()
        self._ends: dict[Node, float | None] = {}
        """The last token of these turns on each path, and the perplexity of all before it, once computed."""
        self._last: tuple[Node, Node | None] | None = None
        """The path of the last call, and the last token of these turns on it."""

    def perplexity(self, session: Session, tip: Node) -> float | None:
        """The perplexity on a path with all these turns; None for other paths, and until all tokens are computed."""
        if not session.game.said:
            return None
        if session.game.said is not self._said:
            self._find_ends(session.game.said)
        if self._last is None or self._last[0] is not tip:
            ends = (end for end in self._ends if tip.depth >= end.depth and tip.ancestor(end.depth) is end)
            self._last = tip, max(ends, key=lambda end: end.depth, default=None)
        end = self._last[1]
        if end is None or end.taken is None:
            return None
        if self._ends[end] is None:
            nodes = [node for node in end.nodes() if node in self._said]
            logprobs = [node.taken.logprob for node in nodes if node.taken]
            if len(logprobs) == len(nodes):
                mean = -math.fsum(logprobs) / len(logprobs)
                self._ends[end] = math.exp(mean) if mean < 700 else math.inf
        return self._ends[end]

    def _find_ends(self, said: frozenset[Node]) -> None:
        """Finds the last token on each path. An edit adds tokens; another game has other ones."""
        if not said >= self._said:
            self._said, self._ends = frozenset(), {}
        for node in sorted(said - self._said, key=lambda node: -node.depth):
            if not any(end.descends_from(node) for end in reversed(self._ends)):
                self._ends[node] = None
        self._said, self._last = said, None


def header(session: Session, width: int) -> Line:
    """Product, model or server, quantisation, context used and total; the download under way."""
    model, right = session.game.model, _download(session)
    if model is None:
        name, more = visible(session.game.settings.model.name), ""
        name = f"⇄ {name}" if session.game.server else name
    elif session.game.server:
        name, more = _connection(session.game.server, model), f" · {visible(model.name)}"
        if session.game.prompts:
            right = [*right, ("class:header", _context(session))]
    else:
        name, more = visible(model.name), f" · {visible(model.architecture)} · {visible(model.quantization)}"
        if session.game.prompts:
            right = [*right, ("class:header", _context(session))]
    product: Line = [("class:title", " tokex-gguf "), ("class:header", f" {name}")]
    workers = _workers(session, width - width_of([*product, ("", more), *right]))
    cramped = bool(_download(session) or session.game.server)
    if not cramped or width_of([*product, ("", more + workers), *right]) <= width:
        product.append(("class:header", more))  # the details are left out before the model's name is cut
    product.append(("class:header", workers))
    return spread(product, right, width)


def _connection(server: str, model: Loaded) -> str:
    """The server's address, its program, and how many candidates of a distribution it gives."""
    parts = [f"⇄ {server}", visible(model.server), f"top {model.candidates}" if model.candidates else ""]
    return " · ".join(filter(None, parts))


def _workers(session: Session, room: int) -> str:
    """The RPC workers, by name where there is room."""
    workers = session.game.settings.load.rpc.split(",")
    if not workers[0] or session.game.server:
        return ""
    forms = (f"  ⇄ {visible(' '.join(workers))}", f"  ⇄ {len(workers)} RPC workers")
    return next((form for form in forms if width_of([("", form)]) <= room), f"  ⇄ {len(workers)} RPC")


def _download(session: Session) -> Line:
    """The progress of the download, or the keys that open the model."""
    match session.download:
        case Coming(name, percent):
            return [("class:header", f"  downloading {visible(title(name))} {percent} %")]
        case Here(name) if session.arrived:
            return [
                ("class:header", f"  {visible(title(name))} is here: "),
                ("class:key", "o"),
                ("class:header", " Enter"),
            ]
    return []


def status(session: Session, width: int, turns: AssistantTurns) -> Line:
    """Where the player is, and whether the table is up to date."""
    right = [*_engine_state(session), ("", " ")]
    unsaved: Line = [("class:fault", clip(f" not saved: {visible(session.unsaved)}", width // 2))]
    if not session.game.prompts:
        return spread([*unsaved, ("", " ")] if session.unsaved else [("", " Prompt –/–")], right, width)
    path = shown(session)
    if not isinstance(path, Path):
        names = {NewPrompt: "a new prompt", Sessions: "another session"}
        name = names.get(type(session.current), "a text to start with")
        return spread([("", f" {name}")], right, width)
    cursor, tip = path.cursor, path.base
    name = "a visited path"
    if path.prompt is not None:
        named = called(session.game.prompts[path.prompt])
        name = f"Prompt {path.prompt + 1}/{len(session.game.prompts)}{' ' if named else ''}{named}"
    parts: list[tuple[int, Line]] = [
        (9, [("", f" {name}")]),
        (8, [("", f"tokens: {tip.depth}")]),
    ]
    if session.unsaved:
        parts.insert(0, (10, unsaved))
    if typing := session.on(Input):
        parts += _typed_parts(typing)
    elif cursor is not None:
        parts.append((8, [("class:notice", f"looking at {cursor.depth}")]))
    if tip is session.game.prompt.tip and session.game.ready and session.game.walking:
        parts.append((8, [("class:busy", f"… {tip.depth - tip.unknown:,}/{tip.depth:,}")]))
    if tip is session.game.prompt.tip:
        parts += status_parts(session)
    if tip.logprob is not None and tip.perplexity is not None:
        # These are of the first answers; a comparison uses strict ones.
        compares = session.game.comparison is not None and tip is session.game.prompt.tip
        first: Line = [("class:dim", "first ")] if compares else []
        parts.append((4 if compares else 6, [*first, ("", f"logprob {tip.logprob:.2f}")]))
        parts.append((5 if compares else 7, [*first, ("", f"ppl {short_text(tip.perplexity)}")]))
        if (perplexity := turns.perplexity(session, tip)) is not None:
            parts.append((8, [*first, ("", f"assistant's ppl {short_text(perplexity)}")]))
        if (bits := _cost(session, tip)) is not None:
            parts.append((8, [("", f"cost {short_text(bits)} bits")]))
    through = lens_texts(session)
    most = CHAIN_BEFORE_COST_CELLS if through[-1:] == [SAMPLERS] else LENS_BEFORE_COST_CELLS
    least = min(max(map(cells_of, [*through[:1], *through[-2:]])), most) + 2 if through else 0
    needed = sum(width_of(line) + 2 for importance, line in parts if importance >= 8)
    is_ready = any(style == "class:state" for style, _ in right)
    if is_ready and width_of(right) + needed + least > width:
        # Where room is short, the cost of the last answer is left out.
        right = [part for part in right if part[0] != "class:dim"]
    elif not is_ready and width_of(right) + needed + least > width:
        right = _without_working(right)
    if through:
        # The lens always has a place, with fewer words where there is less room.
        room = width - width_of(right) - needed - 2
        lens = next((words for words in through if cells_of(words) <= room), through[-1])
        parts.append((9, [("class:label", clip(lens, max(LEAST_LENS_CELLS, room)))]))
    return spread(choose(parts, width - width_of(right) - 2), right, width)


def _without_working(state: Line) -> Line:
    """What the engine works on, without the word before it."""
    (style, text), *further = state
    if text != "working" or not further[0][1].strip():
        return state
    return [(style, further[0][1].strip()), *further[1:]]


LEAST_LENS_CELLS, LENS_BEFORE_COST_CELLS, CHAIN_BEFORE_COST_CELLS = 12, 24, 48
"""Cells of the lens's name at the least; cells of it, and of the samplers, for which the last answer's cost is left
out."""


def _cost(session: Session, tip: Node) -> float | None:
    """Bits that the constraint cost along the path; None without a constraint, and until all are known."""
    lens = session.lens
    if not isinstance(lens, Sampled) or lens.constraint is None:
        return None
    return session.game.known.lens_results.cost(lens, tip)


def _typed_parts(continuation: Input) -> list[tuple[int, Line]]:
    """How many tokens are typed, and their joint probability."""
    count = continuation.tip.depth - continuation.base.depth
    if count == 0:
        return []
    parts: list[tuple[int, Line]] = [(8, [("class:notice", f"+{count}")])]
    logprob = Score(continuation.base, continuation.tip).logprob
    if logprob is not None:
        parts.append((8, [("", f"joint p {logarithmic(logprob)}  ln p {logprob:.2f}")]))
    return parts


def _engine_state(session: Session) -> Line:
    """`ready`, `working` with progress, or the fault."""
    server = session.game.server
    subject, remedy = ("connection", "reconnects") if server else ("engine", "restarts it")
    if session.game.engine is EngineStatus.DEAD:
        keys = f"Esc, then r, {remedy}" if isinstance(session.screen, TypingScreen) else f"r {remedy}"
        return [("class:fault", f"no connection to {server}: {keys}" if server else f"engine stopped: {keys}")]
    if session.game.silence:
        return [("class:fault", f"{subject} silent for {session.game.silence:.0f} s: r {remedy}")]
    if waits := session.game.health.waits:
        silent = visible(", ".join(waits.workers))
        loading = (
            f"{100 * session.game.health.progress:.0f} % loaded, "
            if session.game.engine is EngineStatus.LOADING
            else ""
        )
        return [("class:fault", f"{loading}no answer from {silent} for {waits.seconds:.0f} s: r restarts the engine")]
    if session.game.engine is EngineStatus.LOADING:
        back = ", Esc goes back" if session.origin else ""
        doing = (
            f"connecting to {server}" if server else f"loading the model {100 * session.game.health.progress:3.0f} %"
        )
        return [("class:busy", "working"), ("class:dim", f"  {doing}{back}")]
    if session.game.newest(ForConstraint):
        doing = "" if session.game.pending is None else _progress(session)
        return [("class:busy", "working"), ("class:dim", f"{doing}  reading the constraint")]
    doing = next(
        (WORKING_ON[type(purpose)] for purpose in session.game.open_requests.values() if type(purpose) in WORKING_ON),
        awaited_of_both(session),
    )
    if session.game.ready and doing:
        return [("class:busy", "working"), ("class:dim", f"  {doing}")]
    layer = session.options.layer
    if session.game.ready and isinstance(layer, LensLayer) and session.game.newest(ForVerdicts):
        return [("class:busy", "working"), ("class:dim", f"  layer {layer.name}")]
    if session.game.ready:
        cost = session.game.cost
        took = counted(cost.tokens, "token")
        took = f"{took}, {cost.seconds * 1000:.0f} ms" if cost.tokens else f"known, {took}"
        return [("class:dim", f"{took}  "), ("class:state", "ready")]
    if session.game.prompts and session.game.full is not None:
        return [("class:fault", f"context full ({session.game.full}/{session.game.full})")]
    if session.game.prompts and session.game.pressed.autoplay:
        cost = session.game.cost
        by = " by samplers" if isinstance(session.lens, Sampled) else ""
        speed = f"  {cost.tokens / cost.seconds:.0f} tokens/s" if cost.seconds else ""
        return [("class:busy", "working"), ("class:dim", f"  autoplay{by}, space stops it{speed}")]
    if session.game.prompts and session.game.pending is not None:
        return [("class:busy", "working"), ("class:dim", _progress(session))]
    if session.game.prompts:
        return [("class:fault", "no answer: → asks again")]
    return [("class:busy", "working"), ("class:dim", "  reading the prompt")]


def _progress(session: Session) -> str:
    tip = session.goal.tip
    return f"  {session.game.evaluated(tip)}/{tip.depth} tokens"


def _context(session: Session) -> str:
    """Tokens of the prompt, and of the context; where that is too small, of the largest possible context."""
    used, context = session.game.prompt.tip.depth, session.game.context
    most = session.game.model.context_limit if session.game.model else context
    return f"  context {used}/{context if used <= context else max(context, most)} "
