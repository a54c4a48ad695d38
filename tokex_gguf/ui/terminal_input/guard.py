"""Restores the terminal when the program dies suddenly: a fault in native code, kill -9, the OOM killer.

A shell in a session of its own reads a pipe from the program: a line whenever the program takes the terminal or gives
it back. When the pipe ends, the shell exits if the terminal was given back. Else it writes the codes that leave the
screen, and runs this file as a program, which restores the modes if they are still the program's.

Imports nothing of the project: as a program it must start at once, whatever is wrong with the rest.
"""

import json
import os
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

Modes = list[Any]
"""The result of termios.tcgetattr."""

_SHELL = "/bin/sh"
_SCRIPT = """
while read -r state; do last=$state; done
[ "$last" = taken ] || exit 0
printf '%s'
exec "$@"
"""


class Guard:
    """The waiting shell, and the pipe to it."""

    def __init__(self, terminal: int, before: Modes, raw: Modes, leave: bytes) -> None:
        """Starts the shell, with the terminal as taken.

        `terminal`: a descriptor; `before`, `raw`: its modes without the program and with it; `leave`: the codes that
        leave the screen. Raises OSError or NotImplementedError where the system has no such shell.
        """
        reading, self._pipe = os.pipe()
        self.tell(taken=True)  # before the shell starts, so that it reads this first
        escaped = leave.decode("ascii").replace("\x1b", "\\033")
        restore = [sys.executable, "-I", "-S", str(Path(__file__)), *map(_packed, (before, raw))]
        try:
            os.posix_spawn(
                _SHELL,
                [_SHELL, "-c", _SCRIPT.replace("%s", escaped), "tokex-gguf-guard", *restore],
                {name: value for name, value in os.environ.items() if name.startswith(("LD_", "DYLD_"))},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, reading, 0),
                    (os.POSIX_SPAWN_DUP2, terminal, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                # Signals to the terminal's jobs do not end the shell, and using the terminal does not stop it.
                setsid=True,
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(reading)

    def tell(self, *, taken: bool) -> None:
        """Reports that the program has taken the terminal, or given it back."""
        with suppress(OSError):  # the shell was killed
            os.write(self._pipe, b"taken\n" if taken else b"given\n")


def _packed(modes: Modes) -> str:
    *flags, characters = modes
    return json.dumps([*flags, [value if isinstance(value, int) else value[0] for value in characters]])


def main() -> None:
    """Restores the modes of the terminal on standard output: `guard.py BEFORE RAW`."""
    before, raw = sys.argv[1:]
    with suppress(termios.error):
        # Another program may have changed them meanwhile, such as a shell for its prompt.
        if _packed(termios.tcgetattr(1)) == raw:
            *flags, characters = json.loads(before)
            termios.tcsetattr(1, termios.TCSANOW, [*flags, [bytes([value]) for value in characters]])


if __name__ == "__main__":
    main()
