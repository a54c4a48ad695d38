"""What tells a model's files from all others: their content."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokex_gguf.models.reference import parts_of
from tokex_gguf.system.files import save_generation
from tokex_gguf.system.stamps import settled, stamp

WHOLE = 2 << 30
"""Bytes of a model's files up to which all of them are read: 1.4 s once, at 1.5 GB/s, while the model is loaded.

Of larger ones, blocks of about that size in all, evenly spread over every file.
"""
READ_BYTES = 1 << 20
BEGINNING = 16 << 20
"""Bytes of each file that are always read: metadata, vocabulary and the table of tensors."""
MOST_MODELS = 256
"""Models that are remembered."""


class Fingerprints:
    """The fingerprints of models. Those of files that have not changed since are remembered."""

    def __init__(self, memory: Path | None) -> None:
        """`memory`: the file in which they are remembered, if they are."""
        self._memory = memory

    def of(self, path: Path) -> str:
        """32 hexadecimal digits of the content of a model's files; `path` is the first. Raises OSError."""
        files = [path.with_name(part) for part in parts_of(path.name)]
        name, before = str(path.absolute()), [stamp(file.stat()) for file in files]
        known = self._load()
        entry = known.get(name)
        if isinstance(entry, dict) and entry.get("stamps") == before and isinstance(entry.get("content"), str):
            return str(entry["content"])
        found = content(files)
        after = [file.stat() for file in files]
        if [stamp(status) for status in after] == before and all(map(settled, after)):
            self._save({**known, name: {"stamps": before, "content": found}})
        return found

    def _load(self) -> dict[str, Any]:
        try:
            known = json.loads(self._memory.read_bytes()) if self._memory else {}
        except (OSError, ValueError, RecursionError):
            return {}
        return known if isinstance(known, dict) else {}

    def _save(self, known: dict[str, Any]) -> None:
        """Where that fails, the files are read again the next time."""
        if self._memory is None:
            return
        newest = dict(list(known.items())[-MOST_MODELS:])
        with suppress(OSError):
            save_generation(self._memory, json.dumps(newest).encode(), None, flush=False)


def content(files: list[Path]) -> str:
    """32 hexadecimal digits of what files hold, or of blocks of it where it is more than WHOLE. Raises OSError."""
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
    """16 hexadecimal digits of a file's size, beginning and end: as version 0.1.0 had it in its sessions.

    Raises OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(b"%d " % size)
        digest.update(file.read(1 << 16))
        file.seek(max(0, size - (1 << 16)))
        digest.update(file.read(1 << 16))
    return digest.hexdigest()[:16]
