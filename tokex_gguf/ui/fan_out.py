"""The answers that may follow a path: their coverage, and a line for each."""

import math
import re
from collections.abc import Sequence

from tokex_gguf.play.fan import Fan, FanLine, FanState, Unmatched, rows, selected
from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.rules.fan_out import shown
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line, bar, cells_of, choose, clip, fit, pad, width_of
from tokex_gguf.ui.window import listed, more
from tokex_gguf.values.fan_out import EMPTY, weakest
from tokex_gguf.values.formatting import counted, number
from tokex_gguf.values.grouping import FIRST_NUMBER
from tokex_gguf.values.lens import RAW
from tokex_gguf.values.stops import describe_stop
from tokex_gguf.values.tokens import glimpse, label, visible

BAR_CELLS = 8
"""Cells of a bar."""
WEAKEST_CELLS = 12
"""Cells of the weakest token's text."""
WEAKEST_NAMED_CELLS, WIDE_CELLS = 70, 100
"""Cells of the pane from which the weakest token is named, and from which there are bars."""
MOST_BYTES = 400
"""Bytes of an answer that are shown on its line, at the most."""


RAW_NUMBERS = (
    "these are the model's own numbers: samplers and constraint do not count here",
    "the model's own numbers, without samplers or constraint",
    "without samplers or constraint",
)


def raw_numbers_notice(session: Session, width: int) -> list[Line]:
    """Says that samplers and constraint do not affect the list; empty without them."""
    if session.lens is RAW:
        return []
    text = next((text for text in RAW_NUMBERS if len(text) < width), RAW_NUMBERS[-1])
    return [[("class:notice", f" {text}")]]


def _lines_above(session: Session) -> int:
    """Lines above the heading."""
    return 2 + (session.lens is not RAW)


def answer_entries(session: Session, height: int) -> Sequence[int]:
    """For each line below the first one, the index of its answer; -1 for other lines."""
    fan = shown(session)
    if fan is None:
        return ()
    above = _lines_above(session)
    return (*[-1] * above, *_rows_in_sight(fan, height - above))


def _rows_in_sight(fan: Fan, height: int) -> range:
    """The rows in sight, where list and heading have `height` lines."""
    return listed(selected(fan), len(rows(fan).lines), height - 1)


def answer_lines(session: Session, width: int, height: int) -> list[Line]:
    """The coverage, the state of the search, and the answers."""
    fan = shown(session)
    if fan is None:
        return []
    lines = [
        _coverage(session, fan, width),
        _state(session, fan, width),
        *raw_numbers_notice(session, width),
        _heading(fan, width),
    ]
    answers, chosen = rows(fan).lines, selected(fan)
    window = _rows_in_sight(fan, height - len(lines) + 1)
    lines += [_line(session, fan, answers[index], width, selected=index == chosen) for index in window]
    if not answers:
        lines.append([("class:dim", "   no answer was found yet")])
    return [fit(line, width) for line in [*lines, *more(window, len(answers) if fan.grouped else fan.out.answers)]]


def _coverage(session: Session, fan: Fan, width: int) -> Line:
    """How much of the probability was seen, in fewer words where room is short; and after which token."""
    depth, length = fan.out.base.depth, session.game.prompt.tip.depth
    inside: Line = [("class:dim", f" after token {depth:,} of {length:,}:")] if depth < length else []
    coverage = fan.out.coverage
    room = width - width_of(inside) - 1
    return [*inside, ("", f" {coverage.text if cells_of(coverage.text) <= room else coverage.short_text}")]


NO_ENGINE = "stopped: the engine is not there, Esc and r restart it"


def _state(session: Session, fan: Fan, width: int) -> Line:
    out, state = fan.out, fan.state
    answers = counted(out.answers, "answer")
    spent = f"{out.looked:,}/{fan.budget.tokens:,} tokens"
    if width >= WIDE_CELLS:
        spent += f", or until {100 * fan.budget.coverage:.4g} % is seen"
    state_text = f"stopped: {clip(fan.fault, 60)}" if state is FanState.FAULT else state.value
    style = "class:fault" if state is FanState.FAULT else "class:busy" if state is FanState.RUNNING else "class:dim"
    if state is FanState.RUNNING and session.game.engine is EngineStatus.DEAD:
        style, state_text = "class:fault", NO_ENGINE
    parts: list[tuple[int, Line]] = [
        (8, [("class:dim", f"until {clip(describe_stop(out.stop), 24)}")]),
        (7, [("class:dim", answers)]),
        (6, [("class:dim", spent)]),
        (9, [(style, clip(state_text, width - 1))]),
    ]
    return [("", " "), *choose(parts, width - 1)]


def _heading(fan: Fan, width: int) -> Line:
    weak = f" {'weakest':<{WEAKEST_CELLS + 8}}" if width >= WEAKEST_NAMED_CELLS else f" {'weakest':>7}"
    what = _grouped_heading(fan) if fan.grouped else "answer"
    # Paths that were not looked at may add to a probability.
    prob = "prob" if fan.out.exhausted and fan.out.coverage.cut <= 0 else "prob ≥"
    count = "answers" if fan.grouped else ""
    shape = f" {prob:>7} {' ' * BAR_CELLS if width >= WIDE_CELLS else ''} {'tokens':>6}{weak} {count:7}  {what}"
    return fit([("class:head", shape)], width)


def _grouped_heading(fan: Fan) -> str:
    what = "first number" if fan.pattern == FIRST_NUMBER else clip(visible(fan.pattern), 14)
    return f"{pad(what, 14)} likeliest answer"


def on_one_line(data: bytes) -> str:
    """A text on one line. Blanks are marked except between words, where they cannot be overlooked."""
    return re.sub("(?<=[^␣⏎])␣(?=[^␣⏎])", " ", label(data)) or EMPTY


def _line(session: Session, fan: Fan, row: FanLine, width: int, *, selected: bool) -> Line:
    style = "class:selected" if selected else ""
    answer, out = row.answer, fan.out
    token, logprob = weakest(answer, out.base)
    weakest_prob = number(math.exp(logprob))
    if width >= WEAKEST_NAMED_CELLS:
        name = clip(label(glimpse(session.game.piece(token).data)), WEAKEST_CELLS)
        weak = f" {pad(name, WEAKEST_CELLS)} {weakest_prob:>7}"
    else:
        weak = f" {weakest_prob:>7}"
    count = answer.best.before.depth - out.base.depth + 1
    paths = f"×{answer.paths:,}" if answer.paths > 1 else ""
    path_count = f"{row.size:,}" if fan.grouped else paths
    cells = BAR_CELLS if width >= WIDE_CELLS else 0
    text = on_one_line(answer.text[:MOST_BYTES])
    named: Line = [(style, text)]
    if fan.grouped and not isinstance(row.key, bytes):
        dim = f"class:dim {style}".strip()
        key = row.key.value if isinstance(row.key, Unmatched) else clip(visible(row.key), 20) or EMPTY
        named = [(f"class:taken {style}".strip(), pad(key, 14)), (dim, f" {text}")]
    parts: Line = [
        (style, f" {number(row.prob):>7} "),
        (f"class:bar {style}".strip(), bar(row.prob, cells)),
        (style, f" {count:>6}{weak} {path_count:>7}  "),
        *named,
    ]
    return fit(parts, width, style)
