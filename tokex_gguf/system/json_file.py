"""Small files of JSON that only save time: one that cannot be read is empty, one that cannot be written stays."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokex_gguf.system.files import read_plain, save_generation

MOST_BYTES = 64 << 20
"""The largest file that is read."""


def load(path: Path) -> dict[str, Any]:
    """The object in a file; {} where there is none, or it cannot be read."""
    try:
        found = json.loads(read_plain(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def save(path: Path, values: dict[str, Any]) -> None:
    """Replaces a file. If that fails, the one before stays."""
    with suppress(OSError):
        save_generation(path, json.dumps(values).encode(), None, flush=False)
