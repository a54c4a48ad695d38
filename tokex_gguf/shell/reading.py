"""Reads text files that the player names."""

import stat
from pathlib import Path

from tokex_gguf.values import text_files
from tokex_gguf.values.formatting import system_reason
from tokex_gguf.values.text_files import NotText

MOST_BYTES = 2**20
"""Bytes of a file, at the most."""


class Unreadable(Exception):
    """The file cannot be read, for this reason."""


def text_of_file(name: str) -> str:
    """The text of a plain file; `~` is the home folder. Raises Unreadable."""
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise Unreadable("a folder, and no file")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer
            raise Unreadable("not a plain file")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise Unreadable("larger than 1 MiB")
        return text_files.with_line_feeds(text_files.decode(data).text)
    except OSError as error:
        raise Unreadable(system_reason(error)) from None
    except NotText as error:
        raise Unreadable(str(error)) from None
    except (ValueError, RuntimeError):  # a NUL character; an unknown home
        raise Unreadable("not a file's name") from None
