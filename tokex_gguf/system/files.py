"""Files that are written whole or not at all: prompts saved as text, generations of a session.

All of them, and the folders made for them, are for their owner alone, whatever the umask.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeAlias

TEMPORARY = ".saving-"
"""How the names of files begin that are not finished."""


REGULAR_ONLY = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
"""Flags to open a file by where a pipe must not hold this process up, nor a link lead elsewhere. Some systems lack some
of them, so whoever uses them checks that the file is regular."""


Data: TypeAlias = bytes | list[bytes]
"""What is written: whole, or in parts, one after the other. To put large ones together takes memory, and time in which
no other thread has its turn."""


class Abandoned(Exception):
    """What was written is not wanted any more; nothing has changed."""


def private_folder(folder: Path) -> None:
    """Makes a folder, and those above it that lack, with mode 700. One that exists is left as it is.

    Raises OSError.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    owners_alone(folder, 0o700)  # the umask may have taken rights from the owner


def create_private(path: Path) -> BinaryIO:
    """A new file with mode 600, open for writing. Raises OSError, where there is one already FileExistsError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, 0o600)
    if hasattr(os, "fchmod"):  # not by the path, which may be another file's by now
        with suppress(OSError):
            os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "wb")


def owners_alone(path: Path, mode: int) -> None:
    """Gives a file or folder a mode, where its file system has modes: some refuse, as a disk of Windows under WSL."""
    with suppress(OSError):
        path.chmod(mode)


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths are of one file. Raises OSError where one is of none.

    Some file systems, as network folders, number no file: there the paths must be the same.
    """
    about, others = one.stat(), other.stat()
    return os.path.samestat(about, others) if about.st_ino else one.resolve() == other.resolve()


def save_prompt(folder: Path, text: bytes, now: datetime, name: str = "prompt") -> Path:
    """Writes `text` and a final line break to a new file in `folder`; returns its path.

    The line break is the one that reading a prompt drops. A name carries the time,
    and a number where the time alone is taken; no file is ever overwritten, and none
    is seen half written. Raises OSError.
    """
    with _written(folder, text + b"\n") as temporary:
        stem = now.strftime(f"{name}-%Y%m%d-%H%M%S")
        number = 1
        while True:
            path = folder / (f"{stem}.txt" if number == 1 else f"{stem}-{number}.txt")
            try:
                place(temporary, path)
                return path
            except FileExistsError:
                number += 1


def save_generation(
    path: Path,
    data: Data,
    previous: Path | None,
    *,
    flush: bool = True,
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Puts a file with `data` in the place of `path`; what was there becomes `previous`, if given.

    At every moment one of the two is whole. Raises OSError: then what was there last is still
    there, as `path` or as `previous`. Without `flush` the bytes reach the disk when the system
    writes them. `wanted` is asked once they are written; Abandoned is raised where it says no.
    """
    with _written(path.parent, data, flush=flush) as temporary:
        if not wanted():
            raise Abandoned
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
def _written(folder: Path, data: Data, *, flush: bool = True) -> Iterator[Path]:
    """A file that is written to the end, with a name that nobody looks for; gone afterwards if it still has it."""
    private_folder(folder)
    temporary = folder / f"{TEMPORARY}{os.urandom(8).hex()}"
    try:
        with create_private(temporary) as file:
            write(file, data)
            file.flush()
            if flush:
                os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write(file: BinaryIO, data: Data) -> None:
    """Writes all of it. Raises OSError."""
    for part in [data] if isinstance(data, bytes) else data:
        file.write(part)


def place(temporary: Path, path: Path) -> None:
    """Gives a finished file its name; whether it keeps its first one depends on the file system.

    Raises OSError, where the name is taken FileExistsError.
    """
    try:
        os.link(temporary, path)
    except (FileExistsError, FileNotFoundError):
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
