"""Moving the selection in a list."""

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
