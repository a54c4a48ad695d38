"""A session in the list that the player chooses from."""

from enum import Enum
from typing import NamedTuple


class PlayedBy(Enum):
    """Who plays a session."""

    NOBODY = "nobody"
    HERE = "here"
    ELSEWHERE = "elsewhere"
    """Another program."""


class SessionEntry(NamedTuple):
    """What a list shows of a session on the disk. Its texts have no control characters."""

    name: str
    """As its file is called."""
    called: str
    """The name that the player gave it; empty where it has none."""
    short: str
    """What is enough to name it by."""
    text: str
    """What its prompt begins with."""
    saved: float
    """When it was saved last, in seconds since 1970."""
    when: str
    """The same in a few characters."""
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
    """All that it can be found by, in lower case."""
