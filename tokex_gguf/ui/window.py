"""Which entries of a list are in sight, and how many are not. Pure."""

from tokex_gguf.ui.cells import Line


def window(selected: int, count: int, room: int) -> range:
    """The entries in sight: `room` of them, or all if there are fewer, with the selected one in the middle.

    At the list's ends no line stays empty:

    >>> window(0, 3, 5), window(2, 3, 3), window(5, 10, 4), window(9, 10, 4)
    (range(0, 3), range(0, 3), range(3, 7), range(6, 10))
    """
    first = max(0, min(selected - room // 2, count - room))
    return range(first, min(first + max(room, 0), count))


def listed(selected: int, count: int, room: int) -> range:
    """The entries of a list that has `room` lines: where not all fit, the last one is for `more`.

    >>> listed(0, 5, 5), listed(0, 6, 5)
    (range(0, 5), range(0, 4))
    """
    return window(selected, count, room if count <= room else room - 1) if count else range(0)


def more(shown: range, count: int) -> list[Line]:
    """The line below a list's entries that says how many there are above and below; none where all are shown.

    >>> more(range(3, 7), 10), more(range(0, 3), 3)
    ([[('class:dim', '   ↑ 3 more  ↓ 3 more')]], [])
    """
    above, below = shown.start, count - shown.stop
    parts = [f"{arrow} {number:,} more" for arrow, number in (("↑", above), ("↓", below)) if number > 0]
    return [[("class:dim", "   " + "  ".join(parts))]] if parts else []
