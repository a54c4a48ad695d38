"""Headers that were read before: a file that has not changed since is not read again.

Reading a header of 150,000 tokens takes 75 ms, which is a third of the time to the first frame.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tokex_gguf import __version__, config
from tokex_gguf.models.gguf import metadata
from tokex_gguf.models.gguf.metadata import Header
from tokex_gguf.system import json_file
from tokex_gguf.system.stamps import settled, stamp

MOST_FILES = 4096
"""Files that are remembered."""


class Headers:
    """The headers of files, by path, size, times of change and number. `save` keeps what was new for the next start."""

    def __init__(self, file: Path | None = None) -> None:
        """`file`: where they are kept; None: in the user's state folder."""
        self._file = file or config.state_folder() / "headers.json"
        self._known = self._load()
        self._changed = False

    def glance(self, path: Path) -> Header:
        """As `metadata.glance`."""
        return self._header(path, checked=False)

    def read(self, path: Path) -> Header:
        """As `metadata.read`; a file that was found sound and has not changed is taken to be so still."""
        return self._header(path, checked=True)

    def save(self) -> None:
        """Writes what was new; where that fails, it is read again the next time."""
        if not self._changed:
            return
        newest = dict(list(self._known.items())[-MOST_FILES:])
        json_file.save(self._file, {"version": __version__, "files": newest})

    def _header(self, path: Path, *, checked: bool) -> Header:
        name, before = str(path.absolute()), stamp(path.stat())
        entry = self._known.get(name)
        if entry is not None and (found := _unpacked(entry, before, checked)) is not None:
            return found
        about = metadata.read(path) if checked else metadata.glance(path)
        # A file that is written to meanwhile, or that was a moment ago, can change and keep its stamp.
        after = path.stat()
        if stamp(after) == before and settled(after):
            self._known[name] = {"stamp": before, "checked": checked, "header": asdict(about)}
            self._changed = True
        return about

    def _load(self) -> dict[str, Any]:
        document = json_file.load(self._file)
        # Another version of this program may have checked less.
        known = document.get("files") if document.get("version") == __version__ else None
        return known if isinstance(known, dict) else {}


def _unpacked(entry: object, now: list[int], checked: bool) -> Header | None:
    """The header that was remembered, if the file is the same and what was looked at is enough."""
    try:
        if entry["stamp"] != now or (checked and entry["checked"] is not True):  # type: ignore[index]
            return None
        values = dict(entry["header"])  # type: ignore[index]
        heads = values["heads_kv"]
        values["heads_kv"] = heads if isinstance(heads, int) else tuple(map(int, heads))
        no, count = map(int, values["split"])
        values["split"] = (no, count)
        about = Header(**values)
        about.kv_bytes_per_token()
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    else:
        return about
