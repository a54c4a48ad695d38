"""ggml's functions that llama_cpp has no names for: plug-ins and the build.

They are called through the handle of llama.cpp's library: opened by its own path, ggml could be there twice.
Not on Windows, where a library's handle has its own functions only.
"""

import ctypes
import os
from pathlib import Path


def load_backends(ggml: ctypes.CDLL, folder: Path) -> bool:
    """Loads what computes, where that is not part of the library but lies beside it; returns whether it does.

    ggml takes the plug-in that makes the most of this processor. Left to itself, llama.cpp looks for
    plug-ins in the current folder, and runs what lies there: so this comes before its other functions.
    """
    if ggml.ggml_backend_reg_count():
        return False
    ggml.ggml_backend_load_all_from_path(os.fsencode(folder))
    if not ggml.ggml_backend_reg_count():
        raise ImportError(f"no plug-in for this processor in {folder}")
    return True


def commit(ggml: ctypes.CDLL) -> str:
    """The commit of llama.cpp's sources, as the build saw it."""
    ggml.ggml_commit.restype = ctypes.c_char_p
    return str(ggml.ggml_commit().decode("utf-8", "replace"))


class _Symbol(ctypes.Structure):
    """`Dl_info`: what the system's loader knows of an address."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def cpu_library(ggml: ctypes.CDLL) -> Path:
    """The file that computes on the processor."""
    symbol = _Symbol()
    ctypes.CDLL(None).dladdr(_of_cpu(ggml, b"ggml_backend_get_features"), ctypes.byref(symbol))
    return Path(os.fsdecode(symbol.file))


def _of_cpu(ggml: ctypes.CDLL, name: bytes) -> ctypes.c_void_p:
    """The address of a function of the library that computes on the processor, plug-in or not."""
    ggml.ggml_backend_reg_by_name.restype = ggml.ggml_backend_reg_get_proc_address.restype = ctypes.c_void_p
    cpu = ctypes.c_void_p(ggml.ggml_backend_reg_by_name(b"CPU"))
    return ctypes.c_void_p(ggml.ggml_backend_reg_get_proc_address(cpu, name))
