"""The texts that prompts can start with: files in a folder."""

from pathlib import Path

from tokex_gguf.play.session import Starter
from tokex_gguf.shell.reading import Unreadable, text_of_file
from tokex_gguf.values.text_files import without_last_break

MOST_FILES = 200
"""Files that are listed."""


def starters(folder: Path, example: str) -> tuple[Starter, ...]:
    """The configuration's text, then the text files of a folder by name. Unreadable files are left out.

    Files are read as those of the command line.
    """
    texts = [Starter("the configuration's example", example)] if example else []
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
            texts.append(Starter(path.name, without_last_break(text)))
    return tuple(texts)
