"""Checks a model before llama.cpp opens it: whether its file is sound, and fits into memory."""

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
    """The model cannot be used, for this reason."""


def prepare(path: Path, *, context: int, kv: str, rpc: str = "") -> Fit:
    """How to load a model. Reads its header, no weights. Raises UnusableModel.

    With RPC workers, memory is not checked here: the engine checks theirs.
    """
    file = ModelOnDisk(path.name, "", path)
    headers = Headers()
    try:
        header = headers.read(path)
        for part in file.parts[1:]:
            headers.read(part)
        headers.save()
        free, total = (0, 0) if rpc else machine.memory()
        return fit(header, context=context, kv=kv, free=free, total=total, weights=file.size)
    except TooLarge as error:
        raise UnusableModel(f"{path}: {_cause(total) or error}") from None
    except BadHeader as error:
        raise UnusableModel(f"{path}: {error}") from None
    except OSError as error:
        raise UnusableModel(f"{path}: cannot be read: {system_reason(error)}") from None


def memory_of(path: Path, *, cells: int, kv: str) -> int:
    """Bytes of memory that a model takes with so many KV cells. Reads its header. Raises UnusableModel."""
    headers = Headers()
    try:
        return needed(headers.read(path), cells=cells, kv=kv, weights=ModelOnDisk(path.name, "", path).size)
    except BadHeader as error:
        raise UnusableModel(f"{path}: {error}") from None
    except OSError as error:
        raise UnusableModel(f"{path}: cannot be read: {system_reason(error)}") from None


COMPARED_CELLS = 1024
"""KV cells for each of two compared models, at the least."""


def together(paths: Iterable[Path], *, kv: str, free: int) -> bool:
    """Whether memory has room for all these models at once; `free` 0: unknown, True."""
    return not free or sum(memory_of(path, cells=COMPARED_CELLS, kv=kv) for path in paths) <= free


def _cause(total: int) -> str:
    """What to do if `total` comes from the limit of address space; else ""."""
    space = address_space()
    if not space or total != max(1, space - ENGINE_BASE_BYTES):
        return ""
    return f"the limit of address space, {size_of(space)}, is too low for it: raise it with ulimit -v"
