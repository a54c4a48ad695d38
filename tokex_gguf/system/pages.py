"""Memory for large reads."""

import mmap
from contextlib import suppress

PAGE = mmap.PAGESIZE


def pages(size: int) -> mmap.mmap:
    """Page-aligned memory of so many bytes, in huge pages if the system has them. Raises MemoryError.

    Allocating small pages can take longer than filling them.
    """
    try:
        if not hasattr(mmap, "MAP_ANONYMOUS"):  # Windows
            return mmap.mmap(-1, size)
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel may have none
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
