"""Memory for much that is read at once."""

import mmap
from contextlib import suppress

PAGE = mmap.PAGESIZE


def pages(size: int) -> mmap.mmap:
    """So many bytes at the beginning of a page, in large pages where the system has them. Raises MemoryError.

    Of small ones, a system may take longer to give them than a program takes to fill them.
    """
    try:
        if not hasattr(mmap, "MAP_ANONYMOUS"):  # Windows
            return mmap.mmap(-1, size)
        found = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel may have none
            found.madvise(mmap.MADV_HUGEPAGE)
    return found
