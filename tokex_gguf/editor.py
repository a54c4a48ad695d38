"""The player's own editor."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tokex_gguf.rules.effects import Edited, EditFailed


def command() -> list[str]:
    """What $VISUAL or $EDITOR says, else the system's plainest editor."""
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if named:
        return shlex.split(named, posix=sys.platform != "win32")
    return ["notepad"] if sys.platform == "win32" else ["vi"]


def edit_text(text: str) -> Edited | EditFailed:
    """Opens a text in the editor and waits for its end."""
    with tempfile.TemporaryDirectory(prefix="tokex-gguf-") as folder:
        path = Path(folder) / "prompt.txt"
        path.write_text(text, encoding="utf-8", newline="")
        try:
            editor = command()
            code = subprocess.run([*editor, str(path)], check=False).returncode
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return EditFailed(f"no editor ({reason}): set $EDITOR to one")
        if code:
            return EditFailed(f"{editor[0]} ended with exit code {code}: the prompt stays as it was")
        try:
            return Edited(path.read_bytes().decode())
        except OSError as error:
            return EditFailed(f"the edited text cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            return EditFailed("the edited text is not UTF-8: the prompt stays as it was")
