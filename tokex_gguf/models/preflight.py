"""Before a model is given to llama.cpp: whether its file is sound, and whether it fits into memory."""

from collections.abc import Iterable
from pathlib import Path

from tokex_gguf.models.discovery import ModelOnDisk
from tokex_gguf.models.gguf.cache import Headers
from tokex_gguf.models.gguf.metadata import BadHeader
from tokex_gguf.models.memory import Fit, TooLarge, fit, needed
from tokex_gguf.system import machine
from tokex_gguf.system.limits import ENGINE_BASE_BYTES, address_space
from tokex_gguf.values.formatting import size_of, system_reason


class UnusableModel(Exception):
    """The file cannot be played; says why in one line."""


def prepare(path: Path, *, context: int, kv: str, rpc: str = "") -> Fit:
    """How to load a model. Reads its header, no weights. Raises Unusable.

    On RPC workers it takes next to no memory here; the engine, which connects to them, looks at theirs.
    """
    place = ModelOnDisk(path.name, "", path)
    headers = Headers()
    try:
        about = headers.read(path)
        for part in place.parts[1:]:
            headers.read(part)
        headers.save()
        free, total = (0, 0) if rpc else machine.memory()
        return fit(about, context=context, kv=kv, free=free, total=total, weights=place.size)
    except TooLarge as error:
        raise UnusableModel(f"{path}: {_cause(total) or error}") from None
    except BadHeader as error:
        raise UnusableModel(f"{path}: {error}") from None
    except OSError as error:
        raise UnusableModel(f"{path}: cannot be read: {system_reason(error)}") from None


def memory_of(path: Path, *, cells: int, kv: str) -> int:
    """Bytes of memory that a model takes with so many KV cells. Reads its header. Raises Unusable."""
    headers = Headers()
    try:
        return needed(headers.read(path), cells=cells, kv=kv, weights=ModelOnDisk(path.name, "", path).size)
    except BadHeader as error:
        raise UnusableModel(f"{path}: {error}") from None
    except OSError as error:
        raise UnusableModel(f"{path}: cannot be read: {system_reason(error)}") from None


COMPARED = 1024
"""KV cells for which there is to be room with each of two models that are compared."""


def together(paths: Iterable[Path], *, kv: str, free: int) -> bool:
    """Whether there is memory for models that are still to be loaded, all at once; `free` 0: unknown, all is well."""
    return not free or sum(memory_of(path, cells=COMPARED, kv=kv) for path in paths) <= free


def _cause(total: int) -> str:
    """What to do where it is the limit of address space that leaves `total` bytes; else nothing."""
    space = address_space()
    if not space or total != max(1, space - ENGINE_BASE_BYTES):
        return ""
    return f"the limit of address space, {size_of(space)}, is too low for it: raise it with ulimit -v"
