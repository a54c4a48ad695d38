"""The texts that prompts can start with: files in a folder."""

from pathlib import Path

from tokex_gguf.play.session import Starter

LARGEST = 2**20
"""Bytes of a text that is listed."""
MOST = 200
"""Files that are listed."""


def starters(folder: Path, own: str) -> tuple[Starter, ...]:
    """The configuration's own text, then the text files of a folder by name. What cannot be read is left out."""
    found = [Starter("the configuration's example", own)] if own else []
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".txt" and path.is_file())
    except OSError:
        paths = []
    for path in paths[:MOST]:
        try:
            if path.stat().st_size <= LARGEST and (text := path.read_bytes().decode()).strip("\n"):
                found.append(Starter(path.name, text.removesuffix("\n")))
        except (OSError, UnicodeDecodeError):
            continue
    return tuple(found)
