"""Files that are written: prompts saved as text."""

import os
import secrets
from datetime import datetime
from pathlib import Path


def save_prompt(folder: Path, text: bytes, now: datetime) -> Path:
    """Writes `text` and a final line break to a new file in `folder`; returns its path.

    The line break is the one that reading a prompt drops. A name carries the time,
    and a number where the time alone is taken; no file is ever overwritten, and none
    is seen half written. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".saving-{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        stem = now.strftime("prompt-%Y%m%d-%H%M%S")
        number = 1
        while True:
            path = folder / (f"{stem}.txt" if number == 1 else f"{stem}-{number}.txt")
            try:
                _place(temporary, path)
                return path
            except FileExistsError:
                number += 1
    finally:
        temporary.unlink(missing_ok=True)


def _place(temporary: Path, path: Path) -> None:
    """Gives a finished file its name. Raises FileExistsError."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links on this file system: take the name first, then put the file in its place.
        with path.open("xb"):
            pass
        try:
            temporary.replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
