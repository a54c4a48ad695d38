"""Which model is meant. Pure."""

from pathlib import PurePath
from typing import TypeAlias

from tokex_gguf.values.record import record


@record
class GgufFile:
    """A file on this machine."""

    path: str
    asked: str = ""
    """The name that the player gave for it, such as REPO:QUANT; empty: not known. Only ever shown."""

    @property
    def key(self) -> str:
        """What its game is kept by: there is one for each file, whatever it was asked for as."""
        return self.path

    @property
    def name(self) -> str:
        """In one word."""
        return PurePath(self.path).name


ModelRef: TypeAlias = GgufFile
"""A model on a server would be another kind."""
