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

from functools import lru_cache

from tokex_gguf.play.commands.registry import hints
from tokex_gguf.play.messages import PointedAtRow, PointedAtToken
from tokex_gguf.play.screens import Help, Play
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line, fit, fit_cached, width_of
from tokex_gguf.ui.help import help_pane
from tokex_gguf.ui.prompt_pane import PromptPane
from tokex_gguf.ui.screen_table import WIDE_CELLS, pane, shown
from tokex_gguf.ui.second_line import notice_overflow, second_line
from tokex_gguf.ui.status import AssistantTurns, header, status
from tokex_gguf.ui.table import table_lines, table_room
from tokex_gguf.values.record import replace

GREETING = (
    "↑ ↓ choose a token, → appends it, ← pops it",
    "d copies the prompt, w and s switch, e colours",
    "? has every key, ctrl+q quits and saves all",
)
"""Shown below the prompt until the first key."""
SMALLEST = (60, 16)
"""Columns and rows below which there is no room to play."""
TALL_ROWS = 24
"""Rows from which the keys have two lines."""


class ScreenRenderer:
    """Draws sessions. Its only state is a cache of layouts and sums."""

    def __init__(self) -> None:
        self._prompt = PromptPane()
        self._turns = AssistantTurns()

    def screen(self, session: Session, width: int, height: int) -> list[Line]:
        """Exactly `height` lines of exactly `width` cells."""
        if not _has_room(width, height):
            return _too_small(width, height)
        body = body_lines(height)
        if isinstance(session.screen, Help):
            lines = _filled(help_pane(session.screen, width, body), width, body)
        elif _keeps_table(session):
            lines = self._with_table(session, width, body)
        elif _is_side_by_side(session, width):
            lines = self._side_by_side(session, width, body)
        else:
            lines = self._stacked(session, width, body)
        state = status(session, width, self._turns)
        rows, further = _key_lines(height), notice_overflow(session, width, _key_lines(height))
        keys = [*further, *footer(session, width, max(0, rows - len(further)))]
        around = [header(session, width), state, second_line(session, width), *keys]
        top, *bottom = [fit_cached(tuple(line), width) for line in around]
        return [top, *lines[: body - _lines_lent(session, width, height)], *bottom]

    def hit(self, session: Session, width: int, height: int, x: int, y: int) -> PointedAtToken | PointedAtRow | None:
        """The token or row in a cell of the screen, as last drawn for this session and size."""
        body = body_lines(height)
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


def _row_at(session: Session, height: int, line: int) -> int:
    """The index of the row of the table or list on a line of its pane; -1 without one."""
    rows = pane(session).rows(session, height)
    return rows[line - 1] if 1 <= line <= len(rows) else -1


def _key_lines(height: int) -> int:
    """Lines for the keys."""
    return 2 if height >= TALL_ROWS else 1


def body_lines(height: int) -> int:
    """Lines between the header and the status, on a screen of so many rows."""
    return height - 3 - _key_lines(height)


def rows_of(width: int, height: int) -> int:
    """Rows of a table that a screen of this size has room for."""
    body = body_lines(height)
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


def _lines_lent(session: Session, width: int, height: int) -> int:
    """Lines above the status that the notice takes."""
    return max(0, len(notice_overflow(session, width, _key_lines(height))) - _key_lines(height))


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
