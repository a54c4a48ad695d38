"""The folder in which KV cells and answers stay from one start to the next, for all models.

Each way to compute numbers has a folder of its own in it, and each part of a path a file there. A part begins where
another one ends: its name tells which path that is, by its digest. So prompts with the same beginning share its files,
and a prompt that grows gets new ones behind those it has. What was used longest ago goes first, of one path its end.

Any number of processes may read, write and clear at once: a file has its name only when it is whole, and one that is
gone is as one that never was.
"""

import errno
import hashlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from mmap import mmap
from pathlib import Path
from typing import NamedTuple

from tokex_gguf.engine import kv_file
from tokex_gguf.engine.kv_file import Foreign, KvPart, PartReader, UnusablePart
from tokex_gguf.engine.pipes import log_line
from tokex_gguf.system.files import TEMPORARY, create_private, private_folder
from tokex_gguf.values.sequence import common_prefix

BEGINNING = 16
"""Tokens of a part that its name tells apart from others with the same tokens before them."""
STALE = 600.0
"""Seconds after which an unfinished file belongs to no process that writes it."""
CLOCK_SKEW = 60.0
"""Seconds that a file's date may be in the future, as where a network's disk has another clock."""
MOST_FILES = 4096
"""Files that there are at the most, however small."""
_NAME = re.compile(r"([0-9]{1,9})-([0-9]{1,9})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{16})\.kv")
_FOLDER = re.compile(r"[0-9a-f]{32}")


class PartName(NamedTuple):
    """What a part's file is called."""

    start: int
    end: int
    parent: str
    """Of the digest of the tokens before it."""
    beginning: str
    """Of the digest of its first tokens."""
    own: str
    """Of the digest of all of its tokens."""

    def __str__(self) -> str:
        return f"{self.start}-{self.end}-{self.parent}-{self.beginning}-{self.own}.kv"


def _short(tokens: list[int]) -> str:
    return kv_file.digest(tokens).hex()[:16]


def name_of(start: int, tokens: list[int], parent: bytes) -> PartName:
    """What the file of these tokens is called, `parent` being the digest of those before them."""
    return PartName(start, start + len(tokens), _parent(parent), _short(tokens[:BEGINNING]), _short(tokens))


def _parent(digest: bytes) -> str:
    return digest.hex()[:32]


def _parsed(name: str) -> PartName | None:
    found = _NAME.fullmatch(name)
    return PartName(int(found[1]), int(found[2]), found[3], found[4], found[5]) if found else None


class Link(NamedTuple):
    """A part that a path goes through."""

    reader: PartReader
    name: PartName
    shared: int
    """How many of its tokens the path has."""


@contextmanager
def closing(links: list[Link]) -> Iterator[list[Link]]:
    """Closes the files in the end."""
    try:
        yield links
    finally:
        for link in links:
            link.reader.close()


class KvFolder:
    """What is kept of one model, as it is computed here."""

    def __init__(self, folder: Path, identity: str, *, whole: bool) -> None:
        """`identity`: the model's content, and whatever else its numbers depend on.

        `whole`: whether parts begin at a path's beginning, as cells of some models cannot be had in pieces, nor cut.
        """
        self.root = folder
        self._identity = identity
        self._whole = whole
        self.place = folder / hashlib.sha256(identity.encode()).hexdigest()[:32]
        """Where its files are."""

    def chain(self, path: list[int]) -> list[Link]:
        """The parts that hold the longest beginning of a path, one behind the other. Their readers are to be closed."""
        by_parent: dict[tuple[int, str], list[PartName]] = {}
        for name in self._names():
            by_parent.setdefault((name.start, name.parent), []).append(name)
        links: list[Link] = []
        at = 0
        while at < len(path) and by_parent:
            parent = kv_file.digest(path[:at])
            best: Link | None = None
            for name in by_parent.get((at, parent.hex()[:32]), ()):
                few = path[at : at + min(BEGINNING, name.end - at)]
                if _short(few) == name.beginning and (link := self._link(name, path, at, parent)):
                    if best is None or self._worth(link) > self._worth(best):
                        best, link = link, best
                    if link:
                        link.reader.close()
            if best is None:
                break
            links.append(best)
            at += best.shared
            if best.shared < len(best.reader.tokens):
                break
        return links

    def _link(self, name: PartName, path: list[int], at: int, parent: bytes) -> Link | None:
        reader = self.read(name)
        if reader is None:
            return None
        shared = common_prefix(reader.tokens, path[at : at + len(reader.tokens)])
        if shared and reader.start == at and reader.parent == parent:
            return Link(reader, name, shared)
        reader.close()
        return None

    def _worth(self, link: Link) -> tuple[int, int, bool, bool, int]:
        """How well a part serves a path: the largest is best."""
        reader, uncut = link.reader, link.shared == len(link.reader.tokens)
        return uncut if self._whole else 0, link.shared, uncut, bool(reader.size), reader.answered

    def _names(self) -> list[PartName]:
        with suppress(OSError), os.scandir(self.place) as entries:
            return [name for entry in entries if (name := _parsed(entry.name))]
        return []

    def read(self, name: PartName) -> PartReader | None:
        """A file, open; None where it is gone or cannot be believed."""
        try:
            return PartReader(self.place / str(name), self._identity)
        except FileNotFoundError:
            return None  # another process has removed it
        except (OSError, UnusablePart) as error:
            self.distrust(name, error)
            return None

    def cells(self, links: list[Link]) -> Iterator[tuple[Link, memoryview]]:
        """The parts with their cells, up to the first whose cells cannot be had or believed.

        Each is read to where the one before was, as new memory may take longer than the reading: what is given is
        good until the next is asked for.
        """
        room: mmap | None = None
        for link in links:
            if (state := self.read_cells(link, room)) is None:
                return
            yield link, state
            assert isinstance(state.obj, mmap)
            room = state.obj

    def read_cells(self, link: Link, room: mmap | None = None) -> memoryview | None:
        """The cells of a part, in `room` if they fit; None where they cannot be had or believed."""
        try:
            return link.reader.cells(room)
        except MemoryError:
            return None
        except (OSError, UnusablePart) as error:
            self.distrust(link.name, error)
            return None

    def distrust(self, name: PartName, error: Exception) -> None:
        """Removes a file that is damaged, and says so in the log; one of somebody else's is left as it is."""
        path = self.place / str(name)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        log_line(f"cache: {path}: passed over: {reason}")
        if not isinstance(error, Foreign | OSError):
            with suppress(OSError):
                path.unlink()

    def touch(self, names: Sequence[PartName]) -> None:
        """Notes that parts of a path serve, given from the first on: the first ones go last."""
        for name in reversed(names):
            with suppress(OSError):
                os.utime(self.place / str(name))

    def has(self, names: Sequence[PartName]) -> bool:
        """Whether all of some parts are there: another process may have put longer ones in their place."""
        return all((self.place / str(name)).exists() for name in names)

    def keep(
        self,
        part: KvPart,
        before: list[int],
        cells: "memoryview | bytes",
        budget: int,
        names: Sequence[PartName] = (),
    ) -> None:
        """Writes a part of a path, `before` being the tokens before it, in place of shorter ones. Raises OSError.

        What was used longest ago makes room for it; the parts before it, by their `names`, were not.
        """
        parent = kv_file.digest(before)
        name = name_of(part.start, part.tokens, parent)
        try:
            self._write(name, part, parent, cells)
        except FileNotFoundError:
            return  # another process clears the cache just now
        self.touch(names)
        there = list(self._names())
        begins = {(other.start, other.parent) for other in there}
        shorter = [
            other
            for other in there
            if (other.start, other.parent, other.beginning) == (name.start, name.parent, name.beginning)
            and other.end < name.end
            and other.own == _short(part.tokens[: other.end - other.start])
            # What another path goes on behind stays, as the way there.
            and (other.end, _parent(kv_file.digest([*before, *part.tokens[: other.end - other.start]]))) not in begins
        ]
        # Where they cannot be cut, the first one stays as well: it is the text that the player comes with again.
        for other in sorted(shorter, key=lambda one: one.end)[self._whole :]:
            with suppress(OSError):
                (self.place / str(other)).unlink()
        make_room(self.root, budget)

    def _write(self, name: PartName, part: KvPart, parent: bytes, cells: "memoryview | bytes") -> None:
        private_folder(self.place)
        temporary = self.place / f"{TEMPORARY}{os.urandom(8).hex()}"
        try:
            with create_private(temporary) as file:
                if not kv_file.is_own(os.fstat(file.fileno())):
                    # Some servers give files another owner. What is kept there would be believed by nobody.
                    raise PermissionError(errno.EPERM, "files in this folder are not this user's alone")
                kv_file.write(file, self._identity, parent, part, cells)
            try:
                temporary.replace(self.place / str(name))
            except PermissionError:  # on Windows, while another program reads the part of this name
                if not (self.place / str(name)).exists():
                    raise
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


class File(NamedTuple):
    """A file of the cache."""

    path: Path
    size: int
    used: float
    """When it was used last, in seconds since 1970."""
    start: int


def files(folder: Path) -> Iterator[File]:
    """All parts of all models. A folder that cannot be read has none."""
    for path, status in _walk(folder):
        if name := _parsed(path.name):
            yield File(path, status.st_size, status.st_mtime, name.start)


class Content(NamedTuple):
    """What is kept of one model, as it is computed in one way."""

    model: str
    files: int
    size: int
    used: float
    """When some of it was used last, in seconds since 1970."""


def contents(folder: Path) -> list[Content]:
    """What is kept, by models; that of the one used last first."""
    by_place: dict[Path, list[File]] = {}
    for file in files(folder):
        by_place.setdefault(file.path.parent, []).append(file)
    told: list[Content] = []
    for found in by_place.values():
        named = (name for file in found if (name := kv_file.model_of(file.path)))
        size, used = sum(file.size for file in found), max(file.used for file in found)
        told.append(Content(next(named, "unreadable"), len(found), size, used))
    return sorted(told, key=lambda one: -one.used)


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All files that are ours, and unfinished ones."""
    with suppress(OSError), os.scandir(folder) as places:
        for place in [one.path for one in places if _FOLDER.fullmatch(one.name) and one.is_dir(follow_symlinks=False)]:
            with suppress(OSError), os.scandir(place) as entries:
                for entry in entries:
                    if _parsed(entry.name) or entry.name.startswith(TEMPORARY):
                        with suppress(OSError):
                            yield Path(entry.path), entry.stat(follow_symlinks=False)


def make_room(folder: Path, budget: int) -> None:
    """Removes what was used longest ago, until the rest is within a budget of bytes. Fails in silence.

    What a clock that was ahead has dated goes first: it would never be used longest ago.
    """
    latest = time.time() + CLOCK_SKEW
    found = sorted(files(folder), key=lambda one: (one.used <= latest, one.used, -one.start))
    total, count = sum(one.size for one in found), len(found)
    for one in found:
        if total <= budget and count <= MOST_FILES:
            break
        with suppress(OSError):
            one.path.unlink()
        total, count = total - one.size, count - 1


def tidy(folder: Path) -> None:
    """Removes what killed processes left unfinished, and folders that nothing is in any more. Fails in silence."""
    now = time.time()
    for path, status in list(_walk(folder)):
        if path.name.startswith(TEMPORARY) and abs(now - status.st_mtime) > STALE:
            with suppress(OSError):
                path.unlink()
    _without_empty(folder)


def clear(folder: Path) -> tuple[int, int]:
    """Removes all that is kept; returns how many files there were and their bytes. Raises OSError."""
    count, size = 0, 0
    for path, status in list(_walk(folder)):
        path.unlink(missing_ok=True)
        if not path.name.startswith(TEMPORARY):
            count, size = count + 1, size + status.st_size
    _without_empty(folder)
    return count, size


def _without_empty(folder: Path) -> None:
    with suppress(OSError), os.scandir(folder) as places:
        for place in [one.path for one in places if _FOLDER.fullmatch(one.name)]:
            with suppress(OSError):  # something is in it
                Path(place).rmdir()
