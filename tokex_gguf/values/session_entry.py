"""A session in the list that the player chooses from."""

from enum import Enum
from typing import NamedTuple


class PlayedBy(Enum):
    """The program that plays a session."""

    NOBODY = "nobody"
    HERE = "here"
    ELSEWHERE = "elsewhere"
    """Another program."""


class SessionEntry(NamedTuple):
    """The line of a list for a session on the disk. Its texts have no control characters."""

    name: str
    """The name of its file."""
    called: str
    """The name that the player gave it; empty where it has none."""
    short: str
    """The shortest name that finds it."""
    text: str
    """The start of its prompt."""
    saved: float
    """Time of the last save, in seconds since 1970."""
    when: str
    """That time in a few characters."""
    prompts: int
    tokens: int
    """Of the prompt that is shown."""
    visited: int
    """Tokens on all paths; 0 where the file does not tell."""
    model: str
    asked: str
    """The name that the player gave for the model."""
    held: PlayedBy
    fault: str = ""
    """Why it cannot be read; empty where it can."""
    whole: str = ""
    """The text that a search looks through, in lower case."""
