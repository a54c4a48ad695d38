"""Memory for much that is read at once, where a system has this or that."""

import ctypes
import mmap

import pytest

from tokex_gguf.system.pages import PAGE, pages


@pytest.mark.parametrize("lacking", [[], ["MADV_HUGEPAGE"], ["MADV_HUGEPAGE", "MAP_ANONYMOUS"]])
def test_it_begins_with_a_page_and_can_be_written(lacking: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in lacking:
        monkeypatch.delattr(mmap, name, raising=False)
    room = pages(3 * PAGE + 5)
    assert len(room) == 3 * PAGE + 5
    assert room[:] == bytes(len(room))
    room[-1] = 7
    assert room[-1] == 7
    first = ctypes.c_char.from_buffer(room)
    assert ctypes.addressof(first) % PAGE == 0


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="there is no such advice here")
def test_a_kernel_without_large_pages_gives_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 12345)
    with pytest.raises(OSError, match="Invalid argument"):
        mmap.mmap(-1, PAGE).madvise(12345)
    assert len(pages(PAGE)) == PAGE


def test_memory_that_there_is_not_is_told() -> None:
    with pytest.raises(MemoryError):
        pages(1 << 60)
