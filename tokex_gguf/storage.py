"""Files that are written whole or not at all: prompts saved as text, generations of a session."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

TEMPORARY = ".saving-"
"""How the names of files begin that are not finished."""


def save_prompt(folder: Path, text: bytes, now: datetime) -> Path:
    """Writes `text` and a final line break to a new file in `folder`; returns its path.

    The line break is the one that reading a prompt drops. A name carries the time,
    and a number where the time alone is taken; no file is ever overwritten, and none
    is seen half written. Raises OSError.
    """
    with _written(folder, text + b"\n") as temporary:
        stem = now.strftime("prompt-%Y%m%d-%H%M%S")
        number = 1
        while True:
            path = folder / (f"{stem}.txt" if number == 1 else f"{stem}-{number}.txt")
            try:
                _place(temporary, path)
                return path
            except FileExistsError:
                number += 1


def save_generation(path: Path, data: bytes, previous: Path | None) -> None:
    """Puts a file with `data` in the place of `path`; what was there becomes `previous`, if given.

    At every moment one of the two is whole. Raises OSError: then what was there last is still
    there, as `path` or as `previous`.
    """
    with _written(path.parent, data) as temporary:
        if previous and path.exists():
            _step_back(path, previous)
        temporary.replace(path)


def _step_back(path: Path, previous: Path) -> None:
    """Gives a file a second name, in the place of what had it. Without hard links the first name goes."""
    twin = path.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")
    try:
        os.link(path, twin)
    except OSError:
        path.replace(previous)
        return
    try:
        twin.replace(previous)
    finally:
        # It is there still where both were the same file before.
        twin.unlink(missing_ok=True)


@contextmanager
def _written(folder: Path, data: bytes) -> Iterator[Path]:
    """A file that is written to the end, with a name that nobody looks for; gone afterwards if it still has it."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{TEMPORARY}{os.urandom(8).hex()}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
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
