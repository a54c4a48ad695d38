"""How the program ends: its exit codes, and one line."""

import argparse
import os
import sys
from typing import NoReturn

from tokex_gguf.tokens import visible

FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Something failed at run time; wrong input, configuration or arguments; interrupted."""


class Exit(Exception):
    """Ends the program with a line and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def say(line: str) -> None:
    """One line on standard error, with nothing in it that a terminal would obey, and no longer than can be read."""
    if len(line) > 800:
        line = f"{line[:500]}…{line[-250:]}"
    try:
        print(f"tokex-gguf: {visible(line)}", file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class Parser(argparse.ArgumentParser):
    """Ends with one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Raises Exit."""
        raise Exit(f"{message}; try --help", USAGE)
