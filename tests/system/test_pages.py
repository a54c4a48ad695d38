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


def test_memory_that_there_is_not_is_told() -> None:
    with pytest.raises(MemoryError):
        pages(1 << 60)
