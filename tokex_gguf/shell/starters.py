"""The texts that prompts can start with: files in a folder."""

from pathlib import Path

from tokex_gguf.play.session import Starter
from tokex_gguf.shell.reading import Unreadable, text_of_file
from tokex_gguf.values.text_files import without_last_break

MOST_FILES = 200
"""Files that are listed."""


def starters(folder: Path, own: str) -> tuple[Starter, ...]:
    """The configuration's own text, then the text files of a folder by name. What cannot be read is left out.

    They are read as those that the command line names.
    """
    found = [Starter("the configuration's example", own)] if own else []
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".txt" and path.is_file())
    except OSError:
        paths = []
    for path in paths[:MOST_FILES]:
        try:
            text = text_of_file(str(path))
        except Unreadable:
            continue
        if text.strip("\r\n"):
            found.append(Starter(path.name, without_last_break(text)))
    return tuple(found)
