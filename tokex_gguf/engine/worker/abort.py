"""Interrupting a computation of ggml."""

import ctypes
import os
from typing import Any

CALLBACK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)
"""`ggml_abort_callback`: from a pointer to whether the computation is to end."""


class Abort:
    """A flag that interrupts a computation, in the form of ggml's abort callback.

    ggml calls it before each step of a computation, some 500 times for one token; a
    Python function would take 2 to 4 per cent of a small model's time. So the callback
    is C's `strlen`, of a text that is empty until the flag is set and then has one
    character. Its result is a whole word where a `bool` is expected; 0 and 1 are the
    same in both.
    """

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(2)
        self.data = ctypes.cast(self._text, ctypes.c_void_p)
        """The argument of `callback`."""
        self.callback: Any = _strlen() or CALLBACK(lambda _: self.asked)

    @property
    def asked(self) -> bool:
        """Whether the computation is to end. Any thread may set it."""
        return self._text.value != b""

    @asked.setter
    def asked(self, wish: bool) -> None:
        self._text[0] = b"\x01" if wish else b"\x00"


def _strlen() -> Any:
    """C's `strlen`; None where it is not available."""
    try:
        library = ctypes.CDLL("msvcrt" if os.name == "nt" else None)
        return ctypes.cast(library.strlen, CALLBACK)
    except (OSError, AttributeError, TypeError):
        return None
