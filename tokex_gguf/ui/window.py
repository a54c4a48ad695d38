"""Which entries of a list are shown, where not all fit. Pure."""


def window(selected: int, count: int, room: int) -> range:
    """The entries shown: `room` of them, or all if there are no more, with the selected one in the middle.

    At the list's ends no place is left free. Shown are always the selected entry and as many as fit:

    >>> window(0, 3, 5), window(2, 3, 3), window(5, 10, 4), window(9, 10, 4)
    (range(0, 3), range(0, 3), range(3, 7), range(6, 10))
    """
    first = max(0, min(selected - room // 2, count - room))
    return range(first, min(first + max(room, 0), count))
