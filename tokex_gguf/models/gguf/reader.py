"""The structure of a GGUF file: its keys and its tensors, read and nothing believed.

Sizes, counts, types and places are checked; what the values mean is not known here.
"""

import os
import struct
from io import FileIO
from pathlib import Path
from typing import NamedTuple

MOST_BYTES = 64 << 20
"""Bytes of header that are read at most: several times the largest known. This bounds all work and memory."""
CHUNK = 1 << 17
"""Bytes that are read at once."""
MOST_KEYS = 1 << 16
MOST_TENSORS = 1 << 18
LONGEST_NAME = 63
"""Bytes of a tensor's name: GGML_MAX_NAME less the final zero."""

STRING, ARRAY = 8, 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Types of values that are numbers, and how struct calls them."""
INTEGERS = frozenset({0, 1, 2, 3, 4, 5, 10, 11})
UINT32, INT32, FLOAT32 = 4, 5, 6

OLD_MAGICS = {b"tjgg": "GGJT", b"fmgg": "GGMF", b"lmgg": "GGML", b"algg": "GGLA"}

TENSOR_TYPES = dict(
    [
        *[(0, (1, 4)), (1, (1, 2)), (24, (1, 1)), (25, (1, 2)), (26, (1, 4)), (27, (1, 8)), (28, (1, 8)), (30, (1, 2))],
        *[(2, (32, 18)), (3, (32, 20)), (6, (32, 22)), (7, (32, 24)), (8, (32, 34)), (9, (32, 36))],  # Q4_0 to Q8_1
        *[(10, (256, 84)), (11, (256, 110)), (12, (256, 144)), (13, (256, 176)), (14, (256, 210))],  # Q2_K to Q6_K
        *[(15, (256, 292)), (16, (256, 66)), (17, (256, 74)), (18, (256, 98))],  # Q8_K, IQ2_XXS, IQ2_XS, IQ3_XXS
        *[(19, (256, 50)), (20, (32, 18)), (21, (256, 110)), (22, (256, 82))],  # IQ1_S, IQ4_NL, IQ3_S, IQ2_S
        *[(23, (256, 136)), (29, (256, 56)), (34, (256, 54)), (35, (256, 66))],  # IQ4_XS, IQ1_M, TQ1_0, TQ2_0
        *[(39, (32, 17)), (40, (64, 36)), (41, (128, 18)), (42, (64, 18))],  # MXFP4, NVFP4, Q1_0, Q2_0
    ]
)
"""ggml_type to a block's elements and bytes."""

REPACKED = frozenset({2, 10, 12, 20})
"""Those whose weights ggml rearranges for faster kernels, into a copy: Q4_0, Q2_K, Q4_K, IQ4_NL."""

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_ARRAY = struct.Struct("<IQ")


class BadHeader(Exception):
    """The file is damaged or no model: one line that says why, without the file's path."""


def follow(path: Path) -> "Contents":
    """Reads a file's structure. Raises BadHeader or OSError."""
    with path.open("rb", buffering=0) as file:
        return _follow(_Source(file))


# --- bytes


class _Source:
    """A file's beginning, read only as far as it is asked for.

    Not mapped into memory: a mapped file that somebody truncates kills the process.
    """

    def __init__(self, file: FileIO) -> None:
        self.size = os.fstat(file.fileno()).st_size
        self.data = bytearray()
        self._file = file

    def need(self, end: int, what: str) -> bytearray:
        """The bytes from the file's start to `end` at least."""
        if end > len(self.data):
            if end > self.size:
                raise BadHeader(f"the file ends inside {what}: {end - self.size:,} bytes are missing")
            if end > MOST_BYTES:
                raise BadHeader(f"{what} reaches beyond {MOST_BYTES >> 20} MiB: no model has a header that long")
            # In small chunks: their memory is used again, where a large one's is new and slow at first.
            while len(self.data) < end and (more := self._file.read(CHUNK)):
                self.data += more
            if end > len(self.data):
                raise BadHeader(f"the file ends inside {what}: it is shorter than a moment ago")
        return self.data

    def u32(self, at: int, what: str) -> int:
        return int(_U32.unpack_from(self.need(at + 4, what), at)[0])

    def u64(self, at: int, what: str) -> int:
        return int(_U64.unpack_from(self.need(at + 8, what), at)[0])

    def string(self, at: int, what: str) -> tuple[bytes, int]:
        """A string and where it ends."""
        end = at + 8 + self.u64(at, what)
        return bytes(self.need(end, what)[at + 8 : end]), end


def cut(raw: bytes) -> bytes:
    """A text as llama.cpp sees it: up to the first zero byte."""
    return raw.partition(b"\0")[0]


def shown(raw: bytes) -> str:
    r"""A name from the file, on one line whatever it is.

    >>> print(shown(b"blk.0.attn_q.weight"), shown(bytes([10, 255])))
    'blk.0.attn_q.weight' '\n\\xff'
    """
    text = raw[:80].decode(errors="backslashreplace")
    return repr(text if len(raw) <= 80 else f"{text}…")


# --- structure


class Array(NamedTuple):
    """An array's place in the data."""

    type: int
    length: int
    at: int


class _Tensor(NamedTuple):
    """What a file says of a tensor."""

    type: int
    elements: int
    length: int
    """Bytes."""
    offset: int
    """From the start of the data."""


_Value = int | float | bool | bytes | Array


class Contents(NamedTuple):
    """A file's keys and tensors."""

    version: int
    data: bytearray
    values: dict[str, _Value]
    tensors: dict[bytes, "_Tensor"]
    """By name, in the file's order."""
    start: int
    """Where the tensors' data begins, in bytes from the file's start."""

    def get(self, key: str) -> _Value | None:
        """A value; ARCH. stands for the architecture's name."""
        return self.values.get(self.full(key))

    def full(self, key: str) -> str:
        """The key's name in this file."""
        return f"{self.architecture}.{key[5:]}" if key.startswith("ARCH.") else key

    @property
    def architecture(self) -> str:
        """The architecture's name, which is a part of every other key."""
        raw = self.values.get("general.architecture", b"")
        return cut(raw[:64]).decode(errors="replace") if isinstance(raw, bytes) else ""

    @property
    def first_part(self) -> bool:
        """Whether this is no split file, or the part of it that has the metadata."""
        return self.split[0] == 0

    @property
    def split(self) -> tuple[int, int]:
        """Which part of a split file it is, from 0, and how many there are."""
        count = self.integer("split.count", 1)
        return (self.integer("split.no", 0), count) if count > 1 else (0, 1)

    def text(self, key: str) -> str:
        """A string, "" if there is none."""
        raw = self.get(key)
        if raw is not None and not isinstance(raw, bytes):
            raise BadHeader(f"{self.full(key)!r} is not a text")
        return cut(raw or b"").decode(errors="replace")

    def integer(self, key: str, default: int) -> int:
        """A whole number, `default` if there is none."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise BadHeader(f"{self.full(key)!r} is not a whole number")
        return value

    def integers(self, key: str, default: int | tuple[int, ...]) -> int | tuple[int, ...]:
        """One number for all layers, or one for each."""
        value = self.get(key)
        if not isinstance(value, Array):
            return self.integer(key, 0) if value is not None else default
        layers = self.integer("ARCH.block_count", 0)
        if value.type not in INTEGERS:
            raise BadHeader(f"{self.full(key)!r} does not hold whole numbers")
        if value.length != layers:
            raise BadHeader(f"{self.full(key)!r} has {value.length:,} numbers for {layers:,} layers")
        return struct.unpack_from(f"<{layers}{NUMBERS[value.type]}", self.data, value.at)

    def strings(self, array: Array) -> list[bytes]:
        """The texts of an array."""
        data, at, unpack = bytes(self.data), array.at, _U64.unpack_from
        found = []
        for _ in range(array.length):
            start = at + 8
            at = start + unpack(data, at)[0]
            found.append(data[start:at])
        return found


def _follow(source: _Source) -> Contents:
    """Reads a file's structure."""
    version, tensors, keys = _start(source)
    values: dict[str, _Value] = {}
    types: dict[str, int] = {}
    seen: set[bytes] = set()
    at = 24
    for index in range(keys):
        raw, at = source.string(at, f"key {index}")
        if not raw:
            raise BadHeader(f"key {index} has no name")
        if raw in seen:
            raise BadHeader(f"the key {shown(raw)} is there twice")
        seen.add(raw)
        kind = source.u32(at, shown(raw))
        value, at = _value(source, at + 4, kind, shown(raw))
        # llama.cpp takes the first key of those that are the same to it.
        key = cut(raw).decode(errors="surrogateescape")
        values.setdefault(key, value)
        types.setdefault(key, kind)
    alignment = _alignment(values, types)
    named: dict[bytes, _Tensor] = {}
    for index in range(tensors):
        name, at = source.string(at, f"tensor {index}'s name")
        if name in named:
            raise BadHeader(f"the tensor {shown(name)} is there twice")
        named[name], at = _tensor(source, at, name)
    start = at + -at % alignment
    expected = 0
    for name, (_, _, length, offset) in named.items():
        if offset != expected:
            raise BadHeader(f"tensor {shown(name)} starts at {offset:,} of the data where {expected:,} is expected")
        if (missing := start + offset + length - source.size) > 0:
            raise BadHeader(f"the file ends inside tensor {shown(name)}: {missing:,} bytes are missing")
        expected += length + -length % alignment
    return Contents(version, source.data, values, named, start)


def _start(source: _Source) -> tuple[int, int, int]:
    """Version, tensors, keys."""
    magic = bytes(source.need(min(4, source.size), "")[:4])
    if magic in OLD_MAGICS:
        raise BadHeader(f"an old {OLD_MAGICS[magic]} file, from before GGUF: it must be converted anew")
    if magic != b"GGUF":
        raise BadHeader("not a GGUF file (it does not begin with GGUF)")
    version = source.u32(4, "its version")
    if version and not version & 0xFFFF:
        raise BadHeader("a big-endian GGUF file, for other machines")
    if version not in (2, 3):
        raise BadHeader(f"GGUF version {version}; only 2 and 3 can be read")
    tensors, keys = source.u64(8, "its counts"), source.u64(16, "its counts")
    # The least that each takes: a key's length, type and one byte; a tensor's length, dimensions, type and offset.
    if keys > MOST_KEYS or keys * 13 > source.size:
        raise BadHeader(f"it claims {keys:,} keys in a file of {source.size:,} bytes")
    if tensors > MOST_TENSORS or tensors * 24 > source.size:
        raise BadHeader(f"it claims {tensors:,} tensors in a file of {source.size:,} bytes")
    return version, tensors, keys


def _value(source: _Source, at: int, kind: int, what: str) -> tuple[_Value, int]:
    """A value and where it ends."""
    if kind == STRING:
        return source.string(at, what)
    if kind in NUMBERS:
        number = struct.Struct(f"<{NUMBERS[kind]}")
        value: int | float | bool = number.unpack_from(source.need(at + number.size, what), at)[0]
        return value, at + number.size
    if kind != ARRAY:
        raise BadHeader(f"{what} has the unknown type {kind}")
    item, count = _ARRAY.unpack_from(source.need(at + 12, what), at)
    at += 12
    if item == ARRAY:
        raise BadHeader(f"{what} is an array of arrays")
    if item != STRING and item not in NUMBERS:
        raise BadHeader(f"{what} is an array of the unknown type {item}")
    least = count * (8 if item == STRING else struct.calcsize(f"<{NUMBERS[item]}"))
    source.need(at + least, what)
    if item != STRING:
        return Array(item, count, at), at + least
    return Array(item, count, at), _walk(source, at, count, what)


def _walk(source: _Source, at: int, count: int, what: str) -> int:
    """Where an array of strings ends."""
    data, unpack = source.data, _U64.unpack_from
    for _ in range(count):
        try:
            at += 8 + unpack(data, at)[0]
        except (struct.error, OverflowError):  # beyond what is read: here, or where no file is
            data = source.need(at + 8, what)
            at += 8 + unpack(data, at)[0]
    source.need(at, what)
    return at


def _alignment(values: dict[str, _Value], types: dict[str, int]) -> int:
    alignment = values.get("general.alignment", 32)
    if types.get("general.alignment", UINT32) != UINT32 or not isinstance(alignment, int):
        raise BadHeader("'general.alignment' is not a 32-bit whole number")
    if alignment <= 0 or alignment & (alignment - 1):
        raise BadHeader(f"'general.alignment' is {alignment}, which is no power of two")
    return alignment


def _tensor(source: _Source, at: int, name: bytes) -> tuple[_Tensor, int]:
    """A tensor and where its description ends."""
    if len(name) > LONGEST_NAME:
        raise BadHeader(f"the tensor name {shown(name)} has {len(name):,} bytes, more than {LONGEST_NAME}")
    if 0 in name:
        raise BadHeader(f"the tensor name {shown(name)} has a zero byte")
    what = f"tensor {shown(name)}'s description"
    dimensions = source.u32(at, what)
    if dimensions > 4:  # none is a single number
        raise BadHeader(f"tensor {shown(name)} has {dimensions:,} dimensions, more than 4")
    layout = struct.Struct(f"<{dimensions}QIQ")
    end = at + 4 + layout.size
    *shape, kind, offset = layout.unpack_from(source.need(end, what), at + 4)
    elements = 1
    for size in shape:
        elements *= size
    if not elements:
        raise BadHeader(f"tensor {shown(name)} has a dimension of 0")
    if elements >= 1 << 63 or max(shape, default=0) >= 1 << 63:
        raise BadHeader(f"tensor {shown(name)} has more elements than can be counted")
    if kind not in TENSOR_TYPES:
        raise BadHeader(f"tensor {shown(name)} has the unknown type {kind}")
    block, size = TENSOR_TYPES[kind]
    if (row := shape[0] if shape else 1) % block:
        raise BadHeader(f"tensor {shown(name)} has rows of {row:,}, no multiple of its type's block of {block}")
    return _Tensor(kind, elements, elements // block * size, offset), end
