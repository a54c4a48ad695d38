"""The whole screen as a function of the session and the terminal's size. Pure.

header                          header
prompt │ table                  prompt
       │                        ───────
status                          table
legend, or the notice           status, legend
keys, in two lines from 24      keys
from 100 columns                below

The sampler chain takes the prompt's place, and stands below its last lines:

prompt │ table                  prompt
────── │                        ──────────────
chain  │                        chain │ table
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import lru_cache

from tokex_gguf.engine.protocol import Capability, Loaded
from tokex_gguf.play import compared
from tokex_gguf.play.commands.registry import help_found, hints
from tokex_gguf.play.messages import PointedAtRow, PointedAtToken
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
from tokex_gguf.play.screens import Find, Help, Input, NewPrompt, Play, SearchScreen, Sessions, TypingScreen
from tokex_gguf.play.session import (
    EngineStatus,
    Palette,
    Score,
    Session,
    selected_row,
    split_otherwise,
    table,
    without_text,
)
from tokex_gguf.ui import theme
from tokex_gguf.ui.cells import (
    Line,
    cells_of,
    choose,
    clip,
    clip_start,
    fit,
    fit_cached,
    longest,
    spread,
    under_caret,
    width_of,
)
from tokex_gguf.ui.lens_lines import lens_texts, percent
from tokex_gguf.ui.lists import called, logarithmic
from tokex_gguf.ui.panes import Path, PromptPane, Shown, help_lines, starting_text, table_lines, table_room
from tokex_gguf.ui.screen_table import PANES, pane
from tokex_gguf.ui.second import awaited_of_both
from tokex_gguf.ui.versus import status_parts, token_delta
from tokex_gguf.ui.window import listed, more
from tokex_gguf.ui.wrap import paragraph
from tokex_gguf.values.distribution import Distribution, Taken, normalised
from tokex_gguf.values.download import Coming, Here, title
from tokex_gguf.values.formatting import NARROW as NARROW_BITS
from tokex_gguf.values.formatting import between, counted, number, rank_text, short_text
from tokex_gguf.values.layers import (
    COST,
    DELTA,
    ENTROPY,
    PLAIN,
    PROBABILITY,
    RANK,
    REACHABLE,
    SURPRISAL,
    Layer,
    LensLayer,
)
from tokex_gguf.values.lens import GRAMMAR, Sampled
from tokex_gguf.values.ranking import Ranking, entropies, surprisals
from tokex_gguf.values.record import replace
from tokex_gguf.values.tokens import glimpse, label, visible
from tokex_gguf.values.tree import Node
from tokex_gguf.values.view import NOT_CUT

GREETING = (
    "↑ ↓ choose a token, → appends it, ← pops it",
    "d copies the prompt, w and s switch, e colours",
    "? has every key, ctrl+q quits and saves all",
)
"""Shown below the prompt until the first key."""
SMALLEST = (60, 16)
"""Columns and rows below which there is no room to play."""
EXACT_BY = {ENTROPY: Capability.EXACT_ENTROPY, RANK: Capability.EXACT_RANKS}
"""The capability by which the colours of a layer are exact; without it they are bounds."""
MONOCHROME_STEPS = 4
"""Steps of a layer without colours."""
TALL_ROWS = 24
"""Rows from which the keys have two lines."""
NEAR_TOKENS = 4
"""Tokens: within these from the place where a prompt is split unlike the tokenizer, the status says so first."""
WIDE_CELLS = 100
"""Columns from which prompt and table stand side by side."""
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


class ScreenRenderer:
    """Draws sessions. Its only state is a cache of layouts and sums."""

    def __init__(self) -> None:
        self._prompt = PromptPane()
        self._turns = AssistantTurns()

    def screen(self, session: Session, width: int, height: int) -> list[Line]:
        """Exactly `height` lines of exactly `width` cells."""
        if not _has_room(width, height):
            return _too_small(width, height)
        body = _body(height)
        if isinstance(session.screen, Help):
            lines = _help(session.screen, width, body)
        elif _keeps_table(session):
            lines = self._with_table(session, width, body)
        elif _is_side_by_side(session, width):
            lines = self._side_by_side(session, width, body)
        else:
            lines = self._stacked(session, width, body)
        state = status(session, width, self._turns)
        rows, further = _key_lines(height), _notice_overflow(session, width, height)
        keys = [*further, *footer(session, width, max(0, rows - len(further)))]
        around = [header(session, width), state, second_line(session, width), *keys]
        top, *bottom = [fit_cached(tuple(line), width) for line in around]
        return [top, *lines[: body - _lines_lent(session, width, height)], *bottom]

    def hit(self, session: Session, width: int, height: int, x: int, y: int) -> PointedAtToken | PointedAtRow | None:
        """The token or row in a cell of the screen, as last drawn for this session and size."""
        body = _body(height)
        drawn = body - _lines_lent(session, width, height)
        if isinstance(session.screen, Help) or not _has_room(width, height) or not 1 <= y <= drawn:
            return None
        y -= 1
        if _keeps_table(session):
            upper, chain = body - 1 - _lower_height(body, whole=True), _chain_width(width)
            if y < upper and x < (chain if width >= WIDE_CELLS else width):
                token = self._prompt.token_at(x - 1, y)
                return None if token is None else PointedAtToken(token)
            row = _row_at(session, body - 1 - upper, y - upper - 1) if y > upper and x < chain else -1
            return None if row < 0 else PointedAtRow(row)
        if _is_side_by_side(session, width):
            over, upper, rows, below = x > width - _side_width(session, width) - 3, body, body, y
        else:
            rows = _lower_height(body, whole=_fills_pane(session))
            upper = body - 1 - rows
            over, below = y > upper, y - upper - 1
        if not over:
            token = self._prompt.token_at(x - 1, y) if y < upper else None
            return None if token is None else PointedAtToken(token)
        row = _row_at(session, rows, below)
        return None if row < 0 else PointedAtRow(row)

    def _side_by_side(self, session: Session, width: int, height: int) -> list[Line]:
        right = _side_width(session, width)
        left = width - right - 4
        prompt = self._prompt.lines(session, shown(session), left, height)
        table = _filled(_beside(session, right - 1, height), right, height)
        prompt = self._with_greeting(session, prompt)
        in_sight = self._prompt.in_sight(height)
        rule = [("class:rule bold", " ┃ ") if row in in_sight else ("class:rule", " │ ") for row in range(height)]
        return [[("", " "), *a, between, *b] for a, between, b in zip(prompt, rule, table, strict=True)]

    def _stacked(self, session: Session, width: int, height: int) -> list[Line]:
        lower = _lower_height(height, whole=_fills_pane(session))
        upper = height - 1 - lower
        prompt = self._prompt.lines(session, shown(session), width - 2, upper)
        table = _filled(_beside(_without_ahead(session), width - 1, lower), width, lower)
        prompt = self._with_greeting(session, prompt)
        in_sight = self._prompt.in_sight(width)
        rule: Line = [
            ("class:rule", "─" * in_sight.start),
            ("class:rule bold", "━" * len(in_sight)),
            ("class:rule", "─" * (width - in_sight.stop)),
        ]
        return [*([("", " "), *line, ("", " ")] for line in prompt), [part for part in rule if part[1]], *table]

    def _with_table(self, session: Session, width: int, height: int) -> list[Line]:
        """The pane below the prompt, with the table beside it."""
        lower, left = _lower_height(height, whole=True), _chain_width(width)
        upper, right = height - 1 - lower, width - _chain_width(width) - 1
        over = left if width >= WIDE_CELLS else width
        prompt = self._prompt.lines(session, shown(session), over - 2, upper)
        above = [[("", " "), *line, ("", " ")] for line in prompt] + [[("class:rule", "─" * over)]]
        below = _filled(_beside(session, left - 1, lower), left, lower)
        if width >= WIDE_CELLS:
            return _joined([*above, *below], _filled(_table_beside(session, right - 1, height), right, height))
        return [*above, *_joined(below, _filled(_table_beside(session, right, lower), right, lower))]

    def _with_greeting(self, session: Session, prompt: list[Line]) -> list[Line]:
        """The prompt with the greeting below it, where there is room and no key was pressed yet."""
        free = len(prompt) - self._prompt.used
        greeting = GREETING[-free:] if free else ()
        if session.begun or not greeting or not isinstance(session.screen, Play):
            return prompt
        width = width_of(prompt[0])
        return [*prompt[: -len(greeting)], *(fit([("class:dim", line)], width) for line in greeting)]


def shown(session: Session) -> Shown:
    """The path to show on this screen, or the text where it has no tokens yet."""
    return pane(session).path(session) if session.game.prompts else starting_text(session)


def _row_at(session: Session, height: int, line: int) -> int:
    """The index of the row of the table or list on a line of its pane; -1 without one."""
    rows = pane(session).rows(session, height)
    return rows[line - 1] if 1 <= line <= len(rows) else -1


def _key_lines(height: int) -> int:
    """Lines for the keys."""
    return 2 if height >= TALL_ROWS else 1


def _body(height: int) -> int:
    """Lines between the header and the status."""
    return height - 3 - _key_lines(height)


def rows_of(width: int, height: int) -> int:
    """Rows of a table that a screen of this size has room for."""
    body = _body(height)
    return max(0, table_room(body if width >= WIDE_CELLS else _lower_height(body)))


def _table_width(width: int) -> int:
    return min(64, 30 + width // 6)


def _side_width(session: Session, width: int) -> int:
    """Cells of the pane to the right of the prompt."""
    return max(_table_width(width), min(80, width // 2)) if session.looks_ahead else _table_width(width)


def _without_ahead(session: Session) -> Session:
    """The session without the lookahead column, for a table that has no room for it."""
    return replace(session, options=replace(session.options, shows_ahead=False)) if session.looks_ahead else session


def _is_side_by_side(session: Session, width: int) -> bool:
    """Whether the prompt is to the left of the pane, and not above it."""
    return width >= WIDE_CELLS and not _fills_pane(session)


def _fills_pane(session: Session) -> bool:
    """Whether the pane has the whole width, and all but a few lines."""
    return pane(session).whole


def _keeps_table(session: Session) -> bool:
    """Whether the table stays in sight beside the pane, which takes the prompt's place."""
    return pane(session).table


def _chain_width(width: int) -> int:
    """Cells of a pane that has the table beside it."""
    if width >= WIDE_CELLS:
        return width - _table_width(width) - 1
    return width - 1 - max(28, min(44, width * 9 // 20 - 1))


def _table_beside(session: Session, width: int, height: int) -> list[Line]:
    """The table while the keys go to another pane: its row is bold, and not reversed as the selected one."""
    lines = table_lines(_without_ahead(session), width, height)
    return [[(style.replace("class:selected", "bold"), text) for style, text in line] for line in lines]


def _joined(left: list[Line], right: list[Line]) -> list[Line]:
    """Two panes beside each other."""
    return [[*a, ("class:rule", "│"), *b] for a, b in zip(left, right, strict=True)]


def _lower_height(height: int, *, whole: bool = False) -> int:
    """Lines of the pane below the prompt."""
    if whole:
        return height - 1 - min(5, max(3, height // 5))
    return max(6, (height - 1) * 3 // 5)


def _beside(session: Session, width: int, height: int) -> list[Line]:
    """The pane beside the prompt."""
    return pane(session).lines(session, width, height)


def _filled(lines: list[Line], width: int, height: int) -> list[Line]:
    """The lines, `height` of them, in exactly `width` cells."""
    return [fit_cached(tuple(line), width) for line in [*lines[:height], *([[]] * (height - len(lines)))]]


def _has_room(width: int, height: int) -> bool:
    """Whether there is room to play."""
    return width >= SMALLEST[0] and height >= SMALLEST[1]


def _too_small(width: int, height: int) -> list[Line]:
    text = (f"tokex-gguf needs {SMALLEST[0]}x{SMALLEST[1]} cells,", f"not {width}x{height}.", "ctrl+q quits")
    return [fit([("", text[row] if row < len(text) else "")], width) for row in range(height)]


def _help(screen: Help, width: int, height: int) -> list[Line]:
    entries = help_found(screen)
    if not entries:
        return _filled([[("class:dim", " no match")]], width, height)
    lines, starts = help_lines(entries, width, screen.entry)
    inside = listed(starts[screen.entry], len(lines), height)
    return _filled([*lines[inside.start : inside.stop], *more(inside, len(lines))], width, height)


HELP_OVERLAP = 1
"""Lines that two pages of the help have in common, at the least."""


def help_page(screen: Help, width: int, height: int, direction: int) -> int:
    """The entry to select so that the help moves by a page, down (1) or up (-1), and skips no line."""
    lines, starts = help_lines(help_found(screen), width, screen.entry)
    if not starts:
        return 0
    body, last = _body(height), len(starts) - 1
    inside = listed(starts[screen.entry], len(lines), body)
    if (inside.stop == len(lines) and direction > 0) or (inside.start == 0 and direction < 0):
        return last if direction > 0 else 0  # the rest is in sight
    target = inside.start + direction * (len(inside) - HELP_OVERLAP)
    firsts = [listed(start, len(lines), body).start for start in starts]
    if direction > 0:
        return max(screen.entry + 1, bisect_right(firsts, target) - 1)
    return min(screen.entry - 1, bisect_left(firsts, target))


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
    least = min(max(map(cells_of, through[-2:])), LENS_BEFORE_COST_CELLS) + 2 if through else 0
    needed = sum(width_of(line) + 2 for importance, line in parts if importance >= 8)
    if session.game.ready and width_of(right) + needed + least > width:
        # Where room is short, the cost of the last answer is left out.
        right = [part for part in right if part[0] != "class:dim"]
    if through:
        # The lens always has a place, with fewer words where there is less room.
        room = width - width_of(right) - needed - 1
        lens = next((words for words in through if cells_of(words) <= room), through[-1])
        parts.append((9, [("class:label", clip(lens, max(LEAST_LENS_CELLS, room)))]))
    return spread(choose(parts, width - width_of(right) - 1), right, width)


LEAST_LENS_CELLS, LENS_BEFORE_COST_CELLS = 12, 24
"""Cells of the lens's name at the least; cells of it for which the last answer's cost is left out."""


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


def second_line(session: Session, width: int) -> Line:
    """The line being typed, or the notice, else the layer's legend and the numbers of the token under the cursor."""
    if isinstance(session.screen, TypingScreen):
        return _input(session, session.screen, width)
    if session.notice_line:
        return _notice_lines(session, width)[0]
    parts: list[tuple[int, Line]] = []
    follow_ups: tuple[int, ...] = ()
    if session.options.layer is not PLAIN:
        least = session.options.layer in EXACT_BY and not session.game.can(EXACT_BY[session.options.layer])
        parts.append(
            (9, legend(session.options.layer, session.options.palette, 16 if width >= WIDE_CELLS else 8, least=least))
        )
    if session.options.layer is DELTA and session.game.comparison is None:
        parts.append((9, [("class:notice", "nothing is compared: v")]))
    if isinstance(session.options.layer, LensLayer) and (lacking := session.options.layer.lacking(session.lens)):
        parts.append((9, [("class:notice", lacking)]))
    path = shown(session)
    if session.game.model and isinstance(path, Path):
        cursor, tip = path.cursor, path.base
        if (differs := token_delta(session)) and tip is session.game.prompt.tip:
            parts.append((9, differs))
        if tip.differs is not None:
            text = split_otherwise(session.game, tip)
            if width < WIDE_CELLS and cursor is not None and not without_text(session.game, tip):
                text = f"split otherwise from {tip.differs + 1} on: T"
            near = cursor is not None and abs(cursor.depth - 1 - tip.differs) <= NEAR_TOKENS
            parts.append((9 if near else 8 if cursor is None else 4, [("class:dim", text)]))
        if cursor is not None:
            parts += _token_parts(session, tip, cursor, choices=width >= WIDE_CELLS)
        else:
            choices = width >= WIDE_CELLS or session.options.layer is PLAIN
            follow_ups = (
                (len(parts) + 1,) if _strict_numbers(session, tip, tip)[0] is not None else ()
            )  # the rank of the last token
            parts += _tip_parts(session, tip, session.game.model.vocab_size, choices=choices, wide=width >= WIDE_CELLS)
        parts += _chance_of_others(session, 6 if cursor is None else 4)
    return [("", " "), *choose(parts, width - 1, further=follow_ups)]


def _notice_lines(session: Session, width: int, most: int | None = None) -> list[Line]:
    """The notice in as many lines as it takes, or `most` of them."""
    return [[("class:notice", f" {line}")] for line in paragraph(visible(session.notice_line), width - 2, most)]


def _notice_overflow(session: Session, width: int, height: int) -> list[Line]:
    """The lines of the notice that its own line has no room for. They replace the footer's keys until the next key.

    Where the footer has fewer lines, the notice takes some of those above the status, too.
    """
    if not session.notice_line or (isinstance(session.screen, Input) and _spaced_twice(session, session.screen)):
        return []
    most = _key_lines(height) + MOST_LINES_LENT
    if isinstance(session.screen, TypingScreen):
        beside = cells_of(visible(session.notice_line)) < _cells_beside_input(session.screen, width)
        return [] if beside else _notice_lines(session, width, most)
    return _notice_lines(session, width, 1 + most)[1:]


MOST_LINES_LENT = 2
"""Lines above the status that a long notice may take, at the most."""


def _lines_lent(session: Session, width: int, height: int) -> int:
    """Lines above the status that the notice takes."""
    return max(0, len(_notice_overflow(session, width, height)) - _key_lines(height))


def _context(session: Session) -> str:
    """Tokens of the prompt, and of the context; where that is too small, of the largest possible context."""
    used, context = session.game.prompt.tip.depth, session.game.context
    most = session.game.model.context_limit if session.game.model else context
    return f"  context {used}/{context if used <= context else max(context, most)} "


def _cells_beside_input(typing: TypingScreen, width: int) -> int:
    """Cells for a notice at the end of the line being typed, so that the text before it stays in sight."""
    head = f" {PANES[type(typing)].label}: "
    return max(0, width - len(head) - max(12, width // 5))


def _strict_numbers(session: Session, tip: Node, node: Node) -> tuple[Taken | None, Distribution | None]:
    """A token's numbers and the distribution after it; of the active prompt, the strict ones during a comparison."""
    if tip is session.game.prompt.tip:
        return compared.of_token(session, node), compared.after(session, node)
    return node.taken, node.distribution


def _tip_parts(session: Session, tip: Node, vocabulary: int, *, choices: bool, wide: bool) -> list[tuple[int, Line]]:
    """The last token's own numbers, and the entropy of the distribution after it."""
    parts: list[tuple[int, Line]] = []
    taken, distribution = _strict_numbers(session, tip, tip)
    if taken is not None:
        name = clip(label(glimpse(session.game.piece(tip.token).data)), 20)
        parts.append((7, [("class:dim", "last token "), ("", name), ("class:dim", "  p "), ("", number(taken.prob))]))
        parts.append((4, [("class:dim", "rank "), ("", rank_text(taken))]))
    if distribution is not None:
        name = "next: entropy " if wide else "next entropy "
        line: Line = [("class:dim", name), ("", f"{_entropy(distribution)} bits")]
        if vocabulary:
            share = _entropy(distribution, lambda bits: normalised(bits, vocabulary) or 0)
            line.append(("class:dim", f" ({share})"))
        if choices and isinstance(session.lens, Sampled):  # a lens leaves less room: both or neither
            line += [("", "  "), *_choices(distribution)]
        parts.append((6, line))
        if choices and not isinstance(session.lens, Sampled):
            parts.append((5, _choices(distribution)))
    return parts


def _chance_of_others(session: Session, importance: int) -> list[tuple[int, Line]]:
    """The probability of all tokens but the selected one: raw and, through a lens, final."""
    place = session.game.prompt.place
    rows = table(session, place)
    if not rows or session.on(SearchScreen) or session.current is not session.screen:
        return []
    row = rows[selected_row(session, place)]
    compares = session.game.comparison is not None
    difference = compared.rows_by_token(session, place).get(row.token)
    taken = compared.of_row(place.tip, row.token, difference) if compares else row.taken
    if taken is None:
        return []
    raw = _all_but(math.exp(min(0.0, taken.logprob)))
    line: Line = [
        ("class:dim", "all but “"),
        ("", clip(label(glimpse(session.game.piece(row.token).data)), 12)),
        ("class:dim", "”: "),
        ("", raw),
    ]
    if not isinstance(session.lens, Sampled) or compares:  # final probabilities are of the first answers
        return [(importance, line)]
    verdict = session.view.verdicts.get(row.token) if session.view else None
    if verdict is not None:
        line += [("class:dim", " raw, "), ("", _all_but(verdict.final)), ("class:dim", " final")]
    return [(importance + 2, line)]


def _all_but(prob: float) -> str:
    """1 less a probability in percent; below 100 % unless that is 0."""
    return percent(max(0.0, min(1 - prob, 0.9999)) if prob > 0 else 1.0)


def _token_parts(session: Session, tip: Node, node: Node, *, choices: bool) -> list[tuple[int, Line]]:
    """All numbers of a token of the prompt; #1 marks the prompt's highest."""
    piece = session.game.piece(node.token)
    # The quantity of the layer goes first: the player looks for it.
    importance = {SURPRISAL: 8, PROBABILITY: 7, ENTROPY: 6, RANK: 5}
    importance |= {session.options.layer: 9} | ({session.game.prompt.sought: 9} if session.game.prompt.sought else {})
    parts: list[tuple[int, Line]] = [(9, [("bold", clip(label(glimpse(piece.data)), 20))])]
    taken, _ = _strict_numbers(session, tip, node)
    # Ranks within the path exist for the first answers only.
    ranked = session.game.comparison is None or tip is not session.game.prompt.tip
    if taken is not None:
        parts.append((importance[PROBABILITY], [("class:dim", "p "), ("", number(taken.prob))]))
        parts.append((importance[RANK], [("class:dim", "rank "), ("", rank_text(taken))]))
        surprisal: Line = [("class:dim", "surprisal "), ("", f"{taken.surprisal:.2f} bits")]
        place = _rank_in_path(tip, taken.surprisal, surprisals) if ranked else []
        parts.append((importance[SURPRISAL], [*surprisal, *place]))
    if node.parent and (before := _strict_numbers(session, tip, node.parent)[1]):
        entropy: Line = [("class:dim", "entropy "), ("", f"{_entropy(before)} bits")]
        exact = session.game.can(Capability.EXACT_ENTROPY)
        entropy += _rank_in_path(tip, before.entropy_bits, entropies, "#" if exact else "≈ #") if ranked else []
        if choices:
            entropy += [("", "  "), *_choices(before)]
        parts.append((importance[ENTROPY], entropy))
    parts += _lens_parts(session, node)
    parts.append((4, [("class:dim", f"id {node.token}")]))
    parts.append((3, [("class:dim", f"bytes {piece.data[:12].hex(' ')}{'…' if len(piece.data) > 12 else ''}")]))
    return parts


def _lens_parts(session: Session, node: Node) -> list[tuple[int, Line]]:
    """The final probability of a token of the prompt, or what cut it; and its cost."""
    lens = session.lens
    if not isinstance(lens, Sampled) or (verdict := session.game.known.lens_results.verdict(lens, node)) is None:
        return []
    if verdict.cut_by != NOT_CUT:
        outcome: Line = [("class:stage", f"cut by {lens.stage(verdict.cut_by)}")]
    elif math.isnan(verdict.final):
        outcome = [("class:dim", "can be drawn")]
    else:
        outcome = [("class:dim", "final "), ("", number(verdict.final))]
    parts = [(9 if session.options.layer is REACHABLE or verdict.cut_by != NOT_CUT else 6, outcome)]
    if lens.constraint is not None and (verdict.cut_by == NOT_CUT or lens.stage(verdict.cut_by) != GRAMMAR):
        cost: Line = [("class:dim", "cost "), ("", f"{short_text(verdict.cost_bits)} bits")]
        parts.append((9 if session.options.layer is COST else 6, cost))
    return parts


def _entropy(distribution: Distribution, scaled: Callable[[float], float] = lambda bits: bits) -> str:
    """An entropy, scaled: its two bounds, or one number where these are close."""
    wide = distribution.slack_bits >= NARROW_BITS
    return between(scaled(distribution.entropy_bits), scaled(distribution.most_bits), "{:.2f}".format, wide=wide)


def _choices(distribution: Distribution) -> Line:
    """2^H: how many equally likely tokens have this entropy."""

    def text(count: float) -> str:
        return f"{count:.1f}" if count < 100 else f"{count:,.0f}"

    wide = distribution.slack_bits >= NARROW_BITS
    count = between(2**distribution.entropy_bits, 2**distribution.most_bits, text, wide=wide)
    return [("class:dim", "2^H "), ("", count)]


def _rank_in_path(tip: Node, bits: float, ranking: Callable[[Node], Ranking], sign: str = "#") -> Line:
    """The rank of a value among those of a path, once all are known."""
    return [] if tip.logprob is None else [("class:dim", f" {sign}{ranking(tip).place(bits)}")]


def _input(session: Session, typing: TypingScreen, width: int) -> Line:
    """The line being typed, with its caret."""
    right: Line = []
    if isinstance(typing, Input) and _spaced_twice(session, typing):
        right = [("class:notice", "there is a space before it already ")]
    elif session.notice_line and cells_of(visible(session.notice_line)) < _cells_beside_input(typing, width):
        right = [("class:notice", visible(session.notice_line) + " ")]
    elif session.notice_line:
        right = []
    elif isinstance(typing, SearchScreen) and typing.rows is not None:
        fault = visible(typing.fault)
        right = [("class:notice", fault + " ")] if fault else [("class:dim", _count_found(typing))]
    elif isinstance(typing, Find):
        right = [("class:dim", _match_place(typing))]
    elif note := PANES[type(typing)].note(session):
        right = [("class:dim", note)]
    head = f" {PANES[type(typing)].label}: "
    right = [(style, clip(text, _cells_beside_input(typing, width))) for style, text in right]
    text, caret = typing.line.text, typing.line.caret
    room = max(10, width - len(head) - width_of(right) - 2)
    # Only the part of the text that can be in sight is looked at, however long the text is.
    start, end = max(0, caret - longest(room)), caret + 1 + longest(room)
    under, after = visible(text[caret : caret + 1]) or " ", clip(visible(text[caret + 1 : end]), room)
    before, under = under_caret(visible(text[start:caret]), under)
    before = clip_start(before, max(room * 2 // 3, room - cells_of(under + after)), more=start > 0)
    style = "class:selected" if typing.line.selected else "class:input"
    line: Line = [("class:label", head), (style, before), ("reverse", under), ("class:input", after)]
    return spread(line, right, width)


def _spaced_twice(session: Session, typing: Input) -> bool:
    """Whether the typed text begins with a space, and the path before it ends with one."""
    return typing.line.text.startswith(" ") and session.game.piece(typing.base.token).data.endswith(b" ")


def _count_found(searching: SearchScreen) -> str:
    """How many tokens were found; of a single one, whether it was found by its id."""
    text, query = searching.line.text, searching.line.text.strip()
    if query and text != query and not query.startswith('"'):
        return f"{searching.total} found; spaces count in quotes "
    if searching.total == 0:
        return "no token has this: Esc, then i, types it as several "
    if searching.total == 1 and searching.rows and query == str(searching.rows[0].token):
        return "1 found, by its id "
    return f"{searching.total} found "


def _match_place(finding: Find) -> str:
    """The number of the match under the cursor, and of all."""
    if finding.match:
        return f"{finding.match.nth} of {finding.match.total} "
    return "not in the prompt " if finding.query and not finding.line.selected else ""


def legend(layer: Layer, palette: Palette, cells: int = 16, *, least: bool = False) -> Line:
    """The layer's name and its scale. `least`: the values are lower bounds."""
    bounds: Line = [("class:label", " at least")] if least else []
    if layer.steps:
        last = len(layer.steps) - 1
        line: Line = [("class:label", f"{layer.name} ")]
        for index, name in enumerate(layer.steps):
            line += [(theme.shade(layer.name, index / last), f" {name} "), ("", " ")]
        return [*line[:-1], *bounds]
    if palette is Palette.MONOCHROME:
        # Bold does not show on a blank.
        samples = [
            (theme.shade(layer.name, (index + 0.5) / MONOCHROME_STEPS), "abc") for index in range(MONOCHROME_STEPS)
        ]
        return [("class:label", f"{layer.name} {layer.low} "), *samples, ("class:label", f" {layer.high}"), *bounds]
    shades = [(theme.shade(layer.name, (index + 0.5) / cells), " ") for index in range(cells)]
    return [("class:label", f"{layer.name} {layer.low} "), *shades, ("class:label", f" {layer.high}"), *bounds]


def footer(session: Session, width: int, rows: int = 1) -> list[Line]:
    """The most important keys of this screen, as many as fit into so many lines."""
    return [[("", " "), *line] for line in _footer(tuple(hints(session)), width - 2, rows)]


@lru_cache(maxsize=64)
def _footer(hints: tuple[tuple[int, str, str], ...], width: int, rows: int) -> list[Line]:
    parts: list[tuple[int, Line]] = [
        (importance, [("class:key", keys), ("class:label", f" {label}")]) for importance, keys, label in hints
    ]
    everything = sum(width_of(line) + 2 for _, line in parts)
    gap = "  " if everything <= width else " "
    while len(lines := _wrapped([line for _, line in parts], width, gap)) > rows:
        parts.remove(min(reversed(parts), key=lambda part: part[0]))
    return lines + [[] for _ in range(rows - len(lines))]


def _wrapped(parts: list[Line], width: int, gap: str) -> list[Line]:
    """The parts on as many lines as they need."""
    lines: list[Line] = []
    for part in parts:
        joined = [*lines[-1], ("", gap), *part] if lines else part
        if lines and width_of(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(part)
    return lines
