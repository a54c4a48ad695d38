"""Files with rows of logits, from one engine to another.

A header, the rows' log-sum-exps in float64, and the rows in float32. The header is written last: a file without it is
incomplete. Only an existing regular file is written or read.
"""

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO

import numpy as np

from tokex_gguf.engine.worker.llama import ModelError
from tokex_gguf.engine.worker.logits_cache import LogitsRow
from tokex_gguf.system.files import REGULAR_ONLY

_HEADER = struct.Struct("<8sIIII")
_MAGIC = b"tokexrow"
_VERSION = 1
_SUM, _LOGIT = np.dtype("<f8"), np.dtype("<f4")


class Writer:
    """Writes rows to a file."""

    def __init__(self, file: FileIO, path: str, size: int, start: int, end: int) -> None:
        self._file = file
        self._path = path
        self._place = size, start, end
        self._sums: list[float] = []

    def add(self, rows: list[LogitsRow]) -> None:
        """Writes the next rows. Raises ModelError."""
        size, start, end = self._place
        before = _HEADER.size + _SUM.itemsize * (end - start)
        for row in rows:
            self._put(
                before + len(self._sums) * size * _LOGIT.itemsize, row.logits.astype(_LOGIT, copy=False).tobytes()
            )
            self._sums.append(row.log_sum)

    def finish(self) -> None:
        """Writes the sums and the header, which complete the file. Raises ModelError."""
        self._put(_HEADER.size, np.array(self._sums, _SUM).tobytes())
        self._put(0, _HEADER.pack(_MAGIC, _VERSION, *self._place))

    def _put(self, at: int, data: bytes) -> None:
        unwritten = memoryview(data)
        try:
            self._file.seek(at)
            while unwritten:  # a system may write a part, and report an error at the next one
                unwritten = unwritten[self._file.write(unwritten) :]
        except OSError as error:
            raise _cannot("written", self._path, error) from None


@contextmanager
def writing(path: str, size: int, start: int, end: int) -> Iterator[Writer]:
    """Writes rows of `size` logits for the positions `start` to before `end`. Raises ModelError.

    An incomplete file is emptied again.
    """
    with _opened(path, os.O_RDWR, "r+b") as file:
        try:
            file.truncate(0)
            writer = Writer(file, path, size, start, end)
            yield writer
            writer.finish()
        except BaseException:
            with suppress(OSError):
                file.truncate(0)
            raise


class RowsReader:
    """Reads rows from a file, one after the other."""

    def __init__(self, file: FileIO, path: str, size: int, start: int, end: int) -> None:
        self._file = file
        self._path = path
        self._size = size
        count = end - start
        held = self._read(_HEADER.size)
        if held[:8] != _MAGIC:
            raise ModelError(f"{path}: no rows of another model, or they are not finished")
        _, version, its_size, its_start, its_end = _HEADER.unpack(held)
        if version != _VERSION:
            raise ModelError(f"{path}: rows in the form of another version of this program")
        if its_size != size:
            raise ModelError(f"the other model has {its_size:,} tokens in its vocabulary, this one {size:,}")
        if (its_start, its_end) != (start, end):
            raise ModelError(f"{path}: rows of the positions {its_start} to {its_end}, not {start} to {end}")
        whole = _HEADER.size + count * (_SUM.itemsize + size * _LOGIT.itemsize)
        if (there := os.fstat(file.fileno()).st_size) != whole:
            raise ModelError(f"{path}: {there:,} bytes of rows, where {whole:,} are due")
        self._sums = np.frombuffer(self._read(count * _SUM.itemsize), _SUM)
        if not np.isfinite(self._sums).all():
            raise ModelError(f"{path}: rows that are no numbers")
        self._next = 0

    def row(self) -> LogitsRow:
        """The next row."""
        logits = np.frombuffer(self._read(self._size * _LOGIT.itemsize), _LOGIT).astype(np.float32, copy=False)
        if np.isnan(logits).any():
            raise ModelError(f"{self._path}: rows that are no numbers")
        self._next += 1
        return LogitsRow(logits, float(self._sums[self._next - 1]), True)

    def _read(self, count: int) -> bytes:
        try:
            data = self._file.read(count)
        except OSError as error:
            raise _cannot("read", self._path, error) from None
        if len(data) < count:
            raise ModelError(f"{self._path}: the rows end too early")
        return data


@contextmanager
def reading(path: str, size: int, start: int, end: int) -> Iterator[RowsReader]:
    """Reads the rows that `writing` wrote for the same positions. Raises ModelError for any other content."""
    with _opened(path, os.O_RDONLY, "rb") as file:
        yield RowsReader(file, path, size, start, end)


@contextmanager
def _opened(path: str, flags: int, mode: str) -> Iterator[FileIO]:
    done = "read" if mode == "rb" else "written"
    try:
        descriptor = os.open(path, flags | REGULAR_ONLY)
    except (OSError, ValueError) as error:
        raise _cannot(done, path, error) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelError(f"{path}: cannot be {done}: no regular file")
    with FileIO(descriptor, mode) as file:
        yield file


def _cannot(what: str, path: str, error: OSError | ValueError) -> ModelError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return ModelError(f"{path}: cannot be {what}: {why}")
