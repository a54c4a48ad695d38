"""How fast this machine is, for limits of time: a limit is of a machine, and tests run on others, too."""

import time

UNIT = 0.09
"""Seconds that the work below took where the limits were set."""
TRIES = 5


def _work() -> int:
    kept: dict[int, str] = {}
    total = 0
    for number in range(1_000_000):
        kept[number & 1023] = text = str(number)
        total += len(text)
    return total


def pace() -> float:
    """So many times longer this machine takes; at least 1. The median of some tries, by the clock on the wall."""
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        _work()
        times.append(time.perf_counter() - began)
    return max(1.0, sorted(times)[TRIES // 2] / UNIT)
