"""A home folder for a user without one, as in containers: log, sessions and downloads need a place."""

import os
import stat
import sys
from pathlib import Path

_notice = ""


def ensure() -> str:
    """Sets the environment so that there is a home folder; returns a notice for the player, or "".

    Without a home, everything goes to a temporary folder; with one that cannot be written, log and sessions do.
    """
    global _notice
    home = _home()
    if home is None:
        temporary = _temporary()
        os.environ["USERPROFILE" if sys.platform == "win32" else "HOME"] = str(temporary)
        _notice = f"this user has no home folder: log, sessions and downloads go to {temporary}"
    elif sys.platform == "linux" and not os.environ.get("XDG_STATE_HOME") and not _writable(home / ".local" / "state"):
        temporary = _temporary()
        os.environ["XDG_STATE_HOME"] = str(temporary)
        _notice = f"{home} cannot be written: log and sessions go to {temporary}"
    return _notice


def _home() -> Path | None:
    name = "USERPROFILE" if sys.platform == "win32" else "HOME"
    if os.environ.get(name) == "":
        del os.environ[name]  # libraries take it for the root of the file system
    home = os.path.expanduser("~")  # noqa: PTH111  Path raises
    return None if home == "~" else Path(home)


def _writable(folder: Path) -> bool:
    """Whether a folder can be written, or made."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK)


def _temporary() -> Path:
    """A private folder for this user, the same one at the next start if possible."""
    import tempfile  # rarely needed

    try:
        root = Path(tempfile.gettempdir())
    except OSError:
        return Path(os.sep, "nonexistent")  # nothing can be written: no log, no sessions
    user = os.getuid() if sys.platform != "win32" else None
    folder = root / ("tokex-gguf" if user is None else f"tokex-gguf-{user}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
        ours = stat.S_ISDIR(about.st_mode) and (user is None or (about.st_uid, about.st_mode & 0o077) == (user, 0))
        # Another user may have made a folder of this name, to read what is written there.
        return folder if ours else Path(tempfile.mkdtemp(prefix="tokex-gguf-"))
    except OSError:
        return Path(os.sep, "nonexistent")
