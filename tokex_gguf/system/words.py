"""Quotes words of commands that the player is shown, for this system's shell."""

import re
import shlex
import sys


def shell_word(text: str) -> str:
    """A text as one word of a command line: for cmd.exe and PowerShell on Windows, for POSIX shells elsewhere."""
    if sys.platform == "win32":
        return text if re.fullmatch(r"[\w.:\\/-]+", text) else f'"{text}"'
    return shlex.quote(text)
