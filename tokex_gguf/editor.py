"""The player's own editor."""

import os
import shlex
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tokex_gguf.rules.effects import Edited, EditFailed

GRACE = 1.0
"""Seconds that an editor has to end before it is killed."""


def command() -> list[str]:
    """What $VISUAL or $EDITOR says, else the system's plainest editor."""
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if named:
        return shlex.split(named, posix=sys.platform != "win32")
    return ["notepad"] if sys.platform == "win32" else ["vi"]


class Editor:
    """One run of the editor."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def edit(self, text: str) -> Edited | EditFailed:
        """Opens a text and waits for the editor's end."""
        with tempfile.TemporaryDirectory(prefix="tokex-gguf-") as folder:
            path = Path(folder) / "prompt.txt"
            path.write_text(text, encoding="utf-8", newline="")
            try:
                editor = command()
                self._process = subprocess.Popen([*editor, str(path)])
                if self._ended:
                    self.end()
                code = self._process.wait()
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

    def end(self) -> None:
        """Ends the editor, from another thread: by asking, and soon by force."""
        self._ended = True
        if process := self._process:
            process.terminate()
            timer = threading.Timer(GRACE, process.kill)
            timer.daemon = True
            timer.start()
