"""ggml's functions that llama_cpp has no names for: plug-ins, the build, threads that stay, and RPC workers.

They are called through the handle of llama.cpp's library: opened by its own path, ggml could be there twice.
Not on Windows, where a library's handle has its own functions only.
"""

import ctypes
import os
from collections.abc import Callable
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


def _backend(ggml: ctypes.CDLL, name: bytes) -> ctypes.c_void_p:
    """What computes in one way, by its name; a null pointer where it is not built in."""
    ggml.ggml_backend_reg_by_name.restype = ctypes.c_void_p
    return ctypes.c_void_p(ggml.ggml_backend_reg_by_name(name))


def _function(ggml: ctypes.CDLL, backend: bytes, name: bytes) -> ctypes.c_void_p:
    """The address of a function of a library that computes, plug-in or not."""
    ggml.ggml_backend_reg_get_proc_address.restype = ctypes.c_void_p
    return ctypes.c_void_p(ggml.ggml_backend_reg_get_proc_address(_backend(ggml, backend), name))


def _of_cpu(ggml: ctypes.CDLL, name: bytes) -> ctypes.c_void_p:
    """The address of a function of the library that computes on the processor."""
    return _function(ggml, b"CPU", name)


_GPU, _INTEGRATED_GPU = 1, 2


def has_gpu(ggml: ctypes.CDLL) -> bool:
    """Whether there is a graphics processor to compute on. RPC workers that are registered count as such."""
    ggml.ggml_backend_dev_by_type.restype = ctypes.c_void_p
    return any(ggml.ggml_backend_dev_by_type(kind) for kind in (_GPU, _INTEGRATED_GPU))


def has_rpc(ggml: ctypes.CDLL) -> bool:
    """Whether models can be computed by RPC workers."""
    return bool(_backend(ggml, b"RPC").value)


class Device:
    """A device of an RPC worker, registered: models are loaded onto it from then on."""

    def __init__(self, ggml: ctypes.CDLL, pointer: int) -> None:
        self._ggml = ggml
        self._pointer = ctypes.c_void_p(pointer)

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and all: the worker is asked. Waits as long as it does not answer."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._ggml.ggml_backend_dev_memory(self._pointer, ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def hold(self) -> None:
        """Keeps the connection for the process's life; without it there is one as long as something is computed."""
        self._ggml.ggml_backend_dev_init(self._pointer, None)


def add_worker(ggml: ctypes.CDLL, endpoint: str) -> list[Device]:
    """Registers an RPC worker, ADDRESS:PORT, and connects to it; returns its devices, none where it has none.

    Waits as long as it does not answer. Where it cannot be had, ggml ends the process (see `on_abort`).
    """
    address = _function(ggml, b"RPC", b"ggml_backend_rpc_add_server").value or 0
    worker = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(address)(endpoint.encode())
    if not worker:
        return []
    registered = ctypes.c_void_p(worker)
    ggml.ggml_backend_register(registered)
    ggml.ggml_backend_reg_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_reg_dev_get.restype = ctypes.c_void_p
    count = ggml.ggml_backend_reg_dev_count(registered)
    return [Device(ggml, ggml.ggml_backend_reg_dev_get(registered, ctypes.c_size_t(index))) for index in range(count)]


_ABORTED = ctypes.CFUNCTYPE(None, ctypes.c_char_p)
_on_abort: list[object] = []
"""Kept for the process's life: ggml keeps only the address."""


def on_abort(ggml: ctypes.CDLL, told: Callable[[str], None]) -> None:
    """Calls a function with ggml's own words before ggml ends the process, from the thread in which that happens."""
    callback = _ABORTED(lambda message: told((message or b"").decode("utf-8", "replace")))
    _on_abort.append(callback)
    ggml.ggml_set_abort_callback(callback)


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
