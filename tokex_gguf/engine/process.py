"""Starting the engine's process. Imports next to nothing, so that it can be the first thing that happens."""

import subprocess
import sys
from typing import TypeAlias

Engine: TypeAlias = subprocess.Popen[bytes]


def start() -> Engine:
    """An engine that waits for its Load. Raises OSError.

    It ends by itself when its standard input is closed. It writes its log where Load says.
    """
    return subprocess.Popen(
        # -P: whatever lies in the current folder is not code of ours.
        [sys.executable, "-P", "-m", "tokex_gguf.engine"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Keys that signal the terminal's foreground processes are not for the engine.
        process_group=0 if sys.platform != "win32" else None,
    )


def about() -> "subprocess.CompletedProcess[str]":
    """What an engine says of itself, as JSON on its standard output; see `engine/__main__.py`."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "tokex_gguf.engine", "--about"], capture_output=True, text=True, check=False
    )
