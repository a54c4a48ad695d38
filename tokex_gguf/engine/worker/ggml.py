"""ggml's functions that llama_cpp has no names for: plug-ins, the build, and threads that stay.

They are called through the handle of llama.cpp's library: opened by its own path, ggml could be there twice.
Not on Windows, where a library's handle has its own functions only.
"""

import ctypes
import os
from pathlib import Path

AWAKE = 100
"""How long ggml's own threads wait awake for the next decode, in its measure."""


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


class _PoolParams(ctypes.Structure):
    """`ggml_threadpool_params`."""

    _fields_ = (
        ("cpumask", ctypes.c_bool * 512),
        ("n_threads", ctypes.c_int),
        ("prio", ctypes.c_int),
        ("poll", ctypes.c_uint32),
        ("strict_cpu", ctypes.c_bool),
        ("paused", ctypes.c_bool),
    )


def thread_pool(ggml: ctypes.CDLL, threads: int) -> ctypes.c_void_p:
    """Threads to decode with, for the process's life, which wait awake for a while after each decode.

    Only where ggml was built without OpenMP, which keeps threads itself. Without either, ggml starts
    threads for each decode and ends them after it.
    """
    params = _PoolParams()
    ggml.ggml_threadpool_params_init(ctypes.byref(params), threads)
    params.poll = AWAKE
    new = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(_of_cpu(ggml, b"ggml_threadpool_new").value or 0)
    return ctypes.c_void_p(new(ctypes.addressof(params)))


def attach(ggml: ctypes.CDLL, context: int, pool: ctypes.c_void_p) -> None:
    """Lets a context decode with a pool of threads."""
    ggml.llama_attach_threadpool(ctypes.c_void_p(context), pool, pool)
