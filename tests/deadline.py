"""A deadline for what would hang for ever where a program is broken. By it no test judges how long something takes."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HANGS = 60.0
"""Seconds after which work hangs, on any machine."""


def ended(work: Callable[[], T]) -> T:
    """What work gives, or raises, that a thread of its own does. Raises TimeoutError where it hangs."""
    done: queue.SimpleQueue[tuple[list[T], list[BaseException]]] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put(([work()], []))
        except BaseException as error:
            done.put(([], [error]))

    threading.Thread(target=run, daemon=True).start()
    try:
        given, raised = done.get(timeout=HANGS)
    except queue.Empty:
        raise TimeoutError("it hangs") from None
    if raised:
        raise raised[0]
    return given[0]
