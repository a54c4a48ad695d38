"""A home folder for a user that has none, as in containers: log, sessions and downloads need a place."""

import os
import stat
import sys
from pathlib import Path

_notice = ""


def ensure() -> str:
    """Sets the environment so that there is a home folder; returns what the player should know of it, else "".

    Without a home, everything goes below a temporary folder; with one that cannot be written, log and sessions do.
    """
    global _notice
    home = _home()
    if home is None:
        place = _temporary()
        os.environ["USERPROFILE" if sys.platform == "win32" else "HOME"] = str(place)
        _notice = f"this user has no home folder: log, sessions and downloads go to {place}"
    elif sys.platform == "linux" and not os.environ.get("XDG_STATE_HOME") and not _writable(home / ".local" / "state"):
        place = _temporary()
        os.environ["XDG_STATE_HOME"] = str(place)
        _notice = f"{home} cannot be written: log and sessions go to {place}"
    return _notice


def _home() -> Path | None:
    name = "USERPROFILE" if sys.platform == "win32" else "HOME"
    if os.environ.get(name) == "":
        del os.environ[name]  # libraries take it for the root of the file system
    home = os.path.expanduser("~")  # noqa: PTH111  Path raises
    return None if home == "~" else Path(home)


def _writable(folder: Path) -> bool:
    """Whether a folder is there, or can be made, to write into."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK)


def _temporary() -> Path:
    """A folder for this user alone, the same at the next start where that can be."""
    import tempfile  # hardly ever needed

    try:
        root = Path(tempfile.gettempdir())
    except OSError:
        return Path(os.sep, "nonexistent")  # nothing can be written at all: no log, and nothing is kept
    user = os.getuid() if sys.platform != "win32" else None
    folder = root / ("tokex-gguf" if user is None else f"tokex-gguf-{user}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
        ours = stat.S_ISDIR(about.st_mode) and (user is None or (about.st_uid, about.st_mode & 0o077) == (user, 0))
        # Somebody else may have made one of this name, to read what is written there.
        return folder if ours else Path(tempfile.mkdtemp(prefix="tokex-gguf-"))
    except OSError:
        return Path(os.sep, "nonexistent")
