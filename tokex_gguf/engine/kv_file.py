"""KV cells and answers of a part of a path, as a file.

A head, the part's tokens, the answers at their positions, the logits after the last token, and the cells. Two checksums
cover the file: CRC-32 the cells, SHA-256 everything before them, including the CRC-32. So the answers can be verified
without reading the cells, which are a hundred times as large.

Numbers are in the machine's own byte order; `identity`, in the head, has everything else that they depend on. llama.cpp
accepts damaged cells, or aborts: it gets only cells whose checksum is right.
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
from tokex_gguf.values.distribution import Distribution, TokenLogprob

MAGIC = b"tokexkv\n"
VERSION = 2
MOST_BYTES = 1 << 28
"""The most bytes before the cells."""
_HEAD = struct.Struct("<8sIIIIIIIIQ32sI")
_DIGEST = 32
_ANSWER = struct.Struct("<dBxHidI")
_ROW = struct.Struct("<dB7x")
_CHUNK = 1 << 20
"""Bytes of one read or write."""


class UnusablePart(Exception):
    """A file that is damaged, cut off, or in another format. The message says which."""


class Foreign(UnusablePart):
    """A file of another user, model or version: it may be sound."""


class StoredAnswer(NamedTuple):
    """The model's answer after a path."""

    distribution: Distribution
    following: int
    """The token that `taken` is about; -1: none."""
    taken: TokenLogprob | None
    strict: bool
    """Whether the answer does not depend on what was decoded before."""

    def of(self, token: int) -> TokenLogprob | None:
        """Log-probability and rank of a token that comes next; None where they are not kept."""
        if self.taken is not None and self.following == token:
            return self.taken
        try:
            row = self.distribution.ids.index(token)  # with few candidates, as fast as building `rows`
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
    """Consecutive tokens of a path, and all that is kept of them but their cells."""

    start: int
    """The position of the first token."""
    tokens: list[int]
    strict: int
    """How many of the first tokens have cells that were computed strictly and in order."""
    answers: list[StoredAnswer]
    """At the first positions, up to the first gap."""
    row: RawRow | None
    """After the last token."""


def digest(tokens: Sequence[int]) -> bytes:
    """The SHA-256 of a path's first tokens: 32 bytes."""
    return hashlib.sha256(array("i", tokens).tobytes()).digest()


def write(file: BinaryIO, identity: str, parent: bytes, part: KvPart, cells: "memoryview | bytes") -> None:
    """Writes a part to an empty file. `parent`: the digest of the tokens before it. Raises OSError."""
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
    unwritten = memoryview(cells)
    while unwritten:
        file.write(unwritten[:_CHUNK])
        unwritten = unwritten[_CHUNK:]


class PartReader:
    """A part's file, open for reading. All but the cells is read and checked at once, the cells by `cells`."""

    def __init__(self, path: Path, identity: str) -> None:
        """Raises UnusablePart, and OSError where the file is missing or cannot be read."""
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
        """How many of the first tokens have cells that were computed strictly and in order."""
        self.answered: int = answers
        """How many of the first positions have answers."""
        self.parent: bytes = parent
        """The digest of the tokens before the first."""
        self.size: int = cells
        """Bytes of the cells; 0: none are kept."""
        self._checksum: int = checksum
        self._answers = memoryview(body)[at : at + answers_size]
        self._row = body[at + answers_size :]

    @property
    def end(self) -> int:
        """The position after the last token."""
        return self.start + len(self.tokens)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def answers(self) -> list[StoredAnswer]:
        """The answers at the first positions. Raises UnusablePart."""
        return _unpacked(self._answers, self.answered)

    def row(self) -> RawRow | None:
        """The logits after the last token, if they are kept. Raises UnusablePart."""
        return _unpacked_row(self._row)

    def cells(self, room: mmap | None = None) -> memoryview:
        """The cells, in `room` where it is large enough. Raises UnusablePart, OSError and MemoryError."""
        if room is None or len(room) < self.size + PAGE:
            room = pages(self.size + PAGE)
        # The same offset in a page as in the file: at another offset, copying takes five times as long.
        at = self._file.seek(-self.size, os.SEEK_END) % PAGE
        cells = unread = memoryview(room)[at : at + self.size]
        checksum = 0
        while unread:
            count = self._file.readinto(unread[:_CHUNK])
            if not count:
                raise UnusablePart("cut off")
            checksum = zlib.crc32(unread[:count], checksum)
            unread = unread[count:]
        if checksum != self._checksum:
            raise UnusablePart("the cells' checksum is not what it tells")
        return cells

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._file.read(count - len(data))
            if not more:
                raise UnusablePart("cut off")
            data += more
        return data


def model_of(path: Path) -> str:
    """The last line of a file's `identity`, which names the model; "" where it cannot be read. Checks no checksum."""
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
    """Opens a file that only this user can have written. Raises UnusablePart and OSError."""
    descriptor = os.open(path, os.O_RDONLY | REGULAR_ONLY)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not is_own(status):
        os.close(descriptor)
        raise Foreign("not a file that this user alone can write")
    return FileIO(descriptor, "rb")


def is_own(status: os.stat_result) -> bool:
    """Whether only this user can have written a file."""
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def _packed(answers: list[StoredAnswer]) -> bytes:
    parts: list[bytes] = []
    for distribution, following, taken, strict in answers:
        logprob, rank = (taken.logprob, taken.rank) if taken else (0.0, 0)
        taken_token = following if taken else -1
        parts.append(_ANSWER.pack(distribution.entropy_bits, strict, len(distribution), taken_token, logprob, rank))
        parts += (distribution.ids.tobytes(), distribution.logprobs.tobytes())
    return b"".join(parts)


def _unpacked(data: memoryview, count: int) -> list[StoredAnswer]:
    answers: list[StoredAnswer] = []
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
            taken = TokenLogprob(logprob, rank) if following >= 0 else None
            answers.append(StoredAnswer(Distribution(entropy, ids, logprobs), following, taken, bool(strict)))
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
