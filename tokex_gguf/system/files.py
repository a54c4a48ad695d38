"""Files that are written completely or not at all: prompts saved as text, generations of a session.

Only their owner can read them and their folders, whatever the umask.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeAlias

TEMPORARY = ".saving-"
"""Prefix of the names of unfinished files."""


REGULAR_ONLY = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
"""Flags to open a file so that a pipe does not block and a link is not followed. Some systems lack some of them, so
callers check that the file is regular."""


Data: TypeAlias = bytes | list[bytes]
"""Content to write, as a whole or in parts. Joining large parts would take memory, and time in which no other thread
runs."""


class Abandoned(Exception):
    """The file is not wanted any more; nothing was changed."""


def private_folder(folder: Path) -> None:
    """Makes a folder and its missing parents with mode 700. An existing one keeps its mode.

    Raises OSError.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if folder.is_dir():
            return
        if os.path.lexists(folder):
            raise
        folder.mkdir(mode=0o700, exist_ok=True)  # another process has removed it in between
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    owners_alone(folder, 0o700)  # the umask may have taken rights from the owner


def read_plain(path: Path, most: int) -> bytes:
    """The bytes of a plain file: a pipe would block. A link to one is followed.

    Raises OSError, and ValueError above `most` bytes: a sparse file may be larger than memory.
    """
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "not a plain file")
    if about.st_size > most:
        raise ValueError(f"larger than {most >> 20} MB")
    return path.read_bytes()


def create_private(path: Path) -> BinaryIO:
    """A new file with mode 600, open for writing. Raises OSError; FileExistsError if it exists."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, 0o600)
    if hasattr(os, "fchmod"):  # not by the path, which may name another file by now
        with suppress(OSError):
            os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "wb")


def owners_alone(path: Path, mode: int) -> None:
    """Sets the mode of a file or folder, if its file system has modes: a Windows disk under WSL, for one, refuses."""
    with suppress(OSError):
        path.chmod(mode)


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths name one file. Raises OSError if one does not exist.

    Some file systems, such as network folders, have no file numbers: there the resolved paths must be equal.
    """
    status, other_status = one.stat(), other.stat()
    return os.path.samestat(status, other_status) if status.st_ino else one.resolve() == other.resolve()


def save_prompt(folder: Path, text: bytes, now: datetime, name: str = "prompt") -> Path:
    """Writes `text` and a final line break to a new file in `folder`; returns its path.

    Reading a prompt drops that line break. The name has the time, and a number if
    the time is taken. No file is overwritten, or visible before it is complete.
    Raises OSError.
    """
    with _temporary_file(folder, text + b"\n") as temporary:
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
    """Replaces `path` by a file with `data`; the old file becomes `previous`, if given.

    One of the two is complete at any moment. Raises OSError: then the old file is still there,
    as `path` or as `previous`. Without `flush` the system decides when bytes reach the disk.
    `wanted` is called when they are written; raises Abandoned if it returns False.
    """
    with _temporary_file(path.parent, data, flush=flush) as temporary:
        if not wanted():
            raise Abandoned
        if previous and path.exists():
            _keep_as_previous(path, previous)
        temporary.replace(path)


def _keep_as_previous(path: Path, previous: Path) -> None:
    """Gives a file the second name `previous`, replacing that file. Without hard links, the file is renamed."""
    twin = path.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")
    try:
        os.link(path, twin)
    except OSError:
        path.replace(previous)
        return
    try:
        twin.replace(previous)
    finally:
        # `replace` leaves the link if both names were the same file before.
        twin.unlink(missing_ok=True)


@contextmanager
def _temporary_file(folder: Path, data: Data, *, flush: bool = True) -> Iterator[Path]:
    """A complete file under a temporary name; removed afterwards if it still has that name."""
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
    """Writes all parts. Raises OSError."""
    for part in [data] if isinstance(data, bytes) else data:
        file.write(part)


def place(temporary: Path, path: Path) -> None:
    """Gives a finished file its name. Whether the temporary name stays depends on the file system.

    Raises OSError; FileExistsError if the name is taken.
    """
    try:
        os.link(temporary, path)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        # Without hard links: reserve the name first, then replace it.
        with path.open("xb"):
            pass
        try:
            temporary.replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
