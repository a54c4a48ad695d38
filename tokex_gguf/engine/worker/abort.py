"""Ending a computation that nobody waits for any more."""

import ctypes
import os
from typing import Any

CALLBACK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)
"""What ggml calls `ggml_abort_callback`: from a pointer to whether the computation is to end."""


class Abort:
    """The wish to end what is being computed, in the form in which ggml asks for it.

    ggml asks before each step of a computation, some 500 times for one token, and a
    function in Python takes 2 to 4 per cent of a small model's time for that. So the
    function is one of C's own: `strlen`, of a text that is empty until the wish is there
    and one character long from then on. Its result is a whole word where a `bool` is
    looked for; 0 and 1 are the same in both.
    """

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(2)
        self.data = ctypes.cast(self._text, ctypes.c_void_p)
        """What ggml hands to `callback`."""
        self.callback: Any = _strlen() or CALLBACK(lambda _: self.asked)

    @property
    def asked(self) -> bool:
        """Whether the computation is to end. Any thread may change it."""
        return self._text.value != b""

    @asked.setter
    def asked(self, wish: bool) -> None:
        self._text[0] = b"\x01" if wish else b"\x00"


def _strlen() -> Any:
    """C's function; None where it is not to be had."""
    try:
        library = ctypes.CDLL("msvcrt" if os.name == "nt" else None)
        return ctypes.cast(library.strlen, CALLBACK)
    except (OSError, AttributeError, TypeError):
        return None
