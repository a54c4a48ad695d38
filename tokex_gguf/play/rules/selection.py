"""Moving the selection in a list, and leaving what was opened over it."""

from tokex_gguf.play.game import EngineStatus
from tokex_gguf.play.screens import PLAY, Screen
from tokex_gguf.play.session import Session

NO_LINE = "no line has this text"


def moved(before: int, target: int, count: int, *, what: str = "line", empty: str = NO_LINE) -> int | str:
    """The row to select: `target`, or the nearest one of `count` rows; a line saying why, where the selection stays.

    `what`: what a row is; `empty`: said where there are no rows.
    """
    if not count:
        return empty
    row = max(0, min(count - 1, target))
    if row == before and target != row:
        return f"this is the {'first' if target < row else 'last'} {what}"
    return row


def or_play(session: Session, screen: Screen) -> Screen:
    """A list to go back to; the table where the engine is gone, which closes every list."""
    return PLAY if session.game.engine is EngineStatus.DEAD else screen
