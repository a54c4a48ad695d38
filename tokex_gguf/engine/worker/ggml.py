"""ggml's functions that llama_cpp does not bind: plug-ins, the build, thread pools, and RPC workers.

They are called through the handle of llama.cpp's library: opening ggml by its own path could load it twice. Not on
Windows, where a library's handle gives only its own functions.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

AWAKE = 100
"""How long ggml's own threads busy-wait for the next decode, in ggml's unit."""


def load_backends(ggml: ctypes.CDLL, folder: Path) -> bool:
    """Loads the backends, where they are plug-ins beside the library; returns whether they are.

    ggml chooses the best plug-in for this processor. Without this call, llama.cpp would load plug-ins
    from the current folder and run their code: so this comes before its other functions.
    """
    if ggml.ggml_backend_reg_count():
        return False
    ggml.ggml_backend_load_all_from_path(os.fsencode(folder))
    if not ggml.ggml_backend_reg_count():
        raise ImportError(f"no plug-in for this processor in {folder}")
    return True


def commit(ggml: ctypes.CDLL) -> str:
    """The commit of llama.cpp's sources at the build."""
    ggml.ggml_commit.restype = ctypes.c_char_p
    return str(ggml.ggml_commit().decode("utf-8", "replace"))


class _Symbol(ctypes.Structure):
    """`Dl_info` of the system's loader."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def cpu_library(ggml: ctypes.CDLL) -> Path:
    """The file of the CPU backend."""
    symbol = _Symbol()
    ctypes.CDLL(None).dladdr(_of_cpu(ggml, b"ggml_backend_get_features"), ctypes.byref(symbol))
    return Path(os.fsdecode(symbol.file))


def _backend(ggml: ctypes.CDLL, name: bytes) -> ctypes.c_void_p:
    """A backend by its name; a null pointer where it is not built in."""
    ggml.ggml_backend_reg_by_name.restype = ctypes.c_void_p
    return ctypes.c_void_p(ggml.ggml_backend_reg_by_name(name))


def _function(ggml: ctypes.CDLL, backend: bytes, name: bytes) -> ctypes.c_void_p:
    """The address of a backend's function, plug-in or not."""
    ggml.ggml_backend_reg_get_proc_address.restype = ctypes.c_void_p
    return ctypes.c_void_p(ggml.ggml_backend_reg_get_proc_address(_backend(ggml, backend), name))


def _of_cpu(ggml: ctypes.CDLL, name: bytes) -> ctypes.c_void_p:
    """The address of a function of the CPU backend."""
    return _function(ggml, b"CPU", name)


_GPU, _INTEGRATED_GPU = 1, 2


def has_gpu(ggml: ctypes.CDLL) -> bool:
    """Whether there is a graphics processor. Registered RPC workers count as such."""
    ggml.ggml_backend_dev_by_type.restype = ctypes.c_void_p
    return any(ggml.ggml_backend_dev_by_type(kind) for kind in (_GPU, _INTEGRATED_GPU))


def has_rpc(ggml: ctypes.CDLL) -> bool:
    """Whether models can be computed by RPC workers."""
    return bool(_backend(ggml, b"RPC").value)


class Device:
    """A registered device of an RPC worker: later models are loaded onto it."""

    def __init__(self, ggml: ctypes.CDLL, pointer: int) -> None:
        self._ggml = ggml
        self._pointer = ctypes.c_void_p(pointer)

    def memory(self) -> tuple[int, int]:
        """Free and total bytes, by a query to the worker. Waits without a time limit."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._ggml.ggml_backend_dev_memory(self._pointer, ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def hold(self) -> None:
        """Keeps the connection open for the process's life; without it, only during a computation."""
        self._ggml.ggml_backend_dev_init(self._pointer, None)


def add_worker(ggml: ctypes.CDLL, endpoint: str) -> list[Device]:
    """Registers an RPC worker, ADDRESS:PORT, and connects to it; returns its devices, if any.

    Waits without a time limit. If the worker is not available, ggml ends the process (see `on_abort`).
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
"""Must stay alive: ggml keeps only the address."""


def on_abort(ggml: ctypes.CDLL, handler: Callable[[str], None]) -> None:
    """Calls `handler` with ggml's message before ggml ends the process, on the thread where that happens."""
    callback = _ABORTED(lambda message: handler((message or b"").decode("utf-8", "replace")))
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
    """A thread pool for the process's life, whose threads busy-wait for a while after each decode.

    Only where ggml was built without OpenMP, which keeps its own threads. Without either, ggml starts
    and ends threads for each decode.
    """
    params = _PoolParams()
    ggml.ggml_threadpool_params_init(ctypes.byref(params), threads)
    params.poll = AWAKE
    new = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(_of_cpu(ggml, b"ggml_threadpool_new").value or 0)
    return ctypes.c_void_p(new(ctypes.addressof(params)))


def attach(ggml: ctypes.CDLL, context: int, pool: ctypes.c_void_p) -> None:
    """Makes a context decode with a thread pool."""
    ggml.llama_attach_threadpool(ctypes.c_void_p(context), pool, pool)
