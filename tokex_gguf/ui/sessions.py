"""The list of sessions."""

from tokex_gguf.play.screens import Sessions
from tokex_gguf.play.session import Session
from tokex_gguf.ui.cells import Line, cells_of, clip, fit, pad
from tokex_gguf.ui.lists import NAME_CELLS
from tokex_gguf.ui.window import listed, more
from tokex_gguf.values.formatting import counted
from tokex_gguf.values.session_entry import PlayedBy, SessionEntry

MARKS = {PlayedBy.NOBODY: " ", PlayedBy.HERE: "›", PlayedBy.ELSEWHERE: "*"}
MODEL_CELLS = ((100, 24), (76, 14), (0, 0))
"""From so many columns on, a model's name has so many cells."""


def session_entries(session: Session, height: int) -> range:
    """The sessions in sight, where list and heading have `height` lines."""
    screen = _sessions_screen(session)
    return listed(min(screen.row, len(screen.found) - 1), len(screen.found), height - 1)


def session_lines(session: Session, width: int, height: int) -> list[Line]:
    """The sessions that match the typed text: the beginning of each, when it was saved, and its sizes."""
    screen = _sessions_screen(session)
    found = screen.found
    model = next(cells for columns, cells in MODEL_CELLS if width >= columns)
    figures = f"  {'saved':<12} {'prompts':>7} {'tokens':>6} {'visited':>7}  {pad('model', model)} "
    room = width - 3 - len(figures)
    title = next(name for name in ("sessions, the latest first", "latest first", "") if cells_of(name) <= max(0, room))
    lines: list[Line] = [fit([("class:head", f"   {pad(title, room)}{figures}")], width)]
    if not found:
        lines.append([("class:dim", f"   {screen.nothing_found}")])
    shown = session_entries(session, height)
    for index in shown:
        style = "class:selected" if index == screen.row else ""
        entry = found[index]
        lines.append(_row(entry, room, model, style, width))
    return [*lines, *more(shown, len(found))]


def _sessions_screen(session: Session) -> Sessions:
    screen = session.on(Sessions)
    assert screen is not None
    return screen


def _row(entry: SessionEntry, room: int, model: int, style: str, width: int) -> Line:
    mark = f" {MARKS[entry.held]} "
    name = f"{clip(entry.called, NAME_CELLS)}  " if entry.called else ""
    if entry.fault:
        parts: Line = [("", mark), ("class:taken", name), ("class:dim", f"cannot be read: {entry.fault}")]
    else:
        figures = f"{entry.prompts:>7} {entry.tokens:>6} {entry.visited or '':>7}"
        columns = f"  {pad(entry.when, 12)} {figures}  {pad(entry.model, model)} "
        text = pad(entry.text, room - cells_of(name))
        parts = [("", mark), ("class:taken", name), ("", text), ("", columns)]
    return fit([(f"{own} {style}".strip(), text) for own, text in parts], width, style)


def match_note(session: Session) -> str:
    """How many sessions match the typed text."""
    screen = _sessions_screen(session)
    return "" if screen.entries is None else f"{counted(len(screen.found), 'session')} "
