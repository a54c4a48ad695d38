"""Facts about models that take a while to compute, stored by fingerprint."""

import hashlib
import struct
from pathlib import Path
from typing import Any

from tokex_gguf.models.gguf.reader import STRING, Array, BadHeader, Contents, follow
from tokex_gguf.system import json_file

MOST_MODELS = 256
"""The most models in the file."""
_LENGTH = struct.Struct("<Q")


class KnownModels:
    """The vocabularies of models, and the noise of their numbers."""

    def __init__(self, memory: Path | None) -> None:
        """`memory`: the file; None: nothing is stored."""
        self._memory = memory

    def vocabulary(self, fingerprint: str, path: Path) -> str:
        """The fingerprint of the vocabulary in a model's first file; "" where the file has none.

        Raises OSError.
        """
        known = self._of(fingerprint).get("vocabulary")
        if isinstance(known, str):
            return known
        digest = vocabulary(path)
        self._add(fingerprint, {"vocabulary": digest})
        return digest

    def noise(self, fingerprint: str, arithmetic: str) -> float | None:
        """The measured noise of a model's numbers, computed in one way; None: not measured."""
        noise = self._of(fingerprint).get("noise")
        bits = noise.get(arithmetic) if isinstance(noise, dict) else None
        return bits if isinstance(bits, float) and bits >= 0 else None

    def measured(self, fingerprint: str, arithmetic: str, bits: float) -> None:
        """Stores a measurement."""
        noise = self._of(fingerprint).get("noise")
        self._add(fingerprint, {"noise": {**(noise if isinstance(noise, dict) else {}), arithmetic: bits}})

    def _of(self, fingerprint: str) -> dict[str, Any]:
        entry = json_file.load(self._memory).get(fingerprint) if self._memory else None
        return entry if isinstance(entry, dict) else {}

    def _add(self, fingerprint: str, facts: dict[str, object]) -> None:
        """Stores facts. If that fails, they are computed again the next time."""
        if self._memory is None:
            return
        known = json_file.load(self._memory)
        known[fingerprint] = {**self._of(fingerprint), **facts}
        json_file.save(self._memory, dict(list(known.items())[-MOST_MODELS:]))


def vocabulary(path: Path) -> str:
    """32 hexadecimal digits of all tokens' texts and types, in their order; "" where a file has none.

    Raises OSError.
    """
    try:
        contents = follow(path)
    except BadHeader:
        return ""
    tokens = contents.values.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, Array) or tokens.type != STRING:
        return ""
    end = tokens.at
    for _ in range(tokens.length):
        end += 8 + _LENGTH.unpack_from(contents.data, end)[0]
    digest = hashlib.sha256(b"%d tokens" % tokens.length)
    digest.update(memoryview(contents.data)[tokens.at : end])  # their lengths and their texts
    digest.update(_types(contents))
    return digest.hexdigest()[:32]


def _types(contents: Contents) -> bytes:
    """The types of all tokens, as 32-bit numbers of the file."""
    types = contents.values.get("tokenizer.ggml.token_type")
    return bytes(contents.data[types.at : types.at + 4 * types.length]) if isinstance(types, Array) else b""
