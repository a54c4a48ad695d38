"""Calls functions that recurse deeply, on a thread with a large stack."""

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

MOST_STACK = 2**30 if sys.maxsize > 2**32 else 2**26
"""The most bytes of a stack. Only the used part takes memory."""
_SMALLEST = 2**20
_PAGE = 2**16


class NoStack(Exception):
    """The system refuses a thread with such a stack."""


def call(function: Callable[[], Result], stack: int) -> Result:
    """Calls a function on a new thread with a stack of `stack` bytes; returns its result or raises its error.

    Raises NoStack. The stack is freed afterwards.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    before = threading.stack_size()
    try:
        threading.stack_size(max(_SMALLEST, -(-stack // _PAGE) * _PAGE))
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
    except (ValueError, RuntimeError, MemoryError, OverflowError) as error:
        raise NoStack(str(error)) from None
    finally:
        threading.stack_size(before)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
