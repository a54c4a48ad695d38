"""KV cells and answers of a part of a path, as a file.

A head, the part's tokens, the answers at their positions, the logits behind the last of them, and the cells. Two
checksums cover all of it: CRC-32 the cells, SHA-256 all that stands before them, the first checksum included. So what
comes first, the answers, can be believed without reading the cells, which are a hundred times as large.

Numbers are in the machine's own order of bytes: what else they depend on is told in the head as well (`identity`).
llama.cpp takes damaged cells for sound ones, or aborts: nothing reaches it that was not checked.
"""

import hashlib
import os
import stat
import struct
import zlib
from array import array
from collections.abc import Sequence
from io import FileIO
from mmap import mmap
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tokex_gguf.system.files import REGULAR_ONLY
from tokex_gguf.system.pages import PAGE, pages
from tokex_gguf.values.distribution import Distribution, Taken

MAGIC = b"tokexkv\n"
VERSION = 2
MOST_BYTES = 1 << 28
"""Bytes of what stands before the cells, at the most."""
_HEAD = struct.Struct("<8sIIIIIIIIQ32sI")
_DIGEST = 32
_ANSWER = struct.Struct("<dBxHidI")
_ROW = struct.Struct("<dB7x")
_PIECE = 1 << 20
"""Bytes that are read or written at once."""


class UnusablePart(Exception):
    """A file that is damaged, cut off, or of another form. The message says which."""


class Foreign(UnusablePart):
    """A file that is somebody else's, or of another model: it may be sound."""


class KeptAnswer(NamedTuple):
    """What the model said after a path."""

    distribution: Distribution
    following: int
    """The token that `taken` is about; -1: none."""
    taken: Taken | None
    strict: bool
    """Whether it is the same whatever was decoded before."""

    def of(self, token: int) -> Taken | None:
        """What it said of a token that comes next; None where that is not kept."""
        if self.taken is not None and self.following == token:
            return self.taken
        try:
            row = self.distribution.ids.index(token)  # of few it is found as soon as by `rows`, which is made first
        except ValueError:
            return None
        return self.distribution.candidate(row).taken


class RawRow(NamedTuple):
    """The logits after a path."""

    logits: bytes
    """Float32."""
    log_sum: float
    strict: bool


class KvPart(NamedTuple):
    """Consecutive tokens of a path, and what is kept of them beside their cells."""

    start: int
    """The position of the first."""
    tokens: list[int]
    strict: int
    """How many of them, from the first on, have cells that were computed strictly and in order."""
    answers: list[KeptAnswer]
    """At the first positions, as far as they are known without a gap."""
    row: RawRow | None
    """Behind the last token."""


def digest(tokens: Sequence[int]) -> bytes:
    """What tells a beginning of a path from others: 32 bytes."""
    return hashlib.sha256(array("i", tokens).tobytes()).digest()


def write(file: BinaryIO, identity: str, parent: bytes, part: KvPart, cells: "memoryview | bytes") -> None:
    """Writes a part, its file being empty. `parent`: the digest of the tokens before it. Raises OSError."""
    about = identity.encode()
    body = [about, array("i", part.tokens).tobytes(), answers := _packed(part.answers), row := _packed_row(part.row)]
    head = _HEAD.pack(
        MAGIC,
        VERSION,
        len(about),
        part.start,
        len(part.tokens),
        part.strict,
        len(part.answers),
        len(answers),
        len(row),
        len(cells),
        parent,
        zlib.crc32(cells),
    )
    before = b"".join([head, *body])
    file.write(before + hashlib.sha256(before).digest())
    left = memoryview(cells)
    while left:
        file.write(left[:_PIECE])
        left = left[_PIECE:]


class PartReader:
    """A file of a part, open for reading: what stands before the cells is read and checked, the cells when asked."""

    def __init__(self, path: Path, identity: str) -> None:
        """Raises Unusable, and OSError where there is no such file or it cannot be read."""
        self._file = _opened(path)
        try:
            head = self._read(_HEAD.size)
            (magic, version, about, start, count, strict, answers, answers_size, row, cells, parent, checksum) = (
                _HEAD.unpack(head)
            )
            if magic != MAGIC:
                raise UnusablePart("no file of this program")
            if version != VERSION:
                raise Foreign("the form of another version of this program")
            size = about + 4 * count + answers_size + row
            if size > MOST_BYTES or os.fstat(self._file.fileno()).st_size != _HEAD.size + size + _DIGEST + cells:
                raise UnusablePart("not of the size that it tells")
            body = self._read(size)
            if self._read(_DIGEST) != hashlib.sha256(head + body).digest():
                raise UnusablePart("its checksum is not what it tells")
            if body[:about] != identity.encode():
                raise Foreign("of another model, or computed in another way")
            if not count > 0 or strict > count or answers > count:
                raise UnusablePart("it makes no sense")
        except BaseException:
            self._file.close()
            raise
        at = about + 4 * count
        self.start: int = start
        """The position of the first token."""
        self.tokens = array("i", body[about:at]).tolist()
        self.strict: int = strict
        """How many of them, from the first on, have cells that were computed strictly and in order."""
        self.answered: int = answers
        """At how many positions, from the first on, there are answers."""
        self.parent: bytes = parent
        """The digest of the tokens before the first."""
        self.size: int = cells
        """Bytes of the cells; 0: none are kept."""
        self._checksum: int = checksum
        self._answers = memoryview(body)[at : at + answers_size]
        self._row = body[at + answers_size :]

    @property
    def end(self) -> int:
        """The position behind the last token."""
        return self.start + len(self.tokens)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def answers(self) -> list[KeptAnswer]:
        """The answers at the first positions. Raises Unusable."""
        return _unpacked(self._answers, self.answered)

    def row(self) -> RawRow | None:
        """The logits behind the last token, if they are kept. Raises Unusable."""
        return _unpacked_row(self._row)

    def cells(self, room: mmap | None = None) -> memoryview:
        """The cells, in `room` where that is large enough. Raises Unusable, OSError and MemoryError."""
        if room is None or len(room) < self.size + PAGE:
            room = pages(self.size + PAGE)
        # Where it is in a page of the file: a few bytes behind that, copying takes five times as long.
        at = self._file.seek(-self.size, os.SEEK_END) % PAGE
        found = left = memoryview(room)[at : at + self.size]
        checksum = 0
        while left:
            count = self._file.readinto(left[:_PIECE])
            if not count:
                raise UnusablePart("cut off")
            checksum = zlib.crc32(left[:count], checksum)
            left = left[count:]
        if checksum != self._checksum:
            raise UnusablePart("the cells' checksum is not what it tells")
        return found

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._file.read(count - len(data))
            if not more:
                raise UnusablePart("cut off")
            data += more
        return data


def model_of(path: Path) -> str:
    """The last line of a file's `identity`, which names the model; "" where it cannot be read. Nothing is checked."""
    try:
        with _opened(path) as file:
            head = file.read(_HEAD.size + 4096)
    except (OSError, UnusablePart):
        return ""
    if len(head) < _HEAD.size or head[: len(MAGIC)] != MAGIC:
        return ""
    about = head[_HEAD.size :][: _HEAD.unpack_from(head)[2]]
    return about.decode("utf-8", "replace").rpartition("\n")[2]


def _opened(path: Path) -> FileIO:
    """A file that this user alone can have written. Raises Unusable and OSError."""
    descriptor = os.open(path, os.O_RDONLY | REGULAR_ONLY)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not is_own(status):
        os.close(descriptor)
        raise Foreign("not a file that this user alone can write")
    return FileIO(descriptor, "rb")


def is_own(status: os.stat_result) -> bool:
    """Whether this user alone can have written a file."""
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def _packed(answers: list[KeptAnswer]) -> bytes:
    parts: list[bytes] = []
    for distribution, following, taken, strict in answers:
        logprob, rank = (taken.logprob, taken.rank) if taken else (0.0, 0)
        told = following if taken else -1
        parts.append(_ANSWER.pack(distribution.entropy_bits, strict, len(distribution), told, logprob, rank))
        parts += (distribution.ids.tobytes(), distribution.logprobs.tobytes())
    return b"".join(parts)


def _unpacked(data: memoryview, count: int) -> list[KeptAnswer]:
    answers: list[KeptAnswer] = []
    at = 0
    try:
        for _ in range(count):
            entropy, strict, size, following, logprob, rank = _ANSWER.unpack_from(data, at)
            at += _ANSWER.size
            ids, logprobs = array("i", bytes(data[at : at + 4 * size])), array("d")
            logprobs.frombytes(data[at + 4 * size : at + 12 * size])
            at += 12 * size
            if len(ids) != size or len(logprobs) != size:
                raise UnusablePart("it makes no sense")
            taken = Taken(logprob, rank) if following >= 0 else None
            answers.append(KeptAnswer(Distribution(entropy, ids, logprobs), following, taken, bool(strict)))
    except (struct.error, ValueError):
        raise UnusablePart("it makes no sense") from None
    return answers


def _packed_row(row: RawRow | None) -> bytes:
    return b"" if row is None else _ROW.pack(row.log_sum, row.strict) + row.logits


def _unpacked_row(data: bytes) -> RawRow | None:
    if not data:
        return None
    if len(data) < _ROW.size:
        raise UnusablePart("it makes no sense")
    log_sum, strict = _ROW.unpack_from(data)
    return RawRow(data[_ROW.size :], log_sum, bool(strict))
