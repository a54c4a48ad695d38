"""Fingerprints of models: digests of the content of their files."""

import hashlib
import os
from pathlib import Path

from tokex_gguf.models.reference import parts_of
from tokex_gguf.system import json_file
from tokex_gguf.system.stamps import settled, stamp

WHOLE = 2 << 30
"""The most bytes of a model's files that are read: 1.4 s once, at 1.5 GB/s, while the model is loaded.

Of larger models, blocks of about this size in total are read, evenly spread over every file.
"""
READ_BYTES = 1 << 20
BEGINNING = 16 << 20
"""Bytes of each file that are always read: metadata, vocabulary and the table of tensors."""
MOST_MODELS = 256
"""The most models in the file."""


class Fingerprints:
    """The fingerprints of models, stored until their files change."""

    def __init__(self, memory: Path | None) -> None:
        """`memory`: the file; None: nothing is stored."""
        self._memory = memory

    def of(self, path: Path) -> str:
        """32 hexadecimal digits of the content of a model's files; `path` is the first. Raises OSError."""
        files = [path.with_name(part) for part in parts_of(path.name)]
        name, before = str(path.absolute()), [stamp(file.stat()) for file in files]
        known = json_file.load(self._memory) if self._memory else {}
        entry = known.get(name)
        if isinstance(entry, dict) and entry.get("stamps") == before and isinstance(entry.get("content"), str):
            return str(entry["content"])
        digest = content(files)
        after = [file.stat() for file in files]
        if self._memory and [stamp(status) for status in after] == before and all(map(settled, after)):
            newest = list({**known, name: {"stamps": before, "content": digest}}.items())[-MOST_MODELS:]
            json_file.save(self._memory, dict(newest))  # if that fails, the files are read again the next time
        return digest


def content(files: list[Path]) -> str:
    """32 hexadecimal digits of the content of files, or of blocks of it above WHOLE bytes. Raises OSError."""
    step = -(-sum(file.stat().st_size for file in files) // WHOLE)
    digest = hashlib.sha256(b"%d files, every block of %d" % (len(files), step))
    for file in files:
        with file.open("rb", buffering=0) as source:
            size = os.fstat(source.fileno()).st_size
            digest.update(b"%d bytes" % size)
            at = 0
            while at < size:
                source.seek(at)
                if not (data := source.read(READ_BYTES)):
                    break
                digest.update(data)
                at += len(data)
                # The last block of each file is read, too.
                if step > 1 and BEGINNING <= at < size - READ_BYTES:
                    at = min(at + (step - 1) * READ_BYTES, size - READ_BYTES)
    return digest.hexdigest()[:32]


def former(path: Path) -> str:
    """16 hexadecimal digits of a file's size, start and end: the fingerprint in sessions of version 0.1.0.

    Raises OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(b"%d " % size)
        digest.update(file.read(1 << 16))
        file.seek(max(0, size - (1 << 16)))
        digest.update(file.read(1 << 16))
    return digest.hexdigest()[:16]
