"""The folder of the prompt cache: KV cells and answers of all models, from one start to the next.

Each way to compute numbers has its own subfolder, and each part of a path a file there. A part begins where another one
ends: its name has the digest of the path before it. So prompts share the files of a common prefix, and a prompt that
grows gets new files after the ones it has. The parts used longest ago are removed first, the last ones of a path before
its first ones.

Strict answers have files of their own, without cells: they begin anywhere, as a comparison needs none of what both
paths begin with.

Any number of processes may read, write and clear at once: a file gets its name only once it is complete, and a missing
file is no error.
"""

import errno
import hashlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from mmap import mmap
from pathlib import Path
from typing import NamedTuple

from tokex_gguf.engine import kv_file
from tokex_gguf.engine.kv_file import Foreign, KvPart, PartReader, UnusablePart
from tokex_gguf.engine.pipes import log_line
from tokex_gguf.system.files import TEMPORARY, create_private, private_folder
from tokex_gguf.values.sequence import common_prefix

NAMED_TOKENS = 16
"""First tokens of a part whose digest is in its name."""
STALE = 600.0
"""Seconds after which an unfinished file is abandoned."""
CLOCK_SKEW = 60.0
"""Seconds that a file's date may be in the future: a network disk may have another clock."""
MOST_FILES = 4096
"""The most files, of any size."""
_NAME = re.compile(r"([0-9]{1,9})-([0-9]{1,9})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{16})\.(kv|strict|pair)")
_FOLDER = re.compile(r"[0-9a-f]{32}")


class PartKind(Enum):
    """What a part's file has; its name ends so."""

    PLAYED = "kv"
    """What was shown first, and cells."""
    STRICT = "strict"
    """Strict answers."""
    DIFFERENCES = "pair"
    """How two models differ, in the place of the cells."""


class PartName(NamedTuple):
    """The name of a part's file."""

    start: int
    end: int
    parent: str
    """From the digest of the tokens before it."""
    beginning: str
    """From the digest of its first tokens."""
    own: str
    """From the digest of all its tokens."""
    kind: PartKind = PartKind.PLAYED

    def __str__(self) -> str:
        return f"{self.start}-{self.end}-{self.parent}-{self.beginning}-{self.own}.{self.kind.value}"


def _short(tokens: list[int]) -> str:
    return kv_file.digest(tokens).hex()[:16]


def name_of(start: int, tokens: list[int], parent: bytes, kind: PartKind = PartKind.PLAYED) -> PartName:
    """The file name of a part. `parent`: the digest of the tokens before it."""
    return PartName(start, start + len(tokens), _parent(parent), _short(tokens[:NAMED_TOKENS]), _short(tokens), kind)


def _parent(digest: bytes) -> str:
    return digest.hex()[:32]


def _parsed(name: str) -> PartName | None:
    match = _NAME.fullmatch(name)
    return PartName(int(match[1]), int(match[2]), match[3], match[4], match[5], PartKind(match[6])) if match else None


class Link(NamedTuple):
    """A part whose first tokens are in a path."""

    reader: PartReader
    name: PartName
    shared: int
    """How many of the part's tokens the path has."""


@contextmanager
def closing(links: list[Link]) -> Iterator[list[Link]]:
    """Closes the files after the block."""
    try:
        yield links
    finally:
        for link in links:
            link.reader.close()


class KvFolder:
    """The parts of one model, computed in one way."""

    def __init__(self, folder: Path, identity: str, *, whole: bool) -> None:
        """`identity`: the model's content, and all else that its numbers depend on.

        `whole`: whether each part begins at position 0: some models' cells can only be copied and put back whole.
        """
        self.root = folder
        self.identity = identity
        self._whole = whole
        self.place = folder / hashlib.sha256(identity.encode()).hexdigest()[:32]
        """The subfolder of its files."""

    def chain(self, path: list[int]) -> list[Link]:
        """The parts that hold the longest prefix of a path, in order. The caller closes their readers."""
        by_parent: dict[tuple[int, str], list[PartName]] = {}
        for name in self._names(PartKind.PLAYED):
            by_parent.setdefault((name.start, name.parent), []).append(name)
        links: list[Link] = []
        at = 0
        while at < len(path) and by_parent:
            parent = kv_file.digest(path[:at])
            best: Link | None = None
            for name in by_parent.get((at, parent.hex()[:32]), ()):
                first_tokens = path[at : at + min(NAMED_TOKENS, name.end - at)]
                if _short(first_tokens) == name.beginning and (link := self._link(name, path, at, parent)):
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

    def parts(self, path: list[int], kind: PartKind) -> list[Link]:
        """The parts of a kind that have tokens of a path, wherever they begin. The caller closes their readers."""
        by_start: dict[int, list[PartName]] = {}
        for name in self._names(kind):
            if name.start < len(path):
                by_start.setdefault(name.start, []).append(name)
        links: list[Link] = []
        for start, names in by_start.items():
            parent = kv_file.digest(path[:start])
            for name in names:
                if name.parent == _parent(parent) and name.beginning == _short(
                    path[start : start + min(NAMED_TOKENS, name.end - start)]
                ):
                    links += filter(None, [self._link(name, path, start, parent)])
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
        """How much of a path a part serves, as a key for `max`."""
        reader, uncut = link.reader, link.shared == len(link.reader.tokens)
        return uncut if self._whole else 0, link.shared, uncut, bool(reader.size), reader.answered

    def _names(self, kind: PartKind) -> list[PartName]:
        with suppress(OSError), os.scandir(self.place) as entries:
            return [name for entry in entries if (name := _parsed(entry.name)) and name.kind is kind]
        return []

    def read(self, name: PartName) -> PartReader | None:
        """Opens a part; None where its file is gone or unusable."""
        try:
            return PartReader(self.place / str(name), self.identity)
        except FileNotFoundError:
            return None  # another process has removed it
        except (OSError, UnusablePart) as error:
            self.distrust(name, error)
            return None

    def cells(self, links: list[Link]) -> Iterator[tuple[Link, memoryview]]:
        """The parts with their cells, up to the first whose cells cannot be read.

        All share one buffer, as new memory may take longer than the reading: a part's cells are valid until the next
        part.
        """
        room: mmap | None = None
        for link in links:
            if (state := self.read_cells(link, room)) is None:
                return
            yield link, state
            assert isinstance(state.obj, mmap)
            room = state.obj

    def read_cells(self, link: Link, room: mmap | None = None) -> memoryview | None:
        """The cells of a part, in `room` if they fit; None where they cannot be read or are damaged."""
        try:
            return link.reader.cells(room)
        except MemoryError:
            return None
        except (OSError, UnusablePart) as error:
            self.distrust(link.name, error)
            return None

    def distrust(self, name: PartName, error: Exception) -> None:
        """Removes a damaged file, and logs that; a file that is not this program's is only logged."""
        path = self.place / str(name)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        log_line(f"cache: {path}: passed over: {reason}")
        if not isinstance(error, Foreign | OSError):
            with suppress(OSError):
                path.unlink()

    def touch(self, names: Sequence[PartName]) -> None:
        """Marks parts of a path as used. `names` are in order; the first are marked last, so that they stay longest."""
        for name in reversed(names):
            with suppress(OSError):
                os.utime(self.place / str(name))

    def has(self, names: Sequence[PartName]) -> bool:
        """Whether all these parts exist: another process may have replaced them by longer ones."""
        return all((self.place / str(name)).exists() for name in names)

    def keep(
        self,
        part: KvPart,
        before: list[int],
        cells: "memoryview | bytes",
        budget: int,
        names: Sequence[PartName] = (),
        kind: PartKind = PartKind.PLAYED,
    ) -> None:
        """Writes a part of a path and removes shorter ones that it replaces. Raises OSError.

        `before`: the tokens before it; `names`: the parts that hold them, which are marked as used. Then the parts used
        longest ago are removed until the rest is within `budget` bytes.
        """
        parent = kv_file.digest(before)
        name = name_of(part.start, part.tokens, parent, kind)
        try:
            self._write(name, part, parent, cells)
        except FileNotFoundError:
            return  # another process is clearing the cache
        self.touch(names)
        names_now = self._names(kind)
        starts = {(other.start, other.parent) for other in names_now}
        shorter = [
            other
            for other in names_now
            if (other.start, other.parent, other.beginning) == (name.start, name.parent, name.beginning)
            and other.end < name.end
            and other.own == _short(part.tokens[: other.end - other.start])
            # A part stays if another part begins at its end.
            and (other.end, _parent(kv_file.digest([*before, *part.tokens[: other.end - other.start]]))) not in starts
        ]
        # Where cells cannot be cut, the shortest part stays as well: the player may open the same text again.
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
                    # Some file servers give files another owner: `PartReader` would refuse them.
                    raise PermissionError(errno.EPERM, "files in this folder are not this user's alone")
                kv_file.write(file, self.identity, parent, part, cells)
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
    """Time of the last use, in seconds since 1970."""
    start: int


def files(folder: Path) -> Iterator[File]:
    """The parts of all models; none where the folder cannot be read."""
    for path, status in _walk(folder):
        if name := _parsed(path.name):
            yield File(path, status.st_size, status.st_mtime, name.start)


class Content(NamedTuple):
    """A summary of the parts of one model, computed in one way."""

    model: str
    files: int
    size: int
    used: float
    """Time of the last use of any of them, in seconds since 1970."""


def contents(folder: Path) -> list[Content]:
    """The contents of the cache by model, the one used last first."""
    by_place: dict[Path, list[File]] = {}
    for file in files(folder):
        by_place.setdefault(file.path.parent, []).append(file)
    summaries: list[Content] = []
    for parts in by_place.values():
        named = (name for file in parts if (name := kv_file.model_of(file.path)))
        size, used = sum(file.size for file in parts), max(file.used for file in parts)
        summaries.append(Content(next(named, "unreadable"), len(parts), size, used))
    return sorted(summaries, key=lambda content: -content.used)


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All files of the cache, also unfinished ones."""
    with suppress(OSError), os.scandir(folder) as places:
        for place in [one.path for one in places if _FOLDER.fullmatch(one.name) and one.is_dir(follow_symlinks=False)]:
            with suppress(OSError), os.scandir(place) as entries:
                for entry in entries:
                    if _parsed(entry.name) or entry.name.startswith(TEMPORARY):
                        with suppress(OSError):
                            yield Path(entry.path), entry.stat(follow_symlinks=False)


def make_room(folder: Path, budget: int) -> None:
    """Removes the parts used longest ago, until the rest is within a budget of bytes. Fails silently.

    Parts with a date in the future are removed first: they would never become the oldest.
    """
    latest = time.time() + CLOCK_SKEW
    oldest_first = sorted(files(folder), key=lambda file: (file.used <= latest, file.used, -file.start))
    total, count = sum(file.size for file in oldest_first), len(oldest_first)
    for file in oldest_first:
        if total <= budget and count <= MOST_FILES:
            break
        with suppress(OSError):
            file.path.unlink()
        total, count = total - file.size, count - 1


def tidy(folder: Path) -> None:
    """Removes unfinished files of killed processes, and empty folders. Fails silently."""
    now = time.time()
    for path, status in list(_walk(folder)):
        if path.name.startswith(TEMPORARY) and abs(now - status.st_mtime) > STALE:
            with suppress(OSError):
                path.unlink()
    _remove_empty_folders(folder)


def clear(folder: Path) -> tuple[int, int]:
    """Removes all parts; returns their number and bytes.

    Raises the first OSError, after all that can be removed is.
    """
    count, size = 0, 0
    failed: OSError | None = None
    for path, status in list(_walk(folder)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            failed = failed or error
            continue
        if not path.name.startswith(TEMPORARY):
            count, size = count + 1, size + status.st_size
    _remove_empty_folders(folder)
    if failed:
        raise failed
    return count, size


def _remove_empty_folders(folder: Path) -> None:
    with suppress(OSError), os.scandir(folder) as places:
        for place in [one.path for one in places if _FOLDER.fullmatch(one.name)]:
            with suppress(OSError):  # something is in it
                Path(place).rmdir()
